# SPDX-License-Identifier: MIT
"""The access log of srv serve: what it says, and that nothing waits for it."""

import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest
from harness import RawConnection, get, srv_binary

MODELS = ("green", "pool", "threaded", "single")


def wait_for_lines(path, count, seconds=20):
    deadline = time.monotonic() + seconds
    while not path.exists() or path.read_text().count("\n") < count:
        assert time.monotonic() < deadline, path.read_text() if path.exists() else "no log"
        time.sleep(0.02)
    return path.read_text().splitlines()


@pytest.mark.parametrize("model", MODELS)
def test_default_line_is_gunicorns(slowapi, serve, tmp_path, model):
    log = tmp_path / "access.log"
    app = serve("--model", model, "--access-logfile", log, upstream=slowapi())
    assert get(app, "/?delay=0").status == 200
    assert get(app, "/nope?x=1").status == 404
    first, second = wait_for_lines(log, 2)
    assert re.fullmatch(
        r'127\.0\.0\.1 - - \[\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\] "GET /\?delay=0 HTTP/1\.1" 200 27 "-" ".*"',
        first,
    )
    assert '"GET /nope?x=1 HTTP/1.1" 404 ' in second


def test_every_atom(slowapi, serve, tmp_path):
    log = tmp_path / "access.log"
    atoms = "%(m)s|%(U)s|%(q)s|%(H)s|%(s)s|%(B)s|%(f)s|%(a)s|%(T)s|%(M)s|%(D)s|%(L)s|%(p)s|%({x-id}i)s|%({NAME}e)s"
    ours = "|%(queue)s|%(upstream)s|%(database)s|%(worker)s|%(model)s|100%"
    app = serve("--access-logfile", log, "--access-logformat", atoms + ours, upstream=slowapi(), env={"NAME": "it"})
    with RawConnection(app) as conn:
        conn.send(b"GET /?delay=0.2 HTTP/1.1\r\nHost: x\r\nReferer: r\r\nUser-Agent: me\r\nX-Id: 7\r\n\r\n")
        assert conn.read_response().status == 200
    fields = wait_for_lines(log, 1)[0].split("|")
    assert fields[:8] == ["GET", "/", "delay=0.2", "HTTP/1.1", "200", "27", "r", "me"]
    assert fields[8] == "0" and 200 <= int(fields[9]) < 5000 and 200000 <= int(fields[10]) < 5000000
    assert fields[12] == f"<{app.pid}>" and fields[13:15] == ["7", "it"]
    assert float(fields[15]) >= 0 and float(fields[16]) >= 200 and fields[17] == "0.000"
    assert fields[18:] == ["1", "green", "100%"]


def test_json_lines(slowapi, serve, tmp_path):
    log = tmp_path / "access.log"
    app = serve("--access-logfile", log, "--access-logformat", "json", upstream=slowapi())
    with RawConnection(app) as conn:
        conn.send(b'GET /?delay=0&q=\xff"\\ HTTP/1.1\r\nHost: x\r\n\r\n'.replace(b"\xff", b"%FF"))
        conn.read_response()
    assert get(app, "/?delay=0.1").status == 200
    lines = [json.loads(line) for line in wait_for_lines(log, 2)]
    assert lines[1]["status"] == 200 and lines[1]["target"] == "/?delay=0.1"
    assert lines[1]["upstream_ms"] >= 100 and lines[1]["model"] == "green"


def test_clients_cannot_forge_lines(slowapi, serve, tmp_path):
    log = tmp_path / "access.log"
    app = serve("--access-logfile", log, upstream=slowapi())
    with RawConnection(app) as conn:
        conn.send(b"GET /?delay=0 HTTP/1.1\r\nHost: x\r\nUser-Agent: a\tb\x80\r\n\r\n")
        assert conn.read_response().status == 200
    (line,) = log.read_bytes().splitlines() if wait_for_lines_bytes(log) else [b""]
    assert b"\t" not in line and b"a\\tb" in line


