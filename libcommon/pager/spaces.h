/* SPDX-License-Identifier: MIT */
/* Address spaces that are served. */
#pragma once

#include "pager/pager.h"

/* The places of spaces up to this one, with their locks. `lock` is held, or nothing else runs. */
void space_make(struct pager *pager, unsigned int id);

/*
 * `events` of a space, for those who answer faults: each has it for some microseconds, and to sleep until another one
 * lets go takes longer than to look again.
 */
void space_lock_shared(struct space *space);
void space_lock_exclusive(struct space *space);

/* From now on every fault thread that has joined hears of the messages of a space. Returns 0 or -errno. */
int space_watch(struct pager *pager, struct space *space);

/* `lock` held. Takes the descriptor on success; not watched yet. Returns NULL when there is no room. */
struct space *space_new(struct pager *pager, int uffd);
void space_close(struct pager *pager, struct space *space);

/* Closes it when its address space is gone. Returns whether it lives. */
bool space_check(struct pager *pager, struct space *space);

/* The mapping at an address. `events` held shared. Returns 0 or -errno. */
int space_register(struct pager *pager, struct space *space, uint64_t address);

/* `lock` held: hands what is not saved to the supervisor, and lets go of children that got no place and have ended. */
void spaces_save(struct pager *pager);

/* `lock` held. */
bool space_registered(const struct space *space, struct region region);

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

/* `lock` held: its pages are no longer out. */
void space_drop(struct pager *pager, struct space *space, struct region region);
