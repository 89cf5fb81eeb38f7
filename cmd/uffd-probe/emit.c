/* SPDX-License-Identifier: MIT */
/* Findings, exercises and names as records. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "cli/exit.h"
#include "exercise/exercise.h"
#include "probe.h"

static const struct report_column route_columns[] = {
	{"route", "ROUTE", COLUMN_TEXT},
	{"usable", "USABLE", COLUMN_TEXT},
	{"kernel_faults", "KERNEL FAULTS", COLUMN_TEXT},
	{"reason", "REASON", COLUMN_PROSE},
	{"hint", "CURE", COLUMN_PROSE},
	{NULL, NULL, COLUMN_TEXT},
};

static const struct report_column feature_columns[] = {
	{"feature", "FEATURE", COLUMN_TEXT}, {"bit", "BIT", COLUMN_NUMBER},      {"offered", "OFFERED", COLUMN_TEXT},
	{"usable", "USABLE", COLUMN_TEXT},   {"reason", "REASON", COLUMN_PROSE}, {NULL, NULL, COLUMN_TEXT},
};

static const struct report_column memory_columns[] = {
	{"memory", "MEMORY", COLUMN_TEXT},  {"mode", "MODE", COLUMN_TEXT},    {"offered", "OFFERED", COLUMN_TEXT},
	{"ioctls", "IOCTLS", COLUMN_PROSE}, {"needs", "NEEDS", COLUMN_PROSE}, {"reason", "REASON", COLUMN_PROSE},
	{NULL, NULL, COLUMN_TEXT},
};

static const struct report_column facility_columns[] = {
	{"facility", "FACILITY", COLUMN_TEXT}, {"usable", "USABLE", COLUMN_TEXT}, {"reason", "REASON", COLUMN_PROSE},
	{"hint", "CURE", COLUMN_PROSE},        {NULL, NULL, COLUMN_TEXT},
};

static const struct report_column exercise_columns[] = {
	{"exercise", "EXERCISE", COLUMN_TEXT}, {"result", "RESULT", COLUMN_TEXT}, {"time_us", "TIME", COLUMN_TIME},
	{"seen", "SEEN", COLUMN_PROSE},        {NULL, NULL, COLUMN_TEXT},
};

static const struct report_column name_columns[] = {
	{"name", "NAME", COLUMN_NAME},
	{"kind", "KIND", COLUMN_TEXT},
	{NULL, NULL, COLUMN_TEXT},
};

static bool is_wanted(const struct requirement *requirement, enum capability_kind kind, unsigned int index,
		      unsigned int mode)
{
	for (size_t i = 0; i < requirement->count; i++) {
		const struct capability *capability = &requirement->capabilities[i];

		if (capability->kind == kind && capability->index == index && capability->mode == mode)
			return true;
	}
	return !requirement->capabilities;
}

static json_t *route_record(const struct findings *findings, enum uffd_route route)
{
	json_t *record =
		json_pack("{s:s, s:s, s:b, s:b}", "type", "route", "route", uffd_route_name(route), "usable",
			  findings->route[route] == 0, "kernel_faults", uffd_route_kernel_faults(route) ? 1 : 0);
	struct error error = {0};

	uffd_route_explain(route, findings->route[route], &error);
	return with_error(record, &error);
}

/* Without a route nothing is known of features. */
static json_t *not_asked(json_t *record, const char *const *keys, size_t count)
{
	struct error error;

	for (size_t i = 0; record && i < count; i++)
		json_object_set_new(record, keys[i], json_null());
	error_set(&error, -ENOSYS, "no route to a userfaultfd is usable", NULL, " ");
	return with_error(record, &error);
}

static json_t *feature_record(const struct findings *findings, unsigned int bit)
{
	static const char *const unknown[] = {"offered", "usable"};
	bool offered = findings->offered >> bit & 1;
	struct error error = {0};
	json_t *record;
	char name[8];

	record = json_pack("{s:s, s:s, s:i}", "type", "feature", "feature", uffd_feature_name(bit, name), "bit",
			   (int)bit);
	if (!findings->asked)
		return not_asked(record, unknown, ARRAY_SIZE(unknown));
	if (!offered)
		error_set(&error, -EOPNOTSUPP, "this kernel does not offer it", NULL, " ");
	else if (findings->feature[bit] == -EPERM)
		error_set(&error, -EPERM, NULL, "run as root or with CAP_SYS_PTRACE", " ");
	else if (findings->feature[bit])
		error_set(&error, findings->feature[bit], NULL, NULL, " ");
	if (record)
		json_object_update_new(record, json_pack("{s:b, s:b}", "offered", offered ? 1 : 0, "usable",
							 findings->feature[bit] == 0));
	return with_error(record, &error);
}

