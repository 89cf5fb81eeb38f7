/* SPDX-License-Identifier: MIT */
/* uvm-plot swapout: what was resident before and after, by the regions that had most. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "base/size.h"
#include "plot.h"

#define SHOWN 11
#define LABEL 17 /* characters */

/* Of a region, or of all that are not shown. */
struct change {
	uint64_t start; /* 0: of several */
	uint64_t before, stayed, stored;
};

struct changes {
	struct change *items;
	size_t count, size;
};

static int take_change(void *context, const json_t *record, const char **why)
{
	static const char *const absent[] = {"not-resident", "not-mapped", "out"};
	struct changes *all = context;
	const json_t *skipped = json_object_get(record, "skipped");
	uint64_t moved = input_number(record, "moved_bytes");
	struct change change = {.before = input_number(record, "asked_bytes"),
				.stored = input_number(record, "compressed_bytes")};

	if (!input_is(record, "region") || strcmp(input_text(record, "op"), "out") != 0)
		return 0;
	for (size_t i = 0; i < ARRAY_SIZE(absent); i++)
		change.before -= min_u64(change.before, input_number(skipped, absent[i]));
	change.stayed = change.before - min_u64(change.before, moved);
	if (input_address(json_object_get(record, "start"), &change.start) < 0 || change.before > INT64_MAX) {
		*why = "\"start\" or \"asked_bytes\" is not what a region has";
		return -EINVAL;
	}
	if (array_reserve(&all->items, all->count, &all->size) < 0)
		return -ENOMEM;
	all->items[all->count++] = change;
	return 0;
}

static bool has_changes(const void *data)
{
	return ((const struct changes *)data)->count;
}

static int most_first(const void *a, const void *b)
{
	const struct change *left = a, *right = b;

	return (left->before < right->before) - (left->before > right->before);
}

/* Those with the most, and in one those that could hardly be seen: `most` at most. Returns how many are to be shown. */
static size_t sum_rest(struct changes *all, size_t most)
{
	size_t shown = 0;

	qsort(all->items, all->count, sizeof(*all->items), most_first);
	while (shown < all->count && shown + 1 < most && all->items[shown].before >= all->items[0].before / 100)
		shown++;
	for (size_t i = shown + 1; i < all->count; i++) {
		all->items[shown].before += all->items[i].before;
		all->items[shown].stayed += all->items[i].stayed;
		all->items[shown].stored += all->items[i].stored;
	}
	if (shown + 1 < all->count)
		all->items[shown].start = 0;
	return shown < all->count ? shown + 1 : shown;
}

static int draw_changes(void *data, const struct canvas *canvas, FILE *script)
{
	struct changes *all = data;
	bool text = canvas->kind == CANVAS_TEXT;
	size_t shown = sum_rest(all, text ? canvas->size.width / LABEL : SHOWN);

	fputs("$changes << END\n", script);
	for (size_t i = 0; i < shown; i++) {
		const struct change *change = &all->items[i];
		char address[ADDRESS_TEXT];

		fprintf(script, "%zu %g %g %g \"%s\"\n", i * 3, MEBIBYTES(change->before), MEBIBYTES(change->stayed),
			MEBIBYTES(change->stored), change->start ? address_format(address, change->start) : "others");
	}
	fprintf(script,
		"END\nset ylabel 'MiB'\nset yrange [0:*]\nset xrange [-1:%zu]\nset boxwidth 0.9\n"
		"set style fill solid 0.8 noborder\nset xtics %s\nset lmargin 14\n%sunset grid\n"
		"set grid y\n",
		shown * 3, text ? "norotate" : "rotate by 30 right", text ? "" : "set key top right\n");
	fputs("plot $changes using 1:2:xtic(5) with boxes linecolor rgb '#4263eb' title 'resident before', "
	      "$changes using ($1+1):($3+$4) with boxes linecolor rgb '#f08c00' title 'in the store after', "
	      "$changes using ($1+1):3 with boxes linecolor rgb '#2b8a3e' title 'resident after'\n",
	      script);
	return 0;
}

int verb_swapout(struct run *run)
{
	static const struct plot_kind kind = {
		.title = "Before and after a swap-out, by region",
		.lacking = "it has no region records of a swap-out, which swapctl out writes",
		.take = take_change,
		.has_data = has_changes,
		.draw = draw_changes,
	};
	struct changes all = {0};
	int status = plot_run(run, &kind, &all);

	free(all.items);
	return status;
}
