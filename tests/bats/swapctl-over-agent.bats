#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# swapctl(1) by the second way into a program: what other files promise holds of programs with a swap agent, too.

bats_require_minimum_version 1.5.0
load swap_helper

# over_agent FILE [FILTER]: the tests of another file, on programs that have an agent and sessions that use nothing else.
over_agent() {
	local name clean=()
	for name in ${!BATS_*}; do
		clean+=(-u "$name")
	done
	env "${clean[@]}" UVM_ACCESS=agent timeout 1200 bats ${2:+--filter "$2"} "$ROOT/tests/bats/$1" 3>&-
}

@test "what holds of contents, options and requests holds over the agent" {
	over_agent swapctl.bats
}

@test "what holds of forks, remaps and discards holds over the agent" {
	over_agent swapctl-events.bats
}

@test "threads and system calls see no wrong byte over the agent" {
	over_agent swapctl-threads.bats 'sees none|system calls|verify'
}

@test "killed workers cost nothing over the agent" {
	over_agent swapctl-crash.bats 'killed under them|at rest'
}

@test "sessions whose processes were killed are replaced and adopted over the agent" {
	over_agent swapctl-recover.bats 'killed is replaced|both are killed|outlives both|again and again|forked child'
}
