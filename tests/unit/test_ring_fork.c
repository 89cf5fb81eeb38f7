/* SPDX-License-Identifier: MIT */
/* What becomes of the ring in children. */
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "ring_kit.h"

static uvm_reclaim_ring_t ring;
static char *memory;

static void wait_for_success(pid_t pid)
{
	int status;

	expect(pid > 0 && waitpid(pid, &status, 0) == pid);
	expect(!status);
}

static void end_child(void)
{
	_exit(0);
}

static ino_t inode_of(int fd)
{
	struct stat status;

	expect(!fstat(fd, &status));
	return status.st_ino;
}

static void a_child_has_the_same_entries_in_a_ring_of_its_own(void)
{
	uvm_reclaim_ring_t other;
	ino_t inode;
	pid_t pid;

	ring = make_ring(256, 1024);
	memory = map_pages(6, 7);
	inode = inode_of(ring->fd);
	for (uint64_t i = 0; i < 6; i++)
		enter(ring, memory + i * PAGE, 1, i % 2 ? DEALLOCATE : FREE);
	expect(!uvm_reclaim_ring_flush(ring, 1));
	cancel(ring, 2, memory + 2 * PAGE, 1, FREE);
	pid = fork();
	if (!pid) {
		expect(uvm_reclaim_ring_allocate(&other, 256, 256) == UVM_RECLAIM_RESOURCE_SHORTAGE);
		expect(!ring_view_check(&ring->view) && inode_of(ring->fd) != inode);
		expect(ring_bytes(&ring->view) == 4 * PAGE && ring_entries(&ring->view) == 4);
		expect(query(ring, 0, FREE) == UVM_RECLAIM_FREED);
		expect(cancel(ring, 1, memory + PAGE, 1, DEALLOCATE) == UVM_RECLAIM_UNRECLAIMED);
		expect(enter_at(ring, 2, memory + 2 * PAGE, 1, FREE) == 2);
		expect(enter(ring, memory, 1, FREE) == 6);
		expect(all_are(memory + PAGE, 5 * PAGE, 7));
		expect(!uvm_reclaim_ring_flush(ring, UINT32_MAX));
		expect(all_are(memory + PAGE, PAGE, 7) && all_are(memory + 2 * PAGE, PAGE, 0));
		expect(!is_mapped(memory + 3 * PAGE) && !is_mapped(memory + 5 * PAGE));
		expect(!uvm_reclaim_ring_resize(ring, 512));
		end_child();
	}
	wait_for_success(pid);
	expect(shared_of(ring)->tail == 6 && shared_of(ring)->head == 1 && inode_of(ring->fd) == inode);
	for (uint64_t i = 3; i < 6; i++)
		expect(cancel(ring, i, memory + i * PAGE, 1, i % 2 ? DEALLOCATE : FREE) == UVM_RECLAIM_UNRECLAIMED);
	expect(all_are(memory + PAGE, 5 * PAGE, 7));
}

static void a_child_of_a_child_has_them_too(void)
{
	pid_t pid;

	ring = make_ring(256, 256);
	memory = map_pages(1, 7);
	enter(ring, memory, 1, FREE);
	pid = fork();
	if (!pid) {
		pid = fork();
		if (!pid) {
			expect(cancel(ring, 0, memory, 1, FREE) == UVM_RECLAIM_UNRECLAIMED);
			end_child();
		}
		wait_for_success(pid);
		expect(!uvm_reclaim_ring_flush(ring, 1) && all_are(memory, PAGE, 0));
		end_child();
	}
	wait_for_success(pid);
	expect(cancel(ring, 0, memory, 1, FREE) == UVM_RECLAIM_UNRECLAIMED && all_are(memory, PAGE, 7));
}

