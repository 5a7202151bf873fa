# SPDX-License-Identifier: MIT
"""Patching: unmodified code that blocks parks its fiber under the green model (docs/patching.md)."""

import json
import re
import socket
import select
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from control import fetch, metrics
from harness import RawConnection, cpu_seconds, get, run, wait_for
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


# --- exceptions of C++ ------------------------------------------------------------------------------

THROWS = """
#include <exception>
#include <srv/app.h>
#include <stdexcept>
#include <stdlib.h>
#include <string>
#include <unistd.h>

static void rest(srv_request *rq) {
    if (WAITS_BY_SRV)
        srv_sleep(rq, atof(srv_arg(rq, "seconds", "0.1")));
    else
        usleep((useconds_t)(1e6 * atof(srv_arg(rq, "seconds", "0.1"))));
}

static int handles(srv_request *rq) {
    std::string name = srv_arg(rq, "name", "");
    try {
        try {
            throw std::runtime_error(name);
        } catch (const std::runtime_error &) {
            rest(rq);
            throw;
        }
    } catch (const std::exception &e) {
        return srv_reply(rq, 200, "%s", e.what() == name ? "own" : "another's");
    }
}

struct Guard {
    srv_request *rq;
    int *thrown;
    ~Guard() { rest(rq); *thrown = std::uncaught_exceptions(); }
};

static int throws_on(srv_request *rq) {
    int thrown = -1, before = std::uncaught_exceptions();
    try {
        Guard guard{ rq, &thrown };
        throw 1;
    } catch (int) {
        return srv_reply(rq, 200, "%s", before == 0 && thrown == 1 ? "own" : "another's");
    }
}

SRV_APP(.routes = (const srv_route[]){ { "/handles", handles }, { "/throws", throws_on }, { NULL, NULL } })
"""


@pytest.mark.parametrize(("patch", "waits_by_srv"), [("on", 0), ("off", 1)])
@pytest.mark.parametrize("path", ["/handles", "/throws"])
def test_exceptions_are_those_of_the_fiber(tmp_path, serve, patch, waits_by_srv, path):
    built = build(tmp_path, THROWS, compiler="g++", flags=(f"-DWAITS_BY_SRV={waits_by_srv}",))
    app = serve("--model", "green", "--workers", "0", "--patch", patch, built)
    with ThreadPoolExecutor(12) as pool:
        texts = pool.map(lambda i: get(app, f"{path}?name={i}&seconds={0.1 + i * 5 % 12 / 20}").text, range(12))
        assert set(texts) == {"own"}


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


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ("recv", "n=-1 why=Operation canceled"),
        ("poll", "n=-1 why=Operation canceled"),
        ("sleep", "n=0 why=nothing"),
    ],
)
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


# --- traps --------------------------------------------------------------------------------------------

FORKS = """
#include <sys/wait.h>

static int forks(srv_request *rq) {
    int ends[2];
    char said[32] = "";
    if (pipe(ends) < 0)
        return srv_reply(rq, 500, "no pipe");
    pid_t pid = fork();
    if (pid == 0) {
        usleep(200000); /* blocks this process alone: there is no loop behind it */
        dprintf(ends[1], "child slept");
        _exit(0);
    }
    close(ends[1]);
    ssize_t n = read(ends[0], said, sizeof(said) - 1);
    close(ends[0]);
    waitpid(pid, NULL, 0);
    return srv_reply(rq, 200, "%d %s", (int)n, said);
}
"""


def test_a_child_is_not_patched(handler):
    app = handler(FORKS, "--workers", "0", routes={"/": "forks"})
    texts, _ = at_once(app, 4)
    assert texts == ["11 child slept"] * 4


