/*
 * A process that shares the worker's descriptors and does nothing: they outlive the worker until the next one has looked at them. The kernel hands out a child's
 * userfaultfd in the very call that reads its fork; a worker that is killed in the middle of that could tell nobody.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pager/pager.h"

#define NAME        "swapctl-keeper"
#define PATIENCE_MS 10000 /* for a worker that does not come */

static void keep(int worker, int supervisor)
{
	struct pollfd end = {.fd = worker, .events = POLLIN};

	prctl(PR_SET_NAME, NAME);
	mlockall(MCL_CURRENT | MCL_ONFAULT); /* the worker's pages are its pages now */
	while (poll(&end, 1, -1) < 0)
		;
	end.fd = supervisor;
	poll(&end, 1, PATIENCE_MS);
	_exit(0);
}

void keeper_start(struct pager *pager)
{
	int worker = (int)syscall(SYS_pidfd_open, getpid(), 0);
	int supervisor = (int)syscall(SYS_pidfd_open, getppid(), 0);
	pid_t pid = worker < 0 || supervisor < 0 ? -1 : (pid_t)syscall(SYS_clone, CLONE_FILES | SIGCHLD, 0, 0, 0, 0);

	if (pid == 0)
		keep(worker, supervisor);
	index_header(pager->index)->keeper = pid > 0 ? pid : 0;
}

void keeper_stop(struct pager *pager)
{
	pid_t pid = index_header(pager->index)->keeper;

	if (pid <= 0)
		return;
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	index_header(pager->index)->keeper = 0;
}

/* The keeper of the worker before, not whoever has its number by now. Returns a pidfd, or -errno. */
static int find(const struct pager *pager)
{
	pid_t pid = index_header(pager->index)->keeper;
	int pidfd = pid > 0 ? (int)syscall(SYS_pidfd_open, pid, 0) : -1;
	char path[32];
	char name[sizeof(NAME) + 1] = "";
	_cleanup_fclose_ FILE *file = NULL;

	snprintf(path, sizeof(path), "/proc/%d/comm", pid);
	file = pidfd < 0 ? NULL : fopen(path, "re");
	if (file && fgets(name, sizeof(name), file) && strcmp(name, NAME "\n") == 0)
		return pidfd;
	if (pidfd >= 0)
		close(pidfd);
	return -ESRCH;
}

int keeper_take(const struct pager *pager, int number)
{
	_cleanup_close_ int pidfd = find(pager);
	int fd = pidfd < 0 ? -1 : (int)syscall(SYS_pidfd_getfd, pidfd, number, 0);

	return fd < 0 ? -errno : fd;
}

void keeper_end(struct pager *pager)
{
	_cleanup_close_ int pidfd = find(pager);

	if (pidfd >= 0)
		syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0);
	index_header(pager->index)->keeper = 0;
}
