/* SPDX-License-Identifier: MIT */
/* The swap engine of one session: shared state of the mover, the fault service and the events. Internal to the room. */
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
#include "pager/index.h"
#include "pager/session.h"
#include "proc/target.h"
#include "report/error.h"
#include "store/store.h"
#include "uffd/uffd.h"

#define DESCRIPTORS_OWN   96 /* of a worker, its clients and what is open for a moment, besides those of children */
#define DESCRIPTORS_MIN   (DESCRIPTORS_OWN + 32)
#define FAULT_THREADS_MAX 8
#define COMPRESSORS_MAX   4
#define SLOT_BYTES        (4 * MiB)
#define SLOTS             4
#define STAGING_BYTES     (SLOTS * SLOT_BYTES)
#define MEMORY_SPARE      (24 * MiB) /* in a cgroup, for what leaves at once, and for serving what is out */
#define RETRY_MS          1          /* for parked faults, when nothing else happens */
#define BACK_OFF_US       50         /* while the target has not run on after an event */

/*
 * One address space with pages of ours out: the target's, or that of a child it forked.
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
	bool dead;         /* its address space is gone, or it has been let go; set under `events` held exclusively */
	uint64_t kept;     /* number under which the supervisor holds its descriptor; 0 for the target's own */
	bool unsaved;      /* the supervisor does not hold it yet */
	bool unwatched;    /* not every fault thread hears of its messages yet */
	uint64_t since_us; /* when it was made */
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

struct kept;
struct pulse;
struct pulse_thread;
struct refaults;

struct pager {
	struct target target;
	int directory;    /* of the session */
	struct road road; /* into the target */
	struct index *index;
	struct store *store;
	int store_fd;
	struct seal *seal;  /* of the store; NULL: it is plain */
	int key_fd;         /* opens the seal in another process; the target holds a copy of it. -1 without a seal */
	struct store *pool; /* records that are staged: in memory, before they are written back to the store */
	int pool_fd;
	int index_fd;
	int uffd_staging; /* who maps over what is registered with it waits until we read its events */
	int maps_fd, pagemap_fd;
	int supervisor; /* socket: descriptors of children go there */
	pid_t supervisor_pid;
	struct pulse *pulse;          /* it looks at that */
	uint64_t kept;                /* number of the last descriptor of a child handed to it */
	const struct kept *inherited; /* those it holds, when this worker takes over from another; NULL for the first */
	struct region staging;
	uint64_t held_again_us; /* not before then the target is given something to hold */
	unsigned char *mirror;  /* the worker's copy of what is staged; STAGING_BYTES, same layout */
	struct pins pins;       /* what must stay in core for the kernel's sake; under `job` */
	uint64_t guards_seen;   /* up to this address, by the worker's main thread; the next look goes on there */
	bool staging_open;      /* the staging area is readable and writable now; under `job` */
	bool staging_gone;      /* the program has mapped something there: it is not ours any more; under `job` */
	bool staging_unmarked;  /* it is ours, but not ready: there was no memory for that; under `job` */
	bool memory_limited;    /* by a cgroup: nothing more leaves when little is left there */
	unsigned int cluster_pages;

	pthread_mutex_t room;           /* one thread makes room for children */
	_Atomic(unsigned int) children; /* that are served */
	unsigned int children_max;
	unsigned int spaces_made; /* the first ones, which have locks; the rest takes no memory yet */

	pthread_mutex_t job; /* one changing request at a time */
	struct space spaces[INDEX_SPACES];

	pthread_mutex_t lock; /* everything below, the index, and the spaces' registered regions */
	struct parked_fault *parked;
	size_t parked_count, parked_size;
	struct zero_claim zeroing[FAULT_THREADS_MAX * 2];
	struct latency latency;
	struct refaults *refaults;
	unsigned int slot_pins[SLOTS]; /* threads that read the worker's copy of a slot */

