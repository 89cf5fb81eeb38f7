/* SPDX-License-Identifier: MIT */
/* Upwards, from a mappable to the windows that show it. */
#pragma once

#include "graph/graph.h"

typedef int (*view_action)(struct uvm_space *space, struct region region);

/*
 * Does something to every part of a window that shows a part of the range, or would if nothing were copied. Goes on
 * after an error; returns the first.
 */
int views_of(struct uvm_mappable *mappable, struct region range, view_action action);

/* The same but for snapshots, which never write to it: what is frozen for one more makes no difference to them. */
int views_of_writers(struct uvm_mappable *mappable, struct region range, view_action action);
int views_of_shadow(struct shadow *shadow, struct region range, view_action action);

/* The same for the space itself, if it has a window, and all above it. */
int views_show(struct uvm_space *space, struct region region, view_action action);
