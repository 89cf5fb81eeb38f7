/* SPDX-License-Identifier: MIT */
/* The ring of this process, as the files of its own half share it. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include <uvm/reclaim.h>

#include "ring/protocol.h"

#define RING_WAIT_MS 1000 /* for other reclaimers */

struct uvm_reclaim_ring {
	struct ring_view view;
	size_t bytes; /* of the mapping, and of the memfd */
	size_t page;
	int fd;
	dev_t device; /* of the memfd: the program may close its descriptor and get the number for another file */
	ino_t inode;
	/*
	 * In a page that is wiped in a child which the handlers of pthread_atfork(3) did not see: it must not touch its
	 * parent's ring.
	 */
	_Atomic uint64_t *alive;
	_Atomic uint64_t next;    /* tail, but not lowered while something is cancelled */
	unsigned int operations;  /* under the caller's lock */
	atomic_bool reclaiming;   /* a lock: threads share the open file description */
	_Atomic uint32_t waiting; /* threads, for that lock */
	_Atomic pid_t owner;      /* debug builds: the thread in a function that needs the caller's lock */
};

/* There is one, in ring_memory.c. Functions of the other files check the handle against it. */
extern struct uvm_reclaim_ring ring_own;

static inline bool ring_valid(const struct uvm_reclaim_ring *ring)
{
	return ring == &ring_own && atomic_load_explicit(ring->alive, memory_order_acquire);
}

static inline bool ring_action_known(uvm_reclaim_action_t action)
{
	return action == UVM_RECLAIM_FREE || action == UVM_RECLAIM_DEALLOCATE;
}

/* ring_memory.c */

/*
 * Makes the memfd of a ring, sized and sealed, maps it (at `address`, over what is there, unless it is NULL) and fills
 * in what stays. Returns 0 or -errno; nothing of `ring` was changed then.
 */
int ring_map(struct uvm_reclaim_ring *ring, void *address, uint32_t max_capacity, uint32_t capacity);

/* Lets reclaimers take it for a ring: its indices and entries are in place. */
void ring_publish(struct uvm_reclaim_ring *ring);

/* Whether ring->fd still is the memfd of the ring. */
bool ring_fd_is_ours(const struct uvm_reclaim_ring *ring);

/* ring_fork.c: handlers of fork(2), registered once. Returns 0 or -errno. */
int ring_follow_forks(void);

/* ring_reclaim.c */

/* Drops or unmaps one region, as its entry says. Returns whether the kernel did it. */
bool ring_reclaim_work(const struct uvm_reclaim_ring *ring, const struct ring_work *work);

/* uvm_reclaim_ring_resize, waiting for other reclaimers for `wait_ms` at most. */
uvm_reclaim_error_t ring_resize(struct uvm_reclaim_ring *ring, uint32_t capacity, int wait_ms);

/* ring_debug.c: prints what was misused, and aborts. */
#ifdef UVM_RECLAIM_DEBUG
void ring_debug_begin(struct uvm_reclaim_ring *ring, const char *function);
void ring_debug_end(struct uvm_reclaim_ring *ring);
void ring_debug_enter(const struct uvm_reclaim_ring *ring, uint64_t start, uint64_t size);
void ring_debug_hole(uint64_t id);
#else
static inline void ring_debug_begin(struct uvm_reclaim_ring *ring, const char *function)
{
	(void)ring;
	(void)function;
}

static inline void ring_debug_end(struct uvm_reclaim_ring *ring)
{
	(void)ring;
}

static inline void ring_debug_enter(const struct uvm_reclaim_ring *ring, uint64_t start, uint64_t size)
{
	(void)ring;
	(void)start;
	(void)size;
}

static inline void ring_debug_hole(uint64_t id)
{
	(void)id;
}
#endif
