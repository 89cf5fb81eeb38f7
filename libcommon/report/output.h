/* SPDX-License-Identifier: MIT */
/* A file that is replaced at once when all of it is there: who reads it sees the one before, or all. */
#pragma once

/* Where standard output goes until it is put back. */
struct output {
	const char *path; /* borrowed; NULL: nothing was redirected */
	char *draft;      /* beside it */
	int saved;        /* standard output as it was */
};

/* Sends standard output to a new file beside `path`. Returns 0 or -errno: -EINVAL when something else is there. */
int output_begin(struct output *output, const char *path);

/*
 * Puts standard output back, and the file in its place, readable by all as the umask has it; or, when `failed`, removes
 * it. Returns 0 or -errno.
 */
int output_end(struct output *output, int failed);
