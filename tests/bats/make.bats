#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# make deps, install and uninstall.

setup() {
	load /usr/lib/bats/bats-support/load
	load /usr/lib/bats/bats-assert/load
	ROOT=$(cd "$BATS_TEST_DIRNAME/../.." && pwd)
	STUBS=$BATS_TEST_TMPDIR/stubs
	LOG=$BATS_TEST_TMPDIR/log
	export POLICY_RC_D=$BATS_TEST_TMPDIR/policy-rc.d LOG
	mkdir "$STUBS"
	touch "$LOG"
	stub apt-get 'echo "apt-get $*" >>"$LOG"; "$POLICY_RC_D" >/dev/null; echo "policy $?" >>"$LOG"'
	stub id 'echo 0'
}

stub() {
	printf '#!/bin/sh\n%s\n' "$2" >"$STUBS/$1"
	chmod +x "$STUBS/$1"
}

# dpkg-query that knows every package but these.
lacking() {
	stub dpkg-query "case \$4 in $1) exit 1 ;; fish) echo deinstall-config-files ;; *) echo installed ;; esac"
}

deps() {
	PATH=$STUBS:$PATH run "$ROOT/tools/deps"
}

@test "deps does nothing when everything is installed" {
	stub dpkg-query 'echo installed'
	deps
	assert_success
	assert_equal "${#lines[@]}" 1
	run cat "$LOG"
	assert_output ""
}

@test "deps installs what is missing, with services forbidden meanwhile" {
	lacking 'jq|zsh'
	deps
	assert_success
	assert_line 'deps: missing: jq fish zsh'
	run cat "$LOG"
	assert_line --index 0 --regexp '^apt-get .*update$'
	assert_line --index 1 'policy 101'
	assert_line --index 2 --regexp '^apt-get .*install --no-install-recommends jq fish zsh$'
	assert_line --index 3 'policy 101'
	assert [ ! -e "$POLICY_RC_D" ]
}

@test "deps puts an existing service policy back, also when apt-get fails" {
	lacking jq
	echo 'mine' >"$POLICY_RC_D"
	stub apt-get 'exit 100'
	deps
	assert_failure 100
	run cat "$POLICY_RC_D"
	assert_output mine
}

@test "deps without root uses sudo, or tells the command and fails" {
	lacking jq
	stub id 'echo 1000'
	stub sudo 'echo "sudo $*" >>"$LOG"'
	deps
	assert_success
	run cat "$LOG"
	assert_output --regexp '^sudo -- .*tools/deps$'
	for tool in bash dirname sed grep; do
		ln -s "$(command -v "$tool")" "$STUBS/$tool"
	done
	rm "$STUBS/sudo"
	PATH=$STUBS run "$ROOT/tools/deps"
	assert_failure 1
	assert_line --partial 'run: apt-get install --no-install-recommends jq fish'
}

@test "the examples of the pages of the library build against what install made, and run" {
	local stage=$BATS_TEST_TMPDIR/stage example=$BATS_TEST_TMPDIR/example page flags
	make -s -C "$ROOT" BUILD="${UVM_BUILD:-build}" DESTDIR="$stage" PREFIX=/usr install
	read -ra flags < <(PKG_CONFIG_LIBDIR=$stage/usr/lib/pkgconfig PKG_CONFIG_SYSROOT_DIR=$stage pkg-config --cflags --libs uvm)
	for page in "$ROOT"/man/*.3; do
		mandoc -T utf8 "$page" | col -bx | sed -n '/^EXAMPLES/,/^SEE ALSO/p' | sed -n '/#include/,$p' | sed '$d' >"$example.c"
		run gcc -Wall -Wextra -Werror -o "$example" "$example.c" "${flags[@]}"
		assert_output ""
		run readelf -d "$example"
		assert_output --partial libuvm.so.0
		LD_LIBRARY_PATH=$stage/usr/lib run "$example"
		assert_success
		assert_output ""
	done
}

@test "install makes a page for each function, and man finds it by that name" {
	local stage=$BATS_TEST_TMPDIR/stage name
	run make -s -C "$ROOT" BUILD="${UVM_BUILD:-build}" DESTDIR="$stage" PREFIX=/usr install
	assert_success
	for name in $(sed -nE 's/^[a-z].*\b(uvm_[a-z_]+)\(.*/\1/p' "$ROOT"/libuvm/uvm/*.h) superpages uvm-json uvmtools; do
		run man -M "$stage/usr/share/man" -w "$name"
		assert_success
	done
	for name in uvm_space_map uvm_reclaim_try_enter uvm_swap_agent_start; do
		run env MANPAGER=cat MANWIDTH=80 man -M "$stage/usr/share/man" 3 "$name"
		assert_success
		assert_line --regexp "^ +.*$name"
		assert_line --regexp '^RETURN VALUES'
	done
}

@test "uninstall removes what install made and nothing else" {
	local stage=$BATS_TEST_TMPDIR/stage
	mkdir -p "$stage/usr/bin"
	touch "$stage/usr/bin/superpages-of-another"
	run make -C "$ROOT" BUILD="${UVM_BUILD:-build}" DESTDIR="$stage" PREFIX=/usr install
	assert_success
	shopt -s nullglob
	for tool in "$ROOT"/cmd/*/main.c; do
		tool=$(basename "$(dirname "$tool")")
		run "$stage/usr/bin/$tool" --version
		assert_success
	done
	run make -C "$ROOT" BUILD="${UVM_BUILD:-build}" DESTDIR="$stage" PREFIX=/usr uninstall
	assert_success
	run find "$stage" ! -type d
	assert_output "$stage/usr/bin/superpages-of-another"
}
