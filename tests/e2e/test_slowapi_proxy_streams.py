# SPDX-License-Identifier: MIT
"""srv slowapi --upstream URL: large bodies both ways, back-pressure, tunnels after an upgrade, TLS on either side."""

import asyncio
import contextlib
import hashlib
import socket
import ssl
import threading
import time
from pathlib import Path

import pytest
from certificates import Certificate
from harness import RawConnection, connect, everything, get, request, wait_for
from test_slowapi_proxy import HELLO, counted, proxy  # noqa: F401
from upstreams import Upstream, tls_of

websockets = pytest.importorskip("websockets")

MIB = 1 << 20


def resident_kib(pid):
    return int(next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS")).split()[1])


def head_of(conn):
    """The head of a request; what came behind it."""
    data = b""
    while b"\r\n\r\n" not in data:
        chunk = conn.recv(65536)
        if not chunk:
            return None, b""
        data += chunk
    head, _, rest = data.partition(b"\r\n\r\n")
    return head, rest


@pytest.fixture
def service():
    """service(BEHAVE, tls=None) -> an Upstream that is closed at the end"""
    with contextlib.ExitStack() as stack:

        def start(behave, tls=None):
            upstream = Upstream(behave, tls)
            stack.callback(upstream.close)
            return upstream

        yield start


# --- large bodies -----------------------------------------------------------------------------------

DOWN = 96 * MIB


def send_much(conn, _):
    head_of(conn)
    conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % DOWN)
    for _ in range(DOWN // MIB):
        conn.sendall(b"d" * MIB)
    return True


def test_a_download_takes_no_memory(proxy, service):
    api, control = proxy(service(send_much).url)
    get(api, "/", {"X-Slowapi": "status=204"})
    before = resident_kib(api.pid)
    got = 0
    with RawConnection(api) as conn:
        conn.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        conn.read_until(b"\r\n\r\n")
        got += len(conn.unread)
        while got < DOWN:
            got += len(conn.sock.recv(MIB))
    assert got == DOWN
    assert resident_kib(api.pid) - before < 16 * 1024, "a sanitizer keeps some of what was freed"
    counted(control, answers=2, upstream_closed=0)


def test_an_upload_takes_no_memory_and_may_come_in_chunks(proxy, service):
    seen = []

    def take(conn, _):
        head, rest = head_of(conn)
        count = len(rest)
        while not rest.endswith(b"\r\n0\r\n\r\n"):
            chunk = conn.recv(MIB)
            count += len(chunk)
            rest = (rest + chunk)[-16:]
        seen.append((b"Transfer-Encoding: chunked" in head, count))
        conn.sendall(HELLO)
        return True

    api, control = proxy(service(take).url)
    before = resident_kib(api.pid)
    reply = request(api, "PUT", "/", (b"u" * MIB for _ in range(64)))
    assert reply.body == b"hello" and seen[0][0] and seen[0][1] >= 64 * MIB
    assert resident_kib(api.pid) - before < 16 * 1024
    counted(control, upstream_requests=1)


def test_bodies_stream_both_ways_at_the_same_time(proxy, service):
    """A service that sends back what it gets while it gets it: whoever read only one side would stop for ever."""

    def echo(conn, _):
        _, rest = head_of(conn)
        conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (24 * MIB))
        left = 24 * MIB
        while left > 0:
            conn.sendall(rest)
            left -= len(rest)
            rest = conn.recv(65536) if left > 0 else b""
        return True

    api, _ = proxy(service(echo).url)
    with RawConnection(api) as conn:
        conn.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (24 * MIB))
        sent = hashlib.sha256()
        pieces = [bytes([i]) * MIB for i in range(24)]

        def send():
            for piece in pieces:
                conn.send(piece)

        thread = threading.Thread(target=send, daemon=True)
        thread.start()
        conn.read_until(b"\r\n\r\n")
        got = conn.read_exactly(24 * MIB)
        thread.join(20)
        for piece in pieces:
            sent.update(piece)
        assert hashlib.sha256(got).digest() == sent.digest()


def stuck(progress):
    """Waits until it stands still, and tells where."""
    last, since = progress[0], time.monotonic()

    def stands():
        nonlocal last, since
        if progress[0] != last:
            last, since = progress[0], time.monotonic()
        return last > 0 and time.monotonic() - since > 0.7

    wait_for(stands, what="no more is sent")
    return progress[0]


def test_a_slow_client_holds_the_service_back(proxy, service):
    progress = [0]

    def pour(conn, _):
        head_of(conn)
        conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (256 * MIB))
        with contextlib.suppress(OSError):
            while progress[0] < 256 * MIB:
                progress[0] += conn.send(b"p" * 65536)

    api, control = proxy(service(pour).url)
    with RawConnection(api) as conn:
        conn.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert stuck(progress) < 32 * MIB, "what nobody takes stays with the service, but for the kernel's buffers"
    counted(control, client_aborts=1)


