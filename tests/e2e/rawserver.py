# SPDX-License-Identifier: MIT
"""A server whose every byte is scripted, and whose log is the truth that clients are compared with."""

import contextlib
import re
import socket
import struct
import threading
from collections import Counter

BODY = b"hello world!"


def answer(fields=b"", body=BODY, status=b"200 OK"):
    return b"HTTP/1.1 %s\r\n%sContent-Length: %d\r\n\r\n%s" % (status, fields, len(body), body)


def close(conn):
    conn.close()


def reset(conn):
    conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    conn.close()


class RawServer:
    """Answers the n-th request with the n-th item of `script`, in a cycle: bytes, or a function of the connection,
    or a list of both. `log` counts the items by their place; `heads` holds the requests."""

    def __init__(self, script, host="127.0.0.1", port=0, after=None):
        self.script, self.after = script, after
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.listener = socket.create_server((host, port), family=family, backlog=512)
        self.port = self.listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/t"
        self.log, self.heads, self.bodies, self.connections, self.lock = Counter(), [], [], 0, threading.Lock()

    def __enter__(self):
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.listener.close()

    @property
    def requests(self):
        return sum(self.log.values())

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                conn, _ = self.listener.accept()
                with self.lock:
                    self.connections += 1
                threading.Thread(target=self._serve, args=(conn,), daemon=True).start()

    def _serve(self, conn):
        conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        data = b""
        with contextlib.suppress(OSError):
            while True:
                while b"\r\n\r\n" not in data:
                    chunk = conn.recv(65536)
                    if not chunk:
                        conn.close()
                        return
                    data += chunk
                head, _, data = data.partition(b"\r\n\r\n")
                length = int((re.search(rb"(?i)\r\ncontent-length: *(\d+)", head) or [0, 0])[1])
                while len(data) < length:
                    data += conn.recv(65536)
                body, data = data[:length], data[length:]
                self._answer(conn, head, body)

    def _answer(self, conn, head, body):
        with self.lock:
            place = self.requests % len(self.script)
            self.log[place] += 1
            self.heads.append(head)
            self.bodies.append(body)
        items = self.script[place]
        for item in items if isinstance(items, list) else [items]:
            if callable(item):
                item(conn)
            else:
                conn.sendall(item)
        if b"connection: close" in head.lower() and self.after is not None:
            self.after(conn)


@contextlib.contextmanager
def replicas(*hosts, script=(answer(),)):
    """A server on one port of each address; None: nobody listens there."""
    with contextlib.ExitStack() as stack:
        port, servers = 0, []
        for host in hosts:
            server = RawServer(list(script), host, port)
            port = server.port
            servers.append(stack.enter_context(server))
        yield port, servers
