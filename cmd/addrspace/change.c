/* SPDX-License-Identifier: MIT */
/* The frame of a change: regions in, a look at them, records out. */
#include "change.h"

#include <errno.h>

#include "access/in_child.h"
#include "cli/interrupt.h"

int change_begin(struct run *run, struct region_vec **regions)
{
	static struct region region;
	static struct region_vec one = {.items = &region, .count = 1};
	const char *word = run->operands[0];
	int status;

	if (!word == !run->options.regions)
		return cli_usage_error(run->name, word ? "START-END and -r: give one of them"
						       : "which memory? give START-END or -r FILE");
	status = run_begin(run);
	if (status != EXIT_DONE)
		return status;
	if (!word)
		return run_regions(run, regions);
	*regions = &one;
	return parse_region(run, word, &region);
}

static void ignore_area(void *context, struct region area)
{
	(void)context;
	(void)area;
}

int change_open(struct change *change, struct error *error)
{
	int rc = target_check(&change->run->target, error);

	change->interrupted = interrupt_catch();
	if (rc < 0 || change->dry_run)
		return rc;
	rc = inject_open_in_child(&change->inject, &change->run->target, ignore_area, NULL, error);
	change->injecting = rc == 0;
	return rc;
}

int change_inspect(struct change *change, const struct region_vec *regions, unsigned int takes, struct pieces *pieces,
		   struct error *error)
{
	struct inject *inject = change->injecting ? &change->inject : NULL;
	const struct target *target = &change->run->target;
	int rc = pieces_read(target, inject, regions, pieces);

	if (rc < 0)
		return error_set(error, rc, rc == -ESRCH ? "it has ended" : NULL, NULL, "look at process %d (%s)",
				 target->pid, target->name);
	return pieces_check(pieces, target, inject, takes, change->force, change->op, error);
}

int change_report(struct change *change, json_t *record, uint64_t bytes)
{
	change->regions++;
	change->bytes += bytes;
	if (record) {
		json_object_set_new(record, "op", json_string(change->op));
		json_object_set_new(record, "done", json_boolean(!change->dry_run));
	}
	return report_record(change->run->report, record);
}

static void explain_failure(int rc, bool mapped, struct error *error)
{
	static const struct error_cause causes[] = {
		{-ENOMEM, .why = "the process would have too many mappings, or too much memory",
		 .hint = "see addrspace info"},
		{-EACCES, .why = "the object was not opened for that"},
		{-EPERM, .why = "the mapping is sealed, or the right is missing"},
		{-EOPNOTSUPP, .why = "this kind of memory cannot be made copy on write"},
		{-EAGAIN, .why = "the process has changed it meanwhile"},
		{-EINTR, .why = "interrupted before it was done"},
		{0},
	};

	if (mapped)
		error_explain(error, causes, rc, "change memory");
	else
		error_set(error, rc, "nothing is mapped there", NULL, "change memory");
}

/* `left`: of a piece; empty when all of it was changed, and could not be locked again. */
static int report_error(struct change *change, struct region left, int rc, const struct edit_piece *piece)
{
	const struct target *target = &change->run->target;
	struct region region = region_bytes(left) ? left : piece->part;
	struct error error = {0};
	json_t *record, *where;

	change->errors++;
	if (!change->first_error)
		change->first_error = rc;
	explain_failure(rc, piece->mapped, &error);
	if (!region_bytes(left))
		error_set(&error, rc, "it is copy on write now, and not locked any more", "see its RLIMIT_MEMLOCK",
			  "lock memory");
	record = error_record(region_bytes(left) ? change->call : "mlock", &error);
	where = report_region("error", target->pid, target->starttime, region.start, region.end);
	if (record && where)
		json_object_update_missing(record, where);
	json_decref(where);
	return report_record(change->run->report, record);
}

/* The part up to `reached`, as a mapping of its own. */
static json_t *part_record(const struct target *target, const struct edit_piece *piece, struct region part,
			   void (*describe)(struct mapping *, json_t *, void *), void *context)
{
	struct mapping mapping = piece->mapping;
	json_t *record, *more = json_object();

	mapping.offset += part.start - mapping.region.start;
	mapping.region = part;
	if (describe && more)
		describe(&mapping, more, context);
	record = mapping_record(target, &mapping, part);
	if (record && more)
		json_object_update(record, more);
	json_decref(more);
	return record;
}

/* Not about the piece, but about the process: the next one would fail as well. */
static bool is_fatal(int rc)
{
	return rc == -ESRCH || rc == -ETIMEDOUT;
}

/* Returns what the change returned; output that cannot be written is told at the end. */
static int do_piece(struct change *change, const struct edit_piece *piece, change_piece_fn one,
		    void (*describe)(struct mapping *, json_t *, void *), void *context)
{
	struct region done = {piece->part.start, piece->part.end}, left = {piece->part.end, piece->part.end};
	int rc = piece->mapped ? 0 : -ENOMEM;

	if (rc == 0 && *change->interrupted)
		rc = -EINTR;
	if (rc < 0)
		done.end = left.start = done.start;
	else if (!change->dry_run) {
		rc = one(change, piece, context, &done.end);
		left.start = done.end;
	}
	if (done.start < done.end)
		change_report(change, part_record(&change->run->target, piece, done, describe, context),
			      region_bytes(done));
	if (rc < 0 && !is_fatal(rc))
		report_error(change, left, rc, piece);
	return rc;
}

int change_pieces(struct change *change, const struct pieces *pieces, change_piece_fn one,
		  void (*describe)(struct mapping *mapping, json_t *record, void *context), void *context,
		  struct error *error)
{
	int rc = 0;

	for (size_t i = 0; !is_fatal(rc) && i < pieces->count; i++)
		rc = do_piece(change, &pieces->items[i], one, describe, context);
	if (change->inject.tid)
		inject_end(&change->inject);
	if (!is_fatal(rc))
		return 0;
	return error_set(error, rc, rc == -ESRCH ? "it has ended" : "its threads do not run",
			 rc == -ESRCH ? NULL : "is its cgroup frozen, or is it ending?", "%s memory of process %d",
			 change->op, change->run->target.pid);
}

static int summarize_change(struct change *change)
{
	const struct target *target = &change->run->target;
	json_t *record = json_pack("{s:s, s:s, s:b, s:i, s:I, s:I, s:I, s:I}", "type", "summary", "op", change->op,
				   "done", !change->dry_run, "pid", (int)target->pid, "starttime",
				   (json_int_t)target->starttime, "regions", (json_int_t)change->regions, "bytes",
				   (json_int_t)change->bytes, "errors", (json_int_t)change->errors);

	if (record && change->injecting) {
		report_number(record, "stops", change->inject.stops);
		report_number(record, "longest_stop_us", change->inject.longest_us);
	}
	return report_record(change->run->report, record);
}

int change_close(struct change *change, int rc, struct error *error)
{
	int closed;

	if (rc == 0)
		summarize_change(change);
	closed = change->injecting ? inject_close_in_child(&change->inject) : 0;
	if (rc == 0 && closed < 0 && closed != -ESRCH)
		rc = error_set(error, closed, "something of ours stays in it", NULL, "leave process %d",
			       change->run->target.pid);
	if (rc < 0)
		return interrupt_status(run_failed(change->run, rc, error));
	if (!change->errors)
		return EXIT_DONE;
	return interrupt_status(change->regions ? EXIT_PARTIAL : exit_code_of(change->first_error));
}
