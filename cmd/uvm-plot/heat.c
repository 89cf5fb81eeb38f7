/* SPDX-License-Identifier: MIT */
/*
 * uvm-plot heat: addresses by time. Only chunks that were touched are drawn, one above the other, however far apart
 * they lie.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "base/size.h"
#include "plot.h"

#define CHUNK  (2 * MiB)
#define LABELS 9

struct touched {
	uint64_t address;
	uint64_t at_us;
};

struct heat {
	struct touched *touches;
	size_t count, size;
	uint64_t *chunks; /* by address, each once */
	size_t chunk_count;
	uint64_t last_us;
};

static int take_touch(void *context, const json_t *record, const char **why)
{
	struct heat *heat = context;
	struct touched *touched;
	json_int_t at_us = json_integer_value(json_object_get(record, "at_us"));

	if (!input_is(record, "touch"))
		return 0;
	if (array_reserve(&heat->touches, heat->count, &heat->size) < 0)
		return -ENOMEM;
	touched = &heat->touches[heat->count];
	if (at_us < 0 || input_address(json_object_get(record, "address"), &touched->address) < 0) {
		*why = "\"address\" or \"at_us\" is not what a touch has";
		return -EINVAL;
	}
	touched->at_us = (uint64_t)at_us;
	heat->last_us = max_u64(heat->last_us, touched->at_us);
	heat->count++;
	return 0;
}

static bool has_touches(const void *data)
{
	return ((const struct heat *)data)->count;
}

static int compare_addresses(const void *a, const void *b)
{
	uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;

	return (left > right) - (left < right);
}

/* The chunks that were touched. Returns 0 or -ENOMEM. */
static int find_chunks(struct heat *heat)
{
	size_t kept = 0;

	heat->chunks = calloc(heat->count, sizeof(*heat->chunks));
	if (!heat->chunks)
		return -ENOMEM;
	for (size_t i = 0; i < heat->count; i++)
		heat->chunks[i] = round_down(heat->touches[i].address, CHUNK);
	qsort(heat->chunks, heat->count, sizeof(*heat->chunks), compare_addresses);
	for (size_t i = 0; i < heat->count; i++)
		if (!kept || heat->chunks[kept - 1] != heat->chunks[i])
			heat->chunks[kept++] = heat->chunks[i];
	heat->chunk_count = kept;
	return 0;
}

/* How far above the lowest chunk an address is drawn, in chunks. */
static double height_of(const struct heat *heat, uint64_t address)
{
	uint64_t chunk = round_down(address, CHUNK);
	const uint64_t *at = bsearch(&chunk, heat->chunks, heat->chunk_count, sizeof(chunk), compare_addresses);

	return (double)(at - heat->chunks) + (double)(address - chunk) / CHUNK;
}

static void count_touches(const struct heat *heat, struct grid *grid)
{
	for (size_t i = 0; i < heat->count; i++) {
		const struct touched *touched = &heat->touches[i];
		double right = (double)touched->at_us / (double)(heat->last_us + 1) * grid->columns;
		double up = height_of(heat, touched->address) / (double)heat->chunk_count * grid->rows;

		/* The largest times are rounded up. */
		grid->values[(size_t)up * grid->columns + min_u64((uint64_t)right, grid->columns - 1)]++;
	}
}

static void write_axes(const struct heat *heat, const struct grid *grid, FILE *script)
{
	size_t labels = min_u64(heat->chunk_count, LABELS);
	char address[ADDRESS_TEXT];

	fputs("set xlabel 'seconds'\nset cblabel 'touches'\nset ytics (", script);
	for (size_t i = 0; i < labels; i++) {
		size_t chunk = i * heat->chunk_count / labels;

		fprintf(script, "%s'%s' %g", i ? ", " : "", address_format(address, heat->chunks[chunk]),
			(double)chunk / (double)heat->chunk_count * grid->rows - 0.5);
	}
	fputs(")\nset xtics (", script);
	for (unsigned int i = 0; i <= 5; i++)
		fprintf(script, "%s'%.1f' %g", i ? ", " : "", (double)heat->last_us * i / 5 / 1000000,
			(double)grid->columns * i / 5 - 0.5);
	fputs(")\n", script);
}

static int draw_heat(void *data, const struct canvas *canvas, FILE *script)
{
	struct heat *heat = data;
	struct grid grid = {0};
	int rc = find_chunks(heat);

	if (rc == 0)
		rc = grid_init(&grid, canvas);
	if (rc < 0)
		return rc;
	count_touches(heat, &grid);
	grid.counts = true;
	write_axes(heat, &grid, script);
	grid_draw(&grid, canvas, script);
	free(grid.values);
	return 0;
}

int verb_heat(struct run *run)
{
	static const struct plot_kind kind = {
		.title = "Memory touched, by address and time",
		.lacking = "it has no touch records, which uffd-move --watch --again writes",
		.take = take_touch,
		.has_data = has_touches,
		.draw = draw_heat,
	};
	struct heat heat = {0};
	int status = plot_run(run, &kind, &heat);

	free(heat.touches);
	free(heat.chunks);
	return status;
}
