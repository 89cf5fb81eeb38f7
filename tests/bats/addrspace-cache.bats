#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# addrspace(1) cache: what a program reads is what the source has, whatever the program does and whoever dies; or SIGBUS, never zeros.

# shellcheck disable=SC2030,SC2031 # each test is a process of its own
bats_require_minimum_version 1.5.0
load swap_helper

BLOCK=65536
BYTES=$((20 * BLOCK + 5000)) # neither a whole block nor a whole page
PAGES=$(((BYTES + 4095) / 4096))

# The object, random in every byte, and a program that knows it.
start_cached() {
	OBJECT=$BATS_TEST_TMPDIR/object
	head -c "$BYTES" /dev/urandom >"$OBJECT"
	start_with_input cached "$OBJECT"
}

is_mapped() {
	grep -q '"type":"cache"' "$RECORDS" || ! kill -0 "$CACHE_PID" 2>/dev/null
}

# serve [OPTION...]: serves the target in the background from now on. Sets CACHE_PID, RECORDS and ERRORS.
serve() {
	RECORDS=$BATS_TEST_TMPDIR/records.$((++caches))
	ERRORS=$RECORDS.errors
	: >"$RECORDS"
	addrspace cache -p "$TARGET_PID" "$@" >"$RECORDS" 2>"$ERRORS" 3>&- &
	CACHE_PID=$!
	end_later "$CACHE_PID"
	wait_for 30 is_mapped
	if ! grep -q '"type":"cache"' "$RECORDS"; then
		cat "$RECORDS" "$ERRORS" >&2
		return 1
	fi
}

# cache [OPTION...]: and tells the target where it is.
cache() {
	serve "$@"
	reply "map $(record '.[0] | "\(.start) \(.bytes)"')" ok
}

