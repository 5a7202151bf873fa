# SPDX-License-Identifier: MIT
"""srv bench's bodies that are sent from their file, in chunks, or when the server wants them."""

import contextlib
import hashlib
import os
import re
import socket
import threading
import time

import pytest


class Sink:
    """Reads requests of any length, by their framing, and keeps of each: head, bytes, digest, and what chunks there were.

    `word` decides when a body is asked for: b"" never, b"100" at once, b"417" is the answer instead."""

    def __init__(self, word=b""):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = "http://127.0.0.1:%d/" % self.listener.getsockname()[1]
        self.word, self.seen, self.lock = word, [], threading.Lock()

    def __enter__(self):
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.listener.close()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                conn = self.listener.accept()[0]
                threading.Thread(target=self._serve, args=(conn,), daemon=True).start()

    def _serve(self, conn):
        with contextlib.suppress(OSError, ValueError, EOFError), conn, conn.makefile("rb") as stream:
            while self._answer(conn, stream):
                pass

    def _answer(self, conn, stream):
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            line = stream.readline()
            if not line:
                return False
            head += line
        if self.word == b"417":
            conn.sendall(b"HTTP/1.1 417 No\r\nContent-Length: 0\r\n\r\n")
            with self.lock:
                self.seen.append((head, 0, "", []))
            return True
        if self.word == b"100":
            time.sleep(0.05)
            conn.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        digest, sizes = hashlib.sha256(), []
        length = re.search(rb"(?i)\r\ncontent-length: (\d+)", head)
        while True:
            size = int(length[1]) if length else int(stream.readline(), 16)
            sizes.append(size)
            while size > 0:
                piece = stream.read(min(size, 1 << 20))
                if not piece:
                    raise EOFError
                digest.update(piece)
                size -= len(piece)
            if length:
                break
            assert stream.read(2) == b"\r\n"
            if sizes[-1] == 0:
                break
        with self.lock:
            self.seen.append((head, sum(sizes), digest.hexdigest(), sizes))
        conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        return True


@pytest.fixture
def upload(tmp_path):
    path = tmp_path / "body"
    path.write_bytes(bytes(i * 7 % 251 for i in range(200_003)))
    return path


@pytest.mark.parametrize("option", ["--body-stream", "-p", "-u"])
@pytest.mark.parametrize("framing", [(), ("--chunked",)])
@pytest.mark.parametrize("wait", [(), ("--expect-continue",)])
def test_every_body_arrives_as_it_is(srv_run, upload, option, framing, wait):
    with Sink(b"100" if wait else b"") as sink:
        done = srv_run("bench", "-k", "-n", 6, "-c", 3, option, upload, *framing, *wait, sink.url)
        assert done.returncode == 0, done.stdout
    expected = hashlib.sha256(upload.read_bytes()).hexdigest()
    assert [(size, digest) for _, size, digest, _ in sink.seen] == [(200_003, expected)] * 6
    for head, _, _, sizes in sink.seen:
        assert sizes == ([65536, 65536, 65536, 3395, 0] if framing else [200_003])
        assert head.startswith(b"PUT " if option == "-u" else b"POST ")
        assert (b"\r\nTransfer-Encoding: chunked\r\n" in head) == bool(framing)
        assert (b"\r\nExpect: 100-continue\r\n" in head) == bool(wait)


def test_a_body_of_any_size_is_streamed(srv_run, tmp_path):
    """More than what a body in memory may have; the file has holes, and takes no place."""
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.truncate(300 << 20)
    with Sink() as sink:
        assert srv_run("bench", "-n", 1, "-s", 100, "-p", path, sink.url).returncode == 1
        done = srv_run("bench", "-n", 1, "-s", 100, "--body-stream", path, "-m", "PUT", sink.url)
        assert done.returncode == 0, done.stdout
    assert sink.seen[0][1] == 300 << 20 and sink.seen[0][0].startswith(b"PUT ")


def test_a_server_that_does_not_say_continue_gets_the_body_after_a_second(srv_run, upload):
    with Sink() as sink:
        began = time.monotonic()
        assert srv_run("bench", "-n", 1, "--expect-continue", "-p", upload, sink.url).returncode == 0
    assert time.monotonic() - began >= 1 and sink.seen[0][1] == 200_003


def test_a_refusal_spares_the_body(srv_run, upload):
    """The connection is not used again: the server may take what comes next for the body."""
    with Sink(b"417") as sink:
        done = srv_run("bench", "-k", "-n", 3, "--expect-continue", "-p", upload, sink.url)
        assert re.search(r"statuses +417: 3", done.stdout) and re.search(r"Total body sent|Total transferred", done.stdout)
    assert len(sink.seen) == 3


def test_slowapi_tells_the_chunked_body_back(slowapi, srv_run, tmp_path):
    (tmp_path / "text").write_text("told back")
    url = slowapi().url + "post?delay=0"
    for args in (("--body-stream", tmp_path / "text"), ("--body", "told back")):
        for more in ((), ("--chunked",), ("--chunked", "--expect-continue")):
            done = srv_run("bench", "-k", "-n", 2, *args, *more, "--expect-body", '"data": "told back"', url)
            assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    "args, word",
    [
        (("--body-stream", "/no/such"), "/no/such"),
        (("--body-stream", "/dev/null"), "regular file"),
        (("--body-stream", "-"), "-"),
        (("--body-stream", "/etc/hostname", "--body", "x"), "--body-stream"),
        (("--body-stream", "/etc/hostname", "-i"), "--body-stream"),
        (("--chunked",), "need a body"),
        (("--expect-continue",), "need a body"),
        (("--chunked", "--body", "x", "--http1.0"), "HTTP/1.0"),
        (("--chunked", "--body", "x", "--ab-strict"), "--ab-strict"),
        (("--chunked", "--body", "x", "--templates"), "--templates"),
    ],
)
def test_what_cannot_be_is_refused_in_a_line(srv_run, args, word):
    done = srv_run("bench", *args, "http://127.0.0.1:9/")
    assert done.returncode in (1, 2) and word in done.stderr and done.stderr.count("\n") == 1


def test_a_pipe_without_a_writer_is_not_waited_for(srv_run, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    done = srv_run("bench", "--body-stream", tmp_path / "pipe", "http://127.0.0.1:9/")
    assert done.returncode == 2 and "regular file" in done.stderr and done.stderr.count("\n") == 1
