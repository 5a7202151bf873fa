# SPDX-License-Identifier: MIT
"""srv slowapi: every path of its table with every fault that can strike a request, with a delay, a status and a body of one's own.

A path is asked at two addresses of one server, and the second one has the fault: its answer is compared with that of the first one.
"""

import re
import socket
import ssl
import time
from pathlib import Path

import pytest
from harness import RawConnection

ROOT = Path(__file__).resolve().parents[2]
DOCS = (ROOT / "docs/slowapi.md").read_text().split("<!-- params: begin")[1].split("<!-- params: end")[0]
CHAT = b'{"model":"m","messages":[{"role":"user","content":"Hello"}],"max_tokens":5}'
STREAM = CHAT[:-1] + b',"stream":true}'
BASIC = b"Authorization: Basic dTpw\r\n"
UPGRADE = b"Upgrade: websocket\r\nConnection: Upgrade, close\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"

# By the first column of the table of paths: requests as METHOD PATH, or with more lines of the head, and a body.
PATHS = {
    "/": ["GET /"],
    "OPTIONS *": ["OPTIONS *"],
    "/delay/DELAY": ["GET /delay/0.03", ("POST /delay/30ms", b"", b"body")],
    "/status/STATUS[:WEIGHT],...": ["GET /status/503"],
    "/unstable?failure_rate=0.5": ["GET /unstable?failure_rate=0"],
    "/headers": ["GET /headers"],
    "/get": ["GET /get?a=1", "HEAD /head", ("POST /post", b"", b"body"), ("PUT /put", b"", b"[1]"), ("PATCH /patch", b"", b"body"), "DELETE /delete"],
    "/anything": [("POST /anything", b"Content-Type: application/x-www-form-urlencoded\r\n", b"a=1&a=2")],
    "/anything/...": ["GET /anything/more"],
    "/upload": [("POST /upload", b"", b"x" * 1000)],
    "/echo": [("POST /echo", b"", b"echo")],
    "/dump/request": [("POST /dump/request", b"", b"dump")],
    "/ip": ["GET /ip"],
    "/user-agent": ["GET /user-agent"],
    "/uuid": ["GET /uuid"],
    "/hostname": ["GET /hostname"],
    "/html, /xml, /json": ["GET /html", "GET /xml", "GET /json"],
    "/robots.txt, /deny": ["GET /robots.txt", "GET /deny"],
    "/encoding/utf8": ["GET /encoding/utf8"],
    "/forms/post": ["GET /forms/post"],
    "/image": ["GET /image"],
    "/image/png, jpeg, webp, svg": ["GET /image/png", "GET /image/jpeg", "GET /image/webp", "GET /image/svg"],
    "/links/N[/OFFSET]": ["GET /links/3", "GET /links/3/1"],
    "/base64/decode/TEXT?content-type=": ["GET /base64/decode/aGVsbG8="],
    "/base64/encode/TEXT": ["GET /base64/encode/hello"],
    "/base64/TEXT": ["GET /base64/aGVsbG8="],
    "/gzip, /deflate, /brotli": ["GET /gzip", "GET /deflate", "GET /brotli"],
    "/redirect/N?absolute=": ["GET /redirect/2", "GET /relative-redirect/2", "GET /absolute-redirect/2"],
    "/redirect-to?url=&status_code=302": ["GET /redirect-to?url=/get"],
    "/response-headers?NAME=VALUE": ["GET /response-headers?X-A=b"],
    "/trailers?NAME=VALUE": ["GET /trailers?X-A=b"],
    "/cache": ["GET /cache"],
    "/cache/N": ["GET /cache/60"],
    "/etag/ETAG": ["GET /etag/abc"],
    "/cookies": [("GET /cookies", b"Cookie: a=1\r\n")],
    "/cookies/set?NAME=VALUE": ["GET /cookies/set?a=1", "GET /cookies/set/a/1"],
    "/cookies/delete?NAME": ["GET /cookies/delete?a"],
    "/basic-auth/USER/PASSWORD": ["GET /basic-auth/u/p", ("GET /basic-auth/u/p", BASIC)],
    "/hidden-basic-auth/USER/PASSWORD": [("GET /hidden-basic-auth/u/p", BASIC)],
    "/bearer": ["GET /bearer", ("GET /bearer", b"Authorization: Bearer t\r\n")],
    "/digest-auth/QOP/USER/PASSWORD[/ALGORITHM[/STALE_AFTER]]": ["GET /digest-auth/auth/u/p"],
    "/websocket/echo?max_message_size=64k&max_fragment_size=": [("GET /websocket/echo", UPGRADE)],
    "/bytes/N": ["GET /bytes/100"],
    "/stream-bytes/N?chunk_size=": ["GET /stream-bytes/100?chunk_size=30"],
    "/range/N?duration=&chunk_size=": ["GET /range/26", ("GET /range/26", b"Range: bytes=3-9\r\n")],
    "/stream/N": ["GET /stream/4"],
    "/drip?duration=2&numbytes=10&code=200&delay=0": ["GET /drip?duration=0&numbytes=10"],
    "/sse?count=10&duration=5&delay=0&jitter=0": ["GET /sse?count=4&duration=0"],
    "/jsonl?count=10&duration=5&delay=0&jitter=0": ["GET /jsonl?count=4&duration=0"],
    "/v1/chat/completions": [("POST /v1/chat/completions", b"", CHAT), ("POST /v1/chat/completions", b"", STREAM)],
    "/v1/models, /v1/models/NAME": ["GET /v1/models", "GET /v1/models/m"],
}
REQUESTS = [(one, b"", b"") if isinstance(one, str) else (*one, b"")[:3] for row in PATHS.values() for one in row]

