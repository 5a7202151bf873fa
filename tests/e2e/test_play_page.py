# SPDX-License-Identifier: MIT
"""The page of srv play --html, in a real browser: it has its figures, and nothing to complain about. What its script
draws is looked at with data of our own."""

import html
import json
import re
import subprocess
from copy import deepcopy
from pathlib import Path

import pytest
from pages import browse, check_tags, needs_chromium, too_wide

@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """(path of the page, figures of the same run)"""
    from harness import clean_environment, srv_binary

    folder = tmp_path_factory.mktemp("page")
    done = subprocess.run(
        [srv_binary(), "play", "single", "pool-eager", "green", "--delay", "100ms", "-n", "20", "-c", "10"]
        + ["--html", str(folder / "page.html"), "--json", str(folder / "out.json")],
        capture_output=True,
        text=True,
        timeout=60,
        env=clean_environment(),
    )
    assert done.returncode == 0, done.stderr
    return folder / "page.html", json.loads((folder / "out.json").read_text())["playgrounds"]


def test_tags_are_closed_in_order(page):
    check_tags(page[0].read_text())


def test_figures_are_there_without_scripts(page):
    path, rows = page
    body = re.sub(r"<(script|style).*?</\1>", "", path.read_text(), flags=re.S)
    cells = {name: re.findall("<td>(.*?)</td>", line) for name, line in re.findall(r'<tr><th scope="row">(.*?)</th>(.*)</tr>', body)}
    assert list(cells) == [row["name"] for row in rows]
    for row in rows:
        told = cells[row["name"]]
        assert told[:3] == ["20", "10", "0.1"]
        assert told[3:5] == [f"{row['seconds']:.2f}", f"{row['ideal_seconds']:.2f}"]
        assert told[7:9] == [f"{row['latency_us']['p99'] / 1000:.1f}", str(row["failed"])]
        assert told[10] == str(row["threads"]["during_max"])
        assert told[12] == str(row["upstream_calls_in_flight_max"])
    assert "<noscript>" in body and body.count("data-drawn hidden") == 2  # what a script would fill is not shown


@needs_chromium
def test_browser_shows_every_figure_and_complains_about_nothing(page, tmp_path):
    path, rows = page
    done = browse(path, tmp_path, "--dump-dom")
    assert done.returncode == 0, done.stderr
    complaints = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    assert complaints == []

    text = re.sub(r"<[^>]+>", " ", done.stdout)
    for row in rows:
        assert f"{row['seconds']:.2f} s" in text
        assert f"{row['latency_us']['p99'] / 1000:.1f}" in text
        assert f'id="{row["name"]}"' in done.stdout
        assert f"{row['upstream_calls_in_flight_max']} of 10" in " ".join(text.split())
        requests = max(row["series"]["requests_in_flight"])
        calls = max(seen or 0 for seen in row["series"]["upstream_calls_in_flight"])
        assert f"requests of the clients, at most {requests} " in text
        assert f"calls in the slow API, at most {calls} " in text
        assert "all clients 10 " in text
        assert done.stdout.count(f'href="#{row["name"]}"') >= 5  # the index, and a bar in each chart
        for group in row.get("waits", {"groups": []})["groups"][:1]:
            assert group["kind"].split("_")[0] in text
    stacks = [row[name] for row in rows for name in ("waits", "request_waits") if name in row and row[name]["groups"]]
    assert done.stdout.count('class="plot"') == 5 * len(rows) + len(stacks)
    assert re.search(r"(green|pool-eager|single) +kept \d+ calls? waiting at once with +\d+ threads?", text)
    dots = re.findall(r'<path class="dots" d="([^"]*)"', done.stdout)
    assert [path.count("h0") for path in dots] == [20] * len(rows)  # one for each request
    assert "srv bench -r -n 20 -c 10 &#39;" in done.stdout or "srv bench -r -n 20 -c 10 '" in done.stdout


@needs_chromium
@pytest.mark.parametrize("width", [360, 390, 720, 1280])
def test_nothing_is_wider_than_its_place(page, tmp_path, width):
    assert too_wide(page[0], tmp_path, width) == ""


