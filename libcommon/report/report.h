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
		COLUMN_TIME,    /* microseconds, shown as "1.2 ms" */
		COLUMN_ADDRESS, /* "0x7f..." */
		COLUMN_NAME,    /* of a mapping or a file: cut where it does not fit; empty: "[anon]" */
		COLUMN_REASONS, /* bytes by reason: "14.7 never touched, 0.2 stack", in the unit of all */
		COLUMN_PROSE,   /* goes on in the next line where it does not fit */
		COLUMN_KIND = 0xff,
		COLUMN_CHOSEN = 0x200, /* beside a kind: only where the user names it */
		COLUMN_WIDE = 0x100,   /* beside a kind: only where the terminal has room for all columns */
	} kind;
};

struct report_metric;

enum report_color {
	REPORT_COLOR_AUTO,
	REPORT_COLOR_ALWAYS,
	REPORT_COLOR_NEVER
};

/* How the user wants records to be shown. All zeros is the default. */
struct report_style {
	char *format; /* "json", "table", "raw", "openmetrics"; NULL: UVM_FORMAT, or a table when standard output is a
			 terminal */
	char *chosen; /* the user's --columns ("start,bytes"), which may name any key; NULL: the default table */
	int color;    /* enum report_color; by itself only on a terminal and without NO_COLOR */
	bool raw;     /* as the format of that name */
	bool no_headings;
	bool no_summary;
	bool no_rows; /* in a table the rows are left out */
	bool live;    /* rows are shown as they come, not when the widths of all are known */
	bool named;   /* rows and sentences begin with the process that they are of: there are several */
	char *output; /* a file that is replaced when the report, or a round of it, ends; NULL: standard output */
	/* Standard output gets no records; the first error is a line of the tool of this name instead. */
	const char *quiet;
	const struct report_metric *metrics; /* for the format "openmetrics"; NULL: there are none */
	const char *sentences;               /* for summaries, see report/sentence.h; NULL: there are none */
};

/* How records leave a tool. Opaque: one for a program's run. */
struct report;

/*
 * Opens a report on standard output, in the style given, which is kept by reference. `columns` (NULL-terminated by a
 * row with key NULL, static storage) are the default table; `type` is the type of record that the table shows as rows
 * ("region"); other types are printed below it, a line each. From here on SIGPIPE is ignored: a reader that goes away
 * shows as -EPIPE. Returns 0, -EINVAL (unknown format; `why` set to a static text), -ENOMEM, or -errno of the file.
 */
int report_open(struct report **report, const struct report_style *style, const struct report_column *columns,
		const char *type, const char **why);

/* Gives SIGPIPE back what it did before report_open, for a command that takes the place of this process. */
void report_restore_signals(void);

/* Calls back with each record before it is emitted, for what is known of the process that it names. */
typedef void (*report_describe_fn)(json_t *record);
void report_describe(struct report *report, report_describe_fn describe);

/*
 * Emits one record: adds "v":1 in front, prints and flushes the line. Steals `record`, NULL included (-ENOMEM).
 * Returns 0, or -errno when standard output cannot be written (-EPIPE: its reader has gone); the caller should then
 * stop.
 */
int report_record(struct report *report, json_t *record);

/*
 * Emits one of many records that are alike, of three objects: `before` and `after` are the same in many of them, are
 * known by their addresses and must not be changed; `between` may be changed and given again. Steals none. Lines may
 * wait for some milliseconds, until the next call, report_flush or report_close: who does something that takes long
 * calls report_flush before. Returns as report_record does.
 */
int report_parts(struct report *report, json_t *before, json_t *between, json_t *after);

/* Writes what report_parts has kept. Returns as report_record does. */
int report_flush(struct report *report);

/* Whether an error has been printed as a line, of a report that is quiet. */
bool report_told(const struct report *report);

/* Whether something could not be written: what comes after it is not. */
bool report_failed(const struct report *report);

/*
 * Ends a round of a report that goes on: rows that wait and metrics are printed, and begin anew; the file is replaced.
 * Returns as report_record.
 */
int report_round(struct report *report);

/* Whether records are shown to people, in a table: those that only a program wants need not be emitted. */
bool report_shows_table(const struct report *report);

/* How many columns standard output has: the terminal's, or COLUMNS, as watch(1) sets it; 0: it is no terminal. */
size_t report_width(void);

/* Ends the table, frees everything. Returns 0, or -errno when something could not be written. NULL is allowed. */
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

/* Writes a record, which it steals, as a line to a descriptor; without memory nothing. */
void report_line(int fd, json_t *record);

/* A set of flags: array of the names of the bits that are set, "bitN" for one without a name (names may hold NULLs). */
json_t *report_flags(uint64_t bits, const char *const *names, unsigned int count);

/*
 * Progress of long work, on standard error and only when that is a terminal and `quiet` is false; first shown after one
 * second. Cheap to call often.
 */
struct progress {
	const char *what;
	uint64_t started_us;
	uint64_t shown_us;
	bool enabled;
	bool drawn;
};

/* Done and total: bytes. */
void progress_begin(struct progress *progress, const char *what, bool quiet);
void progress_update(struct progress *progress, uint64_t done, uint64_t total);

/* For work that is nothing but waiting. */
void progress_wait(struct progress *progress, uint64_t left_us);
void progress_end(struct progress *progress);
