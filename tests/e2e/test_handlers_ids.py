# SPDX-License-Identifier: MIT
"""What an application tells about its requests: their ids, its counters; and whether they are still wanted."""

import json
import re
import signal
import socket
import time

import pytest
from control import fetch
from harness import RawConnection, children, get, run, wait_for
from test_handlers import app_of, build

MODELS = ("single", "threaded", "pool", "green")
OWN = re.compile(r"[0-9a-f]{32}\Z")

# --- ids of requests ---------------------------------------------------------------------------------

IDS = """
static int part(srv_request *rq, void *arg) { *(const char **)arg = srv_format(rq, "%s", srv_request_id(rq)); return 0; }
static int page(srv_request *rq) {
    const char *again = srv_request_id(rq), *of_part = "";
    srv_join(rq, srv_start(rq, part, &of_part));
    srv_log(rq, 'i', "here");
    if (strcmp(again, srv_request_id(rq)) != 0 || strcmp(again, of_part) != 0)
        return srv_fail(rq, 500, "%s is not %s", again, of_part);
    return srv_reply(rq, 200, "%s", again);
}
static int fail(srv_request *rq) { return srv_fail(rq, 500, "on purpose"); }
"""
ID_ROUTES = {"/": "page", "/fail": "fail"}


@pytest.mark.parametrize("model", MODELS)
def test_each_request_has_an_id_of_its_own(tmp_path, serve, model):
    app = serve("--model", model, "--workers", "2", build(tmp_path, app_of(IDS, ID_ROUTES)))
    seen = [get(app, "/", headers={"X-Request-ID": "mine"}).text for _ in range(40)]
    assert all(OWN.match(text) for text in seen) and len(set(seen)) == 40
    assert f"target=/ id={seen[0]}\n" in app.stderr()


def test_an_id_on_a_kept_connection_is_new_each_time(tmp_path, serve):
    app = serve(build(tmp_path, app_of(IDS, ID_ROUTES)))
    with RawConnection(app) as conn:
        seen = set()
        for _ in range(5):
            conn.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            seen.add(conn.read_response().body)
    assert len(seen) == 5


@pytest.mark.parametrize(
    "given, passed",
    [
        ("abc-DEF_1.2~+/=:@", True),
        ("x", True),
        ("x" * 128, True),
        ("x" * 129, False),
        ("", False),
        ("a b", False),
        ('a"b', False),
        ("a,b", False),
        ("a%20", False),
    ],
)
def test_an_id_of_a_trusted_proxy_is_passed_on_when_it_is_sane(tmp_path, serve, given, passed):
    app = serve("--request-id-header", "x-request-id", build(tmp_path, app_of(IDS, ID_ROUTES)))
    text = get(app, "/", headers={"X-Request-ID": given}).text
    assert text == given if passed else OWN.match(text)


def test_an_id_of_a_stranger_is_not(tmp_path, serve):
    app = serve("--request-id-header", "X-Request-ID", "--forwarded-allow-ips", "", build(tmp_path, app_of(IDS, ID_ROUTES)))
    assert OWN.match(get(app, "/", headers={"X-Request-ID": "mine"}).text)


def test_ids_stand_in_the_access_log_and_in_lines_of_failures(tmp_path, serve):
    log = tmp_path / "access"
    options = ("--access-logfile", log, "--access-logformat", "%(s)s %(id)s")
    app = serve("--request-id-header", "X-Request-ID", *options, build(tmp_path, app_of(IDS, ID_ROUTES)))
    own = get(app, "/").text
    assert get(app, "/", headers={"X-Request-ID": "theirs"}).text == "theirs"
    assert get(app, "/fail", headers={"X-Request-ID": "bad-luck"}).status == 500
    wait_for(lambda: len(log.read_text().splitlines()) == 3)
    assert log.read_text() == f"200 {own}\n200 theirs\n500 bad-luck\n"
    assert 'request failed status=500 target=/fail reason="on purpose" id=bad-luck\n' in app.stderr()


def test_ids_stand_in_json(tmp_path, serve):
    log = tmp_path / "access"
    app = serve("--access-logfile", log, "--access-logformat", "json", build(tmp_path, app_of(IDS, ID_ROUTES)))
    own = get(app, "/").text
    wait_for(log.read_text)
    assert json.loads(log.read_text())["id"] == own


