#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# swapctl(1): where areas of ours lie in a program, and programs that map there.

bats_require_minimum_version 1.5.0
load swap_helper

PATH=$UVM_BUILD/failpoints/bin:$PATH
MEBIBYTE=1048576

# Prints how many mappings of the target are ours, and the bytes between them and the nearest other one. Ours are kept from children ("dc"), and
# nothing else of these programs is.
our_areas() {
	python3 - "$TARGET_PID" <<-'END'
		import re, sys
		areas = []
		for line in open(f"/proc/{sys.argv[1]}/smaps"):
		    if found := re.match("([0-9a-f]+)-([0-9a-f]+) ", line):
		        start, end = (int(x, 16) for x in found.groups())
		    elif line.startswith("VmFlags:") and start < 1 << 63:
		        areas.append((start, end, " dc" in line))
		gaps = [b[0] - a[1] for a, b in zip(areas, areas[1:]) if a[2] != b[2]]
		print(sum(area[2] for area in areas), min(gaps, default=0))
	END
}

# Leaves in $rounds how often the hole was mapped.
count_rounds() {
	ask check
	rounds=${answer##* }
}

mapped_again() {
	count_rounds
	((rounds > $1 + 1))
}

@test "areas of ours lie far from everything that the program has mapped" {
	local count gap
	start_contents mixed $((8 * MEBIBYTE))
	swap_ok attach -p "$TARGET_PID"
	read -r count gap < <(our_areas)
	((count >= 1 && gap > 1 << 30))
	swap_ok detach -p "$TARGET_PID"
}

@test "a program that maps anew in a hole of its own during swap-outs meets nothing of ours" {
	local i rounds
	start_with_input holes mixed $((8 * MEBIBYTE))
	swap_ok attach -p "$TARGET_PID"
	ask fill
	for i in {1..5}; do
		count_rounds
		swap_most out -p "$TARGET_PID"
		wait_for 10 mapped_again "$rounds"
	done
	swap_ok detach -p "$TARGET_PID"
	ask check
}

# has_mapped LINES: the program has mapped over an area of ours, and waits for a worker that reads of it, or has answered, after so many lines.
has_mapped() {
	grep -q userfaultfd_event_wait "/proc/$TARGET_PID/stack" || has_answers $(($1 + 1))
}

# taken_at POINT HOW CONDITION...: a program of which areas of ours are mapped over when its pages are on their way and have come to a point, which is
# when the condition is met. Leaves the exit status of the swap-out in $status, and how many pages were lost in $lost.
taken_at() {
	local lines
	start_with_input holes mixed $((2 * MEBIBYTE))
	mkdir "$BATS_TEST_TMPDIR/pause"
	UVM_PAUSE_AT=$1:30000 UVM_PAUSE_MARK=$BATS_TEST_TMPDIR/pause swap_ok attach -p "$TARGET_PID"
	region "$START" "$END" >"$BATS_TEST_TMPDIR/region"
	timeout -k 5 60 swapctl out -p "$TARGET_PID" -r "$BATS_TEST_TMPDIR/region" >"$BATS_TEST_TMPDIR/out" 2>&1 3>&- &
	wait_for 20 "${@:3}"
	lines=$(wc -l <"$TARGET_DIR/out")
	tell take "$2"
	wait_for 20 has_mapped "$lines"
	rmdir "$BATS_TEST_TMPDIR/pause"
	take_answer "$lines" take "$2"
	[[ $answer == "ok 1" ]]
	status=0
	wait $! || status=$?
	lost_pages
}

# The session can still be checked, read and ended; what was lost stays so.
goes_on() {
	lost_pages
	swap_ok check -p "$TARGET_PID"
	swap in -p "$TARGET_PID"
	swap_ok detach -p "$TARGET_PID"
	ask lost
	[[ $answer == "ok $lost" ]]
}

@test "a program that maps over the staging area between swap-outs loses nothing" {
	local how
	for how in whole part moved; do
		start_with_input holes mixed $((8 * MEBIBYTE))
		out_region
		ask take "$how"
		[[ $answer == "ok 1" ]]
		ask check
		out_region
		ask take "$how"
		swap_ok detach -p "$TARGET_PID"
		ask check
		end_current
	done
}

@test "pages whose place was mapped over before they were read are SIGBUS, and never zeros or what is there now" {
	local how
	for how in whole part moved; do
		taken_at reading "$how" status_is ".moving_pages > 0"
		((lost > 0))
		assert_equal "$(status_of .poisoned_pages)" "$lost"
		goes_on
		end_current
	done
}

@test "a program that maps over a slot while it is emptied keeps what it has mapped" {
	local how
	for how in whole part; do
		start_with_input holes mixed $((40 * MEBIBYTE))
		UVM_PAUSE_AT=discarding:300 swap_ok attach -p "$TARGET_PID"
		timeout -k 5 60 swapctl out -p "$TARGET_PID" >"$BATS_TEST_TMPDIR/out" 2>&1 3>&- &
		wait_for 20 status_is ".moved_pages_total > 4000"
		ask take "$how"
		[[ $answer == "ok 1" ]]
		wait $! || :
		goes_on
		end_current
	done
}

@test "a program that has mapped over an area once loses nothing that it maps there while a slot is emptied" {
	local how
	for how in whole part moved; do
		start_with_input holes mixed $((40 * MEBIBYTE))
		UVM_PAUSE_AT=taking-away:30000 UVM_PAUSE_MARK=$BATS_TEST_TMPDIR/pause swap_ok attach -p "$TARGET_PID"
		ask take "$how"
		timeout -k 5 60 swapctl out -p "$TARGET_PID" >"$BATS_TEST_TMPDIR/out" 2>&1 3>&- || : # it finds that
		swap in -p "$TARGET_PID"
		mkdir "$BATS_TEST_TMPDIR/pause"
		rm -rf "$BATS_TEST_TMPDIR/pause.reached"
		timeout -k 5 60 swapctl out -p "$TARGET_PID" >"$BATS_TEST_TMPDIR/out" 2>&1 3>&- &
		wait_for 20 test -e "$BATS_TEST_TMPDIR/pause.reached"
		tell take "$how"
		wait_for 20 grep -q userfaultfd_event_wait /proc/"$TARGET_PID"/task/*/stack
		rmdir "$BATS_TEST_TMPDIR/pause"
		wait $! || :
		wait_for 20 has_answers 3
		ask lost
		ask taken
		((${answer##* } > 1))
		timeout 60 swapctl detach -p "$TARGET_PID" 3>&-
		end_current
	done
}

# What is lost is SIGBUS, which the program expects of the memory that leaves here, and of none that it needs to run.
@test "a program that maps over every staging area again and again is right in every byte" {
	local how i
	for how in whole part moved; do
		start_with_input holes mixed $((24 * MEBIBYTE))
		region "$START" "$END" >"$BATS_TEST_TMPDIR/region"
		ask over "$how"
		for ((i = 0; i < $(at_length 200 10); i++)); do
			swap out -p "$TARGET_PID" -r "$BATS_TEST_TMPDIR/region"
			ask lost
			swap in -p "$TARGET_PID"
			ask lost
		done
		timeout 60 swapctl detach -p "$TARGET_PID" 3>&-
		ask lost
		ask taken
		((${answer##* } > 1))
		end_current
	done
}

@test "a worker that takes over finds the staging area mapped over" {
	local how
	for how in whole part moved; do
		export UVM_KILL_AT=written UVM_KILL_MARK=$BATS_TEST_TMPDIR/written.$how
		taken_at recovering "$how" test -e "$UVM_KILL_MARK"
		assert_equal "$(status_of .poisoned_pages)" "$lost"
		((lost > 0))
		goes_on
		end_current
	done
}

@test "a session that is adopted finds the staging area mapped over" {
	local how
	for how in whole part moved; do
		start_with_input holes mixed $((8 * MEBIBYTE))
		out_region
		kill_both
		ask take "$how"
		swap_ok adopt -p "$TARGET_PID"
		ask check
		out_region
		swap_ok detach -p "$TARGET_PID"
		ask check
		end_current
	done
}

@test "a program that maps over the control area keeps what it has mapped, and the session makes another one" {
	local how
	for how in control frames; do
		start_with_input holes mixed $((8 * MEBIBYTE))
		out_region
		ask take "$how"
		[[ $answer != "ok 0" ]]
		ask check
		out_region
		ask take "$how"
		swap_ok in -p "$TARGET_PID"
		swap_ok detach -p "$TARGET_PID"
		ask check
		end_current
	done
}

# Anonymous memory of the target that can be executed: code of ours.
code_of_ours() {
	awk '$2 == "r-xp" && !$6' "/proc/$TARGET_PID/maps"
}

@test "a worker that takes over uses the control area that the one before it made, and no other" {
	local worker
	start_with_input holes mixed $((8 * MEBIBYTE))
	out_region
	ask take control
	ask check
	out_region
	worker=$(pid_of worker)
	kill -KILL "$worker"
	wait_for 20 another worker "$worker"
	out_region
	ask check
	swap_ok detach -p "$TARGET_PID"
	assert_equal "$(code_of_ours)" ""
	ask check
}

@test "a session whose control area the program has mapped over while it was orphaned is adopted, and makes another one" {
	start_with_input holes mixed $((8 * MEBIBYTE))
	out_region
	kill_both
	ask take control
	[[ $answer != "ok 0" ]]
	swap_ok adopt -p "$TARGET_PID"
	ask check
	out_region
	swap_ok detach -p "$TARGET_PID"
	assert_equal "$(code_of_ours)" ""
	ask check
}
