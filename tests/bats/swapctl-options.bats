#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# swapctl(1): its options.

bats_require_minimum_version 1.5.0
load swap_helper

MEBIBYTE=1048576

# Swaps 16 MiB out with the options given, and has it verified.
round_trip() {
	start_contents mixed $((16 * MEBIBYTE))
	out_region "$@"
	assert_equal "$(summary .moved_bytes)" $((16 * MEBIBYTE))
	assert_equal "$(resident)" 0
	SESSION=$(timeout 60 swapctl status -p "$TARGET_PID" 3>&-)
	ask check
}

@test "every codec gives back what it was given" {
	local codec
	for codec in auto lz4 zstd zstd:1 zstd:19 none; do
		round_trip --compress "$codec"
		assert_regex "$(jq -r .compress <<<"$SESSION")" "^$codec"
		end_current
	done
}

@test "zstd packs text tighter than lz4, and none does not pack it" {
	local codec
	local -A bytes
	for codec in lz4 zstd none; do
		start_contents text $((16 * MEBIBYTE))
		out_region --compress "$codec" --no-encrypt
		bytes[$codec]=$(status_of .store_bytes)
		end_current
	done
	((bytes[zstd] < bytes[lz4] && bytes[lz4] < bytes[none]))
	assert_equal "${bytes[none]}" $((16 * MEBIBYTE + 4096 * 8)) # with a checksum a page
}

@test "by default what stays out is made denser, and comes back" {
	start_contents text $((16 * MEBIBYTE))
	out_region
	local at_once
	at_once=$(status_of .store_bytes)
	is_denser() {
		(($(status_of .store_bytes) * 4 < at_once * 3))
	}
	wait_for 30 is_denser
	assert_equal "$(status_of .compress)" auto
	swap_ok check -p "$TARGET_PID"
	ask check
}

@test "unknown codecs are refused" {
	start_contents text $((4 * MEBIBYTE))
	snapshot
	local codec
	for codec in gzip auto:3 '' zstd: zstd:0 zstd:99 zstd:x lz4:1 none:3; do
		swap_fails 2 '--compress' attach -p "$TARGET_PID" --compress "$codec"
	done
	unchanged
}

@test "clusters of every size come back whole" {
	local size
	for size in 4K 16K 64K 256K; do
		round_trip --cluster "$size"
		assert_equal "$(jq -r .cluster_bytes <<<"$SESSION")" $((${size%K} * 1024))
		end_current
	done
}

@test "a fault brings its whole cluster" {
	start_contents random $((16 * MEBIBYTE))
	out_region --cluster 256K
	ask check
	(($(status_of .faults) <= 64))
	end_current
	start_contents random $((4 * MEBIBYTE))
	out_region --cluster 4K
	ask check
	(($(status_of .faults) >= 16))
}

@test "impossible sizes of clusters are refused" {
	start_contents text $((4 * MEBIBYTE))
	snapshot
	local size
	for size in 0 1 4095 6K 12K 512K 1G -4K x ''; do
		swap_fails 2 'cluster' attach -p "$TARGET_PID" --cluster "$size"
	done
	unchanged
}

@test "the store may be memory" {
	round_trip --store memory
	assert_equal "$(jq -r .store <<<"$SESSION")" memory
	assert_equal "$(left_files)" ""
}

@test "the store may be in another directory, is private, and is removed with the session" {
	local folder=$BATS_TEST_TMPDIR/store
	mkdir "$folder"
	round_trip --store "$folder"
	assert_equal "$(jq -r .store <<<"$SESSION")" "$(echo "$folder"/*)"
	assert_equal "$(stat -c %a "$folder"/*)" 600
	swap_ok detach -p "$TARGET_PID"
	wait_for 5 is_session_gone
	assert_equal "$(ls "$folder")" ""
}

@test "without an option the store is in its own directory, for nobody else to read" {
	round_trip
	local path
	path=$(jq -r .store <<<"$SESSION")
	assert_regex "$path" "^$STORES/"
	assert_equal "$(stat -c '%a %U' "$path")" "600 root"
	assert_equal "$(stat -c '%a %U' "$SESSIONS/$TARGET_PID".*)" "700 root"
}

@test "at its limit the store takes no more, the rest stays, nothing is wrong" {
	start_contents random $((32 * MEBIBYTE))
	region "$START" "$END" >"$BATS_TEST_TMPDIR/region"
	swap out -p "$TARGET_PID" -r "$BATS_TEST_TMPDIR/region" --limit 8M
	assert_regex "$status" '^[13]$'
	assert_regex "$(<"$ERRORS")" 'full'
	(($(status_of .store_allocated_bytes) <= 8 * MEBIBYTE))
	(($(status_of .store_allocated_bytes) > 4 * MEBIBYTE))
	(($(resident) >= 24 * MEBIBYTE))
	assert_equal "$(status_of '[.moving_pages, .staged_pages] | add')" 0
	ask check
	# What came back made room.
	region "$START" "$(printf %x $((0x$START + 4 * MEBIBYTE)))" >"$BATS_TEST_TMPDIR/region"
	swap_ok out -p "$TARGET_PID" -r "$BATS_TEST_TMPDIR/region"
	ask check
}

