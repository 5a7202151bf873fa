# SPDX-License-Identifier: MIT
"""srv serve from outside: the same behaviour is expected of every model."""

import os
import random
import re
import select
import signal
import socket
import subprocess
import time

import pytest
from harness import RawConnection, children, clean_environment, cpu_seconds, free_port, get, raw, request, srv_binary
from harness import wait_for
from upstreams import ANSWER, Upstream

MODELS = ("green", "pool", "threaded", "single", "event")
# A slow API that is stopped while requests nobody waits for any more still sleep in it.
IMPATIENT = ("--graceful-timeout", "0")
GREETING = "Hi there! slow api response"


@pytest.fixture(params=MODELS)
def model(request):
    return request.param


@pytest.fixture
def app(slowapi, serve, model):
    """srv serve under each model, in front of a slow API."""
    return serve("--model", model, upstream=slowapi())


# --- the workload --------------------------------------------------------------


def test_index_greets_with_what_the_upstream_said(app):
    reply = get(app, "/?delay=0")
    assert (reply.status, reply.text) == (200, GREETING)
    assert reply.headers["content-type"] == "text/plain; charset=utf-8"
    assert "date" in reply.headers


def test_absent_and_empty_delay_mean_one_second(app):
    for target in ("/", "/?delay="):
        start = time.monotonic()
        assert get(app, target).text == GREETING
        assert time.monotonic() - start >= 1.0


@pytest.mark.parametrize("value", ["abc", "-1", "nan", "inf", "1e999", "1e3", "0x10", "+1", "%20"])
def test_bad_delay_is_400_with_a_reason(app, value):
    reply = get(app, f"/?delay={value}")
    assert reply.status == 400
    assert reply.text.startswith("delay ") and reply.text.count("\n") == 1


def test_unknown_path_is_404(app):
    assert get(app, "/nope").status == 404


def test_head_has_length_and_no_body(app):
    reply = request(app, "HEAD", "/?delay=0")
    assert (reply.status, reply.body) == (200, b"")
    assert reply.headers["content-length"] == str(len(GREETING))


