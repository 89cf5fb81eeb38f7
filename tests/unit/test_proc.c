/* SPDX-License-Identifier: MIT */
/* Targets, their mappings and which of them may be swapped. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/seccomp.h>
#include <linux/userfaultfd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/size.h"
#include "proc/maps.h"
#include "proc/smaps.h"
#include "proc/stat.h"
#include "proc/target.h"

#ifndef MADV_WIPEONFORK
#define MADV_WIPEONFORK 18
#endif

/* A child that calls `before` and waits to be killed; it is ready when this returns. */
static pid_t child_new(void (*before)(void))
{
	int ready[2] = {-1, -1}, silent[2] = {-1, -1};
	char byte;
	pid_t pid;

	assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
	assert_int_equal(pipe2(silent, O_CLOEXEC), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (before)
			before();
		syscall(SYS_write, ready[1], "r", 1);
		for (;;)
			syscall(SYS_read, silent[0], &byte, 1); /* nothing comes; strict mode allows little else */
	}
	close(ready[1]);
	assert_int_equal(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	close(silent[0]);
	close(silent[1]);
	return pid;
}

static void child_kill(pid_t pid)
{
	kill(pid, SIGKILL);
}

/* Waits until the child is a zombie, without reaping it. */
static void child_wait_dead(pid_t pid)
{
	siginfo_t info;

	assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
}

static void child_end(pid_t pid)
{
	child_kill(pid);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void open_target(struct target *target, pid_t pid)
{
	struct error error = {0};

	assert_int_equal(target_open(target, pid, -1, &error), 0);
	assert_int_equal(target->pid, pid);
	assert_true(target->starttime > 0);
}

static void take_strange_name(void)
{
	prctl(PR_SET_NAME, ") Z 1 (\n)");
}

static void test_name_with_parentheses(void **state)
{
	pid_t pid = child_new(take_strange_name);
	struct target target, plain;

	(void)state;
	open_target(&target, pid);
	assert_string_equal(target.name, ") Z 1 (\n)");
	open_target(&plain, getpid());
	assert_true(target.starttime >= plain.starttime);
	assert_true(target.starttime < plain.starttime + 100 * 120);
	target_close(&plain);
	target_close(&target);
	assert_int_equal(target.pidfd, -1);
	child_end(pid);
}

static void test_dead_and_zombie(void **state)
{
	pid_t pid = child_new(NULL);
	struct error error = {0};
	struct target target, again;
	uint64_t value;

	(void)state;
	open_target(&target, pid);
	assert_true(target_alive(&target));
	assert_int_equal(target_status(&target, "TracerPid", &value), 0);
	assert_int_equal(value, 0);
	assert_int_equal(target_status(&target, "Tracer", &value), -ENOENT);
	child_kill(pid);
	child_wait_dead(pid);
	assert_false(target_alive(&target));
	assert_int_equal(target_open(&again, pid, -1, &error), -ESRCH);
	assert_int_equal(error.code, -ESRCH);
	assert_int_equal(target_proc_open(&target, "stat", O_RDONLY), -ESRCH);
	assert_int_equal(target_status(&target, "TracerPid", &value), -ESRCH);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_int_equal(target_open(&again, pid, -1, &error), -ESRCH);
	assert_int_equal(target_open(&again, -1, target.pidfd, &error), -ESRCH);
	assert_int_equal(again.pidfd, -1);
	target_close(&target);
}

static void *stay(void *unused)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (;;)
		pause();
	return unused;
}

static void test_main_thread_has_ended(void **state)
{
	struct error error = {0};
	struct proc_stat stat = {0};
	struct mapping mapping;
	struct target target;
	pthread_t thread;
	uint64_t value;
	int maps;
	pid_t pid = fork();

	(void)state;
	assert_true(pid >= 0);
	if (!pid) {
		pthread_create(&thread, NULL, stay, NULL);
		syscall(SYS_exit, 0);
	}
	while (stat.state != 'Z')
		assert_int_equal(proc_stat_read(pid, &stat), 0);
	assert_int_equal(target_open(&target, pid, -1, &error), 0);
	assert_int_equal(target.starttime, stat.starttime);
	assert_int_not_equal(target_thread(&target), pid);
	assert_false(target_gone(pid, stat.starttime));
	assert_int_equal(target_status(&target, "VmRSS", &value), 0);
	maps = target_proc_open(&target, "maps", O_RDONLY);
	assert_int_equal(mapping_at(maps, (uintptr_t)&state, &mapping), 1);
	assert_int_equal(target_check(&target, &error), 0);
	close(maps);
	kill(pid, SIGKILL);
	while (target_alive(&target))
		sched_yield();
	assert_true(target_gone(pid, stat.starttime));
	assert_true(target_gone(pid, stat.starttime + 1));
	target_close(&target);
	child_end(pid);
}

struct thread {
	pid_t tid;
	pthread_barrier_t barrier;
};

static void *thread_main(void *argument)
{
	struct thread *thread = argument;

	thread->tid = (pid_t)syscall(SYS_gettid);
	pthread_barrier_wait(&thread->barrier);
	pthread_barrier_wait(&thread->barrier);
	return NULL;
}

static void test_gone_is_proven(void **state)
{
	struct rlimit few = {0, 0}, before;
	pid_t pid = child_new(NULL);
	struct proc_stat stat;

	(void)state;
	assert_int_equal(proc_stat_read(pid, &stat), 0);
	assert_false(target_gone(pid, stat.starttime));
	assert_true(target_gone(pid, stat.starttime + 1));
	getrlimit(RLIMIT_NOFILE, &before);
	few.rlim_max = before.rlim_max;
	setrlimit(RLIMIT_NOFILE, &few);
	assert_false(target_gone(pid, stat.starttime + 1)); /* it cannot be looked at */
	setrlimit(RLIMIT_NOFILE, &before);
	child_end(pid);
	assert_true(target_gone(pid, stat.starttime));
}

/* A thread is no process. */
static void test_a_thread_with_the_number_is_another(void **state)
{
	struct thread thread;
	pthread_t id;

	(void)state;
	pthread_barrier_init(&thread.barrier, NULL, 2);
	assert_int_equal(pthread_create(&id, NULL, thread_main, &thread), 0);
	pthread_barrier_wait(&thread.barrier);
	assert_true(target_gone(thread.tid, 1));
	pthread_barrier_wait(&thread.barrier);
	pthread_join(id, NULL);
	pthread_barrier_destroy(&thread.barrier);
}

/* Its main thread may be gone before the others are. */
static void test_end_of_many_threads(void **state)
{
	struct error error = {0};
	struct target target;
	pthread_t thread;

	(void)state;
	for (unsigned int round = 0; round < 50; round++) {
		int ready[2];
		char byte;
		pid_t pid;

		assert_int_equal(pipe(ready), 0);
		pid = fork();
		assert_true(pid >= 0);
		if (!pid) {
			for (unsigned int i = 0; i < 40; i++)
				pthread_create(&thread, NULL, stay, NULL);
			if (write(ready[1], "", 1) == 1)
				stay(NULL);
			_exit(1);
		}
		assert_int_equal(read(ready[0], &byte, 1), 1);
		kill(pid, SIGKILL);
		while (target_open(&target, pid, -1, &error) == 0)
			target_close(&target);
		assert_int_equal(error.code, -ESRCH);
		child_end(pid);
		close(ready[0]);
		close(ready[1]);
	}
}

static void test_inherited_pidfd(void **state)
{
	pid_t pid = child_new(NULL);
	int fd = (int)syscall(SYS_pidfd_open, pid, 0), null = open("/dev/null", O_RDONLY);
	struct error error = {0};
	struct target target;

	(void)state;
	assert_int_equal(target_open(&target, 0, fd, &error), 0);
	assert_int_equal(target.pid, pid);
	assert_int_not_equal(target.pidfd, fd);
	target_close(&target);
	assert_true(fcntl(fd, F_GETFD) >= 0);
	assert_int_equal(target_open(&target, 0, null, &error), -EINVAL);
	assert_int_equal(target_open(&target, 0, 987654, &error), -EINVAL);
	close(null);
	close(fd);
	child_end(pid);
}

static void test_thread_is_refused(void **state)
{
	struct error error = {0};
	struct thread thread;
	struct target target;
	pthread_t id;

	(void)state;
	pthread_barrier_init(&thread.barrier, NULL, 2);
	assert_int_equal(pthread_create(&id, NULL, thread_main, &thread), 0);
	pthread_barrier_wait(&thread.barrier);
	assert_int_equal(target_open(&target, thread.tid, -1, &error), -EINVAL);
	assert_non_null(strstr(error.why, "thread"));
	pthread_barrier_wait(&thread.barrier);
	pthread_join(id, NULL);
	pthread_barrier_destroy(&thread.barrier);
}

static void test_matches(void **state)
{
	struct error error = {0};
	struct target target;

	(void)state;
	open_target(&target, getpid());
	assert_int_equal(target_matches(&target, 0, 0, &error), 0);
	assert_int_equal(target_matches(&target, target.pid, target.starttime, &error), 0);
	assert_int_equal(error.code, 0);
	assert_int_equal(target_matches(&target, target.pid + 1, 0, &error), -ESTALE);
	assert_int_equal(target_matches(&target, target.pid, target.starttime + 1, &error), -ESTALE);
	assert_int_equal(error.code, -ESTALE);
	target_close(&target);
}

static int check(pid_t pid, struct error *error)
{
	struct target target;
	int result;

	open_target(&target, pid);
	result = target_check(&target, error);
	target_close(&target);
	return result;
}

static void become_strict(void)
{
	prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT);
}

