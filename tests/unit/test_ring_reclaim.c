/* SPDX-License-Identifier: MIT */
/* Reclaiming from the ring: what is claimed when, by the program itself and by others, of which one dies. */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "ring_kit.h"

static void flush_takes_the_oldest_first(void)
{
	uvm_reclaim_ring_t ring = make_ring(256, 256);
	char *at = map_pages(40, 7);

	for (uint64_t i = 0; i < 40; i++)
		expect(enter(ring, at + i * PAGE, 1, FREE) == i);
	expect(cancel(ring, 1, at + PAGE, 1, FREE) == UVM_RECLAIM_UNRECLAIMED);
	expect(!uvm_reclaim_ring_flush(ring, 0));
	expect(query(ring, 0, FREE) == UVM_RECLAIM_UNRECLAIMED);
	expect(!uvm_reclaim_ring_flush(ring, 20));
	for (uint64_t i = 0; i < 21; i++)
		expect(query(ring, i, FREE) == UVM_RECLAIM_FREED);
	expect(all_are(at, PAGE, 0) && all_are(at + PAGE, PAGE, 7) && all_are(at + 2 * PAGE, 19 * PAGE, 0));
	expect(all_are(at + 21 * PAGE, 19 * PAGE, 7));
	expect(shared_of(ring)->reclaimed.entries == 20 && shared_of(ring)->reclaimed.bytes == 20 * PAGE);
	expect(!uvm_reclaim_ring_flush(ring, UINT32_MAX));
	expect(shared_of(ring)->reclaimed.entries == 39 && ring_bytes(&ring->view) == 0 &&
	       ring_entries(&ring->view) == 0);
	expect(!uvm_reclaim_ring_flush(ring, 1));
}

static void freeing_drops_whole_pages_and_keeps_the_mapping(void)
{
	uvm_reclaim_ring_t ring = make_ring(256, 256);
	char *at = map_pages(3, 7);
	uint64_t id = NULL_ID;
	bool update;

	expect(!uvm_reclaim_try_enter(ring, (uintptr_t)at, 2 * PAGE - 1, FREE, &id, &update));
	expect(!uvm_reclaim_ring_flush(ring, 1));
	expect(all_are(at, PAGE, 0) && all_are(at + PAGE, 2 * PAGE, 7));
	id = NULL_ID;
	expect(!uvm_reclaim_try_enter(ring, (uintptr_t)at + PAGE, PAGE - 1, FREE, &id, &update));
	expect(!uvm_reclaim_ring_flush(ring, 1));
	expect(all_are(at + PAGE, 2 * PAGE, 7) && !shared_of(ring)->reclaimed.failed);
}

static void deallocating_unmaps(void)
{
	uvm_reclaim_ring_t ring = make_ring(256, 256);
	char *at = map_pages(3, 7);
	uint64_t id = NULL_ID;
	bool update;

	expect(!uvm_reclaim_try_enter(ring, (uintptr_t)at, PAGE + 1, DEALLOCATE, &id, &update));
	expect(!uvm_reclaim_ring_flush(ring, 10));
	expect(!is_mapped(at) && !is_mapped(at + PAGE) && is_mapped(at + 2 * PAGE));
	expect(query(ring, id, DEALLOCATE) == UVM_RECLAIM_DEALLOCATED);
	expect(shared_of(ring)->unmapping == id + 1);
	expect(cancel(ring, id, at, 1, DEALLOCATE) == UVM_RECLAIM_DEALLOCATED);
}

static void locked_memory_is_dropped_too(void)
{
	uvm_reclaim_ring_t ring = make_ring(256, 256);
	char *at = map_pages(2, 7);

	expect(!mlock(at, 2 * PAGE));
	enter(ring, at, 2, FREE);
	expect(!uvm_reclaim_ring_flush(ring, 1));
	expect(all_are(at, 2 * PAGE, 0) && !shared_of(ring)->reclaimed.failed);
}

