#!/usr/bin/env bats
# swapctl(1): what the kernel writes at the end of a thread, and on its way out of the kernel, is never out.

bats_require_minimum_version 1.5.0
load swap_helper

MEBIBYTE=1048576

# out_all: everything that can leave has left, and what cannot is no reason to say that something is missing.
out_all() {
	swap_most out -p "$TARGET_PID"
	(($(summary .moved_bytes) > 0))
}

# The target's main thread has ended, and but one of the others.
is_one_left() {
	[[ $(<"/proc/$TARGET_PID/stat") == *") Z "* && $(find "/proc/$TARGET_PID/task" -mindepth 1 -maxdepth 1 | wc -l) == 2 ]]
}

@test "robust mutexes in private memory tell that their owner has ended, with the memory of the program out" {
	start_with_input ends $((4 * MEBIBYTE))
	ask lock 3
	out_all
	ask lock 20
	ask lock 1
	out_all
	ask end
}

@test "the word that a thread of clone(2) leaves behind is cleared, with the memory of the program out" {
	start_with_input ends $((4 * MEBIBYTE))
	ask word
	if [[ ${UVM_ROAD:-} == agent ]]; then
		swap_fails 4 'use --road inject' out -p "$TARGET_PID"
	else
		out_all
		ask word
		out_all
	fi
	ask end
}

@test "threads that start and lock while pages leave are told of all the same" {
	local i
	start_with_input ends $((4 * MEBIBYTE))
	swap_ok attach -p "$TARGET_PID"
	for i in {1..6}; do
		swap out -p "$TARGET_PID" &
		ask join
		ask lock 4
		wait $!
		swap_most out -p "$TARGET_PID"
		ask end
	done
}

@test "a thread in a restartable sequence of which the description is out is not interrupted without being told" {
	[[ ${UVM_ROAD:-} != agent ]] || return 0 # which stops no thread
	start_with_input section $((4 * MEBIBYTE))
	out_region
	assert_equal "$(wc -l <"$TARGET_DIR/out")" 1
	tell leave
	wait_for 10 is_one_left
	swap_most out -p "$TARGET_PID"
	take_answer 1 leave
}
