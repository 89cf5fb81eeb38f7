#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# swapctl(1): a worker that lives and serves nothing is replaced; one that is only slow, or waits for its target, is not.

bats_require_minimum_version 1.5.0
load swap_helper

PATH=$UVM_BUILD/failpoints/bin:$PATH
MEBIBYTE=1048576

# start_session [NAME=VALUE...]: out, with a supervisor that loses patience after three looks.
start_session() {
	start_contents mixed $((16 * MEBIBYTE))
	env UVM_PATIENCE=3 UVM_HANG_MARK="$BATS_TEST_TMPDIR/hung" "$@" "$(command -v swapctl)" attach -p "$TARGET_PID" --store memory >/dev/null 3>&-
	WORKER=$(pid_of worker)
}

teardown() {
	[[ ! ${THROTTLE-} ]] || echo -1 >"$THROTTLE/cpu.cfs_quota_us"
	end_swap_test
	[[ ! ${THROTTLE-} ]] || rmdir "$THROTTLE"
}

# was_throttled PERIODS: for so many of them.
was_throttled() {
	(($(awk '$1 == "nr_throttled" { print $2 }' "$THROTTLE/cpu.stat") >= $1))
}

has_hung() {
	[[ -d $BATS_TEST_TMPDIR/hung ]]
}

# The program's memory is what it was, and another worker serves it.
is_replaced() {
	wait_for 40 another worker "$WORKER"
	check_session
	swap_ok detach -p "$TARGET_PID"
	ask check
}

@test "a worker that is stopped is replaced, and who waits for a page goes on" {
	start_session
	swap_most out -p "$TARGET_PID"
	kill -STOP "$WORKER"
	ask check
	is_replaced
}

@test "a worker that hangs while it brings a page is replaced" {
	start_session UVM_HANG_AT=loaded
	swap_most out -p "$TARGET_PID"
	ask check
	has_hung
	is_replaced
}

@test "a worker that hangs while it keeps messages from being read is replaced" {
	start_session UVM_HANG_AT=moved
	swap out -p "$TARGET_PID"
	assert_equal "$status" 1
	has_hung
	ask check
	is_replaced
}

@test "a worker that hangs in what it does between requests is replaced" {
	start_session UVM_HANG_AT=house
	wait_for 10 has_hung
	is_replaced
}

@test "a worker whose request never comes to an end is replaced, and the next one is served" {
	start_session UVM_HANG_AT=planned
	timeout 100 swapctl out -p "$TARGET_PID" >/dev/null 2>&1 3>&- &
	wait_for 10 has_hung
	ask check
	is_replaced
}

@test "a keeper that is stopped holds up no fork" {
	start_session UVM_PATIENCE=20
	swap_most out -p "$TARGET_PID"
	kill -STOP "$(pgrep -P "$WORKER" -x swapctl-keeper)"
	ask fork
	ask check
	assert_equal "$(pid_of worker)" "$WORKER"
}

@test "a worker that waits for a program that is stopped is left alone" {
	start_session
	kill -STOP "$TARGET_PID"
	swap out -p "$TARGET_PID"
	swap out -p "$TARGET_PID"
	wait_for 2 swap in -p "$TARGET_PID"
	kill -CONT "$TARGET_PID"
	ask check
	assert_equal "$(pid_of worker)" "$WORKER"
}

# It gets a thousandth of a processor, and makes no step in more seconds than a hung one is given.
@test "a worker that is kept from its processor is left alone" {
	local out
	start_session
	THROTTLE=/sys/fs/cgroup/cpu/uvmtools-test.$$
	mkdir "$THROTTLE" 2>/dev/null || skip "no cgroup with a limit of processor time can be made here"
	echo 1000000 >"$THROTTLE/cpu.cfs_period_us"
	echo 1000 >"$THROTTLE/cpu.cfs_quota_us"
	echo "$WORKER" >"$THROTTLE/cgroup.procs"
	swap_most out -p "$TARGET_PID" 3>&- &
	out=$!
	wait_for 30 was_throttled 20
	echo -1 >"$THROTTLE/cpu.cfs_quota_us"
	wait "$out"
	ask check
	assert_equal "$(pid_of worker)" "$WORKER"
}
