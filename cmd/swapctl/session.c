/* SPDX-License-Identifier: MIT */
/* The tables that the verbs share. */
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
