/* SPDX-License-Identifier: MIT */
/*
 * Threads that read messages and answer faults, one a processor. A message wakes one of them, the first that has
 * nothing to do.
 */
#include "swapin/fault.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "confine/confine.h"
#include "index/index.h"
#include "pager/children.h"
#include "pager/events.h"
#include "pager/keeper.h"
#include "pager/pager.h"
#include "pager/spaces.h"
#include "service/failpoint.h"
#include "service/pulse.h"
#include "swapin/behind.h"
#include "swapin/fill.h"
#include "swapin/filler.h"
#include "swapin/follow.h"
#include "swapin/join.h"
#include "swapin/room.h"
#include "swapin/touch_ring.h"

#define WAKE_SPACE UINT32_MAX

_Static_assert(PULSE_JOB == 1 + FAULT_THREADS_MAX, "a pulse for each thread");

static void park_fault(struct pager *pager, const struct parked_fault *fault)
{
	pthread_mutex_lock(&pager->lock);
	if (array_reserve(&pager->faults.parked, pager->faults.parked_count, &pager->faults.parked_size) == 0)
		pager->faults.parked[pager->faults.parked_count++] = *fault;
	else /* no memory: it faults again */
		uffd_wake(pager->spaces[fault->space].uffd,
			  (struct region){fault->address, fault->address + page_size()});
	pthread_mutex_unlock(&pager->lock);
}

/* Takes a fault from a message, and notes it for a client that watches the target. */
static struct parked_fault take_fault(struct pager *pager, const struct space *space, const struct uffd_msg *message)
{
	struct parked_fault fault = {
		.space = space->id,
		.address = round_down(message->arg.pagefault.address, page_size()),
		.since_ns = clock_now_ns(),
	};

	if (space->id == 0)
		atomic_store_explicit(&pager->faults.asked_by, (pid_t)message->arg.pagefault.feat.ptid,
				      memory_order_relaxed);
	if (space->id == 0 && index_header(pager->index)->session.watched)
		touch_ring_note(pager, fault.address, message->arg.pagefault.feat.ptid,
				message->arg.pagefault.flags & UFFD_PAGEFAULT_FLAG_WRITE, fault.since_ns);
	return fault;
}

static void park_message(struct pager *pager, const struct uffd_msg *message)
{
	struct parked_fault fault = take_fault(pager, &pager->spaces[0], message);

	park_fault(pager, &fault);
}

static void serve_fault(struct filler *filler, const struct parked_fault *fault, bool asked_now)
{
	struct pager *pager = filler->pager;
	struct space *space = &pager->spaces[fault->space];
	int rc = fill_fault(filler, space, fault->address, asked_now);
	uint64_t waited_ns;

	if (rc == -EAGAIN) {
		park_fault(pager, fault);
		return;
	}
	waited_ns = clock_now_ns() - fault->since_ns;
	pthread_mutex_lock(&pager->lock);
	latency_add(&pager->faults.latency, waited_ns);
	index_header(pager->index)->session.counters.fault_wait_ns += waited_ns;
	pthread_mutex_unlock(&pager->lock);
}

void fault_serve_parked(struct filler *filler)
{
	struct pager *pager = filler->pager;
	struct parked_fault *batch;
	size_t count;

	pthread_mutex_lock(&pager->lock);
	batch = pager->faults.parked;
	count = pager->faults.parked_count;
	pager->faults.parked = NULL;
	pager->faults.parked_size = 0;
	__atomic_store_n(&pager->faults.parked_count, 0, __ATOMIC_RELEASE);
	pthread_mutex_unlock(&pager->lock);
	for (size_t i = 0; i < count; i++) {
		pulse_next(filler->pulse);
		serve_fault(filler, &batch[i], false);
	}
	free(batch);
}

static bool staging_unread(struct pager *pager)
{
	bool unread;

	pthread_mutex_lock(&pager->lock);
	unread = pager->staging.unread;
	pthread_mutex_unlock(&pager->lock);
	return unread;
}

