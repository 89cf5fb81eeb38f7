/* SPDX-License-Identifier: MIT */
/* Swap-out: which pages, in what order, and what is said about it. */
#include "swapout/out.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "index/index.h"
#include "pager/job.h"
#include "pager/pager.h"
#include "pages/pages.h"
#include "proc/maps.h"
#include "report/input.h"
#include "report/report.h"
#include "service/failpoint.h"
#include "service/service.h"
#include "swapin/fill.h"
#include "swapin/filler.h"
#include "swapout/mirror.h"
#include "swapout/staging.h"
#include "swapout/swapout.h"

#define PROGRESS_US 100000
#define PIN_ROUNDS  16 /* of bringing back; what was read then may name more */

_Static_assert((int)INELIGIBLE_OURS < (int)SKIP_NOT_RESIDENT, "reasons of mappings come first");

static const char *skip_name(unsigned int skip)
{
	static const char *const names[SKIP_COUNT] = {
		[SKIP_NOT_RESIDENT] = "not-resident",
		[SKIP_NOT_MAPPED] = "not-mapped",
		[SKIP_OUT] = "out",
		[SKIP_SHARED] = "shared",
		[SKIP_BUSY] = "busy",
		[SKIP_IN_USE] = "in-use",
		[SKIP_POISONED] = "poisoned",
		[SKIP_EXECUTES] = "write-execute",
		[SKIP_CHANGED] = "changed",
		[SKIP_LIMIT] = "limit",
		[SKIP_STORE] = "store",
		[SKIP_CANCELLED] = "cancelled",
	};

	return skip < SKIP_NOT_RESIDENT ? eligibility_name((enum eligibility)skip) : names[skip];
}

/*
 * Whether a reason means that something which could have left did not. What lies in a mapping that cannot be swapped,
 * what is shared with a child, or what is not there, never could.
 */
static bool skip_counts(unsigned int skip)
{
	return skip == SKIP_BUSY || skip == SKIP_CHANGED || skip == SKIP_STORE || skip == SKIP_CANCELLED;
}

static json_t *skipped_object(struct out_region *r)
{
	json_t *skipped = json_object();
	unsigned int rest = r->cancelled ? SKIP_CANCELLED : SKIP_NOT_RESIDENT;
	uint64_t explained = r->moved;

	r->skipped[SKIP_STORE] = r->returned;
	r->moved -= min_u64(r->moved, r->returned);
	r->skipped[SKIP_NOT_MAPPED] += region_bytes(r->region) - r->covered;
	for (unsigned int i = 0; i < SKIP_COUNT; i++)
		if (i != rest && i != SKIP_STORE)
			explained += r->skipped[i];
	r->skipped[rest] = region_bytes(r->region) - min_u64(explained, region_bytes(r->region));
	for (unsigned int i = 0; i < SKIP_COUNT; i++)
		if (r->skipped[i])
			report_number(skipped, skip_name(i), r->skipped[i]);
	return skipped;
}

static void emit_region(struct out_job *job, struct out_region *r)
{
	const struct target *target = &job->pager->target;
	json_t *skipped = skipped_object(r);
	json_t *record = report_region("region", target->pid, target->starttime, r->region.start, r->region.end);
	bool dry = job->request->dry_run;

	json_object_set_new(record, "op", json_string("out"));
	report_number(record, "asked_bytes", region_bytes(r->region));
	report_number(record, dry ? "would_move_bytes" : "moved_bytes", r->moved);
	if (!dry) {
		report_number(record, "stored_bytes", r->stored);
		report_number(record, "compressed_bytes", r->compressed);
		report_number(record, "zero_pages", r->zero_pages);
		report_number(record, "filled_pages", r->filled_pages);
	}
	report_number(record, "skipped_bytes", region_bytes(r->region) - r->moved);
	json_object_set_new(record, "skipped", skipped);
	if (!dry)
		report_number(record, "time_us", r->ended_us - r->started_us);
	job->request->emit(job->request->context, record);
}

static bool was_partial(const struct out_region *r)
{
	for (unsigned int i = 0; i < SKIP_COUNT; i++)
		if (skip_counts(i) && r->skipped[i])
			return true;
	return false;
}

