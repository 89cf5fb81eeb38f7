#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# swapctl check: nothing to say of a session in order, however busy its process is; and each thing that is not in order is named.

bats_require_minimum_version 1.5.0
load swap_helper

MEBIBYTE=1048576

# check_finds REASON [COUNT]: exit code 1, a message, and so many records (at least one) that give this reason.
check_finds() {
	swap check -p "$TARGET_PID"
	assert_equal "$status" 1
	assert_equal "$(<"$ERRORS")" "swapctl check: cannot check the session of process $TARGET_PID: there are errors in it (the records say which)"
	record "map(select(.type == \"error\" and .op == \"check\" and .reason == \"$1\")) | length" >"$BATS_TEST_TMPDIR/count"
	if [[ ${2:-} ]]; then
		assert_equal "$(<"$BATS_TEST_TMPDIR/count")" "$2"
	fi
	(($(<"$BATS_TEST_TMPDIR/count") > 0))
	assert_equal "$(summary .errors)" "$(record 'map(select(.type == "error")) | length')"
}

# index_do PYTHON: with the index mapped as `index`, and CLUSTERS, CLUSTER, ENTRIES, ENTRY: where its clusters and its entries begin, the sizes of one, and
# where its slot begins.
index_do() {
	python3 - "$SESSIONS/$TARGET_PID.$(starttime "$TARGET_PID")/index" "$1" <<-'PYTHON'
		import os, struct, sys
		fd = os.open(sys.argv[1], os.O_RDWR)
		ENTRIES = (256 << 10) + (8 << 20)
		CLUSTERS = ENTRIES + (2048 << 20)
		CLUSTER, ENTRY, SLOT = 88, 4, 48
		def get(at, form):
		    return struct.unpack(form, os.pread(fd, struct.calcsize(form), at))[0]
		def put(at, form, value):
		    os.pwrite(fd, struct.pack(form, value), at)
		exec(sys.argv[2])
	PYTHON
}

@test "a session in order: before, between and after" {
	start_contents mixed $((32 * MEBIBYTE))
	swap_ok attach -p "$TARGET_PID"
	check_session
	assert_equal "$(summary .out_pages)" 0
	out_region
	check_session
	assert_equal "$(summary .out_pages)" 8192
	(($(summary .records) > 100 && $(summary .records) <= $(summary .clusters)))
	assert_equal "$(summary .poisoned_pages)" 0
	assert_equal "$(resident)" 0
	ask fork
	check_session
	ask check
	check_session
	assert_equal "$(summary .out_pages)" 0
}

@test "of every kind of store" {
	local options
	start_contents mixed $((8 * MEBIBYTE))
	for options in --no-encrypt '--store memory' '--store memory --encrypt' '--compress none --cluster 256K' '--compress zstd --cluster 4K'; do
		# shellcheck disable=SC2086
		out_region $options
		check_session
		assert_equal "$(summary .out_pages)" 2048
		swap_ok detach -p "$TARGET_PID"
		wait_for 5 is_session_gone
	done
}

@test "no false alarm while programs work on their memory" {
	local program
	for program in "threads 4 $((16 * MEBIBYTE))" 'soak 7'; do
		# shellcheck disable=SC2086
		start_with_input $program
		swap_most out -p "$TARGET_PID"
		in_turns() {
			check_session
			swap_most out -p "$TARGET_PID"
			check_session
		}
		repeat 5 3 in_turns
		end_current
	done
}

@test "no false alarm while swap-outs go on" {
	start_with_input threads 2 $((16 * MEBIBYTE))
	swap_ok attach -p "$TARGET_PID"
	until [[ -e $BATS_TEST_TMPDIR/stop ]]; do
		timeout 20 swapctl out -p "$TARGET_PID" >/dev/null 2>&1 3>&- || :
	done 3>&- &
	local loader=$!
	repeat 5 3 check_session
	touch "$BATS_TEST_TMPDIR/stop"
	wait "$loader"
}

# flip_byte FILE OFFSET: it is another one afterwards, whatever it was.
flip_byte() {
	python3 - "$@" <<-'PYTHON'
		import sys
		with open(sys.argv[1], "r+b") as file:
		    file.seek(int(sys.argv[2]))
		    byte = file.read(1)[0]
		    file.seek(int(sys.argv[2]))
		    file.write(bytes([byte ^ 0xff]))
	PYTHON
}

