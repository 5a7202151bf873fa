# SPDX-License-Identifier: MIT
"""srv serve is strict on the wire: what must be refused is refused, in every model."""

import time

import pytest
from harness import RawConnection, get, raw, request, wait_for

MODELS = ("green", "pool", "threaded", "single", "event")
GREETING = "Hi there! slow api response"


def head(*lines):
    """A request head: the lines, their CRLFs and the empty line."""
    return b"".join(line + b"\r\n" for line in lines) + b"\r\n"


def get_with(*fields):
    return head(b"GET /nope HTTP/1.1", b"Host: a", *fields)


def post_with(*fields):
    return head(b"POST /nope HTTP/1.1", b"Host: a", *fields)


def line(text):
    return head(text, b"Host: a")


def length(value):
    return post_with(b"Content-Length: " + value) + b"12345"


def coding(value):
    return post_with(b"Transfer-Encoding: " + value) + b"5\r\nhello\r\n0\r\n\r\n"


def chunks(data):
    return post_with(b"Transfer-Encoding: chunked") + data


# Class of request (RFC 9112 is H1, RFC 9110 is S): [(status, request)].
REFUSED = {
    "space before the colon (H1 5.1)": [(400, get_with(b"X : y")), (400, get_with(b"X\t: y"))],
    "obsolete folding (H1 5.2)": [(400, get_with(b"X: y", b" z")), (400, get_with(b"X: y", b"\tz"))],
    "space before the first field (H1 2.2)": [
        (400, head(b"GET / HTTP/1.1", b" Host: a", b"Host: a")),
        (400, head(b"GET / HTTP/1.1", b"\tX: y", b"Host: a")),
    ],
    "bare CR or LF (H1 2.2)": [
        (400, b"GET / HTTP/1.1\nHost: a\n\n"),
        (400, b"GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n"),
        (400, b"GET / HTTP/1.1\r\nHost: a\r\nX: y\rZ: z\r\n\r\n"),
        (400, b"GET / HTTP/1.1\rHost: a\r\n\r\n"),
        (400, b"GET / HTTP/1.1\r\nHost: a\r\n\n"),
    ],
    "control characters in a value (S 5.5)": [
        (400, get_with(b"X: a" + bytes([byte]) + b"b")) for byte in (0, 1, 7, 8, 11, 12, 27, 127)
    ],
    "field name that is no token (S 5.1)": [
        (400, get_with(name + b": y")) for name in (b"", b"(x)", b"a b", b"x\xc3\xa9", b"a/b", b"x\x00", b'"x"')
    ]
    + [(400, get_with(b"no colon"))],
    "two lines of a field whose value is no list (S 5.3)": [
        (400, get_with(*[name + b": x"] * 2))
        for name in (
            b"Content-Type", b"content-range", b"Range", b"If-Range", b"If-Modified-Since", b"If-Unmodified-Since",
            b"User-Agent", b"Referer", b"From", b"Date", b"Max-Forwards", b"Authorization", b"Proxy-Authorization",
            b"Content-Location", b"Origin",
        )
    ],  # fmt: skip
    "Host (H1 3.2)": [
        (400, head(b"GET / HTTP/1.1")),
        (400, head(b"GET / HTTP/1.1", b"Host: a", b"Host: b")),
        (400, head(b"GET / HTTP/1.1", b"Host: a", b"Host: a")),
    ]
    + [
        (400, head(b"GET / HTTP/1.1", b"Host: " + value))
        for value in (b"user@a", b"a/path", b"a, b", b"a b", b"a:port", b"a:99999", b"[::1", b"a?x", b"a#x")
    ],
    "request line (H1 3)": [
        (400, line(text))
        for text in (
            b"GET",
            b"GET /",
            b"GET  / HTTP/1.1",
            b"GET /  HTTP/1.1",
            b"GET / x HTTP/1.1",
            b"GET /a\tb HTTP/1.1",
            b"GET / HTTP/1.1 ",
            b" GET / HTTP/1.1",
            b"G(T / HTTP/1.1",
            b"G\xc3\x89T / HTTP/1.1",
            b"/ HTTP/1.1",
            b"GET /\x00 HTTP/1.1",
            b"GET\t/ HTTP/1.1",
        )
    ],
    "form of the target (H1 3.2.1 to 3.2.4)": [
        (400, line(b"GET a:80 HTTP/1.1")),
        (400, line(b"GET * HTTP/1.1")),
        (400, line(b"GET path HTTP/1.1")),
        (400, line(b"GET ?x HTTP/1.1")),
        (400, line(b"CONNECT /x HTTP/1.1")),
        (400, line(b"GET http:// HTTP/1.1")),
        (400, line(b"GET http://u@a/ HTTP/1.1")),
    ],
    "version (H1 2.3, S 15.6.6)": [
        (400, line(b"GET / " + version))
        for version in (b"http/1.1", b"HTTP/1", b"HTTP/1.", b"HTTP/1.10", b"HTTP/11", b"HTP/1.1", b"HTTP/0.9", b"HTTP/ 1.1")
    ]
    + [(505, line(b"GET / HTTP/2.0")), (505, line(b"GET / HTTP/3.0"))],
    "Content-Length (S 8.6)": [
        (400, length(value))
        for value in (b"", b"+5", b"-5", b"5 5", b"0x5", b"5_0", b"5,5", b"5;", b"5.0", b"18446744073709551616", b"\x0b5")
    ],
    "two Content-Lengths (H1 6.3)": [
        (400, post_with(b"Content-Length: 5", b"Content-Length: 5") + b"12345"),
        (400, post_with(b"Content-Length: 5", b"Content-Length: 6") + b"123456"),
    ],
    "length and coding (H1 6.1)": [
        (400, post_with(b"Content-Length: 5", b"Transfer-Encoding: chunked") + b"0\r\n\r\n"),
        (400, post_with(b"Transfer-Encoding: chunked", b"Content-Length: 5") + b"0\r\n\r\n"),
    ],
    "coding in HTTP/1.0 (H1 6.1)": [
        (400, head(b"POST / HTTP/1.0", b"Transfer-Encoding: chunked") + b"0\r\n\r\n"),
    ],
    "coding that is not exactly chunked, once and last (H1 6.1, 6.3)": [
        (400, coding(value))
        for value in (b"", b"chunked, gzip", b"chunked, chunked", b"xchunked;", b"\x0bchunked", b"\xa0chunked", b"chunked\x0c")
    ]
    + [(400, post_with(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked") + b"0\r\n\r\n")],
    "unknown coding (H1 6.1)": [(501, coding(b"gzip, chunked")), (501, coding(b"pigeon, chunked"))],
    "chunk size (H1 7.1)": [
        (400, chunks(size + b"\r\nhello\r\n0\r\n\r\n"))
        for size in (b"", b"+5", b"-5", b"0x5", b"5_", b" 5", b"g", b"fffffffffffffffff", b"5 5", b"\n5")
    ],
    "chunk extension (H1 7.1.1)": [
        (400, chunks(b"5" + extension + b"\r\nhello\r\n0\r\n\r\n"))
        for extension in (b";a\rb", b";", b';a="b', b";a=b;" + b"x" * 8000)
    ],
    "end of a chunk (H1 7.1)": [
        (400, chunks(b"5\r\nhelloXX0\r\n\r\n")),
        (400, chunks(b"5\r\nhello\n0\r\n\r\n")),
        (400, chunks(b"5\nhello\r\n0\r\n\r\n")),
    ],
    "forbidden trailer (S 6.5.1)": [
        (400, chunks(b"0\r\n" + name + b": 1\r\n\r\n"))
        for name in (b"Content-Length", b"Transfer-Encoding", b"Host", b"Authorization", b"Trailer")
    ],
    "head too large (S 5.4, H1 3, RFC 6585 5)": [
        (414, line(b"GET /" + b"a" * 9000 + b" HTTP/1.1")),
        (431, get_with(b"X: " + b"a" * 9000)),
        (431, get_with(*[b"X: y"] * 200)),
        (431, get_with(*[b"X: " + b"a" * 8000] * 10)),
    ],
    "body too large, unknown expectation (S 15.5.14, 10.1.1)": [
        (413, length(b"99999999")),
        (413, chunks(b"ffffff\r\n")),
        (417, post_with(b"Content-Length: 5", b"Expect: tea")),
    ],
    "not HTTP": [(400, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"), (400, b"\x00" * 40 + b"\r\n\r\n")],
}

# What looks odd and must be taken; all ask for a path that is not there.
TAKEN = {
    "leading empty lines (H1 2.2)": b"\r\n\r\n" + get_with(),
    "absolute form, whose host counts (H1 3.2.2)": head(b"GET http://b/nope HTTP/1.1", b"Host: a"),
    "empty value": get_with(b"X:"),
    "spaces around a value": get_with(b"X: \t y \t "),
    "non-ASCII value": get_with(b"X: \xc3\xa9\xff"),
    "8000 octets of request line (H1 3)": line(b"GET /" + b"a" * 7985 + b" HTTP/1.1"),
    "higher minor version (S 2.5)": line(b"GET /nope HTTP/1.9"),
    "chunks with extensions and a trailer": chunks(b'5;a=b;c="d e"\r\nhello\r\n000\r\nX-Sum: 1\r\n\r\n'),
    "coding in another case": coding(b"CHUNKED"),
    "leading zeros of a length": length(b"0005"),
    "unread body before the next request": length(b"5") + get_with(b"Connection: close"),
}


@pytest.fixture(params=MODELS)
def strict(request, serve):
    return serve("--model", request.param)


def test_classes_that_must_be_refused(strict):
    """Each gets its status and Connection: close, and the next request on the connection is not served."""
    wrong = []
    for name, cases in REFUSED.items():
        for status, data in cases:
            answer = raw(strict, data + get_with())
            if not answer.startswith(b"HTTP/1.1 %d " % status) or b"\r\nConnection: close\r\n" not in answer:
                wrong.append((name, data[:120], status, answer[:80]))
            elif answer.count(b"HTTP/1.1 ") != 1:
                wrong.append((name, data[:120], "served what followed", answer))
    assert not wrong, "\n".join(map(str, wrong))


def test_classes_that_must_be_taken(strict):
    for name, data in TAKEN.items():
        with RawConnection(strict) as conn:
            conn.send(data)
            assert conn.read_response().status == 404, name


def test_an_end_inside_a_message_is_just_closed(strict):
    for data in (b"GET / HT", length(b"50"), chunks(b"5\r\nhel"), chunks(b"5\r\nhello\r\n")):
        assert raw(strict, data, half_close=True) == b""


def test_answers_are_right_too(strict):
    """Date everywhere, no body on HEAD, Allow on 405, 501 for methods unknown, no 1xx to HTTP/1.0."""
    reply = request(strict, "HEAD", "/nope")
    assert (reply.status, reply.body) == (404, b"") and "date" in reply.headers
    assert request(strict, "BREW", "/").status == 501
    assert "GET" in request(strict, "TRACE", "/").headers["allow"]
    with RawConnection(strict) as conn:
        conn.send(head(b"POST /nope HTTP/1.0", b"Content-Length: 5", b"Expect: 100-continue") + b"12345")
        assert conn.read_response().status == 404


# --- limits ----------------------------------------------------------------------------------


def test_limits_are_options(serve):
    app = serve(
        *("--limit-request-line", "40", "--limit-request-fields", "3"),
        *("--limit-request-field-size", "50", "--limit-request-body", "4"),
    )
    assert get(app, "/" + "a" * 20).status == 404
    assert raw(app, line(b"GET /" + b"a" * 40 + b" HTTP/1.1")).startswith(b"HTTP/1.1 414 ")
    assert raw(app, get_with(b"X: 1", b"X: 2", b"X: 3")).startswith(b"HTTP/1.1 431 ")
    assert raw(app, get_with(b"X: " + b"a" * 50)).startswith(b"HTTP/1.1 431 ")
    assert raw(app, length(b"5")).startswith(b"HTTP/1.1 413 ")
    with RawConnection(app) as conn:
        conn.send(post_with(b"Content-Length: 4") + b"1234")
        assert conn.read_response().status == 404


def test_limits_can_be_widened(serve):
    app = serve("--limit-request-line", "60000", "--limit-request-field-size", "70000", "--limit-request-body", "3m")
    for data in (
        line(b"GET /" + b"a" * 59000 + b" HTTP/1.1"),
        get_with(b"X: " + b"a" * 69000),
        post_with(b"Content-Length: 2000000") + b"x" * 2000000,
    ):
        with RawConnection(app) as conn:
            conn.send(data)
            assert conn.read_response().status == 404


@pytest.mark.parametrize("model", ["green", "pool", "threaded"])
def test_keep_alive_requests_ends_a_connection(serve, model):
    app = serve("--model", model, "--keep-alive-requests", "3")
    with RawConnection(app) as conn:
        conn.send(get_with() * 5)
        replies = [conn.read_response() for _ in range(3)]
        assert [reply.headers.get("connection") for reply in replies] == [None, None, "close"]
        assert conn.read_until_close() == b""


# --- deadlines ---------------------------------------------------------------------------------


@pytest.mark.parametrize("model", MODELS)
def test_request_timeout_ends_one_request_only(slowapi, serve, model):
    api = slowapi("--graceful-timeout", "0")
    app = serve("--model", model, "--request-timeout", "300ms", upstream=api)
    with RawConnection(app) as conn:
        start = time.monotonic()
        conn.send(head(b"GET /?delay=30 HTTP/1.1", b"Host: a"))
        reply = conn.read_response()
        assert (reply.status, reply.text) == (504, "the request took too long\n")
        assert 0.3 <= time.monotonic() - start < 5
        if model != "single":
            conn.send(head(b"GET /?delay=0 HTTP/1.1", b"Host: a"))
            assert conn.read_response().text == GREETING
    assert get(app, "/?delay=0").text == GREETING


@pytest.mark.parametrize(
    "args", [("--async-cores", "1"), ("--model", "pool", "--threads", "1"), ("--model", "event", "--async-cores", "1")]
)
def test_request_timeout_counts_the_time_in_the_queue(slowapi, serve, args):
    app = serve(*args, "--request-timeout", "600ms", upstream=slowapi("--graceful-timeout", "0"))
    first, second = RawConnection(app), RawConnection(app)
    start = time.monotonic()
    with first, second:
        for conn in (first, second):
            conn.send(head(b"GET /nope HTTP/1.1", b"Host: a"))
            assert conn.read_response().status == 404
        for conn in (first, second):
            conn.send(head(b"GET /?delay=30 HTTP/1.1", b"Host: a"))
        assert [conn.read_response().status for conn in (first, second)] == [504, 504]
    assert time.monotonic() - start < 1.15  # one after the other, 600 ms each, would be later


# --- what a target decides ---------------------------------------------------------------------

ABSOLUTE = {
    b"GET http://b:81/x?y HTTP/1.1\r\nX: 1\r\nHost: a\r\n": ["x: 1", "host: b:81"],
    b"GET http://b HTTP/1.0\r\nX: 1\r\n": ["host: b", "x: 1"],
    b"POST http://b/ HTTP/1.1\r\nhost: a\r\nContent-Length: 2\r\n": ["host: b", "content-length: 2"],
    b"GET /http://b/ HTTP/1.1\r\nHost: a\r\n": ["host: a"],
}


@pytest.mark.parametrize("model", MODELS)
def test_the_authority_of_a_target_is_the_host_for_all(serve, tmp_path, model):
    """RFC 9112 section 3.2.2: for handlers, which look it up or walk the fields, and for the log."""
    log = tmp_path / "access.log"
    app = serve("--model", model, "--access-logfile", log, "--access-logformat", "%({host}i)s", "echo")
    for text, fields in ABSOLUTE.items():
        answer = raw(app, text + b"Connection: close\r\n\r\nhi").decode()
        seen = [line[7:] for line in answer.splitlines() if line.startswith("field: ")]
        assert seen == [*fields, "connection: close"]
    wait_for(lambda: log.read_text().split() == ["b:81", "b", "b", "a"], what="the lines of the log")


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("app", ["index", "echo"])
def test_options_of_the_whole_server(serve, model, app):
    """RFC 9110 section 9.3.7: no handler is asked."""
    server = serve("--model", model, app)
    reply = request(server, "OPTIONS", "*")
    assert (reply.status, reply.body, reply.headers["content-length"]) == (200, b"", "0")
    assert reply.headers["allow"] == "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
    assert "content-type" not in reply.headers
    for target in (b"*", b"*?x", b"*/"):
        assert raw(server, b"GET " + target + b" HTTP/1.1\r\nHost: x\r\n\r\n").startswith(b"HTTP/1.1 400 ")
    options = b"OPTIONS %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    assert raw(server, options % b"/x").startswith(b"HTTP/1.1 404 " if app == "index" else b"HTTP/1.1 200 ")
    answer = raw(server, (options % b"*").replace(b"Connection: close\r\n", b"") + options % b"*")
    served = 1 if model == "single" else 2
    assert answer.count(b"HTTP/1.1 200 ") == answer.count(b"Content-Length: 0\r\n") == served
