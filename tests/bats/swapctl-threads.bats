#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# swapctl(1): programs that work on their memory while it leaves and comes back, over and over.

bats_require_minimum_version 1.5.0
load swap_helper

MEBIBYTE=1048576

@test "eight threads never see a wrong byte while their memory leaves and comes back" {
	start_with_input threads 8 $((32 * MEBIBYTE))
	repeat 20 5 out_and_in
	repeat_until '.moved_pages_total > 8 * 8192 and .faults > 100' out_and_in
	check_session
	ask stop
	((${answer#ok } > 0))
}

@test "a program that allocates, frees, moves, discards and forks all the time sees no wrong byte" {
	start_with_input soak 20250101
	repeat 20 5 swap_most out -p "$TARGET_PID"
	repeat_until '.faults > 100 and (.events | .fork > 0 and .remap > 0 and .remove > 0 and .unmap > 0)' swap_most out -p "$TARGET_PID"
	check_session
	ask stop
	((${answer#ok } > 100))
}

@test "it sees none with other seeds, and when its session ends in the midst of it" {
	local seed
	for seed in 1 2 3; do
		start_with_input soak "$seed"
		repeat 2 1 swap_most out -p "$TARGET_PID"
		swap_ok detach -p "$TARGET_PID"
		wait_for 10 is_session_gone
		ask stop
		end_current
	done
}

# Most faults come while an event of another thread is read, and have to be tried again; none may be lost over that.
@test "threads that discard what is out and touch it again all go on" {
	start_with_input threads 8 $((8 * MEBIBYTE)) discard
	repeat 15 5 out_and_in
	repeat_until '.events.remove > 1000' out_and_in
	check_session
	ask stop
	((${answer#ok } > 0))
}

@test "system calls take buffers that are swapped out: no EFAULT, no EINTR, no wrong byte" {
	start_with_input syscalls $((32 * MEBIBYTE))
	repeat 15 5 out_and_in
	repeat_until '.faults > 100' out_and_in
	check_session
	ask stop
	((${answer#ok } > 10))
}

@test "threads go on while sessions come and go" {
	start_with_input threads 4 $((8 * MEBIBYTE))
	come_and_go() {
		swap_most out -p "$TARGET_PID"
		swap_ok detach -p "$TARGET_PID"
		wait_for 10 is_session_gone
	}
	for _ in {1..4}; do
		come_and_go
	done
	ask stop
}