	pthread_t forks_thread; /* answers forks that ask, when `forks_ask` */
	pthread_t tracer_thread;
	bool forks_ask;      /* there are no fork events */
	bool tracer_watched; /* by its thread */
	bool staging_unread; /* pages are in the staging area that were not read yet: forks wait */
	bool staging_torn;   /* the program has discarded some of them */
	pthread_t fault_threads[FAULT_THREADS_MAX];
	int fault_epoll[FAULT_THREADS_MAX];
	unsigned int fault_count;
	_Atomic(int) ended;      /* the session is over: enum ending */
	struct watch *watch;     /* of a client that is told what is touched, or NULL; under `lock` */
	uint64_t watch_ended_ns; /* when the last one went */
	/* The thread that brings what lies ahead of a walk. */
	pthread_t ahead_thread;
	pthread_cond_t ahead_asked; /* with `lock` */
	struct space *ahead_space;  /* asked for, NULL: nothing; under `lock` */
	uint64_t ahead_address;
	int wake_fd;                   /* eventfd in every epoll: look at `ended` */
	int keeper_ask, keeper_answer; /* eventfds */
	int keeper_ends[2];            /* pidfds of the two whose end it waits for: worker and supervisor */
	int keeper_pidfd;              /* -1: there is none */
	struct sock_fprog keeper_filter;
	int ready;   /* pipe to whoever waits for the session: one JSON line; -1 when it has been told */
	int control; /* listening socket */
	_Atomic(unsigned int) clients; /* being served */
	_Atomic(unsigned int) holds;   /* as long as there are any everything is kept in core */
	_Atomic(pid_t) tracer;         /* the debugger that is one of them; 0: none */
	_Atomic(unsigned int) leaving; /* threads that are to detach: what is being done for others comes to an end */
};

enum ending {
	RUNNING,
	ENDED_TARGET_GONE, /* every address space is gone */
	ENDED_DETACHED,
};

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
	struct store_scratch *scratch;
	unsigned char *pages;    /* cluster_pages whole pages; as the store gives them, then each in its place */
	unsigned int walk_space; /* of the fault before, to notice a walk in order of address */
	uint64_t walk_next;
	unsigned int walk_ahead; /* clusters to bring along */
};

/*
 * worker.c: the worker process, from fork to the end of the session. Returns its exit status: 0 when the session is
 * over.
 */
int worker_main(struct pager *pager);

/*
 * recover.c: takes over from a worker that died. First, before fault service runs: the index is opened again, spaces
 * and store are rebuilt, what was on its way out is read. Then, while it runs: those pages go back, waiting faults are
 * asked for again. Return 0 or -errno.
 */
int recover_state(struct pager *pager, int index_fd);
void recover_pages(struct pager *pager);

/* Ends what another worker died in: taking everything of ours out of the target. Whether it was in that. */
bool recover_leave(struct pager *pager);

/*
 * control.c: one request, served to its end (takes the descriptor). `regions`: those that it gives, sorted, without
 * overlaps.
 */
void control_serve(struct pager *pager, int connection, const json_t *request, const struct region_vec *regions);

/* Answers a client with an error, unless it would have to wait for it. */
void control_refuse(int connection, const struct error *error);

/* Whether who is connected may ask: root and the session's owner. */
bool control_may_ask(int connection);

/* Whether a request only wants to be told something that is known. */
bool control_is_quick(const json_t *request);

/*
 * Everything back, everything of ours out of the target. `job` is taken. Returns 0 or -errno with `error` filled (pages
 * that are out stay served).
 */
int control_detach(struct pager *pager, uint64_t *brought, struct error *error);

/* status.c: what is known of the session. The caller owns it. */
json_t *status_record(struct pager *pager);

/*
 * bring.c: memory for a thread. filler_reserve has it now: whoever is waited for by the target must not wait for
 * memory. Where a cgroup limits memory that is done for all threads. Returns 0 or -ENOMEM.
 */
