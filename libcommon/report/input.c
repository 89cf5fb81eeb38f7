/* SPDX-License-Identifier: MIT */
/* Records from a stream: JSON Lines, an array, or one object. One record is held at a time. */
#include "report/input.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "base/size.h"
#include "report/parse.h"

#define MAX_REGIONS      UINT64_C(16000000)
#define MAX_PROCESSES    32768
#define MAX_RECORD_BYTES (16 * MiB)
#define MAX_ADDRESS      (UINT64_C(1) << 63)

struct reader {
	FILE *stream;
	const char *name;
	const char *what; /* is read: "regions" */
	int (*take)(const struct reader *reader, size_t line, const json_t *record, void *context);
	void *context;
	size_t line; /* of the next character */
	char *text;  /* the record being read */
	size_t size;
	size_t capacity;
	bool cut;    /* nothing was read, or a tool printed no summary at its end */
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
	return error_set(reader->error, -EINVAL, text, NULL, "read %s from %s: line %zu", reader->what, reader->name,
			 line);
}

static int refuse_input(const struct reader *reader, int code)
{
	return error_set(reader->error, code, NULL, NULL, "read %s from %s", reader->what, reader->name);
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

static bool precedes_pid(const void *group, const void *pid)
{
	return ((const struct region_group *)group)->pid < *(const pid_t *)pid;
}

/* The group of a process, a new one where there is none. Records that named nobody are of the first that one names. */
static struct region_group *group_of(struct region_input *input, pid_t pid)
{
	size_t at = first_not_before(input->groups, input->count, sizeof(*input->groups), precedes_pid, &pid);

	if (at < input->count && input->groups[at].pid == pid)
		return &input->groups[at];
	if (input->count == 1 && !input->groups[0].pid) {
		input->groups[0].pid = pid;
		return input->groups;
	}
	if (input->count == MAX_PROCESSES || array_reserve(&input->groups, input->count, &input->capacity) < 0)
		return NULL;
	memmove(&input->groups[at + 1], &input->groups[at], (input->count - at) * sizeof(*input->groups));
	input->count++;
	input->groups[at] = (struct region_group){.pid = pid};
	return &input->groups[at];
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

/* What region_input_read does with a record. */
struct taking {
	struct region_input *input;
	uint64_t align;
	input_fn each; /* is given each record behind that; may be NULL */
	void *context;
	size_t regions; /* so far */
	pid_t pid;      /* of the region before; 0: none has named one */
	struct region_group *group;
};

/* Which process a region is of. Returns 0 with its group in taking->group. */
static int find_group(struct taking *taking, const struct reader *reader, size_t line, const json_t *record)
{
	json_int_t pid = 0, starttime = 0;
	struct region_group *group;

	if (optional_number(record, "pid", 1, &pid) || pid > INT_MAX)
		return refuse_line(reader, line, "\"pid\" is not a process id");
	if (optional_number(record, "starttime", 0, &starttime))
		return refuse_line(reader, line, "\"starttime\" is not a number of clock ticks");
	taking->pid = pid ? (pid_t)pid : taking->pid;
	group = group_of(taking->input, taking->pid);
	if (!group)
		return taking->input->count == MAX_PROCESSES ? refuse_line(reader, line, "more than 32768 processes")
							     : refuse_input(reader, -ENOMEM);
	if (group->starttime && starttime && (uint64_t)starttime != group->starttime)
		return refuse_line(reader, line,
				   "the region is of another process than those before (start time %lld, not %llu)",
				   (long long)starttime, (unsigned long long)group->starttime);
	if (starttime)
		group->starttime = (uint64_t)starttime;
	taking->group = group;
	taking->regions++;
	return 0;
}

static int take_region(const struct reader *reader, size_t line, const json_t *record, void *context)
{
	struct taking *taking = context;
	const json_t *start = json_object_get(record, "start"), *end = json_object_get(record, "end");
	struct region region;
	int error;

	if (!start || !end || input_is(record, "error") || input_is(record, "summary"))
		return 0;
	if (input_address(start, &region.start))
		return refuse_line(reader, line, "\"start\" is not an address");
	if (input_address(end, &region.end))
		return refuse_line(reader, line, "\"end\" is not an address");
	error = check_region(reader, line, record, region, taking->align);
	if (!error && taking->regions == MAX_REGIONS)
		return refuse_line(reader, line, "more than 16 million regions");
	if (!error)
		error = find_group(taking, reader, line, record);
	if (error)
		return error;
	if (region_vec_push(&taking->group->regions, region))
		return refuse_input(reader, -ENOMEM);
	return 0;
}

static int take_record(struct reader *reader, size_t line, const json_t *record)
{
	const json_t *version = json_object_get(record, "v");

	if (version && (!json_is_integer(version) || json_integer_value(version) != 1))
		return refuse_line(reader, line, "the record's version \"v\" is not 1");
	/* What a tool has printed says so; records that a person wrote need no summary. */
	if (version && json_is_string(json_object_get(record, "type")))
		reader->cut = !input_is(record, "summary");
	return reader->take(reader, line, record, reader->context);
}

/* One object whose '{' was read. */
static int read_record(struct reader *reader)
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
	error = take_record(reader, line, record);
	json_decref(record);
	return error;
}

/* The elements of an array whose '[' was read. */
static int read_array(struct reader *reader)
{
	int c = next_visible(reader), error;

	if (c == ']')
		return 0;
	while (c == '{') {
		error = read_record(reader);
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

static int read_all(struct reader *reader)
{
	bool begun = false;
	int c, error = 0;

	reader->cut = true;
	for (; !error && (c = next_visible(reader)) != EOF; begun = true) {
		reader->cut &= begun;
		if (c == '{')
			error = read_record(reader);
		else if (c == '[')
			error = read_array(reader);
		else
			error = refuse_line(reader, reader->line, "expected a record: an object in braces");
	}
	return error || !reader->failure ? error : refuse_input(reader, reader->failure);
}

static int read_file(struct reader *reader, const char *path, struct error *error)
{
	bool standard = strcmp(path, "-") == 0;
	_cleanup_fclose_ FILE *opened = standard ? NULL : fopen(path, "re");
	int status;

	reader->stream = standard ? stdin : opened;
	reader->name = standard ? "standard input" : path;
	reader->line = 1;
	reader->error = error;
	if (!reader->stream)
		return error_set(error, -errno, NULL, NULL, "read %s from %s", reader->what, reader->name);
	status = read_all(reader);
	free(reader->text);
	return status;
}

static int take_walked(const struct reader *reader, size_t line, const json_t *record, void *context)
{
	const struct taking *taking = context;
	int error = take_region(reader, line, record, context);

	return !error && taking->each ? taking->each(taking->context, record, reader->error) : error;
}

int region_input_walk(struct region_input *input, const char *path, uint64_t align, input_fn each, void *context,
		      struct error *error)
{
	struct taking taking = {.input = input, .align = align, .each = each, .context = context};
	struct reader reader = {.what = "regions", .take = take_walked, .context = &taking};
	int status;

	*input = (struct region_input){0};
	status = read_file(&reader, path, error);
	input->cut = reader.cut;
	if (status)
		region_input_free(input);
	return status;
}

/* Who is given each record. */
struct listener {
	input_record_fn *take;
	void *context;
};

static int pass_record(const struct reader *reader, size_t line, const json_t *record, void *context)
{
	const struct listener *listener = context;
	const char *why = NULL;
	int rc = listener->take(listener->context, record, &why);

	if (rc == 0)
		return 0;
	return why ? refuse_line(reader, line, "%s", why) : refuse_input(reader, rc);
}

int input_records_read(const char *path, input_record_fn *take, void *context, struct error *error)
{
	struct listener listener = {take, context};
	struct reader reader = {.what = "records", .take = pass_record, .context = &listener};

	return read_file(&reader, path, error);
}

int region_input_read(struct region_input *input, const char *path, uint64_t align, struct error *error)
{
	return region_input_walk(input, path, align, NULL, NULL, error);
}

void region_input_free(struct region_input *input)
{
	for (size_t i = 0; i < input->count; i++)
		region_vec_free(&input->groups[i].regions);
	free(input->groups);
	*input = (struct region_input){0};
}

bool input_region(const json_t *record, struct region *region)
{
	return input_address(json_object_get(record, "start"), &region->start) == 0 &&
	       input_address(json_object_get(record, "end"), &region->end) == 0 && region->start < region->end;
}

const char *input_text(const json_t *record, const char *key)
{
	const char *text = json_string_value(json_object_get(record, key));

	return text ? text : "";
}

bool input_is(const json_t *record, const char *type)
{
	return strcmp(input_text(record, "type"), type) == 0;
}

uint64_t input_number(const json_t *record, const char *key)
{
	return (uint64_t)json_integer_value(json_object_get(record, key));
}
