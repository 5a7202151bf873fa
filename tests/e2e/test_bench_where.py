# SPDX-License-Identifier: MIT
"""srv bench --server-timing: where the time went, as srv and other servers tell it, honest and hostile ones."""

import json
import re

import nginx
import pytest
from certificates import Certificate
from rawserver import RawServer, answer

MODELS = ("green", "pool", "threaded", "single", "event", "evhttp")


def by_name(rows):
    return {row["name"]: row for row in rows}


def told_of(report):
    """(phases, metrics, the rest) of a report whose parts have been found to add up."""
    told = report["server_timing"]
    phases, metrics = by_name(told["phases"]), by_name(told["metrics"])
    parts = [row for name, row in phases.items() if name != "total"] + [row for row in metrics.values() if row["added"]]
    assert sum(row["sum_us"] for row in parts) == phases["total"]["sum_us"]
    for row in [*phases.values(), *metrics.values()]:
        assert row["us"]["count"] == told["telling"] == sum(count for _, count in row["histogram"])
        if row["name"] not in ("network",):
            assert row["us"]["mean"] * told["telling"] == pytest.approx(row["sum_us"], rel=1e-9, abs=0.01)
    if told["telling"]:
        assert sum(row["share"] for row in parts) == pytest.approx(1)
    return phases, metrics, told


@pytest.mark.parametrize("model", MODELS)
def test_every_model_tells_where_the_time_went(slowapi, serve, bench_json, model):
    app = serve("--model", model, "--server-timing", upstream=slowapi())
    code, report = bench_json("-n", 40, "-c", 4, "--server-timing", app.url + "?delay=0.02")
    phases, metrics, told = told_of(report)
    assert code == 0 and told["telling"] == told["answers"] == 40
    assert list(metrics) == ["queue", "handler", "upstream", "db"]
    assert metrics["upstream"]["us"]["min"] >= 20_000
    assert told["over"] == told["unusable"] == told["malformed"] == told["further"] == told["bare"] == 0
    assert phases["total"]["sum_us"] == pytest.approx(report["latency_us"]["mean"] * 40, abs=1)


def test_a_queue_is_told_apart_from_the_upstream(slowapi, serve, bench_json):
    """Ten clients and two threads: four of five wait for a thread, whatever else the machine does."""
    app = serve("--model", "pool", "--threads", "2", "--server-timing", upstream=slowapi())
    _, report = bench_json("-k", "-n", 100, "-c", 10, "--server-timing", app.url + "?delay=0.04")
    phases, metrics, _ = told_of(report)
    assert 0.5 < metrics["queue"]["share"] < 0.95 and metrics["upstream"]["us"]["p50"] >= 40_000
    assert metrics["queue"]["us"]["p50"] > 3 * 40_000 and phases["total"]["us"]["p50"] > 4 * 40_000


def test_what_the_generator_keeps_waiting_is_its_own(slowapi, bench_json):
    """One connection for requests that are planned twice as fast as they are answered."""
    api = slowapi("--truth")
    _, report = bench_json("-k", "-n", 20, "--rate", 100, "-c", 1, "--server-timing", api.url + "?delay=0.02")
    phases, metrics, _ = told_of(report)
    assert phases["generator"]["us"]["max"] >= 100_000
    assert phases["generator"]["sum_us"] == pytest.approx(report["queue_us"]["mean"] * 20, abs=1)
    assert phases["total"]["sum_us"] == pytest.approx(report["latency_us"]["mean"] * 20, abs=1)
    assert metrics["delay"]["sum_us"] == 20 * 20_000


@pytest.mark.parametrize("secure", (False, True))
def test_a_handshake_is_the_connections(slowapi, serve, bench_json, tmp_path, secure):
    certificate = Certificate(tmp_path)
    keys = ("--certfile", certificate.chain, "--keyfile", certificate.key) if secure else ()
    app = serve("--server-timing", *keys, upstream=slowapi())
    url = f"http{'s' if secure else ''}://127.0.0.1:{app.port}/?delay=0"
    _, report = bench_json("-n", 10, *(("--insecure",) if secure else ()), "--server-timing", url)
    phases, metrics, told = told_of(report)
    assert told["telling"] == 10 and metrics["upstream"]["sum_us"] > 0
    assert phases["connect"]["sum_us"] == pytest.approx(report["connect_us"]["mean"] * 10, abs=1)


def test_the_text_has_a_row_for_each_part(slowapi, serve, srv_run):
    app = serve("--server-timing", upstream=slowapi())
    out = srv_run("bench", "-n", 10, "--server-timing", app.url + "?delay=0.02").stdout
    section = re.search(r"\nWhere the time went \(ms\): 10 of 10 answers tell\n(.*?)\n\n", out, re.DOTALL)[1]
    rows = [line.split()[0] for line in section.splitlines()[1:]]
    assert [row for row in rows if row != "send"] == "connect network queue handler upstream db receive total".split() or (
        [row for row in rows if row not in ("send", "receive")] == "connect network queue handler upstream db total".split()
    )
    assert re.search(r"  total +2\d\.\d+ +100\.0 %", section)


