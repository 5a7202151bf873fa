# SPDX-License-Identifier: MIT
"""The binary interface of <srv/app.h>: objects of its first version, of every compiler, with and without sanitizers.

data/abi-1/srv/app.h is the header as version 1 had it, and is never changed.
"""

import os
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from harness import ROOT, Server, children, get, request, srv_binary, wait_for

FROZEN = ROOT / "tests/e2e/data/abi-1"
MODELS = ("single", "threaded", "pool", "green")
COMPILERS = ("gcc", "clang", "g++", "clang++")

APP = """
#include <srv/app.h>
#include <stdio.h>
#include <string.h>

static int part(srv_request *rq, void *arg) { return srv_sleep(rq, 0.01) + *(int *)arg; }
static int work(void *arg) { return *(int *)arg + 1; }
static int page(srv_request *rq) {
    int one = 1;
    char *text = (char *)srv_alloc(rq, 8);
    strcpy(text, "text");
    const srv_response *api = srv_get(rq, "?delay=%s", srv_arg(rq, "delay", "0"));
    srv_task *task = srv_start(rq, part, &one);
    srv_print(rq, "%s %d %d %s ", api->text, srv_join(rq, task), srv_offload(rq, work, &one), text);
    srv_print(rq, "%s %s %g", srv_segment(rq, 0), srv_header(rq, "X-A", "none"), srv_seconds(rq, "t", "0.5"));
    srv_set(rq, "X-B", "b");
    return srv_reply_printed(rq, 201);
}
static int start(srv_worker *w) { srv_set_data(w, (void *)"data"); return 0; }
static int data(srv_request *rq) {
    srv_worker *w = srv_worker_of(rq);
    return srv_reply(rq, 200, "%s %s", (const char *)srv_data(w), srv_config(w, "key", "none"));
}
static int fail(srv_request *rq) { return srv_fail(rq, 418, "%s", "tea"); }
static const srv_route routes[] = { { "GET /page/*", page }, { "/data", data }, { "/fail", fail }, { NULL, NULL } };
SRV_APP(.routes = routes, .start = start)
"""


def build(tmp_path, text, compiler="gcc", flags=(), include=FROZEN, name="app"):
    source, path = tmp_path / f"{name}.src", tmp_path / f"{name}.so"
    source.write_text(text)
    language = ("-x", "c++", "-std=c++20") if "++" in compiler else ("-x", "c", "-std=c11")
    command = [compiler, *language, "-Wall", "-Wextra", "-Werror", "-g", "-shared", "-fPIC", "-I", include]
    done = subprocess.run([*command, *flags, "-o", path, source], text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    return path


def check_answers(app):
    reply = request(app, "GET", "/page/a%20b", headers={"X-A": "a"})
    assert (reply.status, reply.text) == (201, "slow api response 1 2 text a b a 0.5")
    assert reply.headers["x-b"] == "b"
    assert get(app, "/data").text == "data value"
    reply = get(app, "/fail")
    assert (reply.status, reply.text) == (418, "tea\n")
    assert request(app, "POST", "/page/x").status == 405


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("compiler", COMPILERS)
def test_objects_of_the_first_version_are_served(tmp_path, serve, slowapi, compiler, model):
    check_answers(serve("--model", model, build(tmp_path, APP, compiler), "key=value", upstream=slowapi()))


@pytest.mark.parametrize("compiler", COMPILERS)
def test_objects_of_this_version_are_served(tmp_path, serve, slowapi, compiler):
    check_answers(serve(build(tmp_path, APP, compiler, include=ROOT / "include"), "key=value", upstream=slowapi()))


def declarations(folder):
    """What a header declares, without comments, one space between words; the members of srv_app apart."""
    command = ["gcc", "-E", "-P", "-xc", "-"]
    text = '#include "srv/app.h"\n'
    done = subprocess.run([*command, "-I", folder], input=text, text=True, capture_output=True, check=True)
    words = " ".join(done.stdout.split())
    app = re.search(r"struct srv_app \{(.*?)\} ?;", words)[1]
    found, depth, begin = [], 0, 0
    for at, char in enumerate(words):
        depth += (char == "{") - (char == "}")
        if char == ";" and depth == 0:
            found.append(words[begin:at].strip())
            begin = at + 1
    return {text for text in found if "srv_" in text and "struct srv_app {" not in text}, app


def test_declarations_are_added_and_never_changed():
    then, app_then = declarations(FROZEN)
    now, app_now = declarations(ROOT / "include")
    assert len(then) > 40
    assert not then - now
    assert app_now.startswith(app_then)


NAMES = sorted(set(re.findall(r"\b(srv_\w+)\(", " ".join(declarations(FROZEN)[0]))) - {"srv_handler"})


def test_every_function_of_the_first_version_is_there(tmp_path, serve):
    """Also those that no test calls: an object that names them all is loaded."""
    assert len(NAMES) > 40 and "srv_reply" in NAMES
    table = ", ".join(f"(void (*)(void)){name}" for name in NAMES)
    text = f"""
#include <srv/app.h>
void (*const all[])(void) = {{ {table} }};
static int page(srv_request *rq) {{ return srv_reply(rq, 200, "%zu", sizeof(all) / sizeof(all[0])); }}
SRV_APP(.handle = page)
"""
    assert get(serve(build(tmp_path, text, flags=("-Wno-cast-function-type",)))).text == str(len(NAMES))


# --- C++ -------------------------------------------------------------------------------------------------

THROWS = """
#include <srv/app.h>
#include <stdexcept>
#include <string>
#include <vector>

static void deeper(srv_request *rq, int depth) {
    std::vector<std::string> kept(3, "kept");
    if (depth > 0)
        return deeper(rq, depth - 1);
    srv_sleep(rq, srv_seconds(rq, "t", srv_arg(rq, "t", "0")));
    throw std::runtime_error(std::string("thrown by ") + srv_arg(rq, "name", "nobody"));
}

static int page(srv_request *rq) {
    std::string what;
    try {
        deeper(rq, 10);
    } catch (const std::exception &e) {
        what = e.what();
    }
    srv_sleep(rq, 0.01);
    return srv_reply(rq, 200, "%s", what.c_str());
}

SRV_APP(.handle = page)
"""


@pytest.mark.parametrize("model", ["threaded", "pool", "green"])
@pytest.mark.parametrize("compiler", ["g++", "clang++"])
def test_exceptions_are_caught_inside_a_handler(tmp_path, serve, compiler, model):
    """Of many requests at a time, each its own."""
    app = serve("--model", model, build(tmp_path, THROWS, compiler))

    def ask(number):
        return get(app, f"/?name={number}&t=0.0{number % 10}").text

    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(ask, range(64))) == [f"thrown by {number}" for number in range(64)]


