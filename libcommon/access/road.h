/* SPDX-License-Identifier: MIT */
/* Which way into a target is taken, as --road says. */
#pragma once

#include "proc/target.h"
#include "report/error.h"

/* How to reach into the target. */
enum road_choice {
	ROAD_AUTO,   /* by ptrace when that is permitted (a session: by a puppet), otherwise by its agent */
	ROAD_INJECT, /* by ptrace of its threads */
	ROAD_AGENT,  /* by the swap agent that it runs: uvm_swap_agent(3) */
	ROAD_PUPPET, /* by ptrace of a process of ours in its memory */
};

/* As --road spells it. Returns 0, or -EINVAL: none of auto, inject, agent, puppet. */
int road_parse(const char *text, enum road_choice *road);

/* As road_parse takes it. */
const char *road_name(enum road_choice road);

/*
 * Whether ptrace(2) is left to us at all: a seccomp filter may forbid it, or kill who tries. Returns 0 or, with `error`
 * filled, -EPERM. `tried`: what for, as in "attach to".
 */
int road_traces(const struct target *target, const char *tried, struct error *error);

/*
 * The error of two roads of which neither could be taken: that of injection, with both reasons and both hints. Returns
 * its code.
 */
int road_neither(const struct error *inject, const struct error *agent, struct error *error);
