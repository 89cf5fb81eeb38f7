/* SPDX-License-Identifier: MIT */
/* A sparse file: header, table keys, page tables, clusters, lengths of their pages in the store, fill words. Tables are
 * found by a hash kept in memory. */

#include "index/index.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "base/size.h"

#define MAGIC         "uvmindex"
#define VERSION       12
#define TABLE_PAGES   512
#define TABLE_BYTES   (TABLE_PAGES * sizeof(index_entry))
#define TABLES_MAX    (UINT64_C(1) << 20) /* 2 TiB out with pages of 4 KiB */
#define CLUSTERS_MAX  (UINT64_C(1) << ENTRY_CLUSTER_BITS)
#define HEADER_BYTES  (256 * KiB)
#define KEYS_BYTES    (TABLES_MAX * sizeof(uint64_t))
#define TABLES_BYTES  (TABLES_MAX * TABLE_BYTES)
#define CLUSTER_BYTES (CLUSTERS_MAX * sizeof(struct cluster))
#define KEYS_AT       HEADER_BYTES
#define TABLES_AT     (KEYS_AT + KEYS_BYTES)
#define CLUSTERS_AT   (TABLES_AT + TABLES_BYTES)
#define UNITS_AT      (CLUSTERS_AT + CLUSTER_BYTES)
#define FILLS_AT      (UNITS_AT + CLUSTERS_MAX * CLUSTER_PAGES_MAX)
_Static_assert(STORE_UNITS_MAX == CLUSTER_PAGES_MAX, "each page of a cluster is a unit of its record");
_Static_assert(sizeof(struct index_header) <= HEADER_BYTES, "the header has outgrown its place");

/* The file is allocated in steps: a full file system is an error code then, not a SIGBUS. */
#define GROW_TABLES   8 /* and a part of what there is: a small session has a small index */
#define GROW_CLUSTERS 64
#define GROW_PART     16
#define GROW_AGAIN_US 1000000 /* after a step that did not fit */
#define EMPTY_SLOT    UINT32_MAX
#define HASH_FIRST    512 /* slots, a power of two */

/* What a space has in the index. */
struct space_count {
	uint64_t pages;
	uint32_t tables;
};

/* Numbers that were given back. */
struct free_numbers {
	uint32_t *items;
	size_t count, size;
};

struct index {
	int fd;
	unsigned char *base;
	uint64_t bytes;
	struct index_header *header;
	uint64_t *keys; /* space and table number plus one of each table; 0 for a free one */
	index_entry (*tables)[TABLE_PAGES];
	struct cluster *clusters;
	uint8_t *units; /* cluster_pages of each cluster */
	uint64_t *fills;

	uint64_t tables_allocated, clusters_allocated; /* in the file */
	uint64_t grow_again_us;                        /* not before then a whole step is tried */
	struct {
		uint32_t *slots; /* table numbers by key, linear probing */
		uint64_t size;
	} hash;
	uint16_t *live; /* entries of each table */
	struct free_numbers free_tables, free_clusters;
	uint64_t fill_page; /* page of fills[] that was allocated last, plus one */
	struct space_count *spaces;
};

struct index_header *index_header(struct index *index)
{
	return index->header;
}

static uint64_t table_span(void)
{
	return TABLE_PAGES * page_size();
}

static uint64_t key_of(unsigned int space, uint64_t address)
{
	return ((uint64_t)space << 48 | address / table_span()) + 1;
}

static uint64_t key_address(uint64_t key)
{
	return ((key - 1) & ((UINT64_C(1) << 48) - 1)) * table_span();
}

static unsigned int key_space(uint64_t key)
{
	return (unsigned int)((key - 1) >> 48);
}

static uint64_t slot_of(const struct index *index, uint64_t key)
{
	uint64_t at = (key ^ (key >> 48) * 0x9e3779b97f4a7c15) & (index->hash.size - 1);

	while (index->hash.slots[at] != EMPTY_SLOT && index->keys[index->hash.slots[at]] != key)
		at = (at + 1) & (index->hash.size - 1);
	return at;
}

