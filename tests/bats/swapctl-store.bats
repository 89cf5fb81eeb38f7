#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# swapctl(1): stores that are full, fail, or lose what was in them. Nothing is lost on the way out; what cannot be read is poisoned, and only that.

bats_require_minimum_version 1.5.0
load swap_helper

MEBIBYTE=1048576
DISK_OPTIONS='-qF -b 4096 -O ^has_journal -E lazy_itable_init=1,nodiscard -m 0 -N 16'

# make_disk FOLDER OPTIONS: an ext4 file system of 64 MiB in the file FOLDER/image, mounted at disk. Its blocks are taken from FOLDER as they are written.
make_disk() {
	DISK=$BATS_TEST_TMPDIR/disk
	mkdir -p "$DISK"
	truncate -s 64M "$1/image"
	# shellcheck disable=SC2086
	mkfs.ext4 $DISK_OPTIONS "$1/image"
	mount -o "loop,$2" "$1/image" "$DISK" || skip "no loop device can be mounted here"
}

make_small() {
	mkdir "$BATS_TEST_TMPDIR/small"
	mount -t tmpfs -o "size=$1" uvmtools-test "$BATS_TEST_TMPDIR/small" || skip "nothing can be mounted here"
}

# The pages of the known contents are out or in core: none on the way, none lost.
assert_settled() {
	assert_equal "$(status_of '[.moving_pages, .staged_pages, .poisoned_pages] | add')" 0
	check_session
	lost_pages
	assert_equal "$lost" 0
}

# Swaps out what does not fit: what fits has left, the rest is back, and the record of the region says why.
out_until_it_fails() {
	region "$START" "$END" >"$BATS_TEST_TMPDIR/region"
	swap out -p "$TARGET_PID" -r "$BATS_TEST_TMPDIR/region" "${@:2}"
	assert_equal "$status" 1
	assert_equal "$(wc -l <"$ERRORS")" 1
	assert_regex "$(<"$ERRORS")" "^swapctl out: cannot store pages of process $TARGET_PID: $1"
	record 'map(select(.type == "region"))[0] | .asked_bytes == .moved_bytes + .skipped_bytes and .skipped.store > 0' | grep -x true
	assert_equal "$(record '.[-1].type')" summary
}

@test "when the file system fills up, and when it has room again" {
	local option
	make_small 8m
	for option in --encrypt --no-encrypt; do
		start_contents random $((32 * MEBIBYTE))
		out_until_it_fails 'the store is full' --store "$BATS_TEST_TMPDIR/small" "$option"
		(($(status_of .out_pages) > 1024))
		assert_settled
		region "$START" "$(printf %x $((0x$START + 4 * MEBIBYTE)))" >"$BATS_TEST_TMPDIR/region"
		swap_ok out -p "$TARGET_PID" -r "$BATS_TEST_TMPDIR/region"
		assert_settled
		swap_ok detach -p "$TARGET_PID"
		end_current
	done
}

@test "a full store goes on serving what it holds, for a program of several threads" {
	make_small 8m
	start_with_input threads 4 $((16 * MEBIBYTE))
	swap_ok attach -p "$TARGET_PID" --store "$BATS_TEST_TMPDIR/small"
	fill_it() {
		swap out -p "$TARGET_PID"
		assert_regex "$status" '^[013]$'
	}
	repeat 5 3 fill_it
	assert_equal "$(status_of .poisoned_pages)" 0
	swap_ok detach -p "$TARGET_PID"
	ask stop
}

# What a file system does that has given up on its disk: every read and write is an error from now on.
shut_down() {
	python3 -c 'import fcntl, os, struct, sys
EXT4_IOC_SHUTDOWN = 0x8004587d
fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), EXT4_IOC_SHUTDOWN, struct.pack("I", 2))' "$1"
}

@test "when the disk fails while it is written" {
	make_disk "$BATS_TEST_TMPDIR" errors=continue
	start_contents random $((32 * MEBIBYTE))
	swap_ok attach -p "$TARGET_PID" --store "$DISK"
	shut_down "$DISK"
	out_until_it_fails 'Input/output error'
	assert_equal "$(status_of .out_pages)" 0
	assert_settled
	swap_ok detach -p "$TARGET_PID"
}

@test "when the blocks of the disk run out behind the back of its file system" {
	make_small 8m
	make_disk "$BATS_TEST_TMPDIR/small" sync,errors=continue
	start_contents random $((32 * MEBIBYTE))
	out_until_it_fails '(the store is full|Input/output error)' --store "$DISK"
	(($(status_of .out_pages) > 256))
	assert_settled
	swap_ok detach -p "$TARGET_PID"
}

@test "when the disk fails while it is read: what lies there is lost, the rest is not" {
	local path first
	make_disk "$BATS_TEST_TMPDIR" errors=continue
	start_contents random $((16 * MEBIBYTE))
	out_region --store "$DISK"
	path=$(store_path)
	sync -f "$path"
	first=$(filefrag -v "$path" | awk '$1 == "0:" { print $4 + 0 }')
	# A loop device has no blocks behind the end of its file: reading them is an error.
	truncate -s $(((first + 2048) * 4096)) "$BATS_TEST_TMPDIR/image"
	dd if="$path" iflag=nocache count=0 status=none
	swap check -p "$TARGET_PID"
	assert_equal "$status" 1
	assert_regex "$(record 'map(.reason // empty) | unique | @csv')" 'Input/output error'
	lost_pages
	((lost > 1024 && lost < 3072))
	wait_for 5 status_is ".poisoned_pages == $lost"
	check_session
	# What came back can leave again, elsewhere on the disk or not at all, and is right.
	swap_most in -p "$TARGET_PID"
	local before=$lost
	lost_pages
	assert_equal "$lost" "$before"
}

@test "a store cut short loses what was behind the cut, and nothing else" {
	local size option
	for option in --encrypt --no-encrypt; do
		start_contents random $((8 * MEBIBYTE))
		out_region "$option"
		size=$(stat -c %s "$(store_path)")
		truncate -s $((size / 2)) "$(store_path)"
		lost_pages
		((lost >= 1024 && lost <= 1024 + 32))
		wait_for 5 status_is ".poisoned_pages == $lost"
		end_current
	done
}

@test "pages of zeros and of one word do not depend on a store that was cut short" {
	local size
	start_contents mixed $((8 * MEBIBYTE))
	out_region --no-encrypt
	size=$(status_of '.stored_pages')
	truncate -s 0 "$(store_path)"
	lost_pages
	assert_equal "$lost" "$size"
	((lost > 512 && lost < 1536))
}

@test "after its store was cut short a session goes on" {
	start_contents mixed $((8 * MEBIBYTE))
	out_region --bytes 4M
	truncate -s 0 "$(store_path)"
	swap in -p "$TARGET_PID"
	assert_equal "$status" 3
	lost_pages
	local before=$lost
	((before > 0))
	swap_most out -p "$TARGET_PID"
	(($(status_of .out_pages) > 1024))
	lost_pages
	assert_equal "$lost" "$before"
	swap_ok detach -p "$TARGET_PID"
	lost_pages
	assert_equal "$lost" "$before"
}
