# SPDX-License-Identifier: MIT
"""What a developer of an application types: the header, applications as source, --reload, --new."""

import json
import os
import pwd
import signal
import subprocess
from pathlib import Path

import pytest
from harness import ROOT, children, get, run, srv_binary, wait_for

TUTORIAL = """
#include <srv/app.h>

static int index_page(srv_request *rq) {
    const srv_response *api = srv_get(rq, "?delay=%s", srv_arg(rq, "delay", "1"));
    return srv_reply(rq, 200, "Hi there! %s", api->text);
}

SRV_APP(.handle = index_page)
"""


PAGE = """
#include <srv/app.h>
static int page(srv_request *rq) { return srv_reply(rq, 200, "%s", TEXT); }
SRV_APP(.handle = page)
"""
root_only = pytest.mark.skipif(os.geteuid() != 0, reason="changes its user")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """A cache of the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for variable in ("CC", "CXX", "CPPFLAGS", "CFLAGS", "CXXFLAGS", "LDFLAGS", "LDLIBS"):
        monkeypatch.delenv(variable, raising=False)
    return tmp_path / "cache/srv"


def page_of(text, before=""):
    """The source of an application that answers with that text."""
    return before + PAGE.replace("TEXT", f'"{text}"')


def tell(*command, cwd=None, env=None):
    """What a command that succeeds prints."""
    done = subprocess.run(
        [str(word) for word in command], cwd=cwd, env=env, text=True, capture_output=True, timeout=80, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


# --- the header -----------------------------------------------------------------------------------


def test_the_header_is_in_the_program(tmp_path):
    done = subprocess.run([srv_binary(), "serve", "--print-header"], capture_output=True, timeout=30, check=True)
    assert done.stdout == (ROOT / "include/srv/app.h").read_bytes()
    assert done.stderr == b""


def test_a_header_that_cannot_be_written_is_a_failure():
    with open("/dev/full", "w", encoding="ascii") as full:
        done = subprocess.run([srv_binary(), "serve", "--print-header"], stdout=full, timeout=30, check=False)
    assert done.returncode == 1


def test_an_object_needs_nothing_but_the_program(tmp_path, serve, slowapi):
    (tmp_path / "app.c").write_text(TUTORIAL)
    script = 'mkdir -p srv && "$0" serve --print-header >srv/app.h && cc -I. -shared -fPIC -o app.so app.c'
    tell("sh", "-c", script, srv_binary(), cwd=tmp_path)
    app = serve(tmp_path / "app.so", upstream=slowapi())
    assert get(app, "/?delay=0").text == "Hi there! slow api response"


def test_an_installed_header_is_found_by_pkg_config(tmp_path, serve, slowapi):
    build, root = Path(srv_binary()).resolve().parents[1], tmp_path / "root"
    env = {**os.environ, "DESTDIR": str(root)}
    tell("/usr/bin/meson", "install", "-C", build, "--no-rebuild", "--quiet", env=env)
    found = next(root.rglob("srv.pc"))
    env = {**os.environ, "PKG_CONFIG_PATH": str(found.parent), "PKG_CONFIG_SYSROOT_DIR": str(root)}
    (tmp_path / "app.c").write_text(TUTORIAL)
    script = "cc $(pkg-config --cflags srv) -shared -fPIC -o app.$(pkg-config --variable=suffix srv) app.c"
    tell("sh", "-c", script, cwd=tmp_path, env=env)
    version = tell("pkg-config", "--modversion", "srv", env=env).strip()
    assert f"srv {version}" == run("--version").stdout.strip()
    app = serve(tmp_path / "app.so", upstream=slowapi())
    assert get(app, "/?delay=0").text == "Hi there! slow api response"


# --- applications as source ------------------------------------------------------------------------


def refused(*args, env=None):
    """The lines of a start that fails before anything is bound."""
    done = run("serve", "--bind", "127.0.0.1:0", *args, env=env)
    assert (done.returncode, done.stdout) == (2, "")
    assert "listening" not in done.stderr
    return done.stderr.splitlines()


@pytest.fixture
def compiler(tmp_path):
    """A compiler that counts: compiler.calls()."""
    path, log = tmp_path / "counting-cc", tmp_path / "calls"
    path.write_text(f'#!/bin/sh\necho >>"{log}"\nexec cc "$@"\n')
    path.chmod(0o755)

    class Counting:
        env = {"CC": str(path)}

        @staticmethod
        def calls():
            return len(log.read_text()) if log.exists() else 0

    return Counting


@pytest.mark.parametrize("name", ["app.c", "app.cc", "app.cpp", "app.cxx"])
@pytest.mark.parametrize("workers", [0, 2])
def test_a_source_is_compiled_and_served(tmp_path, serve, slowapi, name, workers):
    (tmp_path / name).write_text(TUTORIAL + ("" if name == "app.c" else "\nstatic auto is_cplusplus = true;\n"))
    app = serve("--workers", workers, tmp_path / name, upstream=slowapi())
    assert get(app, "/?delay=0").text == "Hi there! slow api response"


@pytest.mark.parametrize("name, env", [("app.c", {"CC": "clang"}), ("app.cc", {"CXX": "clang++"}), ("app.c", {"CC": "gcc -std=c99"})])
def test_other_compilers(tmp_path, serve, name, env):
    """Each lists what it includes in its own way: a change of a header is noticed."""
    (tmp_path / name).write_text('#include "part.h"\n' + PAGE)
    for text in ("one", "two"):
        (tmp_path / "part.h").write_text(f'#define TEXT "{text}"\n')
        assert get(serve(tmp_path / name, env=env)).text == text


def test_errors_are_shown_as_the_compiler_says_them(tmp_path):
    source = tmp_path / "app.c"
    source.write_text(page_of("x") + "int x = nonsense;\n")
    lines = refused(source)
    assert any(line.startswith(f"{source}:5:9: error: ") for line in lines)
    assert lines[-1] == f"srv serve: cannot compile '{source}'"


@pytest.mark.parametrize("name", ["app.c", "app.cc"])
def test_a_function_that_is_not_there_is_told_with_its_line(tmp_path, name):
    """Not as one that a later srv may have: the header is this one's."""
    source = tmp_path / name
    source.write_text(page_of("x").replace("srv_reply", "srv_rply"))
    lines = refused(source)
    assert any(line.startswith(f"{source}:3:") and " error: " in line and "srv_rply" in line for line in lines), lines
    assert lines[-1] == f"srv serve: cannot compile '{source}'"


