#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# reclaimctl watch(1): rings are reclaimed when their programs, memory or limits ask for it, and for no other reason.
# shellcheck disable=SC2013,SC2030,SC2031 # each test is a process of its own

bats_require_minimum_version 1.5.0
load swap_helper

MEBIBYTE=1048576
BLOCKS=256
BYTES=65536
RING=$((BLOCKS * BYTES))

# start_watch OPTION...: in the background, looking often, deaf to what else makes pressure on this machine unless the options say otherwise. Sets $WATCH; records go to $RECORDS, messages to $ERRORS.
start_watch() {
	RECORDS=$BATS_TEST_TMPDIR/watch ERRORS=$BATS_TEST_TMPDIR/watch.errors
	[[ $* == *--warning* ]] || set -- --warning none "$@"
	[[ $* == *--critical* ]] || set -- --critical none "$@"
	reclaimctl watch --interval 50ms "$@" >"$RECORDS" 2>"$ERRORS" 3>&- &
	WATCH=$!
	end_later "$WATCH"
}

# end_watch STATUS [SIGNAL]: it must end with that exit code.
end_watch() {
	status=0
	kill -"${2:-TERM}" "$WATCH"
	wait "$WATCH" || status=$?
	if ((status != $1)); then
		jq -c 'select(.type == "error")' "$RECORDS" >&2 || :
		tail -n 5 "$RECORDS" "$ERRORS" >&2
	fi
	assert_equal "$status" "$1"
	assert_equal "$(<"$ERRORS")" ""
}

# start_cache [ARGUMENT...]: a cache with all of its blocks in the ring.
start_cache() {
	start_with_input ringcache $BLOCKS $BYTES "$@"
}

ring_of() {
	timeout 20 reclaimctl status -p "${2:-$TARGET_PID}" 3>&- | jq -r "select(.type == \"ring\") | $1"
}

is_drained() {
	[[ $(ring_of .bytes "$@") == 0 ]]
}

wait_ended() {
	wait "$1" || :
}

# The blocks that were taken back hold what they should; so many were kept as they were, and all others reclaimed.
check_cache() {
	local kept reclaimed
	kept=$(ring_of .entries)
	reclaimed=$((BLOCKS - kept))
	ask check
	assert_regex "$answer" "^ok $kept ($reclaimed 0|0 $reclaimed)$"
}

eval "$(declare -f teardown | sed '1s/.*/helper_teardown ()/')"

teardown() {
	local folder status=0
	if [[ ${CGROUP-} ]]; then
		thaw "$CGROUP"
	fi
	helper_teardown || status=$?
	for folder in "${SQUEEZE-}" "${CGROUP-}"; do
		if [[ $folder && -d $folder ]]; then
			end_cgroup "$folder"
		fi
	done
	return "$status"
}

@test "what a cache has not needed for some time is trimmed, and counted in its ring" {
	local before trimmed
	start_cache
	before=$(rss_anon)
	start_watch -p "$TARGET_PID" --period 100ms -v
	wait_for 20 has_record '.type == "reclaim" and .ring_bytes < 8388608'
	end_watch 0
	assert_equal "$(record '[.[] | select(.type == "reclaim") | .why] | unique | join(" ")')" trim
	trimmed=$(record '[.[] | select(.type == "reclaim") | .bytes] | add')
	assert_equal "$(summary .bytes)" "$trimmed"
	assert_equal "$(ring_of .trimmed_bytes)" "$trimmed"
	assert_equal "$(ring_of .samples)" "$(record '[.[] | select(.type == "sample")] | length')"
	(($(rss_anon) < before - RING / 2 + MEBIBYTE))
	# A quarter of what is unneeded at a time, and no more than a block beyond it.
	jq -es "all(.[] | select(.type == \"reclaim\"); .wanted_bytes <= $RING / 4 and .bytes < .wanted_bytes + $BYTES)" "$RECORDS"
	check_cache
}

@test "a cache that is all in use now and then is left alone" {
	start_cache
	tell use
	start_watch -p "$TARGET_PID" --period 2s -v
	# The program takes samples, too.
	three_samples() {
		(($(ring_of .samples) >= 3))
	}
	wait_for 20 three_samples
	end_watch 0
	assert_equal "$(summary .reclaims)" 0
	ask_after use
	assert_regex "$answer" "^ok $BLOCKS 0 0$"
}

