# SPDX-License-Identifier: MIT
"""The life of applications of users: checked, reloaded, overwritten, crashed."""

import http.client
import os
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest
from clients import Clients
from harness import children, get, run, wait_for
from test_handlers import VERSION, app_of, build, refused

MODELS = ("single", "threaded", "pool", "green")

# --- srv serve --check-config ------------------------------------------------------------------------

CHECKED = """
#include <srv/app.h>
#include <stdlib.h>
#include <unistd.h>
static const char *check(const srv_worker *w) {
    const char *color = srv_config(w, "color", "blue");
    if (access(srv_config(w, "hang", "/"), F_OK) != 0)
        sleep(100);
    return color[0] == 'b' ? 0 : "color has to begin with b";
}
static int page(srv_request *rq) { return srv_reply(rq, 200, "old"); }
SRV_APP(.handle = page, .check = check)
"""


def check_config(*args):
    done = run("serve", "--check-config", "--bind", "127.0.0.1:1", *args)
    assert "listening" not in done.stderr
    return done.returncode, done.stdout, done.stderr


def test_a_good_configuration(tmp_path):
    path = build(tmp_path, CHECKED)
    for args in ((), ("echo",), ("--model", "event"), ("--workers", "2", path), (path, "color=black")):
        assert check_config(*args) == (0, "srv serve: the configuration is good\n", "")


@pytest.mark.parametrize(
    "args, why",
    [
        (("{app}", "color=red"), "does not start: color has to begin with b"),
        (("./nothing.so",), "cannot load './nothing.so'"),
        (("nothing",), "'nothing' is not an application"),
        (("--bind", "here"), "--bind: 'here'"),
        (("--db", "nonsense=1"), "--db: "),
        (("--upstream", "ftp://a/"), "--upstream: "),
        (("--access-logfile", "/nowhere/at/all"), "cannot open the log"),
        (("--user", "nobody-of-that-name"), "--user"),
        (("--async-cores", "4", "--model", "single"), "has no fibers"),
    ],
)
def test_a_bad_configuration(tmp_path, args, why):
    path = build(tmp_path, CHECKED)
    code, stdout, stderr = check_config(*(arg.format(app=path) for arg in args))
    assert (code, stdout, stderr.count("\n")) == (2, "", 1) and why in stderr


# --- HUP: new code, when it is good ------------------------------------------------------------------


def has_loaded(app, pid):
    """Its object, if it has one: what the path leads to later is nothing to that process."""
    return not app.args[-1].endswith(".so") or app.args[-1] in Path(f"/proc/{pid}/maps").read_text()


def pids_of(app, count):
    def all_there():
        return len(children(app.pid)) == count and all(has_loaded(app, pid) for pid in children(app.pid))

    wait_for(all_there, what=f"{count} workers")
    return set(children(app.pid))


SLOW = 'static int page(srv_request *rq) { srv_sleep(rq, 0.3); return srv_reply(rq, 200, "version %d", N); }'


@pytest.mark.parametrize("model", MODELS)
def test_hup_under_load_takes_new_code_and_holds_nobody_up(tmp_path, serve, model):
    app = serve("--model", model, "--workers", "2", build(tmp_path, app_of(SLOW.replace("N", "1"))))
    first = pids_of(app, 2)
    clients = Clients(app, 2 if model == "single" else 16)
    time.sleep(0.5)
    build(tmp_path, app_of(SLOW.replace("N", "2")))
    app.send_signal(signal.SIGHUP)
    wait_for(lambda: len(set(children(app.pid)) - first) == 2 and not first & set(children(app.pid)), 30, what="new workers")
    time.sleep(0.5)
    clients.stop()
    assert clients.lost == [] and clients.done > 0
    assert get(app).text == "version 2"
    assert clients.slowest < (2.0 if model == "single" else 1.2), "a reload is no pause"


@pytest.mark.parametrize(
    "broken, why",
    [
        (lambda path: path.unlink(), "No such file or directory"),
        (lambda path: replace(path, b"text"), "it is not a shared object"),
        (lambda path: replace(path, b""), "it is not a shared object"),
    ],
    ids=["missing", "text", "empty"],
)
def test_hup_with_an_object_that_cannot_be_loaded_changes_nothing(tmp_path, serve, broken, why):
    app = serve("--workers", "2", build(tmp_path, app_of(VERSION.replace("N", "1"))))
    before = pids_of(app, 2)
    broken(tmp_path / "app.so")
    app.send_signal(signal.SIGHUP)
    wait_for(lambda: "reload refused" in app.stderr(), what="the refusal")
    assert app.stderr().count("WARN") == 1 and why in app.stderr()
    assert get(app).text == "version 1" and set(children(app.pid)) == before
    build(tmp_path, app_of(VERSION.replace("N", "2")))
    app.send_signal(signal.SIGHUP)
    wait_for(lambda: get(app).text == "version 2", what="the next reload")


