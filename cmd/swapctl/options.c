/* SPDX-License-Identifier: MIT */
/* What the verbs share: tables, attach's options, regions for a request. */
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/size.h"
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
		return cli_usage_error(run->name, "--road: %s is none of auto, inject, agent, puppet", texts->road);
	return EXIT_DONE;
}
