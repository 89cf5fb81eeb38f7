/* SPDX-License-Identifier: MIT */
/* The small process that holds a session's descriptors while workers come and go. */

#include "worker/supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "base/pidfd.h"
#include "index/index.h"
#include "pager/keeper.h"
#include "pager/pager.h"
#include "pager/spaces.h"
#include "service/fdstore.h"
#include "service/pulse.h"
#include "service/service.h"
#include "uffd/uffd.h"
#include "worker/attach.h"

#define RESTART_MS     10
#define RESTART_MAX_MS 5000
#define LINGER_MS      10
#define HEAP_BLOCK_MAX 16384 /* bytes; larger ones are mappings of their own */
#define READY_TRIES    5     /* workers that end before the session is served: then it is given up */

/* The worker that is watched; a child of the supervisor, or the one that made it. */
struct worker {
	pid_t pid;
	int pidfd;
	int socket;
	bool over; /* it has said that the session is over */
};

struct supervisor {
	struct pager *pager;
	worker_fn *work;
	struct fdstore fdstore;
	struct worker worker;
	int signals;
	int ready;            /* where the first worker that serves says so; -1: it has */
	unsigned int unready; /* workers that ended before */
	bool terminating;     /* asked to end: each worker hears of it */
	unsigned int failures;
	struct pulse_watch pulse;
	bool hung; /* the worker was, and has been killed for it */
};

static void store_fd(struct fdstore *fdstore, const struct fdstore_message *message, int fd)
{
	for (size_t i = 0; i < fdstore->count; i++) {
		if (fdstore->items[i].number != message->number)
			continue;
		close(fdstore->items[i].fd);
		fdstore->items[i].fd = fd;
		return;
	}
	/* The child would read zeros if it was closed. Better late than that. */
	while (array_reserve(&fdstore->items, fdstore->count, &fdstore->size) < 0)
		usleep(BACK_OFF_US);
	fdstore->items[fdstore->count++] = (struct fdstore_item){message->number, message->parent, fd};
}

static void drop_fd(struct fdstore *fdstore, uint64_t number)
{
	for (size_t i = 0; i < fdstore->count;) {
		if (number && fdstore->items[i].number != number) {
			i++;
			continue;
		}
		close(fdstore->items[i].fd);
		fdstore->items[i] = fdstore->items[--fdstore->count];
	}
}

static void drop_all(struct supervisor *v)
{
	struct fdstore_message answer = {.op = FDSTORE_DROPPED};

	drop_fd(&v->fdstore, 0);
	close(v->pager->spaces[0].uffd);
	close(v->pager->staging.uffd);
	pager_remove_files(v->pager);
	fdstore_send(v->worker.socket, &answer, -1);
}

/* Returns false when the worker has closed its end. */
static bool take_message(struct supervisor *v)
{
	struct fdstore_message message;
	int fd;
	int rc = fdstore_receive(v->worker.socket, &message, &fd);

	if (rc > 0 && message.op == FDSTORE_ADD && fd >= 0) {
		store_fd(&v->fdstore, &message, fd);
		return true;
	}
	cleanup_close(&fd);
	if (rc <= 0)
		return rc < 0 && rc != -ECONNRESET;
	if (message.op == FDSTORE_OVER)
		v->worker.over = true;
	if (message.op == FDSTORE_READY && v->ready >= 0)
		close(steal_fd(&v->ready));
	if (message.op == FDSTORE_DROP && message.number)
		drop_fd(&v->fdstore, message.number);
	else if (message.op == FDSTORE_DROP)
		drop_all(v);
	return true;
}

static void pass_on(const struct supervisor *v)
{
	if (v->terminating)
		pidfd_signal(v->worker.pidfd, SIGTERM);
}

static void take_signal(struct supervisor *v)
{
	struct signalfd_siginfo info;

	if (read(v->signals, &info, sizeof(info)) <= 0)
		return;
	v->terminating = true;
	pass_on(v);
}

/*
 * Threads that did not stop in time while the session was made are ours to let go. Returns for how long to wait before
 * the next inspection, in milliseconds, PULSE_INSPECT_MS at most.
 */
static int let_threads_go(struct supervisor *v)
{
	struct access *access = &v->pager->access;

	return access->ops && access->ops->calls.reap(access) ? LINGER_MS : PULSE_INSPECT_MS;
}

/* A worker that serves nothing any more makes room for another one. */
static void inspect_worker(struct supervisor *v)
{
	if (v->hung || !pulse_inspect(v->pager->supervision.pulse, &v->pulse, v->worker.pid))
		return;
	v->hung = true;
	pidfd_signal(v->worker.pidfd, SIGKILL);
}

