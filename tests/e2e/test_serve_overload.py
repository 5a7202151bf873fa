# SPDX-License-Identifier: MIT
"""srv serve under more than it can do: a bounded queue, and no work for clients that have gone."""

import concurrent.futures
import os
import resource
import socket
import struct
import threading
import time

import pytest
from control import metrics
from harness import RawConnection, get, wait_for
from upstreams import Upstream

GREEN = ("--async-cores", "5")
POOL = ("--model", "pool", "--threads", "5")
EVENT = ("--model", "event", "--async-cores", "5")
SLOTTED = (GREEN, POOL, EVENT)


def ask(conn, delay):
    conn.send(b"GET /?delay=%s HTTP/1.1\r\nHost: x\r\n\r\n" % str(delay).encode())


def final(conn):
    """The next response that is not an interim one."""
    while (reply := conn.read_response()).status < 200:
        pass
    return reply


def timed_get(app, delay):
    start = time.monotonic()
    reply = get(app, f"/?delay={delay}")
    return reply, time.monotonic() - start


def reset(conn):
    conn.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    conn.sock.close()


# --- who has no queue -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "args",
    [
        ("--max-queue", "3", "--model", "single"),
        ("--max-queue", "3", "--model", "threaded"),
        ("--max-queue", "3"),
        ("--max-queue", "3", "--model", "event"),
        ("--queue-timeout", "1s", "--model", "single"),
        ("--queue-timeout", "1s", "--model", "threaded"),
        ("--queue-timeout", "1s"),
        ("--keep-alive", "9s", "--model", "single"),
        ("--keep-alive-requests", "9", "--model", "single"),
        ("--upstream-max", "9", "echo"),
        ("--upstream", "http://127.0.0.1:9/", "--model", "event", "echo"),
        ("--upstream-client", "curl", "--model", "event"),
        ("--upstream-ca", "/etc/hostname"),
        ("--uwsgi-allow-from", "10.0.0.0/8", "--bind", "127.0.0.1:0"),
        ("--threads", "3"),
        ("--threads", "3", "--model", "threaded"),
        ("--spawn", "lazy", "--model", "event"),
        ("--async-cores", "3", "--model", "pool"),
        ("--max-threads", "3", "--model", "pool"),
        ("--loop-lag-warn", "1s", "--model", "threaded"),
        ("--timeout", "5s"),
        ("--max-requests", "5"),
        ("--max-requests-jitter", "5", "--workers", "1"),
        ("--access-log-slow", "1s"),
        ("--access-logformat", "json"),
        ("--db-pool", "5"),
        ("--db-mode", "blocking", "--model", "pool", "echo"),
    ],
    ids="".join,
)
def test_options_without_effect_are_refused(srv_run, args):
    done = srv_run("serve", "--bind", "127.0.0.1:0", *args)
    assert done.returncode == 2 and done.stderr.startswith(f"srv serve: {args[0]}: ") and done.stderr.count("\n") == 1


@pytest.mark.parametrize("model", ["single", "threaded", "pool", "green", "event"])
def test_defaults_from_the_environment_are_for_whom_they_suit(serve, model):
    app = serve("--model", model, env={"THREADS": "3", "ASYNC_CORES": "3"})
    assert get(app, "/nope").status == 404


# --- the queue -----------------------------------------------------------------------------


@pytest.mark.parametrize("slots", SLOTTED, ids=("green", "pool", "event"))
def test_a_full_queue_answers_503_at_once(slowapi, serve, slots):
    app = serve(*slots, "--max-queue", "5", upstream=slowapi())
    with concurrent.futures.ThreadPoolExecutor(30) as clients:
        done = list(clients.map(lambda _: timed_get(app, 0.5), range(30)))
    served = [seconds for reply, seconds in done if reply.status == 200]
    refused = [(reply, seconds) for reply, seconds in done if reply.status == 503]
    assert len(served) == 10 and len(refused) == 20
    assert max(served) < 2.5
    assert sorted(seconds for _, seconds in refused)[10] < 0.25
    assert all(reply.headers["retry-after"] == "1" for reply, _ in refused)


@pytest.mark.parametrize("slots", SLOTTED, ids=("green", "pool", "event"))
def test_a_refused_client_may_ask_again_on_its_connection(slowapi, serve, slots):
    app = serve(*slots[:-1], "1", "--max-queue", "0", upstream=slowapi())
    with RawConnection(app) as busy, RawConnection(app) as other:
        ask(busy, 0.4)
        time.sleep(0.1)
        ask(other, 0)
        assert other.read_response().status == 503
        assert busy.read_response().status == 200
        time.sleep(0.1)  # a thread gives its slot back just after its answer
        ask(other, 0)
        assert other.read_response().status == 200


