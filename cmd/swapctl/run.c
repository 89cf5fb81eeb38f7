/* What every verb does before and after its one thing. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/size.h"
#include "report/input.h"
#include "swapctl.h"

const struct report_column session_columns[] = {
	{"pid", "PID", COLUMN_NUMBER},
	{"state", "STATE", COLUMN_TEXT},
	{"out_pages", "OUT", COLUMN_NUMBER},
	{"stored_pages", "STORED", COLUMN_NUMBER},
	{"zero_pages", "ZERO", COLUMN_NUMBER},
	{"store_bytes", "STORE", COLUMN_SIZE},
	{"faults", "FAULTS", COLUMN_NUMBER},
	{"fault_p50_us", "P50_US", COLUMN_NUMBER},
	{"fault_p99_us", "P99_US", COLUMN_NUMBER},
	{"longest_stop_us", "STOP_US", COLUMN_NUMBER},
	{"worker_pid", "WORKER", COLUMN_NUMBER},
	{NULL, NULL, COLUMN_TEXT},
};

const struct report_column region_columns[] = {
	{"start", "START", COLUMN_TEXT},         {"end", "END", COLUMN_TEXT},
	{"asked_bytes", "ASKED", COLUMN_SIZE},   {"moved_bytes", "MOVED", COLUMN_SIZE},
	{"stored_bytes", "STORED", COLUMN_SIZE}, {"compressed_bytes", "COMPRESSED", COLUMN_SIZE},
	{"zero_pages", "ZERO", COLUMN_NUMBER},   {"skipped_bytes", "SKIPPED", COLUMN_SIZE},
	{"time_us", "TIME_US", COLUMN_NUMBER},   {NULL, NULL, COLUMN_TEXT},
};

const struct report_column error_columns[] = {
	{"start", "START", COLUMN_TEXT}, {"cluster", "CLUSTER", COLUMN_NUMBER},
	{"errno", "ERRNO", COLUMN_TEXT}, {"reason", "REASON", COLUMN_TEXT},
	{NULL, NULL, COLUMN_TEXT},
};

int run_failed(const struct run *run, int rc, const struct error *error)
{
	error_print(run->name, error);
	return exit_code_of(rc);
}

int run_open(struct run *run, const struct report_column *columns, const char *type, bool target_optional)
{
	bool named = run->options.pid || run->options.pidfd >= 0;
	struct error error = {0};
	const char *why = NULL;
	int rc = report_open(&run->report, run->options.format, run->options.columns, columns, type, &why);

	if (rc < 0)
		return cli_usage_error(run->name, "%s", why ? why : "out of memory");
	if (!named)
		return target_optional ? EXIT_DONE
				       : cli_usage_error(run->name, "which process? Give it with -p PID or --pidfd FD");
	rc = target_open(&run->target, run->options.pid, run->options.pidfd, &error);
	return rc < 0 ? run_failed(run, rc, &error) : EXIT_DONE;
}

void run_close(struct run *run)
{
	progress_end(&run->progress);
	report_close(run->report);
	target_close(&run->target);
	cli_options_free(&run->options);
}

int run_finish(struct run *run, int status)
{
	int rc = report_close(run->report);
	struct error error = {0};

	run->report = NULL;
	if (rc == 0 || rc == -EPIPE)
		return rc == -EPIPE && status == EXIT_DONE ? EXIT_FAILED : status;
	error_set(&error, rc, NULL, "is its file system full?", "write to standard output");
	error_print(run->name, &error);
	return status == EXIT_DONE || status == EXIT_PARTIAL ? EXIT_FAILED : status;
}

void run_record(void *context, json_t *record)
{
	struct run *run = context;
	const char *type = json_string_value(json_object_get(record, "type"));

	if (type && strcmp(type, "progress") == 0) {
		progress_update(&run->progress, (uint64_t)json_integer_value(json_object_get(record, "done")),
				(uint64_t)json_integer_value(json_object_get(record, "total")));
		json_decref(record);
		return;
	}
	report_record(run->report, record);
}

void attach_texts_free(struct attach_texts *texts)
{
	free(texts->store);
	free(texts->limit);
	free(texts->compress);
	free(texts->cluster);
	free(texts->road);
}

bool attach_given(const struct attach_texts *texts)
{
	return texts->store || texts->limit || texts->compress || texts->cluster || texts->encrypt || texts->road;
}

static int road_parse(const char *text, enum road_choice *road)
{
	static const char *const names[] = {[ROAD_AUTO] = "auto", [ROAD_INJECT] = "inject", [ROAD_AGENT] = "agent"};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (strcmp(text, names[i]) == 0) {
			*road = (enum road_choice)i;
			return 0;
		}
	return -EINVAL;
}

int attach_parse(const struct run *run, const struct attach_texts *texts, struct session_options *options)
{
	*options = (struct session_options){
		.store = texts->store, .encrypt = (enum session_encrypt)texts->encrypt, .codec = {.codec = CODEC_LZ4}};
	if (texts->limit && (size_parse(texts->limit, &options->limit) < 0 || !options->limit))
		return cli_usage_error(run->name, "--limit: %s is not a size above 0", texts->limit);
	if (texts->compress && codec_parse(texts->compress, &options->codec) < 0)
		return cli_usage_error(run->name, "--compress: %s is none of lz4, zstd, zstd:1 to zstd:22, none",
				       texts->compress);
	if (texts->cluster && (size_parse(texts->cluster, &options->cluster_bytes) < 0 || !options->cluster_bytes))
		return cli_usage_error(run->name, "--cluster: %s is not a size above 0", texts->cluster);
	if (texts->road && road_parse(texts->road, &options->road) < 0)
		return cli_usage_error(run->name, "--road: %s is none of auto, inject, agent", texts->road);
	return EXIT_DONE;
}

static int check_input(const struct run *run, struct region_input *input, struct error *error)
{
	char text[ADDRESS_TEXT];
	int rc = target_matches(&run->target, input->pid, input->starttime, error);
	ptrdiff_t at;

	if (rc < 0)
		return rc;
	region_vec_sort(&input->regions);
	at = region_vec_overlap(&input->regions);
	if (at >= 0)
		return error_set(error, -EINVAL, "two of them overlap", "give each address once",
				 "use the regions at %s", address_format(text, input->regions.items[at].start));
	return 0;
}

int run_regions(struct run *run, json_t **list)
{
	_cleanup_input_ struct region_input input = {0};
	struct error error = {0};
	int rc;

	*list = NULL;
	if (!run->options.regions)
		return EXIT_DONE;
	rc = region_input_read(&input, run->options.regions, page_size(), &error);
	if (rc == 0)
		rc = check_input(run, &input, &error);
	if (rc < 0)
		return run_failed(run, rc, &error);
	*list = json_array();
	for (size_t i = 0; i < input.regions.count; i++)
		json_array_append_new(*list, json_pack("[I,I]", (json_int_t)input.regions.items[i].start,
						       (json_int_t)input.regions.items[i].end));
	return EXIT_DONE;
}
