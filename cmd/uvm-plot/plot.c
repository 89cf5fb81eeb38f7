/* SPDX-License-Identifier: MIT */
/* What all pictures have in common. */
#include "plot.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/size.h"
#include "base/text.h"

#define COLUMNS_MIN 40 /* of a terminal */
#define COLUMNS_MAX 512
#define SQUARES_MAX 5000 /* that a drawing can be made of; more of them are an image in it */
#define MARGINS     21

/* By the end of its name. Returns 0 or -EINVAL. */
static int choose_canvas(const struct plot_values *values, struct canvas *canvas)
{
	static const struct plot_size usual[] = {{80, 24}, {960, 540}, {960, 540}};
	const char *end = values->output ? strrchr(values->output, '.') : NULL;

	if (!values->output)
		canvas->kind = CANVAS_TEXT;
	else if (end && strcmp(end, ".svg") == 0)
		canvas->kind = CANVAS_SVG;
	else if (end && strcmp(end, ".png") == 0)
		canvas->kind = CANVAS_PNG;
	else
		return -EINVAL;
	canvas->size = values->size.width ? values->size : usual[canvas->kind];
	if (canvas->kind == CANVAS_TEXT && !values->size.width && report_width())
		canvas->size.width = (unsigned int)min_u64(max_u64(report_width(), COLUMNS_MIN), COLUMNS_MAX);
	return 0;
}

/* In single quotes gnuplot takes everything as it is but the quote itself. */
static void write_quoted(FILE *script, const char *text)
{
	_cleanup_free_ char *safe = strdup(text);

	fputc('\'', script);
	for (const char *c = safe ? text_make_safe(safe) : ""; *c; c++)
		fputs(*c == '\'' ? "''" : (char[]){*c, '\0'}, script);
	fputs("'\n", script);
}

static void begin_script(FILE *script, const struct canvas *canvas, const char *title)
{
	static const char *const terminals[] = {
		"dumb nofeed size %u,%u noenhanced\n",
		"svg size %u,%u dynamic noenhanced font 'sans,13' background 'white'\n",
		"pngcairo size %u,%u noenhanced font 'sans,11' background 'white'\n",
	};

	fputs("set encoding utf8\nset terminal ", script);
	fprintf(script, terminals[canvas->kind], canvas->size.width, canvas->size.height);
	fputs("set title ", script);
	write_quoted(script, title);
	if (canvas->kind == CANVAS_TEXT)
		fputs("set key below\n", script);
	else
		fputs("set grid back linecolor rgb '#dddddd'\nset border linecolor rgb '#666666'\nset tics scale 0.5\n"
		      "set palette defined (0 '#fff3c4', 0.35 '#f9a03f', 0.7 '#c2255c', 1 '#3b0f4f')\n",
		      script);
}

static int draw_data(const struct plot_kind *kind, void *data, const struct plot_values *values,
		     const struct canvas *canvas, struct error *error)
{
	_cleanup_free_ char *text = NULL;
	size_t bytes = 0;
	FILE *script = open_memstream(&text, &bytes);
	int rc = script ? 0 : -ENOMEM;

	if (script) {
		begin_script(script, canvas, values->title ? values->title : kind->title);
		rc = kind->draw(data, canvas, script);
		if (fclose(script) != 0 && rc == 0)
			rc = -ENOMEM;
	}
	return rc < 0 ? error_set(error, rc, NULL, NULL, "draw the picture")
		      : gnuplot_run(text, bytes, values->output, error);
}

int plot_run(struct run *run, const struct plot_kind *kind, void *data)
{
	const struct plot_values *values = run_values(run);
	const char *path = *run->operands ? *run->operands : "-";
	struct canvas canvas;
	struct error error = {0};
	int rc;

	if (choose_canvas(values, &canvas) < 0)
		return cli_usage_error(run->name, "--output %s: a picture's name ends with .svg or .png",
				       values->output);
	rc = input_records_read(path, kind->take, data, &error);
	if (rc == 0 && !kind->has_data(data))
		rc = error_set(&error, -EINVAL, kind->lacking, NULL, "draw %s",
			       strcmp(path, "-") == 0 ? "standard input" : path);
	if (rc == 0)
		rc = draw_data(kind, data, values, &canvas, &error);
	return rc < 0 ? run_failed(run, rc, &error) : EXIT_DONE;
}

int grid_init(struct grid *grid, const struct canvas *canvas)
{
	bool text = canvas->kind == CANVAS_TEXT;
	unsigned int width = canvas->size.width, height = canvas->size.height;

	grid->counts = false;
	/* A character each, within the margins of grid_draw. */
	grid->columns = text ? (width > 2 * MARGINS ? width - MARGINS : MARGINS) : min_u64(width / 6, COLUMNS_MAX);
	grid->rows = text ? (height > 14 ? height - 7 : 7) : min_u64(height / 6, COLUMNS_MAX);
	grid->values = calloc((size_t)grid->columns * grid->rows, sizeof(*grid->values));
	return grid->values ? 0 : -ENOMEM;
}

/* A character for how much of the greatest value it is. */
static char shade_of(double share)
{
	static const char shades[] = ".:-=+*#%@";
	size_t steps = sizeof(shades) - 1;

	return shades[share >= 1 ? steps - 1 : (size_t)(share * (double)steps)];
}

static void write_cells(const struct grid *grid, bool text, double greatest, FILE *script)
{
	fputs("$cells << END\n", script);
	for (unsigned int y = 0; y < grid->rows; y++)
		for (unsigned int x = 0; x < grid->columns; x++) {
			double value = grid->values[(size_t)y * grid->columns + x];

			if (text && value > 0)
				fprintf(script, "%u %u %c\n", x, y, shade_of(value / greatest));
			else if (!text && value > 0)
				fprintf(script, "%u %u %g\n", x, y, value);
			else if (!text)
				fprintf(script, "%u %u NaN\n", x, y);
		}
	fputs("END\n", script);
}

void grid_draw(const struct grid *grid, const struct canvas *canvas, FILE *script)
{
	bool text = canvas->kind == CANVAS_TEXT;
	double greatest = 0;

	for (size_t i = 0; i < (size_t)grid->columns * grid->rows; i++)
		greatest = grid->values[i] > greatest ? grid->values[i] : greatest;
	write_cells(grid, text, greatest, script);
	fprintf(script, "set xrange [-0.5:%g]\nset yrange [-0.5:%g]\nunset key\nunset grid\n", grid->columns - 0.5,
		grid->rows - 0.5);
	if (!text && greatest > 10 && grid->counts)
		fputs("set logscale cb\n", script);
	if (text)
		fputs("set lmargin 17\nset rmargin 2\nset tmargin 2\nset bmargin 3\n", script);
	fprintf(script, "plot $cells using 1:2:3 with %s\n",
		text                                        ? "labels"
		: grid->columns * grid->rows <= SQUARES_MAX ? "image pixels"
							    : "image");
}
