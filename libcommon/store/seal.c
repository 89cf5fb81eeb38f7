/* SPDX-License-Identifier: MIT */
/* A key in a page that several processes map, and libsodium's ciphers around it. */
#include "store/seal.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/size.h"

#define MAGIC        "uvmkey2"
#define FALLBACK     "uvmtools-key"
#define SESSION_SIZE 16
#define NONCE_SIZE   crypto_aead_xchacha20poly1305_ietf_NPUBBYTES
#define AES_SKIP     (NONCE_SIZE - crypto_aead_aes256gcm_NPUBBYTES) /* its nonces are the ends of the others */

#ifndef SYS_memfd_secret
#define SYS_memfd_secret 447 /* on every architecture */
#endif

/*
 * The shared page. A nonce is random bytes of the session, as many as the cipher's nonces have room for, followed by
 * the number of a unit. Numbers are drawn from `sealed` by an atomic addition, in memory that lies beside the key
 * itself. A worker that dies between drawing a number and using it leaves a gap; the worker that takes over maps the
 * same page and goes on behind it. No copy of the counter can be older than the key: when the one is lost so is the
 * other, and a new session has another key. So no nonce is used twice under a key.
 */
struct key_page {
	char magic[8];
	unsigned char key[crypto_aead_xchacha20poly1305_ietf_KEYBYTES];
	unsigned char session[SESSION_SIZE];
	_Atomic uint64_t sealed;
	uint64_t aes; /* the processor has instructions for it, and `schedule` is the key's */
	crypto_aead_aes256gcm_state schedule;
};

struct seal {
	struct key_page *page;
	bool secret;
};

_Static_assert(SEAL_BYTES == crypto_aead_xchacha20poly1305_ietf_ABYTES, "what a record grows by is its tag");
_Static_assert(SEAL_BYTES == crypto_aead_aes256gcm_ABYTES, "the tags of both ciphers are of one size");
_Static_assert(crypto_aead_xchacha20poly1305_ietf_KEYBYTES == crypto_aead_aes256gcm_KEYBYTES, "one key is for either");
_Static_assert(SESSION_SIZE + sizeof(uint64_t) == NONCE_SIZE, "a nonce is filled");
_Static_assert(ATOMIC_LLONG_LOCK_FREE == 2, "the counter works across processes");

/* No call of the kernel reaches memory of memfd_secret(2), read(2) no more than the others. */
static bool is_secret(int fd)
{
	char byte;

	return pread(fd, &byte, 1, 0) < 0;
}

/*
 * NULL with errno set on failure. Secret memory is locked from the start; to lock it again fails (mlock(2) would look
 * at its pages).
 */
static struct key_page *map_page(int fd)
{
	size_t bytes = page_size();
	void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	int code;

	if (at == MAP_FAILED)
		return NULL;
	if ((is_secret(fd) || mlock(at, bytes) == 0) && madvise(at, bytes, MADV_DONTDUMP) == 0)
		return at;
	code = errno;
	munmap(at, bytes);
	errno = code;
	return NULL;
}

int seal_new(void)
{
	_cleanup_close_ int fd = (int)syscall(SYS_memfd_secret, O_CLOEXEC);
	struct key_page *page;

	if (sodium_init() < 0)
		return -EIO;
	if (fd < 0)
		fd = memfd_create(FALLBACK, MFD_CLOEXEC);
	if (fd < 0 || ftruncate(fd, (off_t)page_size()) < 0)
		return -errno;
	page = map_page(fd);
	if (!page)
		return -errno;
	randombytes_buf(page->key, sizeof(page->key));
	randombytes_buf(page->session, sizeof(page->session));
	page->aes = crypto_aead_aes256gcm_is_available();
	if (page->aes)
		crypto_aead_aes256gcm_beforenm(&page->schedule, page->key);
	memcpy(page->magic, MAGIC, sizeof(page->magic));
	munmap(page, page_size());
	return steal_fd(&fd);
}

int seal_open(struct seal **seal, int fd)
{
	struct seal *new;
	struct stat st;
	int rc = 0;

	if (sodium_init() < 0)
		return -EIO;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (st.st_size < (off_t)sizeof(struct key_page))
		return -EBADMSG;
	new = calloc(1, sizeof(*new));
	if (!new)
		return -ENOMEM;
	new->secret = is_secret(fd);
	new->page = map_page(fd);
	if (!new->page)
		rc = -errno;
	else if (memcmp(new->page->magic, MAGIC, sizeof(new->page->magic)) != 0)
		rc = -EBADMSG;
	if (rc < 0) {
		seal_close(new);
		return rc;
	}
	*seal = new;
	return 0;
}

void seal_close(struct seal *seal)
{
	if (seal && seal->page)
		munmap(seal->page, page_size());
	free(seal);
}

void seal_wipe(struct seal *seal)
{
	if (seal && seal->page)
		sodium_memzero(seal->page, sizeof(*seal->page));
}

bool seal_secret(const struct seal *seal)
{
	return seal->secret;
}

static void make_nonce(const struct seal *seal, uint64_t number, unsigned char nonce[NONCE_SIZE])
{
	memcpy(nonce, seal->page->session, SESSION_SIZE);
	memcpy(nonce + SESSION_SIZE, &number, sizeof(number));
}

uint64_t seal_numbers(struct seal *seal, unsigned int count)
{
	return atomic_fetch_add(&seal->page->sealed, count) + 1;
}

void seal_encrypt(const struct seal *seal, const void *data, size_t size, const void *identity, size_t identity_size,
		  uint64_t number, void *record)
{
	unsigned char nonce[NONCE_SIZE];

	make_nonce(seal, number, nonce);
	if (seal->page->aes)
		crypto_aead_aes256gcm_encrypt_afternm(record, NULL, data, size, identity, identity_size, NULL,
						      nonce + AES_SKIP, &seal->page->schedule);
	else
		crypto_aead_xchacha20poly1305_ietf_encrypt(record, NULL, data, size, identity, identity_size, NULL,
							   nonce, seal->page->key);
}

int seal_decrypt(const struct seal *seal, const void *record, size_t length, const void *identity, size_t identity_size,
		 uint64_t number, void *data)
{
	unsigned char nonce[NONCE_SIZE];
	int rc;

	make_nonce(seal, number, nonce);
	if (seal->page->aes)
		rc = crypto_aead_aes256gcm_decrypt_afternm(data, NULL, NULL, record, length, identity, identity_size,
							   nonce + AES_SKIP, &seal->page->schedule);
	else
		rc = crypto_aead_xchacha20poly1305_ietf_decrypt(data, NULL, NULL, record, length, identity,
								identity_size, nonce, seal->page->key);
	return rc == 0 ? 0 : -EBADMSG;
}
