/* SPDX-License-Identifier: MIT */
/* The tables that the verbs share, and what dashboards are told of sessions. */
#include "report/metrics.h"

#include "swapctl.h"

const struct report_column session_columns[] = {
	{"pid", "PID", COLUMN_NUMBER},
	{"state", "STATE", COLUMN_TEXT},
	{"out_bytes", "OUT", COLUMN_SIZE},
	{"zero_bytes", "ZEROS", COLUMN_SIZE | COLUMN_WIDE},
	{"store_bytes", "STORE", COLUMN_SIZE},
	{"faults", "FAULTS", COLUMN_NUMBER},
	{"fault_p50_us", "P50", COLUMN_TIME},
	{"fault_p99_us", "P99", COLUMN_TIME},
	{"longest_stop_us", "STOP", COLUMN_TIME | COLUMN_WIDE},
	{"worker_pid", "WORKER", COLUMN_NUMBER},
	{"faults_per_s", "FAULTS/S", COLUMN_NUMBER | COLUMN_CHOSEN},
	{"moved_bytes_per_s", "OUT/S", COLUMN_SIZE | COLUMN_CHOSEN},
	{"refaulted_bytes_per_s", "IN/S", COLUMN_SIZE | COLUMN_CHOSEN},
	{"wait_percent", "WAITED", COLUMN_PERCENT | COLUMN_CHOSEN},
	{NULL, NULL, COLUMN_TEXT},
};

const struct report_column region_columns[] = {
	{"start", "START", COLUMN_ADDRESS},
	{"end", "END", COLUMN_ADDRESS | COLUMN_WIDE},
	{"asked_bytes", "ASKED", COLUMN_SIZE | COLUMN_WIDE},
	{"moved_bytes", "MOVED", COLUMN_SIZE},
	{"stored_bytes", "STORED", COLUMN_SIZE | COLUMN_WIDE},
	{"compressed_bytes", "COMPRESSED", COLUMN_SIZE},
	{"skipped_bytes", "STAYED", COLUMN_SIZE},
	{"time_us", "TIME", COLUMN_TIME},
	{NULL, NULL, COLUMN_TEXT},
};

const struct report_column error_columns[] = {
	{"start", "START", COLUMN_ADDRESS}, {"cluster", "CLUSTER", COLUMN_NUMBER},
	{"errno", "ERRNO", COLUMN_TEXT},    {"reason", "REASON", COLUMN_PROSE},
	{NULL, NULL, COLUMN_TEXT},
};

const struct report_metric session_metrics[] = {
	{"uvm_swap_sessions", "", NULL, "Swap sessions.", .kind = METRIC_GAUGE},
	{"uvm_swap_out_bytes", "out_bytes", "bytes", "Memory that is out.", .kind = METRIC_GAUGE},
	{"uvm_swap_zero_bytes", "zero_bytes", "bytes", "Memory that is out and known by its contents.",
	 .kind = METRIC_GAUGE},
	{"uvm_swap_store_bytes", "store_bytes", "bytes", "Size of the records in the store.", .kind = METRIC_GAUGE},
	{"uvm_swap_pool_bytes", "pool_bytes", "bytes", "Size of the records that are staged in memory.",
	 .kind = METRIC_GAUGE},
	{"uvm_swap_poisoned_pages", "poisoned_pages", NULL, "Pages that are lost.", .kind = METRIC_GAUGE},
	{"uvm_swap_moved_pages_total", "moved_pages_total", NULL, "Pages that have left.", .kind = METRIC_COUNTER},
	{"uvm_swap_refaulted_pages_total", "refaulted_pages", NULL, "Pages that came back because of a fault.",
	 .kind = METRIC_COUNTER},
	{"uvm_swap_brought_pages_total", "brought_pages", NULL, "Pages that were brought back.",
	 .kind = METRIC_COUNTER},
	{"uvm_swap_stops_total", "stops", NULL, "Stops of a thread.", .kind = METRIC_COUNTER},
	{"uvm_swap_fault_seconds", "fault_histogram", "seconds", "Time from reading a fault to its answer.",
	 .kind = METRIC_HISTOGRAM, .sum = "fault_wait_us"},
	{0},
};
