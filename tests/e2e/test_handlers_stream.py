# SPDX-License-Identifier: MIT
"""Answers that handlers of users write piece by piece: srv_begin, srv_write, srv_end, srv_event."""

import re
import signal
import socket
import time

import pytest
from harness import Client, RawConnection, get, request, wait_for
from test_handlers import MODELS, ROOT, app_of, build
from test_uwsgi import packet

ROUTES = {
    "/three": "three", "/open": "open_end", "/auto": "automatic", "/fails": "fails", "/endless": "endless", "/big": "big",
    "/misuse": "misuse", "/events": "events", "/bad-event": "bad_event", "/sleeps": "sleeps", "/late": "late",
    "/nothing": "nothing", "/204": "no_content", "/forgiven": "forgiven", "/reply": "whole",
}  # fmt: skip
APP = """
static int three(srv_request *rq) {
    srv_set(rq, "X-Set", "yes");
    srv_begin(rq, 201);
    srv_write(rq, "one,", 4);
    srv_write(rq, "", 0);
    srv_write(rq, "two,", 4);
    srv_write(rq, "three", 5);
    return srv_end(rq);
}
static int open_end(srv_request *rq) { srv_begin(rq, 200); srv_write(rq, "left open", 9); return 0; }
static int automatic(srv_request *rq) { srv_write(rq, "began by itself", 15); return srv_end(rq); }
static int fails(srv_request *rq) { srv_begin(rq, 200); srv_write(rq, "part", 4); return srv_fail(rq, 503, "no more"); }
static int endless(srv_request *rq) {
    long count = 0;
    while (srv_write(rq, "tick\\n", 5) == 0 && srv_sleep(rq, 0.02) == 0)
        count++;
    fprintf(stderr, "endless ended after %s with %d\\n", count > 0 ? "some" : "none", srv_error(rq));
    return srv_error(rq);
}
static int big(srv_request *rq) {
    size_t len = (size_t)atol(srv_arg(rq, "len", "0"));
    char *data = srv_alloc(rq, len);
    for (size_t i = 0; i < len; i++)
        data[i] = (char)('a' + i % 23);
    srv_write(rq, data, len);
    fprintf(stderr, "big ended with %d\\n", srv_error(rq));
    return srv_end(rq);
}
static int misuse(srv_request *rq) {
    int after_end, reply, begin;
    srv_begin(rq, 200);
    reply = srv_reply(rq, 500, "a second answer");
    begin = srv_begin(rq, 200);
    srv_write(rq, "body", 4);
    srv_end(rq);
    after_end = srv_write(rq, "more", 4);
    fprintf(stderr, "misuse %d %d %d %d error %d\\n", reply == -EALREADY, begin == -EALREADY, after_end == -EALREADY,
            srv_end(rq) == -EALREADY, srv_error(rq));
    return 0;
}
static int events(srv_request *rq) {
    srv_event(rq, NULL, "one line");
    srv_event(rq, "tick", "two\\nlines\\r\\nand\\rmore\\n");
    srv_event(rq, "empty", "");
    return srv_end(rq);
}
static int bad_event(srv_request *rq) { return srv_event(rq, "a\\nb", "x"); }
static int sleeps(srv_request *rq) {
    srv_begin(rq, 200);
    srv_sleep(rq, 60);
    fprintf(stderr, "sleeps ended with %d\\n", srv_error(rq));
    return srv_end(rq);
}
static int late(srv_request *rq) {
    srv_set_deadline(rq, 0.2);
    while (srv_write(rq, "tick\\n", 5) == 0 && srv_sleep(rq, 0.05) == 0)
        continue;
    return 0;
}
static int nothing(srv_request *rq) { srv_begin(rq, 200); return srv_end(rq); }
static int no_content(srv_request *rq) { srv_begin(rq, 204); srv_write(rq, "x", 1); return srv_end(rq); }
static int forgiven(srv_request *rq) {
    srv_begin(rq, 200);
    srv_get(rq, "?");
    srv_forgive(rq);
    srv_write(rq, "went on", 7);
    return srv_end(rq);
}
static int whole(srv_request *rq) { return srv_reply(rq, 200, "whole"); }
"""
CHUNKS_OF_THREE = b"4\r\none,\r\n4\r\ntwo,\r\n5\r\nthree\r\n0\r\n\r\n"
CANCELED, TIMEDOUT = -125, -110
HEAD = b"%s /%s HTTP/1.1\r\nHost: x\r\n\r\n"


