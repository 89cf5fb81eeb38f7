#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# addrspace clone --core: core files of live processes, held against what debuggers and the programs themselves say.

# shellcheck disable=SC2030,SC2031,SC2034,SC2153 # each test is a process of its own
bats_require_minimum_version 1.5.0
load swap_helper

MEBIBYTE=1048576

# core ARGUMENT...: writes $CORE from the target. Sets RECORDS.
core() {
	CORE=$BATS_TEST_TMPDIR/core
	RECORDS=$BATS_TEST_TMPDIR/records
	timeout -k 5 60 addrspace clone -p "$TARGET_PID" --core "$CORE" "$@" >"$RECORDS" 3>&-
}

# debug PROGRAM COMMAND...: what gdb prints of the core.
debug() {
	local program=$1 command arguments=()
	shift
	for command in "$@"; do
		arguments+=(-ex "$command")
	done
	timeout 60 gdb -nx -batch "${arguments[@]}" "$program" "$CORE" 2>"$BATS_TEST_TMPDIR/gdb-errors" 3>&-
}

@test "gdb opens the core of a program with threads: all of them, their stacks, their memory" {
	start_with_input threads 3 $((4 * MEBIBYTE))
	core
	assert_equal "$(record '.[0] | [.threads, .unreadable_bytes, .core] | @csv')" "4,0,\"$CORE\""
	assert_equal "$(stat -c %a "$CORE")" 600
	assert_equal "$(record '.[0].core_bytes')" "$(stat -c %s "$CORE")"
	ask end
	debug "$UVM_BUILD/targets/threads" 'info threads' 'thread apply all backtrace' >"$BATS_TEST_TMPDIR/gdb"
	assert_equal "$(grep -cE '^[* ] +[0-9]+ +Thread ' "$BATS_TEST_TMPDIR/gdb")" 4
	assert_regex "$(<"$BATS_TEST_TMPDIR/gdb")" "LWP $TARGET_PID"
	assert_equal "$(grep -cE '^#[0-9]+ .*main \(' "$BATS_TEST_TMPDIR/gdb")" 1
	assert_equal "$(grep -cE '^#[0-9]+ .*verify \(' "$BATS_TEST_TMPDIR/gdb")" 3
}

# The bytes of a region in the core, by its program headers.
core_bytes() {
	python3 - "$CORE" "$1" "$2" <<-'SCRIPT'
		import struct, sys
		core, start, end = sys.argv[1], int(sys.argv[2], 16), int(sys.argv[3], 16)
		with open(core, "rb") as file:
		    head = file.read(64)
		    offset, count = struct.unpack_from("<Q", head, 32)[0], struct.unpack_from("<H", head, 56)[0]
		    file.seek(offset)
		    table = file.read(56 * count)
		    for i in range(count):
		        kind, flags, at, address, _, filled, size, _ = struct.unpack_from("<IIQQQQQQ", table, 56 * i)
		        if kind == 1 and address <= start and end <= address + filled:
		            file.seek(at + start - address)
		            sys.stdout.buffer.write(file.read(end - start))
	SCRIPT
}

memory_of() {
	dd if="/proc/$1/mem" bs=4096 skip=$((0x$2 / 4096)) count=$(((0x$3 - 0x$2) / 4096)) status=none
}

