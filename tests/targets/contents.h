/* SPDX-License-Identifier: MIT */
/*
 * Memory with known contents, of which every page holds its part of the pattern, zeros, or nothing: what the victims of
 * commands are made of.
 */
#pragma once

#include <sys/uio.h>
#include <unistd.h>

#include "pattern.h"

enum state {
	FILLED,
	ZEROS,
	GUARDED, /* MADV_GUARD_INSTALL: whoever touches it gets SIGSEGV */
	ABSENT
};

struct contents {
	struct pattern pattern;
	char *at;
	size_t bytes;
	unsigned char *states; /* of every page */
	char *more;            /* allocated on command */
	size_t more_bytes;
};

/* The kernel touches it in our place, and answers EFAULT where we would get SIGSEGV. */
static inline bool can_be_read(char *at)
{
	char byte;

	return process_vm_readv(getpid(), &(struct iovec){&byte, 1}, 1, &(struct iovec){at, 1}, 1, 0) == 1;
}

static inline bool is_wrong(const struct contents *c, size_t page)
{
	static const struct pattern zeros = {"zeros", 0};

	switch (c->states[page]) {
	case ABSENT:
		return false;
	case GUARDED:
		return can_be_read(c->at + page * PAGE);
	default:
		return !pattern_holds_page(c->at, c->states[page] == ZEROS ? &zeros : &c->pattern, page);
	}
}

static inline size_t wrong_pages(const struct contents *c)
{
	size_t wrong = 0;

	for (size_t i = 0; i < c->bytes / PAGE; i++)
		wrong += is_wrong(c, i);
	return wrong + (c->more ? pattern_wrong(c->more, c->more_bytes, &c->pattern) : 0);
}

/* Gives all that is mapped the contents of another seed. */
static inline void rewrite(struct contents *c, uint64_t seed)
{
	c->pattern.seed = seed;
	for (size_t i = 0; i < c->bytes / PAGE; i++) {
		if (c->states[i] == ABSENT || c->states[i] == GUARDED)
			continue;
		pattern_page((uint64_t *)(c->at + i * PAGE), &c->pattern, i);
		c->states[i] = FILLED;
	}
	if (c->more)
		pattern_fill(c->more, c->more_bytes, &c->pattern);
}

static inline void change(struct contents *c, size_t from, size_t to, enum state state)
{
	char *at = c->at + from;

	if (state == ZEROS && c->states[from / PAGE] == FILLED && madvise(at, to - from, MADV_DONTNEED))
		die("madvise");
	if (state == ZEROS && c->states[from / PAGE] == ABSENT &&
	    mmap(at, to - from, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != at)
		die("mmap");
	if (state == ABSENT && munmap(at, to - from))
		die("munmap");
	memset(c->states + from / PAGE, state, (to - from) / PAGE);
}

static inline void allocate(struct contents *c, size_t bytes)
{
	c->more = map_aligned(bytes);
	c->more_bytes = bytes;
	pattern_fill(c->more, bytes, &c->pattern);
}

/* From the arguments PATTERN BYTES [huge]; prints "ready START END". Wrong ones end the program. */
static inline struct contents contents_start(int argc, char **argv)
{
	static char in[256], out[256];
	struct contents c = {.pattern = {.kind = argc > 2 ? argv[1] : "", .seed = 1}};

	c.bytes = argc > 2 ? strtoull(argv[2], NULL, 0) : 0;
	if (!pattern_known(c.pattern.kind) || !c.bytes || c.bytes % (4 * PAGE))
		exit(2);
	/* Buffers of its own, so that talking changes no mapping. */
	setvbuf(stdin, in, _IOLBF, sizeof(in));
	setvbuf(stdout, out, _IOLBF, sizeof(out));
	c.at = map_aligned(c.bytes);
	c.states = calloc(c.bytes / PAGE, 1);
	if (!c.states || madvise(c.at, c.bytes, argc > 3 ? MADV_HUGEPAGE : MADV_NOHUGEPAGE))
		die("memory");
	pattern_fill(c.at, c.bytes, &c.pattern);
	printf("ready %lx %lx\n", (unsigned long)c.at, (unsigned long)(c.at + c.bytes));
	return c;
}