def test_a_slow_service_holds_the_client_back(proxy, service):
    release = threading.Event()

    def wait(conn, _):
        head_of(conn)
        release.wait(30)
        conn.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        return True

    api, control = proxy(service(wait).url)
    progress = [0]
    with RawConnection(api) as conn:
        conn.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (256 * MIB))

        def send():
            with contextlib.suppress(OSError):
                while progress[0] < 256 * MIB:
                    progress[0] += conn.sock.send(b"p" * 65536)

        thread = threading.Thread(target=send, daemon=True)
        thread.start()
        assert stuck(progress) < 32 * MIB
        release.set()
        assert conn.read_response().status == 413, "an answer that comes early passes, whatever of the request is left"
    thread.join(20)
    counted(control, upstream_requests=1)


# --- tunnels ----------------------------------------------------------------------------------------


@contextlib.contextmanager
def websocket_service():
    """A WebSocket server that echoes; its URL."""
    loop, ready, url = asyncio.new_event_loop(), threading.Event(), []

    async def echo(socket_, *_):
        async for message in socket_:
            await socket_.send(message)

    async def serve():
        async with websockets.serve(echo, "127.0.0.1", 0, max_size=None) as server:
            url.append("http://127.0.0.1:%d/" % server.sockets[0].getsockname()[1])
            ready.set()
            await stop.wait()

    async def main():
        nonlocal stop
        stop = asyncio.Event()
        await serve()

    stop = None
    thread = threading.Thread(target=lambda: loop.run_until_complete(main()), daemon=True)
    thread.start()
    assert ready.wait(20)
    yield url[0]
    loop.call_soon_threadsafe(stop.set)
    thread.join(20)


def talk(url, messages, **options):
    async def run():
        async with websockets.connect(url, max_size=None, compression=None, **options) as client:
            got = []
            for message in messages:
                await client.send(message)
                got.append(await client.recv())
            return got

    return asyncio.run(asyncio.wait_for(run(), 30))


def test_a_websocket_goes_through(proxy):
    with websocket_service() as url:
        api, control = proxy(url)
        messages = ["hello", b"\x00\xff" * 50_000, "x" * 300_000]
        assert talk(api.url.replace("http", "ws"), messages) == messages
        counted(control, upstream_requests=1, answers=1)


def test_a_websocket_has_delays_and_faults(proxy):
    with websocket_service() as url:
        api, control = proxy(url)
        at = api.url.replace("http", "ws")
        start = time.monotonic()
        assert talk(at, ["late"], extra_headers={"X-Slowapi": "delay=300ms"}) == ["late"]
        assert time.monotonic() - start >= 0.3
        with pytest.raises(websockets.exceptions.WebSocketException):
            talk(at, ["never"], extra_headers={"X-Slowapi": "fault=rst@body"})
        with pytest.raises(websockets.exceptions.InvalidStatusCode):
            talk(at, ["never"], extra_headers={"X-Slowapi": "status=503"})
        with pytest.raises((websockets.exceptions.WebSocketException, UnicodeDecodeError)):
            assert talk(at, ["hello"], extra_headers={"X-Slowapi": "fault=corrupt:100"}) == ["hello"]
        start = time.monotonic()
        assert talk(at, ["y" * 20_000], extra_headers={"X-Slowapi": "fault=bandwidth=40k"}) == ["y" * 20_000]
        assert time.monotonic() - start >= 0.45
        faults = control.stats()["faults"]
        assert faults["rst"] == 1 and faults["corrupt"] > 0 and faults["bandwidth"] == 1


UPGRADE = b"GET /chat HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: raw/1\r\n\r\n"
SWITCHES = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: raw/1\r\nConnection: Upgrade\r\n"


def test_a_tunnel_carries_bytes_and_their_end_both_ways(proxy, service):
    heads = []

    def count(conn, _):
        head, rest = head_of(conn)
        heads.append(head)
        conn.sendall(SWITCHES + b"\r\n\x00first")
        size = len(rest)
        while chunk := conn.recv(65536):
            size += len(chunk)
        conn.sendall(b"%d" % size)

    api, control = proxy(service(count).url)
    with RawConnection(api) as conn:
        conn.send(UPGRADE + b"\xffearly")
        assert sorted(conn.read_until(b"\r\n\r\n").split(b"\r\n")) == sorted(SWITCHES.split(b"\r\n") + [b""])
        assert conn.read_exactly(6) == b"\x00first"
        conn.send(b"GET / HTTP/1.1\r\n\r\n" * 10_000)
        conn.half_close()
        assert conn.read_until_close() == b"%d" % (6 + 180_000)
    assert b"Upgrade: raw/1" in heads[0] and b"Connection: Upgrade" in heads[0]
    counted(control, upstream_requests=1, answers=1)


