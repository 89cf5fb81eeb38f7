/* SPDX-License-Identifier: MIT */
/* reclaimctl query: what became of one entry. */
#include <errno.h>

#include "base/size.h"
#include "reclaimctl.h"

static int tell(struct run *run, const struct ring_found *ring, uint64_t id)
{
	struct error error = {0};
	enum ring_state state;
	struct ring_work work;
	struct region region;
	json_t *record;
	int rc = ring_entry_at(&ring->view, id, &state, &work);

	if (rc < 0) {
		error_set(&error, rc, "no entry has had this id yet", "list the ring: reclaimctl list -p PID",
			  "find entry %llu in the ring of process %d", (unsigned long long)id, run->target.pid);
		return run_failed(run, rc, &error);
	}
	if ((state == RING_UNRECLAIMED || state == RING_BUSY) && ring_region(&work, &region) == 0)
		record = entry_record(&run->target, &work, region);
	else
		record = json_pack("{s:s, s:i, s:I, s:o}", "type", "entry", "pid", run->target.pid, "starttime",
				   (json_int_t)run->target.starttime, "id", ring_number(id));
	json_object_set_new(record, "state", json_string(ring_state_name(state)));
	report_record(run->report, record);
	return EXIT_DONE;
}

int verb_query(int argc, const char **argv)
{
	_cleanup_run_ struct run run = RUN_NONE("reclaimctl query");
	_cleanup_ring_ struct ring_found ring = RING_FOUND_NONE;
	_cleanup_operands_ char **operands = NULL;
	const struct cli_popt_tool tool = {
		.name = "reclaimctl query",
		.usage = "-p PID ID [OPTION...]",
		.about = "Tells what became of an entry of the ring of a process.",
		.takes = CLI_TAKES_PID,
		.operands = 1,
	};
	int64_t id;
	int status;

	if (cli_popt_parse(&tool, argc, argv, &run.options, &operands, &status))
		return status;
	if (!operands[0])
		return cli_usage_error(run.name, "which entry? Give its id");
	if (number_parse(operands[0], 0, INT64_MAX, &id) < 0)
		return cli_usage_error(run.name, "%s is not the id of an entry", operands[0]);
	status = run_ring(&run, entry_columns, "region", false, &ring);
	if (status != EXIT_DONE)
		return status;
	return run_finish(&run, tell(&run, &ring, (uint64_t)id));
}