/* With nothing out, there is nothing that a child could get. */
static bool may_fork(struct pager *pager)
{
	bool out;

	pthread_mutex_lock(&pager->lock);
	out = index_count(pager->index, 0) > 0;
	pthread_mutex_unlock(&pager->lock);
	if (index_header(pager->index)->session.events.fork_awaited)
		return true;
	return out && !pager->forks.ask && (staging_unread(pager) || uffd_changing(pager->spaces[0].uffd));
}

/*
 * The target's own thread that forks stands still until its fork is read: what it keeps from its child is looked at
 * before. Should the fork come after it was asked for here, it is looked at afterwards. -EINPROGRESS: it cannot be read
 * yet. -ENOSPC: there is no room for a child.
 */
static int next_message(struct pager *pager, struct space *space, bool *fork)
{
	struct index_header *header = index_header(pager->index);
	int rc;

	if (space->id == 0) {
		bool ask = may_fork(pager);

		header->session.events.unforked_known = false;
		if (ask)
			confine_force(true);
		rc = ask ? keeper_read(pager) : -ENOENT;
		if (rc == 0 && header->session.events.fork_awaited) /* who was to fork has been killed */
			event_forget_fork(pager);
		if (rc > 0 && header->session.events.fork_awaited &&
		    header->spaces[0].pending.message.event != UFFD_EVENT_PAGEFAULT)
			event_put_aside(pager);
		if (rc >= 0 || rc == -EINPROGRESS)
			return rc;
		/*
		 * A child would lose what is in its parent's staging area if that one ended, as it does to become a
		 * daemon.
		 */
		if (rc == -EMFILE && staging_unread(pager))
			return -EINPROGRESS;
		if (rc == -EMFILE || rc == -ESRCH) {
			event_inspect_fork(pager);
			failpoint("fork-looked");
		}
		*fork = header->session.events.fork_awaited;
	}
	if (space->id != 0)
		confine_force(true);
	if (space->id != 0 && index_count(pager->index, space->id) && uffd_changing(space->uffd))
		child_inspect(space);
	/* It may be a fork, of a child, too; faults come before it. */
	if (room_is_full(pager, space) && (*fork || uffd_changing(space->uffd)))
		return -ENOSPC;
	if (!*fork)
		return uffd_read(space->uffd, &header->spaces[space->id].pending.message, 1);
	event_read_fork(pager, park_message);
	return 1;
}

/* It cannot be read yet, as next_message has said. */
static void wait_to_read(struct filler *filler, int rc)
{
	join_begin_wait(filler->pager);
	if (rc == -ENOSPC) {
		confine_force(true);
		room_make(filler);
	} else {
		usleep(RETRY_MS * 1000); /* the mover needs `events` to come to an end, and writers go first */
	}
	join_end_wait(filler->pager);
}

/* Reads one message, if there is one, and deals with it. */
static void read_one(struct filler *filler, struct space *space)
{
	struct pager *pager = filler->pager;
	struct index_pending *pending = &index_header(pager->index)->spaces[space->id].pending;
	struct uffd_msg message = {0};
	struct parked_fault fault;
	bool fork = false;
	int rc;

	pulse_next(filler->pulse);
	space_lock_exclusive(space);
	pending->dropped = 0;
	pending->stored_as = 0;
	if (space->unchecked)
		event_check_absent(pager, space);
	rc = space->dead ? 0 : next_message(pager, space, &fork);
	if (rc > 0) {
		message = pending->message;
		atomic_fetch_add(&pager->faults.joined.read, 1);
	}
	if (message.event && message.event != UFFD_EVENT_PAGEFAULT) {
		confine_force(true);
		event_apply(pager, space, pending);
		event_wake(pager, space, &message);
	}
	if (message.event == UFFD_EVENT_PAGEFAULT)
		child_learn(space, (pid_t)message.arg.pagefault.feat.ptid);
	pending->message.event = 0;
	if (fork)
		event_apply_passed(pager);
	pthread_rwlock_unlock(&space->events);
	if (rc == -EINPROGRESS || rc == -EMFILE || rc == -ENOSPC)
		wait_to_read(filler, rc);
	confine_force(false);
	if (rc <= 0 || message.event != UFFD_EVENT_PAGEFAULT)
		return;
	fault = take_fault(pager, space, &message);
	serve_fault(filler, &fault, true);
}

