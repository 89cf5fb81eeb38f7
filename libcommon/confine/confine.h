/* Least power: what a process gives up before it serves another one. */
#pragma once

#include <jansson.h>
#include <sys/types.h>

/*
 * Nothing that the calling process or a child of it executes gets more power than it has (PR_SET_NO_NEW_PRIVS), and
 * files that it makes are its user's alone. What the kernel refuses stays as it is: confine_missing tells.
 */
void confine_process(void);

/*
 * What could not be had of the confinement of `count` processes: the reason by name, in an object that is empty when
 * nothing is missing. Looks at what they are by now (proc_pid_status(5), prlimit(2)); processes that are gone count for
 * nothing. The caller owns it; NULL without memory.
 */
json_t *confine_missing(const pid_t *pids, unsigned int count);
