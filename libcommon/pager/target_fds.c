/* SPDX-License-Identifier: MIT */
/* Copies of descriptors that the target holds for us, so that they outlive every process of the session. */

#include "pager/target_fds.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "index/index.h"
#include "pager/pager.h"
#include "service/failpoint.h"

#define QUIESCED_US 200000  /* most children exec or exit before that */
#define AGAIN_US    1000000 /* after a failure */
#define HELD_PART   16      /* of the descriptors that a program may have */
#define LIMIT_LINE  "\nMax open files"

/*
 * How many of its descriptors the program may be given for its children: a few of those it may have, and none when it
 * has used up half of them itself. Those of an agent's thread are its own.
 */
static unsigned int may_hold(struct pager *pager)
{
	char text[2048];
	const char *line;
	struct stat open;
	uint64_t most;
	int directory;

	if (pager->access.holder != pager->target.pid)
		return INDEX_SPACES;
	if (target_file_read(&pager->target, "limits", text, sizeof(text)) <= 0)
		return 0;
	line = strstr(text, LIMIT_LINE);
	most = line ? strtoull(line + strlen(LIMIT_LINE), NULL, 10) : 0;
	/* Since Linux 6.2 the directory's size is their number (fs/proc/fd.c, proc_fd_getattr). */
	directory = target_proc_open(&pager->target, "fd", O_RDONLY | O_DIRECTORY);
	if (directory >= 0 && fstat(directory, &open) == 0 && (uint64_t)open.st_size > most / 2)
		most = 0;
	cleanup_close(&directory);
	return (unsigned int)min_u64(most / HELD_PART, INDEX_SPACES);
}

/* `lock` is held. */
static unsigned int count_held(const struct pager *pager)
{
	const struct index_header *header = index_header(pager->index);
	unsigned int count = header->session.target.released_count;

	for (unsigned int i = 1; i < header->spaces_there; i++)
		count += header->spaces[i].number > 0;
	return count;
}

static bool holds_less_than(struct pager *pager, unsigned int most)
{
	unsigned int count;

	pthread_mutex_lock(&pager->lock);
	count = count_held(pager);
	pthread_mutex_unlock(&pager->lock);
	return count < most;
}

/* A child that has been there for a while and is not held yet. `lock` is held. */
static bool wants_holding(const struct pager *pager, unsigned int i)
{
	const struct space *space = &pager->spaces[i];

	return space->used && !space->dead && now_us() - space->since_us > QUIESCED_US &&
	       index_header(pager->index)->spaces[i].number == 0;
}

/* What is in memory only. */
static int memory_fd(const struct pager *pager)
{
	return strchr(index_header(pager->index)->session.store.path, '/') ? pager->tiers.pool_fd
									   : pager->tiers.store_fd;
}

/* Gives the target the descriptor, unless it is there; a thread is held. Returns 0 or -errno. */
static int hold_descriptor(struct access *access, int fd, int32_t *number)
{
	int there;

	if (*number > 0)
		access->ops->fds.drop(access, *number, fd);
	there = access->ops->fds.keep(access, fd);
	*number = there < 0 ? 0 : there;
	return there < 0 ? there : 0;
}

static int hold_memory(struct pager *pager)
{
	return hold_descriptor(&pager->access, memory_fd(pager),
			       &index_header(pager->index)->session.target.store_number);
}

static int give_again(struct pager *pager)
{
	struct index_header *header = index_header(pager->index);
	int rc = 0;

	if (!strchr(header->session.store.path, '/') || pager->tiers.pool_fd >= 0 ||
	    header->session.target.store_number)
		rc = hold_memory(pager);
	if (rc == 0 && pager->tiers.seal)
		rc = hold_descriptor(&pager->access, pager->tiers.key_fd, &header->session.target.key_number);
	return rc;
}

void target_fds_note(struct pager *pager)
{
	struct index_header *header = index_header(pager->index);
	const struct access *access = &pager->access;

	header->session.target.control = access->control;
	header->session.target.uffd_number = access->number;
	header->session.target.uffd_holder = access->holder;
	header->session.target.puppet = puppet_record(&access->puppet);
}

/* A puppet that was killed had those of children; a program closes its own one by one (closefrom and its like). */
int64_t target_fds_give_all(struct pager *pager)
{
	struct index_header *header = index_header(pager->index);
	int64_t rc;

	if (pager->access.puppet.self.pid) {
		pthread_mutex_lock(&pager->lock);
		header->session.target.released_count = 0;
		for (unsigned int i = 1; i < INDEX_SPACES; i++)
			header->spaces[i].number = 0;
		header->session.target.store_number = header->session.target.key_number = 0;
		pthread_mutex_unlock(&pager->lock);
	}
	rc = pager->access.ops->fds.give(&pager->access, pager->spaces[0].uffd);
	target_fds_note(pager);
	return rc < 0 ? rc : give_again(pager);
}

