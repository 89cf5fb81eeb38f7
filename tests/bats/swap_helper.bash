# SPDX-License-Identifier: MIT
# What the tests of swapctl share. Whatever a test leaves behind, a process, a session or a store, is a failure of that test.
# shellcheck shell=bash

load helper

SESSIONS=/run/uvmtools
STORES=/var/lib/uvmtools

# A file with a setup or a teardown of its own calls these from it.
setup() {
	begin_swap_test
}

teardown() {
	end_swap_test
}

begin_swap_test() {
	if [[ $(id -u) != 0 ]]; then
		skip "only root can swap processes here"
	fi
	# Inherited by all that a test starts, so that it can be told from what others run.
	export UVM_TEST_MARK=$BATS_TEST_TMPDIR
	FILES_BEFORE=$'\n'$(sessions_and_stores)$'\n'
}

# Pids of the tools that this test started, supervisors and workers among them, and of puppets in its programs.
our_processes() {
	"$UVM_BUILD/helpers/marked" "$UVM_BUILD" "UVM_TEST_MARK=$UVM_TEST_MARK"
	puppets 'uvm-.*'
}

# puppets NAME: of this test.
puppets() {
	local pid
	for pid in $(pgrep -x -r D,R,S,T,t,I "$1"); do
		grep -qsz "^UVM_TEST_MARK=$UVM_TEST_MARK\$" "/proc/$pid/environ" && echo "$pid"
	done
	return 0
}

# Sessions and stores, one a line.
sessions_and_stores() (
	shopt -s nullglob dotglob
	printf '%s\n' "$SESSIONS"/* "$STORES"/* "$BATS_TEST_TMPDIR"/store*/*
)

