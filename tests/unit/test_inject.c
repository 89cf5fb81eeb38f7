/* SPDX-License-Identifier: MIT */
/* Calls made in a process: what a thread sees that is stopped over and over, and which thread is taken. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/size.h"
#include "inject/inject.h"
#include "inject/stop.h"
#include "proc/stat.h"
#include "proc/target.h"
#include "puppet/fd.h"

#define WAIT_MS     2000
#define GIVEN_UP_US (60 * 1000000)

/* A child of ours that waits, with the way to tell it and the way it tells us. */
struct waiting {
	pid_t pid;
	int to, from;
	struct target target;
	struct inject inject;
};

/* Waits until it is told nothing for so long, and answers each time with the result. The same from wait to wait. */
static void wait_for_input(int from, int to, int ms)
{
	struct epoll_event event = {.events = EPOLLIN};
	int epoll = epoll_create1(0);
	char byte;
	int result;

	if (epoll < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, from, &event) < 0)
		_exit(EXIT_FAILURE);
	do {
		result = epoll_wait(epoll, &event, 1, ms);
		if (write(to, &result, sizeof(result)) != sizeof(result))
			_exit(EXIT_FAILURE);
	} while (read(from, &byte, 1) == 1);
	_exit(EXIT_SUCCESS);
}

static struct waiting start_waiting(int ms)
{
	struct waiting waiting = {.target = TARGET_NONE, .inject = INJECT_NONE};
	int to[2], from[2];

	assert_int_equal(pipe(to), 0);
	assert_int_equal(pipe(from), 0);
	waiting.pid = fork();
	if (waiting.pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(to[1]);
		wait_for_input(to[0], from[1], ms);
	}
	assert_true(waiting.pid > 0);
	close(to[0]);
	close(from[1]);
	waiting.to = to[1];
	waiting.from = from[0];
	assert_int_equal(target_open(&waiting.target, waiting.pid, -1, NULL), 0);
	return waiting;
}

static bool has_answered(const struct waiting *waiting)
{
	struct pollfd fd = {.fd = waiting->from, .events = POLLIN};

	return poll(&fd, 1, 0) == 1;
}

static int answer_of(const struct waiting *waiting)
{
	int answer;

	assert_int_equal(read(waiting->from, &answer, sizeof(answer)), sizeof(answer));
	return answer;
}

static void wait_for_state(pid_t pid, char state)
{
	uint64_t began = now_us();
	struct proc_stat stat;

	do {
		assert_int_equal(proc_stat_read(pid, &stat), 0);
		assert_true(now_us() - began < GIVEN_UP_US);
	} while (stat.state != state);
}

/* There is a child before its parent waits for it; what sleeps uninterruptibly before that waits for something else. */
static void wait_for_vfork(pid_t pid)
{
	char name[64];
	char children[64];
	uint64_t began = now_us();

	snprintf(name, sizeof(name), "task/%d/children", pid);
	while (proc_file_read(pid, name, children, sizeof(children)) <= 0)
		assert_true(now_us() - began < GIVEN_UP_US);
	wait_for_state(pid, 'D');
}

/* One that gets no processor for seconds is asked again. */
static void stop_once(struct waiting *waiting)
{
	uint64_t began = now_us();
	int rc;

	do
		rc = inject_begin(&waiting->inject, NULL);
	while (rc == -ETIMEDOUT && now_us() - began < GIVEN_UP_US);
	assert_int_equal(rc, 0);
	assert_int_equal(inject_end(&waiting->inject), 0);
}

static void end_waiting(struct waiting *waiting)
{
	int status;

	assert_int_equal(inject_close(&waiting->inject), 0);
	target_close(&waiting->target);
	close(waiting->to);
	close(waiting->from);
	assert_int_equal(waitpid(waiting->pid, &status, 0), waiting->pid);
	assert_int_equal(status, 0);
}

/* Moves a process to the first processor we may use, and another one that is always busy there. Returns its pid. */
static pid_t starve(pid_t pid)
{
	cpu_set_t all, one;
	int first = 0;
	pid_t busy;

	assert_int_equal(sched_getaffinity(0, sizeof(all), &all), 0);
	while (!CPU_ISSET(first, &all))
		first++;
	CPU_ZERO(&one);
	CPU_SET(first, &one);
	assert_int_equal(sched_setaffinity(pid, sizeof(one), &one), 0);
	assert_int_equal(setpriority(PRIO_PROCESS, (id_t)pid, 10), 0);
	busy = fork();
	if (busy == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		sched_setaffinity(0, sizeof(one), &one);
		for (;;)
			;
	}
	assert_true(busy > 0);
	return busy;
}

/* It waits for a processor after each stop, so that often the next one comes before it is back in its call. */
static void a_wait_that_is_stopped_over_and_over_ends_in_time(void **state)
{
	uint64_t began = now_us();
	uint32_t deadline = 0;
	struct waiting waiting = start_waiting(WAIT_MS);
	pid_t busy = starve(waiting.pid);

	(void)state;
	assert_int_equal(inject_open(&waiting.inject, &waiting.target, NULL), 0);
	while (!has_answered(&waiting)) {
		assert_true(now_us() - began < GIVEN_UP_US);
		stop_once(&waiting);
		/* None while it is not in the call, and on its way back there. */
		if (deadline && arch_mark(&waiting.inject.stop->first))
			assert_int_equal(arch_mark(&waiting.inject.stop->first), deadline);
		deadline = deadline ?: arch_mark(&waiting.inject.stop->first);
	}
	assert_int_equal(answer_of(&waiting), 0);
	assert_true(now_us() - began >= WAIT_MS * 1000);
	assert_true(deadline != 0);
	kill(busy, SIGKILL);
	waitpid(busy, NULL, 0);
	end_waiting(&waiting);
}

