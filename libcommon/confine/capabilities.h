/* SPDX-License-Identifier: MIT */
/* Internal to the room. */
#pragma once

#include <stdbool.h>

/* Whether a process that serves may have it. */
bool confine_capability_is_needed(unsigned int capability);
