/* SPDX-License-Identifier: MIT */
/*
 * A program with userfaultfds of its own, as a virtual machine's monitor or a garbage collector has them: 4 MiB that it
 * fills itself when they are touched, 4 MiB whose first writes it counts, and 4 MiB of ordinary memory. Prints "ready
 * START END" (of the first), then obeys lines on standard input and answers "ok" or "wrong …":
 *
 *	check		verify everything; write to all of the second and count
 *	discard		MADV_DONTNEED the first
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "pattern.h"

#define BYTES (4 * MEBIBYTE)
#define PAGES (BYTES / PAGE)

static const struct pattern filled = {"text", 1}, guarded = {"mixed", 2}, ordinary = {"mixed", 3};

struct watched {
	int fd;
	char *at;
	atomic_ulong faults;
};

static struct watched fill, guard;

static void watch(struct watched *w, uint64_t mode, uint64_t features)
{
	struct uffdio_api api = {.api = UFFD_API, .features = features};
	struct uffdio_register area = {.mode = mode};

	w->fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC);
	area.range = (struct uffdio_range){(uintptr_t)w->at, BYTES};
	if (w->fd < 0 || ioctl(w->fd, UFFDIO_API, &api) || ioctl(w->fd, UFFDIO_REGISTER, &area))
		die("userfaultfd");
}

static void protect(uint64_t at, size_t bytes, bool writes)
{
	struct uffdio_writeprotect wp = {.range = {at, bytes}, .mode = writes ? 0 : UFFDIO_WRITEPROTECT_MODE_WP};

	while (ioctl(guard.fd, UFFDIO_WRITEPROTECT, &wp))
		if (errno != EAGAIN)
			die("UFFDIO_WRITEPROTECT");
}

static uint64_t next_fault(struct watched *w)
{
	struct uffd_msg message;

	if (read(w->fd, &message, sizeof(message)) != (ssize_t)sizeof(message))
		die("read");
	atomic_fetch_add(&w->faults, 1);
	return message.arg.pagefault.address & ~(PAGE - 1);
}

static void *serve_fill(void *argument)
{
	static uint64_t page[PAGE / sizeof(uint64_t)];

	(void)argument;
	for (;;) {
		uint64_t at = next_fault(&fill);
		struct uffdio_copy copy = {.dst = at, .src = (uintptr_t)page, .len = PAGE};

		pattern_page(page, &filled, (at - (uintptr_t)fill.at) / PAGE);
		if (ioctl(fill.fd, UFFDIO_COPY, &copy) && errno != EEXIST)
			die("UFFDIO_COPY");
	}
	return NULL;
}

static void *serve_guard(void *argument)
{
	(void)argument;
	for (;;)
		protect(next_fault(&guard), PAGE, true);
	return NULL;
}

/* Each page's first write is seen. */
static const char *check(const char *memory)
{
	atomic_store(&guard.faults, 0);
	protect((uintptr_t)guard.at, BYTES, false);
	if (pattern_wrong(guard.at, BYTES, &guarded))
		return "guarded memory";
	for (volatile char *at = guard.at; at < guard.at + BYTES; at += PAGE / 2)
		*at = *at;
	if (atomic_load(&guard.faults) < PAGES) /* more, when a thread was stopped while it waited */
		return "number of writes seen";
	if (pattern_wrong(guard.at, BYTES, &guarded))
		return "guarded memory after it was written to";
	if (pattern_wrong(fill.at, BYTES, &filled))
		return "memory that is filled when touched";
	return pattern_wrong(memory, BYTES, &ordinary) ? "ordinary memory" : NULL;
}

int main(void)
{
	char *memory = map_aligned(BYTES), line[64];
	pthread_t threads[2];

	fill.at = map_aligned(BYTES);
	guard.at = map_aligned(BYTES);
	if (madvise(guard.at, BYTES, MADV_NOHUGEPAGE))
		die("madvise");
	pattern_fill(memory, BYTES, &ordinary);
	pattern_fill(guard.at, BYTES, &guarded);
	watch(&fill, UFFDIO_REGISTER_MODE_MISSING, 0);
	watch(&guard, UFFDIO_REGISTER_MODE_WP, UFFD_FEATURE_PAGEFAULT_FLAG_WP);
	if (pthread_create(&threads[0], NULL, serve_fill, NULL) || pthread_create(&threads[1], NULL, serve_guard, NULL))
		die("pthread_create");
	printf("ready %lx %lx\n", (unsigned long)fill.at, (unsigned long)(fill.at + BYTES));
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin)) {
		const char *wrong = NULL;

		if (strcmp(line, "discard\n") != 0)
			wrong = check(memory);
		else if (madvise(fill.at, BYTES, MADV_DONTNEED))
			die("madvise");
		printf(wrong ? "wrong %s\n" : "ok\n", wrong);
		fflush(stdout);
	}
	return 0;
}