def test_post_with_length_and_chunked_bodies(app):
    with RawConnection(app) as conn:
        conn.send(b"POST /?delay=0 HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello")
        assert conn.read_response().status == 200
    with RawConnection(app) as conn:
        conn.send(b"POST /?delay=0 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        for piece in (b"5\r\nhel", b"lo\r\n", b"3;x=y\r\nabc\r\n0\r\n", b"\r\n"):
            time.sleep(0.01)
            conn.send(piece)
        assert conn.read_response().status == 200


def test_expect_continue_is_answered(app):
    with RawConnection(app) as conn:
        conn.send(
            b"POST /?delay=0 HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"
        )
        assert conn.read_response().status == 100
        conn.send(b"hello")
        assert conn.read_response().status == 200


def test_methods(app):
    assert request(app, "BREW", "/").status == 501
    reply = request(app, "TRACE", "/")
    assert reply.status == 405 and "GET" in reply.headers["allow"]


# --- connections ------------------------------------------------------------------


def test_http10_closes_unless_asked(app):
    with RawConnection(app) as conn:
        conn.send(b"GET /?delay=0 HTTP/1.0\r\n\r\n")
        reply = conn.read_response()
        assert reply.status == 200
        assert conn.read_until_close() == b""


def test_green_keeps_http10_alive_when_asked(slowapi, serve):
    app = serve(upstream=slowapi())
    with RawConnection(app) as conn:
        for _ in range(3):
            conn.send(b"GET /?delay=0 HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n")
            reply = conn.read_response()
            assert reply.headers["connection"].lower() == "keep-alive"
            assert reply.headers["content-length"] == str(len(GREETING))


def test_single_always_closes(slowapi, serve):
    app = serve("--model", "single", upstream=slowapi())
    with RawConnection(app) as conn:
        conn.send(b"GET /?delay=0 HTTP/1.1\r\nHost: x\r\n\r\n")
        assert conn.read_response().headers["connection"].lower() == "close"
        assert conn.read_until_close() == b""


def test_pipelined_requests_are_answered_in_order(slowapi, serve):
    app = serve(upstream=slowapi())
    with RawConnection(app) as conn:
        conn.send(
            b"GET /?delay=0.3 HTTP/1.1\r\nHost: x\r\n\r\n"
            b"GET /nope HTTP/1.1\r\nHost: x\r\n\r\n"
            b"GET /?delay=0 HTTP/1.1\r\nHost: x\r\n\r\n"
        )
        assert [conn.read_response().status for _ in range(3)] == [200, 404, 200]


def test_request_byte_by_byte(app):
    with RawConnection(app) as conn:
        for byte in b"\r\nGET /?delay=0 HTTP/1.1\r\nHost: x\r\n\r\n":
            conn.send(bytes([byte]))
            time.sleep(0.001)
        assert conn.read_response().status == 200


def test_idle_connection_is_closed_after_keep_alive(slowapi, serve):
    app = serve("--keep-alive", "300ms", upstream=slowapi())
    with RawConnection(app) as conn:
        conn.send(b"GET /?delay=0 HTTP/1.1\r\nHost: x\r\n\r\n")
        assert conn.read_response().status == 200
        assert conn.read_until_close() == b""


def test_slow_head_is_408(slowapi, serve, model):
    app = serve("--model", model, "--header-timeout", "300ms", upstream=slowapi())
    assert raw(app, b"GET / HTTP/1.1\r\nHo").startswith(b"HTTP/1.1 408 ")


def test_slow_body_is_408(slowapi, serve, model):
    app = serve("--model", model, "--body-timeout", "300ms", upstream=slowapi())
    with RawConnection(app) as conn:
        conn.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhe")
        assert conn.read_response().status == 408


def trickle(app, head, piece, pieces):
    """Sends a piece every 50 ms until there is an answer. Its status, and how long it took."""
    with RawConnection(app) as conn:
        conn.send(b"POST /nope HTTP/1.1\r\nHost: x\r\n" + head + b"\r\n\r\n")
        start = time.monotonic()
        for _ in range(pieces):
            conn.send(piece)
            if select.select([conn.sock], [], [], 0.05)[0]:
                break
        if head.startswith(b"Transfer"):
            conn.send(b"0\r\n\r\n")
        reply = conn.read_response()
        took = time.monotonic() - start
        if reply.status == 408:
            assert reply.headers["connection"] == "close" and conn.read_until_close() == b""
        return reply.status, took


BODIES = [(b"Content-Length: 60", b"x"), (b"Transfer-Encoding: chunked", b"1;e=f\r\nx\r\n")]


@pytest.mark.parametrize("head,piece", BODIES, ids=("length", "chunked"))
def test_a_body_that_trickles_is_408(serve, model, head, piece):
    """20 bytes per second, never silent. What frames chunks is no body."""
    slow = serve("--model", model, "--body-timeout", "1s", "--body-rate", "1k")
    status, took = trickle(slow, head, piece, 60)
    assert status == 408 and took >= 1


@pytest.mark.parametrize("rate", ["4", "0"])
@pytest.mark.parametrize("head,piece", BODIES, ids=("length", "chunked"))
def test_an_honest_slow_body_is_served(serve, model, head, piece, rate):
    app = serve("--model", model, "--body-timeout", "1s", "--body-rate", rate)
    status, took = trickle(app, head, piece, 60)
    assert status == 404 and took >= 2.5


def test_the_rate_of_a_body_begins_anew_with_each(serve):
    for model in ("green", "threaded"):
        app = serve("--model", model, "--body-timeout", "1s", "--body-rate", "1k")
        with RawConnection(app) as conn:
            for _ in range(3):
                conn.send(b"POST /nope HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nx")
                time.sleep(0.5)
                conn.send(b"x")
                assert conn.read_response().status == 404


def test_green_serves_others_while_one_client_dawdles(slowapi, serve):
    app = serve(upstream=slowapi())
    slow = [RawConnection(app) for _ in range(50)]
    for conn in slow:
        conn.send(b"GET /?delay=0 HTTP/1.1\r\nHos")
    assert get(app, "/?delay=0").status == 200
    for conn in slow:
        conn.send(b"t: x\r\n\r\n")
        assert conn.read_response().status == 200
        conn.close()


def test_half_closed_client_gets_its_answer(app):
    with RawConnection(app) as conn:
        conn.send(b"GET /?delay=0.2 HTTP/1.1\r\nHost: x\r\n\r\n")
        conn.sock.shutdown(socket.SHUT_WR)
        reply = conn.read_response()
        while reply.status < 200:  # an interim answer may ask whether it still listens
            reply = conn.read_response()
        assert reply.status == 200


# --- refusals --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text,status",
    [
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
        (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
        (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 9000 + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX : y\r\n\r\n", 400),
        (b"GET / HTTP/1.1\nHost: a\n\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 1\r\n\r\nx", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\n\r\nx", 413),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00", 400),
    ],
    ids=lambda value: str(value[:40]) if isinstance(value, bytes) else None,
)
def test_malformed_requests_are_refused_and_closed(app, text, status):
    answer = raw(app, text)
    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert b"\r\nConnection: close\r\n" in answer


def test_a_large_refused_body_does_not_reset_the_answer(app):
    with RawConnection(app) as conn:
        conn.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\n\r\n" + b"x" * 200000)
        assert conn.read_response().status == 413


def test_who_sends_all_of_a_body_that_is_too_large_reads_why(app):
    """As most clients do: more than the socket buffers hold, and only then a look at the answer."""
    with RawConnection(app) as conn:
        conn.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % 24_000_000)
        for _ in range(24):
            conn.send(b"x" * 1_000_000)
        assert conn.read_response().status == 413
        assert conn.sock.recv(1) == b""  # and no reset


# --- the last answer of a connection ----------------------------------------------------------


@pytest.mark.parametrize("why", ["client", "keep-alive", "keep-alive-requests"])
def test_a_last_answer_is_not_cut_off_by_what_the_client_sent_more(slowapi, serve, model, why):
    """Bytes that nobody reads would reset the connection (RFC 9112 section 9.6)."""
    options = {"keep-alive": ("--keep-alive", "0"), "keep-alive-requests": ("--keep-alive-requests", "1")}
    if model == "single" and why != "client":
        pytest.skip("single has no such options: each of its answers is the last")
    app = serve("--model", model, *options.get(why, ()), upstream=slowapi())
    with RawConnection(app) as conn:
        close = b"Connection: close\r\n" if why == "client" else b""
        conn.send(b"GET /?delay=0.4 HTTP/1.1\r\nHost: x\r\n%s\r\n" % close)
        time.sleep(0.2)
        conn.send(b"GET /?delay=0 HTTP/1.1\r\nHost: x\r\n\r\n")
        reply = conn.read_response()
        assert (reply.status, reply.headers["connection"]) == (200, "close")
        assert conn.sock.recv(1) == b""  # a reset would raise


# --- the upstream ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "bytes_sent,status",
    [
        (b"", 502),
        (b"garbage\r\n\r\n", 502),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 40\r\n\r\nshort", 502),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nslow", 502),
        (b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n", 502),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nslow\r\n0\r\n\r\n", 200),
        (b"HTTP/1.1 200 OK\r\n\r\nuntil close", 200),
        (b"HTTP/1.0 200 OK\r\n\r\nuntil close", 200),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + ANSWER, 200),
    ],
)
def test_what_the_upstream_says_decides(serve, model, bytes_sent, status):
    def behave(conn, _count):
        conn.recv(4096)
        conn.sendall(bytes_sent)

    upstream = Upstream(behave)
    app = serve("--model", model, "--upstream", upstream.url)
    assert get(app, "/?delay=0").status == status
    upstream.close()


