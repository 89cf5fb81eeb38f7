#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# swapctl(1), --access puppet: calls are made on a process in the program's memory, and nothing of ours is in the program but memory.

bats_require_minimum_version 1.5.0
load swap_helper

unset UVM_ACCESS # it is the one that is taken
MEBIBYTE=1048576

puppet() {
	status_of .puppet_pid
}

# has_ended PID
has_ended() {
	local state
	state=$(sed -n 's/^State:\t\(.\).*/\1/p' "/proc/$1/status" 2>/dev/null) || :
	[[ ! $state || $state == [ZX] ]]
}

# watch_descriptors: until the file "enough" is there, writes what the target and its children have open that they did not open to "seen".
watch_descriptors() {
	python3 - "$TARGET_PID" "$BATS_TEST_TMPDIR" 3>&- <<-'END' &
		import os, sys
		pid, folder = int(sys.argv[1]), sys.argv[2]
		looks = 0
		seen = open(folder + "/seen", "w")
		def family(pid):
		    yield pid
		    try:
		        for child in open(f"/proc/{pid}/task/{pid}/children").read().split():
		            yield from family(int(child))
		    except OSError:
		        pass
		while not os.path.exists(folder + "/enough"):
		    for member in family(pid):
		        try:
		            if os.readlink(f"/proc/{member}/exe") != os.readlink(f"/proc/{pid}/exe"):
		                continue
		            for number in os.listdir(f"/proc/{member}/fd"):
		                link = os.readlink(f"/proc/{member}/fd/{number}")
		                if any(part in link for part in ("userfaultfd", "secretmem", "memfd", "pidfd", "socket", "uvm")):
		                    print(member, number, link, file=seen, flush=True)
		        except OSError:
		            pass
		    looks += 1
		print("looks", looks, file=seen, flush=True)
	END
	WATCHER=$!
}

@test "neither a program nor its children have a descriptor of ours at any moment" {
	local i
	start_with_input changes mixed $((8 * MEBIBYTE))
	watch_descriptors
	for i in {1..3}; do
		swap_ok attach -p "$TARGET_PID" --store memory
		out_region
		grow_child - "child.$i"
		ask_child "child.$i" check
		ask check
		out_region
		echo exit >"$TARGET_DIR/child.$i"
		swap_ok detach -p "$TARGET_PID"
	done
	ask check
	: >"$BATS_TEST_TMPDIR/enough"
	wait "$WATCHER"
	assert_equal "$(grep -v looks "$BATS_TEST_TMPDIR/seen")" ""
	(($(sed -n 's/^looks //p' "$BATS_TEST_TMPDIR/seen") > 100))
}

@test "no thread of a program is stopped once there is a session" {
	local stops
	start_with_input threads 4 $((32 * MEBIBYTE))
	swap_ok attach -p "$TARGET_PID"
	stops=$(status_of .stops)
	repeat 10 3 out_and_in
	assert_equal "$(status_of .stops)" "$stops"
	swap_ok detach -p "$TARGET_PID"
	ask stop
}

# have_returned CALLS: so many.
have_returned() {
	(($(grep -cE '^(ok|wrong) ' "$TARGET_DIR/out") >= $1))
}

@test "no call that waits fails or is cut short by a hundred swap-outs" {
	local calls i stops
	start_with_input interrupted 1000 /dev/zero whole
	read -r calls _ <<<"$TARGET_READY"
	swap_ok attach -p "$TARGET_PID"
	stops=$(status_of .stops)
	for i in {1..100}; do
		out_and_in
	done
	assert_equal "$(status_of .stops)" "$stops"
	tell go
	wait_for 20 have_returned "$calls"
	run ! grep '^wrong' "$TARGET_DIR/out"
}

