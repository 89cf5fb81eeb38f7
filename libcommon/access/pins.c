/* SPDX-License-Identifier: MIT */
/* Rseq areas, robust lists and the words of clear_child_tid of all threads. */
#include "access/pins.h"

#include <errno.h>
#include <linux/futex.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include "base/size.h"
#include "inject/restart.h"
#include "proc/stat.h"
#include "proc/tasks.h"

#define NEAR          4096    /* bytes between what libc keeps of one thread, at most */
#define YOUNG_US      1000000 /* a thread says where its words are in the first moments of its life */
#define ASK_US        2000000 /* for a thread that cannot be asked, once a millisecond */
#define RSEQ_BYTES    64      /* more than the area of any kernel so far has beyond what is aligned to 32 */
#define ENTRY_FLAGS   UINT64_C(1)
#define WAITING_SHARE 9 /* times what a scan of what threads wait for takes, until the next one */

static int pin_pages(struct pins *pins, uint64_t address, uint64_t bytes)
{
	struct region pages = {round_down(address, page_size()), round_up(address + bytes, page_size())};

	return pages.start < pages.end ? region_vec_push(&pins->pages, pages) : 0;
}

static int read_at(const struct access *access, uint64_t address, void *to, size_t bytes)
{
	return fd_read_all(access_memory(access), to, bytes, address) < 0 ? -EIO : 0;
}

/* The futex word of an entry, and the entry itself. */
static int pin_entry(struct pins *pins, uint64_t entry, int64_t offset)
{
	int rc = pin_pages(pins, entry, sizeof(uint64_t));

	return rc < 0 ? rc : pin_pages(pins, entry + (uint64_t)offset, sizeof(uint32_t));
}

/* As far as it can be read; struct robust_list_head of <linux/futex.h>. */
static int pin_list(struct pins *pins, const struct access *access, uint64_t head)
{
	struct {
		uint64_t next;
		int64_t offset;
		uint64_t pending;
	} list;
	uint64_t entry;
	int rc = head ? pin_pages(pins, head, sizeof(list)) : 0;

	if (rc < 0 || !head || read_at(access, head, &list, sizeof(list)) < 0)
		return rc;
	if (list.pending & ~ENTRY_FLAGS)
		rc = pin_entry(pins, list.pending & ~ENTRY_FLAGS, list.offset);
	entry = list.next & ~ENTRY_FLAGS;
	for (int i = 0; rc == 0 && entry && entry != head && i < ROBUST_LIST_LIMIT; i++) {
		rc = pin_entry(pins, entry, list.offset);
		if (read_at(access, entry, &entry, sizeof(entry)) < 0)
			break;
		entry &= ~ENTRY_FLAGS;
	}
	return rc;
}

static int pin_words(struct pins *pins, const struct thread_words *words)
{
	int rc = words->word ? pin_pages(pins, words->word, sizeof(uint32_t)) : 0;

	return rc < 0 || !words->rseq ? rc : pin_pages(pins, words->rseq, RSEQ_BYTES);
}

static bool is_before(const void *thread, const void *tid)
{
	return ((const struct pin_thread *)thread)->tid < *(const pid_t *)tid;
}

static struct pin_thread *find_thread(struct pins *pins, pid_t tid)
{
	size_t at = first_not_before(pins->threads, pins->count, sizeof(*pins->threads), is_before, &tid);

	if (at < pins->count && pins->threads[at].tid == tid)
		return &pins->threads[at];
	if (array_reserve(&pins->threads, pins->count, &pins->capacity) < 0)
		return NULL;
	memmove(&pins->threads[at + 1], &pins->threads[at], (pins->count - at) * sizeof(*pins->threads));
	pins->threads[at] = (struct pin_thread){.tid = tid, .there = proc_innermost_pid(tid)};
	pins->count++;
	return &pins->threads[at];
}

