# SPDX-License-Identifier: MIT
"""srv serve --server-timing: what each answer tells of its time, in every model and on every way to an answer."""

import time

import pytest
from control import fetch, metrics
from harness import RawConnection, cpu_seconds, get, raw, wait_for
from test_handlers import app_of, build

NAMES = ["queue", "handler", "upstream", "db"]
MODELS = ("green", "pool", "threaded", "single", "event", "evhttp")
ONE_SLOT = [("pool", "--threads", "1"), ("green", "--async-cores", "1"), ("event", "--async-cores", "1")]
REQUEST = b"GET /?delay=%s HTTP/1.1\r\nHost: x\r\n\r\n"


def timing(reply):
    """{name: milliseconds} of an answer's Server-Timing."""
    metric_list = [metric.split(";dur=") for metric in reply.headers["server-timing"].split(", ")]
    return {name: float(value) for name, value in metric_list}


@pytest.mark.parametrize("model", MODELS)
def test_an_answer_tells_where_its_time_went(slowapi, serve, model):
    app = serve("--model", model, "--server-timing", upstream=slowapi())
    began = time.monotonic()
    told = timing(get(app, "/?delay=0.1"))
    taken = (time.monotonic() - began) * 1000
    assert list(told) == NAMES
    assert 100 <= told["upstream"] <= sum(told.values()) <= taken
    assert told["db"] == 0
    assert list(timing(get(app, "/nope"))) == NAMES


@pytest.mark.parametrize("model", MODELS)
def test_without_the_option_nothing_is_told(slowapi, serve, model):
    app = serve("--model", model, upstream=slowapi())
    assert "server-timing" not in get(app, "/?delay=0").headers


@pytest.mark.parametrize("slots", ONE_SLOT, ids=lambda args: args[0])
def test_a_request_that_queued_says_how_long(slowapi, serve, slots):
    app = serve("--server-timing", "--control", "127.0.0.1:0", "--model", *slots, upstream=slowapi())
    began = time.monotonic()
    with RawConnection(app) as one, RawConnection(app) as two:
        for conn in (one, two):
            conn.send(REQUEST % b"0.5")
        told = [timing(conn.read_response()) for conn in (one, two)]
    taken = (time.monotonic() - began) * 1000
    for times in told:
        assert 500 <= times["upstream"] <= sum(times.values()) <= taken
    queues = [times["queue"] for times in told]
    assert max(queues) <= taken - 500 and min(queues) < 500
    assert max(queues) > 0 or taken > 1000
    assert metrics(app)["srv_queue_wait_seconds_sum"] * 1000 == pytest.approx(sum(queues), abs=0.01)


def test_refusals_tell_too_and_what_is_no_request_does_not(slowapi, serve):
    app = serve(
        "--server-timing", "--async-cores", "1", "--max-queue", "0", "--control", "127.0.0.1:0", "--graceful-timeout", "0",
        upstream=slowapi("--graceful-timeout", "0"),
    )  # fmt: skip
    with RawConnection(app) as first:
        first.send(REQUEST % b"60")
        wait_for(lambda: metrics(app).get("srv_slots_busy") == 1, what="a busy slot")
        turned_down = get(app, "/?delay=0")
        assert turned_down.status == 503 and list(timing(turned_down)) == NAMES
    malformed = raw(app, b"GET / HTTP/1.1\r\n\r\n")
    assert malformed.startswith(b"HTTP/1.1 400 ") and b"Server-Timing" not in malformed


def test_a_request_that_ran_out_of_time_says_where(slowapi, serve):
    app = serve("--server-timing", "--request-timeout", "300ms", upstream=slowapi("--graceful-timeout", "0"))
    reply = get(app, "/?delay=9")
    assert reply.status == 504 and timing(reply)["upstream"] >= 290


@pytest.mark.parametrize("model", ("green", "threaded", "pool"))
def test_what_a_handler_computes_is_its_own(slowapi, serve, model):
    app = serve("--server-timing", "--model", model, "cpu", upstream=slowapi())
    told = timing(get(app, "/?delay=0.4"))  # a half each
    assert told["handler"] >= 199 and told["upstream"] >= 199


@pytest.mark.parametrize("mode", ("blocking", "cooperative"))
def test_the_database_has_a_time_of_its_own(db, mode):
    told = timing(get(db("--server-timing", "--db-mode", mode), "/?delay=0.4"))
    assert told["db"] >= 199 and told["upstream"] >= 199 and told["handler"] < 199


OBJECT = """
static int plain(srv_request *rq) {
    srv_set(rq, "Server-Timing", "own;dur=3");
    srv_sleep(rq, 0.1);
    return srv_reply(rq, 200, "ok");
}
static int stream(srv_request *rq) {
    srv_sleep(rq, 0.1);
    srv_write(rq, "one", 3);
    srv_sleep(rq, 0.2);
    return srv_end(rq);
}
static int both(srv_request *rq) {
    static const char *const calls[] = { "?delay=0.2", "?delay=0.2" };
    const srv_response *ret[2];
    srv_get_all(rq, calls, 2, ret);
    return srv_reply(rq, 200, "%s", ret[0]->text);
}
"""


@pytest.mark.parametrize("model", ("green", "pool"))
def test_objects_tell_beside_their_own(slowapi, serve, tmp_path, model):
    source = app_of(OBJECT, {"/plain": "plain", "/stream": "stream", "/both": "both"})
    app = serve("--server-timing", "--model", model, build(tmp_path, source), upstream=slowapi())
    told = timing(get(app, "/plain"))
    assert set(told) == {*NAMES, "own"} and told["own"] == 3 and told["handler"] >= 99
    told = timing(get(app, "/stream"))
    assert told["handler"] >= 99 and "own" not in told
    began = time.monotonic()
    told = timing(get(app, "/both"))  # calls at the same time: once
    taken = (time.monotonic() - began) * 1000
    assert 199 <= told["upstream"] <= sum(told.values()) <= taken


def test_the_cpu_of_workers_is_counted(slowapi, serve):
    app = serve("--control", "127.0.0.1:0", "cpu", upstream=slowapi())
    before = metrics(app)["srv_worker_cpu_seconds_total"]
    get(app, "/?delay=0.6")
    spent = metrics(app)["srv_worker_cpu_seconds_total"]
    assert 0.29 <= spent - before <= cpu_seconds(app.pid) + 0.02
    assert "# TYPE srv_worker_cpu_seconds_total counter" in fetch(app, "/metrics").text
