# SPDX-License-Identifier: MIT
"""What outlives requests: tasks of a worker in the background, and locks that requests share."""

import os
import re
import threading
import time

import pytest
from harness import children, get, wait_for
from test_handlers import app_of, build

MODELS = ("single", "threaded", "pool", "green")


def starting(body, start):
    """The source of an application with that body of its `start`."""
    text = app_of(body)
    return text.replace("SRV_APP(", f"static int start(srv_worker *w) {{ {start} }}\nSRV_APP(.start = start, ")


# --- tasks -------------------------------------------------------------------------------------------

REFRESH = """
#include <stdatomic.h>
static atomic_int turns, failures;
static int refresh(srv_request *rq, void *arg) {
    do {
        const srv_response *r = srv_get(rq, "?delay=%s", (const char *)arg);
        if (r->error < 0)
            failures++;
        turns++;
        if (srv_error(rq) < 0 && strcmp(arg, "0") != 0)
            fprintf(stderr, "interrupted %d\\n", srv_error(rq));
    } while (srv_again(rq, 0.05));
    fprintf(stderr, "task ends %d\\n", srv_error(rq));
    return 0;
}
static int page(srv_request *rq) { return srv_reply(rq, 200, "%d %d", turns, failures); }
"""


@pytest.mark.parametrize("workers", ["0", "1"])
@pytest.mark.parametrize("model", MODELS)
def test_a_task_runs_beside_requests_until_the_worker_stops(tmp_path, serve, slowapi, model, workers):
    path = build(tmp_path, starting(REFRESH, 'return srv_background(w, refresh, "0");'))
    app = serve("--model", model, "--workers", workers, path, upstream=slowapi())
    wait_for(lambda: int(get(app).text.split()[0]) >= 5, what="five turns")
    assert get(app).text.endswith(" 0")
    app.stop()
    assert app.stderr().count("task ends -125\n") == 1 and "background task failed" not in app.stderr()


@pytest.mark.parametrize("model", MODELS)
def test_failures_of_a_turn_are_forgotten(tmp_path, serve, model):
    path = build(tmp_path, starting(REFRESH, 'return srv_background(w, refresh, "0");'))
    app = serve("--model", model, path, upstream="http://127.0.0.1:1/")
    wait_for(lambda: int(get(app).text.split()[1]) >= 3, what="three failures")


@pytest.mark.parametrize("model", MODELS)
def test_a_stop_interrupts_what_a_task_waits_for(tmp_path, serve, slowapi, model):
    api = slowapi()
    app = serve("--model", model, build(tmp_path, starting(REFRESH, 'return srv_background(w, refresh, "30");')), upstream=api)
    assert get(app).text == "0 0"
    time.sleep(0.3)
    begin = time.monotonic()
    app.stop()
    assert time.monotonic() - begin < 5
    assert "interrupted -125\n" in app.stderr()


@pytest.mark.parametrize("model", MODELS)
def test_a_request_of_no_client(tmp_path, serve, model):
    body = """
static int part(srv_request *rq, void *arg) { (void)arg; return srv_sleep(rq, 0.01); }
static int task(srv_request *rq, void *arg) {
    (void)arg;
    size_t len = 7;
    srv_body(rq, &len);
    fprintf(stderr, "[%s%s%s%s%s%s%s%s%s]", srv_method(rq), srv_path(rq), srv_target(rq), srv_segment(rq, 0), srv_host(rq),
            srv_arg(rq, "a", ""), srv_header(rq, "a", ""), srv_cookie(rq, "a", ""), srv_body(rq, NULL));
    fprintf(stderr, "[%zu %s %d %d %d]", len, srv_arg(rq, "a", NULL) ? "set" : "null", srv_wanted(rq),
            srv_time_left(rq) > 1e9, (int)strlen(srv_request_id(rq)));
    fprintf(stderr, "[%d %d]", srv_join(rq, srv_start(rq, part, NULL)), srv_error(rq));
    srv_log(rq, 'i', "here");
    srv_count(rq, "turns", 1);
    fprintf(stderr, "[%s]", srv_reply(rq, 200, "no%s", "") < 0 ? srv_error_text(rq) : "answered");
    srv_forgive(rq);
    return srv_fail(rq, 500, "on \\"purpose\\"");
}
static int page(srv_request *rq) {
    if (srv_again(rq, 1))
        return srv_fail(rq, 500, "a turn of a request");
    return srv_reply(rq, 200, "%d", srv_background(srv_worker_of(rq), task, NULL));
}
"""
    app = serve("--model", model, "--workers", "1", "--loop-lag-warn" if model in ("green", "pool") else "--log-level",
                "10s" if model in ("green", "pool") else "info", build(tmp_path, app_of(body)))  # fmt: skip
    assert get(app).text == "0"
    wait_for(lambda: "a background task failed" in app.stderr(), what="the end of the task")
    said = app.stderr()
    printed = re.sub(r"20\d\d-\S+Z .*\n", "", said)  # the master's line may stand in between
    assert "[][0 null 1 1 32][0 0]" in printed and "[a part of a request cannot answer]" in said
    assert 'application says text="here" target=' in said
    assert r'a background task failed reason="on \x22purpose\x22"' in said


