# SPDX-License-Identifier: MIT
"""Operating srv serve under load: reloads and upgrades lose nothing."""

import fcntl
import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import harness
import pytest
from clients import Clients
from harness import RawConnection, children, clean_environment, die_with_parent, get, is_refused, srv_binary, wait_for

MODELS = ("green", "pool", "threaded", "single", "event")
REQUEST = b"GET /?delay=0.2 HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.mark.parametrize("model", MODELS)
def test_hup_replaces_every_worker_and_loses_nothing(slowapi, serve, model):
    app = serve("--model", model, "--workers", "2", upstream=slowapi("--workers", "2"))
    wait_for(lambda: len(children(app.pid)) == 2)
    first = set(children(app.pid))
    clients = Clients(app, 2 if model == "single" else 16)
    time.sleep(0.5)
    app.send_signal(signal.SIGHUP)
    wait_for(lambda: len(set(children(app.pid)) - first) == 2)
    time.sleep(0.5)
    app.send_signal(signal.SIGHUP)
    time.sleep(1)
    clients.stop()
    assert clients.lost == [] and clients.done > 0
    wait_for(lambda: len(children(app.pid)) == 2, 30)
    assert not first & set(children(app.pid))


def test_worker_killed_during_a_reload_is_replaced(slowapi, serve):
    app = serve("--workers", "2", upstream=slowapi())
    wait_for(lambda: len(children(app.pid)) == 2)
    app.send_signal(signal.SIGHUP)
    os.kill(children(app.pid)[0], signal.SIGKILL)
    wait_for(lambda: len(children(app.pid)) == 2)
    with RawConnection(app) as conn:
        conn.send(REQUEST)
        assert conn.read_response().status == 200


def test_successor_killed_while_it_starts_keeps_nobody_from_leaving(slowapi, serve):
    options = ("--workers", "1", "--model", "pool", "--spawn", "eager", "--threads", "1000")  # slow to start
    app = serve(*options, upstream=slowapi())
    with RawConnection(app) as conn:
        conn.send(REQUEST)
        assert conn.read_response().status == 200
    first = set(children(app.pid))
    app.send_signal(signal.SIGHUP)
    wait_for(lambda: len(children(app.pid)) == 2)
    (second,) = set(children(app.pid)) - first
    os.kill(second, signal.SIGSTOP)
    app.send_signal(signal.SIGHUP)
    wait_for(lambda: app.stderr().count("signal=SIGHUP") == 2)
    os.kill(second, signal.SIGKILL)
    wait_for(lambda: len(children(app.pid)) == 1 and not first & set(children(app.pid)))


def master_from(path, other):
    """The pid in the pid file once it is there and not `other`."""

    def is_another():
        try:
            return path.read_text().strip() not in ("", str(other))
        except FileNotFoundError:  # the old master has left, and the new one has not come that far
            return False

    wait_for(is_another)
    return int(path.read_text())


@pytest.mark.parametrize("model", MODELS)
def test_usr2_replaces_the_program_and_loses_nothing(slowapi, start, tmp_path, model):
    pid_file = tmp_path / "srv.pid"
    api = slowapi("--workers", "2")
    args = ("--model", model, "--workers", "2", "--upstream", api.url, "--pid", str(pid_file))
    app = start("serve", *args, "--control", f"unix:{tmp_path}/control")
    wait_for(lambda: len(children(app.pid)) == 3)
    clients = Clients(app, 2 if model == "single" else 16)
    time.sleep(0.5)
    app.send_signal(signal.SIGUSR2)
    successor = master_from(pid_file, app.pid)
    try:
        assert app.wait(timeout=40) == 0  # the old master ends when its last worker has left
        time.sleep(0.5)
        clients.stop()
        assert clients.lost == [] and clients.done > 0
        assert Path(f"/proc/{successor}").exists() and (tmp_path / "control").exists()
        with RawConnection(app) as conn:
            conn.send(REQUEST)
            assert conn.read_response().status == 200
    finally:
        clients.stop()
        os.kill(successor, signal.SIGTERM)
    wait_for(lambda: not pid_file.exists())


