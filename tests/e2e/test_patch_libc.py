# SPDX-License-Identifier: MIT
"""Every patched call does what libc's does: applications run with and without patching, and say the same."""

import re
from pathlib import Path

import pytest
from harness import get
from test_handlers import build

HERE = Path(__file__).parent
SOURCES = {name: (HERE / name).read_text() for name in ("patch_calls.c", "patch_waits.c")}
CASES = [(file, name) for file, text in SOURCES.items() for name in re.findall(r'\{ "([a-z-]+)", case_', text)]


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """built(FILE) -> the path of its object."""
    where = tmp_path_factory.mktemp("calls")
    return {name: build(where, text, f"{name}.so", flags=("-I", HERE)) for name, text in SOURCES.items()}


@pytest.mark.parametrize(("file", "name"), CASES)
def test_a_patched_call_does_what_libc_does(serve, built, file, name):
    texts = {}
    for patch in ("off", "on"):
        app = serve("--workers", "0", "--patch", patch, built[file])
        reply = get(app, f"/case/{name}")
        assert reply.status == 200, app.stderr()
        texts[patch] = reply.text
    assert texts["on"] == texts["off"]
    assert texts["on"].count("\n") >= 2


def test_every_call_that_is_patched_is_tried():
    fiber = HERE.parents[1] / "fiber"
    hooks = "".join((fiber / f"patch_{what}.c").read_text() for what in ("io", "poll"))
    names = re.findall(r"^PATCH_ORIGINAL\((\w+)\)", hooks, re.M)
    tried = "".join(SOURCES.values())
    assert len(names) > 30
    assert [name for name in names if f" {name}(" not in tried and name != "sendfile64"] == []
