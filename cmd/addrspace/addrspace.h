/* SPDX-License-Identifier: MIT */
/* What the verbs of addrspace share. */
#pragma once

#include "base/region.h"
#include "tool/verb.h"

/* Says why the target could not be looked at, from a negative errno. Returns the exit code. */
int look_failed(const struct run *run, int rc);

/* A region given by hand, at pages. Returns an exit code after saying what is wrong. */
int parse_region(const struct run *run, const char *text, struct region *region);

int verb_list(int argc, const char **argv);
int verb_query(int argc, const char **argv);
int verb_map(int argc, const char **argv);
int verb_unmap(int argc, const char **argv);
int verb_protect(int argc, const char **argv);
int verb_alloc(int argc, const char **argv);
int verb_free(int argc, const char **argv);
int verb_info(int argc, const char **argv);
int verb_cache(int argc, const char **argv);
int verb_clone(int argc, const char **argv);
int verb_drop(int argc, const char **argv);
int verb_diff(int argc, const char **argv);
