/* SPDX-License-Identifier: MIT */
/* The worker process: fault service, housekeeping, requests. */
#include "worker/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "index/index.h"
#include "pager/dense.h"
#include "pager/keeper.h"
#include "pager/pager.h"
#include "pager/spaces.h"
#include "pager/target_fds.h"
#include "report/report.h"
#include "service/failpoint.h"
#include "service/fdstore.h"
#include "service/pulse.h"
#include "service/service.h"
#include "swapin/behind.h"
#include "swapin/fault.h"
#include "swapin/forks.h"
#include "swapin/guards.h"
#include "swapin/join.h"
#include "swapin/refaults.h"
#include "swapin/room.h"
#include "swapout/mirror.h"
#include "swapout/staging.h"
#include "worker/clients.h"
#include "worker/control.h"
#include "worker/recover.h"
#include "worker/status.h"
#include "worker/supervisor.h"
#include "worker/tracer.h"

#define HOUSEKEEPING_MS  250
#define WATCHER_NS       UINT64_C(3000000000) /* a session made to be watched waits so long for a watcher */
#define WORKER_NICE      (-10)
#define LOCK_MS          200
#define DETACH_AGAIN_US  1000000
#define REPLACE_AGAIN_MS 100

/* It serves page faults: it must not wait for its own pages. */
static void stay_in_memory(bool sealed)
{
	setpriority(PRIO_PROCESS, 0, WORKER_NICE); /* threads inherit it; without CAP_SYS_NICE it stays as it is */
	service_lock_memory();
	/* A core dump would hold what an encrypted store hides. */
	if (sealed)
		prctl(PR_SET_DUMPABLE, 0);
}

static int open_target_files(struct pager *pager)
{
	pager->view.maps_fd = target_proc_open(&pager->target, "maps", O_RDONLY | O_CLOEXEC);
	pager->view.pagemap_fd = target_proc_open(&pager->target, "pagemap", O_RDONLY | O_CLOEXEC);
	if (pager->view.maps_fd < 0)
		return pager->view.maps_fd;
	return pager->view.pagemap_fd < 0 ? pager->view.pagemap_fd : 0;
}

/* The target's, or a child's with something out. `lock` is held. */
static bool any_needed(const struct pager *pager)
{
	for (unsigned int i = 0; i < INDEX_SPACES; i++)
		if (pager->spaces[i].used && !pager->spaces[i].dead && (i == 0 || index_count(pager->index, i)))
			return true;
	return false;
}

/*
 * Closes address spaces that are gone, and children with nothing out; unregisters mappings with nothing out. Ends the
 * session with the last space.
 */
static void keep_house(struct pager *pager)
{
	for (unsigned int i = 0; i < INDEX_SPACES; i++) {
		struct space *space = &pager->spaces[i];
		bool empty;
		bool inspect;

		pthread_mutex_lock(&pager->lock);
		inspect = space->used && !space->dead;
		empty = i > 0 && inspect && !index_count(pager->index, i);
		pthread_mutex_unlock(&pager->lock);
		if (!inspect)
			continue;
		if (space->unwatched)
			space->unwatched = space_watch(pager, space) < 0;
		if (empty) {
			space_release(pager, space);
			continue;
		}
		if (!space_check(pager, space))
			continue;
		if (space->strays) {
			space->strays = false;
			space->strays |= !space_unregister_all(pager);
		}
		if (i == 0 && space->check_soon) {
			space->check_soon = false;
			space_tidy(pager);
		}
	}
	guards_scan(pager);
	behind_wake(pager);
	join_inspect(pager);
	dense_check(pager);
	pthread_mutex_lock(&pager->lock);
	if (!any_needed(pager)) {
		int running = RUNNING;

		atomic_compare_exchange_strong(&pager->ended, &running, ENDED_TARGET_GONE);
	}
	spaces_save(pager);
	pthread_mutex_unlock(&pager->lock);
	if (pthread_mutex_trylock(&pager->job) == 0) {
		target_fds_give_children(pager);
		staging_drain(pager);
		access_check(&pager->access);
		access_reap(&pager->access);
		pthread_mutex_unlock(&pager->job);
	}
}

/*
 * Whether the locks that fault service needs can be had: who holds one for longer holds up those who fault, though
 * nobody does just now.
 */
static bool locks_are_free(struct pager *pager)
{
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += LOCK_MS * 1000000L;
	until.tv_sec += until.tv_nsec / 1000000000L;
	until.tv_nsec %= 1000000000L;
	for (unsigned int i = 0; i < INDEX_SPACES; i++) {
		struct space *space = &pager->spaces[i];

		if (!space->used || space->dead)
			continue;
		if (pthread_rwlock_clockwrlock(&space->events, CLOCK_MONOTONIC, &until) != 0)
			return false;
		pthread_rwlock_unlock(&space->events);
	}
	return true;
}

static int signals_fd(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGCHLD); /* inject waits for it */
	sigprocmask(SIG_BLOCK, &set, NULL);
	sigdelset(&set, SIGCHLD);
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* Asked to end: everything back first, however often that has to be tried. */
static void *detach_main(void *argument)
{
	struct pager *pager = argument;

	while (!atomic_load(&pager->ended)) {
		struct error error = {0};
		uint64_t brought = 0;

		if (control_detach(pager, &brought, &error) < 0)
			usleep(DETACH_AGAIN_US);
	}
	atomic_fetch_sub(&pager->serving.clients, 1);
	return NULL;
}

