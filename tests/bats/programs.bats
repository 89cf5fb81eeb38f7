#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Programs as they come from Debian, unmodified, under swapctl(1): redis-server, and python3 with two allocators on huge pages.

bats_require_minimum_version 1.5.0
load swap_helper

MEBIBYTE=1048576
KEYS=$(at_length 1000000 200000)
OBJECTS=$(at_length 150000 40000)

redis() {
	timeout 120 redis-cli -s "$SOCKET" "$@" 2>&1
}

redis_answers() {
	[[ $(redis ping) == PONG ]]
}

# start_redis NAME [OPTION...]: a server in a folder of its own, for this test only. Sets SOCKET, FOLDER and TARGET_PID.
start_redis() {
	FOLDER=$BATS_TEST_TMPDIR/$1
	SOCKET=$FOLDER/socket
	shift
	[[ -d $FOLDER ]] || mkdir "$FOLDER"
	(cd "$FOLDER" && exec redis-server --port 0 --unixsocket "$SOCKET" --dir "$FOLDER" --save '' --appendonly no \
		--enable-debug-command yes --pidfile "$FOLDER/pid" --logfile "$FOLDER/log" "$@") >/dev/null 2>&1 3>&- &
	TARGET_PID=$!
	add_target "$TARGET_PID"
	wait_for 60 redis_answers
	TARGET_PID=$(<"$FOLDER/pid")
	end_later "$TARGET_PID"
}

# At least 300 bytes a key, every value different; below a power of two of keys, so that the server is not growing its table when it has been filled.
fill_redis() {
	redis eval 'for i = 0, ARGV[1] - 1 do redis.call("set", string.format("key:%012d", i), string.rep(redis.sha1hex(i), 6)) end' \
		0 "$KEYS" >/dev/null
	assert_equal "$(redis dbsize)" "$KEYS"
	BEFORE=$(rss_anon)
	((BEFORE > 300 * KEYS))
	DIGEST=$(redis debug digest)
	assert_regex "$DIGEST" '^[0-9a-f]{40}$'
}

# All of it out, and less than a twentieth of it left in core.
swap_redis_out() {
	swap_most out -p "$TARGET_PID"
	(($(rss_anon) < BEFORE / 20)) || fail "$(rss_anon) of $BEFORE bytes are still in core"
}

# Reads and verifies values chosen at random for as long as FILE is not there.
verify_values() {
	cat >"$BATS_TEST_TMPDIR/verify.py" <<-'PYTHON'
		import hashlib, os, random, socket, sys
		path, keys, stop = sys.argv[1], int(sys.argv[2]), sys.argv[3]
		server = socket.socket(socket.AF_UNIX)
		server.connect(path)
		stream = server.makefile("rb")
		count = 0
		while not os.path.exists(stop):
		    number = random.randrange(keys)
		    server.sendall(b"GET key:%012d\r\n" % number)
		    assert stream.readline() == b"$240\r\n"
		    assert stream.read(242) == hashlib.sha1(b"%d" % number).hexdigest().encode() * 6 + b"\r\n", number
		    count += 1
		print("verified", count)
	PYTHON
	timeout 120 python3 "$BATS_TEST_TMPDIR/verify.py" "$SOCKET" "$KEYS" "$BATS_TEST_TMPDIR/stop" 3>&- &
	VERIFY=$!
}

# redis-benchmark, over and over for as long as FILE is not there; what goes wrong is in "benchmark".
run_benchmark() {
	(
		until [[ -e $BATS_TEST_TMPDIR/stop ]]; do
			timeout 120 redis-benchmark -s "$SOCKET" -q -c 20 -n $((KEYS / 20)) -r "$KEYS" get key:__rand_int__ || echo "failed: $?"
		done
	) >"$BATS_TEST_TMPDIR/benchmark" 2>&1 3>&- &
	BENCHMARK=$!
}

works_throughout() {
	fill_redis
	swap_redis_out
	assert_equal "$(redis debug digest)" "$DIGEST"
	run_benchmark
	verify_values >"$BATS_TEST_TMPDIR/verified"
	repeat 6 3 out_and_in
	repeat 4 1 swap_most out -p "$TARGET_PID"
	touch "$BATS_TEST_TMPDIR/stop"
	wait "$VERIFY"
	wait "$BENCHMARK"
	assert_regex "$(<"$BATS_TEST_TMPDIR/verified")" '^verified [0-9]{2,}$'
	assert_regex "$(<"$BATS_TEST_TMPDIR/benchmark")" 'requests per second'
	run ! grep -iE 'error|failed|closed' "$BATS_TEST_TMPDIR/benchmark"
	assert_equal "$(redis debug digest)" "$DIGEST"
	swap_redis_out
	saves_all
	swap_ok detach -p "$TARGET_PID"
	wait_for 5 is_session_gone
	assert_equal "$(redis debug digest)" "$DIGEST"
	run ! grep -iE 'bug report|crash|assert' "$FOLDER/log"
}

