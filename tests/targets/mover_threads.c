/* SPDX-License-Identifier: MIT */
/*
 * Threads that verify memory while it is being moved: mover_threads COUNT BYTES, until a line comes on standard input.
 * Each page is right where it was, or else where it is moved to. Prints "ready START ROOM BYTES" (of all threads
 * together), then "ok ROUNDS" (of the slowest thread) or "wrong".
 */
#include <pthread.h>
#include <stdatomic.h>

#include "pattern.h"

#define THREADS_MAX 64

static const char *start, *room;
static size_t bytes_each;
static atomic_bool stopping;

struct verifier {
	pthread_t thread;
	size_t number;
	unsigned long rounds;
	size_t wrong;
};

/* The new place second: looking there before the page has come would put another one in its way. */
static void *verify(void *argument)
{
	static const struct pattern pattern = {"random", 3};
	struct verifier *v = argument;
	size_t pages = bytes_each / PAGE, first = v->number * pages;

	for (; !atomic_load(&stopping); v->rounds++)
		for (size_t i = first; i < first + pages && !atomic_load(&stopping); i++)
			v->wrong += !pattern_holds_page(start, &pattern, i) && !pattern_holds_page(room, &pattern, i);
	return NULL;
}

static void *map_filled(size_t bytes)
{
	static const struct pattern pattern = {"random", 3};
	void *at = map_aligned(bytes);

	if (madvise(at, bytes, MADV_NOHUGEPAGE))
		die("madvise");
	pattern_fill(at, bytes, &pattern);
	return at;
}

int main(int argc, char **argv)
{
	size_t count = argc > 2 ? strtoull(argv[1], NULL, 0) : 0, wrong = 0;
	static struct verifier verifiers[THREADS_MAX];
	unsigned long rounds = ~0UL;

	bytes_each = argc > 2 ? strtoull(argv[2], NULL, 0) : 0;
	if (!count || count > THREADS_MAX || !bytes_each || bytes_each % PAGE)
		return 2;
	start = map_filled(count * bytes_each);
	room = map_aligned(count * bytes_each);
	for (size_t i = 0; i < count; i++) {
		verifiers[i].number = i;
		if (pthread_create(&verifiers[i].thread, NULL, verify, &verifiers[i]))
			die("pthread_create");
	}
	printf("ready %lx %lx %zu\n", (unsigned long)start, (unsigned long)room, count * bytes_each);
	fflush(stdout);
	(void)getchar();
	atomic_store(&stopping, true);
	for (size_t i = 0; i < count; i++) {
		pthread_join(verifiers[i].thread, NULL);
		wrong += verifiers[i].wrong;
		rounds = verifiers[i].rounds < rounds ? verifiers[i].rounds : rounds;
	}
	printf(wrong ? "wrong %lu\n" : "ok %lu\n", wrong ? wrong : rounds);
	return wrong != 0;
}
