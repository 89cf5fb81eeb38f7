/* SPDX-License-Identifier: MIT */
/* The index of a session: which page of which address space is where. It lives in a file and outlives the worker. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/region.h"
#include "index/record.h"
#include "store/store.h"

/*
 * A page that is out has an entry: "my contents are page `sub` of cluster `id`". A page without an entry is resident or
 * was never there; a missing fault on it is answered with zeros. The state of a page is that of its cluster:
 *
 *	resident --> moving --> staged --> stored --> filling --> resident
 *	(no entry)                 \________________/^               |
 *	     ^--------------- dropped: the target discarded it <-----'
 *
 * Only pages without an entry are moved, and a thread that places a page holds its entry's `filling` mark: so no two
 * parties ever work on one page. Nothing here locks or checks liveness: the caller holds the pager's lock.
 */

#define CLUSTER_PAGES_MAX  64
#define INDEX_SPACES_FIRST 16

enum cluster_state {
	CLUSTER_FREE,
	CLUSTER_MOVING, /* UFFDIO_MOVE may or may not have happened; `staging` says where to */
	CLUSTER_STAGED, /* in the staging area, and in the worker's copy of it */
	CLUSTER_STORED, /* in the store, or nowhere when every page is a zero page, a repeated word or a hole */
};

/*
 * A record lies in the store or, with this bit in its slot's offset, in the pool. Part of the offset, so that one store
 * of eight bytes moves it: a worker that is killed leaves the one or the other behind.
 */
#define SLOT_POOL (UINT64_C(1) << 63)

/* And with this one, it is not to be made denser: it has been, or would not become much smaller. */
#define SLOT_DENSE (UINT64_C(1) << 62)

/* struct store_slot without what index_units has: where a cluster's record lies. */
struct cluster_slot {
	uint64_t offset, number;
	uint32_t length, size;
};

/* Pages that left together and lie together in the store. Masks: bit i is page i. */
struct cluster {
	uint32_t refs;       /* entries that point here, over all address spaces */
	uint32_t generation; /* how often this number was given out; part of the record's tag */
	uint16_t pins;       /* threads that use it without an entry */
	uint8_t state;       /* enum cluster_state */
	uint8_t pages;
	uint32_t staged_ds; /* when its record was made: CLOCK_MONOTONIC, tenths of a second, rounded up */
	uint64_t holes;     /* were not populated: nothing to bring back */
	uint64_t zeros;     /* all zero bytes */
	uint64_t filled;    /* one repeated word, in index_fill */
	uint64_t lost;      /* could not be read: a thread that touches it gets SIGBUS */
	/*
	 * STORED; length 0: no record. Holds the pages in no mask above, in order. SLOT_POOL in its offset: it is in
	 * the pool.
	 */
	struct cluster_slot slot;
	/*
	 * MOVING, STAGED. Beside the slot, not in its place: a worker that takes over from one that wrote half of it
	 * needs them.
	 */
	uint64_t staging; /* address in the target's staging area */
	uint64_t source;  /* where its first page was when it was marked */
};

#define UNFORKED_MAX 4096

struct index_header {
	char magic[8];
	uint32_t version;
	uint32_t cluster_pages;
	struct session_record session;
	uint64_t tables; /* page tables ever used */
	uint64_t clusters;
	uint64_t next_generation;
	struct {
		uint32_t cluster; /* whose record is exchanged for this one now; 0: none */
		struct store_slot slot;
	} exchange;
	/*
	 * What follows has room in the file as far as it was needed: so many spaces, and the list when there was one.
	 * The rest is not to be touched: where the file has a hole, reading fills it.
	 */
	uint32_t spaces_there, unforked_there;
	struct {
		uint32_t used;
		int32_t number; /* of its descriptor in the target, which holds it for us; 0: not there */
		struct index_pending pending;
		uint64_t stored_as;           /* number of its descriptor with the supervisor; 0 for the target's own */
		struct region left_to_kernel; /* all pages that are unregistered for a while lie in it */
	} spaces[INDEX_SPACES];
	struct region unforked[UNFORKED_MAX];
};

/* Number of a cluster, which is never 0, page in it, mark: there is one for each page that is out. */
typedef uint32_t index_entry;

#define ENTRY_NONE         UINT32_C(0)
#define ENTRY_FILLING      UINT32_C(1)
#define ENTRY_SUB_BITS     6
#define ENTRY_CLUSTER_BITS 25

static inline uint32_t entry_cluster(index_entry e)
{
	return e >> (1 + ENTRY_SUB_BITS);
}

