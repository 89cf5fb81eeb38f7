/* SPDX-License-Identifier: MIT */
/* What was moved aside is read, compressed and stored; only then may the staging area let it go. */
#include <errno.h>
#include <sched.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "edit/move_call.h"
#include "index/index.h"
#include "pager/cluster.h"
#include "pager/pager.h"
#include "pager/tiers.h"
#include "pages/pages.h"
#include "service/failpoint.h"
#include "service/service.h"
#include "swapin/bring.h"
#include "swapin/fault.h"
#include "swapin/fill.h"
#include "swapin/filler.h"
#include "swapout/out.h"
#include "swapout/staging.h"

#define READ_VECTORS      512
#define COMPRESS_NICE     5
#define COMPRESS_SLICE_NS 100000

/* Runs of pages, in the target and in the worker's copy. */
struct runs {
	struct iovec there[READ_VECTORS], here[READ_VECTORS];
	unsigned int count;
	size_t bytes;
};

static void add_run(const struct pager *pager, struct runs *runs, uint64_t start, size_t bytes)
{
	runs->there[runs->count] = (struct iovec){(void *)start, bytes};
	runs->here[runs->count++] =
		(struct iovec){pager->staging.mirror + (start - pager->staging.region.start), bytes};
	runs->bytes += bytes;
}

/* Empties them. Returns whether all of it could be read. */
static bool read_runs(struct pager *pager, struct runs *runs)
{
	ssize_t wanted = (ssize_t)runs->bytes;
	unsigned int count = runs->count;

	runs->count = 0;
	runs->bytes = 0;
	return !count || pager->access.ops->area.read(&pager->access, runs->here, runs->there, count) == wanted;
}

/* Reads the pages that are there into the worker's copy; a page that cannot be read is marked in its cluster. */
static void read_pages(struct pager *pager, struct region region, const uint64_t *entries, unsigned char *unreadable)
{
	size_t page = page_size(), count = region_bytes(region) / page;
	struct runs runs;

	runs.count = 0;
	runs.bytes = 0;
	for (size_t i = 0, first = 0; i < count; first = i) {
		while (i < count && runs.count < READ_VECTORS) {
			size_t end = i;

			while (end < count && pagemap_populated(entries[end]))
				end++;
			if (end > i)
				add_run(pager, &runs, region.start + i * page, (end - i) * page);
			i = end + (end < count);
		}
		if (read_runs(pager, &runs))
			continue;
		for (; first < i; first++) {
			if (!pagemap_populated(entries[first]))
				continue;
			add_run(pager, &runs, region.start + first * page, page);
			unreadable[first] = !read_runs(pager, &runs);
		}
	}
}

/*
 * A page that was a hole is resident again in the sense of the index: nothing of it is out. Where pages may have gone
 * since, it is not known for a hole: those are lost. `lock` held.
 */
static void resolve_holes(struct pager *pager, const struct batch_cluster *bc, const uint64_t *entries,
			  const unsigned char *unreadable, bool torn)
{
	struct cluster *cluster = index_cluster(pager->index, bc->number);

	for (unsigned int i = 0; i < bc->pages; i++) {
		uint64_t at = bc->source + i * page_size();
		bool there = pagemap_populated(entries[i]);
		bool lost = unreadable[i] || (torn && !there);

		if (lost)
			cluster->lost |= UINT64_C(1) << i;
		if (there || lost) {
			bc->result->moved += page_size();
			continue;
		}
		cluster->holes |= UINT64_C(1) << i;
		if (index_get(pager->index, 0, at) == entry_make(bc->number, i)) {
			index_set(pager->index, 0, at, ENTRY_NONE);
			cluster->refs--;
		}
	}
	cluster->state = CLUSTER_STAGED;
	index_header(pager->index)->session.counters.moved_pages +=
		bc->pages - (unsigned int)__builtin_popcountll(cluster->holes);
}

static uint64_t moved_bytes(const struct pager *pager, const struct batch *batch)
{
	uint64_t pages = 0;

	for (size_t i = 0; i < batch->count; i++)
		pages += batch->clusters[i].pages -
			 (unsigned int)__builtin_popcountll(
				 index_cluster(pager->index, batch->clusters[i].number)->holes);
	return pages * page_size();
}

/* Clusters that were not there any more at the end of reading: bytes of the program's may have been read. */
static void find_lost(struct out_job *job, struct region moved)
{
	struct pager *pager = job->pager;
	const struct batch *batch = job->current;

	if (!region_bytes(moved) || staging_holds(pager, moved))
		return;
	for (size_t i = batch->clusters_read; i < batch->count; i++) {
		const struct batch_cluster *bc = &batch->clusters[i];
		struct region there = {bc->staging, bc->staging + bc->pages * page_size()};

		if (!staging_holds(pager, there))
			memset(job->inspection.unreadable + (there.start - moved.start) / page_size(), 1, bc->pages);
	}
}

