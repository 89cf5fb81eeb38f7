/* SPDX-License-Identifier: MIT */
/* Two looks with a wait between them: by idle page tracking, or by what smaps counts as referenced. */
#include "untouched.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/size.h"
#include "pages/idle.h"
#include "pages/pages.h"
#include "pages/scan.h"
#include "proc/smaps.h"

#define SLICE_NS 200000000 /* how often the time that is left is shown */

void untouched_describe(const struct untouched *untouched, json_t *record)
{
	const char *method = untouched->method == UNTOUCHED_BY_IDLE ? "idle" : "referenced";

	report_number(record, "idle_us", untouched->wait_ns / 1000);
	json_object_set_new(record, "idle_method", json_string(method));
}

/* Not ordinary pages: smaps counts none of them as referenced. */
static bool is_uncounted(const struct mapping *mapping)
{
	return mapping->kind == MAPPING_SPECIAL || mapping->kind == MAPPING_HUGETLB;
}

/* By trying it on a process of its own. */
static enum untouched_method choose_method(void)
{
	struct idle idle;
	int rc = idle_open(&idle, -1);

	idle_close(&idle);
	return rc == 0 ? UNTOUCHED_BY_IDLE : UNTOUCHED_BY_REFERENCED;
}

static int ignore_used(void *context, struct region used)
{
	(void)context;
	(void)used;
	return 0;
}

static int mark_idle(const struct target *target, int pagemap_fd)
{
	struct maps_reader reader;
	struct mapping mapping;
	struct idle idle;
	int rc = maps_open(&reader, target);

	if (rc < 0)
		return rc;
	rc = idle_open(&idle, pagemap_fd);
	while (rc >= 0 && (rc = maps_next(&reader, &mapping)) > 0)
		rc = is_uncounted(&mapping) ? 0 : idle_look(&idle, mapping.region, ignore_used, NULL);
	idle_close(&idle);
	maps_close(&reader);
	return rc;
}

static int inspect_first(enum untouched_method method, const struct target *target, struct inspection *first)
{
	*first = (struct inspection){.pid = target->pid, .starttime = target->starttime};
	first->pagemap_fd = target_proc_open(target, "pagemap", O_RDONLY);
	if (first->pagemap_fd < 0)
		return first->pagemap_fd;
	return method == UNTOUCHED_BY_IDLE ? mark_idle(target, first->pagemap_fd) : smaps_clear_referenced(target);
}

/* What cannot be opened is told when its turn comes. */
static int inspect_choice(struct untouched *untouched, const struct process_choice *choice)
{
	_cleanup_target_ struct target target = TARGET_NONE;
	struct error ignored = {0};
	struct inspection *first;

	if (array_reserve(&untouched->items, untouched->count, &untouched->capacity) < 0)
		return -ENOMEM;
	if (choice_open(choice, &target, &ignored) < 0 || target_check_readable(&target, &ignored) < 0)
		return 0;
	first = &untouched->items[untouched->count++];
	first->rc = inspect_first(untouched->method, &target, first);
	return 0;
}

/* Each first look holds a descriptor. */
static void allow_descriptors(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return;
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
}

/* Those that end the wait; one that is ignored, as by nohup(1), does not. */
static void signals_of_end(sigset_t *set)
{
	static const int numbers[] = {SIGINT, SIGTERM, SIGHUP};
	struct sigaction action;

	sigemptyset(set);
	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++)
		if (sigaction(numbers[i], NULL, &action) == 0 && action.sa_handler != SIG_IGN)
			sigaddset(set, numbers[i]);
}

/* Returns the number of the signal that has ended it, or 0. */
static int wait_for_signal(const sigset_t *set, uint64_t until_ns, struct progress *progress)
{
	for (;;) {
		uint64_t now = clock_now_ns(), left = until_ns > now ? until_ns - now : 0;
		uint64_t slice = progress->enabled ? min_u64(left, SLICE_NS) : left;
		const struct timespec time = {(time_t)(slice / 1000000000), (long)(slice % 1000000000)};
		int number;

		progress_wait(progress, left / 1000);
		number = sigtimedwait(set, NULL, &time);
		if (number > 0)
			return number;
		if (slice == left && errno == EAGAIN)
			return 0;
	}
}

