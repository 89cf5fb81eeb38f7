/* SPDX-License-Identifier: MIT */
/*
 * What it costs to clone an address space again and again, and to map a file copy on write. Usage: space [DIRECTORY]
 * (of the file; $TMPDIR or /tmp). Prints a record a measurement.
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <uvm/space.h>

#include "base/clock.h"
#include "base/size.h"
#include "report/report.h"

#define CLONES      512
#define GROUP       64
#define SPACE_BYTES (16 * MiB)
#define FILE_BYTES  (256 * MiB)
#define COPYING     (UVM_MAP_READ | UVM_MAP_WRITE | UVM_MAP_COPY_ON_WRITE | UVM_MAP_FIXED)

static const struct report_column columns[] = {
	{"what", "WHAT", COLUMN_TEXT},
	{"ms", "MS", COLUMN_TEXT},
	{"descriptors", "DESCRIPTORS", COLUMN_NUMBER},
	{NULL, NULL, COLUMN_TEXT},
};

static void must(int rc, const char *what)
{
	if (rc == 0)
		return;
	fprintf(stderr, "bench space: %s: %s\n", what, uvm_mem_error_name(rc));
	exit(1);
}

static int count_descriptors(void)
{
	DIR *directory = opendir("/proc/self/fd");
	int count = -1; /* its own */

	while (directory && readdir(directory))
		count++;
	if (directory)
		closedir(directory);
	return count - 2;
}

static void print_time(struct report *report, const char *what, uint64_t begun)
{
	double ms = (double)(clock_now_ns() - begun) / 1e6;

	report_record(report, json_pack("{s:s, s:s, s:f, s:i}", "type", "measurement", "what", what, "ms", ms,
					"descriptors", count_descriptors()));
}

static struct uvm_space *show(struct uvm_mappable *mappable, uint64_t bytes, unsigned int flags, char **at)
{
	struct uvm_space *space;
	struct uvm_region window;
	uint64_t start;

	must(uvm_space_create(bytes, &space), "create a space");
	must(uvm_space_get_window(space, &window), "find its window");
	start = window.start;
	must(uvm_space_map(space, mappable, (struct uvm_region){0, bytes - 1}, &start, flags), "map");
	*at = (char *)start; /* NOLINT(performance-no-int-to-ptr) */
	return space;
}

static void clone_often(struct report *report)
{
	static struct uvm_space *clones[CLONES];
	struct uvm_mappable *memory;
	struct uvm_space *space;
	uint64_t begun = 0;
	char *at, what[64];

	must(uvm_mappable_create_memory(SPACE_BYTES, 0, &memory), "make memory");
	space = show(memory, SPACE_BYTES, UVM_MAP_READ | UVM_MAP_WRITE | UVM_MAP_FIXED, &at);
	memset(at, 1, SPACE_BYTES);
	for (int i = 0; i < CLONES; i++) {
		if (i % GROUP == 0)
			begun = clock_now_ns();
		must(uvm_space_clone(space, 0, &clones[i]), "clone");
		snprintf(what, sizeof(what), "%d clones, after %d", GROUP, i + 1 - GROUP);
		if (i + 1 == GROUP || i + 1 == CLONES)
			print_time(report, what, begun);
	}
	begun = clock_now_ns();
	*at = 2;
	print_time(report, "writing to a page that all show", begun);
	begun = clock_now_ns();
	for (int i = 0; i < CLONES; i++)
		uvm_space_unref(clones[i]);
	print_time(report, "their end", begun);
	uvm_space_unref(space);
	uvm_mappable_unref(memory);
}

static int make_file(const char *directory)
{
	static char block[MiB];
	char path[256];
	int fd;

	snprintf(path, sizeof(path), "%s/uvm-bench-XXXXXX", directory);
	fd = mkstemp(path);
	if (fd < 0)
		return fd;
	unlink(path);
	memset(block, 1, sizeof(block));
	for (uint64_t done = 0; done < FILE_BYTES; done += sizeof(block))
		if (write(fd, block, sizeof(block)) != (ssize_t)sizeof(block))
			return -1;
	return fd;
}

static void copy_file(struct report *report, const char *directory)
{
	struct uvm_mappable *file;
	struct uvm_space *space;
	int fd = make_file(directory), sum = 0;
	uint64_t begun;
	char *at;

	must(fd < 0 ? UVM_MEM_IO_ERROR : 0, "make a file");
	must(uvm_mappable_create_file(fd, &file), "make a mappable of it");
	begun = clock_now_ns();
	space = show(file, FILE_BYTES, COPYING, &at);
	print_time(report, "mapping 256 MiB of a file copy on write", begun);
	begun = clock_now_ns();
	at[FILE_BYTES / 2] = 2;
	print_time(report, "writing to one page of it", begun);
	begun = clock_now_ns();
	for (uint64_t i = 0; i < FILE_BYTES; i += page_size())
		sum += ((volatile char *)at)[i];
	print_time(report, "reading all of it", begun);
	must(sum == (int)(FILE_BYTES / page_size()) + 1 ? 0 : UVM_MEM_IO_ERROR, "read what was written");
	uvm_space_unref(space);
	uvm_mappable_unref(file);
	close(fd);
}

int main(int argc, char **argv)
{
	const char *directory = argc > 1 ? argv[1] : getenv("TMPDIR");
	struct report *report;
	const char *why;

	if (report_open(&report, &(struct report_style){0}, columns, "measurement", &why))
		return 1;
	clone_often(report);
	copy_file(report, directory ? directory : "/tmp");
	return report_close(report) ? 1 : 0;
}
