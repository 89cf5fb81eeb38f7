/* SPDX-License-Identifier: MIT */
/* Records out: JSON Lines in a pipe, a table on a terminal. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/* One column of the table a tool prints for people, and the key of the record it shows. */
struct report_column {
	const char *key;   /* "resident_bytes" */
	const char *title; /* "RESIDENT" */
	enum {
		COLUMN_TEXT,    /* strings, left aligned; whatever JSON type there is */
		COLUMN_NUMBER,  /* integers as they are, right aligned */
		COLUMN_SIZE,    /* bytes, shown as "284.1 MiB" */
		COLUMN_PERCENT, /* a real number 0..100 */
	} kind;
};

struct report_metric;

/* How records leave a tool. Opaque: one for a program's run. */
struct report;

/*
 * Opens a report on standard output. `format` is "json", "table" or NULL (table when standard output is a terminal).
 * `columns` (NULL-terminated by a row with key NULL, static storage) are the default table; `chosen` is the user's
 * --columns list ("start,bytes") or NULL, and may name any key. `type` is the type of record that the table shows as
 * rows ("region"); other types are printed below it, a line each ("summary: regions=3 …"), errors and summaries
 * included. From here on SIGPIPE is ignored: a reader that goes away shows as -EPIPE.
 * Returns 0, -EINVAL (unknown format, empty column name; `why` set to a static text), -ENOMEM.
 */
int report_open(struct report **report, const char *format, const char *chosen, const struct report_column *columns,
		const char *type, const char **why);

/*
 * Emits one record: adds "v":1 in front, prints and flushes the line. Steals `record`, NULL included (-ENOMEM).
 * Returns 0 or -EIO/-EPIPE when standard output cannot be written; the caller should then stop.
 */
int report_record(struct report *report, json_t *record);

/* Whether records are shown to people, in a table: those that only a program wants need not be emitted. */
bool report_shows_table(const struct report *report);

/*
 * Ends the table, frees everything. Returns 0, or -EIO or -EPIPE when something could not be written. NULL is allowed.
 */
int report_close(struct report *report);

/* Sets a number of a record, which takes NULL, too. Returns 0, or -1 when out of memory. */
int report_number(json_t *record, const char *key, uint64_t number);

/* Nanoseconds as whole microseconds, rounded up; null for 0: nothing was measured. The caller owns it. */
json_t *report_microseconds(uint64_t ns);

/* An address as the records spell it: "0x7f…". NULL when out of memory; the caller owns it. */
json_t *report_address(uint64_t address);

/* {"type":type} with pid and starttime: what every record of a process begins with. The caller owns it. */
json_t *report_process(const char *type, int pid, uint64_t starttime);

/* {"type":type} with pid, starttime, start, end, bytes: what every region record begins with. The caller owns it. */
json_t *report_region(const char *type, int pid, uint64_t starttime, uint64_t start, uint64_t end);

/*
 * As json_dumps(3), which leaves out a part of the text without a word where memory runs out in the middle of it
 * (jansson 2.14, do_dump: a key). NULL when out of memory, or for NULL; the caller frees it.
 */
char *report_text(const json_t *json, size_t flags);

/* A set of flags: array of the names of the bits that are set, "bitN" for one without a name (names may hold NULLs). */
json_t *report_flags(uint64_t bits, const char *const *names, unsigned int count);

/*
 * Progress of long work, on standard error and only when that is a terminal and `quiet` is false; first shown after one
 * second. Cheap to call often. `unit_bytes`: show done/total as sizes.
 */
struct progress {
	const char *what;
	uint64_t started_us;
	uint64_t shown_us;
	bool enabled;
	bool drawn;
};

void progress_begin(struct progress *progress, const char *what, bool quiet);
void progress_update(struct progress *progress, uint64_t done, uint64_t total);
/* For work that is nothing but waiting. */
void progress_wait(struct progress *progress, uint64_t left_us);
void progress_end(struct progress *progress);
