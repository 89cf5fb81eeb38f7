#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# swapctl(1): programs that wait in a system call, or for signals, do not notice that threads are stopped and memory leaves.

bats_require_minimum_version 1.5.0
load swap_helper

export UVM_ACCESS=ptrace # which stops a thread for all that is done
LATE_MS=1000

returned() {
	grep -q '^returned' "$TARGET_DIR/out"
}

# returns RESULT ERRNO [EARLIEST_MS LATEST_MS]: the call has come back so, with all memory as it was.
returns() {
	wait_for 10 returned
	local result error ms memory
	read -r _ result error ms memory < <(grep '^returned' "$TARGET_DIR/out")
	assert_equal "$result $error $memory" "$1 $2 ok"
	((ms >= ${3:-0} && ms <= ${4:-ms})) || fail "it took $ms ms, not $3 to $4"
}

now_ms() {
	echo $((${EPOCHREALTIME/[.,]/} / 1000))
}

# swap_until_returned MS: of a call that takes so long. Sets $rounds, and $late: how long the first round and the longest took.
swap_until_returned() {
	local deadline=$((SECONDS + 20 + 10 * $1 / 1000)) first=0 longest=0 began took
	rounds=0
	while ! returned; do
		began=$(now_ms)
		out_and_in
		took=$(($(now_ms) - began))
		rounds=$((rounds + 1))
		first=$((first ? first : took)) longest=$((took > longest ? took : longest))
		((SECONDS < deadline)) || fail "the call does not return"
	done
	late=$((first + longest))
}

# times_out CALL RESULT ERRNO: takes as long as it was told although it is stopped over and over. The time of an epoll_wait counts from the first stop, and is looked at when
# it is stopped. Where the machine is slow the call is a longer one.
times_out() {
	local ms rounds late
	for ms in 3000 12000 48000; do
		start_with_input blocked "$1" "$ms"
		swap_until_returned "$ms"
		returns "$2" "$3" $((ms - 1)) $((ms + late + LATE_MS))
		((rounds < 5)) || return 0
		end_current
	done
	fail "the machine is too slow"
}

# times_out_late CALL RESULT ERRNO: the kernel tells nobody how much of its time is left, so that it starts anew when it is stopped; it
# must end in time after that, and as if nothing had been.
times_out_late() {
	local i started spent
	started=$(now_ms)
	start_with_input blocked "$1" 1500
	for i in {1..5}; do
		out_and_in
	done
	spent=$(($(now_ms) - started))
	returns "$2" "$3" 1499 $((spent + 1500 + LATE_MS))
}

# In the call, or in restart_syscall, which goes on with it.
is_blocked_in() {
	local number
	read -r number _ <"/proc/$TARGET_PID/syscall"
	[[ $number == "$1" || $number == 219 || $number == 128 ]]
}

is_asleep() {
	grep -q '^[0-9]' "/proc/$TARGET_PID/syscall" && [[ $(ps -o stat= -p "$TARGET_PID") == S* ]]
}

# stays_blocked CALL: the program waits in it after being swapped out and in again.
stays_blocked() {
	local i number
	start_with_input blocked "$@"
	wait_for 5 is_asleep
	number=$(cut -d' ' -f1 "/proc/$TARGET_PID/syscall")
	for i in {1..10}; do
		swap_most out -p "$TARGET_PID"
		(($(summary .moved_bytes) > 0)) || ((i > 1))
		wait_for 5 is_blocked_in "$number"
		run ! returned
	done
	(($(status_of .stops) >= 10))
}

@test "nanosleep takes as long as it was told" {
	times_out nanosleep 0 0
}

@test "poll times out when it should" {
	times_out poll 0 0
}

@test "epoll_wait times out when it should" {
	times_out epoll_wait 0 0
}

@test "recv with a timeout is not cut short, and times out" {
	times_out_late recv -1 EAGAIN
}

@test "sigtimedwait with a timeout is not cut short, and times out" {
	times_out_late sigtimedwait -1 EAGAIN
}

@test "epoll_wait without a timeout waits on, and sees its event" {
	stays_blocked epoll_wait -1
	tell go
	returns 1 0
}

@test "poll without a timeout waits on, and sees its event" {
	stays_blocked poll -1
	tell go
	returns 1 0
}

@test "a read from a pipe waits on, and gets its byte" {
	stays_blocked read
	tell go
	returns 1 0
}

@test "accept waits on, and takes its connection" {
	stays_blocked accept
	exec {connection}<>"/dev/tcp/127.0.0.1/$START"
	returns 1 0
	exec {connection}>&-
}

@test "wait4 waits on, and gets its child's status" {
	stays_blocked wait4
	tell go
	returns 7 0
}

