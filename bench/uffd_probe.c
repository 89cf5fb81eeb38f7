/* SPDX-License-Identifier: MIT */
/*
 * How long uffd-probe takes from start to exit, beside a program that does nothing. Usage: uffd_probe PROGRAM (the tool
 * to time). Prints a record a measurement: median and 99th percentile of many runs, all kinds in turns.
 */
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "base/cleanup.h"
#include "base/size.h"
#include "report/report.h"

#define RUNS 200

static const char *program;

static const struct {
	const char *what;
	const char *path; /* NULL: the tool */
	const char *options[3];
} kinds[] = {
	{"/bin/true", "/bin/true", {NULL}},
	{"uffd-probe --version", NULL, {"--version", NULL}},
	{"uffd-probe", NULL, {NULL}},
	{"uffd-probe --require move", NULL, {"--require", "move", NULL}},
	{"uffd-probe --exercise", NULL, {"--exercise", NULL}},
};

static const struct report_column columns[] = {
	{"what", "WHAT", COLUMN_TEXT},     {"p50_us", "P50 US", COLUMN_NUMBER}, {"p99_us", "P99 US", COLUMN_NUMBER},
	{"ratio", "TO TRUE", COLUMN_TEXT}, {NULL, NULL, COLUMN_TEXT},
};

static int run(size_t kind, uint64_t *us)
{
	const char *path = kinds[kind].path ? kinds[kind].path : program;
	const char *words[4] = {path, kinds[kind].options[0], kinds[kind].options[1], NULL};
	posix_spawn_file_actions_t actions;
	uint64_t begun = now_us();
	int status = 0, result;
	pid_t pid;

	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
	result = posix_spawn(&pid, path, &actions, NULL, (char **)words, environ);
	posix_spawn_file_actions_destroy(&actions);
	if (result)
		return -result;
	if (waitpid(pid, &status, 0) != pid || status)
		return -EIO;
	*us = now_us() - begun;
	return 0;
}

static int by_time(const void *a, const void *b)
{
	uint64_t one = *(const uint64_t *)a, other = *(const uint64_t *)b;

	return one < other ? -1 : one > other;
}

static int measure(struct report *report)
{
	static uint64_t times[ARRAY_SIZE(kinds)][RUNS];
	const size_t middle = RUNS / 2, high = RUNS * 99 / 100;
	int result = 0;

	for (size_t i = 0; i < RUNS; i++)
		for (size_t kind = 0; !result && kind < ARRAY_SIZE(kinds); kind++)
			result = run(kind, &times[kind][i]);
	for (size_t kind = 0; !result && kind < ARRAY_SIZE(kinds); kind++) {
		const uint64_t *sorted = times[kind];

		qsort(times[kind], RUNS, sizeof(times[kind][0]), by_time);
		result = report_record(report,
				       json_pack("{s:s, s:s, s:s, s:i, s:I, s:I, s:f}", "type", "bench", "name",
						 "uffd_probe_start", "what", kinds[kind].what, "runs", RUNS, "p50_us",
						 (json_int_t)sorted[middle], "p99_us", (json_int_t)sorted[high],
						 "ratio", (double)sorted[middle] / (double)times[0][middle]));
	}
	return result;
}

int main(int argc, char **argv)
{
	struct report *report;
	const char *why;
	int result;

	program = argc > 1 ? argv[1] : "build/bin/uffd-probe";
	if (report_open(&report, &(struct report_style){.format = (char[]){"json"}}, columns, "bench", &why))
		return 1;
	result = measure(report);
	if (result)
		fprintf(stderr, "bench uffd_probe: %s: %s\n", program, strerror(-result));
	return report_close(report) || result ? 1 : 0;
}
