# SPDX-License-Identifier: MIT
"""A small HTTP server that misbehaves on demand and counts what it did: the truth that clients are compared with.

    with faulty.Server(["ok", "reset", "ok"]) as server:     # the n-th request gets the n-th behaviour, in a cycle
        ... load server.url ...
        assert server.did["reset"] == 1

Behaviours are the methods of Behaviours; each is given the connection and the request's head, and tells whether
the connection goes on.
"""

import contextlib
import itertools
import re
import socket
import threading
import time
from collections import Counter

BODY = b"hello world!"
SILENCE_SECONDS = 60


def response(status=200, fields=(), body=BODY, length=None):
    """A response of one write; `length` lies about the body."""
    lines = [f"HTTP/1.1 {status} X", "Server: faulty/1 (test)", *fields]
    lines.append(f"Content-Length: {len(body) if length is None else length}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


class Behaviours:
    """What a request may meet. True: the connection takes another request if the client likes."""

    def __init__(self, server):
        self.server = server

    def ok(self, conn, head, status=200):
        lower = head.lower()
        http10, asks_keep, asks_close = b" HTTP/1.0\r\n" in head, b"keep-alive" in lower, b"connection: close" in lower
        keep = asks_keep if http10 else not asks_close
        body = b"" if head.startswith(b"HEAD ") else BODY
        fields = ["Connection: " + ("keep-alive" if keep else "close")]
        conn.sendall(response(status, fields, body, len(BODY)))
        return keep

    def slow(self, conn, head):
        time.sleep(0.3)
        return self.ok(conn, head)

    def error(self, conn, head):
        return self.ok(conn, head, status=500)

    def longer(self, conn, _head):
        conn.sendall(response(body=BODY + b"!"))
        return True

    def longer10(self, conn, head):
        """Longer, and for ab: it closes when asked to."""
        keep = b"keep-alive" in head.lower()
        conn.sendall(response(fields=["Connection: " + ("keep-alive" if keep else "close")], body=BODY + b"!"))
        return keep

    def chunked(self, conn, _head):
        chunks = b"5;a=b\r\nhello\r\n7\r\n world!\r\n0\r\nA: b\r\n\r\n"
        conn.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks)
        return True

    def until_close(self, conn, _head):
        conn.sendall(b"HTTP/1.0 200 OK\r\n\r\n" + BODY)
        return False

    def interim(self, conn, _head):
        conn.sendall(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + response())
        return True

    def bytewise(self, conn, _head):
        for byte in response(fields=["Connection: keep-alive"]):
            conn.sendall(bytes([byte]))
        return True

    def dribble(self, conn, head):
        whole = response(fields=["Connection: close"])
        conn.sendall(whole[:20])
        time.sleep(0.2)
        conn.sendall(whole[20:])
        return False

    def never_closes(self, conn, _head):
        conn.sendall(response(fields=["Connection: close"]))
        self.server.stopped.wait(SILENCE_SECONDS)
        return False

    def answers_unread(self, conn, _head):
        """Refuses the body without reading it; its close is a reset then. See _read_request."""
        conn.sendall(response(413, ["Connection: close"]))
        return False

    # --- faults ----------------------------------------------------------------

    def reset(self, conn, _head):
        conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        return False

    def early(self, _conn, _head):
        return False

    def truncated(self, conn, _head):
        conn.sendall(response(length=1000))
        return False

    def half_head(self, conn, _head):
        conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Le")
        return False

    def silent(self, _conn, _head):
        self.server.stopped.wait(SILENCE_SECONDS)
        return False

    def stalled(self, conn, _head):
        conn.sendall(response(length=1000))
        return self.silent(conn, None)

    def bad_chunk(self, conn, _head):
        conn.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n0\r\n\r\n")
        return False

    def garbage(self, conn, _head):
        conn.sendall(b"\x16\x03\x01 this is not HTTP\r\n\r\n")
        return False


class Server:
    def __init__(self, script, unread_bodies=False):
        self.unread_bodies = unread_bodies
        self.script = itertools.cycle(script)
        self.behaviours = Behaviours(self)
        self.did, self.connections, self.open, self.open_max = Counter(), 0, 0, 0
        self.heads, self.bodies, self.peers = [], [], Counter()
        self.lock, self.stopped = threading.Lock(), threading.Event()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.port = self.listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/t"

    def __enter__(self):
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.stopped.set()
        self.listener.close()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                conn, peer = self.listener.accept()
                self.peers[peer[0]] += 1
                threading.Thread(target=self._serve, args=(conn,), daemon=True).start()

    def _serve(self, conn):
        conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self.lock:
            self.connections += 1
            self.open += 1
            self.open_max = max(self.open_max, self.open)
        with conn:
            with contextlib.suppress(OSError):
                while (head := self._read_request(conn)) and self._behave(conn, head):
                    pass
            with self.lock:  # before the close: the client may come back at once
                self.open -= 1

    def _behave(self, conn, head):
        with self.lock:
            name = next(self.script)
            self.did[name] += 1
            self.heads.append(head)
        return getattr(self.behaviours, name)(conn, head)

    def _read_request(self, conn):
        data = b""
        while b"\r\n\r\n" not in data:
            chunk = conn.recv(65536)
            if not chunk:
                return b""
            data += chunk
        head, _, body = data.partition(b"\r\n\r\n")
        found = re.search(rb"\r\ncontent-length: *(\d+)", head, re.I)
        length = int(found[1]) if found else 0
        while len(body) < length and not self.unread_bodies:
            body += conn.recv(1 << 20)
        if length:
            self.bodies.append(body)
        return head + b"\r\n\r\n"