def test_refused_upstream_is_502_and_recovers(slowapi, serve, model):
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    app = serve("--model", model, "--upstream", f"http://127.0.0.1:{port}/")
    reply = get(app, "/?delay=0")
    assert (reply.status, reply.text) == (502, "upstream cannot be reached\n")
    assert app.stderr().count("Connection refused") == 1  # which is the operator's to know
    slowapi("--bind", f"127.0.0.1:{port}")
    assert get(app, "/?delay=0").status == 200


def test_slow_upstream_is_504(slowapi, serve, model):
    app = serve("--model", model, "--upstream-timeout", "300ms", upstream=slowapi(*IMPATIENT))
    start = time.monotonic()
    assert get(app, "/?delay=30").status == 504
    assert time.monotonic() - start < 10
    assert get(app, "/?delay=0").status == 200


def test_silent_upstream_is_504(serve, model):
    upstream = Upstream(lambda conn, _count: conn.recv(4096) and time.sleep(5))
    app = serve("--model", model, "--upstream-timeout", "300ms", "--upstream", upstream.url)
    assert get(app, "/?delay=0").status == 504
    upstream.close()


def test_stale_upstream_connection_is_replaced_once(serve, model):
    def behave(conn, _count):
        conn.recv(4096)
        conn.sendall(ANSWER)
        conn.recv(4096)  # the second request on this connection gets nothing

    upstream = Upstream(behave)
    app = serve("--model", model, "--upstream", upstream.url)
    assert [get(app, "/?delay=0").status for _ in range(4)] == [200] * 4
    assert upstream.connections >= 2
    upstream.close()


