/* SPDX-License-Identifier: MIT */
/* superpages: lists the superpages of a live process that are in use and in core. */
#include <errno.h>

#include "base/cleanup.h"
#include "base/size.h"
#include "list.h"
#include "report/input.h"
#include "report/metrics.h"
#include "untouched.h"

const struct report_metric list_metrics[] = {
	{"uvm_superpages_resident_bytes", "resident_bytes", "bytes", "Resident memory.", .kind = METRIC_GAUGE},
	{"uvm_superpages_swappable_bytes", "swappable_bytes", "bytes", "Resident memory that could leave.",
	 .kind = METRIC_GAUGE},
	{"uvm_superpages_swapped_bytes", "swapped_bytes", "bytes", "Memory in the kernel's swap.",
	 .kind = METRIC_GAUGE},
	{"uvm_superpages_out_bytes", "out_bytes", "bytes", "Memory in the stores of sessions and in the kernel's swap.",
	 .kind = METRIC_GAUGE},
	{"uvm_superpages_idle_bytes", "idle_bytes", "bytes", "Resident memory that was not touched.",
	 .kind = METRIC_GAUGE},
	{"uvm_superpages_huge_bytes", "huge_bytes", "bytes", "Resident memory that huge pages back.",
	 .kind = METRIC_GAUGE},
	{0},
};

const struct report_column list_columns[] = {
	{"start", "START", COLUMN_ADDRESS},
	{"end", "END", COLUMN_ADDRESS | COLUMN_WIDE},
	{"bytes", "BYTES", COLUMN_SIZE},
	{"resident_bytes", "RESIDENT", COLUMN_SIZE},
	{"swapped_bytes", "SWAPPED", COLUMN_SIZE},
	{"huge_bytes", "HUGE", COLUMN_SIZE | COLUMN_WIDE},
	{"perm", "PERM", COLUMN_TEXT},
	{"name", "NAME", COLUMN_NAME},
	{NULL, NULL, COLUMN_TEXT},
};

/* Narrows the walk to the regions of a file, which it takes over. */
static int use_regions(struct list_options *list, struct region_vec *given)
{
	struct region_vec both = {0};
	int result = 0;

	region_vec_normalize(given);
	if (list->limited) {
		result = region_vec_intersect(given, &list->within, &both);
		region_vec_free(&list->within);
	} else {
		both = *given;
		*given = (struct region_vec){0};
	}
	list->within = both;
	list->limited = true;
	return result;
}

/*
 * Traced processes and those in seccomp strict mode can be looked at all the same, unless the look is a system call of
 * theirs.
 */
static int check_target(const struct target *target, enum pages_method method, struct error *error)
{
	return method == PAGES_MINCORE ? target_check(target, error) : target_check_readable(target, error);
}

static int list_target(struct run *run, struct list_options *list, struct error *error)
{
	_cleanup_input_ struct region_input input = {0};
	const char *regions = run->options.regions;
	int rc = regions ? region_input_read(&input, regions, page_size(), error) : 0;

	if (rc == 0)
		rc = target_matches(&run->target, input.pid, input.starttime, error);
	if (rc == 0)
		rc = check_target(&run->target, list->method, error);
	if (rc < 0)
		return rc;
	if (list->range.end && region_vec_push(&list->within, list->range) < 0)
		return error_set(error, -ENOMEM, NULL, NULL, "list superpages");
	list->limited = list->range.end != 0;
	if (regions && use_regions(list, &input.regions) < 0)
		return error_set(error, -ENOMEM, NULL, NULL, "read regions from %s", regions);
	return list_superpages(list, &run->target, run->report, error);
}

int verb_list(struct run *run)
{
	struct list_options list = *(const struct list_options *)run_values(run);
	struct error error = {0};
	int status = run_begin(run);

	if (status != EXIT_DONE)
		return status;
	list.quiet = run->options.quiet;
	status = run_result(run, list_target(run, &list, &error), &error);
	region_vec_free(&list.within);
	return status;
}
