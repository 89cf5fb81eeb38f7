/* SPDX-License-Identifier: MIT */
/* Cache and Cacheable: what is allowed when, waiting for pages, and how long things live. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <unistd.h>

#include "cache_kit.h"

static void without_a_cacheable_nothing_works(void **state)
{
	struct uvm_cache *none;
	struct uvm_cacheable *got;
	struct uvm_mappable *view;
	uint64_t number, start = UVM_UNSPECIFIED_START;
	int fd;
	char byte = 0;

	(void)state;
	assert_int_equal(uvm_cache_create(&none), 0);
	assert_int_equal(uvm_cache_get_mappable(none, &view), 0);
	assert_int_equal(uvm_cache_get_cacheable(none, &got), 0);
	assert_null(got);
	assert_int_equal(uvm_cache_fill(none, 0, &byte, page_size()), UVM_MEM_INVALID_STATE);
	assert_int_equal(uvm_cache_fill_zero(none, pages(0, 1)), UVM_MEM_INVALID_STATE);
	assert_int_equal(uvm_cache_fill_error(none, pages(0, 1)), UVM_MEM_INVALID_STATE);
	assert_int_equal(uvm_cache_remove(none, pages(0, 1)), UVM_MEM_INVALID_STATE);
	assert_int_equal(uvm_cache_block_on_region(none, pages(0, 1)), UVM_MEM_INVALID_STATE);
	assert_int_equal(uvm_cache_region_blocker(none, pages(0, 1), &fd), UVM_MEM_INVALID_STATE);
	assert_int_equal(uvm_mappable_get_size(view, &number), UVM_MEM_INVALID_STATE);
	assert_int_equal(uvm_mappable_get_block_size(view, &number), UVM_MEM_INVALID_STATE);
	assert_int_equal(uvm_space_map(space, view, pages(0, 1), &start, RW), UVM_MEM_INVALID_STATE);
	uvm_mappable_unref(view);
	uvm_cache_unref(none);
}

static void the_cacheable_of_a_mapped_cache_stays(void **state)
{
	struct uvm_cacheable *other = new_cacheable(PAGES / 2, page_size()), *got;
	uint64_t blocks;

	(void)state;
	assert_int_equal(uvm_cache_set_cacheable(cache, other), UVM_MEM_INVALID_STATE);
	assert_int_equal(uvm_cache_set_cacheable(cache, NULL), UVM_MEM_INVALID_STATE);
	assert_int_equal(uvm_cache_get_cacheable(cache, &got), 0);
	assert_ptr_equal(got, cacheable);
	uvm_cacheable_unref(got);
	assert_int_equal(peek(base + page(1)), 1);
	assert_int_equal(uvm_space_unmap(space, pages_from(base, 0, PAGES)), 0);
	assert_int_equal(uvm_cache_set_cacheable(cache, other), 0);
	assert_int_equal(uvm_mappable_get_size(mappable, &blocks), 0);
	assert_int_equal(blocks, PAGES / 2);
	source.version = 3;
	map_at(space, mappable, pages(0, PAGES / 2), base, RW);
	assert_int_equal(peek(base + page(1)), 4); /* it was emptied */
	assert_int_equal(uvm_space_unmap(space, pages_from(base, 0, PAGES)), 0);
	assert_int_equal(uvm_cache_set_cacheable(cache, NULL), 0);
	uvm_cacheable_unref(other);
	wait_until_released(1);
}

static void pages_on_their_way_keep_the_cacheable(void **state)
{
	pthread_t thread;

	(void)state;
	source.silent = true;
	thread = start_peek(base + page(7));
	wait_until_pages_asked(7, 8);
	assert_int_equal(uvm_space_unmap(space, pages_from(base, 0, PAGES)), 0);
	assert_int_equal(end_peek(thread), -SIGSEGV);
	assert_int_equal(uvm_cache_set_cacheable(cache, NULL), UVM_MEM_INVALID_STATE);
	answer(cache, pages(7, 8), 0);
	assert_int_equal(uvm_cache_set_cacheable(cache, NULL), 0);
}

