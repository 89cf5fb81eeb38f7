#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# addrspace clone, drop and diff: a copy of a live process that the process never hears of, and that never runs.

# shellcheck disable=SC2030,SC2031,SC2153 # each test is a process of its own
bats_require_minimum_version 1.5.0
load addrspace_helper

# What the program that was started with input says of itself at its end, or when asked.
is_well() {
	ask end
	assert [ ! -e "$TARGET_DIR/ran-elsewhere" ]
}

# hold PID: a held clone. Sets CLONE.
hold() {
	space 0 clone -p "$1" --hold
	CLONE=$(record '.[0].pid')
	end_later "$CLONE"
}

state_of() {
	sed -n 's/^State:\t\(.\).*/\1/p' "/proc/$1/status"
}

is_in_state() {
	[[ $(state_of "$2") == "$1" ]]
}

is_gone() {
	[[ ! -d /proc/$1 ]]
}

# Processes that were made by cloning the target: its children, and what has its memory's name and no other parent than init.
copies() {
	ps -eo pid,ppid,comm | awk -v pid="$TARGET_PID" '$2 == pid { print }'
	if [[ ${CLONE:-} && -d /proc/$CLONE ]]; then
		echo "$CLONE"
	fi
}

leaves_no_copy() {
	[[ -z $(copies) ]]
}

# Everything that the target has, but for what its threads change themselves.
holdings() {
	find "/proc/$1/fd" -printf '%f %l\n' | sort
	grep -v vsyscall "/proc/$1/maps"
}

