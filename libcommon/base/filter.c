/* SPDX-License-Identifier: MIT */
#include "base/filter.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/cleanup.h"

/* Every program ends so: one that does not was not written whole, which seccomp_export_bpf(3) does not tell. */
static bool is_whole(const struct sock_filter *code, size_t bytes)
{
	return bytes % sizeof(*code) == 0 && BPF_CLASS(code[bytes / sizeof(*code) - 1].code) == BPF_RET;
}

/* seccomp_export_bpf(3) writes to a descriptor only. */
int filter_program(scmp_filter_ctx filter, struct sock_fprog *program)
{
	_cleanup_close_ int fd = memfd_create("uvmtools-filter", MFD_CLOEXEC);
	_cleanup_free_ struct sock_filter *code = NULL;
	int rc = fd < 0 ? -errno : seccomp_export_bpf(filter, fd);
	off_t bytes = rc < 0 ? 0 : lseek(fd, 0, SEEK_END);

	*program = (struct sock_fprog){0};
	if (rc < 0 || bytes < (off_t)sizeof(*code))
		return rc < 0 ? rc : -EIO;
	code = malloc((size_t)bytes);
	if (!code)
		return -ENOMEM;
	if (pread(fd, code, (size_t)bytes, 0) != bytes || !is_whole(code, (size_t)bytes))
		return -EIO;
	program->len = (unsigned short)((size_t)bytes / sizeof(*code));
	program->filter = code;
	code = NULL;
	return 0;
}
