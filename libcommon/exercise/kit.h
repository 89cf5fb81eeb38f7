/* SPDX-License-Identifier: MIT */
/* What exercises are written with: memory, a thread that touches it, messages, and verdicts that end the exercise. */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/region.h"
#include "exercise/exercise.h"
#include "uffd/route.h"
#include "uffd/uapi.h"

#define KIT_BYTE 0x5a /* what pages are filled with */

/* The process of one exercise. */
struct kit {
	int fd; /* the handshake is made */
	enum uffd_route route;
	struct exercise_outcome *outcome; /* shared with the parent */
};

/* The verdict, in words; the process ends. */
void kit_pass(struct kit *kit, const char *seen, ...) __attribute__((noreturn, format(printf, 2, 3)));
void kit_fail(struct kit *kit, const char *seen, ...) __attribute__((noreturn, format(printf, 2, 3)));
void kit_not_applicable(struct kit *kit, const char *why, ...) __attribute__((noreturn, format(printf, 2, 3)));

/* Fails unless a call that returns 0 or -errno returned what is wanted. */
void kit_expect(struct kit *kit, const char *call, int result, int wanted);

/* Fails unless a condition holds; `what` says what was expected. */
void kit_check(struct kit *kit, bool holds, const char *what);

/* Private anonymous pages, untouched, without huge pages, registered for `mode` unless that is 0. */
char *kit_pages(struct kit *kit, size_t count, uint64_t mode);

/*
 * The same as two mappings of one memfd, neither touched; `at` is registered, `alias` is not. flags: MFD_HUGETLB or 0.
 * Returns the bytes of a page.
 */
size_t kit_shared(struct kit *kit, unsigned int flags, uint64_t mode, char **at, char **alias);

/* The region of a number of small pages. */
struct region kit_region(const char *at, size_t pages);

/* A page in memory of its own, filled with KIT_BYTE: a source for COPY. */
const char *kit_source(struct kit *kit, size_t bytes);

/* COPY of such a source to a page or several, through a descriptor that serves them. */
void kit_copy(struct kit *kit, int fd, const char *at, size_t bytes, bool wake);

/* One access by a thread of its own. Fill by kit_touch; what is below `write` holds after kit_done. */
struct kit_touch {
	char *at;
	bool write; /* of KIT_BYTE + 1 */
	char value;
	pid_t tid;
	int signal; /* SIGBUS when that came of it, and its code */
	int signal_code;
	pthread_t thread;
};

/* Starts one. */
void kit_touch(struct kit *kit, struct kit_touch *touch, char *at, bool write);

/* Waits until a touch is done; fails when it is not in time. */
void kit_done(struct kit *kit, struct kit_touch *touch);

/* Waits for a thread that does something which waits for the reader of an event. */
void kit_start(struct kit *kit, pthread_t *thread, void *(*run)(void *), void *argument);
void kit_joined(struct kit *kit, pthread_t thread, const char *what);

/* The next message of a descriptor; fails when none comes. Whether one waits. */
void kit_message(struct kit *kit, int fd, struct uffd_msg *message);
bool kit_has_message(int fd);

/* The same; fails unless it is a fault on the page at `at`. Returns its flags (UFFD_PAGEFAULT_FLAG_*). */
uint64_t kit_fault(struct kit *kit, const char *at);

/* How many threads wait for the descriptor, as the kernel counts them. */
unsigned int kit_waiting(struct kit *kit);

/* Pagemap entry of a page. */
uint64_t kit_pagemap(struct kit *kit, const char *at);

/* A child that ends with this process at the latest. Returns as fork does. */
pid_t kit_fork(struct kit *kit);