SENDS = """
static int page(srv_request *rq) {
    const char *own[] = { "x-request-id", "set-by-the-call", NULL };
    if (srv_arg(rq, "own", NULL))
        return srv_reply(rq, 200, "%s", srv_fetch(rq, &(srv_call){ .size = sizeof(srv_call), .url = "", .headers = own })->text);
    if (srv_arg(rq, "other", NULL))
        return srv_reply(rq, 200, "%s", srv_fetch(rq, &(srv_call){ .size = sizeof(srv_call), .url = srv_arg(rq, "other", "") })->text);
    return srv_reply(rq, 200, "%s", srv_get(rq, "%s", "")->text);
}
"""


@pytest.mark.parametrize("client", ["native", "curl"])
@pytest.mark.parametrize("model", MODELS)
def test_the_upstream_gets_the_id(tmp_path, serve, model, client):
    shows = app_of('static int page(srv_request *rq) { return srv_reply(rq, 200, "[%s]", srv_header(rq, "X-Request-ID", "none")); }')
    behind = serve(build(tmp_path, shows, name="behind.so"))
    path = build(tmp_path, app_of(SENDS))
    options = ("--model", model, "--upstream-client", client, path)
    app = serve("--request-id-header", "X-Request-ID", *options, upstream=behind)
    assert get(app, "/", headers={"X-Request-ID": "from-outside"}).text == "[from-outside]"
    assert OWN.match(get(app, "/").text.strip("[]"))
    assert get(app, "/?own=1").text == "[set-by-the-call]"
    assert get(app, f"/?other={behind.url}").text == "[none]", "ids are for one's own upstream"
    assert get(serve(*options, upstream=behind), "/", headers={"X-Request-ID": "mine"}).text == "[none]"


@pytest.mark.parametrize("name", ["a b", "X-Id:", "\u00e4"])
def test_names_that_no_field_has(name):
    done = run("serve", "--request-id-header", name, "echo")
    assert done.returncode == 2 and "is not the name of a field" in done.stderr


# --- counters ----------------------------------------------------------------------------------------

COUNT = """
static int page(srv_request *rq) {
    srv_count(rq, srv_arg(rq, "name", "orders"), strtoull(srv_arg(rq, "amount", "1"), NULL, 10));
    return srv_reply(rq, 200, "%u", srv_worker_number(srv_worker_of(rq)));
}
static int many(srv_request *rq) {
    for (int i = 0; i < 70; i++)
        srv_count(rq, srv_format(rq, "n%d", i), 1);
    return srv_reply(rq, 200, "%s", "");
}
"""
COUNT_ROUTES = {"/": "page", "/many": "many"}


def counted(app, name):
    pattern = rf'srv_app_{name}_total\{{worker="\d+"\}} (\d+)\n'
    return sum(int(n) for n in re.findall(pattern, fetch(app, "/metrics").body.decode()))


@pytest.mark.parametrize("model", MODELS)
def test_counters_of_the_application_are_metrics(tmp_path, serve, model):
    path = build(tmp_path, app_of(COUNT, COUNT_ROUTES))
    app = serve("--model", model, "--workers", "2", "--control", "127.0.0.1:0", path)
    for _ in range(20):
        get(app, "/")
    get(app, "/?name=bytes_out&amount=5000000000")
    assert (counted(app, "orders"), counted(app, "bytes_out"), counted(app, "nothing")) == (20, 5000000000, 0)
    text = fetch(app, "/metrics").body.decode()
    assert text.count("# TYPE srv_app_orders_total counter\n") == 1
    stats = json.loads(fetch(app, "/stats").body)
    assert sum(worker["app"].get("orders", 0) for worker in stats["workers"]) == 20


def test_counters_outlive_their_worker(tmp_path, serve):
    path = build(tmp_path, app_of(COUNT, COUNT_ROUTES))
    app = serve("--workers", "1", "--control", "127.0.0.1:0", path)
    get(app, "/")
    before = set(children(app.pid))
    app.send_signal(signal.SIGHUP)
    wait_for(lambda: len(set(children(app.pid)) & before) == 1 and len(children(app.pid)) == 2, what="new worker")
    get(app, "/")
    assert counted(app, "orders") == 2