@pytest.mark.parametrize("model", MODELS)
def test_a_worker_has_64_tasks(tmp_path, serve, model):
    body = """
static int task(srv_request *rq, void *arg) { (void)arg; return srv_sleep(rq, 60); }
static int quick(srv_request *rq, void *arg) { (void)rq, (void)arg; return 0; }
static int page(srv_request *rq) {
    int begun = 0, rc = 0;
    for (int i = 0; i < 500; i++)
        srv_background(srv_worker_of(rq), quick, NULL);
    srv_sleep(rq, 0.5);
    while ((rc = srv_background(srv_worker_of(rq), task, NULL)) == 0)
        begun++;
    return srv_reply(rq, 200, "%d %d", begun, rc);
}
"""
    app = serve("--model", model, build(tmp_path, app_of(body)))
    assert get(app).text == "64 -11"
    begin = time.monotonic()
    app.stop()
    assert time.monotonic() - begin < 5


@pytest.mark.parametrize("model", ("green", "pool"))
def test_a_task_that_ignores_its_end_is_left_behind(tmp_path, serve, model):
    body = """
static int task(srv_request *rq, void *arg) { (void)arg; for (;;) srv_sleep(rq, 0.01); return 0; }
static int page(srv_request *rq) { return srv_reply(rq, 200, "%s", "ok"); }
"""
    app = serve("--model", model, build(tmp_path, starting(body, "return srv_background(w, task, NULL);")))
    assert get(app).text == "ok"
    app.stop(code=1, timeout=20)
    assert "a background task does not end" in app.stderr()


def test_memory_of_a_turn_is_given_back(tmp_path, serve):
    body = """
static int task(srv_request *rq, void *arg) {
    (void)arg;
    for (int i = 0; i < 2000; i++) {
        char *room = srv_alloc(rq, 1 << 20);
        if (room == NULL) { fprintf(stderr, "no memory in turn %d\\n", i); return 0; }
        memset(room, 1, 1 << 20);
        if (!srv_again(rq, 0)) return 0;
    }
    fprintf(stderr, "all turns\\n");
    return 0;
}
static int page(srv_request *rq) { return srv_reply(rq, 200, "%s", "ok"); }
"""
    app = serve("--model", "green", build(tmp_path, starting(body, "return srv_background(w, task, NULL);")))
    wait_for(lambda: "turn" in app.stderr(), 60, what="the end")
    assert "all turns" in app.stderr()


def test_check_begins_no_task(tmp_path, serve):
    body = """
static int task(srv_request *rq, void *arg) { (void)rq, (void)arg; return 0; }
static const char *check(const srv_worker *w) { return srv_background((srv_worker *)w, task, NULL) == -EPERM ? NULL : "begun"; }
static int page(srv_request *rq) { return srv_reply(rq, 200, "%s", "ok"); }
"""
    text = app_of(body).replace("SRV_APP(", "SRV_APP(.check = check, ")
    assert get(serve(build(tmp_path, text))).text == "ok"


def test_each_worker_has_its_own_tasks_and_reloads_end_them(tmp_path, serve, slowapi):
    path = build(tmp_path, starting(REFRESH, 'return srv_background(w, refresh, "0");'))
    app = serve("--workers", "2", path, upstream=slowapi())
    wait_for(lambda: int(get(app).text.split()[0]) >= 2)
    before = set(children(app.pid))
    app.send_signal(1)
    wait_for(lambda: not before & set(children(app.pid)) and len(children(app.pid)) == 2, 30, what="new workers")
    assert app.stderr().count("task ends -125\n") == 2


# --- locks -------------------------------------------------------------------------------------------