/* A Cacheable that answers with an error, and returns another one when the test lets it. */
static struct {
	pthread_barrier_t answered, go;
} late;

static int fill_late(void *unused, struct uvm_cache *of, struct uvm_region region)
{
	(void)unused;
	assert_int_equal(uvm_cache_fill_error(of, region), 0);
	pthread_barrier_wait(&late.answered);
	pthread_barrier_wait(&late.go);
	return UVM_MEM_IO_ERROR;
}

static void release_late(void *unused)
{
	(void)unused;
	pthread_barrier_wait(&late.answered);
}

/* The first one is let go of when its answer has been taken. */
static void an_answer_does_not_reach_the_next_cacheable(void **state)
{
	static const struct uvm_cacheable_ops ops = {sizeof(ops), fill_late, release_late};
	struct uvm_cacheable *first, *second = new_cacheable(1, page_size());

	(void)state;
	pthread_barrier_init(&late.answered, NULL, 2);
	pthread_barrier_init(&late.go, NULL, 2);
	assert_int_equal(uvm_cacheable_create(&ops, NULL, 1, page(4096), &first), 0);
	assert_int_equal(uvm_space_unmap(space, pages_from(base, 0, PAGES)), 0);
	assert_int_equal(uvm_cache_set_cacheable(cache, first), 0);
	uvm_cacheable_unref(first);
	map_at(space, mappable, pages(0, 1), base, RW);
	assert_int_equal(peek(base), -SIGBUS);
	pthread_barrier_wait(&late.answered);
	assert_int_equal(uvm_space_unmap(space, pages_from(base, 0, 1)), 0);
	assert_int_equal(uvm_cache_set_cacheable(cache, second), 0);
	uvm_cacheable_unref(second);
	pthread_barrier_wait(&late.go);
	pthread_barrier_wait(&late.answered);
	source.version = 5;
	map_at(space, mappable, pages(0, 1), base, RW);
	assert_int_equal(peek(base), 5);
}

static void *block_on(void *region)
{
	return (void *)(intptr_t)uvm_cache_block_on_region(cache, *(struct uvm_region *)region);
}

static void a_region_can_be_waited_for(void **state)
{
	struct uvm_region region = pages(2, 5);
	pthread_t thread;
	void *result;

	(void)state;
	answer(cache, pages(3, 4), 0);
	assert_int_equal(uvm_cache_block_on_region(cache, pages(3, 4)), 0);
	assert_int_equal(pthread_create(&thread, NULL, block_on, &region), 0);
	answer(cache, pages(2, 3), 0);
	assert_int_equal(pthread_tryjoin_np(thread, &result), EBUSY);
	answer(cache, pages(4, 5), 0);
	assert_int_equal(pthread_join(thread, &result), 0);
	assert_int_equal((intptr_t)result, 0);
	assert_int_equal(source.fills, 0);
	assert_int_equal(uvm_cache_fill_error(cache, pages(9, 10)), 0);
	assert_int_equal(uvm_cache_block_on_region(cache, pages(9, 10)), UVM_MEM_IO_ERROR);
	assert_int_equal(uvm_cache_block_on_region(cache, pages(2, 99)), UVM_MEM_INVALID_ARGUMENT);
}

static void waiting_ends_with_the_cacheable(void **state)
{
	struct uvm_cacheable *same = new_cacheable(PAGES, page_size());
	struct uvm_region region = pages(2, 5);
	pthread_t thread;
	void *result;

	(void)state;
	assert_int_equal(uvm_space_unmap(space, pages_from(base, 0, PAGES)), 0);
	assert_int_equal(pthread_create(&thread, NULL, block_on, &region), 0);
	while (pthread_tryjoin_np(thread, &result) == EBUSY) {
		assert_int_equal(uvm_cache_set_cacheable(cache, same), 0);
		sched_yield();
	}
	assert_int_equal((intptr_t)result, UVM_MEM_IO_ERROR);
	uvm_cacheable_unref(same);
}

