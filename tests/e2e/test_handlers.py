# SPDX-License-Identifier: MIT
"""Applications of users as shared objects: <srv/app.h>, under every model that runs straight code."""

import json
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from control import fetch
from harness import Client, RawConnection, children, get, read_reply, request, run, run_deaf, wait_for

ROOT = Path(__file__).resolve().parents[2]
MODELS = ("single", "threaded", "pool", "green")
FLASK = """
#include <srv/app.h>

static int index_page(srv_request *rq) {
    const srv_response *api = srv_get(rq, "?delay=%s", srv_arg(rq, "delay", "1"));
    return srv_reply(rq, 200, "Hi there! %s", api->text);
}

SRV_APP(.handle = index_page)
"""


def build(tmp_path, text, name="app.so", compiler="gcc", flags=()):
    """The path of an object with nothing but the header of srv."""
    source = tmp_path / f"{name}.c"
    source.write_text(text)
    language = ("-x", "c++", "-std=c++20") if "++" in compiler else ("-std=c11", "-D_GNU_SOURCE")
    command = [compiler, *language, "-Wall", "-Wextra", "-Werror", "-I", ROOT / "include", "-shared", "-fPIC", *flags]
    done = subprocess.run([*command, "-o", tmp_path / f"{name}.new", source], text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    (tmp_path / f"{name}.new").rename(tmp_path / name)
    return str(tmp_path / name)


def app_of(body, routes=None):
    """The source of an application: functions, and its routes."""
    table = "".join(f'{{ "{pattern}", {function} }}, ' for pattern, function in (routes or {"/": "page"}).items())
    return (
        "#include <srv/app.h>\n#include <errno.h>\n#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n"
        "#include <unistd.h>\n" + body + f"\nSRV_APP(.routes = (const srv_route[]){{ {table}{{ NULL, NULL }} }})\n"
    )


@pytest.fixture
def handler(tmp_path, serve):
    """handler(BODY, *OPTIONS, routes=None, config=(), upstream=None) -> a server of that application."""

    def start(body, *options, routes=None, config=(), upstream=None):
        return serve(*options, build(tmp_path, app_of(body, routes)), *config, upstream=upstream)

    return start


# --- the tutorial's application -------------------------------------------------------------------


@pytest.mark.parametrize("model", MODELS)
def test_the_application_of_the_tutorial_is_two_statements(tmp_path, serve, slowapi, model):
    app = serve("--model", model, build(tmp_path, FLASK), upstream=slowapi())
    begin = time.monotonic()
    reply = get(app, "/?delay=0.2")
    assert (reply.status, reply.text) == (200, "Hi there! slow api response")
    assert time.monotonic() - begin >= 0.2
    assert len(FLASK.strip().splitlines()) <= 10


@pytest.mark.parametrize("model", MODELS)
def test_failures_stick_to_a_handler_that_checks_nothing(tmp_path, serve, model):
    app = serve("--model", model, build(tmp_path, FLASK), upstream="http://127.0.0.1:1/")
    reply = get(app)
    assert (reply.status, reply.text) == (502, "upstream cannot be reached\n")
    assert "request failed status=502" in app.stderr()


def test_a_late_upstream_is_504(tmp_path, serve, slowapi):
    app = serve("--upstream-timeout", "0.2s", build(tmp_path, FLASK), upstream=slowapi())
    assert get(app, "/?delay=5").status == 504


def test_what_no_url_may_hold_is_encoded(tmp_path, serve, slowapi):
    """Nothing that a client sends can add a line to the request of the upstream."""
    api = slowapi()
    app = serve(build(tmp_path, FLASK), upstream=api)
    assert "slow api response" not in get(app, "/?delay=0%20HTTP/1.1%0d%0aX-Evil:%201%0d%0a%0d%0a").text
    assert get(app, "/?delay=0").text == "Hi there! slow api response"


# --- what is refused before anything is bound -------------------------------------------------------


def refused(*args):
    done = run("serve", "--bind", "127.0.0.1:0", *args)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1 and "listening" not in done.stderr
    return done.stderr


@pytest.mark.parametrize(
    "content, why",
    [
        (None, "No such file or directory"),
        ("text\n", "it is not a shared object; cc -shared -fPIC makes one"),
        ("", "it is not a shared object; cc -shared -fPIC makes one"),
    ],
)
def test_files_that_are_no_objects(tmp_path, content, why):
    path = tmp_path / "app.so"
    if content is not None:
        path.write_text(content)
    assert why in refused(str(path))


@pytest.mark.parametrize(
    "source, why",
    [
        ("int x;", "it has no srv_app; SRV_APP(...) makes one"),
        ("#include <srv/app.h>\nint srv_future(void);\nstatic int h(srv_request *r) { (void)r; return srv_future(); }\nSRV_APP(.handle = h)",
         "it needs a later srv: this one has no srv_future"),
        ("int elsewhere(void);\nint f(void);\nint f(void) { return elsewhere(); }", "undefined symbol: elsewhere"),
        ("#include <srv/app.h>\nSRV_APP(.summary = \"\")", "its srv_app has neither a handler nor routes"),
        ("#include <srv/app.h>\nstatic int h(srv_request *r) { (void)r; return 0; }\n"
         "const struct srv_app srv_app = { .abi = 99, .size = sizeof(struct srv_app), .handle = h };",
         "it is built for version 99 of <srv/app.h>, and this srv has version 1: it has to be built again"),
        ("#include <srv/app.h>\nstatic int h(srv_request *r) { (void)r; return 0; }\n"
         "const struct srv_app srv_app = { .abi = 1, .size = 4, .handle = h };", "SRV_APP sets that"),
        ("#include <srv/app.h>\nstatic int h(srv_request *r) { (void)r; return 0; }\n"
         "struct later { struct srv_app now; void *more; };\n"
         "extern const struct later srv_app_later __asm__(\"srv_app\");\n"
         "const struct later srv_app_later = { { .abi = 1, .size = sizeof(struct later), .handle = h }, (void *)1 };",
         "it needs a later srv: its srv_app has members that this one does not know"),
    ],
)  # fmt: skip
def test_objects_that_cannot_be_served(tmp_path, source, why):
    assert why in refused(build(tmp_path, source))


def test_an_object_is_checked_though_the_starter_ignores_the_end_of_children(tmp_path):
    done = run_deaf("serve", "--check-config", build(tmp_path, FLASK))
    assert (done.returncode, done.stderr) == (0, "")


def test_an_object_of_a_later_header_that_uses_nothing_of_it_is_served(tmp_path, serve):
    source = (
        "#include <srv/app.h>\nstatic int h(srv_request *r) { return srv_reply(r, 200, \"ok\"); }\n"
        "struct later { struct srv_app now; void *more; };\n"
        "extern const struct later srv_app_later __asm__(\"srv_app\");\n"
        "const struct later srv_app_later = { { .abi = 1, .size = sizeof(struct later), .handle = h }, 0 };"
    )  # fmt: skip
    assert get(serve(build(tmp_path, source))).text == "ok"


@pytest.mark.parametrize(
    "pattern", ["users", "GET users", "NONSENSE /", "GET  /", "/a*", "/**/a", "/a b", "/a?b", "/a#b", ""]
)
def test_routes_that_are_none(tmp_path, pattern):
    body = "static int page(srv_request *rq) { return srv_reply(rq, 200, \"\" \"x\"); }"
    assert f"the route '{pattern}' is not allowed" in refused(build(tmp_path, app_of(body, {pattern: "page"})))


def test_what_the_application_checks_by_itself(tmp_path):
    source = """
#include <srv/app.h>
static const char *check(const srv_worker *w) { return srv_config(w, "color", 0) ? 0 : "a color is needed: color=NAME"; }
static int page(srv_request *rq) { return srv_reply(rq, 200, "%s", srv_config(srv_worker_of(rq), "color", "none")); }
SRV_APP(.handle = page, .check = check)
"""
    path = build(tmp_path, source)
    assert f"'{path}' does not start: a color is needed: color=NAME" in refused(path)


@pytest.mark.parametrize(
    "check, why", [("abort();", "was ended by SIGABRT while it was checked"), ("_exit(7);", "with code 7"), ("exit(0);", "with code 0")]
)  # fmt: skip
def test_an_application_that_ends_its_check(tmp_path, check, why):
    source = (
        "#include <srv/app.h>\n#include <stdlib.h>\n#include <unistd.h>\n"
        "static int page(srv_request *rq) { return srv_reply(rq, 200, \"x\"); }\n"
        f"static const char *check(const srv_worker *w) {{ (void)w; {check} return 0; }}\n"
        "SRV_APP(.handle = page, .check = check)"
    )  # fmt: skip
    assert why in refused(build(tmp_path, source))


@pytest.mark.parametrize("extra", ["color", "=blue", ""])
def test_configuration_is_key_and_value(tmp_path, extra):
    assert "KEY=VALUE" in refused(build(tmp_path, FLASK), extra)


def test_builtin_applications_read_no_configuration():
    assert "is not allowed behind 'echo'" in refused("echo", "a=b")


@pytest.mark.parametrize("model, why", [("event", "does not run under --model event"), ("evhttp", "does not run under --model evhttp")])
def test_models_without_straight_code_refuse_objects(tmp_path, model, why):
    assert why in refused("--model", model, build(tmp_path, FLASK))


# --- configuration and life --------------------------------------------------------------------------

LIFE = """
#include <srv/app.h>
#include <stdio.h>
#include <stdlib.h>
static int start(srv_worker *w) {
    static unsigned counts[64];
    unsigned *count = &counts[srv_worker_number(w)];
    srv_set_data(w, count);
    fprintf(stderr, "start %u\\n", srv_worker_number(w));
    return atoi(srv_config(w, "fail", "0"));
}
static void stop(srv_worker *w) { fprintf(stderr, "stop %u\\n", srv_worker_number(w)); }
static int page(srv_request *rq) {
    unsigned *count = srv_data(srv_worker_of(rq));
    return srv_reply(rq, 200, "%u %s", ++*count, srv_config(srv_worker_of(rq), "a-key", "none"));
}
SRV_APP(.handle = page, .start = start, .stop = stop)
"""


@pytest.mark.parametrize("model", MODELS)
def test_start_and_stop_run_once_per_worker(tmp_path, serve, model):
    app = serve("--model", model, build(tmp_path, LIFE), "a-key=1=2")
    assert [get(app).text for _ in range(2)] == ["1 1=2", "2 1=2"]
    app.stop()
    assert app.stderr().count("start 1\n") == app.stderr().count("stop 1\n") == 1


def test_configuration_comes_from_the_environment_too(tmp_path, serve):
    app = serve(build(tmp_path, LIFE), env={"SRV_APP_A_KEY": "from outside"})
    assert get(app).text == "1 from outside"


def test_each_worker_has_its_own_data(tmp_path, serve):
    app = serve("--workers", "2", build(tmp_path, LIFE))
    wait_for(lambda: len(children(app.pid)) == 2 and "start 1" in app.stderr() and "start 2" in app.stderr(), what="both")


def test_a_start_that_fails_is_told(tmp_path, serve):
    done = run("serve", "--bind", "127.0.0.1:0", build(tmp_path, LIFE), "fail=3")
    assert done.returncode == 1 and "cannot start: its start returned 3" in done.stderr


# --- reload ---------------------------------------------------------------------------------------

VERSION = 'static int page(srv_request *rq) { srv_sleep(rq, 0.02); return srv_reply(rq, 200, "version %d", N); }'


def test_hup_takes_new_code_and_loses_nothing(tmp_path, serve):
    path = build(tmp_path, app_of(VERSION.replace("N", "1")))
    app = serve("--workers", "2", path)
    clients = [Client(app) for _ in range(8)]
    seen = []

    def ask_all():
        for client in clients:
            client.request("GET", "/")
            reply = read_reply(client.getresponse())
            assert reply.status == 200
            seen.append(reply.text)
            if reply.headers.get("connection") == "close":
                client.close()

    ask_all()
    build(tmp_path, app_of(VERSION.replace("N", "2")))
    app.send_signal(signal.SIGHUP)
    wait_for(lambda: ask_all() is None and seen[-8:] == ["version 2"] * 8, seconds=20, what="answers of the new code")
    assert set(seen) == {"version 1", "version 2"}
    for client in clients:
        client.close()


# --- the request -----------------------------------------------------------------------------------

SHOW = """
static int show(void *arg, const char *name, const char *value) {
    srv_print(arg, "%s=%s;", name, value);
    return 0;
}
static int page(srv_request *rq) {
    size_t len;
    const char *body = srv_body(rq, &len);
    srv_print(rq, "method %s\\npath %s\\ntarget %s\\nscheme %s\\nhost %s\\nclient %s\\n", srv_method(rq), srv_path(rq),
              srv_target(rq), srv_scheme(rq), srv_host(rq), srv_client(rq));
    srv_print(rq, "arg [%s]\\nheader [%s]\\ncookie [%s]\\nbody %zu %s\\nfields ", srv_arg(rq, "a", "none"),
              srv_header(rq, "x-header", "none"), srv_cookie(rq, "b", "none"), len, body);
    srv_headers(rq, show, rq);
    return srv_reply_printed(rq, 200);
}
"""


@pytest.mark.parametrize(
    "target, path",
    [
        ("/", "/"),
        ("/a/b", "/a/b"),
        ("/a%20b", "/a b"),
        ("/a/../b", "/b"),
        ("/a/./b/", "/a/b/"),
        ("/a/..", "/"),
        ("/a/%2e%2e/b", "/b"),
        ("/%2E%2E/%2e%2E/etc", "/etc"),
        ("/../../x", "/x"),
        ("/a%2fb", "/a%2fb"),
        ("/a%00b", "/a%00b"),
        ("/%zz%4", "/%zz%4"),
        ("/.../x", "/.../x"),
        ("/.hidden", "/.hidden"),
        ("/a/.", "/a/"),
        ("//a", "//a"),
        ("/%c3%a4", "/\u00e4"),
    ],
)
def test_paths_are_decoded_without_dot_segments(handler, target, path):
    app = handler(SHOW, routes={"/**": "page"})
    assert f"path {path}\n" in get(app, target).body.decode()


@pytest.mark.parametrize(
    "query, value",
    [
        ("", "none"),
        ("?a=", ""),
        ("?a=1&a=2", "1"),
        ("?b=1&a=x%20y+z", "x y z"),
        ("?%61=enc", "enc"),
        ("?a", ""),
        ("?a=%zz", "%zz"),
        ("?aa=1", "none"),
    ],
)
def test_arguments(handler, query, value):
    assert f"arg [{value}]\n" in get(handler(SHOW), "/" + query).text


@pytest.mark.parametrize(
    "field, value",
    [
        ("b=1", "1"),
        ("a=2; b=1", "1"),
        ("b=1;b=2", "1"),
        ("bb=1", "none"),
        ("b=x=y", "x=y"),
        ("b", ""),
        ("", "none"),
        ('b="q"', '"q"'),
    ],
)
def test_cookies(handler, field, value):
    assert f"cookie [{value}]\n" in get(handler(SHOW), "/", headers={"Cookie": field}).text


def test_head_and_body_of_a_request(handler):
    app = handler(SHOW)
    text = request(app, "POST", "/", body=b"hello", headers={"X-Header": "v", "Host": "example:8"}).text
    assert "method POST\n" in text and "header [v]\n" in text and "body 5 hello\n" in text
    assert "host example:8\n" in text and "client 127.0.0.1\n" in text and "scheme http\n" in text
    assert "X-Header=v;" in text


# --- routes ------------------------------------------------------------------------------------------

ROUTES = """
static int one(srv_request *rq) { return srv_reply(rq, 200, "one"); }
static int user(srv_request *rq) { return srv_reply(rq, 200, "user %s [%s]", srv_segment(rq, 0), srv_segment(rq, 1)); }
static int order(srv_request *rq) { return srv_reply(rq, 201, "order of %s", srv_segment(rq, 0)); }
static int files(srv_request *rq) { return srv_reply(rq, 200, "file %s", srv_segment(rq, 0)); }
static int any(srv_request *rq) { return srv_reply(rq, 200, "any %s", srv_method(rq)); }
"""
TABLE = {
    "GET /": "one",
    "GET /users/*": "user",
    "GET /users/*/orders/*": "user",
    "POST /users/*/orders": "order",
    "GET /files/**": "files",
    "/any": "any",
}


@pytest.mark.parametrize(
    "method, path, status, text",
    [
        ("GET", "/", 200, "one"),
        ("GET", "/users/8", 200, "user 8 []"),
        ("GET", "/users/a%20b", 200, "user a b []"),
        ("GET", "/users/a%2fb", 200, "user a%2fb []"),
        ("GET", "/users/8/orders/9", 200, "user 8 [9]"),
        ("GET", "/users/", 404, "not found\n"),
        ("GET", "/users//orders/1", 404, "not found\n"),
        ("GET", "/users/8/", 404, "not found\n"),
        ("GET", "/users", 404, "not found\n"),
        ("POST", "/users/8/orders", 201, "order of 8"),
        ("GET", "/files/a/b.txt", 200, "file a/b.txt"),
        ("GET", "/files/", 200, "file "),
        ("GET", "/files", 404, "not found\n"),
        ("GET", "/files/../users/1", 200, "user 1 []"),
        ("DELETE", "/any", 200, "any DELETE"),
        ("HEAD", "/", 200, ""),
    ],
)
def test_routes(handler, method, path, status, text):
    reply = request(handler(ROUTES, routes=TABLE), method, path)
    assert (reply.status, reply.text) == (status, text)


@pytest.mark.parametrize(
    "method, path, status, allow",
    [
        ("POST", "/", 405, "GET, HEAD, OPTIONS"),
        ("OPTIONS", "/", 200, "GET, HEAD, OPTIONS"),
        ("GET", "/users/8/orders", 405, "POST, OPTIONS"),
        ("OPTIONS", "/any", 200, None),
    ],
)
def test_other_methods_of_a_route(handler, method, path, status, allow):
    reply = request(handler(ROUTES, routes=TABLE), method, path)
    assert reply.status == status and reply.headers.get("allow") == allow


# --- the answer ---------------------------------------------------------------------------------------


def test_formats(handler):
    body = r'static int page(srv_request *rq) { return srv_reply(rq, 200, "%s|%%|%d|%5.2f|%s", "a", -7, 1.5, ""); }'
    assert get(handler(body)).text == "a|%|-7| 1.50|"


# Each is printed by srv and by libc, with the same arguments.
FORMATS = (
    '"%d %d %d", 0, -7, INT_MIN', '"%i|%u", INT_MAX, UINT_MAX', '"%ld %lu", LONG_MIN, ULONG_MAX',
    '"%lld %llu %llx", LLONG_MIN, ULLONG_MAX, ULLONG_MAX', '"%zu %zd %zx", (size_t)-1, (ssize_t)-5, (size_t)48879',
    '"%jd %ju", INTMAX_MIN, UINTMAX_MAX', '"%5d|%05d|%2d", -42, -42, 12345', '"%016lx|%16lx|%x", 48879ul, 48879ul, 0u',
    '"%020d|%23u|%023d", -1, 1u, -1', '"%024d|%40d|%0200x", -1, 5, 7u', '"%s=%d%%", "a", 99', '"%s", (const char *)zero',
    '"%-5d|%+d|% d|%.3d|%#x", 4, 4, 4, 4, 4u', '"%hd %hhu %c %X", 70000, 257, 65, 255u', '"%.*s %.2s", 2, "abc", "xyz"',
    '"%00005d|%0d|%00d", 3, 4, 5', '"%5s|%-5s|", "a", "b"', '"%.2f %g", 1.5, 0.25', '"%d%d%d%d%d%d%d%d%d%d", 0,1,2,3,4,5,6,7,8,9',
    '"%d,%d,%d,%d,%d,%d,%d,%d,%d,%d", 0,1,2,3,4,5,6,7,8,9', '"%lx.%lx.%lx.%lx.%lx.%lx.%lx", 1ul, 2ul, 3ul, 4ul, 5ul, 6ul, ~0ul', '"%%%d%%", 1', '"%s", ""',
)  # fmt: skip


@pytest.mark.parametrize("call", ["srv_print(rq, {})", 'srv_print(rq, "%s", srv_format(rq, {}))'])
def test_formats_print_what_libc_prints(handler, call):
    lines = "".join(
        f'snprintf(want, sizeof(want), {args}); {call.format(args)}; srv_print(rq, "\\n%s\\n", want);\n' for args in FORMATS
    )
    page = f"""#include <limits.h>
#include <stdint.h>
#pragma GCC diagnostic ignored "-Wformat"
#pragma GCC diagnostic ignored "-Wformat-truncation"
static int page(srv_request *rq) {{
    static char want[1024];
    const char *volatile zero = NULL;
    {lines}
    return srv_reply_printed(rq, 200);
}}"""
    got = get(handler(page)).text.splitlines()
    assert len(got) == 2 * len(FORMATS)
    assert got[::2] == got[1::2]


def test_long_formats_and_texts(handler):
    body = (
        "static int page(srv_request *rq) { char *x = srv_alloc(rq, 100001); memset(x, 'x', 100000);\n"
        'return srv_reply(rq, 200, "%s%s%s%s%s%s%s%s%s%s%s%s%s%s%s%s%s%s%s", x,"b","c","d","e","f","g","h","i","j","k",'
        '"l","m","n","o","p","q","r","s"); }'
    )
    assert get(handler(body)).text == "x" * 100000 + "bcdefghijklmnopqrs"


def test_fields_are_set_replaced_and_added(handler):
    body = """
static int page(srv_request *rq) {
    srv_set(rq, "X-One", "1");
    srv_set(rq, "x-one", "2");
    srv_add(rq, "Set-Cookie", "a=1");
    srv_add(rq, "Set-Cookie", "b=2");
    srv_set(rq, "Content-Type", "application/json");
    return srv_reply(rq, 200, "{}");
}
"""
    reply = get(handler(body))
    assert reply.headers["x-one"] == "2"
    assert reply.headers["set-cookie"] == "a=1, b=2"
    assert reply.headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    "name, value",
    [
        ("X-A", r"b\r\nX-Evil: 1"),
        ("X-A", r"b\nc"),
        ("X A", "b"),
        ("", "b"),
        ("X-A:", "b"),
        ("Content-Length", "1"),
        ("transfer-encoding", "chunked"),
        ("Connection", "x"),
    ],
)
def test_fields_that_no_answer_may_have(handler, name, value):
    body = f'static int page(srv_request *rq) {{ srv_set(rq, "{name}", "{value}"); return srv_reply(rq, 200, "x"); }}'
    reply = get(handler(body))
    assert (reply.status, reply.text) == (500, "the handler set a field that no answer may have\n")
    assert "x-evil" not in reply.headers


