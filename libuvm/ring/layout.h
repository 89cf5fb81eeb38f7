/* SPDX-License-Identifier: MIT */
/*
 * What program and reclaimers share: the contents of the ring's memfd. Fixed sizes, no pointers: two versions of this
 * project may meet in one ring. Nothing in it may be trusted by a reclaimer in another process.
 */
#pragma once

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#define RING_NAME    "uvm-reclaim-ring" /* memfd:uvm-reclaim-ring; sealed against shrinking and growing */
#define RING_MAGIC   UINT64_C(0x676e69725f6d7675)
#define RING_VERSION 1
#define RING_ENTRIES 4096                  /* where in the memfd entries begin */
#define RING_MAX     (UINT32_C(1) << 20)   /* capacity at most: 16 MiB of entries */
#define RING_BATCH   16                    /* entries claimed at once at most */
#define RING_PERIOD  UINT64_C(10000000000) /* of sampling at first, ns */

enum ring_level {
	RING_NORMAL,
	RING_WARNING,
	RING_CRITICAL
};

/* All zeros: a hole, cancelled and free for another region. */
struct ring_entry {
	_Atomic uint64_t address;
	_Atomic uint32_t size;
	_Atomic uint32_t action;
};

/* Stays as the program made it. */
struct ring_fixed {
	uint64_t magic;
	uint32_t version;
	uint32_t max_capacity;
	uint64_t address; /* where the program has it mapped */
	uint64_t bytes;   /* size of the memfd */
};

/* Since the ring was made. */
struct ring_reclaimed {
	_Atomic uint64_t entries; /* R */
	_Atomic uint64_t bytes;   /* R */
	_Atomic uint64_t failed;  /* R; of these entries, where the kernel refused */
};

/*
 * Ids run freely; the place of an id is id modulo capacity. Below head: reclaimed. From head up to busy: being
 * reclaimed. From busy up to tail: waiting (or holes). The program writes only what is marked P, the holder of the
 * reclaimers' lock (an open file description lock, fcntl(2), on the memfd's first byte) only R.
 */
struct ring_shared { // NOLINT(clang-analyzer-optin.performance.Padding): a cache line each
	struct ring_fixed fixed;
	_Atomic uint32_t capacity; /* P with the reclaimers' lock, while the ring is empty */
	_Atomic uint32_t wanted;   /* capacity that is asked for from outside, which the next entry brings; 0: none */
	_Atomic uint32_t pid;      /* P; of getpid(2): a child may inherit the mapping for a moment */

	_Alignas(64) _Atomic uint64_t head; /* R */

	_Alignas(64) _Atomic uint64_t busy; /* R */
	_Atomic uint64_t unmapping;         /* R; ids below it may have been unmapped already: never unmap twice */

	_Alignas(64) _Atomic uint64_t tail; /* P */
	_Atomic uint64_t bytes_in;          /* P; entered minus cancelled since the ring was made */
	_Atomic uint64_t entries_in;        /* P; the same in entries */
	_Atomic uint64_t minimum;           /* P, and R when it takes a sample; least bytes in the ring since then */

	_Alignas(64) struct ring_reclaimed reclaimed;
	_Atomic uint64_t samples;       /* R */
	_Atomic uint64_t sampled_ns;    /* R; CLOCK_MONOTONIC */
	_Atomic uint64_t period_ns;     /* R; after which the program is to report */
	_Atomic uint64_t weighted;      /* R; the weighted minimum */
	_Atomic uint64_t trimmed_bytes; /* R */
	_Atomic uint32_t level;         /* R; enum ring_level */
	/*
	 * R; where a reclaimer outside makes threads of the program stand for its system calls, while it holds the
	 * lock. Not 0 under anybody else's lock: that one was killed, and a thread may make such a call yet. What it
	 * had claimed is then redone only by who can see to that.
	 */
	_Atomic uint64_t caller;
};

static inline struct ring_entry *ring_entries_of(struct ring_shared *shared)
{
	return (struct ring_entry *)((char *)shared + RING_ENTRIES);
}

_Static_assert(sizeof(struct ring_entry) == 16, "part of the format");
_Static_assert(sizeof(struct ring_shared) <= RING_ENTRIES, "the header is a page");
_Static_assert(sizeof(struct ring_fixed) == 32 && sizeof(struct ring_reclaimed) == 24, "part of the format");
_Static_assert(offsetof(struct ring_shared, capacity) == 32 && offsetof(struct ring_shared, pid) == 40 &&
		       offsetof(struct ring_shared, head) == 64 && offsetof(struct ring_shared, busy) == 128 &&
		       offsetof(struct ring_shared, unmapping) == 136 && offsetof(struct ring_shared, tail) == 192 &&
		       offsetof(struct ring_shared, minimum) == 216 && offsetof(struct ring_shared, reclaimed) == 256 &&
		       offsetof(struct ring_shared, samples) == 280 && offsetof(struct ring_shared, level) == 320 &&
		       offsetof(struct ring_shared, caller) == 328,
	       "part of the format");
