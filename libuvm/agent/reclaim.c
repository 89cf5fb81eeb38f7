/* SPDX-License-Identifier: MIT */
/*
 * Reclaiming for a reclaimer outside that cannot trace the program, or would rather not. What it asks for must never be
 * done when another one has redone it and the memory is in use again, even if it was killed or gave up waiting. That
 * is so because each request carries the open file description by which its sender holds the reclaimers' lock
 * (ring/layout.h):
 *
 * - The lock lasts as long as the description, and that as long as the request is in the socket, or its descriptor
 *   here: when its sender is killed, the next reclaimer gets the lock after the request was carried out, or was thrown
 *   away with its connection. A sender that gives up waiting does not unlock, but closes.
 * - Where the lock is not held by that description any more it is taken here, or the request is refused; and under it
 *   the ring must show that the entry is being reclaimed, and what it is. Only who holds the lock changes these
 *   indices.
 *
 * So nothing is done but what the ring says under the lock. For the contents that may be twice; a mapping goes only if
 * its sender has said in the ring that it is about to, which it says once.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>

#include "agent/agent.h"
#include "agent/raw.h"
#include "uvm/reclaim.h"

#ifndef MADV_DONTNEED_LOCKED
#define MADV_DONTNEED_LOCKED 24
#endif

/*
 * Whether the lock is held by the description behind this descriptor now; F_OFD_SETLK of fcntl(2) says so too when it
 * was before.
 */
static bool is_locked(int fd)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 1};

	return raw3(SYS_fcntl, fd, F_OFD_SETLK, &lock) == 0;
}

/*
 * Whether it is the ring of this process; agent->ring is filled. By pread, which no file that came from outside can
 * make a fault.
 */
static bool look_at(struct swap_agent *agent, int fd)
{
	struct ring_shared *ring = &agent->ring;

	return raw2(SYS_fcntl, fd, F_GET_SEALS) >= 0 &&
	       raw4(SYS_pread64, fd, ring, sizeof(*ring), 0) == (long)sizeof(*ring) &&
	       ring->fixed.magic == RING_MAGIC && ring->fixed.version == RING_VERSION &&
	       (long)ring->pid == raw0(SYS_getpid) && ring->capacity && ring->capacity <= RING_MAX &&
	       ring->busy - ring->head <= RING_BATCH;
}

static bool region_overlaps(const struct agent_region *r, uint64_t start, uint64_t bytes)
{
	return r->address < start + bytes && start < r->address + r->bytes;
}

/* The agent's own memory, what it shares with a session, and the ring itself. */
static bool is_ours(const struct swap_agent *agent, const struct agent_region *r)
{
	return region_overlaps(r, agent->own_start, agent->own_end - agent->own_start) ||
	       region_overlaps(r, (uint64_t)agent->shared, agent->page) ||
	       (agent->session.staging && region_overlaps(r, agent->session.staging, AGENT_AREA_BYTES)) ||
	       region_overlaps(r, agent->ring.fixed.address, agent->ring.fixed.bytes);
}

/* The whole pages inside what only loses its contents; all that it touches of what is to be unmapped. */
static bool may_drop(const struct swap_agent *agent, const struct agent_region *r, const struct ring_entry *entry)
{
	uint64_t within = agent->page - 1, start = entry->address, end = start + entry->size;

	if (entry->action == UVM_RECLAIM_DEALLOCATE)
		end += within;
	end &= ~within;
	return !((start | r->address | r->bytes) & within) && start < end && r->address >= start && r->address < end &&
	       r->bytes <= end - r->address;
}

static bool may_unmap(const struct swap_agent *agent, const struct agent_region *r, const struct ring_entry *entry,
		      uint64_t id)
{
	return entry->action == UVM_RECLAIM_DEALLOCATE && agent->ring.unmapping == id + 1 &&
	       !(r->address & (agent->page - 1)) && r->address == entry->address && r->bytes == entry->size &&
	       r->address + r->bytes > r->address;
}

static bool may_reclaim(const struct swap_agent *agent, const struct agent_request *request, uint64_t i)
{
	const struct agent_region *r = &request->regions[i];
	const struct ring_shared *ring = &agent->ring;
	uint64_t id = request->address + i;
	struct ring_entry entry = {0};

	if (id - ring->head >= ring->busy - ring->head || is_ours(agent, r) ||
	    raw4(SYS_pread64, agent->passed, &entry, sizeof(entry),
		 RING_ENTRIES + id % ring->capacity * sizeof(entry)) != (long)sizeof(entry))
		return false;
	if (request->op == AGENT_RECLAIM_UNMAP)
		return may_unmap(agent, r, &entry, id);
	if (entry.action == UVM_RECLAIM_DEALLOCATE && (int64_t)(id - ring->unmapping) < 0)
		return false; /* what is there may be another allocation by now */
	return (entry.action == UVM_RECLAIM_FREE || entry.action == UVM_RECLAIM_DEALLOCATE) &&
	       may_drop(agent, r, &entry);
}

/*
 * All is looked at before anything is done. A session that was killed would never answer for what is out: this thread
 * has to be there for the next one.
 */
static int64_t check_request(struct swap_agent *agent, const struct agent_request *request)
{
	bool one = request->op == AGENT_RECLAIM_UNMAP;

	if (agent->session.memory_uffd >= 0)
		return -EBUSY;
	if (agent->passed < 0 || !request->count || request->count > (one ? 1 : RING_BATCH))
		return -EINVAL;
	if (!is_locked(agent->passed))
		return -EBUSY;
	if (!look_at(agent, agent->passed))
		return -EINVAL;
	for (uint64_t i = 0; i < request->count; i++)
		if ((one || request->regions[i].bytes) && !may_reclaim(agent, request, i))
			return -EINVAL;
	return 0;
}

/* Memory that is locked needs to be asked for by name. */
static long drop_region(const struct agent_region *r)
{
	long rc = raw3(SYS_madvise, r->address, r->bytes, MADV_DONTNEED);

	return rc == -EINVAL ? raw3(SYS_madvise, r->address, r->bytes, MADV_DONTNEED_LOCKED) : rc;
}

static int64_t reclaim_regions(struct swap_agent *agent, const struct agent_request *request)
{
	int64_t rc = check_request(agent, request), first = rc;

	if (rc == 0 && request->op == AGENT_RECLAIM_UNMAP)
		return raw2(SYS_munmap, request->regions[0].address, request->regions[0].bytes);
	for (uint64_t i = 0; rc == 0 && i < request->count; i++) {
		long result = request->regions[i].bytes ? drop_region(&request->regions[i]) : 0;

		first = first ? first : result;
	}
	return first;
}

static int64_t perform_request(struct swap_agent *agent, const struct agent_request *request)
{
	switch (request->op) {
	case AGENT_PING:
		return 0;
	case AGENT_RECLAIM_DROP:
	case AGENT_RECLAIM_UNMAP:
		return reclaim_regions(agent, request);
	default:
		return -EINVAL;
	}
}

void agent_serve_reclaimer(struct swap_agent *agent)
{
	bool alive = agent_next(agent, agent->reclaim.connection);

	if (alive)
		agent_answer(agent, agent->reclaim.connection, perform_request(agent, agent->request));
	agent_drop_passed(agent);
	if (alive)
		return;
	raw1(SYS_close, agent->reclaim.connection);
	agent->reclaim.connection = -1;
}
