# SPDX-License-Identifier: MIT
"""`--from`: latencies that were recorded come again, out of what srv bench and access logs write."""

import json
import signal
import subprocess

import harness
import pytest
from harness import Client, get, wait_for
from test_slowapi_shapes import Control


def planned(log):
    """Delays in ms, sorted, of the lines of an access log."""
    return sorted(json.loads(line)["planned_ms"] for line in log.read_text().splitlines())


def record(slowapi, srv_run, tmp_path, kind):
    """(file, share of slow ones in it): latencies of a service with a known law, as srv bench or slowapi write them."""
    log, run = tmp_path / "recorded.log", tmp_path / "run.json"
    api = slowapi("--delay", "5ms:90,60ms:10", "--seed", "5", "--access-logfile", str(log))
    file = {"json": run, "hlog": tmp_path / "run.hlog", "log": log}[kind]
    more = ("--hlog", str(file)) if kind == "hlog" else ()
    done = srv_run("bench", "-n", "1000", "-c", "20", "-k", "-q", "--json", str(run), *more, api.url)
    assert done.returncode == 0, done.stderr
    api.stop()
    if kind == "log":
        values = [(json.loads(line)["actual_ms"], 1) for line in log.read_text().splitlines()]
    else:
        values = [(usec / 1000, count) for usec, count in json.loads(run.read_text())["histograms"]["latency_us"]]
    assert sum(count for _, count in values) == 1000
    return file, sum(count for value, count in values if value >= 59.9) / 1000


@pytest.mark.parametrize("kind", ["json", "hlog", "log"])
def test_what_was_recorded_is_replayed(slowapi, srv_run, tmp_path, kind):
    file, share = record(slowapi, srv_run, tmp_path, kind)
    log = tmp_path / "replayed.log"
    api = slowapi("--from", str(file), "--seed", "6", "--access-logfile", str(log), "-w", "2")
    assert srv_run("bench", "-n", "1000", "-c", "20", "-k", "-q", api.url).returncode == 0
    api.stop()
    values = planned(log)
    slow = sum(value >= 59.9 for value in values) / 1000
    assert len(values) == 1000 and values[0] >= 5  # nobody has measured less than was planned
    assert abs(slow - share) < 5 * (share * (1 - share) / 1000) ** 0.5  # five sigmas of a thousand rolls
    if kind != "log":
        return
    recorded = sorted(json.loads(line)["actual_ms"] for line in file.read_text().splitlines())
    assert recorded[0] * 0.98 <= values[0] and values[-1] <= recorded[-1] * 1.001


LOG = """\
1.1.1.1 - - [29/Nov/2026:20:00:00 +0000] "GET /slow HTTP/1.1" 200 5 "-" "agent" 0.300
1.1.1.1 - - [29/Nov/2026:20:00:00 +0000] "GET /api/users?id=7 HTTP/1.1" 200 5 "-" "agent" 0.002
1.1.1.1 - - [29/Nov/2026:20:00:00 +0000] "GET /api/users?id=8 HTTP/1.1" 503 5 "-" "agent" 0.001
"""


@pytest.fixture
def log(tmp_path):
    path = tmp_path / "access.log"
    path.write_text(LOG)
    return path


def delay_of(reply):
    text = reply.headers["x-slowapi-delay"]
    return {"300ms": 300, "2ms": 2, "1ms": 1}.get(text, text)


def test_each_path_has_its_law_and_others_that_of_all(slowapi, log):
    api = slowapi("--from", str(log))
    assert {delay_of(get(api, "/slow")) for _ in range(3)} == {300}
    assert {delay_of(get(api, "/api/users?x=1")) for _ in range(20)} == {1, 2}
    replies = [get(api, "/ip") for _ in range(30)]
    assert {delay_of(reply) for reply in replies} == {1, 2, 300} and {reply.status for reply in replies} == {200}
    assert get(api, "/api/users").text == "slow api response"
    assert get(api, "/api").status == 404
    assert get(api, "/slow?delay=0").headers["x-slowapi-delay"] == "0s" or get(api, "/slow?delay=0").status == 200


def test_statuses_come_again_when_asked_for(slowapi, log):
    api = slowapi("--from", str(log), "--from-status", "--control", "0")
    replies = [get(api, "/api/users") for _ in range(40)]
    assert {(reply.status, delay_of(reply)) for reply in replies} == {(200, 2), (503, 1)}
    assert {get(api, "/slow").status for _ in range(5)} == {200}
    assert {get(api, "/api/users?status=404").status for _ in range(10)} == {404}
    assert {get(api, "/api/users?delay=0").status for _ in range(10)} == {200}
    assert Control(api).stats()["status"]["5xx"] == sum(reply.status == 503 for reply in replies)