@test "pressure takes half of a ring, critical pressure all of it; the program hears of the level while somebody watches" {
	start_cache
	squeeze
	start_watch -p "$TARGET_PID" --period 3600 --warning some:1ms/2s
	wait_for 30 has_record '.type == "reclaim" and .why == "pressure" and .level == "warning"'
	assert_equal "$(record '[.[] | select(.type == "reclaim")][0].wanted_bytes')" $((RING / 2))
	assert_equal "$(ring_of .level)" warning
	end_watch 0
	assert_equal "$(ring_of .level)" normal
	check_cache
	ask enter
	start_watch -p "$TARGET_PID" --period 3600 --critical some:1ms/2s
	wait_for 30 has_record '.type == "reclaim" and .why == "pressure" and .level == "critical" and .ring_bytes == 0'
	assert_equal "$(ring_of .level)" critical
	end_watch 0
	check_cache
}

@test "the ring of a stopped process is drained after the grace time, and it stays stopped" {
	local action
	for action in '' deallocate; do
		start_cache $action
		start_watch -p "$TARGET_PID" --period 3600 --grace 500ms
		wait_for 10 has_record '.event == "found"'
		kill -STOP "$TARGET_PID"
		wait_for 20 has_record '.type == "reclaim" and .why == "stopped" and .stopped_ms >= 500'
		wait_for 10 is_drained
		assert_equal "$(awk '/^State/ { print $2 }' "/proc/$TARGET_PID/status")" T
		end_watch 0
		assert_equal "$(summary .bytes)" "$RING"
		kill -CONT "$TARGET_PID"
		check_cache
		(($(rss_anon) < RING / 2))
	done
}

@test "the ring of a process in a frozen cgroup is drained after the grace time, and it stays frozen" {
	CGROUP=$(findmnt -nt cgroup2 -o TARGET | head -n 1)/uvmtools-test.$$.$BATS_TEST_NUMBER
	mkdir "$CGROUP" 2>/dev/null || skip "no cgroup can be made here"
	start_cache
	echo "$TARGET_PID" >"$CGROUP/cgroup.procs"
	echo 1 >"$CGROUP/cgroup.freeze"
	is_frozen() {
		grep -qx 'frozen 1' "$CGROUP/cgroup.events"
	}
	wait_for 10 is_frozen
	start_watch -p "$TARGET_PID" --period 3600 --grace 200ms
	wait_for 20 has_record '.type == "reclaim" and .why == "stopped" and .stopped_ms >= 200'
	wait_for 10 is_drained
	end_watch 0
	grep -qx "$TARGET_PID" "$CGROUP/cgroup.procs"
	wait_for 10 is_frozen
	echo 0 >"$CGROUP/cgroup.freeze"
	check_cache
}

# Where it is frozen by the freezer of version 1, no thread of it can even be stopped.
@test "a process from which nothing can be reclaimed while it is frozen is told of once, and looked after when it is thawed" {
	CGROUP=/sys/fs/cgroup/freezer/uvmtools-test.$$.$BATS_TEST_NUMBER
	mkdir "$CGROUP" 2>/dev/null || skip "no cgroup of version 1 can freeze here"
	start_cache
	echo "$TARGET_PID" >"$CGROUP/cgroup.procs"
	echo FROZEN >"$CGROUP/freezer.state"
	wait_for 10 grep -qx FROZEN "$CGROUP/freezer.state"
	start_watch -p "$TARGET_PID" --period 100ms --grace 100ms -v
	wait_for 20 has_record '.type == "error" and .op == "reclaim"'
	read -rt 2 <> <(:) || :
	assert_equal "$(ring_of .bytes)" "$RING"
	assert_equal "$(record '[.[] | select(.type == "error")] | length')" 1
	# Because it does not need it, or because it was stopped when a try began that the thaw let through.
	echo THAWED >"$CGROUP/freezer.state"
	wait_for 10 has_record '.type == "reclaim"'
	end_watch 3
	check_cache
}

