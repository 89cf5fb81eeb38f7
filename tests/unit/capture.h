/* SPDX-License-Identifier: MIT */
/* What a piece of code prints: a descriptor sent to a file for a while. */
#pragma once

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct capture {
	int target; /* STDOUT_FILENO or STDERR_FILENO */
	int saved;
	int file;
	char text[65536];
};

static inline void capture_begin(struct capture *capture, int target)
{
	fflush(NULL);
	capture->target = target;
	capture->saved = dup(target);
	capture->file = memfd_create("captured", MFD_CLOEXEC);
	assert(capture->saved >= 0 && capture->file >= 0);
	dup2(capture->file, target);
}

static inline const char *capture_end(struct capture *capture)
{
	ssize_t got;

	fflush(NULL);
	dup2(capture->saved, capture->target);
	close(capture->saved);
	got = pread(capture->file, capture->text, sizeof(capture->text) - 1, 0);
	assert(got >= 0);
	capture->text[got] = '\0';
	close(capture->file);
	return capture->text;
}
