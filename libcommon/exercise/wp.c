/* SPDX-License-Identifier: MIT */
/* Exercises of write protection. */
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/size.h"
#include "exercise/list.h"
#include "uffd/uffd.h"

#define PAGEMAP_WP (UINT64_C(1) << 57) /* Documentation/admin-guide/mm/pagemap.rst */

/* A write to a protected page: it waits, the protection is lifted, it goes on. */
static void write_through(struct kit *kit, char *at, size_t bytes)
{
	struct region region = region_at((uintptr_t)at, bytes);
	struct kit_touch writer;

	kit_touch(kit, &writer, at, true);
	kit_check(kit, kit_fault(kit, at) & UFFD_PAGEFAULT_FLAG_WP, "the flag that says write-protected");
	kit_expect(kit, "UFFDIO_WRITEPROTECT, lifting it", uffd_writeprotect(kit->fd, region, false), 0);
	kit_done(kit, &writer);
	kit_check(kit, *at == KIT_BYTE + 1, "the byte that was written");
}

void exercise_writeprotect(struct kit *kit)
{
	char *at = kit_pages(kit, 1, UFFDIO_REGISTER_MODE_WP);
	struct kit_touch reader;

	*at = KIT_BYTE;
	kit_expect(kit, "UFFDIO_WRITEPROTECT", uffd_writeprotect(kit->fd, kit_region(at, 1), true), 0);
	kit_touch(kit, &reader, at, false);
	kit_done(kit, &reader);
	kit_check(kit, reader.value == KIT_BYTE && !kit_has_message(kit->fd), "reading undisturbed");
	write_through(kit, at, page_size());
	kit_pass(kit, "a reader was not disturbed, a writer waited until the protection was lifted");
}

void exercise_copy_wp(struct kit *kit)
{
	char *at = kit_pages(kit, 1, UFFDIO_REGISTER_MODE_MISSING | UFFDIO_REGISTER_MODE_WP);
	struct uffdio_copy copy = {
		.dst = (uintptr_t)at,
		.src = (uintptr_t)kit_source(kit, page_size()),
		.len = page_size(),
		.mode = UFFDIO_COPY_MODE_WP,
	};

	kit_expect(kit, "UFFDIO_COPY with MODE_WP", ioctl(kit->fd, UFFDIO_COPY, &copy) ? -errno : 0, 0);
	write_through(kit, at, page_size());
	kit_pass(kit, "the page came write-protected: a writer waited until that was lifted");
}

void exercise_wp_async(struct kit *kit)
{
	char *at = kit_pages(kit, 1, UFFDIO_REGISTER_MODE_WP);
	struct kit_touch writer;

	*at = KIT_BYTE;
	kit_expect(kit, "UFFDIO_WRITEPROTECT", uffd_writeprotect(kit->fd, kit_region(at, 1), true), 0);
	kit_check(kit, kit_pagemap(kit, at) & PAGEMAP_WP, "the page marked as protected in pagemap");
	kit_touch(kit, &writer, at, true);
	kit_done(kit, &writer);
	kit_check(kit, !kit_has_message(kit->fd), "no message");
	kit_check(kit, !(kit_pagemap(kit, at) & PAGEMAP_WP), "the mark in pagemap gone after a write");
	kit_pass(kit, "a writer was not stopped, and pagemap shows that it wrote");
}

void exercise_wp_unpopulated(struct kit *kit)
{
	char *at = kit_pages(kit, 1, UFFDIO_REGISTER_MODE_WP);

	kit_expect(kit, "UFFDIO_WRITEPROTECT", uffd_writeprotect(kit->fd, kit_region(at, 1), true), 0);
	write_through(kit, at, page_size());
	kit_pass(kit, "a writer to a page that was never touched waited until the protection was lifted");
}

void exercise_wp_hugetlbfs_shmem(struct kit *kit)
{
	char *at, *alias;
	size_t bytes = kit_shared(kit, 0, UFFDIO_REGISTER_MODE_WP, &at, &alias);

	memset(at, KIT_BYTE, bytes);
	kit_expect(kit, "UFFDIO_WRITEPROTECT", uffd_writeprotect(kit->fd, kit_region(at, 1), true), 0);
	*alias = 0;
	kit_check(kit, !kit_has_message(kit->fd), "the other mapping unprotected");
	write_through(kit, at, bytes);
	kit_pass(kit,
		 "a writer to shared memory waited until the protection was lifted; another mapping was free to write");
}