def ask(path, method="GET"):
    return HEAD % (method.encode(), path.encode())


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return build(tmp_path_factory.mktemp("stream"), app_of(APP, ROUTES))


@pytest.fixture(params=MODELS)
def model(request):
    return request.param


@pytest.fixture
def app(serve, path, model):
    return serve("--model", model, path, upstream="http://127.0.0.1:1/")


# --- how it is framed ---------------------------------------------------------------------------------


def test_a_stream_is_chunks_as_they_were_written(app):
    with RawConnection(app) as conn:
        conn.send(ask("three"))
        head = conn.read_until(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 201 ") and b"\r\nX-Set: yes\r\n" in head and b"text/plain" in head
        assert b"\r\nTransfer-Encoding: chunked\r\n" in head and b"Content-Length" not in head
        assert conn.read_until(b"0\r\n\r\n") == CHUNKS_OF_THREE


@pytest.mark.parametrize("target, text", [("open", "left open"), ("auto", "began by itself"), ("nothing", ""), ("forgiven", "went on")])
def test_ends_and_begins_by_themselves(app, target, text):
    reply = get(app, "/" + target)
    assert (reply.status, reply.text) == (200, text)


def test_to_http_1_0_it_lasts_until_the_close(app):
    with RawConnection(app) as conn:
        conn.send(b"GET /three HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        head, _, body = conn.read_until_close().partition(b"\r\n\r\n")
        assert b"Transfer-Encoding" not in head and b"Connection: close" in head
        assert body == b"one,two,three"


@pytest.mark.parametrize("protocol", ["HTTP/1.0", "HTTP/1.1"])
def test_over_uwsgi_it_lasts_until_the_close(serve, path, model, protocol):
    app = serve("--protocol", "uwsgi", "--model", model, path)
    with RawConnection(app) as conn:
        conn.send(packet([("REQUEST_METHOD", "GET"), ("REQUEST_URI", "/three"), ("SERVER_PROTOCOL", protocol)]))
        head, _, body = conn.read_until_close().partition(b"\r\n\r\n")
        assert b"chunked" not in head and body == b"one,two,three"


@pytest.mark.parametrize("target", ["three", "endless", "events", "open"])
def test_head_has_no_body_and_ends(app, model, target):
    if model == "single":
        with RawConnection(app) as conn:
            conn.send(ask(target, "HEAD"))
            assert conn.read_until_close().endswith(b"\r\n\r\n")
        return
    with RawConnection(app) as conn:
        conn.send(ask(target, "HEAD") + ask("reply"))
        assert conn.read_response("HEAD").status in (200, 201)
        assert conn.read_response().text == "whole"


def test_a_status_without_a_body_has_none(app):
    reply = get(app, "/204")
    assert (reply.status, reply.body) == (204, b"") and "transfer-encoding" not in reply.headers


def test_pipelined_requests_are_served_behind_a_stream(serve, path):
    for model in ("threaded", "pool", "green"):
        with RawConnection(serve("--model", model, path)) as conn:
            conn.send(ask("three") + ask("big?len=100000") + ask("reply") + ask("three"))
            assert conn.read_response().text == "one,two,three"
            assert len(conn.read_response().body) == 100000
            assert [conn.read_response().text for _ in range(2)] == ["whole", "one,two,three"]


def test_events(app):
    reply = get(app, "/events")
    assert reply.headers["content-type"] == "text/event-stream" and reply.headers["cache-control"] == "no-cache"
    assert reply.text == (
        "data: one line\n\n"
        "event: tick\ndata: two\ndata: lines\ndata: and\ndata: more\ndata: \n\n"
        "event: empty\ndata: \n\n"
    )  # fmt: skip


def test_the_name_of_an_event_is_one_line(app):
    assert get(app, "/bad-event").status == 500


def test_calls_in_the_wrong_order_change_nothing(app):
    assert get(app, "/misuse").text == "body"
    wait_for(lambda: "misuse 1 1 1 1 error 0" in app.stderr(), what="the handler's report")


def test_the_example_tells_the_time(serve, tmp_path, model):
    app = serve("--model", model, build(tmp_path, (ROOT / "examples/clock.c").read_text()))
    with RawConnection(app) as conn:
        conn.send(ask("?every=0.05"))
        data = conn.read_until(b"\r\n\r\n") + b"".join(conn.read_until(b"\n\n") for _ in range(5))
    assert data.count(b"event: time\ndata: 1") + data.count(b"event: time\ndata: 2") == 5
    assert get(app, "/?every=soon").status == 400


# --- failures -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["fails", "late"])
def test_a_failure_cuts_the_connection(app, target):
    with RawConnection(app) as conn:
        conn.send(ask(target))
        data = conn.read_until_close()
    assert b"HTTP/1.1 200 " in data and not data.endswith(b"0\r\n\r\n")
    assert (b"4\r\npart\r\n" if target == "fails" else b"5\r\ntick\n\r\n") in data
    assert "request failed status=50" in app.stderr()


def test_a_failure_resets_what_would_end_by_closing(app):
    with RawConnection(app) as conn:
        conn.send(b"GET /fails HTTP/1.0\r\n\r\n")
        with pytest.raises(ConnectionResetError):
            while conn.sock.recv(65536):
                pass


def test_the_log_has_bytes_and_time_of_the_whole(serve, path, model, tmp_path):
    log = tmp_path / "log"
    app = serve("--model", model, "--access-logfile", log, "--access-logformat", "%(U)s %(s)s %(B)s %(M)s", path)
    assert get(app, "/three").status == 201
    assert len(get(app, "/big?len=3000000").body) == 3000000
    with RawConnection(app) as conn:
        conn.send(ask("late"))
        conn.read_until_close()
    with RawConnection(app) as conn:
        conn.send(ask("endless"))
        conn.read_until(b"tick\n\r\n5\r\ntick")
    lines = wait_for(lambda: len(text := log.read_text().splitlines()) == 4 and text, what="four lines")
    lines = [line.split() for line in lines]
    assert [line[:3] for line in lines[:2]] == [["/three", "201", "13"], ["/big", "200", "3000000"]]
    assert lines[2][:2] == ["/late", "500"] and int(lines[2][2]) >= 10 and int(lines[2][3]) >= 190
    assert lines[3][:2] == ["/endless", "499"] and int(lines[3][2]) >= 10


# --- clients --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("target", ["endless", "sleeps"])
def test_a_client_that_leaves_ends_the_handler(app, target, how):
    conn = RawConnection(app)
    conn.send(ask(target))
    conn.read_until(b"\r\n\r\n")
    getattr(conn, how)()
    wait_for(lambda: re.search(rf"{target} ended .*with {CANCELED}", app.stderr()), what="the end of the handler")
    assert get(app, "/reply").text == "whole"


def test_a_client_that_leaves_before_it_has_the_head(app, model):
    for _ in range(20):
        with RawConnection(app) as conn:
            conn.send(ask("endless"))
    wait_for(lambda: len(re.findall("endless ended", app.stderr())) >= 1 or model == "single", what="an end")
    assert get(app, "/reply").text == "whole"


def test_one_that_closes_its_sending_side_reads_on(app):
    """It is asked by a zero in front of the size of the next chunk, which changes nothing."""
    with RawConnection(app) as conn:
        conn.send(ask("endless"))
        conn.half_close()
        conn.read_until(b"\r\n\r\n")
        begin, chunks = time.monotonic(), []
        while time.monotonic() - begin < 3.5:
            size = conn.read_until(b"\r\n")
            assert int(size, 16) == 5 and conn.read_exactly(7) == b"tick\n\r\n"
            chunks.append(size)
        assert len(chunks) > 50


def test_one_that_wants_no_body_is_asked_by_nothing(app):
    with RawConnection(app) as conn:
        conn.send(ask("sleeps", "HEAD"))
        conn.half_close()
        conn.read_until(b"\r\n\r\n")
        conn.expect_open(3)
    app.stop(signal.SIGINT)


def test_a_client_that_does_not_read_costs_only_itself(serve, path):
    """Its handler waits for --send-timeout; all others are answered before that is over."""
    for model in ("threaded", "pool", "green"):
        threads = ("--threads", "4") if model == "pool" else ()
        app = serve("--model", model, *threads, "--send-timeout", "4s", path)
        stuck = [RawConnection(app) for _ in range(3)]
        for conn in stuck:
            conn.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            conn.send(ask("big?len=40000000"))
            conn.read_until(b"\r\n\r\n")
        assert [get(app, "/three").text for _ in range(5)] == ["one,two,three"] * 5
        assert "big ended" not in app.stderr()
        wait_for(lambda app=app: app.stderr().count(f"big ended with {CANCELED}") == 3, seconds=30, what="ends of all three")
        for conn in stuck:
            conn.close()


def take_slowly(client, count):
    """Sends nothing back for a while, so that what is between the two is full."""
    client.request("GET", f"/big?len={count}")
    response = client.getresponse()
    time.sleep(0.3)
    return response


def test_a_slow_reader_gets_all(serve, path, model):
    body = take_slowly(Client(serve("--model", model, path)), 20000000).read()
    assert body == (b"abcdefghijklmnopqrstuvw" * 900000)[:20000000]


# --- the end of a worker ----------------------------------------------------------------------------------


def test_hup_and_term_let_streams_go_on_for_the_graceful_timeout(serve, path, model):
    app = serve("--model", model, "--workers", "1", "--graceful-timeout", "1s", path)
    wait_for(lambda: "worker started" in app.stderr(), what="the worker")
    with RawConnection(app) as conn:
        conn.send(ask("endless"))
        conn.read_until(b"tick")
        app.send_signal(signal.SIGHUP)
        wait_for(lambda: app.stderr().count("worker started") == 2, what="a new worker")
        data = conn.read_until_close()
    assert b"tick" in data and not data.endswith(b"0\r\n\r\n")
    with RawConnection(app) as conn:
        conn.send(ask("endless"))
        conn.read_until(b"tick")
        app.send_signal(signal.SIGTERM)
        assert not conn.read_until_close().endswith(b"0\r\n\r\n")
    assert app.wait() == 0


def test_a_stream_that_ends_during_a_stop_is_whole(serve, path, model):
    app = serve("--model", model, path)
    response = take_slowly(Client(app), 20000000)
    app.send_signal(signal.SIGTERM)
    time.sleep(0.1)
    assert len(response.read()) == 20000000
    assert app.wait() == 0


def test_a_part_cannot_stream(serve, tmp_path, model):
    body = """
static int part(srv_request *rq, void *arg) { (void)arg; return srv_write(rq, "x", 1); }
static int page(srv_request *rq) {
    srv_join(rq, srv_start(rq, part, NULL));
    return srv_reply(rq, 200, "not reached");
}
"""
    app = serve("--model", model, build(tmp_path, app_of(body)))
    reply = request(app, "GET", "/")
    assert reply.status == 500 and "a part of a request cannot answer" in reply.text
