#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# superpages --idle: what a program touches is never called idle, and what nothing touches is. Whichever method this kernel has.

# shellcheck disable=SC2154 # run sets $stderr
bats_require_minimum_version 1.5.0
load swap_helper

MEBIBYTE=1048576

# start_half KIND [BYTES]: sets IDLE and IDLE_END, HOT and HOT_END.
start_half() {
	start_with_input halfidle "$1" "${2:-$((8 * MEBIBYTE))}"
	read -r IDLE IDLE_END HOT HOT_END <<<"$TARGET_READY"
}

# idle ARGUMENT...: superpages --idle, which must succeed in full.
idle() {
	tool_ends 0 superpages "$@"
	assert_equal "$(<"$ERRORS")" ""
	assert_regex "$(summary .idle_method)" '^(idle|referenced)$'
}

# listed START END: bytes of the records that lie there, for records outside of it a failure.
listed() {
	idle -p "$TARGET_PID" --idle 0.4 --range "$1-$2" "${@:3}"
	record 'map(select(.type == "region") | if .idle_bytes == .resident_bytes then .idle_bytes else error("not idle") end) | add // 0'
}

# Of so many bytes at least fifteen sixteenths.
is_most() {
	(($1 >= $2 * 15 / 16 && $1 <= $2))
}

@test "what is written again and again is not idle, what was written once is" {
	start_half write
	assert_equal "$(listed "$HOT" "$HOT_END")" 0
	is_most "$(listed "$IDLE" "$IDLE_END")" $((8 * MEBIBYTE))
	is_most "$(listed "$IDLE" "$IDLE_END" --method pagemap --merge --sort resident)" $((8 * MEBIBYTE))
	is_most "$(listed "$IDLE" "$IDLE_END" --method mincore --size 64K)" $((8 * MEBIBYTE))
	idle -p "$TARGET_PID" --idle 400ms
	assert_equal "$(summary '[.idle_us, .idle_bytes == .resident_bytes, has("idle_unlisted_bytes")]' | tr -d ' \n')" '[400000,true,true]'
}

@test "what is read again and again is not idle, be it pages of zeros" {
	local kind
	for kind in read zero; do
		start_half "$kind"
		assert_equal "$(listed "$HOT" "$HOT_END")" 0
		is_most "$(listed "$IDLE" "$IDLE_END")" $((8 * MEBIBYTE))
	done
}

@test "a huge page of which one byte is touched is not idle, those that are not are" {
	start_half huge
	assert_equal "$(listed "$HOT" "$HOT_END")" 0
	is_most "$(listed "$IDLE" "$IDLE_END")" $((8 * MEBIBYTE))
}

@test "of a mapping that is touched in part nothing is listed that is touched, and what is not is counted" {
	local middle bytes
	start_with_input hotcold $((16 * MEBIBYTE))
	middle=$END
	assert_equal "$(listed "$START" "$middle")" 0
	idle -p "$TARGET_PID" --idle 400ms
	bytes=$(record "(map(select(.type == \"region\" and .vma_start <= \"0x$START\" and .vma_end > \"0x$START\") | .idle_bytes) | add // 0) + last.idle_unlisted_bytes")
	((bytes >= 7 * MEBIBYTE && bytes < 9 * MEBIBYTE))
	idle --summary -p "$TARGET_PID" --idle 400ms
	bytes=$(record '.[0].idle_bytes')
	((bytes >= 7 * MEBIBYTE && bytes < 11 * MEBIBYTE))
	assert_equal "$(summary .idle_bytes)" "$bytes"
}

@test "what was idle can be swapped out, what is out is not listed, and what came back was touched" {
	start_half write
	superpages -p "$TARGET_PID" --idle 0.4 --swappable >"$BATS_TEST_TMPDIR/idle"
	swap_most out -p "$TARGET_PID" -r "$BATS_TEST_TMPDIR/idle" --store memory
	(($(summary .moved_bytes) >= 7 * MEBIBYTE))
	assert_equal "$(listed "$IDLE" "$IDLE_END")" 0
	assert_equal "$(listed "$HOT" "$HOT_END")" 0
	begin_wait -p "$TARGET_PID" --range "$IDLE-$IDLE_END"
	swap_ok in -p "$TARGET_PID"
	end_wait 0
	assert_equal "$(<"$BATS_TEST_TMPDIR/err")" ""
	assert_equal "$(jq -s 'map(.resident_bytes)' -c "$BATS_TEST_TMPDIR/out")" '[0]'
}

waits() {
	[[ $(<"/proc/$1/wchan") == *sigtimedwait* ]]
}

is_sleep() {
	[[ $(<"/proc/$1/comm") == sleep ]]
}

# begin_wait ARGUMENT...: superpages --idle, held in its wait.
begin_wait() {
	superpages --idle 3 "$@" >"$BATS_TEST_TMPDIR/out" 2>"$BATS_TEST_TMPDIR/err" 3>&- &
	WAITING=$!
	end_later "$WAITING"
	wait_for 20 waits "$WAITING"
	kill -STOP "$WAITING"
}

