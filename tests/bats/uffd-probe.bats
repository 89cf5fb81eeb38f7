#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# uffd-probe(1) about the kernel: its answers held against what a program of its own sees, as root and as nobody, under filters and settings.

bats_require_minimum_version 1.5.0
load helper

SYSCTL=/proc/sys/vm/unprivileged_userfaultfd
HUGE=/proc/sys/vm/nr_hugepages

setup() {
	if ((EUID != 0)); then
		skip "needs root to change settings and users"
	fi
	SYSCTL_BEFORE=$(cat "$SYSCTL")
	HUGE_BEFORE=$(cat "$HUGE")
	MODE_BEFORE=$(stat -c %a /dev/userfaultfd)
	chmod 600 /dev/userfaultfd # as the kernel makes it; an administrator may have opened it
}

teardown() {
	if [[ ${SYSCTL_BEFORE:-} ]]; then
		echo "$SYSCTL_BEFORE" >"$SYSCTL"
		echo "$HUGE_BEFORE" >"$HUGE"
		chmod "$MODE_BEFORE" /dev/userfaultfd
	fi
	end_targets
}

# Runs any program as nobody, for whom the build folder need not be readable.
nobody_runs() {
	local folder status=0 program=$1
	shift
	folder=$(mktemp -d /tmp/uvmtools-nobody.XXXXXX)
	chmod 755 "$folder"
	install -m 755 "$UVM_BUILD/bin/uffd-probe" "$UVM_BUILD/targets/probe_sees" "$UVM_BUILD/targets/probe_deny" "$folder/"
	(cd "$folder" && PATH=$folder:$PATH setpriv --reuid=65534 --regid=65534 --clear-groups "$program" "$@") || status=$?
	rm -rf "$folder"
	return "$status"
}

# The answers of uffd-probe in the form in which probe_sees puts them.
in_numbers() {
	jq -r --argjson errnos '{"EPERM":1,"ENOENT":2,"EACCES":13,"EINVAL":22,"ENOSYS":38,"EOPNOTSUPP":22}' '
		def code: if .errno then $errnos[.errno] else 0 end;
		def place($list): . as $x | $list | index($x);
		if .type == "route" then "route \(.route | place(["syscall", "syscall_user_mode_only", "device"])) \(code)"
		elif .type == "feature" and .offered != null then "feature \(.bit) \(if .offered then 1 else 0 end) \(code)"
		elif .type == "ioctls" and .offered != null and .mode != "rwp" and .needs == null then
			"range \(.memory | place(["anonymous", "shmem", "memfd", "hugetlb", "private_file", "thp"])
			) \(.mode | place(["missing", "wp", "minor"])) \(code) \(.raw)"
		else empty end'
}

# Fails unless both say the same of everything that uffd-probe has a record of, and probe_sees offers nothing beside it.
same_answers() {
	local told=$1 seen=$2
	in_numbers <<<"$told" | sort >"$BATS_TEST_TMPDIR/told"
	# Bits without a name that are not offered have no record; memory that takes a feature more is not what probe_sees tries.
	grep -vE '^feature [0-9]+ 0 22$' <<<"$seen" | sort >"$BATS_TEST_TMPDIR/seen"
	grep -vE '^feature [0-9]+ 0 22$' "$BATS_TEST_TMPDIR/told" >"$BATS_TEST_TMPDIR/told.offered"
	if grep -q '"needs":' <<<"$told"; then
		sed -i '/^range 4 1 /d' "$BATS_TEST_TMPDIR/seen"
	fi
	diff -u "$BATS_TEST_TMPDIR/seen" "$BATS_TEST_TMPDIR/told.offered"
}

# of TYPE NAME: a record of the last output.
of() {
	jq -c --arg type "$1" --arg name "$2" 'select(.type == $type and .[$type] == $name)' <<<"$output"
}

no_route_left() {
	assert_equal "$(jq -c 'select(.type == "route") | .usable' <<<"$output" | sort -u)" false
	assert_equal "$(jq -c 'select(.type == "feature") | [.offered, .usable]' <<<"$output" | sort -u)" '[null,null]'
	assert_equal "$(jq -c 'select(.type == "ioctls") | .offered' <<<"$output" | sort -u)" null
}