TEMPLATE = Path(__file__).parents[2] / "playground/page.html"
ONE = {
    "name": "one", "alias": "from-the-tutorial", "title": 'a <b>bold</b> & "quoted" title', "peer_of": None,
    "tutorial_has": None, "shows": "It shows something.", "notice": "something", "ideal_formula": "ceil(10 / 1) x 1s",
    "has_slow_api": True, "proxy": None, "commands": "  srv serve --upstream http://127.0.0.1:4000/\n",
    "load": {"requests": 10, "concurrency": 5, "delay_seconds": 1.0, "delay": "1s"},
    "seconds": 10.05, "ideal_seconds": 10.0, "tutorial_seconds": 10.139, "requests": 10, "failed": 0,
    "requests_per_second": 0.995, "cpu_seconds": 0.0, "cpu_us_per_request": 0.0, "memory_peak_bytes": 0,
    "upstream_calls_in_flight_max": 1, "process_cpu_us_per_request": {"slowapi": 0.0, "app": 0.0},
    "latency_us": {"p50": 5001234, "p90": 5005678, "p99": 5005678, "max": 5005678},
    "latencies": {"requests": 0, "slowest_us": 0, "points": [], "bins": [0] * 40},
    "threads": {"before": 0, "sleeping_before": 0, "during_max": 1, "sleeping_during_mean": 0.0, "samples": 3},
    "series": {
        "elapsed_ms": [0, 1000, 2000], "threads": [1, 1, 1], "sleeping": [0, 0, 0], "running": [0, 0, 0],
        "cpu_us": [0, 0, 0], "rss_bytes": [0, 0, 0], "client_connections": [0, 0, 0],
        "upstream_connections": [0, 0, 0], "requests_in_flight": [5, 5, 5], "upstream_calls_in_flight": [1, None, 1],
    },
}  # fmt: skip
SKIPPED = {"name": "two", "alias": None, "title": "", "skipped": "<no> such 'thing'"}


def one(**differences):
    """ONE with some figures replaced; `load__requests` is one within another."""
    row = deepcopy(ONE)
    for name, value in differences.items():
        *outer, last = name.split("__")
        inside = row
        for part in outer:
            inside = inside[part]
        inside[last] = value
    return row


KEPT = {"requests": 4, "slowest_us": 4000, "points": [[5025000, 2500, False], [10050000, 4000, True]],
        "bins": [3 if i == 24 else int(i == 39) for i in range(40)]}  # fmt: skip
USUAL = one(load__requests=2000, load__concurrency=200, tutorial_seconds=0)
LOADS = [USUAL, one(seconds=1, ideal_seconds=1, load__requests=4, tutorial_seconds=0), USUAL]
PROXIED = one(proxy="proxy", process_cpu_us_per_request={"proxy": 77.0}, series__server_connections=[0, 0, 6])
# Two waits that differ in addresses alone, and more kinds than there are colours.
WAITS = {
    "samples": 2, "threads_mean": 13.5, "elapsed_ms": [0, 1000], "threads": [13, 14],
    "groups": [
        {"kind": "recv", "text": f"recv from upstream 127.0.0.1:{port} (poll)", "role": "upstream", "object": f"127.0.0.1:{port}",
         "threads_mean": 4.0, "threads_max": 4, "series": [4, 4]} for port in (1, 2)
    ] + [
        {"kind": "read", "text": f"read </{name}>", "threads_mean": 1.0, "threads_max": 1, "series": [1, 1]} for name in "abcd"
    ] + [
        {"kind": "recv", "text": "recv from client of [::1]:80", "role": "client", "object": "[::1]:80", "threads_mean": 1.5,
         "threads_max": 2, "series": [1, 2]},
    ],
}  # fmt: skip
REQUESTS = {
    "samples": 1, "requests_mean": 3.0, "elapsed_ms": [10], "requests": [3],
    "groups": [{"kind": "recv", "text": "recv from upstream", "role": "upstream", "requests_mean": 3.0, "requests_max": 3, "series": [3]}],
}  # fmt: skip
CASES = {
    "one": [ONE],
    "requests": [one(request_waits=REQUESTS)],
    "waits": [one(waits=WAITS)],
    "other-load": [one(load__requests=11, tutorial_seconds=0)],
    "two": [ONE, one(tutorial_seconds=17.536)],
    "loads": LOADS,
    "walk": [one(load__requests=8), one(load__requests=7), ONE, one(load__requests=7), SKIPPED],
    "nothing": [SKIPPED],
    "conclusion": [one(upstream_calls_in_flight_max=200), one(name="other", threads__during_max=201),
                   one(threads__during_max=0, seconds=20)],
    "failures": [one(failed=1), one(failed=1)],
    "kept": [one(latencies=KEPT)],
    "proxy": [ONE, PROXIED],
    "uncounted": [one(upstream_calls_in_flight_max=0)],
    "no-api": [one(has_slow_api=False, upstream_calls_in_flight_max=0)],
    "original": [ONE, one(name="original", peer_of="one")],
    "skipped-original": [ONE, SKIPPED],
    "gap": [one(series__threads=[10, 0, None, 0, 0], series__sleeping=[None, None, 7, None, None],
                series__elapsed_ms=[0, 250, 500, 750, 1000])],
}  # fmt: skip


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """{case: what the script made of its data}, by one browser, with the values of axisEnd in "axes"."""
    folder = tmp_path_factory.mktemp("drawn")
    template = re.sub("<!--(facts|table)-->", "", TEMPLATE.read_text())
    for name, rows in CASES.items():
        data = json.dumps({"playgrounds": rows}).replace("<", "\\u003c")
        (folder / f"{name}.html").write_text(template.replace("<!--data-->", data))
    frames = "".join(f'<iframe id="{name}" src="{name}.html"></iframe>' for name in CASES)
    (folder / "outer.html").write_text(
        f"{frames}<pre></pre><script>onload = () => {{ const seen = {{}};"
        " for (const f of document.querySelectorAll('iframe')) seen[f.id] = f.contentDocument.querySelector('main').innerHTML;"
        " const end = document.querySelector('iframe').contentWindow.axisEnd;"
        " seen.axes = [0, -3, 1, 1.1, 2.3, 4, 7, 201, 999, 1000, 0.03].map(value => end(value));"
        " document.querySelector('pre').textContent = JSON.stringify(seen) }</script>"
    )
    done = browse(folder / "outer.html", folder, "--allow-file-access-from-files", "--dump-dom")
    seen = re.search(r"<pre>(.*?)</pre>", done.stdout, re.S)
    assert seen and seen[1], done.stdout[-500:] + done.stderr[-500:]
    return json.loads(html.unescape(seen[1]))


