# SPDX-License-Identifier: MIT
"""srv bench --server-metrics: what servers counted during the run, over http, https and unix sockets."""

import json
import re
import signal
import subprocess
import threading
import time

import harness
import pytest
from certificates import Certificate
from control import control
from harness import wait_for
from rawserver import RawServer, answer, close

MODELS = ("green", "pool", "threaded", "single", "event", "evhttp")


def growth_of(report, index=0):
    return {name: row["growth"] for name, row in report["server_metrics"][index]["counters"].items()}


def metrics_of(app):
    return "http://%s:%d/metrics" % control(app)


@pytest.mark.parametrize("model", MODELS)
def test_a_server_counts_what_was_sent(slowapi, serve, srv_run, tmp_path, model):
    app = serve("--model", model, "--control", "127.0.0.1:0", upstream=slowapi())
    srv_run("bench", "-n", 3, app.url + "?delay=0")  # counted before, and not ours
    wait_for(lambda: 'srv_requests_total{worker="1",status="200"} 3' in fetch(app), what="three counted requests")
    done = srv_run(
        "bench", "-n", 30, "-c", 3, "--json", tmp_path / "json", "--server-metrics", metrics_of(app), app.url + "?delay=0"
    )
    assert done.returncode == 0
    growth = growth_of(json.loads((tmp_path / "json").read_text()))
    assert growth["srv_requests_total"] == growth["srv_upstream_calls_total"] == 30
    assert growth["srv_worker_cpu_seconds_total"] > 0
    assert "  srv_requests_total: 30; here 30 answers, 0 failures, 0 in flight: the same\n" in done.stdout
    assert re.search(r"  srv_worker_cpu_seconds_total +[\d.]+ +[\d.]+ us each\n", done.stdout)


def fetch(app):
    from control import fetch as ask

    return ask(app, "/metrics").text


def test_both_ways_to_see_the_queue_agree(slowapi, serve, bench_json):
    """The histogram of the server and the Server-Timing of its answers are of the same waits."""
    app = serve("--model", "pool", "--threads", "2", "--control", "127.0.0.1:0", "--server-timing", upstream=slowapi())
    _, report = bench_json(
        "-k", "-n", 60, "-c", 10, "--server-timing", "--server-metrics", metrics_of(app), app.url + "?delay=0.02"
    )
    growth = growth_of(report)
    told = {row["name"]: row["sum_us"] for row in report["server_timing"]["metrics"]}
    assert growth["srv_queue_wait_seconds_count"] == 60
    assert growth["srv_queue_wait_seconds_sum"] * 1e6 == pytest.approx(told["queue"], rel=0.02, abs=60)


def test_the_text_tells_averages_and_each(slowapi, serve, srv_run):
    api = slowapi("--control", "127.0.0.1:0")
    app = serve("--control", "127.0.0.1:0", upstream=api)
    out = srv_run(
        "bench", "-n", 10, "--server-metrics", metrics_of(app), "--server-metrics", metrics_of(api), app.url + "?delay=0.05"
    ).stdout
    first, second = out.split("\nWhat the server counted: ")[1:]
    assert first.startswith(metrics_of(app)) and second.startswith(metrics_of(api))
    assert re.search(r"  srv_queue_wait_seconds +10 +0\.\d+ ms on average\n", first)
    assert re.search(r"  srv_upstream_calls_total +10 +1\.000 each\n", first)
    average = re.search(r"  slowapi_actual_seconds +10 +([\d.]+) ms on average\n", second)
    assert float(average[1]) >= 50


def test_names_are_chosen_by_patterns(slowapi, serve, bench_json, srv_run):
    app = serve("--control", "127.0.0.1:0", upstream=slowapi())
    args = ("--server-metrics", metrics_of(app), "--server-metrics-match", "srv_requests*,*cpu*")
    _, report = bench_json("-n", 3, *args, app.url + "?delay=0")
    assert set(growth_of(report)) == {"srv_requests_total", "srv_worker_cpu_seconds_total"}
    done = srv_run("bench", "-n", 3, "--server-metrics-match", "x", app.url)
    assert done.returncode == 2 and "--server-metrics-match needs --server-metrics" in done.stderr


def test_a_unix_socket_has_metrics_too(slowapi, serve, bench_json, tmp_path):
    app = serve("--control", f"unix:{tmp_path}/control", upstream=slowapi())
    for url in (f"unix:{tmp_path}/control", f"unix:{tmp_path}/control:/metrics"):
        code, report = bench_json("-n", 3, "--server-metrics", url, app.url + "?delay=0")
        assert code == 0 and growth_of(report)["srv_requests_total"] >= 1


