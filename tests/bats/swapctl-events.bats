#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# swapctl(1): programs that fork, discard, move and unmap what is swapped out.

bats_require_minimum_version 1.5.0
load swap_helper

MEBIBYTE=1048576

@test "a program whose forked child has ended swaps out all the same" {
	start_with_input forked exited $((64 * MEBIBYTE))
	local before
	before=$(rss_anon)
	swap_most out -p "$TARGET_PID"
	(($(rss_anon) < before / 20))
	(($(summary .moved_bytes) > before * 19 / 20))
	ask check
}

@test "pages shared with a living child stay, and are reported as shared" {
	start_with_input forked living $((64 * MEBIBYTE))
	region "$START" "$END" >"$BATS_TEST_TMPDIR/region"
	swap out -p "$TARGET_PID" -r "$BATS_TEST_TMPDIR/region"
	assert_equal "$status" 0
	assert_equal "$(record '.[0].skipped.shared')" $((64 * MEBIBYTE))
	assert_equal "$(summary .moved_bytes)" 0
	assert_equal "$(resident)" $((64 * MEBIBYTE))
	ask check
}

@test "asking a child that shares its pages copies none of them" {
	if [[ ${UVM_ACCESS:-} == agent ]]; then
		skip "a forked child has no agent"
	fi
	start_with_input forked living $((64 * MEBIBYTE))
	local parent=$TARGET_PID private
	private=$(awk '/^Private_Dirty/ { sum += $2 } END { print sum }' "/proc/$EXTRA/smaps")
	TARGET_PID=$EXTRA
	region "$START" "$END" >"$BATS_TEST_TMPDIR/region"
	swap out -p "$EXTRA" -r "$BATS_TEST_TMPDIR/region"
	assert_equal "$status" 0
	(($(awk '/^Private_Dirty/ { sum += $2 } END { print sum }' "/proc/$EXTRA/smaps") < private + 1024))
	TARGET_PID=$parent
	ask check
}

@test "when the child that shared them has ended the pages leave" {
	start_with_input forked living $((32 * MEBIBYTE))
	region "$START" "$END" >"$BATS_TEST_TMPDIR/region"
	swap out -p "$TARGET_PID" -r "$BATS_TEST_TMPDIR/region"
	ask end
	out_region
	assert_equal "$(resident)" 0
	ask check
}

@test "a child forked while everything is out has the same memory" {
	start_contents mixed $((32 * MEBIBYTE))
	out_region
	ask fork
	wait_for 5 status_is '.events.fork == 1'
	ask check
	out_region
	ask fork
	ask fork
	ask check
	wait_for 5 status_is '.spaces == 1'
}

@test "children forked while pages go out and come in have the same memory" {
	start_contents mixed $((16 * MEBIBYTE))
	local i
	swap_ok attach -p "$TARGET_PID"
	for i in {1..10}; do
		tell fork
		out_and_in
		wait_for 30 has_answers $((i + 1))
	done
	run ! grep wrong "$TARGET_DIR/out"
	ask check
}

@test "detach while a child still has pages out brings them back to the child too" {
	cat >"$BATS_TEST_TMPDIR/parent" <<-'PYTHON'
		import hashlib, os, sys
		data = [os.urandom(2048) * 2 for _ in range(4096)]
		digest = lambda: hashlib.sha256(b"".join(data)).hexdigest()
		before = digest()
		print("ready", flush=True)
		sys.stdin.readline()
		child = os.fork()
		if child == 0:
		    sys.stdin.readline()
		    os._exit(0 if digest() == before else 1)
		print("ok", child, flush=True)
		status = os.waitpid(child, 0)[1]
		print("ok" if status == 0 and digest() == before else "wrong", flush=True)
		sys.stdin.readline()
	PYTHON
	start_with_input /usr/bin/python3 "$BATS_TEST_TMPDIR/parent"
	swap_most out -p "$TARGET_PID"
	ask fork
	swap_ok detach -p "$TARGET_PID"
	wait_for 5 is_session_gone
	ask check
}

@test "a child goes on with what is out when its parent has ended" {
	cat >"$BATS_TEST_TMPDIR/parent" <<-'PYTHON'
		import hashlib, os, signal, sys
		data = [os.urandom(2048) * 2 for _ in range(4096)]
		digest = lambda: hashlib.sha256(b"".join(data)).hexdigest()
		before = digest()
		print("ready", flush=True)
		sys.stdin.readline()
		if os.fork() == 0:
		    print("ok", os.getpid(), flush=True)
		    sys.stdin.readline()
		    print("ok" if digest() == before else "wrong", flush=True)
		    os._exit(0)
		signal.pause()
	PYTHON
	start_with_input /usr/bin/python3 "$BATS_TEST_TMPDIR/parent"
	swap_most out -p "$TARGET_PID"
	ask fork
	add_target "${answer#ok }"
	end_target "$TARGET_PID"
	ask check
	wait_for 10 is_session_gone
}

@test "a swapped page that the target discarded reads as zero" {
	start_contents mixed $((32 * MEBIBYTE))
	out_region
	ask discard
	wait_for 5 status_is '.events.remove > 0 and .out_pages == 4096'
	ask check
	out_region
	ask check
}

@test "swapped pages follow a mapping that moves" {
	start_contents mixed $((32 * MEBIBYTE))
	out_region
	ask move
	wait_for 5 status_is '.events.remap > 0 and .out_pages == 8192'
	read -r _ START END _ <<<"$answer"
	assert_equal "$(resident)" 0
	ask check
	out_region
	ask check
}

@test "what is mapped where swapped pages were unmapped holds zeros" {
	start_contents mixed $((32 * MEBIBYTE))
	out_region
	ask unmap
	wait_for 5 status_is '.events.unmap > 0 and .out_pages == 6144'
	ask map
	ask check
	wait_for 5 status_is '.out_pages == 0'
}

@test "discarded and unmapped pages give their place in the store back" {
	start_contents random $((32 * MEBIBYTE))
	out_region
	ask discard
	wait_for 5 status_is ".store_allocated_bytes <= $((17 * MEBIBYTE))"
	ask unmap
	wait_for 5 status_is ".store_allocated_bytes <= $((9 * MEBIBYTE)) and .store_file_bytes <= $((12 * MEBIBYTE))"
	ask check
}

@test "memory that is new since the session began can leave too" {
	start_contents mixed $((8 * MEBIBYTE))
	out_region
	ask allocate $((16 * MEBIBYTE))
	local before
	before=$(rss_anon)
	swap_most out -p "$TARGET_PID"
	(($(rss_anon) < before - 14 * MEBIBYTE))
	ask check
}
