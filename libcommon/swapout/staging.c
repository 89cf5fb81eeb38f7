/* SPDX-License-Identifier: MIT */
/* The staging area: opened and closed, and told from what the program maps in its place. */

#include "swapout/staging.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "index/index.h"
#include "pager/pager.h"
#include "pager/target_fds.h"
#include "proc/maps.h"
#include "service/failpoint.h"
#include "uffd/offer.h"

#define CHANGING_TRIES   1000
#define CHANGING_US      100
#define DRAIN_TRIES      20
#define INSPECT_TRIES    20 /* of the area: one that fails, most of all for want of memory, says nothing of it */
#define INSPECT_AGAIN_US 500

struct region staging_slot_whole(const struct pager *pager, unsigned int slot)
{
	uint64_t start = pager->staging.region.start + slot * SLOT_BYTES;

	return (struct region){start, start + SLOT_BYTES};
}

static struct region mark_page(const struct pager *pager)
{
	return (struct region){pager->staging.region.end - page_size(), pager->staging.region.end};
}

struct region staging_slot(const struct pager *pager, unsigned int slot)
{
	struct region region = staging_slot_whole(pager, slot);

	region.end = min_u64(region.end, mark_page(pager).start);
	return region;
}

static int read_mapping(const struct pager *pager, uint64_t at, struct mapping *mapping)
{
	int rc = mapping_at(pager->view.maps_fd, at, mapping);

	for (int tries = 0; rc < 0 && rc != -ESRCH && tries < INSPECT_TRIES; tries++) {
		usleep(INSPECT_AGAIN_US);
		rc = mapping_at(pager->view.maps_fd, at, mapping);
	}
	return rc;
}

static bool has_mark(const struct pager *pager)
{
	uint64_t mark[2];

	return inject_peek(access_memory(&pager->access), mark_page(pager).start, mark, sizeof(mark)) == 0 &&
	       memcmp(mark, index_header(pager->index)->session.staging.mark, sizeof(mark)) == 0;
}

/*
 * One mapping, or several where a slot is executable: pieces of the area that lie side by side and are alike are one,
 * and no other mapping is one with them.
 */
static bool has_shape(const struct pager *pager, bool open)
{
	struct region area = pager->staging.region;
	struct mapping mapping;
	int before = -1;

	for (uint64_t at = area.start; at < area.end; at = mapping.region.end) {
		if (read_mapping(pager, at, &mapping) <= 0 || mapping.region.start != at ||
		    mapping.region.end > area.end || (mapping.region.end - area.start) % SLOT_BYTES ||
		    mapping.kind != MAPPING_ANON || mapping.shared || mapping.read != open || mapping.write != open ||
		    mapping.execute == before)
			return false;
		before = mapping.execute;
	}
	return true;
}

static bool is_area_intact(const struct pager *pager, bool open)
{
	return has_shape(pager, open) && (!open || has_mark(pager));
}

/* The next part of the area that is one mapping, from *at on, which goes behind it. */
static bool next_piece(const struct pager *pager, uint64_t *at, struct mapping *mapping)
{
	if (*at >= pager->staging.region.end || mapping_at_or_after(pager->view.maps_fd, *at, mapping) <= 0)
		return false;
	mapping->region = region_intersect(mapping->region, pager->staging.region);
	*at = mapping->region.end;
	return region_bytes(mapping->region) > 0;
}

/* With each that is of private memory. */
static void for_pieces(const struct pager *pager, int (*call)(int fd, struct region region), int fd)
{
	struct mapping mapping;

	for (uint64_t at = pager->staging.region.start; next_piece(pager, &at, &mapping);)
		if (mapping.kind == MAPPING_ANON && !mapping.shared)
			call(fd, mapping.region);
}

/* Not left registered with a descriptor that nobody serves, whosever it is. */
static void unregister_pieces(const struct pager *pager)
{
	if (uffd_unregister(pager->staging.uffd, pager->staging.region) < 0)
		for_pieces(pager, uffd_unregister, pager->staging.uffd);
}

void staging_drain(struct pager *pager)
{
	struct uffd_msg message;

	for (int tries = 0; tries < DRAIN_TRIES && uffd_changing(pager->staging.uffd); tries++)
		while (uffd_read(pager->staging.uffd, &message, 1) > 0)
			;
}

