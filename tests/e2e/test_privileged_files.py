# SPDX-License-Identifier: MIT
"""Files that root opens, makes, gives away and removes in folders of somebody else, who may put links there."""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import time
from pathlib import Path

import harness
import pytest
from harness import children, clean_environment, die_with_parent, get, srv_binary, wait_for
from test_access_log import logger_of

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root has something to lose to links")

OTHER = 65534  # a user without any rights
SECRET = "root:secret\n"
RACE_SECONDS = 4


@pytest.fixture
def public():
    """A folder of root's that everybody can walk to, which pytest's are not."""
    with tempfile.TemporaryDirectory(prefix="srv-test-") as folder:
        os.chmod(folder, 0o755)
        yield Path(folder)


@pytest.fixture
def theirs(public):
    """A folder of the other user's."""
    folder = public / "theirs"
    folder.mkdir()
    os.chown(folder, OTHER, OTHER)
    return folder


@pytest.fixture
def victim(tmp_path):
    """A file of root's that nobody else may read, in a folder of root's."""
    folder = tmp_path / "roots"
    folder.mkdir(mode=0o700)
    path = folder / "secret"
    path.write_text(SECRET)
    path.chmod(0o600)
    return path


def check_untouched(victim):
    status = victim.stat()
    assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (0, 0, 0o600)
    assert victim.read_text() == SECRET
    assert sorted(victim.parent.iterdir()) == [victim]


def link(target, path):
    os.symlink(target, path)
    os.lchown(path, OTHER, OTHER)


def plant_link(path, victim):
    link(victim, path)


def plant_dangling_link(path, victim):
    link(victim.parent / "new", path)


def plant_chain(path, victim):
    link(victim, path.parent / "further")
    link("further", path)


def plant_folder(path, victim):
    """The folder of the path is itself a link, and leads to root's."""
    path.parent.rmdir()
    link(victim.parent, path.parent)


def plant_hard_link(path, victim):
    os.link(victim, path)


def plant_fifo(path, _victim):
    os.mkfifo(path)
    os.chown(path, 1, 1)


def plant_folder_there(path, _victim):
    path.mkdir()


LINKS = (plant_link, plant_dangling_link, plant_chain, plant_folder)
ALL = (*LINKS, plant_hard_link, plant_fifo, plant_folder_there)
SERVICE = ("--user", str(OTHER))


def inner(theirs, name):
    """A path two folders below what root owns: the folder itself can be a link."""
    folder = theirs / "run"
    folder.mkdir()
    os.chown(folder, OTHER, OTHER)
    return folder / name


def refused(command, *args):
    done = harness.run(command, "--bind", "127.0.0.1:0", *args, timeout=20)
    assert (done.returncode, len(done.stderr.strip().splitlines())) == (1, 1), done.stderr
    assert SECRET.strip() not in done.stderr
    return done.stderr


def alive(pid):
    return Path(f"/proc/{pid}").exists()


# --- pid files ------------------------------------------------------------------------------


@pytest.mark.parametrize("plant", [*LINKS, plant_fifo, plant_folder_there], ids=lambda plant: plant.__name__)
@pytest.mark.parametrize("user", [(), SERVICE], ids=["as-root", "with-user"])
def test_pid_file_goes_through_no_link_of_others(theirs, victim, plant, user):
    path = inner(theirs, "srv.pid")
    plant(path, victim)
    assert "--pid" in refused("serve", "--pid", path, *user)
    check_untouched(victim)


def test_pid_file_replaces_a_hard_link(theirs, victim, start):
    os.link(victim, theirs / "srv.pid")
    app = start("serve", "--pid", theirs / "srv.pid", *SERVICE)
    assert int((theirs / "srv.pid").read_text()) == app.pid
    app.stop()
    assert not (theirs / "srv.pid").exists()
    check_untouched(victim)


def test_pid_file_is_no_device(srv_run):
    done = srv_run("serve", "--bind", "127.0.0.1:0", "--pid", "/dev/null")
    assert done.returncode == 1 and "not a regular file" in done.stderr
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


