#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# swapctl(1): what seldom happens at the same time, made likely by workers that take their time at some points.
# shellcheck disable=SC2030,SC2031 # each test is a process of its own

bats_require_minimum_version 1.5.0
load swap_helper

MEBIBYTE=1048576

# The tools of a build that can be told where to wait.
PATH=$UVM_BUILD/failpoints/bin:$PATH

# goes_out [OPTION...], in the background
goes_out() {
	timeout -k 5 60 swapctl out -p "$TARGET_PID" "$@" >/dev/null 2>&1 3>&- &
	OUT=$!
}

has_left() {
	(($(resident) == 0))
}

@test "a program that becomes a daemon while its pages are on their way reads what it had" {
	export UVM_PAUSE_AT=reading:1000
	start_with_input changes mixed $((2 * MEBIBYTE))
	swap_ok attach -p "$TARGET_PID"
	region "$START" "$END" >"$BATS_TEST_TMPDIR/region"
	goes_out -r "$BATS_TEST_TMPDIR/region" # not what it needs to fork
	wait_for 20 has_left
	ASK_DEADLINE=20 ask daemon
	ask check
	wait "$OUT" || :
	tell exit
	wait_for 10 is_session_gone
}

# In the staging area: a page that is out would come.
waits_for_good() {
	local before
	before=$(status_of .out_pages)
	grep -q handle_userfault "/proc/$TARGET_PID/stack" && nap && grep -q handle_userfault "/proc/$TARGET_PID/stack" &&
		status_is ".out_pages == $before"
}

# Over the agent, which takes no thread of the program for what it does.
@test "a program that locks all of its memory while the staging area is closed goes on" {
	local lines pause=$BATS_TEST_TMPDIR/pause
	UVM_ACCESS=agent
	start_with_input changes mixed $((2 * MEBIBYTE))
	mkdir "$pause"
	UVM_PAUSE_AT=closing:60000 UVM_PAUSE_MARK=$pause swap_ok attach -p "$TARGET_PID"
	region "$START" "$END" >"$BATS_TEST_TMPDIR/region"
	goes_out -r "$BATS_TEST_TMPDIR/region"
	wait_for 20 test -e "$pause.reached"
	lines=$(wc -l <"$TARGET_DIR/out")
	tell lockall both
	wait_for 20 waits_for_good
	rmdir "$pause"
	take_answer "$lines" lockall both
	wait "$OUT"
	ask check
}

@test "pages that the kernel has moved without saying so are not lost" {
	local told
	for told in 1 3 200; do
		start_with_input contents mixed $((8 * MEBIBYTE))
		UVM_MOVE_TOLD=$told swap_ok attach -p "$TARGET_PID"
		out_region
		assert_equal "$(resident)" 0
		check_session
		ask check
		swap_ok detach -p "$TARGET_PID"
		ask check
		end_current
	done
}

@test "what is lost with the program and the worker at once is SIGBUS to its children, not zeros" {
	local worker
	export UVM_PAUSE_AT=staged:3000,loaded:50
	start_with_input changes mixed $((2 * MEBIBYTE))
	swap_ok attach -p "$TARGET_PID"
	worker=$(pid_of worker)
	goes_out
	wait_for 20 has_left
	tell daemon
	wait "$TARGET_PID"
	kill -KILL "$worker"
	wait_for 20 is_session_gone
	wait "$OUT" || :
	run -1 grep -v ready "$TARGET_DIR/out"
}

@test "a child that takes the place of one that has ended keeps its pages while all is brought back" {
	local i k end ends
	export UVM_PAUSE_AT=gone:200,loaded:10
	start_with_input changes mixed "$MEBIBYTE"
	end=$END
	for ((i = 0; i < 3; i++)); do
		swap_ok attach -p "$TARGET_PID"
		END=$end
		out_region
		grow_child - "ends.$i"
		ends=$CHILD
		ask_child "ends.$i" shrink
		ask_child "ends.$i" shrink
		grow_child - "forks.$i"
		ask check
		kill -KILL "$ends"
		timeout 60 swapctl detach -p "$TARGET_PID" >/dev/null 2>&1 3>&- &
		for ((k = 0; k < 30; k++)); do
			grow_child "forks.$i" "forked.$i.$k"
		done
		wait $!
		for ((k = 0; k < 30; k++)); do
			ask_child "forked.$i.$k" check
			echo exit >"$TARGET_DIR/forked.$i.$k"
		done
		echo exit >"$TARGET_DIR/forks.$i"
		wait_for 10 is_session_gone
	done
}

