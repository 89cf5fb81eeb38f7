/* SPDX-License-Identifier: MIT */
/* The file of a store. */
#pragma once

#include "report/error.h"

/*
 * A new store file for a session, 0600, in `directory` (NULL: the default one, made when missing; "memory": a memfd).
 * It is called NAME.BOOT.store, with the first digits of the number of the boot, and locked (flock(2)) for as long as
 * the session's processes have it open; what an earlier boot left there is removed. Its path goes to path[256]. Returns
 * a descriptor, or -errno with `error` filled: -EINVAL (missing, no directory), -EACCES (another user's), -ENOSPC.
 */
int store_file_new(const char *directory, const char *name, char path[256], struct error *error);
