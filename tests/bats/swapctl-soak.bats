#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# swapctl(1): a program that does everything to its memory, while pages go out and come in and workers are killed. SEED and SOAK_SECONDS set the
# program's steps and the time; see "make soak".

bats_require_minimum_version 1.5.0
load swap_helper

SEED=${SEED:-$RANDOM}
SOAK_SECONDS=${SOAK_SECONDS:-$(at_length 60 10)}
KILLS=$(at_length 300 50)
SUPERVISOR_KILLS=$(at_length 20 6)

# Of the supervisor's only child, whether it answers requests already or not.
worker_of() {
	local pids
	read -r pids <"/proc/$1/task/$1/children" || :
	echo "${pids% }"
}

load_it() {
	until [[ -e $BATS_TEST_TMPDIR/stop ]]; do
		timeout 20 swapctl out -p "$TARGET_PID" 3>&- | jq -r 'select(.type == "summary") | .moved_bytes'
		timeout 20 swapctl in -p "$TARGET_PID" 3>&- | jq -r 'select(.type == "summary") | .brought_bytes'
	done >"$BATS_TEST_TMPDIR/moved" 2>/dev/null
}

# Two supervisors for each worker, never both at once: whoever is left makes the other one anew, as the session's status tells.
kill_either() {
	local which old
	kills=0
	while ((SECONDS < end || kills < SUPERVISOR_KILLS)) && ((SECONDS < end + 300)) && kill -0 "$TARGET_PID" 2>/dev/null; do
		which=supervisor
		((RANDOM % 3)) || which=worker
		old=$(pid_of "$which")
		[[ $old ]] || continue
		kill -KILL "$old"
		wait_for 10 another "$which" "$old"
		kills=$((kills + 1))
	done
}

# Until the time is over and $KILLS workers have been killed, for at most five minutes longer; or the program has found something wrong.
kill_workers() {
	local supervisor=$1 worker
	kills=0
	while ((SECONDS < end || kills < KILLS)) && ((SECONDS < end + 300)) && kill -0 "$TARGET_PID" 2>/dev/null; do
		read -rt "0.$(printf %03d $((RANDOM % 200 + 10)))" <> <(:) || :
		worker=$(worker_of "$supervisor")
		if [[ $worker ]] && kill -KILL "$worker" 2>/dev/null; then
			kills=$((kills + 1))
		fi
	done
}

# soaks KILLER: the program goes on with it, under load, until the killer has done, and is right to its end. Sets $moved.
soaks() {
	local loader
	load_it 3>&- &
	loader=$!
	"$@"
	touch "$BATS_TEST_TMPDIR/stop"
	wait "$loader"
	moved=$(awk '{ sum += $1 } END { printf "%.0f\n", sum }' "$BATS_TEST_TMPDIR/moved")
	echo "seed $SEED: $kills processes killed, $moved bytes out and in"
	run -1 grep wrong "$TARGET_DIR/out"
	((moved > 0))
	swap_ok detach -p "$TARGET_PID"
	wait_for 10 is_session_gone
	ask stop
	((${answer#ok } > 0))
}

@test "a program that does everything to its memory sees no wrong byte, however many workers are killed" {
	local end
	start_with_input soak "$SEED"
	swap_ok attach -p "$TARGET_PID"
	end=$((SECONDS + SOAK_SECONDS))
	soaks kill_workers "$(pid_of supervisor)"
	((kills >= KILLS))
}

@test "nor when supervisors are killed as well" {
	local end
	start_with_input soak "$SEED"
	swap_ok attach -p "$TARGET_PID"
	end=$((SECONDS + SOAK_SECONDS / 2))
	soaks kill_either
	((kills >= SUPERVISOR_KILLS))
}