static void add_region(struct out_sums *sums, const struct out_region *r, bool dry)
{
	sums->regions++;
	sums->asked += region_bytes(r->region);
	sums->moved += r->moved;
	sums->skipped += region_bytes(r->region) - r->moved;
	if (!sums->reasons)
		sums->reasons = json_object();
	for (unsigned int i = 0; i < SKIP_COUNT; i++)
		if (r->skipped[i])
			report_number(sums->reasons, skip_name(i),
				      input_number(sums->reasons, skip_name(i)) + r->skipped[i]);
	/* Without regions everything eligible was asked for; what is not eligible was not. */
	sums->partial |= was_partial(r);
	if (dry)
		return;
	sums->stored += r->stored;
	sums->compressed += r->compressed;
	sums->zero_pages += r->zero_pages;
	sums->filled_pages += r->filled_pages;
}

/* Reports, in order, the regions that are done with. */
static void emit_finished(struct out_job *job, struct out_sums *sums)
{
	while (job->results.first && !atomic_load(&job->results.first->pending)) {
		struct out_region *r = job->results.first;

		emit_region(job, r);
		add_region(sums, r, job->request->dry_run);
		job->results.first = r->next;
		if (!job->results.first)
			job->results.last = NULL;
		free(r);
	}
}

static void emit_progress(struct out_job *job)
{
	uint64_t now = now_us();

	if (now - job->sums.shown_us < PROGRESS_US)
		return;
	job->sums.shown_us = now;
	job->request->emit(job->request->context,
			   json_pack("{s:s,s:I,s:I}", "type", "progress", "done", (json_int_t)job->sums.moved, "total",
				     (json_int_t)job->sums.total));
}

static int open_region(struct out_job *job, struct region region)
{
	struct out_region *r = calloc(1, sizeof(*r));

	if (!r)
		return -ENOMEM;
	r->region = region;
	r->started_us = r->ended_us = now_us();
	r->pending = 1;
	if (job->results.last)
		job->results.last->next = r;
	else
		job->results.first = r;
	job->results.last = job->results.walked = r;
	return 0;
}

static void close_region(struct out_job *job)
{
	if (job->results.walked)
		out_done(job->results.walked);
	job->results.walked = NULL;
}

/* Nothing more leaves once the store has failed. Returns 0, or what it failed with. */
static int check_store(const struct out_job *job, struct error *error)
{
	int rc = atomic_load(&job->failed);

	if (rc < 0)
		error_set(error, rc, rc == -ENOSPC ? "the store is full (its limit, or its file system)" : NULL,
			  rc == -ENOSPC ? "its last pages went back; raise --limit, or attach with another --store"
					: "its last pages went back; see the kernel's log about the store's disk",
			  "store pages of process %d", job->pager->target.pid);
	return rc;
}

/*
 * Brings back a page that must not be out. Returns 1, 0 when it is in core, or -errno. What moves is staged: nobody
 * waits for us.
 */
static int bring_pinned(struct out_job *job, uint64_t page)
{
	struct pager *pager = job->pager;
	bool out;
	int64_t rc;

	pthread_mutex_lock(&pager->lock);
	out = index_get(pager->index, 0, page) != ENTRY_NONE;
	pthread_mutex_unlock(&pager->lock);
	if (!out)
		return 0;
	rc = fill_region(&job->filler, &pager->spaces[0], (struct region){page, page + page_size()});
	return rc < 0 ? (int)rc : 1;
}

/*
 * What the kernel needs in core is looked for anew before anything moves and after each move: a thread may have
 * started, or locked a robust mutex, while pages moved. Theirs come back at once.
 */
static int keep_pinned(struct out_job *job, bool whole, struct error *error)
{
	struct pager *pager = job->pager;
	const struct region_vec *pages = &pager->view.pins.pages;
	int rc = 1;

	for (int round = 0; rc > 0 && round < PIN_ROUNDS; round++) {
		rc = pins_scan(&pager->view.pins, &pager->access, whole, error);
		for (size_t i = 0; rc >= 0 && i < pages->count; i++)
			for (uint64_t page = pages->items[i].start; rc >= 0 && page < pages->items[i].end;
			     page += page_size()) {
				int one = bring_pinned(job, page);

				rc = one < 0 ? one : rc | one;
			}
	}
	if (rc < 0 && !error->code)
		error_set(error, rc, rc == -ESRCH ? "the process has ended" : NULL, NULL,
			  "bring back what process %d needs in core", pager->target.pid);
	return rc < 0 ? rc : 0;
}

