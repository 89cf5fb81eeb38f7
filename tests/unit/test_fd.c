/* SPDX-License-Identifier: MIT */
/* Reading and writing all, descriptors that travel, and pidfds. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/pidfd.h"

static void what_is_written_is_read_at_its_offset(void **state)
{
	_cleanup_close_ int fd = memfd_create("fd", MFD_CLOEXEC);
	char text[8] = "";

	(void)state;
	assert_int_equal(fd_write_all(fd, "abcdef", 6, 2), 0);
	assert_int_equal(fd_read_all(fd, text, 4, 3), 0);
	assert_string_equal(text, "bcde");
	assert_int_equal(fd_read_all(fd, text, 4, 5), -ENODATA);
	assert_int_equal(fd_read_up_to(fd, text, 4, 5), 3);
	assert_int_equal(fd_read_up_to(fd, text, 4, 100), 0);
	assert_int_equal(fd_read_all(fd, text, 0, 100), 0);
}

static void a_descriptor_that_cannot_be_used_tells_why(void **state)
{
	char text[8] = "old";

	(void)state;
	assert_int_equal(fd_read_all(-1, text, 1, 0), -EBADF);
	assert_int_equal(fd_write_all(-1, text, 1, 0), -EBADF);
	assert_int_equal(fd_read_text(-1, text, sizeof(text)), -EBADF);
	assert_string_equal(text, "");
	strcpy(text, "old"); /* NOLINT(clang-analyzer-security.insecureAPI.strcpy) */
	assert_int_equal(fd_read_text_at(AT_FDCWD, "/nowhere/at/all", text, sizeof(text)), -ENOENT);
	assert_string_equal(text, "");
}

static void a_text_comes_whole_from_a_pipe_that_gives_it_in_pieces(void **state)
{
	char text[64];
	int ends[2];
	pid_t child;

	(void)state;
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	child = fork();
	if (child == 0) {
		for (int i = 0; i < 5; i++)
			if (write(ends[1], "piece ", 6) != 6)
				_exit(1);
		_exit(0);
	}
	close(ends[1]);
	assert_int_equal(fd_read_text(ends[0], text, sizeof(text)), 30);
	assert_string_equal(text, "piece piece piece piece piece ");
	close(ends[0]);
	waitpid(child, NULL, 0);
}

static void a_text_is_cut_to_what_there_is_room_for(void **state)
{
	_cleanup_close_ int fd = memfd_create("fd", MFD_CLOEXEC);
	char text[4];

	(void)state;
	assert_int_equal(fd_write_all(fd, "abcdef", 6, 0), 0);
	assert_int_equal(fd_read_text(fd, text, sizeof(text)), 3);
	assert_string_equal(text, "abc");
}

static int file_of(const char *text)
{
	int fd = memfd_create("fd", MFD_CLOEXEC);

	assert_int_equal(fd_write_all(fd, text, strlen(text), 0), 0);
	return fd;
}

static void the_number_of_a_field_is_found_behind_lines_of_any_length(void **state)
{
	static const char tail[] = "\nHere:\t17 kB\nHex: 1f\nNone:\tx\nLast: 18446744073709551615";
	static const size_t lengths[] = {0, 1, 4000, 4070, 4079, 4080, 4081, 4090, 4095, 4096, 4100, 100000};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(lengths); i++) {
		_cleanup_free_ char *text = malloc(lengths[i] + sizeof(tail));
		_cleanup_close_ int fd = -1;
		uint64_t number = 0;

		memset(text, 'x', lengths[i]);
		memcpy(text + lengths[i], tail, sizeof(tail));
		fd = file_of(text);
		assert_int_equal(fd_find_number(fd, "Here", 10, &number), 0);
		assert_int_equal(number, 17);
		lseek(fd, 0, SEEK_SET);
		assert_int_equal(fd_find_number(fd, "Hex", 16, &number), 0);
		assert_int_equal(number, 0x1f);
		lseek(fd, 0, SEEK_SET);
		assert_int_equal(fd_find_number(fd, "Last", 10, &number), 0);
		assert_true(number == UINT64_MAX);
		lseek(fd, 0, SEEK_SET);
		assert_int_equal(fd_find_number(fd, "ere", 10, &number), -ENOENT);
		lseek(fd, 0, SEEK_SET);
		assert_int_equal(fd_find_number(fd, "Nowhere", 10, &number), -ENOENT);
		lseek(fd, 0, SEEK_SET);
		assert_int_equal(fd_find_number(fd, "None", 10, &number), -ENOENT);
	}
}

static void a_file_that_begins_with_no_number_has_none(void **state)
{
	uint64_t number = 7;

	(void)state;
	assert_int_equal(fd_read_number_at(AT_FDCWD, "/proc/self/comm", 10, &number), -ENOENT);
	assert_int_equal(fd_read_number_at(AT_FDCWD, "/nowhere/at/all", 10, &number), -ENOENT);
	assert_int_equal(number, 7);
	assert_int_equal(fd_read_number_at(AT_FDCWD, "/proc/sys/kernel/pid_max", 10, &number), 0);
	assert_true(number > 7);
}

