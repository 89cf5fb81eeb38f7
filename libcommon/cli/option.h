/* SPDX-License-Identifier: MIT */
/* One option of a tool, told once: the parser, --help and the completions of the shells read the same row. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cli_options;
struct cli_tool;
struct cli_verb;

/* What its value is, and as what it is kept. The first ones have none on the command line. */
enum cli_type {
	CLI_FLAG, /* bool */
	CLI_SET,  /* int: `lowest`; of several such options on one place the last one counts */
	CLI_VERSION,
	CLI_HELP,
	CLI_USAGE,
	CLI_TEXT,    /* char * */
	CLI_CONFIG,  /* char *: a file of options, one a line, for those that are not given */
	CLI_LIST,    /* char **, ended by NULL: may be given several times */
	CLI_PIDS,    /* pid_t *, ended by 0: process ids with commas between them; may be given several times */
	CLI_WORD,    /* int: which one of `words` */
	CLI_INT,     /* int */
	CLI_NUMBER,  /* int64_t */
	CLI_SECONDS, /* uint64_t: a time, kept as milliseconds; seconds without a unit, and its bounds are seconds */
	CLI_MS,      /* uint64_t: the same in milliseconds */
	CLI_TIME,    /* uint64_t: a time, kept as nanoseconds; seconds without a unit; its bounds are milliseconds */
	CLI_SIZE,    /* uint64_t: bytes */
	CLI_PAGES,   /* uint64_t: bytes, whole pages */
	CLI_POWER,   /* uint64_t: bytes, a power of two, a page at least */
	CLI_PAGE,    /* uint64_t: address of a page; 0 for one of `words` */
	CLI_RANGE,   /* struct region, at pages */
	CLI_PARSED,  /* what `parse` makes of it */
};

/* What a shell completes a value with, besides `words`. */
enum cli_offer {
	CLI_OFFERS_WORDS,
	CLI_OFFERS_FILES,
	CLI_OFFERS_RECORDS, /* files of records; "-" is among the words */
	CLI_OFFERS_DIRECTORIES,
	CLI_OFFERS_PROCESSES,
	CLI_OFFERS_COLUMNS, /* keys of the verb's records, with commas between them */
	CLI_OFFERS_OUTPUT,  /* lines that the command in `words` prints, with commas between them */
};

struct cli_option {
	const char *name;
	char letter; /* 0: none */
	enum cli_type type;
	size_t at;            /* of its value in the tool's values */
	const char *argument; /* as --help shows it: "BYTES" */
	const char *help;
	const char *verbs;       /* those that take it: "attach out"; NULL: all */
	const char *initial;     /* its value when it is not given, as one would write it; NULL: zero */
	int64_t lowest, highest; /* of a number, a size, a time; `highest` 0: no bound */
	const char *words;       /* all there are of a CLI_WORD, in order of their values; of others, examples */
	enum cli_offer offers;
	bool repeated;       /* it can be given several times */
	bool optional;       /* its value can be left out */
	const char *refusal; /* what its value is not: "is not a process id"; NULL: by its type and bounds */
	const char *against; /* an option that it cannot stand beside */
	const char *needs;   /* an option without which it means nothing */
	int (*parse)(const char *text, void *value); /* for CLI_PARSED: 0, -EINVAL, or -EDOM as CLI_RANGE has it */
};

/* A row of those that a verb takes, and where --help shows it. */
struct cli_row {
	const struct cli_option *option;
	const char *title; /* of its group */
	bool own;          /* the tool's, not one that all share: its value is in the tool's values */
};

#define CLI_ROWS_MAX 64

/* The options that a verb takes, its own first. Returns how many. */
size_t cli_rows(const struct cli_tool *tool, const struct cli_verb *verb, struct cli_row rows[CLI_ROWS_MAX]);

/* Frees the texts among the options that all tools share. */
void cli_shared_free(struct cli_options *options);

/* Whether a word is one of a list of words with spaces between them. */
bool cli_word_in(const char *words, const char *word);

static inline bool cli_has_value(const struct cli_option *option)
{
	return option->type >= CLI_TEXT;
}

/*
 * Reads what stands behind an option into values. Returns 0, -ENOMEM; -EDOM: it is not at pages; anything else: it is
 * no such value.
 */
int cli_value_parse(const struct cli_option *option, const char *text, void *values);

/* Why such a value was refused, as it follows the value in an error. Returns `why`. */
#define CLI_REFUSAL 160
const char *cli_value_refusal(const struct cli_option *option, int rc, char why[CLI_REFUSAL]);

/* Frees the texts among the values of options, a table ended by a row without a name. NULL is none. */
void cli_values_free(const struct cli_option *options, void *values);
