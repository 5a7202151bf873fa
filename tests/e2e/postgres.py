# SPDX-License-Identifier: MIT
"""A private PostgreSQL for tests: no durability, a folder of its own, gone with pytest however that ends; what
may stand in front of one, a pooler or a wire that goes dead; and requests for srv in front of it."""

import contextlib
import ctypes
import glob
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
from collections import Counter
from pathlib import Path

from harness import free_port, get, wait_for

PR_SET_PDEATHSIG = 1
libc = ctypes.CDLL(None)

# Schemas that stand before pg_catalog replace what the app calls: with a sleep for ever, an error that holds a secret,
# no row, NULL, results too large in rows and in one value, a write, and a COPY's worth of trouble.
SCHEMAS = """
CREATE SCHEMA asleep;
CREATE FUNCTION asleep.pg_sleep(double precision) RETURNS void LANGUAGE sql AS 'SELECT pg_catalog.pg_sleep(60)';
CREATE SCHEMA broken;
CREATE FUNCTION broken.pg_sleep(double precision) RETURNS void LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'the secret of the table'; END $$;
CREATE SCHEMA speechless;
CREATE FUNCTION speechless.pg_sleep(double precision) RETURNS void LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION USING MESSAGE = ''; END $$;
CREATE SCHEMA empty;
CREATE FUNCTION empty.now() RETURNS SETOF timestamptz LANGUAGE sql AS 'SELECT pg_catalog.now() WHERE false';
CREATE SCHEMA void;
CREATE FUNCTION void.now() RETURNS timestamptz LANGUAGE sql AS 'SELECT NULL::timestamptz';
CREATE SCHEMA rows;
CREATE FUNCTION rows.now() RETURNS SETOF text LANGUAGE sql AS
    $$ SELECT repeat('x', 1000) FROM generate_series(1, 300000) $$;
CREATE SCHEMA wide;
CREATE FUNCTION wide.now() RETURNS text LANGUAGE sql AS $$ SELECT repeat('x', 300000000) $$;
CREATE SCHEMA large;
CREATE FUNCTION large.now() RETURNS text LANGUAGE sql AS $$ SELECT repeat('x', 3000000) $$;
CREATE SCHEMA writes;
CREATE TABLE writes.visits (at timestamptz);
CREATE FUNCTION writes.now() RETURNS timestamptz LANGUAGE sql AS
    'INSERT INTO writes.visits VALUES (pg_catalog.now()) RETURNING at';
CREATE ROLE few LOGIN CONNECTION LIMIT 1;
CREATE ROLE dozen LOGIN CONNECTION LIMIT 12;
"""


def die_with_parent():
    """In the child, after the change of user, which would clear it. SIGQUIT: immediate shutdown."""
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGQUIT)


def program(name):
    found = sorted(glob.glob(f"/usr/lib/postgresql/*/bin/{name}"), key=lambda path: int(path.split("/")[4]))
    path = found[-1] if found else shutil.which(name)
    assert path, f"{name} is missing: scripts/setup test"
    return path


class Folder:
    """A folder of a private server, which goes once close is called, and when pytest ends in any way before."""

    def __init__(self, prefix):
        self.path = Path(tempfile.mkdtemp(prefix=prefix))
        # Removes the folder once the pipe closes, which it does even when pytest is killed.
        self.cleaner = subprocess.Popen(
            ["sh", "-c", 'read _; for i in 1 2 3 4 5; do rm -rf "$0" && exit; sleep 1; done', str(self.path)],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )

    def close(self):
        self.cleaner.stdin.close()
        self.cleaner.wait(20)
        wait_for(lambda: not self.path.exists(), what="the end of the folder")


class Postgres:
    def __init__(self):
        self.room = Folder("srv-test-pg.")
        self.folder = self.room.path
        self.data = self.folder / "data"
        self.port = free_port()
        self.process = None
        # PostgreSQL refuses root.
        self.user = {}
        if os.geteuid() == 0:
            user = pwd.getpwnam("postgres")
            os.chown(self.folder, user.pw_uid, user.pw_gid)
            self.user = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        subprocess.run(
            [program("initdb"), "-D", self.data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"],
            check=True,
            capture_output=True,
            cwd=self.folder,
            **self.user,
        )
        self.furnished = False

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
        if not self.furnished:
            self.sql(SCHEMAS)
            self.furnished = True

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

    @contextlib.contextmanager
    def terminating_the_next(self, name):
        """Ends the first statement that a connection with this application_name runs meanwhile; looks from within, where
        no busy machine is too slow for it."""
        look = (
            "DO $$ DECLARE ended boolean := false; BEGIN RAISE WARNING 'looking'; FOR i IN 1..1000 LOOP"
            " PERFORM pg_stat_clear_snapshot(); PERFORM pg_terminate_backend(pid) FROM pg_stat_activity"
            f" WHERE application_name = '{name}' AND state = 'active'; ended := FOUND; EXIT WHEN ended;"
            " PERFORM pg_sleep(0.02); END LOOP; IF NOT ended THEN RAISE EXCEPTION 'no statement'; END IF; END $$"
        )
        command = ["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-c", look, self.conninfo]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, preexec_fn=die_with_parent) as watcher:
            assert "looking" in watcher.stderr.readline()
            yield
            assert watcher.wait(30) == 0, watcher.stderr.read()

    def close(self):
        self.stop()
        self.room.close()


