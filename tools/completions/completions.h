/* SPDX-License-Identifier: MIT */
/* What the writers of completions share: a tool's table as each shell wants it, which a frame of the shell reads. */
#pragma once

#include <stdbool.h>
#include <stdio.h>

#include "cli/cli.h"

/* The tool that this program was linked with. */
extern const struct cli_tool tool;

void write_bash(void);
void write_zsh(void);
void write_fish(void);

/* "words", "files", ...: what the frames call what a value is completed with; "list" for words with commas. */
const char *offer_name(enum cli_offer offer);

/* Whether a shell has anything to offer for a value, or for the operands of a verb. */
bool offers_anything(enum cli_offer offer, const char *words);

/* Prints the keys that --columns can name, with spaces between them. */
void print_columns(const struct cli_verb *verb);

/* Prints text inside quotes '', with `quote` in place of each of those, and `colon` in place of each ':'. */
void print_quoted(const char *text, const char *quote, const char *colon);

/* The verbs of the tool, or the one that has no name. */
const struct cli_verb *next_verb(const struct cli_verb *verb);
#define for_each_verb(verb) for (const struct cli_verb *verb = tool.verbs; verb; verb = next_verb(verb))
