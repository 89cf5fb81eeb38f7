#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# libuvm-reclaim(7): programs that never heard of it, with their large blocks in a ring.

bats_require_minimum_version 1.5.0
load helper

LIBRARY=$UVM_BUILD/lib/libuvm-reclaim.so

preloaded() {
	LD_PRELOAD=$LIBRARY timeout 120 "$@"
}

# heap_case CASE: as it says, with the library and, if only for the test's sake, without.
heap_case() {
	run preloaded "$UVM_BUILD/targets/heap_cases" "$1"
	assert_success
	assert_output --partial ok
}

resident_kib() {
	awk '/^VmRSS:/ { print $2 }' "/proc/$TARGET_PID/status"
}

# same COMMAND...: prints the same with the library and without it.
same() {
	local before
	before=$(timeout 120 "$@" 2>&1)
	[[ $before ]]
	run preloaded "$@"
	assert_success
	assert_output "$before"
}

# The library was there, and so was its ring: or the rest has shown nothing.
uses_ring() {
	grep -q '/memfd:uvm-reclaim-ring' "/proc/$1/maps"
}

@test "no block is given out twice or loses a byte, among threads, forks and reclaiming" {
	run preloaded "$UVM_BUILD/targets/heap" 3000 2 fork trim
	assert_success
	assert_line --regexp '^ok [0-9]{4}'
}

# start_preloaded PROGRAM [ARGUMENT...]: start_target with the library.
start_preloaded() {
	LD_PRELOAD=$LIBRARY start_target "$@"
}

target_ended() {
	! kill -0 "$TARGET_PID" 2>/dev/null
}

@test "no block is given out twice or loses a byte while reclaimctl reclaims from outside, again and again" {
	start_preloaded heap 500 2 fork until
	wait_for 60 uses_ring "$TARGET_PID"
	for ((reclaimed = i = 0; i < 25 || (reclaimed <= 25 && i < 1000); i++)); do
		run reclaimctl flush -p "$TARGET_PID" --all
		[[ $status == 0 || $status == 3 ]] || fail "$output"
		reclaimed=$(reclaimctl status -p "$TARGET_PID" | jq -s '.[0].reclaimed_entries')
	done
	touch "$TARGET_DIR/stop"
	wait_for 60 target_ended
	assert_regex "$(<"$TARGET_DIR/out")" $'\nok [0-9]+$'
	((reclaimed > 25)) || fail "only $reclaimed entries were reclaimed"
}

@test "what is freed is counted in the ring, and reclaimctl flush takes it out of core" {
	mkfifo "$BATS_TEST_TMPDIR/commands"
	exec 4<>"$BATS_TEST_TMPDIR/commands"
	TARGET_STDIN=$BATS_TEST_TMPDIR/commands start_preloaded heap_cases held
	before=$(resident_kib)
	run jq -s '.[0] | .entries, .bytes' < <(reclaimctl status -p "$TARGET_PID")
	assert_output $'64\n67108864'
	run reclaimctl flush -p "$TARGET_PID" --all
	assert_success
	((before - $(resident_kib) > 60 * 1024))
	echo >&4
	wait_for 60 target_ended
	assert_regex "$(<"$TARGET_DIR/out")" $'\nok$'
}

@test "freed blocks stay until somebody reclaims them, and serve again at their addresses" {
	heap_case kept
}

@test "calloc gives zeros from blocks that were used or reclaimed, and touches no more than it must" {
	heap_case zeros
}

@test "freed blocks go back to the kernel before an allocation fails, which fails as ever" {
	heap_case memory
}

@test "bad requests are answered as the manual has it" {
	heap_case errors
}

@test "every alignment up to a gigabyte" {
	heap_case aligned
}

@test "blocks that no entry can hold are unmapped at once" {
	heap_case huge
}

@test "realloc keeps contents when it shrinks, grows, and leaves for the small blocks" {
	heap_case shrunk
}

@test "a limit on the size of files does no harm, from the beginning or before a fork" {
	heap_case file-limit
	heap_case file-limit-later
}

@test "a program may close all descriptors" {
	heap_case closed
}

@test "children made by a bare clone, or that borrow the memory, use it too" {
	heap_case cloned
	heap_case borrowed
}

@test "what a thread keeps is reclaimed after its end" {
	heap_case threads
}

@test "other handlers of fork may allocate and free" {
	heap_case handlers
}

@test "a handler of a signal may fork, whatever it interrupts" {
	UVM_RECLAIM_FRONT=0 heap_case signals
}

@test "allocating and freeing again and again makes no system call" {
	LD_PRELOAD='' timeout 60 strace -E "LD_PRELOAD=$LIBRARY" -o "$BATS_TEST_TMPDIR/trace" "$UVM_BUILD/targets/heap_cases" cycles
	run sed -n '/^close(-1000)/,/^close(-1001)/p' "$BATS_TEST_TMPDIR/trace"
	assert_line --index 0 --partial '-1000'
	assert_line --index 1 --partial '-1001'
	assert_equal "${#lines[@]}" 2
}

