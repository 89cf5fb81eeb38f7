#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# swapctl(1): what a program may do to memory that is out. The program verifies all of it itself, at every step.

bats_require_minimum_version 1.5.0
load swap_helper

MEBIBYTE=1048576

start_changes() {
	start_with_input changes mixed $((${1:-16} * MEBIBYTE))
}

# out_ask COMMAND...: with everything out the program does something, and still has what it should; again after another swap-out.
out_ask() {
	region "$START" "$END" >"$BATS_TEST_TMPDIR/region"
	swap_most out -p "$TARGET_PID" -r "$BATS_TEST_TMPDIR/region"
	ask "$@"
	read_answer
	region "$START" "$END" >"$BATS_TEST_TMPDIR/region"
	swap out -p "$TARGET_PID" -r "$BATS_TEST_TMPDIR/region"
	((status == 0 || status == 3))
	ask check
}

is_now() {
	[[ $(readlink "/proc/$1/exe") == */"$2" ]]
}

is_over() {
	[[ ! -e /proc/$1/exe ]] || ! readlink "/proc/$1/exe" >/dev/null
}

@test "three generations have the same memory while it is out in all of them" {
	start_changes
	out_region
	grow_child - first
	grow_child first second
	grow_child second third
	wait_for 5 status_is '.spaces == 4'
	ask_child third check
	ask_child first write 11
	ask_child first check
	ask_child second check
	ask_child third write 12
	ask check
	ask_child second check
	ask_child third check
}

@test "what the store holds is freed when the last of a family is done with it, and not before" {
	local full
	start_with_input changes random $((16 * MEBIBYTE))
	out_region
	full=$(status_of .store_allocated_bytes)
	((full >= 16 * MEBIBYTE))
	grow_child - first
	grow_child first second
	ask check
	ask_child first check
	(($(status_of .store_allocated_bytes) >= full))
	ask_child second check
	wait_for 10 status_is ".store_allocated_bytes <= $((MEBIBYTE / 4))"
	wait_for 10 status_is '.spaces == 1'
}

@test "children that exec or exit give up what they had out" {
	local first second
	start_with_input changes random $((16 * MEBIBYTE))
	out_region
	grow_child - first
	first=$CHILD
	grow_child first second
	second=$CHILD
	echo exec >"$TARGET_DIR/first"
	wait_for 10 is_now "$first" sleep
	wait_for 10 status_is '.spaces == 2'
	ask_child second check
	ask check
	out_region
	grow_child - third
	echo exit >"$TARGET_DIR/third"
	echo exit >"$TARGET_DIR/second"
	wait_for 10 is_over "$second"
	wait_for 10 status_is '.spaces == 1'
	ask check
	wait_for 10 status_is ".store_allocated_bytes <= $((MEBIBYTE / 4))"
}

@test "grandchildren go on with what is out after parent and grandparent have ended" {
	start_changes
	out_region
	grow_child - first
	grow_child first second
	grow_child second third
	echo exit >"$TARGET_DIR/second"
	tell exit
	wait_for 10 is_over "$TARGET_PID"
	ask_child third check
	ask_child first check
	echo exit >"$TARGET_DIR/first"
	ask_child third write 5
	ask_child third check
	echo exit >"$TARGET_DIR/third"
	wait_for 10 is_session_gone
}

@test "detach brings everything back to a family of four, which then goes on alone" {
	start_changes
	out_region
	grow_child - first
	grow_child first second
	grow_child second third
	swap_ok detach -p "$TARGET_PID"
	wait_for 5 is_session_gone
	ask check
	for name in first second third; do
		ask_child "$name" grow
		ask_child "$name" write 3
		ask_child "$name" check
	done
}

@test "a child whose pages are all back touches new memory, though others hold copies of its descriptor" {
	export UVM_ACCESS=ptrace # where children of the program inherit them
	start_changes 8
	out_region
	grow_child - first
	is_held() {
		compgen -G "/proc/$TARGET_PID/fd/*" | xargs -n 1 readlink | grep -c userfaultfd | grep -qx 2
	}
	wait_for 10 is_held
	grow_child - second # has a copy of everything that its parent has open
	ask_child first check
	ask_child first grow
	ask_child first check
	ask_child first write 4
	ask_child first check
	swap_ok detach -p "$TARGET_PID"
	ask_child first grow
	ask_child first write 5
	ask_child second check
}

