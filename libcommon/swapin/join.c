/* SPDX-License-Identifier: MIT */
/*
 * A message wakes the first thread that waits for one. While that is at work the next message would wake another one on
 * a processor that sleeps, which takes longer than to wait for the first: with two processors and 16-page clusters one
 * thread answers faults in two thirds of the time that two take, and single pages in half of it (bench/RESULTS.md). So
 * half of the threads hear of messages, and the others join when these wait for something else.
 */
#include "swapin/join.h"

#include <poll.h>
#include <sys/epoll.h>

#include "base/clock.h"
#include "pager/spaces.h"

#define NEEDLESS_NS 2000000000

void join_init(struct pager *pager)
{
	atomic_store(&pager->faults.joined.count, pager->faults.count > 1 ? pager->faults.count / 2 : 1);
}

/* `lock` held. */
static void join_one(struct pager *pager)
{
	unsigned int number = atomic_load(&pager->faults.joined.count);

	if (number == pager->faults.count)
		return;
	atomic_store(&pager->faults.joined.count, number + 1);
	for (unsigned int i = 0; i < INDEX_SPACES; i++)
		if (pager->spaces[i].used && !pager->spaces[i].dead && space_watch(pager, &pager->spaces[i]) < 0)
			pager->spaces[i].unwatched = true; /* tried again */
}

void join_begin_wait(struct pager *pager)
{
	struct joined *joined = &pager->faults.joined;
	unsigned int waiting = atomic_fetch_add(&joined->waiting, 1) + 1;

	if (waiting < atomic_load(&joined->count))
		return;
	atomic_store(&joined->needed_ns, clock_now_ns());
	if (atomic_load(&joined->count) == pager->faults.count)
		return;
	pthread_mutex_lock(&pager->lock);
	join_one(pager);
	pthread_mutex_unlock(&pager->lock);
}

void join_end_wait(struct pager *pager)
{
	atomic_fetch_sub(&pager->faults.joined.waiting, 1);
}

/* `lock` held. */
static void leave_one(struct pager *pager)
{
	unsigned int number = atomic_load(&pager->faults.joined.count) - 1;

	for (unsigned int i = 0; i < INDEX_SPACES; i++)
		if (pager->spaces[i].used && !pager->spaces[i].dead)
			epoll_ctl(pager->faults.epoll[number], EPOLL_CTL_DEL, pager->spaces[i].uffd, NULL);
	atomic_store(&pager->faults.joined.count, number);
}

/* `lock` held. */
static bool is_unread(const struct pager *pager)
{
	for (unsigned int i = 0; i < INDEX_SPACES; i++) {
		struct pollfd uffd = {.fd = pager->spaces[i].uffd, .events = POLLIN};

		if (pager->spaces[i].used && !pager->spaces[i].dead && poll(&uffd, 1, 0) > 0 && uffd.revents & POLLIN)
			return true;
	}
	return false;
}

void join_inspect(struct pager *pager)
{
	struct joined *joined = &pager->faults.joined;
	unsigned int read = atomic_load(&joined->read);
	bool stands = read == joined->read_before;
	uint64_t now = clock_now_ns();

	joined->read_before = read;
	if (pager->faults.count < 2)
		return;
	pthread_mutex_lock(&pager->lock);
	if (stands && is_unread(pager)) {
		atomic_store(&joined->needed_ns, now);
		join_one(pager);
	} else if (atomic_load(&joined->count) > pager->faults.count / 2 &&
		   now - atomic_load(&joined->needed_ns) > NEEDLESS_NS) {
		leave_one(pager);
	}
	pthread_mutex_unlock(&pager->lock);
}
