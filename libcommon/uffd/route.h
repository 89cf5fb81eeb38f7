/* SPDX-License-Identifier: MIT */
/* Which way to a userfaultfd of one's own address space to take, and what stands in the way of each. */
#pragma once

#include <stdbool.h>

#include "report/error.h"
#include "uffd/open.h"

/*
 * vm.unprivileged_userfaultfd: 0 or 1; 1 where the kernel has no such setting (before Linux 5.2), -errno when it cannot
 * be read.
 */
int uffd_sysctl(void);

/* "syscall", "syscall_user_mode_only", "device" */
const char *uffd_route_name(enum uffd_route route);

/* Whether descriptors of this route get faults that happen in kernel mode too. */
bool uffd_route_kernel_faults(enum uffd_route route);

/*
 * Whether a route works: 0 or what uffd_open failed with. A seccomp filter that kills for it shows as -EPERM, and does
 * not kill this process.
 */
int uffd_route_try(enum uffd_route route);

/*
 * The route to take, given what uffd_route_try says of each: those with kernel-mode faults first; UFFD_ROUTES for none.
 */
enum uffd_route uffd_route_choose(const int codes[UFFD_ROUTES]);

/* Says in `error` why uffd_open failed with `code` (its result), and what would make the route usable. Returns code. */
int uffd_route_explain(enum uffd_route route, int code, struct error *error);
