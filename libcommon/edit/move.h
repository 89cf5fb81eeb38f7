/* SPDX-License-Identifier: MIT */
/*
 * Moving pages from one place of a live process to another: by UFFDIO_MOVE on a puppet in its memory, or by mremap(2)
 * on one of its own threads.
 */
#pragma once

#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "access/pins.h"
#include "access/target_ops.h"
#include "base/region.h"

enum move_method {
	MOVE_UFFD,   /* UFFDIO_MOVE (Linux 6.8) */
	MOVE_MREMAP, /* mremap(MREMAP_DONTUNMAP) (Linux 5.7) */
};

/* Pages that stayed where they were, and why. */
struct move_failure {
	struct region source;
	uint64_t destination; /* where source.start should have gone */
	int code;             /* negative errno, as the kernel gave it or would have */
	const char *rule;     /* the rule that was broken, in words; static storage, NULL when the code says it all */
};

/* One move: what is asked, and what came of it. */
struct move_job {
	uint64_t source, destination, bytes; /* page aligned, not overlapping */
	bool allow_holes; /* pages that are not there count as moved; else each hole is a failure (-ENOENT) */
	bool dont_wake;   /* UFFDIO_MOVE_MODE_DONTWAKE */
	/* Where a page is mapped once but not marked exclusive: mark it by a write fault that writes nothing. */
	bool make_exclusive;

	uint64_t moved;           /* bytes of pages that are at the destination now (mover_inspect: would be) */
	uint64_t holes;           /* bytes of the source that held nothing */
	uint64_t calls;           /* system calls that tried to move */
	uint64_t time_us;         /* from the first stop to the end of the last */
	uint64_t longest_stop_us; /* that a thread was kept in one piece */
	struct move_failure *failures;
	size_t failure_count, failure_capacity;
};

/* One target. Fill in by mover_open. Not thread safe. */
struct mover {
	struct access access;
	struct pins pins;            /* pages that stay where they are */
	const struct target *target; /* borrowed */
	enum move_method method;
	const volatile sig_atomic_t *interrupted; /* may be NULL; once it is set, what is left fails with -EINTR */
	int pagemap_fd, maps_fd;
	bool injecting;       /* opened for more than a dry run */
	int uffd;             /* ours */
	int self;             /* pidfd of this process, with which the puppet ends */
	cpu_set_t processors; /* that this thread may use, while it keeps to one */
	bool bound;
};

#define MOVER_NONE ((struct mover){.access = ACCESS_NONE, .pagemap_fd = -1, .maps_fd = -1, .uffd = -1, .self = -1})

/*
 * Prepares a target. `dry_run`: for mover_inspect, nothing is stopped or changed. The target must outlive the mover.
 * Returns 0 or a negative errno with `error` filled: as inject_open and inject_userfaultfd, -EOPNOTSUPP when the kernel
 * lacks the method.
 */
int mover_open(struct mover *mover, const struct target *target, enum move_method method, bool dry_run,
	       struct error *error);

/*
 * Removes all that we put into the target, but for what mover_map mapped. Returns 0 or -errno: something could not
 * be removed. Idempotent.
 */
int mover_close(struct mover *mover);

/*
 * Maps memory for a source to go to: private, anonymous, as far from a multiple of 2 MiB as the source, each part with
 * the protection of the mapping it is for. *destination receives where source.start goes. Returns 0, or a negative
 * errno with `error` filled.
 */
int mover_map(struct mover *mover, struct region source, uint64_t *destination, struct error *error);

/* Unmaps what mover_map mapped, unless a page is there or it is something else by now (-EBUSY). Returns 0 or -errno. */
int mover_unmap(struct mover *mover, struct region region);

/*
 * Moves. Each thread is stopped once that has to be asked what the kernel needs of it. With MOVE_MREMAP a thread is
 * stopped for some hundred microseconds at a time (about a millisecond in pieces of 256 MiB and more), too. The
 * destination must be mapped. A failing page range is noted in the job and stepped over, and so are the pages that the
 * kernel needs. With MOVE_UFFD no thread ever waits for this program, even if it is killed in the middle. Returns 0
 * (see the failures), or a negative errno with `error` filled when it could not go on (-ESRCH: the target is gone;
 * -ETIMEDOUT: a thread cannot be asked; others as pins_scan); moved, holes and calls count up to there.
 */
int mover_run(struct mover *mover, struct move_job *job, struct error *error);

/*
 * What mover_run would find, without stopping or changing anything. destination 0: a fresh mapping. Returns 0 or -errno
 * with `error` filled.
 */
int mover_inspect(struct mover *mover, struct move_job *job, struct error *error);

/* Frees the failures. */
void move_job_free(struct move_job *job);

#define _cleanup_job_ __attribute__((cleanup(move_job_free)))
