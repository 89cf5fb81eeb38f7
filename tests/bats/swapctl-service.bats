#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# swapctl(1), addrspace(1): the processes that serve faults depend on nothing of whoever started them.

bats_require_minimum_version 1.5.0
load swap_helper

MEBIBYTE=1048576

# The processes of the target's session: supervisor, worker and keeper.
session_processes() {
	local pid
	for pid in $(our_processes); do
		grep -qx 'swapctl-\(super\|worker\|keeper\)' "/proc/$pid/comm" && echo "$pid"
	done
}

# Whether the soft limit is as high as the hard one, which only CAP_SYS_RESOURCE could raise.
has_most() {
	awk -v name="$2" 'index($0, name) == 1 { found = $(NF - 2) == $(NF - 1) } END { exit !found }' "/proc/$1/limits"
}

has_no_cores() {
	awk '/^Max core file size/ { found = $5 == 0 } END { exit !found }' "/proc/$1/limits"
}

# As little as lets the command start.
with_little() {
	(
		ulimit -S -n 40 -f 1000 -c unlimited -l 64 -t 600 -u 10000
		ulimit -S -v 4000000
		trap '' CHLD HUP USR1 TSTP
		umask 0
		exec env --block-signal=USR2,TERM,CHLD "$@" 3>&-
	)
}

@test "the processes of a session have their own limits, umask, signals and session, whatever they are started with" {
	local pid limit count=0 protected=()
	start_contents mixed $((8 * MEBIBYTE))
	with_little swapctl out -p "$TARGET_PID" >/dev/null
	for pid in $(session_processes); do
		count=$((count + 1))
		# The keeper may open none.
		[[ $(<"/proc/$pid/comm") == swapctl-keeper ]] || has_most "$pid" "Max open files"
		for limit in "file size" "address space" "data size" "locked memory" "cpu time"; do
			has_most "$pid" "Max $limit"
		done
		has_no_cores "$pid"
		assert_equal "$(awk '/^Umask/ { print $2 }' "/proc/$pid/status")" 0077
		# SIGPIPE and SIGXFSZ, and nothing else.
		assert_equal "$(awk '/^SigIgn/ { print $2 }' "/proc/$pid/status")" 0000000001001000
		# Neither SIGUSR1 nor SIGUSR2.
		(((0x$(awk '/^SigBlk/ { print $2 }' "/proc/$pid/status") & 0xa00) == 0))
		protected+=("$(<"/proc/$pid/oom_score_adj")")
		assert_equal "$(readlink "/proc/$pid/cwd")" /
		[[ $(sed 's/.*) //' "/proc/$pid/stat" | cut -d' ' -f4) != "$(cut -d' ' -f6 /proc/self/stat)" ]]
	done
	assert_equal "$count" 3
	# All or none: a session is of no use without one of them.
	assert_equal "${protected[0]}" "${protected[1]}"
	assert_equal "${protected[0]}" "${protected[2]}"
	if echo -1000 2>/dev/null >"/proc/$BASHPID/oom_score_adj"; then
		assert_equal "${protected[0]}" -1000
	fi
	ask check
}

# state_of PID: T when it is stopped.
state_of() {
	sed 's/.*) \(.\).*/\1/' "/proc/$1/stat"
}

is_stopped() {
	[[ $(state_of "$1") == T ]]
}

start_in_foreground() {
	# A group of its own in this session: one without a shell to look after it would not be stopped.
	python3 -c 'import os, sys; os.setpgrp(); os.execvp(sys.argv[1], sys.argv[1:])' \
		swapctl "$@" --foreground >"$BATS_TEST_TMPDIR/front" 3>&- &
	FRONT=$!
	end_later "$FRONT"
	wait_for 10 grep -q '"type":"session"' "$BATS_TEST_TMPDIR/front"
}

@test "signals of a terminal stop the front process of a session at most, and end it as SIGTERM does" {
	local signal
	start_contents mixed $((8 * MEBIBYTE))
	start_in_foreground attach -p "$TARGET_PID"
	for signal in TSTP TTIN TTOU STOP; do
		out_region
		kill -"$signal" -- -"$FRONT"
		wait_for 10 is_stopped "$FRONT"
		ask check
		kill -CONT -- -"$FRONT"
	done
	for signal in TERM INT QUIT HUP; do
		[[ $signal == TERM ]] || start_in_foreground attach -p "$TARGET_PID"
		out_region
		kill -"$signal" -- -"$FRONT"
		wait "$FRONT"
		wait_for 20 no_session
	done
	ask check
}

# In KiB, of all processes of the session, without the files that they map: how much of those is theirs depends on who else has them.
session_takes() {
	local pid
	for pid in $(session_processes); do
		cat "/proc/$pid/smaps_rollup"
	done | awk '/^Pss_(Anon|Shmem):/ { sum += $2 } END { print sum }'
}

@test "a session takes 2 MiB and 0.3 percent of what is out, and no more when all came back and left again" {
	local out=$((48 * MEBIBYTE)) takes
	start_with_input contents mixed "$out"
	for _ in 1 2; do
		swap_most out -p "$TARGET_PID"
		takes=$(session_takes)
		echo "it takes $takes KiB"
		((takes > 0 && takes <= 2048 + out * 3 / 1024 / 1000))
		ask check
		takes=$(session_takes)
		echo "it takes $takes KiB after faults"
		((takes > 0 && takes <= 2048 + out * 3 / 1024 / 1000))
	done
}

# In KiB, of all processes of the session: what a lack of memory could take from them. The kernel's own mapping and secret memory stay of themselves.
not_locked() {
	local pid
	for pid in $(session_processes); do
		cat "/proc/$pid/smaps"
	done | awk '/^[0-9a-f]+-/ { stays = /\[vdso\]|secretmem/ } /^Pss:/ { pss = $2 } /^VmFlags:/ && !/ (lo|io|pf) / && !stays { sum += pss } END { print sum + 0 }'
}

@test "what serves faults stays locked in memory when a swap-out has given its own back" {
	start_with_input contents mixed $((16 * MEBIBYTE))
	for _ in 1 2; do
		swap_most out -p "$TARGET_PID"
		(($(not_locked) == 0))
		ask check
	done
}
