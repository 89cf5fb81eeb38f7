/* SPDX-License-Identifier: MIT */
/*
 * Many mappings: manymaps COUNT, one page each, in turns writable (and touched) and read-only, then waits to be killed;
 * SIGUSR1 makes it sleep(1). Prints "ready START END".
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	size_t count = argc > 1 ? strtoull(argv[1], NULL, 0) : 0, page = (size_t)sysconf(_SC_PAGESIZE);
	sigset_t signals;
	int arrived;
	char *at = mmap(NULL, count * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (at == MAP_FAILED || madvise(at, count * page, MADV_NOHUGEPAGE)) {
		perror("mmap");
		return 1;
	}
	for (size_t i = 0; i < count; i++) {
		if (i % 2 == 0)
			at[i * page] = 1;
		else if (mprotect(at + i * page, page, PROT_READ)) {
			perror("mprotect");
			return 1;
		}
	}
	sigemptyset(&signals);
	sigaddset(&signals, SIGUSR1);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	printf("ready %lx %lx\n", (unsigned long)at, (unsigned long)(at + count * page));
	fflush(stdout);
	sigwait(&signals, &arrived);
	execlp("sleep", "sleep", "1000", (char *)NULL);
	return 1;
}
