# SPDX-License-Identifier: MIT
"""Patching: unmodified code that blocks parks its fiber under the green model (docs/patching.md)."""

import re
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from control import fetch, metrics
from harness import RawConnection, free_port, get, run, wait_for
from test_handlers import app_of, build

SLEEPS = """
static int page(srv_request *rq) {
    usleep(300000);
    return srv_reply(rq, 200, "slept");
}
"""
POLLS = """
#include <poll.h>
#include <sys/socket.h>

static int page(srv_request *rq) {
    int ends[2], rc;
    struct pollfd fd;

    if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) < 0)
        return srv_reply(rq, 500, "no sockets");
    fd = (struct pollfd){ .fd = ends[0], .events = POLLIN };
    rc = poll(&fd, 1, 300);
    close(ends[0]);
    close(ends[1]);
    return srv_reply(rq, 200, "%d", rc);
}
"""


@pytest.fixture
def handler(tmp_path, serve):
    """handler(BODY, *OPTIONS, routes=None) -> a server of that application."""

    def start(body, *options, routes=None, **more):
        return serve(*options, build(tmp_path, app_of(body, routes)), **more)

    return start


def at_once(app, count, path="/"):
    """The texts of so many requests at once, and the time that all of them took."""
    begin = time.monotonic()
    with ThreadPoolExecutor(count) as pool:
        texts = [reply.text for reply in pool.map(lambda _: get(app, path), range(count))]
    return texts, time.monotonic() - begin


@pytest.mark.parametrize(("body", "text"), [(SLEEPS, "slept"), (POLLS, "0")])
def test_waits_of_handlers_overlap_on_one_thread(handler, body, text):
    app = handler(body, "--model", "green", "--workers", "0")
    texts, took = at_once(app, 8)
    assert texts == [text] * 8
    assert 0.3 <= took < 1.5  # 2.4 s in a row


def test_off_leaves_libc_alone(handler):
    app = handler(SLEEPS, "--model", "green", "--workers", "0", "--patch", "off")
    _, took = at_once(app, 4)
    assert took >= 1.2


# --- what parks, and what blocks ----------------------------------------------------------------------

HERE = Path(__file__).parent
TICKS = (HERE / "patch_ticks.c").read_text()
BLOCKS = ("fgets", "syscall", "splice", "system", "popen", "sigtimedwait")
PARKS = [name for name in re.findall(r'\{ "([a-z-]+)", wait_', TICKS) if name not in BLOCKS]


@pytest.fixture(scope="module")
def ticks(tmp_path_factory):
    return build(tmp_path_factory.mktemp("ticks"), TICKS, flags=("-I", HERE))


def ticking(app, name):
    """What a ticker beside that wait saw: its longest pause, the wait's result, time and CPU time, in ms."""
    reply = get(app, f"/{name}")
    assert reply.status == 200, app.stderr()
    return [int(figure) for figure in reply.text.split()]


@pytest.mark.parametrize("name", PARKS)
def test_what_parks_lets_others_run(serve, ticks, name):
    app = serve("--workers", "0", ticks)
    tries = [ticking(app, name) for _ in range(2)]
    while min(tries)[0] >= 50 and len(tries) < 8:  # a busy machine stops the ticks, too
        tries.append(ticking(app, name))
    gap, rc, took, cpu = min(tries)
    assert gap < 50, tries
    assert rc > 0
    assert took >= 290
    assert min(row[3] for row in tries) < 150, "it spins"


@pytest.mark.parametrize("name", BLOCKS)
def test_what_blocks_is_in_the_manual(serve, ticks, name):
    app = serve("--workers", "0", ticks)
    gap, rc, _, _ = ticking(app, name)
    assert gap >= 250
    assert rc > 0
    assert f"`{name}" in (HERE.parents[1] / "docs" / "patching.md").read_text()


# --- deadlines and clients that left ------------------------------------------------------------------

HANGS = """
#include <poll.h>
#include <sys/socket.h>

static int hang(srv_request *rq) {
    int ends[2];
    ssize_t n;
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) < 0)
        return srv_reply(rq, 500, "no sockets");
    if (srv_arg(rq, "sleep", NULL) != NULL)
        n = sleep(9);
    else if (srv_arg(rq, "poll", NULL) != NULL)
        n = poll(&(struct pollfd){ .fd = ends[0], .events = POLLIN }, 1, -1);
    else
        n = recv(ends[0], (char[8]){ 0 }, 8, 0);
    const char *why = n < 0 ? strerror(errno) : "nothing";
    close(ends[0]);
    close(ends[1]);
    srv_log(rq, 'w', "ended n=%d why=%s", (int)n, why);
    return srv_reply(rq, 200, "recv says %s", why);
}
static int quick(srv_request *rq) { return srv_reply(rq, 200, "quick"); }
"""
HANG_ROUTES = {"/hang": "hang", "/quick": "quick"}


@pytest.mark.parametrize(("call", "said"), [("recv", "n=-1 why=Operation canceled"), ("poll", "n=-1 why=Operation canceled"), ("sleep", "n=0 why=nothing")])
def test_a_deadline_ends_the_call_and_decides_the_answer(handler, call, said):
    app = handler(HANGS, "--workers", "0", "--request-timeout", "0.7s", routes=HANG_ROUTES)
    begin = time.monotonic()
    reply = get(app, f"/hang?{call}=1")
    took = time.monotonic() - begin
    assert (reply.status, reply.text) == (504, "the request took too long\n")
    assert 0.7 <= took < 3
    assert said in app.stderr()
    assert get(app, "/quick").text == "quick"


@pytest.mark.parametrize("call", ["recv", "poll", "sleep"])
def test_a_client_that_leaves_frees_its_slot(handler, tmp_path, call):
    log = tmp_path / "access.log"
    app = handler(HANGS, "--workers", "0", "--async-cores", "1", "--access-logfile", str(log), routes=HANG_ROUTES)
    with RawConnection(app) as client:
        client.send(f"GET /hang?{call}=1 HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        time.sleep(0.2)  # it hangs by now; if not, it is never begun
        client.reset()
    begin = time.monotonic()
    assert get(app, "/quick").text == "quick"
    assert time.monotonic() - begin < 3
    wait_for(lambda: f"/hang?{call}=1" in log.read_text() and " 499 " in log.read_text(), what="499 in the log")


def test_a_wait_is_listed_and_counted(handler):
    app = handler(HANGS, "--workers", "0", "--control", "127.0.0.1:0", "--request-timeout", "2s", routes=HANG_ROUTES)
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(get, app, "/hang")
        wait_for(lambda: '"patched: recv"' in fetch(app, "/requests").text, what="the wait")
        assert asked.result().status == 504
    counted = metrics(app)
    assert counted["srv_patched_waits_total"] >= 1
    assert counted["srv_patch_refused_total"] == 1