CHILDREN = """
#include <poll.h>
#include <sched.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static int look(void *unused) { /* 0: a child waits as libc does, and reads what it waited for */
    struct pollfd fd;
    int ends[2];
    char c = 0;
    (void)unused;
    usleep(30000);
    if (pipe(ends) < 0)
        return 1;
    fd = (struct pollfd){ .fd = ends[0], .events = POLLIN };
    if (poll(&fd, 1, 30) != 0 || write(ends[1], "x", 1) != 1)
        return 2;
    return poll(&fd, 1, -1) == 1 && read(ends[0], &c, 1) == 1 && c == 'x' ? 0 : 3;
}

static int makes_child(srv_request *rq) {
    const char *how = srv_arg(rq, "how", "");
    static _Alignas(16) char stack[65536];
    static pid_t server;
    int status = -1;
    pid_t pid;
    if (server == 0)
        server = getpid();
    if (server != getpid())
        return srv_reply(rq, 500, "a child serves requests");
    if (strcmp(how, "clone") == 0)
        pid = clone(look, stack + sizeof(stack), CLONE_VM | CLONE_VFORK | SIGCHLD, NULL);
    else if (strcmp(how, "vfork") == 0)
        pid = vfork();
    else if (strcmp(how, "_Fork") == 0)
        pid = _Fork();
    else
        pid = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
    if (pid == 0)
        _exit(look(NULL));
    if (waitpid(pid, &status, 0) != pid)
        return srv_reply(rq, 500, "no child");
    usleep(30000);
    return srv_reply(rq, 200, "%d", status);
}
"""


@pytest.mark.parametrize("how", ["vfork", "clone", "_Fork", "syscall"])
def test_no_child_runs_the_loop_of_its_parent(handler, how):
    """pthread_atfork is told of fork alone."""
    app = handler("#include <signal.h>\npid_t _Fork(void);\n" + CHILDREN, "--workers", "0", routes={"/": "makes_child"})
    texts, _ = at_once(app, 6, f"/?how={how}")
    assert texts == ["0"] * 6


RIVALS = """
#include <poll.h>
static int data[2], start[2];
static int opens(srv_worker *worker) {
    (void)worker;
    return pipe(data) + pipe(start);
}

static int first(srv_request *rq) {
    char c = 0;
    int n = (int)read(data[0], &c, 1);
    return srv_reply(rq, 200, "%d%c", n, c);
}

static int second(srv_request *rq) { /* runs between the event of the first, and that one */
    char c = 0;
    int n = (int)(read(start[0], &c, 1) + read(data[0], &c, 1));
    return srv_reply(rq, 200, "%d%c", n, c);
}

static int feeds(srv_request *rq) {
    if (srv_arg(rq, "both", NULL) != NULL && write(start[1], "s", 1) != 1)
        return srv_reply(rq, 500, "not written");
    return srv_reply(rq, 200, "%d", (int)write(data[1], srv_arg(rq, "text", "?"), 1));
}

static int counts(srv_request *rq) { return srv_reply(rq, 200, "alive"); }
"""


def test_who_comes_first_gets_it_and_the_other_waits_on(tmp_path, serve):
    text = app_of(RIVALS, {"/first": "first", "/second": "second", "/feeds": "feeds", "/": "counts"})
    text = text.replace("SRV_APP(", "SRV_APP(.start = opens, ", 1)
    app = serve("--workers", "0", "--control", "127.0.0.1:0", build(tmp_path, text))
    with ThreadPoolExecutor(2) as pool:
        first, second = (pool.submit(get, app, path) for path in ("/first", "/second"))
        wait_for(lambda: fetch(app, "/requests").text.count('"patched: read"') == 2, what="both waits")
        assert get(app, "/feeds?both=1&text=a").text == "1"
        assert second.result().text == "2a"
        assert get(app, "/").text == "alive"  # the first one looks before it reads
        assert not first.done()
        get(app, "/feeds?text=b")
        assert first.result().text == "1b"


