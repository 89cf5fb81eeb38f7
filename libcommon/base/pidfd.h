/* SPDX-License-Identifier: MIT */
/* Descriptors of processes: pidfd_open(2), pidfd_getfd(2), pidfd_send_signal(2). */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

/* A descriptor of a process, close-on-exec, or -errno (-EINVAL or, since Linux 6.9, -ENOENT: it is a thread). */
int pidfd_of(pid_t pid);

/* The same of a thread: -EINVAL before Linux 6.9. */
int pidfd_of_thread(pid_t tid);

/* A copy of the descriptor `number` of that process, close-on-exec, or -errno. */
int pidfd_take(int pidfd, int number);

/* Returns 0 or -errno (-ESRCH: it has ended). */
int pidfd_signal(int pidfd, int signal);

/* Whether all its threads have ended, or do so within so many milliseconds. False when that cannot be told. */
bool pidfd_ends(int pidfd, int ms);
