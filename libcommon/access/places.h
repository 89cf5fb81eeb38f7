/* SPDX-License-Identifier: MIT */
/* Where the threads of a target stand: the mappings that they cannot do without right now. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "inject/inject.h"
#include "proc/stat.h"

/*
 * The places of all threads. Those that run are stopped for a moment each to be asked; without an injector (NULL) they
 * are left out. The caller frees *places. Returns 0, or -errno: -ETIMEDOUT when a thread could not be stopped.
 */
int places_read(const struct target *target, struct inject *inject, struct place **places, size_t *count);

/*
 * Whether each thread of the target, and of processes that share its memory, has been seen outside madvise(2) since
 * this was called, also where a worker of io_uring does it in its place. A thread of the target that runs is stopped
 * for a moment; others, or with no injector (NULL) all, are waited for, a few milliseconds in all. False also when one
 * of them could not be inspected. No thread may be stopped by us then.
 */
bool places_outside_madvise(const struct target *target, struct inject *inject);
