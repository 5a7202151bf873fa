# SPDX-License-Identifier: MIT
"""Patching: unmodified code that blocks parks its fiber under the green model (docs/patching.md)."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from harness import children, get, wait_for
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
