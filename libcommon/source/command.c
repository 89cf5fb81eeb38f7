/* SPDX-License-Identifier: MIT */
/* What a command prints: once and in order, or a run of it for each block. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/pidfd.h"
#include "base/size.h"
#include "service/service.h"
#include "source/parts.h"

#define PIPE_BYTES (1 << 20)

/* In the new process. It is given back what this one took for itself before it runs anything: a command may ask. */
static _Noreturn void run_shell(const char *command, char *const environment[], int output)
{
	char *words[] = {"sh", "-c", (char *)command, NULL};
	int input = open("/dev/null", O_RDONLY | O_CLOEXEC);
	sigset_t none;

	setpgid(0, 0);
	for (int number = 1; number < NSIG; number++)
		signal(number, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	service_release(getpid());
	if (input >= 0 && dup2(input, STDIN_FILENO) >= 0 && dup2(output, STDOUT_FILENO) >= 0)
		execve("/bin/sh", words, environment);
	_exit(127);
}

/*
 * sh -c COMMAND in a process group of its own, with /dev/null as its input. Returns 0 or -errno; the caller closes
 * *output, where it prints to.
 */
static int command_start(const char *command, char *const environment[], pid_t *pid, int *output)
{
	int ends[2];
	int rc;

	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	*pid = fork();
	if (*pid == 0)
		run_shell(command, environment, ends[1]);
	if (*pid > 0)
		setpgid(*pid, *pid); /* if it has not yet: it may be ended at once */
	rc = *pid < 0 ? -errno : 0;
	close(ends[1]);
	if (rc < 0)
		close(ends[0]);
	else
		*output = ends[0];
	return rc;
}

/* Waits until there is something to read, for `timeout_ms` (0: for ever). Returns 0, or -ETIMEDOUT. */
static int command_wait(int output, unsigned int timeout_ms)
{
	struct pollfd fd = {.fd = output, .events = POLLIN};
	uint64_t since = now_us();

	for (;;) {
		uint64_t gone = (now_us() - since) / 1000;
		int rc;

		if (timeout_ms && gone >= timeout_ms)
			return -ETIMEDOUT;
		rc = poll(&fd, 1, timeout_ms ? (int)(timeout_ms - gone) : -1);
		if (rc > 0)
			return 0;
	}
}

struct pipe_source {
	struct source base;
	struct spool spool;
	int output;
	pid_t pid;
	unsigned int timeout_ms;
};

/*
 * From the pipe to the spool inside the kernel, at the position that both descriptors' next user finds: bytes that were
 * taken out of the pipe cannot get lost with the process that took them.
 */
static int pipe_advance(struct pipe_source *p, uint64_t want)
{
	while (atomic_load(&p->spool.have) < want) {
		int rc = command_wait(p->output, p->timeout_ms);
		uint64_t left = p->base.bytes - atomic_load(&p->spool.have);
		ssize_t n =
			rc < 0 ? 0
			       : splice(p->output, NULL, p->spool.fd, NULL, min_u64(left, PIPE_BYTES), SPLICE_F_MOVE);

		if (rc < 0 || (n < 0 && errno != EINTR && errno != EAGAIN))
			return rc < 0 ? rc : -errno;
		if (n == 0)
			return -ENODATA;
		if (n > 0)
			atomic_fetch_add(&p->spool.have, (uint64_t)n);
	}
	return 0;
}

static int pipe_read(struct source *source, uint64_t offset, void *to, size_t bytes)
{
	struct pipe_source *p = (struct pipe_source *)source;
	int rc = 0;

	if (atomic_load(&p->spool.have) < offset + bytes) {
		if (pthread_mutex_trylock(&p->spool.lock) != 0)
			return -EAGAIN;
		rc = pipe_advance(p, offset + bytes);
		pthread_mutex_unlock(&p->spool.lock);
	}
	return rc < 0 ? rc : fd_read_all(p->spool.fd, to, bytes, offset);
}

static int pipe_restart(struct source *source)
{
	spool_restart(&((struct pipe_source *)source)->spool);
	return 0;
}

static void pipe_reap(const struct source *source)
{
	waitpid(((const struct pipe_source *)source)->pid, NULL, WNOHANG);
}

static void pipe_close(struct source *source)
{
	struct pipe_source *p = (struct pipe_source *)source;

	if (p->output >= 0)
		close(p->output); /* one that goes on printing is ended by that */
	spool_close(&p->spool);
	free(p);
}

/* Both have a size that has to be given. */
static int check_command(const char *command, const struct source_options *options, struct error *error)
{
	if (!*command)
		return error_set(error, -EINVAL, "there is no command", NULL, "open the source");
	if (!options->bytes)
		return error_set(error, -EINVAL, "how much it will print is not known", "give the size with --size",
				 "open the source %s", command);
	return 0;
}

int source_pipe_open(struct source **source, const char *command, const struct source_options *options,
		     struct error *error)
{
	static const struct source_ops ops = {
		.kind = "pipe", .read = pipe_read, .restart = pipe_restart, .reap = pipe_reap, .close = pipe_close};
	struct pipe_source *p;
	int rc = check_command(command, options, error);

	if (rc < 0)
		return rc;
	if (options->bytes > options->keep)
		return error_set(error, -EFBIG, "all of it would have to be kept", "allow that with --keep",
				 "open the source %s", command);
	p = calloc(1, sizeof(*p));
	if (!p)
		return error_set(error, -ENOMEM, NULL, NULL, "open the source %s", command);
	*p = (struct pipe_source){
		.base = {&ops, options->bytes}, .output = -1, .timeout_ms = options->timeout_ms, .spool = {.fd = -1}};
	rc = spool_open(&p->spool);
	if (rc == 0)
		rc = command_start(command, environ, &p->pid, &p->output);
	if (rc < 0) {
		pipe_close(&p->base);
		return error_set(error, rc, NULL, NULL, "start %s", command);
	}
	*source = &p->base;
	return 0;
}

struct exec_source {
	struct source base;
	char *command;
	unsigned int timeout_ms;
};

/* The environment with two names more. The caller frees the array and `texts`. */
static char **environment_with(char *texts[2])
{
	size_t count = 0;
	size_t used = 0;
	char **all;

	while (environ[count])
		count++;
	all = calloc(count + 3, sizeof(*all));
	if (!all)
		return NULL;
	all[used++] = texts[0];
	all[used++] = texts[1];
	for (size_t i = 0; i < count; i++)
		if (strncmp(environ[i], "UVM_OFFSET=", 11) != 0 && strncmp(environ[i], "UVM_LENGTH=", 11) != 0)
			all[used++] = environ[i];
	return all;
}

/* Returns 0, -EIO when it did not end well, or -ETIMEDOUT. */
static int reap_command(pid_t pid, unsigned int timeout_ms)
{
	_cleanup_close_ int pidfd = pidfd_of(pid);
	int rc = pidfd < 0 ? 0 : command_wait(pidfd, timeout_ms);
	int status = 0;

	if (rc < 0)
		kill(-pid, SIGKILL);
	waitpid(pid, &status, 0);
	return rc < 0 ? rc : status == 0 ? 0 : -EIO;
}

static int read_output(int output, void *to, size_t bytes, unsigned int timeout_ms)
{
	while (bytes) {
		int rc = command_wait(output, timeout_ms);
		ssize_t n = rc < 0 ? 0 : read(output, to, bytes);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return rc < 0 ? rc : n < 0 ? -errno : -ENODATA;
		to = (char *)to + n;
		bytes -= (size_t)n;
	}
	return 0;
}

static int exec_read(struct source *source, uint64_t offset, void *to, size_t bytes)
{
	struct exec_source *e = (struct exec_source *)source;
	char text_offset[48];
	char text_length[48];
	_cleanup_free_ char **environment = environment_with((char *[]){text_offset, text_length});
	int output = -1;
	pid_t pid = -1;
	int ended;
	int rc;

	snprintf(text_offset, sizeof(text_offset), "UVM_OFFSET=%" PRIu64, offset);
	snprintf(text_length, sizeof(text_length), "UVM_LENGTH=%zu", bytes);
	rc = environment ? command_start(e->command, environment, &pid, &output) : -ENOMEM;
	if (rc < 0)
		return rc;
	rc = read_output(output, to, bytes, e->timeout_ms);
	close(output);
	if (rc == -ETIMEDOUT)
		kill(-pid, SIGKILL);
	ended = reap_command(pid, e->timeout_ms);
	return rc < 0 && (rc != -ENODATA || ended == 0) ? rc : ended;
}

static void exec_close(struct source *source)
{
	free(((struct exec_source *)source)->command);
	free(source);
}

int source_exec_open(struct source **source, const char *command, const struct source_options *options,
		     struct error *error)
{
	static const struct source_ops ops = {
		.kind = "exec", .runs_commands = true, .read = exec_read, .close = exec_close};
	struct exec_source *e;
	int rc = check_command(command, options, error);

	if (rc < 0)
		return rc;
	e = calloc(1, sizeof(*e));
	if (e)
		e->command = strdup(command);
	if (!e || !e->command) {
		free(e);
		return error_set(error, -ENOMEM, NULL, NULL, "open the source %s", command);
	}
	e->base = (struct source){&ops, options->bytes};
	e->timeout_ms = options->timeout_ms;
	*source = &e->base;
	return 0;
}