@pytest.mark.parametrize("status", [0, 100, 199, 600, -1])
def test_statuses_that_no_answer_has(handler, status):
    reply = get(handler(f'static int page(srv_request *rq) {{ return srv_reply(rq, {status}, "x"); }}'))
    assert (reply.status, reply.text) == (500, f"the handler answered with status {status}\n")


def test_bytes_and_redirects(handler):
    body = """
static int bytes(srv_request *rq) { return srv_reply_bytes(rq, 200, "a\\0b", 3); }
static int away(srv_request *rq) { return srv_redirect(rq, 303, "/elsewhere"); }
static int wrong(srv_request *rq) { return srv_redirect(rq, 200, "/elsewhere"); }
"""
    app = handler(body, routes={"/bytes": "bytes", "/away": "away", "/wrong": "wrong"})
    assert get(app, "/bytes").body == b"a\0b"
    reply = get(app, "/away")
    assert (reply.status, reply.headers["location"]) == (303, "/elsewhere")
    assert get(app, "/wrong").status == 500


@pytest.mark.parametrize(
    "body, status, text",
    [
        ('return srv_fail(rq, 404, "no user %s", "x");', 404, "no user x\n"),
        ('srv_fail(rq, 404, "first"); return srv_fail(rq, 400, "second");', 404, "first\n"),
        ('srv_fail(rq, 404, "gone"); srv_forgive(rq); return srv_reply(rq, 200, "%d", srv_error(rq));', 200, "0"),
        ('srv_fail(rq, 418, "tea"); return srv_reply(rq, 200, "no");', 418, "tea\n"),
        ('srv_fail(rq, 418, "tea"); return 0;', 418, "tea\n"),
        ("(void)rq; return 0;", 500, "the handler failed\n"),
        ("(void)rq; return -EIO;", 500, "the handler failed\n"),
        ('srv_reply(rq, 200, "one"); return srv_reply(rq, 200, "two") == -EALREADY ? 0 : -1;', 200, "one"),
        ('return srv_reply(rq, 200, "%s", srv_error_text(rq));', 200, ""),
        ('srv_set_deadline(rq, 0.05); srv_sleep(rq, 5); srv_forgive(rq); return srv_reply(rq, 200, "no");', 504,
         "the request took too long\n"),
        ('return srv_reply(rq, 200, "%d", srv_time_left(rq) > 0);', 200, "1"),
    ],
)  # fmt: skip
def test_failures_stick(handler, body, status, text):
    reply = get(handler(f"static int page(srv_request *rq) {{ {body} }}"))
    assert (reply.status, reply.text) == (status, text)


