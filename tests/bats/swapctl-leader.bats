#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# swapctl(1): a program whose main thread has ended while others run is a program as any other.

bats_require_minimum_version 1.5.0
load swap_helper

BYTES=4194304

# The thread that is left.
thread() {
	find "/proc/$TARGET_PID/task" -mindepth 1 -maxdepth 1 ! -name "$TARGET_PID"
}

# What a program without a main thread looks like from outside.
look_at_rest() {
	cut -d' ' -f1-3,6- "$(thread)/maps"
	find "$(thread)/fd" -printf '%f %l\n' | sort
	grep -E '^(Sig(Pnd|Blk|Ign|Cgt)|Seccomp|TracerPid|VmLck)' "$(thread)/status"
}

@test "every verb works on a program whose main thread has ended, and so does a worker that takes over" {
	local worker
	start_contents mixed "$BYTES"
	ask leave
	look_at_rest >"$BATS_TEST_TMPDIR/rest"
	swap_ok attach -p "$TARGET_PID"
	out_region
	(($(status_of .out_pages) > 0))
	swap_ok in -p "$TARGET_PID"
	assert_equal "$(status_of .out_pages)" 0
	out_region
	worker=$(pid_of worker)
	kill -KILL "$worker"
	wait_for 10 another worker "$worker"
	check_session
	ask check
	out_region
	swap_ok status
	record "map(select(.pid == $TARGET_PID))[0].state" | grep -x running
	swap_ok detach -p "$TARGET_PID"
	wait_for 20 no_session
	look_at_rest | diff "$BATS_TEST_TMPDIR/rest" -
	ask check
}

@test "a program whose main thread ends while its memory is out keeps its session, and can be adopted" {
	local verb
	start_contents mixed "$BYTES"
	out_region --store memory
	ask leave
	for verb in status check in; do
		swap_ok "$verb" -p "$TARGET_PID"
	done
	out_region
	ask fork # its children are served, too
	out_region
	kill_both
	swap_fails 1 'take it up with swapctl adopt' attach -p "$TARGET_PID"
	swap_ok adopt -p "$TARGET_PID"
	ask check
	out_region
	check_session
	swap_ok detach -p "$TARGET_PID"
	wait_for 20 no_session
	[[ -z $(find "/proc/$TARGET_PID/task/"*/fd -lname '*userfaultfd*') ]]
	ask check
}

@test "other tools look at a program whose main thread has ended, too" {
	start_contents mixed "$BYTES"
	ask leave
	run_tool superpages -p "$TARGET_PID"
	assert_equal "$status" 0
	record 'map(select(.type == "region")) | length > 0' | grep -x true
	run_tool addrspace list -p "$TARGET_PID"
	assert_equal "$status" 0
	record 'map(select(.type == "region")) | length > 10' | grep -x true
	run_tool uffd-probe -p "$TARGET_PID"
	assert_equal "$status" 0
}
