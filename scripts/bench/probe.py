# SPDX-License-Identifier: MIT
"""Reads CPU time and memory of a process and its descendants from /proc."""

import os
import re
from pathlib import Path

TICK_NS = 1_000_000_000 // os.sysconf("SC_CLK_TCK")


def tree(pid):
    """`pid` and all its living descendants."""
    pids = [pid]
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in read(task).split():
            pids += tree(int(child))
    return pids


def read(path):
    """Empty when the process has just gone."""
    try:
        return Path(path).read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def cpu_ns(pid):
    """Time on CPU so far of the tree, in nanoseconds: user and system, all threads.

    schedstat is exact but forgets threads that ended; stat remembers them but counts in ticks and rounds down.
    """
    return sum(max(exact_ns(one), ticks_ns(one)) for one in tree(pid))


def exact_ns(pid):
    return sum(int((read(stat) or "0").split()[0]) for stat in Path(f"/proc/{pid}/task").glob("*/schedstat"))


def ticks_ns(pid):
    fields = read(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * TICK_NS if fields else 0


def switches(pid):
    """Context switches so far of the tree, all threads that live: (sleeps, preemptions). A thread that waits sleeps; one
    that has work left and loses its processor was preempted."""
    total = {"": 0, "non": 0}
    for one in tree(pid):
        for task in Path(f"/proc/{one}/task").glob("*"):
            for kind, count in re.findall(r"^(|non)voluntary_ctxt_switches:\s+(\d+)", read(f"{task}/status"), re.M):
                total[kind] += int(count)
    return total[""], total["non"]


def memory_bytes(pid):
    """{"Pss": ..., "Pss_Anon": ...} of the tree, in bytes."""
    total = {"Pss": 0, "Pss_Anon": 0}
    for one in tree(pid):
        for name, kilobytes in re.findall(r"^(\w+): +(\d+) kB", read(f"/proc/{one}/smaps_rollup"), re.M):
            if name in total:
                total[name] += int(kilobytes) * 1024
    return total