def test_pipelined_requests_behind_a_refused_one_are_not_served(slowapi, serve):
    app = serve("--async-cores", "1", "--max-queue", "0", upstream=slowapi())
    with RawConnection(app) as busy, RawConnection(app) as other:
        ask(busy, 0.4)
        time.sleep(0.1)
        other.send(b"GET /nope HTTP/1.1\r\nHost: x\r\n\r\n" * 500)
        reply = other.read_response()
        assert (reply.status, reply.headers["connection"]) == (503, "close")
        assert other.read_until_close() == b""
        assert busy.read_response().status == 200


@pytest.mark.parametrize("slots", SLOTTED, ids=("green", "pool", "event"))
def test_queue_timeout_turns_down_what_waited(slowapi, serve, slots):
    app = serve(*slots[:-1], "1", "--max-queue", "5", "--queue-timeout", "200ms", upstream=slowapi())
    with RawConnection(app) as busy, RawConnection(app) as other:
        ask(busy, 0.8)
        time.sleep(0.1)
        start = time.monotonic()
        ask(other, 0)
        assert other.read_response().status == 503
        assert time.monotonic() - start < 0.65
        assert busy.read_response().status == 200


def test_full_workers_queue_and_refuse_too(slowapi, serve):
    """Two workers with two slots and a queue of two each: eight are served, whoever accepted them."""
    app = serve("--workers", "2", "--async-cores", "2", "--max-queue", "2", upstream=slowapi())
    with concurrent.futures.ThreadPoolExecutor(20) as clients:
        done = list(clients.map(lambda _: timed_get(app, 0.5), range(20)))
    statuses = sorted(reply.status for reply, _ in done)
    assert set(statuses) == {200, 503} and 4 <= statuses.count(200) <= 8


# --- clients that leave -----------------------------------------------------------------------


def leave(app, count, how):
    conns = [RawConnection(app) for _ in range(count)]
    for conn in conns:
        ask(conn, 0.5)
    time.sleep(0.1)
    for conn in conns:
        how(conn)


@pytest.mark.parametrize("how", [lambda conn: conn.close(), reset], ids=("close", "reset"))
@pytest.mark.parametrize(
    "args",
    [
        GREEN,
        (*GREEN, "--max-queue", "5"),
        POOL,
        (*POOL, "--max-queue", "5"),
        EVENT,
        (*EVENT, "--max-queue", "5"),
        ("--model", "threaded"),
    ],
    ids=("green", "green+queue", "pool", "pool+queue", "event", "event+queue", "threaded"),
)
def test_work_of_clients_that_left_is_dropped(slowapi, serve, args, how):
    app = serve(*args, upstream=slowapi("--graceful-timeout", "0"))
    best = 9
    for _ in range(3):  # a busy machine may need another try
        leave(app, 20, how)
        reply, seconds = timed_get(app, 0.5)
        assert reply.text == "Hi there! slow api response"
        best = min(best, seconds)
        if best < 0.6:
            return
    assert best < 1.0  # five slots working for the dead would take 2.4 s


def test_single_drops_the_request_of_who_left(slowapi, serve):
    app = serve("--model", "single", upstream=slowapi("--graceful-timeout", "0"))
    with RawConnection(app) as conn:
        ask(conn, 30)
        time.sleep(0.1)
    assert timed_get(app, 0)[1] < 5


ALL = [GREEN, POOL, EVENT, ("--model", "threaded"), ("--model", "single")]


@pytest.mark.parametrize("args", ALL)
def test_half_close_alone_does_not_count_as_gone(slowapi, serve, args):
    """It is asked with an interim answer, which HTTP/1.1 clients skip; HTTP/1.0 gets none, nor do short requests."""
    app = serve(*args, upstream=slowapi())
    with RawConnection(app) as conn:
        ask(conn, 2.8)
        conn.half_close()
        assert conn.read_response().status == 100
        assert final(conn).status == 200
        assert conn.read_until_close() == b""
    for version, delay in ((b"1.1", b"0.8"), (b"1.0", b"2.3")):
        with RawConnection(app) as conn:
            conn.send(b"GET /?delay=" + delay + b" HTTP/" + version + b"\r\nHost: x\r\n\r\n")
            conn.half_close()
            assert conn.read_response().status == 200


@pytest.mark.parametrize("args", ALL)
def test_half_close_means_what_is_asked_for(slowapi, serve, args):
    api = slowapi("--half-close", "wait", "--graceful-timeout", "0")
    app = serve(*args, "--half-close", "gone", upstream=api)
    with RawConnection(app) as conn:
        start = time.monotonic()
        ask(conn, 15)
        conn.half_close()
        assert conn.read_until_close() == b"" and time.monotonic() - start < 10
    app = serve(*args, "--half-close", "wait", upstream=api)
    with RawConnection(app) as conn:
        ask(conn, 2.3)
        conn.half_close()
        assert conn.read_response().status == 200


