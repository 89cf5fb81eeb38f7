/* SPDX-License-Identifier: MIT */
/* Exercises of what a fault tells, and of where it is caught. */
#include <errno.h>
#include <signal.h>
#include <unistd.h>

#include "base/size.h"
#include "exercise/list.h"
#include "uffd/uffd.h"

void exercise_sigbus(struct kit *kit)
{
	char *at = kit_pages(kit, 1, UFFDIO_REGISTER_MODE_MISSING);
	struct kit_touch reader;

	kit_touch(kit, &reader, at, false);
	kit_done(kit, &reader);
	kit_check(kit, reader.signal == SIGBUS, "SIGBUS");
	kit_check(kit, !kit_has_message(kit->fd), "no message");
	kit_pass(kit, "a reader of a missing page got SIGBUS, and no message came");
}

/* A fault at an address in a page, answered; gives the message and who made it. */
static void fault_at(struct kit *kit, size_t offset, struct uffd_msg *message, struct kit_touch *reader)
{
	char *at = kit_pages(kit, 1, UFFDIO_REGISTER_MODE_MISSING);
	size_t done;

	kit_touch(kit, reader, at + offset, false);
	kit_message(kit, kit->fd, message);
	kit_check(kit, message->event == UFFD_EVENT_PAGEFAULT, "a fault");
	kit_expect(kit, "UFFDIO_ZEROPAGE", uffd_zeropage(kit->fd, (uintptr_t)at, page_size(), &done), 0);
	kit_done(kit, reader);
}

void exercise_thread_id(struct kit *kit)
{
	struct uffd_msg message;
	struct kit_touch reader;

	fault_at(kit, 0, &message, &reader);
	kit_check(kit, (pid_t)message.arg.pagefault.feat.ptid == reader.tid && reader.tid != getpid(),
		  "the id of the thread that read");
	kit_pass(kit, "the fault names thread %d, which read", reader.tid);
}

void exercise_exact_address(struct kit *kit)
{
	const size_t offset = 123;
	struct uffd_msg message;
	struct kit_touch reader;

	fault_at(kit, offset, &message, &reader);
	kit_check(kit, message.arg.pagefault.address == (uintptr_t)reader.at, "the address to the byte");
	kit_pass(kit, "the fault names byte %zu of the page, which was read", offset);
}

struct system_call {
	const char *from;
	int pipe;
	ssize_t result;
	int error;
};

static void *write_to_pipe(void *argument)
{
	struct system_call *call = argument;

	call->result = write(call->pipe, call->from, 1);
	call->error = errno;
	return NULL;
}

void exercise_kernel_fault(struct kit *kit)
{
	struct system_call call = {.from = kit_pages(kit, 1, UFFDIO_REGISTER_MODE_MISSING)};
	pthread_t thread;
	size_t done;
	int ends[2];

	kit_expect(kit, "pipe", pipe(ends) ? -errno : 0, 0);
	call.pipe = ends[1];
	kit_start(kit, &thread, write_to_pipe, &call);
	if (!uffd_route_kernel_faults(kit->route)) {
		kit_joined(kit, thread, "write(2)");
		kit_check(kit, call.result < 0 && call.error == EFAULT, "EFAULT from write(2) of a missing page");
		kit_not_applicable(
			kit, "only user-mode faults can be had here: write(2) of a missing page failed with EFAULT");
	}
	kit_fault(kit, call.from);
	kit_expect(kit, "UFFDIO_ZEROPAGE", uffd_zeropage(kit->fd, (uintptr_t)call.from, page_size(), &done), 0);
	kit_joined(kit, thread, "write(2)");
	kit_check(kit, call.result == 1, "write(2) of a missing page succeeding once it is there");
	kit_pass(kit, "write(2) of a missing page waited for it and succeeded");
}