def test_pid_file_is_no_fifo_that_is_waited_for(public):
    os.mkfifo(public / "srv.pid")
    writer = os.open(public / "srv.pid", os.O_RDWR)  # and nothing to read
    assert "not a regular file" in refused("serve", "--pid", public / "srv.pid")
    os.close(writer)


def test_pid_file_is_not_removed_through_a_link(theirs, victim, start):
    path = inner(theirs, "srv.pid")
    app = start("serve", "--pid", path)
    mine = victim.parent / "srv.pid"
    mine.write_text(f"{app.pid}\n")
    path.parent.rename(theirs / "away")
    link(victim.parent, path.parent)
    app.stop()
    assert mine.read_text() == f"{app.pid}\n"


@pytest.mark.parametrize("owned", ["roots", "theirs"])
def test_pid_file_is_never_empty(public, theirs, start, owned):
    """Neither where the service's user may rename, nor where it may only write."""
    path = (theirs if owned == "theirs" else public) / "srv.pid"
    app = start("serve", "--workers", "1", "--pid", path, *SERVICE)
    pids, texts = [app.pid], []
    wait_for(lambda: "worker started" in app.stderr(), what="a master that takes signals")
    for _ in range(4):
        os.kill(pids[-1], signal.SIGUSR2)
        deadline = time.monotonic() + harness.READY_SECONDS
        while not texts or texts[-1] == f"{pids[-1]}\n" and time.monotonic() < deadline:
            texts.append(path.read_text())
        texts += [path.read_text() for _ in range(1000)]
        pids.append(int(texts[-1]))
        wait_for(lambda: app.process.poll() is not None and not alive(pids[-2]), what="the predecessor's end")
    os.kill(pids[-1], signal.SIGTERM)
    wait_for(lambda: not path.exists() or path.read_text() == "", what="its end")
    assert len(set(pids)) == 5
    assert {text.strip() for text in texts} == {str(pid) for pid in pids}


# --- logs -------------------------------------------------------------------------------------


@pytest.mark.parametrize("plant", ALL, ids=lambda plant: plant.__name__)
@pytest.mark.parametrize("user", [(), SERVICE], ids=["as-root", "with-user"])
def test_access_log_goes_through_no_link_of_others(theirs, victim, plant, user):
    path = inner(theirs, "log")
    plant(path, victim)
    assert "log" in refused("serve", "--access-logfile", path, *user)
    check_untouched(victim)


@pytest.mark.parametrize("plant", ALL, ids=lambda plant: plant.__name__)
def test_access_log_of_slowapi_goes_through_no_link_of_others(theirs, victim, plant):
    path = inner(theirs, "log")
    plant(path, victim)
    refused("slowapi", "--access-logfile", path)
    check_untouched(victim)


@pytest.mark.parametrize("plant", [plant_link, plant_dangling_link, plant_hard_link])
def test_access_log_is_not_reopened_through_a_link(theirs, victim, start, plant):
    path = theirs / "log"
    app = start("serve", "--access-logfile", path)
    get(app, "/nope")
    wait_for(lambda: "/nope" in path.read_text(), what="a line")
    path.rename(theirs / "old")
    plant(path, victim)
    os.kill(logger_of(app.pid), signal.SIGUSR1)
    wait_for(lambda: "cannot reopen the log" in app.stderr(), what="a complaint")
    get(app, "/goes-on")
    wait_for(lambda: "/goes-on" in (theirs / "old").read_text(), what="a line in the old log")
    app.stop()
    check_untouched(victim)


def test_log_in_a_shared_folder_is_not_one_that_others_planted(tmp_path, victim):
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    (shared / "log").write_text("")
    os.chown(shared / "log", 1, 1)
    refused("serve", "--access-logfile", shared / "log")
    assert (shared / "log").read_text() == ""


# --- reports ----------------------------------------------------------------------------------

