#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# swapctl(1): its own processes end, one, the other or both, by signals of every kind; the target loses nothing.

bats_require_minimum_version 1.5.0
load swap_helper

MEBIBYTE=1048576

start_out() {
	start_with_input contents mixed $((32 * MEBIBYTE))
	ask check
	snapshot
	swap_most out -p "$TARGET_PID" "$@"
	(($(status_of .out_pages) > 8000))
}

all_is_well() {
	ask check
	swap_ok detach -p "$TARGET_PID"
	wait_for 5 unchanged
	ask check
}

@test "a supervisor that is killed is replaced, and holds on when the worker is killed next" {
	local supervisor worker
	start_out
	supervisor=$(pid_of supervisor) worker=$(pid_of worker)
	kill -KILL "$supervisor"
	wait_for 5 another supervisor "$supervisor"
	assert_equal "$(pid_of worker)" "$worker"
	supervisor=$(pid_of supervisor)
	kill -KILL "$worker"
	wait_for 5 another worker "$worker"
	assert_equal "$(pid_of supervisor)" "$supervisor"
	(($(status_of .out_pages) > 8000))
	all_is_well
}

# The supervisor that a worker makes is a copy of it, and so are the workers that come after.
@test "a client that was being served when both were replaced holds nothing up" {
	local which old
	start_out
	timeout 60 python3 - "$SESSIONS/$TARGET_PID".*/control >"$BATS_TEST_TMPDIR/client" 3>&- <<-'PYTHON' &
		import socket, sys
		silent = [socket.socket(socket.AF_UNIX) for i in range(3)]
		for client in silent:
		    client.connect(sys.argv[1])
		client = socket.socket(socket.AF_UNIX)
		client.connect(sys.argv[1])
		client.sendall(b'{"verb":"status"}')
		assert client.recv(65536) # those before it have been accepted
		print("connected", flush=True)
		assert not silent[0].recv(1) # the worker has died
	PYTHON
	wait_for 10 grep -q connected "$BATS_TEST_TMPDIR/client"
	for which in supervisor worker; do
		old=$(pid_of "$which")
		kill -KILL "$old"
		wait_for 5 another "$which" "$old"
	done
	wait $!
	all_is_well
}

@test "they are replaced as often as they are killed" {
	local which old
	start_out
	for which in supervisor worker supervisor supervisor worker worker supervisor worker; do
		old=$(pid_of "$which")
		kill -KILL "$old"
		wait_for 5 another "$which" "$old"
	done
	all_is_well
}

@test "when both are killed a reader waits, sees no zeros, and goes on once the session is adopted" {
	local lines
	start_out
	kill_both
	lines=$(wc -l <"$TARGET_DIR/out")
	tell check
	# It must be at the page before anything can be said of its waiting.
	is_waiting() {
		grep -q handle_userfault "/proc/$TARGET_PID/stack"
	}
	wait_for 10 is_waiting
	assert_equal "$(wc -l <"$TARGET_DIR/out")" "$lines"
	swap_ok adopt -p "$TARGET_PID"
	assert_equal "$(record '.[0] | [.type, .state] | @csv')" '"session","running"'
	wait_for 30 has_answers $((lines + 1))
	assert_regex "$(tail -n 1 "$TARGET_DIR/out")" '^ok'
	swap_most out -p "$TARGET_PID"
	all_is_well
}

# Its threads need a processor to end, and until then the kernel calls it the tracer.
@test "adopt waits for a worker that was killed and traces the process yet" {
	local tools=$BATS_TEST_TMPDIR/tools worker tracer adopting
	start_out
	kill_both
	# What traces is one of ours when it comes from the same folder.
	mkdir "$tools"
	cp "$UVM_BUILD/bin/swapctl" "$tools"
	worker=$tools/swapctl-worker
	cp "$UVM_BUILD/targets/tracer" "$worker"
	"$worker" "$TARGET_PID" >"$BATS_TEST_TMPDIR/tracer" 3>&- &
	tracer=$!
	end_later "$tracer"
	wait_for 10 grep -q ready "$BATS_TEST_TMPDIR/tracer"
	timeout 60 "$tools/swapctl" adopt -p "$TARGET_PID" >"$BATS_TEST_TMPDIR/adopted" 2>&1 3>&- &
	adopting=$!
	end_later "$adopting"
	is_waiting() {
		grep -q nanosleep "/proc/$(pgrep -P "$adopting")/stack"
	}
	wait_for 10 is_waiting
	kill -KILL "$tracer"
	wait "$adopting" || fail "$(<"$BATS_TEST_TMPDIR/adopted")"
	all_is_well
}

@test "a store in memory outlives both as well" {
	start_out --store memory
	kill_both
	swap_ok adopt -p "$TARGET_PID"
	all_is_well
}

