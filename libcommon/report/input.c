/* SPDX-License-Identifier: MIT */
/* Regions from a stream of records: JSON Lines, an array, or one object. One record is held at a time. */
#include "report/input.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "base/size.h"
#include "report/parse.h"

#define MAX_REGIONS      UINT64_C(16000000)
#define MAX_RECORD_BYTES (16 * MiB)
#define MAX_ADDRESS      (UINT64_C(1) << 63)

struct reader {
	FILE *stream;
	const char *name;
	size_t line; /* of the next character */
	char *text;  /* the record being read */
	size_t size;
	size_t capacity;
	int failure; /* negative errno when the stream could not be read */
	struct error *error;
};

static int refuse_line(const struct reader *reader, size_t line, const char *why, ...)
	__attribute__((format(printf, 3, 4)));

static int refuse_line(const struct reader *reader, size_t line, const char *why, ...)
{
	char text[sizeof(reader->error->why)];
	va_list args;

	va_start(args, why);
	vsnprintf(text, sizeof(text), why, args);
	va_end(args);
	return error_set(reader->error, -EINVAL, text, NULL, "read regions from %s: line %zu", reader->name, line);
}

static int refuse_input(const struct reader *reader, int code)
{
	return error_set(reader->error, code, NULL, NULL, "read regions from %s", reader->name);
}

/* What an end of the stream in the middle of something means. */
static int refuse_end(const struct reader *reader, size_t line, const char *what)
{
	if (reader->failure)
		return refuse_input(reader, reader->failure);
	return refuse_line(reader, line, "the %s is cut short", what);
}

static int next_char(struct reader *reader)
{
	int c = getc(reader->stream);

	if (c == '\n')
		reader->line++;
	if (c == EOF && ferror(reader->stream))
		reader->failure = -errno;
	return c;
}

static int next_visible(struct reader *reader)
{
	int c;

	do {
		c = next_char(reader);
	} while (c == ' ' || c == '\t' || c == '\r' || c == '\n');
	return c;
}

static int keep_char(struct reader *reader, int c)
{
	if (reader->size == MAX_RECORD_BYTES)
		return refuse_line(reader, reader->line, "the record is larger than 16 MiB");
	if (array_reserve(&reader->text, reader->size, &reader->capacity) < 0)
		return refuse_input(reader, -ENOMEM);
	reader->text[reader->size++] = (char)c;
	return 0;
}

/*
 * Reads the rest of an object whose '{' was read: to the brace that closes it. What is inside is for the parser to
 * judge.
 */
static int read_object(struct reader *reader)
{
	bool in_string = false, escaped = false;
	size_t first_line = reader->line;
	unsigned int depth = 1;
	int error;

	reader->size = 0;
	error = keep_char(reader, '{');
	while (depth && !error) {
		int c = next_char(reader);

		if (c == EOF)
			return refuse_end(reader, first_line, "record");
		error = keep_char(reader, c);
		if (escaped)
			escaped = false;
		else if (c == '"')
			in_string = !in_string;
		else if (in_string)
			escaped = c == '\\';
		else
			depth += (c == '{') - (c == '}');
	}
	return error;
}

int input_address(const json_t *value, uint64_t *address)
{
	uint64_t parsed;

	if (json_is_integer(value) && json_integer_value(value) >= 0) {
		*address = (uint64_t)json_integer_value(value);
		return 0;
	}
	if (!json_is_string(value) || address_parse(json_string_value(value), &parsed) || parsed > MAX_ADDRESS)
		return -EINVAL;
	*address = parsed;
	return 0;
}

/* A number that may be absent or null. */
static int optional_number(const json_t *record, const char *key, json_int_t lowest, json_int_t *number)
{
	const json_t *value = json_object_get(record, key);

	if (!value || json_is_null(value))
		return 0;
	if (!json_is_integer(value) || json_integer_value(value) < lowest)
		return -EINVAL;
	*number = json_integer_value(value);
	return 0;
}

static int check_process(struct region_input *input, const struct reader *reader, size_t line, const json_t *record)
{
	json_int_t pid = 0, starttime = 0;

	if (optional_number(record, "pid", 1, &pid) || pid > INT_MAX)
		return refuse_line(reader, line, "\"pid\" is not a process id");
	if (optional_number(record, "starttime", 0, &starttime))
		return refuse_line(reader, line, "\"starttime\" is not a number of clock ticks");
	if (input->pid && pid && pid != input->pid)
		return refuse_line(reader, line, "the region is of process %d, those before are of process %d",
				   (int)pid, input->pid);
	if (input->starttime && starttime && (uint64_t)starttime != input->starttime)
		return refuse_line(reader, line,
				   "the region is of another process than those before (start time %lld, not %llu)",
				   (long long)starttime, (unsigned long long)input->starttime);
	if (pid)
		input->pid = (pid_t)pid;
	if (starttime)
		input->starttime = (uint64_t)starttime;
	return 0;
}

