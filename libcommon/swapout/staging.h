/* SPDX-License-Identifier: MIT */
/*
 * The staging area in the target. A program may map something in its place at any moment, with MAP_FIXED or by
 * mremap(2); nothing of that may be touched. Internal to the room.
 */
#pragma once

#include "pager/pager.h"

/*
 * How to know that the area is still the session's. Closed, it is registered with uffd_staging and cannot be accessed;
 * open, as long as pages move into it, it is registered with the descriptor of the target's memory. A mapping that
 * comes to lie there is registered with neither: UFFDIO_MOVE refuses it (EINVAL), and uffd_covers tells of it.
 *
 * Between the two registrations lies a moment with none, so afterwards it is looked at: our mapping is kept from
 * children and never becomes one with others beside it, so that it ends where the area does, and its last page begins
 * with a mark.
 *
 * While the area is registered with uffd_staging, a thread that maps over it waits inside its call until the event is
 * read (UFFD_FEATURE_EVENT_UNMAP; fs/userfaultfd.c, userfaultfd_unmap_complete). What is done to the area then and
 * there meets, at worst, a mapping that nobody has written to yet.
 */

/* Where pages may go in a slot. */
struct region staging_slot(const struct pager *pager, unsigned int slot);

/* All of a slot. */
struct region staging_slot_whole(const struct pager *pager, unsigned int slot);

/* Says why something could not be tried, -EADDRINUSE among it. Returns rc. */
int staging_explain(const struct pager *pager, int rc, const char *tried, struct error *error);

/* A userfaultfd for the area, if there is none yet. `job` is held. Returns 0 or -errno with `error` filled. */
int staging_connect(struct pager *pager, struct error *error);

/*
 * For an area that has just been made: closed, registered, with a new mark. Returns 0 or -errno with `error` filled.
 */
int staging_begin(struct pager *pager, struct error *error);

/*
 * An area that another worker has left, after all of them died with their descriptors: begins if it looks as it should.
 * A new one takes the place of an area that is gone. Not held; `job` is. Returns 0 or -errno with `error` filled.
 */
int staging_renew(struct pager *pager, struct error *error);

/*
 * The area open; a slot, or what is left of it, empty, and not executable when it `was`. Held, `job` as well. Returns
 * 0, -EADDRINUSE when the area is gone, or another -errno.
 */
int64_t staging_open(struct pager *pager);
int64_t staging_empty(struct pager *pager, struct region region, bool was_executable);

/* Closed again, and empty: nothing of the target lies there. Not held; `job` is. Returns 0 or -errno. */
int staging_close(struct pager *pager);

/* Whether a region of the open area is still ours, and so was all that has been read there until now. */
bool staging_holds(const struct pager *pager, struct region region);

/* Out of the target, or given up when it is gone. Nothing is out. Not held. Returns 0 or -errno with `error` filled. */
int staging_leave(struct pager *pager, struct error *error);

/* Lets those go on who have mapped over the area. `job` is held. */
void staging_drain(struct pager *pager);

/* After a worker died: finds out in what state the area is. Returns 0, or -ESRCH when the target is gone. */
int staging_recover(struct pager *pager);
