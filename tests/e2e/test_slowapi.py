# SPDX-License-Identifier: MIT
"""srv slowapi from outside."""

import json
import random
import resource
import selectors
import signal
import socket
import time

import pytest
from control import fetch
from harness import Client, RawConnection, children, connect, get, is_refused, open_files, raw, wait_for

TEXT = "slow api response"
GET = b"GET /?delay=%s HTTP/1.1\r\nHost: x\r\n\r\n"
NOW = GET % b"0"


def open_sockets(server):
    """How many sockets the server holds, the listening ones included."""
    return sum(link.startswith("socket:") for link in open_files(server.pid))


def stats_of(server):
    return json.loads(fetch(server, "/stats").text)


# --- answers -----------------------------------------------------------------------


def test_it_answers_after_the_delay_and_not_before(slowapi):
    api = slowapi()
    start = time.monotonic()
    reply = get(api, "/?delay=0.3")
    took = time.monotonic() - start
    assert (reply.status, reply.text) == (200, TEXT)
    assert reply.headers["content-type"] == "text/plain"
    assert "date" in reply.headers and "connection" not in reply.headers
    assert 0.3 <= took < 1.5


@pytest.mark.parametrize("path", ["/", "/?delay=", "/?other=1"])
def test_a_request_that_does_not_say_takes_the_default(slowapi, path):
    api = slowapi("--delay", "200ms")
    start = time.monotonic()
    assert get(api, path).status == 200
    assert 0.2 <= time.monotonic() - start < 1.0


def test_the_default_is_one_second(slowapi):
    start = time.monotonic()
    assert get(slowapi(), "/").status == 200
    assert 1.0 <= time.monotonic() - start < 2.0


@pytest.mark.parametrize(
    "value, reason",
    [
        ("abc", "is not a decimal number of seconds"),
        ("-1", "is negative"),
        ("nan", "is not a number"),
        ("inf", "is not finite"),
        ("1e999", "is not a decimal number of seconds"),
        ("1x", "is not a decimal number of seconds"),
        ("5ms-1ms", "has an end below its begin"),
        ("%00", "has a bad percent-escape"),
        ("9" * 40, "is more than ten years"),
        ("1" * 500, "is more than ten years"),
    ],
)
def test_a_bad_delay_is_refused_with_what_is_allowed(slowapi, value, reason):
    reply = get(slowapi(), f"/?delay={value}")
    assert reply.status == 400
    assert reply.text.startswith("delay=" + value[:20])
    assert f" {reason}; allowed: a duration" in reply.text
    assert reply.text.count("\n") == 1 and len(reply.text) < 400


def test_paths_and_methods_have_their_status(slowapi):
    api = slowapi("--delay", "0")
    client = Client(api)
    for method, path, status in [
        ("GET", "/x", 404),
        ("GET", "//", 404),
        ("POST", "/x?delay=abc", 404),
        ("DELETE", "/", 405),
        ("OPTIONS", "/", 405),
        ("FOO", "/", 501),
        ("GET", "/?delay=x", 400),
        ("PUT", "/", 200),
    ]:
        reply = client.ask(method, path, body=b"ignored" if method in ("POST", "PUT") else None)
        assert reply.status == status, (method, path)
        assert reply.headers.get("allow") == ("GET, HEAD, POST, PUT" if status == 405 else None)
        assert "connection" not in reply.headers
    client.close()


def test_head_gets_the_head_only(slowapi):
    with RawConnection(slowapi()) as conn:
        conn.send(b"HEAD /?delay=0 HTTP/1.1\r\nHost: x\r\n\r\n" + NOW)
        head = conn.read_response(method="HEAD")
        assert (head.status, head.headers["content-length"]) == (200, str(len(TEXT)))
        assert conn.read_response().text == TEXT


def test_a_refused_request_after_a_head_has_a_body_again(slowapi):
    with RawConnection(slowapi()) as conn:
        conn.send(b"HEAD /?delay=0 HTTP/1.1\r\nHost: x\r\n\r\n")
        conn.read_response(method="HEAD")
        conn.send(b"bad\r\n\r\n")
        reply = conn.read_response()
        assert reply.status == 400 and reply.text.strip() != ""


