#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# superpages(1), through its binary and against programs that know what they have touched.

bats_require_minimum_version 1.5.0
load helper

METHODS=(scan pagemap mincore)

# list ARGUMENT...: the records of a run that must succeed, in $output, the summary apart in $summary.
list() {
	run -0 --separate-stderr superpages "$@"
	assert_equal "$stderr" ""
	summary=${lines[-1]}
	assert_equal "$(jq -r .type <<<"$summary")" summary
	output=$(grep -v '"type":"summary"' <<<"$output" || :)
}

# How many records the last list had, and how many bytes in core.
count() {
	jq -s length <<<"$output"
}

resident() {
	jq -s 'map(.resident_bytes) | add // 0' <<<"$output"
}

# Starts touch and sets START, END and TOUCHED as it says.
touch_memory() {
	start_target touch "$@"
	read -r START END TOUCHED <<<"$TARGET_READY"
}

# fails STATUS ARGUMENT...: must fail so, with one line on standard error (in $stderr) and no record.
fails() {
	local status_wanted=$1
	shift
	run "-$status_wanted" --separate-stderr "$@"
	assert_equal "$output" ""
	assert_equal "${#stderr_lines[@]}" 1
	assert_regex "$stderr" '^superpages: '
}

# Whatever is in core by one method is in core by all, and it is what the program touched.
agree() {
	local method records first=
	touch_memory "$@"
	for method in "${METHODS[@]}"; do
		list -p "$TARGET_PID" --kind all --range "$START-$END" --method "$method"
		assert_equal "$(resident)" "$TOUCHED"
		assert_equal "$(jq -r .method <<<"$summary")" "$method"
		records=$output
		first=${first:-$records}
		assert_equal "$records" "$first"
	done
}

@test "all methods agree with a program that touched every page" {
	agree anon every
	assert_equal "$(count)" 2
}

@test "all methods agree with a program that touched every other page" {
	agree anon other
	assert_equal "$(count)" 2
}

@test "all methods agree with a program that touched one page" {
	agree anon one
	assert_equal "$(count)" 1
}

@test "all methods agree with a program that touched nothing" {
	agree anon none
	assert_equal "$(count)" 0
}

@test "all methods agree with a program that discarded what it had touched" {
	agree anon discarded
	assert_equal "$(count)" 0
}

@test "all methods agree on the private pages of a file" {
	agree private-file other
	assert_equal "$(jq -r .perm <<<"$output" | uniq)" rw-p
}

@test "all methods agree on the shared pages of a file" {
	agree shared-file other
	assert_equal "$(jq -r .name <<<"$output" | uniq)" "$TARGET_DIR/touched"
}

@test "all methods agree on shared anonymous memory" {
	agree shared every
}

@test "all methods agree on a memfd" {
	agree memfd one
}

@test "all methods agree on huge pages and say what they back" {
	agree huge every
	if [[ $(cat /sys/kernel/mm/transparent_hugepage/enabled) == *'[never]'* ]]; then
		skip "transparent huge pages are off"
	fi
	assert_equal "$(jq -s 'map(.huge_bytes) | add' <<<"$output")" "$(awk -v start="$START" '
		/^[0-9a-f]+-/ { mine = index($1, start "-") == 1 } mine && /^AnonHugePages/ { print $2 * 1024 }' \
		"/proc/$TARGET_PID/smaps")"
}

@test "on a whole quiet process all methods give the same records" {
	local method records first=
	touch_memory anon other
	for method in "${METHODS[@]}"; do
		list -p "$TARGET_PID" --method "$method"
		records=$output
		first=${first:-$records}
		assert_equal "$records" "$first"
	done
}

@test "auto takes PAGEMAP_SCAN where the kernel has it" {
	touch_memory anon one
	list -p "$TARGET_PID"
	assert_regex "$(jq -r .method <<<"$summary")" '^(scan|pagemap)$'
	if superpages -p "$TARGET_PID" --method scan >/dev/null 2>&1; then
		assert_equal "$(jq -r .method <<<"$summary")" scan
	fi
}

