# SPDX-License-Identifier: MIT
"""srv bench by several machines: a start that they share, the part of each, and one report from all."""

import datetime
import http.server
import itertools
import json
import shlex
import shutil
import signal
import subprocess
import threading
import time

import harness
import pytest
import yaml


class Clocked:
    """A server that notes when each request came, by the wall clock."""

    def __init__(self):
        came, paths = self.came, self.paths = [], []

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                came.append(time.time())
                paths.append(self.path)
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


def together(arguments):
    """Runs benches that share a start: `arguments` is a list for each. What each wrote to stdout.

    Processes that a busy machine starts too late are refused; then all try again, with more time."""
    for ahead in (1.5, 6, 25):
        start = f"{time.time() + ahead:.6f}"
        each = [start_bench("-q", "--start-at", start, *args) for args in arguments]
        ended = [(*process.communicate(timeout=90), process.returncode) for process in each]
        if all("has passed" not in err for _, err, _ in ended):
            assert all(code == 0 and not harness.REPORT.search(err) for _, err, code in ended), ended
            return [out for out, _, _ in ended]
    raise AssertionError("the machine is too busy to start them")


def run_shards(count, *args):
    """The reports of `count` shards of one load, run at one time on this machine."""
    outs = together([["--json-line", "--shard", f"{i + 1}/{count}", *args] for i in range(count)])
    return [json.loads(out) for out in outs]


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
        assert [report["shard"]["index"] for report in reports] == [i % count for i in range(1, count + 1)]
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
    shard = [["--shard", f"{i + 1}/{count}"] if count > 1 else [] for i in range(count)]
    outs = together([["--json-line", "--ndjson", tmp_path / f"{count}-{i}", *shard[i], *args] for i in range(count)])
    return [planned(tmp_path / f"{count}-{i}") for i in range(count)], [json.loads(out) for out in outs]


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
    assert sorted(report["config"]["concurrency"] for report in reports) == [2, 2, 3]
    assert sum(report["totals"]["connections"] for report in reports) == 7


def test_random_arrivals_of_shards_are_those_of_as_many_workers(slowapi, tmp_path):
    url = slowapi().url + "?delay=0"
    args = ["-k", "--rate", 100, "-t", 1, "-c", 6, "--arrivals", "poisson", "--seed", 7, "--drain", 5, url]
    times, _ = record(tmp_path, 2, *args)
    whole, _ = record(tmp_path, 1, "-W", 2, *args)
    assert sorted(itertools.chain(*times)) == pytest.approx(sorted(whole[0]), abs=2) and len(whole[0]) > 50
    assert not set(times[0]) & set(times[1])


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("order", ["file", "random", "template"])
def test_requests_of_shards_are_those_of_one_process(tmp_path, order, workers):
    """Lines of a file, draws and templates: each request of the whole load is sent by one shard."""
    (tmp_path / "urls").write_text("".join(f"/line{i}\n" for i in range(24)))
    options = ["--requests-file", tmp_path / "urls", "-n", 24, "-c", 6, "-W", workers, "--seed", 5]
    if order == "template":
        options = ["--templates", "-n", 24, "-c", 6, "-W", workers, "--seed", 5]
    if order == "random":
        options += ["--requests-order", "random"]
    sent = []
    for count in (1, 3):
        with Clocked() as server:
            url = server.url + ("{{seq}}/{{random:1-1000000}}" if order == "template" else "")
            together([[*options, *(["--shard", f"{i}/{count}"] if count > 1 else []), url] for i in range(count)])
            sent.append(sorted(server.paths))
    assert sent[0] == sent[1] and len(sent[0]) == 24
    if order == "file":
        assert sent[0] == sorted(f"/line{i}" for i in range(24))


def test_a_log_is_replayed_by_shards(tmp_path):
    stamp = "29/Nov/2026:12:00:0{} +0000"
    lines = [f'127.0.0.1 - - [{stamp.format(i // 12)}] "GET /log{i} HTTP/1.1" 200 2 "-" "-"\n' for i in range(24)]
    (tmp_path / "log").write_text("".join(lines))
    with Clocked() as server:
        together([["--replay", tmp_path / "log", "--shard", f"{i}/2", "-c", 8, server.url] for i in range(2)])
    assert sorted(server.paths) == sorted(f"/log{i}" for i in range(24))


