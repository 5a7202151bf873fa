# SPDX-License-Identifier: MIT
"""srv bench's open model, phases, threads, thresholds and self-check, seen from outside."""

import json
import os
import re
import signal
import subprocess
import threading
import time

import faulty
import harness
import pytest


# --- the open model --------------------------------------------------------------------


def freeze(pid, after, span):
    """Stops a process for a while, from a thread; its `seconds` tell how long it really was."""

    def work():
        time.sleep(after)
        os.kill(pid, signal.SIGSTOP)
        stopped = time.monotonic()
        time.sleep(span)
        os.kill(pid, signal.SIGCONT)
        thread.seconds = time.monotonic() - stopped

    thread = threading.Thread(target=work)
    thread.start()
    return thread


def test_a_frozen_server_shows_in_the_tail(slowapi, bench_json):
    """1 s frozen of 4: a quarter of the users came then; the one in a hundred waited for 0.96 s."""
    api = slowapi()
    thread = freeze(api.pid, 1.5, 1.0)
    code, report = bench_json("-k", "--rate", 200, "-c", 50, "-t", 4, api.url + "?delay=0")
    thread.join()
    assert code == 0
    totals = report["totals"]
    assert totals["planned"] == 800 and totals["requests"] + totals["dropped"] + totals["in_flight"] == 800
    assert 0.9 * thread.seconds < report["latency_us"]["p99"] / 1e6 < thread.seconds + 0.4
    assert report["uncorrected_us"]["p50"] < 100_000
    assert totals["late"] > 50  # 50 connections for 200 users: the others wait inside the generator
    assert report["queue_us"]["max"] > 500_000 > report["queue_us"]["p50"]


def test_rate_is_kept_and_told(slowapi, bench_json):
    api = slowapi()
    code, report = bench_json("-k", "--rate", "6000/m", "-t", 1.5, api.url + "?delay=0.05")
    assert code == 0 and report["config"]["rate"] == 100
    assert report["totals"]["planned"] == 150
    assert report["totals"]["requests"] + report["totals"]["in_flight"] == 150
    assert report["totals"]["in_flight"] <= 40 and report["latency_us"]["p50"] >= 50_000
    assert report["latency_us"]["count"] == 150 == report["uncorrected_us"]["count"]


def test_random_arrivals_repeat_with_their_seed(slowapi, srv_run, tmp_path):
    api = slowapi()
    starts = []
    for seed in (3, 3, 4):
        path = tmp_path / "starts.csv"
        done = srv_run("bench", "-k", "--rate", 400, "--arrivals", "poisson", "--seed", seed, "-n", 100, "--csv", path,
                       api.url + "?delay=0")  # fmt: skip
        assert done.returncode == 0
        starts.append([int(line.split(",")[0]) for line in path.read_text().splitlines()[1:]])
    assert starts[0] == starts[1] != starts[2]
    gaps = [after - before for before, after in zip(starts[0], starts[0][1:])]
    assert min(gaps) < 500 and max(gaps) > 5000  # even ones would all be 2500


def test_drain_waits_for_answers_and_its_absence_reports_ages(slowapi, bench_json):
    api = slowapi()
    url = api.url + "?delay=0.6"
    report = bench_json("-t", 0.3, "-c", 3, url)[1]
    assert report["totals"]["in_flight"] == 3 and report["latency_us"]["count"] == 3
    latency = report["latency_us"]
    assert latency["censored"] == 3 and latency["min"] is latency["mean"] is None and latency["p50"] >= 250_000
    report = bench_json("-t", 0.3, "--drain", 5, "-c", 3, url)[1]
    assert report["totals"]["in_flight"] == 0 and report["totals"]["succeeded"] == 3


def test_warm_up_is_not_counted(bench_json):
    with faulty.Server(["ok"]) as server:
        code, report = bench_json("-k", "-n", 20, "--warmup", 0.3, server.url)
        assert code == 0 and report["totals"]["requests"] == 20 < sum(server.did.values())
        assert report["latency_us"]["count"] == 20 and report["totals"]["seconds"] < 1


# --- phases ------------------------------------------------------------------------------


def test_phases_add_up(slowapi, bench_json):
    api = slowapi()
    report = bench_json("-k", "-n", 12, "-c", 3, api.url + "?delay=0.05")[1]
    assert report["new_us"]["count"] == 3 and report["reused_us"]["count"] == 9
    assert report["connect_us"]["count"] == report["send_us"]["count"] == report["receive_us"]["count"] == 12
    assert report["wait_us"]["min"] >= 49_000 and report["wait_us"]["max"] <= report["latency_us"]["max"]


def test_receiving_is_not_waiting(bench_json):
    with faulty.Server(["dribble"]) as server:
        report = bench_json("-n", 3, server.url)[1]
    # A busy machine may be late for the first byte of one of them, not of all.
    assert report["receive_us"]["max"] >= 150_000 and report["wait_us"]["min"] < 150_000


# --- threads -------------------------------------------------------------------------------


