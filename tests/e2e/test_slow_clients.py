# SPDX-License-Identifier: MIT
"""slowhttptest's slow heads, slow bodies and slow readers, all three at once: who comes meanwhile is served."""

import re
import subprocess
import time

import pytest
from harness import die_with_parent, get

SLOW = (("-H", "-i", "1"), ("-B", "-i", "1"), ("-X", "-w", "10", "-y", "20", "-n", "1", "-z", "16", "-k", "2"))
COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def slow_clients(app, how):
    args = ("-c", "200", "-r", "200", "-l", "4", "-p", "3", "-u", f"{app.url}?delay=0")
    return subprocess.Popen(
        ["slowhttptest", *how, *args], stdout=subprocess.PIPE, text=True, preexec_fn=die_with_parent
    )


@pytest.mark.parametrize("model", [("green",), ("pool", "--threads", "4")], ids=lambda model: model[0])
def test_service_is_available_throughout(slowapi, serve, model):
    app = serve("--model", *model, upstream=slowapi())
    tests = [slow_clients(app, how) for how in SLOW]
    waits = []
    for _ in range(8):
        time.sleep(0.4)
        began = time.monotonic()
        assert get(app, "/?delay=0").status == 200
        waits.append(time.monotonic() - began)
    for test in tests:
        said = COLOURS.sub("", test.communicate(timeout=30)[0])
        available = re.findall(r"service available:\s+(\w+)", said)
        assert available and set(available) == {"YES"}, said
    assert max(waits) < 3
