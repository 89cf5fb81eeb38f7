/* SPDX-License-Identifier: MIT */
/* The ways to get a userfaultfd of one's own address space. */
#pragma once

#define UFFD_DEVICE "/dev/userfaultfd"

enum uffd_route {
	UFFD_ROUTE_SYSCALL, /* userfaultfd(2) */
	/* userfaultfd(2) with UFFD_USER_MODE_ONLY: faults inside system calls fail with EFAULT */
	UFFD_ROUTE_USER_MODE_ONLY,
	UFFD_ROUTE_DEVICE, /* USERFAULTFD_IOC_NEW on /dev/userfaultfd (Linux 6.1) */
	UFFD_ROUTES,
};

/*
 * A new descriptor, close-on-exec and non-blocking, before its handshake. Returns it, or -errno. The caller closes it.
 */
int uffd_open(enum uffd_route route);