@test "mincore leaves the process as it was" {
	touch_memory anon every
	cp "/proc/$TARGET_PID/maps" "$BATS_TEST_TMPDIR/before"
	list -p "$TARGET_PID" --method mincore
	diff "$BATS_TEST_TMPDIR/before" "/proc/$TARGET_PID/maps"
	assert_equal "$(ps -o stat= -p "$TARGET_PID" | cut -c1)" S
}

@test "a record says where it lies, in which process, and what its mapping is" {
	touch_memory anon every
	list -p "$TARGET_PID" --range "$START-$END"
	local starttime
	starttime=$(starttime "$TARGET_PID")
	run -0 jq --argjson pid "$TARGET_PID" --argjson born "$starttime" --arg first "0x$START" --arg last "0x$END" '
		select(.start == $first) | .v == 1 and .type == "region" and .pid == $pid and .starttime == $born and .bytes == 2097152 and
		.resident_bytes == 2097152 and .swapped_bytes == 0 and .perm == "rw-p" and .name == "" and .vma_start == $first and .vma_end == $last
	' <<<"$output"
	assert_output true
}

@test "the limit counts superpages: none, some, all" {
	touch_memory anon every $((32 << 20))
	list -p "$TARGET_PID" --max 0 --range "$START-$END"
	assert_equal "$(count)" 0
	list -p "$TARGET_PID" --max 3 --range "$START-$END"
	assert_equal "$(count)" 3
	assert_equal "$(jq -r .start <<<"$output" | head -n 1)" "0x$START"
	for max in -1 -5 16 17; do
		list -p "$TARGET_PID" --max "$max" --range "$START-$END"
		assert_equal "$(count)" 16
	done
	list -p "$TARGET_PID" --max 16 --range "$START-$END" --size 4K
	assert_equal "$(resident)" 65536
}

@test "joining neighbours keeps the limit in superpages" {
	touch_memory anon every $((32 << 20))
	list -p "$TARGET_PID" --merge --range "$START-$END"
	assert_equal "$(jq -c '[.bytes, .resident_bytes]' <<<"$output")" "[33554432,33554432]"
	assert_equal "$(jq -c '[.superpages, .regions]' <<<"$summary")" "[16,1]"
	list -p "$TARGET_PID" --merge --max 5 --range "$START-$END"
	assert_equal "$(jq -c '[.bytes, .resident_bytes]' <<<"$output")" "[10485760,10485760]"
	assert_equal "$(jq -c '[.superpages, .regions]' <<<"$summary")" "[5,1]"
	list -p "$TARGET_PID" --merge --max 5 --sort resident --range "$START-$END"
	assert_equal "$(jq -c '[.superpages, .regions]' <<<"$summary")" "[5,1]"
}

@test "pages that are not neighbours are not joined" {
	touch_memory anon other $((1 << 20))
	list -p "$TARGET_PID" --merge --size 4K --range "$START-$END"
	assert_equal "$(jq -c '[.superpages, .regions, .resident_bytes]' <<<"$summary")" "[128,128,524288]"
}

@test "superpages can have any power of two from a page up" {
	touch_memory anon every $((8 << 20))
	for size in 4K 64K 1M 8M; do
		list -p "$TARGET_PID" --size "$size" --range "$START-$END"
		assert_equal "$(resident)" $((8 << 20))
		assert_equal "$(jq .superpages <<<"$summary")" "$(jq -n --argjson size "$(numfmt --from=iec $size)" \
			--argjson start $((16#$START)) '((8388608 + $start) / $size | ceil) - ($start / $size | floor)')"
	done
	list -p "$TARGET_PID" --size 1G --range "$START-$END"
	assert_equal "$(resident)" $((8 << 20))
	for size in 3M 2K 0 -2M 2.5M huge ''; do
		fails 2 superpages -p "$TARGET_PID" --size "$size"
	done
}

