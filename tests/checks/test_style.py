# SPDX-License-Identifier: MIT
"""The C sources look as if one hand wrote them."""

import subprocess

from tree import ROOT


def test_sources_are_formatted():
    done = subprocess.run(["scripts/format", "--check"], cwd=ROOT, text=True, capture_output=True)
    assert done.returncode == 0, f"run: scripts/format {' '.join(done.stdout.split())}\n{done.stderr}"
