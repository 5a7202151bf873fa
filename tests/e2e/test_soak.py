# SPDX-License-Identifier: MIT
"""scripts/soak stands: a short slice of it, with load, broken clients, killed processes and a reload."""

from harness import run_script


def test_soak():
    done = run_script("soak", "--seconds", "1", "--events", "4", "--rate", "100", "--model", "green")
    assert done.returncode == 0, done.stdout + done.stderr