# reply COMMAND [ANSWER]: what the target answers. Sets $answer.
reply() {
	local lines
	lines=$(wc -l <"$TARGET_DIR/out")
	tell "$1"
	wait_for 60 has_answers $((lines + 1))
	answer=$(sed -n "$((lines + 1))p" "$TARGET_DIR/out")
	if (($# > 1)); then
		assert_equal "$1: $answer" "$1: $2"
	fi
}

# Every page as often as it was looked at, and nothing else.
all_good() {
	echo "ok=$(($1 * PAGES)) wrong=0 bus=0"
}

# ends [STATUS]: asks the service to end; it must end so. Sets $status.
ends() {
	kill -TERM "$CACHE_PID"
	ended "$@"
}

ended() {
	status=0
	wait "$CACHE_PID" || status=$?
	if ((status != ${1:-0})); then
		cat "$RECORDS" "$ERRORS" >&2
	fi
	assert_equal "$status" "${1:-0}"
	assert_equal "$(record '.[-1].type')" summary
}

no_descriptor() {
	[[ -z $(find "/proc/$TARGET_PID/fd" -lname '*userfaultfd*') ]]
}

@test "threads on the same and on different pages read the file, and each block is asked for once" {
	start_cached
	cache --from "$OBJECT" --at-end poison
	reply "verify 12" "$(all_good 12)"
	ends
	assert_equal "$(record '.[0] | [.bytes, .source_bytes, .block_bytes, .source_kind, .writable] | @csv')" \
		"$((PAGES * 4096)),$BYTES,$BLOCK,\"file\",false"
	assert_equal "$(record '.[-1] | [.faults >= 21, .blocks == 21, .bytes == '$BYTES', .errors == 0, .fill_p50_us > 0,
		.fill_p99_us >= .fill_p50_us] | all')" true
	reply "verify 3" "$(all_good 3)"
	no_descriptor
}

@test "children and grandchildren read it too" {
	start_cached
	cache --from "$OBJECT"
	reply "fork 5" "$(all_good 6)"
	reply discard ok
	reply grandchild "$(all_good 1)"
	reply "fork 3" "$(all_good 4)"
	ends
	assert_equal "$(record '.[-1].forks')" 10
}

@test "what a program discards, moves, unmaps, protects and locks is read as before" {
	start_cached
	cache --from "$OBJECT"
	reply move ok
	reply "verify 2" "$(all_good 2)"
	reply discard ok
	reply "verify 2" "$(all_good 2)"
	reply move ok
	reply discard ok
	reply protect ok
	reply "verify 1" "$(all_good 1)"
	reply discard ok
	reply lock ok
	reply "verify 1" "$(all_good 1)"
	reply punch ok
	reply "verify 1" "ok=$((PAGES - PAGES / 2 + PAGES / 4)) wrong=0 bus=0"
	ends
	assert_equal "$(record '.[-1] | [.remaps >= 2, .removes >= 2, .unmaps >= 3] | all')" true
}

@test "memory that a program adds to it has nothing to show: SIGBUS" {
	start_cached
	cache --from "$OBJECT"
	reply grow "ok=$PAGES wrong=0 bus=4 $((PAGES * 4096))-$(((PAGES + 4) * 4096))"
	ends
}

@test "a program that adds memory to it while it is locked goes on" {
	start_cached
	cache --from "$OBJECT"
	reply lock ok
	reply grow "ok=$PAGES wrong=4 bus=0" # nothing is right there: zeros of the kernel
	reply discard failed
	reply "verify 2" "$(all_good 2)"
	ends
}

@test "a writable object is the program's own; what it discards is filled anew" {
	start_cached
	cache --from "$OBJECT" --writable
	reply dirty ok
	reply "fork 2" "$(all_good 3)"
	reply discard ok
	reply "verify 2" "$(all_good 2)"
	ends
	assert_equal "$(record '.[0].writable')" true
}

@test "by default it cannot be written" {
	start_cached
	cache --from "$OBJECT"
	assert_regex "$(grep "^$(record '.[0].start[2:]')-" "/proc/$TARGET_PID/maps")" ' r--p '
	ends
}

@test "the kernel reads it for the program" {
	start_cached
	cache --from "$OBJECT"
	reply "write $BATS_TEST_TMPDIR/copy" ok
	cmp -n "$BYTES" "$OBJECT" "$BATS_TEST_TMPDIR/copy"
	ends
}

is_stopped() {
	grep -q '^State:.T' "/proc/$TARGET_PID/status"
}

@test "a program that is stopped stays so, and reads it when it goes on" {
	start_cached
	kill -STOP "$TARGET_PID"
	wait_for 10 is_stopped
	serve --from "$OBJECT"
	is_stopped
	kill -CONT "$TARGET_PID"
	reply "map $(record '.[0] | "\(.start) \(.bytes)"')" ok
	reply "verify 2" "$(all_good 2)"
	ends
}

@test "a program in a sandbox reads it" {
	start_cached
	reply confine ok
	cache --from "$OBJECT"
	reply "verify 0" "$(all_good 1)"
	ends
	reply "verify 0" "$(all_good 1)"
}

# What a process has of NoNewPrivs, Seccomp and Umask.
power() {
	sed -nE 's/^(NoNewPrivs|Seccomp|Umask):[[:space:]]*//p' "/proc/$1/status" | xargs
}

# What the worker lacks, but for what root cannot have everywhere.
missing() {
	record '.[0].missing | del(.limits, .oom_score_adj) | keys | join(" ")'
}

@test "its worker has no more power than it needs, and says so; one that runs commands gives theirs to them" {
	start_cached
	cache --from "$OBJECT"
	assert_equal "$(missing)" ""
	assert_equal "$(power "$(record '.[0].worker_pid')")" "0077 1 2"
	assert_regex "$(grep ^CapPrm "/proc/$(record '.[0].worker_pid')/status")" '0000000000[0-9a-f]*$'
	ends
	start_cached
	reply confine ok
	cache --from "$OBJECT"
	assert_equal "$(missing)" seccomp
	ends
	start_cached
	cache --from "exec:tail -c +\$((UVM_OFFSET + 1)) $OBJECT | head -c \$UVM_LENGTH" --size "$BYTES"
	assert_equal "$(missing)" "capabilities locked_memory no_new_privs seccomp"
	assert_equal "$(record '.[0].missing.seccomp')" "its source runs commands of the user"
	assert_equal "$(power "$(record '.[0].worker_pid')")" "$(power $$)"
	ends
}

@test "a program that ends or becomes another one ends the service" {
	local how
	for how in exit exec; do
		start_cached
		cache --from "$OBJECT"
		reply "verify 1" "$(all_good 1)"
		tell "$how"
		ended
	done
}

# decompresses KIND OPTION...: served from what the command that follows made of the object.
served_as() {
	local kind=$1
	shift
	cache "$@"
	reply "verify 4" "$(all_good 4)"
	ends
	assert_equal "$(record '.[0] | [.source_kind, .source_bytes] | @csv')" "\"$kind\",$BYTES"
	assert_equal "$(record '.[-1].errors')" 0
}

@test "compressed files are read as what is in them" {
	local kind
	start_cached
	for kind in zstd lz4 gzip; do
		"$kind" -qc "$OBJECT" >"$OBJECT.$kind"
		served_as "$kind" --from "$OBJECT.$kind"
		# As a stream that does not say how long it is, and with less at hand than a block.
		"$kind" -qc <"$OBJECT" >"$OBJECT.$kind"
		served_as "$kind" --from "$OBJECT.$kind" --block 4096
	done
	served_as file --from "file:$OBJECT"
}

@test "a compressed file of several frames is read by frame, and one of several members in order" {
	local part
	start_cached
	split -b 300000 "$OBJECT" "$OBJECT.part."
	for part in "$OBJECT".part.*; do
		zstd -qc "$part" >>"$OBJECT.zst"
		gzip -c "$part" >>"$OBJECT.gz"
		lz4 -qc "$part" >>"$OBJECT.lz4"
	done
	served_as zstd --from "$OBJECT.zst" --keep 1M # all of it would be more
	served_as zstd --from "$OBJECT.zst"
	served_as gzip --from "$OBJECT.gz"
	served_as lz4 --from "$OBJECT.lz4"
}

@test "a command's output is read once and in order, or by block" {
	start_cached
	served_as pipe --from "pipe:cat '$OBJECT'" --size "$BYTES"
	# shellcheck disable=SC2016 # for the shell of the command
	served_as exec --from 'exec:tail -c +$((UVM_OFFSET + 1)) '"'$OBJECT'"' | head -c $UVM_LENGTH' --size "$BYTES"
}

# The milliseconds of the last race, a line each.
milliseconds() {
	grep -oE '[0-9]+:ok' <<<"$answer" | tr -d ':ok'
}

@test "a delay is waited for at every fill, by many at the same time" {
	start_cached
	cache --from "$OBJECT" --delay 1000
	reply "race $(seq -s ' ' 0 $BLOCK $((19 * BLOCK)))"
	assert_equal "$(milliseconds | wc -l)" 20
	assert_equal "$(milliseconds | awk '$1 < 1000' | wc -l)" 0
	# One after the other, the last one would have waited for all.
	assert_equal "$(milliseconds | awk '$1 >= 20 * 1000' | wc -l)" 0
	ends
}

@test "a block that takes for ever holds up nobody else" {
	local go=$BATS_TEST_TMPDIR/go
	start_cached
	# The first block comes when all the others have been asked for.
	# shellcheck disable=SC2016
	cache --at-end poison --size "$BYTES" --from 'exec:: >'"'$go'"'.$UVM_OFFSET
		[ $UVM_OFFSET != 0 ] || until [ $(ls '"'$go'"'.* | wc -l) = 21 ]; do sleep 0.05; done
		tail -c +$((UVM_OFFSET + 1)) '"'$OBJECT'"' | head -c $UVM_LENGTH'
	reply "race $(seq -s ' ' 0 $BLOCK $BYTES)"
	assert_equal "$(milliseconds | wc -l)" 21
	ends
}

is_waiting_for_memory() {
	cat "/proc/$TARGET_PID"/task/*/stack 2>/dev/null | grep -q handle_userfault
}

@test "parts that are to fail give SIGBUS, and nothing else does" {
	start_cached
	cache --from "$OBJECT" --fail 8K-12K
	reply "verify 2" "ok=$((2 * (PAGES - 1))) wrong=0 bus=2 8192-12288"
	reply "fork 2" "ok=$((3 * (PAGES - 1))) wrong=0 bus=3 8192-12288"
	ends
	assert_equal "$(record '.[-1] | [.errors, .poisoned_pages > 0] | @csv')" 0,true
	cache --from "$OBJECT" --fail 0x20000-0x30000 --fail 160K-256K
	reply "verify 1" "ok=$((PAGES - 32)) wrong=0 bus=32 131072-262144"
	reply discard ok
	reply "verify 1" "ok=$((PAGES - 32)) wrong=0 bus=32 131072-262144"
	ends
	reply "verify 1" "ok=$((PAGES - 32)) wrong=0 bus=32 131072-262144"
}

@test "a file that is cut short while it is mapped gives SIGBUS where it ends" {
	local left=$((5 * BLOCK + 3 * 4096))
	start_cached
	cp "$OBJECT" "$OBJECT.source"
	cache --from "$OBJECT.source"
	reply "race 0"
	truncate -s "$left" "$OBJECT.source"
	reply "verify 2" "ok=$((2 * left / 4096)) wrong=0 bus=$((2 * (PAGES - left / 4096))) $left-$((PAGES * 4096))"
	ends 3
	assert_equal "$(record '.[-1].errors')" 16
	assert_equal "$(record 'map(select(.type == "error").offset) | sort_by(length, .)[0]')" "$(printf '0x%x' "$left")"
	assert_equal "$(record 'map(select(.type == "error"))[0] | [.op, .errno] | @csv')" '"fill","ENODATA"'
}

@test "a source that fails in the middle gives SIGBUS from there on" {
	local kind
	start_cached
	for kind in zstd lz4 gzip; do
		"$kind" -qc "$OBJECT" | head -c $((BYTES / 2)) >"$OBJECT.$kind"
		cache --from "$OBJECT.$kind" --size "$BYTES"
		reply "verify 1"
		assert_regex "$answer" "^ok=[1-9][0-9]+ wrong=0 bus=[1-9][0-9]+ [0-9]+-$((PAGES * 4096))$"
		ends 3
	done
	cache --from "pipe:head -c $((4 * BLOCK)) '$OBJECT'" --size "$BYTES"
	reply "verify 1" "ok=64 wrong=0 bus=$((PAGES - 64)) $((4 * BLOCK))-$((PAGES * 4096))"
	ends 3
}

@test "a command that fails for a block, or prints nothing for too long, gives SIGBUS there" {
	start_cached
	# shellcheck disable=SC2016
	cache --size "$BYTES" --timeout 5 --from 'exec:case $UVM_OFFSET in 65536) exit 1 ;; 131072) sleep 100 ;; 196608) exit 0 ;; esac
		tail -c +$((UVM_OFFSET + 1)) '"'$OBJECT'"' | head -c $UVM_LENGTH' --at-end poison
	reply "verify 1" "ok=$((PAGES - 48)) wrong=0 bus=48 65536-262144"
	ends 3
	assert_equal "$(record 'map(select(.type == "error") | .errno) | sort | join(" ")')" "EIO ENODATA ETIMEDOUT"
}

worker() {
	pgrep -n -f "^addrspace cache -p $TARGET_PID "
}

processes() {
	pgrep -f "^addrspace cache -p $TARGET_PID "
}

# Kills until none is left: one of them may just have started another.
are_killed() {
	# shellcheck disable=SC2046
	kill -KILL $(processes) 2>/dev/null || :
	[[ -z $(processes) ]]
}

has_two_processes() {
	(($(processes | wc -l) == 2))
}

is_dead() {
	! readlink "/proc/$1/exe" >/dev/null
}

# Kills one of the two, the older or the younger, as soon as there are two.
kill_one() {
	local pid
	wait_for 20 has_two_processes
	pid=$(processes | sort -n | sed -n "$((RANDOM % 2 + 1))p")
	kill -KILL "$pid"
	wait_for 20 is_dead "$pid"
}

@test "either process is killed again and again while threads, children and discards go on" {
	start_cached
	cache --from "$OBJECT" --block 4096
	tell stress
	repeat 4 10 kill_one
	tell discard
	wait_for 60 has_answers 4
	assert_equal "$(tail -n 2 "$TARGET_DIR/out")" $'enough ok=0 wrong=0 bus=0\nok'
	reply "fork 2" "$(all_good 3)"
	wait_for 20 has_two_processes
	kill -TERM "$(processes | sort -n | head -n 1)"
	wait_for 20 is_clean
	assert_equal "$(record '.[-1] | [.type, .restarts >= 10] | @csv')" '"summary",true'
	reply "verify 2" "$(all_good 2)"
	no_descriptor
}

# cache_failing POINT NAME: serves the target from now on; NAME (KILL, HANG) happens at the point. Sets MARK.
cache_failing() {
	MARK=$BATS_TEST_TMPDIR/$1
	PATH=$UVM_BUILD/failpoints/bin:$PATH
	export UVM_PATIENCE=3 "UVM_$2_AT=$1" "UVM_$2_MARK=$MARK"
	cache --from "$OBJECT" --block 4096 --at-end poison
}

@test "a worker that dies with a message in its hands leaves nothing undone" {
	for point in cache-fault cache-event cache-applying cache-applied; do
		start_cached
		cache_failing "$point" KILL
		reply "fork 2" "$(all_good 3)"
		reply move ok
		reply discard ok
		reply "fork 2" "$(all_good 3)"
		[[ -d $MARK ]]
		ends
		assert_equal "$point $(record '.[-1] | [.restarts, .errors, .poisoned_pages] | @csv')" "$point 1,0,0"
	done
}

@test "a worker that hangs or is stopped is replaced, and who waits for it goes on" {
	for point in cache-fault cache-event cache-house stopped; do
		start_cached
		cache_failing "$point" HANG
		[[ $point != stopped ]] || kill -STOP "$(worker)"
		reply "fork 2" "$(all_good 3)"
		wait_for 20 has_two_processes
		ends
		assert_equal "$point $(record '.[-1].restarts')" "$point 1"
	done
}

@test "a worker that is killed is replaced however many descriptors the command was started with" {
	# In the process that serve starts in the background.
	addrspace() {
		local program fd
		program=$(type -P addrspace)
		for fd in {3..99}; do
			eval "exec $fd</dev/null"
		done
		exec -a addrspace "$program" "$@"
	}
	start_cached
	cache --from "$OBJECT"
	for _ in 1 2; do
		kill -KILL "$(worker)"
		wait_for 20 has_two_processes
		reply "verify 1" "$(all_good 1)"
	done
	ends
	assert_equal "$(record '.[-1].restarts')" 2
}

@test "a command's output and a compressed file survive the death of the process that reads them" {
	start_cached
	zstd -qc "$OBJECT" >"$OBJECT.zst"
	for from in "pipe:cat '$OBJECT'" "$OBJECT.zst"; do
		cache --from "$from" --size "$BYTES" --at-end poison
		reply "race 0 200000"
		kill -KILL "$(worker)"
		reply "race 70000 400000"
		kill -KILL "$(worker)"
		reply "verify 2" "$(all_good 2)"
		ends
	done
}

@test "when all our processes are killed, its readers wait: they read no zeros" {
	start_cached
	cache --from "$OBJECT"
	reply "race 0"
	# shellcheck disable=SC2046
	kill -STOP $(processes)
	wait_for 10 are_killed
	wait "$CACHE_PID" || :
	tell "verify 1"
	wait_for 10 is_waiting_for_memory
	assert_equal "$(wc -l <"$TARGET_DIR/out")" 3
}

puppet() {
	record '.[0].puppet_pid'
}

has_ended() {
	[[ $(sed -n 's/^State:\t\(.\).*/\1/p' "/proc/$1/status" 2>/dev/null) =~ ^[ZX]?$ ]]
}

# other_puppet PID: that of this test which is not PID, and has the userfaultfd.
other_puppet() {
	local pid
	for pid in $(puppets uvm-cache); do
		if [[ $pid != "$1" && $(find "/proc/$pid/fd" -lname '*userfaultfd*') ]]; then
			echo "$pid"
			return 0
		fi
	done 2>/dev/null
	return 1
}

@test "neither a program nor its children have its descriptor, and the puppet that has it ends with the service or the program" {
	local how pid
	for how in served confined kill exec; do
		start_cached
		[[ $how != confined ]] || reply confine ok
		cache --from "$OBJECT"
		no_descriptor
		pid=$(puppet)
		assert_equal "$(<"/proc/$pid/comm")" uvm-cache
		assert_equal "$(find "/proc/$pid/fd" -lname '*userfaultfd*' | wc -l)" 1
		if [[ $how != confined ]]; then # which cannot fork
			reply "fork 2" "$(all_good 3)"
			no_descriptor
		fi
		case $how in
		kill) end_target "$TARGET_PID" && ended ;;
		exec) tell exec && ended ;;
		*) ends ;;
		esac
		wait_for 5 has_ended "$pid"
		end_target "$TARGET_PID"
	done
}

