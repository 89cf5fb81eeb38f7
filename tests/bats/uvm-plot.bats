#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# uvm-plot(1): what it draws of which records.

bats_require_minimum_version 1.5.0
load swap_helper

setup() {
	cd "$BATS_TEST_TMPDIR" || return
}

touch_record() {
	printf '{"v":1,"type":"touch","pid":1,"starttime":1,"address":"%s","tid":1,"access":"read","fresh":false,"at_us":%s,"name":""}\n' "$1" "$2"
}

interval() {
	printf '{"v":1,"type":"interval","pid":1,"starttime":1,"at_us":%s,"touches":1,"touched_bytes":%s,"waited_us":0}\n' "$1" "$2"
}

region() {
	printf '{"v":1,"type":"region","start":"%s","end":"%s","resident_bytes":%s}\n' "$@"
}

# assert_picture FILE TEXT...: it is whole, and shows these texts.
assert_picture() {
	local text
	run -0 python3 -c 'import sys, xml.etree.ElementTree as t; print(*(e.text or "" for e in t.parse(sys.argv[1]).iter()), sep="\n")' "$1"
	for text in "${@:2}"; do
		assert_output --partial "$text"
	done
}

@test "heat draws an address above another one by when it was touched" {
	{
		touch_record 0x7f0000000000 0
		touch_record 0x55f000000000 1000000
	} >records
	run -0 uvm-plot heat records
	assert_equal "$(grep -o @ <<<"$output" | wc -l)" 2
	# The higher one at the left, the lower one at the right.
	assert_equal "$(grep @ <<<"$output" | head -n 1 | grep -Ec '\|@')" 1
	assert_equal "$(grep @ <<<"$output" | tail -n 1 | grep -Ec '@\|')" 1
	assert_output --regexp '0x7f0000000000.*0x55f000000000'
	uvm-plot heat --output heat.svg records
	assert_picture heat.svg 0x7f0000000000 0x55f000000000 "Memory touched, by address and time" seconds
}

@test "workingset draws intervals, with the median, the 90th percentile and the greatest" {
	local i
	for i in {1..10}; do
		interval $((i * 100000)) $((i * 1048576))
	done >records
	run -0 uvm-plot workingset - <records
	assert_output --partial "median 5.0 MiB"
	assert_output --partial "p90 9.0 MiB"
	assert_output --partial "most 10.0 MiB"
	uvm-plot workingset --output set.svg --title "The set of one" records
	assert_picture set.svg "The set of one" "p90 9.0 MiB"
}

@test "latency draws the histograms of all sessions as one" {
	printf '{"v":1,"type":"session","pid":%s,"fault_histogram":[{"le_ns":16384,"faults":%s},{"le_ns":131072,"faults":10},{"le_ns":null,"faults":0}]}\n' 1 80 2 100 >records
	run -0 uvm-plot latency records
	assert_output --partial "200 faults"
	assert_output --partial "median 16.4"
	uvm-plot latency --output latency.svg records
	assert_picture latency.svg "200 faults" "median 16.4" "p99 131" microseconds
}

@test "latency takes the last record of each session, which counts from its beginning" {
	printf '{"v":1,"type":"session","pid":%s,"starttime":7,"fault_histogram":[{"le_ns":16384,"faults":%s},{"le_ns":131072,"faults":%s}]}\n' \
		1 10 0 2 5 0 1 20 30 2 5 0 1 3 0 >records
	run -0 uvm-plot latency records
	assert_output --partial "58 faults" # 50 and, attached again, 3 of the first process, 5 of the second
	assert_output --partial "median 131"
}

