#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# swapctl(1) by the second way into a program: what is particular to programs with a swap agent, and "run", which gives one to a command.

bats_require_minimum_version 1.5.0
load swap_helper

MEBIBYTE=1048576
NOBODY=(/usr/bin/setpriv --reuid=65534 --regid=65534 --clear-groups --no-new-privs --bounding-set=-all)

# start_agent PROGRAM ARGUMENT...: a target with an agent, that can be told something with tell and ask.
start_agent() {
	UVM_ACCESS=agent start_with_input "$@"
}

client() {
	timeout 60 python3 "$ROOT/tests/bats/agent_client.py" "$@"
}

# start_run OPTION... -- COMMAND...: a command under "swapctl run"; TARGET_PID is the command's, RUN_PID the other's.
start_run() {
	start_with_input "$UVM_BUILD/bin/swapctl" run "$@"
	RUN_PID=$TARGET_PID
	TARGET_PID=$(pgrep -P "$RUN_PID" -x "${COMMAND:-contents}")
	end_later "$TARGET_PID"
	wait_for 20 has_session
}

has_session() {
	[[ -S $SESSIONS/$TARGET_PID.$(starttime "$TARGET_PID")/control && $(status_of .state) == running ]]
}

run_is_over() {
	! kill -0 "$RUN_PID" 2>/dev/null
}

# For nobody: a folder with copies of what it runs, and of the device where it may be opened. Sets FOLDER and NODE.
prepare_nobody() {
	FOLDER=$(mktemp -d /tmp/uvmtools-nobody.XXXXXX)
	chmod 755 "$FOLDER"
	mkdir "$FOLDER/bin" "$FOLDER/lib"
	install -m 755 "$UVM_BUILD/bin/swapctl" "$UVM_BUILD/targets/contents" "$UVM_BUILD/targets/forker" "$FOLDER/bin/"
	install -m 755 "$UVM_BUILD/lib/libuvm.so.0" "$FOLDER/lib/"
	install -d -o 65534 -g 65534 -m 700 "$FOLDER/run"
	mknod -m 666 "$FOLDER/node" c 10 "$(awk '$2 == "userfaultfd" { print $1 }' /proc/misc)"
	export XDG_RUNTIME_DIR=$FOLDER/run
}

# A program of nobody's with an agent, where the device may be opened.
start_nobodys() {
	# shellcheck disable=SC2016
	start_with_input /usr/bin/unshare --mount sh -c 'mount --bind "$1/node" /dev/userfaultfd && shift && exec "$@"' sh "$FOLDER" \
		"${NOBODY[@]}" env UVM_SWAP_AGENT=1 LD_PRELOAD="$FOLDER/lib/libuvm.so.0" "$@"
}

nobody_swaps() {
	timeout 60 "${NOBODY[@]}" "$FOLDER/bin/swapctl" "$@" 3>&-
}

teardown_nobody() {
	kill -KILL "${TARGETS[@]}" 2>/dev/null || :
	rm -rf "$FOLDER"
}

@test "an agent in another pid, user and network namespace is found, and serves" {
	start_with_input /usr/bin/unshare --user --map-root-user --pid --fork --kill-child --net \
		/usr/bin/env UVM_SWAP_AGENT=1 LD_PRELOAD="$UVM_BUILD/lib/libuvm.so.0" "$UVM_BUILD/targets/contents" mixed $((16 * MEBIBYTE))
	TARGET_PID=$(pgrep -P "$TARGET_PID" -x contents)
	assert_equal "$(awk '/^NSpid/ { print $3 }' "/proc/$TARGET_PID/status")" 1
	run -0 timeout 60 "$UVM_BUILD/targets/probe_deny" kill ptrace swapctl out -p "$TARGET_PID" 3>&-
	assert_equal "$(status_of .access)" agent
	assert_equal "$(resident)" 0
	ask check
}