def test_warnings_are_shown_and_it_is_served(tmp_path, serve):
    (tmp_path / "app.c").write_text(page_of("served") + "static int unused;\n")
    app = serve(tmp_path / "app.c")
    assert get(app).text == "served"
    assert "warning: " in app.stderr() and "unused" in app.stderr()


@pytest.mark.parametrize(
    "make, why",
    [
        (lambda path: None, "cannot read '{}': No such file or directory"),
        (lambda path: path.mkdir(), "cannot read '{}': Is a directory"),
        (os.mkfifo, "cannot read '{}': it is no regular file"),
        (lambda path: path.write_text("int x;"), "cannot load '{}': it has no srv_app; SRV_APP(...) makes one"),
        (
            lambda path: path.write_text(page_of("x") + "int more(void);\nint f(void);\nint f(void) { return more(); }\n"),
            "cannot load '{}': undefined symbol: more",
        ),
    ],
)
def test_sources_that_cannot_be_served(tmp_path, make, why):
    path = tmp_path / "app.c"
    make(path)
    assert refused(path) == [f"srv serve: {why.format(path)}"]


def test_without_a_compiler(tmp_path):
    (tmp_path / "app.c").write_text(page_of("x"))
    for compiler in ("no-such-cc", "/no/such/cc"):
        (line,) = refused(tmp_path / "app.c", env={"CC": compiler})
        assert f"there is no compiler '{compiler}'; install one" in line and "CC" in line