# wait_ends STATUS
wait_ends() {
	local status=0
	wait "$WAITING" || status=$?
	assert_equal "$status" "$1"
}

end_wait() {
	kill -CONT "$WAITING"
	wait_ends "$1"
}

# Three that end, run another program and unmap in the wait, in PIDS.
start_three() {
	local inputs=()
	PIDS=()
	for _ in 1 2 3; do
		start_half write $((2 * MEBIBYTE))
		PIDS+=("$TARGET_PID")
		inputs+=("$INPUT")
	done
	EXEC=${inputs[1]}
}

change_three() {
	end_target "${PIDS[0]}"
	echo exec >&"$EXEC"
	wait_for 20 is_sleep "${PIDS[1]}"
	ask unmap
}

@test "of processes that end, run another program or unmap while it waits nothing wrong is said" {
	local pids
	start_three
	pids=$(IFS=, && echo "${PIDS[*]}")
	begin_wait -p "$pids"
	change_three
	end_wait 3
	assert_equal "$(wc -l <"$BATS_TEST_TMPDIR/err")" 2
	assert_regex "$(<"$BATS_TEST_TMPDIR/err")" "process ${PIDS[0]}.*process ${PIDS[1]} .*it has ended or runs another program now"
	assert_equal "$(jq -s --argjson pid "${PIDS[2]}" --arg start "0x$IDLE" 'map(select(.pid and (.pid != $pid or .start == $start))) | length' "$BATS_TEST_TMPDIR/out")" 0
	assert_equal "$(jq -sc 'last | [.processes, .failed]' "$BATS_TEST_TMPDIR/out")" '[3,2]'
}

@test "a summary leaves them out" {
	start_three
	begin_wait --summary --comm halfidle
	change_three
	end_wait 0
	assert_equal "$(<"$BATS_TEST_TMPDIR/err")" ""
	assert_equal "$(jq -s --argjson one "${PIDS[0]}" --argjson other "${PIDS[1]}" 'map(select(.pid == $one or .pid == $other)) | length' "$BATS_TEST_TMPDIR/out")" 0
	assert_equal "$(jq -s --argjson pid "${PIDS[2]}" 'map(select(.pid == $pid and .idle_bytes < 2000000)) | length' "$BATS_TEST_TMPDIR/out")" 1
}

@test "many processes have one wait" {
	local pids=()
	for _ in {1..40}; do
		sleep 1000 3>&- &
		add_target $!
		pids+=($!)
	done
	# One after the other they would take longer as a tool may here.
	idle --summary --idle 2 -p "$(IFS=, && echo "${pids[*]}")"
	assert_equal "$(summary '[.processes, .unreadable]' | tr -d ' \n')" '[40,0]'
}

@test "SIGINT in the wait: exit code 130, one line, and no record" {
	local what
	start_half write
	for what in "-p $TARGET_PID" "-p $TARGET_PID,$$" "--summary -p $TARGET_PID,$$"; do
		# shellcheck disable=SC2086
		env --default-signal=INT superpages --idle 1h $what >"$BATS_TEST_TMPDIR/out" 2>"$BATS_TEST_TMPDIR/err" 3>&- &
		WAITING=$!
		end_later "$WAITING"
		wait_for 20 waits "$WAITING"
		kill -INT "$WAITING"
		wait_ends 130
		assert_equal "$(<"$BATS_TEST_TMPDIR/out")" ""
		assert_equal "$(<"$BATS_TEST_TMPDIR/err")" "superpages: cannot wait for 1.0 h: it was told to stop"
	done
}

@test "times and orders that make no sense are refused" {
	local value
	for value in 0 -1 99ms abc 10x 1e9h ''; do
		tool_refuses 2 '--idle: .* is not a time' superpages -p $$ --idle "$value"
		assert_equal "$(<"$RECORDS")" ""
	done
	tool_refuses 2 '--sort: by idle only with --idle' superpages --summary -p $$ --sort idle
	tool_refuses 2 '--sort: .* only with --summary' superpages -p $$ --sort idle --idle 1
}

@test "a user can ask about their own processes, and not about others'" {
	local pid
	start_half write
	run -4 --separate-stderr as_nobody superpages -p "$TARGET_PID" --idle 0.1
	assert_equal "$output" ""
	assert_equal "${#stderr_lines[@]}" 1
	setpriv --reuid=65534 --regid=65534 --clear-groups sleep 1000 3>&- &
	pid=$!
	add_target "$pid"
	wait_for 20 is_sleep "$pid"
	run -0 --separate-stderr as_nobody superpages -p "$pid" --idle 0.4
	assert_equal "$(jq -r 'select(.type == "summary") | .idle_method, .idle_bytes > 0' <<<"$output" | xargs)" "referenced true"
}