# A memory cgroup of the version that counts memory here. Sets CGROUP, and the names of its limit and its use.
make_memory_cgroup() {
	local unified
	unified=$(findmnt -nt cgroup2 -o TARGET | head -n 1)
	if [[ $unified && $(<"$unified/cgroup.subtree_control") == *memory* ]]; then
		CGROUP=$unified/uvmtools-test.$$.$BATS_TEST_NUMBER LIMIT=memory.max USE=memory.current
	else
		CGROUP=/sys/fs/cgroup/memory/uvmtools-test.$$.$BATS_TEST_NUMBER LIMIT=memory.limit_in_bytes USE=memory.usage_in_bytes
	fi
	mkdir "$CGROUP" 2>/dev/null || skip "no cgroup with a memory limit can be made here"
}

@test "a ring gives way before the limit of its cgroup is hit, and no more than that takes" {
	local limit
	make_memory_cgroup
	# shellcheck disable=SC2016
	start_with_input /bin/bash -c 'echo $$ >"$0" && exec "$@"' "$CGROUP/cgroup.procs" "$UVM_BUILD/targets/ringcache" $BLOCKS $BYTES
	limit=$(($(<"$CGROUP/$USE") / 4096 * 4096 + MEBIBYTE))
	echo "$limit" >"$CGROUP/$LIMIT"
	start_watch -p "$TARGET_PID" --period 3600 --margin 4M
	wait_for 20 has_record ".type == \"reclaim\" and .why == \"limit\" and .limit_bytes == $limit and .left_bytes < $limit / 8"
	has_room() {
		(($(<"$CGROUP/$USE") <= limit - limit / 8 + 512 * 1024))
	}
	wait_for 20 has_room
	end_watch 0
	(($(ring_of .bytes) > RING / 4))
	# Far from it. Where the machine is slow all of it goes for another reason: it was not used for ten periods.
	limit=$(($(<"$CGROUP/$USE") + 20 * MEBIBYTE))
	echo "$limit" >"$CGROUP/$LIMIT"
	start_watch -p "$TARGET_PID" --period 100ms --grace 3600 --margin 4M -v
	wait_for 10 has_record '.type == "sample"'
	run ! has_record '.why == "limit"'
	end_watch 0
	check_cache
}

# The kernel wakes the watcher: its own looks, a minute apart, are no help.
@test "a program is not killed at the limit of its cgroup while its ring holds enough, however fast it grows" {
	make_memory_cgroup
	BLOCKS=160 BYTES=$MEBIBYTE
	# shellcheck disable=SC2016
	start_with_input /bin/bash -c 'echo $$ >"$0" && exec "$@"' "$CGROUP/cgroup.procs" "$UVM_BUILD/targets/ringcache" $BLOCKS $BYTES
	echo $(($(<"$CGROUP/$USE") / 4096 * 4096 + 96 * MEBIBYTE)) >"$CGROUP/$LIMIT"
	start_watch -p "$TARGET_PID" --interval 60s
	wait_for 10 has_record '.event == "found"'
	ask grow
	end_watch 0
	has_record '.type == "reclaim" and .why == "limit"'
	check_cache
}

@test "a ring that has not been used for ten periods is drained little by little" {
	start_cache
	is_old() {
		(($(date +%s%3N) > $1 + 1100))
	}
	wait_for 10 is_old "$(date +%s%3N)"
	start_watch -p "$TARGET_PID" --period 100ms -v
	wait_for 10 has_record '.type == "reclaim" and .why == "abandoned"'
	assert_equal "$(record '[.[] | select(.type == "reclaim")][0].wanted_bytes')" $((RING / 8))
	has_less() {
		(($(ring_of .bytes) <= RING * 7 / 8))
	}
	wait_for 20 has_less
	end_watch 0
	check_cache
}

