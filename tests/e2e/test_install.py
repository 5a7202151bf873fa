# SPDX-License-Identifier: MIT
"""What is installed beside the program: completions, as a shell on a terminal uses them when Tab is pressed."""

import os
import pty
import re
import select
import shutil
import signal
import time
from pathlib import Path

import harness
import pytest

ROOT = Path(__file__).resolve().parents[2]
COMPLETIONS = ROOT / "completions"
SECONDS = 30

SHELLS = {
    "bash": (["bash", "--norc", "--noprofile", "-i"], "source {folder}/srv.bash; PS1='ready> '\n"),
    "zsh": (["zsh", "-f", "-i"], "fpath=({folder} $fpath); autoload -U compinit; compinit -u -D; PS1='ready> '\n"),
    "fish": (["fish", "--no-config", "-i"], "source {folder}/srv.fish; function fish_prompt; echo 'ready> '; end\n"),
}


class Terminal:
    """A shell on a pseudo-terminal, in which srv is the program under test."""

    def __init__(self, shell, folder):
        words, setup = SHELLS[shell]
        (folder / "bin").mkdir()
        (folder / "bin/srv").symlink_to(Path(harness.srv_binary()).resolve())
        path = f"{folder}/bin:{os.environ['PATH']}"
        home = {"HOME": str(folder), "XDG_CONFIG_HOME": str(folder), "XDG_DATA_HOME": str(folder), "XDG_CACHE_HOME": str(folder)}
        env = {"PATH": path, "TERM": "xterm", "LC_ALL": "C.UTF-8", "COLUMNS": "200", **home}
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.chdir(folder)
            os.execvpe(words[0], words, env)
        self.said = ""
        self.send(setup.format(folder=COMPLETIONS))
        self.wait(r"ready> (?!.*PS1)")

    def send(self, text):
        os.write(self.fd, text.encode())

    def wait(self, pattern):
        """Reads until it is there, without the codes that move and colour."""
        end = time.monotonic() + SECONDS
        while not re.search(pattern, self.text()):
            left = end - time.monotonic()
            assert left > 0, (pattern, self.text())
            if select.select([self.fd], [], [], min(left, 1))[0]:
                self.said += os.read(self.fd, 65536).decode(errors="replace")

    def text(self):
        return re.sub(r"\x1b(\[[0-9;?<>=]*[A-Za-z]|\][^\x07]*(\x07|\x1b\\)|[()][A-Z0-9]|[=>78M])", "", self.said)

    def close(self):
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.fd)


@pytest.fixture(params=SHELLS)
def terminal(request, tmp_path):
    if shutil.which(request.param) is None:
        pytest.skip(f"{request.param} is not installed")
    shell = Terminal(request.param, tmp_path)
    yield shell
    shell.close()


@pytest.mark.parametrize(
    "typed, completed",
    [
        ("srv slow", "srv slowapi"),
        ("srv serve --graceful-t", "--graceful-timeout"),
        ("srv bench --concurr", "--concurrency"),
        ("srv serve --model thre", "--model threaded"),
        ("srv play db-coop", "db-cooperative"),
        ("srv slowapi --rules some-ru", "--rules some-rules.json"),
    ],
)
def test_tab_completes(terminal, tmp_path, typed, completed):
    (tmp_path / "some-rules.json").write_text("[]")
    terminal.said = ""
    terminal.send(typed + "\t")
    terminal.wait(re.escape(completed))
