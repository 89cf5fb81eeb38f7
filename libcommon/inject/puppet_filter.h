/* What a puppet may do when somebody else makes it run. Internal to the room. */
#pragma once

#include <linux/filter.h>

#define PUPPET_FILTER_MOST 256

/*
 * The seccomp filter of a puppet, as seccomp(2) takes it; all that it does not name fails with EPERM. Returns how many
 * instructions it has, or -errno.
 */
int puppet_filter(struct sock_filter filter[PUPPET_FILTER_MOST]);
