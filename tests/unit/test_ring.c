/* SPDX-License-Identifier: MIT */
/* The program's half of the reclaim ring. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "ring_kit.h"

static void there_is_one_ring(void)
{
	uvm_reclaim_ring_t ring = NULL, other = (uvm_reclaim_ring_t)&other;

	expect(uvm_reclaim_ring_allocate(NULL, 256, 256) == UVM_RECLAIM_INVALID_ARGUMENT);
	expect(!uvm_reclaim_ring_allocate(&ring, 256, 256) && ring);
	expect(uvm_reclaim_ring_allocate(&other, 256, 256) == UVM_RECLAIM_RESOURCE_SHORTAGE && !other);
}

static void capacities_are_checked(void)
{
	uint32_t most = uvm_reclaim_round_capacity(UINT32_MAX), capacity;
	uvm_reclaim_ring_t ring;

	expect(uvm_reclaim_ring_allocate(&ring, 0, 256) == UVM_RECLAIM_INVALID_CAPACITY);
	expect(uvm_reclaim_ring_allocate(&ring, 512, 256) == UVM_RECLAIM_INVALID_CAPACITY);
	expect(uvm_reclaim_ring_allocate(&ring, 1, 257) == UVM_RECLAIM_INVALID_CAPACITY);
	expect(uvm_reclaim_ring_allocate(&ring, 1, most + 256) == UVM_RECLAIM_INVALID_CAPACITY);
	expect(!uvm_reclaim_ring_allocate(&ring, 257, most));
	expect(!uvm_reclaim_ring_capacity(ring, &capacity));
	expect(capacity == uvm_reclaim_round_capacity(257) && capacity > 257);
	expect(uvm_reclaim_ring_capacity(ring, NULL) == UVM_RECLAIM_INVALID_ARGUMENT);
}

static void test_rounding_fills_pages(void **state)
{
	uint32_t page = (uint32_t)(PAGE / sizeof(struct ring_entry)), one = uvm_reclaim_round_capacity(1);

	(void)state;
	assert_int_equal(uvm_reclaim_round_capacity(0), 0);
	assert_int_equal((RING_ENTRIES + one * sizeof(struct ring_entry)) % PAGE, 0);
	assert_int_equal(uvm_reclaim_round_capacity(one), one);
	assert_int_equal(uvm_reclaim_round_capacity(one + 1), one + page);
	assert_int_equal(uvm_reclaim_round_capacity(RING_MAX - 1), RING_MAX);
	assert_int_equal(uvm_reclaim_round_capacity(UINT32_MAX), RING_MAX);
}

static void a_new_ring_is_empty_and_sealed(void)
{
	uvm_reclaim_ring_t ring = make_ring(256, RING_MAX);
	struct ring_shared *shared = shared_of(ring);
	char path[64], name[64] = "";
	struct stat status;

	expect(!ring_view_check(&ring->view));
	expect(!shared->head && !shared->busy && !shared->tail);
	expect(all_are((char *)ring_entries_of(shared), 256 * sizeof(struct ring_entry), 0));
	expect(shared->fixed.address == (uintptr_t)shared && shared->fixed.bytes == ring->bytes);
	expect(fcntl(ring->fd, F_GETFD) == FD_CLOEXEC && ring->fd > 100);
	expect((fcntl(ring->fd, F_GET_SEALS) & 7) == (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW));
	snprintf(path, sizeof(path), "/proc/self/fd/%d", ring->fd);
	expect(readlink(path, name, sizeof(name) - 1) > 0 && strstr(name, RING_NAME));
	expect(!fstat(ring->fd, &status) && (uint64_t)status.st_size == ring->bytes);
	expect((uint64_t)status.st_blocks * 512 <= 4 * PAGE);
}

static void expect_no_ring(uvm_reclaim_ring_t ring)
{
	uvm_reclaim_state_t state;
	uint32_t capacity;
	uint64_t id = 0;
	bool update;

	expect(uvm_reclaim_try_enter(ring, PAGE, PAGE, FREE, &id, &update) == UVM_RECLAIM_INVALID_RING);
	expect(uvm_reclaim_try_cancel(ring, 0, PAGE, PAGE, FREE, &state, &update) == UVM_RECLAIM_INVALID_RING);
	expect(uvm_reclaim_query_state(ring, 0, FREE, &state) == UVM_RECLAIM_INVALID_RING);
	expect(uvm_reclaim_ring_capacity(ring, &capacity) == UVM_RECLAIM_INVALID_RING);
	expect(uvm_reclaim_ring_flush(ring, 1) == UVM_RECLAIM_INVALID_RING);
	expect(uvm_reclaim_ring_resize(ring, 1) == UVM_RECLAIM_INVALID_RING);
	expect(uvm_reclaim_update_accounting(ring) == UVM_RECLAIM_INVALID_RING);
}

static void what_is_no_ring_is_refused(void)
{
	expect_no_ring(NULL);
	expect_no_ring(&ring_own);
	make_ring(256, 256);
	expect_no_ring((uvm_reclaim_ring_t)(&ring_own + 1));
}

static void what_is_taken_back_is_as_it_was(void)
{
	uvm_reclaim_ring_t ring = make_ring(256, 256);
	char *at = map_pages(4, 7);

	for (uint64_t i = 0; i < 100; i++) {
		uint8_t action = i % 2 ? FREE : DEALLOCATE;
		uint64_t id = enter(ring, at, 4, action);

		expect(id == i);
		expect(query(ring, id, action) == UVM_RECLAIM_UNRECLAIMED);
		expect(cancel(ring, id, at, 4, action) == UVM_RECLAIM_UNRECLAIMED);
	}
	expect(!uvm_reclaim_ring_flush(ring, UINT32_MAX));
	expect(all_are(at, 4 * PAGE, 7));
}

static void entering_is_checked(void)
{
	uvm_reclaim_ring_t ring = make_ring(256, 256);
	uint64_t id = NULL_ID;
	bool update;

	expect(uvm_reclaim_try_enter(ring, PAGE, PAGE, FREE, NULL, &update) == UVM_RECLAIM_INVALID_ARGUMENT);
	expect(uvm_reclaim_try_enter(ring, PAGE, PAGE, FREE, &id, NULL) == UVM_RECLAIM_INVALID_ARGUMENT);
	expect(uvm_reclaim_try_enter(ring, 0, PAGE, FREE, &id, &update) == UVM_RECLAIM_INVALID_ARGUMENT);
	expect(uvm_reclaim_try_enter(ring, PAGE + 1, PAGE, FREE, &id, &update) == UVM_RECLAIM_INVALID_ARGUMENT);
	expect(uvm_reclaim_try_enter(ring, PAGE, PAGE, 0, &id, &update) == UVM_RECLAIM_INVALID_ARGUMENT);
	expect(uvm_reclaim_try_enter(ring, PAGE, PAGE, 3, &id, &update) == UVM_RECLAIM_INVALID_ARGUMENT);
	expect(uvm_reclaim_try_enter(ring, -PAGE, PAGE, FREE, &id, &update) == UVM_RECLAIM_INVALID_ARGUMENT);
	expect(uvm_reclaim_try_enter(ring, PAGE, 0, FREE, &id, &update) == UVM_RECLAIM_INVALID_REGION_SIZE);
	expect(uvm_reclaim_try_enter(ring, PAGE, UINT64_C(1) << 32, FREE, &id, &update) ==
	       UVM_RECLAIM_INVALID_REGION_SIZE);
	expect(!uvm_reclaim_try_enter(ring, PAGE, UVM_RECLAIM_REGION_SIZE_MAX, FREE, &id, &update) && !id);
	id = 1;
	expect(uvm_reclaim_try_enter(ring, PAGE, PAGE, FREE, &id, &update) == UVM_RECLAIM_INVALID_ID);
	id = NULL_ID - 1;
	expect(uvm_reclaim_try_enter(ring, PAGE, PAGE, FREE, &id, &update) == UVM_RECLAIM_INVALID_ID);
	expect(shared_of(ring)->tail == 1);
}

static int try_cancel(uvm_reclaim_ring_t ring, uint64_t id, char *at, uint64_t size, uint8_t action)
{
	uvm_reclaim_state_t state;
	bool update;

	return uvm_reclaim_try_cancel(ring, id, (uintptr_t)at, size, action, &state, &update);
}

static void taking_back_is_checked(void)
{
	uvm_reclaim_ring_t ring = make_ring(256, 256);
	char *at = map_pages(2, 7);
	uint64_t id = enter(ring, at, 1, FREE);
	uvm_reclaim_state_t state;
	bool update;

	expect(uvm_reclaim_try_cancel(ring, id, (uintptr_t)at, PAGE, FREE, NULL, &update) ==
	       UVM_RECLAIM_INVALID_ARGUMENT);
	expect(uvm_reclaim_try_cancel(ring, id, (uintptr_t)at, PAGE, FREE, &state, NULL) ==
	       UVM_RECLAIM_INVALID_ARGUMENT);
	expect(try_cancel(ring, id, at + PAGE, PAGE, FREE) == UVM_RECLAIM_INVALID_ARGUMENT);
	expect(try_cancel(ring, id, at, PAGE + 1, FREE) == UVM_RECLAIM_INVALID_ARGUMENT);
	expect(try_cancel(ring, id, at, PAGE, DEALLOCATE) == UVM_RECLAIM_INVALID_ARGUMENT);
	expect(try_cancel(ring, id, at, PAGE, 0) == UVM_RECLAIM_INVALID_ARGUMENT);
	expect(try_cancel(ring, NULL_ID, at, PAGE, FREE) == UVM_RECLAIM_INVALID_ID);
	expect(try_cancel(ring, id + 1, at, PAGE, FREE) == UVM_RECLAIM_INVALID_ID);
	expect(!try_cancel(ring, id, at, PAGE, FREE));
	expect(try_cancel(ring, id, at, PAGE, FREE) == UVM_RECLAIM_INVALID_ID);
	expect(uvm_reclaim_query_state(ring, NULL_ID, FREE, &state) == UVM_RECLAIM_INVALID_ID);
	expect(uvm_reclaim_query_state(ring, id + 1, FREE, &state) == UVM_RECLAIM_INVALID_ID);
	expect(uvm_reclaim_query_state(ring, id, 0, &state) == UVM_RECLAIM_INVALID_ARGUMENT);
	expect(uvm_reclaim_query_state(ring, id, FREE, NULL) == UVM_RECLAIM_INVALID_ARGUMENT);
}

static void a_full_ring_gives_no_id_until_something_is_reclaimed(void)
{
	uvm_reclaim_ring_t ring = make_ring(256, 256);
	char *at = map_pages(257, 7);

	for (uint64_t i = 0; i < 256; i++)
		expect(enter(ring, at + i * PAGE, 1, FREE) == i);
	expect(enter(ring, at + 256 * PAGE, 1, FREE) == NULL_ID);
	expect(shared_of(ring)->tail == 256);
	expect(!uvm_reclaim_ring_flush(ring, 1));
	expect(enter(ring, at + 256 * PAGE, 1, FREE) == 256);
	expect(cancel(ring, 0, at, 1, FREE) == UVM_RECLAIM_FREED);
	expect(cancel(ring, 256, at + 256 * PAGE, 1, FREE) == UVM_RECLAIM_UNRECLAIMED);
}

static void the_place_of_a_cancelled_id_can_be_used_again(void)
{
	uvm_reclaim_ring_t ring = make_ring(256, 256);
	char *at = map_pages(3, 7);

	expect(enter(ring, at, 1, FREE) == 0);
	expect(enter(ring, at + PAGE, 1, FREE) == 1);
	expect(enter_at(ring, 0, at + 2 * PAGE, 1, FREE) == NULL_ID);
	expect(cancel(ring, 0, at, 1, FREE) == UVM_RECLAIM_UNRECLAIMED);
	expect(enter_at(ring, 0, at + 2 * PAGE, 1, DEALLOCATE) == 0);
	expect(shared_of(ring)->tail == 2);
	expect(cancel(ring, 1, at + PAGE, 1, FREE) == UVM_RECLAIM_UNRECLAIMED);
	expect(!uvm_reclaim_ring_flush(ring, 1));
	expect(query(ring, 0, DEALLOCATE) == UVM_RECLAIM_DEALLOCATED);
	expect(all_are(at, 2 * PAGE, 7) && !is_mapped(at + 2 * PAGE));
	expect(enter_at(ring, 0, at, 1, FREE) == NULL_ID);
}

static void a_ring_of_holes_goes_round(void)
{
	uvm_reclaim_ring_t ring = make_ring(256, 256);
	char *at = map_pages(1, 7);
	uint64_t id = NULL_ID;

	for (uint64_t i = 0; i < 5000; i++) {
		while ((id = enter(ring, at, 1, FREE)) == NULL_ID)
			expect(!uvm_reclaim_ring_flush(ring, 1));
		expect(id == i && cancel(ring, id, at, 1, FREE) == UVM_RECLAIM_UNRECLAIMED);
	}
	expect(all_are(at, PAGE, 7) && !shared_of(ring)->reclaimed.entries);
}

static void test_reusable_states(void **state)
{
	(void)state;
	assert_true(uvm_reclaim_is_reusable(UVM_RECLAIM_UNRECLAIMED));
	assert_true(uvm_reclaim_is_reusable(UVM_RECLAIM_FREED));
	assert_false(uvm_reclaim_is_reusable(UVM_RECLAIM_DEALLOCATED));
	assert_false(uvm_reclaim_is_reusable(UVM_RECLAIM_BUSY));
	assert_false(uvm_reclaim_is_reusable(0));
	assert_false(uvm_reclaim_is_reusable(5));
}

/* How many of so many operations ask for accounting. */
static unsigned int count_asked(uvm_reclaim_ring_t ring, char *at, unsigned int pairs)
{
	uvm_reclaim_state_t state;
	unsigned int asked = 0;
	bool update;

	for (unsigned int i = 0; i < pairs; i++) {
		uint64_t id = shared_of(ring)->tail ? 0 : NULL_ID;

		expect(!uvm_reclaim_try_enter(ring, (uintptr_t)at, PAGE, FREE, &id, &update) && !id);
		asked += update;
		expect(!uvm_reclaim_try_cancel(ring, 0, (uintptr_t)at, PAGE, FREE, &state, &update));
		asked += update;
	}
	return asked;
}

