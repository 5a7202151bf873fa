# SPDX-License-Identifier: MIT
"""A worker that makes no progress is killed and replaced (--timeout); one that merely waits is not."""

import fcntl
import os
import re
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from harness import RawConnection, children, get, wait_for
from test_handlers import app_of, build
from test_serve_control import json_of, metrics

MODELS = ("green", "pool", "threaded", "single", "event")
LIVELY = ("--workers", "1", "--timeout", "1s", "--control", "127.0.0.1:0")


def worker_pid(app):
    """Of the worker that is ready; None while there is none."""
    pids = [worker["pid"] for worker in json_of(app, "/stats")["workers"] if worker["state"] == "ready"]
    return pids[0] if pids else None


@pytest.mark.parametrize("model", MODELS)
def test_stopped_worker_is_killed_and_replaced(slowapi, serve, model):
    app = serve("--model", model, *LIVELY, upstream=slowapi())
    first = wait_for(lambda: worker_pid(app), what="a worker")
    os.kill(first, signal.SIGSTOP)
    wait_for(lambda: worker_pid(app) not in (None, first), what="another worker")
    assert get(app, "/?delay=0").status == 200
    assert "worker is stuck, killing it worker=1" in app.stderr()
    assert f"pid={first}" in app.stderr() and "request=none" in app.stderr()


@pytest.mark.parametrize("model", MODELS)
def test_worker_that_waits_for_longer_than_the_timeout_is_not_stuck(slowapi, serve, model):
    app = serve("--model", model, *LIVELY, upstream=slowapi())
    first = wait_for(lambda: worker_pid(app), what="a worker")
    began = time.monotonic()
    assert get(app, "/?delay=1.7").status == 200
    assert time.monotonic() - began >= 1.7
    assert worker_pid(app) == first and "stuck" not in app.stderr()


def test_slow_client_of_the_only_thread_does_not_make_it_stuck(slowapi, serve):
    app = serve("--model", "single", *LIVELY, upstream=slowapi())
    with RawConnection(app) as conn:
        conn.send(b"GET /?delay=0 HTTP/1.1\r\nHost: x\r\n")
        time.sleep(1.7)
        conn.send(b"\r\n")
        assert conn.read_response().status == 200
    assert "stuck" not in app.stderr()


@pytest.mark.parametrize("model", MODELS)
def test_an_idle_worker_sleeps(serve, model):
    """It does not wake up every second to tell that it lives."""
    app = serve("--model", model, "--workers", "2", "--timeout", "60s", "echo")
    workers = wait_for(lambda: len(children(app.pid)) == 2 and children(app.pid), what="2 workers")
    wait_for(lambda: get(app).status == 200, what="an answer")

    def times_asleep(pid):
        text = Path(f"/proc/{pid}/status").read_text()
        return int(re.search(r"\nvoluntary_ctxt_switches:\s+(\d+)", text)[1])

    time.sleep(0.5)
    before = {pid: times_asleep(pid) for pid in workers}
    time.sleep(3.2)
    assert max(times_asleep(pid) - before[pid] for pid in workers) <= 1


@pytest.mark.parametrize("model", ("green", "pool", "event", "threaded"))
def test_silence_counts_from_the_beginning_of_work(serve, model):
    """A worker that is idle beats seldom: every two seconds here."""
    app = serve("--model", model, "--workers", "1", "--timeout", "8s", "echo")
    worker = wait_for(lambda: children(app.pid), what="a worker")[0]
    wait_for(lambda: get(app).status == 200, what="an answer")
    time.sleep(1.5)
    assert get(app).status == 200
    os.kill(worker, signal.SIGSTOP)
    stopped_at = time.monotonic()
    wait_for(lambda: "worker is stuck" in app.stderr(), what="a line that tells it")
    assert time.monotonic() - stopped_at > 7.5


def test_timeout_of_zero_lets_a_worker_be(slowapi, serve):
    app = serve("--workers", "1", "--timeout", "0", "--control", "127.0.0.1:0", upstream=slowapi())
    first = wait_for(lambda: worker_pid(app), what="a worker")
    os.kill(first, signal.SIGSTOP)
    time.sleep(0.5)
    os.kill(first, signal.SIGCONT)
    assert get(app, "/?delay=0").status == 200
    assert worker_pid(app) == first


@pytest.mark.parametrize("model", ("green", "pool", "event"))
def test_metrics_tell_how_long_turns_of_the_loop_take(slowapi, serve, model):
    app = serve("--model", model, "--control", "127.0.0.1:0", upstream=slowapi())
    for _ in range(5):
        assert get(app, "/?delay=0").status == 200
    seen = wait_for(lambda: (m := metrics(app))["srv_loop_lag_seconds_count"] >= 5 and m, what="turns counted")
    assert 0 < seen["srv_loop_lag_max_seconds"] < 5


