/* SPDX-License-Identifier: MIT */
/* What an errno of UFFDIO_MOVE means for these pages, and what can be done about it. */
#include <errno.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/size.h"
#include "base/text.h"
#include "pages/pages.h"
#include "proc/stat.h"
#include "proc/tasks.h"
#include "uffd-move.h"

#define FRAME_MASK   ((UINT64_C(1) << 55) - 1)
#define KPF_KSM      21 /* include/uapi/linux/kernel-page-flags.h */
#define SEARCHES_MAX 100

/* The pagemap entry of one page; 0 when it cannot be read. */
static uint64_t entry_of(pid_t pid, uint64_t address)
{
	_cleanup_close_ int fd = proc_open(pid, "pagemap", O_RDONLY);
	uint64_t entry = 0;

	return fd >= 0 && pagemap_read(fd, address, 1, &entry) == 0 ? entry : 0;
}

static bool is_ksm(uint64_t entry)
{
	_cleanup_close_ int fd = open("/proc/kpageflags", O_RDONLY | O_CLOEXEC);
	uint64_t frame = entry & FRAME_MASK, flags = 0;

	return frame && fd >= 0 && fd_read_all(fd, &flags, sizeof(flags), frame * sizeof(flags)) == 0 &&
	       flags & (UINT64_C(1) << KPF_KSM);
}

static pid_t parent_of(pid_t pid)
{
	uint64_t parent;

	return proc_status_read(pid, "PPid", 10, &parent) < 0 ? 0 : (pid_t)parent;
}

/* Fork leaves pages at their addresses. Without the right to see page frames only parent and children are believed. */
static bool shares_page(const struct explainer *explainer, pid_t pid, uint64_t address, uint64_t entry)
{
	pid_t own = explainer->target->pid;
	/* One that has the same memory shares no page with itself. */
	bool same = pid == own || syscall(SYS_kcmp, own, pid, KCMP_VM, 0, 0) == 0;
	uint64_t theirs = same ? 0 : entry_of(pid, address);

	if (!(theirs & PAGEMAP_PRESENT))
		return false;
	if (entry & FRAME_MASK)
		return (theirs & FRAME_MASK) == (entry & FRAME_MASK);
	return !(theirs & PAGEMAP_EXCLUSIVE) && (parent_of(pid) == own || parent_of(own) == pid);
}

static pid_t find_sharer(struct explainer *explainer, uint64_t address, uint64_t entry)
{
	_cleanup_closedir_ DIR *processes = NULL;

	if (explainer->sharer && shares_page(explainer, explainer->sharer, address, entry))
		return explainer->sharer;
	if (++explainer->searches > SEARCHES_MAX)
		return 0;
	processes = processes_open();
	for (pid_t pid; processes && (pid = tasks_next(processes)) > 0;)
		if (shares_page(explainer, pid, address, entry))
			return explainer->sharer = pid;
	return 0;
}

static const char *comm_of(pid_t pid, char name[PROC_NAME])
{
	return proc_name_read(pid, name) < 0 ? "?" : text_make_safe(name);
}

static pid_t explain_shared(struct explainer *explainer, uint64_t address, uint64_t entry, struct error *why)
{
	pid_t sharer = find_sharer(explainer, address, entry);
	char name[PROC_NAME], text[120];

	if (!sharer) {
		error_set(why, -EBUSY, "the pages are shared with another process, which could not be found",
			  "look for relatives of the process that forked from it", "move pages");
		return 0;
	}
	snprintf(text, sizeof(text), "the pages are shared with process %d (%s) since a fork", sharer,
		 comm_of(sharer, name));
	error_set(why, -EBUSY, text, "wait until that process has ended or replaced itself, then --make-exclusive",
		  "move pages");
	return sharer;
}

static pid_t explain_busy(struct explainer *explainer, const struct move_failure *failure, struct error *why)
{
	uint64_t entry = entry_of(explainer->target->pid, failure->source.start);

	if (failure->rule) {
		error_set(why, -EBUSY, failure->rule, NULL, "move pages");
		return 0;
	}
	if (is_ksm(entry)) {
		error_set(why, -EBUSY, "the pages are merged with equal ones (KSM)",
			  "switch KSM off for the process (PR_SET_MEMORY_MERGE, MADV_UNMERGEABLE)", "move pages");
		return 0;
	}
	if (entry & PAGEMAP_PRESENT && !(entry & PAGEMAP_EXCLUSIVE))
		return explain_shared(explainer, failure->source.start, entry, why);
	if (entry & PAGEMAP_SWAPPED)
		error_set(why, -EBUSY, "the pages are in swap and not marked exclusive",
			  "let the process touch them first", "move pages");
	else if (explainer->made_exclusive)
		error_set(why, -EBUSY, "the pages are pinned: a device or the kernel uses them",
			  "wait until its input and output is done; see also registered io_uring buffers and RDMA",
			  "move pages");
	else
		error_set(why, -EBUSY,
			  "the pages are mapped by this process only, but not marked exclusive (it has forked), or "
			  "pinned",
			  "use --make-exclusive", "move pages");
	return 0;
}

static void explain_invalid(const struct move_failure *failure, struct error *why)
{
	const char *rule = failure->rule ? failure->rule : "the kernel refuses these two mappings";
	bool by_source = strstr(rule, "the source") && !strstr(rule, "the destination") && !strstr(rule, "different");

	error_set(why, -EINVAL, rule,
		  by_source ? "only private anonymous writable memory can be moved"
			    : "let --dst be private anonymous memory with the access rights and locks of the source",
		  "move pages");
}

static void explain_plain(const struct explainer *explainer, int code, struct error *why)
{
	static const char lost[] = "what lies there would be lost: let the program discard it first";
	static const struct error_cause causes[] = {
		{-ENOENT, .why = "no page is there: never touched, or discarded", .hint = "use --allow-src-holes"},
		{-EEXIST, .why = "the destination has pages already", .hint = lost},
		{-EAGAIN, .why = "the kernel kept asking to try again", .hint = "try again"},
		{-EFAULT, .why = "the page is a guard page or poisoned"},
		{-EINTR, .why = "interrupted before these pages were moved"},
		{0},
	};

	if (code == -EEXIST && explainer->reverse)
		error_set(why, code, "the program has touched these pages since they were moved away", lost,
			  "move pages");
	else
		error_explain(why, causes, code, "move pages");
}

json_t *explain_failure(struct explainer *explainer, const struct move_failure *failure)
{
	struct error why = {0};
	struct region region = failure->source;
	pid_t sharer = 0;
	json_t *record;

	if (failure->code == -EBUSY)
		sharer = explain_busy(explainer, failure, &why);
	else if (failure->code == -EINVAL)
		explain_invalid(failure, &why);
	else
		explain_plain(explainer, failure->code, &why);
	record = error_record(explainer->method == MOVE_UFFD ? "UFFDIO_MOVE" : "mremap", &why);
	if (!record)
		return NULL;
	report_number(record, "pid", (uint64_t)explainer->target->pid);
	report_number(record, "starttime", explainer->target->starttime);
	json_object_set_new(record, "start", report_address(region.start));
	json_object_set_new(record, "end", report_address(region.end));
	report_number(record, "bytes", region_bytes(region));
	if (failure->destination)
		json_object_set_new(record, "dst", report_address(failure->destination));
	if (sharer)
		report_number(record, "shared_with", (uint64_t)sharer);
	return record;
}
