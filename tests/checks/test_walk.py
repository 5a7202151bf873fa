# SPDX-License-Identifier: MIT
"""The README's walk through the source and the table of docs/hacking.md tell the truth.

What they name is in the file that they name; and where they say that A calls B, B stands in the body of A."""

import json
import re
import subprocess

import pytest
from tree import LAYERS, ROOT, files, lines

# `name`, `name` and `name` in `file`
NAMED = re.compile(r"((?:`\w+`(?:, | and )?)+)\s+in\s+`([\w/.]+\.[ch])`")
# "`A` in `file` calls `B`, `C` and then `D`": a claim is a verb and those that follow it; who calls stands before it.
CALL = re.compile(r"\b(calls?)((?:(?:,? and then|,? and|,? or|,)? `\w+`(?: in `[\w/.]+`)?)+)")
CALLERS = re.compile(r"((?:`\w+`(?: in `[\w/.]+`)?(?:, | and )?)+)")
ONE = re.compile(r"`(\w+)`(?: in `([\w/.]+)`)?")

PAGES = {"README.md": (30, 30), "docs/hacking.md": (60, 25)}


def section(page):
    """The walk of the README, all of docs/hacking.md: on one line, as Markdown reads it."""
    text = (ROOT / page).read_text()
    if page == "README.md":
        text = text[text.index("\n## Follow a request") : text.index("\nWhere is a worker respawned")]
    return re.sub(r"\s+", " ", text)


@pytest.fixture(scope="module")
def tags():
    """[{name, path, line, end}] of functions, tables and macros."""
    paths = [str(path) for path in files(".c", ".h", under=(*LAYERS, "include", "examples"))]
    command = ["ctags", "--languages=C", "--langmap=C:.c.h", "--kinds-C=fvd", "--fields=+ne", "--output-format=json", "-f", "-"]
    done = subprocess.run([*command, *paths], cwd=ROOT, text=True, capture_output=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def clauses(text):
    """Cut at dots, colons, semicolons and cells of tables, but not within a name."""
    return re.split(r"[.:;|](?=\s)", text)


def claims(text):
    """(caller, its file or "", callee). "calls" has one caller, the last that is named; "call" has all of the last list."""
    for clause in clauses(text):
        for found in CALL.finditer(clause):
            lists = CALLERS.findall(clause[: found.start()])
            assert lists, f"name the one that calls: {clause.strip()}"
            callers = ONE.findall(lists[-1])
            for caller, path in callers if found[1] == "call" else callers[-1:]:
                for callee, _ in ONE.findall(found[2]):
                    yield caller, path, callee


def does_call(tags, caller, path, callee):
    """Whether `callee` stands in the body of a function `caller`: of that file, or of any."""
    bodies = [tag for tag in tags if tag["name"] == caller and "end" in tag and path in ("", tag["path"])]
    return any(
        re.search(rf"\b{callee}\b", "\n".join(lines(tag["path"])[tag["line"] : tag["end"]])) for tag in bodies
    )


@pytest.mark.parametrize("page", PAGES)
def test_what_is_named_is_in_its_file(page, tags):
    named = [(name, path) for names, path in NAMED.findall(section(page)) for name in re.findall(r"`(\w+)`", names)]
    assert len(named) >= PAGES[page][0]
    there = {(tag["name"], tag["path"]) for tag in tags}
    astray = [f"{name} in {path}" for name, path in named if (name, path) not in there]
    assert not astray, f"{page}: there is no {', no '.join(astray)}; name where it is now, or what has its place"


@pytest.mark.parametrize("page", PAGES)
def test_what_is_said_to_call_does(page, tags):
    told = set(claims(section(page)))
    assert len(told) >= PAGES[page][1]
    false = [f"{caller} does not call {callee}" for caller, path, callee in sorted(told) if not does_call(tags, caller, path, callee)]
    assert not false, f"{page}: {', '.join(false)}"


def test_claims_are_read_as_they_are_meant():
    text = "`a` in `x.c` calls `b` and `c` in `y.c`, which calls `d`. `e` notes it and calls `f` and then `g`. `h` and `i` call `j`."
    assert list(claims(text)) == [
        ("a", "x.c", "b"), ("a", "x.c", "c"), ("c", "y.c", "d"), ("e", "", "f"), ("e", "", "g"), ("h", "", "j"), ("i", "", "j"),
    ]


def test_a_false_claim_is_found(tags):
    assert does_call(tags, "percentile_of", "loadgen/percentile.c", "walk_to")
    assert not does_call(tags, "percentile_of", "loadgen/percentile.c", "hist_quantile")
    assert not does_call(tags, "reap", "proc/prefork.c", "spawn")


@pytest.mark.parametrize("page", PAGES)
def test_calls_are_told_in_the_words_that_are_checked(page):
    """Not "called by `x`" and not "`x` calls it"."""
    loose = re.findall(r"[^.;|]*(?:called by `|` calls (?:it|them)\b)[^.;|]*", section(page))
    assert not loose, f"{page}: write `A` calls `B`: {loose}"


def test_readme_leads_to_where_things_are():
    assert "](docs/hacking.md#where-is)" in (ROOT / "README.md").read_text()
    assert "\n## Where is\n" in (ROOT / "docs/hacking.md").read_text()
