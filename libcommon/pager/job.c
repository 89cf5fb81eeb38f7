/* SPDX-License-Identifier: MIT */
/* The lock of changing requests, and its sign of life: who waits for it waits for the target, a disk, or for ever. */
#include "pager/job.h"

#include "pager/pager.h"
#include "service/pulse.h"

void job_begin(struct pager *pager)
{
	pthread_mutex_lock(&pager->job);
	pulse_begin(&pager->supervision.pulse->threads[PULSE_JOB]);
}

void job_step(struct pager *pager)
{
	pulse_next(&pager->supervision.pulse->threads[PULSE_JOB]);
}

void job_end(struct pager *pager)
{
	pulse_end(&pager->supervision.pulse->threads[PULSE_JOB]);
	pthread_mutex_unlock(&pager->job);
}
