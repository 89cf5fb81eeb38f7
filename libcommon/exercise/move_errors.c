/* SPDX-License-Identifier: MIT */
/*
 * Exercises that make UFFDIO_MOVE fail in each documented way. A failure must leave source and destination as they
 * were.
 */
#include <errno.h>
#include <linux/io_uring.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/size.h"
#include "exercise/list.h"
#include "uffd/uffd.h"

/* Two filled pages to move, and two missing ones to receive them. */
struct pair {
	char *from, *to;
};

static struct pair make_pair(struct kit *kit)
{
	struct pair pair = {kit_pages(kit, 2, 0), kit_pages(kit, 2, UFFDIO_REGISTER_MODE_MISSING)};

	memset(pair.from, KIT_BYTE, 2 * page_size());
	return pair;
}

static int try_move(struct kit *kit, const char *to, const char *from, size_t bytes, uint64_t mode, size_t *moved)
{
	return uffd_move(kit->fd, (uintptr_t)to, (uintptr_t)from, bytes, mode, moved);
}

/* The move of one page must fail so, and the page must stay. */
static void expect_refusal(struct kit *kit, const char *what, struct pair pair, int wanted)
{
	size_t moved;

	kit_expect(kit, what, try_move(kit, pair.to, pair.from, page_size(), 0, &moved), wanted);
	kit_check(kit, !moved && pair.from[0] == KIT_BYTE, "the page where it was");
}

void exercise_move_eagain(struct kit *kit)
{
	struct pair pair = make_pair(kit);
	size_t moved;

	kit_expect(kit, "madvise", madvise(pair.from + page_size(), page_size(), MADV_DONTNEED) ? -errno : 0, 0);
	kit_expect(kit, "UFFDIO_MOVE of a page and a hole",
		   try_move(kit, pair.to, pair.from, 2 * page_size(), 0, &moved), -EAGAIN);
	kit_check(kit, moved == page_size() && pair.to[0] == KIT_BYTE, "the first page moved");
	kit_pass(kit, "EAGAIN for a page and a hole, with move=%zu: the first page moved", moved);
}

void exercise_move_einval_alignment(struct kit *kit)
{
	struct pair pair = make_pair(kit);
	size_t moved;

	kit_expect(kit, "dst off by one", try_move(kit, pair.to + 1, pair.from, page_size(), 0, &moved), -EINVAL);
	kit_expect(kit, "src off by one", try_move(kit, pair.to, pair.from + 1, page_size(), 0, &moved), -EINVAL);
	kit_expect(kit, "len off by one", try_move(kit, pair.to, pair.from, page_size() - 1, 0, &moved), -EINVAL);
	kit_check(kit, pair.from[0] == KIT_BYTE, "the page where it was");
	kit_pass(kit, "EINVAL for a dst, a src and a len that is no multiple of the page");
}

void exercise_move_einval_mode(struct kit *kit)
{
	const uint64_t unknown = UINT64_C(1) << 63;
	struct pair pair = make_pair(kit);
	size_t moved;

	kit_expect(kit, "an unknown bit of mode", try_move(kit, pair.to, pair.from, page_size(), unknown, &moved),
		   -EINVAL);
	kit_check(kit, pair.from[0] == KIT_BYTE, "the page where it was");
	kit_pass(kit, "EINVAL for a mode bit that has no meaning");
}

void exercise_move_einval_range(struct kit *kit)
{
	struct pair pair = make_pair(kit);
	struct pair unregistered = {pair.from, kit_pages(kit, 1, 0)};
	size_t moved;

	kit_expect(kit, "len 0", try_move(kit, pair.to, pair.from, 0, 0, &moved), -EINVAL);
	expect_refusal(kit, "a destination that is not registered", unregistered, -EINVAL);
	kit_expect(kit, "mprotect", mprotect(pair.to, page_size(), PROT_NONE) ? -errno : 0, 0);
	expect_refusal(kit, "a destination with other access flags", pair, -EINVAL);
	kit_pass(kit, "EINVAL for a len of 0, a destination that is not registered, and one with other access flags "
		      "than the source");
}

void exercise_move_einval_other_process(struct kit *kit)
{
	struct pair pair = make_pair(kit);
	pid_t child = kit_fork(kit);
	int status = 0;
	size_t moved;

	if (!child)
		_exit(try_move(kit, pair.to, pair.from, page_size(), 0, &moved) == -EINVAL ? 0 : 1);
	kit_expect(kit, "waitpid", waitpid(child, &status, 0) == child ? 0 : -errno, 0);
	kit_check(kit, !status, "EINVAL in the child");
	kit_pass(kit, "EINVAL for a child that used its parent's descriptor: MOVE works inside the process only");
}

void exercise_move_enoent(struct kit *kit)
{
	struct pair pair = make_pair(kit);
	size_t moved;

	kit_expect(kit, "madvise", madvise(pair.from, page_size(), MADV_DONTNEED) ? -errno : 0, 0);
	kit_expect(kit, "UFFDIO_MOVE of a hole", try_move(kit, pair.to, pair.from, page_size(), 0, &moved), -ENOENT);
	kit_pass(kit, "ENOENT for a source page that was never touched");
}

void exercise_move_eexist(struct kit *kit)
{
	struct pair pair = make_pair(kit);
	size_t done;

	kit_expect(kit, "UFFDIO_ZEROPAGE", uffd_zeropage(kit->fd, (uintptr_t)pair.to, page_size(), &done), 0);
	expect_refusal(kit, "UFFDIO_MOVE onto a page", pair, -EEXIST);
	kit_check(kit, !pair.to[0], "the destination as it was");
	kit_pass(kit, "EEXIST for a destination page that is mapped");
}

void exercise_move_ebusy_fork(struct kit *kit)
{
	struct pair pair = make_pair(kit);
	pid_t child = kit_fork(kit);

	if (!child)
		for (;;)
			pause();
	expect_refusal(kit, "UFFDIO_MOVE of a page shared with a child", pair, -EBUSY);
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	expect_refusal(kit, "UFFDIO_MOVE after the child has ended", pair, -EBUSY);
	kit_expect(kit, "madvise", madvise(pair.from, page_size(), MADV_POPULATE_WRITE) ? -errno : 0, 0);
	kit_expect(kit, "UFFDIO_MOVE after MADV_POPULATE_WRITE",
		   try_move(kit, pair.to, pair.from, page_size(), 0, &(size_t){0}), 0);
	kit_pass(kit, "EBUSY for a page shared with a child, also after its end; MADV_POPULATE_WRITE made it movable");
}

void exercise_move_ebusy_pinned(struct kit *kit)
{
	struct pair pair = make_pair(kit);
	struct iovec buffer = {.iov_base = pair.from, .iov_len = page_size()};
	struct io_uring_params params = {0};
	int ring = (int)syscall(SYS_io_uring_setup, 1, &params);

	if (ring < 0)
		kit_not_applicable(kit, "nothing here pins a page: io_uring_setup(2): %s", strerror(errno));
	if (syscall(SYS_io_uring_register, ring, IORING_REGISTER_BUFFERS, &buffer, 1))
		kit_not_applicable(kit, "nothing here pins a page: io_uring_register(2): %s", strerror(errno));
	expect_refusal(kit, "UFFDIO_MOVE of a pinned page", pair, -EBUSY);
	close(ring);
	kit_pass(kit, "EBUSY for a page that io_uring has pinned as a buffer");
}
