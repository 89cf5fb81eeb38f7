/* SPDX-License-Identifier: MIT */
/* A tool from its first instruction to its exit code. */
#pragma once

#include "tool/verb.h"

/* The tool whose program this is. */
extern const struct cli_tool tool;

/* Finds the verb, reads its command line, runs it, ends its report. Returns the exit code. */
int tool_main(int argc, const char **argv);
