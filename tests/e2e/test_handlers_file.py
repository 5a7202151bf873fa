# SPDX-License-Identifier: MIT
"""Answers with files: srv_reply_file, srv_reply_below and examples/files.c."""

import os
import re
import socket
import time

import pytest
from harness import Client, RawConnection, get, open_files, raw, request, wait_for
from test_handlers import MODELS, ROOT, app_of, build

BIG = 10_000_000
PATTERN = b"abcdefghijklmnopqrstuvw"


def letters(size):
    return (PATTERN * (size // len(PATTERN) + 1))[:size]


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return build(tmp_path_factory.mktemp("files"), (ROOT / "examples/files.c").read_text())


@pytest.fixture
def folder(tmp_path):
    """What is served, and beside it what must not be."""
    inside = tmp_path / "served"
    (inside / "sub").mkdir(parents=True)
    (tmp_path / "secret.txt").write_text("secret")
    (tmp_path / "served-too").mkdir()
    (tmp_path / "served-too/secret.txt").write_text("secret")
    (inside / "index.html").write_text("<p>start")
    (inside / "page.txt").write_text("0123456789")
    (inside / "empty").write_text("")
    (inside / "sub/deep.json").write_text("{}")
    (inside / "big.bin").write_bytes(letters(BIG))
    (inside / "a b%c").write_text("odd name")
    (inside / "..dots").write_text("two dots")
    (inside / "out").symlink_to("../secret.txt")
    (inside / "absolute").symlink_to(tmp_path / "secret.txt")
    (inside / "absolute-in").symlink_to(inside / "page.txt")
    (inside / "up").symlink_to("..")
    (inside / "within").symlink_to("sub/../page.txt")
    (inside / "loop").symlink_to("loop")
    os.mkfifo(inside / "fifo")
    os.mkfifo(inside / "fifo.txt")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(inside / "sock"))
    listener.close()
    return inside


@pytest.fixture(params=MODELS)
def app(request, serve, path, folder):
    return serve("--model", request.param, path, f"folder={folder}")


# --- whole files ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "target, text, kind",
    [
        ("/", "<p>start", "text/html; charset=utf-8"),
        ("/page.txt", "0123456789", "text/plain; charset=utf-8"),
        ("/sub/deep.json", "{}", "application/json"),
        ("/a%20b%25c", "odd name", "application/octet-stream"),
        ("/..dots", "two dots", "application/octet-stream"),
        ("/within", "0123456789", "application/octet-stream"),
        ("/sub/../page.txt", "0123456789", "text/plain; charset=utf-8"),
        ("/empty", "", "application/octet-stream"),
    ],
)
def test_files(app, target, text, kind):
    reply = get(app, target)
    assert (reply.status, reply.text, reply.headers["content-type"]) == (200, text, kind)
    assert reply.headers["content-length"] == str(len(text)) and reply.headers["accept-ranges"] == "bytes"
    assert re.fullmatch(r'"[0-9a-f]+-[0-9a-f]+"', reply.headers["etag"]) and "GMT" in reply.headers["last-modified"]


def test_head_has_what_get_has_but_the_file(app):
    got, head = get(app, "/big.bin"), request(app, "HEAD", "/big.bin")
    assert got.body == letters(BIG) and head.body == b""
    for reply in (got, head):
        reply.headers.pop("date")
    assert got.headers == head.headers and head.headers["content-length"] == str(BIG)


@pytest.mark.parametrize("protocol", ["HTTP/1.0", "HTTP/1.1"])
def test_large_files_leave_the_connection_as_it_was(app, protocol):
    if "single" in repr(app):
        assert get(app, "/big.bin").body == letters(BIG)
        return
    with RawConnection(app) as conn:
        for target in ("big.bin", "page.txt", "big.bin", "empty", "nowhere", "page.txt"):
            conn.send(f"GET /{target} {protocol}\r\nHost: x\r\nConnection: keep-alive\r\n\r\n".encode())
            head = conn.read_until(b"\r\n\r\n")
            size = int(re.search(rb"Content-Length: (\d+)", head)[1])
            data = conn.unread
            conn.unread = b""
            parts = [data]
            while (size := size - len(parts[-1])) > 0:
                parts.append(conn.sock.recv(1 << 20))
            assert size == 0 and (target != "big.bin" or b"".join(parts) == letters(BIG))


