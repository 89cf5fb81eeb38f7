#!/usr/bin/env bats
# swapctl(1): the worker dies at each step that a page takes, and at each event of its target; nothing is lost.

bats_require_minimum_version 1.5.0
load swap_helper

MEBIBYTE=1048576

# The tools of a build that can be told where to die.
PATH=$UVM_BUILD/hooks/bin:$PATH

# dies_at POINT COMMAND...: the worker dies when it first comes to the point, in the course of the commands, or at the times in TIMES.
dies_at() {
	local point=$1 time
	shift
	for time in ${TIMES:-1}; do
		export UVM_KILL_AT=$point:$time UVM_KILL_MARK=$BATS_TEST_TMPDIR/$point.$time.$#.$1
		start_with_input contents "${PATTERN:-mixed}" $((8 * MEBIBYTE))
		ask check
		snapshot
		swap_ok attach -p "$TARGET_PID"
		"$@"
		ask check
		if [[ ! -e $UVM_KILL_MARK && $time == 1 ]]; then
			echo "no worker came to $point" >&2
			return 1
		fi
		leave
		ask check
		end_current
	done
}

# A request to a worker that dies is cut short; what it asked for is finished or undone by the next.
try() {
	swap "$@"
	((status == 0 || status == 1 || status == 3))
}

leave() {
	is_left() {
		swap detach -p "$TARGET_PID" && is_session_gone
	}
	wait_for 20 is_left
}

goes_out_and_comes_back() {
	try out -p "$TARGET_PID"
	ask check
	try out -p "$TARGET_PID"
	try out -p "$TARGET_PID"
	try in -p "$TARGET_PID"
}

@test "when a mapping has been registered" {
	dies_at registered goes_out_and_comes_back
}

@test "when pages are marked as moving" {
	dies_at moving goes_out_and_comes_back
}

@test "when pages have moved" {
	TIMES='1 5' dies_at moved goes_out_and_comes_back
}

@test "when pages have been read from the staging area" {
	dies_at read goes_out_and_comes_back
}

@test "when pages are staged" {
	dies_at staged goes_out_and_comes_back
}

@test "when a record has been written" {
	dies_at written goes_out_and_comes_back
}

@test "when a cluster has its record and is not called stored yet" {
	dies_at slot goes_out_and_comes_back
}

is_written_back() {
	control '{"verb":"out","stage":true}' || :
	control '{"verb":"writeback","age_ms":0}' || :
	[[ -e $UVM_KILL_MARK || $UVM_KILL_AT == *:5 ]]
}

staged_and_written_back() {
	wait_for 20 is_written_back
}

@test "when a record is in both tiers" {
	dies_at copied staged_and_written_back
}

@test "when a record has been written back" {
	dies_at written-back staged_and_written_back
}

@test "when pages are stored" {
	TIMES='1 5' dies_at stored goes_out_and_comes_back
}

@test "when the staging area has been emptied" {
	TIMES='1 5' dies_at discarded goes_out_and_comes_back
}

@test "when pages are being filled" {
	dies_at filling goes_out_and_comes_back
}

@test "when a record has been read" {
	dies_at loaded goes_out_and_comes_back
}

@test "when the page that was asked for has been placed" {
	PATTERN=text dies_at placed-first goes_out_and_comes_back
}

@test "when pages have been placed" {
	dies_at placed goes_out_and_comes_back
}

@test "when pages are filled" {
	TIMES='1 5' dies_at filled goes_out_and_comes_back
}

discards() {
	try out -p "$TARGET_PID"
	ask discard
	ask check
}

@test "when a page that was discarded is about to be given as zeros" {
	dies_at zeroing discards
}

@test "when an event has been read" {
	dies_at event discards
	dies_at event unmaps
	dies_at event moves
}

@test "when memory has been discarded" {
	dies_at removing discards
}

unmaps() {
	try out -p "$TARGET_PID"
	ask unmap
	ask map
	try out -p "$TARGET_PID"
	ask check
}

@test "when memory has been unmapped" {
	dies_at unmapping unmaps
}

moves() {
	try out -p "$TARGET_PID"
	ask move
	try out -p "$TARGET_PID"
	ask move
	ask check
}

@test "when memory is being mapped elsewhere" {
	TIMES='1 5' dies_at remapping moves
}

forks() {
	try out -p "$TARGET_PID"
	ask fork
	try out -p "$TARGET_PID"
	ask fork
}

@test "when the descriptor of a child has come and is not saved" {
	dies_at fork-read forks
}

@test "when the descriptor of a child has been saved" {
	dies_at fork-saved forks
}

@test "when a child is being noted" {
	dies_at forking forks
}

@test "when an event has been applied" {
	TIMES='1 5' dies_at applied forks
}

another_worker() {
	local now
	now=$(timeout 5 swapctl status -p "$TARGET_PID" 3>&- 2>/dev/null | jq -r '.worker_pid // empty')
	[[ $now && $now != "$1" ]]
}

loses_its_worker() {
	local worker
	try out -p "$TARGET_PID"
	worker=$(status_of .worker_pid)
	kill -KILL "$worker"
	wait_for 10 another_worker "$worker"
}

@test "when another one's work is being taken over" {
	dies_at recovering loses_its_worker
}

@test "when another one's work has been taken over" {
	dies_at recovered loses_its_worker
}

detaches() {
	try out -p "$TARGET_PID"
	try detach -p "$TARGET_PID"
}

leaves_nothing() {
	detaches
	wait_for 20 unchanged
}

@test "when a detach has brought everything back" {
	dies_at detaching detaches
}

@test "when a detach has left the target" {
	dies_at left leaves_nothing
}
