# SPDX-License-Identifier: MIT
"""srv serve behind the real nginx over both roads, behind PROXY headers, and whom it believes."""

import os
import signal
import socket
import struct
import threading
import time

import pytest
from harness import RawConnection, children, get, raw, request, wait_for
from nginx import Nginx
from test_reload import Clients, master_from

MODELS = ("single", "threaded", "pool", "green", "event")
HOP = ("connection", "keep-alive", "transfer-encoding", "te", "upgrade", "x-forwarded-for", "x-forwarded-proto")
HOP += ("x-real-ip",)  # what one of the roads adds, or what was about the client's own hop
V2 = b"\r\n\r\n\0\r\nQUIT\n"


@pytest.fixture
def proxied(serve, tmp_path):
    """proxied(*ARGS, upstream=None) -> (app, nginx): one app, both roads."""
    running = []

    def start(*args, **options):
        app = serve("-b", "http://127.0.0.1:0", "-b", "uwsgi://127.0.0.1:0", *args, **options)
        running.append(Nginx(tmp_path, app.addresses[0], app.addresses[1]))
        return app, running[0]

    yield start
    for nginx in running:
        nginx.stop()


def seen(text):
    """What the echo app saw, without what belongs to the hop."""
    lines = text.splitlines()
    return sorted(line for line in lines if not line.startswith(tuple(f"field: {name}:" for name in HOP)))


def chunked(pieces):
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


HEAD = b"Host: example.test\r\nConnection: close\r\n"
REQUESTS = {
    "duplicate headers": b"GET /?a=1 HTTP/1.1\r\n" + HEAD + b"X-A: 1\r\nX-A: 2\r\nCookie: a=1\r\nCookie: b=2\r\n\r\n",
    "chunked body": b"POST / HTTP/1.1\r\n"
    + HEAD
    + b"Transfer-Encoding: chunked\r\nContent-Type: text/x\r\n\r\n"
    + chunked([b"hello", b", world" * 900]),
    "encoded path": b"GET /a%2Fb//c/../%20d;x?q=%2B&%C3%A4 HTTP/1.1\r\n" + HEAD + b"\r\n",
    "60 KB of headers": b"GET / HTTP/1.1\r\n"
    + HEAD
    + b"".join(b"X-Long-%d: %s\r\n" % (i, b"v" * 7400) for i in range(8))
    + b"\r\n",
    "empty body": b"POST / HTTP/1.1\r\n" + HEAD + b"Content-Length: 0\r\n\r\n",
    "underscore": b"GET / HTTP/1.1\r\n" + HEAD + b"X_Real_IP: 6.6.6.6\r\n\r\n",
    "http 1.0": b"GET /old HTTP/1.0\r\nHost: example.test\r\n\r\n",
    "5 MB body": b"PUT /big HTTP/1.1\r\n" + HEAD + b"Content-Length: 5242880\r\n\r\n" + b"0123456789abcdef" * 327680,
}


@pytest.mark.parametrize("model", MODELS)
def test_handler_sees_the_same_request_on_both_roads(proxied, model):
    _, nginx = proxied("--limit-request-body", "8m", "--model", model, "echo")
    for name, data in REQUESTS.items():
        answers = [raw(address, data) for address in (nginx.http, nginx.uwsgi)]
        for answer in answers:
            assert answer.startswith(b"HTTP/1.1 200 "), (name, answer[:300])
        http, uwsgi = (seen(answer.split(b"\r\n\r\n", 1)[1].decode()) for answer in answers)
        assert http == uwsgi, name
        assert "client: 127.0.0.1" in http and "scheme: http" in http
    assert "target: /a%2Fb//c/../%20d;x?q=%2B&%C3%A4" in seen(
        raw(nginx.uwsgi, REQUESTS["encoded path"]).split(b"\r\n\r\n", 1)[1].decode()
    )


@pytest.mark.parametrize("model", MODELS)
def test_head_has_the_length_and_no_body_on_both_roads(proxied, model):
    _, nginx = proxied("--model", model, "echo")
    for address in (nginx.http, nginx.uwsgi):
        answer = raw(address, b"HEAD / HTTP/1.1\r\n" + HEAD + b"\r\n")
        head, body = answer.split(b"\r\n\r\n", 1)
        assert b"200 OK" in head and b"Content-Length: " in head and body == b""


