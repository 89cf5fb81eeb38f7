#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# The man pages: sound, complete, in step with the tools, and their examples work.

# Before the functions here, which are to win over theirs.
load helper
load examples_helper
load zram_helper

setup() {
	cd "$ROOT" || return
}

teardown() {
	zram_off
	if [[ ${PID:-} ]]; then
		timeout 30 swapctl detach -p "$PID" >/dev/null 2>&1 || :
	fi
	end_all
}

verbs() {
	"$1" --help | sed -n '/^Verbs:/,/^$/s/^  \([a-z]*\) .*/\1/p'
}

# Of a tool, over all its verbs: "--name" and "-n", one a line.
help_options() {
	local tool=$1 verb list
	list=$(verbs "$tool")
	for verb in ${list:-""}; do
		# shellcheck disable=SC2086
		"$tool" $verb --help
	done | sed -nE 's/^ +(-.), +(--[a-z-]+).*/\1\n\2/p; s/^ +(--[a-z-]+).*/\1/p' | sort -u
}

# The options that a page describes: those of its list entries.
page_options() {
	sed -n 's/^\.It \(Fl .*\)/\1/p' "man/$1.1" | grep -oE 'Fl (-?[a-z][a-z-]*|[a-zA-Z])' | sed -E 's/^Fl /-/' | sort -u
}

# The options of a verb by their long names, but for those that all verbs have.
verb_options() {
	# shellcheck disable=SC2086
	$1 --help | sed -nE 's/^ +(-., +)?(--[a-z-]+).*/\2/p' | grep -vxE -- '--(format|raw|columns|no-headings|no-summary|color|quiet|verbose|version|help|usage)' | sort -u
}

# The lines of a page's synopsis that begin with a tool and its verb.
synopses() {
	mandoc -T utf8 -O width=1000 "man/${1%% *}.1" | col -bx | sed -n '/^SYNOPSIS/,/^DESCRIPTION/p' | grep -E "^ +$1 "
}

# The same as verb_options has them, of a synopsis: of those with two names it may have either.
line_options() {
	local name
	for name in $(grep -oE -- '(^|[[ ])--?[a-z][a-z-]*' <<<"$2" | tr -d ' ['); do
		if [[ $name == --* ]]; then
			echo "$name"
		else
			# shellcheck disable=SC2086
			$1 --help | sed -nE "s/^ +$name, +(--[a-z-]+).*/\1/p"
		fi
	done | sort -u
}

# "--name VALUE" for each option of a verb with a default value, which ends its help.
verb_defaults() {
	# shellcheck disable=SC2086
	$1 --help | awk '/^ +(-., +)?--/ { if (l) print l; l = $0; next } l && /^ +[^ ]/ { l = l " " $0; next } { print l; l = "" }' |
		sed -nE 's/^ +(-., +)?(--[a-z-]+).*\(([^() ]+)\)$/\2 \3/p'
}

# What a page says of an option: its entries in lists, which it may share with the options before and after it.
page_entry() {
	awk -v name="Fl ${2#-} " '/^\.It .*Fl/ { on = index($0 " ", name) || (on && together); together = 1 } !/^\.It/ { together = 0 } on' "man/$1.1"
}

@test "mandoc finds nothing to say about any page" {
	run mandoc -T lint -W warning man/*
	assert_success
	refute_output
}

@test "every tool has a page with all the sections" {
	local tool section
	for tool in "$UVM_BUILD"/bin/*; do
		for section in NAME SYNOPSIS DESCRIPTION OPTIONS 'EXIT STATUS' EXAMPLES CAVEATS 'SEE ALSO'; do
			grep -qx "\.Sh $section" "man/${tool##*/}.1" || fail "man/${tool##*/}.1 has no $section"
		done
	done
}

