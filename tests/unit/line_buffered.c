/* SPDX-License-Identifier: MIT */
/* Linked into every unit test, so that results and messages reach the runner in the order in which they were made. */
#include <stdio.h>

__attribute__((constructor)) static void buffer_lines(void)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
}
