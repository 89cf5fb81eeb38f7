#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# addrspace(1), the verbs that look: what they say of live processes, held against what the kernel says.

# shellcheck disable=SC2030,SC2031,SC2086 # each test is a process of its own
bats_require_minimum_version 1.5.0
load addrspace_helper

@test "info tells what the kernel tells" {
	start_target touch anon every $((4 * MEBIBYTE))
	space 0 info -p "$TARGET_PID"
	assert_equal "$(record '.[0].mappings')" "$(grep -vc vsyscall "/proc/$TARGET_PID/maps")"
	assert_equal "$(record '.[0].max_mappings')" "$(</proc/sys/vm/max_map_count)"
	assert_equal "$(record '.[0].page_bytes')" "$(getconf PAGESIZE)"
	assert_equal "$(record '.[0].virtual_bytes / 1024')" "$(awk '/^VmSize/ { print $2 }' "/proc/$TARGET_PID/status")"
	assert_equal "$(record '.[0].overcommit')" "$(sed 's/0/heuristic/; s/1/always/; s/2/never/' /proc/sys/vm/overcommit_memory)"
	assert_equal "$(record '.[0] | .stack_start[2:] + "-" + .stack_end[2:]')" "$(awk '/\[stack\]/ { print $1 }' "/proc/$TARGET_PID/maps")"
	assert_equal "$(record '.[0].starttime')" "$(starttime "$TARGET_PID")"
}

@test "info tells the limits that are there, and no others" {
	start_target touch anon every $MEBIBYTE
	prlimit --pid "$TARGET_PID" --as=$((1024 * MEBIBYTE)) --data=unlimited --memlock=65536
	space 0 info --pid "$TARGET_PID"
	assert_equal "$(record '.[0] | [.address_space_limit_bytes, .locked_limit_bytes, has("data_limit_bytes")] | @csv')" \
		$((1024 * MEBIBYTE)),65536,false
}

# The mappings as the kernel lists them: start, end, rights, name.
kernel_list() {
	grep -v vsyscall "/proc/$1/maps" | sed -E 's/^([0-9a-f]+)-([0-9a-f]+) (....) [0-9a-f]+ [0-9a-f:]+ [0-9]+ */0x\1 0x\2 \3 /'
}

our_list() {
	record 'map(select(.type == "region")) | map("\(.start) \(.end) \(.perm) \(.name)") | .[]'
}

@test "list has every mapping with its rights and its name" {
	start_target touch anon every $((4 * MEBIBYTE))
	space 0 list -p "$TARGET_PID"
	diff <(kernel_list "$TARGET_PID") <(our_list)
	assert_equal "$(summary .regions)" "$(kernel_list "$TARGET_PID" | wc -l)"
	assert_equal "$(summary '.bytes / 1024')" "$(awk '/^VmSize/ { print $2 }' "/proc/$TARGET_PID/status")"
	assert_equal "$(summary .resident_bytes)" "$(awk '/^Rss:/ { sum += $2 } END { print sum * 1024 }' "/proc/$TARGET_PID/smaps")"
}

@test "list has every mapping of a process with many, and what is in core of each" {
	start_target manymaps 3000
	space 0 list -p "$TARGET_PID"
	diff <(kernel_list "$TARGET_PID") <(our_list)
	diff <(awk '/^Rss:/ { print $2 * 1024 }' "/proc/$TARGET_PID/smaps" | head -n -1) \
		<(record 'map(select(.type == "region")) | .[].resident_bytes')
}

