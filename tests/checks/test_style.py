# SPDX-License-Identifier: MIT
"""The C sources look as if one hand wrote them."""

import json
import subprocess

from tree import ROOT


def test_sources_are_formatted():
    done = subprocess.run(["scripts/format", "--check"], cwd=ROOT, text=True, capture_output=True)
    assert done.returncode == 0, f"run: scripts/format {' '.join(done.stdout.split())}\n{done.stderr}"


# A comment's first word is the thing or the function's verb: "it", "what" or "of which" sends the reader elsewhere first.
SUBJECTLESS_PERCENT_MAX = 3
# Folders that are above it today, and what they may have; a figure here only goes down.
SUBJECTLESS_TODAY = {
    "base": 14, "http": 10, "net": 16, "fiber": 14, "proc": 23,
    "server": 25, "slowapi": 20, "loadgen": 19, "playground": 23,
}  # fmt: skip


def test_comments_begin_with_their_subject():
    done = subprocess.run(["scripts/measure-structure", "--json"], cwd=ROOT, text=True, capture_output=True, check=True)
    too_many = []
    for folder, row in json.loads(done.stdout)["folders"].items():
        percent, allowed = 100 * len(row["subjects"]) / row["comments"], SUBJECTLESS_TODAY.get(folder, SUBJECTLESS_PERCENT_MAX)
        if percent > allowed:
            too_many += [f"{folder}/: {percent:.1f} % of the comments begin without a subject, {allowed} % allowed:", *row["subjects"]]
    assert not too_many, "\n".join(too_many)
