#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# The floor rule: who may include whom. The rules of the house: how large rooms and structs may be, no circles.

setup() {
	load /usr/lib/bats/bats-support/load
	load /usr/lib/bats/bats-assert/load
	ROOT=$(cd "$BATS_TEST_DIRNAME/../.." && pwd)
	TREE=$BATS_TEST_TMPDIR/tree
	mkdir -p "$TREE"/libcommon/{base,cli,report,proc,pager} "$TREE"/cmd/{one,two}
	touch "$TREE"/libcommon/{base/size,report/report,proc/maps,pager/own}.h "$TREE"/cmd/{one,two}/verb.h
}

# Writes a file of the tree, with these includes.
given() {
	printf '%s\n' "${@:2}" >"$TREE/$1"
}

@test "this tree keeps the floor rule" {
	run "$ROOT/tools/floors"
	assert_success
	assert_output ""
}

@test "lower floors and the own folder may be included" {
	given libcommon/pager/a.c '#include "cli/own.h"' '#include "own.h"' '#include "base/size.h"' '#include <stdio.h>' '#include <sys/mman.h>'
	given cmd/one/main.c '#include "verb.h"' '#include "cli/own.h"'
	run "$ROOT/tools/floors" "$TREE"
	assert_success
	assert_output ""
}

@test "the library for other programs includes its own headers and those that it shares, no others" {
	mkdir -p "$TREE/libuvm/uvm" "$TREE/libcommon/uffd"
	touch "$TREE"/libuvm/{agent,uvm/swap_agent}.h "$TREE/libcommon/uffd/uapi.h"
	given libuvm/a.c '#include "agent.h"' '#include "uvm/swap_agent.h"' '#include "uffd/uapi.h"' '#include <stdio.h>'
	run "$ROOT/tools/floors" "$TREE"
	assert_success
	given libuvm/a.c '#include "agent.h"' '#include "base/size.h"'
	run "$ROOT/tools/floors" "$TREE"
	assert_failure 1
	assert_output 'libuvm/a.c:2: "base/size.h" is not among the headers that libuvm shares'
}

@test "a higher floor may not be included, and the line is named" {
	given libcommon/base/a.c '#include <stdio.h>' '' '#include "cli/own.h"'
	run "$ROOT/tools/floors" "$TREE"
	assert_failure 1
	assert_output 'libcommon/base/a.c:3: "cli/own.h" is on floor 2, base is on floor 0: only lower floors may be included'
}

@test "a folder of the same floor may not be included, by headers neither" {
	given libcommon/cli/a.h '#  include "proc/maps.h"'
	run "$ROOT/tools/floors" "$TREE"
	assert_failure 1
	assert_line --partial 'libcommon/cli/a.h:1: "proc/maps.h" is on floor 2, cli is on floor 2'
}

@test "angle brackets do not get around the rule" {
	given libcommon/base/a.c '#include <proc/maps.h>'
	run "$ROOT/tools/floors" "$TREE"
	assert_failure 1
	assert_line --partial 'libcommon/base/a.c:1: "proc/maps.h" is on floor 2'
}

@test "paths that climb out of their folder are refused" {
	given libcommon/pager/a.c '#include "../base/size.h"'
	given cmd/one/main.c '#include "../two/verb.h"'
	run "$ROOT/tools/floors" "$TREE"
	assert_failure 1
	assert_line --partial 'libcommon/pager/a.c:1: "../base/size.h" leaves its folder'
	assert_line --partial 'cmd/one/main.c:1: "../two/verb.h" leaves its folder'
}

@test "a folder that is not in the table of floors is refused" {
	mkdir "$TREE/libcommon/attic"
	given libcommon/attic/a.c ''
	given libcommon/loose.c ''
	given cmd/one/main.c '#include "attic/a.h"' '#include "missing.h"'
	run "$ROOT/tools/floors" "$TREE"
	assert_failure 1
	assert_line 'libcommon/attic/a.c:1: folder "attic" is not in the table of floors'
	assert_line 'libcommon/loose.c:1: belongs in a folder of libcommon'
	assert_line 'cmd/one/main.c:1: "attic/a.h": no folder "attic" in the table of floors'
	assert_line 'cmd/one/main.c:2: "missing.h" is not in this folder'
}

# N lines, each made by printf of FORMAT with its number.
lines() {
	local i
	for ((i = 0; i < $1; i++)); do
		# shellcheck disable=SC2059
		printf "$2\\n" "$i"
	done
}

@test "this tree keeps the rules of the house" {
	run "$ROOT/tools/house"
	assert_success
	assert_output ""
}

@test "a room with too many lines or C files is told" {
	lines 3001 '/* %d */' >"$TREE/libcommon/base/long.c"
	local i
	for i in {1..17}; do
		given "libcommon/proc/part$i.c" 'int x;'
	done
	run "$ROOT/tools/house" "$TREE"
	assert_failure 1
	assert_output "libcommon/base: 3001 lines, 3000 are the most
libcommon/proc: 17 C files, 16 are the most"
}

