/* SPDX-License-Identifier: MIT */
/* addrspace cache: a lazily filled object in a live process, or in a command started for it. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/signalfd.h>

#include "base/cleanup.h"
#include "base/size.h"
#include "cache.h"
#include "verb/command.h"

#define DEFAULT_BLOCK   (64 * KiB)
#define BLOCK_MAX       (64 * MiB)
#define DEFAULT_KEEP    GiB
#define DEFAULT_TIMEOUT 60                       /* seconds */
#define DEFAULT_ADDRESS UINT64_C(0x200000000000) /* far from where programs, libraries and stacks are put */

static const struct report_column columns[] = {
	{"pid", "PID", COLUMN_NUMBER},
	{"start", "START", COLUMN_TEXT},
	{"end", "END", COLUMN_TEXT},
	{"bytes", "BYTES", COLUMN_SIZE},
	{"source", "SOURCE", COLUMN_TEXT},
	{"source_kind", "KIND", COLUMN_TEXT},
	{"block_bytes", "BLOCK", COLUMN_SIZE},
	{"worker_pid", "WORKER", COLUMN_NUMBER},
	{"puppet_pid", "PUPPET", COLUMN_NUMBER},
	{NULL, NULL, COLUMN_TEXT},
};

/* The words of the command line. */
struct texts {
	char *from, *at, *size, *block, *delay, *end, *keep, *timeout, *output;
	char **fail;
	int writable;
};

/* One run of the verb. */
struct cache {
	struct run run;
	struct texts texts;
	struct live_options options;
	struct source_options source_options;
	struct source *source;
	struct live *live;
	struct cache_command command;
	int signals;
	int output; /* standard output as the command gets it */
	sigset_t mask;
};

static void free_texts(struct texts *texts)
{
	char *all[] = {texts->from, texts->at,   texts->size,    texts->block, texts->delay,
		       texts->end,  texts->keep, texts->timeout, texts->output};

	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		free(all[i]);
	for (char **fail = texts->fail; fail && *fail; fail++)
		free(*fail);
	free(texts->fail);
}

static void cache_close(struct cache *cache)
{
	live_free(cache->live);
	source_close(cache->source);
	region_vec_free(&cache->options.fail);
	run_close(&cache->run);
	free_texts(&cache->texts);
}

#define _cleanup_cache_ __attribute__((cleanup(cache_close)))

static int parse_size(const struct run *run, const char *option, const char *text, uint64_t *bytes)
{
	if (text && (size_parse(text, bytes) < 0 || !*bytes))
		return cli_usage_error(run->name, "--%s: %s is not a size above 0", option, text);
	return EXIT_DONE;
}

static int parse_number(const struct run *run, const char *option, const char *text, uint64_t *number)
{
	int64_t value;

	if (!text)
		return EXIT_DONE;
	if (number_parse(text, 0, 1000000, &value) < 0)
		return cli_usage_error(run->name, "--%s: %s is not a number from 0 to 1000000", option, text);
	*number = (uint64_t)value;
	return EXIT_DONE;
}

/* An offset: a size, or hexadecimal with 0x. */
static int parse_offset(const char *text, uint64_t *offset)
{
	return strncmp(text, "0x", 2) == 0 ? address_parse(text, offset) : size_parse(text, offset);
}

static int parse_fail(struct cache *cache, const char *text)
{
	char start[32] = "";
	const char *dash = strchr(text, '-');
	struct region region = {0};

	if (dash && (size_t)(dash - text) < sizeof(start))
		memcpy(start, text, (size_t)(dash - text));
	if (!dash || parse_offset(start, &region.start) < 0 || parse_offset(dash + 1, &region.end) < 0 ||
	    region.start >= region.end)
		return cli_usage_error(cache->run.name, "--fail: %s is not START-END in bytes of the object", text);
	if ((region.start | region.end) & (page_size() - 1))
		return cli_usage_error(cache->run.name, "--fail: %s does not begin and end at pages", text);
	return region_vec_push(&cache->options.fail, region) < 0 ? EXIT_FAILED : EXIT_DONE;
}

static int parse_end(struct cache *cache)
{
	static const char *const names[] = {
		[LIVE_END_FILL] = "fill", [LIVE_END_POISON] = "poison", [LIVE_END_UNMAP] = "unmap"};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (!cache->texts.end || strcmp(cache->texts.end, names[i]) == 0) {
			cache->options.end = (enum live_end)i;
			return EXIT_DONE;
		}
	return cli_usage_error(cache->run.name, "--at-end: %s is none of fill, poison, unmap", cache->texts.end);
}