@needs_chromium
def test_figures_commands_and_the_tutorial_are_drawn(drawn):
    for piece in ("10.05 s", "10.14", "5005.7", "ceil(10 / 1) x 1s", "srv serve --upstream http://127.0.0.1:4000/",
                  "Threads of the server", "requests of the clients, at most 5", "calls in the slow API, at most 1",
                  "<dd>1 <small>of</small> 5</dd>", "all clients 5", 'class="tutorial"'):  # fmt: skip
        assert piece in drawn["one"], piece
    assert "hidden" not in drawn["one"]
    assert 'class="tutorial"' not in drawn["other-load"] and "k-tutorial" not in drawn["other-load"]
    assert "<dd>- <small>of</small> 5</dd>" in drawn["uncounted"]  # nobody counted: that is not none


@needs_chromium
def test_our_time_and_the_tutorials_are_told_apart(drawn):
    assert ">10.05 s, tutorial 10.14<" in drawn["one"] and ">10.05 s<" not in drawn["one"]  # no room for two
    assert 'class="after" x="45.849%" y="17">10.05 s<' in drawn["two"]
    assert 'class="after theirs" x="80.000%" y="17">17.54 s<' in drawn["two"]


@needs_chromium
def test_rows_of_another_load_have_an_axis_of_their_own(drawn):
    assert "<h4>10&nbsp;requests by 5&nbsp;clients, a delay of&nbsp;1s</h4>" in drawn["one"]
    assert "<h4>2000" not in drawn["one"]
    text = drawn["loads"]
    assert -1 < text.find("<h4>2000&nbsp;requests by 200&nbsp;clients") < text.find("<h4>4&nbsp;requests")
    for label in ("one: 10.05 s, ideal", "one: 1.00 s, ideal"):
        bar = text[text.index(label) :].split("<rect", 1)[1]
        assert bar.startswith(' class="bar" x="0.000%" y="6" width="80.000%"')


@needs_chromium
def test_loads_are_walked_once_each_the_usual_one_first(drawn):
    times = drawn["walk"].split('id="times-chart"')[1].split('id="latencies"')[0]
    assert re.findall(r"<h4>(\d+)&nbsp;", times) == ["7", "8", "10"]
    assert "<h4>" not in drawn["nothing"] and 'class="lead"' not in drawn["nothing"]


@needs_chromium
def test_conclusion_compares_those_that_kept_up(drawn):
    text = drawn["conclusion"]
    assert (
        'one</a> kept 200 calls waiting at once with <b>1 thread</b>; <a href="#other">other</a> kept 1 call waiting at'
        " once with <b>201 threads</b>. The time was the same, 10.05 s or close to it: waiting alone takes 10.00 s."
    ) in text
    assert text.index("kept 200") < text.index("<nav")
    assert 'class="lead"' not in drawn["failures"]


