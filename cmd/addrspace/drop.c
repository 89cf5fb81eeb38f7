/* SPDX-License-Identifier: MIT */
/* addrspace drop: ends a clone that clone --hold made. */
#include "addrspace.h"
#include "clone/clone.h"
#include "clone_note.h"

const struct report_column drop_columns[] = {
	{"pid", "PID", COLUMN_NUMBER},
	{"original_pid", "ORIGINAL", COLUMN_NUMBER},
	{NULL, NULL, COLUMN_TEXT},
};

static int drop_clone(struct run *run)
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

int verb_drop(struct run *run)
{
	return run_each(run, drop_clone);
}
