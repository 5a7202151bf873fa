# SPDX-License-Identifier: MIT
"""scripts/attack stands: a small slice of it, so that it goes on working and finds the coarse things early."""

import pytest
from harness import run_script

SLICES = {
    "strings": ("--only", "strings", "--strings", "1500", "--model", "green", "--model", "pool"),
    "logs": ("--only", "logs"),
    "names": ("--only", "names"),
    "clients": ("--only", "clients", "--clients", "10", "--model", "pool"),
    "descriptors": ("--only", "descriptors", "--model", "event", "--model", "green"),
    "kill": ("--only", "kill", "--kills", "2", "--model", "threaded"),
    "storm": ("--only", "storm", "--model", "single", "--model", "green"),
    "operator": ("--only", "operator", "--model", "pool"),
    "upstreams": ("--only", "upstreams", "--requests", "64", "--model", "pool", "--model", "single"),
}


@pytest.mark.parametrize("name", SLICES)
def test_attack(name):
    done = run_script("attack", *SLICES[name])
    assert done.returncode == 0, done.stdout + done.stderr