@test "files that need each other are told, over others too, but not for what only looks so" {
	given libcommon/proc/maps.h '/* Parts. */' 'int a_one(void);' 'int a_two(void);' 'int a_three(void);'
	given libcommon/proc/one.c 'int a_one(void)' '{' 'return a_two();' '}'
	given libcommon/proc/two.c 'int a_two(void)' '{' 'return a_three();' '}'
	given libcommon/proc/three.c 'int a_three(void)' '{' 'return a_one();' '}'
	run "$ROOT/tools/house" "$TREE"
	assert_failure 1
	assert_output --partial "libcommon/proc: a circle: one.c -> two.c -> three.c -> one.c"
	given libcommon/proc/three.c 'static int a_two(void)' '{' 'return 2;' '}' 'int a_three(void)' '{' 'return a_two() + all->a_one; /* a_one() */' '}'
	run "$ROOT/tools/house" "$TREE"
	assert_success
}

@test "a struct with too many members is told; one inside it counts as one" {
	{
		echo 'struct large {'
		lines 10 'int a%d, b%d;' | sed 's/%d/0/'
		echo '};'
	} >"$TREE/libcommon/base/size.h"
	run "$ROOT/tools/house" "$TREE"
	assert_success
	sed -i 's/^};/int (*last)(int, int);\n};/' "$TREE/libcommon/base/size.h"
	run "$ROOT/tools/house" "$TREE"
	assert_failure 1
	assert_output "libcommon/base/size.h:1: struct large has 21 members, 20 are the most"
	sed -i '2s/^/struct { /; 11s/$/ } inner;/' "$TREE/libcommon/base/size.h"
	run "$ROOT/tools/house" "$TREE"
	assert_success
}

@test "a tag that two headers define is told" {
	given libcommon/base/size.h 'struct same;' 'struct same {' 'int a;' '};'
	given libcommon/proc/maps.h 'struct same;' 'enum same {' 'A,' '};'
	run "$ROOT/tools/house" "$TREE"
	assert_failure 1
	assert_output "libcommon/proc/maps.h:2: enum same is defined in libcommon/base/size.h too"
}

@test "a static function of one word, and names of words that are not the field's, are told" {
	given libcommon/base/a.c 'static int go(void)' '{' 'return 0;' '}' 'static int go_on(int road_choice)' '{' 'return 1; /* a road */' '}' \
		'const char *text = "road";'
	run "$ROOT/tools/house" "$TREE"
	assert_failure 1
	assert_output "libcommon/base/a.c:1: go: a static function has two words at least
libcommon/base/a.c:5: road_choice: say access"
}

@test "a function of more than 60 lines is told; a table is none" {
	{
		printf '%s\n' 'static const int a_table[] = {'
		lines 70 '	%d,'
		printf '%s\n' '};' 'int a_one(void)' '{'
		lines 60 '	call(%d);'
		echo '}'
	} >"$TREE/libcommon/base/a.c"
	run "$ROOT/tools/house" "$TREE"
	assert_success
	sed -i '$s/^/	call(60);\n/' "$TREE/libcommon/base/a.c"
	run "$ROOT/tools/house" "$TREE"
	assert_failure 1
	assert_output "libcommon/base/a.c:74: a function of 61 lines, 60 are the most"
}

@test "a declaration without a comment is told; those under one comment share it" {
	given libcommon/base/size.h '/* What two do. */' 'int a_one(int number,' '	  int other);' 'int a_two(void);' '' \
		'int a_three(void); /* of another */' 'struct a_tag {' '	int (*call)(void);' '};' '#define CALL(x) call(x)' \
		'static inline int a_four(void)' '{' '	return call(4);' '}'
	run "$ROOT/tools/house" "$TREE"
	assert_success
	given libcommon/proc/maps.h '/*' ' * What one does.' ' */' 'int a_one(void);' '' 'const char *b_one(void);'
	given libcommon/proc/maps.c 'int undeclared_one(void);'
	run "$ROOT/tools/house" "$TREE"
	assert_failure 1
	assert_output "libcommon/proc/maps.h:6: b_one is declared without a comment"
}

@test "words that comments do without are told, over lines too" {
	given libcommon/base/a.c '/* Whoever comes. */' '/*' ' * Seen by some or somebody; a file of' ' * ours.' ' */' \
		'int x; /* waits for that one; it says that one did */' 'const char *text = "somebody of ours";'
	run "$ROOT/tools/house" "$TREE"
	assert_failure 1
	assert_output 'libcommon/base/a.c:1: a comment says "Whoever"
libcommon/base/a.c:2: a comment says "somebody"
libcommon/base/a.c:2: a comment says "of ours"
libcommon/base/a.c:6: a comment says "that one"'
}