def test_a_law_by_its_name(slowapi, log, tmp_path):
    (tmp_path / "v.csv").write_text("7ms\n")
    api = slowapi("--delay", "0", "--from", str(log), "--from", f"v={tmp_path / 'v.csv'}", "--control", "0")
    assert get(api, "/get?delay=recorded:v").headers["x-slowapi-delay"] == "7ms"
    assert delay_of(get(api, "/slow?delay=recorded")) == 300
    assert get(api, "/?workers=1&service=recorded:v").headers["x-slowapi-delay"] == "7ms"
    reply = get(api, "/?delay=recorded:other")
    assert (reply.status, reply.text) == (400, "delay=recorded is no law of --from; allowed: recorded, recorded:NAME of --from NAME=FILE\n")
    assert get(api, "/?delay=recorded:" + str(log)).status == 400  # never a file of the request's choice
    assert get(api, "/sse?gap=recorded").status == 400
    assert Control(api).ask("PUT", "/rules", '[{"path": "/x", "params": "delay=recorded:v"}]')[0] in (200, 204)
    assert get(api, "/x").headers["x-slowapi-delay"] == "7ms"
    assert Control(api).ask("PUT", "/rules", '[{"path": "/x", "params": "delay=recorded:w"}]')[0] == 400
    assert get(api, "/").text == "slow api response"


@pytest.mark.parametrize("workers", ["1", "2"])
def test_files_are_read_again_on_hup(slowapi, log, workers):
    api = slowapi("--from", str(log), "-w", workers)
    client = Client(api)
    ask = lambda: client.ask("GET", "/slow").headers["x-slowapi-delay"]  # noqa: E731
    assert ask() == "300ms"
    log.write_text("nonsense\n")
    api.send_signal(signal.SIGHUP)
    wait_for(lambda: "laws not read again" in api.stderr(), what="the error")
    assert "line 1" in api.stderr() and ask() == "300ms"
    log.write_text(LOG.replace("0.300", "0.020"))
    api.send_signal(signal.SIGHUP)
    wait_for(lambda: ask() == "20ms", what="the new law")


@pytest.mark.parametrize(
    "args, why",
    [
        (("--from", "/nonexistent"), "--from '/nonexistent': No such file or directory"),
        (("--from-status",), "--from-status: needs --from"),
        (("--delay", "recorded"), "delay=recorded is no law of --from"),
        (("--params", "service=recorded:x"), "service=recorded is no law of --from"),
        (("--params", "gap=recorded"), "is a law of delay and service only"),
    ],
)
def test_what_cannot_be_is_one_line(srv_run, args, why):
    done = srv_run("slowapi", "--bind", "127.0.0.1:0", *args)
    assert done.returncode in (1, 2) and why in done.stderr and done.stderr.count("\n") == 1


def test_a_long_log_is_read_soon_and_its_many_paths_are_bounded(slowapi, tmp_path):
    path = tmp_path / "long.log"
    with path.open("w") as file:
        for i in range(200000):
            file.write(f'1.1.1.1 - - [x] "GET /items/{i % 50000} HTTP/1.1" 200 5 "-" "a" 0.00{i % 10}\n')
    api = slowapi("--from", str(path))
    assert get(api, "/items/3").status in (200, 404)
    resident = int(next(line for line in open(f"/proc/{api.pid}/status") if line.startswith("VmRSS")).split()[1])
    assert resident < (400000 if "asan" in harness.srv_binary() else 80000)


def test_max_delay_cuts_what_was_recorded(slowapi, log):
    """A law of recorded latencies names no longest one: each request is answered, and long delays are cut."""
    api = slowapi("--from", str(log), "--max-delay", "100ms", "--control", "0")
    reply = get(api, "/slow")
    assert (reply.status, reply.headers["x-slowapi-delay"], reply.headers["x-slowapi-cut"]) == (200, "100ms", "300ms")
    assert get(api, "/api/users").status == 200 and Control(api).stats()["cut_delays"] == 1


# --- any number of values -----------------------------------------------------------------


def test_lists_have_any_number_of_values(slowapi):
    api = slowapi("--delay", "0")
    points = ",".join(f"p{i / 10:g}={i}us" for i in range(1, 700))
    replies = [get(api, f"/?status=201&seed={i}&delay={points}") for i in range(20)]
    assert {reply.status for reply in replies} == {201}
    assert len({reply.headers["x-slowapi-delay"] for reply in replies}) > 10
    weights = ",".join(f"{200 + i}:0.1" for i in range(399))
    assert get(api, f"/get?weights={weights}").status >= 200
    assert get(api, f"/get?delay={','.join('1ms:0.2' for _ in range(500))}").status == 200
    assert get(api, f"/get?delay={','.join('1ms:0.2' for _ in range(501))}").status == 400
    assert get(api, f"/get?size={','.join('17:0.1' for _ in range(900))}").status == 200


def test_lists_of_options_and_rules_too(slowapi):
    points = ",".join(f"p{i}={i}ms" for i in range(1, 100))
    api = slowapi("--delay", points, "--control", "0")
    assert get(api, "/?delay=0").status == 200
    assert Control(api).ask("PUT", "/rules", json.dumps([{"path": "/r", "params": f"delay={points}"}]))[0] in (200, 204)
    assert get(api, "/r").status == 200


def test_bench_thinks_by_long_lists_too(slowapi):
    api = slowapi("--delay", "0")
    points = ",".join(f"p{i}={i}us" for i in range(1, 100))
    done = subprocess.run([harness.srv_binary(), "bench", "-n", "20", "-c", "2", "--think", points, api.url], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    done = subprocess.run([harness.srv_binary(), "bench", "-n", "1", "--think", "recorded", api.url], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and "names a law of srv slowapi" in done.stderr
