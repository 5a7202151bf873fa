# SPDX-License-Identifier: MIT
"""srv bench over https: what it agrees on, whom it believes, and the names of what goes wrong."""

import csv
import os
import re
import shutil
import socket
import ssl
import subprocess
import threading

import harness
import nginx
import pytest
from certificates import Certificate

NGINX = """
daemon off; master_process off; {user} pid {folder}/nginx.pid; error_log stderr warn;
events {{ worker_connections 1024; }}
http {{
    access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; uwsgi_temp_path {folder}/uwsgi;
    fastcgi_temp_path {folder}/fastcgi; scgi_temp_path {folder}/scgi; keepalive_requests 1000000;
    server {{
        listen 127.0.0.1:{port} ssl backlog=1024;
        ssl_certificate {chain}; ssl_certificate_key {key}; ssl_protocols TLSv1.2 TLSv1.3;
        location / {{ return 200 "hello\\n"; }}
        location /big {{ root {folder}; }}
    }}
}}
"""


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    return Certificate(tmp_path_factory.mktemp("certificate"), rsa=True)


@pytest.fixture(scope="module")
def web(tmp_path_factory, certificate):
    """A real nginx with TLS; its port."""
    folder, port = tmp_path_factory.mktemp("nginx"), harness.free_port()
    user = "user root;" if os.geteuid() == 0 else ""
    (folder / "big").write_bytes(os.urandom(300000))
    (folder / "nginx.conf").write_text(
        NGINX.format(folder=folder, port=port, user=user, chain=certificate.chain, key=certificate.key)
    )
    process = subprocess.Popen(
        [nginx.executable(), "-p", folder, "-c", folder / "nginx.conf", "-e", "stderr"],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=harness.die_with_parent,
    )

    def answers():
        with socket.socket() as s:
            return s.connect_ex(("127.0.0.1", port)) == 0

    harness.wait_for(answers, what="nginx listens")
    yield port
    process.terminate()
    process.wait(10)


class TlsServer:
    """Serves each connection in a thread: `behave(socket, context)` gets it before the handshake."""

    def __init__(self, behave, certificate=None, configure=lambda context: None):
        self.behave, self.served = behave, 0
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        if certificate:
            self.context.load_cert_chain(certificate.chain, certificate.key)
        configure(self.context)

    def __enter__(self):
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=100)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.listener.close()

    @property
    def url(self):
        return f"https://127.0.0.1:{self.port}/"

    def _accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.served += 1
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        try:
            self.behave(connection, self.context)
        except (OSError, ssl.SSLError):
            pass
        finally:
            connection.close()


def read_head(stream):
    head = b""
    while b"\r\n\r\n" not in head:
        if not (more := stream.recv(4096)):
            return head
        head += more
    return head


def answer(body, length=True):
    """Answers once, without a length if the end of the connection is to tell it."""

    def behave(connection, context):
        stream = context.wrap_socket(connection, server_side=True)
        read_head(stream)
        head = f"Content-Length: {len(body)}\r\n" if length else ""
        stream.sendall(f"HTTP/1.1 200 OK\r\n{head}Connection: close\r\n\r\n".encode() + body)
        stream.unwrap()
        connection.close()

    return behave


def truncate(length):
    def behave(connection, context):
        stream = context.wrap_socket(connection, server_side=True, suppress_ragged_eofs=True)
        read_head(stream)
        head = "Content-Length: 100\r\n" if length else ""
        stream.sendall(f"HTTP/1.1 200 OK\r\n{head}\r\n".encode() + b"half")
        raw = socket.socket(fileno=stream.detach())
        raw.shutdown(socket.SHUT_WR)
        raw.recv(1000)
        raw.close()

    return behave


def failures(report):
    return {reason: count for reason, count in report["failures"].items() if count}


# --- what works ------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 2])
def test_nothing_fails_against_nginx(web, bench_json, certificate, workers):
    url = f"https://localhost:{web}/"
    code, report = bench_json(
        "-4", "-k", "-n", 400, "-c", 4, "--workers", workers, "--cacert", certificate.chain, url
    )
    assert code == 0 and failures(report) == {} and report["statuses"] == {"200": 400}
    assert report["tls"]["handshakes"] == report["totals"]["connections"] == 4
    assert report["tls"]["resumed"] == 0 and report["tls"]["server_name"] == "localhost"
    assert report["totals"]["kept_alive"] == 400