BLOCKS = """
#include <srv/app.h>
static int page(srv_request *rq) { return srv_reply(rq, 200, "it blocks"); }
"""
UNCHECKED = BLOCKS + "SRV_APP(.handle = page, .flags = SRV_BLOCKS)"
CHECKED_LAST = BLOCKS + """
static const char *check(const srv_worker *worker) { (void)worker; return "its check has run"; }
SRV_APP(.handle = page, .check = check, .flags = SRV_BLOCKS)
"""
WHY_REFUSED = "' blocks its thread (SRV_BLOCKS), and model green has one for all requests: use --model pool"


@pytest.mark.parametrize("suffix", ["so", "c"])
@pytest.mark.parametrize("workers", [(), ("--workers", "1")], ids=["alone", "master"])
def test_an_application_that_blocks_is_refused_under_green(tmp_path, workers, suffix):
    path = build(tmp_path, CHECKED_LAST)
    if suffix == "c":
        path = str(tmp_path / "app.c")
        Path(path).write_text(CHECKED_LAST)
    assert refused(path, "--model", "green", *workers) == f"srv serve: '{path}{WHY_REFUSED}\n"


@pytest.mark.parametrize("model", ["single", "threaded", "pool"])
def test_an_application_that_blocks_is_served_where_it_has_a_thread(tmp_path, serve, model):
    assert get(serve("--model", model, build(tmp_path, UNCHECKED))).text == "it blocks"


def test_hup_with_an_object_that_blocks_changes_nothing(tmp_path, serve):
    path = build(tmp_path, app_of(VERSION.replace("N", "1")))
    app = serve("--model", "green", "--workers", "1", path)
    before = pids_of(app, 1)
    build(tmp_path, UNCHECKED)
    app.send_signal(signal.SIGHUP)
    wait_for(lambda: f"the workers serve on: '{path}{WHY_REFUSED}" in app.stderr(), what="the refusal")
    assert get(app).text == "version 1" and set(children(app.pid)) == before


def replace(path, content):
    """By renaming, as one should."""
    new = path.with_suffix(".new")
    new.write_bytes(content)
    new.rename(path)


@pytest.mark.parametrize(
    "check, why",
    [('return "not today";', "does not start: not today"), ("abort();", "was ended by SIGABRT"), ("_exit(3);", "with code 3")],
    ids=["refuses", "crashes", "exits"],
)  # fmt: skip
def test_hup_with_an_object_that_refuses_changes_nothing(tmp_path, serve, check, why):
    app = serve("--workers", "1", build(tmp_path, CHECKED))
    before = pids_of(app, 1)
    text = CHECKED.replace("return color[0]", check + "\n    return color[0]")
    build(tmp_path, text)
    app.send_signal(signal.SIGHUP)
    wait_for(lambda: "reload refused, the workers serve on" in app.stderr() and why in app.stderr(), what="the refusal")
    assert set(children(app.pid)) == before and get(app).text == "old"


HANGS = CHECKED.replace("const char *color", "sleep(100);\n    const char *color")


def test_term_during_a_check_that_hangs(tmp_path, serve):
    app = serve("--workers", "1", build(tmp_path, CHECKED))
    pids_of(app, 1)
    build(tmp_path, HANGS)
    app.send_signal(signal.SIGHUP)
    pids_of(app, 2)  # the worker, and the check
    begin = time.monotonic()
    app.stop()
    assert time.monotonic() - begin < 5


def test_a_check_that_hangs_is_given_up_and_workers_are_looked_after_meanwhile(tmp_path, serve):
    app = serve("--workers", "1", build(tmp_path, CHECKED))
    (worker,) = pids_of(app, 1)
    build(tmp_path, HANGS)
    app.send_signal(signal.SIGHUP)
    pids_of(app, 2)
    build(tmp_path, CHECKED)
    os.kill(worker, signal.SIGKILL)
    wait_for(lambda: "signal=SIGKILL" in app.stderr() and app.stderr().count("worker started") == 2, what="a respawn")
    assert get(app).text == "old"
    wait_for(lambda: "is not checked within 10 s" in app.stderr(), 20, what="the end of patience")
    (after,) = pids_of(app, 1)
    assert after != worker and get(app).text == "old"


def test_a_second_hup_checks_the_newest_file(tmp_path, serve):
    app = serve("--workers", "1", build(tmp_path, CHECKED))
    pids_of(app, 1)
    build(tmp_path, HANGS)
    app.send_signal(signal.SIGHUP)
    pids_of(app, 2)
    build(tmp_path, CHECKED.replace('"old"', '"new"'))
    app.send_signal(signal.SIGHUP)
    wait_for(lambda: get(app).text == "new", 5, what="new code")
    assert "refused" not in app.stderr()


