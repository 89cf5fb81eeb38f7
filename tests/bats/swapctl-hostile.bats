#!/usr/bin/env bats
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
	pid=$(status_of "$(((RANDOM % 2)) && echo .worker_pid || echo .supervisor_pid)" 2>/dev/null) || return 0
	[[ ! $pid =~ ^[0-9]+$ ]] || kill -KILL "$pid" 2>/dev/null || :
}

@test "a program that forks, closes, limits, unmaps, overwrites and kills loses nothing but what it spoils" {
	local deadline=$((SECONDS + $(at_length 600 20))) i
	while ((SECONDS < deadline)); do
		start_with_input hostile mixed $((8 * MEBIBYTE)) $((RANDOM))
		swap_ok attach -p "$TARGET_PID"
		tell go
		for i in {1..8}; do
			try out
			((RANDOM % 4)) || kill_one_of_ours
			try in
			try status
		done
		ask stop
		ask stop # what it touches after its limits are back
		try detach
		ask stop
		end_target "$TARGET_PID"
		wait_for 20 is_clean
	done
}

@test "a thread that executes another program in the midst of it takes nothing of ours along" {
	local deadline=$((SECONDS + $(at_length 60 5)))
	while ((SECONDS < deadline)); do
		start_with_input hostile mixed $((4 * MEBIBYTE)) $((RANDOM))
		swap_ok attach -p "$TARGET_PID"
		try out
		tell go
		try in &
		tell exec
		wait $! || :
		wait_for 20 has_answers 2 # ready, go, and ready once more
		wait_for 20 is_session_gone
		wait_for 20 is_clean
		end_target "$TARGET_PID"
	done
}
