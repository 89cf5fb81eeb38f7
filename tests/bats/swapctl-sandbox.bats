#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# swapctl(1): programs in a sandbox, at a limit, or in the hands of a debugger.

bats_require_minimum_version 1.5.0
load swap_helper

MEBIBYTE=1048576

sandboxed_round_trip() {
	start_with_input sandboxed "$1" $((16 * MEBIBYTE))
	assert_regex "$(grep ^Seccomp: "/proc/$TARGET_PID/status")" '2$'
	ask check
	snapshot
	swap_most out -p "$TARGET_PID"
	assert_equal "$(resident)" 0
	ask check
	swap_most out -p "$TARGET_PID"
	swap_ok in -p "$TARGET_PID"
	swap_ok detach -p "$TARGET_PID"
	wait_for 5 unchanged
	ask check
}

@test "a program whose seccomp filter denies every call needed is swapped all the same" {
	sandboxed_round_trip eperm
}

@test "a program whose seccomp filter kills it for every call needed survives" {
	sandboxed_round_trip kill
}

@test "a program that may get no executable memory by its seccomp filter is swapped" {
	sandboxed_round_trip filtered
}

@test "a program under PR_SET_MDWE is swapped; what is writable and executable of it stays" {
	start_with_input sandboxed mdwe $((16 * MEBIBYTE))
	region "$START" "$END" >"$BATS_TEST_TMPDIR/region"
	ask check
	snapshot
	swap_ok out -p "$TARGET_PID" -r "$BATS_TEST_TMPDIR/region"
	assert_equal "$(record '.[0] | [.moved_bytes, .skipped["write-execute"]]|join(" ")')" "$((12 * MEBIBYTE)) $((4 * MEBIBYTE))"
	run ! grep -E '^[0-9a-f]+-[0-9a-f]+ .wx. .* \[anon:uvm' "/proc/$TARGET_PID/maps"
	ask check
	swap_ok detach -p "$TARGET_PID"
	wait_for 5 unchanged
	ask check
}

@test "a program in bubblewrap, with namespaces of its own, is swapped" {
	local fifo=$BATS_TEST_TMPDIR/input
	mkfifo "$fifo"
	exec {INPUT}<>"$fifo"
	TARGET_STDIN=$fifo start_target /usr/bin/bwrap --unshare-all --die-with-parent --ro-bind / / --dev /dev --proc /proc \
		"$UVM_BUILD/targets/contents" mixed $((16 * MEBIBYTE))
	read -r START END <<<"$TARGET_READY"
	TARGET_PID=$(pgrep -P "$(pgrep -P "$TARGET_PID")" -x contents)
	assert_regex "$(grep ^NSpid "/proc/$TARGET_PID/status")" "^NSpid:[[:space:]]+${TARGET_PID}[[:space:]]+[0-9]+"
	snapshot
	swap_most out -p "$TARGET_PID"
	assert_equal "$(resident)" 0
	ask check
	swap_most out -p "$TARGET_PID"
	swap_ok detach -p "$TARGET_PID"
	wait_for 5 unchanged
	ask check
}

in_namespaces() {
	local outer namespace
	start_with_input /usr/bin/unshare --user --map-root-user --pid --fork --kill-child --mount --mount-proc --net --ipc --uts \
		"$UVM_BUILD/targets/sandboxed" "$1" $((16 * MEBIBYTE))
	outer=$TARGET_PID
	TARGET_PID=$(pgrep -P "$outer" -x sandboxed)
	assert_regex "$(grep ^Seccomp: "/proc/$TARGET_PID/status")" '2$'
	assert_regex "$(grep ^NSpid "/proc/$TARGET_PID/status")" '1$'
	for namespace in pid mnt user net; do
		[[ $(readlink "/proc/$TARGET_PID/ns/$namespace") != $(readlink "/proc/self/ns/$namespace") ]]
	done
	snapshot
	swap_most out -p "$TARGET_PID"
	assert_equal "$(resident)" 0
	ask check
	swap_most out -p "$TARGET_PID"
	swap_ok detach -p "$TARGET_PID"
	wait_for 5 unchanged
	ask check
}

