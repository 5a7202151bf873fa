# SPDX-License-Identifier: MIT
"""What careless applications do: too much, twice, or at the wrong time."""

import os

import pytest
from harness import RawConnection, get, request
from test_handlers import MODELS, app_of, build, refused

PAGES = """
static int sleeps(srv_request *rq, void *arg) {
    (void)arg;
    return srv_sleep(rq, 30);
}

static size_t get_200(srv_request *rq, const srv_response **got) {
    const char *suffixes[200];

    for (int i = 0; i < 200; i++)
        suffixes[i] = "?delay=0";
    return srv_get_all(rq, suffixes, 200, got);
}

static int failed(srv_request *rq) {
    const srv_response *got[200];

    srv_fail(rq, 418, "failed before");
    if (get_200(rq, got) != 200 || got[199]->error != -ECANCELED)
        return 0;
    return srv_error(rq);
}

static int busy(srv_request *rq) {
    const srv_response *got[200];
    size_t failures;

    for (int i = atoi(srv_arg(rq, "n", "")); i > 0; i--)
        srv_start(rq, sleeps, NULL);
    failures = get_200(rq, got);
    return srv_reply(rq, 200, "%zu %s", failures, got[199]->text);
}

static int joins(srv_request *rq, void *arg) {
    return srv_join(rq, arg);
}

static int other(srv_request *rq) {
    srv_task *part = srv_start(rq, sleeps, NULL), *second = srv_start(rq, joins, part);

    return srv_reply(rq, 200, "%d", srv_join(rq, second));
}

static int large(srv_request *rq) {
    size_t len = 64u << 20;
    char *data = calloc(1, len);
    int rc = data != NULL ? srv_reply_bytes(rq, 200, data, len) : 0;

    free(data);
    return atoi(srv_arg(rq, "ignores", "")) ? 0 : rc;
}

static int regrets(srv_request *rq) {
    srv_reply(rq, 200, "first");
    return -EIO;
}

static int regrets_file(srv_request *rq) {
    return srv_reply_file(rq, 200, "/bin/sh") == 0 ? -EIO : 0;
}

static int busy_with_fields(srv_request *rq) {
    for (int i = 0; i < 32; i++)
        srv_add(rq, "X-Field", "x");
    return srv_fail(rq, 503, "no \\"room\\" id=7");
}

static int much(srv_request *rq) {
    for (int i = 0; i < 100; i++)
        srv_alloc(rq, 1 << 20);
    return srv_reply(rq, 200, "x");
}

static int ok(srv_request *rq) {
    return srv_reply(rq, 200, "ok");
}
"""
NAMES = ("failed", "busy", "other", "large", "regrets", "regrets_file", "busy_with_fields", "much", "ok")
ROUTES = {f"/{name}": name for name in NAMES}


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return build(tmp_path_factory.mktemp("limits"), app_of(PAGES, ROUTES))


@pytest.mark.parametrize("model", MODELS)
def test_many_calls_of_a_request_that_has_failed_are_none(serve, path, model):
    reply = get(serve("--model", model, path, upstream="http://127.0.0.1:1/"), "/failed")
    assert (reply.status, reply.text) == (418, "failed before\n")


@pytest.mark.parametrize("parts", [0, 1, 63, 64])
@pytest.mark.parametrize("model", MODELS)
def test_many_calls_beside_parts_that_run(serve, slowapi, path, model, parts):
    app = serve("--model", model, path, upstream=slowapi())
    assert get(app, f"/busy?n={parts}").text == "0 slow api response"


@pytest.mark.parametrize("model", MODELS)
def test_a_part_is_joined_by_the_request_that_began_it(serve, path, model):
    reply = get(serve("--model", model, path), "/other")
    assert (reply.status, reply.text) == (500, "a part was joined by another than the one that began it\n")


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(
    "target, status, text",
    [
        ("/large", 500, "the answer of the handler is too large\n"),
        ("/large?ignores=1", 500, "the answer of the handler is too large\n"),
        ("/regrets", 500, "the handler failed\n"),
        ("/regrets_file", 500, "the handler failed\n"),
        ("/much", 500, "the request takes too much memory\n"),
        ("/busy_with_fields", 503, 'no "room" id=7\n'),
    ],
)
def test_a_failure_is_a_whole_answer_and_the_connection_goes_on(serve, path, model, target, status, text):
    app = serve("--model", model, path)
    with RawConnection(app) as conn:
        for _ in range(2):
            conn.send(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\nGET /ok HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            reply = conn.read_response()
            assert (reply.status, reply.text) == (status, text)
            if model == "single":
                assert conn.read_until_close() == b""
                return
            assert conn.read_response().text == "ok"


def test_the_reason_of_a_handler_ends_no_value_of_the_log(serve, path):
    app = serve(path)
    get(app, "/busy_with_fields")
    assert r'reason="no \x22room\x22 id=7"' in app.stderr()


def test_what_is_no_regular_file_is_not_opened(tmp_path):
    os.mkfifo(tmp_path / "app.so")
    (tmp_path / "folder.so").mkdir()
    for name in ("app.so", "folder.so"):
        assert refused(tmp_path / name).endswith("it is not a regular file\n")
    assert refused("/dev/zero").endswith("it is not a regular file\n")


def test_a_route_has_as_many_stars_as_are_handed_out(tmp_path, serve):
    page = 'static int page(srv_request *rq) { return srv_reply(rq, 200, "%s", srv_segment(rq, 7)); }'
    app = serve(build(tmp_path, app_of(page, {"/*/*/*/*/*/*/*/**": "page"})))
    assert get(app, "/1/2/3/4/5/6/7/8/9").text == "8/9"
    assert "8 stars at most" in refused(build(tmp_path, app_of(page, {"/*" * 9: "page"})))


def test_allow_names_each_method_once(tmp_path, serve):
    page = 'static int page(srv_request *rq) { return srv_reply(rq, 200, "%s", ""); }'
    routes = {f"{method} /{rest}": "page" for method in ("GET", "POST", "PUT") for rest in ("a", "*", "**")}
    app = serve(build(tmp_path, app_of(page, routes)))
    assert request(app, "DELETE", "/a").headers["allow"] == "GET, POST, PUT, HEAD, OPTIONS"
