# SPDX-License-Identifier: MIT
"""srv bench --rounds and --compare from outside: verdicts, files, exit codes."""

import json
import signal
import subprocess

import harness
import pytest

ROUND = ("-k", "-c", 2, "-t", "0.2")


def rounds(srv_run, *args):
    done = srv_run("bench", "--json", "-", *ROUND, *args, timeout=120)
    return done, json.loads(done.stdout) if done.stdout else None


def verdict(found, metric):
    return next(one for one in found["comparison"]["metrics"] if one["metric"] == metric)


# Medians of half and of three times the delay are apart on any machine.
def test_a_slower_server_is_a_regression(slowapi, srv_run):
    fast, slow = slowapi("--params", "delay=20ms"), slowapi("--params", "delay=60ms")
    done, found = rounds(srv_run, "--rounds", 5, fast.url, slow.url)
    assert done.returncode == 4
    assert found["schema"] == "srv-bench-rounds/1" and found["comparison"]["interleaved"]
    assert [len(side["rounds"]) for side in found["sides"]] == [5, 5]
    p50 = verdict(found, "p50")
    assert p50["verdict"] == "worse" and p50["regression"] and p50["p"] == pytest.approx(2 / 252)
    assert 1 < p50["effect"] < 4 and p50["low"] <= p50["effect"] <= p50["high"]
    assert "REGRESSION" in done.stderr
    done, found = rounds(srv_run, "--rounds", 5, slow.url, fast.url)
    assert done.returncode == 0 and verdict(found, "p50")["verdict"] == "better"
    assert not found["comparison"]["regression"]


def test_only_the_chosen_metric_and_more_than_is_tolerated_count(slowapi, srv_run):
    fast, slow = slowapi("--params", "delay=20ms"), slowapi("--params", "delay=60ms")
    done, found = rounds(srv_run, "--rounds", 5, "--metric", "errors", fast.url, slow.url)
    assert done.returncode == 0 and verdict(found, "p50")["verdict"] == "worse"
    done, found = rounds(srv_run, "--rounds", 5, "--metric", "rate", "--tolerance", "95%", fast.url, slow.url)
    assert done.returncode == 0 and verdict(found, "rate")["verdict"] == "worse"


def test_rounds_in_turns_are_in_random_order(slowapi, srv_run):
    api = slowapi("--params", "delay=1ms")
    _, found = rounds(srv_run, "--rounds", 16, "-t", "0.02", "--seed", 5, "--arrivals", "poisson", "--rate", 200, api.url, api.url)
    starts = [[one["started_s"] for one in side["rounds"]] for side in found["sides"]]
    firsts = [a < b for a, b in zip(*starts)]
    assert 2 <= sum(firsts) <= 14  # of 16 pairs, by the seed
    pairs = [sorted(pair) for pair in zip(*starts)]
    assert all(before[1] < after[0] for before, after in zip(pairs, pairs[1:]))


def test_few_rounds_cannot_tell(slowapi, srv_run):
    fast, slow = slowapi("--params", "delay=20ms"), slowapi("--params", "delay=60ms")
    done, found = rounds(srv_run, "--rounds", 3, fast.url, slow.url)
    assert done.returncode == 0
    assert {one["verdict"] for one in found["comparison"]["metrics"]} == {"cannot tell"}
    assert verdict(found, "p50")["low"] is None
    assert "Cannot tell: 3 and 3 runs" in done.stderr


def test_a_file_of_rounds_is_compared(slowapi, srv_run, tmp_path):
    fast, slow = slowapi("--params", "delay=20ms"), slowapi("--params", "delay=60ms")
    old = tmp_path / "old.json"
    assert srv_run("bench", *ROUND, "--rounds", 5, "--json", old, fast.url).returncode == 0
    assert json.loads(old.read_text())["comparison"] is None
    done, found = rounds(srv_run, "--compare", old, slow.url)
    assert done.returncode == 4 and not found["comparison"]["interleaved"]
    assert verdict(found, "mean")["verdict"] == "worse"
    assert [side["name"] for side in found["sides"]] == [str(old), slow.url]
    assert "The runs of A are older" in done.stderr


# One run against five: six splits, of which one in three is as extreme as any.
def test_a_single_run_cannot_tell(slowapi, srv_run, tmp_path):
    fast, slow = slowapi("--params", "delay=20ms"), slowapi("--params", "delay=60ms")
    old = tmp_path / "old.json"
    assert srv_run("bench", *ROUND, "--json", old, fast.url).returncode == 0
    done, found = rounds(srv_run, "--compare", old, slow.url)
    assert done.returncode == 0 and verdict(found, "p50")["verdict"] == "cannot tell"
    assert "Cannot tell: 1 and 5 runs" in done.stderr


def command(port, delay):
    return f"{harness.srv_binary()} slowapi --bind 127.0.0.1:{port} --params delay={delay}"


def test_servers_are_started_and_stopped_in_turns(srv_run):
    port = harness.free_port()
    url = f"http://127.0.0.1:{port}/"
    commands = [f"--server-command={command(port, delay)}" for delay in ("20ms", "60ms")]
    done, found = rounds(srv_run, "--rounds", 5, *commands, url)
    assert done.returncode == 4, done.stderr
    assert verdict(found, "p50")["verdict"] == "worse"
    assert found["sides"][0]["name"] == command(port, "20ms")
    with pytest.raises(OSError):  # all of them have been stopped
        harness.connect(("127.0.0.1", port))


