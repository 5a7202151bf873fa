# SPDX-License-Identifier: MIT
"""srv serve --patch report: what of an object, and of what it loads, patching covers."""

import fcntl
import os
import re
import runpy
import subprocess
from pathlib import Path

import pytest
from harness import ROOT, run, srv_binary
from test_handlers import app_of, build

# {way: names} and {way: (label, meaning)}: the table of fiber/meson.build.
DOCS = runpy.run_path(str(ROOT / "scripts/docs-options"))
CALLS, WAYS = DOCS["patch_calls"](), DOCS["WAYS"]

PAGE = """
#include <netdb.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/socket.h>
static int page(srv_request *rq) {
    char text[9];
    struct addrinfo *found = 0;

    poll(0, 0, 1);
    flock(0, LOCK_EX);
    recv(0, text, sizeof(text), 0);
    send(0, text, sizeof(text), 0);
    getaddrinfo("localhost", 0, 0, &found);
    return srv_reply(rq, 200, "%d %s", system("true"), fgets(text, 9, stdin));
}
"""


def linked(tmp_path, text, *libraries):
    """An object with libraries that are found where they lie, whether it calls them or not."""
    return build(tmp_path, text, flags=("-Wl,--no-as-needed", f"-Wl,-rpath,{tmp_path}", *libraries))


def report(*args, **options):
    """The lines of a report: nothing else is printed, and nothing is bound."""
    done = run("serve", "--patch", "report", *args, **options)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert all(len(line) <= 80 and line == line.rstrip() for line in done.stdout.splitlines())
    return done.stdout


def sections(text):
    """{library: {label: names}}; the first one is the object."""
    found = {}
    for line in re.sub(r"\n {13,}", " ", text).splitlines():
        if re.match(r"\S", line):
            library = found.setdefault(re.split(r"[ ,]", line)[0], {})
        elif match := re.match(r" {4}(\w+(?: ours)?) +(.*)", line):
            library.setdefault(match[1], match[2].split() if match[1] != "not ours" else match[2])
    return found


def make_library(tmp_path, text, *flags, name="libhelp.so"):
    (tmp_path / f"{name}.c").write_text(text)
    command = ["cc", "-shared", "-fPIC", f"-Wl,-soname,{name}", f"-Wl,-rpath,{tmp_path}", tmp_path / f"{name}.c", *flags]
    subprocess.run([*command, "-o", tmp_path / name], check=True)
    return str(tmp_path / name)


@pytest.fixture
def app(tmp_path):
    return build(tmp_path, app_of(PAGE))


def test_what_parks_what_gets_a_thread_and_what_blocks(app):
    (object_,) = [calls for name, calls in sections(report(app)).items() if name == "app.so"]
    assert "poll" in object_["parks"] and "fgets" in object_["streams"] and "system" in object_["blocks"]
    labels = {name: WAYS[way][0] for way, names in CALLS.items() if way in WAYS for name in names}
    told = {name: label for label, names in object_.items() for name in names}
    called = ("poll", "flock", "recv", "send", "getaddrinfo", "system", "fgets")
    assert told == {name: labels[name] for name in {*called, *told}}


def test_the_words_are_explained_once_and_only_those_that_are_there(app):
    text = report(app)
    for word in ("parks", "streams", "blocks"):
        assert len(re.findall(rf"^    {word} ", text, re.MULTILINE)) == 2, text
    assert "opens" not in text and "not ours" not in text
    assert "libc.so.6" in text


def test_a_source_is_compiled_and_reported(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "app.c").write_text(app_of(PAGE))
    assert "system" in sections(report(tmp_path / "app.c"))["app.c"]["blocks"]


