/* SPDX-License-Identifier: MIT */
/* userfaultfd: the handshake, the ioctls that work from outside the process, and reading its messages. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/region.h"
#include "uffd/uapi.h"

/*
 * The UFFDIO_API handshake on a new descriptor. `features`: the bits to enable. Returns 0, -EOPNOTSUPP when the kernel
 * does not offer all of them, -EPERM when this user may not have one (EVENT_FORK needs CAP_SYS_PTRACE), -EINVAL when
 * the handshake was made before. Source: userfaultfd(2), ioctl_userfaultfd(2).
 */
int uffd_handshake(int fd, uint64_t features);

/*
 * The feature bits the kernel offers, asked on a throw-away descriptor made by `fd_new` (owned by the caller). Returns
 * 0 or -errno.
 */
int uffd_offered(int fd_new, uint64_t *features);

/*
 * Registers a page-aligned region for missing faults. Idempotent. Returns 0 or -errno (-ENOMEM: nothing mapped there or
 * the target is gone; -EBUSY: registered by another descriptor; -EINVAL: a kind of memory that cannot be).
 */
int uffd_register_missing(int fd, struct region region);

/*
 * Registers a page-aligned region for the faults of `mode` (UFFDIO_REGISTER_MODE_*). *ioctls (may be NULL) receives
 * what the kernel offers there, bit 1 << _UFFDIO_COPY and so on. Errors as uffd_register_missing.
 */
int uffd_register(int fd, struct region region, uint64_t mode, uint64_t *ioctls);

/*
 * Unregisters what is registered there, with this descriptor, and wakes waiters. Returns 0 or -errno, with nothing
 * changed (-ENOMEM: the target is gone; -EINVAL: nothing is mapped there, or something that cannot be registered, or is
 * with another descriptor).
 */
int uffd_unregister(int fd, struct region region);

/*
 * One UFFDIO_COPY. All page aligned. *copied receives the bytes that were placed, also on failure. Returns 0 when all
 * were, -EAGAIN while an event is unread (or after a partial copy), -EEXIST when the next page is there already (nobody
 * is woken then), -ENOENT when the range is no longer registered or mapped, -ESRCH when the address space is gone,
 * -ENOMEM.
 */
int uffd_copy(int fd, uint64_t address, const void *from, size_t bytes, bool wake, size_t *copied);

/* One UFFDIO_ZEROPAGE; the same contract. */
int uffd_zeropage(int fd, uint64_t address, size_t bytes, size_t *done);

/* Marks pages so that a reader gets SIGBUS (UFFDIO_POISON, Linux 6.6); the same contract. */
int uffd_poison(int fd, uint64_t address, size_t bytes, size_t *done);

/* Maps pages that the page cache has already (UFFDIO_CONTINUE, for minor faults); the same contract. */
int uffd_continue(int fd, uint64_t address, size_t bytes, size_t *done);

/*
 * Protects pages against writing, or lifts that and wakes who waits. Returns 0 or -errno (-EAGAIN while an event is
 * unread, -ENOENT: not registered for it).
 */
int uffd_writeprotect(int fd, struct region region, bool protect);

/*
 * Makes pages that are there unreachable (UFFDIO_RWPROTECT, Linux 7.2), or lifts that and wakes who waits. The region
 * is registered for UFFDIO_REGISTER_MODE_RWP. Errors as uffd_writeprotect.
 */
int uffd_rwprotect(int fd, struct region region, bool protect);

/*
 * Switches features of a descriptor on and off while it is in use (UFFDIO_SET_MODE, Linux 7.2: UFFD_FEATURE_RWP_ASYNC
 * only). Returns 0 or -errno (-EINVAL: another feature, or one bit in both).
 */
int uffd_set_mode(int fd, uint64_t enable, uint64_t disable);

/*
 * One UFFDIO_MOVE inside this process (from outside it is -EINVAL). All page aligned; `mode` is UFFDIO_MOVE_MODE_*.
 * *moved receives the bytes that moved, also on failure. Returns 0, -EAGAIN after a partial move, -ENOENT for a hole in
 * the source, -EEXIST when the destination has a page, -EBUSY for a page that is shared or pinned, -EINVAL, -ENOMEM,
 * -ESRCH.
 */
int uffd_move(int fd, uint64_t to, uint64_t from, size_t bytes, uint64_t mode, size_t *moved);

/* Wakes the threads that wait in the range; they fault again if the page is still missing. */
int uffd_wake(int fd, struct region region);

/* Wakes all threads that wait, wherever: for who takes a descriptor over, and did not read the messages. */
void uffd_wake_all(int fd);

/*
 * Whether the address space behind the descriptor still exists: a COPY onto an address nobody maps tells (-ESRCH)
 * without changing anything.
 */
bool uffd_alive(int fd);

/*
 * Whether an event of that address space has not been read, or its thread has not gone on yet: nothing can be placed or
 * moved there now.
 */
bool uffd_changing(int fd);

/* Whether the page there is registered, with this descriptor or another one. False while the address space changes. */
bool uffd_registered(int fd, uint64_t address);

/*
 * Whether a region lies in one mapping that is registered, with this descriptor or another one. False while the address
 * space changes. Page-aligned.
 */
bool uffd_covers(int fd, struct region region);

/*
 * Whether a region is not registered as a whole, or not one mapping, and no event that was not read is the cause. False
 * while the address space changes. Page-aligned.
 */
bool uffd_absent(int fd, struct region region);

/*
 * Reads up to `count` messages without blocking, whatever the target does to the flags of the description that it
 * shares: O_NONBLOCK is set again when it is found cleared. Returns how many, 0 when there are none, or -errno.
 */
int uffd_read(int fd, struct uffd_msg *messages, size_t count);

/* The addresses that a message says have changed: by REMAP (where they were), REMOVE or UNMAP; empty for any other. */
struct region uffd_changed(const struct uffd_msg *message);

/* Threads that wait at addresses that have changed fault again. */
void uffd_wake_changed(int fd, const struct uffd_msg *message);

/*
 * Whether a link of a directory fd of /proc/PID, by its path below a directory (or AT_FDCWD), is that of a userfaultfd.
 * Returns 1, 0 or -errno. proc_pid_fd(5).
 */
int uffd_link_is(int directory, const char *path);