/* A look without the lock: who parks a fault looks itself before it sleeps. */
static bool anything_parked(const struct pager *pager)
{
	return __atomic_load_n(&pager->faults.parked_count, __ATOMIC_ACQUIRE) > 0;
}

struct fault_thread {
	struct pager *pager;
	unsigned int number;
};

static void fault_loop(struct filler *filler, int epoll)
{
	struct pager *pager = filler->pager;

	while (!atomic_load(&pager->ended)) {
		struct epoll_event events[16];
		int wait_ms = anything_parked(pager) ? RETRY_MS : -1;
		int count;

		pulse_end(filler->pulse);
		count = epoll_wait(epoll, events, ARRAY_SIZE(events), wait_ms);
		pulse_resume(filler->pulse);
		for (int i = 0; i < count; i++)
			if (events[i].data.u32 < INDEX_SPACES)
				read_one(filler, &pager->spaces[events[i].data.u32]);
		if (anything_parked(pager))
			fault_serve_parked(filler);
	}
	pulse_end(filler->pulse);
}

/* A record is not in memory, and is read from a disk, or from further away. */
static void on_read_wait(void *context, bool begins)
{
	if (begins)
		join_begin_wait(context);
	else
		join_end_wait(context);
}

static void *fault_main(void *argument)
{
	struct fault_thread *self = argument;
	struct filler filler;

	if (filler_init(&filler, self->pager) == 0) {
		filler_reserve(&filler);
		filler.epoll = self->pager->faults.epoll[self->number];
		filler.hurries = true;
		store_scratch_on_wait(filler.scratch, on_read_wait, self->pager);
		filler.pulse = &self->pager->supervision.pulse->threads[1 + self->number];
		pulse_begin(filler.pulse);
		confine_force(false);
		fault_loop(&filler, self->pager->faults.epoll[self->number]);
		filler_free(&filler);
	}
	free(self);
	return NULL;
}

static int start_one(struct pager *pager, unsigned int number)
{
	struct fault_thread *self = malloc(sizeof(*self));
	int rc;

	if (!self)
		return -ENOMEM;
	*self = (struct fault_thread){pager, number};
	rc = -pthread_create(&pager->faults.threads[number], NULL, fault_main, self);
	if (rc < 0)
		free(self);
	else
		follow_place(pager, number);
	return rc;
}

int fault_start(struct pager *pager)
{
	unsigned int count;
	struct epoll_event wake = {.events = EPOLLIN, .data.u32 = WAKE_SPACE};

	follow_init(pager, &count);
	pager->faults.wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (pager->faults.wake_fd < 0)
		return -errno;
	for (unsigned int i = 0; i < count; i++) {
		pager->faults.epoll[i] = epoll_create1(EPOLL_CLOEXEC);
		if (pager->faults.epoll[i] < 0 ||
		    epoll_ctl(pager->faults.epoll[i], EPOLL_CTL_ADD, pager->faults.wake_fd, &wake) < 0)
			return -errno;
		pager->faults.count++;
	}
	join_init(pager);
	for (unsigned int i = 0; i < INDEX_SPACES; i++)
		if (pager->spaces[i].used && !pager->spaces[i].dead && space_watch(pager, &pager->spaces[i]) < 0)
			return -errno;
	for (unsigned int i = 0; i < count; i++) {
		int rc = start_one(pager, i);

		if (rc < 0)
			return rc;
	}
	return behind_start(pager);
}

void fault_stop(struct pager *pager)
{
	eventfd_write(pager->faults.wake_fd, 1);
	behind_stop(pager);
	for (unsigned int i = 0; i < pager->faults.count; i++) {
		pthread_join(pager->faults.threads[i], NULL);
		close(pager->faults.epoll[i]);
	}
	pager->faults.count = 0;
	close(pager->faults.wake_fd);
}
