/* SPDX-License-Identifier: MIT */
/*
 * Forks that no event tells of (without CAP_SYS_PTRACE): the child would read zeros for what is out, so nothing is out
 * when it is made.
 */
#include "swapin/forks.h"

#include <errno.h>
#include <linux/futex.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "pager/job.h"
#include "pager/pager.h"
#include "swapin/fill.h"
#include "swapin/filler.h"

#define POLL_MS 250 /* whether the session is over */

static long call_futex(uint32_t *word, int op, uint32_t value, const struct timespec *limit)
{
	return syscall(SYS_futex, word, op, value, limit, NULL, 0);
}

/* Whether everything is back, or there is no program any more to which it could come. */
static bool bring_everything(struct pager *pager, struct filler *filler)
{
	const struct region everything = {0, UINT64_MAX};
	bool done;

	job_begin(pager);
	done = atomic_load(&pager->ended) || pager->spaces[0].dead ||
	       fill_region(filler, &pager->spaces[0], everything) >= 0;
	job_end(pager);
	return done;
}

/* A ticket drawn is served even if another worker died over it: nothing but the two numbers is state. */
static void *forks_main(void *argument)
{
	struct pager *pager = argument;
	struct agent_shared *shared = pager->access.agent.shared;
	struct filler filler;

	if (filler_init(&filler, pager) < 0)
		return NULL;
	filler_reserve(&filler);
	while (!atomic_load(&pager->ended)) {
		uint32_t asked = __atomic_load_n(&shared->asked, __ATOMIC_SEQ_CST);

		if (asked == __atomic_load_n(&shared->granted, __ATOMIC_SEQ_CST)) {
			call_futex(&shared->asked, FUTEX_WAIT, asked,
				   &(struct timespec){.tv_nsec = POLL_MS * 1000000L});
		} else if (bring_everything(pager, &filler)) {
			__atomic_store_n(&shared->granted, asked, __ATOMIC_SEQ_CST);
			call_futex(&shared->granted, FUTEX_WAKE, INT32_MAX, NULL);
		} else {
			usleep(RETRY_MS * 1000); /* no memory for it just now */
		}
	}
	filler_free(&filler);
	return NULL;
}

int forks_start(struct pager *pager)
{
	return pager->forks.ask ? -pthread_create(&pager->forks.thread, NULL, forks_main, pager) : 0;
}

void forks_stop(struct pager *pager)
{
	if (pager->forks.ask)
		pthread_join(pager->forks.thread, NULL);
}
