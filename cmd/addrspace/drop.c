/* SPDX-License-Identifier: MIT */
/* addrspace drop: ends a clone that clone --hold made. */
#include "addrspace.h"
#include "clone/clone.h"
#include "clone_note.h"

static const struct report_column columns[] = {
	{"pid", "PID", COLUMN_NUMBER},
	{"original_pid", "ORIGINAL", COLUMN_NUMBER},
	{NULL, NULL, COLUMN_TEXT},
};

static int drop(struct run *run)
{
	_cleanup_target_ struct target original = TARGET_NONE;
	struct error error = {0};
	struct clone_note note;
	bool reaps;
	int rc = clone_note_read(&run->target, &note, &error);

	if (rc < 0)
		return run_failed(run, rc, &error);
	reaps = note.child && target_open(&original, note.original, -1, NULL) == 0 &&
		original.starttime == note.original_starttime;
	rc = process_clone_kill(&run->target, reaps ? &original : NULL, note.there, &error);
	if (rc < 0)
		return run_failed(run, rc, &error);
	clone_note_remove(note.pid, note.starttime);
	report_record(run->report,
		      json_pack("{s:s, s:i, s:I, s:i, s:I}", "type", "drop", "pid", (int)note.pid, "starttime",
				(json_int_t)note.starttime, "original_pid", (int)note.original, "original_starttime",
				(json_int_t)note.original_starttime));
	return EXIT_DONE;
}

int verb_drop(int argc, const char **argv)
{
	_cleanup_run_ struct run run = RUN_NONE("addrspace drop");
	const struct cli_popt_tool tool = {
		.name = "addrspace drop",
		.usage = "-p PID [OPTION...]",
		.about = "Ends a clone that addrspace clone --hold made.",
		.takes = CLI_TAKES_PID,
	};
	int status;

	if (cli_popt_parse(&tool, argc, argv, &run.options, NULL, &status))
		return status;
	status = run_open(&run, columns, "drop", false);
	if (status == EXIT_DONE)
		status = drop(&run);
	return run_finish(&run, status);
}