@test "processes that end or become others are dropped, and it ends with the last that was named" {
	local first
	start_cache
	first=$TARGET_PID
	start_cache
	start_watch -p "$first" "$TARGET_PID" --period 3600 --grace 200ms
	wait_for 10 has_record ".event == \"found\" and .pid == $TARGET_PID"
	kill -KILL "$first"
	wait_ended "$first"
	wait_for 10 has_record ".event == \"ended\" and .pid == $first"
	tell again
	wait_for 10 has_record ".event == \"lost\" and .pid == $TARGET_PID"
	is_found_again() {
		(($(record "[.[] | select(.event == \"found\" and .pid == $TARGET_PID)] | length") == 2))
	}
	wait_for 10 is_found_again
	kill -STOP "$TARGET_PID"
	wait_for 20 has_record ".why == \"stopped\" and .pid == $TARGET_PID"
	kill -CONT "$TARGET_PID"
	tell exec
	is_sleep() {
		[[ $(<"/proc/$TARGET_PID/comm") == sleep ]]
	}
	wait_for 10 is_sleep
	kill -0 "$WATCH"
	kill -KILL "$TARGET_PID"
	wait_ended "$TARGET_PID"
	status=0
	wait "$WATCH" || status=$?
	assert_equal "$status" 0
	assert_equal "$(summary .errors)" 0
	assert_equal "$(summary .processes)" 2
}

# In a pid namespace of its own: the rings of others are none of our business.
@test "with --all rings are found as they appear, and forgotten as they go" {
	RECORDS=$BATS_TEST_TMPDIR/records
	# shellcheck disable=SC2016
	timeout 60 unshare --pid --fork --mount-proc --kill-child bash -euc '
		mkfifo "$1"
		exec 5<>"$1"
		reclaimctl watch --all --warning none --critical none --interval 50ms --period 100ms --grace 200ms >"$0" 5<&- & watch=$!
		until_() { for ((i = 0; i < 500; i++)); do jq -es "any(.[]; $1)" "$0" >/dev/null 2>&1 && return; sleep 0.02; done; false; }
		"$2" 64 65536 <&5 >/dev/null & one=$!
		until_ ".event == \"found\" and .pid == $one"
		until_ ".type == \"reclaim\" and .pid == $one"
		kill -KILL $one
		until_ ".event == \"ended\" and .pid == $one"
		sleep 100 5<&- & other=$!
		kill -0 $watch
		kill -TERM $watch
		wait $watch
		kill $other
	' "$RECORDS" "$BATS_TEST_TMPDIR/silent" "$UVM_BUILD/targets/ringcache" 3>&-
	assert_equal "$(summary .processes)" 1
	assert_equal "$(summary .errors)" 0
}

has_samples() {
	(($(grep -c '"sample"' "$RECORDS") >= $1))
}

@test "one that nohup started goes on when its terminal hangs up" {
	start_cache
	trap '' HUP
	start_watch -p "$TARGET_PID" --period 50ms --verbose
	wait_for 10 has_samples 1
	kill -HUP "$WATCH"
	wait_for 10 has_samples $(($(grep -c '"sample"' "$RECORDS") + 3))
	end_watch 0
	trap - HUP
	start_watch -p "$TARGET_PID" --period 50ms --verbose
	wait_for 10 has_samples 1
	end_watch 0 HUP
}

@test "a watcher that is killed at any time leaves a ring that the next one goes on with" {
	local i
	start_cache deallocate
	tell churn
	for i in {1..15}; do
		start_watch -p "$TARGET_PID" --interval 10ms --period 10ms
		read -rt "0.0$((i * 37 % 90 + 9))" <> <(:) || :
		kill -KILL "$WATCH"
		wait_ended "$WATCH" 2>/dev/null
	done
	# What the last one had claimed is taken up: the program waits for it.
	start_watch -p "$TARGET_PID" --period 20ms
	ask_after churn
	ask check
	ask enter
	wait_for 20 has_record '.type == "reclaim"'
	end_watch 0
	check_cache
}

@test "what a killed reclaimer has left is done, though the ring counts nothing any more" {
	start_with_input ringliar left
	start_watch -p "$TARGET_PID"
	wait_for 20 has_record '.type == "reclaim" and .why == "left" and .entries == 1'
	end_watch 0
	assert_equal "$(ring_of '"\(.head) \(.busy) \(.tail)"')" "1 1 1"
	ask check
}

