/* SPDX-License-Identifier: MIT */
/* The exercises by name, with the features that each enables. */
#pragma once

#include "exercise/kit.h"

/* clang-format off */
#define EXERCISES(row) \
	row(copy, 0) \
	row(copy_wp, UFFD_FEATURE_PAGEFAULT_FLAG_WP) \
	row(zeropage, 0) \
	row(wake, 0) \
	row(missing_shmem, UFFD_FEATURE_MISSING_SHMEM) \
	row(missing_hugetlbfs, UFFD_FEATURE_MISSING_HUGETLBFS) \
	row(minor_shmem, UFFD_FEATURE_MINOR_SHMEM) \
	row(minor_hugetlbfs, UFFD_FEATURE_MINOR_HUGETLBFS) \
	row(continue, UFFD_FEATURE_MINOR_SHMEM) \
	row(poison, UFFD_FEATURE_POISON) \
	row(sigbus, UFFD_FEATURE_SIGBUS) \
	row(thread_id, UFFD_FEATURE_THREAD_ID) \
	row(exact_address, UFFD_FEATURE_EXACT_ADDRESS) \
	row(kernel_fault, 0) \
	row(writeprotect, UFFD_FEATURE_PAGEFAULT_FLAG_WP) \
	row(wp_async, UFFD_FEATURE_WP_ASYNC) \
	row(wp_unpopulated, UFFD_FEATURE_WP_UNPOPULATED) \
	row(wp_hugetlbfs_shmem, UFFD_FEATURE_WP_HUGETLBFS_SHMEM) \
	row(rwprotect, UFFD_FEATURE_RWP) \
	row(rwp_async, UFFD_FEATURE_RWP | UFFD_FEATURE_RWP_ASYNC) \
	row(set_mode, UFFD_FEATURE_RWP | UFFD_FEATURE_RWP_ASYNC) \
	row(event_fork, UFFD_FEATURE_EVENT_FORK) \
	row(event_remap, UFFD_FEATURE_EVENT_REMAP) \
	row(event_remove, UFFD_FEATURE_EVENT_REMOVE) \
	row(event_unmap, UFFD_FEATURE_EVENT_UNMAP) \
	row(move, UFFD_FEATURE_MOVE) \
	row(move_dontwake, UFFD_FEATURE_MOVE) \
	row(move_allow_src_holes, UFFD_FEATURE_MOVE) \
	row(move_eagain, UFFD_FEATURE_MOVE) \
	row(move_einval_alignment, UFFD_FEATURE_MOVE) \
	row(move_einval_mode, UFFD_FEATURE_MOVE) \
	row(move_einval_range, UFFD_FEATURE_MOVE) \
	row(move_einval_other_process, UFFD_FEATURE_MOVE) \
	row(move_enoent, UFFD_FEATURE_MOVE) \
	row(move_eexist, UFFD_FEATURE_MOVE) \
	row(move_ebusy_fork, UFFD_FEATURE_MOVE) \
	row(move_ebusy_pinned, UFFD_FEATURE_MOVE) \
	row(move_enomem, UFFD_FEATURE_MOVE) \
	row(move_esrch, UFFD_FEATURE_MOVE)
/* clang-format on */

#define EXERCISE_PROTOTYPE(name, features) void exercise_##name(struct kit *kit) __attribute__((noreturn));
EXERCISES(EXERCISE_PROTOTYPE)
#undef EXERCISE_PROTOTYPE