static int flush_plan(struct out_job *job, struct error *error)
{
	struct error ignored = {0};
	int pinned;
	int rc;

	if (!job->plan.count)
		return 0;
	rc = mirror_check_memory(job->pager, MEMORY_SPARE, error);
	if (rc == 0)
		rc = out_move(job, error);
	for (unsigned int i = 0; i < job->plan.count; i++)
		out_done(job->plan.pieces[i].result);
	job->plan.count = 0;
	job->plan.bytes = 0;
	/* What has moved is dealt with, whatever came after it. */
	if (out_stage(job) < 0 && rc == 0)
		rc = error_set(error, -ESRCH, "the process has ended", NULL, "read pages of process %d",
			       job->pager->target.pid);
	pinned = keep_pinned(job, false, rc < 0 ? &ignored : error);
	if (rc < 0 || pinned < 0)
		return rc < 0 ? rc : pinned;
	emit_progress(job);
	return check_store(job, error);
}

/* Room in the slot that a piece needs behind what is planned. */
static uint64_t place_for(const struct out_job *job, struct region region)
{
	return region_bytes(region) == 2 * MiB ? round_up(job->plan.bytes, 2 * MiB) : job->plan.bytes;
}

/* In the slot that is being planned for; a piece has room in any. */
static uint64_t slot_room(const struct out_job *job)
{
	return job->current ? region_bytes(staging_slot(job->pager, job->current->slot)) : SLOT_BYTES;
}

static int plan_region(struct out_job *job, struct region region, bool executable, struct error *error)
{
	const struct asker *asker = &job->request->asker;
	int rc = 0;

	job_step(job->pager);
	failpoint("planned");
	if (asker->enough && asker->enough(asker->context))
		return error_set(error, -ECANCELED, "it was told to stop, or the session is to end", NULL,
				 "swap out all of process %d", job->pager->target.pid);
	if (job->plan.count == PIECES || place_for(job, region) + region_bytes(region) > slot_room(job) ||
	    (job->plan.count && job->plan.pieces[0].executable != executable))
		rc = flush_plan(job, error);
	if (rc < 0)
		return rc;
	if (!job->current)
		out_next_batch(job);
	job->plan.bytes = place_for(job, region) + region_bytes(region);
	job->plan.pieces[job->plan.count++] = (struct out_piece){region, job->results.walked, executable};
	atomic_fetch_add(&job->results.walked->pending, 1);
	return 0;
}

/* What the walk over a mapping's superpages needs. */
struct walk {
	struct out_job *job;
	struct error *error;
	bool executable;
	uint64_t left; /* of --bytes */
};

/* Cuts a region after so many resident bytes. */
static int cut_region(struct pager *pager, struct region *region, uint64_t bytes)
{
	for (uint64_t at = region->start; at < region->end; at += page_size()) {
		uint64_t entry;
		int rc = pagemap_read(pager->view.pagemap_fd, at, 1, &entry);

		if (rc < 0)
			return rc;
		if (!(entry & PAGEMAP_PRESENT))
			continue;
		if (bytes < page_size()) {
			region->end = at;
			return 0;
		}
		bytes -= page_size();
	}
	return 0;
}

static int plan_superpage(void *context, struct region region, const struct residency *residency)
{
	struct walk *walk = context;
	struct out_job *job = walk->job;
	uint64_t resident = residency->resident;

	if (!resident)
		return 0; /* what the kernel has swapped is out of memory already */
	if (resident > walk->left) {
		int rc = cut_region(job->pager, &region, walk->left);

		if (rc < 0)
			return rc;
		job->results.walked->skipped[SKIP_LIMIT] += resident - round_down(walk->left, page_size());
		resident = round_down(walk->left, page_size());
		walk->left = 0;
	} else {
		walk->left -= resident;
	}
	if (!region_bytes(region) || !resident)
		return 0;
	if (job->request->dry_run) {
		job->results.walked->moved += resident;
		return 0;
	}
	return plan_region(job, region, walk->executable, walk->error);
}

static int out_part(struct out_job *job, struct walk *walk, const struct pages *pages, const struct mapping *mapping,
		    enum eligibility verdict, struct region part)
{
	job->results.walked->covered += region_bytes(part);
	if (verdict != ELIGIBLE) {
		job->results.walked->skipped[verdict] += region_bytes(part);
		return 0;
	}
	walk->executable = mapping->execute;
	return pages_superpages(pages, part, 2 * MiB, true, plan_superpage, walk);
}

