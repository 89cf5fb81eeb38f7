# SPDX-License-Identifier: MIT
# Runs the examples of the man pages as they are printed. PID, SRC and DST are the placeholders in them.
# shellcheck shell=bash

# Examples that are not run, each with the reason. None today: those that last for ever are run until they are told to end.
# shellcheck disable=SC2034
declare -gA NOT_RUN=()

# The commands in a page as it is shown, one a line; those on several lines joined.
commands() {
	col -bx | sed -nE '/^ +[#$] /{:more /(\||\\)$/{N;s/\|\n +/| /;s/ *\\\n +/ /;b more};s/^ +[#$] //p}'
}

# examples PAGE: the commands that it prints, in EXAMPLES most of them.
examples() {
	mandoc -T utf8 -O width=400 "$ROOT/man/$1" | commands
}

# expected COMMAND: what its standard output matches, or the file that it writes; every example has to be here.
expected() {
	# shellcheck disable=SC2016
	case $1 in
	# swapctl(1)
	'swapctl out -p $PID' | 'swapctl out -p $PID -r cold.json' | 'swapctl out -p $PID --bytes 100M') echo '"type":"summary".*"op":"out".*"moved_bytes":[1-9]' ;;
	*' swapctl out -p $PID -r -') echo '"type":"summary".*"op":"out".*"moved_bytes":[1-9]' ;;
	*'--output uvm.prom;'*) echo '^# EOF$' ;;
	'swapctl status -p $PID') echo '"state":"running".*"out_pages":[1-9]' ;;
	'swapctl detach -p $PID') echo '"op":"detach".*"brought_bytes":[1-9]' ;;
	'swapctl attach -p $PID --store memory '*) echo '"state":"running".*"store":"memory","compress":"zstd:9".*"limit_bytes":1073741824' ;;
	*.would_move_bytes\') echo '^[1-9][0-9]+$' ;;
	*'[.start, .skipped]'\') echo '^\["0x[0-9a-f]+",\{.*:[1-9][0-9]*\}\]' ;;
	*' > cold.json' | *' > then.json') echo '"type":"region".*"type":"summary"' ;;
	'swapctl in -p $PID -r cold.json') echo '"op":"in".*"brought_bytes":[1-9]' ;;
	*.fault_p99_us\]\') echo '^\['"$PID"',(null|[0-9]+)\]$' ;;
	'swapctl out -p $PID --store kernel') echo '"type":"summary".*"op":"out".*"store":"kernel".*"moved_bytes":[1-9]' ;;
	'swapctl in -p $PID --store kernel') echo '"op":"in".*"store":"kernel".*"brought_bytes":[1-9]' ;;
	'swapctl auto '*--explain) echo '"type":"decision".*"type":"summary".*"op":"auto"' ;;
	'swapctl auto '*) echo '"type":"summary".*"op":"auto"' ;;
	'swapctl check '*) echo '"op":"check".*"out_pages":[0-9]+.*"errors":0' ;;
	*' .encrypted, .key]'\') echo '^\['"$PID"',".+",(true|false),("secret"|"locked"|null)\]$' ;;
	'swapctl attach '*--foreground) echo '"type":"session".*"state":"running"' ;;
	'swapctl in -p $PID --for gdb '*' -batch '*) echo '\* 1 ' ;;
	'swapctl run '*) echo '^$' ;;
	'swapctl in -p $PID --for gdb -p $PID') echo "Attaching to process $PID" ;;
	'swapctl in -p $PID --for gcore -o core $PID') echo "Saved corefile core.$PID" ;;
	*'[.pid, .missing]'\') echo '^\['"$PID"',\{' ;;
	*'.state == "orphaned").pid'\') echo "^$PID\$" ;;
	'swapctl adopt '*) echo '"state":"running"' ;;
	# superpages(1)
	'superpages -p $PID --format table') echo 'START.*RESIDENT' ;;
	'superpages -p $PID --sort resident --max 10') echo '"type":"region".*"type":"summary"' ;;
	'superpages --all --summary '*) echo 'PID.*RESIDENT.*SWAPPABLE' ;;
	*' | .stays'\') echo '"stack": ?[1-9]' ;;
	*' | .resident_bytes / 1048576'\') echo '^[1-9][0-9.]*$' ;;
	'superpages -p $PID -r then.json' | 'superpages -p $CLONE') echo '"type":"region".*"type":"summary"' ;;
	# addrspace(1)
	*'.mappings / .max_mappings'\') echo '^0\.[0-9]+$' ;;
	*'group_by(.name)'*) echo '\.so' ;;
	'addrspace list -p $PID --grown 2') echo '"type":"summary".*"grown_bytes":0' ;;
	'addrspace query '*) echo '"type":"region".*"object":"' ;;
	*' > alloc.json') echo '"op":"alloc".*"done":true' ;;
	*' > protect.json') echo '"op":"protect".*"done":true' ;;
	*' > free.json') echo '"op":"free".*"done":true' ;;
	'addrspace map '*) echo '^0x[0-9a-f]+$' ;;
	*' --output cache.json '*) echo '^$' ;;
	*' addrspace cache '*) echo '"type":"cache".*"type":"summary"' ;;
	*' | zstd > core.zst') echo '^$' ;;
	'addrspace clone '*' --core '*) echo '"type":"clone".*"core_bytes":[1-9]' ;;
	'gdb '*' core.$PID') echo '#0 .*' ;;
	'addrspace clone '*' addrspace diff '*) echo '"type":"clone".*"op":"diff".*"compared_bytes":[1-9]' ;;
	'CLONE='*) echo '^$' ;;
	'addrspace drop '*) echo '"type":"drop".*"original_pid":'"$PID" ;;
	# reclaimctl(1)
	'reclaimctl status | '*) echo '^[1-9][0-9]*$' ;;
	'reclaimctl list '*) echo '^\{.*"type":"region".*"resident_bytes":[0-9]+.*\}$' ;;
	'reclaimctl query '*) echo '"type":"(region|entry)".*"id":0,' ;;
	'reclaimctl flush '*) echo '"type":"summary".*"entries":[1-9]' ;;
	'reclaimctl resize '*) echo '"type":"summary".*"waiting":(true|false)' ;;
	'reclaimctl watch '*) echo '"event":"found".*"type":"summary".*"op":"watch"' ;;
	# uffd-move(1)
	'uffd-move -n '*) echo '"type":"move".*"would_move_bytes":4194304' ;;
	'uffd-move -p $PID --src $SRC --dst $DST '*) echo '"type":"move".*"moved_bytes":4194304.*"type":"summary"' ;;
	'kill -STOP $PID' | 'kill -CONT $PID') echo '^$' ;;
	*' > moved.json') echo '"type":"move".*"moved_bytes":[1-9].*"type":"summary"' ;;
	'uffd-move --reverse '*) echo '"type":"summary".*"op":"reverse".*"moved_bytes":[1-9]' ;;
	'uffd-move -p $PID --watch 2 --format table') echo 'touch.*4.* MiB watched' ;;
	*' uffd-move --watch 2 --again 500 -r - | grep interval') echo '"type":"interval".*"touched_bytes":[0-9]+' ;;
	# uffd-probe(1)
	'uffd-probe --format table') echo 'ROUTE.*FEATURE' ;;
	*'.route == "syscall") | .reason, .hint'\') echo '^(null|[a-z])' ;;
	'uffd-probe --require swapctl '*) echo '^$' ;;
	'uffd-probe --require '*) echo '^ready$' ;;
	'uffd-probe --exercise '*) echo '^$' ;;
	*'.type == "obstacle") | .reason, .hint'\') echo '^$|[a-z]' ;; # nothing is in the way of root
	*'.type == "summary") | .total'\') echo '^[1-9][0-9]*$' ;;
	# uvm-plot(1)
	*' > touches.json') echo '"type":"touch".*"type":"interval".*"op":"watch"' ;;
	*uvm-plot\ *' --output '*.svg*) echo '^$' ;;
	*' | uvm-plot residency') echo 'Memory by how much.*0x[0-9a-f]+ \|@' ;;
	# uvm-json(5)
	*"jq -s 'map(.)'") echo '^\[.*"type": "region".*"type": "summary".*\]$' ;;
	*'last.type == "summary"'\') echo '^true$' ;;
	'echo '*' swapctl in -p $PID -r -') echo '"op":"in"' ;;
	*)
		echo "this example is not expected: $1" >&2
		return 1
		;;
	esac
}

