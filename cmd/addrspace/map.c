/* SPDX-License-Identifier: MIT */
/* addrspace map and alloc: memory into a process. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/size.h"
#include "change.h"

#define MEMFD_NAME_MAX 249 /* NAME_MAX without "memfd:" */

/* What is mapped: an object beside the request. */
struct object {
	enum mapping_kind kind;
	const char *name;
	uint64_t bytes; /* of a file; 0 for what grows as asked */
	uint64_t inode;
};

static int check_place(const struct run *run, const struct map_request *request)
{
	return request->fixed && !request->at ? cli_usage_error(run->name, "--fixed: --at is missing") : EXIT_DONE;
}

/* What an object needs, and what it can have. */
static int check_object_words(const struct run *run, const struct addrspace_values *values,
			      const struct map_request *request)
{
	if (!values->file && !request->bytes)
		return cli_usage_error(run->name, "how much? give --size%s", values->memfd ? "" : " or --file");
	if (values->memfd && strlen(values->memfd) > MEMFD_NAME_MAX)
		return cli_usage_error(run->name, "--memfd: a name can have %d bytes", MEMFD_NAME_MAX);
	if ((request->populate || request->lock) && !(request->protection & PROT_READ))
		return cli_usage_error(run->name, "%s: needs memory that can be read, see --protection",
				       request->lock ? "--lock" : "--populate");
	return check_place(run, request);
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

static int open_object(const struct addrspace_values *values, struct map_request *request, struct object *object,
		       struct error *error)
{
	bool writes = request->shared && request->protection & PROT_WRITE;

	*object = (struct object){.kind = request->shared ? MAPPING_SHMEM : MAPPING_ANON, .name = ""};
	if (values->file) {
		object->kind = MAPPING_FILE;
		object->name = values->file;
		request->fd = open(values->file, (writes ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
		if (request->fd < 0)
			return error_set(error, -errno, NULL, NULL, "open %s", values->file);
		return check_file(values->file, request, object, error);
	}
	if ((request->populate || request->lock) && !machine_holds(request->bytes, request->lock))
		return error_set(error, -ENOMEM, "this machine has less", "leave out --populate and --lock",
				 "map %llu bytes with all pages there", (unsigned long long)request->bytes);
	if (!values->memfd)
		return 0;
	object->kind = MAPPING_SHMEM;
	request->fd = memfd_create(values->memfd, MFD_CLOEXEC);
	if (request->fd < 0 || ftruncate(request->fd, (off_t)request->bytes) < 0)
		return error_set(error, -errno, NULL, NULL, "make a memfd of %llu bytes",
				 (unsigned long long)request->bytes);
	return 0;
}

/* What is to be replaced must not be relied on; what is in the way of a dry run is told as the kernel would. */
static int inspect_place(struct change *change, const struct map_request *request, bool *occupied, struct error *error)
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
				 "map memory in process %d", change->run->target.pid);
	if (region_vec_push(&regions, (struct region){request->at, request->at + request->bytes}) < 0)
		return error_set(error, -ENOMEM, NULL, NULL, "map memory");
	if (request->replace)
		return change_inspect(change, &regions, TAKES_ALL, &pieces, error);
	rc = pieces_read(&change->run->target, NULL, &regions, &pieces);
	for (size_t i = 0; rc == 0 && i < pieces.count; i++)
		*occupied |= pieces.items[i].mapped;
	return rc < 0 ? error_set(error, rc, NULL, NULL, "look at process %d", change->run->target.pid) : 0;
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
	record = mapping_record(&change->run->target, &mapping, mapping.region);
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
	_cleanup_close_ int maps_fd = target_proc_open(&change->run->target, "maps", O_RDONLY);
	struct region region = {start, start + request->bytes};
	struct mapping mapping;

	if (maps_fd < 0 || mapping_at(maps_fd, start, &mapping) <= 0 || !region_contains(mapping.region, region))
		return planned_record(change, request, object, start);
	return mapping_record(&change->run->target, &mapping, region);
}

static int do_map(struct change *change, const struct map_request *request, const struct object *object,
		  struct error *error)
{
	uint64_t start = 0;
	bool occupied;
	int rc = inspect_place(change, request, &occupied, error);

	if (rc < 0)
		return rc;
	if (change->dry_run && occupied && request->fixed)
		return error_set(error, -EEXIST, "something is mapped there", "--replace takes its place",
				 "map memory in process %d", change->run->target.pid);
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

static int map_object(struct run *run, struct map_request *request)
{
	struct change change = CHANGE_OF(run, "mmap");
	struct error error = {0};
	struct object object;
	int rc = run_begin(run);

	if (rc != EXIT_DONE)
		return rc;
	request->fd = -1;
	request->bytes = round_up(request->bytes, page_size());
	rc = open_object(run_values(run), request, &object, &error);
	if (rc == 0)
		rc = change_open(&change, &error);
	request->interrupted = change.interrupted;
	if (rc == 0)
		rc = do_map(&change, request, &object, &error);
	cleanup_close(&request->fd);
	return change_close(&change, rc, &error);
}

int verb_map(struct run *run)
{
	const struct addrspace_values *values = run_values(run);
	struct map_request request = values->request;
	int status;

	request.shared = values->shared || (values->memfd && !values->private);
	if (!cli_given(&run->options, "protection"))
		request.protection = values->file ? PROT_READ : PROT_READ | PROT_WRITE;
	status = check_object_words(run, values, &request);
	return status == EXIT_DONE ? map_object(run, &request) : status;
}

int verb_alloc(struct run *run)
{
	struct map_request request = ((const struct addrspace_values *)run_values(run))->request;
	const char *bytes = run->operands[0];
	int status;

	if (!bytes)
		return cli_usage_error(run->name, "how much? give BYTES (see %s --help)", run->name);
	if (size_parse(bytes, &request.bytes) < 0 || !request.bytes)
		return cli_usage_error(run->name, "%s is not a size above 0", bytes);
	request.protection = PROT_READ | PROT_WRITE;
	status = check_place(run, &request);
	return status == EXIT_DONE ? map_object(run, &request) : status;
}