int out_read(struct out_job *job)
{
	struct pager *pager = job->pager;
	struct batch *batch = job->current;
	uint64_t slot = staging_slot(pager, batch->slot).start;
	struct region moved = {slot + batch->read, slot + batch->used};
	uint64_t *entries = job->inspection.entries;
	unsigned char *unreadable = job->inspection.unreadable;
	int rc;

	if (region_bytes(moved))
		failpoint("reading");
	rc = move_pagemap(pager->view.pagemap_fd, moved.start, region_bytes(moved) / page_size(), entries);
	memset(unreadable, 0, sizeof(job->inspection.unreadable));
	if (rc == 0) {
		read_pages(pager, moved, entries, unreadable);
		find_lost(job, moved);
	}
	failpoint("read");
	pthread_mutex_lock(&pager->lock);
	for (; batch->clusters_read < batch->count; batch->clusters_read++) {
		const struct batch_cluster *bc = &batch->clusters[batch->clusters_read];
		size_t page = (bc->staging - moved.start) / page_size();

		if (rc == 0)
			resolve_holes(pager, bc, entries + page, unreadable + page, pager->staging.torn);
		else /* the target has ended; children of it have what moved no longer */
			cluster_lose(index_cluster(pager->index, bc->number));
	}
	batch->read = batch->used;
	pager->staging.unread = false;
	pthread_mutex_unlock(&pager->lock);
	failpoint("staged");
	fault_serve_parked(&job->filler);
	return rc;
}

int out_stage(struct out_job *job)
{
	struct pager *pager = job->pager;
	struct batch *batch = job->current;
	int rc = out_read(job);

	pthread_mutex_lock(&pager->lock);
	job->sums.moved += moved_bytes(pager, batch);
	pthread_mutex_unlock(&pager->lock);
	pthread_mutex_lock(&job->compress.mutex);
	batch->next = 0;
	batch->unfinished = batch->count;
	if (batch->count)
		job->compress.queue[job->compress.queued++] = batch;
	pthread_cond_broadcast(&job->compress.changed);
	pthread_mutex_unlock(&job->compress.mutex);
	job->current = NULL;
	return rc;
}

void out_done(struct out_region *region)
{
	region->ended_us = now_us();
	atomic_fetch_sub(&region->pending, 1);
}

/* One compressing thread's memory. */
struct compressor {
	struct out_job *job;
	struct filler filler;
	struct store_scratch *scratch;
	unsigned char *packed;
};

/* What a cluster is made of. */
struct contents {
	uint64_t zeros, filled;
	uint64_t words[CLUSTER_PAGES_MAX];
	size_t data_pages;
};

/* Whether a page is one 64-bit word repeated. */
static bool repeats_word(const unsigned char *page, uint64_t *word)
{
	memcpy(word, page, sizeof(*word));
	return memcmp(page, page + sizeof(*word), page_size() - sizeof(*word)) == 0;
}

/* The words lie in the index as they are: next to a sealed store they are ordinary data. */
static void examine_pages(const struct cluster *cluster, const unsigned char *pages, bool sealed,
			  struct contents *contents)
{
	*contents = (struct contents){0};
	for (unsigned int i = 0; i < cluster->pages; i++) {
		uint64_t bit = UINT64_C(1) << i;

		if (cluster->holes & bit)
			continue;
		if (cluster->lost & bit) { /* they have no place in the record */
			contents->zeros |= bit;
			continue;
		}
		if (!repeats_word(pages + i * page_size(), &contents->words[i]) || (contents->words[i] && sealed))
			contents->data_pages++;
		else if (contents->words[i])
			contents->filled |= bit;
		else
			contents->zeros |= bit;
	}
}

/* The pages that hold something, side by side; the mirror itself when that is all of them. */
static const unsigned char *pack_pages(struct compressor *c, const struct cluster *cluster, const unsigned char *pages,
				       const struct contents *contents)
{
	uint64_t synthesized = cluster->holes | contents->zeros | contents->filled;
	unsigned char *to = c->packed;

	if (!synthesized)
		return pages;
	for (unsigned int i = 0; i < cluster->pages; i++)
		if (!(synthesized >> i & 1)) {
			memcpy(to, pages + i * page_size(), page_size());
			to += page_size();
		}
	return c->packed;
}

