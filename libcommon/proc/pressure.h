/* SPDX-License-Identifier: MIT */
/* Pressure stall information: how long tasks waited for memory (Documentation/accounting/psi.rst). */
#pragma once

#include <stdint.h>

#include "report/error.h"

#define PRESSURE_TRIGGER 64 /* enough for a trigger as the kernel wants it */

/*
 * The pressure file of the cgroup, or of the machine when `cgroup` is -1; with a trigger set when that is not empty
 * (poll it for POLLPRI). Returns a descriptor, or -errno with `error` filled: -EOPNOTSUPP when the kernel does not
 * account for pressure.
 */
int pressure_open(int cgroup, const char *trigger, struct error *error);

/* "some … total=": microseconds; 0 when it cannot be read. */
uint64_t pressure_read(int pressure);

/* Reads what a user says ("some:150ms/1s") as the kernel wants it. Returns 0 or -EINVAL. */
int pressure_trigger_parse(const char *text, char trigger[PRESSURE_TRIGGER]);
