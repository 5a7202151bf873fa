# SPDX-License-Identifier: MIT
"""srv play --attach: threads by what they wait for, against what the test made them do."""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time

import pytest
from harness import ROOT, clean_environment, die_with_parent, free_port, run, srv_binary, wait_for

RIG = ROOT / "tests/e2e/waits_rig.py"


def attach(pid, *args, timeout=30):
    return run("play", "--attach", pid, *args, timeout=timeout)


def look(pid):
    """{what: threads} of one look; the sums are checked."""
    done = attach(pid, "--duration", "1ms", "--json", "-")
    assert done.returncode == 0, done.stderr
    [line] = done.stdout.splitlines()
    picture = json.loads(line)
    assert sum(wait["threads"] for wait in picture["waits"]) == picture["threads"]
    return {wait["text"]: wait["threads"] for wait in picture["waits"]}


def wait_for_picture(pid, expected, seconds=30):
    """Until the picture is exactly that: threads need a while to come to where they wait."""
    seen = {}

    def is_there():
        nonlocal seen
        seen = look(pid)
        return seen == expected

    try:
        wait_for(is_there, seconds)
    except AssertionError:
        assert seen == expected
        raise


@pytest.fixture
def rig(tmp_path):
    """rig(WORD...) -> (process, where its sockets are); it ends with the test."""
    started = []

    def start(*words, launcher=(), **options):
        folder = tmp_path / str(len(started))
        folder.mkdir()
        process = subprocess.Popen(
            [*launcher, sys.executable, RIG, folder, *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            preexec_fn=die_with_parent,
            **options,
        )
        started.append(process)
        return process, json.loads(process.stdout.readline())

    yield start
    for process in started:
        process.kill()
        process.communicate()


IDLE = "read pipe (poll)"  # the main thread of the rig

# What the words of the rig are called; {NAME} is a place that it tells.
WORDS = {
    "recv": "recv from upstream {peer}",
    "recv6": "recv from upstream {peer6}",
    "recv_client": "recv from client of {client}",
    "recv_pair": "recv from socket pair",
    "send": "send to upstream {sent_to}",
    "accept": "accept on {listener}",
    "connect": "connect to upstream {full}",
    "poll_one": "recv from upstream {peer} (poll)",
    "poll_woken": "recv from upstream {peer} (poll)",
    "poll_accept": "accept on {polled_listener} (poll)",
    "poll_two": "poll on 2 descriptors",
    "poll_nothing": "sleep",
    "epoll": "epoll on 3 descriptors",
    "sleep": "sleep",
    "lock": "lock",
    "condition": "condition or semaphore",
    "pipe": "read pipe",
    "event": "read eventfd",
}


@pytest.mark.parametrize("word", WORDS)
def test_each_wait_is_named(rig, word):
    process, where = rig(word)
    wait_for_picture(process.pid, {WORDS[word].format(**where): 1, IDLE: 1})


def test_all_waits_at_once_add_up(rig):
    counts = {word: 1 + i % 3 for i, word in enumerate(WORDS) if word not in ("send", "accept", "connect", "poll_accept")}
    process, where = rig(*(f"{word}={count}" for word, count in counts.items()))
    expected = {IDLE: 1}
    for word, count in counts.items():
        text = WORDS[word].format(**where)
        expected[text] = expected.get(text, 0) + count
    wait_for_picture(process.pid, expected)


def test_the_end_of_a_thread_and_of_a_child_are_waited_for(rig):
    process, _ = rig("thread", "child")
    wait_for_picture(process.pid, {"end of a thread": 1, "signal": 1, "child process": 1, "sleep": 1, IDLE: 1})


def test_names_with_odd_bytes_stay_on_their_line(rig):
    process, _ = rig("flock", "lockf", "accept_unix")
    folder = os.readlink(f"/proc/{process.pid}/cwd")
    expected = {
        rf"lock of {folder}/file\n\xff": 1,
        f"lock of {folder}/ranges": 1,
        r"accept on unix:odd\n\x01\xff" + "\"'.sock": 1,
        "sleep": 1,  # who holds the other lock
        IDLE: 1,
    }
    wait_for_picture(process.pid, expected)
    lines = attach(process.pid, "--duration", "1ms").stdout.splitlines()
    assert len(lines) == 1 + len(expected) and all(line.isprintable() for line in lines)


def test_threads_that_compute_are_running(rig):
    process, _ = rig("cpu=2", "sleep")
    wait_for_picture(process.pid, {"running": 2, "sleep": 1, IDLE: 1})


def test_threads_that_come_and_go_add_up(rig):
    process, _ = rig("churn=3", "sleep=5")
    done = attach(process.pid, "--duration", "3s", "--interval", "5ms", "--json", "-")
    assert done.returncode == 0, done.stderr
    pictures = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(pictures) > 1
    for picture in pictures:
        assert sum(wait["threads"] for wait in picture["waits"]) == picture["threads"] >= 9


def test_a_thousand_threads_are_one_line(rig):
    process, where = rig("recv=1000")
    wait_for_picture(process.pid, {f"recv from upstream {where['peer']}": 1000, IDLE: 1}, 60)


def test_looking_takes_one_percent_of_a_core(rig):
    """What the looks cost is counted by the process itself; a first look opens files."""
    process, _ = rig("recv=50")
    done = attach(process.pid, "--duration", "3s", "--interval", "1ms", "--json", "-")
    costs = [json.loads(line)["cost_us"] for line in done.stdout.splitlines()]
    assert len(costs) > 1 and sum(costs[:-1]) <= 0.01 * 3_000_000
    assert "of a core" in done.stderr  # one each millisecond is too often


def test_the_picture_comes_once_per_interval_until_the_bound(rig):
    process, _ = rig("sleep=2")
    begun = time.monotonic()
    done = attach(process.pid, "--interval", "400ms", "--duration", "1s")
    assert 1 <= time.monotonic() - begun < 20
    heads = [line for line in done.stdout.splitlines() if "python" in line]
    assert 2 <= len(heads) <= 3
    assert f"({process.pid}), 1 process, 3 threads" in heads[0]
    assert "     2 threads: sleep" in done.stdout.splitlines()


def test_it_ends_with_the_process(rig):
    process, _ = rig("sleep")
    with subprocess.Popen(
        [srv_binary(), "play", "--attach", str(process.pid), "--interval", "50ms"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=clean_environment(),
        preexec_fn=die_with_parent,
    ) as attached:
        assert "2 threads" in attached.stdout.readline()
        process.kill()
        # What is left of it until its parent waits for it is a thread, too.
        wait_for(lambda: "1 thread: ended, not waited for" in attached.stdout.readline(), 30)
        process.wait()
        _, told = attached.communicate(timeout=30)
    assert attached.returncode == 0
    assert told == f"srv play: process {process.pid} has ended\n"


def test_signals_end_it_well(rig):
    process, _ = rig("sleep")
    with subprocess.Popen(
        [srv_binary(), "play", "--attach", str(process.pid)],
        stdout=subprocess.PIPE,
        env=clean_environment(),
        preexec_fn=die_with_parent,
    ) as attached:
        attached.stdout.readline()
        attached.send_signal(signal.SIGINT)
        assert attached.wait(timeout=30) == 0


def kernel_thread():
    return 2 if open("/proc/2/stat").read().split()[1] == "(kthreadd)" else None


@pytest.mark.parametrize(
    "args, told",
    [
        (("--attach", "4194304"), "there is no process 4194304"),
        (("--attach", "2"), "process 2 is a thread of the kernel"),
        (("--attach", "self", "--json", "/nonexistent/x"), "cannot write /nonexistent/x: "),
    ],
)
def test_what_cannot_be_looked_at_is_one_line(args, told):
    if "2" in args and not (os.path.exists("/proc/2") and kernel_thread()):
        pytest.skip("no thread of the kernel is seen here")
    args = [str(os.getpid()) if arg == "self" else arg for arg in args]
    done = run("play", *args)
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.startswith(f"srv play: {told}") and done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "args",
    [
        ("--attach", "0"),
        ("--attach", "-1"),
        ("--attach", "x"),
        ("--attach", "1", "green"),
        ("--attach", "1", "--list"),
        ("--attach", "1", "--keep"),
        ("--attach", "1", "-n", "3"),
        ("--attach", "1", "--html", "x"),
        ("--attach", "1", "--interval", "0"),
        ("--attach", "1", "--interval", "2h"),
        ("--attach", "1", "--duration", "0"),
        ("--attach", "1", "--control", "a.name:1"),
        ("--attach", "1", "--control", ":port"),
        ("--attach", "1", "--control", "unix:/" + "a" * 200),
        ("--control", "127.0.0.1:1"),
        ("--interval", "1s"),
        ("--duration", "1s", "green"),
    ],
)
def test_options_that_say_nothing_are_refused(args):
    done = run("play", *args)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("srv play: --") and done.stderr.count("\n") == 1


AS_NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("setpriv"), reason="needs root and setpriv")
def test_a_process_of_another_user_is_refused(rig):
    process, _ = rig("sleep")
    done = run(*AS_NOBODY[1:], srv_binary(), "play", "--attach", str(process.pid), binary=AS_NOBODY[0])
    assert done.returncode == 1
    assert done.stderr == f"srv play: process {process.pid} is another user's (uid 0), and may be looked at by that user and root alone\n"


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("unshare"), reason="needs root and unshare")
def test_sockets_of_another_network_namespace_are_named(rig):
    """lo is down there, and its addresses are the same as here."""
    up = ("unshare", "--net", "sh", "-c", 'ip link set lo up; exec "$@"', "sh")
    process, where = rig("recv=3", launcher=up)
    wait_for_picture(process.pid, {f"recv from upstream {where['peer']}": 3, IDLE: 1})




