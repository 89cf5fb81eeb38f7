/* SPDX-License-Identifier: MIT */
/* From superpages as they are found to records: the limit, joining neighbours, the order. */
#include "select.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/size.h"
#include "base/text.h"
#include "untouched.h"

/* The parts of one superpage that several mappings share; mostly one. */
struct selected_group {
	uint64_t resident;
	uint64_t start;
	struct selected_part *parts;
	size_t count;
};

static json_t *vma_new(const struct mapping *mapping)
{
	char name[MAPPING_NAME];

	memcpy(name, mapping->name, sizeof(name));
	text_make_safe(name);
	return json_pack("{s:s, s:s, s:o, s:o}", "perm", mapping->perm, "name", name, "vma_start",
			 report_address(mapping->region.start), "vma_end", report_address(mapping->region.end));
}

static void vma_drop(json_t **vma)
{
	json_decref(*vma);
	*vma = NULL;
}

static void residency_add(struct residency *to, const struct residency *more)
{
	to->resident += more->resident;
	to->swapped += more->swapped;
	to->huge = more->huge == UINT64_MAX ? UINT64_MAX : to->huge + more->huge;
}

static json_t *huge_value(uint64_t huge)
{
	return huge == UINT64_MAX ? json_null() : json_integer((json_int_t)huge);
}

/* Made once: most of the time of a record is that of making one. */
static int make_records(struct selection *selection, uint64_t huge)
{
	const struct target *target = selection->target;

	selection->process = report_process("region", target->pid, target->starttime);
	selection->part = json_pack("{s:s, s:s, s:i, s:i, s:i, s:o}", "start", "", "end", "", "bytes", 0,
				    "resident_bytes", 0, "swapped_bytes", 0, "huge_bytes", huge_value(huge));
	if (selection->untouched)
		report_number(selection->part, "idle_bytes", 0);
	return selection->process && selection->part ? 0 : -ENOMEM;
}

static int set_address(json_t *record, const char *key, uint64_t address)
{
	char text[ADDRESS_TEXT];

	return json_string_set_nocheck(json_object_get(record, key), address_format(text, address));
}

static void set_number(json_t *record, const char *key, uint64_t number)
{
	json_integer_set(json_object_get(record, key), (json_int_t)number);
}

static int set_part(json_t *record, struct region region, const struct residency *residency)
{
	/* All that is listed then is idle. */
	if (json_object_get(record, "idle_bytes"))
		set_number(record, "idle_bytes", residency->resident);
	set_number(record, "bytes", region_bytes(region));
	set_number(record, "resident_bytes", residency->resident);
	set_number(record, "swapped_bytes", residency->swapped);
	if (residency->huge != UINT64_MAX)
		set_number(record, "huge_bytes", residency->huge);
	return set_address(record, "start", region.start) || set_address(record, "end", region.end) ? -ENOMEM : 0;
}

/* Steals the part's hold on its mapping. */
static int emit_part(struct selection *selection, struct selected_part *part)
{
	int rc = selection->part ? 0 : make_records(selection, part->residency.huge);

	if (rc == 0)
		rc = set_part(selection->part, part->region, &part->residency);
	if (rc == 0)
		rc = report_parts(selection->report, selection->process, selection->part, part->vma);
	vma_drop(&part->vma);
	selection->regions++;
	residency_add(&selection->total, &part->residency);
	return rc;
}

static int flush_pending(struct selection *selection)
{
	return selection->pending.vma ? emit_part(selection, &selection->pending) : 0;
}

/* Adds `part` to `before` when they are neighbours in one mapping; steals it then. */
static bool join_parts(struct selected_part *before, struct selected_part *part)
{
	if (before->vma != part->vma || before->region.end != part->region.start)
		return false;
	before->region.end = part->region.end;
	residency_add(&before->residency, &part->residency);
	vma_drop(&part->vma);
	return true;
}

