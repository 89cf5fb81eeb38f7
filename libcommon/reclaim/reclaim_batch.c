/* SPDX-License-Identifier: MIT */
/*
 * One batch: what is asked for is checked against the mappings, then done by system calls of a thread that is held, or
 * by the agent.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include <uvm/reclaim.h>

#include "base/size.h"
#include "proc/maps.h"
#include "reclaim/entries.h"
#include "reclaim/reclaim_parts.h"

#ifndef MADV_DONTNEED_LOCKED
#define MADV_DONTNEED_LOCKED 24 /* Linux 5.18 */
#endif

#define PIDFD_SELF (-10000) /* PIDFD_SELF_THREAD of <linux/pidfd.h>, Linux 6.14 */

#define CHUNK     (16 * MiB) /* dropped by one call: about a millisecond */
#define HUGE_PAGE (2 * MiB)
#define PIECES    256 /* mappings that one region may lie in */
#define CALLS     10  /* tries, each of which waits, for a thread that gets no processor */

static int refuse_work(struct error *why, const struct ring_work *work, int code, const char *reason)
{
	char text[ADDRESS_TEXT];

	return error_set(why, code, reason, "the program enters what is not its to give away",
			 "reclaim the region at %s", address_format(text, work->address));
}

/*
 * A thread that does not run has not made the call: another stop may find one that does, or take the process out of a
 * frozen cgroup.
 */
static int64_t call_target(struct reclaimer *reclaimer, long number, const uint64_t with[4], struct error *error)
{
	struct inject *inject = &reclaimer->inject;
	int64_t rc = -ETIMEDOUT;

	for (int tries = 0; tries < CALLS; tries++) {
		if (!inject->tid || inject_held_us(inject) > RECLAIM_HOLD_US) {
			reclaimer_let_go(reclaimer);
			rc = reclaimer_hold(reclaimer, error);
			if (rc < 0)
				return rc;
		}
		rc = inject_call(inject, number, with[0], with[1], with[2], with[3], 0, 0);
		if (rc != -ETIMEDOUT)
			break;
		reclaimer_let_go(reclaimer);
	}
	if (rc == -ETIMEDOUT)
		reclaimer_frozen(reclaimer, error);
	else if (rc == -ESRCH)
		error_set(error, -ESRCH, "it has ended", NULL, "reclaim in process %d", reclaimer->target->pid);
	return rc;
}

/* Whether it was the thread and not the call that failed: `error` is filled then. */
static bool is_fatal(const struct error *error)
{
	return error->code < 0;
}

static int check_mapping(const struct reclaimer *reclaimer, const struct ring_work *work, const struct mapping *mapping,
			 struct error *why)
{
	if (mapping->kind != MAPPING_ANON || mapping->shared)
		return refuse_work(why, work, -EINVAL, "what is mapped there is not private anonymous memory");
	if (strncmp(mapping->name, "[stack", strlen("[stack")) == 0)
		return refuse_work(why, work, -EINVAL, "a stack is mapped there");
	if (region_overlaps(mapping->region, reclaimer->inject.area) || mapping_has_our_name(mapping))
		return refuse_work(why, work, -EINVAL, "memory of this tool is mapped there");
	return 0;
}

/*
 * Nothing is done to what the program may not enter. A thread of it that maps something else there between this check
 * and the call does that to itself: a thread that entered a region has no business there until it is reclaimed, and no
 * other process is touched.
 */
static int check_work(const struct reclaimer *reclaimer, const struct ring_work *work, struct error *why)
{
	struct mapping mapping;
	struct region region;
	int pieces = 0;

	if (work->action != UVM_RECLAIM_FREE && work->action != UVM_RECLAIM_DEALLOCATE)
		return refuse_work(why, work, -EINVAL, "its action is none of those that there are");
	if (ring_region(work, &region) < 0)
		return refuse_work(why, work, -EINVAL, "no region can be there");
	for (uint64_t at = region.start; at < region.end; at = mapping.region.end) {
		int rc = mapping_at(reclaimer->maps_fd, at, &mapping);

		if (rc <= 0)
			return refuse_work(why, work, rc ? rc : -ENOMEM, rc ? NULL : "nothing is mapped there");
		if (++pieces > PIECES)
			return refuse_work(why, work, -EINVAL, "it lies in too many mappings");
		rc = check_mapping(reclaimer, work, &mapping, why);
		if (rc < 0)
			return rc;
	}
	return 0;
}

