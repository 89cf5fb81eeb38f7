/* SPDX-License-Identifier: MIT */
/* The kernel's notices that a cgroup comes near a limit of its memory, of either version. */
#pragma once

#include "cgroup/cgroup.h"

#define CGROUP_NOTICE_NONE ((struct cgroup_notice){-1, -1, -1})

/* Descriptors to poll, -1 where the kernel has none. */
struct cgroup_notice {
	int event;    /* version 1: an eventfd, for EPOLLIN */
	int events;   /* version 2: memory.events, for EPOLLPRI */
	int pressure; /* version 2: memory.pressure with a trigger, for EPOLLPRI */
};

/*
 * Asks for notices of a directory with this limit. Version 1: usage crosses limit - margin or comes nearer, or the
 * kernel reclaims there. Version 2, which tells of no usage: memory.high or memory.max is reached, or tasks wait for
 * memory. Returns 0, or -EOPNOTSUPP: none can be had. Source: Documentation/admin-guide/cgroup-v1/memory.rst,
 * cgroup-v2.rst.
 */
int cgroup_notice_open(struct cgroup_notice *notice, int directory, uint64_t limit, uint64_t margin);

/* After a notice has come: the next one wakes again. */
void cgroup_notice_clear(const struct cgroup_notice *notice);

/* Leaves CGROUP_NOTICE_NONE. */
void cgroup_notice_close(struct cgroup_notice *notice);
