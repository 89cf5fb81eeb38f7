/* SPDX-License-Identifier: MIT */
/* What userfaultfd offers here: which features can be enabled, which ioctls each kind of memory takes in each mode. */
#pragma once

#include <stdint.h>

#include "report/error.h"
#include "uffd/names.h"
#include "uffd/route.h"

enum uffd_memory {
	UFFD_MEMORY_ANONYMOUS,
	UFFD_MEMORY_SHMEM, /* shared anonymous memory */
	UFFD_MEMORY_MEMFD,
	UFFD_MEMORY_HUGETLB,
	UFFD_MEMORY_PRIVATE_FILE,
	UFFD_MEMORY_THP, /* private, with MADV_HUGEPAGE */
	UFFD_MEMORIES,
};

/* "anonymous", "shmem", "memfd", "hugetlb", "private_file", "thp" */
const char *uffd_memory_name(enum uffd_memory memory);

/* One kind of memory in one mode. */
struct uffd_offer {
	int code;        /* 0: registered, else the -errno of registering or of making such memory */
	int memory_code; /* -errno when memory of this kind cannot be had here */
	uint64_t ioctls; /* bit 1 << _UFFDIO_COPY and so on; 0 when not registered */
	uint64_t needs;  /* a feature bit that must be enabled for it, 0 for none */
};

/* Enables one feature on a descriptor of its own. Returns 0 or -errno, as uffd_handshake. */
int uffd_try_feature(enum uffd_route route, unsigned int bit);

/* The features that the handshake offers on a descriptor of this route. Returns 0 or -errno. */
int uffd_try_api(enum uffd_route route, uint64_t *features);

/*
 * Registers memory of one kind for the faults of mode bit `mode` (index into uffd_mode_names). `features`: those the
 * user may enable.
 */
void uffd_try_memory(enum uffd_route route, uint64_t features, enum uffd_memory memory, unsigned int mode,
		     struct uffd_offer *offer);

/*
 * The handshake of a descriptor by which another process is served (uffd_handshake). Returns 0, or -errno with `error`
 * filled.
 */
int uffd_enable(int fd, uint64_t features, struct error *error);
