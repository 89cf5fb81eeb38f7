#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# uffd-move(1) --watch: every touch is told, everything comes back, whoever dies.

bats_require_minimum_version 1.5.0
load swap_helper

MEBIBYTE=1048576
PAGE=4096

# start_memory PATTERN BYTES: a target whose memory is watched; its heap and libraries are all there.
start_memory() {
	start_with_input mover_contents "$@"
	BYTES=$2
	ask check
	snapshot
}

# watch [OPTION...]: watches the target's memory until told to end, under $NOHUP. Sets WATCHER; records are in $RECORDS.
watch() {
	RECORDS=$BATS_TEST_TMPDIR/records
	ERRORS=$BATS_TEST_TMPDIR/errors
	# shellcheck disable=SC2086 # words
	timeout -k 5 100 ${NOHUP-} uffd-move -p "$TARGET_PID" --src "$START" --length "$BYTES" "$@" \
		>"$RECORDS" 2>"$ERRORS" 3>&- &
	WATCHER=$!
	end_later "$WATCHER"
	wait_for 20 is_moved_aside
}

# timeout(1) passes signals on, but the one that ends all.
watcher_pid() {
	pgrep -P "$WATCHER" -x uffd-move
}

is_moved_aside() {
	grep -q '"type":"region"' "$RECORDS"
}

# ends STATUS: the watch does so by itself, or after a signal.
ends() {
	local status=0
	wait "$WATCHER" || status=$?
	if ((status != $1)); then
		echo "uffd-move: exit code $status, not $1" >&2
		tail -n 5 "$RECORDS" "$ERRORS" >&2
		return 1
	fi
}

stop_watch() {
	kill -INT "$(watcher_pid)"
	ends 0
	assert_equal "$(<"$ERRORS")" ""
}

