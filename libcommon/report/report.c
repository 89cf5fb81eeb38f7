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
	const struct report_style *style;
	const char *type;
	struct table *table;     /* NULL: JSON Lines or metrics */
	struct metrics *metrics; /* NULL: JSON Lines or a table */
	struct lines lines;
	struct output output;
	report_describe_fn describe;
	bool quiet; /* nothing is printed but the first error */
	bool told;  /* that one has been */
	bool waits; /* for the end of a round: something was reported in it, or it is the first */
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

void report_restore_signals(void)
{
	if (broken_pipe != SIG_ERR)
		signal(SIGPIPE, broken_pipe);
}

/* Returns its number, or -EINVAL. */
static int find_format(const struct report_style *style)
{
	const char *format = style->raw ? "raw" : style->format ? style->format : getenv("UVM_FORMAT");

	if (!format || !*format)
		format = !style->output && isatty(STDOUT_FILENO) ? "table" : "json";
	for (size_t i = 0; i < ARRAY_SIZE(formats); i++)
		if (strcmp(format, formats[i]) == 0)
			return (int)i;
	return -EINVAL;
}

static int open_format(struct report *report, int format, const struct report_column *columns)
{
	if (format == FORMAT_TABLE || format == FORMAT_RAW)
		return table_open(&report->table, report->style, format == FORMAT_RAW, columns, report->type);
	if (format == FORMAT_METRICS) {
		report->metrics = metrics_new(report->style->metrics);
		return report->metrics ? 0 : -ENOMEM;
	}
	return 0;
}

int report_open(struct report **report, const struct report_style *style, const struct report_column *columns,
		const char *type, const char **why)
{
	int format = find_format(style), rc;
	struct report *opened;

	if (format < 0 || (format == FORMAT_METRICS && !style->metrics)) {
		*why = format < 0 ? "unknown format: give json, table, raw or openmetrics"
				  : "it has no metrics: give json, table or raw";
		return -EINVAL;
	}
	opened = calloc(1, sizeof(*opened));
	if (!opened)
		return -ENOMEM;
	*opened = (struct report){.style = style, .type = type, .quiet = style->quiet && !style->output, .waits = true};
	rc = style->output ? output_begin(&opened->output, style->output) : 0;
	if (rc == 0 && !opened->quiet)
		rc = open_format(opened, format, columns);
	if (rc < 0) {
		*why = "--output: it is no file";
		output_end(&opened->output, rc);
		free(opened);
		return rc;
	}
	/* A reader that goes away must not kill a tool in the middle of its work: writing fails with EPIPE instead. */
	if (broken_pipe == SIG_ERR)
		broken_pipe = signal(SIGPIPE, SIG_IGN);
	*report = opened;
	return 0;
}

void report_describe(struct report *report, report_describe_fn describe)
{
	report->describe = describe;
}

static int write_status(bool failed)
{
	if (!failed)
		return 0;
	return errno ? -errno : -EIO;
}

static int print_in_table(struct table *table, json_t *record)
{
	int error;

	errno = 0;
	error = table_add(table, record);
	return error ? error : write_status(fflush(stdout) || ferror(stdout));
}

/* Metrics are of the rows; the rest is not for dashboards. */
static int count_record(const struct report *report, const json_t *record)
{
	return input_is(record, report->type) ? metrics_add(report->metrics, record) : 0;
}

/* The first error, as error_print has it. */
static void emit_error(struct report *report, const json_t *record)
{
	struct error error = {0};

	if (report->told || !input_is(record, "error"))
		return;
	error_set(&error, -EIO, input_text(record, "reason"), input_text(record, "hint"), "do all of it");
	if (json_object_get(record, "pid"))
		snprintf(error.tried, sizeof(error.tried), "do all of it in process %lld",
			 json_integer_value(json_object_get(record, "pid")));
	error_print(report->style->quiet, &error);
	report->told = true;
}

static int print_record(struct report *report, json_t *record)
{
	if (report->quiet) {
		emit_error(report, record);
		return 0;
	}
	if (report->metrics)
		return count_record(report, record);
	return report->table ? print_in_table(report->table, record) : lines_write(&report->lines, record);
}

int report_record(struct report *report, json_t *record)
{
	if (!record)
		return -ENOMEM;
	if (report->describe)
		report->describe(record);
	report->waits = true;
	if (!report->status && !(report->style->no_summary && input_is(record, "summary")))
		report->status = print_record(report, record);
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

int report_parts(struct report *report, json_t *before, json_t *between, json_t *after)
{
	if (report->describe)
		report->describe(before);
	if (report->quiet)
		return 0;
	if (report->table || report->metrics)
		return add_row(report, before, between, after);
	report->waits = true;
	if (!report->status)
		report->status = lines_add(&report->lines, before, between, after);
	return report->status;
}

int report_flush(struct report *report)
{
	if (!report->status)
		report->status = lines_flush(&report->lines);
	return report->status;
}

bool report_told(const struct report *report)
{
	return report->told;
}

bool report_failed(const struct report *report)
{
	return report->status < 0;
}

/* What a round, or the report, has kept so far. */
static int print_kept(struct report *report)
{
	errno = 0;
	if (!report->status && report->table)
		report->status = table_flush(report->table);
	if (!report->status && report->metrics && report->waits)
		metrics_print(report->metrics, stdout);
	report_flush(report);
	if (!report->status)
		report->status = write_status(fflush(stdout) || ferror(stdout));
	return report->status;
}

int report_round(struct report *report)
{
	report->waits = true; /* that there is nothing to count is told, too */
	print_kept(report);
	report->waits = false;
	if (!report->status && report->style->output) {
		report->status = output_end(&report->output, 0);
		if (!report->status)
			report->status = output_begin(&report->output, report->style->output);
	}
	return report->status;
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
	status = print_kept(report);
	if (report->table)
		table_close(report->table);
	lines_free(&report->lines);
	metrics_free(report->metrics);
	if (report->output.path && (report->waits || status))
		status = output_end(&report->output, status);
	else
		output_end(&report->output, -ECANCELED);
	free(report);
	return status;
}