def test_failures_of_the_client_are_not_logged_and_those_of_the_server_are(handler):
    body = """
static int page(srv_request *rq) { return srv_fail(rq, 404, "client"); }
static int other(srv_request *rq) { return srv_fail(rq, 503, "server"); }
"""
    app = handler(body, routes={"/": "page", "/other": "other"})
    assert get(app, "/").status == 404
    reply = get(app, "/other")
    assert (reply.status, reply.headers["retry-after"]) == (503, "1")
    assert 'reason="server"' in app.stderr() and "client" not in app.stderr()


def test_log_lines_are_escaped(handler):
    body = r"""static int page(srv_request *rq) { srv_log(rq, 'w', "a \"%s\"\n%d", "b", 7); return srv_reply(rq, 200, "x"); }"""
    app = handler(body)
    get(app)
    assert r'WARN  application says text="a \x22b\x22\n7" target=/' in app.stderr()


# --- at the same time ------------------------------------------------------------------------------------

TEN = """
static int page(srv_request *rq) {
    const char *suffixes[10];
    const srv_response *got[10];
    size_t failed;
    for (int i = 0; i < 10; i++)
        suffixes[i] = srv_format(rq, "?delay=%s&echo=%d", srv_arg(rq, "delay", "1"), i);
    failed = srv_get_all(rq, suffixes, 10, got);
    srv_print(rq, "%zu:", failed);
    for (int i = 0; i < 10; i++)
        srv_print(rq, " %d", got[i]->status);
    return srv_reply_printed(rq, 200);
}
"""