static void what_the_kernel_refuses_is_counted_and_passed_by(void)
{
	uvm_reclaim_ring_t ring = make_ring(256, 256);
	char *at = map_pages(2, 7);

	enter(ring, at, 1, FREE);
	enter(ring, at + PAGE, 1, FREE);
	expect(!munmap(at, PAGE));
	errno = ENOTTY;
	expect(!uvm_reclaim_ring_flush(ring, 2) && errno == ENOTTY);
	expect(shared_of(ring)->reclaimed.failed == 1 && shared_of(ring)->head == 2);
	expect(all_are(at + PAGE, PAGE, 0) && ring_bytes(&ring->view) == 0);
}

static void what_is_claimed_is_busy_until_it_is_reclaimed(void)
{
	uvm_reclaim_ring_t ring = make_ring(256, 256);
	char *at = map_pages(4, 7);
	struct ring_batch batch;

	for (uint64_t i = 0; i < 4; i++)
		enter(ring, at + i * PAGE, 1, i % 2 ? DEALLOCATE : FREE);
	cancel(ring, 0, at, 1, FREE);
	expect(ring_claim(&ring->view, 2, &batch) == 1);
	expect(batch.head == 0 && batch.end == 2 && batch.count == 1);
	expect(batch.work[0].id == 1 && batch.work[0].address == (uintptr_t)at + PAGE && batch.work[0].size == PAGE);
	expect(batch.work[0].action == DEALLOCATE && !batch.work[0].maybe_unmapped);
	expect(query(ring, 1, DEALLOCATE) == UVM_RECLAIM_BUSY && query(ring, 2, FREE) == UVM_RECLAIM_UNRECLAIMED);
	expect(cancel(ring, 1, at + PAGE, 1, DEALLOCATE) == UVM_RECLAIM_BUSY);
	expect(enter_at(ring, 0, at, 1, FREE) == NULL_ID);
	expect(shared_of(ring)->tail == 4);
	expect(cancel(ring, 2, at + 2 * PAGE, 1, FREE) == UVM_RECLAIM_UNRECLAIMED);
	ring_complete(&ring->view, &batch, PAGE, 0);
	expect(cancel(ring, 1, at + PAGE, 1, DEALLOCATE) == UVM_RECLAIM_DEALLOCATED);
	expect(ring_bytes(&ring->view) == PAGE && ring_entries(&ring->view) == 1);
}

static void at_most_a_batch_is_claimed(void)
{
	uvm_reclaim_ring_t ring = make_ring(256, 256);
	char *at = map_pages(40, 7);
	struct ring_batch batch;

	expect(ring_claim(&ring->view, 1, &batch) == 0);
	for (uint64_t i = 0; i < 40; i++)
		enter(ring, at + i * PAGE, 1, FREE);
	expect(ring_claim(&ring->view, 0, &batch) == 0);
	expect(ring_claim(&ring->view, 100, &batch) == 1 && batch.count == RING_BATCH && batch.end == RING_BATCH);
	ring_complete(&ring->view, &batch, RING_BATCH * PAGE, 0);
	expect(ring_claim(&ring->view, 3, &batch) == 1 && batch.head == RING_BATCH && batch.count == 3);
}

static void a_reclaimer_sees_what_is_being_taken_back(void)
{
	uvm_reclaim_ring_t ring = make_ring(256, 256);
	char *at = map_pages(8, 7);
	struct ring_batch batch;

	for (uint64_t i = 0; i < 8; i++)
		enter(ring, at + i * PAGE, 1, FREE);
	shared_of(ring)->tail = 3;
	expect(ring_claim(&ring->view, RING_BATCH, &batch) == 1 && batch.end == 3);
	ring_complete(&ring->view, &batch, 3 * PAGE, 0);
	expect(ring_claim(&ring->view, RING_BATCH, &batch) == 0);
	shared_of(ring)->tail = 8;
	expect(ring_claim(&ring->view, RING_BATCH, &batch) == 1 && batch.head == 3 && batch.end == 8);
}

