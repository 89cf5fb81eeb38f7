/* SPDX-License-Identifier: MIT */
/*
 * An allocator under load: heap ROUNDS THREADS [fork] [trim] [until]. Each thread allocates, resizes and frees blocks
 * of 1 byte to 8 MiB by every function there is, in slots that all threads share. What it writes into a block it
 * verifies before the block is given up; no page of a block may be part of another one. "fork": children do the same
 * with what they inherit, and others are spawned; "trim": a thread calls malloc_trim(3) all the time; "until": goes on
 * until a file "stop" is there. Prints "ready" at the beginning and "ok BLOCKS" at the end, or what was wrong.
 */
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <unistd.h>

#include "pattern.h"

#define SLOTS       128
#define LARGE       (64 * 1024)
#define STRIDE      256
#define CHILD_STEPS 300
#define ADDRESSES   ((size_t)1 << 47)

struct slot {
	pthread_mutex_t lock;
	unsigned char *at;
	size_t size;
	uint64_t seed;
};

struct worker {
	struct slot *slots;
	uint64_t random;
	long rounds;
};

#ifndef __GLIBC__
extern int malloc_trim(size_t pad) __attribute__((weak)); /* musl has none of its own */
#endif

static atomic_bool *owned; /* by page */
static atomic_long blocks;
static atomic_bool ended;

static _Noreturn void wrong(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vdprintf(STDOUT_FILENO, format, arguments);
	va_end(arguments);
	_exit(1);
}

static uint64_t next(struct worker *w)
{
	return w->random = mix(w->random);
}

/* As many of each magnitude; large ones rarely whole pages. */
static size_t some_size(struct worker *w)
{
	uint64_t r = next(w);

	return ((size_t)1 << r % 23) + (r >> 32) % ((size_t)1 << r % 23);
}

static void own(const unsigned char *at, size_t size, bool now)
{
	size_t first = ((uintptr_t)at + PAGE - 1) / PAGE;

	for (size_t page = first; page < ((uintptr_t)at + size) / PAGE; page++)
		if (atomic_exchange(&owned[page], now) == now)
			wrong("page %zx of %p is given out twice\n", page, (const void *)at);
}

static void fill(struct slot *s, uint64_t seed)
{
	s->seed = seed;
	for (size_t i = 0; i < s->size; i += STRIDE)
		s->at[i] = (unsigned char)mix(seed + i);
	s->at[s->size - 1] = (unsigned char)seed;
}

static void verify(const struct slot *s, size_t size)
{
	bool last = size < s->size;

	for (size_t i = 0; i < size && (i < s->size - 1 || last); i += STRIDE)
		if (s->at[i] != (unsigned char)mix(s->seed + i))
			wrong("byte %zu of %zu at %p is wrong\n", i, s->size, (void *)s->at);
	if (!last && s->at[s->size - 1] != (unsigned char)s->seed)
		wrong("the last byte of %zu at %p is wrong\n", s->size, (void *)s->at);
}

static void check_new(const unsigned char *at, size_t size, size_t alignment, bool zeroed)
{
	if (!at)
		wrong("no %zu bytes\n", size);
	if ((uintptr_t)at % alignment)
		wrong("%p is not aligned to %zu\n", (const void *)at, alignment);
	if (malloc_usable_size((void *)at) < size)
		wrong("%p has not %zu bytes\n", (const void *)at, size);
	for (size_t i = 0; zeroed && i < size; i++)
		if (at[i])
			wrong("byte %zu of %zu at %p is not zero\n", i, size, (const void *)at);
	atomic_fetch_add(&blocks, 1);
}

static void allocate(struct worker *w, struct slot *s)
{
	size_t size = some_size(w);
	size_t alignment = (size_t)16 << next(w) % 18;
	unsigned int how = next(w) % 8;
	void *at = NULL;

	if (how < 3)
		at = malloc(size);
	else if (how < 5)
		at = calloc(1 + how % 2, size = (size + 1) / 2 * 2);
	else if (how == 5)
		at = aligned_alloc(alignment, size = (size + alignment - 1) / alignment * alignment);
	else if (how == 6 && posix_memalign(&at, alignment, size) != 0)
		wrong("posix_memalign\n");
	else if (how == 7)
		at = memalign(alignment, size);
	check_new(at, size, how < 5 ? 16 : alignment, how == 3 || how == 4);
	s->at = at;
	s->size = size;
	own(at, size, true);
	fill(s, next(w));
}

