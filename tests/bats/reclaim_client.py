# SPDX-License-Identifier: MIT
"""A reclaimer that asks a program's agent for what no tool of ours does: reclaim_client.py PID DEED [ARGUMENT]. Prints what came of it."""
import array
import fcntl
import os
import signal
import socket
import struct
import subprocess
import sys
import time

from agent_client import EBUSY, EINVAL, GREETING, MAP, PING, REPLY, REQUEST, name_of

DROP, UNMAP = 15, 16
FREE, DEALLOCATE = 1, 2
PAGE = 4096
HEAD, BUSY, UNMAPPING, TAIL, ENTRIES = 64, 128, 136, 192, 4096


class Ring:
    """An open file description of its own, and with it the lock."""

    def __init__(self, pid, locked=True):
        self.fd = next(os.open(path, os.O_RDWR) for path in self.descriptors(pid))
        if locked:
            assert self.lock()

    @staticmethod
    def descriptors(pid):
        for fd in os.listdir(f"/proc/{pid}/fd"):
            path = f"/proc/{pid}/fd/{fd}"
            if "memfd:uvm-reclaim-ring" in os.readlink(path):
                yield path

    def lock(self):
        try:
            fcntl.fcntl(self.fd, fcntl.F_OFD_SETLK, struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 1, 0))
            return True
        except BlockingIOError:
            return False

    def get(self, at):
        return struct.unpack("<Q", os.pread(self.fd, 8, at))[0]

    def set(self, at, value):
        os.pwrite(self.fd, struct.pack("<Q", value), at)

    def entry(self, id):
        return struct.unpack("<QII", os.pread(self.fd, 16, ENTRIES + 16 * id))

    def forge(self, id, address, size, action):
        os.pwrite(self.fd, struct.pack("<QII", address, size, action), ENTRIES + 16 * id)


class Agent:
    def __init__(self, pid):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.settimeout(10)
        self.socket.connect(name_of(pid, "uvm-reclaim"))
        self.greeting = None

    def greet(self):
        self.greeting = GREETING.unpack(self.socket.recv(GREETING.size))
        return self.greeting

    def send(self, op, id, regions, fd):
        message = REQUEST.pack(op, 7, id, 0, 0, 0, len(regions)) + b"".join(struct.pack("<QQ", *r) for r in regions)
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))] if fd is not None else []
        self.socket.sendmsg([message], rights)

    def ask(self, op, id, regions, fd):
        self.send(op, id, regions, fd)
        return REPLY.unpack(self.socket.recv(65536))[2]


