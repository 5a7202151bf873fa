# SPDX-License-Identifier: MIT
"""App db when its database is behind a pooler, hangs, fails over, comes back, or answers what nobody expected."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

import pytest
from control import metrics
from harness import children, get, wait_for
from postgres import Load, Pgbouncer, Postgres, Wire, ask_all, statuses
from test_db import ways


def timed(function):
    start = time.monotonic()
    return function(), time.monotonic() - start


@contextlib.contextmanager
def refusing():
    """A port that refuses: bound, so that nobody else comes to listen there meanwhile."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock.getsockname()[1]


# --- poolers and prepared statements ---------------------------------------------------


@pytest.mark.parametrize("mode", ["cooperative", "blocking"])
@pytest.mark.parametrize("pool_mode", ["transaction", "session", "statement"])
def test_every_request_behind_a_pooler_is_answered(db, postgres, pool_mode, mode):
    with Pgbouncer(postgres, pool_mode, size=6) as pooler:
        for _ in range(2):  # the second one finds what the first has prepared
            app = db("--db-mode", mode, "--model", "pool", "--db-pool", "6", conninfo=pooler.conninfo)
            for _ in range(5):
                assert statuses(ask_all(app, 12, "/?delay=0.02") + ask_all(app, 12, "/now")) == {200: 24}
            warnings = app.stderr().count("statements are not prepared any more")
            assert warnings == 0 if pool_mode == "session" else warnings <= 1
            app.stop()


def test_a_pooler_in_transaction_mode_is_noticed_once_per_worker(db, postgres):
    with Pgbouncer(postgres, "transaction") as pooler:
        app = db("--db-pool", "8", conninfo=pooler.conninfo)
        for _ in range(20):
            assert statuses(ask_all(app, 8, "/?delay=0.01")) == {200: 8}
        assert app.stderr().count("statements are not prepared any more") == 1
        assert app.stderr().count("(--db-prepare off)") == 1


def prepared(postgres, app):
    """How many statements the server has prepared for a connection, as that says itself: through app db, whose
    NOW() is replaced."""
    return get(app, "/now").text


def test_statements_are_prepared_unless_asked_not_to(db, postgres):
    postgres.sql("CREATE SCHEMA IF NOT EXISTS prepared")
    postgres.sql(
        "CREATE OR REPLACE FUNCTION prepared.now() RETURNS text LANGUAGE sql VOLATILE AS "
        "$$ SELECT count(*) || ' ' || coalesce(min(name), '') FROM pg_prepared_statements $$"
    )
    name = r"1 srv_\d+_[0-9a-f]{8}_\d+"
    assert re.fullmatch(name, prepared(postgres, db(schema="prepared")))
    assert re.fullmatch("0 ", prepared(postgres, db("--db-prepare", "off", schema="prepared")))


@pytest.mark.parametrize("mode", ["cooperative", "blocking"])
def test_a_table_that_changes_fails_no_request(db, postgres, mode):
    """0A000: a prepared plan must not change what it answers. All connections of the pool have one."""
    postgres.sql("CREATE SCHEMA IF NOT EXISTS changing")
    create = "CREATE FUNCTION changing.now() RETURNS {} LANGUAGE sql AS $$ SELECT '{}'::{} $$"
    postgres.sql("DROP FUNCTION IF EXISTS changing.now()")
    postgres.sql(create.format("text", "before", "text"))
    app = db("--db-mode", mode, "--model", "pool", "--db-pool", "4", schema="changing", name="changing")
    ask_all(app, 8, "/?delay=0.05")
    assert {get(app, "/now").text for _ in range(8)} == {"before"}
    postgres.sql("BEGIN; DROP FUNCTION changing.now(); " + create.format("integer", "7", "integer") + "; COMMIT")
    assert statuses(ask_all(app, 8, "/?delay=0.05")) == {200: 8}
    assert {get(app, "/now").text for _ in range(8)} == {"7"}
    assert "not prepared any more" not in app.stderr()


def test_what_a_reset_discards_is_prepared_anew(db):
    app = db("--db-reset", "DISCARD ALL", "--db-pool", "2")
    for _ in range(5):
        assert statuses(ask_all(app, 4, "/?delay=0.02")) == {200: 4}
    assert "WARN" not in app.stderr()