CROWD = """
#include <poll.h>
#include <sys/socket.h>
static int ends[2], waiting;
static char junk[65536];
static int opens(srv_worker *worker) {
    (void)worker;
    return socketpair(AF_UNIX, SOCK_STREAM, 0, ends);
}

static int waits(srv_request *rq) {
    struct pollfd fd = { .fd = ends[0], .events = (short)atoi(srv_arg(rq, "events", "")) };
    waiting++;
    int n = poll(&fd, 1, atoi(srv_arg(rq, "ms", "-1")));
    waiting--;
    return srv_reply(rq, 200, "%d %d", n, fd.revents);
}

static int fills(srv_request *rq) {
    while (send(ends[0], junk, sizeof(junk), MSG_DONTWAIT) > 0)
        continue;
    return srv_reply(rq, 200, "full");
}

static int drains(srv_request *rq) {
    while (recv(ends[1], junk, sizeof(junk), MSG_DONTWAIT) > 0)
        continue;
    return srv_reply(rq, 200, "empty");
}

static int writes(srv_request *rq) { return srv_reply(rq, 200, "%d", (int)write(ends[1], "x", 1)); }
static int counts(srv_request *rq) { return srv_reply(rq, 200, "%d", waiting); }
"""


def test_many_wait_for_one_descriptor_and_each_for_its_events(tmp_path, serve):
    routes = ("waits", "fills", "drains", "writes", "counts")
    text = app_of(CROWD, {f"/{name}": name for name in routes}).replace("SRV_APP(", "SRV_APP(.start = opens, ", 1)
    app = serve("--workers", "0", build(tmp_path, text))
    readable, writable = int(select.POLLIN), int(select.POLLOUT)

    def waiting(count):
        wait_for(lambda: int(get(app, "/counts").text) == count, what=f"{count} waits")

    assert get(app, "/fills").text == "full"
    files = Path(f"/proc/{app.pid}/fd")
    before = len(list(files.iterdir()))
    with ThreadPoolExecutor(30) as pool:
        reads = [pool.submit(get, app, f"/waits?events={readable}") for _ in range(20)]
        writes = [pool.submit(get, app, f"/waits?events={writable}") for _ in range(5)]
        gives_up = [pool.submit(get, app, f"/waits?events={readable}&ms=100") for _ in range(5)]
        assert {reply.result().text for reply in gives_up} == {"0 0"}
        waiting(25)
        assert len(list(files.iterdir())) <= before + 25 + 10  # those of clients, and a few
        assert get(app, "/drains").text == "empty"
        assert {reply.result().text for reply in writes} == {f"1 {writable}"}
        waiting(20)
        get(app, "/writes")
        assert {reply.result().text for reply in reads} == {f"1 {readable}"}


LOOPS = """
#include <arpa/inet.h>
#include <errno.h>
#include <sys/socket.h>
#include <time.h>
static volatile int stopped;

static int naps(srv_request *rq) { /* the textbook's loop */
    struct timespec t = { .tv_sec = 9 };
    while (nanosleep(&t, &t) < 0 && errno == EINTR)
        continue;
    return srv_reply(rq, 200, "awake");
}
static int connects(srv_request *rq) {
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(1), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    while (!stopped && connect(fd, (struct sockaddr *)&at, sizeof(at)) < 0)
        sleep(1);
    close(fd);
    return srv_reply(rq, 200, "connected");
}
static int stop(srv_request *rq) { stopped = 1; return srv_reply(rq, 200, "stopped"); }
"""
LOOP_ROUTES = {"/naps": "naps", "/connects": "connects", "/stop": "stop"}


def test_a_loop_over_a_sleep_that_was_cut_short_ends(handler):
    app = handler(LOOPS, "--workers", "0", "--request-timeout", "0.5s", routes=LOOP_ROUTES)
    begin = time.monotonic()
    assert get(app, "/naps").status == 504
    assert time.monotonic() - begin < 4


