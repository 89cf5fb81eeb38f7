#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# swapctl(1): calls of its processes fail, and they are killed; see tests/fail. "make fail" goes on with it for hours.

bats_require_minimum_version 1.5.0
load swap_helper

# fails PHASE CALL [ERROR]: at every place where that kind of call is made in that phase, one after the other.
fails() {
	timeout 300 "$ROOT/tests/fail/calls" --phase "$1" --call "$2" ${3:+--error "$3"} 3>&-
}

@test "a record that cannot be read at once is read again, and no page is lost" {
	fails touch pread EIO
}

@test "pages that were moved aside are found although the first look at them fails" {
	fails out proc ENOMEM
}

@test "a supervisor that was killed is replaced once, whatever poll says meanwhile" {
	fails recover_supervisor wait EINTR
}

@test "a worker whose end could not be noticed is not started; another one is" {
	fails recover_worker descriptor EMFILE
}

@test "a session of which no worker can be started leaves nothing behind" {
	fails attach fork EAGAIN
}

@test "a worker that ends before it serves is replaced before anybody hears of the session" {
	fails attach thread
}

@test "a detach ends although the supervisor cannot answer" {
	fails detach send EAGAIN
}

@test "a child is served although its descriptor could not be watched at first" {
	fails events epoll_ctl ENOSPC
}

@test "a command that has no memory for its command line says so" {
	timeout 300 "$ROOT/tests/fail/calls" --phase status --call memory --role caller 3>&-
}

@test "a command that has no descriptor left for its connection says so" {
	fails out descriptor EMFILE
}

@test "a session that cannot read a request says why, and blames nobody" {
	timeout 300 "$ROOT/tests/fail/calls" --phase out --call receive --error ENOMEM --role worker --nth 2 3>&-
}

@test "a detach that has no memory for a moment leaves nothing in the program" {
	timeout 300 "$ROOT/tests/fail/calls" --phase detach --call memory --role worker 3>&-
}

@test "adopting waits for the last of the processes that were killed" {
	start_contents mixed $((4 * 1048576))
	swap_most out -p "$TARGET_PID"
	kill_both
	wait_for 10 flock -n "$SESSIONS/$TARGET_PID".* true
	flock "$SESSIONS/$TARGET_PID".* sleep 0.5 3>&- &
	is_locked() {
		! flock -n "$SESSIONS/$TARGET_PID".* true
	}
	wait_for 10 is_locked
	swap_ok adopt -p "$TARGET_PID"
	ask check
}

@test "no byte is wrong and nothing is left, whichever call fails in whichever phase" {
	timeout 300 "$ROOT/tests/fail/calls" --seconds 5 3>&-
}

@test "no byte is wrong and nothing is left, whichever process is killed and whenever" {
	timeout 300 "$ROOT/tests/fail/kills" --one 12 --all 4 3>&-
}

@test "a session whose processes were all killed can be adopted at once, by either road, and readers and children go on" {
	timeout 300 "$ROOT/tests/fail/adopt" --runs 10 3>&-
}

@test "a program goes on to fork while the file system of its session is full" {
	timeout 300 "$ROOT/tests/fail/full" --runs 40 3>&-
}