/*
 * A program that populates all of its memory (mlockall) in the moment in which the area is held waits there. Closed, it
 * has nothing to populate.
 */
static void wake_populating(const struct pager *pager)
{
	uffd_wake(pager->staging.uffd, pager->staging.region);
}

int staging_explain(const struct pager *pager, int rc, const char *tried, struct error *error)
{
	return error_set(error, rc,
			 rc == -ESRCH        ? "the process has ended"
			 : rc == -ETIMEDOUT  ? "it does not run (stopped, or its cgroup is frozen)"
			 : rc == -EADDRINUSE ? "it has mapped something over the staging area"
					     : NULL,
			 rc == -EADDRINUSE ? "try again: there will be another one" : NULL, "%s process %d", tried,
			 pager->target.pid);
}

/*
 * Nothing of it is touched from now on. What has been moved there with pages out may just have been unregistered: the
 * thread that did that waits for its event, and has not touched it.
 */
static int mark_area_gone(struct pager *pager)
{
	pager->staging.gone = true;
	pager->staging.open = false;
	pager->access.mapped_over = true;
	unregister_pieces(pager);
	for_pieces(pager, uffd_register_missing, pager->spaces[0].uffd);
	pager->spaces[0].strays = true;
	staging_drain(pager);
	return target_alive(&pager->target) ? -EADDRINUSE : -ESRCH;
}

/* Fails, and changes nothing, where something else has come to lie since the area was made. */
static int put_mark(const struct pager *pager)
{
	static _Alignas(65536) unsigned char page[65536];
	struct index_header *header = index_header(pager->index);
	size_t done;

	if (getrandom(header->session.staging.mark, sizeof(header->session.staging.mark), 0) < 0)
		return -errno;
	memcpy(page, header->session.staging.mark, sizeof(header->session.staging.mark));
	return has_shape(pager, false)
		       ? uffd_copy(pager->staging.uffd, mark_page(pager).start, page, page_size(), true, &done)
		       : -EEXIST;
}

/* For want of memory, most of all: that says nothing of what lies there, as an event does that is unread. */
static bool may_pass(const struct pager *pager, int rc)
{
	return rc == -ENOMEM || (rc == -EAGAIN && !uffd_changing(pager->staging.uffd));
}

static int register_and_mark(const struct pager *pager)
{
	int rc = uffd_register_missing(pager->staging.uffd, pager->staging.region);

	return rc == 0 ? put_mark(pager) : rc;
}

int staging_connect(struct pager *pager, struct error *error)
{
	int uffd;
	int rc;

	if (pager->staging.uffd >= 0)
		return 0;
	uffd = pager->access.ops->fds.new_uffd(&pager->access, error);
	if (uffd < 0)
		return uffd;
	rc = uffd_enable(uffd, UFFD_FEATURE_EVENT_UNMAP, error);
	if (rc < 0)
		close(uffd);
	else
		pager->staging.uffd = uffd;
	return rc;
}

int staging_begin(struct pager *pager, struct error *error)
{
	bool looking = pager->view.maps_fd >= 0;
	int rc;

	if (!looking)
		pager->view.maps_fd = target_proc_open(&pager->target, "maps", O_RDONLY | O_CLOEXEC);
	if (pager->view.maps_fd < 0)
		return staging_explain(pager, pager->view.maps_fd, "look at the mappings of", error);
	rc = register_and_mark(pager);
	for (int tries = 0; may_pass(pager, rc) && tries < INSPECT_TRIES; tries++) {
		usleep(INSPECT_AGAIN_US);
		rc = register_and_mark(pager);
	}
	pager->staging.unmarked = may_pass(pager, rc) && target_alive(&pager->target);
	if (rc < 0 && !pager->staging.unmarked)
		rc = mark_area_gone(pager);
	if (!looking)
		close(steal_fd(&pager->view.maps_fd));
	return rc < 0 ? staging_explain(pager, rc, "make the staging area of", error) : 0;
}

/* Once more while there is no memory for it: that, too, is what a process without an address space is told by. */
static int call_patiently(int (*call)(int fd, struct region region), int fd, struct region region)
{
	int rc = call(fd, region);

	for (int tries = 0; rc == -ENOMEM && uffd_alive(fd) && tries < INSPECT_TRIES; tries++) {
		usleep(INSPECT_AGAIN_US);
		rc = call(fd, region);
	}
	return rc;
}