/* Words that have no place in the index are kept as ordinary data. */
static void keep_words(struct pager *pager, uint32_t number, struct contents *contents)
{
	for (unsigned int i = 0; i < CLUSTER_PAGES_MAX; i++) {
		uint64_t *word = contents->filled >> i & 1 ? index_fill(pager->index, number, i, true) : NULL;

		if (!(contents->filled >> i & 1))
			continue;
		if (word) {
			*word = contents->words[i];
			continue;
		}
		contents->filled &= ~(UINT64_C(1) << i);
		contents->data_pages++;
	}
}

static void count_stored(struct out_region *result, struct record_counters *counters, const struct contents *contents,
			 const struct cluster *cluster)
{
	const struct cluster_slot *slot = &cluster->slot;
	unsigned int zeros = (unsigned int)__builtin_popcountll(contents->zeros & ~cluster->lost);
	unsigned int filled = (unsigned int)__builtin_popcountll(contents->filled);

	result->zero_pages += zeros;
	result->filled_pages += filled;
	result->stored += slot->size;
	result->compressed += slot->length;
	counters->zero_pages += zeros;
	counters->filled_pages += filled;
	counters->stored_pages += contents->data_pages;
	counters->stored_bytes += slot->size;
	counters->compressed_bytes += slot->length;
}

static void store_cluster(struct compressor *c, const struct batch_cluster *bc)
{
	struct pager *pager = c->job->pager;
	struct cluster *cluster = index_cluster(pager->index, bc->number);
	const unsigned char *pages = pager->staging.mirror + (bc->staging - pager->staging.region.start);
	struct store_slot slot = {0};
	bool pool = c->job->request->pool;
	struct contents contents;
	bool wanted;
	int rc = 0;

	pthread_mutex_lock(&pager->lock);
	wanted = cluster->refs > 0;
	if (!wanted)
		cluster_unpin(pager, bc->number);
	pthread_mutex_unlock(&pager->lock);
	if (!wanted)
		return;
	examine_pages(cluster, pages, pager->tiers.seal, &contents);
	pthread_mutex_lock(&pager->lock);
	keep_words(pager, bc->number, &contents);
	pthread_mutex_unlock(&pager->lock);
	if (contents.data_pages)
		rc = store_write(pool ? pager->tiers.pool : pager->tiers.store, c->scratch,
				 pack_pages(c, cluster, pages, &contents), contents.data_pages * page_size(),
				 cluster_tag(pager, bc->number), &slot);
	failpoint("written");
	if (rc < 0) {
		atomic_store(&c->job->failed, rc);
		bc->result->returned += bc->pages * page_size();
		fill_cluster(&c->filler, bc->number);
	}
	pthread_mutex_lock(&pager->lock);
	if (rc == 0) {
		cluster->zeros = contents.zeros;
		cluster->filled = contents.filled;
		tier_enter(pager, bc->number, &slot, pool);
		failpoint("slot");
		__atomic_store_n(&cluster->state, CLUSTER_STORED, __ATOMIC_RELEASE);
		c->job->compress.written = slot;
		c->job->compress.written_tag = cluster_tag(pager, bc->number);
		count_stored(bc->result, &index_header(pager->index)->session.counters, &contents, cluster);
	}
	cluster_unpin(pager, bc->number);
	pthread_mutex_unlock(&pager->lock);
	failpoint("stored");
}

/* The next cluster of the oldest batch. job->compress.mutex held. */
static struct batch *take_cluster(struct out_job *job, size_t *number)
{
	struct batch *batch = job->compress.queued ? job->compress.queue[0] : NULL;

	if (!batch)
		return NULL;
	*number = batch->next++;
	if (batch->next == batch->count)
		memmove(job->compress.queue, job->compress.queue + 1,
			--job->compress.queued * sizeof(struct batch *)); /* NOLINT(bugprone-sizeof-expression) */
	return batch;
}

static void compress_loop(struct compressor *c)
{
	struct out_job *job = c->job;

	pthread_mutex_lock(&job->compress.mutex);
	for (;;) {
		size_t number;
		struct batch *batch = take_cluster(job, &number);
		struct batch_cluster bc;

		if (!batch && job->compress.closing)
			break;
		if (!batch) {
			pthread_cond_wait(&job->compress.changed, &job->compress.mutex);
			continue;
		}
		bc = batch->clusters[number];
		pthread_mutex_unlock(&job->compress.mutex);
		store_cluster(c, &bc);
		out_done(bc.result);
		pthread_mutex_lock(&job->compress.mutex);
		if (--batch->unfinished == 0)
			pthread_cond_broadcast(&job->compress.changed);
	}
	pthread_mutex_unlock(&job->compress.mutex);
}

static void compressor_free(struct compressor *c)
{
	filler_free(&c->filler);
	store_scratch_free(c->scratch);
	free(c->packed);
	free(c);
}