static int hash_grow(struct index *index)
{
	uint32_t *old = index->hash.slots;
	uint64_t old_size = index->hash.size;

	index->hash.size = old_size ? old_size * 2 : HASH_FIRST;
	index->hash.slots = malloc(index->hash.size * sizeof(*index->hash.slots));
	if (!index->hash.slots) {
		index->hash.slots = old;
		index->hash.size = old_size;
		return -ENOMEM;
	}
	memset(index->hash.slots, 0xff, index->hash.size * sizeof(*index->hash.slots));
	for (uint64_t i = 0; i < old_size; i++)
		if (old[i] != EMPTY_SLOT)
			index->hash.slots[slot_of(index, index->keys[old[i]])] = old[i];
	free(old);
	return 0;
}

/* Linear probing's deletion: those behind move up. */
static void hash_remove(struct index *index, uint64_t at)
{
	uint64_t mask = index->hash.size - 1;

	index->hash.slots[at] = EMPTY_SLOT;
	for (uint64_t next = (at + 1) & mask; index->hash.slots[next] != EMPTY_SLOT; next = (next + 1) & mask) {
		uint32_t table = index->hash.slots[next];

		index->hash.slots[next] = EMPTY_SLOT;
		index->hash.slots[slot_of(index, index->keys[table])] = table;
	}
}

/*
 * The first write to a page of a file makes the file system do things (page_mkwrite, for ext4 a transaction) that can
 * take milliseconds: it is done where nobody waits.
 */
static void populate_range(const struct index *index, uint64_t at, uint64_t bytes)
{
	uint64_t start = round_down(at, page_size());

	madvise(index->base + start, round_up(at + bytes, page_size()) - start, MADV_POPULATE_WRITE);
}

static int allocate_range(const struct index *index, uint64_t at, uint64_t bytes)
{
	int rc = -posix_fallocate(index->fd, (off_t)at, (off_t)bytes);

	if (rc == 0)
		populate_range(index, at, bytes);
	return rc;
}

/* To how many the file grows when so many are needed. */
static uint64_t next_size(uint64_t allocated, uint64_t needed, uint64_t smallest, uint64_t most)
{
	if (needed <= allocated || allocated == most)
		return allocated;
	return min_u64(round_up(max_u64(needed, allocated + allocated / GROW_PART), smallest), most);
}

int index_room_for_space(struct index *index, unsigned int space)
{
	struct index_header *header = index->header;
	uint32_t there = header->spaces_there;
	int rc = 0;

	if (space < there)
		return 0;
	rc = allocate_range(index, offsetof(struct index_header, spaces) + there * sizeof(header->spaces[0]),
			    (space + 1 - there) * sizeof(header->spaces[0]));
	if (rc == 0)
		header->spaces_there = space + 1;
	return rc;
}

int index_room_for_unforked(struct index *index)
{
	struct index_header *header = index->header;
	int rc = header->unforked_there
			 ? 0
			 : allocate_range(index, offsetof(struct index_header, unforked), sizeof(header->unforked));

	header->unforked_there |= rc == 0;
	return rc;
}

/* How many tables a child of a space lacks that has `more` of them by then, when so many are free. */
static uint64_t missing_for_child(const struct index *index, unsigned int parent, uint64_t more, uint64_t there)
{
	uint64_t needed = index->spaces[parent].tables + more;

	return needed > there ? needed - there : 0;
}

struct index_growth index_plan(const struct index *index, uint64_t tables, uint64_t clusters)
{
	uint64_t tables_wanted = index->header->tables + tables;
	uint64_t clusters_wanted = index->header->clusters + clusters;
	uint64_t spare = missing_for_child(index, 0, tables, index->free_tables.count);

	return (struct index_growth){
		.tables_from = index->tables_allocated,
		.tables_now = next_size(index->tables_allocated, tables_wanted, GROW_TABLES, TABLES_MAX),
		.tables_to = next_size(index->tables_allocated, tables_wanted + spare, GROW_TABLES, TABLES_MAX),
		.clusters_from = index->clusters_allocated,
		.clusters_to = next_size(index->clusters_allocated, clusters_wanted, GROW_CLUSTERS, CLUSTERS_MAX),
	};
}