# --- bodies -------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 100_000, 3_000_000])
def test_a_body_is_drained(slowapi, size):
    client = Client(slowapi())
    for _ in range(2):
        assert client.ask("POST", "/?delay=0", body=b"x" * size).text == TEXT
    client.close()


def test_a_chunked_body_is_drained_byte_by_byte(slowapi):
    with RawConnection(slowapi()) as conn:
        head = b"POST /?delay=0 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        for byte in head + b"3;a=b\r\nabc\r\n10\r\n" + b"y" * 16 + b"\r\n0\r\nT: v\r\n\r\n":
            conn.send(bytes([byte]))
        assert conn.read_response().text == TEXT
        conn.send(NOW)
        assert conn.read_response().text == TEXT


def test_a_body_is_invited_with_continue(slowapi):
    with RawConnection(slowapi()) as conn:
        conn.send(b"PUT /?delay=0 HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n")
        assert conn.read_until(b"\r\n\r\n").startswith(b"HTTP/1.1 100 ")
        conn.send(b"abc" + NOW)
        assert [conn.read_response().text for _ in range(2)] == [TEXT, TEXT]


def test_a_refused_body_is_not_invited(slowapi):
    with RawConnection(slowapi()) as conn:
        conn.send(b"PUT /x HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n")
        reply = conn.read_response()
        assert (reply.status, reply.headers["connection"]) == (404, "close")
        assert conn.read_until_close() == b""


def test_the_reason_outlives_the_body(slowapi):
    with RawConnection(slowapi()) as conn:
        conn.send(b"POST /?delay=abc HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\nabc")
        conn.expect_open(0.1)
        conn.send(b"def" + NOW)
        reply = conn.read_response()
        assert reply.status == 400 and reply.text.startswith("delay=abc is not")
        assert conn.read_response().text == TEXT


# --- connections ----------------------------------------------------------------------


def test_pipelined_requests_are_answered_in_order(slowapi):
    with RawConnection(slowapi()) as conn:
        start = time.monotonic()
        conn.send(GET % b"0.2" + b"GET /1 HTTP/1.1\r\nHost: x\r\n\r\n" + NOW + GET % b"0.1" + NOW[:20])
        assert [conn.read_response().status for _ in range(4)] == [200, 404, 200, 200]
        assert time.monotonic() - start >= 0.3
        conn.send(NOW[20:])
        assert conn.read_response().status == 200


def test_what_a_sleeping_connection_sends_stays_in_the_kernel(slowapi):
    api = slowapi("--graceful-timeout", "0.1")
    with RawConnection(api) as conn:
        conn.send(GET % b"30")
        time.sleep(0.1)
        conn.sock.settimeout(0.5)
        before = resident_kb(api)
        with pytest.raises((socket.timeout, BlockingIOError)):
            for _ in range(200):
                conn.send(NOW * 5000)
        assert resident_kb(api) - before < 2000


def resident_kb(server):
    with open(f"/proc/{server.pid}/status", encoding="ascii") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))


def test_answers_that_the_client_does_not_take_are_sent_later(slowapi):
    count = 40_000
    api = slowapi()
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.settimeout(20)
    sock.connect(api.addresses[0])
    sock.setblocking(False)
    out, got = memoryview(NOW * count), bytearray()
    selector = selectors.DefaultSelector()
    selector.register(sock, selectors.EVENT_WRITE)
    while out and selector.select(0.5):  # until both directions are full
        out = out[sock.send(out) :]
    selector.modify(sock, selectors.EVENT_READ | selectors.EVENT_WRITE)
    while got.count(TEXT.encode(), max(0, len(got) - 40)) == 0 or out:
        for key, mask in selector.select(5):
            if mask & selectors.EVENT_READ:
                got += sock.recv(1 << 20)
            if mask & selectors.EVENT_WRITE and out:
                out = out[sock.send(out) :]
    sock.setblocking(True)
    sock.settimeout(10)
    one = get_bytes(api)
    while len(got) < count * one:
        got += sock.recv(1 << 20)
    assert got.count(b"HTTP/1.1 200 OK\r\n") == got.count(TEXT.encode()) == count
    sock.close()


