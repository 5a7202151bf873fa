# SPDX-License-Identifier: MIT
"""srv slowapi: /websocket/echo, by a client library and by hand-made frames."""

import asyncio
import os
import signal
import struct

import pytest
import websockets
from harness import Client, RawConnection, get, wait_for
from test_slowapi_shapes import Control

KEY = b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
HEAD = b"Host: x\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n" + KEY


def frame(opcode, payload=b"", final=True):
    mask = b"\x37\xfa\x21\x3d"
    size = len(payload)
    length = bytes([0x80 | size]) if size < 126 else b"\xfe" + struct.pack(">H", size) if size < 65536 else b"\xff" + struct.pack(">Q", size)
    return bytes([(0x80 if final else 0) | opcode]) + length + mask + bytes(c ^ mask[i % 4] for i, c in enumerate(payload))


def handshake(conn, query="", more=b""):
    conn.send(b"GET /websocket/echo%s HTTP/1.1\r\n%s\r\n%s" % (query.encode(), HEAD, more))
    head = conn.read_until(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101 ") and b"\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in head
    assert head.count(b"Connection:") == 1 and b"Content-Length" not in head and b"Transfer-Encoding" not in head
    return head


def talk(api, work, **options):
    async def run():
        url = f"ws://{api.host}:{api.port}/websocket/echo?delay=0&max_message_size=1m"
        async with websockets.connect(url, max_size=None, ping_interval=None, **options) as ws:
            return await work(ws)

    return asyncio.run(asyncio.wait_for(run(), 30))


def test_a_client_gets_back_what_it_sends(slowapi):
    control = Control(api := slowapi("--control", "127.0.0.1:0"))
    messages = ["", "hello", "zwölf €", b"", b"\x00\xff", "x" * 125, "x" * 126, "x" * 65535, "x" * 65536, os.urandom(1_000_000)]

    async def work(ws):
        for message in messages:
            await ws.send(message)
            assert await ws.recv() == message
        await ws.send(["in ", "three ", "parts"])
        assert await ws.recv() == "in three parts"
        await (await ws.ping(b"payload"))
        assert control.stats()["in_flight"] == 1

    talk(api, work)
    wait_for(lambda: control.stats()["in_flight"] == 0)
    stats = control.stats()
    assert (stats["requests"], stats["answers"], stats["client_aborts"]) == (1, 1, 0)


def test_many_messages_at_once_come_back_in_order(slowapi):
    async def work(ws):
        async def send():
            for n in range(3000):
                await ws.send(f"{n}:" + "x" * 200)

        task = asyncio.create_task(send())
        for n in range(3000):
            assert (await ws.recv()).startswith(f"{n}:")
        await task

    talk(slowapi(), work)


@pytest.mark.parametrize("code", [1000, 1001, 3000, 4999])
def test_a_close_comes_back_with_its_code(slowapi, code):
    async def work(ws):
        await ws.close(code, "done")
        return ws.close_code

    assert talk(slowapi(), work) == code


def test_frames_may_come_with_the_handshake_and_in_any_parts(slowapi):
    api = slowapi()
    frames = frame(1, b"first") + frame(1, b"se", final=False) + frame(9, b"?") + frame(0, b"cond") + frame(8, b"\x03\xe8")
    answer = b"\x81\x05first\x8a\x01?\x81\x06second\x88\x02\x03\xe8"
    for query in ("?delay=0", "?delay=50ms"):
        with RawConnection(api) as conn:
            handshake(conn, query, frames)
            assert conn.read_until_close() == answer
    with RawConnection(api) as conn:
        handshake(conn, "?delay=0")
        for n in range(len(frames)):
            conn.send(frames[n : n + 1])
        assert conn.read_until_close() == answer


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"\x81\x01x", 1002),
        (frame(3), 1002),
        (frame(0), 1002),
        (frame(9, b"x" * 126), 1002),
        (frame(1, b"\xff"), 1007),
        (frame(2, b"x" * 101), 1009),
        (frame(2, b"x" * 80, final=False) + frame(0, b"x" * 80), 1009),
        (b"\x82\xff\x7f" + b"\xff" * 7, 1009),
    ],
    ids=["no mask", "opcode", "continuation", "long ping", "no text", "large frame", "large message", "huge frame"],
)
def test_what_is_wrong_closes_with_a_code(slowapi, data, code):
    with RawConnection(slowapi()) as conn:
        handshake(conn, "?max_message_size=100&delay=0", data + b"\0" * 8)
        assert conn.read_until_close() == b"\x88\x02" + struct.pack(">H", code)


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        (b"Host: x\r\n", 426),
        (HEAD.replace(b"13", b"8"), 426),
        (HEAD.replace(b"dGhl", b""), 400),
        (HEAD.replace(b"keep-alive, Upgrade", b"keep-alive"), 400),
        (b"Host: x\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n" + KEY, 426),
    ],
    ids=["no upgrade", "version", "key", "connection", "another protocol"],
)
def test_what_is_no_handshake_is_refused(slowapi, lines, status):
    with RawConnection(slowapi()) as conn:
        conn.send(b"GET /websocket/echo?delay=0 HTTP/1.1\r\n" + lines + b"\r\n")
        reply = conn.read_response()
        assert reply.status == status
        if status == 426:
            assert (reply.headers["sec-websocket-version"], reply.headers["upgrade"]) == ("13", "websocket")


