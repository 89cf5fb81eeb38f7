/* SPDX-License-Identifier: MIT */
/* Seccomp filters as programs for the kernel. */
#pragma once

#include <linux/filter.h>
#include <seccomp.h>

/*
 * What libseccomp makes of a filter. Returns 0, or -errno and an empty program. The caller frees program->filter.
 */
int filter_program(scmp_filter_ctx filter, struct sock_fprog *program);
