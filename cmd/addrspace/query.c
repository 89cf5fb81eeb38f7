/* SPDX-License-Identifier: MIT */
/* addrspace query: what is mapped at an address or over a region: one object, with which rights? */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/size.h"
#include "mapping.h"

const struct report_column query_columns[] = {
	{"start", "START", COLUMN_ADDRESS},
	{"end", "END", COLUMN_ADDRESS | COLUMN_WIDE},
	{"object", "OBJECT", COLUMN_TEXT},
	{"offset", "OFFSET", COLUMN_TEXT | COLUMN_WIDE},
	{"protection", "PROTECTION", COLUMN_TEXT},
	{"all_same", "ALL SAME", COLUMN_TEXT},
	{"mapped_bytes", "MAPPED", COLUMN_SIZE},
	{"mappings", "MAPPINGS", COLUMN_NUMBER},
	{"name", "NAME", COLUMN_NAME},
	{NULL, NULL, COLUMN_TEXT},
};

/* What was found of a region. */
struct found {
	struct mapping first, last;
	uint64_t mapped_bytes, mappings;
	bool one_object;      /* contiguous in it, as far as it is mapped */
	bool same_protection; /* of all that is mapped */
	bool same_flags;
};

static int parse_query(const struct run *run, const char *text, struct region *region)
{
	if (address_parse(text, &region->start) == 0) {
		region->start = round_down(region->start, page_size());
		region->end = region->start + page_size();
		if (region->end)
			return EXIT_DONE;
	}
	return parse_region(run, text, region);
}

/* Anonymous memory is one object whatever mappings it consists of. */
static bool continues_object(const struct mapping *a, const struct mapping *b)
{
	if (a->kind != b->kind || a->inode != b->inode || a->device != b->device || a->shared != b->shared)
		return false;
	if (!mapping_has_offset(a))
		return a->kind == MAPPING_ANON || strcmp(a->name, b->name) == 0;
	return mapping_offset(a, a->region.end) == b->offset;
}

static void add_mapping(struct found *found, const struct mapping *mapping, struct region region)
{
	if (!found->mappings) {
		found->first = *mapping;
		found->one_object = found->same_protection = found->same_flags = true;
	} else {
		found->one_object &= continues_object(&found->last, mapping);
		found->same_protection &= strncmp(found->first.perm, mapping->perm, 3) == 0;
		found->same_flags &= found->first.shared == mapping->shared;
	}
	found->last = *mapping;
	found->mappings++;
	found->mapped_bytes += region_bytes(region_intersect(mapping->region, region));
}

static int scan_region(const struct target *target, struct region region, struct found *found)
{
	struct maps_reader maps;
	struct mapping mapping;
	int rc = maps_open(&maps, target);

	if (rc < 0)
		return rc;
	if (region_bytes(region) == page_size()) {
		rc = mapping_at(maps.fd, region.start, &mapping);
		if (rc > 0)
			add_mapping(found, &mapping, region);
		maps_close(&maps);
		return rc < 0 ? rc : 0;
	}
	while ((rc = maps_next(&maps, &mapping)) > 0 && mapping.region.start < region.end)
		if (region_overlaps(mapping.region, region))
			add_mapping(found, &mapping, region);
	maps_close(&maps);
	return rc < 0 ? rc : 0;
}

/* A record as list has it, with null for what is not the same everywhere. */
static json_t *query_record(const struct target *target, struct region region, const struct found *found)
{
	bool whole = found->mapped_bytes == region_bytes(region);
	json_t *record;

	if (!found->mappings) {
		record = report_region("region", target->pid, target->starttime, region.start, region.end);
		json_object_set_new(record, "flags", json_null());
		json_object_set_new(record, "protection", json_null());
	} else {
		record = mapping_record(target, &found->first, region);
	}
	if (found->mappings != 1) {
		json_object_del(record, "vma_start");
		json_object_del(record, "vma_end");
		json_object_del(record, "perm");
	}
	if (!whole || !found->one_object) {
		json_object_set_new(record, "object", json_null());
		json_object_del(record, "name");
		json_object_del(record, "inode");
		json_object_del(record, "offset");
	}
	if (!whole || !found->same_protection)
		json_object_set_new(record, "protection", json_null());
	if (!whole || !found->same_flags)
		json_object_set_new(record, "flags", json_null());
	json_object_set_new(record, "all_same", json_boolean(whole && found->same_protection));
	report_number(record, "mapped_bytes", found->mapped_bytes);
	report_number(record, "mappings", found->mappings);
	return record;
}

static int query_region(struct run *run, const char *text)
{
	struct found found = {0};
	struct error error = {0};
	struct region region;
	int rc = parse_query(run, text, &region);

	if (rc != EXIT_DONE)
		return rc;
	rc = target_check_readable(&run->target, &error);
	if (rc < 0)
		return run_failed(run, rc, &error);
	rc = scan_region(&run->target, region, &found);
	if (rc < 0)
		return inspect_failed(run, rc);
	report_record(run->report, query_record(&run->target, region, &found));
	return EXIT_DONE;
}

int verb_query(struct run *run)
{
	const char *word = run->operands[0];
	int status;

	if (!word)
		return cli_usage_error(run->name, "which address? give ADDR or START-END (see %s --help)", run->name);
	status = run_begin(run);
	return status == EXIT_DONE ? query_region(run, word) : status;
}
