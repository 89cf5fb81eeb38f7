#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# The model of the reclaim ring holds in a small bound, and each of its parts is needed: without it the checker finds what goes wrong. "make model" looks further.

setup() {
	load /usr/lib/bats/bats-support/load
	load /usr/lib/bats/bats-assert/load
	MODEL=$BATS_TEST_DIRNAME/../model/run
}

# must_find FAULT WHAT: the checker ends with that violated assertion when the model has this fault.
must_find() {
	run timeout 120 "$MODEL" "-D$1"
	assert_failure 1
	assert_line --regexp "^pan:1: assertion violated .*$2"
}

@test "the protocol holds in every interleaving of a small bound" {
	run timeout 120 "$MODEL"
	assert_success
	assert_output --partial 'errors: 0'
}

@test "without a fence in cancel, enter or claim a region is both reused and reclaimed" {
	must_find NO_FENCE_CANCEL 'dropped'
	must_find NO_FENCE_ENTER 'dropped'
	must_find NO_FENCE_CLAIM 'dropped'
}

@test "a reclaimer that does not look at tail again takes an entry that is being taken back" {
	must_find NO_LOWER '(dropped|one==other|state)'
}

@test "the batch of a dead reclaimer must not be unmapped again, nor dropped where something else may be" {
	must_find REDO_UNMAPS 'unmapped'
	must_find REDO_DROPS 'unmapped'
}

@test "the batch of a dead reclaimer must not be lowered: part of it may be reclaimed" {
	must_find REDO_LOWERS 'dropped'
}

@test "a full ring must not take one more" {
	must_find NO_HEAD_CHECK '(unmapped|dropped|state)'
}