def test_slowapi_tells_its_plan_and_the_sum_is_not_added(slowapi, bench_json):
    api = slowapi("--truth")
    _, report = bench_json("-n", 20, "--server-timing", api.url + "?delay=0.02")
    phases, metrics, told = told_of(report)
    assert [(name, row["added"]) for name, row in metrics.items()] == [
        ("planned", False), ("queue", True), ("delay", True), ("actual", False),
    ]  # fmt: skip
    assert metrics["delay"]["sum_us"] == metrics["planned"]["sum_us"] == 20 * 20_000 and told["over"] == 0
    assert metrics["actual"]["sum_us"] <= phases["total"]["sum_us"]


def test_a_worker_of_a_service_queues(slowapi, bench_json):
    api = slowapi("--truth", "--params", "workers=1&service=10ms")
    _, report = bench_json("-n", 20, "-c", 5, "--server-timing", api.url + "?delay=0")
    _, metrics, told = told_of(report)
    assert metrics["delay"]["sum_us"] == 20 * 10_000
    assert metrics["queue"]["us"]["max"] >= 25_000 and told["over"] == 0


# --- servers of others ----------------------------------------------------------------------


def timed(*values):
    return answer(b"".join(b"Server-Timing: %s\r\n" % value for value in values))


@pytest.mark.parametrize("workers", (1, 3))
def test_any_server_that_tells_is_taken_apart(bench_json, workers):
    script = [
        timed(b'app;dur=0.02;desc="The \\"app\\"", db;dur=0.01, db;dur=0.005', b"cache;desc=hit, miss"),
        timed(b"db;dur=0.001"),
        answer(),
    ]
    with RawServer(script) as server:
        _, report = bench_json("-k", "-n", 30, "-c", 3, "--workers", workers, "--server-timing", server.url)
    phases, metrics, told = told_of(report)
    assert (told["answers"], told["telling"], told["bare"]) == (30, 20, 20)
    assert {name: (row["answers"], row["sum_us"], row["desc"]) for name, row in metrics.items()} == {
        "app": (10, 200, 'The "app"'), "db": (20, 160, None),
    }  # fmt: skip
    assert phases["total"]["us"]["count"] == 20 < report["latency_us"]["count"]


def test_parts_are_chosen_by_name(bench_json, srv_run):
    with RawServer([timed(b"sql;dur=0.001, view;dur=0.002, total;dur=0.004")]) as server:
        _, report = bench_json("-n", 4, "--server-timing", "--server-timing-parts", "sql, total", server.url)
        assert srv_run("bench", "-n", 1, "--server-timing-parts", "sql", server.url).returncode == 2
    assert {name: row["added"] for name, row in told_of(report)[1].items()} == {"sql": True, "view": False, "total": True}


HOSTILE = [
    timed(b"huge;dur=3600000, huge;dur=3600000, huge;dur=3600000"),
    timed(b"a;dur=-5, a;dur=nan, a;dur=inf, a;dur=1e999, a;dur=99999999999999999999, a;dur=0x10, a;dur="),
    timed(b'"a, b";dur=1, ;dur=1, =, a;dur="'),
    timed(b"\x80\xff;dur=1", b"a;desc=\"\x9b2J 50%\";dur=0", b"a" * 5000 + b";dur=1"),
    timed(*[b"a;dur=0.001"] * 50),
    timed(b"total;dur=999"),
    timed(b", ".join(b"name%d;dur=0.001" % i for i in range(600))),
]


def test_hostile_fields_are_bounded_and_counted(bench_json, srv_run):
    with RawServer(HOSTILE) as server:
        code, report = bench_json("-k", "-n", 70, "--server-timing", server.url)
        text = srv_run("bench", "-k", "-n", 70, "--server-timing", server.url).stdout
    _, metrics, told = told_of(report)
    assert code == 0 and report["totals"]["failed"] == 0
    assert len(metrics) == 16
    assert told["unusable"] == 10 * 8 and told["malformed"] == 10 * 4 and told["further"] > 5000
    assert told["over"] >= 10 and told["over_us"] > 10 * 3_599_000_000  # an hour each, and one more is beyond 32 bits
    assert "\x9b" not in text and 'a is "\\x9b2J 50 %"' in text
    assert re.search(r"answers told more than they took, \d+\.\d+ ms in all", text)
    assert re.search(r"left out: 80 unusable durations, 40 malformed metrics", text)