static void the_batch_of_a_dead_reclaimer_is_done_again(void)
{
	uvm_reclaim_ring_t ring = make_ring(256, 256);
	char *at = map_pages(6, 7);
	struct ring_batch batch;

	for (uint64_t i = 0; i < 6; i++)
		enter(ring, at + i * PAGE, 1, i == 4 ? FREE : DEALLOCATE);
	expect(ring_claim(&ring->view, 5, &batch) == 1);
	ring_unmapping(&ring->view, 0);
	expect(!munmap(at, PAGE));
	ring_unmapping(&ring->view, 1); /* and dies */
	expect(mmap(at, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == at);
	memset(at, 9, PAGE);
	expect(ring_claim(&ring->view, 1, &batch) == 1);
	expect(batch.head == 0 && batch.end == 5 && batch.count == 5);
	expect(batch.work[0].maybe_unmapped && batch.work[1].maybe_unmapped && !batch.work[2].maybe_unmapped);
	expect(!uvm_reclaim_ring_flush(ring, 1));
	expect(all_are(at, PAGE, 9) && all_are(at + PAGE, PAGE, 7)); /* somebody else's; leaked */
	expect(!is_mapped(at + 2 * PAGE) && !is_mapped(at + 3 * PAGE) && all_are(at + 4 * PAGE, PAGE, 0));
	expect(all_are(at + 5 * PAGE, PAGE, 7) && shared_of(ring)->head == 5);
	expect(query(ring, 5, DEALLOCATE) == UVM_RECLAIM_UNRECLAIMED);
}

static void the_batch_of_a_dead_reclaimer_is_not_lowered(void)
{
	uvm_reclaim_ring_t ring = make_ring(256, 256);
	char *at = map_pages(4, 7);
	struct ring_batch batch;

	for (uint64_t i = 0; i < 4; i++)
		enter(ring, at + i * PAGE, 1, FREE);
	expect(ring_claim(&ring->view, 3, &batch) == 1);
	memset(at + 2 * PAGE, 0, PAGE);
	shared_of(ring)->tail = 1;
	expect(ring_claim(&ring->view, 3, &batch) == 0 && shared_of(ring)->busy == 3);
	shared_of(ring)->tail = 4;
	expect(cancel(ring, 2, at + 2 * PAGE, 1, FREE) == UVM_RECLAIM_BUSY);
	expect(ring_claim(&ring->view, 3, &batch) == 1 && batch.head == 0 && batch.end == 3);
}

static void expect_bad(const struct ring_view *view)
{
	struct ring_batch batch;

	expect(ring_view_check(view) == -EBADMSG);
	expect(ring_claim(view, 1, &batch) == -EBADMSG);
}

static void a_ring_that_cannot_be_is_refused(void)
{
	uvm_reclaim_ring_t ring = make_ring(256, 256);
	struct ring_shared *shared = shared_of(ring), good;
	char *at = map_pages(1, 7);

	enter(ring, at, 1, FREE);
	memcpy(&good, shared, sizeof(good));
	shared->capacity = 0;
	expect_bad(&ring->view);
	shared->capacity = 512;
	expect_bad(&ring->view);
	memcpy(shared, &good, sizeof(good));
	shared->busy = RING_BATCH + 1;
	expect_bad(&ring->view);
	shared->busy = UINT64_MAX;
	expect_bad(&ring->view);
	memcpy(shared, &good, sizeof(good));
	shared->tail = 257;
	expect_bad(&ring->view);
	expect(uvm_reclaim_ring_flush(ring, 1) == UVM_RECLAIM_INVALID_RING);
	memcpy(shared, &good, sizeof(good));
	shared->fixed.magic++;
	expect(ring_view_check(&ring->view) == -EBADMSG);
	memcpy(shared, &good, sizeof(good));
	shared->fixed.version++;
	expect(ring_view_check(&ring->view) == -EBADMSG);
	memcpy(shared, &good, sizeof(good));
	expect(!ring_view_check(&ring->view) && !uvm_reclaim_ring_flush(ring, 1) && all_are(at, PAGE, 0));
}

static void resizing_reclaims_everything_and_ids_go_on(void)
{
	uvm_reclaim_ring_t ring = make_ring(256, 1024);
	char *at = map_pages(1024, 7);
	uint32_t capacity;

	for (uint64_t i = 0; i < 256; i++)
		enter(ring, at + i * PAGE, 1, FREE);
	expect(uvm_reclaim_ring_resize(ring, 0) == UVM_RECLAIM_INVALID_CAPACITY);
	expect(uvm_reclaim_ring_resize(ring, 1025) == UVM_RECLAIM_INVALID_CAPACITY);
	expect(query(ring, 0, FREE) == UVM_RECLAIM_UNRECLAIMED);
	expect(!uvm_reclaim_ring_resize(ring, 1000));
	expect(!uvm_reclaim_ring_capacity(ring, &capacity) && capacity == uvm_reclaim_round_capacity(1000));
	expect(shared_of(ring)->head == 256 && shared_of(ring)->busy == 256 && shared_of(ring)->tail == 256);
	expect(all_are(at, 256 * PAGE, 0));
	for (uint64_t i = 0; i < 256; i++)
		expect(cancel(ring, i, at + i * PAGE, 1, FREE) == UVM_RECLAIM_FREED);
	for (uint64_t i = 0; i < capacity; i++)
		expect(enter(ring, at + i * PAGE, 1, FREE) == 256 + i);
	expect(enter(ring, at, 1, FREE) == NULL_ID);
	for (uint64_t i = 0; i < capacity; i++)
		expect(cancel(ring, 256 + i, at + i * PAGE, 1, FREE) == UVM_RECLAIM_UNRECLAIMED);
	expect(!uvm_reclaim_ring_resize(ring, 1));
	for (uint64_t i = 0; i < uvm_reclaim_round_capacity(1); i++)
		expect(enter(ring, at + i * PAGE, 1, FREE) == 256 + capacity + i);
	expect(enter(ring, at, 1, FREE) == NULL_ID);
}

static uint64_t blocks_of(uvm_reclaim_ring_t ring)
{
	struct stat status;

	expect(!fstat(ring->fd, &status));
	return (uint64_t)status.st_blocks;
}

static void a_smaller_ring_gives_its_memory_back(void)
{
	uvm_reclaim_ring_t ring = make_ring(65536, 65536);
	char *at = map_pages(1, 7);
	uint64_t before = blocks_of(ring);

	for (uint64_t i = 0; i < 65536; i++)
		cancel(ring, enter(ring, at, 1, FREE), at, 1, FREE);
	expect(blocks_of(ring) * 512 >= (UINT64_C(1) << 20));
	expect(!uvm_reclaim_ring_resize(ring, 1));
	expect(blocks_of(ring) <= before + 2 * PAGE / 512);
}

static void a_capacity_that_is_wanted_outside_is_given_with_the_next_entry(void)
{
	uvm_reclaim_ring_t ring = make_ring(256, 1024);
	char *at = map_pages(2, 7);

	enter(ring, at, 1, FREE);
	shared_of(ring)->wanted = 600;
	expect(enter(ring, at + PAGE, 1, FREE) == 1);
	expect(shared_of(ring)->capacity == uvm_reclaim_round_capacity(600) && !shared_of(ring)->wanted);
	expect(all_are(at, PAGE, 0) && all_are(at + PAGE, PAGE, 7));
	shared_of(ring)->wanted = UINT32_MAX;
	expect(enter_at(ring, NULL_ID, at, 1, FREE) == 2 && !shared_of(ring)->wanted);
	expect(shared_of(ring)->capacity == uvm_reclaim_round_capacity(600));
}

static int open_again(uvm_reclaim_ring_t ring)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", ring->fd);
	fd = open(path, O_RDWR | O_CLOEXEC);
	expect(fd >= 0);
	return fd;
}

