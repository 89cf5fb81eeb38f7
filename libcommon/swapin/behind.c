/* SPDX-License-Identifier: MIT */
/* Brings pages that a program will ask for, and gives back what the store and the index have of those that came. */
#include "swapin/behind.h"

#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "confine/confine.h"
#include "pager/pager.h"
#include "store/store.h"
#include "swapin/fill.h"
#include "swapin/filler.h"
#include "swapin/follow.h"
#include "swapin/later.h"

#define BEHIND_NICE \
	(-9) /* worse than who answers faults; but who faults on a page that is being brought waits for it */
#define LOOK_US 50
#define UNPINS  32  /* at a time: who answers faults needs the lock */
#define LOOKS   100 /* without finding anything, then it sleeps */

static void rest_awhile(struct pager *pager, unsigned int *looks)
{
	struct behind *behind = &pager->faults.behind;
	bool freed;

	if ((*looks)++ < LOOKS) {
		later_unpin_now(pager, UNPINS);
		freed = behind->freed;
		behind->freed = false;
		pthread_mutex_unlock(&pager->lock);
		if (freed) {
			store_punch(pager->tiers.store);
			store_punch(pager->tiers.pool);
		}
		follow_faults(pager);
		usleep(LOOK_US);
		pthread_mutex_lock(&pager->lock);
		return;
	}
	behind->asleep = !behind->left_count;
	while (behind->asleep && !atomic_load(&pager->ended))
		pthread_cond_wait(&behind->asked, &pager->lock);
	*looks = 0;
}

static void *behind_main(void *argument)
{
	struct pager *pager = argument;
	unsigned int looks = LOOKS;
	struct filler filler;
	struct prefetch prefetch;

	if (filler_init(&filler, pager) < 0)
		return NULL;
	setpriority(PRIO_PROCESS, 0, BEHIND_NICE);
	prctl(PR_SET_TIMERSLACK, 1000);
	confine_force(false);
	pthread_mutex_lock(&pager->lock);
	while (!atomic_load(&pager->ended)) {
		if (!later_take(pager, &prefetch)) {
			rest_awhile(pager, &looks);
			continue;
		}
		looks = 0;
		pthread_mutex_unlock(&pager->lock);
		fill_prefetch(&filler, &prefetch);
		pthread_mutex_lock(&pager->lock);
	}
	pthread_mutex_unlock(&pager->lock);
	filler_free(&filler);
	return NULL;
}

void behind_finish(struct pager *pager)
{
	pthread_mutex_lock(&pager->lock);
	later_unpin_now(pager, LEFT_MAX);
	pager->faults.behind.freed = false;
	pthread_mutex_unlock(&pager->lock);
	store_punch(pager->tiers.store);
	store_punch(pager->tiers.pool);
}

void behind_wake(struct pager *pager)
{
	struct behind *behind = &pager->faults.behind;

	pthread_mutex_lock(&pager->lock);
	if (behind->left_count || behind->freed || atomic_load(&pager->faults.asked_by) || atomic_load(&pager->ended)) {
		behind->asleep = false;
		pthread_cond_signal(&behind->asked);
	}
	pthread_mutex_unlock(&pager->lock);
}

int behind_start(struct pager *pager)
{
	pthread_cond_init(&pager->faults.behind.asked, NULL);
	return -pthread_create(&pager->faults.behind.thread, NULL, behind_main, pager);
}

void behind_stop(struct pager *pager)
{
	behind_wake(pager);
	pthread_join(pager->faults.behind.thread, NULL);
}
