/* SPDX-License-Identifier: MIT */
/* Which pages of the target were asked for lately. A table of bounded size: what finds no room is counted as lost. */
#include "swapin/refaults.h"

#include <errno.h>
#include <stdlib.h>

#include "pager/pager.h"
#include "report/report.h"

#define BITS    15
#define ENTRIES (1U << BITS)
#define PROBES  16
#define RECENT  8         /* faults, of threads that walk at the same time */
#define REACH   (2 * MiB) /* that far behind its last fault a walk meets the next one at most: the rest is brought */

struct refault {
	uint64_t address; /* of the page; 0: none */
	uint64_t us;      /* when it was asked for first */
	uint32_t pages;   /* from it on, that are wanted */
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

static void note_wanted(struct refaults *refaults, struct region wanted, unsigned int brought)
{
	for (uint64_t i = 0; i < PROBES; i++) {
		struct refault *r = &refaults->table[(first_place(wanted.start) + i) % ENTRIES];

		if (!r->address)
			*r = (struct refault){wanted.start, now_us(), 0};
		if (r->address == wanted.start) {
			r->pages = (uint32_t)max_u64(r->pages, region_bytes(wanted) / page_size());
			return;
		}
	}
	refaults->lost += brought;
}

void refaults_note(struct pager *pager, uint64_t address, unsigned int pages, bool walk)
{
	struct refaults *refaults = pager->faults.refaults;
	uint64_t page = round_down(address, page_size());
	struct region wanted = {wanted_from(refaults, page, walk), page + (walk ? pages : 1) * page_size()};

	refaults->pages += pages;
	refaults->recent[refaults->next++ % RECENT] = page;
	note_wanted(refaults, wanted, pages);
}

void refaults_count(struct pager *pager, unsigned int pages)
{
	pager->faults.refaults->pages += pages;
}

static int compare_refaults(const void *a, const void *b)
{
	const struct refault *x = a;
	const struct refault *y = b;

	return x->address < y->address ? -1 : x->address > y->address;
}

/* In turns a page's number, how many pages are wanted from it on, and milliseconds since then: shorter than records. */
static json_t *make_list(struct refaults *refaults, uint64_t now)
{
	json_t *list = json_array();

	qsort(refaults->table, ENTRIES, sizeof(*refaults->table), compare_refaults);
	for (size_t i = 0; i < ENTRIES; i++) {
		const struct refault *r = &refaults->table[i];

		if (!r->address)
			continue;
		json_array_append_new(list, json_integer((json_int_t)(r->address / page_size())));
		json_array_append_new(list, json_integer(r->pages));
		json_array_append_new(list, json_integer((json_int_t)((now - r->us) / 1000)));
	}
	return list;
}

const char *refaults_ageing(const struct pager *pager)
{
	return pager->faults.refaults->ageing;
}

json_t *refaults_record(struct pager *pager, bool idle)
{
	struct refaults *next = calloc(1, sizeof(*next)); /* untouched, it is no memory */
	struct refaults *noted;
	json_t *record;
	uint64_t now;

	if (!next)
		return NULL;
	next->ageing = idle ? "idle" : "refaults";
	pthread_mutex_lock(&pager->lock);
	noted = pager->faults.refaults;
	pager->faults.refaults = next;
	now = now_us();
	pthread_mutex_unlock(&pager->lock);
	record = json_pack("{s:s,s:i,s:I,s:I,s:I,s:o}", "type", "refaults", "pid", pager->target.pid, "starttime",
			   (json_int_t)pager->target.starttime, "pages", (json_int_t)noted->pages, "lost_pages",
			   (json_int_t)noted->lost, "touched", make_list(noted, now));
	free(noted);
	return record;
}
