# SPDX-License-Identifier: MIT
"""The access log of srv serve: what it says, and that nothing waits for it."""

import contextlib
import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest
from control import metrics
from harness import RawConnection, children, die_with_parent, get, request, srv_binary, wait_for

MODELS = ("green", "pool", "threaded", "single", "event")


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
    wait_for_lines(log, 1)  # a thread answers first and logs then
    assert get(app, "/nope?x=1").status == 404
    first, second = wait_for_lines(log, 2)
    assert re.fullmatch(
        r'127\.0\.0\.1 - - \[\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\] "GET /\?delay=0 HTTP/1\.1" 200 27 "-" ".*"',
        first,
    )
    assert '"GET /nope?x=1 HTTP/1.1" 404 ' in second


@pytest.mark.parametrize("model", MODELS)
def test_refusals_are_logged_too(slowapi, serve, tmp_path, model):
    log = tmp_path / "access.log"
    times = ("--body-timeout", "200ms", "--header-timeout", "200ms")
    app = serve("--model", model, *times, "--access-logfile", log, upstream=slowapi())
    assert get(app, "/?delay=0", headers={"Referer": "before"}).status == 200
    wait_for_lines(log, 1)  # a thread answers first and logs then
    refused = {
        b"GET / HTTP/1.2.3\r\nHost: x\r\n\r\n": '"-" 400 ',
        b"GET /bad HTTP/1.1\r\nHost x\r\n\r\n": '"GET /bad HTTP/1.1" 400 41 "-" "-"',
        b"GET /long HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999\r\n\r\n": '"GET /long HTTP/1.1" 413 ',
        b"GET /slow HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n": '"GET /slow HTTP/1.1" 408 ',
        b"GET /half HTTP/1.1\r\nHost: x\r\nUser-A": '"-" 408 ',
    }
    for count, (bytes_sent, line) in enumerate(refused.items(), 2):
        with RawConnection(app) as conn:
            conn.send(bytes_sent)
            conn.read_response()
        assert line in wait_for_lines(log, count)[-1]


@pytest.mark.parametrize("model", MODELS)
def test_bytes_that_are_not_sent_are_not_logged(slowapi, serve, tmp_path, model):
    log = tmp_path / "access.log"
    logs = ("--access-logfile", log, "--access-logformat", "%(m)s %(s)s %(B)s %(b)s")
    app = serve("--model", model, *logs, upstream=slowapi())
    for count, (path, more, status) in enumerate(
        [("/?delay=0", {}, 200), ("/nope", {}, 404), ("/", {"Content-Length": "9999999"}, 413)], 1
    ):
        reply = request(app, "HEAD", path, headers=more)
        assert (reply.status, reply.body) == (status, b"")
        assert wait_for_lines(log, count)[-1] == f"HEAD {status} 0 -"


