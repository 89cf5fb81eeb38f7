#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# What people type in one line. Where a line would take all of the machine, its processes are narrowed to those of the test. The lines for gdb, and
# for what a process wrote, are among the examples of swapctl(1) and addrspace(1); that for metrics is in dashboards.bats.

# shellcheck disable=SC2030,SC2031,SC2154 # each test is a process of its own; run sets $stderr
bats_require_minimum_version 1.5.0
load swap_helper

MEBIBYTE=1048576

setup() {
	begin_swap_test
	OWN="uvm$BATS_TEST_NUMBER-$$"
}

# start_worker NAME BYTES: a program of the test's own name.
start_worker() {
	ln -sf "$UVM_BUILD/targets/touch" "$BATS_TEST_TMPDIR/$OWN$1"
	start_target "$BATS_TEST_TMPDIR/$OWN$1" anon every "$2"
}

# A unit as systemd makes one, in UNIT and CGROUP.
make_unit() {
	UNIT=$OWN.service
	make_cgroup "$UNIT"
}

@test "the ten processes of the machine with most that could be swapped, and with most that is out" {
	start_worker a $((32 * MEBIBYTE))
	superpages --all --summary --sort swappable --max 10 >"$BATS_TEST_TMPDIR/top"
	jq -es 'map(select(.pid) | .swappable_bytes) | length <= 10 and . == (sort | reverse)' "$BATS_TEST_TMPDIR/top"
	swap_most out "$TARGET_PID" --store memory
	assert_equal "$(superpages --all --comm "$OWN*" --summary --sort out --max 10 | jq 'select(.pid) | [.pid, .out_bytes > 30000000]' -c)" "[$TARGET_PID,true]"
}

@test "swap out what is cold in a cgroup, once, from cron: no output unless something went wrong" {
	make_unit
	start_worker a $((32 * MEBIBYTE))
	echo "$TARGET_PID" >"$CGROUP/cgroup.procs"
	run -0 timeout 60 bash -c "swapctl auto --once --min-saved 0 --cgroup '$CGROUP' >/dev/null"
	refute_output
	swapctl status "$TARGET_PID" | jq -e '.out_pages > 7000'
}

@test "the same for a unit, for as long as it runs" {
	local status=0
	make_unit
	start_worker a $((32 * MEBIBYTE))
	echo "$TARGET_PID" >"$CGROUP/cgroup.procs"
	timeout 60 swapctl auto --unit "$UNIT" --min-saved 0 --interval 1 >"$BATS_TEST_TMPDIR/auto" 2>"$BATS_TEST_TMPDIR/errors" 3>&- &
	end_later $!
	wait_for 20 grep -q '"type":"round"' "$BATS_TEST_TMPDIR/auto"
	end_target "$TARGET_PID"
	wait_for 20 rmdir "$CGROUP"
	wait "${OTHERS[-1]}" || status=$?
	assert_equal "$status $(<"$BATS_TEST_TMPDIR/errors")" "0 "
	jq -es 'last.op == "auto"' "$BATS_TEST_TMPDIR/auto"
}

@test "how much would leave, for all workers of a service, as one number in bytes" {
	local bytes
	make_unit
	for name in -worker -worker -master; do
		start_worker "$name" $((8 * MEBIBYTE))
		echo "$TARGET_PID" >"$CGROUP/cgroup.procs"
	done
	bytes=$(superpages --summary --unit "$UNIT" --comm '*-worker' | jq 'select(.type == "summary") | .swappable_bytes')
	((bytes >= 16 * MEBIBYTE && bytes < 20 * MEBIBYTE))
	run -0 bash -c "timeout 60 swapctl out -n --unit '$UNIT' --comm '*-worker' | jq -s 'map(select(.type == \"summary\") | .would_move_bytes) | add'"
	((output >= 16 * MEBIBYTE && output < 20 * MEBIBYTE))
	run -7 swapctl status --unit "$UNIT"
}

@test "tell when a service refaults more than so many pages a second" {
	make_unit
	start_with_input contents random $((8 * MEBIBYTE))
	echo "$TARGET_PID" >"$CGROUP/cgroup.procs"
	swap_most out "$TARGET_PID" --store memory
	swapctl status --unit "$UNIT" --interval 200ms 3>&- 2>"$BATS_TEST_TMPDIR/errors" |
		jq --unbuffered -r 'select(.refaulted_bytes_per_s / 4096 > 100) | "process \(.pid) refaults"' >"$BATS_TEST_TMPDIR/alerts" 3>&- &
	end_later $!
	ask check
	wait_for 20 grep -qx "process $TARGET_PID refaults" "$BATS_TEST_TMPDIR/alerts"
	end_target "$TARGET_PID" # and with it the line
	has_ended() {
		! kill -0 "${OTHERS[-1]}" 2>/dev/null
	}
	wait_for 20 has_ended
}

