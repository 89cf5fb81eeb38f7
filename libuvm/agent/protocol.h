/* SPDX-License-Identifier: MIT */
/*
 * What a program's swap agent and a session say to each other: datagrams on a Unix socket, one reply a request. Shared
 * with libuvm.
 */
#pragma once

#include <stdint.h>

#define AGENT_MAGIC      UINT32_C(0x6d76751a)
#define AGENT_VERSION    3
#define AGENT_NAME       "uvm-agent"   /* of its thread; the name of its abstract socket for sessions begins so */
#define AGENT_RECLAIM    "uvm-reclaim" /* so that of another one, for reclaimers; agents of old have none */
#define AGENT_AREA_BYTES (UINT64_C(16) << 20)
#define AGENT_REGIONS    512 /* most of them in one request or reply */

/* Descriptors that come with the greeting, in this order. */
enum agent_descriptor {
	AGENT_FD_MEMORY,  /* userfaultfd for the program's memory, before its handshake */
	AGENT_FD_STAGING, /* another one, for the staging area */
	AGENT_FD_SHARED,  /* memfd: a page with struct agent_shared */
	AGENT_FDS,
};

/* The agent's first and only message of its own, sent when it has accepted. */
struct agent_greeting {
	uint32_t magic, version;
	int32_t uffd_errno; /* 0, or why there are no descriptors */
	int32_t area_errno; /* 0, or why there is no staging area */
	uint64_t area_start, area_bytes;
	uint64_t own_start, own_end; /* the agent's stack and data: never to be moved */
	int32_t number;              /* of the first descriptor, in the table of the agent's thread */
	uint32_t resumed;            /* the descriptors are those of a session whose processes are gone */
};

enum agent_op {
	AGENT_PING,
	AGENT_FORKS,   /* address: 1 when forks have to ask, 0 when the session is told of them by events */
	AGENT_READY,   /* be ready to move: nothing but a move or a cancel comes next */
	AGENT_MOVE,    /* MovePTEsLeavingMapping(address and bytes, to); `mode` as for UFFDIO_MOVE */
	AGENT_CANCEL,  /* no move after all; the only request without a reply */
	AGENT_AREA,    /* MapArea: `mode` is an enum agent_area; the result of a new one is its address */
	AGENT_PROTECT, /* of the staging area; `mode` is the protection */
	AGENT_DISCARD, /* of the staging area */
	AGENT_POPULATE,
	AGENT_SUPERPAGES, /* GetSuperPagesUsed: at most `bytes` superpages, from `address` on */
	AGENT_CLOSE,      /* the session is over */
	AGENT_UFFD,     /* another userfaultfd for the staging area comes with the reply; the one before it is closed */
	AGENT_STORE_FD, /* hold the descriptor that comes along; the result is its number */
	AGENT_TAKE,     /* the descriptor under the number `address` comes with the reply */
	AGENT_DROP,     /* close it */
	/*
	 * For reclaimers, whose socket knows these two and AGENT_PING. The region i of the request lies in the entry
	 * with the id `address` + i of the reclaim ring whose memfd comes along, by an open file description that holds
	 * the reclaimers' lock; no bytes: nothing of that entry. Whatever is wrong with one region, nothing is done at
	 * all (-EINVAL). -EBUSY: a session uses the agent, or another process has the lock.
	 */
	AGENT_RECLAIM_DROP,  /* the contents go: any pages of these entries */
	AGENT_RECLAIM_UNMAP, /* the mapping goes: one region, all of its entry, which ring_unmapping() has named last */

	/*
	 * For sessions again: what the kernel writes to of the agent's own thread: the result is the address of its
	 * rseq area (0: none), `moved` that of the word of clear_child_tid. /proc/self/mem to read from comes with the
	 * reply, if it can be had.
	 */
	AGENT_WORDS,
};

/* What becomes of the staging area. */
enum agent_area {
	AGENT_AREA_UNMAP,
	AGENT_AREA_FORGET, /* something else is there; nothing is done to it */
	AGENT_AREA_NEW,    /* the same, and another one is made */
};

struct agent_region {
	uint64_t address, bytes;
};

struct agent_request {
	uint32_t op;
	uint32_t number; /* comes back in the reply */
	uint64_t address, bytes, to, mode;
	uint64_t count;                /* of the regions that follow; AGENT_RECLAIM_ only */
	struct agent_region regions[]; /* no more of them are sent than there are */
};

struct agent_reply {
	uint32_t op;
	uint32_t number;
	int64_t result; /* 0 or a negative errno */
	int64_t moved;  /* as in struct uffdio_move */
	uint64_t count; /* of the regions that follow; AGENT_SUPERPAGES only */
	struct agent_region regions[];
};

/*
 * In the memfd. Without fork events a child would read zeros for what is out: a thread that forks
 * draws a ticket and waits until it is granted, which is when everything is back; until its fork is over the agent
 * moves nothing. All atomic; `asked` and `granted` are futexes.
 */
struct agent_shared {
	uint32_t ask;
	uint32_t asked, granted;
	uint32_t forking; /* threads between the ticket and the end of their fork */
};
