#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Which processes: by number, by operands, by name, by cgroup, by unit, by records; of every tool in the same way.

# shellcheck disable=SC2030,SC2031,SC2154 # each test is a process of its own; run sets $stderr
bats_require_minimum_version 1.5.0
load swap_helper

MEBIBYTE=1048576

# start_named NAME: a small program of that command name.
start_named() {
	[[ -e $BATS_TEST_TMPDIR/$1 ]] || ln -s "$UVM_BUILD/targets/touch" "$BATS_TEST_TMPDIR/$1"
	start_target "$BATS_TEST_TMPDIR/$1" anon every 4194304
}

# pids FILTER: the processes of records, in order.
pids() {
	jq -s "map(select($1) | .pid // empty) | unique | .[]" | xargs
}

# start_two: small programs of the test's own names, $own-a and $own-b; sets a and b to their pids.
start_two() {
	own="uvm$BATS_TEST_NUMBER-$$"
	start_named "$own-a"
	a=$TARGET_PID
	start_named "$own-b"
	b=$TARGET_PID
}

@test "processes are lists after -p, given again, and operands" {
	local a b c
	start_target touch anon every 4194304
	a=$TARGET_PID
	start_target touch anon every 4194304
	b=$TARGET_PID
	start_target touch anon every 4194304
	c=$TARGET_PID
	assert_equal "$(addrspace info -p "$a,$b" --pid "$c" | pids true)" "$(printf '%s\n' "$a" "$b" "$c" | sort -n | xargs)"
	assert_equal "$(addrspace info "$b" -p "$a" | pids true)" "$(printf '%s\n' "$a" "$b" | sort -n | xargs)"
	assert_equal "$(echo "$a $b" | xargs superpages | pids '.type == "region"')" "$(printf '%s\n' "$a" "$b" | sort -n | xargs)"
	assert_equal "$(addrspace info "$a" "$a" -p "$a" | wc -l)" 1
	run -2 superpages "$a" 12x
	assert_output "superpages: cannot begin: 12x is not a process id (a number above 0)"
	run -2 superpages -p "$a,,$b"
	assert_output "superpages: cannot use --pid: $a,,$b is not a process id (a number above 0)"
	run -2 superpages --pidfd 5 "$a"
	assert_output --regexp 'not with --pidfd'
}

