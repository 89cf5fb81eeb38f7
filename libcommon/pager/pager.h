/* SPDX-License-Identifier: MIT */
/* One session: its state, its address spaces, and what happens to them. What stands on this is swapin/ and swapout/. */
#pragma once

#include <jansson.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "access/pins.h"
#include "access/target_ops.h"
#include "base/cleanup.h"
#include "base/latency.h"
#include "base/size.h"
#include "confine/confine.h"
#include "index/index.h"
#include "proc/target.h"
#include "report/error.h"
#include "service/fdstore.h"
#include "state/paths.h"
#include "store/store.h"
#include "uffd/uffd.h"

#define DESCRIPTORS_OWN   96 /* of a worker, its clients and what is open for a moment, besides those of children */
#define DESCRIPTORS_MIN   (DESCRIPTORS_OWN + 32)
#define FAULT_THREADS_MAX 8
#define COMPRESSORS_MAX   4
#define PREFETCHES_MAX    256
#define LEFT_MAX          1024
#define WALKS             8
#define SLOT_BYTES        (4 * MiB)
#define SLOTS             4
#define STAGING_BYTES     (SLOTS * SLOT_BYTES)
#define MEMORY_SPARE      (24 * MiB) /* in a cgroup, for what leaves at once, and for serving what is out */
#define RETRY_MS          1          /* for parked faults, when nothing else happens */
#define BACK_OFF_US       50         /* while the target has not run on after an event */

/*
 * One address space with pages out: the target's, or that of a child it forked.
 *
 * `events` is what keeps the index and the kernel of one mind. Reading messages takes it exclusively; placing pages
 * (COPY, ZEROPAGE) and moving them (MOVE) happens under it shared, after a look at the index. While an event is unread
 * the kernel refuses to place and to move (EAGAIN), and once it is read its effect is in the index before anyone looks
 * again. Nothing that is done under it waits for the target: the injected thread stands inside its system call before
 * it is taken.
 *
 * Order of locks: job, events, lock.
 */
struct space {
	unsigned int id;
	int uffd;
	bool used;
	bool dead;          /* its address space is gone, or it has been let go; set under `events` held exclusively */
	uint64_t stored_as; /* number under which the supervisor holds its descriptor; 0 for the target's own */
	bool unsaved;       /* the supervisor does not hold it yet */
	bool unwatched;     /* not every fault thread hears of its messages yet */
	uint64_t since_us;  /* when it was made */
	uint64_t room_again_us; /* not before then it is tried to let go of it to make room */
	bool check_soon;        /* pages came back since its registered mappings were looked at */
	bool strays;            /* mappings may be registered that are not listed, with nothing out */
	pthread_rwlock_t events;
	_Atomic(uint64_t)
		held_up_since_ns;         /* a page of zeros could not be placed, and no event was read since; 0: no */
	struct region_vec left_to_kernel; /* pages that were unregistered meanwhile, under `lock` */
	pid_t pid;          /* of a child: its process; not above 0: not known, after so many tries; under `events` */
	uint64_t starttime; /* of that process */
	struct region_vec unforked; /* what a child of a child does not get; under `events` held exclusively */
	bool unforked_known;        /* it was looked at before the event that is read next */
	bool unchecked; /* entries may be left of what its parent kept from it; under `events` held exclusively */
	struct region_vec registered; /* sorted, under `lock`; mappings that are registered with `uffd` */
};

/* A fault that cannot be answered yet: its page is on its way out, or the kernel said "try again". */
struct parked_fault {
	unsigned int space;
	uint64_t address;
	uint64_t since_ns; /* when it was read */
};

/* A missing page that was never out, while zeros are being placed there. Keeps the mover away. */
struct zero_claim {
	unsigned int space;
	uint64_t address;
};

struct pulse;
struct pulse_thread;
struct refaults;
struct touch_ring;

/* The thread that makes records denser (dense.c). */
struct dense {
	pthread_t thread;
	bool started;
	_Atomic(bool) over;       /* it is to be joined */
	_Atomic(bool) refused;    /* it cannot be had without being in the way of others */
	_Atomic(uint32_t) due_ds; /* when the next record is old enough; 0: there is none */
};

/* Where records are. */
struct tiers {
	struct store *store;
	int store_fd;
	struct seal *seal;  /* of the store; NULL: it is plain */
	int key_fd;         /* opens the seal in another process; the target holds a copy of it. -1 without a seal */
	struct store *pool; /* records that are staged: in memory, before they are written back to the store */
	int pool_fd;
	struct dense dense;
};

/* The staging area in the target (swapout/staging.h); what is marked so under `job`. */
struct staging_area {
	struct region region;
	int uffd;                 /* who maps over what is registered with it waits until we read its events */
	unsigned char *mirror;    /* the worker's copy of what is staged; STAGING_BYTES, same layout */
	bool open;                /* it is readable and writable now; `job` */
	bool gone;                /* the program has mapped something there: it is not ours any more; `job` */
	bool unmarked;            /* it is ours, but not ready: there was no memory for that; `job` */
	bool unread;              /* pages are in it that were not read yet: forks wait; under `lock` */
	bool torn;                /* the program has discarded some of them; under `lock` */
	unsigned int pins[SLOTS]; /* threads that read the worker's copy of a slot; under `lock` */
};

/* The process that shares the worker's descriptors (keeper.h). */
struct keeper {
	int ask, answer; /* eventfds */
	int ends[2];     /* pidfds of the two whose end it waits for: worker and supervisor */
	int pidfd;       /* -1: there is none */
	struct sock_fprog filter;
};

