/* SPDX-License-Identifier: MIT */
/* swapctl out: memory out to the store. */
#include <errno.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/size.h"
#include "swapctl.h"

static void ignore_record(void *context, json_t *record)
{
	(void)context;
	json_decref(record);
}

/* A session is made when there is none; asking what would be done needs one too, and leaves none behind. */
static int ensure_session(struct run *run, const struct session_options *session, bool given, bool *made,
			  struct error *error)
{
	int rc;

	if (session_exists(&run->target))
		return given ? error_set(error, -EINVAL, "it has a session, made with its own",
					 "detach first, or leave them out", "use the options of attach")
			     : 0;
	rc = session_attach(&run->target, session, ignore_record, NULL, error);
	*made = rc == 0;
	return rc == -EEXIST ? 0 : rc;
}

static int swap_out(struct run *run, const struct session_options *session, bool given, json_t *regions, uint64_t bytes,
		    bool dry_run)
{
	json_t *request = json_pack("{s:s,s:I,s:b}", "verb", "out", "bytes", (json_int_t)bytes, "dry_run", dry_run);
	struct error error = {0};
	bool made = false;
	int signal;
	int rc;

	if (regions)
		json_object_set(request, "regions", regions);
	rc = ensure_session(run, session, given, &made, &error);
	if (rc < 0) {
		json_decref(request);
		return run_failed(run, rc, &error);
	}
	progress_begin(&run->progress, "swapping out", run->options.quiet);
	rc = run_cancellable(run, request, &signal, &error);
	progress_end(&run->progress);
	if (made && (dry_run || rc == -EINVAL)) {
		struct error ignored = {0};

		session_request(&run->target, json_pack("{s:s}", "verb", "detach"), ignore_record, NULL, &ignored);
	}
	return run_outcome(run, rc, signal, &error);
}

int verb_out(int argc, const char **argv)
{
	_cleanup_run_ struct run run = RUN_NONE("swapctl out");
	_cleanup_attach_ struct attach_texts texts = {0};
	_cleanup_free_ char *bytes_text = NULL;
	int dry_run = 0;
	const struct poptOption options[] = {
		{"bytes", 0, POPT_ARG_STRING, &bytes_text, 0, "stop after so much has left memory", "N"},
		{"dry-run", 'n', POPT_ARG_NONE, &dry_run, 0, "say what would be moved, change nothing", NULL},
		ATTACH_OPTIONS(texts),
		POPT_TABLEEND,
	};
	const struct cli_popt_tool tool = {
		.name = "swapctl out",
		.usage = "-p PID [-r FILE] [OPTION...]",
		.about = "Moves memory of a process out to its session's store: the given regions, or everything "
			 "eligible.",
		.options = options,
		.takes = CLI_TAKES_PID | CLI_TAKES_REGIONS,
	};
	struct session_options session;
	json_t *regions = NULL;
	uint64_t bytes = 0;
	int status;

	if (cli_popt_parse(&tool, argc, argv, &run.options, NULL, &status))
		return status;
	if (bytes_text && (size_parse(bytes_text, &bytes) < 0 || !bytes))
		return cli_usage_error(run.name, "--bytes: %s is not a size above 0", bytes_text);
	status = attach_parse(&run, &texts, &session);
	if (status == EXIT_DONE)
		status = run_open(&run, region_columns, "region", false);
	if (status == EXIT_DONE)
		status = run_regions(&run, &regions);
	if (status == EXIT_DONE)
		status = swap_out(&run, &session, attach_given(&texts), regions, bytes, dry_run);
	json_decref(regions);
	return run_finish(&run, status);
}
