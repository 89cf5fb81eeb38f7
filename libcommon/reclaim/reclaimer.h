/* SPDX-License-Identifier: MIT */
/* Reclaiming what waits in the ring of another process, by system calls run on one of its threads, or by its agent. */
#pragma once

#include "access/agent.h"
#include "access/method.h"
#include "inject/inject.h"
#include "reclaim/find.h"

#define RECLAIM_ALL UINT64_MAX

/* What is to be reclaimed: until one of these is reached, or all is gone that waited when it began. */
struct reclaim_limits {
	uint64_t entries; /* RECLAIM_ALL: no limit */
	uint64_t bytes;   /* the same */
};

struct reclaim_done {
	uint64_t entries; /* that are out of the ring, refused ones too */
	uint64_t bytes;   /* of those that were reclaimed */
	uint64_t refused; /* by our checks or by the kernel: their memory stays */
};

/*
 * One region that left the ring. `error`: NULL when it was reclaimed, or why not. Called while a thread of the target
 * stands still: keep, do not print.
 */
typedef void (*reclaim_fn)(void *context, const struct ring_work *work, const struct error *error);

/* One ring. Fill in by reclaimer_open. One thread at a time. */
struct reclaimer {
	const struct target *target; /* borrowed */
	struct ring_found ring;
	enum access_method access; /* not ACCESS_AUTO any more when there was something to do */
	struct inject inject;      /* opened then */
	bool injecting;
	struct agent agent; /* connected while the lock is held */
	bool unanswered;    /* the agent may yet do what it was asked for: the lock lasts until then */
	bool one_by_one;    /* the kernel does not drop several regions by one call */
	int maps_fd;        /* of the address space that the thread is in, while one is stopped */
	reclaim_fn each;
	void *context;
};

#define RECLAIMER_NONE \
	((struct reclaimer){.ring = {.fd = -1}, .inject = INJECT_NONE, .agent = AGENT_NONE, .maps_fd = -1})

/*
 * Finds the ring; touches nothing. The target must outlive the reclaimer. ACCESS_AUTO: by injection, or by the
 * program's agent where its threads may not be traced, or are already. `each` may be NULL. Errors as ring_find.
 */
int reclaimer_open(struct reclaimer *reclaimer, const struct target *target, enum access_method access, reclaim_fn each,
		   void *context, struct error *error);

/*
 * Reclaims, oldest first, in batches of RING_BATCH at most, several of them while a thread is stopped, for about two
 * milliseconds at a time. Redoes what a reclaimer that died had begun. Adds to *done, also on failure. Returns 0 (less
 * than wished when there is no more); with `error` filled: -ETIMEDOUT another reclaimer is at it, or the agent does not
 * answer, -EBUSY a tracer, or the process is frozen, or a session uses the agent, -EBADMSG the ring makes no sense (any
 * more), or as inject_open.
 */
int reclaimer_run(struct reclaimer *reclaimer, const struct reclaim_limits *limits, struct reclaim_done *done,
		  struct error *error);

/* Takes what was mapped into the target out of it. */
void reclaimer_close(struct reclaimer *reclaimer);

#define _cleanup_reclaimer_ __attribute__((cleanup(reclaimer_close)))
