/* SPDX-License-Identifier: MIT */
/* What the tools rely on beside userfaultfd. */
#pragma once

#include <stddef.h>

#include "report/error.h"

struct partner;

struct facility {
	const char *name; /* "pagemap_scan" */
	const char *cure; /* for when it is refused */
	int (*run)(const struct partner *partner, int argument);
	int argument;
};

#define FACILITIES 12

extern const struct facility facilities[FACILITIES];

/*
 * Tries all of them, those that reach into another process on a child made for it. code[i] of facilities[i]: 0 or
 * -errno.
 */
void facilities_try(int code[FACILITIES]);

/* Says in `error` why one is not usable. Returns its code. */
int facility_explain(size_t index, int code, struct error *error);
