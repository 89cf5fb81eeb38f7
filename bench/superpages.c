/* SPDX-License-Identifier: MIT */
/*
 * How long superpages takes over a process, beside the bare PAGEMAP_SCAN ioctl and beside reading smaps.
 * Usage: superpages PROGRAM [GIB] (the tool to time, and how much is in core: 8). Prints a record a measurement: the
 * median of several runs, all kinds in turns.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/size.h"
#include "pages/pages.h"
#include "pages/uapi.h"
#include "report/report.h"

#define RUNS      7
#define SUPERPAGE (2 * MiB)
#define RANGES    4096

/* A process with `touched` bytes spread evenly, in whole superpages, over `reserved`. */
struct victim {
	char name[40];
	uint64_t reserved, touched;
	pid_t pid;
	struct region region;
};

static const struct report_column columns[] = {
	{"process", "PROCESS", COLUMN_TEXT}, {"what", "WHAT", COLUMN_TEXT}, {"ms", "MS", COLUMN_TEXT},
	{"ratio", "TO IOCTL", COLUMN_TEXT},  {NULL, NULL, COLUMN_TEXT},
};

static const char *program;

static int victim_run(const struct victim *victim, char *at, int ready)
{
	uint64_t count = victim->touched / SUPERPAGE, stride = victim->reserved / count / SUPERPAGE * SUPERPAGE;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (uint64_t i = 0; i < count; i++)
		for (uint64_t j = 0; j < SUPERPAGE; j += page_size())
			at[i * stride + j] = 1;
	if (write(ready, "r", 1) != 1)
		return 1;
	for (;;)
		pause();
}

static int victim_start(struct victim *victim)
{
	char *hole = mmap(NULL, victim->reserved + SUPERPAGE, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	char *at = (char *)(uintptr_t)round_up((uintptr_t)hole, SUPERPAGE), byte;
	int ready[2];

	if (hole == MAP_FAILED || madvise(hole, victim->reserved + SUPERPAGE, MADV_NOHUGEPAGE) ||
	    pipe2(ready, O_CLOEXEC))
		return -errno;
	victim->region = (struct region){(uintptr_t)at, (uintptr_t)at + victim->reserved};
	victim->pid = fork();
	if (!victim->pid)
		_exit(victim_run(victim, at, ready[1]));
	munmap(hole, victim->reserved + SUPERPAGE);
	close(ready[1]);
	if (victim->pid < 0 || read(ready[0], &byte, 1) != 1) {
		close(ready[0]);
		return -EIO;
	}
	close(ready[0]);
	return 0;
}

static int open_of(const struct victim *victim, const char *name)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/%s", victim->pid, name);
	return open(path, O_RDONLY | O_CLOEXEC);
}

static int run_ioctl(const struct victim *victim)
{
	static struct page_region ranges[RANGES];
	_cleanup_close_ int fd = open_of(victim, "pagemap");
	struct pm_scan_arg arg = {
		.size = sizeof(arg),
		.start = victim->region.start,
		.end = victim->region.end,
		.vec = (uintptr_t)ranges,
		.vec_len = RANGES,
		.category_anyof_mask = PAGE_IS_PRESENT | PAGE_IS_SWAPPED,
		.return_mask = PAGE_IS_PRESENT | PAGE_IS_SWAPPED | PAGE_IS_HUGE,
	};

	for (; arg.start < arg.end; arg.start = arg.walk_end)
		if (ioctl(fd, PAGEMAP_SCAN, &arg) < 0)
			return -errno;
	return 0;
}

static int count_superpage(void *context, struct region superpage, const struct residency *residency)
{
	uint64_t *resident = context;

	(void)superpage;
	*resident += residency->resident;
	return 0;
}

static int run_method(const struct victim *victim, enum pages_method method)
{
	_cleanup_close_ int fd = open_of(victim, "pagemap");
	struct pages pages = {.method = method, .pagemap_fd = fd};
	uint64_t resident = 0;
	int result = pages_open(&pages);

	if (!result)
		result = pages_superpages(&pages, victim->region, SUPERPAGE, true, count_superpage, &resident);
	return result || resident == victim->touched ? result : -EIO;
}

static int run_scan(const struct victim *victim)
{
	return run_method(victim, PAGES_SCAN);
}

