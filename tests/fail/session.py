# SPDX-License-Identifier: MIT
"""What the tests of failures share: a target with known memory, swapctl with calls that fail, and what is left behind."""
import contextlib
import ctypes
import errno
import mmap
import os
import re
import select
import signal
import subprocess
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
BUILD = Path(os.environ.get("UVM_BUILD") or ROOT / "build").resolve()
SWAPCTL = BUILD / "bin/swapctl"
SESSIONS = Path("/run/uvmtools")
STORES = Path("/var/lib/uvmtools")
DEADLINE_S = 60  # for a command or an answer, on a machine that is busy
MEBIBYTE = 1 << 20
PR_SET_CHILD_SUBREAPER = 36
MESSAGE = r"^swapctl( [a-z]+)?: .+: .+$|^virtual memory exhausted\.$"  # the second is of popt(3), which ends the process itself
SHORT = -1  # instead of an errno: half of what was asked for

ROLES = ["caller", "maker", "supervisor", "worker", "keeper"]
CALLS = re.findall(r"X\((\w+)\)", (Path(__file__).parent / "fail.h").read_text().split("FAIL_CALLS(X)")[1])
ERRORS = {  # what the kernel says of each, and a program must be ready for
    "memory": ["ENOMEM"], "mmap": ["ENOMEM", "EAGAIN"], "mremap": ["ENOMEM"], "mprotect": ["ENOMEM"],
    "mlock": ["ENOMEM", "EAGAIN"], "uffd_copy": ["ENOMEM", "EAGAIN"], "uffd_zeropage": ["ENOMEM", "EAGAIN"],
    "uffd_poison": ["ENOMEM", "EAGAIN"], "uffd_register": ["ENOMEM"], "uffd_unregister": ["ENOMEM"],
    "uffd_api": ["ENOMEM", "EMFILE"], "ioctl": ["ENOMEM"], "pread": ["EIO", "EINTR", "SHORT"],
    "pwrite": ["ENOSPC", "EIO", "EINTR", "SHORT"], "proc": ["ENOMEM", "EINTR", "SHORT"],
    "read": ["EINTR", "ENOMEM"], "write": ["EINTR", "ENOSPC", "SHORT"],
    "receive": ["EINTR", "ENOMEM"], "send": ["EINTR", "EAGAIN", "ENOMEM"], "allocate": ["ENOSPC", "EIO", "EINTR"],
    "open": ["EMFILE", "ENOMEM"], "stat": ["ENOMEM"], "link": ["ENOSPC", "EIO"], "lock": ["ENOLCK", "EINTR"],
    "descriptor": ["EMFILE", "ENOMEM"], "bind": ["ENOMEM"], "accept": ["EMFILE", "EAGAIN", "ECONNABORTED"],
    "connect": ["EINTR", "EAGAIN"], "epoll_ctl": ["ENOMEM", "ENOSPC"], "wait": ["EINTR"], "fork": ["EAGAIN", "ENOMEM"],
    "thread": ["EAGAIN"], "getfd": ["EMFILE"], "vm_read": ["ENOMEM"], "target_memory": ["ENOMEM"],
    "target_ioctl": ["ENOMEM", "EAGAIN", "EBUSY"], "target_descriptor": ["EMFILE", "ENOMEM"],
}
assert set(ERRORS) == set(CALLS)


def number_of(error):
    return SHORT if error == "SHORT" else getattr(errno, error)


class Trace(ctypes.Structure):
    _fields_ = [("role", ctypes.c_uint32), ("number", ctypes.c_uint32), ("pid", ctypes.c_uint32),
                ("count", ctypes.c_uint32), ("frames", ctypes.c_uint64 * 24)]

    def __str__(self):
        frames = [hex(frame - 1) for frame in self.frames[:self.count]]
        names = subprocess.run(["addr2line", "-sfie", SWAPCTL, *frames], capture_output=True, text=True).stdout.split("\n")
        where = " < ".join(f"{a}:{b.split(':')[-1].split(' ')[0]}" for a, b in zip(names[::2], names[1::2])) if frames else "libraries"
        return f"{ROLES[self.role]}: {where}"