def test_a_compiler_that_is_killed(tmp_path):
    path = tmp_path / "dying-cc"
    path.write_text("#!/bin/sh\nkill -9 $$\n")
    path.chmod(0o755)
    (tmp_path / "app.c").write_text(page_of("x"))
    assert refused(tmp_path / "app.c", env={"CC": path}) == [
        f"srv serve: cannot compile '{tmp_path}/app.c': {path} was ended by SIGKILL"
    ]


def test_variables_add_words(tmp_path, serve):
    text = '#include <math.h>\n#include <srv/app.h>\nstatic int page(srv_request *rq) {\n'
    text += '    return srv_reply(rq, 200, "%d %d %d %.1f", A, B, C, cos(atof(srv_arg(rq, "x", "0"))));\n}\n'
    (tmp_path / "app.c").write_text("#include <stdlib.h>\n" + text + "SRV_APP(.handle = page)\n")
    env = {"CC": "gcc  -DA=1", "CPPFLAGS": "-DB=2", "CFLAGS": "\t-DC=3  -O0 ", "LDLIBS": "-lm"}
    assert get(serve(tmp_path / "app.c", env=env)).text == "1 2 3 1.0"


@pytest.mark.parametrize("folder, name", [("a folder", "a name.c"), ("a#b", "c$d.c"), (".", "app.c")])
def test_names_that_make_would_escape(tmp_path, serve, compiler, folder, name):
    """The list of what was included is read as it was written: a change of a header is noticed."""
    source, part = tmp_path / folder / name, tmp_path / folder / "a part#$.h"
    source.parent.mkdir(exist_ok=True)
    source.write_text('#include "a part#$.h"\n' + PAGE)
    for text in ("one", "two", "two"):
        part.write_text(f'#define TEXT "{text}"\n')
        assert get(serve(source, env=compiler.env)).text == text
    assert compiler.calls() == 2


def test_a_name_that_begins_with_a_dash(tmp_path, monkeypatch, serve):
    (tmp_path / "-x.c").write_text(page_of("dash"))
    monkeypatch.chdir(tmp_path)
    assert get(serve("--", "-x.c")).text == "dash"


def test_what_was_compiled_is_kept(tmp_path, serve, compiler):
    source, part = tmp_path / "app.c", tmp_path / "part.h"
    source.write_text('#include "part.h"\n' + PAGE)

    def answer(calls, **env):
        reply = get(serve(source, env={**compiler.env, **env})).text
        assert compiler.calls() == calls
        return reply

    part.write_text('#define TEXT "one"\n')
    assert answer(1) == "one"
    assert answer(1) == "one"
    part.write_text('#define TEXT "two"\n')
    assert answer(2) == "two"
    part.write_text('#define TEXT "one"\n')  # as at first
    assert answer(3) == "one"
    source.write_text('#include "part.h"\n' + PAGE.replace("TEXT", 'TEXT "!"'))
    assert answer(4) == "one!"
    assert answer(5, CFLAGS="-O1") == "one!"
    assert answer(5, CFLAGS="-O1") == "one!"
    assert answer(5) == "one!"
    Path(compiler.env["CC"]).write_text(Path(compiler.env["CC"]).read_text() + "# another compiler\n")
    assert answer(6) == "one!"


def test_those_that_were_used_last_are_kept(tmp_path, cache):
    source = tmp_path / "app.c"
    source.write_text(page_of("x"))
    assert run("serve", "--check-config", source).returncode == 0
    (used,) = cache.glob("*.so")
    for i in range(300):
        for suffix in (".so", ".inputs"):
            (cache / f"old-{i}{suffix}").touch()
            os.utime(cache / f"old-{i}{suffix}", (i, i))
    source.write_text(page_of("y"))
    assert run("serve", "--check-config", source).returncode == 0
    assert len(list(cache.glob("*.so"))) == len(list(cache.glob("*.inputs"))) == 256
    assert used.exists() and not (cache / "old-0.so").exists()


