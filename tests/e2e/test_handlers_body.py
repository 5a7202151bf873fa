# SPDX-License-Identifier: MIT
"""Bodies that handlers of users read while they come: SRV_STREAM_BODY and srv_read, under every model."""

import re
import signal
import threading
import time
from pathlib import Path

import pytest
from harness import RawConnection, get, raw, request, wait_for
from test_handlers import MODELS, build
from test_uwsgi import packet

APP = """
#include <srv/app.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
static int count(srv_request *rq) {
    char data[10000];
    size_t size = (size_t)atol(srv_arg(rq, "size", "10000"));
    unsigned sum = 0;
    long n, total = 0;
    double pause = atof(srv_arg(rq, "pause", "0"));
    while ((n = srv_read(rq, data, size)) > 0) {
        for (long i = 0; i < n; i++)
            sum = sum * 31 + (unsigned char)data[i];
        total += n;
        if (pause > 0)
            srv_sleep(rq, pause);
    }
    if (n < 0)
        fprintf(stderr, "read ended with %ld after %ld\\n", n, total);
    return srv_reply(rq, 200, "%ld %u %ld", total, sum, srv_read(rq, data, sizeof(data)));
}
static int ignore(srv_request *rq) { return srv_reply(rq, 200, "ignored"); }
static int whole(srv_request *rq) {
    size_t len;
    const char *body = srv_body(rq, &len);
    return srv_reply(rq, 200, "%zu %s", len, len < 100 ? body : "");
}
static int first(srv_request *rq) {
    char data[4] = "";
    srv_read(rq, data, 3);
    return srv_reply(rq, 200, "%s, then %s", data, srv_body(rq, NULL));
}
static int waits(srv_request *rq) {
    srv_sleep(rq, 60);
    fprintf(stderr, "waits ended with %d\\n", srv_error(rq));
    return srv_reply(rq, 200, "x");
}
static int both_ways(srv_request *rq) {
    char data[1000];
    long n;
    srv_begin(rq, 200);
    while ((n = srv_read(rq, data, sizeof(data))) > 0)
        srv_write(rq, data, (size_t)n);
    return srv_end(rq);
}
static int forgives(srv_request *rq) {
    char data[1000];
    long n;
    while ((n = srv_read(rq, data, sizeof(data))) > 0)
        continue;
    srv_forgive(rq);
    return srv_reply(rq, 202, "%ld", n);
}
SRV_APP(.routes = (const srv_route[]){ { "/count", count }, { "/ignore", ignore }, { "/whole", whole }, { "/first", first },
        { "/waits", waits }, { "/both", both_ways }, { "/forgives", forgives }, { NULL, NULL } }, .flags = FLAGS)
"""
CANCELED, TIMEDOUT, BADMSG = -125, -110, -74


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return build(tmp_path_factory.mktemp("body"), APP.replace("FLAGS", "SRV_STREAM_BODY"))


@pytest.fixture(params=MODELS)
def model(request):
    return request.param


@pytest.fixture
def app(serve, path, model):
    return serve("--model", model, "--body-timeout", "1s", "--limit-request-body", "100M", path)


def told(data):
    """What `count` says of them."""
    total = 0
    for byte in data:
        total = (total * 31 + byte) & 0xFFFFFFFF
    return f"{len(data)} {total} 0"


