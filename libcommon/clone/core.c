/* SPDX-License-Identifier: MIT */
/* Writing a core file: headers, notes, memory; whole or not at all. */
#include "clone/core.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include "base/size.h"
#include "clone/core_choice.h"
#include "clone/core_notes.h"
#include "clone/memory.h"

#define CHUNK        MiB
#define THREADS_MOST 8
#if defined(__x86_64__)
#define MACHINE EM_X86_64
#else
#define MACHINE EM_AARCH64
#endif

/* Pages that go into the file. */
struct piece {
	size_t mapping;
	struct region region;
};

/* One core being written. */
struct writer {
	struct clone_core *core;
	struct memory memory;
	unsigned int filter; /* enum core_filter */
	Elf64_Phdr *headers; /* the notes first */
	size_t count;
	uint64_t total, done;
	struct progress *progress;
	struct piece *pieces;
	size_t piece_count, piece_capacity;

	pthread_mutex_t lock; /* of done, progress and what follows */
	size_t next;          /* the piece whose pages are taken next, which goes on at `at` */
	uint64_t at;
	uint64_t unreadable_bytes;
	int rc;
};

/* What one thread reads, and writes, before it takes more. */
struct chunk {
	struct region region; /* empty: none is left */
	const struct memory_mapping *mapping;
	uint64_t offset; /* in the file */
	uint64_t unreadable_bytes;
	unsigned char *buffer;
};

static bool is_zero(const unsigned char *page)
{
	return page[0] == 0 && memcmp(page, page + 1, page_size() - 1) == 0;
}

/* Zeros up to an offset. */
static int pad_stream(struct clone_core *core, uint64_t offset)
{
	static const char zeros[64 * KiB];

	while (core->streamed < offset) {
		size_t bytes = min_u64(sizeof(zeros), offset - core->streamed);

		if (fwrite(zeros, 1, bytes, core->stream) != bytes)
			return -errno;
		core->streamed += bytes;
	}
	return 0;
}

/* Bytes at an offset, which in a stream is behind all that were written before. */
static int write_bytes(struct clone_core *core, const void *from, size_t bytes, uint64_t offset)
{
	int rc;

	if (!core->stream)
		return fd_write_all(core->fd, from, bytes, offset);
	rc = pad_stream(core, offset);
	if (rc == 0 && fwrite(from, 1, bytes, core->stream) != bytes)
		rc = -errno;
	core->streamed += bytes;
	return rc;
}

/* Writes a chunk without its pages of zeros: they are holes. */
static int write_chunk(const struct writer *w, const struct chunk *chunk)
{
	size_t bytes = region_bytes(chunk->region);
	int rc = 0;

	for (size_t at = 0, end; rc == 0 && at < bytes; at = end) {
		bool zero = is_zero(chunk->buffer + at);

		for (end = at + page_size(); end < bytes && is_zero(chunk->buffer + end) == zero; end += page_size())
			;
		if (!zero)
			rc = write_bytes(w->core, chunk->buffer + at, end - at, chunk->offset + at);
	}
	return rc;
}

/* A page at a time, where a chunk cannot be read as a whole. */
static int read_pages(const struct writer *w, struct chunk *chunk)
{
	for (size_t at = 0; at < region_bytes(chunk->region); at += page_size()) {
		int rc = memory_read(&w->memory, chunk->region.start + at, chunk->buffer + at, page_size());

		if (rc == -ESRCH || !target_alive(w->memory.target))
			return -ESRCH;
		if (rc == 0)
			continue;
		memset(chunk->buffer + at, 0, page_size());
		chunk->unreadable_bytes += page_size();
	}
	return 0;
}

static int copy_chunk(const struct writer *w, struct chunk *chunk)
{
	const struct memory_mapping *mapping = chunk->mapping;
	uint64_t at = chunk->region.start;
	size_t bytes = region_bytes(chunk->region);
	int rc = 0;

	if (mapping->copy)
		memcpy(chunk->buffer, mapping->copy + (at - mapping->is.region.start), bytes);
	else if (memory_read(&w->memory, at, chunk->buffer, bytes) < 0)
		rc = read_pages(w, chunk);
	return rc == 0 ? write_chunk(w, chunk) : rc;
}

static void choose_chunk(struct writer *w, struct chunk *chunk)
{
	const struct piece *piece = &w->pieces[w->next];
	uint64_t start = max_u64(w->at, piece->region.start);

	chunk->mapping = &w->memory.mappings[piece->mapping];
	chunk->region = (struct region){start, min_u64(start + CHUNK, piece->region.end)};
	chunk->offset = w->headers[piece->mapping + 1].p_offset + (start - chunk->mapping->is.region.start);
	w->at = chunk->region.end;
	if (w->at == piece->region.end) {
		w->next++;
		w->at = 0;
	}
}