@test "every page names this version, and its sections stand in the order of mdoc(7)" {
	local page version
	local order='NAME LIBRARY SYNOPSIS DESCRIPTION OWN RETURN_VALUES ENVIRONMENT FILES EXIT_STATUS EXAMPLES SEE_ALSO CAVEATS'
	version=$(sed -n 's/^VERSION *:= *//p' Makefile)
	for page in man/*; do
		grep -qx "\.Os uvmtools $version" "$page" || fail "$page: .Os is not that of $version"
		run awk -v order="$order" -v page="$page" '
			BEGIN { n = split(order, names, " "); for (i = 1; i <= n; i++) rank[names[i]] = i }
			sub(/^\.Sh /, "") {
				section = $0
				gsub(/ /, "_", section)
				at = section in rank ? rank[section] : rank["OWN"]
				if (at < last) print page ": " $0 " stands too late"
				last = at
			}' "$page"
		refute_output
	done
}

# Long and short names in the synopsis of a verb, or of a tool without verbs.
synopsis_options() {
	sed -n '/^\.Sh SYNOPSIS/,/^\.Sh DESCRIPTION/p' "man/$1.1" | awk -v verb="${2:-}" '
		/^\.Nm/ { if (verb == "") wanted = 1; next }
		/^\.Cm/ { if (verb != "") wanted = $2 == verb }
		wanted' | sed 's/| -/| Fl -/' | grep -oE 'Fl -?[a-z][a-z-]*' | sed 's/^Fl /-/' | sort -u
}

@test "the SYNOPSIS of every verb has all its options" {
	local tool verb list line name seen count=0
	for tool in "$UVM_BUILD"/bin/*; do
		tool=${tool##*/}
		list=$(verbs "$tool")
		for verb in ${list:-""}; do
			seen=$(synopsis_options "$tool" "$verb")
			# shellcheck disable=SC2086
			while read -r line; do
				((++count))
				for name in $line; do
					grep -qxF -- "$name" <<<"$seen" && continue 2
				done
				fail "man/$tool.1: the SYNOPSIS of $tool $verb lacks $line"
			done < <("$tool" $verb --help | sed -n '/^Common options:/q;p' |
				sed -nE 's/^ +(-.), +(--[a-z-]+).*/\1 \2/p; s/^ +(--[a-z-]+).*/\1/p')
		done
	done
	assert [ "$count" -ge 60 ]
}

@test "a quote covers what it quotes and nothing more" {
	run grep -nE '^\.(It |Pq )?(.* )?Ql [^ ]+ (No|Ql|Li|Ar|or|, [A-Za-z])' man/*
	assert_failure
	refute_output
	# In what is typed, groff makes the quotes of prose of these.
	run awk '/^\.Bd -literal/ { typed = 1 } /^\.Ed/ { typed = 0 } (typed || /^\.Dl/) && /[\47`]/ { print FILENAME ": " $0 }' man/*
	refute_output
}

@test "what is typed looks the same in ASCII and UTF-8, by mandoc and by groff" {
	local page name
	for page in man/*; do
		name=${page#man/}
		examples "$name" >"$BATS_TEST_TMPDIR/utf8"
		mandoc -T ascii -O width=400 "$page" | commands | diff -u "$BATS_TEST_TMPDIR/utf8" - || fail "$page in ASCII"
		groff -K utf8 -T utf8 -mdoc -rLL=400n -P -c "$page" 2>/dev/null | commands | diff -u "$BATS_TEST_TMPDIR/utf8" - || fail "$page by groff"
		run grep -nE '\\[([]|<[a-z]+>' <(mandoc -T utf8 "$page" | col -bx)
		refute_output
	done
}

@test "references among the pages lead to pages, and uvmtools(7) names them all" {
	local name section page
	while read -r name section; do
		[[ -e man/$name.$section ]] || grep -qE "^\.Nm $name( ,)?\$" man/*."$section" || fail "there is no $name($section)"
	done < <(sed -nE 's/^\.(.* )?Xr ((uvm|libuvm|uffd|swapctl|superpages|reclaimctl|addrspace)[a-z_-]*) ([0-9]).*/\2 \4/p' man/* | sort -u)
	for page in man/*; do
		page=${page#man/}
		[[ $page == uvmtools.7 ]] || grep -qE "Xr ${page%.*} ${page##*.}" man/uvmtools.7 || fail "uvmtools(7) does not name $page"
	done
}

@test "every function of the library is in the NAME section of a page" {
	local name count=0
	for name in $(sed -nE 's/^[a-z].*\b(uvm_[a-z_]+)\(.*/\1/p' libuvm/uvm/*.h); do
		((++count))
		sed -n '/^\.Sh NAME/,/^\.Nd/p' man/*.3 | grep -qxE "\.Nm $name( ,)?" || fail "no page names $name"
	done
	assert [ "$count" -ge 50 ]
}

@test "every option in --help is in the man page, and the other way round" {
	local tool
	for tool in "$UVM_BUILD"/bin/*; do
		tool=${tool##*/}
		diff -u --label "$tool --help" --label "man/$tool.1" <(help_options "$tool") <(page_options "$tool")
	done
}

