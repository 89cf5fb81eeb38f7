/* SPDX-License-Identifier: MIT */
/* superpages: lists the superpages of a live process that are in use and in core. */
#include <errno.h>

#include "base/cleanup.h"
#include "base/size.h"
#include "list.h"
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

/* Of `regions` those that the target's records named; NULL without -r. */
static int list_target(struct run *run, struct list_options *list, struct region_vec *regions, struct error *error)
{
	int rc = check_target(&run->target, list->method, error);

	if (rc < 0)
		return rc;
	if (list->range.end && region_vec_push(&list->within, list->range) < 0)
		return error_set(error, -ENOMEM, NULL, NULL, "list superpages");
	list->limited = list->range.end != 0;
	if (regions && use_regions(list, regions) < 0)
		return error_set(error, -ENOMEM, NULL, NULL, "read regions from %s", run->options.regions);
	return list_superpages(list, &run->target, run->context, run->report, error);
}

static int list_one(struct run *run)
{
	struct list_options list = *(const struct list_options *)run_values(run);
	struct region_vec *regions = NULL;
	struct error error = {0};
	int status = run_regions(run, &regions);
	int rc;

	if (status != EXIT_DONE)
		return status;
	list.quiet = run->options.quiet;
	rc = list_target(run, &list, run->options.regions ? regions : NULL, &error);
	region_vec_free(&list.within);
	/* What cannot be written is told by run_finish. */
	return rc < 0 && !report_failed(run->report) ? run_failed(run, rc, &error) : EXIT_DONE;
}

/* What chooses superpages says nothing of a process. */
static int check_summary(const struct run *run, const struct list_options *list)
{
	static const char *const others[] = {"size",  "min-resident", "kind",   "name",
					     "range", "merge",        "method", "swappable"};

	if (list->sort == LIST_BY_IDLE && !list->idle_ns)
		return cli_usage_error(run->name, "--sort: by idle only with --idle");
	if (!list->summary)
		return list->sort > LIST_BY_RESIDENT
			       ? cli_usage_error(run->name,
						 "--sort: by swappable, out, huge and idle only with --summary")
			       : EXIT_DONE;
	for (size_t i = 0; i < ARRAY_SIZE(others); i++)
		if (cli_given(&run->options, others[i]))
			return cli_usage_error(run->name, "--%s: not with --summary", others[i]);
	return run->options.regions ? cli_usage_error(run->name, "-r: not with --summary") : EXIT_DONE;
}

static int list_untouched(struct run *run, uint64_t wait_ns)
{
	struct untouched untouched = {.wait_ns = wait_ns};
	int status = run_choose(run);

	if (status == EXIT_DONE)
		status = run_report(run);
	if (status == EXIT_DONE)
		status = untouched_wait(&untouched, run);
	run->context = &untouched;
	if (status == EXIT_DONE)
		status = run_each_chosen(run, list_one);
	untouched_free(&untouched);
	return status;
}

int verb_list(struct run *run)
{
	const struct list_options *list = run_values(run);
	int status = check_summary(run, list);

	if (status != EXIT_DONE)
		return status;
	if (list->summary)
		return summarize_processes(run, list);
	return list->idle_ns ? list_untouched(run, list->idle_ns) : run_each(run, list_one);
}