def test_unknown_upstream_name_is_502(serve, model):
    app = serve("--model", model, "--upstream", "http://no-such-host.invalid/")
    assert get(app, "/?delay=0").status == 502


@pytest.mark.parametrize("name", ["localhost", "127.1"])  # the second one is left to getaddrinfo
def test_upstream_by_name(slowapi, serve, model, name):
    port = slowapi().port
    app = serve("--model", model, "--upstream", f"http://{name}:{port}/")
    assert get(app, "/?delay=0").text == GREETING


# --- life ----------------------------------------------------------------------------------------


def test_green_runs_two_hundred_waits_at_once(slowapi, serve):
    app = serve(upstream=slowapi())
    conns = [RawConnection(app) for _ in range(200)]
    start = time.monotonic()
    for conn in conns:
        conn.send(b"GET /?delay=1 HTTP/1.1\r\nHost: x\r\n\r\n")
    assert all(conn.read_response().status == 200 for conn in conns)
    assert time.monotonic() - start < 10
    assert len(os.listdir(f"/proc/{app.pid}/task")) == 1
    for conn in conns:
        conn.close()


def test_sigterm_finishes_what_runs(app):
    with RawConnection(app) as conn:
        conn.send(b"GET /?delay=0.7 HTTP/1.1\r\nHost: x\r\n\r\n")
        time.sleep(0.3)
        app.send_signal(signal.SIGTERM)
        reply = conn.read_response()
        assert (reply.status, reply.text) == (200, GREETING)
        assert reply.headers["connection"] == "close"
    assert app.wait(timeout=10) == 0


@pytest.mark.parametrize("model", ["threaded", "pool", "green", "event"])
def test_sigterm_finishes_what_arrives_on_a_kept_connection(slowapi, serve, model):
    app = serve("--model", model, upstream=slowapi())
    with RawConnection(app) as conn:
        conn.send(b"GET /?delay=0 HTTP/1.1\r\nHost: x\r\n\r\n")
        assert conn.read_response().status == 200
        conn.send(b"POST /?delay=0 HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n12")
        time.sleep(0.3)
        app.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        conn.send(b"34")
        reply = conn.read_response()
        assert (reply.status, reply.headers["connection"]) == (200, "close")
    assert app.wait(timeout=10) == 0


def test_sigterm_does_not_wait_for_who_says_nothing(serve, model):
    app = serve("--model", model)
    with RawConnection(app) as conn:
        time.sleep(0.3)
        app.send_signal(signal.SIGTERM)
        assert app.wait(timeout=5) == 0
        assert conn.read_until_close() == b""


@pytest.mark.parametrize("signals", [(signal.SIGINT,), (signal.SIGTERM, signal.SIGTERM)])
def test_int_and_a_second_term_do_not_wait(slowapi, serve, model, signals):
    app = serve("--model", model, upstream=slowapi(*IMPATIENT))
    with RawConnection(app) as conn:
        conn.send(b"GET /?delay=60 HTTP/1.1\r\nHost: x\r\n\r\n")
        time.sleep(0.3)
        for number in signals:
            app.send_signal(number)
            time.sleep(0.1)
        assert app.wait(timeout=10) == 0