@test "a superpage that two mappings share counts once" {
	touch_memory anon every $((4 << 20))
	list -p "$TARGET_PID" --size 1G --kind all --max 1
	assert [ "$(count)" -gt 1 ]
	assert_equal "$(jq .superpages <<<"$summary")" 1
	assert_equal "$(jq -r 'select(.vma_start > .start or .vma_end < .end) | .start' <<<"$output")" ""
}

@test "--min-resident leaves out what has less in core, in bytes and in percent" {
	touch_memory anon other
	for least in 1048576 1M 50% 0 0% 1; do
		list -p "$TARGET_PID" --min-resident "$least" --range "$START-$END"
		assert_equal "$(count)" 2
	done
	for least in 1048577 2M 51% 100%; do
		list -p "$TARGET_PID" --min-resident "$least" --range "$START-$END"
		assert_equal "$(count)" 0
	done
	for least in 101% -1% % 50%% x 1.5P; do
		fails 2 superpages -p "$TARGET_PID" --min-resident "$least"
	done
}

@test "--kind chooses anonymous memory, files, shared memory or all" {
	local kind wanted
	while read -r kind wanted; do
		touch_memory "$kind" every
		for asked in anon file shmem all; do
			list -p "$TARGET_PID" --kind "$asked" --range "$START-$END"
			if [[ $asked == "$wanted" || $asked == all ]]; then
				assert_equal "$(count)" 2
			else
				assert_equal "$(count)" 0
			fi
		done
		end_target "$TARGET_PID"
	done <<-END
		anon anon
		shared shmem
		memfd shmem
		private-file file
		shared-file file
	END
	fails 2 superpages -p "$$" --kind files
}

@test "--name takes the mappings whose name matches" {
	touch_memory memfd every
	list -p "$TARGET_PID" --kind all --name '/memfd:touch*'
	assert_equal "$(count)" 2
	list -p "$TARGET_PID" --kind all --name '*libc*'
	assert_equal "$(jq -r 'select(.name | contains("libc") | not) | .name' <<<"$output")" ""
	assert [ "$(count)" -gt 0 ]
	list -p "$TARGET_PID" --name '[stack]'
	assert_equal "$(jq -r .name <<<"$output")" "[stack]"
	list -p "$TARGET_PID" --name '[st*'
	assert_equal "$(jq -r .name <<<"$output")" "[stack]"
	list -p "$TARGET_PID" --name 'no such name'
	assert_equal "$(count)" 0
}

@test "--range cuts what it lists to the range" {
	touch_memory anon every
	list -p "$TARGET_PID" --range "0x$(printf %x $((16#$START + 4096)))-0x$END"
	assert_equal "$(jq -s -c 'map(.bytes)' <<<"$output")" "[2093056,2097152]"
	for range in "$START" "$END-$START" "$START-$START" x-y "$START-$(printf %x $((16#$END - 1)))" ''; do
		fails 2 superpages -p "$TARGET_PID" --range "$range"
	done
}

@test "--sort resident lists the largest first, and a limit keeps the largest" {
	touch_memory anon other $((6 << 20))
	list -p "$TARGET_PID" --sort resident
	assert_equal "$(jq -s 'map(.resident_bytes) == (map(.resident_bytes) | sort | reverse)' <<<"$output")" true
	assert [ "$(count)" -gt 4 ]
	list -p "$TARGET_PID" --sort resident --max 3
	assert_equal "$(jq -s -c 'map(.resident_bytes)' <<<"$output")" "[1048576,1048576,1048576]"
	assert_equal "$(jq -s -r '.[0].start' <<<"$output")" "0x$START"
	list -p "$TARGET_PID" --sort resident --max 1 --size 8K --range "$START-$END"
	assert_equal "$(jq -s -c 'map(.start)' <<<"$output")" "[\"0x$START\"]"
	list -p "$TARGET_PID" --sort resident --max 0
	assert_equal "$(jq -c '[.superpages, .regions]' <<<"$summary")" "[0,0]"
	fails 2 superpages -p "$TARGET_PID" --sort size
}

