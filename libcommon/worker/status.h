/* SPDX-License-Identifier: MIT */
/* What is known of a session. */
#pragma once

#include "pager/pager.h"

/* What is known of the session. The caller owns it. */
json_t *status_record(struct pager *pager);
