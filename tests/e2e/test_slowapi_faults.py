# SPDX-License-Identifier: MIT
"""Faults of srv slowapi: byte by byte on a raw socket, counted by its control endpoint, and as srv bench sees them."""

import json
import re
import socket
import time
import urllib.request

import pytest
from harness import RawConnection, connect, everything, get, split, wait_for

TEXT = b"slow api response"


@pytest.fixture
def controlled(slowapi):
    """controlled(*ARGS) -> (server, stats()): with a control endpoint."""

    def start(*args):
        server = slowapi("--control", "0", *args)
        url = re.search(r"control on (http://\S+)", server.stderr())[1]
        return server, lambda: json.load(urllib.request.urlopen(url + "/stats", timeout=10))

    return start


def ask(conn, fault, more="", method=b"GET", head=b""):
    conn.send(method + b" /?delay=0&fault=" + fault + more.encode() + b" HTTP/1.1\r\nHost: x\r\n" + head + b"\r\n")


def struck(stats, kind, count=1):
    wait_for(lambda: stats()["faults"][kind] == count, what=f"{count} times {kind}")
    wait_for(lambda: stats()["in_flight"] == 0, what="nothing in flight")


# kind, spelling, end, body; None: not even a head
ENDS = [
    ("rst", b"rst@head", "rst", None),
    ("rst", b"rst@body", "rst", b""),
    ("rst", b"rst@50%25", "rst", TEXT[:8]),
    ("rst", b"rst@100", "rst", TEXT),
    ("fin", b"fin@head", "fin", None),
    ("fin", b"fin@body", "fin", b""),
    ("fin", b"fin@20", "fin", TEXT[:3]),
    ("truncate", b"truncate", "fin", TEXT[:8]),
    ("truncate", b"hang=0.1@50,truncate@60", "fin", TEXT[:10]),
    ("garbage", b"garbage=5@body", "fin", b"\xfe" * 5),
    ("badchunk", b"badchunk@50", "fin", b"8\r\nslow api\r\nzz\r\n"),
    ("badchunk", b"badchunk", "fin", b"zz\r\n"),
    ("length", b"length=%2B10", "fin", TEXT),
    ("length", b"length=-3", "fin", TEXT),
    ("nolength", b"nolength", "fin", TEXT),
    ("badheader", b"badheader", "fin", TEXT),
]


def test_faults_that_end_the_connection(controlled):
    api, stats = controlled()
    seen = {}
    for kind, fault, end, body in ENDS:
        with RawConnection(api) as conn:
            ask(conn, fault)
            data, how = everything(conn)
        seen[kind] = seen.get(kind, 0) + 1
        assert how == end, (fault, data)
        if body is None:
            assert data == b"", fault
            continue
        lines, found = split(data)
        assert lines[0] == b"HTTP/1.1 200 OK" and found == body, (fault, data)
        assert any(line.startswith(b"X-Slowapi-Fault: ") and kind.encode() in line for line in lines)
    for kind, count in seen.items():
        struck(stats, kind, count)


def test_heads_are_wrong_in_the_way_that_was_asked_for(controlled):
    api, stats = controlled()

    def head_of(fault):
        with RawConnection(api) as conn:
            ask(conn, fault)
            return split(everything(conn)[0])[0]

    assert b"Content-Length: 27" in head_of(b"length=%2B10")
    assert b"Content-Length: 14" in head_of(b"length=-3")
    assert not [line for line in head_of(b"nolength") if re.match(b"(?i)content-length|transfer-enc", line)]
    assert b"this line is no header" in head_of(b"badheader")
    with RawConnection(api) as conn:
        ask(conn, b"garbage=7")
        assert everything(conn) == (b"\xfe" * 7, "fin")
    struck(stats, "garbage")


def test_a_huge_header_and_interim_answers_leave_the_connection_whole(controlled):
    api, stats = controlled()
    with RawConnection(api) as conn:
        ask(conn, b"interim=3,hugeheader=70000")
        for _ in range(3):
            assert conn.read_until(b"\r\n\r\n") == b"HTTP/1.1 103 Early Hints\r\n\r\n"
        reply = conn.read_response()
        assert reply.headers["x-slowapi-huge"] == "x" * 70000 and reply.body == TEXT
        ask(conn, b"none")
        assert conn.read_response().body == TEXT
    struck(stats, "interim")
    struck(stats, "hugeheader")


def test_hangs_last_until_their_time_or_the_client_ends_them(controlled):
    api, stats = controlled()
    with RawConnection(api) as conn:
        start = time.monotonic()
        ask(conn, b"hang=0.3@body")
        head = conn.read_until(b"\r\n\r\n")
        assert b"X-Slowapi-Fault: hang=300ms@body" in head
        assert conn.read_exactly(17) == TEXT and time.monotonic() - start >= 0.3
        ask(conn, b"hang")
        conn.expect_open(0.3)
        assert stats()["in_flight"] == 1
    struck(stats, "hang", 2)
    assert stats()["client_aborts"] == 1
    with RawConnection(api) as conn:
        ask(conn, b"hang", "&delay=0.1")
        conn.half_close()
        assert everything(conn) == (b"", "fin")
    struck(stats, "hang", 3)