@pytest.mark.parametrize("model", MODELS)
def test_requests_whose_client_left_are_logged_too(slowapi, serve, tmp_path, model):
    log = tmp_path / "access.log"
    one_slot = {"green": ("--async-cores", "1"), "event": ("--async-cores", "1"), "pool": ("--threads", "1")}
    logs = ("--access-logfile", log, "--access-logformat", "%(r)s %(s)s %(B)s %(b)s")
    app = serve("--model", model, *one_slot.get(model, ()), *logs, upstream=slowapi())
    targets = ["/?delay=9"] if model == "single" else ["/?delay=8", "/?delay=9"]
    conns = [RawConnection(app) for _ in targets]
    for conn, target in zip(conns, targets):  # one is served; the other waits, where there are slots
        conn.send(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        time.sleep(0.1)
    conns[-1].half_close()  # which it may, and is asked what it meant, and asked again
    time.sleep(0.3)
    for conn in reversed(conns):
        conn.close()
    lines = wait_for_lines(log, len(targets))
    assert sorted(lines) == [f"GET {target} HTTP/1.1 499 0 -" for target in targets]


FORGED = 'Mozilla" 500 0 "-" "evil\\x22 \\ "'


def undo(text):
    """What an escaped value was."""
    assert '"' not in text
    return re.sub(
        r"\\(x..|.)", lambda m: {"n": "\n", "r": "\r", "t": "\t"}.get(m[1]) or chr(int(m[1][1:], 16)), text
    )


@pytest.mark.parametrize("model", MODELS)
def test_no_client_forges_an_atom(slowapi, serve, tmp_path, model):
    log = tmp_path / "access.log"
    default = '%(h)s %(l)s %(u)s %(t)s "%(r)s" %(s)s %(b)s "%(f)s" "%(a)s"'
    more = ' "%({x-id}i)s" "%(U)s" "%(q)s" "%(m)s" "%(H)s" "%({NAME}e)s" \\"'
    app = serve("--model", model, "--access-logfile", log, "--access-logformat", default + more, upstream=slowapi())
    target = '/nope"\\x22?x=\\"\\\\'
    with RawConnection(app) as conn:
        conn.send(f"GET {target} HTTP/1.1\r\nHost: x\r\nUser-Agent: {FORGED}\r\n".encode())
        conn.send(f'Referer: "{FORGED}\t\r\nX-Id: \\\r\n\r\n'.encode())
        assert conn.read_response().status == 404
    quoted = re.fullmatch(
        r'127\.0\.0\.1 - - \[.*?\] "([^"]*)" 404 \d+ ' + " ".join(['"([^"]*)"'] * 8) + r' \\"', wait_for_lines(log, 1)[0]
    ).groups()
    path, query = target.split("?")
    agent = (f'"{FORGED}', FORGED)
    assert tuple(map(undo, quoted[:7])) == (f"GET {target} HTTP/1.1", *agent, "\\", path, query, "GET")
    assert quoted[7:] == ("HTTP/1.1", "-")


@pytest.mark.parametrize("text", ["json", "%(f)s %(a)s %({x}i)s"])
def test_no_client_ends_a_line_with_unicode(slowapi, serve, tmp_path, text):
    """Nor gives commands to a terminal: C1, of which some end lines as U+2028 does, and bytes that are no UTF-8."""
    log = tmp_path / "access.log"
    app = serve("--access-logfile", log, "--access-logformat", text, upstream=slowapi())
    evil = "\u20ac\x85\u2028\u2029\x9b31m".encode() + b"\x9b31m\xff"
    with RawConnection(app) as conn:
        conn.send(b"GET /nope HTTP/1.1\r\nHost: x\r\nReferer: %s\r\nUser-Agent: %s\r\nX: %s\r\n\r\n" % (evil, evil, evil))
        assert conn.read_response().status == 404
    wait_for_lines(log, 1)
    written = log.read_bytes().decode()  # UTF-8
    assert len(written.splitlines()) == 1 and not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f]", written)


def test_a_long_line_is_cut_between_escapes(slowapi, serve, tmp_path):
    log = tmp_path / "access.log"
    app = serve("--access-logfile", log, "--access-logformat", "x%(a)s", upstream=slowapi())
    for count, pad in enumerate(range(4), 1):
        get(app, "/nope", headers={"User-Agent": "a" * pad + '"' * 4000})
        line = wait_for_lines(log, count)[-1]
        assert re.fullmatch(r"xa*(\\x22)+\.\.\.", line) and 4090 <= len(line) < 4096


def test_no_client_forges_a_log_line(serve):
    """What a client sent stands between quotes, and cannot end them."""
    app = serve("--upstream", "http://127.0.0.1:1/")
    assert get(app, '/?delay=0&x="\\status=200').status == 502
    line = re.search(r"request failed .*", app.stderr())[0]
    assert r"target=/?delay=0&x=\x22\x5cstatus=200 " in line and line.count('"') == 4