@test "a puppet that is killed is replaced: readers wait when all else is killed after that" {
	local first second
	start_cached
	snapshot
	cache --from "$OBJECT" --at-end unmap
	first=$(puppet)
	kill -KILL "$first"
	wait_for 10 other_puppet "$first"
	no_descriptor
	second=$(other_puppet "$first")
	reply "verify 0" "$(all_good 1)"
	ends
	wait_for 5 has_ended "$second"
	unchanged
	cache --from "$OBJECT"
	reply "race 0"
	kill -KILL "$(puppet)"
	wait_for 10 other_puppet "$(puppet)"
	wait_for 10 are_killed
	wait "$CACHE_PID" || :
	tell "verify 1"
	wait_for 10 is_waiting_for_memory
}

# has_moved FILE: the program that the records in FILE are of has the object elsewhere for now.
has_moved() {
	local pid maps
	pid=$(jq -r 'select(.type == "cache").pid' "$1" 2>/dev/null) && [[ $pid ]] && maps=$(<"/proc/$pid/maps") &&
		[[ $maps != *200000000000-* ]]
}

@test "a program that moves the object about while the service ends has all of it, and waits for nobody" {
	local cache BYTES=$((16 << 20))
	local PAGES=$((BYTES / 4096))
	cd "$BATS_TEST_TMPDIR" || return
	head -c "$BYTES" /dev/urandom >object
	printf 'map %s %s\nmoves 4\nexit\n' 200000000000 $((PAGES * 4096)) >input
	timeout -k 1 60 addrspace cache --from object --output records -- "$UVM_BUILD/targets/cached" object <input >out 3>&- &
	cache=$!
	end_later "$cache"
	wait_for 30 has_moved records
	kill -TERM "$(jq -r 'select(.type == "cache").worker_pid' records)"
	wait "$cache"
	assert_equal "$(tail -n 1 out)" "$(all_good 1)"
	assert_equal "$(jq -s '.[-1].remaps > 10' records)" true
}

