/* SPDX-License-Identifier: MIT */
/* What a target is discarding stays out of the mover's hands until that is over. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "pager/discards.h"

#define BASE  UINT64_C(0x7f0000000000)
#define STALE UINT64_C(31000000000) /* nanoseconds after which a discard must be over */

static struct pager *pager;
static bool done;               /* what the access says */
static struct region meanwhile; /* noted while the access is asked */

static bool discards_done(struct access *access)
{
	(void)access;
	if (region_bytes(meanwhile))
		discard_note(pager, meanwhile);
	return done;
}

static const struct target_ops ops = {.discards_done = discards_done};

static int set_up(void **state)
{
	int fd = memfd_create("index", MFD_CLOEXEC);

	(void)state;
	pager = calloc(1, sizeof(*pager));
	if (!pager)
		return -1;
	pager->index_fd = fd;
	pager->access.ops = &ops;
	pthread_mutex_init(&pager->lock, NULL);
	done = false;
	meanwhile = (struct region){0, 0};
	return index_create(&pager->index, fd, 16);
}

static int tear_down(void **state)
{
	(void)state;
	index_close(pager->index);
	close(pager->index_fd);
	free(pager);
	return 0;
}

static struct region pages(unsigned int first, unsigned int count)
{
	return (struct region){BASE + first * page_size(), BASE + (first + count) * page_size()};
}

static bool is_pending(unsigned int page)
{
	return discard_pending(pager, pages(page, 1).start);
}

static void test_only_what_is_discarded(void **state)
{
	(void)state;
	assert_false(is_pending(10));
	discard_note(pager, pages(10, 2));
	assert_false(is_pending(9));
	assert_true(is_pending(10));
	assert_true(is_pending(11));
	assert_false(is_pending(12));
}

static void test_until_it_is_over(void **state)
{
	(void)state;
	discard_note(pager, pages(10, 2));
	discards_quiesce(pager);
	assert_true(is_pending(10));
	done = true;
	discards_quiesce(pager);
	assert_false(is_pending(10));
}

static void test_not_what_came_meanwhile(void **state)
{
	(void)state;
	done = true;
	discard_note(pager, pages(10, 2));
	discard_note(pager, pages(20, 2));
	meanwhile = pages(20, 1);
	discards_quiesce(pager);
	assert_false(is_pending(10));
	assert_true(is_pending(20));
}

static void test_time_ends_it_where_threads_cannot_be_seen(void **state)
{
	struct index_header *header = index_header(pager->index);

	(void)state;
	discard_note(pager, pages(10, 2));
	discard_note(pager, pages(20, 2));
	header->session.events.discards[0].read_ns -= STALE;
	discards_quiesce(pager);
	assert_false(is_pending(10));
	assert_true(is_pending(20));
	discard_note(pager, pages(20, 1)); /* again, so it is a new one */
	header->session.events.discards[0].read_ns -= STALE / 2;
	discards_quiesce(pager);
	assert_true(is_pending(20));
}

static void test_more_than_can_be_told_apart(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < 10 * DISCARDS_MAX; i++)
		discard_note(pager, pages(2 * i, 1));
	assert_int_equal(index_header(pager->index)->session.events.discard_count, DISCARDS_MAX);
	for (unsigned int i = 0; i < 10 * DISCARDS_MAX; i++)
		assert_true(is_pending(2 * i));
	assert_false(is_pending(1));
	done = true;
	discards_quiesce(pager);
	for (unsigned int i = 0; i < 20 * DISCARDS_MAX; i++)
		assert_false(is_pending(i));
}

static void test_outlives_the_worker(void **state)
{
	struct index *again;

	(void)state;
	discard_note(pager, pages(10, 2));
	assert_int_equal(index_open(&again, pager->index_fd), 0);
	index_close(pager->index);
	pager->index = again;
	assert_true(is_pending(11));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_only_what_is_discarded, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_until_it_is_over, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_not_what_came_meanwhile, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_time_ends_it_where_threads_cannot_be_seen, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_more_than_can_be_told_apart, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_outlives_the_worker, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