# ask_after COMMAND: ends one that lasts until the next, which is answered first.
ask_after() {
	local lines
	lines=$(wc -l <"$TARGET_DIR/out")
	tell enter
	wait_for 30 has_answers $((lines + 2))
	answer=$(sed -n "$((lines + 1))p" "$TARGET_DIR/out")
	[[ $answer == ok* ]] || fail "$1: $answer"
}

@test "two watchers of one ring do not disturb each other" {
	local other
	start_cache
	tell churn
	reclaimctl watch -p "$TARGET_PID" --interval 20ms --period 20ms --warning none --critical none >"$BATS_TEST_TMPDIR/other" 3>&- &
	other=$!
	end_later "$other"
	start_watch -p "$TARGET_PID" --interval 20ms --period 20ms -v
	wait_for 10 has_record '.type == "sample" and .weighted_minimum_bytes > 0'
	read -rt 1 <> <(:) || :
	end_watch 0
	kill -TERM "$other"
	wait "$other"
	ask_after churn
	ask check
}

@test "a ring that lies, or that somebody holds, costs a record, and the others are looked after" {
	local liar
	start_cache
	liar=$TARGET_PID
	ask lie
	timeout 20 reclaimctl watch -p "$liar" >"$BATS_TEST_TMPDIR/records" 2>"$BATS_TEST_TMPDIR/errors" && status=0 || status=$?
	assert_equal "$status" 1
	ask truth
	start_watch -p "$liar" --period 100ms
	wait_for 10 has_record '.event == "found"'
	end_watch 0
	start_watch -p "$liar" --period 100ms
	wait_for 10 has_record '.event == "found"'
	ask lie
	wait_for 10 has_record ".type == \"error\" and .op == \"look\" and .pid == $liar and .errno == \"EBADMSG\""
	ask truth
	wait_for 10 has_record '.type == "reclaim"'
	end_watch 3
	start_cache
	ask lock
	start_watch -p "$liar" "$TARGET_PID" --period 100ms
	wait_for 20 has_record ".type == \"error\" and .op == \"sample\" and .pid == $TARGET_PID and .errno == \"ETIMEDOUT\""
	wait_for 20 has_record ".type == \"reclaim\" and .pid == $liar"
	end_watch 3
}

@test "--dry-run says what would be reclaimed and changes nothing" {
	local before
	start_cache
	before=$(ring_of '[.samples, .level, .period_ms, .weighted_minimum_bytes, .bytes, .head] | tostring')
	start_watch -p "$TARGET_PID" --dry-run --period 100ms --grace 300ms -v
	wait_for 10 has_record '.type == "reclaim" and .why == "trim" and .dry_run'
	kill -STOP "$TARGET_PID"
	wait_for 10 has_record ".type == \"reclaim\" and .why == \"stopped\" and .dry_run and .wanted_bytes == $RING"
	kill -CONT "$TARGET_PID"
	end_watch 0
	assert_equal "$(summary '.entries + .bytes')" 0
	assert_equal "$(ring_of '[.samples, .level, .period_ms, .weighted_minimum_bytes, .bytes, .head] | tostring')" "$before"
	check_cache
}

@test "a pidfd names a process, and the service manager hears when it is ready" {
	local socket=$BATS_TEST_TMPDIR/notify
	start_cache
	listen_for_notification "$socket"
	NOTIFY_SOCKET=$socket timeout 30 python3 - "$TARGET_PID" >"$BATS_TEST_TMPDIR/records" 3>&- <<-'RUN' &
		import os, sys
		fd = os.pidfd_open(int(sys.argv[1]))
		os.set_inheritable(fd, True)
		os.execlp("reclaimctl", "reclaimctl", "watch", "--pidfd", str(fd), "--interval", "50ms")
	RUN
	WATCH=$!
	wait_for 20 grep -qx READY=1 "$BATS_TEST_TMPDIR/heard"
	kill -KILL "$TARGET_PID"
	wait_ended "$TARGET_PID"
	wait "$WATCH"
	RECORDS=$BATS_TEST_TMPDIR/records
	assert_equal "$(summary .op)" watch
}