@test "at the end what is missing is filled, poisoned, or unmapped" {
	start_cached
	cache --from "$OBJECT" --at-end fill
	reply "race 0"
	ends
	no_descriptor
	reply "verify 1" "$(all_good 1)"
	cache --from "$OBJECT" --at-end poison
	reply "race 0"
	ends
	no_descriptor
	reply "verify 1" "ok=16 wrong=0 bus=$((PAGES - 16)) 65536-$((PAGES * 4096))"
	cache --from "$OBJECT" --at-end unmap
	reply "race 0"
	reply move ok
	grep ' r--p 00000000 00:00 0 $' "/proc/$TARGET_PID/maps" >"$BATS_TEST_TMPDIR/before_end"
	ends
	no_descriptor
	assert_equal "$(diff "$BATS_TEST_TMPDIR/before_end" <(grep ' r--p 00000000 00:00 0 $' "/proc/$TARGET_PID/maps") | grep -c '^<')" 1
}

# One that is sent to a group comes to both, in any order.
@test "a signal to both of our processes is one, and all is filled" {
	start_cached
	cache --from "exec:sleep 0.1; tail -c +\$((UVM_OFFSET + 1)) $OBJECT | head -c \$UVM_LENGTH" --size "$BYTES"
	kill -TERM "$(record '.[0].worker_pid')"
	ends
	reply "verify 1" "$(all_good 1)"
}

