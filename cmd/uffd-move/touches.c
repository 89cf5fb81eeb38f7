/* SPDX-License-Identifier: MIT */
/* Who touched which pages: names, sums and the pages seen so far. */
#include "touches.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include "base/size.h"
#include "proc/stat.h"
#include "proc/tasks.h"
#include "report/report.h"

static bool has_own_namespace(const struct target *target)
{
	char status[4096];
	unsigned int depth;

	target_file_read(target, "status", status, sizeof(status));
	proc_status_innermost(status, &depth);
	return depth > 1;
}

/* A thread's number as we see it, from the one that its own namespace gives it; 0 when it is gone. */
static uint32_t outer_number(const struct target *target, uint32_t inner)
{
	_cleanup_closedir_ DIR *tasks = fd_directory(target_proc_open(target, "task", O_RDONLY | O_DIRECTORY));

	for (pid_t tid; tasks && (tid = tasks_next(tasks)) > 0;) {
		char path[40], status[4096];
		unsigned int depth;

		snprintf(path, sizeof(path), "task/%d/status", tid);
		if (target_file_read(target, path, status, sizeof(status)) > 0 &&
		    proc_status_innermost(status, &depth) == (pid_t)inner)
			return (uint32_t)tid;
	}
	return 0;
}

static void name_thread(const struct touches *touches, struct touch_sum *sum)
{
	char path[64];

	sum->tid = touches->own_namespace ? outer_number(touches->target, sum->key) : sum->key;
	snprintf(path, sizeof(path), "task/%u/comm", sum->tid);
	target_file_read(touches->target, path, sum->name, sizeof(sum->name));
	sum->name[strcspn(sum->name, "\n")] = '\0';
}

/* The sum of a thread (name NULL) or of a mapping name; made when it is not there. NULL when out of memory. */
static struct touch_sum *find_sum(struct touches *touches, struct touch_sums *sums, uint32_t key, const char *name)
{
	struct touch_sum *sum;

	for (size_t i = 0; i < sums->count; i++) {
		size_t at = (sums->last + i) % sums->count;

		if (sums->items[at].key == key && (!name || strcmp(sums->items[at].name, name) == 0)) {
			sums->last = at;
			return &sums->items[at];
		}
	}
	if (array_reserve(&sums->items, sums->count, &sums->size) < 0)
		return NULL;
	sum = &sums->items[sums->count];
	sums->last = sums->count++;
	*sum = (struct touch_sum){.key = key};
	if (name)
		snprintf(sum->name, sizeof(sum->name), "%s", name);
	else
		name_thread(touches, sum);
	return sum;
}

int touches_init(struct touches *touches, const struct target *target)
{
	*touches = (struct touches){.target = target};
	touches->maps = target_proc_open(target, "maps", O_RDONLY | O_CLOEXEC);
	if (touches->maps < 0)
		return touches->maps;
	touches->own_namespace = has_own_namespace(target);
	return 0;
}

void touches_free(struct touches *touches)
{
	if (touches->target && touches->maps >= 0)
		close(touches->maps);
	free(touches->blocks);
	free(touches->mappings.items);
	free(touches->threads.items);
	*touches = (struct touches){0};
}

void touches_forget_mapping(struct touches *touches)
{
	touches->mapping.region = (struct region){0, 0};
}

static const char *mapping_name(struct touches *touches, uint64_t address)
{
	struct region page = region_at(address, 1);

	if (!region_contains(touches->mapping.region, page) &&
	    mapping_at(touches->maps, address, &touches->mapping) <= 0)
		return "";
	return touches->mapping.name;
}

static bool block_before(const void *item, const void *page)
{
	return ((const struct touch_block *)item)->first + TOUCH_BLOCK_PAGES <= *(const uint64_t *)page;
}

/* The block of a page, until another one is looked for; made when it is not there. NULL when out of memory. */
static struct touch_block *find_block(struct touches *touches, uint64_t page)
{
	size_t bytes = sizeof(struct touch_block);
	size_t at = first_not_before(touches->blocks, touches->block_count, bytes, block_before, &page);
	struct touch_block *block;

	if (at < touches->block_count && touches->blocks[at].first <= page)
		return &touches->blocks[at];
	if (array_reserve(&touches->blocks, touches->block_count, &touches->block_size) < 0)
		return NULL;
	block = &touches->blocks[at];
	memmove(block + 1, block, (touches->block_count - at) * bytes);
	*block = (struct touch_block){.first = round_down(page, TOUCH_BLOCK_PAGES)};
	touches->block_count++;
	return block;
}

