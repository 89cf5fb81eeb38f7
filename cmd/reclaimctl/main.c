/* SPDX-License-Identifier: MIT */
/* reclaimctl: shows and drives deferred-reclamation rings. */
#include "reclaimctl.h"

int main(int argc, const char **argv)
{
	static const struct cli_popt_verb verbs[] = {
		{"status", verb_status, "what waits in the ring of a process, or of all that have one"},
		{"list", verb_list, "the regions that wait in a ring"},
		{"query", verb_query, "what became of one entry"},
		{"flush", verb_flush, "reclaim what waits, oldest first"},
		{"run", verb_run, "run a command that keeps what it frees in a ring"},
		{"resize", verb_resize, "ask a program for a ring of another capacity"},
		{"watch", verb_watch,
		 "reclaim from rings as their programs, memory and limits ask for, for as long as it runs"},
		{NULL, NULL, NULL},
	};

	return cli_dispatch("reclaimctl",
			    "Shows and drives the rings in which programs keep memory that they may take back.", verbs,
			    argc, argv);
}
