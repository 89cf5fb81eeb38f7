#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# make help, deps, dist, install and uninstall, and what make takes from outside.

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

# In a build directory of its own, where nothing is made: what would be done.
dry_make() {
	run make -n -C "$ROOT" BUILD="$BATS_TEST_TMPDIR/none" "$@"
}

@test "help lists every target that is no file" {
	local target
	run make -s -C "$ROOT" help
	assert_success
	for target in all test check deps dist install install-strip uninstall clean; do
		assert_line --regexp "^  $target +[a-z]"
	done
}

@test "flags from outside come last, and FORTIFY is left to them" {
	dry_make CPPFLAGS=-DMINE CFLAGS='-O1 -D_FORTIFY_SOURCE=3 -fno-stack-protector' LDFLAGS=-Wl,-z,lazy all
	assert_success
	assert_line --regexp '^gcc .*-fstack-protector-strong .*-DMINE -O1 -D_FORTIFY_SOURCE=3 -fno-stack-protector .*superpages\.c$'
	refute_output --partial _FORTIFY_SOURCE=2
	assert_line --regexp '^gcc .*-z,now .*-Wl,-z,lazy .*-o [^ ]*/bin/superpages'
	assert_line --regexp '-z,defs -Wl,-z,lazy -o [^ ]*/lib/libuvm\.so\.0'
}

@test "building needs no library of the tests, and testing says that it does" {
	# shellcheck disable=SC2016
	stub pkg-config 'case "$*" in *cmocka*) exit 1 ;; esac; exec /usr/bin/pkg-config "$@"'
	export PATH=$STUBS:$PATH
	dry_make all
	assert_success
	dry_make unit
	assert_failure
	assert_output --partial 'cmocka is missing: run "make deps"'
}

@test "test installs nothing, and check does" {
	dry_make test
	assert_success
	refute_output --partial tools/deps
	assert_line --partial tests/run
	dry_make check
	assert_line tools/deps
}

@test "dist makes the same archive of the last commit each time" {
	local archive=$BATS_TEST_TMPDIR/dist/uvmtools-0.1.0.tar.xz sum
	git -C "$ROOT" rev-parse HEAD >/dev/null 2>&1 || skip "this is no repository"
	make -s -C "$ROOT" BUILD="$BATS_TEST_TMPDIR/dist" dist
	sum=$(sha256sum "$archive")
	run tar tf "$archive"
	assert_line uvmtools-0.1.0/Makefile
	make -s -C "$ROOT" BUILD="$BATS_TEST_TMPDIR/dist" dist
	assert_equal "$(sha256sum "$archive")" "$sum"
}

@test "install-strip leaves no symbols but those of the library for linking" {
	local stage=$BATS_TEST_TMPDIR/stage
	make -s -C "$ROOT" BUILD="${UVM_BUILD:-build}" DESTDIR="$stage" PREFIX=/usr install-strip
	run readelf -SW "$stage/usr/bin/superpages" "$stage/usr/lib/libuvm.so.0" "$stage/usr/lib/uvmtools/libuvm-reclaim.so"
	assert_success
	assert_line --partial .dynsym
	refute_output --partial .symtab
	run nm "$stage/usr/lib/libuvm.a"
	assert_line --regexp ' T uvm_space_create$'
	run "$stage/usr/bin/reclaimctl" run -- sh -c 'echo $LD_PRELOAD'
	assert_output "$stage/usr/lib/uvmtools/libuvm-reclaim.so"
}

@test "the static library shows what the shared one does" {
	local lib=${UVM_BUILD:-$ROOT/build}/lib
	assert_equal "$(nm --defined-only -g "$lib/libuvm.a" | sed -n 's/.* [TDBR] //p' | sort)" \
		"$(nm --defined-only -D "$lib/libuvm.so.0" | sed -n 's/.* [TDBR] \(.*\)@@.*/\1/p' | sort)"
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

# left_out PATTERN...: the files below `stage` that no pattern, or a directory that it matches, has.
left_out() {
	python3 - "$stage" "$@" <<-'END'
		import sys
		from pathlib import Path
		stage, packed = Path(sys.argv[1]), set()
		for pattern in sys.argv[2:]:
		    found = list(stage.glob(pattern.lstrip("/")))
		    if not found:
		        print("nothing is", pattern)
		    for path in found:
		        packed.update(path.rglob("*") if path.is_dir() else [path])
		print(*sorted(str(path) for path in stage.rglob("*") if not path.is_dir() and path not in packed), sep="\n")
	END
}

@test "all that is installed is in a package, for Debian and as an RPM, and each names the libraries that are needed" {
	local stage=$BATS_TEST_TMPDIR/stage libraries library
	make -s -C "$ROOT" BUILD="${UVM_BUILD:-build}" DESTDIR="$stage" PREFIX=/usr LIBDIR=/usr/lib/here install >/dev/null
	mapfile -t packed < <(cat "$ROOT"/debian/*.install)
	run left_out "${packed[@]}"
	assert_output ""
	mapfile -t packed < <(sed -n '/^%files/,/^%changelog/p' "$ROOT/packaging/uvmtools.spec" | sed -nE '
		s|%\{_bindir\}|/usr/bin|; s|%\{_libdir\}|/usr/lib/here|; s|%\{_includedir\}|/usr/include|; s|%\{_mandir\}|/usr/share/man|
		s|%\{_datadir\}|/usr/share|; s|%\{_prefix\}|/usr|; s|%\{_unitdir\}|/usr/lib/systemd/system|; s|%\{_tmpfilesdir\}|/usr/lib/tmpfiles.d|
		s|%\{_sysusersdir\}|/usr/lib/sysusers.d|; s|%\{_udevrulesdir\}|/usr/lib/udev/rules.d|; /^\//p')
	run left_out "${packed[@]}"
	assert_output ""
	libraries=$(sed -n 's/^PKGS *:= //p' "$ROOT/Makefile")
	for library in $libraries; do
		grep -qx "BuildRequires:  pkgconfig($library)" "$ROOT/packaging/uvmtools.spec"
	done
}