@pytest.mark.parametrize("model", MODELS)
def test_calls_at_the_same_time_take_as_long_as_the_slowest(handler, slowapi, model):
    app = handler(TEN, "--model", model, upstream=slowapi())
    begin = time.monotonic()
    assert get(app, "/?delay=0.5").text == "0:" + " 200" * 10
    assert time.monotonic() - begin < 3  # 5 s in a row


@pytest.mark.parametrize("watch", [("--workers", "1", "--timeout", "30s"), ("--loop-lag-warn", "10s")])
def test_parts_are_watched_as_the_request_they_belong_to(handler, slowapi, watch):
    app = handler(TEN, "--model", "green", *watch, upstream=slowapi())
    for _ in range(3):
        assert get(app, "/?delay=0.1").text == "0:" + " 200" * 10


def calls(api):
    return json.loads(fetch(api, "/stats").text)["in_flight"]


@pytest.mark.parametrize("model", MODELS)
def test_a_deadline_ends_all_calls(handler, slowapi, model):
    api = slowapi("--control", "127.0.0.1:0")
    app = handler(TEN, "--model", model, "--request-timeout", "0.5s", upstream=api)
    begin = time.monotonic()
    assert get(app, "/?delay=30").status == 504
    assert time.monotonic() - begin < 5
    wait_for(lambda: calls(api) == 0, what="the end of the calls")


