# SPDX-License-Identifier: MIT
"""srv bench --find-max from outside: the table, the verdicts, the exit codes, and a knee that is known."""

import importlib.machinery
import importlib.util
import json
import re
import signal
import subprocess
import time

import harness
import pytest


def find(srv_run, server, *args, timeout=120):
    done = srv_run("bench", "-k", "--json", "-", *args, server.url, timeout=timeout)
    return done, json.loads(done.stdout) if done.stdout else None


def formula():
    """scripts/bench/knee as a module: it has the formula."""
    path = str(harness.ROOT / "scripts/bench/knee")
    loader = importlib.machinery.SourceFileLoader("knee", path)
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("knee", loader))
    loader.exec_module(module)
    return module


def test_the_formula_is_erlangs():
    knee = formula()
    assert abs(knee.erlang_c(1, 0.5) - 0.5) < 1e-12  # M/M/1: the load itself
    assert abs(knee.erlang_c(2, 1.0) - 1 / 3) < 1e-12
    assert abs(knee.knee(servers=1) - (50 - 23.0259)) < 0.001  # M/M/1: exp(-(m - x) t), ln(100) / 0.2 s
    assert abs(knee.knee() - 175.045) < 0.001


# A queue of four places, whose p90 is 100 ms at 173/s, in a third of the time: within a third of the truth, however
# busy the machine. When the generator was given no processor, it says so, and that is right, too.
def test_the_knee_of_a_queue_is_found(slowapi, srv_run):
    truth = formula().knee(limit_s=0.1, share=0.1)
    api = slowapi("--params", "delay=0&workers=4&service=exp:20ms")
    done, found = find(srv_run, api, "--find-max", "p90<100ms", "--arrivals", "poisson", "--find-max-time", 20)
    assert done.returncode == 0
    assert found["schema"] == "srv-bench-max/1" and found["by"] == "rate"
    if found["generator_limit"] is None:
        assert truth * 0.65 < found["max"]["load"] < truth * 1.35
        assert found["max"]["low"] <= found["max"]["load"] <= found["max"]["high"]
        assert {"fails"} <= {step["verdict"] for step in found["steps"]}
    capacities = [step["capacity"] for step in found["steps"] if step["capacity"]]
    assert all(50 < capacity < 320 for capacity in capacities)  # 200 +- 14 in the shortest step that overloads
    assert "The highest that holds" in done.stderr or "Ended by the generator" in done.stderr


def test_connections_are_found_and_at_least_decides(slowapi, srv_run):
    api = slowapi("--params", "delay=0&workers=2&service=20ms")
    common = ("--find-max", "mean<200ms", "--find-max-by", "connections", "--find-max-time", 8)
    done, found = find(srv_run, api, *common, "--at-least", 1000)
    assert done.returncode == 4 and found["at_least_failed"]
    assert "FAILED: at least 1000" in done.stderr
    assert all(step["load"] == int(step["load"]) for step in found["steps"])
    if found["generator_limit"] is None:  # 20 connections before two places of 20 ms each
        assert 10 <= found["max"]["load"] <= 30
    done, found = find(srv_run, api, *common, "-c", 2, "--at-least", 1)
    assert (done.returncode, found["at_least_failed"]) in {(0, False), (4, True)}
    assert found["max"]["is_above"] or found["generator_limit"]


def test_what_no_load_holds_is_told(slowapi, srv_run):
    api = slowapi("--params", "delay=50ms")
    done, found = find(srv_run, api, "--find-max", "p50<1ms", "--find-max-time", 10, "--at-least", 1)
    assert done.returncode == 4
    assert found["max"]["is_below"] and found["max"]["load"] is None
    assert "No load that was tried holds" in done.stderr


# An answer may take longer than a step of the way up: that is no server that does not answer.
def test_a_slow_server_is_searched_too(slowapi, srv_run):
    api = slowapi("--params", "delay=1.5s")
    done, found = find(srv_run, api, "--find-max", "p50<1s", "--find-max-time", 10)
    assert done.returncode == 0
    assert found["max"]["is_below"] and found["steps"]


# A brief step ends before the queue is as long as a loose bound: it has overloaded the server all the same.
def test_an_overloaded_server_holds_no_bound(slowapi, srv_run):
    api = slowapi("--params", "delay=0&workers=2&service=20ms")
    done, found = find(srv_run, api, "--find-max", "p99<20s", "--find-max-time", 12)
    assert done.returncode == 0
    if found["generator_limit"] is None:
        assert not found["max"]["is_above"] and 50 < found["max"]["load"] < 200


def test_errors_bound_the_load(slowapi, srv_run):
    api = slowapi("--params", "delay=0&workers=1&service=20ms&queue=2")
    done, found = find(srv_run, api, "--find-max", "errors<10%", "--find-max-time", 10)
    assert done.returncode == 0
    if found["generator_limit"] is None:
        assert 20 < found["max"]["load"] < 120