def test_workers_share_requests_and_connections(bench_json):
    script = ["ok", "ok", "reset", "ok", "truncated", "error"]
    with faulty.Server(script) as server:
        code, report = bench_json("-r", "-k", "-W", 2, "-n", 601, "-c", 7, server.url)
    assert code == 0 and report["totals"]["requests"] == sum(server.did.values()) == 601
    assert report["failures"]["reset"] + report["failures"]["closed_reused"] == server.did["reset"]
    assert report["failures"]["truncated"] == server.did["truncated"]
    assert report["totals"]["non_2xx"] == server.did["error"]
    assert report["config"]["workers"] == 2


def test_one_workers_error_ends_all(srv_run):
    with faulty.Server(["ok"] * 50 + ["reset"] * 10 + ["ok"] * 100000) as server:
        started = time.monotonic()
        done = srv_run("bench", "-k", "-W", 2, "-t", 20, "-c", 4, server.url)
    assert done.returncode == 1 and time.monotonic() - started < 10


def test_ramp_spreads_the_starts(srv_run, tmp_path):
    path = tmp_path / "requests.ndjson"
    with faulty.Server(["slow"]) as server:
        done = srv_run("bench", "-n", 4, "-c", 4, "-R", 100, "--ndjson", path, server.url)
    assert done.returncode == 0
    starts = [json.loads(line)["start_us"] for line in path.read_text().splitlines()]
    assert starts == sorted(starts) and all(at >= 100_000 * i for i, at in enumerate(starts))
    assert starts[3] < 1_000_000


# --- verdicts --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "condition, code",
    [("errors>10%", 4), ("errors>50%", 0), ("p50>10s", 0), ("max>0us", 4), ("rps<1000000", 4), ("non2xx>0", 0)],
)
def test_conditions_decide_the_exit_code(srv_run, condition, code):
    with faulty.Server(["ok", "ok", "early"]) as server:
        done = srv_run("bench", "-n", 9, "--fail-if", condition, server.url)
    assert done.returncode == code
    assert f"{'FAILED' if code else 'passed'}   {condition.replace('%', ' %')}: it is" in done.stdout


def test_abort_if_ends_a_hopeless_run(bench_json):
    with faulty.Server(["early"]) as server:
        started = time.monotonic()
        code, report = bench_json("-t", 30, "--abort-if", "errors>50%", server.url)
        assert time.monotonic() - started < 10
    assert code == 4 and report["stopped_by"] == "errors>50%"


def test_expectations_are_failures_of_their_own(bench_json):
    with faulty.Server(["ok", "error", "chunked"]) as server:
        code, report = bench_json("-k", "-n", 30, "--expect-status", "2xx", server.url)
        assert code == 0 and report["failures"]["status"] == server.did["error"] == 10
    with faulty.Server(["ok", "bytewise", "longer"]) as server:
        report = bench_json("-k", "-l", "-n", 30, "--expect-body", "world!!", server.url)[1]
        assert report["failures"]["body"] == server.did["ok"] + server.did["bytewise"] == 20


def test_the_generator_tells_how_it_felt(slowapi, bench_json):
    report = bench_json("-k", "-t", 0.5, "-c", 4, slowapi().url + "?delay=0")[1]
    generator = report["generator"]
    assert 0 < generator["cpu_s"] and 0 < generator["busiest_worker"] <= 1.2
    assert generator["lag_us"]["count"] > 3 and generator["descriptors_max"] > 0
    assert "was_the_limit" in generator


def test_progress_is_a_line_per_second(slowapi, srv_run):
    api = slowapi()
    done = srv_run("bench", "-k", "-t", 2.2, "-c", 2, "--progress", "--json", "-", api.url + "?delay=0.01")
    lines = [line for line in done.stderr.splitlines() if " req/s " in line]
    assert len(lines) == 2 and all("p50" in line and "in flight" in line for line in lines)
    series = json.loads(done.stdout)["series"]
    assert sum(row["requests"] for row in series) == json.loads(done.stdout)["totals"]["requests"]


# --- where to, where from ----------------------------------------------------------------------


def test_unix_sockets(slowapi, bench_json, tmp_path):
    path = tmp_path / "api.sock"
    slowapi("--bind", "127.0.0.1:0", "--bind", f"unix:{path}")
    for args in ([f"unix:{path}:/?delay=0"], ["--unix-socket", path, "http://somewhere/?delay=0"]):
        code, report = bench_json("-n", 40, "-c", 4, *args)
        assert code == 0 and report["totals"]["succeeded"] == 40


def test_a_proxy_is_told_the_whole_url(srv_run):
    with faulty.Server(["ok"]) as server:
        args = ["-X", f"127.0.0.1:{server.port}", "-P", "u:p", "http://example.org:81/x?y"]
        done = srv_run("bench", *args)
        head = server.heads[0].decode()
    assert done.returncode == 0 and f"[through 127.0.0.1:{server.port}]" in done.stdout
    assert head.startswith("GET http://example.org:81/x?y HTTP/1.1\r\nHost: example.org:81\r\n")
    assert "Proxy-Authorization: Basic dTpw\r\n" in head


