/* SPDX-License-Identifier: MIT */
/* What the verbs that change an address space share. */
#pragma once

#include <signal.h>

#include "addrspace.h"
#include "edit/change.h"
#include "edit/pieces.h"
#include "mapping.h"

/* One run of such a verb. */
struct change {
	struct run run;
	const char *op;     /* the verb */
	const char *call;   /* the system call, as error records name it */
	int dry_run, force; /* options */
	struct inject inject;
	bool injecting;
	const volatile sig_atomic_t *interrupted;
	uint64_t regions, bytes, errors;
	int first_error; /* of the records */
};

#define CHANGE_NONE(verb, system_call) \
	((struct change){              \
		.run = RUN_NONE("addrspace " verb), .op = (verb), .call = (system_call), .inject = INJECT_NONE})

/* Rows of popt that all of them take, or those that can be forced. */
#define DRY_RUN_OPTION(c)                                                                                      \
	{                                                                                                      \
		"dry-run", 'n', POPT_ARG_NONE, &(c).dry_run, 0, "say what would be done, change nothing", NULL \
	}
#define FORCE_OPTION(c)                                                                                              \
	{                                                                                                            \
		"force", 0, POPT_ARG_NONE, &(c).force, 0, "also what threads run in, stacks, and the kernel's", NULL \
	}

/* What rows of --access say: letters of "rwx", '-' for none. Returns an exit code. */
int parse_access(const struct run *run, const char *text, int *protection);

/* The regions of the operand, or those of -r: one of both. Returns an exit code. */
int change_input(const struct change *change, const char *word, struct region_input *input);

/*
 * Gets ready to change the target, or only to look at it (--dry-run). Returns 0, or a negative errno with `error`
 * filled.
 */
int change_open(struct change *change, struct error *error);

/* Reads what is mapped in regions, and refuses what must not be changed. As change_open. */
int change_look(struct change *change, const struct region_vec *regions, unsigned int takes, struct pieces *pieces,
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

static inline void change_free(struct change *change)
{
	run_close(&change->run);
}

#define _cleanup_change_ __attribute__((cleanup(change_free)))
