# SPDX-License-Identifier: MIT
"""A client of a program's swap agent that does what no session does: agent_client.py PID DEED [ARGUMENT...]. Prints what came of it. For PID stands "-"
where none is needed, or the name of the socket, which another user cannot find."""
import array
import os
import re
import socket
import struct
import sys

PING, FORKS, READY, MOVE, CANCEL, MAP, PROTECT, DISCARD, POPULATE, SUPERPAGES, CLOSE = range(11)
GREETING = struct.Struct("<IIiiQQQQiI")
REQUEST = struct.Struct("<IIQQQQQ")
REPLY = struct.Struct("<IIqqQ")
EINVAL, EPROTO, EBUSY = 22, 71, 16


def name_of(pid, kind="uvm-agent"):
    """An abstract socket of the agent: of those that its thread holds, the one whose name begins so."""
    if str(pid).startswith("uvm-agent."):
        return "\0" + pid
    inodes = set()
    for task in os.listdir(f"/proc/{pid}/task"):
        for fd in os.listdir(f"/proc/{pid}/task/{task}/fd"):
            try:
                found = re.match(r"socket:\[(\d+)\]", os.readlink(f"/proc/{pid}/task/{task}/fd/{fd}"))
            except FileNotFoundError:
                continue
            inodes |= {found[1]} if found else set()
    for line in open(f"/proc/{pid}/net/unix"):
        words = line.split()
        if words[6] in inodes and words[7:] and words[7].startswith(f"@{kind}."):
            return words[7].replace("@", "\0", 1)
    sys.exit("no agent")


class Agent:
    def __init__(self, pid):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.settimeout(10)
        self.socket.connect(name_of(pid))
        self.fds = array.array("i")
        data, control, _, _ = self.socket.recvmsg(GREETING.size, socket.CMSG_SPACE(3 * 4))
        for _, _, packed in control:
            self.fds.frombytes(packed)
        self.greeting = GREETING.unpack(data) if data else None

    def ask(self, op, address=0, size=0, to=0, mode=0, number=7):
        self.socket.send(REQUEST.pack(op, number, address, size, to, mode, 0))
        return self.answer(number)

    def answer(self, number):
        data = self.socket.recv(65536)
        _, got, result, _, count = REPLY.unpack(data[:REPLY.size])
        assert got == number, (got, number)
        return result, list(struct.iter_unpack("<QQ", data[REPLY.size:REPLY.size + 16 * count]))


def greet(pid):
    agent = Agent(pid)
    if not agent.greeting:
        return "closed"
    _, _, uffd, area, start, size, *_ = agent.greeting
    return f"uffd {uffd} area {area} descriptors {len(agent.fds)} aligned {start % (2 << 20) == 0} bytes {size}"


def name(pid):
    return name_of(pid)[1:]


def twice(pid):
    first, second = Agent(pid), Agent(pid)
    assert second.greeting[2:4] == (EBUSY, EBUSY) and not second.fds
    assert second.socket.recv(1) == b""
    assert first.ask(PING)[0] == 0
    return "ok"


def garbage(pid):
    agent = Agent(pid)
    for message in b"x", b"y" * (REQUEST.size - 1), b"\xff" * REQUEST.size, b"z" * 100000, REQUEST.pack(PING, 0, 0, 0, 0, 0, 400):
        agent.socket.send(message)
        result, _ = agent.answer(0)
        assert result == -EINVAL, result
    assert agent.ask(MOVE)[0] == -EPROTO
    assert agent.ask(READY)[0] == 0
    assert agent.ask(PING)[0] == -EPROTO
    assert agent.ask(PING)[0] == 0
    return "ok"


def elsewhere(pid, start):
    """Nothing outside the staging area may be the target of anything."""
    agent, start = Agent(pid), int(start, 16)
    area, size = agent.greeting[4:6]
    for op in PROTECT, DISCARD:
        for region in (start, 4096), (area - 4096, 4096), (area, size + 4096), (area + size, 4096), (area + 1, 4096), (area, 0), (area, 2**64 - 4096):
            assert agent.ask(op, *region)[0] == -EINVAL, (op, region)
    assert agent.ask(READY)[0] == 0
    assert agent.ask(MOVE, start, 4096, start + 4096)[0] == -EINVAL
    assert agent.ask(DISCARD, area, 4096)[0] == 0
    assert agent.ask(MAP)[0] == 0
    return "ok"


def superpages(pid, most, start="0"):
    result, regions = Agent(pid).ask(SUPERPAGES, int(start, 16), int(most))
    assert result == 0
    return "\n".join(f"{address:x} {size}" for address, size in regions)


def silent(pid):
    """Connects, and says nothing until it is told to go."""
    agent = Agent(pid)
    print("ready", flush=True)
    sys.stdin.readline()
    assert agent.ask(PING)[0] == 0
    return "ok"


def library(path):
    """The two functions, called from this very process."""
    import ctypes
    uvm = ctypes.CDLL(path)
    answers = [uvm.uvm_swap_agent_stop()]
    bad = (ctypes.c_size_t * 2)(1, 0)
    answers += [uvm.uvm_swap_agent_start(bad), uvm.uvm_swap_agent_start(None), uvm.uvm_swap_agent_start(None)]
    agent = Agent(os.getpid())
    answers += [uvm.uvm_swap_agent_stop()]
    assert agent.ask(CLOSE)[0] == 0
    answers += [uvm.uvm_swap_agent_stop(), uvm.uvm_swap_agent_stop(), uvm.uvm_swap_agent_start(None)]
    child = os.fork()
    if not child:
        os._exit(-uvm.uvm_swap_agent_stop())
    answers += [-os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])]
    return " ".join(map(str, answers))


if __name__ == "__main__":
    print(globals()[sys.argv[2]](*([] if sys.argv[1] == "-" else [sys.argv[1]]), *sys.argv[3:]))
