/* SPDX-License-Identifier: MIT */
/* The names that --list prints and --require takes. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "findings.h"

enum thing_kind {
	THING_ROUTE,
	THING_FEATURE,
	THING_MEMORY, /* "anonymous/missing", and "anonymous/missing/move" */
	THING_NEIGHBOUR,
};

struct thing {
	enum thing_kind kind;
	unsigned int index; /* route, feature bit, memory, neighbour */
	unsigned int mode;  /* of memory */
	int ioctl;          /* of memory; -1: only that it can be registered */
	char name[48];
};

/* "route", "feature", "ioctl", "neighbour" */
const char *thing_kind_name(enum thing_kind kind);

/* The things with a name, by position. False after the last one. */
bool thing_at(size_t position, struct thing *thing);

/*
 * The thing of a name, also a feature bit without one ("bit40"). Returns 0, or -EINVAL with the nearest known name in
 * *thing.
 */
int thing_find(const char *name, struct thing *thing);

/* Whether it can be used here. */
bool thing_usable(const struct thing *thing, const struct findings *findings);
