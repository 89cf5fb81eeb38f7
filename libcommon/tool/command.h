/* SPDX-License-Identifier: MIT */
/* A command that a verb starts, with one of this project's libraries in it. */
#pragma once

/*
 * Puts a library in front of LD_PRELOAD: the one beside this program, as it was built or installed, or else whichever
 * the dynamic linker finds by its name. ld.so(8). Returns 0 or -ENOMEM.
 */
int command_preload(const char *library);

/*
 * Becomes the command. Returns only when it cannot, after saying why in the name of `tool`: the exit code that env(1)
 * has for that.
 */
int command_exec(const char *tool, char **words);
