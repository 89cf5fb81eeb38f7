#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# swapctl(1): what is left of a session goes when its process is proven to be gone, and with something that makes or takes up sessions; looking removes
# nothing.

bats_require_minimum_version 1.5.0
load swap_helper

MEBIBYTE=1048576

session_path() {
	echo "$SESSIONS/$TARGET_PID.$(starttime "$TARGET_PID")"
}

# look_with DESCRIPTORS: at all sessions, with so few that something cannot be opened sooner or later.
look_with() {
	(
		for fd in /proc/self/fd/*; do
			((${fd##*/} <= 2)) || eval "exec ${fd##*/}>&-"
		done
		ulimit -n "$1"
		exec swapctl status >"$BATS_TEST_TMPDIR/look" 2>&1
	) || :
}

is_all_there() {
	[[ -e $1/index && -e $2 ]]
}

@test "looking at sessions with few descriptors removes neither a live nor an orphaned one" {
	local path store descriptors
	start_contents mixed "$MEBIBYTE"
	out_region
	path=$(session_path) store=$(store_path)
	for descriptors in {3..11}; do
		look_with "$descriptors"
		is_all_there "$path" "$store"
	done
	kill_both
	for descriptors in {3..11}; do
		look_with "$descriptors"
		is_all_there "$path" "$store"
	done
	swap_ok adopt -p "$TARGET_PID"
	ask check
}

@test "a session that cannot be looked at is told of, and the exit code is 1" {
	start_contents mixed "$MEBIBYTE"
	out_region
	(
		ulimit -n 6
		run -1 swapctl status
		assert_output --partial "Too many open files"
	) 3>&-
}

@test "an orphaned session seen from another pid namespace stays" {
	local path store
	start_contents mixed "$MEBIBYTE"
	out_region
	path=$(session_path) store=$(store_path)
	kill_both
	unshare --pid --fork --mount-proc swapctl status 3>&- | jq -e "select(.pid == $TARGET_PID) | .state == \"orphaned\""
	# Not even something that makes a session there takes it for one of nobody.
	unshare --pid --fork --mount-proc swapctl attach -p 1 3>&- 2>/dev/null || :
	is_all_there "$path" "$store"
	swap_ok adopt -p "$TARGET_PID"
	ask check
}

# Whether process $1 has a socket that is connected to something.
is_connected() {
	local inodes
	inodes=$(readlink "/proc/$1/fd/"* | sed -n 's/^socket:\[\(.*\)\]$/\1/p')
	awk -v inodes="$inodes" 'BEGIN { split(inodes, list); for (i in list) mine[list[i]] = 1 }
		$7 in mine && $6 == "03" { found = 1 } END { exit !found }' /proc/net/unix
}

@test "what the session of a dead process left is shown as gone by status, and removed by the next attach" {
	local path store worker supervisor asked code=0
	start_contents mixed "$MEBIBYTE"
	out_region
	path=$(session_path) store=$(store_path) worker=$(pid_of worker) supervisor=$(pid_of supervisor)
	kill -STOP "$worker" "$supervisor"
	swapctl in -p "$TARGET_PID" >/dev/null 2>"$BATS_TEST_TMPDIR/asked" 3>&- &
	asked=$!
	end_later "$asked"
	wait_for 10 is_connected "$asked"
	end_target "$TARGET_PID"
	kill -KILL "$worker" "$supervisor"
	wait "$asked" || code=$?
	assert_equal "$code" 6
	assert_equal "$(<"$BATS_TEST_TMPDIR/asked")" "swapctl in: cannot talk to the session of process $TARGET_PID: it has ended"
	swap_ok status
	record "map(select(.pid == $TARGET_PID))[0].state" | grep -x gone
	is_all_there "$path" "$store"
	start_contents mixed "$MEBIBYTE"
	swap_ok attach -p "$TARGET_PID"
	[[ ! -e $path && ! -e $store ]]
}

@test "what the session of a dead process left is removed by the next adopt" {
	local path store first
	start_contents mixed "$MEBIBYTE"
	first=$TARGET_PID
	out_region
	path=$(session_path) store=$(store_path)
	kill_both
	start_contents mixed "$MEBIBYTE"
	out_region
	kill_both
	end_target "$first"
	is_all_there "$path" "$store"
	swap_ok adopt -p "$TARGET_PID"
	[[ ! -e $path && ! -e $store ]]
	ask check
}

@test "stores of an earlier boot are removed by the next attach, and nothing else is" {
	local folder=$BATS_TEST_TMPDIR/store boot name
	boot=$(head -c 8 /proc/sys/kernel/random/boot_id)
	mkdir "$folder"
	start_contents mixed "$MEBIBYTE"
	touch "$folder"/{4000001.5.0badb007,4000002.5.0badb007,4000003.5.00000000,4000003.5."$boot",4000003.5}.store \
		"$folder"/{4000003.5.0badb007.stores,notes.0badb007.store,4000003.x.0badb007.store}
	ln -s 4000003.5.store "$folder/4000004.5.0badb007.store"
	ls "$folder" >"$BATS_TEST_TMPDIR/all"
	# A session in a container that was told of another boot has its store locked.
	exec {lock}>"$folder/4000002.5.0badb007.store"
	flock "$lock"
	swap_ok attach -p "$TARGET_PID" --store "$folder"
	name=$(basename "$(store_path)")
	[[ $name == "$TARGET_PID.$(starttime "$TARGET_PID").$boot.store" ]]
	(
		grep -vx 4000001.5.0badb007.store "$BATS_TEST_TMPDIR/all"
		echo "$name"
	) | sort | diff - <(find "$folder" -mindepth 1 -printf '%f\n' | sort)
	swap_ok detach -p "$TARGET_PID"
	rm -r "$folder"
}

is_locked() {
	! flock -n "$1" true
}

# While it is locked, as by a session that is about to end, somebody waits for it; then it is removed. Arguments: of swapctl.
waits_for_the_end() {
	local folder
	folder=$SESSIONS/$TARGET_PID.$(starttime "$TARGET_PID")
	mkdir -m 700 -p "$SESSIONS" "$folder"
	# shellcheck disable=SC2016
	flock "$folder" bash -c 'until find /proc/[0-9]*/fd -lname "$0" 2>/dev/null | sed "s,fd/.*,comm," | xargs -r grep -qsx swapctl; do :; done
		rm -r "$0"' "$folder" 3>&- &
	wait_for 10 is_locked "$folder"
	swap "$@" -p "$TARGET_PID"
}

@test "a session that ends while it is waited for is not taken for one whose processes were killed" {
	start_contents mixed $((4 * 1048576))
	waits_for_the_end attach
	assert_equal "$status" 0
	swap_most out -p "$TARGET_PID"
	ask check
	swap_ok detach -p "$TARGET_PID"
	wait_for 10 no_session
	waits_for_the_end adopt
	assert_equal "$status" 7
	assert_regex "$(<"$ERRORS")" 'it has no session'
	wait_for 10 no_session
}
