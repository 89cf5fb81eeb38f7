/* SPDX-License-Identifier: MIT */
/* Which superpages of the target were asked for since a client last asked. */
#pragma once

#include "pager/pager.h"

int refaults_new(struct refaults **refaults);
void refaults_note(struct pager *pager, uint64_t address, unsigned int pages); /* `lock` held */
json_t *refaults_record(struct pager *pager);                                  /* forgets what it tells */
