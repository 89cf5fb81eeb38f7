/* SPDX-License-Identifier: MIT */
/*
 * A library to preload into a tool: one of its calls fails, as a test says by the file that UVM_FAIL names. The file is
 * struct fail, shared by all processes that the tool becomes; tests/fail/session.py has the same layout.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FAIL_FRAMES 24
#define FAIL_SEEN   4096
#define FAIL_SHORT  (-1) /* instead of an errno: a read or write of half of it */

/* Who calls: the tool, its copy that makes the session, and those that name themselves. */
enum fail_role {
	ROLE_CALLER,
	ROLE_MAKER,
	ROLE_SUPERVISOR,
	ROLE_WORKER,
	ROLE_KEEPER,
	ROLES
};

/* Kinds of calls. Those of the target are the ones that a tracer has it make. */
#define FAIL_CALLS(X)                                                               \
	X(memory) /* malloc and its like */                                         \
	X(mmap)                                                                     \
	X(mremap)                                                                   \
	X(mprotect)                                                                 \
	X(mlock)                                                                    \
	X(uffd_copy)                                                                \
	X(uffd_zeropage)                                                            \
	X(uffd_poison)                                                              \
	X(uffd_register)                                                            \
	X(uffd_unregister)                                                          \
	X(uffd_api)                                                                 \
	X(ioctl)                                                                    \
	X(pread)                                                                    \
	X(pwrite)                                                                   \
	X(proc) /* pread and pwrite in /proc */                                     \
	X(read)                                                                     \
	X(write)                                                                    \
	X(receive)                                                                  \
	X(send)                                                                     \
	X(allocate) /* fallocate, ftruncate */                                      \
	X(open)                                                                     \
	X(stat)                                                                     \
	X(link) /* mkdir, unlink, rename, chmod */                                  \
	X(lock)                                                                     \
	X(descriptor) /* socket, pipe, eventfd, signalfd, memfd, dup, pidfd_open */ \
	X(bind)                                                                     \
	X(accept)                                                                   \
	X(connect)                                                                  \
	X(epoll_ctl)                                                                \
	X(wait) /* poll, epoll_wait, waitpid, usleep */                             \
	X(fork)                                                                     \
	X(thread)                                                                   \
	X(getfd) /* pidfd_getfd */                                                  \
	X(vm_read)                                                                  \
	X(target_memory)                                                            \
	X(target_ioctl)                                                             \
	X(target_descriptor)

#define FAIL_ENUM(name) CALL_##name,
enum fail_call {
	FAIL_CALLS(FAIL_ENUM) CALLS
};
#undef FAIL_ENUM

/* Offsets in the tool's own code of those who called, the nearest first. */
struct fail_trace {
	uint32_t role;
	uint32_t number; /* of the signal that it died of */
	uint32_t pid;
	uint32_t count;
	uint64_t frames[FAIL_FRAMES];
};

struct fail {
	_Atomic(uint32_t) armed;
	uint32_t roles; /* a bit for each that is concerned */
	uint32_t call;
	int32_t error;             /* an errno, or FAIL_SHORT */
	uint64_t nth;              /* the call that fails, from 1; 0: the first from a place that none has failed at */
	uint64_t times;            /* how many in a row */
	_Atomic(uint64_t) matched; /* calls that were of the kind */
	_Atomic(uint64_t) fired;   /* of them failed */
	_Atomic(uint32_t) traced, crashed;
	struct fail_trace trace; /* of the first that failed */
	struct fail_trace crash; /* of a process that was ended by a signal of its own making */
	_Atomic(uint64_t) counts[ROLES][CALLS];
	_Atomic(uint64_t) seen[FAIL_SEEN]; /* places, by their hash */
};

/* Whether this call is to fail; errno is set then. */
bool fail_now(enum fail_call call);

/* As fail_now, where a part can be done: *bytes is halved for FAIL_SHORT, and false returned. */
bool fail_or_shorten(enum fail_call call, size_t *bytes);

/* The process has given itself a name. */
void fail_named(const char *name);
