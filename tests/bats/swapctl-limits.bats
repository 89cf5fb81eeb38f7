#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# swapctl(1): started where memory, processes or descriptors are few, a session serves all the same or is refused, and leaves nothing behind.

bats_require_minimum_version 1.5.0
load swap_helper

MEBIBYTE=1048576

teardown() {
	local folder status=0
	end_all
	for folder in "${CGROUPS[@]}"; do
		end_cgroup "$folder" || status=1
	done
	wait_for 10 is_clean || status=1
	return "$status"
}

# make_cgroup CONTROLLER VALUE: a folder with a limit in it, of the version that counts here. Sets CGROUP, HIERARCHY (that it is in), and the names of
# its limit and its use.
make_cgroup() {
	HIERARCHY=$(findmnt -nt cgroup2 -o TARGET | head -n 1) LIMIT=$1.max USE=$1.current
	if [[ ! $HIERARCHY || $(<"$HIERARCHY/cgroup.subtree_control") != *"$1"* ]]; then
		HIERARCHY=/sys/fs/cgroup/$1
		[[ $1 != memory ]] || LIMIT=memory.limit_in_bytes USE=memory.usage_in_bytes
	fi
	CGROUP=$HIERARCHY/uvmtools-test.$BATS_TEST_NUMBER.$$
	mkdir "$CGROUP" 2>/dev/null || skip "no cgroup with a $1 limit can be made here"
	CGROUPS+=("$CGROUP")
	echo "$2" >"$CGROUP/$LIMIT"
}

# inside COMMAND...: in that cgroup. Sets $status; messages are in $ERRORS.
inside() {
	ERRORS=$BATS_TEST_TMPDIR/errors
	status=0
	(
		echo 0 >"$CGROUP/cgroup.procs"
		exec timeout -k 5 100 "$@" >/dev/null 2>"$ERRORS" 3>&-
	) || status=$?
}

# The same, where the cgroup cannot be left.
locked_inside() {
	# shellcheck disable=SC2016
	inside unshare --mount sh -c 'mount -o bind,ro "$0" "$0" && exec "$@"' "$HIERARCHY" "$@"
}

@test "a session that is started in a cgroup with little memory leaves it, and serves" {
	local pid
	start_contents mixed $((32 * MEBIBYTE))
	make_cgroup memory $((24 * MEBIBYTE))
	inside swapctl out -p "$TARGET_PID" --store memory
	[[ $status == 0 || $status == 3 ]]
	(($(status_of .out_pages) > 8000))
	for pid in $(our_processes); do
		run ! grep -q uvmtools-test "/proc/$pid/cgroup"
	done
	ask check
	out_region
	ask fork
	swap_ok detach -p "$TARGET_PID"
}

@test "where such a cgroup cannot be left the session is refused" {
	start_contents mixed "$MEBIBYTE"
	snapshot
	make_cgroup memory $((24 * MEBIBYTE))
	locked_inside swapctl out -p "$TARGET_PID"
	assert_equal "$status" 1
	assert_regex "$(<"$ERRORS")" '^swapctl out: cannot attach to process [0-9]+: its cgroup leaves it [0-9.]+ [KM]iB of memory, and a session needs 64 MiB'
	unchanged
}

@test "near the limit of its cgroup a session takes nothing more, and serves what is out" {
	local used
	start_contents mixed $((48 * MEBIBYTE))
	make_cgroup memory $((160 * MEBIBYTE))
	locked_inside swapctl attach -p "$TARGET_PID" --store memory --no-encrypt --compress none
	assert_equal "$status" 0
	swap out -p "$TARGET_PID" --bytes 8M
	used=$(<"$CGROUP/$USE")
	echo $((used + 40 * MEBIBYTE)) >"$CGROUP/$LIMIT"
	swap out -p "$TARGET_PID"
	assert_equal "$status" 1
	assert_regex "$(<"$ERRORS")" 'the cgroup of the session is near its limit of memory'
	(($(status_of .out_pages) > 2000))
	ask check
	check_session
	swap_ok detach -p "$TARGET_PID"
}

