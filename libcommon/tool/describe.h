/* SPDX-License-Identifier: MIT */
/* What records say of the processes that they name. */
#pragma once

#include <jansson.h>

/*
 * Adds "comm" to a record with a pid, and "cgroup" where it has one; what was known of a process is said of it after
 * its end, too. For report_describe.
 */
void describe_process(json_t *record);
