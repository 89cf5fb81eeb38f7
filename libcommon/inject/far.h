/* SPDX-License-Identifier: MIT */
/* Where our memory goes in a target: a place that no program picks. */
#pragma once

#include <stdint.h>

#include "proc/target.h"

/*
 * A program maps again with MAP_FIXED where it once had something, and grows what it has: the kernel's own choice for
 * mmap(2) is such a place. This one lies in the middle half of the widest stretch where nothing is mapped, at random.
 */

/* Chooses a place, aligned to 2 MiB, for so many bytes. Returns 0 with *at set, -ENOMEM, -EIO, or as maps_open. */
int far_choose(const struct target *target, uint64_t bytes, uint64_t *at);
