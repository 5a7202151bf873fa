# SPDX-License-Identifier: MIT
"""End-to-end harness: starts `srv`, learns its addresses, talks to it, and checks how it ended.

A test asks for the fixtures of conftest.py and imports the helpers from here:

    from harness import RawConnection, get, raw, request

    def test_zero_delay_answers_at_once(slowapi):
        api = slowapi("--workers", "2")              # binds 127.0.0.1:0 unless told otherwise
        reply = get(api, "/?delay=0")
        assert (reply.status, reply.text) == (200, "slow api response")

    def test_index_greets_through_its_upstream(slowapi, serve):
        app = serve("--model", "single", upstream=slowapi())
        assert get(app, "/?delay=0").text == "Hi there! slow api response"

    def test_request_without_host_is_refused(serve):
        app = serve()
        assert raw(app, b"GET / HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 400 ")
        with RawConnection(app) as conn:             # step by step on one connection
            conn.send(b"GET /?delay=0 HTTP/1.1\r\nHost: x\r\n\r\n")
            reply = conn.read_response()             # Reply(status, reason, headers, body)
            assert conn.read_until_close() == b""    # ... or .expect_open(0.2)

    def test_unknown_option_is_named(srv_run):
        done = srv_run("slowapi", "--nope")          # runs to its end: .returncode .stdout .stderr
        assert done.returncode == 2 and "--nope" in done.stderr

    def test_second_sigterm_stops_at_once(slowapi):
        api = slowapi()
        api.send_signal(signal.SIGTERM)              # api.pid, api.port, api.url, api.addresses, api.stderr()
        assert api.wait(timeout=5) == 0              # a server that ended under the test's eyes is not stopped again

Servers are stopped by the fixture with SIGTERM; the test fails if one then does not exit with 0 in time,
or if a sanitizer reported anything. Everything that waits has a time-out, and children die with pytest.
The binary is $SRV_BIN, or the newest of build/*/cmd/srv.
"""

import contextlib
import ctypes
import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections import namedtuple
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
READY_SECONDS = 20  # a sanitized binary on a busy machine is slow to start
STOP_SECONDS = 20
IO_SECONDS = 20

# Variables that are defaults of options: a test must not depend on who runs it.
OPTION_VARIABLES = ("PORT", "PORT_APP", "PORT_API", "WORKERS", "THREADS", "ASYNC_CORES", "PROTOCOL", "MODULE")
OPTION_VARIABLES += ("FORWARDED_ALLOW_IPS", "HEALTH_PATH", "SRV_SHARD", "SRV_START_AT", "JOB_COMPLETION_INDEX")
REPORT = re.compile(r"(ERROR|WARNING|SUMMARY): \w+Sanitizer|: runtime error: ")
PR_SET_PDEATHSIG = 1
libc = ctypes.CDLL(None, use_errno=True)


def srv_binary():
    """The program under test."""
    if os.environ.get("SRV_BIN"):
        return os.environ["SRV_BIN"]
    built = sorted(ROOT.glob("build/*/cmd/srv"), key=lambda path: path.stat().st_mtime)
    if not built:
        raise RuntimeError("no srv binary: set SRV_BIN or run scripts/build")
    return str(built[-1])


def clean_environment(extra=None):
    """The environment without option defaults, plus `extra`; PATH as on a fresh system, which hides nothing."""
    env = {
        name: value for name, value in os.environ.items() if name not in OPTION_VARIABLES and not name.startswith("PG")
    }
    env["PATH"] = "/usr/sbin:/usr/bin:/sbin:/bin"
    env.setdefault("UBSAN_OPTIONS", "print_stacktrace=1")
    env.update(extra or {})
    return env


def die_with_parent():
    """Runs in the child before exec: no server outlives a killed pytest."""
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def run(*args, timeout=60, env=None, stdin=None, binary=None):
    """Runs `srv ARGS` to its end; text mode; fails on a sanitizer report."""
    done = subprocess.run(
        [binary or srv_binary(), *map(str, args)],
        stdin=subprocess.DEVNULL if stdin is None else stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        timeout=timeout,
        env=clean_environment(env),
        preexec_fn=die_with_parent,
    )
    assert not REPORT.search(done.stderr), done.stderr
    return done


def run_deaf(*args, **options):
    """As run, but started by a program that ignores SIGCHLD, as some shells and supervisors do."""
    ignore = "import os, signal, sys; signal.signal(signal.SIGCHLD, signal.SIG_IGN); os.execv(sys.argv[1], sys.argv[1:])"
    return run("-c", ignore, srv_binary(), *args, binary=sys.executable, **options)