static inline unsigned int entry_sub(index_entry e)
{
	return e >> 1 & ((1U << ENTRY_SUB_BITS) - 1);
}

static inline index_entry entry_make(uint32_t cluster, unsigned int sub)
{
	return cluster << (1 + ENTRY_SUB_BITS) | sub << 1;
}

struct index;

/* Makes an index in an empty file (borrowed descriptor). Returns 0, -ENOSPC, -ENOMEM. */
int index_create(struct index **index, int fd, unsigned int cluster_pages);

/* Whether this is the beginning of an index of this version. */
bool index_is_header(const struct index_header *header);

/* Opens one that an earlier process left. Returns 0, -EBADMSG when it is not an index of this version, -ENOMEM. */
int index_open(struct index **index, int fd);

/*
 * Whether an index (borrowed descriptor) that a worker has left says that it was reading a fork: its child may have no
 * other descriptor than the one that came with it.
 */
bool index_has_fork(int fd);

/* Unmaps it; the file stays. */
void index_close(struct index *index);

/* What it says of the session. */
struct index_header *index_header(struct index *index);

/*
 * Room in the header for a space, and those before it (the first INDEX_SPACES_FIRST have it from the beginning); for
 * the list of what is not forked; for all that a child of a space begins with. Return 0 or -ENOSPC.
 */
int index_room_for_space(struct index *index, unsigned int space);
int index_room_for_unforked(struct index *index);
int index_room_for_child(struct index *index, unsigned int parent);

struct index_growth {
	uint64_t tables_from, tables_now, tables_to, clusters_from, clusters_to;
};

/*
 * The file grows in three steps, so that the file system, which may take milliseconds, is not waited for under a lock
 * or with a thread stopped. index_plan (locked) says what is missing for so many more tables and clusters,
 * index_allocate (unlocked) gets it, returns 0 or -ENOSPC, index_commit (locked) lets it be used. A caller that skips
 * this is served all the same, a step at a time. Beyond the tables that are asked for there is room for those of a
 * child of the target: no fork has to wait for it.
 */
struct index_growth index_plan(const struct index *index, uint64_t tables, uint64_t clusters);
int index_allocate(const struct index *index, const struct index_growth *growth);
void index_commit(struct index *index, const struct index_growth *growth);

/* The entry of a page (page-aligned address), ENTRY_NONE when there is none. */
index_entry index_get(const struct index *index, unsigned int space, uint64_t address);

/*
 * Sets or, with ENTRY_NONE, clears it; adjusts no reference counts. Returns 0 or -ENOSPC (only when a table had to be
 * added).
 */
int index_set(struct index *index, unsigned int space, uint64_t address, index_entry entry);

/* A new cluster, state MOVING, no references. Returns its number, or 0 when the index is full. */
uint32_t index_cluster_new(struct index *index, unsigned int pages);
struct cluster *index_cluster(const struct index *index, uint32_t number);
void index_cluster_free(struct index *index, uint32_t number);

/* The place of a cluster's record, SLOT_POOL and SLOT_DENSE with it, as the store knows it. */
void index_slot_get(const struct index *index, uint32_t number, struct store_slot *slot);
void index_slot_set(struct index *index, uint32_t number, const struct store_slot *slot);

/* The same, of a cluster that has one; who opens the index has the one or the other. */
void index_slot_exchange(struct index *index, uint32_t number, const struct store_slot *slot);

/*
 * The repeated word of a page of a cluster; *word is valid where the `filled` mask says so. Returns NULL when its place
 * cannot be allocated.
 */
uint64_t *index_fill(struct index *index, uint32_t cluster, unsigned int sub, bool allocate);

/*
 * Called for each entry in a region, in order of address. It may change the entry through index_set. A value other than
 * 0 ends the walk and is returned; nothing else does.
 */
typedef int (*index_fn)(void *context, uint64_t address, index_entry entry);
int index_walk(struct index *index, unsigned int space, struct region region, index_fn callback, void *context);

/*
 * After a worker died: takes away all `filling` marks and pins and counts references anew, so that what it was in the
 * middle of is undecided again. Clusters that nothing refers to are freed; the caller gives their slots no thought (a
 * new store adopts only what is left).
 */
void index_recover(struct index *index);

/* Number of entries of a space. */
uint64_t index_count(const struct index *index, unsigned int space);

/* Whether a region holds any entry. */
bool index_any(struct index *index, unsigned int space, struct region region);