def test_starts_at_the_same_time_share_a_cache(tmp_path, cache):
    (tmp_path / "app.c").write_text(page_of("x"))
    command = [srv_binary(), "serve", "--check-config", str(tmp_path / "app.c")]
    started = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) for _ in range(8)]
    for process in started:
        said, _ = process.communicate(timeout=60)
        assert process.returncode == 0, said
    assert len(list(cache.glob("*.so"))) == 1
    assert not list(cache.glob("tmp-*"))


# --- objects that somebody else could have written ----------------------------------------------------


def test_the_cache_is_for_its_user_alone(tmp_path, cache, serve):
    (tmp_path / "app.c").write_text(page_of("x"))
    old = os.umask(0)
    try:
        assert get(serve(tmp_path / "app.c")).text == "x"
    finally:
        os.umask(old)
    assert cache.stat().st_mode & 0o7777 == 0o700
    assert all(path.stat().st_mode & 0o077 == 0 for path in cache.iterdir())


def spoil_mode(path):
    path.chmod(0o777)


def spoil_owner(path):
    if os.geteuid() != 0:
        pytest.skip("changes its user")
    os.chown(path, pwd.getpwnam("nobody").pw_uid, -1)


def spoil_link(path):
    path.rename(path.with_suffix(".elsewhere"))
    path.symlink_to(path.with_suffix(".elsewhere"))


@pytest.mark.parametrize("spoil", [spoil_mode, spoil_owner, spoil_link])
@pytest.mark.parametrize("what", ["*.so", "*.inputs"])
def test_a_kept_object_that_others_could_have_written_is_not_loaded(tmp_path, cache, compiler, what, spoil):
    (tmp_path / "app.c").write_text(page_of("x"))
    for calls in (1, 1, 2):
        assert run("serve", "--check-config", tmp_path / "app.c", env=compiler.env).returncode == 0
        assert compiler.calls() == calls
        (path,) = cache.glob(what)
        if calls == 1 and (cache / "seen").exists():
            spoil(path)
        (cache / "seen").touch()


@pytest.mark.parametrize(
    "spoil, above", [(spoil_mode, False), (spoil_mode, True), (spoil_owner, False), (spoil_owner, True), (spoil_link, False)]
)
def test_a_cache_that_others_can_change_is_not_used(tmp_path, cache, spoil, above):
    home = tmp_path / "home"
    home.mkdir()
    cache.mkdir(parents=True)
    spoil(cache.parent if above else cache)
    (tmp_path / "app.c").write_text(page_of("x"))
    assert run("serve", "--check-config", tmp_path / "app.c", env={"HOME": home}).returncode == 0
    assert not list(cache.glob("*.so"))
    assert len(list((home / ".cache/srv").glob("*.so"))) == 1


@root_only
def test_the_compiler_runs_as_the_user_that_serves(tmp_path, serve, monkeypatch):
    """Objects that only root can read, or in a folder of root's, would be of no use to workers."""
    nobody = pwd.getpwnam("nobody")
    monkeypatch.delenv("XDG_CACHE_HOME")
    folder = Path("/tmp") / f"srv-test-{os.getpid()}"
    folder.mkdir(mode=0o755)
    folder.chmod(0o755)
    try:
        compiler = folder / "cc"
        compiler.write_text('#!/bin/sh\nid -un >&2\nexec cc "$@"\n')
        compiler.chmod(0o755)
        (folder / "app.c").write_text(page_of(f"as nobody {os.getpid()}"))
        app = serve("--user", "nobody", "--workers", 1, folder / "app.c", env={"CC": compiler})
        assert get(app).text == f"as nobody {os.getpid()}"
        assert app.stderr().splitlines()[0] == "nobody"
        kept = Path(f"/tmp/srv-{nobody.pw_uid}")
        assert kept.stat().st_uid == nobody.pw_uid and kept.stat().st_mode & 0o7777 == 0o700
        (folder / "app.c").write_text(page_of(f"again {os.getpid()}"))
        app.send_signal(signal.SIGHUP)
        wait_for(lambda: get(app).text == f"again {os.getpid()}", what="new code")
        (folder / "app.c").chmod(0o600)
        assert refused("--user", "nobody", folder / "app.c") == [
            f"srv serve: cannot read '{folder}/app.c': Permission denied"
        ]
    finally:
        subprocess.run(["rm", "-rf", folder, f"/tmp/srv-{nobody.pw_uid}"], check=True)