def chunked(data, size):
    pieces = [data[i : i + size] for i in range(0, len(data), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


def post(target, body=b"", fields=b"", length=None):
    length = len(body) if length is None else length
    return b"POST /%s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n%s\r\n%s" % (target.encode(), length, fields, body)


CHUNKED = b"POST /%s HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n%s\r\n"
BODY = bytes(range(256)) * 200


@pytest.mark.parametrize("size", [1, 7, 10000])
def test_what_is_read_is_what_was_sent(app, size):
    body = BODY[:3000] if size == 1 else BODY
    assert request(app, "POST", f"/count?size={size}", body=body).text == told(body)
    data = raw(app, CHUNKED % (f"count?size={size}".encode(), b"Connection: close\r\n") + chunked(body, 1000))
    assert data.endswith(told(body).encode())


@pytest.mark.parametrize("body", [b"", b"x"])
def test_small_bodies(app, body):
    assert request(app, "POST", "/count", body=body).text == told(body)
    assert get(app, "/count").text == told(b"")


def test_a_body_that_comes_byte_by_byte(app):
    with RawConnection(app) as conn:
        conn.send(CHUNKED % (b"count", b""))
        for byte in chunked(BODY[:40], 7):
            conn.send(bytes([byte]))
            time.sleep(0.002)
        assert conn.read_response().text == told(BODY[:40])


def test_without_the_flag_the_body_is_there_already(serve, tmp_path, model):
    app = serve("--model", model, build(tmp_path, APP.replace("FLAGS", "0")))
    assert request(app, "POST", "/count?size=7", body=BODY).text == told(BODY)
    assert request(app, "POST", "/first", body=b"abcdef").text == "abc, then abcdef"


def test_unknown_flags_are_refused(tmp_path):
    from test_handlers import refused

    assert "it needs a later srv: its srv_app has unknown flags" in refused(build(tmp_path, APP.replace("FLAGS", "1u << 31")))


def test_srv_body_waits_for_the_rest(app):
    with RawConnection(app) as conn:
        conn.send(post("whole", b"half ", length=9))
        time.sleep(0.05)
        conn.send(b"full")
        assert conn.read_response().text == "9 half full"
    assert request(app, "POST", "/first", body=b"abcdef").text == "abc, then def"
    assert request(app, "POST", "/whole", body=BODY).text.startswith(f"{len(BODY)} ")


def test_pipelined_requests_behind_a_body(serve, path):
    for model in ("threaded", "pool", "green"):
        with RawConnection(serve("--model", model, path)) as conn:
            conn.send(post("count", BODY) + CHUNKED % (b"count", b"") + chunked(BODY, 99) + post("whole", b"abc") + post("ignore", b"xyz"))
            conn.send(post("count", b"last"))
            texts = [conn.read_response().text for _ in range(5)]
        assert texts == [told(BODY), told(BODY), "3 abc", "ignored", told(b"last")]


def test_over_uwsgi(serve, path, model):
    app = serve("--protocol", "uwsgi", "--model", model, path)
    variables = [("REQUEST_METHOD", "POST"), ("REQUEST_URI", "/count"), ("CONTENT_LENGTH", str(len(BODY)))]
    with RawConnection(app) as conn:
        conn.send(packet(variables))
        time.sleep(0.05)
        conn.send(BODY)
        assert conn.read_until_close().endswith(told(BODY).encode())


def test_http_1_0(app):
    head = b"POST /count HTTP/1.0\r\nContent-Length: %d\r\n\r\n" % len(BODY)
    assert raw(app, head + BODY).endswith(told(BODY).encode())


# --- 100 Continue ------------------------------------------------------------------------------------------


def test_the_first_read_asks_for_the_body(app):
    with RawConnection(app) as conn:
        conn.send(post("count", fields=b"Expect: 100-continue\r\n", length=5))
        assert conn.read_until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        conn.send(b"hello")
        assert conn.read_response().text == told(b"hello")


def test_who_is_answered_at_once_is_not_asked(app):
    with RawConnection(app) as conn:
        conn.send(post("ignore", fields=b"Expect: 100-continue\r\n", length=5))
        data = conn.read_until_close()
        assert data.startswith(b"HTTP/1.1 200 ") and b"Connection: close" in data and data.endswith(b"ignored")


# --- bodies that are not read --------------------------------------------------------------------------------


def test_a_large_body_that_nobody_reads_costs_its_connection_and_not_the_answer(app):
    with RawConnection(app) as conn:
        conn.send(post("ignore", length=30_000_000))
        reply = conn.read_response()
        assert (reply.text, reply.headers["connection"]) == ("ignored", "close")
        try:
            for _ in range(30):
                conn.send(b"x" * 1_000_000)
        except (BrokenPipeError, ConnectionResetError):
            pytest.fail("reset while it was sending")


def test_both_ways_at_once(app):
    with RawConnection(app) as conn:
        conn.send(CHUNKED % (b"both", b""))
        assert b"Transfer-Encoding: chunked" in conn.read_until(b"\r\n\r\n")
        for word in (b"one", b"two", b"three"):
            conn.send(b"%x\r\n%s\r\n" % (len(word), word))
            assert word in conn.read_until(word + b"\r\n")
        conn.send(b"0\r\n\r\n")
        assert conn.read_until(b"0\r\n\r\n") == b"0\r\n\r\n"


# --- limits and failures --------------------------------------------------------------------------------------


def test_limits_hold(serve, path, model):
    app = serve("--model", model, "--limit-request-body", "1000", path)
    assert raw(app, post("count", length=1001)).startswith(b"HTTP/1.1 413 ")
    assert raw(app, CHUNKED % (b"count", b"") + chunked(BODY[:2000], 600)).startswith(b"HTTP/1.1 413 ")
    assert raw(app, CHUNKED % (b"count", b"") + b"zz\r\n").startswith(b"HTTP/1.1 400 ")
    assert request(app, "POST", "/count", body=BODY[:1000]).text == told(BODY[:1000])
    data = raw(app, CHUNKED % (b"forgives", b"") + b"zz\r\n")
    assert data.startswith(b"HTTP/1.1 202 ") and data.endswith(str(BADMSG).encode())


def test_silent_clients_are_told_408(app):
    with RawConnection(app) as conn:
        conn.send(post("count", b"abc", length=10))
        begin = time.monotonic()
        data = conn.read_until_close()
        assert data.startswith(b"HTTP/1.1 408 ") and 0.9 < time.monotonic() - begin < 10
    assert f"read ended with {TIMEDOUT} after 3" in app.stderr()


def test_body_rate_counts_what_was_decoded(serve, path, model):
    app = serve("--model", model, "--body-timeout", "0.4s", "--body-rate", "1000", path)
    with RawConnection(app) as conn:
        conn.send(post("count", length=100000))
        begin, data = time.monotonic(), b""
        conn.sock.settimeout(0.05)
        while not data and time.monotonic() - begin < 10:
            try:
                conn.send(b"x")
                data = conn.sock.recv(1000)
            except TimeoutError:
                continue
        assert data.startswith(b"HTTP/1.1 408 ")


def test_time_in_which_the_handler_does_not_read_is_not_the_clients(serve, path, model):
    app = serve("--model", model, "--body-timeout", "0.3s", "--body-rate", "1000000", path)
    with RawConnection(app) as conn:
        conn.send(post("count?pause=0.2&size=100", length=1000))
        for _ in range(10):
            conn.send(b"x" * 100)
            time.sleep(0.2)
        assert conn.read_response().text == told(b"x" * 1000)


@pytest.mark.parametrize("how", ["close", "reset", "half_close"])
def test_a_client_that_leaves_in_the_middle(app, how):
    conn = RawConnection(app)
    conn.send(post("count", b"abc", length=10))
    time.sleep(0.05)
    getattr(conn, how)()
    wait_for(lambda: f"read ended with {CANCELED} after" in app.stderr(), what="the end of the read")
    if how == "half_close":
        assert conn.read_until_close() == b""
        conn.close()
    assert get(app, "/count").text == told(b"")


def test_a_client_that_leaves_while_its_handler_does_something_else(app):
    conn = RawConnection(app)
    conn.send(post("waits", b"abc", length=10))
    time.sleep(0.05)
    conn.reset()
    wait_for(lambda: f"waits ended with {CANCELED}" in app.stderr(), what="the end of the wait")


def test_term_in_the_middle_of_a_body(app):
    with RawConnection(app) as conn:
        conn.send(post("count", BODY[:100], length=200))
        time.sleep(0.1)
        app.send_signal(signal.SIGTERM)
        time.sleep(0.1)
        conn.send(BODY[100:200])
        reply = conn.read_response()
        assert (reply.text, reply.headers["connection"]) == (told(BODY[:200]), "close")
    assert app.wait() == 0


def test_queued_requests_whose_body_has_not_come(serve, path):
    app = serve("--model", "pool", "--threads", "1", "--queue-timeout", "0.3s", "--body-timeout", "2s", path)
    with RawConnection(app) as first, RawConnection(app) as second:
        first.send(post("count", b"a", length=5))
        time.sleep(0.1)
        second.send(post("count", b"b", length=50_000))
        reply = second.read_response()
        assert (reply.status, reply.headers["connection"]) == (503, "close")
        first.send(b"aaaa")
        assert first.read_response().text == told(b"aaaaa")


# --- memory --------------------------------------------------------------------------------------------------


def resident_kib(pid):
    return int(re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1])


def test_memory_does_not_grow_with_uploads(serve, path, model):
    """8 uploads of 30 MB at the same time: 0.3 MB more than idle, 1.4 MB with sanitizers."""
    app = serve("--model", model, "--limit-request-body", "100M", path)
    get(app, "/count")
    idle, piece, done = resident_kib(app.pid), b"x" * 1_000_000, []

    def upload():
        with RawConnection(app) as conn:
            conn.send(post("forgives", length=30_000_000))
            for _ in range(30):
                conn.send(piece)
            done.append(conn.read_response().status)

    threads = [threading.Thread(target=upload) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert done == [202] * 8
    assert resident_kib(app.pid) - idle < 20_000
