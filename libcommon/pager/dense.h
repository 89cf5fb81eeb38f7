/* SPDX-License-Identifier: MIT */
/* Records of what stays out, made anew by a slower codec while nothing else wants the processor. */
#pragma once

#include "pager/pager.h"

/* Begins when records are old enough, if the session's codec is CODEC_AUTO; called now and then by one thread. */
void dense_check(struct pager *pager);

/* By the same thread, when the session is over. */
void dense_stop(struct pager *pager);