@test "nothing of ours is left in the program but the memory itself" {
	start_cached
	snapshot
	cache --from "$OBJECT" --at-end unmap
	reply "verify 0" "$(all_good 1)"
	ends
	unchanged
}

@test "a command gets the object at a known place, and its exit status is passed on" {
	local status=0
	head -c "$BYTES" /dev/urandom >"$BATS_TEST_TMPDIR/object"
	cd "$BATS_TEST_TMPDIR"
	printf 'map %s %s\nverify 3\nexit\n' 200000000000 $((PAGES * 4096)) |
		timeout 60 addrspace cache --from object --output records -- "$UVM_BUILD/targets/cached" object >out 3>&-
	assert_equal "$(tail -n 1 out)" "$(all_good 3)"
	assert_equal "$(jq -rs '.[0].start, .[-1].errors' records | xargs)" "0x200000000000 0"
	# shellcheck disable=SC2016
	timeout 60 addrspace cache --from object --at 300000000000 --output records -- \
		sh -c 'echo "$UVM_CACHE_ADDRESS $UVM_CACHE_BYTES"; grep -c "^300000000000-" /proc/$$/maps; exit 7' >out 3>&- || status=$?
	assert_equal "$status: $(<out)" "7: 0x300000000000 $((PAGES * 4096))"$'\n1'
	assert_equal "$(jq -s length records)" 2
	status=0
	timeout 60 addrspace cache --from object -- sh -c 'kill -TERM $$' 3>&- || status=$?
	assert_equal "$status" $((128 + 15))
	status=0
	timeout 60 addrspace cache --from object -- "$BATS_TEST_TMPDIR/none" 2>err 3>&- || status=$?
	assert_equal "$status" 127
	assert_regex "$(<err)" "^addrspace cache: cannot run .*/none: No such file"
	status=0
	timeout 60 addrspace cache --from object -- "$BATS_TEST_TMPDIR/object" 2>err 3>&- || status=$?
	assert_equal "$status" 126
}