static void accounting_is_asked_for_when_it_is_due(void)
{
	uvm_reclaim_ring_t ring = make_ring(256, 256);
	char *at = map_pages(1, 7);

	expect(count_asked(ring, at, 1000) == 0);
	shared_of(ring)->sampled_ns = clock_now_ns() - 2 * RING_PERIOD;
	expect(count_asked(ring, at, 1000) > 10);
	expect(!uvm_reclaim_update_accounting(ring));
	expect(count_asked(ring, at, 1000) == 0);
}

static bool asked(uvm_reclaim_ring_t ring, char *at, uint64_t bytes)
{
	uint64_t id = NULL_ID;
	bool update;

	expect(!uvm_reclaim_try_enter(ring, (uintptr_t)at, bytes, FREE, &id, &update) && id != NULL_ID);
	return update;
}

/* Sixteen mebibytes, and as much as was there, while memory is short: the end of the period is not waited for. */
static void accounting_is_asked_for_under_pressure_when_much_has_been_entered(void)
{
	uvm_reclaim_ring_t ring = make_ring(256, 256);
	const uint64_t bytes = UINT64_C(8) << 20;
	char *at = map_pages(8 * bytes / PAGE, 0);

	shared_of(ring)->sampled_ns = clock_now_ns() - RING_PERIOD / 5;
	expect(!asked(ring, at, bytes) && !asked(ring, at + bytes, bytes));
	shared_of(ring)->level = RING_WARNING;
	expect(asked(ring, at + 2 * bytes, bytes));
	shared_of(ring)->sampled_ns = clock_now_ns();
	expect(!asked(ring, at + 3 * bytes, bytes));
	expect(!uvm_reclaim_update_accounting(ring));
	shared_of(ring)->sampled_ns = clock_now_ns() - RING_PERIOD / 5;
	for (unsigned int i = 4; i < 7; i++)
		expect(!asked(ring, at + i * bytes, bytes));
	expect(asked(ring, at + 7 * bytes, bytes));
}

