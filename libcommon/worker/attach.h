/* SPDX-License-Identifier: MIT */
/* Into a target: which way, and what is made there. */
#pragma once

#include "access/method.h"
#include "pager/pager.h"

/*
 * The two userfaultfds and the staging area in the target, by ptrace when that is permitted, otherwise by its agent,
 * or by the one way chosen. Returns 0, or -errno with `error` filled; when neither is possible it says why of both.
 */
int attach_target(struct pager *pager, enum access_method choice, struct error *error);

/* The same again, from what the index says of it, after all processes of the session have died. Stops nothing. */
int attach_again(struct pager *pager, struct error *error);

/* Takes everything of a session in which nothing is out from the target and from the file system. */
void attach_leave(struct pager *pager);