static void what_was_being_reclaimed_counts_as_reclaimed_in_the_child(void)
{
	struct ring_batch batch;
	pid_t pid;

	ring = make_ring(256, 256);
	memory = map_pages(5, 7);
	for (uint64_t i = 0; i < 5; i++)
		enter(ring, memory + i * PAGE, 1, i == 2 || i == 4 ? FREE : DEALLOCATE);
	expect(ring_claim(&ring->view, 4, &batch) == 1);
	ring_unmapping(&ring->view, 0);
	expect(mmap(memory, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == memory);
	memset(memory, 9, PAGE); /* unmapped, and the address given to somebody else */
	pid = fork();
	if (!pid) {
		expect(query(ring, 0, DEALLOCATE) == UVM_RECLAIM_DEALLOCATED && all_are(memory, PAGE, 9));
		expect(query(ring, 1, DEALLOCATE) == UVM_RECLAIM_DEALLOCATED && !is_mapped(memory + PAGE));
		expect(query(ring, 2, FREE) == UVM_RECLAIM_FREED && all_are(memory + 2 * PAGE, PAGE, 0));
		expect(!is_mapped(memory + 3 * PAGE));
		expect(cancel(ring, 4, memory + 4 * PAGE, 1, FREE) == UVM_RECLAIM_UNRECLAIMED);
		expect(all_are(memory + 4 * PAGE, PAGE, 7));
		end_child();
	}
	wait_for_success(pid);
	expect(query(ring, 0, DEALLOCATE) == UVM_RECLAIM_BUSY && all_are(memory + PAGE, 4 * PAGE, 7));
	ring_complete(&ring->view, &batch, 4 * PAGE, 0);
}

/* Registered before the ring's own handler, and so called after it. */
static void reclaim_two(void)
{
	struct ring_batch batch;

	if (!memory)
		return;
	expect(ring_claim(&ring->view, 2, &batch) == 1 && batch.count == 2);
	memset(memory, 0, PAGE);
	ring_unmapping(&ring->view, 1);
	expect(!munmap(memory + PAGE, PAGE));
	ring_complete(&ring->view, &batch, 2 * PAGE, 0);
}

static void what_is_reclaimed_while_a_fork_begins_is_reclaimed_in_the_child(void)
{
	pid_t pid;

	expect(!pthread_atfork(reclaim_two, NULL, NULL));
	ring = make_ring(256, 256);
	memory = map_pages(3, 7);
	enter(ring, memory, 1, FREE);
	enter(ring, memory + PAGE, 1, DEALLOCATE);
	enter(ring, memory + 2 * PAGE, 1, FREE);
	pid = fork();
	if (!pid) {
		expect(cancel(ring, 0, memory, 1, FREE) == UVM_RECLAIM_FREED);
		expect(cancel(ring, 1, memory + PAGE, 1, DEALLOCATE) == UVM_RECLAIM_DEALLOCATED);
		expect(cancel(ring, 2, memory + 2 * PAGE, 1, FREE) == UVM_RECLAIM_UNRECLAIMED);
		expect(all_are(memory + 2 * PAGE, PAGE, 7));
		end_child();
	}
	wait_for_success(pid);
	expect(cancel(ring, 1, memory + PAGE, 1, DEALLOCATE) == UVM_RECLAIM_DEALLOCATED);
}

static void *fork_often(void *nothing)
{
	for (int i = 0; i < 50; i++) {
		pid_t pid = fork();

		if (!pid) {
			expect(query(ring, 0, FREE) == UVM_RECLAIM_UNRECLAIMED && !uvm_reclaim_ring_flush(ring, 1));
			expect(all_are(memory, PAGE, 0));
			end_child();
		}
		wait_for_success(pid);
	}
	return nothing;
}

static void threads_may_fork_at_once(void)
{
	pthread_t threads[2];

	ring = make_ring(256, 256);
	memory = map_pages(1, 7);
	enter(ring, memory, 1, FREE);
	for (int i = 0; i < 2; i++)
		expect(!pthread_create(&threads[i], NULL, fork_often, NULL));
	for (int i = 0; i < 2; i++)
		expect(!pthread_join(threads[i], NULL));
	expect(cancel(ring, 0, memory, 1, FREE) == UVM_RECLAIM_UNRECLAIMED && all_are(memory, PAGE, 7));
}

/* As no handler of fork(2) sees it. */
static pid_t raw_fork(void)
{
	return (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
}

static void a_child_made_behind_the_back_of_libc_has_no_ring(void)
{
	uvm_reclaim_state_t state;
	pid_t pid;

	ring = make_ring(256, 256);
	memory = map_pages(1, 7);
	enter(ring, memory, 1, FREE);
	pid = raw_fork();
	if (!pid) {
		if (uvm_reclaim_query_state(ring, 0, FREE, &state) != UVM_RECLAIM_INVALID_RING ||
		    uvm_reclaim_ring_flush(ring, 1) != UVM_RECLAIM_INVALID_RING ||
		    uvm_reclaim_update_accounting(ring) != UVM_RECLAIM_INVALID_RING)
			_exit(1);
		_exit(0);
	}
	wait_for_success(pid);
	expect(cancel(ring, 0, memory, 1, FREE) == UVM_RECLAIM_UNRECLAIMED && all_are(memory, PAGE, 7));
}

static int in_clone(void *nothing)
{
	(void)nothing;
	enter(ring, memory, 1, FREE);
	return uvm_reclaim_ring_flush(ring, 1);
}

static void a_child_that_shares_memory_shares_the_ring(void)
{
	static char stack[65536] __attribute__((aligned(16)));

	ring = make_ring(256, 256);
	memory = map_pages(1, 7);
	wait_for_success(clone(in_clone, stack + sizeof(stack), CLONE_VM | CLONE_VFORK | SIGCHLD, NULL));
	expect(shared_of(ring)->head == 1 && all_are(memory, PAGE, 0));
	expect(enter(ring, memory, 1, FREE) == 1 && !uvm_reclaim_ring_flush(ring, 1));
}

static void nothing_of_a_ring_is_left_after_exec(void)
{
	pid_t pid;

	ring = make_ring(256, 256);
	pid = fork();
	if (!pid) {
		execl("/bin/sh", "sh", "-c",
		      "! ls -l /proc/$$/fd | grep -q uvm-reclaim && ! grep -q uvm-reclaim /proc/$$/maps", (char *)NULL);
		_exit(127);
	}
	wait_for_success(pid);
}

static void a_child_without_descriptors_has_its_entries_all_the_same(void)
{
	struct rlimit none = {.rlim_cur = 0, .rlim_max = 0};
	pid_t pid;

	ring = make_ring(256, 256);
	memory = map_pages(2, 7);
	enter(ring, memory, 1, FREE);
	expect(!setrlimit(RLIMIT_NOFILE, &none));
	pid = fork();
	if (!pid) {
		expect(uvm_reclaim_ring_flush(ring, 1) == UVM_RECLAIM_NOT_SUPPORTED);
		expect(cancel(ring, 0, memory, 1, FREE) == UVM_RECLAIM_UNRECLAIMED);
		expect(enter(ring, memory, 1, FREE) == 1);
		pid = fork();
		if (!pid) {
			expect(cancel(ring, 1, memory, 1, FREE) == UVM_RECLAIM_UNRECLAIMED);
			end_child();
		}
		wait_for_success(pid);
		end_child();
	}
	wait_for_success(pid);
}

static atomic_bool over;

static void *keep_flushing(void *nothing)
{
	while (!over)
		uvm_reclaim_ring_flush(ring, 3);
	return nothing;
}

/*
 * The caller's lock: in a program there are handlers of fork(2) for it, here one thread enters, takes back and forks.
 */
static void forks_in_the_middle_of_reclaiming_lose_nothing(void)
{
	uint64_t ids[64];
	pthread_t thread;

	ring = make_ring(256, 256);
	memory = map_pages(64, 7);
	for (uint64_t i = 0; i < 64; i++)
		ids[i] = enter(ring, memory + i * PAGE, 1, FREE);
	expect(!pthread_create(&thread, NULL, keep_flushing, NULL));
	for (int round = 0; round < 100; round++) {
		pid_t pid = fork();

		for (uint64_t i = 0; i < 64; i++) {
			uint32_t state = cancel(ring, ids[i], memory + i * PAGE, 1, FREE);

			expect(pid || state != UVM_RECLAIM_BUSY);
			expect(state != UVM_RECLAIM_UNRECLAIMED || all_are(memory + i * PAGE, PAGE, 7));
			if (state == UVM_RECLAIM_BUSY)
				continue;
			memset(memory + i * PAGE, 7, PAGE);
			ids[i] = enter(ring, memory + i * PAGE, 1, FREE);
			while (ids[i] == NULL_ID) {
				expect(!uvm_reclaim_ring_flush(ring, 16));
				ids[i] = enter(ring, memory + i * PAGE, 1, FREE);
			}
		}
		if (!pid)
			end_child();
		wait_for_success(pid);
	}
	over = true;
	expect(!pthread_join(thread, NULL));
}

/* fork(2) is no point of cancellation, whatever the ring has to do there. */
static void *fork_cancelled(void *status)
{
	pid_t pid;
	int state;

	pthread_cancel(pthread_self());
	pid = fork();
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
	if (!pid)
		_exit(7);
	expect(pid > 0 && waitpid(pid, status, 0) == pid);
	return status;
}

static void a_thread_that_is_cancelled_makes_its_child_first(void)
{
	pthread_t thread;
	int status = 0;
	void *result;

	ring = make_ring(256, 256);
	memory = map_pages(1, 7);
	enter(ring, memory, 1, FREE);
	expect(!pthread_create(&thread, NULL, fork_cancelled, &status));
	expect(!pthread_join(thread, &result) && result == &status);
	expect(WIFEXITED(status) && WEXITSTATUS(status) == 7);
}

own_process(a_child_has_the_same_entries_in_a_ring_of_its_own);
own_process(a_child_of_a_child_has_them_too);
own_process(what_was_being_reclaimed_counts_as_reclaimed_in_the_child);
own_process(what_is_reclaimed_while_a_fork_begins_is_reclaimed_in_the_child);
own_process(threads_may_fork_at_once);
own_process(a_thread_that_is_cancelled_makes_its_child_first);
own_process(a_child_made_behind_the_back_of_libc_has_no_ring);
own_process(a_child_that_shares_memory_shares_the_ring);
own_process(nothing_of_a_ring_is_left_after_exec);
own_process(a_child_without_descriptors_has_its_entries_all_the_same);
own_process(forks_in_the_middle_of_reclaiming_lose_nothing);

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_child_has_the_same_entries_in_a_ring_of_its_own),
		cmocka_unit_test(test_a_child_of_a_child_has_them_too),
		cmocka_unit_test(test_what_was_being_reclaimed_counts_as_reclaimed_in_the_child),
		cmocka_unit_test(test_what_is_reclaimed_while_a_fork_begins_is_reclaimed_in_the_child),
		cmocka_unit_test(test_threads_may_fork_at_once),
		cmocka_unit_test(test_a_thread_that_is_cancelled_makes_its_child_first),
		cmocka_unit_test(test_a_child_made_behind_the_back_of_libc_has_no_ring),
		cmocka_unit_test(test_a_child_that_shares_memory_shares_the_ring),
		cmocka_unit_test(test_nothing_of_a_ring_is_left_after_exec),
		cmocka_unit_test(test_a_child_without_descriptors_has_its_entries_all_the_same),
		cmocka_unit_test(test_forks_in_the_middle_of_reclaiming_lose_nothing),
	};

	return cmocka_run_group_tests_name("ring, children", tests, NULL, NULL);
}