@test "over the agent no thread is stopped, and ptrace is not used" {
	start_agent contents mixed $((16 * MEBIBYTE))
	swap_ok attach -p "$TARGET_PID" --access agent
	assert_equal "$(record '.[0].access')" agent
	run -0 timeout 60 "$UVM_BUILD/targets/probe_deny" kill ptrace,pidfd_getfd swapctl out -p "$TARGET_PID" 3>&-
	assert_equal "$(resident)" 0
	assert_equal "$(status_of '[.stops, .longest_stop_us] | add')" 0
	ask check
}

@test "the agent is taken by itself where ptrace is denied or fatal" {
	local verdict
	for verdict in eperm kill; do
		start_agent contents text $((8 * MEBIBYTE))
		run -0 timeout 60 "$UVM_BUILD/targets/probe_deny" "$verdict" ptrace swapctl attach -p "$TARGET_PID" 3>&-
		assert_equal "$(jq -r .access <<<"$output")" agent
		swap_most out -p "$TARGET_PID"
		ask check
		end_current
	done
}

@test "ptrace is taken where it is permitted, agent or not" {
	start_agent contents text $((8 * MEBIBYTE))
	swap_ok attach -p "$TARGET_PID"
	assert_equal "$(record '.[0].access')" puppet
	swap_ok detach -p "$TARGET_PID"
	swap_ok attach -p "$TARGET_PID" --access ptrace
	assert_equal "$(record '.[0].access')" ptrace
	ask check
}

@test "a refusal says what is missing for each road" {
	start_contents text $((4 * MEBIBYTE))
	swap_fails 4 'it has no swap agent \(start it with swapctl run' attach -p "$TARGET_PID" --access agent
	run timeout 60 "$UVM_BUILD/targets/probe_deny" eperm ptrace swapctl attach -p "$TARGET_PID" 3>&-
	assert_equal "$status" 4
	assert_output --regexp 'ptrace: a seccomp filter forbids ptrace; agent: it has no swap agent'
	run timeout 60 "$UVM_BUILD/targets/probe_deny" eperm ptrace swapctl attach -p "$TARGET_PID" --access ptrace 3>&-
	assert_equal "$status" 4
	refute_output --partial agent
	swap_fails 2 '--access: sky is none of auto, ptrace, agent' attach -p "$TARGET_PID" --access sky
	no_session
	ask check
}

@test "a session leaves a program with an agent as it was" {
	start_agent contents mixed $((16 * MEBIBYTE))
	snapshot
	swap_most out -p "$TARGET_PID" --access agent
	swap_ok detach -p "$TARGET_PID"
	wait_for 5 unchanged
	ask check
	swap_most out -p "$TARGET_PID" --access agent
	ask check
}

@test "a program that is stopped and continued all the time loses nothing, and a session refuses it while it is stopped" {
	start_agent contents mixed $((64 * MEBIBYTE))
	kill -STOP "$TARGET_PID"
	swap_fails 1 'does not answer' attach -p "$TARGET_PID" --access agent
	kill -CONT "$TARGET_PID"
	swap_ok attach -p "$TARGET_PID" --access agent
	stop_and_go() {
		while kill -STOP "$1" && read -rt 0.03 <> <(:) || kill -CONT "$1"; do
			read -rt 0.02 <> <(:) || :
		done
	}
	stop_and_go "$TARGET_PID" 3>&- 2>/dev/null &
	local stopper=$!
	end_later "$stopper"
	out_then_in() {
		swap out -p "$TARGET_PID"
		swap in -p "$TARGET_PID"
	}
	repeat 5 1 out_then_in
	kill "$stopper"
	wait "$stopper" || :
	kill -CONT "$TARGET_PID"
	ask check
	kill -STOP "$TARGET_PID"
	swap_fails 1 'does not answer|does not run' out -p "$TARGET_PID"
	kill -CONT "$TARGET_PID"
	ask check
}