# in_part COMMAND: whether exit code 3 is a success too: pages that the kernel needs stay, and a program resizes its ring when it next uses it.
in_part() {
	[[ $1 == *'swapctl out '* || $1 == 'swapctl auto '* || $1 == ?(*' ')'uffd-move '* || $1 == 'reclaimctl resize '* || $1 == 'addrspace clone '*' diff '* ]]
}

# check_example PAGE COMMAND STATUS OUTPUT ERRORS: the latter two are files.
check_example() {
	local page=$1 command=$2 status=$3 pattern output file
	pattern=$(expected "$command")
	if [[ $command == *' > '*.json ]]; then
		file=${command##* > }
		output=$(<"$file")
	else
		output=$(<"$4")
	fi
	[[ $status == 0 ]] || { [[ $status == 3 ]] && in_part "$command"; } || fail "$page: $command: exit code $status: $(<"$5") $output"
	[[ $output =~ $pattern ]] || fail "$page: $command: does not print $pattern: $output $(<"$5")"
}

# run_example PAGE COMMAND: in the directory of the test, as typed into a shell that keeps its variables. Each command of a pipe has to succeed,
# unless head closes the pipe early.
run_example() {
	local page=$1 command=$2 status=0 pipes=-o out=$BATS_TEST_TMPDIR/example.out err=$BATS_TEST_TMPDIR/example.err vars=$BATS_TEST_TMPDIR/example.vars
	[[ -e $vars ]] || : >"$vars"
	[[ $command != *'| head '* ]] || pipes=+o
	timeout 60 bash -c "set $pipes pipefail; . '$vars'; $command
		status=\$?; declare -p CLONE >'$vars' 2>/dev/null; exit \$status" </dev/null >"$out" 2>"$err" 3>&- || status=$?
	check_example "$page" "$command" "$status" "$out" "$err"
}

# run_until_told PAGE COMMAND READY...: one that lasts until SIGTERM, which it gets two seconds after READY holds of its pid and its output.
run_until_told() {
	local page=$1 command=$2 status=0 out=$BATS_TEST_TMPDIR/example.out err=$BATS_TEST_TMPDIR/example.err pid
	: >"$out"
	bash -c "exec $command" </dev/null >"$out" 2>"$err" 3>&- &
	pid=$!
	end_later "$pid"
	wait_for 20 "${@:3}" "$pid" "$out"
	read -rt 2 <> <(:) || :
	kill -TERM "$pid"
	wait "$pid" || status=$?
	check_example "$page" "$command" "$status" "$out" "$err"
}