static int run_pagemap(const struct victim *victim)
{
	return run_method(victim, PAGES_PAGEMAP);
}

static int run_smaps(const struct victim *victim)
{
	_cleanup_close_ int fd = open_of(victim, "smaps");
	static char buffer[65536];
	ssize_t got;

	while ((got = read(fd, buffer, sizeof(buffer))) > 0)
		;
	return got < 0 ? -errno : 0;
}

static int run_with(const struct victim *victim, const char *option)
{
	pid_t pid = fork();
	char text[16];
	int status;

	if (!pid) {
		int null = open("/dev/null", O_WRONLY | O_CLOEXEC);

		snprintf(text, sizeof(text), "%d", victim->pid);
		dup2(null, STDOUT_FILENO);
		execl(program, program, "-p", text, option, (char *)NULL);
		_exit(127);
	}
	return pid > 0 && waitpid(pid, &status, 0) == pid && status == 0 ? 0 : -EIO;
}

static int run_program(const struct victim *victim)
{
	return run_with(victim, NULL);
}

static int run_program_merging(const struct victim *victim)
{
	return run_with(victim, "--merge");
}

static const struct {
	const char *what;
	int (*run)(const struct victim *victim);
} kinds[] = {
	{"PAGEMAP_SCAN ioctl, bare", run_ioctl}, {"superpages, library", run_scan},
	{"superpages, program", run_program},    {"superpages --merge, program", run_program_merging},
	{"superpages, by pagemap", run_pagemap}, {"reading smaps", run_smaps},
};

static int by_time(const void *a, const void *b)
{
	uint64_t one = *(const uint64_t *)a, other = *(const uint64_t *)b;

	return one < other ? -1 : one > other;
}

static int measure(const struct victim *victim, struct report *report)
{
	uint64_t times[ARRAY_SIZE(kinds)][RUNS];
	const size_t middle = RUNS / 2;

	for (size_t run = 0; run < RUNS; run++) {
		for (size_t kind = 0; kind < ARRAY_SIZE(kinds); kind++) {
			uint64_t begun = now_us();
			int result = kinds[kind].run(victim);

			if (result)
				return result;
			times[kind][run] = now_us() - begun;
		}
	}
	for (size_t kind = 0; kind < ARRAY_SIZE(kinds); kind++) {
		double us;
		int result;

		qsort(times[kind], RUNS, sizeof(times[kind][0]), by_time);
		us = (double)times[kind][middle];
		result = report_record(report, json_pack("{s:s, s:s, s:s, s:I, s:I, s:f, s:f}", "type", "measurement",
							 "process", victim->name, "what", kinds[kind].what,
							 "reserved_bytes", (json_int_t)victim->reserved,
							 "resident_bytes", (json_int_t)victim->touched, "ms", us / 1000,
							 "ratio", us / (double)times[0][middle]));
		if (result)
			return result;
	}
	return 0;
}

int main(int argc, char **argv)
{
	uint64_t most = (argc > 2 ? strtoull(argv[2], NULL, 10) : 8) * GiB;
	struct victim victims[] = {
		{"512 MiB resident", 512 * MiB, 512 * MiB, 0, {0, 0}},
		{"", most, most, 0, {0, 0}},
		{"", TiB, most, 0, {0, 0}},
	};
	struct report *report;
	const char *why;
	int result = 0;

	snprintf(victims[1].name, sizeof(victims[1].name), "%u GiB resident", (unsigned int)(most / GiB));
	snprintf(victims[2].name, sizeof(victims[2].name), "1 TiB reserved, %s", victims[1].name);
	program = argc > 1 ? argv[1] : "superpages";
	if (report_open(&report, &(struct report_style){0}, columns, "measurement", &why))
		return 1;
	for (size_t i = 0; !result && i < ARRAY_SIZE(victims); i++) {
		result = victim_start(&victims[i]);
		if (!result)
			result = measure(&victims[i], report);
		if (victims[i].pid > 0) {
			kill(victims[i].pid, SIGKILL);
			waitpid(victims[i].pid, NULL, 0);
		}
	}
	if (result)
		fprintf(stderr, "bench superpages: %s\n", strerror(-result));
	return report_close(report) || result ? 1 : 0;
}