static int add_by_address(struct selection *selection, struct selected_part *part)
{
	int result;

	if (!selection->options->merge)
		return emit_part(selection, part);
	if (selection->pending.vma && join_parts(&selection->pending, part))
		return 0;
	result = flush_pending(selection);
	selection->pending = *part;
	part->vma = NULL;
	return result;
}

static bool is_worse_group(const struct selected_group *a, const struct selected_group *b)
{
	return a->resident != b->resident ? a->resident < b->resident : a->start > b->start;
}

static void swap_groups(struct selected_group *a, struct selected_group *b)
{
	struct selected_group kept = *a;

	*a = *b;
	*b = kept;
}

static void sift_up(struct selected_group *heap, size_t at)
{
	for (; at && is_worse_group(&heap[at], &heap[(at - 1) / 2]); at = (at - 1) / 2)
		swap_groups(&heap[at], &heap[(at - 1) / 2]);
}

static void sift_down(struct selected_group *heap, size_t count)
{
	size_t at = 0, child;

	while ((child = 2 * at + 1) < count) {
		if (child + 1 < count && is_worse_group(&heap[child + 1], &heap[child]))
			child++;
		if (!is_worse_group(&heap[child], &heap[at]))
			return;
		swap_groups(&heap[child], &heap[at]);
		at = child;
	}
}

static void group_free(struct selected_group *group)
{
	for (size_t i = 0; i < group->count; i++)
		vma_drop(&group->parts[i].vma);
	free(group->parts);
	*group = (struct selected_group){0};
}

/*
 * The superpage being found is the last of groups[], outside the heap, until it is complete. Then it takes its place in
 * the heap, or, when that holds enough, the place of the least.
 */
static void finish_last(struct selection *selection)
{
	struct selected_group *groups = selection->groups;
	size_t heap = selection->count - 1;

	if (selection->options->max < 0)
		return;
	if (heap < (uint64_t)selection->options->max) {
		sift_up(groups, heap);
		return;
	}
	if (is_worse_group(&groups[0], &groups[heap])) {
		swap_groups(&groups[0], &groups[heap]);
		sift_down(groups, heap);
	}
	group_free(&groups[heap]);
	selection->count--;
}

static int begin_group(struct selection *selection, uint64_t start)
{
	if (selection->count)
		finish_last(selection);
	if (array_reserve(&selection->groups, selection->count, &selection->capacity) < 0)
		return -ENOMEM;
	selection->groups[selection->count++] = (struct selected_group){.start = start};
	return 0;
}

static int add_by_resident(struct selection *selection, struct selected_part *part, bool new_superpage)
{
	struct selected_group *group;
	struct selected_part *parts;
	int result = new_superpage ? begin_group(selection, part->region.start) : 0;

	if (result)
		return result;
	group = &selection->groups[selection->count - 1];
	parts = group->parts;
	if (!(group->count & (group->count - 1))) /* grows at powers of two */
		parts = reallocarray(parts, group->count ? 2 * group->count : 1, sizeof(*parts));
	if (!parts)
		return -ENOMEM;
	group->parts = parts;
	group->parts[group->count++] = *part;
	group->resident += part->residency.resident;
	part->vma = NULL;
	return 0;
}

void select_mapping(struct selection *selection)
{
	vma_drop(&selection->vma);
}

static bool resident_enough(const struct list_options *options, struct region region, const struct residency *residency)
{
	if (options->resident.is_percent)
		return residency->resident * 100 >= options->resident.least * region_bytes(region);
	return residency->resident >= options->resident.least;
}

int select_add(struct selection *selection, const struct mapping *mapping, struct region region,
	       const struct residency *residency)
{
	const struct list_options *options = selection->options;
	uint64_t number = region.start / options->size;
	bool is_new = !selection->found || number != selection->superpage;
	struct selected_part part = {.region = region, .residency = *residency};
	int result;

	if (!resident_enough(options, region, residency))
		return 0;
	if (is_new && options->sort != LIST_BY_RESIDENT && options->max >= 0 &&
	    selection->found == (uint64_t)options->max)
		return SELECT_ENOUGH;
	if (!selection->vma)
		selection->vma = vma_new(mapping);
	if (!selection->vma)
		return -ENOMEM;
	selection->superpage = number;
	selection->found += is_new;
	part.vma = json_incref(selection->vma);
	result = options->sort == LIST_BY_RESIDENT ? add_by_resident(selection, &part, is_new)
						   : add_by_address(selection, &part);
	vma_drop(&part.vma);
	return result;
}