@test "idle, it takes next to no time of a processor" {
	local ticks
	start_cache
	start_watch -p "$TARGET_PID" --interval 1s --period 3600
	wait_for 10 has_record '.event == "found"'
	ticks() {
		sed 's/.*) //' "/proc/$WATCH/stat" | awk '{ print $12 + $13 }'
	}
	ticks=$(ticks)
	read -rt 2 <> <(:) || :
	(($(ticks) - ticks <= 5))
	end_watch 0 INT
}

# watch_fails STATUS PATTERN OPTION...: refused at once, with one line.
watch_fails() {
	local wanted=$1 pattern=$2
	shift 2
	run -"$wanted" --separate-stderr timeout 20 reclaimctl watch "$@" 3>&-
	assert_equal "${#stderr_lines[@]}" 1
	assert_regex "$stderr" "^reclaimctl watch: "
	assert_regex "$stderr" "$pattern"
}

@test "bad input is refused before anything is done" {
	local p option
	start_cache
	p=(-p "$TARGET_PID")
	watch_fails 2 'which processes'
	watch_fails 2 'not a process id' -p nobody
	watch_fails 2 'not a process id' -p "$TARGET_PID" 0
	watch_fails 2 'give one of them' "${p[@]}" --pidfd 0
	watch_fails 2 '--pidfd: x is not a descriptor' --pidfd x
	watch_fails 2 'not a pidfd' --pidfd 0
	for option in --interval --period --grace; do
		for value in soon 1.5x -1 86401 86401s; do
			watch_fails 2 "$option: .* is not a time" "${p[@]}" "$option=$value"
		done
	done
	watch_fails 2 '--interval: 0 ' "${p[@]}" --interval 0
	watch_fails 2 '--period: 9ms ' "${p[@]}" --period 9ms
	watch_fails 2 '--margin: .* not a size' "${p[@]}" --margin much
	watch_fails 2 '--margin: .* not a size' "${p[@]}" --margin=-1
	for option in --warning --critical; do
		for value in some most:150ms/1s some:2s/1s; do
			watch_fails 2 "$option: .* neither none nor like some:150ms/2s" "${p[@]}" "$option" "$value"
		done
	done
	watch_fails 2 'unknown' "${p[@]}" --format=xml
	assert_equal "$(ring_of .samples)" 0
}

@test "exit codes tell what is wrong with a process" {
	start_with_input contents text 16384
	watch_fails 7 'reclaimctl run' -p "$TARGET_PID"
	watch_fails 6 'no such process|No such process' -p 4194303
	start_cache
	run -4 --separate-stderr as_nobody reclaimctl watch -p "$TARGET_PID" 3>&-
	assert_equal "${#stderr_lines[@]}" 1
	run -5 --separate-stderr unshare --mount bash -c 'mount -t tmpfs none /proc/pressure && exec timeout 20 "$@"' - \
		reclaimctl watch -p "$TARGET_PID" --warning some:150ms/2s 3>&-
	assert_regex "$stderr" 'does not account for pressure'
}

@test "the examples in the man page work, and all that records say is described" {
	local line key count=0
	load examples_helper
	# found_pid PID OUTPUT: of the watch.
	found_pid() {
		jq -es "any(.[]; .event? == \"found\" and .pid == $TARGET_PID)" "$2" >/dev/null 2>&1
	}
	start_cache
	export PID=$TARGET_PID RECORDS=$BATS_TEST_TMPDIR/watch
	while read -r line; do
		count=$((count + 1))
		run_until_told reclaimctl.1 "$line" found_pid
		cat "$BATS_TEST_TMPDIR/example.out" >>"$BATS_TEST_TMPDIR/all"
	done < <(examples reclaimctl.1 | grep '^reclaimctl watch ')
	((count >= 2))
	start_watch -p "$TARGET_PID" --period 100ms -v
	wait_for 10 has_record '.type == "reclaim"'
	end_watch 0
	run jq -r 'keys[], .type, .why // empty, .event // empty' "$BATS_TEST_TMPDIR/all" "$RECORDS"
	for key in $(sort -u <<<"$output"); do
		grep -qwF -- "$key" "$ROOT/man/uvm-json.5" || fail "$key is not described"
	done
	grep -qw refused_entries <<<"$output"
}
