/* SPDX-License-Identifier: MIT */
/* uvm-plot workingset: how much was touched in each interval, and in how many of them less. */
#include <errno.h>
#include <stdlib.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "base/size.h"
#include "plot.h"

struct interval {
	uint64_t at_us;
	uint64_t bytes;
};

struct intervals {
	struct interval *items;
	size_t count, size;
};

static int take_interval(void *context, const json_t *record, const char **why)
{
	struct intervals *all = context;
	json_int_t at_us = json_integer_value(json_object_get(record, "at_us"));
	json_int_t bytes = json_integer_value(json_object_get(record, "touched_bytes"));

	if (!input_is(record, "interval"))
		return 0;
	if (at_us < 0 || bytes < 0) {
		*why = "\"at_us\" or \"touched_bytes\" is below 0";
		return -EINVAL;
	}
	if (array_reserve(&all->items, all->count, &all->size) < 0)
		return -ENOMEM;
	all->items[all->count++] = (struct interval){(uint64_t)at_us, (uint64_t)bytes};
	return 0;
}

static bool has_intervals(const void *data)
{
	return ((const struct intervals *)data)->count;
}

static int compare_bytes(const void *a, const void *b)
{
	const struct interval *left = a, *right = b;

	return (left->bytes > right->bytes) - (left->bytes < right->bytes);
}

static int draw_intervals(void *data, const struct canvas *canvas, FILE *script)
{
	static const unsigned int percents[] = {50, 90, 100};
	static const char *const names[] = {"median", "p90", "most"};
	static const char *const colors[] = {"#2b8a3e", "#f08c00", "#c92a2a"};
	struct intervals *all = data;
	double begin = 0;
	uint64_t most = 0;

	(void)canvas;
	fputs("$intervals << END\n", script);
	for (size_t i = 0; i < all->count; i++) {
		double end = (double)all->items[i].at_us / 1000000;

		fprintf(script, "%g %g %g\n", (begin + end) / 2, MEBIBYTES(all->items[i].bytes), end - begin);
		begin = end;
		most = max_u64(most, all->items[i].bytes);
	}
	fprintf(script,
		"END\nset xlabel 'seconds'\nset ylabel 'MiB'\nset xrange [0:%g]\nset yrange [0:%s]\n"
		"set offsets 0, 0, graph 0.25, 0\nset style fill solid 0.5 border\n"
		"plot $intervals using 1:2:3 with boxes linecolor rgb '#4263eb' title 'touched in an interval'",
		begin > 0 ? begin : 1, most ? "*" : "1");
	qsort(all->items, all->count, sizeof(*all->items), compare_bytes);
	for (size_t i = 0; i < ARRAY_SIZE(percents); i++) {
		size_t at = (all->count - 1) * percents[i] / 100;
		double level = MEBIBYTES(all->items[at].bytes);

		fprintf(script, ", %g with lines linewidth 2 linecolor rgb '%s' title '%s %.1f MiB'", level, colors[i],
			names[i], level);
	}
	fputc('\n', script);
	return 0;
}

int verb_workingset(struct run *run)
{
	static const struct plot_kind kind = {
		.title = "Working set over time",
		.lacking = "it has no interval records, which uffd-move --watch --again writes",
		.take = take_interval,
		.has_data = has_intervals,
		.draw = draw_intervals,
	};
	struct intervals all = {0};
	int status = plot_run(run, &kind, &all);

	free(all.items);
	return status;
}
