/* SPDX-License-Identifier: MIT */
/* Our process in a program's address space, on which calls are made while every thread of the program goes on. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/region.h"
#include "inject/inject.h"
#include "proc/target.h"
#include "report/error.h"

/*
 * How it is done. A thread of the program is stopped once and makes a process that shares its memory and nothing else
 * (clone(2): CLONE_VM without CLONE_FILES, CLONE_FS, CLONE_SIGHAND, CLONE_THREAD), by puppet/birth.h: it belongs to
 * init, and no wait(2) of the program sees it. In a program that is given orphans itself it is a child without a signal
 * at its end, which is reaped there when it has ended. It has a session and a table of descriptors of its own. All
 * signals are blocked on it.
 *
 * Before anything else it gives up all capabilities and what it could gain by exec (PR_SET_NO_NEW_PRIVS), and takes a
 * seccomp filter that leaves it its memory, userfaultfds and what they take: the program can rewrite the code in which
 * it waits, and may have given up privileges that the puppet was made with. Its user is not changed, because that would
 * change whether the memory that it shares may be dumped (kernel/cred.c, commit_creds).
 *
 * Between calls nobody traces it. It waits in epoll_wait(2) for the end of the program and ends then by itself. Where
 * the program's own seccomp filter may not let it wait it is stopped (state T), and has to be ended: puppet_end.
 */
struct puppet {
	const char *name;   /* TARGET_PUPPET: the only one that waits for its program; or another one of target.h */
	bool maps_files;    /* its filter lets it map what it has open */
	int until;          /* pidfd, borrowed: it ends with that process, too; -1: with the program alone */
	struct target self; /* pid 0: there is none */
	struct region own;  /* two pages of the program: the code in which it waits, and its data */
	bool child;         /* of the program, which has to reap it */
	struct inject inject;
};

#define PUPPET_OF(of)        PUPPET_UNTIL(of, -1)
#define PUPPET_UNTIL(of, at) ((struct puppet){.name = (of), .until = (at), .self = TARGET_NONE, .inject = INJECT_NONE})
#define PUPPET_NONE          PUPPET_OF(TARGET_PUPPET)

/* What has to be known to find it again. */
struct puppet_record {
	int32_t pid;
	uint32_t child;
	uint64_t starttime;
	uint64_t own;
};

/*
 * Makes one in the program that `program` was opened for; stops a thread of it. Fill in `name`, `until` and
 * `maps_files`. puppet->inject makes calls on it afterwards, in the same control area. Returns 0, or -errno with
 * `error` filled: -EAGAIN (a limit of processes), -ENOSYS (no close_range(2), Linux 5.9), or as inject_begin.
 */
int puppet_make(struct puppet *puppet, struct inject *program, struct error *error);

/*
 * Opens the one that a record tells of, to be inspected and killed; no calls are made on it. Returns 0, -ENOENT (it
 * has ended) or another -errno. `own` is known then, too.
 */
int puppet_open(struct puppet *puppet, const struct puppet_record *record);

/*
 * The same to make calls on it; the record is not trusted. Stops nothing. Returns 0, -ENOENT (it has ended, or is not
 * in the memory of the program), or as inject_share, with `error` filled.
 */
int puppet_find(struct puppet *puppet, const struct inject *program, const struct puppet_record *record,
		struct error *error);

/* For puppet_open and puppet_find. */
struct puppet_record puppet_record(const struct puppet *puppet);

/* Whether it lives, and the code in which it waits is as it was: the program may have mapped something over that. */
bool puppet_stands(const struct puppet *puppet);

/*
 * Whether a call on it, or the beginning of one, came to `rc` because it was killed. Nobody can trace it from then on,
 * but its pidfd tells of its end only when it has left the memory (kernel/exit.c, exit_notify): this waits for that, so
 * that puppet_stands tells the truth.
 */
bool puppet_killed(const struct puppet *puppet, int64_t rc);

/*
 * Whether it is still in the memory of the program. Not after exec or the end of either; true when that cannot be told.
 */
bool puppet_shares(const struct puppet *puppet, const struct target *program);

/*
 * Ends all others that were made for the program and of which nobody knows: who made them was killed. One that is
 * stopped would not end with the program. What another program has that shares the memory is left alone. Does nothing
 * where there may be several.
 */
void puppet_kill_strays(const struct puppet *puppet, const struct target *program);

/* Ends it, and forgets it but for `own`: what is mapped stays. */
void puppet_kill(struct puppet *puppet);

/*
 * Makes another one in its place, with none of the descriptors that it had. What is left of its own pages goes. As
 * puppet_make; there is none after a failure, and its own pages are known yet.
 */
int puppet_replace(struct puppet *puppet, struct inject *program, struct error *error);

/*
 * Takes the control area and its own pages out of the program, and ends it; one that was killed is replaced for that,
 * also one that is killed meanwhile. When the program has to reap it, a thread of that is stopped. `program` makes no
 * calls afterwards. Returns 0, or -errno with `error` filled: -EADDRINUSE, the program has mapped something over the
 * control area.
 */
int puppet_end(struct puppet *puppet, struct inject *program, struct error *error);

/*
 * Ends it and takes its own pages out of the program, by a thread of that, which is stopped; the control area stays.
 * What cannot be done (the program has ended, or no thread can be stopped) stays as it is.
 */
void puppet_dismiss(struct puppet *puppet, struct inject *program);

/* Forgets it without touching it, but for `own`. */
void puppet_abandon(struct puppet *puppet);
