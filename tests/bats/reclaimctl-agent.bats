#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# reclaimctl flush by the second way into a program: by the agent of the program.

load swap_helper
load reclaim_helper

# start_agent_ring COUNT BYTES ACTION [THREADS]: a target with a ring and an agent.
start_agent_ring() {
	UVM_ACCESS=agent start_with_input ring "$@"
}

client() {
	run timeout 60 python3 "$ROOT/tests/bats/reclaim_client.py" "$TARGET_PID" "$@" 3>&-
	assert_success
	assert_output ok
}

lock_is_free() {
	timeout 20 reclaimctl flush -p "$TARGET_PID" -n 1 >/dev/null 2>&1 3>&-
}

@test "over the agent all is reclaimed, no thread is stopped, and ptrace is not used" {
	start_agent_ring 100 65536 mixed
	reclaim_ok flush -p "$TARGET_PID" -n 20 -v --access agent
	assert_equal "$(summary '[.entries, .bytes, .errors, .left_entries, .access, .stops] | join(" ")')" "20 1310720 0 80 agent 0"
	assert_equal "$(record 'map(select(.type == "region")) | length')" 20
	assert_equal "$(states)" "unreclaimed=80 freed=10 deallocated=10 busy=0 mapped=90"
	ask enter
	run timeout 60 "$UVM_BUILD/targets/probe_deny" kill ptrace reclaimctl flush -p "$TARGET_PID" --all --access agent 3>&-
	assert_success
	assert_equal "$(states)" "unreclaimed=0 freed=50 deallocated=50 busy=0 mapped=50"
}

@test "large regions go piece by piece, and their memory is free" {
	local before
	start_agent_ring 3 67108864 mixed
	before=$(rss_anon)
	reclaim_ok flush -p "$TARGET_PID" --all --access agent
	(($(rss_anon) < before - 190000000))
	assert_equal "$(states)" "unreclaimed=0 freed=1 deallocated=2 busy=0 mapped=1"
}

@test "the agent is taken by itself where ptrace is denied or fatal, and where somebody traces already" {
	local verdict folder
	start_agent_ring 40 65536 mixed
	folder=$TARGET_DIR
	for verdict in eperm kill; do
		run timeout 60 "$UVM_BUILD/targets/probe_deny" "$verdict" ptrace reclaimctl flush -p "$TARGET_PID" -n 10 3>&-
		assert_success
		assert_equal "$(jq -r .access <<<"$output")" agent
	done
	reclaim_ok flush -p "$TARGET_PID" -n 10
	assert_equal "$(summary .access)" ptrace
	start_target tracer "${TARGETS[0]}"
	reclaim_fails 1 ".*being traced by tracer" flush -p "${TARGETS[0]}" --all --access ptrace
	reclaim_ok flush -p "${TARGETS[0]}" --all
	assert_equal "$(summary '[.access, .entries] | join(" ")')" "agent 10"
	TARGET_DIR=$folder
	assert_equal "$(states)" "unreclaimed=0 freed=20 deallocated=20 busy=0 mapped=20"
}

@test "where neither road can be taken it is said of both, and a road that there is not" {
	start_ring 4 65536 free
	run timeout 60 "$UVM_BUILD/targets/probe_deny" eperm ptrace reclaimctl flush -p "$TARGET_PID" --all 3>&-
	assert_failure 4
	assert_output --partial "ptrace: a seccomp filter forbids ptrace; agent: it has no swap agent"
	reclaim_fails 4 "reclaim in process $TARGET_PID: it has no swap agent \(start it with" flush -p "$TARGET_PID" --all --access agent
	reclaim_fails 2 "use --access: rail is none of auto, ptrace, agent" flush -p "$TARGET_PID" --all --access rail
	assert_equal "$(states)" "unreclaimed=4 freed=0 deallocated=0 busy=0 mapped=4"
}

@test "while a session uses the agent it does not reclaim" {
	start_agent_ring 20 65536 mixed
	swap_ok attach -p "$TARGET_PID" --access agent
	reclaim_fails 1 ".*a session uses its agent \(detach it first" flush -p "$TARGET_PID" --all --access agent
	swap_ok detach -p "$TARGET_PID"
	reclaim_ok flush -p "$TARGET_PID" --all --access agent
	assert_equal "$(states)" "unreclaimed=0 freed=10 deallocated=10 busy=0 mapped=10"
}

@test "the agent of a stopped process does not answer, and nothing is claimed" {
	start_agent_ring 20 65536 mixed
	kill -STOP "$TARGET_PID"
	wait_for 10 grep -q '^State:.T' "/proc/$TARGET_PID/status"
	reclaim_fails 1 ".*its agent does not answer" flush -p "$TARGET_PID" --all --access agent
	reclaim_ok status -p "$TARGET_PID"
	assert_equal "$(record '.[0] | [.head, .busy] | join(" ")')" "0 0"
	kill -CONT "$TARGET_PID"
	assert_equal "$(states)" "unreclaimed=20 freed=0 deallocated=0 busy=0 mapped=20"
}

@test "the agent refuses what the ring does not say, and serves one reclaimer at a time" {
	start_agent_ring 20 65536 mixed
	client nonsense
	client waits
	assert_equal "$(states)" "unreclaimed=20 freed=0 deallocated=0 busy=0 mapped=20"
	ask enter
	reclaim_ok flush -p "$TARGET_PID" --all --access agent
	assert_equal "$(states)" "unreclaimed=0 freed=10 deallocated=10 busy=0 mapped=10"
}

@test "the lock of a reclaimer that was killed, or gave up, lasts until the agent has done what it asked for" {
	start_agent_ring 20000 4096 mixed
	client interrupted kill
	reclaim_fails 1 ".*another reclaimer has been at it" flush -p "$TARGET_PID" -n 1 --access ptrace
	kill -CONT "$TARGET_PID"
	wait_for 10 lock_is_free
	client interrupted wait
	kill -CONT "$TARGET_PID"
	wait_for 10 lock_is_free
	reclaim_ok flush -p "$TARGET_PID" --all --access agent
	ask check
	assert_regex "$answer" "^ok unreclaimed=0 freed=10000 deallocated=10000 busy=0 "
}

@test "two reclaimers, over the agent or not, one of them killed again and again: no memory is lost or reclaimed twice" {
	local ways
	start_agent_ring 500 16384 mixed 4
	for ways in "agent agent" "agent ptrace" "ptrace agent"; do
		# shellcheck disable=SC2086
		run kill_flushes 20 5 $ways
		assert_success
	done
	ask stop
	reclaim_ok flush -p "$TARGET_PID" --all --access agent
	ask check
}