static void test_check(void **state)
{
	pid_t plain = child_new(NULL), strict = child_new(become_strict);
	struct error error = {0};
	char self[32];

	(void)state;
	assert_int_equal(check(plain, &error), 0);
	assert_int_equal(check(getpid(), &error), -EINVAL);
	assert_int_equal(check(strict, &error), -EPERM);
	assert_non_null(strstr(error.why, "strict"));
	assert_int_equal(ptrace(PTRACE_SEIZE, plain, NULL, NULL), 0);
	assert_int_equal(check(plain, &error), -EBUSY);
	snprintf(self, sizeof(self), "(%d)", getpid());
	assert_non_null(strstr(error.why, self));
	child_end(plain);
	child_end(strict);
}

static void test_kernel_thread(void **state)
{
	struct error error = {0};
	char name[16] = "";
	FILE *comm = fopen("/proc/2/comm", "re");

	(void)state;
	if (comm) {
		if (!fgets(name, sizeof(name), comm))
			*name = '\0';
		fclose(comm);
	}
	if (strcmp(name, "kthreadd\n") != 0) {
		print_message("process 2 is no kernel thread here\n");
		skip();
	}
	assert_int_equal(check(2, &error), -EINVAL);
	assert_non_null(strstr(error.why, "kernel thread"));
}

