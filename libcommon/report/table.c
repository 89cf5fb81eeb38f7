/* SPDX-License-Identifier: MIT */
/* Records as a table for people: rows in columns, other records as a line each. */
#include "report/table.h"

#include <ctype.h>
#include <errno.h>
#include <langinfo.h>
#include <libsmartcols.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/size.h"
#include "base/text.h"
#include "report/input.h"
#include "report/sentence.h"
#include "report/value.h"

#define KEPT_RECORDS 1000
#define SEPARATOR    2
#define PROSE_LEAST  16
#define OF_ERROR     "{op} of {bytes} at {start}: {reason}[ ({hint})]\n{op}: {reason}[ ({hint})]"
#define OF_MANY      "{+processes|process|processes}[, {failed} of them failed]" /* what tools say after several */
#define BOLD         "\033[1m"
#define RED          "\033[31m"
#define PLAIN        "\033[0m"

struct column {
	char *key;
	int kind;
	struct libscols_column *shown;
};

struct table {
	const char *type;
	const struct report_style *style;
	struct libscols_table *shown;
	struct column *columns;
	size_t count;
	json_t *rows;   /* that wait until the widths of all are known */
	json_t *others; /* records of other types, printed below them */
	bool raw;
	bool color;
};

/* Names can be of any script, and the C locale would show them as bytes. */
static void set_characters(void)
{
	setlocale(LC_CTYPE, "");
	if (strcmp(nl_langinfo(CODESET), "UTF-8") != 0)
		setlocale(LC_CTYPE, "C.UTF-8");
}

static bool wants_color(enum report_color color)
{
	const char *never = getenv("NO_COLOR");

	if (color != REPORT_COLOR_AUTO)
		return color == REPORT_COLOR_ALWAYS;
	return isatty(STDOUT_FILENO) && !(never && *never);
}

static const struct report_column *find_column(const struct report_column *columns, const char *key)
{
	for (; columns->key; columns++)
		if (strcmp(columns->key, key) == 0)
			return columns;
	return NULL;
}

/* What most values of a kind fit in: rows that are shown one by one are aligned by it. */
static size_t usual_width(int kind, const char *title)
{
	static const size_t widths[] = {
		[COLUMN_TEXT] = 7,    [COLUMN_NUMBER] = 7, [COLUMN_SIZE] = 10,
		[COLUMN_PERCENT] = 6, [COLUMN_TIME] = 8,   [COLUMN_ADDRESS] = 14,
		[COLUMN_NAME] = 16,   [COLUMN_PROSE] = 12, [COLUMN_REASONS] = 12,
	};

	return max_u64(widths[kind & COLUMN_KIND], strlen(title));
}

static bool is_prose(int kind)
{
	return kind == COLUMN_PROSE || kind == COLUMN_REASONS;
}

static int column_flags(int kind)
{
	static const int flags[] = {
		[COLUMN_NUMBER] = SCOLS_FL_RIGHT, [COLUMN_SIZE] = SCOLS_FL_RIGHT, [COLUMN_PERCENT] = SCOLS_FL_RIGHT,
		[COLUMN_TIME] = SCOLS_FL_RIGHT,   [COLUMN_NAME] = SCOLS_FL_TRUNC, [COLUMN_PROSE] = SCOLS_FL_WRAP,
		[COLUMN_REASONS] = SCOLS_FL_WRAP,
	};

	return flags[kind];
}

/* Takes the key, as the user or the tool spelled it. */
static int add_column(struct table *table, char *key, const struct report_column *known)
{
	struct column *columns = reallocarray(table->columns, table->count + 1, sizeof(*columns));
	_cleanup_free_ char *title = key ? strdup(known ? known->title : key) : NULL;
	struct column *column;

	if (columns)
		table->columns = columns;
	if (!columns || !title) {
		free(key);
		return -ENOMEM;
	}
	text_make_safe(title);
	for (char *c = title; !known && *c; c++)
		*c = (char)toupper((unsigned char)*c);
	column = &columns[table->count++];
	*column = (struct column){.key = key, .kind = value_kind(key)};
	if (known)
		column->kind = (int)known->kind & COLUMN_KIND;
	column->shown = scols_table_new_column(table->shown, title,
					       table->style->live ? (double)usual_width(column->kind, title) : 0,
					       column_flags(column->kind));
	if (!column->shown)
		return -ENOMEM;
	if (is_prose(column->kind)) {
		scols_column_set_wrapfunc(column->shown, scols_wrapnl_chunksize, scols_wrapnl_nextchunk, NULL);
		scols_column_set_safechars(column->shown, "\n");
	}
	return table->color ? scols_cell_set_color(scols_column_get_header(column->shown), BOLD) : 0;
}