@test "a size that makes no sense is told, and the default is used" {
	for knob in UVM_RECLAIM_MIN=1K UVM_RECLAIM_MIN=x UVM_RECLAIM_CACHE=-1 UVM_RECLAIM_FRONT=; do
		run --separate-stderr env "$knob" "LD_PRELOAD=$LIBRARY" "$UVM_BUILD/targets/heap_cases" kept
		assert_success
		assert_output ok
		# shellcheck disable=SC2154 # set by run
		assert_equal "$stderr" "libuvm-reclaim: $knob: not a size that is allowed, the default is used"
	done
}

@test "UVM_RECLAIM_MIN, _CACHE and _FRONT decide what is kept" {
	UVM_RECLAIM_MIN=2M run preloaded "$UVM_BUILD/targets/heap_cases" kept
	assert_failure 1
	assert_output --partial 'not resident'
	UVM_RECLAIM_CACHE=1M UVM_RECLAIM_FRONT=0 run preloaded "$UVM_BUILD/targets/heap_cases" kept
	assert_failure 1
	assert_output --partial 'not resident'
	UVM_RECLAIM_FRONT=0 heap_case threads
	UVM_RECLAIM_MIN=16K UVM_RECLAIM_FRONT=1G run preloaded "$UVM_BUILD/targets/heap" 2000 2 trim
	assert_success
}

@test "freed blocks leave the program enough of the mappings that it may have" {
	(($(</proc/sys/vm/max_map_count) <= 1 << 20)) || skip "this machine allows so many mappings that none are missed"
	heap_case mappings
}

@test "a program that is linked with musl" {
	for each in heap heap_cases; do
		musl-gcc -D_GNU_SOURCE -O2 -o "$BATS_TEST_TMPDIR/$each" "$ROOT/tests/targets/$each.c"
	done
	run preloaded "$BATS_TEST_TMPDIR/heap" 2000 2 fork trim
	assert_success
	for each in kept zeros memory closed cloned handlers threads; do
		run preloaded "$BATS_TEST_TMPDIR/heap_cases" "$each"
		assert_success
		assert_output ok
	done
}

@test "a program that brings its own malloc keeps it" {
	cat >"$BATS_TEST_TMPDIR/own.c" <<-'C'
		#include <stddef.h>
		#include <stdio.h>
		#include <stdlib.h>
		static char area[1 << 24];
		static size_t used;
		void *malloc(size_t size) { void *at = &area[used]; used += (size + 31) & ~(size_t)15; return used <= sizeof(area) ? at : NULL; }
		void *calloc(size_t count, size_t size) { return malloc(count * size); }
		void free(void *at) { if (at && ((char *)at < area || (char *)at >= area + sizeof(area))) abort(); }
		int main(void) { char *volatile at = malloc(100000); free(at); printf("%d\n", at >= area && at < area + sizeof(area)); }
	C
	for pie in -pie -no-pie; do
		gcc -O1 -fno-builtin "-f${pie#-}" "$pie" -o "$BATS_TEST_TMPDIR/own" "$BATS_TEST_TMPDIR/own.c"
		run preloaded "$BATS_TEST_TMPDIR/own"
		assert_success
		assert_output 1
	done
}

@test "python3, sqlite3 and gcc print what they print without it" {
	same python3 -c '
import threading, hashlib
def work(n):
    kept = []
    for i in range(60):
        kept.append(bytes([n + i]) * (50000 * (1 + i % 7)))
        if i % 3: kept.pop(0)
    sums[n] = hashlib.sha1(b"".join(kept)).hexdigest()
sums = {}
threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
[t.start() for t in threads]; [t.join() for t in threads]
print(sorted(sums.items()), sum(x * x for x in list(range(300000))))'
	same sqlite3 :memory: "create table t(a, b blob); with recursive n(i) as (select 1 union all select i + 1 from n where i < 300)
		insert into t select i, zeroblob(i * 1000) from n; delete from t where a % 3 = 0; update t set b = zeroblob(500000) where a % 50 = 0;
		select count(*), sum(length(b)), hex(substr(group_concat(a), 1, 100)) from t;"
	(cd "$ROOT" && gcc -O1 -Ilibcommon -D_GNU_SOURCE -c -o "$BATS_TEST_TMPDIR/plain.o" libcommon/base/size.c &&
		preloaded gcc -O1 -Ilibcommon -D_GNU_SOURCE -c -o "$BATS_TEST_TMPDIR/preloaded.o" libcommon/base/size.c)
	cmp "$BATS_TEST_TMPDIR/plain.o" "$BATS_TEST_TMPDIR/preloaded.o"
}