int index_allocate(const struct index *index, const struct index_growth *growth)
{
	uint64_t tables = growth->tables_to - growth->tables_from;
	uint64_t clusters = growth->clusters_to - growth->clusters_from;
	int rc = 0;

	if (tables)
		rc = -posix_fallocate(index->fd, (off_t)(TABLES_AT + growth->tables_from * TABLE_BYTES),
				      (off_t)(tables * TABLE_BYTES));
	if (rc == 0 && growth->tables_now > growth->tables_from)
		populate_range(index, TABLES_AT + growth->tables_from * TABLE_BYTES,
			       (growth->tables_now - growth->tables_from) * TABLE_BYTES);
	if (rc == 0 && tables)
		rc = allocate_range(index, KEYS_AT + growth->tables_from * sizeof(uint64_t), tables * sizeof(uint64_t));
	if (rc == 0 && clusters)
		rc = allocate_range(index, CLUSTERS_AT + growth->clusters_from * sizeof(struct cluster),
				    clusters * sizeof(struct cluster));
	if (rc == 0 && clusters)
		rc = allocate_range(index, UNITS_AT + growth->clusters_from * index->header->cluster_pages,
				    clusters * index->header->cluster_pages);
	return rc;
}

void index_commit(struct index *index, const struct index_growth *growth)
{
	index->tables_allocated = max_u64(index->tables_allocated, growth->tables_to);
	index->clusters_allocated = max_u64(index->clusters_allocated, growth->clusters_to);
}

/*
 * One more table, or one more cluster, in the file. A step that does not fit takes long to fail, and would be tried for
 * each page of a program that forks, while that waits: for a while only what is needed is asked for.
 */
static int grow_file(struct index *index, uint64_t tables, uint64_t clusters)
{
	struct index_growth growth = index_plan(index, tables, clusters);
	int rc = now_us() < index->grow_again_us ? -ENOSPC : index_allocate(index, &growth);

	if (rc < 0) {
		index->grow_again_us = now_us() + GROW_AGAIN_US;
		growth.tables_now = max_u64(growth.tables_from, index->header->tables + tables);
		growth.tables_to = growth.tables_now;
		growth.clusters_to = max_u64(growth.clusters_from, index->header->clusters + clusters);
		rc = index_allocate(index, &growth);
	}
	if (rc == 0)
		index_commit(index, &growth);
	return rc;
}

int index_room_for_child(struct index *index, unsigned int parent)
{
	uint64_t there = index->free_tables.count + index->tables_allocated - index->header->tables;
	uint64_t missing = missing_for_child(index, parent, 0, there);

	/* grow counts from the tables that are in use. */
	return missing ? grow_file(index, index->tables_allocated - index->header->tables + missing, 0) : 0;
}

static int64_t table_new(struct index *index, uint64_t key)
{
	uint64_t table;

	if (index->header->tables - index->free_tables.count >= index->hash.size / 2 && hash_grow(index) < 0)
		return -ENOMEM;
	if (index->free_tables.count) {
		table = index->free_tables.items[--index->free_tables.count];
	} else {
		table = index->header->tables;
		if (table >= TABLES_MAX)
			return -ENOSPC;
		if (table >= index->tables_allocated) {
			int rc = grow_file(index, 1, 0);

			if (rc < 0)
				return rc;
		}
		index->header->tables++;
	}
	memset(index->tables[table], 0, TABLE_BYTES);
	index->live[table] = 0;
	index->hash.slots[slot_of(index, key)] = (uint32_t)table;
	index->keys[table] = key;
	index->spaces[key_space(key)].tables++;
	return (int64_t)table;
}

/* slot_of compares through keys[], so the key is set last on the way in and cleared last on the way out. */
static void table_free(struct index *index, uint32_t table)
{
	hash_remove(index, slot_of(index, index->keys[table]));
	index->spaces[key_space(index->keys[table])].tables--;
	index->keys[table] = 0;
	index->free_tables.items[index->free_tables.count++] = table;
}

index_entry index_get(const struct index *index, unsigned int space, uint64_t address)
{
	uint32_t table = index->hash.slots[slot_of(index, key_of(space, address))];

	return table == EMPTY_SLOT ? ENTRY_NONE : index->tables[table][address % table_span() / page_size()];
}

int index_set(struct index *index, unsigned int space, uint64_t address, index_entry entry)
{
	uint64_t key = key_of(space, address);
	int64_t table = index->hash.slots[slot_of(index, key)];
	index_entry *place;

	if (table == EMPTY_SLOT) {
		if (entry == ENTRY_NONE)
			return 0;
		table = table_new(index, key);
		if (table < 0)
			return (int)table;
	}
	place = &index->tables[table][address % table_span() / page_size()];
	if (*place == ENTRY_NONE && entry != ENTRY_NONE) {
		index->live[table]++;
		index->spaces[space].pages++;
	} else if (*place != ENTRY_NONE && entry == ENTRY_NONE) {
		index->live[table]--;
		index->spaces[space].pages--;
	}
	*place = entry;
	if (!index->live[table])
		table_free(index, (uint32_t)table);
	return 0;
}

