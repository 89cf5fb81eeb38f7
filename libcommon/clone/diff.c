/* SPDX-License-Identifier: MIT */
/* Comparing two processes: by page frames where that is enough, by bytes where it is not. */
#include "clone/diff.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/size.h"
#include "pages/pages.h"

#define WINDOW 4096                      /* pages */
#define CHUNK  64                        /* pages read at once */
#define PLACE  ((UINT64_C(1) << 55) - 1) /* frame number, or type and offset of a swap entry */

struct comparison {
	const struct memory *a, *b;
	diff_fn callback;
	void *context;
	struct diff_sums *sums;
	struct region run; /* a difference that may go on */
	enum diff_kind kind;
	uint64_t entries_a[WINDOW], entries_b[WINDOW];
	unsigned char *bytes_a, *bytes_b; /* CHUNK pages each */
};

/* Two mappings of the same addresses. */
struct couple {
	const struct memory_mapping *a, *b;
};

const char *diff_kind_name(enum diff_kind kind)
{
	static const char *const names[] = {"changed", "only-in-a", "only-in-b", "unreadable"};

	return names[kind];
}

static int flush_run(struct comparison *c)
{
	struct region run = c->run;

	c->run = (struct region){0, 0};
	if (run.start == run.end)
		return 0;
	c->sums->bytes[c->kind] += region_bytes(run);
	return c->callback(c->context, run, c->kind);
}

static int note_region(struct comparison *c, struct region region, enum diff_kind kind)
{
	int rc;

	if (c->run.end == region.start && c->kind == kind && c->run.start != c->run.end) {
		c->run.end = region.end;
		return 0;
	}
	rc = flush_run(c);
	c->run = region;
	c->kind = kind;
	return rc;
}

/* The same bytes of the same object, as long as nobody writes to a page of his own. */
static bool same_object(const struct couple *of)
{
	const struct mapping *a = &of->a->is;
	const struct mapping *b = &of->b->is;

	return a->inode && a->inode == b->inode && a->device == b->device && a->kind == b->kind &&
	       a->offset - a->region.start == b->offset - b->region.start;
}

/* A page that is not there is zeros in private anonymous memory, unless a userfaultfd server fills it. */
static bool absent_is_zero(const struct memory_mapping *mapping)
{
	return mapping->is.kind == MAPPING_ANON && !mapping->served;
}

static bool is_absent(uint64_t entry)
{
	return !pagemap_populated(entry) || entry & PAGEMAP_GUARD;
}

/* Whether two pages are equal by what pagemap says of them. */
static bool equal_unread(const struct couple *of, uint64_t a, uint64_t b)
{
	const uint64_t state = PAGEMAP_PRESENT | PAGEMAP_SWAPPED;

	if (is_absent(a) && is_absent(b))
		return (absent_is_zero(of->a) && absent_is_zero(of->b)) || same_object(of);
	if (a & b & state && (a & state) == (b & state) && a & PLACE && (a & PLACE) == (b & PLACE))
		return true;
	return same_object(of) && (is_absent(a) || a & PAGEMAP_FILE) && (is_absent(b) || b & PAGEMAP_FILE);
}

/* Reads pages; where zeros are known to be, without touching them. */
static int fetch_pages(const struct memory *memory, const struct memory_mapping *mapping, const uint64_t *entries,
		       uint64_t address, size_t count, unsigned char *to)
{
	size_t size = page_size();
	int rc = 0;

	for (size_t i = 0, end; i < count && rc == 0; i = end) {
		bool zero = absent_is_zero(mapping) && is_absent(entries[i]);

		for (end = i + 1; end < count; end++)
			if ((absent_is_zero(mapping) && is_absent(entries[end])) != zero)
				break;
		if (zero)
			memset(to + i * size, 0, (end - i) * size);
		else
			rc = memory_read(memory, address + i * size, to + i * size, (end - i) * size);
	}
	return rc;
}

/* Pages first … first + count of a window at `start`. */
static int compare_bytes(struct comparison *c, const struct couple *of, uint64_t start, size_t first, size_t count)
{
	uint64_t size = page_size();
	uint64_t at = start + first * size;
	int rc = fetch_pages(c->a, of->a, c->entries_a + first, at, count, c->bytes_a);

	if (rc == 0)
		rc = fetch_pages(c->b, of->b, c->entries_b + first, at, count, c->bytes_b);
	if (rc < 0 && (!target_alive(c->a->target) || !target_alive(c->b->target)))
		return -ESRCH;
	if (rc < 0 && count == 1)
		return note_region(c, region_at(at, size), DIFF_UNREADABLE);
	if (rc < 0) {
		for (size_t i = 0, failed = 0; i < count && !failed; i++) {
			rc = compare_bytes(c, of, start, first + i, 1);
			failed = rc != 0;
		}
		return rc;
	}
	c->sums->read_bytes += count * size;
	for (size_t i = 0; i < count && rc == 0; i++)
		if (memcmp(c->bytes_a + i * size, c->bytes_b + i * size, size) != 0)
			rc = note_region(c, (struct region){at + i * size, at + (i + 1) * size}, DIFF_CHANGED);
	return rc;
}

