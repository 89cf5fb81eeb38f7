/* SPDX-License-Identifier: MIT */
/*
 * Pids of programs that a test started, one a line: marked FOLDER NAME=VALUE. Those whose program lies in a directory
 * bin below FOLDER, and that have this in their environment. Tests ask it over and over: a shell would fork for each
 * process of the machine.
 */
#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* More than the kernel allows for the arguments and the environment of a program. */
#define ENVIRONMENT ((size_t)6 << 20)

static bool is_ours(int proc, const char *pid, const char *directory)
{
	char path[32], exe[PATH_MAX];
	ssize_t length;

	snprintf(path, sizeof(path), "%.20s/exe", pid);
	length = readlinkat(proc, path, exe, sizeof(exe) - 1);
	if (length < 0)
		return false;
	exe[length] = '\0';
	length = (ssize_t)strlen(directory);
	return strncmp(exe, directory, length) == 0 && exe[length] == '/' && strstr(exe + length, "bin/") != NULL;
}

static bool has_mark(int proc, const char *pid, const char *mark, char *environment)
{
	char path[32];
	size_t length = 0;
	ssize_t got;
	bool found = false;
	int fd;

	snprintf(path, sizeof(path), "%.20s/environ", pid);
	fd = openat(proc, path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	while (length < ENVIRONMENT && (got = read(fd, environment + length, ENVIRONMENT - length)) > 0)
		length += got;
	close(fd);
	environment[length] = '\0';
	for (size_t at = 0; at < length && !found; at += strlen(environment + at) + 1)
		found = strcmp(environment + at, mark) == 0;
	return found;
}

int main(int argc, char **argv)
{
	char *environment = malloc(ENVIRONMENT + 1);
	DIR *proc = opendir("/proc");
	const struct dirent *entry;

	if (argc != 3 || !environment || !proc)
		return 1;
	while ((entry = readdir(proc)))
		if (isdigit((unsigned char)entry->d_name[0]) && is_ours(dirfd(proc), entry->d_name, argv[1]) &&
		    has_mark(dirfd(proc), entry->d_name, argv[2], environment))
			puts(entry->d_name);
	closedir(proc);
	free(environment);
	return 0;
}