# What differs from one answer to the next, whatever is asked.
MOVING = re.compile(rb"^(Date|Server-Timing|Last-Modified|WWW-Authenticate|X-Slowapi-[\w-]+|X-Ratelimit-[\w-]+): .*\r\n", re.M | re.I)
TIMES = re.compile(rb'("timestamp": ?|"created": ?)(\d+)')
UUIDS = re.compile(rb"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")  # the roll of a fault comes before theirs
GOODBYE = b"\x88\x80\0\0\0\0"  # a frame that closes a WebSocket


class Answer:
    """All bytes up to the close. `head` is without what moves."""

    def __init__(self, data, seconds):
        self.data, self.seconds = data, seconds
        while data.startswith(b"HTTP/1.1 103 "):
            data = data.split(b"\r\n\r\n", 1)[1]
        self.head, _, self.rest = data.partition(b"\r\n\r\n")
        self.head = UUIDS.sub(b"", MOVING.sub(b"", self.head + b"\r\n"))
        self.rest = UUIDS.sub(b"-" * 36, TIMES.sub(lambda found: found[1] + b"0" * len(found[2]), self.rest))
        self.is_chunked = b"\r\nTransfer-Encoding: chunked\r\n" in self.head
        self.length = re.search(rb"\r\nContent-Length: (\d+)\r\n", self.head)

        self.part, self.is_whole = self.without_chunks() if self.is_chunked else (self.rest, True)

    @property
    def body(self):
        """Without its chunks; None when these are none, or do not end."""
        return self.part if self.is_whole else None

    def without_chunks(self):
        """(what came of the body, whether it ends as it should)"""
        body, rest = b"", self.rest
        while found := re.match(rb"([0-9a-f]+)\r\n", rest, re.I):
            size, rest = int(found[1], 16), rest[found.end() :]
            if size == 0:
                return body, re.fullmatch(rb"(\S+: .*\r\n)*\r\n", rest) is not None
            body += rest[:size]
            if rest[size : size + 2] != b"\r\n":
                break
            rest = rest[size + 2 :]
        return body, False

    def lines(self):
        return set(self.head.split(b"\r\n"))