@test "names, cgroups and units choose processes, and each kind narrows the choice" {
	local a b own
	make_cgroup "uvm$BATS_TEST_NUMBER-$$.service"
	start_two
	assert_equal "$(addrspace info --comm "$own-*" | pids true)" "$(printf '%s\n' "$a" "$b" | sort -n | xargs)"
	assert_equal "$(addrspace info --comm "$own-a" --comm "$own-[x-z]" | pids true)" "$a"
	echo "$b" >"$CGROUP/cgroup.procs"
	assert_equal "$(addrspace info --cgroup "$CGROUP" | pids true)" "$b"
	assert_equal "$(addrspace info --cgroup "$CGROUP_PATH" | pids true)" "$b"
	assert_equal "$(addrspace info --unit "${CGROUP_PATH#/}" | pids true)" "$b"
	assert_equal "$(addrspace info --unit "$(basename "$CGROUP_PATH" .service)" | pids true)" "$b"
	assert_equal "$(addrspace info --unit "${CGROUP_PATH#/}" -p "$a,$b" | pids true)" "$b"
	assert_equal "$(addrspace info --all --comm "$own-a" | pids true)" "$a"
	run -7 --separate-stderr addrspace info --comm "$own-a" --cgroup "$CGROUP"
	assert_regex "$stderr" '^addrspace info: cannot find processes: none matches'
	run -7 --separate-stderr addrspace info --unit "no-$own"
	assert_regex "$stderr" "^addrspace info: cannot find the unit no-$own.service: no cgroup has its name"
	run -2 --separate-stderr addrspace info --cgroup "/no-$own"
}

@test "globs take neither the tool itself, nor kernel threads, nor the processes of sessions" {
	start_named "swapper-$$"
	swap_most attach -p "$TARGET_PID" --store memory
	addrspace info --all >"$BATS_TEST_TMPDIR/all" || [[ $? == 3 ]]
	assert_equal "$(jq -s "map(select(.pid == $TARGET_PID)) | length" "$BATS_TEST_TMPDIR/all")" 1
	assert_equal "$(jq -s 'map(select(.comm == "kthreadd" or .comm == "addrspace")) | length' "$BATS_TEST_TMPDIR/all")" 0
	swapctl status -p "$TARGET_PID" >"$BATS_TEST_TMPDIR/session"
	for key in worker_pid supervisor_pid puppet_pid; do
		assert_equal "$(jq -s --argjson pid "$(jq ".$key" "$BATS_TEST_TMPDIR/session")" 'map(select(.pid == $pid)) | length' "$BATS_TEST_TMPDIR/all")" 0
	done
}

@test "out, status, in and detach work on many, and one that fails does not stop the others" {
	local a b own
	start_two
	run -3 --separate-stderr timeout 60 swapctl out "$a" 4194303 "$b" --store memory
	assert_regex "$stderr" 'cannot open process 4194303: no such process'
	assert_equal "$(jq -s 'map(select(.type == "summary" and .processes))[0] | [.processes, .failed]' -c <<<"$output")" '[3,1]'
	assert_equal "$(swapctl status --comm "$own-*" | jq -s 'map(select(.out_pages > 500)) | length')" 2
	run -0 timeout 60 swapctl in --comm "$own-*"
	assert_equal "$(swapctl status --comm "$own-*" | jq -s 'map(.out_pages // empty) | add')" 0
	run -0 timeout 60 swapctl detach --all --comm "$own-*"
	run -7 --separate-stderr swapctl detach --comm "$own-*"
	assert_regex "$stderr" '^swapctl detach: cannot find processes: none of them has a session'
	run -7 swapctl status -p "$a"
}

@test "records of several processes need no -p, and nobody else's memory is touched" {
	local a b
	start_target touch anon every 4194304
	a=$TARGET_PID
	start_target touch anon every 4194304
	b=$TARGET_PID
	superpages "$a" "$b" >"$BATS_TEST_TMPDIR/records"
	run -0 --separate-stderr timeout 60 swapctl out --store memory -r "$BATS_TEST_TMPDIR/records"
	assert_equal "$(jq -s 'map(select(.type == "region") | .pid) | unique | length' <<<"$output")" 2
	swapctl detach "$a" "$b" >/dev/null
	run -0 timeout 60 swapctl out --store memory -p "$a" -r "$BATS_TEST_TMPDIR/records"
	run -7 swapctl status -p "$b"
	end_target "$b"
	run -3 --separate-stderr timeout 60 swapctl out -r "$BATS_TEST_TMPDIR/records"
	assert_regex "$stderr" "open process $b: no such process"
	jq -c 'select(.type == "region") | .starttime += 1' "$BATS_TEST_TMPDIR/records" >"$BATS_TEST_TMPDIR/older"
	run -6 --separate-stderr timeout 60 swapctl out -p "$a" -r "$BATS_TEST_TMPDIR/older"
	assert_regex "$stderr" 'an earlier process with this pid'
	run -7 --separate-stderr timeout 60 swapctl out -r - <<<'{"type":"summary"}'
	assert_regex "$stderr" 'there is no region in the records'
}

@test "verbs that can work on one process say so when several are chosen" {
	local one
	start_target touch anon every 4194304
	one=$TARGET_PID
	start_target touch anon every 4194304
	for verb in "swapctl attach --foreground" "swapctl adopt --foreground" "addrspace clone" "addrspace cache --from /etc/hostname"; do
		# shellcheck disable=SC2086
		run -2 --separate-stderr timeout 20 $verb -p "$one,$TARGET_PID"
		assert_regex "$stderr" 'it works on one process, and 2 were chosen'
	done
}

@test "every record that names a process has its command and its cgroup" {
	start_target touch anon every 4194304
	{
		superpages -p "$TARGET_PID"
		addrspace list -p "$TARGET_PID"
		uffd-probe -p "$TARGET_PID"
		timeout 60 swapctl out -p "$TARGET_PID" --store memory
		swapctl status
		swapctl detach -p "$TARGET_PID"
	} >"$BATS_TEST_TMPDIR/records"
	assert_equal "$(jq -rs "map(select(.pid == $TARGET_PID) | .comm) | unique | .[]" "$BATS_TEST_TMPDIR/records")" touch
	assert_equal "$(jq -s "map(select(.pid == $TARGET_PID and (.cgroup | type != \"string\"))) | length" "$BATS_TEST_TMPDIR/records")" 0
}

@test "the command and the cgroup can be columns of every table of processes" {
	local command
	start_target touch anon every 4194304
	swap_most attach -p "$TARGET_PID" --store memory
	for command in superpages "superpages --summary" "addrspace info" "addrspace list" "swapctl status" uffd-probe; do
		# shellcheck disable=SC2086
		run -0 $command -p "$TARGET_PID" --raw -o comm,cgroup
		assert_line --regexp '^touch /[^ ]*$'
	done
}

@test "a process that has ended, and that nobody has waited for, is called a zombie" {
	local parent
	python3 -c 'import os, time; os.fork() or os._exit(0); time.sleep(600)' 3>&- & # a shell would wait for it
	parent=$!
	end_later "$parent"
	has_zombie() { ZOMBIE=$(ps -o pid=,stat= --ppid "$parent" | awk '$2 ~ /^Z/ { print $1 }') && [[ $ZOMBIE ]]; }
	wait_for 10 has_zombie
	for command in superpages "swapctl out" "addrspace info" "uffd-probe"; do
		# shellcheck disable=SC2086
		run -6 --separate-stderr $command -p "$ZOMBIE"
		assert_equal "$stderr" "$command: cannot open process $ZOMBIE: it is a zombie: it has ended, and its parent has not waited for it"
	done
}

@test "what cannot be swapped makes nothing partial: a list of superpages swaps out of every program with exit code 0" {
	local program
	for program in "touch anon every 4194304" "touch locked every 4194304" "touch shared every 4194304"; do
		# shellcheck disable=SC2086
		start_target $program
		superpages -p "$TARGET_PID" --max 64 | timeout 60 swapctl out --store memory -p "$TARGET_PID" -r - >/dev/null
		superpages -p "$TARGET_PID" --kind all | timeout 60 swapctl out -p "$TARGET_PID" -r - >"$BATS_TEST_TMPDIR/records"
		assert_equal "$(jq -s 'map(.skipped // {} | has("special") or has("refused")) | any' "$BATS_TEST_TMPDIR/records")" false
		swapctl detach "$TARGET_PID" >/dev/null
	done
}

@test "a summary agrees with smaps_rollup, and says why the rest stays" {
	local rollup
	start_target touch anon every $((4 * MEBIBYTE))
	superpages --summary "$TARGET_PID" >"$BATS_TEST_TMPDIR/usage"
	rollup=$(awk '/^Rss:/ { print $2 * 1024 }' "/proc/$TARGET_PID/smaps_rollup")
	jq -es --argjson rollup "$rollup" '.[0] | .type == "usage" and .comm == "touch" and .resident_bytes == $rollup and
		.resident_bytes == .swappable_bytes + ([.stays[]] | add) and .swappable_bytes >= 4194304 and .stays.stack > 0 and .stays.file > 0' "$BATS_TEST_TMPDIR/usage"
	jq -es '.[1] | .type == "summary" and .processes == 1 and .unreadable == 0' "$BATS_TEST_TMPDIR/usage"
	run superpages --summary "$TARGET_PID" --format table
	assert_line --regexp 'PID +COMMAND +RESIDENT +SWAPPABLE +OUT +HUGE +STAYS'
	assert_line --regexp 'touch .*MiB file, .*KiB stack'
	assert_line --regexp '^1 process: [0-9.]+ MiB resident, [0-9.]+ MiB of it swappable$'
	run superpages --summary "$TARGET_PID" --raw -o comm,stays
	assert_line --regexp '^touch \{"file":[0-9]+,.*"stack":[0-9]+.*\}$'
}

@test "a summary of all processes has each of three hundred, with what smaps_rollup has" {
	local pid usage=$BATS_TEST_TMPDIR/usage
	# shellcheck disable=SC2016 # the shell that starts them expands it
	start_target /bin/sh -c 'for i in $(seq 300); do sleep 600 & echo $! >>pids; done; echo ready; wait'
	mapfile -t pids <"$TARGET_DIR/pids"
	for pid in "${pids[@]}"; do
		end_later "$pid"
	done
	have_begun() { [[ $(awk '{ print $2, $3 }' "${pids[@]/%//stat}" | sort | uniq -c | xargs) == "300 (sleep) S" ]]; }
	cd /proc
	wait_for 20 have_begun
	superpages --all --summary >"$usage"
	jq -r 'select(.type == "usage" and .resident_bytes == .swappable_bytes + ([.stays[]] | add)) | "\(.pid) \(.resident_bytes)"' "$usage" >"$usage.sums"
	for pid in "${pids[@]}"; do
		echo "$pid $(awk '/^Rss:/ { print $2 * 1024 }' "$pid/smaps_rollup")"
	done >"$usage.rollups"
	assert_equal "$(grep -cxFf "$usage.rollups" "$usage.sums")" 300
	jq -es '(map(select(.type == "usage")) | map(.resident_bytes) | add) == last.resident_bytes and last.processes >= 300' "$usage"
}

@test "a summary sorts, takes the first, and counts what a session has out" {
	local a b
	start_target touch anon every $((4 * MEBIBYTE))
	a=$TARGET_PID
	start_target touch anon every $((16 * MEBIBYTE))
	b=$TARGET_PID
	assert_equal "$(superpages --summary "$a" "$b" --sort swappable --max 1 | jq 'select(.pid) | .pid')" "$b"
	swapctl out --store memory "$a" >/dev/null
	assert_equal "$(superpages --summary "$b" "$a" --sort out --max 1 | jq 'select(.pid) | .pid')" "$a"
	superpages --summary "$a" | jq -es '.[0].out_bytes >= 4000000'
	swapctl detach "$a" >/dev/null
	run -2 superpages --summary "$a" --merge
	run -2 superpages --summary "$a" -r -
	run -2 superpages "$a" --sort out
}

@test "auto --once does a round of each process, and leaves the sessions" {
	make_cgroup "uvm$BATS_TEST_NUMBER-$$.service"
	start_target touch anon every $((32 * MEBIBYTE))
	echo "$TARGET_PID" >"$CGROUP/cgroup.procs"
	run -0 timeout 60 swapctl auto --once --unit "${CGROUP_PATH#/}" --min-saved 0
	assert_equal "$(jq -s 'last | [.op, .processes, .rounds, .errors] | join(" ")' -r <<<"$output")" "auto 1 1 0"
	jq -es 'last.moved_bytes >= 30000000' <<<"$output"
	swapctl status -p "$TARGET_PID" | jq -e '.out_pages > 7000 and .pool_pages == 0'
	run -0 timeout 60 swapctl detach --cgroup "$CGROUP"
	run -7 --separate-stderr timeout 60 swapctl auto --once --all --comm "no-such-$$"
	assert_regex "$stderr" '^swapctl auto: cannot find processes: none matches'
	run -2 timeout 20 swapctl auto --once --pressure some:150ms/1s --all
	run -2 timeout 20 swapctl auto --once --hold 1 --all
}

@test "what is avoided gives only when the others had nothing to give" {
	local a b own
	make_cgroup "uvm$BATS_TEST_NUMBER-$$.service"
	start_two
	run -0 timeout 60 swapctl auto --once --min-saved 0 -p "$a,$b" --avoid "$own-a" --store memory
	assert_equal "$(jq -s 'map(select(.type == "round") | .pid) | @csv' -r <<<"$output")" "$b"
	run -0 timeout 60 swapctl auto --once --min-saved 0 -p "$a" --avoid "$own-a" --store memory
	assert_equal "$(jq -s 'map(select(.type == "round") | .pid) | @csv' -r <<<"$output")" "$a"
	swapctl detach "$a" "$b" >/dev/null
	echo "$a" >"$CGROUP/cgroup.procs"
	run -0 timeout 60 swapctl auto --once --min-saved 0 -p "$a,$b" --avoid "unit:${CGROUP_PATH#/}" --store memory
	assert_equal "$(jq -s 'map(select(.type == "round") | .pid) | @csv' -r <<<"$output")" "$b"
	swapctl detach "$b" >/dev/null
	run -0 timeout 60 swapctl auto --once --min-saved 0 -p "$a,$b" --avoid "uvm*" --prefer "cgroup:$CGROUP_PATH" --store memory
	assert_equal "$(jq -s 'map(select(.type == "round") | .pid) | @csv' -r <<<"$output")" "$a"
	swapctl detach "$a" >/dev/null
}

@test "options can stand in a file, one a line, and the command line counts more" {
	local file=$BATS_TEST_TMPDIR/auto.conf line
	start_target touch anon every $((4 * MEBIBYTE))
	printf '%s\n' '# for one' "pid $TARGET_PID  # this one" '' 'min-saved = 0' 'store=memory' 'once' '  limit 1' >"$file"
	run -0 --separate-stderr timeout 60 swapctl auto --config "$file" --limit 64M
	jq -es 'last.moved_bytes > 3000000' <<<"$output"
	swapctl status "$TARGET_PID" | jq -e '.store == "memory"'
	swapctl detach "$TARGET_PID" >/dev/null
	while IFS='|' read -r line pattern; do
		printf '\n%s\n' "$line" >"$file"
		run -2 --separate-stderr timeout 20 swapctl auto --config "$file" -p "$TARGET_PID"
		assert_regex "$stderr" "^swapctl auto: $file: line 2: cannot use --$pattern"
	done <<-'END'
		speed 9|speed: no option of this name
		help|help: no option of this name
		config x|config: no option of this name
		interval|interval: its value is missing
		interval 0|interval: 0 is not a time from 1s
		once yes|once: it takes no value
		limit 0|limit: 0 is not a size
	END
	run -2 --separate-stderr swapctl auto --config "$BATS_TEST_TMPDIR/none" -p "$TARGET_PID"
	assert_regex "$stderr" "--config: .*/none: No such file"
	printf 'pid %s\ngrace=soon\n' "$TARGET_PID" >"$file"
	run -2 --separate-stderr timeout 20 reclaimctl watch --config "$file"
	assert_regex "$stderr" "line 2: cannot use --grace: soon is not a time"
}