@test "root is told what a program of its own sees" {
	run -0 --separate-stderr uffd-probe
	assert_equal "$stderr" ""
	assert_equal "$(tail -n 1 <<<"$output" | jq -r .type)" summary
	same_answers "$output" "$("$UVM_BUILD/targets/probe_sees")"
	assert [ "$(wc -l <"$BATS_TEST_TMPDIR/told")" -ge 30 ]
}

@test "nobody is told what a program of its own sees, with the sysctl at 0 and at 1" {
	local setting
	for setting in 0 1; do
		echo "$setting" >"$SYSCTL"
		run -0 --separate-stderr nobody_runs uffd-probe
		same_answers "$output" "$(nobody_runs probe_sees)"
		assert_equal "$(of route syscall | jq .usable)" "$( ((setting)) && echo true || echo false)"
		assert_equal "$(of route syscall_user_mode_only | jq .usable)" true
		assert_equal "$(of route device | jq .usable)" false
	done
}

@test "a route that the sysctl closes is explained by the sysctl, others by the file mode" {
	echo 0 >"$SYSCTL"
	run -0 nobody_runs uffd-probe
	assert_regex "$(of route syscall)" 'vm.unprivileged_userfaultfd is 0 and CAP_SYS_PTRACE is missing'
	assert_regex "$(of route syscall)" '"hint":"set vm.unprivileged_userfaultfd=1'
	assert_regex "$(of route device)" '"errno":"EACCES","reason":"its mode is 0600, its owner 0, '
	assert_regex "$(of route device)" 'setfacl'
}

@test "the cure for the device works" {
	echo 0 >"$SYSCTL"
	run -5 nobody_runs uffd-probe --require device
	chmod 666 /dev/userfaultfd
	run -0 nobody_runs uffd-probe --require device
}

@test "a capability of a user namespace does not open the system call" {
	echo 0 >"$SYSCTL"
	if ! nobody_runs unshare -Ur true 2>/dev/null; then
		skip "nobody may not make user namespaces here"
	fi
	run -0 nobody_runs unshare -Ur uffd-probe
	assert_regex "$(of route syscall)" 'CAP_SYS_PTRACE of a user namespace does not count'
}

@test "where the device is missing the number to make it with is named" {
	if ! bwrap --ro-bind / / --dev /dev true 2>/dev/null; then
		skip "bubblewrap does not work here"
	fi
	run -0 bwrap --ro-bind / / --dev /dev "$UVM_BUILD/bin/uffd-probe"
	assert_regex "$(of route device)" "mknod /dev/userfaultfd c 10 $(awk '$2 == "userfaultfd" {print $1}' /proc/misc)"
	assert_equal "$(of route syscall | jq .usable)" true
}

@test "a filter that denies userfaultfd hides no other route" {
	run -0 "$UVM_BUILD/targets/probe_deny" eperm userfaultfd "$UVM_BUILD/bin/uffd-probe"
	assert_regex "$(of route syscall)" '"errno":"EPERM","reason":"a seccomp filter'
	assert_equal "$(of route syscall_user_mode_only | jq .usable)" false
	assert_equal "$(of route device | jq .usable)" true
	assert_equal "$(of feature move | jq .usable)" true
	same_answers "$output" "$("$UVM_BUILD/targets/probe_deny" eperm userfaultfd "$UVM_BUILD/targets/probe_sees")"
}

@test "a filter that says ENOSYS is not taken for a kernel without userfaultfd" {
	run -0 "$UVM_BUILD/targets/probe_deny" enosys userfaultfd "$UVM_BUILD/bin/uffd-probe"
	assert_regex "$(of route syscall)" '"errno":"ENOSYS","reason":"a seccomp filter'
}