def test_without_the_option_nothing_is_said(slowapi, srv_run, bench_json):
    api = slowapi("--truth")
    assert "Where the time went" not in srv_run("bench", "-n", 2, api.url + "?delay=0").stdout
    assert bench_json("-n", 2, api.url + "?delay=0")[1]["server_timing"] is None
    strict = srv_run("bench", "-n", 2, "--ab-strict", "--server-timing", api.url + "?delay=0").stdout
    assert "Where the time went" not in strict


def test_a_server_that_does_not_tell_is_said_to(slowapi, srv_run):
    out = srv_run("bench", "-n", 3, "--server-timing", slowapi().url + "?delay=0").stdout
    assert "0 of 3 answers tell\n  no answer had a Server-Timing field with a duration\n" in out


def test_nginx_tells_with_a_line_of_its_own(tmp_path, slowapi, serve, bench_json):
    app = serve("--server-timing", upstream=slowapi())
    extra = 'add_header Server-Timing "proxy;dur=0.001;desc=\\"behind nginx\\"";'
    front = nginx.Nginx(tmp_path, (app.host, app.port), (app.host, app.port), extra)
    try:
        _, report = bench_json("-n", 10, "--server-timing", f"http://127.0.0.1:{front.http[1]}/?delay=0.02")
    finally:
        front.stop()
    _, metrics, told = told_of(report)
    assert told["telling"] == 10 and list(metrics) == ["queue", "handler", "upstream", "db", "proxy"]
    assert metrics["proxy"]["sum_us"] == 10 and metrics["upstream"]["us"]["min"] >= 20_000


def test_merged_parts_still_add_up(slowapi, serve, bench_json, srv_run, tmp_path):
    app = serve("--server-timing", upstream=slowapi("--truth"))
    files, reports = [], []
    for i, url in enumerate((app.url + "?delay=0.01", app.url + "?delay=0.03", None)):
        files.append(tmp_path / f"{i}.json")
        if url:
            assert srv_run("bench", "-n", 20 + i, "--server-timing", "--json", files[-1], url).returncode == 0
        else:
            with RawServer([timed(b'db;dur=0.01;desc="of another"')]) as server:
                assert srv_run("bench", "-n", 7, "--server-timing", "--json", files[-1], server.url).returncode == 0
        reports.append(json.loads(files[-1].read_text()))
    code, merged = bench_json("--merge", "--merge-anyway", *files)
    assert code == 0
    phases, metrics, told = told_of_merged(merged)
    parts = [told_of(report) for report in reports]
    assert told["telling"] == 48
    for name, row in phases.items():
        assert row["sum_us"] == sum(part[0][name]["sum_us"] for part in parts)
    for name, row in metrics.items():
        assert row["sum_us"] == sum(part[1][name]["sum_us"] for part in parts if name in part[1])
    assert metrics["db"]["desc"] == "of another" and metrics["db"]["answers"] == 48 and metrics["queue"]["answers"] == 41


def test_a_hostile_file_is_merged_without_harm(srv_run, bench_json, tmp_path):
    with RawServer([timed(b"50%;dur=0.001")]) as server:
        text = srv_run("bench", "-n", 2, "--server-timing", "--json", tmp_path / "json", server.url).stdout
    assert "    50 % " in text and text.count("\n  50% ") == 1  # ab's
    report = json.loads((tmp_path / "json").read_text())
    told = report["server_timing"]
    told["phases"][0]["sum_us"] = told["metrics"][0]["sum_us"] = told["over_us"] = 2**63 - 1
    told["phases"] += [{}] * 20
    told["metrics"] += [{**told["metrics"][0], "name": name} for name in ("\x1b[2J", "", "a b", "x" * 500)] + [None, 7]
    told["telling"] = 2**62
    counters = {"\x1b[2J_total": {"before": 1, "after": 2}, "a_total": {"before": "x", "after": 1e308}}
    report["server_metrics"] = [{"url": "http://x/\x1b[2J", "error": None, "counters": counters}]
    (tmp_path / "json").write_text(json.dumps(report))
    done = srv_run("bench", "--merge", "--merge-anyway", tmp_path / "json", tmp_path / "json")
    assert done.returncode == 0 and "\x1b" not in done.stdout
    assert srv_run("bench", "--merge", "--merge-anyway", tmp_path / "json", "--json", "-").returncode == 0


def told_of_merged(report):
    """As told_of; the means of histograms that were added up are those of their buckets."""
    told = report["server_timing"]
    phases, metrics = by_name(told["phases"]), by_name(told["metrics"])
    parts = [row for name, row in phases.items() if name != "total"] + [row for row in metrics.values() if row["added"]]
    assert sum(row["sum_us"] for row in parts) == phases["total"]["sum_us"]
    for row in [*phases.values(), *metrics.values()]:
        assert row["us"]["count"] == told["telling"] and row["mean_us"] * told["telling"] == pytest.approx(row["sum_us"])
    return phases, metrics, told
