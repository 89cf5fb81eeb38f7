/* SPDX-License-Identifier: MIT */
/* Which processes may be touched at all. */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/size.h"
#include "proc/refusal.h"
#include "proc/stat.h"
#include "proc/target.h"
#include "proc/tracer.h"

#define SECCOMP_STRICT 1
#define OURS_US        2000000
#define OURS_LOOK_US   1000

#if defined(__x86_64__)
#define OWN_MACHINE EM_X86_64
#define OWN_NAME    "x86-64"
#elif defined(__aarch64__)
#define OWN_MACHINE EM_AARCH64
#define OWN_NAME    "aarch64"
#else
#error "x86-64 and aarch64 only"
#endif

static int check_architecture(const struct target *target, struct error *error)
{
	_cleanup_close_ int fd = target_proc_open(target, "exe", O_RDONLY);
	Elf64_Ehdr header;
	ssize_t got;

	/* A process that is ending has no program any more, before it is a zombie. */
	if (fd == -ENOENT)
		fd = -ESRCH;
	if (fd < 0)
		return refusal_to_look(target, fd, "look at", error);
	got = fd_read_up_to(fd, &header, sizeof(header), 0);
	if (got < 0)
		return error_set(error, (int)got, NULL, NULL, "look at process %d (%s)", target->pid, target->name);
	if (got < (ssize_t)sizeof(header) || memcmp(header.e_ident, ELFMAG, SELFMAG))
		return error_set(error, -EINVAL, "its program is not an ELF file", NULL, "look at process %d (%s)",
				 target->pid, target->name);
	if (header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_machine != OWN_MACHINE)
		return error_set(error, -EINVAL, "it is of another architecture or word size",
				 "only " OWN_NAME " processes can be handled here", "look at process %d (%s)",
				 target->pid, target->name);
	return 0;
}

/* One of our tools lets go after a moment; one that was killed traces until its last thread has ended. */
static int wait_for_ours(const struct target *target, uint64_t *tracer)
{
	uint64_t deadline = now_us() + OURS_US;
	int result;

	while ((result = target_status(target, "TracerPid", tracer)) == 0 && *tracer &&
	       tracer_is_ours((pid_t)*tracer) && now_us() < deadline)
		usleep(OURS_LOOK_US);
	return result;
}

static int check_tracer(const struct target *target, struct error *error)
{
	char name[PROC_NAME], why[128];
	uint64_t tracer;
	int result = wait_for_ours(target, &tracer);

	if (result)
		return error_set(error, result, NULL, NULL, "look at process %d (%s)", target->pid, target->name);
	if (!tracer)
		return 0;
	proc_name_read((pid_t)tracer, name);
	snprintf(why, sizeof(why), "it is being traced by %s (%d)", *name ? name : "a process", (int)tracer);
	return error_set(error, -EBUSY, why, "detach the tracer first", "work on process %d (%s)", target->pid,
			 target->name);
}

static int check_seccomp(const struct target *target, struct error *error)
{
	uint64_t mode;
	int result = target_status(target, "Seccomp", &mode);

	if (result == -ENOENT) /* a kernel without seccomp */
		return 0;
	if (result)
		return error_set(error, result, NULL, NULL, "look at process %d (%s)", target->pid, target->name);
	if (mode != SECCOMP_STRICT)
		return 0;
	return error_set(error, -EPERM, "it is in seccomp strict mode, which allows no system call of ours", NULL,
			 "work on process %d (%s)", target->pid, target->name);
}

int target_check_readable(const struct target *target, struct error *error)
{
	struct proc_stat stat;
	int result = proc_stat_read(target->pid, &stat);

	if (result || !target_alive(target))
		return error_set(error, result ? result : -ESRCH, "no such process", NULL, "look at process %d (%s)",
				 target->pid, target->name);
	if (proc_stat_is_kernel_thread(&stat))
		return error_set(error, -EINVAL, "it is a kernel thread and has no memory of its own", NULL,
				 "work on process %d (%s)", target->pid, target->name);
	if (target_is_puppet(target->pid))
		return error_set(error, -EINVAL, "a tool of uvmtools has put it into the memory of another process",
				 "name that process", "work on process %d (%s)", target->pid, target->name);
	if (target->pid == getpid())
		return error_set(error, -EINVAL, "that is this program itself", "name another process",
				 "work on process %d (%s)", target->pid, target->name);
	return check_architecture(target, error);
}

int target_check(const struct target *target, struct error *error)
{
	int result = target_check_readable(target, error);

	if (!result)
		result = check_tracer(target, error);
	return result ? result : check_seccomp(target, error);
}
