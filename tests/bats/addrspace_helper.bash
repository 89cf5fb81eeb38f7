# SPDX-License-Identifier: MIT
# What the tests of addrspace share.
# shellcheck shell=bash

load swap_helper

# shellcheck disable=SC2034
MEBIBYTE=1048576

# space STATUS ARGUMENT...: runs addrspace, which must end so.
space() {
	tool_ends "$1" addrspace "${@:2}"
}

# refuses STATUS PATTERN ARGUMENT...: fails so, with one line on standard error that matches, and no record of anything found or done.
refuses() {
	tool_refuses "$1" ".*($2)" addrspace "${@:3}"
	assert_regex "$(<"$ERRORS")" "^addrspace $3: "
	assert_equal "$(record 'map(select(.type == "region" or .type == "info")) | length')" 0
}