@test "--swappable leaves out what swapctl would not take" {
	touch_memory anon every
	list -p "$TARGET_PID" --swappable --range "$START-$END"
	assert_equal "$(count)" 2
	list -p "$TARGET_PID" --swappable --name '[stack]'
	assert_equal "$(count)" 0
	for kind in locked readonly wipe shared memfd private-file; do
		touch_memory "$kind" every
		list -p "$TARGET_PID" --kind all --swappable --range "$START-$END"
		assert_equal "$(count)" 0
		list -p "$TARGET_PID" --kind all --range "$START-$END"
		assert_equal "$(count)" 2
	done
}

@test "-r looks only inside the regions given, from a file and from standard input" {
	local regions=$BATS_TEST_TMPDIR/regions
	touch_memory anon every $((16 << 20))
	list -p "$TARGET_PID" --max 3 --range "$START-$END"
	printf '%s\n%s\n' "$output" "$summary" >"$regions"
	list -p "$TARGET_PID" -r "$regions"
	assert_equal "$output" "$(head -n 3 "$regions")"
	run -0 --separate-stderr superpages -p "$TARGET_PID" -r - <"$regions"
	assert_equal "$(grep -v summary <<<"$output")" "$(head -n 3 "$regions")"
	jq -s . "$regions" >"$regions.array"
	list -p "$TARGET_PID" -r "$regions.array" --merge
	assert_equal "$(jq .bytes <<<"$output")" $((6 << 20))
	list -p "$TARGET_PID" -r "$regions" --range "$START-$(printf %x $((16#$START + 4096)))"
	assert_equal "$(jq .bytes <<<"$output")" 4096
	echo '[]' >"$regions.none"
	list -p "$TARGET_PID" -r "$regions.none"
	assert_equal "$(count)" 0
}

@test "malformed regions are refused with the line that is wrong" {
	touch_memory anon one
	local text
	for text in '{"start":"0x1000"' '{"start":"0x1000","end":"zzz"}' '{"start":"0x2000","end":"0x1000"}' \
		'{"start":"0x1001","end":"0x2000"}' '{"v":2,"start":"0x1000","end":"0x2000"}' 'hello' '[1,2]'; do
		printf '{"start":"0x1000","end":"0x2000"}\n%s\n' "$text" >"$BATS_TEST_TMPDIR/bad"
		fails 2 superpages -p "$TARGET_PID" -r "$BATS_TEST_TMPDIR/bad"
		assert_regex "$stderr" 'line [23]'
	done
	printf '{"start":"0x%s","end":"0x%s"}\n' 1000 3000 2000 4000 >"$BATS_TEST_TMPDIR/bad"
	fails 2 superpages -p "$TARGET_PID" -r "$BATS_TEST_TMPDIR/bad"
	assert_regex "$stderr" 'overlap'
	fails 1 superpages -p "$TARGET_PID" -r "$BATS_TEST_TMPDIR/missing"
}

@test "regions of another process are refused" {
	touch_memory anon one
	local other=$TARGET_PID
	superpages -p "$other" >"$BATS_TEST_TMPDIR/regions"
	touch_memory anon one
	fails 6 superpages -p "$TARGET_PID" -r "$BATS_TEST_TMPDIR/regions"
	assert_regex "$stderr" "process $other"
	jq -c '.starttime += 1' "$BATS_TEST_TMPDIR/regions" >"$BATS_TEST_TMPDIR/reused"
	fails 6 superpages -p "$other" -r "$BATS_TEST_TMPDIR/reused"
	assert_regex "$stderr" 'earlier process'
}

@test "no such process" {
	touch_memory anon one
	end_target "$TARGET_PID"
	fails 6 superpages -p "$TARGET_PID"
}

