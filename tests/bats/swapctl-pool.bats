#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# The two tiers of a session: what is staged stays compressed in memory, and is written back to the store when it has not been asked for.

bats_require_minimum_version 1.5.0
load swap_helper

MEBIBYTE=1048576

stage() {
	control "{\"verb\":\"out\",\"stage\":true,\"regions\":[[\"0x$START\",\"0x$END\"]]}"
}

# start_staged PATTERN BYTES [OPTION...]: a target with its memory in the pool.
start_staged() {
	start_contents "$1" "$2"
	shift 2
	swap_ok attach -p "$TARGET_PID" "$@"
	stage
}

@test "staged pages are in memory and not in the store, and come back right" {
	start_staged mixed $((16 * MEBIBYTE))
	(($(resident) == 0))
	assert_equal "$(status_of .store_bytes)" 0
	assert_equal "$(status_of .stored_pages)" 0
	(($(status_of .pool_bytes) > 0 && $(status_of .pool_pages) > 0))
	swap_ok check -p "$TARGET_PID"
	ask check
	assert_equal "$(status_of .pool_bytes)" 0
}

@test "what has been staged for long enough is written to the store, and comes back right from there" {
	local staged pages
	# Nothing is compressed again meanwhile.
	start_staged mixed $((16 * MEBIBYTE)) --compress lz4
	staged=$(status_of .pool_bytes) pages=$(status_of .pool_pages)
	control '{"verb":"writeback","age_ms":0}'
	is_written() {
		control '{"verb":"writeback","age_ms":0}' && [[ $(status_of .pool_bytes) == 0 ]]
	}
	wait_for 5 is_written
	assert_equal "$(status_of .store_bytes)" "$staged"
	assert_equal "$(status_of .stored_pages)" "$pages"
	assert_equal "$(status_of .written_back_pages)" "$pages"
	swap_ok check -p "$TARGET_PID"
	ask check
	assert_equal "$(status_of .store_bytes)" 0
}

@test "what was staged a moment ago is not written back" {
	start_staged text $((4 * MEBIBYTE)) --compress lz4
	control '{"verb":"writeback","age_ms":600000}'
	assert_equal "$(answered .written_back_bytes)" 0
	assert_equal "$(answered .pool_bytes)" "$(status_of .pool_bytes)"
	assert_equal "$(status_of .store_bytes)" 0
}

@test "no more is written back than was allowed" {
	local staged
	start_staged random $((4 * MEBIBYTE))
	staged=$(status_of .pool_bytes)
	some_written() {
		control "{\"verb\":\"writeback\",\"age_ms\":0,\"bytes\":$MEBIBYTE}" && (($(answered .written_back_bytes) > 0))
	}
	wait_for 5 some_written
	(($(answered .written_back_bytes) <= MEBIBYTE))
	assert_equal "$(($(status_of .pool_bytes) + $(status_of .store_bytes)))" "$staged"
	ask check
}

@test "threads see no wrong byte while their pages are staged and written back all the time" {
	start_with_input threads 4 $((16 * MEBIBYTE))
	swap_ok attach -p "$TARGET_PID"
	stage_and_write() {
		control '{"verb":"out","stage":true}' || [[ $(record '.[-1].partial') == true ]]
		control '{"verb":"writeback","age_ms":0}'
	}
	repeat 10 5 stage_and_write
	repeat_until '.written_back_pages > 0' stage_and_write
	assert_equal "$(status_of .poisoned_pages)" 0
	ask stop
	((${answer#ok } > 0))
}

@test "staged and written back pages outlive workers that are killed while they are written back" {
	local worker i
	start_staged mixed $((64 * MEBIBYTE))
	for i in 1 2 3 4 5 6; do
		is_there() {
			worker=$(pid_of worker)
			[[ $worker ]]
		}
		wait_for 5 is_there
		control "{\"verb\":\"writeback\",\"age_ms\":0,\"bytes\":$((i * 4 * MEBIBYTE))}" &
		read -rt "0.00$((RANDOM % 9 + 1))" <> <(:) || :
		kill -KILL "$worker"
		wait "$!" || :
	done
	is_back() {
		(($(status_of .out_pages) > 16000))
	}
	wait_for 5 is_back
	(($(status_of .written_back_pages) > 0))
	swap_ok check -p "$TARGET_PID"
	ask check
	assert_equal "$(status_of .poisoned_pages)" 0
	swap_ok detach -p "$TARGET_PID"
}

# killed WHICH: kills that process of the session and waits for another one.
killed() {
	local old
	old=$(pid_of "$1")
	kill -KILL "$old"
	wait_for 5 another "$1" "$old"
}

@test "what is staged outlives a worker under a supervisor that the worker before it made" {
	start_staged mixed $((16 * MEBIBYTE))
	killed supervisor
	killed worker
	(($(status_of .pool_pages) > 0))
	ask check
	assert_equal "$(status_of .poisoned_pages)" 0
	swap_ok detach -p "$TARGET_PID"
}

@test "what is staged outlives both processes of the session" {
	start_staged mixed $((16 * MEBIBYTE))
	kill_both
	swap_ok adopt -p "$TARGET_PID"
	(($(status_of .pool_pages) > 0))
	ask check
	assert_equal "$(status_of .poisoned_pages)" 0
	swap_ok detach -p "$TARGET_PID"
}

@test "when the store is full, what was staged stays in memory" {
	local staged
	mkdir "$BATS_TEST_TMPDIR/small"
	mount -t tmpfs -o size=2m uvmtools-test "$BATS_TEST_TMPDIR/small" || skip "nothing can be mounted here"
	start_staged random $((8 * MEBIBYTE)) --store "$BATS_TEST_TMPDIR/small"
	staged=$(status_of .pool_bytes)
	is_full() {
		! control '{"verb":"writeback","age_ms":0}'
	}
	wait_for 5 is_full
	assert_regex "$(record '.[-1].error.why')" 'full'
	assert_equal "$(($(status_of .pool_bytes) + $(status_of .store_bytes)))" "$staged"
	ask check
	swap_ok detach -p "$TARGET_PID"
}

@test "a session tells which pages were asked for since it was last asked" {
	start_staged text $((8 * MEBIBYTE))
	control '{"verb":"refaults"}'
	assert_equal "$(record '.[0].touched | length')" 0
	ask check
	control '{"verb":"refaults"}'
	# In turns: number of a page, how many are wanted, milliseconds ago. The walk touched them in order, each once.
	assert_equal "$(record '.[0].touched | [_nwise(3)[0]] | min')" $((0x$START / 4096))
	assert_equal "$(record '[.[0].touched | _nwise(3) | select(.[1] < 1 or .[2] < 0)] | length')" 0
	assert_equal "$(record '.[0].touched | [_nwise(3)[0]] | unique | length')" "$(record '.[0].touched | length / 3')"
	# What came ahead of the walk was wanted, too; behind its last fault that is not known.
	(($(record '[.[0].touched | _nwise(3)[1]] | add') >= 1024))
	(($(record '.[0].pages') >= 1900 && $(record '.[0].pages') <= 2048))
	assert_equal "$(record '.[0].lost_pages')" 0
	control '{"verb":"refaults"}'
	assert_equal "$(record '.[0].touched | length')" 0
}
