/* SPDX-License-Identifier: MIT */
/* The system call that a stop has interrupted: what has to be done so that its program does not notice. */
#pragma once

#include <sys/types.h>

#include "inject/arch/arch.h"

/*
 * For a thread in its first stop (PTRACE_INTERRUPT), with its registers: a call that gave up because of the stop is to
 * be made again, and its timeout ends when it would have ended, however often and by whomever the thread is stopped.
 * The kernel itself makes the rest of the decision when the thread goes on: the call fails with EINTR if a handler runs
 * then, and only then. May read and write the memory of the thread by ptrace, never waiting for a page.
 * Source: arch_do_signal_or_restart of arch/x86/kernel/signal.c; man 7 signal.
 */
void restart_interrupted(pid_t tid, struct arch_regs *regs);

/* The address of the futex with priority inheritance that a call waits to get; 0: it does not. */
uint64_t restart_inherits(long number, const uint64_t arguments[6]);

/*
 * Whether a call with these arguments, interrupted, may have done a part of its work and say so, or has an effect that
 * an interruption changes: what restart_interrupted cannot undo.
 */
bool restart_loses(long number, const uint64_t arguments[6]);
