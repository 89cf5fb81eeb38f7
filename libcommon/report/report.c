/* SPDX-License-Identifier: MIT */
/* Records out: where they go and in which form. */
#include "report/report.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "report/error.h"
#include "report/input.h"
#include "report/lines.h"
#include "report/metrics.h"
#include "report/output.h"
#include "report/table.h"

struct report {
	struct table *table; /* NULL: JSON Lines */
	int status;
};

static const char *const formats[] = {"json", "table", "raw", "openmetrics"};
enum {
	FORMAT_JSON,
	FORMAT_TABLE,
	FORMAT_RAW,
	FORMAT_METRICS
};

static void (*broken_pipe)(int) = SIG_ERR; /* what SIGPIPE did before */

int report_open(struct report **report, const char *format, const char *chosen, const struct report_column *columns,
		const char *type, const char **why)
{
	bool as_table = format ? strcmp(format, "table") == 0 : isatty(STDOUT_FILENO);
	struct report *opened;
	int error;

	if (format && !as_table && strcmp(format, "json") != 0) {
		*why = "unknown format: give json or table";
		return -EINVAL;
	}
	if (!table_columns_valid(chosen)) {
		*why = "a column name is empty";
		return -EINVAL;
	}

	opened = calloc(1, sizeof(*opened));
	if (!opened) {
		*why = "out of memory";
		return -ENOMEM;
	}
	error = as_table ? table_open(&opened->table, chosen, columns, type) : 0;
	if (error) {
		*why = "out of memory";
		free(opened);
		return error;
	}
	/* A reader that goes away must not kill a tool in the middle of its work: writing fails with EPIPE instead. */
	signal(SIGPIPE, SIG_IGN);
	*report = opened;
	return 0;
}

static int write_status(bool failed)
{
	if (!failed)
		return 0;
	return errno ? -errno : -EIO;
}

/* The record with "v" and "type" in front. */
static json_t *add_version(json_t *record)
{
	json_t *type = json_object_get(record, "type");
	json_t *full = json_pack("{s:i, s:O*}", "v", 1, "type", type);

	if (full && json_object_update_missing(full, record)) {
		json_decref(full);
		return NULL;
	}
	return full;
}

static int print_json(json_t *record)
{
	json_t *full = add_version(record);
	char *line = report_text(full, JSON_COMPACT);
	int status = -ENOMEM;

	if (line) {
		errno = 0;
		status = write_status(printf("%s\n", line) < 0 || fflush(stdout));
	}
	free(line);
	json_decref(full);
	return status;
}

static int print_in_table(struct table *table, json_t *record)
{
	int error;

	errno = 0;
	error = table_add(table, record);
	return error ? error : write_status(fflush(stdout) || ferror(stdout));
}

int report_record(struct report *report, json_t *record)
{
	if (!record)
		return -ENOMEM;
	if (!report->status)
		report->status = report->table ? print_in_table(report->table, record) : print_json(record);
	json_decref(record);
	return report->status;
}

/* What is shown later is a copy. */
static int add_row(struct report *report, json_t *before, json_t *between, json_t *after)
{
	json_t *row = json_copy(before), *copy = json_deep_copy(between);

	if (!row || !copy || json_object_update(row, copy) || json_object_update(row, after)) {
		json_decref(row);
		row = NULL;
	}
	json_decref(copy);
	return report_record(report, row);
}

bool report_shows_table(const struct report *report)
{
	return report->table != NULL;
}

int report_close(struct report *report)
{
	int status;

	if (!report)
		return 0;
	errno = 0;
	if (report->table)
		table_close(report->table, !report->status);
	status = report->status ? report->status : write_status(fflush(stdout) || ferror(stdout));
	free(report);
	return status;
}
