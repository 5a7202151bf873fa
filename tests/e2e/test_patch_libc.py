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
    """Here, or by the scenes of test_patch_lock.py and test_patch_names.py, which libc plays, too."""
    table = (HERE.parents[1] / "fiber" / "meson.build").read_text()
    names = re.findall(r"'(_Fork|_*[a-z]\w+)'", table[table.index("patch_calls = {") : table.index("\npatch_others = {")])
    tried = "".join(file.read_text() for pattern in ("patch_*.c", "test_patch*.py") for file in HERE.glob(pattern))
    assert len(names) > 90
    assert [name for name in names if not re.search(rf"\b{name}\(", tried)] == []
