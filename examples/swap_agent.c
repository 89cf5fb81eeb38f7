/* SPDX-License-Identifier: MIT */
/*
 * uvm/swap_agent.h: a program that swapctl(1) can swap where it may not be traced. Sums memory whenever it is told to,
 * by a line on standard input. cc -o swap_agent swap_agent.c $(pkg-config --cflags --libs uvm)
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uvm/swap_agent.h>

#define BYTES (16 << 20)

int main(void)
{
	unsigned char *memory = malloc(BYTES);
	int rc = uvm_swap_agent_start(NULL);

	if (!memory || rc < 0) {
		fprintf(stderr, "no swap agent: %s\n", strerror(-rc));
		return 1;
	}
	for (size_t i = 0; i < BYTES; i++)
		memory[i] = (unsigned char)(i * i >> 8);
	do {
		unsigned long sum = 0;

		for (size_t i = 0; i < BYTES; i++)
			sum = sum * 31 + memory[i];
		printf("%lu\n", sum);
		fflush(stdout);
	} while (getchar() != EOF);
	rc = uvm_swap_agent_stop();
	free(memory);
	return rc < 0;
}
