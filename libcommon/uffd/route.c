/* SPDX-License-Identifier: MIT */
/* Finding out which route to a userfaultfd works, and what refuses the others. */
#include "uffd/route.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/rights.h"
#include "uffd/guard.h"
#include "uffd/uapi.h"

#define SYSCTL "/proc/sys/vm/unprivileged_userfaultfd"

int uffd_sysctl(void)
{
	uint64_t value;
	int rc = fd_read_number_at(AT_FDCWD, SYSCTL, 10, &value);

	return rc == 0 ? (int)value : rc == -ENOENT ? 1 : -EIO;
}

const char *uffd_route_name(enum uffd_route route)
{
	static const char *const names[] = {"syscall", "syscall_user_mode_only", "device"};

	return names[route];
}

bool uffd_route_kernel_faults(enum uffd_route route)
{
	return route != UFFD_ROUTE_USER_MODE_ONLY;
}

static int open_and_close(const void *route)
{
	_cleanup_close_ int fd = uffd_open(*(const enum uffd_route *)route);

	return fd < 0 ? fd : 0;
}

int uffd_route_try(enum uffd_route route)
{
	return guard_call(open_and_close, &route);
}

enum uffd_route uffd_route_choose(const int codes[UFFD_ROUTES])
{
	static const enum uffd_route order[] = {UFFD_ROUTE_DEVICE, UFFD_ROUTE_SYSCALL, UFFD_ROUTE_USER_MODE_ONLY};

	for (size_t i = 0; i < ARRAY_SIZE(order); i++)
		if (!codes[order[i]])
			return order[i];
	return UFFD_ROUTES;
}

static int explain_filter(int code, struct error *error)
{
	return error_set(error, code, "a seccomp filter, or a security module, refuses it",
			 "allow userfaultfd in the seccomp profile of the container or service", "open a userfaultfd");
}

/* The device's number is given out at boot; /proc/misc tells it. */
static int explain_no_device(int code, struct error *error)
{
	_cleanup_fclose_ FILE *misc = fopen("/proc/misc", "re");
	char hint[100];
	unsigned int number;
	char name[32];

	while (misc && fscanf(misc, "%u %31s", &number, name) == 2)
		if (!strcmp(name, "userfaultfd")) {
			snprintf(hint, sizeof(hint),
				 "make it, or pass it into the container: mknod " UFFD_DEVICE " c 10 %u", number);
			return error_set(error, code, "there is no " UFFD_DEVICE, hint, "open " UFFD_DEVICE);
		}
	return error_set(error, code, "this kernel does not have it", "run Linux 6.1 or newer with CONFIG_USERFAULTFD",
			 "open " UFFD_DEVICE);
}

static int explain_device(int code, struct error *error)
{
	static const char hint[] =
		"let this user read and write it: its mode, its group, or setfacl -m u:NAME:rw " UFFD_DEVICE;
	struct stat st;
	char why[100];

	if (code == -ENOENT || stat(UFFD_DEVICE, &st))
		return explain_no_device(code, error);
	if (!access(UFFD_DEVICE, R_OK | W_OK))
		return code == -EACCES || code == -ENXIO
			       ? error_set(error, code, "devices cannot be opened on the file system it is on",
					   "mount it without nodev", "open " UFFD_DEVICE)
			       : explain_filter(code, error);
	if (code == -EACCES) {
		snprintf(why, sizeof(why), "its mode is %04o, its owner %u, its group %u", st.st_mode & 07777,
			 st.st_uid, st.st_gid);
		return error_set(error, code, why, hint, "open " UFFD_DEVICE);
	}
	return error_set(error, code, "the device controller of a control group, or a security module, refuses it",
			 "allow the device in the container's or the service's settings", "open " UFFD_DEVICE);
}

static int explain_syscall(int code, struct error *error)
{
	static const char hint[] =
		"set vm.unprivileged_userfaultfd=1, run as root or with CAP_SYS_PTRACE, or use " UFFD_DEVICE;

	/* A filter that refuses the call refuses it in user mode as well; the setting does not. */
	if (uffd_route_try(UFFD_ROUTE_USER_MODE_ONLY) || uffd_sysctl() == 1)
		return explain_filter(code, error);
	if (rights_capable(CAP_SYS_PTRACE) && rights_in_user_namespace())
		return error_set(
			error, code,
			"vm.unprivileged_userfaultfd is 0, and CAP_SYS_PTRACE of a user namespace does not count", hint,
			"call userfaultfd(2)");
	if (rights_capable(CAP_SYS_PTRACE))
		return explain_filter(code, error);
	return error_set(error, code, "vm.unprivileged_userfaultfd is 0 and CAP_SYS_PTRACE is missing", hint,
			 "call userfaultfd(2)");
}

int uffd_route_explain(enum uffd_route route, int code, struct error *error)
{
	if (code >= 0)
		return 0;
	if (code == -EMFILE || code == -ENFILE || code == -ENOMEM)
		return error_set(error, code, NULL, NULL, "open a userfaultfd");
	if (route == UFFD_ROUTE_DEVICE)
		return explain_device(code, error);
	if (code == -EINVAL && route == UFFD_ROUTE_USER_MODE_ONLY)
		return error_set(error, code, "this kernel does not know UFFD_USER_MODE_ONLY",
				 "run Linux 5.11 or newer", "call userfaultfd(2)");
	if (code == -ENOSYS && !rights_under_seccomp())
		return error_set(error, code, "this kernel is built without userfaultfd",
				 "run one built with CONFIG_USERFAULTFD", "call userfaultfd(2)");
	if (code != -EPERM || route == UFFD_ROUTE_USER_MODE_ONLY)
		return explain_filter(code, error);
	return explain_syscall(code, error);
}
