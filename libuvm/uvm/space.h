/* SPDX-License-Identifier: MIT */
/*
 * Address spaces as objects: mapped, cached, stacked, cloned. An AddrSpace is a window of this process's memory, or a
 * table of translations that other spaces map. uvm_space(3).
 *
 * Functions return 0 or one of the negative UVM_MEM_ values. Objects are counted: create and get functions give the
 * caller one reference, which the unref function of its kind takes back; NULL may be given to those. Every function may
 * be called from any thread.
 */
#pragma once

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#pragma GCC visibility push(default)

/* Negative error numbers, so that strerror(3) knows them too. */
enum uvm_mem_error {
	UVM_MEM_INVALID_ARGUMENT = -EINVAL,
	UVM_MEM_INVALID_STATE = -EBADFD,
	UVM_MEM_OPERATION_NOT_SUPPORTED = -EOPNOTSUPP,
	UVM_MEM_NO_MEMORY = -ENOMEM,      /* the system has no more memory, mappings or descriptors for us */
	UVM_MEM_NO_SPACE = -ENOSPC,       /* no free region is large enough */
	UVM_MEM_REGION_OCCUPIED = -EBUSY, /* something is there already */
	UVM_MEM_IO_ERROR = -EIO,          /* a Cacheable could not fill a page, or a file not be read */
};

/* "InvalidArgument" and so on, "Success" for 0, "Unknown" for anything else. */
const char *uvm_mem_error_name(int error);

/* Bytes; both bounds are inclusive. */
struct uvm_region {
	uint64_t start;
	uint64_t end;
};

struct uvm_region_with_offset {
	struct uvm_region region;
	uint64_t offset;
};

#define UVM_UNSPECIFIED_START UINT64_MAX

/* AllocFlags: of memory. */
#define UVM_ALLOC_ZERO          0x01u
#define UVM_ALLOC_INSECURE      0x02u
#define UVM_ALLOC_COMMIT        0x04u
#define UVM_ALLOC_LOCK          0x08u
#define UVM_ALLOC_NO_ZERO_LOCAL 0x10u
#define UVM_ALLOC_PARANOID      0x20u

/* AccessFlags. */
#define UVM_ACCESS_READ  0x1u
#define UVM_ACCESS_WRITE 0x2u
#define UVM_ACCESS_EXEC  0x4u

/*
 * MapFlags: with UVM_MAP_ACCESS(UVM_ACCESS_…), and one of the OVERMAP values, which are kept and returned and have no
 * other effect.
 */
#define UVM_MAP_FIXED              0x001u
#define UVM_MAP_REPLACE            0x002u
#define UVM_MAP_COPY_ON_WRITE      0x004u
#define UVM_MAP_SNAPSHOT           0x008u
#define UVM_MAP_ACCESS(access)     ((unsigned int)(access) << 4)
#define UVM_MAP_ACCESS_MASK        0x070u
#define UVM_MAP_READ               0x010u
#define UVM_MAP_WRITE              0x020u
#define UVM_MAP_EXEC               0x040u
#define UVM_MAP_OVERMAP_NONE       0x000u
#define UVM_MAP_OVERMAP_READ_ONLY  0x080u
#define UVM_MAP_OVERMAP_READ_WRITE 0x100u
#define UVM_MAP_OVERMAP_MASK       0x180u

/* CloneFlags. */
#define UVM_CLONE_REVERSE 0x1u

/* AllocFlags of an Allocator. */
#define UVM_ALLOCATOR_FIXED 0x1u

struct uvm_mappable;
struct uvm_space;
struct uvm_cacheable;
struct uvm_cache;
struct uvm_allocator;
struct uvm_alloc_handle;

/* Mappable */

/*
 * Memory of `bytes` (rounded up to pages), zero at first. `flags`: UVM_ALLOC_. INVALID_ARGUMENT (0 bytes, unknown
 * flags), NO_MEMORY (also: it cannot be committed or locked).
 */
int uvm_mappable_create_memory(uint64_t bytes, unsigned int flags, struct uvm_mappable **mappable);

/*
 * A regular file, by a descriptor that is open for reading or for both (writing is allowed as the descriptor allows
 * it); it is duplicated. Nobody may change the file through anything but mappings of this object while a copy on write
 * of it exists. INVALID_ARGUMENT (not a regular file, not readable).
 */
int uvm_mappable_create_file(int fd, struct uvm_mappable **mappable);

/* Counting. */
struct uvm_mappable *uvm_mappable_ref(struct uvm_mappable *mappable);
void uvm_mappable_unref(struct uvm_mappable *mappable);

/* Size in blocks; of a file it is the current one. INVALID_STATE (a Cache without a Cacheable), IO_ERROR. */
int uvm_mappable_get_size(struct uvm_mappable *mappable, uint64_t *blocks);

/* Bytes, a power of two. INVALID_STATE. */
int uvm_mappable_get_block_size(struct uvm_mappable *mappable, uint64_t *bytes);

