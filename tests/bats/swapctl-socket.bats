#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# swapctl(1): what comes through the control socket hurts nobody, whatever it is.

bats_require_minimum_version 1.5.0
load swap_helper

MEBIBYTE=1048576

start_session() {
	start_with_input contents mixed $((8 * MEBIBYTE))
	ask check
	snapshot
	swap_most out -p "$TARGET_PID"
	SOCKET=$(echo "$SESSIONS/$TARGET_PID".*/control)
	WORKER=$(status_of .worker_pid)
}

# client SOCKET: the rest is a program that has s, a function that connects, and request, one that sends bytes and returns the answer.
client() {
	{
		cat <<-'PYTHON'
			import json, os, random, socket, sys, time
			path = sys.argv[1]
			def s():
			    c = socket.socket(socket.AF_UNIX)
			    c.connect(path)
			    c.settimeout(40)
			    return c
			def read(c):
			    data = b""
			    try:
			        while True:
			            more = c.recv(65536)
			            if not more:
			                return data
			            data += more
			    except ConnectionResetError:
			        return data
			def request(data):
			    c = s()
			    try:
			        c.sendall(data)
			        c.shutdown(socket.SHUT_WR)
			    except (BrokenPipeError, ConnectionResetError):
			        pass
			    return read(c)
			def end(answer):
			    return json.loads(answer.splitlines()[-1])
		PYTHON
		cat
	} >"$BATS_TEST_TMPDIR/client.py"
	timeout 100 python3 "$BATS_TEST_TMPDIR/client.py" "$SOCKET" 3>&-
}

# The same worker serves, and the target's memory is right.
nobody_is_hurt() {
	assert_equal "$(status_of .worker_pid)" "$WORKER"
	ask check
	swap_ok detach -p "$TARGET_PID"
	wait_for 5 unchanged
	ask check
}

@test "garbage is answered with an error" {
	start_session
	client <<-'PYTHON'
		for data in (b"\0" * 100, b"garbage\n", b"[]", b"17", b'"verb"', b'{"verb":', b"", b"{}", b'{"verb":"dance"}', b'{"verb":17}',
		             b'{"verb":"out","regions":17}', b'{"verb":"out","regions":[[1]]}', b'{"verb":"out","regions":[["x","y"]]}',
		             b'{"verb":"out","regions":[[4096,0]]}', b'{"verb":"out","regions":[[-4096,4096]]}',
		             b'{"verb":"out","regions":[[1,2]]}', b'{"verb":"watch"}', b"[" * 100000, b'{"a":' * 100000, b"\xff\xfe" * 500):
		    answer = end(request(data))
		    assert answer["type"] == "end" and answer["code"] < 0, (data[:40], answer)
	PYTHON
	nobody_is_hurt
}

@test "a request that never ends is cut off" {
	start_session
	client <<-'PYTHON'
		c = s()
		try:
		    c.sendall(b'{"verb":"')
		    for i in range(128):
		        c.sendall(b"x" * (1 << 20))
		except (BrokenPipeError, ConnectionResetError):
		    sys.exit(0)
		raise SystemExit("128 MiB were taken")
	PYTHON
	nobody_is_hurt
}

@test "half a message, and nothing, from many at once, hold nobody up for long" {
	start_session
	client <<-'PYTHON' &
		halves = [s() for i in range(20)]
		for c in halves:
		    c.sendall(b'{"verb":"sta')
		silent = [s() for i in range(20)]
		print("connected", flush=True)
		assert all(read(c) for c in halves + silent)
	PYTHON
	swap_ok status -p "$TARGET_PID"
	wait $!
	nobody_is_hurt
}

@test "a client that goes away in the middle of an answer, or does not read it, holds nobody up" {
	start_session
	client <<-'PYTHON'
		for i in range(50):
		    c = s()
		    c.sendall(b'{"verb":"out"}' if i % 2 else b'{"verb":"in"}')
		    c.close()
		deaf = s()
		deaf.sendall(b'{"verb":"status"}' * 10)
		print("deaf", flush=True)
	PYTHON
	nobody_is_hurt
}

@test "requests changed at random do nothing that a good one could not" {
	start_session
	client <<-'PYTHON'
		seed = int(time.time())
		print("seed", seed)
		rand = random.Random(seed)
		good = [b'{"verb":"status"}', b'{"verb":"in"}', b'{"verb":"out","bytes":65536}', b'{"verb":"out","dry_run":true}',
		        b'{"verb":"in","regions":[[4096,8192]]}', b'{"verb":"out","regions":[["0x1000","0x2000"],[12288,16384]]}']
		for turn in range(600):
		    data = bytearray(rand.choice(good))
		    for i in range(rand.randrange(1, 6)):
		        at = rand.randrange(len(data))
		        how = rand.randrange(4)
		        if how == 0:
		            data[at] = rand.randrange(256)
		        elif how == 1:
		            del data[at:at + rand.randrange(1, 8)]
		        elif how == 2:
		            data[at:at] = rand.choice([b"[", b"{", b"-1", b"1e999", b"99999999999999999999", b'"\\u0000"', b",", b"null"])
		        else:
		            data += data[at:]
		        data = data or bytearray(b"{")
		    if b"detach" not in data:
		        answer = end(request(bytes(data)))
		        assert answer["type"] == "end", data
	PYTHON
	nobody_is_hurt
}

