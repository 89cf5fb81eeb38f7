/* SPDX-License-Identifier: MIT */
/* Records as JSON Lines, on standard output. */
#include "report/lines.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/size.h"
#include "report/report.h"

#define WAIT_NS UINT64_C(4000000)

/*
 * Writes the first `bytes` of what waits; what is left waits on. Whole lines of no more than PIPE_BUF bytes are never
 * mixed with those of another writer (pipe(7)).
 */
static int write_first(struct lines *lines, size_t bytes)
{
	size_t done = 0;

	while (done < bytes) {
		ssize_t put = write(STDOUT_FILENO, lines->text + done, bytes - done);

		if (put < 0 && errno != EINTR)
			return -errno;
		done += put > 0 ? (size_t)put : 0;
	}
	lines->used -= bytes;
	memmove(lines->text, lines->text + bytes, lines->used);
	return 0;
}

int lines_flush(struct lines *lines)
{
	return lines->used ? write_first(lines, lines->used) : 0;
}

static int reserve_bytes(struct lines *lines, size_t bytes)
{
	size_t capacity = round_up(lines->used + bytes, 2 * PIPE_BUF);
	char *text;

	if (bytes <= lines->capacity - lines->used)
		return 0;
	text = realloc(lines->text, capacity);
	if (!text)
		return -ENOMEM;
	lines->text = text;
	lines->capacity = capacity;
	return 0;
}

static int put_text(struct lines *lines, const char *text, size_t bytes)
{
	int rc = reserve_bytes(lines, bytes);

	if (rc < 0)
		return rc;
	memcpy(lines->text + lines->used, text, bytes);
	lines->used += bytes;
	return 0;
}

static int put_json(struct lines *lines, const json_t *json, size_t flags)
{
	size_t room = lines->capacity - lines->used;
	size_t bytes = json_dumpb(json, room ? lines->text + lines->used : NULL, room, flags);

	if (bytes > room) {
		if (reserve_bytes(lines, bytes) < 0)
			return -ENOMEM;
		bytes = json_dumpb(json, lines->text + lines->used, bytes, flags);
	}
	lines->used += bytes;
	return bytes ? 0 : -ENOMEM;
}

/* The record with "v" and "type" in front. */
static json_t *add_version(json_t *record)
{
	json_t *full = json_pack("{s:i, s:O*}", "v", 1, "type", json_object_get(record, "type"));

	if (full && json_object_update_missing(full, record)) {
		json_decref(full);
		return NULL;
	}
	return full;
}

/* Ends a line that began at `start`, or takes back what there is of it. */
static int end_line(struct lines *lines, size_t start, int rc)
{
	if (rc == 0)
		rc = put_text(lines, "\n", 1);
	if (rc < 0)
		lines->used = start;
	return rc;
}

int lines_write(struct lines *lines, json_t *record)
{
	json_t *full = add_version(record);
	int rc = lines_flush(lines);

	if (rc == 0)
		rc = end_line(lines, 0, put_json(lines, full, JSON_COMPACT));
	json_decref(full);
	return rc < 0 ? rc : lines_flush(lines);
}

static void forget_part(struct lines_part *part)
{
	json_decref(part->json);
	free(part->text);
	*part = (struct lines_part){0};
}

/* Steals `full`, which is the part as it is written. */
static int keep_part(struct lines_part *part, json_t *json, json_t *full)
{
	forget_part(part);
	part->text = report_text(full, JSON_COMPACT | JSON_EMBED);
	json_decref(full);
	if (!part->text)
		return -ENOMEM;
	part->bytes = strlen(part->text);
	part->json = json_incref(json);
	return 0;
}

static int keep_parts(struct lines *lines, json_t *before, json_t *after)
{
	int rc = 0;

	if (lines->before.json != before)
		rc = keep_part(&lines->before, before, add_version(before));
	if (rc == 0 && lines->after.json != after)
		rc = keep_part(&lines->after, after, json_incref(after));
	return rc;
}

static int put_parts(struct lines *lines, const json_t *between)
{
	int rc = put_text(lines, "{", 1);

	if (rc == 0)
		rc = put_text(lines, lines->before.text, lines->before.bytes);
	if (rc == 0)
		rc = put_text(lines, ",", 1);
	if (rc == 0)
		rc = put_json(lines, between, JSON_COMPACT | JSON_EMBED);
	if (rc == 0)
		rc = put_text(lines, ",", 1);
	if (rc == 0)
		rc = put_text(lines, lines->after.text, lines->after.bytes);
	return rc == 0 ? put_text(lines, "}", 1) : rc;
}

int lines_add(struct lines *lines, json_t *before, const json_t *between, json_t *after)
{
	size_t start = lines->used;
	int rc = keep_parts(lines, before, after);

	if (!start)
		lines->since_ns = clock_now_ns();
	if (rc == 0)
		rc = end_line(lines, start, put_parts(lines, between));
	if (rc == 0 && lines->used > PIPE_BUF)
		rc = write_first(lines, start);
	if (rc == 0 && clock_now_ns() - lines->since_ns > WAIT_NS)
		rc = lines_flush(lines);
	return rc;
}

void lines_free(struct lines *lines)
{
	forget_part(&lines->before);
	forget_part(&lines->after);
	free(lines->text);
}
