/* SPDX-License-Identifier: MIT */
/* Memory out to the kernel's swap and back, a superpage at a time. */
#include "pageout/pageout.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/size.h"
#include "pages/tally.h"
#include "proc/maps.h"
#include "report/report.h"

#define SUPERPAGE (2 * MiB)
#define ROUNDS    2 /* pages that wait on a list of their processor are left behind by one call */

#define NEEDED     "it takes CAP_SYS_NICE and the right to trace the process"
#define NO_MADVISE "this kernel has no process_madvise(2)"

enum stayed { /* beside the reasons of mappings */
	STAYED_NOT_RESIDENT = INELIGIBLE_OURS + 1,
	STAYED_NOT_MAPPED,
	STAYED_BUSY,
	STAYED_LIMIT,
	STAYED_COUNT,
};

/* One walk over the mappings; what is said of the region that it is in, and in all. */
struct walk {
	const struct pageout *pageout;
	struct pages pages;
	int advice;
	uint64_t left; /* of the bytes */
	bool out;
	uint64_t moved, covered, begun_us;
	uint64_t stayed[STAYED_COUNT];
	uint64_t regions, sum_asked, sum_moved;
	bool partial;
};

static const char *stayed_name(unsigned int reason)
{
	static const char *const names[STAYED_COUNT] = {
		[STAYED_NOT_RESIDENT] = "not-resident",
		[STAYED_NOT_MAPPED] = "not-mapped",
		[STAYED_BUSY] = "busy",
		[STAYED_LIMIT] = "limit",
	};

	return reason <= INELIGIBLE_OURS ? eligibility_name((enum eligibility)reason) : names[reason];
}

static bool any_swap(void)
{
	_cleanup_fclose_ FILE *swaps = fopen("/proc/swaps", "re");
	char line[512];
	int lines = 0;

	while (swaps && lines < 2 && fgets(line, sizeof(line), swaps))
		lines++;
	return lines == 2; /* the first one is the heading */
}

static int advise_region(const struct target *target, struct region region, int advice)
{
	struct iovec part = {(void *)region.start, region_bytes(region)};
	unsigned long parts = region_bytes(region) ? 1 : 0;

	return syscall(SYS_process_madvise, target->pidfd, &part, parts, advice, 0) < 0 ? -errno : 0;
}

int pageout_check(const struct target *target, struct error *error)
{
	static const struct error_cause causes[] = {
		{-EPERM, .why = NEEDED, .hint = "run it as root"},
		{-EACCES, .why = NEEDED, .hint = "run it as root"},
		{-ENOSYS, .why = NO_MADVISE, .hint = "run Linux 5.10 or newer", .as = -EOPNOTSUPP},
		{-EINVAL, .why = NO_MADVISE, .hint = "run Linux 5.10 or newer", .as = -EOPNOTSUPP},
		{-ESRCH, .why = "the process has ended"},
		{-EOPNOTSUPP, .why = "the machine has no swap",
		 .hint = "add some with swapon(8), for example on zram, or leave out --store kernel"},
		{0},
	};
	int rc = advise_region(target, (struct region){0, 0}, MADV_PAGEOUT);

	if (rc == 0 && !any_swap())
		rc = -EOPNOTSUPP;
	return rc < 0 ? error_explain(error, causes, rc, "page out process %d (%s)", target->pid, target->name) : 0;
}

/* Cuts a region after so many resident bytes. */
static int cut_region(const struct walk *walk, struct region *region, uint64_t bytes)
{
	for (uint64_t at = region->start; at < region->end; at += page_size()) {
		uint64_t entry;
		int rc = pagemap_read(walk->pages.pagemap_fd, at, 1, &entry);

		if (rc < 0)
			return rc;
		if (entry & PAGEMAP_PRESENT && bytes < page_size())
			region->end = at;
		else if (entry & PAGEMAP_PRESENT)
			bytes -= page_size();
	}
	return 0;
}

/* A mapping that has changed since it was inspected is no error of the whole. */
static int ignore_change(int rc)
{
	return rc == -ENOMEM || rc == -EINVAL || rc == -EAGAIN ? 0 : rc;
}

