/* SPDX-License-Identifier: MIT */
/* What a thread needs that brings pages back. */
#pragma once

#include "pager/pager.h"
#include "service/pulse.h"

/* Takes a record of what is done for a client; the reference too. */
typedef void (*emit_fn)(void *context, json_t *record);

/* Who asked for something that takes long, and may have had enough of it. */
struct asker {
	bool (*enough)(void *context);
	void *context;
};

/* Per-thread memory for bringing clusters back; no allocation happens while serving. */
struct filler {
	struct pager *pager;
	const struct asker *asker;  /* NULL: nobody, it is brought to an end */
	struct pulse_thread *pulse; /* that of a job, except for threads that serve faults */
	int epoll;                  /* of a thread that serves faults: where it hears of the next one; otherwise -1 */
	bool hurries;               /* what is left to do afterwards is done by another thread */
	struct store_scratch *scratch;
	unsigned char *pages; /* cluster_pages whole pages; as the store gives them, then each in its place */
};

/*
 * Memory for a thread. filler_reserve has it now, for a page: a thread that the target waits for must not wait for
 * memory. Where a cgroup limits memory that is done for all threads, and for a cluster. Returns 0 or -ENOMEM.
 */
int filler_init(struct filler *filler, struct pager *pager);
void filler_reserve(struct filler *filler);
void filler_free(struct filler *filler);
