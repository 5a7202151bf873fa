# SPDX-License-Identifier: MIT
"""App db against a real PostgreSQL: the lesson, the pool, and every way in which a database fails."""

import re
import signal
import threading
import time

import pytest
from control import metrics
from harness import RawConnection, free_port, get, wait_for
from postgres import Load, ask_all, statuses

MODELS = ("green", "pool", "threaded", "single")
ANSWER = re.compile(r"Hi there! slow api response \(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6}[+-]\d\d, \)")


def ways(*models):
    """(model, mode) for each --db-mode that the model has, as parameters of a test."""
    modes = [(model, mode) for model in models for mode in ("cooperative", "blocking")]
    return pytest.mark.parametrize(("model", "mode"), [*modes, ("green", "patched")], ids="-".join)


def test_blocked_green_worker_is_killed_and_the_log_names_the_request(db):
    app = db("--workers", "1", "--timeout", "1s", "--db-mode", "blocking", schema="asleep")
    with RawConnection(app) as conn:
        conn.send(b"GET /?delay=0.002 HTTP/1.1\r\nHost: x\r\n\r\n")
        assert conn.read_until_close() == b""
    assert re.search(r'worker is stuck.* request="GET /\?delay=0.002" for_seconds=\S+ in=p?poll\(2\)\n', app.stderr())
    assert wait_for(lambda: get(app, "/nope").status == 404, what="another worker")


def test_loop_lag_warning_names_the_request_that_held_everybody_up(db):
    app = db("--loop-lag-warn", "150ms", "--db-mode", "blocking")
    assert get(app, "/?delay=0.002").status == 200
    assert get(app, "/?delay=0.6").status == 200
    warning = r'the loop was held up for_seconds=0\.\d+ request="GET (\S+)" in=p?poll\(2\) near=libpq\.so\.5:PQ\w+$'
    wait_for(lambda: "/?delay=0.6" in re.findall(warning, app.stderr(), re.MULTILINE), what="a warning")
    assert app.stderr().count("--patch on, or --db-mode patched, lets most waits of libraries park") == 1


def recovers(app, path="/now"):
    """It serves again within two seconds of now."""
    start = time.monotonic()
    wait_for(lambda: get(app, path).status == 200, seconds=10, what="recovery")
    assert time.monotonic() - start < 2.5


# --- the workload ------------------------------------------------------------------


@ways(*MODELS)
def test_answers_with_api_time_and_sleep(db, model, mode):
    app = db("--model", model, "--db-mode", mode)
    start = time.monotonic()
    reply = get(app, "/?delay=0.2")
    assert (reply.status, reply.headers["content-type"]) == (200, "text/plain; charset=utf-8")
    assert ANSWER.fullmatch(reply.text), reply.text
    assert time.monotonic() - start >= 0.2
    assert re.fullmatch(r"\d{4}-.*\.\d{6}\+00", get(app, "/now").text)
    assert get(app, "/?delay=-1").status == 400
    assert get(app, "/nope").status == 404


def time_taken(srv_run, app, requests, concurrency, delay):
    done = srv_run("bench", "-q", "-n", requests, "-c", concurrency, f"{app.url}?delay={delay}")
    assert re.search(r"^Failed requests: +0$", done.stdout, re.M), done.stdout
    return float(re.search(r"^Time taken for tests: +([\d.]+)", done.stdout, re.M)[1])


def test_a_blocking_call_stops_every_green_request(db, srv_run):
    """Ideal: two rounds of 0.2 s in the API and 5 x 0.2 s in the database."""
    assert 2.3 <= time_taken(srv_run, db("--db-mode", "blocking"), 10, 5, 0.4) < 20


def test_modules_of_the_tutorial_are_the_two_modes(slowapi, start, postgres, srv_run):
    """MODULE=app is psycopg2 as it is, MODULE=patched is psycogreen; --db-mode wins."""
    env = {"PORT_API": str(slowapi().port)}
    app = start("serve", "--db", postgres.conninfo, env=env | {"MODULE": "app"})
    assert time_taken(srv_run, app, 10, 5, 0.4) >= 2.3
    for args, module in [((), "patched"), (("--db-mode", "cooperative"), "app")]:
        app = start("serve", "--db", postgres.conninfo, *args, env=env | {"MODULE": module})
        assert time_taken(srv_run, app, 10, 5, 0.4) < 2.3


@pytest.mark.parametrize("args", [("green", "cooperative"), ("green", "patched"), ("pool", "blocking"), ("threaded", "blocking")], ids="-".join)
def test_calls_that_wait_side_by_side(db, srv_run, args):
    """Ideal: two rounds of 0.4 s; one after the other in the database they would need 2.4 s."""
    model, mode = args
    assert time_taken(srv_run, db("--model", model, "--db-mode", mode), 10, 5, 0.4) < 2.3


