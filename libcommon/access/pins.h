/* SPDX-License-Identifier: MIT */
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
 * futex(2) waits for no page to which it writes (fault_in_user_writeable): EFAULT. A thread that waits for a PI futex
 * may write to it when it gets it (fixup_pi_owner), and the thread that requeues to one does: the words that threads
 * are seen waiting for do not leave. The others are not known before: see CAVEATS in swapctl(1).
 *
 * Nothing else of the kind is known. Read for that, and not affected:
 * - exit: PI state of the owner (what the kernel itself keeps, exit_pi_state_list), accounting, SEM_UNDO, files and
 *   io_uring, which is cancelled before the thread is marked as exiting (do_exit);
 * - exec and vfork: the old memory is left before anything is exiting (exec_mm_release); PR_SET_MM writes nothing;
 * - signals: frames, alternate stacks and shadow stacks are written on the way out, and read by rt_sigreturn(2), with
 *   faults; a page of a handler's stack that is out comes back as any other;
 * - io_uring, AIO and perf rings, BPF ring buffers: pages of the kernel, or pinned, which UFFDIO_MOVE refuses. Buffers
 *   that io_uring is given are read and written with faults, by a worker where the caller may not wait;
 * - user events: a worker of the kernel faults; uprobe areas are special mappings;
 * - programs of BPF and perf that look into user memory do not wait: they see nothing of a page that is out, and change
 *   nothing.
 * Core dumps (PF_DUMPCORE) lack what is out.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "access/target_ops.h"
#include "base/region.h"
#include "proc/sharers.h"
#include "report/error.h"

/* What is known of one thread. */
struct pin_thread {
	pid_t tid, there;      /* as it calls itself, in its own pid namespace */
	uint64_t starttime;    /* when asked */
	uint64_t ask_again_us; /* 0: not asked; not before then, for one that is young may yet change its mind */
	struct thread_words words;
	uint64_t waited_for; /* the futex with priority inheritance that it was last seen waiting to get */
	uint64_t scan;       /* the latest one that saw it */
};

/* All zeros knows nothing. */
struct pins {
	struct pin_thread *threads; /* sorted by tid */
	size_t count, capacity;
	struct sharers sharers;
	uint64_t scan;
	/* Where libc keeps the words of a thread, as seen from the head of its robust list. */
	bool layout_known;
	int64_t word_offset, rseq_offset; /* rseq_offset 0: none */
	uint64_t waiting_again_us;        /* when to scan them anew */
	struct region_vec pages;          /* the answer */
};

/*
 * Looks at all threads, those of processes that share the memory too (clone(2), CLONE_VM), and leaves the pages in
 * pins->pages. Threads are told apart from those of libc by what lies in their memory; one that is not like those is
 * stopped once and asked (prctl(PR_GET_TID_ADDRESS), PTRACE_GET_RSEQ_CONFIGURATION). No thread may be stopped by us. A
 * page that is out cannot be read, and is among the answer: bring it back, and scan again. What threads wait for is
 * inspected when `whole`, and otherwise now and then: it costs more than all else.
 *
 * Returns 0, or -errno with `error` filled: -ETIMEDOUT (a thread cannot be asked now), -EPERM (this way cannot ask),
 * -EOPNOTSUPP (CONFIG_CHECKPOINT_RESTORE), -ESRCH, -ENOMEM.
 */
int pins_scan(struct pins *pins, struct access *access, bool whole, struct error *error);
void pins_free(struct pins *pins);
