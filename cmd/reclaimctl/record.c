/* SPDX-License-Identifier: MIT */
/* A ring as a record, and the frame of the verbs that look at one. */
#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/size.h"
#include "base/text.h"
#include "reclaimctl.h"

#define JSON_NUMBER_MAX ((UINT64_C(1) << 53) - 1)

const struct report_column ring_columns[] = {
	{"pid", "PID", COLUMN_NUMBER},
	{"name", "NAME", COLUMN_NAME},
	{"capacity", "CAPACITY", COLUMN_NUMBER},
	{"entries", "ENTRIES", COLUMN_NUMBER},
	{"bytes", "BYTES", COLUMN_SIZE},
	{"reclaimed_entries", "RECLAIMED", COLUMN_NUMBER},
	{"reclaimed_bytes", "BYTES OUT", COLUMN_SIZE},
	{"level", "LEVEL", COLUMN_TEXT},
	{"samples", "SAMPLES", COLUMN_NUMBER},
	{NULL, NULL, COLUMN_TEXT},
};

const struct report_column entry_columns[] = {
	{"id", "ID", COLUMN_NUMBER},
	{"start", "START", COLUMN_ADDRESS},
	{"end", "END", COLUMN_ADDRESS | COLUMN_WIDE},
	{"bytes", "BYTES", COLUMN_SIZE},
	{"action", "ACTION", COLUMN_TEXT},
	{"state", "STATE", COLUMN_TEXT},
	{"resident_bytes", "RESIDENT", COLUMN_SIZE},
	{NULL, NULL, COLUMN_TEXT},
};

void ring_number(json_t *record, const char *key, uint64_t number)
{
	report_number(record, key, min_u64(number, JSON_NUMBER_MAX));
}

json_t *entry_record(const struct target *target, const struct ring_work *work, struct region region)
{
	json_t *record = report_region("region", target->pid, target->starttime, region.start, region.end);

	ring_number(record, "id", work->id);
	json_object_set_new(record, "action", json_string(ring_action_name(work->action)));
	ring_number(record, "entered_bytes", work->size);
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
	ring_number(record, "capacity", shared->capacity);
	ring_number(record, "max_capacity", ring->view.max_capacity);
	ring_number(record, "wanted_capacity", shared->wanted);
	ring_number(record, "head", shared->head);
	ring_number(record, "busy", shared->busy);
	ring_number(record, "tail", shared->tail);
	ring_number(record, "entries", ring_entries(&ring->view));
	ring_number(record, "bytes", ring_bytes(&ring->view));
	ring_number(record, "reclaimed_entries", shared->reclaimed.entries);
	ring_number(record, "reclaimed_bytes", shared->reclaimed.bytes);
	ring_number(record, "failed_entries", shared->reclaimed.failed);
	ring_number(record, "trimmed_bytes", shared->trimmed_bytes);
	json_object_set_new(record, "level", json_string(ring_level_name(shared->level)));
	ring_number(record, "samples", shared->samples);
	if (shared->samples)
		ring_number(record, "sample_age_ms", now > sampled ? (now - sampled) / 1000000 : 0);
	else
		json_object_set_new(record, "sample_age_ms", json_null());
	ring_number(record, "period_ms", shared->period_ns / 1000000);
	ring_number(record, "minimum_bytes", shared->minimum);
	ring_number(record, "weighted_minimum_bytes", shared->weighted);
	json_object_set_new(record, "descriptor_open", json_boolean(ring->open));
	return record;
}

int run_ring(struct run *run, bool writable, struct ring_found *ring)
{
	struct error error = {0};
	int rc = ring_find(&run->target, writable, ring, &error);

	return rc < 0 ? run_failed(run, rc, &error) : EXIT_DONE;
}

bool ring_exists(const struct target *target)
{
	_cleanup_ring_ struct ring_found ring = RING_FOUND_NONE;
	struct error error = {0};
	int rc = ring_find(target, false, &ring, &error);

	return rc == 0 || rc == -EBADMSG;
}