@test "staged pages that one thread brings back stay until they are there, whoever is killed meanwhile" {
	local i worker
	export UVM_PAUSE_AT=awake:100,loaded:600
	for ((i = 0; i < 3; i++)); do
		export UVM_KILL_AT=staged UVM_KILL_MARK=$BATS_TEST_TMPDIR/staged.$i
		start_with_input threads 1 65536
		swap_ok attach -p "$TARGET_PID"
		worker=$(pid_of worker)
		region "$START" "$END" >"$BATS_TEST_TMPDIR/region"
		goes_out -r "$BATS_TEST_TMPDIR/region" # one cluster, which the thread asks for
		wait_for 20 another worker "$worker"
		kill -KILL "$(pid_of worker)"
		wait "$OUT" || :
		swap_ok detach -p "$TARGET_PID"
		ask stop
		end_current
	done
}

pause() {
	read -rt "$1" <> <(:) || :
}

# What it has is known when the first pause begins, a quarter of a second after the last page came back or sooner; in the second it is let go.
@test "a child that grows in place stays one mapping while it is let go" {
	export UVM_PAUSE_AT=releasing:1000,released:1000
	start_with_input changes mixed $((2 * MEBIBYTE))
	swap_ok attach -p "$TARGET_PID"
	out_region
	grow_child - grows
	ask_child grows shrink
	ask_child grows check
	pause 0.6
	ask_child grows grow
	pause 1
	ask_child grows grow
	ask_child grows check
}

# Its agent makes the calls, and no thread of the program is held.
@test "a mapping that grows in place stays one while it is registered" {
	export UVM_ACCESS=agent UVM_PAUSE_AT=registering:1000,registered:1000
	start_with_input changes mixed $((2 * MEBIBYTE))
	swap_ok attach -p "$TARGET_PID"
	ask shrink
	read_answer
	region "$START" "$END" >"$BATS_TEST_TMPDIR/region"
	goes_out -r "$BATS_TEST_TMPDIR/region"
	pause 0.6
	ask grow
	pause 1
	ask grow
	ask check
	wait "$OUT" || :
	ask check
}

# are_served COUNT: address spaces, of a session whose program may have ended.
are_served() {
	timeout 20 swapctl status 3>&- | jq -es "any(.[]; .pid == $TARGET_PID and .spaces == $1)" >/dev/null
}

# The place that A leaves is looked at before C, whose child D takes it: D is there when all that were looked at have ended. While it is found that B
# is gone, for one and a half seconds, nothing else is looked at.
@test "a session lasts as long as the child of the last one that ends" {
	local pid name
	declare -A pid
	export UVM_PAUSE_AT=gone:1500
	start_with_input changes mixed $((2 * MEBIBYTE))
	swap_ok attach -p "$TARGET_PID"
	out_region
	for name in a b c; do
		grow_child - "$name"
		pid[$name]=$CHILD
	done
	kill -KILL "${pid[a]}"
	wait_for 10 are_served 3
	kill -KILL "$TARGET_PID"
	wait "$TARGET_PID" || :
	wait_for 10 are_served 2
	kill -KILL "${pid[b]}"
	read -rt 0.5 <> <(:) || :
	ask_child c child d
	read_answer
	end_later "$CHILD"
	kill -KILL "${pid[c]}"
	wait_for 10 are_served 1
	ask_child d check
}

# What is put into the queue while the first fork waits there is read before it, once that was refused.
forks_in_disorder() {
	export UVM_PAUSE_AT=keeper-asked:300
	start_with_input disorder "$1" $((4 * MEBIBYTE))
	swap_ok attach -p "$TARGET_PID"
	out_region
	ask go
	check_session
	# One that was made before the change, and one that was made after it.
	assert_equal "$(grep -c 'before, right' "$TARGET_DIR/err")" 1
	assert_equal "$(grep -c 'after, right' "$TARGET_DIR/err")" 1
}

@test "two children that are forked before and after memory moves have it where it was and where it is" {
	forks_in_disorder remap
}

@test "two children that are forked before and after memory is unmapped have what there was" {
	forks_in_disorder unmap
}

@test "two children that are forked before and after memory moves have it, whenever the worker is killed" {
	for point in fork-looked fork-passed:2 fork-read:2 fork-saved:1 forking:500 remapping:300; do
		export UVM_KILL_AT=$point UVM_KILL_MARK=$BATS_TEST_TMPDIR/killed.$point
		forks_in_disorder remap
		[[ -d $UVM_KILL_MARK ]]
		end_current
	done
}
