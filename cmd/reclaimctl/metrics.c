/* SPDX-License-Identifier: MIT */
/* What dashboards are told of rings. */
#include "report/metrics.h"

#include "reclaimctl.h"

const struct report_metric ring_metrics[] = {
	{"uvm_reclaim_rings", "", NULL, "Reclaim rings.", .kind = METRIC_GAUGE},
	{"uvm_reclaim_bytes", "bytes", "bytes", "Memory that waits in rings.", .kind = METRIC_GAUGE},
	{"uvm_reclaim_entries", "entries", NULL, "Regions that wait in rings.", .kind = METRIC_GAUGE},
	{"uvm_reclaim_reclaimed_bytes_total", "reclaimed_bytes", "bytes", "Memory that was reclaimed.",
	 .kind = METRIC_COUNTER},
	{"uvm_reclaim_reclaimed_entries_total", "reclaimed_entries", NULL, "Regions that were reclaimed.",
	 .kind = METRIC_COUNTER},
	{"uvm_reclaim_failed_entries_total", "failed_entries", NULL, "Regions that could not be reclaimed.",
	 .kind = METRIC_COUNTER},
	{0},
};
