
# SPDX-License-Identifier: MIT
# The rest is the same for all tools, but for their names.

# The verb in front of the cursor, if there is one already.
_TOOL_verb() {
	local word verbs
	verbs=$(_TOOL_table verbs)
	for word in "${words[@]:1:cword-1}"; do
		if [[ " $verbs " == *" $word "* ]]; then
			echo "$word"
			return
		fi
	done
}

# Process ids; with their names where they are only listed, not inserted.
_TOOL_pids() {
	local i name
	_pids
	case ${COMP_TYPE:-9} in
	33 | 63 | 64) ((${#COMPREPLY[@]} > 1)) || return ;;
	*) return ;;
	esac
	for i in "${!COMPREPLY[@]}"; do
		if read -r name 2>/dev/null <"/proc/${COMPREPLY[i]}/comm"; then
			COMPREPLY[i]+=" ($name)"
		fi
	done
}

# _TOOL_offer KIND WORD...
_TOOL_offer() {
	case $1 in
	files) _filedir ;;
	records) _filedir '@(json|jsonl)' ;;
	directories) _filedir -d ;;
	processes) _TOOL_pids ;;
	list)
		mapfile -t COMPREPLY < <(compgen -W "${*:2}" -- "${cur##*,}")
		[[ $cur == *,* ]] && COMPREPLY=("${COMPREPLY[@]/#/${cur%,*},}")
		compopt -o nospace
		return
		;;
	esac
	mapfile -t -O "${#COMPREPLY[@]}" COMPREPLY < <(compgen -W "${*:2}" -- "$cur")
	__ltrim_colon_completions "$cur"
}

_TOOL() {
	# shellcheck disable=SC2034 # set by _init_completion
	local cur prev words cword split verb verbs command offer i
	# A colon belongs to the word.
	_init_completion -s -n : || return
	verb=$(_TOOL_verb)
	verbs=$(_TOOL_table verbs)
	command=$(_TOOL_table "$verb:command")
	for ((i = 1; i < cword; i++)); do
		if [[ $command && ${words[i]} == "$command" ]]; then
			_command_offset $((i + 1))
			return
		fi
	done
	offer=$(_TOOL_table "$verb:$prev")
	if [[ ! $offer && $cur != -* ]]; then
		offer=$(_TOOL_table "$verb:operands")
		[[ $verb || ! $verbs ]] || offer="words $verbs"
	fi
	if [[ $offer ]]; then
		# shellcheck disable=SC2086 # words
		_TOOL_offer $offer
	else
		mapfile -t COMPREPLY < <(compgen -W "$(_TOOL_table "$verb:options")" -- "$cur")
	fi
}

complete -F _TOOL TOOL
