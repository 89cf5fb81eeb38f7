# SPDX-License-Identifier: MIT
"""What the measuring scripts share: running the tools, the program whose memory they work on, records, marks and tables."""
import json
import os
import select
import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILD = Path(os.environ.get("UVM_BUILD") or ROOT / "build").resolve()
SWAPCTL = BUILD / "bin/swapctl"
MIB = 1 << 20
LIMIT_S = 120

records = []
failures = []


def begin(does):
    """Exit code 4 without root. A signal ends the script as an exception does, so that what it made is removed."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    if os.geteuid():
        print(f"bench: this needs root: it {does}", file=sys.stderr)
        sys.exit(4)


def finish():
    """Returns the exit code."""
    record("summary", measured=sum(r["type"] == "bench" for r in records), failed=len(failures))
    return 1 if failures else 0


def record(kind, **keys):
    full = {"v": 1, "type": kind, **keys}
    records.append(full)
    print(json.dumps(full, separators=(",", ":")), flush=True)
    return full


def bench(name, **keys):
    return record("bench", name=name, **keys)


def fail(what, why):
    failures.append(what)
    record("error", op=what, reason=str(why))


def attempt(what, function, *arguments):
    """What the function returns; None when it could not do its work."""
    try:
        return function(*arguments)
    except (RuntimeError, OSError, subprocess.SubprocessError, ValueError, KeyError) as error:
        fail(what, error)
        return None


def divide(a, b):
    return a / b if b else float("inf")


def verdict(mark, ours, theirs, met):
    """One mark: what was measured, beside what, and whether it is met. Nothing is claimed of what was not measured."""
    if ours is None or theirs is None:
        return record("verdict", mark=mark, met=None, ours=ours, beside=theirs, ratio=None)
    return record("verdict", mark=mark, met=met(ours, theirs), ours=ours, beside=theirs, ratio=round(divide(ours, theirs), 3))


def table(title, head, rows):
    widths = [max(len(str(row[i])) for row in [head, *rows]) for i in range(len(head))]
    lines = ["  ".join(str(cell).ljust(width) if i == 0 else str(cell).rjust(width)
                       for i, (cell, width) in enumerate(zip(row, widths))).rstrip() for row in [head, *rows]]
    print(f"\n{title}", *lines, sep="\n", file=sys.stderr)


def print_marks():
    table("Marks", ["", "ratio", ""],
          [[r["mark"], shown(r["ratio"], 1, 2), {True: "met", False: "not met", None: "not measured"}[r["met"]]]
           for r in records if r["type"] == "verdict"])


def shown(value, unit=1, digits=1):
    return "-" if value is None else f"{value / unit:.{digits}f}"


def run(*command, allowed=(0,), stdin=None):
    """Runs a command to its end; returns its output."""
    done = subprocess.run([str(word) for word in command], input=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True, timeout=LIMIT_S)
    if done.returncode not in allowed:
        raise RuntimeError(f"{Path(str(command[0])).name}: exit code {done.returncode}: {done.stderr.strip()}")
    return done.stdout


def json_lines(text):
    return [json.loads(line) for line in text.splitlines()]


def session(pid):
    """The status of the session that serves a process."""
    for line in json_lines(run(SWAPCTL, "status", "-p", pid)):
        if line["type"] == "session":
            return line
    raise RuntimeError(f"no session serves {pid}")


class Program:
    """A program that prints "ready" and addresses, and answers a word with a line of JSON."""

    def __init__(self, *command):
        self.process = subprocess.Popen([str(word) for word in command], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)
        self.pid = self.process.pid
        word, *self.addresses = self.answer().split()
        if word != "ready":
            raise RuntimeError(f"{command[0]} did not become ready")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()

    def answer(self):
        if not select.select([self.process.stdout], [], [], LIMIT_S)[0]:
            raise TimeoutError(f"{self.process.args[0]} did not answer within {LIMIT_S} s")
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.process.args[0]} has ended")
        return line

    def begin(self, word):
        self.process.stdin.write(word + "\n")
        self.process.stdin.flush()

    def ask(self, word):
        self.begin(word)
        return json.loads(self.answer())

    def verify(self):
        wrong = self.ask("verify")["wrong"]
        if wrong:
            raise RuntimeError(f"{wrong} pages came back wrong")


class Load(Program):
    """The program to be swapped."""

    def __init__(self, size):
        super().__init__(BUILD / "bench/load", size)
        self.start, self.end = self.addresses

    def region(self):
        return json.dumps({"v": 1, "type": "region", "start": self.start, "end": self.end})


class ZramDevice:
    """The kernel's compressed swap device, made for this run and removed after it."""

    def __init__(self, size):
        self.number = int(Path("/sys/class/zram-control/hot_add").read_text())
        self.sys = Path(f"/sys/block/zram{self.number}")
        self.device = f"/dev/zram{self.number}"
        self.on = False
        try:
            self.set_up(size)
        except BaseException:
            self.remove()
            raise

    def set_up(self, size):
        (self.sys / "comp_algorithm").write_text("lz4")
        (self.sys / "disksize").write_text(str(size))
        run("mkswap", self.device)
        run("swapon", "-p", "32767", self.device)
        self.on = True

    def remove(self):
        if self.on:
            run("swapoff", self.device)
        (self.sys / "reset").write_text("1")
        Path("/sys/class/zram-control/hot_remove").write_text(str(self.number))

    def memory(self):
        """Bytes of pages held, and bytes of memory that they take."""
        stat = (self.sys / "mm_stat").read_text().split()
        return int(stat[0]), int(stat[2])
