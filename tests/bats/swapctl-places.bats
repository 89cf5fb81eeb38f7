#!/usr/bin/env bats
# swapctl(1): where areas of ours lie in a program, and programs that map there.

bats_require_minimum_version 1.5.0
load swap_helper

MEBIBYTE=1048576

# Prints how many mappings of the target are ours, and the bytes between them and the nearest other one. Ours are kept from children ("dc"), and
# nothing else of these programs is.
our_areas() {
	python3 - "$TARGET_PID" <<-'END'
		import re, sys
		areas = []
		for line in open(f"/proc/{sys.argv[1]}/smaps"):
		    if found := re.match("([0-9a-f]+)-([0-9a-f]+) ", line):
		        start, end = (int(x, 16) for x in found.groups())
		    elif line.startswith("VmFlags:") and start < 1 << 63:
		        areas.append((start, end, " dc" in line))
		gaps = [b[0] - a[1] for a, b in zip(areas, areas[1:]) if a[2] != b[2]]
		print(sum(area[2] for area in areas), min(gaps, default=0))
	END
}

# Leaves in $rounds how often the hole was mapped.
count_rounds() {
	ask check
	rounds=${answer##* }
}

mapped_again() {
	count_rounds
	((rounds > $1 + 1))
}

@test "areas of ours lie far from everything that the program has mapped" {
	local count gap
	start_contents mixed $((8 * MEBIBYTE))
	swap_ok attach -p "$TARGET_PID"
	read -r count gap < <(our_areas)
	((count >= 1 && gap > 1 << 30))
	swap_ok detach -p "$TARGET_PID"
}

@test "a program that maps anew in a hole of its own during swap-outs meets nothing of ours" {
	local i rounds
	start_with_input holes mixed $((8 * MEBIBYTE))
	swap_ok attach -p "$TARGET_PID"
	ask fill
	for i in {1..5}; do
		count_rounds
		swap_most out -p "$TARGET_PID"
		wait_for 10 mapped_again "$rounds"
	done
	swap_ok detach -p "$TARGET_PID"
	ask check
}
