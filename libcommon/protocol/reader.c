/* SPDX-License-Identifier: MIT */
/* Reading a request. A tree of a request with many regions would take a hundred times the memory of the regions. */

#include "protocol/reader.h"

#include <ctype.h>
#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include "base/size.h"
#include "protocol/request.h"
#include "report/input.h"
#include "report/parse.h"

enum request_state {
	BEFORE, /* its opening brace */
	INSIDE,
	KEYED,   /* behind the key "regions": a colon, and an array if it is one */
	LISTING, /* in its array: a pair, or the end */
	LISTED,  /* behind a pair: a comma, or the end */
	PAIR,
	COMPLETE,
};

static _Atomic size_t regions_held;

static int invalid_request(struct error *error, const char *why)
{
	return error_set(error, -EINVAL, why, NULL, "read the request");
}

static int no_memory(struct error *error)
{
	return error_set(error, -ENOMEM, NULL, NULL, "read the request");
}

static int keep_byte(struct request_reader *reader, char c, struct error *error)
{
	if (reader->length == sizeof(reader->text))
		return error_set(error, -E2BIG, "it is too long", NULL, "read the request");
	reader->text[reader->length++] = c;
	return 0;
}

static int count_region(struct request_reader *reader, struct error *error)
{
	if (atomic_fetch_add(&regions_held, 1) < REQUEST_REGIONS) {
		reader->counted++;
		return 0;
	}
	atomic_fetch_sub(&regions_held, 1);
	return error_set(error, -ENOMEM, "too many regions are asked for at a time", "ask for fewer",
			 "read the request");
}

static int take_pair(struct request_reader *reader, struct error *error)
{
	json_error_t failed;
	json_t *pair = parse_text(reader->pair, reader->pair_length, 0, &failed);
	struct region r = {0, 0};
	bool right = json_array_size(pair) == 2 && input_address(json_array_get(pair, 0), &r.start) == 0 &&
		     input_address(json_array_get(pair, 1), &r.end) == 0 && r.start < r.end &&
		     !((r.start | r.end) & (page_size() - 1));
	int rc = right                             ? count_region(reader, error)
		 : !pair && parse_ran_out(&failed) ? no_memory(error)
						   : invalid_request(error, "a region is no page-aligned range");

	json_decref(pair);
	reader->pair_length = 0;
	reader->state = LISTED;
	if (rc == 0 && region_vec_push(&reader->regions, r) < 0)
		rc = no_memory(error);
	return rc;
}

static int feed_pair(struct request_reader *reader, char c, struct error *error)
{
	if (reader->pair_length == sizeof(reader->pair) || (c == '[' && reader->pair_length))
		return invalid_request(error, "a region is no page-aligned range");
	reader->pair[reader->pair_length++] = c;
	return c == ']' ? take_pair(reader, error) : 0;
}

static int feed_list(struct request_reader *reader, char c, struct error *error)
{
	if (isspace((unsigned char)c))
		return 0;
	if (c == ']') {
		reader->state = INSIDE;
		return keep_byte(reader, c, error);
	}
	if (reader->state == LISTED && c == ',') {
		reader->state = LISTING;
		return 0;
	}
	if (reader->state == LISTED || c != '[')
		return invalid_request(error, "a region is no page-aligned range");
	reader->state = PAIR;
	return feed_pair(reader, c, error);
}

/* A string has ended that may be the key. */
static bool is_regions(const struct request_reader *reader)
{
	static const char key[] = "\"regions\"";

	return reader->depth == 1 && reader->length - reader->key == strlen(key) &&
	       memcmp(reader->text + reader->key, key, strlen(key)) == 0;
}

static void feed_string(struct request_reader *reader, char c)
{
	if (reader->escaped)
		reader->escaped = false;
	else if (c == '\\')
		reader->escaped = true;
	else if (c == '"') {
		reader->string = false;
		if (is_regions(reader))
			reader->state = KEYED;
	}
}

/* Everything but the regions. The character has been kept. */
static void feed_structure(struct request_reader *reader, char c)
{
	if (c == '"') {
		reader->string = true;
		reader->key = reader->length - 1;
	}
	if (reader->state == KEYED && c == '[') {
		reader->state = LISTING;
		reader->has_regions = true;
		return;
	}
	if (!isspace((unsigned char)c) && !(reader->state == KEYED && c == ':'))
		reader->state = INSIDE;
	reader->depth += c == '{' || c == '[';
	reader->depth -= (c == '}' || c == ']') && reader->depth;
	if (!reader->depth)
		reader->state = COMPLETE;
}

static int feed_one(struct request_reader *reader, char c, struct error *error)
{
	int rc;

	if (c == REQUEST_ENOUGH) /* in no JSON */
		return error_set(error, -ECANCELED, "it was told to stop", NULL, "read the request");
	if (reader->state == PAIR)
		return feed_pair(reader, c, error);
	if (reader->state == LISTING || reader->state == LISTED)
		return feed_list(reader, c, error);
	if (reader->state == BEFORE && isspace((unsigned char)c))
		return 0;
	if (reader->state == BEFORE && c != '{')
		return invalid_request(error, "it is no JSON object");
	rc = keep_byte(reader, c, error);
	if (rc == 0 && reader->string)
		feed_string(reader, c);
	else if (rc == 0)
		feed_structure(reader, c);
	return rc;
}

int reader_feed(struct request_reader *reader, const char *bytes, size_t count, struct error *error)
{
	for (size_t i = 0; i < count && reader->state != COMPLETE; i++) {
		int rc = feed_one(reader, bytes[i], error);

		if (rc < 0)
			return rc;
	}
	return reader->state == COMPLETE;
}

int reader_finish(struct request_reader *reader, json_t **object, struct error *error)
{
	const json_t *list;
	json_error_t failed;

	*object = parse_text(reader->text, reader->length, 0, &failed);
	if (!*object && parse_ran_out(&failed))
		return no_memory(error);
	list = json_object_get(*object, "regions");
	if (!json_is_object(*object))
		return invalid_request(error, "it is no JSON object");
	if (list && (!json_is_array(list) || !reader->has_regions || json_array_size(list)))
		return invalid_request(error, "the regions are no array");
	region_vec_sort(&reader->regions);
	if (region_vec_overlap(&reader->regions) >= 0)
		return invalid_request(error, "two regions overlap");
	return 0;
}

void reader_free(struct request_reader *reader)
{
	atomic_fetch_sub(&regions_held, reader->counted);
	region_vec_free(&reader->regions);
	*reader = (struct request_reader){0};
}
