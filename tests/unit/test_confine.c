/* SPDX-License-Identifier: MIT */
/* Filters and capabilities that a process is left with; each in a child, for they are for good. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "confine/confine.h"

static const char named[] = "/dev/null";
static const char *const written[] = {named, NULL};

/* Runs a check under a filter; returns 0, or the line of what was not as it should be. */
static int under(const struct confine_calls *calls, int (*check)(void))
{
	pid_t child = fork();
	int status = -1;

	if (child == 0) {
		struct sock_fprog filter;

		confine_process();
		if (confine_filter_make(&filter, calls) < 0 || confine_filter_put_on(&filter) < 0)
			_exit(1);
		_exit(check());
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

#define CHECK(condition)                 \
	do {                             \
		if (!(condition))        \
			return __LINE__; \
	} while (0)

#define REFUSED(call) CHECK((call) == -1 && errno == EPERM)

static void *thread_main(void *argument)
{
	return argument;
}

static int check_refusals(void)
{
	char *none[] = {NULL};

	REFUSED(execve("/bin/true", none, none));
	REFUSED(open("/tmp/uvmtools-confined", O_WRONLY | O_CREAT, 0600));
	REFUSED(open("/tmp", O_RDWR | O_TMPFILE, 0600));
	REFUSED(open("/dev/zero", O_WRONLY));
	REFUSED(socket(AF_INET, SOCK_STREAM, 0));
	REFUSED(unshare(CLONE_NEWUSER));
	REFUSED(syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0));
	REFUSED(syscall(SYS_keyctl, 0, 0, 0, 0, 0));
	REFUSED(syscall(SYS_bpf, 0, NULL, 0));
	REFUSED(syscall(SYS_io_uring_setup, 1, NULL));
	REFUSED(syscall(SYS_setuid, 0));
	REFUSED(syscall(SYS_chmod, "/tmp", 0777));
	return 0;
}

static int check_serving(void)
{
	char copy[sizeof(named)];
	pthread_t thread;
	pid_t child;

	CHECK(check_refusals() == 0);
	CHECK(open("/proc/self/maps", O_RDONLY) >= 0);
	CHECK(open(named, O_RDWR | O_CLOEXEC) >= 0);
	memcpy(copy, named, sizeof(named));
	REFUSED(open(copy, O_RDWR | O_CLOEXEC));
	REFUSED(open(named, O_WRONLY | O_CREAT, 0600));
	CHECK(socket(AF_UNIX, SOCK_STREAM, 0) >= 0);
	CHECK(pthread_create(&thread, NULL, thread_main, NULL) == 0 && pthread_join(thread, NULL) == 0);
	child = fork();
	if (child == 0)
		_exit(7);
	CHECK(child > 0);
	return 0;
}

static int check_memory(void)
{
	CHECK(check_refusals() == 0);
	CHECK(open("/proc/self/mem", O_RDWR | O_CLOEXEC) >= 0);
	REFUSED(open("/proc/self/mem", O_RDWR | O_TRUNC));
	return 0;
}

static int check_keeping(void)
{
	CHECK(check_refusals() == 0);
	REFUSED(open("/proc/self/maps", O_RDONLY));
	REFUSED(fork());
	REFUSED(socket(AF_UNIX, SOCK_STREAM, 0));
	CHECK(getpid() > 0 && usleep(1) == 0);
	return 0;
}

static void what_serves_does_its_work_and_nothing_else(void **state)
{
	(void)state;
	assert_int_equal(under(&(struct confine_calls){.serves = true, .written = written}, check_serving), 0);
}

static void memory_may_be_opened_where_that_is_wanted(void **state)
{
	(void)state;
	assert_int_equal(under(&(struct confine_calls){.serves = true, .opens_memory = true}, check_memory), 0);
}

static void what_keeps_opens_nothing_and_starts_nothing(void **state)
{
	(void)state;
	assert_int_equal(under(&(struct confine_calls){.serves = false}, check_keeping), 0);
}

static void an_empty_filter_is_not_put_on(void **state)
{
	(void)state;
	assert_int_equal(confine_filter_put_on(&(struct sock_fprog){0}), -ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_serves_does_its_work_and_nothing_else),
		cmocka_unit_test(memory_may_be_opened_where_that_is_wanted),
		cmocka_unit_test(what_keeps_opens_nothing_and_starts_nothing),
		cmocka_unit_test(an_empty_filter_is_not_put_on),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
