/* SPDX-License-Identifier: MIT */
/* Counting references. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>

static inline void count_up(atomic_uint *references)
{
	atomic_fetch_add_explicit(references, 1, memory_order_relaxed);
}

/* Whether that was the last one. */
static inline bool count_down(atomic_uint *references)
{
	return atomic_fetch_sub_explicit(references, 1, memory_order_acq_rel) == 1;
}
