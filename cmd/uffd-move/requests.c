/* SPDX-License-Identifier: MIT */
/* From records to what is to be moved. */
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/size.h"
#include "report/input.h"
#include "uffd-move.h"

int requests_add(struct requests *requests, struct request request)
{
	if (array_reserve(&requests->items, requests->count, &requests->capacity) < 0)
		return -ENOMEM;
	requests->items[requests->count++] = request;
	return 0;
}

void requests_free(struct requests *requests)
{
	free(requests->items);
	region_vec_free(&requests->unmap);
	*requests = (struct requests){0};
}

static int refuse_record(struct error *error, struct region region, const char *why)
{
	return error_set(error, -EINVAL, why, NULL, "use the record of %#llx-%#llx", (unsigned long long)region.start,
			 (unsigned long long)region.end);
}

/* What one pass over the records gathers. */
struct gathering {
	struct requests *requests;
	bool reverse;
	struct region_vec failed; /* with reverse: pages that did not move */
	size_t moves;             /* with reverse: records of moves */
};

static int take_back(struct gathering *gathering, const json_t *record, struct region region, uint64_t destination)
{
	struct requests *requests = gathering->requests;
	uint64_t end = destination + region_bytes(region);

	if (!input_is(record, "move") || !destination)
		return 0;
	gathering->moves++;
	requests->by_mremap = strcmp(input_text(record, "method"), "mremap") == 0;
	if (json_is_true(json_object_get(record, "dst_mapped")) &&
	    region_vec_push(&requests->unmap, (struct region){destination, end}))
		return -ENOMEM;
	return requests_add(requests, (struct request){{destination, end}, region.start});
}

static int take_request_record(void *context, const json_t *record, struct error *error)
{
	struct gathering *gathering = context;
	const json_t *there = json_object_get(record, "dst");
	uint64_t destination = 0;
	struct region region;

	if (input_is(record, "summary") || !input_region(record, &region))
		return 0;
	if (input_is(record, "error"))
		return gathering->reverse ? region_vec_push(&gathering->failed, region) : 0;
	if (there && !json_is_null(there) && input_address(there, &destination))
		return refuse_record(error, region, "its \"dst\" is not an address");
	if (there && !json_is_null(there) && !destination)
		return refuse_record(error, region, "its \"dst\" is address 0");
	if (gathering->reverse)
		return take_back(gathering, record, region, destination);
	return requests_add(gathering->requests, (struct request){region, destination});
}

/* The parts of a request whose destination (where the pages came from) is not in `failed`. */
static int add_without(struct requests *to, struct request request, const struct region_vec *failed)
{
	uint64_t at = request.destination, end = at + region_bytes(request.source);
	uint64_t shift = request.source.start - request.destination;
	int rc = 0;

	for (size_t i = 0; !rc && i < failed->count && at < end; i++) {
		struct region without = failed->items[i];

		if (without.end <= at || without.start >= end)
			continue;
		if (without.start > at)
			rc = requests_add(to, (struct request){{at + shift, without.start + shift}, at});
		at = without.end;
	}
	if (!rc && at < end)
		rc = requests_add(to, (struct request){{at + shift, end + shift}, at});
	return rc;
}

/* What moved last goes back first. */
static int turn_round(struct requests *requests, struct region_vec *failed)
{
	struct requests turned = {0};
	int rc = 0;

	region_vec_normalize(failed);
	for (size_t i = requests->count; !rc && i; i--)
		rc = add_without(&turned, requests->items[i - 1], failed);
	free(requests->items);
	requests->items = turned.items;
	requests->count = turned.count;
	requests->capacity = turned.capacity;
	return rc;
}

int requests_read(struct requests *requests, const char *path, bool reverse, struct error *error)
{
	_cleanup_input_ struct region_input input = {0};
	struct gathering gathering = {.requests = requests, .reverse = reverse};
	int rc = region_input_walk(&input, path, page_size(), take_request_record, &gathering, error);

	if (!rc && input.count > 1)
		rc = error_set(error, -EINVAL, "they are of more than one process", "give those of one at a time",
			       "read regions from %s", path);
	requests->pid = input.count ? input.groups[0].pid : 0;
	requests->starttime = input.count ? input.groups[0].starttime : 0;
	requests->cut = input.cut;
	if (!rc && reverse)
		rc = turn_round(requests, &gathering.failed);
	region_vec_free(&gathering.failed);
	if (rc && !error->code)
		error_set(error, rc, NULL, NULL, "read regions from %s", path);
	if (!rc && reverse && !gathering.moves)
		return error_set(error, -EINVAL, "there is no record of a move in it", "give the output of uffd-move",
				 "take back what %s says", path);
	return rc;
}

static int check_disjoint(struct region_vec *regions, const char *what, struct error *error)
{
	ptrdiff_t at;

	region_vec_sort(regions);
	at = region_vec_overlap(regions);
	if (at < 0)
		return 0;
	return refuse_record(error, regions->items[at], what);
}

static int check_one(const struct request *request, struct error *error)
{
	uint64_t bytes = region_bytes(request->source);
	struct region to = region_at(request->destination, bytes);

	if (!request->destination)
		return 0;
	if (to.start & (page_size() - 1))
		return refuse_record(error, request->source, "its destination does not begin at a page");
	if (to.end < to.start)
		return refuse_record(error, request->source, "its destination goes beyond the last address");
	if (region_overlaps(to, request->source))
		return refuse_record(error, request->source, "its destination overlaps it");
	return 0;
}

int requests_check(const struct requests *requests, struct error *error)
{
	_cleanup_regions_ struct region_vec sources = {0}, destinations = {0};
	int rc = 0;

	for (size_t i = 0; !rc && i < requests->count; i++) {
		const struct request *request = &requests->items[i];
		uint64_t to = request->destination;

		rc = check_one(request, error);
		if (!rc && region_vec_push(&sources, request->source))
			rc = -ENOMEM;
		if (!rc && to && region_vec_push(&destinations, region_at(to, region_bytes(request->source))))
			rc = -ENOMEM;
	}
	if (!rc)
		rc = check_disjoint(&sources, "it overlaps another one", error);
	if (!rc)
		rc = check_disjoint(&destinations, "two regions would go there", error);
	if (rc && !error->code)
		error_set(error, rc, NULL, NULL, "check the regions");
	return rc;
}
