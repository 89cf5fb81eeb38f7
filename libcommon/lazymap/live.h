/* SPDX-License-Identifier: MIT */
/* A lazily filled object in the address space of another process: mapped there, served from here. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/signalfd.h>
#include <sys/types.h>

#include "base/region.h"
#include "proc/target.h"
#include "report/error.h"
#include "source/source.h"

/* What becomes of pages that nobody has touched when the service ends. */
enum live_end {
	LIVE_END_FILL,   /* filled, as far as that is possible; poisoned where not */
	LIVE_END_POISON, /* a thread that touches them gets SIGBUS */
	LIVE_END_UNMAP,  /* the target's mappings of the object go, children's pages are poisoned */
};

struct live_options {
	uint64_t address;       /* page aligned; 0: anywhere */
	uint64_t block_bytes;   /* a power of two, at least a page: what is filled at a time */
	uint64_t delay_ms;      /* before each fill */
	struct region_vec fail; /* offsets, page aligned, normalized: poisoned instead of filled; owned by the caller */
	bool writable;          /* private pages that can be written; otherwise they can be read */
	enum live_end end;
};

struct live;

/*
 * Maps the object into the target by injection, with a userfaultfd that stays open in a puppet there, too. Nobody
 * serves it yet: live_serve must follow, or live_abandon. Target, source and options must outlive it. Returns 0 or
 * -errno with `error` filled: -EEXIST (something is mapped at the address), -EINVAL, -EPERM, -ESRCH, -ENOMEM,
 * -EOPNOTSUPP (no UFFDIO_POISON).
 */
int live_map(struct live **made, const struct target *target, struct source *source, const struct live_options *options,
	     struct error *error);

/* Takes an object that is not served out of the target again. */
void live_abandon(struct live *live);

/* Where it was mapped; whole pages. */
struct region live_region(const struct live *live);

struct live_callbacks {
	/* It is served from now on. Not called again in a process that takes over. */
	void (*ready)(void *context, struct live *live);
	/* A record of what went wrong; the callee owns it. */
	void (*error)(void *context, json_t *record);
	/* SIGCHLD: children that have ended are to be waited for, but only those the caller has made. */
	void (*child)(void *context);
	/* Another signal that is blocked and was sent to us. Whether the service is to end because of it. */
	bool (*signal)(void *context, const struct signalfd_siginfo *info);
	/* Whether the caller still waits for something, when nothing is left to be served. */
	bool (*waits)(void *context);
	void *context;
};

/*
 * Serves it until everything that has it mapped is gone, or a signal asks to end. A second process does the work; when
 * it is killed another one is started, and when this one is killed the other one puts a new process in its place, which
 * then returns from this function in its stead. `signals` is a descriptor of signalfd(2) for blocked signals, SIGCHLD
 * among them. Returns 0, or -errno with `error` filled.
 */
int live_serve(struct live *live, int signals, const struct live_callbacks *callbacks, struct error *error);

/* What was done: faults, blocks, bytes, times. The caller owns it. */
json_t *live_summary(const struct live *live);

/* How many blocks could not be filled although they should have been. */
uint64_t live_errors(const struct live *live);

/* The process that serves now. */
pid_t live_worker(const struct live *live);

/* The process in the memory of the target that has its userfaultfd, too. */
pid_t live_puppet(const struct live *live);

/* What could not be had of its confinement: confine_missing. The caller owns it. */
json_t *live_missing(const struct live *live);

/* Closes what it has open; the mapping stays as it is. NULL is allowed. */
void live_free(struct live *live);
