/* SPDX-License-Identifier: MIT */
/*
 * What a fault does for its page, without the kernel's part of it: page CODEC plain|sealed PAGES writes records of 16
 * pages of text into a store in memory, then reads PAGES of them, each alone and in no order. Prints JSON. read_pages
 * is the function to be counted by callgrind.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/size.h"
#include "store/seal.h"
#include "store/store.h"

#define RECORDS 64
#define UNITS   16

struct bench {
	struct store *store;
	struct store_scratch *scratch;
	struct store_slot slots[RECORDS];
	unsigned char *data;
	uint64_t random;
};

static uint64_t next_random(uint64_t *random)
{
	*random ^= *random << 13;
	*random ^= *random >> 7;
	*random ^= *random << 17;
	return *random;
}

/* Lines as programs have them: names that repeat, numbers that do not. */
static void write_text(struct bench *b)
{
	for (size_t at = 0; at < UNITS * page_size(); at += 64) {
		char line[65];

		snprintf(line, sizeof(line), "{\"id\":%016" PRIx64 ",\"name\":\"user-%08" PRIx64 "\",\"active\":true} ",
			 next_random(&b->random), next_random(&b->random) & 0xffffffff);
		memcpy(b->data + at, line, 64);
	}
}

static int open_bench(struct bench *b, const char *codec, bool sealed)
{
	struct codec_choice choice;
	struct seal *seal;

	b->random = UINT64_C(0x9e3779b97f4a7c15);
	b->data = aligned_alloc(page_size(), UNITS * page_size());
	if (!b->data || codec_parse(codec, &choice) ||
	    store_open(&b->store, memfd_create("page", MFD_CLOEXEC), 0, choice) ||
	    store_scratch_new(b->store, &b->scratch, UNITS * page_size()))
		return -1;
	if (sealed && seal_open(&seal, seal_new()))
		return -1;
	if (sealed)
		store_set_seal(b->store, seal);
	for (uint64_t i = 0; i < RECORDS; i++) {
		write_text(b);
		if (store_write(b->store, b->scratch, b->data, UNITS * page_size(), i, &b->slots[i]))
			return -1;
	}
	return 0;
}

__attribute__((noinline)) static int read_pages(struct bench *b, uint64_t pages)
{
	for (uint64_t i = 0; i < pages; i++) {
		uint64_t which = next_random(&b->random), bad;
		uint64_t record = which / UNITS % RECORDS;

		if (store_read_units(b->store, b->scratch, &b->slots[record], record, UINT64_C(1) << which % UNITS,
				     b->data, &bad))
			return -1;
	}
	return 0;
}

/* Of processor, by this thread. */
static uint64_t used_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

int main(int argc, char **argv)
{
	uint64_t pages = argc == 4 ? strtoull(argv[3], NULL, 10) : 0, started;
	static struct bench b;

	if (!pages || open_bench(&b, argv[1], strcmp(argv[2], "sealed") == 0) || read_pages(&b, RECORDS)) {
		fprintf(stderr, "usage: page CODEC plain|sealed PAGES\n");
		return 2;
	}
	started = used_ns();
	if (read_pages(&b, pages))
		return 1;
	printf("{\"pages\":%" PRIu64 ",\"warmed\":%d,\"ns\":%" PRIu64 ",\"stored_bytes\":%u}\n", pages, RECORDS,
	       used_ns() - started, b.slots[0].length / UNITS);
	return 0;
}
