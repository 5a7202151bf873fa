# SPDX-License-Identifier: MIT
"""Locks, condition variables, semaphores, threads, children and locked files of applications that know of no fibers."""

import contextlib
import http.client
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from control import fetch
from harness import get, wait_for
from test_handlers import build

HERE = Path(__file__).parent
GAP = 0.05  # seconds that a ticker of 5 ms may be behind

# What happens in each scene, and how many are inside at most: of patch_lock.c, and of patch_wait.c.
LOCKS = {
    "hold": ("01234", 1),
    "recursive": ("01234", 1),
    "c11": ("1", 1),
    "errors": ("foreign=1 try=1 timed=1 in_time=1 clock=1 bad=1 again=1 unlock=0 twice=1", 0),
    "trylock": ("got", 0),
    "thread": ("waited=1", 0),
    "waiting-thread": ("after=1", 0),
    "robust": ("dead=1 consistent=0 unlock=0 lock=0 ", 0),
    "rwlock": ("try=1 timed=1 try=1 alone=1 again=1 alone=1 again=1 ", 3),
    "spin": ("012", 1),
    "once": ("222", 0),
}
WAITS = {
    "exchange": ("012", 0),
    "exchange-c11": ("timed=1 got", 0),
    "from-thread": ("taken=1", 0),
    "to-thread": ("taken=1", 0),
    "storm": ("taken=8000", 0),
    "timed": ("real=1 clock=1 monotonic=1 in_time=1 past=1 bad=1 not_mine=1", 0),
    "semaphores": ("timed=1 clock=1 bad=1 thread=0 errno=77 fiber=0", 0),
    "signals": ("got", 0),
    "semaphore-storm": ("taken=4000", 0),
    "joins": ("timed=1 join=0 ret=1 c11=1 self=1", 0),
    "children": ("pid=1 code=3 id=0 two=1 status=4 first=1 any=1 sum=11 none=1", 0),
    "shared": ("sem=0 cond child=1", 0),
    "files": ("012", 1),
    "open-files": ("000", 1),
    "child-files": ("test=1 lock=0 test=1 lock=0 ", 0),
}
ANY_ORDER = ("rwlock", "spin", "exchange", "files")


@pytest.fixture
def start_app(tmp_path, serve):
    def start(source, *options, model="green"):
        built = build(tmp_path, (HERE / source).read_text(), flags=("-I", str(HERE)))
        return serve("--model", model, "--workers", "0", *options, built)

    return start


def play(app, name, query=""):
    reply = get(app, f"/scene/{name}{query}")
    assert reply.status == 200, (reply.text, app.stderr())
    said, most, gap = reply.text.split("|")
    return said, int(most), float(gap)


@pytest.mark.parametrize("name", [*LOCKS, *WAITS])
def test_scenes(start_app, name):
    """A machine that is busy holds the ticker up, too: one time of several will do."""
    gaps = []
    while not gaps or (min(gaps) >= GAP and len(gaps) < 5):
        expected, inside = LOCKS[name] if name in LOCKS else WAITS[name]
        app = start_app("patch_lock.c" if name in LOCKS else "patch_wait.c")
        said, most, gap = play(app, name)
        if name in ANY_ORDER:
            said, expected = sorted(said), sorted(expected)
        assert (said, most) == (expected, inside)
        gaps.append(gap)
        app.stop()
    assert min(gaps) < GAP, gaps


@pytest.mark.parametrize("name", ["thread", "waiting-thread", "from-thread", "to-thread", "timed", "joins", "children",
                                  "shared", "child-files"])  # fmt: skip
def test_libc_itself_says_the_same(start_app, name):
    """The scenes of one part: a thread plays them, and nothing is patched."""
    app = start_app("patch_lock.c" if name in LOCKS else "patch_wait.c", model="pool")
    assert play(app, name)[:2] == (LOCKS[name] if name in LOCKS else WAITS[name])


def timed(app, path):
    begin = time.monotonic()
    reply = get(app, path)
    return reply.status, time.monotonic() - begin


def ask_aside(app, path):
    """A request that waits, on a thread; its answer, if there is one, is of no interest."""

    def ask():
        with contextlib.suppress(OSError, http.client.HTTPException):
            get(app, path)

    thread = threading.Thread(target=ask)
    thread.start()
    return thread


def assert_locks_work(app):
    assert play(app, "hold")[:2] == LOCKS["hold"]


def test_the_end_of_a_request_ends_its_waits_for_locks_by_way_of_who_holds_them(start_app):
    app = start_app("patch_lock.c")
    status, took = timed(app, "/scene/late?deadline=0.5")
    assert status == 504
    assert took < 3
    assert_locks_work(app)


