/* SPDX-License-Identifier: MIT */
/* One changing request at a time. */
#pragma once

#include "pager/pager.h"

/*
 * The lock of requests that change what is out, `job`, with a sign of life: a holder that does not come to a
 * next step for long is hung, and the supervisor replaces the worker.
 */
void job_begin(struct pager *pager);
void job_step(struct pager *pager);
void job_end(struct pager *pager);