def test_the_engine_says_which_part(slowapi):
    url = slowapi().url + "?delay=0"
    for env, args, index in (
        ({"SRV_SHARD": "2/3"}, [], 2),
        ({"SRV_SHARD": "3", "JOB_COMPLETION_INDEX": "1"}, [], 1),
        ({"JOB_COMPLETION_INDEX": "0"}, ["--shard", "3"], 0),
        ({"SRV_SHARD": "2/3", "JOB_COMPLETION_INDEX": "1"}, ["--shard", "3/3"], 0),
        ({"SRV_SHARD": "1/3", "SRV_START_AT": "+0.5s"}, [], 1),
    ):
        out, _ = end(start_bench("-q", "-n", 6, "-c", 3, "--json-line", *args, url, env=env))
        report = json.loads(out)
        assert (report["shard"]["index"], report["shard"]["count"]) == (index, 3)
        assert report["totals"]["requests"] == 2
        assert (report["start"]["late_s"] is not None) == ("SRV_START_AT" in env)


@pytest.mark.parametrize("args, env, why", [
    (["--shard", "node/4"], {}, "from 0 or 1"),
    (["--shard", "5/4"], {}, "--shard"),
    (["--shard", "4"], {}, "JOB_COMPLETION_INDEX"),
    (["--shard", "4"], {"JOB_COMPLETION_INDEX": "5"}, "which is 5"),
    ([], {"SRV_SHARD": "x/4"}, "SRV_SHARD"),
    (["--shard", "2/3", "-n", "2", "-c", "2"], {}, "--requests 2"),
    (["--shard", "2/3", "-n", "9", "-c", "2"], {}, "--concurrency 2"),
    (["--shard", "0/2", "-n", "9", "-c", "3", "-W", "3"], {}, "--workers 3"),
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


# --- one report from all -----------------------------------------------------------------------------

SHARDS = 3
RAW_PERCENTILES = {"50": 0.5, "99": 0.99, "99.9": 0.999}


def skew_of(reports):
    begun = [report["totals"]["started_s"] + report["start"]["late_s"] for report in reports]
    return max(begun) - min(begun)


def run_parts(folder, url):
    args = ["-k", "--rate", 600, "-t", 3, "-c", 300, "--drain", 20, "--seed", 3, "--arrivals", "poisson", url]
    for _ in range(5):  # a busy machine may wake one of them late
        lines = together([["--json-line", "--ndjson", folder / f"raw{i}", "--shard", f"{i + 1}/{SHARDS}", *args]
                          for i in range(SHARDS)])  # fmt: skip
        if skew_of(map(json.loads, lines)) < 0.05:
            return lines
    raise AssertionError("the machine is too busy to wake them at one time")


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """The reports, as lines of JSON, and all raw samples of a load by three shards; shard 0 is the last."""
    folder = tmp_path_factory.mktemp("parts")
    api = harness.Server("slowapi", [], folder / "api.log")
    try:
        lines = run_parts(folder, api.url + "?delay=exp:0.02")
    finally:
        api.stop()
    raw = [json.loads(line) for i in range(SHARDS) for line in (folder / f"raw{i}").read_text().splitlines()]
    return lines, raw


def merge(*paths, stdin=None, more=()):
    """(exit code, the merged report or None, what was said)"""
    command = [harness.srv_binary(), "bench", "--merge", "--json-line", *map(str, more), *map(str, paths)]
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=60,
                          env=harness.clean_environment(), preexec_fn=harness.die_with_parent)  # fmt: skip
    assert not harness.REPORT.search(done.stderr), done.stderr
    return done.returncode, json.loads(done.stdout) if done.stdout else None, done.stderr


def is_whole(result, parts):
    code, report, said = result
    assert code == 0 and report["merged"]["files"] == SHARDS, said
    assert report["totals"]["requests"] == sum(json.loads(line)["totals"]["requests"] for line in parts[0])
    return report


def test_merged_percentiles_are_those_of_all_raw_samples(parts):
    more = ["--percentiles", ",".join(RAW_PERCENTILES)]
    report = is_whole(merge("-", stdin="".join(parts[0]), more=more), parts)
    times = sorted(one["total_us"] for one in parts[1])
    assert len(times) == report["latency_us"]["count"] > 1000 and all(one["outcome"] == "ok" for one in parts[1])
    for name, share in RAW_PERCENTILES.items():
        rank = next(i for i in range(len(times)) if (i + 1) / len(times) >= share - 1e-12)
        assert report["percentiles_us"][name] == pytest.approx(times[rank], rel=1e-3), name
    assert report["latency_us"]["p99"] == report["percentiles_us"]["99"]


def test_merged_seconds_add_up(parts):
    report = is_whole(merge("-", stdin="".join(parts[0])), parts)
    reports = [json.loads(line) for line in parts[0]]
    assert sum(row["requests"] for row in report["series"]) == report["totals"]["requests"]
    assert [row["second"] for row in report["series"][:2]] == [1, 2]
    for i in range(2):
        for key in ("requests", "failed", "in_flight"):
            assert report["series"][i][key] == sum(one["series"][i][key] for one in reports), key
        assert report["series"][i]["max_us"] == max(one["series"][i]["max_us"] for one in reports)
        assert report["series"][i]["p99_us"] is None
        assert sum(count for _, count in report["series"][i]["histogram"]) == sum(
            count for one in reports for _, count in one["series"][i]["histogram"]
        )


def test_a_merged_report_tells_its_parts(parts):
    report = is_whole(merge("-", stdin="".join(parts[0])), parts)
    reports = {one["shard"]["index"]: one for one in map(json.loads, parts[0])}
    assert sorted(part["shard"] for part in report["merged"]["parts"]) == list(range(SHARDS))
    begun = [part["begun_s"] for part in report["merged"]["parts"]]
    assert begun[0] == 0 and begun == sorted(begun) and begun[-1] == pytest.approx(report["merged"]["start_skew_s"])
    for part in report["merged"]["parts"]:
        one = reports[part["shard"]]
        assert (part["requests"], part["failed"]) == (one["totals"]["requests"], one["totals"]["failed"])
        assert part["p99_us"] == one["latency_us"]["p99"] and part["host"] == one["environment"]["host"]
    assert report["config"]["rate"] == pytest.approx(600) and report["config"]["concurrency"] == 300
    assert report["shard"] is None


def swarm_log(lines, stamps=False):
    """What `docker service logs` prints: pieces of 16 KiB, each after the task's name, of all tasks by turns."""
    pieces = []
    for i, line in enumerate(lines):
        name = f"{'2026-11-29T17:04:44.123456789Z ' if stamps else ''}load.test_bench.{i + 1}.w0vq8yj4n5p{i}@node-{i}.lan    | "
        text = "srv bench: the load begins\n" + line
        cut = [piece for part in text.splitlines(keepends=True)
               for piece in (part[at : at + 16384] for at in range(0, len(part), 16384))]  # fmt: skip
        pieces.append([name + piece for piece in cut])
    return "".join(piece for row in itertools.zip_longest(*pieces, fillvalue="") for piece in row)


def kubernetes_log(lines):
    """What `kubectl logs --prefix` prints, with the text report that goes to stderr between."""
    noise = "This is srv bench\n\nBenchmarking {host} (be patient)\n{not json}\n"
    text = [f"[pod/bench-{i}-x7k2p/bench] {row}" for i, line in enumerate(lines) for row in (noise + line).splitlines()]
    return "\n".join(text) + "\n"


def indented(lines):
    return "".join(json.dumps(json.loads(line), indent=2) + "\n" for line in lines)


FORMS = {
    "lines": "".join,
    "swarm": swarm_log,
    "swarm with stamps": lambda lines: swarm_log(lines, True),
    "kubernetes": kubernetes_log,
    "compose": lambda lines: "".join(f"bench_{i}_1  | {line}" for i, line in enumerate(lines)),
    "indented": indented,
    "a list": lambda lines: json.dumps([json.loads(line) for line in lines], indent=1),
    "keys in order": lambda lines: "".join(json.dumps(json.loads(line), sort_keys=True) + "\n" for line in lines),
    "among others": lambda lines: '{"start_us":1}\n[]\n{\n' + "\n\n".join(lines) + "{}",
    "no end of line": lambda lines: "".join(lines)[:-1],
}


@pytest.mark.parametrize("form", FORMS)
def test_reports_are_found_in_logs(parts, form):
    is_whole(merge("-", stdin=FORMS[form](parts[0])), parts)


def test_long_lines_are_in_pieces(parts):
    assert max(len(line) for line in parts[0]) > 16384  # or the form "swarm" tests nothing


def test_files_and_folders_are_read(parts, tmp_path):
    for i, line in enumerate(parts[0]):
        (tmp_path / f"{i}.json").write_text(line)
    is_whole(merge(*(tmp_path / f"{i}.json" for i in range(SHARDS))), parts)
    for name in ("raw.csv", "notes", ".hidden.json", "server.log"):
        (tmp_path / name).write_text("{")
    is_whole(merge(tmp_path), parts)
    (tmp_path / "2.json").rename(tmp_path / "2.jsonl")
    (tmp_path / "0.json").write_text("")
    code, report, said = merge(tmp_path)
    assert code == 1 and report is None and "0.json" in said and said.count("\n") == 1
    (tmp_path / "0.json").rename(tmp_path / "0")
    is_whole(merge(tmp_path, "-", stdin=parts[0][0]), parts)
    (tmp_path / "empty").mkdir()
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "server.log").write_text("hello\n")
    for path in (tmp_path / "empty", tmp_path / "none", tmp_path / "logs"):
        code, report, said = merge(path)
        assert code == 1 and report is None and path.name in said and said.count("\n") == 1


