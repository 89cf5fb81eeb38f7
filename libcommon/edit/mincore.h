/* SPDX-License-Identifier: MIT */
/* mincore(2) run inside a target: the residency source that needs no pagemap. */
#pragma once

#include "inject/inject.h"

struct inject_mincore;

/* Prepares a target for inject_mincore. Errors as inject_open. */
int inject_mincore_open(struct inject_mincore **mincore, const struct target *target, struct error *error);

/*
 * Fills vec[] (a byte a page) for a page-aligned region of any length; fits pages.h's mincore_fn. Returns 0 or -errno.
 */
int inject_mincore(void *mincore, struct region region, unsigned char *vec);

/* What it has mapped into the target while it is open. */
struct region inject_mincore_area(const struct inject_mincore *mincore);

/* Leaves the target as it was. NULL is allowed. */
void inject_mincore_close(struct inject_mincore *mincore);
