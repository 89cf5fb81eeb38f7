/* SPDX-License-Identifier: MIT */
/* addrspace cache: a lazily filled object in a live process, or in a command started for it. */
#include <errno.h>
#include <fcntl.h>
#include <sys/signalfd.h>

#include "base/cleanup.h"
#include "base/size.h"
#include "cache.h"
#include "cli/interrupt.h"

#define DEFAULT_ADDRESS UINT64_C(0x200000000000) /* far from where programs, libraries and stacks are put */

const struct report_column cache_columns[] = {
	{"pid", "PID", COLUMN_NUMBER},
	{"start", "START", COLUMN_ADDRESS},
	{"end", "END", COLUMN_ADDRESS | COLUMN_WIDE},
	{"bytes", "BYTES", COLUMN_SIZE},
	{"source", "SOURCE", COLUMN_NAME},
	{"source_kind", "KIND", COLUMN_TEXT},
	{"block_bytes", "BLOCK", COLUMN_SIZE},
	{"worker_pid", "WORKER", COLUMN_NUMBER},
	{"puppet_pid", "PUPPET", COLUMN_NUMBER | COLUMN_WIDE},
	{NULL, NULL, COLUMN_TEXT},
};

/* One run of the verb. */
struct cache {
	struct run *run;
	const struct addrspace_values *values;
	struct live_options options;
	struct source_options source_options;
	struct source *source;
	struct live *live;
	struct cache_command command;
	int signals;
	int output; /* standard output as the command gets it */
	sigset_t mask;
};

static void cache_close(struct cache *cache)
{
	live_free(cache->live);
	source_close(cache->source);
	region_vec_free(&cache->options.fail);
}

#define _cleanup_cache_ __attribute__((cleanup(cache_close)))

static int check_cache_words(struct cache *cache)
{
	const struct run *run = cache->run;

	if (!cache->values->from)
		return cli_usage_error(run->name, "what is to be mapped? Give it with --from");
	if (cache->command.words && cli_chooses_process(&run->options))
		return cli_usage_error(run->name, "give either a process or a command, not both");
	if (cache->command.words && !cache->options.address)
		cache->options.address = DEFAULT_ADDRESS;
	return EXIT_DONE;
}

/* Records go elsewhere than to the standard output, which is the command's. */
static int open_output(struct cache *cache)
{
	const char *path = cache->values->output ? cache->values->output : "/dev/null";
	struct error error = {0};
	int fd;

	if (!cache->values->output && !cache->command.words)
		return EXIT_DONE;
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	cache->output = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
	if (fd < 0 || dup2(fd, STDOUT_FILENO) < 0) {
		error_set(&error, -errno, NULL, NULL, "open %s", path);
		return run_failed(cache->run, -EIO, &error);
	}
	close(fd);
	if (cache->values->output)
		cache->run->options.style.quiet = NULL; /* what was asked for in a file is not in the way */
	return EXIT_DONE;
}

static int block_signals(struct cache *cache)
{
	static const int of_command[] = {SIGUSR1, SIGUSR2, SIGCONT};
	sigset_t set = interrupt_signals();

	sigaddset(&set, SIGQUIT);
	sigaddset(&set, SIGCHLD);
	for (size_t i = 0; cache->command.words && i < ARRAY_SIZE(of_command); i++)
		sigaddset(&set, of_command[i]);
	sigprocmask(SIG_BLOCK, &set, &cache->mask);
	cache->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return cache->signals < 0 ? EXIT_FAILED : EXIT_DONE;
}

static void on_ready(void *context, struct live *live)
{
	struct cache *cache = context;
	const struct target *target = &cache->run->target;
	struct region region = live_region(live);
	json_t *record = report_region("cache", target->pid, target->starttime, region.start, region.end);

	json_object_set_new(record, "source", json_string(cache->values->from));
	json_object_set_new(record, "source_kind", json_string(source_kind(cache->source)));
	report_number(record, "source_bytes", source_bytes(cache->source));
	report_number(record, "block_bytes", cache->options.block_bytes);
	json_object_set_new(record, "writable", json_boolean(cache->options.writable));
	report_number(record, "worker_pid", (uint64_t)live_worker(live));
	report_number(record, "puppet_pid", (uint64_t)live_puppet(live));
	json_object_set_new(record, "missing", live_missing(live));
	report_record(cache->run->report, record);
	command_go(&cache->command);
}