@test "children are served when the worker died in a swap-out and the program is stopped" {
	local mark=$BATS_TEST_TMPDIR/hung worker out
	start_agent changes mixed $((8 * MEBIBYTE))
	mkdir "$mark"
	UVM_HANG_AT=reading UVM_HANG_MARK=$mark "$UVM_BUILD/failpoints/bin/swapctl" attach -p "$TARGET_PID" --access agent >/dev/null 3>&-
	out_region
	grow_child - kid
	ask write 5
	worker=$(pid_of worker)
	rmdir "$mark"
	swapctl out -p "$TARGET_PID" >/dev/null 2>&1 3>&- &
	out=$!
	wait_for 20 test -d "$mark"
	kill -STOP "$TARGET_PID"
	kill -KILL "$worker"
	wait "$out" || :
	ASK_DEADLINE=30 ask_child kid check
	kill -CONT "$TARGET_PID"
	ask check
	ask_child kid check
	swap_ok detach -p "$TARGET_PID"
	ask check
}

@test "an agent of which nothing was out is there for the next session as soon as adopt has said so" {
	local agent hog
	start_agent contents text $((4 * MEBIBYTE))
	agent=$(grep -lx uvm-agent "/proc/$TARGET_PID"/task/*/comm)
	agent=$(basename "$(dirname "$agent")")
	swap_ok attach -p "$TARGET_PID" --access agent
	# It takes its time.
	taskset --pid --cpu-list 0 "$agent"
	renice 12 "$agent"
	(exec timeout 300 taskset --cpu-list 0 sh -c 'while :; do :; done') 3>&- &
	hog=$!
	for _ in {1..6}; do
		kill_both
		run ! swapctl adopt -p "$TARGET_PID" 3>&-
		swapctl attach -p "$TARGET_PID" --access agent >/dev/null 3>&-
		assert_output --partial 'its agent had nothing out'
	done
	kill "$hog"
	wait "$hog" || :
	swap_most out -p "$TARGET_PID"
	ask check
}

@test "a program of another user's, with nothing permitted to either, is swapped by that user" {
	prepare_nobody
	start_nobodys "$FOLDER/bin/contents" mixed $((16 * MEBIBYTE))
	run -0 nobody_swaps out -p "$TARGET_PID" --store memory
	assert_equal "$(nobody_swaps status -p "$TARGET_PID" | jq -r .access)" agent
	assert_equal "$(resident)" 0
	ask check
	run -0 nobody_swaps out -p "$TARGET_PID"
	run -0 nobody_swaps detach -p "$TARGET_PID"
	ask check
	teardown_nobody
}

@test "without fork events everything is back before a fork: children see what their parent had" {
	local deadline=$((SECONDS + 120))
	prepare_nobody
	start_nobodys "$FOLDER/bin/forker" $((1 * MEBIBYTE))
	run -0 nobody_swaps attach -p "$TARGET_PID" --store memory --access agent
	out_again() {
		nobody_swaps out -p "$TARGET_PID" >/dev/null || (($? == 3))
	}
	repeat 10 10 out_again
	until (($(nobody_swaps status -p "$TARGET_PID" | jq -r .brought_pages) > 1000)); do
		((SECONDS < deadline))
		out_again
	done
	assert_equal "$(nobody_swaps status -p "$TARGET_PID" | jq -r .events.fork)" 0
	ask stop
	((${answer#ok } > 10))
	teardown_nobody
}

@test "an agent that may not open a userfaultfd says so" {
	prepare_nobody
	chmod 600 "$FOLDER/node"
	start_with_input "${NOBODY[@]}" env UVM_SWAP_AGENT=1 LD_PRELOAD="$FOLDER/lib/libuvm.so.0" "$FOLDER/bin/contents" text $((4 * MEBIBYTE))
	swap_fails 4 'its agent has no userfaultfd \(EPERM\) \(give its user /dev/userfaultfd' attach -p "$TARGET_PID" --access agent
	ask check
	teardown_nobody
}

@test "the greeting is descriptor and area, to one session at a time" {
	start_agent contents text $((4 * MEBIBYTE))
	run -0 client "$TARGET_PID" greet
	assert_output "uffd 0 area 0 descriptors 3 aligned True bytes $((16 * MEBIBYTE))"
	run -0 client "$TARGET_PID" twice
	assert_output ok
	swap_ok attach -p "$TARGET_PID" --access agent
	run -0 client "$TARGET_PID" greet
	assert_output --partial 'uffd 16 area 16 descriptors 0'
	swap_most out -p "$TARGET_PID"
	ask check
}

@test "only root and the program's own user get a word out of an agent" {
	start_agent contents text $((4 * MEBIBYTE))
	local name
	name=$(client "$TARGET_PID" name)
	run -0 "${NOBODY[@]}" /usr/bin/python3 - "$name" greet <"$ROOT/tests/bats/agent_client.py"
	assert_output closed
	ask check
}

@test "garbage, half a message and nothing hurt nobody" {
	start_agent contents mixed $((8 * MEBIBYTE))
	run -0 client "$TARGET_PID" garbage
	assert_output ok
	run -0 client "$TARGET_PID" elsewhere "$START"
	assert_output ok
	ask check
	coproc SILENT { client "$TARGET_PID" silent; }
	read -r answer <&"${SILENT[0]}"
	swap_fails 1 'another session uses its agent' attach -p "$TARGET_PID" --access agent
	ask check
	echo go >&"${SILENT[1]}"
	read -r answer <&"${SILENT[0]}"
	assert_equal "$answer" ok
	out_region --access agent
	ask check
}

@test "GetSuperPagesUsed names what is in use and in core, and no more than asked" {
	start_agent contents random $((8 * MEBIBYTE))
	run -0 client "$TARGET_PID" superpages 100 "$START"
	assert_equal "${lines[0]}" "$START $((2 * MEBIBYTE))"
	assert_equal "$(grep -c . <<<"$output")" 4
	run -0 client "$TARGET_PID" superpages 3 "$START"
	assert_equal "$(grep -c . <<<"$output")" 3
	swap_ok attach -p "$TARGET_PID"
	out_region
	run -0 client "$TARGET_PID" superpages 100 "$START"
	assert_output ""
}

@test "a program starts and stops its agent itself" {
	run -0 client - library "$UVM_BUILD/lib/libuvm.so.0"
	# stop: none; start: other version; start; start again; stop in a session; stop; stop again; start; stop in a child
	assert_output "-3 -22 0 -114 -16 0 -3 0 -3"
}

@test "neither signals nor cancelled threads disturb the agent's start and stop" {
	run -0 timeout 60 "$UVM_BUILD/targets/agentcalls" "$UVM_BUILD/lib/libuvm.so.0"
	assert_output $'failures 0\nstop 0\nstop -3'
}

@test "the agent's thread follows the program to another user" {
	UVM_ACCESS=agent TARGET_STDIN=/dev/zero start_target /usr/bin/python3 -c \
		'import os, sys, time; os.setresuid(65534, 65534, 65534); print("ready", flush=True); sys.stdin.buffer.read()'
	assert_equal "$(awk '/^Uid:/ { print $2, $3, $4 }' /proc/"$TARGET_PID"/task/*/status | sort -u)" "65534 65534 65534"
	assert_equal "$(cat /proc/"$TARGET_PID"/task/*/comm | grep -c uvm-agent)" 1
}