def test_a_worker_has_64_counters(tmp_path, serve):
    app = serve("--control", "127.0.0.1:0", build(tmp_path, app_of(COUNT, COUNT_ROUTES)))
    get(app, "/many")
    get(app, "/many")
    assert [counted(app, name) for name in ("n0", "n63", "n64")] == [2, 2, 0]
    assert 'not counted counter="n64" error="too many counters"' in app.stderr()


@pytest.mark.parametrize("name", ["", "a-b", "1a", "a%20b", "a%0ab", "x" * 64, "%22"])
def test_names_that_no_counter_has(tmp_path, serve, name):
    app = serve("--control", "127.0.0.1:0", build(tmp_path, app_of(COUNT, COUNT_ROUTES)))
    assert get(app, f"/?name={name}").status == 200
    assert "srv_app_" not in fetch(app, "/metrics").body.decode() and "no name of a counter" in app.stderr()


def test_threads_count_all(tmp_path, serve):
    body = """
static int part(srv_request *rq, void *arg) {
    (void)arg;
    for (int i = 0; i < 1000; i++)
        srv_count(rq, srv_format(rq, "n%d", i % 50), 1);
    return 0;
}
static int page(srv_request *rq) {
    srv_task *parts[16];
    for (int i = 0; i < 16; i++)
        parts[i] = srv_start(rq, part, NULL);
    for (int i = 0; i < 16; i++)
        srv_join(rq, parts[i]);
    return srv_reply(rq, 200, "ok%s", "");
}
"""
    app = serve("--model", "pool", "--control", "127.0.0.1:0", build(tmp_path, app_of(body, {"/": "page"})))
    assert get(app, "/").text == "ok"
    assert sum(counted(app, f"n{i}") for i in range(50)) == 16000


# --- is it still wanted? -----------------------------------------------------------------------------

WANTED = """
#include <time.h>
static double now(void) { struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return t.tv_sec + t.tv_nsec / 1e9; }
static int page(srv_request *rq) {
    double until = now() + atof(srv_arg(rq, "for", "1"));
    unsigned long long turns = 0;
    if (srv_arg(rq, "limit", NULL))
        srv_set_deadline(rq, atof(srv_arg(rq, "limit", "")));
    while (srv_wanted(rq) && now() < until)
        turns++;
    fprintf(stderr, "computed error=%d late=%d\\n", srv_error(rq), now() >= until);
    return srv_reply(rq, 200, "%d", turns > 1000);
}
"""


@pytest.fixture
def computing(tmp_path, serve):
    return lambda model: serve("--model", model, build(tmp_path, app_of(WANTED)))


@pytest.mark.parametrize("model", MODELS)
def test_a_computation_that_is_wanted_goes_on(computing, model):
    assert get(computing(model), "/?for=0.3").text == "1"


@pytest.mark.parametrize("model", MODELS)
def test_a_deadline_ends_a_computation(computing, model):
    app = computing(model)
    begin = time.monotonic()
    assert get(app, "/?for=20&limit=0.2").status == 504
    assert time.monotonic() - begin < 10
    assert "computed error=-110 late=0" in app.stderr()


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("how", ["reset", "close"])
def test_a_client_that_leaves_ends_a_computation(computing, model, how):
    app = computing(model)
    conn = socket.create_connection((app.host, app.port))
    conn.sendall(b"GET /?for=30 HTTP/1.1\r\nHost: x\r\n\r\n")
    time.sleep(0.3)
    if how == "reset":
        conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    conn.close()
    wait_for(lambda: "computed error=-125 late=0" in app.stderr(), 15, what="the end")


@pytest.mark.parametrize("model", MODELS)
def test_a_client_that_only_says_no_more_gets_its_answer(computing, model):
    app = computing(model)
    with socket.create_connection((app.host, app.port), timeout=20) as conn:
        conn.sendall(b"GET /?for=4 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        conn.shutdown(socket.SHUT_WR)
        data = b""
        while chunk := conn.recv(4096):
            data += chunk
    assert b"HTTP/1.1 200 OK" in data and data.endswith(b"1")


def test_looking_costs_a_system_call_now_and_then_only(tmp_path, serve):
    body = """
static int page(srv_request *rq) {
    unsigned long long turns = 0;
    for (int i = 0; i < 5000000; i++)
        turns += srv_wanted(rq);
    return srv_reply(rq, 200, "%llu", turns);
}
"""
    app = serve("--model", "green", build(tmp_path, app_of(body)))
    assert get(app, "/", timeout=60).text == "5000000"