size_t report_width(void)
{
	const char *columns = getenv("COLUMNS");
	struct winsize size;
	int64_t width;

	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0)
		return size.ws_col;
	return columns && number_parse(columns, 1, UINT16_MAX, &width) == 0 ? (size_t)width : 0;
}

/* Whether all columns fit in a terminal; those that only a wide one has are left out elsewhere. */
static bool all_fit(const struct report_column *columns)
{
	size_t width = report_width(), needed = 0;

	for (const struct report_column *c = columns; c->key; c++)
		needed += (int)c->kind & COLUMN_CHOSEN ? 0 : usual_width((int)c->kind, c->title) + SEPARATOR;
	return !width || needed <= width + SEPARATOR;
}

static int add_columns(struct table *table, const char *chosen, const struct report_column *columns)
{
	static const struct report_column process = {"pid", "PID", COLUMN_NUMBER};
	bool all = table->raw || all_fit(columns);
	int error = 0;

	if (table->style->named && !table->raw && !chosen && !find_column(columns, process.key))
		error = add_column(table, strdup(process.key), &process);
	for (const struct report_column *c = columns; !chosen && c->key && !error; c++)
		if ((all || !((int)c->kind & COLUMN_WIDE)) && !((int)c->kind & COLUMN_CHOSEN))
			error = add_column(table, strdup(c->key), c);
	while (chosen && !error) {
		size_t length = strcspn(chosen, ",");
		char *key = strndup(chosen, length);

		error = add_column(table, key, key ? find_column(columns, key) : NULL);
		chosen = chosen[length] ? chosen + length + 1 : NULL;
	}
	return error;
}

static int open_shown(struct table *table)
{
	table->shown = scols_new_table();
	if (!table->shown)
		return -ENOMEM;
	scols_table_enable_raw(table->shown, table->raw);
	scols_table_enable_colors(table->shown, table->color);
	scols_table_enable_noheadings(table->shown, table->style->no_headings);
	if (!isatty(STDOUT_FILENO) && report_width() && !table->raw) {
		scols_table_set_termforce(table->shown, SCOLS_TERMFORCE_ALWAYS);
		scols_table_set_termwidth(table->shown, report_width());
	}
	return table->raw ? 0 : scols_table_set_column_separator(table->shown, "  ");
}

int table_open(struct table **table, const struct report_style *style, bool raw, const struct report_column *columns,
	       const char *type)
{
	struct table *opened = calloc(1, sizeof(*opened));

	if (!opened)
		return -ENOMEM;
	set_characters();
	opened->type = type;
	opened->style = style;
	opened->raw = raw;
	opened->color = !raw && wants_color(style->color);
	opened->rows = json_array();
	opened->others = json_array();
	if (!opened->rows || !opened->others || open_shown(opened) || add_columns(opened, style->chosen, columns)) {
		table_close(opened);
		return -ENOMEM;
	}
	*table = opened;
	return 0;
}

static uint64_t largest_size(const struct table *table, const json_t *record)
{
	uint64_t largest = 0;

	for (size_t i = 0; i < table->count; i++)
		if (table->columns[i].kind == COLUMN_SIZE)
			largest = max_u64(largest,
					  (uint64_t)json_integer_value(json_object_get(record, table->columns[i].key)));
	return largest;
}

/* Ends lines between words, none longer than `width` unless a word is. */
static void wrap_words(char *text, size_t width)
{
	char *space = NULL;
	size_t length = 0;

	for (; *text; text++) {
		length += (*text & 0xc0) != 0x80;
		if (length > width && space) {
			*space = '\n';
			length = (size_t)(text - space);
			space = NULL;
		}
		if (*text == ' ')
			space = text;
	}
}

static int add_row(struct table *table, const json_t *record, size_t prose)
{
	struct libscols_line *line = scols_table_new_line(table->shown, NULL);
	uint64_t beside = largest_size(table, record);

	if (!line)
		return -ENOMEM;
	for (size_t i = 0; i < table->count; i++) {
		const struct column *column = &table->columns[i];
		int kind = table->raw && column->kind != COLUMN_NAME ? COLUMN_TEXT : column->kind;
		char *text = value_text(json_object_get(record, column->key), kind, beside);

		if (text && prose && is_prose(kind))
			wrap_words(text, prose);
		if (!text || scols_line_refer_data(line, i, text)) {
			free(text);
			return -ENOMEM;
		}
	}
	return 0;
}

/* Of its title, and of the rows that wait. */
static size_t widest_text(const struct table *table, const struct column *column)
{
	size_t widest = strlen(scols_column_get_name(column->shown)), index;
	const json_t *record;

	json_array_foreach(table->rows, index, record) {
		_cleanup_free_ char *text =
			value_text(json_object_get(record, column->key), column->kind, largest_size(table, record));

		widest = max_u64(widest, text ? text_width(text) : 0);
	}
	return widest;
}

