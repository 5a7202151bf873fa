# SPDX-License-Identifier: MIT
"""Size budgets of the C sources; what may break them stands, with its reason, in budget_exceptions.txt."""

import json
import re
import subprocess

import pytest
from tree import LAYERS, ROOT, files, lines

FUNCTION_LINES_MAX = 70
FILE_LINES_MAX = {".c": 800, ".h": 160}
COLUMNS_MAX = 100
EXCEPTIONS = ROOT / "tests/checks/budget_exceptions.txt"

sources = files(".c", ".h", under=(*LAYERS, "include", "tests"))
scripts = [path for path in files("", under=("scripts", ".ci")) if path.suffix not in (".lua", ".json")]
texts = sources + files(".py", "meson.build", "meson_options.txt", ".md", ".yml") + scripts


def long_functions():
    """function-lines PATH:NAME"""
    command = ["ctags", "--languages=C", "--langmap=C:.c.h", "--kinds-C=f", "--fields=+ne", "--output-format=json", "-f", "-"]
    done = subprocess.run([*command, *map(str, sources)], cwd=ROOT, text=True, capture_output=True, check=True)
    for tag in map(json.loads, done.stdout.splitlines()):
        length = tag.get("end", tag["line"]) - tag["line"] + 1
        if length > FUNCTION_LINES_MAX:
            yield f"function-lines {tag['path']}:{tag['name']}", f"{length} lines, {FUNCTION_LINES_MAX} allowed"


def long_files():
    """file-lines PATH"""
    for path in sources:
        length, allowed = len(lines(path)) - 1, FILE_LINES_MAX[path.suffix]
        if length > allowed:
            yield f"file-lines {path}", f"{length} lines, {allowed} allowed"


def wide_lines():
    """columns PATH"""
    for path in sources:
        wide = [number for number, line in enumerate(lines(path), 1) if len(line) > COLUMNS_MAX]
        if wide:
            yield f"columns {path}", f"lines {wide} are wider than {COLUMNS_MAX}"


def read_exceptions():
    """{"RULE PATH": reason}; a line is `RULE PATH: reason`, `#` starts a comment line."""
    exceptions = {}
    for line in EXCEPTIONS.read_text().splitlines():
        if line.strip() and not line.startswith("#"):
            key, _, reason = line.partition(": ")
            assert reason.strip(), f"no reason given: {line}"
            exceptions[key] = reason
    return exceptions


@pytest.mark.parametrize("rule", [long_functions, long_files, wide_lines], ids=lambda rule: rule.__name__)
def test_budget(rule):
    exceptions = read_exceptions()
    broken = [f"{key}: {what}" for key, what in rule() if key not in exceptions]
    assert not broken, "\n".join(broken)


def test_every_exception_is_needed():
    needed = {key for rule in (long_functions, long_files, wide_lines) for key, _ in rule()}
    stale = sorted(set(read_exceptions()) - needed)
    assert not stale, f"remove from {EXCEPTIONS.name}: {stale}"


def test_nothing_is_left_to_do():
    marks = re.compile(r"\b(TO" r"DO|FIX" r"ME|XX" r"X)\b")
    found = [f"{path}:{n}: {line}" for path in texts for n, line in enumerate(lines(path), 1) if marks.search(line)]
    assert not found, "\n".join(found)


def test_sources_begin_with_licence_and_purpose():
    wrong = []
    for path in sources:
        first, second = (lines(path) + [""])[:2]
        if first != "/* SPDX-License-Identifier: MIT */":
            wrong.append(f"{path}: line 1 is not the SPDX line")
        elif not re.match(r"/\* \S", second):
            wrong.append(f"{path}: line 2 does not say what the file is for")
    for path in files(".py", "meson.build", "meson_options.txt") + scripts:
        if "# SPDX-License-Identifier: MIT" not in lines(path)[:2]:
            wrong.append(f"{path}: no SPDX line")
    assert not wrong, "\n".join(wrong)
