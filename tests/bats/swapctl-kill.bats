#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# swapctl(1): the worker dies at each step that a page takes, and at each event of its target; nothing is lost.

bats_require_minimum_version 1.5.0
load swap_helper

MEBIBYTE=1048576

# The tools of a build that can be told where to die.
PATH=$UVM_BUILD/failpoints/bin:$PATH

# dies_at POINT COMMAND...: the worker dies when it first comes to the point, in the course of the commands, or at the times in TIMES.
dies_at() {
	local point=$1 time
	shift
	for time in ${TIMES:-1}; do
		export UVM_KILL_AT=$point:$time UVM_KILL_MARK=$BATS_TEST_TMPDIR/$point.$time.$#.$1
		start_with_input contents "${PATTERN:-mixed}" $((8 * MEBIBYTE))
		ask check
		snapshot
		swap_ok attach -p "$TARGET_PID"
		"$@"
		ask check
		if [[ ! -e $UVM_KILL_MARK && $time == 1 ]]; then
			echo "no worker came to $point" >&2
			return 1
		fi
		leave
		ask check
		end_current
	done
}

# A request to a worker that dies is cut short; what it asked for is finished or undone by the next.
try() {
	swap "$@"
	((status == 0 || status == 1 || status == 3))
}

leave() {
	is_left() {
		swap detach -p "$TARGET_PID" && is_session_gone
	}
	wait_for 20 is_left
}

goes_out_and_comes_back() {
	try out -p "$TARGET_PID"
	ask check
	try out -p "$TARGET_PID"
	try out -p "$TARGET_PID"
	try in -p "$TARGET_PID"
}

@test "when a mapping has been registered" {
	dies_at registered goes_out_and_comes_back
}

@test "when pages are marked as moving" {
	dies_at moving goes_out_and_comes_back
}

@test "when pages have moved" {
	TIMES='1 5' dies_at moved goes_out_and_comes_back
}

@test "when pages have been read from the staging area" {
	dies_at read goes_out_and_comes_back
}

@test "when pages are staged" {
	dies_at staged goes_out_and_comes_back
}

@test "when a record has been written" {
	dies_at written goes_out_and_comes_back
}

@test "when a cluster has its record and is not called stored yet" {
	dies_at slot goes_out_and_comes_back
}

is_written_back() {
	control '{"verb":"out","stage":true}' || :
	control '{"verb":"writeback","age_ms":0}' || :
	[[ -e $UVM_KILL_MARK || $UVM_KILL_AT == *:5 ]]
}

staged_and_written_back() {
	wait_for 20 is_written_back
}

@test "when a record is in both tiers" {
	dies_at copied staged_and_written_back
}

@test "when a record has been written back" {
	dies_at written-back staged_and_written_back
}

goes_out_and_stays() {
	try out -p "$TARGET_PID"
	wait_for 30 test -e "$UVM_KILL_MARK"
}

@test "when a record has been made denser" {
	dies_at repacked goes_out_and_stays
}

@test "when a denser record is in the place of the first" {
	dies_at exchanged goes_out_and_stays
}

@test "when pages are stored" {
	TIMES='1 5' dies_at stored goes_out_and_comes_back
}

@test "when the staging area has been emptied" {
	TIMES='1 5' dies_at discarded goes_out_and_comes_back
}

@test "when pages are being filled" {
	dies_at filling goes_out_and_comes_back
}

@test "when a record has been read" {
	dies_at loaded goes_out_and_comes_back
}

@test "when what was not asked for is about to be brought" {
	dies_at ahead goes_out_and_comes_back
}

@test "when pages have been placed" {
	dies_at placed goes_out_and_comes_back
}

@test "when pages are filled" {
	TIMES='1 5' dies_at filled goes_out_and_comes_back
}

discards() {
	try out -p "$TARGET_PID"
	ask discard
	ask check
}

@test "when a page that was discarded is about to be given as zeros" {
	dies_at zeroing discards
}

@test "when an event has been read" {
	dies_at event discards
	dies_at event unmaps
	dies_at event moves
}

@test "when memory has been discarded" {
	dies_at removing discards
}

unmaps() {
	try out -p "$TARGET_PID"
	ask unmap
	ask map
	try out -p "$TARGET_PID"
	ask check
}

@test "when memory has been unmapped" {
	dies_at unmapping unmaps
}

moves() {
	try out -p "$TARGET_PID"
	ask move
	try out -p "$TARGET_PID"
	ask move
	ask check
}

@test "when memory is being mapped elsewhere" {
	TIMES='1 5' dies_at remapping moves
}

forks() {
	try out -p "$TARGET_PID"
	ask fork
	try out -p "$TARGET_PID"
	ask fork
}

@test "when the descriptor of a child has come and is not saved" {
	dies_at fork-read forks
}

loses_its_supervisor() {
	local supervisor
	supervisor=$(pid_of supervisor)
	kill -KILL "$supervisor"
	wait_for 10 another supervisor "$supervisor"
	forks
}

@test "when the descriptor of a child has come and the supervisor is a new one" {
	dies_at fork-read loses_its_supervisor
}

@test "when the descriptor of a child has come and its parent has ended" {
	export UVM_KILL_AT=fork-read UVM_KILL_MARK=$BATS_TEST_TMPDIR/fork-read UVM_PAUSE_AT=fork-read:500
	start_with_input changes mixed $((2 * MEBIBYTE))
	swap_ok attach -p "$TARGET_PID"
	out_region
	ask daemon
	[[ -e $UVM_KILL_MARK ]]
	ask check
	tell exit
	wait_for 10 is_session_gone
}