@test "where a filter denies every route that is said, and nothing is known of features" {
	run -0 "$UVM_BUILD/targets/probe_deny" eperm userfaultfd,device "$UVM_BUILD/bin/uffd-probe"
	no_route_left
	echo 0 >"$SYSCTL"
	run -0 nobody_runs probe_deny eperm userfaultfd uffd-probe
	no_route_left
	assert_regex "$(of route syscall)" 'a seccomp filter'
	run -5 nobody_runs probe_deny eperm userfaultfd uffd-probe --require move
}

@test "a filter that kills does not kill the probe" {
	run -0 "$UVM_BUILD/targets/probe_deny" kill userfaultfd,process_madvise "$UVM_BUILD/bin/uffd-probe"
	assert_equal "$(of route syscall | jq .usable)" false
	assert_equal "$(of route device | jq .usable)" true
	assert_equal "$(of facility process_madvise_cold | jq .usable)" false
	assert_equal "$(of facility pagemap_scan | jq .usable)" true
	run -0 "$UVM_BUILD/targets/probe_deny" kill userfaultfd,device "$UVM_BUILD/bin/uffd-probe" --exercise
	no_route_left
	assert_equal "$(jq -r 'select(.type == "exercise") | .result' <<<"$output" | sort -u)" not-applicable
}

@test "fork events are offered to nobody and cannot be enabled" {
	run -0 nobody_runs uffd-probe
	assert_equal "$(of feature event_fork | jq -c '[.offered, .usable, .errno]')" '[true,false,"EPERM"]'
}

@test "the neighbours are tried: capabilities decide where the kernel has them" {
	run -0 uffd-probe
	for name in pagemap_scan procmap_query pidfd_getfd process_madvise_cold mremap_dontunmap madv_populate_write; do
		assert_equal "$(of facility "$name" | jq .usable)" true
	done
	run -0 nobody_runs uffd-probe
	assert_equal "$(of facility pidfd_getfd | jq .usable)" true
	assert_equal "$(of facility process_madvise_cold | jq .errno)" '"EPERM"'
	assert_equal "$(of facility ptrace_suspend_seccomp | jq .errno)" '"EPERM"'
	run -0 "$UVM_BUILD/targets/probe_deny" enosys pidfd_getfd "$UVM_BUILD/bin/uffd-probe"
	assert_equal "$(of facility pidfd_getfd | jq -r .reason)" "this kernel lacks it, or a seccomp filter hides it"
}

# The exercises that neither passed nor were expected not to apply.
assert_exercised() {
	local wanted=$1
	if [[ $(of feature rwp | jq .offered) == false ]]; then
		wanted+=" rwprotect rwp_async set_mode"
		assert_equal "$(of exercise set_mode | jq -r .seen)" "this kernel does not offer rwp"
	fi
	assert_equal "$(jq -r 'select(.type == "exercise" and .result != "pass") | .exercise' <<<"$output" | sort | xargs)" \
		"$(xargs -n 1 <<<"$wanted" | sort | xargs)"
	assert_equal "$(tail -n 1 <<<"$output" | jq '[.failed, .passed + .not_applicable] | join(" ")')" \
		"\"0 $(grep -c '"type":"exercise"' <<<"$output")\""
	assert [ "$(grep -c '"result":"pass"' <<<"$output")" -ge 25 ]
}

nothing_left() {
	! pgrep -x "probe.$$" >/dev/null && [[ -z $(find /sys/fs/cgroup -maxdepth 2 -name 'uvmtools-probe-*') ]]
}

@test "each exercise passes for root where there are huge pages, and leaves nothing behind" {
	echo $((HUGE_BEFORE + 4)) >"$HUGE"
	if (($(awk '/^HugePages_Free/ {print $2}' /proc/meminfo) < 1)); then
		skip "no huge page can be had"
	fi
	# By a name of its own, to tell its processes from those of others.
	cp "$UVM_BUILD/bin/uffd-probe" "$BATS_TEST_TMPDIR/probe.$$"
	run -0 timeout 120 "$BATS_TEST_TMPDIR/probe.$$" --exercise
	assert_exercised move_esrch
	wait_for 20 nothing_left
}

