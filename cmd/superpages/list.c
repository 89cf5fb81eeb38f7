/* SPDX-License-Identifier: MIT */
/* The walk: mappings that are wanted, the pages in them, the superpages they make. */
#include "list.h"
#include "proc/refusal.h"

#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <stdio.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/size.h"
#include "edit/mincore.h"
#include "select.h"
#include "session/session.h"
#include "untouched.h"

/* Mappings from maps, or from smaps, which costs the kernel a look at every page. */
struct source {
	bool by_smaps, eligible_only;
	struct region everything;
	struct region_vec registered; /* with a session's userfaultfd: what it takes again */
	struct eligible_reader eligible;
	struct maps_reader maps;
};

struct walk {
	const struct list_options *options;
	const struct target *target;
	struct pages pages;
	struct selection selection;
	struct mapping mapping;
	struct progress progress;
	struct source source;
	struct inject inject; /* of the method that needs one */
	const struct untouched *untouched;
	const struct inspection *first; /* NULL: what was touched is listed, too */
	struct region_vec touched;      /* of the region being walked */
	uint64_t walked;                /* bytes of the mappings before this one */
	uint64_t total;                 /* bytes of all mappings, about */
	bool slow;                      /* until the next superpage is found it may take long */
	size_t at;                      /* regions of options->within before this one lie below the mapping */
};

/* Before it is opened: what it is to say of mappings. */
static void source_choose(struct source *source, bool eligible_only, bool counted)
{
	source->eligible_only = eligible_only;
	source->by_smaps = eligible_only || counted;
}

static int source_open(struct source *source, const struct target *target)
{
	source->eligible.smaps.fd = source->maps.fd = -1;
	if (!source->by_smaps)
		return maps_open(&source->maps, target);
	source->everything = (struct region){0, UINT64_MAX};
	source->registered = (struct region_vec){.items = &source->everything, .count = session_exists(target)};
	return eligible_open(&source->eligible, target, &source->registered);
}

static void source_close(struct source *source)
{
	eligible_close(&source->eligible);
	maps_close(&source->maps);
}

static int source_next(struct source *source, struct mapping *mapping)
{
	enum eligibility verdict = ELIGIBLE;
	int result;

	if (!source->by_smaps)
		return maps_next(&source->maps, mapping);
	do
		result = eligible_next(&source->eligible, mapping, &verdict);
	while (result > 0 && source->eligible_only && verdict != ELIGIBLE);
	return result;
}

static bool kind_wanted(enum list_kind wanted, enum mapping_kind kind)
{
	switch (wanted) {
	case LIST_ANON:
		return kind == MAPPING_ANON;
	case LIST_FILE:
		return kind == MAPPING_FILE;
	case LIST_SHMEM:
		return kind == MAPPING_SHMEM;
	default:
		return true;
	}
}

/* A leading '[' stands for itself: "[heap]" and "[anon:*]" are names, not sets of characters. */
static bool name_wanted(const char *glob, const char *name)
{
	char pattern[MAPPING_NAME + 2];

	if (!glob)
		return true;
	if (*glob != '[')
		return !fnmatch(glob, name, 0);
	if ((size_t)snprintf(pattern, sizeof(pattern), "\\%s", glob) >= sizeof(pattern))
		return false;
	return !fnmatch(pattern, name, 0);
}

static bool mapping_wanted(const struct walk *walk)
{
	const struct mapping *mapping = &walk->mapping;

	/* What a tool of this package has put into the process is not the program's memory. */
	return kind_wanted(walk->options->kind, mapping->kind) && name_wanted(walk->options->name, mapping->name) &&
	       !mapping_has_our_name(mapping) && !region_overlaps(mapping->region, walk->inject.area);
}

static int add_superpage(void *context, struct region superpage, const struct residency *residency)
{
	struct walk *walk = context;
	int result;

	progress_update(&walk->progress, walk->walked + superpage.end - walk->mapping.region.start, walk->total);
	result = select_add(&walk->selection, &walk->mapping, superpage, residency);
	return !result && walk->slow ? report_flush(walk->selection.report) : result;
}

static int walk_part(struct walk *walk, struct region region)
{
	return pages_superpages(&walk->pages, region, walk->options->size, walk->mapping.kind == MAPPING_ANON,
				add_superpage, walk);
}

/* Only what lies before, between and behind what was touched. */
static int walk_untouched(struct walk *walk, struct region region)
{
	struct region_vec *touched = &walk->touched;
	uint64_t at = region.start;
	int rc;

	touched->count = 0;
	rc = untouched_except(walk->untouched, walk->first, &walk->mapping, &walk->source.eligible.counts, region,
			      touched);
	for (size_t i = 0; rc == 0 && i <= touched->count; i++) {
		uint64_t end = i < touched->count ? touched->items[i].start : region.end;

		if (at < end)
			rc = walk_part(walk, (struct region){at, end});
		at = i < touched->count ? touched->items[i].end : end;
	}
	return rc;
}

