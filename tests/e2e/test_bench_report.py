# SPDX-License-Identifier: MIT
"""The page of srv bench --report: its figures are those of the JSON, it needs no network and no script, and nothing in
it is taken for markup."""

import fcntl
import html
import json
import os
import re
import signal
import subprocess
from pathlib import Path

import harness
import pytest
from pages import browse, check_tags, needs_chromium, too_wide

LOAD = ["--rate", "200", "--time", "3", "--keep-alive", "--fail-if", "p99>1us", "--fail-if", "errors>90%"]
SECRETS = ["-A", "ann:open-sesame", "-H", "Authorization: Bearer open-sesame", "--cookie=id=open-sesame"]


def make(folder, *args, code=0):
    """(the page, the JSON as a dict) of a run"""
    paths = folder / "page.html", folder / "run.json"
    done = harness.run("bench", "-q", "--report", paths[0], "--json", paths[1], *args)
    assert done.returncode == code, done.stderr
    return paths[0], json.loads(paths[1].read_text())


@pytest.fixture(scope="module")
def api(tmp_path_factory):
    server = harness.Server("slowapi", ["--params", "delay=exp:4ms"], tmp_path_factory.mktemp("api") / "log")
    yield server
    server.stop()


@pytest.fixture(scope="module")
def run(api, tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    return make(folder, *LOAD, *SECRETS, f"{api.url}?status=200:90,503:10&a=<b>'", code=4)


def words(text):
    """The text of a piece of HTML."""
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", text)).split())


def facts(text):
    return dict(re.findall(r"<dt>(.*?)</dt><dd[^>]*>(.*?)</dd>", text))


def table(text, caption):
    """[[cells of a row]] of the table with that caption"""
    body = re.search(rf"<caption>{re.escape(caption)}</caption>.*?</table>", text, re.S)[0]
    rows = re.findall(r"<tr>(.*?)</tr>", body, re.S)
    return [[words(cell) for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.S)] for row in rows]


def usec(text):
    """Microseconds that are told with three digits."""
    number, unit = text.lstrip(">").split()
    return float(number) * {"us": 1, "ms": 1e3, "s": 1e6}[unit]


def count(text):
    return int(text.replace(",", ""))


def test_page_is_one_file_without_network_and_scripts(run):
    text = run[0].read_text()
    tags = check_tags(text)
    assert not {"script", "link", "img", "iframe", "a"} & set(tags)
    assert "default-src 'none'" in text and "url(" not in text and "@import" not in text
    assert tags["h1"] == 1 and tags["main"] == 1 and tags["svg"] >= 4


def test_figures_are_those_of_the_json(run):
    page, report = run
    text, totals = page.read_text(), report["totals"]
    told = facts(text)
    assert count(told["answers"]) == totals["succeeded"] and count(told["errors"]) == totals["errors"] > 0
    assert float(told["answers per second"]) == pytest.approx(totals["rps"], rel=1e-3)
    for label, key in [("p50", "p50"), ("p99", "p99"), ("p99.9", "p99_9"), ("slowest", "max")]:
        assert usec(told[label]) == pytest.approx(report["latency_us"][key], rel=5e-3)
    rows = {row[0]: row[1:] for row in table(text, "Times")}
    for label, key in [("all", "latency_us"), ("uncorrected", "uncorrected_us"), ("first byte", "wait_us")]:
        assert [usec(cell) for cell in rows[label][:5]] == pytest.approx(
            [report[key][p] for p in ("p50", "p90", "p99", "p99_9", "max")], rel=5e-3, abs=0.5
        )
        assert count(rows[label][7]) == report[key]["count"]


def test_statuses_and_failures_are_counted(run):
    page, report = run
    rows = {row[0]: count(row[1]) for row in table(page.read_text(), "Ends of the requests")[1:]}
    assert rows == {f"status {status}": number for status, number in report["statuses"].items()}
    assert {"status 200", "status 503"} == set(rows)


def test_charts_show_the_rows_per_second(run):
    page, report = run
    text = page.read_text()
    series = report["series"]
    rows = table(text, "Second by second")[1:]
    assert [float(row[1].replace(",", "")) for row in rows] == pytest.approx([(r["requests"] - r["failed"]) / r["seconds"] for r in series], abs=1)
    assert [usec(row[4]) for row in rows] == pytest.approx([r["p99_us"] for r in series], rel=5e-3)

    rate = re.search(r"<figure><figcaption>Per second.*?</figure>", text, re.S)[0]
    top = float(re.findall(r'<span style="top:0.0%">(.*?)</span>', rate)[0])
    line = re.search(r'<path class="line-a" d="(.*?)"', rate)[1]
    points = [tuple(map(float, point)) for point in re.findall(r"[ML]([\d.]+) ([\d.]+)", line)]
    assert [(1 - y / 1000) * top for _, y in points] == pytest.approx([r["rps"] for r in series], rel=0.01)
    end = max(r["second"] for r in series)
    assert [x / 1000 * end for x, _ in points] == pytest.approx([r["second"] - r["seconds"] / 2 for r in series], abs=0.01)


