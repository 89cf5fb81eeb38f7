/* SPDX-License-Identifier: MIT */
/*
 * Memory with known contents: contents PATTERN BYTES [huge], then obeys commands on standard input, a line each, and
 * answers with a line that is "ok…" when all of its memory was as it should be. Prints "ready START END".
 *
 *	check		verify everything
 *	lost		verify what can be read; the answer ends with the number of pages that give SIGBUS
 *	touch N		read page N
 *	walk N		read the first N pages, in order
 *	write SEED	give everything that is mapped other contents
 *	discard		MADV_DONTNEED the first half: it holds zeros from then on
 *	fork		a child verifies everything, writes over it; the parent still has its own
 *	move		mremap to another place
 *	unmap, map	the last quarter away, and new in its place
 *	allocate BYTES	more memory, with contents of its own
 *	close		every descriptor from 3 on
 *	block		O_NONBLOCK off, of each userfaultfd: who reads it blocks
 *	occupy		open /dev/null at every free number from 3 to 999
 *	exec		become sleep(1)
 *	exit		end with status 7
 *	leave		the main thread ends, another one goes on
 */
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/wait.h>
#include <unistd.h>

#include "contents.h"

static size_t lost; /* pages that could not be read, by the latest count */

static sigjmp_buf bus;

static void on_bus(int number)
{
	siglongjmp(bus, number);
}

/* As wrong_pages, of the first memory, but a SIGBUS is no wrong byte. */
static size_t count_lost(struct contents *c)
{
	static const struct pattern zeros = {"zeros", 0};
	volatile size_t wrong = 0;

	signal(SIGBUS, on_bus);
	lost = 0;
	for (volatile size_t i = 0; i < c->bytes / PAGE; i++)
		if (sigsetjmp(bus, 1))
			lost++;
		else if (c->states[i] != ABSENT)
			wrong += !pattern_holds_page(c->at, c->states[i] == ZEROS ? &zeros : &c->pattern, i);
	signal(SIGBUS, SIG_DFL);
	return wrong;
}

static size_t fork_once(struct contents *c)
{
	pid_t child = fork();
	int status;

	if (child < 0)
		die("fork");
	if (child == 0) {
		if (wrong_pages(c))
			_exit(1);
		rewrite(c, c->pattern.seed + 1);
		_exit(wrong_pages(c) ? 2 : 0);
	}
	if (waitpid(child, &status, 0) != child)
		die("waitpid");
	if (status)
		fprintf(stderr, "the child ended with status %#x\n", (unsigned int)status);
	return wrong_pages(c) + (status ? 1 : 0);
}

static void move(struct contents *c)
{
	char *to = map_aligned(c->bytes);

	if (mremap(c->at, c->bytes, c->bytes, MREMAP_MAYMOVE | MREMAP_FIXED, to) != to)
		die("mremap");
	c->at = to;
}

static int occupy(void)
{
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC);

	for (int fd = 3; fd < 1000; fd++)
		if (fcntl(fd, F_GETFD) < 0 && dup2(null, fd) != fd)
			return 1;
	return 0;
}

/* The description is shared with whoever has taken the descriptor. Returns whether there was none. */
static int block(void)
{
	int found = 0;

	for (int fd = 3; fd < 1000; fd++) {
		char path[64];
		char name[64] = "";
		int flags = fcntl(fd, F_GETFL);

		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		if (flags < 0 || readlink(path, name, sizeof(name) - 1) < 0 || !strstr(name, "[userfaultfd]"))
			continue;
		if (fcntl(fd, F_SETFL, flags & ~O_NONBLOCK) < 0)
			die("fcntl");
		found++;
	}
	return !found;
}

static void *go_on(void *argument);

/* The answer comes from the thread that goes on. */
static int leave(struct contents *c)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, go_on, c) != 0)
		return 1;
	pthread_exit(NULL);
}

static size_t walk(const struct contents *c, size_t pages)
{
	size_t wrong = 0;

	for (size_t i = 0; i < pages; i++)
		wrong += is_wrong(c, i);
	return wrong;
}

/* Returns the number of wrong pages found, or -1 for a word that is not known. */
static ssize_t obey(struct contents *c, char *line)
{
	char *word = strtok(line, " \n"), *argument = strtok(NULL, " \n");

	if (!word)
		return -1;
	if (!strcmp(word, "check"))
		return (ssize_t)wrong_pages(c);
	if (!strcmp(word, "lost"))
		return (ssize_t)count_lost(c);
	if (!strcmp(word, "touch") && argument)
		return is_wrong(c, strtoull(argument, NULL, 0));
	if (!strcmp(word, "walk") && argument)
		return (ssize_t)walk(c, strtoull(argument, NULL, 0));
	if (!strcmp(word, "fork"))
		return (ssize_t)fork_once(c);
	if (!strcmp(word, "close"))
		return close_range(3, ~0U, 0);
	if (!strcmp(word, "block"))
		return block();
	if (!strcmp(word, "occupy"))
		return occupy();
	if (!strcmp(word, "exec"))
		return execlp("sleep", "sleep", "1000", (char *)NULL);
	if (!strcmp(word, "exit"))
		_exit(7);
	if (!strcmp(word, "leave"))
		return leave(c);
	if (!strcmp(word, "write"))
		rewrite(c, argument ? strtoull(argument, NULL, 0) : 0);
	else if (!strcmp(word, "allocate"))
		allocate(c, argument ? strtoull(argument, NULL, 0) : PAGE);
	else if (!strcmp(word, "discard"))
		change(c, 0, c->bytes / 2, ZEROS);
	else if (!strcmp(word, "move"))
		move(c);
	else if (!strcmp(word, "unmap"))
		change(c, c->bytes / 4 * 3, c->bytes, ABSENT);
	else if (!strcmp(word, "map"))
		change(c, c->bytes / 4 * 3, c->bytes, ZEROS);
	else
		return -1;
	return 0;
}

static void obey_all(struct contents *c)
{
	static char line[256];

	while (fgets(line, sizeof(line), stdin)) {
		ssize_t wrong = obey(c, line);

		if (wrong)
			printf("wrong %zd\n", wrong);
		else
			printf("ok %lx %lx %zu\n", (unsigned long)c->at, (unsigned long)(c->at + c->bytes), lost);
	}
}

static bool main_thread_runs(void)
{
	char text[256] = "";
	int fd = open("/proc/self/stat", O_RDONLY | O_CLOEXEC);
	ssize_t n = read(fd, text, sizeof(text) - 1);

	close(fd);
	return n > 0 && !strstr(text, ") Z ");
}

static void *go_on(void *argument)
{
	struct contents *c = argument;

	while (main_thread_runs())
		usleep(1000);
	printf("ok\n");
	obey_all(c);
	exit(0);
}

int main(int argc, char **argv)
{
	static struct contents c;

	c = contents_start(argc, argv);
	obey_all(&c);
	return 0;
}
