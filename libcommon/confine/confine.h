/* SPDX-License-Identifier: MIT */
/* Least power: what a process gives up before it serves another one. */
#pragma once

#include <jansson.h>
#include <linux/filter.h>
#include <stdbool.h>
#include <sys/types.h>

#include "proc/target.h"

/*
 * Nothing that the calling process or a child of it executes gets more power than it has (PR_SET_NO_NEW_PRIVS), and
 * files that it makes are its user's alone. What the kernel refuses stays as it is: confine_missing tells.
 */
void confine_process(void);

/* The calling process, or its children, may have to suspend a seccomp filter or enter a network namespace. */
#define CONFINE_ADMIN 1U

/*
 * Keeps of the capabilities of the calling thread, which is the only one, what a process needs that serves another one.
 * Returns 0 or -errno: it has them all then.
 */
int confine_capabilities(unsigned int flags);

/*
 * Puts those in force in the calling thread, or out of it, but for CAP_IPC_LOCK, which every allocation may take. For
 * code that reads what others wrote: it can open nothing that is another user's. While they are out of force, no thread
 * and no process is made: it would have none either, and not know. Returns whether they were in force. Does nothing
 * where confine_capabilities left none; makes a system call only when that changes something.
 */
bool confine_force(bool in_force);

/* None for the calling thread. Takes no lock and no memory. Returns 0 or -errno. */
int confine_no_capabilities(void);

/* The system calls that a process is left with. */
struct confine_calls {
	bool serves;       /* all that serving another process takes; otherwise what changes only the process itself */
	bool opens_memory; /* with that: existing files may be opened for reading and writing */
	const char *const *written; /* with that: paths to be opened for writing, by these pointers; ends with NULL */
};

/*
 * A seccomp filter: other calls fail with EPERM, and are logged where the kernel does that. Files are opened for
 * reading, nothing is executed, no namespace is made, and sockets are Unix and netlink ones. Returns 0 or -errno, and
 * an empty program then. The caller frees it.
 */
int confine_filter_make(struct sock_fprog *program, const struct confine_calls *calls);
void confine_filter_free(struct sock_fprog *program);

/*
 * For the calling thread and what it starts, for good; after confine_process. Takes no lock and no memory. Returns 0 or
 * -errno: -ENOENT, the program is empty.
 */
int confine_filter_put_on(const struct sock_fprog *program);

/*
 * Whether any thread of a process has a seccomp filter. Only a thread without one may suspend it
 * (PTRACE_O_SUSPEND_SECCOMP; kernel/ptrace.c, check_ptrace_options), and only with CAP_SYS_ADMIN. True also when that
 * cannot be told.
 */
bool confine_is_filtered(const struct target *target);

/*
 * What could not be had of the confinement of `count` processes that serve a target: the reason by name, in an object
 * that is empty when nothing is missing. `given_up`: why they gave up nothing, if they are not meant to, or NULL. Looks
 * at what they are by now (proc_pid_status(5), prlimit(2)); processes that are gone count for nothing. The caller owns
 * it; NULL without memory.
 */
json_t *confine_missing(const struct target *target, const pid_t *pids, unsigned int count, const char *given_up);
