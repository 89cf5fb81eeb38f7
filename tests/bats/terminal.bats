#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# What the verbs show on a terminal of 80 and of 132 columns. Each number is a 9 here, for it differs from run to run.

bats_require_minimum_version 1.5.0
load swap_helper
load reclaim_helper

setup() {
	begin_swap_test
}

TERMINALS=0

screen() {
	tmux -L "$SERVER" capture-pane -p -S - -t 0
}

has_ended() {
	screen | grep -q '^rc=[0-9]'
}

screen_has() {
	screen | grep -qE -- "$1"
}

# on_terminal WIDTH COMMAND: what it shows, in `shown`. No row of a table is so long that the terminal breaks it; a sentence may be. With `until` set
# the command is told to end when a line on the screen matches that.
on_terminal() {
	local width=$1
	# A server that ends and one that begins may not meet at one socket.
	SERVER=uvmtools-$BASHPID-$((++TERMINALS))
	printf '%s\necho rc=$?\nsleep 600\n' "${*:2}${until:+ & echo \$! >$BATS_TEST_TMPDIR/pid; wait \$!}" >"$BATS_TEST_TMPDIR/script"
	env -u NO_COLOR -u UVM_FORMAT LC_ALL=C.UTF-8 TERM=xterm tmux -L "$SERVER" -f /dev/null new-session -d -x "$width" -y 50 \
		bash "$BATS_TEST_TMPDIR/script" 3>&-
	end_later "$(tmux -L "$SERVER" display-message -p '#{pid}')"
	if [[ ${until-} ]]; then
		wait_for 30 screen_has "$until"
		kill -TERM "$(<"$BATS_TEST_TMPDIR/pid")"
	fi
	wait_for 30 has_ended
	tmux -L "$SERVER" capture-pane -pJ -S - -t 0 | sed '/^rc=/,$d; s/ *$//' >"$BATS_TEST_TMPDIR/screen"
	assert_equal "$(awk -v width="$width" 'length > width && /  /' "$BATS_TEST_TMPDIR/screen")" ""
	tmux -L "$SERVER" kill-server
	shown=$(sed -E 's/0x[0-9a-f]+/ADDRESS/g; s/[0-9]+(\.[0-9]+)?/9/g; s/  +/  /g; s/^ +//; s/ +$//' "$BATS_TEST_TMPDIR/screen")
}

# shows WIDTH COMMAND TEXT: each line of the text, a regular expression, is a line of what it shows.
shows() {
	local line
	on_terminal "$1" "$2"
	while read -r line; do
		grep -qxE -- "$line" <<<"$shown" || fail "\"$2\" at $1 columns shows no line like \"$line\" but:
$shown"
	done <<<"$3"
}

# prints WIDTH COMMAND TEXT: what it shows is these lines, and no others.
prints() {
	local line lines=() shown_lines
	on_terminal "$1" "$2"
	while read -r line; do
		lines+=("$line")
	done <<<"$3"
	mapfile -t shown_lines <<<"$shown"
	for line in "${!lines[@]}"; do
		[[ ${shown_lines[line]-} =~ ^(${lines[line]})$ ]] || fail "\"$2\" at $1 columns shows, instead of \"${lines[line]}\":
$shown"
	done
	assert_equal "${#shown_lines[@]}" "${#lines[@]}"
}

SIZE='9 [KMG]?i?B'
TIME='9 (us|ms|s)'

