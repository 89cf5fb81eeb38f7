/* SPDX-License-Identifier: MIT */
/* uvm-plot latency: how long faults took, of all sessions in the records together; a bar a doubling. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "plot.h"

#define BARS 64

struct bars {
	double counts[BARS];
	double total;
};

/* What the last record of a session says, which counts from its beginning. */
struct session {
	pid_t pid;
	uint64_t starttime;
	struct bars bars;
};

struct latencies {
	struct session *sessions;
	size_t count, size;
	struct bars all; /* of sessions that are over, and in the end of all */
};

static void add_bars(struct bars *to, const struct bars *bars)
{
	for (size_t i = 0; i < BARS; i++)
		to->counts[i] += bars->counts[i];
	to->total += bars->total;
}

/* Returns 0 or -EINVAL. */
static int read_histogram(const json_t *histogram, struct bars *bars)
{
	const json_t *step;
	json_int_t ns = 0;
	size_t i;

	json_array_foreach(histogram, i, step) {
		const json_t *bound = json_object_get(step, "le_ns");
		json_int_t count = json_integer_value(json_object_get(step, "faults"));

		/* What has no bound is drawn as if it were the next doubling. */
		ns = json_is_null(bound) ? ns > INT64_MAX / 2 ? ns : 2 * ns : json_integer_value(bound);
		if (ns < 0 || count < 0)
			return -EINVAL;
		bars->counts[ns > 1 ? (size_t)log2((double)(ns - 1)) : 0] += (double)count;
		bars->total += (double)count;
	}
	return 0;
}

/* The session of a process, a new one where there is none; NULL without memory. */
static struct session *find_session(struct latencies *latencies, const json_t *record)
{
	struct session session = {.pid = (pid_t)input_number(record, "pid"),
				  .starttime = input_number(record, "starttime")};

	for (size_t i = 0; i < latencies->count; i++)
		if (latencies->sessions[i].pid == session.pid && latencies->sessions[i].starttime == session.starttime)
			return &latencies->sessions[i];
	if (array_reserve(&latencies->sessions, latencies->count, &latencies->size) < 0)
		return NULL;
	latencies->sessions[latencies->count] = session;
	return &latencies->sessions[latencies->count++];
}

/* With --interval a session has many records. One that counts less is of another session of the same process. */
static int take_session(void *context, const json_t *record, const char **why)
{
	struct latencies *latencies = context;
	const json_t *histogram = json_object_get(record, "fault_histogram");
	struct session *session;
	struct bars bars = {0};

	if (!histogram)
		return 0;
	if (read_histogram(histogram, &bars) < 0) {
		*why = "\"fault_histogram\" has a time or a number below 0";
		return -EINVAL;
	}
	session = find_session(latencies, record);
	if (!session)
		return -ENOMEM;
	if (bars.total < session->bars.total)
		add_bars(&latencies->all, &session->bars);
	session->bars = bars;
	return 0;
}

static bool has_faults(const void *data)
{
	const struct latencies *latencies = data;
	double total = latencies->all.total;

	for (size_t i = 0; i < latencies->count; i++)
		total += latencies->sessions[i].bars.total;
	return total > 0;
}

/* In microseconds. */
static double bar_begin(size_t bar)
{
	return exp2((double)bar) / 1000;
}

/* The end of the bar in which that part of all faults has been. */
static double find_percentile(const struct bars *bars, double percent)
{
	double seen = 0;
	size_t bar = 0;

	for (; bar < BARS - 1; bar++) {
		seen += bars->counts[bar];
		if (seen >= bars->total * percent / 100)
			break;
	}
	return bar_begin(bar + 1);
}

/* Behind the point. */
static int digits_of(double level)
{
	return level < 100 ? 1 : 0;
}

static int draw_bars(void *data, const struct canvas *canvas, FILE *script)
{
	static const char *const colors[] = {"#2b8a3e", "#c92a2a"};
	struct latencies *latencies = data;
	struct bars *bars = &latencies->all;
	size_t first = 0, last = BARS - 1;
	double levels[2];

	(void)canvas;
	for (size_t i = 0; i < latencies->count; i++)
		add_bars(bars, &latencies->sessions[i].bars);
	levels[0] = find_percentile(bars, 50);
	levels[1] = find_percentile(bars, 99);
	while (bars->counts[first] == 0)
		first++;
	while (bars->counts[last] == 0)
		last--;
	fputs("$bars << END\n", script);
	for (size_t i = first; i <= last; i++)
		fprintf(script, "%g %g %g\n", (bar_begin(i) + bar_begin(i + 1)) / 2, bars->counts[i],
			bar_begin(i + 1) - bar_begin(i));
	fprintf(script,
		"END\nset logscale x\nset xrange [%g:%g]\nset yrange [0:*]\nset xlabel 'microseconds'\n"
		"set ylabel 'faults'\nset style fill solid 0.6 border\n",
		bar_begin(first) / 2, bar_begin(last + 1) * 2);
	for (size_t i = 0; i < ARRAY_SIZE(levels); i++)
		fprintf(script,
			"set arrow from %g, graph 0 to %g, graph 1 nohead front linewidth 2 linecolor rgb '%s'\n",
			levels[i], levels[i], colors[i]);
	fprintf(script,
		"plot $bars using 1:2:3 with boxes linecolor rgb '#4263eb' title '%.0f faults', "
		"NaN with lines linewidth 2 linecolor rgb '%s' title 'median %.*f us', "
		"NaN with lines linewidth 2 linecolor rgb '%s' title 'p99 %.*f us'\n",
		bars->total, colors[0], digits_of(levels[0]), levels[0], colors[1], digits_of(levels[1]), levels[1]);
	return 0;
}

int verb_latency(struct run *run)
{
	static const struct plot_kind kind = {
		.title = "How long faults took",
		.lacking = "it has no session records with faults, which swapctl status writes",
		.take = take_session,
		.has_data = has_faults,
		.draw = draw_bars,
	};
	struct latencies latencies = {0};
	int status = plot_run(run, &kind, &latencies);

	free(latencies.sessions);
	return status;
}
