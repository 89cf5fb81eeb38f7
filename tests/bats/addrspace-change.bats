#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# addrspace(1), the verbs that change: memory mapped, unmapped and protected in live processes, what is refused, and that nothing else changes.
# shellcheck disable=SC2030,SC2031,SC2086,SC2119,SC2153 # each test is a process of its own

bats_require_minimum_version 1.5.0
load addrspace_helper

# The place of the first region record, as START-END.
place() {
	record 'map(select(.type == "region"))[0] | .start[2:] + "-" + .end[2:]'
}

# maps_line START: what the kernel says of the mapping that begins there: its rights and its name.
maps_line() {
	sed -nE "s/^$1-[0-9a-f]+ (....) [0-9a-f]+ [0-9a-f:]+ [0-9]+ */\1 /p" "/proc/$TARGET_PID/maps" | sed 's/ *$//'
}

# bytes_at ADDRESS COUNT: of the memory of the target.
bytes_at() {
	python3 -c 'import sys
with open(f"/proc/{sys.argv[1]}/mem", "rb") as memory:
    memory.seek(int(sys.argv[2], 16)); sys.stdout.buffer.write(memory.read(int(sys.argv[3])))' "$TARGET_PID" "$1" "$2"
}

# poke ADDRESS TEXT: writes as the program itself would.
poke() {
	python3 -c 'import sys
with open(f"/proc/{sys.argv[1]}/mem", "r+b", buffering=0) as memory:
    memory.seek(int(sys.argv[2], 16)); memory.write(sys.argv[3].encode())' "$TARGET_PID" "$1" "$2"
}