def test_pipelined_requests_behind_a_large_file(serve, path, folder):
    (folder / "big.bin").write_bytes(letters(2_000_000))
    for model in ("threaded", "pool", "green"):
        app = serve("--model", model, path, f"folder={folder}")
        last = b"GET /page.txt HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        data = raw(app, b"GET /big.bin HTTP/1.1\r\nHost: x\r\n\r\n" * 2 + last)
        assert data.count(letters(2_000_000)) == 2 and data.endswith(b"0123456789")


# --- what is no file, or not below the folder --------------------------------------------------------------


@pytest.mark.parametrize(
    "target",
    [
        "/nowhere", "/sub", "/sub/", "/page.txt/", "/page.txt/x", "/fifo", "/fifo.txt", "/sock", "/out", "/absolute", "/absolute-in",
        "/up/secret.txt", "/up/served/page.txt", "/loop", "/../secret.txt", "/%2e%2e/secret.txt", "/.%2e/secret.txt",
        "/%2e./secret.txt", "/..%2fsecret.txt", "/%2e%2e%2fsecret.txt", "/..%5csecret.txt", "/%252e%252e/secret.txt",
        "/sub/..%2f..%2fsecret.txt", "/sub/../../secret.txt", "/..;/secret.txt", "/%c0%ae%c0%ae/secret.txt", "/%00", "/page.txt%00",
        "/page.txt%00.html", "//secret.txt", "/../served-too/secret.txt", "/proc/self/environ", "/" + "a" * 300, "/" + "a/" * 2000,
        "/.", "/..", "/sub/.", "/dev/null",
    ],
)  # fmt: skip
def test_nothing_leads_out_of_the_folder_or_waits(app, target):
    reply = get(app, target)
    assert "secret" not in reply.text
    assert (reply.status, reply.text) == (404, "not found\n") or (target in ("/.", "/..") and reply.text == "<p>start")


ANY = """
static int page(srv_request *rq) { return srv_reply_file(rq, atoi(srv_arg(rq, "status", "200")), srv_arg(rq, "path", "")); }
static int below(srv_request *rq) { return srv_reply_below(rq, srv_arg(rq, "folder", ""), srv_arg(rq, "path", "")); }
static int twice(srv_request *rq) {
    srv_reply(rq, 200, "first");
    return srv_reply_file(rq, 200, srv_arg(rq, "path", "")) == -EALREADY ? 0 : 1;
}
static int typed(srv_request *rq) { srv_set(rq, "Content-Type", "text/x-own"); return page(rq); }
"""


@pytest.fixture
def any_file(serve, tmp_path):
    routes = {"/": "page", "/below": "below", "/twice": "twice", "/typed": "typed"}
    return serve("--model", "green", build(tmp_path, app_of(ANY, routes)))


@pytest.mark.parametrize("name", ["/dev/null", "/dev/zero", "/dev/tty", "", "/", "/nowhere", "/proc"])
def test_devices_and_folders_are_no_files(any_file, name):
    assert get(any_file, f"/?path={name}").status == 404


@pytest.mark.parametrize("name", ["../secret.txt", "..", ".", "", "sub/../../secret.txt", "up/secret.txt", "/../secret.txt"])
def test_the_kernel_keeps_paths_below_the_folder(any_file, folder, name):
    assert get(any_file, f"/below?folder={folder}&path={name}").status == 404
    assert get(any_file, f"/below?folder={folder}&path=page.txt").text == "0123456789"


