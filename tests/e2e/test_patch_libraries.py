# SPDX-License-Identifier: MIT
"""Unmodified libraries under green threads: the handlers of examples/, as objects, against real servers."""

import http.server
import re
import shutil
import ssl
import subprocess
import threading
import time
from pathlib import Path

import pytest
from harness import ROOT, RawConnection, get, wait_for
from postgres import Mariadb, Redis, ask_all, statuses
from test_handlers import build

HEADERS = {"curl": "libcurl", "libpq": "libpq", "hiredis": "hiredis", "mariadb": "libmariadb"}  # as pkg-config knows them
LIBRARIES = tuple(HEADERS)
TURN = 0.5  # seconds of each call; all are the servers' own waiting


def compile_as_told(library, folder):
    """The path of an example that was compiled by the command at its top."""
    told = (ROOT / "examples" / f"{library}.c").read_text().split("#include")[0]
    command = re.search(r"^ \*   cc (.*?[^\\])$", told, re.M | re.S)[1].replace("\\\n *", "")
    assert f"-o {library}.so " in command
    command = command.replace(f"-o {library}.so ", f'-o "{folder}/{library}.so" ')
    done = subprocess.run(["sh", "-c", f"cc -Wall -Wextra -Werror {command}"], cwd=ROOT, text=True, capture_output=True)
    assert done.returncode == 0, done.stderr
    return f"{folder}/{library}.so"


@pytest.fixture(scope="session")
def objects(tmp_path_factory):
    """objects(LIBRARY) -> the path of the example, compiled; skips when its library is not installed."""
    folder = tmp_path_factory.mktemp("libraries")
    built = {}

    def compile_one(library):
        if subprocess.run(["pkg-config", "--exists", HEADERS[library]], check=False).returncode != 0:
            pytest.skip(f"{library} is not installed: scripts/setup test")
        if library not in built:
            built[library] = compile_as_told(library, folder)
        return built[library]

    return compile_one


def private(kind):
    """A private server of that kind, shared by all tests of a process."""

    def start():
        if not kind.is_installed():
            pytest.skip(f"{kind.program} is not installed: scripts/setup test")
        server = kind()
        try:
            yield server
        finally:
            server.close()

    return pytest.fixture(scope="session")(start)


redis = private(Redis)
mariadb = private(Mariadb)


@pytest.fixture
def library(request, objects, serve):
    """library(NAME, *OPTIONS, unix=False) -> srv serve of that example, in front of its server."""

    def start(name, *options, unix=False):
        if name == "curl":
            config = (f"url={request.getfixturevalue('slowapi')('--graceful-timeout', '0').url}",)
        elif name == "libpq":
            postgres = request.getfixturevalue("postgres")
            host = f"host={postgres.folder} port={postgres.port} user=postgres dbname=postgres"
            config = (f"db={host if unix else postgres.conninfo} application_name=example",)
        else:
            server = request.getfixturevalue("redis" if name == "hiredis" else name)
            config = (f"socket={server.socket}",) if unix else ("host=127.0.0.1", f"port={server.port}")
            config += ("user=root",) if name == "mariadb" else ()
        return serve("--graceful-timeout", "0", *options, objects(name), *config)

    return start


def threads(app):
    return len(list(Path(f"/proc/{app.pid}/task").iterdir()))


def timed(app, count, path=f"/?delay={TURN}"):
    """(the replies of so many requests at once, seconds, the most threads that were seen meanwhile)"""
    replies, seen, start = [], [], time.monotonic()
    load = threading.Thread(target=lambda: replies.extend(ask_all(app, count, path)))
    load.start()
    while load.is_alive():
        seen.append(threads(app))
        load.join(0.05)
    return replies, time.monotonic() - start, max(seen)


# --- what is there to see ---------------------------------------------------------------


@pytest.mark.parametrize("name", LIBRARIES)
def test_twenty_calls_wait_side_by_side_on_one_thread(library, name):
    """Twenty calls of 0.5 s: 10 s in a row."""
    app = library(name, "--model", "green")
    assert get(app, "/?delay=0.01").status == 200
    before = threads(app)
    replies, seconds, during = timed(app, 20)
    assert statuses(replies) == {200: 20}
    assert TURN <= seconds < 5
    assert during == before


@pytest.mark.parametrize("name", LIBRARIES)
def test_without_patching_they_wait_in_a_row(library, name):
    app = library(name, "--model", "green", "--patch", "off")
    replies, seconds, _ = timed(app, 4, "/?delay=0.25")
    assert statuses(replies) == {200: 4} and seconds >= 1


@pytest.mark.parametrize("name", ["libpq", "hiredis", "mariadb"])
def test_unix_sockets_park_as_well(library, name):
    replies, seconds, _ = timed(library(name, "--model", "green", unix=True), 20)
    assert statuses(replies) == {200: 20} and TURN <= seconds < 5


@pytest.mark.parametrize("model", ["pool", "threaded"])
@pytest.mark.parametrize("name", LIBRARIES)
def test_the_same_objects_run_on_threads(library, name, model):
    replies, seconds, _ = timed(library(name, "--model", model), 4)
    assert statuses(replies) == {200: 4} and TURN <= seconds < 5


# --- how a request ends ------------------------------------------------------------------


@pytest.mark.parametrize("name", LIBRARIES)
def test_a_deadline_reaches_into_the_library(library, name):
    """Whatever the library makes of a call that was cut short, and the handler of that."""
    app = library(name, "--model", "green", "--request-timeout", "700ms")
    replies, seconds, _ = timed(app, 3, "/?delay=9")
    assert statuses(replies) == {504: 3}
    assert 0.7 <= seconds < 5
    assert get(app, "/?delay=0.01").status == 200