@test "a program that puts a seccomp filter on later is swapped as before" {
	start_with_input sandboxed late $((8 * MEBIBYTE))
	swap_most out -p "$TARGET_PID"
	ask check
	ask confine
	swap_most out -p "$TARGET_PID"
	ask check
	swap_ok detach -p "$TARGET_PID"
	ask check
}

@test "a program that can open no more files is swapped all the same" {
	start_contents mixed $((8 * MEBIBYTE))
	# The fifo is open once more above its standard descriptors.
	prlimit --pid "$TARGET_PID" --nofile=3:1024
	out_region
	ask check
	swap_ok detach -p "$TARGET_PID"
}

@test "a puppet has no capability, and a filter that leaves it nothing but memory" {
	local pid
	start_contents mixed $MEBIBYTE
	swap_ok attach -p "$TARGET_PID"
	pid=$(puppet)
	assert_equal "$(sed -n 's/^CapPrm:\t//p; s/^CapEff:\t//p; s/^CapInh:\t//p; s/^CapAmb:\t//p' "/proc/$pid/status" | sort -u)" 0000000000000000
	assert_equal "$(awk '/^(NoNewPrivs|Seccomp):/ { print $2 }' "/proc/$pid/status" | xargs)" "1 2"
	assert_equal "$(<"/proc/$pid/comm")" uvm-puppet
	[[ $(awk '{ print $6 }' "/proc/$pid/stat") != "$(awk '{ print $6 }' "/proc/$TARGET_PID/stat")" ]]
	swap_most out -p "$TARGET_PID"
	ask check
}

@test "a puppet ends with the session, and with its program's end or exec" {
	local how pid
	for how in detach kill exit exec; do
		start_with_input changes mixed $MEBIBYTE
		swap_ok attach -p "$TARGET_PID"
		out_region
		pid=$(puppet)
		case $how in
		detach) swap_ok detach -p "$TARGET_PID" ;;
		kill) end_target "$TARGET_PID" ;;
		*) tell "$how" ;;
		esac
		wait_for 5 has_ended "$pid"
		wait_for 10 is_session_gone
		end_target "$TARGET_PID"
	done
}

@test "a puppet ends with its program when no process of the session is left" {
	local pid
	start_with_input changes mixed $MEBIBYTE
	swap_ok attach -p "$TARGET_PID"
	out_region
	pid=$(puppet)
	kill_both
	wait_for 5 is_orphaned
	end_target "$TARGET_PID"
	wait_for 5 has_ended "$pid"
	start_contents mixed $MEBIBYTE
	swap_ok attach -p "$TARGET_PID" # which removes what is left of the other one
	swap_ok detach -p "$TARGET_PID"
}

@test "readers wait when all processes of a session were killed, until it is adopted" {
	local lines
	start_contents mixed $((4 * MEBIBYTE))
	swap_ok attach -p "$TARGET_PID" --store memory
	out_region
	kill_both
	lines=$(wc -l <"$TARGET_DIR/out")
	tell check
	pause_for_half_a_second() { read -rt 0.5 <> <(:) || :; }
	pause_for_half_a_second
	assert_equal "$(wc -l <"$TARGET_DIR/out")" "$lines"
	swap_ok adopt -p "$TARGET_PID"
	take_answer "$lines" check
	out_region
	ask check
}

@test "a puppet that is killed is replaced, and holds what the one before it held" {
	local pid i
	start_with_input changes mixed $((4 * MEBIBYTE))
	swap_ok attach -p "$TARGET_PID" --store memory
	for i in {1..3}; do
		out_region
		grow_child - "child.$i"
		pid=$(puppet)
		kill -KILL "$pid"
		ask check
		ask_child "child.$i" check
		out_region
		assert_regex "$(puppet)" '^[0-9]+$'
		[[ $(puppet) != "$pid" ]]
		kill_both
		swap_ok adopt -p "$TARGET_PID"
		ask check
		echo exit >"$TARGET_DIR/child.$i"
	done
	swap_ok detach -p "$TARGET_PID"
	ask check
}

