/* SPDX-License-Identifier: MIT */
/* Signals that ask a tool to end, for tools that finish or undo what they have begun. */
#pragma once

#include <signal.h>

/* SIGINT, SIGTERM and SIGHUP, but for the last where the tool was started by nohup(1), which ignores it. */
sigset_t interrupt_signals(void);

/* From now on each of them calls a handler. `flags`: as in sigaction(2). */
void interrupt_handle(void (*handler)(int number), int flags);

/* From now on each of them sets what is returned to its number, and does nothing else. */
const volatile sig_atomic_t *interrupt_catch(void);

/* The exit code of a tool that may have been cut short: that of the signal that came, or `status` if none did. */
int interrupt_status(int status);