@test "the synopsis of every verb has the options that it takes, and no others" {
	local tool verb verbs text taken
	for tool in swapctl addrspace reclaimctl superpages; do
		verbs=$(verbs "$tool")
		for verb in ${verbs:-""}; do
			text=$(synopses "$tool${verb:+ $verb}" | sed 's/--format FORMAT.*//')
			taken=$(verb_options "$tool $verb")
			[[ $verb ]] && assert_regex "$text" 'common options'
			if [[ $text == *"options of attach"* ]]; then
				assert_equal "$(comm -13 <(echo "$taken") <(verb_options "swapctl run"))" ""
				taken=$(comm -23 <(echo "$taken") <(verb_options "swapctl run"))
			fi
			diff -u --label "$tool $verb --help" --label "man/$tool.1" \
				<(xargs -n 1 <<<"$taken") <(line_options "$tool $verb" "$text" | xargs -n 1)
		done
	done
}

@test "the man page tells the default value of every option that has one" {
	local tool verb verbs option value count=0
	for tool in "$UVM_BUILD"/bin/*; do
		tool=${tool##*/}
		verbs=$(verbs "$tool")
		for verb in ${verbs:-""}; do
			while read -r option value; do
				page_entry "$tool" "$option" | grep -qwF -- "$value" || fail "man/$tool.1: $option is $value unless given"
				((++count))
			done < <(verb_defaults "$tool $verb")
		done
	done
	assert [ "$count" -ge 30 ]
}

@test "every verb is in the man page" {
	local tool verb count=0
	for tool in swapctl addrspace reclaimctl; do
		for verb in $(verbs "$tool"); do
			grep -qx "\.It Cm $verb" "man/$tool.1" || fail "man/$tool.1 has no $verb"
			((++count))
		done
	done
	assert [ "$count" -ge 8 ]
}

@test "every key of a record is in uvm-json(5)" {
	local key
	start_target touch anon every 16777216
	PID=$TARGET_PID
	{
		superpages -p "$PID"
		swapctl out -p "$PID" --dry-run
		timeout 60 swapctl out -p "$PID" || (($? == 3))
		swapctl status -p "$PID"
		swapctl in -p "$PID"
		swapctl detach -p "$PID"
		addrspace list --vm-flags -p "$PID"
		addrspace query -p "$PID" 0-1000
		addrspace info -p "$PID"
		addrspace alloc -p "$PID" 4K
		addrspace protect --dry-run -p "$PID" "$(awk '{ print $1; exit }' "/proc/$PID/maps")" --protection r
	} >"$BATS_TEST_TMPDIR/records"
	run jq -r '(., .events?, .skipped?) | objects | keys[]' "$BATS_TEST_TMPDIR/records"
	assert_success
	for key in "${lines[@]}"; do
		cat man/uvm-json.5 man/swapctl.1 | grep -v '^\.Xr' | grep -qwF -- "$key" || fail "$key is in no page"
	done
	PID=
}

@test "uvm-json(5) has a valid example of every type of record, and describes every type" {
	local type
	sed -n '/^\.Ss One of each/,/^\.Ed/p' man/uvm-json.5 | sed 's/\\e/\\/g' | grep -v '^\.' >"$BATS_TEST_TMPDIR/examples"
	run tests/records "$BATS_TEST_TMPDIR/examples"
	assert_success
	refute_output --partial 'none of'
	for type in $(jq -r '.properties.type.enum[]' share/uvmtools/records.schema.json); do
		grep -qxE "\.(Ss|It Li) $type" man/uvm-json.5 || fail "uvm-json(5) does not describe $type"
	done
}

@test "records that are not as the schema has them are told of" {
	local record
	for record in '{"v":2,"type":"drop"}' '{"v":1,"type":"novelty"}' '{"v":1,"type":"error","op":"x","errno":"EIO","reason":"y","novel_key":1}' \
		'{"v":1,"type":"region","pid":1,"starttime":1,"start":4096,"end":"0x2000","bytes":4096}' '{"v":1,"type":"sample","pid":1}'; do
		run tests/records - <<<"$record"
		assert_failure 1
	done
}

