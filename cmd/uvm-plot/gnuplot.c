/* SPDX-License-Identifier: MIT */
/* gnuplot(1): a script in, a picture out. */
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "plot.h"
#include "report/output.h"

#define NOT_FOUND 127

/* The script as a file without a name, to be read from its beginning. Returns a descriptor or -errno. */
static int script_file(const char *script, size_t bytes)
{
	int fd = memfd_create("uvm-plot", MFD_CLOEXEC);
	int rc = fd < 0 ? -errno : fd_write_all(fd, script, bytes, 0);

	if (rc < 0)
		cleanup_close(&fd);
	return rc < 0 ? rc : fd;
}

/* It reads no file of the user's (-d), and its picture goes to its standard output. Returns its exit code or -errno. */
static int execute_gnuplot(int input)
{
	int status;
	pid_t pid = fork();

	if (pid < 0)
		return -errno;
	if (pid == 0) {
		if (dup2(input, STDIN_FILENO) >= 0)
			execlp("gnuplot", "gnuplot", "-d", (char *)NULL);
		_exit(errno == ENOENT ? NOT_FOUND : EXIT_FAILURE);
	}
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return WIFEXITED(status) ? WEXITSTATUS(status) : -EIO;
}

static int draw_script(const char *script, size_t bytes, struct error *error)
{
	_cleanup_close_ int input = script_file(script, bytes);
	int rc = input < 0 ? input : execute_gnuplot(input);

	if (rc == NOT_FOUND)
		return error_set(error, -ENOENT, "it is not installed", "install gnuplot-nox", "run gnuplot");
	if (rc)
		return error_set(error, rc < 0 ? rc : -EIO, rc < 0 ? NULL : "gnuplot failed", NULL, "draw the picture");
	return 0;
}

int gnuplot_run(const char *script, size_t bytes, const char *path, struct error *error)
{
	struct output file = {0};
	int rc = path ? output_begin(&file, path) : 0;
	int written;

	if (rc < 0)
		return error_set(error, rc, rc == -EINVAL ? "it is no file" : NULL, NULL, "write %s", path);
	rc = draw_script(script, bytes, error);
	if (rc == 0 && !path && write(STDOUT_FILENO, "\n", 1) < 0)
		return error_set(error, -errno, NULL, NULL, "write the picture");
	written = output_end(&file, rc);
	return rc == 0 && written < 0 ? error_set(error, written, NULL, NULL, "write %s", path) : rc;
}
