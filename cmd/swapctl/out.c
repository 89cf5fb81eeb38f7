/* SPDX-License-Identifier: MIT */
/* swapctl out: memory out to the store. */
#include <errno.h>

#include "base/cleanup.h"
#include "swapctl.h"

static void ignore_record(void *context, json_t *record)
{
	(void)context;
	json_decref(record);
}

/* Whether any option that makes a session what it is was given. */
static bool session_options_given(const struct run *run)
{
	static const char *const names[] = {"store", "limit", "compress", "cluster", "encrypt", "no-encrypt", "road"};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (cli_given(&run->options, names[i]))
			return true;
	return false;
}

/* A session is made when there is none; asking what would be done needs one too, and leaves none behind. */
static int ensure_session(struct run *run, const struct session_options *session, bool *made, struct error *error)
{
	int rc;

	if (session_exists(&run->target))
		return session_options_given(run)
			       ? error_set(error, -EINVAL, "it has a session, made with its own",
					   "detach first, or leave them out", "use the options of attach")
			       : 0;
	rc = session_attach(&run->target, session, ignore_record, NULL, error);
	*made = rc == 0;
	return rc == -EEXIST ? 0 : rc;
}

static int swap_out(struct run *run, const struct swapctl_values *values, json_t *regions)
{
	json_t *request = json_pack("{s:s,s:I,s:b}", "verb", "out", "bytes", (json_int_t)values->bytes, "dry_run",
				    values->dry_run);
	struct error error = {0};
	bool made = false;
	int signal;
	int rc;

	if (regions)
		json_object_set(request, "regions", regions);
	rc = ensure_session(run, &values->session, &made, &error);
	if (rc < 0) {
		json_decref(request);
		return run_failed(run, rc, &error);
	}
	progress_begin(&run->progress, "swapping out", run->options.quiet);
	rc = run_cancellable(run, request, &signal, &error);
	progress_end(&run->progress);
	if (made && (values->dry_run || rc == -EINVAL)) {
		struct error ignored = {0};

		session_request(&run->target, json_pack("{s:s}", "verb", "detach"), ignore_record, NULL, &ignored);
	}
	return run_outcome(run, rc, signal, &error);
}

int verb_out(struct run *run)
{
	json_t *regions = NULL;
	int status = run_begin(run);

	if (status == EXIT_DONE)
		status = run_regions(run, &regions);
	if (status == EXIT_DONE)
		status = swap_out(run, run_values(run), regions);
	json_decref(regions);
	return status;
}
