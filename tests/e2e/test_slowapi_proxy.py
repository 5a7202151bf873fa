# SPDX-License-Identifier: MIT
"""srv slowapi --upstream URL: what passes through unchanged, and every fault in front of nginx, byte by byte."""

import contextlib
import json
import os
import re
import shlex
import socket
import threading
import time
from pathlib import Path

import harness
import pytest
from harness import RawConnection, everything, get, request, split, wait_for
from nginx import run_nginx
from rawserver import RawServer, close, reset
from test_slowapi_shapes import Control, timed

TEXT = b"slow api response"
HELLO = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


class Origin:
    """nginx as a service: /text, /page (a file of 100,000 bytes), /chunked (the same without a length), /sink."""

    CONFIG = """
daemon off; master_process off; {user} pid {folder}/nginx.pid; error_log stderr warn;
events {{ worker_connections 256; }}
http {{
    access_log off; default_type text/plain; client_max_body_size 0;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; uwsgi_temp_path {folder}/uwsgi;
    fastcgi_temp_path {folder}/fastcgi; scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port} backlog=512; root {folder}/files;
        location = /text {{ return 200 "slow api response"; }}
        location = /moved {{ return 302 http://127.0.0.1:{port}/text; }}
        location = /empty {{ return 204; }}
        location = /chunked {{ gzip on; gzip_types text/plain; gzip_min_length 1; gzip_comp_level 1; alias {folder}/files/page; }}
        location = /sink {{ proxy_pass http://127.0.0.1:{port}/text; proxy_method GET; proxy_pass_request_body off;
            proxy_set_header Content-Length ""; }}
    }}
}}
"""

    def __init__(self, folder):
        self.port, self.page = harness.free_port(), os.urandom(100_000)
        (folder / "files").mkdir()
        (folder / "files/page").write_bytes(self.page)
        user = "user root;" if os.geteuid() == 0 else ""
        (folder / "nginx.conf").write_text(self.CONFIG.format(folder=folder, user=user, port=self.port))
        self.url = f"http://127.0.0.1:{self.port}/"
        self.process = run_nginx(folder, ("127.0.0.1", self.port))

    def stop(self):
        self.process.terminate()
        self.process.wait(10)


@pytest.fixture(scope="module")
def origin(tmp_path_factory):
    service = Origin(tmp_path_factory.mktemp("origin"))
    yield service
    service.stop()


@pytest.fixture
def proxy(slowapi):
    """proxy(URL, *OPTIONS) -> (slowapi in front of it, its control endpoint)"""

    def start(url, *options):
        server = slowapi("--upstream", url, "--control", "127.0.0.1:0", *options)
        return server, Control(server)

    return start


def counted(control, **wanted):
    """Waits until these counters are so high, and nothing is in flight."""
    def holds():
        stats = control.stats()
        return stats["in_flight"] == 0 and all(stats[name] == count for name, count in wanted.items())

    wait_for(holds, what=f"{wanted} of {control.stats()}")


# --- what passes ------------------------------------------------------------------------------------


def test_a_request_passes_as_it_came_but_for_what_is_about_a_connection(proxy):
    with RawServer([HELLO]) as service:
        api, _ = proxy(f"http://127.0.0.1:{service.port}")
        with RawConnection(api) as conn:
            conn.send(
                b"PURGE /a%20b/?delay=1&q=%zz&q= HTTP/1.1\r\nHost: shop.example\r\nX-Odd:  a\tb \r\nAccept: */*\r\n"
                b"Connection: keep-alive, X-Mine\r\nX-Mine: 1\r\nKeep-Alive: 5\r\nProxy-Connection: close\r\nTE: gzip\r\n"
                b"X-Slowapi-Session: s\r\nX-Slowapi: delay=0\r\nCookie: a=1\r\ncookie: b=2\r\n\r\n"
            )
            assert conn.read_response().body == b"hello"
        assert service.heads == [
            b"PURGE /a%%20b/?delay=1&q=%%zz&q= HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nX-Odd: a\tb\r\nAccept: */*\r\n"
            b"Cookie: a=1\r\ncookie: b=2" % service.port
        ]


def test_a_client_that_takes_trailers_many_times_takes_them_once(proxy):
    with RawServer([HELLO]) as service:
        api, _ = proxy(f"http://127.0.0.1:{service.port}")
        with RawConnection(api) as conn:
            conn.send(b"GET / HTTP/1.1\r\nHost: x\r\n" + b"te:trailers\r\n" * 95 + b"\r\n")
            assert conn.read_response().body == b"hello"
        lines = service.heads.pop().split(b"\r\n")
        assert lines.count(b"TE: trailers") == lines.count(b"Connection: TE") == 1


def test_host_and_client_are_told_when_asked_for(proxy):
    with RawServer([HELLO]) as service:
        api, _ = proxy(f"http://127.0.0.1:{service.port}/base/", "--preserve-host", "--forwarded")
        headers = {"Host": "shop.example", "X-Forwarded-For": "192.0.2.1", "X-Forwarded-Proto": "gopher"}
        assert get(api, "/x?y", headers).status == 200
        lines = service.heads[0].split(b"\r\n")
        assert lines[0] == b"GET /base/x?y HTTP/1.1" and b"Host: shop.example" in lines
        assert [line for line in lines if line.lower().startswith(b"x-forwarded")] == [
            b"X-Forwarded-For: 192.0.2.1, 127.0.0.1",
            b"X-Forwarded-Proto: http",
            b"X-Forwarded-Host: shop.example",
        ]
        with RawConnection(api) as conn:
            conn.send(b"GET http://shop.example/x HTTP/1.1\r\nHost: other.example\r\n\r\n")
            assert conn.read_response().body == b"hello"
        lines = service.heads[1].split(b"\r\n")
        assert b"Host: shop.example" in lines and b"X-Forwarded-Host: shop.example" in lines


def test_a_body_passes_as_it_is_framed(proxy):
    with RawServer([HELLO]) as service:
        api, _ = proxy(f"http://127.0.0.1:{service.port}")
        assert request(api, "POST", "/", b"x" * 100_000).body == b"hello"
        assert service.bodies[0] == b"x" * 100_000
        assert b"Content-Length: 100000" in service.heads[0]


def test_an_answer_passes_as_it_came(proxy):
    lines = b"HTTP/1.1 299 Very Fine\r\nDate: then\r\nServer: s\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nConnection: X-Hop\r\nX-Hop: 1\r\n"
    with RawServer([lines + b"Content-Length: 3\r\n\r\nabc"]) as service:
        api, control = proxy(f"http://127.0.0.1:{service.port}")
        with RawConnection(api) as conn:
            for _ in range(3):
                conn.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                head = conn.read_until(b"\r\n\r\n")
                assert conn.read_exactly(3) == b"abc"
                assert sorted(head.split(b"\r\n")) == sorted(
                    [b"", b"", b"HTTP/1.1 299 Very Fine", b"Content-Length: 3"]
                    + [b"Date: then", b"Server: s", b"Set-Cookie: a=1", b"Set-Cookie: b=2"]
                )
        assert service.connections == 1, "connections to the service are kept"
        counted(control, upstream_requests=3, upstream_connections=1, answers=3)


@pytest.mark.parametrize("version", [b"1.1", b"1.0"])
@pytest.mark.parametrize(
    "sent", [b"Content-Length: 6\r\n\r\nabcdef", b"Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n4\r\ncdef\r\n0\r\n\r\n", b"\r\nabcdef"]
)
def test_framings_of_answers_reach_clients_of_any_version(proxy, sent, version):
    with RawServer([[b"HTTP/1.1 200 OK\r\n" + sent, close]]) as service:
        api, _ = proxy(f"http://127.0.0.1:{service.port}")
        with RawConnection(api) as conn:
            conn.send(b"GET / HTTP/%s\r\nHost: x\r\n\r\n" % version)
            reply = conn.read_response()
            assert reply.body == b"abcdef"
            assert ("transfer-encoding" in reply.headers) == (version == b"1.1" and not sent.startswith(b"Content"))