/* One mapping against the regions asked for; `at` is the first one that may still lie ahead. */
static int out_mapping(struct out_job *job, struct walk *walk, const struct pages *pages, const struct mapping *mapping,
		       enum eligibility verdict, size_t *at)
{
	const struct region_vec *asked = &job->request->regions;
	int rc = 0;

	if (job->request->everything && verdict != ELIGIBLE)
		return 0;
	if (job->request->everything && !asked->count) {
		rc = open_region(job, mapping->region);
		if (rc == 0)
			rc = out_part(job, walk, pages, mapping, verdict, mapping->region);
		close_region(job);
		return rc;
	}
	while (rc == 0 && *at < asked->count && asked->items[*at].start < mapping->region.end) {
		struct region part = region_intersect(asked->items[*at], mapping->region);

		if (!job->results.walked && (region_bytes(part) || !job->request->everything))
			rc = open_region(job, asked->items[*at]);
		if (rc == 0 && region_bytes(part))
			rc = out_part(job, walk, pages, mapping, verdict, part);
		if (asked->items[*at].end > mapping->region.end)
			break;
		close_region(job);
		(*at)++;
	}
	return rc;
}

static int copy_registered(struct pager *pager, struct region_vec *ours)
{
	int rc = 0;

	pthread_mutex_lock(&pager->lock);
	for (size_t i = 0; rc == 0 && i < pager->spaces[0].registered.count; i++)
		rc = region_vec_push(ours, pager->spaces[0].registered.items[i]);
	pthread_mutex_unlock(&pager->lock);
	return rc;
}

/* What the program has mapped over a staging area stays with what is left of that: it cannot be told apart. */
static bool is_session_memory(const struct pager *pager, struct region region)
{
	const struct index_header *header = index_header(pager->index);
	bool ours = region_overlaps(region, pager->access.control) || region_overlaps(region, pager->staging.region) ||
		    region_overlaps(region, pager->access.puppet.own);

	for (uint64_t i = 0; !ours && i < header->session.staging.former_count; i++)
		ours = region_overlaps(region, header->session.staging.former[i]);
	return ours;
}

static int out_walk(struct out_job *job, struct out_sums *sums, struct error *error)
{
	_cleanup_regions_ struct region_vec ours = {0};
	struct pages pages = {.method = PAGES_AUTO, .pagemap_fd = job->pager->view.pagemap_fd};
	struct walk walk = {.job = job, .error = error, .left = job->request->bytes ? job->request->bytes : UINT64_MAX};
	struct eligible_reader reader;
	struct mapping mapping;
	enum eligibility verdict;
	size_t at = 0;
	int rc = copy_registered(job->pager, &ours);

	if (rc == 0)
		rc = pages_open(&pages);
	if (rc == 0)
		rc = eligible_open(&reader, &job->pager->target, &ours);
	if (rc < 0)
		return rc;
	while ((rc = eligible_next(&reader, &mapping, &verdict)) > 0) {
		/*
		 * By its place: a staging area may look half as it should, when the thread that was to change it did
		 * not run.
		 */
		if (is_session_memory(job->pager, mapping.region))
			verdict = INELIGIBLE_OURS;
		rc = out_mapping(job, &walk, &pages, &mapping, verdict, &at);
		if (rc < 0)
			break;
		emit_finished(job, sums);
		if (!walk.left && job->request->everything)
			break;
	}
	eligible_close(&reader);
	if (rc >= 0)
		rc = flush_plan(job, error);
	close_region(job);
	return rc;
}

static int out_all(struct out_job *job, struct out_sums *sums, struct error *error)
{
	struct error ignored = {0};
	int rc = out_walk(job, sums, error);
	int pinned = job->request->dry_run ? 0 : keep_pinned(job, true, rc < 0 ? &ignored : error);

	return rc < 0 ? rc : pinned;
}