def get_bytes(api):
    """Length of one whole answer."""
    data = raw(api, NOW, half_close=True)
    return len(data)


def test_http10_is_closed_unless_it_asks(slowapi):
    api = slowapi()
    reply = raw(api, b"GET /?delay=0 HTTP/1.0\r\n\r\n")
    assert reply.startswith(b"HTTP/1.1 200 ") and b"Connection: close\r\n" in reply and reply.endswith(TEXT.encode())
    with RawConnection(api) as conn:
        for _ in range(3):
            conn.send(b"GET /?delay=0 HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n")
            reply = conn.read_response()
            assert reply.headers["connection"].lower() == "keep-alive"
            assert reply.headers["content-length"] == str(len(TEXT))


def test_connection_close_is_honoured(slowapi):
    reply = raw(slowapi(), b"GET /?delay=0 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" + NOW)
    assert reply.count(b"HTTP/1.1 ") == 1 and b"Connection: close\r\n" in reply


def test_keep_alive_zero_closes_after_each_answer(slowapi):
    with RawConnection(slowapi("--keep-alive", "0")) as conn:
        time.sleep(0.1)
        conn.send(NOW)
        assert conn.read_response().headers["connection"] == "close"
        assert conn.read_until_close() == b""


def test_an_idle_connection_is_closed(slowapi):
    with RawConnection(slowapi("--keep-alive", "0.3", "--header-timeout", "0.2")) as conn:
        for _ in range(3):  # the deadline moves with each answer
            conn.send(NOW)
            assert conn.read_response().status == 200
            conn.expect_open(0.2)
        start = time.monotonic()
        assert conn.read_until_close() == b""
        assert time.monotonic() - start < 1.0


def test_a_slow_head_gets_408(slowapi):
    api = slowapi("--header-timeout", "0.3")
    with RawConnection(api) as conn:
        start = time.monotonic()
        for byte in NOW[:8]:
            conn.send(bytes([byte]))
            time.sleep(0.02)
        reply = conn.read_response()
        assert (reply.status, reply.headers["connection"]) == (408, "close")
        assert "head" in reply.text and time.monotonic() - start < 1.5
        assert conn.read_until_close() == b""


def test_a_malformed_request_is_answered_before_the_close(slowapi):
    api = slowapi()
    for data, status in [
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"GET / HTTP/2.0\r\nHost: x\r\n\r\n", 505),
        (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n" + b"x" * 300_000, 413),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n" + b"x" * 300_000, 400),
    ]:
        reply = raw(api, data)
        assert reply.startswith(b"HTTP/1.1 %d " % status), (data[:60], reply[:80])
        assert b"Connection: close\r\n" in reply
        body = reply.split(b"\r\n\r\n", 1)[1]
        assert body.count(b"\n") == 1 and len(body) > 5


def test_a_half_closed_client_is_still_answered(slowapi):
    api = slowapi("--half-close", "wait")
    for path in (b"/?delay=0.2", b"/drip?duration=0.2&numbytes=5", b"/?fault=hang=0.2&delay=0"):
        reply = raw(api, b"GET " + path + b" HTTP/1.1\r\nHost: x\r\n\r\n", half_close=True)
        assert reply.startswith(b"HTTP/1.1 200 ") and reply.endswith((TEXT.encode(), b"*****"))
    api = slowapi()
    assert raw(api, NOW * 3, half_close=True).count(b"HTTP/1.1 200 ") == 3
    assert raw(api, b"", half_close=True) == b""
    assert raw(api, NOW[:10], half_close=True).startswith(b"HTTP/1.1 400 ")
    big = raw(api, b"GET /bytes/3000000 HTTP/1.1\r\nHost: x\r\n\r\n", half_close=True)
    assert len(big) > 3000000  # what is sent as fast as it goes is no wait