@needs_chromium
def test_index_leads_to_every_part_and_row(drawn):
    index = drawn["one"].split("<nav")[1].split("</nav>")[0]
    links = re.findall(r'href="#([^"]+)"', index)
    assert len(links) == 6
    assert [link for link in links if f'id="{link}"' not in drawn["one"]] == []


@needs_chromium
def test_response_times_have_dots_and_a_distribution(drawn):
    assert "Distribution" not in drawn["one"]  # nothing was kept
    text = drawn["kept"]
    assert '<path class="dots" d="M500.0 50.0h0">' in text  # of 0 to 5 ms
    assert '<path class="dots bad" d="M1000.0 20.0h0">' in text
    assert "Distribution of response times from 0 to 4.0 ms" in text
    assert '<path class="line-a area" d="M0.0 100.0H600.0V9.1H625.0V100.0H975.0V69.7H1000.0V100.0">' in text


@needs_chromium
def test_proxy_has_its_cpu_and_a_note(drawn):
    note = '<p class="note">A proxy in front is not counted.</p>'
    assert note not in drawn["one"] and "<dt>CPU of" not in drawn["one"]
    assert note in drawn["proxy"] and "<dt>CPU of proxy</dt><dd>77 <small>us</small>" in drawn["proxy"]
    assert "from proxy to server, at most 6" in drawn["proxy"]


@needs_chromium
def test_text_is_never_markup(drawn):
    assert 'a &lt;b&gt;bold&lt;/b&gt; &amp; "quoted" title' in drawn["one"]
    assert "<b>bold" not in drawn["one"]


@needs_chromium
def test_row_without_a_slow_api_has_the_clients_requests_in_flight(drawn):
    assert "1 thread, 5 in flight" in drawn["no-api"]
    assert "calls in the slow API, at most" not in drawn["no-api"] and "Open TCP" not in drawn["no-api"]


@needs_chromium
def test_original_has_a_key_unless_it_was_skipped(drawn):
    key = '<i class="k-peer"></i>the original, measured here'
    assert key in drawn["original"] and 'class="bar-peer"' in drawn["original"]
    assert key not in drawn["one"] and key not in drawn["skipped-original"]


@needs_chromium
def test_threads_are_stacked_by_what_they_wait_for(drawn):
    """The widths add up to the whole bar; what differs in addresses alone is one wait, and the rest has a piece of its own."""
    page = drawn["waits"]
    keys = re.findall(r'<span class="key stacked wait-(\d)">([^<]*)</span>', page)
    bar, plot = keys[:5], keys[5:]
    assert bar[:2] == [("0", "8 recv from upstream (poll)"), ("1", "1.5 recv from client")]
    assert [words for _, words in bar[2:]] == ["1 read &lt;/a&gt;", "1 read &lt;/b&gt;", "2 other waits"]
    assert plot[0] == ("0", "recv from upstream (poll), at most 8") and plot[4] == ("4", "other waits, at most 2")
    widths = [float(width) for width in re.findall(r'<rect class="stack wait-\d"[^>]* width="([\d.]+)%"', page)]
    assert len(widths) == 5 and sum(widths) == pytest.approx(100, abs=0.01)
    assert page.count('<path class="stack') == 5
    assert page.count('href="#held"') == page.count('id="held"') == 1


@needs_chromium
def test_requests_are_stacked_beside_their_threads(drawn):
    page = drawn["requests"]
    assert '<span class="key stacked wait-0">recv from upstream, at most 3</span>' in page
    assert page.count("What the requests wait for") == 2 and page.count('<path class="stack') == 1


@needs_chromium
def test_rows_that_nobody_looked_at_have_no_chart_of_waits(drawn):
    assert 'id="held"' not in drawn["one"] and "stack" not in drawn["one"]


@needs_chromium
def test_missing_answer_is_a_gap_in_the_line(drawn):
    paths = re.findall(r'<path class="line-[ab]" d="([^"]*)"', drawn["gap"])
    assert paths == ["M0.0 50.0H250.0V100.0M750.0 100.0H1000.0", "M500.0 65.0"]


@needs_chromium
def test_axes_end_at_round_numbers(drawn):
    assert drawn["axes"] == pytest.approx([1, 1, 1, 2, 2.5, 5, 10, 250, 1000, 1000, 0.05])
