#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# What reclaimctl shows and does: on rings that tell the truth, on rings that lie, with reclaimers that are killed.

load swap_helper
load reclaim_helper

start_liar() {
	start_with_input ringliar "$@"
}

no_area() {
	assert_equal "$(control_areas)" 0
}

# Where each thread stands: registers that change as soon as it runs.
standing() {
	cat /proc/"$TARGET_PID"/task/*/syscall
}

@test "status shows what waits in a ring, and that a process has none" {
	start_ring 100 65536 free
	reclaim_ok status -p "$TARGET_PID"
	assert_equal "$(record '.[0] | [.type, .entries, .bytes, .head, .busy, .tail, .reclaimed_entries, .failed_entries] | join(" ")')" \
		"ring 100 6553600 0 0 100 0 0"
	assert_equal "$(record '.[0] | [.level, .samples, .sample_age_ms, .descriptor_open] | map(tostring) | join(" ")')" \
		"normal 0 null true"
	assert_equal "$(record '.[-1] | [.type, .rings, .errors] | join(" ")')" "summary 1 0"
	reclaim_fails 7 "find the reclaim ring of process $$: it has none \(.*reclaimctl run" status -p $$
	reclaim_fails 6 "open process .*no such process" status -p 999999999
}

@test "status without a process shows every ring" {
	local one
	start_ring 3 4096 free
	one=$TARGET_PID
	start_ring 4 4096 free
	reclaim status
	assert_equal "$(record "map(select(.pid == $one or .pid == $TARGET_PID) | .entries) | sort | join(\" \")")" "3 4"
}

@test "a child that only inherited the descriptor has no ring" {
	start_ring 3 4096 free
	reclaim_ok status -p "$TARGET_PID"
	# The test's own shell gets a descriptor of the memfd, and no mapping.
	local fd
	for fd in "/proc/$TARGET_PID/fd/"*; do
		if [[ $(readlink "$fd") == */memfd:uvm-reclaim-ring* ]]; then
			break
		fi
	done
	start_target /bin/bash -c 'exec 8<>"$0"; echo ready; exec sleep 60' "$fd"
	reclaim_fails 7 ".*it has none" status -p "$TARGET_PID"
}

@test "list prints regions that superpages and swapctl take" {
	start_ring 10 65536 mixed
	reclaim_ok list -p "$TARGET_PID"
	assert_equal "$(record 'map(select(.type == "region")) | [length, (map(.bytes) | add), (map(.resident_bytes) | add)] | join(" ")')" \
		"10 655360 655360"
	assert_equal "$(record 'map(select(.type == "region") | .action) | unique | join(" ")')" "deallocate free"
	superpages -p "$TARGET_PID" -r - <"$RECORDS" >"$BATS_TEST_TMPDIR/pages"
	assert_equal "$(jq -s '.[-1].resident_bytes' "$BATS_TEST_TMPDIR/pages")" 655360
	timeout 60 swapctl out -p "$TARGET_PID" -r "$RECORDS" >"$BATS_TEST_TMPDIR/out" 3>&-
	assert_equal "$(jq -s '.[-1].moved_bytes' "$BATS_TEST_TMPDIR/out")" 655360
	# What is in a swapped region is dropped there, and comes back where it was not reclaimed.
	reclaim_ok flush -p "$TARGET_PID" -n 5
	assert_equal "$(states)" "unreclaimed=5 freed=2 deallocated=3 busy=0 mapped=7"
}

@test "flush reclaims the oldest entries: by number, by bytes, all" {
	start_ring 100 65536 mixed
	reclaim_ok flush -p "$TARGET_PID" -n 20
	assert_equal "$(summary '[.entries, .bytes, .errors, .left_entries] | join(" ")')" "20 1310720 0 80"
	reclaim_ok flush -p "$TARGET_PID" --bytes 1M
	assert_equal "$(summary '[.entries, .bytes] | join(" ")')" "16 1048576"
	reclaim_ok flush -p "$TARGET_PID" -n 4 -v
	assert_equal "$(record 'map(select(.type == "region") | "\(.id) \(.state)") | join(",")')" \
		"36 reclaimed,37 reclaimed,38 reclaimed,39 reclaimed"
	assert_equal "$(states)" "unreclaimed=60 freed=20 deallocated=20 busy=0 mapped=80"
	ask enter
	reclaim_ok flush -p "$TARGET_PID" --all
	assert_equal "$(summary '[.entries, .left_entries, .left_bytes] | join(" ")')" "100 0 0"
	assert_equal "$(states)" "unreclaimed=0 freed=50 deallocated=50 busy=0 mapped=50"
	no_area
	reclaim_ok flush -p "$TARGET_PID" --all
	assert_equal "$(summary '[.entries, .stops] | join(" ")')" "0 0"
}

