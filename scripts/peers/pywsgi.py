#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Serves app.py with gevent.pywsgi on 127.0.0.1:PORT_APP (default 3000): one process, green threads."""

import os

from gevent.pywsgi import WSGIServer
from patched import app

WSGIServer(("127.0.0.1", int(os.environ.get("PORT_APP", "3000"))), app, backlog=2048, log=None).serve_forever()
