/* SPDX-License-Identifier: MIT */
/* addrspace info: what bounds an address space, and how much of it is used. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "addrspace.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include "base/size.h"
#include "proc/maps.h"
#include "proc/stat.h"

const struct report_column info_columns[] = {
	{"pid", "PID", COLUMN_NUMBER},
	{"mappings", "MAPPINGS", COLUMN_NUMBER},
	{"max_mappings", "MAX", COLUMN_NUMBER},
	{"virtual_bytes", "VIRTUAL", COLUMN_SIZE},
	{"resident_bytes", "RESIDENT", COLUMN_SIZE},
	{"swapped_bytes", "SWAPPED", COLUMN_SIZE},
	{"heap_bytes", "HEAP", COLUMN_SIZE | COLUMN_WIDE},
	{"stack_bytes", "STACK", COLUMN_SIZE | COLUMN_WIDE},
	{"page_bytes", "PAGE", COLUMN_SIZE | COLUMN_WIDE},
	{"overcommit", "OVERCOMMIT", COLUMN_TEXT | COLUMN_WIDE},
	{NULL, NULL, COLUMN_TEXT},
};

/* A number, or null where it could not be had. */
static json_t *number_or_null(int rc, uint64_t value)
{
	return rc < 0 ? json_null() : json_integer((json_int_t)value);
}

static int read_setting(const char *path, uint64_t *value)
{
	return fd_read_number_at(AT_FDCWD, path, 10, value);
}

static void add_setting(json_t *record, const char *key, const char *path)
{
	uint64_t value = 0;
	int rc = read_setting(path, &value);

	json_object_set_new(record, key, number_or_null(rc, value));
}

/* "CommitLimit:  8105720 kB" of /proc/meminfo. */
static void add_meminfo(json_t *record, const char *key, const char *field)
{
	_cleanup_close_ int fd = open("/proc/meminfo", O_RDONLY | O_CLOEXEC);
	uint64_t kib = 0;
	int rc = fd_find_number(fd, field, 10, &kib);

	json_object_set_new(record, key, number_or_null(rc, kib * KiB));
}

static void add_system(json_t *record)
{
	static const char *const modes[] = {"heuristic", "always", "never"};
	char text[ADDRESS_TEXT];
	uint64_t value = 0;

	report_number(record, "page_bytes", page_size());
	/* mmap(2) on x86-64 and aarch64: a page, for private and for shared mappings. */
	report_number(record, "min_align_bytes", page_size());
	add_setting(record, "huge_page_bytes", "/sys/kernel/mm/transparent_hugepage/hpage_pmd_size");
	json_object_set_new(record, "min_address",
			    read_setting("/proc/sys/vm/mmap_min_addr", &value) < 0
				    ? json_null()
				    : json_string(address_format(text, value)));
	add_setting(record, "max_mappings", "/proc/sys/vm/max_map_count");
	json_object_set_new(record, "overcommit",
			    read_setting("/proc/sys/vm/overcommit_memory", &value) < 0 || value >= ARRAY_SIZE(modes)
				    ? json_null()
				    : json_string(modes[value]));
	add_meminfo(record, "commit_limit_bytes", "CommitLimit");
	add_meminfo(record, "committed_bytes", "Committed_AS");
}

/* Soft limits; a key is absent where there is none. /proc/PID/limits, because prlimit(2) asks for more rights. */
static int add_limits(json_t *record, const struct target *target)
{
	static const struct {
		const char *line, *key;
	} limits[] = {
		{"Max address space", "address_space_limit_bytes"},
		{"Max data size", "data_limit_bytes"},
		{"Max stack size", "stack_limit_bytes"},
		{"Max locked memory", "locked_limit_bytes"},
	};
	_cleanup_fclose_ FILE *file = fd_stream(target_proc_open(target, "limits", O_RDONLY));
	char line[256];

	if (!file)
		return -errno;
	while (fgets(line, sizeof(line), file))
		for (size_t i = 0; i < ARRAY_SIZE(limits); i++) {
			const char *value = line + strlen(limits[i].line);

			if (strncmp(line, limits[i].line, strlen(limits[i].line)) != 0)
				continue;
			value += strspn(value, " ");
			if (*value >= '0' && *value <= '9')
				json_object_set_new(record, limits[i].key,
						    json_integer((json_int_t)strtoull(value, NULL, 10)));
		}
	return 0;
}

static int add_totals(json_t *record, const struct target *target)
{
	static const struct {
		const char *field, *key;
	} totals[] = {
		{"VmSize", "virtual_bytes"},
		{"VmPeak", "peak_virtual_bytes"},
		{"VmRSS", "resident_bytes"},
		{"VmHWM", "peak_resident_bytes"},
		{"RssAnon", "resident_anon_bytes"},
		{"RssFile", "resident_file_bytes"},
		{"RssShmem", "resident_shmem_bytes"},
		{"VmSwap", "swapped_bytes"},
		{"VmData", "data_bytes"},
		{"VmLck", "locked_bytes"},
		{"VmPin", "pinned_bytes"},
		{"VmPTE", "page_table_bytes"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(totals); i++) {
		uint64_t bytes = 0;
		int rc = target_status_bytes(target, totals[i].field, &bytes);

		if (rc == -ESRCH)
			return rc;
		json_object_set_new(record, totals[i].key, number_or_null(rc, bytes));
	}
	return 0;
}

static void add_region(json_t *record, const char *start, const char *end, const char *bytes, struct region region)
{
	json_object_set_new(record, start, report_address(region.start));
	json_object_set_new(record, end, report_address(region.end));
	report_number(record, bytes, region_bytes(region));
}

/* The end of the heap is the program break (brk(2)); a process that never moved it has none. */
static int add_mappings(json_t *record, const struct target *target)
{
	struct maps_reader maps;
	struct mapping mapping;
	struct region heap = {0};
	json_int_t count = 0;
	int rc = maps_open(&maps, target);

	if (rc < 0)
		return rc;
	while ((rc = maps_next(&maps, &mapping)) > 0) {
		count += !mapping_is_kernels(&mapping);
		if (strcmp(mapping.name, "[heap]") == 0)
			heap = (struct region){heap.end ? heap.start : mapping.region.start, mapping.region.end};
		if (strcmp(mapping.name, "[stack]") == 0)
			add_region(record, "stack_start", "stack_end", "stack_bytes", mapping.region);
	}
	maps_close(&maps);
	if (heap.end)
		add_region(record, "heap_start", "brk", "heap_bytes", heap);
	report_number(record, "mappings", (uint64_t)count);
	return rc;
}

static int info_one(struct run *run)
{
	json_t *record = report_process("info", run->target.pid, run->target.starttime);
	struct error error = {0};
	int rc = target_check_readable(&run->target, &error);

	if (rc < 0) {
		json_decref(record);
		return run_failed(run, rc, &error);
	}
	add_system(record);
	rc = add_limits(record, &run->target);
	if (rc == 0)
		rc = add_totals(record, &run->target);
	if (rc == 0)
		rc = add_mappings(record, &run->target);
	if (rc < 0) {
		json_decref(record);
		return inspect_failed(run, rc);
	}
	report_record(run->report, record);
	return EXIT_DONE;
}

int verb_info(struct run *run)
{
	return run_each(run, info_one);
}