REPORTS = {
    "bench": lambda path: ("bench", "--json", path, "-n", "1", "http://127.0.0.1:1/"),
    "play": lambda path: ("play", "--html", path, "single"),
}


@pytest.mark.parametrize("plant", ALL, ids=lambda plant: plant.__name__)
@pytest.mark.parametrize("report", REPORTS.values(), ids=REPORTS)
def test_reports_go_through_no_link_of_others(theirs, victim, plant, report):
    path = inner(theirs, victim.name if plant is plant_folder else "report")
    plant(path, victim)
    done = harness.run(*report(path), timeout=20)
    assert (done.returncode, len(done.stderr.strip().splitlines())) == (1, 1), done.stderr
    assert f"cannot write {path}: " in done.stderr
    check_untouched(victim)


def test_reports_go_through_links_of_roots(tmp_path, public):
    (public / "link").symlink_to(tmp_path / "report")
    harness.run("bench", "--json", public / "link", "-n", "1", "http://127.0.0.1:1/", timeout=20)
    assert json.loads((tmp_path / "report").read_text())["schema"] == "srv-bench/1"


# --- what slowapi reads ---------------------------------------------------------------------


@pytest.mark.parametrize("plant", [plant_link, plant_chain, plant_folder, plant_hard_link, plant_fifo])
def test_rules_are_read_through_no_link_of_others(theirs, victim, plant):
    path = inner(theirs, victim.name)
    plant(path, victim)
    assert re.search("is a link|hard link|FIFO", refused("slowapi", "--rules", path))
    check_untouched(victim)


# --- unix sockets -----------------------------------------------------------------------------


@pytest.mark.parametrize("option", ["--bind", "--control"])
@pytest.mark.parametrize("command", ["serve", "slowapi"])
@pytest.mark.parametrize("plant", [plant_link, plant_folder, plant_hard_link, plant_fifo])
def test_sockets_go_through_no_link_of_others(theirs, victim, command, option, plant):
    path = inner(theirs, "socket")
    plant(path, victim)
    refused(command, option, f"unix:{path}", *(SERVICE if command == "serve" else ()))
    check_untouched(victim)


def test_a_hard_link_is_not_removed_as_a_stale_socket_nor_given_away(theirs, tmp_path, start):
    """Somebody else's stale socket stays where it is; only the name in the folder goes."""
    other = tmp_path / "other"
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(other))
    stale.close()
    os.link(other, theirs / "socket")
    app = start("serve", "--bind", f"unix:{theirs}/socket", *SERVICE)
    assert (theirs / "socket").stat().st_uid == OTHER
    assert other.stat().st_uid == 0
    assert get(app, "/nope").status == 404
    app.stop()
    assert other.exists() and not (theirs / "socket").exists()


def test_socket_is_not_removed_through_a_link(theirs, tmp_path, start):
    path = inner(theirs, "socket")
    app = start("serve", "--bind", f"unix:{path}")
    mine = tmp_path / "mine"
    mine.mkdir()
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(mine / "socket"))
    stale.close()
    path.parent.rename(theirs / "away")
    link(mine, path.parent)
    app.stop()
    assert (mine / "socket").exists()


def test_socket_in_the_folder_of_others_serves_and_is_upgraded(theirs, start):
    """Its name and its path stay known to a successor, and both remove what they have made."""
    app = start(
        "serve", "--workers", "1", "--bind", f"unix:{theirs}/app", "--control", f"unix:{theirs}/control",
        "--pid", theirs / "pid",
    )  # fmt: skip
    assert app.addresses == [(f"{theirs}/app", None)]
    os.kill(app.pid, signal.SIGUSR2)
    assert app.wait() == 0
    assert f"listening on unix:{theirs}/app\n" in app.stderr().split("upgrade started")[1]
    assert f"control on unix:{theirs}/control\n" in app.stderr().split("upgrade started")[1]
    assert get((f"{theirs}/app", None), "/nope").status == 404
    assert get((f"{theirs}/control", None), "/healthz").status == 200
    os.kill(int((theirs / "pid").read_text()), signal.SIGTERM)
    wait_for(lambda: not list(theirs.iterdir()), what="nothing left behind")