@test "a worker that is killed leaves a puppet that goes on with the next one" {
	local i worker pid
	start_with_input threads 4 $((16 * MEBIBYTE))
	swap_ok attach -p "$TARGET_PID"
	pid=$(puppet)
	for i in {1..5}; do
		worker=$(pid_of worker)
		timeout 60 swapctl out -p "$TARGET_PID" >/dev/null 2>&1 3>&- &
		read -rt "0.0$((RANDOM % 90 + 10))" <> <(:) || :
		kill -KILL "$worker"
		wait $! || :
		wait_for 20 another worker "$worker"
		swap_most out -p "$TARGET_PID"
		swap_ok in -p "$TARGET_PID"
		assert_equal "$(puppet)" "$pid"
	done
	check_session
	ask stop
}

# another_puppet PID: there is one, and it is not that one.
another_puppet() {
	local now
	now=$(puppet)
	[[ $now =~ ^[0-9]+$ && $now != "$1" ]]
}

@test "a puppet that has taken the place of another one goes on when the worker is killed, and leaves nothing behind" {
	local first second worker
	start_contents mixed $MEBIBYTE
	snapshot
	swap_ok attach -p "$TARGET_PID"
	first=$(puppet)
	kill -KILL "$first"
	wait_for 10 another_puppet "$first"
	second=$(puppet)
	worker=$(pid_of worker)
	kill -KILL "$worker"
	wait_for 20 another worker "$worker"
	out_region
	assert_equal "$(puppet)" "$second"
	swap_ok detach -p "$TARGET_PID"
	wait_for 10 unchanged
	ask check
}

# What a terminal, a service manager or a user sends to all that belong to a program.
@test "signals that go to all of a program's processes end no puppet before its program, and delay nobody" {
	local pid name
	start_contents mixed $((4 * MEBIBYTE))
	swap_ok attach -p "$TARGET_PID"
	out_region
	pid=$(puppet)
	for name in HUP INT QUIT TSTP TTIN USR1 TERM; do
		kill -"$name" "$pid"
	done
	ask check
	out_region
	assert_equal "$(puppet)" "$pid"
	kill -TERM "$TARGET_PID" "$pid"
	wait_for 10 has_ended "$pid"
	wait_for 10 is_session_gone
}

@test "the first process of a pid namespace, which is given its orphans, is swapped, and reaps nothing that is ours" {
	local first pid
	if ! bwrap --ro-bind / / --unshare-pid --proc /proc true 2>/dev/null; then
		skip "bubblewrap cannot make namespaces here"
	fi
	start_target /usr/bin/bwrap --unshare-pid --as-pid-1 --die-with-parent --ro-bind / / --dev /dev --proc /proc \
		/usr/bin/python3 -uc 'if True:
			import os, time, zlib
			kept = os.urandom(8 << 20)
			known = zlib.crc32(kept)
			print("ready")
			while True:
				try:
					print("reaped", os.waitpid(-1, os.WNOHANG))
				except ChildProcessError:
					pass
				time.sleep(0.01)
				assert zlib.crc32(kept) == known'
	first=$(pgrep -P "$TARGET_PID" | head -n 1)
	assert_equal "$(awk '/^NSpid/ { print $NF }' "/proc/$first/status")" 1
	swap_most attach -p "$first"
	swap_most out -p "$first"
	pid=$(jq -r .puppet_pid < <(swapctl status -p "$first"))
	assert_equal "$(<"/proc/$pid/comm")" uvm-puppet
	swap_ok detach -p "$first"
	wait_for 5 has_ended "$pid"
	[[ ! -e /proc/$pid ]]
	assert_equal "$(grep -c reaped "$TARGET_DIR/out")" 0
	kill -0 "$first"
}

