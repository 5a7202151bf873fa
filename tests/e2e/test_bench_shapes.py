# SPDX-License-Identifier: MIT
"""srv bench's shapes of load: stages, seen by the server's own log."""

import bisect
import datetime
import json
import time

import pytest


def log_times(path):
    """When the server answered each request, in seconds since 1970, in order."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return sorted(datetime.datetime.fromisoformat(line["time"].replace("Z", "+00:00")).timestamp() for line in lines)


def area(stages, at):
    """Requests planned up to a moment by (from, to, span) stages."""
    sum = 0.0
    for low, high, span in stages:
        within = min(max(at, 0), span)
        sum += low * within + (high - low) * within * within / (2 * span)
        at -= span
    return sum


def assert_follows(times, stages, started, lag):
    """At each half second the server has seen what was planned up to then, less what the lag of that run holds."""
    assert len(times) == round(area(stages, 1e9))
    for half in range(1, 2 * int(sum(span for _, _, span in stages)) + 1):
        at = half / 2
        seen = bisect.bisect_right(times, started + at)
        assert area(stages, at - lag) - 1 <= seen <= area(stages, at + 0.002) + 1, (at, seen)


STAGES = ((0, 400, 1), (400, 400, 1), (100, 100, 1), (100, 20, 1))
SPELLED = "400/s:1s, =400/s:1s, =100/s:1s, 20/s:1s"


@pytest.mark.parametrize("workers", [1, 3])
def test_the_servers_log_follows_the_stages(slowapi, bench_json, tmp_path, workers):
    api = slowapi("--access-logfile", tmp_path / "log")
    code, report = bench_json("-k", "-W", workers, "--stages", SPELLED, "--drain", 5, api.url + "?delay=0")
    api.stop()
    assert code == 0 and report["config"]["stages"] == SPELLED
    lag = (report["latency_us"]["max"] + 5000) / 1e6
    assert_follows(log_times(tmp_path / "log"), STAGES, report["totals"]["started_s"], lag)
    stages = report["stages"]
    assert [one["planned"] for one in stages] == [200, 400, 100, 60]
    assert [one["succeeded"] for one in stages] == [200, 400, 100, 60]
    assert [(one["from"], one["to"]) for one in stages] == [(0, 400), (400, 400), (100, 100), (100, 20)]
    assert all(one["latency_us"]["p50"] > 0 and one["seconds"] == pytest.approx(1, abs=0.2) for one in stages)
    assert sum(one["ended"] for one in stages) <= report["totals"]["succeeded"] == 760
    assert report["totals"]["planned"] == 760 == sum(one["begun"] for one in stages)


def test_planned_times_keep_their_rate_to_the_request(slowapi, srv_run, tmp_path):
    """Whatever the machine did: what the files say each request's time should have been."""
    api = slowapi()
    done = srv_run("bench", "-k", "-W", 2, "--stages", SPELLED, "--csv", tmp_path / "csv", api.url + "?delay=0")
    assert done.returncode == 0
    starts = [int(line.split(",")[0]) / 1e6 for line in (tmp_path / "csv").read_text().splitlines()[1:]]
    for at in range(1, 5):
        assert abs(bisect.bisect_left(starts, at) - area(STAGES, at)) <= 1


def test_random_stages_repeat_with_their_seed(slowapi, srv_run, tmp_path):
    api = slowapi()
    starts = []
    for seed in (7, 7, 8):
        done = srv_run("bench", "-k", "--stages", "200/s:1s", "--arrivals", "poisson", "--seed", seed, "-n", 50,
                       "--csv", tmp_path / "csv", api.url + "?delay=0")  # fmt: skip
        assert done.returncode == 0
        starts.append([line.split(",")[0] for line in (tmp_path / "csv").read_text().splitlines()[1:]])
    assert starts[0] == starts[1] != starts[2] and len(starts[0]) == 50


def test_a_server_that_falls_behind_is_seen_in_its_stage(slowapi, bench_json):
    """Two connections of 50 ms answer 40 in a second: more is begun later, and its latency says so."""
    api = slowapi()
    code, report = bench_json("-k", "-c", 2, "--stages", "=20/s:1s, =80/s:1s, =0/s:1s", api.url + "?delay=0.05")
    assert code == 0
    calm, busy, rest = report["stages"]
    assert (calm["planned"], busy["planned"], rest["planned"]) == (20, 80, 0)
    assert busy["begun"] < 60 and rest["begun"] >= 20 and rest["succeeded"] == 0
    assert busy["latency_us"]["p99"] > 5 * calm["latency_us"]["p50"]
    assert rest["latency_us"]["p50"] is None


def test_connections_come_and_go(slowapi, bench_json):
    """What n connections of 20 ms can do, and never more of them than there should be."""
    api = slowapi()
    code, report = bench_json("-k", "-W", 2, "--stages", "=6c:1s, 0:1s, =2c:1s", api.url + "?delay=0.02")
    assert code == 0 and report["totals"]["concurrency"] == 6
    full, ramp, few = report["stages"]
    assert full["of"] == "connections" and full["planned"] == 0
    assert full["begun"] <= 306 and ramp["begun"] <= 156 and few["begun"] <= 102
    assert min(full["begun"], ramp["begun"]) > few["begun"] > 20  # a third of what an idle machine does
    assert max(row["in_flight"] for row in report["series"][2:]) <= 2
    assert report["totals"]["failed"] == 0


