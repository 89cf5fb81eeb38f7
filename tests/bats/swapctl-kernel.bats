#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# swapctl --store kernel: pages go to the swap that the machine has, here a zram device that this file makes and removes.

# shellcheck disable=SC2030,SC2031,SC2317 # each test is a process of its own
bats_require_minimum_version 1.5.0
load swap_helper

MEBIBYTE=1048576

setup_file() {
	load zram_helper
	zram_on || :
}

teardown_file() {
	load zram_helper
	zram_off
}

setup() {
	begin_swap_test
	[[ ${ZRAM-} ]] || skip "this kernel has no zram"
}

vm_swap() {
	awk '/^VmSwap:/ { print $2 * 1024 }' "/proc/$TARGET_PID/status"
}

# Faults of the target that waited for a device or for decompression.
major_faults() {
	sed 's/.*) //' "/proc/$TARGET_PID/stat" | awk '{ print $10 }'
}

@test "pages leave for the swap of the machine, without a session, and come back as they were" {
	start_contents text $((16 * MEBIBYTE))
	snapshot
	swap_most out -p "$TARGET_PID" --store kernel
	(($(vm_swap) >= 15 * MEBIBYTE))
	assert_equal "$(summary .store)" kernel
	(($(summary .moved_bytes) >= 16 * MEBIBYTE))
	has_record ".type == \"region\" and .op == \"out\" and .start == \"0x$START\" and .moved_bytes == 16777216 and .skipped_bytes == 0"
	run ! compgen -G "$SESSIONS/$TARGET_PID.*"
	ask check
	(($(vm_swap) < MEBIBYTE))
	unchanged
}

@test "in reads what is in swap before it is touched" {
	local before
	start_contents random $((8 * MEBIBYTE))
	swap_most out -p "$TARGET_PID" --store kernel
	(($(vm_swap) >= 7 * MEBIBYTE))
	swap_ok in -p "$TARGET_PID" --store kernel
	(($(summary .brought_bytes) >= 7 * MEBIBYTE))
	before=$(major_faults)
	ask check
	(($(major_faults) - before <= 20))
}

@test "regions, a limit in bytes and a dry run mean what they mean with a session" {
	start_contents random $((8 * MEBIBYTE))
	echo "{\"type\":\"region\",\"start\":\"0x$START\",\"end\":\"$(printf '0x%x' $((0x$START + 2 * MEBIBYTE)))\"}" >"$BATS_TEST_TMPDIR/regions"
	swap_ok out -p "$TARGET_PID" --store kernel -r "$BATS_TEST_TMPDIR/regions" -n
	assert_equal "$(summary .would_move_bytes)" $((2 * MEBIBYTE))
	assert_equal "$(vm_swap)" 0
	swap_ok out -p "$TARGET_PID" --store kernel -r "$BATS_TEST_TMPDIR/regions"
	assert_equal "$(summary '[.asked_bytes, .moved_bytes, .regions] | tostring')" '[2097152,2097152,1]'
	swap_ok out -p "$TARGET_PID" --store kernel -r "$BATS_TEST_TMPDIR/regions"
	assert_equal "$(record '.[0].skipped | tostring')" '{"not-resident":2097152}'
	swap_most out -p "$TARGET_PID" --store kernel --bytes 1001K
	assert_equal "$(summary .moved_bytes)" $((1000 * 1024))
	ask check
}

@test "what the kernel cannot do is refused with the reason, and nothing is done" {
	local p
	start_contents text $((4 * MEBIBYTE))
	p=(-p "$TARGET_PID" --store kernel)
	head -n 1 /proc/swaps >"$BATS_TEST_TMPDIR/swaps"
	run -5 --separate-stderr unshare -m sh -c 'mount --bind "$1" /proc/swaps && shift && exec "$@"' _ "$BATS_TEST_TMPDIR/swaps" swapctl out "${p[@]}" 3>&-
	assert_regex "$stderr" '^swapctl out: .*: the machine has no swap \(.*swapon'
	run -4 --separate-stderr as_nobody swapctl out "${p[@]}" 3>&-
	assert_equal "${#stderr_lines[@]}" 1
	swap_fails 2 '--limit: not with --store kernel' out "${p[@]}" --limit 1M
	swap_fails 2 '--cluster: not with --store kernel' auto "${p[@]}" --cluster 4K
	swap_fails 2 'makes no session' attach "${p[@]}"
	swap_fails 2 '--store: only kernel' in -p "$TARGET_PID" --store memory
	assert_equal "$(vm_swap)" 0
	swap_ok attach -p "$TARGET_PID"
	swap_fails 2 'it has a session' out "${p[@]}"
	swap_fails 2 'it has a session' auto "${p[@]}"
	swap_ok detach -p "$TARGET_PID"
}

@test "auto puts the cold half of a program into the swap of the machine, and leaves the hot half alone" {
	local cold=$((8 * MEBIBYTE)) auto
	start_with_input hotcold $((2 * cold))
	swapctl auto -p "$TARGET_PID" --store kernel --interval 1 --explain >"$BATS_TEST_TMPDIR/auto" 2>"$BATS_TEST_TMPDIR/auto.errors" 3>&- &
	auto=$!
	end_later "$auto"
	is_settled() {
		local swapped
		swapped=$(vm_swap)
		((swapped >= cold * 95 / 100 && swapped <= cold + 2 * MEBIBYTE)) && [[ $(<"$BATS_TEST_TMPDIR/auto") == *'"refault"'* ]]
	}
	wait_for 30 is_settled
	run ! compgen -G "$SESSIONS/$TARGET_PID.*"
	status=0
	kill -TERM "$auto"
	wait "$auto" || status=$?
	assert_equal "$(<"$BATS_TEST_TMPDIR/auto.errors")" ""
	assert_equal "$status" 0
	jq -se 'map(select(.type == "round")) | length > 0 and all(.pool_bytes == 0)' "$BATS_TEST_TMPDIR/auto"
	ask stop
}
