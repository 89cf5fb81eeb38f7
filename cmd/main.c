/* SPDX-License-Identifier: MIT */
/* What every tool begins with; its table of verbs is in cmd/<tool>/main.c. */
#include "tool/tool.h"

int main(int argc, const char **argv)
{
	return tool_main(argc, argv);
}
