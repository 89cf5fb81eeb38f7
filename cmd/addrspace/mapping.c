/* SPDX-License-Identifier: MIT */
/* What several verbs share: records of mappings, regions as words, why a target cannot be looked at. */
#include "mapping.h"
#include "proc/refusal.h"

#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/size.h"
#include "base/text.h"

const struct report_column mapping_columns[] = {
	{"start", "START", COLUMN_ADDRESS},
	{"end", "END", COLUMN_ADDRESS | COLUMN_WIDE},
	{"bytes", "BYTES", COLUMN_SIZE},
	{"resident_bytes", "RESIDENT", COLUMN_SIZE},
	{"swapped_bytes", "SWAPPED", COLUMN_SIZE | COLUMN_WIDE},
	{"grown_bytes", "GROWN", COLUMN_SIZE | COLUMN_CHOSEN},
	{"perm", "PERM", COLUMN_TEXT},
	{"object", "OBJECT", COLUMN_TEXT},
	{"offset", "OFFSET", COLUMN_TEXT | COLUMN_WIDE},
	{"name", "NAME", COLUMN_NAME},
	{NULL, NULL, COLUMN_TEXT},
};

/* Of what a verb has changed, it is not asked what was in core. */
const struct report_column changed_columns[] = {
	{"start", "START", COLUMN_ADDRESS}, {"end", "END", COLUMN_ADDRESS | COLUMN_WIDE},
	{"bytes", "BYTES", COLUMN_SIZE},    {"perm", "PERM", COLUMN_TEXT},
	{"object", "OBJECT", COLUMN_TEXT},  {"offset", "OFFSET", COLUMN_TEXT | COLUMN_WIDE},
	{"name", "NAME", COLUMN_NAME},      {NULL, NULL, COLUMN_TEXT},
};

static const char *object_name(const struct mapping *mapping)
{
	static const char *const names[] = {
		[MAPPING_ANON] = "anon",       [MAPPING_FILE] = "file",       [MAPPING_SHMEM] = "shmem",
		[MAPPING_HUGETLB] = "hugetlb", [MAPPING_SPECIAL] = "special",
	};

	return names[mapping->kind];
}

/* Made once and shared: there are eight, and a process may have many thousand mappings. */
json_t *protection_names(bool readable, bool writable, bool executable)
{
	static const char *const names[] = {"read", "write", "exec"};
	static json_t *made[8];
	unsigned int bits = (readable ? 1U : 0) | (writable ? 2U : 0) | (executable ? 4U : 0);

	if (!made[bits])
		made[bits] = report_flags(bits, names, ARRAY_SIZE(names));
	return json_incref(made[bits]);
}

uint64_t mapping_offset(const struct mapping *mapping, uint64_t address)
{
	return mapping->offset + (address - mapping->region.start);
}

bool mapping_has_offset(const struct mapping *mapping)
{
	return mapping->inode != 0;
}

static int add_object(json_t *record, const struct mapping *mapping, uint64_t start)
{
	char name[MAPPING_NAME];

	memcpy(name, mapping->name, sizeof(name));
	if (json_object_set_new(record, "perm", json_string(mapping->perm)) ||
	    json_object_set_new(record, "object", json_string(object_name(mapping))) ||
	    json_object_set_new(record, "name", json_string(text_make_safe(name))))
		return -1;
	if (!mapping_has_offset(mapping))
		return 0;
	return json_object_set_new(record, "inode", json_integer((json_int_t)mapping->inode)) ||
	       json_object_set_new(record, "offset", report_address(mapping_offset(mapping, start)));
}

json_t *mapping_record(const struct target *target, const struct mapping *mapping, struct region part)
{
	json_t *record = report_region("region", target->pid, target->starttime, part.start, part.end);
	bool whole = part.start == mapping->region.start && part.end == mapping->region.end;

	if (!record || add_object(record, mapping, part.start) ||
	    json_object_set_new(record, "protection",
				protection_names(mapping->read, mapping->write, mapping->execute)) ||
	    json_object_set_new(record, "flags", json_pack("[s]", mapping->shared ? "shared" : "private")) ||
	    (!whole && (json_object_set_new(record, "vma_start", report_address(mapping->region.start)) ||
			json_object_set_new(record, "vma_end", report_address(mapping->region.end))))) {
		json_decref(record);
		return NULL;
	}
	return record;
}

int inspect_failed(const struct run *run, int rc)
{
	struct error error = {0};

	refusal_to_look(&run->target, rc, "look at", &error);
	return run_failed(run, rc, &error);
}

int parse_region(const struct run *run, const char *text, struct region *region)
{
	if (region_parse(text, region) < 0)
		return cli_usage_error(run->name, "%s is not START-END in hexadecimal, nor START+SIZE", text);
	if ((region->start | region->end) & (page_size() - 1))
		return cli_usage_error(run->name, "%s does not begin and end at pages", text);
	return EXIT_DONE;
}
