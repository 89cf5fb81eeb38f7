/* SPDX-License-Identifier: MIT */
/* Exercises of events. What causes one waits until it is read, so a thread of its own does it. */
#include <errno.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/size.h"
#include "exercise/list.h"
#include "uffd/uffd.h"

/* Something done to a page, by a thread. */
struct deed {
	struct kit *kit;
	char *at;
	char *to;
	int result; /* 0 or -errno; of a child its exit status */
};

static void expect_event(struct kit *kit, int event, struct uffd_msg *message)
{
	kit_message(kit, kit->fd, message);
	if (message->event != event)
		kit_fail(kit, "event 0x%x came, expected was 0x%x", message->event, (unsigned int)event);
}

/* Has a thread do what causes an event, which is read, and expects it to succeed then. */
static void cause_event(struct kit *kit, struct deed *deed, void *(*run)(void *), const char *call, int event,
			struct uffd_msg *message)
{
	pthread_t thread;

	kit_start(kit, &thread, run, deed);
	expect_event(kit, event, message);
	kit_joined(kit, thread, call);
	kit_expect(kit, call, deed->result, 0);
}

/* The page is missing, and can be filled. */
static void expect_fault(struct kit *kit, char *at)
{
	struct kit_touch reader;

	kit_touch(kit, &reader, at, false);
	kit_fault(kit, at);
	kit_copy(kit, kit->fd, at, page_size(), true);
	kit_done(kit, &reader);
}

/* The thread stays until its child has ended: a child made by a thread that ended would be killed. */
static void *do_fork(void *argument)
{
	struct deed *deed = argument;
	pid_t child = kit_fork(deed->kit);
	int status;

	if (!child)
		_exit(*(volatile char *)deed->at == KIT_BYTE ? 0 : 2);
	waitpid(child, &status, 0);
	deed->result = status;
	return NULL;
}

void exercise_event_fork(struct kit *kit)
{
	struct deed deed = {.kit = kit, .at = kit_pages(kit, 1, UFFDIO_REGISTER_MODE_MISSING)};
	struct uffd_msg message;
	pthread_t thread;
	int child;

	kit_start(kit, &thread, do_fork, &deed);
	expect_event(kit, UFFD_EVENT_FORK, &message);
	child = (int)message.arg.fork.ufd;
	kit_message(kit, child, &message);
	kit_check(kit, message.event == UFFD_EVENT_PAGEFAULT, "a fault of the child");
	kit_copy(kit, child, deed.at, page_size(), true);
	kit_joined(kit, thread, "the child");
	kit_check(kit, deed.result == 0, "the child reading what it was given");
	kit_pass(kit, "the event brought a descriptor for the child, and a fault of the child was answered by it");
}

static void *do_remap(void *argument)
{
	struct deed *deed = argument;
	void *at = mremap(deed->at, page_size(), page_size(), MREMAP_MAYMOVE | MREMAP_FIXED, deed->to);

	deed->result = at == MAP_FAILED ? -errno : 0;
	return NULL;
}

void exercise_event_remap(struct kit *kit)
{
	struct deed deed = {.at = kit_pages(kit, 1, UFFDIO_REGISTER_MODE_MISSING), .to = kit_pages(kit, 1, 0)};
	struct uffd_msg message;

	cause_event(kit, &deed, do_remap, "mremap(2)", UFFD_EVENT_REMAP, &message);
	kit_check(kit,
		  message.arg.remap.from == (uintptr_t)deed.at && message.arg.remap.to == (uintptr_t)deed.to &&
			  message.arg.remap.len == page_size(),
		  "the old and the new address");
	expect_fault(kit, deed.to);
	kit_pass(kit, "mremap(2) waited until the event was read; faults go on at the new address");
}

static void *do_remove(void *argument)
{
	struct deed *deed = argument;

	deed->result = madvise(deed->at, page_size(), MADV_DONTNEED) ? -errno : 0;
	return NULL;
}

void exercise_event_remove(struct kit *kit)
{
	struct deed deed = {.at = kit_pages(kit, 1, UFFDIO_REGISTER_MODE_MISSING)};
	struct region page = kit_region(deed.at, 1);
	struct uffd_msg message;

	kit_copy(kit, kit->fd, deed.at, page_size(), true);
	cause_event(kit, &deed, do_remove, "madvise(2)", UFFD_EVENT_REMOVE, &message);
	kit_check(kit, message.arg.remove.start == page.start && message.arg.remove.end == page.end,
		  "the range that went");
	expect_fault(kit, deed.at);
	kit_pass(kit, "madvise(2) waited until the event was read; the page is missing again");
}

static void *do_unmap(void *argument)
{
	struct deed *deed = argument;

	deed->result = munmap(deed->at, page_size()) ? -errno : 0;
	return NULL;
}

void exercise_event_unmap(struct kit *kit)
{
	struct deed deed = {.at = kit_pages(kit, 2, UFFDIO_REGISTER_MODE_MISSING)};
	struct region page = kit_region(deed.at, 1);
	struct uffd_msg message;

	cause_event(kit, &deed, do_unmap, "munmap(2)", UFFD_EVENT_UNMAP, &message);
	kit_check(kit, message.arg.remove.start == page.start && message.arg.remove.end == page.end,
		  "the range that went");
	kit_pass(kit, "munmap(2) waited until the event was read, which names its range");
}
