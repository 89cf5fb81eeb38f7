/* SPDX-License-Identifier: MIT */
/*
 * Memory with a hot and a cold half: hotcold BYTES. A thread verifies the hot half, the first one, over and over, and
 * gives its pages new contents now and then. Prints "ready START MIDDLE END", then obeys commands on standard input, a
 * line each, and answers "ok ROUNDS" (how often the hot half was verified in all) or "wrong".
 *
 *	rounds	nothing else
 *	check	verify the cold half, which is touched by nothing but this
 *	stop	the same, and end
 */
#include <pthread.h>
#include <stdatomic.h>

#include "pattern.h"

struct halves {
	struct pattern pattern;
	char *at;
	size_t bytes; /* of each */
	_Atomic unsigned long rounds;
	_Atomic size_t wrong;
	atomic_bool stopping;
};

static void *be_hot(void *argument)
{
	struct halves *h = argument;
	struct pattern now = h->pattern;

	while (!atomic_load(&h->stopping)) {
		h->wrong += pattern_wrong(h->at, h->bytes, &now);
		if (++h->rounds % 16)
			continue;
		now.seed++;
		pattern_fill(h->at, h->bytes, &now);
	}
	return NULL;
}

static bool obey(struct halves *h, const char *command)
{
	size_t wrong = strcmp(command, "rounds\n") ? pattern_wrong(h->at + h->bytes, h->bytes, &h->pattern) : 0;

	wrong += h->wrong;
	if (wrong)
		printf("wrong\n");
	else
		printf("ok %lu\n", h->rounds);
	return strcmp(command, "stop\n") != 0;
}

int main(int argc, char **argv)
{
	static struct halves h = {.pattern = {"text", 7}};
	char line[64];
	pthread_t hot;

	h.bytes = argc > 1 ? strtoull(argv[1], NULL, 0) / 2 : 0;
	if (!h.bytes || h.bytes % SUPERPAGE)
		return 2;
	setvbuf(stdout, NULL, _IOLBF, 0);
	h.at = map_aligned(2 * h.bytes);
	pattern_fill(h.at, h.bytes, &h.pattern);
	pattern_fill(h.at + h.bytes, h.bytes, &h.pattern);
	if (pthread_create(&hot, NULL, be_hot, &h))
		die("pthread_create");
	printf("ready %lx %lx %lx\n", (unsigned long)h.at, (unsigned long)(h.at + h.bytes),
	       (unsigned long)(h.at + 2 * h.bytes));
	while (fgets(line, sizeof(line), stdin) && obey(&h, line))
		;
	atomic_store(&h.stopping, true);
	pthread_join(hot, NULL);
	return h.wrong ? 1 : 0;
}
