# SPDX-License-Identifier: MIT
"""The figures of srv bench: what they divide by, what they say of requests without an answer, and who is to blame."""

import itertools
import json
import os
import re
import signal
import socket
import subprocess
import threading
import time

import faulty
import harness
import pytest
from harness import wait_for

PERCENTILES = {"p50": 50, "p66": 66, "p75": 75, "p80": 80, "p90": 90, "p95": 95, "p98": 98, "p99": 99, "p99_9": 99.9}
RULER = "\n---- ab ----\n"


def stop_for(pid, after, span):
    """Stops a process for a while, from a thread that is returned."""

    def work():
        time.sleep(after)
        os.kill(pid, signal.SIGSTOP)
        time.sleep(span)
        os.kill(pid, signal.SIGCONT)

    thread = threading.Thread(target=work)
    thread.start()
    return thread


class Bench:
    """A running srv bench that writes its report as JSON."""

    def __init__(self, path, *args):
        self.path = path
        command = [harness.srv_binary(), "bench", "-q", "--json", path, *map(str, args)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                        preexec_fn=harness.die_with_parent)  # fmt: skip

    def end(self):
        """(exit code, the report as a dict, the report as text)"""
        out, err = self.process.communicate(timeout=60)
        assert self.path.exists(), err
        return self.process.returncode, json.loads(self.path.read_text()), out


# --- what figures are made of ------------------------------------------------------------


def bucket(usec):
    """Orders times as histograms of three digits do; only their largest value is told exactly."""
    return usec.bit_length(), usec >> max(usec.bit_length() - 11, 0)


def kaplan_meier(ended, ages, percent):
    """(microseconds, known) of a percentile, counted from a report's histograms in the plainest way."""
    events = [(value, 0, count) for value, count in ended] + [(value, 1, count) for value, count in ages]
    events.sort(key=lambda event: (bucket(event[0]), event[1]))
    risk, survival = sum(count for _, _, count in events), 1.0
    for value, is_age, count in events:
        if not is_age:
            survival *= 1 - count / risk
            if 1 - survival >= percent / 100 - 1e-9:
                return value, True
        risk -= count
    return max([value for value, _, _ in events], default=0), False


def check_distribution(report, key):
    d = report[key]
    ended, ages = report["histograms"][key], report["ages"][key]
    assert d["count"] == sum(count for _, count in ended + ages)
    assert d["censored"] == sum(count for _, count in ages)
    if d["count"] == 0:
        assert d["p50"] is d["min"] is d["mean"] is d["max"] is d["known_share"] is None
        return
    points = [d[name] for name in PERCENTILES] + [d["max"]]
    assert points == sorted(points)
    if ended:
        assert d["min"] <= d["mean"] <= max(value for value, _ in ended) and d["min"] <= points[0]
    for name, percent in PERCENTILES.items():
        value, known = kaplan_meier(ended, ages, percent)
        assert known == (percent / 100 <= d["known_share"] + 1e-9)
        assert d[name] == value if known else d[name] <= d["max"]


def check_report(report):
    """What holds of every run, whatever it met."""
    totals, latency = report["totals"], report["latency_us"]
    assert totals["rps"] * totals["seconds"] == pytest.approx(totals["succeeded"])
    assert totals["received_per_s"] * totals["seconds"] == pytest.approx(totals["bytes_received"])
    assert totals["requests"] == totals["succeeded"] + totals["failed"]
    assert totals["failed"] == sum(report["failures"].values())
    for key in report["histograms"]:
        check_distribution(report, key)
    timed_out = sum(report["failures"][key] for key in ("timeout_connect", "timeout_first_byte", "timeout_body"))
    assert latency["censored"] == totals["in_flight"] + totals["dropped"] + timed_out
    if totals["planned"]:
        assert totals["planned"] == totals["requests"] + totals["in_flight"] + totals["dropped"]
        assert totals["starved"] <= totals["late"] + totals["dropped"]
    series = report["series"]
    if report["merged"] is None:
        assert sum(row["requests"] for row in series) == totals["requests"]
        assert sum(row["failed"] for row in series) == totals["failed"]
        for before, row in zip([None, *series], series):
            assert row["rps"] * row["seconds"] == pytest.approx(row["requests"])
            began = before["second"] if before else 0
            assert row["second"] - row["seconds"] == pytest.approx(began, abs=1e-6)
            assert (row["p50_us"] is None) == (row["max_us"] is None)
    if series and totals["in_flight"]:
        assert series[-1]["in_flight"] == totals["in_flight"]