/* Marks a page of a block; whether it was not marked before. */
static bool mark_page(uint64_t *set, uint64_t page)
{
	uint64_t bit = UINT64_C(1) << page % 64;
	uint64_t *word = &set[page % TOUCH_BLOCK_PAGES / 64];
	bool first = !(*word & bit);

	*word |= bit;
	return first;
}

static json_t *touch_record(const struct touches *touches, const struct page_touch *touch,
			    const struct touch_sum *thread, const char *mapping, bool fresh)
{
	char address[ADDRESS_TEXT];
	const struct target *target = touches->target;
	uint64_t page = round_down(touch->address, page_size());
	json_t *record = report_region("touch", target->pid, target->starttime, page, page + page_size());
	json_t *tid = thread->tid ? json_integer(thread->tid) : json_null();
	json_t *name = *thread->name ? json_string(thread->name) : NULL;

	json_t *more =
		json_pack("{s:s, s:o, s:o, s:s, s:b, s:I, s:s}", "address", address_format(address, touch->address),
			  "tid", tid, "thread", name ? name : json_null(), "access", touch->write ? "write" : "read",
			  "fresh", (int)fresh, "at_us", (json_int_t)touch->at_us, "name", mapping);

	if (!record || !more || json_object_update(record, more)) {
		json_decref(record);
		record = NULL;
	}
	json_decref(more);
	return record;
}

json_t *touches_add(struct touches *touches, const struct page_touch *touch)
{
	uint64_t page = touch->address / page_size();
	struct touch_block *block = find_block(touches, page);
	const char *name = mapping_name(touches, touch->address);
	struct touch_sum *thread = find_sum(touches, &touches->threads, touch->tid, NULL);
	struct touch_sum *mapping = find_sum(touches, &touches->mappings, 0, name);
	size_t bytes = page_size();
	bool first, fresh;

	if (!block || !thread || !mapping)
		return NULL;
	first = mark_page(block->seen, page);
	fresh = first && !touch->out;
	touches->count++;
	touches->round_count++;
	thread->touches++;
	mapping->touches++;
	touches->round_bytes += mark_page(block->this_round, page) ? bytes : 0;
	touches->bytes += first ? bytes : 0;
	touches->last_new_us = first ? touch->at_us : touches->last_new_us;
	touches->fresh_bytes += fresh ? bytes : 0;
	thread->bytes += first ? bytes : 0;
	mapping->bytes += first ? bytes : 0;
	return touch_record(touches, touch, thread, name, fresh);
}

json_t *touches_round(struct touches *touches, uint64_t at_us, uint64_t waited_us)
{
	json_t *record =
		json_pack("{s:s, s:i, s:I, s:I, s:I, s:I, s:I}", "type", "interval", "pid", (int)touches->target->pid,
			  "starttime", (json_int_t)touches->target->starttime, "at_us", (json_int_t)at_us, "touches",
			  (json_int_t)touches->round_count, "touched_bytes", (json_int_t)touches->round_bytes,
			  "waited_us", (json_int_t)waited_us);

	touches->round_count = touches->round_bytes = 0;
	for (size_t i = 0; i < touches->block_count; i++)
		memset(touches->blocks[i].this_round, 0, sizeof(touches->blocks[i].this_round));
	return record;
}

static int by_bytes(const void *a, const void *b)
{
	const struct touch_sum *left = a;
	const struct touch_sum *right = b;

	if (left->bytes != right->bytes)
		return left->bytes < right->bytes ? 1 : -1;
	return left->touches < right->touches ? 1 : left->touches > right->touches ? -1 : 0;
}

static int emit_sums(const struct touches *touches, struct touch_sums *sums, const char *by,
		     int (*emit)(void *context, json_t *record), void *context)
{
	bool threads = sums == &touches->threads;
	int rc = 0;

	if (sums->count)
		qsort(sums->items, sums->count, sizeof(*sums->items), by_bytes);
	for (size_t i = 0; rc == 0 && i < sums->count; i++) {
		const struct touch_sum *sum = &sums->items[i];
		json_t *record =
			json_pack("{s:s, s:i, s:I, s:s, s:s}", "type", "touched", "pid", (int)touches->target->pid,
				  "starttime", (json_int_t)touches->target->starttime, "by", by, "name", sum->name);

		if (record && threads)
			json_object_set_new(record, "tid", sum->tid ? json_integer(sum->tid) : json_null());
		report_number(record, "touches", sum->touches);
		report_number(record, "touched_bytes", sum->bytes);
		rc = emit(context, record);
	}
	return rc;
}

int touches_emit(struct touches *touches, int (*emit)(void *context, json_t *record), void *context)
{
	int rc = emit_sums(touches, &touches->mappings, "mapping", emit, context);

	return rc ? rc : emit_sums(touches, &touches->threads, "thread", emit, context);
}