/* What outlives this worker: who has its descriptors, and looks whether it lives. */
struct supervision {
	int socket; /* to the supervisor: descriptors of children go there */
	pid_t supervisor_pid;
	bool terminating;    /* the session was asked to end */
	struct pulse *pulse; /* it looks at that */
	uint64_t number;     /* of the last descriptor of a child handed to it */
	const struct fdstore
		*inherited;     /* those it holds, when this worker takes over from another; NULL for the first */
	struct fdstore held;    /* of children that got no place (event_fork): such a child waits; under `lock` */
	bool held_unsaved;      /* it does not hold all of these; under `lock` */
	uint64_t held_again_us; /* not before then the target is given something to hold */
	struct keeper keeper;
};

/* What is looked at in the target. */
struct target_view {
	int maps_fd, pagemap_fd;
	struct pins pins;     /* what must stay in core for the kernel's sake; under `job` */
	uint64_t guards_seen; /* up to this address, by the worker's main thread; the next look goes on there */
};

/* Address spaces beside the target's own. */
struct children {
	pthread_mutex_t room;        /* one thread makes room for them */
	_Atomic(unsigned int) count; /* that are served */
	unsigned int most;
	unsigned int places; /* the first spaces, which have locks; the rest takes no memory yet */
};

/* What is to be brought that nobody waits for. */
struct prefetch {
	struct space *space;
	struct region region;
};

/* The thread that does what is left to do when a fault has been answered (behind.c). Under `lock`. */
struct behind {
	pthread_t thread;
	pthread_cond_t asked; /* with `lock` */
	bool asleep;
	struct prefetch queue[PREFETCHES_MAX];
	unsigned int first, count;
	uint32_t left[LEFT_MAX]; /* pinned clusters of which nothing is out any more */
	unsigned int left_count;
	bool freed; /* the stores have holes to punch */
};

/* A thread that goes through its memory in order: its next fault comes between `from` and `to`. Under `lock`. */
struct fault_walk {
	unsigned int space;
	uint64_t from, to;
	unsigned int steps;
};

/* Which of the threads that answer faults are woken by messages (join.c). */
struct joined {
	_Atomic(unsigned int) count;   /* the first so many */
	_Atomic(unsigned int) waiting; /* for something else than a message */
	_Atomic(unsigned int) read;    /* messages */
	_Atomic(uint64_t) needed_ns;   /* when all waited for the last time */
	unsigned int read_before;      /* at the last look */
};

/* Fault service; parked faults, claims, latency, refaults and the ring under `lock`. */
struct faults {
	pthread_t threads[FAULT_THREADS_MAX];
	int epoll[FAULT_THREADS_MAX];      /* the first one that sleeps is woken by a message */
	int processors[FAULT_THREADS_MAX]; /* where each runs, -1: anywhere; the first follows who faults (follow.c) */
	unsigned int count;                /* of them, whether they have joined or not */
	int seen_on;                       /* the processor that was found last time */
	uint64_t look_again_ns;
	_Atomic(pid_t) asked_by; /* the last thread that faulted, until it is looked where it runs; 0: none since */
	int wake_fd;             /* eventfd in every epoll: look at `ended` */
	struct parked_fault *parked;
	size_t parked_count, parked_size;
	struct zero_claim zeroing[FAULT_THREADS_MAX * 2];
	struct latency latency;
	struct refaults *refaults;
	struct touch_ring *touched; /* what a client is told of, or NULL */
	uint64_t watch_ended_ns;    /* when the last one went */
	struct fault_walk walks[WALKS];
	unsigned int walk_oldest;
	struct behind behind;
	struct joined joined;
};

/* Who answers forks that ask. */
struct forks {
	pthread_t thread;
	bool ask; /* there are no fork events */
};

/* Who looks for debuggers of the target. */
struct tracer {
	pthread_t thread;
	bool watched;       /* by its thread */
	_Atomic(pid_t) pid; /* the debugger that is one of the holds; 0: none */
};

/* Who is served. */
struct serving {
	int ready;   /* pipe to the process that waits for the session: one JSON line; -1 when it was written */
	int control; /* listening socket */
	_Atomic(unsigned int) clients; /* being served */
	_Atomic(unsigned int) holds;   /* as long as there are any everything is kept in core */
	_Atomic(unsigned int) leaving; /* threads that are to detach: what is being done for others comes to an end */
};

struct pager {
	struct target target;
	struct target_view view;
	struct access access; /* into the target */
	struct session_files files;
	struct index *index;
	int index_fd;
	struct tiers tiers;
	struct staging_area staging;
	struct supervision supervision;
	struct children children;
	struct faults faults;
	struct forks forks;
	struct tracer tracer;
	struct serving serving;
	bool memory_limited; /* by a cgroup: nothing more leaves when little is left there */
	unsigned int cluster_pages;
	_Atomic(int) ended;   /* the session is over: enum ending */
	pthread_mutex_t job;  /* one changing request at a time */
	pthread_mutex_t lock; /* the index, the spaces' registered regions, and what says so */
	struct space spaces[INDEX_SPACES];
};

enum ending {
	RUNNING,
	ENDED_TARGET_GONE, /* every address space is gone */
	ENDED_DETACHED,
};

/*
 * pager.c: in zeroed memory, a session with nothing in it but what it is about. The target is borrowed for as long as
 * the session lives.
 */
void pager_init(struct pager *pager, const struct target *target, unsigned int cluster_pages);

/* Removes what the session has on the file system, if that is still its own, and forgets the key. */
void pager_remove_files(struct pager *pager);