/* Accounts for the chunk before, which `rc` came of, and takes the next one. */
static bool next_chunk(struct writer *w, struct chunk *chunk, int rc)
{
	pthread_mutex_lock(&w->lock);
	if (w->rc == 0)
		w->rc = rc;
	w->done += region_bytes(chunk->region);
	w->unreadable_bytes += chunk->unreadable_bytes;
	if (w->progress)
		progress_update(w->progress, w->done, w->total);
	chunk->region = (struct region){0, 0};
	chunk->unreadable_bytes = 0;
	if (w->rc == 0 && w->next < w->piece_count)
		choose_chunk(w, chunk);
	pthread_mutex_unlock(&w->lock);
	return region_bytes(chunk->region);
}

static void *write_chunks(void *argument)
{
	struct writer *w = argument;
	_cleanup_free_ unsigned char *buffer = malloc(CHUNK);
	struct chunk chunk = {.buffer = buffer};
	int rc = buffer ? 0 : -ENOMEM;

	while (next_chunk(w, &chunk, rc))
		rc = copy_chunk(w, &chunk);
	return NULL;
}

/* Reading takes as long as writing, and the processors that are there can do both at once. */
static int write_memory(struct writer *w)
{
	pthread_t threads[THREADS_MOST - 1];
	size_t count = 0;
	cpu_set_t set;
	int processors = sched_getaffinity(0, sizeof(set), &set) == 0 && !w->core->stream ? CPU_COUNT(&set) : 1;

	while (count < ARRAY_SIZE(threads) && (int)count + 1 < processors &&
	       pthread_create(&threads[count], NULL, write_chunks, w) == 0)
		count++;
	write_chunks(w);
	while (count)
		pthread_join(threads[--count], NULL);
	w->core->memory_bytes = w->done;
	w->core->unreadable_bytes += w->unreadable_bytes;
	return w->rc;
}

static int add_pieces(struct writer *w, size_t mapping, const struct region_vec *found)
{
	for (size_t i = 0; i < found->count; i++) {
		if (array_reserve(&w->pieces, w->piece_count, &w->piece_capacity) < 0)
			return -ENOMEM;
		w->pieces[w->piece_count++] = (struct piece){mapping, found->items[i]};
		w->total += region_bytes(found->items[i]);
	}
	return 0;
}

/* The program headers of the mappings; where each one's bytes begin in the file is known once all are. */
static int make_headers(struct writer *w)
{
	_cleanup_core_part_ struct core_part part = {0};
	int rc = 0;

	w->count = w->memory.count + 1;
	w->headers = calloc(w->count, sizeof(*w->headers));
	if (!w->headers)
		return -ENOMEM;
	for (size_t i = 0; rc == 0 && i < w->memory.count; i++) {
		const struct memory_mapping *mapping = &w->memory.mappings[i];
		Elf64_Phdr *header = &w->headers[i + 1];

		rc = core_choose(&w->memory, mapping, w->filter, &part);
		header->p_filesz = part.bytes;
		header->p_type = PT_LOAD;
		header->p_vaddr = mapping->is.region.start;
		header->p_memsz = region_bytes(mapping->is.region);
		header->p_flags = (mapping->is.read ? PF_R : 0) | (mapping->is.write ? PF_W : 0) |
				  (mapping->is.execute ? PF_X : 0);
		header->p_align = page_size();
		if (rc == 0)
			rc = add_pieces(w, i, &part.found);
	}
	w->core->unreadable_bytes += part.unreadable;
	w->core->excluded_bytes = part.excluded;
	return rc;
}

static void lay_out(struct writer *w, size_t note_bytes)
{
	uint64_t at = sizeof(Elf64_Ehdr) + w->count * sizeof(Elf64_Phdr) + sizeof(Elf64_Shdr);

	w->headers[0] = (Elf64_Phdr){.p_type = PT_NOTE, .p_offset = at, .p_filesz = note_bytes, .p_align = 4};
	at = round_up(at + note_bytes, page_size());
	for (size_t i = 1; i < w->count; i++) {
		w->headers[i].p_offset = at;
		at += w->headers[i].p_filesz;
	}
	w->core->bytes = at;
}

/* More headers than fit their field are counted in the first section header (elf(5), PN_XNUM). */
static int write_headers(struct writer *w)
{
	bool many = w->count >= PN_XNUM;
	uint64_t sections = sizeof(Elf64_Ehdr) + w->count * sizeof(Elf64_Phdr);
	Elf64_Shdr section = {.sh_info = (Elf64_Word)w->count};
	Elf64_Ehdr header = {
		.e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB, EV_CURRENT, ELFOSABI_NONE},
		.e_type = ET_CORE,
		.e_machine = MACHINE,
		.e_version = EV_CURRENT,
		.e_phoff = sizeof(header),
		.e_shoff = many ? sections : 0,
		.e_ehsize = sizeof(header),
		.e_phentsize = sizeof(Elf64_Phdr),
		.e_phnum = many ? PN_XNUM : (Elf64_Half)w->count,
		.e_shentsize = many ? sizeof(section) : 0,
		.e_shnum = many,
	};
	int rc = write_bytes(w->core, &header, sizeof(header), 0);

	if (rc == 0)
		rc = write_bytes(w->core, w->headers, w->count * sizeof(*w->headers), sizeof(header));
	return rc == 0 && many ? write_bytes(w->core, &section, sizeof(section), sections) : rc;
}

