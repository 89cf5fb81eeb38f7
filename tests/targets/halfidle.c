/* SPDX-License-Identifier: MIT */
/*
 * Two mappings of BYTES each: halfidle KIND BYTES. Nothing touches the first one after it was written; a thread touches
 * each page of the second one every few milliseconds. KIND: write, read, zero (nothing is ever written to it: it
 * consists of the kernel's page of zeros), huge (both have huge pages, of which one byte each is touched). Prints
 * "ready IDLE END TOUCHED END", then obeys commands on standard input: "unmap" unmaps the first one and answers "ok",
 * "exec" becomes sleep(1).
 */
#include <pthread.h>
#include <unistd.h>

#include "pattern.h"

static struct {
	volatile char *at;
	size_t bytes, step;
	bool writes;
} touched;

static void *touch_again(void *argument)
{
	for (;;) {
		for (size_t i = 0; i < touched.bytes; i += touched.step)
			if (touched.writes)
				touched.at[i]++;
			else
				(void)touched.at[i];
		usleep(2000);
	}
	return argument;
}

/* Between memory that nothing may touch, so that no neighbour joins the mapping. */
static char *map_apart(size_t bytes, int advice)
{
	char *at = map_aligned(bytes + 2 * SUPERPAGE);

	if (mprotect(at, SUPERPAGE, PROT_NONE) || mprotect(at + SUPERPAGE + bytes, SUPERPAGE, PROT_NONE))
		die("mprotect");
	madvise(at + SUPERPAGE, bytes, advice);
	return at + SUPERPAGE;
}

int main(int argc, char **argv)
{
	const char *kind = argc > 2 ? argv[1] : "";
	size_t bytes = argc > 2 ? strtoull(argv[2], NULL, 0) : 0;
	bool huge = !strcmp(kind, "huge");
	char *idle, *hot, line[16];
	pthread_t thread;

	if (!bytes || bytes % SUPERPAGE)
		return 2;
	setvbuf(stdout, NULL, _IOLBF, 0);
	idle = map_apart(bytes, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
	hot = map_apart(bytes, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
	memset(idle, 1, bytes);
	if (strcmp(kind, "zero"))
		memset(hot, 1, bytes);
	touched.at = hot;
	touched.bytes = bytes;
	touched.step = huge ? SUPERPAGE : PAGE;
	touched.writes = !strcmp(kind, "write") || huge;
	if (pthread_create(&thread, NULL, touch_again, NULL))
		die("pthread_create");
	printf("ready %lx %lx %lx %lx\n", (unsigned long)idle, (unsigned long)(idle + bytes), (unsigned long)hot,
	       (unsigned long)(hot + bytes));
	while (fgets(line, sizeof(line), stdin)) {
		if (!strcmp(line, "exec\n"))
			execlp("sleep", "sleep", "1000", NULL);
		if (munmap(idle, bytes))
			die("munmap");
		printf("ok\n");
	}
	for (;;)
		pause();
}
