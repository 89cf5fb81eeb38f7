/* SPDX-License-Identifier: MIT */
/* One swap-out: what its parts share. Internal to the room. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "pager/pager.h"
#include "swapin/filler.h"
#include "swapout/swapout.h"

/* Why bytes that were asked for stayed. The first ones are those of proc/maps.h (enum eligibility), in its order. */
enum skip {
	SKIP_NOT_RESIDENT = 24, /* nothing there to move */
	SKIP_NOT_MAPPED,
	SKIP_OUT,       /* out already */
	SKIP_SHARED,    /* shared with another process since a fork */
	SKIP_BUSY,      /* pinned, being changed, or the mapping changes all the time */
	SKIP_IN_USE,    /* the page that the stopped thread itself needs */
	SKIP_POISONED,  /* nothing is there but the mark of a page that was lost */
	SKIP_EXECUTES,  /* writable and executable, and the program may not have more such memory */
	SKIP_CHANGED,   /* the mapping is not what it was when it was looked at */
	SKIP_LIMIT,     /* --bytes reached */
	SKIP_STORE,     /* the store is full or failing; the pages went back */
	SKIP_CANCELLED, /* who asked for it has had enough before it was its turn */
	SKIP_COUNT,
};

/* One region that was asked for, on its way to becoming a record. */
struct out_region {
	struct out_region *next;
	struct region region;
	uint64_t started_us, ended_us;
	uint64_t covered; /* bytes inside mappings */
	uint64_t moved;
	_Atomic uint64_t zero_pages, filled_pages, stored, compressed, returned;
	uint64_t skipped[SKIP_COUNT];
	bool cancelled;               /* cut short, because who asked has had enough */
	_Atomic unsigned int pending; /* clusters not dealt with yet, and one while it is being walked */
};

struct batch_cluster {
	struct out_region *result;
	uint64_t source;  /* where it was in the target */
	uint64_t staging; /* where it is */
	uint32_t number;
	unsigned int pages;
};

/* A staging slot and what is in it. */
struct batch {
	unsigned int slot;
	bool dirty;      /* pages of an earlier batch lie in it */
	bool executable; /* it has been made executable */
	uint64_t used;   /* bytes */
	uint64_t read;   /* of them */
	struct batch_cluster *clusters;
	size_t count, size;
	size_t clusters_read;
	size_t next;       /* cluster to compress; under out_compress.mutex */
	size_t unfinished; /* clusters; under out_compress.mutex */
};

/* A part of a mapping that is to leave, at most a superpage. */
struct out_piece {
	struct region region;
	struct out_region *result;
	bool executable;
};

#define PIECES 128 /* in one stop */

/* What the next stop is to move. */
struct out_plan {
	struct out_piece pieces[PIECES];
	unsigned int count;
	uint64_t bytes; /* in pieces, as in address space */
};

/* The threads that compress and write, and what waits for them. */
struct out_compress {
	pthread_mutex_t mutex;
	pthread_cond_t changed;
	struct batch *queue[SLOTS];
	unsigned int queued;
	bool closing;
	pthread_t threads[COMPRESSORS_MAX];
	unsigned int count;
	bool shared;               /* the first may run where the mover does */
	struct store_slot written; /* the last record; under pager.lock */
	uint64_t written_tag;
};

struct out_job {
	struct pager *pager;
	const struct out_request *request;
	struct filler filler; /* the mover's own */

	struct batch batches[SLOTS];
	struct batch *current; /* being planned */
	struct out_plan plan;
	struct {
		uint64_t entries[SLOT_BYTES / 4096]; /* pagemap of the current slot */
		unsigned char unreadable[SLOT_BYTES / 4096];
	} inspection;
	struct {
		struct out_region *first, *last; /* not yet reported */
		struct out_region *walked;       /* the last one */
	} results;
	struct out_compress compress;
	int processor;      /* where the mover runs, and no compressor */
	_Atomic int failed; /* of the store, or of the target */
	struct {
		uint64_t moved; /* bytes in all */
		uint64_t total; /* expected, for progress */
		uint64_t shown_us;
	} sums;
};

/*
 * move.c: stops a thread and moves the planned pieces into the current batch's slot. Returns 0 or -errno with `error`
 * filled.
 */
int out_move(struct out_job *job, struct error *error);

/*
 * stage.c: reads what has moved since it was read last. What cannot be read, because the target has ended or has mapped
 * something over it, is lost. Returns 0 or -errno.
 */
int out_read(struct out_job *job);

/* Reads the rest and hands the batch to the compressors. Returns as out_read. */
int out_stage(struct out_job *job);
int out_start_compressors(struct out_job *job);
void out_finish_compressors(struct out_job *job);

/*
 * The mover goes to the processor of the thread that it stops, the compressors elsewhere: what is woken there runs at
 * once.
 */
void out_run_on(struct out_job *job, int processor);

/* Waits until a slot is free and makes it the current batch. */
void out_next_batch(struct out_job *job);

/* A cluster of a region is dealt with. */
void out_done(struct out_region *region);