/* In a thread of its own: requests are answered meanwhile. Returns whether it has begun. */
static bool start_detaching(struct pager *pager)
{
	pthread_t thread;

	atomic_fetch_add(&pager->serving.clients, 1);
	if (pthread_create(&thread, NULL, detach_main, pager) == 0)
		return pthread_detach(thread) == 0;
	atomic_fetch_sub(&pager->serving.clients, 1);
	return false;
}

/* What was made to be watched and is watched no longer. */
static bool is_forsaken(struct pager *pager)
{
	bool watched;

	if (!index_header(pager->index)->session.watched)
		return false;
	pthread_mutex_lock(&pager->lock);
	watched = pager->faults.touched || clock_now_ns() - pager->faults.watch_ended_ns < WATCHER_NS;
	pthread_mutex_unlock(&pager->lock);
	return !watched;
}

static void main_loop(struct pager *pager, int signals)
{
	struct pollfd fds[4 + CLIENTS_WAITING] = {
		{.fd = pager->serving.control, .events = POLLIN},
		{.fd = signals, .events = POLLIN},
		{.fd = pager->target.pidfd, .events = POLLIN},
		{.fd = pager->supervision.socket, .events = 0},
	};
	struct clients clients = {0};
	bool detaching = false;
	struct pulse_thread *self = &pager->supervision.pulse->threads[0];
	uint64_t kept_us = 0;

	pulse_begin(self);
	while (!atomic_load(&pager->ended)) {
		struct signalfd_siginfo info;
		int wait_ms = HOUSEKEEPING_MS;
		unsigned int waiting = clients_poll(&clients, fds + 4, &wait_ms);

		fds[0].fd = clients_listen(&clients, pager);
		if (locks_are_free(pager))
			pulse_next(self);
		/* A poll that fails tells nothing, and leaves what the one before has told. */
		if (poll(fds, 4 + waiting, wait_ms) < 0)
			continue;
		clients_serve(&clients, fds + 4, waiting);
		if (fds[0].revents & POLLIN)
			clients_accept(&clients, pager);
		if (fds[1].revents & POLLIN && read(signals, &info, sizeof(info)) > 0)
			pager->supervision.terminating = true;
		if (!detaching && (pager->supervision.terminating || is_forsaken(pager)))
			detaching = start_detaching(pager);
		if (fds[2].revents) {
			fds[2].fd = -1; /* its address space may live on in children */
			kept_us = 0;
		}
		if (fds[3].revents && supervisor_replace(pager, worker_main) < 0)
			poll(NULL, 0, REPLACE_AGAIN_MS);
		if (now_us() - kept_us < HOUSEKEEPING_MS * UINT64_C(1000))
			continue; /* who asks much costs no more of that */
		keep_house(pager);
		failpoint("house");
		kept_us = now_us();
	}
	pulse_end(self);
	clients_end(&clients);
}

static void emit_ready(struct pager *pager)
{
	if (pager->serving.ready >= 0)
		report_line(pager->serving.ready, status_record(pager));
	cleanup_close(&pager->serving.ready);
	fdstore_send(pager->supervision.socket, &(struct fdstore_message){.op = FDSTORE_READY}, -1);
}

/* It is held for so short that who waits looks again for a while before it sleeps. */
static void make_lock(pthread_mutex_t *lock)
{
	pthread_mutexattr_t adaptive;

	pthread_mutexattr_init(&adaptive);
	pthread_mutexattr_settype(&adaptive, PTHREAD_MUTEX_ADAPTIVE_NP);
	pthread_mutex_init(lock, &adaptive);
	pthread_mutexattr_destroy(&adaptive);
}

static int begin_serving(struct pager *pager)
{
	int rc = open_target_files(pager);

	/*
	 * Later, the target may be gone and its children live on. Another worker may have the room that there is not
	 * now.
	 */
	if (rc < 0 && (!pager->supervision.inherited || rc == -EMFILE || rc == -ENFILE || rc == -ENOMEM))
		return rc;
	pthread_mutex_init(&pager->job, NULL);
	make_lock(&pager->lock);
	space_make(pager, 0);
	room_init(pager);
	rc = mirror_make(pager);
	if (rc == 0)
		rc = refaults_new(&pager->faults.refaults);
	if (rc == 0 && pager->supervision.inherited)
		rc = recover_state(pager, pager->index_fd);
	if (rc < 0)
		return rc;
	pager->faults.latency.buckets = index_header(pager->index)->session.counters.latency.buckets;
	pager->faults.latency.max_ns = &index_header(pager->index)->session.counters.latency.max_ns;
	pager->faults.watch_ended_ns = clock_now_ns();
	index_header(pager->index)->session.counters.workers++;
	rc = keeper_start(pager);
	service_shrink();
	if (rc == 0)
		rc = fault_start(pager);
	if (rc == 0)
		rc = forks_start(pager);
	return rc < 0 ? rc : tracer_start(pager);
}

int worker_main(struct pager *pager)
{
	int signals = signals_fd();
	int rc;

	prctl(PR_SET_NAME, "swapctl-worker");
	stay_in_memory(pager->tiers.seal);
	rc = begin_serving(pager);
	if (rc < 0)
		return 1;
	if (pager->supervision.inherited)
		recover_pages(pager);
	if (pager->supervision.inherited && recover_leave(pager))
		atomic_store(&pager->ended, ENDED_DETACHED);
	emit_ready(pager);
	main_loop(pager, signals);
	tracer_stop(pager);
	forks_stop(pager);
	dense_stop(pager);
	fault_stop(pager);
	while (atomic_load(&pager->serving.clients))
		usleep(1000); /* answers under way */
	keeper_stop(pager);
	if (fdstore_send(pager->supervision.socket, &(struct fdstore_message){.op = FDSTORE_OVER}, -1) < 0)
		pager_remove_files(pager);
	return 0;
}