def test_turned_down_requests_are_logged_with_their_wait(slowapi, serve, tmp_path):
    log = tmp_path / "access.log"
    slots = ("--async-cores", "1", "--max-queue", "5", "--queue-timeout", "200ms")
    logs = ("--access-logfile", log, "--access-logformat", "%(r)s %(s)s %(queue)s")
    app = serve(*slots, *logs, upstream=slowapi())
    with RawConnection(app) as busy, RawConnection(app) as other:
        for conn, target in ((busy, b"/?delay=0.6"), (other, b"/?delay=0")):
            conn.send(b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n" % target)
            time.sleep(0.05)
        assert other.read_response().status == 503
    request, wait = wait_for_lines(log, 1)[0].rsplit(" ", 1)
    assert request == "GET /?delay=0 HTTP/1.1 503" and float(wait) >= 200


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


LONG = {"plain": "x" * 6000, "quotes": '"' * 6000, "euros": "\u20ac" * 2000, "no UTF-8": "\xff" * 6000}


@pytest.mark.parametrize("kind", LONG)
def test_json_lines_are_whole_however_long_the_request(slowapi, serve, tmp_path, kind):
    text = LONG[kind]
    log = tmp_path / "access.log"
    app = serve("--access-logfile", log, "--access-logformat", "json", upstream=slowapi())
    with RawConnection(app) as conn:
        fields = "".join(f"{name}: {text}\r\n" for name in ("User-Agent", "Referer"))
        request = f"GET /?delay=0&q={'y' * 6000} HTTP/1.1\r\nHost: x\r\n{fields}\r\n"
        conn.send(request.encode("latin-1" if kind == "no UTF-8" else "utf-8"))
        assert conn.read_response().status == 200
    (line,) = wait_for_lines(log, 1)
    seen = json.loads(line)
    assert seen["agent"].rstrip(".") in text and seen["agent"].endswith("...") and len(seen["agent"]) > 100
    assert seen["target"].endswith("y...") and seen["status"] == 200


@pytest.mark.parametrize("text", ["%(r)s %(f)s %(a)s", "%(r)s %(r)s %(r)s", "%({x}i)s %({x}i)s %({x}i)s"])
def test_long_requests_are_logged_too(slowapi, serve, tmp_path, text):
    log = tmp_path / "access.log"
    app = serve("--access-logfile", log, "--access-logformat", "%(s)s " + text, upstream=slowapi())
    long = b"x" * 4000
    fields = b"".join(b"%s: %s\r\n" % (name, 2 * long) for name in (b"Referer", b"User-Agent", b"X"))
    with RawConnection(app) as conn:
        conn.send(b"GET /%s?%s HTTP/1.1\r\nHost: x\r\n%s\r\n" % (long, long, fields))
        assert conn.read_response().status == 404
    [line] = wait_for_lines(log, 1)
    assert line.startswith("404 ") and line.endswith("x...") and len(line) == 4094


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


# --- the log process ---------------------------------------------------------------------------


def logger_of(pid):
    """The log process of a server; None while there is none, or it has no title yet."""
    for child in children(pid):
        with contextlib.suppress(OSError):
            if b"serve: log" in Path(f"/proc/{child}/cmdline").read_bytes():
                return child
    return None


def kill_logger(pid):
    """Kills it, and waits for the next one."""
    first = wait_for(lambda: logger_of(pid), what="a log process")
    os.kill(first, signal.SIGKILL)
    wait_for(lambda: logger_of(pid) not in (None, first), what="another log process")


def bench(app, *args):
    command = [srv_binary(), "bench", "-q", "-k", *map(str, args), f"{app.url}?delay=0"]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, preexec_fn=die_with_parent)


@pytest.mark.parametrize("workers", [(), ("--workers", "2")], ids=["alone", "master"])
@pytest.mark.parametrize("model", MODELS)
def test_killed_logger_is_replaced_and_loses_no_line(slowapi, serve, tmp_path, model, workers):
    log = tmp_path / "log"
    app = serve("--model", model, *workers, "--access-logfile", log, upstream=slowapi())
    report = tmp_path / "report.json"
    clients = 1 if model == "single" else 8
    with bench(app, "-t", 1.5, "--drain", 5, "-c", clients, "--rate", 3000, "--json", report) as load:
        wait_for_lines(log, 10)
        kill_logger(app.pid)
        kill_logger(app.pid)
        assert load.wait() == 0
    app.stop()
    lines = log.read_text().splitlines()
    assert len(lines) == json.loads(report.read_text())["totals"]["requests"] > 100
    assert all(line.count('"') == 6 for line in lines)
    assert app.stderr().count("log process died") == 2 and "dropped" not in app.stderr()