@test "libuvm exports its functions and nothing else, and needs nothing but libc" {
	run -0 nm -D --defined-only "$UVM_BUILD/lib/libuvm.so.0"
	refute_output --regexp ' [A-Z] [^uU]'
	assert_output --partial uvm_swap_agent_start
	run -0 bash -c "readelf -d '$UVM_BUILD/lib/libuvm.so.0' | grep -E 'NEEDED|SONAME' | grep -o '\[.*\]'"
	assert_output $'[libc.so.6]\n[libuvm.so.0]'
}

@test "run gives a command an agent and a session, with the options of attach" {
	start_run --store memory --compress zstd:3 -- "$UVM_BUILD/targets/contents" mixed $((16 * MEBIBYTE))
	assert_equal "$(status_of '[.access, .store, .compress] | join(" ")')" "agent memory zstd:3"
	swap_most out -p "$TARGET_PID"
	assert_equal "$(resident)" 0
	ask check
}

@test "run passes on exit statuses and signals" {
	swap run -- sh -c 'exit 7'
	assert_equal "$status" 7
	# shellcheck disable=SC2016
	swap run -- sh -c 'kill -USR1 $$'
	assert_equal "$status" $((128 + 10))
	swap_fails 127 'run /nowhere/nothing: No such file' run -- /nowhere/nothing
	swap_fails 126 'run /etc: Permission denied' run -- /etc
	start_run -- "$UVM_BUILD/targets/contents" text $((4 * MEBIBYTE))
	kill -TERM "$RUN_PID"
	status=0
	wait "$RUN_PID" || status=$?
	assert_equal "$status" 143
	wait_for 10 is_session_gone
}

