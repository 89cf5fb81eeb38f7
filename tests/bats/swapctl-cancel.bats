#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# swapctl(1): what was asked for can be ended before it is done, by who asked for it and by a detach.

bats_require_minimum_version 1.5.0
load swap_helper

PATH=$UVM_BUILD/failpoints/bin:$PATH
MEBIBYTE=1048576
BYTES=$((64 * MEBIBYTE))

# slow POINT:MS: a target whose session takes so long each time it passes there.
slow() {
	start_contents mixed $BYTES
	UVM_PAUSE_AT=$1 swap_ok attach -p "$TARGET_PID" --store memory
}

# in_background VERB...: a swapctl that is ended by the test; its records are in $RECORDS.
in_background() {
	RECORDS=$BATS_TEST_TMPDIR/background
	ERRORS=$BATS_TEST_TMPDIR/background.errors
	timeout -k 5 120 swapctl "$@" -p "$TARGET_PID" >"$RECORDS" 2>"$ERRORS" 3>&- &
	COMMAND=$!
}

# ends STATUS: the command in the background.
ends() {
	status=0
	wait "$COMMAND" || status=$?
	assert_equal "$status" "$1"
}

out_between() {
	local pages
	pages=$(status_of .out_pages)
	((pages >= $1 && pages <= $2))
}

@test "SIGINT ends a swap-out early, with a summary of what was done" {
	local signal code=130
	slow moved:300
	for signal in INT TERM; do
		in_background out
		wait_for 20 out_between 1000 16000
		kill -"$signal" "$(pgrep -P "$COMMAND")"
		ends "$code"
		assert_equal "$(<"$ERRORS")" ""
		(($(summary .moved_bytes) > 0 && $(summary .moved_bytes) < BYTES * 3 / 4))
		(($(record 'map(.skipped.cancelled // 0) | add') > 0))
		check_session
		swap_ok in -p "$TARGET_PID"
		code=143
	done
	ask check
}

@test "SIGINT ends a swap-in early, with a summary of what was done" {
	slow loaded:20
	swap_most out -p "$TARGET_PID"
	in_background in
	wait_for 20 out_between 100 15000
	kill -INT "$(pgrep -P "$COMMAND")"
	ends 130
	assert_equal "$(<"$ERRORS")" ""
	(($(summary .brought_bytes) > 0 && $(summary .brought_bytes) < BYTES * 3 / 4))
}

@test "a detach does not wait for the end of a swap-out" {
	slow moved:300
	snapshot
	in_background out
	wait_for 20 out_between 1000 12000
	swap_ok detach -p "$TARGET_PID"
	(($(summary .brought_bytes) < BYTES * 3 / 4))
	ends 1
	assert_regex "$(<"$BATS_TEST_TMPDIR/background.errors")" '^swapctl out: cannot swap out all of .*the session is to end'
	ask check
}

@test "a session that is asked to end by a signal answers until everything is back" {
	slow loaded:20
	swap_most out -p "$TARGET_PID"
	kill -TERM "$(status_of .worker_pid)"
	wait_for 20 out_between 100 15000
	wait_for 60 no_session
	ask check
}

# Each of the two steps takes a second here, as it may on a machine with more work than processors.
@test "a thread that was kept for long runs between the steps of a swap-out" {
	start_contents mixed $MEBIBYTE
	UVM_ACCESS=ptrace UVM_PAUSE_AT=discarded:1000,moving:1000 swap_ok attach -p "$TARGET_PID" --store memory
	region "$START" "$END" >"$BATS_TEST_TMPDIR/region"
	swap_most out -p "$TARGET_PID" -r "$BATS_TEST_TMPDIR/region"
	(($(status_of .longest_stop_us) > 1000000 && $(status_of .longest_stop_us) < 2000000))
	ask check
}
