# SPDX-License-Identifier: MIT
"""Upstreams that behave as a test says, byte by byte."""

import contextlib
import socket
import ssl
import threading

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nslow"


def tls_of(certificate):
    """What a server with this certificate and key begins with."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    return context


class Upstream(threading.Thread):
    """A TCP server, or with `tls` (tls_of) one of https, that does what the test says to each connection.

    A connection for which `behave` returns True stays open. Else it is closed, with close_notify."""

    def __init__(self, behave, tls=None):
        super().__init__(daemon=True)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.behave, self.tls, self.connections, self.kept = behave, tls, 0, []
        self.url = "%s://127.0.0.1:%d/" % ("https" if tls else "http", self.listener.getsockname()[1])
        self.start()

    def run(self):
        while True:
            try:
                conn, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            with contextlib.suppress(OSError):
                self.converse(conn, self.connections)

    def converse(self, conn, count):
        with contextlib.ExitStack() as stack:
            stack.callback(conn.close)
            if self.tls:
                conn.settimeout(20)
                conn = self.tls.wrap_socket(conn, server_side=True)
                stack.callback(conn.close)
            if self.behave(conn, count) is True:
                self.kept.append(conn)
                stack.pop_all()
            elif self.tls:
                conn.unwrap()

    def close(self):
        self.listener.close()
        for conn in self.kept:
            conn.close()