@pytest.mark.parametrize("model", ["green", "pool"])
def test_a_reset_runs_before_anybody_else_gets_the_connection(db, postgres, model):
    reset = "SET application_name = 'cleaned'; SELECT 1"
    app = db("--model", model, "--db-reset", reset, name="soiled")
    assert get(app, "/now").status == 200
    wait_for(lambda: postgres.connections("cleaned", "idle") == 1, what="the reset")
    assert get(app, "/now").status == 200
    assert postgres.connections("soiled") == 0
    app.stop()
    wait_for(lambda: postgres.connections("cleaned") == 0, what="the end of the connection")


@pytest.mark.parametrize("reset, why", [("SELECT 1/0", "division by zero"), ("SELECT pg_sleep(60)", "--db-reset")])
def test_a_connection_whose_reset_fails_is_closed(db, postgres, reset, why):
    app = db("--db-reset", reset, name="unclean")
    assert get(app, "/now").status == 200
    wait_for(lambda: postgres.connections("unclean") == 0, what="the end of the connection")
    assert why in app.stderr()
    assert get(app, "/now").status == 200


# --- results -----------------------------------------------------------------------------


@pytest.mark.parametrize("schema, reply", [("empty", (500, "the database answered without a row\n")), ("void", (200, ""))])
@pytest.mark.parametrize("path", ["/now", "/?delay=0"])
def test_a_result_without_values_is_an_answer(db, schema, reply, path):
    app = db("--workers", "1", schema=schema)
    for _ in range(3):
        answer = get(app, path)
        assert answer.status == reply[0]
        assert answer.text == reply[1] if path == "/now" or reply[0] == 500 else "(, )" in answer.text
    assert len(children(app.pid)) == 1 and "worker ended" not in app.stderr()


def most_memory(pid):
    """MiB that it has had at once."""
    return int(re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1]) / 1024


@pytest.mark.parametrize("mode", ["cooperative", "blocking", "patched"])
@pytest.mark.parametrize("schema", ["rows", "large"])
def test_a_result_above_the_limit_is_500_with_the_reason(db, postgres, schema, mode):
    app = db("--db-mode", mode, "--db-result-max", "1m", schema=schema, name="limited")
    reply = get(app, "/now")
    assert (reply.status, reply.text) == (500, "the result of the statement is too large\n")
    assert 'error="the result is larger than --db-result-max (1048576)"' in app.stderr()
    wait_for(lambda: postgres.connections("limited") == 0, what="the end of the connection")


def test_memory_is_bounded_while_a_result_is_received(db):
    """300 MB of rows, of which libpq holds two copies when it may."""
    app = db("--db-result-max", "1m", schema="rows")
    before = most_memory(app.pid)
    for _ in range(2):
        assert get(app, "/now").status == 500
    assert most_memory(app.pid) - before < 80
    assert "--db-result-max" in app.stderr()


def test_a_result_that_grew_is_bounded_as_any(db, postgres):
    """Results of a statement that were small are taken as a whole; this one becomes 50 KB, 300 MB, and small again."""
    postgres.sql(
        "CREATE SCHEMA growing; CREATE TABLE growing.size AS SELECT 1 AS n; "
        "CREATE FUNCTION growing.now() RETURNS SETOF text LANGUAGE sql VOLATILE AS "
        "$$ SELECT repeat('x', 1000) FROM growing.size, generate_series(1, n) $$"
    )
    app = db("--db-pool", "1", "--db-result-max", "1m", schema="growing")
    before = most_memory(app.pid)
    for rows, status in [(1, 200), (50, 200), (300_000, 500), (1, 200), (300_000, 500), (1, 200)]:
        postgres.sql(f"UPDATE growing.size SET n = {rows}")
        assert [get(app, "/now").status for _ in range(3)] == [status] * 3
    assert most_memory(app.pid) - before < 80
    assert app.stderr().count("the result is larger than --db-result-max (1048576)") == 6


