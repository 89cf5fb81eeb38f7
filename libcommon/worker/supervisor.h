/* SPDX-License-Identifier: MIT */
/* The process that holds a session's descriptors while workers come and go. */
#pragma once

#include "pager/pager.h"
#include "service/fdstore.h"

/* What a worker does, from fork to the end of the session. Returns its exit status: 0 when the session is over. */
typedef int worker_fn(struct pager *pager);

/*
 * Workers, one after the other, until one says that the session is over. Meanwhile the descriptors are held: threads
 * that touch what is out wait; were they closed, the threads would read zeros. `ready`: where the first worker says
 * that the session is served, -1: nowhere. `adopted`: descriptors of children that are there already, NULL when the
 * session begins. Returns the exit status; or -errno, with `ready` open, when no worker can be started or none comes to
 * serve: what had begun with it is taken back then.
 */
int supervise(struct pager *pager, worker_fn *work, int ready, struct fdstore *adopted);

/*
 * In a worker whose supervisor has died: makes another one of a copy of itself. Returns 0 or -errno; the worker goes on
 * alone then.
 */
int supervisor_replace(struct pager *pager, worker_fn *work);
