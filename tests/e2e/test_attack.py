# SPDX-License-Identifier: MIT
"""scripts/attack stands: a small slice of it, so that it goes on working and finds the coarse things early."""

import subprocess
import sys

import pytest
from harness import ROOT, die_with_parent, srv_binary

SLICES = {
    "strings": ("--only", "strings", "--strings", "1500", "--model", "green", "--model", "pool"),
    "clients": ("--only", "clients", "--clients", "10", "--model", "pool"),
    "descriptors": ("--only", "descriptors", "--model", "event", "--model", "green"),
    "kill": ("--only", "kill", "--kills", "2", "--model", "threaded"),
    "storm": ("--only", "storm", "--model", "single", "--model", "green"),
    "upstreams": ("--only", "upstreams", "--requests", "64", "--model", "pool"),
}


@pytest.mark.parametrize("name", SLICES)
def test_attack(name):
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "attack", *SLICES[name]],
        env={"SRV_BIN": srv_binary(), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=80,
        preexec_fn=die_with_parent,
    )
    assert done.returncode == 0, done.stdout + done.stderr
