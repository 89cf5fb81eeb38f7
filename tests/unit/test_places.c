/* SPDX-License-Identifier: MIT */
/* Who is in madvise(2): threads, workers of io_uring in their place, and processes that share the memory. */
#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "access/places.h"
#include "base/cleanup.h"
#include "base/size.h"
#include "uffd/uffd.h"

#define WAIT_MS 10000
#define CANNOT  (-2) /* instead of a descriptor: not permitted here */

/* A process with memory that it discards: whoever does that waits until its event is read. */
static struct {
	char *memory;
	size_t bytes;
	int to, from; /* the test */
} child;

static int discard_all(void *unused)
{
	(void)unused;
	return madvise(child.memory, child.bytes, MADV_DONTNEED);
}

static void *discard_on_thread(void *unused)
{
	discard_all(NULL);
	return unused;
}

static void by_thread(void)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, discard_on_thread, NULL) || pthread_join(thread, NULL))
		_exit(EXIT_FAILURE);
}

static void by_borrower(void)
{
	static _Alignas(16) char stack[64 * 1024];
	pid_t pid = clone(discard_all, stack + sizeof(stack), CLONE_VM | SIGCHLD, NULL);

	if (pid < 0 || waitpid(pid, NULL, 0) != pid)
		_exit(EXIT_FAILURE);
}

/* A ring of one entry, submitted and waited for. The rings lie in one mapping (IORING_FEAT_SINGLE_MMAP). */
static void by_ring(void)
{
	struct io_uring_params p = {0};
	int fd = (int)syscall(SYS_io_uring_setup, 1, &p);
	char *rings = mmap(NULL, p.sq_off.array + sizeof(uint32_t), PROT_READ | PROT_WRITE, MAP_SHARED, fd,
			   IORING_OFF_SQ_RING);
	struct io_uring_sqe *entry =
		mmap(NULL, sizeof(*entry), PROT_READ | PROT_WRITE, MAP_SHARED, fd, IORING_OFF_SQES);

	if (rings == MAP_FAILED || entry == MAP_FAILED)
		_exit(EXIT_FAILURE);
	*entry = (struct io_uring_sqe){
		.opcode = IORING_OP_MADVISE,
		.addr = (uintptr_t)child.memory,
		.len = (uint32_t)child.bytes,
		.fadvise_advice = MADV_DONTNEED,
	};
	*(uint32_t *)(rings + p.sq_off.array) = 0;
	__atomic_store_n((uint32_t *)(rings + p.sq_off.tail), 1, __ATOMIC_SEQ_CST);
	while (syscall(SYS_io_uring_enter, fd, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0) < 0)
		if (errno != EINTR)
			_exit(EXIT_FAILURE);
}

static bool ring_is_permitted(void)
{
	struct io_uring_params p = {0};
	_cleanup_close_ int fd = (int)syscall(SYS_io_uring_setup, 1, &p);

	return fd >= 0;
}

/* Tells the number of its userfaultfd, discards, tells that it has, and waits for its end. */
static void be_child(void (*how)(void))
{
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	int number = fd;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	child.bytes = 4 * page_size();
	child.memory = mmap(NULL, child.bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	memset(child.memory, 'x', child.bytes);
	if (fd < 0 || uffd_handshake(fd, UFFD_FEATURE_EVENT_REMOVE) < 0 ||
	    uffd_register_missing(fd, (struct region){(uintptr_t)child.memory, (uintptr_t)child.memory + child.bytes}) <
		    0 ||
	    (how == by_ring && !ring_is_permitted()))
		number = CANNOT;
	if (write(child.to, &number, sizeof(number)) != sizeof(number) || number == CANNOT)
		_exit(EXIT_SUCCESS);
	how();
	if (write(child.to, &number, sizeof(number)) != sizeof(number))
		_exit(EXIT_FAILURE);
	while (read(child.from, &number, 1) > 0)
		;
	_exit(EXIT_SUCCESS);
}

static void read_event(int fd)
{
	struct pollfd event = {.fd = fd, .events = POLLIN};
	struct uffd_msg message;

	assert_int_equal(poll(&event, 1, WAIT_MS), 1);
	assert_int_equal(uffd_read(fd, &message, 1), 1);
	assert_int_equal(message.event, UFFD_EVENT_REMOVE);
}

/* Those that have just gone on may still run. */
static bool get_outside(const struct target *target)
{
	uint64_t deadline = now_us() + WAIT_MS * 1000;

	while (!places_outside_madvise(target, NULL) && now_us() < deadline)
		usleep(1000);
	return places_outside_madvise(target, NULL);
}

static void is_seen_inside(void (*how)(void))
{
	_cleanup_target_ struct target target = TARGET_NONE;
	_cleanup_close_ int fd = -1;
	struct error error = {0};
	int to[2], from[2];
	int number;
	pid_t pid;

	assert_int_equal(pipe(to) | pipe(from), 0);
	pid = fork();
	if (pid == 0) {
		child.to = from[1];
		child.from = to[0];
		close(to[1]);
		be_child(how);
	}
	assert_int_equal(target_open(&target, pid, -1, &error), 0);
	assert_int_equal(read(from[0], &number, sizeof(number)), sizeof(number));
	if (number != CANNOT) {
		struct pollfd event = {.events = POLLIN};

		fd = (int)syscall(SYS_pidfd_getfd, target.pidfd, number, 0);
		event.fd = fd;
		assert_int_equal(poll(&event, 1, WAIT_MS), 1);
		assert_false(places_outside_madvise(&target, NULL));
		read_event(fd);
		assert_int_equal(read(from[0], &number, sizeof(number)), sizeof(number));
		assert_true(get_outside(&target));
	}
	for (int i = 0; i < 2; i++) {
		close(to[i]);
		close(from[i]);
	}
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	if (number == CANNOT)
		skip();
}

static void a_thread_is_seen_inside(void **state)
{
	(void)state;
	is_seen_inside(by_thread);
}

static void a_worker_of_io_uring_is_seen_inside(void **state)
{
	(void)state;
	is_seen_inside(by_ring);
}

static void a_process_that_shares_the_memory_is_seen_inside(void **state)
{
	(void)state;
	is_seen_inside(by_borrower);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_thread_is_seen_inside),
		cmocka_unit_test(a_worker_of_io_uring_is_seen_inside),
		cmocka_unit_test(a_process_that_shares_the_memory_is_seen_inside),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
