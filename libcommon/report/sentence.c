/* SPDX-License-Identifier: MIT */
/* Records as sentences: values put into a pattern. */
#include "report/sentence.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "report/value.h"

#define KEY_MAX 64

/* A pattern on its way into a sentence. */
struct sentence {
	const json_t *record;
	FILE *stream;
	int missing; /* values of the part being read that are not there */
};

static bool is_nothing(const json_t *value)
{
	return !value || json_is_null(value) || json_is_false(value) ||
	       (json_is_number(value) && !json_number_value(value)) ||
	       (json_is_object(value) && !json_object_size(value)) || (json_is_array(value) && !json_array_size(value));
}

static void print_ratio(struct sentence *sentence, const char *key, const char *of)
{
	double all = json_number_value(json_object_get(sentence->record, key));
	double part = json_number_value(json_object_get(sentence->record, of));

	if (part > 0)
		fprintf(sentence->stream, "%.1f:1", all / part);
	else
		sentence->missing++;
}

static void print_key(struct sentence *sentence, char *key)
{
	bool only_asked = *key == '?', even_zero = *key == '+';
	char *of = strchr(key, ':'), *noun = strchr(key, '|'), *nouns = noun ? strchr(noun + 1, '|') : NULL;
	json_t *value;
	_cleanup_free_ char *text = NULL;

	key += only_asked || even_zero;
	if (of) {
		*of = '\0';
		print_ratio(sentence, key, of + 1);
		return;
	}
	if (nouns)
		*noun++ = *nouns++ = '\0';
	value = json_object_get(sentence->record, key);
	sentence->missing += even_zero ? !value : is_nothing(value);
	text = only_asked ? NULL : value_text(value, json_is_object(value) ? COLUMN_REASONS : value_kind(key), 0);
	fputs(text ? text : "", sentence->stream);
	if (nouns)
		fprintf(sentence->stream, " %s", json_integer_value(value) == 1 ? noun : nouns);
}

/* Prints up to `end` or the end of a pattern. Returns where that is. */
static const char *print_part(struct sentence *sentence, const char *at, char end)
{
	char key[KEY_MAX];

	for (; *at && *at != '\n' && *at != end; at++) {
		size_t length = *at == '{' ? strcspn(at, "}") : 0;

		if (!length || length > sizeof(key)) {
			fputc(*at, sentence->stream);
			continue;
		}
		memcpy(key, at + 1, length - 1);
		key[length - 1] = '\0';
		print_key(sentence, key);
		at += length;
	}
	return at;
}

/* A part in brackets, which is left out when something is missing in it. */
static const char *print_optional(struct sentence *sentence, const char *at)
{
	_cleanup_free_ char *text = NULL;
	size_t size = 0;
	struct sentence part = {sentence->record, open_memstream(&text, &size), 0};

	if (!part.stream)
		return at + strcspn(at, "]");
	at = print_part(&part, at, ']');
	fclose(part.stream);
	if (!part.missing && text)
		fputs(text, sentence->stream);
	return at;
}

/* Returns how many values are missing outside of brackets. */
static int print_pattern(struct sentence *sentence, const char *at)
{
	while (*at && *at != '\n') {
		at = print_part(sentence, at, '[');
		if (*at == '[')
			at = print_optional(sentence, at + 1);
		if (*at == ']')
			at++;
	}
	return sentence->missing;
}

int sentence_print(const json_t *record, const char *patterns)
{
	while (patterns) {
		_cleanup_free_ char *text = NULL;
		size_t size = 0;
		struct sentence sentence = {record, open_memstream(&text, &size), 0};
		int missing;

		if (!sentence.stream)
			return -ENOMEM;
		missing = print_pattern(&sentence, patterns);
		if (fclose(sentence.stream) || !text)
			return -ENOMEM;
		if (!missing)
			return fputs(text, stdout) < 0 ? -EIO : 0;
		patterns = strchr(patterns, '\n');
		patterns = patterns ? patterns + 1 : NULL;
	}
	return -ENOENT;
}