@test "where no process can be made any more a session is refused with the reason, and one without a puppet is not" {
	# Of a user that nobody else is: it is the user's processes that count.
	start_target /usr/bin/prlimit --nproc=1 setpriv --reuid=65432 --clear-groups /bin/sh -c 'echo ready; exec sleep 600'
	tool_refuses 1 '.*as many processes as it may have.*--access ptrace.*' swapctl attach -p "$TARGET_PID"
	assert_equal "$(grep -c uvm "/proc/$TARGET_PID/maps")" 0
	swap_ok attach -p "$TARGET_PID" --access ptrace
	swap_most out -p "$TARGET_PID"
	swap_ok detach -p "$TARGET_PID"
}

@test "a puppet that can be replaced only after a while leaves nothing in its program" {
	local first user=65431 others=()
	start_target /usr/bin/prlimit --nproc=4 setpriv --reuid="$user" --clear-groups /bin/sh -c 'echo ready; exec sleep 600'
	swap_ok attach -p "$TARGET_PID"
	first=$(puppet)
	for _ in {1..4}; do # of its user, whose processes count
		setpriv --reuid="$user" --clear-groups sleep 600 3>&- &
		others+=($!)
		end_later $!
	done
	are_there() { (($(pgrep -c -u "$user") > 4)); }
	wait_for 10 are_there
	kill -KILL "$first"
	swap out -p "$TARGET_PID"
	assert_equal "$status" 1
	assert_regex "$(<"$ERRORS")" 'as many processes as it may have'
	kill "${others[@]}"
	wait_for 10 another_puppet "$first"
	swap_ok detach -p "$TARGET_PID"
	assert_equal "$(awk '$2 == "r-xp" && !$6' "/proc/$TARGET_PID/maps")" ""
}

@test "a program that is frozen together with its puppet is swapped again when it goes on" {
	local root group
	root=$(findmnt -rno TARGET -t cgroup2 | head -n 1)
	if [[ ! $root ]]; then
		skip "no cgroup2 is mounted"
	fi
	group=$root/uvm-puppet.$$
	start_contents mixed $((4 * MEBIBYTE))
	mkdir "$group"
	echo "$TARGET_PID" >"$group/cgroup.procs"
	swap_ok attach -p "$TARGET_PID"
	out_region
	assert_regex "$(<"$group/cgroup.procs")" "$(puppet)"
	echo 1 >"$group/cgroup.freeze"
	wait_for 10 grep -qx 'frozen 1' "$group/cgroup.events"
	swap in -p "$TARGET_PID"
	assert_equal "$(status_of .state)" running
	echo 0 >"$group/cgroup.freeze"
	ask check
	out_region
	ask check
	swap_ok detach -p "$TARGET_PID"
	echo "$TARGET_PID" >"$root/cgroup.procs"
	rmdir "$group"
}

# in_memory PROGRAM: processes in whose memory a program of this test is, whatever they are called.
in_memory() {
	local at
	for at in /proc/[0-9]*; do
		[[ $(readlink "$at/exe") == "$1" ]] || continue
		grep -qsz "^UVM_TEST_MARK=$UVM_TEST_MARK\$" "$at/environ" && echo "${at##*/}"
	done
	return 0
}

@test "a program that is killed while its puppet is replaced leaves nobody in its memory" {
	local i killing
	for i in {1..10}; do
		start_contents random $MEBIBYTE
		swap_ok attach -p "$TARGET_PID"
		rm -f "$BATS_TEST_TMPDIR/looks"
		timeout 60 python3 - "$TARGET_PID" "$BATS_TEST_TMPDIR/looks" 3>&- <<-'END' &
			import os, sys, time
			program = int(sys.argv[1])
			mine = os.readlink(f"/proc/{program}/exe")
			mark = os.environb[b"UVM_TEST_MARK"]
			def newest():
			    return int(open("/proc/loadavg").read().split()[-1])
			begun = newest()
			open(sys.argv[2], "w").close()
			while True:
			    last = newest()
			    begun = 0 if last < begun else begun
			    for pid in range(max(begun, last - 30) + 1, last + 10):
			        try:
			            if os.readlink(f"/proc/{pid}/exe") == mine and mark in open(f"/proc/{pid}/environ", "rb").read():
			                time.sleep(pid % 5 * 0.00005)
			                os.kill(program, 9)
			                sys.exit()
			        except OSError:
			            pass
		END
		killing=$!
		wait_for 10 test -e "$BATS_TEST_TMPDIR/looks"
		kill -KILL "$(puppet)"
		wait "$killing"
		end_current
		assert_equal "$(in_memory "$UVM_BUILD/targets/contents")" ""
	done
}

