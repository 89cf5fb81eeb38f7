#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# swapctl(1), LEAST POWER: what the processes of a session give up, and that the session says what it could not have.

bats_require_minimum_version 1.5.0
load swap_helper

MEBIBYTE=1048576

# The worker's, the supervisor's and the keeper's pid.
session_processes() {
	status_of '.worker_pid, .supervisor_pid'
	keeper_of "$(status_of .worker_pid)"
}

keeper_of() {
	pgrep -P "$1" -x swapctl-keeper
}

# field PID NAME: of /proc/PID/status.
field() {
	sed -n "s/^$2:[[:space:]]*//p" "/proc/$1/status"
}

# Whether root here is the whole of it: some machines keep CAP_SYS_RESOURCE (24) from it, on which limits and the OOM score depend.
may_all() {
	((16#$(field $$ CapEff) >> 24 & 1))
}

# allowed PID: the capabilities that it may have: of a keeper none, of others those for DAC_OVERRIDE, DAC_READ_SEARCH, NET_ADMIN, IPC_LOCK, SYS_PTRACE
# and SYS_NICE; SYS_ADMIN where there is a seccomp filter to be suspended.
allowed() {
	local bits=(1 2 12 14 19 23) bit mask=0
	[[ $(<"/proc/$1/comm") != swapctl-keeper ]] || bits=()
	[[ ! ${FILTERED-} ]] || bits+=(21)
	for bit in "${bits[@]}"; do
		((mask |= 1 << bit))
	done
	echo "$mask"
}

# is_confined PID: all that a process of a session has.
is_confined() {
	assert_equal "$(field "$1" NoNewPrivs)" 1 || return
	assert_equal "$(field "$1" Umask)" 0077 || return
	if [[ ! ${FILTERED-} || $(<"/proc/$1/comm") == swapctl-keeper ]]; then
		assert_equal "$(field "$1" Seccomp)" 2 || return
	fi
	assert_equal "$((16#$(field "$1" CapPrm) & ~$(allowed "$1")))" 0 || return
	assert_regex "$(field "$1" VmLck)" '^[1-9][0-9]* kB$' || return
	assert_regex "$(grep '^Max core file size' "/proc/$1/limits")" ' 0  ' || return
	if may_all; then
		assert_equal "$(<"/proc/$1/oom_score_adj")" -1000 || return
		assert_regex "$(grep '^Max locked memory' "/proc/$1/limits")" ' unlimited  ' || return
	fi
	assert_equal "$(ps -o tty= -p "$1" | tr -d ' ')" '?' || return
	assert_not_equal "$(ps -o sid= -p "$1" | tr -d ' ')" "$(ps -o sid= -p $$ | tr -d ' ')" || return
}

session_is_confined() {
	local pids pid
	mapfile -t pids < <(session_processes)
	assert_equal "${#pids[@]}" 3 || return
	for pid in "${pids[@]}"; do
		is_confined "$pid" || return
	done
	assert_equal "$(status_of '.missing | del(.limits, .oom_score_adj) | keys | join(",")')" "${FILTERED:+seccomp}" || return
	! may_all || assert_equal "$(status_of '.missing | keys | join(",")')" "${FILTERED:+seccomp}"
}

@test "worker, supervisor and keeper are confined, and so are those that come after them" {
	start_contents mixed $((8 * MEBIBYTE))
	swap_ok attach -p "$TARGET_PID"
	session_is_confined
	kill -KILL "$(status_of .worker_pid)"
	wait_for 10 session_is_confined
	kill -KILL "$(status_of .supervisor_pid)"
	wait_for 10 session_is_confined
	ask check
}

@test "a session that may not choose its limits and how it fares when memory runs out says so" {
	start_contents mixed $((8 * MEBIBYTE))
	prlimit --as=$((64 * 1024 * MEBIBYTE)) setpriv --bounding-set=-sys_resource --inh-caps=-sys_resource \
		swapctl attach -p "$TARGET_PID" >"$BATS_TEST_TMPDIR/records" 3>&-
	assert_equal "$(status_of '.missing | keys | join(",")')" limits,oom_score_adj
	assert_regex "$(status_of .missing.oom_score_adj)" 'does not permit'
}

@test "a program that puts a seccomp filter on later is left alone, and is swapped by processes that begin anew" {
	start_with_input sandboxed late $((8 * MEBIBYTE))
	export UVM_ACCESS=ptrace
	swap_most out -p "$TARGET_PID"
	session_is_confined
	ask check
	ask confine
	swap_fails 4 'a seccomp filter that cannot be suspended.*swapctl adopt' out -p "$TARGET_PID"
	ask check
	kill_both
	swap_ok adopt -p "$TARGET_PID"
	FILTERED=1 session_is_confined
	assert_regex "$(status_of .missing.seccomp)" 'a process without one may suspend it'
	swap_most out -p "$TARGET_PID"
	assert_equal "$(resident)" 0
	ask check
	swap_ok detach -p "$TARGET_PID"
	ask check
}

# attach_and_try POINT: a session whose first process that comes to this point tries what it must not do. Sets $mark.
attach_and_try() {
	mark=$BATS_TEST_TMPDIR/tried
	UVM_TRY_AT=$1 UVM_TRY_MARK=$mark "$UVM_BUILD/failpoints/bin/swapctl" attach -p "$TARGET_PID" >/dev/null 3>&-
}

# What became of the trials, in one line.
tried() {
	wait_for 10 test -e "$mark/end"
	(cd "$mark" && echo *)
}

# refused PTRACE CAPABILITY: what has become of the two, when nothing else is to be had.
refused() {
	echo "capability.$2 change.EPERM create.EPERM end execute.EPERM inet.EPERM module.EPERM mount.EPERM ptrace.$1 unshare.EPERM write.EPERM"
}

@test "a worker can neither open a file to write to it, nor execute a program, nor leave its place" {
	start_contents mixed $((8 * MEBIBYTE))
	attach_and_try house
	assert_equal "$(tried)" "$(refused ESRCH "done")"
	swap_ok out -p "$TARGET_PID"
	ask check
}

@test "a keeper can do nothing but keep" {
	start_contents mixed $((8 * MEBIBYTE))
	attach_and_try keeper-asked
	swap_ok out -p "$TARGET_PID"
	ask fork
	assert_equal "$(tried)" "$(refused EPERM EPERM)"
}

@test "what comes from the store, and from clients, is taken apart without capabilities" {
	local how point
	for how in fault in recovery asked; do
		start_contents mixed $((8 * MEBIBYTE))
		mark=$BATS_TEST_TMPDIR/tried.$how
		point=loaded
		[[ $how != asked ]] || point=asked
		UVM_TRY_AT=$point UVM_TRY_MARK=$mark "$UVM_BUILD/failpoints/bin/swapctl" attach -p "$TARGET_PID" >/dev/null 3>&-
		swap_ok out -p "$TARGET_PID"
		case $how in
		in) swap_ok in -p "$TARGET_PID" ;;
		recovery) kill -KILL "$(status_of .worker_pid)" ;;
		esac
		ask check
		assert_equal "$(tried)" "$(refused ESRCH EPERM)"
	done
}