own_process(there_is_one_ring);
own_process(capacities_are_checked);
own_process(a_new_ring_is_empty_and_sealed);
own_process(what_is_no_ring_is_refused);
own_process(what_is_taken_back_is_as_it_was);
own_process(entering_is_checked);
own_process(taking_back_is_checked);
own_process(a_full_ring_gives_no_id_until_something_is_reclaimed);
own_process(the_place_of_a_cancelled_id_can_be_used_again);
own_process(a_ring_of_holes_goes_round);
own_process(accounting_is_asked_for_when_it_is_due);
own_process(accounting_is_asked_for_under_pressure_when_much_has_been_entered);

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_there_is_one_ring),
		cmocka_unit_test(test_capacities_are_checked),
		cmocka_unit_test(test_rounding_fills_pages),
		cmocka_unit_test(test_a_new_ring_is_empty_and_sealed),
		cmocka_unit_test(test_what_is_no_ring_is_refused),
		cmocka_unit_test(test_what_is_taken_back_is_as_it_was),
		cmocka_unit_test(test_entering_is_checked),
		cmocka_unit_test(test_taking_back_is_checked),
		cmocka_unit_test(test_a_full_ring_gives_no_id_until_something_is_reclaimed),
		cmocka_unit_test(test_the_place_of_a_cancelled_id_can_be_used_again),
		cmocka_unit_test(test_a_ring_of_holes_goes_round),
		cmocka_unit_test(test_reusable_states),
		cmocka_unit_test(test_accounting_is_asked_for_when_it_is_due),
		cmocka_unit_test(test_accounting_is_asked_for_under_pressure_when_much_has_been_entered),
	};

	return cmocka_run_group_tests_name("ring", tests, NULL, NULL);
}
