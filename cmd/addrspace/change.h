/* SPDX-License-Identifier: MIT */
/* What the verbs that change an address space share. */
#pragma once

#include <signal.h>

#include "addrspace.h"
#include "edit/pieces.h"
#include "mapping.h"

/* One run of such a verb. */
struct change {
	struct run *run;
	const char *op;   /* the verb */
	const char *call; /* the system call, as error records name it */
	bool dry_run, force;
	struct inject inject;
	bool injecting;
	const volatile sig_atomic_t *interrupted;
	uint64_t regions, bytes, errors;
	int first_error; /* of the records */
};

#define CHANGE_OF(a_run, system_call)                                                        \
	((struct change){.run = (a_run),                                                     \
			 .op = (a_run)->verb->name,                                          \
			 .call = (system_call),                                              \
			 .dry_run = ((struct addrspace_values *)run_values(a_run))->dry_run, \
			 .force = ((struct addrspace_values *)run_values(a_run))->force,     \
			 .inject = INJECT_NONE})

/* run_begin, and the regions of the operand or those of -r: one of both. They are the run's. Returns an exit code. */
int change_begin(struct run *run, struct region_vec **regions);

/*
 * Gets ready to change the target, or only to look at it (--dry-run). Returns 0, or a negative errno with `error`
 * filled.
 */
int change_open(struct change *change, struct error *error);

/* Reads what is mapped in regions, and refuses what must not be changed. As change_open. */
int change_inspect(struct change *change, const struct region_vec *regions, unsigned int takes, struct pieces *pieces,
		   struct error *error);

/* Does one piece: up to *reached. Returns 0 or -errno. */
typedef int (*change_piece_fn)(struct change *change, const struct edit_piece *piece, void *context, uint64_t *reached);

/*
 * All pieces, one after the other, with a record for each: of the region as it was, passed through `describe` (may be
 * NULL), or of the error. Returns 0 (see errors), or a negative errno with `error` filled when it could not go on.
 */
int change_pieces(struct change *change, const struct pieces *pieces, change_piece_fn one,
		  void (*describe)(struct mapping *mapping, json_t *record, void *context), void *context,
		  struct error *error);

/* A record of what was done, or would be: adds op and done, and counts it. */
int change_report(struct change *change, json_t *record, uint64_t bytes);

/* Leaves the target, writes the summary (unless rc < 0), says what is wrong. Returns the exit code. */
int change_close(struct change *change, int rc, struct error *error);
