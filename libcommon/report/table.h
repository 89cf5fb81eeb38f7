/* SPDX-License-Identifier: MIT */
/* Records as a table for people, on standard output. */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "report/report.h"

struct table;

/* Whether a --columns list (NULL allowed) names only columns that have a name. */
bool table_columns_valid(const char *chosen);

/* See report_open. Returns 0 or -ENOMEM. */
int table_open(struct table **table, const char *chosen, const struct report_column *columns, const char *type);

/*
 * Shows a record, or keeps it until the width of the columns is known: the first thousand rows decide it. Keeps a
 * reference. Returns 0 or -ENOMEM; write errors are left on standard output.
 */
int table_add(struct table *table, json_t *record);

/* Prints what is still kept (when `print`) and frees everything. */
void table_close(struct table *table, bool print);