/* Ends at the first point of cancellation that is none of the library's locked ones. */
static void *cancelled_in_removal(void *memory)
{
	pthread_cancel(pthread_self());
	uvm_mappable_unref(memory); /* closes it */
	pthread_testcancel();
	return NULL;
}

static void a_cancelled_thread_keeps_no_lock(void **state)
{
	struct uvm_region region = pages(2, 5);
	pthread_t thread;
	void *result;

	(void)state;
	assert_int_equal(pthread_create(&thread, NULL, block_on, &region), 0);
	pthread_cancel(thread);
	assert_int_equal(pthread_join(thread, &result), 0);
	assert_ptr_equal(result, PTHREAD_CANCELED);
	answer(cache, pages(2, 3), 0);
	assert_int_equal(pthread_create(&thread, NULL, cancelled_in_removal, new_memory(1)), 0);
	assert_int_equal(pthread_join(thread, &result), 0);
	assert_ptr_equal(result, PTHREAD_CANCELED);
	answer(cache, pages(3, 4), 0);
}

/* What the blocker says within `ms`; 0: nothing. */
static uint64_t blocker_says(int fd, int ms)
{
	struct pollfd readable = {.fd = fd, .events = POLLIN};
	uint64_t value = 0;

	if (poll(&readable, 1, ms) == 1)
		assert_int_equal(read(fd, &value, sizeof(value)), sizeof(value));
	return value;
}

static void a_blocker_becomes_readable(void **state)
{
	int all, failing, at_once, closed, orphan;

	(void)state;
	assert_int_equal(uvm_cache_region_blocker(cache, pages(2, 5), &all), 0);
	assert_int_equal(uvm_cache_region_blocker(cache, pages(4, 7), &failing), 0);
	assert_int_equal(uvm_cache_region_blocker(cache, pages(4, 7), &closed), 0);
	assert_int_equal(uvm_cache_region_blocker(cache, pages(20, 21), &orphan), 0);
	close(closed);
	answer(cache, pages(2, 4), 0);
	assert_int_equal(uvm_cache_remove(cache, pages(2, 3)), 0); /* was there: that counts */
	assert_int_equal(blocker_says(all, 0), 0);
	answer(cache, pages(4, 6), 0);
	assert_int_equal(blocker_says(all, 0), 1);
	assert_int_equal(blocker_says(failing, 0), 0);
	assert_int_equal(uvm_cache_fill_error(cache, pages(6, 7)), 0);
	assert_int_equal(blocker_says(failing, 0), 2);
	assert_int_equal(uvm_cache_region_blocker(cache, pages(3, 5), &at_once), 0);
	assert_int_equal(blocker_says(at_once, 0), 1);
	assert_int_equal(uvm_cache_region_blocker(cache, pages(3, 99), &closed), UVM_MEM_INVALID_ARGUMENT);
	assert_int_equal(uvm_space_unmap(space, pages_from(base, 0, PAGES)), 0);
	assert_int_equal(uvm_cache_set_cacheable(cache, NULL), 0);
	assert_int_equal(blocker_says(orphan, 0), 2);
	close(all);
	close(failing);
	close(at_once);
	close(orphan);
}

static unsigned int descriptors(void)
{
	unsigned int count = 0;

	for (int fd = 0; fd < 1024; fd++)
		count += fcntl(fd, F_GETFD) >= 0;
	return count;
}

static void a_blocker_closed_before_its_page_comes_leaves_no_descriptor(void **state)
{
	unsigned int before = descriptors();
	int kept, fd;

	(void)state;
	assert_int_equal(uvm_cache_region_blocker(cache, pages(20, 21), &kept), 0);
	for (int i = 0; i < 500; i++) {
		assert_int_equal(uvm_cache_region_blocker(cache, pages(20, 21), &fd), 0);
		close(fd);
	}
	assert_in_range(descriptors() - before, 2, 64);
	answer(cache, pages(20, 21), 0);
	assert_int_equal(blocker_says(kept, 0), 1);
	assert_int_equal(descriptors(), before + 1);
	close(kept);
}