static void on_error(void *context, json_t *record)
{
	report_record(((struct cache *)context)->run->report, record);
}

static void on_child(void *context)
{
	struct cache *cache = context;

	source_reap(cache->source);
	command_inspect(&cache->command);
}

/*
 * A signal that is sent to this process is meant for the command, if there is one; what comes from the terminal it gets
 * itself.
 */
static bool on_signal(void *context, const struct signalfd_siginfo *info)
{
	const struct cache *cache = context;

	if (!cache->command.words)
		return true;
	if (info->ssi_code <= 0 && !cache->command.ended)
		kill(cache->command.pid, (int)info->ssi_signo);
	return false;
}

static bool waits_for_command(void *context)
{
	const struct cache *cache = context;

	return cache->command.words && !cache->command.ended;
}

/* The process: the one that was named, or the command's. Returns an exit code. */
static int get_target(struct cache *cache)
{
	uint64_t start = cache->options.address;
	uint64_t bytes = round_up(source_bytes(cache->source), page_size());
	struct error error = {0};
	int rc;

	if (!cache->command.words)
		return EXIT_DONE;
	rc = command_begin(&cache->command, cache->run->name, region_at(start, bytes), &cache->mask, cache->output,
			   &error);
	if (rc == 0)
		rc = target_open(&cache->run->target, cache->command.pid, -1, &error);
	if (rc > 0)
		return cache->command.status;
	return rc < 0 ? run_failed(cache->run, rc, &error) : EXIT_DONE;
}

static int finish_cache(struct cache *cache)
{
	bool partial = live_errors(cache->live) > 0;

	report_record(cache->run->report, live_summary(cache->live));
	if (cache->command.words) {
		run_finish(cache->run, EXIT_DONE);
		return cache->command.status;
	}
	return run_finish(cache->run, partial ? EXIT_PARTIAL : EXIT_DONE);
}

static int run_cache(struct cache *cache)
{
	const struct live_callbacks callbacks = {on_ready, on_error, on_child, on_signal, waits_for_command, cache};
	struct run *run = cache->run;
	struct error error = {0};
	int status;
	int rc = source_open(&cache->source, cache->values->from, &cache->source_options, &error);

	if (rc < 0)
		return run_failed(run, rc, &error);
	status = get_target(cache);
	if (status || cache->command.ended)
		return status;
	rc = live_map(&cache->live, &run->target, cache->source, &cache->options, &error);
	if (rc == 0) {
		rc = live_serve(cache->live, cache->signals, &callbacks, &error);
		if (rc < 0)
			live_abandon(cache->live);
	}
	return rc < 0 ? run_failed(run, rc, &error) : finish_cache(cache);
}

static int open_cache(struct cache *cache)
{
	int status = check_cache_words(cache);

	if (!status)
		status = block_signals(cache);
	if (!status)
		status = open_output(cache);
	if (!status && cache->command.words)
		return run_report(cache->run);
	return status ? status : run_begin(cache->run);
}

int verb_cache(struct run *run)
{
	const struct addrspace_values *values = run_values(run);
	_cleanup_cache_ struct cache cache = {
		.run = run,
		.values = values,
		.options = values->live,
		.source_options = values->source,
		.command = {.words = run->command},
		.signals = -1,
		.output = -1,
	};
	int status;

	region_vec_normalize(&cache.options.fail);
	cache.source_options.timeout_ms = (unsigned int)values->timeout_ms;
	status = open_cache(&cache);
	if (!status)
		status = run_cache(&cache);
	command_kill(&cache.command);
	return status;
}
