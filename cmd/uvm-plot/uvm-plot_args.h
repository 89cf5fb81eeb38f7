/* SPDX-License-Identifier: MIT */
/* The options of uvm-plot, a row each. Included by main.c alone. */
#pragma once

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "plot.h"

#define AT(member) offsetof(struct plot_values, member)
#define SIDE_MIN   16
#define SIDE_MAX   16384

/* WIDTHxHEIGHT */
static int parse_plot_size(const char *text, void *value)
{
	struct plot_size *size = value;
	unsigned int *sides[] = {&size->width, &size->height};

	for (size_t i = 0; i < ARRAY_SIZE(sides); i++) {
		char *end;
		unsigned long side = strtoul(text, &end, 10);

		if (!isdigit((unsigned char)*text) || *end != (i ? '\0' : 'x') || side < SIDE_MIN || side > SIDE_MAX)
			return -EINVAL;
		*sides[i] = (unsigned int)side;
		text = end + 1;
	}
	return 0;
}

static const struct cli_option plot_options[] = {
	{"output", 0, CLI_TEXT, AT(output), "FILE", .offers = CLI_OFFERS_FILES,
	 .help = "Write the picture to this file, as SVG or PNG by its name; draw in text otherwise"},
	{"title", 0, CLI_TEXT, AT(title), "TEXT", .help = "Put this above the picture"},
	{"size", 0, CLI_PARSED, AT(size), "WIDTHxHEIGHT", .parse = parse_plot_size, .words = "80x24 132x40 960x540",
	 .refusal = "is not like 960x540, with sides from 16 to 16384",
	 .help = "Draw so large: in pixels, or in characters"},
	{0},
};