@test "a large region is dropped piece by piece, and its memory is free" {
	local before
	start_ring 3 134217728 free
	before=$(rss_anon)
	reclaim_ok flush -p "$TARGET_PID" --all
	(($(rss_anon) < before - 380000000))
	(($(summary .stops) > 3))
	assert_equal "$(states)" "unreclaimed=0 freed=3 deallocated=0 busy=0 mapped=3"
}

@test "a stopped process is reclaimed from, and stays stopped" {
	start_ring 40 65536 mixed
	kill -STOP "$TARGET_PID"
	wait_for 10 grep -q '^State:.T' "/proc/$TARGET_PID/status"
	reclaim_ok flush -p "$TARGET_PID" --all
	grep -q '^State:.T' "/proc/$TARGET_PID/status"
	kill -CONT "$TARGET_PID"
	assert_equal "$(states)" "unreclaimed=0 freed=20 deallocated=20 busy=0 mapped=20"
	no_area
}

@test "a process in a frozen cgroup is reclaimed from, and is where it was, frozen" {
	local root group before stood
	root=$(findmnt -rno TARGET -t cgroup2 | head -n 1)
	group=$root/uvm-reclaim.$$
	if ! mkdir "$group" 2>/dev/null; then
		skip "there is no cgroup v2 that can be written"
	fi
	start_ring 10 65536 free
	echo "$TARGET_PID" >"$group/cgroup.procs"
	echo 1 >"$group/cgroup.freeze"
	wait_for 10 grep -qx 'frozen 1' "$group/cgroup.events"
	before=$(find "$root" -maxdepth 1 -type d -name "*$TARGET_PID*")
	stood=$(standing)
	reclaim flush -p "$TARGET_PID" --all
	wait_for 10 grep -qx 'frozen 1' "$group/cgroup.events"
	assert_equal "$(standing)" "$stood"
	assert_equal "$(<"$group/cgroup.procs")" "$TARGET_PID"
	assert_equal "$(find "$root" -maxdepth 1 -type d -name "*$TARGET_PID*")" "$before"
	echo 0 >"$group/cgroup.freeze"
	echo "$TARGET_PID" >"$root/cgroup.procs"
	rmdir "$group"
	assert_equal "$status" 0
	assert_equal "$(states)" "unreclaimed=0 freed=10 deallocated=0 busy=0 mapped=10"
}

@test "query tells what became of an entry" {
	start_ring 10 65536 free
	reclaim_ok flush -p "$TARGET_PID" -n 3
	reclaim_ok query -p "$TARGET_PID" 2
	assert_equal "$(record '.[0] | [.type, .id, .state] | join(" ")')" "entry 2 reclaimed"
	reclaim_ok query -p "$TARGET_PID" 3
	assert_equal "$(record '.[0] | [.type, .id, .state, .bytes] | join(" ")')" "region 3 unreclaimed 65536"
	ask check
	reclaim_ok query -p "$TARGET_PID" 3
	assert_equal "$(record '.[0].state')" hole
	reclaim_fails 1 "find entry 10 .*no entry has had this id yet" query -p "$TARGET_PID" 10
	reclaim_fails 2 "which entry" query -p "$TARGET_PID"
	reclaim_fails 2 "x is not the id" query -p "$TARGET_PID" x
}

@test "resize is carried out by the program, or is pending" {
	start_ring 1000 4096 free
	reclaim resize -p "$TARGET_PID" 2000 --timeout 20
	assert_equal "$status" 3
	assert_equal "$(record '.[0] | [.capacity, .wanted_capacity] | join(" ")')" "1024 2000"
	assert_equal "$(summary .waiting)" true
	ask check
	ask enter
	reclaim_ok resize -p "$TARGET_PID" 2000
	assert_equal "$(record '.[0] | [.capacity, .wanted_capacity] | join(" ")')" "2048 0"
	assert_equal "$(summary .waiting)" false
	assert_equal "$(states)" "unreclaimed=1000 freed=0 deallocated=0 busy=0 mapped=1000"
	reclaim_fails 2 "100000 is more than the 4096" resize -p "$TARGET_PID" 100000
	reclaim_fails 2 "0 is not a capacity" resize -p "$TARGET_PID" 0
	reclaim_fails 2 "for how many" resize -p "$TARGET_PID"
	reclaim_fails 2 "--timeout: soon" resize -p "$TARGET_PID" 5 --timeout soon
}

