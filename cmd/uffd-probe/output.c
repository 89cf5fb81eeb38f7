/* SPDX-License-Identifier: MIT */
/* Where records go. */
#include "cli/exit.h"
#include "probe.h"
#include "tool/describe.h"

int probe_table(struct probe *probe, const char *type, const struct report_column *columns)
{
	const char *why = NULL;
	int closed = report_close(probe->report);

	probe->report = NULL;
	if (!probe->status)
		probe->status = closed;
	probe->run->options.style.sentences = probe->run->verb->sentences;
	if (report_open(&probe->report, &probe->run->options.style, columns, type, &why))
		return cli_usage_error(probe->run->name, "%s", why);
	report_describe(probe->report, describe_process);
	return EXIT_DONE;
}

void probe_record(struct probe *probe, json_t *record)
{
	if (probe->status)
		json_decref(record);
	else
		probe->status = report_record(probe->report, record);
}

int probe_end(struct probe *probe, int code)
{
	int closed = report_close(probe->report);

	probe->report = NULL;
	if (!probe->status)
		probe->status = closed;
	return run_written(probe->run, probe->status, code);
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
