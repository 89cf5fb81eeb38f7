/* SPDX-License-Identifier: MIT */
/* The session record. */
#include "worker/status.h"

#include <unistd.h>

#include "index/index.h"
#include "pager/pager.h"
#include "report/report.h"
#include "store/seal.h"
#include "swapin/behind.h"
#include "swapin/refaults.h"

/* Bounds of the histogram of faults: 2^10 ns (1 us) to 2^30 ns (1 s). */
#define HISTOGRAM_FIRST 10
#define HISTOGRAM_LAST  30

/* Pages that are out, by the state of their cluster. */
struct page_counts {
	uint64_t moving, staged, stored, pool, zeros, filled, lost;
};

static void count_cluster(const struct cluster *c, struct page_counts *counts)
{
	unsigned int in_use = c->pages - (unsigned int)__builtin_popcountll(c->holes);

	if (!c->refs)
		return;
	if (c->state == CLUSTER_MOVING)
		counts->moving += in_use;
	else if (c->state == CLUSTER_STAGED)
		counts->staged += in_use;
	if (c->state != CLUSTER_STORED)
		return;
	counts->zeros += (unsigned int)__builtin_popcountll(c->zeros & ~c->lost);
	counts->filled += (unsigned int)__builtin_popcountll(c->filled);
	counts->lost += (unsigned int)__builtin_popcountll(c->lost);
	in_use -= (unsigned int)__builtin_popcountll(c->zeros | c->filled | c->lost);
	if (c->slot.offset & SLOT_POOL)
		counts->pool += in_use;
	else
		counts->stored += in_use;
}

static struct page_counts count_pages(const struct pager *pager)
{
	struct page_counts counts = {0};

	for (uint64_t i = 1; i < index_header(pager->index)->clusters; i++)
		if (index_cluster(pager->index, (uint32_t)i)->state != CLUSTER_FREE)
			count_cluster(index_cluster(pager->index, (uint32_t)i), &counts);
	return counts;
}

static void set_pages(struct pager *pager, json_t *record)
{
	struct page_counts counts = count_pages(pager);
	unsigned int spaces = 0;

	for (unsigned int i = 0; i < INDEX_SPACES; i++)
		spaces += pager->spaces[i].used && !pager->spaces[i].dead;
	report_number(record, "out_pages", index_count(pager->index, 0));
	report_number(record, "out_bytes", index_count(pager->index, 0) * page_size());
	report_number(record, "zero_bytes", (uint64_t)(counts.zeros + counts.filled) * page_size());
	report_number(record, "moving_pages", counts.moving);
	report_number(record, "staged_pages", counts.staged);
	report_number(record, "pool_pages", counts.pool);
	report_number(record, "stored_pages", counts.stored);
	report_number(record, "zero_pages", counts.zeros);
	report_number(record, "filled_pages", counts.filled);
	report_number(record, "poisoned_pages",
		      index_header(pager->index)->session.counters.poisoned_pages + counts.lost);
	report_number(record, "spaces", spaces);
}

/* Faults that took no longer than so many nanoseconds, and longer than the bound before; null: as long as it may be. */
static json_t *histogram_value(const struct latency *latency)
{
	json_t *histogram = json_array();
	uint64_t before = 0;

	for (unsigned int power = HISTOGRAM_FIRST; power <= HISTOGRAM_LAST; power++) {
		uint64_t below = latency_below(latency, power);

		json_array_append_new(histogram, json_pack("{s:I, s:I}", "le_ns", (json_int_t)1 << power, "faults",
							   (json_int_t)(below - before)));
		before = below;
	}
	json_array_append_new(histogram, json_pack("{s:n, s:I}", "le_ns", "faults",
						   (json_int_t)(latency_below(latency, 64) - before)));
	return histogram;
}