@test "a process whose descriptor was closed is found by its mapping, and cannot resize" {
	start_liar closed
	reclaim_ok status -p "$TARGET_PID"
	assert_equal "$(record '.[0].descriptor_open')" false
	reclaim_fails 1 "resize the ring .*closed the ring's descriptor" resize -p "$TARGET_PID" 10
	reclaim_ok flush -p "$TARGET_PID" --all
	assert_equal "$(summary .entries)" 1
}

@test "what is wrong with a command line is said, and nothing is done" {
	start_ring 2 4096 free
	reclaim_fails 2 "which process" flush -n 1
	reclaim_fails 2 "how much" flush -p "$TARGET_PID"
	reclaim_fails 2 "how much" flush -p "$TARGET_PID" --all -n 1
	reclaim_fails 2 "--entries: 0" flush -p "$TARGET_PID" -n 0
	reclaim_fails 2 "--bytes: many" flush -p "$TARGET_PID" --bytes many
	reclaim_fails 2 "which process" list
	reclaim_fails 2 "flish: unknown verb" flish
	assert_equal "$(states)" "unreclaimed=2 freed=0 deallocated=0 busy=0 mapped=2"
}

@test "who may not look is told" {
	start_ring 2 4096 free
	ERRORS=$BATS_TEST_TMPDIR/errors
	status=0
	as_nobody reclaimctl status -p "$TARGET_PID" >/dev/null 2>"$ERRORS" || status=$?
	assert_equal "$status" 4
	assert_regex "$(<"$ERRORS")" "run it as root"
}

@test "a process that is traced is left alone" {
	start_ring 2 4096 free
	start_target tracer "${TARGETS[0]}"
	reclaim_fails 1 ".*traced" flush -p "${TARGETS[0]}" --all
}

@test "a ring with a header that lies is an error, whatever the lie" {
	local lie
	for lie in not-sealed shrunk magic version max-capacity no-max-capacity bytes capacity no-capacity tail busy head; do
		start_liar "$lie"
		reclaim_fails 1 "find the reclaim ring of process $TARGET_PID: .*\(leave it alone" flush -p "$TARGET_PID" --all
		reclaim status
		assert_equal "$status" 3
		assert_equal "$(record "map(select(.pid == $TARGET_PID) | .type) | join(\" \")")" error
		ask check
		end_target "$TARGET_PID"
	done
	for lie in address pid; do
		start_liar "$lie"
		reclaim_fails 7 ".*it has none" flush -p "$TARGET_PID" --all
		end_target "$TARGET_PID"
	done
}

@test "a ring that names an area of ours which is none loses nothing but its entries" {
	start_liar caller
	reclaim_ok flush -p "$TARGET_PID" --all
	ask check
}

@test "entries that are not the program's to give away are refused one by one" {
	start_liar entries
	reclaim flush -p "$TARGET_PID" --all
	assert_equal "$status" 3
	assert_equal "$(<"$ERRORS")" ""
	assert_equal "$(summary '[.entries, .errors, .bytes] | join(" ")')" "1 26 65536"
	assert_equal "$(record 'map(select(.type == "error") | .op) | unique | join(" ")')" reclaim
	assert_equal "$(record 'map(select(.type == "error" and .hint == null)) | length')" 0
	ask check
	no_area
}

@test "a ring that changes under our eyes costs no crash, and no other memory" {
	local i
	start_liar all-change
	for ((i = 0; i < 30; i++)); do
		reclaim flush -p "$TARGET_PID" -n 50
		((status == 0 || status == 1 || status == 3 || status == 7))
		reclaim list -p "$TARGET_PID"
		((status == 0 || status == 1 || status == 3 || status == 7))
		kill -0 "$TARGET_PID"
	done
	ask check
}

@test "two reclaimers at once, one of them killed again and again: no memory is lost or reclaimed twice" {
	start_ring 500 16384 mixed 4
	run kill_flushes 60 16
	assert_success
	ask stop
	reclaim_ok flush -p "$TARGET_PID" --all
	ask check
}

@test "the examples of the man page work" {
	local line count=0
	load examples_helper
	start_ring 100 65536 mixed
	export PID=$TARGET_PID
	cd "$BATS_TEST_TMPDIR"
	while read -r line; do
		count=$((count + 1))
		if [[ $line == *watch* ]]; then
			continue # run by the tests of watch
		fi
		# The examples before have taken what was there.
		if [[ $line == *flush* ]]; then
			ask check
			ask enter
		fi
		run_example reclaimctl.1 "$line"
	done < <(examples reclaimctl.1)
	((count >= 6))
}
