#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# swapctl(1): what it refuses, with which line and exit code, and that the process is left alone.

bats_require_minimum_version 1.5.0
load swap_helper

MEBIBYTE=1048576

# refuses STATUS PATTERN VERB ARGUMENT...: fails so, and the target is what it was.
refuses() {
	swap_fails "$@"
	assert_equal "$(grep -c '"type":"region"' "$RECORDS")" 0
	wait_for 5 unchanged
}

start_victim() {
	start_contents text $((4 * MEBIBYTE))
	REGIONS=$BATS_TEST_TMPDIR/regions
	snapshot
}

refuses_regions() {
	refuses "$1" "$2" out -p "$TARGET_PID" -r "$REGIONS"
	assert_equal "$(resident)" $((4 * MEBIBYTE))
}

@test "without a process every verb that needs one says so" {
	local verb
	for verb in attach out in check detach; do
		swap_fails 2 'PID' "$verb"
	done
}

@test "a process that does not exist is refused" {
	local verb pid
	pid=$(</proc/sys/kernel/pid_max) # one more than the greatest there can be
	for verb in attach out in check detach status; do
		swap_fails 6 'no such process' "$verb" -p "$pid"
	done
}

@test "a process that has ended but was not waited for is refused" {
	cat >"$BATS_TEST_TMPDIR/parent" <<-'PYTHON'
		import os, time
		child = os.fork()
		if child == 0:
		    os._exit(0)
		os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
		print("ready", child, flush=True)
		time.sleep(1000)
	PYTHON
	start_target /usr/bin/python3 "$BATS_TEST_TMPDIR/parent"
	swap_fails 6 'it is a zombie' out -p "$TARGET_READY"
}

@test "what is no process id is refused" {
	local pid
	for pid in 0 -1 x 1x '' 99999999999999999999; do
		swap_fails 2 . out -p "$pid"
	done
	start_victim
	refuses 2 . out -p "$TARGET_PID" --pidfd 0
}

@test "what is no pidfd is refused" {
	swap_fails 2 'pidfd' out --pidfd 0 </dev/null
	swap_fails 2 'pidfd' out --pidfd 999
}

@test "a kernel thread is refused" {
	swap_fails 2 'kernel thread' out -p 2
	swap_fails 2 'kernel thread' attach -p 2
}

@test "its own process is refused" {
	# shellcheck disable=SC2016
	run -2 --separate-stderr timeout 60 bash -c 'exec swapctl out -p $$' 3>&-
	assert_regex "$stderr" '^swapctl out: .*itself'
	assert_equal "${#stderr_lines[@]}" 1
}

@test "a 32-bit process is refused" {
	[[ $(uname -m) == x86_64 ]] || skip "32-bit programs are made for x86-64 here"
	cd "$BATS_TEST_TMPDIR"
	printf '.globl _start\n_start: mov $29, %%eax\nint $0x80\njmp _start\n' | as --32 -o pause.o -
	ld -m elf_i386 -o pause pause.o
	./pause 3>&- &
	add_target $!
	TARGET_PID=$!
	wait_for 5 grep -q pause "/proc/$TARGET_PID/comm"
	snapshot
	refuses 2 'architecture' out -p "$TARGET_PID"
}

@test "nobody may not touch root's processes" {
	start_victim
	local verb
	for verb in attach out; do
		run -4 --separate-stderr as_nobody swapctl "$verb" -p "$TARGET_PID" 3>&-
		assert_equal "${#stderr_lines[@]}" 1
		assert_regex "$stderr" '^swapctl '
	done
	unchanged
	ask check
}

@test "unknown verbs and options are refused" {
	swap_fails 2 'attack' attack
	swap_fails 2 'attach' attch -p 1
	local verb
	for verb in attach out in status check detach; do
		swap_fails 2 'unknown|nonsense' "$verb" --nonsense
		swap_fails 2 . "$verb" word
	done
}

@test "an unknown format and unknown values are refused" {
	start_victim
	refuses 2 'format' out -p "$TARGET_PID" --format xml
	refuses 2 'limit' attach -p "$TARGET_PID" --limit 0
	refuses 2 'limit' attach -p "$TARGET_PID" --limit much
}

