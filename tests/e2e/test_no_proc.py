# SPDX-License-Identifier: MIT
"""A system without /proc, as a chroot or a strict sandbox is: everything starts, and refuses only what needs it."""

import os
import signal

import pytest
from control import metrics
from harness import Server, get, run, srv_binary, wait_for

ROOT = () if os.geteuid() == 0 else ("--map-root-user",)
WITHOUT = ("unshare", *ROOT, "--mount", "sh", "-c", 'mount -t tmpfs none /proc && exec "$0" "$@"')

class Sandboxed(Server):
    launcher = WITHOUT

    def stop(self):
        """A sanitized program cannot end well: what looks for leaks, and for the options of that, reads /proc."""
        self.kill()
        assert "runtime error" not in self.stderr() and "ERROR: AddressSanitizer" not in self.stderr()


@pytest.mark.parametrize("workers", ["0", "2"])
@pytest.mark.parametrize("model", ["single", "threaded", "pool", "green", "event"])
def test_serve_starts(start, model, workers):
    api = start("slowapi", "--workers", "2", kind=Sandboxed)
    app = start("serve", "--model", model, "--workers", workers, "--upstream", api.url, kind=Sandboxed)
    assert get(app, "/?delay=0").text == "Hi there! slow api response"


def test_an_upgrade_is_refused_with_the_reason(start):
    app = start("serve", "--workers", "1", kind=Sandboxed)
    app.send_signal(signal.SIGUSR2)
    wait_for(lambda: "upgrade refused: " in app.stderr() and "/proc/self/exe" in app.stderr(), what="the reason")
    assert get(app, "/nope").status == 404


def test_metrics_leave_out_what_they_do_not_know(start):
    app = start("serve", "--workers", "1", "--control", "127.0.0.1:0", kind=Sandboxed)
    assert get(app, "/nope").status == 404
    seen = metrics(app)
    assert seen["srv_connections_opened_total"] == 1 and not any("rss_bytes" in series for series in seen)


def test_bench_loads(start):
    api = start("slowapi", kind=Sandboxed)
    done = run(*WITHOUT[1:], srv_binary(), "bench", "-q", "-n", "4", f"{api.url}?delay=0", binary=WITHOUT[0])
    assert "Complete requests:      4" in done.stdout, done.stderr
