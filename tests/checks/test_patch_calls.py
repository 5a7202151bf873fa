# SPDX-License-Identifier: MIT
"""The calls that are patched: one table in fiber/meson.build, which program and manual agree with."""

import os
import re
import subprocess
import sys

import pytest
from tree import ROOT

SRV = os.environ.get("SRV_BIN", str(ROOT / "build/release/cmd/srv"))


def table(name):
    """All names of the table."""
    text = re.search(rf"^{name} = {{\n(.*?)^}}", (ROOT / "fiber/meson.build").read_text(), re.MULTILINE | re.DOTALL)[1]
    return re.findall(r"'(\w+)'(?!:)", text)


@pytest.mark.parametrize("name", ["patch_calls", "patch_others"])
def test_each_call_stands_there_once(name):
    assert table(name) and sorted(table(name)) == sorted(set(table(name)))


def test_the_program_exports_what_it_hooks_and_nothing_else():
    listed = subprocess.run(["nm", "-D", "--defined-only", SRV], capture_output=True, text=True, check=True).stdout
    exported = {line.split()[2].split("@")[0] for line in listed.splitlines() if line.split()[1] in "TW"}
    if any(name.startswith(("__asan_", "__tsan_")) for name in exported):
        pytest.skip("the runtime of a sanitizer exports its interceptors")
    assert {name for name in exported if not name.startswith(("srv_", "_"))} <= set(table("patch_calls"))
    assert set(table("patch_calls")) <= exported


def test_the_manual_has_the_same_calls():
    done = subprocess.run(
        [sys.executable, "scripts/docs-options", "--check", SRV, "patching"], cwd=ROOT, text=True, capture_output=True
    )
    assert done.returncode == 0, done.stdout + done.stderr + "\nrun scripts/docs-options"
