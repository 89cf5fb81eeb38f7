/* SPDX-License-Identifier: MIT */
/* Records as metrics, in the text format of OpenMetrics and Prometheus. */
#pragma once

#include <jansson.h>
#include <stdio.h>

/* A family of metrics, and the key of the records it is of. Tables end with a row of zeros. */
struct report_metric {
	const char *name; /* "uvm_swap_out_bytes": ends in its unit, or in "_total" behind that */
	const char *key;  /* a number of the record; "": how many records there are */
	const char *unit; /* "bytes", "seconds", NULL: none */
	const char *help;
	enum {
		METRIC_GAUGE,
		METRIC_COUNTER,
		METRIC_HISTOGRAM, /* an array of {"le_ns", "faults"}, each bucket without those before it */
	} kind;
	const char *sum; /* of a histogram: the key of the sum of all, in microseconds */
};

struct metrics;

/* NULL when out of memory. The table is borrowed. */
struct metrics *metrics_new(const struct report_metric *families);

/*
 * Adds a record's numbers to those of the same labels (comm, unit, cgroup: processes come and go, services stay).
 * Returns 0 or -ENOMEM.
 */
int metrics_add(struct metrics *metrics, const json_t *record);

/* Prints what was added, and forgets it. */
void metrics_print(struct metrics *metrics, FILE *stream);

/* Drops what was added; NULL is none. */
void metrics_free(struct metrics *metrics);