def test_other_methods_and_sizes_are_refused(slowapi):
    client = Client(slowapi())
    assert client.ask("POST", "/websocket/echo").status == 405
    for query in ("max_message_size=0", "max_message_size=2m", "max_fragment_size=100k", "max_message_size=x"):
        reply = client.ask("GET", f"/websocket/echo?{query}")
        assert (reply.status, reply.text.count("\n")) == (400, 1), query
    client.close()


def test_delays_and_faults_come_before_the_socket(slowapi):
    api = slowapi()
    with RawConnection(api) as conn:
        conn.send(b"GET /websocket/echo?fault=rst HTTP/1.1\r\n" + HEAD + b"\r\n")
        with pytest.raises(ConnectionResetError):
            conn.read_exactly(1)
    with RawConnection(api) as conn:
        conn.send(b"GET /websocket/echo?fault=fin@body HTTP/1.1\r\n" + HEAD + b"\r\n")
        assert conn.read_until_close().startswith(b"HTTP/1.1 101 ")
    with RawConnection(api) as conn:
        conn.send(b"GET /websocket/echo?status=503 HTTP/1.1\r\n" + HEAD + b"\r\n")
        assert conn.read_response().status == 503


def test_a_client_that_leaves_without_a_close_is_counted(slowapi):
    control = Control(api := slowapi("--control", "127.0.0.1:0"))
    with RawConnection(api) as conn:
        handshake(conn)
        conn.send(frame(1, b"half", final=False))
    wait_for(lambda: control.stats()["in_flight"] == 0)
    assert control.stats()["client_aborts"] == 1


def test_a_stop_says_goodbye(slowapi):
    api = slowapi()
    with RawConnection(api) as conn:
        handshake(conn)
        api.send_signal(signal.SIGTERM)
        assert conn.read_until_close() == b"\x88\x02\x03\xe9"
    api.wait()


def test_a_socket_that_is_idle_is_ended(slowapi):
    with RawConnection(slowapi("--keep-alive", "0.3", "--header-timeout", "0.3")) as conn:
        handshake(conn)
        conn.send(frame(1, b"x"))
        assert conn.read_until_close() == b"\x81\x01x\x88\x02\x03\xe9"


def test_a_client_that_does_not_read_holds_a_bounded_part(slowapi):
    api = slowapi("--send-timeout", "1")
    with RawConnection(api) as conn:
        handshake(conn, "?delay=0&max_message_size=1m")
        with pytest.raises((TimeoutError, ConnectionError, OSError)):
            for _ in range(200):
                conn.send(frame(2, b"x" * 900_000))
    assert get(api, "/?delay=0").status == 200
