# SPDX-License-Identifier: MIT
# What the tests of reclaimctl share.
# shellcheck shell=bash

# reclaim VERB ARGUMENT...: runs reclaimctl, as swap runs swapctl.
reclaim() {
	run_tool reclaimctl "$@"
}

reclaim_ok() {
	tool_ends 0 reclaimctl "$@"
	assert_equal "$(<"$ERRORS")" ""
}

# reclaim_fails STATUS PATTERN VERB ARGUMENT...: with one line on standard error that matches.
reclaim_fails() {
	tool_refuses "$1" "$2" reclaimctl "${@:3}"
}

# start_ring COUNT BYTES ACTION [THREADS]: a target with a ring.
start_ring() {
	start_with_input ring "$@"
}

# states: what the target finds when it takes all its regions back.
states() {
	ask check
	# shellcheck disable=SC2154 # set by ask
	echo "${answer#ok }"
}

# kill_flushes TIMES KILLED [ROAD ROAD]: two reclaimers at once, of which the first is killed at a random moment, so often and until so many had not ended before; the process is stopped meanwhile every other time. An agent does nothing in
# a stopped process: then it goes on before the other one has to succeed.
kill_flushes() {
	timeout 300 python3 - "$TARGET_PID" "$@" 3>&- <<-'KILLER'
		import itertools, os, random, signal, subprocess, sys, time
		pid, times, least, ways = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:] or ["auto", "auto"]
		killed = failed = 0
		for i in itertools.count():
		    if i >= times and killed >= least:
		        break
		    command = ["reclaimctl", "flush", "-p", str(pid), "--all", "--access"]
		    one, other = (subprocess.Popen([*command, way], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) for way in ways)
		    if i % 2:
		        time.sleep(random.random() * 0.006 if "agent" in ways else 0)
		        os.kill(pid, signal.SIGSTOP)
		    time.sleep(random.random() * 0.012)
		    one.kill()
		    killed += one.wait() < 0
		    if "agent" in ways:
		        os.kill(pid, signal.SIGCONT)
		    error = other.communicate()[1]
		    os.kill(pid, signal.SIGCONT)
		    if other.returncode:
		        print(other.returncode, error, file=sys.stderr)
		        failed += 1
		    one.stderr.close()
		sys.exit(failed > 0)
	KILLER
}
