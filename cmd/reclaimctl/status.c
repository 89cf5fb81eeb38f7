/* SPDX-License-Identifier: MIT */
/* reclaimctl status: what waits in a ring, or in all of them. */
#include "reclaimctl.h"

struct walk {
	struct run *run;
	unsigned int rings, broken;
};

static int show_ring(void *context, const struct target *target, struct ring_found *ring, const struct error *error)
{
	struct walk *walk = context;
	json_t *record;

	if (ring) {
		walk->rings++;
		return report_record(walk->run->report, ring_record(target, ring));
	}
	walk->broken++;
	record = error_record("find", error);
	json_object_set_new(record, "pid", json_integer(target->pid));
	return report_record(walk->run->report, record);
}

static int show_all(struct run *run)
{
	struct walk walk = {.run = run};
	struct error error = {0};
	int rc = ring_find_all(show_ring, &walk);

	if (rc < 0) {
		error_set(&error, rc, NULL, NULL, "look at all processes");
		return run_failed(run, rc, &error);
	}
	report_record(run->report,
		      json_pack("{s:s, s:i, s:i}", "type", "summary", "rings", walk.rings, "errors", walk.broken));
	return walk.broken ? EXIT_PARTIAL : EXIT_DONE;
}

static int show_one(struct run *run)
{
	_cleanup_ring_ struct ring_found ring = RING_FOUND_NONE;
	int status = run_ring(run, false, &ring);

	if (status != EXIT_DONE)
		return status;
	report_record(run->report, ring_record(&run->target, &ring));
	report_record(run->report, json_pack("{s:s, s:i, s:i}", "type", "summary", "rings", 1, "errors", 0));
	return EXIT_DONE;
}

static int status_one(struct run *run)
{
	return run->target.pidfd >= 0 ? show_one(run) : show_all(run);
}

int verb_status(struct run *run)
{
	return run_each_fitting(run, status_one, ring_exists, NO_RINGS);
}
