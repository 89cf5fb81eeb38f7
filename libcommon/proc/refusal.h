/* SPDX-License-Identifier: MIT */
/* Why this process may not look at another one, or trace it, and what to do about it. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "proc/target.h"

/* All of it lives as long as the program. */
struct refusal {
	const char *obstacle; /* "capability", "dumpable", "yama", "user_namespace", "security_module" */
	const char *why;
	const char *hint;
};

#define REFUSALS_MAX 2

/*
 * All that the kernel may have refused it for, what counts most first; `trace`: not only to look at it, but to change
 * it, too. ptrace(2), "Ptrace access mode checking". Returns how many, at least one.
 */
size_t refusal_list(const struct target *target, bool trace, struct refusal list[REFUSALS_MAX]);

/*
 * Fills `error` when work on a target has failed with `rc`: "cannot WHAT process 12 (name)", with the first refusal
 * after -EACCES and -EPERM (unless it is refused no longer), and that it has ended after -ESRCH. Returns rc.
 */
int refusal_to_look(const struct target *target, int rc, const char *what, struct error *error);

/* The same of what takes the right to trace it. */
int refusal_to_trace(const struct target *target, int rc, const char *what, struct error *error);