@pytest.mark.parametrize("model", MODELS)
def test_statuses_come_through_as_they_are(slowapi, proxied, model):
    _, nginx = proxied("--upstream-timeout", "0.3s", "--model", model, upstream=slowapi())
    for address in (nginx.http, nginx.uwsgi):
        assert get(address, "/?delay=0").text == "Hi there! slow api response"
        assert get(address, "/none").status == 404
        assert get(address, "/?delay=x").status == 400
        assert get(address, "/?delay=2").status == 504


# --- whom to believe -----------------------------------------------------------------


def who(app, headers, prefix=b""):
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
    text = raw(app, prefix + f"GET / HTTP/1.0\r\n{lines}\r\n".encode()).decode()
    fields = dict(line.split(": ", 1) for line in text.splitlines() if ": " in line)
    return fields.get("client"), fields.get("scheme")


def test_forwarding_fields_of_trusted_peers_are_believed(serve):
    app = serve("--forwarded-allow-ips", "127.0.0.1,10.0.0.0/8", "echo")
    rows = [
        ([], ("127.0.0.1", "http")),
        ([("X-Forwarded-For", "203.0.113.1")], ("203.0.113.1", "http")),
        ([("X-Forwarded-For", "6.6.6.6, 203.0.113.1, 10.1.1.1")], ("203.0.113.1", "http")),
        ([("X-Forwarded-For", "6.6.6.6"), ("X-Forwarded-For", "203.0.113.1:99")], ("203.0.113.1", "http")),
        ([("X-Forwarded-For", "6.6.6.6, unknown, 10.0.0.1")], ("10.0.0.1", "http")),
        ([("X-Forwarded-For", "2001:db8::1"), ("X-Forwarded-Proto", "HTTPS")], ("2001:db8::1", "https")),
        ([("X-Forwarded-Proto", "javascript")], ("127.0.0.1", "http")),
        ([("X-Real-IP", "203.0.113.2")], ("203.0.113.2", "http")),
        ([("Forwarded", 'for=6.6.6.6, for="[2001:db8::7]:4711";proto=https')], ("2001:db8::7", "https")),
        ([("Forwarded", "for=6.6.6.6"), ("X-Forwarded-For", "203.0.113.1")], ("203.0.113.1", "http")),
        ([("X_Forwarded_For", "6.6.6.6")], ("127.0.0.1", "http")),
    ]
    for headers, want in rows:
        assert who(app, headers) == want, headers


def test_nobody_else_is_believed(serve):
    app = serve("--forwarded-allow-ips", "10.0.0.0/8", "echo")
    headers = [("X-Forwarded-For", "6.6.6.6"), ("X-Real-IP", "6.6.6.6"), ("X-Forwarded-Proto", "https")]
    assert who(app, [*headers, ("Forwarded", "for=6.6.6.6;proto=https")]) == ("127.0.0.1", "http")


def test_header_map_refuses_or_drops_underscores(serve):
    app = serve("--header-map", "refuse", "echo")
    with RawConnection(app) as conn:
        conn.send(b"GET / HTTP/1.1\r\nHost: x\r\nCookie: a_b=1\r\n\r\n")
        assert "field: cookie: a_b=1" in conn.read_response().text
        conn.send(b"GET / HTTP/1.1\r\nHost: x\r\nX_A: 1\r\n\r\n")
        refused = conn.read_response()
        assert refused.status == 400 and "underscore" in refused.text
    app = serve("echo")
    text = request(app, "POST", "/", body="abc", headers={"X_A": "1", "X-A": "2"}).text
    assert "field: x-a: 2\n" in text and "x_a" not in text and "body: 3 bytes" in text


