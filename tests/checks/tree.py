# SPDX-License-Identifier: MIT
"""What the checks look at: the files of the repository."""

import os
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LAYERS = ("base", "http", "net", "fiber", "proc", "relay", "waits", "server", "slowapi", "loadgen", "bench", "playground", "lab", "cmd")


def files(*suffixes, under=("",)):
    """Paths relative to ROOT, sorted; build and hidden folders left out."""
    found = []
    for folder in under:
        for parent, folders, names in os.walk(ROOT / folder):
            folders[:] = [name for name in folders if not name.startswith((".", "build", "__pycache__"))]
            found += [Path(parent, name).relative_to(ROOT) for name in names if name.endswith(suffixes)]
    return sorted(found)


def lines(path):
    return (ROOT / path).read_text().split("\n")


def includes(path):
    """(line number, "<" or '"', name) of each #include."""
    for number, line in enumerate(lines(path), 1):
        if found := re.match(r'\s*#\s*include\s*([<"])([^>"]+)[>"]', line):
            yield number, found[1], found[2]