@test "the working set of a service over some time, as a picture" {
	make_unit
	start_with_input hotcold $((8 * MEBIBYTE))
	echo "$TARGET_PID" >"$CGROUP/cgroup.procs"
	run -0 --separate-stderr bash -c "timeout 60 uffd-move --unit '$UNIT' --watch 1 --again 200ms | uvm-plot workingset"
	assert_regex "$output" 'Working set over time'
	assert_regex "$output" 'most [4-8]\.[0-9] MiB'
}

@test "which mapping of a process has grown" {
	start_with_input /usr/bin/python3 -u -c 'if True:
		import time
		print("ready")
		kept = []
		while len(kept) < 2000:
			kept.append(b"x" * (1 << 18))
			time.sleep(0.02)'
	run -0 bash -c "timeout 60 addrspace list $TARGET_PID --grown 1 | jq -s 'map(select(.start)) | max_by(.grown_bytes) | .object, .name, (.grown_bytes > 1000000)' -c"
	assert_output $'"anon"\n""\ntrue'
}

@test "the core of a live process, compressed" {
	start_with_input threads 3 $((4 * MEBIBYTE))
	run -0 bash -o pipefail -c "timeout 60 addrspace clone $TARGET_PID --core - | zstd >'$BATS_TEST_TMPDIR/core.zst'"
	zstd -qd "$BATS_TEST_TMPDIR/core.zst"
	run -0 timeout 60 gdb -nx -batch -ex 'info threads' "$UVM_BUILD/targets/threads" "$BATS_TEST_TMPDIR/core"
	assert_equal "$(grep -cE '^[* ] +[0-9]+ +Thread ' <<<"$output")" 4
	timeout 60 addrspace clone "$TARGET_PID" --core "$BATS_TEST_TMPDIR/file" | jq -e '.pause_us > 0'
	assert_equal "$(stat -c %s "$BATS_TEST_TMPDIR/core")" "$(stat -c %s "$BATS_TEST_TMPDIR/file")"
	run -2 addrspace clone "$TARGET_PID" --core - --hold
	run -1 bash -c "addrspace clone $TARGET_PID --core - >/dev/full"
	assert_output --partial 'No space left'
}

@test "bring everything of the machine back before an upgrade, and wait" {
	for name in a b; do
		start_worker "$name" $((8 * MEBIBYTE))
		swap_most out "$TARGET_PID" --store memory
	done
	run -0 timeout 60 swapctl detach --all
	assert_equal "$(jq -s 'map(select(.op == "detach")) | length' <<<"$output")" 2
	assert_equal "$(swapctl status)" ""
	(($(rss_anon) > 8 * MEBIBYTE))
}

@test "every process that could not be swapped, and why, in words" {
	start_worker a $((8 * MEBIBYTE))
	superpages --all --summary | jq -c 'select(.pid) | [.pid, .comm, .stays]' >"$BATS_TEST_TMPDIR/why"
	jq -es "map(select(.[0] == $TARGET_PID))[0] | .[1] == \"${OWN}a\" and .[2].stack > 0 and .[2].file > 0" "$BATS_TEST_TMPDIR/why"
	run -3 --separate-stderr timeout 60 swapctl out -n "$TARGET_PID" 2
	assert_regex "$stderr" 'kernel thread'
}

@test "is this machine able to swap, and what is there to change" {
	run -0 uffd-probe --require swapctl
	run -5 as_nobody uffd-probe --require swapctl
	assert_regex "$(jq -rs 'map(select(.usable == false) | .hint)[]' <<<"$output")" 'run as root'
}

@test "fail a check when any page was lost" {
	start_with_input contents random $((8 * MEBIBYTE))
	swapctl status | jq -es 'all(.poisoned_pages == 0)'
	out_region
	swapctl status | jq -es 'all(.poisoned_pages == 0)'
	truncate -s 4096 "$(store_path)"
	lost_pages
	wait_for 5 status_is ".poisoned_pages == $lost"
	run -1 bash -c "swapctl status | jq -es 'all(.poisoned_pages == 0)'"
}