/* Holds on until the worker has ended and all that it said is heard. */
static void await_worker_end(struct supervisor *v)
{
	struct pollfd fds[] = {{.fd = v->worker.socket, .events = POLLIN},
			       {.fd = v->worker.pidfd, .events = POLLIN},
			       {.fd = v->signals, .events = POLLIN}};

	for (;;) {
		if (poll(fds, ARRAY_SIZE(fds), let_threads_go(v)) < 0)
			continue;
		inspect_worker(v);
		if (fds[2].revents & POLLIN)
			take_signal(v);
		if (fds[0].revents && !take_message(v))
			fds[0].fd = -1;
		else if (!fds[0].revents && fds[1].revents)
			break;
	}
	/* What it said between the two looks: a descriptor may be the only one that a child has left. */
	for (fds[0].events = POLLIN; fds[0].fd >= 0 && poll(fds, 1, 0) > 0;)
		if (!take_message(v))
			fds[0].fd = -1;
}

/*
 * The worker is gone. A worker that ended by itself, or crashed, would do so again: the next one is given a little more
 * time each time.
 */
static void bury_worker(struct supervisor *v)
{
	int status = SIGKILL; /* of one that is not our child, nothing is known */

	waitpid(v->worker.pid, &status, 0);
	close(v->worker.socket);
	close(v->worker.pidfd);
	if (v->worker.over)
		return;
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
		v->failures = 0;
	else
		poll(NULL, 0, (int)min_u64(RESTART_MS << v->failures++, RESTART_MAX_MS));
	v->failures = v->failures > 16 ? 16 : v->failures;
}

/* Starts a worker; with `takes_over` one that continues what another has begun. Returns 0 or -errno. */
static int start_worker(struct supervisor *v, bool takes_over)
{
	struct pager *pager = v->pager;
	int pair[2];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	pulse_renew(pager->supervision.pulse, &v->pulse, v->hung);
	v->hung = false;
	pid = fork();
	if (pid == 0) {
		close(pair[0]);
		close(v->signals);
		pager->supervision.socket = pair[1];
		pager->supervision.supervisor_pid = getppid();
		pager->serving.ready = v->ready;
		pager->supervision.inherited = takes_over ? &v->fdstore : NULL;
		_exit(v->work(pager));
	}
	close(pair[1]);
	if (pid < 0) {
		close(pair[0]);
		return -errno;
	}
	v->worker = (struct worker){.pid = pid, .socket = pair[0], .pidfd = pidfd_of(pid)};
	if (v->worker.pidfd < 0) { /* its end would not be noticed */
		int rc = v->worker.pidfd;

		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		close(pair[0]);
		v->worker = (struct worker){0};
		return rc;
	}
	pass_on(v);
	return 0;
}

/* Threads of the target may be waiting for it. */
static void start_next_worker(struct supervisor *v)
{
	for (unsigned int tries = 0; start_worker(v, true) < 0; tries += tries < 16)
		poll(NULL, 0, (int)min_u64(RESTART_MS << tries, RESTART_MAX_MS));
}

/* Whether something of the session is still to be served. */
static bool is_needed(const struct supervisor *v)
{
	const struct pager *pager = v->pager;

	for (size_t i = 0; i < v->fdstore.count; i++)
		if (uffd_alive(v->fdstore.items[i].fd))
			return true;
	return !pager->files.removed && (uffd_alive(pager->spaces[0].uffd) || index_has_fork(pager->index_fd));
}

/* A session that nobody has been told of yet. */
static bool given_up(struct supervisor *v)
{
	return v->ready >= 0 && ++v->unready == READY_TRIES;
}

/*
 * From a worker at work to the end of the session. Returns the exit status, or -ECHILD when no worker comes to serve.
 */
