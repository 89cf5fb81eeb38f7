/* SPDX-License-Identifier: MIT */
/* The ways into a target: what the pager needs done there, and the ways to get it done. */
#pragma once

#include <sys/types.h>
#include <sys/uio.h>

#include "access/agent.h"
#include "access/method.h"
#include "base/region.h"
#include "inject/inject.h"
#include "proc/target.h"
#include "puppet/puppet.h"
#include "report/error.h"
#include "uffd/uapi.h"

#define ACCESS_DESCRIPTORS 8

struct access;

/*
 * All addresses are the target's, all regions page aligned. What is called between begin and end has "held" beside it.
 * Functions return 0 or -errno: -ESRCH when the target is gone, -ETIMEDOUT when it does not answer, otherwise what the
 * system call said there. Not thread safe: one user at a time.
 */
struct target_ops {
	/* From the first call made in a target to the last one. */
	struct {
		/*
		 * Two userfaultfds before their handshake and a staging area of so many bytes (PROT_NONE, aligned to 2
		 * MiB, not given to children), made in the target. `access` is ACCESS_BY the method that is taken;
		 * fills access->staging, ->control, ->number and ->holder, and hands over the descriptors. Errors as
		 * inject_open, with `error` filled; the target is then as it was, and `access` ACCESS_NONE.
		 */
		int (*enter)(struct access *access, const struct target *target, uint64_t bytes, int uffd[2],
			     struct error *error);

		/*
		 * The same target again, after all processes that served it have died: access->method, ->staging,
		 * ->control and ->number are as enter left them. Stops nothing: its threads may all be waiting for us.
		 * Returns our copy of the descriptor behind access->number, or -errno with `error` filled.
		 */
		int (*rejoin)(struct access *access, const struct target *target, struct error *error);

		/*
		 * A new user, after another one died in the middle of something: waits for what the dead one began.
		 * `turn`: a number that it did not have; access->control and ->record are as it left them. -EBUSY: that
		 * may still be done, and nothing is as it looks.
		 */
		int (*resume)(struct access *access, uint64_t turn);

		/*
		 * Everything that enter made is removed; the staging area only if access->staging still says where it
		 * is. After a failure it can be called again.
		 */
		int (*leave)(struct access *access, struct error *error);

		/* Forgets the target without touching it. */
		void (*abandon)(struct access *access);

		/*
		 * Says whether the target's forks have to ask first (true), because no event will tell of them, or not.
		 * -EPERM: this way cannot make them.
		 */
		int (*forks)(struct access *access, bool ask);
	} life;

	/* What calls are made on: stopped, let go, and kept in order. */
	struct {
		int (*begin)(struct access *access, struct error *error);
		int (*end)(struct access *access); /* 0 also when the thread was lost on the way */

		/* Not held; stops that thread for a moment. -EPERM: this way cannot; -EAGAIN: not just now. */
		int (*ask)(struct access *access, pid_t tid, struct thread_words *words);
	} calls;

	/* The staging area. */
	struct {
		/*
		 * Another staging area, as enter makes it, in place of the one in access->staging: that is given up,
		 * and stays as it is. Not held. Errors as enter.
		 */
		int (*renew)(struct access *access, struct error *error);

		/* held; the staging area goes, or, when it is not `ours` any more, is given up and stays as it is. */
		int64_t (*drop)(struct access *access, bool ours);

		int64_t (*protect)(struct access *access, struct region region, int protection); /* held */

		/*
		 * held; empties a part of the staging area, which is registered with that userfaultfd. -EADDRINUSE, and
		 * nothing is done: an event of it is unread, so that something else may have come to lie there. That
		 * check is the last thing before the call. In a program that has mapped over it before, what lies there
		 * is taken away first, and put back when such an event is unread then.
		 */
		int64_t (*discard)(struct access *access, struct region region, int uffd);

		int64_t (*populate)(struct access *access, struct region region); /* held; MADV_POPULATE_WRITE */

