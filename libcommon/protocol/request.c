/* SPDX-License-Identifier: MIT */
/* Requests to sessions, to JSON and back. */
#include "protocol/request.h"

#include <errno.h>
#include <string.h>

#include "report/input.h"

static const char *const verbs[REQUEST_VERBS] = {
	[REQUEST_STATUS] = "status", [REQUEST_REFAULTS] = "refaults", [REQUEST_OUT] = "out",
	[REQUEST_IN] = "in",         [REQUEST_HOLD] = "hold",         [REQUEST_WATCH] = "watch",
	[REQUEST_CHECK] = "check",   [REQUEST_DETACH] = "detach",     [REQUEST_WRITEBACK] = "writeback",
};

static int set_regions(json_t *object, const struct region_vec *regions)
{
	json_t *list = json_array();
	int rc = json_object_set_new(object, "regions", list);

	for (size_t i = 0; rc == 0 && i < regions->count; i++)
		rc = json_array_append_new(list, json_pack("[I,I]", (json_int_t)regions->items[i].start,
							   (json_int_t)regions->items[i].end));
	return rc;
}

static int set_number(json_t *object, const char *key, uint64_t value)
{
	return value ? json_object_set_new(object, key, json_integer((json_int_t)value)) : 0;
}

static int set_flag(json_t *object, const char *key, bool value)
{
	return value ? json_object_set_new(object, key, json_true()) : 0;
}

json_t *request_encode(const struct session_request *request)
{
	json_t *object = json_pack("{s:s}", "verb", verbs[request->verb]);

	if (object && !set_number(object, "bytes", request->bytes) && !set_flag(object, "dry_run", request->dry_run) &&
	    !set_flag(object, "stage", request->stage) && !set_flag(object, "idle", request->idle) &&
	    !set_number(object, "age_ms", request->age_ms) &&
	    !set_number(object, "duration_ms", request->duration_ms) &&
	    !set_number(object, "again_ms", request->again_ms) && !set_flag(object, "later", request->later) &&
	    !set_number(object, "resume_ns", request->resume_ns) &&
	    !(request->regions && set_regions(object, request->regions)))
		return object;
	json_decref(object);
	return NULL;
}

int request_kind_of(const char *name, enum request_kind *kind)
{
	for (unsigned int i = 0; name && i < REQUEST_VERBS; i++)
		if (strcmp(verbs[i], name) == 0) {
			*kind = (enum request_kind)i;
			return 0;
		}
	return -EINVAL;
}

int request_decode(const json_t *object, const struct region_vec *regions, struct session_request *request,
		   struct error *error)
{
	*request = (struct session_request){
		.regions = json_object_get(object, "regions") ? regions : NULL,
		.bytes = input_number(object, "bytes"),
		.dry_run = json_is_true(json_object_get(object, "dry_run")),
		.stage = json_is_true(json_object_get(object, "stage")),
		.idle = json_is_true(json_object_get(object, "idle")),
		.age_ms = input_number(object, "age_ms"),
		.duration_ms = input_number(object, "duration_ms"),
		.again_ms = input_number(object, "again_ms"),
		.later = json_is_true(json_object_get(object, "later")),
		.resume_ns = input_number(object, "resume_ns"),
	};
	if (request_kind_of(json_string_value(json_object_get(object, "verb")), &request->verb) == 0)
		return 0;
	return error_set(error, -EINVAL, "the verb is unknown", "client and session should be of one version",
			 "read the request");
}

bool request_is_quick(const struct session_request *request)
{
	return request->verb == REQUEST_STATUS || request->verb == REQUEST_REFAULTS;
}
