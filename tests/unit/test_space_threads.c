/* SPDX-License-Identifier: MIT */
/* AddrSpace: changes in the middle of a stack, with a cache at its bottom, while others read and write at its top. */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "space_kit.h"

#define PAGES   8
#define READERS 2
#define ROUNDS  400

/*
 * The window maps top, top maps middle, middle maps bottom, and bottom maps memory and a cache. All words of page i of
 * the memory are 1000 + i, all of the cache's 2000 + i: a page is one of them as a whole, or it faults.
 */
static struct uvm_space *window, *top, *middle, *bottom;
static struct uvm_mappable *memory, *cached;
static struct uvm_cache *cache;
static uint64_t base;
static atomic_bool stopping;
static atomic_ulong seen_memory, seen_cache, seen_faults, wrong;

static void put_words(uint32_t *words, uint32_t value)
{
	for (size_t i = 0; i < page_size() / sizeof(*words); i++)
		words[i] = value;
}

static int fill(void *context, struct uvm_cache *of, struct uvm_region region)
{
	int rc = 0;

	(void)context;
	for (uint64_t at = region.start; at < region.end; at += page_size()) {
		uint32_t *words = malloc(page_size());

		put_words(words, 2000 + (uint32_t)(at / page_size()));
		rc |= uvm_cache_fill(of, at, words, page_size());
		free(words);
	}
	return rc;
}

static void make_cache(void)
{
	static const struct uvm_cacheable_ops ops = {.size = sizeof(ops), .fill = fill};
	struct uvm_cacheable *cacheable;

	assert_int_equal(uvm_cacheable_create(&ops, NULL, PAGES, page_size(), &cacheable), 0);
	assert_int_equal(uvm_cache_create(&cache), 0);
	assert_int_equal(uvm_cache_set_cacheable(cache, cacheable), 0);
	assert_int_equal(uvm_cache_get_mappable(cache, &cached), 0);
	uvm_cacheable_unref(cacheable);
}

static void make_memory(void)
{
	uint64_t at;
	struct uvm_space *space = new_window(PAGES, &at);

	memory = new_memory(PAGES);
	map_at(space, memory, pages(0, PAGES), at, RW);
	for (uint32_t i = 0; i < PAGES; i++)
		put_words((uint32_t *)(at + page(i)), 1000 + i);
	uvm_space_unref(space);
}

static int set_up(void **state)
{
	(void)state;
	make_cache();
	make_memory();
	top = new_stacked();
	middle = new_stacked();
	bottom = new_stacked();
	window = new_window(PAGES, &base);
	map_at(bottom, memory, pages(0, PAGES), 0, RW);
	map_at(bottom, cached, pages(0, PAGES), page(PAGES), RW);
	map_space(middle, bottom, pages(0, PAGES), 0, RW);
	map_space(top, middle, pages(0, PAGES), 0, RW);
	map_space(window, top, pages(0, PAGES), base, RW);
	stopping = false;
	seen_memory = seen_cache = seen_faults = wrong = 0;
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	uvm_space_unref(window);
	uvm_space_unref(top);
	uvm_space_unref(middle);
	uvm_space_unref(bottom);
	uvm_mappable_unref(memory);
	uvm_mappable_unref(cached);
	uvm_cache_unref(cache);
	return 0;
}

/* One word somewhere in a page: of the memory, of the cache, or a fault. */
static void look(uint32_t number, uint32_t word)
{
	int signal = sigsetjmp(escape, 0);
	uint32_t value;

	if (signal) {
		touching = 0;
		seen_faults++;
		return;
	}
	touching = 1;
	value = ((volatile uint32_t *)(base + page(number)))[word];
	touching = 0;
	if (value == 1000 + number)
		seen_memory++;
	else if (value == 2000 + number)
		seen_cache++;
	else
		wrong++;
}

static void *read_all(void *unused)
{
	uint32_t word = 0;

	while (!stopping)
		for (uint32_t number = 0; number < PAGES; number++) {
			look(number, word);
			word = (word + 37) % (uint32_t)(page_size() / sizeof(uint32_t));
		}
	return unused;
}

static void *forget_pages(void *unused)
{
	for (uint32_t i = 0; !stopping; i = (i + 3) % PAGES)
		if (uvm_cache_remove(cache, pages(i, i + 1)))
			wrong++;
	return unused;
}

static void start(pthread_t *thread, void *(*run)(void *))
{
	assert_int_equal(pthread_create(thread, NULL, run, NULL), 0);
}