def test_successor_that_cannot_start_changes_nothing(slowapi, start, tmp_path):
    """The pid file's folder is gone: the new program ends with an error, the old one serves on."""
    folder = tmp_path / "run"
    folder.mkdir()
    app = start("serve", "--workers", "1", "--upstream", slowapi().url, "--pid", str(folder / "srv.pid"))
    wait_for(lambda: len(children(app.pid)) == 1)
    (folder / "srv.pid").unlink()
    folder.rmdir()
    app.send_signal(signal.SIGUSR2)
    wait_for(lambda: "cannot write" in app.stderr())
    with RawConnection(app) as conn:
        conn.send(REQUEST)
        assert conn.read_response().status == 200


@pytest.mark.parametrize("hangs", ["exec sleep 100", "trap '' TERM; while :; do sleep 0.1; done"], ids=["ends", "killed"])
def test_a_successor_that_hangs_is_ended(slowapi, start, tmp_path, monkeypatch, hangs):
    """The old program serves on, and can be upgraded later."""
    program, pid_file = tmp_path / "srv", tmp_path / "pid"
    shutil.copy(harness.srv_binary(), program)
    monkeypatch.setattr(harness, "srv_binary", lambda: str(program))
    options = ("--workers", "1", "--timeout", "1s", "--graceful-timeout", "1s", "--pid", pid_file)
    app = start("serve", *options, "--upstream", slowapi().url)
    wait_for(lambda: len(children(app.pid)) == 1, what="a worker")
    program.rename(tmp_path / "good")
    program.write_text(f"#!/bin/sh\n{hangs}\n")
    program.chmod(0o755)
    app.send_signal(signal.SIGUSR2)
    wait_for(lambda: "not ready in time, ending it" in app.stderr(), what="the time-out told")
    wait_for(lambda: "this one goes on" in app.stderr(), what="its end")
    assert len(children(app.pid)) == 1 and get(app).status == 200
    (tmp_path / "good").rename(program)
    app.send_signal(signal.SIGUSR2)
    successor = master_from(pid_file, app.pid)
    assert app.wait() == 0 and get(app).status == 200
    os.kill(successor, signal.SIGTERM)
    wait_for(lambda: not pid_file.exists())


def test_workers_are_replaced_after_max_requests(slowapi, serve):
    app = serve("--workers", "2", "--max-requests", "20", "--max-requests-jitter", "5", upstream=slowapi())
    wait_for(lambda: len(children(app.pid)) == 2)
    first = set(children(app.pid))
    clients = Clients(app, 16)
    wait_for(lambda: not first & set(children(app.pid)))
    clients.stop()
    assert clients.lost == []


# --- service managers ---------------------------------------------------------------------------


def activated(listeners, *args, env=None):
    """srv serve, started as systemd would: the sockets (or the one) as descriptors from 3 on."""
    listeners = listeners if isinstance(listeners, list) else [listeners]

    def pass_sockets():
        die_with_parent()
        safe = [fcntl.fcntl(listener.fileno(), fcntl.F_DUPFD, 100) for listener in listeners]
        for number, fd in enumerate(safe, 3):
            os.dup2(fd, number)

    script = f'LISTEN_PID=$$ LISTEN_FDS={len(listeners)} exec "$@"'
    return subprocess.Popen(
        ["/bin/sh", "-c", script, "sh", srv_binary(), "serve", *args],
        stderr=subprocess.PIPE,
        text=True,
        close_fds=False,
        preexec_fn=pass_sockets,
        env=clean_environment(env),
    )


@pytest.mark.parametrize("workers", [(), ("--workers", "1")], ids=["alone", "master"])
def test_socket_activation_and_readiness(slowapi, tmp_path, workers):
    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    manager.bind(str(tmp_path / "notify"))
    manager.settimeout(20)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        app = activated(
            listener, *workers, "--upstream", slowapi().url, env={"NOTIFY_SOCKET": str(tmp_path / "notify")}
        )
        assert b"READY=1" in manager.recv(4096)
        with socket.create_connection(listener.getsockname()) as sock:
            sock.sendall(b"GET /?delay=0 HTTP/1.0\r\n\r\n")
            assert sock.recv(4096).startswith(b"HTTP/1.1 200")
        app.terminate()
        assert b"STOPPING=1" in manager.recv(4096)
        assert app.wait(20) == 0
        app.stderr.close()