class Beside:
    """Another private server of a test: a program, its folder, a port and a unix socket; dies with pytest."""

    program = None  # where Debian has it

    @classmethod
    def is_installed(cls):
        return Path(cls.program).exists()

    def __init__(self):
        self.room = Folder("srv-test-db.")
        self.folder, self.port = self.room.path, free_port()
        self.socket = self.folder / "socket"
        try:
            self.prepare()
            with open(self.folder / "log", "wb") as log:
                self.process = subprocess.Popen(
                    self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder,
                    preexec_fn=lambda: libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL),
                )  # fmt: skip
            wait_for(self.is_ready, what=self.program)
        except BaseException:
            self.room.close()
            raise

    def prepare(self):
        pass

    def is_ready(self):
        assert self.process.poll() is None, (self.folder / "log").read_text()
        with socket.socket() as sock:
            return sock.connect_ex(("127.0.0.1", self.port)) == 0

    def close(self):
        self.process.kill()
        self.process.wait(20)
        self.room.close()


class Redis(Beside):
    """redis-tools has the server without its service: the program looks at the name that it is called by."""

    program = "/usr/bin/redis-check-rdb"

    def prepare(self):
        (self.folder / "redis-server").symlink_to(self.program)

    def command(self):
        words = {"port": self.port, "bind": "127.0.0.1", "unixsocket": self.socket, "save": "", "dir": self.folder}
        return [self.folder / "redis-server", *(str(word) for name, value in words.items() for word in (f"--{name}", value))]


class Mariadb(Beside):
    """mariadb-server-core has the server without its service. User root needs no password."""

    program = "/usr/sbin/mariadbd"

    def common(self):
        user = ["--user=root"] if os.geteuid() == 0 else []
        return ["--no-defaults", f"--datadir={self.folder}/data", *user]

    def prepare(self):
        subprocess.run(
            ["mariadb-install-db", *self.common(), "--auth-root-authentication-method=normal", "--skip-test-db"],
            check=True, capture_output=True, cwd=self.folder, timeout=60,
        )  # fmt: skip

    def command(self):
        small = ("--innodb-flush-log-at-trx-commit=0", "--innodb-buffer-pool-size=8M", "--skip-log-bin", "--skip-name-resolve")
        where = (f"--port={self.port}", "--bind-address=127.0.0.1", f"--socket={self.socket}", f"--tmpdir={self.folder}")
        return [self.program, *self.common(), *small, *where]


class Pgbouncer:
    """Debian's pgbouncer in front of a Postgres, with room for `size` server connections."""

    def __init__(self, postgres, pool_mode, size=3):
        self.port = free_port()
        settings = {
            "listen_addr": "127.0.0.1",
            "listen_port": self.port,
            "unix_socket_dir": "",
            "auth_type": "any",
            "pool_mode": pool_mode,
            "default_pool_size": size,
            "max_client_conn": 200,
        }
        lines = [f"{name} = {value}" for name, value in settings.items()]
        text = f"[databases]\npostgres = {postgres.conninfo}\n[pgbouncer]\n" + "\n".join(lines) + "\n"
        config = postgres.folder / f"pgbouncer-{self.port}.ini"
        config.write_text(text)
        config.chmod(0o644)
        self.log = postgres.folder / f"pgbouncer-{self.port}.log"
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                [shutil.which("pgbouncer", path="/usr/sbin:/usr/bin"), config],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=postgres.folder,
                preexec_fn=die_with_parent,
                **postgres.user,
            )
        self.conninfo = f"host=127.0.0.1 port={self.port} user=postgres dbname=postgres"

    def __enter__(self):
        wait_for(self.is_ready, what="pgbouncer")
        return self

    def is_ready(self):
        assert self.process.poll() is None, self.log.read_text()
        with socket.socket() as sock:
            return sock.connect_ex(("127.0.0.1", self.port)) == 0

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGQUIT)
        self.process.wait(20)


class Wire:
    """A TCP proxy to a port of this machine. Cut, the connections that there are carry nothing more, and nobody is
    told; new ones work. Down, it takes new connections and carries nothing at all."""

    def __init__(self, port):
        self.target = port
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self.listener.getsockname()[1]
        self.down, self.taken = False, 0
        self.lock, self.live, self.kept = threading.Lock(), set(), []

    def __enter__(self):
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.listener.close()
        for sock in self.kept:
            sock.close()

    @property
    def conninfo(self):
        return f"host=127.0.0.1 port={self.port} user=postgres dbname=postgres"

    def cut(self):
        with self.lock:
            self.live.clear()

    def _accept(self):
        try:
            while True:
                near, _ = self.listener.accept()
                self.taken += 1
                self.kept.append(near)
                if self.down:
                    continue
                far = socket.create_connection(("127.0.0.1", self.target))
                self.kept.append(far)
                with self.lock:
                    self.live.add(near)
                for source, sink in ((near, far), (far, near)):
                    threading.Thread(target=self._carry, args=(near, source, sink), daemon=True).start()
        except OSError:
            pass

    def _carry(self, key, source, sink):
        try:
            while data := source.recv(65536):
                with self.lock:
                    if key not in self.live:
                        return
                sink.sendall(data)
            with self.lock:
                if key in self.live:
                    sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass


# --- requests ------------------------------------------------------------------------


def ask_all(app, count, path):
    """`count` requests at once; their replies."""
    replies = []
    threads = [threading.Thread(target=lambda: replies.append(get(app, path))) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return replies


def statuses(replies):
    return Counter(reply.status for reply in replies)


class Load:
    """Requests one after the other on some connections, until the block ends."""

    def __init__(self, app, path, clients):
        self.app, self.path, self.ending = app, path, threading.Event()
        self.replies = []
        self.threads = [threading.Thread(target=self.run) for _ in range(clients)]

    def run(self):
        while not self.ending.is_set():
            self.replies.append(get(self.app, self.path))

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.ending.set()
        for thread in self.threads:
            thread.join()
