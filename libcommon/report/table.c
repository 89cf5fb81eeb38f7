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
#include "report/report.h"
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
	char *title;
	int kind;
	size_t width;
};

struct table {
	const char *type;
	struct column *columns;
	size_t count;
	json_t *rows;   /* kept while the widths are not fixed */
	json_t *others; /* records of other types, printed below the rows kept */
	bool streaming;
};

bool table_columns_valid(const char *chosen)
{
	size_t length;

	for (; chosen; chosen = chosen[length] ? chosen + length + 1 : NULL) {
		length = strcspn(chosen, ",");
		if (!length)
			return false;
	}
	return true;
}

static bool names_bytes(const char *key)
{
	size_t length = strlen(key);

	return length >= 5 && strcmp(key + length - 5, "bytes") == 0;
}

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
	struct column *column;

	if (columns)
		table->columns = columns;
	if (!columns || !key) {
		free(key);
		return -ENOMEM;
	}
	column = &columns[table->count++];
	*column = (struct column){.key = key, .title = strdup(known ? known->title : key)};
	if (!column->title)
		return -ENOMEM;
	text_make_safe(column->title);
	for (char *c = column->title; !known && *c; c++)
		*c = (char)toupper((unsigned char)*c);
	if (known)
		column->kind = (int)known->kind;
	else
		column->kind = names_bytes(key) ? COLUMN_SIZE : COLUMN_TEXT;
	column->width = text_width(column->title);
	return 0;
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
	int error = 0;

	for (const struct report_column *c = columns; !chosen && c->key && !error; c++)
		error = add_column(table, strdup(c->key), c);
	while (chosen && !error) {
		size_t length = strcspn(chosen, ",");
		char *key = strndup(chosen, length);

		error = add_column(table, key, key ? find_column(columns, key) : NULL);
		chosen = chosen[length] ? chosen + length + 1 : NULL;
	}
	return error;
}

int table_open(struct table **table, const char *chosen, const struct report_column *columns, const char *type)
{
	struct table *opened = calloc(1, sizeof(*opened));

	if (!opened)
		return -ENOMEM;
	opened->type = type;
	opened->rows = json_array();
	opened->others = json_array();
	if (!opened->rows || !opened->others || add_columns(opened, chosen, columns)) {
		table_close(opened, false);
		return -ENOMEM;
	}
	*table = opened;
	return 0;
}

/* The words of an array, joined by commas; anything nested stays JSON. The caller frees it. */
static char *join_words(const json_t *array)
{
	char *text = NULL;
	size_t size = 0, index;
	const json_t *item;
	FILE *stream = open_memstream(&text, &size);

	if (!stream)
		return NULL;
	json_array_foreach(array, index, item) {
		_cleanup_free_ char *other =
			json_is_string(item) ? NULL : report_text(item, JSON_COMPACT | JSON_ENCODE_ANY);

		fprintf(stream, "%s%s", index ? "," : "", other ? other : json_string_value(item));
	}
	fclose(stream);
	return text;
}

/* A value for people, safe for a terminal. The caller frees it. */
static char *shown_value(const json_t *value, int kind)
{
	char size[SIZE_TEXT];
	char *text = NULL;
	int length = 0;

	if (!value || json_is_null(value))
		text = strdup("-");
	else if (json_is_string(value))
		text = strdup(json_string_value(value));
	else if (kind == COLUMN_SIZE && json_is_integer(value) && json_integer_value(value) >= 0)
		text = strdup(size_format(size, (uint64_t)json_integer_value(value)));
	else if (kind == COLUMN_PERCENT && json_is_number(value))
		length = asprintf(&text, "%.1f%%", json_number_value(value));
	else if (json_is_real(value))
		length = asprintf(&text, "%.2f", json_real_value(value));
	else if (json_is_boolean(value))
		text = strdup(json_is_true(value) ? "yes" : "no");
	else if (json_is_array(value))
		text = join_words(value);
	else
		text = report_text(value, JSON_COMPACT | JSON_ENCODE_ANY);
	return length < 0 || !text ? NULL : text_make_safe(text);
}