static void another_reclaimer_is_waited_for_but_not_for_ever(void)
{
	uvm_reclaim_ring_t ring = make_ring(256, 1024);
	char *at = map_pages(2, 7);
	int other = open_again(ring);

	enter(ring, at, 1, FREE);
	expect(!ring_lock(other, 0));
	expect(uvm_reclaim_ring_flush(ring, 1) == UVM_RECLAIM_RESOURCE_SHORTAGE);
	expect(uvm_reclaim_ring_resize(ring, 512) == UVM_RECLAIM_RESOURCE_SHORTAGE);
	expect(uvm_reclaim_update_accounting(ring) == UVM_RECLAIM_RESOURCE_SHORTAGE);
	shared_of(ring)->wanted = 512;
	expect(enter(ring, at + PAGE, 1, FREE) == 1 && shared_of(ring)->wanted == 512);
	expect(shared_of(ring)->capacity == 256 && all_are(at, PAGE, 7) && !shared_of(ring)->samples);
	ring_unlock(other);
	expect(!uvm_reclaim_ring_flush(ring, 1) && all_are(at, PAGE, 0));
	expect(!ring_lock(other, 0));
	close(other);
	expect(!uvm_reclaim_ring_flush(ring, 1) && all_are(at + PAGE, PAGE, 0));
}

