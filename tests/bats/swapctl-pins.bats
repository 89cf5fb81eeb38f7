#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
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
	if [[ ${UVM_ACCESS:-} == agent ]]; then
		swap_fails 4 'use --access ptrace' out -p "$TARGET_PID"
	else
		out_all
		ask word
		out_all
	fi
	ask end
}

@test "a thread that waits for a futex with priority inheritance gets it when its owner has ended, with the memory of the program out" {
	local i
	start_with_input ends $((4 * MEBIBYTE))
	for i in 1 2; do
		ask inherit
		out_all
		ask end
	done
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
	[[ ${UVM_ACCESS:-} != agent ]] || return 0 # which stops no thread
	export UVM_ACCESS=ptrace # which may have to stop it
	start_with_input section $((4 * MEBIBYTE))
	out_region
	assert_equal "$(wc -l <"$TARGET_DIR/out")" 1
	tell leave
	wait_for 10 is_one_left
	swap_most out -p "$TARGET_PID"
	take_answer 1 leave
}

# ends_of PROGRAM: threads of a program end with its memory out, old ones and new ones.
ends_of() {
	start_with_input "$1" $((4 * MEBIBYTE))
	ask join
	ask lock 3
	ask word
	out_all
	ask join
	ask lock 2
	out_all
	ask end
	ask join
	ask lock 2
	out_all
	ask end
	end_current
}

@test "what threads of musl leave behind, and of static programs, is cleared with the memory of the program out" {
	local program=$BATS_TEST_TMPDIR/ends
	[[ ${UVM_ACCESS:-} != agent ]] || return 0 # which has a library of its own in the program
	musl-gcc -D_GNU_SOURCE -O2 -pthread -o "$program" "$ROOT/tests/targets/ends.c"
	ends_of "$program"
	musl-gcc -static -D_GNU_SOURCE -O2 -pthread -o "$program-static" "$ROOT/tests/targets/ends.c"
	ends_of "$program-static"
	gcc -static -D_GNU_SOURCE -O2 -pthread -o "$program-glibc" "$ROOT/tests/targets/ends.c"
	ends_of "$program-glibc"
}

# start_sharing: a program, and CHILD, which shares its memory and obeys "one".
start_sharing() {
	start_with_input sharing $((8 * MEBIBYTE))
	grow_child - one
}

# tell_child COMMAND: without waiting for an answer.
tell_child() {
	echo "$*" >"$TARGET_DIR/one"
}

@test "a process that shares memory leaves it as its program expects, whichever of them was swapped" {
	[[ ${UVM_ACCESS:-} != agent ]] || return 0 # which cannot ask it
	start_sharing
	out_all
	tell_child exit
	ask gone
	ask check
	end_current
	start_sharing
	swap_most out -p "$CHILD"
	(($(summary .moved_bytes) > 0))
	tell_child exit
	ask gone
	ask check
}

@test "memory that is shared is one session's" {
	[[ ${UVM_ACCESS:-} != agent ]] || return 0 # in which nothing leaves
	start_sharing
	out_all
	swap out -p "$CHILD"
	assert_equal "$status" 1
	assert_equal "$(<"$ERRORS")" \
		"swapctl out: cannot attach to process $CHILD: its memory is that of process $TARGET_PID, which has a session (name that one)"
	swap_ok detach -p "$TARGET_PID"
	swap_most out -p "$CHILD"
	(($(summary .moved_bytes) > 0))
	ask check
}

@test "memory that is out outlives the process that was swapped in one that shares it" {
	local end
	musl-gcc -static -x c -o "$BATS_TEST_TMPDIR/other" - <<<'int pause(void); int main(void) { for (;;) pause(); }'
	for end in exit "exec $BATS_TEST_TMPDIR/other"; do
		start_sharing
		out_all
		tell "$end"
		wait_for 10 is_another "$TARGET_PID"
		ask_child one fork
		ask_child one check
		tell_child exit
		wait_for 10 is_session_gone
		end_target "$TARGET_PID"
		start_sharing
		swap_most out -p "$CHILD"
		tell_child "$end"
		wait_for 10 is_another "$CHILD"
		ask check
		end_current
	done
}

# is_another PID: it has ended, or runs another program.
is_another() {
	[[ $(readlink "/proc/$1/exe") != */sharing ]]
}

@test "a program that was executed is not taken for the one before, which lives on in a process that shares its memory" {
	musl-gcc -static -x c -o "$BATS_TEST_TMPDIR/other" - <<<'int pause(void); int main(void) { for (;;) pause(); }'
	start_sharing
	out_all
	tell "exec $BATS_TEST_TMPDIR/other"
	wait_for 10 is_another "$TARGET_PID"
	swap_fails 6 'another program' detach -p "$TARGET_PID"
	kill -0 "$TARGET_PID"
	ask_child one check
	tell_child exit
	wait_for 10 is_session_gone
}
