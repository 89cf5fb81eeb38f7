/* SPDX-License-Identifier: MIT */
/* addrspace map and alloc: memory into a process. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/size.h"
#include "change.h"

#define MEMFD_NAME_MAX 249 /* NAME_MAX without "memfd:" */

/* What the options say, as they were written. */
struct texts {
	char *at, *size, *file, *memfd, *offset, *access, *align;
	int shared, private, fixed, replace, populate, lock;
};

/* What is mapped: an object beside the request. */
struct object {
	enum mapping_kind kind;
	const char *name;
	uint64_t bytes; /* of a file; 0 for what grows as asked */
	uint64_t inode;
};

static void texts_free(struct texts *texts)
{
	char **all[] = {&texts->at,     &texts->size,   &texts->file, &texts->memfd,
			&texts->offset, &texts->access, &texts->align};

	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		cleanup_free(all[i]);
}

#define _cleanup_texts_ __attribute__((cleanup(texts_free)))

/* Whole pages: a size is rounded up. */
static int parse_size(const struct run *run, const char *what, const char *text, uint64_t *bytes)
{
	if (size_parse(text, bytes) < 0 || !*bytes)
		return cli_usage_error(run->name, "%s%s is not a size above 0", what, text);
	*bytes = round_up(*bytes, page_size());
	return EXIT_DONE;
}

static int parse_at(const struct run *run, const struct texts *texts, struct map_request *request)
{
	request->fixed = texts->fixed;
	request->replace = texts->replace;
	if (texts->replace && !texts->fixed)
		return cli_usage_error(run->name, "--replace: only with --fixed");
	if (!texts->at)
		return texts->fixed ? cli_usage_error(run->name, "--fixed: --at is missing") : EXIT_DONE;
	if (address_parse(texts->at, &request->at) < 0 || request->at & (page_size() - 1) || !request->at)
		return cli_usage_error(run->name, "--at: %s is not the address of a page in hexadecimal", texts->at);
	return EXIT_DONE;
}

static int parse_align(const struct run *run, const struct texts *texts, struct map_request *request)
{
	if (!texts->align)
		return EXIT_DONE;
	if (texts->at)
		return cli_usage_error(run->name, "--align and --at: give one of them");
	if (size_parse(texts->align, &request->align) < 0 || !is_power_of_two(request->align) ||
	    request->align < page_size())
		return cli_usage_error(run->name, "--align: %s is not a power of two of at least a page", texts->align);
	return EXIT_DONE;
}

/* Objects that do not go together, and what they need. */
static int check_object(const struct run *run, const struct texts *texts)
{
	if (texts->file && texts->memfd)
		return cli_usage_error(run->name, "--file and --memfd: give one of them");
	if (!texts->file && !texts->size)
		return cli_usage_error(run->name, "how much? give --size%s", texts->memfd ? "" : " or --file");
	if (texts->offset && !texts->file)
		return cli_usage_error(run->name, "--offset: only with --file");
	if (texts->memfd && strlen(texts->memfd) > MEMFD_NAME_MAX)
		return cli_usage_error(run->name, "--memfd: a name can have %d bytes", MEMFD_NAME_MAX);
	if (texts->shared && texts->private)
		return cli_usage_error(run->name, "--shared and --private: give one of them");
	return EXIT_DONE;
}

static int parse_map(const struct run *run, const struct texts *texts, struct map_request *request)
{
	int status = check_object(run, texts);

	request->shared = texts->shared || (texts->memfd && !texts->private);
	request->populate = texts->populate;
	request->lock = texts->lock;
	request->protection = texts->file ? PROT_READ : PROT_READ | PROT_WRITE;
	if (status == EXIT_DONE && texts->access)
		status = parse_access(run, texts->access, &request->protection);
	if (status == EXIT_DONE && (texts->populate || texts->lock) && !(request->protection & PROT_READ))
		status = cli_usage_error(run->name, "%s: needs memory that can be read, see --access",
					 texts->lock ? "--lock" : "--populate");
	if (status == EXIT_DONE && texts->size)
		status = parse_size(run, "--size: ", texts->size, &request->bytes);
	if (status == EXIT_DONE && texts->offset &&
	    (size_parse(texts->offset, &request->offset) < 0 || request->offset & (page_size() - 1)))
		status = cli_usage_error(run->name, "--offset: %s is not a number of whole pages", texts->offset);
	return status == EXIT_DONE ? parse_at(run, texts, request) : status;
}

