#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# The reclaim ring as a program has it that links libuvm.

setup() {
	load helper
	cat >"$BATS_TEST_TMPDIR/pairs.c" <<-'END'
		#include <stdlib.h>
		#include <sys/mman.h>
		#include <uvm/reclaim.h>

		/* Enters and takes back so many times, with new ids and with an old one. */
		int main(int argc, char **argv)
		{
			uvm_reclaim_id_t old = UVM_RECLAIM_ID_NULL, id;
			uvm_reclaim_state_t state;
			uvm_reclaim_ring_t ring;
			bool update;
			uint64_t at = (uint64_t)mmap(NULL, 65536, 3, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

			if (argc != 2 || uvm_reclaim_ring_allocate(&ring, 131072, uvm_reclaim_round_capacity(131072)))
				return 1;
			for (int i = 0; i < atoi(argv[1]); i++) {
				id = UVM_RECLAIM_ID_NULL;
				if (uvm_reclaim_try_enter(ring, at, 65536, UVM_RECLAIM_FREE, &id, &update) ||
				    uvm_reclaim_try_cancel(ring, id, at, 65536, UVM_RECLAIM_FREE, &state, &update) ||
				    uvm_reclaim_try_enter(ring, at, 65536, UVM_RECLAIM_FREE, &old, &update) ||
				    uvm_reclaim_try_cancel(ring, old, at, 65536, UVM_RECLAIM_FREE, &state, &update) ||
				    state != UVM_RECLAIM_UNRECLAIMED)
					return 1;
			}
			return 0;
		}
	END
	gcc -O2 -Wall -Werror -I"$ROOT/libuvm" -o "$BATS_TEST_TMPDIR/pairs" "$BATS_TEST_TMPDIR/pairs.c" -L"$UVM_BUILD/lib" -luvm \
		-Wl,-rpath,"$UVM_BUILD/lib"
}

# How many system calls it makes.
calls() {
	strace -qq -o "$BATS_TEST_TMPDIR/calls" "$BATS_TEST_TMPDIR/pairs" "$1"
	wc -l <"$BATS_TEST_TMPDIR/calls"
}

@test "entering and taking back makes no system call" {
	local few many
	few=$(calls 1)
	many=$(calls 100000)
	assert [ "$few" -gt 10 ]
	assert_equal "$many" "$few"
}

@test "libuvm exports the functions of its headers, and nothing else" {
	diff -u --label headers --label libuvm.so \
		<(cat "$ROOT"/libuvm/uvm/*.h | grep -v '^[[:space:]/]*\*' | grep -oE '\buvm_[a-z_]+\(' | tr -d '(' | sort -u) \
		<(nm -D --defined-only "$UVM_BUILD/lib/libuvm.so" | sed -n 's/.* T \([a-z_]*\).*/\1/p' | sort -u)
}
