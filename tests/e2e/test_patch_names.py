# SPDX-License-Identifier: MIT
"""Look-ups of names by applications that know of no fibers, with a name server that takes its time."""

import re
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from harness import get, srv_binary, wait_for
from test_handlers import app_of, build

# Stands between srv and libc: every name is 127.0.0.1, after 0.3 s.
SLOW = """
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <netdb.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static void take_time(void) {
    const struct timespec t = { 0, 300000000 };

    syscall(SYS_nanosleep, &t, NULL);
}

int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints, struct addrinfo **ret) {
    int (*next)(const char *, const char *, const struct addrinfo *, struct addrinfo **);
    struct addrinfo numeric = hints != NULL ? *hints : (struct addrinfo){ 0 };

    next = dlsym(RTLD_NEXT, "getaddrinfo");
    if (name == NULL || strstr(name, ".test") == NULL)
        return next(name, service, hints, ret);
    take_time();
    if (strncmp(name, "no", 2) == 0)
        return EAI_NONAME;
    return next("127.0.0.1", service, &numeric, ret);
}

int getnameinfo(const struct sockaddr *address, socklen_t len, char *host, socklen_t host_bytes, char *service,
                socklen_t service_bytes, int flags) {
    take_time();
    if (service != NULL && service_bytes > 0)
        strcpy(service, "x");
    if (host_bytes < 9)
        return EAI_OVERFLOW;
    strcpy(host, address->sa_family == AF_INET && len >= 8 && flags >= 0 ? "one.test" : "?");
    return 0;
}

static int fill(struct hostent *h, int family, char *data, size_t bytes, struct hostent **ret, int *error) {
    char **lists = (char **)(((uintptr_t)data + 7) / 8 * 8); /* as libc lays it out */

    take_time();
    *ret = NULL;
    *error = 0;
    if (bytes < 3000)
        return ERANGE;
    lists[0] = NULL;
    lists[1] = data + 100;
    lists[2] = NULL;
    inet_pton(AF_INET, "127.0.0.1", data + 100);
    strcpy(data + 2900, "one.test");
    *h = (struct hostent){ data + 2900, lists, family, 4, lists + 1 };
    *ret = h;
    return 0;
}

int gethostbyname2_r(const char *name, int family, struct hostent *h, char *data, size_t bytes, struct hostent **ret,
                     int *error) {
    if (strncmp(name, "no", 2) != 0)
        return fill(h, family, data, bytes, ret, error);
    take_time();
    *ret = NULL;
    *error = HOST_NOT_FOUND;
    return 0;
}

int gethostbyaddr_r(const void *address, socklen_t len, int family, struct hostent *h, char *data, size_t bytes,
                    struct hostent **ret, int *error) {
    (void)address;
    (void)len;
    return fill(h, family, data, bytes, ret, error);
}
"""

ASKS = """
#include <arpa/inet.h>
#include <netdb.h>
#include <time.h>

static const char *text_of(const struct hostent *h, char *text) {
    if (h == NULL)
        return hstrerror(h_errno);
    inet_ntop(AF_INET, h->h_addr_list[0], text, 64);
    return strcat(strcat(text, " "), h->h_name);
}

static int page(srv_request *rq) {
    const char *name = srv_arg(rq, "name", "one.test");
    int call = atoi(srv_arg(rq, "call", "0")), error = 0, rc;
    struct addrinfo hints = { .ai_family = AF_INET, .ai_socktype = SOCK_STREAM }, *list = NULL;
    struct sockaddr_in one = { .sin_family = AF_INET };
    struct hostent host, *found = NULL;
    char text[100] = "", service[100] = "", data[4096];

    errno = 0;
    switch (call) {
    case 0:
        rc = getaddrinfo(name, "80", &hints, &list);
        if (rc != 0)
            return srv_reply(rq, 200, "%s", gai_strerror(rc));
        inet_ntop(AF_INET, &((struct sockaddr_in *)(void *)list->ai_addr)->sin_addr, text, sizeof(text));
        freeaddrinfo(list);
        return srv_reply(rq, 200, "%s %d", text, errno);
    case 1:
        rc = getnameinfo((struct sockaddr *)&one, sizeof(one), text, sizeof(text), service, sizeof(service), 0);
        return srv_reply(rq, 200, "%d %s %s", rc, text, service);
    case 2:
        rc = getnameinfo((struct sockaddr *)&one, sizeof(one), text, 5, NULL, 0, 0);
        return srv_reply(rq, 200, "%d", rc == EAI_OVERFLOW);
    case 3:
        return srv_reply(rq, 200, "%s", text_of(gethostbyname(name), text));
    case 4:
        return srv_reply(rq, 200, "%s", text_of(gethostbyname2(name, AF_INET), text));
    case 5:
        return srv_reply(rq, 200, "%s", text_of(gethostbyaddr(&one.sin_addr, 4, AF_INET), text));
    case 6:
        rc = gethostbyname_r(name, &host, data, sizeof(data), &found, &error);
        break;
    case 7:
        rc = gethostbyname_r(name, &host, data, 100, &found, &error);
        break;
    case 8:
        rc = gethostbyname2_r(name, AF_INET, &host, data + 1, sizeof(data) - 1, &found, &error);
        break;
    default:
        rc = gethostbyaddr_r(&one.sin_addr, 4, AF_INET, &host, data, sizeof(data), &found, &error);
    }
    if (found != NULL && (found->h_name < data || found->h_name > data + sizeof(data)))
        return srv_reply(rq, 500, "not in my memory");
    h_errno = error;
    return srv_reply(rq, 200, "%d %s", rc, text_of(found, text));
}

static double now(void) {
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int ticker(srv_request *rq) {
    double begin = now(), last = begin, longest = 0;

    while (last - begin < 0.6) {
        usleep(5000);
        longest = now() - last > longest ? now() - last : longest;
        last = now();
    }
    return srv_reply(rq, 200, "%.3f", longest);
}
"""
FOUND = "127.0.0.1 one.test"