def test_the_pool_bounds_the_time(db, postgres, srv_run):
    """20 requests of 0.2 s in the database, 4 at a time: 1 s, plus 0.2 s for the first answers of the API."""
    app = db("--db-pool", "4", name="bounded")
    taken = time_taken(srv_run, app, 20, 20, 0.4)
    assert 1.2 <= taken < 6
    assert postgres.connections("bounded") == 4


@pytest.mark.parametrize("model", ["green", "pool", "threaded"])
def test_surplus_is_refused_after_the_queue_timeout(db, postgres, model):
    app = db("--model", model, "--db-pool", "2", "--queue-timeout", "300ms", name="surplus")
    replies = ask_all(app, 6, "/?delay=1.6")
    assert statuses(replies) == {200: 2, 503: 4}
    refused = [reply for reply in replies if reply.status == 503]
    assert all(reply.headers["retry-after"] == "1" and "busy" in reply.text for reply in refused)
    assert postgres.connections("surplus") == 2


def test_connect_per_request_keeps_none(db, postgres):
    app = db("--db-connect-per-request", name="fleeting")
    assert statuses(ask_all(app, 4, "/?delay=0.1")) == {200: 4}
    wait_for(lambda: postgres.connections("fleeting") == 0, what="the end of the connections")


def test_names_are_looked_up(db, postgres):
    assert get(db(conninfo=f"host=localhost port={postgres.port} user=postgres"), "/now").status == 200


def test_a_unix_socket_serves_too(db, postgres):
    assert get(db(conninfo=f"host={postgres.folder} port={postgres.port} user=postgres"), "/now").status == 200


# --- options -----------------------------------------------------------------------


def test_the_event_model_refuses_the_app(srv_run):
    done = srv_run("serve", "--model", "event", "--bind", "127.0.0.1:0", "db")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1 and "event" in done.stderr


def test_a_bad_connection_string_is_refused_and_not_shown(srv_run):
    done = srv_run("serve", "--bind", "127.0.0.1:0", "--db", "password=hunter2 hunter3", "db")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1 and "--db" in done.stderr and "hunter" not in done.stderr


@pytest.mark.parametrize("text", ["password=hunter2 hunter3", "dbname=hunter", "host=x keepalives=0 user=hunter"])
def test_play_refuses_a_database_that_it_cannot_hand_on(srv_run, text):
    done = srv_run("play", "--db", text, "--list")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1 and "--db" in done.stderr and "hunter" not in done.stderr


def test_play_uses_the_database_that_it_is_given(srv_run, postgres):
    postgres.sql("CREATE DATABASE played")
    conninfo = postgres.conninfo.replace("dbname=postgres", "dbname=played")
    done = srv_run("play", "--db", conninfo, "-n", "4", "-c", "2", "--delay", "100ms", "db-cooperative")
    assert done.returncode == 0, done.stderr
    sessions = "SELECT sessions FROM pg_stat_database WHERE datname = 'played'"
    wait_for(lambda: int(postgres.sql(sessions)[0]) > 0, what="sessions on the server")


# --- numbers -----------------------------------------------------------------------


@pytest.mark.parametrize("model", ["green", "threaded"])
def test_the_pool_is_in_the_metrics(db, model):
    app = db("--model", model, "--control", "127.0.0.1:0", "--db-pool", "2", "--db-timeout", "900ms", schema="asleep")
    assert get(app, "/now").status == 200
    load = threading.Thread(target=ask_all, args=(app, 3, "/?delay=0"))
    load.start()
    seen = wait_for(lambda: (m := metrics(app))["srv_db_waiting"] == 1 and m, what="one that waits")
    assert (seen["srv_db_pool"], seen["srv_db_in_use"], seen["srv_db_idle"]) == (2, 2, 0)
    load.join()
    seen = metrics(app)
    assert (seen["srv_db_statements_total"], seen["srv_db_cancelled_total"], seen["srv_db_failed_total"]) == (1, 3, 3)
    assert seen["srv_db_connects_total"] >= 3
    assert (seen["srv_db_wait_seconds_count"], seen["srv_db_statement_seconds_count"]) == (4, 4)
    assert (seen["srv_db_in_use"], seen["srv_db_waiting"]) == (0, 0)


# --- errors ------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["cooperative", "blocking", "patched"])
def test_server_down_is_502_and_the_password_is_nowhere(db, mode):
    app = db("--db-mode", mode, "--log-level", "debug", conninfo=f"host=127.0.0.1 port={free_port()} password=hunter2")
    for _ in range(3):
        reply = get(app, "/now")
        assert (reply.status, reply.text) == (502, "the database cannot be reached\n")
    assert "Connection refused" in app.stderr()
    assert "hunter2" not in app.stderr()


def test_unknown_host_is_502(db):
    reply = get(db(conninfo="host=nowhere.invalid user=postgres"), "/now")
    assert reply.status == 502 and "name" in reply.text