def changed(line, *keys, to):
    report = json.loads(line)
    inner = report
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = to(inner[keys[-1]])
    return json.dumps(report) + "\n"


REFUSED = {
    "missing": (lambda a, b, c: a + c, "1 of 3 shards is missing: 2"),
    "two missing": (lambda a, b, c: c, "2 of 3 shards are missing: 1, 2"),
    "doubled": (lambda a, b, c: a + b + b + c, "shard 2/3 is also in -, line 2"),
    "doubled at the end": (lambda a, b, c: a + b + c + a, "shard 1/3 is also in"),
    "another N": (lambda a, b, c: a + changed(b, "shard", "count", to=lambda n: 4), "number of shards"),
    "no such shard": (lambda a, b, c: a + b + changed(c, "shard", "index", to=lambda n: 3), "its shard is none"),
    "no shard": (lambda a, b, c: a + changed(b, "shard", to=lambda _: None), "no shard of a load"),
    "another load": (lambda a, b, c: a + changed(b, "shard", "rate", to=lambda x: 2 * x), "rate of the whole load"),
    "other connections": (lambda a, b, c: a + changed(b, "shard", "concurrency", to=lambda x: x + 1), "concurrency"),
    "another time": (lambda a, b, c: a + changed(b, "config", "time_limit_s", to=lambda x: x + 1), "time_limit_s"),
    "another seed": (lambda a, b, c: a + changed(b, "config", "seed", to=lambda x: x + 1), "seed"),
    "another target": (lambda a, b, c: a + changed(b, "config", "url", to=lambda x: x + "0"), "url"),
    "5 s apart": (lambda a, b, c: a + b + changed(c, "totals", "started_s", to=lambda x: x + 5), "5.0"),
    "late": (lambda a, b, c: a + b + changed(c, "start", "late_s", to=lambda x: 5.0), "apart"),
    "a day apart": (lambda a, b, c: a + b + changed(c, "totals", "started_s", to=lambda x: x - 86400), "apart"),
    "shorter": (lambda a, b, c: a + b + changed(c, "totals", "seconds", to=lambda x: x / 2), "overlap"),
    "cut off": (lambda a, b, c: a + b[:9000] + "\n" + c, "line 2 is cut off"),
    "cut off at the end": (lambda a, b, c: a + b + c[:-10], "line 3 is cut off"),
    "cut off over many lines": (lambda a, b, c: a + b + json.dumps(json.loads(c), indent=2)[:4000], "line 3 is cut off"),
    "nothing": (lambda a, b, c: "", "no report"),
    "other lines": (lambda a, b, c: '{"a":1}\nhello\n', "no report"),
    "other JSON": (lambda a, b, c: '{"a":1}', "no report"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_not_one_load_is_refused(parts, case):
    make, why = REFUSED[case]
    code, report, said = merge("-", stdin=make(*parts[0]), more=["--merge-skew", "3s"] if case != "5 s apart" else [])
    assert code == 1 and report is None and said.count("\n") == 1, said
    assert why in said


def test_what_is_refused_can_be_added_up_anyway(parts):
    a, b, c = parts[0]
    late = changed(c, "totals", "started_s", to=lambda x: x + 5)
    code, report, _ = merge("-", stdin=a + late, more=["--merge-anyway"])
    assert code == 0 and report["merged"]["files"] == 2
    assert report["merged"]["start_skew_s"] == pytest.approx(5, abs=1) and report["merged"]["overlap"] == 0
    assert sum(row["requests"] for row in report["series"]) == report["totals"]["requests"]
    assert len(report["series"]) <= 8 and report["series"][-1]["second"] > 7  # seconds in which none ran have no row
    code, report, _ = merge("-", stdin=a + b + late, more=["--merge-skew", "9s"])
    assert code == 1 and report is None  # they do not overlap


HOSTILE = {
    "connections": ("config", "concurrency", 2**63 - 1),
    "workers": ("config", "workers", 2**63 - 1),
    "a rate": ("config", "rate", 1e308),
    "counts": ("totals", "succeeded", 2**63 - 1),
    "before 1970": ("totals", "started_s", -1e308),
    "the far future": ("totals", "started_s", 1e308),
    "a long run": ("totals", "seconds", 1e308),
    "a late start": ("start", "late_s", 1e308),
    "no seconds": ("series", 0.5),
    "seconds of nothing": ("series", [[], {"second": 1e308, "seconds": -1e308, "histogram": [[-5, 2**63 - 1]]}]),
    "a histogram": ("histograms", "latency_us", [[2**63 - 1, 2**63 - 1]]),
}  # fmt: skip


@pytest.mark.parametrize("case", HOSTILE)
def test_numbers_of_a_report_may_be_anything(parts, tmp_path, case):
    *keys, value = HOSTILE[case]
    text = "".join(changed(line, *keys, to=lambda _: value) for line in parts[0])
    code, report, said = merge("-", stdin=text, more=["--merge-anyway", "--report", tmp_path / "page.html"])
    assert code in (0, 3), said
    assert report["merged"]["files"] == SHARDS
    assert 0 <= report["config"]["concurrency"] < 2**63 and report["totals"]["seconds"] >= 0


def test_a_long_word_of_a_log_takes_no_time(parts):
    is_whole(merge("-", stdin="a." * 200000 + "\n" + "".join(parts[0])), parts)


def test_skew_is_bounded(parts):
    a, b, c = parts[0]
    apart = changed(c, "totals", "started_s", to=lambda x: x + 0.1)
    assert merge("-", stdin=a + b + apart, more=["--merge-skew", "20ms"])[0] == 1
    assert merge("-", stdin=a + b + apart, more=["--merge-anyway", "--merge-skew", "20ms"])[0] == 0


@pytest.mark.parametrize("options, why", [
    (["--merge", "-n", 5], "--requests excludes --merge"),
    (["--merge", "--rate", 5], "--rate excludes --merge"),
    (["--merge", "--start-at", "+1s"], "--start-at excludes --merge"),
    (["--merge", "--shard", "1/2"], "--shard excludes --merge"),
    (["--merge", "--ndjson", "-"], "--ndjson excludes --merge"),
    (["--merge", "-H", "A: b"], "--header excludes --merge"),
    (["--merge-anyway"], "--merge-anyway needs --merge"),
    (["--merge-skew", "3s"], "--merge-skew needs --merge"),
    (["--merge", "--merge-skew", "-1"], "--merge-skew"),
])  # fmt: skip
def test_what_says_nothing_of_a_merge_is_refused(srv_run, options, why):
    done = srv_run("bench", *options, "http://127.0.0.1:9/", env={"SRV_SHARD": "1/2", "SRV_START_AT": "+1s"})
    assert done.returncode == 2 and done.stdout == "" and done.stderr.count("\n") == 1
    assert why in done.stderr


def test_variables_of_an_engine_do_not_disturb_a_merge(parts):
    done = subprocess.run([harness.srv_binary(), "bench", "--merge", "-"], input="".join(parts[0]), capture_output=True,
                          text=True, env=harness.clean_environment({"SRV_SHARD": "1/2", "SRV_START_AT": "1"}),
                          preexec_fn=harness.die_with_parent)  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_a_merge_can_be_merged(parts):
    _, report, _ = merge("-", stdin="".join(parts[0]))
    assert report["config"]["requests"] is None
    code, again, said = merge("-", stdin=json.dumps(report))
    assert code == 0 and again["totals"]["requests"] == report["totals"]["requests"], said
    for key in ("latency_us", "wait_us"):
        assert again[key]["p99"] == report[key]["p99"]
    assert [row["requests"] for row in again["series"]] == [row["requests"] for row in report["series"]]


# --- the script over the engines -----------------------------------------------------------------------


def cluster(*args):
    return subprocess.run([harness.ROOT / "scripts/cluster", *map(str, args)], capture_output=True, text=True, timeout=80,
                          env=harness.clean_environment({"SRV_BIN": harness.srv_binary()}),
                          preexec_fn=harness.die_with_parent)  # fmt: skip


def test_cluster_runs_shards_as_processes(slowapi, tmp_path):
    url = slowapi().url + "?delay=0"
    options = ["--engine", "processes", "--shards", 3, "--in", 4, f"--merge=--json={tmp_path}/all", "--merge=--merge-skew=60s"]
    done = cluster(*options, "--", "-k", "--rate", 30, "-t", 3, "-c", 9, url)
    assert done.returncode == 0 and "shard 2/3" in done.stdout, done.stderr
    report = json.loads((tmp_path / "all").read_text())
    assert report["merged"]["files"] == 3 and report["config"]["rate"] == pytest.approx(30)


def test_cluster_tells_what_a_shard_said():
    done = cluster("--engine", "processes", "--in", 4, "--", "--nope", "http://127.0.0.1:9/")
    assert done.returncode == 1 and "--nope" in done.stderr and done.stderr.count("\n") == 2
    done = cluster("--engine", "processes")
    assert done.returncode == 1 and "URL" in done.stderr
    assert cluster("--shards", 0).returncode == 2


def test_cluster_prints_what_an_engine_would_get():
    url = "http://app:3000/?a=1&b='$(x)'"
    done = cluster("--engine", "swarm", "--shards", 5, "--image", "r/srv:7", "--print", "--", "-k", "-c", 10, url)
    stack = yaml.safe_load(done.stdout)["services"]["bench"]
    assert stack["deploy"]["replicas"] == 5 and stack["image"] == "r/srv:7"
    assert stack["environment"]["SRV_SHARD"] == "{{.Task.Slot}}/5"
    assert shlex.split(stack["command"].replace("$$", "$")) == ["bench", "--json-line", "--quiet", "-k", "-c", "10", url]
    assert float(stack["environment"]["SRV_START_AT"]) > time.time()
    header = "A: $HOME \"q\" it's }: #c"
    done = cluster("--engine", "swarm", "--print", "--", "-H", header, url)
    command = yaml.safe_load(done.stdout)["services"]["bench"]["command"]
    assert shlex.split(command.replace("$$", "$"))[-2:] == [header, url]
    done = cluster("--engine", "processes", "--print", "--", "-c", 10, url)
    assert done.stdout.count("\n") == 2 and "SRV_SHARD=1/2" in done.stdout


def test_cluster_prints_a_job():
    if not shutil.which("kubectl", path="/usr/sbin:/usr/bin:/sbin:/bin"):
        pytest.skip("there is no kubectl, which has kustomize")
    url = "http://app:3000/?a=$(x)"
    done = cluster("--engine", "kubernetes", "--shards", 5, "--image", "host:5000/srv", "--print", "--", "-c", 10, url)
    job = yaml.safe_load(done.stdout)["spec"]
    container = job["template"]["spec"]["containers"][0]
    assert job["completions"] == job["parallelism"] == 5 and container["image"] == "host:5000/srv:latest"
    assert container["args"] == ["bench", "--json-line", "--quiet", "-c", "10", url.replace("$(", "$$(")]
    assert {"name": "SRV_SHARD", "value": "5"} in container["env"] and container["securityContext"]["readOnlyRootFilesystem"]