/* AddrSpace */

/*
 * A space at the process level: a window of `bytes` (rounded up to pages) of this process's own addresses, nothing
 * mapped. NO_MEMORY, INVALID_ARGUMENT.
 */
int uvm_space_create(uint64_t bytes, struct uvm_space **space);

/* A stacked space: nothing but translations, for other spaces to map. NO_MEMORY. */
int uvm_space_create_stacked(struct uvm_space **space);

/* Counting. */
struct uvm_space *uvm_space_ref(struct uvm_space *space);
void uvm_space_unref(struct uvm_space *space);

/* The real addresses of a space at the process level. OPERATION_NOT_SUPPORTED: a stacked one has none. */
int uvm_space_get_window(struct uvm_space *space, struct uvm_region *window);

/* The space as an object to map, always the same one. */
int uvm_space_get_mappable(struct uvm_space *space, struct uvm_mappable **mappable);

/*
 * A copy on write of everything that is mapped now, in a new space of the same kind: same addresses when stacked, same
 * distances from the start of its window otherwise. The new space gets the copies; with UVM_CLONE_REVERSE the old one
 * does. NO_MEMORY, INVALID_ARGUMENT (unknown flags), IO_ERROR.
 */
int uvm_space_clone(struct uvm_space *space, unsigned int flags, struct uvm_space **clone);

/*
 * Maps `region` of the mappable (whole pages) at *start. See uvm_space(3) for the flags. INVALID_ARGUMENT (not aligned,
 * outside the mappable or the space, the space itself is reached through the mappable, unspecified start in a stacked
 * space, unknown flags), REGION_OCCUPIED, NO_SPACE, NO_MEMORY, INVALID_STATE (a Cache without a Cacheable), IO_ERROR.
 * Nothing is changed then.
 */
int uvm_space_map(struct uvm_space *space, struct uvm_mappable *mappable, struct uvm_region region, uint64_t *start,
		  unsigned int flags);

/* Unmaps what is mapped there; nothing need be. INVALID_ARGUMENT (not aligned, outside), NO_MEMORY. */
int uvm_space_unmap(struct uvm_space *space, struct uvm_region region);

/*
 * Sets access and OverMap of all pages, and makes them copy on write, or a snapshot, if asked to; never the opposite.
 * INVALID_ARGUMENT (also: a page is not mapped), NO_MEMORY, IO_ERROR.
 */
int uvm_space_set_mapflags(struct uvm_space *space, struct uvm_region region, unsigned int flags);

/*
 * Access and OverMap of the first page (0 when it is not mapped), and whether all pages are mapped and have the same.
 * INVALID_ARGUMENT.
 */
int uvm_space_get_mapflags(struct uvm_space *space, struct uvm_region region, unsigned int *flags, bool *all_same);

/*
 * The one Mappable that covers the region, and its offset there; NULL when there is not one, or not in one piece. The
 * caller owns a reference. INVALID_ARGUMENT.
 */
int uvm_space_get_mapping(struct uvm_space *space, struct uvm_region region, struct uvm_mappable **mappable,
			  uint64_t *offset);

/* Bytes. */
int uvm_space_get_page_size(struct uvm_space *space, unsigned int *bytes);
int uvm_space_get_min_align(struct uvm_space *space, unsigned int *bytes);

/* Cacheable */

struct uvm_cacheable_ops {
	size_t size; /* sizeof(struct uvm_cacheable_ops) */

	/*
	 * Asks for the pages of a region, aligned to the larger of page and block. Called on a thread of the cache, one
	 * call at a time. The answer is uvm_cache_fill, _fill_zero or _fill_error for each of the pages, from any
	 * thread, now or later, in any parts, and more pages than were asked for are welcome; who answers after
	 * returning takes a reference to the cache. Anything but 0 returned is an error for all pages of the region
	 * that were not added.
	 */
	int (*fill)(void *context, struct uvm_cache *cache, struct uvm_region region);

	/* The last reference is gone. May be NULL. */
	void (*release)(void *context);
};

/* `size` in blocks of `block_size` bytes (a power of two). `ops` is copied. INVALID_ARGUMENT, NO_MEMORY. */
int uvm_cacheable_create(const struct uvm_cacheable_ops *ops, void *context, uint64_t size, uint64_t block_size,
			 struct uvm_cacheable **cacheable);

/*
 * Memory or a file as a Cacheable: filled by reading it. OPERATION_NOT_SUPPORTED for other mappables, INVALID_ARGUMENT
 * (empty), NO_MEMORY, IO_ERROR.
 */
int uvm_cacheable_create_from(struct uvm_mappable *mappable, struct uvm_cacheable **cacheable);

/* Counting; the sizes as those of a Mappable. */
struct uvm_cacheable *uvm_cacheable_ref(struct uvm_cacheable *cacheable);
void uvm_cacheable_unref(struct uvm_cacheable *cacheable);
int uvm_cacheable_get_size(struct uvm_cacheable *cacheable, uint64_t *blocks);
int uvm_cacheable_get_block_size(struct uvm_cacheable *cacheable, uint64_t *bytes);

