#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# swapctl(1): programs that do their worst to a session hurt nobody but themselves.

bats_require_minimum_version 1.5.0
load swap_helper

MEBIBYTE=1048576

# try VERB: it comes to an end, and does not crash.
try() {
	local status=0
	timeout 60 swapctl "$1" -p "$TARGET_PID" >"$BATS_TEST_TMPDIR/records" 2>"$BATS_TEST_TMPDIR/errors" 3>&- || status=$?
	if ((status > 7)); then
		echo "swapctl $1: $status" >&2
		tail -n 3 "$BATS_TEST_TMPDIR/errors" >&2
		return 1
	fi
}

kill_one_of_ours() {
	local pid
	local which=supervisor
	((RANDOM % 2)) || which=worker
	pid=$(status_of ".${which}_pid" 2>/dev/null) || return 0
	[[ ! $pid =~ ^[0-9]+$ ]] || kill -KILL "$pid" 2>/dev/null || :
}

# swap_about COMMAND...: out and in, of a program that is hostile; the command is run now and then.
swap_about() {
	local round
	for ((round = 0; round < 8; round++)); do
		try out
		((RANDOM % 4)) || "$@"
		try in
		try status
	done
}

# rounds LONG SHORT MEBIBYTES COMMAND: for so many seconds, the command with another hostile program each time.
rounds() {
	local deadline=$((SECONDS + $(at_length "$1" "$2")))
	while ((SECONDS < deadline)); do
		start_with_input hostile mixed $(($3 * MEBIBYTE)) $((RANDOM))
		swap_ok attach -p "$TARGET_PID"
		"$4"
		end_target "$TARGET_PID"
		wait_for 20 is_clean
	done
}

is_right() {
	ask go
	swap_about kill_one_of_ours
	ask stop
	assert_equal "$answer" "ok 0"
	swap_ok detach -p "$TARGET_PID"
	ask stop
	assert_equal "$answer" "ok 0"
}

@test "a program that forks, closes and duplicates descriptors, changes flags and lowers limits loses nothing" {
	rounds 300 10 8 is_right
}

has_answered_or_ended() {
	has_answers "$1" || [[ $(sed -n 's/^State:\t\(.\).*/\1/p' "/proc/$TARGET_PID/status") != [SRDTt] ]]
}

# What it takes away while one of its threads is there ends it.
is_not_wrong() {
	ask harm
	swap_about kill_one_of_ours
	tell stop
	wait_for 60 has_answered_or_ended 3
	run ! grep '^wrong' "$TARGET_DIR/out"
	try detach
}

@test "a program that unmaps, overwrites, kills and traces what is ours loses nothing but what it spoils, and hurts nobody else" {
	rounds 300 15 8 is_not_wrong
}

becomes_another() {
	try out
	ask go
	try in &
	tell exec
	wait $! || :
	wait_for 20 has_answers 3 # ready, ok, and ready once more
	wait_for 20 is_session_gone
	wait_for 20 is_clean
}

@test "a thread that executes another program in the midst of it takes nothing of ours along" {
	rounds 60 5 4 becomes_another
}