static void memory_is_a_cacheable_too(void **state)
{
	struct uvm_mappable *memory = new_memory(4), *view;
	struct uvm_cacheable *of_memory, *none;
	struct uvm_cache *second;
	uint64_t at = base + page(PAGES), number;

	(void)state;
	map_at(space, memory, pages(0, 4), at, RW);
	assert_int_equal(poke(at + page(2), 42), 0);
	assert_int_equal(uvm_cacheable_create_from(mappable, &none), UVM_MEM_OPERATION_NOT_SUPPORTED);
	assert_int_equal(uvm_cacheable_create_from(memory, &of_memory), 0);
	assert_int_equal(uvm_cacheable_get_size(of_memory, &number), 0);
	assert_int_equal(number, 4);
	assert_int_equal(uvm_cacheable_get_block_size(of_memory, &number), 0);
	assert_int_equal(number, page_size());
	assert_int_equal(uvm_cache_create(&second), 0);
	assert_int_equal(uvm_cache_set_cacheable(second, of_memory), 0);
	assert_int_equal(uvm_cache_get_mappable(second, &view), 0);
	map_at(space, view, pages(0, 4), at + page(4), RW);
	assert_int_equal(peek(at + page(6)), 42);
	assert_int_equal(poke(at + page(6), 43), 0);
	assert_int_equal(peek(at + page(2)), 42);
	uvm_mappable_unref(view);
	uvm_cache_unref(second);
	uvm_cacheable_unref(of_memory);
	uvm_mappable_unref(memory);
}

static void cacheables_are_checked(void **state)
{
	const struct uvm_cacheable_ops good = {sizeof(good), fill, release}, other = {8, fill, release};
	struct uvm_cacheable *none = NULL;

	(void)state;
	assert_int_equal(uvm_cacheable_create(&other, NULL, 1, 4096, &none), UVM_MEM_INVALID_ARGUMENT);
	assert_int_equal(uvm_cacheable_create(&good, NULL, 0, 4096, &none), UVM_MEM_INVALID_ARGUMENT);
	assert_int_equal(uvm_cacheable_create(&good, NULL, 1, 3000, &none), UVM_MEM_INVALID_ARGUMENT);
	assert_int_equal(uvm_cacheable_create(&good, NULL, UINT64_MAX, 4096, &none), UVM_MEM_INVALID_ARGUMENT);
	assert_null(none);
}

static void a_cache_goes_with_its_last_user(void **state)
{
	(void)state;
	assert_int_equal(peek(base + page(1)), 1);
	uvm_cache_unref(cache);
	uvm_cacheable_unref(cacheable);
	assert_int_equal(peek(base + page(2)), 2); /* the mapping and our Mappable hold it */
	uvm_space_unref(space);
	assert_int_equal(source.released, 0);
	uvm_mappable_unref(mappable);
	wait_until_released(1);
	cache = NULL;
	cacheable = NULL;
	space = NULL;
	mappable = NULL;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(without_a_cacheable_nothing_works),
		test(the_cacheable_of_a_mapped_cache_stays),
		test(pages_on_their_way_keep_the_cacheable),
		test(an_answer_does_not_reach_the_next_cacheable),
		test(a_region_can_be_waited_for),
		test(waiting_ends_with_the_cacheable),
		test(a_cancelled_thread_keeps_no_lock),
		test(a_blocker_becomes_readable),
		test(a_blocker_closed_before_its_page_comes_leaves_no_descriptor),
		test(memory_is_a_cacheable_too),
		test(cacheables_are_checked),
		test(a_cache_goes_with_its_last_user),
	};

	alarm(300);
	return cmocka_run_group_tests_name("cache state", tests, NULL, NULL);
}
