/* SPDX-License-Identifier: MIT */
/* What a process has to do with userfaultfd already: its descriptors, and the mappings that are registered. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "cli/exit.h"
#include "probe.h"
#include "proc/refusal.h"
#include "proc/smaps.h"
#include "proc/stat.h"
#include "uffd/uffd.h"

#define INITIALIZED (UINT64_C(1) << 31) /* in the features of fdinfo: the handshake was made */

static const struct report_column descriptor_columns[] = {
	{"fd", "FD", COLUMN_NUMBER},
	{"features", "FEATURES", COLUMN_PROSE},
	{"pending", "PENDING", COLUMN_NUMBER},
	{"total", "TOTAL", COLUMN_NUMBER},
	{NULL, NULL, COLUMN_TEXT},
};

static const struct report_column region_columns[] = {
	{"start", "START", COLUMN_ADDRESS}, {"end", "END", COLUMN_ADDRESS | COLUMN_WIDE},
	{"bytes", "BYTES", COLUMN_SIZE},    {"modes", "MODES", COLUMN_TEXT},
	{"perm", "PERM", COLUMN_TEXT},      {"name", "NAME", COLUMN_NAME},
	{NULL, NULL, COLUMN_TEXT},
};

/* Sums for the summary. */
struct sums {
	uint64_t descriptors, pending, total;
	uint64_t regions, bytes, mode_bytes[UFFD_NAMED_MODES];
};

/* Of a userfaultfd's fdinfo: threads that wait and are not read yet, those that wait at all, features. */
struct info {
	uint64_t pending, total, features;
};

static int read_info(const struct target *target, int number, struct info *info)
{
	_cleanup_fclose_ FILE *file = NULL;
	char name[40], line[100];

	snprintf(name, sizeof(name), "fdinfo/%d", number);
	*info = (struct info){0};
	file = fd_stream(target_proc_open(target, name, O_RDONLY));
	if (!file)
		return -errno;
	while (fgets(line, sizeof(line), file)) {
		sscanf(line, "pending: %" SCNu64, &info->pending);
		sscanf(line, "total: %" SCNu64, &info->total);
		sscanf(line, "API: %*x:%" SCNx64, &info->features);
	}
	return 0;
}

static void emit_descriptor(struct probe *probe, const struct target *target, int number, struct sums *sums)
{
	struct info info;
	uint64_t features;

	if (read_info(target, number, &info)) /* closed meanwhile */
		return;
	features = info.features & ~INITIALIZED;
	sums->descriptors++;
	sums->pending += info.pending;
	sums->total += info.total;
	probe_record(probe, json_pack("{s:s, s:i, s:I, s:i, s:b, s:o, s:o, s:I, s:I}", "type", "userfaultfd", "pid",
				      target->pid, "starttime", (json_int_t)target->starttime, "fd", number, "ready",
				      (info.features & INITIALIZED) != 0, "features",
				      report_flags(features, uffd_feature_names, UFFD_NAMED_FEATURES), "raw",
				      report_address(features), "pending", (json_int_t)info.pending, "total",
				      (json_int_t)info.total));
}

static int emit_descriptors(struct probe *probe, const struct target *target, struct sums *sums)
{
	_cleanup_closedir_ DIR *dir = fd_directory(target_proc_open(target, "fd", O_RDONLY | O_DIRECTORY));

	if (!dir)
		return -errno;
	for (struct dirent *entry; (entry = readdir(dir));) {
		int rc = uffd_link_is(dirfd(dir), entry->d_name);

		if (rc < 0 && rc != -EINVAL && rc != -ENOENT)
			return rc;
		if (rc > 0)
			emit_descriptor(probe, target, (int)strtol(entry->d_name, NULL, 10), sums);
	}
	return 0;
}

/* The modes that a mapping is registered for, from the two-letter words of its VmFlags. */
static unsigned int modes_of(const char *flags)
{
	static const char *const words[UFFD_NAMED_MODES] = {"um", "uw", "ui", "ur"};
	unsigned int modes = 0;

	for (unsigned int mode = 0; mode < UFFD_NAMED_MODES; mode++)
		if (vm_flags_have(flags, words[mode]))
			modes |= 1U << mode;
	return modes;
}