def test_graceful_timeout_bounds_the_stop(slowapi, serve, model):
    app = serve("--model", model, "--graceful-timeout", "300ms", upstream=slowapi(*IMPATIENT))
    with RawConnection(app) as conn:
        conn.send(b"GET /?delay=60 HTTP/1.1\r\nHost: x\r\n\r\n")
        time.sleep(0.3)
        start = time.monotonic()
        app.send_signal(signal.SIGTERM)
        assert app.wait(timeout=10) == 0
        assert 0.25 < time.monotonic() - start < 5


def test_workers_under_a_master(slowapi, serve, model):
    app = serve("--model", model, "--workers", "2", upstream=slowapi())
    assert get(app, "/?delay=0").text == GREETING
    wait_for(lambda: len(children(app.pid)) == 2, what="the second worker")
    os.kill(children(app.pid)[0], signal.SIGKILL)
    for _ in range(20):
        assert get(app, "/?delay=0").text == GREETING


def test_unix_socket(slowapi, serve, tmp_path):
    path = tmp_path / "app.sock"
    app = serve("--bind", f"unix:{path}", upstream=slowapi())
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(str(path))
        sock.sendall(b"GET /?delay=0 HTTP/1.0\r\n\r\n")
        assert sock.recv(4096).startswith(b"HTTP/1.1 200 OK")
    app.stop()
    assert not path.exists()


@pytest.mark.parametrize("seed", range(3))
def test_random_and_mutated_bytes_do_not_hurt(slowapi, serve, seed):
    app = serve("--header-timeout", "1s", upstream=slowapi())
    rng = random.Random(seed)
    base = b"POST /?delay=0 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    for _ in range(300):
        data = bytearray(base)
        for _ in range(rng.randrange(1, 6)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        with socket.create_connection((app.host, app.port)) as sock:
            sock.sendall(bytes(data))
            if rng.random() < 0.5:
                sock.shutdown(socket.SHUT_WR)
    assert get(app, "/?delay=0").text == GREETING


# --- options ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "args,named",
    [
        (("--nope",), "--nope"),
        (("--bind", "127.0.0.1:99999"), "99999"),
        (("--bind", "127.0.0.1"), "--bind"),
        (("--model", "magic"), "--model"),
        (("--workers", "-1"), "--workers"),
        (("--upstream", "not a url"), "--upstream"),
        (("--keep-alive", "soon"), "--keep-alive"),
        (("nope",), "nope"),
    ],
)
def test_bad_option_is_one_line_and_exit_2(srv_run, args, named):
    done = srv_run("serve", *args)
    assert done.returncode == 2 and done.stdout == ""
    assert named in done.stderr and done.stderr.count("\n") == 1


def test_busy_port_is_one_line_and_exit_1(srv_run, app):
    done = srv_run("serve", "--bind", f"127.0.0.1:{app.port}")
    assert done.returncode == 1
    assert str(app.port) in done.stderr and done.stderr.count("\n") == 1


def test_environment_gives_defaults(slowapi, start):
    api = slowapi()
    app = start("serve", env={"PORT_API": str(api.port), "MODULE": "index", "WORKERS": "1"})
    assert get(app, "/?delay=0").text == GREETING
    assert srv_binary()


@pytest.mark.parametrize(
    "variables, args, model",
    [
        ({"THREADS": "with"}, (), "threaded"),
        ({"THREADS": "without"}, (), "single"),
        ({"THREADS": "without"}, ("--model", "green"), "green"),
        ({"THREADS": "with"}, ("--model", "pool"), "pool"),
        ({"THREADS": "7"}, (), "green"),
        ({"WORKERS": "1", "ASYNC_CORES": "2000"}, (), "green"),
    ],
    ids=str,
)
def test_variables_of_the_tutorial_choose_the_model(slowapi, start, tmp_path, variables, args, model):
    log = tmp_path / "log"
    logs = ("--access-logfile", log, "--access-logformat", "%(model)s")
    app = start("serve", *args, *logs, env={"PORT_API": str(slowapi().port), **variables})
    assert get(app, "/?delay=0").text == GREETING
    wait_for(lambda: log.exists() and log.read_text() == f"{model}\n", what="the model in the access log")


