/* SPDX-License-Identifier: MIT */
/* uvm/space.h: a window of memory, and a copy on write of it. cc -o space space.c $(pkg-config --cflags --libs uvm) */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <uvm/space.h>

#define BYTES (1 << 20)

int main(void)
{
	struct uvm_region all = {0, BYTES - 1}, window = {0}, copy = {0};
	uint64_t at = UVM_UNSPECIFIED_START;
	struct uvm_mappable *memory = NULL;
	struct uvm_space *space = NULL, *clone = NULL;
	int rc = uvm_mappable_create_memory(BYTES, UVM_ALLOC_ZERO, &memory);

	if (rc == 0)
		rc = uvm_space_create(BYTES, &space);
	if (rc == 0)
		rc = uvm_space_map(space, memory, all, &at, UVM_MAP_READ | UVM_MAP_WRITE);
	if (rc == 0)
		rc = uvm_space_get_window(space, &window);
	if (rc != 0) {
		fprintf(stderr, "no space: %s\n", uvm_mem_error_name(rc));
		return 1;
	}
	memcpy((char *)window.start, "before", sizeof("before"));
	rc = uvm_space_clone(space, 0, &clone);
	if (rc == 0)
		rc = uvm_space_get_window(clone, &copy);
	if (rc != 0) {
		fprintf(stderr, "no clone: %s\n", uvm_mem_error_name(rc));
		return 1;
	}
	memcpy((char *)window.start, "after", sizeof("after"));
	printf("original: %s, clone: %s\n", (char *)window.start, (char *)copy.start);
	uvm_space_unref(clone);
	uvm_space_unref(space);
	uvm_mappable_unref(memory);
	return 0;
}