@test "swapout draws what was resident before and after, and in the store, with little regions as one" {
	local i
	{
		printf '{"v":1,"type":"region","op":"out","start":"0x700000000000","end":"0x700040000000","asked_bytes":1073741824,"moved_bytes":536870912,"compressed_bytes":104857600,"skipped":{"not-resident":268435456,"busy":268435456}}\n'
		for i in 1 2 3; do
			printf '{"v":1,"type":"region","op":"out","start":"0x7100%s0000000","end":"0x7100%s0001000","asked_bytes":4096,"moved_bytes":4096,"compressed_bytes":100,"skipped":{}}\n' $i $i
		done
	} >records
	uvm-plot swapout --output out.svg records
	assert_picture out.svg 0x700000000000 others "resident before" "in the store after" "resident after"
	refute_output --partial 0x7100
	# As one where there is no room for two.
	run -0 uvm-plot swapout --size 16x16 records
	refute_output --partial 0x7
	run -0 uvm-plot swapout records
	# 768 MiB before.
	assert_output --regexp ' 800 .*700 '
	refute_output --regexp ' 1000 '
}

@test "residency draws what there is, one after the other, the darker the more of it is resident" {
	{
		region 0x100000000 0x100100000 1048576
		region 0x300000000 0x300100000 0
		region 0x200000000 0x200100000 131072
	} >records
	run -0 uvm-plot residency records
	assert_output --partial 0x100000000
	assert_equal "$(tr -cd '@:' <<<"$output" | tr -s '@:')" '@:'
	refute_output --partial 0x3000
	uvm-plot residency --output residency.svg records
	assert_picture residency.svg "each square is" "percent resident"
}

@test "a picture has the size that was asked for, and a drawing too" {
	interval 1000000 1048576 >records
	uvm-plot workingset --size 640x320 --output set.png records
	run -0 python3 -c 'import struct; print(*struct.unpack(">8sIIII", open("set.png", "rb").read()[:24])[3:])'
	assert_output "640 320"
	uvm-plot workingset --size 60x16 records >drawing
	assert_equal "$(wc -l <drawing)" 16
	assert_equal "$(wc -L <drawing)" 60
}

@test "a title is shown as it is, and gnuplot runs nothing of it" {
	local title="it's \`touch made\` \$(touch made) \"x\" {/Bold y}"
	interval 1000000 1048576 >records
	uvm-plot workingset --title "$title"$'\n'"system('touch made')" --output set.svg records
	assert_picture set.svg "$title"
	[[ ! -e made ]]
}

@test "without a record that it is made of there is no picture, and what was there stays" {
	local verb
	region 0x1000 0x2000 0 >records
	echo old >old.svg
	for verb in heat workingset latency swapout residency; do
		run -2 --separate-stderr uvm-plot "$verb" --output old.svg records
		assert_equal "$(wc -l <<<"$stderr")" 1
		assert_regex "$stderr" "^uvm-plot $verb: .*draw records: it has no .*which"
		assert_equal "$(cat old.svg)" old
	done
	run -2 --separate-stderr uvm-plot heat </dev/null
	assert_regex "$stderr" "draw standard input"
}

@test "records that are none, and values that cannot be, are refused" {
	local bad
	for bad in '{"v":2}' '{"type":"touch","address":7.5,"at_us":1}' '{"type":"touch","address":"0x1000","at_us":-1}' '{' 'x'; do
		run -2 --separate-stderr uvm-plot heat - <<<"$bad"
		assert_regex "$stderr" '^uvm-plot heat: .*read records from standard input: line 1: '
	done
	run -2 uvm-plot workingset - <<<'{"type":"interval","at_us":1,"touched_bytes":-5}'
	run -2 uvm-plot latency - <<<'{"type":"session","fault_histogram":[{"le_ns":-1,"faults":5}]}'
	run -2 uvm-plot residency - <<<'{"type":"region","start":"0x2000","end":"0x1000","resident_bytes":4096}'
	run -2 uvm-plot residency - <<<'{"type":"region","start":"0x1000","end":"0x2000","resident_bytes":8192}'
	run -1 uvm-plot heat nowhere.json
}