def test_a_count_or_a_time_ends_stages_early(slowapi, bench_json):
    api = slowapi()
    report = bench_json("-k", "--stages", "=50/s:5s", "-n", 10, api.url + "?delay=0")[1]
    assert report["totals"]["succeeded"] == 10 and report["totals"]["seconds"] < 4
    report = bench_json("-k", "--stages", "=50/s:1s, =10/s:60s", "-t", "1.5", api.url + "?delay=0")[1]
    assert report["totals"]["planned"] == 55
    assert report["stages"][1]["seconds"] == pytest.approx(0.5, abs=0.2)
    report = bench_json("-k", "--stages", "=2c:60s", "-n", 10, api.url + "?delay=0")[1]
    assert report["totals"]["succeeded"] == 10


def test_stages_of_several_machines_add_up(slowapi, srv_run, tmp_path):
    api = slowapi()
    paths = [tmp_path / "a.json", tmp_path / "b.json"]
    for path in paths:
        assert srv_run("bench", "-k", "--stages", "=40/s:500ms, 0:500ms", "--json", path, api.url + "?delay=0").returncode == 0
    done = srv_run("bench", "--merge", "--merge-anyway", "--json", tmp_path / "sum.json", *paths)
    assert done.returncode == 0 and "=40/s:500ms" in done.stdout
    parts = [json.loads(path.read_text())["stages"] for path in paths]
    whole = json.loads((tmp_path / "sum.json").read_text())["stages"]
    for key in ("planned", "begun", "ended", "succeeded", "failed", "in_flight", "dropped"):
        assert [one[key] for one in whole] == [a[key] + b[key] for a, b in zip(*parts)]
    assert [one["latency_us"]["count"] for one in whole] == [40, 20]
    assert srv_run("bench", "-k", "--stages", "=40/s:1s", "--json", paths[0], api.url + "?delay=0").returncode == 0
    done = srv_run("bench", "--merge", "--merge-anyway", *paths)
    assert done.returncode == 1 and "stages are not as long" in done.stderr


def test_bursts_come_at_once(slowapi, srv_run, tmp_path):
    api = slowapi("--access-logfile", tmp_path / "log")
    done = srv_run("bench", "-k", "-W", 2, "--burst", "15/500ms", "--rate", 10, "-t", 2, "--drain", 5,
                   "--csv", tmp_path / "csv", "--json", tmp_path / "json", api.url + "?delay=0")  # fmt: skip
    api.stop()
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "json").read_text())
    assert report["totals"]["planned"] == 4 * 15 + 20 == report["totals"]["succeeded"]
    assert report["config"]["burst"] == {"requests": 15, "every_s": 0.5} and report["config"]["rate"] == 10
    starts = [int(line.split(",")[0]) for line in (tmp_path / "csv").read_text().splitlines()[1:]]
    for tick in range(4):
        assert starts.count(tick * 500_000) >= 15
    times, lag = log_times(tmp_path / "log"), (report["latency_us"]["max"] + 5000) / 1e6
    for tick in range(4):
        began = report["totals"]["started_s"] + tick / 2
        seen = bisect.bisect_right(times, began + lag) - bisect.bisect_left(times, began - 0.002)
        assert seen >= 15


def test_bursts_alone_have_a_connection_for_each(slowapi, bench_json):
    api = slowapi()
    code, report = bench_json("--burst", "600/10s", "-n", 600, api.url + "?delay=0.3")
    assert code == 0 and report["totals"]["succeeded"] == 600 and report["totals"]["concurrency"] > 500
    assert report["config"]["concurrency"] == 600


def test_connections_think_after_each_request(slowapi, bench_json, tmp_path):
    """Four users, each 50 ms of waiting and 150 ms of thinking: 20 in a second, and never before they have thought."""
    api = slowapi("--access-logfile", tmp_path / "log")
    code, report = bench_json("-k", "-W", 2, "-c", 4, "--think", "150ms", "-t", 2, api.url + "?delay=0.05")
    api.stop()
    assert code == 0 and report["config"]["think"] == "150ms"
    assert 12 <= report["totals"]["succeeded"] <= 40
    assert report["latency_us"]["max"] < 2_000_000 and report["totals"]["connections"] == 4
    clients = {}
    for line in (tmp_path / "log").read_text().splitlines():
        entry = json.loads(line)
        when = datetime.datetime.fromisoformat(entry["time"].replace("Z", "+00:00")).timestamp()
        clients.setdefault(entry["client"], []).append(when)
    assert len(clients) == 4
    for times in clients.values():
        assert all(after - before > 0.19 for before, after in zip(times, times[1:]))


