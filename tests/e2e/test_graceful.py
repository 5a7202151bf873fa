# SPDX-License-Identifier: MIT
"""How a server leaves: nobody meets a dead connection, and load balancers get a moment to notice."""

import re
import signal
import threading
import time

import pytest
from control import fetch, metrics
from harness import RawConnection, children, get, is_refused, wait_for

REQUEST = b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n"
MODELS = ("single", "threaded", "pool", "green", "event")


class Regular(threading.Thread):
    """A client that keeps its connection and asks every 10 ms until it is told that it is closed."""

    def __init__(self, app):
        super().__init__()
        self.conn, self.answers, self.problem = RawConnection(app), 0, None
        self.start()

    def run(self):
        try:
            while True:
                self.conn.send(REQUEST % b"/?delay=0")
                reply = self.conn.read_response()
                self.answers += reply.status == 200
                if reply.headers.get("connection") == "close":
                    return
                time.sleep(0.01)
        except (OSError, AssertionError) as problem:
            self.problem = problem
        finally:
            self.conn.close()


@pytest.mark.parametrize("workers", ["0", "2"])
@pytest.mark.parametrize("model", ["threaded", "pool", "green", "event", "slowapi"])
def test_term_gives_each_kept_connection_a_last_answer(slowapi, serve, model, workers):
    if model == "slowapi":
        app = slowapi("--workers", "1" if workers == "0" else workers)
    else:
        app = serve("--model", model, "--workers", workers, upstream=slowapi())
    clients = [Regular(app) for _ in range(48)]
    wait_for(lambda: all(client.answers > 2 or client.problem for client in clients), what="a few answers")
    app.send_signal(signal.SIGTERM)
    for client in clients:
        client.join(20)
    assert [client.problem for client in clients if client.problem] == []
    assert app.wait(10) == 0


@pytest.mark.parametrize("model", ["threaded", "green"])
def test_idle_connections_hold_up_a_stop_for_the_graceful_timeout_at_most(serve, model):
    app = serve("--model", model, "--keep-alive", "60s", "--graceful-timeout", "1s", "--health-path", "/ok")
    with RawConnection(app) as conn:
        conn.send(REQUEST % b"/ok")
        assert conn.read_response().status == 200
        app.send_signal(signal.SIGTERM)
        assert app.wait(10) == 0
        assert conn.read_until_close() == b""
    assert "cancelling" not in app.stderr()  # there was nothing to cancel


# --- --graceful-delay ---------------------------------------------------------------------------


@pytest.mark.parametrize("workers", ["0", "2"])
@pytest.mark.parametrize("model", MODELS)
def test_graceful_delay_accepts_while_it_is_not_ready(slowapi, serve, model, workers):
    options = ("--graceful-delay", "2s", "--control", "127.0.0.1:0", "--health-path", "/health")
    app = serve("--model", model, "--workers", workers, *options, upstream=slowapi())
    wait_for(lambda: fetch(app, "/readyz").status == 200, what="ready")
    assert (get(app, "/health").status, get(app, "/health").text) == (200, "ok\n")
    started = time.monotonic()
    app.send_signal(signal.SIGTERM)
    wait_for(lambda: fetch(app, "/readyz").status == 503, what="not ready any more")
    assert get(app, "/?delay=0").status == 200 and get(app, "/health").status == 503
    assert fetch(app, "/healthz").status == 200
    assert app.wait() == 0
    assert time.monotonic() - started >= 1.9


@pytest.mark.parametrize("workers", ["0", "2"])
@pytest.mark.parametrize("model", ["threaded", "green"])
@pytest.mark.parametrize("signals", [(signal.SIGTERM, signal.SIGTERM), (signal.SIGTERM, signal.SIGINT)])
def test_a_second_signal_ends_the_delay(serve, model, workers, signals):
    app = serve("--model", model, "--workers", workers, "--graceful-delay", "1h")
    wait_for(lambda: len(children(app.pid)) == int(workers))
    for number in signals:
        app.send_signal(number)
        time.sleep(0.2)
    assert app.wait(10) == 0


# --- --health-path ------------------------------------------------------------------------------


@pytest.mark.parametrize("model", MODELS)
def test_health_costs_no_upstream_call(serve, model):
    """The upstream is gone."""
    app = serve("--model", model, "--health-path", "/health", "--upstream", "http://127.0.0.1:1/")
    assert get(app, "/?delay=0").status == 502
    for target in ("/health", "/health?who=me"):
        assert (get(app, target).status, get(app, target).text) == (200, "ok\n")
    assert get(app, "/health/").status == 404
    with RawConnection(app) as conn:
        conn.send(b"HEAD /health HTTP/1.1\r\nHost: x\r\n\r\n")
        assert conn.read_response("HEAD").status == 200
    with RawConnection(app) as conn:
        conn.send(b"POST /health HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
        assert conn.read_response().status != 200


@pytest.mark.parametrize("slots", [("pool", "--threads", "1"), ("green", "--async-cores", "1")], ids=" ".join)
def test_health_takes_no_slot(slowapi, serve, slots):
    app = serve("--model", *slots, "--health-path", "/health", upstream=slowapi("--graceful-timeout", "0"))
    with RawConnection(app) as busy:
        busy.send(REQUEST % b"/?delay=1.5")
        time.sleep(0.3)
        with RawConnection(app) as conn:
            for _ in range(3):  # kept
                conn.send(REQUEST % b"/health")
                assert conn.read_response().status == 200
        assert busy.read_response().status == 200


def test_a_bad_health_path_is_refused(srv_run):
    for path in ("health", "/a?b", "/a b", "", "/a\x01", "/a\t", "/a\x7f"):
        done = srv_run("serve", "--health-path", path)
        assert done.returncode == 2 and re.match(r"srv serve: --health-path: .*\n$", done.stderr), done.stderr


# --- counters -----------------------------------------------------------------------------------


def mapped(pid):
    """Bytes of counters in the address space."""
    with open(f"/proc/{pid}/maps") as maps:
        spans = [line.split()[0].split("-") for line in maps if "srv-stats" in line]
    return sum(int(end, 16) - int(start, 16) for start, end in spans)


def test_counters_take_what_the_workers_need(serve):
    app = serve("--workers", "2", "--control", "127.0.0.1:0")
    wait_for(lambda: len(children(app.pid)) == 3)
    wait_for(lambda: metrics(app).get("srv_starts_total") == 2)
    assert all(mapped(pid) < 4_000_000 for pid in (app.pid, *children(app.pid)))
    assert sum(mapped(pid) > 0 for pid in children(app.pid)) == 3
    for workers in range(3, 7):  # one by one: signals that come together are one
        app.send_signal(signal.SIGTTIN)
        wait_for(lambda: metrics(app).get("srv_starts_total") == workers, what=f"counters of {workers} workers")
    app.send_signal(signal.SIGHUP)
    wait_for(lambda: metrics(app).get("srv_starts_total") == 12, what="counters of their successors")
    assert not is_refused(app)
