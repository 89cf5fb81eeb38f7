/* SPDX-License-Identifier: MIT */
/* A cache for tests, and a source of pages for it that does what the test wants. */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "space_kit.h"

#define PAGES 32

/* A source of pages that does what the test wants, and counts. */
static struct {
	pthread_mutex_t lock;
	pthread_cond_t asked;
	unsigned int of_page[2 * PAGES]; /* how often each was asked for */
	struct uvm_region last;
	unsigned int fills;
	bool silent; /* answers nothing: the test will */
	int result;  /* what fill returns instead of answering */
	int bonus;   /* so many pages more than asked for */
	int version; /* pages show their number plus this */
	unsigned int created;
	unsigned int released;
} source = {.lock = PTHREAD_MUTEX_INITIALIZER, .asked = PTHREAD_COND_INITIALIZER};

static struct uvm_cache *cache;
static struct uvm_cacheable *cacheable;
static struct uvm_mappable *mappable;
static struct uvm_space *space;
static uint64_t base;

static inline void answer(struct uvm_cache *to, struct uvm_region region, int version)
{
	size_t bytes = region.end - region.start + 1;
	_cleanup_free_ char *data = malloc(bytes);

	for (size_t i = 0; i < bytes; i++)
		data[i] = (char)((region.start + i) / page_size() + (unsigned int)version);
	assert_int_equal(uvm_cache_fill(to, region.start, data, bytes), 0);
}

static inline int fill(void *context, struct uvm_cache *of, struct uvm_region region)
{
	bool silent;
	int result, version;

	assert_ptr_equal(context, &source);
	pthread_mutex_lock(&source.lock);
	source.fills++;
	source.last = region;
	for (uint64_t i = region.start / page_size(); i <= region.end / page_size(); i++)
		source.of_page[i]++;
	silent = source.silent;
	result = source.result;
	version = source.version;
	region.end += page((uint64_t)source.bonus);
	pthread_cond_broadcast(&source.asked);
	pthread_mutex_unlock(&source.lock);
	if (!silent && !result)
		answer(of, region, version);
	return result;
}

static inline void release(void *context)
{
	assert_ptr_equal(context, &source);
	pthread_mutex_lock(&source.lock);
	source.released++;
	pthread_cond_broadcast(&source.asked);
	pthread_mutex_unlock(&source.lock);
}

static inline struct uvm_cacheable *new_cacheable(uint64_t blocks, uint64_t block)
{
	static const struct uvm_cacheable_ops ops = {sizeof(ops), fill, release};
	struct uvm_cacheable *new = NULL;

	assert_int_equal(uvm_cacheable_create(&ops, &source, blocks, block, &new), 0);
	source.created++;
	return new;
}

/* With a deadline, for `asked` under its lock. */
static inline int wait_asked(void)
{
	struct timespec limit;

	clock_gettime(CLOCK_REALTIME, &limit);
	limit.tv_sec += 20;
	return pthread_cond_timedwait(&source.asked, &source.lock, &limit);
}

/* Pages that follow each other may be asked for together. */
static inline void wait_until_pages_asked(uint64_t first, uint64_t end)
{
	int rc = 0;

	pthread_mutex_lock(&source.lock);
	for (uint64_t i = first; i < end && rc == 0; i++)
		while (!source.of_page[i] && rc == 0)
			rc = wait_asked();
	pthread_mutex_unlock(&source.lock);
	assert_int_equal(rc, 0);
}

/* The thread that asks may be the last to let one go, a moment after its answer was seen. */
static inline void wait_until_released(unsigned int count)
{
	int rc = 0;

	pthread_mutex_lock(&source.lock);
	while (source.released < count && rc == 0)
		rc = wait_asked();
	assert_int_equal(source.released, count);
	pthread_mutex_unlock(&source.lock);
}

/* The whole cache at the beginning of the window. */
static inline int set_up_blocks(uint64_t blocks, uint64_t block)
{
	memset(source.of_page, 0, sizeof(source.of_page));
	source.fills = 0;
	source.silent = false;
	source.result = source.bonus = source.version = 0;
	source.created = source.released = 0;
	if (uvm_cache_create(&cache)) {
		return -1;
	}
	cacheable = new_cacheable(blocks, block);
	assert_int_equal(uvm_cache_set_cacheable(cache, cacheable), 0);
	assert_int_equal(uvm_cache_get_mappable(cache, &mappable), 0);
	space = new_window(4 * PAGES, &base);
	map_at(space, mappable, pages(0, PAGES), base, RW);
	return 0;
}

static inline int set_up(void **state)
{
	(void)state;
	return set_up_blocks(PAGES, page_size());
}

static inline int tear_down(void **state)
{
	(void)state;
	uvm_space_unref(space);
	uvm_mappable_unref(mappable);
	uvm_cache_unref(cache);
	uvm_cacheable_unref(cacheable);
	wait_until_released(source.created);
	return 0;
}

static inline void *peek_at(void *address)
{
	return (void *)(intptr_t)peek((uintptr_t)address);
}

static inline pthread_t start_peek(uint64_t address)
{
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, peek_at, (void *)address), 0);
	return thread;
}

static inline int end_peek(pthread_t thread)
{
	void *result;

	assert_int_equal(pthread_join(thread, &result), 0);
	return (int)(intptr_t)result;
}

#define test(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
