/* SPDX-License-Identifier: MIT */
/*
 * A process that shares the worker's descriptors: they outlive the worker until the next one has looked at them. The
 * kernel hands out a child's userfaultfd in the very call that reads its fork; a worker that is killed in the middle of
 * that could tell nobody.
 *
 * It may open none itself. So a fork cannot be read here, and stays unread (EMFILE; fs/userfaultfd.c,
 * userfaultfd_ctx_read), while any other message can: the only way to know of a fork before it is read, and its thread
 * goes on.
 */
#include "pager/keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/pidfd.h"
#include "index/index.h"
#include "pager/pager.h"
#include "proc/stat.h"
#include "service/failpoint.h"

#define PATIENCE_MS   10000 /* for a worker that does not come */
#define ANSWER_MS     5000  /* for a keeper to read one message */
#define DESCRIPTORS   2     /* poll(2) wants so many allowed; those below, of every process of a session, are open */
#define QUIESCE_US    100
#define FIND_TRIES    10000 /* at a keeper of which it cannot be told whether it is gone, QUIESCE_US apart */
#define QUIESCE_TRIES 5

static bool change_state(struct pager *pager, uint32_t from, uint32_t to)
{
	return __atomic_compare_exchange_n(&index_header(pager->index)->session.keeper.read_state, &from, to, false,
					   __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}

static bool is_idle(struct pager *pager)
{
	return __atomic_load_n(&index_header(pager->index)->session.keeper.read_state, __ATOMIC_SEQ_CST) == READ_IDLE;
}

static void answer_request(struct pager *pager)
{
	struct index_header *header = index_header(pager->index);
	eventfd_t count;

	eventfd_read(pager->supervision.keeper.ask, &count);
	failpoint("keeper-asked");
	if (!change_state(pager, READ_ASKED, READ_TAKEN))
		return;
	failpoint("keeper-taken");
	header->session.keeper.read_result = uffd_read(pager->spaces[0].uffd, &header->spaces[0].pending.message, 1);
	if (header->session.keeper.read_result == -EMFILE)
		header->session.events.fork_awaited = true;
	failpoint("keeper-read");
	change_state(pager, READ_TAKEN, READ_IDLE);
	eventfd_write(pager->supervision.keeper.answer, 1);
}

/* Nothing here takes a lock: other threads of the worker may have held some when it was copied. */
static void run_keeper(struct pager *pager)
{
	struct pollfd fds[] = {{.fd = pager->supervision.keeper.ends[0], .events = POLLIN},
			       {.fd = pager->supervision.keeper.ask, .events = POLLIN}};
	struct rlimit limit;

	prctl(PR_SET_NAME, "swapctl-keeper");
	mlockall(MCL_CURRENT | MCL_ONFAULT); /* the worker's pages are its pages now */
	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = DESCRIPTORS;
	setrlimit(RLIMIT_NOFILE, &limit);
	confine_no_capabilities();
	confine_filter_put_on(&pager->supervision.keeper.filter);
	while (!fds[0].revents)
		if (poll(fds, ARRAY_SIZE(fds), -1) > 0 && fds[1].revents)
			answer_request(pager);
	fds[0].fd = pager->supervision.keeper.ends[1];
	poll(fds, 1, PATIENCE_MS);
	_exit(0);
}

static void start_keeper(struct pager *pager)
{
	struct index_header *header = index_header(pager->index);
	struct proc_stat stat;
	pid_t pid = -1;

	pager->supervision.keeper.ends[1] = pidfd_of(pager->supervision.supervisor_pid);
	if (pager->supervision.keeper.ends[1] >= 0)
		pid = (pid_t)syscall(SYS_clone, CLONE_FILES | SIGCHLD, 0, 0, 0, 0);
	if (pid == 0)
		run_keeper(pager);
	pager->supervision.keeper.pidfd = pid > 0 ? pidfd_of(pid) : -1;
	header->session.keeper.pid = 0;
	if (pager->supervision.keeper.pidfd >= 0 && proc_stat_read(pid, &stat) == 0) {
		header->session.keeper.starttime = stat.starttime;
		header->session.keeper.pid = pid;
		return;
	}
	if (pid > 0) { /* nobody would find it */
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
	}
	cleanup_close(&pager->supervision.keeper.pidfd);
	cleanup_close(&pager->supervision.keeper.ends[1]);
}

int keeper_start(struct pager *pager)
{
	pager->supervision.keeper.ask = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	pager->supervision.keeper.answer = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	pager->supervision.keeper.ends[0] = pidfd_of(getpid());
	if (pager->supervision.keeper.ends[0] < 0)
		return pager->supervision.keeper.ends[0];
	if (pager->supervision.keeper.ask < 0 || pager->supervision.keeper.answer < 0)
		return -errno;
	start_keeper(pager);
	return 0;
}

void keeper_stop(struct pager *pager)
{
	pid_t pid = index_header(pager->index)->session.keeper.pid;

	if (pid <= 0)
		return;
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	index_header(pager->index)->session.keeper.pid = 0;
}

/* In place: it has the same descriptors. */
void keeper_follow(struct pager *pager)
{
	_cleanup_close_ int pidfd = pidfd_of(pager->supervision.supervisor_pid);

	if (pidfd >= 0 && pager->supervision.keeper.pidfd >= 0)
		dup3(pidfd, pager->supervision.keeper.ends[1], O_CLOEXEC);
}

/* It was killed: another one is made. What it had read by then is where it was to be. */
static int replace_keeper(struct pager *pager)
{
	struct index_header *header = index_header(pager->index);

	waitpid(header->session.keeper.pid, NULL, WNOHANG);
	header->session.keeper.read_state = READ_IDLE;
	close(pager->supervision.keeper.pidfd);
	close(pager->supervision.keeper.ends[1]);
	start_keeper(pager);
	return header->spaces[0].pending.message.event ? 1 : -EINPROGRESS;
}

int keeper_read(struct pager *pager)
{
	struct index_header *header = index_header(pager->index);
	struct pollfd fds[] = {{.fd = pager->supervision.keeper.answer, .events = POLLIN}, {.events = POLLIN}};
	eventfd_t count;

	if (pager->supervision.keeper.pidfd < 0)
		start_keeper(pager);
	if (pager->supervision.keeper.pidfd < 0)
		return -ESRCH;
	fds[1].fd = pager->supervision.keeper.pidfd;
	__atomic_store_n(&header->session.keeper.read_state, READ_ASKED, __ATOMIC_SEQ_CST);
	eventfd_write(pager->supervision.keeper.ask, 1);
	while (!is_idle(pager)) {
		/* It was stopped: the one that takes its place finds what it has read, as after any other death. */
		if (poll(fds, ARRAY_SIZE(fds), ANSWER_MS) == 0)
			pidfd_signal(pager->supervision.keeper.pidfd, SIGKILL);
		else if (fds[0].revents)
			eventfd_read(pager->supervision.keeper.answer, &count);
		else if (fds[1].revents)
			return replace_keeper(pager);
	}
	return header->session.keeper.read_result;
}

/* One try to find the keeper of the worker before, not a process that has its number now. Returns as find_keeper. */
static int find_keeper_once(const struct index_header *header)
{
	_cleanup_close_ int pidfd = pidfd_of(header->session.keeper.pid);
	struct proc_stat stat;
	int rc;

	if (pidfd < 0) /* a thread may have the number */
		return pidfd == -EINVAL || pidfd == -ENOENT ? -ESRCH : pidfd;
	rc = proc_stat_read(header->session.keeper.pid, &stat);
	if (rc < 0)
		return rc;
	return stat.starttime == header->session.keeper.starttime ? steal_fd(&pidfd) : -ESRCH;
}

/* Returns a pidfd, -ESRCH when it is gone, or another -errno: that cannot be told, and was tried for long. */
static int find_keeper(const struct pager *pager)
{
	const struct index_header *header = index_header(pager->index);
	int rc = header->session.keeper.pid > 0 ? find_keeper_once(header) : -ESRCH;

	for (int tries = 0; rc < 0 && rc != -ESRCH && tries < FIND_TRIES; tries++) {
		usleep(QUIESCE_US);
		rc = find_keeper_once(header);
	}
	return rc;
}

void keeper_quiesce(struct pager *pager)
{
	unsigned int unknown = 0;

	change_state(pager, READ_ASKED, READ_IDLE);
	while (!is_idle(pager) && unknown < QUIESCE_TRIES) {
		_cleanup_close_ int pidfd = find_keeper(pager);

		if (pidfd == -ESRCH || pidfd_ends(pidfd, 0))
			break;
		unknown += pidfd < 0;
		usleep(QUIESCE_US);
	}
	index_header(pager->index)->session.keeper.read_state = READ_IDLE;
}

int keeper_take(const struct pager *pager, int number)
{
	_cleanup_close_ int pidfd = find_keeper(pager);

	return pidfd < 0 ? pidfd : pidfd_take(pidfd, number);
}

void keeper_end(struct pager *pager)
{
	_cleanup_close_ int pidfd = find_keeper(pager);

	if (pidfd >= 0)
		pidfd_signal(pidfd, SIGKILL);
	index_header(pager->index)->session.keeper.pid = 0;
}
