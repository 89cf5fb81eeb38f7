/* SPDX-License-Identifier: MIT */
/* Stopping all threads of a target, reading their registers, letting them go. */
#include "inject/threads.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "base/size.h"
#include "inject/stop.h"
#include "proc/stat.h"
#include "proc/tasks.h"

#define ALL_MS      3000   /* for a thread that shares its processor with many others */
#define ASLEEP_MS   50     /* for one that sleeps uninterruptibly */
#define BUSY_US     200000 /* for another of our tools to let one go: it may wait for one that we hold */
#define LOOK_US     1000
#define REGSET_MOST 16384

static bool is_known(const struct inject *inject, const struct inject_threads *threads, pid_t tid)
{
	if (tid == inject->tid)
		return true;
	for (size_t i = 0; i < threads->count; i++)
		if (threads->items[i].tid == tid)
			return true;
	return false;
}

static int add_thread(struct inject_threads *threads, pid_t tid)
{
	if (array_reserve(&threads->items, threads->count, &threads->capacity) < 0)
		return -ENOMEM;
	threads->items[threads->count++] = (struct inject_thread){.tid = tid};
	return 0;
}

/*
 * Asks one thread to stop. Returns 1, 0 when there is nothing of it to stop, or -errno: as stop_seize, or -ENOMEM.
 */
static int ask_thread(const struct inject *inject, struct inject_threads *threads, pid_t tid)
{
	int rc = add_thread(threads, tid);

	if (rc < 0)
		return rc;
	rc = stop_seize(inject, tid, PTRACE_O_TRACESYSGOOD);
	if (rc == 0) {
		ptrace(PTRACE_INTERRUPT, tid, NULL, NULL);
		return 1;
	}
	threads->count--;
	return rc == -ESRCH ? 0 : rc;
}

/* Whether a thread's state is one of these letters; one that is gone counts as 'X'. */
static bool in_state(pid_t tid, const char *states)
{
	struct proc_stat stat;

	return strchr(states, proc_stat_read(tid, &stat) < 0 ? 'X' : stat.state);
}

/* Asks every thread that was not asked yet. Returns how many those were, or -errno. */
static int ask_new(const struct inject *inject, struct inject_threads *threads)
{
	uint64_t deadline = now_us() + BUSY_US;
	_cleanup_closedir_ DIR *tasks = tasks_open(inject->target);
	int count = 0;

	if (!tasks)
		return tasks_error();
	for (pid_t tid; (tid = tasks_next(tasks)) > 0;) {
		int rc;

		if (is_known(inject, threads, tid))
			continue;
		while ((rc = ask_thread(inject, threads, tid)) == -EALREADY && now_us() < deadline)
			usleep(LOOK_US);
		if (rc < 0)
			return rc;
		count += rc > 0;
	}
	return count;
}

/*
 * Waits for one thread that was asked. Returns 0 when it stands, has ended, or sleeps uninterruptibly, or -ETIMEDOUT.
 */
static int wait_one(struct inject_thread *thread, uint64_t deadline)
{
	for (;;) {
		int rc = stop_wait_interrupted(thread->tid, ASLEEP_MS);

		thread->stopped = rc == 0;
		if (rc == -ESRCH)
			thread->tid = 0;
		if (rc != -ETIMEDOUT || in_state(thread->tid, "D"))
			return 0;
		if (now_us() > deadline)
			return -ETIMEDOUT;
	}
}

int inject_stop_others(struct inject *inject, struct inject_threads *threads)
{
	uint64_t deadline = now_us() + ALL_MS * 1000;
	size_t waited = 0;
	int asked;

	*threads = (struct inject_threads){0};
	/* A thread that was not asked yet may have made another one meanwhile. */
	while ((asked = ask_new(inject, threads)) > 0) {
		for (; waited < threads->count; waited++) {
			int rc = wait_one(&threads->items[waited], deadline);

			if (rc < 0)
				return rc;
			threads->missed += threads->items[waited].tid && !threads->items[waited].stopped;
		}
	}
	return asked;
}

size_t inject_release_others(struct inject_threads *threads)
{
	size_t left = 0;

	for (size_t i = 0; i < threads->count; i++) {
		struct inject_thread *thread = &threads->items[i];
		int status = 0;
		int signal = 0;

		if (!thread->tid)
			continue;
		if (!thread->stopped) {
			pid_t got = waitpid(thread->tid, &status, __WALL | WNOHANG);

			left += got == 0;
			if (got == 0)
				continue;
			thread->stopped = got > 0 && WIFSTOPPED(status);
			signal = stop_is_event(status) ? 0 : WSTOPSIG(status);
		}
		if (thread->stopped)
			stop_let_go(thread->tid, signal);
		thread->tid = 0;
	}
	if (left)
		return left;
	free(threads->items);
	*threads = (struct inject_threads){0};
	return 0;
}

static int read_set(pid_t tid, unsigned int type, void **data, size_t *bytes)
{
	unsigned char buffer[REGSET_MOST];
	struct iovec iov = {.iov_base = buffer, .iov_len = sizeof(buffer)};

	if (ptrace(PTRACE_GETREGSET, tid, type, &iov) < 0)
		return errno == ESRCH ? -ESRCH : 0;
	*data = malloc(iov.iov_len);
	if (!*data)
		return -ENOMEM;
	memcpy(*data, buffer, iov.iov_len);
	*bytes = iov.iov_len;
	return 0;
}

static int read_thread(pid_t tid, struct inject_registers *registers)
{
	static const unsigned int types[] = ARCH_REGSETS;
	int rc = 0;

	registers->tid = tid;
	ptrace(PTRACE_GETSIGMASK, tid, sizeof(registers->sigmask), &registers->sigmask);
	for (size_t i = 0; i < ARRAY_SIZE(types) && rc == 0; i++)
		rc = read_set(tid, types[i], &registers->sets[i].data, &registers->sets[i].bytes);
	arch_hide_mark(registers->sets[0].data, registers->sets[0].bytes);
	return rc;
}

/*
 * The thread that serves is on the trampoline: its general registers are those of its first stop, the rest it still
 * has.
 */
static int read_serving(const struct inject *inject, struct inject_registers *registers)
{
	int rc = read_thread(inject->tid, registers);

	registers->sigmask = inject->stop->sigmask;
	if (rc == 0 && registers->sets[0].bytes == sizeof(inject->stop->first.user))
		memcpy(registers->sets[0].data, &inject->stop->first.user, registers->sets[0].bytes);
	arch_hide_mark(registers->sets[0].data, registers->sets[0].bytes);
	return rc;
}

int inject_registers_read(const struct inject *inject, const struct inject_threads *threads,
			  struct inject_registers **registers, size_t *count)
{
	int rc;

	*registers = calloc(threads->count + 1, sizeof(**registers));
	*count = 1;
	rc = *registers ? read_serving(inject, *registers) : -ENOMEM;
	for (size_t i = 0; i < threads->count && rc == 0; i++)
		if (threads->items[i].stopped)
			rc = read_thread(threads->items[i].tid, &(*registers)[(*count)++]);
	if (rc == 0)
		return 0;
	inject_registers_free(*registers, *count);
	*registers = NULL;
	*count = 0;
	return rc;
}

void inject_registers_free(struct inject_registers *registers, size_t count)
{
	for (size_t i = 0; registers && i < count; i++)
		for (size_t j = 0; j < ARCH_REGSETS_COUNT; j++)
			free(registers[i].sets[j].data);
	free(registers);
}
