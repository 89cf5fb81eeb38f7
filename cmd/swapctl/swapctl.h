/* SPDX-License-Identifier: MIT */
/* What the verbs of swapctl share. */
#pragma once

#include "pager/session.h"
#include "verb/verb.h"

/* Values of attach's options, which out takes as well. */
struct attach_texts {
	char *store, *limit, *compress, *cluster, *road;
	int encrypt; /* enum session_encrypt */
};

/* Reads attach's options. Returns an exit code. */
int attach_parse(const struct run *run, const struct attach_texts *texts, struct session_options *options);
/* Whether any of attach's options was given. */
bool attach_given(const struct attach_texts *texts);
void attach_texts_free(struct attach_texts *texts);

/*
 * The regions of -r for a request: checked against the target, sorted, as an array of pairs; NULL in *list without -r.
 * Returns an exit code.
 */
int run_regions(struct run *run, json_t **list);

/*
 * A request (takes the reference) that SIGINT and SIGTERM cut short: what was done until then is still reported.
 * Returns as session_request, with *signal the one that has ended it, or 0.
 */
int run_cancellable(struct run *run, json_t *request, int *signal, struct error *error);

/* The exit code for its outcome, after saying what went wrong. */
int run_outcome(const struct run *run, int rc, int signal, const struct error *error);

/* A verb that is one request to the session of -p; with of_all, to every session when there is no -p. */
struct request_verb {
	const char *name, *usage, *about; /* as in struct cli_popt_tool */
	const char *verb;                 /* what is asked for */
	const struct report_column *columns;
	const char *type; /* of the records that a table shows as rows */
	bool of_all;
};

int run_request(const struct request_verb *verb, int argc, const char **argv);

extern const struct report_column session_columns[];
extern const struct report_column region_columns[];
extern const struct report_column error_columns[];

int verb_attach(int argc, const char **argv);
int verb_out(int argc, const char **argv);
int verb_in(int argc, const char **argv);
int verb_status(int argc, const char **argv);
int verb_auto(int argc, const char **argv);
int verb_adopt(int argc, const char **argv);
int verb_check(int argc, const char **argv);
int verb_detach(int argc, const char **argv);
int verb_run(int argc, const char **argv);

#define _cleanup_attach_ __attribute__((cleanup(attach_texts_free)))

/* The popt rows of attach's options. */
#define ATTACH_OPTIONS(t)                                                                                                \
	{"road", 0, POPT_ARG_STRING, &(t).road, 0, "auto (default), inject, agent or puppet", "ROAD"},                   \
		{"store",     0, POPT_ARG_STRING, &(t).store, 0, "where the store is: a directory, or memory",           \
		 "DIR|memory"},                                                                                          \
		{"limit", 0, POPT_ARG_STRING, &(t).limit, 0, "most bytes the store may take", "BYTES"},                  \
		{"compress", 0, POPT_ARG_STRING, &(t).compress, 0, "lz4 (default), zstd[:LEVEL] or none", "CODEC"},      \
		{"encrypt", 0, POPT_ARG_VAL, &(t).encrypt, ENCRYPT_YES, "encrypt the store (default for a file)", NULL}, \
		{"no-encrypt", 0, POPT_ARG_VAL, &(t).encrypt, ENCRYPT_NO, "do not encrypt it (default in memory)",       \
		 NULL},                                                                                                  \
	{                                                                                                                \
		"cluster", 0, POPT_ARG_STRING, &(t).cluster, 0, "what is compressed and comes back together (64K)",      \
			"BYTES"                                                                                          \
	}