@pytest.mark.parametrize("compiler", ["g++", "clang++"])
def test_an_exception_that_is_not_caught_costs_a_worker(tmp_path, serve, compiler):
    text = THROWS.replace("catch (const std::exception &e)", "catch (const std::bad_alloc &e)")
    app = serve("--workers", "1", build(tmp_path, "#include <new>\n" + text, compiler))
    wait_for(lambda: len(children(app.pid)) == 1, what="a worker")
    (worker,) = children(app.pid)
    with pytest.raises(OSError):
        get(app)
    wait_for(lambda: children(app.pid) not in ([], [worker]), what="another worker")
    assert "signal=SIGABRT" in app.stderr() and "thrown by nobody" in app.stderr()


# --- sanitizers ------------------------------------------------------------------------------------------


def is_sanitized(path):
    return b"__asan_init" in Path(path).read_bytes()


def programs():
    """The program under test, and those of other builds that have what this one lacks."""
    built = sorted(ROOT.glob("build/*/cmd/srv"), key=lambda path: path.stat().st_mtime, reverse=True)
    built = [path for path in built if b"__tsan_init" not in path.read_bytes()]  # its runtime bears no other beside it
    others = [path for path in built if is_sanitized(path) != is_sanitized(srv_binary())]
    return {is_sanitized(path): str(path) for path in [*others[:1], srv_binary()]}


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("sanitized_object", [False, True], ids=["plain-object", "asan-object"])
@pytest.mark.parametrize("sanitized_program", [False, True], ids=["plain-srv", "asan-srv"])
def test_sanitized_and_plain_go_together(tmp_path, monkeypatch, serve, slowapi, model, sanitized_program, sanitized_object):
    program = programs().get(sanitized_program)
    if program is None:
        pytest.skip("this program was not built")
    monkeypatch.setenv("SRV_BIN", program)
    path = build(tmp_path, APP, flags=("-fsanitize=address",) if sanitized_object else ())
    api = slowapi()
    env = {"ASAN_OPTIONS": "detect_leaks=0"}
    if sanitized_object and not sanitized_program:
        env["LD_PRELOAD"] = tell_libasan()
    check_answers(serve("--model", model, path, "key=value", upstream=api, env=env))


def tell_libasan():
    done = subprocess.run(["gcc", "-print-file-name=libasan.so"], text=True, capture_output=True, check=True)
    return os.path.realpath(done.stdout.strip())


@pytest.mark.parametrize("sanitized_program", [False, True], ids=["plain-srv", "asan-srv"])
def test_a_sanitized_object_is_watched(tmp_path, monkeypatch, sanitized_program):
    """It is no comfort if nothing is found because nothing looks."""
    program = programs().get(sanitized_program)
    if program is None:
        pytest.skip("this program was not built")
    monkeypatch.setenv("SRV_BIN", program)
    text = """
#include <srv/app.h>
#include <stdlib.h>
static int page(srv_request *rq) {
    char *block = malloc(8);
    free(block);
    return srv_reply(rq, 200, "%d", ((volatile char *)block)[3]);
}
SRV_APP(.handle = page)
"""
    flags = ("-fsanitize=address", "-Wno-use-after-free")
    env = {"ASAN_OPTIONS": "detect_leaks=0", **({} if sanitized_program else {"LD_PRELOAD": tell_libasan()})}
    app = Server("serve", ("--workers", "1", build(tmp_path, text, flags=flags)), tmp_path / "log", env)
    try:
        with pytest.raises(OSError):
            get(app)
        wait_for(lambda: "AddressSanitizer: heap-use-after-free" in app.stderr(), what="a report")
        assert "in page" in app.stderr()
    finally:
        app.kill()
