/* SPDX-License-Identifier: MIT */
/* Command lines of tools and verbs, from one table of options a tool. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "cli/option.h"
#include "report/report.h"

struct run;

/* Which of the options that several tools share a verb takes. The other ones are always there. */
enum cli_takes {
	CLI_TAKES_PID = 1 << 0,     /* which processes; its operands too, when it takes no others */
	CLI_TAKES_REGIONS = 1 << 1, /* -r/--regions */
};

/* A verb; of a tool without verbs there is one, without a name. */
struct cli_verb {
	const char *name;
	int (*run)(struct run *run); /* returns the exit code */
	const char *help;            /* a line for the --help of the tool */
	const char *usage;           /* after the name: "[OPTION...] -p PID" */
	const char *about;           /* one sentence for --help */
	unsigned int takes;          /* enum cli_takes */
	int operands;                /* how many words without a dash it accepts that are no processes, at most */
	const char *command;         /* what begins a command at the end of its line: "--"; NULL: it takes none */
	const struct report_column *columns; /* the table of its records ... */
	const char *type;                    /* ... of this type */
	const char *keys;                    /* what else --columns can name */
	const char *sentences;               /* see struct report_style; NULL: it has none */
	const struct report_metric *metrics; /* for dashboards: it takes --output; NULL: it has none */
	bool live;                           /* it goes on: its rows are shown as they come */
	bool whole;                          /* it destroys: records that were cut short are refused */
	bool brief;                          /* its table has rows only with --verbose */
	bool recordless;                     /* it prints none: the options of output are not its */
	bool target_optional;
	enum cli_offer offers; /* what a shell completes its operands with, besides `words` */
	const char *words;
};

/* What a tool tells cli about itself. Tables end with a row of zeros. */
struct cli_tool {
	const char *name;
	const char *about;                /* one sentence for --help; of a tool without verbs its verb has one */
	const struct cli_option *options; /* of all its verbs; may be NULL */
	void *values;                     /* of those options */
	const struct cli_verb *verbs;
};

/* Which processes a command line chooses: those that match one of each kind that was given. */
struct cli_processes {
	pid_t *pids;    /* after -p and as operands; ended by 0, NULL: none */
	int pidfd;      /* -1: not given */
	char **comms;   /* globs; ended by NULL, NULL: none, as those below */
	char **cgroups; /* paths */
	char **units;   /* of systemd */
	bool all;
};

/* Values of the shared options after parsing. Strings are owned by the caller: cli_options_free. */
struct cli_options {
	char name[64]; /* "superpages" or "swapctl out": how errors begin */
	struct cli_processes processes;
	char *regions; /* -r FILE, NULL: not given */
	struct report_style style;
	bool quiet;
	bool verbose;
	const struct cli_tool *tool;
	uint64_t given; /* a bit for each row of the tool's options */
};

/*
 * The verb that a command line names: --help, --usage and --version in its place print, and an unknown verb is a usage
 * error that names the nearest known one. Returns 0, or 1 with *exit_status set.
 */
int cli_find_verb(const struct cli_tool *tool, int argc, const char **argv, const struct cli_verb **verb,
		  int *exit_status);

/*
 * Parses the command line of a verb, argv[0] is skipped: the tool's values and `options` hold what was given, and the
 * initial values of what was not. --help, --usage and --version print and make the function return 1 with *exit_status
 * set; so does any error, after one line on standard error ("NAME: --size: ..."). Otherwise returns 0. `operands` (may
 * be NULL when none are taken) receives a NULL-terminated array of words that the caller frees: cli_operands_free.
 */
int cli_parse(const struct cli_tool *tool, const struct cli_verb *verb, int argc, const char **argv,
	      struct cli_options *options, char ***operands, int *exit_status);

/* Whether an option of the tool's own was given, with its initial value or another one. */
bool cli_given(const struct cli_options *options, const char *name);

/* Whether any process was chosen by its number or a descriptor, and whether in any way. */
bool cli_names_process(const struct cli_options *options);
bool cli_chooses_process(const struct cli_options *options);

/* Whether the operands of a verb are processes; what a shell completes them with. */
bool cli_operands_are_pids(const struct cli_verb *verb);
enum cli_offer cli_operands_offer(const struct cli_verb *verb);

/* Frees the texts among the shared options and the tool's values. */
void cli_options_free(struct cli_options *options);
void cli_operands_free(char ***operands);

/*
 * One line of usage error on standard error: "NAME: cannot use --option: why" of a message that begins with an option,
 * and else "NAME: cannot begin: message". Returns EXIT_USAGE.
 */
int cli_usage_error(const char *name, const char *message, ...) __attribute__((format(printf, 2, 3)));

/* "TOOL (uvmtools) VERSION" on standard output. Returns the exit code. */
int cli_print_version(const struct cli_tool *tool);

/*
 * How many letters must be changed, added or removed to make one word the other: for suggesting the nearest known word.
 * Looks at 63 letters.
 */
unsigned int cli_distance(const char *a, const char *b);

/* How far a known word is from one that may be it, misspelled or cut short; CLI_UNLIKE: too far. */
#define CLI_UNLIKE 64
unsigned int cli_likeness(const char *word, const char *known);

/* Writes out what was printed on standard output. Returns the exit code, after saying why it could not be written. */
int cli_flush(const char *name);

#define _cleanup_options_  __attribute__((cleanup(cli_options_free)))
#define _cleanup_operands_ __attribute__((cleanup(cli_operands_free)))