def request_of(asked, closes=True):
    line, more, body = asked
    ends = b"" if not closes or b"Connection:" in more else b"Connection: close\r\n"
    length = b"Content-Length: %d\r\n" % len(body) if body else b""
    return b"%s HTTP/1.1\r\nHost: x\r\n%s%s%s\r\n%s" % (line.encode(), ends, length, more, body)


def ask(address, asked):
    """An Answer; a WebSocket is closed by us as soon as it is open."""
    begun = time.monotonic()
    with RawConnection(address) as conn:
        conn.send(request_of(asked))
        data = b""
        while more := receive(conn):
            data += more
            if b"HTTP/1.1 101 " in data and data.endswith(b"\r\n\r\n"):
                conn.send(GOODBYE)
        return Answer(data, time.monotonic() - begun)


def receive(conn):
    """What is there; nothing: the connection is closed, or reset."""
    try:
        return conn.sock.recv(65536)
    except ConnectionResetError:
        return b""


# --- what each fault does to an answer ----------------------------------------------


def is_bodyless(asked, plain):
    return asked[0].startswith("HEAD") or plain.head.startswith(b"HTTP/1.1 101 ")


def is_same(_asked, plain, found):
    return found.head == plain.head and found.rest == plain.rest


def is_late(asked, plain, found):
    return is_same(asked, plain, found) and found.seconds >= 0.03


def has_a_late_body(asked, plain, found):
    return is_same(asked, plain, found) if asked[0].startswith("HEAD") else is_late(asked, plain, found)


def has_come_early(asked, plain, found):
    return is_same(asked, plain, found) if not asked[2] else found.head.startswith(b"HTTP/1.1 ")


def is_nothing(_asked, _plain, found):
    return found.data == b""


def is_a_part(asked, plain, found):
    if is_bodyless(asked, plain):
        return found.head == plain.head and found.rest == b""
    is_begin = plain.body.startswith(found.part) or b"uuid" in plain.body
    return found.head == plain.head and is_begin and len(found.part) <= len(plain.body) // 2 + len(plain.body) % 2


def is_in_other_pieces(_asked, plain, found):
    return found.head == plain.head and found.body == plain.body is not None


def has_no_chunks(asked, plain, found):
    return is_bodyless(asked, plain) or (found.is_chunked and found.body is None)


def is_no_http(_asked, _plain, found):
    return len(found.data) >= 64 and not found.data.startswith(b"HTTP/")


def has_another_length(asked, plain, found):
    if plain.length is None:  # chunks, or a WebSocket, which ends with its head
        return found.head == plain.head and (is_bodyless(asked, plain) or found.rest == plain.rest)
    return int(found.length[1]) == int(plain.length[1]) + 10 and found.rest == plain.rest


def has_no_length(asked, plain, found):
    return not found.is_chunked and found.length is None and (is_bodyless(asked, plain) or found.rest == plain.body)


def has_a_huge_header(asked, plain, found):
    return max(map(len, found.data.split(b"\r\n"))) >= 1000 and is_in_other_pieces(asked, plain, found)


def has_a_bad_header(_asked, plain, found):
    added = found.lines() - plain.lines() - {b"Connection: close"}
    return len(added) == 1 and b":" not in added.pop()


def has_interim_answers(asked, plain, found):
    return len(re.findall(rb"^HTTP/1\.1 103 .*\r\n", found.data, re.M)) == 2 and is_same(asked, plain, found)


def is_corrupt(asked, plain, found):
    if is_bodyless(asked, plain) or not plain.body:
        return is_same(asked, plain, found)
    moves = UUIDS.search(plain.data) or TIMES.search(plain.data)
    return len(found.body or b"") == len(plain.body) and (moves or found.body == bytes(byte ^ 1 for byte in plain.body))