LOCKS = """
static srv_mutex mutex;
static volatile int inside, most;
static int page(srv_request *rq) {
    double limit = atof(srv_arg(rq, "limit", "0"));
    if (limit > 0)
        srv_set_deadline(rq, limit);
    srv_lock(rq, &mutex);
    int now = srv_error(rq) == 0 ? ++inside : 0;
    if (now > most)
        most = now;
    srv_sleep(rq, atof(srv_arg(rq, "hold", "0.02")));
    if (now > 0)
        inside--;
    if (srv_arg(rq, "forget", NULL) == NULL)
        srv_unlock(rq, &mutex);
    return srv_reply(rq, 200, "%d", most);
}
static int twice(srv_request *rq) {
    srv_lock(rq, &mutex);
    srv_lock(rq, &mutex);
    return srv_reply(rq, 200, "%s", "twice");
}
static int add(srv_request *rq, void *arg) {
    for (int i = 0; i < 50; i++) {
        srv_lock(rq, &mutex);
        int value = *(volatile int *)arg;
        srv_sleep(rq, i % 10 == 0 ? 0.001 : 0);
        *(volatile int *)arg = value + 1;
        srv_unlock(rq, &mutex);
    }
    return 0;
}
static int parts(srv_request *rq) {
    srv_task *all[8];
    int sum = 0;
    for (int i = 0; i < 8; i++)
        all[i] = srv_start(rq, add, &sum);
    for (int i = 0; i < 8; i++)
        srv_join(rq, all[i]);
    return srv_reply(rq, 200, "%d", sum);
}
static int other(srv_request *rq, void *arg) { (void)arg; srv_unlock(rq, &mutex); return 0; }
static int foreign(srv_request *rq) {
    srv_unlock(rq, &mutex);
    srv_lock(rq, &mutex);
    srv_join(rq, srv_start(rq, other, NULL));
    srv_unlock(rq, &mutex);
    srv_unlock(rq, &mutex);
    return srv_reply(rq, 200, "%d", srv_error(rq));
}
"""
LOCK_ROUTES = {"/": "page", "/twice": "twice", "/parts": "parts", "/foreign": "foreign"}


@pytest.fixture
def locks(tmp_path, serve):
    return lambda model: serve("--model", model, build(tmp_path, app_of(LOCKS, LOCK_ROUTES)))


def together(app, targets):
    """The answers to all targets, asked at the same time."""
    answers = [None] * len(targets)

    def ask(i):
        answers[i] = get(app, targets[i])

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(len(targets))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


@pytest.mark.parametrize("model", MODELS)
def test_one_request_at_a_time_holds_a_lock_over_its_waits(locks, model):
    app = locks(model)
    answers = together(app, ["/"] * 12)
    assert all(answer.status == 200 for answer in answers) and get(app).text == "1"


@pytest.mark.parametrize("model", MODELS)
def test_parts_share_a_lock(locks, model):
    assert get(locks(model), "/parts").text == "400"


@pytest.mark.parametrize("model", ("threaded", "pool", "green"))
def test_a_deadline_ends_the_wait_for_a_lock(locks, model):
    app = locks(model)
    holder = threading.Thread(target=get, args=(app, "/?hold=2"))
    holder.start()
    time.sleep(0.4)
    assert [answer.status for answer in together(app, ["/?limit=0.3"] * 3)] == [504] * 3
    holder.join()
    assert get(app).status == 200


@pytest.mark.parametrize("model", MODELS)
def test_a_lock_that_is_left_is_released(locks, model):
    app = locks(model)
    assert get(app, "/?forget=1").status == 200
    assert get(app, "/").status == 200
    assert "the handler has left a mutex locked" in app.stderr()


@pytest.mark.parametrize("model", MODELS)
def test_locking_twice_fails_and_unlocking_what_others_hold_does_nothing(locks, model):
    app = locks(model)
    assert get(app, "/twice").status == 500
    assert "the handler locks what it has locked" in app.stderr()
    assert get(app, "/foreign").text == "0"
    assert get(app).status == 200


def test_a_thousand_turns_leave_no_descriptor(locks):
    app = locks("pool")
    together(app, ["/?hold=0"] * 8)

    def count():
        return len(os.listdir(f"/proc/{app.pid}/fd"))

    before = count()
    for _ in range(10):
        together(app, ["/?hold=0.001"] * 8)
    assert count() <= before + 8 and not re.search("mutex locked", app.stderr())
