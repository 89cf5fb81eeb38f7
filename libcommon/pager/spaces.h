/* SPDX-License-Identifier: MIT */
/* Address spaces that are served. */
#pragma once

#include "pager/pager.h"

/* The places of spaces up to this one, with their locks. `lock` is held, or nothing else runs. */
void space_make(struct pager *pager, unsigned int id);

/* From now on every fault thread hears of the messages of a space. Returns 0 or -errno. */
int space_watch(struct pager *pager, struct space *space);

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