@test "a session whose worker cannot start is given up, and leaves nothing behind" {
	start_contents mixed "$MEBIBYTE"
	snapshot
	# swapctl, the supervisor, a worker and its keeper, and no thread that serves.
	make_cgroup pids 5
	inside swapctl attach -p "$TARGET_PID"
	assert_equal "$status" 1
	assert_regex "$(<"$ERRORS")" '^swapctl attach: cannot start the session of process [0-9]+: its worker ends before it serves'
	wait_for 20 unchanged
	swap_ok attach -p "$TARGET_PID"
	ask check
}

@test "a session that may have too few descriptors is refused" {
	start_contents mixed "$MEBIBYTE"
	snapshot
	ERRORS=$BATS_TEST_TMPDIR/errors
	status=0
	# shellcheck disable=SC2016
	setpriv --bounding-set=-sys_resource --inh-caps=-sys_resource \
		bash -c 'ulimit -n 100; exec timeout 60 swapctl attach -p "$1" --no-encrypt' - "$TARGET_PID" 2>"$ERRORS" 3>&- || status=$?
	assert_equal "$status" 1
	assert_regex "$(<"$ERRORS")" '^swapctl attach: cannot attach to process [0-9]+: it may have 100 descriptors, and a session needs 128'
	unchanged
}

# Without the right to raise a limit beyond the hard one.
with_descriptors() {
	# shellcheck disable=SC2016
	setpriv --bounding-set=-sys_resource --inh-caps=-sys_resource \
		bash -c 'ulimit -n "$0"; exec "$@"' "$@" 3>&-
}

@test "at a limit of descriptors of the session no fork waits: children get back what is out in them, and are let go" {
	start_with_input children 110 $((MEBIBYTE / 4))
	with_descriptors 128 swapctl out -p "$TARGET_PID" >/dev/null
	ask fork
	# shellcheck disable=SC2154
	assert_equal "$answer" "ok 110"
	assert_equal "$(status_of .events.fork)" 110
	(($(status_of .spaces) <= 33))
	ask check
	# A worker that takes over has what there is to serve.
	local worker
	worker=$(pid_of worker)
	kill -KILL "$worker"
	wait_for 10 another worker "$worker"
	ask check
	swap_ok detach -p "$TARGET_PID"
}

held_descriptors() {
	find "/proc/$TARGET_PID/fd" -lname '*userfaultfd*' | wc -l
}

holds() {
	(($(held_descriptors) == $1))
}

@test "a program keeps its descriptors to itself, however many children it has" {
	local before
	export UVM_ACCESS=ptrace
	ulimit -S -n 256
	start_with_input children 40 $MEBIBYTE
	ask files
	before=${answer#ok }
	swap_ok out -p "$TARGET_PID"
	ask fork
	# One of its own, and a sixteenth of those it may have.
	wait_for 10 holds 17
	ask files
	((${answer#ok } >= before - 20))
	holds 17
	ask check
	swap_ok detach -p "$TARGET_PID"
	wait_for 5 holds 0
}

@test "children forked while a program holds as many descriptors as it may are all served" {
	ulimit -S -n 64
	start_with_input children 800 $((MEBIBYTE / 8))
	swap_ok out -p "$TARGET_PID"
	ask fork
	ask check
	swap_ok detach -p "$TARGET_PID"
}

descriptors_of() {
	find "/proc/$1/fd" -mindepth 1 | wc -l
}

@test "a keeper that cannot be replaced for a while costs no descriptors" {
	local worker before group=/sys/fs/cgroup/pids/uvm-keeper.$$
	mkdir "$group" || skip "no cgroup counts processes here"
	CGROUPS+=("$group")
	start_with_input changes mixed $((4 * MEBIBYTE))
	out_region
	worker=$(pid_of worker)
	echo "$worker" >"$group/cgroup.procs"
	echo 1 >"$group/pids.max"
	kill -KILL "$(pgrep -P "$worker" -x swapctl-keeper)"
	before=$(descriptors_of "$worker")
	ask discards 64
	(($(descriptors_of "$worker") < before + 10))
	echo max >"$group/pids.max"
	ask check
	check_session
	echo "$worker" >/sys/fs/cgroup/pids/cgroup.procs
	swap_ok detach -p "$TARGET_PID"
	ask check
}
