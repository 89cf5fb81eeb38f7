/* SPDX-License-Identifier: MIT */
/* Values of records as text for people. */
#include "report/value.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/size.h"
#include "base/text.h"

#define REASONS_MAX 32

static bool ends_in(const char *key, const char *end)
{
	size_t length = strlen(key), part = strlen(end);

	return length >= part && strcmp(key + length - part, end) == 0;
}

int value_kind(const char *key)
{
	return ends_in(key, "bytes") || ends_in(key, "bytes_per_s") ? COLUMN_SIZE
	       : ends_in(key, "_us")                                ? COLUMN_TIME
	       : ends_in(key, "pages") || ends_in(key, "pid")       ? COLUMN_NUMBER
								    : COLUMN_TEXT;
}

/* The words of an array, joined by commas; anything nested stays JSON. The caller frees it. */
static char *join_words(const json_t *array, const char *separator)
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

		fprintf(stream, "%s%s", index ? separator : "", other ? other : json_string_value(item));
	}
	fclose(stream);
	return text;
}

static int by_bytes(const void *a, const void *b)
{
	json_int_t one = json_integer_value(json_object_iter_value(*(void *const *)a));
	json_int_t other = json_integer_value(json_object_iter_value(*(void *const *)b));

	return one < other ? 1 : one > other ? -1 : 0;
}

/* A size, without its unit where that is the unit of the total (0: there is none), and what it is of. */
static void print_reason(FILE *stream, const char *reason, uint64_t bytes, uint64_t total)
{
	char shown[SIZE_TEXT], whole[SIZE_TEXT], *unit;

	size_format_beside(shown, bytes, total);
	unit = strchr(shown, ' ');
	if (total && strcmp(unit, strchr(size_format(whole, total), ' ')) == 0)
		*unit = '\0';
	fprintf(stream, "%s ", shown);
	if (strcmp(reason, "not-resident") == 0)
		reason = "never touched";
	for (; *reason; reason++)
		fputc(*reason == '-' ? ' ' : *reason, stream);
}

/*
 * "14.7 never touched, 0.2 stack": bytes by reason, most first, in the unit of all, which stands before them; in a row
 * nothing does, and each has its own. The caller frees it.
 */
static char *join_reasons(json_t *reasons, bool in_row)
{
	void *order[REASONS_MAX];
	size_t count = 0, size = 0;
	uint64_t total = 0;
	char *text = NULL;
	FILE *stream = open_memstream(&text, &size);

	if (!stream)
		return NULL;
	for (void *at = json_object_iter(reasons); at && count < REASONS_MAX; at = json_object_iter_next(reasons, at)) {
		total += (uint64_t)json_integer_value(json_object_iter_value(at));
		order[count++] = at;
	}
	qsort(order, count, sizeof(*order), by_bytes);
	for (size_t i = 0; i < count; i++) {
		fputs(i ? ", " : "", stream);
		print_reason(stream, json_object_iter_key(order[i]),
			     (uint64_t)json_integer_value(json_object_iter_value(order[i])), in_row ? 0 : total);
	}
	fclose(stream);
	return text;
}

/* A number for people: `beside` is the largest size in the row, whose unit it takes. NULL: it is no such number. */
static char *number_text(const json_t *value, int kind, uint64_t beside)
{
	double exact = json_number_value(value);
	bool counted = json_is_number(value) && exact >= 0 && exact < 0x1p64;
	uint64_t number = counted ? (uint64_t)exact : 0;
	char text[SIZE_TEXT] = "";

	if (kind == COLUMN_SIZE && counted)
		size_format_beside(text, number, beside);
	else if (kind == COLUMN_TIME && counted)
		duration_format(text, number);
	else if (kind == COLUMN_PERCENT && json_is_number(value))
		snprintf(text, sizeof(text), "%.1f%%", exact);
	return *text ? strdup(text) : NULL;
}

char *value_text(json_t *value, int kind, uint64_t beside)
{
	char *text = number_text(value, kind, beside);
	int length = 0;

	if (text)
		return text;
	if (kind == COLUMN_NAME && json_is_string(value) && !*json_string_value(value))
		text = strdup("[anon]");
	else if (!value || json_is_null(value) || (json_is_array(value) && !json_array_size(value)))
		text = strdup("-");
	else if (json_is_string(value))
		text = strdup(json_string_value(value));
	else if (json_is_real(value))
		length = asprintf(&text, "%.2f", json_real_value(value));
	else if (json_is_boolean(value))
		text = strdup(json_is_true(value) ? "yes" : "no");
	else if (kind == COLUMN_REASONS && json_is_object(value))
		text = join_reasons(value, beside > 0);
	else if (json_is_array(value))
		text = join_words(value, kind == COLUMN_PROSE ? ", " : ",");
	else
		text = report_text(value, JSON_COMPACT | JSON_ENCODE_ANY);
	return length < 0 || !text ? NULL : text_make_safe(text);
}