def test_metrics_come_over_https(slowapi, bench_json, srv_run, tmp_path):
    certificate = Certificate(tmp_path)
    api = slowapi("--certfile", certificate.chain, "--keyfile", certificate.key)
    plain = slowapi()
    url = f"https://127.0.0.1:{api.port}/?delay=0&body=a_total%20%7B%7Bseq%7D%7D"
    code, report = bench_json("-n", 3, "--cacert", certificate.chain, "--server-metrics", url, plain.url + "?delay=0")
    assert code == 0 and growth_of(report) == {"a_total": 1}
    done = srv_run("bench", "-n", 3, "--server-metrics", url, plain.url + "?delay=0")
    assert done.returncode == 1 and "--server-metrics: cannot read 'https://" in done.stderr and "certificate" in done.stderr
    assert len(done.stderr.splitlines()) == 1


# --- what goes wrong ------------------------------------------------------------------------


def counter(value):
    return answer(body=b"# TYPE http_requests_total counter\nhttp_requests_total %d\n" % value)


def test_requests_that_got_lost_show(srv_run):
    with RawServer([counter(100), *[counter(107)] * 100]) as metrics, RawServer([answer()]) as server:
        out = srv_run("bench", "-n", 10, "--server-metrics", metrics.url, server.url).stdout
    assert "  http_requests_total: 7; here 10 answers, 0 failures, 0 in flight: 3 fewer than here\n" in out
    with RawServer([counter(100), counter(117)]) as metrics, RawServer([answer()]) as server:
        out = srv_run("bench", "-n", 10, "--server-metrics", metrics.url, server.url).stdout
    assert ": 7 more than here\n" in out


def test_an_answer_that_is_counted_late_is_waited_for(srv_run):
    """Servers count what they have written: the client may ask before that."""
    with RawServer([counter(100), counter(107), counter(109), counter(110)]) as metrics, RawServer([answer()]) as server:
        out = srv_run("bench", "-n", 10, "--server-metrics", metrics.url, server.url).stdout
        assert metrics.requests == 4
    assert "  http_requests_total: 10; here 10 answers, 0 failures, 0 in flight: the same\n" in out


def test_a_warm_up_is_not_called_a_difference(srv_run):
    with RawServer([counter(0), *[counter(100)] * 100]) as metrics, RawServer([answer()]) as server:
        out = srv_run("bench", "-t", "0.4", "--warmup", "0.2", "--server-metrics", metrics.url, server.url).stdout
    assert re.search(r"http_requests_total: 100; here \d+ answers, 0 failures, \d+ in flight after the warm-up\n", out)


def test_a_counter_that_fell_is_said_to(srv_run, bench_json):
    script = [answer(body=b"a_total 5\nb_total 1\n"), answer(body=b"a_total 1\nb_total 2\n")]
    with RawServer(script) as metrics, RawServer([answer()]) as server:
        out = srv_run("bench", "-n", 4, "--server-metrics", metrics.url, server.url).stdout
    assert "  a_total fell: the server, or a part of it, began anew\n" in out
    assert re.search(r"  b_total +1 +0\.250 each\n", out)