static int print_row(const struct table *table, const json_t *record)
{
	for (size_t i = 0; i < table->count; i++) {
		const struct column *column = &table->columns[i];
		_cleanup_free_ char *text = shown_value(json_object_get(record, column->key), column->kind);
		bool left = column->kind == COLUMN_TEXT, last = i + 1 == table->count;
		size_t width = text ? text_width(text) : 0;
		int pad = column->width > width ? (int)(column->width - width) : 0;

		if (!text)
			return -ENOMEM;
		printf("%*s%s%*s%s", left ? 0 : pad, "", text, left && !last ? pad : 0, "", last ? "\n" : "  ");
	}
	return 0;
}

static void print_titles(const struct table *table)
{
	for (size_t i = 0; i < table->count; i++) {
		const struct column *column = &table->columns[i];
		bool left = column->kind == COLUMN_TEXT, last = i + 1 == table->count;
		int pad = (int)(column->width - text_width(column->title));

		printf("%*s%s%*s%s", left ? 0 : pad, "", column->title, left && !last ? pad : 0, "",
		       last ? "\n" : "  ");
	}
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

/* "summary: regions=3 moved_bytes=2.0 MiB" */
static int print_other(json_t *record)
{
	_cleanup_free_ char *type = shown_value(json_object_get(record, "type"), COLUMN_TEXT);
	const char *key;
	json_t *value;

	if (!type)
		return -ENOMEM;
	printf("%s:", type);
	json_object_foreach(record, key, value) {
		_cleanup_free_ char *text = shown_value(value, names_bytes(key) ? COLUMN_SIZE : COLUMN_TEXT);
		_cleanup_free_ char *name = strdup(key);
		const char *quote = text && json_is_string(value) && strpbrk(text, " \"") ? "\"" : "";

		if (!text || !name)
			return -ENOMEM;
		if (strcmp(key, "type") != 0 && strcmp(key, "v") != 0)
			printf(" %s=%s%s%s", text_make_safe(name), quote, text, quote);
	}
	putchar('\n');
	return 0;
}

static int fix_widths(struct table *table)
{
	const json_t *record;
	size_t index;

	json_array_foreach(table->rows, index, record) {
		for (size_t i = 0; i < table->count; i++) {
			struct column *column = &table->columns[i];
			_cleanup_free_ char *text = shown_value(json_object_get(record, column->key), column->kind);

			if (!text)
				return -ENOMEM;
			column->width = max_u64(column->width, text_width(text));
		}
	}
	return 0;
}

static int print_kept(struct table *table)
{
	const json_t *record;
	json_t *other;
	size_t index;
	int error = fix_widths(table);

	if (!error && json_array_size(table->rows))
		print_titles(table);
	json_array_foreach(table->rows, index, record) {
		if (!error)
			error = print_row(table, record);
	}
	json_array_foreach(table->others, index, other) {
		if (!error)
			error = print_other(other);
	}
	json_array_clear(table->rows);
	json_array_clear(table->others);
	return error;
}

int table_add(struct table *table, json_t *record)
{
	const char *type = json_string_value(json_object_get(record, "type"));
	bool row = type && strcmp(type, table->type) == 0;

	if (table->streaming)
		return row ? print_row(table, record) : print_other(record);
	if (json_array_append(row ? table->rows : table->others, record))
		return -ENOMEM;
	if (json_array_size(table->rows) < KEPT_RECORDS && json_array_size(table->others) < KEPT_RECORDS)
		return 0;
	table->streaming = true;
	return print_kept(table);
}

void table_close(struct table *table, bool print)
{
	if (print)
		print_kept(table);
	for (size_t i = 0; i < table->count; i++) {
		free(table->columns[i].key);
		free(table->columns[i].title);
	}
	free(table->columns);
	json_decref(table->rows);
	json_decref(table->others);
	free(table);
}
