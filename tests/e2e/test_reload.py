# SPDX-License-Identifier: MIT
"""Operating srv serve under load: reloads and upgrades lose nothing."""

import os
import signal
import threading
import time
from pathlib import Path

import pytest
from harness import RawConnection

MODELS = ("green", "pool", "threaded", "single", "event")
REQUEST = b"GET /?delay=0.2 HTTP/1.1\r\nHost: x\r\n\r\n"


def children(pid):
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def wait_until(condition, seconds=20):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


class Clients:
    """Keep-alive clients at full speed, each on one connection until the server says close."""

    def __init__(self, app, count):
        self.app, self.done, self.lost, self.slowest = app, 0, [], 0.0
        self.lock, self.stopping = threading.Lock(), threading.Event()
        self.threads = [threading.Thread(target=self.run) for _ in range(count)]
        for thread in self.threads:
            thread.start()

    def run(self):
        conn = None
        while not self.stopping.is_set():
            start = time.monotonic()
            try:
                if conn is None:
                    conn = RawConnection(self.app)
                conn.send(REQUEST)
                reply = conn.read_response()
                problem = None if reply.status == 200 else reply.status
            except (OSError, AssertionError) as error:
                reply, problem = None, error
            with self.lock:
                self.done += problem is None
                self.slowest = max(self.slowest, time.monotonic() - start)
                if problem is not None:
                    self.lost.append(str(problem))
            if reply is None or reply.headers.get("connection", "").lower() == "close":
                conn.close()
                conn = None
        if conn is not None:
            conn.close()

    def stop(self):
        self.stopping.set()
        for thread in self.threads:
            thread.join()


@pytest.mark.parametrize("model", MODELS)
def test_hup_replaces_every_worker_and_loses_nothing(slowapi, serve, model):
    app = serve("--model", model, "--workers", "2", upstream=slowapi("--workers", "2"))
    wait_until(lambda: len(children(app.pid)) == 2)
    first = set(children(app.pid))
    clients = Clients(app, 2 if model == "single" else 16)
    time.sleep(0.5)
    app.send_signal(signal.SIGHUP)
    wait_until(lambda: len(set(children(app.pid)) - first) == 2)
    time.sleep(0.5)
    app.send_signal(signal.SIGHUP)
    time.sleep(1)
    clients.stop()
    assert clients.lost == [] and clients.done > 0
    wait_until(lambda: len(children(app.pid)) == 2, 30)
    assert not first & set(children(app.pid))


def test_worker_killed_during_a_reload_is_replaced(slowapi, serve):
    app = serve("--workers", "2", upstream=slowapi())
    wait_until(lambda: len(children(app.pid)) == 2)
    app.send_signal(signal.SIGHUP)
    os.kill(children(app.pid)[0], signal.SIGKILL)
    wait_until(lambda: len(children(app.pid)) == 2)
    with RawConnection(app) as conn:
        conn.send(REQUEST)
        assert conn.read_response().status == 200