@pytest.mark.parametrize("leave", [RawConnection.close, RawConnection.reset, RawConnection.half_close])
def test_a_client_leaves_a_tunnel_that_hangs(proxy, service, leave):
    def flood(conn, _):
        head_of(conn)
        conn.sendall(SWITCHES + b"\r\n" + b"x" * 1000)
        with contextlib.suppress(OSError):
            while conn.recv(65536):
                pass

    api, control = proxy(service(flood).url, "--params", "fault=hang@body:100")
    with RawConnection(api) as conn:
        conn.send(UPGRADE)
        conn.read_until(b"\r\n\r\n")
        wait_for(lambda: control.stats()["faults"]["hang"] == 1, what="the tunnel hangs")
        leave(conn)
        counted(control, client_aborts=1)


@pytest.mark.parametrize("options", [(), ("--params", "delay=50ms")])
def test_what_came_with_an_upgrade_passes_without_more_behind_it(proxy, service, options):
    def echo(conn, _):
        _, rest = head_of(conn)
        conn.sendall(SWITCHES + b"\r\n" + rest)
        while chunk := conn.recv(65536):
            conn.sendall(chunk)

    api, _ = proxy(service(echo).url, *options)
    with RawConnection(api) as conn:
        conn.send(UPGRADE + b"\xffearly")
        conn.read_until(b"\r\n\r\n")
        assert conn.read_exactly(6) == b"\xffearly"


def test_an_upgrade_that_is_refused_is_an_answer(proxy, service):
    def refuse(conn, _):
        while head_of(conn)[0]:
            conn.sendall(b"HTTP/1.1 426 Upgrade Required\r\nContent-Length: 2\r\n\r\nno")

    api, _ = proxy(service(refuse).url)
    with RawConnection(api) as conn:
        for _ in range(2):
            conn.send(UPGRADE)
            reply = conn.read_response()
            assert (reply.status, reply.body) == (426, b"no")


@pytest.mark.parametrize("who", ["client", "service"])
def test_a_tunnel_ends_when_either_side_is_gone(proxy, service, who):
    ended = threading.Event()

    def hold(conn, _):
        head_of(conn)
        conn.sendall(SWITCHES + b"\r\n")
        if who == "client":
            with contextlib.suppress(OSError):
                while conn.recv(1):
                    pass
            ended.set()
        else:
            conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    api, control = proxy(service(hold).url)
    with RawConnection(api) as conn:
        conn.send(UPGRADE)
        conn.read_until(b"\r\n\r\n")
        if who == "client":
            conn.reset()
            assert ended.wait(20)
        else:
            assert everything(conn)[0] == b""
    counted(control, requests=1)


def test_101_that_nobody_asked_for_is_a_502(proxy, service):
    def switch(conn, _):
        head_of(conn)
        conn.sendall(SWITCHES + b"\r\n")

    api, control = proxy(service(switch).url)
    assert get(api, "/").status == 502
    counted(control, upstream_malformed=1)


# --- TLS --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    return Certificate(tmp_path_factory.mktemp("certificate"))


def hello(conn, _):
    while head_of(conn)[0]:
        conn.sendall(HELLO)


def test_https_to_the_service_and_from_the_client(proxy, service, certificate):
    upstream = service(hello, tls_of((certificate.chain, certificate.key)))
    url = upstream.url.replace("127.0.0.1", "localhost")
    api, control = proxy(url, "--upstream-ca", str(certificate.chain), "--bind", "https://127.0.0.1:0")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with context.wrap_socket(connect(api)) as sock:
        for _ in range(3):
            sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            got = b""
            while not got.endswith(b"hello"):
                got += sock.recv(4096)
        sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nX-Slowapi: fault=truncate\r\n\r\n")
        got = b""
        with contextlib.suppress(ssl.SSLError):
            while chunk := sock.recv(4096):
                got += chunk
        assert got.endswith(b"\r\n\r\nhe")
    counted(control, upstream_requests=4, upstream_connections=1)
    assert upstream.connections == 1


def test_certificates_of_the_service_are_looked_at(proxy, service, certificate):
    upstream = service(hello, tls_of((certificate.chain, certificate.key)))
    api, control = proxy(upstream.url)
    reply = get(api, "/")
    assert reply.status == 502 and "certificate" in reply.text
    counted(control, upstream_unreachable=1)
    trusting, _ = proxy(upstream.url, "--upstream-insecure")
    assert get(trusting, "/").body == b"hello"


def test_a_certificate_file_that_is_none_is_told_at_the_start(srv_run, tmp_path):
    (tmp_path / "ca").write_text("no certificate")
    done = srv_run("slowapi", "--bind", "127.0.0.1:0", "--upstream", "https://x/", "--upstream-ca", tmp_path / "ca")
    assert done.returncode in (1, 2) and str(tmp_path / "ca") in done.stderr and done.stderr.count("\n") == 1
