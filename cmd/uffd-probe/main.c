/* SPDX-License-Identifier: MIT */
/* uffd-probe: tells what userfaultfd can do on this kernel, for this user, for that process, by trying it. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "cli/exit.h"
#include "probe.h"
#include "uffd/exercise.h"

/* The tool's own options. */
struct own {
	char *require;
	int exercise, list;
};

int run_table(struct run *run, const char *type, const struct report_column *columns)
{
	const char *why = NULL;
	int closed = report_close(run->report);

	run->report = NULL;
	if (!run->status)
		run->status = closed;
	if (report_open(&run->report, run->options->format, run->options->columns, columns, type, &why))
		return cli_usage_error(NAME, "%s", why);
	return EXIT_DONE;
}

void run_record(struct run *run, json_t *record)
{
	if (run->status)
		json_decref(record);
	else
		run->status = report_record(run->report, record);
}

/* Ends the output. Returns the exit code: `code`, unless writing failed. */
static int run_end(struct run *run, int code)
{
	struct error error;
	int closed = report_close(run->report);

	run->report = NULL;
	if (!run->status)
		run->status = closed;
	if (!run->status || code == EXIT_USAGE)
		return code;
	error_set(&error, run->status, NULL, NULL, "write records");
	error_print(NAME, &error);
	return EXIT_FAILED;
}

json_t *with_error(json_t *record, const struct error *error)
{
	if (!record || !error->code)
		return record;
	json_object_set_new(record, "errno", json_string(error_name(-error->code)));
	json_object_set_new(record, "reason", json_string(error->why));
	if (*error->hint)
		json_object_set_new(record, "hint", json_string(error->hint));
	return record;
}

/* Reads "move,poison". Returns an exit code after saying what is wrong. */
static int requirement_parse(struct requirement *requirement, const char *text)
{
	size_t length;

	for (; text; text = text[length] ? text + length + 1 : NULL) {
		char name[sizeof(requirement->things->name)];
		struct thing thing, *grown;

		length = strcspn(text, ",");
		snprintf(name, sizeof(name), "%.*s", (int)length, text);
		if (!length)
			return cli_usage_error(NAME, "--require: a name is empty");
		if (thing_find(name, &thing) || length >= sizeof(name))
			return cli_usage_error(NAME,
					       "--require: %.*s: unknown name, did you mean %s? (see " NAME " --list)",
					       (int)length, text, thing.name);
		grown = reallocarray(requirement->things, requirement->count + 1, sizeof(thing));
		if (!grown)
			return EXIT_FAILED;
		requirement->things = grown;
		grown[requirement->count++] = thing;
	}
	return EXIT_DONE;
}

/* Adds to the summary what is required and not there. Returns the exit code. */
static int judge(const struct findings *findings, const struct requirement *requirement, json_t *summary)
{
	json_t *missing = json_array();
	bool complete = true;

	for (size_t i = 0; i < requirement->count; i++) {
		const struct thing *thing = &requirement->things[i];

		if (thing_usable(thing, findings))
			continue;
		complete = false;
		json_array_append_new(missing, json_string(thing->name));
	}
	json_object_set_new(summary, "required", json_integer((json_int_t)requirement->count));
	json_object_set_new(summary, "missing", missing);
	return complete ? EXIT_DONE : EXIT_UNSUPPORTED;
}

static json_t *summarize(const struct findings *findings)
{
	int routes = 0;

	for (unsigned int route = 0; route < UFFD_ROUTES; route++)
		routes += !findings->route[route];
	return json_pack("{s:s, s:i, s:o, s:o}", "type", "summary", "usable_routes", routes, "offered",
			 findings->asked ? report_flags(findings->offered, uffd_feature_names, UFFD_NAMED_FEATURES)
					 : json_null(),
			 "raw", findings->asked ? report_address(findings->offered) : json_null());
}

static int probe_kernel(struct run *run, const struct own *own, const struct requirement *requirement)
{
	unsigned int counts[3] = {0};
	struct findings findings;
	json_t *summary;
	int code, missing = EXIT_DONE;

	findings_make(&findings);
	code = tell_findings(run, &findings, requirement);
	if (!code && own->exercise)
		code = tell_exercises(run, findings.by, counts);
	summary = code ? NULL : summarize(&findings);
	if (!summary)
		return code ? code : EXIT_FAILED;
	if (requirement->things)
		missing = judge(&findings, requirement, summary);
	if (own->exercise)
		json_object_update_new(summary, json_pack("{s:i, s:i, s:i}", "passed", counts[EXERCISE_PASS], "failed",
							  counts[EXERCISE_FAIL], "not_applicable",
							  counts[EXERCISE_NOT_APPLICABLE]));
	run_record(run, summary);
	if (counts[EXERCISE_FAIL])
		return EXIT_FAILED;
	return missing;
}

static int probe_target(struct run *run)
{
	_cleanup_target_ struct target target = TARGET_NONE;
	struct error error = {0};
	int result = target_open(&target, run->options->pid, run->options->pidfd, &error);

	if (!result)
		return tell_target(run, &target);
	error_print(NAME, &error);
	return exit_code_of(result);
}

static int check_usage(const struct cli_options *options, const struct own *own)
{
	bool process = options->pid || options->pidfd >= 0;

	if (process && (own->exercise || own->require || own->list))
		return cli_usage_error(NAME, "%s is about this kernel, --pid about a process: give one of them",
				       own->exercise  ? "--exercise"
				       : own->require ? "--require"
						      : "--list");
	if (own->list && (own->exercise || own->require))
		return cli_usage_error(NAME, "--list prints names and does nothing else: give it alone");
	return EXIT_DONE;
}

static int probe(const struct cli_options *options, const struct own *own)
{
	struct run run = {.options = options};
	struct requirement requirement = {0};
	int code = check_usage(options, own);

	if (!code)
		code = requirement_parse(&requirement, own->require);
	if (!code && (options->pid || options->pidfd >= 0))
		code = probe_target(&run);
	else if (!code && own->list)
		code = tell_names(&run);
	else if (!code)
		code = probe_kernel(&run, own, &requirement);
	free(requirement.things);
	return run_end(&run, code);
}

int main(int argc, const char **argv)
{
	struct own own = {0};
	const struct poptOption rows[] = {
		{"exercise", 0, POPT_ARG_NONE, &own.exercise, 0, "Use everything for real, in child processes", NULL},
		{"require", 0, POPT_ARG_STRING, &own.require, 0,
		 "Succeed only when all of these are usable (see --list)", "NAME,..."},
		{"list", 0, POPT_ARG_NONE, &own.list, 0, "List the names that --require takes", NULL},
		POPT_TABLEEND,
	};
	const struct cli_popt_tool tool = {
		.name = NAME,
		.usage = "[OPTION...]",
		.about = "Tells what userfaultfd can do on this kernel, for this user, for that process, by trying it.",
		.options = rows,
		.takes = CLI_TAKES_PID,
	};
	_cleanup_options_ struct cli_options options = {.pidfd = -1};
	int code;

	if (cli_popt_parse(&tool, argc, argv, &options, NULL, &code)) {
		free(own.require);
		return code;
	}
	code = probe(&options, &own);
	free(own.require);
	return code;
}
