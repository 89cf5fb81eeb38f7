/* SPDX-License-Identifier: MIT */
/*
 * Deferred reclamation: a program enters memory that it has freed into a ring, and takes it back without a system call
 * unless it was reclaimed meanwhile. A user that is short of memory, the program itself or a tool from outside,
 * reclaims from the oldest end. uvm_reclaim(3).
 */
#pragma once

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#pragma GCC visibility push(default)

/* What becomes of a region that is reclaimed. */
typedef uint8_t uvm_reclaim_action_t;
#define UVM_RECLAIM_FREE       ((uvm_reclaim_action_t)1) /* its contents go, its mapping stays */
#define UVM_RECLAIM_DEALLOCATE ((uvm_reclaim_action_t)2) /* it is unmapped */

typedef uint32_t uvm_reclaim_state_t;
#define UVM_RECLAIM_UNRECLAIMED ((uvm_reclaim_state_t)1) /* as it was entered */
#define UVM_RECLAIM_FREED       ((uvm_reclaim_state_t)2) /* contents undefined, mapping usable */
#define UVM_RECLAIM_DEALLOCATED ((uvm_reclaim_state_t)3) /* not mapped any more */
#define UVM_RECLAIM_BUSY        ((uvm_reclaim_state_t)4) /* perhaps being reclaimed now: do not touch it, ask again */

/* Negative error numbers, as all of this library returns them, so that strerror(3) knows them too. */
typedef int uvm_reclaim_error_t;
#define UVM_RECLAIM_SUCCESS             0
#define UVM_RECLAIM_INVALID_ARGUMENT    (-EINVAL)
#define UVM_RECLAIM_NOT_SUPPORTED       (-EOPNOTSUPP) /* the kernel, or a sandbox, does not allow what it takes */
#define UVM_RECLAIM_INVALID_REGION_SIZE (-EMSGSIZE)
#define UVM_RECLAIM_INVALID_CAPACITY    (-ERANGE)
#define UVM_RECLAIM_INVALID_ID          (-ENOENT)
#define UVM_RECLAIM_RESOURCE_SHORTAGE   (-EAGAIN) /* there is a ring; no memory; another one reclaims for too long */
#define UVM_RECLAIM_INVALID_RING        (-EBADF)

typedef struct uvm_reclaim_ring *uvm_reclaim_ring_t;
typedef uint32_t uvm_reclaim_count_t; /* of regions */
typedef uint64_t uvm_reclaim_id_t;

#define UVM_RECLAIM_ID_NULL         UINT64_MAX
#define UVM_RECLAIM_REGION_SIZE_MAX ((uint64_t)UINT32_MAX)

/*
 * Makes the ring of this process, with room for `initial_capacity` regions (rounded as uvm_reclaim_round_capacity does)
 * and for `max_capacity` after resizing. *ring is valid until the process ends or calls exec; a forked child has a ring
 * of its own under the same handle, with the same entries. INVALID_ARGUMENT (NULL), INVALID_CAPACITY (0, initial above
 * maximum, maximum not rounded or above what can be), RESOURCE_SHORTAGE (there is one already, or no memory),
 * NOT_SUPPORTED (no memfd).
 */
uvm_reclaim_error_t uvm_reclaim_ring_allocate(uvm_reclaim_ring_t *ring, uvm_reclaim_count_t initial_capacity,
					      uvm_reclaim_count_t max_capacity);

/*
 * Reclaims everything that is in the ring and gives it another capacity; ids go on counting. Needs the caller's lock.
 * INVALID_RING, INVALID_CAPACITY (0, above the maximum), RESOURCE_SHORTAGE (another reclaimer holds it; nothing was
 * changed), NOT_SUPPORTED (the ring's descriptor was closed).
 */
uvm_reclaim_error_t uvm_reclaim_ring_resize(uvm_reclaim_ring_t ring, uvm_reclaim_count_t capacity);

/* How many regions fit in. INVALID_RING, INVALID_ARGUMENT. Any thread. */
uvm_reclaim_error_t uvm_reclaim_ring_capacity(uvm_reclaim_ring_t ring, uvm_reclaim_count_t *capacity);

/* Rounds a capacity up to what fills whole pages, at most to the largest that there can be. 0 stays 0. */
uvm_reclaim_count_t uvm_reclaim_round_capacity(uvm_reclaim_count_t capacity);

/*
 * Reclaims entries, oldest first, at least `count` of them or all there are. Any thread, no lock. INVALID_RING,
 * RESOURCE_SHORTAGE and NOT_SUPPORTED as resize.
 */
uvm_reclaim_error_t uvm_reclaim_ring_flush(uvm_reclaim_ring_t ring, uvm_reclaim_count_t count);

/*
 * Enters a region of private anonymous memory: `start` at a page, `size` bytes up to UVM_RECLAIM_REGION_SIZE_MAX. FREE
 * drops the whole pages in it, DEALLOCATE unmaps as munmap(2) does. Needs the caller's lock. No system call, but when
 * another capacity was asked for from outside: then the ring is resized first.
 * *id: UVM_RECLAIM_ID_NULL for a new id, or one whose region was cancelled, to use its place again. Written: the id, or
 * UVM_RECLAIM_ID_NULL when the ring is full or the wished place cannot be had, which is a success: keep the region,
 * flush, resize, or unmap it.
 * *should_update: call uvm_reclaim_update_accounting when the lock is let go.
 * INVALID_RING, INVALID_ARGUMENT (NULL, start not at a page, unknown action, end above the address space),
 * INVALID_REGION_SIZE (0 or too large), INVALID_ID (never given out).
 */
uvm_reclaim_error_t uvm_reclaim_try_enter(uvm_reclaim_ring_t ring, uint64_t start, uint64_t size,
					  uvm_reclaim_action_t action, uvm_reclaim_id_t *id, bool *should_update);

/*
 * Takes a region back. `start`, `size` and `action` as it was entered. Needs the caller's lock. No system call.
 * *state: in which state the region is now: see uvm_reclaim_is_reusable. After any state but BUSY the id is free.
 * *should_update: as uvm_reclaim_try_enter.
 * INVALID_RING, INVALID_ARGUMENT (NULL, unknown action, another region is there), INVALID_ID (null, never given out,
 * cancelled before).
 */
uvm_reclaim_error_t uvm_reclaim_try_cancel(uvm_reclaim_ring_t ring, uvm_reclaim_id_t id, uint64_t start, uint64_t size,
					   uvm_reclaim_action_t action, uvm_reclaim_state_t *state,
					   bool *should_update);

/*
 * In which state a region is; it may be another one by the time the caller looks. Any thread. INVALID_RING,
 * INVALID_ARGUMENT, INVALID_ID (null, never given out).
 */
uvm_reclaim_error_t uvm_reclaim_query_state(uvm_reclaim_ring_t ring, uvm_reclaim_id_t id, uvm_reclaim_action_t action,
					    uvm_reclaim_state_t *state);

/* Whether memory in that state may be used: UNRECLAIMED (contents as they were) and FREED (contents undefined). */
bool uvm_reclaim_is_reusable(uvm_reclaim_state_t state);

/*
 * Counts what is in the ring as a sample and reclaims, on this thread, what the samples show to be unneeded. Any
 * thread; not with a lock that freeing memory needs. INVALID_RING; RESOURCE_SHORTAGE, without waiting, while
 * another one reclaims; NOT_SUPPORTED as resize.
 */
uvm_reclaim_error_t uvm_reclaim_update_accounting(uvm_reclaim_ring_t ring);

#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif
