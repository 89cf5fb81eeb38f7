#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# swapctl(1): memory out, in, status and detach, on programs that know what they hold.

bats_require_minimum_version 1.5.0
load swap_helper

MEBIBYTE=1048576

@test "memory that was swapped out is gone from core and comes back byte for byte" {
	start_contents mixed $((64 * MEBIBYTE))
	assert_equal "$(resident)" $((64 * MEBIBYTE))
	out_region
	assert_equal "$(summary .moved_bytes)" $((64 * MEBIBYTE))
	assert_equal "$(resident)" 0
	ask check
	assert_equal "$(resident)" $((64 * MEBIBYTE))
	assert_equal "$(status_of .out_pages)" 0
}

@test "random bytes come back" {
	start_contents random $((16 * MEBIBYTE))
	out_region
	ask check
}

@test "text comes back and takes less room in the store" {
	start_contents text $((16 * MEBIBYTE))
	out_region
	(($(status_of .store_bytes) < 12 * MEBIBYTE))
	(($(status_of .store_bytes) > 1 * MEBIBYTE))
	ask check
}

@test "zero pages cost no store" {
	start_contents zeros $((16 * MEBIBYTE))
	out_region
	assert_equal "$(summary .moved_bytes)" $((16 * MEBIBYTE))
	assert_equal "$(record '[.[].zero_pages // 0] | max')" 4096
	assert_equal "$(status_of '[.store_bytes, .store_allocated_bytes] | add')" 0
	ask check
}

@test "pages of one repeated word cost no store" {
	start_contents word $((16 * MEBIBYTE))
	out_region --no-encrypt
	assert_equal "$(record '[.[].filled_pages // 0] | max')" 4096
	assert_equal "$(status_of '[.store_bytes, .store_allocated_bytes] | add')" 0
	ask check
}

@test "huge pages leave and come back" {
	if grep -qF '[never]' /sys/kernel/mm/transparent_hugepage/enabled; then
		skip "transparent huge pages are off"
	fi
	start_contents mixed $((32 * MEBIBYTE)) huge
	(($(awk '/^AnonHugePages/ { sum += $2 } END { print sum }' "/proc/$TARGET_PID/smaps") >= 16384))
	out_region
	assert_equal "$(resident)" 0
	ask check
}

@test "in brings everything back without a fault" {
	start_contents mixed $((32 * MEBIBYTE))
	out_region
	swap_ok in -p "$TARGET_PID"
	assert_equal "$(summary .brought_bytes)" $((32 * MEBIBYTE))
	assert_equal "$(resident)" $((32 * MEBIBYTE))
	assert_equal "$(status_of .out_pages)" 0
	ask check
}

@test "in with a region brings that back and nothing else" {
	start_contents mixed $((32 * MEBIBYTE))
	out_region
	local middle
	middle=$(printf %x $((0x$START + 8 * MEBIBYTE)))
	region "$START" "$middle" >"$BATS_TEST_TMPDIR/part"
	swap_ok in -p "$TARGET_PID" -r "$BATS_TEST_TMPDIR/part"
	assert_equal "$(resident)" $((8 * MEBIBYTE))
	assert_equal "$(status_of .out_pages)" 6144
	ask check
}

@test "the regions of superpages are what swapctl takes" {
	start_contents text $((32 * MEBIBYTE))
	superpages -p "$TARGET_PID" --range "$START-$END" >"$BATS_TEST_TMPDIR/regions"
	assert_equal "$(jq -s 'map(select(.type == "region")) | length' "$BATS_TEST_TMPDIR/regions")" 16
	local piped=0
	superpages -p "$TARGET_PID" --range "$START-$END" |
		timeout 60 swapctl out -p "$TARGET_PID" -r - >"$BATS_TEST_TMPDIR/out" 3>&- || piped=$?
	assert_equal "$piped" 0
	assert_equal "$(jq -s 'map(select(.type == "region")) | map(.moved_bytes) | add' "$BATS_TEST_TMPDIR/out")" $((32 * MEBIBYTE))
	assert_equal "$(resident)" 0
	ask check
}

@test "records of out add up" {
	start_contents mixed $((32 * MEBIBYTE))
	out_region --no-encrypt
	run -0 jq -es '
		.[-1] as $summary | map(select(.type == "region")) as $regions | ($regions | length) == 1 and all(.[]; .v == 1) and
		all($regions[]; .op == "out" and .asked_bytes == .moved_bytes + .skipped_bytes and .skipped_bytes == ([.skipped[]] | add // 0) and
			.bytes == .asked_bytes and .moved_bytes == .zero_pages * 4096 + .filled_pages * 4096 + .stored_bytes and
			.compressed_bytes <= .stored_bytes and .zero_pages > 0 and .filled_pages > 0 and .stored_bytes > 0 and
			.time_us > 0) and
		$summary.op == "out" and $summary.moved_bytes == ($regions | map(.moved_bytes) | add)
	' "$RECORDS"
}

@test "without regions everything eligible leaves" {
	start_contents mixed $((64 * MEBIBYTE))
	local before
	before=$(rss_anon)
	swap_most out -p "$TARGET_PID"
	(($(rss_anon) < before / 50))
	((before - $(summary .moved_bytes) < MEBIBYTE))
	ask check
}

@test "status tells where the pages are and what has happened" {
	start_contents mixed $((32 * MEBIBYTE))
	out_region
	run -0 jq -es '.[0] | .type == "session" and .out_pages == 8192 and .stored_pages + .zero_pages + .filled_pages == .out_pages and
		.moving_pages == 0 and .staged_pages == 0 and .store_bytes <= .store_allocated_bytes and .store_bytes > 0 and .store_file_bytes > 0 and
		.spaces == 1 and (.access == "agent" or .stops > 0 and .longest_stop_us > 0) and (.events | keys) == ["fork", "remap", "remove", "unmap"]
	' <<<"$(timeout 60 swapctl status -p "$TARGET_PID")"
	ask check
	everything_back() {
		jq -es '.[0] | .out_pages == 0 and .stored_pages == 0 and .store_bytes == 0 and .store_allocated_bytes == 0 and .faults > 0 and
			.refaulted_pages == 8192 and .fault_p50_us > 0 and .fault_p50_us <= .fault_p99_us and .fault_p99_us <= .fault_max_us
		' <<<"$(timeout 60 swapctl status -p "$TARGET_PID")"
	}
	# The page is there before the books say so.
	wait_for 5 everything_back
}

@test "a page that is touched comes back alone, and its neighbours when a second one is touched" {
	local page
	start_contents random $((4 * MEBIBYTE))
	out_region
	for page in 1003 5 517 300 85 736; do
		ask touch "$page"
	done
	wait_for 5 status_is '.faults == 6'
	assert_equal "$(status_of '[.out_pages, .refaulted_pages] | @csv')" $((1024 - 6)),6
	ask touch 519
	wait_for 10 status_is '.out_pages == 1024 - 5 - 16'
	ask check
}

@test "a program that reads in order finds most of its pages brought" {
	start_contents random $((8 * MEBIBYTE))
	out_region
	ask walk 1000
	# What lies ahead of it comes as well.
	wait_for 10 status_is '.out_pages < 2048 - 1000'
	(($(status_of .faults) < 1000 / 4))
	ask check
}

@test "status without a process lists every session" {
	start_contents text $((4 * MEBIBYTE))
	swap_ok attach -p "$TARGET_PID"
	local first=$TARGET_PID
	start_contents text $((4 * MEBIBYTE))
	swap_ok attach -p "$TARGET_PID"
	swap_ok status
	assert_equal "$(record "[.[] | select(.type == \"session\" and (.pid == $first or .pid == $TARGET_PID))] | length")" 2
	assert_equal "$(record '[.[] | select(.type == "session" and .state == "running")] | all(.supervisor_pid > 0 and .worker_pid > 0)')" true
}

@test "detach leaves the process exactly as it was" {
	start_contents mixed $((64 * MEBIBYTE))
	ask check
	snapshot
	out_region
	swap_most out -p "$TARGET_PID"
	swap_ok detach -p "$TARGET_PID"
	assert_equal "$(record '.[-1].type')" summary
	assert_equal "$(resident)" $((64 * MEBIBYTE))
	wait_for 5 unchanged
	ask check
}

@test "detach of a session that never moved anything leaves the process as it was" {
	start_contents text $((4 * MEBIBYTE))
	snapshot
	swap_ok attach -p "$TARGET_PID"
	swap_ok detach -p "$TARGET_PID"
	wait_for 5 unchanged
	ask check
}

@test "a session can be made again after detach" {
	start_contents mixed $((8 * MEBIBYTE))
	local i
	for i in 1 2 3; do
		out_region
		swap_ok detach -p "$TARGET_PID"
	done
	ask check
}

@test "swapping out and in ten times does not let the store grow" {
	start_contents mixed $((32 * MEBIBYTE))
	local i first last
	out_region
	first=$(status_of .store_file_bytes)
	((first > MEBIBYTE))
	for i in {1..10}; do
		ask check
		out_region
	done
	last=$(status_of .store_file_bytes)
	((last <= first + first / 10))
	ask check
	(($(status_of .store_file_bytes) < first / 10))
}

@test "what was written after a page came back is what comes back the next time" {
	start_contents mixed $((16 * MEBIBYTE))
	local seed
	for seed in 11 12 13; do
		out_region
		ask write "$seed"
		out_region
		ask check
	done
}

@test "what is out already is not moved again" {
	start_contents text $((16 * MEBIBYTE))
	out_region
	out_region
	assert_equal "$(summary .moved_bytes)" 0
	ask check
}

@test "what a session has brought back is listed as swappable, and leaves again" {
	local before
	start_contents text $((8 * MEBIBYTE))
	before=$(superpages -p "$TARGET_PID" --swappable --min-resident 100% | jq -sr '.[] | select(.type == "region") | .start')
	assert [ "$before" ]
	out_region
	swap_ok in -p "$TARGET_PID"
	for start in $before; do
		superpages -p "$TARGET_PID" --swappable --min-resident 100% | jq -se --arg start "$start" 'any(.start == $start)'
	done
	superpages -p "$TARGET_PID" --swappable --min-resident 100% | swapctl out -p "$TARGET_PID" -r - >"$BATS_TEST_TMPDIR/again" || (($? == 3))
	(($(jq -s 'map(select(.type == "summary"))[0].moved_bytes' "$BATS_TEST_TMPDIR/again") >= 6 * MEBIBYTE))
	ask check
}
