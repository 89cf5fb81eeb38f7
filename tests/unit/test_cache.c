/* SPDX-License-Identifier: MIT */
/* Cache: pages that are asked for, brought, refused and taken away. */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cache_kit.h"

static int set_up_large_blocks(void **state)
{
	(void)state;
	return set_up_blocks(PAGES / 4, 4 * page_size());
}

static void a_missing_page_is_asked_for_once(void **state)
{
	(void)state;
	assert_int_equal(peek(base + page(5) + 9), 5);
	assert_int_equal(peek(base + page(5)), 5);
	assert_int_equal(poke(base + page(6), 60), 0);
	assert_int_equal(peek(base + page(6)), 60);
	assert_int_equal(peek(base + page(6) + 1), 6);
	assert_int_equal(source.of_page[5], 1);
	assert_int_equal(source.of_page[6], 1);
	assert_int_equal(source.fills, 2);
}

static void faults_at_the_same_time_ask_once(void **state)
{
	pthread_t threads[8];

	(void)state;
	map_at(space, mappable, pages(0, PAGES), base + page(PAGES), UVM_MAP_READ);
	source.silent = true;
	for (int i = 0; i < 8; i++)
		threads[i] = start_peek(base + page(3 + (uint64_t)(i % 2) * PAGES));
	wait_until_pages_asked(3, 4);
	answer(cache, pages(3, 4), 70);
	for (int i = 0; i < 8; i++)
		assert_int_equal(end_peek(threads[i]), 73);
	assert_int_equal(source.of_page[3], 1);
}

static void a_fill_may_bring_more_or_come_in_parts(void **state)
{
	pthread_t first, second;

	(void)state;
	source.bonus = 10;
	assert_int_equal(peek(base), 0);
	assert_int_equal(peek(base + page(10)), 10);
	assert_int_equal(source.fills, 1);
	source.silent = true;
	first = start_peek(base + page(20));
	second = start_peek(base + page(21));
	wait_until_pages_asked(20, 22);
	answer(cache, pages(21, 22), 0);
	assert_int_equal(end_peek(second), 21);
	answer(cache, pages(19, 22), 0);
	assert_int_equal(end_peek(first), 20);
	assert_int_equal(peek(base + page(19)), 19);
	assert_int_equal(source.of_page[19], 0);
}

static void blocks_larger_than_pages_are_asked_for_whole(void **state)
{
	(void)state;
	assert_int_equal(peek(base + page(6)), 6);
	assert_int_equal(source.last.start, page(4));
	assert_int_equal(source.last.end, page(8) - 1);
	assert_int_equal(peek(base + page(4)), 4);
	assert_int_equal(source.fills, 1);
}

static void what_is_there_is_not_filled_again(void **state)
{
	(void)state;
	assert_int_equal(poke(base + page(2), 99), 0);
	answer(cache, pages(1, 4), 50);
	assert_int_equal(peek(base + page(1)), 51);
	assert_int_equal(peek(base + page(2)), 99);
	assert_int_equal(peek(base + page(3)), 53);
}

static void pages_are_filled_with_zeros_on_request(void **state)
{
	(void)state;
	assert_int_equal(uvm_cache_fill_zero(cache, pages(4, 300)), UVM_MEM_INVALID_ARGUMENT);
	assert_int_equal(uvm_cache_fill_zero(cache, pages(4, 6)), 0);
	assert_int_equal(peek(base + page(4)), 0);
	assert_int_equal(peek(base + page(5) + 1), 0);
	assert_int_equal(peek(base + page(6)), 6);
	assert_int_equal(source.of_page[4], 0);
}

static void many_pages_are_filled_at_once(void **state)
{
	struct uvm_cache *large;
	struct uvm_cacheable *behind = new_cacheable(2048, page_size());
	struct uvm_mappable *view;
	uint64_t at;
	struct uvm_space *window = new_window(2048, &at);

	(void)state;
	assert_int_equal(uvm_cache_create(&large), 0);
	assert_int_equal(uvm_cache_set_cacheable(large, behind), 0);
	assert_int_equal(uvm_cache_get_mappable(large, &view), 0);
	map_at(window, view, pages(0, 2048), at, UVM_MAP_READ);
	answer(large, pages(0, 2048), 1);
	for (uint64_t i = 0; i < 2048; i++)
		assert_int_equal(peek(at + page(i)), (i + 1) & 255);
	assert_int_equal(source.fills, 0);
	uvm_space_unref(window);
	uvm_mappable_unref(view);
	uvm_cache_unref(large);
	uvm_cacheable_unref(behind);
}

static void a_removed_page_is_asked_for_again(void **state)
{
	(void)state;
	assert_int_equal(poke(base + page(1), 11), 0);
	source.version = 5;
	assert_int_equal(uvm_cache_remove(cache, pages(0, 4)), 0);
	assert_int_equal(uvm_cache_remove(cache, pages(0, 4)), 0);
	assert_int_equal(peek(base + page(1)), 6);
	assert_int_equal(source.of_page[1], 2);
	assert_int_equal(uvm_cache_remove(cache, pages(0, PAGES + 1)), UVM_MEM_INVALID_ARGUMENT);
	assert_int_equal(uvm_cache_remove(cache, (struct uvm_region){1, 2}), UVM_MEM_INVALID_ARGUMENT);
}