static int check_region(const struct reader *reader, size_t line, const json_t *record, struct region region,
			uint64_t align)
{
	json_int_t bytes = -1;

	if (region.end <= region.start)
		return refuse_line(reader, line, "\"end\" is not above \"start\"");
	if ((region.start | region.end) & (align - 1))
		return refuse_line(reader, line, "%#llx-%#llx is not aligned to %llu bytes",
				   (unsigned long long)region.start, (unsigned long long)region.end,
				   (unsigned long long)align);
	if (optional_number(record, "bytes", 0, &bytes) || (bytes >= 0 && (uint64_t)bytes != region_bytes(region)))
		return refuse_line(reader, line, "\"bytes\" contradicts \"start\" and \"end\"");
	return 0;
}

static int take_record(struct region_input *input, const struct reader *reader, size_t line, const json_t *record,
		       uint64_t align)
{
	const json_t *start = json_object_get(record, "start"), *end = json_object_get(record, "end");
	const char *type = json_string_value(json_object_get(record, "type"));
	const json_t *version = json_object_get(record, "v");
	struct region region;
	int error;

	if (version && (!json_is_integer(version) || json_integer_value(version) != 1))
		return refuse_line(reader, line, "the record's version \"v\" is not 1");
	if (!start || !end || (type && (strcmp(type, "error") == 0 || strcmp(type, "summary") == 0)))
		return 0;
	if (input_address(start, &region.start))
		return refuse_line(reader, line, "\"start\" is not an address");
	if (input_address(end, &region.end))
		return refuse_line(reader, line, "\"end\" is not an address");
	error = check_region(reader, line, record, region, align);
	if (!error)
		error = check_process(input, reader, line, record);
	if (error)
		return error;
	if (input->regions.count == MAX_REGIONS)
		return refuse_line(reader, line, "more than 16 million regions");
	if (region_vec_push(&input->regions, region))
		return refuse_input(reader, -ENOMEM);
	return 0;
}

/* One object whose '{' was read. */
static int read_record(struct region_input *input, struct reader *reader, uint64_t align)
{
	size_t line = reader->line;
	json_error_t parse;
	json_t *record;
	int error = read_object(reader);

	if (error)
		return error;
	record = parse_text(reader->text, reader->size, JSON_REJECT_DUPLICATES, &parse);
	if (!record && parse_ran_out(&parse))
		return refuse_input(reader, -ENOMEM);
	if (!record)
		return refuse_line(reader, line + (parse.line > 0 ? (size_t)parse.line - 1 : 0), "%s", parse.text);
	error = take_record(input, reader, line, record, align);
	json_decref(record);
	return error;
}

/* The elements of an array whose '[' was read. */
static int read_array(struct region_input *input, struct reader *reader, uint64_t align)
{
	int c = next_visible(reader), error;

	if (c == ']')
		return 0;
	while (c == '{') {
		error = read_record(input, reader, align);
		if (error)
			return error;
		c = next_visible(reader);
		if (c == ']')
			return 0;
		if (c == ',')
			c = next_visible(reader);
		else if (c != EOF)
			return refuse_line(reader, reader->line, "expected ',' or ']' after a record");
	}
	if (c == EOF)
		return refuse_end(reader, reader->line, "array");
	return refuse_line(reader, reader->line, "expected a record: an object in braces");
}

static int read_all(struct region_input *input, struct reader *reader, uint64_t align)
{
	int c, error = 0;

	while (!error && (c = next_visible(reader)) != EOF) {
		if (c == '{')
			error = read_record(input, reader, align);
		else if (c == '[')
			error = read_array(input, reader, align);
		else
			error = refuse_line(reader, reader->line, "expected a record: an object in braces");
	}
	return error || !reader->failure ? error : refuse_input(reader, reader->failure);
}

int region_input_read(struct region_input *input, const char *path, uint64_t align, struct error *error)
{
	bool standard = strcmp(path, "-") == 0;
	_cleanup_fclose_ FILE *opened = standard ? NULL : fopen(path, "re");
	struct reader reader = {.stream = standard ? stdin : opened, .line = 1, .error = error};
	int status;

	*input = (struct region_input){0};
	reader.name = standard ? "standard input" : path;
	if (!reader.stream)
		return error_set(error, -errno, NULL, NULL, "read regions from %s", reader.name);
	status = read_all(input, &reader, align);
	free(reader.text);
	if (status)
		region_input_free(input);
	return status;
}

void region_input_free(struct region_input *input)
{
	region_vec_free(&input->regions);
	*input = (struct region_input){0};
}

uint64_t input_number(const json_t *record, const char *key)
{
	return (uint64_t)json_integer_value(json_object_get(record, key));
}
