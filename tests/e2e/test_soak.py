# SPDX-License-Identifier: MIT
"""scripts/soak stands: a short slice of it, with load, broken clients, a killed worker and a reload."""

import subprocess
import sys

from harness import ROOT, die_with_parent, srv_binary


def test_soak():
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "soak", "--seconds", "1", "--events", "3", "--rate", "100", "--model", "green"],
        env={"SRV_BIN": srv_binary(), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=80,
        preexec_fn=die_with_parent,
    )
    assert done.returncode == 0, done.stdout + done.stderr