def test_answers_without_a_body(origin, proxy):
    api, _ = proxy(origin.url)
    with RawConnection(api) as conn:
        for method, path, status in ((b"HEAD", b"/page", 200), (b"GET", b"/empty", 204), (b"GET", b"/nothing", 404)):
            conn.send(b"%s %s HTTP/1.1\r\nHost: x\r\n\r\n" % (method, path))
            reply = conn.read_response(method.decode())
            assert reply.status == status
            assert method != b"HEAD" or reply.headers["content-length"] == "100000"
        tag = get(api, "/page").headers["etag"].encode()
        conn.send(b"GET /page HTTP/1.1\r\nHost: x\r\nIf-None-Match: %s\r\n\r\n" % tag)
        assert conn.read_response().status == 304
        conn.send(b"GET /page HTTP/1.1\r\nHost: x\r\nRange: bytes=10-19\r\n\r\n")
        assert conn.read_response().body == origin.page[10:20]


def test_a_redirect_does_not_lead_past_the_proxy(origin, proxy):
    api, _ = proxy(origin.url)
    assert get(api, "/moved").headers["location"] == "/text"


def test_interim_answers_and_the_invitation_come_from_the_service(proxy):
    def invite(conn):
        conn.sendall(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n")
        assert conn.recv(3) == b"abc"

    head = b"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n"
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        conn, _ = listener.accept()
        with conn:
            got = b""
            while not got.endswith(b"\r\n\r\n"):
                got += conn.recv(4096)
            assert b"Expect: 100-continue" in got
            invite(conn)
            conn.sendall(HELLO)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    api, _ = proxy("http://127.0.0.1:%d" % listener.getsockname()[1])
    with RawConnection(api) as conn:
        conn.send(head)
        assert conn.read_until(b"\r\n\r\n") == b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
        assert conn.read_until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        conn.send(b"abc")
        assert conn.read_response().body == b"hello"
    thread.join(10)
    listener.close()


# --- faults, in front of nginx ----------------------------------------------------------------------

# kind, spelling, end, body of /text; None: not even a head
ENDS = [
    ("rst", "rst@head", "rst", None),
    ("rst", "rst@body", "rst", b""),
    ("rst", "rst@50%", "rst", TEXT[:8]),
    ("rst", "rst@100", "rst", TEXT),
    ("fin", "fin@head", "fin", None),
    ("fin", "fin@body", "fin", b""),
    ("fin", "fin@20", "fin", TEXT[:3]),
    ("truncate", "truncate", "fin", TEXT[:8]),
    ("truncate", "hang=0.1@50,truncate@60", "fin", TEXT[:10]),
    ("garbage", "garbage=5@head", "fin", None),
    ("garbage", "garbage=5@body", "fin", b"\xfe" * 5),
    ("badchunk", "badchunk@50", "fin", b"8\r\nslow api\r\nzz\r\n"),
    ("badchunk", "badchunk", "fin", b"zz\r\n"),
    ("length", "length=+10", "fin", TEXT),
    ("length", "length=-3", "fin", TEXT),
    ("nolength", "nolength", "fin", TEXT),
    ("badheader", "badheader", "fin", TEXT),
]


@pytest.mark.parametrize("kind, fault, end, body", ENDS, ids=[row[1] for row in ENDS])
def test_a_fault_ends_an_answer_of_nginx(origin, proxy, kind, fault, end, body):
    api, control = proxy(origin.url)
    with RawConnection(api) as conn:
        conn.send(b"GET /text HTTP/1.1\r\nHost: x\r\nX-Slowapi: fault=%s\r\n\r\n" % fault.encode())
        data, how = everything(conn)
    lines, got = split(data)
    assert how == end
    if body is None:
        assert data == (b"\xfe" * 5 if kind == "garbage" else b"")
    else:
        assert lines[0] == b"HTTP/1.1 200 OK" and any(line.startswith(b"Server: nginx") for line in lines)
        assert got == body
        length = {"length=+10": b"27", "length=-3": b"14"}.get(fault, b"17")
        framed = [line for line in lines if line.lower().startswith((b"content-length", b"transfer"))]
        chunked = kind == "badchunk" or fault == "garbage=5@body"
        wanted = [] if kind == "nolength" else [b"Transfer-Encoding: chunked"] if chunked else [b"Content-Length: " + length]
        assert framed == wanted
    wait_for(lambda: control.stats()["faults"][kind] == 1, what="the fault is counted")
    counted(control, upstream_requests=1, requests=1)


@pytest.mark.parametrize("size", [1000, 300_000])
def test_a_percentage_of_a_body_without_a_length_counts_its_first_64_kib(proxy, size):
    """As a stream of unknown length cannot be measured before it has been sent."""
    body = bytes(range(250)) * (size // 250)

    def dribble(conn):
        for at in range(0, size, size // 4):
            conn.sendall(b"%x\r\n%s\r\n" % (size // 4, body[at : at + size // 4]))
            time.sleep(0.02)
        conn.sendall(b"0\r\n\r\n")

    with RawServer([[b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", dribble]]) as service:
        api, control = proxy(f"http://127.0.0.1:{service.port}")
        with RawConnection(api) as conn:
            conn.send(b"GET / HTTP/1.0\r\nHost: x\r\nX-Slowapi: fault=fin@40\r\n\r\n")
            data, end = everything(conn)
            assert (len(split(data)[1]), end) == (int(min(size, 65536) * 0.4), "fin")
            assert body.startswith(split(data)[1])
        assert get(api, "/", {"X-Slowapi": "fault=hang=50ms@40"}).body == body
        counted(control, requests=2)


def ask(api, fault, path="/text"):
    return get(api, path, {"X-Slowapi": f"fault={fault}"})


def test_faults_that_leave_an_answer_of_nginx_whole(origin, proxy):
    api, control = proxy(origin.url)
    huge = ask(api, "hugeheader=5000")
    assert huge.body == TEXT and len(huge.headers["x-slowapi-huge"]) == 5000 - len("X-Slowapi-Huge: \r\n") + 18
    with RawConnection(api) as conn:
        conn.send(b"GET /text HTTP/1.1\r\nHost: x\r\nX-Slowapi: fault=interim=2\r\n\r\n")
        for _ in range(2):
            assert conn.read_until(b"\r\n\r\n") == b"HTTP/1.1 103 Early Hints\r\n\r\n"
        assert conn.read_response().body == TEXT
    assert ask(api, "corrupt:100").body == bytes(byte ^ 1 for byte in TEXT)
    start = time.monotonic()
    assert ask(api, "drip=20ms").body == TEXT
    assert ask(api, "bandwidth=200k", "/page").body == origin.page
    assert ask(api, "hang=150ms@body").body == TEXT
    assert time.monotonic() - start > 16 * 0.02 + 0.45 + 0.15
    faults = control.stats()["faults"]
    assert [faults[kind] for kind in ("hugeheader", "interim", "corrupt", "drip", "bandwidth", "hang")] == [1, 1, 17, 1, 1, 1]


def test_stale_closes_a_connection_that_is_used_again(origin, proxy):
    api, control = proxy(origin.url, "--params", "fault=stale")
    with RawConnection(api) as conn:
        conn.send(b"GET /text HTTP/1.1\r\nHost: x\r\n\r\n")
        assert conn.read_response().body == TEXT
        conn.send(b"GET /text HTTP/1.1\r\nHost: x\r\n\r\n")
        assert everything(conn) == (b"", "fin")
    counted(control, upstream_requests=1, requests=2)


def test_early_status_and_body_answer_without_the_service(origin, proxy):
    api, control = proxy(origin.url)
    with RawConnection(api) as conn:
        conn.send(b"POST /text HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\nX-Slowapi: fault=early&status=413\r\n\r\n")
        assert conn.read_response().status == 413
    for params, status, body in (
        ("status=503", 503, TEXT),
        ("body=mine", 200, b"mine"),
        ("size=10&seed=1", 200, None),
        ("seq=429,429,200&key=k", 429, TEXT),
        ("seq=429,429,200&key=k", 429, TEXT),
    ):
        reply = get(api, "/text", {"X-Slowapi": params})
        assert reply.status == status and (body is None or reply.body == body)
        assert "server" not in reply.headers
    passed = get(api, "/text", {"X-Slowapi": "seq=429,429,200&key=k"})
    assert (passed.status, passed.body) == (200, TEXT) and passed.headers["server"].startswith("nginx")
    counted(control, upstream_requests=1, requests=7)


def test_percentages_mix_the_service_and_statuses(origin, proxy):
    api, control = proxy(origin.url, "--params", "status=503:30", "--seed", "7")
    client = harness.Client(api)
    statuses = [client.ask("GET", "/text").status for _ in range(200)]
    assert 30 <= statuses.count(503) <= 95 and statuses.count(200) == 200 - statuses.count(503)
    counted(control, upstream_requests=statuses.count(200), upstream_connections=1, requests=200)


# --- delays, rules ----------------------------------------------------------------------------------


def test_the_delay_comes_when_the_service_has_answered(proxy):
    seen = []
    with RawServer([lambda conn: (seen.append(time.monotonic()), conn.sendall(HELLO))]) as service:
        api, control = proxy(f"http://127.0.0.1:{service.port}", "--delay", "300ms")
        start = time.monotonic()
        reply = get(api, "/")
        assert time.monotonic() - start >= 0.3
        assert seen[0] < time.monotonic() - 0.28, "the service is asked before the delay"
        assert reply.headers["x-slowapi-delay"] == "300ms" and reply.body == b"hello"
        assert control.stats()["requests"] == 1


def test_a_client_that_gives_up_was_served_nevertheless(proxy):
    with RawServer([HELLO]) as service:
        api, control = proxy(f"http://127.0.0.1:{service.port}", "--delay", "20")
        with RawConnection(api) as conn:
            conn.send(b"POST /pay HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}")
            wait_for(lambda: service.bodies == [b"{}"], what="the service has the request")
        counted(control, client_aborts=1, upstream_requests=1)


def test_rules_choose_who_is_slow_and_who_is_answered_here(origin, proxy):
    api, control = proxy(origin.url)
    rules = [
        {"name": "mine", "path": "/users/*", "body": {"id": 1}, "params": "status=201"},
        {"name": "slow", "path": "/text", "query": {"who": "me"}, "params": "delay=150ms"},
    ]
    assert control.ask("PUT", "/rules", json.dumps(rules))[0] == 200
    mine = get(api, "/users/7")
    assert (mine.status, mine.body, mine.headers["x-slowapi-rule"]) == (201, b'{"id":1}', "mine")
    slow = get(api, "/text?who=me")
    assert (slow.body, slow.headers["x-slowapi-rule"], slow.headers["x-slowapi-delay"]) == (TEXT, "slow", "150ms")
    assert "x-slowapi-rule" not in get(api, "/text").headers
    counted(control, upstream_requests=2, rule_matches=2)


def test_limits_queues_and_close_work_in_front_of_a_service(origin, proxy):
    api, control = proxy(origin.url, "--params", "limit=3/1h&close=true")
    with RawConnection(api) as conn:
        conn.send(b"GET /text HTTP/1.1\r\nHost: x\r\n\r\n")
        reply = conn.read_response()
        assert (reply.headers["connection"], reply.headers["ratelimit-remaining"]) == ("close", "2")
        assert everything(conn) == (b"", "fin")
    assert [get(api, "/text").status for _ in range(3)] == [200, 200, 429]
    counted(control, upstream_requests=3, limited=1)


def test_what_has_no_effect_on_a_service_is_told(origin, proxy):
    api, _ = proxy(origin.url)
    strict, _ = proxy(origin.url, "--strict-params")
    for params, names in (("encoding=gzip&type=a/b", "type, encoding"), ("count=3", "count"), ("template=true", "template")):
        reply = get(api, "/text", {"X-Slowapi": params})
        assert reply.body == TEXT and reply.headers["x-slowapi-ignored"] == names
        assert get(strict, "/text", {"X-Slowapi": params}).status == 400
    assert "x-slowapi-ignored" not in get(api, "/text?count=3&nothing").headers


# --- a service that fails ---------------------------------------------------------------------------

FAILURES = [
    ("upstream_closed", b"", close),
    ("upstream_closed", b"", reset),
    ("upstream_malformed", b"HTTP/1.1 two\r\n\r\n", close),
    ("upstream_malformed", b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", close),
]


@pytest.mark.parametrize("counter, sent, end", FAILURES)
def test_a_service_that_fails_is_a_502(proxy, counter, sent, end):
    with RawServer([[sent, end]]) as service:
        api, control = proxy(f"http://127.0.0.1:{service.port}")
        with RawConnection(api) as conn:
            for _ in range(2):
                conn.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx")
                reply = conn.read_response()
                assert reply.status == 502 and reply.text.count("\n") == 1, reply
        counted(control, **{counter: 2, "upstream_requests": 2})
        assert "upstream failed error=" in api.stderr()


def test_nobody_there_is_a_502_and_silence_a_504(proxy):
    api, control = proxy("http://127.0.0.1:%d" % harness.free_port())
    assert get(api, "/").status == 502
    counted(control, upstream_unreachable=1)
    with RawServer([lambda conn: None]) as service:
        api, control = proxy(f"http://127.0.0.1:{service.port}", "--upstream-timeout", "0.2")
        reply = get(api, "/")
        assert reply.status == 504 and "in time" in reply.text
        counted(control, upstream_timeouts=1)


def test_a_client_that_is_slow_to_send_is_no_fault_of_the_service(proxy):
    with RawServer([HELLO]) as service:
        api, control = proxy(f"http://127.0.0.1:{service.port}", "--upstream-idle-timeout", "0.2", "--upstream-timeout", "5")
        with RawConnection(api) as conn:
            conn.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\na")
            time.sleep(0.6)
            conn.send(b"b")
            assert conn.read_response().body == b"hello"
        counted(control, upstream_requests=1, upstream_timeouts=0)


@pytest.mark.parametrize("framing, end", [(b"Content-Length: 9\r\n", "fin"), (b"Transfer-Encoding: chunked\r\n", "fin")])
@pytest.mark.parametrize("how", [close, reset])
def test_an_answer_that_breaks_off_breaks_off_here(proxy, framing, end, how):
    part = b"abc" if framing.startswith(b"Content") else b"3\r\nabc\r\n"

    def pause(conn):
        time.sleep(0.1)  # what was sent arrives before the reset

    with RawServer([[b"HTTP/1.1 200 OK\r\n%s\r\n%s" % (framing, part), pause, how]]) as service:
        api, control = proxy(f"http://127.0.0.1:{service.port}")
        with RawConnection(api) as conn:
            conn.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            data, ended = everything(conn)
            assert (split(data)[1], ended) == (part, end)
        counted(control, upstream_closed=1)


def test_a_cut_answer_without_a_length_is_no_whole_one(proxy):
    """To HTTP/1.0 the close would be its end."""

    def pause(conn):
        time.sleep(0.1)

    with RawServer([[b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", pause, close]]) as service:
        api, _ = proxy(f"http://127.0.0.1:{service.port}")
        with RawConnection(api) as conn:
            conn.send(b"GET / HTTP/1.0\r\nHost: x\r\n\r\n")
            assert everything(conn)[1] == "rst"


def test_only_what_may_be_sent_twice_is_sent_again(proxy):
    """A kept connection that the service has closed is no failure of a GET; nobody knows what became of a POST."""
    with RawServer([HELLO, close, HELLO, HELLO, close]) as service:
        api, control = proxy(f"http://127.0.0.1:{service.port}")
        assert [get(api, "/").status for _ in range(2)] == [200, 200]
        assert [request(api, "POST", "/", b"x").status for _ in range(2)] == [200, 502]
        counted(control, upstream_requests=4, upstream_retries=1, upstream_closed=1)
        assert service.requests == 5


def test_a_client_that_leaves_ends_the_exchange(proxy):
    for leave in (RawConnection.close, RawConnection.reset):
        ended = threading.Event()

        def wait(conn, ended=ended):
            with contextlib.suppress(OSError):
                assert conn.recv(1) == b""
            ended.set()

        with RawServer([wait]) as service:
            api, control = proxy(f"http://127.0.0.1:{service.port}")
            conn = RawConnection(api)
            conn.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            wait_for(lambda: service.requests == 1, what="the service was asked")
            leave(conn)
            assert ended.wait(10), "the service's connection ends with the client's"
            counted(control, client_aborts=1, upstream_requests=1)


def test_statuses_above_599_count_as_5xx(proxy):
    with RawServer([HELLO.replace(b"200", b"%d" % status) for status in (599, 600, 700, 999)]) as service:
        api, control = proxy(f"http://127.0.0.1:{service.port}")
        for status in (599, 600, 700, 999):
            assert get(api, "/").status == status
        counted(control, upstream_requests=4, requests=4)
        assert control.stats()["status"] == {"1xx": 0, "2xx": 0, "3xx": 0, "4xx": 0, "5xx": 4}


def test_an_interim_answer_that_is_too_long_is_malformed(proxy):
    long = b"HTTP/1.1 103 Early\r\n" + (b"Link: " + b"a" * 60_000 + b"\r\n") * 3 + b"\r\n"
    with RawServer([long + HELLO]) as service:
        api, control = proxy(f"http://127.0.0.1:{service.port}")
        with RawConnection(api) as conn:
            conn.send(b"GET / HTTP/1.0\r\n\r\n")
            data, _ = everything(conn)
        assert data.startswith(b"HTTP/1.1 502 ") and data.endswith(b"interim answers are too long\n")
        counted(control, upstream_malformed=1, upstream_requests=1)


# --- strictness -------------------------------------------------------------------------------------

# What is odd, and how the service gets it when --lenient lets it through.
ODD_REQUESTS = [
    (b"GET / HTTP/1.1\nHost: x\nX-A: 1\n\n", b"X-A: 1"),
    (b"GET / HTTP/1.1\r\nHost: x\r\nX-A: 1\r\n  2\r\n\r\n", b"X-A: 1    2"),
    (b"GET / HTTP/1.1\r\nHost: x\r\nX-A: " + b"a" * 20_000 + b"\r\n\r\n", b"X-A: " + b"a" * 20_000),
    (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nab", b"Content-Length: 2"),
]
# What has two readings is never passed on: others would take another one.
SMUGGLING = [
    b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc",
    b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nX: a\0b\r\n\r\n",
]


def test_lenient_passes_what_has_one_meaning(proxy):
    with RawServer([HELLO]) as service:
        strict, _ = proxy(f"http://127.0.0.1:{service.port}")
        lenient, _ = proxy(f"http://127.0.0.1:{service.port}", "--lenient")
        for odd, line in ODD_REQUESTS:
            assert harness.raw(strict, odd).startswith(b"HTTP/1.1 4"), odd
            assert service.heads == []
            with RawConnection(lenient) as conn:
                conn.send(odd)
                assert conn.read_response().body == b"hello"
            assert service.heads.pop().split(b"\r\n").count(line) == 1
        for smuggled in SMUGGLING:
            assert harness.raw(lenient, smuggled)[:10] in (b"HTTP/1.1 4", b"HTTP/1.1 5"), smuggled
        assert service.heads == []


ODD_ANSWERS = [
    b"HTTP/1.1 200 OK\nContent-Length: 5\n\nhello",
    b"HTTP/1.1 200 OK\r\nX-A: 1\r\n  2\r\nContent-Length: 5\r\n\r\nhello",
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5  \nhello\n0\n\n",
]


def test_lenient_takes_answers_of_the_service_so_too(proxy):
    for odd in ODD_ANSWERS:
        with RawServer([[odd, close]]) as service:
            strict, _ = proxy(f"http://127.0.0.1:{service.port}")
            lenient, _ = proxy(f"http://127.0.0.1:{service.port}", "--lenient")
            with RawConnection(strict) as conn:
                conn.send(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                data, _ = everything(conn)
                assert not data.endswith((b"hello", b"0\r\n\r\n")), data
            assert get(lenient, "/").body == b"hello"


# --- statistics -------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", ["1", "2"])
def test_all_is_counted_as_clients_saw_it(origin, proxy, workers):
    params = "status=503:10&fault=rst@head:5,truncate:5,fin@head:5,rst@50:5&close=5%"
    api, control = proxy(origin.url, "-w", workers, "--params", params, "--seed", "11")
    seen, lock = dict.fromkeys(("whole", "503", "cut", "rst", "fin"), 0), threading.Lock()

    def one(conn):
        conn.send(b"GET /text HTTP/1.1\r\nHost: x\r\n\r\n")
        try:
            reply = conn.read_response()
            return "503" if reply.status == 503 else "whole", "close" in reply.headers.get("connection", "")
        except ConnectionResetError:
            return "rst", True
        except AssertionError as error:
            return ("fin" if "b''" in str(error) else "cut"), True

    def client():
        conn = RawConnection(api)
        for _ in range(250):
            kind, ends = one(conn)
            with lock:
                seen[kind] += 1
            if ends:
                conn.close()
                conn = RawConnection(api)
        conn.close()

    threads = [threading.Thread(target=client) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(100)
    assert sum(seen.values()) == 4000 and all(seen.values()), seen
    counted(control, requests=4000, answers=seen["whole"] + seen["503"], upstream_closed=0, client_aborts=0)
    stats = control.stats()
    faults = stats["faults"]
    assert faults["rst"] == seen["rst"] and faults["truncate"] + faults["fin"] == seen["cut"] + seen["fin"], (faults, seen)
    assert stats["upstream_requests"] + stats["status"]["5xx"] <= 4000 and stats["status"]["5xx"] >= seen["503"]


# --- the page ---------------------------------------------------------------------------------------

PAGE = Path(__file__).resolve().parents[2] / "docs/slowapi-proxy.md"
RECIPES = re.findall(r"^\*\*(.+?)\*\*: .+\n\n    srv (.+)\n    srv (.+)\n    srv (.+)\n", PAGE.read_text(), re.M)
SHOWS = {
    "A service that loses answers": r"Failed requests: +[1-9]",
    "A dependency behind an app": None,
    "Maintenance, then all is well": r"Complete requests: +3\n(.*\n)*Non-2xx responses: +2\b",
}


def test_there_are_as_many_recipes():
    assert [title for title, *_ in RECIPES] == list(SHOWS)


@pytest.mark.parametrize("title, behind, between, before", RECIPES, ids=[title for title, *_ in RECIPES])
def test_recipe(start, srv_run, title, behind, between, before):
    def on_free_ports(command, upstream=None):
        text = re.sub(r"--bind 127.0.0.1:\d+", "--bind 127.0.0.1:0", command)
        return shlex.split(text if upstream is None else re.sub(r"http://127.0.0.1:\d+/", upstream.url, text))

    service = start(*on_free_ports(behind))
    api = start(*on_free_ports(between, service))
    if SHOWS[title] is None:
        app = start(*on_free_ports(before, api))
        took = sorted(timed(lambda: get(app, "/?delay=0"))[1] for _ in range(12))
        assert took[-1] >= 0.3 and took[0] < took[-1]
    else:
        done = srv_run(*on_free_ports(before, api))
        assert re.search(SHOWS[title], done.stdout), done.stdout


# --- options ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "args, what",
    [
        (("--upstream", "ftp://x/"), "scheme"),
        (("--upstream", "http://x/?a=1"), "query"),
        (("--upstream", "http://u@x/"), "user name"),
        (("--upstream", ""), "host"),
        (("--preserve-host",), "--preserve-host: needs --upstream"),
        (("--upstream", "http://x/", "--upstream-ca", "f"), "--upstream-ca: the upstream does not speak TLS"),
        (("--upstream", "http://x/", "--upstream-insecure"), "--upstream-insecure: the upstream does not speak TLS"),
    ],
)
def test_options_that_do_not_fit_are_refused_in_one_line(srv_run, args, what):
    done = srv_run("slowapi", "--bind", "127.0.0.1:0", *args)
    assert done.returncode == 2 and what in done.stderr and done.stderr.count("\n") == 1


def test_the_log_tells_the_time_of_the_upstream(origin, proxy, tmp_path):
    log = tmp_path / "log"
    api, control = proxy(origin.url, "--access-logfile", str(log), "--journal", "10")
    get(api, "/text")
    get(api, "/text", {"X-Slowapi": "status=500"})
    counted(control, requests=2)
    wait_for(lambda: log.read_text().count("\n") == 2, what="two lines")
    passed, own = map(json.loads, log.read_text().splitlines())
    assert 0 < passed["upstream_ms"] <= passed["total_ms"] and own["upstream_ms"] is None
    kept = json.loads(control.ask("GET", "/requests")[1])["requests"]
    assert kept[0]["upstream_ms"] > 0 and kept[1]["upstream_ms"] is None
