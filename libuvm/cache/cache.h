/* SPDX-License-Identifier: MIT */
/* A Cache, and what its parts share. */
#pragma once

#include "cache/cacheable.h"

enum cache_page_state {
	PAGE_ABSENT,
	PAGE_REQUESTED,
	PAGE_PRESENT,
	PAGE_FAILED, /* who touches it is told so, until it is filled or removed */
};

/* Waits for pages in order; the program has the other end. */
struct blocker {
	int fd;
	struct region left;
	LIST_ENTRY(blocker) of_cache;
};

/* What the thread of a cache has to ask for. It outlives the cache, and frees this. */
struct requester {
	struct uvm_cache *cache; /* NULL: end */
	pthread_cond_t wanted;
	struct region_vec queue;
};

struct uvm_cache {
	struct uvm_mappable mappable;
	struct uvm_cacheable *cacheable;
	uint8_t *state; /* a page each */
	char *alias;    /* all of it, watched: where pages are put in */
	uint64_t requested;
	uint64_t generation; /* counts the Cacheables it has had */
	struct requester *requester;
	pthread_cond_t changed;
	LIST_HEAD(, blocker) blockers;
	size_t blocker_count;
	size_t blockers_checked; /* from this number on it is looked which ones the program has closed */
};

/* All with the graph's lock held. */

/*
 * cache.c. A cache without a Cacheable; giving it one; and what its ops do. Returns 0, UVM_MEM_NO_MEMORY or
 * UVM_MEM_OPERATION_NOT_SUPPORTED.
 */
int cache_make(const struct mappable_ops *ops, struct uvm_cache **cache);
int cache_prepare(struct uvm_cache *cache, struct uvm_cacheable *cacheable);
void cache_free(struct uvm_mappable *mappable);
void cache_missing(struct uvm_mappable *mappable, uint64_t offset, uint64_t address);

/* request.c. Starts the thread. Returns 0 or UVM_MEM_NO_MEMORY. */
int requester_start(struct uvm_cache *cache);
void requester_stop(struct requester *requester);

/* Asks for the pages of a region that nobody has asked for. */
int requester_request(struct uvm_cache *cache, struct region region);

/* pages.c */

/*
 * Half-open, whole pages, inside a cache that has a Cacheable. Returns 0, UVM_MEM_INVALID_ARGUMENT,
 * UVM_MEM_INVALID_STATE.
 */
int cache_region(const struct uvm_cache *cache, struct uvm_region from, struct region *region);

/* Whether that page is there. */
bool cache_has(const struct uvm_mappable *mappable, uint64_t offset);

/* Of whole pages. A mapping that was told of a failure is made anew when the page is no longer failed. */
void cache_set_state(struct uvm_cache *cache, struct region region, enum cache_page_state state);

/* wait.c. Pages changed their state: threads that wait look again. */
void cache_notify(struct uvm_cache *cache);

/* Lets all blockers of a cache go: it is empty now. */
void cache_end_blockers(struct uvm_cache *cache);

/* fill.c. Adds the pages of a region that are not there, from a file. Returns 0, UVM_MEM_IO_ERROR or UVM_MEM_NO_MEMORY.
 */
int cache_complete(struct uvm_cache *cache, struct region region, int fd);

/* Marks the pages that are not there as failed. */
void cache_fail(struct uvm_cache *cache, struct region region);