class State(ctypes.Structure):
    """As struct fail of fail.h."""
    _fields_ = [("armed", ctypes.c_uint32), ("roles", ctypes.c_uint32), ("call", ctypes.c_uint32), ("error", ctypes.c_int32),
                ("nth", ctypes.c_uint64), ("times", ctypes.c_uint64), ("matched", ctypes.c_uint64), ("fired", ctypes.c_uint64),
                ("traced", ctypes.c_uint32), ("crashed", ctypes.c_uint32), ("trace", Trace), ("crash", Trace),
                ("counts", ctypes.c_uint64 * len(CALLS) * len(ROLES)), ("seen", ctypes.c_uint64 * 4096)]


class Failures:
    """The file that says what fails."""

    def __init__(self, path):
        self.path = path
        path.write_bytes(bytes(ctypes.sizeof(State)))
        with open(path, "r+b") as file:
            self.state = State.from_buffer(mmap.mmap(file.fileno(), 0))

    def prepare(self, call, error, nth=1, times=1, roles=0xff):
        """From arm on the nth call of its kind fails; with nth=0 the first from a place that is new since forget."""
        s = self.state
        s.armed = 0
        s.matched = s.fired = s.traced = s.crashed = 0
        s.call, s.error, s.nth, s.times, s.roles = CALLS.index(call), number_of(error), nth, times, roles

    def forget(self):
        ctypes.memset(ctypes.addressof(self.state) + State.seen.offset, 0, State.seen.size)

    def arm(self, armed=True):
        self.state.armed = armed

    def counted(self):
        counts = {f"{role}:{call}": self.state.counts[r][c] for r, role in enumerate(ROLES) for c, call in enumerate(CALLS)}
        return {key: value for key, value in counts.items() if value}


class Wrong(Exception):
    """A promise that was not kept."""


def become_reaper():
    """What a tool leaves running becomes a child of this process."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def starttime(pid):
    return int(Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()[19])


def wait_for(condition, seconds=DEADLINE_S, nap=0.002):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(nap)
    return True


def children(pid):
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def comm(pid):
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def descendants(pid):
    found = []
    for child in children(pid):
        found += [child, *descendants(child)]
    return found


def is_gone(pid):
    """With all of its threads: one whose first has ended looks like a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()
        return fields[0] in "ZX" and int(fields[17]) <= 1
    except OSError:
        return True


def ours():
    """Processes of sessions: what became a child of this process, and what those have made."""
    return [pid for pid in descendants(os.getpid()) if comm(pid).startswith("swapctl") and not is_gone(pid)]


def process_named(name):
    return next((pid for pid in ours() if comm(pid) == name), None)


def reap():
    for pid in children(os.getpid()):
        if comm(pid).startswith("swapctl"):
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)


class Target:
    """A program of build/targets that obeys commands."""

    def __init__(self, program, *arguments):
        self.process = subprocess.Popen([BUILD / "targets" / program, *map(str, arguments)], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0)
        self.pid = self.process.pid
        self.buffer = b""
        line = self.line()
        if not line.startswith("ready"):
            raise RuntimeError(f"{program} did not become ready: {line}")

    def line(self, seconds=DEADLINE_S):
        end = time.monotonic() + seconds
        while b"\n" not in self.buffer:
            left = end - time.monotonic()
            if left < 0 or not select.select([self.process.stdout], [], [], left)[0]:
                raise Wrong(f"STUCK the target does not answer within {seconds} s\n{stacks()}")
            piece = self.process.stdout.read(4096)
            if not piece:
                raise Wrong(f"DEAD the target has ended: {self.process.wait()}")
            self.buffer += piece
        line, self.buffer = self.buffer.split(b"\n", 1)
        return line.decode()

    def tell(self, command):
        self.process.stdin.write(f"{command}\n".encode())

    def ask(self, command):
        self.tell(command)
        answer = self.line()
        if not answer.startswith("ok"):
            raise Wrong(f"WRONG {command}: {answer}")
        return answer

    def end(self):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()

    def session(self):
        return SESSIONS / f"{self.pid}.{starttime(self.pid)}"

    def look(self):
        """What of it a session may not change for good."""
        maps = [" ".join(line.split()[:2] + line.split()[5:]) for line in Path(f"/proc/{self.pid}/maps").read_text().splitlines()]
        fds = sorted((fd, os.readlink(f"/proc/{self.pid}/fd/{fd}")) for fd in os.listdir(f"/proc/{self.pid}/fd"))
        tracer = re.search(r"TracerPid:\s*(\d+)", Path(f"/proc/{self.pid}/status").read_text())[1]
        return {"maps": maps, "fds": fds, "tracer": tracer}