@pytest.mark.parametrize("model", MODELS)
def test_failures_of_parts_are_their_own(handler, model):
    app = handler(TEN, "--model", model, upstream="http://127.0.0.1:1/")
    reply = get(app)
    assert (reply.status, reply.text) == (200, "10:" + " 0" * 10)


PARTS = """
static int seven(srv_request *rq, void *arg) { srv_sleep(rq, 0.01); return *(int *)arg + srv_error(rq); }
static int slow(srv_request *rq, void *arg) { (void)arg; return srv_sleep(rq, 60); }
static int tea(srv_request *rq, void *arg) { (void)arg; return srv_fail(rq, 418, "tea"); }
static int answers(srv_request *rq, void *arg) { (void)arg; return srv_reply(rq, 200, "a part"); }
static int nested(srv_request *rq, void *arg) { return srv_join(rq, srv_start(rq, seven, arg)); }
static int join(srv_request *rq) { int x = 7; return srv_reply(rq, 200, "%d", srv_join(rq, srv_start(rq, seven, &x))); }
static int nest(srv_request *rq) { int x = 8; return srv_reply(rq, 200, "%d", srv_join(rq, srv_start(rq, nested, &x))); }
static int leave(srv_request *rq) { srv_start(rq, slow, 0); srv_start(rq, slow, 0); return srv_reply(rq, 200, "left"); }
static int fail(srv_request *rq) { srv_join(rq, srv_start(rq, tea, 0)); return srv_reply(rq, 200, "no"); }
static int cancel(srv_request *rq) {
    srv_task *t = srv_start(rq, slow, 0);
    srv_cancel(t);
    int rc = srv_join(rq, t);
    srv_forgive(rq);
    return srv_reply(rq, 200, "%d", rc == -ECANCELED);
}
static int many(srv_request *rq) {
    int n = 0;
    while (srv_start(rq, slow, 0) != NULL)
        n++;
    srv_forgive(rq);
    return srv_reply(rq, 200, "%d", n);
}
static int reply(srv_request *rq) { srv_join(rq, srv_start(rq, answers, 0)); return srv_reply(rq, 200, "the handler"); }
"""
PART_ROUTES = {f"/{name}": name for name in ("join", "nest", "leave", "fail", "cancel", "many", "reply")}


