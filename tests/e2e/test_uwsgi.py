# SPDX-License-Identifier: MIT
"""srv serve --protocol uwsgi, spoken byte by byte: what is served, and what is refused, in every model."""

import select
import socket
import struct
import time

import pytest
from harness import RawConnection, connect, raw, wait_for

MODELS = ("single", "threaded", "pool", "green", "event")
GET = [("REQUEST_METHOD", "GET"), ("REQUEST_URI", "/?delay=0"), ("CONTENT_LENGTH", "")]


def string(text):
    data = text.encode("latin-1")
    return struct.pack("<H", len(data)) + data


def packet(variables, modifier=0, body=b""):
    block = b"".join(string(name) + string(value) for name, value in variables)
    return struct.pack("<BHB", modifier, len(block), 0) + block + body


def status_of(answer):
    assert answer.startswith(b"HTTP/1.1 "), answer
    return int(answer.split()[1])


def body_of(answer):
    return answer.split(b"\r\n\r\n", 1)[1].decode("latin-1")


@pytest.fixture(params=MODELS)
def echo(request, serve):
    return serve(
        "--protocol", "uwsgi", "--model", request.param, "--header-timeout", "0.4s", "--body-timeout", "0.4s",
        "--limit-request-body", "1k", "echo",
    )  # fmt: skip