# --- new code ------------------------------------------------------------------------------------------


def test_hup_compiles_again_and_an_error_leaves_the_old_code(tmp_path, serve):
    source = tmp_path / "app.c"
    source.write_text(page_of("one"))
    app = serve("--workers", 2, source)
    assert get(app).text == "one"
    source.write_text(page_of("two"))
    app.send_signal(signal.SIGHUP)
    wait_for(lambda: get(app).text == "two", what="new code")
    source.write_text("nonsense")
    app.send_signal(signal.SIGHUP)
    wait_for(lambda: f"serve on: cannot compile '{source}'" in app.stderr(), what="a refusal")
    assert f"{source}:1:1: error: " in app.stderr()
    assert get(app).text == "two"
    workers = children(app.pid)
    os.kill(workers[0], signal.SIGKILL)  # its successor runs the old code, too
    wait_for(lambda: len(children(app.pid)) == 2 and workers[0] not in children(app.pid), what="a successor")
    assert {get(app).text for _ in range(20)} == {"two"}


@pytest.mark.parametrize("options", [(), ("--reload",)])
def test_an_upgraded_program_compiles_again(tmp_path, serve, options):
    source, pid_file = tmp_path / "app.c", tmp_path / "pid"
    source.write_text(page_of("one"))
    app = serve("--workers", 1, "--pid", pid_file, *options, source)
    source.write_text("nonsense")
    app.send_signal(signal.SIGUSR2)
    wait_for(lambda: "the upgraded program ended, this one goes on" in app.stderr(), what="a refusal")
    assert get(app).text == "one"
    source.write_text(page_of("two"))
    app.send_signal(signal.SIGUSR2)
    assert app.wait(timeout=40) == 0
    successor = int(pid_file.read_text())
    try:
        assert get(app).text == "two"
        source.write_text(page_of("three"))
        if options:
            answers(app, "three")
    finally:
        os.kill(successor, signal.SIGTERM)
    wait_for(lambda: not pid_file.exists(), what="the end of the successor")


# --- --reload ------------------------------------------------------------------------------------------


def replace_by_rename(path, text):
    """As editors save."""
    path.with_name(f".{path.name}.swp").write_text(text)
    path.with_name(f".{path.name}.swp").rename(path)


def save_in_place(path, text):
    path.write_text(text)


def save_beside(path, text):
    """As other editors save: the old file gets another name."""
    path.rename(path.with_name(path.name + "~"))
    path.write_text(text)


def answers(app, text):
    wait_for(lambda: get(app).text == text, seconds=30, what=f"the answer {text}")


@pytest.mark.parametrize("save", [replace_by_rename, save_in_place, save_beside])
def test_a_source_that_changes_is_reloaded(tmp_path, serve, save):
    source = tmp_path / "app.c"
    source.write_text(page_of("one"))
    app = serve("--reload", source)
    assert get(app).text == "one"
    assert len(children(app.pid)) == 1
    for text in ("two", "three"):
        save(source, page_of(text))
        answers(app, text)


@pytest.mark.parametrize("save", [replace_by_rename, save_in_place])
def test_what_a_source_includes_is_watched_too(tmp_path, serve, save):
    source, part = tmp_path / "app.c", tmp_path / "parts/part.h"
    part.parent.mkdir()
    part.write_text('#define TEXT "one"\n')
    source.write_text('#include "parts/part.h"\n' + PAGE)
    app = serve("--reload", "--workers", 2, source)
    save(part, '#define TEXT "two"\n')
    answers(app, "two")
    source.write_text('#include "parts/more.h"\n' + PAGE)  # which is not there yet
    wait_for(lambda: "cannot compile" in app.stderr(), what="an error")
    (part.parent / "more.h").write_text('#define TEXT "three"\n')
    answers(app, "three")
    save(part.parent / "more.h", '#define TEXT "four"\n')
    answers(app, "four")


