# SPDX-License-Identifier: MIT
"""Starts the servers that are measured, on free ports, and runs load generators to their end."""

import os
import re
import shlex
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests/e2e"))
import harness  # noqa: E402

NGINX_CONF = """
daemon off;
worker_processes 1;
{user}
error_log {dir}/error.log warn;
pid {dir}/nginx.pid;
worker_rlimit_nofile 20000;
events {{ worker_connections 20000; }}
http {{
    access_log off;
    keepalive_requests 1000000000;
    client_body_temp_path {dir}/body;
    proxy_temp_path {dir}/proxy;
    fastcgi_temp_path {dir}/fastcgi;
    uwsgi_temp_path {dir}/uwsgi;
    scgi_temp_path {dir}/scgi;
    default_type text/plain;
    {http}
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location / {{ {location} }}
    }}
}}
"""
RETURN_200 = {"http": "", "location": 'return 200 "slow api response";'}


# What `srv serve echo` answers to a request that has no field but Host, and no body.
ECHO_OF_NGINX = (
    r'return 200 "method: $request_method\ntarget: $request_uri\nclient: $remote_addr\nscheme: $scheme\n'
    r'field: host: $http_host\nbody: 0 bytes, sum cbf29ce484222325\n";'
)
# What RETURN_200 answers, as an application of `srv serve`.
RETURN_200_OF_SRV = """#include <srv/app.h>

static int page(srv_request *rq) {
    return srv_reply(rq, 200, "slow api response");
}
SRV_APP(.handle = page)
"""


def return_200_over_tls(certificate, location=RETURN_200["location"]):
    """As RETURN_200, of an nginx that terminates TLS; `location` may do something else."""
    listens = "listen 127.0.0.1:{port}"
    return {
        "http": f"ssl_certificate {certificate.chain}; ssl_certificate_key {certificate.key}; ssl_protocols TLSv1.2 TLSv1.3;",
        "location": location,
        "conf": NGINX_CONF.replace(listens, f"{listens} ssl"),
    }


def proxy_to(host_port):
    """nginx as an app server would be: in front of one upstream, with idle connections kept to it."""
    return {
        "http": f"upstream api {{ server {host_port}; keepalive 256; keepalive_requests 1000000000; }}",
        "location": 'proxy_pass http://api; proxy_http_version 1.1; proxy_set_header Connection "";',
    }


def enter_network():
    """Goes on in a new network namespace, whose loopback is up: nobody else takes ports there, and no table of
    tracked connections (nf_conntrack) fills up with what others have closed, and then drops packets."""
    if os.environ.get("SRV_BENCH_NETNS"):
        return
    os.environ["SRV_BENCH_NETNS"] = "1"
    again = 'ip link set lo up && exec "$@"'
    os.execvp("unshare", ["unshare", "-rn", "sh", "-c", again, "sh", sys.executable, *sys.argv])


def in_child(cpu):
    """What runs between fork and exec: dies with us, stays on one CPU if asked."""

    def prepare():
        harness.die_with_parent()
        if cpu is not None:
            os.sched_setaffinity(0, {cpu})

    return prepare


class Actor:
    """A running server: name, pid, url. `holds` are its files, removed with it."""

    def __init__(self, name, process, url, holds):
        self.name, self.process, self.url, self.holds = name, process, url, holds
        self.pid = process.pid

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.holds.__exit__(None, None, None)


def start_nginx(name, http, location, cpu=None, conf=NGINX_CONF):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    files = tempfile.TemporaryDirectory(prefix="srv-bench-nginx-")
    folder = files.name
    user = "user root;" if os.getuid() == 0 else ""
    path = Path(folder, "nginx.conf")
    path.write_text(conf.format(dir=folder, port=port, user=user, http=http, location=location))
    process = subprocess.Popen(
        ["/usr/sbin/nginx", "-p", folder, "-c", str(path), "-e", f"{folder}/error.log"],
        stdin=subprocess.DEVNULL, preexec_fn=in_child(cpu),
    )
    harness.wait_for(lambda: answers(port), 10, f"{name} ready")
    return Actor(name, process, f"http://127.0.0.1:{port}/", files)


def answers(port):
    try:
        return harness.get(("127.0.0.1", port), "/?delay=0").status < 500
    except OSError:
        return False


def start_srv(name, binary, *args, cpu=None):
    log = tempfile.NamedTemporaryFile(prefix="srv-bench-", suffix=".log")
    process = subprocess.Popen(
        [binary, *args], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        env=harness.clean_environment(), preexec_fn=in_child(cpu),
    )

    def address():
        if process.poll() is not None:
            sys.exit(f"{shlex.join([binary, *args])} ended:\n{Path(log.name).read_text()}")
        return re.search(r"listening on (\w+://\S+)\n", Path(log.name).read_text())

    return Actor(name, process, harness.wait_for(address, 10, f"{name} ready")[1], log)


class Load:
    """What a load generator did: requests, cpu_seconds (its own), seconds. `errors`: answers may be 4xx."""

    def __init__(self, command, cpu=None, timeout=120, errors=False):
        started = time.monotonic()
        with tempfile.TemporaryFile("w+") as out:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, preexec_fn=in_child(cpu),
                env=harness.clean_environment(),
            )
            status, usage = wait4(process, timeout)
            self.seconds = time.monotonic() - started
            out.seek(0)
            self.output = out.read()
        self.cpu_seconds = usage.ru_utime + usage.ru_stime
        found = re.search(r"(\d+) requests in|Complete requests: +(\d+)", self.output)
        bad = re.search(r"Socket errors.*|Failed requests: +[1-9].*" + ("" if errors else "|Non-2xx.*"), self.output)
        if status != 0 or not found or bad:
            sys.exit(f"{shlex.join(command)} failed ({status}):\n{self.output}")
        self.requests = int(found[1] or found[2])


def wait4(process, timeout):
    """Like process.wait, with the resource usage of just this process."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if pid:
            process.returncode = os.waitstatus_to_exitcode(status)
            return process.returncode, usage
        time.sleep(0.01)
    process.kill()
    process.wait()
    sys.exit(f"{process.args} took more than {timeout} s")


class Crowd:
    """N connections, each with one request in flight."""

    def __init__(self, url, count, path):
        host, port = re.match(r"http://([^:/]+):(\d+)/", url).groups()
        request = f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
        self.sockets = []
        for _ in range(count):
            sock = socket.create_connection((host, int(port)), timeout=30)
            sock.sendall(request)
            self.sockets.append(sock)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for sock in self.sockets:
            sock.close()

    def read_answers(self):
        """How many were answered with 200."""
        return sum(sock.recv(4096).startswith(b"HTTP/1.1 200 ") for sock in self.sockets)