FAULTS = {
    "rst": ("rst", is_nothing),
    "fin": ("fin", is_nothing),
    "truncate": ("truncate@50", is_a_part),
    "hang": ("hang=30ms@body", has_a_late_body),
    "drip": ("drip=1us", is_in_other_pieces),
    "bandwidth": ("bandwidth=1g", is_in_other_pieces),
    "shared-bandwidth": ("shared-bandwidth=1g", is_in_other_pieces),
    "badchunk": ("badchunk", has_no_chunks),
    "garbage": ("garbage", is_no_http),
    "length": ("length=+10", has_another_length),
    "nolength": ("nolength", has_no_length),
    "hugeheader": ("hugeheader=1000", has_a_huge_header),
    "badheader": ("badheader", has_a_bad_header),
    "interim": ("interim=2", has_interim_answers),
    "early": ("early", has_come_early),
    "corrupt": ("corrupt:100", is_corrupt),
}


def cross(slowapi, params, holds, requests=REQUESTS):
    api = slowapi("--delay", "0", "--bind", "127.0.0.1:0?seed=7", "--bind", f"127.0.0.1:0?seed=7&{params}")
    wrong = []
    for asked in requests:
        plain, found = (ask(address, asked) for address in api.addresses)
        if not holds(asked, plain, found):
            wrong.append(f"{asked[0]}: {(plain.head + plain.rest)[:600]!r}\n    became {found.data[:600]!r}")
    assert not wrong, "\n".join(wrong)


def test_every_path_and_every_fault_is_here():
    rows = re.findall(r"^\| `([^`]+)` \| \w+ \|", DOCS, re.M)
    per_request = set(re.findall(r"^\| `([\w-]+)` \| (?:request|byte) \|", DOCS, re.M))
    assert rows and per_request == set(FAULTS) | {"stale", "tls-close", "tls-cut"}
    paths = DOCS.split("| parameter |")[0]
    assert re.findall(r"^\| `([^`]+)` \|", paths, re.M) == list(PATHS)


@pytest.mark.parametrize("kind", FAULTS)
def test_every_path_with_a_fault(slowapi, kind):
    fault, holds = FAULTS[kind]
    cross(slowapi, f"fault={fault}", holds)


def test_every_path_with_a_delay(slowapi):
    cross(slowapi, "delay=30ms", is_late)


def test_every_path_with_a_hang_before_it(slowapi):
    cross(slowapi, "fault=hang=30ms", is_late)


def test_every_path_with_another_status(slowapi):
    cross(slowapi, "status=503", lambda _asked, _plain, found: found.head.startswith(b"HTTP/1.1 503 "))


def test_every_path_with_another_body(slowapi):
    requests = [asked for asked in REQUESTS if not asked[0].startswith("HEAD") and b"Upgrade:" not in asked[1]]
    for params in ("body=mine", "size=4"):
        cross(slowapi, params + "&encoding=identity", lambda _asked, _plain, found: len(found.body) == 4, requests)


def test_every_path_with_a_connection_that_is_stale(slowapi):
    api = slowapi("--delay", "0", "--params", "fault=stale")
    for asked in REQUESTS:
        if b"Upgrade:" in asked[1]:
            continue
        with RawConnection(api) as conn:
            conn.send(request_of(asked, closes=False))
            first = conn.read_response(asked[0].split()[0])
            assert first.status < 600
            conn.send(request_of(asked, closes=False))
            assert conn.read_until_close() == b"", asked[0]


def end_of(sock, request):
    """How a connection over TLS ends."""
    try:
        sock.sendall(request)
        while sock.recv(65536):
            pass
    except ssl.SSLError as told:
        return str(told)
    return "in order"


@pytest.mark.parametrize("fault", ["tls-close@100", "tls-cut@50"])
def test_every_path_with_an_end_of_tls(slowapi, fault):
    api = slowapi("--delay", "0", "--bind", f"https://127.0.0.1:0?seed=7&fault={fault}")
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.options &= ~getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", 1 << 7)
    for asked in REQUESTS:
        with socket.create_connection((api.host, api.port), timeout=20) as plain:
            with context.wrap_socket(plain, suppress_ragged_eofs=False) as sock:
                ends_in_order = asked[0].startswith("HEAD")  # no body for a fault to strike
                assert ("EOF" not in end_of(sock, request_of(asked))) == ends_in_order, asked[0]