def test_a_status_type_and_answer_of_ones_own(any_file, folder):
    reply = request(any_file, "GET", f"/?status=503&path={folder}/page.txt", headers={"If-None-Match": "*", "Range": "bytes=1-2"})
    assert (reply.status, reply.text) == (503, "0123456789") and "etag" not in reply.headers
    assert get(any_file, f"/twice?path={folder}/page.txt").text == "first"
    assert get(any_file, f"/typed?path={folder}/page.txt").headers["content-type"] == "text/x-own"
    assert get(any_file, f"/?status=99&path={folder}/page.txt").status == 500
    posted = request(any_file, "POST", f"/?path={folder}/page.txt", headers={"Range": "bytes=1-2"})
    assert (posted.status, posted.text) == (200, "0123456789")
    assert get(any_file, "/below?folder=/nowhere&path=x").status == 500


def test_what_may_not_be_read_is_403(serve, path, folder):
    if os.geteuid() == 0:
        pytest.skip("root reads everything")
    (folder / "page.txt").chmod(0)
    assert get(serve(path, f"folder={folder}"), "/page.txt").status == 403


# --- conditions and ranges --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "given, status, text, part",
    [
        ("bytes=0-3", 206, "0123", "bytes 0-3/10"),
        ("bytes=8-", 206, "89", "bytes 8-9/10"),
        ("bytes=-2", 206, "89", "bytes 8-9/10"),
        ("bytes=-20", 206, "0123456789", "bytes 0-9/10"),
        ("bytes=9-100", 206, "9", "bytes 9-9/10"),
        ("bytes=10-", 416, None, "bytes */10"),
        ("bytes=-0", 416, None, "bytes */10"),
        ("bytes=0-1,3-4", 200, "0123456789", None),
        ("bytes=5-2", 200, "0123456789", None),
        ("bytes=x", 200, "0123456789", None),
        ("lines=0-1", 200, "0123456789", None),
        ("bytes=18446744073709551615-", 416, None, "bytes */10"),
        ("bytes=0-99999999999999999999", 200, "0123456789", None),
    ],
)
def test_one_range(app, given, status, text, part):
    reply = get(app, "/page.txt", headers={"Range": given})
    assert (reply.status, reply.headers.get("content-range")) == (status, part)
    assert text is None or reply.text == text


def test_a_range_of_an_empty_and_of_a_large_file(app):
    assert get(app, "/empty", headers={"Range": "bytes=-5"}).status == 416
    reply = get(app, "/big.bin", headers={"Range": f"bytes=1000000-{BIG - 2}"})
    assert (reply.status, reply.body) == (206, letters(BIG)[1000000:-1])
    head = request(app, "HEAD", "/page.txt", headers={"Range": "bytes=0-3"})
    assert (head.status, head.headers["content-length"]) == (200, "10")


def test_conditions(app):
    first = get(app, "/page.txt").headers
    etag, date = first["etag"], first["last-modified"]
    past = "Thu, 01 Jan 1970 00:00:01 GMT"
    for fields, status in [
        ({"If-None-Match": etag}, 304),
        ({"If-None-Match": f'"x", W/{etag}'}, 304),
        ({"If-None-Match": "*"}, 304),
        ({"If-None-Match": '"x"'}, 200),
        ({"If-None-Match": '"x"', "If-Modified-Since": date}, 200),
        ({"If-Modified-Since": date}, 304),
        ({"If-Modified-Since": past}, 200),
        ({"If-Modified-Since": "Thursday, 01-Jan-70 00:00:01 GMT"}, 200),
        ({"If-Modified-Since": "Fri Jan  1 00:00:01 2100"}, 304),
        ({"If-Modified-Since": "yesterday"}, 200),
        ({"If-Match": etag}, 200),
        ({"If-Match": '"x"'}, 412),
        ({"If-Unmodified-Since": past}, 412),
        ({"If-Unmodified-Since": date}, 200),
        ({"If-Range": etag, "Range": "bytes=0-1"}, 206),
        ({"If-Range": date, "Range": "bytes=0-1"}, 206),
        ({"If-Range": '"x"', "Range": "bytes=0-1"}, 200),
        ({"If-Range": past, "Range": "bytes=0-1"}, 200),
        ({"If-Range": "W/" + etag, "Range": "bytes=0-1"}, 200),
        ({"If-None-Match": etag, "Range": "bytes=0-1"}, 304),
    ]:
        reply = get(app, "/page.txt", headers=fields)
        assert reply.status == status, (fields, reply)
        assert status != 304 or (reply.body == b"" and reply.headers["etag"] == etag and "content-type" not in reply.headers)