static void forget_ended(struct pins *pins)
{
	size_t keep = 0;

	for (size_t i = 0; i < pins->count; i++)
		if (pins->threads[i].scan == pins->scan)
			pins->threads[keep++] = pins->threads[i];
	pins->count = keep;
}

/* The kernel and libc have left the thread's number there. */
static bool holds_number(const struct access *access, uint64_t word, pid_t number)
{
	pid_t there;

	return read_at(access, word, &there, sizeof(there)) == 0 && there == number;
}

/* A thread that is like those of libc. Its number may be another one's by now. */
static bool follows_layout(struct pins *pins, const struct access *access, struct pin_thread *thread, uint64_t head,
			   struct thread_words *words)
{
	*words = (struct thread_words){
		.word = head + (uint64_t)pins->word_offset,
		.rseq = pins->rseq_offset ? head + (uint64_t)pins->rseq_offset : 0,
	};
	if (!pins->layout_known || !head)
		return false;
	if (holds_number(access, words->word, thread->there))
		return true;
	thread->there = proc_innermost_pid(thread->tid);
	return holds_number(access, words->word, thread->there);
}

static bool is_near(int64_t offset)
{
	return offset > -NEAR && offset < NEAR;
}

static void learn_layout(struct pins *pins, const struct access *access, const struct pin_thread *thread, uint64_t head)
{
	int64_t word = (int64_t)(thread->words.word - head), rseq = (int64_t)(thread->words.rseq - head);

	if (pins->layout_known || !head || !is_near(word) || !holds_number(access, thread->words.word, thread->there))
		return;
	pins->layout_known = true;
	pins->word_offset = word;
	pins->rseq_offset = thread->words.rseq && is_near(rseq) ? rseq : 0;
}

/* Threads of the kernel (io_uring, vhost) have no words. Those that are exiting are waited for. */
static int pin_thread_words(struct pins *pins, struct access *access, struct pin_thread *thread, uint64_t head,
			    bool shares)
{
	struct proc_stat stat;
	int rc = proc_stat_read(thread->tid, &stat);

	if (rc < 0 || proc_stat_is_kernel_worker(&stat) || stat.state == 'Z' || stat.state == 'X')
		return 0;
	if (thread->ask_again_us > now_us() && thread->starttime == stat.starttime)
		return pin_words(pins, &thread->words);
	if (proc_stat_is_exiting(&stat))
		return -EAGAIN;
	rc = access->ops->calls.ask(access, thread->tid, &thread->words);
	if (rc == -ESRCH)
		return target_alive(access->target) ? 0 : rc;
	/* It has another memory by now, or cannot be asked by an agent. */
	if (shares && (rc == -ESTALE || (rc == -EPERM && access->ops == &target_by_agent)))
		return 0;
	if (rc < 0)
		return rc;
	thread->starttime = stat.starttime;
	thread->ask_again_us = proc_stat_age_us(&stat) > YOUNG_US ? UINT64_MAX : now_us() + YOUNG_US;
	learn_layout(pins, access, thread, head);
	return pin_words(pins, &thread->words);
}

/* `shares`: it is a thread of another process. */
static int scan_thread(struct pins *pins, struct access *access, pid_t tid, bool shares)
{
	struct thread_words words;
	struct pin_thread *thread;
	uint64_t head = 0;
	size_t length;
	int rc;

	if (syscall(SYS_get_robust_list, tid, &head, &length) < 0)
		return errno == ESRCH ? 0 : -errno;
	thread = find_thread(pins, tid);
	if (!thread)
		return -ENOMEM;
	thread->scan = pins->scan;
	rc = pin_list(pins, access, head);
	if (rc < 0)
		return rc;
	if (follows_layout(pins, access, thread, head, &words))
		return pin_words(pins, &words);
	return pin_thread_words(pins, access, thread, head, shares);
}

/* The futex that a thread waits to get. One that runs may be about to wait again. */
static void scan_call(struct pin_thread *thread)
{
	uint64_t arguments[6];
	long number;
	int rc = proc_syscall_read(thread->tid, &number, arguments);

	if (rc >= 0)
		thread->waited_for = rc ? restart_inherits(number, arguments) : 0;
}