/* From here on to sleep is to be killed. */
static void forbid_sleep(void)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clock_nanosleep, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {sizeof(filter) / sizeof(*filter), filter};

	expect(!prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) && !prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program));
}

static void what_only_a_reclaimer_outside_can_redo_is_not_waited_for(void)
{
	uvm_reclaim_ring_t ring = make_ring(256, 1024);
	struct ring_shared *shared = shared_of(ring);
	char *at = map_pages(3, 7);

	enter(ring, at, 1, FREE);
	enter(ring, at + PAGE, 1, FREE);
	shared->busy = 1;
	shared->caller = (uintptr_t)at;
	shared->weighted = 2 * PAGE;
	forbid_sleep();
	expect(uvm_reclaim_ring_flush(ring, 2) == UVM_RECLAIM_RESOURCE_SHORTAGE);
	expect(uvm_reclaim_ring_resize(ring, 512) == UVM_RECLAIM_RESOURCE_SHORTAGE);
	expect(uvm_reclaim_update_accounting(ring) == UVM_RECLAIM_RESOURCE_SHORTAGE && shared->samples == 1);
	shared->wanted = 512;
	expect(enter(ring, at + 2 * PAGE, 1, FREE) == 2 && shared->wanted == 512 && shared->capacity == 256);
	expect(all_are(at, 3 * PAGE, 7) && query(ring, 0, FREE) == UVM_RECLAIM_BUSY);
	shared->caller = 0;
	expect(!uvm_reclaim_ring_flush(ring, 3) && all_are(at, 3 * PAGE, 0));
}

static void a_descriptor_that_the_program_closed_is_not_used(void)
{
	uvm_reclaim_ring_t ring = make_ring(256, 1024);
	char *at = map_pages(1, 7);
	int null = open("/dev/null", O_RDWR | O_CLOEXEC), fd = ring->fd;

	enter(ring, at, 1, FREE);
	close(fd);
	expect(uvm_reclaim_ring_flush(ring, 1) == UVM_RECLAIM_NOT_SUPPORTED);
	expect(dup2(null, fd) == fd);
	expect(uvm_reclaim_ring_flush(ring, 1) == UVM_RECLAIM_NOT_SUPPORTED);
	expect(uvm_reclaim_ring_resize(ring, 512) == UVM_RECLAIM_NOT_SUPPORTED);
	expect(uvm_reclaim_update_accounting(ring) == UVM_RECLAIM_NOT_SUPPORTED);
	expect(cancel(ring, 0, at, 1, FREE) == UVM_RECLAIM_UNRECLAIMED && all_are(at, PAGE, 7));
}

