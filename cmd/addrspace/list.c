/* SPDX-License-Identifier: MIT */
/* addrspace list: the mappings of a process, and what is in core of each. */
#include <errno.h>
#include <fcntl.h>

#include "base/cleanup.h"
#include "base/size.h"
#include "mapping.h"
#include "pages/tally.h"
#include "proc/smaps.h"
#include "vm_flags.h"

#define BATCH 256 /* what is read before the pages of all of it are looked at together */

/* A mapping, or a part of one. */
struct listed {
	struct mapping mapping;
	json_t *vm_flags;
};

struct list {
	struct run *run;
	struct region_input input; /* only these, when -r was given */
	bool vm_flags, no_pages;
	struct maps_reader maps;
	struct pages pages;
	struct listed batch[BATCH];
	struct region parts[BATCH];
	struct residency sums[BATCH];
	size_t count;
	size_t next; /* regions of the input before this one lie below what is read */
	uint64_t regions, bytes, resident, swapped;
};

static int report_part(struct list *list, size_t i)
{
	const struct residency *sum = &list->sums[i];
	json_t *record = mapping_record(&list->run->target, &list->batch[i].mapping, list->parts[i]);

	list->regions++;
	list->bytes += region_bytes(list->parts[i]);
	list->resident += sum->resident;
	list->swapped += sum->swapped;
	if (record && !list->no_pages) {
		report_number(record, "resident_bytes", sum->resident);
		report_number(record, "swapped_bytes", sum->swapped);
	}
	if (record && list->batch[i].vm_flags)
		json_object_set(record, "vm_flags", list->batch[i].vm_flags);
	return report_record(list->run->report, record);
}

static void forget_batch(struct list *list)
{
	for (size_t i = 0; i < list->count; i++)
		json_decref(list->batch[i].vm_flags);
	list->count = 0;
}

static int report_batch(struct list *list)
{
	int rc = list->no_pages ? 0 : pages_tally(&list->pages, list->parts, list->count, list->sums);

	for (size_t i = 0; rc == 0 && i < list->count; i++)
		rc = report_part(list, i);
	forget_batch(list);
	return rc;
}

static int add_part(struct list *list, const struct mapping *mapping, json_t *vm_flags, struct region part)
{
	list->batch[list->count] = (struct listed){*mapping, json_incref(vm_flags)};
	list->parts[list->count] = part;
	list->count++;
	return list->count == BATCH ? report_batch(list) : 0;
}

static int list_mapping(struct list *list, const struct mapping *mapping, json_t *vm_flags)
{
	const struct region_vec *within = &list->input.regions;
	int rc = 0;

	if (!list->run->options.regions)
		return add_part(list, mapping, vm_flags, mapping->region);
	while (list->next < within->count && within->items[list->next].end <= mapping->region.start)
		list->next++;
	for (size_t i = list->next; rc == 0 && i < within->count && within->items[i].start < mapping->region.end; i++)
		rc = add_part(list, mapping, vm_flags, region_intersect(within->items[i], mapping->region));
	return rc;
}

static int read_all(struct list *list)
{
	struct mapping mapping;
	const char *flags = NULL;
	int rc;

	do {
		json_t *vm_flags = NULL;

		rc = list->vm_flags ? smaps_next(&list->maps, &mapping, &flags) : maps_next(&list->maps, &mapping);
		if (rc <= 0)
			break;
		if (mapping_is_kernels(&mapping))
			continue;
		if (list->vm_flags && flags)
			vm_flags = vm_flags_names(flags);
		rc = list_mapping(list, &mapping, vm_flags);
		json_decref(vm_flags);
	} while (rc == 0);
	return rc < 0 ? rc : report_batch(list);
}

static int open_readers(struct list *list)
{
	const struct target *target = &list->run->target;
	int rc = list->vm_flags ? smaps_open(&list->maps, target) : maps_open(&list->maps, target);

	if (rc < 0 || list->no_pages)
		return rc;
	list->pages.pagemap_fd = target_proc_open(target, "pagemap", O_RDONLY);
	return list->pages.pagemap_fd < 0 ? list->pages.pagemap_fd : pages_open(&list->pages);
}

static int summarize_list(const struct list *list)
{
	const struct target *target = &list->run->target;
	json_t *record = json_pack("{s:s, s:i, s:I, s:I, s:I}", "type", "summary", "pid", (int)target->pid, "starttime",
				   (json_int_t)target->starttime, "regions", (json_int_t)list->regions, "bytes",
				   (json_int_t)list->bytes);

	if (record && !list->no_pages) {
		report_number(record, "resident_bytes", list->resident);
		report_number(record, "swapped_bytes", list->swapped);
	}
	return report_record(list->run->report, record);
}

static int list_mappings(struct list *list)
{
	struct error error = {0};
	int rc = target_check_readable(&list->run->target, &error);

	if (rc < 0)
		return run_failed(list->run, rc, &error);
	rc = open_readers(list);
	if (rc == 0)
		rc = read_all(list);
	if (rc == 0)
		rc = summarize_list(list);
	forget_batch(list);
	cleanup_close(&list->pages.pagemap_fd);
	maps_close(&list->maps);
	/* What cannot be written is told by run_finish. */
	return rc == 0 || rc == -EPIPE || rc == -EIO ? EXIT_DONE : inspect_failed(list->run, rc);
}

int verb_list(struct run *run)
{
	const struct addrspace_values *values = run_values(run);
	struct list list = {.run = run,
			    .vm_flags = values->vm_flags,
			    .no_pages = values->no_pages,
			    .maps.fd = -1,
			    .pages.pagemap_fd = -1};
	int status = run_begin(run);

	if (status == EXIT_DONE)
		status = run_input(run, &list.input);
	if (status == EXIT_DONE)
		status = list_mappings(&list);
	region_input_free(&list.input);
	return status;
}
