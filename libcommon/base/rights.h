/* SPDX-License-Identifier: MIT */
/* What this process may do. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* Its effective capabilities, a bit each; 0 where they cannot be read. capabilities(7). */
uint64_t rights_capabilities(void);

/* Whether CAP_SYS_PTRACE, or another one by its number, is among them. */
bool rights_capable(unsigned int capability);

/* Whether this process is in a user namespace below the first one, where capabilities count for little. */
bool rights_in_user_namespace(void);

/* Whether a seccomp filter is on this process. */
bool rights_under_seccomp(void);