static void resize(struct worker *w, struct slot *s)
{
	size_t size = some_size(w);
	struct slot old = *s;

	own(s->at, s->size, false);
	s->at = realloc(s->at, size);
	check_new(s->at, size, 16, false);
	own(s->at, size, true);
	old.at = s->at;
	verify(&old, old.size < size ? old.size : size);
	s->size = size;
	fill(s, next(w));
}

static void release(struct slot *s)
{
	own(s->at, s->size, false);
	errno = E2BIG;
	free(s->at);
	if (errno != E2BIG)
		wrong("free() changes errno\n");
	s->at = NULL;
}

static void step(struct worker *w)
{
	struct slot *s = &w->slots[next(w) % SLOTS];

	if (pthread_mutex_trylock(&s->lock))
		return;
	if (!s->at) {
		allocate(w, s);
	} else {
		verify(s, s->size);
		if (next(w) % 4)
			release(s);
		else
			resize(w, s);
	}
	pthread_mutex_unlock(&s->lock);
}

static void *work(void *argument)
{
	struct worker *w = argument;

	for (long i = 0; i < w->rounds; i++)
		step(w);
	return NULL;
}

static void *trim(void *argument)
{
	while (!atomic_load(&ended)) {
		malloc_trim(0);
		sched_yield();
	}
	return argument;
}

/* What the child inherits in slots of its own is as it was, whatever is reclaimed in the parent. */
static void be_child(struct worker *w)
{
	for (size_t i = 0; i < SLOTS; i++)
		if (w->slots[i].at)
			verify(&w->slots[i], w->slots[i].size);
	for (int i = 0; i < CHILD_STEPS; i++)
		step(w);
	_exit(0);
}

static void wait_for_child(pid_t child)
{
	int status;

	if (waitpid(child, &status, 0) != child || status)
		wrong("a child ended with %#x\n", status);
}

static void *fork_all_the_time(void *argument)
{
	static char *const words[] = {(char *)"true", NULL};
	struct worker *w = argument;
	static struct slot slots[SLOTS];

	for (size_t i = 0; i < SLOTS; i++)
		pthread_mutex_init(&slots[i].lock, NULL);
	w->slots = slots;
	while (!atomic_load(&ended)) {
		pid_t child;

		for (int i = 0; i < CHILD_STEPS; i++)
			step(w);
		child = fork();
		if (child == 0)
			be_child(w);
		if (child < 0)
			die("fork");
		wait_for_child(child);
		if (posix_spawnp(&child, words[0], NULL, NULL, words, NULL))
			die("posix_spawn");
		wait_for_child(child);
	}
	return NULL;
}

static void run(struct slot *slots, long rounds, size_t threads)
{
	struct worker workers[64];
	pthread_t ids[64];

	for (size_t i = 0; i < threads; i++) {
		workers[i] = (struct worker){slots, i + 1, rounds};
		if (pthread_create(&ids[i], NULL, work, &workers[i]))
			die("pthread_create");
	}
	for (size_t i = 0; i < threads; i++)
		pthread_join(ids[i], NULL);
}

static bool given(char **words, const char *word)
{
	for (; *words; words++)
		if (!strcmp(*words, word))
			return true;
	return false;
}

int main(int argc, char **argv)
{
	static struct slot slots[SLOTS];
	struct worker forker = {.random = 99};
	pthread_t others[2];
	size_t threads;

	if (argc < 3)
		return 2;
	threads = strtoul(argv[2], NULL, 0);
	owned = mmap(NULL, ADDRESSES / PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
		     0);
	if (owned == MAP_FAILED)
		die("mmap");
	for (size_t i = 0; i < SLOTS; i++)
		pthread_mutex_init(&slots[i].lock, NULL);
	printf("ready\n");
	fflush(stdout);
	if ((given(argv, "fork") && pthread_create(&others[0], NULL, fork_all_the_time, &forker)) ||
	    (given(argv, "trim") && pthread_create(&others[1], NULL, trim, NULL)))
		die("pthread_create");
	do {
		run(slots, strtol(argv[1], NULL, 0), threads);
	} while (given(argv, "until") && access("stop", F_OK));
	atomic_store(&ended, true);
	if (given(argv, "fork"))
		pthread_join(others[0], NULL);
	if (given(argv, "trim"))
		pthread_join(others[1], NULL);
	printf("ok %ld\n", atomic_load(&blocks));
	return 0;
}
