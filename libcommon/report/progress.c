/* SPDX-License-Identifier: MIT */
/* Progress of long work, for people at a terminal. */
#include <inttypes.h>
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

/* The rate, and at that rate the time that is left. */
static void print_pace(uint64_t done, uint64_t total, uint64_t elapsed_us)
{
	double rate = (double)done * 1e6 / (double)elapsed_us;
	char text[SIZE_TEXT];

	if (total)
		fprintf(stderr, " (%.0f%%)", 100.0 * (double)min_u64(done, total) / (double)total);
	fprintf(stderr, ", %s/s", size_format(text, (uint64_t)rate));
	if (rate > 0 && done < total)
		fprintf(stderr, ", %s left", duration_format(text, (uint64_t)((double)(total - done) / rate * 1e6)));
}

/* Whether it is time to draw it again, at `now`. */
static bool is_due(struct progress *progress, uint64_t now)
{
	if (now - progress->started_us < FIRST_SHOWN_US || now - progress->shown_us < INTERVAL_US)
		return false;
	progress->shown_us = now;
	progress->drawn = true;
	return true;
}

void progress_update(struct progress *progress, uint64_t done, uint64_t total)
{
	char done_text[SIZE_TEXT], total_text[SIZE_TEXT];
	uint64_t now = progress->enabled ? now_us() : 0;

	if (!progress->enabled || !is_due(progress, now))
		return;
	fprintf(stderr, "\r\033[K%s: %s of %s", progress->what, size_format(done_text, done),
		size_format(total_text, total));
	print_pace(done, total, now - progress->started_us);
	fflush(stderr);
}

void progress_wait(struct progress *progress, uint64_t left_us)
{
	if (!progress->enabled || !is_due(progress, now_us()))
		return;
	fprintf(stderr, "\r\033[K%s: %" PRIu64 " s left", progress->what, left_us / 1000000);
	fflush(stderr);
}

void progress_end(struct progress *progress)
{
	if (progress->drawn)
		fputs("\r\033[K", stderr);
	progress->drawn = false;
	progress->enabled = false;
}