@test "a child that borrows the memory, and a program that is spawned, find it right" {
	start_changes
	out_ask vfork
	out_ask spawn
}

@test "mappings that grow, shrink, and are left behind" {
	start_changes
	out_ask grow
	out_ask leave
	out_ask shrink
	wait_for 10 status_is ".store_allocated_bytes <= $((12 * MEBIBYTE))"
	out_ask grow
}

@test "locked memory that is out grows with mremap, and nobody waits for ever" {
	start_changes 4
	out_region
	grow_child - first
	ask lock
	ask grow
	ask check
	ask_child first lock
	ask_child first grow
	ask_child first unlock
	ask_child first grow
	ask_child first check
	ask unlock
	ask check
}

@test "what is mapped over swapped pages holds zeros" {
	start_changes
	out_ask replace
	out_ask replace
}

@test "swapped pages under mprotect keep their contents" {
	start_changes
	out_ask protect
	out_ask protect
}

@test "mlock brings everything in and keeps it there" {
	start_changes
	out_region
	ask lock
	read_answer
	assert_equal "$(resident)" $((16 * MEBIBYTE))
	swap out -p "$TARGET_PID" -r "$BATS_TEST_TMPDIR/region"
	assert_equal "$status" 0
	assert_equal "$(record '.[0].skipped.locked')" $((16 * MEBIBYTE))
	ask unlock
	out_region
	assert_equal "$(resident)" 0
	ask check
}

@test "a program that has locked all of its memory once is swapped as any other" {
	start_changes
	for when in current future both; do
		out_ask lockall "$when"
		out_region
		assert_equal "$(resident)" 0
	done
	ask check
}

@test "the heap grows and shrinks over what is out" {
	start_changes
	for _ in {1..5}; do
		swap_most out -p "$TARGET_PID"
		ask heap
	done
	ask check
}

@test "advice about what to expect changes no byte" {
	start_changes 8
	for kind in NORMAL RANDOM SEQUENTIAL WILLNEED HUGEPAGE NOHUGEPAGE COLLAPSE MERGEABLE UNMERGEABLE COLD PAGEOUT POPULATE_READ \
		POPULATE_WRITE DONTDUMP DODUMP KEEPONFORK DOFORK REMOVE; do
		out_ask advise "$kind"
	done
}

@test "advice that discards leaves zeros" {
	start_changes 8
	for kind in DONTNEED DONTNEED_LOCKED FREE; do
		out_ask advise "$kind"
		ask write "$RANDOM"
	done
}

@test "a child finds zeros in what is wiped on fork, and the parent what it had" {
	start_changes
	out_region
	ask advise WIPEONFORK
	grow_child - first
	ask_child first check
	ask check
	ask_child first write 9
	grow_child first second
	ask_child second check
	ask_child first check
}

@test "a child of a child finds zeros in what that one wipes on fork, and what it had where it changed its mind" {
	start_changes
	out_region
	for name in wipes keeps; do
		grow_child - "$name"
		ask_child "$name" peek # who has touched nothing is not known
		ask_child "$name" advise WIPEONFORK
	done
	ask_child keeps advise KEEPONFORK
	grow_child wipes wiped
	grow_child keeps kept
	ask advise WIPEONFORK
	grow_child - first
	grow_child first second
	ask_child first advise KEEPONFORK
	grow_child first third
	for name in wiped kept wipes keeps second third first; do
		ask_child "$name" check
	done
	ask check
	check_session
}

@test "what is kept from children with MADV_DONTFORK does not turn up in what they map there" {
	start_changes
	out_region
	grow_child - first
	ask_child first advise DONTFORK
	grow_child first second
	ask advise DONTFORK
	grow_child - third
	for name in second third; do
		ask_child "$name" map
		ask_child "$name" check
	done
	swap_ok detach -p "$TARGET_PID"
	for name in first second third; do
		ask_child "$name" check
	done
	ask check
}

