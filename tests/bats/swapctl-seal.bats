#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# swapctl(1): encrypted stores. What was in memory is not on the disk, and what is on the disk is believed only when it is what was put there.

bats_require_minimum_version 1.5.0
load swap_helper

MEBIBYTE=1048576
# A record of one cluster that does not compress: 16 pages and their tags, in a place of whole 256 bytes.
PAGE=4096
PLACE=$((16 * PAGE + 256))
lost=-1 # set by lost_pages

# holds HEX FILE...: whether the bytes are in one of the files. The index is a file of many terabytes, most of it a hole.
holds() {
	python3 - "$@" <<-'PYTHON'
		import os, sys
		def pieces(fd):
		    at = 0
		    while True:
		        try:
		            at = os.lseek(fd, at, os.SEEK_DATA)
		        except OSError:
		            return
		        end = os.lseek(fd, at, os.SEEK_HOLE)
		        yield os.pread(fd, end - at, at)
		        at = end
		wanted = bytes.fromhex(sys.argv[1])
		files = [os.open(path, os.O_RDONLY) for path in sys.argv[2:]]
		sys.exit(not any(wanted in piece for fd in files for piece in pieces(fd)))
	PYTHON
}

# in_memory BYTES: so many of page 20 of the known contents, in hexadecimal; the page must not be out.
in_memory() {
	dd if="/proc/$TARGET_PID/mem" bs=8 skip=$((0x$START / 8 + 20 * 512)) count=$(($1 / 8)) status=none | od -An -v -tx1 | tr -d ' \n'
}

# The session's files hold no contents of memory either.
session_files() {
	find "$SESSIONS/$TARGET_PID".* -type f
}

