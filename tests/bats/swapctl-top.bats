#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# swapctl(1) top, on a terminal of tmux(1).

# shellcheck disable=SC2030,SC2031,SC2154 # each test is a process of its own; run sets $stderr
bats_require_minimum_version 1.5.0
load swap_helper

MEBIBYTE=1048576

# start_screen COLUMNS COMMAND: runs it on a terminal of its own.
start_screen() {
	SCREEN=$BATS_TEST_TMPDIR/screen
	TERM=xterm tmux -S "$SCREEN" -f /dev/null new-session -d -x "$1" -y 20 "$2; echo ended \$?; read -r" 3>&-
}

on_screen() {
	tmux -S "$SCREEN" capture-pane -p
}

# shows PATTERN: waits until a line matches.
shows() {
	wait_for 20 line_matches "$1" || {
		on_screen
		fail "no line of the screen matches $1"
	}
}

line_matches() {
	on_screen | grep -qE -- "$1"
}

keys() {
	tmux -S "$SCREEN" send-keys "$@"
}

teardown() {
	[[ ! ${SCREEN:-} ]] || tmux -S "$SCREEN" kill-server 2>/dev/null || :
	end_swap_test
}

@test "top shows a session, what is out of it, and what it costs" {
	start_target touch anon every $((16 * MEBIBYTE))
	swap_most out -p "$TARGET_PID" --store memory
	start_screen 120 "swapctl top -p $TARGET_PID"
	shows "^ +PID COMMAND +RESIDENT +OUT +STORE +RATIO +FAULTS/S +WAIT% +REFAULTS/S +COST +STATE"
	shows "^> *$TARGET_PID touch +[0-9.]+ [KM]iB +16\.[0-9] MiB +[0-9.]+ KiB +[0-9.]+ .* [0-9.]+ MiB running"
	keys q
	shows '^ended 0'
	swap_ok detach -p "$TARGET_PID"
}

@test "a narrow screen has fewer columns, each row in one line, and says what the sessions take" {
	start_target touch anon every $((16 * MEBIBYTE))
	swap_most out -p "$TARGET_PID" --store memory
	start_screen 80 "swapctl top -p $TARGET_PID"
	shows "^> *$TARGET_PID touch .* [0-9.]+$"
	assert_equal "$(on_screen | sed -n 5p)" ""
	shows '^sorted by out  sessions take [0-9.]+ MiB'
	keys q
	shows '^ended 0'
	swap_ok detach -p "$TARGET_PID"
}

@test "a key asks before it swaps a process in, and says what came of it" {
	local own="uvm$$"
	ln -s "$UVM_BUILD/targets/touch" "$BATS_TEST_TMPDIR/$own"
	start_target "$BATS_TEST_TMPDIR/$own" anon every $((16 * MEBIBYTE))
	swap_most out -p "$TARGET_PID" --store memory
	start_screen 100 "swapctl top --comm $own --sort out"
	shows "^> *$TARGET_PID $own .* 16\.[0-9] MiB"
	keys i
	shows "^swapctl in of process $TARGET_PID \($own\)\? \(y/n\)"
	keys n
	shows '^q quit'
	shows "^> *$TARGET_PID $own .* 16\.[0-9] MiB"
	keys i
	shows '\(y/n\)'
	keys y
	shows "^in of process $TARGET_PID: done"
	shows "^> *$TARGET_PID $own +1[6-9]\.[0-9] MiB +0 B"
	keys d
	shows "^swapctl detach of process"
	keys y
	shows "^detach of process $TARGET_PID: done"
	run -7 swapctl status -p "$TARGET_PID"
	keys i
	shows '\(y/n\)'
	keys y
	shows "^swapctl in: .*process $TARGET_PID: it has no session"
	keys q
	shows '^ended 0'
}

@test "rows are filtered by name, sorted by another key, and those of a process without a session stand among all" {
	local own="uvm$$"
	ln -s "$UVM_BUILD/targets/touch" "$BATS_TEST_TMPDIR/$own-x"
	start_target "$BATS_TEST_TMPDIR/$own-x" anon every $((4 * MEBIBYTE))
	start_screen 132 "swapctl top --all"
	shows '^sorted by out '
	keys s
	shows '^sorted by resident '
	keys "/$own" Enter
	shows "^sorted by resident +sessions take 0 B +filter: $own$"
	shows "^> *$TARGET_PID $own-x .* -$"
	shows '^swapctl: 1 shown'
	keys q
	shows '^ended 0'
}

@test "top shows the process of an inherited pidfd" {
	start_target touch anon every $((4 * MEBIBYTE))
	cat >"$BATS_TEST_TMPDIR/inherit" <<-'END'
		import os, sys
		fd = os.pidfd_open(int(sys.argv[1]))
		os.set_inheritable(fd, True)
		os.execlp("swapctl", "swapctl", "top", "--pidfd", str(fd))
	END
	start_screen 132 "python3 $BATS_TEST_TMPDIR/inherit $TARGET_PID"
	shows "^> *$TARGET_PID touch .* -$"
	end_target "$TARGET_PID"
	shows '^swapctl: 0 shown'
	keys q
	shows '^ended 0'
}

@test "top ends with the number of the signal that ends it" {
	start_target touch anon every $((4 * MEBIBYTE))
	start_screen 132 "swapctl top -p $TARGET_PID"
	shows "^> *$TARGET_PID touch"
	keys C-c
	shows '^ended 130'
}

@test "top needs a terminal" {
	run -2 --separate-stderr swapctl top
	assert_equal "$stderr" "swapctl top: cannot begin: it needs a terminal (see swapctl status)"
	start_screen 80 "TERM=none swapctl top"
	shows '^swapctl top: cannot begin: this terminal cannot be used'
	shows '^ended 2'
}
