/* SPDX-License-Identifier: MIT */
/*
 * Memory whose every byte can be told from its place: what the victims fill and verify. Plain C without the project's
 * library.
 */
#pragma once

#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>

#define PAGE      ((size_t)4096) /* what a pattern repeats in; the kernel's pages may be larger */
#define MEBIBYTE  ((size_t)1 << 20)
#define SUPERPAGE (2 * MEBIBYTE)

/* What a stretch of memory holds: "random", "text", "zeros", "word" or "mixed" (each of them in turn), and a seed. */
struct pattern {
	const char *kind;
	uint64_t seed;
};

static inline void die(const char *what)
{
	perror(what);
	exit(1);
}

static inline uint64_t mix(uint64_t x)
{
	x += UINT64_C(0x9e3779b97f4a7c15);
	x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
	return x ^ (x >> 31);
}

static inline void pattern_text(char *page, uint64_t seed)
{
	static const char *const words[] = {"the ",     "memory ", "of ",      "a ",    "process ", "leaves ",
					    "and ",     "comes ",  "back, ",   "byte ", "by ",      "page ",
					    "without ", "being ",  "missed. ", "whole "};
	size_t at = 0;

	while (at < PAGE) {
		const char *word = words[(seed = mix(seed)) % 16];
		size_t length = strlen(word);

		length = length < PAGE - at ? length : PAGE - at;
		memcpy(page + at, word, length);
		at += length;
	}
}

/* The contents of page number `number` of a pattern. */
static inline void pattern_page(uint64_t *page, const struct pattern *pattern, uint64_t number)
{
	static const char *const kinds[] = {"random", "text", "zeros", "word"};
	uint64_t seed = mix(pattern->seed ^ mix(number));
	const char *kind = strcmp(pattern->kind, "mixed") ? pattern->kind : kinds[seed % 4];

	if (!strcmp(kind, "text")) {
		pattern_text((char *)page, seed);
		return;
	}
	for (size_t i = 0; i < PAGE / sizeof(*page); i++)
		page[i] = !strcmp(kind, "random") ? mix(seed + i) : !strcmp(kind, "word") ? seed | 1 : 0;
}

static inline void pattern_fill(void *at, size_t bytes, const struct pattern *pattern)
{
	for (size_t i = 0; i < bytes / PAGE; i++)
		pattern_page((uint64_t *)((char *)at + i * PAGE), pattern, i);
}

static inline bool pattern_holds_page(const void *at, const struct pattern *pattern, uint64_t number)
{
	uint64_t page[PAGE / sizeof(uint64_t)];

	pattern_page(page, pattern, number);
	return memcmp((const char *)at + number * PAGE, page, PAGE) == 0;
}

/* The number of pages that are not what they should be; tells the first on standard error. */
static inline size_t pattern_wrong(const void *at, size_t bytes, const struct pattern *pattern)
{
	size_t wrong = 0;

	for (size_t i = 0; i < bytes / PAGE; i++) {
		if (pattern_holds_page(at, pattern, i))
			continue;
		if (!wrong++)
			dprintf(2, "wrong page at %p\n", (void *)((uintptr_t)at + i * PAGE));
	}
	return wrong;
}

/*
 * Runs a function in a child that borrows all memory, as vfork(2) does it, and waits for its end. Returns its wait
 * status.
 */
static inline int borrow_memory(int (*run)(void *argument), void *argument)
{
	static _Alignas(16) char stack[64 * 1024];
	pid_t child = clone(run, stack + sizeof(stack), CLONE_VM | CLONE_VFORK | SIGCHLD, argument);
	int status = 0;

	if (child < 0 || waitpid(child, &status, 0) != child)
		die("clone");
	return status;
}

static inline bool pattern_known(const char *kind)
{
	static const char *const kinds[] = {"random", "text", "zeros", "word", "mixed"};

	for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++)
		if (!strcmp(kind, kinds[i]))
			return true;
	return false;
}

/*
 * Private memory aligned to a superpage, with an unmapped superpage on both sides so that no neighbour joins the
 * mapping.
 */
static inline void *map_aligned(size_t bytes)
{
	char *hole = mmap(NULL, bytes + 3 * SUPERPAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	char *at = hole + 2 * SUPERPAGE - (uintptr_t)hole % SUPERPAGE;

	if (hole == MAP_FAILED ||
	    mmap(at, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED)
		die("mmap");
	if (munmap(hole, (size_t)(at - hole)) ||
	    munmap(at + bytes, (size_t)(hole + bytes + 3 * SUPERPAGE - at - bytes)))
		die("munmap");
	return at;
}