@test "a command has SIGPIPE as whoever started it" {
	local pipe way words wanted
	head -c 4096 /dev/urandom >"$BATS_TEST_TMPDIR/object"
	start_target touch anon every 4096
	for pipe in --default-signal=PIPE --ignore-signal=PIPE; do
		wanted=$(env "$pipe" grep SigIgn /proc/self/status)
		for way in "addrspace cache --from $BATS_TEST_TMPDIR/object --" "addrspace clone -p $TARGET_PID --" "swapctl in -p $TARGET_PID --for"; do
			read -ra words <<<"$way"
			run -0 env "$pipe" "${words[@]}" grep SigIgn /proc/self/status 3>&-
			assert_line "$wanted"
		done
	done
}

@test "a signal that is sent to it is the command's" {
	local pid status=0
	head -c "$BYTES" /dev/urandom >"$BATS_TEST_TMPDIR/object"
	addrspace cache --from "$BATS_TEST_TMPDIR/object" -- sh -c 'trap "exit 9" USR1; echo ready; while :; do sleep 0.05; done' \
		>"$BATS_TEST_TMPDIR/out" 3>&- &
	pid=$!
	end_later "$pid"
	wait_for 20 grep -q ready "$BATS_TEST_TMPDIR/out"
	kill -USR1 "$pid"
	wait "$pid" || status=$?
	assert_equal "$status" 9
}

