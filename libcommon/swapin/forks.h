/* SPDX-License-Identifier: MIT */
/* Forks of which no event tells. */
#pragma once

#include "pager/pager.h"

/*
 * Brings everything back before the target forks, where no event would tell of its child. Does nothing where
 * they do.
 */
int forks_start(struct pager *pager);
void forks_stop(struct pager *pager);
