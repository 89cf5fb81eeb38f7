/* SPDX-License-Identifier: MIT */
/*
 * AddrSpace held against a naive model of it, page by page; and changes in the middle of a stack while others read at
 * its top.
 */
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "space_kit.h"

#define READ    1u
#define WRITE   2u
#define PAGES   12 /* of each space and leaf */
#define LEAVES  3  /* the last one is a cache */
#define SPACES  9  /* the first three at the process level, the others stacked */
#define WINDOWS 3
#define STEPS   3000

/* A page is two bytes, in its first and its last place. */
struct bytes {
	uint8_t first, last;
};

enum page_kind {
	UNMAPPED,
	DIRECT,  /* what is below */
	COPYING, /* what is below, until it is written to */
	OWN,     /* its own bytes: a copy, or a page of a snapshot */
};

struct model_page {
	enum page_kind kind;
	unsigned int access;
	unsigned int limit; /* OWN: what a snapshot had below, and WRITE */
	int leaf;           /* what is below: a leaf, or else a space */
	int space;
	int page;
	struct bytes own;
};

struct shown {
	unsigned int access;
	struct bytes bytes;
};

static struct bytes leaves[LEAVES][PAGES];
static struct model_page model[SPACES][PAGES];
static struct uvm_space *spaces[SPACES];
static struct uvm_mappable *objects[LEAVES];
static struct uvm_cache *cache;
static uint64_t seed;
static unsigned int clones;

static uint64_t below(uint64_t bound)
{
	seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (seed >> 33) % bound;
}

static struct bytes initial(int page_number)
{
	return (struct bytes){(uint8_t)(100 + page_number), (uint8_t)(200 + page_number)};
}

static int fill(void *context, struct uvm_cache *of, struct uvm_region region)
{
	int rc = 0;

	(void)context;
	for (uint64_t at = region.start; at < region.end; at += page_size()) {
		struct bytes bytes = initial((int)(at / page_size()));
		uint8_t *data = calloc(1, page_size());

		data[0] = bytes.first;
		data[page_size() - 1] = bytes.last;
		rc |= uvm_cache_fill(of, at, data, page_size());
		free(data);
	}
	return rc;
}

static struct shown show(int space, int number)
{
	const struct model_page *at = &model[space][number];
	struct shown from = {READ | WRITE, {0, 0}};

	if (at->kind == UNMAPPED)
		return (struct shown){0, {0, 0}};
	if (at->kind == OWN)
		return (struct shown){at->access & at->limit, at->own};
	if (at->leaf >= 0)
		from.bytes = leaves[at->leaf][at->page];
	else
		from = show(at->space, at->page);
	if (at->kind == COPYING)
		from.access = from.access & READ ? READ | WRITE : 0;
	from.access &= at->access;
	return from;
}

/*
 * Whoever reads nothing writes nothing: below a copying page only reading counts, so show() tells whether it may be
 * written.
 */
static void change(int space, int number, bool last, uint8_t value)
{
	struct model_page *at = &model[space][number];
	struct bytes *bytes = &at->own;

	if (at->kind == COPYING) {
		at->own = show(space, number).bytes;
		at->kind = OWN;
		at->limit = READ | WRITE;
	} else if (at->kind == DIRECT && at->leaf < 0) {
		change(at->space, at->page, last, value);
		return;
	} else if (at->kind == DIRECT) {
		bytes = &leaves[at->leaf][at->page];
	}
	if (last)
		bytes->last = value;
	else
		bytes->first = value;
}

/* What a mapping without rights of its own would show. */
static struct model_page frozen(struct model_page of)
{
	struct model_page copy = of;
	struct shown now;

	if (of.kind == UNMAPPED)
		return of;
	model[SPACES - 1][PAGES - 1] = of; /* a place that nothing else uses */
	model[SPACES - 1][PAGES - 1].access = READ | WRITE;
	now = show(SPACES - 1, PAGES - 1);
	model[SPACES - 1][PAGES - 1].kind = UNMAPPED;
	copy.kind = OWN;
	copy.own = now.bytes;
	copy.limit = now.access & READ ? READ | WRITE : 0;
	return copy;
}

static uint64_t address_of(int space, int number)
{
	return (space < WINDOWS ? start_of(spaces[space]) : 0) + page((uint64_t)number);
}

static struct uvm_region region_of(int space, int first, int count)
{
	uint64_t start = address_of(space, first);

	return (struct uvm_region){start, start + page((uint64_t)count) - 1};
}

static unsigned int some_access(void)
{
	return below(4) ? READ | WRITE : below(3) ? READ : 0;
}

static void check_page(int space, int number)
{
	struct shown expected = show(space, number);
	uint64_t at = address_of(space, number);
	int first = expected.access ? expected.bytes.first : -SIGSEGV;
	int last = expected.access ? expected.bytes.last : -SIGSEGV;

	assert_int_equal(peek(at), first);
	assert_int_equal(peek(at + page_size() - 1), last);
}

static void check_all(void)
{
	for (int space = 0; space < WINDOWS; space++)
		for (int number = 0; number < PAGES; number++)
			check_page(space, number);
}

/* A space only maps spaces with higher numbers. The last page of the last space is not used. */
static void step_map(void)
{
	int space = (int)below(SPACES), target = space + 1 + (int)below((uint64_t)(SPACES - space + LEAVES - 1));
	int count = 1 + (int)below(5), first = (int)below((uint64_t)(PAGES - count));
	int from = (int)below((uint64_t)(PAGES - count));
	unsigned int access = some_access(), dice = (unsigned int)below(4);
	unsigned int flags = UVM_MAP_FIXED | UVM_MAP_REPLACE | UVM_MAP_ACCESS(access);
	struct uvm_mappable *mappable;
	uint64_t start = address_of(space, first);
	struct uvm_region region;

	flags |= dice == 0 ? UVM_MAP_COPY_ON_WRITE : dice == 1 ? UVM_MAP_COPY_ON_WRITE | UVM_MAP_SNAPSHOT : 0;
	if (target < SPACES) {
		assert_int_equal(uvm_space_get_mappable(spaces[target], &mappable), 0);
		region = region_of(target, from, count);
	} else {
		mappable = uvm_mappable_ref(objects[target - SPACES]);
		region = pages((uint64_t)from, (uint64_t)from + (uint64_t)count);
	}
	assert_int_equal(uvm_space_map(spaces[space], mappable, region, &start, flags), 0);
	uvm_mappable_unref(mappable);
	for (int i = 0; i < count; i++) {
		struct model_page new = {
			.kind = dice == 0 ? COPYING : DIRECT,
			.access = access,
			.leaf = target < SPACES ? -1 : target - SPACES,
			.space = target,
			.page = from + i,
		};

		model[space][first + i] = dice == 1 ? frozen(new) : new;
	}
}

static void step_unmap(void)
{
	int space = (int)below(SPACES), count = 1 + (int)below(3), first = (int)below((uint64_t)(PAGES - count));

	assert_int_equal(uvm_space_unmap(spaces[space], region_of(space, first, count)), 0);
	for (int i = 0; i < count; i++)
		model[space][first + i].kind = UNMAPPED;
}

static void step_flags(void)
{
	int space = (int)below(SPACES), count = 1 + (int)below(3), first = (int)below((uint64_t)(PAGES - count));
	unsigned int access = some_access(), copying = below(3) ? 0 : UVM_MAP_COPY_ON_WRITE;
	int expected = 0;

	for (int i = 0; i < count; i++)
		if (model[space][first + i].kind == UNMAPPED)
			expected = UVM_MEM_INVALID_ARGUMENT;
	assert_int_equal(
		uvm_space_set_mapflags(spaces[space], region_of(space, first, count), UVM_MAP_ACCESS(access) | copying),
		expected);
	for (int i = 0; i < count && !expected; i++) {
		struct model_page *at = &model[space][first + i];

		at->access = access;
		if (copying && at->kind == DIRECT)
			at->kind = COPYING;
	}
}

/*
 * Whether a clone of one space can take the number of another: nothing maps that, and what it maps itself has higher
 * numbers.
 */