@test "a futex waits on, and is woken" {
	stays_blocked futex
	tell go
	returns 0 0
}

@test "pause waits on, and ends with a signal" {
	stays_blocked pause
	kill -USR1 "$TARGET_PID"
	returns -1 EINTR
}

@test "sigsuspend waits on, and ends with a signal" {
	stays_blocked sigsuspend
	kill -USR1 "$TARGET_PID"
	returns -1 EINTR
}

@test "sigtimedwait waits on, and takes its signal" {
	stays_blocked sigtimedwait 60000
	kill -USR1 "$TARGET_PID"
	returns 10 0
}

# stop_all: by two tools; a clone stops every thread for a moment.
stop_all() {
	timeout 60 addrspace clone -p "$TARGET_PID" -- true >/dev/null 2>&1 3>&- || : # the other tool may have a thread in hand
	swap_most out -p "$TARGET_PID"
}

# has_ended TIMES: so many calls have come back.
has_ended() {
	(($(grep -cE '^(ok|wrong) ' "$TARGET_DIR/out") >= $1))
}

# goes_on MS [FILE]: no call of interrupted fails or ends early, and the time of those that have one runs out although all are stopped over and over.
goes_on() {
	local calls timed deadline=$((SECONDS + 120))
	start_with_input interrupted "$@"
	read -r calls timed <<<"$TARGET_READY"
	until has_ended "$timed"; do
		stop_all
		((SECONDS < deadline)) || fail "timeouts that do not run out: $(<"$TARGET_DIR/out")"
	done
	stop_all
	tell go
	wait_for 20 has_ended "$calls"
	run ! grep '^wrong' "$TARGET_DIR/out"
}

@test "no call of thirty kinds that wait is cut short, and timeouts run out, however often and by whom their threads are stopped" {
	goes_on 1000
}

@test "a file system whose server gives up what is interrupted does not let the program know" {
	[[ -c /dev/fuse ]] || skip "this kernel has no FUSE"
	local folder=$BATS_TEST_TMPDIR/mounted
	mkdir "$folder"
	start_target slowfs "$folder" 60
	goes_on 1000 "$folder/f"
}

@test "a close and a transfer by USB that were given up are not done a second time" {
	[[ -c /dev/fuse ]] || skip "this kernel has no FUSE"
	local call folder=$BATS_TEST_TMPDIR/mounted
	mkdir "$folder"
	start_target slowfs "$folder" 1 final
	for call in close usb; do
		start_with_input blocked "$call" -1 "$folder/f"
		wait_for 5 is_asleep
		swap_most out -p "$TARGET_PID"
		returns -1 EINTR
		end_current
	done
}

is_stopped() {
	[[ $(ps -o stat= -p "$TARGET_PID") == T* ]]
}

@test "a stopped program stays stopped while it is swapped out, and goes on when told" {
	start_contents mixed 16777216
	kill -STOP "$TARGET_PID"
	wait_for 5 is_stopped
	local before i
	before=$(rss_anon)
	for i in 1 2 3; do
		swap_most out -p "$TARGET_PID"
		wait_for 5 is_stopped
	done
	(($(rss_anon) < before / 20))
	swap_ok in -p "$TARGET_PID"
	swap_most out -p "$TARGET_PID"
	wait_for 5 is_stopped
	tell check
	run ! has_answers 2
	kill -CONT "$TARGET_PID"
	wait_for 20 has_answers 2
	assert_regex "$(tail -n 1 "$TARGET_DIR/out")" '^ok'
}

@test "a stopped program stays stopped through attach and detach" {
	start_contents mixed 8388608
	kill -STOP "$TARGET_PID"
	wait_for 5 is_stopped
	swap_ok attach -p "$TARGET_PID"
	wait_for 5 is_stopped
	swap_ok detach -p "$TARGET_PID"
	wait_for 5 is_stopped
	kill -CONT "$TARGET_PID"
	ask check
}

@test "no signal is lost, doubled or out of order, and handlers see their memory" {
	start_with_input signals 20000
	tell go
	local deadline=$((SECONDS + 60))
	until has_answers 2; do
		out_and_in
		((SECONDS < deadline)) || fail "the signals do not end"
	done
	assert_regex "$(tail -n 1 "$TARGET_DIR/out")" '^ok 20000 '
	(($(status_of .stops) > 20))
}

@test "a program that makes the session's userfaultfd block stops neither faults nor requests" {
	start_contents mixed 8388608
	swap_most out -p "$TARGET_PID"
	ask block
	swap_ok in -p "$TARGET_PID"
	swap_most out -p "$TARGET_PID"
	ask block
	ask check
	ask fork
	swap_ok status -p "$TARGET_PID"
	swap_ok detach -p "$TARGET_PID"
	ask check
}