SHAPES = {
    "closed": (["ok"], ["-k", "-n", 500, "-c", 4]),
    "connections": (["ok"], ["-n", 60, "-c", 4, "-W", 2]),
    "time": (["ok"], ["-k", "-t", 1.3, "-c", 4, "-W", 2]),
    "in-flight": (["ok"] * 20 + ["slow"], ["-k", "-t", 1.1, "-c", 8]),
    "time-outs": (["ok"] * 5 + ["silent", "stalled"], ["-n", 40, "-c", 4, "-s", 0.15]),
    "faults": (["ok", "reset", "error", "early", "garbage", "ok"], ["-r", "-k", "-n", 90, "-c", 3]),
    "hung": (["ok"] * 30 + ["silent"] * 1000, ["-k", "-t", 1.2, "-c", 4]),
    "no answer": (["silent"], ["-t", 0.4, "-c", 3]),
    "planned": (["ok"], ["-k", "--rate", 200, "-t", 1.2]),
    "planned, hung": (["ok"] * 60 + ["silent"] * 1000, ["-k", "--rate", 100, "-c", 5, "-t", 1.2]),
    "warm": (["ok"], ["-k", "--warmup", 0.3, "--rate", 100, "-t", 0.7, "-W", 2]),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_the_figures_of_a_report_agree(srv_run, bench_json, tmp_path, shape):
    script, args = SHAPES[shape]
    with faulty.Server(script) as server:
        report = bench_json("-q", *args, server.url)[1]
    check_report(report)
    (tmp_path / "one").write_text(json.dumps(report))
    srv_run("bench", "--merge", tmp_path / "one", "--json", tmp_path / "sum")
    merged = json.loads((tmp_path / "sum").read_text())
    check_report(merged)
    assert merged["totals"]["rps"] == pytest.approx(report["totals"]["rps"], rel=1e-6)
    same(merged, report)


def same(merged, whole):
    """Counts and percentiles of a sum are those of the whole."""
    for key in ("requests", "succeeded", "failed", "errors", "in_flight", "planned", "late", "dropped", "starved",
                "bytes_received", "connections", "concurrency"):  # fmt: skip
        assert merged["totals"][key] == whole["totals"][key], key
    assert merged["failures"] == whole["failures"] and merged["statuses"] == whole["statuses"]
    for key in whole["histograms"]:
        assert merged["histograms"][key] == whole["histograms"][key] and merged["ages"][key] == whole["ages"][key]
        for name in [*PERCENTILES, "max", "count", "censored", "known_share"]:
            assert merged[key][name] == whole[key][name], (key, name)


# --- the span of a run -----------------------------------------------------------------------


@pytest.mark.parametrize("load", [["-c", 4], ["--rate", 100, "-c", 20]], ids=["closed", "open"])
def test_a_server_that_stops_answering_lowers_the_rate(slowapi, tmp_path, load):
    api = slowapi()
    bench = Bench(tmp_path / "r", "-k", "-t", 4, *load, "--fail-if", "rps<1000000", api.url + "?delay=0.002")
    time.sleep(1.5)
    api.send_signal(signal.SIGSTOP)
    code, report, text = bench.end()
    api.send_signal(signal.SIGCONT)
    check_report(report)
    totals = report["totals"]
    assert code == 4 and 4 <= totals["seconds"] < 6
    assert totals["rps"] == pytest.approx(totals["succeeded"] / totals["seconds"])
    told = float(re.search(r"^Requests per second: +(\S+)", text, re.M).group(1))
    assert told == pytest.approx(totals["rps"], abs=0.01) and report["conditions"][0]["value"] == totals["rps"]
    last = report["series"][-1]
    assert last["second"] == pytest.approx(totals["seconds"], abs=0.05) and last["requests"] == 0 and last["p50_us"] is None
    assert last["in_flight"] == totals["in_flight"] > 0
    assert report["latency_us"]["max"] > 1_500_000 and report["latency_us"]["mean"] < 500_000


def test_a_low_planned_rate_is_the_rate(slowapi, bench_json):
    report = bench_json("-k", "--rate", 4, "-t", 1.5, slowapi().url + "?delay=0")[1]
    assert report["totals"]["succeeded"] == 6 and 3.5 < report["totals"]["rps"] <= 4


def test_a_signal_or_a_condition_ends_the_span(tmp_path):
    with faulty.Server(["ok"] * 20 + ["silent"] * 100) as server:
        bench = Bench(tmp_path / "r", "-k", "-n", 100, server.url)
        deadline = time.monotonic() + 20
        while server.did["silent"] == 0 and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.7)
        bench.process.send_signal(signal.SIGINT)
        code, report, _ = bench.end()
    assert code == 130 and report["totals"]["seconds"] > 0.7 and report["totals"]["succeeded"] == 20
    check_report(report)


