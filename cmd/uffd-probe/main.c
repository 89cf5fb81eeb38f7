/* SPDX-License-Identifier: MIT */
/* uffd-probe: tells what userfaultfd can do on this kernel, for this user, for that process, by trying it. */
#include "uffd-probe_args.h"

static const struct cli_verb verb = {
	.run = verb_probe,
	.usage = "[OPTION...]",
	.about = "Report what userfaultfd can do on this kernel, for this user, for a process, by trying it.",
	.takes = CLI_TAKES_PID,
	.sentences = "{+usable_routes|route|routes} usable\n"
		     "{+descriptors|userfaultfd|userfaultfds}, {+registered_bytes} registered[; {pending|fault|faults} "
		     "wait]",
	.keys = "route usable kernel_faults feature bit offered memory mode ioctls needs facility exercise result "
		"seen kind "
		"time_us reason hint errno raw fd features pending total start end bytes modes perm name obstacle "
		"tools "
		"tool obstacles",
};

static struct probe_values values;

const struct cli_tool tool = {.name = "uffd-probe", .options = probe_options, .values = &values, .verbs = &verb};
