#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""libuvm from Python: a window of memory, a copy on write of it, and an error by its name."""
import ctypes
import os

uvm = ctypes.CDLL("libuvm.so.0")
uvm.uvm_mem_error_name.restype = ctypes.c_char_p
BYTES, READ, WRITE = 1 << 20, 0x10, 0x20


class Region(ctypes.Structure):
    _fields_ = [("start", ctypes.c_uint64), ("end", ctypes.c_uint64)]


def call(name, *arguments):
    rc = getattr(uvm, name)(*arguments)
    if rc < 0:
        raise OSError(-rc, f"{name}: {uvm.uvm_mem_error_name(rc).decode()} ({os.strerror(-rc)})")


memory, space, clone, window, copy = ctypes.c_void_p(), ctypes.c_void_p(), ctypes.c_void_p(), Region(), Region()
call("uvm_mappable_create_memory", ctypes.c_uint64(BYTES), 0, ctypes.byref(memory))
call("uvm_space_create", ctypes.c_uint64(BYTES), ctypes.byref(space))
call("uvm_space_map", space, memory, Region(0, BYTES - 1), ctypes.byref(ctypes.c_uint64(2**64 - 1)), READ | WRITE)
call("uvm_space_get_window", space, ctypes.byref(window))
ctypes.memmove(window.start, b"before\0", 7)
call("uvm_space_clone", space, 0, ctypes.byref(clone))
call("uvm_space_get_window", clone, ctypes.byref(copy))
ctypes.memmove(window.start, b"after\0", 6)
print(f"original: {ctypes.string_at(window.start).decode()}, clone: {ctypes.string_at(copy.start).decode()}")
try:
    call("uvm_space_create", ctypes.c_uint64(0), ctypes.byref(space))
except OSError as error:
    print(error.strerror)
