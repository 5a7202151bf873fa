# SPDX-License-Identifier: MIT
"""srv bench by several machines: a start that they share, the part of each, and one report from all."""

import datetime
import http.server
import itertools
import json
import signal
import subprocess
import threading
import time

import harness
import pytest


class Clocked:
    """A server that notes when each request came, by the wall clock."""

    def __init__(self):
        came = self.came = []

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                came.append(time.time())
                self.send_response(200)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"ok")

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/"

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


def start_bench(*args, env=None):
    command = [harness.srv_binary(), "bench", *map(str, args)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                            env=harness.clean_environment(env), preexec_fn=harness.die_with_parent)  # fmt: skip


def end(process, code=0):
    """(what it wrote to stdout, to stderr)"""
    out, err = process.communicate(timeout=60)
    assert process.returncode == code and not harness.REPORT.search(err), err
    return out, err


def run_shards(count, *args, ahead=2):
    """The reports of `count` shards of one load, run at one time on this machine."""
    start = time.time() + ahead
    each = [start_bench("-q", "--json-line", "--start-at", f"{start:.6f}", "--shard", f"{i + 1}/{count}", *args)
            for i in range(count)]  # fmt: skip
    return [json.loads(end(process)[0]) for process in each]


# --- the start ---------------------------------------------------------------------------------------