static void explain_memory(const struct uffd_offer *offer, enum uffd_memory memory, struct error *error)
{
	if (offer->memory_code)
		error_set(error, offer->memory_code, "memory of this kind cannot be had here",
			  memory == UFFD_MEMORY_HUGETLB ? "run a kernel built with CONFIG_HUGETLBFS" : NULL, " ");
	else if (offer->code)
		error_set(error, offer->code, "this kernel does not offer it for this kind of memory", NULL, " ");
}

static json_t *memory_record(const struct findings *findings, enum uffd_memory memory, unsigned int mode)
{
	static const char *const unknown[] = {"offered", "ioctls", "raw"};
	const struct uffd_offer *offer = &findings->memory[memory][mode];
	json_t *record = json_pack("{s:s, s:s, s:s}", "type", "ioctls", "memory", uffd_memory_name(memory), "mode",
				   uffd_mode_names[mode]);
	struct error error = {0};
	char needs[8];

	if (!findings->asked)
		return not_asked(record, unknown, ARRAY_SIZE(unknown));
	if (record)
		json_object_update_new(record,
				       json_pack("{s:b, s:o, s:o}", "offered", offer->code == 0, "ioctls",
						 report_flags(offer->ioctls, uffd_ioctl_names, UFFD_NAMED_IOCTLS),
						 "raw", report_address(offer->ioctls)));
	if (record && offer->needs)
		json_object_set_new(record, "needs",
				    json_string(uffd_feature_name((unsigned int)__builtin_ctzll(offer->needs), needs)));
	explain_memory(offer, memory, &error);
	return with_error(record, &error);
}

static json_t *facility_record(const struct findings *findings, unsigned int index)
{
	int code = findings->facility[index];
	json_t *record = json_pack("{s:s, s:s, s:b}", "type", "facility", "facility", facilities[index].name, "usable",
				   code == 0);
	struct error error = {0};

	if (code)
		facility_explain(index, code, &error);
	return with_error(record, &error);
}

static int emit_features(struct probe *probe, const struct findings *findings, const struct requirement *requirement)
{
	int code = probe_table(probe, "feature", feature_columns);

	for (unsigned int bit = 0; !code && bit < FEATURE_BITS; bit++) {
		bool known = bit < UFFD_NAMED_FEATURES || findings->offered >> bit & 1 || requirement->capabilities;

		if (known && is_wanted(requirement, CAPABILITY_FEATURE, bit, 0))
			probe_record(probe, feature_record(findings, bit));
	}
	return code;
}

static int emit_memory(struct probe *probe, const struct findings *findings, const struct requirement *requirement)
{
	int code = probe_table(probe, "ioctls", memory_columns);

	for (unsigned int memory = 0; !code && memory < UFFD_MEMORIES; memory++)
		for (unsigned int mode = 0; mode < UFFD_NAMED_MODES; mode++)
			if (is_wanted(requirement, CAPABILITY_MEMORY, memory, mode))
				probe_record(probe, memory_record(findings, memory, mode));
	return code;
}

int emit_findings(struct probe *probe, const struct findings *findings, const struct requirement *requirement)
{
	int code = probe_table(probe, "route", route_columns);

	for (unsigned int route = 0; !code && route < UFFD_ROUTES; route++)
		if (is_wanted(requirement, CAPABILITY_ROUTE, route, 0))
			probe_record(probe, route_record(findings, route));
	if (!code)
		code = emit_features(probe, findings, requirement);
	if (!code)
		code = emit_memory(probe, findings, requirement);
	if (!code)
		code = probe_table(probe, "facility", facility_columns);
	for (unsigned int index = 0; !code && index < FACILITIES; index++)
		if (is_wanted(requirement, CAPABILITY_FACILITY, index, 0))
			probe_record(probe, facility_record(findings, index));
	return code;
}

int emit_exercises(struct probe *probe, enum uffd_route route, unsigned int counts[3])
{
	int code = probe_table(probe, "exercise", exercise_columns);

	for (const struct exercise *exercise = exercises; !code && !probe->status && exercise->name; exercise++) {
		struct exercise_outcome outcome;
		int result = exercise_run(exercise, route, EXERCISE_DEADLINE_MS, &outcome);

		if (result) {
			outcome.result = EXERCISE_FAIL;
			outcome.time_us = 0;
			snprintf(outcome.seen, sizeof(outcome.seen), "it could not be started: %s", strerror(-result));
		}
		counts[outcome.result]++;
		probe_record(probe, json_pack("{s:s, s:s, s:s, s:s, s:I}", "type", "exercise", "exercise",
					      exercise->name, "result", exercise_result_name(outcome.result), "seen",
					      outcome.seen, "time_us", (json_int_t)outcome.time_us));
	}
	return code;
}

int emit_names(struct probe *probe)
{
	int code = probe_table(probe, "name", name_columns);
	struct capability capability;

	for (size_t i = 0; !code && capability_at(i, &capability); i++)
		probe_record(probe, json_pack("{s:s, s:s, s:s}", "type", "name", "name", capability.name, "kind",
					      capability_kind_name(capability.kind)));
	return code;
}
