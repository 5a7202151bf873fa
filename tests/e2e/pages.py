# SPDX-License-Identifier: MIT
"""Looks at pages: their tags, and what a real browser makes of them."""

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

needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")


def browse(path, folder, *flags):
    return subprocess.run(
        [CHROMIUM, *CHROMIUM_FLAGS, f"--user-data-dir={folder}/profile", *flags, path.as_uri()],
        capture_output=True,
        text=True,
        timeout=60,
    )


class Checker(HTMLParser):
    """Tags are closed in their order; `tags` counts them."""

    void = {"meta", "br"}

    def __init__(self):
        super().__init__()
        self.open, self.tags = [], {}

    def handle_starttag(self, tag, attrs):
        self.tags[tag] = self.tags.get(tag, 0) + 1
        if tag not in self.void:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags[tag] = self.tags.get(tag, 0) + 1

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag, (tag, self.getpos())


def check_tags(text):
    """How often the page has each tag."""
    checker = Checker()
    checker.feed(text)
    assert checker.open == []
    return checker.tags


def too_wide(path, folder, width):
    """What is wider than its place in a window of that width: the page in a frame, and a script outside it that looks."""
    outer = folder / "outer.html"
    outer.write_text(
        f'<iframe id="f" width="{width}" height="800" src="{path.as_uri()}"></iframe><p id="p">not yet</p>'
        "<script>onload = () => { const d = document.getElementById('f').contentDocument;"
        " const wide = [d.documentElement, ...d.querySelectorAll('dd')].filter(e => e.scrollWidth > e.clientWidth);"
        " document.getElementById('p').textContent = 'wide: ' + wide.map(e => e.textContent.slice(-40)) + '.' }</script>"
    )
    done = browse(outer, folder, f"--window-size={width + 100},900", "--allow-file-access-from-files", "--dump-dom")
    seen = re.search(r'<p id="p">(.*?)</p>', done.stdout, re.S)
    assert seen, done.stdout[-500:] + done.stderr[-500:]
    return seen[1].removeprefix("wide: ").removesuffix(".")
