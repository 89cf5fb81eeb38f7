/* SPDX-License-Identifier: MIT */
/* A ring as a record, and the frame of the verbs that look at one. */
#include <string.h>

#include "base/cleanup.h"
#include "base/size.h"
#include "base/text.h"
#include "reclaimctl.h"

#define JSON_NUMBER_MAX ((UINT64_C(1) << 53) - 1)

const struct report_column ring_columns[] = {
	{"pid", "PID", COLUMN_NUMBER},
	{"name", "NAME", COLUMN_TEXT},
	{"capacity", "CAPACITY", COLUMN_NUMBER},
	{"entries", "ENTRIES", COLUMN_NUMBER},
	{"bytes", "BYTES", COLUMN_SIZE},
	{"reclaimed_entries", "RECLAIMED", COLUMN_NUMBER},
	{"reclaimed_bytes", "BYTES_OUT", COLUMN_SIZE},
	{"level", "LEVEL", COLUMN_TEXT},
	{"samples", "SAMPLES", COLUMN_NUMBER},
	{NULL, NULL, COLUMN_TEXT},
};

const struct report_column entry_columns[] = {
	{"id", "ID", COLUMN_NUMBER},
	{"start", "START", COLUMN_TEXT},
	{"end", "END", COLUMN_TEXT},
	{"bytes", "BYTES", COLUMN_SIZE},
	{"action", "ACTION", COLUMN_TEXT},
	{"state", "STATE", COLUMN_TEXT},
	{"resident_bytes", "RESIDENT", COLUMN_SIZE},
	{NULL, NULL, COLUMN_TEXT},
};

json_t *ring_number(uint64_t number)
{
	return json_integer((json_int_t)min_u64(number, JSON_NUMBER_MAX));
}

json_t *entry_record(const struct target *target, const struct ring_work *work, struct region region)
{
	json_t *record = report_region("region", target->pid, target->starttime, region.start, region.end);

	json_object_set_new(record, "id", ring_number(work->id));
	json_object_set_new(record, "action", json_string(ring_action_name(work->action)));
	json_object_set_new(record, "entered_bytes", ring_number(work->size));
	return record;
}

const char *ring_level_name(uint32_t level)
{
	static const char *const names[] = {
		[RING_NORMAL] = "normal",
		[RING_WARNING] = "warning",
		[RING_CRITICAL] = "critical",
	};

	return level < ARRAY_SIZE(names) ? names[level] : "unknown";
}

static void add_number(json_t *record, const char *key, uint64_t number)
{
	json_object_set_new(record, key, ring_number(number));
}

json_t *ring_record(const struct target *target, const struct ring_found *ring)
{
	struct ring_shared *shared = ring->view.shared;
	uint64_t sampled = shared->sampled_ns, now = now_us() * 1000;
	char name[sizeof(target->name)];
	json_t *record;

	memcpy(name, target->name, sizeof(name));
	record = json_pack("{s:s, s:i, s:I, s:s}", "type", "ring", "pid", target->pid, "starttime",
			   (json_int_t)target->starttime, "name", text_make_safe(name));
	json_object_set_new(record, "address", report_address(ring->address));
	add_number(record, "capacity", shared->capacity);
	add_number(record, "max_capacity", ring->view.max_capacity);
	add_number(record, "wanted_capacity", shared->wanted);
	add_number(record, "head", shared->head);
	add_number(record, "busy", shared->busy);
	add_number(record, "tail", shared->tail);
	add_number(record, "entries", ring_entries(&ring->view));
	add_number(record, "bytes", ring_bytes(&ring->view));
	add_number(record, "reclaimed_entries", shared->reclaimed.entries);
	add_number(record, "reclaimed_bytes", shared->reclaimed.bytes);
	add_number(record, "failed_entries", shared->reclaimed.failed);
	add_number(record, "trimmed_bytes", shared->trimmed_bytes);
	json_object_set_new(record, "level", json_string(ring_level_name(shared->level)));
	add_number(record, "samples", shared->samples);
	json_object_set_new(record, "sample_age_ms",
			    shared->samples ? ring_number(now > sampled ? (now - sampled) / 1000000 : 0) : json_null());
	add_number(record, "period_ms", shared->period_ns / 1000000);
	add_number(record, "minimum_bytes", shared->minimum);
	add_number(record, "weighted_minimum_bytes", shared->weighted);
	json_object_set_new(record, "descriptor_open", json_boolean(ring->open));
	return record;
}

int run_ring(struct run *run, bool writable, struct ring_found *ring)
{
	struct error error = {0};
	int status = run_begin(run);
	int rc;

	if (status != EXIT_DONE)
		return status;
	rc = ring_find(&run->target, writable, ring, &error);
	return rc < 0 ? run_failed(run, rc, &error) : EXIT_DONE;
}