def test_bodies_of_many_records_come_whole(web, bench_json, certificate):
    code, report = bench_json("-k", "-n", 40, "-c", 4, "--cacert", certificate.chain, f"https://127.0.0.1:{web}/big")
    assert code == 0 and failures(report) == {}
    assert report["totals"]["body_bytes"] == 40 * 300000


def test_a_new_connection_for_each_request_costs_a_handshake_unless_resumed(web, bench_json, certificate):
    for resume in ("off", "on"):
        code, report = bench_json(
            "-n", 60, "-c", 3, "--tls-resume", resume, "--cacert", certificate.chain, f"https://127.0.0.1:{web}/"
        )
        assert code == 0 and failures(report) == {}
        assert report["tls"]["handshakes"] == 60
        assert report["tls"]["resumed"] == (57 if resume == "on" else 0)


def test_the_handshake_is_a_phase_of_its_own(web, bench_json, certificate, tmp_path):
    path = tmp_path / "requests.csv"
    code, report = bench_json(
        "-n", 20, "-c", 2, "--csv", path, "--cacert", certificate.chain, f"https://127.0.0.1:{web}/"
    )
    assert code == 0
    assert report["tls_us"]["count"] == 20 and 0 < report["tls_us"]["p50"] <= report["connect_us"]["p50"]
    with open(path) as file:
        for row in csv.DictReader(file):
            assert 0 < int(row["tls_us"]) <= int(row["connect_us"])


def test_without_tls_there_is_no_such_phase(slowapi, bench_json, srv_run):
    url = slowapi().url + "?delay=0"
    assert bench_json("-n", 3, url)[1]["tls_us"]["count"] == 0
    assert bench_json("-n", 3, url)[1]["tls"] is None
    assert "tls" not in srv_run("bench", "-n", 3, url).stdout.lower()


def test_the_report_shows_the_phase_and_what_was_agreed_on(web, srv_run, certificate):
    url = f"https://localhost:{web}/"
    text = srv_run("bench", "-4", "-n", 5, "--cacert", certificate.chain, url).stdout
    assert re.search(r"^  of it tls +\d", text, re.M) and "TLS: 5 handshakes, 0 of them resumed" in text
    page = srv_run("bench", "-4", "-w", "-n", 5, "--cacert", certificate.chain, url).stdout
    assert "SSL/TLS Protocol:" in page and "of it TLS:" in page


AB_LINES = ("SSL/TLS Protocol:", "Server Temp Key:", "TLS Server Name:")


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1"])
@pytest.mark.parametrize(
    "options",
    [[], ["-f", "TLS1.2"], ["-f", "TLS1.3"], ["-f", "ALL", "-I"], ["-f", "TLS1.2", "-Z", "ECDHE-RSA-CHACHA20-POLY1305"]],
    ids=" ".join,
)
def test_ab_prints_the_same_lines(web, srv_run, name, options):
    if shutil.which("ab") is None:
        pytest.skip("ab is not installed: scripts/setup test")
    url = f"https://{name}:{web}/"
    theirs = subprocess.run(["ab", "-q", "-n", "3", *options, url], capture_output=True, text=True, timeout=30).stdout
    ours = srv_run("bench", "--ab-strict", "-q", "-n", 3, *options, url).stdout

    def lines(text):
        return [line for line in text.splitlines() if line.startswith(AB_LINES)]

    assert lines(ours) == lines(theirs) != []


