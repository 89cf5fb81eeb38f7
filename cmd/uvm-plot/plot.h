/* SPDX-License-Identifier: MIT */
/* Pictures of records, which gnuplot draws. */
#pragma once

#include <stdio.h>

#include "report/input.h"
#include "tool/verb.h"

#define MEBIBYTES(bytes) ((double)(bytes) / 1048576)

struct plot_size {
	unsigned int width, height; /* pixels, or characters of a drawing in text; 0: the usual */
};

struct plot_values {
	char *output; /* NULL: standard output, in text */
	char *title;
	struct plot_size size;
};

/* What is drawn on. */
struct canvas {
	enum {
		CANVAS_TEXT,
		CANVAS_SVG,
		CANVAS_PNG
	} kind;
	struct plot_size size;
};

/* A kind of picture. */
struct plot_kind {
	const char *title;
	const char *lacking; /* what there was no record of, and which tool writes it */
	input_record_fn *take;
	bool (*has_data)(const void *data);
	/* Writes what gnuplot(1) is told. Returns 0 or -ENOMEM. */
	int (*draw)(void *data, const struct canvas *canvas, FILE *script);
};

/* Reads the records that the verb's operand names, and draws them. Returns the exit code. */
int plot_run(struct run *run, const struct plot_kind *kind, void *data);

/*
 * Draws what a script says, to a file of that name or, with NULL, to standard output. A file is replaced when it is
 * complete. Returns 0, or -errno with `error` filled.
 */
int gnuplot_run(const char *script, size_t bytes, const char *path, struct error *error);

/* A field of squares, row by row from the lowest, each of which has a value; 0 is none. */
struct grid {
	unsigned int columns, rows;
	bool counts; /* its values are, so that colours go by their magnitude */
	double *values;
};

/* A grid as large as the canvas can show. Returns 0 or -ENOMEM; the caller frees its values. */
int grid_init(struct grid *grid, const struct canvas *canvas);

/* The script that draws it, after that of axes and tics: squares of colour, or characters. */
void grid_draw(const struct grid *grid, const struct canvas *canvas, FILE *script);

/* A picture each; return an exit code. */
int verb_heat(struct run *run);
int verb_workingset(struct run *run);
int verb_latency(struct run *run);
int verb_swapout(struct run *run);
int verb_residency(struct run *run);