@test "adopting works again and again, with threads at work" {
	local round
	start_with_input threads 4 $((16 * MEBIBYTE))
	swap_ok attach -p "$TARGET_PID"
	for round in 1 2 3 4 5 6; do
		timeout 20 swapctl out -p "$TARGET_PID" >/dev/null 2>&1 3>&- &
		read -rt "0.$((RANDOM % 100 + 10))" <> <(:) || :
		kill_both
		wait $! || :
		swap_ok adopt -p "$TARGET_PID"
	done
	ask stop
	((${answer#ok } > 0))
}

@test "a forked child that lives reads the same after both were killed and adopted" {
	local child holder own
	start_with_input forked late $((8 * MEBIBYTE))
	swap_most out -p "$TARGET_PID"
	holder=$(holder)
	own=$(find "/proc/$holder"/task/*/fd -lname '*userfaultfd*' | wc -l)
	ask fork
	child=$(pgrep -P "$TARGET_PID")
	holds_child() {
		(($(find "/proc/$holder"/task/*/fd -lname '*userfaultfd*' | wc -l) > own))
	}
	wait_for 10 holds_child
	kill_both
	swap_ok adopt -p "$TARGET_PID"
	ask check
	kill -0 "$child"
	swap_ok detach -p "$TARGET_PID"
	assert_equal "$(find "/proc/$TARGET_PID"/task/*/fd -lname '*userfaultfd*' | wc -l)" 0
}