@pytest.mark.parametrize(
    "path, status, text",
    [
        ("/join", 200, "7"),
        ("/nest", 200, "8"),
        ("/leave", 200, "left"),
        ("/fail", 418, "tea\n"),
        ("/many", 200, "64"),
        ("/reply", 500, "a part of a request cannot answer\n"),
    ],
)
@pytest.mark.parametrize("model", MODELS)
def test_parts_of_a_request(handler, model, path, status, text):
    app = handler(PARTS, "--model", model, routes=PART_ROUTES)
    begin = time.monotonic()
    for _ in range(3):
        reply = get(app, path)
        assert (reply.status, reply.text) == (status, text)
    assert time.monotonic() - begin < 20  # what still ran was cancelled


@pytest.mark.parametrize("model", MODELS)
def test_a_client_that_leaves_ends_the_parts(handler, slowapi, model):
    api = slowapi("--control", "127.0.0.1:0")
    app = handler(TEN, "--model", model, upstream=api)
    conn = RawConnection(app)
    conn.send(b"GET /?delay=30 HTTP/1.1\r\nHost: x\r\n\r\n")
    wait_for(lambda: calls(api) == 10, what="ten calls")
    conn.reset()
    wait_for(lambda: calls(api) == 0, what="the end of the calls")


OFFLOAD = """
static int work(void *arg) { usleep(300000); return *(int *)arg + 1; }
static int page(srv_request *rq) { int x = 41; return srv_reply(rq, 200, "%d", srv_offload(rq, work, &x)); }
"""