/* Beyond its last page a file has nothing: a touch there would end the program with SIGBUS. */
static int check_file(const char *path, struct map_request *request, struct object *object, struct error *error)
{
	struct stat st;

	if (fstat(request->fd, &st) < 0)
		return error_set(error, -errno, NULL, NULL, "map %s", path);
	if (!S_ISREG(st.st_mode))
		return error_set(error, -EINVAL, "it is not a regular file", NULL, "map %s", path);
	object->bytes = round_up((uint64_t)st.st_size, page_size());
	object->inode = st.st_ino;
	if (request->offset >= object->bytes)
		return error_set(error, -EINVAL, st.st_size ? "the file ends before that" : "the file is empty", NULL,
				 "map %s from offset %llu on", path, (unsigned long long)request->offset);
	if (!request->bytes)
		request->bytes = object->bytes - request->offset;
	if (request->bytes > object->bytes - request->offset)
		return error_set(error, -EINVAL, "the file is shorter", "a touch behind its end would be a SIGBUS",
				 "map %llu bytes of %s", (unsigned long long)request->bytes, path);
	return 0;
}

static int open_object(const struct texts *texts, struct map_request *request, struct object *object,
		       struct error *error)
{
	bool writes = request->shared && request->protection & PROT_WRITE;

	*object = (struct object){.kind = request->shared ? MAPPING_SHMEM : MAPPING_ANON, .name = ""};
	if (texts->file) {
		object->kind = MAPPING_FILE;
		object->name = texts->file;
		request->fd = open(texts->file, (writes ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
		if (request->fd < 0)
			return error_set(error, -errno, NULL, NULL, "open %s", texts->file);
		return check_file(texts->file, request, object, error);
	}
	if ((request->populate || request->lock) && !machine_holds(request->bytes, request->lock))
		return error_set(error, -ENOMEM, "this machine has less", "leave out --populate and --lock",
				 "map %llu bytes with all pages there", (unsigned long long)request->bytes);
	if (!texts->memfd)
		return 0;
	object->kind = MAPPING_SHMEM;
	request->fd = memfd_create(texts->memfd, MFD_CLOEXEC);
	if (request->fd < 0 || ftruncate(request->fd, (off_t)request->bytes) < 0)
		return error_set(error, -errno, NULL, NULL, "make a memfd of %llu bytes",
				 (unsigned long long)request->bytes);
	return 0;
}

/* What is to be replaced must not be relied on; what is in the way of a dry run is told as the kernel would. */
static int look_at_place(struct change *change, const struct map_request *request, bool *occupied, struct error *error)
{
	_cleanup_regions_ struct region_vec regions = {0};
	_cleanup_pieces_ struct pieces pieces = {0};
	int rc;

	*occupied = false;
	if (!request->at)
		return 0;
	if (request->at + request->bytes < request->at)
		return error_set(error, -EINVAL, "it goes beyond the last address", NULL, "map memory");
	if (request->replace &&
	    region_overlaps(change->inject.area, (struct region){request->at, request->at + request->bytes}))
		return error_set(error, -EAGAIN, "the control area of this run came to lie there", "run it again",
				 "map memory in process %d", change->run.target.pid);
	if (region_vec_push(&regions, (struct region){request->at, request->at + request->bytes}) < 0)
		return error_set(error, -ENOMEM, NULL, NULL, "map memory");
	if (request->replace)
		return change_look(change, &regions, TAKES_ALL, &pieces, error);
	rc = pieces_read(&change->run.target, NULL, &regions, &pieces);
	for (size_t i = 0; rc == 0 && i < pieces.count; i++)
		*occupied |= pieces.items[i].mapped;
	return rc < 0 ? error_set(error, rc, NULL, NULL, "look at process %d", change->run.target.pid) : 0;
}

/* What would be mapped; where, if that is known. */
static json_t *planned_record(const struct change *change, const struct map_request *request,
			      const struct object *object, uint64_t start)
{
	struct mapping mapping = {
		.region = {start, start + request->bytes},
		.offset = request->offset,
		.inode = object->inode,
		.read = request->protection & PROT_READ,
		.write = request->protection & PROT_WRITE,
		.execute = request->protection & PROT_EXEC,
		.shared = request->shared,
		.kind = object->kind,
	};
	json_t *record;

	snprintf(mapping.perm, sizeof(mapping.perm), "%c%c%c%c", mapping.read ? 'r' : '-', mapping.write ? 'w' : '-',
		 mapping.execute ? 'x' : '-', mapping.shared ? 's' : 'p');
	snprintf(mapping.name, sizeof(mapping.name), "%s", object->name);
	record = mapping_record(&change->run.target, &mapping, mapping.region);
	if (record && !start) {
		json_object_set_new(record, "start", json_null());
		json_object_set_new(record, "end", json_null());
	}
	return record;
}

/* What is mapped now, as the kernel tells it; as it was asked for when the process has changed it already. */
static json_t *mapped_record(const struct change *change, const struct map_request *request,
			     const struct object *object, uint64_t start)
{
	_cleanup_close_ int maps_fd = target_proc_open(&change->run.target, "maps", O_RDONLY);
	struct region region = {start, start + request->bytes};
	struct mapping mapping;

	if (maps_fd < 0 || mapping_at(maps_fd, start, &mapping) <= 0 || !region_contains(mapping.region, region))
		return planned_record(change, request, object, start);
	return mapping_record(&change->run.target, &mapping, region);
}

static int do_map(struct change *change, const struct map_request *request, const struct object *object,
		  struct error *error)
{
	uint64_t start = 0;
	bool occupied;
	int rc = look_at_place(change, request, &occupied, error);

	if (rc < 0)
		return rc;
	if (change->dry_run && occupied && request->fixed)
		return error_set(error, -EEXIST, "something is mapped there", "--replace takes its place",
				 "map memory in process %d", change->run.target.pid);
	if (change->dry_run) {
		change_report(change, planned_record(change, request, object, occupied ? 0 : request->at),
			      request->bytes);
		return 0;
	}
	rc = inject_map(&change->inject, request, &start, error);
	if (start)
		change_report(change, mapped_record(change, request, object, start), request->bytes);
	return rc;
}

static int map(struct change *change, const struct texts *texts, struct map_request *request)
{
	struct error error = {0};
	struct object object;
	int rc = run_open(&change->run, mapping_columns, "region", false);

	if (rc != EXIT_DONE)
		return rc;
	rc = open_object(texts, request, &object, &error);
	if (rc == 0)
		rc = change_open(change, &error);
	request->interrupted = change->interrupted;
	if (rc == 0)
		rc = do_map(change, request, &object, &error);
	cleanup_close(&request->fd);
	return change_close(change, rc, &error);
}

int verb_map(int argc, const char **argv)
{
	_cleanup_change_ struct change change = CHANGE_NONE("map", "mmap");
	_cleanup_texts_ struct texts texts = {0};
	struct run *run = &change.run;
	const struct poptOption options[] = {
		{"size", 0, POPT_ARG_STRING, &texts.size, 0, "how much; of a file all of it, without", "BYTES"},
		{"file", 0, POPT_ARG_STRING, &texts.file, 0, "map a file", "FILE"},
		{"offset", 0, POPT_ARG_STRING, &texts.offset, 0, "from there on in the file", "BYTES"},
		{"memfd", 0, POPT_ARG_STRING, &texts.memfd, 0, "map a new memfd with that name", "NAME"},
		{"at", 0, POPT_ARG_STRING, &texts.at, 0, "there, or elsewhere if it is occupied", "ADDR"},
		{"fixed", 0, POPT_ARG_NONE, &texts.fixed, 0, "there, or not at all", NULL},
		{"replace", 0, POPT_ARG_NONE, &texts.replace, 0, "with --fixed: in place of what is there", NULL},
		{"access", 0, POPT_ARG_STRING, &texts.access, 0, "some of the letters rwx, or --- (rw; r of a file)",
		 "ACCESS"},
		{"private", 0, POPT_ARG_NONE, &texts.private, 0, "copy on write (default but for a memfd)", NULL},
		{"shared", 0, POPT_ARG_NONE, &texts.shared, 0, "write to the object itself", NULL},
		{"populate", 0, POPT_ARG_NONE, &texts.populate, 0, "with all pages there, or not at all", NULL},
		{"lock", 0, POPT_ARG_NONE, &texts.lock, 0, "with all pages there and locked, or not at all", NULL},
		DRY_RUN_OPTION(change),
		FORCE_OPTION(change),
		POPT_TABLEEND,
	};
	const struct cli_popt_tool tool = {
		.name = "addrspace map",
		.usage = "-p PID --size BYTES|--file FILE [OPTION...]",
		.about = "Maps anonymous memory, a file or a memfd into a process.",
		.options = options,
		.takes = CLI_TAKES_PID,
	};
	struct map_request request = {.fd = -1};
	int status;

	if (cli_popt_parse(&tool, argc, argv, &run->options, NULL, &status))
		return status;
	status = parse_map(run, &texts, &request);
	if (status == EXIT_DONE)
		status = map(&change, &texts, &request);
	return run_finish(run, status);
}

static int parse_alloc(const struct run *run, const struct texts *texts, const char *bytes, struct map_request *request)
{
	int status;

	if (!bytes)
		return cli_usage_error(run->name, "how much? give BYTES (see %s --help)", run->name);
	request->protection = PROT_READ | PROT_WRITE;
	request->populate = texts->populate;
	request->lock = texts->lock;
	status = parse_size(run, "", bytes, &request->bytes);
	if (status == EXIT_DONE)
		status = parse_at(run, texts, request);
	return status == EXIT_DONE ? parse_align(run, texts, request) : status;
}

int verb_alloc(int argc, const char **argv)
{
	_cleanup_change_ struct change change = CHANGE_NONE("alloc", "mmap");
	_cleanup_texts_ struct texts texts = {0};
	_cleanup_operands_ char **words = NULL;
	struct run *run = &change.run;
	int zero = 0; /* what the kernel gives is zeroed in any case */
	const struct poptOption options[] = {
		{"at", 0, POPT_ARG_STRING, &texts.at, 0, "there, or elsewhere if it is occupied", "ADDR"},
		{"fixed", 0, POPT_ARG_NONE, &texts.fixed, 0, "there, or not at all", NULL},
		{"align", 0, POPT_ARG_STRING, &texts.align, 0, "at a multiple of that, a power of two", "BYTES"},
		{"zero", 0, POPT_ARG_NONE, &zero, 0, "zeros, which it always is", NULL},
		{"commit", 0, POPT_ARG_NONE, &texts.populate, 0, "with all its memory, or not at all", NULL},
		{"lock", 0, POPT_ARG_NONE, &texts.lock, 0, "with all its memory locked, or not at all", NULL},
		DRY_RUN_OPTION(change),
		POPT_TABLEEND,
	};
	const struct cli_popt_tool tool = {
		.name = "addrspace alloc",
		.usage = "-p PID BYTES [OPTION...]",
		.about = "Allocates memory in a process: private, anonymous, to be read and written.",
		.options = options,
		.takes = CLI_TAKES_PID,
		.operands = 1,
	};
	struct map_request request = {.fd = -1};
	int status;

	if (cli_popt_parse(&tool, argc, argv, &run->options, &words, &status))
		return status;
	status = parse_alloc(run, &texts, words[0], &request);
	if (status == EXIT_DONE)
		status = map(&change, &texts, &request);
	return run_finish(run, status);
}