# refuses STATUS PATTERN ARGUMENT...: fails so, with one line on standard error that matches and no record.
refuses() {
	local RECORDS ERRORS
	tool_refuses "$1" ".*($2)" addrspace cache "${@:3}"
	assert_equal "$(<"$RECORDS")" ""
}

@test "wrong words are told, and nothing is changed" {
	start_cached
	snapshot
	local p=(-p "$TARGET_PID") from=(--from "$OBJECT")
	refuses 2 'what is to be mapped' "${p[@]}"
	refuses 2 'which process' "${from[@]}"
	refuses 2 'either a process or a command' "${p[@]}" "${from[@]}" -- true
	refuses 2 '--size: 0 is not a size' "${p[@]}" "${from[@]}" --size 0
	refuses 2 '--size: -1 is not a size' "${p[@]}" "${from[@]}" --size=-1
	refuses 2 '--keep: x is not a size' "${p[@]}" "${from[@]}" --keep x
	refuses 2 '--block: 5000 is not a power of two' "${p[@]}" "${from[@]}" --block 5000
	refuses 2 '--block: 1K is not a power of two' "${p[@]}" "${from[@]}" --block 1K
	refuses 2 '--block: 128M is not a power of two' "${p[@]}" "${from[@]}" --block 128M
	refuses 2 '--at: 123 is not the address of a page' "${p[@]}" "${from[@]}" --at 123
	refuses 2 '--delay: soon is not a time' "${p[@]}" "${from[@]}" --delay soon
	refuses 2 '--timeout: -1 is not a time' "${p[@]}" "${from[@]}" --timeout=-1
	refuses 2 '--fail: 4096 is not START-END' "${p[@]}" "${from[@]}" --fail 4096
	refuses 2 '--fail: 8K-4K is not START-END' "${p[@]}" "${from[@]}" --fail 8K-4K
	refuses 2 '--fail: 1-2 does not begin and end at pages' "${p[@]}" "${from[@]}" --fail 1-2
	refuses 2 '--at-end: leave is none of' "${p[@]}" "${from[@]}" --at-end leave
	refuses 2 'pidfd' -p "$TARGET_PID" --pidfd 3 "${from[@]}"
	unchanged
}

