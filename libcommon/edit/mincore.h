/* SPDX-License-Identifier: MIT */
/* mincore(2) run inside a target: the residency source that needs no pagemap. */
#pragma once

#include "inject/inject.h"

/*
 * Fills vec[] (a byte a page) for a page-aligned region of any length; fits pages.h's mincore_fn. `context`: an opened
 * injector. Returns 0 or -errno.
 */
int inject_mincore(void *context, struct region region, unsigned char *vec);
