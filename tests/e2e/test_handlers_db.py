# SPDX-License-Identifier: MIT
"""Handlers and PostgreSQL: transactions, what the server says, values."""

import threading
import time

import pytest
from harness import RawConnection, get, wait_for
from test_handlers import MODELS, app_of, build

BODY = r"""
static int twice(srv_request *rq, void *arg) {
    (void)arg;
    srv_begin_transaction(rq);
    srv_query(rq, "INSERT INTO t VALUES ($1)", 1, "part");
    return srv_arg(rq, "leave", 0) ? 0 : srv_commit(rq);
}
static int add(srv_request *rq) {
    srv_begin_transaction(rq);
    srv_query(rq, "INSERT INTO t VALUES ($1)", 1, srv_arg(rq, "name", "x"));
    srv_query(rq, "INSERT INTO t VALUES ($1)", 1, srv_arg(rq, "other", "y"));
    srv_commit(rq);
    return srv_reply(rq, 201, "added");
}
static int leave(srv_request *rq) {
    srv_begin_transaction(rq);
    srv_query(rq, "INSERT INTO t VALUES ('left')", 0);
    return srv_reply(rq, 200, "left");
}
static int fail(srv_request *rq) {
    srv_begin_transaction(rq);
    srv_query(rq, "INSERT INTO t VALUES ('failed')", 0);
    return srv_fail(rq, 418, "tea");
}
static int slow(srv_request *rq) {
    srv_begin_transaction(rq);
    srv_query(rq, "INSERT INTO t VALUES ('slow')", 0);
    srv_sleep(rq, 30);
    srv_commit(rq);
    return srv_reply(rq, 200, "slow");
}
static int nested(srv_request *rq) { srv_begin_transaction(rq); srv_begin_transaction(rq); return srv_reply(rq, 200, "no"); }
static int none(srv_request *rq) { srv_commit(rq); return srv_reply(rq, 200, "no"); }
static int ended(srv_request *rq) {
    srv_begin_transaction(rq);
    srv_query(rq, "COMMIT", 0);
    int rc = srv_commit(rq);
    const char *state = srv_sqlstate(rq);
    srv_forgive(rq);
    return srv_reply(rq, 200, "%d %s", rc, state);
}
static int tried(srv_request *rq) {
    srv_begin_transaction(rq);
    srv_query(rq, "INSERT INTO t VALUES ('tried')", 0);
    srv_try_query(rq, "SELECT 1/0", 0);
    srv_commit(rq);
    const char *state = srv_sqlstate(rq);
    srv_forgive(rq);
    return srv_reply(rq, 200, "%s", state);
}
static int rolled(srv_request *rq) {
    srv_begin_transaction(rq);
    srv_query(rq, "INSERT INTO t VALUES ('rolled')", 0);
    srv_rollback(rq);
    srv_rollback(rq);
    srv_query(rq, "INSERT INTO t VALUES ('after')", 0);
    return srv_reply(rq, 200, "rolled");
}
static int part(srv_request *rq) {
    srv_begin_transaction(rq);
    srv_query(rq, "INSERT INTO t VALUES ('handler')", 0);
    srv_join(rq, srv_start(rq, twice, 0));
    return srv_fail(rq, 418, "tea");
}
static int unique(srv_request *rq) {
    const srv_rows *r = srv_try_query(rq, "INSERT INTO u VALUES ($1)", 1, srv_arg(rq, "name", "x"));
    if (strcmp(r->sqlstate, "23505") == 0)
        return srv_fail(rq, 409, "that name is taken");
    return r->error ? srv_fail(rq, 500, "no user") : srv_reply(rq, 201, "%d", (int)srv_affected(r));
}
static int count(srv_request *rq) {
    for (int i = 0; i < 50; i++) {
        srv_begin_transaction(rq);
        srv_query(rq, "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE", 0);
        srv_query(rq, "UPDATE n SET n = n + (SELECT count(*) FROM pg_sleep(0.02))", 0);
        if (srv_commit(rq) == 0 || strcmp(srv_sqlstate(rq), "40001") != 0)
            break;
        srv_rollback(rq);
        srv_forgive(rq);
    }
    return srv_reply(rq, 200, "counted");
}
static int affected(srv_request *rq) {
    long three = (long)srv_affected(srv_query(rq, "INSERT INTO a SELECT generate_series(1, 3)", 0));
    long two = (long)srv_affected(srv_query(rq, "UPDATE a SET x = 0 WHERE x > 1", 0));
    long none = (long)srv_affected(srv_query(rq, "DELETE FROM a WHERE x = 77", 0));
    long got = (long)srv_affected(srv_query(rq, "SELECT * FROM a", 0));
    long set = (long)srv_affected(srv_query(rq, "SET search_path TO public", 0));
    long bad = (long)srv_affected(srv_try_query(rq, "SELECT 1/0", 0));
    srv_query(rq, "DELETE FROM a", 0);
    return srv_reply(rq, 200, "%ld %ld %ld %ld %ld %ld", three, two, none, got, set, bad);
}
static int values(srv_request *rq) {
    const srv_rows *r = srv_query(rq, "SELECT 'a', NULL, ''", 0), *e = srv_query(rq, "SELECT 1 WHERE false", 0);
    return srv_reply(rq, 200, "[%s][%s][%s][%s][%s][%s] %d%d%d%d%d %s", srv_value(r, 0, 0), srv_value(r, 0, 1),
                     srv_value(r, 0, 2), srv_value(r, 0, 3), srv_value(r, 1, 0), srv_value(e, 0, 0), srv_is_null(r, 0, 0),
                     srv_is_null(r, 0, 1), srv_is_null(r, 0, 2), srv_is_null(r, (size_t)-1, (size_t)-1),
                     srv_is_null(e, 0, 0), srv_value(srv_try_query(rq, "oops", 0), 0, 0));
}
static int names(srv_request *rq) {
    const srv_rows *r = srv_query(rq, "SELECT string_agg(x, ' ' ORDER BY x), (SELECT n FROM n) FROM t", 0);
    return srv_reply(rq, 200, "%s|%s", srv_value(r, 0, 0), srv_value(r, 0, 1));
}
static int clear(srv_request *rq) {
    srv_query(rq, "CREATE TABLE IF NOT EXISTS t (x text)", 0);
    srv_query(rq, "CREATE TABLE IF NOT EXISTS u (x text PRIMARY KEY)", 0);
    srv_query(rq, "CREATE TABLE IF NOT EXISTS n (n int)", 0);
    srv_query(rq, "CREATE TABLE IF NOT EXISTS a (x int)", 0);
    srv_query(rq, "TRUNCATE t, u, n, a", 0);
    srv_query(rq, "INSERT INTO n VALUES (0)", 0);
    return srv_reply(rq, 200, "clear");
}
"""
PATCHED = "green-patched"  # and --db-mode patched
NAMES = ("add leave fail slow nested none ended tried rolled part unique count affected values names clear").split()