def test_a_single_value_above_the_limit_is_refused_each_time(db, postgres):
    """300 MB in one value: libpq reads it for as long as bytes arrive, so that its memory is bounded by nothing but the
    value (docs/db.md). It is refused, and the connection with libpq's buffers is closed."""
    app = db("--db-result-max", "1m", schema="wide", name="wide")
    for _ in range(2):
        assert get(app, "/now").status == 500
        wait_for(lambda: postgres.connections("wide") == 0, what="the end of the connection")
    assert app.stderr().count("the result is larger than --db-result-max (1048576)") == 2


def test_results_up_to_the_limit_are_answered(db, postgres):
    app = db("--db-result-max", "4m", schema="large", name="roomy")
    assert get(app, "/now").body == b"x" * 3000000
    wait_for(lambda: postgres.connections("roomy") == 0, what="the end of a connection with large buffers")
    assert get(app, "/now").body == b"x" * 3000000


def test_an_error_without_a_message_has_a_reason_in_the_log(db):
    app = db(schema="speechless")
    assert get(app, "/?delay=0").status == 500
    assert 'sqlstate=P0001 error="' in app.stderr() and 'error=""' not in app.stderr()


# --- reloads -----------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["green", "pool", "threaded"])
@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGUSR2], ids=["HUP", "USR2"])
def test_a_reload_needs_no_connections_twice(db, postgres, tmp_path, model, number):
    """The server has a dozen connections, and so have the workers."""
    pid_file = tmp_path / "pid"
    conninfo = postgres.conninfo.replace("user=postgres", "user=dozen")
    app = db("--model", model, "--workers", "2", "--db-pool", "6", "--graceful-timeout", "20s", "--pid", pid_file,
             conninfo=conninfo, name="reloaded")  # fmt: skip
    wait_for(lambda: pid_file.exists() and len(children(app.pid)) == 2, what="two workers")
    first = set(children(app.pid))
    with Load(app, "/?delay=0.02", 10) as load:
        wait_for(lambda: len(load.replies) > 100, what="the load")
        app.send_signal(number)
        wait_for(lambda: not first & {int(p.name) for p in Path("/proc").glob("[0-9]*")}, 30, "the end of the old workers")
        count = len(load.replies)
        wait_for(lambda: len(load.replies) > count + 100, what="more load")
    assert set(statuses(load.replies)) == {200}
    if number == signal.SIGUSR2:
        os.kill(int(pid_file.read_text()), signal.SIGTERM)
        app.wait()


@pytest.mark.parametrize("model", ["green", "pool", "threaded"])
def test_a_worker_that_stops_gives_idle_connections_back_at_once(db, postgres, model):
    app = db("--model", model, "--graceful-timeout", "20s", "--db-pool", "4", name="leaving")
    ask_all(app, 4, "/?delay=0.2")
    assert postgres.connections("leaving") > 1
    slow = threading.Thread(target=get, args=(app, "/?delay=3"))
    slow.start()
    wait_for(lambda: postgres.connections("leaving", "active") == 1, what="a statement in progress")
    app.send_signal(signal.SIGTERM)
    wait_for(lambda: postgres.connections("leaving") == 1, seconds=1, what="the end of the idle ones")
    slow.join()
    app.wait()


# --- servers that hang -------------------------------------------------------------------


