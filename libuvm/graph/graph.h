/* SPDX-License-Identifier: MIT */
/*
 * What address spaces consist of. Everything here is guarded by one lock, the graph's; its holder never touches
 * memory that a space shows, and never runs code of the program that uses the library. Functions that return an int
 * return 0 or one of the negative UVM_MEM_ values.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include <uvm/space.h>

#include "base/region.h"

#define ALL_ACCESS (UVM_ACCESS_READ | UVM_ACCESS_WRITE | UVM_ACCESS_EXEC)
#define KEPT_FLAGS (UVM_MAP_ACCESS_MASK | UVM_MAP_OVERMAP_MASK) /* of those that a mapping is made with */

enum kind {
	KIND_MEMORY,
	KIND_FILE,
	KIND_CACHE,
	KIND_SHADOW,
	KIND_SPACE,
};

/* What objects of a kind do in their own way. */
struct mappable_ops {
	/* Ends an object that nothing uses any more. */
	void (*free)(struct uvm_mappable *mappable);

	/* Whether it can be mapped now. NULL: always. */
	bool (*usable)(const struct uvm_mappable *mappable);

	/*
	 * Of a leaf whose pages can be missing, otherwise NULL: whether that page is there, and will not have to be
	 * asked for; asks for a page that was touched at `address`, or lets who waits for it go on.
	 */
	bool (*has)(const struct uvm_mappable *mappable, uint64_t offset);
	void (*missing)(struct uvm_mappable *mappable, uint64_t offset, uint64_t address);

	/*
	 * Of a file, otherwise NULL: what shows its contents page by page as they are touched, and can be watched, with
	 * a reference; NULL when that cannot be had. And told before the file can be written to: what was given out
	 * shows what the file held before. Returns 0 or an error, when it may not be.
	 */
	struct uvm_mappable *(*mirror)(struct uvm_mappable *file);
	int (*begin_writing)(struct uvm_mappable *file);

	/* Of a space: serves a fault in its window. With `write` the page is there, and may not be written to. */
	void (*fault)(struct uvm_space *space, struct region page, bool write);
};

/* The first member of everything that can be mapped. All but spaces are leaves: they have a descriptor to map. */
struct uvm_mappable {
	enum kind kind;
	const struct mappable_ops *ops;
	atomic_uint references;
	int fd;
	uint64_t base; /* where in the descriptor's file it begins */
	bool shmem;    /* faults on it can be watched */
	bool paranoid; /* wiped before it goes */
	unsigned int access;
	uint64_t bytes;                 /* whole pages */
	void *pin;                      /* of locked memory */
	struct uvm_mappable *mirror;    /* of a file, borrowed: there as long as it is used */
	struct uvm_mappable *mirror_of; /* of a mirror: the file */
	unsigned int users;             /* shadows that copy from it */
	struct region_vec shown;        /* of a mirror: what has been shown, or may be */
	bool written;                   /* the file can have been written to */
	LIST_HEAD(, space_mapping) above;
	LIST_HEAD(, backing) frozen_for;
};

struct space_mapping {
	struct uvm_space *space;
	struct region at;
	struct uvm_mappable *mappable;
	uint64_t offset;
	unsigned int flags; /* KEPT_FLAGS */
	struct shadow *shadow;
	uint64_t shadow_offset;
	LIST_ENTRY(space_mapping) above; /* of the mappable, unless a snapshot cut it off */
	LIST_ENTRY(space_mapping) owner; /* of the shadow */
};

/*
 * A part of what a snapshot showed when it was made. The leaf's pages are copied to the shadow before they are
 * written to.
 */
struct backing {
	struct shadow *shadow;
	struct region at; /* in the shadow */
	struct uvm_mappable *leaf;
	uint64_t offset;
	unsigned int access;
	bool linked; /* its pages are the leaf's until they are copied; otherwise they were copied at once */
	LIST_ENTRY(backing) of_leaf;
};

/* Of a page of a shadow. */
enum copy_state {
	COPY_NONE,
	COPY_MADE,
	COPY_SETTLING, /* made, but not yet shown everywhere: nobody writes to it */
};

/* Where a copy-on-write mapping has its copies. */
struct shadow {
	struct uvm_mappable leaf;
	struct shadow_file *file;
	uint8_t *copied;    /* a copy_state of each page */
	unsigned int parts; /* into which copying page by page has cut it */
	LIST_ENTRY(shadow) all;
	bool snapshot;
	struct uvm_mappable **mirrors; /* shown instead of their files; not of a snapshot */
	size_t mirror_count, mirror_capacity;
	struct backing *backing; /* in order; of a snapshot */
	size_t backing_count;
	LIST_HEAD(, space_mapping) owners;
};

struct uvm_space {
	struct uvm_mappable mappable;
	struct region window;         /* empty: stacked */
	struct space_mapping **table; /* in order */
	size_t count;
	size_t capacity;
	uint64_t searched; /* the last search that came here */
	LIST_ENTRY(uvm_space) watched;
};

/* Run when the lock is let go of, without it: what runs the program's code. */
struct deferred {
	void (*run)(struct deferred *deferred);
	SLIST_ENTRY(deferred) next;
};

extern pthread_mutex_t graph_mutex;

/* Not recursive. Its holder cannot be cancelled: close(2) and others are points where a thread can. */
void graph_lock(void);

/* Then runs what was deferred. */
void graph_unlock(void);

/* The lock is held to the end of the block. */
#define GRAPH_LOCKED __attribute__((cleanup(graph_leave), unused)) int graph_held = graph_enter()

static inline int graph_enter(void)
{
	graph_lock();
	return 0;
}

static inline void graph_leave(int *held)
{
	(void)held;
	graph_unlock();
}

/* Waits on a condition with the lock, which a thread that is cancelled there lets go of. */
void graph_wait(pthread_cond_t *changed);

/* The last one that was handed over runs first. */
void graph_defer(struct deferred *deferred);

/* Takes back a reference while the lock is held. */
void mappable_put(struct uvm_mappable *mappable);
