/* SPDX-License-Identifier: MIT */
/* uffd-probe: tells what userfaultfd can do on this kernel, for this user, for that process, by trying it. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "cli/exit.h"
#include "exercise/exercise.h"
#include "probe.h"

/* What a session of swapctl takes of a kernel. */
#define SWAPCTL_NEEDS "pidfd_getfd,event_fork,event_remap,event_remove,event_unmap,sigbus,poison,anonymous/missing/move"

static int require_capability(struct requirement *requirement, const struct capability *capability)
{
	struct capability *grown = reallocarray(requirement->capabilities, requirement->count + 1, sizeof(*capability));

	if (!grown)
		return EXIT_FAILED;
	requirement->capabilities = grown;
	grown[requirement->count++] = *capability;
	return EXIT_DONE;
}

/* Reads "move,poison". Returns an exit code after saying what is wrong. */
static int requirement_parse(const struct run *run, struct requirement *requirement, const char *text)
{
	size_t length;
	int code = EXIT_DONE;

	for (; text && !code; text = text[length] ? text + length + 1 : NULL) {
		char name[sizeof(requirement->capabilities->name)];
		struct capability capability;

		length = strcspn(text, ",");
		snprintf(name, sizeof(name), "%.*s", (int)length, text);
		if (!length)
			return cli_usage_error(run->name, "--require: a name is empty");
		if (strcmp(name, "swapctl") == 0)
			code = requirement_parse(run, requirement, SWAPCTL_NEEDS);
		else if (capability_find(name, &capability) || length >= sizeof(name))
			return cli_usage_error(
				run->name, "--require: %.*s: unknown name, did you mean %s? (see uffd-probe --list)",
				(int)length, text, capability.name);
		else
			code = require_capability(requirement, &capability);
	}
	return code;
}

/* Adds to the summary what is required and not there. Returns the exit code. */
static int judge_requirement(const struct findings *findings, const struct requirement *requirement, json_t *summary)
{
	json_t *missing = json_array();
	bool complete = true;

	for (size_t i = 0; i < requirement->count; i++) {
		const struct capability *capability = &requirement->capabilities[i];

		if (capability_usable(capability, findings))
			continue;
		complete = false;
		json_array_append_new(missing, json_string(capability->name));
	}
	json_object_set_new(summary, "required", json_integer((json_int_t)requirement->count));
	json_object_set_new(summary, "unmet", missing);
	return complete ? EXIT_DONE : EXIT_UNSUPPORTED;
}

static json_t *summarize_findings(const struct findings *findings)
{
	int routes = 0;

	for (unsigned int route = 0; route < UFFD_ROUTES; route++)
		routes += !findings->route[route];
	return json_pack("{s:s, s:i, s:o, s:o}", "type", "summary", "usable_routes", routes, "offered_features",
			 findings->asked ? report_flags(findings->offered, uffd_feature_names, UFFD_NAMED_FEATURES)
					 : json_null(),
			 "raw", findings->asked ? report_address(findings->offered) : json_null());
}

static int probe_kernel(struct probe *probe, const struct probe_values *values, const struct requirement *requirement)
{
	unsigned int counts[3] = {0};
	struct findings findings;
	json_t *summary;
	int code, missing = EXIT_DONE;

	findings_make(&findings);
	code = emit_findings(probe, &findings, requirement);
	if (!code && values->exercise)
		code = emit_exercises(probe, findings.by, counts);
	summary = code ? NULL : summarize_findings(&findings);
	if (!summary)
		return code ? code : EXIT_FAILED;
	if (requirement->capabilities)
		missing = judge_requirement(&findings, requirement, summary);
	if (values->exercise)
		json_object_update_new(summary, json_pack("{s:i, s:i, s:i}", "passed", counts[EXERCISE_PASS], "failed",
							  counts[EXERCISE_FAIL], "not_applicable",
							  counts[EXERCISE_NOT_APPLICABLE]));
	probe_record(probe, summary);
	if (counts[EXERCISE_FAIL])
		return EXIT_FAILED;
	return missing;
}

static int probe_one(struct run *run)
{
	return emit_target(run->context, &run->target);
}

static int probe_processes(struct probe *probe)
{
	int code = run_choose(probe->run);

	probe->run->options.style.named = probe->run->many;
	probe->run->context = probe;
	return code ? code : run_chosen(probe->run, probe_one, NULL, "those that matched have ended");
}

static int check_words(const struct run *run, const struct probe_values *values)
{
	bool process = cli_chooses_process(&run->options);

	if (process && (values->exercise || values->require || values->list))
		return cli_usage_error(run->name,
				       "%s: it is about this kernel, and --pid about a process; give one of them",
				       values->exercise  ? "--exercise"
				       : values->require ? "--require"
							 : "--list");
	if (values->list && (values->exercise || values->require))
		return cli_usage_error(run->name, "--list: it prints names and does nothing else; give it alone");
	return EXIT_DONE;
}

int verb_probe(struct run *run)
{
	const struct probe_values *values = run_values(run);
	struct probe probe = {.run = run};
	struct requirement requirement = {0};
	int code = check_words(run, values);

	if (!code)
		code = requirement_parse(run, &requirement, values->require);
	if (!code && cli_chooses_process(&run->options))
		code = probe_processes(&probe);
	else if (!code && values->list)
		code = emit_names(&probe);
	else if (!code)
		code = probe_kernel(&probe, values, &requirement);
	free(requirement.capabilities);
	return probe_end(&probe, code);
}
