# SPDX-License-Identifier: MIT
# What the tests of the tools share: libraries, paths, and programs to work on that always end with the test.
# shellcheck shell=bash

load /usr/lib/bats/bats-support/load.bash
load /usr/lib/bats/bats-assert/load.bash

ROOT=$(cd "$BATS_TEST_DIRNAME/../.." && pwd)
UVM_BUILD=${UVM_BUILD:-$ROOT/build}
export UVM_BUILD
PATH=$UVM_BUILD/bin:$PATH

TARGETS=()            # pids of children
OTHERS=()             # pids of others that are to be ended
declare -gA ENDED=()  # pids that the test has waited for
declare -gA STARTS=() # when each of them was started

# Where tests/run collects the records that tools print, to validate them once all tests have run: what `run` has caught, and what jq reads.
if [[ ${UVM_RECORDS:-} ]]; then
	keep_records() {
		grep -ahE '^ *\{"v":' "$@" >>"$UVM_RECORDS/$BASHPID" 2>/dev/null || :
	}

	eval "$(declare -f run | sed '1s/^run/run_command/')"
	run() {
		run_command "$@"
		keep_records <<<"$output"
	}

	jq() {
		if [[ -f ${*: -1} ]]; then
			keep_records "${*: -1}"
		elif [[ -p /dev/stdin && " $* " != *' -n'* ]]; then
			tee -p >(keep_records) | command jq "$@"
			return
		fi
		command jq "$@"
	}
	export -f keep_records jq
fi

# A moment, without a process that sleeps it.
nap() {
	local fifo=${BATS_TEST_TMPDIR:-$BATS_FILE_TMPDIR}/nap
	[[ -p $fifo ]] || mkfifo "$fifo"
	read -rt 0.02 <>"$fifo" || :
}

# wait_for SECONDS COMMAND...: until the command succeeds, which should take no longer; fails after four times as long, for the machine may be busy.
wait_for() {
	local deadline=$((${EPOCHREALTIME/[.,]/} + $1 * 4000000))
	shift
	until "$@"; do
		if ((${EPOCHREALTIME/[.,]/} > deadline)); then
			echo "not within the deadline: $*" >&2
			return 1
		fi
		nap
	done
}

# at_length LONG SHORT: the first in a run that takes its time ("make soak"), the second in all others.
at_length() {
	[[ ${UVM_TEST_LONG:-} ]] && echo "$1" || echo "$2"
}

# When a process was started, in ticks, as /proc/PID/stat has it; nothing when there is none.
starttime() {
	local stat
	read -rd '' stat 2>/dev/null <"/proc/$1/stat" || :
	read -ra stat <<<"${stat##*) }"
	echo "${stat[19]-}"
}

# add_target PID: a child that ends with the test.
add_target() {
	TARGETS+=("$1")
	STARTS[$1]=$(starttime "$1")
	unset "ENDED[$1]"
}

# end_later PID: so does this one, whosever child it is.
end_later() {
	OTHERS+=("$1")
	STARTS[$1]=$(starttime "$1")
}

# end_now PID: unless it has ended, and its number is somebody else's by now.
end_now() {
	if [[ ${STARTS[$1]-} && $(starttime "$1") == "${STARTS[$1]}" ]]; then
		kill -CONT "$1" 2>/dev/null || :
		kill -KILL "$1" 2>/dev/null || :
	fi
}

is_ready_or_dead() {
	grep -q '^ready' "$TARGET_DIR/out" || ! kill -0 "$TARGET_PID" 2>/dev/null
}

