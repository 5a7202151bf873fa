# SPDX-License-Identifier: MIT
"""Reads the control endpoint of a server."""

import re

from harness import get


def control(app):
    """Where its control endpoint listens."""
    host, port = re.search(r"control on http://([^:]+):(\d+)", app.stderr()).groups()
    return host, int(port)


def fetch(app, path):
    return get(control(app), path)


def metrics(app):
    """{'name{labels}': value} and, summed over the labels, {'name': value}."""
    found = {}
    for line in fetch(app, "/metrics").text.splitlines():
        if not line.startswith("#"):
            series, value = line.rsplit(" ", 1)
            found[series] = float(value)
            name = series.split("{")[0]
            found[name] = found.get(name, 0) + float(value)
    return found