static void change_middle(unsigned int round)
{
	uint64_t first = round % PAGES, end = first + 1 + round % (PAGES - first);
	struct uvm_region region = pages(first, end);

	switch (round % 5) {
	case 0:
		map_space(middle, bottom, pages(PAGES + first, PAGES + end), page(first), RW | UVM_MAP_REPLACE);
		break;
	case 1:
		assert_int_equal(uvm_space_unmap(middle, region), 0);
		break;
	case 2:
		map_space(middle, bottom, region, page(first), RW | UVM_MAP_REPLACE);
		break;
	case 3:
		assert_int_equal(uvm_space_set_mapflags(bottom, region, 0), 0);
		break;
	default:
		assert_int_equal(uvm_space_set_mapflags(bottom, pages(0, PAGES), RW), 0);
	}
}

static void a_reader_sees_the_old_or_the_new_or_faults(void **state)
{
	pthread_t readers[READERS], forgetter;

	(void)state;
	catch_faults();
	for (int i = 0; i < READERS; i++)
		start(&readers[i], read_all);
	start(&forgetter, forget_pages);
	for (unsigned int round = 0; round < ROUNDS || !seen_memory || !seen_cache || !seen_faults; round++)
		change_middle(round);
	stopping = true;
	for (int i = 0; i < READERS; i++)
		pthread_join(readers[i], NULL);
	pthread_join(forgetter, NULL);
	assert_int_equal(wrong, 0);
}

/* On one processor the readers may never get their turn at the right moment by themselves. */
static void wait_until_seen_again(const atomic_ulong *seen)
{
	unsigned long before = *seen;

	while (*seen == before && !wrong && !seen_faults)
		usleep(100);
}

/* Replacing in one step leaves no moment in which nothing is there. */
static void replacing_is_atomic(void **state)
{
	pthread_t readers[READERS];

	(void)state;
	catch_faults();
	for (int i = 0; i < READERS; i++)
		start(&readers[i], read_all);
	for (unsigned int round = 0; round < ROUNDS; round++) {
		map_space(middle, bottom, round % 2 ? pages(0, PAGES) : pages(PAGES, 2 * PAGES), 0,
			  RW | UVM_MAP_REPLACE);
		if (round % 20 < 2)
			wait_until_seen_again(round % 2 ? &seen_memory : &seen_cache);
	}
	stopping = true;
	for (int i = 0; i < READERS; i++)
		pthread_join(readers[i], NULL);
	assert_int_equal(wrong, 0);
	assert_int_equal(seen_faults, 0);
}

/* Each in its own space of its own stack, all over the same memory and cache. */
static void *change_own_stack(void *unused)
{
	struct uvm_space *stacked = new_stacked(), *clone;
	uint64_t at;
	struct uvm_space *own = new_window(PAGES, &at);

	map_space(own, stacked, pages(0, PAGES), at, RW);
	for (unsigned int round = 0; round < ROUNDS / 4; round++) {
		uint32_t i = round % PAGES;

		map_at(stacked, round % 3 ? memory : cached, pages(0, PAGES), 0, COW | UVM_MAP_REPLACE);
		clone = new_clone(stacked, round % 2);
		put_words((uint32_t *)(at + page(i)), round);
		if (*(volatile uint32_t *)(at + page(i) + 8) != round)
			wrong++;
		map_space(own, clone, pages(0, PAGES), at, RW | UVM_MAP_REPLACE);
		if (*(volatile uint32_t *)(at + page(i) + 8) != (round % 3 ? 1000 : 2000) + i)
			wrong++;
		map_space(own, stacked, pages(0, PAGES), at, RW | UVM_MAP_REPLACE);
		uvm_space_unref(clone);
	}
	uvm_space_unref(own);
	uvm_space_unref(stacked);
	return unused;
}

static void stacks_over_the_same_leaves_do_not_disturb_each_other(void **state)
{
	pthread_t changers[3], reader;

	(void)state;
	catch_faults();
	start(&reader, read_all);
	for (int i = 0; i < 3; i++)
		start(&changers[i], change_own_stack);
	for (int i = 0; i < 3; i++)
		pthread_join(changers[i], NULL);
	stopping = true;
	pthread_join(reader, NULL);
	assert_int_equal(wrong, 0);
	assert_int_equal(seen_faults, 0);
}

#define test(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(a_reader_sees_the_old_or_the_new_or_faults),
		test(replacing_is_atomic),
		test(stacks_over_the_same_leaves_do_not_disturb_each_other),
	};

	alarm(300);
	return cmocka_run_group_tests_name("space threads", tests, NULL, NULL);
}
