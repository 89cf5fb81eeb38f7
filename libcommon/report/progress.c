/* SPDX-License-Identifier: MIT */
/* Progress of long work, for people at a terminal. */
#include <stdio.h>
#include <unistd.h>

#include "base/size.h"
#include "report/report.h"

#define FIRST_SHOWN_US 1000000
#define INTERVAL_US    100000

void progress_begin(struct progress *progress, const char *what, bool quiet)
{
	*progress = (struct progress){.what = what, .enabled = !quiet && isatty(STDERR_FILENO)};
	if (progress->enabled)
		progress->started_us = now_us();
}

void progress_update(struct progress *progress, uint64_t done, uint64_t total)
{
	char done_text[SIZE_TEXT], total_text[SIZE_TEXT];
	uint64_t now;

	if (!progress->enabled)
		return;
	now = now_us();
	if (now - progress->started_us < FIRST_SHOWN_US || now - progress->shown_us < INTERVAL_US)
		return;
	progress->shown_us = now;
	progress->drawn = true;
	fprintf(stderr, "\r\033[K%s: %s of %s", progress->what, size_format(done_text, done),
		size_format(total_text, total));
	if (total)
		fprintf(stderr, " (%.0f%%)", 100.0 * (double)min_u64(done, total) / (double)total);
	fflush(stderr);
}

void progress_end(struct progress *progress)
{
	if (progress->drawn)
		fputs("\r\033[K", stderr);
	progress->drawn = false;
	progress->enabled = false;
}