def test_an_error_is_shown_while_the_old_code_serves_on(tmp_path, serve):
    source = tmp_path / "app.c"
    source.write_text(page_of("one"))
    app = serve("--reload", source)
    source.write_text(page_of("two").replace(";", "", 1))
    wait_for(lambda: f"serve on: cannot compile '{source}'" in app.stderr(), what="a refusal")
    assert f"{source}:" in app.stderr() and " error: " in app.stderr()
    assert get(app).text == "one"
    source.write_text(page_of("two"))
    answers(app, "two")


def test_an_object_that_changes_is_reloaded(tmp_path, serve):
    source, path = tmp_path / "elsewhere.c", tmp_path / "app.so"

    def build(text):
        source.write_text(page_of(text))
        tell("cc", "-shared", "-fPIC", "-I", ROOT / "include", "-o", tmp_path / "new.so", source)
        (tmp_path / "new.so").rename(path)

    build("one")
    app = serve("--reload", path)
    build("two")
    answers(app, "two")
    (tmp_path / "new.so").write_text("text")
    (tmp_path / "new.so").rename(path)
    wait_for(lambda: "it is not a shared object" in app.stderr(), what="a refusal")
    assert get(app).text == "two"
    build("three")
    answers(app, "three")


def test_a_link_is_watched_at_both_ends(tmp_path, serve):
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    for folder in ("one", "two"):
        (tmp_path / folder / "app.c").write_text(page_of(folder))
    (tmp_path / "app.c").symlink_to("one/app.c")
    app = serve("--reload", tmp_path / "app.c")
    (tmp_path / "one/app.c").write_text(page_of("one!"))
    answers(app, "one!")
    (tmp_path / "link").symlink_to("two/app.c")
    (tmp_path / "link").rename(tmp_path / "app.c")
    answers(app, "two")
    (tmp_path / "two/app.c").write_text(page_of("two!"))
    answers(app, "two!")


def test_a_folder_that_is_replaced_is_watched_again(tmp_path, serve):
    for folder, text in (("now", "one"), ("next", "two")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "app.c").write_text(page_of(text))
    app = serve("--reload", tmp_path / "now/app.c")
    (tmp_path / "now").rename(tmp_path / "old")
    (tmp_path / "next").rename(tmp_path / "now")
    answers(app, "two")
    (tmp_path / "now/app.c").write_text(page_of("three"))
    answers(app, "three")


def test_saves_at_the_same_time_are_one(tmp_path, serve, compiler):
    source = tmp_path / "app.c"
    source.write_text(page_of("one"))
    (tmp_path / "other.c").write_text("")
    app = serve("--reload", source, env=compiler.env)
    for text in ("a", "b", "c", "d", "two"):
        source.write_text(page_of(text))
    answers(app, "two")
    assert app.stderr().count("changed, reloading") == 1
    (tmp_path / "other.c").write_text("is none of it")
    (tmp_path / "app.c.swp").write_text("is none of it")
    source.write_text(page_of("three"))
    answers(app, "three")
    assert app.stderr().count("changed, reloading") == 2


def test_a_storm_of_saves_ends_nothing(tmp_path, serve):
    source = tmp_path / "app.c"
    source.write_text(page_of("one"))
    app = serve("--reload", source)
    for i in range(20000):
        if i % 2:
            source.touch()
        else:
            (tmp_path / f"file-{i % 100}").touch()
    source.write_text(page_of("two"))
    answers(app, "two")


@pytest.mark.parametrize("model", ["green", "pool", "threaded"])
def test_reloads_lose_no_request(tmp_path, serve, model):
    slow = 'static int page(srv_request *rq) { srv_sleep(rq, 0.02); return srv_reply(rq, 200, "version %d", N); }'
    source = tmp_path / "app.c"

    def write(number):
        text = "#include <srv/app.h>\n" + slow.replace("N", str(number)) + "\nSRV_APP(.handle = page)\n"
        replace_by_rename(source, text)

    write(0)
    app = serve("--reload", "--model", model, source)
    seconds = 6
    command = [srv_binary(), "bench", "-c", "16", "-k", "-t", str(seconds), "-n", "1000000", "--json", "-", app.url]
    bench = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    for number in (1, 2, 3):
        write(number)
        answers(app, f"version {number}")
    said, errors = bench.communicate(timeout=seconds + 30)
    report = json.loads(said)["totals"]
    assert bench.returncode == 0, errors
    assert report["failed"] == report["errors"] == 0 and report["succeeded"] > 100, report