# --- servers, whose requests wait for a slow API or a database ----------------------------

CLIENTS = 3
SLOW = "/?delay=60"


def clients(port, path, count=CLIENTS):
    """Sockets of clients that have asked and get no answer yet."""
    sockets = [socket.create_connection(("127.0.0.1", port)) for _ in range(count)]
    for sock in sockets:
        sock.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    return sockets


def wait_for_waits(pid, expected):
    """Until these waits are in the picture; a server has other threads, too."""
    seen = {}

    def are_there():
        nonlocal seen
        seen = look(pid)
        return {text: seen.get(text) for text in expected} == expected

    try:
        wait_for(are_there, 40)
    except AssertionError:
        assert seen == expected
        raise


def upstream(api, how=""):
    return f"recv from upstream 127.0.0.1:{api.port}{how}"


IMPATIENT = ("--graceful-timeout", "0")


@pytest.mark.parametrize("model, threads", [("single", 1), ("threaded", CLIENTS), ("pool", CLIENTS)])
def test_threads_of_srv_wait_for_the_upstream(slowapi, serve, model, threads):
    api = slowapi(*IMPATIENT)
    app = serve("--model", model, *IMPATIENT, upstream=api)
    kept = clients(app.port, SLOW)
    wait_for_waits(app.pid, {upstream(api, " (poll)"): threads})
    assert len(kept) == CLIENTS