static void *flush_all(void *ring)
{
	return (void *)(uintptr_t)uvm_reclaim_ring_flush(ring, UINT32_MAX);
}

/* Eight pages entered; a thread flushes, and has come to where another one is at work. */
static pthread_t flush_up_to_three(uvm_reclaim_ring_t ring, char *at)
{
	pthread_t thread;

	for (uint64_t i = 0; i < 8; i++)
		enter(ring, at + i * PAGE, 1, FREE);
	shared_of(ring)->tail = 3;
	expect(!pthread_create(&thread, NULL, flush_all, ring));
	while (shared_of(ring)->head != 3)
		usleep(100);
	return thread;
}

static void flush_waits_for_what_is_being_taken_back(void)
{
	uvm_reclaim_ring_t ring = make_ring(256, 256);
	char *at = map_pages(8, 7);
	pthread_t thread = flush_up_to_three(ring, at);
	void *result;

	expect(all_are(at + 3 * PAGE, 5 * PAGE, 7));
	shared_of(ring)->tail = 8;
	expect(!pthread_join(thread, &result) && !result);
	expect(all_are(at, 8 * PAGE, 0));
}

static void flush_leaves_what_is_entered_meanwhile(void)
{
	uvm_reclaim_ring_t ring = make_ring(256, 256);
	char *at = map_pages(9, 7);
	pthread_t thread = flush_up_to_three(ring, at);
	void *result;

	expect(enter(ring, at + 8 * PAGE, 1, FREE) == 8);
	expect(!pthread_join(thread, &result) && !result);
	expect(all_are(at, 8 * PAGE, 0) && all_are(at + 8 * PAGE, PAGE, 7));
	expect(query(ring, 8, FREE) == UVM_RECLAIM_UNRECLAIMED);
}

/* A sample of a ring with so many bytes as the least since the last. */
static uint64_t sample(uvm_reclaim_ring_t ring, uint64_t minimum, uint32_t level)
{
	shared_of(ring)->minimum = minimum;
	shared_of(ring)->level = level;
	return ring_sample(&ring->view, 12345);
}

static void samples_weigh_the_minimum_and_trim_by_pressure(void)
{
	uvm_reclaim_ring_t ring = make_ring(256, 256);
	struct ring_shared *shared = shared_of(ring);

	shared->bytes_in = 100000;
	expect(sample(ring, 40000, RING_NORMAL) == 10000 / 4);
	expect(shared->weighted == 10000 && shared->minimum == 100000 && shared->sampled_ns == 12345);
	expect(sample(ring, 40000, RING_WARNING) == 17500 / 2 && shared->weighted == 17500);
	expect(sample(ring, 0, RING_CRITICAL) == 13100 && shared->weighted == 13125);
	shared->reclaimed.bytes = 99000;
	expect(sample(ring, 40000, 77) == 1000 && shared->samples == 4);
	shared->reclaimed.bytes = 100001;
	expect(ring_bytes(&ring->view) == 0 && sample(ring, 0, RING_CRITICAL) == 0);
}

static void the_minimum_is_the_least_since_the_last_sample(void)
{
	uvm_reclaim_ring_t ring = make_ring(256, 256);
	struct ring_shared *shared = shared_of(ring);
	char *at = map_pages(8, 7);

	for (uint64_t i = 0; i < 8; i++)
		enter(ring, at + i * PAGE, 1, FREE);
	expect(shared->bytes_in == 8 * PAGE && shared->entries_in == 8);
	ring_sample(&ring->view, 1);
	expect(shared->minimum == 8 * PAGE);
	for (uint64_t i = 7; i > 4; i--)
		cancel(ring, i, at + i * PAGE, 1, FREE);
	expect(shared->minimum == 5 * PAGE);
	for (uint64_t i = 5; i < 8; i++)
		enter_at(ring, i, at + i * PAGE, 1, FREE);
	expect(shared->minimum == 5 * PAGE && ring_bytes(&ring->view) == 8 * PAGE);
	expect(!uvm_reclaim_ring_flush(ring, 6));
	expect(shared->minimum == 2 * PAGE && ring_entries(&ring->view) == 2);
}

