# SPDX-License-Identifier: MIT
"""The page of srv play --html, in a real browser: it has its figures, and nothing to complain about."""

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser

import pytest

CHROMIUM = shutil.which("chromium")
CHROMIUM_FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    " --disable-component-update --disable-sync --enable-logging=stderr --v=0"
).split()


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


def browse(path, folder, *flags):
    return subprocess.run(
        [CHROMIUM, *CHROMIUM_FLAGS, f"--user-data-dir={folder}/profile", *flags, path.as_uri()],
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_tags_are_closed_in_order(page):
    class Checker(HTMLParser):
        void = {"meta", "br"}

        def __init__(self):
            super().__init__()
            self.open = []

        def handle_starttag(self, tag, attrs):
            if tag not in self.void:
                self.open.append(tag)

        def handle_endtag(self, tag):
            assert self.open and self.open.pop() == tag, (tag, self.getpos())

    checker = Checker()
    checker.feed(page[0].read_text())
    assert checker.open == []


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
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
    assert done.stdout.count('class="plot"') == 5 * len(rows)
    assert re.search(r"(green|pool-eager|single) +kept \d+ calls? waiting at once with +\d+ threads?", text)
    dots = re.findall(r'<path class="dots" d="([^"]*)"', done.stdout)
    assert [path.count("h0") for path in dots] == [20] * len(rows)  # one for each request
    assert "srv bench -r -n 20 -c 10 &#39;" in done.stdout or "srv bench -r -n 20 -c 10 '" in done.stdout


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
@pytest.mark.parametrize("width", [360, 720, 1280])
def test_nothing_is_wider_than_its_place(page, tmp_path, width):
    """The page in a frame, and a script outside it that looks."""
    path, _ = page
    outer = tmp_path / "outer.html"
    outer.write_text(
        f'<iframe id="f" width="{width}" height="800" src="{path.as_uri()}"></iframe><p id="p">not yet</p>'
        "<script>onload = () => { const d = document.getElementById('f').contentDocument;"
        " const wide = [d.documentElement, ...d.querySelectorAll('dd')].filter(e => e.scrollWidth > e.clientWidth);"
        " document.getElementById('p').textContent = 'wide: ' + wide.map(e => e.textContent.slice(-40)) + '.' }</script>"
    )
    done = browse(outer, tmp_path, f"--window-size={width + 100},900", "--allow-file-access-from-files", "--dump-dom")
    seen = re.search(r'<p id="p">(.*?)</p>', done.stdout, re.S)
    assert seen, done.stdout[-500:] + done.stderr[-500:]
    assert seen[1] == "wide: ."
