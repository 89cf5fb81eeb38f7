/* SPDX-License-Identifier: MIT */
/* Reading a request. A tree of a request with many regions would take a hundred times the memory of the regions. */

#include "worker/request.h"

#include <ctype.h>
#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include "base/size.h"
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

static int invalid(struct error *error, const char *why)
{
	return error_set(error, -EINVAL, why, NULL, "read the request");
}

static int no_memory(struct error *error)
{
	return error_set(error, -ENOMEM, NULL, NULL, "read the request");
}

static int keep(struct request *request, char c, struct error *error)
{
	if (request->length == sizeof(request->text))
		return error_set(error, -E2BIG, "it is too long", NULL, "read the request");
	request->text[request->length++] = c;
	return 0;
}

static int count_region(struct request *request, struct error *error)
{
	if (atomic_fetch_add(&regions_held, 1) < REQUEST_REGIONS) {
		request->counted++;
		return 0;
	}
	atomic_fetch_sub(&regions_held, 1);
	return error_set(error, -ENOMEM, "too many regions are asked for at a time", "ask for fewer",
			 "read the request");
}

static int take_pair(struct request *request, struct error *error)
{
	json_error_t failed;
	json_t *pair = parse_text(request->pair, request->pair_length, 0, &failed);
	struct region r = {0, 0};
	bool right = json_array_size(pair) == 2 && input_address(json_array_get(pair, 0), &r.start) == 0 &&
		     input_address(json_array_get(pair, 1), &r.end) == 0 && r.start < r.end &&
		     !((r.start | r.end) & (page_size() - 1));
	int rc = right                             ? count_region(request, error)
		 : !pair && parse_ran_out(&failed) ? no_memory(error)
						   : invalid(error, "a region is no page-aligned range");

	json_decref(pair);
	request->pair_length = 0;
	request->state = LISTED;
	if (rc == 0 && region_vec_push(&request->regions, r) < 0)
		rc = no_memory(error);
	return rc;
}

static int feed_pair(struct request *request, char c, struct error *error)
{
	if (request->pair_length == sizeof(request->pair) || (c == '[' && request->pair_length))
		return invalid(error, "a region is no page-aligned range");
	request->pair[request->pair_length++] = c;
	return c == ']' ? take_pair(request, error) : 0;
}

static int feed_list(struct request *request, char c, struct error *error)
{
	if (isspace((unsigned char)c))
		return 0;
	if (c == ']') {
		request->state = INSIDE;
		return keep(request, c, error);
	}
	if (request->state == LISTED && c == ',') {
		request->state = LISTING;
		return 0;
	}
	if (request->state == LISTED || c != '[')
		return invalid(error, "a region is no page-aligned range");
	request->state = PAIR;
	return feed_pair(request, c, error);
}

/* A string has ended that may be the key. */
static bool is_regions(const struct request *request)
{
	static const char key[] = "\"regions\"";

	return request->depth == 1 && request->length - request->key == strlen(key) &&
	       memcmp(request->text + request->key, key, strlen(key)) == 0;
}

static void feed_string(struct request *request, char c)
{
	if (request->escaped)
		request->escaped = false;
	else if (c == '\\')
		request->escaped = true;
	else if (c == '"') {
		request->string = false;
		if (is_regions(request))
			request->state = KEYED;
	}
}

/* Everything but the regions. The character has been kept. */
static void feed_structure(struct request *request, char c)
{
	if (c == '"') {
		request->string = true;
		request->key = request->length - 1;
	}
	if (request->state == KEYED && c == '[') {
		request->state = LISTING;
		request->has_regions = true;
		return;
	}
	if (!isspace((unsigned char)c) && !(request->state == KEYED && c == ':'))
		request->state = INSIDE;
	request->depth += c == '{' || c == '[';
	request->depth -= (c == '}' || c == ']') && request->depth;
	if (!request->depth)
		request->state = COMPLETE;
}

static int feed_one(struct request *request, char c, struct error *error)
{
	int rc;

	if (c == REQUEST_ENOUGH) /* in no JSON */
		return error_set(error, -ECANCELED, "it was told to stop", NULL, "read the request");
	if (request->state == PAIR)
		return feed_pair(request, c, error);
	if (request->state == LISTING || request->state == LISTED)
		return feed_list(request, c, error);
	if (request->state == BEFORE && isspace((unsigned char)c))
		return 0;
	if (request->state == BEFORE && c != '{')
		return invalid(error, "it is no JSON object");
	rc = keep(request, c, error);
	if (rc == 0 && request->string)
		feed_string(request, c);
	else if (rc == 0)
		feed_structure(request, c);
	return rc;
}

int request_feed(struct request *request, const char *bytes, size_t count, struct error *error)
{
	for (size_t i = 0; i < count && request->state != COMPLETE; i++) {
		int rc = feed_one(request, bytes[i], error);

		if (rc < 0)
			return rc;
	}
	return request->state == COMPLETE;
}

int request_finish(struct request *request, json_t **object, struct error *error)
{
	const json_t *list;
	json_error_t failed;

	*object = parse_text(request->text, request->length, 0, &failed);
	if (!*object && parse_ran_out(&failed))
		return no_memory(error);
	list = json_object_get(*object, "regions");
	if (!json_is_object(*object))
		return invalid(error, "it is no JSON object");
	if (list && (!json_is_array(list) || !request->has_regions || json_array_size(list)))
		return invalid(error, "the regions are no array");
	region_vec_sort(&request->regions);
	if (region_vec_overlap(&request->regions) >= 0)
		return invalid(error, "two regions overlap");
	return 0;
}

void request_free(struct request *request)
{
	atomic_fetch_sub(&regions_held, request->counted);
	region_vec_free(&request->regions);
	*request = (struct request){0};
}