static void what_samples_show_to_be_unneeded_is_trimmed(void)
{
	uvm_reclaim_ring_t ring = make_ring(256, 256);
	struct ring_shared *shared = shared_of(ring);
	char *at = map_pages(200, 7);

	for (uint64_t i = 0; i < 200; i++)
		enter(ring, at + i * PAGE, 1, FREE);
	expect(!uvm_reclaim_update_accounting(ring));
	expect(!shared->trimmed_bytes && shared->samples == 1); /* it was empty in that period */
	expect(!uvm_reclaim_update_accounting(ring));
	expect(shared->trimmed_bytes >= 200 * PAGE / 4 / 4 && shared->trimmed_bytes < 200 * PAGE / 4 / 4 + 16 * PAGE);
	expect(ring_bytes(&ring->view) + shared->trimmed_bytes == 200 * PAGE && shared->level == RING_NORMAL);
	shared->level = RING_CRITICAL;
	for (int i = 0; i < 20; i++)
		expect(!uvm_reclaim_update_accounting(ring));
	expect(!ring_bytes(&ring->view) && all_are(at, 200 * PAGE, 0));
}

static void a_trim_takes_no_more_regions_than_it_needs(void)
{
	uvm_reclaim_ring_t ring = make_ring(256, 256);
	char *at = map_pages(16, 7);

	for (uint64_t i = 0; i < 8; i++)
		enter(ring, at + 2 * i * PAGE, 2, FREE);
	/* A quarter of it is weighted, and a quarter of that trimmed: half a region. */
	shared_of(ring)->minimum = 16 * PAGE;
	expect(!uvm_reclaim_update_accounting(ring) && shared_of(ring)->trimmed_bytes == 2 * PAGE);
	expect(all_are(at, 2 * PAGE, 0) && all_are(at + 2 * PAGE, 14 * PAGE, 7));
	shared_of(ring)->weighted = 14 * PAGE;
	shared_of(ring)->level = RING_WARNING;
	expect(!uvm_reclaim_update_accounting(ring) && shared_of(ring)->trimmed_bytes == 10 * PAGE);
	expect(all_are(at, 10 * PAGE, 0) && all_are(at + 10 * PAGE, 6 * PAGE, 7));
}

static void a_ring_that_nobody_samples_is_abandoned(void)
{
	uvm_reclaim_ring_t ring = make_ring(256, 256);
	uint64_t now = shared_of(ring)->sampled_ns;

	shared_of(ring)->bytes_in = 801;
	expect(ring_abandoned(&ring->view, now - 1) == 0);
	expect(ring_abandoned(&ring->view, now + 10 * RING_PERIOD - 1) == 0);
	expect(ring_abandoned(&ring->view, now + 10 * RING_PERIOD) == 101);
	shared_of(ring)->bytes_in = 0;
	expect(ring_abandoned(&ring->view, now + 10 * RING_PERIOD) == 0);
}

/* A reclaimer that died between counting and storing head: its batch is counted twice. */
static void counts_are_right_again_when_the_ring_was_empty(void)
{
	uvm_reclaim_ring_t ring = make_ring(256, 256);
	char *at = map_pages(2, 7);

	enter(ring, at, 1, FREE);
	shared_of(ring)->reclaimed.bytes = PAGE;
	shared_of(ring)->reclaimed.entries = 1;
	expect(!uvm_reclaim_ring_flush(ring, 1));
	expect(ring_bytes(&ring->view) == 0);
	enter(ring, at, 2, FREE);
	expect(ring_bytes(&ring->view) == 2 * PAGE && ring_entries(&ring->view) == 1);
}