# --- races ----------------------------------------------------------------------------------


def swap_names(folder, victim, seconds):
    """As the other user, swaps what is called pid, log and socket, and the folder, as fast as it can."""
    os.chdir(folder)  # whose path the user may not walk
    os.setgroups([])
    os.setresgid(OTHER, OTHER, OTHER)
    os.setresuid(OTHER, OTHER, OTHER)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        for name in ("run/pid", "run/log", "run/socket", "run/control"):
            with contextlib.suppress(OSError):
                os.symlink(victim, "new")
                os.rename("new", name)
            with contextlib.suppress(OSError):
                os.link("bait", "new")
                os.rename("new", name)
            with contextlib.suppress(OSError):
                os.unlink(name)
        with contextlib.suppress(OSError):
            os.rename("run", "away")
        with contextlib.suppress(OSError):
            os.symlink(victim.parent, "run")
            os.unlink("run")
        with contextlib.suppress(OSError):
            os.rename("away", "run")
    os._exit(0)


def fork(work, *args):
    pid = os.fork()
    if pid == 0:
        try:
            work(*args)
        finally:
            os._exit(1)
    return pid


@pytest.mark.parametrize("user", [(), SERVICE], ids=["as-root", "with-user"])
def test_who_races_gets_nothing(theirs, victim, user):
    """Some starts fail, some serve; what is root's stays root's, though it can be linked to."""
    (theirs / "run").mkdir()
    os.chown(theirs / "run", OTHER, OTHER)
    bait = theirs / "bait"  # root's file, with a second name in the racer's folder
    bait.write_text(SECRET)
    bait.chmod(0o666)  # as the kernel's protected_hardlinks wants
    second = victim.parent.parent / "second"
    os.link(bait, second)
    racer = fork(swap_names, theirs, victim, RACE_SECONDS)
    deadline = time.monotonic() + RACE_SECONDS
    run, starts = theirs / "run", 0
    while time.monotonic() < deadline:
        app = subprocess.Popen(
            [srv_binary(), "serve", "--bind", f"unix:{run}/socket", "--control", f"unix:{run}/control",
             "--pid", f"{run}/pid", "--access-logfile", f"{run}/log", *user],
            stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, env=clean_environment(), preexec_fn=die_with_parent,
        )  # fmt: skip
        with contextlib.suppress(subprocess.TimeoutExpired):
            app.wait(0.05)
        app.terminate()
        _, said = app.communicate(timeout=harness.STOP_SECONDS)
        assert not harness.REPORT.search(said.decode()), said
        assert app.returncode in (0, 1, -signal.SIGTERM)
        starts += 1
    assert os.waitpid(racer, 0)[1] == 0
    assert starts > 3
    check_untouched(victim)
    assert (second.stat().st_uid, second.read_text()) == (0, SECRET)


# --- what goes on working -----------------------------------------------------------------


def test_links_of_root_in_folders_of_root_are_followed(public, start):
    (public / "real").mkdir()
    (public / "link").symlink_to("real")
    (public / "real" / "log").symlink_to(public / "real" / "today")
    base = public / "link"
    app = start(
        "serve", "--pid", base / "pid", "--access-logfile", base / "log", "--bind", f"unix:{base}/socket", *SERVICE
    )
    assert get(app, "/nope").status == 404
    assert int((public / "real" / "pid").read_text()) == app.pid
    wait_for(lambda: "/nope" in (public / "real" / "today").read_text(), what="a line")
    assert (public / "real" / "today").stat().st_uid == OTHER
    assert (public / "real" / "socket").stat().st_uid == OTHER


