#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# uffd-move(1): pages moved inside live processes, what does not move and why, and what is refused.

bats_require_minimum_version 1.5.0
load swap_helper

MEBIBYTE=1048576

# move STATUS ARGUMENT...: runs uffd-move, which must end so.
move() {
	tool_ends "$1" uffd-move "${@:2}"
}

# refuses STATUS PATTERN ARGUMENT...: fails so, with one line on standard error that matches and no record of a move.
refuses() {
	tool_refuses "$1" ".*($2)" uffd-move "${@:3}"
	assert_equal "$(record 'map(select(.type == "move")) | length')" 0
}

# start_contents PATTERN BYTES [HOW]: sets START, END and ROOM. The first answer is waited for, so that its heap and libraries are all there.
start_contents() {
	start_with_input mover_contents "$@"
	ROOM=$EXTRA
	BYTES=$2
	ask zeros "$(hex "$ROOM")" 0
	look_here "$TARGET_PID" >"$BATS_TEST_TMPDIR/snapshot"
}

# hex ADDRESS [OFFSET]: without 0x, as the target says it.
hex() {
	printf %x $((16#$1 + ${2:-0}))
}

# What is left of us in a process, and of its mappings.
look_here() {
	cut -d' ' -f1-2,6- "/proc/$1/maps"
	# shellcheck disable=SC2012
	ls -l "/proc/$1/fd" | awk '{ print $9, $10, $11 }'
	grep -E '^(Threads|SigBlk|SigPnd|TracerPid)' "/proc/$1/status"
}

# The target is what it was before; its heap may have appeared since.
same_as_before() {
	diff "$BATS_TEST_TMPDIR/snapshot" <(look_here "$TARGET_PID")
}

nothing_of_ours() {
	assert_equal "$(control_areas)" 0
	run find "/proc/$TARGET_PID/fd" -lname '*userfaultfd*'
	assert_output ""
	assert_equal "$(awk '/^TracerPid/ { print $2 }' "/proc/$TARGET_PID/status")" 0
	run grep -E '^VmFlags:.* u[mw]( |$)' "/proc/$TARGET_PID/smaps"
	assert_failure
	assert_equal "$(puppets uvm-move)" ""
}

# there_and_back [OPTION...]: to a fresh mapping and back, all of it.
there_and_back() {
	move 0 -p "$TARGET_PID" --src "$START" --length "$BYTES" --yes "$@"
	assert_equal "$(record '.[0] | [.moved_bytes, .hole_bytes, .failed_bytes, .dst_mapped] | @csv')" "$BYTES,0,0,true"
	cp "$RECORDS" "$BATS_TEST_TMPDIR/moved"
	ask check "$(record '.[0].dst')"
	nothing_of_ours
	move 0 --reverse -r "$BATS_TEST_TMPDIR/moved"
	assert_equal "$(summary .moved_bytes)" "$BYTES"
	ask check
	same_as_before
}

# errors: what the error records say, a line each.
errors() {
	record 'map(select(.type == "error")) | map("\(.errno) \(.start) \(.end)") | .[]'
}

@test "pages go to a fresh mapping and come back, and nothing else of the process changes" {
	start_contents text $((16 * MEBIBYTE))
	there_and_back
}

@test "huge pages go and come back whole" {
	start_contents random $((16 * MEBIBYTE)) huge
	local before
	before=$(awk -v start="$START" '/^[0-9a-f]+-/ { mine = index($1, start "-") == 1 } mine && /^AnonHugePages/ { print $2 }' "/proc/$TARGET_PID/smaps")
	there_and_back
	if [[ $before == 16384 ]]; then
		assert_equal "$(awk -v start="$START" '/^[0-9a-f]+-/ { mine = index($1, start "-") == 1 }
			mine && /^AnonHugePages/ { print $2 }' "/proc/$TARGET_PID/smaps")" "$before"
	fi
}

@test "a region that is no multiple of 2 MiB goes and comes back" {
	start_contents mixed $((5 * MEBIBYTE + 12288))
	there_and_back
}

@test "mremap moves there and back, and its records are taken back without naming the method" {
	start_contents text $((16 * MEBIBYTE))
	there_and_back --method mremap
	assert_equal "$(summary .method)" mremap
}

@test "a destination given by hand receives the pages" {
	start_contents text $((8 * MEBIBYTE))
	local method
	for method in move mremap; do
		move 0 -p "$TARGET_PID" --src "0x$START" --dst "0x$ROOM" --length 8M --method "$method"
		assert_equal "$(record '.[0] | [.start, .src, .end, .dst, .dst_mapped, .bytes, .moved_bytes] | @csv')" \
			"\"0x$START\",\"0x$START\",\"0x$END\",\"0x$ROOM\",false,8388608,8388608"
		cp "$RECORDS" "$BATS_TEST_TMPDIR/moved"
		ask check "$ROOM"
		ask zeros "$START"
		ask discard "$START" $((8 * MEBIBYTE))
		move 0 --reverse -r - <"$BATS_TEST_TMPDIR/moved"
		ask check
		ask discard "$ROOM" $((8 * MEBIBYTE))
	done
}

@test "a source that spans mappings of several protections goes with each of them" {
	start_contents text $((8 * MEBIBYTE)) executable
	move 0 -p "$TARGET_PID" --src "$START" --length 8M --yes
	local dst
	dst=$(record '.[0].dst')
	ask check "$dst"
	grep -q "^${dst#0x}-$(hex "${dst#0x}" $((4 * MEBIBYTE))) rwxp" "/proc/$TARGET_PID/maps"
	nothing_of_ours
}

@test "only a part of a mapping moves when only that is asked for" {
	start_contents text $((8 * MEBIBYTE))
	move 0 -p "$TARGET_PID" --src "$(hex "$START" 8192)" --dst "$(hex "$ROOM" 8192)" --length 12K
	assert_equal "$(record '.[0].moved_bytes')" 12288
	ask either "$ROOM"
	ask zeros "$(hex "$START" 8192)" 12288
	same_as_before
}

@test "the move record is a region that other tools take" {
	start_contents text $((4 * MEBIBYTE))
	move 0 -p "$TARGET_PID" --src "$START" --dst "$ROOM" --length 4M
	run -0 superpages -p "$TARGET_PID" -r "$RECORDS" --format json
	assert_equal "$(jq -r 'select(.type == "summary") | .resident_bytes' <<<"$output")" 0
}

@test "regions and destinations come from records, as lines or as an array, from a file, a pipe or standard input" {
	start_contents text $((4 * MEBIBYTE))
	local records
	records=$(printf '[{"start":"0x%s","end":"0x%s","dst":"0x%s"},{"start":"0x%s","end":"0x%s","dst":"0x%s"}]' "$START" \
		"$(hex "$START" $((2 * MEBIBYTE)))" "$ROOM" "$(hex "$START" $((2 * MEBIBYTE)))" "$END" "$(hex "$ROOM" $((2 * MEBIBYTE)))")
	move 0 -p "$TARGET_PID" -r <(echo "$records")
	assert_equal "$(record 'map(select(.type == "move")) | length')" 2
	assert_equal "$(summary .moved_bytes)" $((4 * MEBIBYTE))
	cp "$RECORDS" "$BATS_TEST_TMPDIR/moved"
	move 0 --reverse -p "$TARGET_PID" -r "$BATS_TEST_TMPDIR/moved"
	ask check
	move 0 -p "$TARGET_PID" -r - <<<"$records"
	ask check "$ROOM"
}

@test "holes are listed one by one, or allowed" {
	start_contents text $((4 * MEBIBYTE))
	ask discard "$(hex "$START" 65536)" 8192
	ask discard "$(hex "$START" 131072)" 4096
	move 3 -p "$TARGET_PID" --src "$START" --dst "$ROOM" --length 4M
	assert_equal "$(errors)" "ENOENT 0x$(hex "$START" 65536) 0x$(hex "$START" 73728)
ENOENT 0x$(hex "$START" 131072) 0x$(hex "$START" 135168)"
	assert_equal "$(summary '[.moved_bytes, .hole_bytes, .failed_bytes] | @csv')" $((4 * MEBIBYTE - 12288)),12288,12288
	cp "$RECORDS" "$BATS_TEST_TMPDIR/moved"
	move 0 --reverse -r "$BATS_TEST_TMPDIR/moved"
	move 0 -p "$TARGET_PID" --src "$START" --dst "$ROOM" --length 4M --allow-src-holes
	assert_equal "$(summary '[.moved_bytes, .hole_bytes, .failed_bytes] | @csv')" $((4 * MEBIBYTE - 12288)),12288,0
	ask zeros "$(hex "$ROOM" 65536)" 8192
}

@test "memory that was never touched has nothing to move" {
	start_contents text $((4 * MEBIBYTE))
	move 1 -p "$TARGET_PID" --src "$ROOM" --length 4M --yes
	assert_equal "$(errors)" "ENOENT 0x$ROOM 0x$(hex "$ROOM" $((4 * MEBIBYTE)))"
	same_as_before
}

@test "pages that are in the destination already are listed and kept" {
	start_contents text $((4 * MEBIBYTE))
	local method
	ask mark "$(hex "$ROOM" 65536)" 8192
	for method in move mremap; do
		move 3 -p "$TARGET_PID" --src "$START" --dst "$ROOM" --length 4M --method "$method"
		assert_equal "$(errors)" "EEXIST 0x$(hex "$START" 65536) 0x$(hex "$START" 73728)"
		assert_equal "$(record 'map(select(.type == "error"))[0].dst')" "0x$(hex "$ROOM" 65536)"
		cp "$RECORDS" "$BATS_TEST_TMPDIR/moved"
		move 0 --reverse -r "$BATS_TEST_TMPDIR/moved"
		ask check
	done
}

@test "what the program wrote to an emptied source is not overwritten by the way back" {
	start_contents text $((4 * MEBIBYTE))
	move 0 -p "$TARGET_PID" --src "$START" --dst "$ROOM" --length 4M
	cp "$RECORDS" "$BATS_TEST_TMPDIR/moved"
	ask mark "$(hex "$START" 8192)" 4096
	move 3 --reverse -r "$BATS_TEST_TMPDIR/moved"
	assert_equal "$(errors)" "EEXIST 0x$(hex "$ROOM" 8192) 0x$(hex "$ROOM" 12288)"
	assert_regex "$(record 'map(select(.type == "error"))[0].reason')" 'touched'
	ask either "$ROOM"
	ask touch "$(hex "$START" 8192)"
	assert_equal "$answer" "ok 1"
}

@test "pages shared with a child since a fork stay, and the child is named" {
	start_contents text $((4 * MEBIBYTE)) forked
	local child option
	child=$(pgrep -P "$TARGET_PID")
	end_later "$child"
	for option in --yes --make-exclusive; do
		move 1 -p "$TARGET_PID" --src "$START" --length 4M --yes "$option"
		assert_equal "$(errors)" "EBUSY 0x$START 0x$END"
		assert_equal "$(record '.[1].shared_with')" "$child"
		assert_regex "$(record '.[1].reason')" "process $child \(mover_contents\)"
	done
	ask check
	same_as_before
}

@test "the parent is named when its child's pages are shared" {
	start_contents text $((4 * MEBIBYTE)) forked
	local child
	child=$(pgrep -P "$TARGET_PID")
	end_later "$child"
	move 1 -p "$child" --src "$START" --length 4M --yes
	assert_equal "$(record '.[1].shared_with')" "$TARGET_PID"
	ask check
}

@test "pages that a fork has left marked as shared move with --make-exclusive only" {
	start_with_input forked exited $((4 * MEBIBYTE))
	move 1 -p "$TARGET_PID" --src "$START" --length 4M --yes
	assert_equal "$(errors)" "EBUSY 0x$START 0x$END"
	assert_regex "$(record '.[1].hint')" 'make-exclusive'
	move 0 -p "$TARGET_PID" --src "$START" --length 4M --yes --make-exclusive
	cp "$RECORDS" "$BATS_TEST_TMPDIR/moved"
	move 0 --reverse -r "$BATS_TEST_TMPDIR/moved"
	ask check
}

@test "pinned pages stay and are said to be pinned" {
	start_contents text $((4 * MEBIBYTE))
	tell pin "$(hex "$START" 65536)" 8192
	wait_for 10 has_answers 3
	if ! grep -q '^ok' <(sed -n 3p "$TARGET_DIR/out"); then
		skip "io_uring is not permitted here, so nothing can be pinned"
	fi
	move 3 -p "$TARGET_PID" --src "$START" --dst "$ROOM" --length 4M --make-exclusive
	assert_equal "$(errors)" "EBUSY 0x$(hex "$START" 65536) 0x$(hex "$START" 73728)"
	assert_regex "$(record 'map(select(.type == "error"))[0].reason')" pinned
	ask either "$ROOM"
}

@test "the rule that was broken is named" {
	local kind pattern
	while read -r kind pattern; do
		start_contents text $((4 * MEBIBYTE)) "$kind"
		move 2 -p "$TARGET_PID" --src "$START" --dst "$ROOM" --length 4M
		assert_equal "$(errors)" "EINVAL 0x$START 0x$END"
		assert_regex "$(record '.[1].reason')" "$pattern"
		ask check
		same_as_before
		end_target "$TARGET_PID"
	done <<-END
		locked the source is locked
		readonly not writable
	END
	start_contents text $((4 * MEBIBYTE)) executable
	move 3 -p "$TARGET_PID" --src "$START" --dst "$ROOM" --length 4M
	assert_equal "$(errors)" "EINVAL 0x$START 0x$(hex "$START" $((2 * MEBIBYTE)))"
	assert_regex "$(record 'map(select(.type == "error"))[0].reason')" 'different access rights'
}

@test "only private anonymous memory moves" {
	local kind
	for kind in shared memfd private-file shared-file; do
		start_target touch "$kind" every
		read -r START END EXTRA <<<"$TARGET_READY"
		move 2 -p "$TARGET_PID" --src "$START" --length 4M --yes
		assert_regex "$(record '.[1].reason')" 'not private anonymous'
		end_target "$TARGET_PID"
	done
}

@test "where nothing is mapped nothing moves" {
	start_contents text $((4 * MEBIBYTE))
	move 2 -p "$TARGET_PID" --src 0x10000 --length 4M --yes
	assert_regex "$(record '.[1].reason')" 'nothing is mapped at the source'
	move 2 -p "$TARGET_PID" --src "$START" --dst 0x10000 --length 4M
	assert_regex "$(record '.[1].reason')" 'nothing is mapped at the destination'
	move 3 -p "$TARGET_PID" --src "$START" --length 6M --yes
	# Something of the tool's own may be mapped there for the moment: one range or two.
	assert_equal "$(record '.[] | select(.type == "move") | .failed_bytes')" $((2 * MEBIBYTE))
	run ! grep -v '^EINVAL ' <<<"$(errors)"
	cp "$RECORDS" "$BATS_TEST_TMPDIR/moved"
	move 0 --reverse -r "$BATS_TEST_TMPDIR/moved"
	ask check
}

@test "threads that use the memory while it is moved never see a wrong byte" {
	start_with_input mover_threads 4 $((16 * MEBIBYTE))
	local method at
	ROOM=$END
	for ((at = 0; at < 64; at += 4)); do
		method=move
		((at < 48)) || method=mremap
		move 0 -p "$TARGET_PID" --src "$(hex "$START" $((at * MEBIBYTE)))" --dst "$(hex "$ROOM" $((at * MEBIBYTE)))" \
			--length 4M --method "$method" --allow-src-holes
	done
	ask stop
}

# start_slow_move: half of the destination's pages are taken, so that it needs thousands of calls and takes long enough to meet something. Sets MOVER.
start_slow_move() {
	timeout 60 uffd-move -p "$TARGET_PID" --src "$START" --dst "$ROOM" --length 64M --allow-src-holes >"$BATS_TEST_TMPDIR/moved" \
		2>"$BATS_TEST_TMPDIR/err" 3>&- &
	MOVER=$!
	wait_for 10 has_begun
}

has_begun() {
	local pid
	for pid in $(puppets uvm-move); do
		[[ -z $(find "/proc/$pid/fd" -lname '*userfaultfd*' 2>/dev/null) ]] || return 0
	done
	! kill -0 "$MOVER" 2>/dev/null
}

start_slow_victim() {
	start_contents text $((64 * MEBIBYTE))
	ask comb "$ROOM" $((64 * MEBIBYTE))
}

@test "a running thread never waits for uffd-move that was killed in the middle, and no page is lost" {
	start_slow_victim
	local round looks pid killed=0
	for round in 1 2 3 4 5; do
		start_slow_move
		looks=0
		wait_for 10 looked_often $((round * 2))
		# timeout(1) is the parent of the tool, and would outlive it.
		if pid=$(pgrep -P "$MOVER") && kill -KILL "$pid"; then
			killed=$((killed + 1))
		fi
		wait "$MOVER" || :
		wait_for 10 is_free
		wait_for 10 has_no_puppet
		# A page that has not come: whoever waited for an answer would wait for ever.
		ASK_DEADLINE=20 ask touch "$(hex "$ROOM" $((64 * MEBIBYTE - 4096 * (2 * round - 1))))"
	done
	ASK_DEADLINE=60 ask either "$ROOM"
	((killed > 0)) || fail "it was never killed in the middle"
}

looked_often() {
	looks=$((looks + 1))
	((looks > $1))
}

has_no_puppet() {
	[[ ! $(puppets uvm-move) ]]
}

is_free() {
	[[ $(awk '/^TracerPid/ { print $2 }' "/proc/$TARGET_PID/status") == 0 ]]
}

@test "SIGTERM ends a move early: the rest is told, nothing of ours stays" {
	start_slow_victim
	local status=0 pid
	start_slow_move
	pid=$(pgrep -P "$MOVER")
	kill -TERM "$pid"
	wait "$MOVER" || status=$?
	RECORDS=$BATS_TEST_TMPDIR/moved
	assert_equal "$status" 143
	assert_regex "$(errors)" 'EINTR'
	assert_equal "$(summary '.moved_bytes + .failed_bytes')" $((64 * MEBIBYTE))
	nothing_of_ours
	move 0 --reverse -r "$BATS_TEST_TMPDIR/moved"
	ASK_DEADLINE=60 ask check
}

@test "a stopped process stays stopped" {
	start_contents text $((4 * MEBIBYTE))
	kill -STOP "$TARGET_PID"
	move 0 -p "$TARGET_PID" --src "$START" --length 4M --yes
	cp "$RECORDS" "$BATS_TEST_TMPDIR/moved"
	move 0 --reverse -r "$BATS_TEST_TMPDIR/moved"
	assert_equal "$(ps -o stat= -p "$TARGET_PID" | cut -c1)" T
	kill -CONT "$TARGET_PID"
	ask check
}

@test "a redis server whose memory was away while it was stopped goes on as if nothing had been" {
	local socket=$BATS_TEST_TMPDIR/socket digest method
	(cd "$BATS_TEST_TMPDIR" && exec redis-server --port 0 --unixsocket "$socket" --save '' --appendonly no \
		--enable-debug-command yes) >/dev/null 2>&1 3>&- &
	TARGET_PID=$!
	add_target "$TARGET_PID"
	redis() {
		timeout 60 redis-cli -s "$socket" "$@" 2>&1
	}
	wait_for 30 redis ping
	redis debug populate 300000 key 100
	digest=$(redis debug digest)
	for method in move mremap; do
		kill -STOP "$TARGET_PID"
		look_here "$TARGET_PID" >"$BATS_TEST_TMPDIR/snapshot"
		superpages -p "$TARGET_PID" --swappable --size 4K --merge >"$BATS_TEST_TMPDIR/regions"
		status=0
		timeout 60 uffd-move -r "$BATS_TEST_TMPDIR/regions" --yes --allow-src-holes --make-exclusive --method "$method" \
			>"$BATS_TEST_TMPDIR/moved" 3>&- || status=$?
		assert_regex "$status" '^[03]$'
		RECORDS=$BATS_TEST_TMPDIR/moved
		# Where a thread has its rseq area a page stays.
		assert_equal "$(record 'map(select(.type == "error")) | map(select(.reason | test("the kernel needs them") | not)) | length')" 0
		(($(summary .moved_bytes) > 30 * MEBIBYTE)) || fail "only $(summary .moved_bytes) bytes moved"
		move 0 --reverse -r "$BATS_TEST_TMPDIR/moved"
		same_as_before
		kill -CONT "$TARGET_PID"
		assert_equal "$(redis debug digest)" "$digest"
		redis set after "$method"
		digest=$(redis debug digest)
	done
}

@test "a dry run tells what would move and changes nothing" {
	start_contents text $((4 * MEBIBYTE))
	ask discard "$(hex "$START" 65536)" 8192
	ask mark "$ROOM" 4096
	move 3 -n -p "$TARGET_PID" --src "$START" --dst "$ROOM" --length 4M
	assert_equal "$(errors)" "EEXIST 0x$START 0x$(hex "$START" 4096)
ENOENT 0x$(hex "$START" 65536) 0x$(hex "$START" 73728)"
	assert_equal "$(record '.[0] | [.would_move_bytes, .hole_bytes, has("moved_bytes")] | @csv')" \
		"$((4 * MEBIBYTE - 12288)),8192,false"
	move 0 -n -p "$TARGET_PID" --src "$START" --length 4M --allow-src-holes
	assert_equal "$(record '.[0] | [.would_move_bytes, .dst] | @csv')" "$((4 * MEBIBYTE - 8192)),"
	same_as_before
}

@test "a dry run sees pages that are shared" {
	start_contents text $((4 * MEBIBYTE)) forked
	end_later "$(pgrep -P "$TARGET_PID")"
	move 1 -n -p "$TARGET_PID" --src "$START" --length 4M
	assert_equal "$(errors)" "EBUSY 0x$START 0x$END"
}

@test "without a destination that the program knows, the move is refused with the reason" {
	start_contents text $((4 * MEBIBYTE))
	refuses 2 'read zeros.*--yes' -p "$TARGET_PID" --src "$START" --length 4M
	refuses 2 'read zeros' -p "$TARGET_PID" --src "$START" --dst auto --length 4M
	region "$START" "$END" >"$BATS_TEST_TMPDIR/regions"
	refuses 2 'read zeros' -p "$TARGET_PID" -r "$BATS_TEST_TMPDIR/regions"
	ask check
	same_as_before
}

@test "a destination that overlaps the source, or another one, is refused" {
	start_contents text $((4 * MEBIBYTE))
	refuses 2 'overlaps' -p "$TARGET_PID" --src "$START" --dst "$(hex "$START" 4096)" --length 8K
	refuses 2 'overlaps another' -p "$TARGET_PID" --yes -r - <<<"$(region "$START" "$END") $(region "$START" "$END")"
	refuses 2 'two regions would go there' -p "$TARGET_PID" -r - <<<"
		{\"start\":\"0x$START\",\"end\":\"0x$(hex "$START" 4096)\",\"dst\":\"0x$ROOM\"}
		{\"start\":\"0x$(hex "$START" 4096)\",\"end\":\"0x$(hex "$START" 8192)\",\"dst\":\"0x$ROOM\"}"
	ask check
}

@test "every option refuses what it cannot use" {
	start_contents text $((4 * MEBIBYTE))
	local value
	for value in '' x 0x1001 -4096 0x10000000000000000; do
		refuses 2 '--src' -p "$TARGET_PID" --src "$value" --length 4K --yes
	done
	for value in '' x 0x1001 0 nowhere; do
		refuses 2 '--dst' -p "$TARGET_PID" --src "$START" --dst "$value" --length 4K
	done
	for value in '' 0 x 1 4097 -4K 1.5; do
		refuses 2 '--length' -p "$TARGET_PID" --src "$START" --length "$value" --yes
	done
	refuses 2 '--length' -p "$TARGET_PID" --src ffffffffffff0000 --length 1G --yes
	refuses 2 '--method' -p "$TARGET_PID" --src "$START" --length 4K --yes --method copy
	refuses 2 '--length is missing' -p "$TARGET_PID" --src "$START"
	refuses 2 '--dst: only with --src' -p "$TARGET_PID" -r /dev/null --dst auto
	refuses 2 '--length: only with --src' -p "$TARGET_PID" -r /dev/null --length 4K
	refuses 2 'give one of them' -p "$TARGET_PID" -r /dev/null --src "$START" --length 4K
	refuses 2 'which memory' -p "$TARGET_PID"
	refuses 2 'which process' --src "$START" --length 4K
	refuses 2 '--reverse' -p "$TARGET_PID" --reverse --src "$START" --length 4K
	refuses 2 'unknown option' -p "$TARGET_PID" --sideways
	refuses 2 . -p "$TARGET_PID" --src "$START" --length 4K --yes --format xml
	refuses 2 . -p 0 --src "$START" --length 4K --yes
	same_as_before
}

@test "records that are wrong are refused before anything is touched" {
	start_contents text $((4 * MEBIBYTE))
	local file=$BATS_TEST_TMPDIR/regions
	refuses 1 'No such file' -p "$TARGET_PID" -r "$BATS_TEST_TMPDIR/absent"
	echo '{"start":"0x1000"' >"$file"
	refuses 2 'line 1' -p "$TARGET_PID" --yes -r "$file"
	echo '{"start":"0x1001","end":"0x2000"}' >"$file"
	refuses 2 'not aligned' -p "$TARGET_PID" --yes -r "$file"
	echo '{"start":"0x1000","end":"0x2000","dst":"somewhere"}' >"$file"
	refuses 2 'not an address' -p "$TARGET_PID" -r "$file"
	echo '{"start":"0x1000","end":"0x2000","dst":"0x5001"}' >"$file"
	refuses 2 'does not begin at a page' -p "$TARGET_PID" -r "$file"
	echo '{"start":"0x1000","end":"0x2000"}' >"$file"
	refuses 2 'which process' --yes -r "$file"
	refuses 2 'no record of a move' -p "$TARGET_PID" --reverse -r "$file"
	region "$START" "$END" "$TARGET_PID" 1 >"$file"
	refuses 6 'earlier process' -p "$TARGET_PID" --yes -r "$file"
	region "$START" "$END" "$$" "$(starttime $$)" >"$file"
	refuses 6 'of process' -p "$TARGET_PID" --yes -r "$file"
	ask check
	same_as_before
}

@test "a process that is gone, a kernel thread and what is no pidfd are refused" {
	start_contents text $((4 * MEBIBYTE))
	local dead=$TARGET_PID
	end_target "$TARGET_PID"
	refuses 6 'no such process' -p "$dead" --src "$START" --length 4K --yes
	refuses 2 'kernel' -p 2 --src "$START" --length 4K --yes
	refuses 2 'not a pidfd' --pidfd 0 --src "$START" --length 4K --yes
}

@test "a process that ends in the middle ends the move with exit code 6" {
	start_slow_victim
	local status=0
	start_slow_move
	kill -KILL "$TARGET_PID"
	wait "$MOVER" || status=$?
	assert_equal "$status" 6
	assert_regex "$(<"$BATS_TEST_TMPDIR/err")" '^uffd-move: .*ended'
	assert_equal "$(wc -l <"$BATS_TEST_TMPDIR/err")" 1
	run grep -c '"type":"summary"' "$BATS_TEST_TMPDIR/moved"
	assert_output 0
}

@test "nobody may not move the pages of others" {
	start_contents text $((4 * MEBIBYTE))
	local status=0
	as_nobody uffd-move -p "$TARGET_PID" --src "$START" --length 4K --yes >"$BATS_TEST_TMPDIR/out" 2>"$BATS_TEST_TMPDIR/err" || status=$?
	assert_equal "$status" 4
	assert_equal "$(wc -l <"$BATS_TEST_TMPDIR/err")" 1
	assert_equal "$(<"$BATS_TEST_TMPDIR/out")" ""
	ask check
	same_as_before
}

@test "output that cannot be written is an error" {
	start_contents text $((4 * MEBIBYTE))
	local status=0
	timeout 60 uffd-move -p "$TARGET_PID" --src "$START" --dst "$ROOM" --length 4K >/dev/full 2>"$BATS_TEST_TMPDIR/err" 3>&- || status=$?
	assert_equal "$status" 1
	assert_regex "$(<"$BATS_TEST_TMPDIR/err")" 'cannot write records: No space left on device'
	nothing_of_ours
}

@test "a table shows a row a region" {
	start_contents text $((4 * MEBIBYTE))
	move 0 -p "$TARGET_PID" --src "$START" --dst "$ROOM" --length 4M --format table
	assert_regex "$(head -n 1 "$RECORDS")" '^SOURCE +DESTINATION +BYTES +MOVED'
	assert_regex "$(sed -n 2p "$RECORDS")" "^0x$START +0x$ROOM +4.0 MiB +4.0 MiB"
}

@test "a program has no descriptor of ours at any moment of a move" {
	local pid
	start_slow_victim
	start_slow_move
	while kill -0 "$MOVER" 2>/dev/null; do
		assert_equal "$(find "/proc/$TARGET_PID/fd" -lname '*userfaultfd*' 2>/dev/null)" ""
		for pid in $(puppets uvm-move); do
			assert_equal "$(awk '/^Cap(Prm|Eff):/ && $2 != "0000000000000000"' "/proc/$pid/status" 2>/dev/null)" ""
		done
	done
	RECORDS=$BATS_TEST_TMPDIR/moved
	(($(summary .calls) > 1000))
	nothing_of_ours
}

@test "a puppet that is killed ends the move, and is named" {
	start_slow_victim
	local status=0
	start_slow_move
	# shellcheck disable=SC2046
	kill -KILL $(puppets uvm-move)
	wait "$MOVER" || status=$?
	assert_equal "$status" 1
	assert_regex "$(<"$BATS_TEST_TMPDIR/err")" 'the process that moves them there was ended'
	nothing_of_ours
	ASK_DEADLINE=60 ask either "$ROOM"
}

# killed_at POINT: the puppet is killed when the tool has moved all and has come to a point of its leaving.
killed_at() {
	local pause=$BATS_TEST_TMPDIR/pause status=0
	start_contents text $((4 * MEBIBYTE))
	mkdir "$pause"
	PATH=$UVM_BUILD/failpoints/bin:$PATH UVM_PAUSE_AT=$1:30000 UVM_PAUSE_MARK=$pause timeout 60 uffd-move -p "$TARGET_PID" --src "$START" --dst "$ROOM" \
		--length 4M >"$BATS_TEST_TMPDIR/moved" 2>"$BATS_TEST_TMPDIR/err" 3>&- &
	wait_for 10 test -e "$pause.reached"
	# shellcheck disable=SC2046
	kill -KILL $(puppets uvm-move)
	rmdir "$pause"
	wait $! || status=$?
	assert_equal "$status" 0
	nothing_of_ours
	ask check "$ROOM"
}

@test "a puppet that is killed when the tool is about to leave the program is replaced, and nothing stays there" {
	killed_at leaving
}

@test "a puppet that is killed when it has taken the control area out is replaced, and nothing stays there" {
	killed_at left
}

@test "a program with hardly a descriptor open is moved like any other" {
	start_contents text $((4 * MEBIBYTE))
	ask closefrom
	look_here "$TARGET_PID" >"$BATS_TEST_TMPDIR/snapshot"
	there_and_back
}

@test "the examples of the man page work" {
	start_contents text $((4 * MEBIBYTE))
	export PID=$TARGET_PID SRC=$START DST=$ROOM
	local line count=0
	load examples_helper
	cd "$BATS_TEST_TMPDIR"
	while read -r line; do
		count=$((count + 1))
		run_example uffd-move.1 "$line"
		# Its second one took the memory away; the third begins with it in place.
		if [[ $line == *--dst* ]]; then
			ask check "$ROOM"
			end_target "$TARGET_PID"
			start_contents text $((4 * MEBIBYTE))
			export PID=$TARGET_PID
		fi
	done < <(examples uffd-move.1)
	assert_equal "$count" 8
	ask check
}