static int parse_place(struct cache *cache)
{
	const struct texts *texts = &cache->texts;
	struct live_options *options = &cache->options;
	int status = parse_size(&cache->run, "block", texts->block, &options->block_bytes);

	if (status)
		return status;
	if (!is_power_of_two(options->block_bytes) || options->block_bytes < page_size() ||
	    options->block_bytes > BLOCK_MAX)
		return cli_usage_error(cache->run.name, "--block: %s is not a power of two from %llu to 64M",
				       texts->block, (unsigned long long)page_size());
	if (texts->at && (address_parse(texts->at, &options->address) < 0 || !options->address ||
			  options->address & (page_size() - 1)))
		return cli_usage_error(cache->run.name, "--at: %s is not the address of a page", texts->at);
	return EXIT_DONE;
}

static int parse(struct cache *cache)
{
	const struct texts *texts = &cache->texts;
	const struct run *run = &cache->run;
	uint64_t seconds = DEFAULT_TIMEOUT;
	int status = parse_place(cache);

	if (!texts->from)
		return cli_usage_error(run->name, "what is to be mapped? Give it with --from");
	if (cache->command.words && (run->options.pid || run->options.pidfd >= 0))
		return cli_usage_error(run->name, "give either a process or a command, not both");
	if (!status)
		status = parse_size(run, "size", texts->size, &cache->source_options.bytes);
	if (!status)
		status = parse_size(run, "keep", texts->keep, &cache->source_options.keep);
	if (!status)
		status = parse_number(run, "delay", texts->delay, &cache->options.delay_ms);
	if (!status)
		status = parse_number(run, "timeout", texts->timeout, &seconds);
	if (!status)
		status = parse_end(cache);
	for (char **fail = texts->fail; !status && fail && *fail; fail++)
		status = parse_fail(cache, *fail);
	region_vec_normalize(&cache->options.fail);
	cache->source_options.timeout_ms = (unsigned int)seconds * 1000;
	cache->options.writable = texts->writable;
	if (cache->command.words && !cache->options.address)
		cache->options.address = DEFAULT_ADDRESS;
	return status;
}

/* Records go elsewhere than to the standard output, which is the command's. */
static int open_output(struct cache *cache)
{
	const char *path = cache->texts.output ? cache->texts.output : "/dev/null";
	struct error error = {0};
	int fd;

	if (!cache->texts.output && !cache->command.words)
		return EXIT_DONE;
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	cache->output = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
	if (fd < 0 || dup2(fd, STDOUT_FILENO) < 0) {
		error_set(&error, -errno, NULL, NULL, "open %s", path);
		return run_failed(&cache->run, -EIO, &error);
	}
	close(fd);
	return EXIT_DONE;
}

static int block_signals(struct cache *cache)
{
	static const int ours[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGCHLD};
	static const int of_command[] = {SIGUSR1, SIGUSR2, SIGCONT};
	sigset_t set;

	sigemptyset(&set);
	for (size_t i = 0; i < ARRAY_SIZE(ours); i++)
		sigaddset(&set, ours[i]);
	for (size_t i = 0; cache->command.words && i < ARRAY_SIZE(of_command); i++)
		sigaddset(&set, of_command[i]);
	sigprocmask(SIG_BLOCK, &set, &cache->mask);
	cache->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return cache->signals < 0 ? EXIT_FAILED : EXIT_DONE;
}

static void on_ready(void *context, struct live *live)
{
	struct cache *cache = context;
	const struct target *target = &cache->run.target;
	struct region region = live_region(live);
	json_t *record = report_region("cache", target->pid, target->starttime, region.start, region.end);

	json_object_set_new(record, "source", json_string(cache->texts.from));
	json_object_set_new(record, "source_kind", json_string(source_kind(cache->source)));
	json_object_set_new(record, "source_bytes", json_integer((json_int_t)source_bytes(cache->source)));
	json_object_set_new(record, "block_bytes", json_integer((json_int_t)cache->options.block_bytes));
	json_object_set_new(record, "writable", json_boolean(cache->options.writable));
	json_object_set_new(record, "worker_pid", json_integer(live_worker(live)));
	json_object_set_new(record, "puppet_pid", json_integer(live_puppet(live)));
	json_object_set_new(record, "missing", live_missing(live));
	report_record(cache->run.report, record);
	command_go(&cache->command);
}

static void on_error(void *context, json_t *record)
{
	report_record(((struct cache *)context)->run.report, record);
}