@test "what is in memory is found in a plain store and not in an encrypted one" {
	local marker
	start_contents text $((8 * MEBIBYTE))
	marker=$(in_memory 24)
	assert_equal ${#marker} 48
	out_region --no-encrypt --compress none
	holds "$marker" "$(store_path)"
	end_current
	start_contents text $((8 * MEBIBYTE))
	out_region --compress none
	(($(status_of .store_bytes) > 8 * MEBIBYTE))
	# shellcheck disable=SC2046
	run ! holds "$marker" "$(store_path)" $(session_files)
	ask check
	assert_equal "$(in_memory 24)" "$marker"
}

@test "a word that fills pages is in the index of a plain store, and nowhere of an encrypted one" {
	local word
	start_contents word $((MEBIBYTE))
	word=$(in_memory 8)
	assert_equal ${#word} 16
	out_region --no-encrypt
	# shellcheck disable=SC2046
	holds "$word" $(session_files)
	end_current
	start_contents word $((MEBIBYTE))
	out_region
	# shellcheck disable=SC2046
	run ! holds "$word" "$(store_path)" $(session_files)
	ask check
	assert_equal "$(in_memory 8)" "$word"
}

@test "a store is encrypted when it is a file, unless said otherwise, and not when it is memory" {
	local options wanted
	start_contents mixed $((4 * MEBIBYTE))
	snapshot
	while IFS=: read -r options wanted; do
		# shellcheck disable=SC2086
		out_region $options
		assert_equal "$(status_of '[.encrypted, has("key")] | @csv')" "$wanted,$wanted"
		ask check
		swap_ok detach -p "$TARGET_PID"
		wait_for 5 unchanged
	done <<-'END'
		:true
		--encrypt:true
		--no-encrypt:false
		--encrypt --no-encrypt:false
		--no-encrypt --encrypt:true
		--store memory:false
		--store memory --encrypt:true
	END
}

@test "the key is where no other process can read it, or is said not to be" {
	start_contents text $((4 * MEBIBYTE))
	swap_ok attach -p "$TARGET_PID"
	local kind=locked
	if grep -q '/secretmem' <(readlink "/proc/$(holder)/fd/"*); then
		kind=secret
	fi
	assert_equal "$(status_of .key)" "$kind"
}

@test "no key without memory that can be locked, and a plain store all the same" {
	start_contents mixed $((4 * MEBIBYTE))
	local result=0
	without_locking() {
		timeout 60 prlimit --memlock=0 setpriv --inh-caps=-ipc_lock --bounding-set=-ipc_lock swapctl attach -p "$TARGET_PID" "$@" 3>&-
	}
	without_locking >/dev/null 2>"$BATS_TEST_TMPDIR/errors" || result=$?
	assert_equal "$result" 1
	assert_regex "$(<"$BATS_TEST_TMPDIR/errors")" '^swapctl attach: cannot make the key .*: no memory can be locked \(.*--no-encrypt\)$'
	no_session
	without_locking --no-encrypt >/dev/null
	out_region
	ask check
}

@test "--encrypt takes no value, and is refused where a session has made its choice" {
	start_contents mixed $((4 * MEBIBYTE))
	swap_fails 2 'encrypt' attach -p "$TARGET_PID" --encrypt=maybe
	swap_fails 2 'encrypt' attach -p "$TARGET_PID" --no-encrypt=yes
	no_session
	swap_ok attach -p "$TARGET_PID"
	swap_fails 2 'it has a session' out -p "$TARGET_PID" --encrypt
	swap_fails 2 'it has a session' out -p "$TARGET_PID" --no-encrypt
}

# change_store PYTHON: with the store's bytes as the bytearray `store`.
change_store() {
	python3 - "$(store_path)" "$1" <<-'PYTHON'
		import sys
		with open(sys.argv[1], "r+b") as file:
		    store = bytearray(file.read())
		    exec(sys.argv[2])
		    file.seek(0)
		    file.write(store)
	PYTHON
}

@test "one flipped bit costs the page that it is of, and no other one of its record" {
	local option
	for option in --encrypt --no-encrypt; do
		start_contents random $((4 * MEBIBYTE))
		out_region "$option"
		change_store 'store[3 * len(store) // 7] ^= 16'
		lost_pages
		assert_equal "$lost" 1
		wait_for 5 status_is ".poisoned_pages == 1"
		swap_ok detach -p "$TARGET_PID"
		wait_for 5 is_session_gone
		lost_pages
		assert_equal "$lost" 1
		end_current
	done
}

@test "two records in each other's place are both refused" {
	start_contents random $((4 * MEBIBYTE))
	out_region
	change_store "a, b = 5 * $PLACE, 9 * $PLACE
store[a:a + $PLACE], store[b:b + $PLACE] = store[b:b + $PLACE], store[a:a + $PLACE]"
	lost_pages
	assert_equal "$lost" 32
}

@test "an older store in place of today's is refused" {
	start_contents random $((4 * MEBIBYTE))
	out_region
	cp "$(store_path)" "$BATS_TEST_TMPDIR/older"
	ask write 2
	wait_for 10 status_is '.store_bytes == 0'
	out_region
	assert_equal "$(stat -c %s "$BATS_TEST_TMPDIR/older")" "$(stat -c %s "$(store_path)")"
	dd if="$BATS_TEST_TMPDIR/older" of="$(store_path)" conv=notrunc status=none
	lost_pages
	assert_equal "$lost" 1024
}

@test "in and detach say that pages were lost" {
	start_contents random $((4 * MEBIBYTE))
	out_region
	change_store "store[10 * $PLACE + 5] ^= 1"
	swap in -p "$TARGET_PID"
	assert_equal "$status" 3
	assert_equal "$(summary .poisoned_pages)" 1
	out_region
	assert_equal "$(summary .moved_bytes)" $((4 * MEBIBYTE - PAGE))
	assert_equal "$(record 'map(select(.type == "region"))[0].skipped.poisoned')" $PAGE
	change_store "store[20 * $PLACE + 5] ^= 1"
	swap detach -p "$TARGET_PID"
	assert_equal "$status" 3
	assert_equal "$(summary .poisoned_pages)" 1
	lost_pages
	assert_equal "$lost" 2
	# What the program discards is its own again.
	ask discard
	lost_pages
	assert_equal "$lost" 0
}

@test "a worker that dies leaves the key to the next" {
	local worker
	start_contents mixed $((16 * MEBIBYTE))
	out_region
	worker=$(pid_of worker)
	kill -KILL "$worker"
	wait_for 5 another worker "$worker"
	ask check
	out_region
	ask check
}

@test "a session whose processes have all died finds its key in the process" {
	local options
	for options in '' '--store memory --encrypt'; do
		start_contents mixed $((16 * MEBIBYTE))
		# shellcheck disable=SC2086
		out_region $options
		kill_both
		swap_ok adopt -p "$TARGET_PID"
		check_session
		assert_equal "$(summary .out_pages)" 4096
		ask check
		out_region
		check_session
		ask check
		end_current
	done
}

@test "a program that closes all its descriptors gets them back with the next swap-out" {
	export UVM_ACCESS=ptrace
	start_contents mixed $((4 * MEBIBYTE))
	ask close
	snapshot
	out_region
	ask check
	ask close
	out_region
	check_session
	ask check
	assert_equal "$(readlink "/proc/$TARGET_PID/fd/"* | grep -cE 'userfaultfd|secretmem|uvmtools-key')" 2
	swap_ok detach -p "$TARGET_PID"
	wait_for 5 unchanged
}

@test "detach closes no descriptor that the program has opened under a number of ours" {
	export UVM_ACCESS=ptrace
	start_contents mixed $((4 * MEBIBYTE))
	out_region
	ask check
	ask close
	ask occupy
	snapshot
	swap_ok detach -p "$TARGET_PID"
	wait_for 5 is_session_gone
	diff <(ls "/proc/$TARGET_PID/fd") <(seq 0 999 | sort)
	ask check
}