uint32_t index_cluster_new(struct index *index, unsigned int pages)
{
	uint64_t number;

	if (index->free_clusters.count) {
		number = index->free_clusters.items[--index->free_clusters.count];
	} else {
		number = index->header->clusters;
		if (number >= CLUSTERS_MAX)
			return 0;
		if (number >= index->clusters_allocated && grow_file(index, 0, 1) < 0)
			return 0;
		index->header->clusters++;
	}
	index->clusters[number] = (struct cluster){
		.state = CLUSTER_MOVING,
		.pages = (uint8_t)pages,
		.generation = (uint32_t)++index->header->next_generation,
	};
	return (uint32_t)number;
}

struct cluster *index_cluster(const struct index *index, uint32_t number)
{
	return &index->clusters[number];
}

void index_slot_get(const struct index *index, uint32_t number, struct store_slot *slot)
{
	const struct cluster *cluster = &index->clusters[number];

	*slot = (struct store_slot){.offset = cluster->slot.offset,
				    .number = cluster->slot.number,
				    .length = cluster->slot.length,
				    .size = cluster->slot.size};
	memcpy(slot->units, index->units + (uint64_t)number * index->header->cluster_pages,
	       index->header->cluster_pages);
}

void index_slot_set(struct index *index, uint32_t number, const struct store_slot *slot)
{
	index->clusters[number].slot = (struct cluster_slot){
		.offset = slot->offset, .number = slot->number, .length = slot->length, .size = slot->size};
	memcpy(index->units + (uint64_t)number * index->header->cluster_pages, slot->units,
	       index->header->cluster_pages);
}

/* The second half: it is done again by who finds it begun. */
static void finish_exchange(struct index *index)
{
	if (index->header->exchange.cluster)
		index_slot_set(index, index->header->exchange.cluster, &index->header->exchange.slot);
	__atomic_store_n(&index->header->exchange.cluster, 0, __ATOMIC_RELEASE);
}

void index_slot_exchange(struct index *index, uint32_t number, const struct store_slot *slot)
{
	index->header->exchange.slot = *slot;
	__atomic_store_n(&index->header->exchange.cluster, number, __ATOMIC_RELEASE);
	finish_exchange(index);
}

void index_cluster_free(struct index *index, uint32_t number)
{
	index->clusters[number].state = CLUSTER_FREE;
	if (array_reserve(&index->free_clusters.items, index->free_clusters.count, &index->free_clusters.size) < 0)
		return; /* its number is lost until the index is opened again */
	index->free_clusters.items[index->free_clusters.count++] = number;
}

uint64_t *index_fill(struct index *index, uint32_t cluster, unsigned int sub, bool allocate_it)
{
	uint64_t at = ((uint64_t)cluster * index->header->cluster_pages + sub) * sizeof(uint64_t);

	if (allocate_it && at / page_size() + 1 != index->fill_page) {
		if (allocate_range(index, FILLS_AT + at, sizeof(uint64_t)) < 0)
			return NULL;
		index->fill_page = at / page_size() + 1;
	}
	return index->fills + at / sizeof(uint64_t);
}

