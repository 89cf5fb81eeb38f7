/* SPDX-License-Identifier: MIT */
/* The keeper of a worker that is gone, as the next worker looks for it where its looks fail at first. */
#include <dlfcn.h>
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "pager/keeper.h"
#include "proc/stat.h"

#define FAILURES 3
#define RESULT   77 /* of what a keeper reads */

static struct pager pager;
static struct index_header *header;
static rlim_t descriptors;
static unsigned int looks;
static unsigned int unseen;   /* so many looks get no descriptor of the process */
static unsigned int unopened; /* and so many cannot open what /proc says of it */

static void limit_descriptors(rlim_t count)
{
	struct rlimit limit;

	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = count;
	setrlimit(RLIMIT_NOFILE, &limit);
}

/* In front of that of libc. A look begins with a descriptor of the process. Not all of the arguments may be there. */
__attribute__((no_sanitize("address"))) long
syscall(long number, ...) /* NOLINT(readability-inconsistent-declaration-parameter-name) */
{
	static long (*real)(long number, ...);
	long a[6];
	va_list list;
	long rc;

	if (!real)
		real = (long (*)(long, ...))dlsym(RTLD_NEXT, "syscall"); /* NOLINT */
	va_start(list, number);
	for (size_t i = 0; i < 6; i++)
		a[i] = va_arg(list, long);
	va_end(list);
	if (number != SYS_pidfd_open)
		return real(number, a[0], a[1], a[2], a[3], a[4], a[5]);
	looks++;
	limit_descriptors(descriptors);
	if (unseen) {
		unseen--;
		errno = EMFILE;
		return -1;
	}
	rc = real(number, a[0], a[1]);
	if (unopened) {
		unopened--;
		limit_descriptors((rlim_t)rc + 1);
	}
	return rc;
}

static int set_up(void **state)
{
	struct rlimit limit;
	int fd = memfd_create("index", MFD_CLOEXEC);

	(void)state;
	getrlimit(RLIMIT_NOFILE, &limit);
	descriptors = limit.rlim_cur;
	looks = unseen = unopened = 0;
	if (fd < 0 || index_create(&pager.index, fd, 16) < 0)
		return -1;
	pager.index_fd = fd;
	header = index_header(pager.index);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	index_close(pager.index);
	close(pager.index_fd);
	return 0;
}

/* A process that is noted as the keeper, and does nothing for so long before it has read a message. */
static void start_keeper(useconds_t patience_us)
{
	struct proc_stat stat;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		usleep(patience_us);
		header->session.keeper.read_result = RESULT;
		__atomic_store_n(&header->session.keeper.read_state, READ_IDLE, __ATOMIC_SEQ_CST);
		for (;;)
			pause();
	}
	assert_int_equal(proc_stat_read(pid, &stat), 0);
	header->session.keeper.pid = pid;
	header->session.keeper.starttime = stat.starttime;
}

static void end_keeper(void)
{
	kill(header->session.keeper.pid, SIGKILL);
	waitpid(header->session.keeper.pid, NULL, 0);
}

static void a_descriptor_is_taken_though_the_first_looks_fail(void **state)
{
	int fd;

	(void)state;
	start_keeper(0);
	unseen = unopened = FAILURES;
	fd = keeper_take(&pager, pager.index_fd);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(looks, 2 * FAILURES + 1);
	end_keeper();
}

static void a_keeper_that_is_gone_is_not_looked_for_again(void **state)
{
	(void)state;
	start_keeper(0);
	end_keeper();
	assert_int_equal(keeper_take(&pager, pager.index_fd), -ESRCH);
	assert_int_equal(looks, 1);
}

static void whoever_has_its_number_by_now_is_let_be(void **state)
{
	pid_t pid;

	(void)state;
	start_keeper(0);
	pid = header->session.keeper.pid;
	header->session.keeper.starttime++;
	unopened = FAILURES;
	assert_int_equal(keeper_take(&pager, pager.index_fd), -ESRCH);
	keeper_end(&pager);
	assert_int_equal(header->session.keeper.pid, 0);
	assert_int_equal(waitpid(pid, NULL, WNOHANG), 0);
}

static void a_read_that_was_taken_is_waited_for_though_the_first_looks_fail(void **state)
{
	(void)state;
	header->session.keeper.read_state = READ_TAKEN;
	start_keeper(50000);
	unseen = unopened = FAILURES;
	keeper_quiesce(&pager);
	assert_int_equal(header->session.keeper.read_result, RESULT);
	assert_int_equal(header->session.keeper.read_state, READ_IDLE);
	end_keeper();
}

static void a_read_of_a_keeper_that_was_killed_is_not_waited_for(void **state)
{
	(void)state;
	start_keeper(0);
	end_keeper();
	header->session.keeper.read_state = READ_TAKEN;
	keeper_quiesce(&pager);
	assert_int_equal(header->session.keeper.read_state, READ_IDLE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_descriptor_is_taken_though_the_first_looks_fail, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_keeper_that_is_gone_is_not_looked_for_again, set_up, tear_down),
		cmocka_unit_test_setup_teardown(whoever_has_its_number_by_now_is_let_be, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_read_that_was_taken_is_waited_for_though_the_first_looks_fail, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(a_read_of_a_keeper_that_was_killed_is_not_waited_for, set_up,
						tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