def test_hup_of_a_builtin_application_replaces_its_workers(serve):
    app = serve("--workers", "1", "echo")
    first = pids_of(app, 1)
    app.send_signal(signal.SIGHUP)
    wait_for(lambda: not first & set(children(app.pid)) and len(children(app.pid)) == 1)


def test_usr2_with_a_broken_object_changes_nothing(tmp_path, serve):
    app = serve("--workers", "1", build(tmp_path, CHECKED))
    before = pids_of(app, 1)
    replace(tmp_path / "app.so", b"text")
    app.send_signal(signal.SIGUSR2)
    wait_for(lambda: "the upgraded program ended, this one goes on" in app.stderr(), what="the end of the successor")
    assert "exit_code=2" in app.stderr() and "it is not a shared object" in app.stderr()
    assert set(children(app.pid)) == before and get(app).text == "old"


# --- overwritten in place ----------------------------------------------------------------------------


@pytest.mark.parametrize("workers", ["0", "1"])
def test_an_object_that_is_overwritten_in_place_is_warned_of_once(tmp_path, serve, workers):
    path = build(tmp_path, app_of(VERSION.replace("N", "1")))
    app = serve("--workers", workers, path)
    assert get(app).text == "version 1"
    os.utime(path)  # what cp does, without pulling the code from under the process
    wait_for(lambda: "was overwritten in place" in app.stderr(), 10, what="the warning")
    assert "install objects by renaming" in app.stderr()
    os.utime(path)
    time.sleep(2.5)
    assert app.stderr().count("was overwritten in place") == 1


def test_one_that_is_replaced_by_renaming_is_not(tmp_path, serve):
    app = serve("--workers", "1", build(tmp_path, app_of(VERSION.replace("N", "1"))))
    build(tmp_path, app_of(VERSION.replace("N", "2")))
    time.sleep(2.5)
    app.send_signal(signal.SIGHUP)
    wait_for(lambda: get(app).text == "version 2")
    time.sleep(2.5)
    assert "overwritten" not in app.stderr()


# --- crashes -----------------------------------------------------------------------------------------

CRASH = """
#include <string.h>
static int crash(srv_request *rq) {
    volatile int *nowhere = NULL;
    *nowhere = 1;
    return srv_reply(rq, 200, "never");
}
static int library(srv_request *rq) {
    char *volatile nowhere = NULL;
    return srv_reply(rq, 200, "%d", (int)strlen(nowhere));
}
static int stop(srv_request *rq) { (void)rq; abort(); }
static int part(srv_request *rq, void *arg) { (void)arg; return crash(rq); }
static int parts(srv_request *rq) { return srv_join(rq, srv_start(rq, part, NULL)); }
static int late(srv_request *rq) { srv_sleep(rq, 0.2); return crash(rq); }
static int deep(srv_request *rq) {
    char room[4096];
    memset(room, 1, sizeof(room));
    return deep(rq) + room[17];
}
static int page(srv_request *rq) { srv_sleep(rq, atof(srv_arg(rq, "delay", "0"))); return srv_reply(rq, 200, "ok"); }
static int number(srv_request *rq) { return srv_reply(rq, 200, "%u", srv_worker_number(srv_worker_of(rq))); }
"""
CRASH_ROUTES = {"/": "page", "/number": "number"} | {f"/{n}": n for n in ("crash", "library", "stop", "parts", "late", "deep")}
RELEASE = os.environ.get("SRV_BIN", "").find("asan") < 0
plain_only = pytest.mark.skipif(not RELEASE, reason="sanitizers have reports of their own")


class Crashing:
    """A server of the application above, which forgives its own death reports."""

    def __init__(self, tmp_path, start, *options):
        self.object = build(tmp_path, app_of(CRASH, CRASH_ROUTES), flags=("-O1", "-Wno-infinite-recursion"))
        self.app = start("serve", *options, "--db", "", self.object)

    def ask(self, path):
        """None: the connection broke without an answer."""
        try:
            return get(self.app, path).text
        except (OSError, http.client.HTTPException, AssertionError):
            return None

    def line(self):
        return next((line for line in self.app.stderr().splitlines() if "the worker crashed" in line), None)


@plain_only
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(
    "path, signo, function",
    [("crash", "SIGSEGV", "crash+0x"), ("library", "SIGSEGV", "library+0x"), ("stop", "SIGABRT", "stop+0x"), ("parts", "SIGSEGV", "crash+0x"), ("late", "SIGSEGV", "crash+0x")],
)  # fmt: skip
def test_a_crash_names_the_object_the_function_and_the_request(tmp_path, start, model, path, signo, function):
    server = Crashing(tmp_path, start, "--model", model, "--workers", "1")
    assert server.ask("/") == "ok"
    assert server.ask(f"/{path}?a=b%20c&d=\"") is None
    wait_for(lambda: server.line() is not None and f"signal={signo}" in server.app.stderr().split("died", 1)[-1], what="a line")
    assert f"signal={signo} object={server.object} function={function}" in server.line()
    assert f'request="GET /{path}?a=b%20c&d=' in server.line()
    assert server.app.stderr().count("the worker crashed") == 1
    wait_for(lambda: server.ask("/") == "ok", what="a respawn")


