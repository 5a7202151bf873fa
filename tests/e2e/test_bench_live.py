# SPDX-License-Identifier: MIT
"""srv bench --live on a terminal: it takes the whole screen, and gives it back whatever ends or stops the run."""

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import termios
import threading

import harness
import pytest

ENTER, LEAVE = "\033[?1049h\033[?25l", "\033[?25h\033[?1049l"
UTF8 = {"TERM": "xterm-256color", "LANG": "C.UTF-8"}


class Terminal:
    """srv bench whose stderr is a terminal of that size; `seen` is what the terminal got."""

    def __init__(self, *args, columns=80, rows=30, env=UTF8):
        self.ours, theirs = pty.openpty()
        self.resize(columns, rows)
        self.before = termios.tcgetattr(self.ours)
        self.bytes = b""
        self.process = subprocess.Popen(
            [harness.srv_binary(), "bench", *map(str, args)], stdout=subprocess.PIPE, stderr=theirs, text=True,
            env=harness.clean_environment(env), preexec_fn=harness.die_with_parent,
        )  # fmt: skip
        os.close(theirs)
        self.reader = threading.Thread(target=self.read)
        self.reader.start()

    def read(self):
        while True:
            try:
                more = os.read(self.ours, 65536)
            except OSError:  # nobody has the other end any more
                return
            self.bytes += more

    @property
    def seen(self):
        return self.bytes.decode(errors="replace")

    def frames(self):
        """The lines of each frame, without colours"""
        texts = self.seen.split("\033[H")[1:]
        return [re.sub(r"\033\[[\d;?]*[a-zA-Z]", "", text).replace("\r", "").split("\n") for text in texts]

    def resize(self, columns, rows):
        fcntl.ioctl(self.ours, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def wait_for(self, text, times=1):
        harness.wait_for(lambda: self.seen.count(text) >= times, what=repr(text))

    def end(self):
        """(exit code, stdout), and the terminal is as it was"""
        out, _ = self.process.communicate(timeout=60)
        self.reader.join(10)
        assert termios.tcgetattr(self.ours) == self.before
        os.close(self.ours)
        return self.process.returncode, out


@pytest.fixture
def url(start):
    return start("slowapi", "--params", "delay=exp:5ms").url


def test_view_takes_the_screen_and_gives_it_back(url):
    terminal = Terminal("--live", "--rate", "100", "-t", "3", "-k", url)
    code, out = terminal.end()
    assert code == 0 and "Requests per second:" in out
    assert terminal.seen.startswith(ENTER) and terminal.seen.endswith(LEAVE)
    assert terminal.seen.count(ENTER) == terminal.seen.count(LEAVE) == 1
    last = terminal.frames()[-1]
    assert last[0] == f"srv bench  {url}"
    assert re.match(r"[23] s of 3 s  [█░]{30} \d+ %$", last[1])
    text = "\n".join(last)
    assert re.search(r"now \d+/s   planned 100/s   in flight \d+   answers \d+   failed 0", text)
    assert "█" in text.split("per second")[1] and len(terminal.frames()) >= 3


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_signal_ends_the_run_with_its_report_below(url, number):
    terminal = Terminal("--live", "--rate", "50", "-t", "60", "-k", url)
    terminal.wait_for("\033[H", times=2)
    terminal.process.send_signal(number)
    code, out = terminal.end()
    assert code in (128 + number, -number)
    assert "Requests per second:" in out and terminal.seen.endswith(LEAVE)


def state(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
        return stat.read().rsplit(")", 1)[1].split()[0]


def test_stopped_process_gives_the_screen_back_until_it_goes_on(url):
    terminal = Terminal("--live", "--rate", "50", "-t", "60", "-k", "-W", "2", url)
    terminal.wait_for("\033[H", times=2)
    for times in (1, 2):
        terminal.process.send_signal(signal.SIGTSTP)
        harness.wait_for(lambda: state(terminal.process.pid) == "T", what="the stop")
        terminal.wait_for(LEAVE, times)
        assert terminal.seen.endswith(LEAVE)
        terminal.process.send_signal(signal.SIGCONT)
        terminal.wait_for(ENTER, times + 1)
        frames = len(terminal.frames())
        harness.wait_for(lambda: len(terminal.frames()) > frames, what="a frame")
    terminal.process.send_signal(signal.SIGINT)
    code, out = terminal.end()
    assert code == 130 and "Requests per second:" in out and terminal.seen.endswith(LEAVE)


@pytest.mark.parametrize("columns, rows", [(200, 60), (80, 24), (40, 20), (20, 8), (5, 2)])
def test_view_fits_every_window(url, columns, rows):
    terminal = Terminal("--live", "--rate", "100", "-t", "2", url, columns=columns, rows=rows)
    assert terminal.end()[0] == 0
    for frame in terminal.frames():
        assert len(frame) <= rows and all(len(line) < columns for line in frame)
    if columns >= 40:
        text = " ".join(" ".join(terminal.frames()[-1]).split())
        assert re.search(r"p50 \S+ [mu]?s p99 \S+ [mu]?s slowest \S+ [mu]?s", text)  # figures are whole


def test_view_follows_a_window_that_changes(url):
    terminal = Terminal("--live", "--rate", "50", "-t", "60", url, columns=120, rows=40)
    terminal.wait_for("\033[H", times=3)
    assert max(len(line) for line in terminal.frames()[-1]) > 30
    terminal.resize(30, 10)
    frames = len(terminal.frames())
    harness.wait_for(lambda: len(terminal.frames()) > frames + 2, what="frames")
    terminal.process.send_signal(signal.SIGINT)
    terminal.end()
    assert len(terminal.frames()[-1]) <= 10 and all(len(line) < 30 for line in terminal.frames()[-1])


def test_environment_says_which_characters_and_colours(url):
    plain = {"TERM": "xterm", "LC_ALL": "C", "LANG": "C.UTF-8", "NO_COLOR": "1"}
    terminal = Terminal("--live", "--rate", "50", "-t", "2", url, env=plain)
    assert terminal.end()[0] == 0
    assert terminal.seen.isascii() and "#" in terminal.seen
    assert not re.search(r"\033\[[\d;]*m", terminal.seen)
    colourful = Terminal("--live", "--rate", "50", "-t", "2", url)
    colourful.end()
    assert re.search(r"\033\[34m", colourful.seen) and "█" in colourful.seen


@pytest.mark.parametrize("args", [["--live"], ["--progress"], []])
def test_dumb_terminal_gets_lines(url, args):
    terminal = Terminal(*args, "--rate", "50", "-t", "2", "-n", "1000", url, env={"TERM": "dumb", "LC_ALL": "C.UTF-8"})
    assert terminal.end()[0] == 0
    assert "\033" not in terminal.seen
    lines = re.findall(r"^ +[12]\.\d s +\d+ req/s  p50 .* in flight \d+\r$", terminal.seen, re.M)
    assert len(lines) >= (2 if args else 0)


def test_what_is_no_terminal_gets_lines(url):
    done = harness.run("bench", "--live", "--rate", "50", "-t", "2", url, env=harness.clean_environment(UTF8))
    assert done.returncode == 0 and "\033" not in done.stderr
    assert len(re.findall(r"^ +[12]\.\d s +\d+ req/s", done.stderr, re.M)) == 2


def test_screen_is_taken_only_when_asked_for(url):
    terminal = Terminal("--rate", "50", "-t", "2", url)
    terminal.end()
    assert ENTER not in terminal.seen and "req/s" in terminal.seen


@pytest.mark.parametrize("args, message", [
    (["--live", "--quiet"], "--live excludes --quiet"),
    (["--live", "--merge", "x.json"], "--live excludes --merge: nothing is loaded"),
])  # fmt: skip
def test_what_cannot_be_is_refused(args, message):
    done = harness.run("bench", *args, "http://127.0.0.1:1/")
    assert done.returncode == 2 and message in done.stderr
