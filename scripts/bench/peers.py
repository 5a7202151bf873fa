# SPDX-License-Identifier: MIT
"""Starts the Python servers that srv's models are named after, with scripts/peers/app.py in each of them."""

import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

from actors import Actor, answers, harness, in_child

PEERS = Path(__file__).resolve().parents[1] / "peers"
GUNICORN = ("gunicorn", "app:app", "--log-level", "warning", "--backlog", "2048", "--bind", "127.0.0.1:{port}")
# Its http-socket closes after each answer without saying so, which load generators count as an error.
UWSGI = (
    "uwsgi", "--plugin", "python3", "--master", "--need-app", "--die-on-term",
    "--disable-logging", "--listen", "2048", "--http-socket", "127.0.0.1:{port}", "--add-header", "Connection: close",
)  # fmt: skip


def pywsgi():
    return (sys.executable, "pywsgi.py")


def gunicorn_gthread(workers, threads):
    return (*GUNICORN, "-k", "gthread", "--workers", workers, "--threads", threads)


def gunicorn_gevent(workers):
    return (*GUNICORN, "-k", "gevent", "--workers", workers, "--worker-connections", 4000)


def uwsgi_threads(workers, threads):
    return (*UWSGI, "--module", "app:app", "--workers", workers, "--threads", threads)


def uwsgi_gevent(workers, cores):
    gevent = ("--plugin", "gevent_python3", "--gevent", cores)
    return (*UWSGI, *gevent, "--module", "patched:app", "--workers", workers)


def uwsgi_database(cores):
    """psycopg2 made cooperative by psycogreen."""
    gevent = ("--plugin", "gevent_python3", "--gevent", cores)
    return (*UWSGI, *gevent, "--module", "database_patched:app")


def start_peer(name, command, api_url, extra=None):
    """The server of `command` in front of the slow API, ready to be asked; `extra` is for its environment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = tempfile.NamedTemporaryFile(prefix="srv-bench-peer-", suffix=".log")
    env = harness.clean_environment(
        {"PORT_API": api_url.rstrip("/").rpartition(":")[2], "PORT_APP": str(port), "PYTHONDONTWRITEBYTECODE": "1",
         **(extra or {})}
    )  # fmt: skip
    process = subprocess.Popen(
        [str(word).format(port=port) for word in command],
        cwd=PEERS, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=in_child(None),
    )  # fmt: skip

    def ready():
        if process.poll() is not None:
            sys.exit(f"{name} ended:\n{Path(log.name).read_text()}")
        return answers(port)

    harness.wait_for(ready, 30, f"{name} ready")
    return Actor(name, process, f"http://127.0.0.1:{port}/", log)