def test_a_file_that_changes_has_another_etag(serve, path, folder):
    app = serve(path, f"folder={folder}")
    etag = get(app, "/page.txt").headers["etag"]
    (folder / "page.txt").write_text("9876543210")
    reply = get(app, "/page.txt", headers={"If-None-Match": etag})
    assert (reply.status, reply.text) == (200, "9876543210") and reply.headers["etag"] != etag


# --- slow clients, and what goes wrong in the middle --------------------------------------------------------


def test_slow_readers_hold_no_slot(serve, path, folder):
    """What they have not taken is sent from the loop, at their speed, for longer than --send-timeout in all."""
    for model, slots in (("pool", ("--threads", "1")), ("green", ("--async-cores", "1"))):
        app = serve("--model", model, *slots, "--send-timeout", "1s", path, f"folder={folder}")
        with (folder / "big.bin").open("wb") as file:
            file.truncate(60_000_000)
        slow = Client(app)
        slow.request("GET", "/big.bin")
        response = slow.getresponse()
        took, begin = 0, time.monotonic()
        while took < 60_000_000:
            piece = response.read(5_000_000)
            assert piece
            took += len(piece)
            time.sleep(0.2)
            assert get(app, "/page.txt").text == "0123456789"
        assert took == 60_000_000 and time.monotonic() - begin > 1.5
        slow.close()


def test_clients_that_take_nothing_are_let_go(serve, path, folder):
    for model in ("threaded", "pool", "green"):
        log = folder.parent / f"log-{model}"
        logs = ("--access-logfile", log, "--access-logformat", "%(U)s %(s)s %(B)s")
        app = serve("--model", model, "--send-timeout", "0.5s", *logs, path, f"folder={folder}")
        with (folder / "big.bin").open("wb") as file:
            file.truncate(60_000_000)
        with RawConnection(app) as conn:
            conn.send(b"GET /big.bin HTTP/1.1\r\nHost: x\r\n\r\n")
            wait_for(lambda log=log: log.exists() and "/big.bin 499 0" in log.read_text(), what="499")
        assert not [link for link in open_files(app.pid) if os.path.basename(link) == "big.bin"]
        assert get(app, "/page.txt").text == "0123456789"


def test_a_file_that_becomes_shorter_cuts_the_connection(serve, path, folder):
    for model in MODELS:
        app = serve("--model", model, path, f"folder={folder}")
        with (folder / "big.bin").open("wb") as file:
            file.truncate(60_000_000)
        with RawConnection(app) as conn:
            conn.send(b"GET /big.bin HTTP/1.1\r\nHost: x\r\n\r\n")
            head = conn.read_until(b"\r\n\r\n")
            os.truncate(folder / "big.bin", 1_000_000)
            assert b"Content-Length: 60000000\r\n" in head
            assert len(conn.read_until_close()) < 60_000_000
        assert get(app, "/page.txt").text == "0123456789"


def test_the_log_has_the_bytes_of_the_file(serve, path, folder):
    log = folder.parent / "log"
    app = serve("--access-logfile", log, "--access-logformat", "%(U)s %(s)s %(B)s", path, f"folder={folder}")
    get(app, "/big.bin")
    get(app, "/page.txt", headers={"Range": "bytes=1-3"})
    lines = wait_for(lambda: len(text := log.read_text().splitlines()) == 2 and text, what="two lines")
    assert lines == [f"/big.bin 200 {BIG}", "/page.txt 206 3"]


def test_no_descriptor_is_left(app, folder):
    def files():
        return [link for link in open_files(app.pid) if str(folder) in link]

    for target in ("/big.bin", "/page.txt", "/empty", "/sub", "/fifo", "/nowhere"):
        for method in ("GET", "HEAD"):
            request(app, method, target)
            request(app, method, target, headers={"If-None-Match": "*"})
            request(app, method, target, headers={"Range": "bytes=99999999-"})
    wait_for(lambda: not files(), what="no descriptor of a file")
