/* SPDX-License-Identifier: MIT */
/*
 * Encrypting records, and the key of a session: in memory only, shared by all processes that serve it one after the
 * other.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SEAL_BYTES 16 /* by which a record grows */

struct seal;

/*
 * Makes a random key in memory of its own. Returns a descriptor (close-on-exec) that opens it in any process that has
 * it, for as long as one has; -errno otherwise. Where the kernel has memfd_secret(2) (Linux 5.14, and not disabled)
 * nobody can read it from outside, and it is never swapped; elsewhere it is a memfd, locked in memory by those who have
 * opened it.
 */
int seal_new(void);

/*
 * Maps the key behind a descriptor (borrowed, not needed any more afterwards), locked and kept out of core dumps. The
 * mapping is shared with children. Returns 0, -EBADMSG when there is no key of this version, -EAGAIN or -ENOMEM when
 * memory cannot be locked (RLIMIT_MEMLOCK).
 */
int seal_open(struct seal **seal, int fd);
void seal_close(struct seal *seal);

/* The key is gone, for everybody who has it open: what was sealed with it cannot be read any more. */
void seal_wipe(struct seal *seal);

/* Whether not even another process of root can read the key. */
bool seal_secret(const struct seal *seal);

/* So many numbers in a row, of which none is ever given out again. Returns the first. Thread safe. */
uint64_t seal_numbers(struct seal *seal, unsigned int count);

/*
 * Encrypts `size` bytes into record, of size + SEAL_BYTES (data and record may be the same place): AES-256-GCM where
 * the processor has instructions for it, otherwise XChaCha20-Poly1305, both of libsodium. `identity` is bound to it and
 * has to be given again, as `number`, of seal_numbers, which is for this record alone. Thread safe; cannot fail.
 */
void seal_encrypt(const struct seal *seal, const void *data, size_t size, const void *identity, size_t identity_size,
		  uint64_t number, void *record);

/*
 * Decrypts a record of `length` bytes into data, of length - SEAL_BYTES (may be the record's own place). Returns 0, or
 * -EBADMSG when it is not, bit for bit, the record with this number and identity; data then holds nothing of it.
 * Allocates nothing, takes no lock.
 */
int seal_decrypt(const struct seal *seal, const void *record, size_t length, const void *identity, size_t identity_size,
		 uint64_t number, void *data);
