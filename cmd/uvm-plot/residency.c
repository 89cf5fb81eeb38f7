/* SPDX-License-Identifier: MIT */
/*
 * uvm-plot residency: the regions that have anything in core, one after the other, as rows of squares from the top; the
 * darker a square, the more of it is resident.
 */
#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "base/size.h"
#include "plot.h"

#define SQUARES 64 /* in a row of a picture, and as many rows */
#define LABELS  12

struct extent {
	struct region region;
	uint64_t resident;
};

struct extents {
	struct extent *items;
	size_t count, size;
};

static int take_extent(void *context, const json_t *record, const char **why)
{
	struct extents *all = context;
	json_int_t resident = json_integer_value(json_object_get(record, "resident_bytes"));
	struct extent extent = {.resident = (uint64_t)resident};

	if (!input_is(record, "region") || resident == 0)
		return 0;
	if (resident < 0 || input_address(json_object_get(record, "start"), &extent.region.start) < 0 ||
	    input_address(json_object_get(record, "end"), &extent.region.end) < 0 ||
	    extent.region.end <= extent.region.start || extent.resident > region_bytes(extent.region)) {
		*why = "\"start\", \"end\" or \"resident_bytes\" is not what a region has";
		return -EINVAL;
	}
	if (array_reserve(&all->items, all->count, &all->size) < 0)
		return -ENOMEM;
	all->items[all->count++] = extent;
	return 0;
}

static bool has_extents(const void *data)
{
	return ((const struct extents *)data)->count;
}

static int compare_starts(const void *a, const void *b)
{
	const struct extent *left = a, *right = b;

	return (left->region.start > right->region.start) - (left->region.start < right->region.start);
}

static void add_to_square(struct grid *grid, size_t square, double share)
{
	size_t row = square / grid->columns;

	if (row < grid->rows)
		grid->values[(grid->rows - 1 - row) * grid->columns + square % grid->columns] += share;
}

/* Spreads what is resident evenly over the squares that an extent covers, from `from` on, in bytes. */
static void fill_squares(struct grid *grid, const struct extent *extent, double from, double square)
{
	double bytes = (double)region_bytes(extent->region);
	double end = from + bytes, density = (double)extent->resident / bytes;

	for (size_t i = (size_t)(from / square); (double)i * square < end; i++) {
		double begins = fmax(from, (double)i * square), ends = fmin(end, (double)(i + 1) * square);

		add_to_square(grid, i, (ends - begins) / square * density * 100);
	}
}

/* The address at which each of some rows begins. */
static void write_labels(const struct extents *all, const struct grid *grid, double square, FILE *script)
{
	unsigned int step = (grid->rows + LABELS - 1) / LABELS, row = 0;
	char address[ADDRESS_TEXT];
	double from = 0;

	fputs("set ytics (", script);
	for (size_t i = 0; i < all->count; i++) {
		double end = from + (double)region_bytes(all->items[i].region);

		for (double at; row < grid->rows && (at = (double)row * grid->columns * square) < end; row += step)
			fprintf(script, "%s'%s' %u", row ? ", " : "",
				address_format(address, all->items[i].region.start + (uint64_t)(at - from)),
				grid->rows - 1 - row);
		from = end;
	}
	fputs(")\n", script);
}

/* A round number in a picture; in text, what fills the place. */
static double square_bytes(double least, const struct canvas *canvas)
{
	double page = (double)page_size();

	return canvas->kind == CANVAS_TEXT ? ceil(least / page) * page : fmax(page, exp2(ceil(log2(least))));
}

static int draw_extents(void *data, const struct canvas *canvas, FILE *script)
{
	struct extents *all = data;
	double total = 0, square, from = 0;
	char size[SIZE_TEXT];
	struct grid grid;

	if (grid_init(&grid, canvas) < 0)
		return -ENOMEM;
	qsort(all->items, all->count, sizeof(*all->items), compare_starts);
	for (size_t i = 0; i < all->count; i++)
		total += (double)region_bytes(all->items[i].region);
	grid.columns = (unsigned int)min_u64(grid.columns, SQUARES);
	grid.rows = (unsigned int)min_u64(grid.rows, SQUARES);
	square = square_bytes(total / (grid.columns * grid.rows), canvas);
	/* Where the size of a square was rounded down there would be one row more. */
	grid.rows = (unsigned int)fmin(grid.rows, ceil(total / square / grid.columns));
	for (size_t i = 0; i < all->count; i++) {
		fill_squares(&grid, &all->items[i], from, square);
		from += (double)region_bytes(all->items[i].region);
	}
	write_labels(all, &grid, square, script);
	fprintf(script,
		"set xlabel 'each square is %s'\nunset xtics\nset cblabel 'percent resident'\nset cbrange [0:100]\n",
		size_format(size, (uint64_t)square));
	grid_draw(&grid, canvas, script);
	free(grid.values);
	return 0;
}

int verb_residency(struct run *run)
{
	static const struct plot_kind kind = {
		.title = "Memory by how much of it is resident",
		.lacking = "it has no regions with anything in core, which superpages and addrspace list write",
		.take = take_extent,
		.has_data = has_extents,
		.draw = draw_extents,
	};
	struct extents all = {0};
	int status = plot_run(run, &kind, &all);

	free(all.items);
	return status;
}