static bool replaceable(int from, int to)
{
	for (int space = 0; space < SPACES; space++)
		for (int i = 0; i < PAGES; i++) {
			const struct model_page *at = &model[space][i];
			bool maps = at->kind != UNMAPPED && at->leaf < 0;

			if (maps && (at->space == to || (space == from && at->space < to)))
				return false;
		}
	return true;
}

static void step_clone(void)
{
	bool stacked = below(2), reverse = below(2);
	int from = stacked ? WINDOWS + (int)below(SPACES - WINDOWS) : (int)below(WINDOWS);
	int to = stacked ? WINDOWS + (int)below(SPACES - WINDOWS) : (int)below(WINDOWS);
	struct uvm_space *clone;

	if (from == to || !replaceable(from, to))
		return;
	clones++;
	clone = new_clone(spaces[from], reverse ? UVM_CLONE_REVERSE : 0);
	uvm_space_unref(spaces[to]);
	spaces[to] = clone;
	for (int i = 0; i < PAGES; i++) {
		struct model_page was = model[from][i];

		model[to][i] = reverse ? was : frozen(was);
		model[from][i] = reverse ? frozen(was) : was;
	}
}

static void step_remove(void)
{
	int number = (int)below(PAGES);

	assert_int_equal(uvm_cache_remove(cache, pages((uint64_t)number, (uint64_t)number + 1)), 0);
	leaves[LEAVES - 1][number] = initial(number);
}

static void step_write(void)
{
	int space = (int)below(WINDOWS), number = (int)below(PAGES);
	bool last = below(2), allowed = show(space, number).access & WRITE;
	uint8_t value = (uint8_t)below(256);

	assert_int_equal(poke(address_of(space, number) + (last ? page_size() - 1 : 0), value), allowed ? 0 : -SIGSEGV);
	if (allowed)
		change(space, number, last, value);
}

static void step(void)
{
	uint64_t dice = below(100);

	if (dice < 25)
		step_map();
	else if (dice < 30)
		step_unmap();
	else if (dice < 38)
		step_flags();
	else if (dice < 43)
		step_clone();
	else if (dice < 45)
		step_remove();
	else
		step_write();
	if (dice < 50)
		check_all();
}

static void make_objects(void)
{
	static const struct uvm_cacheable_ops ops = {.size = sizeof(ops), .fill = fill};
	struct uvm_cacheable *cacheable;
	uint64_t ignored;

	memset(model, 0, sizeof(model));
	memset(leaves, 0, sizeof(leaves));
	for (int i = 0; i < SPACES; i++)
		spaces[i] = i < WINDOWS ? new_window(PAGES, &ignored) : new_stacked();
	for (int i = 0; i < LEAVES - 1; i++)
		objects[i] = new_memory(PAGES);
	assert_int_equal(uvm_cacheable_create(&ops, NULL, PAGES, page_size(), &cacheable), 0);
	assert_int_equal(uvm_cache_create(&cache), 0);
	assert_int_equal(uvm_cache_set_cacheable(cache, cacheable), 0);
	assert_int_equal(uvm_cache_get_mappable(cache, &objects[LEAVES - 1]), 0);
	uvm_cacheable_unref(cacheable);
	for (int i = 0; i < PAGES; i++)
		leaves[LEAVES - 1][i] = initial(i);
}

static void run_seed(uint64_t with)
{
	seed = with;
	print_message("seed 0x%" PRIx64 "\n", seed);
	clones = 0;
	make_objects();
	for (int i = 0; i < STEPS; i++)
		step();
	assert_true(clones > STEPS / 200);
	for (int i = 0; i < SPACES; i++)
		uvm_space_unref(spaces[i]);
	for (int i = 0; i < LEAVES; i++)
		uvm_mappable_unref(objects[i]);
	uvm_cache_unref(cache);
}

static void spaces_are_as_the_model(void **state)
{
	uint64_t random = 0;

	(void)state;
	assert_int_equal(getrandom(&random, sizeof(random), 0), sizeof(random));
	run_seed(1);
	run_seed(random);
}

#define test(name) cmocka_unit_test(name)

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(spaces_are_as_the_model),
	};

	alarm(300);
	return cmocka_run_group_tests_name("space model", tests, NULL, NULL);
}