def test_who_needs_the_slot_of_a_half_closed_client_gets_it_soon(slowapi, serve):
    """Nobody waited when the client left: it is asked when somebody does."""
    app = serve("--async-cores", "1", upstream=slowapi("--graceful-timeout", "0"))
    best = 9
    for _ in range(3):  # a busy machine may need another try
        with RawConnection(app) as conn:
            ask(conn, 15)
            time.sleep(0.1)
        time.sleep(0.1)
        best = min(best, timed_get(app, 0)[1])
    assert best < 1


def test_a_queued_client_may_half_close_too(slowapi, serve):
    app = serve("--async-cores", "1", "--max-queue", "5", upstream=slowapi())
    with RawConnection(app) as busy, RawConnection(app) as other:
        ask(busy, 0.4)
        time.sleep(0.05)
        ask(other, 0)
        other.half_close()
        assert busy.read_response().status == 200
        assert final(other).status == 200


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("slots", SLOTTED)
def test_busy_connections_do_not_lock_out_new_ones(slowapi, serve, slots, workers):
    """More of them than there are slots, and each has the next request ready."""
    app = serve(*slots, "--workers", str(workers), upstream=slowapi())
    conns = [RawConnection(app) for _ in range(14 if workers else 10)]
    for conn in conns:
        conn.send(b"GET /?delay=0.1 HTTP/1.1\r\nHost: x\r\n\r\n" * 30)
    time.sleep(0.1)
    assert timed_get(app, 0)[1] < 2
    for conn in conns:
        conn.close()


@pytest.mark.parametrize("slots", SLOTTED, ids=("green", "pool", "event"))
def test_connections_that_are_one_request_ahead_do_not_lock_out_new_ones(slowapi, serve, slots):
    """As many as there are slots; the next request comes while one is served, and is read after its answer."""
    app = serve(*slots[:-1], "1", "--workers", "2", upstream=slowapi())
    conns = []
    for _ in range(2):  # the other worker takes the second one
        conns.append(RawConnection(app))
        ask(conns[-1], 0.3)
        time.sleep(0.1)
        ask(conns[-1], 0.3)
    with concurrent.futures.ThreadPoolExecutor(1) as newcomer:
        served = newcomer.submit(get, app, "/?delay=0")
        for _ in range(10):
            for conn in conns:
                assert conn.read_response().status == 200
                time.sleep(0.05)  # it is not read together with the one before
                ask(conn, 0.3)
        was_served = served.done()
        for conn in conns:
            conn.close()
        assert served.result().status == 200
    assert was_served


# --- the bulkhead before the upstream ---------------------------------------------------------


@pytest.mark.parametrize("slots", SLOTTED, ids=("green", "pool", "event"))
def test_queue_timeout_reaches_the_backlog_of_several_workers(slowapi, serve, slots):
    app = serve(*slots[:-1], "1", "--workers", "2", "--queue-timeout", "200ms", upstream=slowapi())
    assert get(app, "/?delay=0").status == 200
    with concurrent.futures.ThreadPoolExecutor(8) as clients:
        done = list(clients.map(lambda _: timed_get(app, 2), range(8)))
    statuses = [reply.status for reply, _ in done]
    assert statuses.count(503) >= 5 and set(statuses) == {200, 503}


@pytest.mark.parametrize("model", ["green", "pool", "threaded", "event"])
def test_upstream_max_lets_calls_through_in_turn(slowapi, serve, model):
    app = serve("--model", model, "--upstream-max", "2", upstream=slowapi())
    start = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(6) as clients:
        done = list(clients.map(lambda _: timed_get(app, 0.2), range(6)))
    assert [reply.status for reply, _ in done] == [200] * 6
    assert 0.6 <= time.monotonic() - start < 3


@pytest.mark.parametrize("model", ["green", "pool", "event"])
def test_upstream_max_turns_down_what_waits_too_long(slowapi, serve, model):
    limits = ("--upstream-max", "1", "--queue-timeout", "200ms", "--control", "127.0.0.1:0")
    app = serve("--model", model, *limits, upstream=slowapi())
    with RawConnection(app) as busy:
        ask(busy, 0.8)
        time.sleep(0.1)
        reply, seconds = timed_get(app, 0)
        assert reply.status == 503 and reply.headers["retry-after"] == "1" and seconds < 0.65
        assert busy.read_response().status == 200
    assert get(app, "/?delay=0").status == 200
    assert metrics(app)["srv_expired_total"] == 1


@pytest.mark.parametrize("model", ["green", "pool", "event"])
def test_who_leaves_while_waiting_for_the_upstream_takes_no_place(slowapi, serve, model):
    app = serve("--model", model, "--upstream-max", "1", upstream=slowapi("--graceful-timeout", "0"))
    leave(app, 10, lambda conn: conn.close())
    assert timed_get(app, 0)[1] < 2


