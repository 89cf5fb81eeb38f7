/* SPDX-License-Identifier: MIT */
/* swapctl out: memory out to the store. */
#include <errno.h>

#include "base/cleanup.h"
#include "swapctl.h"

/* Whether any option that makes a session what it is was given. */
static bool session_options_given(const struct run *run)
{
	static const char *const names[] = {"store", "limit", "compress", "cluster", "encrypt", "no-encrypt", "access"};

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
	rc = session_attach(&run->target, session, session_ignore, NULL, error);
	*made = rc == 0;
	return rc == -EEXIST ? 0 : rc;
}

static int swap_out(struct run *run, const struct session_options *session, const struct session_request *request)
{
	struct error error = {0};
	bool made = false;
	int signal;
	int rc = ensure_session(run, session, &made, &error);

	if (rc < 0)
		return run_failed(run, rc, &error);
	progress_begin(&run->progress, "swapping out", run->options.quiet);
	rc = run_cancellable(run, request, &signal, &error);
	progress_end(&run->progress);
	if (made && (request->dry_run || rc == -EINVAL)) {
		struct error ignored = {0};

		session_ask(&run->target, &(struct session_request){.verb = REQUEST_DETACH}, session_ignore, NULL,
			    &ignored);
	}
	return run_outcome(run, rc, signal, &error);
}

static int out_one(struct run *run)
{
	const struct swapctl_values *values = run_values(run);
	struct session_request request = {.verb = REQUEST_OUT, .bytes = values->bytes, .dry_run = values->dry_run};
	struct region_vec *regions;
	int status = run_regions(run, &regions);

	if (status != EXIT_DONE)
		return status;
	request.regions = run->options.regions ? regions : NULL;
	return kernel_chosen(&values->session) ? kernel_out(run, &request) : swap_out(run, &values->session, &request);
}

int verb_out(struct run *run)
{
	const struct swapctl_values *values = run_values(run);
	int status = kernel_chosen(&values->session) ? kernel_check_options(run) : EXIT_DONE;

	return status != EXIT_DONE ? status : run_each(run, out_one);
}
