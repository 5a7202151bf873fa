# SPDX-License-Identifier: MIT
"""--db-mode patched: the calls of blocking mode, whose waits park the green thread."""

import threading
import time
from pathlib import Path

import pytest
from control import metrics
from harness import RawConnection, get, wait_for
from postgres import ask_all, statuses
from test_db import ANSWER, time_taken
from test_db_faults import silent


@pytest.fixture
def patched(db):
    return lambda *args, **options: db("--model", "green", "--db-mode", "patched", *args, **options)


def threads(app):
    return len(list(Path(f"/proc/{app.pid}/task").iterdir()))


def test_blocking_calls_wait_side_by_side_on_one_thread(patched, srv_run):
    """Two rounds of 0.4 s; blocking, they would need 2.4 s."""
    app = patched()
    assert ANSWER.fullmatch(get(app, "/?delay=0.01").text)
    before = threads(app)
    assert time_taken(srv_run, app, 10, 5, 0.4) < 2.3
    assert threads(app) == before


def test_connecting_waits_side_by_side_as_well(patched, postgres, srv_run):
    app = patched("--db-connect-per-request", name="fleeting-patched")
    assert time_taken(srv_run, app, 20, 10, 0.2) < 2.3
    wait_for(lambda: postgres.connections("fleeting-patched") == 0, what="the end of the connections")


def test_connecting_holds_nobody_up(patched):
    """A server that takes connections and says nothing."""
    with silent(False) as port:
        app = patched("--db-timeout", "3s", conninfo=f"host=127.0.0.1 port={port}")
        replies = []
        load = threading.Thread(target=lambda: replies.extend(ask_all(app, 3, "/now")))
        load.start()
        while load.is_alive():
            start = time.monotonic()
            assert get(app, "/nope").status == 404
            assert time.monotonic() - start < 2.5
            load.join(0.1)
        assert statuses(replies) == {504: 3}


@pytest.mark.parametrize("option", ["--request-timeout", "--db-timeout"])
def test_a_deadline_reaches_into_the_statement_and_it_is_cancelled(patched, postgres, option):
    app = patched(option, "700ms", schema="asleep", name="late-patched")
    start = time.monotonic()
    assert statuses(ask_all(app, 3, "/?delay=0")) == {504: 3}
    assert 0.7 <= time.monotonic() - start < 5
    wait_for(lambda: postgres.connections("late-patched", "active") == 0, seconds=10, what="the cancellation")
    wait_for(lambda: get(app, "/now").status == 200, what="an answer in time")


def test_who_leaves_frees_the_slot_and_the_statement_is_cancelled(patched, postgres):
    app = patched("--async-cores", "1", schema="asleep", name="left-patched")
    with RawConnection(app) as conn:
        conn.send(b"GET /?delay=0 HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_for(lambda: postgres.connections("left-patched", "active") == 1, what="the statement")
    start = time.monotonic()
    assert get(app, "/now").status == 200
    assert time.monotonic() - start < 5  # the statement has a minute
    wait_for(lambda: postgres.connections("left-patched", "active") == 0, what="the cancellation")


def test_the_pool_is_shared_as_in_other_modes(patched, postgres):
    app = patched("--db-pool", "2", "--queue-timeout", "300ms", name="surplus-patched")
    replies = ask_all(app, 6, "/?delay=1.6")
    assert statuses(replies) == {200: 2, 503: 4}
    assert postgres.connections("surplus-patched") == 2


def test_waits_are_counted(patched):
    app = patched("--control", "127.0.0.1:0", "--db-timeout", "300ms", schema="asleep")
    assert get(app, "/now").status == 200
    waits = metrics(app)["srv_patched_waits_total"]
    assert statuses(ask_all(app, 2, "/?delay=0")) == {504: 2}
    seen = metrics(app)
    assert seen["srv_patched_waits_total"] > waits and seen["srv_patch_refused_total"] >= 2
    assert seen["srv_db_cancelled_total"] == 2


@pytest.mark.parametrize(
    "args, told",
    [
        (("--model", "pool"), "--db-mode: patched parks green threads"),
        (("--model", "single"), "--db-mode: patched parks green threads"),
        (("--patch", "off"), "--db-mode: patched does nothing where --patch"),
    ],
)
def test_where_nothing_parks_it_is_refused(srv_run, args, told):
    done = srv_run("serve", "--bind", "127.0.0.1:0", *args, "--db-mode", "patched", "db")
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and told in done.stderr