@test "records that are not what was written are named, with their place" {
	local option
	for option in --encrypt --no-encrypt; do
		start_contents random $((4 * MEBIBYTE))
		out_region "$option" --compress none
		flip_byte "$(store_path)" $((10 * 65792 + 100))
		check_finds "the store does not hold what was written" 1
		run -0 jq -es --arg from "$START" --arg to "$END" '.[0] | .errno == "EBADMSG" and .cluster > 0 and
			.start >= "0x" + $from and .start < "0x" + $to' "$RECORDS"
		# Looking has changed nothing: the page is lost when it is touched.
		assert_equal "$(status_of '[.out_pages, .poisoned_pages] | @csv')" 1024,0
		# No other one of its record is.
		lost_pages
		assert_equal "$lost" 1
		check_session
		end_current
	done
}

@test "a store that was cut short is named" {
	start_contents random $((4 * MEBIBYTE))
	out_region --compress none
	truncate -s $((32 * 65792)) "$(store_path)"
	check_finds "the store ends before its record does" 32
}

@test "an index that counts wrong, or leads two ways to one place, is named" {
	start_contents random $((4 * MEBIBYTE))
	out_region
	index_do 'put(CLUSTERS + 3 * CLUSTER, "I", get(CLUSTERS + 3 * CLUSTER, "I") + 1)'
	check_finds "a cluster counts other pages than point to it" 1
	index_do 'put(CLUSTERS + 3 * CLUSTER, "I", get(CLUSTERS + 3 * CLUSTER, "I") - 1)'
	check_session
	# A slot begins with its offset.
	index_do 'AT = CLUSTERS + 4 * CLUSTER + SLOT; mine = get(AT, "Q"); print(mine); put(AT, "Q", get(AT + CLUSTER, "Q"))' >"$BATS_TEST_TMPDIR/mine"
	check_finds "two records overlap in the store" 1
	index_do "put(CLUSTERS + 4 * CLUSTER + SLOT, 'Q', $(<"$BATS_TEST_TMPDIR/mine"))"
	check_session
	# Lengths: 16 bytes further on.
	index_do 'AT = CLUSTERS + 4 * CLUSTER + SLOT + 16; put(AT, "I", get(AT, "I") - 1)'
	check_finds "the store counts other records than the index has" 1
	index_do 'AT = CLUSTERS + 4 * CLUSTER + SLOT + 16; put(AT, "I", get(AT, "I") + 1)'
	check_session
	ask check
}

@test "entries that point nowhere, and pages that are in two places, are named" {
	start_contents random $((4 * MEBIBYTE))
	out_region
	index_do 'print(get(ENTRIES + 10 * ENTRY, "I")); put(ENTRIES + 10 * ENTRY, "I", 4000 << 7)' >"$BATS_TEST_TMPDIR/entry"
	check_finds "the page is out, and the index does not say where" 1
	index_do "put(ENTRIES + 10 * ENTRY, 'I', $(<"$BATS_TEST_TMPDIR/entry"))"
	check_session
	ask check
	check_session
	swap_ok detach -p "$TARGET_PID"
	wait_for 5 is_session_gone
	out_region --bytes 1M
	index_do 'put(ENTRIES + 300 * ENTRY, "I", get(ENTRIES + 10 * ENTRY, "I"))'
	check_finds "the page is out, and in core as well" 1
	assert_equal "$(record 'map(select(.reason == "the page is out, and in core as well"))[0].start')" \
		"$(printf '0x%x' $((0x$START + 300 * 4096)))"
	index_do 'put(ENTRIES + 300 * ENTRY, "I", 0)'
	check_session
	ask check
}

@test "check without a session, of a process that is gone, with a wrong option" {
	start_contents text $((4 * MEBIBYTE))
	swap_fails 7 'it has no session' check -p "$TARGET_PID"
	swap_fails 2 'which process' check
	swap_fails 2 'unknown option' check -p "$TARGET_PID" -r -
	swap_ok attach -p "$TARGET_PID"
	kill -KILL "$TARGET_PID"
	wait "$TARGET_PID" || :
	swap_fails 6 'no such process' check -p "$TARGET_PID"
}

@test "a record that is just being made anew is no error" {
	local pause=$BATS_TEST_TMPDIR/pause
	PATH=$UVM_BUILD/failpoints/bin:$PATH
	mkdir "$pause"
	start_contents mixed $((4 * MEBIBYTE))
	UVM_PAUSE_AT=repack-placed:30000 UVM_PAUSE_MARK=$pause swap_ok attach -p "$TARGET_PID" --compress auto
	out_region
	wait_for 20 test -e "$pause.reached"
	{
		read -rt 0.7 <> <(:) || :
		rmdir "$pause"
	} 3>&- &
	check_session
	wait $!
	ask check
}
