#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Processes that may not be looked at, or that are not there: each kind has its own reason, and what to do about it.

# shellcheck disable=SC2030,SC2031,SC2154 # each test is a process of its own; run sets $stderr
# shellcheck disable=SC2016 # other shells expand it
bats_require_minimum_version 1.5.0
load swap_helper

COMMANDS=("superpages" "addrspace list" "swapctl attach" "reclaimctl status" "uffd-move --watch=1")

# Without CAP_SYS_PTRACE, as root in a container is.
in_container() {
	setpriv --bounding-set -sys_ptrace,-perfmon --inh-caps -sys_ptrace,-perfmon "$@"
}

# refused CODE WHY HINT RUNNER...: every command, run by it on $TARGET_PID, fails with one line that says both.
refused() {
	local code=$1 why=$2 hint=$3 command
	shift 3
	for command in "${COMMANDS[@]}"; do
		# shellcheck disable=SC2086
		run "-$code" --separate-stderr "$@" $command -p "$TARGET_PID"
		assert_equal "$output" ""
		assert_equal "${#stderr_lines[@]}" 1
		assert_regex "$stderr" "^${command%% --*}: cannot .* process $TARGET_PID( \(.*\))?: $why \($hint\)$"
	done
}

@test "a process of another user" {
	start_target touch anon one
	refused 4 "it is another user's, and CAP_SYS_PTRACE is missing" "run it as root or as the owner of the process" as_nobody
}

@test "a process of another user, for root without CAP_SYS_PTRACE" {
	start_target /usr/bin/setpriv --reuid 65534 --regid 65534 --clear-groups "$UVM_BUILD/targets/touch" anon one
	refused 4 "it is another user's, and CAP_SYS_PTRACE is missing" "give CAP_SYS_PTRACE .to a container: --cap-add SYS_PTRACE.*" in_container
}

@test "a process with more capabilities" {
	start_target touch anon one
	refused 4 "it has capabilities that this program lacks, and CAP_SYS_PTRACE is missing" "give CAP_SYS_PTRACE .*" in_container
}

@test "a process that is not dumpable" {
	start_target /usr/bin/setpriv --reuid 65534 --regid 65534 --clear-groups "$UVM_BUILD/targets/probe_hold" undumpable
	refused 4 "it is not dumpable: it changed its user, or asked for that" "run as root .*" as_nobody
}

@test "a process outside of the user namespace" {
	unshare -U true 2>/dev/null || skip "no user namespaces here"
	start_target touch anon one
	refused 4 "it is outside of this user namespace, where CAP_SYS_PTRACE does not count" "run in the user namespace .*" unshare -Ur
}

hiding() {
	unshare -m sh -c 'mount -t proc -o hidepid=2 proc /proc && exec setpriv --reuid 65534 --regid 65534 --clear-groups "$@"' sh "$@"
}

@test "a process that /proc hides" {
	start_target touch anon one
	refused 4 "/proc hides it \(hidepid\), as it does all processes of other users" "run it as root .*" hiding
}

@test "a number of outside, in a pid namespace" {
	start_target touch anon one
	refused 6 "no such process" "in this pid namespace processes have other numbers than outside" unshare --pid --fork --mount-proc
}

@test "any number, where /proc is that of another pid namespace" {
	local command
	start_target touch anon one
	for command in "${COMMANDS[@]}"; do
		for TARGET_PID in 1 "$TARGET_PID"; do
			# shellcheck disable=SC2086
			run -2 --separate-stderr unshare --pid --fork $command -p "$TARGET_PID"
			assert_regex "$stderr" "^${command%% --*}: cannot look for processes: /proc is that of another pid namespace, or not mounted \(mount .*\)$"
		done
	done
}

@test "the number that a process has in its own pid namespace" {
	local outer
	start_target /usr/bin/unshare --pid --fork --kill-child --mount-proc sh -c '
		echo $(($(cat /proc/sys/kernel/pid_max) - 300)) >/proc/sys/kernel/ns_last_pid
		"$0" anon one &
		echo "ready $!"
		wait' "$UVM_BUILD/targets/touch"
	outer=$(pgrep -P "$(pgrep -P "$TARGET_PID")")
	TARGET_PID=$TARGET_READY
	[[ ! -d /proc/$TARGET_PID ]] || skip "a process has the number outside, too"
	refused 6 "no such process" "process $outer has that number in its own pid namespace: name it by $outer"
}

@test "a number that no process has" {
	local command
	for command in "${COMMANDS[@]}"; do
		# shellcheck disable=SC2086
		run -6 --separate-stderr $command -p 4194303
		assert_equal "$stderr" "${command%% --*}: cannot open process 4194303: no such process"
	done
}

@test "a thread of the kernel" {
	local command
	for command in "${COMMANDS[@]}"; do
		# shellcheck disable=SC2086
		run -2 --separate-stderr $command -p 2
		assert_equal "$stderr" "${command%% --*}: cannot work on process 2 (kthreadd): it is a kernel thread and has no memory of its own"
	done
}

# tracing_rule SCOPE: uffd-probe as nobody, where kernel.yama.ptrace_scope is that.
tracing_rule() {
	unshare -m sh -c 'mount -t tmpfs none /proc/sys/kernel && mkdir /proc/sys/kernel/yama && echo "$0" >/proc/sys/kernel/yama/ptrace_scope &&
		exec setpriv --reuid 65534 --regid 65534 --clear-groups uffd-probe -p "$1"' "$1" "$TARGET_PID"
}

@test "what kernel.yama.ptrace_scope refuses is told by its value" {
	local scope reasons=("lets only its parents trace it" "is 2: without CAP_SYS_PTRACE nobody may trace" "is 3: nobody may trace")
	start_target touch anon one
	for scope in 1 2 3; do
		run -4 --separate-stderr tracing_rule "$scope"
		assert_equal "$(jq -r 'select(.obstacle == "yama").reason' <<<"$output")" "kernel.yama.ptrace_scope ${reasons[scope - 1]}"
	done
}