static void streams_and_folders_take_their_descriptor(void **state)
{
	int file = file_of("text");
	FILE *stream = fd_stream(file);
	DIR *directory = fd_directory(open("/proc/self", O_RDONLY | O_DIRECTORY | O_CLOEXEC));

	(void)state;
	assert_non_null(stream);
	assert_non_null(directory);
	fclose(stream);
	closedir(directory);
	assert_int_equal(fcntl(file, F_GETFD), -1);

	file = file_of("text");
	assert_null(fd_directory(file));
	assert_int_equal(errno, ENOTDIR);
	assert_int_equal(fcntl(file, F_GETFD), -1);
	assert_null(fd_stream(-ESRCH));
	assert_int_equal(errno, ESRCH);
}

static void send_text(int socket, const char *text, int fd)
{
	struct iovec part = {.iov_base = (void *)text, .iov_len = strlen(text)};

	assert_int_equal(fd_send(socket, &part, 1, fd, 0), 0);
}

static void a_descriptor_travels_with_a_message(void **state)
{
	int pair[2], sent = memfd_create("fd", MFD_CLOEXEC), came[2];
	char text[8] = "";

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	assert_int_equal(fd_write_all(sent, "there", 5, 0), 0);
	send_text(pair[0], "one", sent);
	send_text(pair[0], "none", -1);
	close(sent);

	assert_int_equal(fd_receive(pair[1], text, sizeof(text), came, 2, 0), 3);
	assert_true(came[0] >= 0);
	assert_int_equal(came[1], -1);
	assert_int_equal(fcntl(came[0], F_GETFD), FD_CLOEXEC);
	assert_int_equal(fd_read_all(came[0], text, 5, 0), 0);
	assert_string_equal(text, "there");
	close(came[0]);

	assert_int_equal(fd_receive(pair[1], text, sizeof(text), came, 1, 0), 4);
	assert_int_equal(came[0], -1);
	assert_int_equal(fd_receive(pair[1], text, sizeof(text), came, 1, MSG_DONTWAIT), -EAGAIN);
	close(pair[0]);
	assert_int_equal(fd_receive(pair[1], text, sizeof(text), came, 1, 0), 0);
	close(pair[1]);
}

static void sending_where_nobody_reads_is_an_error_and_no_signal(void **state)
{
	int pair[2];
	struct iovec part = {.iov_base = "x", .iov_len = 1};

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	close(pair[1]);
	assert_int_equal(fd_send(pair[0], &part, 1, -1, 0), -EPIPE);
	close(pair[0]);
}

static void a_pidfd_tells_of_the_end_of_its_process(void **state)
{
	pid_t child = fork();
	_cleanup_close_ int pidfd = -1;

	(void)state;
	if (child == 0)
		for (;;)
			pause();
	pidfd = pidfd_of(child);
	assert_true(pidfd >= 0);
	assert_false(pidfd_ends(pidfd, 0));
	assert_int_equal(pidfd_signal(pidfd, SIGKILL), 0);
	assert_true(pidfd_ends(pidfd, 10000));
	waitpid(child, NULL, 0);
	assert_int_equal(pidfd_signal(pidfd, SIGKILL), -ESRCH);
	assert_int_equal(pidfd_of(child), -ESRCH);
}

static void a_descriptor_is_taken_out_of_a_process(void **state)
{
	_cleanup_close_ int self = pidfd_of(getpid());
	_cleanup_close_ int fd = memfd_create("fd", MFD_CLOEXEC);
	_cleanup_close_ int copy = pidfd_take(self, fd);
	char text[4] = "";

	(void)state;
	assert_true(copy >= 0 && copy != fd);
	assert_int_equal(fd_write_all(fd, "abc", 3, 0), 0);
	assert_int_equal(fd_read_all(copy, text, 3, 0), 0);
	assert_string_equal(text, "abc");
	assert_int_equal(pidfd_take(self, 1000000), -EBADF);
	assert_int_equal(pidfd_take(-1, fd), -EBADF);
}

/* The numbers that are open of the first ten behind `first`, as bits. */
static int open_behind(int first)
{
	int found = 0;

	for (int i = 0; i < 10; i++)
		found |= (fcntl(first + i, F_GETFD) >= 0) << i;
	return found;
}

static void all_descriptors_are_closed_but_those_that_are_named(void **state)
{
	const int first = 100;
	int status = 0;
	pid_t child = fork();

	(void)state;
	if (child == 0) {
		int kept[] = {first + 7, -1, 2, first + 3, first + 3, first + 4};

		for (int i = 0; i < 10; i++)
			dup2(2, first + i);
		fd_close_others(kept, ARRAY_SIZE(kept));
		_exit(open_behind(first) == (1 << 3 | 1 << 4 | 1 << 7) && fcntl(1, F_GETFD) < 0 ? 0 : 1);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_written_is_read_at_its_offset),
		cmocka_unit_test(a_descriptor_that_cannot_be_used_tells_why),
		cmocka_unit_test(a_text_comes_whole_from_a_pipe_that_gives_it_in_pieces),
		cmocka_unit_test(a_text_is_cut_to_what_there_is_room_for),
		cmocka_unit_test(the_number_of_a_field_is_found_behind_lines_of_any_length),
		cmocka_unit_test(a_file_that_begins_with_no_number_has_none),
		cmocka_unit_test(streams_and_folders_take_their_descriptor),
		cmocka_unit_test(a_descriptor_travels_with_a_message),
		cmocka_unit_test(sending_where_nobody_reads_is_an_error_and_no_signal),
		cmocka_unit_test(all_descriptors_are_closed_but_those_that_are_named),
		cmocka_unit_test(a_pidfd_tells_of_the_end_of_its_process),
		cmocka_unit_test(a_descriptor_is_taken_out_of_a_process),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