@pytest.mark.parametrize("name", LIBRARIES)
def test_who_leaves_frees_the_slot(library, name):
    app = library(name, "--model", "green", "--async-cores", "1")
    with RawConnection(app) as conn:
        conn.send(b"GET /?delay=25 HTTP/1.1\r\nHost: x\r\n\r\n")
        conn.expect_open(0.5)
    start = time.monotonic()
    assert get(app, "/?delay=0").status == 200
    assert time.monotonic() - start < 5


@pytest.mark.parametrize("name", ["libpq", "hiredis", "mariadb"])
def test_a_server_that_is_not_there_is_502(objects, serve, name):
    where = {"libpq": ("db=host=127.0.0.1 port=1",)}.get(name, ("host=127.0.0.1", "port=1"))
    reply = get(serve("--model", "green", objects(name), *where))
    assert reply.status == 502 and "cannot be reached" in reply.text


@pytest.mark.parametrize("name", LIBRARIES)
def test_a_delay_that_is_none_is_400(library, name):
    app = library(name, "--model", "green")
    assert [get(app, f"/?delay={delay}").status for delay in ("x", "-1", "1%20HTTP")] == [400] * 3


@pytest.mark.parametrize("config", [("curl", "url=ftp://x/"), ("hiredis", "port=x"), ("mariadb", "port=70000")])
def test_a_configuration_that_is_wrong_is_refused(objects, srv_run, config):
    name, item = config
    done = srv_run("serve", "--bind", "127.0.0.1:0", objects(name), item)
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and item.split("=")[0] + "=" in done.stderr


# --- libcurl: built in, names, TLS ----------------------------------------------------------


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_the_curl_app_is_built_in(slowapi, serve, host):
    api = slowapi("--graceful-timeout", "0")
    app = serve("--model", "green", "--patch", "on", "curl", f"url=http://{host}:{api.port}/")
    replies, seconds, _ = timed(app, 20)
    assert {reply.text for reply in replies} == {"Hi there! slow api response"} and TURN <= seconds < 5


def test_a_curl_that_may_use_signals_has_no_need_of_them(tmp_path, slowapi, serve):
    """Without CURLOPT_NOSIGNAL a libcurl that looks names up itself would use alarm(2) and longjmp(3): Debian's has a thread."""
    text, removed = re.subn(r".*CURLOPT_NOSIGNAL.*\n", "", (ROOT / "examples/curl.c").read_text())
    assert removed == 1
    api = slowapi("--graceful-timeout", "0")
    app = serve("--model", "green", build(tmp_path, text, flags=("-lcurl",)), f"url=http://localhost:{api.port}/")
    replies, seconds, _ = timed(app, 20)
    assert statuses(replies) == {200: 20} and TURN <= seconds < 5


def test_the_curl_app_is_not_patched_by_itself(slowapi, serve):
    app = serve("--model", "green", "curl", f"url={slowapi('--graceful-timeout', '0').url}")
    replies, seconds, _ = timed(app, 4, "/?delay=0.25")
    assert statuses(replies) == {200: 4} and seconds >= 1


@pytest.mark.parametrize(
    "args, told",
    [
        (("curl", "url=gopher://x/"), "'curl' does not start: url= is not allowed"),
        (("curl", "http://x/"), "KEY=VALUE"),
        (("--upstream", "http://x/", "curl"), "--upstream: "),
        (("--model", "event", "curl"), "--model event"),
    ],
)
def test_what_the_curl_app_cannot_do_is_told(srv_run, args, told):
    done = srv_run("serve", "--bind", "127.0.0.1:0", *args)
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and told in done.stderr


class SlowHandler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        time.sleep(TURN)
        self.send_response(200)
        self.send_header("Content-Length", "4")
        self.end_headers()
        self.wfile.write(b"slow")

    def log_message(self, *_):
        pass


@pytest.fixture
def https(tmp_path):
    """(URL, certificate) of a server that answers over TLS after 0.5 s."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed: scripts/setup test")
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), SlowHandler)
    server.daemon_threads = True
    server.request_queue_size = 64
    server.socket.listen(64)
    # The handshake belongs to the threads, not to the one that accepts.
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"https://localhost:{server.server_port}/", certificate
    server.shutdown()
    server.server_close()


def test_handshakes_park_as_well(https, objects, serve):
    url, certificate = https
    app = serve("--model", "green", objects("curl"), f"url={url}", f"ca={certificate}")
    replies, seconds, _ = timed(app, 20)
    assert {reply.text for reply in replies} == {"Hi there! slow"} and TURN <= seconds < 5


def test_a_certificate_that_nobody_signed_is_502(https, objects, serve):
    reply = get(serve("--model", "green", objects("curl"), f"url={https[0]}"))
    assert reply.status == 502 and "certificate" in reply.text.lower()


# --- many requests -------------------------------------------------------------------------


@pytest.mark.parametrize("name", LIBRARIES)
def test_a_hundred_clients_leave_nothing_behind(library, srv_run, name):
    app = library(name, "--model", "green")
    fds = Path(f"/proc/{app.pid}/fd")
    assert get(app, "/?delay=0").status == 200
    before = len(list(fds.iterdir()))
    done = srv_run("bench", "-q", "-l", "-n", "300", "-c", "30", "--fail-if", "errors>0", f"{app.url}?delay=0.02")
    assert done.returncode == 0, done.stdout + done.stderr + app.stderr()[-2000:]
    wait_for(lambda: len(list(fds.iterdir())) <= before + 2, what="the end of its connections")
