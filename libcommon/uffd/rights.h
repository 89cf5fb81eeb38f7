/* SPDX-License-Identifier: MIT */
/* What the kernel's settings and this process's own rights say of userfaultfd. */
#pragma once

#include <stdbool.h>

/*
 * vm.unprivileged_userfaultfd: 0 or 1; 1 where the kernel has no such setting (before Linux 5.2), -errno when it cannot
 * be read.
 */
int uffd_sysctl(void);

/* Whether CAP_SYS_PTRACE, or another capability by its number, is effective in this process. */
bool uffd_capable(unsigned int capability);

/* Whether this process is in a user namespace below the first one, where capabilities count for little. */
bool uffd_in_user_namespace(void);

/* Whether a seccomp filter is on this process. */
bool uffd_under_seccomp(void);
