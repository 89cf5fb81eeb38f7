/* SPDX-License-Identifier: MIT */
/* Which of the threads that answer faults hear of a message. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "pager/pager.h"
#include "pager/spaces.h"
#include "swapin/join.h"

#define THREADS 4

static struct pager pager;

/* A space of which something can be read, as of a userfaultfd with a message. */
static int begin(void **state)
{
	(void)state;
	memset(&pager, 0, sizeof(pager));
	pthread_mutex_init(&pager.lock, NULL);
	pager.faults.count = THREADS;
	for (unsigned int i = 0; i < THREADS; i++)
		pager.faults.epoll[i] = epoll_create1(EPOLL_CLOEXEC);
	pager.spaces[0].used = true;
	pager.spaces[0].uffd = eventfd(1, EFD_CLOEXEC);
	join_init(&pager);
	return space_watch(&pager, &pager.spaces[0]);
}

static int end(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < THREADS; i++)
		close(pager.faults.epoll[i]);
	return close(pager.spaces[0].uffd);
}

/* The first so many hear of a message, and no others. */
static void assert_hear(unsigned int threads)
{
	for (unsigned int i = 0; i < THREADS; i++) {
		struct epoll_event event;

		assert_int_equal(epoll_wait(pager.faults.epoll[i], &event, 1, 0), i < threads);
	}
}

static void test_half_of_them_at_first(void **state)
{
	(void)state;
	assert_hear(2);
	pager.faults.count = 1;
	join_init(&pager);
	assert_int_equal(atomic_load(&pager.faults.joined.count), 1);
}

static void test_one_joins_when_all_wait(void **state)
{
	(void)state;
	join_begin_wait(&pager);
	assert_hear(2);
	join_begin_wait(&pager);
	assert_hear(3);
	join_end_wait(&pager);
	join_begin_wait(&pager);
	assert_hear(3);
	join_begin_wait(&pager);
	assert_hear(4);
	join_begin_wait(&pager); /* there are no more */
	assert_hear(4);
}

static void test_one_joins_when_nothing_is_read(void **state)
{
	(void)state;
	atomic_store(&pager.faults.joined.read, 1);
	join_inspect(&pager);
	assert_hear(2);
	join_inspect(&pager);
	assert_hear(3);
	atomic_store(&pager.faults.joined.read, 2);
	join_inspect(&pager);
	assert_hear(3);
}

static void test_one_leaves_when_not_needed(void **state)
{
	(void)state;
	join_begin_wait(&pager);
	join_begin_wait(&pager);
	atomic_store(&pager.faults.joined.read, 1);
	join_inspect(&pager);
	assert_hear(3); /* it was needed just now */
	atomic_store(&pager.faults.joined.needed_ns, clock_now_ns() - UINT64_C(3000000000));
	atomic_store(&pager.faults.joined.read, 2);
	join_inspect(&pager);
	assert_hear(2);
	atomic_store(&pager.faults.joined.read, 3);
	join_inspect(&pager);
	assert_hear(2); /* half of them stay */
}

static void test_a_dead_space_is_left_alone(void **state)
{
	(void)state;
	pager.spaces[0].dead = true;
	join_begin_wait(&pager);
	join_begin_wait(&pager);
	assert_hear(2);
	assert_int_equal(atomic_load(&pager.faults.joined.count), 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_half_of_them_at_first, begin, end),
		cmocka_unit_test_setup_teardown(test_one_joins_when_all_wait, begin, end),
		cmocka_unit_test_setup_teardown(test_one_joins_when_nothing_is_read, begin, end),
		cmocka_unit_test_setup_teardown(test_one_leaves_when_not_needed, begin, end),
		cmocka_unit_test_setup_teardown(test_a_dead_space_is_left_alone, begin, end),
	};

	return cmocka_run_group_tests_name("join", tests, NULL, NULL);
}
