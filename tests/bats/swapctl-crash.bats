#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# swapctl(1): its own processes are killed at random moments, under load; the target loses nothing.

bats_require_minimum_version 1.5.0
load swap_helper

MEBIBYTE=1048576

# Swaps out and in until told to stop, or the target is gone. Its requests are cut short by the kills; what they do is not.
load_it() {
	until [[ -e $BATS_TEST_TMPDIR/stop ]] || ! kill -0 "$TARGET_PID" 2>/dev/null; do
		timeout 20 swapctl out -p "$TARGET_PID" >/dev/null 2>&1 3>&- || :
		timeout 20 swapctl in -p "$TARGET_PID" >/dev/null 2>&1 3>&- || :
	done
}

# kill_workers SECONDS: at moments drawn from $RANDOM, ten of them at least.
kill_workers() {
	local end=$((SECONDS + $1)) kills=0 worker loader
	load_it 3>&- &
	loader=$!
	while ((SECONDS < end || kills < 10)); do
		((SECONDS < end + 300))
		kill -0 "$TARGET_PID"
		read -rt "0.$((RANDOM % 300 + 20))" <> <(:) || :
		worker=$(pid_of worker)
		if [[ $worker ]] && kill -KILL "$worker" 2>/dev/null; then
			kills=$((kills + 1))
		fi
	done
	touch "$BATS_TEST_TMPDIR/stop"
	wait "$loader"
}

@test "threads see no wrong byte while workers are killed under them" {
	start_with_input threads 4 $((32 * MEBIBYTE))
	swap_ok attach -p "$TARGET_PID"
	kill_workers "$(at_length 15 3)"
	swap_most out -p "$TARGET_PID"
	check_session
	ask stop
	((${answer#ok } > 0))
}

@test "a program that forks, moves and discards all the time sees none either" {
	start_with_input soak "$RANDOM"
	swap_ok attach -p "$TARGET_PID"
	kill_workers "$(at_length 15 3)"
	swap_most out -p "$TARGET_PID"
	check_session
	ask stop
	((${answer#ok } > 0))
}

@test "what is out stays out, and comes back right, when the worker is killed at rest" {
	local worker
	start_with_input contents mixed $((32 * MEBIBYTE))
	swap_most out -p "$TARGET_PID"
	worker=$(pid_of worker)
	kill -KILL "$worker"
	wait_for 5 another worker "$worker"
	(($(status_of .out_pages) > 8000))
	check_session
	ask check
	check_session
	swap_ok detach -p "$TARGET_PID"
}

@test "detach works after the supervisor was killed" {
	start_with_input contents text $((8 * MEBIBYTE))
	swap_most out -p "$TARGET_PID"
	kill -KILL "$(pid_of supervisor)"
	ask check
	swap_ok detach -p "$TARGET_PID"
}