/* Regions outside any mapping are a mistake of the client; nothing is changed then. */
static int check_regions(struct pager *pager, const struct region_vec *asked, uint64_t *total, struct error *error)
{
	struct maps_reader reader;
	struct mapping mapping;
	size_t at = 0;
	int rc = asked->count ? maps_open(&reader, &pager->target) : 1;
	char text[ADDRESS_TEXT];

	if (rc == 1)
		return 0;
	if (rc < 0)
		return error_set(error, rc, NULL, NULL, "read the mappings of process %d", pager->target.pid);
	while (at < asked->count && (rc = maps_next(&reader, &mapping)) > 0) {
		if (asked->items[at].start < mapping.region.start && asked->items[at].end <= mapping.region.start)
			break;
		while (at < asked->count && asked->items[at].start < mapping.region.end &&
		       asked->items[at].end > mapping.region.start) {
			*total += region_bytes(asked->items[at]);
			at++;
		}
	}
	maps_close(&reader);
	if (rc < 0)
		return error_set(error, rc, NULL, NULL, "read the mappings of process %d", pager->target.pid);
	if (at < asked->count)
		return error_set(error, -EINVAL, "nothing is mapped there", "take regions from superpages or addrspace",
				 "swap out the region at %s", address_format(text, asked->items[at].start));
	return 0;
}

static void expect_total(struct out_job *job)
{
	uint64_t kib;

	if (job->request->everything && target_status(&job->pager->target, "RssAnon", &kib) == 0)
		job->sums.total = kib * KiB;
	if (job->request->bytes && (!job->sums.total || job->sums.total > job->request->bytes))
		job->sums.total = job->request->bytes;
}

static void job_free(struct out_job *job)
{
	for (unsigned int i = 0; i < SLOTS; i++)
		free(job->batches[i].clusters);
	filler_free(&job->filler);
	free(job);
}

/*
 * The staging area as it was made, whatever an earlier swap-out that could stop no thread has left in it, and its
 * descriptor.
 */
static int staging_ready(struct pager *pager, struct error *error)
{
	int rc = staging_connect(pager, error);

	if (rc == 0) {
		rc = staging_close(pager);
		if (rc < 0)
			error_set(error, rc, rc == -ETIMEDOUT ? "none of its threads stops, or runs" : NULL, NULL,
				  "clear the staging area in process %d", pager->target.pid);
	}
	return rc < 0 ? rc : staging_renew(pager, error);
}

/*
 * Gives back what a swap-out uses and fault service does not: all code, and then a record is read, so that a fault
 * finds what that takes in memory, locked.
 */
static void shrink_worker(struct out_job *job)
{
	struct store *store = job->request->pool ? job->pager->tiers.pool : job->pager->tiers.store;
	bool force;

	service_shrink();
	force = confine_force(false);
	if (job->compress.written.length)
		store_read(store, job->filler.scratch, &job->compress.written, job->compress.written_tag,
			   job->filler.pages);
	confine_force(force);
}

int out_run(struct pager *pager, const struct out_request *request, struct out_sums *sums, struct error *error)
{
	struct out_job *job = calloc(1, sizeof(*job));
	int rc;

	if (!job)
		return error_set(error, -ENOMEM, NULL, NULL, "swap out process %d", pager->target.pid);
	job->pager = pager;
	job->request = request;
	pthread_mutex_init(&job->compress.mutex, NULL);
	pthread_cond_init(&job->compress.changed, NULL);
	for (unsigned int i = 0; i < SLOTS; i++)
		job->batches[i].slot = i;
	expect_total(job);
	rc = request->skip_unmapped ? 0 : check_regions(pager, &request->regions, &job->sums.total, error);
	if (rc == 0)
		rc = filler_init(&job->filler, pager);
	if (rc == 0 && !request->dry_run)
		rc = mirror_reserve(pager, error);
	if (rc == 0 && !request->dry_run)
		rc = staging_ready(pager, error);
	if (rc == 0 && !request->dry_run)
		rc = keep_pinned(job, true, error);
	if (rc == 0 && !request->dry_run)
		rc = out_start_compressors(job);
	if (rc == 0)
		rc = out_all(job, sums, error);
	out_finish_compressors(job);
	mirror_give_back(pager);
	if (rc == 0)
		rc = check_store(job, error);
	if (staging_close(pager) < 0 && target_alive(&pager->target))
		sums->partial = true;
	emit_finished(job, sums);
	while (job->results.first) { /* cut short */
		job->results.first->pending = 0;
		job->results.first->cancelled = rc == -ECANCELED;
		emit_finished(job, sums);
	}
	if (rc < 0 && !error->code)
		error_set(error, rc, NULL, NULL, "swap out process %d", pager->target.pid);
	if (job->sums.moved)
		shrink_worker(job);
	job_free(job);
	return rc;
}