@pytest.mark.parametrize("model", ("green", "event"))
def test_who_holds_the_loop_up_is_named(serve, model):
    """App echo sums a body up, byte by byte, without a wait."""
    limits = ("--limit-request-body", "64m", "--loop-lag-warn", "1ms")
    app = serve("--model", model, *limits, "echo")
    body = b"x" * 16_000_000
    with RawConnection(app) as conn:
        conn.send(b"POST /long HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body[1:])
        time.sleep(0.5)  # that is read; the turn that reads the rest does little else than to serve it
        conn.send(body[:1])
        assert conn.read_response().status == 200
    held_up = r'the loop was held up for_seconds=\S+ request="POST /long"'
    wait_for(lambda: re.search(held_up, app.stderr()), what="a line that names the request")


WAITS = """
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/syscall.h>
static struct timespec span = { .tv_nsec = 500000000 };
static int raw(srv_request *rq) { syscall(SYS_ppoll, 0, 0, &span, 0, 8); return srv_reply(rq, 200, "raw"); }
static int lines(srv_request *rq) {
    char text[9] = "";
    FILE *f = popen("sleep 0.5; echo line", "r");

    return srv_reply(rq, fgets(text, 9, f) && pclose(f) == 0 ? 200 : 500, "%s", text);
}
static int locks(srv_request *rq) {
    int fd = open(srv_config(srv_worker_of(rq), "lock", ""), O_RDWR | O_CREAT | O_CLOEXEC, 0600);

    flock(fd, LOCK_EX);
    close(fd);
    return srv_reply(rq, 200, "locked");
}
static int waits(srv_request *rq) { return srv_reply(rq, 200, "%d", system("sleep 0.5")); }
static int computes(srv_request *rq) {
    struct timespec now, end;

    clock_gettime(CLOCK_MONOTONIC, &end);
    do
        clock_gettime(CLOCK_MONOTONIC, &now);
    while ((now.tv_sec - end.tv_sec) * 10 + (now.tv_nsec - end.tv_nsec) / 100000000 < 5);
    return srv_reply(rq, 200, "computed");
}
"""
WAITS_ROUTES = {"/raw": "raw", "/lines": "lines", "/locks": "locks", "/waits": "waits", "/computes": "computes"}


@pytest.fixture
def waiting(serve, tmp_path):
    """waiting(*OPTIONS) -> a green server of handlers that block in ways that no srv can help."""
    source = "#include <time.h>\n" + app_of(WAITS, WAITS_ROUTES)

    def start(*options):
        watch = ("--model", "green", "--loop-lag-warn", "100ms")
        return serve(*watch, *options, build(tmp_path, source), f"lock={tmp_path / 'lock'}")

    return start


def waits_for_lock(file):
    """Whether somebody is inside flock(2) for `file`; proc_locks(5)."""
    inode = os.fstat(file.fileno()).st_ino
    return re.search(rf"-> FLOCK .*:{inode} ", Path("/proc/locks").read_text())


@pytest.mark.parametrize("patch", ["off", "on"])
@pytest.mark.parametrize("workers", [(), ("--workers", "1")], ids=["alone", "master"])
def test_the_system_call_that_holds_the_loop_up_is_named(waiting, tmp_path, workers, patch):
    app = waiting(*workers, "--patch", patch)
    with (tmp_path / "lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with ThreadPoolExecutor(1) as clients:
            reply = clients.submit(get, app, "/locks")
            if patch == "off":
                wait_for(lambda: waits_for_lock(held), what="a handler inside flock(2)")
            time.sleep(0.5)  # so long it is held up: the least that is told is 0.1 s
            fcntl.flock(held, fcntl.LOCK_UN)
            assert reply.result().status == 200
    expected = {"raw": r"ppoll\(2\) near=app\.so", "computes": "cpu"}
    expected |= {"locks": r"flock\(2\) near=app\.so"} if patch == "off" else {}  # patched, it parks
    expected |= {"lines": r"read\(2\) near=app\.so", "waits": r"wait4\(2\) near=app\.so"}
    for path, call in expected.items():
        assert get(app, f"/{path}").status == 200
        line = rf'the loop was held up for_seconds=\S+ request="GET /{path}" in={call}$'
        wait_for(lambda line=line: re.search(line, app.stderr(), re.MULTILINE), what=line)
    assert app.stderr().count("--patch on") == (1 if patch == "off" else 0)


# --- stuck in a call that nothing interrupts --------------------------------------------------------


@pytest.fixture
def silent_database():
    """It accepts, and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


def stuck_in_a_call(start, silent_database, model, *args):
    """A server and its client, whose handler waits for a database in libpq's blocking call."""
    port = silent_database.getsockname()[1]
    database = ("--db", f"host=127.0.0.1 port={port} user=x dbname=x sslmode=disable", "--db-mode", "blocking")
    app = start("serve", "--model", model, *args, *database, "db")
    conn = RawConnection(app)
    conn.send(b"GET /now HTTP/1.1\r\nHost: x\r\n\r\n")
    silent_database.settimeout(20)
    silent_database.accept()[0].detach()
    return app, conn


@pytest.mark.parametrize("signals", [(signal.SIGINT,), (signal.SIGTERM, signal.SIGTERM)], ids=["int", "term-twice"])
@pytest.mark.parametrize("model", ("green", "pool", "threaded", "single"))
def test_at_once_means_at_once(start, silent_database, model, signals):
    app, conn = stuck_in_a_call(start, silent_database, model)
    for number in signals:
        app.send_signal(number)
        time.sleep(0.1)  # or the second would be lost in the first
    deadline = time.monotonic() + 20
    while app.process.poll() is None and time.monotonic() < deadline:
        app.send_signal(signal.SIGINT)  # an impatient user does not prolong it
        time.sleep(0.3)
    assert app.wait(1) == -signal.SIGALRM
    conn.close()


@pytest.mark.parametrize("model", ("green", "pool", "threaded", "single"))
def test_nobody_outlives_the_master(start, silent_database, model):
    app, conn = stuck_in_a_call(start, silent_database, model, "--workers", "1")
    workers = children(app.pid)
    app.kill()
    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers), what="no worker")
    conn.close()
