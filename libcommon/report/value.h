/* SPDX-License-Identifier: MIT */
/* Values of records as text for people. */
#pragma once

#include "report/report.h"

/* How the value of a key that no column has is shown: its unit is in its name. */
int value_kind(const char *key);

/*
 * A value as text, safe for a terminal; `beside` is the largest size in its row, whose unit a size takes. The caller
 * frees it. NULL when out of memory.
 */
char *value_text(json_t *value, int kind, uint64_t beside);