static int write_all(struct writer *w, const struct process_clone *clone, const struct target *original)
{
	_cleanup_free_ char *notes = NULL;
	size_t bytes = 0;
	int rc = make_headers(w);

	if (rc == 0)
		rc = core_notes(&w->memory, clone, original, &notes, &bytes);
	if (rc < 0)
		return rc;
	lay_out(w, bytes);
	if (!w->core->stream)
		rc = ftruncate(w->core->fd, (off_t)w->core->bytes) < 0 ? -errno : 0;
	if (rc == 0)
		rc = write_headers(w);
	if (rc == 0)
		rc = write_bytes(w->core, notes, bytes, w->headers[0].p_offset);
	return rc == 0 ? write_memory(w) : rc;
}

/* A name that nobody uses, beside the one that the file will have. */
static int name_file(struct clone_core *core)
{
	char path[64];

	if (core->temporary)
		return 0;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", core->fd);
	for (unsigned int i = 0;; i++) {
		char *name = NULL;

		if (asprintf(&name, "%s.%d-%u", core->path, getpid(), i) < 0)
			return -ENOMEM;
		if (linkat(AT_FDCWD, path, AT_FDCWD, name, AT_SYMLINK_FOLLOW) == 0) {
			core->temporary = name;
			return 0;
		}
		free(name);
		if (errno != EEXIST)
			return -errno;
	}
}

static int end_stream(struct clone_core *core)
{
	int rc = pad_stream(core, core->bytes);

	if (fclose(core->stream) != 0 && rc == 0)
		rc = -errno;
	core->stream = NULL;
	return rc;
}

static int give_name(struct clone_core *core)
{
	int rc = name_file(core);

	if (rc < 0)
		return rc;
	if (rename(core->temporary, core->path) < 0)
		return -errno;
	free(core->temporary);
	core->temporary = NULL;
	return 0;
}

int clone_core_write(struct clone_core *core, const struct process_clone *clone, const struct target *original,
		     bool all, struct progress *progress, struct error *error)
{
	struct writer w = {
		.core = core, .progress = progress, .memory = MEMORY_NONE, .lock = PTHREAD_MUTEX_INITIALIZER};
	int rc = memory_open(&w.memory, &clone->target);

	w.filter = core_filter_of(original) | (all ? CORE_USUAL | CORE_DONTDUMP : 0);
	if (rc == 0)
		rc = kept_add(&clone->kept, &w.memory);
	core->unreadable_bytes += clone->kept.unreadable;
	if (rc == 0)
		rc = write_all(&w, clone, original);
	if (rc == 0)
		rc = core->stream ? end_stream(core) : give_name(core);
	memory_close(&w.memory);
	free(w.headers);
	free(w.pieces);
	if (rc == 0)
		return 0;
	return error_set(error, rc, rc == -ESRCH ? "somebody ended the clone" : NULL,
			 rc == -ENOSPC || rc == -EDQUOT || rc == -EFBIG ? "choose another file system" : NULL,
			 "write the core file %s", core->path);
}

/* The directory of a path, to be freed. */
static char *directory_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	if (!slash)
		return strdup(".");
	return slash == path ? strdup("/") : strndup(path, (size_t)(slash - path));
}

static int open_stream(struct clone_core *core, struct error *error)
{
	int fd = isatty(STDOUT_FILENO) ? -ENOTTY : fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 0);

	if (fd == -ENOTTY)
		return error_set(error, -EINVAL, "it is a terminal", "direct it to a file or another program",
				 "write the core to standard output");
	core->stream = fd < 0 ? NULL : fdopen(fd, "w");
	core->path = strdup("-");
	return core->stream && core->path ? 0 : error_set(error, -errno, NULL, NULL, "write to standard output");
}

int clone_core_open(struct clone_core *core, const char *path, struct error *error)
{
	_cleanup_free_ char *directory = directory_of(path);
	struct stat st;

	*core = CLONE_CORE_NONE;
	if (strcmp(path, "-") == 0)
		return open_stream(core, error);
	if (!*path || (lstat(path, &st) == 0 && !S_ISREG(st.st_mode)))
		return error_set(error, -EINVAL, *path ? "it is there and not a regular file" : "the name is empty",
				 "choose another name", "write the core file %s", path);
	core->path = strdup(path);
	if (!core->path || !directory)
		return error_set(error, -ENOMEM, NULL, NULL, "write the core file %s", path);
	core->fd = open(directory, O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600);
	if (core->fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR)) {
		if (asprintf(&core->temporary, "%s.XXXXXX", path) < 0)
			core->temporary = NULL;
		core->fd = core->temporary ? mkostemp(core->temporary, O_CLOEXEC) : -1;
	}
	if (core->fd >= 0)
		return 0;
	return error_set(error, -errno, NULL, NULL, "write the core file %s", path);
}

void clone_core_close(struct clone_core *core)
{
	if (core->temporary)
		unlink(core->temporary);
	free(core->temporary);
	free(core->path);
	if (core->stream)
		fclose(core->stream);
	cleanup_close(&core->fd);
	*core = CLONE_CORE_NONE;
}