/* Cache */

/*
 * A cache without a Cacheable: every other function returns INVALID_STATE until it has one. OPERATION_NOT_SUPPORTED (no
 * usable userfaultfd), NO_MEMORY.
 */
int uvm_cache_create(struct uvm_cache **cache);

/* Counting. */
struct uvm_cache *uvm_cache_ref(struct uvm_cache *cache);
void uvm_cache_unref(struct uvm_cache *cache);

/* The cache as an object that can only be mapped, always the same one. */
int uvm_cache_get_mappable(struct uvm_cache *cache, struct uvm_mappable **mappable);

/*
 * Gives the cache another Cacheable, or none (NULL), and empties it. INVALID_STATE (it is mapped, or pages that were
 * asked for have not come), NO_MEMORY.
 */
int uvm_cache_set_cacheable(struct uvm_cache *cache, struct uvm_cacheable *cacheable);

/* *cacheable is NULL when there is none; the caller owns a reference. */
int uvm_cache_get_cacheable(struct uvm_cache *cache, struct uvm_cacheable **cacheable);

/*
 * Adds pages: `bytes` from `data` at offset `address`, whole pages. Pages that are there already stay as they are.
 * `data` is not used after the return. INVALID_ARGUMENT, INVALID_STATE, NO_MEMORY.
 */
int uvm_cache_fill(struct uvm_cache *cache, uint64_t address, const void *data, size_t bytes);
int uvm_cache_fill_zero(struct uvm_cache *cache, struct uvm_region region);

/*
 * The pages cannot be had: who touches one gets SIGBUS, until it is filled or removed. Pages that are there stay.
 * INVALID_ARGUMENT, INVALID_STATE.
 */
int uvm_cache_fill_error(struct uvm_cache *cache, struct uvm_region region);

/*
 * Takes pages out; the next touch asks for them again. Pages that are not there are no error. INVALID_ARGUMENT,
 * INVALID_STATE, NO_MEMORY.
 */
int uvm_cache_remove(struct uvm_cache *cache, struct uvm_region region);

/*
 * Waits until every page of the region has been added, looking at one after the other. Asks for none. INVALID_ARGUMENT,
 * INVALID_STATE, IO_ERROR (a fill failed).
 */
int uvm_cache_block_on_region(struct uvm_cache *cache, struct uvm_region region);

/*
 * The same as a descriptor that becomes readable: read(2) of 8 bytes gives 1 when all pages came, 2 when one failed or
 * the cache is gone. The caller closes it, at any time. INVALID_ARGUMENT, INVALID_STATE, NO_MEMORY.
 */
int uvm_cache_region_blocker(struct uvm_cache *cache, struct uvm_region region, int *blocker);

/* Allocator, GenericAllocator, AllocHandle */

/* An allocator of numbers (addresses, offsets) without any; block size 1. NO_MEMORY. */
int uvm_alloc_create(struct uvm_allocator **allocator);

/* Counting. */
struct uvm_allocator *uvm_alloc_ref(struct uvm_allocator *allocator);
void uvm_alloc_unref(struct uvm_allocator *allocator);

/* A power of two. INVALID_ARGUMENT; INVALID_STATE after uvm_alloc_add_regions or uvm_alloc_alloc. */
int uvm_alloc_set_block_size(struct uvm_allocator *allocator, uint64_t block_size);

/* All or none of them. INVALID_ARGUMENT (not whole blocks, or one overlaps another or an earlier one), NO_MEMORY. */
int uvm_alloc_add_regions(struct uvm_allocator *allocator, const struct uvm_region *regions, size_t count);

/*
 * Allocates `length` (rounded up to blocks) in one piece: at *start if that is free, and otherwise where it fits best,
 * unless UVM_ALLOCATOR_FIXED is given. INVALID_ARGUMENT, REGION_OCCUPIED (fixed, and not free), NO_SPACE, NO_MEMORY.
 */
int uvm_alloc_alloc(struct uvm_allocator *allocator, uint64_t *start, uint64_t length, unsigned int flags,
		    struct uvm_alloc_handle **handle);

/* Counting. */
struct uvm_alloc_handle *uvm_alloc_handle_ref(struct uvm_alloc_handle *handle);

/* With the last reference everything that the handle still holds is free again. */
void uvm_alloc_handle_unref(struct uvm_alloc_handle *handle);

/* What the handle holds, in order: *count of them, of which at most `capacity` are written to `regions`. */
int uvm_alloc_handle_get_regions(struct uvm_alloc_handle *handle, struct uvm_region *regions, size_t capacity,
				 size_t *count);

/* Frees parts; all or none. INVALID_ARGUMENT (not whole blocks, not held, or overlapping), NO_MEMORY. */
int uvm_alloc_handle_free(struct uvm_alloc_handle *handle, const struct uvm_region *regions, size_t count);

#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif
