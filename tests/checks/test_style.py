# SPDX-License-Identifier: MIT
"""The C sources look as if one hand wrote them."""

import json
import re
import subprocess

import pytest
from tree import LAYERS, ROOT, files, lines


def test_sources_are_formatted():
    done = subprocess.run(["scripts/format", "--check"], cwd=ROOT, text=True, capture_output=True)
    assert done.returncode == 0, f"run: scripts/format {' '.join(done.stdout.split())}\n{done.stderr}"


def test_editors_are_told_what_the_formatter_does():
    formatter = dict(re.findall(r"^(\w+): (\w+)$", (ROOT / ".clang-format").read_text(), re.M))
    for_all, for_c = (ROOT / ".editorconfig").read_text().split("[*]")[1].split("[*.{c,h}]")
    assert f"indent_size = {formatter['IndentWidth']}\n" in for_all
    assert f"max_line_length = {formatter['ColumnLimit']}\n" in for_c.split("[")[0]


def test_text_is_as_editors_are_told():
    wrong = []
    for path in files("", under=(*LAYERS, "include", "docs", "scripts", "tests")) + files(".md", ".yml", "meson.build"):
        if path.suffix != ".png" and "corpus" not in path.parts and (text := (ROOT / path).read_bytes()):
            if b"\t" in text or b"\r" in text or re.search(rb"[ \t]$", text, re.M) or not text.endswith(b"\n"):
                wrong.append(str(path))
    assert not wrong, f"a tab, a carriage return, a space at the end of a line, or no line end at the end: {wrong}"


@pytest.fixture(scope="module")
def structure():
    """The figures of scripts/measure-structure."""
    done = subprocess.run(["scripts/measure-structure", "--json"], cwd=ROOT, text=True, capture_output=True, check=True)
    return json.loads(done.stdout)


def test_struct_tags_are_unique(structure):
    assert not structure["doubled_tags"]


# A comment's first word is the thing or the function's verb: "it", "what" or "of which" sends the reader elsewhere first.
SUBJECTLESS_PERCENT_MAX = 3
# Folders that are above it today, and what they may have; a figure here only goes down.
SUBJECTLESS_TODAY = {"server": 19}


def test_comments_begin_with_their_subject(structure):
    too_many = []
    for folder, row in structure["folders"].items():
        percent, allowed = 100 * len(row["subjects"]) / row["comments"], SUBJECTLESS_TODAY.get(folder, SUBJECTLESS_PERCENT_MAX)
        if percent > allowed:
            too_many += [f"{folder}/: {percent:.1f} % of the comments begin without a subject, {allowed} % allowed:", *row["subjects"]]
    assert not too_many, "\n".join(too_many)


# Of two ways to say something, one: pattern, what to write, folders that have not come round yet.
DIALECT = [
    (r"\bstrerror\(", "strerrordesc_np: it takes no lock and allocates nothing, on a small stack or after a fork",
     set()),
    (r"^/\* --- [^*]*-$", "/* --- a banner --- */ that ends on its line, with fewer dashes", {"server"}),
]  # fmt: skip


@pytest.mark.parametrize("pattern, instead, not_yet", DIALECT, ids=["errors", "banners"])
def test_there_is_one_way_to_say_it(pattern, instead, not_yet):
    said = re.compile(pattern)
    sources = [path for path in files(".c", ".h", under=(*LAYERS, "tests")) if path.parts[0] not in not_yet]
    found = [f"{path}:{number}" for path in sources for number, line in enumerate(lines(path), 1) if said.search(line)]
    assert not found, f"write {instead}: {found}"
