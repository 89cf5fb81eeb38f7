/* SPDX-License-Identifier: MIT */
/* The small process that holds a session's descriptors while workers come and go. */

#include "worker/supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/pidfd.h"
#include "index/index.h"
#include "pager/keeper.h"
#include "pager/pager.h"
#include "pager/spaces.h"
#include "service/fdstore.h"
#include "service/pulse.h"
#include "service/service.h"
#include "service/supervisor.h"
#include "uffd/uffd.h"
#include "worker/attach.h"

#define LINGER_MS      10
#define HEAP_BLOCK_MAX 16384 /* bytes; larger ones are mappings of their own */

struct session_supervisor {
	struct supervisor base;
	struct pager *pager;
	worker_fn *work;
	struct fdstore fdstore;
	bool inherits; /* the next worker continues what another has begun */
	bool over;     /* the worker has said that the session is over */
	int ready;     /* where the first worker that serves says so; -1: it has */
};

static struct session_supervisor *of_session(struct supervisor *base)
{
	return (struct session_supervisor *)base;
}

static void run_worker(struct supervisor *base, int channel)
{
	struct session_supervisor *v = of_session(base);
	struct pager *pager = v->pager;

	pager->supervision.socket = channel;
	pager->supervision.supervisor_pid = getppid();
	pager->serving.ready = v->ready;
	pager->supervision.inherited = v->inherits ? &v->fdstore : NULL;
	_exit(v->work(pager));
}

static void drop_all(struct session_supervisor *v)
{
	struct fdstore_message answer = {.op = FDSTORE_DROPPED};

	fdstore_drop(&v->fdstore, 0);
	close(v->pager->spaces[0].uffd);
	close(v->pager->staging.uffd);
	pager_remove_files(v->pager);
	fdstore_send(v->base.channel, &answer, -1);
}

static bool hear_worker(struct supervisor *base)
{
	struct session_supervisor *v = of_session(base);
	struct fdstore_message message;
	int fd;
	int rc = fdstore_receive(base->channel, &message, &fd);

	if (rc > 0 && message.op == FDSTORE_ADD && fd >= 0) {
		fdstore_add(&v->fdstore, &message, fd);
		return true;
	}
	cleanup_close(&fd);
	if (rc <= 0)
		return rc < 0 && rc != -ECONNRESET;
	if (message.op == FDSTORE_OVER)
		v->over = true;
	if (message.op == FDSTORE_READY) {
		base->served = true;
		cleanup_close(&v->ready);
	}
	if (message.op == FDSTORE_DROP && message.number)
		fdstore_drop(&v->fdstore, message.number);
	else if (message.op == FDSTORE_DROP)
		drop_all(v);
	return true;
}

/* Asked to end: each worker hears of it, those that come later, too. */
static void pass_on(struct supervisor *base, const struct signalfd_siginfo *info)
{
	(void)info;
	of_session(base)->pager->supervision.terminating = true;
	pidfd_signal(base->pidfd, SIGTERM);
}

/* Threads that did not stop in time while the session was made are ours to let go. */
static int let_threads_go(struct supervisor *base)
{
	struct access *access = &of_session(base)->pager->access;

	return access_reap(access) ? LINGER_MS : PULSE_INSPECT_MS;
}

/* Whether something of the session is still to be served. */
static bool is_needed(const struct session_supervisor *v)
{
	const struct pager *pager = v->pager;

	for (size_t i = 0; i < v->fdstore.count; i++)
		if (uffd_alive(v->fdstore.items[i].fd))
			return true;
	return !pager->files.removed && (uffd_alive(pager->spaces[0].uffd) || index_has_fork(pager->index_fd));
}

static int worker_ended(struct supervisor *base)
{
	struct session_supervisor *v = of_session(base);

	v->inherits = true;
	if (!v->over && is_needed(v))
		return 1;
	pager_remove_files(v->pager);
	return v->over ? EXIT_SUCCESS : EXIT_FAILURE;
}

static const struct supervisor_ops session_ops = {
	.work = run_worker,
	.hear = hear_worker,
	.signal = pass_on,
	.tick = let_threads_go,
	.ended = worker_ended,
};

/* Memory is locked, and so cannot be trimmed, only unmapped: one heap for all threads, and nothing large in it. */
static void keep_heap_small(void)
{
	mallopt(M_ARENA_MAX, 1);
	mallopt(M_MMAP_THRESHOLD, HEAP_BLOCK_MAX);
	mallopt(M_TRIM_THRESHOLD, HEAP_BLOCK_MAX);
}

static void begin_supervising(struct session_supervisor *v)
{
	sigset_t set;

	prctl(PR_SET_NAME, "swapctl-super");
	service_shrink();
	service_lock_memory(); /* who waits for the next worker waits for its pages */
	keep_heap_small();
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, NULL);
	v->base.signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

int supervise(struct pager *pager, worker_fn *work, int ready, struct fdstore *adopted)
{
	struct session_supervisor v = {.base.ops = &session_ops,
				       .pager = pager,
				       .work = work,
				       .fdstore = adopted ? *adopted : (struct fdstore){0},
				       .inherits = adopted != NULL,
				       .ready = ready};
	int rc;

	begin_supervising(&v);
	v.base.pulse = pager->supervision.pulse = pulse_new();
	rc = v.base.pulse ? supervisor_run(&v.base) : -ENOMEM;
	if (rc < 0 && !adopted) /* nothing is out yet */
		attach_leave(pager);
	return rc;
}