@pytest.mark.parametrize("model", MODELS)
def test_offloaded_work_holds_nobody_up(handler, model):
    app = handler(OFFLOAD, "--model", model)
    begin = time.monotonic()
    conns = [RawConnection(app) for _ in range(4)]
    for conn in conns:
        conn.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert [conn.read_response().body for conn in conns] == [b"42"] * 4
    if model != "single":
        assert time.monotonic() - begin < 1.1  # 1.2 s in a row
    for conn in conns:
        conn.close()


# --- compilers ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("compiler", ["gcc", "clang", "g++"])
def test_objects_of_other_compilers(tmp_path, serve, slowapi, compiler):
    if shutil.which(compiler) is None:
        pytest.skip(f"no {compiler}")
    app = serve(build(tmp_path, FLASK, compiler=compiler), upstream=slowapi())
    assert get(app).text == "Hi there! slow api response"


@pytest.mark.parametrize("name", ["index", "echo", "self", "cpu", "db"])
def test_builtin_applications_are_objects_that_a_user_could_have_written(tmp_path, serve, slowapi, name):
    api = slowapi()
    path = build(tmp_path, (ROOT / "examples" / f"{name}.c").read_text())
    own = serve(path, upstream=api)
    ours = serve(name, upstream=api if name != "echo" else None)
    for target in ("/?delay=x", "/nowhere", "/?delay=0" if name in ("index", "echo") else "/?delay=-1"):
        mine, yours = get(own, target, headers={"Host": "x"}), get(ours, target, headers={"Host": "x"})
        assert (mine.status, mine.text) == (yours.status, yours.text)
