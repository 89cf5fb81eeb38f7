/* SPDX-License-Identifier: MIT */
/* The process that serves a session. */
#pragma once

#include "pager/pager.h"

/*
 * The worker process, from fork to the end of the session. Returns its exit status: 0 when the session is
 * over.
 */
int worker_main(struct pager *pager);
