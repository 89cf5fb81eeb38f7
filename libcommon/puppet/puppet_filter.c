/* SPDX-License-Identifier: MIT */
/* The seccomp filter of a puppet: memory, userfaultfds, and descriptors that are handed over. */
#include "puppet/puppet_filter.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/prctl.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/filter.h"

#define UFFD_TYPE 0xAA /* of its ioctls: include/uapi/linux/userfaultfd.h */

static const int plain[] = {
	SCMP_SYS(close),          SCMP_SYS(exit_group), SCMP_SYS(getpid),      SCMP_SYS(madvise),
	SCMP_SYS(mlock),          SCMP_SYS(mprotect),   SCMP_SYS(munlock),     SCMP_SYS(munmap),
	SCMP_SYS(mremap),         SCMP_SYS(epoll_wait), SCMP_SYS(recvmsg),     SCMP_SYS(restart_syscall),
	SCMP_SYS(rt_sigprocmask), SCMP_SYS(sendmsg),    SCMP_SYS(userfaultfd),
};

static int add_rules(scmp_filter_ctx context, bool maps_files)
{
	const struct scmp_arg_cmp anonymous = SCMP_A3(SCMP_CMP_MASKED_EQ, MAP_ANONYMOUS, MAP_ANONYMOUS);
	const struct scmp_arg_cmp of_uffd = SCMP_A1(SCMP_CMP_MASKED_EQ, 0xff00, UFFD_TYPE << 8);
	int rc = 0;

	for (size_t i = 0; i < ARRAY_SIZE(plain) && rc == 0; i++)
		rc = seccomp_rule_add(context, SCMP_ACT_ALLOW, plain[i], 0);
	if (rc == 0)
		rc = seccomp_rule_add(context, SCMP_ACT_ALLOW, SCMP_SYS(mmap), maps_files ? 0 : 1, anonymous);
	if (rc == 0)
		rc = seccomp_rule_add(context, SCMP_ACT_ALLOW, SCMP_SYS(ioctl), 1, of_uffd);
	if (rc == 0)
		rc = seccomp_rule_add(context, SCMP_ACT_ALLOW, SCMP_SYS(fcntl), 1,
				      SCMP_A1(SCMP_CMP_EQ, F_DUPFD_CLOEXEC, 0));
	if (rc == 0)
		rc = seccomp_rule_add(context, SCMP_ACT_ALLOW, SCMP_SYS(socketpair), 1,
				      SCMP_A0(SCMP_CMP_EQ, AF_UNIX, 0));
	if (rc == 0)
		rc = seccomp_rule_add(context, SCMP_ACT_ALLOW, SCMP_SYS(prctl), 1, SCMP_A0(SCMP_CMP_EQ, PR_SET_VMA, 0));
	return rc;
}

int puppet_filter(struct sock_fprog *program, bool maps_files)
{
	scmp_filter_ctx context = seccomp_init(SCMP_ACT_ERRNO(EPERM));
	int rc = context ? add_rules(context, maps_files) : -ENOMEM;

	*program = (struct sock_fprog){0};
	if (rc == 0)
		rc = filter_program(context, program);
	if (context)
		seccomp_release(context);
	return rc;
}