/*
 * The stopped thread, the mover and fault service go first: less weight, and a slice after which a thread that wakes is
 * let on at once (sched_setattr(2), sched_runtime for SCHED_OTHER since Linux 6.12; older kernels take the nice value
 * and ignore the rest).
 */
static void yield_soon(void)
{
	struct {
		uint32_t size, policy;
		uint64_t flags;
		int32_t nice;
		uint32_t priority;
		uint64_t runtime, deadline, period;
	} attributes = {
		.size = sizeof(attributes), .policy = SCHED_OTHER, .nice = COMPRESS_NICE, .runtime = COMPRESS_SLICE_NS};

	syscall(SYS_sched_setattr, 0, &attributes, 0);
}

static void *compress_main(void *argument)
{
	struct compressor *c = argument;

	yield_soon();
	confine_force(false);
	compress_loop(c);
	compressor_free(c);
	service_shrink_stack();
	return NULL;
}

static int start_compressor(struct out_job *job)
{
	size_t bytes = job->pager->cluster_pages * page_size();
	struct compressor *c = calloc(1, sizeof(*c));
	int rc = -ENOMEM;

	if (!c)
		return rc;
	c->job = job;
	c->packed = malloc(bytes);
	if (c->packed && store_scratch_new(job->pager->tiers.store, &c->scratch, bytes) == 0 &&
	    filler_init(&c->filler, job->pager) == 0)
		rc = -pthread_create(&job->compress.threads[job->compress.count], NULL, compress_main, c);
	if (rc < 0) {
		compressor_free(c);
		return rc;
	}
	job->compress.count++;
	return 0;
}

int out_start_compressors(struct out_job *job)
{
	cpu_set_t set;
	int wanted = sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : 1;
	int rc = 0;

	/* One processor is left to the mover and the thread it stops; a puppet has nothing else to do. */
	job->compress.shared = job->pager->access.puppet.self.pid > 0;
	if (!job->compress.shared)
		wanted--;
	if (wanted > COMPRESSORS_MAX)
		wanted = COMPRESSORS_MAX;
	if (wanted < 1)
		wanted = 1;
	job->processor = -1;
	for (int i = 0; rc == 0 && i < wanted; i++)
		rc = start_compressor(job);
	return job->compress.count ? 0 : rc;
}

void out_run_on(struct out_job *job, int processor)
{
	cpu_set_t all;
	cpu_set_t one;

	if (processor < 0 || processor == job->processor || sched_getaffinity(getpid(), sizeof(all), &all) < 0 ||
	    !CPU_ISSET(processor, &all) || CPU_COUNT(&all) < 2)
		return;
	CPU_ZERO(&one);
	CPU_SET(processor, &one);
	CPU_CLR(processor, &all);
	pthread_setaffinity_np(pthread_self(), sizeof(one), &one);
	for (unsigned int i = job->compress.shared; i < job->compress.count; i++)
		pthread_setaffinity_np(job->compress.threads[i], sizeof(all), &all);
	job->processor = processor;
}

void out_finish_compressors(struct out_job *job)
{
	pthread_mutex_lock(&job->compress.mutex);
	job->compress.closing = true;
	pthread_cond_broadcast(&job->compress.changed);
	pthread_mutex_unlock(&job->compress.mutex);
	for (unsigned int i = 0; i < job->compress.count; i++)
		pthread_join(job->compress.threads[i], NULL);
	job->compress.count = 0;
}

static bool slot_in_use(struct pager *pager, unsigned int slot)
{
	bool in_use;

	pthread_mutex_lock(&pager->lock);
	in_use = pager->staging.pins[slot] > 0;
	pthread_mutex_unlock(&pager->lock);
	return in_use;
}

/* A batch that nobody compresses any more and whose copy nobody reads. job->compress.mutex held. */
static struct batch *find_free(struct out_job *job)
{
	for (unsigned int i = 0; i < SLOTS; i++)
		if (!job->batches[i].unfinished && !slot_in_use(job->pager, i))
			return &job->batches[i];
	return NULL;
}

void out_next_batch(struct out_job *job)
{
	struct batch *batch;

	pthread_mutex_lock(&job->compress.mutex);
	while (!(batch = find_free(job))) {
		struct timespec soon;

		/* The pins of fault service are let go without a signal. */
		clock_gettime(CLOCK_REALTIME, &soon);
		soon.tv_nsec += 1000000;
		if (soon.tv_nsec >= 1000000000) {
			soon.tv_nsec -= 1000000000;
			soon.tv_sec++;
		}
		pthread_cond_timedwait(&job->compress.changed, &job->compress.mutex, &soon);
	}
	pthread_mutex_unlock(&job->compress.mutex);
	batch->count = batch->clusters_read = 0;
	batch->used = batch->read = 0;
	job->current = batch;
}
