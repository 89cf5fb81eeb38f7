/* SPDX-License-Identifier: MIT */
/* Which call fails: what the test asked for, and what has been counted. */
#include "fail.h"

#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <link.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

static struct fail *state;
static enum fail_role named = ROLES; /* none yet */
static pid_t first;
static uint64_t base, end; /* of the tool's own code */
static __thread bool inside;

static enum fail_role role(void)
{
	if (named != ROLES)
		return named;
	return getpid() == first ? ROLE_CALLER : ROLE_MAKER;
}

void fail_named(const char *name)
{
	static const char *const names[] = {[ROLE_SUPERVISOR] = "swapctl-super",
					    [ROLE_WORKER] = "swapctl-worker",
					    [ROLE_KEEPER] = "swapctl-keeper"};

	for (enum fail_role i = ROLE_SUPERVISOR; i < ROLES; i++)
		if (strcmp(name, names[i]) == 0)
			named = i;
}

static uint32_t take_trace(uint64_t frames[FAIL_FRAMES])
{
	void *all[FAIL_FRAMES + 8];
	int count = backtrace(all, FAIL_FRAMES + 8); /* NOLINT(bugprone-signal-handler,cert-sig30-c) */
	uint32_t ours = 0;

	for (int i = 0; i < count && ours < FAIL_FRAMES; i++)
		if ((uint64_t)all[i] >= base && (uint64_t)all[i] < end)
			frames[ours++] = (uint64_t)all[i] - base;
	return ours;
}

static void note(struct fail_trace *trace, int number)
{
	trace->role = role();
	trace->number = (uint32_t)number;
	trace->pid = (uint32_t)getpid();
	trace->count = take_trace(trace->frames);
}

/* Whether no call from this place has failed yet; it has from now on. */
static bool is_new(void)
{
	uint64_t frames[FAIL_FRAMES];
	uint32_t count = take_trace(frames);
	uint64_t hash = 0xcbf29ce484222325;

	for (uint32_t i = 0; i < count; i++)
		hash = (hash ^ frames[i]) * 0x100000001b3;
	for (uint64_t i = hash % FAIL_SEEN, tried = 0; tried < FAIL_SEEN; i = (i + 1) % FAIL_SEEN, tried++) {
		uint64_t there = 0;

		if (atomic_compare_exchange_strong(&state->seen[i], &there, hash | 1))
			return true;
		if (there == (hash | 1))
			return false;
	}
	return false;
}

static bool is_chosen(uint64_t number)
{
	if (state->nth)
		return number >= state->nth && number < state->nth + state->times;
	if (atomic_load(&state->fired) >= state->times)
		return false;
	return is_new() && atomic_load(&state->fired) < state->times;
}

/* Whether it is this one. */
static bool decide(enum fail_call call)
{
	uint32_t untraced = 0;

	atomic_fetch_add(&state->counts[role()][call], 1);
	if (call != state->call || !(state->roles >> role() & 1) ||
	    !is_chosen(atomic_fetch_add(&state->matched, 1) + 1))
		return false;
	atomic_fetch_add(&state->fired, 1);
	if (atomic_compare_exchange_strong(&state->traced, &untraced, 1))
		note(&state->trace, 0);
	return true;
}

static bool chosen(enum fail_call call)
{
	int saved = errno;
	bool yes;

	if (!state || inside || !atomic_load(&state->armed))
		return false;
	inside = true;
	yes = decide(call);
	inside = false;
	errno = saved;
	return yes;
}

bool fail_now(enum fail_call call)
{
	if (!chosen(call))
		return false;
	errno = state->error == FAIL_SHORT ? EINTR : state->error;
	return true;
}

bool fail_or_shorten(enum fail_call call, size_t *bytes)
{
	if (!chosen(call))
		return false;
	if (state->error == FAIL_SHORT) {
		*bytes = *bytes >= 16 ? *bytes / 16 * 8 : *bytes; /* whole words, as pagemap has them */
		return false;
	}
	errno = state->error;
	return true;
}

static void on_crash(int number)
{
	uint32_t none = 0;

	if (atomic_compare_exchange_strong(&state->crashed, &none, 1))
		note(&state->crash, number);
	signal(number, SIG_DFL);
	raise(number);
}

/* The first is the tool itself. */
static int find_tool(struct dl_phdr_info *info, size_t size, void *context)
{
	(void)size;
	(void)context;
	base = info->dlpi_addr;
	for (int i = 0; i < info->dlpi_phnum; i++)
		if (info->dlpi_phdr[i].p_type == PT_LOAD)
			end = base + info->dlpi_phdr[i].p_vaddr + info->dlpi_phdr[i].p_memsz;
	return 1;
}

__attribute__((constructor)) static void begin(void)
{
	static const int deadly[] = {SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL};
	const char *path = getenv("UVM_FAIL");
	int fd = path ? (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC) : -1;
	void *warm[4];
	void *at;

	if (fd < 0)
		return;
	at = (void *)syscall(SYS_mmap, NULL, sizeof(*state), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if ((int64_t)at < 0 && (int64_t)at > -4096)
		return;
	first = getpid();
	dl_iterate_phdr(find_tool, NULL);
	backtrace(warm, 4); /* loads what it needs */
	for (size_t i = 0; i < sizeof(deadly) / sizeof(*deadly); i++)
		signal(deadly[i], on_crash);
	state = at;
}
