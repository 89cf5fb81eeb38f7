/* SPDX-License-Identifier: MIT */
/* What the verbs of reclaimctl share. */
#pragma once

#include "reclaim/entries.h"
#include "reclaim/find.h"
#include "tool/verb.h"

extern const struct report_column ring_columns[];
extern const struct report_column entry_columns[];

/* The record of type "ring": all that a ring says of itself. The caller owns it. */
json_t *ring_record(const struct target *target, const struct ring_found *ring);

/* A number of the ring as a record spells it: whatever a program wrote there, a reader of JSON can hold it. */
json_t *ring_number(uint64_t number);

/* The record of type "region" for an entry; the caller adds what else is known. The caller owns it. */
json_t *entry_record(const struct target *target, const struct ring_work *work, struct region region);

/* "normal", "warning", "critical"; "unknown" for what a program made up. */
const char *ring_level_name(uint32_t level);

/*
 * run_open for a verb that needs a process, and that process's ring. Returns an exit code after saying what is wrong.
 */
int run_ring(struct run *run, const struct report_column *columns, const char *type, bool writable,
	     struct ring_found *ring);

int verb_status(int argc, const char **argv);
int verb_list(int argc, const char **argv);
int verb_query(int argc, const char **argv);
int verb_flush(int argc, const char **argv);
int verb_resize(int argc, const char **argv);
int verb_run(int argc, const char **argv);
int verb_watch(int argc, const char **argv);