static void emit_region(struct probe *probe, const struct target *target, const struct mapping *mapping,
			unsigned int modes, struct sums *sums)
{
	json_t *record =
		report_region("region", target->pid, target->starttime, mapping->region.start, mapping->region.end);
	uint64_t bytes = region_bytes(mapping->region);

	sums->regions++;
	sums->bytes += bytes;
	for (unsigned int mode = 0; mode < UFFD_NAMED_MODES; mode++)
		sums->mode_bytes[mode] += modes >> mode & 1 ? bytes : 0;
	if (record)
		json_object_update_new(record, json_pack("{s:o, s:s, s:s}", "modes",
							 report_flags(modes, uffd_mode_names, UFFD_NAMED_MODES), "perm",
							 mapping->perm, "name", mapping->name));
	probe_record(probe, record);
}

static int emit_regions(struct probe *probe, const struct target *target, struct sums *sums)
{
	struct maps_reader smaps;
	struct mapping mapping;
	const char *flags;
	int result = smaps_open(&smaps, target);

	if (result < 0)
		return result;
	while ((result = smaps_next(&smaps, &mapping, &flags)) > 0) {
		unsigned int modes = modes_of(flags);

		if (modes)
			emit_region(probe, target, &mapping, modes, sums);
	}
	maps_close(&smaps);
	return result;
}

static json_t *summarize_target(const struct target *target, const struct sums *sums, bool looked)
{
	json_t *record = report_process("summary", target->pid, target->starttime);
	const struct {
		const char *key;
		uint64_t value;
	} rows[] = {
		{"descriptors", sums->descriptors},
		{"pending", sums->pending},
		{"total", sums->total},
		{"regions", sums->regions},
		{"registered_bytes", sums->bytes},
		{"missing_bytes", sums->mode_bytes[0]},
		{"wp_bytes", sums->mode_bytes[1]},
		{"minor_bytes", sums->mode_bytes[2]},
		{"rwp_bytes", sums->mode_bytes[3]},
	};

	for (size_t i = 0; record && i < ARRAY_SIZE(rows); i++)
		json_object_set_new(record, rows[i].key,
				    looked ? json_integer((json_int_t)rows[i].value) : json_null());
	return record;
}

/* Kernel threads and this program itself are no targets at all; everything else may be looked at. */
static int check_target(const struct target *target, struct error *error)
{
	struct proc_stat stat;
	int result = proc_stat_read(target->pid, &stat);

	if (!result && (target->pid == getpid() || proc_stat_is_kernel_thread(&stat)))
		return target_check(target, error);
	return result ? error_set(error, result, NULL, NULL, "look at process %d", target->pid) : 0;
}

/* Its own descriptors and mappings. Returns 0 or -errno with `error` filled. */
static int emit_own(struct probe *probe, const struct target *target, struct sums *sums, struct error *error)
{
	int result = emit_descriptors(probe, target, sums);

	if (!result)
		result = probe_table(probe, "region", region_columns) ? -EINVAL : emit_regions(probe, target, sums);
	return result ? refusal_to_look(target, result, "look at", error) : 0;
}

int emit_target(struct probe *probe, const struct target *target)
{
	struct error error = {0};
	struct sums sums = {0};
	int result = check_target(target, &error), code;

	if (result) {
		error_print(probe->run->name, &error);
		return exit_code_of(result);
	}
	code = probe_table(probe, "userfaultfd", descriptor_columns);
	if (code)
		return code;
	result = emit_own(probe, target, &sums, &error);
	if (result && result != -EACCES && result != -EPERM) {
		error_print(probe->run->name, &error);
		return exit_code_of(result);
	}
	if (result)
		probe_record(probe, error_record("look", &error));
	code = emit_verdicts(probe, target);
	if (!code)
		probe_record(probe, summarize_target(target, &sums, result == 0));
	return code ? code : exit_code_of(result);
}