def test_apps_that_are_compiled_in_never_change(srv_run):
    done = srv_run("serve", "--reload", "--bind", "127.0.0.1:0", "index")
    assert (done.returncode, done.stderr) == (2, "srv serve: --reload: an app that is compiled in never changes\n")


# --- --new ---------------------------------------------------------------------------------------------


@pytest.fixture
def srv_in_path(tmp_path, monkeypatch):
    """An environment in which `srv` is the program under test, and a folder to work in."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/srv").symlink_to(Path(srv_binary()).resolve())
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return {**os.environ, "PATH": f"{tmp_path}/bin:/usr/bin:/bin"}


def test_a_new_application_is_served_built_and_tested(srv_in_path, serve, slowapi):
    said = tell("srv", "serve", "--new", "my-app_2", env=srv_in_path)
    assert sorted(path.name for path in Path("my-app_2").iterdir()) == [
        "README.md", "meson.build", "my-app_2.c", "test_my-app_2.py"
    ]  # fmt: skip
    assert "@" not in "".join(path.read_text() for path in Path("my-app_2").iterdir() if path.suffix != ".py")
    commands = [line.strip() for line in said.splitlines() if line.startswith("    ")]
    assert "srv serve --reload my-app_2/my-app_2.c" in commands
    for command in commands[-2:]:  # those that test it and build it
        assert "my-app_2: good" in tell("sh", "-c", command + " --verbose" * ("meson" in command), env=srv_in_path)
    for app in ("my-app_2/my-app_2.c", "my-app_2/build/my-app_2.so"):
        assert get(serve(app, upstream=slowapi()), "/hello/you").text == "Hello, you!\n"


def test_a_new_application_is_built_with_an_installed_header(tmp_path, srv_in_path):
    build, root = Path(srv_binary()).resolve().parents[1], tmp_path / "root"
    tell("/usr/bin/meson", "install", "-C", build, "--no-rebuild", "--quiet", env={**os.environ, "DESTDIR": str(root)})
    folder = str(next(root.rglob("srv.pc")).parent)
    env = {**srv_in_path, "PKG_CONFIG_PATH": folder, "PKG_CONFIG_SYSROOT_DIR": str(root)}
    tell("srv", "serve", "--new", "app", env=env)
    said = tell("sh", "-c", "meson setup app/build app && meson test -C app/build", env=env)
    assert "dependency srv found: YES" in said and not Path("app/build/srv").exists()


@pytest.mark.parametrize("old, new", [("Hello, %s", "Bye, %s"), ("return srv_reply", "return srv_nothing")])
def test_the_test_of_a_new_application_can_fail(srv_in_path, old, new):
    tell("srv", "serve", "--new", "app", env=srv_in_path)
    source = Path("app/app.c")
    source.write_text(source.read_text().replace(old, new))
    command = ["python3", "app/test_app.py"]
    done = subprocess.run(command, env=srv_in_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode != 0 and "good" not in done.stdout


def test_a_new_application_overwrites_nothing(srv_in_path):
    Path("app").mkdir()
    Path("file").write_text("mine")
    for name in ("app", "file"):
        done = run("serve", "--new", name)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr == f"srv serve: --new: cannot make '{name}': File exists\n"
    assert not list(Path("app").iterdir()) and Path("file").read_text() == "mine"


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/tmp/x", "-a", "1a", "a b", "a.c", "\u00e4", "x" * 65, "a\nb"])
def test_names_that_no_application_has(srv_in_path, name):
    done = run("serve", f"--new={name}")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert not list(Path().iterdir())
