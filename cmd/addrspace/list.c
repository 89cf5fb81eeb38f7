/* SPDX-License-Identifier: MIT */
/* addrspace list: the mappings of a process, and what is in core of each. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "base/size.h"
#include "mapping.h"
#include "pages/tally.h"
#include "proc/lines.h"
#include "proc/smaps.h"

#define BATCH         256 /* what is read before the pages of all of it are looked at together */
#define GROWN_COLUMNS "start,bytes,resident_bytes,grown_bytes,perm,object,name"

/* VmFlags (proc_pid_smaps(5)) by the names of the calls that set them (madvise(2), mmap(2)). */
static const struct {
	char flag[3];
	const char *name;
} vm_flag_names[] = {
	{"rd", "readable"},   {"wr", "writable"},     {"ex", "executable"},   {"sh", "shared"},
	{"mr", "may-read"},   {"mw", "may-write"},    {"me", "may-execute"},  {"ms", "may-share"},
	{"gd", "growsdown"},  {"pf", "pfn-map"},      {"lo", "locked"},       {"lf", "lock-on-fault"},
	{"io", "io"},         {"sr", "sequential"},   {"rr", "random"},       {"dc", "dontfork"},
	{"de", "dontexpand"}, {"ac", "account"},      {"nr", "noreserve"},    {"ht", "hugetlb"},
	{"sf", "sync"},       {"wf", "wipeonfork"},   {"dd", "dontdump"},     {"sd", "soft-dirty"},
	{"mm", "mixed-map"},  {"hg", "hugepage"},     {"nh", "nohugepage"},   {"mg", "mergeable"},
	{"bt", "bti"},        {"mt", "mte"},          {"um", "uffd-missing"}, {"uw", "uffd-wp"},
	{"ui", "uffd-minor"}, {"ss", "shadow-stack"}, {"sl", "sealed"},       {"dp", "droppable"},
};

static json_t *vm_flag_name(const char *flag)
{
	for (size_t i = 0; i < ARRAY_SIZE(vm_flag_names); i++)
		if (strncmp(vm_flag_names[i].flag, flag, 2) == 0)
			return json_string(vm_flag_names[i].name);
	return json_stringn(flag, strcspn(flag, " "));
}

/*
 * Two-letter flags as smaps has them, as an array of names; a flag without a name stays as it is. The caller owns it.
 */
static json_t *name_vm_flags(const char *flags)
{
	json_t *array = json_array();

	while (array && *(flags += strspn(flags, " "))) {
		json_array_append_new(array, vm_flag_name(flags));
		flags += strcspn(flags, " ");
	}
	return array;
}

/* A mapping, or a part of one. */
struct listed {
	struct mapping mapping;
	json_t *vm_flags;
};

/* What was resident when --grown looked first, in the order of addresses. */
struct earlier {
	struct seen {
		struct region region;
		uint64_t resident;
	} * items;
	size_t count, size;
	size_t next; /* those before this one lie below what is read */
	bool noting; /* this is the first look */
};

struct list {
	struct run *run;
	const struct region_vec *within; /* only these, when -r was given */
	bool vm_flags, no_pages;
	struct maps_reader maps;
	struct pages pages;
	struct listed batch[BATCH];
	struct region parts[BATCH];
	struct residency sums[BATCH];
	size_t count;
	size_t next; /* regions of the input before this one lie below what is read */
	uint64_t regions, bytes, resident, swapped, grown;
	uint64_t grown_ms;
	struct earlier earlier;
};

static int note_part(struct earlier *earlier, struct region part, uint64_t resident)
{
	if (array_reserve(&earlier->items, earlier->count, &earlier->size) < 0)
		return -ENOMEM;
	earlier->items[earlier->count++] = (struct seen){part, resident};
	return 0;
}

/* How much more is resident there: a mapping may have grown at either end, or be new. */
static uint64_t growth_of(struct earlier *earlier, struct region part, uint64_t resident)
{
	uint64_t was = 0;

	while (earlier->next < earlier->count && earlier->items[earlier->next].region.end <= part.start)
		earlier->next++;
	for (size_t i = earlier->next; i < earlier->count && earlier->items[i].region.start < part.end; i++)
		was += earlier->items[i].resident;
	return resident - min_u64(was, resident);
}

static int report_part(struct list *list, size_t i)
{
	const struct residency *sum = &list->sums[i];
	uint64_t grown = 0;
	json_t *record;

	if (list->earlier.noting)
		return note_part(&list->earlier, list->parts[i], sum->resident);
	if (list->grown_ms)
		grown = growth_of(&list->earlier, list->parts[i], sum->resident);
	if (list->grown_ms && !grown)
		return 0;
	record = mapping_record(&list->run->target, &list->batch[i].mapping, list->parts[i]);
	list->grown += grown;
	list->regions++;
	list->bytes += region_bytes(list->parts[i]);
	list->resident += sum->resident;
	list->swapped += sum->swapped;
	if (record && !list->no_pages) {
		report_number(record, "resident_bytes", sum->resident);
		report_number(record, "swapped_bytes", sum->swapped);
	}
	if (record && grown)
		report_number(record, "grown_bytes", grown);
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
	const struct region_vec *within = list->within;
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
			vm_flags = name_vm_flags(flags);
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
	if (record && list->grown_ms)
		report_number(record, "grown_bytes", list->grown);
	return report_record(list->run->report, record);
}

static int look_once(struct list *list)
{
	int rc = open_readers(list);

	list->next = 0;
	if (rc == 0)
		rc = read_all(list);
	forget_batch(list);
	cleanup_close(&list->pages.pagemap_fd);
	maps_close(&list->maps);
	return rc;
}

static int look_before(struct list *list)
{
	const struct timespec time = {(time_t)(list->grown_ms / 1000), (long)(list->grown_ms % 1000) * 1000000};
	_cleanup_close_ int maps = target_proc_open(&list->run->target, "maps", O_RDONLY);
	int rc = maps < 0 ? maps : 0;

	list->earlier.noting = true;
	if (rc == 0)
		rc = look_once(list);
	list->earlier.noting = false;
	if (rc == 0)
		nanosleep(&time, NULL);
	/* Another program has other mappings. */
	return rc == 0 && address_space_gone(maps) ? -ESRCH : rc;
}

static int list_mappings(struct list *list)
{
	struct error error = {0};
	int rc = target_check_readable(&list->run->target, &error);

	if (rc < 0)
		return run_failed(list->run, rc, &error);
	if (list->grown_ms)
		rc = look_before(list);
	if (rc == 0)
		rc = look_once(list);
	if (rc == 0)
		rc = summarize_list(list);
	free(list->earlier.items);
	/* What cannot be written is told by run_finish. */
	return rc == 0 || rc == -EPIPE || rc == -EIO ? EXIT_DONE : inspect_failed(list->run, rc);
}

static int list_one(struct run *run)
{
	const struct addrspace_values *values = run_values(run);
	struct list list = {.run = run,
			    .vm_flags = values->vm_flags,
			    .no_pages = values->no_pages,
			    .grown_ms = values->grown_ms,
			    .maps.fd = -1,
			    .pages.pagemap_fd = -1};
	struct region_vec *regions;
	int status = run_regions(run, &regions);

	list.within = regions;
	return status == EXIT_DONE ? list_mappings(&list) : status;
}

int verb_list(struct run *run)
{
	const struct addrspace_values *values = run_values(run);

	if (values->grown_ms && !run->options.style.chosen)
		run->options.style.chosen = strdup(GROWN_COLUMNS);
	return run_each(run, list_one);
}
