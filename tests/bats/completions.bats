#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Completions for bash, zsh and fish: what the shells offer, held against what the tools say of themselves.

setup() {
	load helper
	DIR=$BATS_TEST_TMPDIR/dir
	mkdir -p "$DIR/folder"
	touch "$DIR/regions.json" "$DIR/more.jsonl" "$DIR/other.txt"
	cd "$DIR" || return
}

# What stands in front of options: each tool, or tool and verb.
commands() {
	local tool verbs verb
	for tool in "$UVM_BUILD"/bin/*; do
		tool=${tool##*/}
		verbs=$("$tool" --help | sed -n '/^Verbs:/,/^$/s/^  \([a-z]*\) .*/\1/p')
		for verb in ${verbs:-""}; do
			echo "$tool${verb:+ $verb}"
		done
	done
}

help_options() {
	# shellcheck disable=SC2086
	$1 --help </dev/null | sed -nE 's/^ +(-., +)?--([a-z-]+).*/--\2/p' | sort -u
}

# What each shell offers at the end of a line, one a line, without descriptions.
bash_offers() {
	timeout 20 bash --norc -s "$UVM_BUILD" "$1" <<'SCRIPT' 2>/dev/null
source /usr/share/bash-completion/bash_completion
line=$2
IFS=$' \t' read -ra COMP_WORDS <<<"${line//=/ = }"
[[ $line == *' ' || $line == *= ]] && COMP_WORDS+=("")
[[ $line == *= ]] && unset 'COMP_WORDS[-1]' && COMP_WORDS+=("=")
COMP_LINE=$line COMP_POINT=${#line} COMP_CWORD=$((${#COMP_WORDS[@]} - 1)) COMP_TYPE=9 COMP_KEY=9
tool=${COMP_WORDS[0]}
source "$1/completions/bash/$tool"
"_$tool" "$tool" "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
printf '%s\n' "${COMPREPLY[@]}"
SCRIPT
}

fish_offers() {
	HOME=$BATS_TEST_TMPDIR timeout 20 fish --no-config -c "source $UVM_BUILD/completions/fish/${1%% *}.fish; complete -C '$1'" | cut -f 1
}

# zsh completes only at a terminal, so one is made for it; compadd prints what it is given.
zsh_offers() {
	timeout 120 zsh -f -s "$UVM_BUILD" "$1" "$BATS_TEST_TMPDIR" <<'SCRIPT'
zmodload zsh/zpty
zpty shell zsh -f -i
zpty -w shell "PROMPT= ; unsetopt zle_bracketed_paste; stty -echo; fpath=($1/completions/zsh \$fpath)"
zpty -w shell "autoload -Uz compinit; compinit -u -d $3/zcompdump; LISTMAX=10000; zstyle ':completion:*' list-grouped no"
zpty -w shell 'compadd() {
	if [[ ${@[1,(i)(-|--)]} == *-(O|A|D)\ * ]]; then builtin compadd "$@"; return; fi
	local -a found; builtin compadd -A found "$@"; builtin compadd "$@"
	local status_=$?
	local one; for one in $found; do print -r -- "offer:$one" >&3; done
	return status_
}'
zpty -w shell "exec 3>$3/offers; finished() { print done >&3 }; zle -N finished; bindkey '^Y' finished; bindkey '^I' complete-word; print ready >&3"
integer tries=0
until [[ -s $3/offers ]] || ((++tries > 2000)); do zpty -rt shell junk; read -rt 0.02 <>/dev/null; sleep 0.02; done
zpty -wn shell "$2"$'\t\x19'
until grep -q '^done' $3/offers || ((++tries > 4000)); do zpty -rt shell junk; sleep 0.02; done
zpty -d shell
sed -n 's/^offer://p' $3/offers
SCRIPT
	rm -f "$BATS_TEST_TMPDIR/offers"
}

# Each of the words is offered by each of the shells.
all_offer() {
	local line=$1 shell word offers
	shift
	for shell in bash zsh fish; do
		offers=$("${shell}_offers" "$line")
		for word in "$@"; do
			if ! grep -qxF -- "$word" <<<"$offers"; then
				echo "$shell does not offer $word after '$line', but:" $offers
				return 1
			fi
		done
	done
}

