/* SPDX-License-Identifier: MIT */
/*
 * What address spaces consist of. Everything here is guarded by one lock, the graph's; whoever holds it never touches
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
	 * Of a leaf whose pages can be missing: whether that page is there, and will not have to be asked for; asks for
	 * one that was touched at `address`, or lets who waits there go on. NULL: all are there.
	 */
	bool (*has)(const struct uvm_mappable *mappable, uint64_t offset);
	void (*missing)(struct uvm_mappable *mappable, uint64_t offset, uint64_t address);

	/* Of a space: serves a fault in its window, on a page that is not there or, with `write`, may not be written
	 * to. */
	void (*fault)(struct uvm_space *space, struct region page, bool write);
};

/* The first member of everything that can be mapped. All but spaces are leaves: they have a descriptor to map. */
struct uvm_mappable {
	enum kind kind;
	const struct mappable_ops *ops;
	atomic_uint references;
	int fd;
	bool shmem;    /* faults on it can be watched */
	bool paranoid; /* wiped before it goes */
	unsigned int access;
	uint64_t bytes; /* whole pages */
	void *pin;      /* of locked memory */
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
 * A part of what a snapshot showed when it was made. The leaf's pages are copied to the shadow before somebody writes
 * to them.
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
	uint8_t *copied;    /* a copy_state of each page */
	unsigned int parts; /* into which copying page by page has cut it */
	LIST_ENTRY(shadow) all;
	bool snapshot;
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

/* What a range of addresses shows in the end: a leaf, with the rights that all levels leave. */
struct segment {
	struct region at;
	struct uvm_mappable *leaf;
	uint64_t offset;
	unsigned int access;
	bool watched; /* a write has to be seen first */
	void *aside;  /* made for it, not yet in its place */
};

struct segment_vec {
	struct segment *items;
	size_t count;
	size_t capacity;
};

struct deferred {
	void (*run)(struct deferred *deferred);
	SLIST_ENTRY(deferred) next;
};

/* graph.c */

extern pthread_mutex_t graph_mutex;

void graph_lock(void);

/* Then runs what was deferred. */
void graph_unlock(void);

/*
 * Has something run when the lock is let go of, without it: what runs the program's code. The last one that was handed
 * over goes first.
 */
void graph_defer(struct deferred *deferred);

/* Takes back a reference while the lock is held. */
void mappable_put(struct uvm_mappable *mappable);

/* mappable.c */

void mappable_init(struct uvm_mappable *mappable, enum kind kind, const struct mappable_ops *ops, uint64_t bytes);

/* Gives a leaf a memfd of its size. */
int mappable_make_memfd(struct uvm_mappable *mappable, const char *name);

/* Closes what a leaf holds. */
void mappable_fini(struct uvm_mappable *mappable);

/* Whether writes to the leaf can be caught. */
bool mappable_watchable(const struct uvm_mappable *mappable);

/* What the ops say; see there. */
bool mappable_has(const struct uvm_mappable *mappable, uint64_t offset);
bool mappable_usable(const struct uvm_mappable *mappable);

/* table.c: the translations of a space */

size_t table_index(const struct uvm_space *space, uint64_t address); /* of the first mapping that ends behind it */
struct space_mapping *table_find(const struct uvm_space *space, uint64_t address);

/* Cuts mappings in two where the region begins and ends, and makes room for one more. */
int table_cut(struct uvm_space *space, struct region region);

/*
 * Puts `mapping` (NULL: nothing) in place of all that lies in the region, which was cut. The old ones are handed to
 * *old, which has room for them.
 */
void table_swap(struct uvm_space *space, struct region region, struct space_mapping *mapping,
		struct space_mapping **old);

/* Where nothing is. */
int table_insert(struct uvm_space *space, struct space_mapping *mapping);

struct space_mapping *mapping_new(struct uvm_space *space, struct region at, struct uvm_mappable *mappable,
				  uint64_t offset, unsigned int flags);
void mapping_link(struct space_mapping *mapping);
void mapping_unlink(struct space_mapping *mapping);
void mapping_free(struct space_mapping *mapping);

/* resolve.c: downwards, from an address to leaves */

/* How somebody above looks at a range of a mappable. */
struct view {
	struct region range;
	uint64_t to; /* the address that range.start has there */
	unsigned int access;
	bool copies; /* writes go to a copy above: down here only reading counts */
};

int resolve(struct uvm_mappable *mappable, struct view view, struct segment_vec *out);

/* The same below one mapping, whose own rights do not count. */
int resolve_mapping(struct space_mapping *mapping, struct view view, struct segment_vec *out);

/* Below its copies, too: what it would show if nothing had been copied. */
int resolve_source(struct space_mapping *mapping, struct view view, struct segment_vec *out);
void segments_free(struct segment_vec *vec);

/* Whether that page of the leaf must not be written to: a snapshot still shows it, or it settles. */
bool leaf_frozen(const struct uvm_mappable *leaf, uint64_t offset);

#define _cleanup_segments_ __attribute__((cleanup(segments_free)))

/* views.c: upwards, from a mappable to the windows that show it */

typedef int (*view_action)(struct uvm_space *space, struct region region);

/*
 * Does something to every part of a window that shows a part of the range, or would if nothing were copied. Goes on
 * after an error; returns the first.
 */
int views_of(struct uvm_mappable *mappable, struct region range, view_action action);
int views_of_shadow(struct shadow *shadow, struct region range, view_action action);

/* The same for the space itself, if it has a window, and all above it. */
int views_show(struct uvm_space *space, struct region region, view_action action);

/* window.c: real mappings */

int window_reserve(struct uvm_space *space, uint64_t bytes);
void window_release(struct uvm_space *space);

/*
 * Actions of views. The first three map what the space says now; when that fails, window_try leaves what was there and
 * the others take it out of reach. All but window_remap let those who wait for a fault try again.
 */
int window_try(struct uvm_space *space, struct region region);
int window_show(struct uvm_space *space, struct region region);
int window_remap(struct uvm_space *space, struct region region);

/* Takes it out of reach. */
int window_hide(struct uvm_space *space, struct region region);

/* Lets a page that is shown already be written to. */
int window_permit(struct uvm_space *space, struct region region);

/* Lets those who wait try again, and no more. */
int window_wake(struct uvm_space *space, struct region region);

/* shadow_copy.c */

/*
 * Copies pages of a leaf to an offset of the shadow, where there is no copy yet. Those that the leaf does not have
 * (beyond the end of a file, not yet in a cache) are not copied.
 */
int shadow_copy(struct shadow *shadow, uint64_t to, struct uvm_mappable *leaf, uint64_t from, uint64_t bytes,
		enum copy_state state);
int shadow_copy_segment(struct shadow *shadow, uint64_t to, const struct segment *segment, enum copy_state state);

/* Copies the parts that could not be watched: they have to be copied before somebody can write. */
int shadow_copy_unwatchable(struct space_mapping *mapping, struct region region);

/* shadow.c */

/* Makes a mapping that is not linked copy on write: of what lies below it from now on. */
int shadow_attach(struct space_mapping *mapping);

/*
 * The same of what a mapping of that size (itself, or another one) shows now, which later changes below do not reach.
 */
int shadow_attach_snapshot(struct space_mapping *mapping, struct space_mapping *of);

/* Protects what a snapshot froze against writers. */
int shadow_freeze(struct shadow *shadow);

/* Frees the shadow of a mapping that is not to be after all, and lifts that protection. */
void shadow_discard(struct shadow *shadow);

/* Copies a page, which then is shown everywhere. */
int shadow_copy_page(struct space_mapping *mapping, uint64_t offset);

/* Keeps a frozen page for all snapshots that show it. */
int leaf_thaw(struct uvm_mappable *leaf, uint64_t offset);

/* fault.c: a fault in the window of a space, as its ops have it */
void space_fault(struct uvm_space *space, struct region page, bool write);

/* watch.c: the userfaultfd, and the threads that serve it */

/* Starts it the first time. Returns 0 or UVM_MEM_OPERATION_NOT_SUPPORTED. The graph's lock is held. */
int watch_start(void);

/* The descriptor, or -1. */
int watch_fd(void);

/* Whether writes to shared memory can be caught, and whether pages can be poisoned. */
bool watch_catches_writes(void);
bool watch_poisons(void);

/* From now on, or no longer, faults in the window of a space are its own to serve. The graph's lock is held. */
void watch_add_window(struct uvm_space *space);
void watch_remove_window(struct uvm_space *space);

/* A thread of the library: detached, all signals blocked. */
int watch_thread(void *(*run)(void *), void *argument);
