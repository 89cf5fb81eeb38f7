/* SPDX-License-Identifier: MIT */
/*
 * A thread that waits for a page in the middle of a restartable sequence: section BYTES. Prints "ready START END" when
 * it does: memory, in which the description of the sequence lies. All other threads end when there is a line on
 * standard input. That one answers "ok" when it has been told to begin anew.
 */
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/rseq.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "pattern.h"

#define OTHERS 4          /* one of which rests whenever one is to be stopped */
#define APART  (7 * PAGE) /* from the thread's own memory, which the kernel may have put before it */

static char *page; /* nobody brings it */

#ifdef __x86_64__
/* The sequence, of which these are start, end, and where it goes on when it was interrupted (rseq(2)). */
extern const char section_start[], section_end[], section_abort[];

static void *run(void *descriptor)
{
	struct rseq *area = (struct rseq *)((char *)__builtin_thread_pointer() + __rseq_offset);

	*(struct rseq_cs *)descriptor = (struct rseq_cs){
		.start_ip = (uintptr_t)section_start,
		.post_commit_offset = (uint64_t)(section_end - section_start),
		.abort_ip = (uintptr_t)section_abort,
	};
	__asm__ goto(
		"movq %[descriptor], %[area]\n"
		"section_start:\n"
		"movb (%[page]), %%al\n"
		"section_end:\n"
		"jmp %l[done]\n"
		".long %c[signature]\n"
		"section_abort:\n"
		"jmp %l[aborted]\n"
		:
		: [descriptor] "r"(descriptor), [area] "m"(area->rseq_cs), [page] "r"(page), [signature] "i"(RSEQ_SIG)
		: "rax", "memory"
		: done, aborted);
done:
	puts("wrong");
	return NULL;
aborted:
	puts("ok");
	for (;;)
		pause();
}
#else
static void *run(void *descriptor)
{
	*(char *)descriptor = *page;
	return NULL;
}
#endif

/* A page that is asked for, and never comes. */
static int make_page(void)
{
	struct uffdio_api api = {.api = UFFD_API};
	struct uffdio_register request = {.mode = UFFDIO_REGISTER_MODE_MISSING};
	int uffd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);

	page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	request.range = (struct uffdio_range){(uintptr_t)page, PAGE};
	if (page == MAP_FAILED || uffd < 0 || ioctl(uffd, UFFDIO_API, &api) || ioctl(uffd, UFFDIO_REGISTER, &request))
		die("userfaultfd");
	return uffd;
}

static void *wait_for_line(void *argument)
{
	struct pollfd input = {.fd = 0, .events = POLLIN};

	while (poll(&input, 1, -1) != 1)
		;
	return argument;
}

int main(int argc, char **argv)
{
	size_t bytes = argc > 1 ? strtoull(argv[1], NULL, 0) : 0;
	char *memory = map_aligned(bytes);
	int uffd = make_page();
	struct uffd_msg message;
	pthread_t thread;

	setvbuf(stdout, NULL, _IOLBF, 0);
	memset(memory, 7, bytes);
	for (int i = 0; i < OTHERS; i++)
		if (pthread_create(&thread, NULL, wait_for_line, NULL))
			die("pthread_create");
	if (pthread_create(&thread, NULL, run, memory + APART) ||
	    read(uffd, &message, sizeof(message)) != sizeof(message))
		die("wait for the thread");
	printf("ready %lx %lx\n", (unsigned long)memory, (unsigned long)(memory + bytes));
	wait_for_line(NULL);
	pthread_exit(NULL);
}
