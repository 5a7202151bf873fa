# SPDX-License-Identifier: MIT
"""Clients that ask again as soon as they have their answer, and count what they lose."""

import threading
import time

from harness import RawConnection

REQUEST = b"GET /?delay=0.2 HTTP/1.1\r\nHost: x\r\n\r\n"


class Clients:
    """Keep-alive clients at full speed, each on one connection until the server says close.

    `connect(app)` makes the connection of one; `request` is what it sends."""

    def __init__(self, app, count, connect=RawConnection, request=REQUEST):
        self.connect, self.request = connect, request
        self.app, self.done, self.lost, self.slowest = app, 0, [], 0.0
        self.lock, self.stopping = threading.Lock(), threading.Event()
        self.threads = [threading.Thread(target=self.run) for _ in range(count)]
        for thread in self.threads:
            thread.start()

    def run(self):
        conn = None
        while not self.stopping.is_set():
            start = time.monotonic()
            try:
                if conn is None:
                    conn = self.connect(self.app)
                conn.send(self.request)
                reply = conn.read_response()
                problem = None if reply.status == 200 else reply.status
            except (OSError, AssertionError) as error:
                reply, problem = None, error
            with self.lock:
                self.done += problem is None
                self.slowest = max(self.slowest, time.monotonic() - start)
                if problem is not None:
                    self.lost.append(str(problem))
            if reply is None or reply.headers.get("connection", "").lower() == "close":
                conn.close()
                conn = None
        if conn is not None:
            conn.close()

    def stop(self):
        self.stopping.set()
        for thread in self.threads:
            thread.join()