static void on_child(void *context)
{
	struct cache *cache = context;

	source_reap(cache->source);
	command_look(&cache->command);
}

/* What somebody sends to us is meant for the command, if there is one; what comes from the terminal it gets itself. */
static bool on_signal(void *context, const struct signalfd_siginfo *info)
{
	const struct cache *cache = context;

	if (!cache->command.words)
		return true;
	if (info->ssi_code <= 0 && !cache->command.ended)
		kill(cache->command.pid, (int)info->ssi_signo);
	return false;
}

static bool waits(void *context)
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
	rc = command_begin(&cache->command, cache->run.name, (struct region){start, start + bytes}, &cache->mask,
			   cache->output, &error);
	if (rc == 0)
		rc = target_open(&cache->run.target, cache->command.pid, -1, &error);
	if (rc > 0)
		return cache->command.status;
	return rc < 0 ? run_failed(&cache->run, rc, &error) : EXIT_DONE;
}

static int finish(struct cache *cache)
{
	bool partial = live_errors(cache->live) > 0;

	report_record(cache->run.report, live_summary(cache->live));
	if (cache->command.words) {
		run_finish(&cache->run, EXIT_DONE);
		return cache->command.status;
	}
	return run_finish(&cache->run, partial ? EXIT_PARTIAL : EXIT_DONE);
}

static int run_cache(struct cache *cache)
{
	const struct live_callbacks callbacks = {on_ready, on_error, on_child, on_signal, waits, cache};
	struct run *run = &cache->run;
	struct error error = {0};
	int status;
	int rc = source_open(&cache->source, cache->texts.from, &cache->source_options, &error);

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
	return rc < 0 ? run_failed(run, rc, &error) : finish(cache);
}

static int open_all(struct cache *cache)
{
	int status = parse(cache);

	if (!status)
		status = block_signals(cache);
	if (!status)
		status = open_output(cache);
	return status ? status : run_open(&cache->run, columns, "cache", cache->command.words != NULL);
}

int verb_cache(int argc, const char **argv)
{
	_cleanup_cache_ struct cache cache = {
		.run = RUN_NONE("addrspace cache"),
		.options = {.block_bytes = DEFAULT_BLOCK},
		.source_options = {.keep = DEFAULT_KEEP},
		.command = {.words = command_words(&argc, argv)},
		.signals = -1,
		.output = -1,
	};
	struct texts *texts = &cache.texts;
	const struct poptOption options[] = {
		{"from", 0, POPT_ARG_STRING, &texts->from, 0, "what is mapped: FILE, pipe:COMMAND or exec:COMMAND",
		 "SOURCE"},
		{"size", 0, POPT_ARG_STRING, &texts->size, 0, "how much of it (all there is)", "BYTES"},
		{"at", 0, POPT_ARG_STRING, &texts->at, 0, "where (anywhere; for a command 0x200000000000)", "ADDR"},
		{"block", 0, POPT_ARG_STRING, &texts->block, 0, "fill so much at a time (64K)", "BYTES"},
		{"writable", 0, POPT_ARG_NONE, &texts->writable, 0, "private pages that can be written", NULL},
		{"delay", 0, POPT_ARG_STRING, &texts->delay, 0, "wait before each fill", "MS"},
		{"fail", 0, POPT_ARG_ARGV, &texts->fail, 0, "SIGBUS for this part of the object (repeatable)",
		 "START-END"},
		{"timeout", 0, POPT_ARG_STRING, &texts->timeout, 0, "for a command that prints nothing; 0: none (60)",
		 "SECONDS"},
		{"keep", 0, POPT_ARG_STRING, &texts->keep, 0, "keep so much of what is read in order (1G)", "BYTES"},
		{"at-end", 0, POPT_ARG_STRING, &texts->end, 0, "what is missing then: fill, poison, unmap (fill)",
		 "WHAT"},
		{"output", 0, POPT_ARG_STRING, &texts->output, 0, "records go to FILE", "FILE"},
		POPT_TABLEEND,
	};
	const struct cli_popt_tool tool = {
		.name = "addrspace cache",
		.usage = "--from SOURCE [OPTION...] -p PID|-- COMMAND [ARGUMENT...]",
		.about = "Maps a lazily filled object into a process and serves it until stopped.",
		.options = options,
		.takes = CLI_TAKES_PID,
	};
	int status;

	if (cli_popt_parse(&tool, argc, argv, &cache.run.options, NULL, &status))
		return status;
	status = open_all(&cache);
	if (!status)
		status = run_cache(&cache);
	command_kill(&cache.command);
	return status;
}
