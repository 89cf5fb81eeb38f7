#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# swapctl(1): who debugs a process that has memory out finds it in core.

bats_require_minimum_version 1.5.0
load swap_helper

MEBIBYTE=1048576

# start_swapped: a program with 8 MiB out that begin with NEEDLE.
start_swapped() {
	start_contents mixed $((8 * MEBIBYTE))
	swap_most out -p "$TARGET_PID"
}

out_pages() {
	status_of .out_pages
}

@test "in --for runs a command while everything is in core, and goes on afterwards" {
	start_swapped
	cat >"$BATS_TEST_TMPDIR/command" <<-'SCRIPT'
		#!/bin/bash
		swapctl status -p "$1" | jq -e '.out_pages == 0 and .kept_in'
		swapctl out -p "$1" && exit 99
		dd if=/proc/"$1"/mem of=/dev/null bs=4096 skip=$((16#$2 / 4096)) count=2048 || exit 98
		echo "input: $(cat)"
		exit 17
	SCRIPT
	chmod +x "$BATS_TEST_TMPDIR/command"
	run --separate-stderr timeout 60 swapctl in -p "$TARGET_PID" --for "$BATS_TEST_TMPDIR/command" "$TARGET_PID" "$START" -p 1 3>&- <<<"to read"
	assert_equal "$status" 17
	assert_line "input: to read"
	# shellcheck disable=SC2154
	assert_regex "$stderr" "it is kept in core for a command"
	assert_equal "$(status_of .kept_in)" false
	swap_most out -p "$TARGET_PID"
	(($(out_pages) > 1500))
	ask check
}

@test "in --for keeps everything in core although the worker is replaced" {
	local worker command
	start_swapped
	worker=$(pid_of worker)
	swapctl in -p "$TARGET_PID" --for sleep 50 3>&- &
	command=$!
	add_target "$command"
	has_command() {
		pgrep -P "$command" -x sleep >/dev/null
	}
	wait_for 10 has_command
	kill -KILL "$worker"
	wait_for 10 another worker "$worker"
	wait_for 10 status_is .kept_in
	has_command
	kill -KILL "$(pgrep -P "$command")"
	wait_for 10 status_is '.kept_in == false'
}

@test "in --for exits as its command does, and says what is wrong with its own arguments" {
	start_swapped
	swap in -p "$TARGET_PID" --for sh -c 'kill -TERM $$'
	assert_equal "$status" 143
	swap_fails 127 'run /nonexistent: No such file' in -p "$TARGET_PID" --for /nonexistent
	swap_fails 2 'which command' in -p "$TARGET_PID" --for
	swap_fails 2 'not with -r' in -p "$TARGET_PID" -r /dev/null --for true
	swap_ok detach -p "$TARGET_PID"
	swap_ok in -p "$TARGET_PID" --for true
}

@test "a debugger finds what was out, and nothing leaves before it has gone" {
	local swapped debugger
	start_swapped
	swapped=$TARGET_PID
	start_target tracer "$swapped"
	debugger=$TARGET_PID TARGET_PID=$swapped TARGET_DIR=$BATS_TEST_TMPDIR/target.0
	is_in() {
		status_is ".out_pages == 0 and .kept_in and .tracer_pid == $debugger"
	}
	wait_for 2 is_in
	swap_fails 1 "it is being traced by process $debugger" out -p "$TARGET_PID"
	end_target "$debugger"
	has_gone() {
		status_is '.kept_in == false and (has("tracer_pid") | not)'
	}
	wait_for 2 has_gone
	swap_most out -p "$TARGET_PID"
	(($(out_pages) > 1500))
	ask check
}

@test "gdb shows what was out, and its core holds it" {
	start_swapped
	run timeout 60 swapctl in -p "$TARGET_PID" --for gdb -batch -nx -p "$TARGET_PID" -ex "x/2gx 0x$START" -ex "generate-core-file $BATS_TEST_TMPDIR/core" 3>&-
	assert_success
	refute_output --partial "Cannot access memory"
	ask check
	(($(du -k "$BATS_TEST_TMPDIR/core" | cut -f 1) > 4096))
}

@test "tools of this project that stop a thread are not taken for a debugger" {
	start_swapped
	repeat 2 3 addrspace alloc -p "$TARGET_PID" 64K >/dev/null
	(($(out_pages) > 1000))
	assert_equal "$(status_of .kept_in)" false
}

# held COMMAND...: runs a command while what looks like another tool of the same folder holds the target's thread, for half a second.
held() {
	local holder
	timeout 0.5 "$TOOLS/swapctl-holder" "$TARGET_PID" >"$BATS_TEST_TMPDIR/holder" 3>&- &
	holder=$!
	wait_for 10 grep -q ready "$BATS_TEST_TMPDIR/holder"
	timeout 60 "$TOOLS/$1" "${@:2}" >"$RECORDS" 3>&-
	wait "$holder" || (($? == 124))
}

@test "a thread that another tool of ours holds for a moment is waited for" {
	TOOLS=$BATS_TEST_TMPDIR/tools RECORDS=$BATS_TEST_TMPDIR/records
	mkdir "$TOOLS"
	cp "$UVM_BUILD"/bin/{swapctl,addrspace} "$TOOLS"
	cp "$UVM_BUILD/targets/tracer" "$TOOLS/swapctl-holder"
	start_contents mixed $((8 * MEBIBYTE))
	held swapctl attach -p "$TARGET_PID"
	held swapctl out -p "$TARGET_PID"
	(($(out_pages) > 1500))
	held addrspace clone -p "$TARGET_PID" --core "$BATS_TEST_TMPDIR/core"
	(($(out_pages) > 1500))
	ask check
}
