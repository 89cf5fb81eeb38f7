/* SPDX-License-Identifier: MIT */
/*
 * Discards under way. The kernel tells of a discard before it does it, and counts the address space as unchanged once
 * that was read and the thread runs on (mm/madvise.c, madvise_dontneed_free; fs/userfaultfd.c, userfaultfd_remove). A
 * page that moved out in between would come back with its old contents. So what is being discarded stays, until every
 * thread of the target has been seen elsewhere, or until so much time has gone by that it must have been done.
 */
#include "pager/discards.h"
#include "base/clock.h"
#include "index/index.h"
#include "pager/pager.h"

#define OVER_NS UINT64_C(30000000000) /* where threads cannot be looked at */

void discard_note(struct pager *pager, struct region region)
{
	struct index_header *header = index_header(pager->index);
	struct index_discard *discard;
	uint32_t i = 0;

	while (i < header->session.events.discard_count &&
	       !region_contains(header->session.events.discards[i].region, region) &&
	       !region_contains(region, header->session.events.discards[i].region))
		i++;
	if (i == DISCARDS_MAX)
		i--; /* too many to be told apart: all that lies between two of them stays */
	else if (i == header->session.events.discard_count)
		header->session.events.discards[header->session.events.discard_count++].region = region;
	discard = &header->session.events.discards[i];
	discard->region.start = min_u64(discard->region.start, region.start);
	discard->region.end = max_u64(discard->region.end, region.end);
	discard->number = ++header->session.events.discards_read;
	discard->read_ns = clock_now_ns();
}

bool discard_pending(const struct pager *pager, uint64_t address)
{
	const struct index_header *header = index_header(pager->index);

	for (uint32_t i = 0; i < header->session.events.discard_count; i++)
		if (address >= header->session.events.discards[i].region.start &&
		    address < header->session.events.discards[i].region.end)
			return true;
	return false;
}

void discards_quiesce(struct pager *pager)
{
	struct index_header *header = index_header(pager->index);
	uint64_t over, now;
	bool any;

	pthread_mutex_lock(&pager->lock);
	any = header->session.events.discard_count > 0;
	over = header->session.events.discards_read;
	pthread_mutex_unlock(&pager->lock);
	if (!any)
		return;
	if (!pager->access.ops->discards_done(&pager->access))
		over = 0;
	pthread_mutex_lock(&pager->lock);
	now = clock_now_ns();
	for (uint32_t i = 0; i < header->session.events.discard_count;)
		if (header->session.events.discards[i].number <= over ||
		    now - header->session.events.discards[i].read_ns > OVER_NS)
			header->session.events.discards[i] =
				header->session.events.discards[--header->session.events.discard_count];
		else
			i++;
	pthread_mutex_unlock(&pager->lock);
}