redis() {
	timeout 60 redis-cli -s "$BATS_TEST_TMPDIR/socket" "$@"
}

redis_answers() {
	[[ $(redis ping 2>&1) == PONG ]]
}

# Strings of 10 KiB to 1 MiB, written again and again, and a snapshot by a forked child. Prints the digest.
fill_redis() {
	LD_PRELOAD=$1 redis-server --port 0 --unixsocket "$BATS_TEST_TMPDIR/socket" --dir "$BATS_TEST_TMPDIR" --save '' \
		--enable-debug-command yes --dbfilename "$2" >"$BATS_TEST_TMPDIR/log" 2>&1 3>&- &
	add_target $!
	wait_for 60 redis_answers
	redis eval 'for i = 1, 400 do redis.call("set", i % 60, string.rep(redis.sha1hex(i), 256 * (1 + i % 101))) end' 0 >/dev/null
	redis save >/dev/null
	redis bgsave >/dev/null
	wait_for 60 snapshot_done
	[[ ! $1 ]] || reclaimctl flush -p "${TARGETS[-1]}" --all >/dev/null || echo "not reclaimed"
	[[ ! $1 ]] || uses_ring "${TARGETS[-1]}" || echo "no ring"
	redis debug digest
	redis debug reload >/dev/null
	redis debug digest
	end_target "${TARGETS[-1]}"
}

snapshot_done() {
	redis info persistence | grep -q '^rdb_bgsave_in_progress:0'
}

@test "redis-server holds the same data, and so does its forked child's snapshot" {
	plain=$(fill_redis '' plain.rdb)
	[[ $plain =~ ^[0-9a-f]{40} ]]
	run fill_redis "$LIBRARY" preloaded.rdb
	assert_output "$plain"
}

@test "reclaimctl run: the library, in front of others, and what --min says" {
	run reclaimctl run -- "$UVM_BUILD/targets/heap_cases" kept
	assert_success
	assert_output ok
	# shellcheck disable=SC2016 # for the other shell
	LD_PRELOAD=$UVM_BUILD/lib/libuvm.so.0 run reclaimctl run --min 1M -- sh -c 'echo "$LD_PRELOAD $UVM_RECLAIM_MIN"; exit 7'
	assert_failure 7
	assert_output "$(realpath "$LIBRARY"):$UVM_BUILD/lib/libuvm.so.0 1M"
	run reclaimctl run --min 2M -- "$UVM_BUILD/targets/heap_cases" kept
	assert_failure 1
	assert_output --partial 'not resident'
}

@test "reclaimctl run: bad input, and commands that cannot be run" {
	run reclaimctl run
	assert_failure 2
	assert_output 'reclaimctl run: cannot begin: which command? Give it after --'
	for size in 1 16383 -1 x ''; do
		run reclaimctl run --min "$size" -- echo started
		assert_failure 2
		assert_output "reclaimctl run: cannot use --min: $size is not a size of 16K or more"
	done
	run reclaimctl run true
	assert_failure 2
	run -127 reclaimctl run -- /nowhere/command
	assert_output 'reclaimctl run: cannot run /nowhere/command: No such file or directory'
	run reclaimctl run -- /etc/passwd
	assert_failure 126
	assert_output 'reclaimctl run: cannot run /etc/passwd: Permission denied'
}

@test "the examples of libuvm-reclaim(7) work" {
	local line count=0
	start_preloaded heap 500 2 until
	wait_for 60 uses_ring "$TARGET_PID"
	export PID=$TARGET_PID
	while read -r line; do
		((++count))
		run timeout 60 bash -c "$line"
		assert_success
		assert_output
	done < <(sed -n 's/^\.Dl [$#] //p' "$ROOT/man/libuvm-reclaim.7")
	assert [ "$count" -eq 4 ]
}

@test "a program that wants a ring of its own is told that there is one" {
	cat >"$BATS_TEST_TMPDIR/own.c" <<-'END'
		#include <stdio.h>
		#include <stdlib.h>
		#include <uvm/reclaim.h>

		int main(void)
		{
			uvm_reclaim_ring_t ring;

			free(malloc(1 << 20));
			printf("%d\n", uvm_reclaim_ring_allocate(&ring, 256, 256));
			fflush(stdout);
			return system("grep -c memfd:uvm-reclaim-ring /proc/$PPID/maps");
		}
	END
	gcc -O0 -Wall -I"$ROOT/libuvm" -o "$BATS_TEST_TMPDIR/own" "$BATS_TEST_TMPDIR/own.c" -L"$UVM_BUILD/lib" -luvm \
		-Wl,-rpath,"$UVM_BUILD/lib"
	run preloaded "$BATS_TEST_TMPDIR/own"
	assert_success
	assert_output $'-11\n1' # UVM_RECLAIM_RESOURCE_SHORTAGE, -EAGAIN
}