@pytest.fixture
def app(tmp_path, serve):
    return start(tmp_path, serve)


def start(tmp_path, serve, *options):
    source, slow = tmp_path / "slow.c", tmp_path / "slow.so"
    source.write_text(SLOW)
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", slow, source], check=True)
    # The sanitizer's runtime, where there is one, comes first, and finds what comes next.
    libraries = subprocess.run(["ldd", srv_binary()], capture_output=True, text=True, check=True).stdout
    env = {"LD_PRELOAD": " ".join([*re.findall(r"=> (\S*/libasan\S*)", libraries), str(slow)])}
    routes = {"/": "page", "/ticker": "ticker"}
    return serve("--model", "green", "--workers", "0", *options, build(tmp_path, app_of(ASKS, routes)), env=env)


CALLS = [
    ("call=0", "127.0.0.1 0"),
    ("call=0&name=no.test", "Name or service not known"),
    ("call=1", "0 one.test x"),
    ("call=2", "1"),
    ("call=3", FOUND),
    ("call=3&name=no.test", "Unknown host"),
    ("call=4", FOUND),
    ("call=5", FOUND),
    ("call=6", f"0 {FOUND}"),
    ("call=6&name=no.test", "0 Unknown host"),
    ("call=7", "34 Resolver Error 0 (no error)"),
    ("call=8", f"0 {FOUND}"),
    ("call=9", f"0 {FOUND}"),
]


def test_every_call_has_its_result_and_all_wait_at_once(app):
    begin = time.monotonic()
    with ThreadPoolExecutor(len(CALLS)) as pool:
        texts = list(pool.map(lambda call: get(app, f"/?{call[0]}").text, CALLS))
    assert texts == [text for _, text in CALLS]
    assert time.monotonic() - begin < 2.5  # 4 s in a row; those that need more memory are asked three times


def test_other_fibers_run_during_a_look_up(app):
    gaps = []
    while not gaps or (min(gaps) >= 0.05 and len(gaps) < 5):
        with ThreadPoolExecutor(2) as pool:
            ticker = pool.submit(get, app, "/ticker")
            assert pool.submit(get, app, "/?call=3").result().text == FOUND
            gaps.append(float(ticker.result().text))
    assert min(gaps) < 0.05, gaps


def test_a_hundred_look_ups_take_64_threads_at_most(app):
    def threads():
        return len(list(Path(f"/proc/{app.pid}/task").iterdir()))

    get(app, "/?name=127.0.0.1")
    before, most = threads(), 0
    begin = time.monotonic()
    with ThreadPoolExecutor(100) as pool:
        replies = [pool.submit(get, app, "/") for _ in range(100)]
        while not all(reply.done() for reply in replies):
            most = max(most, threads())
            time.sleep(0.01)
    assert [reply.result().text for reply in replies] == ["127.0.0.1 0"] * 100
    assert time.monotonic() - begin < 10  # 30 s in a row
    assert 1 < most - before <= 64


def test_a_request_that_ends_during_its_look_up_leaves_nothing_behind(tmp_path, serve):
    app = start(tmp_path, serve, "--request-timeout", "0.1s")
    for call in (0, 1, 3, 6, 9):
        begin = time.monotonic()
        assert get(app, f"/?call={call}").status == 504
        assert time.monotonic() - begin < 0.3
    wait_for(lambda: len(list(Path(f"/proc/{app.pid}/task").iterdir())) == 1, what="the end of all threads")
    assert get(app, "/?name=127.0.0.1").text == "127.0.0.1 0"