def spelled(moment):
    return {
        "epoch": f"{moment:.3f}",
        "utc": datetime.datetime.fromtimestamp(moment, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "zone": datetime.datetime.fromtimestamp(
            moment, datetime.timezone(datetime.timedelta(hours=-5, minutes=-30))
        ).isoformat(),
    }


@pytest.mark.parametrize("form", ["epoch", "utc", "zone"])
def test_load_begins_at_the_moment_and_not_before(form):
    with Clocked() as server:
        moment = round(time.time() + 1.5, 3)
        at = spelled(moment)[form]
        report = json.loads(end(start_bench("-q", "-n", 3, "--json-line", "--start-at", at, server.url))[0])
    assert report["totals"]["started_s"] - report["start"]["late_s"] <= moment + 1e-3
    assert report["totals"]["started_s"] >= moment - 1e-3
    assert moment <= server.came[0] <= moment + report["start"]["late_s"] + 5  # 5 s: a very busy machine
    assert report["start"]["clock_synchronized"] in (True, False, None)


def test_a_span_and_the_next_multiple_are_moments_too():
    with Clocked() as server:
        before = time.time()
        both = [start_bench("-q", "-n", 1, "--json-line", "--start-at", at, server.url) for at in ("+1.2s", "*/3s")]
        span, multiple = (json.loads(end(process)[0])["totals"]["started_s"] for process in both)
    assert span >= before + 1.2 and min(server.came) >= min(span, multiple) - 1e-3
    assert multiple > before and multiple - before <= 3 + 20
    if multiple - before < 3:  # on a machine that did not start it too late
        assert multiple % 3 == pytest.approx(0, abs=1e-6)


def test_workers_and_planned_times_begin_then_too():
    with Clocked() as server:
        args = ["-q", "--rate", 50, "-n", 20, "-c", 4, "-W", 2, "--json-line", "--start-at", "+1s", server.url]
        report = json.loads(end(start_bench(*args))[0])
    assert report["totals"]["requests"] == 20
    assert server.came[0] >= report["totals"]["started_s"] - 1e-3
    assert max(server.came) >= report["totals"]["started_s"] + 19 / 50 - 1e-3


def test_a_moment_that_has_passed_is_refused(srv_run):
    for at in ("2020-01-01T00:00:00Z", "1", int(time.time()) - 5):
        done = srv_run("bench", "-n", 1, "--start-at", at, "http://127.0.0.1:9/")
        assert done.returncode == 2 and done.stdout == "" and done.stderr.count("\n") == 1
        assert "--start-at" in done.stderr and "passed" in done.stderr


@pytest.mark.parametrize("at", ["", "now", "+", "+0", "+5x", "-5s", "*/", "*/0", "*", "12:00", "2026-11-23",
                                "2026-11-23T01:02:03", "2026-02-30T00:00:00Z", "+400d", "1795975200000"])  # fmt: skip
def test_a_moment_that_is_none_is_refused(srv_run, at):
    done = srv_run("bench", "-n", 1, "--start-at", at, "http://127.0.0.1:9/")
    assert done.returncode == 2 and done.stdout == "" and done.stderr.count("\n") == 1
    assert "--start-at" in done.stderr


def test_a_run_that_waits_can_be_stopped():
    process = start_bench("-n", 9, "-c", 4, "-W", 3, "--start-at", "+1h", "http://127.0.0.1:9/")
    said = process.stderr.readline()
    while "load begins at" not in said:
        assert said, "it ended"
        said = process.stderr.readline()
    process.send_signal(signal.SIGINT)
    out, _ = end(process, 130)
    assert "Complete requests:      0" in out and "the generator, not the server" not in out


# --- the part of each --------------------------------------------------------------------------------


def test_parts_of_a_count_add_up(slowapi):
    api = slowapi()
    for count in (2, 3):
        reports = run_shards(count, "-n", 23, "-c", 7, api.url + "?delay=0")
        assert [report["shard"]["index"] for report in reports] == list(range(1, count + 1))
        for key, whole in {"requests": 23, "concurrency": 7}.items():
            parts = [report["config"][key] for report in reports]
            assert sum(parts) == whole and max(parts) - min(parts) <= 1
            assert all(report["shard"][key] == whole for report in reports)
        assert sum(report["totals"]["requests"] for report in reports) == 23


def planned(path):
    """The planned times that a run recorded, in microseconds after its start."""
    return [json.loads(line)["start_us"] for line in path.read_text().splitlines()]


def record(tmp_path, count, *args):
    """All planned times of a load by `count` shards, in order; each shard's report."""
    start = time.time() + 2
    each = []
    for i in range(count):
        records = ["--ndjson", tmp_path / f"{count}-{i}", "--json", tmp_path / f"{count}-{i}.json"]
        shard = ["--shard", f"{i + 1}/{count}"] if count > 1 else []
        each.append(start_bench("-q", *records, "--start-at", f"{start:.6f}", *shard, *args))
    for process in each:
        end(process)
    reports = [json.loads((tmp_path / f"{count}-{i}.json").read_text()) for i in range(count)]
    times = [planned(tmp_path / f"{count}-{i}") for i in range(count)]
    return times, reports


@pytest.mark.parametrize("workers", [1, 2])
def test_even_arrivals_of_shards_interleave(slowapi, tmp_path, workers):
    url = slowapi().url + "?delay=0"
    times, reports = record(tmp_path, 3, "-k", "--rate", 60, "-n", 50, "-c", 6, "-W", workers, url)
    assert sum(report["config"]["rate"] for report in reports) == pytest.approx(60)
    together = sorted(itertools.chain(*times))
    assert together == pytest.approx([i * 1e6 / 60 for i in range(50)], abs=2)


@pytest.mark.parametrize("workers", [1, 2])
def test_stages_are_those_of_the_whole_load(slowapi, tmp_path, workers):
    url = slowapi().url + "?delay=0"
    args = ["-k", "--stages", "=30/s:500ms,90/s:1s", "-c", 6, "-W", workers, url]
    times, reports = record(tmp_path, 3, *args)
    whole, _ = record(tmp_path, 1, *args)
    assert sorted(itertools.chain(*times)) == pytest.approx(sorted(whole[0]), abs=2) and len(whole[0]) >= 70
    shape = ["-k", "-q", "--stages", "=7c:1s"]
    reports = run_shards(3, *shape, url)
    assert [report["config"]["concurrency"] for report in reports] == [3, 2, 2]
    assert sum(report["totals"]["connections"] for report in reports) == 7


def test_random_arrivals_of_shards_are_those_of_as_many_workers(slowapi, tmp_path):
    url = slowapi().url + "?delay=0"
    args = ["-k", "--rate", 100, "-t", 1, "-c", 6, "--arrivals", "poisson", "--seed", 7, "--drain", 5, url]
    times, _ = record(tmp_path, 2, *args)
    whole, _ = record(tmp_path, 1, "-W", 2, *args)
    assert sorted(itertools.chain(*times)) == pytest.approx(sorted(whole[0]), abs=2) and len(whole[0]) > 50
    assert not set(times[0]) & set(times[1])


def test_the_engine_says_which_part(slowapi):
    url = slowapi().url + "?delay=0"
    for env, args, index in (
        ({"SRV_SHARD": "2/3"}, [], 2),
        ({"SRV_SHARD": "3", "JOB_COMPLETION_INDEX": "1"}, [], 2),
        ({"JOB_COMPLETION_INDEX": "0"}, ["--shard", "3"], 1),
        ({"SRV_SHARD": "2/3", "JOB_COMPLETION_INDEX": "0"}, ["--shard", "3/3"], 3),
        ({"SRV_SHARD": "1/3", "SRV_START_AT": "+0.5s"}, [], 1),
    ):
        out, _ = end(start_bench("-q", "-n", 6, "-c", 3, "--json-line", *args, url, env=env))
        report = json.loads(out)
        assert (report["shard"]["index"], report["shard"]["count"]) == (index, 3)
        assert report["totals"]["requests"] == 2
        assert (report["start"]["late_s"] is not None) == ("SRV_START_AT" in env)


@pytest.mark.parametrize("args, env, why", [
    (["--shard", "0/4"], {}, "count from 1"),
    (["--shard", "5/4"], {}, "--shard"),
    (["--shard", "4"], {}, "JOB_COMPLETION_INDEX"),
    (["--shard", "4"], {"JOB_COMPLETION_INDEX": "4"}, "JOB_COMPLETION_INDEX is 4"),
    ([], {"SRV_SHARD": "x/4"}, "SRV_SHARD"),
    (["--shard", "3/3", "-n", "2", "-c", "2"], {}, "--requests 2"),
    (["--shard", "3/3", "-n", "9", "-c", "2"], {}, "--concurrency 2"),
    (["--shard", "1/2", "-n", "9", "-c", "3", "-W", "3"], {}, "--workers 3"),
])  # fmt: skip
def test_a_part_that_cannot_be_is_refused(srv_run, args, env, why):
    done = srv_run("bench", *args, "http://127.0.0.1:9/", env=env)
    assert done.returncode == 2 and done.stdout == "" and done.stderr.count("\n") == 1
    assert why in done.stderr


# --- one line ----------------------------------------------------------------------------------------


def test_a_report_is_one_line(srv_run, slowapi, tmp_path):
    url = slowapi().url + "?delay=0"
    done = srv_run("bench", "-n", 200, "-c", 2, "--json-line", url)
    assert done.stdout.count("\n") == 1 and json.loads(done.stdout)["totals"]["requests"] == 200
    assert "Complete requests:      200" in done.stderr
    done = srv_run("bench", "-n", 200, "-c", 2, "--json-line", "--json", tmp_path / "r", url)
    assert "Complete requests:      200" in done.stdout
    assert (tmp_path / "r").read_text().count("\n") == 1
    done = srv_run("bench", "-n", 1, "--json-line", "--csv", "-", url)
    assert done.returncode == 2 and "stdout" in done.stderr
