/* SPDX-License-Identifier: MIT */
/* What debug builds of the ring trap: linked with its objects built once more, with the checks. */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>

#include "ring_kit.h"

static uvm_reclaim_ring_t ring;
static char *memory;

static void cancel_twice(void)
{
	ring = make_ring(256, 256);
	memory = map_pages(1, 7);
	enter(ring, memory, 1, FREE);
	cancel(ring, 0, memory, 1, FREE);
	cancel(ring, 0, memory, 1, FREE);
}

static void enter_overlapping(void)
{
	ring = make_ring(256, 256);
	memory = map_pages(3, 7);
	enter(ring, memory, 2, FREE);
	enter(ring, memory + PAGE, 2, FREE);
}

static void *resize(void *argument)
{
	uvm_reclaim_ring_resize(ring, 256);
	return argument;
}

static void enter_while_another_thread_resizes(void)
{
	char path[64];
	pthread_t thread;
	int other;

	ring = make_ring(256, 256);
	memory = map_pages(1, 7);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", ring->fd);
	other = open(path, O_RDWR | O_CLOEXEC);
	expect(other >= 0 && !ring_lock(other, 0));
	expect(!pthread_create(&thread, NULL, resize, NULL));
	while (!ring->owner)
		usleep(100);
	enter(ring, memory, 1, FREE);
}

static void use_well(void)
{
	ring = make_ring(256, 512);
	memory = map_pages(2, 7);
	for (int i = 0; i < 1000; i++) {
		uint64_t one = enter(ring, memory, 1, FREE), two = enter(ring, memory + PAGE, 1, DEALLOCATE);

		if (one == NULL_ID || two == NULL_ID) {
			expect(one != NULL_ID || two == NULL_ID);
			expect(!uvm_reclaim_ring_resize(ring, 512));
			return;
		}
		expect(cancel(ring, one, memory, 1, FREE) == UVM_RECLAIM_UNRECLAIMED);
		expect(cancel(ring, two, memory + PAGE, 1, DEALLOCATE) == UVM_RECLAIM_UNRECLAIMED);
	}
}

/* What the child says on standard error goes through a pipe. */
static void expect_trap(void (*body)(void), const char *text)
{
	int out[2], saved = dup(STDERR_FILENO), status;
	char message[256];
	ssize_t got;

	assert_int_equal(pipe(out), 0);
	dup2(out[1], STDERR_FILENO);
	close(out[1]);
	status = status_of(body);
	dup2(saved, STDERR_FILENO);
	close(saved);
	got = read(out[0], message, sizeof(message) - 1);
	close(out[0]);
	assert_true(got > 0);
	message[got] = '\0';
	assert_non_null(strstr(message, text));
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGABRT);
}

static void test_cancelling_twice_is_trapped(void **state)
{
	(void)state;
	expect_trap(cancel_twice, "uvm_reclaim: 0 is cancelled, but was cancelled before");
}

static void test_entering_what_is_in_the_ring_is_trapped(void **state)
{
	(void)state;
	expect_trap(enter_overlapping, " is in the ring, as 0");
}

static void test_a_thread_without_the_lock_is_trapped(void **state)
{
	(void)state;
	expect_trap(enter_while_another_thread_resizes, "the caller's lock is not held");
}

own_process(use_well);

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cancelling_twice_is_trapped),
		cmocka_unit_test(test_entering_what_is_in_the_ring_is_trapped),
		cmocka_unit_test(test_a_thread_without_the_lock_is_trapped),
		cmocka_unit_test(test_use_well),
	};

	return cmocka_run_group_tests_name("ring, misused", tests, NULL, NULL);
}
