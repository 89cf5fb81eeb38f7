/* SPDX-License-Identifier: MIT */
#include "service/supervisor.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/pidfd.h"
#include "base/size.h"

#define RESTART_MS     10
#define RESTART_MAX_MS 5000
#define DOUBLED_MAX    16 /* times that the pause before the next worker is */
#define UNSERVED_MAX   5  /* workers that end before anything is served: then it is given up */

/* A worker that serves nothing any more makes room for another one. */
static void inspect_worker(struct supervisor *s)
{
	if (s->hung || !pulse_inspect(s->pulse, &s->watch, s->worker))
		return;
	s->hung = true;
	pidfd_signal(s->pidfd, SIGKILL);
}

static void take_signals(struct supervisor *s)
{
	struct signalfd_siginfo info;

	while (read(s->signals, &info, sizeof(info)) == sizeof(info))
		s->ops->signal(s, &info);
}

static int tick_service(struct supervisor *s)
{
	return s->ops->tick ? s->ops->tick(s) : PULSE_INSPECT_MS;
}

/* Holds on until the worker has ended and all that it said is heard. */
static void await_worker_end(struct supervisor *s)
{
	struct pollfd fds[] = {{.fd = s->channel, .events = POLLIN},
			       {.fd = s->pidfd, .events = POLLIN},
			       {.fd = s->signals, .events = POLLIN}};

	for (;;) {
		if (poll(fds, ARRAY_SIZE(fds), tick_service(s)) < 0)
			continue;
		inspect_worker(s);
		if (fds[2].revents & POLLIN)
			take_signals(s);
		if (fds[0].revents && !s->ops->hear(s))
			fds[0].fd = -1;
		else if (!fds[0].revents && fds[1].revents)
			break;
	}
	/* What it said between the two looks: a descriptor may be the only one that a child has left. */
	while (fds[0].fd >= 0 && poll(fds, 1, 0) > 0)
		if (!s->ops->hear(s))
			fds[0].fd = -1;
}

static void bury_worker(struct supervisor *s)
{
	int status = SIGKILL; /* of one that is not our child, nothing is known */

	waitpid(s->worker, &status, 0);
	cleanup_close(&s->pidfd);
	if (!s->ops->shares_descriptors)
		cleanup_close(&s->channel);
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
		s->failures = 0;
	else if (status) /* one whose service is over exits with 0 */
		poll(NULL, 0, (int)min_u64(RESTART_MS << s->failures++, RESTART_MAX_MS));
	s->failures = (unsigned int)min_u64(s->failures, DOUBLED_MAX);
}

/* In the new process, and after that in the supervisor that may come of it. */
static void run_worker(struct supervisor *s, const int pair[2])
{
	if (!s->ops->shares_descriptors) {
		close(pair[0]);
		close(s->signals);
	}
	s->ops->work(s, pair[1]);
}

static int watch_worker(struct supervisor *s, pid_t pid, int channel)
{
	s->worker = pid;
	s->channel = channel;
	s->pidfd = pidfd_of(pid);
	if (s->pidfd >= 0)
		return 0;
	kill(pid, SIGKILL); /* its end would not be noticed */
	waitpid(pid, NULL, 0);
	return s->pidfd;
}

static int start_worker(struct supervisor *s)
{
	bool shares = s->ops->shares_descriptors;
	int pair[2] = {s->channel, s->channel};
	pid_t pid;
	int rc;

	if (!shares && socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	pulse_renew(s->pulse, &s->watch, s->hung);
	s->hung = false;
	pid = shares ? (pid_t)syscall(SYS_clone, CLONE_FILES | SIGCHLD, 0, 0, 0, 0) : fork();
	if (pid == 0) {
		run_worker(s, pair);
		return 0;
	}
	rc = pid < 0 ? -errno : watch_worker(s, pid, pair[0]);
	if (!shares)
		close(pair[1]);
	if (!shares && rc < 0)
		close(pair[0]);
	return rc;
}

/* Threads of the target may be waiting for it. */
static void start_next_worker(struct supervisor *s)
{
	for (unsigned int tries = 0; start_worker(s) < 0; tries += tries < DOUBLED_MAX)
		poll(NULL, 0, (int)min_u64(RESTART_MS << tries, RESTART_MAX_MS));
}

int supervisor_go_on(struct supervisor *s)
{
	for (;;) {
		int rc;

		await_worker_end(s);
		bury_worker(s);
		rc = s->ops->ended(s);
		if (rc != 1)
			return rc;
		if (!s->served && ++s->unserved == UNSERVED_MAX)
			return -ECHILD;
		start_next_worker(s);
	}
}

int supervisor_run(struct supervisor *s)
{
	int rc = start_worker(s);

	return rc < 0 ? rc : supervisor_go_on(s);
}
