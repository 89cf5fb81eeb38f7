/* SPDX-License-Identifier: MIT */
/* Which way into a target is taken, as --access says. */
#pragma once

#include "proc/target.h"
#include "report/error.h"

/* How to reach into the target. */
enum access_method {
	ACCESS_AUTO,   /* by ptrace when that is permitted (a session: by a puppet), otherwise by its agent */
	ACCESS_PTRACE, /* by ptrace of its threads */
	ACCESS_AGENT,  /* by the swap agent that it runs: uvm_swap_agent(3) */
	ACCESS_PUPPET, /* by ptrace of our puppet in its memory */
};

/* As --access spells it. */
const char *access_name(enum access_method access);

/*
 * Whether ptrace(2) is left to us at all: a seccomp filter may forbid it, or kill who tries. Returns 0 or, with `error`
 * filled, -EPERM. `tried`: what for, as in "attach to".
 */
int access_traces(const struct target *target, const char *tried, struct error *error);

/*
 * The error of two ways of which neither could be taken: that of injection, with both reasons and both hints. Returns
 * its code.
 */
int access_neither(const struct error *inject, const struct error *agent, struct error *error);
