/* SPDX-License-Identifier: MIT */
/*
 * A program that has no child and knows it: childless BYTES [subreaper], until a line comes on standard input. All the
 * time it asks for children in every way there is, counts SIGCHLD, and verifies its memory on other threads; none of it
 * may find another pid than its own. With "subreaper" it is given orphans, and does not ask for children that send no
 * signal (__WALL). Prints "ready START END", then "ok ROUNDS" or what was wrong. If it runs under another pid it writes
 * the file "ran-elsewhere".
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pattern.h"

#define THREADS 2

static const struct pattern pattern = {"mixed", 77};
static _Atomic long signals, children, wrong_pages, rounds;
static atomic_bool over;
static char *memory;
static size_t bytes;
static long own_pid;
static bool with_wall = true;

static void on_child(int number)
{
	(void)number;
	signals++;
}

/* The first thing that any of it does after having been away. */
static void check_pid(void)
{
	if (syscall(SYS_getpid) == own_pid)
		return;
	close(open("ran-elsewhere", O_CREAT | O_WRONLY, 0600));
	_exit(9);
}

static void *verify(void *argument)
{
	size_t half = bytes / THREADS / PAGE * PAGE;
	size_t first = (size_t)argument * half / PAGE;

	while (!over) {
		for (size_t i = 0; i < half / PAGE && !over; i++) {
			check_pid();
			wrong_pages += !pattern_holds_page(memory, &pattern, first + i);
		}
		rounds++;
	}
	return NULL;
}

static void ask_for_children(void)
{
	siginfo_t info = {0};

	check_pid();
	children += wait4(-1, NULL, WNOHANG, NULL) >= 0 || errno != ECHILD;
	children += waitid(P_ALL, 0, &info, WEXITED | WSTOPPED | WNOHANG | WNOWAIT) == 0 || errno != ECHILD;
	if (with_wall)
		children += wait4(-1, NULL, WNOHANG | __WALL, NULL) >= 0 || errno != ECHILD;
}

int main(int argc, char **argv)
{
	struct pollfd input = {.fd = 0, .events = POLLIN};
	struct sigaction action = {.sa_handler = on_child};
	pthread_t threads[THREADS];

	bytes = argc > 1 ? strtoull(argv[1], NULL, 0) : 0;
	memory = bytes ? map_aligned(bytes) : NULL;
	if (!memory)
		return 2;
	if (argc > 2) {
		prctl(PR_SET_CHILD_SUBREAPER, 1);
		with_wall = false;
	}
	own_pid = syscall(SYS_getpid);
	pattern_fill(memory, bytes, &pattern);
	sigaction(SIGCHLD, &action, NULL);
	for (size_t i = 0; i < THREADS; i++)
		if (pthread_create(&threads[i], NULL, verify, (void *)i))
			return 2;
	printf("ready %lx %lx\n", (unsigned long)memory, (unsigned long)(memory + bytes));
	fflush(stdout);
	while (poll(&input, 1, 1) <= 0)
		ask_for_children();
	over = true;
	for (size_t i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	if (signals || children || wrong_pages)
		printf("wrong: %ld signals, %ld children, %ld pages\n", signals, children, wrong_pages);
	else
		printf("ok %ld\n", rounds);
	return signals || children || wrong_pages;
}
