/* SPDX-License-Identifier: MIT */
/* A session from nothing, or from what processes that were killed have left. */
#pragma once

#include "pager/pager.h"
#include "service/fdstore.h"

/* For processes of a session that were killed to end: each of their threads needs a processor for that. */
#define DYING_US      20000000
#define DYING_POLL_US 5000 /* between two tries */

/*
 * A new one: files, descriptors, staging area. Returns 0 or -errno with `error` filled; nothing is left
 * behind then.
 */
struct session_options;
int session_make(struct pager *pager, const struct target *target, const struct session_options *options,
		 struct error *error);

/*
 * The session of a target whose processes have all died, from its directory and from what the target holds for it;
 * *fdstore receives the descriptors of children. Stops no thread. Returns 0, or -errno with `error` filled (-ENOMSG:
 * there is none, -EEXIST: it is served, -EBADMSG: its index is damaged, -EBADF: the target has closed its userfaultfd).
 */
int session_take_up(struct pager *pager, const struct target *target, struct fdstore *fdstore, struct error *error);