/* Five kilobytes of newlines make a path of 20 KiB in /proc/PID/maps, more than the reader's buffer. */
static int open_file_of_long_path(const char *top)
{
	char name[NAME_MAX + 1];
	int fd = open(top, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	memset(name, '\n', NAME_MAX);
	name[NAME_MAX] = '\0';
	for (int i = 0; i < 20; i++) {
		int next;

		assert_int_equal(mkdirat(fd, name, 0700), 0);
		next = openat(fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		assert_true(next >= 0);
		close(fd);
		fd = next;
	}
	return openat(fd, "file", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
}

static void remove_tree(const char *top)
{
	pid_t pid = fork();

	if (!pid) {
		execlp("rm", "rm", "-rf", top, (char *)NULL);
		_exit(127);
	}
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void *map(size_t pages, int protection, int flags, int fd)
{
	void *at = mmap(NULL, pages * page_size(), protection, flags, fd, 0);

	assert_ptr_not_equal(at, MAP_FAILED);
	return at;
}

/* The mapping that maps_next finds around an address. */
static struct mapping walk_to(const void *address)
{
	struct mapping mapping;
	struct maps_reader reader;
	struct target target;
	int result;

	open_target(&target, getpid());
	assert_int_equal(maps_open(&reader, &target), 0);
	do
		result = maps_next(&reader, &mapping);
	while (result == 1 && mapping.region.end <= (uintptr_t)address);
	assert_int_equal(result, 1);
	assert_true(mapping.region.start <= (uintptr_t)address);
	maps_close(&reader);
	target_close(&target);
	return mapping;
}

static void test_kinds(void **state)
{
	int file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC), memfd = memfd_create("a (deleted) name", MFD_CLOEXEC);
	void *hugetlb =
		mmap(NULL, 2 * MiB, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | MAP_NORESERVE, -1, 0);
	int stack_variable = 0;
	struct mapping mapping;

	(void)state;
	mapping = walk_to(map(1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1));
	assert_int_equal(mapping.kind, MAPPING_ANON);
	assert_string_equal(mapping.perm, "rw-p");
	assert_true(mapping.read && mapping.write && !mapping.execute && !mapping.shared);
	mapping = walk_to(map(1, PROT_READ, MAP_SHARED | MAP_ANONYMOUS, -1));
	assert_int_equal(mapping.kind, MAPPING_SHMEM);
	assert_string_equal(mapping.perm, "r--s");
	mapping = walk_to(map(1, PROT_READ, MAP_PRIVATE, file));
	assert_int_equal(mapping.kind, MAPPING_FILE);
	assert_true(mapping.inode > 0);
	mapping = walk_to(map(1, PROT_READ, MAP_PRIVATE, memfd));
	assert_int_equal(mapping.kind, MAPPING_SHMEM);
	assert_string_equal(mapping.name, "/memfd:a (deleted) name (deleted)");
	assert_int_equal(walk_to(&stack_variable).kind, MAPPING_ANON);
	if (hugetlb != MAP_FAILED)
		assert_int_equal(walk_to(hugetlb).kind, MAPPING_HUGETLB);
	close(file);
	close(memfd);
}

static void assert_same_mapping(const struct mapping *a, const struct mapping *b)
{
	assert_int_equal(a->region.start, b->region.start);
	assert_int_equal(a->region.end, b->region.end);
	assert_int_equal(a->offset, b->offset);
	assert_int_equal(a->inode, b->inode);
	assert_int_equal(a->kind, b->kind);
	assert_string_equal(a->perm, b->perm);
	assert_string_equal(a->name, b->name);
}

/* Each line of /proc/self/maps, read in the plain way, against maps_next and both ways of mapping_at(_or_after). */
static void assert_reads_like_getline(void)
{
	_cleanup_fclose_ FILE *plain = fopen("/proc/self/maps", "re");
	_cleanup_close_ int maps = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
	_cleanup_close_ int smaps = open("/proc/self/smaps", O_RDONLY | O_CLOEXEC); /* knows no PROCMAP_QUERY */
	_cleanup_free_ char *line = malloc(65536);
	struct mapping mapping, other;
	struct maps_reader reader;
	struct target target;
	unsigned int count = 0;
	uint64_t end = 0;
	size_t size = 65536;

	open_target(&target, getpid());
	assert_int_equal(maps_open(&reader, &target), 0);
	while (getline(&line, &size, plain) > 0) {
		uint64_t middle;

		assert_int_equal(maps_next(&reader, &mapping), 1);
		assert_int_equal(strtoull(line, NULL, 16), mapping.region.start);
		assert_int_equal(strtoull(strchr(line, '-') + 1, NULL, 16), mapping.region.end);
		assert_memory_equal(strchr(line, ' ') + 1, mapping.perm, 4);
		if (mapping.region.start >> 63)
			continue;
		middle = mapping.region.start + region_bytes(mapping.region) / 2;
		assert_int_equal(mapping_at(maps, middle, &other), 1);
		assert_same_mapping(&mapping, &other);
		assert_int_equal(mapping_at_or_after(maps, end, &other), 1);
		assert_same_mapping(&mapping, &other);
		if (count++ % 16 == 0) {
			assert_int_equal(mapping_at(smaps, middle, &other), 1);
			assert_same_mapping(&mapping, &other);
			assert_int_equal(mapping_at_or_after(smaps, end, &other), 1);
			assert_same_mapping(&mapping, &other);
		}
		end = mapping.region.end;
	}
	assert_int_equal(mapping_at_or_after(maps, end, &other), 0);
	assert_int_equal(mapping_at_or_after(smaps, end, &other), 0);
	assert_int_equal(maps_next(&reader, &mapping), 0);
	assert_int_equal(mapping_at(maps, 0, &other), 0);
	assert_int_equal(mapping_at(smaps, 0, &other), 0);
	maps_close(&reader);
	target_close(&target);
}

static void test_maps_like_getline(void **state)
{
	char top[] = "/tmp/uvmtools-proc.XXXXXX";
	int fd;
	char *many = map(400, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	struct mapping mapping;
	void *file;

	(void)state;
	for (size_t i = 0; i < 400; i += 2)
		assert_int_equal(mprotect(many + i * page_size(), page_size(), PROT_READ), 0);
	assert_non_null(mkdtemp(top));
	fd = open_file_of_long_path(top);
	assert_true(fd >= 0);
	file = map(1, PROT_READ, MAP_PRIVATE, fd);
	mapping = walk_to(file);
	assert_int_equal(mapping.kind, MAPPING_FILE);
	assert_int_equal(strncmp(mapping.name, top, strlen(top)), 0);
	assert_int_equal(strlen(mapping.name), MAPPING_NAME - 1);
	assert_reads_like_getline();
	munmap(file, page_size());
	munmap(many, 400 * page_size());
	close(fd);
	remove_tree(top);
}

static void test_maps_of_the_dead(void **state)
{
	pid_t pid = child_new(NULL);
	struct eligible_reader eligible;
	enum eligibility verdict;
	struct mapping mapping;
	struct maps_reader reader;
	struct target target;
	int maps, result;

	(void)state;
	open_target(&target, pid);
	assert_int_equal(maps_open(&reader, &target), 0);
	assert_int_equal(eligible_open(&eligible, &target, NULL), 0);
	maps = target_proc_open(&target, "maps", O_RDONLY);
	assert_int_equal(maps_next(&reader, &mapping), 1);
	assert_int_equal(eligible_next(&eligible, &mapping, &verdict), 1);
	child_end(pid);
	while ((result = maps_next(&reader, &mapping)) == 1)
		;
	assert_int_equal(result, -ESRCH);
	while ((result = eligible_next(&eligible, &mapping, &verdict)) == 1)
		;
	assert_int_equal(result, -ESRCH);
	assert_int_equal(mapping_at(maps, mapping.region.start, &mapping), -ESRCH);
	maps_close(&reader);
	eligible_close(&eligible);
	close(maps);
	assert_int_equal(maps_open(&reader, &target), -ESRCH);
	target_close(&target);
}

static enum eligibility verdict_at(const void *address, const struct region_vec *ours)
{
	struct eligible_reader reader;
	enum eligibility verdict;
	struct mapping mapping;
	struct target target;

	open_target(&target, getpid());
	assert_int_equal(eligible_open(&reader, &target, ours), 0);
	do
		assert_int_equal(eligible_next(&reader, &mapping, &verdict), 1);
	while (mapping.region.end <= (uintptr_t)address);
	assert_true(mapping.region.start <= (uintptr_t)address);
	eligible_close(&reader);
	target_close(&target);
	return verdict;
}

/* Between pages that cannot be used, so that it stays a mapping of its own. */
static char *map_alone(int protection, int flags)
{
	char *at = map(6, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1);

	munmap(at + page_size(), 4 * page_size());
	return mmap(at + page_size(), 4 * page_size(), protection, flags | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
}

static void test_eligibility(void **state)
{
	char *plain = map_alone(PROT_READ | PROT_WRITE, MAP_PRIVATE);
	char *locked = map_alone(PROT_READ | PROT_WRITE, MAP_PRIVATE);
	char *wiped = map_alone(PROT_READ | PROT_WRITE, MAP_PRIVATE);
	char *kept = map_alone(PROT_READ | PROT_WRITE, MAP_PRIVATE);
	int stack_variable = 0;

	(void)state;
	assert_int_equal(syscall(SYS_mlock, locked, 4 * page_size()), 0); /* the sanitizers make mlock() do nothing */
	assert_int_equal(madvise(wiped, 4 * page_size(), MADV_WIPEONFORK), 0);
	assert_int_equal(madvise(kept, 4 * page_size(), MADV_DONTFORK), 0);
	assert_int_equal(verdict_at(plain, NULL), ELIGIBLE);
	assert_int_equal(verdict_at(locked, NULL), INELIGIBLE_LOCKED);
	assert_int_equal(verdict_at(wiped, NULL), INELIGIBLE_WIPEONFORK);
	assert_int_equal(verdict_at(kept, NULL), ELIGIBLE);
	assert_int_equal(verdict_at(map_alone(PROT_READ, MAP_PRIVATE), NULL), INELIGIBLE_READ_ONLY);
	assert_int_equal(verdict_at(map_alone(PROT_NONE, MAP_PRIVATE), NULL), INELIGIBLE_READ_ONLY);
	assert_int_equal(verdict_at(map_alone(PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_GROWSDOWN), NULL),
			 INELIGIBLE_STACK);
	assert_int_equal(verdict_at(map_alone(PROT_READ | PROT_WRITE, MAP_SHARED), NULL), INELIGIBLE_SHARED);
	assert_int_equal(verdict_at(&stack_variable, NULL), INELIGIBLE_STACK);
	assert_int_equal(verdict_at((void *)(uintptr_t)test_eligibility, NULL), INELIGIBLE_FILE);
	syscall(SYS_munlock, locked, 4 * page_size());
}

static void test_eligible_under_userfaultfd(void **state)
{
	char *at = map_alone(PROT_READ | PROT_WRITE, MAP_PRIVATE);
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);
	struct uffdio_api api = {.api = UFFD_API};
	struct uffdio_register range = {
		.range = {.start = (uintptr_t)at, .len = 4 * page_size()},
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};
	uint64_t start = (uintptr_t)at, page = page_size();
	struct region items[] = {{start - 9 * page, start - 8 * page},
				 {start, start + page},
				 {start + page, start + 4 * page},
				 {start + 8 * page, start + 9 * page}};
	struct region_vec all = {.items = items, .count = 4}, half = {.items = items, .count = 2};

	(void)state;
	if (fd < 0) {
		print_message("no userfaultfd here\n");
		skip();
	}
	assert_int_equal(ioctl(fd, UFFDIO_API, &api), 0);
	assert_int_equal(ioctl(fd, UFFDIO_REGISTER, &range), 0);
	assert_int_equal(verdict_at(at, NULL), INELIGIBLE_USERFAULTFD);
	assert_int_equal(verdict_at(at, &half), INELIGIBLE_USERFAULTFD);
	assert_int_equal(verdict_at(at, &all), ELIGIBLE);
	close(fd);
	assert_int_equal(verdict_at(at, NULL), ELIGIBLE);
}

static void the_innermost_number_is_the_last_one(void **state)
{
	unsigned int depth;

	(void)state;
	assert_int_equal(proc_status_innermost("Name:\tx\nNSpid:\t812\t7\t1\nNSpgid:\t5\n", &depth), 1);
	assert_int_equal(depth, 3);
	assert_int_equal(proc_status_innermost("NSpid:\t812\n", &depth), 812);
	assert_int_equal(depth, 1);
	assert_int_equal(proc_status_innermost("Name:\tx\nPid:\t812\n", &depth), 0);
	assert_int_equal(depth, 0);
	assert_int_equal(proc_innermost_pid(getpid()), getpid());
}

static void a_process_is_read_by_its_number(void **state)
{
	char name[PROC_NAME], text[64];
	uint64_t number = 0;

	(void)state;
	prctl(PR_SET_NAME, "a (name)");
	assert_int_equal(proc_name_read(getpid(), name), 8);
	assert_string_equal(name, "a (name)");
	assert_int_equal(proc_thread_read(getpid(), gettid(), "comm", text, sizeof(text)), 9);
	assert_string_equal(text, "a (name)\n");
	assert_int_equal(proc_status_read(getpid(), "PPid", 10, &number), 0);
	assert_int_equal(number, getppid());
	assert_int_equal(proc_status_read(getpid(), "Nothing", 10, &number), -ENOENT);

	assert_int_equal(proc_name_read(INT32_MAX, name), -ESRCH);
	assert_string_equal(name, "");
	assert_int_equal(proc_thread_read(1, gettid(), "comm", text, sizeof(text)), -ESRCH);
	assert_int_equal(proc_status_read(INT32_MAX, "PPid", 10, &number), -ESRCH);
	assert_int_equal(proc_open(INT32_MAX, "maps", O_RDONLY), -ESRCH);
}

static void flags_are_looked_for_one_of_several(void **state)
{
	(void)state;
	assert_true(vm_flags_have(" rd wr um ", "um uw ui"));
	assert_true(vm_flags_have("rd wr ui", "um uw ui"));
	assert_false(vm_flags_have("rd wr mr", "um uw ui"));
	assert_false(vm_flags_have("", "rd"));
	assert_false(vm_flags_have(NULL, "rd"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_name_with_parentheses),
		cmocka_unit_test(test_dead_and_zombie),
		cmocka_unit_test(test_main_thread_has_ended),
		cmocka_unit_test(test_gone_is_proven),
		cmocka_unit_test(test_a_thread_with_the_number_is_another),
		cmocka_unit_test(test_end_of_many_threads),
		cmocka_unit_test(test_inherited_pidfd),
		cmocka_unit_test(test_thread_is_refused),
		cmocka_unit_test(test_matches),
		cmocka_unit_test(test_check),
		cmocka_unit_test(test_kernel_thread),
		cmocka_unit_test(test_kinds),
		cmocka_unit_test(test_maps_like_getline),
		cmocka_unit_test(test_maps_of_the_dead),
		cmocka_unit_test(test_eligibility),
		cmocka_unit_test(test_eligible_under_userfaultfd),
		cmocka_unit_test(the_innermost_number_is_the_last_one),
		cmocka_unit_test(a_process_is_read_by_its_number),
		cmocka_unit_test(flags_are_looked_for_one_of_several),
	};

	alarm(300);
	return cmocka_run_group_tests_name("proc", tests, NULL, NULL);
}