@test "an object is told with its kind, inode and offset, and the rights as words" {
	local kind object flag
	while read -r kind object flag; do
		start_target touch "$kind" every $((4 * MEBIBYTE))
		read -r START _ <<<"$TARGET_READY"
		space 0 list -p "$TARGET_PID"
		assert_equal "$(record ".[] | select(.start == \"0x$START\") | [.object, .flags[], .protection[]] | @csv")" \
			"\"$object\",\"$flag\",\"read\",\"write\""
		assert_equal "$(record ".[] | select(.start == \"0x$START\") | .inode // 0")" \
			"$(awk -v start="$START" 'index($1, start "-") == 1 { print $5 }' "/proc/$TARGET_PID/maps")"
		end_target "$TARGET_PID"
	done <<-END
		anon anon private
		shared shmem shared
		memfd shmem shared
		private-file file private
		shared-file file shared
	END
	assert_equal "$(record "map(select(.object == \"file\" and .offset)) | length > 3")" true
}

@test "VmFlags are told when they are asked for, and pages when they are not left out" {
	start_target touch anon every $((4 * MEBIBYTE))
	read -r START _ <<<"$TARGET_READY"
	space 0 list -p "$TARGET_PID" --vm-flags --no-pages
	assert_equal "$(record ".[] | select(.name == \"[stack]\") | .vm_flags | index(\"growsdown\") != null")" true
	assert_equal "$(record 'map(select(.vm_flags == null and .type == "region")) | length')" 0
	assert_equal "$(record 'map(select(has("resident_bytes"))) | length')" 0
	space 0 list -p "$TARGET_PID"
	assert_equal "$(record 'map(select(has("vm_flags"))) | length')" 0
	assert_equal "$(record ".[] | select(.start == \"0x$START\") | .resident_bytes")" $((4 * MEBIBYTE))
}

@test "list --grown has what has more in core than before, and nothing else" {
	start_with_input /usr/bin/python3 -u -c 'if True:
		import mmap, sys
		m = mmap.mmap(-1, 64 << 20)
		print("ready")
		for line in sys.stdin:
			m[0:8 << 20] = bytes(8 << 20)
			print("ok")'
	addrspace list -p "$TARGET_PID" --grown 1 >"$BATS_TEST_TMPDIR/grown" 3>&- &
	end_later $!
	# Between its two looks.
	is_between() {
		[[ $(cat "/proc/${OTHERS[-1]}/wchan") == *nanosleep* ]]
	}
	wait_for 10 is_between
	ask more
	wait "${OTHERS[-1]}"
	jq -es 'map(select(.type == "region" and .grown_bytes >= 8388608)) | length == 1' "$BATS_TEST_TMPDIR/grown"
	jq -es 'last.regions < 10' "$BATS_TEST_TMPDIR/grown"
	jq -es '(map(select(.type == "region").grown_bytes) | add) == last.grown_bytes' "$BATS_TEST_TMPDIR/grown"
	space 0 list -p "$TARGET_PID" --grown 100ms
	assert_equal "$(record '.[-1] | [.regions, .grown_bytes] | @csv')" 0,0
	space 2 list -p "$TARGET_PID" --grown 1 --no-pages
}

@test "regions narrow the list to their parts of mappings" {
	start_target touch anon every $((4 * MEBIBYTE))
	read -r START _ <<<"$TARGET_READY"
	local a b c
	a=$((16#$START + 8192)) b=$((16#$START + 12288)) c=$((16#$START + 65536))
	{
		region "$(printf %x $c)" "$(printf %x $((c + 4096)))"
		region "$(printf %x $a)" "$(printf %x $b)"
	} >"$BATS_TEST_TMPDIR/regions"
	space 0 list -p "$TARGET_PID" -r "$BATS_TEST_TMPDIR/regions"
	assert_equal "$(record 'map(select(.type == "region")) | map("\(.start) \(.resident_bytes) \(.vma_start)") | .[]')" \
		"$(printf '0x%x 4096 0x%s\n' $a "$START" $c "$START")"
	region 1000 2000 >"$BATS_TEST_TMPDIR/regions"
	space 0 list -p "$TARGET_PID" -r - <"$BATS_TEST_TMPDIR/regions"
	assert_equal "$(summary .regions)" 0
}

@test "what list says goes on to superpages and swapctl" {
	start_with_input contents mixed $((4 * MEBIBYTE))
	addrspace list -p "$TARGET_PID" | superpages -p "$TARGET_PID" -r - | swap_most out -p "$TARGET_PID" -r -
	assert_equal "$(resident)" 0
	space 0 list -p "$TARGET_PID"
	assert_equal "$(start=0x$START record '.[] | select(.start == env.start) | .resident_bytes')" 0
	ask check
	swap_ok detach -p "$TARGET_PID"
}

@test "query tells the object at an address, and where in it" {
	start_target touch private-file every $((4 * MEBIBYTE))
	read -r START END _ <<<"$TARGET_READY"
	space 0 query -p "$TARGET_PID" "0x$(printf %x $((16#$START + 8192)))"
	assert_equal "$(record '.[0] | [.object, .offset, .all_same, .mapped_bytes] | @csv')" '"file","0x2000",true,4096'
	assert_equal "$(record '.[0] | .vma_start[2:] + " " + .vma_end[2:]')" "$START $END"
	space 0 query -p "$TARGET_PID" "$START-$END"
	assert_equal "$(record '.[0] | [.object, .offset, .all_same, (.protection | join("+")), .mappings] | @csv')" \
		'"file","0x0",true,"read+write",1'
}

@test "query has no object where there are several, or a hole, and no rights where they differ" {
	start_target manymaps 4
	local start=${TARGET_READY% *} end=${TARGET_READY#* }
	space 0 query -p "$TARGET_PID" "$start-$end"
	assert_equal "$(record '.[0] | [.object, .protection, .all_same, .mappings] | @csv')" '"anon",,false,4'
	space 0 query -p "$TARGET_PID" "$(awk 'NR == 1 { split($1, a, "-"); first = a[1] } /\[heap\]/ { split($1, a, "-"); print first "-" a[2] }' \
		"/proc/$TARGET_PID/maps")"
	assert_equal "$(record '.[0] | [.object, .all_same, .mappings > 4] | @csv')" ',false,true'
	space 0 query -p "$TARGET_PID" 0
	assert_equal "$(record '.[0] | [.object, .protection, .all_same, .mapped_bytes, .mappings] | @csv')" ',,false,0,0'
}

@test "a process that is stopped, sandboxed or traced can be looked at" {
	start_with_input sandboxed kill $MEBIBYTE
	kill -STOP "$TARGET_PID"
	space 0 list -p "$TARGET_PID"
	diff <(kernel_list "$TARGET_PID") <(our_list)
	space 0 info -p "$TARGET_PID"
	space 0 query -p "$TARGET_PID" "${TARGET_READY%% *}"
}

@test "looking is refused for what has no address space, and for those who may not" {
	start_target touch anon every $MEBIBYTE
	refuses 2 'kernel thread' info -p 2
	refuses 6 'no such process' info -p 4194304
	refuses 2 'which process' info
	refuses 2 'not a process id' info -p 0
	refuses 2 'more is not a process id' info -p "$TARGET_PID" more
	refuses 2 'which address' query -p "$TARGET_PID"
	refuses 2 'zzz is not START-END' query -p "$TARGET_PID" zzz
	refuses 2 'not begin and end at pages' query -p "$TARGET_PID" 1001-2000
	refuses 2 'malformed|expected a record' list -p "$TARGET_PID" -r - <<<'nonsense'
	refuses 1 'No such file' list -p "$TARGET_PID" -r "$BATS_TEST_TMPDIR/missing"
	region 1000 2000 "$TARGET_PID" 1 >"$BATS_TEST_TMPDIR/old"
	refuses 6 'earlier process' list -p "$TARGET_PID" -r "$BATS_TEST_TMPDIR/old"
	status=0
	as_nobody addrspace info -p "$TARGET_PID" >"$BATS_TEST_TMPDIR/records" 2>"$BATS_TEST_TMPDIR/errors" || status=$?
	assert_equal "$status" 4
	assert_regex "$(<"$BATS_TEST_TMPDIR/errors")" 'as root or as the owner'
}
