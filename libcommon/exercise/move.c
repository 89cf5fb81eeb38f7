/* SPDX-License-Identifier: MIT */
/* Exercises of UFFDIO_MOVE that succeed, by mode. */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "base/size.h"
#include "exercise/list.h"
#include "uffd/uffd.h"

static char *filled_pages(struct kit *kit, size_t pages)
{
	return memset(kit_pages(kit, pages, 0), KIT_BYTE, pages * page_size());
}

static size_t move_pages(struct kit *kit, const char *to, const char *from, size_t pages, uint64_t mode)
{
	size_t moved;

	kit_expect(kit, "UFFDIO_MOVE",
		   uffd_move(kit->fd, (uintptr_t)to, (uintptr_t)from, pages * page_size(), mode, &moved), 0);
	return moved;
}

void exercise_move(struct kit *kit)
{
	char *from = filled_pages(kit, 2), *to = kit_pages(kit, 2, UFFDIO_REGISTER_MODE_MISSING);
	struct kit_touch reader;
	size_t moved;

	kit_touch(kit, &reader, to, false);
	kit_fault(kit, to);
	moved = move_pages(kit, to, from, 2, 0);
	kit_done(kit, &reader);
	kit_check(kit, reader.value == KIT_BYTE && to[2 * page_size() - 1] == KIT_BYTE, "the bytes at the destination");
	kit_check(kit, !from[0] && !from[page_size()], "zeros where they came from");
	kit_pass(kit, "a reader waited, %zu bytes moved, it read them; their source reads as zeros", moved);
}

void exercise_move_dontwake(struct kit *kit)
{
	char *from = filled_pages(kit, 1), *to = kit_pages(kit, 1, UFFDIO_REGISTER_MODE_MISSING);
	struct kit_touch reader;

	kit_touch(kit, &reader, to, false);
	kit_fault(kit, to);
	move_pages(kit, to, from, 1, UFFDIO_MOVE_MODE_DONTWAKE);
	kit_check(kit, kit_waiting(kit) == 1, "the reader waiting still");
	kit_expect(kit, "UFFDIO_WAKE", uffd_wake(kit->fd, kit_region(to, 1)), 0);
	kit_done(kit, &reader);
	kit_check(kit, reader.value == KIT_BYTE, "the byte that moved");
	kit_pass(kit, "the page moved, the reader waited on until WAKE");
}

void exercise_move_allow_src_holes(struct kit *kit)
{
	enum {
		PAGES = 4
	};
	char *from = kit_pages(kit, PAGES, 0), *to = kit_pages(kit, PAGES, UFFDIO_REGISTER_MODE_MISSING);
	unsigned char there[PAGES];
	size_t moved;

	from[0] = from[(PAGES - 1) * page_size()] = KIT_BYTE;
	moved = move_pages(kit, to, from, PAGES, UFFDIO_MOVE_MODE_ALLOW_SRC_HOLES);
	kit_expect(kit, "mincore", mincore(to, PAGES * page_size(), there) ? -errno : 0, 0);
	kit_check(kit, (there[0] & 1) && !(there[1] & 1) && !(there[2] & 1) && (there[3] & 1),
		  "two pages at the destination, and two holes");
	kit_check(kit, to[0] == KIT_BYTE && to[(PAGES - 1) * page_size()] == KIT_BYTE, "the bytes that moved");
	kit_pass(kit, "4 pages of which 2 were holes: %zu bytes moved, the holes are holes at the destination", moved);
}