static int walk_region(struct walk *walk, struct region region)
{
	return walk->first ? walk_untouched(walk, region) : walk_part(walk, region);
}

static int walk_whole(struct walk *walk)
{
	if (walk->first)
		walk->selection.unlisted +=
			untouched_somewhere(walk->untouched, &walk->mapping, &walk->source.eligible.counts);
	return walk_region(walk, walk->mapping.region);
}

static int walk_mapping(struct walk *walk)
{
	const struct region_vec *within = &walk->options->within;
	struct region region = walk->mapping.region;
	int result = 0;

	if (!walk->options->limited)
		return walk_whole(walk);
	while (walk->at < within->count && within->items[walk->at].end <= region.start)
		walk->at++;
	for (size_t i = walk->at; !result && i < within->count && within->items[i].start < region.end; i++)
		result = walk_region(walk, region_intersect(within->items[i], region));
	if (!result && (!within->count || within->items[within->count - 1].end <= region.end))
		return SELECT_ENOUGH;
	return result;
}

static int walk_all(struct walk *walk)
{
	int result;

	while ((result = source_next(&walk->source, &walk->mapping)) > 0) {
		select_mapping(&walk->selection);
		result = mapping_wanted(walk) ? walk_mapping(walk) : 0;
		if (result)
			break;
		walk->walked += region_bytes(walk->mapping.region);
		progress_update(&walk->progress, walk->walked, walk->total);
	}
	return result == SELECT_ENOUGH ? 0 : result;
}

static int explain_failure(const struct target *target, int code, struct error *error)
{
	if (code == -EPIPE || code == -EIO)
		return error_set(error, code, NULL, NULL, "write records");
	return refusal_to_look(target, code, "list the superpages of", error);
}

static int open_pages(struct walk *walk, struct error *error)
{
	int result = 0;

	if (walk->options->method == PAGES_MINCORE)
		result = inject_open(&walk->inject, walk->target, error);
	if (result)
		return result;
	walk->pages.method = walk->options->method;
	walk->pages.mincore = inject_mincore;
	walk->pages.mincore_context = &walk->inject;
	result = pages_open(&walk->pages);
	if (result == -EOPNOTSUPP)
		return error_set(error, result, "this kernel has no PAGEMAP_SCAN", "use --method pagemap",
				 "find what is resident by %s", pages_method_name(walk->options->method));
	return result ? explain_failure(walk->target, result, error) : 0;
}

static int walk_and_finish(struct walk *walk, struct error *error)
{
	int result = source_open(&walk->source, walk->target);

	if (result)
		return explain_failure(walk->target, result, error);
	target_status_bytes(walk->target, "VmSize", &walk->total);
	progress_begin(&walk->progress, "looking", walk->options->quiet);
	walk->slow = walk->pages.method != PAGES_SCAN || walk->source.by_smaps;
	if (walk->options->max)
		result = walk_all(walk);
	progress_end(&walk->progress);
	source_close(&walk->source);
	if (!result && walk->first)
		result = untouched_check(walk->first);
	if (!result)
		result = select_finish(&walk->selection, walk->pages.method);
	return result ? explain_failure(walk->target, result, error) : 0;
}

/* With --idle: the address space of before the wait, in which another program can run by now. */
static int open_pagemap(struct walk *walk)
{
	int rc;

	if (!walk->untouched)
		return target_proc_open(walk->target, "pagemap", O_RDONLY);
	rc = untouched_find(walk->untouched, walk->target, &walk->first);
	if (rc == 0)
		rc = dup(walk->first->pagemap_fd);
	return rc == -1 ? -errno : rc;
}

int list_superpages(const struct list_options *options, const struct target *target, const struct untouched *untouched,
		    struct report *report, struct error *error)
{
	struct walk walk = {
		.options = options,
		.target = target,
		.untouched = untouched,
		.inject = INJECT_NONE,
		.selection = {.options = options, .target = target, .untouched = untouched, .report = report},
	};
	_cleanup_close_ int pagemap_fd = open_pagemap(&walk);
	int result;

	if (pagemap_fd < 0)
		return explain_failure(target, pagemap_fd, error);
	walk.pages.pagemap_fd = pagemap_fd;
	source_choose(&walk.source, options->swappable, untouched_counts(untouched));
	result = open_pages(&walk, error);
	if (!result)
		result = walk_and_finish(&walk, error);
	inject_close(&walk.inject);
	select_free(&walk.selection);
	region_vec_free(&walk.touched);
	return result;
}