@test "a child finds what its parent kept from it when it forked, whatever that one changed right after" {
	start_with_input marks $((3 * MEBIBYTE)) 4000
	out_region
	for _ in {1..10}; do
		ask wipe
		ask keep
	done
	check_session
	(($(status_of .out_pages) == 768))
	ask check
}

@test "what is kept from children leaves like the rest, and a child has none of it" {
	start_with_input marks $((12 * MEBIBYTE)) 1
	ask absent
	superpages -p "$TARGET_PID" --swappable 3>&- | swap_ok out -p "$TARGET_PID" -r -
	(($(status_of .out_pages) >= 12 * MEBIBYTE * 8 / 10 / 4096))
	ask absent
	out_region
	(($(status_of .out_pages) >= 12 * MEBIBYTE * 8 / 10 / 4096))
	kill -KILL "$(status_of .worker_pid)"
	ask absent
	check_session
	ask check
	swap_ok detach -p "$TARGET_PID"
	ask check
}

@test "pages discarded again and again while they go out and come in" {
	start_changes
	swap_ok attach -p "$TARGET_PID"
	tell discards 400
	until has_answers 2; do
		out_and_in
	done
	run ! grep wrong "$TARGET_DIR/out"
	ask check
}

@test "userfaultfds of the program's own go on working, and what they watch is left alone" {
	start_with_input own_uffd
	swap_most out -p "$TARGET_PID"
	ask check
	assert_equal "$(resident "$START")" $((4 * MEBIBYTE))
	swap_most out -p "$TARGET_PID"
	region "$START" "$END" >"$BATS_TEST_TMPDIR/region"
	swap out -p "$TARGET_PID" -r "$BATS_TEST_TMPDIR/region"
	assert_equal "$status" 0
	assert_equal "$(record '.[0].skipped.userfaultfd')" $((4 * MEBIBYTE))
	ask check
	swap_ok detach -p "$TARGET_PID"
	ask discard
	ask check
}

# guards: the kernel knows them, and says where they are (Linux 6.15).
needs_guards() {
	run_tool python3 - <<-'PYTHON'
		import ctypes, mmap
		m = mmap.mmap(-1, mmap.PAGESIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
		at = ctypes.addressof(ctypes.c_char.from_buffer(m))
		libc = ctypes.CDLL(None)
		libc.madvise.argtypes = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
		if libc.madvise(at, mmap.PAGESIZE, 102):
		    raise SystemExit("no")
		with open("/proc/self/pagemap", "rb") as pagemap:
		    pagemap.seek(at // mmap.PAGESIZE * 8)
		    print("told" if int.from_bytes(pagemap.read(8), "little") >> 58 & 1 else "not told")
	PYTHON
	if [[ $(<"$RECORDS") != told ]]; then
		skip "this kernel has no guards, or does not tell where they are"
	fi
}

@test "guards over what is out stay when it is brought back, and nothing is under them" {
	needs_guards
	start_changes
	out_region
	ask guard
	swap_ok in -p "$TARGET_PID"
	ask check
	out_region
	assert_equal "$(record '.[0].skipped | has("poisoned")')" false
	ask check
	check_session
	ask unguard
	ask check
	out_region
	ask fill
	ask check
}

@test "guards over what is out are there for who touches their neighbours" {
	needs_guards
	start_changes
	out_region
	ask guard
	ask check
	ask unguard
	ask check
}

@test "what was out under a guard that is removed holds zeros once the guard was seen" {
	needs_guards
	start_changes
	out_region
	ask guard
	wait_for 10 status_is '.out_pages == 4096 - 342'
	ask unguard
	ask check
	wait_for 10 status_is '.out_pages == 0'
}

@test "guards of a child over what is out stay when it is brought back" {
	needs_guards
	start_changes
	out_region
	grow_child - first
	ask_child first peek # who has touched nothing is not known
	ask_child first guard
	grow_child first second
	ask_child second check
	swap_ok detach -p "$TARGET_PID"
	ask_child first check
	ask_child first unguard
	ask_child first check
	ask check
}
