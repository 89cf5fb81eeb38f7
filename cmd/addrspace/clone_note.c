/* SPDX-License-Identifier: MIT */
/* Notes on held clones: small files beside the sessions, in a directory that only this user can write to. */
#include "clone_note.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "proc/target.h"
#include "report/parse.h"
#include "state/paths.h"

#define PREFIX ".clone."
#define NAME   64

static const char *note_name(char name[NAME], pid_t pid, uint64_t starttime)
{
	snprintf(name, NAME, PREFIX "%d.%" PRIu64, pid, starttime);
	return name;
}

static void remove_stale(int directory)
{
	_cleanup_closedir_ DIR *dir = fd_directory(openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));

	for (struct dirent *entry; dir && (entry = readdir(dir));) {
		uint64_t starttime;
		pid_t pid;

		if (sscanf(entry->d_name, PREFIX "%d.%" SCNu64, &pid, &starttime) != 2)
			continue;
		if (target_gone(pid, starttime))
			unlinkat(directory, entry->d_name, 0);
	}
}

int clone_note_write(const struct clone_note *note, struct error *error)
{
	_cleanup_close_ int directory = paths_sessions(error);
	_cleanup_close_ int fd = -1;
	char name[NAME];
	json_t *text;
	int rc;

	if (directory < 0)
		return directory;
	remove_stale(directory);
	fd = openat(directory, note_name(name, note->pid, note->starttime),
		    O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return error_set(error, -errno, NULL, NULL, "note the clone %d", note->pid);
	text = json_pack("{s:i, s:I, s:b, s:i}", "original_pid", (int)note->original, "original_starttime",
			 (json_int_t)note->original_starttime, "child", note->child, "there", (int)note->there);
	rc = json_dumpfd(text, fd, JSON_COMPACT);
	json_decref(text);
	if (rc == 0)
		return 0;
	unlinkat(directory, name, 0);
	return error_set(error, -EIO, "its file system is full", NULL, "note the clone %d", note->pid);
}

int clone_note_read(const struct target *clone, struct clone_note *note, struct error *error)
{
	_cleanup_close_ int directory = paths_sessions(error);
	char name[NAME];
	_cleanup_fclose_ FILE *stream = NULL;
	json_error_t failed = {0};
	json_t *text;
	int original = 0;
	int there = 0;
	int child = 0;
	json_int_t starttime = 0;

	if (directory < 0)
		return directory;
	note_name(name, clone->pid, clone->starttime);
	stream = fd_stream(openat(directory, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
	if (!stream && errno != ENOMEM)
		return error_set(error, -EPERM, "it is no clone that addrspace clone --hold made for this user",
				 "end other processes with kill(1)", "drop process %d (%s)", clone->pid, clone->name);
	text = stream ? parse_stream(stream, 0, &failed) : NULL;
	if (!text && parse_ran_out(&failed))
		return error_set(error, -ENOMEM, NULL, NULL, "read the note on clone %d", clone->pid);
	/* A note cut short by a full disk still says that the process is ours. */
	json_unpack(text, "{s:i, s:I, s:b, s:i}", "original_pid", &original, "original_starttime", &starttime, "child",
		    &child, "there", &there);
	json_decref(text);
	*note = (struct clone_note){
		.pid = clone->pid,
		.starttime = clone->starttime,
		.original = original,
		.original_starttime = (uint64_t)starttime,
		.child = child,
		.there = there,
	};
	return 0;
}

void clone_note_remove(pid_t pid, uint64_t starttime)
{
	_cleanup_close_ int directory = paths_sessions(NULL);
	char name[NAME];

	if (directory >= 0)
		unlinkat(directory, note_name(name, pid, starttime), 0);
}