own_process(flush_takes_the_oldest_first);
own_process(freeing_drops_whole_pages_and_keeps_the_mapping);
own_process(deallocating_unmaps);
own_process(locked_memory_is_dropped_too);
own_process(what_the_kernel_refuses_is_counted_and_passed_by);
own_process(what_is_claimed_is_busy_until_it_is_reclaimed);
own_process(at_most_a_batch_is_claimed);
own_process(a_reclaimer_sees_what_is_being_taken_back);
own_process(the_batch_of_a_dead_reclaimer_is_done_again);
own_process(the_batch_of_a_dead_reclaimer_is_not_lowered);
own_process(a_ring_that_cannot_be_is_refused);
own_process(resizing_reclaims_everything_and_ids_go_on);
own_process(a_smaller_ring_gives_its_memory_back);
own_process(a_capacity_that_is_wanted_outside_is_given_with_the_next_entry);
own_process(another_reclaimer_is_waited_for_but_not_for_ever);
own_process(what_only_a_reclaimer_outside_can_redo_is_not_waited_for);
own_process(a_descriptor_that_the_program_closed_is_not_used);
own_process(flush_waits_for_what_is_being_taken_back);
own_process(flush_leaves_what_is_entered_meanwhile);
own_process(samples_weigh_the_minimum_and_trim_by_pressure);
own_process(the_minimum_is_the_least_since_the_last_sample);
own_process(what_samples_show_to_be_unneeded_is_trimmed);
own_process(a_trim_takes_no_more_regions_than_it_needs);
own_process(a_ring_that_nobody_samples_is_abandoned);
own_process(counts_are_right_again_when_the_ring_was_empty);

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_flush_takes_the_oldest_first),
		cmocka_unit_test(test_freeing_drops_whole_pages_and_keeps_the_mapping),
		cmocka_unit_test(test_deallocating_unmaps),
		cmocka_unit_test(test_locked_memory_is_dropped_too),
		cmocka_unit_test(test_what_the_kernel_refuses_is_counted_and_passed_by),
		cmocka_unit_test(test_what_is_claimed_is_busy_until_it_is_reclaimed),
		cmocka_unit_test(test_at_most_a_batch_is_claimed),
		cmocka_unit_test(test_a_reclaimer_sees_what_is_being_taken_back),
		cmocka_unit_test(test_the_batch_of_a_dead_reclaimer_is_done_again),
		cmocka_unit_test(test_the_batch_of_a_dead_reclaimer_is_not_lowered),
		cmocka_unit_test(test_a_ring_that_cannot_be_is_refused),
		cmocka_unit_test(test_resizing_reclaims_everything_and_ids_go_on),
		cmocka_unit_test(test_a_smaller_ring_gives_its_memory_back),
		cmocka_unit_test(test_a_capacity_that_is_wanted_outside_is_given_with_the_next_entry),
		cmocka_unit_test(test_another_reclaimer_is_waited_for_but_not_for_ever),
		cmocka_unit_test(test_what_only_a_reclaimer_outside_can_redo_is_not_waited_for),
		cmocka_unit_test(test_a_descriptor_that_the_program_closed_is_not_used),
		cmocka_unit_test(test_flush_waits_for_what_is_being_taken_back),
		cmocka_unit_test(test_flush_leaves_what_is_entered_meanwhile),
		cmocka_unit_test(test_samples_weigh_the_minimum_and_trim_by_pressure),
		cmocka_unit_test(test_the_minimum_is_the_least_since_the_last_sample),
		cmocka_unit_test(test_what_samples_show_to_be_unneeded_is_trimmed),
		cmocka_unit_test(test_a_trim_takes_no_more_regions_than_it_needs),
		cmocka_unit_test(test_a_ring_that_nobody_samples_is_abandoned),
		cmocka_unit_test(test_counts_are_right_again_when_the_ring_was_empty),
	};

	return cmocka_run_group_tests_name("ring, reclaiming", tests, NULL, NULL);
}