@pytest.mark.parametrize("when, after", [("auto", 31), ("off", 0), ("on", 1)])
def test_auto_leaves_the_waits_at_a_managers_socket_alone(when, after):
    """DeferAcceptSec= of systemd.socket(5) is the manager's decision. The kernel rounds 30 s to 31."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 30)
        app = activated(listener, "--workers", "2", "--defer-accept", when, "echo")
        for _ in range(2):
            app.stderr.readline()
        for _ in range(64):
            with socket.create_connection(listener.getsockname()) as sock:
                sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
                assert sock.recv(4096).startswith(b"HTTP/1.1 200")
        app.terminate()
        assert app.wait(20) == 0
        app.stderr.close()
        assert listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT) == after


def test_all_sockets_of_a_manager_speak_the_protocol():
    with socket.create_server(("127.0.0.1", 0)) as first, socket.create_server(("127.0.0.1", 0)) as second:
        app = activated([first, second], "--protocol", "uwsgi", "echo")
        said = [app.stderr.readline() for _ in range(2)]
        app.terminate()
        assert app.wait(20) == 0
        app.stderr.close()
        ports = [listener.getsockname()[1] for listener in (first, second)]
    assert said == [f"srv serve: listening on uwsgi://127.0.0.1:{port}/\n" for port in ports]


def test_more_sockets_of_a_manager_than_can_be_served_are_refused():
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(17)]
    app = activated(listeners, "echo")
    assert app.stderr.readline() == "srv serve: LISTEN_FDS: 17 sockets to listen on; 16 are the most\n"
    assert app.wait(20) == 1
    app.stderr.close()
    for listener in listeners:
        listener.close()


def manager_socket(tmp_path):
    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    manager.bind(str(tmp_path / "notify"))
    manager.settimeout(20)
    return manager, {"NOTIFY_SOCKET": str(tmp_path / "notify")}


def test_an_upgrade_is_no_stop_for_the_manager(slowapi, start, tmp_path):
    manager, env = manager_socket(tmp_path)
    pid_file = tmp_path / "pid"
    app = start("serve", "--workers", "1", "--upstream", slowapi().url, "--pid", pid_file, env=env)
    assert b"READY=1" in manager.recv(4096)
    app.send_signal(signal.SIGUSR2)
    assert b"READY=1" in manager.recv(4096)
    successor = int(pid_file.read_text())
    try:
        assert app.wait(20) == 0
    finally:
        os.kill(successor, signal.SIGTERM)
    assert b"STOPPING=1" in manager.recv(4096)
    wait_for(lambda: not pid_file.exists())
    manager.settimeout(0.1)
    with pytest.raises(TimeoutError):
        manager.recv(4096)  # the one word came from the one that did stop
    manager.close()


def test_an_upgrade_that_fails_is_no_stop_either(slowapi, start, tmp_path):
    manager, env = manager_socket(tmp_path)
    folder = tmp_path / "run"
    folder.mkdir()
    app = start("serve", "--workers", "1", "--upstream", slowapi().url, "--pid", folder / "pid", env=env)
    assert b"READY=1" in manager.recv(4096)
    shutil.rmtree(folder)
    app.send_signal(signal.SIGUSR2)
    wait_for(lambda: "upgraded program ended" in app.stderr())
    app.send_signal(signal.SIGTERM)
    assert b"STOPPING=1" in manager.recv(4096)
    assert app.wait(20) == 0
    manager.settimeout(0.1)
    with pytest.raises(TimeoutError):
        manager.recv(4096)
    manager.close()


def test_the_server_stays_ready_during_an_upgrade(slowapi, start, tmp_path):
    pid_file, control = tmp_path / "pid", (str(tmp_path / "control"), None)
    paths = ("--pid", pid_file, "--control", f"unix:{control[0]}")
    app = start("serve", "--workers", "1", "--upstream", slowapi().url, *paths)
    wait_for(lambda: get(control, "/readyz").status == 200)
    with RawConnection(app) as slow:
        slow.send(REQUEST.replace(b"0.2", b"10"))
        time.sleep(0.2)
        app.send_signal(signal.SIGUSR2)
        ready = [get(control, "/readyz").status for _ in range(50)]
        successor = master_from(pid_file, app.pid)
        try:
            wait_for(lambda: "signal=SIGRETIRE" in app.stderr())
            time.sleep(0.2)
            ready += [get(control, "/readyz").status for _ in range(50)]
            assert app.process.poll() is None and set(ready) == {200}
            assert slow.read_response().status == 200
            assert app.wait(20) == 0
            assert get(control, "/readyz").status == 200
        finally:
            os.kill(successor, signal.SIGTERM)
    wait_for(lambda: not pid_file.exists())


def test_upgrade_follows_the_link_by_which_it_was_called(slowapi, start, tmp_path, monkeypatch):
    for version in ("v1", "v2"):
        (tmp_path / version).mkdir()
        shutil.copy(srv_binary(), tmp_path / version / "srv")
    current, pid_file = tmp_path / "current", tmp_path / "pid"
    current.symlink_to("v1")
    monkeypatch.setattr(harness, "srv_binary", lambda: str(current / "srv"))
    app = start("serve", "--workers", "1", "--upstream", slowapi().url, "--pid", pid_file)
    wait_for(lambda: len(children(app.pid)) == 1)
    current.unlink()
    current.symlink_to("v2")
    app.send_signal(signal.SIGUSR2)
    successor = master_from(pid_file, app.pid)
    try:
        assert app.wait(20) == 0
        assert os.readlink(f"/proc/{successor}/exe") == str(tmp_path / "v2" / "srv")
    finally:
        os.kill(successor, signal.SIGTERM)
    wait_for(lambda: not pid_file.exists())


# Not single without a master: its only thread is busy with the last request.
@pytest.mark.parametrize(
    "model, workers", [(m, ("--workers", "2")) for m in MODELS] + [(m, ()) for m in MODELS if m != "single"]
)
def test_new_clients_are_refused_while_the_last_is_served(slowapi, serve, tmp_path, model, workers):
    path = str(tmp_path / "socket")
    binds = ("--bind", "127.0.0.1:0", "--bind", f"unix:{path}")
    app = serve("--model", model, *workers, *binds, upstream=slowapi())
    with RawConnection(app) as conn:
        conn.send(b"POST /?delay=0 HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n12")
        time.sleep(0.3)
        app.send_signal(signal.SIGTERM)
        wait_for(lambda: is_refused(app))
        wait_for(lambda: is_refused((path, None)))
        conn.send(b"34")
        assert conn.read_response().status == 200
    assert app.wait(20) == 0
    assert "accept" not in app.stderr()


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_UNIX], ids=["tcp", "unix"])
def test_who_waits_to_be_accepted_does_not_wait_for_the_last_answer(slowapi, serve, tmp_path, family):
    path = str(tmp_path / "socket")
    binds = ("--bind", "127.0.0.1:0", "--bind", f"unix:{path}")
    app = serve("--model", "single", "--workers", "1", *binds, upstream=slowapi("--graceful-timeout", "0"))
    address = path if family == socket.AF_UNIX else (app.host, app.port)
    with RawConnection(app) as conn, socket.socket(family) as late:
        conn.send(REQUEST.replace(b"0.2", b"25"))
        time.sleep(0.3)
        late.connect(address)
        late.sendall(REQUEST)
        late.settimeout(20)
        app.send_signal(signal.SIGTERM)
        with pytest.raises(ConnectionResetError):
            late.recv(1)
        app.send_signal(signal.SIGTERM)
    assert app.wait(20) == 0


def test_a_managers_sockets_stay_open_during_a_stop(slowapi):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        app = activated(listener, "--upstream", slowapi().url)
        app.stderr.readline()
        with socket.create_connection(listener.getsockname()) as sock:
            sock.sendall(b"GET /?delay=1 HTTP/1.0\r\n\r\n")
            time.sleep(0.3)
            app.terminate()
            time.sleep(0.3)
            with socket.create_connection(listener.getsockname()):
                assert sock.recv(4096).startswith(b"HTTP/1.1 200")
                assert app.wait(20) == 0
                app.stderr.close()
                listener.accept()[0].close()  # for whoever the manager starts next


def test_a_stop_during_an_upgrade_leaves_the_sockets_to_the_successor(slowapi, start, tmp_path):
    pid_file = tmp_path / "pid"
    app = start("serve", "--workers", "1", "--upstream", slowapi().url, "--pid", pid_file)
    wait_for(lambda: len(children(app.pid)) == 1)
    app.send_signal(signal.SIGUSR2)
    wait_for(lambda: "upgrade started" in app.stderr())
    app.send_signal(signal.SIGTERM)
    successor = master_from(pid_file, app.pid)
    try:
        assert app.wait(20) == 0
        assert get(app, "/?delay=0").status == 200
    finally:
        os.kill(successor, signal.SIGTERM)
    wait_for(lambda: is_refused(app))


@pytest.mark.parametrize("workers", [(), ("--workers", "1")], ids=["alone", "master"])
@pytest.mark.parametrize("model", MODELS)
def test_what_a_stop_cuts_off_is_told(slowapi, serve, tmp_path, model, workers):
    log = tmp_path / "log"
    limits = ("--graceful-timeout", "300ms", "--access-logfile", log, "--access-logformat", "%(U)s %(s)s")
    app = serve("--model", model, *workers, *limits, upstream=slowapi("--graceful-timeout", "0"))
    with RawConnection(app) as conn:
        conn.send(REQUEST.replace(b"0.2", b"60"))
        time.sleep(0.3)
        app.stop()
        wait_for(lambda: log.read_text() == "/ 499\n")


@pytest.mark.parametrize("mode", ["0600", "0660", "666"])
@pytest.mark.parametrize("command", ["serve", "slowapi"])
def test_unix_sockets_get_the_mode_that_is_asked_for(start, tmp_path, command, mode):
    before = os.umask(0o022)
    try:
        options = ("--bind", f"unix:{tmp_path}/s?mode={mode}", "--control", f"unix:{tmp_path}/c?mode={mode}")
        if command == "slowapi":
            options = (options[0], options[1] + "&delay=0", *options[2:])
        start(command, *options)
    finally:
        os.umask(before)
    for name in "sc":
        assert (tmp_path / name).stat().st_mode & 0o777 == int(mode, 8)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_user_and_group_are_dropped_after_binding(slowapi, serve):
    app = serve("--workers", "1", "--user", "nobody", upstream=slowapi())
    wait_for(lambda: len(children(app.pid)) == 1)
    nobody = pwd.getpwnam("nobody")
    for pid in (app.pid, *children(app.pid)):
        status = Path(f"/proc/{pid}/status").read_text()
        assert f"Uid:\t{nobody.pw_uid}\t{nobody.pw_uid}\t{nobody.pw_uid}" in status
        assert f"Gid:\t{nobody.pw_gid}\t{nobody.pw_gid}\t{nobody.pw_gid}" in status
    with RawConnection(app) as conn:
        conn.send(REQUEST)
        assert conn.read_response().status == 200


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_unix_sockets_belong_to_the_user(start, tmp_path):
    start("serve", "--bind", f"unix:{tmp_path}/app", "--control", f"unix:{tmp_path}/control", "--user", "nobody")
    nobody = pwd.getpwnam("nobody")
    for name in ("app", "control"):
        socket_file = (tmp_path / name).stat()
        assert (socket_file.st_uid, socket_file.st_gid) == (nobody.pw_uid, nobody.pw_gid)


@pytest.mark.parametrize(
    "args",
    [("--user", "no-such-user"), ("--group", "no-such-group"), ("--max-requests", "5")],
    ids=lambda args: args[0],
)
def test_bad_operating_options(srv_run, args):
    done = srv_run("serve", *args)
    assert done.returncode == 2 and args[0] in done.stderr and done.stderr.count("\n") == 1
