/* SPDX-License-Identifier: MIT */
/* Signals that ask a tool to end, for tools that finish or undo what they have begun. */
#pragma once

#include <signal.h>

/* From now on SIGINT, SIGTERM and SIGHUP set the flag that is returned, and do nothing else. */
const volatile sig_atomic_t *interrupt_catch(void);
