/* SPDX-License-Identifier: MIT */
/* NT_PRSTATUS and its like: threads, process, auxiliary vector, mapped files. */
#include "clone/core_notes.h"

#include <elf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/procfs.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/size.h"
#include "proc/stat.h"

#define AUXV_MOST 8192

static void add_note(FILE *out, const char *name, unsigned int type, const void *data, size_t bytes)
{
	static const char zeros[4];
	Elf64_Nhdr header = {.n_namesz = (Elf64_Word)strlen(name) + 1, .n_descsz = (Elf64_Word)bytes, .n_type = type};

	fwrite(&header, sizeof(header), 1, out);
	fwrite(name, header.n_namesz, 1, out);
	fwrite(zeros, -header.n_namesz & 3, 1, out);
	fwrite(data, bytes, 1, out);
	fwrite(zeros, -bytes & 3, 1, out);
}

/* What /proc/PID/stat says of the original: state, parent, group and session. */
static void read_ids(const struct target *original, struct elf_prpsinfo *info)
{
	char text[1024];
	const char *after;
	char state = 'S';
	int parent = 0;
	int group = 0;
	int session = 0;
	uint64_t id;

	if (proc_file_read(original->pid, "stat", text, sizeof(text)) > 0 && (after = strrchr(text, ')')))
		sscanf(after + 1, " %c %d %d %d", &state, &parent, &group, &session);
	info->pr_sname = state;
	info->pr_zomb = (char)(state == 'Z');
	info->pr_pid = original->pid;
	info->pr_ppid = parent;
	info->pr_pgrp = group;
	info->pr_sid = session;
	if (target_status(original, "Uid", &id) == 0)
		info->pr_uid = (__typeof__(info->pr_uid))id;
	if (target_status(original, "Gid", &id) == 0)
		info->pr_gid = (__typeof__(info->pr_gid))id;
}

static void fill_info(const struct process_clone *clone, const struct target *original, struct elf_prpsinfo *info)
{
	char words[sizeof(info->pr_psargs) + 1];
	ssize_t length = proc_file_read(clone->target.pid, "cmdline", words, sizeof(words));

	read_ids(original, info);
	memcpy(info->pr_fname, original->name, sizeof(original->name));
	_Static_assert(sizeof(info->pr_fname) == sizeof(original->name), "both as long as comm");
	for (ssize_t i = 0; i < length - 1 && i < (ssize_t)sizeof(info->pr_psargs) - 1; i++)
		info->pr_psargs[i] = (char)(words[i] ? words[i] : ' ');
}

static void add_auxv(FILE *out, const struct process_clone *clone)
{
	char auxv[AUXV_MOST + 1];
	ssize_t got = target_file_read(&clone->target, "auxv", auxv, sizeof(auxv));

	if (got > 0)
		add_note(out, "CORE", NT_AUXV, auxv, (size_t)got);
}

static bool has_file(const struct memory_mapping *mapping)
{
	return (mapping->is.kind == MAPPING_FILE || mapping->is.kind == MAPPING_SHMEM) && mapping->is.name[0] == '/';
}

/* NT_FILE: count, page size; start, end and offset in pages of each; their names. */
static int add_files(FILE *out, const struct memory *memory)
{
	_cleanup_free_ char *data = NULL;
	size_t bytes = 0;
	FILE *file = open_memstream(&data, &bytes);
	uint64_t head[2] = {0, page_size()};

	if (!file)
		return -ENOMEM;
	for (size_t i = 0; i < memory->count; i++)
		head[0] += has_file(&memory->mappings[i]);
	fwrite(head, sizeof(head), 1, file);
	for (size_t i = 0; i < memory->count; i++) {
		const struct mapping *m = &memory->mappings[i].is;
		uint64_t entry[3] = {m->region.start, m->region.end, m->offset / page_size()};

		if (has_file(&memory->mappings[i]))
			fwrite(entry, sizeof(entry), 1, file);
	}
	for (size_t i = 0; i < memory->count; i++)
		if (has_file(&memory->mappings[i]))
			fwrite(memory->mappings[i].is.name, strlen(memory->mappings[i].is.name) + 1, 1, file);
	if (fclose(file))
		return -ENOMEM;
	add_note(out, "CORE", NT_FILE, data, bytes);
	return 0;
}

static void add_status(FILE *out, const struct inject_registers *registers, const struct elf_prpsinfo *info)
{
	struct elf_prstatus status = {
		.pr_sighold = registers->sigmask,
		.pr_pid = registers->tid,
		.pr_ppid = info->pr_ppid,
		.pr_pgrp = info->pr_pgrp,
		.pr_sid = info->pr_sid,
		.pr_fpvalid = registers->sets[1].bytes > 0,
	};

	memcpy(&status.pr_reg, registers->sets[0].data, min_u64(sizeof(status.pr_reg), registers->sets[0].bytes));
	add_note(out, "CORE", NT_PRSTATUS, &status, sizeof(status));
}

static void add_other_sets(FILE *out, const struct inject_registers *registers)
{
	static const unsigned int types[] = ARCH_REGSETS;

	for (size_t i = 1; i < ARRAY_SIZE(types); i++)
		if (registers->sets[i].bytes)
			add_note(out, types[i] == NT_PRFPREG ? "CORE" : "LINUX", types[i], registers->sets[i].data,
				 registers->sets[i].bytes);
}

/* A debugger takes the first thread for the one to look at: the leader, if it could be stopped. */
static size_t first_thread(const struct inject_copy *copy, const struct target *original)
{
	for (size_t i = 0; i < copy->threads; i++)
		if (copy->registers[i].tid == original->pid)
			return i;
	return 0;
}

int core_notes(const struct memory *memory, const struct process_clone *clone, const struct target *original,
	       char **notes, size_t *bytes)
{
	const struct inject_copy *copy = &clone->copy;
	size_t first = first_thread(copy, original);
	struct elf_prpsinfo info = {0};
	FILE *out = open_memstream(notes, bytes);
	int rc;

	if (!out)
		return -ENOMEM;
	fill_info(clone, original, &info);
	add_status(out, &copy->registers[first], &info);
	add_note(out, "CORE", NT_PRPSINFO, &info, sizeof(info));
	add_auxv(out, clone);
	rc = add_files(out, memory);
	add_other_sets(out, &copy->registers[first]);
	for (size_t i = 0; i < copy->threads; i++) {
		if (i == first)
			continue;
		add_status(out, &copy->registers[i], &info);
		add_other_sets(out, &copy->registers[i]);
	}
	if (fclose(out))
		rc = -ENOMEM;
	if (rc < 0) {
		free(*notes);
		*notes = NULL;
	}
	return rc;
}
