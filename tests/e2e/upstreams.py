# SPDX-License-Identifier: MIT
"""Upstreams that behave as a test says, byte by byte."""

import socket
import threading

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nslow"


class Upstream(threading.Thread):
    """A TCP server that does what the test says to each connection."""

    def __init__(self, behave):
        super().__init__(daemon=True)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.behave, self.connections = behave, 0
        self.url = "http://127.0.0.1:%d/" % self.listener.getsockname()[1]
        self.start()

    def run(self):
        while True:
            try:
                conn, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            with conn:
                try:
                    self.behave(conn, self.connections)
                except OSError:
                    pass

    def close(self):
        self.listener.close()