def wait_for_lines_bytes(path):
    deadline = time.monotonic() + 20
    while not path.exists() or b"\n" not in path.read_bytes():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return True


def test_only_slow_answers(slowapi, serve, tmp_path):
    log = tmp_path / "slow.log"
    app = serve("--access-logfile", log, "--access-log-slow", "200ms", upstream=slowapi())
    assert get(app, "/?delay=0").status == 200
    assert get(app, "/?delay=0.3").status == 200
    lines = wait_for_lines(log, 1)
    assert len(lines) == 1 and "delay=0.3" in lines[0]


@pytest.mark.parametrize("workers", [(), ("--workers", "2")], ids=["alone", "master"])
def test_usr1_opens_the_file_anew(slowapi, serve, tmp_path, workers):
    log, old = tmp_path / "access.log", tmp_path / "access.log.1"
    app = serve(*workers, "--access-logfile", log, upstream=slowapi())
    assert get(app, "/?delay=0").status == 200
    wait_for_lines(log, 1)
    log.rename(old)
    app.send_signal(signal.SIGUSR1)
    deadline = time.monotonic() + 20
    while not log.exists():
        assert get(app, "/?delay=0").status == 200
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert get(app, "/nope").status == 404
    deadline = time.monotonic() + 20
    while "/nope" not in log.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert "/nope" not in old.read_text()


def test_full_disk_loses_lines_but_no_request(slowapi, serve):
    app = serve("--access-logfile", "/dev/full", upstream=slowapi())
    for _ in range(50):
        assert get(app, "/?delay=0").status == 200
    deadline = time.monotonic() + 20
    while "lines are lost" not in app.stderr():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert app.stderr().count("lines are lost") < 10


def test_stdout_gets_one_line_per_answer(slowapi, tmp_path):
    """Nothing is lost or mixed under load, and all of it is written before the end."""
    api = slowapi()
    out = tmp_path / "stdout"
    with out.open("wb") as stdout, (tmp_path / "stderr").open("wb") as stderr:
        app = subprocess.Popen(
            [srv_binary(), "serve", "-b", "127.0.0.1:0", "-w", "2", "--upstream", api.url, "--access-logfile", "-"],
            stdout=stdout,
            stderr=stderr,
        )
    deadline = time.monotonic() + 20
    while "listening" not in (tmp_path / "stderr").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    url = re.search(r"http://[0-9.:]+/", (tmp_path / "stderr").read_text())[0]
    subprocess.run(
        [srv_binary(), "bench", "-q", "-k", "-n", "2000", "-c", "20", f"{url}?delay=0"],
        check=True,
        capture_output=True,
        timeout=60,
    )
    app.terminate()
    assert app.wait(30) == 0
    lines = out.read_text().splitlines()
    assert len(lines) == 2000 and all(line.count('"') == 6 for line in lines)


def test_killed_logger_costs_no_request(slowapi, serve, tmp_path):
    app = serve("--workers", "1", "--access-logfile", tmp_path / "log", upstream=slowapi())
    children = Path(f"/proc/{app.pid}/task/{app.pid}/children").read_text().split()
    (logger,) = [pid for pid in children if b": log" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    os.kill(int(logger), signal.SIGKILL)
    for _ in range(20):
        assert get(app, "/?delay=0").status == 200
    assert "dropped" in app.stderr()


@pytest.mark.parametrize("text", ["%(nope)s", "%(h", "%({x}h)s"])
def test_bad_format_is_one_line(srv_run, text):
    done = srv_run("serve", "--access-logformat", text)
    assert done.returncode == 2 and "--access-logformat" in done.stderr and done.stderr.count("\n") == 1


def test_log_that_cannot_be_opened(srv_run):
    done = srv_run("serve", "-b", "127.0.0.1:0", "--access-logfile", "/no/such/folder/log")
    assert done.returncode == 1 and "/no/such/folder/log" in done.stderr and done.stderr.count("\n") == 1
