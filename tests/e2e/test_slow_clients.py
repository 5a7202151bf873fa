# SPDX-License-Identifier: MIT
"""Clients that are slow to send or to read, slowhttptest's among them: who comes meanwhile is served."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest
from control import metrics
from harness import RawConnection, children, die_with_parent, get, wait_for
from upstreams import Upstream

SLOW = (("-H", "-i", "1"), ("-B", "-i", "1"), ("-X", "-w", "10", "-y", "20", "-n", "1", "-z", "16", "-k", "2"))
COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def slow_clients(app, how):
    args = ("-c", "200", "-r", "200", "-l", "4", "-p", "3", "-u", f"{app.url}?delay=0")
    return subprocess.Popen(
        ["slowhttptest", *how, *args], stdout=subprocess.PIPE, text=True, preexec_fn=die_with_parent
    )


@pytest.mark.parametrize("model", [("green",), ("pool", "--threads", "4"), ("event",)], ids=lambda model: model[0])
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


# --- clients that do not read ------------------------------------------------------------------------

ONE_SLOT = [("green", "--async-cores", "1"), ("pool", "--threads", "1"), ("event", "--async-cores", "1")]
LARGE = 6_000_000  # more than the socket buffers of both ends hold


def large_answer(conn, _count):
    conn.recv(4096)
    conn.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % LARGE + b"x" * LARGE)


def ask_and_do_not_read(app, fields=b""):
    conn = RawConnection(app)
    conn.send(b"GET /?delay=0 HTTP/1.1\r\nHost: x\r\n%b\r\n" % fields * 2)
    return conn


@pytest.mark.parametrize("model", ONE_SLOT, ids=lambda model: model[0])
def test_who_does_not_read_its_answer_holds_no_slot(serve, model):
    upstream = Upstream(large_answer)
    app = serve("--model", *model, "--upstream", upstream.url)
    slow = [ask_and_do_not_read(app) for _ in range(3)]
    time.sleep(0.3)
    assert len(get(app, "/?delay=0").body) == LARGE + len("Hi there! ")
    for conn in slow:  # each gets what it asked for, both times, once it reads
        assert [len(conn.read_response().body) for _ in range(2)] == [LARGE + len("Hi there! ")] * 2
        conn.close()
    upstream.close()


@pytest.mark.parametrize("model", [*ONE_SLOT, ("threaded",), ("single",)], ids=lambda model: model[0])
def test_who_does_not_read_its_answer_is_dropped(serve, model, tmp_path):
    upstream, log = Upstream(large_answer), tmp_path / "log"
    app = serve("--model", *model, "--upstream", upstream.url, "--send-timeout", "300ms", "--access-logfile", log)
    with ask_and_do_not_read(app, b"X_Y: dropped\r\nReferer: kept\r\n") as conn:
        wait_for(lambda: log.exists() and log.read_text(), what="its end logged")
        assert len(conn.read_until_close()) < LARGE
    assert '"GET /?delay=0 HTTP/1.1" 499 - "kept"' in log.read_text()
    upstream.close()


# --- clients that dawdle ------------------------------------------------------------------------------

MODELS = ("single", "threaded", "pool", "green", "event")


def said_in_time(conn, began):
    """A 408, some 3 s after the connection was made: 5 s if the clock had been set back by a byte."""
    assert conn.read_response().status == 408
    assert 2.7 < time.monotonic() - began < 4.9


@pytest.mark.parametrize("model", MODELS)
def test_header_timeout_runs_since_the_connection_was_made(serve, model):
    app = serve("--model", model, "--header-timeout", "3s")
    began = time.monotonic()
    with RawConnection(app) as conn:
        time.sleep(2)
        conn.send(b"G")
        said_in_time(conn, began)


@pytest.mark.parametrize("model", MODELS)
def test_a_proxy_header_does_not_set_the_header_timeout_back(serve, model):
    app = serve("--model", model, "--header-timeout", "3s", "--proxy-protocol")
    began = time.monotonic()
    with RawConnection(app) as conn:
        time.sleep(2)
        conn.send(b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n")
        time.sleep(0.1)
        conn.send(b"G")
        said_in_time(conn, began)


@pytest.mark.parametrize("model", MODELS[1:])
def test_header_timeout_of_a_later_request_runs_from_its_first_byte(slowapi, serve, model):
    app = serve("--model", model, "--header-timeout", "3s", "--keep-alive", "20s", upstream=slowapi())
    with RawConnection(app) as conn:
        conn.send(b"GET /?delay=0 HTTP/1.1\r\nHost: x\r\n\r\n")
        assert conn.read_response().status == 200
        time.sleep(3.2)
        began = time.monotonic()
        conn.send(b"G")
        said_in_time(conn, began)


LAST = b"GET /?delay=0 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
NEXT = b"GET /?delay=0 HTTP/1.1\r\nHost: x\r\n\r\n"


@contextlib.contextmanager
def the_rest_is_the_kernels(serve, model, log, request):
    """A client that reads slowly, when the server has written its large answer and is done.

    The app, the connection, and how much of the answer was read so far."""
    upstream = Upstream(large_answer)
    app = serve("--model", model, "--upstream", upstream.url, "--access-logfile", log)
    with RawConnection(app) as conn:
        conn.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
        conn.send(request)
        count = 0
        while not (log.exists() and log.read_text()):
            count += len(conn.sock.recv(16384))
            time.sleep(0.01)
        yield app, conn, count
    upstream.close()


@pytest.mark.parametrize("model", MODELS)
def test_a_large_last_answer_is_not_cut_off_by_what_comes_later(serve, model, tmp_path):
    """The server is done, the answer stands in its kernel, and the client sends something more."""
    with the_rest_is_the_kernels(serve, model, tmp_path / "log", LAST) as (_app, conn, count):
        conn.send(NEXT)
        assert count + len(conn.read_until_close()) > LARGE


@pytest.mark.parametrize("model", MODELS)
def test_a_last_answer_is_not_cut_off_where_the_window_is_small(serve, model):
    """A part of it has not even left when the server is done."""
    upstream = Upstream(lambda conn, _: conn.recv(4096) and conn.sendall(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 6000))
    app = serve("--model", model, "--upstream", upstream.url)
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        client.settimeout(20)
        client.connect((app.host, app.port))
        client.sendall(LAST)
        time.sleep(0.3)
        client.sendall(NEXT)
        time.sleep(0.1)
        got = b""
        while data := client.recv(65536):
            got += data
    assert got.endswith(b"x" * 6000)
    upstream.close()


@pytest.mark.parametrize("model", MODELS[1:])
def test_a_stop_does_not_cut_off_a_large_answer_either(serve, model, tmp_path):
    """The answer said that the connection is kept, so the client may well send its next request."""
    with the_rest_is_the_kernels(serve, model, tmp_path / "log", NEXT) as (app, conn, count):
        app.send_signal(signal.SIGTERM)
        time.sleep(0.2)
        conn.send(NEXT)
        assert count + len(conn.read_until_close()) > LARGE
    assert app.wait(timeout=10) == 0


# --- connections that wait in the kernel for their first bytes ------------------------------------

DEFERRED = 0.9  # seconds for which a silent one is not seen; the kernel's clock has a second


def start_two(serve, *args):
    app = serve("--workers", "2", "--control", "127.0.0.1:0", *args, "echo")
    wait_for(lambda: app.stderr().count("worker started") == 2, what="2 workers")
    assert get(app).status == 200
    return app


def opened(app):
    return metrics(app)["srv_connections_opened_total"]


def seconds_until_seen(app):
    """Of a silent connection, which is served in the end."""
    before, began = opened(app), time.monotonic()
    with RawConnection(app) as conn:
        wait_for(lambda: opened(app) > before, what="the connection accepted")
        seconds = time.monotonic() - began
        conn.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert conn.read_response().status == 200
    return seconds


@contextlib.contextmanager
def workers_stopped(app):
    workers = [pid for pid in children(app.pid) if b"worker" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    for pid in workers:
        os.kill(pid, signal.SIGSTOP)
    yield
    for pid in workers:
        os.kill(pid, signal.SIGCONT)


def bring_requests(app, count):
    """Connections that have their request with them when they are accepted."""
    with workers_stopped(app):
        conns = [RawConnection(app) for _ in range(count)]
        for conn in conns:
            conn.send(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    for conn in conns:
        assert conn.read_response().status == 200
        conn.close()


@pytest.mark.parametrize("model", MODELS)
def test_silent_connections_wait_in_the_kernel_when_asked_for(serve, model):
    app = start_two(serve, "--model", model, "--defer-accept", "on")
    assert seconds_until_seen(app) > DEFERRED
    assert get(app).status == 200
    with RawConnection(app) as conn:  # neither bytes nor a second thought: the server says nothing
        conn.sock.shutdown(socket.SHUT_WR)
        assert conn.read_until_close() == b""


@pytest.mark.parametrize("model", MODELS)
def test_silent_connections_do_not_wait_by_themselves(serve, model):
    app = start_two(serve, "--model", model)
    assert min(seconds_until_seen(app) for _ in range(3)) < DEFERRED


@pytest.mark.parametrize("model", ("green", "pool", "event"))
def test_connections_wait_in_the_kernel_while_all_bring_their_requests(serve, model):
    app = start_two(serve, "--model", model)
    bring_requests(app, 64)
    assert seconds_until_seen(app) > DEFERRED  # from then on the server knows better
    assert min(seconds_until_seen(app) for _ in range(3)) < DEFERRED


def test_connections_that_end_without_a_word_bring_no_requests(serve):
    """Port scanners and health checks do not decide how silent clients are served."""
    app = start_two(serve)
    before = opened(app)
    with workers_stopped(app):
        for _ in range(64):
            RawConnection(app).close()
    wait_for(lambda: opened(app) >= before + 64, what="64 connections accepted")
    assert seconds_until_seen(app) < DEFERRED


def test_connections_never_wait_in_the_kernel_when_told_so(serve):
    app = start_two(serve, "--defer-accept", "off")
    bring_requests(app, 64)
    assert min(seconds_until_seen(app) for _ in range(3)) < DEFERRED


def test_a_unix_socket_has_nothing_to_wait_for(serve, tmp_path):
    app = start_two(serve, "--bind", f"unix:{tmp_path}/s", "--defer-accept", "on")
    assert min(seconds_until_seen(app) for _ in range(3)) < DEFERRED
    assert "cannot" not in app.stderr()
