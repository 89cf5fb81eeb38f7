/* SPDX-License-Identifier: MIT */
/*
 * Threads that verify their own memory over and over: threads COUNT BYTES [discard], until a line comes on standard
 * input. With "discard" they discard a page before they write it, and read zeros. Prints "ready START END" (the memory
 * of the first), then "ok ROUNDS" (how often all of a thread's memory was verified, of the slowest thread) or "wrong".
 */
#include <pthread.h>
#include <stdatomic.h>

#include "pattern.h"

#define THREADS_MAX 64

struct verifier {
	pthread_t thread;
	struct pattern pattern;
	char *at;
	size_t bytes;
	unsigned long rounds;
	size_t wrong;
};

static atomic_bool stopping;
static bool discarding;

static bool discard(char *at)
{
	static const struct pattern zeros = {"zeros", 0};

	if (madvise(at, PAGE, MADV_DONTNEED))
		die("madvise");
	return pattern_holds_page(at, &zeros, 0);
}

/* A page now and then gets new contents, so that a stale copy would show. */
static void *verify(void *argument)
{
	struct verifier *v = argument;
	size_t pages = v->bytes / PAGE;
	uint64_t turn = v->pattern.seed, *versions = calloc(pages, sizeof(*versions));

	if (!versions)
		die("calloc");
	while (!atomic_load(&stopping)) {
		for (size_t i = 0; i < pages && !atomic_load(&stopping); i++) {
			struct pattern now = {v->pattern.kind, v->pattern.seed + versions[i]};

			v->wrong += !pattern_holds_page(v->at, &now, i);
			turn = mix(turn);
			if (turn % 16)
				continue;
			if (discarding)
				v->wrong += !discard(v->at + i * PAGE);
			now.seed = v->pattern.seed + ++versions[i];
			pattern_page((uint64_t *)(v->at + i * PAGE), &now, i);
		}
		v->rounds++;
	}
	free(versions);
	return NULL;
}

int main(int argc, char **argv)
{
	size_t count = argc > 2 ? strtoull(argv[1], NULL, 0) : 0, bytes = argc > 2 ? strtoull(argv[2], NULL, 0) : 0;
	static struct verifier verifiers[THREADS_MAX];
	unsigned long rounds = ~0UL;
	size_t wrong = 0;

	if (!count || count > THREADS_MAX || !bytes)
		return 2;
	discarding = argc > 3;
	for (size_t i = 0; i < count; i++) {
		struct verifier *v = &verifiers[i];

		v->pattern = (struct pattern){"mixed", i << 32};
		v->at = map_aligned(bytes);
		v->bytes = bytes;
		madvise(v->at, bytes, i % 2 ? MADV_NOHUGEPAGE : MADV_HUGEPAGE);
		pattern_fill(v->at, bytes, &v->pattern);
	}
	for (size_t i = 0; i < count; i++)
		if (pthread_create(&verifiers[i].thread, NULL, verify, &verifiers[i]))
			die("pthread_create");
	printf("ready %lx %lx\n", (unsigned long)verifiers[0].at, (unsigned long)verifiers[0].at + verifiers[0].bytes);
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