@test "a source that cannot be is told, and nothing is changed" {
	start_cached
	snapshot
	local p=(-p "$TARGET_PID")
	: >"$BATS_TEST_TMPDIR/empty"
	mkfifo "$BATS_TEST_TMPDIR/fifo"
	head -c 100000 "$OBJECT" | zstd -qc >"$OBJECT.zst"
	head -c 50000 "$OBJECT.zst" >"$OBJECT.cut"
	refuses 1 'open /nowhere: No such file' "${p[@]}" --from /nowhere
	refuses 2 'it is not a regular file' "${p[@]}" --from "$BATS_TEST_TMPDIR"
	refuses 2 'it is not a regular file' "${p[@]}" --from "$BATS_TEST_TMPDIR/fifo"
	refuses 2 'it is empty' "${p[@]}" --from "$BATS_TEST_TMPDIR/empty"
	refuses 2 'there is no command' "${p[@]}" --from pipe: --size 4K
	refuses 2 'give the size' "${p[@]}" --from pipe:true
	refuses 2 'give the size' "${p[@]}" --from exec:true
	refuses 1 'all of it would have to be kept' "${p[@]}" --from pipe:true --size 2M --keep 1M
	refuses 1 'all of it would have to be kept' "${p[@]}" --from "$OBJECT.zst" --keep 64K
	refuses 1 'it is damaged, or cut short' "${p[@]}" --from "$OBJECT.cut"
	split -b 300000 "$OBJECT" "$OBJECT.part."
	zstd -qc --rm "$OBJECT".part.* >"$OBJECT.frames"
	for file in "$OBJECT" "$OBJECT.frames"; do
		refuses 2 'there is less in it' "${p[@]}" --from "$file" --size $((BYTES + 4096))
	done
	unchanged
}

@test "a place that is taken, a process that is gone, one of another user: told by the exit code" {
	local place
	start_cached
	place=$(awk -F- 'NR == 1 { print $1 }' "/proc/$TARGET_PID/maps")
	snapshot
	refuses 1 'something is mapped there' -p "$TARGET_PID" --from "$OBJECT" --at "$place"
	chmod 755 "$BATS_TEST_TMPDIR"
	status=0
	as_nobody addrspace cache -p "$TARGET_PID" --from /etc/passwd >"$BATS_TEST_TMPDIR/none" 2>"$BATS_TEST_TMPDIR/err" || status=$?
	assert_equal "$status" 4
	unchanged
	end_target "$TARGET_PID"
	refuses 6 'no such process' -p "$TARGET_PID" --from "$OBJECT"
}

is_front_stopped() {
	[[ $(sed 's/.*) \(.\).*/\1/' "/proc/$CACHE_PID/stat") == T ]]
}

@test "signals of a terminal do not stop the process that fills, and SIGQUIT ends the service in order" {
	local signal
	start_cached
	set -m # a process group of its own
	cache --from "$OBJECT" --block 4096
	set +m
	for signal in TSTP TTIN TTOU; do
		kill -"$signal" -- -"$CACHE_PID"
		wait_for 10 is_front_stopped
		reply discard ok
		reply "verify 1" "$(all_good 1)"
		kill -CONT -- -"$CACHE_PID"
	done
	kill -QUIT -- -"$CACHE_PID"
	ended
	reply "verify 1" "$(all_good 1)"
}

@test "a command that fills has the limits of whoever started the service, and the process that serves its own" {
	local worker
	start_cached
	(
		ulimit -S -n 300
		cache --from "exec:ulimit -S -n >$BATS_TEST_TMPDIR/limit; cat /proc/self/oom_score_adj >$BATS_TEST_TMPDIR/adj
			tail -c +\$((UVM_OFFSET + 1)) $OBJECT | head -c \$UVM_LENGTH" --size "$BYTES"
		reply "verify 1" "$(all_good 1)"
		assert_equal "$(<"$BATS_TEST_TMPDIR/limit")" 300
		assert_equal "$(<"$BATS_TEST_TMPDIR/adj")" "$(<"/proc/self/oom_score_adj")"
		worker=$(record '.[0].worker_pid')
		awk '/^Max open files/ { exit $4 != $5 || $4 == 300 }' "/proc/$worker/limits"
		ends
	)
}