def test_each_library_is_told_with_who_needs_it(tmp_path):
    deep = make_library(tmp_path, "#include <unistd.h>\nint deep(void) { return pause(); }", name="libdeep.so")
    help_ = make_library(
        tmp_path,
        "#include <dlfcn.h>\n#include <pthread.h>\n#include <unistd.h>\nint deep(void);\n"
        'int help(void) { pthread_t t; pthread_create(&t, 0, 0, 0); return dlopen("x", 1) ? deep() : fork(); }',
        deep,
    )
    quiet = make_library(tmp_path, "int quiet(void) { return 1; }", name="libquiet.so")
    body = "int help(void); int quiet(void);\nstatic int page(srv_request *rq) { return srv_reply(rq, 200, \"%d\", help() + quiet()); }"
    text = report(linked(tmp_path, app_of(body), help_, quiet))
    found = sections(text)
    assert "libhelp.so, which app.so needs\n" in text and "libdeep.so, which libhelp.so needs\n" in text
    assert found["libhelp.so"] == {"forks": ["fork"], "threads": ["pthread_create"], "opens": ["dlopen"]}
    assert found["libdeep.so"] == {"blocks": ["pause"]}
    assert re.search(r"wait in nothing:\n +libquiet\.so\n", text)
    assert "RTLD_DEEPBIND" in text and "none of libc's waits itself" in text


def test_libraries_that_srv_has_loaded_itself_are_told_as_well(tmp_path):
    body = "void *PQconnectdb(const char *);\nstatic int page(srv_request *rq) { return srv_reply(rq, 200, \"%p\", PQconnectdb(\"\")); }"
    text = report(linked(tmp_path, app_of(body), "-l:libpq.so.5"))
    assert "poll" in sections(text)["libpq.so.5"]["parks"]
    assert "libpq.so.5, which app.so needs\n" in text and "libssl.so.3" in text


@pytest.mark.parametrize("style", ["sysv", "gnu", "both"])
def test_either_hash_table_tells_how_many_symbols_there_are(tmp_path, app, style):
    expected = report(app)
    assert report(build(tmp_path, app_of(PAGE), flags=(f"-Wl,--hash-style={style}",))) == expected


def test_a_library_that_exports_nothing_is_told(tmp_path):
    """Its hash table knows no symbol."""
    mute = "#include <unistd.h>\n__attribute__((destructor)) static void late(void) { pause(); }"
    text = report(linked(tmp_path, app_of(PAGE), make_library(tmp_path, mute, "-nostartfiles", name="libmute.so")))
    assert sections(text)["libmute.so"] == {"blocks": ["pause"]}


@pytest.mark.parametrize("flags", [("-Wl,-Bsymbolic",), ("-fvisibility=protected",)], ids=["symbolic", "protected"])
def test_a_library_with_a_call_of_its_own_is_not_covered(tmp_path, flags):
    own = "#include <poll.h>\nint poll(struct pollfd *f, nfds_t n, int t) { return f && n && t; }\nint help(void) { return poll(0, 0, 1); }"
    help_ = make_library(tmp_path, own, *flags)
    body = 'int help(void);\nstatic int page(srv_request *rq) { return srv_reply(rq, 200, "%d", help()); }'
    text = report(linked(tmp_path, app_of(body), help_))
    assert sections(text)["libhelp.so"] == {"not ours": "poll (bound to itself)"}


def test_a_definition_that_srv_stands_before_is_covered(tmp_path):
    """A definition that others can replace is replaced by srv's."""
    own = "#include <poll.h>\nint poll(struct pollfd *f, nfds_t n, int t) { return f && n && t; }\nint help(void) { return poll(0, 0, 1); }"
    body = 'int help(void);\nstatic int page(srv_request *rq) { return srv_reply(rq, 200, "%d", help()); }'
    text = report(linked(tmp_path, app_of(body), make_library(tmp_path, own)))
    assert sections(text)["libhelp.so"] == {"parks": ["poll"]}


def test_a_library_that_is_opened_while_the_object_loads_is_told(tmp_path):
    late = make_library(tmp_path, "#include <unistd.h>\nint late(void) { return pause(); }", name="liblate.so")
    body = f'#include <dlfcn.h>\n__attribute__((constructor)) static void early(void) {{ dlopen("{late}", RTLD_NOW); }}\n'
    text = report(build(tmp_path, app_of(body + PAGE)))
    assert "liblate.so, opened while loading\n    blocks   pause\n" in text