/* A thread that maps over it waits from now on. */
static int hold_area(struct pager *pager)
{
	struct space *space = &pager->spaces[0];
	int rc = 0;

	pthread_rwlock_rdlock(&space->events);
	if (is_area_intact(pager, true)) {
		call_patiently(uffd_unregister, space->uffd, pager->staging.region);
		failpoint("staging-between");
		rc = call_patiently(uffd_register_missing, pager->staging.uffd, pager->staging.region);
	}
	if (rc < 0 || !is_area_intact(pager, true))
		rc = mark_area_gone(pager);
	pthread_rwlock_unlock(&space->events);
	return rc;
}

/* Pages can move there from now on. */
static int let_go(struct pager *pager)
{
	call_patiently(uffd_unregister, pager->staging.uffd, pager->staging.region);
	failpoint("staging-between");
	if (call_patiently(uffd_register_missing, pager->spaces[0].uffd, pager->staging.region) < 0 ||
	    !is_area_intact(pager, true))
		return mark_area_gone(pager);
	staging_drain(pager);
	return 0;
}

/* Looked at again while there is no memory for the look. */
static bool is_registered(const struct pager *pager)
{
	int fd = pager->staging.uffd;

	for (int tries = 0; tries < INSPECT_TRIES; tries++) {
		if (uffd_covers(fd, pager->staging.region))
			return true;
		if (uffd_absent(fd, pager->staging.region) || uffd_changing(fd))
			break;
		usleep(INSPECT_AGAIN_US);
	}
	return false;
}

int64_t staging_open(struct pager *pager)
{
	struct access *access = &pager->access;
	int64_t rc;

	if (pager->staging.gone)
		return -EADDRINUSE;
	if (!is_registered(pager) || !is_area_intact(pager, false))
		return mark_area_gone(pager);
	rc = access->ops->area.protect(access, pager->staging.region, PROT_READ | PROT_WRITE);
	if (rc < 0)
		return rc;
	pager->staging.open = true;
	pager->staging.torn = false;
	return let_go(pager);
}

int64_t staging_empty(struct pager *pager, struct region region, bool was_executable)
{
	struct access *access = &pager->access;
	int64_t rc = pager->staging.gone ? -EADDRINUSE : hold_area(pager);
	int opened;

	if (rc < 0)
		return rc;
	failpoint("discarding");
	rc = access->ops->area.discard(access, region, pager->staging.uffd);
	if (rc == 0 && was_executable)
		rc = access->ops->area.protect(access, region, PROT_READ | PROT_WRITE);
	opened = let_go(pager); /* in any case: a fault there waits as long as it is held */
	return rc < 0 ? rc : opened;
}

/*
 * What was mapped there between the last look and the change of protection has that now, and nobody has seen it yet: it
 * may be used again.
 */
static void repair_protection(struct pager *pager)
{
	struct mapping mapping;

	for (uint64_t at = pager->staging.region.start; next_piece(pager, &at, &mapping);)
		if (!mapping.read && !mapping.write && !uffd_registered(pager->spaces[0].uffd, mapping.region.start))
			pager->access.ops->area.protect(&pager->access, mapping.region, PROT_READ | PROT_WRITE);
}

static int64_t close_area(struct pager *pager)
{
	struct access *access = &pager->access;
	struct region all = {pager->staging.region.start, mark_page(pager).start};
	int64_t rc = hold_area(pager);

	if (rc < 0)
		return rc == -EADDRINUSE ? 0 : rc;
	failpoint("closing");
	rc = access->ops->area.discard(access, all, pager->staging.uffd);
	if (rc == 0)
		rc = access->ops->area.protect(access, pager->staging.region, PROT_NONE);
	if (rc < 0) {
		let_go(pager);
		return rc == -EADDRINUSE ? 0 : rc;
	}
	pager->staging.open = false;
	wake_populating(pager);
	if (uffd_changing(pager->staging.uffd))
		repair_protection(pager);
	staging_drain(pager);
	return 0;
}

int staging_close(struct pager *pager)
{
	struct access *access = &pager->access;
	struct error error = {0};
	int64_t rc;

	if (!pager->staging.open || pager->staging.gone || pager->staging.uffd < 0)
		return 0;
	rc = target_fds_begin(pager, &error);
	if (rc < 0)
		return (int)rc;
	rc = close_area(pager);
	access->ops->calls.end(access);
	return (int)rc;
}

