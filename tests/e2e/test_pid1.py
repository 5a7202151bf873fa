# SPDX-License-Identifier: MIT
"""A server that is PID 1 of a container: nobody else buries orphans there, the kernel gives it no default actions, and
the container ends with it."""

import os
import re
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest
from harness import Server, children, get, wait_for

ROOT = () if os.geteuid() == 0 else ("--map-root-user",)
KINDS = [("serve",), ("serve", "--workers", "2"), ("slowapi",), ("slowapi", "--workers", "2")]


class Container(Server):
    """A server that is PID 1 of a namespace of its own."""

    launcher = ("unshare", *ROOT, "--pid", "--fork", "--mount-proc", "--kill-child")

    @property
    def pid(self):
        return wait_for(lambda: children(self.process.pid), what="PID 1")[0]

    def execute(self, *command, timeout=20):
        """Runs a command in the namespace, as `docker exec` does."""
        enter = ["nsenter", "--target", str(self.pid), "--pid", "--mount"]
        enter += ["--user", "--preserve-credentials"] if ROOT else []
        return subprocess.Popen([*enter, *command], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)

    def below(self):
        """{pid: state} of what PID 1 is the parent of."""
        found = {}
        for path in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = path.read_text().rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if int(fields[1]) == self.pid:
                found[int(path.parts[2])] = fields[0]
        return found


@pytest.fixture
def contain(start):
    """contain(COMMAND, *ARGS) -> a running Container."""
    return lambda *args: start(*args, kind=Container)


def words(value):
    return " ".join(value)


@pytest.mark.parametrize("args", KINDS, ids=words)
def test_orphans_are_buried(contain, tmp_path, args):
    app = contain(*args)
    wait_for(lambda: len(app.below()) == (2 if "--workers" in args else 0), what="workers")
    before = set(app.below())
    end = tmp_path / "end"
    for _ in range(5):
        app.execute("sh", "-c", f"(until [ -e {end} ]; do sleep 0.05; done; exit 7) & exit 0").wait(20)
    wait_for(lambda: len(app.below()) == len(before) + 5, what="five orphans")
    end.touch()
    wait_for(lambda: set(app.below()) == before, what="no zombies")


def test_a_health_check_that_is_killed_leaves_no_zombie(contain):
    app = contain("serve", "--workers", "1")
    wait_for(lambda: len(app.below()) == 1)
    check = app.execute("sh", "-c", "sleep 1; true")
    (shell,) = wait_for(lambda: children(check.pid), what="the check")
    wait_for(lambda: children(shell), what="what it waits for")
    os.kill(shell, signal.SIGKILL)
    check.wait(20)
    wait_for(lambda: len(app.below()) == 2, what="the orphan")
    wait_for(lambda: len(app.below()) == 1, what="no zombie")


@pytest.mark.parametrize("options", [("--control", "unix:{}/control"), ("--access-logfile", "{}/log")], ids=words)
@pytest.mark.parametrize("workers", ["0", "2"])
def test_helpers_that_die_are_still_replaced(contain, tmp_path, workers, options):
    app = contain("serve", "--workers", workers, *(option.format(tmp_path) for option in options))
    wait_for(lambda: len(app.below()) == int(workers) + 1, what="workers and a helper")
    (helper,) = (pid for pid in app.below() if b"worker" not in Path(f"/proc/{pid}/cmdline").read_bytes())
    os.kill(helper, signal.SIGKILL)
    wait_for(lambda: len(app.below()) == int(workers) + 1 and helper not in app.below(), what="another helper")
    wait_for(lambda: re.search(r"(control|log) process died", app.stderr()), what="word of it")


def test_usr2_is_refused_with_the_reason(contain):
    app = contain("serve", "--workers", "2")
    wait_for(lambda: len(app.below()) == 2)
    before = app.below()
    app.send_signal(signal.SIGUSR2)
    wait_for(lambda: re.search(r"upgrade refused: .*PID 1", app.stderr()), what="the reason")
    time.sleep(0.3)
    assert app.below().keys() == before.keys() and get(app, "/nope").status == 404


def test_hup_replaces_the_workers(contain):
    app = contain("serve", "--workers", "2")
    wait_for(lambda: len(app.below()) == 2)
    first = set(app.below())
    app.send_signal(signal.SIGHUP)
    wait_for(lambda: len(app.below()) == 2 and not first & set(app.below()), what="successors")
    assert get(app, "/nope").status == 404


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
@pytest.mark.parametrize("args", KINDS, ids=words)
def test_signals_to_stop_stop(contain, args, number):
    app = contain(*args)
    app.send_signal(number)
    assert app.wait() == 0


@pytest.mark.parametrize("model", ("green", "pool", "threaded", "single"))
def test_at_once_means_at_once(contain, model):
    """A thread is stuck in libpq's blocking call: ALRM would end the process, but not PID 1."""
    with socket.create_server(("127.0.0.1", 0)) as database:
        host = f"host=127.0.0.1 port={database.getsockname()[1]} user=x dbname=x sslmode=disable"
        app = contain("serve", "--model", model, "--db", host, "--db-mode", "blocking", "db")
        with socket.create_connection((app.host, app.port)) as conn:
            conn.sendall(b"GET /now HTTP/1.1\r\nHost: x\r\n\r\n")
            database.settimeout(20)
            database.accept()[0].detach()
            app.send_signal(signal.SIGINT)
            assert app.wait(10) == 128 + signal.SIGALRM