int filler_init(struct filler *filler, struct pager *pager);
void filler_reserve(struct filler *filler);
void filler_free(struct filler *filler);

/* fault.c: threads that read messages and answer faults. */
int fault_start(struct pager *pager);
void fault_stop(struct pager *pager);
int fault_watch(struct pager *pager, struct space *space);
void fault_unwatch(struct pager *pager, struct space *space);

/*
 * Answers what is parked, as far as it can be. Called by fault threads and, when a batch has been read, by the mover.
 */
void fault_serve_parked(struct filler *filler);

/*
 * keeper.c: a process that holds what the worker has open until the next worker has looked at it. keeper_take returns a
 * copy of what the worker before had under this number, or -errno; keeper_end lets the keeper before go. keeper_follow
 * tells it of another supervisor, the one that the next worker will come from; `events` is held exclusively.
 *
 * keeper_start returns 0 or -errno. keeper_read has it read a message of the target into the index, as uffd_read would,
 * unless that is a fork: -EMFILE, and the thread that forks waits on, behind all others (`fork_awaited`). -EINPROGRESS:
 * again; -ESRCH: there is no keeper. `events` is held exclusively. keeper_settle waits until the keeper before reads
 * nothing any more.
 */
int keeper_start(struct pager *pager);
void keeper_stop(struct pager *pager);
void keeper_follow(struct pager *pager);
int keeper_read(struct pager *pager);
void keeper_settle(struct pager *pager);
int keeper_take(const struct pager *pager, int number);
void keeper_end(struct pager *pager);

/*
 * events.c: what the target did to its address space, applied to the index. The caller holds `events` exclusively. May
 * be repeated after a death in the middle.
 */
void event_apply(struct pager *pager, struct space *space, struct index_pending *pending);

/*
 * A child of `parent`, with everything that is out in it but what is not handed on. Takes the descriptor. `lock` is
 * held.
 */
struct fork_event {
	int uffd;
	uint64_t kept;                     /* number under which the supervisor gets the descriptor */
	bool saved;                        /* it has it */
	const struct region_vec *unforked; /* what is not handed on; NULL: to be found in the child */
};
void event_fork(struct pager *pager, struct space *parent, const struct fork_event *fork);
void event_find_unforked(struct pager *pager, const struct space *parent, struct region_vec *unforked,
			 struct fork_event *fork);

/*
 * The target forks, of which nothing has been read: notes in the index what its child will not get. `events` is held
 * exclusively.
 */
void event_look(struct pager *pager);

/*
 * Reads on until that fork is pending: what was read in vain goes to the end of the queue (fs/userfaultfd.c,
 * userfaultfd_ctx_read). When events come before it that were behind it, all there are are put aside, forks among them:
 * event_apply_passed makes their children of what there was before, each with the events that it shows, and applies the
 * events. Faults are given to the callback. `events` is held exclusively.
 */
void event_read_fork(struct pager *pager, void (*fault)(struct pager *pager, const struct uffd_msg *message));
void event_apply_passed(struct pager *pager);

/* A worker that took over: a fork that was about to be pending is. */
void event_find_passed_fork(struct pager *pager);

/* There is no fork any more that is awaited. */
void event_forget_fork(struct pager *pager);

/* An event was read, not a fault, while a fork is awaited that may be older: puts it aside, as long as there is room.
 */
void event_put_aside(struct pager *pager);

/* Forgets what is out in a child where it has nothing, if no event is unread. `events` is held exclusively. */
void event_check_absent(struct pager *pager, struct space *space);

/* Wakes those who wait at addresses that changed under them: they fault again. The caller holds `events`. */
void event_wake(struct pager *pager, struct space *space, const struct uffd_msg *message);

/* fill.c: pages back into an address space. */

/* Answers one missing fault. Returns 0, -EAGAIN when it must be parked, -ESRCH when the space is dead. */
int fill_fault(struct filler *filler, struct space *space, uint64_t address);

