/* SPDX-License-Identifier: MIT */
/*
 * A program that allocates, touches and frees large blocks, for whatever allocator is preloaded: heap THREADS. Prints
 * "ready" and then does what it is told, a line each on standard input. Answers are JSON, a line each.
 *
 *	same BYTES COUNT	each thread: COUNT times one block
 *	mixed BYTES COUNT	each thread: COUNT times one of eight blocks is freed and made anew, of 64 KiB to
 *				BYTES; at last all are freed
 *	trim			gives back what is freed, by the allocator's own function
 *	resident		what is in core
 */
#include <dlfcn.h>
#include <inttypes.h>
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/size.h"

#define LEAST  (64 * KiB)
#define WINDOW 8
#define MAX    16                 /* threads */
#define ALL    "arena.4096.purge" /* jemalloc(3), MALLCTL_ARENAS_ALL */

struct work {
	uint64_t bytes;
	uint64_t count;
	uint64_t seed;
	bool mixed;
	pthread_t thread;
	uint64_t took_us;
};

static pthread_barrier_t together;

static uint64_t next_random(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed;
}

static volatile char *make(uint64_t bytes)
{
	volatile char *at = malloc(bytes);

	if (!at)
		abort();
	for (uint64_t i = 0; i < bytes; i += page_size())
		at[i] = 1;
	return at;
}

/* As many blocks of each magnitude. */
static uint64_t some_size(struct work *work)
{
	uint64_t magnitudes = 1;
	uint64_t size;

	while (LEAST << (magnitudes + 1) <= work->bytes)
		magnitudes++;
	size = LEAST << next_random(&work->seed) % magnitudes;
	return size + next_random(&work->seed) % size;
}

static void *run(void *argument)
{
	struct work *work = argument;
	volatile char *blocks[WINDOW] = {NULL};
	uint64_t begin;

	pthread_barrier_wait(&together);
	begin = now_us();
	for (uint64_t i = 0; i < work->count; i++) {
		uint64_t at = work->mixed ? next_random(&work->seed) % WINDOW : 0;

		free((void *)blocks[at]);
		blocks[at] = make(work->mixed ? some_size(work) : work->bytes);
	}
	for (size_t i = 0; i < WINDOW; i++)
		free((void *)blocks[i]);
	work->took_us = now_us() - begin;
	return NULL;
}

/* Nanoseconds for a block of one thread, with all threads at it. */
static void cycles(unsigned int threads, const struct work *what)
{
	struct work work[MAX];
	uint64_t took_us = 0;

	for (unsigned int i = 0; i < threads; i++) {
		work[i] = *what;
		work[i].seed = i + 1;
		if (pthread_create(&work[i].thread, NULL, run, &work[i]))
			abort();
	}
	for (unsigned int i = 0; i < threads; i++) {
		pthread_join(work[i].thread, NULL);
		took_us += work[i].took_us;
	}
	printf("{\"ns\":%.1f}\n", (double)took_us * 1000 / (double)(what->count * threads));
}

static void trim(void)
{
	int (*control)(const char *name, void *old, size_t *old_size, void *new, size_t new_size);
	void (*collect)(bool force);

	*(void **)&control = dlsym(RTLD_DEFAULT, "mallctl");
	*(void **)&collect = dlsym(RTLD_DEFAULT, "mi_collect");
	if (control)
		control(ALL, NULL, NULL, NULL, 0);
	else if (collect)
		collect(true);
	else
		malloc_trim(0);
	printf("{}\n");
}

static void resident(void)
{
	_cleanup_fclose_ FILE *status = fopen("/proc/self/statm", "re");
	uint64_t all;
	uint64_t core;

	if (!status || fscanf(status, "%" SCNu64 " %" SCNu64, &all, &core) != 2)
		abort();
	printf("{\"bytes\":%" PRIu64 "}\n", core * page_size());
}

int main(int argc, char **argv)
{
	unsigned int threads = argc > 1 ? (unsigned int)strtoul(argv[1], NULL, 10) : 0;
	char line[64];

	if (!threads || threads > MAX || pthread_barrier_init(&together, NULL, threads))
		return 2;
	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("ready\n");
	while (fgets(line, sizeof(line), stdin)) {
		struct work work = {.mixed = line[0] == 'm'};

		if (sscanf(line, "%*s %" SCNu64 " %" SCNu64, &work.bytes, &work.count) == 2)
			cycles(threads, &work);
		else if (!strcmp(line, "trim\n"))
			trim();
		else if (!strcmp(line, "resident\n"))
			resident();
		else
			return 2;
	}
	return 0;
}
