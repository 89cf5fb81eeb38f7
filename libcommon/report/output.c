/* SPDX-License-Identifier: MIT */
#include "report/output.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdio_ext.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"

/* "DIR/.NAME.XXXXXX": node_exporter reads only what ends in .prom. */
static char *draft_path(const char *path)
{
	const char *slash = strrchr(path, '/');
	char *draft;

	if (asprintf(&draft, "%.*s.%s.XXXXXX", slash ? (int)(slash - path) + 1 : 0, path, slash ? slash + 1 : path) < 0)
		return NULL;
	return draft;
}

/* Sends standard output to a new file at `draft`. Returns 0, or -errno with no file there. */
static int redirect_output(char *draft, int *saved)
{
	mode_t mask = umask(0);
	_cleanup_close_ int fd = mkostemp(draft, O_CLOEXEC);
	_cleanup_close_ int before = -1;
	int rc;

	umask(mask);
	if (fd < 0)
		return -errno;
	fflush(stdout);
	before = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
	if (before >= 0 && fchmod(fd, 0666 & ~mask) == 0 && dup2(fd, STDOUT_FILENO) >= 0) {
		*saved = steal_fd(&before);
		return 0;
	}
	rc = -errno;
	unlink(draft);
	return rc;
}

int output_begin(struct output *output, const char *path)
{
	struct stat there;
	int rc;

	*output = (struct output){.saved = -1};
	if (stat(path, &there) == 0 && !S_ISREG(there.st_mode))
		return -EINVAL;
	output->draft = draft_path(path);
	rc = output->draft ? redirect_output(output->draft, &output->saved) : -ENOMEM;
	if (rc == 0)
		output->path = path;
	else
		free(output->draft);
	return rc;
}

int output_end(struct output *output, int failed)
{
	int rc = failed;

	if (!output->path)
		return 0;
	if (!rc && (fflush(stdout) || fsync(STDOUT_FILENO) < 0))
		rc = -errno;
	if (rc) { /* what could not be written is not for what comes next */
		__fpurge(stdout);
		clearerr(stdout);
	}
	dup2(output->saved, STDOUT_FILENO);
	close(output->saved);
	if (!rc && rename(output->draft, output->path) < 0)
		rc = -errno;
	if (rc)
		unlink(output->draft);
	free(output->draft);
	*output = (struct output){.saved = -1};
	return rc;
}