@pytest.mark.parametrize(
    "variable, value, allowed",
    [
        ("MODULE", "nope", "index, db, cpu, self, echo, curl, app or patched"),
        ("THREADS", "maybe", "1 to 10000"),
        ("THREADS", "0", "with or without"),
        ("WORKERS", "many", "0 to 1000"),
        ("ASYNC_CORES", "-1", "0 to 30000"),
        ("PROTOCOL", "gopher", "http or uwsgi"),
        ("PORT_APP", "x", "0 to 65535"),
        ("PORT_API", "65536", "0 to 65535"),
    ],
)
def test_a_bad_variable_is_named_with_what_is_allowed(srv_run, variable, value, allowed):
    done = srv_run("serve", env={"PORT_APP": "0", variable: value})
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert done.stderr.startswith(f"srv serve: {variable} (environment): '{value}' ") and allowed in done.stderr


def test_words_for_the_model_are_no_number_of_threads(srv_run):
    done = srv_run("serve", "--bind", "0", "--threads", "with")
    assert done.returncode == 2 and done.stderr.startswith("srv serve: --threads: 'with' ")


@pytest.mark.parametrize("model", ["threaded", "green", "pool", "single"])
def test_a_handler_that_asks_its_own_server_needs_a_second_place(start, model):
    port = free_port()
    itself = ("--bind", str(port), "--upstream", f"http://127.0.0.1:{port}/", "--upstream-timeout", "2s")
    app = start("serve", "--model", model, *itself, "self")
    reply = get(app, "/?delay=0.01")
    if model == "single":
        assert (reply.status, reply.text) == (504, "upstream did not answer in time\n")
    else:
        assert (reply.status, reply.text) == (200, "Hi there! my own answer")
    assert get(app, "/part?delay=x").status == get(app, "/?delay=-1").status == 400
    assert get(app, "/part").text == "my own answer" and get(app, "/nope").status == 404


@pytest.mark.parametrize("model", ["single", "threaded", "pool", "green"])
def test_half_of_the_delay_is_computed(slowapi, serve, model):
    app = serve("--model", model, "cpu", upstream=slowapi())
    before = cpu_seconds(app.pid)
    reply = get(app, "/?delay=0.4")
    assert reply.status == 200 and re.fullmatch(r"Hi there! slow api response \([0-9a-f]{16}\)", reply.text)
    assert 0.19 <= cpu_seconds(app.pid) - before < 0.35
    assert get(app, "/?delay=10.5").status == get(app, "/?delay=x").status == 400
    assert get(app, "/?delay=0").status == 200 and get(app, "/nope").status == 404


@pytest.mark.parametrize("command", ["serve", "slowapi"])
def test_a_port_alone_is_one_of_loopback(start, command):
    assert start(command, "--bind", "0").url.startswith("http://127.0.0.1:")


@pytest.mark.parametrize("command", ["serve", "slowapi"])
def test_a_control_address_that_is_taken_names_its_option(srv_run, app, command):
    done = srv_run(command, "--bind", "0", "--control", str(app.port))
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert done.stderr.startswith(f"srv {command}: --control: cannot listen on 127.0.0.1:{app.port}: ")


@pytest.mark.parametrize(
    "command",
    [("serve",), ("serve", "--model", "single"), ("serve", "--workers", "1"), ("slowapi",), ("slowapi", "--workers", "1")],
    ids=" ".join,
)
def test_a_stop_right_after_the_announcement_is_graceful(command):
    """On one CPU it comes before the server can go on."""
    cpus = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cpus)})
    try:
        for _ in range(5):
            started = [srv_binary(), *command, "--bind", "127.0.0.1:0"]
            with subprocess.Popen(started, stderr=subprocess.PIPE, text=True, env=clean_environment()) as server:
                while "listening" not in server.stderr.readline():
                    pass
                server.send_signal(signal.SIGTERM)
                server.stderr.read()
                assert server.wait(20) == 0
    finally:
        os.sched_setaffinity(0, cpus)