int target_fds_begin(struct pager *pager, struct error *error)
{
	struct access *access = &pager->access;
	int64_t rc = access->ops->calls.begin(access, error);

	if (rc < 0)
		return (int)rc;
	target_fds_note(pager);
	rc = access->number < 0 ? target_fds_give_all(pager) : 0;
	if (rc == 0)
		return 0;
	access->ops->calls.end(access);
	return error_set(error, (int)rc, NULL, NULL, "give the session's descriptors to process %d", pager->target.pid);
}

static int while_held(struct pager *pager, int (*hold_it)(struct pager *pager), struct error *error)
{
	struct access *access = &pager->access;
	int rc = target_fds_begin(pager, error);

	if (rc < 0)
		return rc;
	rc = hold_it(pager);
	access->ops->calls.end(access);
	return rc < 0 ? error_set(error, rc, NULL, rc == -EMFILE ? "its descriptors are at their limit" : NULL,
				  "give the store to process %d", pager->target.pid)
		      : 0;
}

int target_fds_give_store(struct pager *pager, struct error *error)
{
	if (strchr(index_header(pager->index)->session.store.path, '/') && !pager->tiers.seal)
		return 0;
	return while_held(pager, give_again, error);
}

int target_fds_give_pool(struct pager *pager, struct error *error)
{
	return index_header(pager->index)->session.target.store_number ? 0 : while_held(pager, hold_memory, error);
}

/* A copy of the descriptor of a child that the target does not hold yet, or -1: none, or it may not hold more. */
static int next_child(struct pager *pager, unsigned int *space, unsigned int most)
{
	int fd = -1;

	pthread_mutex_lock(&pager->lock);
	if (count_held(pager) >= most)
		*space = INDEX_SPACES;
	for (; *space < INDEX_SPACES && fd < 0; ++*space)
		if (wants_holding(pager, *space))
			fd = dup(pager->spaces[*space].uffd);
	pthread_mutex_unlock(&pager->lock);
	--*space;
	return fd;
}

/* The target need not hold it any more. `lock` is held. */
static void release_number(struct index_header *header, int number)
{
	if (header->session.target.released_count < INDEX_SPACES)
		header->session.target.released[header->session.target.released_count++] = number;
}

/* The space may be another one's by now: the number is let go of again then. */
static void note_number(struct pager *pager, unsigned int space, int number)
{
	struct index_header *header = index_header(pager->index);

	pthread_mutex_lock(&pager->lock);
	if (wants_holding(pager, space))
		header->spaces[space].number = number;
	else
		release_number(header, number);
	pthread_mutex_unlock(&pager->lock);
}

/* The program may have closed it and opened something else under its number. */
static void let_go(struct access *access, const struct index_header *header, int number)
{
	char path[64];
	int fd = number == header->session.target.uffd_number ? -1 : access->ops->fds.take(access, number);

	if (fd < 0)
		return;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (uffd_link_is(AT_FDCWD, path) > 0)
		access->ops->fds.drop(access, number, fd);
	close(fd);
}

/* The last of those that are not needed any more; -1: there is none. */
static int take_released(struct pager *pager)
{
	struct index_header *header = index_header(pager->index);
	int number = -1;

	pthread_mutex_lock(&pager->lock);
	if (header->session.target.released_count)
		number = header->session.target.released[--header->session.target.released_count];
	pthread_mutex_unlock(&pager->lock);
	return number;
}

static void let_go_released(struct pager *pager)
{
	for (int number; (number = take_released(pager)) >= 0;)
		let_go(&pager->access, index_header(pager->index), number);
}

/* Until there is another one, nothing of the session outlives its processes. */
static bool has_lost_puppet(const struct pager *pager)
{
	const struct target *puppet = &pager->access.puppet.self;

	if (pager->access.method != ACCESS_PUPPET || (puppet->pid && target_alive(puppet)))
		return false;
	return target_alive(&pager->target) && uffd_alive(pager->spaces[0].uffd);
}

