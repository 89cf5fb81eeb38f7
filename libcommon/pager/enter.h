/* SPDX-License-Identifier: MIT */
/* Into a target that a session is attached to, for a call. */
#pragma once

#include "pager/pager.h"

/*
 * The handshake of a userfaultfd, and that of the staging area, made when there is none yet; `job` is held.
 * Return 0 or -errno with `error` filled.
 */
int enter_handshake(int fd, uint64_t features, struct error *error);
int enter_staging(struct pager *pager, struct error *error);
