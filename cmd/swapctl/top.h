/* SPDX-License-Identifier: MIT */
/* What the parts of swapctl top share. */
#pragma once

#include "proc/stat.h"
#include "swapctl.h"

/* A session or, with --all, a process. Sizes in bytes. */
struct top_row {
	pid_t pid;
	uint64_t starttime;
	char comm[PROC_NAME];
	char state[16]; /* of its session; empty: it has none */
	uint64_t resident, out, store;
	uint64_t cost;                           /* resident memory of the session's own processes */
	uint64_t faults, waited, refaults;       /* since its session began; waited: microseconds */
	double faults_s, wait_share, refaults_s; /* since the last sample; the share in percent */
};

/* Rows at one time. All zeros is none. */
struct top_sample {
	struct top_row *rows;
	size_t count, capacity;
	uint64_t time_ns;
};

/*
 * Takes a sample; rates are those since `before`. Returns 0, or -errno with `error` filled. The caller frees it.
 */
int top_take(struct top_sample *sample, const struct top_sample *before, const struct cli_processes *processes,
	     struct error *error);
void top_free(struct top_sample *sample);

/* Largest first, by pid when they are equal. */
void top_sort(struct top_sample *sample, enum top_sort sort);

/* What is shown, and what is being asked. */
struct top_view {
	struct top_sample sample;
	enum top_sort sort;
	size_t selected;     /* of the rows that match */
	char filter[32];     /* part of a command's name */
	bool typing;         /* the filter */
	char question[96];   /* that waits for y or n; empty: none */
	char message[256];   /* what became of the last request */
	const char *pending; /* the verb that is asked about */
	pid_t pending_pid;
};

/* The row that is selected of those that match the filter, or NULL. */
const struct top_row *top_selected(const struct top_view *view);
size_t top_matching(const struct top_view *view);

/* Draws all on the screen of ncurses(3). */
void top_draw(const struct top_view *view);