/* Takes a tenth of the time at most when there is no need for it. */
static void scan_calls(struct pins *pins, bool whole)
{
	uint64_t begun = now_us();

	if (!whole && begun < pins->waiting_again_us)
		return;
	for (size_t i = 0; i < pins->count; i++)
		scan_call(&pins->threads[i]);
	pins->waiting_again_us = now_us() + (now_us() - begun) * WAITING_SHARE;
}

/* One scan of every thread of a process. As scan_once. */
static int scan_process(struct pins *pins, struct access *access, const struct target *process, pid_t *tid)
{
	_cleanup_closedir_ DIR *tasks = tasks_open(process);
	bool shares = process != access->target;
	int rc = tasks || (shares && errno == ENOENT) ? 0 : tasks_error();

	for (pid_t next; tasks && (next = tasks_next(tasks)) > 0;) {
		int one = scan_thread(pins, access, next, shares);

		if (one < 0 && (rc == 0 || rc == -EAGAIN || rc == -EPERM)) {
			rc = one;
			*tid = next;
		}
	}
	return rc;
}

/* One scan of every thread. Returns 0, -EAGAIN when one cannot be asked yet, or another error; *tid is that thread. */
static int scan_once(struct pins *pins, struct access *access, bool whole, pid_t *tid)
{
	int shared = sharers_inspect(&pins->sharers, access->target);
	int rc;

	pins->scan++;
	pins->pages.count = 0;
	rc = scan_process(pins, access, access->target, tid);
	for (size_t i = 0; shared == 0 && i < pins->sharers.count; i++)
		if (pins->sharers.pids[i] != access->puppet.self.pid && !target_is_puppet(pins->sharers.pids[i]))
			shared = scan_process(pins, access, &(struct target){.pid = pins->sharers.pids[i], .pidfd = -1},
					      tid);
	rc = rc < 0 ? rc : shared;
	forget_ended(pins);
	scan_calls(pins, whole);
	for (size_t i = 0; rc == 0 && i < pins->count; i++)
		if (pins->threads[i].waited_for)
			rc = pin_pages(pins, pins->threads[i].waited_for, sizeof(uint32_t));
	region_vec_normalize(&pins->pages);
	return rc;
}

static int explain_thread(const struct access *access, pid_t tid, int rc, struct error *error)
{
	const char *hint = NULL;

	if (rc == -ESRCH)
		return error_set(error, rc, "it has ended", NULL, "look at the threads of process %d",
				 access->target->pid);
	if (rc == -EPERM)
		hint = "its agent cannot ask it; use --access ptrace";
	if (rc == -EOPNOTSUPP)
		hint = "this takes a kernel with CONFIG_CHECKPOINT_RESTORE";
	return error_set(error, rc == -EAGAIN ? -ETIMEDOUT : rc,
			 rc == -EAGAIN || rc == -ETIMEDOUT ? "it does not stop to be asked" : NULL, hint,
			 "find out what the kernel writes to at the end of thread %d of process %d", tid,
			 access->target->pid);
}

int pins_scan(struct pins *pins, struct access *access, bool whole, struct error *error)
{
	pid_t tid = access->target->pid;
	uint64_t deadline = now_us() + ASK_US;
	bool known;
	int rc;

	for (;;) {
		known = pins->layout_known;
		rc = scan_once(pins, access, whole, &tid);
		if (rc == 0 || rc == -ENOMEM || rc == -ESRCH || rc == -EOPNOTSUPP || now_us() > deadline)
			break;
		if (known != pins->layout_known)
			continue;
		if (rc == -EPERM)
			break;
		usleep(1000);
	}
	return rc < 0 ? explain_thread(access, tid, rc, error) : 0;
}

void pins_free(struct pins *pins)
{
	free(pins->threads);
	sharers_free(&pins->sharers);
	region_vec_free(&pins->pages);
	*pins = (struct pins){0};
}
