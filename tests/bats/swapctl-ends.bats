#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# swapctl(1): whatever way a program ends, its session ends too, and leaves nothing behind.

bats_require_minimum_version 1.5.0
load swap_helper

MEBIBYTE=1048576

# Swaps out and in until that fails, in the background; the exit code that ended it goes to a file.
loop_until_it_fails() {
	(
		set +e
		while :; do
			timeout -k 5 60 swapctl out -p "$TARGET_PID" >/dev/null 2>>"$BATS_TEST_TMPDIR/loop_errors"
			status=$?
			((status == 0 || status == 3)) || break
			timeout -k 5 60 swapctl in -p "$TARGET_PID" >/dev/null 2>>"$BATS_TEST_TMPDIR/loop_errors"
			status=$?
			((status == 0)) || break
			echo >>"$BATS_TEST_TMPDIR/rounds"
		done
		echo "$status" >"$BATS_TEST_TMPDIR/ended"
	) 3>&- &
	LOOP=$!
	wait_for 20 has_rounds 3
}

has_rounds() {
	(($(wc -l 2>/dev/null <"$BATS_TEST_TMPDIR/rounds") >= $1))
}

# The loop has been told that the process is gone, and nothing is left.
ended_cleanly() {
	wait_for 10 test -e "$BATS_TEST_TMPDIR/ended"
	wait "$LOOP" || :
	assert_regex "$(<"$BATS_TEST_TMPDIR/ended")" '^[16]$'
	wait_for 10 is_session_gone
	wait_for 5 is_clean
	swap_fails "$1" . status -p "$TARGET_PID"
}

# Several times, for the moment it hits is not always the same.
dies_by() {
	local how
	for how in "$@" "$@" "$@"; do
		rm -f "$BATS_TEST_TMPDIR/ended" "$BATS_TEST_TMPDIR/rounds"
		start_with_input contents mixed $((32 * MEBIBYTE))
		loop_until_it_fails
		if [[ $how == exit ]]; then
			tell exit
		else
			kill "-$how" "$TARGET_PID"
		fi
		wait "$TARGET_PID" 2>/dev/null || :
		ended_cleanly 6
	done
}

@test "a program that is killed while it is swapped out and in" {
	dies_by KILL
}

@test "a program that ends by itself while it is swapped out and in" {
	dies_by exit
}

@test "a program that is ended by SIGTERM or an abort while it is swapped out and in" {
	dies_by TERM ABRT
}

@test "a program with many threads that is killed while it is swapped out and in" {
	start_with_input threads 8 $((8 * MEBIBYTE))
	loop_until_it_fails
	kill -KILL "$TARGET_PID"
	wait "$TARGET_PID" 2>/dev/null || :
	ended_cleanly 6
}

is_another_program() {
	grep -qx sleep "/proc/$TARGET_PID/comm"
}

@test "a program that becomes another by exec while it is swapped out and in" {
	local i
	for i in 1 2 3; do
		rm -f "$BATS_TEST_TMPDIR/ended" "$BATS_TEST_TMPDIR/rounds"
		start_with_input contents mixed $((32 * MEBIBYTE))
		loop_until_it_fails
		tell exec
		wait_for 10 is_another_program
		touch "$BATS_TEST_TMPDIR/exec"
		# A loop that finds the old session gone makes a new one, for the new program: that is right.
		kill -KILL "$TARGET_PID"
		wait "$TARGET_PID" 2>/dev/null || :
		ended_cleanly 6
	done
}

@test "after exec the old session ends, and the new program can have its own" {
	start_contents mixed $((16 * MEBIBYTE))
	out_region
	tell exec
	wait_for 10 is_another_program
	wait_for 10 is_session_gone
	swap_most out -p "$TARGET_PID"
	assert_equal "$(status_of .pid)" "$TARGET_PID"
	kill -0 "$TARGET_PID"
	swap_ok detach -p "$TARGET_PID"
	kill -0 "$TARGET_PID"
}

@test "a program that is killed with everything out takes its session along" {
	start_contents mixed $((32 * MEBIBYTE))
	swap_most out -p "$TARGET_PID"
	end_target "$TARGET_PID"
	wait_for 10 is_session_gone
	swap_fails 6 . in -p "$TARGET_PID"
	swap_fails 6 . detach -p "$TARGET_PID"
}

@test "interrupting swapctl loses nothing" {
	start_contents mixed $((64 * MEBIBYTE))
	local i
	swap_ok attach -p "$TARGET_PID" --compress zstd:12
	for i in 0.01 0.03 0.1 0.2 0.3; do
		timeout -s INT "$i" swapctl out -p "$TARGET_PID" >/dev/null 2>&1 3>&- || :
		ask check
		timeout -s KILL "$i" swapctl out -p "$TARGET_PID" >/dev/null 2>&1 3>&- || :
		ask check
	done
	swap_ok status -p "$TARGET_PID"
	swap_ok detach -p "$TARGET_PID"
	ask check
}