none_offers() {
	local shell
	for shell in bash zsh fish; do
		if "${shell}_offers" "$1" | grep -qxF -- "$2"; then
			echo "$shell offers $2 after '$1'"
			return 1
		fi
	done
}

same_options() {
	local shell=$1 command count=0
	while read -r command; do
		((++count))
		diff -u --label "$command --help" --label "$shell" <(help_options "$command") \
			<("${shell}_offers" "$command --" | sed 's/=$//' | grep '^--' | sort -u) || return
	done < <(commands)
	((count >= 6))
}

@test "bash completes the options in --help and no others" {
	same_options bash
}

@test "shellcheck finds nothing to say about the completions for bash, and zsh and fish can read theirs" {
	local file
	run shellcheck -s bash "$UVM_BUILD"/completions/bash/*
	assert_success
	for file in "$UVM_BUILD"/completions/zsh/*; do
		zsh -n "$file"
	done
	for file in "$UVM_BUILD"/completions/fish/*; do
		fish -n "$file"
	done
}

@test "zsh completes the options in --help and no others" {
	same_options zsh
}

@test "fish completes the options in --help and no others" {
	same_options fish
}

@test "verbs are completed, and only in front" {
	all_offer "swapctl " attach out in status check detach run
	none_offers "swapctl out -p 1 " attach
}

@test "words of --format, --compress and the like are completed" {
	all_offer "swapctl out --format " json table
	all_offer "swapctl attach --compress " auto lz4 zstd none
	all_offer "swapctl attach --access " auto ptrace agent
	all_offer "superpages --format " json table
	all_offer "superpages --method " auto scan pagemap mincore
	all_offer "superpages --kind " anon file shmem all
	all_offer "reclaimctl watch --warning " none
	none_offers "swapctl out --compress l" zstd
}

@test "a value after an equals sign is completed" {
	run bash_offers "swapctl attach --compress=zs"
	assert_line zstd
	refute_line lz4
	run bash_offers "superpages --method=p"
	assert_output pagemap
	run fish_offers "swapctl attach --compress=lz"
	assert_output -- --compress=lz4
	run zsh_offers "swapctl attach --compress=zs"
	assert_line zstd
}

@test "process ids are completed" {
	all_offer "swapctl out -p " "$$"
	all_offer "swapctl status --pid " "$$"
	run bash_offers "superpages -p "
	assert_line "$$"
}

@test "bash lists process ids with their names and inserts them without" {
	# shellcheck disable=SC2016
	run bash --norc -c 'source /usr/share/bash-completion/bash_completion; source "$0/completions/bash/swapctl"
		COMP_TYPE=63 cur=; _swapctl_pids; printf "%s\n" "${COMPREPLY[@]}"; COMP_TYPE=9 cur=; _swapctl_pids; printf "%s\n" "${COMPREPLY[@]}"' "$UVM_BUILD"
	assert_line --regexp "^$$ \(.+\)$"
	assert_line "$$"
}

@test "region files, - and folders are completed" {
	all_offer "swapctl out -r " regions.json more.jsonl -
	all_offer "swapctl in --regions " regions.json -
	run bash_offers "superpages -r "
	assert_line regions.json
	all_offer "swapctl attach --store " memory
	run bash_offers "swapctl attach --store f"
	assert_line --regexp '^folder/?$'
	run bash_offers "swapctl out -r o"
	refute_output --partial other.txt
}

@test "several columns are completed" {
	run bash_offers "swapctl status --columns pid,faul"
	assert_line pid,faults
	all_offer "superpages --columns " start name
}

@test "operands, words with colons and the names of uffd-probe are completed" {
	all_offer "addrspace alloc " 4K 2M
	all_offer "addrspace diff " "$$"
	all_offer "swapctl auto -p 1 " "$$"
	all_offer "reclaimctl watch --warning " some:150ms/2s none
	all_offer "addrspace cache --from " regions.json
	all_offer "uffd-probe --require mov" move
}

@test "bash and zsh complete the command that a tool runs" {
	local line shell
	for line in "swapctl run -- tru" "swapctl in -p 1 --for tru" "addrspace clone -p 1 -- tru"; do
		for shell in bash zsh; do
			run "${shell}_offers" "$line"
			assert_line true
		done
	done
}
