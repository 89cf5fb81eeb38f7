/* SPDX-License-Identifier: MIT */
/* reclaimctl list: a record a region that waits in the ring. */
#include <errno.h>
#include <fcntl.h>

#include "base/cleanup.h"
#include "pages/pages.h"
#include "reclaimctl.h"

#define STEP (UINT64_C(1) << 30)

struct list {
	struct run *run;
	struct pages pages;
	uint64_t regions, bytes, resident, errors;
};

static int add_resident(void *context, struct region part, const struct residency *residency)
{
	uint64_t *sum = context;

	(void)part;
	*sum += residency->resident;
	return 0;
}

static void show_entry(struct list *list, const struct ring_work *work, enum ring_state state)
{
	struct run *run = list->run;
	struct error error = {0};
	struct region region;
	uint64_t resident = 0;
	json_t *record;

	if (ring_region(work, &region) < 0) {
		error_set(&error, -EINVAL, "no region can be there", "the program enters what is not its to give away",
			  "list");
		record = error_record("list", &error);
		json_object_set_new(record, "id", ring_number(work->id));
		json_object_set_new(record, "start", report_address(work->address));
		list->errors++;
		report_record(run->report, record);
		return;
	}
	if (!region_bytes(region))
		return;
	record = entry_record(&run->target, work, region);
	json_object_set_new(record, "state", json_string(ring_state_name(state)));
	if (pages_superpages(&list->pages, region, STEP, true, add_resident, &resident) < 0)
		json_object_set_new(record, "resident_bytes", json_null());
	else
		json_object_set_new(record, "resident_bytes", ring_number(resident));
	list->regions++;
	list->bytes += region_bytes(region);
	list->resident += resident;
	report_record(run->report, record);
}

static int list_ring(struct run *run, const struct ring_found *ring)
{
	_cleanup_close_ int pagemap = target_proc_open(&run->target, "pagemap", O_RDONLY);
	struct list list = {.run = run, .pages = {.pagemap_fd = pagemap}};
	struct error error = {0};
	uint64_t first, end;
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
	report_record(run->report,
		      json_pack("{s:s, s:i, s:o, s:o, s:o, s:o}", "type", "summary", "pid", run->target.pid, "regions",
				ring_number(list.regions), "bytes", ring_number(list.bytes), "resident_bytes",
				ring_number(list.resident), "errors", ring_number(list.errors)));
	return list.errors ? EXIT_PARTIAL : EXIT_DONE;
}

int verb_list(struct run *run)
{
	_cleanup_ring_ struct ring_found ring = RING_FOUND_NONE;
	int status = run_ring(run, false, &ring);

	return status == EXIT_DONE ? list_ring(run, &ring) : status;
}
