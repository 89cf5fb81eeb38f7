
# SPDX-License-Identifier: MIT
# The rest is the same for all tools, but for their names.

# Of all users and terminals, which _pids leaves out.
_TOOL_pids() {
	local -a pids
	pids=(${${${(f)"$(_call_program processes ps -A -o pid=,comm=)"}## #}/ ##/:})
	_describe -t processes 'process id' pids
}

# _TOOL_offer KIND WORD...
_TOOL_offer() {
	local kind=$1 ret=1
	shift
	if [[ $kind == list ]]; then
		_sequence compadd - "$@"
		return
	fi
	(($#)) && compadd -- "$@" && ret=0
	case $kind in
	files) _files && ret=0 ;;
	records) _files -g '*.(json|jsonl)' && ret=0 ;;
	directories) _directories && ret=0 ;;
	processes) _TOOL_pids && ret=0 ;;
	esac
	return ret
}

_TOOL() {
	local context state state_descr line
	local -a verbs
	typeset -A opt_args
	_TOOL_verbs
	if ((!$#verbs)); then
		_TOOL_arguments
		return
	fi
	_arguments -C -S \
		'--version[print the version]' \
		'(-? --help)'{-\?,--help}'[show help]' \
		'--usage[show the options in short]' \
		'1:verb:->verb' \
		'*::option:->rest' && return
	case $state in
	verb) _describe -t verbs verb verbs ;;
	rest) _TOOL_arguments $words[1] ;;
	esac
}

_TOOL "$@"
