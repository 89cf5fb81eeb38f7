/* SPDX-License-Identifier: MIT */
/* What a session writes down beside its index, so that the worker that comes after another one knows it. */
#pragma once

#include <stdint.h>

#include "base/region.h"
#include "proc/boot.h"
#include "puppet/puppet.h"
#include "store/store.h"
#include "uffd/uffd.h"

#define INDEX_SPACES 2048
#define PASSED_MAX   64
#define DISCARDS_MAX 64
#define FORMER_MAX   512

/* Whose it is. */
struct record_identity {
	int32_t pid;
	uint64_t starttime;
	uint64_t pid_namespace; /* in which the pid has its meaning (proc/boot.h), 0: not known */
	char boot[BOOT_ID];     /* and the boot of the machine; empty: not known */
};

/* What the target holds for us, and what is ours there besides the staging area. */
struct record_target {
	int32_t uffd_number;  /* of the userfaultfd */
	int32_t uffd_holder;  /* the puppet or the thread that has it; the main thread: it is in the process's table */
	int32_t store_number; /* of a store in memory, or else of the pool; 0: none */
	int32_t key_number;   /* of the key of an encrypted store (store/seal.h); 0: none */
	uint32_t access;      /* enum access_method; which one was taken */
	struct puppet_record puppet;
	struct region control;
	/* Numbers that it still holds, of children that are gone. */
	uint32_t released_count;
	int32_t released[INDEX_SPACES];
};

/* A read that the keeper does for the worker. The next worker must wait only for the one taken. */
enum read_state {
	READ_IDLE,
	READ_ASKED,
	READ_TAKEN,
};

/* The process that shares the worker's descriptors. */
struct record_keeper {
	int32_t pid; /* 0: none */
	uint64_t starttime;
	uint32_t read_state; /* enum read_state */
	int32_t read_result; /* of uffd_read, when the state is idle again */
};

struct record_staging {
	struct region region; /* in the target */
	/* Where staging areas were that the program has mapped something over; what is left of them lies there. */
	uint64_t former_count;
	struct region former[FORMER_MAX];
	uint64_t mark[2]; /* random; its last page begins with them while it is open */
};

struct record_store {
	uint64_t limit; /* bytes; 0: none */
	struct codec_choice codec;
	char path[256]; /* or "memory" */
};

/*
 * A message of the target is read straight into the index: when the worker dies with it in its hands, the next one
 * finds it here. `event` is 0 when it has been dealt with. The descriptor that comes with UFFD_EVENT_FORK is open in
 * the worker's keeper then.
 */
struct index_pending {
	struct uffd_msg message;
	uint64_t dropped;   /* of a remap: what was out at the new place has been forgotten already */
	uint64_t stored_as; /* of a fork: number under which the supervisor gets the descriptor; 0: not sent yet */
};

/* Memory that the target discards, of which it said so first. */
struct index_discard {
	struct region region;
	uint64_t number;  /* of its event */
	uint64_t read_ns; /* when that was read, CLOCK_MONOTONIC */
};

struct record_events {
	/*
	 * What the child of the fork that is read next, or was read and is not noted yet, does not get: seen while the
	 * thread that forks still stood in the call. The list itself is the index's.
	 */
	uint32_t unforked_known, unforked_count;
	/* Messages that were read before a fork that is older than they are. While it is awaited, none is applied. */
	uint32_t fork_awaited;
	struct index_pending passed[PASSED_MAX];
	/* Events that were read, while the kernel may not have done yet what they tell of. */
	uint64_t discards_read; /* ever */
	uint32_t discard_count;
	struct index_discard discards[DISCARDS_MAX];
};

/* Counted since the session began; they survive the worker. */
struct record_counters {
	uint64_t moved_pages, zero_pages, filled_pages, stored_pages, stored_bytes, compressed_bytes;
	uint64_t faults, refaulted_pages, fresh_faults, hot_faults, poisoned_pages, brought_pages;
	struct {
		uint64_t forks, remaps, removes, unmaps;
	} events;
	uint64_t stops, longest_stop_us;
	uint64_t written_back_pages, fault_wait_ns;
	uint64_t workers; /* how many workers there have been */
	struct {
		uint64_t buckets[256]; /* LATENCY_BUCKETS of fault service */
		uint64_t max_ns;
	} latency;
};

struct session_record {
	struct record_identity identity;
	struct record_target target;
	struct record_keeper keeper;
	struct record_staging staging;
	struct record_store store;
	struct record_events events;
	struct record_counters counters;
	uint32_t watched; /* made to be watched: pages come back one by one, and all of them when the watcher is gone */
	uint32_t leaving; /* everything is back, and what is ours in the target is being removed */
	/* The kernel refuses to unregister what is registered with another descriptor (since Linux 6.17). */
	uint32_t unregister_checked;
};
