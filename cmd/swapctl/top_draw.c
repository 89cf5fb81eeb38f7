/* SPDX-License-Identifier: MIT */
/* swapctl top: the screen. */
#include <curses.h>
#include <string.h>

#include "base/size.h"
#include "top.h"

#define HEAD_LINES 3 /* sums, sort and filter, titles */
#define FOOT_LINES 1

/* Prints a line from the left, as much of it as there is room for. */
__attribute__((format(printf, 2, 3))) static void draw_line(int line, const char *format, ...)
{
	char text[512];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	mvaddnstr(line, 0, text, COLS);
}

static bool matches_filter(const struct top_view *view, const struct top_row *row)
{
	return !*view->filter || strstr(row->comm, view->filter);
}

size_t top_matching(const struct top_view *view)
{
	size_t count = 0;

	for (size_t i = 0; i < view->sample.count; i++)
		count += matches_filter(view, &view->sample.rows[i]);
	return count;
}

const struct top_row *top_selected(const struct top_view *view)
{
	size_t at = 0;

	for (size_t i = 0; i < view->sample.count; i++)
		if (matches_filter(view, &view->sample.rows[i]) && at++ == view->selected)
			return &view->sample.rows[i];
	return NULL;
}

static void draw_sums(const struct top_view *view)
{
	uint64_t resident = 0, out = 0, store = 0;
	char texts[3][SIZE_TEXT];

	for (size_t i = 0; i < view->sample.count; i++) {
		const struct top_row *row = &view->sample.rows[i];

		if (!matches_filter(view, row))
			continue;
		resident += row->resident;
		out += row->out;
		store += row->store;
	}
	draw_line(0, "swapctl: %zu shown, %s resident, %s out (%s stored)", top_matching(view),
		  size_format(texts[0], resident), size_format(texts[1], out), size_format(texts[2], store));
}

static void draw_settings(const struct top_view *view)
{
	static const char *const sorts[] = {"out", "resident", "store", "faults", "wait", "refaults"};
	uint64_t cost = 0;
	char text[SIZE_TEXT];

	for (size_t i = 0; i < view->sample.count; i++)
		cost += matches_filter(view, &view->sample.rows[i]) ? view->sample.rows[i].cost : 0;
	draw_line(1, "sorted by %s  sessions take %s  filter: %s%s", sorts[view->sort], size_format(text, cost),
		  view->filter, view->typing ? "_" : "");
}

static void draw_titles(void)
{
	attron(A_REVERSE);
	draw_line(2, "%7s %-15s %10s %10s %10s %6s %8s %6s %10s %9s %s", "PID", "COMMAND", "RESIDENT", "OUT", "STORE",
		  "RATIO", "FAULTS/S", "WAIT%", "REFAULTS/S", "COST", "STATE");
	clrtoeol();
	attroff(A_REVERSE);
}

static void draw_row(int line, const struct top_row *row, bool selected)
{
	char texts[4][SIZE_TEXT];
	char ratio[16] = "-";

	if (row->store)
		snprintf(ratio, sizeof(ratio), "%.1f", (double)row->out / (double)row->store);
	if (selected)
		attron(A_BOLD);
	draw_line(line, "%c%6d %-15.15s %10s %10s %10s %6s %8.0f %6.1f %10.0f %9s %s", selected ? '>' : ' ', row->pid,
		  row->comm, size_format(texts[0], row->resident), size_format(texts[1], row->out),
		  size_format(texts[2], row->store), ratio, row->faults_s, row->wait_share, row->refaults_s,
		  size_format(texts[3], row->cost), *row->state ? row->state : "-");
	attroff(A_BOLD);
}

/* So many rows as there is room for, the selected one among them. */
static void draw_rows(const struct top_view *view)
{
	size_t room = LINES > HEAD_LINES + FOOT_LINES ? (size_t)(LINES - HEAD_LINES - FOOT_LINES) : 0;
	size_t first = view->selected >= room && room ? view->selected - room + 1 : 0;
	size_t at = 0;

	for (size_t i = 0; i < view->sample.count && at < first + room; i++) {
		if (!matches_filter(view, &view->sample.rows[i]))
			continue;
		if (at >= first)
			draw_row(HEAD_LINES + (int)(at - first), &view->sample.rows[i], at == view->selected);
		at++;
	}
}

static void draw_foot(const struct top_view *view)
{
	if (*view->question)
		draw_line(LINES - 1, "%s (y/n)", view->question);
	else if (*view->message)
		draw_line(LINES - 1, "%s", view->message);
	else
		draw_line(LINES - 1, "q quit  s sort  / filter  o out  i in  d detach");
}

void top_draw(const struct top_view *view)
{
	erase();
	draw_sums(view);
	draw_settings(view);
	draw_titles();
	draw_rows(view);
	draw_foot(view);
	refresh();
}