static int wait_between(struct run *run, uint64_t wait_ns)
{
	uint64_t until_ns = clock_now_ns() + wait_ns;
	struct error error = {0};
	char text[SIZE_TEXT];
	sigset_t set, before;
	int number;

	signals_of_end(&set);
	sigprocmask(SIG_BLOCK, &set, &before);
	progress_begin(&run->progress, "waiting", run->options.quiet);
	number = wait_for_signal(&set, until_ns, &run->progress);
	progress_end(&run->progress);
	sigprocmask(SIG_SETMASK, &before, NULL);
	if (!number)
		return EXIT_DONE;
	error_set(&error, -ECANCELED, "it was told to stop", NULL, "wait for %s",
		  duration_format(text, wait_ns / 1000));
	error_print(run->name, &error);
	return EXIT_SIGNALLED + number;
}

int untouched_wait(struct untouched *untouched, struct run *run)
{
	struct error error = {0};
	int rc = 0;

	allow_descriptors();
	untouched->method = choose_method();
	for (size_t i = 0; rc == 0 && i < run->choices.count; i++)
		rc = inspect_choice(untouched, &run->choices.items[i]);
	if (rc < 0)
		return run_failed(run, error_set(&error, rc, NULL, NULL, "look at %zu processes", run->choices.count),
				  &error);
	return wait_between(run, untouched->wait_ns);
}

void untouched_free(struct untouched *untouched)
{
	for (size_t i = 0; i < untouched->count; i++)
		cleanup_close(&untouched->items[i].pagemap_fd);
	free(untouched->items);
}

int untouched_find(const struct untouched *untouched, const struct target *target, const struct inspection **first)
{
	for (size_t i = 0; i < untouched->count; i++) {
		*first = &untouched->items[i];
		if ((*first)->pid == target->pid && (*first)->starttime == target->starttime)
			return (*first)->rc;
	}
	return -ESRCH;
}

int untouched_check(const struct inspection *first)
{
	uint64_t entry;

	return pagemap_read(first->pagemap_fd, 0, 1, &entry);
}

static int push_touched(void *context, struct region pages, bool idle)
{
	return idle ? 0 : region_vec_push(context, pages);
}

static int find_idle(int pagemap_fd, struct region region, idle_find_fn callback, void *context)
{
	struct idle idle;
	int rc = idle_open(&idle, pagemap_fd);

	if (rc == 0)
		rc = idle_find(&idle, region, callback, context);
	idle_close(&idle);
	return rc;
}

/* The kernel counts the shared page of zeros neither as resident nor as referenced: nothing is known of it. */
static int push_zero_pages(int pagemap_fd, struct region region, struct region_vec *touched)
{
	struct scan scan = {.pagemap_fd = pagemap_fd, .left = region, .required = PAGE_IS_PRESENT | PAGE_IS_PFNZERO};
	int count;

	while ((count = scan_next(&scan)) > 0)
		for (int i = 0; i < count; i++)
			if (region_vec_push(touched, (struct region){scan.ranges[i].start, scan.ranges[i].end}) < 0)
				return -ENOMEM;
	return count == -ENOTTY ? 0 : count; /* before Linux 6.7 */
}

int untouched_except(const struct untouched *untouched, const struct inspection *first, const struct mapping *mapping,
		     const struct smaps_counts *counts, struct region region, struct region_vec *touched)
{
	if (is_uncounted(mapping))
		return region_vec_push(touched, region);
	if (untouched->method == UNTOUCHED_BY_IDLE)
		return find_idle(first->pagemap_fd, region, push_touched, touched);
	return counts->referenced ? region_vec_push(touched, region)
				  : push_zero_pages(first->pagemap_fd, region, touched);
}

bool untouched_counts(const struct untouched *untouched)
{
	return untouched && untouched->method == UNTOUCHED_BY_REFERENCED;
}

uint64_t untouched_somewhere(const struct untouched *untouched, const struct mapping *mapping,
			     const struct smaps_counts *counts)
{
	if (!untouched_counts(untouched) || is_uncounted(mapping) || !counts->referenced)
		return 0;
	return counts->resident - min_u64(counts->referenced, counts->resident);
}

static int add_idle(void *context, struct region pages, bool idle)
{
	*(uint64_t *)context += idle ? region_bytes(pages) : 0;
	return 0;
}

int untouched_bytes(const struct untouched *untouched, const struct inspection *first, const struct mapping *mapping,
		    const struct smaps_counts *counts, uint64_t *bytes)
{
	*bytes = 0;
	if (is_uncounted(mapping))
		return 0;
	if (untouched->method == UNTOUCHED_BY_IDLE)
		return find_idle(first->pagemap_fd, mapping->region, add_idle, bytes);
	*bytes = counts->resident - min_u64(counts->referenced, counts->resident);
	return 0;
}