# page N: its address without 0x, as the target takes it.
page() {
	printf %x $((16#$START + $1 * PAGE))
}

touches() {
	record "map(select(.type == \"touch\")) | $1"
}

told() {
	(($(jq -s "map(select(.type == \"touch\" and .address == \"0x$1\")) | length" "$RECORDS") >= ${2:-1}))
}

# touched N: the target reads a page, and that is told.
touched() {
	ask touch "$(page "$1")"
	wait_for 10 told "$(page "$1")"
}

refuses() {
	local wanted=$1 pattern=$2
	shift 2
	RECORDS=$BATS_TEST_TMPDIR/records
	run timeout 60 uffd-move "$@" 3>&- 2>&1 >"$RECORDS"
	assert_equal "$status" "$wanted"
	assert_equal "${#lines[@]}" 1
	assert_output --regexp '^uffd-move: '
	assert_output --regexp "$pattern"
}

# watch_all [OPTION...]: watches all memory of a target with contents until told to end.
watch_all() {
	RECORDS=$BATS_TEST_TMPDIR/records
	ERRORS=$BATS_TEST_TMPDIR/errors
	timeout -k 5 100 uffd-move -p "$TARGET_PID" --watch "$@" >"$RECORDS" 2>"$ERRORS" 3>&- &
	WATCHER=$!
	end_later "$WATCHER"
	wait_for 20 is_moved_aside
}

@test "each touch is told with its thread and kind, and at the end the process is as it was" {
	start_memory text $((8 * MEBIBYTE))
	watch --watch
	(($(rss_anon) < 2 * MEBIBYTE))
	touched 5
	touched 1000
	stop_watch
	assert_equal "$(touches 'map([.address, .access, .thread, .tid, .fresh] | tojson) | .[]')" \
		"[\"0x$(page 5)\",\"read\",\"mover_contents\",$TARGET_PID,false]
[\"0x$(page 1000)\",\"read\",\"mover_contents\",$TARGET_PID,false]"
	assert_equal "$(touches '.[0].at_us < .[1].at_us and .[0].at_us > 0')" true
	assert_equal "$(summary '[.moved_bytes, .touches, .touched_bytes, .lost_touches, .ended] | @csv')" \
		"$BYTES,2,$((2 * PAGE)),0,\"signal\""
	ask check
	wait_for 5 unchanged
}

@test "without a list all that is eligible is watched, and nothing else" {
	start_memory text $((4 * MEBIBYTE))
	local places
	places=$(addrspace list -p "$TARGET_PID" | jq -r 'select(.object == "anon") | "\(.start) \(.perm)"')
	watch_all
	touched 5
	stop_watch
	assert_equal "$(record "map(select(.type == \"region\" and .start == \"0x$START\")) | .[0].moved_bytes")" "$BYTES"
	# Each watched region begins where an anonymous one did that was private and writable.
	while read -r start; do
		grep -qxE "$start rw.p" <<<"$places" || fail "$start is none of
$places"
	done < <(jq -r 'select(.type == "region") | .start' "$RECORDS")
	ask check
	wait_for 5 unchanged
}

# The region of the memory that was allocated on command, when it has been moved aside: START END.
later_region() {
	jq -r --arg start "0x$START" 'select(.type == "region" and .start != $start and .moved_bytes >= 4194304) | "\(.start) \(.end)"' \
		"$RECORDS" | head -n 1 | grep .
}

# More memory, until some of it had all its pages when it was found: what is written to later is not moved, but told as fresh.
allocate_watched() {
	local tries
	for tries in {1..8}; do
		ask allocate $((4 * MEBIBYTE))
		wait_for 2 later_region && return
	done
	fail "no allocation of $tries was moved whole"
}

touches_of_later_region() {
	local region start end
	region=$(later_region)
	read -r start end <<<"$region"
	touches "map(select(.address >= \"$start\" and .address < \"$end\").address) | $1"
}

@test "without a list, memory that comes later is watched, too" {
	start_with_input contents mixed $((4 * MEBIBYTE))
	watch_all
	allocate_watched
	ask check
	stop_watch
	# Once each: what came back stays.
	assert_equal "$(touches_of_later_region 'length, (unique | length)')" "1024
1024"
	assert_equal "$(summary '.moved_bytes >= 8388608 and .touched_bytes >= 8388608')" true
	ask check
}

@test "with --again, memory that came later is told in each round" {
	start_with_input contents text $((4 * MEBIBYTE))
	watch_all --again 50
	allocate_watched
	told_anew() {
		ask check
		(($(touches_of_later_region length) >= 3 * 1024))
	}
	wait_for 20 told_anew
	stop_watch
	ask check
}

@test "without a list, memory that comes after the worker was killed is watched, too" {
	local worker
	start_with_input contents mixed $((4 * MEBIBYTE))
	watch_all
	worker=$(swapctl status -p "$TARGET_PID" | jq .worker_pid)
	kill -KILL "$worker"
	allocate_watched
	ask check
	stop_watch
	assert_equal "$(touches_of_later_region 'unique | length')" 1024
	ask check
}

@test "without a list, a program that allocates and frees all the time computes right" {
	cat >"$BATS_TEST_TMPDIR/program.py" <<-'PYTHON'
		import hashlib, random, sys
		def work(seed, turns):
		    rand, kept, h = random.Random(seed), {}, hashlib.sha256()
		    for turn in range(turns):
		        kept[rand.randrange(40)] = bytearray(rand.randbytes(64)) * rand.randrange(1, 16000)
		        h.update(kept[rand.choice(sorted(kept))])
		    return h.hexdigest()
		wanted = work(5, 300)
		print("ready", flush=True)
		for line in sys.stdin:
		    print("ok" if work(5, 300) == wanted else "wrong", flush=True)
	PYTHON
	start_with_input "$(command -v python3)" "$BATS_TEST_TMPDIR/program.py"
	watch_all --again 100
	ask check
	ask check
	kill -INT "$(watcher_pid)"
	wait "$WATCHER" || (($? == 3))
	(($(touches length) > 1000))
	ask check
}

@test "a write is told as a write, and what is written stays" {
	start_memory text $((4 * MEBIBYTE))
	watch --watch
	ask mark "$(page 7)" 1
	wait_for 10 told "$(page 7)"
	stop_watch
	assert_equal "$(touches '.[0].access')" write
	ask write
	ask check
	wait_for 5 unchanged
}

@test "every page of a walk is told once, in order" {
	start_memory mixed $((16 * MEBIBYTE))
	watch --watch
	ask check
	stop_watch
	assert_equal "$(touches 'length')" $((BYTES / PAGE))
	assert_equal "$(touches 'map(.address) | . == (sort | unique)')" true
	assert_equal "$(summary .touched_bytes)" "$BYTES"
	# Each of these faults took longer than half a microsecond, and none longer than the watch.
	(($(summary .waited_us) >= BYTES / PAGE / 2 && $(summary .waited_us) <= $(summary .watched_us)))
	wait_for 5 unchanged
}

@test "a watch that ends while more is being touched says so, and one that ends later does not" {
	start_target /usr/bin/python3 -u -c 'if True:
		import ctypes, mmap, time
		m = mmap.mmap(-1, 64 << 20, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
		for page in range(0, len(m), 4096):
		    m[page] = 1
		print("ready %x" % ctypes.addressof(ctypes.c_char.from_buffer(m)))
		for page in range(0, len(m), 4096):
		    m[page]
		    time.sleep(0.001)'
	START=$TARGET_READY BYTES=$((64 * MEBIBYTE))
	watch --watch
	touched_some() {
		(($(grep -c '"type":"touch"' "$RECORDS") > 30))
	}
	wait_for 20 touched_some
	stop_watch
	assert_equal "$(summary '[.ended, .unfinished] | @csv')" '"signal",true'
	# What it has walked over it does not touch again.
	BYTES=$((16 * PAGE))
	watch --watch 0.3
	ends 0
	assert_equal "$(summary '[.ended, .unfinished, .touched_bytes, .waited_us] | @csv')" '"time",false,0,0'
}

@test "it ends by itself after the time given" {
	start_memory text $((4 * MEBIBYTE))
	watch --watch 0.5
	ends 0
	assert_equal "$(summary .ended)" time
	ask check
	wait_for 5 unchanged
}

@test "SIGTERM ends it like SIGINT" {
	start_memory text $((4 * MEBIBYTE))
	watch --watch
	kill -TERM "$(watcher_pid)"
	ends 0
	assert_equal "$(summary .ended)" signal
	ask check
	wait_for 5 unchanged
}

@test "one that nohup started goes on when its terminal hangs up" {
	start_memory text $((4 * MEBIBYTE))
	NOHUP="env --ignore-signal=HUP" watch --watch
	kill -HUP "$(watcher_pid)"
	touched 3
	stop_watch
	watch --watch
	kill -HUP "$(watcher_pid)"
	ends 0
	assert_equal "$(summary .ended)" signal
}

@test "with --again a page is told anew after each time it was moved aside" {
	start_memory text $((4 * MEBIBYTE))
	watch --watch --again 200
	touched_so_often() {
		ask touch "$(page 3)"
		told "$(page 3)" "$1"
	}
	wait_for 10 touched_so_often 1
	wait_for 10 touched_so_often 2
	wait_for 10 touched_so_often 3
	stop_watch
	(($(record 'map(select(.type == "interval" and .touched_bytes == 4096)) | length') >= 2))
	assert_equal "$(summary .touched_bytes)" $PAGE
	(($(summary .rounds) >= 2))
	ask check
	wait_for 5 unchanged
}

@test "memory that was never there is told as fresh" {
	start_memory text $((4 * MEBIBYTE))
	ask discard "$(page 0)" $MEBIBYTE
	watch --watch
	touched 9
	stop_watch
	assert_equal "$(touches '.[0].fresh')" true
	assert_equal "$(summary .fresh_bytes)" $PAGE
}

@test "sums by mapping and by thread follow the touches" {
	start_memory text $((4 * MEBIBYTE))
	watch --watch
	ask check
	stop_watch
	assert_equal "$(record 'map(select(.type == "touched") | [.by, .name, .tid, .touches, .touched_bytes] | tojson) | .[]')" \
		"[\"mapping\",\"\",null,1024,$BYTES]
[\"thread\",\"mover_contents\",$TARGET_PID,1024,$BYTES]"
}

@test "on a terminal the sums are a table" {
	start_memory text $((4 * MEBIBYTE))
	start_watch_table() {
		timeout -k 5 60 uffd-move -p "$TARGET_PID" --src "$START" --length "$BYTES" --watch 1 --format=table 3>&-
	}
	run start_watch_table
	assert_success
	assert_output --regexp '^[0-9]+ touch(es)? of .* in [0-9.]+ m?s; 4.0 MiB watched'
	refute_output --partial '"type"'
}

@test "threads are told apart by number and name" {
	start_with_input threads 4 $((4 * MEBIBYTE))
	superpages -p "$TARGET_PID" --swappable --min-resident 2M >"$BATS_TEST_TMPDIR/regions"
	RECORDS=$BATS_TEST_TMPDIR/records
	timeout 60 uffd-move -r "$BATS_TEST_TMPDIR/regions" --watch 1 --again 100 >"$RECORDS" 3>&- || (($? == 3))
	(($(record 'map(select(.type == "touched" and .by == "thread") | .tid) | unique | length') >= 4))
	# shellcheck disable=SC2012
	ls "/proc/$TARGET_PID/task" | sort >"$BATS_TEST_TMPDIR/tasks"
	run comm -13 "$BATS_TEST_TMPDIR/tasks" <(record 'map(select(.type == "touch").tid) | unique | .[]' | sort)
	assert_output ""
	ask stop
	((${answer#ok } > 0))
}

@test "a thread in another pid namespace is told by its number here" {
	local inner
	start_with_input "$(command -v unshare)" --pid --fork --kill-child "$UVM_BUILD/targets/threads" 2 $((4 * MEBIBYTE))
	inner=$(pgrep -P "$TARGET_PID")
	superpages -p "$inner" --swappable --min-resident 2M >"$BATS_TEST_TMPDIR/regions"
	RECORDS=$BATS_TEST_TMPDIR/records
	timeout 60 uffd-move -r "$BATS_TEST_TMPDIR/regions" --watch 1 --again 200 >"$RECORDS" 3>&- || (($? == 3))
	(($(touches length) > 0))
	# shellcheck disable=SC2012
	ls "/proc/$inner/task" | sort >"$BATS_TEST_TMPDIR/tasks"
	run comm -13 "$BATS_TEST_TMPDIR/tasks" <(touches 'map(.tid) | unique | .[]' | sort)
	assert_output ""
}

@test "the target's end ends it" {
	start_memory text $((4 * MEBIBYTE))
	watch --watch
	kill -KILL "$TARGET_PID"
	wait "$TARGET_PID" || :
	ends 0
	assert_equal "$(summary .ended)" target
	wait_for 10 is_clean
}

@test "when the tool is killed everything comes back by itself" {
	start_memory mixed $((16 * MEBIBYTE))
	watch --watch
	kill -KILL "$(watcher_pid)"
	wait_for 20 unchanged
	ask check
}

@test "when the tool is killed while its target works nothing is lost, at whatever moment" {
	start_with_input threads 2 $((16 * MEBIBYTE))
	superpages -p "$TARGET_PID" --swappable --min-resident 2M >"$BATS_TEST_TMPDIR/regions"
	for _ in {1..12}; do
		uffd-move -r "$BATS_TEST_TMPDIR/regions" --watch --again 20 >/dev/null 2>&1 3>&- &
		WATCHER=$!
		read -rt "0.$((RANDOM % 400 + 100))" <> <(:) || :
		kill -KILL "$WATCHER"
		wait "$WATCHER" || :
		wait_for 20 is_session_gone
	done
	ask stop
	((${answer#ok } > 0))
}

@test "when the worker is killed the watch goes on" {
	local worker
	start_memory mixed $((8 * MEBIBYTE))
	watch --watch
	touched 3
	worker=$(swapctl status -p "$TARGET_PID" | jq .worker_pid)
	kill -KILL "$worker"
	another() {
		local now
		now=$(swapctl status -p "$TARGET_PID" 2>/dev/null | jq .worker_pid)
		[[ $now && $now != "$worker" ]]
	}
	wait_for 10 another
	goes_on() {
		ask touch "$(page "$PROBE")"
		PROBE=$((PROBE + 1))
		told "$(page $((PROBE - 1)))"
	}
	PROBE=100
	wait_for 10 goes_on
	stop_watch
	ask check
	wait_for 5 unchanged
}

@test "when tool and worker are killed together everything comes back as well" {
	start_memory mixed $((8 * MEBIBYTE))
	watch --watch
	kill -KILL "$(swapctl status -p "$TARGET_PID" | jq .worker_pid)" "$(watcher_pid)"
	wait_for 20 unchanged
	ask check
}

@test "a reader that goes away ends it" {
	start_memory text $((4 * MEBIBYTE))
	watch_head() {
		timeout 60 uffd-move -p "$TARGET_PID" --src "$START" --length "$BYTES" --watch 3>&- | head -n 1
	}
	watch_head >"$BATS_TEST_TMPDIR/head" &
	wait_for 10 test -s "$BATS_TEST_TMPDIR/head"
	ask check
	wait_for 20 unchanged
	ask check
}

@test "a forked child reads the same while its parent is watched" {
	start_with_input contents mixed $((8 * MEBIBYTE))
	BYTES=$((8 * MEBIBYTE))
	watch --watch
	ask fork
	ask check
	stop_watch
	ask check
}

@test "redis-server answers right while it is watched" {
	local digest
	mkdir "$BATS_TEST_TMPDIR/redis"
	(cd "$BATS_TEST_TMPDIR/redis" && exec redis-server --port 0 --unixsocket "$BATS_TEST_TMPDIR/s" --save '' --enable-debug-command yes) \
		>/dev/null 2>&1 3>&- &
	TARGET_PID=$!
	add_target "$TARGET_PID"
	cli() {
		timeout 60 redis-cli -s "$BATS_TEST_TMPDIR/s" "$@" 3>&-
	}
	answers() {
		[[ $(cli ping 2>/dev/null) == PONG ]]
	}
	wait_for 20 answers
	cli debug populate 40000 key 200 >/dev/null
	digest=$(cli debug digest)
	superpages -p "$TARGET_PID" --swappable >"$BATS_TEST_TMPDIR/regions"
	RECORDS=$BATS_TEST_TMPDIR/records
	timeout 600 uffd-move -r "$BATS_TEST_TMPDIR/regions" --watch --again 500 >"$RECORDS" 2>"$BATS_TEST_TMPDIR/errors" 3>&- &
	WATCHER=$!
	end_later "$WATCHER"
	wait_for 20 is_moved_aside
	timeout 60 redis-benchmark -s "$BATS_TEST_TMPDIR/s" -q -n 5000 -r 40000 get key:__rand_int__ >/dev/null 3>&-
	assert_equal "$(cli debug digest)" "$digest"
	kill -INT "$(watcher_pid)"
	wait "$WATCHER" || (($? == 3))
	(($(touches length) > 1000))
	assert_equal "$(record 'map(select(.type == "touched" and .by == "thread")) | .[0].name')" redis-server
	assert_equal "$(cli debug digest)" "$digest"
}

@test "a python3 program computes right while it is watched" {
	cat >"$BATS_TEST_TMPDIR/program.py" <<-'PYTHON'
		import hashlib, random, sys
		rand = random.Random(7)
		blocks = [bytearray(rand.randbytes(1 << 20)) for _ in range(8)]
		table = {"key %d" % i: [rand.random(), (i, str(i))] for i in range(10000)}
		def digest():
		    h = hashlib.sha256(repr(sorted(table.items())).encode())
		    for block in blocks:
		        h.update(block)
		    return h.hexdigest()
		before = digest()
		print("ready", flush=True)
		for line in sys.stdin:
		    print("ok" if digest() == before else "wrong", flush=True)
	PYTHON
	start_with_input "$(command -v python3)" "$BATS_TEST_TMPDIR/program.py"
	superpages -p "$TARGET_PID" --swappable >"$BATS_TEST_TMPDIR/regions"
	RECORDS=$BATS_TEST_TMPDIR/records
	timeout 600 uffd-move -r "$BATS_TEST_TMPDIR/regions" --watch --again 300 >"$RECORDS" 2>"$BATS_TEST_TMPDIR/errors" 3>&- &
	WATCHER=$!
	end_later "$WATCHER"
	wait_for 20 is_moved_aside
	ask check
	ask check
	kill -INT "$(watcher_pid)"
	wait "$WATCHER" || (($? == 3))
	(($(summary .touched_bytes) > 8 * MEBIBYTE))
	ask check
}

@test "a process that has a session is refused" {
	start_memory text $((4 * MEBIBYTE))
	swap_ok attach -p "$TARGET_PID"
	refuses 1 'it has a session' -p "$TARGET_PID" --src "$START" --length 4M --watch 1
	swap_ok detach -p "$TARGET_PID"
	wait_for 5 unchanged
}

@test "memory that is not there is refused, and nothing is left behind" {
	start_memory text $((4 * MEBIBYTE))
	refuses 2 '^uffd-move: ' -p "$TARGET_PID" --src 10000 --length 4K --watch 1
	wait_for 5 unchanged
}

@test "options that do not go with --watch, and times that are none, are refused" {
	local option
	for option in --dst=auto --method=move --allow-src-holes --dontwake --make-exclusive --dry-run --yes; do
		refuses 2 "${option%%=*}: not with --watch" -p $$ --src 10000 --length 4K --watch 1 "$option"
	done
	refuses 2 '--again: only with --watch' -p $$ --src 10000 --length 4K --again 5
	for option in 0 -1 x 1x 1e99 nan inf ''; do
		refuses 2 '--watch: .* is not a time' -p $$ --src 10000 --length 4K "--watch=$option"
		refuses 2 '--again: .* is not a time' -p $$ --src 10000 --length 4K --watch "--again=$option"
	done
	refuses 2 'which process' --watch 1
}
