/* SPDX-License-Identifier: MIT */
/* What the files of uffd-probe share. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "findings.h"
#include "names.h"
#include "proc/target.h"
#include "report/error.h"
#include "report/report.h"
#include "tool/verb.h"

/* What the options say. */
struct probe_values {
	char *require;
	bool exercise, list;
};

/* Where records go. Each type of record is a table of its own on a terminal. */
struct probe {
	struct run *run;
	struct report *report;
	int status; /* of writing: 0 or -errno */
};

/* uffd-probe, which has no verbs. */
int verb_probe(struct run *run);

/* Ends the table that is open and begins that of a type of record. Returns an exit code after saying what is wrong. */
int probe_table(struct probe *probe, const char *type, const struct report_column *columns);

/* Emits a record, which it takes over. After a failure nothing more is written. */
void probe_record(struct probe *probe, json_t *record);

/* Ends the output. Returns the exit code: `code`, unless writing failed. */
int probe_end(struct probe *probe, int code);

/* Adds what an error says to a record: errno, reason, hint. Takes the record over and returns it. */
json_t *with_error(json_t *record, const struct error *error);

/* The names after --require, understood. */
struct requirement {
	struct capability *capabilities; /* NULL: nothing is required, everything is emitted */
	size_t count;
};

/* What was found, or only what is required of it, as records. Returns an exit code. */
int emit_findings(struct probe *probe, const struct findings *findings, const struct requirement *requirement);

/* Runs the exercises on descriptors of a route. counts[]: by result. Returns an exit code. */
int emit_exercises(struct probe *probe, enum uffd_route route, unsigned int counts[3]);

/* The names that --require takes. */
int emit_names(struct probe *probe);

/* A process: its descriptors, what it has registered, whether the tools could work on it. Returns an exit code. */
int emit_target(struct probe *probe, const struct target *target);

/* Its obstacles and verdicts, for emit_target. */
int emit_verdicts(struct probe *probe, const struct target *target);