def test_histograms_per_second_hold_every_answer(run):
    for row in run[1]["series"]:
        values = [value for value, _ in row["histogram"]]
        assert sum(number for _, number in row["histogram"]) == row["requests"] - row["failed"]
        assert values == sorted(values) and values[-1] == row["max_us"]


def test_map_has_a_cell_for_every_band_of_a_second(run):
    page, report = run
    heat = re.search(r"<figure><figcaption>How many answers.*?</figure>", page.read_text(), re.S)[0]
    cells = sum(path.count("z") for path in re.findall(r'<path class="heat-\d" d="(.*?)"', heat))
    bands = sum(len(row["histogram"]) for row in report["series"])
    assert bands / 4 <= cells <= bands  # several bands may share a row of the map


def test_conditions_and_what_limits_stand_above(run):
    text = words(run[0].read_text())
    value = run[1]["conditions"][0]["value"]
    told = re.search(r"FAILED --fail-if p99>1us: (\S+ \S+) ", text)[1]
    assert usec(told) == pytest.approx(value, rel=5e-3)
    assert re.search(r"passed --fail-if errors>90%: [\d.]+ % ", text)


def test_command_is_told_without_what_is_secret(run):
    page, report = run
    command = report["config"]["command"]
    assert command.startswith("srv bench -q --report ") and "'p99>1us'" in command
    assert "-A *** -H Authorization:*** --cookie=***" in command
    assert html.unescape(re.search(r"<pre tabindex=\"0\">(.*?)</pre>", page.read_text(), re.S)[1]) == command
    assert "sesame" not in page.read_text() + json.dumps(report)


@pytest.mark.parametrize("options, told", [
    (["-A", "", "-C", "id=open-sesame"], "-A '' -C ***"),
    (["-C", "", "-H", "Authorization: open-sesame"], "-C '' -H Authorization:***"),
    (["-C", "a=b", "-H", "Cookie: id=open-sesame; a=b"], "-C *** -H Cookie:***"),
])  # fmt: skip
def test_a_secret_is_hidden_beside_an_empty_one_and_a_shorter_one(api, options, told):
    done = harness.run("bench", "-q", "--json-line", *options, api.url)
    assert told in json.loads(done.stdout)["config"]["command"]
    assert "sesame" not in done.stdout


def test_page_can_be_made_of_the_json_later(run, tmp_path):
    page, _ = run
    again = tmp_path / "again.html"
    done = harness.run("bench", "--report", again, "--report-from", page.parent / "run.json")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert again.read_bytes() == page.read_bytes()


def test_two_runs_stand_side_by_side(run, api, tmp_path):
    before, old = run
    page, now = make(tmp_path, "-n", "50", "-c", "5", "--against", before.parent / "run.json", api.url)
    text = page.read_text()
    check_tags(text)
    rows = {row[0]: row[1:] for row in table(text, "Side by side")}
    assert [count(cell) for cell in rows["answers"][:2]] == [50, old["totals"]["succeeded"]]
    change = (now["latency_us"]["p50"] / old["latency_us"]["p50"] - 1) * 100
    assert float(rows["p50"][2].rstrip(" %")) == pytest.approx(change, abs=0.06)
    for figure in ("Per second", "Latency", "How many answers took how long"):
        assert f"{figure}: this run" in text and f"{figure}: other run" in text
    labels = re.findall(r'role="region" aria-label="(.*?)"', text)
    assert len(labels) == len(set(labels))


def test_change_of_a_lower_bound_is_not_told(run, tmp_path):
    """Of a percentile that nobody knows."""
    report = json.loads((run[0].parent / "run.json").read_text())
    report["latency_us"]["known_share"] = 0.5
    (tmp_path / "bound.json").write_text(json.dumps(report))
    page = tmp_path / "page.html"
    done = harness.run("bench", "--report", page, "--report-from", tmp_path / "bound.json", "--against", run[0].parent / "run.json")
    assert done.returncode == 0, done.stderr
    rows = {row[0]: row[1:] for row in table(page.read_text(), "Side by side")}
    assert rows["p99"][0].startswith(">") and rows["p99"][2] == "-"
    assert rows["p50"][2] == "+0.0 %"


