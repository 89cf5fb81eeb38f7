#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# --quiet, for cron: nothing is printed when all was done, and a line when it was not; and --no-summary.

# shellcheck disable=SC2030,SC2031,SC2154 # each test is a process of its own; run sets $stderr
bats_require_minimum_version 1.5.0
load swap_helper

MEBIBYTE=1048576

# silent COMMAND...: it succeeds and prints nothing.
silent() {
	run -0 --separate-stderr timeout -k 5 60 "$@" 3>&-
	assert_equal "$output$stderr" ""
}

# one_line CODE PATTERN COMMAND...: it ends so, and prints a line on standard error.
one_line() {
	local code=$1 pattern=$2
	shift 2
	run "-$code" --separate-stderr timeout -k 5 60 "$@" 3>&-
	assert_equal "$output" ""
	assert_equal "${#stderr_lines[@]}" 1
	assert_regex "$stderr" "$pattern"
}

@test "tools that look print nothing, in each format" {
	local format
	start_target touch anon every $((4 * MEBIBYTE))
	for format in json table raw; do
		silent superpages -q -p "$TARGET_PID" --format "$format"
		silent superpages -q --summary -p "$TARGET_PID" --format "$format"
		silent addrspace list -q -p "$TARGET_PID" --format "$format"
		silent addrspace info -q -p "$TARGET_PID" --format "$format"
		silent reclaimctl status -q --format "$format"
		silent uffd-probe --quiet --format "$format"
		silent swapctl status -q --format "$format"
	done
	silent uffd-probe -q --require move
	one_line 6 '^superpages: cannot open process 4194303: no such process$' superpages -q -p 4194303
	run -4 --separate-stderr as_nobody uffd-probe -q -p "$TARGET_PID"
	assert_equal "$output" ""
	assert_regex "$stderr" '^uffd-probe: cannot do all of it: .*CAP_SYS_PTRACE is missing'
	assert_equal "${#stderr_lines[@]}" 1
}

@test "verbs that change something print nothing, and do it" {
	local file=$BATS_TEST_TMPDIR/metrics
	start_with_input contents text $((4 * MEBIBYTE))
	silent swapctl attach -q -p "$TARGET_PID"
	silent swapctl out -q -p "$TARGET_PID"
	(($(status_of .out_pages) >= 1024))
	silent swapctl status -q -p "$TARGET_PID" --format openmetrics --output "$file"
	grep -q '^# EOF' "$file"
	silent swapctl check -q -p "$TARGET_PID"
	silent swapctl in -q -p "$TARGET_PID"
	assert_equal "$(status_of .out_pages)" 0
	ask check
	silent swapctl detach -q -p "$TARGET_PID"
	silent swapctl auto -q --once --min-saved 0 --store memory -p "$TARGET_PID"
	silent swapctl detach -q -p "$TARGET_PID"
	silent uffd-move -q --watch 0.1 -p "$TARGET_PID"
	silent uffd-move -q -n -p "$TARGET_PID" --src "$START" --length 1M
	silent addrspace alloc -q -p "$TARGET_PID" 64K
	silent addrspace protect -q -p "$TARGET_PID" "$START-$END" --protection rw
	one_line 7 '^swapctl detach: cannot .*it has no session' swapctl detach -q -p "$TARGET_PID"
	ask check
}

@test "a move of which only the records know where it went is refused" {
	start_with_input mover_contents text $((4 * MEBIBYTE))
	one_line 2 'nothing would tell where they went' uffd-move -q --yes -p "$TARGET_PID" --src "$START" --length 4M
	ask check
}

@test "what is done in part has a line" {
	start_with_input mover_contents text $((4 * MEBIBYTE))
	# One page of the destination is there already.
	ask mark "$EXTRA" 4096
	one_line 3 "^uffd-move: cannot do all of it in process $TARGET_PID: .*" \
		uffd-move -q -p "$TARGET_PID" --src "$START" --dst "$EXTRA" --length 4M
}

# the_rest COMMAND...: --no-summary leaves out the summary, and nothing else.
the_rest() {
	run -0 --separate-stderr "$@"
	assert_equal "$(tail -n 1 <<<"$output" | jq -r .type)" summary
	local all
	all=$(head -n -1 <<<"$output")
	run -0 --separate-stderr "$@" --no-summary
	assert_equal "$output" "$all"
}

@test "without a summary there are the other records, and who reads them says that they may not be all" {
	start_target touch anon every $((4 * MEBIBYTE))
	kill -STOP "$TARGET_PID"
	the_rest superpages -p "$TARGET_PID"
	the_rest superpages --summary -p "$TARGET_PID"
	the_rest addrspace list -p "$TARGET_PID"
	run -0 superpages -p "$TARGET_PID" --format table --no-summary
	refute_line --regexp 'superpages? of .*resident'
	superpages -p "$TARGET_PID" --no-summary >"$BATS_TEST_TMPDIR/regions"
	run -0 --separate-stderr swapctl out -n -r "$BATS_TEST_TMPDIR/regions" --no-summary
	assert_regex "$stderr" 'may not be all: they end without a summary'
	refute_output --partial '"summary"'
	run -2 --separate-stderr addrspace unmap -r "$BATS_TEST_TMPDIR/regions"
	assert_regex "$stderr" 'cannot use the regions of .*: they end without a summary'
}

@test "rings are reclaimed without a word" {
	start_with_input ring 16 65536 free
	silent reclaimctl flush -q --all -p "$TARGET_PID"
	silent reclaimctl list -q -p "$TARGET_PID"
}