def test_a_loop_that_never_ends_is_slowed_and_named(handler):
    app = handler(LOOPS, "--workers", "0", "--request-timeout", "0.5s", routes=LOOP_ROUTES)
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(get, app, "/connects?to=nobody")
        wait_for(lambda: "goes on waiting though its request is over" in app.stderr(), what="the warning")
        before = cpu_seconds(app.pid)
        time.sleep(0.5)  # it tries again and again meanwhile
        assert cpu_seconds(app.pid) - before < 0.3
        assert get(app, "/stop").text == "stopped"
        assert asked.result().status == 504
    assert app.stderr().count('call=sleep request="GET /connects?to=nobody"') == 1


SHARES = """
#include <errno.h>
#include <poll.h>
#include <sys/socket.h>

struct receiver { int fd; char got; ssize_t n; int error; };
static int receive(srv_request *rq, void *arg) {
    struct receiver *r = arg;
    (void)rq;
    r->n = recv(r->fd, &r->got, 1, 0);
    r->error = r->n < 0 ? errno : 0;
    return 0;
}
static int both(srv_request *rq) { /* two wait for one descriptor */
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) < 0)
        return srv_reply(rq, 500, "no sockets");
    struct receiver a = { ends[0], 0, 0, 0 }, b = { ends[0], 0, 0, 0 };
    srv_task *first = srv_start(rq, receive, &a), *second = srv_start(rq, receive, &b);
    usleep(50000);
    if (write(ends[1], "x", 1) != 1)
        return srv_reply(rq, 500, "not written");
    usleep(50000);
    if (write(ends[1], "y", 1) != 1)
        return srv_reply(rq, 500, "not written");
    srv_join(rq, first);
    srv_join(rq, second);
    close(ends[0]);
    close(ends[1]);
    return srv_reply(rq, 200, "%d %d %d", (int)a.n, (int)b.n, a.got + b.got == 'x' + 'y');
}
static int closes(srv_request *rq) { /* under the fiber that waits for it */
    int ends[2], again[2];
    char got = 0;
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) < 0)
        return srv_reply(rq, 500, "no sockets");
    struct receiver a = { ends[0], 0, 0, 0 };
    srv_task *first = srv_start(rq, receive, &a);
    usleep(50000);
    close(ends[0]);
    if (srv_arg(rq, "again", NULL) != NULL) { /* another socket has its number */
        if (socketpair(AF_UNIX, SOCK_STREAM, 0, again) < 0 || again[0] != ends[0])
            return srv_reply(rq, 500, "another number");
        struct receiver b = { again[0], 0, 0, 0 };
        srv_task *second = srv_start(rq, receive, &b);
        usleep(50000);
        if (write(again[1], "zz", 2) != 2)
            return srv_reply(rq, 500, "not written");
        srv_join(rq, second);
        got = b.got;
        close(again[0]);
    }
    srv_join(rq, first);
    return srv_reply(rq, 200, "%d %s %c", (int)a.n, a.error == EBADF ? "EBADF" : "-", got ? got : '-');
}
"""
SHARE_ROUTES = {"/both": "both", "/closes": "closes"}


def test_two_fibers_may_wait_for_one_descriptor(handler):
    app = handler(SHARES, "--workers", "0", "--request-timeout", "9s", routes=SHARE_ROUTES)
    assert get(app, "/both").text == "1 1 1"


@pytest.mark.parametrize(("query", "said"), [("", "-1 EBADF -"), ("?again=1", "-1 EBADF z")])
def test_a_descriptor_that_is_closed_ends_the_wait_for_it(handler, query, said):
    app = handler(SHARES, "--workers", "0", "--request-timeout", "9s", routes=SHARE_ROUTES)
    assert get(app, "/closes" + query).text == said
    assert get(app, "/closes" + query).text == said


PRELOADED = """
#include <poll.h>
#include <stdio.h>
#include <unistd.h>
#ifdef STANDS_BEHIND
int poll(struct pollfd *fds, nfds_t count, int timeout) {
    static int told;
    struct timespec span = { timeout / 1000, timeout % 1000 * 1000000L };
    if (!told++ && write(2, "preloaded\\n", 10) != 10)
        _exit(9);
    return ppoll(fds, count, timeout < 0 ? NULL : &span, NULL);
}
#else
__attribute__((constructor)) static void early(void) {
    struct pollfd fd = { .fd = 0 };
    if (poll(&fd, 1, 0) < 0 || write(2, "early\\n", 6) != 6 || usleep(1) < 0)
        _exit(9);
}
#endif
"""


