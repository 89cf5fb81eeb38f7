/* SPDX-License-Identifier: MIT */
/* The process that holds a session's descriptors while workers come and go. Internal to the room. */
#pragma once

#include "pager/keep.h"
#include "pager/pager.h"
#include "pager/paths.h"

/* For processes of a session that were killed to end: each of their threads needs a processor for that. */
#define DYING_US      20000000
#define DYING_LOOK_US 5000 /* between two looks */

/* Everything that makes a session. Each supervisor has one, and the worker that it starts inherits it. */
struct session {
	struct pager pager; /* first: the worker's pager is the session's */
	char name[SESSION_NAME];
	char store[256]; /* path, or "memory" */
	int sessions;    /* directory of all sessions */
	bool removed;    /* nothing of it is left on the file system */
};

/* In zeroed memory: a session with nothing in it but what it is about. The target is borrowed for as long as the
 * session lives. */
void session_init(struct session *s, const struct target *target, unsigned int cluster_pages);

/*
 * session.c: a new one: files, descriptors, staging area. Returns 0 or -errno with `error` filled; nothing is left
 * behind then.
 */
struct session_options;
int session_make(struct session *s, const struct target *target, const struct session_options *options,
		 struct error *error);

/*
 * The session of a target whose processes have all died, from its directory and from what the target holds for it;
 * *kept receives the descriptors of children. Stops no thread. Returns 0, or -errno with `error` filled (-ENOENT: there
 * is none, -EEXIST: it is served, -EBADMSG: its index is damaged, -EBADF: the target has closed its userfaultfd).
 */
int session_take_up(struct session *s, const struct target *target, struct kept *kept, struct error *error);

/*
 * enter.c: the userfaultfd of the staging area, made when there is none yet; `job` is held. Returns 0 or -errno with
 * `error` filled.
 */
int session_staging(struct pager *pager, struct error *error);

/* Takes everything of a session in which nothing is out from the target and from the file system. */
void session_leave(struct pager *pager);

/* Removes what the session has on the file system, if that is still its own. */
void session_remove_files(struct pager *pager);

/*
 * Workers, one after the other, until one says that the session is over. Meanwhile the descriptors are held: threads
 * that touch what is out wait; were they closed, the threads would read zeros. `ready`: where the first worker says
 * that the session is served, -1: nowhere. `adopted`: descriptors of children that are there already, NULL when the
 * session begins. Returns the exit status; or -errno, with `ready` open, when no worker can be started or none comes to
 * serve: what had begun with it is taken back then.
 */
int supervise(struct session *s, int ready, struct kept *adopted);

/*
 * In a worker whose supervisor has died: makes another one of a copy of itself. Returns 0 or -errno; the worker goes on
 * alone then.
 */
int supervisor_replace(struct pager *pager);