@test "a swap session on a terminal" {
	start_target touch anon every $((8 * 1048576))
	local p="-p $TARGET_PID" width
	for width in 80 132; do
		shows "$width" "swapctl attach $p" "PID  STATE  OUT .*STORE  FAULTS .*P9  P9.*
			9  running  9 B .*"
		shows "$width" "swapctl out $p -n" "9 MiB would leave; $SIZE stayed: .*never touched.*"
		shows "$width" "swapctl out $p" "9 MiB out \($SIZE stored, 9:9\) in $TIME; $SIZE stayed: .*never touched.*"
		refute_regex "$shown" START
		shows "$width" "swapctl in $p -v" "START .*ASKED.*|9 MiB came back in $TIME"
		shows "$width" "swapctl out -v $p --bytes 1M" "START .*MOVED .*COMPRESSED  STAYED  TIME
			ADDRESS .* 9 us.*|ADDRESS .* 9 ms.*"
		shows "$width" "swapctl status" "PID  STATE  OUT.*WORKER
			9  running  $SIZE .*"
		until='%$' shows "$width" "swapctl status --interval 300ms" "PID  STATE  OUT  STORE  FAULTS/S  OUT/S  IN/S  WAITED
			9  running  $SIZE  $SIZE  -  -  -  -
			9  running  $SIZE  $SIZE  9  9 B  9 B  9%"
		shows "$width" "swapctl check $p" "9 pages in 9 records? checked in $TIME"
		shows "$width" "swapctl detach $p" "$SIZE came back in $TIME"
	done
	# Rows appear while it runs.
	until='^ *[0-9]+ .*MiB' shows 80 "swapctl auto $p --interval 1 --stage 1 --min-saved 0" "PID  RESIDENT  REGIONS  MOVED  REFAULTED  POOL  STORE  TIME
		9  $SIZE  9  $SIZE  9 .*
		9 process, 9 rounds?: 9 MiB out.*"
}

@test "an address space on a terminal" {
	start_target touch anon every $((4 * 1048576))
	local p="-p $TARGET_PID" width
	shows 80 "superpages $p" "START  BYTES  RESIDENT  SWAPPED  PERM  NAME
		ADDRESS  9 MiB  9 MiB  9 B  rw-p  \[anon\]
		9 superpages of 9 MiB: $SIZE resident"
	shows 132 "superpages $p" "START  END  BYTES  RESIDENT  SWAPPED  HUGE  PERM  NAME
		9 superpages of 9 MiB: $SIZE resident.*"
	shows 80 "addrspace list $p" "START  BYTES  RESIDENT  PERM  OBJECT  NAME
		ADDRESS  9 MiB  9 MiB  rw-p  anon  \[anon\]
		9 mappings, 9 MiB; 9 MiB resident"
	shows 132 "addrspace list $p" "START  END  BYTES  RESIDENT  SWAPPED  PERM  OBJECT  OFFSET  NAME"
	for width in 80 132; do
		shows "$width" "addrspace alloc $p 64K" "alloc: 9 region, 9 KiB; the longest stop of a thread was $TIME"
		shows "$width" "addrspace info $p" ".*VIRTUAL .*"
		shows "$width" "uffd-probe" "ROUTE  USABLE  KERNEL FAULTS.*
			9 routes usable"
		shows "$width" "uffd-move $p --src ${TARGET_READY%% *} --length 4K -n" "9 KiB would move"
		shows "$width" "reclaimctl status" "9 rings?"
		shows "$width" "swapctl help" "Verbs:
			out  Swap its memory out .*"
	done
	prints 80 "uffd-move $p --src ${TARGET_READY%% *} --length 4K --yes" "SOURCE  DESTINATION  BYTES  MOVED  HOLES  FAILED
		ADDRESS  ADDRESS  9 KiB  9 KiB  9 B  9 B
		9 KiB moved in $TIME; the longest stop of a thread was $TIME"
	prints 132 "uffd-move $p --src ${TARGET_READY%% *} --length 4K --yes" "SOURCE  DESTINATION  BYTES  MOVED  HOLES  FAILED  CALLS  TIME  STOP
		ADDRESS  ADDRESS  9 KiB  9 B  9 KiB  9 KiB  9  $TIME  $TIME
		UFFDIO_MOVE of 9 KiB at ADDRESS: no page is there: never touched, or discarded \\(use --allow-src-holes\\)
		9 B moved in $TIME; 9 KiB were not there; 9 KiB could not.*"
	shows 80 "addrspace clone $p --hold" "PID  ORIGINAL  BYTES  RESIDENT  THREADS  PAUSE  TIME"
	end_later "$(awk '$1 > 1 { print $1 }' "$BATS_TEST_TMPDIR/screen" | sed -n 2p)"
}

