# SPDX-License-Identifier: MIT
"""Model `evhttp`: what libevent's own server and client do, and which promises of serve do not hold under it.

Each broken promise stands beside model `event`, which runs on the same loop and keeps it."""

import os
import signal
import time

import pytest
from harness import RawConnection, children, get, raw, wait_for
from upstreams import Upstream

REQUEST = b"GET /?delay=%s HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture
def evhttp(slowapi, serve):
    return serve("--model", "evhttp", upstream=slowapi("--graceful-timeout", "0"))


# --- what works ------------------------------------------------------------------------


def test_index_answers(evhttp):
    assert get(evhttp, "/?delay=0.01").text == "Hi there! slow api response"
    assert get(evhttp, "/?delay=x").status == 400 and "examples: 0, 0.25, 30" in get(evhttp, "/?delay=x").text
    assert get(evhttp, "/other").status == 404


def test_one_thread_holds_all_requests(evhttp):
    clients = [RawConnection(evhttp) for _ in range(50)]
    began = time.monotonic()
    for client in clients:
        client.send(REQUEST % b"0.5")
    time.sleep(0.1)
    assert len(os.listdir(f"/proc/{evhttp.pid}/task")) == 1
    assert [client.read_response().status for client in clients] == [200] * 50
    assert time.monotonic() - began < 5  # one after the other takes 25
    for client in clients:
        client.close()


def test_connection_is_kept(evhttp):
    with RawConnection(evhttp) as client:
        for _ in range(3):
            client.send(REQUEST % b"0")
            assert client.read_response().status == 200


def test_upstream_that_refuses_or_is_late(serve, slowapi):
    api = slowapi()
    app = serve("--model", "evhttp", "--upstream-timeout", "0.3s", upstream=api)
    assert get(app, "/?delay=5").status == 504
    api.stop()
    assert get(app, "/?delay=0").status == 502