@test "a store whose file system fills up gives the rest back" {
	mkdir "$BATS_TEST_TMPDIR/small"
	mount -t tmpfs -o size=8m uvmtools-test "$BATS_TEST_TMPDIR/small" || skip "nothing can be mounted here"
	start_contents random $((32 * MEBIBYTE))
	region "$START" "$END" >"$BATS_TEST_TMPDIR/region"
	swap out -p "$TARGET_PID" -r "$BATS_TEST_TMPDIR/region" --store "$BATS_TEST_TMPDIR/small"
	assert_regex "$status" '^[13]$'
	assert_regex "$(<"$ERRORS")" 'full'
	(($(resident) >= 24 * MEBIBYTE && $(resident) < 32 * MEBIBYTE))
	ask check
	swap_ok detach -p "$TARGET_PID"
}

@test "no more leaves than --bytes allows" {
	start_contents mixed $((32 * MEBIBYTE))
	out_region --bytes 5M
	assert_equal "$(summary .moved_bytes)" $((5 * MEBIBYTE))
	assert_equal "$(resident)" $((27 * MEBIBYTE))
	swap_ok out -p "$TARGET_PID" --bytes 4097
	(($(summary .moved_bytes) <= 4097))
	ask check
}

@test "--bytes takes a size above 0" {
	start_contents text $((4 * MEBIBYTE))
	snapshot
	local size
	for size in 0 -1 x 1.5 ''; do
		swap_fails 2 '--bytes' out -p "$TARGET_PID" --bytes "$size"
	done
	unchanged
}

@test "--dry-run says what would leave and changes nothing" {
	start_contents mixed $((32 * MEBIBYTE))
	snapshot
	out_region --dry-run
	assert_equal "$(record 'map(select(.type == "region"))[0].would_move_bytes')" $((32 * MEBIBYTE))
	assert_equal "$(resident)" $((32 * MEBIBYTE))
	wait_for 5 unchanged
	ask check
}

@test "--dry-run in a session changes nothing" {
	start_contents mixed $((32 * MEBIBYTE))
	swap_ok attach -p "$TARGET_PID"
	snapshot
	out_region --dry-run
	assert_equal "$(resident)" $((32 * MEBIBYTE))
	assert_equal "$(status_of .out_pages)" 0
	look_at "$TARGET_PID" | diff "$BATS_TEST_TMPDIR/snapshot" -
}

@test "a process can be named by an inherited pidfd" {
	start_contents mixed $((8 * MEBIBYTE))
	cat >"$BATS_TEST_TMPDIR/with_pidfd" <<-'PYTHON'
		import os, sys
		fd = os.pidfd_open(int(sys.argv[1]))
		os.set_inheritable(fd, True)
		os.execvp("swapctl", ["swapctl", sys.argv[2], "--pidfd", str(fd), *sys.argv[3:]])
	PYTHON
	local verb result
	for verb in attach out in status detach; do
		result=0
		timeout 60 python3 "$BATS_TEST_TMPDIR/with_pidfd" "$TARGET_PID" "$verb" >"$BATS_TEST_TMPDIR/$verb" 3>&- || result=$?
		assert_regex "$verb $result" '^([a-z]+ 0|out 3)$'
		assert_equal "$(jq -rs '.[-1].pid' "$BATS_TEST_TMPDIR/$verb")" "$TARGET_PID"
	done
	ask check
}

@test "--foreground stays until the session ends" {
	start_contents mixed $((8 * MEBIBYTE))
	timeout 60 swapctl attach -p "$TARGET_PID" --foreground >"$BATS_TEST_TMPDIR/foreground" 3>&- &
	local foreground=$!
	wait_for 10 grep -q '"type":"session"' "$BATS_TEST_TMPDIR/foreground"
	out_region
	kill -0 "$foreground"
	swap_ok detach -p "$TARGET_PID"
	wait_for 10 is_session_gone
	run -0 wait "$foreground"
	ask check
}

@test "a session holds nothing of who started it: descriptors, directory, terminal" {
	start_contents text $((4 * MEBIBYTE))
	echo secret >"$BATS_TEST_TMPDIR/open"
	exec {held}<"$BATS_TEST_TMPDIR/open"
	swap_ok attach -p "$TARGET_PID"
	exec {held}<&-
	local pid
	for pid in $(record '.[] | select(.type == "session") | .supervisor_pid, .worker_pid'); do
		run ! grep -F "$BATS_TEST_TMPDIR" <(readlink "/proc/$pid"/fd/*)
		assert_equal "$(readlink "/proc/$pid/cwd")" /
		assert_equal "$(ps -o tty= -p "$pid" | tr -d ' ')" '?'
		run ! grep -x "$(ps -o sid= -p $$)" <(ps -o sid= -p "$pid")
	done
}