@test "when the descriptor of a child has been saved" {
	dies_at fork-saved forks
}

# A copy that nobody knows of would keep alive what the session has closed.
@test "when the target was given the descriptor of a child and that is not noted" {
	export UVM_KILL_AT=held UVM_KILL_MARK=$BATS_TEST_TMPDIR/held
	start_with_input changes mixed $((2 * MEBIBYTE))
	find_uffds() {
		find "/proc/$TARGET_PID/fd" -lname '*userfaultfd*'
	}
	assert_equal "$(find_uffds)" ""
	swap_ok attach -p "$TARGET_PID"
	out_region
	grow_child - child
	wait_for 20 test -e "$UVM_KILL_MARK"
	leave
	assert_equal "$(find_uffds)" ""
	ask check
	ask_child child check
}

# holds WHICH COUNT: so many userfaultfds are open in that process of the session.
holds() {
	(($(find "/proc/$(pid_of "$1")/fd" -lname '*userfaultfd*' | wc -l) == $2))
}

# A child that got no place waits for good: whoever comes next has to hold its descriptor, or it would read zeros.
@test "when a child got no place, supervisors and workers hand on its descriptor" {
	local which old
	export UVM_PLACES=1
	start_with_input changes mixed $((2 * MEBIBYTE))
	swap_ok attach -p "$TARGET_PID"
	holds supervisor 2
	out_region
	grow_child - child
	wait_for 10 holds supervisor 3
	for which in supervisor worker supervisor; do
		old=$(pid_of "$which")
		kill -KILL "$old"
		wait_for 10 another "$which" "$old"
		wait_for 10 holds supervisor 3
		wait_for 10 holds worker 3
	done
	kill -KILL "$CHILD"
	wait_for 10 holds supervisor 2
	ask check
}

@test "when a child is being noted" {
	dies_at forking forks
}

@test "when an event has been applied" {
	TIMES='1 5' dies_at applied forks
}

marked_while_it_forks() {
	out_region
	ask wipe
	ask keep
	try out -p "$TARGET_PID"
	ask wipe
	ask keep
}

# Each of the two processes that read messages, before and after the fork is read. What they know of it must not be lost, for the program changes it at once.
@test "when a fork is looked at and read" {
	local point
	for point in keeper-asked keeper-taken keeper-read fork-looked fork-passed fork-read fork-saved forking applied; do
		export UVM_KILL_AT=$point UVM_KILL_MARK=$BATS_TEST_TMPDIR/$point
		start_with_input marks $((3 * MEBIBYTE)) 4000
		swap_ok attach -p "$TARGET_PID"
		marked_while_it_forks
		if [[ ! -e $UVM_KILL_MARK ]]; then
			echo "nobody came to $point" >&2
			return 1
		fi
		leave
		ask check
		end_current
	done
}

# A locked mapping that grows is filled before its event is read, page by page with zeros of the kernel: each is taken out of the registered mapping
# meanwhile, and has to become one with it again, or mremap(2) refuses to move it: also when the event is the first thing that the next worker sees.
@test "when pages are left to the kernel" {
	local point
	export UVM_PAUSE_AT=started:100
	for point in leaving-to-kernel left-to-kernel; do
		export UVM_KILL_AT=$point UVM_KILL_MARK=$BATS_TEST_TMPDIR/$point
		start_with_input changes mixed $((4 * MEBIBYTE))
		swap_most out -p "$TARGET_PID"
		grow_child - "$point"
		ask_child "$point" lock
		ask_child "$point" grow
		[[ -e $UVM_KILL_MARK ]]
		ask_child "$point" unlock
		ask_child "$point" grow
		ask_child "$point" check
		leave
		ask_child "$point" check
		end_current
	done
}

loses_its_worker() {
	local worker
	try out -p "$TARGET_PID"
	worker=$(pid_of worker)
	kill -KILL "$worker"
	wait_for 10 another worker "$worker"
}

@test "when another one's work is being taken over" {
	dies_at recovering loses_its_worker
}

@test "when another one's work has been taken over" {
	dies_at recovered loses_its_worker
}

detaches() {
	try out -p "$TARGET_PID"
	try detach -p "$TARGET_PID"
}

leaves_nothing() {
	detaches
	wait_for 20 unchanged
}

@test "when a detach has brought everything back" {
	dies_at detaching detaches
}

@test "when a detach has left the target" {
	dies_at left leaves_nothing
}

# What a thread was sent to do is undone, and the way home that it is given is there for as long as it stands still.
@test "while a thread stands where it was sent, because its program is stopped" {
	local i pause=$BATS_TEST_TMPDIR/pause worker
	mkdir "$pause"
	export UVM_ACCESS=ptrace UVM_PAUSE_AT=moving:30000 UVM_PAUSE_MARK=$pause
	start_with_input threads 3 $((4 * MEBIBYTE))
	snapshot
	swap_ok attach -p "$TARGET_PID"
	worker=$(pid_of worker)
	swapctl out -p "$TARGET_PID" >/dev/null 2>&1 3>&- &
	wait_for 10 test -e "$pause.reached"
	kill -STOP "$TARGET_PID"
	kill -KILL "$worker"
	rmdir "$pause"
	wait_for 10 another worker "$worker"
	for i in {1..10}; do
		try out -p "$TARGET_PID"
		try in -p "$TARGET_PID"
	done
	kill -CONT "$TARGET_PID"
	try out -p "$TARGET_PID"
	leave
	tell stop
	wait_for 60 grep -q '^ok' "$TARGET_DIR/out"
}