def stacks():
    """Where the processes of the tests stand, for a report of a hang."""
    text = ""
    for pid in descendants(os.getpid()):
        for task in Path(f"/proc/{pid}/task").glob("*"):
            with contextlib.suppress(OSError):
                stack = [line.split()[-1].split("+")[0] for line in (task / "stack").read_text().splitlines()[:4]]
                state = (task / "stat").read_text().rsplit(") ", 1)[1][0]
                if state not in "ZX":
                    text += f"    {pid} {task.name} {comm(pid)} {state}: {' < '.join(stack)}\n"
    return text


class Result:
    def __init__(self, verb, code, out, err):
        self.verb, self.code, self.out, self.err = verb, code, out, err

    def judge(self, codes=(0, 1, 3, 7)):
        """Exit codes and messages are as the man pages say."""
        if self.code < 0:
            raise Wrong(f"CRASH swapctl {self.verb} was ended by signal {-self.code}: {self.err}")
        if self.code not in codes:
            raise Wrong(f"CODE swapctl {self.verb} ended with {self.code}: {self.err}")
        lines = self.err.splitlines()
        if self.code == 0 and lines:
            raise Wrong(f"MESSAGE swapctl {self.verb} succeeded and said: {self.err}")
        if self.code in (1, 7) and (len(lines) != 1 or not re.match(MESSAGE, lines[0])):
            raise Wrong(f"MESSAGE swapctl {self.verb} ended with {self.code} and said: {self.err!r}")
        return self


class Swapctl:
    """The tool, with the library that lets calls fail."""

    def __init__(self, failures=None, directory=None):
        self.environment = dict(os.environ)
        self.directory = directory
        if failures:
            self.environment |= {"LD_PRELOAD": str(BUILD / "fail/libfail.so"), "UVM_FAIL": str(failures.path)}

    def start(self, verb, pid, *options):
        out = open(self.directory / "out", "w+")
        err = open(self.directory / "err", "w+")
        child = subprocess.Popen([SWAPCTL, verb, "-p", str(pid), *options], env=self.environment, stdin=subprocess.DEVNULL,
                                 stdout=out, stderr=err)
        return verb, child, out, err

    def finish(self, started, seconds=DEADLINE_S):
        verb, child, out, err = started
        try:
            code = child.wait(seconds)
        except subprocess.TimeoutExpired:
            where = stacks()
            child.kill()
            child.wait()
            raise Wrong(f"HANG swapctl {verb} does not end within {seconds} s\n{where}") from None
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read())
            file.close()
        return Result(verb, code, *texts)

    def run(self, verb, pid, *options):
        return self.finish(self.start(verb, pid, *options))


def files_of(target):
    return [path for folder in (SESSIONS, STORES) for path in folder.glob(f"{target.pid}.*")]


def clean_up(target):
    """After a failed run: whatever is left is ended, so that the next one begins anew."""
    for pid in ours():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not ours(), 5)
    reap()
    subprocess.run(["rm", "-rf", *files_of(target)], check=False)


def left_behind(target):
    reap()
    return [f"process {pid} {comm(pid)}" for pid in ours()] + [str(path) for path in files_of(target)]


def expect_nothing_left(target, before):
    if not wait_for(lambda: not left_behind(target), 20):
        raise Wrong(f"LEFT {', '.join(left_behind(target))}\n{stacks()}")
    if before and not wait_for(lambda: target.look() == before, 5):
        now = target.look()
        raise Wrong("LEFT in the target: " + "; ".join(f"{key}: {[x for x in now[key] if x not in before[key]]} for "
                                                       f"{[x for x in before[key] if x not in now[key]]}"
                                                       for key in now if now[key] != before[key]))
