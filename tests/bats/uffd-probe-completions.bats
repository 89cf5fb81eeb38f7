#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Completion of uffd-probe's names, which come from the tool itself. The rest is in completions.bats.

setup() {
	load helper
}

# Of "uffd-probe --require WORD".
bash_offers() {
	timeout 20 bash --norc -s "$UVM_BUILD" "$1" <<'SCRIPT' 2>/dev/null
source /usr/share/bash-completion/bash_completion
source "$1/completions/bash/uffd-probe"
COMP_WORDS=(uffd-probe --require "$2") COMP_CWORD=2 COMP_LINE="uffd-probe --require $2" COMP_TYPE=9 COMP_KEY=9
COMP_POINT=${#COMP_LINE}
_uffd-probe uffd-probe "$2" --require
printf '%s\n' "${COMPREPLY[@]}"
SCRIPT
}

fish_offers() {
	HOME=$BATS_TEST_TMPDIR timeout 20 fish --no-config \
		-c "source $UVM_BUILD/completions/fish/uffd-probe.fish; complete -C 'uffd-probe --require $1'" | cut -f 1
}

@test "bash completes names, also after a comma" {
	run bash_offers move
	assert_output move
	run bash_offers move,anonymous/missing/p
	assert_output move,anonymous/missing/poison
}

@test "fish completes names, also after a comma" {
	run fish_offers mov
	assert_line move
	run fish_offers move,pois
	assert_line move,poison
}
