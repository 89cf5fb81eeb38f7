#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# The units for systemd, with Debian's own unit of redis-server, under a systemd that is booted for that in a container; what it changes is thrown away.

load helper

setup_file() {
	[[ $(id -u) == 0 ]] || skip "needs root"
	make_root "$BATS_FILE_TMPDIR/root"
	# Without the container's filter: a session could not suspend the one of the service under it.
	SYSTEMD_SECCOMP=0 timeout -k 10 150 systemd-nspawn --quiet --directory="$BATS_FILE_TMPDIR/root" --boot --register=no --keep-unit \
		--capability=all --private-network --bind=/dev/userfaultfd --console=pipe systemd.unit=uvm-test.service \
		</dev/null >"$BATS_FILE_TMPDIR/console" 2>&1 3>&- || :
	cp "$BATS_FILE_TMPDIR/root/uvm-results" "$BATS_FILE_TMPDIR/results"
}

teardown_file() {
	umount "$BATS_FILE_TMPDIR/root" "$BATS_FILE_TMPDIR/layer"
}

# This system with a layer over it, in which everything is installed and nothing is enabled.
make_root() {
	local layer=$BATS_FILE_TMPDIR/layer
	mkdir "$layer" "$1"
	mount -t tmpfs uvmtools-test "$layer"
	mkdir "$layer"/{upper,work}
	mount -t overlay uvmtools-test -o "lowerdir=/,upperdir=$layer/upper,workdir=$layer/work" "$1"
	make -s -C "$ROOT" BUILD="$UVM_BUILD" DESTDIR="$1" PREFIX=/usr install >/dev/null
	rm -rf "$1"/etc/systemd/system/*.wants "$1"/var/lib/{uvmtools,redis}/*
	echo uninitialized >"$1/etc/machine-id"
	install -m 755 "$BATS_TEST_DIRNAME/systemd_guest.bash" "$1/uvm-test"
	cat >"$1/etc/systemd/system/uvm-test.service" <<-'END'
		[Unit]
		SuccessAction=exit-force
		FailureAction=exit-force
		[Service]
		Type=oneshot
		ExecStart=/uvm-test
		TimeoutStartSec=120
	END
}

# assert_seen THING VALUE: what the guest said of it.
assert_seen() {
	run sed -n "s/^$1: //p" "$BATS_FILE_TMPDIR/results"
	if [[ $output != "$2" ]]; then
		tail -n 80 "$BATS_FILE_TMPDIR/results" "$BATS_FILE_TMPDIR/console"
	fi
	assert_output "$2"
}

contents() {
	sed -n "s/^contents at first: //p" "$BATS_FILE_TMPDIR/results"
}

@test "a session of a service begins with it, puts it out on reload, and ends with everything back" {
	assert_seen redis active
	[[ $(contents) =~ ^[0-9a-f]{40}$ ]]
	assert_seen session "active of main"
	assert_seen out true
	assert_seen "contents out" "$(contents)"
	assert_seen stopped "inactive "
	assert_seen "contents back" "$(contents)"
	assert_seen followed "active of main"
	assert_seen bound "inactive "
}

@test "a service loses nothing when processes of its session are killed, and the unit has failed" {
	local whom
	for whom in main all; do
		assert_seen "$whom killed" "failed "
		assert_seen "contents after $whom" "$(contents)"
	done
}

@test "swapctl auto and reclaimctl watch tell systemd that they are ready, and end when they are told to" {
	assert_seen auto active
	assert_seen "out by auto" true
	assert_seen "auto stopped" "inactive "
	assert_seen "contents after auto" "$(contents)"
	assert_seen reclaim active
	assert_seen "reclaim stopped" success
}

@test "stores of an earlier boot are removed when the machine boots, and at no other time" {
	assert_seen "store while it runs" 1.2.00000000.store
	assert_seen "store after a boot" ""
	assert_seen run "700 root"
}

@test "the group of the rule for /dev/userfaultfd is made, and its members have faults of the kernel without root" {
	local rule=$ROOT/packaging/systemd/60-uvm.rules group mode
	group=$(sed -n 's/.*GROUP="\([^"]*\)".*/\1/p' "$rule")
	mode=$(sed -n 's/.*MODE="\([^"]*\)".*/\1/p' "$rule")
	assert_seen group "$group"
	# As the rule has it, on a node of its own; 64000 stands for the group.
	run unshare --mount --propagation private bash -euc "
		mount -t tmpfs -o mode=755,dev uvmtools-test /mnt
		mknod /mnt/userfaultfd c 10 $((16#$(stat -c %T /dev/userfaultfd)))
		chown root:64000 /mnt/userfaultfd && chmod $mode /mnt/userfaultfd
		mount --bind /mnt/userfaultfd /dev/userfaultfd
		install -m 755 $UVM_BUILD/bin/uffd-probe /mnt/
		for group in 64000 64001; do
			setpriv --reuid=65534 --regid=\$group --clear-groups --no-new-privs /mnt/uffd-probe | jq -c 'select(.type == \"route\" and .route == \"device\").usable'
		done"
	assert_output "$(printf 'true\nfalse')"
}