@test "every byte of the program's memory is in the core, and what is empty takes no space" {
	start_with_input contents mixed $((16 * MEBIBYTE))
	core
	core_bytes "$START" "$END" >"$BATS_TEST_TMPDIR/from-core"
	memory_of "$TARGET_PID" "$START" "$END" | cmp - "$BATS_TEST_TMPDIR/from-core"
	ask check
	start_target /usr/bin/python3 -u -c 'if True:
		import mmap, time
		m = mmap.mmap(-1, 4 << 30, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
		m[2 << 30] = 1
		print("ready")
		time.sleep(600)'
	core
	assert [ "$(stat -c %s "$CORE")" -gt $((4096 * MEBIBYTE)) ]
	assert [ "$(($(stat -c %b "$CORE") * 512))" -lt $((64 * MEBIBYTE)) ]
}

@test "memory that is swapped out is in the core as well" {
	start_with_input contents mixed $((8 * MEBIBYTE))
	swap_most out -p "$TARGET_PID"
	core
	core_bytes "$START" "$END" >"$BATS_TEST_TMPDIR/from-core"
	swap_ok detach -p "$TARGET_PID"
	memory_of "$TARGET_PID" "$START" "$END" | cmp - "$BATS_TEST_TMPDIR/from-core"
	ask check
}

@test "shared memory is in the core, and its holes stay holes" {
	start_target /usr/bin/python3 -u -c 'if True:
		import ctypes, mmap, time
		m = mmap.mmap(-1, 64 << 20)
		m[5 << 20:(5 << 20) + 11] = b"shared-here"
		at = ctypes.addressof(ctypes.c_char.from_buffer(m))
		print("ready %x %x" % (at + (5 << 20), at + (5 << 20) + 4096))
		time.sleep(600)'
	object=/proc/$TARGET_PID/map_files/$(awk '/dev\/zero/ { print $1 }' "/proc/$TARGET_PID/maps")
	before=$(stat -L -c %b "$object")
	((before > 0))
	core
	# shellcheck disable=SC2086
	assert_equal "$(core_bytes $TARGET_READY | head -c 11)" shared-here
	assert_equal "$(stat -L -c %b "$object")" "$before"
}

@test "what a process keeps out of its cores is in one only with --all" {
	local secret plain
	start_target /usr/bin/python3 -u -c 'if True:
		import ctypes, mmap, time
		def make(advice, shared):
		    m = mmap.mmap(-1, 1 << 20, (mmap.MAP_SHARED if shared else mmap.MAP_PRIVATE) | mmap.MAP_ANONYMOUS)
		    m[:6] = b"inside"
		    if advice:
		        m.madvise(advice)
		    return m, "%x" % ctypes.addressof(ctypes.c_char.from_buffer(m))
		all = [make(mmap.MADV_DONTDUMP, False), make(mmap.MADV_DONTDUMP, True), make(0, True), make(0, False)]
		print("ready", *[at for _, at in all])
		time.sleep(600)'
	read -ra at <<<"$TARGET_READY"
	# holds PLACE...: which of the four are in the core.
	holds() {
		local place found=
		for place in "${at[@]}"; do
			found+=$(core_bytes "$place" "$(printf %x $((0x$place + 4096)))" | head -c 6)-
		done
		assert_equal "$found" "$1"
	}
	core
	holds --inside-inside-
	(($(record '.[0].excluded_bytes') >= 2 * MEBIBYTE))
	core --all
	holds inside-inside-inside-inside-
	echo 0x31 >"/proc/$TARGET_PID/coredump_filter"
	core
	holds ---inside-
	core --all
	holds inside-inside-inside-inside-
	run -2 --separate-stderr timeout 20 addrspace clone -p "$TARGET_PID" --all 3>&-
	assert_regex "$stderr" '^addrspace clone: cannot use --all: of which core'
}

has_redis_answer() {
	redis-cli -s "$BATS_TEST_TMPDIR/redis.sock" ping >/dev/null 2>&1
}

@test "a core of redis under load holds every key, and redis notices nothing" {
	local i socket=$BATS_TEST_TMPDIR/redis.sock
	start_target /bin/sh -c "echo ready; exec redis-server --port 0 --unixsocket $socket --save '' --appendonly no"
	wait_for 20 has_redis_answer
	redis-cli -s "$socket" debug populate 40000 filler 1000 >/dev/null
	for ((i = 0; i < 200; i++)); do
		echo "set needle:$i value-of-needle-$i-end"
	done | redis-cli -s "$socket" >/dev/null
	digest=$(redis-cli -s "$socket" debug digest)
	redis-benchmark -s "$socket" -t get -n 200000 -c 8 -q >"$BATS_TEST_TMPDIR/benchmark" 2>&1 3>&- &
	load=$!
	core
	assert_equal "$(grep -aoE 'value-of-needle-[0-9]+-end' "$CORE" | sort -u | wc -l)" 200
	wait "$load"
	assert_regex "$(<"$BATS_TEST_TMPDIR/benchmark")" 'requests per second'
	assert_equal "$(redis-cli -s "$socket" debug digest)" "$digest"
	debug "$(command -v redis-server)" 'info threads' >"$BATS_TEST_TMPDIR/gdb"
	assert_equal "$(grep -cE '^[* ] +[0-9]+ +(Thread|LWP)' "$BATS_TEST_TMPDIR/gdb")" "$(record '.[0].threads')"
	# At a quiet moment a clone has the same memory, so the same digest.
	kill -STOP "$TARGET_PID"
	addrspace clone -p "$TARGET_PID" -- addrspace diff "$TARGET_PID" '{}' >"$BATS_TEST_TMPDIR/diff"
	kill -CONT "$TARGET_PID"
	# But for the page of each thread in which the kernel keeps its processor (rseq).
	assert [ "$(jq -s 'last | .changed_bytes' "$BATS_TEST_TMPDIR/diff")" -le $(($(record '.[0].threads') * $(getconf PAGESIZE))) ]
	assert [ "$(jq -s 'last | .compared_bytes' "$BATS_TEST_TMPDIR/diff")" -gt $((40 * MEBIBYTE)) ]
	assert_equal "$(redis-cli -s "$socket" debug digest)" "$digest"
}

# refuses STATUS PATTERN PATH: a core file that cannot be written.
refuses() {
	local status=0
	timeout 60 addrspace clone -p "$TARGET_PID" --core "$3" >"$BATS_TEST_TMPDIR/records" 2>"$BATS_TEST_TMPDIR/errors" 3>&- ||
		status=$?
	assert_equal "$status" "$1"
	assert_equal "$(wc -l <"$BATS_TEST_TMPDIR/errors")" 1
	assert_regex "$(<"$BATS_TEST_TMPDIR/errors")" "^addrspace clone: cannot write the core file .*$2"
	assert_equal "$(<"$BATS_TEST_TMPDIR/records")" ''
}

@test "a core that cannot be written leaves nothing behind" {
	start_target touch anon every $((8 * MEBIBYTE))
	mkdir "$BATS_TEST_TMPDIR/small"
	mount -t tmpfs -o size=2m none "$BATS_TEST_TMPDIR/small"
	refuses 1 'No space left' "$BATS_TEST_TMPDIR/small/core"
	assert_equal "$(ls -A "$BATS_TEST_TMPDIR/small")" ''
	refuses 2 'not a regular file' /dev/null
	refuses 2 'not a regular file' "$BATS_TEST_TMPDIR/small"
	refuses 2 'empty' ''
	refuses 1 'No such file' /no/such/place/core
	(
		ulimit -f 1024
		refuses 1 'File too large' "$BATS_TEST_TMPDIR/limited"
	)
	assert [ ! -e "$BATS_TEST_TMPDIR/limited" ]
	kill -0 "$TARGET_PID"
}

@test "a core replaces an earlier one, and the clone can be kept as well" {
	start_target touch anon every $((4 * MEBIBYTE))
	echo earlier >"$BATS_TEST_TMPDIR/core"
	core --hold
	assert_equal "$(head -c 4 "$CORE" | tail -c 3)" ELF
	clone=$(record '.[0].pid')
	end_later "$clone"
	kill -0 "$clone"
	addrspace drop -p "$clone" >/dev/null
}

@test "reading a clone for its core makes no copies of the pages that it shares" {
	start_target touch anon every $((32 * MEBIBYTE))
	core --hold
	clone=$(record '.[0].pid')
	end_later "$clone"
	assert [ "$(awk '/^Private_/ { sum += $2 } END { print sum }' "/proc/$clone/smaps_rollup")" -lt 4096 ]
	addrspace drop -p "$clone" >/dev/null
}

@test "memory that a program keeps from its children is in its core, pages that are out too" {
	local bytes=$((12 * MEBIBYTE))
	start_with_input marks "$bytes" 1
	ask absent
	read -r start end <<<"$TARGET_READY"
	core
	(($(record '.[0].left_out_bytes') < bytes))
	cmp <(core_bytes "$start" "$end") <(memory_of "$TARGET_PID" "$start" "$end")
	swap_most out -p "$TARGET_PID"
	(($(status_of .out_pages) >= bytes * 8 / 10 / 4096))
	core
	ask absent
	ask check
	cmp <(core_bytes "$start" "$end") <(memory_of "$TARGET_PID" "$start" "$end")
	swap_ok detach -p "$TARGET_PID"
}
