/* SPDX-License-Identifier: MIT */
/*
 * A large reservation, sparsely used: reserve RESERVED TOUCHED, in bytes, then waits to be killed. Whole superpages are
 * touched, spread evenly. Prints "ready START END".
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define SUPERPAGE ((size_t)2 << 20)

int main(int argc, char **argv)
{
	size_t reserved = argc > 2 ? strtoull(argv[1], NULL, 0) : 0,
	       touched = argc > 2 ? strtoull(argv[2], NULL, 0) : 0;
	size_t count = touched / SUPERPAGE, page = (size_t)sysconf(_SC_PAGESIZE);
	char *hole, *at;

	if (!count || touched > reserved)
		return 2;
	hole = mmap(NULL, reserved + SUPERPAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
		    0);
	at = (char *)(((uintptr_t)hole + SUPERPAGE - 1) & ~(SUPERPAGE - 1));
	if (hole == MAP_FAILED || madvise(hole, reserved + SUPERPAGE, MADV_NOHUGEPAGE)) {
		perror("mmap");
		return 1;
	}
	for (size_t i = 0; i < count; i++)
		for (size_t j = 0; j < SUPERPAGE; j += page)
			at[i * (reserved / count / SUPERPAGE * SUPERPAGE) + j] = 1;
	printf("ready %lx %lx\n", (unsigned long)at, (unsigned long)(at + reserved));
	fflush(stdout);
	for (;;)
		pause();
}