@pytest.mark.skipif("asan" in srv_binary() or "tsan" in srv_binary(), reason="sanitizers refuse RTLD_DEEPBIND")
def test_a_library_that_finds_libc_first_is_not_covered(tmp_path):
    deep = make_library(tmp_path, "#include <poll.h>\nint deep(void) { return poll(0, 0, 1); }", name="libdeep.so")
    body = f'#include <dlfcn.h>\n__attribute__((constructor)) static void early(void) {{ dlopen("{deep}", RTLD_NOW | RTLD_DEEPBIND); }}\n'
    text = report(build(tmp_path, app_of(body + PAGE)))
    assert sections(text)["libdeep.so"] == {"not ours": "poll (bound to libc.so.6)"}
    assert "RTLD_DEEPBIND" in text


def test_a_reader_that_has_seen_enough_is_no_error(tmp_path):
    """As head is: the report does not fit into its pipe."""
    pause = "#include <unistd.h>\nint f(void) { return pause(); }"
    path = linked(tmp_path, app_of(PAGE), *(make_library(tmp_path, pause, name=f"lib{'x' * 200}{i}.so") for i in range(30)))
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    with subprocess.Popen([srv_binary(), "serve", "--patch", "report", path], stdout=writer, stderr=-1) as process:
        os.close(writer)
        assert os.read(reader, 6) == b"app.so"
        os.close(reader)
        assert (process.stderr.read(), process.wait(20)) == (b"", 0)


def test_an_object_that_says_that_it_blocks_is_reported(tmp_path):
    source = app_of(PAGE).replace("SRV_APP(", "SRV_APP(.flags = SRV_BLOCKS, ")
    assert "says that it blocks (SRV_BLOCKS)" in report("--model", "green", build(tmp_path, source))


@pytest.mark.parametrize("name", ["index", "cpu", "self", "echo"])
def test_what_is_built_in_waits_in_calls_of_srv(name):
    assert report(name).startswith(f"{name} is built in")


@pytest.mark.parametrize("name, library", [("curl", "libcurl.so.4"), ("db", "libpq.so.5")])
def test_what_is_built_in_and_calls_a_library_is_told_with_it(name, library):
    text = report(name)
    assert text.startswith(f"{name} is built in, and calls this library itself:\n\n{library}\n    parks ")
    assert "libssl.so.3" in text


@pytest.mark.parametrize(
    "make, why",
    [
        (lambda path: None, "No such file or directory"),
        (lambda path: path.write_text("text\n"), "it is not a shared object; cc -shared -fPIC makes one"),
        (lambda path: path.mkdir(), "it is not a regular file"),
        (lambda path: build(path.parent, "int x;"), "it has no srv_app"),
        (lambda path: build(path.parent, app_of("int none(void);\n" + PAGE.replace("system(", "none() + system("))), "undefined symbol: none"),
    ],
    ids=["missing", "text", "folder", "other", "undefined"],
)  # fmt: skip
def test_an_object_that_cannot_be_loaded_is_one_line(tmp_path, make, why):
    make(tmp_path / "app.so")
    done = run("serve", "--patch", "report", tmp_path / "app.so")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert done.stderr.startswith(f"srv serve: cannot load '{tmp_path}/app.so': ") and why in done.stderr


def test_an_object_that_crashes_while_it_loads_is_one_line(tmp_path):
    body = "__attribute__((constructor)) static void early(void) { raise(9); }\n"
    done = run("serve", "--patch", "report", build(tmp_path, "#include <signal.h>\n" + app_of(body + PAGE)))
    assert (done.returncode, done.stdout) == (1, "") and "was ended by SIGKILL" in done.stderr


def test_a_report_that_nobody_takes_is_an_error(app):
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([srv_binary(), "serve", "--patch", "report", app], stdout=full, stderr=-1, check=False)
    assert done.returncode == 1 and b"No space left on device" in done.stderr