has_saved() {
	[[ $(redis info persistence) == *rdb_bgsave_in_progress:0* ]]
}

# A forked child writes everything while it is out; another server reads it.
saves_all() {
	redis bgsave >/dev/null
	wait_for 90 has_saved
	assert_regex "$(redis info persistence)" 'rdb_last_bgsave_status:ok'
	local folder=$FOLDER socket=$SOCKET pid=$TARGET_PID
	mkdir "$BATS_TEST_TMPDIR/second"
	mv "$FOLDER/dump.rdb" "$BATS_TEST_TMPDIR/second/"
	start_redis second
	assert_equal "$(redis dbsize)" "$KEYS"
	assert_equal "$(redis debug digest)" "$DIGEST"
	kill -KILL "$TARGET_PID"
	FOLDER=$folder SOCKET=$socket TARGET_PID=$pid
}

@test "redis-server in the foreground works throughout while its memory is out" {
	start_redis foreground
	works_throughout
}

@test "redis-server as a daemon works throughout while its memory is out" {
	start_redis daemon --daemonize yes
	works_throughout
}

write_program() {
	cat >"$BATS_TEST_TMPDIR/program.py" <<-'PYTHON'
		import hashlib, random, sys
		OBJECTS = int(sys.argv[1])
		rand = random.Random(7)
		def digest():
		    h = hashlib.sha256()
		    for key in sorted(table):
		        h.update(("%s %r %d" % (key, table[key], index[key])).encode())
		    for block in blocks:
		        h.update(block)
		    return h.hexdigest()
		table = {"key %d" % i: [rand.random(), str(i) * 5, (i, i + 1)] for i in range(OBJECTS)}
		index = {key: hash(value[2]) for key, value in table.items()}
		blocks = [bytearray(rand.randbytes(1 << 20)) for _ in range(OBJECTS // 3000)]
		before = digest()
		print("ready", flush=True)
		for line in sys.stdin:
		    if line == "work\n":
		        for key in rand.sample(sorted(table), OBJECTS // 5):
		            del table[key]
		            table["new " + key] = [rand.random(), key, (1, 2)]
		            index["new " + key] = index.pop(key)
		        blocks[rand.randrange(len(blocks))] = bytearray(rand.randbytes(1 << 20))
		        before = digest()
		        print("ok", flush=True)
		    else:
		        print("ok" if digest() == before else "wrong", flush=True)
	PYTHON
}

# Everything out, verified, out again while it works, back.
python_works() {
	local before i
	before=$(rss_anon)
	((before > 500 * OBJECTS))
	swap_most out -p "$TARGET_PID"
	(($(rss_anon) < before / 20))
	ask check
	for i in 1 2 3; do
		swap_most out -p "$TARGET_PID"
		ask work
		tell check
		out_and_in
		wait_for 60 has_answers $((1 + 3 * i))
		swap_most out -p "$TARGET_PID"
		ask check
	done
	run ! grep wrong "$TARGET_DIR/out"
	swap_ok detach -p "$TARGET_PID"
	wait_for 5 is_session_gone
	ask check
}

@test "a python3 program works on its objects while they leave and come back" {
	write_program
	start_with_input /usr/bin/python3 "$BATS_TEST_TMPDIR/program.py" "$OBJECTS"
	python_works
}

huge_bytes() {
	awk '/^AnonHugePages/ { sum += $2 } END { print sum * 1024 }' "/proc/$TARGET_PID/smaps"
}

needs_huge_pages() {
	if grep -qF '[never]' /sys/kernel/mm/transparent_hugepage/enabled; then
		skip "transparent huge pages are off"
	fi
}

@test "a program on jemalloc with huge pages works while they leave and come back" {
	needs_huge_pages
	local library
	library=$(find /usr/lib -name libjemalloc.so.2 -print -quit)
	[[ $library ]] || skip "libjemalloc2 is not installed"
	write_program
	start_with_input /usr/bin/env PYTHONMALLOC=malloc LD_PRELOAD="$library" MALLOC_CONF=thp:always,metadata_thp:always \
		python3 "$BATS_TEST_TMPDIR/program.py" "$OBJECTS"
	grep -qF "$library" "/proc/$TARGET_PID/maps"
	(($(huge_bytes) > 0))
	python_works
}

@test "a program on glibc's malloc with huge pages works while they leave and come back" {
	needs_huge_pages
	write_program
	start_with_input /usr/bin/env PYTHONMALLOC=malloc GLIBC_TUNABLES=glibc.malloc.hugetlb=1 python3 "$BATS_TEST_TMPDIR/program.py" "$OBJECTS"
	(($(huge_bytes) > 0))
	python_works
}