@test "changes to an address space on a terminal" {
	start_target touch anon every $((4 * 1048576))
	local p="-p $TARGET_PID" at=${TARGET_READY%% *} width start row
	local stop="; the longest stop of a thread was $TIME"
	for width in 80 132; do
		start="START  BYTES  PERM  OBJECT  NAME"
		row="ADDRESS  9 KiB  rw-p  anon  \\[anon\\]"
		if ((width > 80)); then
			start="START  END  BYTES  PERM  OBJECT  OFFSET  NAME"
			row="ADDRESS  ADDRESS  9 KiB  rw-p  anon  -  \\[anon\\]"
		fi
		prints "$width" "addrspace map $p --size 64K" "$start
			$row
			map: 9 region, 9 KiB$stop"
		prints "$width" "addrspace alloc $p 64K -n" "$start
			${row//ADDRESS/-}
			alloc: 9 region, 9 KiB"
		prints "$width" "addrspace map $p --file /etc/passwd | tail -n 1 | jq -c .op" '"map"'
		addrspace alloc -p "$TARGET_PID" 64K >"$BATS_TEST_TMPDIR/alloc"
		prints "$width" "addrspace protect $p -r $BATS_TEST_TMPDIR/alloc --protection r" "$start
			${row/rw-p/r--p}
			protect: 9 region, 9 KiB$stop"
		prints "$width" "addrspace unmap $p -r $BATS_TEST_TMPDIR/alloc" "$start
			${row/rw-p/r--p}
			unmap: 9 region, 9 KiB$stop"
		addrspace alloc -p "$TARGET_PID" 64K >"$BATS_TEST_TMPDIR/alloc"
		prints "$width" "addrspace free $p -r $BATS_TEST_TMPDIR/alloc" "$start
			$row
			free: 9 region, 9 KiB$stop"
	done
	prints 80 "addrspace query $p $at" "START  OBJECT  PROTECTION  ALL SAME  MAPPED  MAPPINGS  NAME
		ADDRESS  anon  read,write  yes  9 KiB  9  \\[anon\\]"
	prints 132 "addrspace query $p $at" "START  END  OBJECT  OFFSET  PROTECTION  ALL SAME  MAPPED  MAPPINGS  NAME
		ADDRESS  ADDRESS  anon  -  read,write  yes  9 KiB  9  \\[anon\\]"
	prints 80 "addrspace info $p" "PID  MAPPINGS  MAX  VIRTUAL  RESIDENT  SWAPPED
		9  9  9  9 MiB  9 MiB  9 B"
	prints 132 "addrspace info $p" "PID  MAPPINGS  MAX  VIRTUAL  RESIDENT  SWAPPED  HEAP  STACK  PAGE  OVERCOMMIT
		9  9  9  9 MiB  9 MiB  9 B  9 MiB  9 MiB  9 KiB  [a-z]+"
}

@test "clones and lazily filled mappings on a terminal" {
	start_with_input hotcold $((4 * 1048576))
	local p="-p $TARGET_PID" width clone clones="PID  ORIGINAL  BYTES  RESIDENT  THREADS  PAUSE  TIME"
	differs() {
		addrspace diff "$clone" "$TARGET_PID" | jq -es 'last.changed_bytes > 1500000' >/dev/null
	}
	for width in 80 132; do
		prints "$width" "addrspace clone $p --core $BATS_TEST_TMPDIR/core" "$clones
			9  9  9 MiB  9 MiB  9  $TIME  $TIME"
		prints "$width" "addrspace clone $p -n" "$clones
			-  9  9 MiB  9 MiB  -  -  -"
		prints "$width" "addrspace clone $p -- echo done" "$clones
			9  9  9 MiB  9 MiB  9  $TIME  $TIME
			done"
		clone=$(addrspace clone -p "$TARGET_PID" --hold | jq .pid)
		end_later "$clone"
		wait_for 20 differs
		shows "$width" "addrspace diff $clone $TARGET_PID" "START  END  BYTES  CHANGE
			ADDRESS  ADDRESS  9 MiB  changed
			$SIZE of 9 MiB changed; compared in $TIME"
		prints "$width" "addrspace drop -p $clone" "PID  ORIGINAL
			9  9"
		shows "$width" "uffd-move $p --watch 1" "BY  NAME  TID  TOUCHES  TOUCHED
			mapping  \\[anon\\]  -  9  9 MiB
			thread  hotcold  9  9  9 MiB
			9 touches of 9 MiB in $TIME; 9 MiB watched(; threads waited for $TIME)?"
		prints "$width" "addrspace cache --from /bin/sh -- echo done" "done"
	done
	until=/bin/sh prints 80 "addrspace cache $p --from /bin/sh" "PID  START  BYTES  SOURCE  KIND  BLOCK  WORKER
		9  ADDRESS  9 KiB  /bin/sh  file  9 KiB  9
		9 KiB filled in 9 blocks; 9 faults"
	until=/bin/sh prints 132 "addrspace cache $p --from /bin/sh" "PID  START  END  BYTES  SOURCE  KIND  BLOCK  WORKER  PUPPET
		9  ADDRESS  ADDRESS  9 KiB  /bin/sh  file  9 KiB  9  9
		9 KiB filled in 9 blocks; 9 faults"
}

@test "a session that is taken up, and programs that are run, on a terminal" {
	start_target touch anon every $((4 * 1048576))
	local p="-p $TARGET_PID" width pids
	is_orphaned() {
		swapctl status | jq -es 'last.state == "orphaned"' >/dev/null
	}
	for width in 80 132; do
		prints "$width" "swapctl auto $p --once --min-saved 0 --store memory" "PID  RESIDENT  REGIONS  MOVED  REFAULTED  POOL  STORE  TIME
			9  9 MiB  9  9 MiB  9  9 B  9 KiB  $TIME
			9 process, 9 round: 9 MiB out"
		mapfile -t pids < <(status_of '.supervisor_pid, .worker_pid')
		kill -STOP "${pids[@]}"
		kill -KILL "${pids[@]}"
		wait_for 20 is_orphaned
		shows "$width" "swapctl status" "9  orphaned  .*"
		shows "$width" "swapctl adopt $p" "PID  STATE  OUT  .*STORE  FAULTS  P9  P9.*  WORKER
			9  running  9 MiB  .*"
		prints "$width" "swapctl detach $p" "9 MiB came back in $TIME"
		# A command that ends this soon may have ended before it had a session, which is said.
		shows "$width" "swapctl run --store memory -- echo done" "done"
		prints "$width" "swapctl in $p --for echo done" "done"
		prints "$width" "reclaimctl run -- echo done" "done"
	done
}

@test "a reclaim ring on a terminal" {
	start_ring 4 65536 free
	local p="-p $TARGET_PID" width ring entry heading
	ring="PID  NAME  CAPACITY  ENTRIES  BYTES  RECLAIMED  BYTES OUT  LEVEL  SAMPLES"
	for width in 80 132; do
		heading="ID  START  BYTES  ACTION  STATE  RESIDENT"
		entry="9  ADDRESS  9 KiB  free  unreclaimed  9 KiB"
		if ((width > 80)); then
			heading=${heading/START/START  END}
			entry=${entry/ADDRESS/ADDRESS  ADDRESS}
		fi
		prints "$width" "reclaimctl status $p" "$ring
			9  ring  9  9  9 KiB  9  $SIZE  normal  9
			9 ring"
		shows "$width" "reclaimctl list $p" "$heading
			$entry
			9 entries, 9 KiB; 9 KiB resident"
		prints "$width" "reclaimctl query $p 3" "$heading
			${entry/% 9 KiB/ -}"
		prints "$width" "reclaimctl flush $p -n 1" "9 entry, 9 KiB reclaimed; 9 KiB left in 9; the process has 9 KiB less resident"
		prints "$width" "reclaimctl query $p 0" "entry 9: reclaimed"
		until=found shows "$width" "reclaimctl watch $p --period 100ms --dry-run" "ring \\(9\\): found
			9 reclaims? from 9 process: 9 B in 9 entries"
		prints "$width" "reclaimctl resize $p 256" "$ring
			9  ring  9  9  9 KiB  9  $SIZE  normal  9
			the ring has the capacity asked for"
	done
}

@test "what a kernel and a process offer, on a terminal" {
	start_target touch anon every $((4 * 1048576))
	local width
	for width in 80 132; do
		prints "$width" "uffd-probe -p $TARGET_PID" "TOOL  USABLE  OBSTACLES
			swapctl  yes  -
			uffd-move  yes  -
			9 userfaultfds, 9 B registered"
		prints "$width" "uffd-probe --require move,pidfd_getfd,anonymous/missing" "FEATURE  BIT  OFFERED  USABLE  REASON
			move  9  yes  yes  -
			MEMORY  MODE  OFFERED  IOCTLS  NEEDS  REASON
			anonymous  missing  yes  wake, copy, zeropage, move, poison  -  -
			FACILITY  USABLE  REASON  CURE
			pidfd_getfd  yes  -  -
			9 routes usable"
		shows "$width" "uffd-probe --list" "NAME  KIND
			syscall  route
			thp/missing/move  ioctl"
	done
}

latency_is_known() {
	swapctl status -p "$TARGET_PID" >latency
	jq -e 'select(.type == "session") | .faults > 0' latency >/dev/null
}

@test "pictures on a terminal" {
	start_with_input hotcold $((4 * 1048576))
	local width name
	cd "$BATS_TEST_TMPDIR"
	uffd-move -p "$TARGET_PID" --watch 500ms --again 100ms >touches
	swapctl out -p "$TARGET_PID" --store memory >swapout || (($? == 3))
	wait_for 20 latency_is_known
	superpages -p "$TARGET_PID" >residency
	for width in 80 132; do
		for name in heat:touches workingset:touches swapout:swapout latency:latency residency:residency; do
			on_terminal "$width" "uvm-plot ${name%:*} $PWD/${name#*:}"
			assert_equal "$(awk -v width="$width" 'length > width' screen)" ""
			(($(wc -l <screen) > 15))
			(($(awk 'length > most { most = length } END { print most }' screen) > width * 3 / 4)) || fail "$(cat screen)"
		done
	done
}

@test "several processes on a terminal" {
	start_target touch anon every $((4 * 1048576))
	local first=$TARGET_PID width
	start_target touch anon every $((4 * 1048576))
	for width in 80 132; do
		shows "$width" "superpages --summary -p $first,$TARGET_PID" "PID  COMMAND  RESIDENT  SWAPPABLE  OUT  HUGE  STAYS
			9  touch  .* MiB file, .*
			9 processes: 9 MiB resident, 9 MiB of it swappable"
		assert_equal "$(awk -v width="$width" 'length > width' "$BATS_TEST_TMPDIR/screen")" ""
		shows "$width" "superpages -p $first,$TARGET_PID" "PID  START  .*NAME
			9  ADDRESS  .* rw-p  \\[anon\\]
			touch \\(9\\): 9 superpages of 9 MiB: 9 MiB resident.*
			9 processes"
		prints "$width" "swapctl out -p $first,$TARGET_PID --store memory" "touch \\(9\\): 9 MiB out .*
			touch \\(9\\): 9 MiB out .*
			9 processes"
		shows "$width" "swapctl detach -p $first,$TARGET_PID,$BASHPID" "touch \\(9\\): 9 MiB came back in $TIME
			9 processes, 9 of them failed"
	done
	until='stage: .*resident' shows 80 "swapctl auto -p $first --interval 1 --stage 1 --min-saved 0 --explain --store memory" "9 stage: 9 MiB at ADDRESS, cold; 9 MiB of it resident
		9 process, 9 rounds?: 9 MiB out.*"
	refute_regex "$shown" decision
}

@test "colors are for terminals, unless NO_COLOR or --color says otherwise" {
	start_target touch anon every $((4 * 1048576))
	local bold=$'\033[1m'
	run -0 superpages -p "$TARGET_PID" --format table
	refute_output --partial "$bold"
	run -0 superpages -p "$TARGET_PID" --format table --color always
	assert_output --partial "$bold"
	run -0 script -qec "superpages -p $TARGET_PID" /dev/null
	assert_output --partial "$bold"
	NO_COLOR=1 run -0 script -qec "superpages -p $TARGET_PID" /dev/null
	refute_output --partial "$bold"
}
