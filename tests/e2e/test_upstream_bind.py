# SPDX-License-Identifier: MIT
"""--upstream-bind: where connections to the upstream come from."""

import socket
import threading

import pytest
from harness import RawConnection, get

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nslow"
GREETING = "Hi there! slow"


class Upstream:
    """Notes who connects, and answers everybody once `together` requests are there."""

    def __init__(self, together):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}/"
        self.sources = []
        self.thread = threading.Thread(target=self._serve, args=(together,), daemon=True)
        self.thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.thread.join(20)
        self.listener.close()

    def _serve(self, together):
        self.listener.settimeout(20)
        conns = []
        for _ in range(together):
            conn, (host, _port) = self.listener.accept()
            self.sources.append(host)
            conns.append(conn)
        for conn in conns:
            conn.recv(4096)
            conn.sendall(ANSWER)
            conn.close()


@pytest.mark.parametrize("model", ["green", "pool", "threaded", "single", "event"])
def test_upstream_sees_the_address(start, model):
    with Upstream(1) as upstream:
        app = start("serve", "--model", model, "--upstream", upstream.url, "--upstream-bind", "127.0.0.3")
        assert get(app).text == GREETING
        assert upstream.sources == ["127.0.0.3"]


def test_workers_take_turns(start):
    with Upstream(2) as upstream:
        binds = ("--upstream-bind", "127.0.0.2", "--upstream-bind", "127.0.0.3")
        pools = ("--model", "pool", "--threads", "1", "--workers", "2")
        app = start("serve", *pools, "--upstream", upstream.url, *binds)
        conns = [RawConnection(app) for _ in range(2)]
        for conn in conns:
            conn.send(b"GET /?delay=0 HTTP/1.1\r\nHost: x\r\n\r\n")
        assert [conn.read_response().text for conn in conns] == [GREETING, GREETING]
        for conn in conns:
            conn.close()
        assert sorted(upstream.sources) == ["127.0.0.2", "127.0.0.3"]


def test_address_of_another_host_is_a_bad_gateway(slowapi, start):
    app = start("serve", "--upstream", slowapi().url, "--upstream-bind", "192.0.2.1")
    reply = get(app)
    assert (reply.status, reply.text) == (502, "upstream cannot be reached\n")
    assert app.stderr().count("Cannot assign requested address") == 1


@pytest.mark.parametrize("value", ["127.0.0.1:80", "localhost", ""])
def test_what_is_no_address_is_refused(srv_run, value):
    done = srv_run("serve", "--bind", "127.0.0.1:0", f"--upstream-bind={value}")
    assert done.returncode == 2
    assert "--upstream-bind" in done.stderr and f"'{value}'" in done.stderr


def test_families_that_do_not_meet_are_refused(srv_run):
    done = srv_run("serve", "--bind", "127.0.0.1:0", "--upstream", "http://127.0.0.1:9/", "--upstream-bind", "::1")
    assert done.returncode == 1
    assert "'::1'" in done.stderr
