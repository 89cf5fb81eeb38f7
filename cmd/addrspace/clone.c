/* SPDX-License-Identifier: MIT */
/* addrspace clone: a stopped copy-on-write copy of a live process, to look at while the original runs on. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "addrspace.h"
#include "base/cleanup.h"
#include "base/size.h"
#include "cli/interrupt.h"
#include "clone/clone.h"
#include "clone/core.h"
#include "clone_note.h"
#include "tool/command.h"

#define POLL_MS 500

const struct report_column clone_columns[] = {
	{"pid", "PID", COLUMN_NUMBER},         {"original_pid", "ORIGINAL", COLUMN_NUMBER},
	{"bytes", "BYTES", COLUMN_SIZE},       {"resident_bytes", "RESIDENT", COLUMN_SIZE},
	{"threads", "THREADS", COLUMN_NUMBER}, {"pause_us", "PAUSE", COLUMN_TIME},
	{"time_us", "TIME", COLUMN_TIME},      {NULL, NULL, COLUMN_TEXT},
};

struct cloning {
	struct run *run;
	struct process_clone clone;
	struct clone_core core;
	const char *core_path; /* NULL: none */
	char **command;        /* NULL: none */
	bool all, hold;
};

static void add_core(const struct cloning *c, json_t *record)
{
	json_object_set_new(record, "core", json_string(c->core_path));
	report_number(record, "core_bytes", c->core.bytes);
	report_number(record, "memory_bytes", c->core.memory_bytes);
	report_number(record, "unreadable_bytes", c->core.unreadable_bytes);
	report_number(record, "excluded_bytes", c->core.excluded_bytes);
}

static void report_clone(const struct cloning *c)
{
	const struct process_clone *clone = &c->clone;
	const struct target *original = &c->run->target;
	json_t *record = json_pack(
		"{s:s, s:i, s:I, s:i, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:b}", "type", "clone", "pid",
		(int)clone->target.pid, "starttime", (json_int_t)clone->target.starttime, "original_pid",
		(int)original->pid, "original_starttime", (json_int_t)original->starttime, "bytes",
		(json_int_t)clone->bytes, "resident_bytes", (json_int_t)clone->resident_bytes, "left_out_bytes",
		(json_int_t)clone->left_out_bytes, "threads", (json_int_t)clone->copy.threads, "threads_missed",
		(json_int_t)clone->copy.threads_missed, "pause_us", (json_int_t)clone->copy.pause_us, "time_us",
		(json_int_t)clone->time_us, "held", c->hold);

	if (c->core_path)
		add_core(c, record);
	report_record(c->run->report, record);
}

/* Every {} of a word becomes the pid of the clone. Returns a new word, NULL when out of memory. */
static char *fill_in(const char *word, pid_t pid)
{
	char *filled = NULL;
	size_t length;
	FILE *stream = open_memstream(&filled, &length);

	if (!stream)
		return NULL;
	for (const char *found; (found = strstr(word, "{}")); word = found + 2)
		fprintf(stream, "%.*s%d", (int)(found - word), word, pid);
	fputs(word, stream);
	if (fclose(stream) == 0)
		return filled;
	free(filled);
	return NULL;
}

static void exec_clone_command(const struct cloning *c, const sigset_t *mask)
{
	for (size_t i = 0; c->command[i]; i++) {
		c->command[i] = fill_in(c->command[i], c->clone.target.pid);
		if (!c->command[i])
			_exit(EXIT_FAILED);
	}
	sigprocmask(SIG_SETMASK, mask, NULL);
	signal(SIGXFSZ, SIG_DFL);
	_exit(command_exec(c->run->name, c->command));
}

/* Whether the wait is over. `command`: 0 for none. */
static bool is_wait_over(struct cloning *c, pid_t command, int signal, int *status)
{
	int ended;

	inject_copy_linger(&c->clone.copy);
	if (command) {
		/* Signals of the terminal are the command's affair. */
		if (waitpid(command, &ended, WNOHANG) != command)
			return false;
		*status = ended == 0 ? EXIT_DONE : EXIT_FAILED;
		return true;
	}
	if (!target_alive(&c->clone.target)) {
		error_print(c->run->name, &(struct error){.tried = "keep the clone", .why = "somebody ended it"});
		*status = EXIT_FAILED;
		return true;
	}
	return signal > 0 && signal != SIGCHLD;
}