@test "a program in pid, mount, user and network namespaces whose seccomp filter denies every call needed is swapped" {
	in_namespaces eperm
}

@test "a program in pid, mount, user and network namespaces whose seccomp filter kills it for them survives" {
	in_namespaces kill
}

@test "a program run by another user is swapped by root" {
	local fifo=$BATS_TEST_TMPDIR/input folder
	folder=$(mktemp -d /tmp/uvmtools-nobody.XXXXXX)
	chmod 755 "$folder"
	install -m 755 "$UVM_BUILD/targets/contents" "$folder/"
	mkfifo "$fifo"
	exec {INPUT}<>"$fifo"
	TARGET_STDIN=$fifo start_target /usr/bin/setpriv --reuid=65534 --regid=65534 --clear-groups --no-new-privs --bounding-set=-all \
		"$folder/contents" mixed $((16 * MEBIBYTE))
	rm -rf "$folder"
	read -r START END <<<"$TARGET_READY"
	swap_most out -p "$TARGET_PID"
	assert_equal "$(resident)" 0
	ask check
}

@test "a program that can open no more files is refused, lives on, and can be swapped when it may" {
	export UVM_ACCESS=ptrace
	start_contents mixed $((8 * MEBIBYTE))
	# The fifo is open once more above its standard descriptors.
	prlimit --pid "$TARGET_PID" --nofile=3:1024
	snapshot
	swap_fails 1 'open files|descriptors|EMFILE' out -p "$TARGET_PID"
	wait_for 5 unchanged
	ask check
	prlimit --pid "$TARGET_PID" --nofile=1024:1024
	out_region
	ask check
}

@test "a program whose address space may not grow is refused, lives on, and can be swapped when it may" {
	start_contents mixed $((8 * MEBIBYTE))
	prlimit --pid "$TARGET_PID" --as="$(awk '/^VmSize/ { print $2 * 1024 }' "/proc/$TARGET_PID/status")":unlimited
	snapshot
	swap_fails 1 'address space|memory' out -p "$TARGET_PID"
	wait_for 5 unchanged
	ask check
	prlimit --pid "$TARGET_PID" --as=unlimited:unlimited
	out_region
	ask check
}

@test "a program that is being traced is refused, and the tracer named" {
	start_contents mixed $((8 * MEBIBYTE))
	local contents=$TARGET_PID
	start_target tracer "$contents"
	local tracer=$TARGET_PID verb
	TARGET_PID=$contents
	snapshot
	for verb in attach out; do
		swap_fails 1 "traced by tracer \($tracer\)" "$verb" -p "$contents"
	done
	wait_for 5 unchanged
	end_target "$tracer"
	TARGET_DIR=$BATS_TEST_TMPDIR/target.0
	ask check
	out_region
	ask check
}

@test "a program that a debugger takes while it is swapped still gets its pages" {
	start_contents mixed $((16 * MEBIBYTE))
	local contents=$TARGET_PID
	out_region
	start_target tracer "$contents"
	local tracer=$TARGET_PID
	TARGET_PID=$contents
	TARGET_DIR=$BATS_TEST_TMPDIR/target.0
	swap_fails 1 "trac.*$tracer|$tracer.*trac" out -p "$contents"
	ask check
	end_target "$tracer"
	wait_for 10 status_is '.kept_in == false'
	out_region
	ask check
}

@test "locked memory, read-only memory and memory of files stay" {
	local kind
	for kind in locked readonly wipe shared memfd private-file shared-file; do
		start_target touch "$kind" every $((4 * MEBIBYTE))
		read -r START END _ <<<"$TARGET_READY"
		region "$START" "$END" >"$BATS_TEST_TMPDIR/region"
		swap out -p "$TARGET_PID" -r "$BATS_TEST_TMPDIR/region"
		assert_equal "$kind $status $(summary .moved_bytes)" "$kind 0 0"
		assert_equal "$(record '.[0].skipped | [.[]] | add')" $((4 * MEBIBYTE))
		assert_regex "$(record '.[0].skipped | keys[0]')" '^(locked|read-only|wipe-on-fork|file|shared-memory)$'
		end_current
	done
}