static void set_faults(struct pager *pager, json_t *record)
{
	const struct record_counters *c = &index_header(pager->index)->session.counters;

	report_number(record, "moved_pages_total", c->moved_pages);
	report_number(record, "faults", c->faults);
	report_number(record, "refaulted_pages", c->refaulted_pages);
	report_number(record, "brought_pages", c->brought_pages);
	report_number(record, "written_back_pages", c->written_back_pages);
	report_number(record, "fresh_faults", c->fresh_faults);
	report_number(record, "hot_faults", c->hot_faults);
	report_number(record, "fault_wait_us", c->fault_wait_ns / 1000);
	json_object_set_new(record, "fault_p50_us",
			    report_microseconds(latency_percentile(&pager->faults.latency, 50)));
	json_object_set_new(record, "fault_p99_us",
			    report_microseconds(latency_percentile(&pager->faults.latency, 99)));
	json_object_set_new(record, "fault_max_us", report_microseconds(c->latency.max_ns));
	json_object_set_new(record, "fault_histogram", histogram_value(&pager->faults.latency));
	json_object_set_new(record, "events",
			    json_pack("{s:I,s:I,s:I,s:I}", "fork", (json_int_t)c->events.forks, "remap",
				      (json_int_t)c->events.remaps, "remove", (json_int_t)c->events.removes, "unmap",
				      (json_int_t)c->events.unmaps));
	report_number(record, "stops", pager->access.inject.stops);
	report_number(record, "longest_stop_us", pager->access.inject.longest_us);
}

static json_t *list_missing(const struct pager *pager)
{
	pid_t keeper = index_header(pager->index)->session.keeper.pid;
	const pid_t ours[] = {getpid(), pager->supervision.supervisor_pid, keeper};

	return confine_missing(&pager->target, ours, ARRAY_SIZE(ours) - (keeper <= 0), NULL);
}

json_t *status_record(struct pager *pager)
{
	const struct index_header *header = index_header(pager->index);
	struct store_usage usage;
	char codec[16];
	json_t *record = json_pack(
		"{s:s,s:i,s:I,s:s,s:i,s:i,s:s,s:s,s:I,s:I}", "type", "session", "pid", pager->target.pid, "starttime",
		(json_int_t)pager->target.starttime, "state", "running", "supervisor_pid",
		pager->supervision.supervisor_pid, "worker_pid", getpid(), "store", header->session.store.path,
		"compress", codec_format(codec, header->session.store.codec), "cluster_bytes",
		(json_int_t)page_size() * pager->cluster_pages, "limit_bytes", (json_int_t)header->session.store.limit);

	if (!record)
		return NULL;
	json_object_set_new(record, "encrypted", json_boolean(pager->tiers.seal));
	if (pager->tiers.seal)
		json_object_set_new(record, "key", json_string(seal_secret(pager->tiers.seal) ? "secret" : "locked"));
	json_object_set_new(record, "missing", list_missing(pager));
	json_object_set_new(record, "kept_in", json_boolean(atomic_load(&pager->serving.holds)));
	if (atomic_load(&pager->tracer.pid))
		report_number(record, "tracer_pid", (uint64_t)atomic_load(&pager->tracer.pid));
	if (pager->access.ops)
		json_object_set_new(record, "access", json_string(access_name(pager->access.method)));
	if (pager->access.puppet.self.pid)
		report_number(record, "puppet_pid", (uint64_t)pager->access.puppet.self.pid);
	behind_finish(pager);
	store_usage(pager->tiers.store, &usage);
	report_number(record, "store_bytes", usage.stored);
	report_number(record, "store_allocated_bytes", usage.allocated);
	report_number(record, "store_file_bytes", usage.file);
	store_usage(pager->tiers.pool, &usage);
	report_number(record, "pool_bytes", usage.stored);
	pthread_mutex_lock(&pager->lock);
	set_pages(pager, record);
	set_faults(pager, record);
	if (refaults_ageing(pager))
		json_object_set_new(record, "ageing", json_string(refaults_ageing(pager)));
	pthread_mutex_unlock(&pager->lock);
	return record;
}