/*
 * How wide columns of prose can be beside the others of the rows that wait. 0: nothing is in their way. Those that need
 * less than their part leave it to the others.
 */
static size_t prose_width(const struct table *table)
{
	size_t width = table->raw ? 0 : report_width(), taken = 0, columns = 0, part;

	for (size_t i = 0; i < table->count; i++) {
		columns += is_prose(table->columns[i].kind);
		taken += SEPARATOR + (is_prose(table->columns[i].kind) ? 0 : widest_text(table, &table->columns[i]));
	}
	if (!width || !columns)
		return 0;
	part = width > taken ? (width - taken) / columns : 0;
	for (size_t i = 0; i < table->count; i++) {
		size_t widest = is_prose(table->columns[i].kind) ? widest_text(table, &table->columns[i]) : part + 1;

		columns -= widest <= part;
		taken += widest <= part ? widest : 0;
	}
	if (!columns)
		return 0;
	return width > taken + columns * PROSE_LEAST ? (width - taken) / columns : PROSE_LEAST;
}

/* "NAME: regions=3 moved_bytes=2.0 MiB" */
static int print_keys(json_t *record)
{
	_cleanup_free_ char *type = value_text(json_object_get(record, "type"), COLUMN_TEXT, 0);
	const char *key;
	json_t *value;

	if (!type)
		return -ENOMEM;
	printf("%s:", type);
	json_object_foreach(record, key, value) {
		_cleanup_free_ char *text = value_text(value, value_kind(key), 0);
		_cleanup_free_ char *name = strdup(key);
		const char *quote = text && json_is_string(value) && strpbrk(text, " \"") ? "\"" : "";

		if (!text || !name)
			return -ENOMEM;
		if (strcmp(key, "type") != 0 && strcmp(key, "v") != 0)
			printf(" %s=%s%s%s", text_make_safe(name), quote, text, quote);
	}
	return 0;
}

/* "redis-server (812): " */
static void print_process(const json_t *record)
{
	_cleanup_free_ char *name = value_text(json_object_get(record, "comm"), COLUMN_TEXT, 0);
	json_int_t pid = json_integer_value(json_object_get(record, "pid"));

	if (pid && name)
		printf("%s (%lld): ", name, pid);
}

/* A record that is no row: a sentence if the tool has one for it, or its keys. */
static int print_other(const struct table *table, json_t *record)
{
	bool failed = input_is(record, "error");
	int error = 0;

	if (table->raw)
		return 0;
	if (table->color)
		fputs(failed ? RED : BOLD, stdout);
	if (table->style->named && (failed || input_is(record, "summary")))
		print_process(record);
	if (sentence_print(record, failed ? OF_ERROR : table->style->sentences) < 0 &&
	    sentence_print(record, OF_MANY) < 0)
		error = print_keys(record);
	puts(table->color ? PLAIN : "");
	return error;
}

static int print_rows(struct table *table)
{
	size_t prose = prose_width(table), index;
	const json_t *record;
	int error = 0;

	json_array_foreach(table->rows, index, record) {
		if (!error)
			error = add_row(table, record, prose);
	}
	if (error || !json_array_size(table->rows))
		return error;
	error = scols_print_table(table->shown);
	scols_table_remove_lines(table->shown);
	scols_table_enable_noheadings(table->shown, 1);
	for (size_t i = 0; i < table->count; i++)
		scols_column_set_whint(table->columns[i].shown,
				       (double)scols_column_get_width(table->columns[i].shown));
	json_array_clear(table->rows);
	return error;
}

int table_flush(struct table *table)
{
	json_t *other;
	size_t index;
	int error = print_rows(table);

	json_array_foreach(table->others, index, other) {
		if (!error)
			error = print_other(table, other);
	}
	json_array_clear(table->others);
	return error;
}

int table_add(struct table *table, json_t *record)
{
	bool row = input_is(record, table->type);

	if (row && table->style->no_rows)
		return 0;
	if (json_array_append(row ? table->rows : table->others, record))
		return -ENOMEM;
	if (!table->style->live && json_array_size(table->rows) < KEPT_RECORDS &&
	    json_array_size(table->others) < KEPT_RECORDS)
		return 0;
	return table_flush(table);
}

void table_close(struct table *table)
{
	for (size_t i = 0; i < table->count; i++)
		free(table->columns[i].key);
	free(table->columns);
	scols_unref_table(table->shown);
	json_decref(table->rows);
	json_decref(table->others);
	free(table);
}
