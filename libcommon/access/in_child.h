/* SPDX-License-Identifier: MIT */
/* Mapping and unmapping the control area from a process that nobody kills by mistake. */
#pragma once

#include "inject/inject.h"

/*
 * inject_open and inject_close in a helper child, for a tool that may be killed at any moment: while the control area
 * is being mapped or unmapped there is no way back for the thread, and the death of who traces it is the end of its
 * process. The child outlives us until that is done, and shares our open files and locks as long. `mapped` is called
 * there as soon as there is an area. To be called on the only thread of a process.
 */
typedef void (*inject_mapped_fn)(void *context, struct region area);
int inject_open_in_child(struct inject *inject, const struct target *target, inject_mapped_fn mapped, void *context,
			 struct error *error);
int inject_close_in_child(struct inject *inject);