/* Memory that is locked needs to be asked for by name. */
static int64_t drop_chunk(struct reclaimer *reclaimer, uint64_t id, uint64_t start, uint64_t bytes, struct error *error)
{
	int64_t rc;

	if (reclaimer->access == ACCESS_AGENT)
		return reclaimer_ask(reclaimer, AGENT_RECLAIM_DROP, id, &(struct agent_region){start, bytes}, 1, error);
	rc = call_target(reclaimer, SYS_madvise, (uint64_t[4]){start, bytes, MADV_DONTNEED}, error);

	if (rc == -EINVAL)
		rc = call_target(reclaimer, SYS_madvise, (uint64_t[4]){start, bytes, MADV_DONTNEED_LOCKED}, error);
	return rc;
}

/* Contents go first, and piece by piece: giving up many pages takes long, unmapping none does not. */
static int drop_region(struct reclaimer *reclaimer, const struct ring_work *work, struct error *why,
		       struct error *error)
{
	struct region region;
	uint64_t next;

	ring_region(work, &region);
	for (uint64_t at = region.start; at < region.end; at = next) {
		int64_t rc;

		next = min_u64(region.end, round_down(at + CHUNK, HUGE_PAGE));
		rc = drop_chunk(reclaimer, work->id, at, next - at, error);
		if (is_fatal(error))
			return error->code;
		if (rc < 0)
			return refuse_work(why, work, (int)rc, NULL);
	}
	return 0;
}

/* Where the program may have mapped something else since, nothing is done. */
static bool is_gone(const struct ring_work *work)
{
	return work->action == UVM_RECLAIM_DEALLOCATE && work->maybe_unmapped;
}

/* Some regions that are dropped by one call. */
struct group {
	struct iovec parts[RING_BATCH];
	unsigned int members[RING_BATCH]; /* of the batch */
	unsigned int count;
	uint64_t bytes;
};

static int64_t drop_by_agent(struct reclaimer *reclaimer, const struct ring_batch *batch, const struct group *group,
			     struct error *error)
{
	struct agent_region regions[RING_BATCH] = {{0}};
	uint64_t first = batch->work[group->members[0]].id, last = batch->work[group->members[group->count - 1]].id;

	for (unsigned int i = 0; i < group->count; i++)
		regions[batch->work[group->members[i]].id - first] =
			(struct agent_region){(uintptr_t)group->parts[i].iov_base, group->parts[i].iov_len};
	return reclaimer_ask(reclaimer, AGENT_RECLAIM_DROP, first, regions, (unsigned int)(last - first + 1), error);
}

static int64_t drop_by_call(struct reclaimer *reclaimer, const struct group *group, struct error *error)
{
	struct inject *inject = &reclaimer->inject;
	int64_t rc = inject_write(inject, inject->scratch, group->parts, group->count * sizeof(*group->parts));

	if (rc < 0)
		return rc;
	rc = call_target(reclaimer, SYS_process_madvise,
			 (uint64_t[4]){(uint64_t)PIDFD_SELF, inject->scratch, group->count, MADV_DONTNEED}, error);
	return rc == (int64_t)group->bytes ? 0 : -EINVAL;
}

/*
 * Where they cannot all be done at once, or one of them needs more than that, each is done by itself; that some are
 * dropped twice does no harm.
 */
static int drop_group(struct reclaimer *reclaimer, const struct ring_batch *batch, struct group *group,
		      struct error why[RING_BATCH], struct error *error)
{
	unsigned int count = group->count;
	int64_t rc = -EINVAL;