/* With the same arguments and at the same place. */
static void a_wait_that_begins_anew_is_another_one(void **state)
{
	uint64_t told = now_us();
	struct waiting waiting = start_waiting(WAIT_MS);

	(void)state;
	assert_int_equal(inject_open(&waiting.inject, &waiting.target, NULL), 0);
	for (unsigned int i = 0; i < 40; i++) {
		uint64_t before = told;

		usleep(60 * 1000);
		told = now_us();
		assert_int_equal(write(waiting.to, "", 1), 1);
		if (answer_of(&waiting) != 1) /* its time is over, for we did not get a processor */
			assert_true(now_us() - before >= WAIT_MS * 1000);
		wait_for_state(waiting.pid, 'S');
		stop_once(&waiting);
	}
	end_waiting(&waiting);
}

static void *wait_for_ever(void *unused)
{
	for (;;)
		pause();
	return unused;
}

/* Writes more than the pipe holds, with another thread beside it, and tells how much was written. */
static void write_much(int from, int to)
{
	static char bytes[MiB];
	int result;
	pthread_t thread;

	if (pthread_create(&thread, NULL, wait_for_ever, NULL))
		_exit(EXIT_FAILURE);
	result = (int)write(to, bytes, sizeof(bytes));
	if (write(to, &result, sizeof(result)) != sizeof(result))
		_exit(EXIT_FAILURE);
	_exit(read(from, &result, 1) != 0);
}

/* The main thread would be the first one to be taken. */
static void a_write_that_is_half_done_is_left_alone_when_another_thread_waits(void **state)
{
	static char bytes[MiB];
	struct waiting waiting = {.target = TARGET_NONE, .inject = INJECT_NONE};
	int to[2], from[2];
	size_t got = 0;
	ssize_t n;

	(void)state;
	assert_int_equal(pipe(to), 0);
	assert_int_equal(pipe(from), 0);
	waiting.pid = fork();
	if (waiting.pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(to[1]);
		write_much(to[0], from[1]);
	}
	assert_true(waiting.pid > 0);
	close(to[0]);
	close(from[1]);
	waiting.to = to[1];
	waiting.from = from[0];
	assert_int_equal(read(waiting.from, bytes, 1), 1);
	wait_for_state(waiting.pid, 'S');
	assert_int_equal(target_open(&waiting.target, waiting.pid, -1, NULL), 0);
	assert_int_equal(inject_open(&waiting.inject, &waiting.target, NULL), 0);
	for (unsigned int i = 0; i < 20; i++)
		stop_once(&waiting);
	for (got = 1; got < sizeof(bytes); got += (size_t)n) {
		n = read(waiting.from, bytes, sizeof(bytes) - got);
		assert_true(n > 0);
	}
	assert_int_equal(answer_of(&waiting), sizeof(bytes));
	end_waiting(&waiting);
}

/* Says so when its descriptors are its own. */
static void *stay_apart(void *to)
{
	if (unshare(CLONE_FILES) < 0 || write(*(int *)to, "", 1) != 1)
		_exit(EXIT_FAILURE);
	for (;;)
		pause();
	return NULL;
}

static int wait_for_byte(void *from)
{
	char byte;

	return read(*(int *)from, &byte, 1) != 1;
}

/* The main thread stands still until its child is gone, which is no reason to take the other one. */
static void descriptors_are_made_where_the_main_thread_has_its_own(void **state)
{
	static _Alignas(16) char stack[64 * KiB];
	struct target target = TARGET_NONE;
	struct inject inject = INJECT_NONE;
	int to[2], from[2], fd, number;
	uint64_t began = now_us();
	char byte;
	pid_t pid;

	(void)state;
	assert_int_equal(pipe(to), 0);
	assert_int_equal(pipe(from), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		pthread_t thread;

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (pthread_create(&thread, NULL, stay_apart, &from[1]) || read(to[0], &byte, 1) != 1)
			_exit(EXIT_FAILURE);
		clone(wait_for_byte, stack + sizeof(stack), CLONE_VM | CLONE_VFORK | SIGCHLD, &to[0]);
		for (;;)
			pause();
	}
	assert_int_equal(read(from[0], &byte, 1), 1);
	assert_int_equal(target_open(&target, pid, -1, NULL), 0);
	assert_int_equal(inject_open(&inject, &target, NULL), 0);
	assert_int_equal(write(to[1], "", 1), 1);
	wait_for_vfork(pid);
	assert_int_equal(inject_userfaultfd(&inject, true, &number, NULL), -ETIMEDOUT);
	assert_int_equal(write(to[1], "", 1), 1);
	do
		fd = inject_userfaultfd(&inject, true, &number, NULL);
	while (fd == -ETIMEDOUT && now_us() - began < GIVEN_UP_US);
	assert_true(fd >= 0);
	assert_true(inject_fd_is(&inject, number, fd));
	close(fd);
	assert_int_equal(inject_close(&inject), 0);
	target_close(&target);
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	close(to[0]);
	close(to[1]);
	close(from[0]);
	close(from[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_wait_that_is_stopped_over_and_over_ends_in_time),
		cmocka_unit_test(a_wait_that_begins_anew_is_another_one),
		cmocka_unit_test(a_write_that_is_half_done_is_left_alone_when_another_thread_waits),
		cmocka_unit_test(descriptors_are_made_where_the_main_thread_has_its_own),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
