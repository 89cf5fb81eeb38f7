/* SPDX-License-Identifier: MIT */
/* A process that serves the faults of another one: what it must not take over from the process that starts it. */
#pragma once

#include <signal.h>
#include <sys/types.h>

/*
 * Makes the calling process, which has one thread, one that goes on whatever becomes of its caller. Its limits
 * (setrlimit(2)) are the highest that may be had, but for core files, of which it writes none. Signals have their
 * default actions, but SIGPIPE and SIGXFSZ are ignored, and only the given ones are blocked. It leads a session of its
 * own (setsid(2)): no terminal sends it anything. The kernel does not choose it when memory runs out, with
 * CAP_SYS_RESOURCE. What is not permitted stays as it is.
 */
void service_begin(const sigset_t *blocked);

/*
 * Keeps what the calling process touches from now on in memory (MCL_ONFAULT of mlockall(2)): it must not wait for its
 * own pages. What is not permitted stays as it is.
 */
void service_lock_memory(void);

/*
 * Gives back what is not in use of what was used to come here: freed memory, the calling thread's stack below, and code
 * and constants of files, which are read again as they are needed. Each process that serves would have that of its own,
 * and locked. Takes no lock; other threads go on meanwhile.
 */
void service_shrink(void);

/* Of that, the stack: for a thread that ends, for the C library keeps it for the next one, and locked. */
void service_shrink_stack(void);

/* Gives a command that such a process has started the limits that service_begin found; does nothing in another one. */
void service_release(pid_t pid);