static int run_workers(struct supervisor *v)
{
	for (;;) {
		await_worker_end(v);
		bury_worker(v);
		if (v->worker.over || !is_needed(v))
			break;
		if (given_up(v))
			return -ECHILD;
		start_next_worker(v);
	}
	pager_remove_files(v->pager);
	return v->worker.over ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* Memory is locked, and so cannot be trimmed, only unmapped: one heap for all threads, and nothing large in it. */
static void keep_heap_small(void)
{
	mallopt(M_ARENA_MAX, 1);
	mallopt(M_MMAP_THRESHOLD, HEAP_BLOCK_MAX);
	mallopt(M_TRIM_THRESHOLD, HEAP_BLOCK_MAX);
}

static void begin_supervising(struct supervisor *v)
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
	v->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

int supervise(struct pager *pager, worker_fn *work, int ready, struct fdstore *adopted)
{
	struct supervisor v = {
		.pager = pager, .work = work, .fdstore = adopted ? *adopted : (struct fdstore){0}, .ready = ready};
	int rc;

	begin_supervising(&v);
	pager->supervision.pulse = pulse_new();
	rc = pager->supervision.pulse ? start_worker(&v, adopted != NULL) : -ENOMEM;
	if (rc == 0)
		rc = run_workers(&v);
	if (rc < 0 && !adopted) /* nothing is out yet */
		attach_leave(pager);
	return rc;
}

/* What every process of a session needs open; a client's connection, most of all, must not be. Returns how many. */
static unsigned int list_durable_fds(const struct supervisor *v, int fds[], unsigned int size)
{
	const struct pager *pager = v->pager;
	const int all[] = {0,
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
			   v->worker.pidfd,
			   v->worker.socket};
	unsigned int count = pager->access.ops ? pager->access.ops->fds.list(&pager->access, fds) : 0;

	for (unsigned int i = 0; i < ARRAY_SIZE(all); i++)
		if (all[i] >= 0)
			fds[count++] = all[i];
	for (size_t i = 0; i < v->fdstore.count && count < size; i++)
		fds[count++] = v->fdstore.items[i].fd;
	return count;
}

static int compare_fds(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

static void close_others(const struct supervisor *v)
{
	int fds[INDEX_SPACES + 32];
	unsigned int count = list_durable_fds(v, fds, ARRAY_SIZE(fds));
	int next = 0;

	qsort(fds, count, sizeof(*fds), compare_fds);
	for (unsigned int i = 0; i < count; i++) {
		if (fds[i] > next)
			close_range((unsigned int)next, (unsigned int)fds[i] - 1, 0);
		next = fds[i] + 1;
	}
	close_range((unsigned int)next, ~0U, 0);
}

/* A copy of the worker's copy of the session, with nothing in it of what the worker is doing. */
static void inherit_session(struct supervisor *v, const struct pager *old)
{
	struct pager *pager = v->pager;

	pager_init(pager, &old->target, old->cluster_pages);
	pager->files = old->files;
	pager->index_fd = old->index_fd;
	pager->tiers.store_fd = old->tiers.store_fd;
	pager->tiers.key_fd = old->tiers.key_fd;
	pager->tiers.seal = old->tiers.seal;
	pager->supervision.pulse = old->supervision.pulse;
	pager->tiers.pool_fd = old->tiers.pool_fd;
	pager->serving.control = old->serving.control;
	pager->staging.uffd = old->staging.uffd;
	pager->staging.region = old->staging.region;
	pager->access = old->access;
	pager->forks.ask = old->forks.ask;
	pager->spaces[0].uffd = old->spaces[0].uffd;
	pager->spaces[0].used = true;
	for (unsigned int i = 1; i < INDEX_SPACES; i++)
		if (old->spaces[i].used && old->spaces[i].stored_as)
			store_fd(&v->fdstore, &(struct fdstore_message){.number = old->spaces[i].stored_as},
				 old->spaces[i].uffd);
}

static void become_supervisor(const struct pager *pager, worker_fn *work, const struct worker *worker)
{
	struct supervisor v = {.pager = calloc(1, sizeof(struct pager)), .work = work, .worker = *worker, .ready = -1};

	if (!v.pager)
		_exit(EXIT_FAILURE);
	inherit_session(&v, pager);
	close_others(&v);
	begin_supervising(&v);
	_exit(run_workers(&v));
}

/* What the old one held and the new one may not have: descriptors that came at the moment of the change. */
static void hand_over(struct pager *pager)
{
	pthread_mutex_lock(&pager->lock);
	for (unsigned int i = 1; i < INDEX_SPACES; i++)
		if (pager->spaces[i].used && pager->spaces[i].stored_as)
			pager->spaces[i].unsaved = true;
	spaces_save(pager);
	pthread_mutex_unlock(&pager->lock);
}

/* While no fork is being read, whose descriptor only the keeper would have. */
static pid_t fork_supervisor(struct pager *pager, worker_fn *work, const struct worker *self)
{
	pid_t child;

	pthread_rwlock_wrlock(&pager->spaces[0].events);
	child = fork();
	if (child == 0)
		become_supervisor(pager, work, self);
	if (child > 0) {
		pager->supervision.supervisor_pid = child;
		keeper_follow(pager);
	}
	pthread_rwlock_unlock(&pager->spaces[0].events);
	return child;
}

int supervisor_replace(struct pager *pager, worker_fn *work)
{
	struct worker self = {.pid = getpid(), .pidfd = pidfd_of(getpid())};
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
	self.socket = pair[0];
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
