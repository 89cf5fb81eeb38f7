#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# swapctl auto(1): what is cold leaves, what is hot stays, within what was allowed.

# shellcheck disable=SC2030,SC2031,SC2317 # each test is a process of its own
bats_require_minimum_version 1.5.0
load swap_helper

MEBIBYTE=1048576

# start_auto OPTION...: in the background, for programs that are too small for a session to pay. Sets $AUTO; records go to $RECORDS, messages to
# $ERRORS.
start_auto() {
	RECORDS=$BATS_TEST_TMPDIR/auto ERRORS=$BATS_TEST_TMPDIR/auto.errors
	swapctl auto --min-saved 0 "$@" >"$RECORDS" 2>"$ERRORS" 3>&- &
	AUTO=$!
}

# end_auto [SIGNAL]: sets $status.
end_auto() {
	status=0
	kill -"${1:-TERM}" "$AUTO"
	wait "$AUTO" || status=$?
}

# is_quiet SECONDS FIELD: the session's number does not change for so long, while the target goes on.
is_quiet() {
	local before
	before=$(status_of ".$2")
	read -rt "$1" <> <(:) || :
	[[ $(status_of ".$2") == "$before" ]]
}

# A folder of cgroup v2 for the test, removed with it.
make_cgroup() {
	CGROUP=$(findmnt -nt cgroup2 -o TARGET | head -n 1)/uvmtools-test.$$.$BATS_TEST_NUMBER
	mkdir "$CGROUP" || skip "no cgroup can be made here"
}

eval "$(declare -f teardown | sed '1s/.*/helper_teardown ()/')"