@pytest.mark.parametrize("model, each", [("green", 2), ("event", 2), ("evhttp", 1)])
def test_one_thread_of_srv_waits_for_everything(slowapi, serve, model, each):
    """For the call of a request, and for its client; libevent's own server lets that be meanwhile."""
    api = slowapi(*IMPATIENT)
    app = serve("--model", model, *IMPATIENT, upstream=api)

    def epolls():
        return [int(text.split()[2]) for text in look(app.pid) if text.startswith("epoll on ")]

    [before] = wait_for(epolls, 20)
    kept = clients(app.port, SLOW)
    wait_for(lambda: epolls() and epolls()[0] >= before + each * len(kept), 20)


def requests_of(pid, control):
    """{what: requests} of one look, as the control endpoint tells them; the sums are checked."""
    done = attach(pid, "--duration", "1ms", "--json", "-", "--control", control)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)["requests"]
    if told is None:
        return done.stderr
    assert sum(wait["requests"] for wait in told["waits"]) == told["count"]
    return {wait["text"]: wait["requests"] for wait in told["waits"]}


@pytest.mark.parametrize("by", ["tcp", "unix"])
def test_fibers_are_told_by_the_control_endpoint(slowapi, serve, tmp_path, by):
    """One thread, whose requests wait for the upstream, or for a slot."""
    api = slowapi(*IMPATIENT)
    address = f"unix:{tmp_path}/control" if by == "unix" else "127.0.0.1:0"
    app = serve("--async-cores", "2", "--max-queue", "9", "--control", address, *IMPATIENT, upstream=api)
    control = address if by == "unix" else re.search(r"control on http://(\S+)/", app.stderr())[1]
    assert requests_of(app.pid, control) == {}
    kept = clients(app.port, SLOW)
    wait_for(lambda: requests_of(app.pid, control) == {"recv from upstream": 2, "queue, for a slot": 1}, 30)
    told = attach(app.pid, "--duration", "1ms", "--control", control).stdout.splitlines()
    assert told[-2:] == ["     2 requests: recv from upstream", "     1 request: queue, for a slot"]
    assert len(kept) == CLIENTS