		/*
		 * Reads from the staging area, as process_vm_readv. A page that is not there ends it; nothing waits for
		 * fault service.
		 */
		ssize_t (*read)(struct access *access, const struct iovec *here, const struct iovec *there,
				unsigned int count);
	} area;

	/*
	 * held; a move in two halves. After enter the thread that will do it needs nothing any more that fault service
	 * would have to give: make can be waited for while fault service is held up. -ETIMEDOUT of make: it may yet be
	 * done, unless its destination is unregistered first. Or cancel instead of make.
	 */
	struct {
		int (*enter)(struct access *access);
		int64_t (*make)(struct access *access, struct uffdio_move *move);
		int (*cancel)(struct access *access);
	} move;

	/* Those that are open in the target, and ours that are needed to reach it. */
	struct {
		/* A second userfaultfd before its handshake, for the staging area, as enter makes it. */
		int (*new_uffd)(struct access *access, struct error *error);

		/* held; gives the target the descriptor again that it has closed; changes access->number. */
		int64_t (*give)(struct access *access, int uffd);

		/*
		 * held; the target holds a copy of a descriptor for us, so that it outlives all of us, and lets go of
		 * it when `number` still stands for the same. keep returns its number there. take needs no hold; it
		 * returns our own copy.
		 */
		int (*keep)(struct access *access, int fd);
		void (*drop)(struct access *access, int number, int fd);
		int (*take)(struct access *access, int number);
	} fds;

	/*
	 * Whether every madvise(2) of the target that was under way is over: each of its threads was seen outside
	 * since. Not held. False also when that cannot be known.
	 */
	bool (*discards_done)(struct access *access);
};

/* One way into one target. The target must outlive it. */
struct access {
	const struct target_ops *ops; /* NULL: none is taken */
	enum access_method method;
	const struct target *target;
	struct region staging;
	bool mapped_over;      /* by the program, at some time: it may do so again */
	struct region control; /* what else is ours in the target; must not be swapped */
	int number;            /* of the userfaultfd, in the target */
	pid_t holder;          /* the thread in whose descriptors it is; the main thread: in the process's */
	struct inject inject;
	struct puppet puppet;
	struct puppet_record record; /* for rejoin and resume */
	struct agent agent;
};

/* The rest is the same on every way, and with ACCESS_NONE there is nothing of it. */

/*
 * Now and then, and when the target has ended: our puppet is ended if it would keep the memory from being freed or has
 * nothing to do there after exec.
 */
void access_check(struct access *access);

/*
 * Now and then, while idle, on every thread that begins something. Returns how many threads of the target are still to
 * be let go.
 */
unsigned int access_reap(struct access *access);

/* Held: how long a thread of the program has been kept. Microseconds. */
uint64_t access_held_us(const struct access *access);

/* Held; pages that must stay where they are. */
struct region access_in_use(const struct access *access);

/* On which the work is done, -1: not known. */
int access_processor(const struct access *access);

/*
 * /proc/PID/mem of the target, ours to read from: where a page is out that fails, and does not wait for fault service.
 */
int access_memory(const struct access *access);

/* The descriptors that each process that uses it needs, into fds. Returns how many, ACCESS_DESCRIPTORS at most. */
unsigned int access_fds(const struct access *access, int *fds);

/* What calls are made on by ptrace. */
static inline struct inject *access_injector(struct access *access)
{
	return access->puppet.self.pid ? &access->puppet.inject : &access->inject;
}

#define ACCESS_BY(way)    \
	((struct access){ \
		.method = (way), .number = -1, .inject = INJECT_NONE, .puppet = PUPPET_NONE, .agent = AGENT_NONE})
#define ACCESS_NONE ACCESS_BY(ACCESS_AUTO)

extern const struct target_ops target_by_ptrace; /* any program; on a puppet in its memory, or on its threads */
extern const struct target_ops target_by_agent;  /* a program that has one: uvm_swap_agent(3) */

/* What serves a method other than ACCESS_AUTO. */
static inline const struct target_ops *access_ops(enum access_method method)
{
	return method == ACCESS_AGENT ? &target_by_agent : &target_by_ptrace;
}