static int compare_keys(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a;
	uint64_t y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static int walk_table(struct index *index, uint64_t key, struct region region, index_fn callback, void *context)
{
	uint64_t begin = max_u64(key_address(key), region.start);
	uint64_t end = min_u64(key_address(key) + table_span(), region.end);

	for (uint64_t at = begin; at < end; at += page_size()) {
		index_entry entry = index_get(index, key_space(key), at);
		int rc = entry == ENTRY_NONE ? 0 : callback(context, at, entry);

		if (rc)
			return rc;
	}
	return 0;
}

/* The keys of a space's tables that overlap a region, sorted, for the caller to free. Returns their number. */
static uint64_t keys_within(const struct index *index, unsigned int space, struct region region, uint64_t **sorted)
{
	uint64_t count = 0;
	uint64_t *keys;

	/*
	 * A walk that is given up would leave entries of what the target has discarded: old bytes. It waits for memory
	 * instead.
	 */
	while (!(keys = malloc((index->header->tables + 1) * sizeof(*keys))))
		usleep(1000);
	for (uint64_t i = 0; i < index->header->tables; i++) {
		uint64_t at = key_address(index->keys[i]);

		if (index->keys[i] && key_space(index->keys[i]) == space && at < region.end &&
		    at + table_span() > region.start)
			keys[count++] = index->keys[i];
	}
	qsort(keys, count, sizeof(*keys), compare_keys);
	*sorted = keys;
	return count;
}

int index_walk(struct index *index, unsigned int space, struct region region, index_fn callback, void *context)
{
	uint64_t first = region.start / table_span();
	uint64_t last = region.end ? (region.end - 1) / table_span() : 0;
	_cleanup_free_ uint64_t *keys = NULL;
	uint64_t count;
	int rc = 0;

	if (last - first < 64) {
		for (uint64_t table = first; rc == 0 && table <= last; table++)
			rc = walk_table(index, key_of(space, table * table_span()), region, callback, context);
		return rc;
	}
	count = keys_within(index, space, region, &keys);
	for (uint64_t i = 0; rc == 0 && i < count; i++)
		rc = walk_table(index, keys[i], region, callback, context);
	return rc;
}

uint64_t index_count(const struct index *index, unsigned int space)
{
	return index->spaces[space].pages;
}

static int stop_at_first(void *context, uint64_t address, index_entry entry)
{
	(void)context;
	(void)address;
	(void)entry;
	return 1;
}

bool index_any(struct index *index, unsigned int space, struct region region)
{
	return index->spaces[space].pages && index_walk(index, space, region, stop_at_first, NULL) != 0;
}

/* Entries of one table: unmarked, and counted at their clusters. */
static void recover_table(struct index *index, uint64_t table)
{
	for (unsigned int page = 0; page < TABLE_PAGES; page++) {
		index_entry *entry = &index->tables[table][page];

		*entry &= ~ENTRY_FILLING;
		if (*entry != ENTRY_NONE && entry_cluster(*entry) < index->header->clusters)
			index->clusters[entry_cluster(*entry)].refs++;
	}
}

void index_recover(struct index *index)
{
	for (uint64_t i = 1; i < index->header->clusters; i++) {
		index->clusters[i].refs = 0;
		index->clusters[i].pins = 0;
	}
	for (uint64_t i = 0; i < index->header->tables; i++)
		if (index->keys[i])
			recover_table(index, i);
	for (uint64_t i = 1; i < index->header->clusters; i++)
		if (index->clusters[i].state != CLUSTER_FREE && !index->clusters[i].refs)
			index_cluster_free(index, (uint32_t)i);
}

static int map_file(struct index *index, unsigned int cluster_pages)
{
	index->bytes = FILLS_AT + CLUSTERS_MAX * cluster_pages * sizeof(uint64_t);
	if (ftruncate(index->fd, (off_t)index->bytes) < 0)
		return -errno;
	index->base = mmap(NULL, index->bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, index->fd, 0);
	if (index->base == MAP_FAILED) {
		index->base = NULL;
		return -errno;
	}
	index->header = (struct index_header *)index->base;
	index->keys = (uint64_t *)(index->base + KEYS_AT);
	index->tables = (index_entry(*)[TABLE_PAGES])(index->base + TABLES_AT);
	index->clusters = (struct cluster *)(index->base + CLUSTERS_AT);
	index->units = index->base + UNITS_AT;
	index->fills = (uint64_t *)(index->base + FILLS_AT);
	return 0;
}

/* Zeros that are memory only where they are touched. Returns NULL without address space. */
static void *map_sparse(uint64_t bytes)
{
	void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return at == MAP_FAILED ? NULL : at;
}

static int new_index(struct index **made, int fd, unsigned int cluster_pages)
{
	struct index *index = calloc(1, sizeof(*index));
	int rc;

	if (!index)
		return -ENOMEM;
	index->fd = fd;
	index->live = map_sparse(TABLES_MAX * sizeof(*index->live));
	index->free_tables.items = map_sparse(TABLES_MAX * sizeof(*index->free_tables.items));
	index->spaces = map_sparse(INDEX_SPACES * sizeof(*index->spaces));
	rc = index->live && index->free_tables.items && index->spaces ? hash_grow(index) : -ENOMEM;
	if (rc == 0)
		rc = map_file(index, cluster_pages);
	if (rc < 0 || !index->header) {
		index_close(index);
		return rc < 0 ? rc : -ENOMEM;
	}
	*made = index;
	return 0;
}

int index_create(struct index **index, int fd, unsigned int cluster_pages)
{
	int rc = -posix_fallocate(fd, 0, offsetof(struct index_header, spaces));

	if (rc == 0)
		rc = new_index(index, fd, cluster_pages);
	if (rc < 0)
		return rc;
	rc = index_room_for_space(*index, INDEX_SPACES_FIRST - 1);
	if (rc < 0) {
		index_close(*index);
		return rc;
	}
	(*index)->header->version = VERSION;
	(*index)->header->cluster_pages = cluster_pages;
	(*index)->header->clusters = 1; /* 0 stands for none */
	memcpy((*index)->header->magic, MAGIC, sizeof((*index)->header->magic));
	return 0;
}

/* What is kept in memory only, from what the file says. */
static int rebuild_memory(struct index *index)
{
	for (uint64_t i = 0; i < index->header->tables; i++) {
		uint64_t key = index->keys[i];

		if (!key) {
			index->free_tables.items[index->free_tables.count++] = (uint32_t)i;
			continue;
		}
		if (i - index->free_tables.count >= index->hash.size / 2 && hash_grow(index) < 0)
			return -ENOMEM;
		index->hash.slots[slot_of(index, key)] = (uint32_t)i;
		index->spaces[key_space(key)].tables++;
		for (unsigned int page = 0; page < TABLE_PAGES; page++)
			if (index->tables[i][page] != ENTRY_NONE) {
				index->live[i]++;
				index->spaces[key_space(key)].pages++;
			}
		if (!index->live[i])
			table_free(index, (uint32_t)i);
	}
	for (uint64_t i = 1; i < index->header->clusters; i++)
		if (index->clusters[i].state == CLUSTER_FREE)
			index_cluster_free(index, (uint32_t)i);
	return 0;
}

bool index_is_header(const struct index_header *header)
{
	return memcmp(header->magic, MAGIC, sizeof(header->magic)) == 0 && header->version == VERSION;
}

int index_open(struct index **index, int fd)
{
	struct index_header header;
	int rc;

	if (pread(fd, &header, sizeof(header), 0) != sizeof(header) || !index_is_header(&header) ||
	    header.tables > TABLES_MAX || header.clusters > CLUSTERS_MAX || !header.cluster_pages ||
	    header.cluster_pages > CLUSTER_PAGES_MAX || header.session.events.discard_count > DISCARDS_MAX ||
	    header.session.target.released_count > INDEX_SPACES || header.spaces_there > INDEX_SPACES ||
	    header.session.staging.former_count > FORMER_MAX || header.exchange.cluster >= header.clusters)
		return -EBADMSG;
	rc = new_index(index, fd, header.cluster_pages);
	if (rc < 0)
		return rc;
	(*index)->tables_allocated = header.tables;
	(*index)->clusters_allocated = header.clusters;
	finish_exchange(*index);
	rc = rebuild_memory(*index);
	if (rc < 0)
		index_close(*index);
	return rc;
}

bool index_has_fork(int fd)
{
	const struct index_header *header = mmap(NULL, sizeof(*header), PROT_READ, MAP_SHARED, fd, 0);
	bool fork = false;

	if (header == MAP_FAILED)
		return true; /* the next worker will see */
	for (unsigned int i = 0; i < header->spaces_there; i++)
		fork |= header->spaces[i].pending.message.event == UFFD_EVENT_FORK;
	for (unsigned int i = 0; i < PASSED_MAX; i++)
		fork |= header->session.events.passed[i].message.event == UFFD_EVENT_FORK;
	munmap((void *)header, sizeof(*header));
	return fork;
}

void index_close(struct index *index)
{
	if (!index)
		return;
	if (index->base)
		munmap(index->base, index->bytes);
	if (index->live)
		munmap(index->live, TABLES_MAX * sizeof(*index->live));
	if (index->free_tables.items)
		munmap(index->free_tables.items, TABLES_MAX * sizeof(*index->free_tables.items));
	if (index->spaces)
		munmap(index->spaces, INDEX_SPACES * sizeof(*index->spaces));
	free(index->hash.slots);
	free(index->free_clusters.items);
	free(index);
}