@test "each exercise passes for nobody, or says what nobody lacks" {
	echo 0 >"$SYSCTL"
	run -0 nobody_runs timeout 120 uffd-probe --exercise
	assert_exercised "event_fork kernel_fault minor_hugetlbfs missing_hugetlbfs move_enomem move_esrch"
	assert_regex "$(of exercise event_fork)" 'CAP_SYS_PTRACE'
	assert_regex "$(of exercise kernel_fault)" 'EFAULT'
	echo 1 >"$SYSCTL"
	run -0 nobody_runs timeout 120 uffd-probe --exercise
	assert_equal "$(of exercise kernel_fault | jq -r .result)" pass
}

@test "an exercise that a filter kills does not apply, and the others go on" {
	run -0 "$UVM_BUILD/targets/probe_deny" kill io_uring_setup "$UVM_BUILD/bin/uffd-probe" --exercise
	assert_equal "$(of exercise move_ebusy_pinned | jq -r .result)" not-applicable
	assert_equal "$(of exercise move_ebusy_fork | jq -r .result)" pass
}

@test "--require succeeds when all names are usable, fails with 5 when one is not" {
	run -0 uffd-probe --require move,anonymous/missing,anonymous/missing/copy,syscall,pagemap_scan
	assert_equal "$(tail -n 1 <<<"$output" | jq -c '[.required, .unmet]')" '[5,[]]'
	assert_equal "$(jq -r .type <<<"$output" | sort | uniq -c | xargs)" "1 facility 1 feature 1 ioctls 1 route 1 summary"
	run -5 uffd-probe --require move,private_file/missing,bit63
	assert_equal "$(tail -n 1 <<<"$output" | jq -c .unmet)" '["private_file/missing","bit63"]'
	run -5 uffd-probe --require hugetlb/missing/move
}

@test "--require of an unknown name names the nearest and does nothing" {
	local name
	for name in mvoe:move anonymos/missing:anonymous/missing minor_shm:minor_shmem bit3:sigbus pagemapscan:pagemap_scan; do
		run -2 --separate-stderr uffd-probe --require "move,${name%:*}"
		assert_equal "$output" ""
		[[ $name == bit3* ]] || assert_equal "$stderr" \
			"uffd-probe: cannot use --require: ${name%:*}: unknown name, did you mean ${name#*:}? (see uffd-probe --list)"
	done
	run -2 --separate-stderr uffd-probe --require move,,poison
	assert_equal "$stderr" "uffd-probe: cannot use --require: a name is empty"
	run -2 uffd-probe --require ""
}

@test "--list prints the names that --require takes" {
	local names
	run -0 uffd-probe --list
	names=$(jq -r .name <<<"$output")
	assert_equal "$(sort -u <<<"$names" | wc -l)" "$(wc -l <<<"$names")"
	assert [ "$(wc -l <<<"$names")" -ge 200 ]
	run -5 uffd-probe --require "$(paste -sd, <<<"$names")"
	assert_equal "$(tail -n 1 <<<"$output" | jq .required)" "$(wc -l <<<"$names")"
}

@test "on a terminal each kind of record is a table" {
	run -0 uffd-probe --format table
	for title in ROUTE FEATURE MEMORY FACILITY; do
		assert_line --regexp "^$title  "
	done
	assert_line --regexp '^move +16  yes +yes'
	run -0 uffd-probe --list --format table --columns name
	assert_line --index 0 NAME
}

@test "wrong usage is refused with one line" {
	local words
	while read -r words; do
		# shellcheck disable=SC2086
		run -2 --separate-stderr uffd-probe $words
		assert_equal "$output" ""
		assert_equal "${#stderr_lines[@]}" 1
		assert_regex "$stderr" '^uffd-probe: '
	done <<-'END'
		--format xml
		--columns ,
		--nonsense
		word
		-p 0
		-p 1 --exercise
		-p 1 --require move
		-p 1 --list
		--list --exercise
		--list --require move
	END
}

@test "output that cannot be written is a failure" {
	run -1 --separate-stderr bash -c 'uffd-probe >/dev/full'
	assert_regex "$stderr" '^uffd-probe: cannot write records: No space left on device$'
}
