/* SPDX-License-Identifier: MIT */
/* Which pages of the target were asked for since a client last asked. */
#pragma once

#include "pager/pager.h"

/* Note: `lock` held. The record forgets what it says. */
int refaults_new(struct refaults **refaults);
/* A page was asked for, and so many came back, it included; `walk`: in order, behind another one. */
void refaults_note(struct pager *pager, uint64_t address, unsigned int pages, bool walk);

/* So many came back before anybody asked for them. */
void refaults_count(struct pager *pager, unsigned int pages);

/* Forgets what it tells. `idle`: the client knows by idle page tracking what was used of the resident pages. */
json_t *refaults_record(struct pager *pager, bool idle);

/* How a client that asks for refaults finds out what is cold: "idle", "refaults"; NULL: there was none. `lock` held. */
const char *refaults_ageing(const struct pager *pager);