def test_what_tells_no_requests_is_named_and_threads_are_told(slowapi):
    api = slowapi(*IMPATIENT)
    told = requests_of(api.pid, "127.0.0.1:1")
    assert "srv play: 127.0.0.1:1 does not tell its requests: it cannot be reached\n" in told
    told = requests_of(api.pid, f"127.0.0.1:{api.port}")
    assert f"srv play: 127.0.0.1:{api.port} does not tell its requests: " in told


@pytest.mark.parametrize("model", ["threaded", "pool"])
def test_threads_of_srv_wait_for_the_database(db, postgres, model):
    """Within half of a second they call the API; a function of that schema sleeps for a minute."""
    app = db("--model", model, schema="asleep")
    kept = clients(app.port, "/?delay=0.1")
    [port] = re.findall(r"port=(\d+)", postgres.conninfo)

    def databases():
        return {text: threads for text, threads in look(app.pid).items() if text.startswith("recv from ") and port in text}

    wait_for(lambda: sum(databases().values()) == CLIENTS, 40)
    assert len(kept) == CLIENTS


PEERS = {
    "gunicorn sync": ("gunicorn", "--worker-class", "sync", "--workers", "3", "--bind", "127.0.0.1:{port}", "app:app"),
    "gunicorn gthread": ("gunicorn", "--worker-class", "gthread", "--threads", "8", "--bind", "127.0.0.1:{port}", "app:app"),
    "uwsgi": ("uwsgi", "--plugin", "python3", "--http-socket", "127.0.0.1:{port}", "--threads", "8", "--module", "app:app"),
    "flask": ("python3", "-m", "flask", "run", "--port", "{port}", "--with-threads"),
}  # fmt: skip


@pytest.fixture
def original(tmp_path):
    """original(NAME, api) -> (pid, port) of the unmodified server, with the app of scripts/peers."""
    started = []

    def start(name, api):
        words = PEERS[name]
        program = f"/usr/bin/{words[0]}"
        if not os.path.exists(program) or subprocess.run([program, "-c", "import flask, requests"] if name == "flask" else ["true"]).returncode:
            pytest.skip(f"{name} is not installed")
        port = free_port()
        words = [word.replace("{port}", str(port)) for word in words[1:]]
        env = clean_environment({"PORT_API": str(api.port)})
        log = (tmp_path / "original.log").open("wb")
        process = subprocess.Popen(
            [program, *words], cwd=ROOT / "scripts/peers", env=env, stdout=log, stderr=log, start_new_session=True, preexec_fn=die_with_parent
        )
        started.append(process)
        wait_for(lambda: serves(port), 40)
        return process.pid, port

    yield start
    for process in started:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def serves(port):
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True


@pytest.mark.parametrize("name", PEERS)
def test_threads_of_originals_wait_for_the_upstream(slowapi, original, name):
    api = slowapi(*IMPATIENT)
    pid, port = original(name, api)
    kept = clients(port, SLOW)
    wait_for_waits(pid, {upstream(api): len(kept)})
