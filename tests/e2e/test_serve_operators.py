# SPDX-License-Identifier: MIT
"""Operators who are unlucky: disks and descriptors run out, nobody reads stderr, an upgrade brings a broken program."""

import contextlib
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import harness
import pytest
from control import control, metrics
from harness import RawConnection, children, clean_environment, cpu_seconds, die_with_parent, get, is_refused, srv_binary
from harness import wait_for
from test_access_log import logger_of
from test_reload import activated, master_from


def limit_descriptors(pid, count):
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (count, resource.prlimit(pid, resource.RLIMIT_NOFILE)[1]))


def test_lines_that_a_full_disk_costs_are_counted(slowapi, serve, tmp_path):
    log, full = tmp_path / "log", 100_000
    log.write_text("x" * (full - 1) + "\n")
    app = serve("--workers", "1", "--access-logfile", log, upstream=slowapi())
    logger = wait_for(lambda: logger_of(app.pid), what="a log process")
    resource.prlimit(logger, resource.RLIMIT_FSIZE, (full, resource.RLIM_INFINITY))
    for _ in range(5):
        assert get(app, "/?delay=0").status == 200
    wait_for(lambda: "lines are lost" in app.stderr(), what="a complaint")
    resource.prlimit(logger, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    for _ in range(2):
        assert get(app, "/?delay=0").status == 200
    app.stop()
    (lost,) = re.findall(r"log lines were lost path=\S+ lines=(\d+)", app.stderr())
    assert int(lost) + len(log.read_text().splitlines()) == 1 + 7


def listens(path):
    return path.exists() and not is_refused((str(path), None))


def fill(pipe):
    os.set_blocking(pipe, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(pipe, b"x")
    os.set_blocking(pipe, True)  # it shares this with the server


def test_stderr_that_nobody_reads_holds_up_nobody(tmp_path):
    reader, writer = os.pipe()
    app = subprocess.Popen(
        [srv_binary(), "serve", "--bind", f"unix:{tmp_path}/app", "--upstream", "http://127.0.0.1:1/"],
        stderr=writer,
        env=clean_environment(),
        preexec_fn=die_with_parent,
    )
    wait_for(lambda: listens(tmp_path / "app"), what="a server")
    fill(writer)
    for _ in range(3):  # each is a warning to log
        assert get((f"{tmp_path}/app", None), "/?delay=0").status == 502
    app.terminate()
    assert app.wait(20) == 0
    os.close(reader)
    os.close(writer)


def test_stderr_that_nobody_reads_does_not_hold_up_an_upgrade(tmp_path):
    reader, writer = os.pipe()
    args = ("--bind", f"unix:{tmp_path}/app", "--control", f"unix:{tmp_path}/control", "--pid", tmp_path / "pid")
    app = subprocess.Popen(
        [srv_binary(), "serve", *args, "--workers", "1"],
        stderr=writer,
        env=clean_environment(),
        preexec_fn=die_with_parent,
    )
    wait_for(lambda: len(children(app.pid)) == 2, what="a server")
    fill(writer)
    app.send_signal(signal.SIGUSR2)
    assert app.wait(20) == 0
    assert get((f"{tmp_path}/app", None), "/nope").status == 404
    os.kill(int((tmp_path / "pid").read_text()), signal.SIGTERM)
    wait_for(lambda: not (tmp_path / "pid").exists(), what="its end")
    os.close(reader)
    os.close(writer)


@pytest.mark.parametrize("command", ["serve", "slowapi"])
def test_master_outlives_who_reads_its_stderr(tmp_path, command):
    reader, writer = os.pipe()
    address = (str(tmp_path / "app"), None)
    app = subprocess.Popen(
        [srv_binary(), command, "--bind", f"unix:{address[0]}", "--workers", "2"],
        stderr=writer,
        env=clean_environment(),
        preexec_fn=die_with_parent,
    )
    os.close(writer)
    wait_for(lambda: len(children(app.pid)) == 2, what="workers")
    os.close(reader)
    first = set(children(app.pid))
    for pid in first:
        os.kill(pid, signal.SIGKILL)  # which is told
    wait_for(lambda: len(set(children(app.pid)) - first) == 2, what="new workers")
    assert get(address, "/nope").status == 404
    app.terminate()
    assert app.wait(20) == 0


def test_master_out_of_descriptors_recovers(slowapi, serve, tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(harness.IO_SECONDS)
        env = {"NOTIFY_SOCKET": str(tmp_path / "notify")}
        app = serve("--workers", "2", "--access-logfile", tmp_path / "log", upstream=slowapi(), env=env)
        assert b"READY=1" in manager.recv(4096)
    assert get(app).status == 200
    before = resource.prlimit(app.pid, resource.RLIMIT_NOFILE)[0]
    limit_descriptors(app.pid, len(os.listdir(f"/proc/{app.pid}/fd")))
    for pid in children(app.pid):
        os.kill(pid, signal.SIGKILL)
    wait_for(lambda: app.stderr().count("worker left") >= 8, what="workers that cannot start")
    limit_descriptors(app.pid, before)
    assert get(app).status == 200
    app.stop()
    assert "/?delay=0" in (tmp_path / "log").read_text()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_master_that_cannot_fork_tells_it_now_and_then(start):
    before = resource.getrlimit(resource.RLIMIT_NPROC)
    resource.setrlimit(resource.RLIMIT_NPROC, (1, before[1]))  # not for root
    try:
        env = {"ASAN_OPTIONS": "detect_leaks=0"}  # looking for leaks takes a fork
        app = start("serve", "--workers", "4", "--user", "nobody", env=env)
    finally:
        resource.setrlimit(resource.RLIMIT_NPROC, before)
    wait_for(lambda: re.search("fork failed .* dropped=", app.stderr()), seconds=5, what="complaints left out")


def test_control_process_out_of_descriptors_neither_spins_nor_floods(serve):
    app = serve("--control", "127.0.0.1:0")
    (helper,) = children(app.pid)
    limit_descriptors(helper, 24)
    idle = [RawConnection(control(app)) for _ in range(24)]
    with RawConnection(control(app)) as waiting:
        waiting.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        wait_for(lambda: "Too many open files" in app.stderr(), what="a complaint")
        before = cpu_seconds(helper)
        waiting.expect_open(1)
        assert cpu_seconds(helper) - before < 0.3
        assert app.stderr().count("\n") < 8
        for conn in idle:
            conn.close()
        assert waiting.read_response().status == 200


@pytest.mark.parametrize("closed", ["<&-", "2>&-", "<&- >&- 2>&-"])
def test_what_is_meant_for_a_closed_stderr_goes_nowhere_else(tmp_path, closed):
    log = tmp_path / "log"
    command = f'exec "$0" "$@" {closed}'
    args = (srv_binary(), "serve", "--bind", f"unix:{tmp_path}/app", "--access-logfile", str(log), "--workers", "1")
    app = subprocess.Popen(["sh", "-c", command, *args], env=clean_environment(), preexec_fn=die_with_parent)
    wait_for(lambda: listens(tmp_path / "app"), what="a server")
    assert get((f"{tmp_path}/app", None), "/?delay=wrong").status == 400
    for pid in (app.pid, *children(app.pid)):
        for fd in range(3):
            was_there = os.readlink(f"/proc/self/fd/{fd}")
            assert os.readlink(f"/proc/{pid}/fd/{fd}") in ("/dev/null", was_there)
    app.terminate()
    assert app.wait(20) == 0
    assert len(log.read_text().splitlines()) == 1


def test_broken_program_leaves_the_old_one_as_it_was(slowapi, start, tmp_path, monkeypatch):
    program, pid_file = tmp_path / "srv", tmp_path / "pid"
    shutil.copy(srv_binary(), program)
    monkeypatch.setattr(harness, "srv_binary", lambda: str(program))
    app = start("serve", "--workers", "1", "--pid", pid_file, "--upstream", slowapi().url)
    wait_for(lambda: len(children(app.pid)) == 1, what="a worker")
    program.unlink()
    # it writes the pid file, as a successor does before it fails
    program.write_text(f"#!/bin/sh\nrm {pid_file}\necho $$ >{pid_file}\nexit 7\n")
    program.chmod(0o755)
    for times in (1, 2):
        app.send_signal(signal.SIGUSR2)
        wait_for(lambda: app.stderr().count("upgraded program ended") == times, what="its end noticed")
        assert len(children(app.pid)) == 1 and get(app).status == 200
        wait_for(lambda: pid_file.read_text() == f"{app.pid}\n", what="the pid file corrected")


@pytest.mark.parametrize("workers", ("0", "1"))
def test_signals_for_a_master_neither_stop_nor_end_who_serves(serve, workers):
    app = serve("--workers", workers)
    assert get(app, "/nope").status == 404
    [pid] = children(app.pid) if workers != "0" else [app.pid]
    for name in ("SIGHUP", "SIGUSR1", "SIGUSR2", "SIGTTIN", "SIGTTOU", "SIGXFSZ"):
        os.kill(pid, signal.Signals[name])
        assert get(app, "/nope").status == 404, name
    app.stop()


@pytest.mark.parametrize("upgrades", (0, 1))
def test_socket_of_a_service_manager_is_left_alone(tmp_path, upgrades):
    """A look whether anybody listens there would be a connection, for which the manager would start the server again."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "app"))
        listener.listen()
        app = activated(listener, "--workers", "1", "--pid", str(tmp_path / "pid"))
        wait_for((tmp_path / "pid").exists, what="a pid file")
        pid = master_from(tmp_path / "pid", 0)
        assert get((str(tmp_path / "app"), None), "/nope").status == 404
        if upgrades:
            os.kill(pid, signal.SIGUSR2)
            pid = master_from(tmp_path / "pid", pid)
            assert app.wait(20) == 0
        os.kill(pid, signal.SIGTERM)
        wait_for(lambda: not (tmp_path / "pid").exists(), what="its end")
        app.wait(20)
        app.stderr.close()
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.accept()
    assert (tmp_path / "app").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_upgrade_after_user_has_been_dropped(slowapi, start):
    folder = Path(f"/tmp/srv-test-user-{os.getpid()}")  # pytest's own is for one user only
    folder.mkdir(mode=0o755)
    try:
        args = ("--user", "nobody", "--workers", "1", "--pid", folder / "pid", "--access-logfile", folder / "log")
        app = start("serve", *args, "--control", f"unix:{folder}/control", "--upstream", slowapi().url)
        wait_for(lambda: get((f"{folder}/control", None), "/readyz").status == 200, what="a worker")
        app.send_signal(signal.SIGUSR2)
        successor = master_from(folder / "pid", app.pid)
        assert app.wait() == 0 and get(app).status == 200
        os.kill(wait_for(lambda: logger_of(successor), what="a log process"), signal.SIGKILL)
        assert get(app).status == 200
        wait_for(lambda: (folder / "log").read_text().count("\n") == 2, what="lines of the next log process")
        os.kill(successor, signal.SIGTERM)
        wait_for(lambda: (folder / "pid").read_text() == "", what="its end")
    finally:
        shutil.rmtree(folder)


def test_half_a_line_does_not_spoil_the_next_one(slowapi, serve, tmp_path):
    log, full, room = tmp_path / "log", 100_000, 5  # stderr is a file, too, and far from full
    log.write_text("x" * (full - 1) + "\n")
    app = serve("--workers", "1", "--access-logfile", log, "--access-logformat", "%(r)s %(s)s", upstream=slowapi())
    logger = wait_for(lambda: logger_of(app.pid), what="a log process")
    resource.prlimit(logger, resource.RLIMIT_FSIZE, (full + room, resource.RLIM_INFINITY))
    assert get(app, "/?delay=0").status == 200
    wait_for(lambda: "lines are lost" in app.stderr(), what="a complaint")
    resource.prlimit(logger, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert get(app, "/?delay=0").status == 200
    app.stop()
    line = "GET /?delay=0 HTTP/1.1 200\n"
    assert log.read_text()[full:] == line[:room] + "\n" + line


@pytest.mark.parametrize("model", ["green", "pool", "event"])
def test_gauges_of_workers_that_have_left_are_gone(slowapi, serve, model):
    slots = ("--threads", "3") if model == "pool" else ("--async-cores", "3")
    app = serve("--model", model, *slots, "--workers", "2", "--control", "127.0.0.1:0", upstream=slowapi())
    wait_for(lambda: metrics(app).get("srv_slots") == 6, what="two workers")
    for _ in range(2):
        app.send_signal(signal.SIGHUP)
        wait_for(lambda: metrics(app)["srv_starts_total"] > 2 and metrics(app)["srv_slots"] == 6, what="two again")


@pytest.mark.parametrize("client", ["native", "curl"])
@pytest.mark.parametrize("model", ["single", "threaded", "pool", "green", "event"])
def test_short_of_descriptors_is_no_fault_of_the_upstream(slowapi, serve, model, client):
    if (model, client) == ("event", "curl"):
        pytest.skip("the event model has no libcurl")
    app = serve("--model", model, "--upstream-client", client, upstream=slowapi())
    before = resource.prlimit(app.pid, resource.RLIMIT_NOFILE)[0]
    with RawConnection(app) as conn:
        time.sleep(0.3)  # it is accepted
        limit_descriptors(app.pid, len(os.listdir(f"/proc/{app.pid}/fd")))
        conn.send(b"GET /?delay=0 HTTP/1.1\r\nHost: x\r\n\r\n")
        reply = conn.read_response()
    assert (reply.status, reply.headers.get("retry-after")) == (503, "1"), reply
    assert re.search("short of connections|no thread is left|out of memory", reply.text)
    limit_descriptors(app.pid, before)
    wait_for(lambda: get(app).status == 200, what="an answer")
