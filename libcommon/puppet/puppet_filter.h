/* SPDX-License-Identifier: MIT */
/* What a puppet may do when another process makes it run. Internal to the room. */
#pragma once

#include <linux/filter.h>
#include <stdbool.h>

/*
 * The seccomp filter of a puppet, as seccomp(2) takes it; all that it does not name fails with EPERM. `maps_files`: it
 * may map what it has open, not only anonymous memory. Returns 0, or -errno and an empty program. The caller frees
 * program->filter.
 */
int puppet_filter(struct sock_fprog *program, bool maps_files);