@test "run without a command, or with a wrong option, runs nothing" {
	swap_fails 2 'which command\? Give it after --' run
	swap_fails 2 "which command" run --
	swap_fails 2 'unknown option' run --nonsense -- touch "$BATS_TEST_TMPDIR/touched"
	swap_fails 2 '--compress' run --compress best -- touch "$BATS_TEST_TMPDIR/touched"
	[[ ! -e $BATS_TEST_TMPDIR/touched ]]
}

@test "a command that becomes another program has a session again" {
	# shellcheck disable=SC2016
	COMMAND=sh start_run --store memory -- sh -c 'echo ready; read -r _; exec "$@"' sh "$UVM_BUILD/targets/contents" text $((8 * MEBIBYTE))
	tell go
	wait_for 10 grep -q '^ready .' "$TARGET_DIR/out"
	TARGET_READY=$(sed -n 's/^ready //p' "$TARGET_DIR/out" | tail -n 1)
	read -r START END <<<"$TARGET_READY"
	leaves() {
		[[ $(status_of .access 2>/dev/null) == agent ]] && swapctl out -p "$TARGET_PID" >/dev/null 2>&1 3>&-
		(($(resident) == 0))
	}
	wait_for 20 leaves
	ask check
}

@test "the command runs on when no session can be made, and that is said once" {
	# shellcheck disable=SC2016 # for the shell of the command
	swap run --store /nowhere -- sh -c 'until [ -s "$0" ]; do sleep 0.02; done; exit 3' "$BATS_TEST_TMPDIR/errors"
	assert_equal "$status" 3
	assert_regex "$(<"$ERRORS")" '^swapctl run: cannot keep the store in /nowhere: there is no such directory'
	assert_equal "$(wc -l <"$ERRORS")" 1
}

@test "redis under run is swapped out, serves, and comes back" {
	local socket=$BATS_TEST_TMPDIR/socket digest
	redis() {
		timeout 60 redis-cli -s "$socket" "$@" 2>&1
	}
	swapctl run --store memory -- redis-server --port 0 --unixsocket "$socket" --dir "$BATS_TEST_TMPDIR" --save '' --enable-debug-command yes \
		>/dev/null 2>&1 3>&- &
	RUN_PID=$!
	add_target "$RUN_PID"
	answers() { [[ $(redis ping) == PONG ]]; }
	wait_for 60 answers
	TARGET_PID=$(pgrep -P "$RUN_PID" -x redis-server)
	end_later "$TARGET_PID"
	wait_for 20 has_session
	redis eval 'for i = 0, 99999 do redis.call("set", "key:" .. i, string.rep(redis.sha1hex(i), 6)) end' 0 >/dev/null
	digest=$(redis debug digest)
	swap_most out -p "$TARGET_PID"
	(($(rss_anon) < 4 * MEBIBYTE))
	assert_equal "$(redis debug digest)" "$digest"
	swap_most out -p "$TARGET_PID"
	# A fork of its own, with everything out.
	assert_regex "$(redis bgsave)" started
	saved() { [[ $(redis info persistence) == *rdb_bgsave_in_progress:0* ]]; }
	wait_for 60 saved
	assert_regex "$(redis info persistence)" 'rdb_last_bgsave_status:ok'
	swap_ok detach -p "$TARGET_PID"
	assert_equal "$(redis debug digest)" "$digest"
}
