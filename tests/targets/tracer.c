/* SPDX-License-Identifier: MIT */
/* Traces another process, as a debugger does: tracer PID. Prints "ready", then waits to be killed. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	if (argc < 2)
		return 2;
	if (ptrace(PTRACE_SEIZE, (pid_t)strtol(argv[1], NULL, 10), NULL, NULL)) {
		perror("PTRACE_SEIZE");
		return 1;
	}
	puts("ready");
	fflush(stdout);
	for (;;)
		pause();
}