def test_what_a_report_tells_beyond_that_becomes_tables(run, tmp_path):
    report = json.loads((run[0].parent / "run.json").read_text())
    report["find_max"] = {"found": 173.25, "steps": [{"rate": 100, "held": True}, {"rate": 200, "held": False}], "nothing": {}}
    report["empty"] = {"a": 0, "b": []}
    report["unknown"] = None
    (tmp_path / "more.json").write_text(json.dumps(report))
    page = tmp_path / "page.html"
    assert harness.run("bench", "--report", page, "--report-from", tmp_path / "more.json").returncode == 0
    text = page.read_text()
    assert "<h2>Find max</h2>" in text and "<h2>Empty</h2>" not in text and "<h2>Unknown</h2>" not in text
    assert table(text, "Find max") == [["found", "173.25"]]
    assert table(text, "Find max, steps") == [["rate", "held"], ["100", "yes"], ["200", "no"]]


def test_nothing_of_a_report_is_markup(run, tmp_path):
    evil = "\"'><script>alert(1)</script>"
    report = json.loads((run[0].parent / "run.json").read_text())

    def spoil(value):
        if isinstance(value, dict):
            return {key: value[key] if key == "schema" else spoil(value[key]) for key in value}
        return [spoil(one) for one in value] if isinstance(value, list) else evil if isinstance(value, str) else value

    report = spoil(report)
    report["stopped_by"] = report["generator"]["was_the_limit"] = report["config"]["stages"] = evil
    report["conditions"] = [{"fail_if": evil, "value": 1, "at_least": False, "failed": True}]
    report["statuses"] = {evil: 1}
    report["failures"] = {evil: 1}
    report[evil] = {evil: evil, "list": [{evil: evil}], "deep": {evil: {evil: {evil: {evil: evil}}}}}
    (tmp_path / "evil.json").write_text(json.dumps(report))
    page = tmp_path / "page.html"
    done = harness.run("bench", "--report", page, "--report-from", tmp_path / "evil.json", "--against", tmp_path / "evil.json")
    assert done.returncode == 0, done.stderr
    assert "script" not in check_tags(page.read_text())
    assert evil in html.unescape(page.read_text())


@pytest.mark.parametrize("change", [
    lambda r: r.update(series=[]), lambda r: r.update(series=None, generator=None, conditions=None),
    lambda r: r["histograms"].clear(), lambda r: r.update(histograms={}, totals={}, config={}, latency_us={}),
    lambda r: r.update(series=[{}] * 3, latency_us={"p50": -1e300, "p99": 1e300}), lambda r: r.update(series=[7, "x", [], {"second": "no"}]),
    lambda r: r.update(series=[{"second": 1, "seconds": 1, "histogram": [[-5, -1], [1e300, 2], [1 << 62, 1 << 62], "x", []]}]),
    lambda r: r.update(series=r["series"] * 1000, statuses=[], failures=7, environment="x"),
])  # fmt: skip
def test_reports_that_lack_parts_have_a_page(run, tmp_path, change):
    report = json.loads((run[0].parent / "run.json").read_text())
    change(report)
    (tmp_path / "part.json").write_text(json.dumps(report))
    page = tmp_path / "page.html"
    done = harness.run("bench", "--report", page, "--report-from", tmp_path / "part.json", "--against", run[0].parent / "run.json")
    assert done.returncode == 0, done.stderr
    text = page.read_text()
    check_tags(text)
    assert len(text) < 400_000 and "nan" not in text and "inf" not in re.sub("inform", "", text)


def test_run_without_an_answer_has_a_page(tmp_path):
    page, report = make(tmp_path, "-r", "-n", "3", f"http://127.0.0.1:{harness.free_port()}/", code=1)
    text = page.read_text()
    check_tags(text)
    assert report["totals"]["failed"] == 3
    assert ["connection refused", "3"] == table(text, "Ends of the requests")[1][:2]
    assert "Nothing was answered." in text


def test_page_goes_to_stdout_and_the_text_to_stderr(api):
    done = harness.run("bench", "-q", "-n", "2", "--report", "-", api.url)
    assert done.returncode == 0 and done.stdout.startswith("<!DOCTYPE html>")
    check_tags(done.stdout)
    assert "Requests per second:" in done.stderr


@pytest.mark.parametrize(
    "args, code, message",
    [
        (["--against", "x.json", "URL"], 2, "--against needs --report"),
        (["--report-from", "x.json"], 2, "--report-from needs --report"),
        (["--report", "p", "--report-from", "x", "URL"], 2, "--report-from loads nothing: give no URL, and no --merge"),
        (["--report", "p.html", "--against", "missing.json", "URL"], 1, "missing.json"),
        (["--report", "p.html", "--against", "other.json", "URL"], 1, "other.json: it is no report of srv bench"),
        (["--report", "no/such.html", "URL"], 1, "cannot write no/such.html: No such file or directory"),
        (["--report", "-", "--json", "-", "URL"], 2, "stdout"),
    ],
)
def test_what_cannot_be_is_one_line_before_the_load(start, tmp_path, monkeypatch, args, code, message):
    monkeypatch.chdir(tmp_path)
    Path("other.json").write_text('{"schema": "srv-bench/2"}')
    api = start("slowapi")
    done = harness.run("bench", *[api.url if arg == "URL" else arg for arg in args])
    assert done.returncode == code and message in done.stderr
    assert done.stderr.count("\n") <= 2 and "Requests per second" not in done.stdout  # usage ends in a hint
    assert "GET" not in api.stderr()


