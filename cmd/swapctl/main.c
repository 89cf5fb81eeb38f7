/* SPDX-License-Identifier: MIT */
/* swapctl: moves a live process's memory out to a compressed store and serves it back on fault. */
#include "swapctl.h"

int main(int argc, const char **argv)
{
	static const struct cli_popt_verb verbs[] = {
		{"attach", verb_attach, "make a session for a process"},
		{"out", verb_out, "swap its memory out (makes a session when it has none)"},
		{"in", verb_in, "bring its memory back without waiting for faults"},
		{"status", verb_status, "what is out, and what the session has done"},
		{"auto", verb_auto, "put cold memory of processes out for as long as it runs"},
		{"adopt", verb_adopt, "take up a session whose processes were killed"},
		{"check", verb_check, "verify what is out, the store and the process against each other"},
		{"detach", verb_detach, "bring everything back and leave the process as it was"},
		{"run", verb_run, "run a command with a swap agent, and make a session for it"},
		{NULL, NULL, NULL},
	};

	return cli_dispatch("swapctl",
			    "Swaps a live, unmodified process out to a compressed store and serves it back on fault.",
			    verbs, argc, argv);
}
