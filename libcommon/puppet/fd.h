/* SPDX-License-Identifier: MIT */
/* Descriptors across the border: ours into the target, the target's out to us. */
#pragma once

#include <stdint.h>

#include "inject/inject.h"

/*
 * Gives the target a copy of our descriptor (socketpair, pidfd_getfd, SCM_RIGHTS, recvmsg), close-on-exec. A thread
 * must be stopped. Returns the number it has in the target, or -errno.
 */
int inject_fd_give(struct inject *inject, int fd);

/* The same, to stay: at a high number, out of the way of what the program opens next. */
int inject_fd_keep(struct inject *inject, int fd);

/*
 * Whether a number of the target still stands for what our descriptor stands for, as far as the kernel can tell
 * (kcmp(2)); a program may close and reuse it.
 */
bool inject_fd_is(const struct inject *inject, int number, int fd);

/* Takes a copy of a descriptor of the target (pidfd_getfd). Returns ours (close-on-exec), or -errno. */
int inject_fd_take(const struct inject *inject, int number);

/* Closes a descriptor of the target. */
int inject_fd_close(struct inject *inject, int number);

/*
 * Makes a userfaultfd of the target's address space that also handles faults in kernel mode, by /dev/userfaultfd opened
 * here, or userfaultfd(2) in the target where that is not possible. Stops a thread for it. `keep`: leave the descriptor
 * open in the target too, at a high number; *number receives it (-1 otherwise). Returns our descriptor (non-blocking,
 * close-on-exec), or -errno with `error` filled.
 */
int inject_userfaultfd(struct inject *inject, bool keep, int *number, struct error *error);
