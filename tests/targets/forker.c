/* SPDX-License-Identifier: MIT */
/*
 * A program that forks all the time: forker BYTES, until a line comes on standard input. Every child verifies the
 * memory that it got and what it writes to it, and ends; so does the parent meanwhile, on another thread. Prints "ready
 * START END", then "ok FORKS" or "wrong".
 */
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pattern.h"

static const struct pattern pattern = {"mixed", 21};
static _Atomic bool wrong, over;
static char *memory;
static size_t bytes;

static void *verify(void *unused)
{
	(void)unused;
	while (!over)
		if (pattern_wrong(memory, bytes, &pattern))
			wrong = true;
	return NULL;
}

static int be_child(void)
{
	if (pattern_wrong(memory, bytes, &pattern))
		return 1;
	memset(memory, 'c', bytes / 2);
	for (size_t i = 0; i < bytes / 2; i++)
		if (memory[i] != 'c')
			return 1;
	return pattern_wrong(memory, bytes, &pattern) == 0; /* it must see that it is another's now */
}

static bool told_to_stop(void)
{
	struct pollfd input = {.fd = 0, .events = POLLIN};

	return poll(&input, 1, 0) > 0;
}

int main(int argc, char **argv)
{
	unsigned long forks = 0;
	pthread_t thread;

	bytes = argc > 1 ? strtoull(argv[1], NULL, 0) : 0;
	memory = bytes ? map_aligned(bytes) : NULL;
	if (!memory)
		return 2;
	pattern_fill(memory, bytes, &pattern);
	if (pthread_create(&thread, NULL, verify, NULL))
		die("pthread_create");
	printf("ready %lx %lx\n", (unsigned long)memory, (unsigned long)(memory + bytes));
	fflush(stdout);
	for (; !told_to_stop(); forks++) {
		pid_t child = fork();
		int status = 0;

		if (child == 0)
			_exit(be_child());
		if (child < 0 || waitpid(child, &status, 0) != child || status)
			wrong = true;
		usleep(20000); /* alone: what was shared with the child can leave */
	}
	over = true;
	pthread_join(thread, NULL);
	if (wrong)
		puts("wrong");
	else
		printf("ok %lu\n", forks);
	return 0;
}
