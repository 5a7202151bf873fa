# SPDX-License-Identifier: MIT
"""The control endpoint of srv serve: what it shows is what the clients saw."""

import errno
import os
import re
import signal
import socket
import time
from pathlib import Path

import pytest
from control import control, fetch, metrics
from harness import RawConnection, children, get, request, wait_for

MODELS = ("green", "pool", "threaded", "single", "event")


def control_process(app):
    """The process that serves --control, once it has its title."""

    def find():
        return [pid for pid in children(app.pid) if b"serve: control" in Path(f"/proc/{pid}/cmdline").read_bytes()]

    return wait_for(find, what="a control process")[0]


def json_of(app, path):
    import json

    reply = fetch(app, path)
    assert (reply.status, reply.headers["content-type"]) == (200, "application/json")
    return json.loads(reply.text)


@pytest.mark.parametrize("model", MODELS)
def test_counts_are_what_the_clients_saw(slowapi, serve, model):
    app = serve("--model", model, "--control", "127.0.0.1:0", upstream=slowapi())
    statuses = [get(app, path).status for path in ("/?delay=0", "/?delay=0.1", "/?delay=x", "/nope")]
    assert statuses == [200, 200, 400, 404]
    # a thread writes its answer first and counts it then
    seen = wait_for(lambda: (m := metrics(app))["srv_requests_total"] == 4 and m, what="four answers counted")
    assert seen['srv_requests_total{worker="1",status="200"}'] == 2
    assert seen["srv_request_seconds_count"] == 4
    assert seen["srv_request_seconds_sum"] >= 0.1
    assert seen["srv_worker_rss_bytes"] > 100000 and seen["srv_worker_threads"] >= 1
    assert seen["srv_upstream_calls_total"] == 2
    assert wait_for(lambda: metrics(app).get("srv_connections") == 0, what="connections closed") is True


@pytest.mark.parametrize("slots", [("--async-cores", "2"), ("--model", "pool", "--threads", "2"), ("--model", "event", "--async-cores", "2")])
def test_requests_tell_what_they_wait_for(slowapi, serve, slots):
    app = serve(*slots, "--control", "127.0.0.1:0", "--control-queries", upstream=slowapi())
    conns = [RawConnection(app) for _ in range(3)]
    for conn in conns:
        conn.send(b"GET /nope HTTP/1.1\r\nHost: x\r\n\r\n")
        conn.read_response()
    for conn in conns:
        conn.send(b"GET /?delay=0.8 HTTP/1.1\r\nHost: x\r\n\r\n")
    time.sleep(0.3)
    listed = json_of(app, "/requests")
    assert sorted(entry["waits_for"] for entry in listed) == ["queue", "upstream", "upstream"]
    assert all(entry["request"] == "GET /?delay=0.8" and 0 < entry["age_seconds"] < 5 for entry in listed)
    seen = metrics(app)
    assert (seen["srv_slots"], seen["srv_slots_busy"], seen["srv_queue_depth"]) == (2, 2, 1)
    for conn in conns:
        assert conn.read_response().status == 200
        conn.close()
    assert wait_for(lambda: json_of(app, "/requests") == [], what="no request left")


def test_shed_expired_and_abandoned_are_counted(slowapi, serve):
    app = serve(
        *("--async-cores", "1", "--max-queue", "1", "--queue-timeout", "200ms", "--control", "127.0.0.1:0"),
        upstream=slowapi("--graceful-timeout", "0"),
    )
    conns = [RawConnection(app) for _ in range(3)]
    for conn in conns:  # one is served, one waits, one is turned down
        conn.send(b"GET /?delay=30 HTTP/1.1\r\nHost: x\r\n\r\n")
        time.sleep(0.05)
    assert [conn.read_response().status for conn in reversed(conns[1:])] == [503, 503]
    for conn in conns:
        conn.close()
    wait_for(lambda: metrics(app).get("srv_abandoned_total") == 1, what="the one that left noticed")
    seen = metrics(app)
    assert (seen["srv_shed_total"], seen["srv_expired_total"], seen["srv_slots_busy"]) == (1, 1, 0)


def test_stats_cover_all_workers_and_restarts(slowapi, serve):
    app = serve("--workers", "2", "--control", "127.0.0.1:0", upstream=slowapi())
    workers = wait_for(
        lambda: (w := json_of(app, "/stats")["workers"]) and [i["state"] for i in w] == ["ready"] * 2 and w,
        what="two workers ready",
    )
    assert [worker["starts"] for worker in workers] == [1, 1]
    os.kill(workers[0]["pid"], signal.SIGKILL)
    wait_for(lambda: json_of(app, "/stats")["workers"][0]["starts"] == 2, what="worker replaced")
    assert fetch(app, "/healthz").text == "ok\n" and fetch(app, "/readyz").status == 200
    assert fetch(app, "/nope").status == 404


def test_it_outlasts_a_graceful_stop_and_then_goes(slowapi, serve):
    app = serve("--control", "127.0.0.1:0", upstream=slowapi())
    with RawConnection(app) as conn:
        conn.send(b"GET /?delay=0.6 HTTP/1.1\r\nHost: x\r\n\r\n")
        time.sleep(0.2)
        app.send_signal(signal.SIGTERM)
        wait_for(lambda: fetch(app, "/readyz").status == 503, what="not ready any more")
        assert fetch(app, "/healthz").status == 200
        assert conn.read_response().status == 200
    assert app.wait() == 0
    with pytest.raises(OSError):
        fetch(app, "/healthz")