@contextlib.contextmanager
def silent(full):
    """A port that takes connections and says nothing; `full`: that does not even take them."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        port = listener.getsockname()[1]
        plugs = [socket.socket() for _ in range(4 if full else 0)]
        for plug in plugs:
            plug.setblocking(False)
            plug.connect_ex(("127.0.0.1", port))
        yield port
        for plug in plugs:
            plug.close()


@pytest.mark.parametrize("full", [False, True], ids=["mute", "full"])
@ways("green", "pool")
def test_a_list_of_hosts_passes_over_one_that_hangs(db, postgres, model, mode, full):
    with silent(full) as port:
        hosts = f"host=127.0.0.1,127.0.0.1 port={port},{postgres.port} user=postgres dbname=postgres connect_timeout=2"
        app = db("--model", model, "--db-mode", mode, conninfo=hosts)
        reply, seconds = timed(lambda: get(app, "/now"))
        assert reply.status == 200
        assert seconds < 2  # psql waits for connect_timeout


@pytest.mark.parametrize("mode", ["cooperative", "blocking", "patched"])
def test_connect_timeout_is_kept(db, mode):
    with silent(True) as port:
        app = db("--db-mode", mode, conninfo=f"host=127.0.0.1 port={port} connect_timeout=2")
        reply, seconds = timed(lambda: get(app, "/now"))
        assert reply.status == 504
        assert 2 <= seconds < 4
        assert f'error="no answer in time from 127.0.0.1:{port}"' in app.stderr()


def test_a_list_of_hosts_passes_over_names_that_nobody_knows_and_ports_that_refuse(db, postgres):
    with refusing() as port:
        hosts = f"host=nowhere.invalid,127.0.0.1,localhost port=1,{port},{postgres.port} user=postgres dbname=postgres"
        app = db(conninfo=hosts)
        assert get(app, "/now").status == 200, app.stderr()


def test_every_host_has_its_reason_in_the_log(db):
    with refusing() as one, refusing() as other:
        app = db(conninfo=f"host=127.0.0.1,127.0.0.1 port={one},{other}")
        assert get(app, "/now").status == 502
        assert re.search(
            rf'error=.*port {one} failed: Connection refused; .*port {other} failed: Connection refused"', app.stderr()
        )


@pytest.mark.parametrize("attrs", ["prefer-standby", "any", "read-write", "primary"])
def test_target_session_attrs_are_kept_over_several_hosts(db, postgres, attrs):
    with refusing() as port:
        hosts = f"host=127.0.0.1,127.0.0.1 port={port},{postgres.port} user=postgres dbname=postgres"
        assert get(db(conninfo=f"{hosts} target_session_attrs={attrs}"), "/now").status == 200


# --- recovery ------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["green", "pool", "threaded"])
def test_all_that_come_once_the_database_is_back_are_served(db, postgres, model):
    app = db("--model", model, "--db-pool", "20", name="back")
    assert get(app, "/now").status == 200
    postgres.stop(signal.SIGINT)
    end = time.monotonic() + 2
    while time.monotonic() < end:
        assert get(app, "/now").status in (502, 503)
    postgres.start()
    time.sleep(1)
    assert statuses(ask_all(app, 20, "/?delay=0.1")) == {200: 20}
    wait_for(lambda: get(app, "/now").status == 200, what="the next test's peace")


@pytest.mark.parametrize("model", ["green", "threaded"])
def test_a_black_hole_does_not_cost_every_request_its_time(db, model):
    with silent(False) as port:
        app = db("--model", model, "--db-pool", "1", "--db-timeout", "1s", conninfo=f"host=127.0.0.1 port={port}")
        replies, seconds = timed(lambda: ask_all(app, 20, "/now"))
        assert statuses(replies) == {504: 20}
        assert seconds < 5  # 20 in series
        assert 'error=""' not in app.stderr()


def test_a_black_hole_that_ends_is_noticed(db, postgres):
    with Wire(postgres.port) as wire:
        wire.down = True
        app = db("--db-timeout", "60s", conninfo=wire.conninfo + " connect_timeout=2")
        assert set(statuses(ask_all(app, 5, "/now"))) == {504}
        (reply, seconds) = timed(lambda: get(app, "/now"))
        assert (reply.status, seconds < 3) == (504, True)
        wire.down = False
        wait_for(lambda: get(app, "/now").status == 200, seconds=6, what="recovery")


@ways("green", "pool")
def test_connections_that_died_in_silence_cost_a_second_once(db, postgres, model, mode):
    with Wire(postgres.port) as wire:
        app = db("--model", model, "--db-mode", mode, "--db-pool", "4", "--control", "127.0.0.1:0", "--db-timeout", "20s",
                 conninfo=wire.conninfo, name="cut")  # fmt: skip
        if (model, mode) != ("green", "blocking"):  # which has one statement at a time
            assert statuses(ask_all(app, 4, "/?delay=0.5")) == {200: 4}
        assert get(app, "/now").status == 200
        opened = wire.taken
        wire.cut()
        time.sleep(1.2)
        for number in range(4):
            reply, seconds = timed(lambda: get(app, "/now"))
            assert reply.status == 200
            assert seconds < (4 if number == 0 else 1)
        assert wire.taken <= opened + 1
        assert metrics(app)["srv_db_dead_total"] == opened


def test_a_connection_that_dies_in_use_makes_its_likes_suspect(db, postgres):
    with Wire(postgres.port) as wire:
        app = db("--db-pool", "4", "--db-timeout", "900ms", conninfo=wire.conninfo, name="suspect")
        assert statuses(ask_all(app, 4, "/?delay=0.5")) == {200: 4}
        wire.cut()
        assert get(app, "/now").status == 504  # it was used a moment ago: nobody asks
        assert get(app, "/now").status == 504  # its likes are asked now, for as long as the request has
        wait_for(lambda: get(app, "/now").status == 200, seconds=5, what="recovery")


@pytest.mark.parametrize("model", ["green", "pool", "threaded", "single"])
@pytest.mark.parametrize("option", ["--db-idle", "--db-lifetime"])
def test_old_connections_are_closed_though_nobody_asks(db, postgres, model, option):
    app = db("--model", model, option, "2s", name="aged")
    assert get(app, "/now").status == 200
    assert postgres.connections("aged") == 1
    wait_for(lambda: postgres.connections("aged") == 0, seconds=5, what="the end of the connection")
    assert get(app, "/now").status == 200


def test_a_connection_in_use_outlives_its_lifetime(db, postgres):
    app = db("--db-lifetime", "300ms", name="busy")
    assert get(app, "/?delay=1.6").status == 200
    wait_for(lambda: postgres.connections("busy") == 0, seconds=5, what="the end of the connection")


def test_keepalives_are_sane_and_give_way_to_the_user(db, postgres):
    def timers(conninfo):
        app = db(conninfo=conninfo)
        assert get(app, "/now").status == 200
        done = subprocess.run(["ss", "-tnpo", f"dport = :{postgres.port}"], text=True, capture_output=True, check=True)
        (line,) = [line for line in done.stdout.splitlines() if f"pid={app.pid}," in line]
        return re.search(r"timer:\(keepalive,([^,]+),", line)[1]

    assert re.fullmatch(r"(2\d|30)sec", timers(postgres.conninfo))
    assert re.fullmatch(r"1min\d*\.?\d*(sec|)|(5\d|60)sec", timers(postgres.conninfo + " keepalives_idle=77 tcp_user_timeout=0"))


# --- failover --------------------------------------------------------------------------------


@pytest.fixture
def standby():
    server = Postgres()
    try:
        server.start()
        yield server
    finally:
        server.close()


@pytest.mark.parametrize("mode", ["cooperative", "blocking"])
def test_a_server_that_becomes_read_only_is_left(db, postgres, standby, mode):
    hosts = f"host=127.0.0.1,127.0.0.1 port={standby.port},{postgres.port} user=postgres dbname=postgres"
    app = db("--db-mode", mode, "--model", "pool", "--db-pool", "4", conninfo=f"{hosts} target_session_attrs=read-write",
             schema="writes", name="moved")  # fmt: skip
    assert statuses(ask_all(app, 4, "/?delay=0.2")) == {200: 4}
    assert standby.connections("moved") == 4
    standby.sql("ALTER SYSTEM SET default_transaction_read_only = on")
    standby.sql("SELECT pg_reload_conf()")
    time.sleep(0.3)
    assert statuses(ask_all(app, 8, "/?delay=0.2")) == {200: 8}
    assert postgres.connections("moved") == 4
    wait_for(lambda: standby.connections("moved") == 0, what="the end of the old connections")


def test_a_statement_that_must_not_write_is_an_error_and_no_failover(db, postgres):
    conninfo = f"{postgres.conninfo} options='-csearch_path=writes,pg_catalog -cdefault_transaction_read_only=on'"
    app = db(conninfo=conninfo, name="reading")
    for _ in range(3):
        assert get(app, "/now").status == 500
    assert "sqlstate=25006" in app.stderr()
    assert postgres.connections("reading") == 1


@ways("green", "pool", "threaded")
def test_a_statement_whose_connection_is_terminated_runs_again(db, postgres, model, mode):
    name = f"ended-{model}-{mode}"
    app = db("--model", model, "--db-mode", mode, name=name)
    assert get(app, "/now").status == 200
    with postgres.terminating_the_next(name):
        assert get(app, "/?delay=1.4").status == 200
