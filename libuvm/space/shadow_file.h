/* SPDX-License-Identifier: MIT */
/* The file in which copies lie. */
#pragma once

#include "graph/graph.h"

/*
 * Gives a shadow's leaf a range of zeros in a file that all shadows share: a descriptor for each would be too many.
 * Returns 0 or UVM_MEM_NO_MEMORY. The graph's lock is held.
 */
int shadow_file_take(struct shadow *shadow);

/* Frees the range, if it has one. Nothing shows it any more. The graph's lock is held. */
void shadow_file_drop(struct shadow *shadow);