@pytest.mark.parametrize("mode", ["cooperative", "blocking", "patched"])
def test_sql_error_is_500_and_stays_in_the_log(db, mode):
    app = db("--db-mode", mode, schema="broken", name="erring")
    for _ in range(2):
        reply = get(app, "/?delay=0")
        assert (reply.status, reply.text) == (500, "the database could not run the statement\n")
    assert 'sqlstate=P0001 error="the secret of the table"' in app.stderr()
    assert get(app, "/now").status == 200


@pytest.mark.parametrize("model", ["green", "pool", "threaded"])
def test_too_slow_is_504_and_cancelled_on_the_server(db, postgres, model):
    app = db("--model", model, "--db-timeout", "300ms", schema="asleep", name="slow")
    assert statuses(ask_all(app, 3, "/?delay=0")) == {504: 3}
    wait_for(lambda: postgres.connections("slow", "active") == 0, seconds=10, what="the cancellation")
    # A new connection has 300 ms as well, which a busy machine may not keep at once.
    wait_for(lambda: get(app, "/now").status == 200, what="an answer in time")


@pytest.mark.parametrize("model", ["green", "pool"])
def test_statement_of_a_client_that_left_is_cancelled(db, postgres, model):
    app = db("--model", model, schema="asleep", name="left")
    with RawConnection(app) as conn:
        conn.send(b"GET /?delay=0 HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_for(lambda: postgres.connections("left", "active") == 1, what="the statement")
    wait_for(lambda: postgres.connections("left", "active") == 0, what="the cancellation")
    assert get(app, "/now").status == 200


def test_a_full_server_is_503_with_advice(db, postgres):
    app = db(conninfo=f"host=127.0.0.1 port={postgres.port} user=few dbname=postgres", name="full")
    assert get(app, "/now").status == 200
    replies = ask_all(app, 3, "/?delay=0.6")
    assert set(statuses(replies)) == {200, 503}
    assert "sqlstate=53300" in app.stderr() and "--db-pool" in app.stderr()


def test_a_pool_that_cannot_fit_is_announced(db):
    app = db("--db-pool", "98")
    assert get(app, "/now").status == 200
    assert "max_connections leaves 97" in app.stderr()


# --- a server that goes away ---------------------------------------------------------


@ways("green", "pool")
def test_idle_connections_that_were_terminated_are_not_used(db, postgres, model, mode):
    app = db("--model", model, "--db-mode", mode, "--db-pool", "4", name="idle")
    assert statuses(ask_all(app, 4, "/?delay=0.2")) == {200: 4}
    assert postgres.terminate("idle") >= 1
    wait_for(lambda: postgres.connections("idle") == 0, what="the end of the connections")
    assert statuses(ask_all(app, 4, "/?delay=0.2")) == {200: 4}
    assert postgres.connections("idle") <= 4


def test_connections_terminated_under_load_are_replaced(db, postgres):
    """A goodbye in good order means that nothing was kept: the statement runs once more."""
    app = db("--db-pool", "4", name="hit")
    assert statuses(ask_all(app, 4, "/?delay=0.2")) == {200: 4}
    replies = []
    load = threading.Thread(target=lambda: replies.extend(ask_all(app, 8, "/?delay=1")))
    load.start()
    wait_for(lambda: postgres.connections("hit", "active") == 4, what="the load")
    assert postgres.terminate("hit") == 4
    load.join()
    assert set(statuses(replies)) <= {200, 502}
    assert statuses(replies)[200] >= 4
    assert all(ANSWER.fullmatch(reply.text) for reply in replies if reply.status == 200)
    assert postgres.connections("hit") <= 4


@pytest.mark.parametrize("model", ["green", "pool"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT], ids=["fast", "immediate"])
def test_a_restart_under_load_leaves_no_trace(db, postgres, model, number):
    app = db("--model", model, "--db-pool", "4", name="restart")
    with Load(app, "/?delay=0.05", 6) as load:
        wait_for(lambda: len(load.replies) > 20, what="the load")
        postgres.stop(number)
        time.sleep(0.3)
        postgres.start()
        recovers(app)
    assert set(statuses(load.replies)) <= {200, 502, 503}
    assert all(ANSWER.fullmatch(reply.text) for reply in load.replies if reply.status == 200)
    assert statuses(ask_all(app, 8, "/?delay=0.1")) == {200: 8}
    assert postgres.connections("restart") <= 4


@pytest.mark.parametrize("model", ["green", "threaded"])
def test_a_paused_server_is_504_until_it_goes_on(db, postgres, model):
    app = db("--model", model, "--db-pool", "4", "--db-timeout", "400ms", name="paused")
    assert statuses(ask_all(app, 4, "/now")) == {200: 4}
    postgres.signal_all(signal.SIGSTOP)
    try:
        assert statuses(ask_all(app, 6, "/now")) == {504: 6}
    finally:
        postgres.signal_all(signal.SIGCONT)
    recovers(app)
    assert statuses(ask_all(app, 8, "/?delay=0.1")) == {200: 8}
    wait_for(lambda: postgres.connections("paused") <= 4, what="the end of old connections")