@pytest.mark.parametrize("path", ["/?delay=600", "/?delay=0&workers=1&service=600", "/?delay=0&fault=hang=600@body",
                                  "/?delay=0&fault=hang", "/drip?duration=600&numbytes=3", "/sse?interval=600"])
@pytest.mark.parametrize("before", [True, False])
def test_a_client_that_gives_up_is_gone_at_once(slowapi, path, before):
    """Also when its FIN comes with the request."""
    api = slowapi("--control", "0")
    idle = open_sockets(api)
    with RawConnection(api) as conn:
        conn.send(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        if before:
            wait_for(lambda: stats_of(api)["in_flight"] == 1, what="a request in flight")
        conn.half_close()
        wait_for(lambda: stats_of(api)["client_aborts"] == 1, what="the abort")
        conn.read_until_close()
    assert stats_of(api)["in_flight"] == 0
    wait_for(lambda: open_sockets(api) <= idle + 1, what="no sleeper")


@pytest.mark.parametrize("half_close", ["gone", "wait"])
@pytest.mark.parametrize("request_text", ["GET /?delay=600", "GET /?delay=0&fault=hang", "GET /?delay=0&fault=hang@50", "GET /drip?duration=600&numbytes=3",
                                          "GET /?delay=0&fault=hang=600@body", "GET /?delay=0.3&fault=hang", "POST /"])
def test_a_client_that_resets_is_gone_at_once(slowapi, half_close, request_text):
    """Also one that has never read what came, and one that has sent a part of its body."""
    api = slowapi("--control", "0", "--half-close", half_close)
    idle = open_sockets(api)
    with RawConnection(api) as conn:
        length = 10 if request_text.startswith("POST") else 0
        conn.send(f"{request_text} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n{'abc' if length else ''}".encode())
        wait_for(lambda: stats_of(api)["in_flight"] == 1, what="a request in flight")
        conn.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    wait_for(lambda: stats_of(api)["client_aborts"] == 1, what="the abort")
    assert stats_of(api)["in_flight"] == 0
    wait_for(lambda: open_sockets(api) <= idle + 1, what="no sleeper")


def test_clients_that_gave_up_leave_room_for_others(slowapi):
    api = slowapi()
    resource.prlimit(api.pid, resource.RLIMIT_NOFILE, (60, 60))
    for _ in range(4):
        clients = [RawConnection(api) for _ in range(25)]
        for client in clients:
            client.send(GET % b"600")
            client.close()
        assert get(api).status == 200


# --- slow readers -------------------------------------------------------------------


def slow_reader(api, path):
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.settimeout(20)
    sock.connect((api.host, api.port))
    sock.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    return sock


def test_a_client_that_takes_nothing_is_cut_and_one_that_takes_little_is_not(slowapi):
    api = slowapi("--control", "0", "--send-timeout", "0.8")
    with slow_reader(api, "/bytes/50000000") as stuck, slow_reader(api, "/bytes/50000000") as slow:
        start = time.monotonic()
        while time.monotonic() < start + 3:
            assert slow.recv(3000)
            time.sleep(0.05)
        wait_for(lambda: stats_of(api)["send_timeouts"] == 1, what="the end of patience")
        assert stats_of(api)["in_flight"] == 1 and stats_of(api)["client_aborts"] == 0
        with pytest.raises(ConnectionResetError):
            while stuck.recv(65536):
                pass


def test_a_send_timeout_of_zero_waits_for_ever(slowapi):
    api = slowapi("--control", "0", "--send-timeout", "0")
    with slow_reader(api, "/bytes/9000000") as slow:
        time.sleep(1)
        left = 9000000
        while left > 0:
            left -= len(slow.recv(65536))
    assert stats_of(api)["send_timeouts"] == 0


def test_a_sleeper_whose_client_resets_is_forgotten(slowapi):
    api = slowapi()
    idle = open_sockets(api)
    clients = [RawConnection(api) for _ in range(20)]
    for client in clients:
        client.send(GET % b"600")
    wait_for(lambda: open_sockets(api) == idle + 20, what="20 sleepers")
    for client in clients:
        client.reset()
    wait_for(lambda: open_sockets(api) == idle, what="no sleepers")


def test_a_sleeper_whose_client_closes_a_unix_socket_is_forgotten(slowapi, tmp_path):
    api = slowapi("--bind", f"unix:{tmp_path}/s")
    idle = open_sockets(api)
    with RawConnection(api) as conn:
        conn.send(GET % b"600")
        wait_for(lambda: open_sockets(api) == idle + 1, what="a sleeper")
    wait_for(lambda: open_sockets(api) == idle, what="no sleeper")


# --- many -----------------------------------------------------------------------------


def ask_at_once(server, count, data, seconds=30):
    """Sends `data` on `count` connections; returns how many were answered 200 and the time it took."""
    selector, good, start = selectors.DefaultSelector(), 0, time.monotonic()
    for _ in range(count):
        sock = connect(server)
        sock.sendall(data)
        sock.setblocking(False)
        selector.register(sock, selectors.EVENT_READ)
    while selector.get_map() and time.monotonic() - start < seconds:
        for key, _ in selector.select(1):
            good += key.fileobj.recv(4096).startswith(b"HTTP/1.1 200 OK\r\n")
            selector.unregister(key.fileobj)
            key.fileobj.close()
    return good, time.monotonic() - start


def test_two_thousand_sleep_at_once_in_little_memory(slowapi):
    api = slowapi("--backlog", "4096")
    good, took = ask_at_once(api, 2000, GET % b"2")
    assert good == 2000
    assert 2.0 <= took < 15
    with open(f"/proc/{api.pid}/status", encoding="ascii") as status:
        assert "Threads:\t1\n" in status.read()


def test_workers_share_the_port(slowapi):
    api = slowapi("--workers", "3")
    good, took = ask_at_once(api, 100, GET % b"0.5")
    assert good == 100 and took < 10


def test_workers_come_from_the_environment(slowapi):
    api = slowapi(env={"WORKERS": "2"})
    wait_for(lambda: len(children(api.pid)) == 2, what="two workers")


def random_bytes(rng):
    """Half noise, half damaged requests."""
    if rng.random() < 0.5:
        return rng.randbytes(rng.randrange(1, 200))
    data = bytearray(
        rng.choice(
            [
                NOW,
                NOW * 3,
                b"POST /?delay=0 HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello" + NOW,
                b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
                b"PUT /?delay=0 HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n",
                b"HEAD http://a/?delay=%30 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
            ]
        )
    )
    for _ in range(rng.randrange(1, 6)):
        at = rng.randrange(len(data))
        if rng.random() < 0.3:
            del data[at : at + rng.randrange(1, 10)]
        else:
            data[at : at + rng.randrange(2)] = rng.randbytes(1)
        if not data:
            break
    return bytes(data) or b"\r"


def test_random_bytes_do_no_harm(slowapi):
    api = slowapi("--delay", "0")
    rng = random.Random(4711)
    for _ in range(3000):
        sock = connect(api)
        try:
            sock.sendall(random_bytes(rng))
            fate = rng.random()
            if fate < 0.4:
                sock.shutdown(socket.SHUT_WR)
                while sock.recv(65536):
                    pass
            elif fate < 0.5:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        except (BrokenPipeError, ConnectionResetError):
            pass
        finally:
            sock.close()
    assert get(api, "/?delay=0").text == TEXT
    wait_for(lambda: open_sockets(api) <= 4, what="all connections closed")


# --- starting and stopping ----------------------------------------------------------------


def test_term_answers_the_sleepers_and_closes_the_idle(slowapi):
    api = slowapi()
    with RawConnection(api) as sleeper, RawConnection(api) as idle, RawConnection(api) as fresh:
        idle.send(NOW)
        idle.read_response()
        sleeper.send(GET % b"0.6")
        time.sleep(0.2)
        api.send_signal(signal.SIGTERM)
        assert idle.read_until_close() == fresh.read_until_close() == b""
        with pytest.raises(OSError):
            connect(api)
        reply = sleeper.read_response()
        assert (reply.status, reply.headers["connection"]) == (200, "close")
    assert api.wait(5) == 0


def test_term_does_not_wait_longer_than_asked(slowapi):
    api = slowapi("--graceful-timeout", "0.3")
    with RawConnection(api) as sleeper:
        sleeper.send(GET % b"60")
        time.sleep(0.1)
        start = time.monotonic()
        api.send_signal(signal.SIGTERM)
        assert api.wait(10) == 0
        assert 0.25 <= time.monotonic() - start < 5
        assert sleeper.read_until_close() == b""


@pytest.mark.parametrize("signals", [(signal.SIGTERM, signal.SIGTERM), (signal.SIGINT,), (signal.SIGQUIT,)])
@pytest.mark.parametrize("workers", ["1", "2"])
def test_it_stops_at_once(slowapi, signals, workers):
    api = slowapi("--workers", workers)
    with RawConnection(api) as sleeper:
        sleeper.send(GET % b"60")
        time.sleep(0.2)
        for number in signals:
            api.send_signal(number)
            time.sleep(0.1)
        assert api.wait(5) == 0


def test_workers_stop_gracefully(slowapi):
    api = slowapi("--workers", "2")
    with RawConnection(api) as sleeper:
        sleeper.send(GET % b"0.5")
        time.sleep(0.2)
        api.send_signal(signal.SIGTERM)
        assert sleeper.read_response().text == TEXT
    assert api.wait(5) == 0


def test_stopping_workers_refuse_new_clients(slowapi):
    api = slowapi("--workers", "2")
    with RawConnection(api) as sleeper:
        sleeper.send(GET % b"60")
        time.sleep(0.2)
        api.send_signal(signal.SIGTERM)
        wait_for(lambda: is_refused(api), what="refusals")
        api.send_signal(signal.SIGTERM)
    assert api.wait(5) == 0


def test_several_addresses_and_a_unix_socket(slowapi, tmp_path):
    path = tmp_path / "api.sock"
    api = slowapi("-b", "127.0.0.1:0", "-b", "[::1]:0", f"--bind=unix:{path}")
    assert len(api.addresses) == 3 and api.addresses[2] == (str(path), None)
    for address in api.addresses:
        assert get(address).text == TEXT
    api.stop()
    assert not path.exists()


def test_the_port_comes_from_the_environment(srv_run, slowapi):
    port = slowapi().port
    done = srv_run("slowapi", env={"PORT": str(port)})
    assert done.returncode == 1
    assert f"127.0.0.1:{port}" in done.stderr and done.stderr.count("\n") == 1


def test_a_busy_port_is_one_line(srv_run, slowapi):
    port = slowapi().port
    done = srv_run("slowapi", "--bind", f"127.0.0.1:{port}")
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr == f"srv slowapi: cannot listen on 127.0.0.1:{port}: Address already in use\n"


@pytest.mark.parametrize(
    "args, words",
    [
        (["--nope"], ["--nope"]),
        (["--delay", "abc"], ["--delay", "abc", "duration"]),
        (["--delay", "-1"], ["--delay", "-1"]),
        (["--workers", "0"], ["--workers", "'0'", "1 to 1024"]),
        (["--bind", "127.0.0.1:99999"], ["--bind", "99999", "HOST:PORT"]),
        (["--bind", "nonsense"], ["--bind", "nonsense", "HOST:PORT"]),
        (["--keep-alive", "soon"], ["--keep-alive", "soon"]),
        (["extra"], ["extra"]),
    ],
)
def test_a_bad_option_is_named(srv_run, args, words):
    done = srv_run("slowapi", *args)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("srv slowapi: ") and done.stderr.count("\n") == 1
    assert all(word in done.stderr for word in words)


def test_a_bad_port_variable_is_named(srv_run):
    done = srv_run("slowapi", env={"PORT": "abc"})
    assert done.returncode == 2 and "PORT" in done.stderr and "abc" in done.stderr


def test_help_lists_the_options(srv_run):
    done = srv_run("slowapi", "--help")
    assert done.returncode == 0 and done.stderr == ""
    for word in ("--delay", "--bind", "--workers", "--keep-alive", "--header-timeout", "--graceful-timeout"):
        assert word in done.stdout
