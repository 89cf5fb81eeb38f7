/* SPDX-License-Identifier: MIT */
/* Records as a table for people, on standard output. */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "report/report.h"

struct table;

/* See report_open; `raw`: values as the records have them, rows alone. Returns 0 or -ENOMEM. */
int table_open(struct table **table, const struct report_style *style, bool raw, const struct report_column *columns,
	       const char *type);

/*
 * Shows a record, or keeps it until the width of the columns is known: the first thousand rows decide it. Keeps a
 * reference. Returns 0 or -ENOMEM; write errors are left on standard output.
 */
int table_add(struct table *table, json_t *record);

/* Prints what is kept: the report, or a round of it, has ended. Returns 0 or -ENOMEM. */
int table_flush(struct table *table);

/* Frees everything; what is kept is not printed. */
void table_close(struct table *table);