@test "regions that are not JSON are refused" {
	start_victim
	local text
	for text in 'hello' '{' '{"start":"0x1000"' '[{"start":"0x1000","end":"0x2000"}' '{"start":1,"start":2,"end":3}' '[1,2]'; do
		echo "$text" >"$REGIONS"
		refuses_regions 2 'line [12]: '
	done
	refuses 2 'standard input' out -p "$TARGET_PID" -r - <<<'nonsense'
	refuses 1 'No such file' out -p "$TARGET_PID" -r "$BATS_TEST_TMPDIR/missing"
}

@test "regions of an unknown version are refused" {
	start_victim
	region "$START" "$END" | sed 's/{/{"v":2,/' >"$REGIONS"
	refuses_regions 2 version
}

@test "regions that overlap are refused" {
	start_victim
	{
		region "$START" "$END"
		region "$(printf %x $((0x$END - 4096)))" "$END"
	} >"$REGIONS"
	refuses_regions 2 overlap
}

@test "regions that are not aligned to pages are refused" {
	start_victim
	region "$(printf %x $((0x$START + 1)))" "$END" >"$REGIONS"
	refuses_regions 2 aligned
	region "$START" "$(printf %x $((0x$END - 100)))" >"$REGIONS"
	refuses_regions 2 aligned
}

@test "regions that end before they begin are refused" {
	start_victim
	region "$END" "$START" >"$REGIONS"
	refuses_regions 2 'end'
	region "$START" "$START" >"$REGIONS"
	refuses_regions 2 'end'
}

@test "regions outside any mapping are refused, even when others are right" {
	start_victim
	{
		region "$START" "$END"
		region "$END" "$(printf %x $((0x$END + 65536)))"
	} >"$REGIONS"
	refuses_regions 2 'mapped'
	region 1000 2000 >"$REGIONS"
	refuses_regions 2 'mapped'
	region 7ffffffff000 800000000000 >"$REGIONS"
	refuses_regions 2 'mapped'
}

@test "regions of another process are refused" {
	start_victim
	region "$START" "$END" $$ "$(starttime $$)" >"$REGIONS"
	refuses_regions 6 "process"
}

@test "regions of an earlier process with the same pid are refused" {
	start_victim
	region "$START" "$END" "$TARGET_PID" 12345 >"$REGIONS"
	refuses_regions 6 "earlier process"
	swap_ok attach -p "$TARGET_PID"
	swap_fails 6 "earlier process" out -p "$TARGET_PID" -r "$REGIONS"
	swap_fails 6 "earlier process" in -p "$TARGET_PID" -r "$REGIONS"
	assert_equal "$(status_of .out_pages)" 0
}

@test "an empty list of regions means none, not all" {
	start_victim
	: >"$REGIONS"
	swap out -p "$TARGET_PID" -r "$REGIONS"
	assert_equal "$(resident)" $((4 * MEBIBYTE))
	out_region
	swap in -p "$TARGET_PID" -r "$REGIONS"
	assert_equal "$(resident)" 0
	ask check
}

@test "a second session for a process is refused, and the first goes on" {
	start_victim
	out_region
	swap_fails 1 'session' attach -p "$TARGET_PID"
	assert_equal "$(status_of .out_pages)" 1024
	ask check
}

@test "without a session in, detach and status say how to make one" {
	start_victim
	local verb
	for verb in in detach status; do
		refuses 7 'no session.*attach' "$verb" -p "$TARGET_PID"
	done
}

@test "a store directory that is missing, or no directory, is refused" {
	start_victim
	refuses 2 "$BATS_TEST_TMPDIR/missing" attach -p "$TARGET_PID" --store "$BATS_TEST_TMPDIR/missing"
	refuses 2 "$REGIONS" out -p "$TARGET_PID" --store "$REGIONS"
}

@test "a store directory of another user is refused" {
	start_victim
	mkdir "$BATS_TEST_TMPDIR/store"
	chown 65534 "$BATS_TEST_TMPDIR/store"
	refuses 4 "another user" attach -p "$TARGET_PID" --store "$BATS_TEST_TMPDIR/store"
	assert_equal "$(ls "$BATS_TEST_TMPDIR/store")" ""
}

@test "a store directory on a full file system is refused" {
	mkdir "$BATS_TEST_TMPDIR/small"
	mount -t tmpfs -o size=64k uvmtools-test "$BATS_TEST_TMPDIR/small" || skip "nothing can be mounted here"
	start_victim
	refuses 1 'full' attach -p "$TARGET_PID" --store "$BATS_TEST_TMPDIR/small"
	assert_equal "$(ls "$BATS_TEST_TMPDIR/small")" ""
}