@test "a kernel thread is refused" {
	if [[ $(cat /proc/2/comm 2>/dev/null) != kthreadd ]]; then
		skip "no kernel thread is visible here"
	fi
	fails 2 superpages -p 2
	assert_regex "$stderr" 'kernel thread'
}

@test "a thread that is no process is refused" {
	local tid
	start_target /usr/bin/env python3 -c 'import threading, time
threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()
print("ready", flush=True)
time.sleep(1000)'
	for tid in "/proc/$TARGET_PID/task/"*; do
		tid=${tid##*/}
	done
	assert_not_equal "$tid" "$TARGET_PID"
	fails 2 superpages -p "$tid"
	assert_regex "$stderr" 'thread'
}

@test "a program of another word size is refused" {
	start_32_bit
	fails 2 superpages -p "$TARGET_PID"
	assert_regex "$stderr" 'word size'
}

@test "another user's process is refused" {
	if ((EUID != 0)); then
		skip "needs root to become another user"
	fi
	touch_memory anon one
	run -4 --separate-stderr as_nobody superpages -p "$TARGET_PID"
	assert_equal "$output" ""
	assert_equal "${#stderr_lines[@]}" 1
	assert_regex "$stderr" 'root'
}

@test "one's own process can be listed without privileges" {
	if ((EUID != 0)); then
		skip "needs root to become another user"
	fi
	install -m 755 "$UVM_BUILD/targets/touch" "$BATS_TEST_TMPDIR/touch"
	chmod 755 "$BATS_RUN_TMPDIR" "$BATS_TEST_TMPDIR" "$BATS_TEST_TMPDIR/.." "$BATS_TEST_TMPDIR/../.."
	start_target /usr/bin/setpriv --reuid=65534 --regid=65534 --clear-groups "$BATS_TEST_TMPDIR/touch" anon every
	run -0 --separate-stderr as_nobody superpages -p "$TARGET_PID"
	assert_equal "$(jq -s 'map(select(.bytes == 2097152 and .resident_bytes == 2097152)) | length' <<<"$output")" 2
}

@test "which process: by pid, by an inherited pidfd, not by both, not by neither" {
	local with_pidfd='import os, sys
pid, tool = int(sys.argv[1]), sys.argv[2:]
fd = os.pidfd_open(pid)
os.set_inheritable(fd, True)
os.execvp(tool[0], [str(fd) if a == "FD" else a for a in tool])'
	touch_memory anon every
	list -p "$TARGET_PID"
	local by_pid=$output
	run -0 --separate-stderr python3 -c "$with_pidfd" "$TARGET_PID" superpages --pidfd FD
	assert_equal "$(grep -v summary <<<"$output")" "$by_pid"
	fails 2 python3 -c "$with_pidfd" "$TARGET_PID" superpages -p "$TARGET_PID" --pidfd FD
	fails 2 superpages
	fails 2 superpages --pidfd 0 </dev/null
	fails 2 superpages --pidfd 777
	fails 2 superpages -p 0
	fails 2 superpages -p -1
	fails 2 superpages -p 12x
}

@test "unknown options, formats, methods and words are refused" {
	fails 2 superpages -p "$$" --no-such-option
	fails 2 superpages -p "$$" --format xml
	fails 2 superpages -p "$$" --method guess
	fails 2 superpages -p "$$" --max many
	fails 2 superpages -p "$$" word
}

@test "--help names every option and --version the version" {
	run -0 superpages --help
	local option
	for option in pid pidfd regions max size min-resident kind name range merge swappable idle sort method format columns; do
		assert_output --partial -- "--$option"
	done
	run -0 superpages --version
	assert_output --regexp '^superpages \(uvmtools\) [0-9]'
}

@test "a table for people, with the columns they choose" {
	touch_memory anon every
	run -0 superpages -p "$TARGET_PID" --format table --range "$START-$END"
	assert_line --index 0 --regexp '^START +END +BYTES +RESIDENT'
	assert_line --index 1 --partial "0x$START"
	assert_line --index 1 --partial '2.0 MiB'
	assert_line --regexp '^2 superpages of 2.0 MiB: 4.0 MiB resident'
	run -0 superpages -p "$TARGET_PID" --format table --columns start,resident_bytes --range "$START-$END"
	assert_line --index 0 --regexp '^START +RESIDENT *$'
	run -0 superpages -p "$TARGET_PID" --raw --no-headings -o resident_bytes,start --range "$START-$END"
	assert_line --index 0 "2097152 0x$START"
	run -2 superpages -p "$TARGET_PID" -o start,residents
	assert_output 'superpages: cannot use --columns: residents is no column; there are: start end bytes resident_bytes swapped_bytes huge_bytes perm name vma_start vma_end pid starttime swappable_bytes out_bytes stays idle_bytes comm cgroup'
}

@test "a full device is a failure, and a reader that went away is none" {
	start_target manymaps 20000
	local status=0
	superpages -p "$TARGET_PID" >/dev/full 2>"$BATS_TEST_TMPDIR/err" || status=$?
	assert_equal "$status" 1
	assert_equal "$(wc -l <"$BATS_TEST_TMPDIR/err")" 1
	run -0 bash -c 'set -o pipefail; { timeout 20 superpages -p "$1"; echo "status $?" >&2; } | true' - "$TARGET_PID"
	assert_output 'status 0'
}

# Fills a pipe with records until the tool waits for a reader, does something to the target, then reads on.
interrupted() {
	local deed=$1 pipe=$BATS_TEST_TMPDIR/pipe tool status=0 first
	mkfifo "$pipe"
	superpages -p "$TARGET_PID" >"$pipe" 2>"$BATS_TEST_TMPDIR/err" 3>&- &
	tool=$!
	add_target "$tool"
	exec {reader}<"$pipe"
	read -r first <&"$reader"
	assert_equal "$(jq -r .type <<<"$first")" region
	wait_for 20 grep -q pipe_write "/proc/$tool/stack"
	"$deed" "$TARGET_PID"
	cat <&"$reader" >"$BATS_TEST_TMPDIR/rest"
	exec {reader}<&-
	wait "$tool" || status=$?
	assert_equal "$status" 6
	assert_equal "$(wc -l <"$BATS_TEST_TMPDIR/err")" 1
	run ! grep -q '"type":"summary"' "$BATS_TEST_TMPDIR/rest"
}

@test "a process that ends during the walk: exit code 6 and no summary" {
	if [[ ! -r /proc/self/stack ]]; then
		skip "needs /proc/PID/stack"
	fi
	start_target manymaps 60000
	interrupted end_target
}

is_sleep() {
	[[ $(cat "/proc/$1/comm") == sleep ]]
}

make_exec() {
	kill -USR1 "$1"
	wait_for 20 is_sleep "$1"
}

@test "a process that runs another program during the walk: exit code 6 and no summary" {
	if [[ ! -r /proc/self/stack ]]; then
		skip "needs /proc/PID/stack"
	fi
	start_target manymaps 60000
	interrupted make_exec
}

# mapped SUMMARY: the bytes that are there. What the kernel migrates at the moment (compaction) is told as swapped, and is little.
mapped() {
	jq 'if .swapped_bytes * 16 < .resident_bytes then .resident_bytes + .swapped_bytes else "swapped" end' <<<"$1"
}

@test "one terabyte reserved and eight gigabytes touched, in bounded memory" {
	TARGET_DEADLINE=120 start_target reserve $((1 << 40)) $((8 << 30))
	read -r START END <<<"$TARGET_READY"
	local method
	for method in "${METHODS[@]}"; do
		run -0 --separate-stderr prlimit --as=$((64 << 20)) timeout 60 superpages -p "$TARGET_PID" --range "$START-$END" --method "$method"
		assert_equal "$(jq -c '[.superpages, .regions]' <<<"${lines[-1]}") $(mapped "${lines[-1]}")" "[4096,4096] 8589934592"
	done
	run -0 --separate-stderr prlimit --as=$((64 << 20)) timeout 60 superpages -p "$TARGET_PID" --range "$START-$END" --sort resident
	assert_equal "$(jq -c '[.superpages, .regions]' <<<"${lines[-1]}") $(mapped "${lines[-1]}")" "[4096,4096] 8589934592"
}

@test "sixty thousand mappings, in bounded memory" {
	start_target manymaps 60000
	read -r START END <<<"$TARGET_READY"
	local option share
	for option in --merge --swappable --sort=resident --method=pagemap --method=mincore; do
		share=1
		[[ $option != --method=mincore ]] || share=$(at_length 1 10) # it stops a thread for each mapping
		run -0 --separate-stderr prlimit --as=$((64 << 20)) timeout 60 superpages -p "$TARGET_PID" \
			--range "$START-$(printf %x $((16#$START + 60000 * 4096 / share)))" "$option"
		assert_equal "$(jq .regions <<<"${lines[-1]}") $(mapped "${lines[-1]}")" "$((30000 / share)) $((122880000 / share))"
	done
	list -p "$TARGET_PID" --range "$START-$END" --max 2 --sort resident
	assert_equal "$(count)" 512
}

@test "bash completes options, their values, columns and process ids" {
	if [[ ! -r /usr/share/bash-completion/bash_completion ]]; then
		skip "bash-completion is not installed"
	fi
	complete_bash() {
		bash --norc -c '. /usr/share/bash-completion/bash_completion; . "$1"; shift
			COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMP_LINE="$*" COMP_POINT=${#COMP_LINE}
			_superpages superpages "${*: -1}" "${*: -2:1}"; echo "${COMPREPLY[*]}"' - "$UVM_BUILD/completions/bash/superpages" "$@"
	}
	assert_equal "$(complete_bash superpages --swa)" --swappable
	assert_equal "$(complete_bash superpages --kind s)" shmem
	assert_equal "$(complete_bash superpages --columns start,res)" start,resident_bytes
	assert_regex " $(complete_bash superpages -p "$$") " " $$ "
	cd "$BATS_TEST_TMPDIR"
	touch regions.json
	assert_equal "$(complete_bash superpages -r regi)" regions.json
}

@test "fish completes options, their values and process ids" {
	command -v fish >/dev/null || skip "fish is not installed"
	complete_fish() {
		HOME=$BATS_TEST_TMPDIR fish --no-config -c "source $UVM_BUILD/completions/fish/superpages.fish; complete -C'$1'" | cut -f1
	}
	assert_equal "$(complete_fish 'superpages --swa')" --swappable
	assert_equal "$(complete_fish 'superpages --kind s')" shmem
	assert_regex "$(complete_fish "superpages -p $$")" "(^|
)$$"
}

@test "zsh loads its completion" {
	command -v zsh >/dev/null || skip "zsh is not installed"
	run -0 zsh -fc "fpath=($UVM_BUILD/completions/zsh \$fpath); autoload -U compinit; compinit -u -D; print \${_comps[superpages]}"
	assert_output _superpages
	run -0 zsh -n "$UVM_BUILD/completions/zsh/_superpages"
}

@test "the completions of all shells know every option" {
	local option
	for option in $(superpages --help | grep -oE -- '--[a-z-]+' | sort -u); do
		grep -q -e "$option" "$UVM_BUILD/completions/bash/superpages"
		grep -q -e "$option" "$UVM_BUILD/completions/zsh/_superpages"
		grep -q -e "-l ${option#--}" "$UVM_BUILD/completions/fish/superpages.fish"
		grep -q -e "Fl -${option#--}" "$ROOT/man/superpages.1"
	done
}
