/* SPDX-License-Identifier: MIT */
/* The names that the interface gives to its errors. */
#include <uvm/space.h>

const char *uvm_mem_error_name(int error)
{
	switch (error) {
	case 0:
		return "Success";
	case UVM_MEM_INVALID_ARGUMENT:
		return "InvalidArgument";
	case UVM_MEM_INVALID_STATE:
		return "InvalidState";
	case UVM_MEM_OPERATION_NOT_SUPPORTED:
		return "OperationNotSupported";
	case UVM_MEM_NO_MEMORY:
		return "NoMemory";
	case UVM_MEM_NO_SPACE:
		return "NoSpace";
	case UVM_MEM_REGION_OCCUPIED:
		return "RegionOccupied";
	case UVM_MEM_IO_ERROR:
		return "IOError";
	default:
		return "Unknown";
	}
}