/* Returns 0 or -errno; *stayed: bytes that did not leave. */
static int page_out(struct walk *walk, struct region region, uint64_t resident, uint64_t *stayed)
{
	*stayed = resident;
	for (unsigned int i = 0; *stayed && i < ROUNDS; i++) {
		struct residency after = {0};
		int rc = ignore_change(advise_region(walk->pageout->target, region, walk->advice));

		if (rc == 0)
			rc = pages_sum(&walk->pages, region, &after);
		if (rc < 0)
			return rc;
		*stayed = min_u64(after.resident, resident);
	}
	return 0;
}

static int out_superpage(void *context, struct region region, const struct residency *residency)
{
	struct walk *walk = context;
	uint64_t wanted = min_u64(residency->resident, round_down(walk->left, page_size()));
	uint64_t stayed = 0;
	int rc = 0;

	if (walk->pageout->enough && walk->pageout->enough(walk->pageout->context))
		return -ECANCELED;
	walk->stayed[STAYED_LIMIT] += residency->resident - wanted;
	if (wanted && wanted < residency->resident)
		rc = cut_region(walk, &region, wanted);
	if (rc == 0 && wanted && !walk->pageout->dry_run)
		rc = page_out(walk, region, wanted, &stayed);
	if (rc < 0)
		return rc;
	walk->stayed[STAYED_BUSY] += stayed;
	walk->partial |= stayed > 0;
	walk->moved += wanted - stayed;
	walk->left -= wanted - stayed;
	return 0;
}

static int in_superpage(void *context, struct region region, const struct residency *residency)
{
	struct walk *walk = context;

	if (walk->pageout->enough && walk->pageout->enough(walk->pageout->context))
		return -ECANCELED;
	if (!residency->swapped)
		return 0;
	walk->moved += residency->swapped;
	return ignore_change(advise_region(walk->pageout->target, region, walk->advice));
}

/* It may have begun in the mapping before. */
static void begin_region(struct walk *walk)
{
	if (walk->begun_us)
		return;
	walk->moved = walk->covered = 0;
	walk->begun_us = now_us();
	memset(walk->stayed, 0, sizeof(walk->stayed));
}

static json_t *make_skipped(struct walk *walk, uint64_t asked)
{
	json_t *skipped = json_object();
	uint64_t explained = walk->moved;

	/* A mapping that has grown meanwhile may be met twice. */
	walk->stayed[STAYED_NOT_MAPPED] = asked - min_u64(walk->covered, asked);
	for (unsigned int i = 0; i < STAYED_COUNT; i++)
		explained += i == STAYED_NOT_RESIDENT ? 0 : walk->stayed[i];
	walk->stayed[STAYED_NOT_RESIDENT] = asked - min_u64(explained, asked);
	for (unsigned int i = 0; i < STAYED_COUNT; i++)
		if (walk->stayed[i])
			report_number(skipped, stayed_name(i), walk->stayed[i]);
	return skipped;
}

static void end_region(struct walk *walk, struct region region)
{
	const struct pageout *pageout = walk->pageout;
	uint64_t asked = region_bytes(region), begun_us = walk->begun_us;
	json_t *record;

	walk->begun_us = 0;
	walk->regions++;
	walk->sum_asked += asked;
	walk->sum_moved += walk->moved;
	if (!walk->out)
		return;
	record = report_region("region", pageout->target->pid, pageout->target->starttime, region.start, region.end);
	json_object_set_new(record, "op", json_string("out"));
	report_number(record, "asked_bytes", asked);
	report_number(record, pageout->dry_run ? "would_move_bytes" : "moved_bytes", walk->moved);
	report_number(record, "skipped_bytes", asked - walk->moved);
	json_object_set_new(record, "skipped", make_skipped(walk, asked));
	report_number(record, "time_us", now_us() - begun_us);
	pageout->emit(pageout->context, record);
}

static int walk_part(struct walk *walk, struct region part, enum eligibility verdict)
{
	walk->covered += region_bytes(part);
	if (verdict == ELIGIBLE)
		return pages_superpages(&walk->pages, part, SUPERPAGE, true, walk->out ? out_superpage : in_superpage,
					walk);
	walk->stayed[verdict] += region_bytes(part);
	return 0;
}

