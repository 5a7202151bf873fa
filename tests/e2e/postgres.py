# SPDX-License-Identifier: MIT
"""A private PostgreSQL for tests: no durability, a folder of its own, gone with pytest however that ends."""

import ctypes
import glob
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

from harness import free_port, wait_for

PR_SET_PDEATHSIG = 1
libc = ctypes.CDLL(None)


def die_with_parent():
    """In the child, after the change of user, which would clear it. SIGQUIT: immediate shutdown."""
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGQUIT)


def program(name):
    found = sorted(glob.glob(f"/usr/lib/postgresql/*/bin/{name}"), key=lambda path: int(path.split("/")[4]))
    path = found[-1] if found else shutil.which(name)
    assert path, f"{name} is missing: scripts/setup test"
    return path


class Postgres:
    def __init__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="srv-test-pg."))
        self.data = self.folder / "data"
        self.port = free_port()
        self.process = None
        # PostgreSQL refuses root.
        self.user = {}
        if os.geteuid() == 0:
            user = pwd.getpwnam("postgres")
            os.chown(self.folder, user.pw_uid, user.pw_gid)
            self.user = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        # Removes the folder once the pipe closes, which it does even when pytest is killed.
        self.cleaner = subprocess.Popen(
            ["sh", "-c", 'read _; for i in 1 2 3 4 5; do rm -rf "$0" && exit; sleep 1; done', str(self.folder)],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )
        subprocess.run(
            [program("initdb"), "-D", self.data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"],
            check=True,
            capture_output=True,
            cwd=self.folder,
            **self.user,
        )

    @property
    def conninfo(self):
        return f"host=127.0.0.1 port={self.port} user=postgres dbname=postgres"

    def start(self):
        settings = {
            "port": self.port,
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": self.folder,
            "fsync": "off",
            "max_connections": 100,
            "dynamic_shared_memory_type": "mmap",
        }
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen(
                [program("postgres"), "-D", self.data, *(f"-c{name}={value}" for name, value in settings.items())],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                preexec_fn=die_with_parent,
                **self.user,
            )
        wait_for(self.is_ready, what="PostgreSQL")

    def is_ready(self):
        assert self.process.poll() is None, (self.folder / "log").read_text()
        pid_file = self.data / "postmaster.pid"
        return pid_file.exists() and "\nready" in pid_file.read_text()

    def stop(self, number=signal.SIGQUIT):
        """SIGQUIT ends it at once, SIGINT after it has ended its connections in good order."""
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(20)
            self.process = None

    def signal_all(self, number):
        """To the server and to the processes that serve its connections."""
        children = subprocess.run(
            ["ps", "-o", "pid=", "--ppid", str(self.process.pid)], text=True, capture_output=True, check=False
        ).stdout.split()
        for pid in [self.process.pid, *map(int, children)]:
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                pass

    def sql(self, text):
        """What psql prints, without headings; [] of rows."""
        done = subprocess.run(
            ["psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", text, self.conninfo],
            text=True,
            capture_output=True,
            timeout=20,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.split("\n")[:-1]

    def connections(self, name, state=None):
        """How many there are with this application_name."""
        where = f"application_name = '{name}'" + (f" AND state = '{state}'" if state else "")
        return int(self.sql(f"SELECT count(*) FROM pg_stat_activity WHERE {where}")[0])

    def terminate(self, name):
        """Ends all connections with this application_name; how many there were."""
        rows = self.sql(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = '{name}'")
        return len(rows)

    def close(self):
        self.stop()
        self.cleaner.stdin.close()
        self.cleaner.wait(20)
        wait_for(lambda: not self.folder.exists(), what="the end of the folder")
