/* SPDX-License-Identifier: MIT */
/*
 * The cooperative swap agent: lets swapctl(1) swap this program out where tracing it is not permitted. See
 * uvm_swap_agent(3). Linux 6.8 or newer.
 */
#pragma once

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

#pragma GCC visibility push(default)

/* Options of later versions are added at the end; `size` says which the caller knows. */
struct uvm_swap_agent_options {
	size_t size; /* sizeof(struct uvm_swap_agent_options) */
	int flags;   /* none yet: 0 */
};

/*
 * Starts the agent: a thread of its own, with all signals blocked and a table of descriptors of its own, that waits for
 * a session on an abstract Unix socket. Only root and the program's own user are served, one session at a time.
 * `options` may be NULL. Returns 0, or a negative errno: -EALREADY (it runs), -EINVAL (options of another version),
 * -ENOMEM, -EAGAIN (no more threads), -EMFILE, or what else the system said.
 */
int uvm_swap_agent_start(const struct uvm_swap_agent_options *options);

/*
 * Ends the agent and takes back what it had mapped. Returns 0, -EBUSY while a session or a reclaimer uses it (detach
 * first), -ESRCH when none runs (a child that was forked has none).
 */
int uvm_swap_agent_stop(void);

#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif
