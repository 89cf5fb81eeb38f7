/* SPDX-License-Identifier: MIT */
/* The pages of one cluster on their way back into one address space. Internal to the room. */
#pragma once

#include "index/index.h"
#include "pager/pager.h"
#include "swapin/filler.h"

/* The pages of one cluster that one thread is bringing into one space. */
struct claim {
	struct space *space;
	uint32_t number;
	uint64_t base;       /* address that page 0 has, or would have */
	unsigned int wanted; /* the page that was asked for */
	uint64_t pages;      /* mask of those claimed */
	uint64_t others;     /* of those that lie beside them and are out as well */
	bool asked_now;      /* a thread has just asked for it: nothing but a page can be there */
	uint8_t outcome[CLUSTER_PAGES_MAX];
	const unsigned char *data; /* whole pages by number, from the first one claimed on */
	int slot;                  /* pinned staging slot, or -1 */
};

static inline bool mask_has_bit(uint64_t mask, unsigned int i)
{
	return mask >> i & 1;
}

static inline unsigned int claim_first(const struct claim *claim)
{
	return (unsigned int)__builtin_ctzll(claim->pages);
}

enum claim_extent {
	CLAIM_PAGE,    /* the page that is asked for, no other */
	CLAIM_CLUSTER, /* with its neighbours of the same cluster that lie where they lay */
};

/*
 * Claims a page that is out. Returns 1 with a claim, 0 when there is nothing to do here, -EAGAIN when it is on its way
 * out.
 */
int claim_at(struct pager *pager, struct space *space, uint64_t address, enum claim_extent extent, struct claim *claim);

/*
 * Loads and places what is claimed. Returns the pages placed, or -EAGAIN when the one asked for was not, and is to be
 * asked for again.
 */
int bring(struct filler *filler, struct claim *claim);

/* Where its pages end. */
static inline uint64_t claim_end(const struct claim *claim)
{
	return claim->base + (64 - (unsigned int)__builtin_clzll(claim->pages)) * page_size();
}
