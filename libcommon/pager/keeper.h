/* SPDX-License-Identifier: MIT */
/* A process that shares the worker's descriptors. */
#pragma once

#include "pager/pager.h"

/*
 * A process that holds what the worker has open until the next worker has looked at it. keeper_take returns a
 * copy of what the worker before had under this number, or -errno; keeper_end lets the keeper before go. keeper_follow
 * tells it of another supervisor, the one that the next worker will come from; `events` is held exclusively.
 *
 * keeper_start returns 0 or -errno. keeper_read has it read a message of the target into the index, as uffd_read would,
 * unless that is a fork: -EMFILE, and the thread that forks waits on, behind all others (`fork_awaited`). -EINPROGRESS:
 * again; -ESRCH: there is no keeper. `events` is held exclusively. keeper_quiesce waits until the keeper before reads
 * nothing any more.
 */
int keeper_start(struct pager *pager);
void keeper_stop(struct pager *pager);
void keeper_follow(struct pager *pager);
int keeper_read(struct pager *pager);
void keeper_quiesce(struct pager *pager);
int keeper_take(const struct pager *pager, int number);
void keeper_end(struct pager *pager);