@test "values at the ends of what there can be are drawn" {
	{
		touch_record 0x7ffffffff000 9223372036854775807
		touch_record 0x0 0
	} >records
	run -0 uvm-plot heat records
	assert_equal "$(grep -o @ <<<"$output" | wc -l)" 2
	interval 0 9223372036854775807 | run -0 uvm-plot workingset
	region 0x1000 0x7fffffffffffffff 4096 | run -0 uvm-plot residency
	# Squares of 2^43 bytes, of which the last byte is in one row more than there are.
	region 0x0 0x4000000000001 $((1 << 50)) | run -0 uvm-plot residency --size 384x16 --output end.svg
	printf '{"type":"session","fault_histogram":[{"le_ns":9223372036854775807,"faults":9223372036854775807},{"le_ns":0,"faults":1}]}' | run -0 uvm-plot latency
	printf '{"type":"region","op":"out","start":"0x1000","asked_bytes":0,"moved_bytes":4096}' | run -0 uvm-plot swapout
}

@test "bad options, and places that cannot be written, are told before anything is drawn" {
	interval 1000000 1048576 >records
	run -2 --separate-stderr uvm-plot workingset --output set.gif records
	assert_regex "$stderr" 'a picture.s name ends with .svg or .png'
	for size in 0x10 15x20 80 80x 80x24x3 -5x20 99999x20 axb; do
		run -2 --separate-stderr uvm-plot workingset --size="$size" records
		assert_regex "$stderr" 'is not like 960x540'
	done
	run -1 --separate-stderr uvm-plot workingset --output nowhere/set.svg records
	assert_regex "$stderr" 'write nowhere/set.svg: No such file'
	mkdir place.svg
	run -2 --separate-stderr uvm-plot workingset --output place.svg records
	assert_regex "$stderr" 'write place.svg: it is no file'
	run -2 uvm-plot workingset records records
}

@test "without gnuplot it says what to install" {
	local tool=$UVM_BUILD/bin/uvm-plot
	interval 1000000 1048576 >records
	mkdir empty
	run -1 --separate-stderr env PATH="$BATS_TEST_TMPDIR/empty" "$tool" workingset --output set.svg records
	assert_regex "$stderr" 'run gnuplot: it is not installed \(install gnuplot-nox\)'
	[[ ! -e set.svg ]]
	assert_equal "$(echo set*)" 'set*'
}

has_faults() {
	[[ $(swapctl status -p "$PID" | jq '.fault_histogram | length') -gt 0 ]]
}

@test "the examples of uvm-plot(1) work" {
	local line count=0
	load examples_helper
	start_with_input hotcold $((16 * 1048576))
	export PID=$TARGET_PID
	while read -r line; do
		count=$((count + 1))
		case $line in
		'swapctl status '*) wait_for 20 has_faults ;;
		esac
		run_example uvm-plot.1 "$line"
	done < <(examples uvm-plot.1)
	assert_equal "$count" 7
	assert_picture heat.svg seconds
	assert_picture workingset.svg median
	assert_picture swapout.svg "resident before"
	assert_picture latency.svg p99
	assert_picture residency.svg "each square is"
	# As many in the histogram as have been waited for.
	run -0 jq '([.fault_histogram[].faults] | add) as $sum | $sum > 0 and $sum <= .faults + .fresh_faults + .hot_faults' <(swapctl status -p "$PID")
	assert_output true
}

@test "the recording of the demo is in asciinema's format, and shows the demo to its end" {
	local cast=$ROOT/docs/demo.cast
	jq -es '.[0] | .version == 2 and .width == 100 and .height == 40' "$cast"
	jq -es '.[1:] | map(.[0]) | . == sort and .[0] >= 0' "$cast"
	jq -es '.[1:] | all(.[1] == "o" and (.[2] | type) == "string")' "$cast"
	# Each headline of the demo is in it.
	jq -j 'arrays | .[2]' "$cast" >"$BATS_TEST_TMPDIR/shown"
	while read -r headline; do
		grep -qF -- "$headline" "$BATS_TEST_TMPDIR/shown" || fail "the recording has no \"$headline\": run tools/recording"
	done < <(sed -nE 's/^say "([^":$]*).*/\1/p' "$ROOT/tools/demo")
	grep -qF 'the same digest as before' "$BATS_TEST_TMPDIR/shown"
}