/* One mapping against the regions that were asked for; `at` is the first one that may still lie ahead. */
static int walk_mapping(struct walk *walk, struct region mapping, enum eligibility verdict, size_t *at)
{
	const struct region_vec *asked = walk->pageout->regions;
	int rc = 0;

	for (; *at < asked->count && asked->items[*at].start < mapping.end; (*at)++) {
		struct region region = asked->items[*at];

		begin_region(walk);
		if (region_overlaps(region, mapping))
			rc = walk_part(walk, region_intersect(region, mapping), verdict);
		if (rc == 0 && region.end > mapping.end)
			break;
		end_region(walk, region);
		if (rc < 0)
			return rc;
	}
	return rc;
}

static int walk_everything(struct walk *walk, struct region mapping, enum eligibility verdict)
{
	int rc;

	if (verdict != ELIGIBLE)
		return 0;
	begin_region(walk);
	rc = walk_part(walk, mapping, verdict);
	end_region(walk, mapping);
	return rc;
}

static int walk_all(struct walk *walk)
{
	const struct region_vec *asked = walk->pageout->regions;
	struct eligible_reader reader;
	struct mapping mapping;
	enum eligibility verdict;
	size_t at = 0;
	int rc = eligible_open(&reader, walk->pageout->target, NULL);

	if (rc < 0)
		return rc;
	while ((rc = eligible_next(&reader, &mapping, &verdict)) > 0) {
		rc = asked ? walk_mapping(walk, mapping.region, verdict, &at)
			   : walk_everything(walk, mapping.region, verdict);
		if (rc < 0)
			break;
	}
	eligible_close(&reader);
	for (; rc == 0 && asked && at < asked->count; at++) {
		begin_region(walk);
		end_region(walk, asked->items[at]);
	}
	return rc;
}

static json_t *make_summary(const struct walk *walk, uint64_t begun_us)
{
	const struct target *target = walk->pageout->target;
	json_t *record = json_pack("{s:s,s:s,s:i,s:I,s:s}", "type", "summary", "op", walk->out ? "out" : "in", "pid",
				   target->pid, "starttime", (json_int_t)target->starttime, "store", "kernel");

	report_number(record, "regions", walk->regions);
	report_number(record, "asked_bytes", walk->sum_asked);
	if (walk->out) {
		report_number(record, walk->pageout->dry_run ? "would_move_bytes" : "moved_bytes", walk->sum_moved);
		report_number(record, "skipped_bytes", walk->sum_asked - walk->sum_moved);
	} else {
		report_number(record, "brought_bytes", walk->sum_moved);
	}
	report_number(record, "time_us", now_us() - begun_us);
	return record;
}

static int run_walk(const struct pageout *pageout, bool out, struct error *error)
{
	const uint64_t begun_us = now_us();
	_cleanup_close_ int pagemap = target_proc_open(pageout->target, "pagemap", O_RDONLY | O_CLOEXEC);
	struct walk walk = {
		.pageout = pageout,
		.pages = {.method = PAGES_AUTO, .pagemap_fd = pagemap},
		.advice = out ? MADV_PAGEOUT : MADV_WILLNEED,
		.left = pageout->bytes ? pageout->bytes : UINT64_MAX,
		.out = out,
	};
	int rc = pagemap < 0 ? pagemap : pages_open(&walk.pages);

	if (rc == 0)
		rc = walk_all(&walk);
	if (rc == 0 || rc == -ECANCELED)
		pageout->emit(pageout->context, make_summary(&walk, begun_us));
	if (rc < 0)
		return error_set(error, rc,
				 rc == -ESRCH       ? "the process has ended"
				 : rc == -ECANCELED ? "it was told to stop"
						    : NULL,
				 NULL, "page %s process %d", out ? "out" : "in", pageout->target->pid);
	return out && walk.partial;
}

int pageout_out(const struct pageout *pageout, struct error *error)
{
	return run_walk(pageout, true, error);
}

int pageout_in(const struct pageout *pageout, struct error *error)
{
	return run_walk(pageout, false, error);
}