teardown() {
	if [[ ${AUTO-} ]]; then
		kill -KILL "$AUTO" 2>/dev/null || :
	fi
	helper_teardown
	if [[ ${CGROUP-} && -d $CGROUP ]]; then
		rmdir "$CGROUP"/*/ 2>/dev/null || :
		wait_for 5 rmdir "$CGROUP"
	fi
}

# What a minute does with the usual times is done here with times a fifteenth as long.
@test "the cold half of a program is in the store, and the hot half in memory and at peace" {
	local cold=$((16 * MEBIBYTE)) rounds
	start_with_input hotcold $((2 * cold))
	snapshot
	start_auto -p "$TARGET_PID" --interval 1 --stage 4 --refault-backoff 60
	is_settled() {
		(($(status_of .stored_pages) >= cold * 98 / 100 / 4096))
	}
	wait_for 30 is_settled
	(($(status_of .out_pages) <= cold / 4096 + 600))
	ask rounds
	rounds=${answer#ok }
	wait_for 30 is_quiet 5 faults
	ask rounds
	((${answer#ok } > rounds))
	local ageing=refaults
	[[ ! -e /sys/kernel/mm/page_idle/bitmap ]] || ageing=idle
	assert_equal "$(status_of .ageing)" "$ageing"
	assert_equal "$(record '[.[] | select(.type == "round").ageing] | unique | join(" ")')" "$ageing"
	(($(rss_anon) < cold + 4 * MEBIBYTE))
	ask check
	end_auto
	assert_equal "$status" 0
	assert_equal "$(<"$ERRORS")" ""
	assert_equal "$(summary .errors)" 0
	(($(summary .moved_bytes) >= cold))
	wait_for 10 unchanged
	ask stop
}

@test "what is touched before it has been staged for long enough never reaches the store" {
	start_contents random $((8 * MEBIBYTE))
	start_auto -p "$TARGET_PID" --interval 1 --stage 600 --refault-backoff 60
	wait_for 20 has_record '.type == "round" and .moved_bytes > 0'
	(($(status_of .pool_pages) > 0))
	ask check
	assert_equal "$(status_of .written_back_pages)" 0
	assert_equal "$(status_of .store_bytes)" 0
	end_auto INT
	assert_equal "$status" 0
	run ! has_record '.type == "writeback"'
}

@test "each time a region comes back too soon it is left alone for twice as long" {
	start_contents text $((2 * MEBIBYTE))
	start_auto -p "$TARGET_PID" --interval 1 --stage 600 --refault-backoff 2 --explain
	comes_back() {
		ask check >/dev/null
		has_record ".why == \"refault\" and .start == \"0x$START\" and .times == $1"
	}
	wait_for 20 comes_back 1
	wait_for 20 comes_back 2
	wait_for 20 comes_back 3
	end_auto
	assert_equal "$(record "[.[] | select(.why == \"refault\" and .start == \"0x$START\") | .alone_ms][:3] | tostring")" \
		'[2000,4000,8000]'
}

@test "--explain gives the numbers that a decision rested on" {
	start_contents text $((8 * MEBIBYTE))
	start_auto -p "$TARGET_PID" --interval 1 --stage 1 --explain
	wait_for 20 has_record '.type == "decision" and .op == "writeback" and .pool_bytes > 0 and .stage_ms == 1000 and
		.min_free_bytes == 134217728 and .free_bytes > 0'
	has_record ".type == \"decision\" and .op == \"stage\" and .why == \"cold\" and .start == \"0x$START\" and .bytes == 2097152 and
		.resident_bytes == 2097152 and .budget_bytes > 0 and .pid == $TARGET_PID and .starttime > 0"
	end_auto
	run -0 jq -e '.v == 1 and (.type != "decision" or (.op | IN("stage", "leave", "writeback", "wait")))' "$RECORDS"
}

@test "every reason that a decision can have is described in uvm-json(5)" {
	local why count=0
	for why in $(grep -h -A 1 'policy_emit(process,' "$ROOT"/libcommon/policy/swap*.c | grep -oE '[^{]"[a-z-]+"' | tr -cd 'a-z\n-' | sort -u); do
		[[ $why =~ ^(stage|leave|writeback|wait|end)$ ]] && continue
		grep -qE "^\.It Li (.* )?$why( |\$)" "$ROOT/man/uvm-json.5" || {
			echo "not described: $why" >&2
			return 1
		}
		count=$((count + 1))
	done
	((count >= 15))
}

@test "no session is made for a program of which less could leave than a session takes" {
	start_contents random $((8 * MEBIBYTE))
	start_auto -p "$TARGET_PID" --interval 1 --min-saved 16M --explain
	wait_for 20 has_record '.why == "saves-little" and .resident_bytes >= 8388608 and .min_saved_bytes == 16777216'
	run ! compgen -G "$SESSIONS/$TARGET_PID.*"
	end_auto
	assert_equal "$status" 0
	assert_equal "$(summary .moved_bytes)" 0
}

# For which of the two reasons depends on how fast it forks.
@test "the session of a program that forks and touches its memory ends, and the program goes on" {
	start_with_input forker $((4 * MEBIBYTE))
	start_auto -p "$TARGET_PID" --interval 1 --min-saved 4M --refault-backoff 1 --explain
	wait_for 60 has_record '.op == "end" and (.why | IN("forks", "little-out")) and has("out_bytes")'
	is_alone() {
		! compgen -G "$SESSIONS/$TARGET_PID.*"
	}
	wait_for 30 is_alone
	end_auto
	assert_equal "$status" 0
	ask stop
	[[ $answer == ok* ]]
}

@test "--target leaves as much in memory as was said, of all processes together" {
	local first
	start_contents random $((16 * MEBIBYTE))
	first=$TARGET_PID
	start_contents random $((16 * MEBIBYTE))
	start_auto -p "$first" "$TARGET_PID" --interval 1 --stage 600 --target 20M
	is_held() {
		(($(rss_anon "$first") + $(rss_anon) <= 20 * MEBIBYTE))
	}
	wait_for 20 is_held
	(($(rss_anon "$first") + $(rss_anon) >= 18 * MEBIBYTE))
	end_auto
	assert_equal "$status" 0
}

@test "--limit and --total-limit are never exceeded" {
	local first used
	start_contents random $((16 * MEBIBYTE))
	first=$TARGET_PID
	start_contents random $((16 * MEBIBYTE))
	start_auto -p "$first" -p "$TARGET_PID" --interval 1 --stage 1 --limit 8M --total-limit 12M --explain
	wait_for 20 has_record '.why == "limit" or .why == "total-limit"'
	wait_for 20 has_record '.type == "writeback"'
	used=$(timeout 20 swapctl status 3>&- | jq -s "[.[] | select(.pid == $first or .pid == $TARGET_PID) |
		.pool_bytes + .store_bytes]")
	jq -e 'all(.[]; . <= 8388608) and add <= 12582912 and add > 6000000' <<<"$used"
	end_auto
	assert_equal "$status" 0
}

@test "a session that another client has ended takes nothing of the limit any more" {
	start_contents random $((16 * MEBIBYTE))
	start_auto -p "$TARGET_PID" --interval 1 --stage 600 --limit 4M --explain
	wait_for 20 has_record '.why == "limit"'
	swapctl detach -p "$TARGET_PID" >/dev/null 3>&-
	is_out_again() {
		(($(status_of .out_pages) > 0))
	}
	wait_for 20 is_out_again
	end_auto
	[[ $status == [03] ]] # the session may have ended while it was asked
	wait_for 10 no_session
}

@test "--regions-per-round takes no more at a time" {
	start_contents text $((16 * MEBIBYTE))
	start_auto -p "$TARGET_PID" --interval 1 --stage 600 --regions-per-round 2
	three_rounds() {
		(($(jq -s '[.[] | select(.type == "round")] | length' "$RECORDS") >= 3))
	}
	wait_for 20 three_rounds
	end_auto
	assert_equal "$(record '[.[] | select(.type == "round") | .regions] | max')" 2
	assert_equal "$(record '[.[] | select(.type == "round") | .moved_bytes] | max')" $((4 * MEBIBYTE))
}

@test "--min-free keeps staged memory off a disk that is nearly full" {
	start_contents random $((8 * MEBIBYTE))
	start_auto -p "$TARGET_PID" --interval 1 --stage 1 --min-free 1000T --explain
	wait_for 20 has_record '.op == "wait" and .why == "min-free" and .free_bytes < .min_free_bytes'
	assert_equal "$(status_of .store_bytes)" 0
	(($(status_of .pool_bytes) > 0))
	end_auto
	assert_equal "$status" 0
}

@test "--hold takes a little at a time while nothing waits for memory" {
	local before
	start_contents random $((64 * MEBIBYTE))
	before=$(rss_anon)
	start_auto -p "$TARGET_PID" --interval 1 --stage 600 --hold 50
	two_rounds() {
		(($(jq -s '[.[] | select(.type == "round" and .moved_bytes > 0)] | length' "$RECORDS") >= 2))
	}
	wait_for 20 two_rounds
	end_auto
	assert_equal "$status" 0
	(($(record '[.[] | select(.type == "round") | .moved_bytes] | max') <= before / 100))
}

@test "with --pressure nothing is done while there is none" {
	start_contents text $((8 * MEBIBYTE))
	start_auto -p "$TARGET_PID" --interval 1 --pressure full:10s/10s --explain
	is_waiting() {
		[[ $(awk '/^State/ { print $2 }' "/proc/$AUTO/status") == S && $(ls -l "/proc/$AUTO/fd") == *pressure* ]]
	}
	wait_for 10 is_waiting
	read -rt 3 <> <(:) || :
	end_auto
	assert_equal "$status" 0
	assert_equal "$(summary .rounds)" 0
	wait_for 10 no_session
	assert_equal "$(jq -c .type "$RECORDS")" '"summary"'
}

@test "with --pressure memory is put out when the kernel tells of some" {
	start_contents text $((8 * MEBIBYTE))
	start_auto -p "$TARGET_PID" --interval 1 --stage 600 --pressure some:1ms/2s
	squeeze
	wait_for 30 has_record '.type == "round" and .moved_bytes > 0'
	end_auto
	assert_equal "$status" 0
	unsqueeze
}

@test "--cgroup looks after the processes in one of version 1" {
	CGROUP=/sys/fs/cgroup/memory/uvmtools-test.$$.$BATS_TEST_NUMBER
	mkdir "$CGROUP" 2>/dev/null || skip "no cgroup of version 1 can be made here"
	start_with_input hotcold $((8 * MEBIBYTE))
	echo "$TARGET_PID" >"$CGROUP/cgroup.procs"
	start_auto --cgroup "$CGROUP" --interval 1 --stage 600 --store memory
	is_swapped() {
		(($(status_of .out_pages) > 0))
	}
	wait_for 30 is_swapped
	end_auto
	assert_equal "$status" 0
	ask rounds
	run -5 --separate-stderr timeout 20 swapctl auto --cgroup "$CGROUP" --pressure some:150ms/1s 3>&-
	assert_regex "$stderr" '^swapctl auto: .*open memory.pressure of the cgroup: only cgroups of version 2'
}

@test "a threaded cgroup is refused with the reason, also when it becomes one" {
	make_cgroup
	mkdir "$CGROUP/threads"
	start_auto --cgroup "$CGROUP/threads" --interval 1
	is_waiting() {
		[[ -d /proc/$AUTO/fd ]] && readlink /proc/"$AUTO"/fd/* | grep -qxF "$CGROUP/threads"
	}
	wait_for 10 is_waiting
	echo threaded >"$CGROUP/threads/cgroup.type" || skip "cgroups cannot be threaded here"
	status=0
	wait "$AUTO" || status=$?
	assert_equal "$status" 3
	assert_regex "$(<"$ERRORS")" "^swapctl auto: .*look after the cgroup .*: it is threaded"
	run -2 --separate-stderr timeout 20 swapctl auto --cgroup "$CGROUP/threads" 3>&-
	assert_regex "$stderr" "^swapctl auto: .*look after the cgroup .*: it is threaded, .*domain threaded"
	rmdir "$CGROUP/threads"
}

@test "--cgroup looks after the processes in it, those that come later too, and lets go of those that leave" {
	local first
	make_cgroup
	start_contents text $((8 * MEBIBYTE))
	first=$TARGET_PID
	echo "$first" >"$CGROUP/cgroup.procs"
	mkdir "$CGROUP/below"
	start_auto --cgroup "$CGROUP" --interval 1 --stage 600
	wait_for 20 has_record ".type == \"round\" and .pid == $first and .moved_bytes > 0"
	start_contents text $((8 * MEBIBYTE))
	echo "$TARGET_PID" >"$CGROUP/below/cgroup.procs"
	wait_for 20 has_record ".type == \"round\" and .pid == $TARGET_PID and .moved_bytes > 0"
	echo "$first" >"${CGROUP%/*}/cgroup.procs"
	has_let_go() {
		! compgen -G "$SESSIONS/$first.*" >/dev/null
	}
	wait_for 20 has_let_go
	kill -KILL "$TARGET_PID"
	wait "$TARGET_PID" || :
	rmdir_below() {
		rmdir "$CGROUP/below" 2>/dev/null
	}
	wait_for 10 rmdir_below
	kill -0 "$AUTO"
	end_auto
	assert_equal "$status" 0
	assert_equal "$(summary .processes)" 2
}

@test "sessions that it made are ended with it, those that were there are not" {
	start_contents text $((8 * MEBIBYTE))
	swap_ok attach -p "$TARGET_PID"
	start_auto -p "$TARGET_PID" --interval 1
	wait_for 20 has_record '.type == "round" and .moved_bytes > 0'
	end_auto
	(($(status_of .out_pages) > 0))
	swap_ok detach -p "$TARGET_PID"
	start_auto -p "$TARGET_PID" --interval 1
	wait_for 20 has_record '.type == "round" and .moved_bytes > 0'
	end_auto
	wait_for 10 no_session
	start_auto -p "$TARGET_PID" --interval 1 --leave
	wait_for 20 has_record '.type == "round" and .moved_bytes > 0'
	end_auto
	(($(status_of .out_pages) > 0))
	ask check
	swap_ok detach -p "$TARGET_PID"
}

@test "it ends when the last process that was named has ended" {
	start_contents text $((4 * MEBIBYTE))
	start_auto -p "$TARGET_PID" --interval 60
	wait_for 20 has_record '.type == "round"'
	kill -KILL "$TARGET_PID"
	wait "$TARGET_PID" || :
	status=0
	wait "$AUTO" || status=$?
	assert_equal "$status" 0
	assert_equal "$(summary .op)" auto
}

@test "a worker that is killed is no reason to end" {
	start_contents text $((8 * MEBIBYTE))
	start_auto -p "$TARGET_PID" --interval 1 --stage 2 --refault-backoff 1
	wait_for 20 has_record '.type == "round" and .moved_bytes > 0'
	kill -KILL "$(status_of .worker_pid)"
	wait_for 20 has_record '.type == "writeback"'
	ask check
	end_auto
	[[ $status == [03] ]]
	wait_for 10 no_session
}

@test "idle, it takes next to no time of a processor" {
	local ticks
	start_contents text $((64 * MEBIBYTE))
	start_auto -p "$TARGET_PID" --stage 1
	wait_for 20 has_record '.type == "writeback"'
	ticks() {
		sed 's/.*) //' "/proc/$AUTO/stat" | awk '{ print $12 + $13 }'
	}
	ticks=$(ticks)
	read -rt 5 <> <(:) || :
	(($(ticks) - ticks <= 10))
	end_auto
}

# fails STATUS PATTERN OPTION...: refused at once, with one line.
fails() {
	swap_fails "$1" "$2" auto "${@:3}"
}

@test "bad input is refused before anything is done" {
	start_contents text $((4 * MEBIBYTE))
	local p=(-p "$TARGET_PID") option
	fails 2 'which processes'
	fails 2 'not a process id' -p nobody
	fails 2 'not a process id' -p "$TARGET_PID" 0
	fails 2 'not a process id' -p 12x
	fails 2 'not with --pidfd' --pidfd 0 "$TARGET_PID"
	for option in --stage --refault-backoff --interval; do
		fails 2 "$option: .* not a time" "${p[@]}" "$option" soon
		fails 2 "$option: .* not a time" "${p[@]}" "$option" 1.5d
		fails 2 "$option: .* not a time" "${p[@]}" "$option=-1"
		fails 2 "$option: .* not a time" "${p[@]}" "$option" 31536001
	done
	fails 2 '--interval: 0' "${p[@]}" --interval 0
	fails 2 '--refault-backoff: 0' "${p[@]}" --refault-backoff 0
	for option in --min-free --min-saved --limit --total-limit --target; do
		fails 2 "$option: .* not a size" "${p[@]}" "$option" much
		fails 2 "$option: .* not a size" "${p[@]}" "$option=-1"
	done
	fails 2 '--limit: 0' "${p[@]}" --limit 0
	fails 2 '--total-limit: 0' "${p[@]}" --total-limit 0
	for option in 0 -1 many 1000001; do
		fails 2 '--regions-per-round: .* number' "${p[@]}" "--regions-per-round=$option"
	done
	for option in some some:150ms 150ms/1s most:150ms/1s some:150/1 some:2s/1s some:0ms/1s some:1ms/100ms some:1ms/11s \
		some:150ms/1s/2s some:ms/1s; do
		fails 2 '--pressure: .* not like some:150ms/1s' "${p[@]}" --pressure "$option"
	done
	for option in 0 101 -1 much 1x; do
		fails 2 '--hold: .* percentage' "${p[@]}" "--hold=$option"
	done
	fails 2 'give one of them' "${p[@]}" --pressure some:150ms/1s --target 1M
	fails 2 'give one of them' "${p[@]}" --pressure some:150ms/1s --hold 1
	fails 2 'no such directory' --cgroup "$BATS_TEST_TMPDIR/none"
	fails 2 'no cgroup' --cgroup "$BATS_TEST_TMPDIR"
	fails 2 '--compress' "${p[@]}" --compress best
	wait_for 10 no_session
}

@test "exit codes tell a process that is gone, one that is another's, and one that somebody traces" {
	local tracer
	start_contents text $((4 * MEBIBYTE))
	fails 6 'no such process|No such process' -p 4194303
	run -4 --separate-stderr as_nobody swapctl auto -p "$TARGET_PID" 3>&-
	assert_equal "${#stderr_lines[@]}" 1
	"$UVM_BUILD/targets/tracer" "$TARGET_PID" 3>&- >/dev/null &
	tracer=$!
	end_later "$tracer"
	is_traced() {
		! grep -q '^TracerPid:.*\b0$' "/proc/$TARGET_PID/status"
	}
	wait_for 5 is_traced
	fails 1 'trac' -p "$TARGET_PID"
	kill -KILL "$tracer"
	wait "$tracer" || :
}

# Such as one whose session has lost both its processes.
@test "a process that no session can be made for is told of, and the others are looked after" {
	local orphan
	start_contents text $((8 * MEBIBYTE))
	orphan=$TARGET_PID
	swap_most out -p "$orphan" --bytes 4M
	kill_both
	fails 1 'adopt' -p "$orphan" --min-saved 0
	start_contents text $((8 * MEBIBYTE))
	start_auto -p "$TARGET_PID" "$orphan" --interval 1
	wait_for 20 has_record ".type == \"round\" and .pid == $TARGET_PID and .moved_bytes > 0"
	wait_for 20 has_record ".type == \"error\" and .op == \"attach\" and .pid == $orphan"
	end_auto
	assert_equal "$status" 3
	kill -KILL "$orphan"
	wait "$orphan" || :
	swap_ok status # which clears away
}

@test "a session that does not answer holds up neither the other processes nor the end" {
	local bad processes began
	start_contents mixed $((8 * MEBIBYTE))
	bad=$TARGET_PID
	swap_ok attach -p "$bad"
	processes=("$(pid_of supervisor)" "$(pid_of worker)")
	start_contents mixed $((8 * MEBIBYTE))
	swap_ok attach -p "$TARGET_PID"
	kill -STOP "${processes[@]}"
	start_auto -p "$bad" "$TARGET_PID" --interval 1 --refault-backoff 1
	has_rounds() {
		ask check
		(($(jq -rs "map(select(.type == \"round\" and .pid == $TARGET_PID)) | length" "$RECORDS") >= $1))
	}
	wait_for 20 has_rounds 3
	began=$SECONDS
	end_auto
	((SECONDS - began < 100))
	kill -CONT "${processes[@]}"
	assert_equal "$status" 3
	[[ $(jq -rs "map(select(.type == \"error\").pid) | unique | .[]" "$RECORDS") == "$bad" ]]
}
