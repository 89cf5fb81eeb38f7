/* SPDX-License-Identifier: MIT */
/*
 * Exercises of read-write protection (Linux 7.2; Documentation/admin-guide/mm/userfaultfd.rst, "Read-Write
 * Protection").
 */
#include <errno.h>
#include <string.h>

#include "base/size.h"
#include "exercise/list.h"
#include "uffd/uffd.h"

/* Pages that are there, and protected. */
static char *protected_pages(struct kit *kit, size_t count)
{
	char *at = kit_pages(kit, count, UFFDIO_REGISTER_MODE_RWP);

	memset(at, KIT_BYTE, count * page_size());
	kit_expect(kit, "UFFDIO_RWPROTECT", uffd_rwprotect(kit->fd, kit_region(at, count), true), 0);
	return at;
}

/* A touch of a protected page: it waits, the protection is lifted, it goes on. */
static void touch_through(struct kit *kit, char *at, bool write)
{
	struct kit_touch touch;

	kit_touch(kit, &touch, at, write);
	kit_check(kit, kit_fault(kit, at) & UFFD_PAGEFAULT_FLAG_RWP, "the flag that says read-write-protected");
	kit_expect(kit, "UFFDIO_RWPROTECT, lifting it", uffd_rwprotect(kit->fd, kit_region(at, 1), false), 0);
	kit_done(kit, &touch);
	kit_check(kit, write ? *at == KIT_BYTE + 1 : touch.value == KIT_BYTE, "the byte that was there or written");
}

static void touch_freely(struct kit *kit, char *at, bool write)
{
	struct kit_touch touch;

	kit_touch(kit, &touch, at, write);
	kit_done(kit, &touch);
	kit_check(kit, !kit_has_message(kit->fd), "no message");
	kit_check(kit, write ? *at == KIT_BYTE + 1 : touch.value == KIT_BYTE, "the byte that was there or written");
}

void exercise_rwprotect(struct kit *kit)
{
	char *at = protected_pages(kit, 2);

	touch_through(kit, at, false);
	touch_through(kit, at + page_size(), true);
	kit_pass(kit, "a reader and a writer waited until the protection was lifted");
}

void exercise_rwp_async(struct kit *kit)
{
	char *at = protected_pages(kit, 2);

	touch_freely(kit, at, false);
	touch_freely(kit, at + page_size(), true);
	kit_pass(kit, "a reader and a writer of protected pages were not stopped");
}

/* That one page waits and the other does not tells that the first touch had lifted its protection, and nothing else. */
void exercise_set_mode(struct kit *kit)
{
	char *touched = protected_pages(kit, 2), *untouched = touched + page_size();
	const uint64_t async = UFFD_FEATURE_RWP_ASYNC;

	touch_freely(kit, touched, false);
	kit_expect(kit, "UFFDIO_SET_MODE, a feature on and off", uffd_set_mode(kit->fd, async, async), -EINVAL);
	kit_expect(kit, "UFFDIO_SET_MODE, rwp_async off", uffd_set_mode(kit->fd, 0, async), 0);
	touch_freely(kit, touched, false);
	touch_through(kit, untouched, false);
	kit_expect(kit, "UFFDIO_SET_MODE, rwp_async on", uffd_set_mode(kit->fd, async, 0), 0);
	kit_expect(kit, "UFFDIO_RWPROTECT", uffd_rwprotect(kit->fd, kit_region(untouched, 1), true), 0);
	touch_freely(kit, untouched, true);
	kit_pass(kit,
		 "with rwp_async off a reader of a page still protected waited, with it on again a writer did not");
}
