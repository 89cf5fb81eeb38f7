/* SPDX-License-Identifier: MIT */
/* From records to what is to be moved. */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include "base/size.h"
#include "report/input.h"
#include "report/parse.h"
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

/* A pipe can be read only once: its contents as a file. */
static int file_of(int from)
{
	_cleanup_close_ int to = memfd_create("regions", MFD_CLOEXEC);
	char buffer[65536];
	ssize_t got;

	if (to < 0)
		return -errno;
	while ((got = read(from, buffer, sizeof(buffer))) > 0)
		if (write(to, buffer, (size_t)got) != got)
			return -errno;
	if (got < 0)
		return -errno;
	lseek(to, 0, SEEK_SET);
	return steal_fd(&to);
}

/* Opens a file that can be read twice; `name` is where region_input_read finds it. */
static int open_twice(const char *path, char name[64], const char **as)
{
	bool standard = strcmp(path, "-") == 0;
	_cleanup_close_ int opened = standard ? -1 : open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	int file;

	*as = path;
	if (!standard && opened < 0)
		return -errno;
	if (!standard && fstat(opened, &st) == 0 && S_ISREG(st.st_mode))
		return steal_fd(&opened);
	file = file_of(standard ? STDIN_FILENO : opened);
	if (file < 0)
		return file;
	if (standard && dup2(file, STDIN_FILENO) < 0)
		return -errno;
	if (!standard) {
		snprintf(name, 64, "/proc/self/fd/%d", file);
		*as = name;
	}
	return file;
}

static int refuse_record(struct error *error, struct region region, const char *why)
{
	return error_set(error, -EINVAL, why, NULL, "use the record of %#llx-%#llx", (unsigned long long)region.start,
			 (unsigned long long)region.end);
}

static bool has_type(const json_t *record, const char *type)
{
	const char *is = json_string_value(json_object_get(record, "type"));

	return is && strcmp(is, type) == 0;
}

/* Start and end of a record that has both. */
static bool region_of(const json_t *record, struct region *region)
{
	return input_address(json_object_get(record, "start"), &region->start) == 0 &&
	       input_address(json_object_get(record, "end"), &region->end) == 0 && region->start < region->end;
}

/* What one pass over the records gathers. */
struct gathering {
	struct requests *requests;
	bool reverse;
	struct region_vec failed; /* with reverse: pages that did not move */
	size_t moves;             /* with reverse: records of moves */
	struct error *error;
};

static int take_back(struct gathering *gathering, const json_t *record, struct region region, uint64_t destination)
{
	struct requests *requests = gathering->requests;
	const char *method = json_string_value(json_object_get(record, "method"));
	uint64_t end = destination + region_bytes(region);

	if (!has_type(record, "move") || !destination)
		return 0;
	gathering->moves++;
	requests->by_mremap = method && strcmp(method, "mremap") == 0;
	if (json_is_true(json_object_get(record, "dst_mapped")) &&
	    region_vec_push(&requests->unmap, (struct region){destination, end}))
		return -ENOMEM;
	return requests_add(requests, (struct request){{destination, end}, region.start});
}

static int take_request_record(struct gathering *gathering, const json_t *record)
{
	const json_t *there = json_object_get(record, "dst");
	uint64_t destination = 0;
	struct region region;

	if (has_type(record, "summary") || !region_of(record, &region))
		return 0;
	if (has_type(record, "error"))
		return gathering->reverse ? region_vec_push(&gathering->failed, region) : 0;
	if (there && !json_is_null(there) && input_address(there, &destination))
		return refuse_record(gathering->error, region, "its \"dst\" is not an address");
	if (there && !json_is_null(there) && !destination)
		return refuse_record(gathering->error, region, "its \"dst\" is address 0");
	if (gathering->reverse)
		return take_back(gathering, record, region, destination);
	return requests_add(gathering->requests, (struct request){region, destination});
}

static int take_value(struct gathering *gathering, const json_t *value)
{
	const json_t *record;
	size_t i;
	int rc = 0;

	if (!json_is_array(value))
		return take_request_record(gathering, value);
	json_array_foreach(value, i, record) {
		rc = take_request_record(gathering, record);
		if (rc)
			break;
	}
	return rc;
}

/* Records that were found sound before. */
static int gather_records(struct gathering *gathering, int file)
{
	_cleanup_fclose_ FILE *stream = fd_stream(fcntl(file, F_DUPFD_CLOEXEC, 3));
	json_error_t failed = {0};
	json_t *value;
	int rc = 0;

	if (!stream)
		return -errno;
	rewind(stream);
	while (!rc && (value = parse_stream(stream, JSON_DISABLE_EOF_CHECK, &failed))) {
		rc = take_value(gathering, value);
		json_decref(value);
	}
	return !rc && parse_ran_out(&failed) ? -ENOMEM : rc; /* at the end it says so */
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
	_cleanup_close_ int file = -1;
	struct gathering gathering = {.requests = requests, .reverse = reverse, .error = error};
	char name[64];
	const char *as;
	int rc;

	file = open_twice(path, name, &as);
	if (file < 0)
		return error_set(error, file, NULL, NULL, "read regions from %s", path);
	rc = region_input_read(&input, as, page_size(), error);
	if (rc)
		return rc;
	requests->pid = input.pid;
	requests->starttime = input.starttime;
	rc = gather_records(&gathering, file);
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
	struct region to = {request->destination, request->destination + bytes};

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
		if (!rc && to &&
		    region_vec_push(&destinations, (struct region){to, to + region_bytes(request->source)}))
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