@needs_chromium
@pytest.mark.parametrize("width", [360, 720, 1280, 1920])
def test_nothing_is_wider_than_its_place(run, tmp_path, width):
    assert too_wide(run[0], tmp_path, width) == ""


@needs_chromium
def test_browser_complains_about_nothing(run, tmp_path):
    done = browse(run[0], tmp_path, "--dump-dom")
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stderr.splitlines() if "CONSOLE" in line] == []


def axe():
    """axe-core's script, where somebody has it: Debian has none."""
    places = [os.environ.get("AXE", ""), *(str(up / "node_modules/axe-core/axe.min.js") for up in Path(__file__).parents)]
    return next((Path(place) for place in places if place and Path(place).is_file()), None)


@needs_chromium
@pytest.mark.skipif(axe() is None, reason="axe-core is not there: npm install axe-core, or AXE=PATH/axe.min.js")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(run, tmp_path, scheme):
    page = tmp_path / "page.html"
    done = harness.run("bench", "--report", page, "--report-from", run[0].parent / "run.json", "--against", run[0].parent / "run.json")
    assert done.returncode == 0, done.stderr
    text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page.read_text())
    script = axe().read_text().replace("</script", "<\\/script")
    work = (
        "document.querySelectorAll('details').forEach(d => d.open = true); axe.run().then(found => {"
        " document.body.innerHTML = '<pre></pre>'; document.querySelector('pre').textContent ="
        " JSON.stringify(found.violations.map(v => [v.id, v.nodes.map(n => n.html)])) })"
    )
    page.write_text(text.replace("</body>", f"<script>{script}</script><script>{work}</script></body>"))
    flags = ["--blink-settings=preferredColorScheme=0"] if scheme == "dark" else []
    done = browse(page, tmp_path, *flags, "--virtual-time-budget=20000", "--dump-dom")
    assert re.search("<pre>(.*?)</pre>", done.stdout, re.S)[1] == "[]"


def test_search_for_the_most_has_its_curve(tmp_path):
    steps = [{"planned": load, "load": load, "verdict": "held <b>", "latency_us": {"p50": 1000 * load, "p99": 5000 * load, "max": 9000 * load}}
             for load in (100.0, 400.0, 200.0)]  # fmt: skip
    report = {"schema": "srv-bench-max/1", "url": "http://h/<b>", "by": "rate", "steps": steps, "max": {"load": 310.5, "low": 300.0}}
    (tmp_path / "max.json").write_text(json.dumps(report))
    page = tmp_path / "page.html"
    done = harness.run("bench", "--report", page, "--report-from", tmp_path / "max.json")
    assert done.returncode == 0, done.stderr
    text = page.read_text()
    assert "b" not in check_tags(text)
    assert "the most that holds</dt><dd>310.5 <small>per second" in text
    line = re.search(r'<path class="line-b" d="(.*?)"', text)[1]
    assert [float(x) for x in re.findall(r"[ML]([\d.]+) ", line)] == pytest.approx([250, 500, 1000], abs=300)
    assert table(text, "Steps")[1][3] == "p50 100 ms, p99 500 ms"  # no bounds: nothing says that they are any
    assert [row[:2] for row in table(text, "Steps")[1:]] == [["100", "100"], ["400", "400"], ["200", "200"]]
    done = harness.run("bench", "--report", page, "--report-from", tmp_path / "max.json", "--against", tmp_path / "max.json")
    assert done.returncode == 1 and "it is no report of srv bench" in done.stderr


def test_a_second_ctrl_c_does_not_cut_the_report(slowapi, tmp_path):
    """The reader of the report is slow: the pipe is full when the signal comes."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    command = [harness.srv_binary(), "bench", "-k", "-c", "2", "-t", "60", "--json", path, slowapi().url + "?delay=0"]
    with subprocess.Popen([str(word) for word in command], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as bench:
        with path.open("rb", buffering=0) as pipe:
            fcntl.fcntl(pipe, 1031, 4096)  # F_SETPIPE_SZ
            while b"Completed" not in bench.stderr.readline():
                assert bench.poll() is None
            bench.send_signal(signal.SIGINT)
            first = pipe.read(1)
            bench.send_signal(signal.SIGINT)
            report = json.loads(first + pipe.readall())
        assert bench.wait(timeout=60) == 130
    assert report["stopped_by"] == "SIGINT"