hex() {
	printf %x $((16#$1 + ${2:-0}))
}

# start_known: a target whose memory and its surroundings are known, and what it looks like.
start_known() {
	start_target touch "${1:-anon}" every $((4 * MEBIBYTE))
	read -r START END _ <<<"$TARGET_READY"
	snapshot
}

@test "what is mapped is there with the rights that were asked for, and nothing of it is left when it is unmapped" {
	local access perm
	start_known
	while read -r access perm; do
		space 0 map -p "$TARGET_PID" --size 128K --protection "$access"
		assert_equal "$(summary '[.op, .done, .bytes, .errors] | @csv')" '"map",true,131072,0'
		assert_equal "$(record '.[0].perm')" "$perm"
		assert_equal "$(awk -v place="$(place)" '$1 == place { print $2 }' "/proc/$TARGET_PID/maps")" "$perm"
		space 0 unmap -p "$TARGET_PID" "$(place)"
		unchanged
	done <<-END
		x --xp
		r-x r-xp
		wxr rwxp
		--- ---p
	END
}

@test "shared anonymous memory is shared" {
	start_known
	space 0 map -p "$TARGET_PID" --size 64K --shared
	assert_equal "$(record '.[0] | [.object, .perm, .flags[0]] | @csv')" '"shmem","rw-s","shared"'
	space 0 unmap -p "$TARGET_PID" -r "$RECORDS"
	unchanged
}

@test "a file is mapped with its bytes, from an offset on, and no descriptor of it is left" {
	start_known
	head -c 20000 /dev/urandom >"$BATS_TEST_TMPDIR/file"
	space 0 map -p "$TARGET_PID" --file "$BATS_TEST_TMPDIR/file"
	assert_equal "$(record '.[0] | [.bytes, .object, .perm, .offset] | @csv')" '20480,"file","r--p","0x0"'
	bytes_at "$(record '.[0].start')" 20000 | cmp - "$BATS_TEST_TMPDIR/file"
	space 0 unmap -p "$TARGET_PID" "$(place)"
	space 0 map -p "$TARGET_PID" --file "$BATS_TEST_TMPDIR/file" --offset 8K --size 4096 --protection rw
	assert_equal "$(record '.[0] | [.bytes, .offset, .inode] | @csv')" "4096,\"0x2000\",$(stat -c %i "$BATS_TEST_TMPDIR/file")"
	bytes_at "$(record '.[0].start')" 4096 | cmp - <(tail -c +8193 "$BATS_TEST_TMPDIR/file" | head -c 4096)
	poke "$(record '.[0].start')" private
	run grep -c private "$BATS_TEST_TMPDIR/file"
	assert_output 0
	space 0 unmap -p "$TARGET_PID" "$(place)"
	unchanged
}

@test "what is written to a shared mapping of a file is in the file" {
	start_known
	head -c 4096 /dev/zero >"$BATS_TEST_TMPDIR/file"
	space 0 map -p "$TARGET_PID" --file "$BATS_TEST_TMPDIR/file" --shared --protection rw
	poke "$(record '.[0].start')" shared
	assert_equal "$(head -c 6 "$BATS_TEST_TMPDIR/file")" shared
}

@test "nothing is written into a file that is mapped when standard streams are closed" {
	local closed
	start_known
	head -c 8192 /dev/zero >"$BATS_TEST_TMPDIR/file"
	for closed in '>&-' '<&- >&-' '<&- >&- 2>&-' '2>&-' '>&- 2>&-'; do
		run timeout 20 sh -c "\"\$@\" $closed" sh "$UVM_BUILD/bin/addrspace" map -p "$TARGET_PID" --file "$BATS_TEST_TMPDIR/file" --shared --protection rw 3>&-
		# Where records can be written there is nothing to complain of.
		[[ $closed == '2>&-' ]] || assert_equal "$closed: $status" "$closed: 1"
		cmp "$BATS_TEST_TMPDIR/file" <(head -c 8192 /dev/zero)
	done
}

@test "a memfd is mapped under its name" {
	start_known
	space 0 map -p "$TARGET_PID" --memfd scratch --size 1M
	assert_equal "$(record '.[0] | [.bytes, .object, .perm, .name] | @csv')" '1048576,"shmem","rw-s","/memfd:scratch (deleted)"'
	space 0 unmap -p "$TARGET_PID" "$(place)"
	space 0 map -p "$TARGET_PID" --memfd scratch --size 1M --private
	assert_equal "$(record '.[0].perm')" rw-p
	space 0 unmap -p "$TARGET_PID" "$(place)"
	unchanged
}

@test "a free address is used, an occupied one only with --replace, and refused with --fixed" {
	local free
	start_known
	free=$(hex "$END" 4096)
	space 0 map -p "$TARGET_PID" --size 8K --at "0x$free"
	assert_equal "$(record '.[0].start')" "0x$free"
	space 0 map -p "$TARGET_PID" --size 8K --at "0x$free"
	refute [ "$(record '.[0].start')" = "0x$free" ]
	space 0 unmap -p "$TARGET_PID" "$(place)"
	refuses 1 'something is mapped there' map -p "$TARGET_PID" --size 8K --at "0x$free" --fixed
	refuses 1 'something is mapped there' map -p "$TARGET_PID" --size 8K --at "0x$(hex "$free" -4096)" --fixed
	space 0 unmap -p "$TARGET_PID" "$free-$(hex "$free" 8192)"
	space 0 map -p "$TARGET_PID" --size 8K --at "0x$free" --fixed
	assert_equal "$(record '.[0].start')" "0x$free"
	printf hello >"$BATS_TEST_TMPDIR/file"
	space 0 map -p "$TARGET_PID" --file "$BATS_TEST_TMPDIR/file" --at "$free" --fixed --replace
	assert_equal "$(bytes_at "$free" 5)" hello
	assert_equal "$(maps_line "$free")" "r--p $BATS_TEST_TMPDIR/file"
	space 0 unmap -p "$TARGET_PID" "$free-$(hex "$free" 8192)"
	unchanged
}

@test "populated memory is in core, locked memory is locked" {
	start_known
	space 0 map -p "$TARGET_PID" --size 9M --populate
	space 0 list -p "$TARGET_PID" -r "$RECORDS"
	assert_equal "$(summary .resident_bytes)" $((9 * MEBIBYTE))
	space 0 alloc -p "$TARGET_PID" 5M --commit
	space 0 list -p "$TARGET_PID" -r "$RECORDS"
	assert_equal "$(summary .resident_bytes)" $((5 * MEBIBYTE))
	space 0 alloc -p "$TARGET_PID" 1M --lock
	assert_equal "$(awk '/^VmLck/ { print $2 }' "/proc/$TARGET_PID/status")" 1024
	space 0 list -p "$TARGET_PID" -r "$RECORDS"
	assert_equal "$(summary .resident_bytes)" $MEBIBYTE
	space 0 map -p "$TARGET_PID" --size 2M
	space 0 list -p "$TARGET_PID" -r "$RECORDS"
	assert_equal "$(summary .resident_bytes)" 0
}

@test "memory that cannot be had in full is not had at all" {
	start_target /usr/bin/setpriv --bounding-set=-ipc_lock --inh-caps=-ipc_lock "$UVM_BUILD/targets/touch" anon every $MEBIBYTE
	prlimit --pid "$TARGET_PID" --memlock=65536
	snapshot
	refuses 1 'map memory' alloc -p "$TARGET_PID" 1M --lock
	refuses 1 'this machine has less' alloc -p "$TARGET_PID" 64T --lock
	refuses 1 'this machine has less' map -p "$TARGET_PID" --memfd x --size 64T --populate
	unchanged
	space 0 alloc -p "$TARGET_PID" 64K --lock
	space 0 free -p "$TARGET_PID" -r "$RECORDS"
	prlimit --pid "$TARGET_PID" --as=$((64 * MEBIBYTE))
	snapshot
	refuses 1 'Cannot allocate memory.*addrspace info' alloc -p "$TARGET_PID" 100M
	unchanged
}

@test "an allocation lies where it is wanted, and is freed in parts" {
	local start part
	start_known
	space 0 alloc -p "$TARGET_PID" 3M --align 2M --zero
	start=$(record '.[0].start')
	assert_equal $((start % (2 * MEBIBYTE))) 0
	assert_equal "$(record '.[0] | [.bytes, .object, .perm, .op] | @csv')" '3145728,"anon","rw-p","alloc"'
	cp "$RECORDS" "$BATS_TEST_TMPDIR/allocated"
	part=$(hex "${start#0x}" $MEBIBYTE)-$(hex "${start#0x}" $((2 * MEBIBYTE)))
	space 0 free -p "$TARGET_PID" "$part"
	assert_equal "$(summary .bytes)" $MEBIBYTE
	# The rest; the part is told as missing.
	space 3 free -p "$TARGET_PID" -r "$BATS_TEST_TMPDIR/allocated"
	assert_equal "$(summary '[.bytes, .errors] | @csv')" $((2 * MEBIBYTE)),1
	assert_equal "$(record '.[] | select(.type == "error") | [.errno, .op, .start[2:] + "-" + .end[2:]] | @csv')" "\"ENOMEM\",\"munmap\",\"$part\""
	unchanged
	space 0 alloc -p "$TARGET_PID" 5000 --at "0x$(hex "$END" 4096)" --fixed
	assert_equal "$(record '.[0] | [.start, .bytes] | @csv')" "\"0x$(hex "$END" 4096)\",8192"
}

@test "only private anonymous memory is freed" {
	local kind
	for kind in shared memfd private-file; do
		start_known "$kind"
		refuses 2 'not private anonymous memory' free -p "$TARGET_PID" "$START-$END"
		unchanged
		end_target "$TARGET_PID"
	done
	start_known
	refuses 2 'the heap' free -p "$TARGET_PID" "$(awk '/\[heap\]/ { print $1 }' "/proc/$TARGET_PID/maps")"
	refuses 2 'stack of the main thread' free -p "$TARGET_PID" "$(awk '/\[stack\]/ { print $1 }' "/proc/$TARGET_PID/maps")"
	unchanged
}

@test "rights change, piece by piece, and the records say which there were" {
	start_known
	space 0 protect -p "$TARGET_PID" "$START-$(hex "$START" 8192)" --protection r
	assert_equal "$(record '.[0] | [(.protection | join("+")), (.was_protection | join("+")), .perm] | @csv')" '"read","read+write","r--p"'
	assert_equal "$(maps_line "$START")" r--p
	# Two mappings by now, each with what it had.
	space 0 protect -p "$TARGET_PID" "$START-$END" --protection ---
	assert_equal "$(record 'map(select(.type == "region")) | map(.was_protection | join("+")) | @csv')" '"read","read+write"'
	assert_equal "$(maps_line "$START")" ---p
	space 0 protect -p "$TARGET_PID" -r "$RECORDS" --protection wr
	unchanged
}

@test "a hole is told, and what is mapped beside it is done" {
	start_known
	space 0 unmap -p "$TARGET_PID" "$(hex "$START" 8192)-$(hex "$START" 16384)"
	space 3 protect -p "$TARGET_PID" "$START-$(hex "$START" 20480)" --protection r
	assert_equal "$(record 'map("\(.type) \(.start // "" | .[2:]) \(.bytes)") | .[]')" "region $START 8192
error $(hex "$START" 8192) 8192
region $(hex "$START" 16384) 4096
summary  12288"
	assert_equal "$(maps_line "$START")" r--p
	assert_equal "$(maps_line "$(hex "$START" 16384)")" r--p
	assert_equal "$(maps_line "$(hex "$START" 20480)")" rw-p
	space 1 unmap -p "$TARGET_PID" "$(hex "$START" 8192)-$(hex "$START" 16384)"
	assert_equal "$(record '.[0] | [.type, .errno] | @csv')" '"error","ENOMEM"'
}

@test "rights that the object does not allow are refused by the kernel" {
	start_known
	printf hello >"$BATS_TEST_TMPDIR/file"
	space 0 map -p "$TARGET_PID" --file "$BATS_TEST_TMPDIR/file" --shared
	space 4 protect -p "$TARGET_PID" "$(place)" --protection rw
	assert_equal "$(record '.[0] | [.type, .errno, .op] | @csv')" '"error","EACCES","mprotect"'
}

@test "a file that is mapped is at no moment among the descriptors of the process" {
	local i watcher
	start_with_input threads 2 $((2 * MEBIBYTE))
	head -c 64K /dev/urandom >"$BATS_TEST_TMPDIR/file"
	python3 - "$TARGET_PID" "$BATS_TEST_TMPDIR" 3>&- <<-'END' &
		import os, sys
		folder, end = f"/proc/{sys.argv[1]}/fd", sys.argv[2] + "/enough"
		looks = seen = 0
		while looks % 100 or not os.path.exists(end):
		    looks += 1
		    for number in os.listdir(folder):
		        try:
		            link = os.readlink(f"{folder}/{number}")
		            seen += link.startswith(sys.argv[2]) and link.endswith("/file") or "socket" in link or "memfd" in link
		        except OSError:
		            pass
		print(looks > 1000, seen, file=open(sys.argv[2] + "/seen", "w"))
	END
	watcher=$!
	for i in {1..30}; do
		space 0 map -p "$TARGET_PID" --file "$BATS_TEST_TMPDIR/file"
		space 0 map -p "$TARGET_PID" --memfd watched --size 64K
	done
	: >"$BATS_TEST_TMPDIR/enough"
	wait "$watcher"
	assert_equal "$(<"$BATS_TEST_TMPDIR/seen")" "True 0"
}

@test "copy on write keeps what the program writes from the object" {
	local kind
	for kind in shared shared-file memfd; do
		start_known "$kind"
		poke "0x$START" before
		space 0 protect -p "$TARGET_PID" "$START-$(hex "$START" 8192)" --cow
		assert_equal "$(record '.[0] | [.perm, .bytes] | @csv')" '"rw-p",8192'
		assert_equal "$(maps_line "$START" | cut -c 1-4)" rw-p
		assert_equal "$(bytes_at "$START" 6)" before
		# The object, by way of what is still shared of it.
		space 0 protect -p "$TARGET_PID" "$START-$(hex "$START" 4096)" --cow --protection r
		assert_equal "$(maps_line "$START" | cut -c 1-4)" r--p
		if [[ $kind == shared-file ]]; then
			poke "0x$START" behind
			assert_equal "$(head -c 6 "$TARGET_DIR/touched")" before
		fi
		end_target "$TARGET_PID"
	done
}

@test "several parts of one shared mapping are made copy on write" {
	local at
	start_known memfd
	for at in 0 8192 65536; do
		echo "{\"start\":\"0x$(hex "$START" $at)\",\"end\":\"0x$(hex "$START" $((at + 4096)))\"}"
	done >"$BATS_TEST_TMPDIR/parts"
	space 0 protect -p "$TARGET_PID" -r "$BATS_TEST_TMPDIR/parts" --cow
	for at in 0 8192 65536; do
		assert_equal "$(maps_line "$(hex "$START" $at)" | cut -c 1-4)" rw-p
	done
	assert_equal "$(maps_line "$(hex "$START" 4096)" | cut -c 1-4)" rw-s
}

@test "memory that is made copy on write, and cannot be locked again, is told as both" {
	cat >"$BATS_TEST_TMPDIR/locked.py" <<-'PYTHON'
		import ctypes, mmap, os, resource, signal
		memory = mmap.mmap(-1, 1 << 20)
		address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
		assert ctypes.CDLL(None).mlock(ctypes.c_void_p(address), ctypes.c_size_t(8192)) == 0
		resource.setrlimit(resource.RLIMIT_MEMLOCK, (0, 0))
		os.setresuid(65534, 65534, 65534)
		print(f"ready {address:x}", flush=True)
		signal.pause()
	PYTHON
	start_target "$(command -v python3)" "$BATS_TEST_TMPDIR/locked.py"
	START=${TARGET_READY#ready }
	space 3 protect -p "$TARGET_PID" "$START-$(hex "$START" 8192)" --cow
	assert_equal "$(record 'map([.type, .op, .errno, .bytes]) | .[0:2] | tojson')" '[["region","protect",null,8192],["error","mlock","EPERM",8192]]'
	assert_equal "$(maps_line "$START" | cut -c 1-4)" rw-p
}

@test "memory that cannot be copied on write is told so" {
	cat >"$BATS_TEST_TMPDIR/huge.py" <<-'PYTHON'
		import mmap, signal
		memory = mmap.mmap(-1, 2 << 20, flags=mmap.MAP_SHARED | mmap.MAP_ANONYMOUS | 0x40000 | 0x4000) # MAP_HUGETLB, MAP_NORESERVE
		print("ready", flush=True)
		signal.pause()
	PYTHON
	start_target "$(command -v python3)" "$BATS_TEST_TMPDIR/huge.py"
	space 5 protect -p "$TARGET_PID" "$(awk '/anon_hugepage/ { print $1 }' "/proc/$TARGET_PID/maps")" --cow
	assert_equal "$(record '.[0].errno')" EOPNOTSUPP
}

@test "what a thread sleeps in is not taken from it" {
	local text
	start_known
	text=$(awk '/libc.so/ && $2 == "r-xp" { print $1 }' "/proc/$TARGET_PID/maps")
	refuses 2 "thread $TARGET_PID executes it" unmap -p "$TARGET_PID" "$text"
	refuses 2 "thread $TARGET_PID executes it" protect -p "$TARGET_PID" "${text%-*}-$(hex "${text%-*}" 4096)" --protection r
	refuses 2 'stack of the main thread' unmap -p "$TARGET_PID" "$(awk '/\[stack\]/ { print $1 }' "/proc/$TARGET_PID/maps")"
	refuses 2 'executes it' map -p "$TARGET_PID" --size 4K --at "${text%-*}" --fixed --replace
	unchanged
	# More rights take nothing away.
	space 0 protect -p "$TARGET_PID" "$text" --protection rwx
	assert_equal "$(maps_line "${text%-*}" | cut -c 1-4)" rwxp
	space 0 protect -p "$TARGET_PID" "$text" --protection r-x --force
	diff <(grep -E '^[0-9a-f]+-' "$BATS_TEST_TMPDIR/snapshot") <(look_at "$TARGET_PID" | grep -E '^[0-9a-f]+-')
}

@test "what a running thread has its stack in is not taken from it" {
	local stack count=0
	start_with_input threads 2 $((2 * MEBIBYTE))
	# The stacks of pthread_create: a guard page, and RLIMIT_STACK less that page.
	while read -r stack; do
		refuses 2 'thread [0-9]+ has its stack in it' unmap -p "$TARGET_PID" "$stack"
		refuses 2 'thread [0-9]+ has its stack in it' protect -p "$TARGET_PID" "$stack" --protection r
		((++count))
	done < <(tail -n +1 "/proc/$TARGET_PID/maps" | awk '{ split($1, a, "-") } last ~ /---p/ && $2 == "rw-p" && NF == 5 { print $1 } { last = $2 }' |
		while IFS=- read -r a b; do (((16#$b - 16#$a) >= 8 * MEBIBYTE)) && echo "$a-$b"; done)
	assert_equal "$count" 2
	tell end
	wait_for 20 grep -q '^ok' "$TARGET_DIR/out"
}

@test "what the kernel has mapped goes only by force, and what injection needs never" {
	local vvar vdso
	start_known
	vvar=$(awk '/\[vvar\]/ { print $1 }' "/proc/$TARGET_PID/maps")
	vdso=$(awk '/\[vdso\]/ { print $1 }' "/proc/$TARGET_PID/maps")
	refuses 2 'kernel has mapped it' unmap -p "$TARGET_PID" "$vvar"
	refuses 2 'injected by way of it' unmap -p "$TARGET_PID" "$vdso" --force
	refuses 2 'injected by way of it' unmap -p "$TARGET_PID" "$vdso" --force --dry-run
	unchanged
	space 0 unmap -p "$TARGET_PID" "$vvar" --force
	run grep -F '[vvar]' "/proc/$TARGET_PID/maps"
	assert_failure
	space 0 alloc -p "$TARGET_PID" 4K
	kill -0 "$TARGET_PID"
}

@test "memory with pages out, and the areas of a session, are left alone" {
	local area areas
	start_contents mixed $((4 * MEBIBYTE))
	out_region
	refuses 2 'registered with a userfaultfd' unmap -p "$TARGET_PID" "$START-$END"
	refuses 2 'registered with a userfaultfd' free -p "$TARGET_PID" "$START-$END" --force
	refuses 2 'registered with a userfaultfd' protect -p "$TARGET_PID" "$START-$END" --protection r --force
	refuses 2 'registered with a userfaultfd' map -p "$TARGET_PID" --size 4K --at "$START" --fixed --replace --force
	# The control area, and where the puppet stands: private, executable, without a file.
	areas=$(awk '$2 == "r-xp" && $5 == 0 && $6 !~ /vdso/ { print $1 }' "/proc/$TARGET_PID/maps")
	assert_equal "$(wc -w <<<"$areas")" 2
	for area in $areas; do
		refuses 2 'area of uvmtools' unmap -p "$TARGET_PID" --force "$area"
		# Its data lies before or behind it.
		refuses 2 'area of uvmtools' unmap -p "$TARGET_PID" --force "$(grep -B1 -A1 "^$area" "/proc/$TARGET_PID/maps" | awk '$2 == "rw-p" { print $1; exit }')"
	done
	# Beside it a session is no obstacle.
	space 0 alloc -p "$TARGET_PID" 64K --commit
	space 0 free -p "$TARGET_PID" -r "$RECORDS"
	ask check
	check_session
	swap_ok detach -p "$TARGET_PID"
	ask check
}

@test "a dry run says the same and changes nothing" {
	start_known
	space 0 map -p "$TARGET_PID" --size 64K --dry-run
	assert_equal "$(record '.[0] | [.start, .bytes, .done, .perm] | @csv')" ',65536,false,"rw-p"'
	space 0 map -p "$TARGET_PID" --size 64K -n --at "$(hex "$END" 4096)" --fixed
	assert_equal "$(record '.[0].start')" "0x$(hex "$END" 4096)"
	refuses 1 'something is mapped there' map -p "$TARGET_PID" --size 64K -n --at "$START" --fixed
	space 0 unmap -p "$TARGET_PID" -n "$START-$END"
	assert_equal "$(record '.[0] | [.start, .bytes, .done, .op] | @csv')" "\"0x$START\",$((4 * MEBIBYTE)),false,\"unmap\""
	space 0 protect -p "$TARGET_PID" -n "$START-$END" --protection r
	assert_equal "$(record '.[0] | [.perm, .done] | @csv')" '"r--p",false'
	space 3 free -p "$TARGET_PID" -n "$START-$(hex "$END" 4096)"
	space 0 alloc -p "$TARGET_PID" -n 1M
	assert_equal "$(summary '[.done, has("stops")] | @csv')" false,false
	refuses 2 'stack of the main thread' unmap -n -p "$TARGET_PID" "$(awk '/\[stack\]/ { print $1 }' "/proc/$TARGET_PID/maps")"
	unchanged
}

# change_often: what most verbs do, and back.
change_often() {
	local round
	for round in 1 2 3; do
		echo "round $round"
		space 0 alloc -p "$TARGET_PID" 2M --commit
		space 0 protect -p "$TARGET_PID" -r "$RECORDS" --protection r
		space 0 free -p "$TARGET_PID" -r "$RECORDS"
		space 0 map -p "$TARGET_PID" --memfd some --size 64K --populate
		space 0 unmap -p "$TARGET_PID" -r "$RECORDS"
	done
}

@test "threads that work go on, and find their memory as it was" {
	start_with_input threads 4 $((2 * MEBIBYTE))
	snapshot
	change_often
	unchanged
	tell end
	wait_for 20 grep -q '^ok' "$TARGET_DIR/out"
}

@test "a process under a seccomp filter is changed, and its filter holds" {
	start_with_input sandboxed kill $MEBIBYTE
	snapshot
	change_often
	unchanged
	tell
	wait_for 20 grep -q '^ok' "$TARGET_DIR/out"
}

@test "a process under PR_SET_MDWE is changed, and gets no executable memory that it can write" {
	start_with_input sandboxed mdwe $MEBIBYTE
	snapshot
	change_often
	unchanged
	space 4 protect -p "$TARGET_PID" --protection rwx "$START-$END"
	unchanged
	tell
	wait_for 20 grep -q '^ok' "$TARGET_DIR/out"
}

@test "a stopped process is changed and stays stopped" {
	start_known
	kill -STOP "$TARGET_PID"
	change_often
	unchanged
	assert_equal "$(awk '/^State/ { print $2 }' "/proc/$TARGET_PID/status")" T
}

@test "a process that ends in the middle is told as gone" {
	local loop
	start_contents mixed $MEBIBYTE
	(
		while addrspace alloc -p "$TARGET_PID" 64M --commit >"$BATS_TEST_TMPDIR/allocated" 2>"$BATS_TEST_TMPDIR/errors"; do
			addrspace free -p "$TARGET_PID" -r "$BATS_TEST_TMPDIR/allocated" >"$BATS_TEST_TMPDIR/freed" 2>"$BATS_TEST_TMPDIR/errors" ||
				break
		done
	) 3>&- &
	loop=$!
	wait_for 20 test -s "$BATS_TEST_TMPDIR/freed"
	tell exit
	wait "$loop" || :
	assert_equal "$(wc -l <"$BATS_TEST_TMPDIR/errors")" 1
	refuses 6 'no such process|it is a zombie' alloc -p "$TARGET_PID" 4K
}

has_begun_or_ended() {
	(($(rss_anon) > 32 * MEBIBYTE)) || ! kill -0 "$1" 2>/dev/null
}

@test "an allocation that is interrupted is taken back" {
	local pid try status=0
	start_known
	for try in {1..10}; do
		addrspace alloc -p "$TARGET_PID" 512M --commit >"$BATS_TEST_TMPDIR/allocated" 2>"$BATS_TEST_TMPDIR/errors" 3>&- &
		pid=$!
		wait_for 20 has_begun_or_ended "$pid"
		kill -INT "$pid" 2>/dev/null || :
		status=0
		wait "$pid" || status=$?
		((status == 0)) || break
		echo "try $try: it was done before"
		space 0 free -p "$TARGET_PID" -r "$BATS_TEST_TMPDIR/allocated"
	done
	assert_equal "$status" 130
	assert_regex "$(<"$BATS_TEST_TMPDIR/errors")" 'interrupted before all of it was there'
	unchanged
}

is_let_go() {
	[[ $(awk '/^TracerPid/ { print $2 }' "/proc/$TARGET_PID/status") == 0 ]]
}

@test "when the tool is killed in the middle the program goes on with its memory as it was" {
	local i pid idle killed=0
	mkfifo "$BATS_TEST_TMPDIR/idle"
	exec {idle}<>"$BATS_TEST_TMPDIR/idle"
	start_contents mixed $((4 * MEBIBYTE))
	for i in {1..20}; do
		addrspace alloc -p "$TARGET_PID" 8M --commit >/dev/null 2>&1 3>&- &
		pid=$!
		# At another moment of its few hundredths of a second each time.
		read -rt "0.0$((i / 4))$((i * 7 % 10))" -u "$idle" || :
		kill -KILL "$pid" 2>/dev/null || :
		status=0
		wait "$pid" 2>/dev/null || status=$?
		killed=$((killed + (status == 137)))
	done
	wait_for 20 is_let_go
	ask check
	((killed > 0)) || fail "it was never killed in the middle"
	space 0 alloc -p "$TARGET_PID" 4K
	ask check
}

@test "redis goes on with all its data" {
	local socket=$BATS_TEST_TMPDIR/socket digest benchmark
	redis-server --port 0 --unixsocket "$socket" --save '' --enable-debug-command yes >/dev/null 2>&1 3>&- &
	TARGET_PID=$!
	add_target "$TARGET_PID"
	wait_for 20 redis-cli -s "$socket" ping >/dev/null 2>&1
	redis-cli -s "$socket" debug populate 20000 key 200 >/dev/null
	digest=$(redis-cli -s "$socket" debug digest)
	redis-benchmark -s "$socket" -q -c 5 -n 100000 ping >"$BATS_TEST_TMPDIR/benchmark" 2>&1 3>&- &
	benchmark=$!
	change_often
	wait "$benchmark"
	run cat "$BATS_TEST_TMPDIR/benchmark"
	refute_output --partial rror
	assert_equal "$(redis-cli -s "$socket" debug digest)" "$digest"
	run grep -F uvmtools "/proc/$TARGET_PID/maps"
	assert_failure
}

@test "a process that is traced is left to its tracer" {
	start_known
	"$UVM_BUILD/targets/tracer" "$TARGET_PID" 3>&- >"$BATS_TEST_TMPDIR/tracer" &
	end_later $!
	wait_for 10 grep -q ready "$BATS_TEST_TMPDIR/tracer"
	refuses 1 'being traced by tracer' alloc -p "$TARGET_PID" 4K
}

@test "those who may not are told so" {
	local verb
	start_known
	for verb in 'alloc 4K' "unmap $START-$END" "map --size 4K"; do
		status=0
		# shellcheck disable=SC2086
		as_nobody addrspace $verb -p "$TARGET_PID" >/dev/null 2>"$BATS_TEST_TMPDIR/errors" || status=$?
		assert_equal "$status" 4
		assert_equal "$(wc -l <"$BATS_TEST_TMPDIR/errors")" 1
	done
	unchanged
}

@test "wrong words are refused, each with its reason, and nothing is changed" {
	local pattern words
	start_known
	: >"$BATS_TEST_TMPDIR/empty"
	printf hello >"$BATS_TEST_TMPDIR/file"
	while IFS='|' read -r pattern words; do
		# shellcheck disable=SC2086
		refuses 2 "$pattern" ${words//FILE/$BATS_TEST_TMPDIR} -p "$TARGET_PID"
	done <<-'END'
		which memory|unmap
		one word too many|unmap 1000-2000 3000-4000
		give one of them|unmap 1000-2000 -r FILE/empty
		not START-END|unmap 1000
		not START-END|free 2000-1000
		begin and end at pages|unmap 1001-2000
		which rights|protect 1000-2000
		some of the letters|protect 1000-2000 --protection rq
		some of the letters|protect 1000-2000 --protection rr
		some of the letters|protect 1000-2000 --protection rw-x-
		some of the letters|protect 1000-2000 --protection=
		how much|map
		how much|map --memfd x
		how much|alloc
		not a size|alloc many
		not a size|alloc 0
		not a size|map --size -1
		give one of them|map --size 4K --file FILE/file --memfd x
		only with --file|map --size 4K --offset 4K
		not a number of whole pages|map --file FILE/file --offset 5
		ends before that|map --file FILE/file --offset 4K
		the file is empty|map --file FILE/empty
		shorter|map --file FILE/file --size 8K
		not a regular file|map --file FILE
		give one of them|map --size 4K --shared --private
		not the address of a page|map --size 4K --at 1001
		not the address of a page|map --size 4K --at zero
		--at is missing|map --size 4K --fixed
		only with --fixed|map --size 4K --at 10000 --replace
		beyond the last address|map --size 8K --at fffffffffffff000
		needs memory that can be read|map --size 4K --populate --protection w
		needs memory that can be read|map --size 4K --lock --protection ---
		power of two|alloc 4K --align 3000
		power of two|alloc 4K --align 1K
		give one of them|alloc 4K --align 8K --at 10000
		unknown option|alloc 4K --frob
	END
	refuses 2 'which process' alloc 4K
	words=$(printf '%0249d' 0)
	refuses 2 'can have 249 bytes' map -p "$TARGET_PID" --size 4K --memfd "${words}0"
	space 0 map -p "$TARGET_PID" --size 4K --memfd "$words"
	space 0 unmap -p "$TARGET_PID" -r "$RECORDS"
	refuses 1 'No such file' map -p "$TARGET_PID" --file "$BATS_TEST_TMPDIR/missing"
	region "$START" "$END" "$TARGET_PID" 1 >"$BATS_TEST_TMPDIR/old"
	refuses 6 'earlier process' unmap -p "$TARGET_PID" -r "$BATS_TEST_TMPDIR/old"
	unchanged
}

@test "what destroys refuses records of a command that was cut short, and the others say so" {
	start_known
	addrspace alloc -p "$TARGET_PID" 64K >"$BATS_TEST_TMPDIR/whole"
	head -n 1 "$BATS_TEST_TMPDIR/whole" >"$BATS_TEST_TMPDIR/cut"
	local verb
	for verb in unmap free; do
		run -2 --separate-stderr addrspace "$verb" -p "$TARGET_PID" -r "$BATS_TEST_TMPDIR/cut"
		assert_regex "$stderr" "^addrspace $verb: cannot use the regions of .*/cut: they end without a summary"
		run -2 --separate-stderr addrspace "$verb" -p "$TARGET_PID" -r /dev/null
		assert_regex "$stderr" 'without a summary'
	done
	run -0 --separate-stderr addrspace list -p "$TARGET_PID" -r "$BATS_TEST_TMPDIR/cut"
	assert_equal "$stderr" "addrspace list: the regions of $BATS_TEST_TMPDIR/cut may not be all: they end without a summary, so the command that made them failed or was cut short"
	run -0 --separate-stderr addrspace free -p "$TARGET_PID" -r "$BATS_TEST_TMPDIR/whole"
	assert_equal "$stderr" ""
}