bool staging_holds(const struct pager *pager, struct region region)
{
	int fd = pager->staging.uffd >= 0 ? pager->staging.uffd : pager->spaces[0].uffd;

	for (int tries = 0; tries < CHANGING_TRIES; tries++) {
		if (uffd_covers(fd, region))
			return true;
		if (!uffd_changing(fd))
			break;
		usleep(CHANGING_US);
	}
	return is_area_intact(pager, true);
}

/* Whether the area, closed and not registered, is kept from children, as ours is. */
static bool is_kept(const struct pager *pager)
{
	_cleanup_regions_ struct region_vec kept = {0};
	bool found = false;

	if (kept_from_children(&pager->target, &kept) < 0)
		return false;
	for (size_t i = 0; i < kept.count; i++)
		found |= region_contains(kept.items[i], pager->staging.region);
	return found;
}

static int make_another_area(struct pager *pager, struct error *error)
{
	struct index_header *header = index_header(pager->index);
	struct access *access = &pager->access;
	int rc;

	if (header->session.staging.former_count == FORMER_MAX)
		return staging_explain(pager, -EADDRINUSE, "make another staging area of", error);
	if (!header->session.staging.former_count ||
	    header->session.staging.former[header->session.staging.former_count - 1].start !=
		    pager->staging.region.start)
		header->session.staging.former[header->session.staging.former_count++] = pager->staging.region;
	rc = access->ops->area.renew(access, error);
	if (rc < 0)
		return rc;
	pager->staging.region = index_header(pager->index)->session.staging.region = access->staging;
	pager->staging.gone = false;
	return staging_begin(pager, error);
}

int staging_renew(struct pager *pager, struct error *error)
{
	if (pager->staging.unmarked)
		return staging_begin(pager, error);
	if (!pager->staging.gone && !pager->staging.open && !is_registered(pager) &&
	    (!has_shape(pager, false) || !is_kept(pager) ||
	     uffd_register_missing(pager->staging.uffd, pager->staging.region) < 0 || !has_shape(pager, false)))
		mark_area_gone(pager);
	return pager->staging.gone ? make_another_area(pager, error) : 0;
}

int staging_leave(struct pager *pager, struct error *error)
{
	struct access *access = &pager->access;
	int64_t rc = 0;

	if (!access->staging.end)
		return 0;
	if (pager->view.maps_fd < 0)
		pager->view.maps_fd = target_proc_open(&pager->target, "maps", O_RDONLY | O_CLOEXEC);
	if (!pager->staging.gone) {
		rc = access->ops->calls.begin(access, error);
		if (rc < 0) {
			unregister_pieces(pager); /* nobody may come to wait for an event */
			return (int)rc;
		}
		if (is_area_intact(pager, pager->staging.open)) {
			rc = call_patiently(uffd_unregister, pager->staging.uffd, pager->staging.region);
			call_patiently(uffd_unregister, pager->spaces[0].uffd, pager->staging.region);
		}
		/* Unmapping it while it is registered would wait for an event to be read. */
		if (rc != -ENOMEM && is_area_intact(pager, pager->staging.open))
			rc = access->ops->area.drop(access, true);
		else
			mark_area_gone(pager);
		access->ops->calls.end(access);
		staging_drain(pager);
	}
	if (pager->staging.gone)
		rc = access->ops->area.drop(access, false);
	if (rc < 0)
		return error_set(error, (int)rc, NULL, NULL, "unmap the staging area of process %d", pager->target.pid);
	access->staging = (struct region){0, 0};
	return 0;
}

int staging_recover(struct pager *pager)
{
	struct mapping mapping;

	pager->staging.region = pager->access.staging = index_header(pager->index)->session.staging.region;
	if (pager->access.agent.staging.end)
		pager->access.agent.staging = pager->staging.region;
	if (pager->spaces[0].dead)
		return -ESRCH;
	pager->staging.open = !has_shape(pager, false);
	if (mapping_at(pager->view.maps_fd, pager->staging.region.start, &mapping) == -ESRCH)
		return -ESRCH;
	/* Nobody would serve a fault there. */
	if (pager->staging.open && pager->staging.uffd >= 0 && is_area_intact(pager, true))
		unregister_pieces(pager);
	else if (pager->staging.uffd >= 0)
		wake_populating(pager);
	return 0;
}