@test "the exit codes in the pages are those of the tools, each told once" {
	local page code listed
	for page in man/*.1 man/uvm-json.5; do
		listed=$(sed -n '/^\.Sh EXIT STATUS/,/^\.Sh EXAMPLES/s/^\.It //p' "$page")
		for code in $(sed -n 's/.*EXIT_[A-Z]* = \([0-9]*\).*/\1/p' libcommon/cli/exit.h); do
			[[ $page == man/@(superpages|uffd-probe).1 && $code == 3 || $page == man/uvm-plot.1 && $code == [3567] ]] && continue
			assert_equal "$page $code: $(grep -cx "$code" <<<"$listed")" "$page $code: 1"
		done
	done
}

@test "the examples work" {
	local page line count=0 swapped=()
	start_target touch anon every 16777216
	export PID=$TARGET_PID
	cd "$BATS_TEST_TMPDIR"
	for page in swapctl.1 superpages.1 addrspace.1 uvm-json.5 uvmtools.7; do
		while read -r line; do
			((++count))
			prepare "$line"
			case $line in
			*'--store kernel'*) swapped+=("$line") ;; # last, because what is in swap stays there
			*--foreground) foreground_ends_with_detach "$page" "$line" ;;
			"swapctl auto"*) run_until_told "$page" "$line" hears_sigterm ;;
			*) run_example "$page" "$line" ;;
			esac
		done < <(examples "$page")
	done
	assert [ "$count" -ge 45 ]
	zram_on || skip "this kernel has no zram, for the examples with --store kernel"
	timeout 20 swapctl detach -p "$PID" >/dev/null 2>&1 || :
	for line in "${swapped[@]}"; do
		case $line in
		*' auto '*) run_until_told swapctl.1 "$line" hears_sigterm ;;
		*) run_example swapctl.1 "$line" ;;
		esac
	done
}

@test "the examples of all pages of commands are run, and those that are not have a reason" {
	local page line
	for page in man/*.1; do
		while read -r line; do
			PID=1 expected "$line" >/dev/null || [[ ${NOT_RUN[$line]:-} ]] || fail "$page: $line: neither expected nor excused"
		done < <(examples "${page#man/}")
		[[ ${page#man/} == @(swapctl|superpages|addrspace).1 ]] || grep -q "examples ${page#man/}" tests/bats/*.bats || fail "nothing runs the examples of $page"
	done
}

# prepare COMMAND: what the text before an example says of the process, or what the examples before it have used up.
prepare() {
	case $1 in
	*orphaned*) orphan ;;
	# Sessions of the examples before are in the way of those that make one.
	*attach* | *' auto '* | *--dry-run* | superpages* | addrspace*) timeout 20 swapctl detach -p "$PID" >/dev/null 2>&1 || : ;;
	*'swapctl out '*) timeout 20 swapctl in -p "$PID" >/dev/null 2>&1 || : ;;
	# There is something to bring back.
	'echo '* | *detach* | 'swapctl status '* | *' check '* | *' --for '*) timeout 20 swapctl out -p "$PID" >/dev/null 2>&1 || : ;;
	esac
}

is_orphaned() {
	swapctl status | jq -es "any(.[]; .pid == $PID and .state == \"orphaned\")" >/dev/null
}

# Kills both processes of the session at once: neither replaces the other.
orphan() {
	local pids
	swapctl detach -p "$PID" >/dev/null 2>&1 || :
	swapctl attach -p "$PID" >/dev/null
	mapfile -t pids < <(swapctl status -p "$PID" | jq '.supervisor_pid, .worker_pid')
	kill -STOP "${pids[@]}"
	kill -KILL "${pids[@]}"
	wait_for 20 is_orphaned
}

# SIGTERM is signal 15, bit 14 of the masks.
hears_sigterm() {
	grep -qE '^Sig(Blk|Cgt):.*[4-7c-f][0-9a-f]{3}$' "/proc/$1/status"
}

# It lasts as long as the session, so another command ends it.
foreground_ends_with_detach() {
	local status=0 out=$BATS_TEST_TMPDIR/example.out err=$BATS_TEST_TMPDIR/example.err
	timeout 60 bash -c "$2" >"$out" 2>"$err" 3>&- &
	wait_for 20 swapctl status -p "$PID" >/dev/null 2>&1
	timeout 20 swapctl detach -p "$PID" >/dev/null
	wait "$!" || status=$?
	check_example "$1" "$2" "$status" "$out" "$err"
}
