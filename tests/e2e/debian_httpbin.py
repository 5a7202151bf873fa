# SPDX-License-Identifier: MIT
"""Debian's httpbin (package python3-httpbin), served by threads of this process."""

import os
import threading
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server


class Quiet(WSGIRequestHandler):
    def log_message(self, *_):
        pass

    def get_stderr(self):
        return open(os.devnull, "w")  # where the traceback goes of a request that it fails on


class Threads(ThreadingMixIn, WSGIServer):
    daemon_threads = True

    def handle_error(self, *_):
        pass  # clients that go away


def serve(context=None):
    """The port of 127.0.0.1 that it has from now on, over TLS when there is an ssl.SSLContext. ImportError when it is not installed."""
    import httpbin

    httpbin.app.logger.disabled = True
    server = make_server("127.0.0.1", 0, httpbin.app, server_class=Threads, handler_class=Quiet)
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_port