/* Brings the clusters that a program walking in order will ask for next, from `address` on. */
void fill_ahead(struct filler *filler, struct space *space, uint64_t address);

/* Asks the thread that reads ahead for that, if it has nothing else to do. */
void ahead_ask(struct pager *pager, struct space *space, uint64_t address);

/*
 * Brings one cluster back wherever it is out; returns when nothing refers to it any more, whoever brought it. Until
 * then what it was read from must stay.
 */
void fill_cluster(struct filler *filler, uint32_t number);

/*
 * Brings back everything that is out in a region of a space; waits for what is on its way out. Returns pages brought,
 * which are not all when the asker has had enough, or -errno.
 */
int64_t fill_region(struct filler *filler, struct space *space, struct region region);

/* What a record is bound to: the number of its cluster and how often that was given out. */
uint64_t cluster_tag(const struct pager *pager, uint32_t number);

/* tiers.c: the pool in memory, and the store. */

/* Makes pool_fd unless it is there; the supervisor's, so that the pool outlives workers. Returns 0 or -errno. */
int pool_new(struct pager *pager);

/* Opens the pool, empty, over it. Returns 0 or -ENOMEM. */
int pool_open(struct pager *pager, struct codec_choice codec);

/* From now on the records of both are sealed, when the session has a key. */
void tiers_seal(struct pager *pager);

/* Where the record of a cluster in state STORED lies (its slot has a length): which of the two, and the slot there. */
struct store *tier_of(const struct pager *pager, const struct cluster *cluster, struct store_slot *slot);

/* The cluster has been written to the pool, or to the store. `lock` held. */
void tier_enter(struct cluster *cluster, const struct store_slot *slot, bool pool);

struct writeback {
	uint64_t age_ms;       /* only records that have been in the pool for so long */
	uint64_t most;         /* stop after so many bytes of records; 0: no limit */
	uint64_t pages, bytes; /* answer: what was written */
	uint64_t left,
		oldest_ms; /* answer: bytes still in the pool, and since when the oldest is; 0: nothing is left */
};

/*
 * Moves records from the pool to the store. `job` held. Returns 0, or -ENOSPC, -EIO, -ENOMEM: what was not written
 * stays in the pool.
 */
int pool_writeback(struct pager *pager, struct writeback *writeback);

/* refaults.c: which superpages of the target were asked for since somebody last wanted to know. */
int refaults_new(struct refaults **refaults);
void refaults_note(struct pager *pager, uint64_t address, unsigned int pages); /* `lock` held */
json_t *refaults_record(struct pager *pager);                                  /* forgets what it tells */

/* The contents of a cluster are lost while it was staged, holes apart. `lock` held. */
void cluster_lose(struct cluster *cluster);

/*
 * room.c: for children. How many there may be, by this process's limit of descriptors; whether there are so many, or
 * the index has no room for a child of that space, and could have it from another child. `lock` is not held.
 */
void room_init(struct pager *pager);
bool room_is_full(struct pager *pager, const struct space *parent);

/* Gives children all that is out in them back and lets them go, a few at a time. No lock is held. */
void room_make(struct filler *filler);

/* Drops a reference to a cluster; frees it, and its slot, with the last. `lock` is held. */
void cluster_unref(struct pager *pager, uint32_t number);
void cluster_unpin(struct pager *pager, uint32_t number);

/*
 * enter.c: the two userfaultfds and the staging area in the target, by ptrace when that is permitted, otherwise by its
 * agent, or by the one road chosen. Returns 0, or -errno with `error` filled; when neither road is possible it says why
 * of both.
 */
int enter_target(struct pager *pager, enum road_choice choice, struct error *error);

/* The same again, from what the index says of it, after all processes of the session have died. Stops nothing. */
int enter_again(struct pager *pager, struct error *error);

/* The index is told where things of ours are in the target. */
void enter_note(struct pager *pager);