@test "another user is not heard, even with the way to the socket open" {
	start_session
	chmod 755 "$SESSIONS" "${SOCKET%/*}"
	chmod 777 "$SOCKET"
	run client <<-'PYTHON'
		os.setgid(65534)
		os.setuid(65534)
		answer = request(b'{"verb":"status"}')
		assert answer == b"", answer
		print("not heard")
	PYTHON
	chmod 700 "$SESSIONS" "${SOCKET%/*}"
	assert_success
	assert_output "not heard"
	nobody_is_hurt
}

@test "a session's socket and folder are its owner's alone" {
	start_session
	assert_equal "$(stat -c %a "${SOCKET%/*}")" 700
	assert_equal "$(stat -c %a "$SOCKET")" 700
	assert_equal "$(stat -c %a "${SOCKET%/*}/index")" 600
	nobody_is_hurt
}

@test "what many clients send at once costs the session little memory" {
	local before
	start_session
	before=$(awk '/^VmHWM:/ { print $2 }' "/proc/$WORKER/status")
	client <<-'PYTHON'
		import threading
		def send(data):
		    c = s()
		    try:
		        for i in range(32):
		            c.sendall(data)
		    except (BrokenPipeError, ConnectionResetError):
		        pass
		    read(c)
		objects = b"{}," * (1 << 18)
		for begin in (b'{"a":[', b'{"regions":[', b'{"regions":[[4096,8192],"'):
		    clients = [threading.Thread(target=send, args=(begin + objects,)) for i in range(8)]
		    for c in clients:
		        c.start()
		    for c in clients:
		        c.join()
	PYTHON
	(($(awk '/^VmHWM:/ { print $2 }' "/proc/$WORKER/status") < before + 32 * 1024))
	nobody_is_hurt
}

@test "two hundred clients that say nothing do not keep a session from answering" {
	local before
	start_session
	client <<-'PYTHON'
		silent = [s() for i in range(200)]
		begin = time.monotonic()
		answer = end(request(b'{"verb":"status"}'))
		assert answer["code"] == 0 and time.monotonic() - begin < 5, (answer, time.monotonic() - begin)
	PYTHON
	nobody_is_hurt
}

# cpu_ms FOLDER: the time that a process, or a thread, of /proc has taken of its processors.
cpu_ms() {
	awk '{ print int($1 / 1000000) }' "$1/schedstat"
}

# is_modest FOLDER: it does not go on trying all the time.
is_modest() {
	local before i
	before=$(cpu_ms "$1")
	for i in {1..100}; do
		nap
	done
	(($(cpu_ms "$1") - before < 500))
}

# fill_descriptors PID FOLDER: none can be opened beyond those of FOLDER, which is in /proc and the process or a thread of it.
fill_descriptors() {
	local limit
	limit=$(find "$2/fd" -mindepth 1 -printf '%f\n' | sort -n | awk '$1 == n { n++ } END { print n + 0 }')
	prlimit --pid "$1" "--nofile=$limit:"
}

@test "a worker that may open no further descriptor does not try without pause, and takes clients in later" {
	local status_pid
	start_session
	fill_descriptors "$WORKER" "/proc/$WORKER"
	timeout 60 swapctl status -p "$TARGET_PID" >"$BATS_TEST_TMPDIR/status" 3>&- &
	status_pid=$!
	is_modest "/proc/$WORKER"
	prlimit --pid "$WORKER" --nofile=1024:
	wait "$status_pid"
	grep -q '"state":"running"' "$BATS_TEST_TMPDIR/status"
	ask check
}

@test "an agent that may open no further descriptor does not try without pause, and takes sessions in later" {
	local attach_pid agent
	UVM_ACCESS=agent start_contents mixed $MEBIBYTE
	agent=$(dirname "$(grep -lx uvm-agent /proc/"$TARGET_PID"/task/*/comm)")
	fill_descriptors "$TARGET_PID" "$agent"
	timeout 60 swapctl attach -p "$TARGET_PID" --access agent >"$BATS_TEST_TMPDIR/attach" 2>&1 3>&- &
	attach_pid=$!
	is_modest "$agent"
	prlimit --pid "$TARGET_PID" --nofile=1024:
	wait "$attach_pid"
	swap_most out -p "$TARGET_PID"
	fill_descriptors "$TARGET_PID" "$agent"
	timeout 60 python3 - "$agent" 3>&- <<-'PYTHON' &
		import os, socket, sys
		fds = sys.argv[1] + "/fd/"
		held = [os.readlink(fds + number) for number in os.listdir(fds)]
		for line in open("/proc/net/unix"):
		    listens = line.split()[3] == "00010000"
		    if listens and "@uvm-agent." in line and "socket:[%s]" % line.split()[6] in held:
		        c = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
		        c.connect("\0" + line.split("@")[1].strip())
		        try:
		            c.recv(1)
		        except ConnectionResetError:
		            pass
	PYTHON
	is_modest "$agent"
	prlimit --pid "$TARGET_PID" --nofile=1024:
	wait $!
	ask check
	end_current
}
