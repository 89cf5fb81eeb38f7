#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# The programs in examples/ build without a warning, as others would build them, and do what they say.

bats_require_minimum_version 1.5.0
load helper

setup() {
	cd "$BATS_TEST_TMPDIR" || return
	export LD_LIBRARY_PATH=$UVM_BUILD/lib
}

# build COMPILER SOURCE [OPTION...]: against the shared library, into ./program.
build() {
	run -0 "$1" -Wall -Wextra -Werror -o program "$ROOT/examples/$2" "-I$ROOT/libuvm" "-L$UVM_BUILD/lib" -luvm "${@:3}"
	assert_output ""
}

@test "every header of the library has an example in C" {
	local header
	for header in "$ROOT"/libuvm/uvm/*.h; do
		grep -q "^#include <uvm/${header##*/}>" "$ROOT/examples/$(basename "$header" .h).c"
	done
}

@test "space.c clones a window, shared and static, with gcc and clang" {
	local compiler
	for compiler in gcc clang; do
		build "$compiler" space.c
		run -0 ./program
		assert_output "original: after, clone: before"
	done
	run -0 gcc -o static "$ROOT/examples/space.c" "-I$ROOT/libuvm" "$UVM_BUILD/lib/libuvm.a" -pthread
	LD_LIBRARY_PATH='' run -0 ./static
	assert_output "original: after, clone: before"
	run -0 ldd static
	refute_output --partial libuvm
}

@test "reclaim.c takes back what it has freed, also when it was reclaimed" {
	build gcc reclaim.c -pthread
	run -0 ./program
	assert_line "the same block: yes"
	assert_line "its contents after a flush: 0"
	(($(wc -l <"$ROOT/examples/reclaim.c") <= 130))
}

@test "reclaim.c keeps what it frees however often it takes it back" {
	{
		sed 's/^int main/int example/' "$ROOT/examples/reclaim.c"
		echo 'int main(void) {
			char *at = allocator_begin() ? NULL : block_take();
			int kept = 0;
			for (int i = 0; at && i < 5 * BLOCKS; i++) {
				*at = 1;
				block_give(at);
				at = block_take();
				kept += at && *at == 1;
			}
			return kept != 5 * BLOCKS;
		}'
	} >often.c
	run -0 gcc -Wall -Werror -o often often.c "-I$ROOT/libuvm" "-L$UVM_BUILD/lib" -luvm -pthread
	run -0 ./often
}

@test "swap_agent.c is swapped by its agent, and has the same sum before and after" {
	local sums
	build gcc swap_agent.c
	mkfifo ask
	exec {ASK}<>ask
	./program <ask >sums 3>&- &
	add_target $!
	TARGET_PID=$!
	wait_for 20 has_sums 1
	run -0 swapctl out --access agent -p "$TARGET_PID"
	assert_output --regexp '"type":"summary".*"moved_bytes":1[0-9]{7}'
	echo -n x >&"$ASK"
	wait_for 20 has_sums 2
	run -0 swapctl detach -p "$TARGET_PID"
	sums=$(sort -u sums | wc -l)
	assert_equal "$sums" 1
}

has_sums() {
	(($(wc -l <sums) >= $1))
}

@test "space.cc reads pages that its own function fills" {
	build g++ space.cc -std=c++17
	run -0 ./program
	assert_output "page 7 holds 7"
}

@test "space.py does the same by ctypes, and has errors by their names" {
	run -0 python3 "$ROOT/examples/space.py"
	assert_line "original: after, clone: before"
	assert_line "uvm_space_create: InvalidArgument (Invalid argument)"
}
