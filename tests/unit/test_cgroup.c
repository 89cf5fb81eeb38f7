/* SPDX-License-Identifier: MIT */
/* Which cgroup a process is in, how near it is to a limit of memory, and whether it is stopped. */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/size.h"
#include "cgroup/cgroup.h"

static char root[] = "/tmp/uvmtools-cgroup.XXXXXX";

/* A file of a directory that stands for a cgroup; "" makes the directory itself. */
static void put(const char *directory, const char *name, const char *text)
{
	char path[300];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", root, directory);
	mkdir(path, 0700);
	snprintf(path, sizeof(path), "%s/%s/%s", root, directory, name);
	file = fopen(path, "we");
	assert_non_null(file);
	fputs(text, file);
	fclose(file);
}

static int open_directory_of(const char *directory)
{
	char path[300];

	snprintf(path, sizeof(path), "%s/%s", root, directory);
	return open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static struct cgroup_memory nearest(const char *directory)
{
	_cleanup_close_ int fd = open_directory_of(directory);
	struct cgroup_memory memory;

	assert_true(fd >= 0);
	assert_int_equal(cgroup_memory(fd, &memory), 0);
	return memory;
}

/*
 * As the kernel has it: the mount point's parent is no cgroup, the root counts nothing, a leaf may have no memory
 * controller.
 */
static void test_tightest_of_all_above(void **state)
{
	struct cgroup_memory memory;

	(void)state;
	put("top", "cgroup.procs", "");
	put("top/a", "cgroup.procs", "");
	put("top/a", "memory.current", "900\n");
	put("top/a", "memory.high", "max\n");
	put("top/a", "memory.max", "1000\n");
	put("top/a/b", "cgroup.procs", "");
	put("top/a/b", "memory.current", "300\n");
	put("top/a/b", "memory.high", "500\n");
	put("top/a/b", "memory.max", "800\n");
	put("top/a/b/c", "cgroup.procs", "");

	memory = nearest("top/a/b/c");
	assert_int_equal(memory.used, 900);
	assert_int_equal(memory.limit, 1000);
	assert_int_equal(cgroup_memory_left(&memory), 100);
	put("top/a/b", "memory.current", "450\n");
	memory = nearest("top/a/b/c");
	assert_int_equal(memory.used, 450);
	assert_int_equal(memory.limit, 500);
	put("top/a/b", "memory.current", "510\n");
	memory = nearest("top/a/b");
	assert_int_equal(cgroup_memory_left(&memory), 0);
}

static void test_page_cache_is_no_use_of_memory(void **state)
{
	struct cgroup_memory memory;

	(void)state;
	put("new", "cgroup.procs", "");
	put("new", "memory.current", "1000\n");
	put("new", "memory.max", "1000\n");
	put("new", "memory.stat", "anon 200\ninactive_file 700\nactive_file 100\n");
	memory = nearest("new");
	assert_int_equal(cgroup_memory_left(&memory), 700);
	put("old", "cgroup.procs", "");
	put("old", "memory.usage_in_bytes", "1000\n");
	put("old", "memory.limit_in_bytes", "1000\n");
	put("old", "memory.stat", "cache 5\ninactive_file 7\ntotal_inactive_file 400\n");
	memory = nearest("old");
	assert_int_equal(cgroup_memory_left(&memory), 400);
}

static void test_without_limit_or_count(void **state)
{
	struct cgroup_memory memory;
	_cleanup_close_ int none = -1;

	(void)state;
	put("free", "cgroup.procs", "");
	none = open_directory_of("free");
	assert_int_equal(cgroup_memory(none, &memory), -ENOENT);
	put("free", "memory.current", "1000\n");
	put("free", "memory.max", "max\n");
	memory = nearest("free");
	assert_true(cgroup_memory_left(&memory) == UINT64_MAX);
}

static void count_limits(void *context, int directory, const struct cgroup_memory *memory)
{
	uint64_t *sum = context;

	assert_true(directory >= 0);
	*sum = *sum * 10 + memory->limit;
}

static void test_limits_from_the_innermost_upwards(void **state)
{
	_cleanup_close_ int innermost = -1;
	uint64_t limits = 0;

	(void)state;
	put("one", "cgroup.procs", "");
	put("one", "memory.usage_in_bytes", "2\n");
	put("one", "memory.limit_in_bytes", "9\n");
	put("one/two", "cgroup.procs", "");
	put("one/two", "memory.usage_in_bytes", "2\n");
	put("one/two", "memory.limit_in_bytes", "9223372036854771712\n"); /* none */
	put("one/two/three", "cgroup.procs", "");
	put("one/two/three", "memory.usage_in_bytes", "1\n");
	put("one/two/three", "memory.limit_in_bytes", "3\n");
	innermost = open_directory_of("one/two/three");
	cgroup_limits(innermost, count_limits, &limits);
	assert_int_equal(limits, 39);
	assert_int_equal(cgroup_memory_left(&(struct cgroup_memory){2, nearest("one").limit}), 7);
}

static void test_of_this_process(void **state)
{
	_cleanup_target_ struct target self = TARGET_NONE;
	_cleanup_close_ int directory = -1;
	_cleanup_close_ int older = -1;
	_cleanup_close_ int procs = -1;
	char text[65536];
	char wanted[16];
	ssize_t n;

	(void)state;
	assert_int_equal(target_open(&self, getpid(), -1, NULL), 0);
	directory = cgroup_of(&self, NULL);
	older = cgroup_of(&self, "memory");
	if (directory < 0 && older < 0)
		skip();
	procs = openat(directory >= 0 ? directory : older, "cgroup.procs", O_RDONLY | O_CLOEXEC);
	n = read(procs, text + 1, sizeof(text) - 2);
	assert_true(n > 0);
	text[0] = '\n';
	text[n + 1] = '\0';
	snprintf(wanted, sizeof(wanted), "\n%d\n", getpid());
	assert_non_null(strstr(text, wanted));
	assert_false(cgroup_is_frozen(&self));
	assert_int_equal(cgroup_of(&self, "no such controller"), -ENOENT);
}

static void *wait_for_end(void *argument)
{
	for (;;)
		pause();
	return argument;
}

static void become_two_threads(int ready)
{
	pthread_t thread;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	pthread_create(&thread, NULL, wait_for_end, NULL);
	if (write(ready, "r", 1) == 1)
		wait_for_end(NULL);
	_exit(1);
}

static void test_stopped(void **state)
{
	_cleanup_target_ struct target target = TARGET_NONE;
	int ready[2];
	char byte;
	int status;
	pid_t pid;

	(void)state;
	assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid)
		become_two_threads(ready[1]);
	assert_int_equal(read(ready[0], &byte, 1), 1);
	assert_int_equal(target_open(&target, pid, -1, NULL), 0);
	assert_false(target_is_stopped(&target));
	kill(pid, SIGSTOP);
	assert_int_equal(waitpid(pid, &status, WUNTRACED), pid);
	assert_true(target_is_stopped(&target));
	kill(pid, SIGCONT);
	assert_int_equal(waitpid(pid, &status, WCONTINUED), pid);
	assert_false(target_is_stopped(&target));
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_false(target_is_stopped(&target));
	assert_int_equal(cgroup_of(&target, NULL), -ESRCH);
	close(ready[0]);
	close(ready[1]);
}

static int make_root(void **state)
{
	(void)state;
	return mkdtemp(root) ? 0 : -1;
}

static int remove_one(const char *path, const struct stat *stat, int type, struct FTW *ftw)
{
	(void)stat;
	(void)type;
	(void)ftw;
	return remove(path);
}

static int remove_root(void **state)
{
	(void)state;
	return nftw(root, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_tightest_of_all_above),  cmocka_unit_test(test_page_cache_is_no_use_of_memory),
		cmocka_unit_test(test_without_limit_or_count), cmocka_unit_test(test_limits_from_the_innermost_upwards),
		cmocka_unit_test(test_of_this_process),        cmocka_unit_test(test_stopped),
	};

	return cmocka_run_group_tests(tests, make_root, remove_root);
}
