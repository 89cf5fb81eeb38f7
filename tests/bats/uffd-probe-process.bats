#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# uffd-probe -p: what a process has to do with userfaultfd, and whether the tools could work on it.

bats_require_minimum_version 1.5.0
load helper

YAMA=/proc/sys/kernel/yama/ptrace_scope

setup() {
	if ((EUID != 0)); then
		skip "needs root to become another user"
	fi
}

# As start_target, for a program of nobody's.
start_nobodys_target() {
	local folder
	folder=$(mktemp -d /tmp/uvmtools-nobody.XXXXXX)
	chmod 755 "$folder"
	install -m 755 "$UVM_BUILD/targets/$1" "$folder/"
	shift
	start_target /usr/bin/setpriv --reuid=65534 --regid=65534 --clear-groups "$folder"/* "$@"
	rm -rf "$folder"
}

# A program that ends with its standard input: a fifo that has a writer as long as the test.
start_sandboxed() {
	mkfifo "$BATS_TEST_TMPDIR/fifo"
	exec {FIFO}<>"$BATS_TEST_TMPDIR/fifo"
	TARGET_STDIN=$BATS_TEST_TMPDIR/fifo start_target sandboxed eperm 1048576
}

# obstacles TOOL: the names of what is in the way of a tool, in one line, from the last output.
obstacles() {
	jq -r --arg tool "$1" 'select(.type == "verdict" and .tool == $tool) | .obstacles | join(" ")' <<<"$output"
}

usable() {
	jq -r --arg tool "$1" 'select(.type == "verdict" and .tool == $tool) | .usable' <<<"$output"
}

# Each obstacle that a verdict names has a record that says why and, unless there is none, what to do.
assert_explained() {
	local name
	for name in $(obstacles swapctl) $(obstacles uffd-move); do
		jq -es --arg name "$name" 'any(.type == "obstacle" and .obstacle == $name and (.reason | length) > 10)' <<<"$output" >/dev/null
	done
}

@test "descriptors of a process are told with features and who waits" {
	local first second start
	start_target probe_hold
	read -r first second start <<<"$TARGET_READY"
	run -0 --separate-stderr uffd-probe -p "$TARGET_PID"
	assert_equal "$stderr" ""
	assert_equal "$(jq -c 'select(.type == "userfaultfd") | [.fd, .ready, .features, .raw, .pending, .total]' <<<"$output")" \
		"[$first,true,[\"event_remap\",\"thread_id\"],\"0x104\",1,1]
[$second,false,[],\"0x0\",0,0]"
	assert_equal "$(tail -n 1 <<<"$output" | jq -c '[.descriptors, .pending, .total]')" '[2,1,1]'
}

@test "mappings are told with the modes they are registered for" {
	local page start
	start_target probe_hold
	page=$(getconf PAGESIZE)
	start=${TARGET_READY##* }
	run -0 uffd-probe -p "$TARGET_PID"
	assert_equal "$(jq -r 'select(.type == "region") | "\(.modes[0]) \(.bytes)"' <<<"$output" | sort)" \
		"$(printf '%s\n' "minor $((2 * page))" "missing $((3 * page))" "wp $((4 * page))")"
	assert_equal "$(jq -r 'select(.modes == ["missing"]) | .start' <<<"$output")" "0x$start"
	assert_equal "$(tail -n 1 <<<"$output" | jq -c '[.regions, .missing_bytes, .wp_bytes, .minor_bytes]')" \
		"[3,$((3 * page)),$((4 * page)),$((2 * page))]"
	assert_equal "$(jq -c "select(.pid) | [.pid, .starttime]" <<<"$output" | sort -u)" \
		"[$TARGET_PID,$(cut -d ' ' -f 22 "/proc/$TARGET_PID/stat")]"
}

@test "regions found can be given to another tool" {
	start_target probe_hold
	uffd-probe -p "$TARGET_PID" >"$BATS_TEST_TMPDIR/records"
	run -0 superpages -p "$TARGET_PID" -r "$BATS_TEST_TMPDIR/records" --kind all
}

@test "a process without userfaultfd has none, and nothing is in the way" {
	start_target touch anon one
	run -0 uffd-probe -p "$TARGET_PID"
	assert_equal "$(tail -n 1 <<<"$output" | jq -c '[.descriptors, .regions]')" '[0,0]'
	assert_equal "$(usable swapctl) $(usable uffd-move)" "true true"
}

@test "a verdict that says usable is true: swapctl works then" {
	start_sandboxed
	run -0 uffd-probe -p "$TARGET_PID"
	assert_equal "$(usable swapctl)" true
	timeout 60 swapctl out -p "$TARGET_PID" >/dev/null || (($? == 3))
	timeout 60 swapctl detach -p "$TARGET_PID" >/dev/null
}

@test "a filter on us is an obstacle for a target that has one, and swapctl fails then" {
	local deny=$UVM_BUILD/targets/probe_deny
	start_sandboxed
	run -0 "$deny" eperm io_uring_setup "$UVM_BUILD/bin/uffd-probe" -p "$TARGET_PID"
	assert_equal "$(obstacles swapctl)" seccomp
	assert_explained
	run -4 timeout 60 "$deny" eperm io_uring_setup "$UVM_BUILD/bin/swapctl" out -p "$TARGET_PID"
}

@test "seccomp strict mode is an obstacle without a cure" {
	start_target probe_hold strict
	run -0 uffd-probe -p "$TARGET_PID"
	assert_equal "$(obstacles swapctl)/$(obstacles uffd-move)" seccomp/seccomp
	assert_equal "$(jq -c 'select(.type == "obstacle") | has("hint")' <<<"$output")" false
}

@test "a tracer is an obstacle, by name" {
	local traced
	start_target touch anon one
	traced=$TARGET_PID
	start_target tracer "$traced"
	run uffd-probe -p "$traced"
	# What is traced is gone only when its tracer is.
	end_target "$TARGET_PID"
	assert_success
	assert_equal "$(obstacles swapctl)" traced
	assert_regex "$output" "it is being traced by tracer \($TARGET_PID\)"
}

@test "another user's process: exit code 4, the missing capability is named, what was not seen is null" {
	start_target touch anon one
	run -4 --separate-stderr as_nobody uffd-probe -p "$TARGET_PID"
	assert_equal "$(jq -c 'select(.type == "error") | [.op, .errno]' <<<"$output")" '["look","EACCES"]'
	assert_equal "$(obstacles uffd-move)" capability
	assert_equal "$(usable swapctl)" false
	assert_equal "$(tail -n 1 <<<"$output" | jq -c '[.descriptors, .regions]')" '[null,null]'
}

@test "one's own process that is not dumpable" {
	start_nobodys_target probe_hold undumpable
	run -4 as_nobody uffd-probe -p "$TARGET_PID"
	assert_regex "$(obstacles uffd-move)" '^dumpable'
	assert_explained
}

@test "one's own process: without privilege only the device and fork events are in the way" {
	start_nobodys_target touch anon one
	run -0 as_nobody uffd-probe -p "$TARGET_PID"
	if [[ -e $YAMA && $(cat "$YAMA") != 0 ]]; then
		skip "yama is in the way"
	fi
	assert_equal "$(obstacles swapctl)/$(obstacles uffd-move)" "userfaultfd capability/userfaultfd"
}

@test "a process of another user namespace, where the device cannot be used" {
	if ! unshare -U true 2>/dev/null; then
		skip "no user namespaces here"
	fi
	start_target /usr/bin/unshare -Ur "$UVM_BUILD/targets/touch" anon one
	run -0 "$UVM_BUILD/targets/probe_deny" eperm device "$UVM_BUILD/bin/uffd-probe" -p "$TARGET_PID"
	assert_equal "$(obstacles uffd-move)" user_namespace
	assert_explained
}

@test "a program of another word size is an obstacle called architecture" {
	start_32_bit
	run -0 uffd-probe -p "$TARGET_PID"
	assert_equal "$(obstacles swapctl)/$(obstacles uffd-move)" architecture/architecture
}

@test "gone, a kernel thread, ourselves, a pidfd" {
	local kthread
	run -6 --separate-stderr uffd-probe -p 4194303
	assert_equal "$stderr" "uffd-probe: cannot open process 4194303: no such process"
	kthread=$(pgrep -x kthreadd)
	run -2 --separate-stderr uffd-probe -p "$kthread"
	assert_regex "$stderr" 'kernel thread'
	# shellcheck disable=SC2016
	run -2 --separate-stderr bash -c 'exec uffd-probe -p $$'
	assert_regex "$stderr" 'this program itself'
	start_target touch anon one
	run -0 python3 -c "import os; fd = os.pidfd_open($TARGET_PID); os.set_inheritable(fd, True); os.execlp('uffd-probe', 'uffd-probe', '--pidfd', str(fd))"
	assert_equal "$(tail -n 1 <<<"$output" | jq .pid)" "$TARGET_PID"
}

@test "the process is left as it was" {
	local before
	start_target probe_hold
	before=$(cat "/proc/$TARGET_PID/maps"; ls -l "/proc/$TARGET_PID/fd" | sed 's/.*[0-9][0-9]:[0-9][0-9]//')
	run -0 uffd-probe -p "$TARGET_PID"
	assert_equal "$(cat "/proc/$TARGET_PID/maps"; ls -l "/proc/$TARGET_PID/fd" | sed 's/.*[0-9][0-9]:[0-9][0-9]//')" "$before"
	assert_equal "$(awk '/^TracerPid/ {print $2}' "/proc/$TARGET_PID/status")" 0
}

@test "every key of a record is in the man page or in uvm-json(5)" {
	local key
	start_target probe_hold
	{
		uffd-probe --exercise
		uffd-probe --require bit63 || (($? == 5))
		uffd-probe --list
		uffd-probe -p "$TARGET_PID"
		as_nobody uffd-probe -p "$TARGET_PID" || (($? == 4))
	} >"$BATS_TEST_TMPDIR/records"
	run jq -r 'keys[]' "$BATS_TEST_TMPDIR/records"
	assert_success
	for key in "${lines[@]}"; do
		cat "$ROOT/man/uffd-probe.1" "$ROOT/man/uvm-json.5" | grep -v '^\.Xr' | grep -qwF -- "$key" || fail "$key is in no page"
	done
}

@test "the man page names every feature, memory, mode, neighbour, exercise and obstacle" {
	local name
	for name in $(uffd-probe --list | jq -r .name | tr / '\n' | sort -u) $(uffd-probe --exercise | jq -r '.exercise // empty') \
		$(sed -n 's/.*obstacle(verdicts, [A-Z_]*, "\([a-z_]*\)".*/\1/p' "$ROOT/cmd/uffd-probe/verdict.c"); do
		grep -qwF -- "$name" "$ROOT/man/uffd-probe.1" || fail "$name is not in the page"
	done
}

@test "the examples of the man page work" {
	local line count=0
	load examples_helper
	start_target probe_hold
	export PID=$TARGET_PID
	cd "$BATS_TEST_TMPDIR"
	while read -r line; do
		((++count))
		run_example uffd-probe.1 "$line"
	done < <(examples uffd-probe.1)
	assert [ "$count" -ge 5 ]
}