@pytest.fixture
def app(tmp_path, serve, postgres):
    def start(model, *options):
        model, _, mode = model.partition("-")
        options += ("--db-mode", mode) if mode else ()
        path = build(tmp_path, app_of(BODY, {f"/{name}": name for name in NAMES}))
        server = serve("--graceful-timeout", "0", "--model", model, "--db", postgres.conninfo, *options, path)
        assert get(server, "/clear").status == 200, server.stderr()
        return server

    return start


def names(server):
    reply = get(server, "/names")
    assert reply.status == 200
    return reply.text.split("|")[0]


@pytest.mark.parametrize("model", [*MODELS, PATCHED])
def test_transactions_end_whole_or_not_at_all(app, model):
    server = app(model, "--db-pool", "2")
    assert (get(server, "/add?name=a&other=b").status, names(server)) == (201, "a b")
    assert (get(server, "/add?name=c&other=%00").status, names(server)) == (201, "%00 a b c")
    assert (get(server, "/leave").text, names(server)) == ("left", "%00 a b c")
    assert "the handler returned inside a transaction, which is rolled back target=/leave" in server.stderr()
    assert (get(server, "/fail").status, names(server)) == (418, "%00 a b c")
    reply = get(server, "/nested")
    assert (reply.status, reply.text) == (500, "the handler began a transaction inside another one\n")
    reply = get(server, "/none")
    assert (reply.status, reply.text) == (500, "the handler committed without a transaction\n")
    assert get(server, "/ended").text.split() == ["-121", "25P01"]
    assert (get(server, "/tried").text, names(server)) == ("25P02", "%00 a b c")
    assert (get(server, "/rolled").text, names(server)) == ("rolled", "%00 a after b c")
    assert (get(server, "/part").status, names(server)) == (418, "%00 a after b c part")
    assert (get(server, "/part?leave=1").status, names(server)) == (418, "%00 a after b c part")
    for _ in range(4):  # no place of the pool is lost
        assert get(server, "/add").status == 201


@pytest.mark.parametrize("model", [*MODELS, PATCHED])
def test_requests_that_end_early_roll_back(app, model):
    server = app(model, "--db-pool", "1", "--request-timeout", "1s")
    assert (get(server, "/slow").status, names(server)) == (504, "")
    conn = RawConnection(server)
    conn.send(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
    time.sleep(0.3)
    conn.reset()
    wait_for(lambda: get(server, "/names").status == 200, what="the place")
    assert names(server) == ""


@pytest.mark.parametrize("model", ["threaded", "pool", "green", PATCHED])  # single has no --queue-timeout
def test_a_part_that_waits_for_a_place_of_its_handler_is_told(app, model):
    server = app(model, "--db-pool", "1", "--queue-timeout", "0.3s")
    reply = get(server, "/part")
    assert (reply.status, reply.text) == (503, "all database connections are busy\n")
    assert 'error="1 of 1 are held by transactions"' in server.stderr()
    assert names(server) == ""


@pytest.mark.parametrize("model", ["pool", "green", PATCHED])
def test_what_the_server_says_is_in_reach(app, model):
    server = app(model)
    assert [get(server, "/unique?name=z").status for _ in range(2)] == [201, 409]
    threads = [threading.Thread(target=get, args=(server, "/count")) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert get(server, "/names").text == "|4"


@pytest.mark.parametrize("model", ["single", "green", PATCHED])
def test_affected_rows_and_values(app, model):
    server = app(model)
    assert get(server, "/affected").text == "3 2 0 3 0 0"
    assert get(server, "/values").text == "[a][][][][][] 01011 "