/* The clone is there for as long as it is looked at. */
static int stay_with_clone(struct cloning *c)
{
	const struct timespec period = {.tv_nsec = POLL_MS * 1000000L};
	int status = EXIT_DONE;
	pid_t command = 0;
	sigset_t signals = interrupt_signals();
	sigset_t before;
	int got = 0;

	sigaddset(&signals, SIGQUIT);
	sigaddset(&signals, SIGCHLD);
	sigprocmask(SIG_BLOCK, &signals, &before);
	if (c->command) {
		command = fork();
		if (command == 0)
			exec_clone_command(c, &before);
		if (command < 0) {
			struct error error = {0};

			error_set(&error, -errno, NULL, NULL, "start %s", c->command[0]);
			return run_failed(c->run, error.code, &error);
		}
	}
	while (!is_wait_over(c, command, got, &status)) {
		got = sigtimedwait(&signals, NULL, &period);
		if (command && (got == SIGTERM || got == SIGHUP))
			kill(command, got);
	}
	return status;
}

/* From here on the process that drops it, or the one that guards it, sees to its end. */
static int keep_clone(struct cloning *c, struct error *error)
{
	const struct process_clone *clone = &c->clone;
	const struct clone_note note = {
		.pid = clone->target.pid,
		.starttime = clone->target.starttime,
		.original = c->run->target.pid,
		.original_starttime = c->run->target.starttime,
		.child = clone->copy.child,
		.there = clone->there,
	};

	return c->hold ? clone_note_write(&note, error) : process_clone_guard(&c->clone, &c->run->target, error);
}

static int write_core(struct cloning *c, struct error *error)
{
	int rc;

	progress_begin(&c->run->progress, "written", c->run->options.quiet);
	rc = clone_core_write(&c->core, &c->clone, &c->run->target, c->all, &c->run->progress, error);
	progress_end(&c->run->progress);
	return rc;
}

static int use_clone(struct cloning *c)
{
	bool stays = c->command || (!c->hold && !c->core_path);
	struct error error = {0};
	int rc = keep_clone(c, &error);

	process_clone_measure(&c->clone, &c->run->target);
	if (rc == 0 && c->core_path)
		rc = write_core(c, &error);
	if (rc == 0 && (stays || c->hold))
		rc = process_clone_park(&c->clone, &c->run->target, &error);
	if (rc < 0) {
		c->hold = false;
		return run_failed(c->run, rc, &error);
	}
	if (!c->core_path || strcmp(c->core_path, "-") != 0)
		report_clone(c);
	return stays ? stay_with_clone(c) : EXIT_DONE;
}

static int make_clone(struct cloning *c)
{
	const struct target *original = &c->run->target;
	struct error error = {0};
	int rc = c->core_path ? clone_core_open(&c->core, c->core_path, &error) : 0;
	int status;

	if (rc == 0)
		rc = process_clone_make(&c->clone, original, c->core_path, &error);
	if (rc < 0)
		return run_failed(c->run, rc, &error);
	status = use_clone(c);
	if (!c->hold) {
		clone_note_remove(c->clone.target.pid, c->clone.target.starttime);
		rc = process_clone_remove(&c->clone, original, &error);
		if (rc < 0)
			status = run_failed(c->run, rc, &error);
	}
	process_clone_close(&c->clone);
	return status;
}

static int inspect_original(const struct cloning *c)
{
	const struct target *original = &c->run->target;
	uint64_t bytes = 0, resident = 0;
	struct error error = {0};
	int rc = target_check(original, &error);

	if (rc < 0)
		return run_failed(c->run, rc, &error);
	target_status_bytes(original, "VmSize", &bytes);
	target_status_bytes(original, "VmRSS", &resident);
	report_record(c->run->report,
		      json_pack("{s:s, s:i, s:I, s:I, s:I, s:b}", "type", "clone", "original_pid", (int)original->pid,
				"original_starttime", (json_int_t)original->starttime, "bytes", (json_int_t)bytes,
				"resident_bytes", (json_int_t)resident, "dry_run", true));
	return EXIT_DONE;
}

int verb_clone(struct run *run)
{
	const struct addrspace_values *values = run_values(run);
	struct cloning cloning = {.run = run,
				  .clone = PROCESS_CLONE_NONE,
				  .core = CLONE_CORE_NONE,
				  .command = run->command,
				  .core_path = values->core,
				  .all = values->all,
				  .hold = values->hold};
	int status;

	signal(SIGXFSZ, SIG_IGN); /* a core file above the limit is an error to tell */
	if (values->all && !values->core)
		return cli_usage_error(run->name, "--all: of which core? Name its file with --core");
	if (values->core && strcmp(values->core, "-") == 0 && (values->hold || run->command))
		return cli_usage_error(run->name, "--core -: without --hold and without a command, which need a file");
	status = run_begin(run);
	if (status == EXIT_DONE)
		status = values->dry_run ? inspect_original(&cloning) : make_clone(&cloning);
	clone_core_close(&cloning.core);
	return status;
}
