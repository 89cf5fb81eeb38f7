/* SPDX-License-Identifier: MIT */
/*
 * Which superpages of the target were asked for lately. A table of bounded size: what finds no room is counted as lost.
 */
/* Which pages of the target were asked for lately. A table of bounded size: what finds no room is counted as lost. */
#include "swapin/refaults.h"

#include <errno.h>
#include <stdlib.h>

#include "pager/pager.h"
#include "report/report.h"

#define BITS    15
#define ENTRIES   4096 /* a power of two */
#define PROBES  16
#define SUPERPAGE (2 * MiB)

#define RECENT  8         /* faults, of threads that walk at the same time */
#define REACH   (2 * MiB) /* that far behind its last fault a walk meets the next one at most: the rest is brought */

struct refault {
	uint64_t superpage; /* its address; 0: none */
	uint64_t first_us;
	uint64_t pages;
};

struct refaults {
	uint64_t pages;          /* that came back, with those beside what was asked for */
	uint64_t lost;           /* … of them, beside what is not known */
	uint64_t recent[RECENT]; /* pages that were asked for last */
	unsigned int next;
	const char *ageing;
	struct refault table[ENTRIES];
};

int refaults_new(struct refaults **refaults)
{
	*refaults = calloc(1, sizeof(**refaults));
	return *refaults ? 0 : -ENOMEM;
}

/* Where what is wanted begins. A walk wants all from its fault before on, though some of that came by itself. */
static uint64_t wanted_from(const struct refaults *refaults, uint64_t page, bool walk)
{
	uint64_t from = page;
	uint64_t reach = REACH;

	for (unsigned int i = 0; walk && i < RECENT; i++) {
		uint64_t back = page - refaults->recent[i];

		if (back && back < reach) {
			from = refaults->recent[i];
			reach = back;
		}
	}
	return from;
}

/* Where to look for a page first. Regions that lie a power of two apart do not meet. */
static uint64_t first_place(uint64_t address)
{
	return address / page_size() * UINT64_C(0x9e3779b97f4a7c15) >> (64 - BITS);
}

void refaults_note(struct pager *pager, uint64_t address, unsigned int pages)
{
	struct refaults *refaults = pager->faults.refaults;
	uint64_t superpage = round_down(address, SUPERPAGE);

	for (uint64_t i = 0; i < PROBES; i++) {
		struct refault *r = &refaults->table[(superpage / SUPERPAGE + i) % ENTRIES];

		if (r->superpage && r->superpage != superpage)
			continue;
		if (!r->superpage)
			*r = (struct refault){.superpage = superpage, .first_us = now_us()};
		r->pages += pages;
		return;
	}
	refaults->lost += pages;
}

static json_t *region_of(const struct refault *r, uint64_t now)
{
	return json_pack("[o,I,I]", report_address(r->superpage), (json_int_t)r->pages,
			 (json_int_t)((now - r->first_us) / 1000));
}

void refaults_count(struct pager *pager, unsigned int pages)
{
	pager->faults.refaults->pages += pages;
}

const char *refaults_ageing(const struct pager *pager)
{
	return pager->faults.refaults->ageing;
}

json_t *refaults_record(struct pager *pager)
{
	struct refaults *next = calloc(1, sizeof(*next)); /* untouched, it is no memory */
	struct refaults *noted;
	json_t *list, *record;
	uint64_t now;

	if (!next)
		return NULL;
	pthread_mutex_lock(&pager->lock);
	noted = pager->faults.refaults;
	pager->faults.refaults = next;
	now = now_us();
	pthread_mutex_unlock(&pager->lock);
	list = json_array();
	for (size_t i = 0; i < ENTRIES; i++)
		if (noted->table[i].superpage)
			json_array_append_new(list, region_of(&noted->table[i], now));
	record = json_pack("{s:s,s:i,s:I,s:I,s:o}", "type", "refaults", "pid", pager->target.pid, "starttime",
			   (json_int_t)pager->target.starttime, "lost_pages", (json_int_t)noted->lost, "regions", list);
	free(noted);
	return record;
}