def test_drip_and_bandwidth_take_their_time(controlled):
    api, stats = controlled()
    for fault, size in [(b"drip=20ms", ""), (b"bandwidth=10k", "&size=3k")]:
        with RawConnection(api) as conn:
            start = time.monotonic()
            ask(conn, fault, size)
            body = conn.read_response().body
            assert len(body) == (3072 if size else 17) and 0.25 <= time.monotonic() - start < 2
    struck(stats, "drip")
    struck(stats, "bandwidth")
    with RawConnection(api) as conn:
        ask(conn, b"drip=50ms")
        conn.read_until(b"\r\n\r\n")
        assert conn.read_exactly(1) == b"s"
        assert [conn.sock.recv(100) for _ in range(2)] == [b"l", b"o"]


def test_corruption_rolls_for_each_byte(controlled):
    api, stats = controlled()
    with RawConnection(api) as conn:
        ask(conn, b"none", "&size=10000&seed=3")
        good = conn.read_response().body
        ask(conn, b"corrupt:10", "&size=10000&seed=3")
        bad = conn.read_response().body
    flipped = [a ^ b for a, b in zip(good, bad) if a != b]
    assert len(bad) == 10000 and set(flipped) == {1} and 850 < len(flipped) < 1150
    struck(stats, "corrupt", len(flipped))


def test_an_early_answer_does_not_wait_for_the_body(controlled):
    api, stats = controlled()
    with RawConnection(api) as conn:
        ask(conn, b"early", method=b"POST", head=b"Content-Length: 100000\r\n")
        reply = conn.read_response()
        assert reply.body == TEXT and reply.headers["connection"] == "close"
    struck(stats, "early")


def test_a_stale_connection_closes_when_it_is_reused(controlled):
    api, stats = controlled()
    with RawConnection(api) as conn:
        ask(conn, b"stale")
        assert conn.read_response().body == TEXT
        ask(conn, b"stale")
        assert everything(conn) == (b"", "fin")
    struck(stats, "stale")


def test_faults_of_the_connection_strike_as_it_is_accepted(controlled, slowapi):
    api, stats = controlled("--params", "delay=0&fault=refuse")
    for _ in range(3):
        try:
            with RawConnection(api) as conn:
                assert everything(conn) == (b"", "rst")
        except ConnectionResetError:
            pass  # while it was still connecting
    struck(stats, "refuse", 3)

    held = slowapi("--params", "delay=0&fault=hang=0.4@accept")
    start = time.monotonic()
    assert get(held).body == TEXT and time.monotonic() - start >= 0.4

    slow = slowapi("--params", "delay=0&fault=slowaccept=0.5")
    with connect(slow, 10):
        time.sleep(0.05)  # else both may be in one turn
        start = time.monotonic()
        assert get(slow).body == TEXT and time.monotonic() - start >= 0.4


def test_a_probability_is_kept(controlled):
    api, stats = controlled("--seed", "11")
    with RawConnection(api) as conn:
        for _ in range(400):
            ask(conn, b"interim:25")
            while conn.read_until(b"\r\n\r\n").startswith(b"HTTP/1.1 103"):
                pass
            conn.read_exactly(17)
    assert 70 <= stats()["faults"]["interim"] <= 130


# fault, reason of srv bench, keep-alive
SEEN_BY_BENCH = [
    ("rst@head:40", "rst", "reset", False),
    ("fin@head:40", "fin", "closed_early", False),
    ("truncate:40", "truncate", "truncated", False),
    ("length=%2B9:40", "length", "truncated", False),
    ("garbage:40", "garbage", "bad_response", False),
    ("badheader:40", "badheader", "bad_response", False),
    ("badchunk:40", "badchunk", "bad_response", False),
    ("hang:20", "hang", "timeout_first_byte", False),
    ("hang@body:20", "hang", "timeout_body", False),
    ("stale:40", "stale", "closed_reused", True),
]


def test_srv_bench_counts_the_same(controlled, srv_run):
    api, stats = controlled("--seed", "4")
    for fault, kind, reason, keep_alive in SEEN_BY_BENCH:
        before = stats()["faults"][kind]
        done = srv_run(
            *("bench", "-n", "30", "-c", "3", "-r", "-s", "0.4", "-q", "--json", "-", *(["-k"] if keep_alive else [])),
            f"{api.url}?delay=0&fault={fault}",
        )
        report = json.loads(done.stdout)
        failed = {key: count for key, count in flatten(report).items() if key.split(".")[-1] == reason}
        struck_now = wait_for(lambda: stats()["faults"][kind] - before, what=fault)
        assert list(failed.values()) == [struck_now], (fault, struck_now, failed, done.stdout[:2000])


def flatten(value, prefix=""):
    """{"a.b": number} of nested objects."""
    if not isinstance(value, dict):
        return {prefix: value}
    return {key: leaf for name, item in value.items() for key, leaf in flatten(item, f"{prefix}.{name}").items()}


def test_a_reset_that_comes_with_the_body_is_one(controlled):
    api, stats = controlled()
    with RawConnection(api) as conn:
        conn.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        ask(conn, b"rst@50", "&size=100k")
        data, how = everything(conn)
        assert how == "rst" and len(split(data)[1]) <= 51200
    struck(stats, "rst")