	if (count > 1 && !reclaimer->one_by_one)
		rc = reclaimer->access == ACCESS_AGENT ? drop_by_agent(reclaimer, batch, group, error)
						       : drop_by_call(reclaimer, group, error);
	group->count = 0;
	group->bytes = 0;
	if (is_fatal(error))
		return error->code;
	if (rc == 0)
		return 0;
	reclaimer->one_by_one = reclaimer->one_by_one || count > 1;
	for (unsigned int i = 0; i < count && !is_fatal(error); i++)
		drop_region(reclaimer, &batch->work[group->members[i]], &why[group->members[i]], error);
	return is_fatal(error) ? error->code : 0;
}

/* Contents of all that may be reclaimed. */
static int drop_all(struct reclaimer *reclaimer, const struct ring_batch *batch, struct error why[RING_BATCH],
		    struct error *error)
{
	struct group group = {.count = 0};
	int rc = 0;

	for (unsigned int i = 0; rc == 0 && i < batch->count; i++) {
		struct region region;

		if (why[i].code || is_gone(&batch->work[i]))
			continue;
		ring_region(&batch->work[i], &region);
		if (group.bytes + region_bytes(region) > CHUNK)
			rc = drop_group(reclaimer, batch, &group, why, error);
		group.parts[group.count].iov_base =
			(void *)(uintptr_t)region.start; // NOLINT(performance-no-int-to-ptr)
		group.parts[group.count].iov_len = region_bytes(region);
		group.members[group.count++] = i;
		group.bytes += region_bytes(region);
	}
	return rc ? rc : drop_group(reclaimer, batch, &group, why, error);
}

static int unmap_region(struct reclaimer *reclaimer, const struct ring_work *work, struct error *why,
			struct error *error)
{
	int64_t rc;

	ring_unmapping(&reclaimer->ring.view, work->id);
	if (reclaimer->access == ACCESS_AGENT)
		rc = reclaimer_ask(reclaimer, AGENT_RECLAIM_UNMAP, work->id,
				   &(struct agent_region){work->address, work->size}, 1, error);
	else
		rc = call_target(reclaimer, SYS_munmap, (uint64_t[4]){work->address, work->size}, error);
	if (is_fatal(error))
		return error->code;
	return rc < 0 ? refuse_work(why, work, (int)rc, NULL) : 0;
}

static int do_batch(struct reclaimer *reclaimer, const struct ring_batch *batch, struct error why[RING_BATCH],
		    struct error *error)
{
	int rc;

	for (unsigned int i = 0; i < batch->count; i++) {
		if (!is_gone(&batch->work[i]))
			check_work(reclaimer, &batch->work[i], &why[i]);
		if (why[i].code == -ESRCH) {
			*error = why[i];
			return -ESRCH;
		}
	}
	rc = drop_all(reclaimer, batch, why, error);
	if (rc < 0)
		return rc;
	for (unsigned int i = 0; i < batch->count; i++) {
		const struct ring_work *work = &batch->work[i];

		if (work->action != UVM_RECLAIM_DEALLOCATE || work->maybe_unmapped || why[i].code)
			continue;
		unmap_region(reclaimer, work, &why[i], error);
		if (is_fatal(error))
			return error->code;
	}
	return 0;
}

int reclaimer_batch(struct reclaimer *reclaimer, const struct ring_batch *batch, struct reclaim_done *done,
		    struct error *error)
{
	struct error why[RING_BATCH] = {{0}};
	uint64_t all = 0;
	unsigned int refused = 0;
	int rc;

	error->code = 0;
	rc = do_batch(reclaimer, batch, why, error);
	if (rc < 0)
		return rc;
	for (unsigned int i = 0; i < batch->count; i++) {
		all += batch->work[i].size;
		refused += why[i].code < 0;
		done->bytes += why[i].code ? 0 : batch->work[i].size;
	}
	ring_complete(&reclaimer->ring.view, batch, all, refused);
	done->entries += batch->count;
	done->refused += refused;
	for (unsigned int i = 0; reclaimer->each && i < batch->count; i++)
		reclaimer->each(reclaimer->context, &batch->work[i], why[i].code ? &why[i] : NULL);
	return 0;
}