CANNOT = [
    ([answer(status=b"404 Not Found")], "it answers 404"),
    ([answer(body=b"<html>hello</html>\n")], "there is no counter in its answer"),
    ([b"HTTP/1.1 200 OK\r\nbad head\r\n\r\n"], "cannot read"),
    ([[b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\na_total 1", close]], "cannot read"),
    ([[close]], "it closes the connection without an answer"),
]


@pytest.mark.parametrize("script,why", CANNOT, ids=lambda value: value if isinstance(value, str) else "")
def test_what_cannot_be_read_before_ends_it(srv_run, script, why):
    with RawServer(script) as metrics, RawServer([answer()]) as server:
        done = srv_run("bench", "-n", 4, "--server-metrics", metrics.url, server.url)
        assert server.requests == 0
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1
    assert f"srv bench: --server-metrics: cannot read '{metrics.url}'" in done.stderr and why in done.stderr


def test_what_cannot_be_read_after_is_a_warning(srv_run, bench_json):
    script = [answer(body=b"a_total 1\n"), [b"HTTP/1.1 503 \x9b No\r\nContent-Length: 0\r\n\r\n"]]
    with RawServer(script) as metrics, RawServer([answer()]) as server:
        done = srv_run("bench", "-n", 4, "--server-metrics", metrics.url, server.url)
    assert done.returncode == 0 and "  WARNING: cannot be read after the run: " in done.stdout
    with RawServer(script) as metrics, RawServer([answer()]) as server:
        code, report = bench_json("-n", 4, "--server-metrics", metrics.url, server.url)
    assert code == 0 and report["server_metrics"][0]["error"] is not None
    assert report["server_metrics"][0]["counters"]["a_total"] == {"before": 1}


@pytest.mark.parametrize(
    "args,why",
    [
        (("--server-metrics", "ftp://x/"), "a scheme that is not http, https or unix"),
        (("--server-metrics", "http://"), "--server-metrics"),
        (("--server-metrics", "http://x/", "--server-metrics", "http://x/"), "is given twice"),
        (("--server-metrics", "http://x/" + "a" * 300), "longer than"),
    ],
)
def test_bad_urls_are_refused(srv_run, args, why):
    done = srv_run("bench", "-n", 4, *args, "http://127.0.0.1:1/")
    assert done.returncode == 2 and why in done.stderr and len(done.stderr.splitlines()) == 1


def test_hostile_metrics_are_bounded(srv_run, bench_json):
    names = b"".join(b"n%d_total %%d\n" % i for i in range(5000))
    lines = b"\x1b[2J_total 1\n" * 10 + b"n1_total{x=\"\n" + b"\0\0\0\n" + b"y" * 100000 + b" 1\n"
    script = [answer(body=lines + names.replace(b"%d", b"%d" % n)) for n in (1, 3)]
    with RawServer(script) as metrics, RawServer([answer()]) as server:
        code, report = bench_json("-n", 4, "--server-metrics", metrics.url, server.url)
        text = srv_run("bench", "-n", 4, "--server-metrics", metrics.url, server.url).stdout
    told = report["server_metrics"][0]
    assert code == 0 and len(told["counters"]) == 256 and told["malformed"] == 12 and told["further"] == 5000 - 256
    assert "\x1b" not in text and "malformed lines" in text


def test_an_answer_without_end_is_refused(srv_run):
    """More than 16 MiB are not taken, however they come."""

    def flood(conn):
        conn.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            conn.sendall(b"a_total 1\n" * 10000)

    with RawServer([[flood]]) as metrics, RawServer([answer()]) as server:
        done = srv_run("bench", "-n", 4, "--server-metrics", metrics.url, server.url)
    assert done.returncode == 1 and "its answer is too large" in done.stderr


def test_merged_counters_span_all_reads(srv_run, bench_json, tmp_path):
    files = []
    with RawServer([counter(n) for n in (100, 110, 105, 130)]) as metrics, RawServer([answer()]) as server:
        with RawServer([answer(body=b"a_total 1\n"), answer(body=b"a_total 3\n")]) as other:
            for i in range(2):
                files.append(tmp_path / f"{i}.json")
                urls = ["--server-metrics", metrics.url] + (["--server-metrics", other.url] if i else [])
                srv_run("bench", "-n", 10, "--json", files[-1], *urls, server.url)
        code, merged = bench_json("--merge", "--merge-anyway", *files)
        out = srv_run("bench", "--merge", "--merge-anyway", *files).stdout
    assert code == 0
    assert growth_of(merged) == {"http_requests_total": 30} and growth_of(merged, 1) == {"a_total": 2}
    assert "http_requests_total: 30; here 20 answers, 0 failures, 0 in flight: 10 more than here\n" in out


def test_without_the_option_nothing_is_said(slowapi, bench_json):
    assert bench_json("-n", 2, slowapi().url + "?delay=0")[1]["server_metrics"] == []


def test_counters_out_of_range_leave_the_report_whole(srv_run, tmp_path):
    """Sums that are no numbers any more cannot be told in JSON: the report was lost."""
    huge = b'a_total{x="1"} 1e308\na_total{x="2"} 1e308\n'
    with RawServer([answer()]) as app, RawServer([answer(body=b"a_total 1\n"), answer(body=huge)]) as metrics:
        path = tmp_path / "json"
        done = srv_run("bench", "-n", 3, "--json", path, "--server-metrics", metrics.url, app.url)
    assert done.returncode == 0, done.stderr
    assert json.loads(path.read_text())["server_metrics"][0]["counters"]["a_total"] == {"before": 1, "after": 0, "growth": -1}


@pytest.mark.parametrize("signo", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_wait_for_metrics_with_the_report(tmp_path, signo):
    waits = threading.Event()

    def silent(conn):
        waits.set()
        time.sleep(30)

    path = tmp_path / "json"
    with RawServer([answer()]) as app, RawServer([answer(body=b"a_total 1\n"), silent]) as metrics:
        command = [harness.srv_binary(), "bench", "-n", "3", "--json", path, "--server-metrics", metrics.url, app.url]
        with subprocess.Popen([str(word) for word in command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as bench:
            assert waits.wait(60)
            bench.send_signal(signo)
            assert bench.wait(timeout=8) == 128 + signo
    report = json.loads(path.read_text())
    assert report["stopped_by"] == signo.name and report["totals"]["succeeded"] == 3
    assert report["server_metrics"][0]["error"]
