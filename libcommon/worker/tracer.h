/* SPDX-License-Identifier: MIT */
/* Debuggers of the target. */
#pragma once

#include "pager/pager.h"

/* Notices a debugger of the target within a second, brings everything back and keeps it in core. */
int tracer_start(struct pager *pager);
void tracer_stop(struct pager *pager);