@pytest.mark.parametrize("model", ["green", "pool", "event"])
def test_who_waits_for_the_upstream_is_not_overtaken(slowapi, serve, model):
    app = serve("--model", model, "--upstream-max", "1", upstream=slowapi())
    with RawConnection(app) as many, RawConnection(app) as one:
        many.send(b"GET /?delay=0.3 HTTP/1.1\r\nHost: x\r\n\r\n" * 4)
        time.sleep(0.1)
        ask(one, "0")
        assert one.read_response().status == 200
        started = time.monotonic()
        assert [many.read_response().status for _ in range(4)] == [200] * 4
        assert time.monotonic() - started > 0.5


def test_calls_that_fail_at_once_need_no_stack_for_those_behind_them(serve):
    """Each hands its place to the next, which fails as well; the stack has room for some dozens of them."""

    def answer_late(conn, _count):
        conn.recv(4096)
        ready.wait(20)
        conn.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")

    ready = threading.Event()
    upstream = Upstream(answer_late)
    app = serve("--model", "event", "--upstream-max", "1", "--upstream", upstream.url)

    def descriptors():
        return len(os.listdir(f"/proc/{app.pid}/fd"))

    with RawConnection(app) as conn:  # its loop runs, with all that it opens
        conn.send(b"GET /nope HTTP/1.1\r\nHost: x\r\n\r\n")
        assert conn.read_response().status == 404
        at_rest = descriptors() - 1
    wait_for(lambda: descriptors() == at_rest, what="the first connection closed")
    conns = [RawConnection(app) for _ in range(600)]
    wait_for(lambda: descriptors() == at_rest + len(conns), what="all accepted")
    for conn in conns:
        ask(conn, 0)
    wait_for(lambda: descriptors() == at_rest + len(conns) + 1, what="one call begun, with the last descriptor")
    time.sleep(0.3)
    few = descriptors()
    before = resource.prlimit(app.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(app.pid, resource.RLIMIT_STACK, (131072, 131072))
    resource.prlimit(app.pid, resource.RLIMIT_NOFILE, (few - 1, before[1]))
    ready.set()
    assert sorted({conn.read_response().status for conn in conns}) == [200, 503]
    resource.prlimit(app.pid, resource.RLIMIT_NOFILE, before)
    for conn in conns:
        conn.close()
    assert get(app, "/?delay=0").status == 200
    upstream.close()


@pytest.mark.parametrize("body", [0, 3_000_000])
def test_who_finds_no_thread_reads_why_though_it_sends_on(slowapi, serve, body):
    app = serve("--model", "threaded", "--max-threads", "1", upstream=slowapi())
    with RawConnection(app) as busy, RawConnection(app) as conn:
        ask(busy, 1)
        conn.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (10 + body))
        time.sleep(0.3)  # it has been turned down
        conn.send(b"x" * (10 + body))
        assert conn.read_response().status == 503
        assert conn.sock.recv(1) == b""  # and no reset
        assert busy.read_response().status == 200


def test_who_is_turned_away_and_stays_is_closed(slowapi, serve):
    """More of them than wait to be closed at once."""
    app = serve("--model", "threaded", "--max-threads", "1", upstream=slowapi())
    descriptors = f"/proc/{app.pid}/fd"
    with RawConnection(app) as busy:
        ask(busy, 4)
        before = wait_for(lambda: len(os.listdir(f"/proc/{app.pid}/task")) == 2 and len(os.listdir(descriptors)))
        conns = [RawConnection(app) for _ in range(100)]
        for conn in conns:
            assert conn.read_response().status == 503
        wait_for(lambda: len(os.listdir(descriptors)) <= before, what="the end of all of them")
        for conn in conns:
            conn.close()
        assert busy.read_response().status == 200


# --- slow clients --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "args", [(), ("--model", "pool", "--threads", "4"), ("--model", "event")], ids=("green", "pool", "event")
)
def test_slow_clients_hold_no_slot(slowapi, serve, args):
    """200 clients that dawdle over their heads and bodies, and some that do not read."""
    app = serve(*args, upstream=slowapi())
    conns = [RawConnection(app) for _ in range(200)]
    for number, conn in enumerate(conns):
        if number % 3 == 0:
            conn.send(b"GET /?delay=0 HTTP/1.1\r\nHost: x\r\nX-a: ")
        elif number % 3 == 1:
            conn.send(b"POST /?delay=0 HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf")
        else:
            conn.send(b"GET /?delay=0 HTTP/1.1\r\nHost: x\r\n\r\n" * 3)
    slowest = max(timed_get(app, 0)[1] for _ in range(20))
    for conn in conns:
        conn.close()
    assert slowest < 1