/* What every process of a session needs open is left; a client's connection, most of all, must not be. */
static void close_others(const struct session_supervisor *v)
{
	const struct pager *pager = v->pager;
	const int own[] = {0,
			   1,
			   2,
			   pager->files.sessions,
			   pager->files.directory,
			   pager->index_fd,
			   pager->tiers.store_fd,
			   pager->tiers.key_fd,
			   pager->tiers.pool_fd,
			   pager->serving.control,
			   pager->staging.uffd,
			   pager->spaces[0].uffd,
			   pager->target.pidfd,
			   v->base.pidfd,
			   v->base.channel};
	int *fds = calloc(ARRAY_SIZE(own) + ACCESS_DESCRIPTORS + v->fdstore.count, sizeof(*fds));
	size_t count = ARRAY_SIZE(own);

	if (!fds)
		_exit(EXIT_FAILURE);
	memcpy(fds, own, sizeof(own));
	count += access_fds(&pager->access, fds + count);
	for (size_t i = 0; i < v->fdstore.count; i++)
		fds[count++] = v->fdstore.items[i].fd;
	fd_close_others(fds, count);
	free(fds);
}

/* A copy of the worker's copy of the session, with nothing in it of what the worker is doing. */
static void inherit_session(struct session_supervisor *v, const struct pager *old)
{
	struct pager *pager = v->pager;

	pager_init(pager, &old->target, old->cluster_pages);
	pager->files = old->files;
	pager->index_fd = old->index_fd;
	pager->tiers.store_fd = old->tiers.store_fd;
	pager->tiers.key_fd = old->tiers.key_fd;
	pager->tiers.seal = old->tiers.seal;
	pager->supervision.pulse = old->supervision.pulse;
	pager->supervision.terminating = old->supervision.terminating;
	pager->tiers.pool_fd = old->tiers.pool_fd;
	pager->serving.control = old->serving.control;
	pager->staging.uffd = old->staging.uffd;
	pager->staging.region = old->staging.region;
	pager->access = old->access;
	pager->forks.ask = old->forks.ask;
	pager->spaces[0].uffd = old->spaces[0].uffd;
	pager->spaces[0].used = true;
	v->fdstore = old->supervision.held;
	for (unsigned int i = 1; i < INDEX_SPACES; i++)
		if (old->spaces[i].used && old->spaces[i].stored_as)
			fdstore_add(&v->fdstore, &(struct fdstore_message){.number = old->spaces[i].stored_as},
				    old->spaces[i].uffd);
}

static void become_supervisor(const struct pager *pager, worker_fn *work, const struct supervisor *base)
{
	struct session_supervisor v = {
		.base = *base, .pager = calloc(1, sizeof(struct pager)), .work = work, .ready = -1};

	if (!v.pager)
		_exit(EXIT_FAILURE);
	inherit_session(&v, pager);
	close_others(&v);
	begin_supervising(&v);
	_exit(supervisor_go_on(&v.base));
}

/* What the old one held and the new one may not have: descriptors that came at the moment of the change. */
static void hand_over(struct pager *pager)
{
	pthread_mutex_lock(&pager->lock);
	for (unsigned int i = 1; i < INDEX_SPACES; i++)
		if (pager->spaces[i].used && pager->spaces[i].stored_as)
			pager->spaces[i].unsaved = true;
	pager->supervision.held_unsaved = true;
	spaces_save(pager);
	pthread_mutex_unlock(&pager->lock);
}

/* While no fork is being read, whose descriptor only the keeper would have. */
static pid_t fork_supervisor(struct pager *pager, worker_fn *work, const struct supervisor *self)
{
	pid_t child;

	pthread_rwlock_wrlock(&pager->spaces[0].events);
	pthread_mutex_lock(&pager->lock); /* what there is of children is whole */
	child = fork();
	if (child == 0)
		become_supervisor(pager, work, self);
	pthread_mutex_unlock(&pager->lock);
	if (child > 0) {
		pager->supervision.supervisor_pid = child;
		keeper_follow(pager);
	}
	pthread_rwlock_unlock(&pager->spaces[0].events);
	return child;
}

int supervisor_replace(struct pager *pager, worker_fn *work)
{
	struct supervisor self = {.ops = &session_ops,
				  .pulse = pager->supervision.pulse,
				  .served = true,
				  .worker = getpid(),
				  .pidfd = pidfd_of(getpid())};
	int pair[2];
	pid_t child;

	waitpid(pager->supervision.supervisor_pid, NULL, WNOHANG); /* if it was one that we made */
	if (self.pidfd < 0)
		return self.pidfd;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) {
		int rc = -errno;

		close(self.pidfd);
		return rc;
	}
	self.channel = pair[0];
	child = fork_supervisor(pager, work, &self);
	close(self.pidfd);
	close(pair[0]);
	if (child > 0) {
		/*
		 * In place: another thread may be waiting for an answer of the old one, and is told that there is none.
		 */
		dup3(pair[1], pager->supervision.socket, O_CLOEXEC);
		hand_over(pager);
	}
	close(pair[1]);
	return child < 0 ? -EAGAIN : 0;
}
