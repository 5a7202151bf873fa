# SPDX-License-Identifier: MIT
"""What srv bench tells of each second: as CSV, and as the log of HdrHistogram, read here by its published encoding."""

import base64
import csv
import json
import re
import shutil
import struct
import subprocess
import zlib
from pathlib import Path

import harness
import pytest

JAR = Path("/usr/share/java/hdrhistogram.jar")  # of libhdrhistogram-java


def words_of(payload):
    """ZigZag LEB128, at most nine bytes a word"""
    at = 0
    while at < len(payload):
        word = shift = 0
        for length in range(9):
            byte = payload[at]
            at += 1
            word |= (byte if length == 8 else byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        yield (word >> 1) ^ -(word & 1)


def decode(text):
    """{the largest value of a bucket: its count} of a compressed histogram in encoding V2"""
    packed = base64.b64decode(text, validate=True)
    cookie, length = struct.unpack(">II", packed[:8])
    assert cookie == 0x1C849314 and length == len(packed) - 8
    plain = zlib.decompress(packed[8:])
    cookie, length, offset, digits, lowest, highest, ratio = struct.unpack(">IIIIQQd", plain[:40])
    assert (cookie, length, offset, digits, lowest, highest, ratio) == (0x1C849313, len(plain) - 40, 0, 3, 1, 3_600_000_000, 1.0)
    counts, index = {}, 0
    for word in words_of(plain[40:]):
        if word < 0:
            index -= word
            continue
        if word > 0:
            shift = max(index // 1024 - 1, 0)  # 2048 buckets of one, then 1024 for each doubling
            counts[(index - shift * 1024 + 1 << shift) - 1] = word
        index += 1
    return counts


def read_log(path):
    """[(offset, length, max in ms, counts)], and the start"""
    lines = path.read_text().splitlines()
    assert lines[1] == "#[Histogram log format version 1.3]"
    start = float(re.match(r"#\[StartTime: ([\d.]+) \(seconds since epoch\), ", lines[2])[1])
    assert lines[3] == f"#[BaseTime: {start:.3f} (seconds since epoch)]"
    assert lines[4] == '"StartTimestamp","Interval_Length","Interval_Max","Interval_Compressed_Histogram"'
    return [(*map(float, line.split(",")[:3]), decode(line.split(",")[3])) for line in lines[5:]], start


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """(the folder of hlog, csv and json; the JSON) of a run whose answers take 0.1 ms to 3 s"""
    folder = tmp_path_factory.mktemp("run")
    server = harness.Server("slowapi", ["--params", "delay=exp:20ms"], folder / "log")
    files = ["--hlog", folder / "hlog", "--series-csv", folder / "csv", "--json", folder / "json"]
    done = harness.run("bench", "-q", "-k", "-c", "20", "-t", "3", "-W", "2", *files, server.url)
    server.stop()
    assert done.returncode == 0, done.stderr
    return folder, json.loads((folder / "json").read_text())


def test_log_holds_every_answer_in_its_bucket(run):
    folder, report = run
    rows, start = read_log(folder / "hlog")
    assert start == pytest.approx(report["totals"]["started_s"], abs=0.1)
    total = {}
    for _, _, _, counts in rows:
        for value, count in counts.items():
            total[value] = total.get(value, 0) + count
    assert sum(total.values()) == report["totals"]["succeeded"] == report["totals"]["requests"]
    told = dict(report["histograms"]["latency_us"])
    last = max(told)  # told exactly; the others by the largest value of their bucket
    assert {value: count for value, count in told.items() if value != last} == {
        value: count for value, count in total.items() if value != max(total)
    }
    assert 0 <= max(total) - last <= last >> 10 and total[max(total)] == told[last]


def test_log_has_a_line_per_row(run):
    folder, report = run
    rows, _ = read_log(folder / "hlog")
    assert len(rows) == len(report["series"])
    for (offset, length, most, counts), row in zip(rows, report["series"]):
        assert length == pytest.approx(row["seconds"], abs=1e-3)
        assert offset == pytest.approx(row["second"] - row["seconds"], abs=1e-3)
        assert most == pytest.approx(row["max_us"] / 1000, abs=1e-3)
        assert sum(counts.values()) == row["requests"]


def test_csv_has_the_rows_of_the_json(run):
    folder, report = run
    rows = list(csv.DictReader((folder / "csv").open()))
    assert len(rows) == len(report["series"])
    for row, told in zip(rows, report["series"]):
        assert list(row) == ["second", "seconds", "requests", "failed", "rps", "in_flight", "p50_us", "p99_us", "max_us"]
        assert {key: float(value) for key, value in row.items()} == pytest.approx({key: told[key] for key in row}, abs=1e-3)


def test_seconds_without_an_answer_are_empty(start, tmp_path):
    api = start("slowapi", "--params", "delay=10s")
    files = ["--hlog", tmp_path / "hlog", "--series-csv", tmp_path / "csv"]
    done = harness.run("bench", "-q", "-t", "2", *files, api.url)
    assert done.returncode == 3, done.stderr
    rows, _ = read_log(tmp_path / "hlog")
    assert rows and all(counts == {} and most == 0 for _, _, most, counts in rows)
    assert all(line.endswith(",,,") for line in (tmp_path / "csv").read_text().splitlines()[1:])


@pytest.mark.skipif(not JAR.exists() or shutil.which("java") is None, reason="libhdrhistogram-java or java is not installed")
def test_library_of_hdrhistogram_reads_the_log(run):
    folder, report = run
    reader = ["java", "-cp", JAR, "org.HdrHistogram.HistogramLogProcessor", "-outputValueUnitRatio", "1000", "-i", folder / "hlog"]
    done = subprocess.run(reader, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    most, count = re.search(r"#\[Max *= *([\d.]+), Total count *= *(\d+)\]", done.stdout).groups()
    assert int(count) == report["totals"]["succeeded"]
    assert float(most) * 1000 == pytest.approx(report["latency_us"]["max"], rel=1e-3)


@pytest.mark.parametrize("option", ["--hlog", "--series-csv"])
def test_files_per_second_need_a_run(tmp_path, option):
    done = harness.run("bench", "--merge", option, tmp_path / "out", tmp_path / "any.json")
    assert done.returncode == 2
    assert done.stderr.splitlines()[0].endswith(f"{option} excludes --merge: nothing is loaded")
    done = harness.run("bench", option, "no/such/file", "http://127.0.0.1:1/")
    assert (done.returncode, done.stderr) == (1, "srv bench: cannot write no/such/file: No such file or directory\n")


def test_ticks_tell_each_tenth_of_a_second_as_it_ends(srv_run, slowapi, tmp_path):
    path = tmp_path / "ticks.ndjson"
    done = srv_run("bench", "-q", "-k", "-c", "4", "-n", "200", "--ticks", path, f"{slowapi().url}?delay=20ms")
    assert done.returncode == 0, done.stderr
    ticks = [json.loads(line) for line in path.read_text().splitlines()]
    assert sum(tick["ended"] for tick in ticks) == 200 and ticks[-1]["statuses"] == {"200": 200}
    assert sum(count for tick in ticks for _, count in tick["latency_us"]) == 200 and ticks[-1]["failures"] == {}
    assert all(usec >= 20000 for tick in ticks for usec, _ in tick["latency_us"])
    assert len(ticks) >= 5 and all(before["second"] < after["second"] for before, after in zip(ticks, ticks[1:]))
    for tick in ticks:
        of_it = sum(count for _, count in tick["latency_us"])
        assert of_it == tick["ended"] - tick["failed"]
        assert (tick["mean_us"] >= 20000) == (of_it > 0)


@pytest.mark.parametrize("option", [["--json", "x.json"], ["--live"], ["--series-csv", "x.csv"], ["--abort-if", "rps<1"]])
def test_ticks_exclude_what_is_about_seconds(srv_run, option, tmp_path):
    done = srv_run("bench", "-n", "1", "--ticks", tmp_path / "t", *option, "http://127.0.0.1:1/")
    assert done.returncode == 2 and "--ticks excludes" in done.stderr and done.stderr.count("\n") == 1
