/* SPDX-License-Identifier: MIT */
/* Exercises that answer missing and minor faults: COPY, ZEROPAGE, WAKE, CONTINUE, POISON. */
#include <signal.h>
#include <sys/mman.h>

#include "base/size.h"
#include "exercise/list.h"
#include "uffd/uffd.h"

void exercise_copy(struct kit *kit)
{
	char *at = kit_pages(kit, 2, UFFDIO_REGISTER_MODE_MISSING);
	struct kit_touch reader;

	kit_touch(kit, &reader, at, false);
	kit_fault(kit, at);
	kit_copy(kit, kit->fd, at, 2 * page_size(), true);
	kit_done(kit, &reader);
	kit_check(kit, reader.value == KIT_BYTE && at[2 * page_size() - 1] == KIT_BYTE, "the bytes that were copied");
	kit_pass(kit, "a reader waited, %zu bytes were copied, it read them", 2 * page_size());
}

void exercise_zeropage(struct kit *kit)
{
	char *at = kit_pages(kit, 1, UFFDIO_REGISTER_MODE_MISSING);
	struct kit_touch writer;
	uint64_t flags;
	size_t done;

	kit_touch(kit, &writer, at, true);
	flags = kit_fault(kit, at);
	kit_check(kit, flags & UFFD_PAGEFAULT_FLAG_WRITE, "the flag that says write");
	kit_expect(kit, "UFFDIO_ZEROPAGE", uffd_zeropage(kit->fd, (uintptr_t)at, page_size(), &done), 0);
	kit_done(kit, &writer);
	kit_check(kit, at[0] == KIT_BYTE + 1 && at[page_size() - 1] == 0, "one byte written to a page of zeros");
	kit_pass(kit, "a writer waited, %zu bytes of zeros came, it wrote into them", done);
}

void exercise_wake(struct kit *kit)
{
	char *at = kit_pages(kit, 1, UFFDIO_REGISTER_MODE_MISSING);
	struct kit_touch reader;

	kit_touch(kit, &reader, at, false);
	kit_fault(kit, at);
	kit_copy(kit, kit->fd, at, page_size(), false);
	kit_check(kit, kit_waiting(kit) == 1, "the reader waiting still after a COPY with DONTWAKE");
	kit_expect(kit, "UFFDIO_WAKE", uffd_wake(kit->fd, kit_region(at, 1)), 0);
	kit_done(kit, &reader);
	kit_check(kit, reader.value == KIT_BYTE, "the bytes that were copied");
	kit_pass(kit, "COPY with DONTWAKE left the reader waiting, WAKE woke it");
}

__attribute__((noreturn)) static void resolve_missing(struct kit *kit, unsigned int flags)
{
	char *at, *alias;
	size_t bytes = kit_shared(kit, flags, UFFDIO_REGISTER_MODE_MISSING, &at, &alias);
	struct kit_touch reader;

	kit_touch(kit, &reader, at, false);
	kit_fault(kit, at);
	kit_copy(kit, kit->fd, at, bytes, true);
	kit_done(kit, &reader);
	kit_check(kit, reader.value == KIT_BYTE && alias[bytes - 1] == KIT_BYTE, "the bytes that were copied");
	kit_pass(kit, "a reader waited, %zu bytes were copied, both mappings have them", bytes);
}

void exercise_missing_shmem(struct kit *kit)
{
	resolve_missing(kit, 0);
}

void exercise_missing_hugetlbfs(struct kit *kit)
{
	resolve_missing(kit, MFD_HUGETLB);
}

/* Returns how many bytes CONTINUE mapped. `late` is written into the page while the reader waits. */
static size_t resolve_minor(struct kit *kit, unsigned int flags, char early, char late)
{
	char *at, *alias;
	size_t bytes = kit_shared(kit, flags, UFFDIO_REGISTER_MODE_MINOR, &at, &alias), done;
	struct kit_touch reader;

	*alias = early;
	kit_touch(kit, &reader, at, false);
	kit_check(kit, kit_fault(kit, at) & UFFD_PAGEFAULT_FLAG_MINOR, "the flag that says minor");
	*alias = late;
	kit_expect(kit, "UFFDIO_CONTINUE", uffd_continue(kit->fd, (uintptr_t)at, bytes, &done), 0);
	kit_done(kit, &reader);
	kit_check(kit, reader.value == late, "what the other mapping wrote");
	return done;
}

void exercise_minor_shmem(struct kit *kit)
{
	size_t bytes = resolve_minor(kit, 0, KIT_BYTE, KIT_BYTE);

	kit_pass(kit, "a reader of a page that was there but not mapped waited, CONTINUE mapped %zu bytes", bytes);
}

void exercise_minor_hugetlbfs(struct kit *kit)
{
	size_t bytes = resolve_minor(kit, MFD_HUGETLB, KIT_BYTE, KIT_BYTE);

	kit_pass(kit, "a reader of a page that was there but not mapped waited, CONTINUE mapped %zu bytes", bytes);
}

void exercise_continue(struct kit *kit)
{
	resolve_minor(kit, 0, 0, KIT_BYTE);
	kit_pass(
		kit,
		"the page was changed by its other mapping while the reader waited; after CONTINUE it read the change");
}

void exercise_poison(struct kit *kit)
{
	char *at = kit_pages(kit, 1, UFFDIO_REGISTER_MODE_MISSING);
	struct kit_touch reader;
	size_t done;

	kit_touch(kit, &reader, at, false);
	kit_fault(kit, at);
	kit_expect(kit, "UFFDIO_POISON", uffd_poison(kit->fd, (uintptr_t)at, page_size(), &done), 0);
	kit_done(kit, &reader);
	kit_check(kit, reader.signal == SIGBUS, "SIGBUS");
	/* Kernels built without CONFIG_MEMORY_FAILURE give another code. */
	kit_pass(kit, "a reader waited, %zu bytes were poisoned, it got SIGBUS%s", done,
		 reader.signal_code == BUS_MCEERR_AR ? " with BUS_MCEERR_AR" : "");
}