# attach_to_pause POINT: a session that comes no further than to the point when it makes its next puppet, as long as $PAUSE is there.
attach_to_pause() {
	PATH=$UVM_BUILD/failpoints/bin:$PATH
	PAUSE=$BATS_TEST_TMPDIR/pause
	UVM_PAUSE_AT=$1:30000 UVM_PAUSE_MARK=$PAUSE UVM_BIRTH_MS=1000 swap_ok attach -p "$TARGET_PID"
}

kill_puppet_and_wait() {
	mkdir "$PAUSE"
	rmdir "$PAUSE.reached"
	kill -KILL "$(puppet)"
	wait_for 10 test -e "$PAUSE.reached"
}

@test "a program that runs another one while its puppet is replaced leaves nobody in its memory" {
	local python
	start_target /usr/bin/python3 -c 'if True:
		import os, sys, threading, time
		def leave():
			while not os.path.exists(sys.argv[1]):
				time.sleep(0.01)
			os.execv("/bin/sleep", ["sleep", "600"])
		threading.Thread(target=leave).start()
		print("ready", flush=True)
		time.sleep(600)' "$BATS_TEST_TMPDIR/leave"
	python=$(readlink "/proc/$TARGET_PID/exe")
	attach_to_pause bearing
	kill_puppet_and_wait
	is_born() { (($(in_memory "$python" | wc -l) > 1)); }
	wait_for 10 is_born
	touch "$BATS_TEST_TMPDIR/leave"
	runs_another() { [[ $(readlink "/proc/$TARGET_PID/exe") == *sleep* ]]; }
	wait_for 10 runs_another
	rmdir "$PAUSE"
	wait_for 20 is_session_gone
	assert_equal "$(in_memory "$python")" ""
}

@test "a program that is frozen while its puppet is replaced goes on when it is thawed" {
	local root group
	root=$(findmnt -rno TARGET -t cgroup2 | head -n 1)
	if [[ ! $root ]]; then
		skip "no cgroup2 is mounted"
	fi
	group=$root/uvm-birth.$$
	# shellcheck disable=SC2034
	MADE_CGROUP=$group
	start_contents mixed $MEBIBYTE
	mkdir "$group"
	echo "$TARGET_PID" >"$group/cgroup.procs"
	attach_to_pause sending
	out_region
	kill_puppet_and_wait
	echo 1 >"$group/cgroup.freeze"
	rmdir "$PAUSE"
	read -rt 1.5 <> <(:) || : # longer than UVM_BIRTH_MS
	echo 0 >"$group/cgroup.freeze"
	ask check
	out_region
	swap_ok detach -p "$TARGET_PID"
	ask check
}

@test "a thread that stands still where it makes a puppet finds its way home when worker and session have gone meanwhile" {
	local worker
	start_contents mixed $MEBIBYTE
	attach_to_pause sending
	out_region
	worker=$(pid_of worker)
	kill_puppet_and_wait
	kill -STOP "$TARGET_PID"
	kill -KILL "$worker"
	rmdir "$PAUSE"
	wait_for 10 another worker "$worker"
	swap_ok detach -p "$TARGET_PID"
	kill -CONT "$TARGET_PID"
	ask check
}
