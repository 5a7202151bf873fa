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


def test_comments_begin_with_their_subject(structure):
    too_many = []
    for folder, row in structure["folders"].items():
        percent = 100 * len(row["subjects"]) / row["comments"]
        if percent > SUBJECTLESS_PERCENT_MAX:
            too_many += [f"{folder}/: {percent:.1f} % of the comments begin without a subject, 3 % allowed:", *row["subjects"]]
    assert not too_many, "\n".join(too_many)


# Of two ways to say something, one: pattern, and what to write.
DIALECT = [
    (r"\bstrerror\(", "strerrordesc_np: it takes no lock and allocates nothing, on a small stack or after a fork"),
    (r"^/\* --- [^*]*-$", "/* --- a banner --- */ that ends on its line, with fewer dashes"),
]


@pytest.mark.parametrize("pattern, instead", DIALECT, ids=["errors", "banners"])
def test_there_is_one_way_to_say_it(pattern, instead):
    said = re.compile(pattern)
    sources = files(".c", ".h", under=(*LAYERS, "include", "examples", "tests"))
    found = [f"{path}:{number}" for path in sources for number, line in enumerate(lines(path), 1) if said.search(line)]
    assert not found, f"write {instead}: {found}"
