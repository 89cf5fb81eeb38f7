/* SPDX-License-Identifier: MIT */
/* reclaimctl list: a record a region that waits in the ring. */
#include <errno.h>
#include <fcntl.h>

#include "base/cleanup.h"
#include "pages/tally.h"
#include "reclaimctl.h"

struct list {
	struct run *run;
	struct pages pages;
	uint64_t regions, bytes, resident, errors;
};

static void show_entry(struct list *list, const struct ring_work *work, enum ring_state state)
{
	struct run *run = list->run;
	struct error error = {0};
	struct region region;
	struct residency sum;
	json_t *record;

	if (ring_region(work, &region) < 0) {
		error_set(&error, -EINVAL, "no region can be there", "the program enters what is not its to give away",
			  "list");
		record = error_record("list", &error);
		ring_number(record, "id", work->id);
		json_object_set_new(record, "start", report_address(work->address));
		list->errors++;
		report_record(run->report, record);
		return;
	}
	if (!region_bytes(region))
		return;
	record = entry_record(&run->target, work, region);
	json_object_set_new(record, "state", json_string(ring_state_name(state)));
	if (pages_sum(&list->pages, region, &sum) < 0)
		json_object_set_new(record, "resident_bytes", json_null());
	else
		ring_number(record, "resident_bytes", sum.resident);
	list->regions++;
	list->bytes += region_bytes(region);
	list->resident += sum.resident;
	report_record(run->report, record);
}

static int list_ring(struct run *run, const struct ring_found *ring)
{
	_cleanup_close_ int pagemap = target_proc_open(&run->target, "pagemap", O_RDONLY);
	struct list list = {.run = run, .pages = {.pagemap_fd = pagemap}};
	struct error error = {0};
	uint64_t first, end;
	json_t *summary;
	int rc = pagemap < 0 ? pagemap : pages_open(&list.pages);

	if (rc < 0) {
		error_set(&error, rc, NULL, NULL, "look at the pages of process %d", run->target.pid);
		return run_failed(run, rc, &error);
	}
	ring_ids(&ring->view, &first, &end);
	for (uint64_t id = first; id != end; id++) {
		struct ring_work work;
		enum ring_state state;

		if (ring_entry_at(&ring->view, id, &state, &work) == 0 &&
		    (state == RING_UNRECLAIMED || state == RING_BUSY))
			show_entry(&list, &work, state);
	}
	summary = json_pack("{s:s, s:i}", "type", "summary", "pid", run->target.pid);
	ring_number(summary, "regions", list.regions);
	ring_number(summary, "bytes", list.bytes);
	ring_number(summary, "resident_bytes", list.resident);
	ring_number(summary, "errors", list.errors);
	report_record(run->report, summary);
	return list.errors ? EXIT_PARTIAL : EXIT_DONE;
}

static int list_one(struct run *run)
{
	_cleanup_ring_ struct ring_found ring = RING_FOUND_NONE;
	int status = run_ring(run, false, &ring);

	return status == EXIT_DONE ? list_ring(run, &ring) : status;
}

int verb_list(struct run *run)
{
	return run_each_fitting(run, list_one, ring_exists, NO_RINGS);
}
