#!/usr/bin/env bats
# swapctl(1): a program that does everything to its memory, while pages go out and come in and workers are killed. SEED and SOAK_SECONDS set the
# program's steps and the time; see "make soak".

bats_require_minimum_version 1.5.0
load swap_helper

SEED=${SEED:-$RANDOM}
SOAK_SECONDS=${SOAK_SECONDS:-60}
KILLS=300

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

# Until the time is over and $KILLS workers have been killed, for at most 90 seconds longer; or the program has found something wrong.
kill_workers() {
	local supervisor=$1 worker
	kills=0
	while ((SECONDS < end || kills < KILLS)) && ((SECONDS < end + 90)) && kill -0 "$TARGET_PID" 2>/dev/null; do
		read -rt "0.$(printf %03d $((RANDOM % 200 + 10)))" <> <(:) || :
		worker=$(worker_of "$supervisor")
		if [[ $worker ]] && kill -KILL "$worker" 2>/dev/null; then
			kills=$((kills + 1))
		fi
	done
}

@test "a program that does everything to its memory sees no wrong byte, however many workers are killed" {
	local supervisor loader end moved
	start_with_input soak "$SEED"
	swap_ok attach -p "$TARGET_PID"
	supervisor=$(status_of .supervisor_pid)
	end=$((SECONDS + SOAK_SECONDS))
	load_it 3>&- &
	loader=$!
	kill_workers "$supervisor"
	touch "$BATS_TEST_TMPDIR/stop"
	wait "$loader"
	moved=$(awk '{ sum += $1 } END { printf "%.0f\n", sum }' "$BATS_TEST_TMPDIR/moved")
	echo "seed $SEED: $kills workers killed, $moved bytes out and in"
	run -1 grep wrong "$TARGET_DIR/out"
	((kills >= KILLS))
	((moved > 0))
	swap_ok detach -p "$TARGET_PID"
	wait_for 10 is_session_gone
	ask stop
	((${answer#ok } > 0))
}
