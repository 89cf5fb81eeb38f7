/* SPDX-License-Identifier: MIT */
/* Where sessions and stores live. Internal to the room. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/un.h>

#include "index/index.h"
#include "report/error.h"

#define SESSION_NAME   40 /* "<pid>.<starttime>" */
#define STORE_SUFFIX   ".store"
#define STORE_ANY_BOOT "00000000" /* in the name of a store when the number of the boot is not known */

/* What a session has on the file system. */
struct session_files {
	char name[SESSION_NAME];
	char store[256]; /* path, or "memory" */
	int sessions;    /* directory of all sessions; -1: not open */
	int directory;   /* its own; -1: not open */
	bool removed;    /* nothing of it is left */
};

/* A directory for nobody else (0700), unless it is there. Returns 0 or -errno. */
int paths_make_directory(const char *path);

/* The directory of all sessions, made (0700) when it is missing. Returns a descriptor or -errno. */
int paths_sessions(struct error *error);

/* "<pid>.<starttime>" into name[SESSION_NAME]. */
const char *paths_name(char name[SESSION_NAME], pid_t pid, uint64_t starttime);

/* The control socket of a session, for bind(2) and connect(2), by its open directory. */
struct sockaddr_un paths_control(int directory);

/* Whether the directory of that name is the one that we have open. */
bool paths_is(int sessions, const char *name, int directory);

/* Removes what is in the directory of a session, and its store, but not the directory. */
void paths_empty_session(int sessions, const char *name);

/* Removes what a session has on the file system: its directory, and its store when that lies where sessions put it. */
void paths_remove_session(int sessions, const char *name);

/* The same, if what has its name is still its own. Only once. */
void paths_remove(struct session_files *files);

/*
 * The header of the index in a session's directory, as far as it can be believed. Returns 0, -ENOENT when there is no
 * index, or another -errno (-EBADMSG: it is damaged, or of another version).
 */
int paths_read_header(int directory, struct index_header *header);