@test "give back all freed memory of all processes with a ring, now" {
	ln -s "$UVM_BUILD/targets/ring" "$BATS_TEST_TMPDIR/$OWN"
	start_with_input "$BATS_TEST_TMPDIR/$OWN" 2 4096 free
	start_worker -without $((4 * MEBIBYTE))
	run -0 timeout 60 reclaimctl flush --all --comm "$OWN*"
	assert_equal "$(jq -s 'map(select(.type == "summary" and .pid) | .entries)' -c <<<"$output")" '[2]'
}

@test "a program with memory that is slow, and fails in part" {
	local began=${EPOCHREALTIME/[.,]/}
	head -c 65536 /dev/urandom >"$BATS_TEST_TMPDIR/object"
	cd "$BATS_TEST_TMPDIR"
	printf 'map 200000000000 65536\nverify 0\nexit\n' |
		timeout 60 addrspace cache --from object --block 4K --delay 10ms --fail 60K-64K --output records -- "$UVM_BUILD/targets/cached" object >out 3>&-
	assert_regex "$(tail -n 1 out)" 'ok=15 wrong=0 bus=1'
	((${EPOCHREALTIME/[.,]/} - began >= 150000))
}

@test "a table of all sessions for a spreadsheet" {
	start_worker a $((8 * MEBIBYTE))
	swap_most out "$TARGET_PID" --store memory
	run -0 bash -c "swapctl status | jq -r '[.pid, .comm, .cgroup, .out_pages, .store_bytes] | @csv'"
	assert_regex "$output" "^$TARGET_PID,\"${OWN}a\",\"/.*\",2[0-9]+,[0-9]+$"
}

@test "the ten processes of the machine with most that nothing touches" {
	start_worker a $((32 * MEBIBYTE))
	superpages --all --summary --idle 1 --sort idle --max 10 >"$BATS_TEST_TMPDIR/top"
	jq -es 'map(select(.pid) | .idle_bytes) | length <= 10 and . == (sort | reverse)' "$BATS_TEST_TMPDIR/top"
	jq -es 'last | .idle_us == 1000000 and (.idle_method | IN("idle", "referenced"))' "$BATS_TEST_TMPDIR/top"
	assert_equal "$(superpages --all --comm "$OWN*" --summary --idle 0.5 --sort idle --max 10 | jq 'select(.pid) | [.pid, .idle_bytes > 30000000]' -c)" "[$TARGET_PID,true]"
}

@test "keep a process under a size as long as it does not wait for more than a share of the time" {
	local pid
	start_worker a $((32 * MEBIBYTE))
	pid=$TARGET_PID
	timeout 60 swapctl auto "$pid" --target 24M --hold 50 --interval 1 >"$BATS_TEST_TMPDIR/auto" 3>&- &
	end_later $!
	# One that uses all of its memory all the time.
	start_with_input hotcold $((8 * MEBIBYTE))
	timeout 60 swapctl auto "$TARGET_PID" --target 2M --hold 0.01 --interval 1 --min-saved 0 --explain >"$BATS_TEST_TMPDIR/hot" 3>&- &
	end_later $!
	is_kept() {
		(($(rss_anon "$pid") <= 24 * MEBIBYTE))
	}
	wait_for 40 is_kept
	jq -es 'map(select(.type == "round") | .moved_bytes) | .[0] < 400000 and max > .[0]' "$BATS_TEST_TMPDIR/auto"
	assert_equal "$(swapctl status "$pid" | jq .limit_bytes)" 0
	waits() {
		jq -es 'any(.[]; .why == "pressure" and .stalled_us >= .allowed_us)' "$BATS_TEST_TMPDIR/hot" >/dev/null
	}
	wait_for 40 waits
	(($(rss_anon) > 2 * MEBIBYTE))
}

@test "watch a table that refreshes" {
	start_worker a $((8 * MEBIBYTE))
	swap_most out "$TARGET_PID" --store memory
	# Whatever $SHELL is, watch is in the group of the terminal: any other is stopped when it sets the terminal.
	run timeout -k 5 60 script -qec "stty cols 80 rows 24; TERM=xterm exec timeout --foreground -s INT 2 watch -n 1 swapctl status --format table" /dev/null
	# It moves the cursor over blanks.
	assert_regex "$output" "PID +STATE.*OUT.*STORE.*$TARGET_PID +running +[0-9.]+ MiB"
	run -0 env COLUMNS=80 swapctl status --format table
	assert_equal "$(awk 'length > 80' <<<"$output")" ""
	run -0 env COLUMNS=132 swapctl status --format table
	assert_regex "${lines[0]}" 'WORKER'
}