def test_source_addresses_take_turns(bench_json):
    with faulty.Server(["ok"]) as server:
        code, _ = bench_json("-n", 9, "-B", "127.0.0.2,127.0.0.3,127.0.0.4", "-b", "16k", server.url)
        assert code == 0 and server.peers == {f"127.0.0.{i}": 3 for i in (2, 3, 4)}
        assert bench_json("-o", "127.0.0.5", server.url)[0] == 0 and server.peers["127.0.0.5"] == 1


def test_requests_per_connection(bench_json):
    with faulty.Server(["ok"]) as server:
        report = bench_json("-k", "-n", 10, "--requests-per-connection", 4, server.url)[1]
        assert server.connections == 3 == report["totals"]["connections"] and report["totals"]["failed"] == 0


def test_bodies_from_the_command_line_and_stdin(srv_run):
    with faulty.Server(["ok"]) as server:
        assert srv_run("bench", "--body", "a=1", "-T", "x/y", server.url).returncode == 0
        assert server.heads[0].startswith(b"POST ") and server.bodies == [b"a=1"]
        done = subprocess.run([harness.srv_binary(), "bench", "-p", "-", server.url], input=b"piped", timeout=60,
                              capture_output=True, check=False)  # fmt: skip
        assert done.returncode == 0 and server.bodies[-1] == b"piped"


# --- files -----------------------------------------------------------------------------------------


def test_percentages_and_gnuplot_lines(srv_run, tmp_path):
    with faulty.Server(["ok"]) as server:
        done = srv_run("bench", "-n", 10, "-e", tmp_path / "e", "-g", tmp_path / "g", server.url)
    assert done.returncode == 0
    rows = (tmp_path / "e").read_text().splitlines()
    assert rows[0] == "Percentage served,Time in ms"
    assert [row.split(",")[0] for row in rows[1:]] == [str(i) for i in range(101)]
    values = [float(row.split(",")[1]) for row in rows[1:]]
    assert values == sorted(values) and values[0] > 0
    rows = [line.split("\t") for line in (tmp_path / "g").read_text().splitlines()]
    assert rows[0] == ["starttime", "seconds", "ctime", "dtime", "ttime", "wait"] and len(rows) == 11
    assert all(int(row[4]) == int(row[2]) + int(row[3]) and abs(int(row[1]) - time.time()) < 100 for row in rows[1:])


def test_a_line_per_request_in_start_order(srv_run, tmp_path):
    with faulty.Server(["ok", "reset", "error", "early"]) as server:
        done = srv_run("bench", "-r", "-n", 40, "-c", 4, "-W", 2, "--csv", tmp_path / "c", server.url)
    assert done.returncode == 0
    header, *rows = (line.split(",") for line in (tmp_path / "c").read_text().splitlines())
    assert len(rows) == 40 and header[:3] == ["start_us", "outcome", "status"]
    assert [int(row[0]) for row in rows] == sorted(int(row[0]) for row in rows)
    outcomes = [row[1] for row in rows]
    assert outcomes.count("reset") == server.did["reset"] and outcomes.count("closed_early") == server.did["early"]
    assert [row[2] for row in rows].count("500") == server.did["error"]


def test_spectrum_and_chosen_percentiles(srv_run, tmp_path):
    with faulty.Server(["ok"]) as server:
        args = ["-k", "-n", 200, "-q", "--percentiles", "50,99.9", "--spectrum", tmp_path / "s"]
        done = srv_run("bench", *args, server.url)
    assert re.search(r"^p99\.9 +\d+\.\d{3} ms$", done.stdout, re.M) and "99.9%" not in done.stdout
    lines = (tmp_path / "s").read_text().splitlines()
    assert lines[0].split() == ["Value", "Percentile", "TotalCount", "1/(1-Percentile)"]
    rows = [[float(x) for x in line.split()] for line in lines[2:] if not line.startswith("#")]
    assert rows[-1][1:3] == [1.0, 200.0] and [row[0] for row in rows] == sorted(row[0] for row in rows)


def test_merge_adds_reports_up(srv_run, tmp_path):
    paths = [tmp_path / "a.json", tmp_path / "b.json"]
    with faulty.Server(["ok", "ok", "early"]) as server:
        for path in paths:
            assert srv_run("bench", "-n", 30, "-c", 3, "--json", path, server.url).returncode == 0
    merge = ["bench", "--merge", *paths, "--json", tmp_path / "sum.json", "--fail-if", "errors>40%"]
    done = srv_run(*merge, "--merge-anyway")
    assert done.returncode == 0 and "Complete requests:      60" in done.stdout
    parts = [json.loads(path.read_text()) for path in paths]
    total = json.loads((tmp_path / "sum.json").read_text())
    assert total["config"]["concurrency"] == 6
    for key in ("requests", "succeeded", "failed", "bytes_received", "connections"):
        assert total["totals"][key] == sum(part["totals"][key] for part in parts)
    assert total["latency_us"]["count"] == sum(part["latency_us"]["count"] for part in parts)
    (tmp_path / "junk").write_text("{}")
    done = srv_run("bench", "--merge", tmp_path / "junk")
    assert done.returncode == 1 and "junk" in done.stderr and done.stderr.count("\n") == 1