@test "a clone is equal to its original, stopped, without its files, and the original has no child" {
	start_with_input childless $((16 * MEBIBYTE))
	holdings "$TARGET_PID" >"$BATS_TEST_TMPDIR/before-clone"
	hold "$TARGET_PID"
	assert_equal "$(state_of "$CLONE")" T
	assert_equal "$(ls "/proc/$CLONE/fd")" ''
	assert_equal "$(ps -o sid= -p "$CLONE" | tr -d ' ')" "$(ps -o pgid= -p "$CLONE" | tr -d ' ')"
	assert [ "$(ps -o sid= -p "$CLONE")" != "$(ps -o sid= -p "$TARGET_PID")" ]
	assert_equal "$(<"/proc/$CLONE/comm")" 'clone of childl'
	assert_equal "$(<"/proc/$CLONE/oom_score_adj")" 1000
	assert_equal "$(record '.[0] | [.original_pid, .threads, .threads_missed, .held, .left_out_bytes] | @csv')" \
		"$TARGET_PID,3,0,true,0"
	assert [ "$(record '.[0].resident_bytes')" -ge $((16 * MEBIBYTE)) ]
	assert_equal "$(record '.[0].starttime')" "$(starttime "$CLONE")"
	holdings "$TARGET_PID" | diff "$BATS_TEST_TMPDIR/before-clone" -
	space 0 diff "$TARGET_PID" "$CLONE"
	region=$(echo "$TARGET_READY" | awk '{ print "0x" $1 }')
	assert_equal "$(record "map(select(.start == \"$region\")) | length")" 0
	assert [ "$(record 'last | .compared_bytes')" -ge $((16 * MEBIBYTE)) ]
	assert_equal "$(record 'last | [.only_in_a_bytes, .only_in_b_bytes, .unreadable_bytes] | @csv')" 0,0,0
	is_well
}

@test "diff tells the pages that changed, and only them" {
	start_with_input /usr/bin/python3 -u -c 'if True:
		import mmap, ctypes, sys
		page, pages = 4096, 1024
		m = mmap.mmap(-1, page * pages, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
		for i in range(0, pages, 2): m[i * page] = 1
		print("ready %x" % ctypes.addressof(ctypes.c_char.from_buffer(m)))
		sys.stdin.readline()
		m[2 * page] = 2
		m[5 * page] = 7
		m[6 * page] = 1
		m[9 * page] = 0
		print("ok")
		sys.stdin.readline()'
	at=$((16#$TARGET_READY))
	hold "$TARGET_PID"
	is_well
	space 0 diff "$TARGET_PID" "$CLONE"
	inside="map(select(.type == \"region\" and .change == \"changed\"))"
	record "$inside | .[] | [.start, .bytes] | @tsv" | while read -r start bytes; do
		if ((start >= at && start < at + 4096 * 1024)); then
			echo "$(((start - at) / 4096)) $bytes"
		fi
	done >"$BATS_TEST_TMPDIR/changed"
	assert_equal "$(<"$BATS_TEST_TMPDIR/changed")" $'2 4096\n5 4096'
	# What diff tells are regions for the other tools.
	superpages -p "$TARGET_PID" -r "$RECORDS" >"$BATS_TEST_TMPDIR/superpages"
}

@test "diff tells what is mapped in one of them only" {
	start_target touch anon every $((4 * MEBIBYTE))
	hold "$TARGET_PID"
	space 0 diff "$CLONE" $$
	assert_equal "$(record 'map(select(.change == "only-in-a") | .bytes) | add')" "$(record 'last | .only_in_a_bytes')"
	assert [ "$(record 'last | .only_in_a_bytes')" -ge $((4 * MEBIBYTE)) ]
	assert [ "$(record 'last | .only_in_b_bytes')" -gt 0 ]
}

@test "a drop ends the clone, once, and nothing else" {
	start_target touch anon every "$MEBIBYTE"
	hold "$TARGET_PID"
	refuses 4 'no clone' drop -p "$TARGET_PID"
	space 0 drop -p "$CLONE"
	assert_equal "$(record '.[0] | [.type, .pid, .original_pid] | @csv')" "\"drop\",$CLONE,$TARGET_PID"
	wait_for 5 is_gone "$CLONE"
	refuses 6 'no such process|it is a zombie' drop -p "$CLONE"
	kill -0 "$TARGET_PID"
}

@test "a held clone outlives its original, and neither signals nor SIGCONT make it run the program" {
	start_with_input childless $((4 * MEBIBYTE))
	hold "$TARGET_PID"
	kill -CONT "$CLONE"
	kill -ALRM "$CLONE"
	kill -USR1 "$CLONE"
	wait_for 5 is_in_state S "$CLONE"
	is_well
	wait "$TARGET_PID"
	assert [ -d "/proc/$CLONE" ]
	assert [ ! -e "$TARGET_DIR/ran-elsewhere" ]
	space 0 drop -p "$CLONE"
	wait_for 5 is_gone "$CLONE"
}

@test "a program that waits for the end of a pipe sees it while a clone of the writer is held" {
	mkfifo "$BATS_TEST_TMPDIR/pipe"
	timeout 30 cat "$BATS_TEST_TMPDIR/pipe" >"$BATS_TEST_TMPDIR/got" 3>&- &
	reader=$!
	start_target /bin/sh -c "exec 9>$BATS_TEST_TMPDIR/pipe; echo through >&9; echo ready; exec sleep 600"
	hold "$TARGET_PID"
	kill "$TARGET_PID"
	wait "$reader"
	assert_equal "$(<"$BATS_TEST_TMPDIR/got")" through
}

@test "a clone lasts as long as the command that it was made for" {
	start_with_input childless $((4 * MEBIBYTE))
	space 0 clone -p "$TARGET_PID" -- sh -c 'cat /proc/{}/comm; exit 0'
	assert_equal "$(tail -n 1 "$RECORDS")" 'clone of childl'
	CLONE=$(head -n 1 "$RECORDS" | jq .pid)
	wait_for 5 is_gone "$CLONE"
	space 1 clone -p "$TARGET_PID" -- false
	space 1 clone -p "$TARGET_PID" -- /no/such/command
	assert_regex "$(<"$ERRORS")" '/no/such/command: No such file'
	is_well
	leaves_no_copy
}

@test "who starts it may ignore the end of children" {
	start_with_input childless $((4 * MEBIBYTE))
	run -0 timeout --signal=KILL 20 env --ignore-signal=CHLD "$UVM_BUILD/bin/addrspace" clone -p "$TARGET_PID" -- true 3>&-
	run -1 timeout --signal=KILL 20 env --ignore-signal=CHLD "$UVM_BUILD/bin/addrspace" clone -p "$TARGET_PID" -- false 3>&-
	is_well
	leaves_no_copy
}

has_record() {
	[[ -s $BATS_TEST_TMPDIR/stay ]]
}

@test "without a command it lasts until it is interrupted" {
	start_with_input childless $((4 * MEBIBYTE))
	for signal in INT TERM; do
		: >"$BATS_TEST_TMPDIR/stay"
		# A background process of a shell ignores SIGINT: env gives it back.
		env --default-signal=INT addrspace clone -p "$TARGET_PID" >"$BATS_TEST_TMPDIR/stay" 3>&- &
		tool=$!
		wait_for 10 has_record
		CLONE=$(jq .pid "$BATS_TEST_TMPDIR/stay")
		assert_equal "$(state_of "$CLONE")" T
		kill "-$signal" "$tool"
		wait "$tool"
		wait_for 5 is_gone "$CLONE"
	done
	is_well
}

@test "without a command it lasts beyond a terminal that hangs up, where nohup says so" {
	start_with_input childless $((4 * MEBIBYTE))
	: >"$BATS_TEST_TMPDIR/stay"
	env --ignore-signal=HUP addrspace clone -p "$TARGET_PID" >"$BATS_TEST_TMPDIR/stay" 3>&- &
	tool=$!
	wait_for 10 has_record
	CLONE=$(jq .pid "$BATS_TEST_TMPDIR/stay")
	kill -HUP "$tool"
	# What is ignored and not blocked is not even pending.
	assert_equal "$(awk '/^(ShdPnd|SigBlk):/ { print substr($2, 16) ~ /[13579bdf]/ }' "/proc/$tool/status")" $'0\n0'
	assert_equal "$(state_of "$CLONE")" T
	kill -TERM "$tool"
	wait "$tool"
	wait_for 5 is_gone "$CLONE"
	is_well
}

@test "a clone that somebody kills is said to be gone" {
	start_target touch anon every "$MEBIBYTE"
	addrspace clone -p "$TARGET_PID" >"$BATS_TEST_TMPDIR/stay" 2>"$BATS_TEST_TMPDIR/err" 3>&- &
	tool=$!
	wait_for 10 has_record
	kill -KILL "$(jq .pid "$BATS_TEST_TMPDIR/stay")"
	status=0
	wait "$tool" || status=$?
	assert_equal "$status" 1
	assert_regex "$(<"$BATS_TEST_TMPDIR/err")" 'ended it'
}

# kill_often ROUNDS ARGUMENT...: starts a clone again and again, and kills the tool a random time later.
kill_often() {
	local rounds=$1 tool
	shift
	for ((i = 0; i < rounds; i++)); do
		addrspace clone -p "$TARGET_PID" "$@" >/dev/null 2>&1 3>&- &
		tool=$!
		perl -e 'select undef, undef, undef, rand 0.02'
		kill -KILL "$tool" 2>/dev/null || :
		wait "$tool" 2>/dev/null || :
		kill -0 "$TARGET_PID"
	done
}

# By their memory: nobody but the target has the mapping that it printed.
other_owners() {
	grep -l "^${TARGET_READY% *}-" /proc/[0-9]*/maps 2>/dev/null | grep -v "^/proc/$TARGET_PID/" || :
}

has_no_other_owner() {
	[[ -z $(other_owners) ]]
}

@test "killed at any moment, the tool leaves no clone, no zombie, and a program that goes on" {
	start_with_input childless $((8 * MEBIBYTE))
	kill_often 30
	wait_for 30 has_no_other_owner
	wait_for 10 leaves_no_copy
	is_well
}

# bootstraps: of tools that were killed, in the unused bytes behind the code of the target's vdso.
bootstraps() {
	python3 - "$TARGET_PID" <<-'END'
		import sys
		for line in open(f"/proc/{sys.argv[1]}/maps"):
		    if line.rstrip().endswith("[vdso]"):
		        end = int(line.split()[0].split("-")[1], 16)
		with open(f"/proc/{sys.argv[1]}/mem", "rb") as memory:
		    memory.seek(end - 1024)
		    tail = memory.read(1024)
		print(sum(any(tail[at:at + 256]) for at in range(0, 1024, 256)))
	END
}

leaves_bootstrap() {
	kill_often 1
	(($(bootstraps) > 0))
}

@test "what a tool leaves that was killed in its first call is used again, and then it is gone" {
	start_with_input childless $((8 * MEBIBYTE))
	wait_for 30 leaves_bootstrap
	space 0 clone -p "$TARGET_PID" -- true
	assert_equal "$(bootstraps)" 0
	is_well
}

@test "tools that work on one program at the same time, one of which is killed, do it no harm" {
	local i killed other
	start_with_input threads 4 $((8 * MEBIBYTE))
	for ((i = 0; i < 40; i++)); do
		addrspace clone -p "$TARGET_PID" -- true >/dev/null 2>&1 3>&- &
		killed=$!
		addrspace clone -p "$TARGET_PID" -- true >/dev/null 2>&1 3>&- &
		other=$!
		perl -e 'select undef, undef, undef, rand 0.02'
		kill -KILL "$killed" 2>/dev/null || :
		wait "$killed" "$other" || :
	done
	wait_for 30 has_no_other_owner
	ask stop
}

@test "a program that is given orphans sees no child either" {
	start_with_input childless $((4 * MEBIBYTE)) subreaper
	hold "$TARGET_PID"
	assert_equal "$(ps -o ppid= -p "$CLONE" | tr -d ' ')" "$TARGET_PID"
	space 0 drop -p "$CLONE"
	assert [ ! -d "/proc/$CLONE" ]
	space 0 clone -p "$TARGET_PID" -- true
	is_well
}

# The system call that the target is in.
call_of() {
	cut -d' ' -f1 "/proc/$TARGET_PID/syscall"
}

is_asleep() {
	is_in_state S "$TARGET_PID" && [[ $(call_of) == [0-9]* ]]
}

@test "a program that waits in a system call waits on, and gets what it waits for" {
	local call result i
	for call in epoll_wait:1 wait4:7 read:1; do
		result=${call#*:}
		start_with_input blocked "${call%:*}" -1
		wait_for 5 is_asleep
		for i in {1..5}; do
			space 0 clone -p "$TARGET_PID" -- true
		done
		wait_for 5 is_asleep
		refute grep -q returned "$TARGET_DIR/out"
		tell go
		wait_for 10 grep -q returned "$TARGET_DIR/out"
		assert_regex "$(tail -n 1 "$TARGET_DIR/out")" "^returned $result 0 .* ok"
	done
}

@test "no system call of a busy program fails for a clone" {
	local i
	start_with_input syscalls $((4 * MEBIBYTE))
	for i in {1..10}; do
		space 0 clone -p "$TARGET_PID" -- true
	done
	ask stop
}

@test "a stopped process stays stopped" {
	start_with_input childless $((4 * MEBIBYTE))
	kill -STOP "$TARGET_PID"
	wait_for 5 is_in_state T "$TARGET_PID"
	hold "$TARGET_PID"
	assert_equal "$(state_of "$TARGET_PID")" T
	space 0 diff "$TARGET_PID" "$CLONE"
	# Whenever a thread changes the processor, the kernel writes to the page that has its rseq area; there are three threads.
	assert [ "$(record 'last | .changed_bytes')" -le $((3 * $(getconf PAGESIZE))) ]
	assert_equal "$(record "map(select(.start == \"0x$START\")) | length")" 0
	kill -CONT "$TARGET_PID"
	is_well
}

@test "a frozen process is not cloned, and stays frozen where it is" {
	local root group
	root=$(findmnt -rno TARGET -t cgroup2 | head -n 1)
	group=$root/uvm-clone.$$
	start_with_input contents mixed $((4 * MEBIBYTE))
	mkdir "$group"
	echo "$TARGET_PID" >"$group/cgroup.procs"
	echo 1 >"$group/cgroup.freeze"
	wait_for 10 grep -qx 'frozen 1' "$group/cgroup.events"
	refuses 1 'frozen.*thaw it' clone -p "$TARGET_PID" -- true
	wait_for 10 grep -qx 'frozen 1' "$group/cgroup.events"
	grep -qx "$TARGET_PID" "$group/cgroup.procs"
	assert [ ! -e "$root/uvmtools-thaw-$TARGET_PID" ]
	echo 0 >"$group/cgroup.freeze"
	echo "$TARGET_PID" >"$root/cgroup.procs"
	rmdir "$group"
	ask check
}

@test "a process under a seccomp filter is cloned, and its clone waits for it without a system call" {
	local mode
	for mode in eperm kill; do
		start_with_input sandboxed "$mode" $((4 * MEBIBYTE))
		hold "$TARGET_PID"
		assert_equal "$(state_of "$CLONE")" T
		space 0 diff "$TARGET_PID" "$CLONE"
		assert_equal "$(record 'last | .unreadable_bytes')" 0
		is_well
		# Its filter does not let it wait: it ends, and does not go on.
		kill -CONT "$CLONE"
		wait_for 10 is_gone "$CLONE"
		end_target "$TARGET_PID"
	done
}

@test "a process under PR_SET_MDWE is cloned" {
	start_with_input sandboxed mdwe $((4 * MEBIBYTE))
	hold "$TARGET_PID"
	space 0 diff "$TARGET_PID" "$CLONE"
	assert_equal "$(record 'last | .unreadable_bytes')" 0
	space 0 drop -p "$CLONE"
	is_well
}

@test "the first process of a pid namespace is cloned as well" {
	if ! bwrap --ro-bind / / --unshare-pid --proc /proc true 2>/dev/null; then
		skip "bubblewrap cannot make namespaces here"
	fi
	start_target /usr/bin/bwrap --unshare-pid --as-pid-1 --die-with-parent --ro-bind / / --dev /dev --proc /proc \
		/bin/sh -c 'echo ready; read -r line <>/dev/ptmx; while :; do sleep 600; done'
	inner=$(pgrep -P "$TARGET_PID" | head -n 1)
	assert_equal "$(awk '/^NSpid/ { print $NF }' "/proc/$inner/status")" 1
	hold "$inner"
	assert [ "$(awk '/^NSpid/ { print NF }' "/proc/$CLONE/status")" -ge 3 ]
	space 0 drop -p "$CLONE"
	assert [ ! -d "/proc/$CLONE" ]
	kill -0 "$inner"
}

@test "memory that children are not given is counted" {
	start_target /usr/bin/python3 -u -c 'if True:
		import mmap, time
		kept = mmap.mmap(-1, 3 << 20, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
		kept.madvise(mmap.MADV_DONTFORK)
		wiped = mmap.mmap(-1, 5 << 20, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
		wiped.madvise(18)
		print("ready")
		time.sleep(600)'
	hold "$TARGET_PID"
	assert_equal "$(record '.[0].left_out_bytes')" $((8 * MEBIBYTE))
}

@test "a process with pages out is cloned, and the clone has them" {
	start_with_input contents mixed $((8 * MEBIBYTE))
	swap_most out -p "$TARGET_PID"
	space 0 clone -p "$TARGET_PID" -- addrspace diff "$TARGET_PID" '{}'
	assert_equal "$(jq -s 'map(select(.type == "summary"))[0] | .unreadable_bytes' "$RECORDS")" 0
	start=0x${TARGET_READY%% *}
	assert_equal "$(jq -rs "map(select(.start == \"$start\" and .change == \"changed\")) | length" "$RECORDS")" 0
	ask check
	swap_ok detach -p "$TARGET_PID"
}

@test "a clone needs a process, and one that can be traced" {
	refuses 2 'which process' clone
	refuses 2 'which process' drop
	refuses 2 'two pids' diff
	refuses 2 'two pids' diff 1
	refuses 2 'x is not a process id' diff 1 x
	refuses 2 'twice' diff 1 1
	refuses 6 'no such process' clone -p 4194303
	refuses 6 'no such process' drop -p 4194303
	refuses 6 'no such process' diff $$ 4194303
	refuses 2 'this program itself|kernel thread' clone -p 2
	start_target touch anon every "$MEBIBYTE"
	"$UVM_BUILD/targets/tracer" "$TARGET_PID" >"$BATS_TEST_TMPDIR/tracer" 3>&- &
	end_later $!
	wait_for 10 grep -q ready "$BATS_TEST_TMPDIR/tracer"
	refuses 1 'traced by tracer' clone -p "$TARGET_PID"
}

@test "nobody clones a process of root" {
	start_target touch anon every "$MEBIBYTE"
	run -4 as_nobody addrspace clone -p "$TARGET_PID"
	run -4 as_nobody addrspace diff "$TARGET_PID" $$
}

@test "a limit on processes is an error to tell" {
	# Of a user that nobody else is: it is the user's processes that count.
	start_target /usr/bin/prlimit --nproc=1 setpriv --reuid=65432 --clear-groups /bin/sh -c 'echo ready; exec sleep 600'
	refuses 1 'as many processes' clone -p "$TARGET_PID" --hold
	kill -0 "$TARGET_PID"
}

@test "a dry run touches nothing" {
	start_target touch anon every "$MEBIBYTE"
	space 0 clone -p "$TARGET_PID" --dry-run
	assert_equal "$(record '.[0] | [.type, .dry_run, has("pid")] | @csv')" '"clone",true,false'
	refuses 2 'kernel thread' clone -p 2 --dry-run
}