@plain_only
@pytest.mark.parametrize("model", ("threaded", "pool", "green"))
def test_a_crash_costs_what_that_worker_held(tmp_path, start, model):
    server = Crashing(tmp_path, start, "--model", model, "--workers", "2")
    wait_for(lambda: {server.ask("/number") for _ in range(8)} == {"1", "2"}, what="answers of both workers")
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(server.ask("/?delay=1"))) for _ in range(16)]
    for thread in threads:
        thread.start()
    time.sleep(0.4)
    assert server.ask("/crash") is None
    for thread in threads:
        thread.join()
    assert answers.count("ok") + answers.count(None) == 16 and answers.count("ok") > 0
    wait_for(lambda: {server.ask("/number") for _ in range(8)} == {"1", "2"}, what="both workers again")
    assert server.app.stderr().count("worker died") == 1


@plain_only
def test_a_stack_that_overflows_is_still_reported(tmp_path, start):
    server = Crashing(tmp_path, start, "--model", "green", "--workers", "1")
    assert server.ask("/deep") is None
    wait_for(lambda: server.line() is not None)
    assert "fiber request overflowed its stack" in server.app.stderr() and "function=deep+0x" in server.line()


@plain_only
def test_locals_that_are_larger_than_the_stack_do_not_reach_into_another(tmp_path, start):
    """A source is compiled so that each page is touched, that of the guard included."""
    body = """
    static int page(srv_request *rq) {
        volatile char locals[300 * 1024];

        locals[0] = 'x';
        return srv_reply(rq, 200, "%c", locals[0]);
    }
    """
    (tmp_path / "app.c").write_text(app_of(body))
    app = start("serve", "--model", "green", "--workers", "1", tmp_path / "app.c")
    with pytest.raises((ConnectionError, http.client.HTTPException)):
        get(app)
    wait_for(lambda: "fiber request overflowed its stack" in app.stderr(), what="the report")


@plain_only
def test_a_worker_without_a_master_tells_too(tmp_path, start):
    server = Crashing(tmp_path, start, "--model", "pool")
    assert server.ask("/crash") is None
    assert server.app.wait() == -signal.SIGSEGV
    assert "function=crash+0x" in server.line()


@plain_only
def test_a_stripped_object_has_offsets(tmp_path, start):
    server = Crashing(tmp_path, start, "--workers", "1")
    subprocess.run(["strip", "-o", tmp_path / "stripped.so", server.object], check=True)
    server.app.stop()
    app = server.app = start("serve", "--workers", "1", tmp_path / "stripped.so")
    assert server.ask("/crash") is None
    wait_for(lambda: server.line() is not None)
    assert "function=0x" in server.line() and "stripped.so" in app.stderr()


def test_a_crash_loop_backs_off(tmp_path, serve):
    """The pauses between respawns grow: a worker that dies young costs no more than a few forks a second."""
    path = build(tmp_path, app_of('static int page(srv_request *rq) { return srv_reply(rq, 200, "ok"); }'))
    app = serve("--workers", "1", path)
    assert get(app).text == "ok"
    source = app_of('static int page(srv_request *rq) { return srv_reply(rq, 200, "%d", 0); }')
    build(tmp_path, source.replace("SRV_APP(", "static int start(srv_worker *w) { (void)w; abort(); }\nSRV_APP(.start = start, "))
    os.kill(pids_of(app, 1).pop(), signal.SIGKILL)
    time.sleep(3)
    deaths = app.stderr().count("worker died") - 1
    assert 3 <= deaths <= 7  # 0, 100, 200, 400, 800, 1600 ms


def test_a_part_that_holds_the_loop_up_is_told_with_its_request(tmp_path, serve):
    body = """
static int busy(srv_request *rq, void *arg) { (void)arg; srv_sleep(rq, 0.01); usleep(300000); return 0; }
static int page(srv_request *rq) { srv_join(rq, srv_start(rq, busy, NULL)); return srv_reply(rq, 200, "ok"); }
"""
    options = ("--workers", "1", "--loop-lag-warn", "0.2s", "--patch", "off")
    app = serve(*options, build(tmp_path, app_of(body, {"/busy": "page"})))
    assert get(app, "/busy?x=1").text == "ok"
    wait_for(lambda: 'request="GET /busy?x=1"' in app.stderr(), what="the warning")