static int compare_window(struct comparison *c, const struct couple *of, uint64_t start, size_t count)
{
	int rc = pagemap_read(c->a->pagemap_fd, start, count, c->entries_a);

	if (rc == 0)
		rc = pagemap_read(c->b->pagemap_fd, start, count, c->entries_b);
	for (size_t i = 0, end; i < count && rc == 0; i = end) {
		end = i + 1;
		if (equal_unread(of, c->entries_a[i], c->entries_b[i]))
			continue;
		while (end < count && end - i < CHUNK && !equal_unread(of, c->entries_a[end], c->entries_b[end]))
			end++;
		rc = compare_bytes(c, of, start, i, end - i);
	}
	return rc;
}

/* Where something may differ: where either has a page, or everywhere if what is absent may differ too. */
static int find_candidates(const struct comparison *c, const struct couple *of, struct region region,
			   struct region_vec *found)
{
	bool absent_equal = (absent_is_zero(of->a) && absent_is_zero(of->b)) || same_object(of);
	int rc;

	if (of->a->is.kind == MAPPING_SPECIAL && of->b->is.kind == MAPPING_SPECIAL)
		return 0;
	if (of->a->is.shared && of->b->is.shared && same_object(of))
		return 0;
	if (!absent_equal)
		return region_vec_push(found, region);
	rc = memory_populated(c->a, region, found);
	if (rc == 0)
		rc = memory_populated(c->b, region, found);
	region_vec_normalize(found);
	return rc;
}

static int compare_both(struct comparison *c, const struct couple *of, struct region region)
{
	_cleanup_regions_ struct region_vec found = {0};
	int rc = find_candidates(c, of, region, &found);

	c->sums->compared_bytes += region_bytes(region);
	for (size_t i = 0; i < found.count && rc == 0; i++)
		for (uint64_t at = found.items[i].start; at < found.items[i].end && rc == 0; at += WINDOW * page_size())
			rc = compare_window(c, of, at, min_u64(WINDOW, (found.items[i].end - at) / page_size()));
	return rc;
}

/* The mapping that ends behind `at`, from number *i on, or NULL. */
static const struct memory_mapping *mapping_from(const struct memory *memory, size_t *i, uint64_t at)
{
	while (*i < memory->count && memory->mappings[*i].is.region.end <= at)
		(*i)++;
	return *i < memory->count ? &memory->mappings[*i] : NULL;
}

/* Walks both lists at once, a stretch at a time on which neither changes. */
static int walk_mappings(struct comparison *c)
{
	size_t i = 0;
	size_t j = 0;
	uint64_t at = 0;
	int rc = 0;

	while (rc == 0) {
		struct couple of = {mapping_from(c->a, &i, at), mapping_from(c->b, &j, at)};
		bool in_a, in_b;
		uint64_t end = UINT64_MAX;

		if (!of.a && !of.b)
			break;
		at = max_u64(at, min_u64(of.a ? of.a->is.region.start : UINT64_MAX,
					 of.b ? of.b->is.region.start : UINT64_MAX));
		in_a = of.a && of.a->is.region.start <= at;
		in_b = of.b && of.b->is.region.start <= at;
		if (of.a)
			end = min_u64(end, in_a ? of.a->is.region.end : of.a->is.region.start);
		if (of.b)
			end = min_u64(end, in_b ? of.b->is.region.end : of.b->is.region.start);
		if (in_a && in_b)
			rc = compare_both(c, &of, (struct region){at, end});
		else
			rc = note_region(c, (struct region){at, end}, in_a ? DIFF_ONLY_A : DIFF_ONLY_B);
		at = end;
	}
	return rc == 0 ? flush_run(c) : rc;
}

int memory_diff(const struct memory *a, const struct memory *b, diff_fn callback, void *context, struct diff_sums *sums)
{
	_cleanup_free_ struct comparison *c = calloc(1, sizeof(*c));
	_cleanup_free_ unsigned char *bytes = malloc(2 * CHUNK * page_size());

	*sums = (struct diff_sums){0};
	if (!c || !bytes)
		return -ENOMEM;
	c->a = a;
	c->b = b;
	c->callback = callback;
	c->context = context;
	c->sums = sums;
	c->bytes_a = bytes;
	c->bytes_b = bytes + CHUNK * page_size();
	return walk_mappings(c);
}
