# SPDX-License-Identifier: MIT
"""The README's walk through the source and the table of docs/hacking.md name what is in the file that they name."""

import json
import re
import subprocess

import pytest
from tree import ROOT

# `name`, `name` and `name` in `file`
NAMED = re.compile(r"((?:`\w+`(?:, | and )?)+)\s+in\s+`([\w/.]+\.[ch])`")


def defined_in(paths):
    """{(name, path)} of functions, tables and macros."""
    command = ["ctags", "--languages=C", "--langmap=C:.c.h", "--kinds-C=fvd", "--output-format=json", "-f", "-"]
    done = subprocess.run([*command, *paths], cwd=ROOT, text=True, capture_output=True, check=True)
    return {(tag["name"], tag["path"]) for tag in map(json.loads, done.stdout.splitlines())}


@pytest.mark.parametrize("page, count_min", [("README.md", 20), ("docs/hacking.md", 30)])
def test_what_is_named_is_in_its_file(page, count_min):
    found = NAMED.findall((ROOT / page).read_text())
    named = [(name, path) for names, path in found for name in re.findall(r"`(\w+)`", names)]
    assert len(named) >= count_min
    there = defined_in(sorted({path for _, path in named if (ROOT / path).exists()}))
    astray = [f"{name} in {path}" for name, path in named if (name, path) not in there]
    assert not astray, f"{page}: there is no {', no '.join(astray)}; name where it is now, or what has its place"


def test_readme_leads_to_where_things_are():
    assert "](docs/hacking.md#where-is)" in (ROOT / "README.md").read_text()
    assert "\n## Where is\n" in (ROOT / "docs/hacking.md").read_text()
