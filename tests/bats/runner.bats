#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# The test runner: nothing that went wrong may look as if it passed.

setup() {
	load /usr/lib/bats/bats-support/load
	load /usr/lib/bats/bats-assert/load
	TREE=$BATS_TEST_TMPDIR/tree
	mkdir -p "$TREE/tests"
	cp "$BATS_TEST_DIRNAME/../run" "$TREE/tests/run"
	unset CI
	export UVM_BUILD=$TREE/build
}

# Makes a test program that prints these lines and ends with this code.
program() {
	{
		echo '#!/bin/sh'
		printf 'echo "%s"\n' "${@:3}"
		echo "$2"
	} >"$TREE/$1"
	chmod +x "$TREE/$1"
}

run_program() {
	run "$TREE/tests/run" "$TREE/program"
}

last_line() {
	assert_equal "${lines[-1]}" "$1"
}

@test "passed and skipped tests make a success, summed up in the last line" {
	program program 'exit 0' 1..3 'ok 1 - a' 'why not' 'not ok 2 # SKIP b' 'ok 3 c # skip no luck'
	run_program
	assert_success
	assert_line --partial 'skipped: b: why not'
	assert_line --partial 'skipped: c: no luck'
	last_line '1 passed, 0 failed, 2 skipped'
}

@test "a failed test fails the run and is shown with what it said" {
	program program 'exit 1' 1..2 'ok 1 - a' 'ERROR: odd' 'not ok 2 - b' '# 1 != 2'
	run_program
	assert_failure 1
	assert_line --partial 'FAILED: b'
	assert_line --partial 'ERROR: odd'
	assert_line --partial '# 1 != 2'
	last_line '1 passed, 1 failed, 0 skipped'
}

@test "a program that crashes half way is a failure" {
	program program 'kill -SEGV $$' 1..3 'ok 1 - a'
	run_program
	assert_failure 1
	assert_line --partial '1 results of 3 tests promised'
	last_line '1 passed, 1 failed, 0 skipped'
}

@test "a program that fails after its last test is a failure" {
	program program 'exit 3' 1..1 'ok 1 - a' 'LeakSanitizer: leaks'
	run_program
	assert_failure 1
	assert_line --partial 'exit code 3 although no test failed'
	assert_line --partial 'LeakSanitizer: leaks'
}

@test "no plan, no test, no program and nothing to run are failures" {
	program program 'exit 0' 'ok 1 - a'
	run_program
	assert_failure 1
	assert_line --partial 'printed no plan'
	program program 'exit 0' 1..0
	run_program
	assert_failure 1
	assert_line --partial 'ran no test'
	run "$TREE/tests/run" "$TREE/missing"
	assert_failure 1
	last_line '0 passed, 1 failed, 0 skipped'
	run "$TREE/tests/run"
	assert_failure 1
	last_line '0 passed, 1 failed, 0 skipped'
}

@test "a bats file without a test is a failure, a good one is not" {
	echo '# nothing' >"$TREE/empty.bats"
	run "$TREE/tests/run" "$TREE/empty.bats"
	assert_failure 1
	printf '@test "one" {\n\ttrue\n}\n@test "two" {\n\tskip "no luck"\n}\n' >"$TREE/good.bats"
	run "$TREE/tests/run" "$TREE/good.bats"
	assert_success
	assert_line --partial 'skipped: two: no luck'
	last_line '1 passed, 0 failed, 1 skipped'
}

@test "a program that hangs is ended at its time limit" {
	program program "sleep 61.$$ & sleep 62.$$" 1..1
	UVM_TEST_LIMIT=1 run_program
	assert_failure 1
	assert_line --partial 'time limit of 1 s'
	# What hung, and what it waits for.
	assert_line --regexp '^ +[0-9]+ S \w*: /bin/sh .*program'
	assert_line --regexp '^ +[0-9]+ S \w*: sleep 61\.'
	assert_line --regexp '^ +[0-9]+ S \w*: sleep 62\.'
	run pgrep -fx "sleep 6[12]\.$$"
	refute_output
}

@test "in CI only skips that are listed are allowed" {
	program program 'exit 0' 1..2 'ok 1 a # skip no luck' 'ok 2 b # skip no luck'
	printf '# comment\na\n' >"$TREE/tests/allowed-skips"
	CI=true run_program
	assert_failure 1
	assert_line --partial 'FAILED: b'
	assert_line --partial 'not in tests/allowed-skips: no luck'
	last_line '0 passed, 1 failed, 1 skipped'
	printf 'a\nb\n' >"$TREE/tests/allowed-skips"
	CI=true run_program
	assert_success
}

@test "bats files run by root go side by side, with sessions and stores of their own" {
	local name
	((EUID == 0)) || skip "only root can have places of its own"
	mkdir "$TREE/tests/bats"
	for name in one two; do
		printf '@%s "%s" {\n%s\n}\n' test "$name" "
			touch /run/uvmtools/$name /var/lib/uvmtools/$name $TREE/$name
			for ((i = 0; i < 1000; i++)); do
				[[ ! -e $TREE/one || ! -e $TREE/two ]] || break
				sleep 0.02
			done
			((i < 1000))
			[[ \$(ls /run/uvmtools) == $name && \$(ls /var/lib/uvmtools) == $name ]]" >"$TREE/tests/bats/$name.bats"
	done
	run "$TREE/tests/run"
	assert_success
	last_line '2 passed, 0 failed, 0 skipped'
	assert [ ! -e /run/uvmtools/one ]
	assert [ ! -e /var/lib/uvmtools/one ]
}
