/*
 * Pages of a target that the kernel reads and writes where no fault can be served: what lies there must never be out.
 *
 * handle_userfault() answers SIGBUS to a thread that is exiting (PF_EXITING, fs/userfaultfd.c), and what the kernel was
 * to do there is left undone, in silence:
 * - the word that clear_child_tid points at is not cleared, and a join waits for ever (kernel/fork.c, mm_release);
 * - the robust list is not walked to its end, and waiters never hear of the owner's death: its head, its entries, the
 *   futex words of these and of what is pending (kernel/futex/core.c, exit_robust_list).
 * The area of rseq(2) is read and written on every way out of the kernel, where a fault is served; a tracer reads it
 * without (/proc/PID/mem), and so does the thread that moves pages.
 *
 * Nothing else of the kind is known. Not affected are PI futexes (at the owner's exit only what the kernel itself keeps
 * is changed, exit_pi_state_list; a waiter corrects the word, and faults as usual, fixup_pi_owner); signal frames,
 * alternate stacks and shadow stacks (written on the way out, with faults); io_uring, AIO and perf rings (pages of the
 * kernel, or pinned: UFFDIO_MOVE refuses those); vfork and exec (the old memory is left before anything is exiting:
 * exec_mm_release); user events (a worker of the kernel faults, uprobe areas are special mappings). A program of BPF or
 * perf that looks into user memory does not wait: it sees nothing of a page that is out, and changes nothing. Core
 * dumps (PF_DUMPCORE) lack what is out.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/region.h"
#include "inject/target_ops.h"
#include "proc/sharers.h"
#include "report/error.h"

/* What is known of one thread. */
struct pin_thread {
	pid_t tid, there;      /* as it calls itself, in its own pid namespace */
	uint64_t starttime;    /* when asked */
	uint64_t ask_again_us; /* 0: not asked; not before then, for one that is young may yet change its mind */
	struct thread_words words;
	uint64_t look; /* the latest one that saw it */
};

/* All zeros knows nothing. */
struct pins {
	struct pin_thread *threads; /* sorted by tid */
	size_t count, capacity;
	struct sharers sharers;
	uint64_t look;
	/* Where libc keeps the words of a thread, as seen from the head of its robust list. */
	bool layout_known;
	int64_t word_offset, rseq_offset; /* rseq_offset 0: none */
	struct region_vec pages;          /* the answer */
};

/*
 * Looks at all threads, those of processes that share the memory too (clone(2), CLONE_VM), and leaves the pages in
 * pins->pages. Threads are told apart from those of libc by what lies in their memory; one that is not like those is
 * stopped once and asked (prctl(PR_GET_TID_ADDRESS), PTRACE_GET_RSEQ_CONFIGURATION). No thread may be stopped by us. A
 * page that is out cannot be read, and is among the answer: bring it back, and look again.
 *
 * Returns 0, or -errno with `error` filled: -ETIMEDOUT (a thread cannot be asked now), -EPERM (not on this road),
 * -EOPNOTSUPP (CONFIG_CHECKPOINT_RESTORE), -ESRCH, -ENOMEM.
 */
int pins_look(struct pins *pins, struct road *road, struct error *error);

void pins_free(struct pins *pins);
