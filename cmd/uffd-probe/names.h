/* SPDX-License-Identifier: MIT */
/* The names that --list prints and --require takes. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "findings.h"

enum capability_kind {
	CAPABILITY_ROUTE,
	CAPABILITY_FEATURE,
	CAPABILITY_MEMORY, /* "anonymous/missing", and "anonymous/missing/move" */
	CAPABILITY_FACILITY,
};

struct capability {
	enum capability_kind kind;
	unsigned int index; /* route, feature bit, memory, facility */
	unsigned int mode;  /* of memory */
	int ioctl;          /* of memory; -1: only that it can be registered */
	char name[48];
};

/* "route", "feature", "ioctl", "facility" */
const char *capability_kind_name(enum capability_kind kind);

/* The capabilities with a name, by position. False after the last one. */
bool capability_at(size_t position, struct capability *capability);

/*
 * The capability of a name, also a feature bit without one ("bit40"). Returns 0, or -EINVAL with the nearest known name
 * in *capability.
 */
int capability_find(const char *name, struct capability *capability);

/* Whether it can be used here. */
bool capability_usable(const struct capability *capability, const struct findings *findings);