def preloaded(tmp_path, *flags):
    library = build(tmp_path, PRELOADED, "preloaded.so", flags=flags)
    return {"LD_PRELOAD": library, "ASAN_OPTIONS": "verify_asan_link_order=0:detect_leaks=0"}


def test_calls_before_any_constructor_are_libcs(tmp_path):
    done = run("--version", env=preloaded(tmp_path))
    assert (done.returncode, done.stderr) == (0, "early\n")


def test_what_is_preloaded_stands_behind_srv(tmp_path, serve):
    env = preloaded(tmp_path, "-DSTANDS_BEHIND")
    app = serve("--workers", "0", "--patch", "on", build(tmp_path, app_of(POLLS)), env=env)
    texts, took = at_once(app, 8)
    assert texts == ["0"] * 8
    assert took < 1.5
    assert "preloaded\n" in app.stderr()


RECEIVES = """
#include <arpa/inet.h>
#include <sys/socket.h>

static int page(srv_request *rq) {
    int port = atoi(srv_arg(rq, "port", "0")), fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in at = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)
    };
    ssize_t n = connect(fd, (struct sockaddr *)&at, sizeof(at)) < 0 ? -1 : read(fd, (char[8]){ 0 }, 8);
    close(fd);
    return srv_reply(rq, 200, "%d", (int)n);
}
"""


def test_the_peer_of_a_wait_is_listed(handler):
    app = handler(RECEIVES, "--workers", "0", "--control", "127.0.0.1:0")
    with socket.create_server(("127.0.0.1", 0)) as peer, ThreadPoolExecutor(1) as pool:
        port = peer.getsockname()[1]
        asked = pool.submit(get, app, f"/?port={port}")
        connection, _ = peer.accept()
        with connection:
            wait_for(lambda: '"patched: read"' in fetch(app, "/requests").text, what="the wait")
            [entry] = json.loads(fetch(app, "/requests").text)
            assert entry["peer"] == f"127.0.0.1:{port}"
            connection.sendall(b"abc")
        assert asked.result().text == "3"


# --- what a thread keeps, all its requests share -------------------------------------------------------

KEEPS = """
#include <pthread.h>

static __thread int mine;
static pthread_key_t key;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void make_key(void) { pthread_key_create(&key, NULL); }

static int page(srv_request *rq) {
    int own = atoi(srv_arg(rq, "id", "0"));

    pthread_once(&once, make_key);
    mine = own;
    pthread_setspecific(key, (void *)(intptr_t)own);
    usleep(200000);
    return srv_reply(rq, 200, "%d %d %d", own, mine, (int)(intptr_t)pthread_getspecific(key));
}
"""


@pytest.mark.parametrize(("model", "shared"), [("green", True), ("pool", False)])
def test_what_a_thread_keeps_is_not_the_requests(handler, model, shared):
    """The manual warns of it: after a wait, both kinds of thread-local variables may be another request's."""
    threads = ("--threads", "5") if model == "pool" else ()
    app = handler("#include <stdint.h>\n" + KEEPS, "--model", model, "--workers", "0", *threads)
    with ThreadPoolExecutor(5) as pool:
        texts = [reply.text.split() for reply in pool.map(lambda i: get(app, f"/?id={i}"), range(1, 6))]
    assert all(variable == specific for _, variable, specific in texts)
    last = {variable for _, variable, _ in texts}
    assert (len(last) == 1) if shared else all(own == variable for own, variable, _ in texts)
    manual = (HERE.parents[1] / "docs/patching.md").read_text()
    assert "`thread_local` variables and `pthread_getspecific` may hold what another request has put there" in manual
