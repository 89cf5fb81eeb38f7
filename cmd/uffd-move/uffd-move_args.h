/* SPDX-License-Identifier: MIT */
/* The options of uffd-move, a row each. Included by main.c alone. */
#pragma once

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>

#include "uffd-move.h"

#define AT(member) offsetof(struct move_values, member)

/* The longest that --watch and --again take: what poll(2) can wait. */
#define WATCH_MS_MAX INT32_MAX

static const struct cli_option move_options[] = {
	{"src", 0, CLI_PAGE, AT(src), "ADDR", .against = "regions", .help = "Move the pages from here on"},
	{"dst", 0, CLI_PAGE, AT(dst), "ADDR|auto", .initial = "auto", .lowest = 1, .words = "auto", .needs = "src",
	 .help = "Move them there; auto: to a fresh mapping"},
	{"length", 0, CLI_PAGES, AT(length), "BYTES", .lowest = 1, .words = "4K 2M 64M 1G", .needs = "src",
	 .help = "Move so many bytes, in whole pages"},
	{"allow-src-holes", 0, CLI_FLAG, AT(move.allow_holes), .help = "Accept pages that are not present"},
	{"dontwake", 0, CLI_FLAG, AT(move.dont_wake), .help = "Do not wake threads that wait for a page"},
	{"make-exclusive", 0, CLI_FLAG, AT(move.make_exclusive),
	 .help = "Move pages, too, that a fork has left marked as shared and that are not"},
	{"method", 0, CLI_WORD, AT(move.method), "METHOD", .initial = "move", .words = "move mremap",
	 .help = "Move by move (UFFDIO_MOVE) or mremap"},
	{"reverse", 0, CLI_FLAG, AT(move.reverse), .needs = "regions",
	 .help = "Take back what the records of -r say was moved"},
	{"dry-run", 'n', CLI_FLAG, AT(move.dry_run), .help = "Say what would be moved, change nothing"},
	{"watch", 0, CLI_TIME, AT(watch.duration_ns), "TIME", .optional = true, .lowest = 1, .highest = WATCH_MS_MAX,
	 .words = "1 10 1m", .refusal = "is not a time above 0, such as 10s or 500ms",
	 .help = "Move the pages aside, report who touches them, let them come back"},
	{"again", 0, CLI_MS, AT(watch.again_ms), "TIME", .needs = "watch", .lowest = 1, .highest = WATCH_MS_MAX,
	 .words = "100ms 1s 10s", .refusal = "is not a time above 0, such as 10s or 500ms",
	 .help = "With --watch: move them aside again every so often"},
	{"yes", 'y', CLI_FLAG, AT(move.yes), .help = "Move even if the program then reads zeros"},
	{0},
};
