/* SPDX-License-Identifier: MIT */
/* reclaimctl query: what became of one entry. */
#include <errno.h>

#include "base/size.h"
#include "reclaimctl.h"

static int emit_entry(struct run *run, const struct ring_found *ring, uint64_t id)
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
		record = report_process("entry", run->target.pid, run->target.starttime);
	ring_number(record, "id", id);
	json_object_set_new(record, "state", json_string(ring_state_name(state)));
	report_record(run->report, record);
	return EXIT_DONE;
}

int verb_query(struct run *run)
{
	_cleanup_ring_ struct ring_found ring = RING_FOUND_NONE;
	const char *word = run->operands[0];
	int64_t id;
	int status;

	if (!word)
		return cli_usage_error(run->name, "which entry? Give its id");
	if (number_parse(word, 0, INT64_MAX, &id) < 0)
		return cli_usage_error(run->name, "%s is not the id of an entry", word);
	status = run_begin(run);
	if (status == EXIT_DONE)
		status = run_ring(run, false, &ring);
	return status == EXIT_DONE ? emit_entry(run, &ring, (uint64_t)id) : status;
}