/*
 * As begin of the road, which may have had to make some of what is ours in the target anew: the index is told, and what
 * is to be held there is held again. `job` is held. Returns 0 or -errno with `error` filled.
 */
int enter_begin(struct pager *pager, struct error *error);

/*
 * forks.c: brings everything back before the target forks, where no event would tell of its child. Does nothing where
 * they do.
 */
int forks_start(struct pager *pager);
void forks_stop(struct pager *pager);

/*
 * job.c: the lock of requests that change what is out, `job`, with a sign of life: a holder that does not come to a
 * next step for long is hung, and the supervisor replaces the worker.
 */
void job_begin(struct pager *pager);
void job_step(struct pager *pager);
void job_end(struct pager *pager);

/* tracer.c: notices a debugger of the target within a second, brings everything back and keeps it in core. */
int tracer_start(struct pager *pager);
void tracer_stop(struct pager *pager);

/* discards.c: of the target's own memory. `lock` held: one was read; whether a page may yet be discarded by one. */
void discard_note(struct pager *pager, struct region region);
bool discard_pending(const struct pager *pager, uint64_t address);

/* Forgets those that are over. No lock is held, and no thread of the target. */
void discards_settle(struct pager *pager);

/*
 * guards.c: forgets what is out under guards that the target has laid over it since it was looked for them last; of
 * much memory a part at a time. No lock is held.
 */
void guards_look(struct pager *pager);

/* spaces.c: the places of spaces up to this one, with their locks. `lock` is held, or nothing else runs. */
void space_make(struct pager *pager, unsigned int id);

struct space *space_new(struct pager *pager,
			int uffd); /* `lock` held; takes the descriptor on success; not watched yet */
void space_close(struct pager *pager, struct space *space);
bool space_check(struct pager *pager,
		 struct space *space); /* closes it when its address space is gone; whether it lives */
int space_register(struct pager *pager, struct space *space, uint64_t address); /* `events` held shared */
void spaces_save(struct pager *pager); /* `lock` held: hands what is not saved to the supervisor */
bool space_registered(const struct space *space, struct region region); /* `lock` held */
/* Registers again what was left to the kernel. `events` held exclusively. */
void space_take_back(struct pager *pager, struct space *space);
/*
 * Unregisters mappings of the target with nothing out. Those of children stay registered until nothing is out in the
 * child: where its mappings begin and end is not known, and a part of one cannot be given back without splitting it.
 * Returns false when events were unread: to be tried again.
 */
bool space_tidy(struct pager *pager);
/*
 * Closes a child in which nothing is out, everything of it unregistered first: others may hold copies of its
 * descriptor. Returns false when something is out, or when events were unread: to be tried again.
 */
bool space_release(struct pager *pager, struct space *space);
/*
 * Every mapping of the target with nothing out, listed or not. Returns false when events were unread: to be tried
 * again.
 */
bool space_unregister_all(struct pager *pager);
void space_drop(struct pager *pager, struct space *space,
		struct region region); /* `lock` held: its pages are no longer out */

/* out.c: swap-out. One at a time, `job` held. Emits records through the callback. */
typedef void (*emit_fn)(void *context, json_t *record);

struct out_request {
	struct region_vec regions; /* sorted, without overlaps */
	bool everything;           /* instead of regions: all that is eligible */
	uint64_t bytes;            /* stop after so many have left; 0: no limit */
	bool dry_run;
	bool pool;          /* to the pool, not to the store */
	bool skip_unmapped; /* a region that is not mapped any more is skipped, not refused */
	struct asker asker;
	emit_fn emit;
	void *context;
};

/*
 * Returns 0, or -errno with `error` filled: -EINVAL (a region outside any mapping; nothing was changed), -ESRCH,
 * -ENOSPC, -EPERM, -ECANCELED (the asker has had enough). *partial: something asked for could not be moved.
 */
int out_run(struct pager *pager, const struct out_request *request, bool *partial, struct error *error);
