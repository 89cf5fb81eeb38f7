/* SPDX-License-Identifier: MIT */
/*
 * Passes memory that may be swapped out to system calls: syscalls BYTES, until a line comes on standard input. Prints
 * "ready", then "ok ROUNDS" or, at the first call that failed or gave something wrong, "wrong CALL ERRNO".
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "pattern.h"

#define THREADS 2

struct caller {
	pthread_t thread;
	char *at;
	size_t pages;
	unsigned long rounds;
	int file, pipe[2], epoll;
	const char *wrong;
	int error;
};

static atomic_bool stopping;
static char directory[4096];

static char *page_of(const struct caller *c, size_t i)
{
	return c->at + i % c->pages * PAGE;
}

static bool call_write_read(const struct caller *c, size_t i)
{
	const struct pattern pattern = {"random", i};

	pattern_fill(page_of(c, i), PAGE, &pattern);
	if (write(c->pipe[1], page_of(c, i), PAGE) != (ssize_t)PAGE)
		return false;
	if (read(c->pipe[0], page_of(c, i + c->pages / 2), PAGE) != (ssize_t)PAGE)
		return false;
	return pattern_wrong(page_of(c, i + c->pages / 2), PAGE, &pattern) == 0;
}

/* The vector lies in memory that may be out too. */
static bool call_writev_readv(const struct caller *c, size_t i)
{
	struct iovec *out = (struct iovec *)page_of(c, i), *in = (struct iovec *)page_of(c, i + c->pages / 3);
	const struct pattern pattern = {"text", i};

	for (size_t k = 0; k < 4; k++) {
		out[k] = (struct iovec){page_of(c, i + 1 + k), PAGE / 4};
		in[k] = (struct iovec){page_of(c, i + c->pages / 2 + k), PAGE / 4};
		pattern_fill(page_of(c, i + 1 + k), PAGE, &pattern);
	}
	if (writev(c->pipe[1], out, 4) != (ssize_t)PAGE || readv(c->pipe[0], in, 4) != (ssize_t)PAGE)
		return false;
	for (size_t k = 0; k < 4; k++)
		if (memcmp(page_of(c, i + 1 + k), page_of(c, i + c->pages / 2 + k), PAGE / 4))
			return false;
	return true;
}

static bool call_file(const struct caller *c, size_t i)
{
	const struct pattern pattern = {"mixed", i};

	pattern_fill(page_of(c, i), PAGE, &pattern);
	if (pwrite(c->file, page_of(c, i), PAGE, 0) != (ssize_t)PAGE)
		return false;
	if (pread(c->file, page_of(c, i + c->pages / 2), PAGE, 0) != (ssize_t)PAGE)
		return false;
	return pattern_wrong(page_of(c, i + c->pages / 2), PAGE, &pattern) == 0;
}

static bool call_epoll_wait(const struct caller *c, size_t i)
{
	struct epoll_event *events = (struct epoll_event *)page_of(c, i);
	char byte = 1;

	events[0].data.u64 = 0;
	if (epoll_wait(c->epoll, events, 1, 1) != 0)
		return false;
	if (write(c->pipe[1], &byte, 1) != 1 || epoll_wait(c->epoll, (void *)page_of(c, i + c->pages / 2), 1, -1) != 1)
		return false;
	events = (struct epoll_event *)page_of(c, i + c->pages / 2);
	return events->data.u64 == UINT64_C(0x1122334455667788) && read(c->pipe[0], page_of(c, i), 1) == 1;
}

static bool call_poll(const struct caller *c, size_t i)
{
	struct pollfd *fds = (struct pollfd *)page_of(c, i);
	char byte = 1;

	*fds = (struct pollfd){.fd = c->pipe[0], .events = POLLIN};
	if (poll(fds, 1, 1) != 0 || write(c->pipe[1], &byte, 1) != 1 || poll(fds, 1, -1) != 1)
		return false;
	return fds->revents == POLLIN && read(c->pipe[0], page_of(c, i + c->pages / 2), 1) == 1;
}

static bool call_futex(const struct caller *c, size_t i)
{
	struct timespec *limit = (struct timespec *)page_of(c, i);
	uint32_t *word = (uint32_t *)page_of(c, i + c->pages / 2);

	*limit = (struct timespec){0, 500000};
	*word = 5;
	if (syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, 4, NULL, NULL, 0) != -1 || errno != EAGAIN)
		return false;
	errno = 0;
	return syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, 5, limit, NULL, 0) == -1 && errno == ETIMEDOUT;
}

static bool call_getcwd(const struct caller *c, size_t i)
{
	return getcwd(page_of(c, i), PAGE) && !strcmp(page_of(c, i), directory);
}

static bool call_nanosleep(const struct caller *c, size_t i)
{
	struct timespec *time = (struct timespec *)page_of(c, i);

	*time = (struct timespec){0, 300000};
	return nanosleep(time, (struct timespec *)page_of(c, i + c->pages / 2)) == 0;
}

static const struct {
	const char *name;
	bool (*call)(const struct caller *c, size_t i);
} calls[] = {
	{"write-read", call_write_read},
	{"writev-readv", call_writev_readv},
	{"file", call_file},
	{"epoll_wait", call_epoll_wait},
	{"poll", call_poll},
	{"futex", call_futex},
	{"getcwd", call_getcwd},
	{"nanosleep", call_nanosleep},
};

static void *work(void *argument)
{
	struct caller *c = argument;
	uint64_t turn = (uint64_t)(uintptr_t)c;

	while (!atomic_load(&stopping) && !c->wrong) {
		for (size_t k = 0; k < sizeof(calls) / sizeof(*calls) && !c->wrong; k++) {
			turn = mix(turn);
			errno = 0;
			if (!calls[k].call(c, turn % c->pages)) {
				c->error = errno;
				c->wrong = calls[k].name;
			}
		}
		c->rounds++;
	}
	return NULL;
}

static void prepare(struct caller *c, size_t bytes)
{
	struct epoll_event event = {.events = EPOLLIN, .data.u64 = UINT64_C(0x1122334455667788)};
	const struct pattern pattern = {"mixed", 3};

	c->at = map_aligned(bytes);
	c->pages = bytes / PAGE;
	c->file = open(".", O_TMPFILE | O_RDWR, 0600);
	c->epoll = epoll_create1(0);
	if (c->file < 0 || c->epoll < 0 || pipe(c->pipe) || epoll_ctl(c->epoll, EPOLL_CTL_ADD, c->pipe[0], &event))
		die("prepare");
	pattern_fill(c->at, bytes, &pattern);
}

int main(int argc, char **argv)
{
	static struct caller callers[THREADS];
	size_t bytes = argc > 1 ? strtoull(argv[1], NULL, 0) : 0;
	unsigned long rounds = 0;

	if (bytes < 64 * PAGE || !getcwd(directory, sizeof(directory)))
		return 2;
	for (size_t i = 0; i < THREADS; i++)
		prepare(&callers[i], bytes);
	for (size_t i = 0; i < THREADS; i++)
		if (pthread_create(&callers[i].thread, NULL, work, &callers[i]))
			die("pthread_create");
	puts("ready");
	fflush(stdout);
	(void)getchar();
	atomic_store(&stopping, true);
	for (size_t i = 0; i < THREADS; i++) {
		pthread_join(callers[i].thread, NULL);
		rounds += callers[i].rounds;
		if (!callers[i].wrong)
			continue;
		printf("wrong %s %s\n", callers[i].wrong,
		       callers[i].error ? strerrorname_np(callers[i].error) : "contents");
		return 1;
	}
	printf("ok %lu\n", rounds);
	return 0;
}
