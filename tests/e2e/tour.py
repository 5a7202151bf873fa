# SPDX-License-Identifier: MIT
"""A running `srv play` and everything that belongs to it, for the tests of playgrounds."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections import namedtuple
from pathlib import Path

from harness import clean_environment, libc, srv_binary

MARK = "SRV_TEST_MARK"  # every process of a tour carries it in its environment
CLEANER = "srv scratch"
PR_SET_PDEATHSIG = 1
Process = namedtuple("Process", "name command state parent begin")


def marked(mark):
    """Command lines of the living processes with that mark; zombies have no environment any more."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if f"{MARK}={mark}".encode() in (folder / "environ").read_bytes().split(b"\0"):
                found[int(folder.name)] = (folder / "cmdline").read_text().replace("\0", " ").strip()
        except OSError:
            continue
    return found


def read_processes():
    """{number: Process} of all there are."""
    found = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            head, tail = stat.read_text().rsplit(") ", 1)
            command = (stat.parent / "cmdline").read_text().replace("\0", " ").strip()
        except OSError:
            continue
        pid, name = head.split(" (", 1)
        fields = tail.split()
        found[int(pid)] = Process(name, command, fields[0], int(fields[1]), int(fields[19]))
    return found


def descendants(pid, processes):
    """{(number, when it began)} of the children of `pid`, and of theirs."""
    found = set()
    for child, one in processes.items():
        if one.parent == pid:
            found |= {(child, one.begin)} | descendants(child, processes)
    return found


def wait_for(condition, seconds, what):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what()
        time.sleep(0.01)


def session_of_its_own(ignored):
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    os.setsid()
    for number in ignored:
        signal.signal(number, signal.SIG_IGN)


class Tour:
    """One `srv play`, in a session of its own as under a terminal; its folders are made in `folder`."""

    def __init__(self, *args, stderr=subprocess.PIPE, env=None, ignored=(), folder="srv-tour."):
        program = srv_binary()
        self.mark = uuid.uuid4().hex
        self.folder = Path(tempfile.mkdtemp(prefix=folder))
        self.folder.chmod(0o755)  # PostgreSQL runs as another user
        self.begun = int(time.time())
        self.seen = set()  # (number, when it began)
        self.process = subprocess.Popen(
            [program, "play", *args],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            env=clean_environment({MARK: self.mark, "TMPDIR": str(self.folder), **(env or {})}),
            preexec_fn=lambda: session_of_its_own(ignored),
        )

    def living(self):
        """{number: command line} of what runs of it; some overwrite their environment with a title."""
        found = marked(self.mark)
        processes = read_processes()
        self.seen |= {(pid, processes[pid].begin) for pid in found if pid in processes}
        self.seen |= descendants(self.process.pid, processes)
        for pid, begin in self.seen:
            one = processes.get(pid)
            if one and one.begin == begin and one.state != "Z" and one.name != CLEANER:
                found[pid] = one.command
        return found

    def wait_for_process(self, part):
        """Until one with `part` in its command line runs."""
        wait_for(
            lambda: any(part in command for command in self.living().values()),
            30,
            lambda: f"no {part}: {self.living()}",
        )

    def wait_for_load(self):
        """Until the load generator runs, and with it everything else."""
        self.wait_for_process(" bench ")

    def cleaners(self):
        """The living processes that remove its folders."""
        title = f"removes {self.folder}/"
        return [pid for pid, one in read_processes().items() if one.name == CLEANER and title in one.command]

    def shared_memory(self):
        """(id, maker) of the segments of System V that its processes made; numbers of processes are used again."""
        rows = [line.split() for line in Path("/proc/sysvipc/shm").read_text().splitlines()[1:]]
        segments = [(int(row[1]), int(row[4])) for row in rows if int(row[13]) >= self.begun]
        makers = {pid for pid, _ in self.seen}
        return [segment for segment in segments if segment[1] in makers]

    def left(self):
        return [*self.living().items(), *self.folder.iterdir(), *self.cleaners(), *self.shared_memory()]

    def end(self, timeout=30):
        """(exit code, stdout, stderr); nothing may be left then."""
        stdout, stderr = self.process.communicate(timeout=timeout)
        left = self.left()
        assert left == [], f"left: {left} by one that ended with {self.process.returncode}: {stderr}"
        return self.process.returncode, stdout, stderr

    def kill(self):
        """The end that it cannot prepare for."""
        self.process.kill()
        self.process.wait()
        wait_for(lambda: self.left() == [], 15, lambda: f"left: {self.left()}")

    def discard(self):
        """Whatever the test has come to."""
        for pid in self.living():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.process.wait()
        for pipe in (self.process.stdout, self.process.stderr):
            if pipe is not None:
                pipe.close()
        shutil.rmtree(self.folder, ignore_errors=True)