@test "a child that outlives the target is served although supervisor and worker are killed" {
	local supervisor worker child
	cat >"$BATS_TEST_TMPDIR/program.py" <<-'PYTHON'
		import hashlib, os, sys, time
		data = bytearray(os.urandom(1 << 20)) * 16
		before = hashlib.sha256(data).hexdigest()
		print("ready", flush=True)
		sys.stdin.readline()
		parent = os.getpid()
		if os.fork():
		    sys.stdin.readline()
		    os._exit(0)
		print("ok child", os.getpid(), flush=True)
		while os.getppid() == parent:  # which reads the same pipe
		    time.sleep(0.01)
		while sys.stdin.readline() != "check\n":
		    pass
		print("ok" if hashlib.sha256(data).hexdigest() == before else "wrong", flush=True)
	PYTHON
	start_with_input "$(command -v python3)" "$BATS_TEST_TMPDIR/program.py"
	swap_most out -p "$TARGET_PID"
	supervisor=$(pid_of supervisor) worker=$(pid_of worker)
	ask fork
	child=${answer#ok child }
	end_later "$child"
	tell end
	wait "$TARGET_PID"
	kill -KILL "$supervisor"
	replaced() {
		local pid
		for pid in $(our_processes); do
			[[ $pid != "$supervisor" && $(<"/proc/$pid/comm") == swapctl-super ]] && return
		done
		return 1
	}
	wait_for 10 replaced
	kill -KILL "$worker"
	wait_for 5 test ! -e "/proc/$worker/fd/0"
	tell check
	wait_for 30 grep -qx ok "$TARGET_DIR/out"
	wait_for 10 is_clean
}

@test "what cannot be adopted is refused, each with its reason" {
	start_with_input contents text $((4 * MEBIBYTE))
	swap_fails 7 'it has no session' adopt -p "$TARGET_PID"
	swap_most out -p "$TARGET_PID"
	swap_fails 1 'it has a session already' adopt -p "$TARGET_PID"
	ask check
	kill_both
	swap_fails 1 'all its processes were killed \(take it up with swapctl adopt\)' status -p "$TARGET_PID"
	swap_fails 1 'take it up with swapctl adopt' attach -p "$TARGET_PID"
	swap_fails 1 'take it up with swapctl adopt' out -p "$TARGET_PID"
	cp --sparse=always "$SESSIONS/$TARGET_PID".*/index "$BATS_TEST_TMPDIR/index" # gigabytes, nearly all of them holes
	printf 'garbage!' | dd of="$(echo "$SESSIONS/$TARGET_PID".*/index)" conv=notrunc status=none
	swap_fails 1 'damaged, or of another version' adopt -p "$TARGET_PID"
	cp --sparse=always "$BATS_TEST_TMPDIR/index" "$SESSIONS/$TARGET_PID".*/index
	swap_ok adopt -p "$TARGET_PID"
	ask check
	swap_fails 2 'which process' adopt
	swap_fails 2 'unknown option' adopt -p "$TARGET_PID" --store memory
	swap_ok detach -p "$TARGET_PID"
	end_current
	swap_fails 6 'swapctl adopt' adopt -p "$TARGET_PID"
}

@test "when the target is gone nothing is left to adopt, and its files go" {
	local first
	start_out
	first=$TARGET_PID
	kill_both
	end_target "$first"
	swap_fails 6 'swapctl adopt' adopt -p "$first"
	start_with_input contents text "$MEBIBYTE"
	swap_ok attach -p "$TARGET_PID"
	[[ ! $(left_files | grep "/$first\.") ]]
	ask check
}

ends_by() {
	local signal=$1 which=$2 pid
	start_out
	pid=$(pid_of "$which")
	kill "-$signal" "$pid"
	kill "-$signal" "$pid" 2>/dev/null || :
	wait_for 20 unchanged
	ask check
	end_current
}

@test "SIGTERM, SIGINT and SIGHUP, once or twice, to worker or supervisor, bring everything back" {
	local signal which
	for signal in TERM INT HUP; do
		for which in worker supervisor; do
			ends_by "$signal" "$which"
		done
	done
}

@test "a supervisor that was asked to end does so although the worker dies at that moment" {
	local supervisor worker
	start_out
	supervisor=$(pid_of supervisor) worker=$(pid_of worker)
	kill -STOP "$worker"
	kill -TERM "$supervisor"
	kill -KILL "$worker"
	wait_for 20 unchanged
	ask check
}

# The worker cannot stop a thread while another one traces it.
@test "a detach by SIGTERM that cannot be done yet is done later" {
	local worker
	start_out
	worker=$(pid_of worker)
	start_target tracer "$TARGET_PID"
	TARGET_PID=${TARGETS[0]} TARGET_DIR=$BATS_TEST_TMPDIR/target.0
	kill -TERM "$worker"
	is_in() {
		(($(resident) >= 30 * MEBIBYTE))
	}
	wait_for 20 is_in
	kill -0 "$worker"
	end_target "${TARGETS[1]}"
	wait_for 20 unchanged
	ask check
}

@test "while the worker is stopped the target waits, and goes on with it" {
	local lines worker
	start_out
	worker=$(pid_of worker)
	kill -STOP "$worker"
	lines=$(wc -l <"$TARGET_DIR/out")
	tell check
	is_waiting() {
		grep -q handle_userfault "/proc/$TARGET_PID/stack"
	}
	wait_for 10 is_waiting
	kill -CONT "$worker"
	wait_for 30 has_answers $((lines + 1))
	assert_regex "$(tail -n 1 "$TARGET_DIR/out")" '^ok'
	all_is_well
}

@test "a stopped supervisor holds nothing up, forks included" {
	local supervisor
	start_out
	supervisor=$(pid_of supervisor)
	kill -STOP "$supervisor"
	ask check
	swap_most out -p "$TARGET_PID"
	ask fork
	ask check
	kill -CONT "$supervisor"
	all_is_well
}

start_foreground() {
	listen_for_notification "$1"
	NOTIFY_SOCKET=$1 timeout 100 swapctl attach -p "$TARGET_PID" --foreground >"$BATS_TEST_TMPDIR/foreground" 3>&- &
	FOREGROUND=$!
	wait_for 10 grep -qx READY=1 "$BATS_TEST_TMPDIR/heard"
	grep -q '"type":"session"' "$BATS_TEST_TMPDIR/foreground"
}

@test "in the foreground the service manager hears when the session is ready, and SIGTERM waits until all is back" {
	local socket
	for socket in "$BATS_TEST_TMPDIR/notify" "@uvmtools-test-$$"; do
		start_with_input contents mixed $((32 * MEBIBYTE))
		ask check
		snapshot
		start_foreground "$socket"
		swap_most out -p "$TARGET_PID"
		kill -TERM "$(pgrep -P "$FOREGROUND")"
		wait "$FOREGROUND"
		wait_for 5 unchanged
		ask check
		end_current
	done
}

@test "the foreground process stays and ends with its session although supervisor and worker were replaced" {
	local which old
	start_with_input contents mixed $((16 * MEBIBYTE))
	ask check
	snapshot
	start_foreground "$BATS_TEST_TMPDIR/notify"
	swap_most out -p "$TARGET_PID"
	for which in supervisor worker supervisor; do
		old=$(pid_of "$which")
		kill -KILL "$old"
		wait_for 5 another "$which" "$old"
	done
	kill -0 "$FOREGROUND"
	kill -TERM "$(pgrep -P "$FOREGROUND")"
	wait "$FOREGROUND"
	wait_for 5 unchanged
	ask check
}

@test "a session that does not answer is named so, and holds nobody up" {
	local supervisor worker
	start_out
	supervisor=$(pid_of supervisor) worker=$(pid_of worker)
	kill -STOP "$worker"
	swap_ok status
	assert_equal "$(record "map(select(.pid == $TARGET_PID).state) | .[0]")" unresponsive
	kill -CONT "$worker"
	all_is_well
}

@test "several sessions that do not answer hold up the status of all for no longer than one" {
	local i workers=() began
	for i in 1 2 3 4; do
		start_contents zeros $MEBIBYTE
		swap_ok attach -p "$TARGET_PID"
		workers+=("$(pid_of worker)")
	done
	kill -STOP "${workers[@]}"
	began=${EPOCHREALTIME/[.,]/}
	swap_ok status
	((${EPOCHREALTIME/[.,]/} - began < 4000000))
	for i in "${TARGETS[@]}"; do
		assert_equal "$(record "map(select(.pid == $i).state) | .[0]")" unresponsive
	done
	kill -CONT "${workers[@]}"
}
