#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# swapctl(1): a target whose threads hardly get a processor; what cannot be done in time is not done, and nothing is lost.

bats_require_minimum_version 1.5.0
load swap_helper

MEBIBYTE=1048576

# One for each processor, and one more.
start_hogs() {
	local i
	HOGS=()
	for ((i = 0; i <= $(nproc); i++)); do
		(exec timeout 300 sh -c 'while :; do :; done') 3>&- &
		HOGS+=($!)
	done
}

# Each request may fail: no thread stops, or none runs. It says so, and the target goes on.
try_out_and_in() {
	local verb
	for verb in out in; do
		swap "$verb" -p "$TARGET_PID"
		if ((status != 0 && status != 1 && status != 3 && status != 7)); then
			show_run "$verb" -p "$TARGET_PID"
			return 1
		fi
	done
}

starved() {
	start_hogs
	repeat 10 1 try_out_and_in
	kill "${HOGS[@]}"
	wait "${HOGS[@]}" || :
	# Others may want the processors, too.
	chrt --other --all-tasks --pid 0 "$TARGET_PID"
}

is_detached() {
	swap detach -p "$TARGET_PID"
	swap status -p "$TARGET_PID"
	((status == 7))
}

@test "threads that hardly run see no wrong byte, and go on" {
	start_with_input threads 4 $((16 * MEBIBYTE))
	chrt --idle --all-tasks --pid 0 "$TARGET_PID"
	starved
	ask stop
	((${answer#ok } > 0))
}

@test "a program that hardly runs reads what it wrote" {
	start_with_input contents mixed $((32 * MEBIBYTE))
	chrt --idle --pid 0 "$TARGET_PID"
	tell check
	starved
	wait_for 30 has_answers 2
	ask check
	wait_for 20 is_detached
	ask check
}

@test "a program that waits long for its processor is swapped all the same" {
	local i
	HOGS=()
	start_with_input contents mixed $((8 * MEBIBYTE))
	ask check
	taskset --pid --cpu-list 0 "$TARGET_PID"
	renice 19 "$TARGET_PID"
	for i in {1..4}; do
		(exec timeout 300 taskset --cpu-list 0 sh -c 'while :; do :; done') 3>&- &
		HOGS+=($!)
	done
	repeat 3 1 swap_ok out -p "$TARGET_PID"
	kill "${HOGS[@]}"
	wait "${HOGS[@]}" || :
	ask check
}