def nonsense(pid):
    """Whatever is asked for that the ring does not say, or not under the lock, is refused, the whole of it. Entries are mixed, the first one to be unmapped."""
    ring, agent = Ring(pid), Agent(pid)
    assert agent.greet()[2:4] == (0, 0)
    ring.set(BUSY, 4)
    (a, size, first), (b, _, second), (c, _, _), (d, _, _) = (ring.entry(id) for id in range(4))
    assert (first, second) == (DEALLOCATE, FREE)
    whole = (a, size)
    for id, *regions in (
        (0, (a + 1, PAGE)), (0, (a, PAGE + 1)), (0, (a - PAGE, PAGE)), (0, (a + PAGE, size)), (0, (a, size + PAGE)), (0, (a, 2**64 - PAGE)), (0, (b, PAGE)),
        (4, ring.entry(4)[:2]), (2**64 - 1, whole), (2**63, whole), (0, whole, whole), (1, whole), (0, whole, (b, size), (c, size), (d + PAGE, size)),
        (0, *[whole] * 17), (0,),
    ):
        assert agent.ask(DROP, id, regions, ring.fd) == -EINVAL, (id, regions)
        assert agent.ask(UNMAP, id, regions, ring.fd) == -EINVAL, (id, regions)
    assert agent.ask(UNMAP, 0, [whole], ring.fd) == -EINVAL  # not announced in the ring
    ring.set(UNMAPPING, 2)
    assert agent.ask(UNMAP, 1, [(b, size)], ring.fd) == -EINVAL  # only to lose its contents
    assert agent.ask(UNMAP, 0, [whole], ring.fd) == -EINVAL  # another one was announced since
    assert agent.ask(DROP, 0, [whole], ring.fd) == -EINVAL  # may be somebody else's by now
    ring.set(UNMAPPING, 1)
    for region in (a, size - PAGE), (a + PAGE, size - PAGE), (a, 0):
        assert agent.ask(UNMAP, 0, [region], ring.fd) == -EINVAL, region
    ring.set(UNMAPPING, 0)
    assert agent.ask(MAP, 0, [], ring.fd) == -EINVAL
    agent.socket.send(b"x")
    assert REPLY.unpack(agent.socket.recv(65536))[2] == -EINVAL
    assert agent.ask(DROP, 0, [whole], None) == -EINVAL
    for path in "/dev/zero", "/proc/self/exe":
        assert agent.ask(DROP, 0, [whole], os.open(path, os.O_RDONLY)) in (-EINVAL, -EBUSY)
    assert agent.ask(DROP, 0, [whole], Ring(pid, locked=False).fd) == -EBUSY
    copy = os.memfd_create("uvm-reclaim-ring", os.MFD_ALLOW_SEALING)
    os.write(copy, os.pread(ring.fd, 1 << 20, 0))
    os.pwrite(copy, struct.pack("<I", os.getpid()), 40)
    assert agent.ask(DROP, 0, [whole], copy) == -EINVAL
    own, end = agent.greeting[6:8]
    mapped = struct.unpack("<Q", os.pread(ring.fd, 8, 16))[0]
    for start in own, own + PAGE, end - PAGE, mapped:
        ring.forge(0, start, PAGE, DEALLOCATE)
        assert agent.ask(DROP, 0, [(start, PAGE)], ring.fd) == -EINVAL
        ring.set(UNMAPPING, 1)
        assert agent.ask(UNMAP, 0, [(start, PAGE)], ring.fd) == -EINVAL
        ring.set(UNMAPPING, 0)
    ring.forge(0, a, size, DEALLOCATE)
    assert agent.ask(PING, 0, [], None) == 0
    ring.set(BUSY, 0)
    return "ok"


def state(path):
    return open(f"{path}/stat").read().rpartition(")")[2].split()[0]


def is_stopped(pid):
    return all(state(f"/proc/{pid}/task/{tid}") == "T" for tid in os.listdir(f"/proc/{pid}/task"))


def waits_in_poll(flush):
    """For an answer or a greeting; or it has ended."""
    path = f"/proc/{flush.pid}"
    return flush.poll() is not None or (state(path) == "S" and open(f"{path}/syscall").read().split()[0] in ("7", "73"))


def wait_for(condition, *arguments):
    deadline = time.monotonic() + 20
    while not condition(*arguments):
        assert time.monotonic() < deadline, condition
        time.sleep(0.001)


def interrupted(pid, how):
    """A flush is killed, or gives up, while a request of it waits because the program was stopped: its lock outlives it."""
    for _ in range(100):
        ring = Ring(pid, locked=False)
        head = ring.get(HEAD)
        flush = subprocess.Popen(["reclaimctl", "flush", "-p", pid, "--all", "--access", "agent"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        while ring.get(HEAD) == head and flush.poll() is None:
            pass
        os.kill(int(pid), signal.SIGSTOP)
        wait_for(is_stopped, pid)
        wait_for(waits_in_poll, flush)
        claimed = ring.get(BUSY) != ring.get(HEAD)
        if how == "kill":
            flush.kill()
        error = flush.communicate()[1]
        if claimed:
            break
        os.kill(int(pid), signal.SIGCONT)  # it was between two turns
    if not claimed or (flush.returncode < 0) != (how == "kill"):
        return f"claimed {claimed} exit code {flush.returncode}"
    if how != "kill" and "its agent does not answer" not in error:
        return error
    return "the lock is free" if ring.lock() else "ok"


def waits(pid):
    """The next reclaimer is greeted when the one before has gone."""
    first, second = Agent(pid), Agent(pid)
    first.greet()
    second.socket.settimeout(0.2)
    try:
        second.greet()
        return "greeted too early"
    except TimeoutError:
        pass
    first.socket.close()
    second.socket.settimeout(10)
    return "ok" if second.greet() else "no greeting"


if __name__ == "__main__":
    print(globals()[sys.argv[2]](sys.argv[1], *sys.argv[3:]))