def run_script(name, *args, timeout=80):
    """Runs scripts/NAME against the binary under test, to its end; text mode."""
    return subprocess.run(
        [sys.executable, ROOT / "scripts" / name, *args],
        env={"SRV_BIN": srv_binary(), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=timeout,
        preexec_fn=die_with_parent,
    )


def free_port():
    """A TCP port of loopback that nobody had a moment ago."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def cpu_seconds(pid):
    """User and system time of all threads of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Server:
    """One running `srv COMMAND ARGS`, ready to be asked."""

    launcher = ()  # what starts it
    takes_bind = True  # it listens on 127.0.0.1:0 unless told otherwise by --bind

    def __init__(self, command, args, log_path, env=None, ready_seconds=READY_SECONDS):
        self.command, self.args, self.log_path = command, [str(arg) for arg in args], Path(log_path)
        if self.takes_bind and not any(re.match(r"(-b|--bind(=|$))", arg) for arg in self.args):
            self.args = ["--bind", "127.0.0.1:0", *self.args]
        self.addresses = []
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(
                [*self.launcher, srv_binary(), command, *self.args],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=clean_environment(env),
                preexec_fn=die_with_parent,
            )
        self._wait_ready(ready_seconds)

    # --- who it is -----------------------------------------------------------

    @property
    def pid(self):
        return self.process.pid

    @property
    def host(self):
        return self.addresses[0][0]

    @property
    def port(self):
        return self.addresses[0][1]

    @property
    def url(self):
        """http://HOST:PORT/ of the first TCP address."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}/"

    def stderr(self):
        """All it has said so far (stdout included)."""
        return self.log_path.read_text(errors="replace")

    # --- life ------------------------------------------------------------------

    def _wait_ready(self, seconds):
        wanted = sum(bool(re.match(r"(-b|--bind(=|$))", arg)) for arg in self.args) or 1
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            ended = self.process.poll() is not None
            found = re.findall(r"listening on (\S+)\n", self.stderr())
            if len(found) >= wanted:
                self.addresses = [parse_address(text) for text in found]
                return
            if ended:
                raise AssertionError(f"{self} ended with {self.process.returncode}:\n{self.stderr()}")
            time.sleep(0.005)
        self.kill()
        raise AssertionError(f"{self} was not ready after {seconds} s:\n{self.stderr()}")

    def send_signal(self, number):
        os.kill(self.pid, number)

    def wait(self, timeout=STOP_SECONDS):
        """The exit code; kills it and fails when it does not end in time."""
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"{self} did not end within {timeout} s:\n{self.stderr()}") from None

    def stop(self, number=signal.SIGTERM, timeout=STOP_SECONDS, code=0):
        """Asks it to stop and checks how it ended. Harmless when it has been waited for already."""
        if self.process.returncode is None:
            if self.process.poll() is not None:
                raise AssertionError(f"{self} had ended with {self.process.returncode}:\n{self.stderr()}")
            self.send_signal(number)
            ended = self.wait(timeout)
            assert ended == code, f"{self} ended with {ended}, not {code}:\n{self.stderr()}"
        assert not REPORT.search(self.stderr()), self.stderr()

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    def __repr__(self):
        return f"srv {self.command} {' '.join(self.args)}"


def parse_address(text):
    """`http://127.0.0.1:80/`, `uwsgi://[::1]:80`, `unix:/path` -> (host, port), (host, port), (path, None)."""
    if "unix:" in text:
        return text.split("unix:", 1)[1], None
    host, port = re.search(r"(?:://)?(\[[^]]*\]|[^:/\[]*):(\d+)/?$", text).groups()
    return host.strip("[]"), int(port)


# --- talking to it -----------------------------------------------------------------


def connect(server, timeout=IO_SECONDS):
    """A connected socket to a Server, or to an (host, port) or (path, None) address."""
    host, port = server.addresses[0] if isinstance(server, Server) else server
    if port is None:
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(timeout)
        sock.connect(host)
        return sock
    sock = socket.create_connection((host, port), timeout=timeout)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def is_refused(server):
    """Whether nobody listens there; False in the moment in which a listener goes and resets who came."""
    try:
        connect(server).close()
    except ConnectionRefusedError:
        return True
    except ConnectionResetError:
        pass
    return False


class Reply(namedtuple("Reply", "status reason version headers body")):
    """`headers` is a dict with lower-case names; repeated ones are joined with ", "."""

    @property
    def text(self):
        return self.body.decode()


class Client(http.client.HTTPConnection):
    """http.client over any address; keeps the connection: `c.ask("GET", "/")` as often as you like."""

    def __init__(self, server, timeout=IO_SECONDS):
        super().__init__("localhost", timeout=timeout)
        self._server = server

    def connect(self):
        self.sock = connect(self._server, self.timeout)

    def ask(self, method, path, body=None, headers=None):
        self.request(method, path, body=body, headers=headers or {})
        return read_reply(self.getresponse())


def read_reply(response):
    headers = {}
    for name, value in response.getheaders():
        name = name.lower()
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return Reply(response.status, response.reason, response.version, headers, response.read())


def request(server, method, path, body=None, headers=None, timeout=IO_SECONDS):
    """One request on a connection of its own."""
    client = Client(server, timeout)
    try:
        return client.ask(method, path, body, headers)
    finally:
        client.close()


def get(server, path="/?delay=0", headers=None, timeout=IO_SECONDS):
    return request(server, "GET", path, headers=headers, timeout=timeout)


class RawConnection:
    """Bytes as they are, for what no honest client would send."""

    def __init__(self, server, timeout=IO_SECONDS):
        self.sock = connect(server, timeout)
        self.timeout = timeout
        self.unread = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.sock.close()

    def send(self, data):
        self.sock.sendall(data)

    def half_close(self):
        self.sock.shutdown(socket.SHUT_WR)

    def reset(self):
        """Closes with RST, as a crashed client would."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.sock.close()

    def read_until_close(self):
        """What is still to come; a reset counts as a close."""
        data, self.unread = self.unread, b""
        try:
            while chunk := self.sock.recv(65536):
                data += chunk
        except ConnectionResetError:
            pass
        return data

    def read_until(self, mark):
        """Up to and including `mark`; what came after it stays unread."""
        while mark not in self.unread:
            chunk = self.sock.recv(65536)
            assert chunk, f"closed before {mark!r}: {self.unread!r}"
            self.unread += chunk
        end = self.unread.index(mark) + len(mark)
        data, self.unread = self.unread[:end], self.unread[end:]
        return data

    def read_exactly(self, count):
        while len(self.unread) < count:
            chunk = self.sock.recv(65536)
            assert chunk, f"closed after {len(self.unread)} of {count} bytes"
            self.unread += chunk
        data, self.unread = self.unread[:count], self.unread[count:]
        return data

    def read_response(self, method="GET"):
        """One response framed by Content-Length or chunks, or by the close when it has neither."""
        head = self.read_until(b"\r\n\r\n").decode("latin-1")
        status_line, *lines = head[:-4].split("\r\n")
        version, status, reason = (status_line + " ").split(" ", 2)
        headers = {}
        for line in lines:
            name, value = line.split(":", 1)
            headers[name.lower()] = value.strip()
        body = self._read_body(method, int(status), headers)
        return Reply(int(status), reason.strip(), 10 if version.endswith("1.0") else 11, headers, body)

    def _read_body(self, method, status, headers):
        if method == "HEAD" or status < 200 or status in (204, 304):
            return b""
        if headers.get("transfer-encoding", "").lower() == "chunked":
            return self._read_chunks()
        if "content-length" in headers:
            return self.read_exactly(int(headers["content-length"]))
        return self.read_until_close()

    def _read_chunks(self):
        body = b""
        while size := int(self.read_until(b"\r\n").split(b";")[0], 16):
            body += self.read_exactly(size)
            assert self.read_exactly(2) == b"\r\n"
        while self.read_until(b"\r\n") != b"\r\n":
            pass
        return body

    def expect_open(self, seconds):
        """Fails if the peer sends anything or closes within `seconds`."""
        self.sock.settimeout(seconds)
        try:
            data = self.sock.recv(1)
        except (socket.timeout, BlockingIOError):
            return
        finally:
            self.sock.settimeout(self.timeout)
        raise AssertionError(f"expected silence, got {data!r}" if data else "closed by the peer")


def everything(conn):
    """(bytes until the end, "fin" or "rst")"""
    data = conn.unread
    try:
        while chunk := conn.sock.recv(65536):
            data += chunk
    except ConnectionResetError:
        return data, "rst"
    return data, "fin"


def split(data):
    """(lines of the head, body)"""
    head, _, body = data.partition(b"\r\n\r\n")
    return head.split(b"\r\n"), body


def raw(server, data, half_close=False, timeout=IO_SECONDS):
    """Sends `data` on a fresh connection and returns all that comes back until the peer closes."""
    with RawConnection(server, timeout) as conn:
        try:
            conn.send(data)
            if half_close:
                conn.half_close()
        except (BrokenPipeError, ConnectionResetError):
            pass  # refused early; the answer may still be readable
        return conn.read_until_close()


def children(pid):
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def open_files(pid):
    """What the descriptors of a process lead to, without those that are closed meanwhile."""
    links = []
    for fd in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(FileNotFoundError):
            links.append(os.readlink(f"/proc/{pid}/fd/{fd}"))
    return links


def wait_for(condition, seconds=IO_SECONDS, what="condition"):
    """Polls until `condition()` is true and returns its value."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.01)
    raise AssertionError(f"{what} did not come true within {seconds} s")