# start_target PROGRAM [ARGUMENT...]: starts build/targets/PROGRAM (or a program by its path) in a folder of its own and waits until it prints a line
# that begins with "ready". Sets TARGET_PID, TARGET_DIR (its folder, with its output in "out" and "err") and TARGET_READY (the rest of the line).
start_target() {
	local program=$1
	shift
	if [[ $program != */* ]]; then
		program=$UVM_BUILD/targets/$program
	fi
	TARGET_DIR=$BATS_TEST_TMPDIR/target.${#TARGETS[@]}
	mkdir "$TARGET_DIR"
	: >"$TARGET_DIR/out"
	(
		cd "$TARGET_DIR" || exit
		# The same tests are run over both ways into a program.
		if [[ ${UVM_ACCESS:-} == agent ]]; then
			export UVM_SWAP_AGENT=1 LD_PRELOAD=$UVM_BUILD/lib/libuvm.so.0
		fi
		exec "$program" "$@"
	) <"${TARGET_STDIN:-/dev/null}" >"$TARGET_DIR/out" 2>"$TARGET_DIR/err" 3>&- &
	TARGET_PID=$!
	add_target "$TARGET_PID"
	wait_for "${TARGET_DEADLINE:-60}" is_ready_or_dead
	if ! TARGET_READY=$(grep -m 1 '^ready' "$TARGET_DIR/out"); then
		echo "$program did not become ready:" >&2
		cat "$TARGET_DIR/err" >&2
		return 1
	fi
	TARGET_READY=${TARGET_READY#ready}
	TARGET_READY=${TARGET_READY# }
}

# start_32_bit: a program of another word size, as start_target does; skips where there can be none.
start_32_bit() {
	if [[ $(uname -m) != x86_64 ]]; then
		skip "needs an x86-64 machine"
	fi
	# A 32-bit ELF file of one page: write(1, "ready\n", 6); for (;;) pause();
	python3 - "$BATS_TEST_TMPDIR/small" <<-'END'
		import struct, sys
		base, start = 0x8048000, 84
		code = (b"\xb8\x04\0\0\0\xbb\x01\0\0\0\xb9" + struct.pack("<I", base + start + 32) + b"\xba\x06\0\0\0\xcd\x80"
		        b"\xb8\x1d\0\0\0\xcd\x80\xeb\xf7")
		assert len(code) <= 32
		data = code.ljust(32, b"\x90") + b"ready\n"
		size = start + len(data)
		header = b"\x7fELF\x01\x01\x01".ljust(16, b"\0") + struct.pack(
		    "<HHIIIIIHHHHHH", 2, 3, 1, base + start, 52, 0, 0, 52, 32, 1, 0, 0, 0)
		segment = struct.pack("<IIIIIIII", 1, 0, base, base, size, size, 5, 0x1000)
		open(sys.argv[1], "wb").write(header + segment + data)
	END
	chmod 700 "$BATS_TEST_TMPDIR/small"
	if ! start_target "$BATS_TEST_TMPDIR/small" 2>/dev/null; then
		skip "this kernel runs no 32-bit programs"
	fi
}

# Ends one target and waits until it is gone.
end_target() {
	[[ ! ${ENDED[$1]-} ]] || return 0
	end_now "$1"
	wait "$1" 2>/dev/null || :
	ENDED[$1]=1
}

end_targets() {
	local pid
	for pid in "${TARGETS[@]}"; do
		end_target "$pid"
	done
	TARGETS=()
}

# After a failed test: what its targets printed last, and how those ended that are gone.
show_targets() {
	local i end
	[[ ! ${BATS_TEST_COMPLETED:-} ]] || return 0
	for i in "${!TARGETS[@]}"; do
		[[ ! ${ENDED[${TARGETS[i]}]-} ]] || continue
		end=
		if ! kill -0 "${TARGETS[i]}" 2>/dev/null; then
			end=0
			wait "${TARGETS[i]}" || end=$?
		fi
		echo "target ${TARGETS[i]}${end:+ ended with exit code $end}:"
		tail -qn 5 "$BATS_TEST_TMPDIR/target.$i/out" "$BATS_TEST_TMPDIR/target.$i/err"
	done
}

end_all() {
	local pid
	show_targets
	# All before any is waited for: one may be traced by another.
	for pid in "${TARGETS[@]}" "${OTHERS[@]}"; do
		end_now "$pid"
	done
	end_targets
}

teardown() {
	end_all
}

# Runs a tool as the user nobody, for whom the build folder need not be readable.
as_nobody() {
	local tool=$1 folder status=0
	shift
	folder=$(mktemp -d /tmp/uvmtools-nobody.XXXXXX)
	chmod 755 "$folder"
	install -m 755 "$UVM_BUILD/bin/$tool" "$folder/"
	(cd / && setpriv --reuid=65534 --regid=65534 --clear-groups "$folder/$tool" "$@") || status=$?
	rm -rf "$folder"
	return "$status"
}

# How many control areas of ours the target has: nothing else maps code that is in no file.
control_areas() {
	grep -Ec ' r-xp 00000000 00:00 0 *$' "/proc/$TARGET_PID/maps" || :
}
