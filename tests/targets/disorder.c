/* SPDX-License-Identifier: MIT */
/*
 * Forks and changes of the memory at the same time: disorder remap|unmap BYTES. To each line on standard input a thread
 * forks, another one moves or unmaps half of the memory, and a third one forks, each as soon as the one before waits
 * for its event to be read, or is done. The children verify what they find, where they find it; so does the parent. The
 * answer is "ok", or "wrong" and what it was. Prints "ready START END".
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "pattern.h"

#define THREADS 3

static const struct pattern pattern = {"mixed", 3};
static char *at, *to; /* the half that changes; where it moves to, NULL: away */
static size_t bytes;  /* of a half; the one before it stays */
static volatile pid_t tids[THREADS];
static volatile bool told[THREADS], over[THREADS];

static bool is_mapped(char *there)
{
	return msync(there, PAGE, MS_ASYNC) == 0;
}

static const char *look(void)
{
	if (pattern_wrong(at - bytes, bytes, &pattern))
		return "the half that stays";
	if (is_mapped(at) && pattern_wrong(at, bytes, &pattern))
		return "the half that has not changed";
	if (to && !is_mapped(at) && pattern_wrong(to, bytes, &pattern))
		return "the half that has moved";
	return NULL;
}

/* Not by fork(3), which lets one thread at a time into the kernel. */
static void fork_and_look(void)
{
	const char *wrong;
	int status = 0;
	pid_t child = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);

	if (child == 0) {
		wrong = look();
		dprintf(2, "child: %s, %s\n", is_mapped(at) ? "before" : "after", wrong ? wrong : "right");
		_exit(wrong ? 1 : 0);
	}
	if (child < 0 || waitpid(child, &status, 0) != child || status)
		dprintf(1, "wrong child\n");
}

static void change(void)
{
	if (to ? mremap(at, bytes, bytes, MREMAP_MAYMOVE | MREMAP_FIXED, to) != to : munmap(at, bytes))
		die("change");
}

static void *run(void *argument)
{
	size_t number = (size_t)argument;

	tids[number] = (pid_t)syscall(SYS_gettid);
	while (!told[number])
		usleep(100);
	if (number == 1)
		change();
	else
		fork_and_look();
	over[number] = true;
	return NULL;
}

/* Whether a thread waits until an event of its own is read. */
static bool waits(pid_t tid)
{
	char path[64], text[64] = "";
	int fd;

	snprintf(path, sizeof(path), "/proc/self/task/%d/wchan", tid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0 && read(fd, text, sizeof(text) - 1) < 0)
		text[0] = '\0';
	close(fd);
	return !strcmp(text, "userfaultfd_event_wait_completion");
}

int main(int argc, char **argv)
{
	pthread_t threads[THREADS];
	char line[64];

	bytes = argc > 2 ? strtoull(argv[2], NULL, 0) / 2 : 0;
	if (!bytes)
		return 2;
	at = map_aligned(2 * bytes) + bytes;
	to = strcmp(argv[1], "remap") ? NULL : map_aligned(bytes);
	pattern_fill(at - bytes, bytes, &pattern);
	pattern_fill(at, bytes, &pattern);
	for (size_t i = 0; i < THREADS; i++)
		if (pthread_create(&threads[i], NULL, run, (void *)i))
			die("pthread_create");
	printf("ready %lx %lx\n", (unsigned long)(at - bytes), (unsigned long)(at + bytes));
	fflush(stdout);
	if (!fgets(line, sizeof(line), stdin))
		return 0;
	for (size_t i = 0; i < THREADS; i++) {
		told[i] = true;
		while (!over[i] && !waits(tids[i]))
			usleep(100);
	}
	for (size_t i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	dprintf(1, "%s\n", look() ? "wrong parent" : "ok");
	return fgets(line, sizeof(line), stdin) != NULL;
}
