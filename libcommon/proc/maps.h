/* SPDX-License-Identifier: MIT */
/* The mappings of a target, one at a time, in bounded memory; and which of them may be swapped. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/types.h>

#include "base/region.h"
#include "proc/target.h"

enum mapping_kind {
	MAPPING_ANON,  /* private, no file behind it (the heap, the stack and [anon:…] included) */
	MAPPING_FILE,  /* a regular file, private or shared */
	MAPPING_SHMEM, /* shared anonymous memory, memfd, System V, tmpfs files under /dev/shm */
	MAPPING_HUGETLB,
	MAPPING_SPECIAL, /* [vdso], [vvar], [vsyscall], device memory */
};

#define MAPPING_NAME 256

struct mapping {
	struct region region; /* page aligned */
	uint64_t offset;
	uint64_t inode;
	dev_t device; /* of the inode */
	bool read, write, execute, shared;
	char perm[5]; /* "rw-p" */
	enum mapping_kind kind;
	char name[MAPPING_NAME]; /* path or [name] as the kernel prints it, cut to fit; empty for none */
};

/* True for [vsyscall] of x86-64: it lies in the kernel's half, is no mapping of the process and counts as none. */
static inline bool mapping_is_kernels(const struct mapping *mapping)
{
	return mapping->region.start >> 63;
}

/*
 * Whether its name says that one of our tools has put it into the process: no more than a hint, for not every kernel
 * keeps names (CONFIG_ANON_VMA_NAME).
 */
static inline bool mapping_has_our_name(const struct mapping *mapping)
{
	return strcmp(mapping->name, "[anon:uvmtools]") == 0;
}

/* Reads /proc/PID/maps line by line. Opaque contents; memory does not grow with the number of mappings. */
struct maps_reader {
	int fd;
	size_t used; /* bytes in the buffer */
	size_t at;   /* where the next line begins */
	char buffer[16384];
};

/* Returns 0, -ESRCH or -EACCES. The caller closes it. */
int maps_open(struct maps_reader *reader, const struct target *target);
void maps_close(struct maps_reader *reader);

/* The next mapping, in order of address. Returns 1, 0 at the end, or -errno (-ESRCH when the address space is gone). */
int maps_next(struct maps_reader *reader, struct mapping *mapping);

/*
 * The mapping that covers `address` (PROCMAP_QUERY of Linux 6.11, /proc/PID/maps before that). `maps_fd` is an open
 * /proc/PID/maps; its offset is not used. Returns 1, 0 when none does, or -errno (-ESRCH when the address space is
 * gone).
 */
int mapping_at(int maps_fd, uint64_t address, struct mapping *mapping);

/* The same, or the next one behind `address`; 0: there is none. */
int mapping_at_or_after(int maps_fd, uint64_t address, struct mapping *mapping);

/*
 * PROCMAP_QUERY tried, for these two go another way in silence where it is not there. Returns 0, or -errno: -ENOTTY
 * when the kernel does not know it.
 */
int procmap_query_try(int maps_fd);

/* What smaps counts of a mapping, in bytes; Rss, Swap, AnonHugePages, Referenced. */
struct smaps_counts {
	uint64_t resident, swapped, huge, referenced;
};

/* Why a mapping is not swapped; each is the `reason` of skipped bytes in swapctl's records. */
enum eligibility {
	ELIGIBLE,
	INELIGIBLE_FILE,         /* "file": of a file, even if it is private */
	INELIGIBLE_SHARED,       /* "shared-memory" */
	INELIGIBLE_HUGETLB,      /* "hugetlb" */
	INELIGIBLE_KERNEL,       /* "kernel": vdso, vvar */
	INELIGIBLE_DEVICE,       /* "device": its memory, or something else that is not made of ordinary pages */
	INELIGIBLE_SHADOW_STACK, /* "shadow-stack" */
	INELIGIBLE_TAGGED,       /* "tagged": a copy would lose its memory tags */
	INELIGIBLE_DROPPABLE,    /* "droppable": the kernel may drop it at any time */
	INELIGIBLE_SEALED,       /* "sealed": mseal */
	INELIGIBLE_UNKNOWN,      /* "unknown": this kernel does not tell its VmFlags */
	INELIGIBLE_STACK,        /* "stack" */
	INELIGIBLE_READ_ONLY,    /* "read-only": not writable */
	INELIGIBLE_LOCKED,       /* "locked": mlock */
	INELIGIBLE_WIPEONFORK,   /* "wipe-on-fork" */
	INELIGIBLE_USERFAULTFD,  /* "userfaultfd": registered with another process's descriptor */
	INELIGIBLE_OURS, /* "uvmtools": an area of a session, known by its name or to the session by its place */
	ELIGIBILITIES,
};

/* The reason as records spell it ("locked"). */
const char *eligibility_name(enum eligibility eligibility);

/*
 * Walks the mappings together with their VmFlags (/proc/PID/smaps, which costs more than maps: it counts pages) and
 * says of each whether it may be swapped. `ours` (sorted; may be NULL) are the regions that our session has
 * registered: userfaultfd is no obstacle there.
 */
struct eligible_reader {
	struct maps_reader smaps;
	struct smaps_counts counts; /* of the mapping that was returned last */
	const struct region_vec *ours;
};

/* As maps_open and maps_close. */
int eligible_open(struct eligible_reader *reader, const struct target *target, const struct region_vec *ours);
void eligible_close(struct eligible_reader *reader);

/* Returns 1 with the mapping and its verdict, 0 at the end, or -errno. */
int eligible_next(struct eligible_reader *reader, struct mapping *mapping, enum eligibility *verdict);

/*
 * Adds the mappings whose contents a forked child does not get (MADV_DONTFORK, MADV_WIPEONFORK). Returns 0 or -errno
 * (-ESRCH when the address space is gone).
 */
int kept_from_children(const struct target *target, struct region_vec *kept);