@pytest.mark.parametrize("times", [1, 2])
def test_logger_killed_just_before_the_end_loses_no_line(slowapi, serve, tmp_path, times):
    log = tmp_path / "log"
    app = serve("--access-logfile", log, upstream=slowapi())
    for _ in range(times - 1):  # the next one but one is not started at once
        kill_logger(app.pid)
    logger = wait_for(lambda: logger_of(app.pid), what="a log process")
    os.kill(logger, signal.SIGSTOP)
    for _ in range(20):
        assert get(app, "/?delay=0").status == 200
    os.kill(logger, signal.SIGKILL)
    app.stop()
    assert len(log.read_text().splitlines()) == 20


def test_logger_is_replaced_after_reload_and_upgrade_too(slowapi, serve, tmp_path):
    log, pid_file = tmp_path / "log", tmp_path / "pid"
    app = serve("--workers", "1", "--access-logfile", log, "--pid", pid_file, upstream=slowapi())
    wait_for(lambda: app.stderr().count("worker started") == 1, what="a worker")
    app.send_signal(signal.SIGHUP)
    wait_for(lambda: "worker left" in app.stderr(), what="the first worker's end")
    kill_logger(app.pid)
    assert get(app, "/?delay=0").status == 200
    app.send_signal(signal.SIGUSR2)
    assert app.wait() == 0
    successor = int(pid_file.read_text())
    kill_logger(successor)
    assert get(app, "/?delay=0").status == 200
    os.kill(successor, signal.SIGTERM)
    wait_for(lambda: not pid_file.exists(), what="its end")
    assert len(log.read_text().splitlines()) == 2


def test_logger_that_cannot_open_its_file_is_tried_again(slowapi, serve, tmp_path):
    folder = tmp_path / "logs"
    folder.mkdir()
    app = serve("--access-logfile", folder / "log", upstream=slowapi())
    folder.rename(tmp_path / "gone")
    os.kill(wait_for(lambda: logger_of(app.pid), what="a log process"), signal.SIGKILL)
    wait_for(lambda: "cannot open the log" in app.stderr(), what="a complaint")
    assert get(app, "/?delay=0").status == 200
    folder.mkdir()
    assert len(wait_for_lines(folder / "log", 1)) == 1


def test_stopped_logger_holds_up_nobody_and_what_it_costs_is_counted(slowapi, serve, tmp_path):
    log = tmp_path / "log"
    app = serve("--access-logfile", log, "--control", "127.0.0.1:0", upstream=slowapi())
    os.kill(wait_for(lambda: logger_of(app.pid), what="a log process"), signal.SIGSTOP)
    with bench(app, "-n", 16000, "-c", 8) as load:  # the pipe takes a megabyte
        assert load.wait() == 0
    dropped = metrics(app)["srv_log_dropped_total"]
    assert "access log lines were dropped" in app.stderr()
    app.stop()  # which lets it go on
    assert dropped > 0 and len(log.read_text().splitlines()) == 16000 - dropped


@pytest.mark.parametrize("text", ["%(nope)s", "%(h", "%({x}h)s"])
def test_bad_format_is_one_line(srv_run, text):
    done = srv_run("serve", "--access-logformat", text)
    assert done.returncode == 2 and "--access-logformat" in done.stderr and done.stderr.count("\n") == 1


def test_log_that_cannot_be_opened(srv_run):
    done = srv_run("serve", "-b", "127.0.0.1:0", "--access-logfile", "/no/such/folder/log")
    assert done.returncode == 1 and "/no/such/folder/log" in done.stderr and done.stderr.count("\n") == 1