def test_a_wait_for_a_condition_that_never_comes_is_told_and_slowed(start_app):
    app = start_app("patch_wait.c")
    status, took = timed(app, "/scene/vain?deadline=0.5")
    assert status == 504
    assert took < 4
    assert app.stderr().count("each further wait takes longer call=pthread_cond_wait") == 1


def test_a_lock_that_a_handler_has_left_behind_is_told_and_does_not_hang_others_for_ever(start_app):
    app = start_app("patch_lock.c", "--request-timeout", "0.5s")
    assert get(app, "/leave").text == "locked"
    assert app.stderr().count('has ended without unlocking what it had locked request="GET /leave"') == 1
    status, took = timed(app, "/both")
    assert status == 504
    assert 0.4 <= took < 3
    assert "waited in vain for a lock that an earlier request has locked" in app.stderr()
    status, took = timed(app, "/both")
    assert status == 200
    assert took < 0.4


def test_another_request_may_unlock_what_one_has_left_locked(start_app):
    app = start_app("patch_lock.c", "--request-timeout", "2s")
    assert get(app, "/leave").status == 200
    waits = ask_aside(app, "/both")
    assert get(app, "/unlock").text == "0"
    waits.join(timeout=10)
    assert timed(app, "/both")[0] == 200


def test_a_handler_that_locks_twice_hangs_no_longer_than_its_request(start_app):
    app = start_app("patch_lock.c", "--request-timeout", "0.5s")
    assert timed(app, "/twice")[0] == 504
    assert "for a lock that itself has locked" in app.stderr()
    assert_locks_work(app)


def test_a_child_that_never_ends_and_a_deadline(start_app):
    app = start_app("patch_wait.c", "--request-timeout", "0.5s")
    status, took = timed(app, "/child")
    assert status == 504
    assert took < 3


def test_a_worker_stops_though_a_request_waits_for_a_lock_that_nobody_unlocks(start_app):
    app = start_app("patch_lock.c", "--control", "127.0.0.1:0", "--graceful-timeout", "0.5")
    assert get(app, "/leave").status == 200
    waits = ask_aside(app, "/both")
    wait_for(lambda: "pthread_mutex_lock" in fetch(app, "/requests").text, what="a request that waits for the lock")
    app.stop()
    waits.join(timeout=10)


CXX = """
#include <srv/app.h>
#include <atomic>
#include <mutex>
#include <stdexcept>
#include <unistd.h>

static int made, tries;

struct slow {
    slow() { usleep(100000); made++; }
};

static int initializes(srv_request *rq) {
    static slow only;
    (void)only;
    return srv_reply(rq, 200, "%d", made);
}

static std::once_flag once;

static void connect() {
    usleep(50000);
    if (tries++ == 0)
        throw std::runtime_error("not yet");
}

static int calls_once(srv_request *rq) {
    try {
        std::call_once(once, connect);
    } catch (std::runtime_error &) {
        return srv_reply(rq, 200, "caught");
    }
    return srv_reply(rq, 200, "%d tries", tries);
}

static std::atomic<int> flag;

static int waits(srv_request *rq) {
    flag.wait(0);
    return srv_reply(rq, 200, "woken");
}

static int notifies(srv_request *rq) {
    flag = 1;
    flag.notify_all();
    return srv_reply(rq, 200, "notified");
}

static const srv_route routes[] = {
    { "/static", initializes }, { "/once", calls_once }, { "/wait", waits }, { "/notify", notifies }, { nullptr, nullptr },
};

SRV_APP(.routes = routes)
"""


@pytest.fixture
def cxx(tmp_path, serve):
    return serve("--model", "green", "--workers", "0", build(tmp_path, CXX, compiler="g++"))


def all_of(app, *paths):
    with ThreadPoolExecutor(len(paths)) as pool:
        return [reply.text for reply in pool.map(lambda path: get(app, path), paths)]


def test_fibers_wait_for_the_initialization_of_a_static_variable(cxx):
    """libstdc++ ends a process that it takes for one of a single thread."""
    assert all_of(cxx, *["/static"] * 4) == ["1"] * 4


def test_call_once_may_wait_and_throw(cxx):
    assert sorted(all_of(cxx, *["/once"] * 4)) == ["2 tries"] * 3 + ["caught"]


def test_atomics_that_wait_let_others_run(cxx):
    with ThreadPoolExecutor(2) as pool:
        waits = [pool.submit(get, cxx, "/wait") for _ in range(2)]
        assert get(cxx, "/static").text == "1"
        assert not any(wait.done() for wait in waits)
        assert get(cxx, "/notify").text == "notified"
        assert [wait.result().text for wait in waits] == ["woken"] * 2