def test_a_signal_ends_the_search_and_prints_what_there_is(slowapi):
    api = slowapi("--params", "delay=1ms")
    command = [harness.srv_binary(), "bench", "-k", "--find-max", "p99<5s", "--rate", "20", api.url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        lines = []
        for line in process.stdout:
            lines.append(line)
            if re.match(r" +1 ", line):
                break
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Stopped early by a signal" in rest


def test_the_page_shows_the_curve_and_the_steps(slowapi, srv_run, tmp_path):
    api = slowapi("--params", "delay=1ms")
    page, copy = tmp_path / "max.html", tmp_path / "copy.html"
    search = ("bench", "-k", "--find-max", "p99<5s", "--find-max-time", 5, "--find-max-by", "connections", "-c", 1)
    done = srv_run(*search, "--report", page, "--json", tmp_path / "max.json", api.url)
    assert done.returncode == 0
    assert srv_run("bench", "--report", copy, "--report-from", tmp_path / "max.json").returncode == 0
    assert page.read_text() == copy.read_text() and "<svg" in page.read_text()
    done = srv_run(*search, "--report", tmp_path / "none/max.html", api.url)
    assert done.returncode == 1 and done.stderr.count("\n") == 1 and done.stdout == ""
    done = srv_run(*search, "--report", "/dev/full", api.url)
    assert done.returncode == 1 and "cannot write /dev/full" in done.stderr


def test_json_on_one_line(slowapi, srv_run):
    api = slowapi("--params", "delay=1ms")
    done = srv_run("bench", "-k", "--find-max", "p99<5s", "--find-max-time", 5, "--find-max-by", "connections", "-c", 1, "--json-line", api.url)
    assert done.returncode == 0 and done.stdout.count("\n") == 1
    assert json.loads(done.stdout)["schema"] == "srv-bench-max/1"


def test_nobody_listens(srv_run):
    url = f"http://127.0.0.1:{harness.free_port()}/"
    done = srv_run("bench", "--find-max", "p99<1s", url)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1 and "no request of one connection" in done.stderr


@pytest.mark.parametrize(
    "args, words",
    [
        (["--find-max", "p99>200ms"], "upper bound"),
        (["--find-max", "errors<5"], "a share"),
        (["--find-max", "rps<5"], "a percentile"),
        (["--find-max", "min<5ms"], "a percentile"),
        (["--find-max", "p99"], "METRIC"),
        (["--find-max", "p99<1s", "-n", "5"], "--requests excludes --find-max"),
        (["--find-max", "p99<1s", "-t", "5"], "--time excludes --find-max"),
        (["--find-max", "p99<1s", "--ramp", "5"], "--ramp excludes --find-max"),
        (["--find-max", "p99<1s", "--csv", "x"], "--csv excludes --find-max"),
        (["--find-max", "p99<1s", "--fail-if", "p99>1s"], "--fail-if excludes --find-max"),
        (["--find-max", "p99<1s", "--start-at", "+1s"], "--start-at excludes --find-max"),
        (["--find-max", "late<1%", "--find-max-by", "connections"], "needs a rate"),
        (["--find-max", "p99<1s", "--find-max-by", "connections", "--rate", "5"], "--rate excludes"),
        (["--find-max", "p99<1s", "--find-max-time", "1"], "5s"),
        (["--find-max", "p99<1s", "--at-least", "x"], "a rate"),
        (["--at-least", "5"], "needs --find-max"),
        (["--find-max-time", "20"], "needs --find-max"),
        (["--find-max-by", "rate"], "needs --find-max"),
    ],
)
def test_what_cannot_be_searched_is_refused(srv_run, args, words):
    done = srv_run("bench", *args, "http://127.0.0.1:1/")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1 and words in done.stderr, done.stderr


def test_a_warm_up_that_is_too_much_spoils_no_load(slowapi, srv_run):
    """A step of which no request began in the time that counts was one of the planned rate, not of next to none."""
    done = srv_run("bench", "-k", "-c", 2, "--find-max", "p99<300ms", "--find-max-time", 5, "--warmup", "0.5s", "--rate", "2k",
                   "--json", "-", slowapi("--params", "delay=20ms").url)  # fmt: skip
    found = json.loads(done.stdout)
    assert any(step["requests"] == 0 for step in found["steps"]), done.stderr
    assert all(step["load"] >= 30 for step in found["steps"] if step["planned"] >= 100), done.stderr


@pytest.mark.parametrize("early", [True, False])
def test_a_search_that_is_stopped_leaves_its_json(slowapi, tmp_path, early):
    command = [harness.srv_binary(), "bench", "-k", "--find-max", "p99<5s", "--find-max-time", "60", "--at-least", "100000",
               "--json", str(tmp_path / "json"), slowapi("--params", "delay=20ms").url + ("?delay=10" if early else "")]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            if line.startswith("step") if early else re.match(r" +1 ", line):
                break
        time.sleep(0.3 if early else 0)  # any moment of the first run will do
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=60)
    found = json.loads((tmp_path / "json").read_text())
    assert process.returncode == 130 and "Stopped early by a signal" in rest and "FAILED" not in rest
    assert found["stopped_by"] == "a signal" and not found["at_least_failed"] and (found["steps"] == []) == early