def test_clients_of_python_and_openssl_agree(certificate, bench_json):
    """A server of another make: openssl s_server."""
    port = harness.free_port()
    server = subprocess.Popen(
        ["openssl", "s_server", "-quiet", "-accept", str(port), "-cert", certificate.chain, "-key", certificate.key, "-www"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=harness.die_with_parent,
    )
    try:

        def listens():
            with socket.socket() as s:
                return s.connect_ex(("127.0.0.1", port)) == 0

        harness.wait_for(listens, what="s_server listens")
        code, report = bench_json("-n", 10, "--cacert", certificate.chain, f"https://127.0.0.1:{port}/")
    finally:
        server.terminate()
        server.wait(10)
    assert code == 0 and failures(report) == {} and report["tls"]["handshakes"] == 10


# --- whom it believes ------------------------------------------------------------------------------


def test_a_certificate_that_nobody_vouches_for_ends_the_run(web, bench_json, srv_run):
    url = f"https://127.0.0.1:{web}/"
    code, report = bench_json("-n", 10, url)
    assert code == 1 and failures(report) == {"tls_verify": 1}
    assert report["failure_reasons"] == {"tls_verify": "self-signed certificate"}
    assert bench_json("-n", 10, "--insecure", url)[0] == 0
    assert bench_json("-n", 10, "--ab-strict", url)[0] == 0
    text = srv_run("bench", "-n", 10, url).stdout
    assert text.count("self-signed certificate") == 1 and "--insecure" in text


def test_a_wrong_name_is_not_believed(web, bench_json, certificate):
    url = f"https://elsewhere.example:{web}/"
    to = ("--resolve", f"elsewhere.example:{web}:127.0.0.1", "--cacert", certificate.chain)
    code, report = bench_json("-r", "-n", 5, *to, url)
    assert code == 1 and failures(report) == {"tls_verify": 5}
    assert report["failure_reasons"] == {"tls_verify": "hostname mismatch"}
    assert bench_json("-n", 5, "--ab-strict", *to, url)[0] == 1  # told whom to trust, it looks


def test_a_server_may_want_a_certificate(certificate, bench_json, tmp_path):
    own = Certificate(tmp_path, "a-client")

    def ask(context):
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(own.chain)

    with TlsServer(answer(b"hello"), certificate, ask) as server:
        code, report = bench_json("-r", "-n", 4, "--insecure", server.url)
        assert code == 3 and sum(failures(report).values()) == 4
        assert set(failures(report)) <= {"tls_error", "reset"}
        assert set(report["failure_reasons"].values()) <= {"tlsv13 alert certificate required"}
        code, report = bench_json("-n", 4, "--insecure", "-E", own.both, server.url)
        assert code == 0 and failures(report) == {}


# --- what goes wrong, once and by its name ----------------------------------------------------------


def only_tls13(context):
    context.minimum_version = ssl.TLSVersion.TLSv1_3


def test_versions_that_do_not_meet_fail_the_handshake(certificate, bench_json):
    with TlsServer(answer(b"hello"), certificate, only_tls13) as server:
        code, report = bench_json("-r", "-n", 6, "-c", 2, "--insecure", "-f", "TLS1.2", server.url)
    assert code == 1 and failures(report) == {"tls_handshake": 6} and server.served == 6
    assert report["failure_reasons"] == {"tls_handshake": "tlsv1 alert protocol version"}


def test_a_server_without_tls_fails_the_handshake(slowapi, bench_json):
    url = slowapi().url.replace("http:", "https:")
    code, report = bench_json("-r", "-n", 4, "--insecure", url)
    assert code == 1 and failures(report) == {"tls_handshake": 4}
    assert report["failure_reasons"] == {"tls_handshake": "wrong version number"}


def close_at_once(connection, _context):
    connection.recv(1)
    connection.close()


def close_in_the_middle(connection, _context):
    connection.recv(5000)
    connection.sendall(b"\x16\x03\x03\x00\x7a\x02\x00")
    connection.shutdown(socket.SHUT_WR)
    connection.recv(5000)


@pytest.mark.parametrize("behave", [close_at_once, close_in_the_middle])
def test_an_end_within_the_handshake_has_its_name(certificate, bench_json, behave):
    with TlsServer(behave, certificate) as server:
        code, report = bench_json("-r", "-n", 6, "-c", 2, "--insecure", server.url)
    assert code == 1 and failures(report) == {"tls_closed": 6} and server.served == 6


def test_a_handshake_that_hangs_times_out_as_such(certificate, bench_json):
    with TlsServer(lambda connection, _context: connection.recv(5000) and connection.recv(5000), certificate) as server:
        code, report = bench_json("-n", 4, "-c", 2, "-s", "0.2", "--insecure", server.url)
    assert code == 1 and failures(report) == {"timeout_tls": 4}
    assert report["tls_us"]["censored"] == 4


@pytest.mark.parametrize("length", [True, False], ids=["length", "until-close"])
def test_an_end_without_a_word_is_a_truncation(certificate, bench_json, length):
    with TlsServer(truncate(length), certificate) as server:
        code, report = bench_json("-n", 6, "-c", 2, "--insecure", server.url)
    assert code == 3 and failures(report) == {"tls_truncated": 6}


def test_an_end_that_was_told_is_none(certificate, bench_json):
    with TlsServer(answer(b"to the end", length=False), certificate) as server:
        code, report = bench_json("-n", 6, "-c", 2, "--insecure", server.url)
    assert code == 0 and failures(report) == {} and report["totals"]["body_bytes"] == 60


def test_other_clients_are_served_while_handshakes_hang(certificate, bench_json):
    """Of a planned rate half of the connections hang; the others are asked in time."""
    turn = iter(range(1000000))

    def behave(connection, context):
        if next(turn) % 2:
            connection.recv(5000)
            connection.recv(5000)
        else:
            answer(b"hello")(connection, context)

    with TlsServer(behave, certificate) as server:
        code, report = bench_json("--rate", 40, "-t", 1, "-c", 60, "-s", "0.4", "--insecure", server.url)
    assert set(failures(report)) <= {"timeout_tls"} and report["totals"]["dropped"] == 0
    assert report["totals"]["succeeded"] >= 10


# --- through a proxy --------------------------------------------------------------------------------


class Proxy(TlsServer):
    """Makes tunnels to one place, or answers with `status`."""

    def __init__(self, to, status=200):
        super().__init__(self.serve)
        self.to, self.status, self.heads = to, status, []

    def serve(self, connection, _context):
        self.heads.append(read_head(connection))
        connection.sendall(f"HTTP/1.1 {self.status} so\r\nVia: a\r\n\r\n".encode())
        if self.status != 200:
            return
        with socket.create_connection(("127.0.0.1", self.to)) as server:
            threading.Thread(target=self.copy, args=(server, connection), daemon=True).start()
            self.copy(connection, server)

    def copy(self, one, other):
        try:
            while data := one.recv(65536):
                other.sendall(data)
            other.shutdown(socket.SHUT_WR)
        except OSError:
            pass


def test_a_proxy_makes_a_tunnel(web, bench_json, certificate):
    with Proxy(web) as proxy:
        code, report = bench_json(
            "-k", "-n", 30, "-c", 3, "-X", f"127.0.0.1:{proxy.port}", "-P", "a:b", "--cacert", certificate.chain, f"https://localhost:{web}/"
        )
    assert code == 0 and failures(report) == {}
    assert report["tls"]["handshakes"] == len(proxy.heads) == 3
    head = proxy.heads[0].decode()
    assert head.startswith(f"CONNECT localhost:{web} HTTP/1.1\r\nHost: localhost:{web}\r\n")
    assert "Proxy-Authorization: Basic YTpi\r\n" in head


def test_a_proxy_that_refuses_is_told_by_name(web, bench_json):
    with Proxy(web, status=407) as proxy:
        code, report = bench_json("-r", "-n", 4, "-X", f"127.0.0.1:{proxy.port}", "--insecure", f"https://localhost:{web}/")
    assert code == 1 and failures(report) == {"proxy_refused": 4}
    assert report["failure_reasons"] == {"proxy_refused": "status 407"}


# --- usage ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "args, named",
    [
        (["-f", "SSL3"], "TLS1.2, TLS1.3 or ALL"),
        (["-f", "TLS1"], "older ones"),
        (["-f", "TLS1.1"], "older ones"),
        (["-f", "TLS9"], "TLS1.2, TLS1.3 or ALL"),
        (["-Z", "NONSENSE"], "NONSENSE"),
        (["--tls-resume", "maybe"], "maybe"),
        (["--cacert", "/dev/null"], "/dev/null"),
        (["-E", "/dev/null"], "/dev/null"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_usage_is_one_line(srv_run, args, named):
    done = srv_run("bench", *args, "https://127.0.0.1:1/")
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.count("\n") == 1 and done.stderr.startswith("srv bench: ") and named in done.stderr


@pytest.mark.parametrize("option", ["--cacert", "-E"])
def test_a_file_that_is_not_there_is_one_line(srv_run, option):
    done = srv_run("bench", option, "/nowhere.pem", "https://127.0.0.1:1/")
    assert done.returncode == 1 and done.stdout == "" and "/nowhere.pem" in done.stderr


def test_a_key_of_another_is_refused(srv_run, certificate, tmp_path):
    other = Certificate(tmp_path, "other")
    (tmp_path / "mixed.pem").write_text(certificate.chain.read_text() + other.key.read_text())
    done = srv_run("bench", "-E", tmp_path / "mixed.pem", "https://127.0.0.1:1/")
    assert done.returncode == 2 and "is not that of certificate" in done.stderr
