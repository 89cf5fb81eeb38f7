/* SPDX-License-Identifier: MIT */
/* Writing a core file: headers, notes, memory; whole or not at all. */
#include "clone/core.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/size.h"
#include "clone/core_choice.h"
#include "clone/core_notes.h"
#include "clone/memory.h"

#define CHUNK MiB
#if defined(__x86_64__)
#define MACHINE EM_X86_64
#else
#define MACHINE EM_AARCH64
#endif

/* One core being written. */
struct writer {
	struct clone_core *core;
	struct memory memory;
	unsigned int filter; /* enum core_filter */
	Elf64_Phdr *headers; /* the notes first */
	size_t count;
	uint64_t total, done;
	struct progress *progress;
	unsigned char *buffer; /* CHUNK bytes */
};

static bool is_zero(const unsigned char *page)
{
	return page[0] == 0 && memcmp(page, page + 1, page_size() - 1) == 0;
}

/* Writes a chunk without its pages of zeros: they are holes. */
static int write_chunk(struct writer *w, size_t bytes, uint64_t offset)
{
	int rc = 0;

	for (size_t at = 0, end; rc == 0 && at < bytes; at = end) {
		bool zero = is_zero(w->buffer + at);

		for (end = at + page_size(); end < bytes && is_zero(w->buffer + end) == zero; end += page_size())
			;
		if (!zero)
			rc = fd_write_all(w->core->fd, w->buffer + at, end - at, offset + at);
	}
	w->core->memory_bytes += bytes;
	w->done += bytes;
	if (w->progress)
		progress_update(w->progress, w->done, w->total);
	return rc;
}

/* A page at a time, where a chunk cannot be read as a whole. */
static int read_pages(struct writer *w, uint64_t address, size_t bytes)
{
	for (size_t at = 0; at < bytes; at += page_size()) {
		int rc = memory_read(&w->memory, address + at, w->buffer + at, page_size());

		if (rc == -ESRCH || !target_alive(w->memory.target))
			return -ESRCH;
		if (rc == 0)
			continue;
		memset(w->buffer + at, 0, page_size());
		w->core->unreadable_bytes += page_size();
	}
	return 0;
}

static int write_region(struct writer *w, const struct memory_mapping *mapping, struct region region, uint64_t offset)
{
	int rc = 0;

	for (uint64_t at = region.start; rc == 0 && at < region.end; at += CHUNK) {
		size_t bytes = min_u64(CHUNK, region.end - at);

		if (mapping->copy)
			memcpy(w->buffer, mapping->copy + (at - mapping->is.region.start), bytes);
		else if (memory_read(&w->memory, at, w->buffer, bytes) < 0)
			rc = read_pages(w, at, bytes);
		if (rc == 0)
			rc = write_chunk(w, bytes, offset + (at - region.start));
	}
	return rc;
}

static int write_mapping(struct writer *w, size_t i)
{
	_cleanup_core_part_ struct core_part part = {0};
	const struct memory_mapping *mapping = &w->memory.mappings[i];
	const Elf64_Phdr *header = &w->headers[i + 1];
	int rc = header->p_filesz ? core_choose(&w->memory, mapping, w->filter, &part) : 0;

	for (size_t j = 0; rc == 0 && j < part.found.count; j++)
		rc = write_region(w, mapping, part.found.items[j],
				  header->p_offset + (part.found.items[j].start - mapping->is.region.start));
	return rc;
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
		for (size_t j = 0; j < part.found.count; j++)
			w->total += region_bytes(part.found.items[j]);
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
	int rc = fd_write_all(w->core->fd, &header, sizeof(header), 0);

	if (rc == 0)
		rc = fd_write_all(w->core->fd, w->headers, w->count * sizeof(*w->headers), sizeof(header));
	return rc == 0 && many ? fd_write_all(w->core->fd, &section, sizeof(section), sections) : rc;
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
	rc = ftruncate(w->core->fd, (off_t)w->core->bytes) < 0 ? -errno : 0;
	if (rc == 0)
		rc = write_headers(w);
	if (rc == 0)
		rc = fd_write_all(w->core->fd, notes, bytes, w->headers[0].p_offset);
	for (size_t i = 0; rc == 0 && i < w->memory.count; i++)
		rc = write_mapping(w, i);
	return rc;
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
	struct writer w = {.core = core, .progress = progress, .memory = MEMORY_NONE, .buffer = malloc(CHUNK)};
	int rc = w.buffer ? memory_open(&w.memory, &clone->target) : -ENOMEM;

	w.filter = core_filter_of(original) | (all ? CORE_USUAL | CORE_DONTDUMP : 0);
	if (rc == 0)
		rc = kept_add(&clone->kept, &w.memory);
	core->unreadable_bytes += clone->kept.unreadable;
	if (rc == 0)
		rc = write_all(&w, clone, original);
	if (rc == 0)
		rc = give_name(core);
	memory_close(&w.memory);
	free(w.headers);
	free(w.buffer);
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

int clone_core_open(struct clone_core *core, const char *path, struct error *error)
{
	_cleanup_free_ char *directory = directory_of(path);
	struct stat st;

	*core = CLONE_CORE_NONE;
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
	cleanup_close(&core->fd);
	*core = CLONE_CORE_NONE;
}