@pytest.mark.parametrize("model", MODELS)
def test_proxy_protocol_names_the_client(serve, model):
    app = serve("--proxy-protocol", "--header-timeout", "0.4s", "--model", model, "echo")
    v1 = b"PROXY TCP4 203.0.113.5 192.0.2.1 4711 80\r\n"
    assert who(app, [], v1) == ("203.0.113.5", "http")
    assert who(app, [("X-Forwarded-For", "6.6.6.6")], v1) == ("203.0.113.5", "http")
    assert who(app, [], b"PROXY UNKNOWN\r\n") == ("127.0.0.1", "http")
    ip6 = socket.inet_pton(socket.AF_INET6, "2001:db8::5")
    tls = b"\x20\0\x05\1\0\0\0\0"
    assert who(app, [], V2 + b"\x21\x21" + struct.pack(">H", 44) + ip6 * 2 + b"\1\2\0\x50" + tls) == (
        "2001:db8::5",
        "https",
    )
    assert who(app, [], V2 + b"\x20\0\0\0") == ("127.0.0.1", "http")
    for data, status in (
        (b"GET / HTTP/1.0\r\n\r\n", b"400"),
        (b"PROXY TCP4 x y 1 2\r\n", b"400"),
        (b"PROXY TCP4 1", b"408"),
    ):
        assert raw(app, data).split()[1] == status, data
    with RawConnection(app) as conn:  # once per connection, not per request
        request_text = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
        conn.send(v1 + request_text + (request_text if model != "single" else b""))
        for _ in range(1 if model == "single" else 2):
            assert "client: 203.0.113.5" in conn.read_response().text


def test_proxy_headers_of_strangers_are_refused(serve):
    app = serve("--proxy-protocol", "--forwarded-allow-ips", "10.0.0.1", "echo")
    assert raw(app, b"PROXY UNKNOWN\r\nGET / HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.1 403 ")


# --- a worker dies behind nginx -----------------------------------------------------------


@pytest.mark.parametrize("road", ("http", "uwsgi"))
def test_a_killed_worker_costs_only_what_it_held(slowapi, proxied, road):
    app, nginx = proxied("--workers", "2", "--keep-alive", "75s", upstream=slowapi())
    address = nginx.http if road == "http" else nginx.uwsgi
    workers = wait_for(lambda: len(children(app.pid)) == 2 and children(app.pid), what="two workers")
    statuses, lock, clients, stop_at = [], threading.Lock(), 8, time.monotonic() + 2.5

    def client():
        while time.monotonic() < stop_at:
            status = get(address, "/?delay=0.1").status
            with lock:
                statuses.append(status)

    threads = [threading.Thread(target=client) for _ in range(clients)]
    for thread in threads:
        thread.start()
    time.sleep(0.8)
    os.kill(workers[0], signal.SIGKILL)
    for thread in threads:
        thread.join()
    assert set(statuses) <= {200, 502}, set(statuses)
    assert statuses.count(502) <= clients
    assert statuses.count(200) > 40
    assert len(children(app.pid)) == 2


# --- reloads and upgrades behind nginx ----------------------------------------------------


def clients_of_both_roads(nginx, count):
    """Keep-alive clients of nginx at full speed; it keeps connections to the app on one road, on the other it does not."""
    return [Clients(address, count) for address in (nginx.http, nginx.uwsgi)]


def assert_nothing_lost(roads):
    for clients in roads:
        clients.stop()
    for clients in roads:
        assert clients.lost == [] and clients.done > 0


@pytest.mark.parametrize("model", MODELS)
def test_hup_behind_nginx_loses_nothing(slowapi, proxied, model):
    app, nginx = proxied("--model", model, "--workers", "2", upstream=slowapi("--workers", "2"))
    wait_for(lambda: len(children(app.pid)) == 2, what="two workers")
    first = set(children(app.pid))
    roads = clients_of_both_roads(nginx, 1 if model == "single" else 12)
    for _ in range(2):
        time.sleep(0.5)
        app.send_signal(signal.SIGHUP)
    wait_for(lambda: len(set(children(app.pid)) - first) >= 2, what="two successors")
    time.sleep(1)
    assert_nothing_lost(roads)
    wait_for(lambda: not first & set(children(app.pid)), 30, "the first two have left")


def test_usr2_behind_nginx_loses_nothing(slowapi, proxied, tmp_path):
    pid_file = tmp_path / "srv.pid"
    app, nginx = proxied("--workers", "2", "--pid", str(pid_file), upstream=slowapi("--workers", "2"))
    wait_for(lambda: len(children(app.pid)) == 2, what="two workers")
    roads = clients_of_both_roads(nginx, 12)
    time.sleep(0.5)
    app.send_signal(signal.SIGUSR2)
    successor = master_from(pid_file, app.pid)
    try:
        assert app.wait(timeout=40) == 0
        time.sleep(0.5)
        assert_nothing_lost(roads)
    finally:
        for clients in roads:
            clients.stop()
        os.kill(successor, signal.SIGTERM)
    wait_for(lambda: not pid_file.exists(), what="the successor has left")