static void an_error_is_a_signal_and_never_zeros(void **state)
{
	int zero = open("/dev/zero", O_RDONLY | O_CLOEXEC);

	(void)state;
	map_at(space, mappable, pages(0, PAGES), base + page(PAGES), UVM_MAP_READ);
	source.result = UVM_MEM_IO_ERROR;
	assert_int_equal(peek(base + page(2)), -SIGBUS);
	assert_int_equal(peek(base + page(2)), -SIGBUS);
	assert_int_equal(peek(base + page(PAGES + 2)), -SIGBUS);
	assert_int_equal(poke(base + page(2), 1), -SIGBUS);
	assert_int_equal(source.of_page[2], 1);
	assert_int_equal(read(zero, (char *)base + page(3), 1), -1);
	close(zero);
	source.result = 0;
	assert_int_equal(peek(base + page(2)), -SIGBUS);
	answer(cache, pages(2, 3), 0); /* it came after all */
	assert_int_equal(peek(base + page(2)), 2);
	assert_int_equal(peek(base + page(PAGES + 2)), 2);
	assert_int_equal(peek(base + page(3)), -SIGBUS);
	assert_int_equal(uvm_cache_remove(cache, pages(3, 4)), 0); /* it may be asked for again */
	assert_int_equal(peek(base + page(3)), 3);
	assert_int_equal(uvm_cache_fill_error(cache, pages(3, 5)), 0); /* what is there stays */
	assert_int_equal(peek(base + page(3)), 3);
	assert_int_equal(peek(base + page(4)), -SIGBUS);
	assert_int_equal(source.of_page[4], 0);
}

static void caches_are_seen_through_stacks_and_copies(void **state)
{
	struct uvm_space *low = new_stacked(), *high = new_stacked(), *clone;
	uint64_t view = base + page(PAGES), copy = base + page(2 * PAGES), there;

	(void)state;
	map_at(low, mappable, pages(0, PAGES), 0, RW);
	map_space(high, low, pages(0, PAGES), 0, RW);
	map_space(space, high, pages(0, PAGES), view, RW);
	map_space(space, high, pages(0, PAGES), copy, COW);
	assert_int_equal(peek(view + page(3)), 3);
	assert_int_equal(poke(copy + page(4), 44), 0);
	assert_int_equal(peek(view + page(4)), 4);
	assert_int_equal(source.fills, 2);
	clone = new_clone(high, 0);
	map_space(space, clone, pages(0, PAGES), base + page(3 * PAGES), RW);
	there = base + page(3 * PAGES);
	assert_int_equal(poke(view + page(3), 33), 0);
	assert_int_equal(poke(view + page(5), 55), 0);
	source.version = 100;
	assert_int_equal(uvm_cache_remove(cache, pages(0, PAGES)), 0);
	assert_int_equal(peek(there + page(3)), 3); /* kept from before */
	assert_int_equal(peek(there + page(4)), 4);
	assert_int_equal(peek(there + page(5)), 5);
	assert_int_equal(peek(view + page(3)), 103);
	assert_int_equal(peek(copy + page(4)), 44);
	uvm_space_unref(clone);
	uvm_space_unref(low);
	uvm_space_unref(high);
}

static void system_calls_wait_for_pages(void **state)
{
	int ends[2];
	char byte;

	(void)state;
	assert_int_equal(pipe(ends), 0);
	assert_int_equal(write(ends[1], (char *)base + page(9), 1), 1);
	assert_int_equal(read(ends[0], &byte, 1), 1);
	assert_int_equal(byte, 9);
	close(ends[0]);
	close(ends[1]);
}

/* Sanitizers make mlockall() do nothing. */
static void a_program_that_locks_its_memory_sees_no_zeros(void **state)
{
	(void)state;
	assert_int_equal(syscall(SYS_mlockall, MCL_FUTURE), 0);
	map_at(space, mappable, pages(0, PAGES), base, RW | UVM_MAP_REPLACE);
	map_at(space, mappable, pages(0, PAGES), base + page(PAGES), COW);
	assert_int_equal(syscall(SYS_munlockall), 0);
	assert_int_equal(source.fills, 0);
	assert_int_equal(peek(base + page(1)), 1);
	assert_int_equal(peek(base + page(PAGES + 2)), 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(a_missing_page_is_asked_for_once),
		test(faults_at_the_same_time_ask_once),
		test(a_fill_may_bring_more_or_come_in_parts),
		cmocka_unit_test_setup_teardown(blocks_larger_than_pages_are_asked_for_whole, set_up_large_blocks,
						tear_down),
		test(what_is_there_is_not_filled_again),
		test(pages_are_filled_with_zeros_on_request),
		test(many_pages_are_filled_at_once),
		test(a_removed_page_is_asked_for_again),
		test(an_error_is_a_signal_and_never_zeros),
		test(caches_are_seen_through_stacks_and_copies),
		test(system_calls_wait_for_pages),
		test(a_program_that_locks_its_memory_sees_no_zeros),
	};

	alarm(300);
	return cmocka_run_group_tests_name("cache", tests, NULL, NULL);
}