BAD = [
    ("no variables", packet([]), 400),
    ("no target", packet([("REQUEST_METHOD", "GET")]), 400),
    ("another modifier", packet(GET, modifier=99), 501),
    ("psgi", packet(GET, modifier=5), 501),
    ("text of http", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", 501),
    ("key past the end", struct.pack("<BHB", 0, 4, 0) + b"\xff\xffab", 400),
    ("value past the end", struct.pack("<BHB", 0, 9, 0) + string("KEY") + b"\xff\xffab", 400),
    ("empty key", packet([*GET, ("", "x")]), 400),
    ("negative length", packet([*GET[:2], ("CONTENT_LENGTH", "-5")]), 400),
    ("length in letters", packet([*GET[:2], ("CONTENT_LENGTH", "abc")]), 400),
    ("body over the limit", packet([*GET[:2], ("CONTENT_LENGTH", "1025")]), 413),
    ("line end in a header", packet([*GET, ("HTTP_X", "a\r\nb: c")]), 400),
    ("truncated header", b"\0\1", 408),
    ("truncated variables", packet(GET)[:-3], 408),
    ("body shorter than its length", packet([*GET[:2], ("CONTENT_LENGTH", "5")], body=b"abc"), 408),
]


def test_bad_packets_are_answered_logged_and_closed(echo):
    for name, data, status in BAD:
        begin = time.monotonic()
        assert status_of(raw(echo, data)) == status, name
        assert time.monotonic() - begin < 5, name
    assert echo.stderr().count("refused protocol=uwsgi peer=127.0.0.1 status=") >= len(BAD) // 2
    assert status_of(raw(echo, packet(GET))) == 200


def test_handler_sees_the_request_behind_the_packet(echo):
    answer = raw(
        echo,
        packet(
            [
                ("REQUEST_METHOD", "POST"),
                ("REQUEST_URI", "/c%2Fd?x=%20"),
                ("PATH_INFO", "/c/d"),
                ("CONTENT_LENGTH", "13"),
                ("CONTENT_TYPE", "text/x"),
                ("HTTP_CONTENT_LENGTH", "999"),
                ("HTTP_TRANSFER_ENCODING", "chunked"),
                ("HTTP_CONNECTION", "keep-alive"),
                ("HTTP_X_FOO", "1"),
                ("HTTP_X_FOO", "2"),
                ("UWSGI_FILE", "/etc/passwd"),
                ("REMOTE_ADDR", "203.0.113.9"),
                ("REQUEST_SCHEME", "https"),
            ],
            body=b"hello, world!",
        ),
    )
    assert status_of(answer) == 200
    lines = body_of(answer).splitlines()
    assert lines[:4] == ["method: POST", "target: /c%2Fd?x=%20", "client: 203.0.113.9", "scheme: https"]
    assert lines[4:-1] == [
        "field: content-length: 13",
        "field: content-type: text/x",
        "field: x-foo: 1",
        "field: x-foo: 2",
    ]
    assert lines[-1].startswith("body: 13 bytes")


@pytest.mark.parametrize("model", MODELS)
def test_the_log_tells_what_the_client_spoke(serve, tmp_path, model):
    """And without SERVER_PROTOCOL what the answer's framing went by. Neither changes anything else."""
    log = tmp_path / "log"
    logs = ("--access-logfile", log, "--access-logformat", "%(r)s|%(H)s")
    app = serve("--protocol", "uwsgi", "--model", model, *logs, "echo")
    for count, (told, logged) in enumerate(
        [("HTTP/1.1", "HTTP/1.1"), ("HTTP/2.0", "HTTP/2.0"), (None, "HTTP/1.0"), ('HTTP/1 "', "HTTP/1.0")], 1
    ):
        answer = raw(app, packet([*GET, *([("SERVER_PROTOCOL", told)] if told else [])]))
        assert status_of(answer) == 200 and b"\r\nConnection: close\r\n" in answer
        wait_for(lambda: log.exists() and log.read_text().count("\n") == count)
        assert log.read_text().splitlines()[-1] == f"GET /?delay=0 {logged}|{logged}"


def test_a_packet_in_pieces_and_without_chunks_in_its_answer(serve):
    app = serve("--bind", "uwsgi://127.0.0.1:0", "echo")
    data = packet([*GET[:2], ("CONTENT_LENGTH", "3"), ("HTTP_EXPECT", "100-continue")], body=b"abc")
    with RawConnection(app) as conn:
        for at in range(len(data)):
            conn.send(data[at : at + 1])
        answer = conn.read_until_close()
    head = answer.split(b"\r\n\r\n")[0].lower()
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"content-length: " in head and b"transfer-encoding" not in head and b"connection: close" in head


def test_both_protocols_side_by_side(serve, tmp_path):
    path = tmp_path / "s"
    app = serve("-b", "uwsgi://127.0.0.1:0", "-b", "http://127.0.0.1:0", "-b", f"uwsgi://unix:{path}", "echo")
    assert "listening on uwsgi://127.0.0.1:" in app.stderr()
    assert f"listening on uwsgi://unix:{path}\n" in app.stderr()
    assert status_of(raw(app.addresses[0], packet(GET))) == 200
    assert status_of(raw(app.addresses[1], b"GET / HTTP/1.0\r\n\r\n")) == 200
    answer = raw(app.addresses[2], packet([*GET, ("REMOTE_ADDR", "unix:")]))
    assert status_of(answer) == 200 and "client: unix\n" in body_of(answer)


@pytest.mark.parametrize("model", MODELS)
def test_strangers_may_not_speak_uwsgi(serve, model):
    app = serve("--protocol", "uwsgi", "--uwsgi-allow-from", "10.0.0.0/8", "--model", model, "echo")
    assert status_of(raw(app, packet(GET))) == 403
    assert "status=403" in app.stderr()


@pytest.mark.parametrize(
    "one_slot", [("green", "--async-cores", "1"), ("pool", "--threads", "1")], ids=lambda options: options[0]
)
def test_client_gone_is_seen_by_the_close_of_the_web_server(slowapi, serve, one_slot):
    app = serve("--protocol", "uwsgi", "--model", *one_slot, upstream=slowapi())
    with connect(app) as conn:
        conn.sendall(packet([GET[0], ("REQUEST_URI", "/?delay=6")]))
        time.sleep(0.2)
        conn.shutdown(socket.SHUT_WR)
        begin = time.monotonic()
        assert status_of(raw(app, packet(GET))) == 200  # the only slot is free again
        assert time.monotonic() - begin < 4


def test_options_that_cannot_be_are_refused(srv_run):
    done = srv_run("serve", "--uwsgi-allow-from", "10/8")
    assert done.returncode == 2 and "--uwsgi-allow-from" in done.stderr
    done = srv_run("serve", env={"PROTOCOL": "ftp"})
    assert done.returncode == 2 and "PROTOCOL" in done.stderr


def test_options_of_the_whole_server(echo):
    answer = raw(echo, packet([("REQUEST_METHOD", "OPTIONS"), ("REQUEST_URI", "*"), ("HTTP_HOST", "a")]))
    assert status_of(answer) == 200 and body_of(answer) == "" and b"\r\nAllow: GET, " in answer


def test_the_authority_of_a_target_is_the_host(echo):
    for host in ([("HTTP_HOST", "a")], []):
        variables = [("REQUEST_METHOD", "GET"), ("REQUEST_URI", "http://b:81/x"), *host]
        assert "\nfield: host: b:81\n" in body_of(raw(echo, packet(variables)))


def test_a_body_that_trickles_is_408(echo):
    """200 bytes per second, never silent: the grace is 0.4 s, and then it is 240."""
    with RawConnection(echo) as conn:
        conn.send(packet([*GET[:2], ("CONTENT_LENGTH", "900")]))
        for _ in range(450):
            conn.send(b"xx")
            if select.select([conn.sock], [], [], 0.01)[0]:
                break
        assert conn.read_response().status == 408
