# SPDX-License-Identifier: MIT
"""srv bench --prometheus: counters while a run goes on, which at its end are those of the report."""

import json
import re
import shutil
import socket
import subprocess
import urllib.request

import harness
import pytest


class Bench:
    """A running srv bench with its endpoint."""

    def __init__(self, folder, *args, address="127.0.0.1:0"):
        self.json, self.err = folder / "run.json", folder / "err"
        command = [harness.srv_binary(), "bench", "-q", "--json", self.json, "--prometheus", address, *map(str, args)]
        with self.err.open("w") as err:
            self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=err, preexec_fn=harness.die_with_parent)
        harness.wait_for(lambda: "metrics at" in self.err.read_text(), what="the endpoint")
        self.url = re.search(r"metrics at (\S+?),?[ \n]", self.err.read_text())[1]

    def scrape(self):
        with urllib.request.urlopen(self.url, timeout=10) as reply:
            assert reply.headers["Content-Type"] == "text/plain; version=0.0.4"
            return reply.read().decode()

    def end(self):
        code = self.process.wait(60)
        return code, json.loads(self.json.read_text())


def samples(text):
    """{name with labels: value}"""
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    return {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in lines}


def labelled(seen, name, label):
    return {key.split('"')[1]: value for key, value in seen.items() if key.startswith(f"{name}{{{label}=")}


@pytest.fixture
def api(start):
    return start("slowapi", "--params", "delay=exp:5ms")


@pytest.mark.parametrize("workers", [1, 2])
def test_counters_at_the_end_are_those_of_the_report(api, tmp_path, workers):
    load = ["-k", "-c", "8", "-n", "400", "-W", workers, "-r", f"{api.url}?status=200:80,404:10,503:10&fault=fin:5"]
    bench = Bench(tmp_path, "--prometheus-hold", "60s", *load)
    harness.wait_for(lambda: bench.json.exists() and bench.json.stat().st_size > 0, seconds=60, what="the report")
    seen = samples(bench.scrape())
    code, report = bench.end()
    assert code == 0
    assert labelled(seen, "srv_bench_answers_total", "status") == report["statuses"]
    assert labelled(seen, "srv_bench_failures_total", "reason") == report["failures"]
    assert seen["srv_bench_latency_seconds_count"] == report["latency_us"]["count"] - report["latency_us"]["censored"]
    mean = seen["srv_bench_latency_seconds_sum"] / seen["srv_bench_latency_seconds_count"]
    assert mean == pytest.approx(report["latency_us"]["mean"] / 1e6, rel=1e-4)
    assert seen["srv_bench_connections_total"] == report["totals"]["connections"]
    assert seen["srv_bench_received_bytes_total"] == report["totals"]["bytes_received"]
    assert seen["srv_bench_sent_bytes_total"] == report["totals"]["bytes_sent"]
    assert seen["srv_bench_in_flight"] == 0


def test_buckets_count_what_the_histogram_of_the_report_counts(api, tmp_path):
    bench = Bench(tmp_path, "--prometheus-hold", "60s", "-k", "-c", "4", "-n", "200", api.url)
    harness.wait_for(lambda: bench.json.exists() and bench.json.stat().st_size > 0, seconds=60, what="the report")
    seen = samples(bench.scrape())
    _, report = bench.end()
    buckets = labelled(seen, "srv_bench_latency_seconds_bucket", "le")
    assert list(buckets.values()) == sorted(buckets.values()) and buckets.pop("+Inf") == 200
    for bound, count in buckets.items():
        assert count == sum(n for usec, n in report["histograms"]["latency_us"] if usec <= round(float(bound) * 1e6))


def test_scrapes_within_a_run_see_counters_rise(api, tmp_path):
    bench = Bench(tmp_path, "--rate", "100", "--time", "4", "-k", api.url)
    counts = [0]

    def has_risen():
        seen = samples(bench.scrape())
        assert seen["srv_bench_latency_seconds_count"] >= counts[-1]
        assert sum(labelled(seen, "srv_bench_answers_total", "status").values()) == seen["srv_bench_latency_seconds_count"]
        counts.append(seen["srv_bench_latency_seconds_count"])
        return len(set(counts)) > 2

    harness.wait_for(has_risen, what="two seconds")
    _, report = bench.end()
    assert counts[-1] <= report["totals"]["succeeded"]
    with pytest.raises(OSError):
        bench.scrape()  # the endpoint ends with the run


def test_text_is_what_scrapers_read(api, tmp_path):
    bench = Bench(tmp_path, "-n", "20", "--prometheus-hold", "60s", api.url)
    harness.wait_for(lambda: bench.json.exists() and bench.json.stat().st_size > 0, seconds=60, what="the report")
    text = bench.scrape()
    bench.end()
    families = re.findall(r"^# TYPE (\S+) (counter|gauge|histogram)$", text, re.M)
    assert len(families) == len(dict(families)) == len(re.findall(r"^# HELP ", text, re.M)) == 10
    assert all(name.endswith("_total") == (kind == "counter") for name, kind in families)
    if shutil.which("promtool"):
        done = subprocess.run(["promtool", "check", "metrics"], input=text, text=True, capture_output=True)
        assert done.returncode == 0, done.stdout + done.stderr


def test_endpoint_may_be_a_unix_socket(api, tmp_path):
    path = tmp_path / "metrics.sock"
    bench = Bench(tmp_path, "-n", "5", "--prometheus-hold", "60s", api.url, address=f"unix:{path}")
    harness.wait_for(lambda: bench.json.exists() and bench.json.stat().st_size > 0, seconds=60, what="the report")
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        client.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        assert b"srv_bench_answers_total" in client.makefile("rb").read()
    assert bench.end()[0] == 0
    assert not path.exists()


def test_port_in_use_is_an_error_before_the_load(api):
    done = harness.run("bench", "-q", "-n", "5", "--prometheus", f"127.0.0.1:{api.port}", api.url)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"srv bench: --prometheus: cannot listen on 127.0.0.1:{api.port}: Address already in use\n"


@pytest.mark.parametrize(
    "args, message",
    [
        (["--prometheus", "x:y"], "--prometheus: 'x:y' is not allowed"),
        (["--prometheus-hold", "5s"], "--prometheus-hold needs --prometheus"),
        (["--merge", "--prometheus", "0"], "--prometheus excludes --merge: nothing is loaded"),
    ],
)
def test_what_cannot_be_is_refused(args, message):
    done = harness.run("bench", *args, "http://127.0.0.1:1/")
    assert done.returncode == 2 and message in done.stderr
