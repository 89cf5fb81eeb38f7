# What the tests of the tools share: libraries, paths, and programs to work on that always end with the test.
# shellcheck shell=bash

load /usr/lib/bats/bats-support/load.bash
load /usr/lib/bats/bats-assert/load.bash

ROOT=$(cd "$BATS_TEST_DIRNAME/../.." && pwd)
UVM_BUILD=${UVM_BUILD:-$ROOT/build}
export UVM_BUILD
PATH=$UVM_BUILD/bin:$PATH

TARGETS=()

# wait_for SECONDS COMMAND...: until the command succeeds; fails after the deadline.
wait_for() {
	local deadline=$((${EPOCHREALTIME/[.,]/} + $1 * 1000000))
	shift
	until "$@"; do
		if ((${EPOCHREALTIME/[.,]/} > deadline)); then
			echo "not within the deadline: $*" >&2
			return 1
		fi
		read -rt 0.02 <> <(:) || :
	done
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
		# The same tests are run over both roads into a program.
		if [[ ${UVM_ROAD:-} == agent ]]; then
			export UVM_SWAP_AGENT=1 LD_PRELOAD=$UVM_BUILD/lib/libuvm.so.0
		fi
		exec "$program" "$@"
	) <"${TARGET_STDIN:-/dev/null}" >"$TARGET_DIR/out" 2>"$TARGET_DIR/err" 3>&- &
	TARGET_PID=$!
	TARGETS+=("$TARGET_PID")
	wait_for "${TARGET_DEADLINE:-60}" is_ready_or_dead
	if ! TARGET_READY=$(grep -m 1 '^ready' "$TARGET_DIR/out"); then
		echo "$program did not become ready:" >&2
		cat "$TARGET_DIR/err" >&2
		return 1
	fi
	TARGET_READY=${TARGET_READY#ready}
	TARGET_READY=${TARGET_READY# }
}

# Ends one target and waits until it is gone.
end_target() {
	kill -CONT "$1" 2>/dev/null || :
	kill -KILL "$1" 2>/dev/null || :
	wait "$1" 2>/dev/null || :
}

end_targets() {
	local pid
	for pid in "${TARGETS[@]}"; do
		end_target "$pid"
	done
	TARGETS=()
}

teardown() {
	end_targets
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