@pytest.mark.parametrize("path", ["-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", "/dev/stderr"])
@pytest.mark.parametrize("option", [("serve", "--access-logfile"), ("slowapi", "--access-logfile")])
def test_descriptors_are_logs(start, path, option):
    app = start(*option, path)
    get(app, "/?delay=nope")
    wait_for(lambda: "/?delay=nope" in app.stderr(), what="a line")


def test_a_descriptor_survives_reopening_and_the_death_of_the_logger(tmp_path):
    with open(tmp_path / "out", "wb") as out, open(tmp_path / "err", "wb") as err:
        app = subprocess.Popen(
            [srv_binary(), "serve", "--bind", f"unix:{tmp_path}/app", "--access-logfile", f"/dev/fd/{out.fileno()}"],
            stderr=err, env=clean_environment(), preexec_fn=die_with_parent, pass_fds=[out.fileno()],
        )  # fmt: skip
    address = (f"{tmp_path}/app", None)
    wait_for(lambda: "listening" in (tmp_path / "err").read_text(), what="a server")
    get(address, "/first")
    app.send_signal(signal.SIGUSR1)
    get(address, "/second")
    wait_for(lambda: "/second" in (tmp_path / "out").read_text(), what="lines")
    logger = logger_of(app.pid)
    os.kill(logger, signal.SIGKILL)
    wait_for(lambda: set(children(app.pid)) - {logger}, what="another logger")
    get(address, "/third")
    wait_for(lambda: "/third" in (tmp_path / "out").read_text(), what="lines")
    app.terminate()
    assert app.wait(harness.STOP_SECONDS) == 0


def test_a_socket_as_standard_output_takes_the_log(tmp_path):
    """As under a service manager, whose socket cannot be opened by a name."""
    ours, its = socket.socketpair()
    ours.settimeout(harness.IO_SECONDS)
    app = subprocess.Popen(
        [srv_binary(), "slowapi", "--bind", f"unix:{tmp_path}/api", "--access-logfile", "/dev/stdout"],
        stdout=its, stderr=subprocess.DEVNULL, env=clean_environment(), preexec_fn=die_with_parent,
    )  # fmt: skip
    its.close()
    wait_for((tmp_path / "api").exists, what="a server")
    wait_for(lambda: not harness.is_refused((f"{tmp_path}/api", None)), what="a server")
    get((f"{tmp_path}/api", None), "/?delay=0")
    assert json.loads(ours.recv(65536).splitlines()[0])["status"] == 200
    app.terminate()
    assert app.wait(harness.STOP_SECONDS) == 0


def test_a_fifo_of_ones_own_is_a_log_before_somebody_reads_it(tmp_path, start):
    os.mkfifo(tmp_path / "log")
    app = start("serve", "--access-logfile", tmp_path / "log")
    get(app, "/early")
    with open(tmp_path / "log", "rb", buffering=0) as reader:
        assert b"/early" in reader.read(65536)


def test_a_plain_user_needs_nothing_of_this(public, theirs, tmp_path):
    """Links of others are the kernel's business for those who have no rights to lose."""
    program = shutil.copy(srv_binary(), public / "srv")  # it may lie where only root walks
    for name in ("pid", "log"):
        link(theirs / f"real-{name}", theirs / name)
    with open(tmp_path / "err", "wb") as err:
        app = subprocess.Popen(
            [program, "serve", "--bind", f"unix:{theirs}/app", "--pid", theirs / "pid",
             "--access-logfile", theirs / "log"],
            stderr=err, env=clean_environment(), user=OTHER, group=OTHER, extra_groups=[], cwd="/",
        )  # fmt: skip
    try:
        wait_for(lambda: "listening" in (tmp_path / "err").read_text(), what="a server")
        assert get((f"{theirs}/app", None), "/nope").status == 404
        assert int((theirs / "real-pid").read_text()) == app.pid
        wait_for(lambda: "/nope" in (theirs / "real-log").read_text(), what="a line")
    finally:
        app.terminate()
    assert app.wait(harness.STOP_SECONDS) == 0
    assert not (theirs / "real-pid").exists()