def test_upstream_that_answers_with_an_error_or_garbage(serve):
    for text in (b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n", b"garbage\r\n\r\n"):
        upstream = Upstream(lambda conn, _, text=text: conn.sendall(text))
        app = serve("--model", "evhttp", "--upstream", upstream.url)
        assert get(app).status == 502
        app.stop()
        upstream.close()


def test_reload_loses_no_running_request(serve, slowapi):
    app = serve("--model", "evhttp", "--workers", "2", upstream=slowapi("--graceful-timeout", "0"))
    clients = [RawConnection(app) for _ in range(10)]
    for client in clients:
        client.send(REQUEST % b"1")
    time.sleep(0.3)
    before = set(children(app.pid))
    app.send_signal(signal.SIGHUP)
    assert [client.read_response().status for client in clients] == [200] * 10
    wait_for(lambda: not before & set(children(app.pid)))
    assert get(app).status == 200
    for client in clients:
        client.close()


def test_immediate_stop_drops_what_runs(evhttp):
    with RawConnection(evhttp) as client:
        client.send(REQUEST % b"30")
        time.sleep(0.2)
        evhttp.stop(signal.SIGINT)
        assert client.read_until_close() == b""


def test_killed_worker_is_replaced(serve, slowapi):
    app = serve("--model", "evhttp", "--workers", "1", upstream=slowapi())
    os.kill(wait_for(lambda: children(app.pid))[0], signal.SIGKILL)
    wait_for(lambda: get(app).status == 200)


# --- what is refused -------------------------------------------------------------------


@pytest.mark.parametrize(
    "option",
    [
        ("--request-timeout", "1s"),
        ("--max-queue", "1"),
        ("--async-cores", "5"),
        ("--access-logfile", "-"),
        ("--protocol", "uwsgi"),
        ("--proxy-protocol",),
        ("--upstream-max", "1"),
        ("--upstream-bind", "127.0.0.2"),
        ("--keep-alive-requests", "1"),
        ("--send-timeout", "1s"),
    ],
    ids=lambda option: option[0],
)
def test_option_that_the_library_cannot_obey_is_named(srv_run, option):
    done = srv_run("serve", "--model", "evhttp", *option)
    assert done.returncode == 2
    assert option[0] in done.stderr and "libevent" in done.stderr


@pytest.mark.parametrize("app", ["db", "echo"])
def test_other_apps_are_refused(srv_run, app):
    done = srv_run("serve", "--model", "evhttp", app)
    assert (done.returncode, app in done.stderr, "evhttp" in done.stderr) == (2, True, True)


@pytest.mark.parametrize("url", ["https://127.0.0.1:1/", "unix:/nowhere/sock"])
def test_other_upstreams_are_refused(srv_run, url):
    done = srv_run("serve", "--model", "evhttp", "--upstream", url)
    assert done.returncode == 2 and "--upstream" in done.stderr


# --- promises that do not hold ------------------------------------------------------------


@pytest.mark.parametrize(
    "head",
    [
        b"GET /?delay=0 HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
        b"GET /?delay=0 HTTP/1.1\r\n\r\n",
        b"GET /?delay=0 HTTP/1.1\nHost: x\n\n",
        b"GET /?delay=0 HTTP/1.1\r\nHost: x\r\nA: 1\r\n folded\r\n\r\n",
    ],
    ids=["two hosts", "no host", "bare LF", "folded"],
)
def test_malformed_requests_are_served(serve, slowapi, head):
    api = slowapi()
    strict, lax = serve("--model", "event", upstream=api), serve("--model", "evhttp", upstream=api)
    assert raw(strict, head).startswith(b"HTTP/1.1 400 ")
    with RawConnection(lax) as client:
        client.send(head)
        assert client.read_response().status == 200


def note_end(conn, closed):
    """Never answers; appends the time at which the other side closed."""
    conn.recv(4096)
    assert conn.recv(1) == b""
    closed.append(time.monotonic())


def test_call_of_a_client_that_left_goes_on(serve, slowapi):
    """Under event the upstream connection is closed at once, so that the slow API sees it."""
    gone = {}
    for model in ("event", "evhttp"):
        closed = []
        upstream = Upstream(lambda conn, _, closed=closed: note_end(conn, closed))
        app = serve("--model", model, "--upstream", upstream.url, "--upstream-timeout", "3s")
        with RawConnection(app) as client:
            client.send(REQUEST % b"9")
            time.sleep(0.3)
            client.reset()
            left = time.monotonic()
        wait_for(lambda closed=closed: closed)
        gone[model] = closed[0] - left
        app.stop()
        upstream.close()
    assert gone["event"] < 2 < gone["evhttp"]


def test_slow_head_has_no_deadline(serve, slowapi):
    """The library's time-out is of each read, so that a byte now and then keeps a connection for ever."""
    api = slowapi()
    for model, survives in (("event", False), ("evhttp", True)):
        timeout = ("--header-timeout", "1s") if model == "event" else ("--keep-alive", "1s")
        with RawConnection(serve("--model", model, *timeout, upstream=api)) as client:
            try:
                for letter in b"GET /?delay=0 HTTP/1.1":
                    client.send(bytes([letter]))
                    time.sleep(0.15)
                client.send(b"\r\nHost: x\r\n\r\n")
                status = client.read_response().status
            except OSError:
                status = 408
            assert status == (200 if survives else 408)


def test_reload_closes_idle_connections(serve, slowapi):
    """A successor's predecessor answers once more on a kept connection; the library closes it unanswered."""
    api = slowapi()
    for model, answers in (("event", True), ("evhttp", False)):
        app = serve("--model", model, "--workers", "1", upstream=api)
        before = set(wait_for(lambda app=app: children(app.pid)))
        with RawConnection(app) as client:
            client.send(REQUEST % b"0")
            assert client.read_response().status == 200
            app.send_signal(signal.SIGHUP)
            wait_for(lambda before=before, app=app: set(children(app.pid)) - before)
            if answers:
                time.sleep(0.3)
                client.send(REQUEST % b"0")
                assert client.read_response().status == 200
            else:
                assert client.read_until_close() == b""