# Sessions and stores that were not there before the test and whose process is gone.
left_files() {
	local path pid
	while read -r path; do
		pid=${path##*/}
		pid=${pid%%.*}
		[[ ! $path || $FILES_BEFORE == *$'\n'"$path"$'\n'* || (-d /proc/$pid && $path != "$BATS_TEST_TMPDIR"*) ]] || echo "$path"
	done < <(sessions_and_stores)
}

is_clean() {
	[[ -z $(our_processes) && -z $(left_files) ]]
}

# The end of a target ends its session; no test has to detach.
end_swap_test() {
	local pid status=0
	end_all
	if ! wait_for 10 is_clean; then
		echo "left behind by the test:"
		left_files
		for pid in $(our_processes); do
			echo "process $pid: $(tr '\0' ' ' <"/proc/$pid/cmdline")"
			kill -KILL "$pid" || :
		done
		left_files | xargs -r rm -rf
		status=1
	fi
	findmnt -rno TARGET | grep -F "$BATS_TEST_TMPDIR/" | tac | xargs -r -n 1 umount -l
	[[ ! -d ${MADE_CGROUP-} ]] || wait_for 10 rmdir "$MADE_CGROUP" || status=1
	return "$status"
}

# make_cgroup NAME: of whichever version counts memory here, in CGROUP, and its path below the mount point in CGROUP_PATH. It ends with the test.
make_cgroup() {
	local top
	top=$(findmnt -nt cgroup -O memory -o TARGET | head -n 1)
	top=${top:-$(findmnt -nt cgroup2 -o TARGET | head -n 1)}
	CGROUP_PATH=/$1
	CGROUP=$top$CGROUP_PATH
	mkdir "$CGROUP" || skip "no cgroup can be made here"
	MADE_CGROUP=$CGROUP
}

# The process that a command line names.
named_pid() {
	while [[ $# -gt 0 && $1 != -p ]]; do
		shift
	done
	echo "${2:-}"
}

# swap VERB ARGUMENT...: runs swapctl, never for longer than two minutes. Sets $status; records are in $RECORDS and messages in $ERRORS. Files
# and not pipes, so that whoever inherits them cannot hold up the test.
swap() {
	RECORDS=$BATS_TEST_TMPDIR/records
	ERRORS=$BATS_TEST_TMPDIR/errors
	status=0
	if [[ ${UVM_ACCESS:-} && $1 == @(attach|out) ]] && ! compgen -G "$SESSIONS/$(named_pid "$@").*" >/dev/null; then
		set -- "$@" --access "$UVM_ACCESS"
	fi
	timeout -k 5 120 swapctl "$@" >"$RECORDS" 2>"$ERRORS" 3>&- || status=$?
	if ((status == 124 || status == 137)); then
		echo "swapctl $* hangs" >&2
		return 1
	fi
}

# swap_ok VERB ARGUMENT...: must succeed in full.
swap_ok() {
	swap "$@"
	if ((status != 0)); then
		show_run "$@"
		return 1
	fi
	assert_equal "$(<"$ERRORS")" ""
}

# swap_most VERB ARGUMENT...: must succeed, or have left a page or two that a thread needs to be stopped.
swap_most() {
	swap "$@"
	if ((status != 0 && status != 3)); then
		show_run "$@"
		return 1
	fi
	assert_equal "$(<"$ERRORS")" ""
}

show_run() {
	echo "swapctl $*: exit code $status"
	head -n 20 "$RECORDS" "$ERRORS"
} >&2

# swap_fails STATUS PATTERN VERB ARGUMENT...: must fail with this exit code and one line on standard error that matches.
swap_fails() {
	local wanted=$1 pattern=$2
	shift 2
	swap "$@"
	if ((status != wanted)); then
		show_run "$@"
	fi
	assert_equal "$status" "$wanted"
	assert_equal "$(wc -l <"$ERRORS")" 1
	assert_regex "$(<"$ERRORS")" "^swapctl( [a-z]+)?: "
	assert_regex "$(<"$ERRORS")" "$pattern"
}

# run_tool TOOL ARGUMENT...: runs any other tool, for a minute at most. Sets what swap sets.
run_tool() {
	RECORDS=$BATS_TEST_TMPDIR/records
	ERRORS=$BATS_TEST_TMPDIR/errors
	status=0
	timeout -k 5 60 "$@" >"$RECORDS.new" 2>"$ERRORS" 3>&- || status=$?
	mv "$RECORDS.new" "$RECORDS" # the records before may be what it read
}

# tool_ends STATUS TOOL ARGUMENT...: must end so.
tool_ends() {
	local wanted=$1
	shift
	run_tool "$@"
	if ((status != wanted)); then
		echo "$*: exit code $status, not $wanted" >&2
		head -n 20 "$RECORDS" "$ERRORS" >&2
		return 1
	fi
}

# tool_refuses STATUS PATTERN TOOL ARGUMENT...: must fail so, with one line on standard error, all of which matches.
tool_refuses() {
	local wanted=$1 pattern=$2
	shift 2
	tool_ends "$wanted" "$@"
	assert_equal "$(wc -l <"$ERRORS")" 1
	assert_regex "$(<"$ERRORS")" "^$1( [a-z]+)?: (cannot (use |begin: )?)?($pattern)"
}

# record FILTER: of the records of the last run, read as one array by jq.
record() {
	jq -rs "$1" "$RECORDS"
}

summary() {
	record ".[-1] | select(.type == \"summary\") | $1"
}

# status_of FILTER: of the session of the target.
status_of() {
	timeout 60 swapctl status -p "$TARGET_PID" 3>&- | jq -r "select(.type == \"session\") | $1"
}

# The process that holds what outlives those of the session.
holder() {
	status_of ".puppet_pid // $TARGET_PID"
}

# control REQUEST: what swapctl auto asks of a session. Records are in $RECORDS; fails when the session says so.
control() {
	RECORDS=$BATS_TEST_TMPDIR/records
	timeout 60 python3 - "$SESSIONS/$TARGET_PID.$(starttime "$TARGET_PID")/control" "$1" >"$RECORDS" 3>&- <<-'CLIENT'
		import socket, sys
		client = socket.socket(socket.AF_UNIX)
		client.connect(sys.argv[1])
		client.sendall(sys.argv[2].encode())
		while piece := client.recv(65536):
		    sys.stdout.write(piece.decode())
	CLIENT
	[[ $(record '.[-1].code') == 0 ]]
}

# answered FILTER: of the summary of the last control.
answered() {
	record ".[-2] | select(.type == \"summary\") | $1"
}

# start_with_input PROGRAM ARGUMENT...: a target that can be told something with tell and ask.
start_with_input() {
	local fifo=$BATS_TEST_TMPDIR/input.${#TARGETS[@]}
	mkfifo "$fifo"
	exec {INPUT}<>"$fifo"
	TARGET_STDIN=$fifo start_target "$@"
	# shellcheck disable=SC2034
	read -r START END EXTRA <<<"$TARGET_READY"
}

tell() {
	echo "$*" >&"$INPUT"
}

has_answers() {
	(($(wc -l <"$TARGET_DIR/out") >= $1))
}

# ask COMMAND: sends a line, waits for the line that answers it; fails when that is not "ok…". Sets $answer.
ask() {
	local lines
	lines=$(wc -l <"$TARGET_DIR/out")
	tell "$@"
	take_answer "$lines" "$@"
}

# take_answer LINES COMMAND...: the answer to a command that was told after so many lines, as ask.
take_answer() {
	wait_for "${ASK_DEADLINE:-60}" has_answers $(($1 + 1))
	answer=$(sed -n "$(($1 + 1))p" "$TARGET_DIR/out")
	if [[ $answer != ok* ]]; then
		echo "${*:2}: $answer" >&2
		head -n 5 "$TARGET_DIR/err" >&2
		return 1
	fi
}

# Sets START and END from the latest answer, and CHILD when there is one.
read_answer() {
	# shellcheck disable=SC2034
	read -r _ START END CHILD <<<"$answer"
}

# The child named by its pipe obeys one command, as ask.
ask_child() {
	local lines
	lines=$(wc -l <"$TARGET_DIR/out")
	echo "${*:2}" >"$TARGET_DIR/$1"
	take_answer "$lines" "$@"
}

# grow_child PARENT NAME: the program (PARENT is -) or one of its children forks one that obeys NAME.
grow_child() {
	if [[ $1 == - ]]; then
		ask child "$2"
	else
		ask_child "$1" child "$2"
	fi
	read_answer
	end_later "$CHILD"
}

# status_is FILTER: so it is told of the session. What a program does, and has back, is in the index a moment after it goes on.
status_is() {
	[[ $(status_of "$1") == true ]]
}

# Where the store of the target is.
store_path() {
	status_of .store
}

# lost_pages: how many pages of the memory with known contents give SIGBUS; fails when any other holds a wrong byte. Sets $lost.
lost_pages() {
	ask lost
	# shellcheck disable=SC2034
	lost=${answer##* }
}

# check_session: index, store and process agree.
check_session() {
	swap_ok check -p "$TARGET_PID"
	assert_equal "$(summary .errors)" 0
}

# Ends the latest target; those that a test starts after it keep their own folders.
end_current() {
	end_target "$TARGET_PID"
	wait_for 10 is_session_gone
}

# Memory with known contents: start_contents PATTERN BYTES [huge]. Sets START and END.
start_contents() {
	start_with_input contents "$@"
}

# A region record for the target's memory, or for a part of it: region START END [PID [STARTTIME]].
region() {
	printf '{"pid":%d,"starttime":%d,"start":"0x%s","end":"0x%s"}\n' "${3:-$TARGET_PID}" \
		"${4:-$(starttime "$TARGET_PID")}" "$1" "$2"
}

# out_region [OPTION...]: swaps out the memory with known contents, and nothing else.
out_region() {
	region "$START" "$END" >"$BATS_TEST_TMPDIR/region"
	swap_ok out -p "$TARGET_PID" -r "$BATS_TEST_TMPDIR/region" "$@"
}

rss_anon() {
	awk '/^RssAnon:/ { print $2 * 1024 }' "/proc/${1:-$TARGET_PID}/status"
}

# Bytes of the memory with known contents that are in core.
resident() {
	awk -v start="${1:-$START}" '/^[0-9a-f]+-/ { mine = index($1, start "-") == 1 } mine && /^Rss:/ { print $2 * 1024 }' \
		"/proc/$TARGET_PID/smaps"
}

# What a process looks like from outside: mappings, descriptors, threads, signals, tracer, seccomp, limits.
look_at() {
	cut -d' ' -f1-3,6- "/proc/$1/maps"
	# shellcheck disable=SC2012
	ls -l "/proc/$1/fd" | awk '{ print $1, $9, $10, $11 }'
	ls "/proc/$1/task"
	grep -E '^(Tgid|Threads|SigPnd|ShdPnd|SigBlk|SigIgn|SigCgt|TracerPid|Seccomp|Seccomp_filters|VmLck)' "/proc/$1/status"
	cat "/proc/$1/limits"
	grep VmFlags "/proc/$1/smaps"
}

# snapshot, unchanged: the target is what it was, and has no session.
snapshot() {
	look_at "$TARGET_PID" >"$BATS_TEST_TMPDIR/snapshot"
}

unchanged() {
	look_at "$TARGET_PID" | diff "$BATS_TEST_TMPDIR/snapshot" -
	no_session
}

no_session() {
	local path
	path=$SESSIONS/$TARGET_PID.$(starttime "$TARGET_PID")
	if [[ -e $path || $(our_processes) ]]; then
		echo "still there: $path, processes: $(our_processes)" >&2
		return 1
	fi
}

# repeat SECONDS TIMES COMMAND...: over and over, in a long run for so long, in others for a tenth of it, and at least so often; the command must not
# fail.
repeat() {
	local deadline=$((${EPOCHREALTIME/[.,]/} + $1 * $(at_length 1000000 100000))) times=$2 repeated
	shift 2
	for ((repeated = 0; repeated < times || ${EPOCHREALTIME/[.,]/} < deadline; repeated++)); do
		"$@"
	done
}

# repeat_until FILTER COMMAND...: over and over, until the target's session is like that; the command must not fail.
repeat_until() {
	local filter=$1 deadline=$((SECONDS + 120))
	shift
	until status_is "$filter"; do
		if ((SECONDS > deadline)); then
			echo "not within the deadline: $filter" >&2
			return 1
		fi
		"$@"
	done
}

out_and_in() {
	swap_most out -p "$TARGET_PID"
	swap_ok in -p "$TARGET_PID"
}

is_session_gone() {
	[[ -z $(our_processes) ]] && ! compgen -G "$SESSIONS/$TARGET_PID.*" >/dev/null
}

# has_record FILTER: one of the records so far is like that.
has_record() {
	jq -es "any(.[]; $1)" "$RECORDS" >/dev/null 2>&1
}

# squeeze: reads files of 60 MB with 20 MB of page cache, so that the kernel tells of pressure; until unsqueeze.
squeeze() {
	SQUEEZE=/sys/fs/cgroup/memory/uvmtools-test.$$
	mkdir "$SQUEEZE" 2>/dev/null || skip "no cgroup with a memory limit can be made here"
	echo $((20 << 20)) >"$SQUEEZE/memory.limit_in_bytes"
	(
		echo "$BASHPID" >"$SQUEEZE/cgroup.procs"
		head -c $((60 << 20)) /dev/urandom >"$BATS_TEST_TMPDIR/file"
		for ((i = 0; i < 10000; i++)); do
			cat "$BATS_TEST_TMPDIR/file" >/dev/null
		done
	) 3>&- &
	end_later $!
}

unsqueeze() {
	end_cgroup "$SQUEEZE"
}

# thaw FOLDER: of either version.
thaw() {
	echo 0 2>/dev/null >"$1/cgroup.freeze" || :
	echo THAWED 2>/dev/null >"$1/freezer.state" || :
}

# end_cgroup FOLDER: with all that runs in it.
end_cgroup() {
	thaw "$1"
	is_removed() {
		xargs -r kill -KILL <"$1/cgroup.procs" 2>/dev/null || :
		rmdir "$1" 2>/dev/null
	}
	wait_for 10 is_removed "$1"
}

# listen_for_notification SOCKET: what systemd would hear, in the file "heard".
listen_for_notification() {
	rm -f "$BATS_TEST_TMPDIR/heard"
	cat >"$BATS_TEST_TMPDIR/listen.py" <<-'PYTHON'
		import socket, sys
		s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
		name = sys.argv[1]
		s.bind("\0" + name[1:] if name[0] == "@" else name)
		print("listening", flush=True)
		s.settimeout(30)
		print(s.recv(1000).decode(), flush=True)
	PYTHON
	timeout 40 python3 "$BATS_TEST_TMPDIR/listen.py" "$1" >"$BATS_TEST_TMPDIR/heard" 3>&- &
	wait_for 10 grep -qs listening "$BATS_TEST_TMPDIR/heard"
}

# pid_of supervisor|worker: of the target's session; nothing when there is none.
pid_of() {
	timeout 20 swapctl status -p "$TARGET_PID" 3>&- 2>/dev/null | jq -r ".$1_pid // empty"
}

# another WHICH PID: there is one, and it is not that one.
another() {
	local now
	now=$(pid_of "$1")
	[[ $now && $now != "$2" ]]
}

# Both at once: neither is to see the other's end before its own.
kill_both() {
	local supervisor worker
	supervisor=$(pid_of supervisor) worker=$(pid_of worker)
	kill -STOP "$supervisor" "$worker"
	kill -KILL "$supervisor" "$worker"
	wait_for 5 is_orphaned
}

is_orphaned() {
	timeout 20 swapctl status 3>&- | jq -es "any(.[]; .pid == $TARGET_PID and .state == \"orphaned\")" >/dev/null
}
