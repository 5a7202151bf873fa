# SPDX-License-Identifier: MIT
"""However a playground ends, nothing of it is left: no process, no folder, no socket, no shared memory."""

import contextlib
import os
import re
import signal
import socket
from pathlib import Path

import pytest
from harness import run
from tour import read_processes, wait_for


def listed(*options):
    return [line.split()[0] for line in run("play", "--list", *options).stdout.splitlines()]


ROWS = listed("--with-peers")  # ours, and the originals
MOMENTS = [(row, " bench ") for row in ROWS] + [
    ("pool-lazy", "srv serve: worker 4"),
    ("nginx-http", "nginx -p"),
    ("db-cooperative", "initdb"),
    ("db-cooperative", "postgres -D"),
    ("gunicorn-threads", "gunicorn --log-level"),
    ("uwsgi-threads", "uwsgi "),
]
LONG = ("--delay", "10", "-n", "8", "-c", "4")


def interrupt(one):
    """Ctrl-C: everything in the terminal's foreground gets it."""
    os.killpg(one.process.pid, signal.SIGINT)


def wait_for_or_skip(one, moment):
    def there():
        return any(moment in command for command in one.living().values())

    wait_for(lambda: one.process.poll() is not None or there(), 30, lambda: f"no {moment}: {one.living()}")
    if one.process.poll() is not None:
        stdout, stderr = one.process.communicate()
        assert "skipped: not installed" in stdout, stderr
        pytest.skip(stdout)


@pytest.mark.parametrize("row, moment", MOMENTS)
@pytest.mark.parametrize("how", ["ctrl-c", "kill"])
def test_nothing_is_left(tour, row, moment, how):
    one = tour(row, *LONG)
    wait_for_or_skip(one, moment)
    if how == "kill":
        one.kill()
        return
    interrupt(one)
    code, _, stderr = one.end()
    assert code == 130, stderr
    assert f"interrupted in {row}" in stderr


# As `srv play ... &` in a script starts it, and nohup.
IGNORED = (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP)


@pytest.mark.parametrize("how", ["term", "kill"])
def test_nothing_is_left_of_one_in_the_background_of_a_script(tour, how):
    one = tour("db-cooperative", *LONG, ignored=IGNORED)
    wait_for_or_skip(one, "postgres -D")
    if how == "kill":
        one.kill()
        return
    one.process.terminate()
    assert one.end()[0] == 130


def test_what_was_ignored_at_the_start_stays_ignored(tour):
    one = tour("green", "--delay", "300ms", "-n", "2", "-c", "2", ignored=IGNORED)
    one.wait_for_load()
    for number in IGNORED:
        one.process.send_signal(number)
    code, _, stderr = one.end()
    assert code == 0, stderr


def test_interruption_does_not_wait_for_initdb(tour):
    one = tour("db-cooperative", *LONG)
    wait_for_or_skip(one, "initdb")
    processes = read_processes().items()  # initdb's own children look like it until they execute something
    [pid] = [pid for pid, p in processes if p.parent == one.process.pid and "/initdb" in p.command]
    send(pid, signal.SIGSTOP)
    interrupt(one)
    code, _, stderr = one.end(timeout=30)  # initdb is given a minute
    assert code == 130 and "interrupted in db-cooperative" in stderr


def posix_memory(one):
    """Files of /dev/shm that its processes have mapped."""
    found = set()
    for pid in one.living():
        with contextlib.suppress(OSError):
            found |= set(re.findall(r"(/dev/shm/PostgreSQL\.\d+)$", Path(f"/proc/{pid}/maps").read_text(), re.M))
    return found


@pytest.mark.parametrize("how", ["ctrl-c", "kill"])
def test_initdb_takes_its_memory_along(tour, how):
    one = tour("db-cooperative", *LONG)
    wait_for_or_skip(one, "initdb")
    seen = set()
    wait_for(lambda: seen.update(posix_memory(one)) or seen, 30, lambda: f"no memory: {one.living()}")
    if how == "kill":
        one.kill()
    else:
        interrupt(one)
        assert one.end()[0] == 130
    assert [path for path in seen if os.path.exists(path)] == []


def send(pid, number):
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def hold_maker_of_shared_memory(one):
    """Stops who has made some, before it gives it back; False when there is none to stop."""
    one.living()
    for _, maker in one.shared_memory():
        send(maker, signal.SIGSTOP)
        wait_for(lambda: maker not in (now := read_processes()) or now[maker].state in "TZ", 10, lambda: maker)
        if one.shared_memory():
            return True
        send(maker, signal.SIGCONT)  # too late
    return False


def kill_all(one, part):
    """The processes with `part` in their command line, at once: no time to tidy up."""
    pids = [pid for pid, command in one.living().items() if part in command]
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for pid in pids:
            send(pid, number)
    assert pids


@pytest.mark.parametrize("part, runner_too", [("postgres", False), ("postgres", True), ("initdb", False)])
def test_nothing_is_left_of_a_killed_database(tour, part, runner_too):
    one = tour("db-cooperative", *LONG)
    wait_for_or_skip(one, part)
    if part == "postgres":
        one.wait_for_load()
    wait_for(lambda: hold_maker_of_shared_memory(one), 10, lambda: f"no shared memory: {one.living()}")
    if runner_too:
        os.kill(one.process.pid, signal.SIGSTOP)
        kill_all(one, "postgres")
        one.kill()
        return
    kill_all(one, "postgres")
    code, _, stderr = one.end()
    assert code == 1, stderr
    assert "ended with exit code" in stderr


@pytest.mark.parametrize("how", ["ctrl-c", "kill"])
@pytest.mark.parametrize("row", ["pool-lazy", "db-cooperative"])
def test_nothing_is_left_of_a_kept_one(tour, tmp_path, row, how):
    log = tmp_path / "log"
    with log.open("w") as stderr:
        one = tour(row, "--keep", "--delay", "50ms", "-n", "4", "-c", "2", stderr=stderr)

    def address():
        return re.search(r"^srv play: app: http://127.0.0.1:(\d+)/$", log.read_text(), re.M)

    wait_for(lambda: one.process.poll() is not None or address(), 30, log.read_text)
    if one.process.poll() is not None:
        pytest.skip(log.read_text())
    one.living()
    if how == "kill":
        one.kill()
    else:
        interrupt(one)
        assert one.end()[0] == 0
    with socket.socket() as client:
        assert client.connect_ex(("127.0.0.1", int(address()[1]))) != 0


def test_what_removes_the_folder_cannot_be_interrupted(tour):
    one = tour("db-cooperative", *LONG)
    wait_for_or_skip(one, "initdb")
    wait_for(lambda: one.cleaners() != [], 5, lambda: "no process to remove the folder")
    [cleaner] = one.cleaners()
    assert cleaner not in one.living()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        os.kill(cleaner, number)
    one.wait_for_load()
    assert one.cleaners() == [cleaner]
    one.kill()