def test_a_server_dies_with_a_bench_that_is_killed():
    port = harness.free_port()
    shown = f"exec 3>&1; {command(port, '1ms')}"  # a shell that stays, with the server as its child
    args = ["--rounds", "9", f"--server-command={shown}", f"--server-command={shown}", f"http://127.0.0.1:{port}/"]
    with subprocess.Popen([harness.srv_binary(), "bench", "-k", "-c", "2", "-t", "1", *args], stdout=subprocess.DEVNULL) as bench:
        harness.wait_for(lambda: is_taken(port), what="a server")
        bench.kill()
    harness.wait_for(lambda: not is_taken(port), what="the end of the server")


def is_taken(port):
    try:
        harness.connect(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True


def test_a_server_that_does_not_start_is_told(srv_run):
    url = f"http://127.0.0.1:{harness.free_port()}/"
    done, _ = rounds(srv_run, "--rounds", 5, "--server-command=exit 3", "--server-command=true", url)
    assert done.returncode == 1
    assert "ended before it answered" in done.stderr


def test_an_address_that_is_taken_is_told(slowapi, srv_run):
    done, _ = rounds(srv_run, "--rounds", 5, "--server-command=true", "--server-command=true", slowapi("--params", "delay=1ms").url)
    assert done.returncode == 1
    assert "is answered before 'true' is started" in done.stderr


GOOD = {"rps": 1, "mean_us": 1, "p50_us": 1, "p99_us": 1, "errors_share": 0}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[",
        "[]",
        "{}",
        '{"schema": "other"}',
        '{"schema": "srv-bench/1"}',
        '{"schema": "srv-bench-rounds/1"}',
        json.dumps({"schema": "srv-bench-rounds/1", "sides": [{"rounds": []}]}),
        json.dumps({"schema": "srv-bench-rounds/1", "sides": [{"rounds": [GOOD]}] * 2}),
        json.dumps({"schema": "srv-bench-rounds/1", "sides": [{"rounds": [GOOD] * 65}]}),
        json.dumps({"schema": "srv-bench-rounds/1", "sides": [{"rounds": [{**GOOD, "rps": "1"}]}]}),
        json.dumps({"schema": "srv-bench-rounds/1", "sides": [{"rounds": [{**GOOD, "p99_us": -1}]}]}),
        json.dumps({"schema": "srv-bench-rounds/1", "sides": [{"rounds": [{**GOOD, "rps": 1e308}]}]}),
        json.dumps({"schema": "srv-bench-rounds/1", "sides": [{"rounds": [{**GOOD, "errors_share": 1.5}]}]}),
        json.dumps({"schema": "srv-bench-rounds/1", "sides": [{"rounds": [5]}]}),
        json.dumps({"schema": "srv-bench/1", "totals": {"rps": -5}, "latency_us": {"mean": 1, "p50": 1, "p99": 1}}),
    ],
)
def test_files_that_are_no_rounds_are_refused(srv_run, tmp_path, text):
    old = tmp_path / "old.json"
    old.write_text(text)
    done = srv_run("bench", "--compare", old, "http://127.0.0.1:1/")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1 and f"cannot compare with {old}" in done.stderr


def test_a_file_that_is_not_there(srv_run, tmp_path):
    done = srv_run("bench", "--compare", tmp_path / "none", "http://127.0.0.1:1/")
    assert done.returncode == 1 and done.stderr.count("\n") == 1


def test_nobody_listens(slowapi, srv_run):
    url = f"http://127.0.0.1:{harness.free_port()}/"
    done = srv_run("bench", *ROUND, "--rounds", 2, slowapi().url, url)
    assert done.returncode == 1 and f"{url}: a round could not connect" in done.stderr


def test_a_signal_ends_the_rounds(slowapi):
    api = slowapi("--params", "delay=1ms")
    command = [harness.srv_binary(), "bench", "-k", "-t", "0.3", "--rounds", "64", api.url, api.url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        lines = [process.stdout.readline() for _ in range(2)]
        process.send_signal(signal.SIGTERM)
        rest, _ = process.communicate(timeout=60)
    assert lines[1].split()[0] == "1"
    assert process.returncode == 143 and "Stopped early: nothing is compared" in rest


@pytest.mark.parametrize(
    "args, words",
    [
        (["--rounds", "0"], "1"),
        (["--rounds", "65"], "64"),
        (["--rounds", "2", "http://127.0.0.1:1/", "http://127.0.0.1:1/"], "two URLs are compared"),
        (["--compare", "x", "http://127.0.0.1:1/"], "one URL is compared"),
        (["--rounds", "2", "--csv", "x"], "--csv excludes --rounds"),
        (["--rounds", "2", "--fail-if", "p99>1s"], "--fail-if excludes --rounds"),
        (["--rounds", "2", "--metric", "p98"], "rate, mean"),
        (["--rounds", "2", "--tolerance", "5"], "such as 5%"),
        (["--rounds", "2", "--find-max", "p99<1s"], "excludes --rounds"),
        (["--rounds", "2", "--server-command", "x"], "two of them"),
        (["--server-command", "x"], "needs --rounds"),
        (["--metric", "p99"], "needs --rounds"),
        (["--tolerance", "5%"], "needs --rounds"),
    ],
)
def test_what_cannot_be_compared_is_refused(srv_run, args, words):
    done = srv_run("bench", *args, "http://127.0.0.1:1/")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1 and words in done.stderr, done.stderr