def test_metrics_are_documented(serve):
    app = serve("--control", "127.0.0.1:0")
    page = (Path(__file__).resolve().parents[2] / "docs/serve.md").read_text()
    names = set(re.findall(r"^# HELP (\S+)", fetch(app, "/metrics").text, re.M))
    assert names == set(re.findall(r"^\| `(srv_\w+)` \|", page, re.M))


def test_bad_control_address_is_one_line_and_exit_2(srv_run):
    done = srv_run("serve", "--control", "nowhere")
    assert done.returncode == 2 and "--control" in done.stderr and done.stderr.count("\n") == 1


# --- its process ---------------------------------------------------------------------------------


def unix_get(path):
    return get((str(path), None), "/healthz").status


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("workers", [(), ("--workers", "1")], ids=["alone", "master"])
def test_control_process_that_dies_comes_back(serve, tmp_path, model, workers):
    path = tmp_path / "control"
    app = serve("--model", model, *workers, "--control", f"unix:{path}")
    wait_for(lambda: unix_get(path) == 200, what="a worker")
    for died, number in enumerate((signal.SIGKILL, signal.SIGABRT), 1):
        os.kill(control_process(app), number)
        wait_for(lambda: app.stderr().count("control process died") == died, what="its death noticed")
        assert unix_get(path) == 200  # its socket never closed: this waits for the next one
    assert get(app, "/nope").status == 404
    app.stop()
    assert not path.exists()


def test_stopped_control_process_does_not_hold_up_the_end(serve, tmp_path):
    app = serve("--control", f"unix:{tmp_path}/control")
    os.kill(control_process(app), signal.SIGSTOP)
    assert get(app, "/nope").status == 404
    app.stop(timeout=5)


@pytest.mark.parametrize("workers", [(), ("--workers", "1")], ids=["alone", "master"])
def test_sockets_of_a_killed_server_are_not_in_the_way(start, tmp_path, workers):
    args = (*workers, "--bind", f"unix:{tmp_path}/app", "--control", f"unix:{tmp_path}/control")
    first = start("serve", *args)
    wait_for(lambda: unix_get(tmp_path / "control") == 200, what="a worker")
    first.kill()
    assert (tmp_path / "app").exists()
    wait_for(lambda: refuses(tmp_path / "app") and refuses(tmp_path / "control"), what="the end of its children")
    second = start("serve", *args)
    assert get(second, "/nope").status == 404
    wait_for(lambda: unix_get(tmp_path / "control") == 200, what="a worker")


def refuses(path):
    with socket.socket(socket.AF_UNIX) as sock:
        return sock.connect_ex(str(path)) == errno.ECONNREFUSED


def test_requests_hide_what_stands_after_the_question_mark(slowapi, serve):
    app = serve("--control", "127.0.0.1:0", upstream=slowapi())
    with RawConnection(app) as conn:
        conn.send(b"GET /?delay=2&token=secret HTTP/1.1\r\nHost: x\r\n\r\n")
        (entry,) = wait_for(lambda: json_of(app, "/requests"), what="a request")
        assert entry["request"] == "GET /?..."
        assert "secret" not in fetch(app, "/stats").text + fetch(app, "/metrics").text


@pytest.mark.parametrize("command", ["serve", "slowapi"])
def test_control_answers_only_by_its_names(start, command):
    app = start(command, "--control", "127.0.0.1:0", "--control-host", "metrics.internal")
    for host, status in {"rebound.example": 403, "metrics.internal": 200, "localhost": 200, "[::1]:7": 200}.items():
        assert get(control(app), "/stats", headers={"Host": host}).status == status
    for path in ("/healthz/anything", "/metrics/x", "/stats/", "/nope"):
        assert get(control(app), path).status == 404
    reply = request(control(app), "OPTIONS", "/metrics")
    assert (reply.status, reply.headers["allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize("command", ["serve", "slowapi"])
def test_control_over_a_unix_socket_has_any_name(start, tmp_path, command):
    start(command, "--control", f"unix:{tmp_path}/control")
    # The workers may need a moment: it says 503 until one of them runs, and never 403.
    seen = []
    wait_for(lambda: seen.append(get((f"{tmp_path}/control", None), "/healthz", headers={"Host": "whatever"}).status)
             or seen[-1] == 200, what="health")  # fmt: skip
    assert set(seen) <= {200, 503}


def test_pages_of_others_change_no_rules(slowapi):
    api = slowapi("--control", "127.0.0.1:0")
    here = "%s:%d" % control(api)
    rules = b'[{"path": "/x", "params": "delay=0"}]'
    for origin, status in {"http://evil.example": 403, "null": 403, f"http://{here}": 200, None: 200}.items():
        headers = {"Host": here} | ({"Origin": origin} if origin else {})
        assert request(control(api), "PUT", "/rules", body=rules, headers=headers).status == status
        assert request(control(api), "DELETE", "/sequences", headers=headers).status == status


@pytest.mark.parametrize("command", ["serve", "slowapi"])
@pytest.mark.parametrize("name", ["a:80", "", "a/b", "[::1]"])
def test_control_host_is_a_name(srv_run, command, name):
    done = srv_run(command, "--control", "0", "--control-host", name)
    assert done.returncode == 2 and f"--control-host: '{name}' is not allowed" in done.stderr