void target_fds_give_children(struct pager *pager)
{
	struct access *access = &pager->access;
	struct error ignored = {0};
	unsigned int space = 1;
	unsigned int most = 0;
	int fd = -1;

	if (!access->ops || pager->spaces[0].dead || now_us() < pager->supervision.held_again_us)
		return;
	fd = next_child(pager, &space, INDEX_SPACES);
	if (fd >= 0) {
		most = may_hold(pager);
		if (!holds_less_than(pager, most)) {
			pager->supervision.held_again_us = now_us() + AGAIN_US;
			cleanup_close(&fd);
		}
	}
	if (fd < 0 && !index_header(pager->index)->session.target.released_count && !has_lost_puppet(pager))
		return;
	if (target_fds_begin(pager, &ignored) < 0) {
		pager->supervision.held_again_us = now_us() + AGAIN_US;
		cleanup_close(&fd);
		return;
	}
	for (; fd >= 0; fd = next_child(pager, &space, most)) {
		int number = access->ops->fds.keep(access, fd);

		close(fd);
		if (number < 0) {
			pager->supervision.held_again_us = now_us() + AGAIN_US;
			break;
		}
		failpoint("held");
		note_number(pager, space, number);
	}
	let_go_released(pager);
	access->ops->calls.end(access);
}

/* Whether the index knows that the target holds it. `lock` is held. */
static bool is_noted(const struct index_header *header, int number)
{
	for (unsigned int i = 1; i < header->spaces_there; i++)
		if (header->spaces[i].number == number)
			return true;
	for (unsigned int i = 0; i < header->session.target.released_count; i++)
		if (header->session.target.released[i] == number)
			return true;
	return number == header->session.target.uffd_number;
}

/* `lock` is held. */
static bool is_of_child(const struct pager *pager, int fd)
{
	for (unsigned int i = 1; i < INDEX_SPACES; i++)
		if (pager->spaces[i].used && !pager->spaces[i].dead &&
		    syscall(SYS_kcmp, getpid(), getpid(), KCMP_FILE, fd, pager->spaces[i].uffd) == 0)
			return true;
	return false;
}

/* Nobody else gives the target anything meanwhile: what is not noted is not about to be. */
static void find_lost(struct pager *pager, int number)
{
	struct index_header *header = index_header(pager->index);
	_cleanup_close_ int fd = -1;
	bool noted;

	pthread_mutex_lock(&pager->lock);
	noted = is_noted(header, number);
	pthread_mutex_unlock(&pager->lock);
	if (noted)
		return;
	fd = pager->access.ops->fds.take(&pager->access, number);
	pthread_mutex_lock(&pager->lock);
	if (fd >= 0 && is_of_child(pager, fd))
		release_number(header, number);
	pthread_mutex_unlock(&pager->lock);
}

void target_fds_find_lost(struct pager *pager)
{
	const struct target *holder = pager->access.puppet.self.pid ? &pager->access.puppet.self : &pager->target;
	_cleanup_closedir_ DIR *dir = NULL;
	char name[32];

	if (pager->access.holder == holder->pid)
		snprintf(name, sizeof(name), "fd");
	else
		snprintf(name, sizeof(name), "task/%d/fd", pager->access.holder);
	dir = pager->access.ops ? fd_directory(target_proc_open(holder, name, O_RDONLY | O_DIRECTORY)) : NULL;
	for (struct dirent *entry; dir && (entry = readdir(dir));)
		if (uffd_link_is(dirfd(dir), entry->d_name) > 0)
			find_lost(pager, (int)strtol(entry->d_name, NULL, 10));
}

void target_fds_forget(struct pager *pager, unsigned int space)
{
	struct index_header *header = index_header(pager->index);
	int number = header->spaces[space].number;

	header->spaces[space].number = 0;
	if (number > 0)
		release_number(header, number);
}

void target_fds_return(struct pager *pager)
{
	struct index_header *header = index_header(pager->index);
	struct access *access = &pager->access;
	struct error ignored = {0};

	pthread_mutex_lock(&pager->lock);
	for (unsigned int i = 1; i < INDEX_SPACES; i++)
		target_fds_forget(pager, i);
	pthread_mutex_unlock(&pager->lock);
	if (!header->session.target.store_number && !header->session.target.key_number &&
	    !header->session.target.released_count)
		return;
	if (!access->ops || access->ops->calls.begin(access, &ignored) < 0)
		return;
	let_go_released(pager);
	if (header->session.target.store_number)
		access->ops->fds.drop(access, header->session.target.store_number, memory_fd(pager));
	if (header->session.target.key_number)
		access->ops->fds.drop(access, header->session.target.key_number, pager->tiers.key_fd);
	header->session.target.store_number = header->session.target.key_number = 0;
	access->ops->calls.end(access);
}
