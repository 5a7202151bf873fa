# SPDX-License-Identifier: MIT
"""app.py for servers that do not patch the standard library before they load an app: gevent wants to come first."""

from gevent import monkey

monkey.patch_all()

from app import app  # noqa: E402, F401