def test_think_times_follow_their_law_and_seed(slowapi, srv_run, tmp_path):
    api = slowapi()
    gaps = []
    for seed in (1, 1, 2):
        done = srv_run("bench", "-k", "--think", "uniform:20ms-60ms", "--seed", seed, "-n", 20, "--csv",
                       tmp_path / "csv", api.url + "?delay=0")  # fmt: skip
        assert done.returncode == 0
        rows = [line.split(",") for line in (tmp_path / "csv").read_text().splitlines()[1:]]
        ends = [int(row[0]) + int(row[3]) for row in rows]
        gaps.append([int(row[0]) - end for row, end in zip(rows[1:], ends)])
    assert all(gap >= 19_900 for one in gaps for gap in one)
    near = [abs(a - b) for a, b in zip(gaps[0], gaps[1])]
    assert sorted(near)[len(near) // 2] < 3000  # late timers apart the same; another seed's differ by 13 ms
    far = [abs(a - b) for a, b in zip(gaps[0], gaps[2])]
    assert sorted(far)[len(far) // 2] > 3000


def test_thinking_ends_with_the_last_answer(slowapi, srv_run):
    api = slowapi()
    began = time.monotonic()
    assert srv_run("bench", "--think", "30s", "-n", 2, "-c", 2, api.url + "?delay=0.1").returncode == 0
    assert time.monotonic() - began < 20
    done = srv_run("bench", "-k", "--think", "30s", "-t", 0.5, "--drain", 20, "-c", 2, "--json", "-", api.url + "?delay=0.1")
    report = json.loads(done.stdout)
    assert report["totals"]["succeeded"] == 2 and report["totals"]["in_flight"] == 0
    assert time.monotonic() - began < 40


def test_without_catching_up_late_requests_are_dropped(slowapi, bench_json):
    """Two connections of 100 ms do 20 in a second of the 100 that are planned: the others are dropped, not sent late."""
    api = slowapi()
    url = api.url + "?delay=0.1"
    code, report = bench_json("-k", "--rate", 100, "-c", 2, "-t", 2, "--no-catch-up", "--drain", 5, url)
    totals = report["totals"]
    assert code == 0 and totals["planned"] == 200
    assert totals["succeeded"] + totals["dropped"] == 200 and 8 <= totals["succeeded"] <= 42
    assert report["queue_us"]["p50"] < 50_000 and report["latency_us"]["p50"] < 200_000
    assert report["config"]["no_catch_up"] is True
    catching = bench_json("-k", "--rate", 100, "-c", 2, "-t", 2, url)[1]
    assert catching["latency_us"]["p50"] > 500_000  # what the users of that plan would have seen


def test_a_free_connection_is_never_too_late(slowapi, bench_json):
    """What is late through the generator alone is sent late."""
    api = slowapi()
    code, report = bench_json("-k", "--rate", 2000, "-c", 200, "-t", 1, "--no-catch-up", api.url + "?delay=0")
    assert code == 0 and report["totals"]["planned"] == 2000
    assert report["totals"]["dropped"] < 1000


@pytest.mark.parametrize(
    "args, word",
    [
        (("--stages", "10/s"), "LEVEL:LENGTH"),
        (("--stages", "10/s:0s"), "=LEVEL:LENGTH"),
        (("--stages", "10/s:1s,5c:1s"), "all stages"),
        (("--stages", "10/s:1s", "--rate", "5"), "--rate"),
        (("--stages", "10/s:1s", "--warmup", "1"), "--warmup"),
        (("--stages", "5c:1s", "-R", "10"), "--ramp"),
        (("--stages", "5c:1s", "-c", "3"), "--concurrency"),
        (("--stages", "5c:1s", "--arrivals", "poisson"), "--arrivals"),
        (("--stages", "5c:1s", "--ab-strict"), "--ab-strict"),
        (("--stages", "5c:1s", "-t", "2"), "--time"),
        (("--stages", "5c:1s", "--requests-file", "/dev/null"), "--requests-file"),
        (("--stages", "5c:1s", "--fail-if", "dropped>1"), "planned time"),
        (("--stages", "5c:1s", "--burst", "5/1s"), "--burst"),
        (("--burst", "5"), "100/10s"),
        (("--burst", "0/1s"), "100/10s"),
        (("--burst", "5/1s", "--ab-strict"), "--ab-strict"),
        (("--burst", "5/1s", "-R", "10"), "--ramp"),
        (("--burst", "5/1s", "--arrivals", "poisson"), "--arrivals"),
        (("--think", "soon"), "--think"),
        (("--think", "1s", "--rate", "5"), "--think"),
        (("--think", "1s", "--ab-strict"), "--ab-strict"),
        (("--no-catch-up",), "nothing is late"),
        (("--no-catch-up", "--stages", "5c:1s"), "nothing is late"),
    ],
)
def test_what_stages_exclude_is_refused_in_a_line(srv_run, args, word):
    done = srv_run("bench", *args, "http://127.0.0.1:9/")
    assert done.returncode == 2 and word in done.stderr and done.stderr.count("\n") == 1