def test_n_requests_end_with_the_last_answer(bench_json):
    with faulty.Server(["slow"]) as server:
        report = bench_json("-n", 4, "-c", 4, "-t", 30, server.url)[1]
    assert 0.29 < report["totals"]["seconds"] < 5


# --- requests without an answer ----------------------------------------------------------------


def test_requests_in_flight_are_no_fast_answers(slowapi, tmp_path):
    api = slowapi()
    bench = Bench(tmp_path / "r", "-k", "-t", 1.1, "-c", 16, "--percentiles", 50, "--fail-if", "p50<590ms",
                  api.url + "?delay=0.6")  # fmt: skip
    code, report, text = bench.end()
    check_report(report)
    latency = report["latency_us"]
    assert code == 0 and latency["censored"] == 16 and latency["known_share"] == pytest.approx(1)
    assert 600_000 <= latency["min"] <= latency["p50"] <= latency["max"]
    assert latency["min"] <= latency["mean"] <= latency["max"]
    assert latency["p50"] == report["percentiles_us"]["50"] == report["conditions"][0]["value"]
    p50 = latency["p50"]
    assert re.search(r"^  all +(\S+ \w+)", text, re.M).group(1) == f"{p50 / 1000:.0f} ms"
    assert re.search(r"^p50 +(\S+) ms", text, re.M).group(1) == f"{p50 / 1000:.3f}"
    assert re.search(r"^Total: .* (\d+) +\d+$", text, re.M).group(1) == str((p50 + 500) // 1000)
    assert re.search(r"^ +50% +(\d+)$", text, re.M).group(1) == str((p50 + 500) // 1000)


def test_time_outs_are_lower_bounds(bench_json):
    with faulty.Server(["ok"] * 3 + ["silent"]) as server:
        report = bench_json("-n", 40, "-c", 4, "-s", 0.3, "--fail-if", "p99>250ms", server.url)
    code, report = report
    check_report(report)
    latency = report["latency_us"]
    assert code == 4 and latency["censored"] == 10 and 0.7 < latency["known_share"] < 0.8
    assert latency["p50"] < 250_000 < 300_000 <= latency["p99"] <= latency["max"] and latency["mean"] < 250_000
    assert report["conditions"][0]["at_least"] is True


# --- the open model ----------------------------------------------------------------------------


def test_the_open_model_tells_what_it_measured(slowapi, tmp_path):
    """One connection is enough for a request of 2 ms every 100; a mean of 500 x time / done would be seconds."""
    bench = Bench(tmp_path / "r", "-k", "--rate", 10, "-t", 1.5, slowapi().url + "?delay=0.002")
    _, report, text = bench.end()
    level = int(re.search(r"^Concurrency Level: +(\d+)", text, re.M).group(1))
    mean = float(re.search(r"^Time per request: +(\S+) \[ms\] \(mean\)$", text, re.M).group(1))
    assert level == report["totals"]["concurrency"] <= 15
    assert mean == pytest.approx(report["latency_us"]["mean"] / 1000, abs=0.001)


def test_the_warning_says_that_connections_were_busy(slowapi, tmp_path):
    bench = Bench(tmp_path / "r", "-k", "--rate", 50, "-c", 2, "-t", 1.5, slowapi().url + "?delay=0.2")
    _, report, text = bench.end()
    check_report(report)
    totals = report["totals"]
    assert totals["late"] + totals["dropped"] > totals["starved"] + 20
    assert "found all 2 connections busy" in text


def test_the_warning_says_that_the_generator_was_late(slowapi, tmp_path):
    bench = Bench(tmp_path / "r", "-k", "--rate", 100, "-t", 2.5, slowapi().url + "?delay=0")
    stop_for(bench.process.pid, 1.0, 0.8).join()
    _, report, text = bench.end()
    check_report(report)
    assert report["totals"]["starved"] > 50 and "were begun late by the generator itself" in text


# --- a generator that was stopped ----------------------------------------------------------------


def test_a_stopped_generator_blames_itself(slowapi, tmp_path):
    api, csv = slowapi(), tmp_path / "c"
    bench = Bench(tmp_path / "r", "-k", "-t", 3, "-c", 4, "--csv", csv, api.url + "?delay=0.005")
    stop_for(bench.process.pid, 1.2, 1.0).join()
    _, report, text = bench.end()
    check_report(report)
    pauses = report["generator"]["pauses"]
    assert 0.9 < pauses["longest_s"] <= pauses["seconds"] < 2.9 and pauses["longest_cpu_s"] < 0.5
    assert 0.2 < pauses["longest_at_s"] < 1.6
    assert report["generator"]["lag_us"]["p99"] > 500_000
    assert "stopped or given no processor" in report["generator"]["was_the_limit"]
    assert "WARNING: the generator, not the server, was the limit" in text
    assert report["latency_us"]["max"] > 900_000 > report["undisturbed_us"]["p99"]
    assert re.search(r"^  undisturbed ", text, re.M)
    header, *rows = (line.split(",") for line in csv.read_text().splitlines())
    slow = [row for row in rows if int(row[header.index("total_us")]) > 900_000]
    assert slow and all(row[header.index("disturbed")] == "1" for row in slow)
    assert sum(row[header.index("disturbed")] == "1" for row in rows) == report["disturbed_us"]["count"]


def test_a_stopped_server_is_not_the_generator(slowapi, tmp_path):
    api = slowapi()
    bench = Bench(tmp_path / "r", "-k", "-t", 3, "-c", 4, api.url + "?delay=0.005")
    stop_for(api.pid, 1.0, 1.2).join()
    _, report, _ = bench.end()
    assert report["latency_us"]["max"] > 1_000_000 > 1e6 * report["generator"]["pauses"]["longest_s"]
    assert "stopped" not in (report["generator"]["was_the_limit"] or "") or report["generator"]["pauses"]["seconds"] > 0.06
    assert report["undisturbed_us"]["max"] > 1_000_000 or report["generator"]["pauses"]["count"] > 0


# --- conditions ------------------------------------------------------------------------------------


@pytest.mark.parametrize("condition", ["p99>200", "mean>=1.5", "max>2", "p50<0"])
def test_a_latency_without_a_unit_is_refused(srv_run, condition):
    for option in ("--fail-if", "--abort-if"):
        done = srv_run("bench", option, condition, "http://127.0.0.1:1/")
        assert done.returncode == 2 and "ms or " in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.parametrize("condition", ["dropped>20", "late>20", "late>10%", "p90>300ms", "max>500ms", "errors>5"])
def test_abort_if_sees_requests_that_hang_or_wait(bench_json, condition):
    script = ["ok"] * 10 + (["error"] if condition.startswith("errors") else ["silent"]) * 2000
    with faulty.Server(script) as server:
        started = time.monotonic()
        code, report = bench_json("-k", "--rate", 60, "-c", 5, "-t", 30, "--abort-if", condition, server.url)
        assert time.monotonic() - started < 12
    assert code == 4 and report["stopped_by"] == condition
    check_report(report)


@pytest.mark.parametrize(
    "args, why",
    [
        (["errors>100%"], "can never come true"),
        (["errors>=100.1%"], "can never come true"),
        (["rps<0"], "can never come true"),
        (["p99<0ms"], "can never come true"),
        (["dropped>0"], "needs --rate"),
        (["late>1%", "-t", 1], "needs --rate"),
        (["p99>31s"], "--timeout ends each request after 30 s"),
        (["max>=2s", "-s", 1.5], "--timeout ends each request after 1.5 s"),
    ],
)
def test_a_condition_that_cannot_come_true_is_refused(srv_run, args, why):
    for option in ("--fail-if", "--abort-if"):
        done = srv_run("bench", option, *args, "http://127.0.0.1:1/")
        assert done.returncode == 2 and why in done.stderr and done.stderr.count("\n") == 1


def test_a_condition_that_may_come_true_is_taken(srv_run):
    with faulty.Server(["ok"]) as server:
        for condition in ("errors>=100%", "p99>30s", "p99>60s", "dropped>0", "late>99%", "rps<=0"):
            done = srv_run("bench", "--rate", 50, "-n", 1, "--fail-if", condition, server.url)
            assert done.returncode == 0 and f"passed   {condition.replace('%', ' %')}" in done.stdout


@pytest.mark.parametrize("condition", ["p50>200ms", "dropped>20"])
def test_abort_if_is_looked_at_when_a_run_ends_between_two_seconds(bench_json, condition):
    with faulty.Server(["silent"]) as server:
        code, report = bench_json("-k", "--rate", 100, "-c", 2, "-t", 0.7, "--abort-if", condition, server.url)
    assert code == 4 and report["stopped_by"] is None
    assert [(one["abort_if"], one["failed"]) for one in report["conditions"]] == [(condition, True)]


def test_errors_are_answers_that_are_not_2xx_unless_expected(srv_run):
    with faulty.Server(["error"]) as server:
        assert srv_run("bench", "-n", 5, "--fail-if", "errors>0", server.url).returncode == 4
        assert srv_run("bench", "-n", 5, "--fail-if", "errors>0", "--expect-status", 500, server.url).returncode == 0
    assert "not 2xx" in srv_run("bench", "--help").stdout


# --- merging ---------------------------------------------------------------------------------------


def test_runs_at_one_time_add_up(srv_run, slowapi, tmp_path):
    url = slowapi().url + "?delay=0.01"
    both = [Bench(tmp_path / name, "-k", "-t", 3, "-c", 3, url) for name in "ab"]
    parts = [bench.end()[1] for bench in both]
    merge = ["bench", "--merge", tmp_path / "a", tmp_path / "b", "--json", tmp_path / "sum"]
    done = srv_run(*merge)
    skew = abs(parts[0]["totals"]["started_s"] - parts[1]["totals"]["started_s"])
    if skew > 0.14:  # a machine too busy to start two programs together
        assert done.returncode == 1 and srv_run(*merge, "--merge-anyway").returncode == 0
    else:
        assert done.returncode == 0 and f"begun within {skew:.3f} s" in done.stdout
    merged = json.loads((tmp_path / "sum").read_text())
    check_report(merged)
    assert merged["merged"]["start_skew_s"] == pytest.approx(skew, abs=1e-3)
    assert merged["totals"]["seconds"] >= max(part["totals"]["seconds"] for part in parts) - 1e-6
    for key in ("requests", "in_flight", "bytes_received"):
        assert merged["totals"][key] == sum(part["totals"][key] for part in parts)
    for key in ("latency_us", "wait_us"):
        assert merged[key]["count"] == sum(part[key]["count"] for part in parts)
        mean = sum(p[key]["mean"] * (p[key]["count"] - p[key]["censored"]) for p in parts)
        mean /= merged[key]["count"] - merged[key]["censored"]
        assert merged[key]["mean"] == pytest.approx(mean, rel=2e-3)


def test_runs_that_were_not_one_load_are_refused(srv_run, tmp_path):
    with faulty.Server(["ok"]) as server:
        runs = {"a": [], "b": [], "post": ["-m", "POST"], "kept": ["-k"]}
        for name, args in runs.items():
            assert srv_run("bench", "-t", 0.3, *args, "--json", tmp_path / name, server.url).returncode == 0
        assert srv_run("bench", "-t", 0.3, "--json", tmp_path / "url", server.url + "2").returncode == 0
    for other, why in {"b": "overlap for 0.0 %", "post": "method", "kept": "keep_alive", "url": "url"}.items():
        done = srv_run("bench", "--merge", tmp_path / "a", tmp_path / other)
        assert done.returncode == 1 and done.stdout == "" and done.stderr.count("\n") == 1, done.stderr
        assert why in done.stderr and "--merge-anyway" in done.stderr
        done = srv_run("bench", "--merge", "--merge-anyway", tmp_path / "a", tmp_path / other, "--json", tmp_path / "s")
        assert done.returncode == 0
        merged = json.loads((tmp_path / "s").read_text())
        parts = [json.loads((tmp_path / name).read_text())["totals"] for name in ("a", other)]
        assert merged["totals"]["seconds"] == pytest.approx(sum(part["seconds"] for part in parts), abs=1e-3)
        assert merged["totals"]["rps"] <= max(part["rps"] for part in parts) * 1.001


# --- ports -------------------------------------------------------------------------------------------


def test_only_ports_that_the_target_misses_are_counted(bench_json):
    """40 sockets in TIME_WAIT, closed first by their client: they are in the way of their own target alone. The other one's
    port may have been somebody else's, a moment ago."""

    def waiting(at):
        return bench_json("-k", "-n", 2, at.url)[1]["generator"]["ports_waiting"]

    with faulty.Server(["ok"]) as server, faulty.Server(["ok"]) as other:
        before = waiting(other)
        for _ in range(40):
            with socket.create_connection(("127.0.0.1", server.port)) as conn:
                conn.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                conn.recv(1000)
        assert waiting(server) >= 40
        assert waiting(other) < before + 5


# --- files -------------------------------------------------------------------------------------------


def test_every_planned_request_has_a_row(srv_run, tmp_path):
    with faulty.Server(["ok"] * 10 + ["silent"] * 1000) as server:
        done = srv_run("bench", "-k", "--rate", 100, "-c", 3, "-t", 0.6, "--csv", tmp_path / "c", "--ndjson",
                       tmp_path / "n", "--json", tmp_path / "j", server.url)  # fmt: skip
    assert done.returncode == 0
    totals = json.loads((tmp_path / "j").read_text())["totals"]
    rows = [line.split(",") for line in (tmp_path / "c").read_text().splitlines()[1:]]
    objects = [json.loads(line) for line in (tmp_path / "n").read_text().splitlines()]
    assert len(rows) == len(objects) == totals["planned"] == 60
    for name in ("dropped", "in_flight"):
        assert sum(row[1] == name for row in rows) == sum(o["outcome"] == name for o in objects) == totals[name] > 0
    dropped = [o for o in objects if o["outcome"] == "dropped"]
    assert all(o["total_us"] == o["queue_us"] > 0 and o["status"] == 0 for o in dropped)
    assert [int(row[0]) for row in rows] == sorted(int(row[0]) for row in rows)


# --- for people, and for what reads ab ---------------------------------------------------------------

IDIOMS = [
    "grep 'Requests per second' | awk '{print $4}'",
    "awk '/Requests per second/ {print $4; exit}'",
    "grep -i 'requests per second' | cut -d: -f2 | tr -s ' ' | cut -d' ' -f2",
    "sed -n 's/^Time per request: *\\([0-9.]*\\) .*(mean)$/\\1/p'",
    "grep 'Time per request' | head -1 | awk '{print $4}'",
    "grep 'across all concurrent' | awk '{print $4}'",
    "grep -i failed | awk '{print $3}'",
    "awk -F: '/Complete requests|Failed requests|Non-2xx/ {gsub(/ /, \"\", $2); print $2}'",
    "grep '50%' | awk '{print $2}'",
    "awk '$1 ~ /%$/ {print $1, $2}'",
    "grep -E '^ +(50|66|75|80|90|95|98|99|100)%' | awk '{print $2}'",
    "grep -oE '[0-9]+%'",
    "grep longest | awk '{print $2}'",
    "awk '/^Total:/ {print $2, $3, $5, $6}'",
    "grep -E '^(Connect|Processing|Waiting|Total):'",
    "sed -n '/Connection Times/,$p'",
    "grep -i 'transfer' | awk '{print $3}'",
    "grep -i mean",
    "grep -c requests",
    "grep Time",
    "grep -A3 'Complete requests'",
    "grep Document | awk -F: '{print $2}'",
    "tail -1",
    "perl -ne '$h{$1} = $2 if /^([A-Z][\\w -]+):\\s+([\\d.]+)/; "
    "END { print map { \"$_=$h{$_}\\n\" } grep { exists $h{$_} } \"Requests per second\", \"Time per request\", "
    "\"Failed requests\", \"Complete requests\", \"Concurrency Level\", \"Total\", \"Connect\", \"Waiting\" }'",
    "perl -ne 'print \"$1 $2\\n\" if /(Complete|Failed|Write errors|Keep-Alive) ?(?:requests)?:\\s+(\\d+)/i'",
]


@pytest.mark.parametrize("script", [["ok"], ["ok", "error", "early"], ["ok"] * 20 + ["slow"]], ids=["ok", "bad", "tail"])
@pytest.mark.parametrize("args", [["-n", 60, "-c", 2], ["-k", "-t", 0.5, "-c", 2]], ids=["n", "t"])
def test_what_reads_ab_finds_the_same_fields(srv_run, script, args):
    conditions = ["--fail-if", "errors>50%", "--percentiles", "50,95,99", "--expect-body", "w"]
    with faulty.Server(script) as server:
        for extra in ([], conditions):
            report = srv_run("bench", *args, *extra, server.url).stdout
            people, ab = report.split(RULER)
            assert "throughput" in people and ab.lstrip().startswith("Server Software:")
            for idiom in IDIOMS:
                if extra and idiom.startswith("grep -i failed"):
                    continue  # who gives conditions may find their verdicts, too
                whole, alone = (
                    subprocess.run(idiom, shell=True, input=text, capture_output=True, text=True, check=False).stdout
                    for text in (report, ab)
                )
                assert whole == alone and (whole or "Non-2xx" in idiom), idiom


def test_the_essentials_come_first(srv_run):
    with faulty.Server(["ok", "ok", "error", "early"]) as server:
        report = srv_run("bench", "-n", 40, "-c", 2, server.url).stdout
    people = report.split(RULER)[0]
    first = [line.split()[0] for line in people.split("\n\n")[2].splitlines()]
    assert first == ["throughput", "load", "statuses", "errors"]
    assert re.search(r"^throughput +\S+/s: 30 answers in \d+\.\d{3} s$", people, re.M)
    assert re.search(r"^statuses +200: 20, 500: 10$", people, re.M)
    assert re.search(r"^errors +10, and 10 answers that are not 2xx$", people, re.M)
    assert re.search(r"^latency +p50 +p90 +p99 +p99\.9 +slowest +average +fastest$", people, re.M)
    bars = re.findall(r"^  up to +\S+ \w+ +(\d+)", people, re.M)
    assert len(bars) == 10 and sum(map(int, bars)) == 30


def test_rows_of_the_series_cover_the_run(slowapi, bench_json):
    report = bench_json("-q", "-k", "-t", 2.4, "-c", 3, "-W", 3, slowapi().url + "?delay=0.01")[1]
    check_report(report)
    rows = report["series"]
    assert len(rows) == 3 and all(row["in_flight"] == 3 for row in rows)
    assert all(a["second"] < b["second"] for a, b in itertools.pairwise(rows))


@pytest.mark.parametrize("script", [["ok", "silent"], ["silent", "ok"]], ids=["first", "second"])
def test_the_end_of_one_worker_leaves_nobody_deaf(tmp_path, script):
    hung = ["-W", 2, "-c", 2, "-n", 2, "-s", 20]
    with faulty.Server(script) as server:
        code, report, _ = Bench(tmp_path / "aborted", *hung, "--abort-if", "max>1500ms", server.url).end()
        check_report(report)
        assert code == 4 and report["stopped_by"] == "max>1500ms"
        assert [row["requests"] for row in report["series"]] == [1, 0] and report["totals"]["seconds"] < 8
    with faulty.Server(script) as server:
        bench = Bench(tmp_path / "stopped", *hung, server.url)
        wait_for(lambda: server.did["ok"] == 1 and server.did["silent"] == 1, what="both requests")
        time.sleep(0.3)  # the worker that was answered has ended
        bench.process.send_signal(signal.SIGINT)
        code, report, _ = bench.end()
        assert code == 130 and report["stopped_by"] == "SIGINT" and report["totals"]["seconds"] < 8