static int by_address(const void *a, const void *b)
{
	const struct selected_part *one = a, *other = b;

	return one->region.start < other->region.start ? -1 : one->region.start > other->region.start;
}

static int by_resident(const void *a, const void *b)
{
	const struct selected_part *one = a, *other = b;

	if (one->residency.resident != other->residency.resident)
		return one->residency.resident > other->residency.resident ? -1 : 1;
	return by_address(a, b);
}

/* Moves the parts of all groups into one array. */
static int flatten_groups(struct selection *selection, struct selected_part **parts, size_t *count)
{
	size_t total = 0;

	for (size_t i = 0; i < selection->count; i++)
		total += selection->groups[i].count;
	*parts = calloc(total ? total : 1, sizeof(**parts));
	if (!*parts)
		return -ENOMEM;
	*count = 0;
	for (size_t i = 0; i < selection->count; i++) {
		struct selected_group *group = &selection->groups[i];

		memcpy(*parts + *count, group->parts, group->count * sizeof(**parts));
		*count += group->count;
		group->count = 0;
		group_free(group);
	}
	return 0;
}

static size_t join_all(struct selected_part *parts, size_t count)
{
	size_t kept = 0;

	for (size_t i = 0; i < count; i++)
		if (!kept || !join_parts(&parts[kept - 1], &parts[i]))
			parts[kept++] = parts[i];
	return kept;
}

static int emit_groups(struct selection *selection)
{
	struct selected_part *parts;
	size_t count;
	int result = 0;

	if (selection->count)
		finish_last(selection);
	selection->found = selection->count;
	result = flatten_groups(selection, &parts, &count);
	if (result)
		return result;
	if (selection->options->merge) {
		qsort(parts, count, sizeof(*parts), by_address);
		count = join_all(parts, count);
	}
	qsort(parts, count, sizeof(*parts), by_resident);
	for (size_t i = 0; i < count; i++) {
		if (!result)
			result = emit_part(selection, &parts[i]);
		vma_drop(&parts[i].vma);
	}
	free(parts);
	return result;
}

static json_t *sum_up(const struct selection *selection, enum pages_method method)
{
	const struct target *target = selection->target;

	return json_pack("{s:s, s:i, s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:s}", "type", "summary", "pid", target->pid,
			 "starttime", (json_int_t)target->starttime, "superpages", (json_int_t)selection->found,
			 "regions", (json_int_t)selection->regions, "superpage_bytes",
			 (json_int_t)selection->options->size, "resident_bytes", (json_int_t)selection->total.resident,
			 "swapped_bytes", (json_int_t)selection->total.swapped, "huge_bytes",
			 huge_value(selection->total.huge), "method", pages_method_name(method));
}

int select_finish(struct selection *selection, enum pages_method method)
{
	int result = selection->options->sort == LIST_BY_RESIDENT ? emit_groups(selection) : flush_pending(selection);
	json_t *record;

	if (result)
		return result;
	record = sum_up(selection, method);
	if (selection->untouched) {
		report_number(record, "idle_bytes", selection->total.resident);
		if (!selection->options->limited)
			report_number(record, "idle_unlisted_bytes", selection->unlisted);
		untouched_describe(selection->untouched, record);
	}
	return report_record(selection->report, record);
}

void select_free(struct selection *selection)
{
	vma_drop(&selection->process);
	vma_drop(&selection->part);
	vma_drop(&selection->vma);
	vma_drop(&selection->pending.vma);
	for (size_t i = 0; i < selection->count; i++)
		group_free(&selection->groups[i]);
	free(selection->groups);
	selection->groups = NULL;
	selection->count = 0;
}
