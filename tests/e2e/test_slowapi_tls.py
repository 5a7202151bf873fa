# SPDX-License-Identifier: MIT
"""TLS of srv slowapi: its certificates, its faults as Python, curl, openssl and srv bench see them, and its counters."""

import json
import re
import socket
import ssl
import subprocess
import time
import urllib.request

import pytest
from certificates import Certificate
from harness import IO_SECONDS, RawConnection, connect, wait_for

TEXT = b"slow api response"
REQUEST = b"GET /?delay=0 HTTP/1.1\r\nHost: x\r\n\r\n"
REASONS = {
    "tls-expired": "certificate has expired",
    "tls-self-signed": "self-signed certificate",
    "tls-wrong-name": "IP address mismatch",
    "tls-wrong-protocol": "wrong version number",
}


class Secure:
    """A slowapi at one https address, with what tells about it."""

    def __init__(self, server, ca):
        self.server, self.ca = server, ca
        self.control = re.search(r"control on (http://\S+)", server.stderr())[1]
        self.url = f"https://127.0.0.1:{server.port}/"

    def stats(self):
        return json.load(urllib.request.urlopen(self.control + "/stats", timeout=IO_SECONDS))

    def struck(self, kind, count=1):
        wait_for(lambda: self.stats()["faults"][kind] == count, what=f"{count} times {kind}")
        told = urllib.request.urlopen(self.control + "/metrics", timeout=IO_SECONDS).read().decode()
        assert f'slowapi_faults_total{{kind="{kind}"}} {count}\n' in told
        assert sum(self.stats()["faults"].values()) == count

    def wrap(self, sock, name="127.0.0.1", version=None):
        context = ssl.create_default_context(cafile=self.ca)
        context.options &= ~getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", 1 << 7)
        if version is not None:
            context.minimum_version = context.maximum_version = version
        return context.wrap_socket(sock, server_hostname=name, suppress_ragged_eofs=False)

    def open(self, **more):
        return self.wrap(connect(self.server), **more)

    def curl(self, url=None, *args):
        command = ["curl", "-sS", "--max-time", str(IO_SECONDS), "--cacert", self.ca, *args, url or self.url]
        return subprocess.run(command, capture_output=True, text=True)

    def s_client(self, *args, typed=""):
        command = ["openssl", "s_client", "-connect", f"127.0.0.1:{self.server.port}", "-CAfile", self.ca]
        command += ["-verify_return_error", "-verify_ip", "127.0.0.1", *args]
        done = subprocess.run(command, input=typed, capture_output=True, text=True, timeout=IO_SECONDS)
        return done.stdout + done.stderr


@pytest.fixture
def secure(slowapi, tmp_path):
    """secure(*ARGS, bind=...) -> Secure"""

    def start(*args, params=None, bind="https://127.0.0.1:0"):
        ca = tmp_path / "ca.pem"
        if params is not None:
            args += ("--params", params)
        server = slowapi("--bind", bind, "--tls-ca-out", ca, "--control", "0", "--delay", "0", *args)
        return Secure(server, ca)

    return start


class Peer:
    """A client whose bytes are seen: TLS over a plain socket. `came` counts the server's bytes."""

    def __init__(self, api, version=None):
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        context = ssl.create_default_context(cafile=api.ca)
        context.options &= ~getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", 1 << 7)
        if version is not None:
            context.minimum_version = context.maximum_version = version
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname="127.0.0.1")
        self.sock = connect(api.server)
        self.wire, self.bytewise = b"", False

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()

    def call(self, step, *args):
        """Does the step; what it has to say goes out, and what it waits for is read."""
        while True:
            try:
                return step(*args)
            except ssl.SSLWantReadError:
                self.flush()
                chunk = self.sock.recv(65536)
                self.wire += chunk
                self.incoming.write(chunk) if chunk else self.incoming.write_eof()

    def flush(self):
        data = self.outgoing.read()
        for piece in [data[i : i + 1] for i in range(len(data))] if self.bytewise else [data]:
            self.sock.sendall(piece)

    def shake(self):
        self.call(self.tls.do_handshake)
        self.flush()

    def send(self, data):
        self.tls.write(data)
        self.flush()

    def ask(self, fault=None, path="/?delay=0"):
        more = f"&fault={fault.replace('%', '%25')}" if fault else ""
        self.send(f"GET {path}{more} HTTP/1.1\r\nHost: x\r\n\r\n".encode())

    def read_until(self, mark):
        data = b""
        while mark not in data:
            chunk = self.call(self.tls.read, 65536)
            assert chunk, data
            data += chunk
        return data

    def everything(self):
        """(bytes until the end, how it ended: "close_notify", "fin" or "rst")"""
        data = b""
        try:
            while chunk := self.call(self.tls.read, 65536):
                data += chunk
        except ssl.SSLZeroReturnError:
            pass
        except (ConnectionResetError, BrokenPipeError):
            return data, "rst"
        except ssl.SSLError as failure:
            assert "EOF" in str(failure)
            return data, "fin"
        return data, "close_notify"


# --- what works as without TLS -----------------------------------------------------


def test_clients_trust_the_authority_that_is_written_out(secure):
    api = secure()
    assert api.curl().stdout == TEXT.decode()
    assert api.curl(f"https://localhost:{api.server.port}/").stdout == TEXT.decode()
    assert "Verification: OK" in api.s_client("-x509_strict")
    assert subprocess.run(["openssl", "verify", "-x509_strict", "-CAfile", api.ca, api.ca]).returncode == 0
    stats = api.stats()
    assert (stats["tls_handshakes"], stats["tls_failed"], stats["answers"]) == (3, 0, 2)


def test_a_connection_is_kept_and_the_session_is_resumed(secure):
    api = secure("--workers", "2")
    context = ssl.create_default_context(cafile=api.ca)
    session = None
    for _ in range(4):
        sock = context.wrap_socket(connect(api.server), server_hostname="localhost", session=session)
        with sock:
            for _ in range(3):
                sock.sendall(REQUEST)
                assert sock.recv(65536).endswith(TEXT)
            assert sock.session_reused == (session is not None)
            session = sock.session
    stats = api.stats()
    assert (stats["connections"], stats["tls_handshakes"], stats["tls_resumed"]) == (4, 4, 3)
    assert stats["answers"] == 12


def test_plain_and_secure_addresses_stand_side_by_side(secure):
    api = secure("--bind", "127.0.0.1:0", params="fault=tls-expired")
    assert "certificate has expired" in api.curl().stderr
    plain = RawConnection(api.server.addresses[1])
    with plain:
        plain.send(REQUEST)
        assert plain.read_response().body == TEXT
        plain.send(b"GET /?fault=tls-cut HTTP/1.1\r\nHost: x\r\n\r\n")
        reply = plain.read_response()
        assert (reply.status, reply.text) == (400, "fault 'tls-cut': needs TLS; ask at an https:// address\n")
    assert api.stats()["faults"]["tls-expired"] == 1


def test_the_access_log_tells_of_tls(secure, tmp_path):
    path = tmp_path / "log"
    api = secure("--access-logfile", path, "--bind", "127.0.0.1:0")
    assert api.curl(f"https://localhost:{api.server.port}/", "--tls-max", "1.2").returncode == 0
    with RawConnection(api.server.addresses[1]) as plain:
        plain.send(REQUEST)
        assert plain.read_response().status == 200
    wait_for(lambda: path.read_text().count("\n") == 2, what="two lines")
    secure_line, plain_line = map(json.loads, path.read_text().splitlines())
    told = secure_line["tls"]
    assert (told["version"], told["server_name"], told["resumed"]) == ("TLSv1.2", "localhost", False)
    assert "ECDSA" in told["cipher"] and plain_line["tls"] is None


def test_who_speaks_http_to_a_secure_address_is_told(secure):
    api = secure()
    with RawConnection(api.server) as conn:
        conn.send(REQUEST)
        reply = conn.read_response()
    assert (reply.status, reply.text) == (400, "this port speaks TLS: ask it by https\n")
    assert (api.stats()["malformed"], api.stats()["tls_failed"]) == (1, 1)


def test_requests_know_that_they_came_within_tls(secure):
    api = secure()
    assert json.loads(api.curl(api.url + "anything").stdout)["url"] == api.url + "anything"


def test_a_client_may_take_its_time_for_its_handshake(secure):
    api = secure()
    with Peer(api) as peer:
        peer.bytewise = True
        peer.shake()
        peer.ask()
        assert peer.read_until(TEXT).endswith(TEXT)


def test_pipelined_requests_and_large_answers_come_whole(secure):
    api = secure()
    with Peer(api) as peer:
        peer.shake()
        peer.send(REQUEST * 50 + b"GET /bytes/3000000 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        data, end = peer.everything()
    assert (data.count(TEXT), end) == (50, "close_notify")
    assert len(data.rpartition(b"\r\n\r\n")[2]) > 2900000
    assert api.stats()["answers"] == 51


def test_a_client_that_leaves_while_its_request_sleeps_is_counted(secure):
    api = secure()
    with Peer(api) as peer:
        peer.shake()
        peer.ask(path="/?delay=60")
        wait_for(lambda: api.stats()["in_flight"] == 1, what="a request in flight")
    wait_for(lambda: api.stats()["client_aborts"] == 1, what="an abort")
    assert api.stats()["open_connections"] == 0


# --- how an answer ends ------------------------------------------------------------

ENDS = [
    ("rst", "rst@50%", "rst", TEXT[:8]),
    ("fin", "fin@50%", "close_notify", TEXT[:8]),
    ("truncate", "truncate", "close_notify", TEXT[:8]),
    ("tls-close", "tls-close@head", "fin", None),
    ("tls-close", "tls-close@body", "fin", b""),
    ("tls-close", "tls-close@50%", "fin", TEXT[:8]),
    ("tls-close", "tls-close@100", "fin", TEXT),
    ("tls-cut", "tls-cut@head", "fin", None),
    ("tls-cut", "tls-cut@50%", "fin", TEXT[:8]),
    ("tls-cut", "tls-cut@100", "fin", TEXT),
]


@pytest.mark.parametrize("kind, fault, end, body", ENDS, ids=[row[1] for row in ENDS])
def test_an_answer_ends_byte_by_byte_as_its_fault_says(secure, kind, fault, end, body):
    api = secure()
    with Peer(api) as peer:
        peer.shake()
        peer.ask(fault)
        data, ended = peer.everything()
    assert ended == end
    if end != "rst":  # which may overtake bytes
        assert (data.partition(b"\r\n\r\n")[2] if data else None) == body
    api.struck(kind)
    wait_for(lambda: api.stats()["open_connections"] == 0, what="no connection")
    assert api.stats()["in_flight"] == 0


def test_a_record_is_cut_in_its_middle(secure):
    """On the wire: the last record is shorter than it says."""
    api = secure()
    with Peer(api) as peer:
        peer.shake()
        peer.ask("tls-cut@100")
        peer.everything()
        data = peer.wire
    left = []
    while data:
        length = 5 + int.from_bytes(data[3:5], "big")
        left.append(length - len(data[:length]))
        data = data[length:]
    assert left[-1] > 0 and not any(left[:-1])


# --- faults of the handshake -------------------------------------------------------


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("fault", REASONS)
def test_clients_name_what_is_wrong(secure, fault, version):
    api = secure(params=f"fault={fault}")
    with pytest.raises(ssl.SSLError) as failure:
        api.open(version=version)
    assert REASONS[fault].lower().replace(" ", "") in str(failure.value).lower().replace("_", "").replace(" ", "")
    api.struck(fault)


@pytest.mark.parametrize("fault", ["tls-expired", "tls-self-signed", "tls-wrong-name", "tls-wrong-protocol"])
def test_curl_and_openssl_name_what_is_wrong(secure, fault):
    api = secure(params=f"fault={fault}")
    told = api.curl()
    assert told.returncode in (35, 60) and told.stdout == ""
    api.struck(fault)
    reason = "IP address mismatch" if fault == "tls-wrong-name" else REASONS[fault]
    assert reason in api.s_client()
    api.struck(fault, 2)


def test_a_client_may_look_away(secure):
    api = secure(params="fault=tls-expired")
    assert api.curl(None, "-k").stdout == TEXT.decode()
    api.struck("tls-expired")


@pytest.mark.parametrize("fault", ["tls-expired", "tls-self-signed", "tls-wrong-name"])
def test_the_name_that_a_client_asks_for_chooses_a_certificate(secure, fault):
    api = secure()
    assert api.curl(f"https://{fault}.localhost:{api.server.port}/").returncode == 60
    api.struck(fault)
    assert api.curl().stdout == TEXT.decode()
    api.struck(fault)


PLACES = ["hello", "certificate", "finished"]
VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


def shake(api, version):
    """How a handshake and a request behind it end, or the body of the answer; and how many bytes the server sent."""
    with Peer(api, version) as peer:
        try:
            peer.shake()
            peer.ask()
            return peer.read_until(TEXT).rpartition(b"\r\n\r\n")[2], len(peer.wire)
        except (ConnectionResetError, BrokenPipeError):
            return "rst", len(peer.wire)
        except ssl.SSLError as failure:
            assert "EOF" in str(failure)
            return "fin", len(peer.wire)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("kind, end", [("tls-reset", "rst"), ("tls-close", "fin")])
def test_a_handshake_ends_at_each_place(secure, kind, end, version):
    bytes_at = []
    for place in PLACES:
        api = secure(params=f"fault={kind}@{place}")
        ended, came = shake(api, version)
        assert ended == end
        api.struck(kind)
        wait_for(lambda api=api: api.stats()["open_connections"] == 0, what="no connection")
        bytes_at.append(came)
        api.server.stop()
    hello, certificate, finished = bytes_at
    assert hello == 0
    if end == "fin":  # a reset may overtake bytes
        assert 0 < certificate < 200 and finished > 500


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("kind", ["tls-delay", "tls-hang"])
@pytest.mark.parametrize("place", PLACES)
def test_a_handshake_is_late_by_what_was_asked_for(secure, kind, place, version):
    api = secure(params=f"fault={kind}=300ms@{place}")
    begun = time.monotonic()
    assert shake(api, version)[0] == TEXT
    assert time.monotonic() - begun >= 0.3
    api.struck(kind)
    assert (api.stats()["tls_handshakes"], api.stats()["answers"]) == (1, 1)


def test_a_handshake_is_late_at_all_places_together(secure):
    api = secure(params="fault=tls-delay=100ms@hello,tls-delay=100ms@certificate,tls-delay=100ms@finished")
    begun = time.monotonic()
    assert shake(api, ssl.TLSVersion.TLSv1_3)[0] == TEXT
    assert time.monotonic() - begun >= 0.3
    api.struck("tls-delay", 3)


def test_a_handshake_hangs_until_its_client_leaves(secure):
    api = secure(params="fault=tls-hang@certificate")
    sock = connect(api.server)
    sock.settimeout(0.3)
    with pytest.raises(socket.timeout):
        api.wrap(sock)
    api.struck("tls-hang")
    sock.close()
    wait_for(lambda: api.stats()["open_connections"] == 0, what="no connection")
    assert api.stats()["tls_failed"] == 1


def test_a_share_of_connections_is_struck(secure):
    api = secure("--seed", "3", params="fault=tls-expired:50")
    codes = [api.curl().returncode for _ in range(12)]
    assert set(codes) == {0, 60}
    api.struck("tls-expired", codes.count(60))


def test_renegotiation_is_refused_and_the_connection_goes_on(secure):
    api = secure()
    told = api.s_client("-tls1_2", "-state", typed="R\nGET /?delay=0 HTTP/1.0\r\n\r\n")
    assert "no renegotiation" in told
    assert api.stats()["tls_handshakes"] == 1


# --- both sides count the same -----------------------------------------------------


@pytest.mark.parametrize(
    "fault, name",
    [
        ("tls-expired", "tls_verify"),
        ("tls-self-signed", "tls_verify"),
        ("tls-wrong-name", "tls_verify"),
        ("tls-wrong-protocol", "tls_handshake"),
        ("tls-reset@hello", "tls_closed"),
        ("tls-reset@certificate", "tls_closed"),
        ("tls-close@hello", "tls_closed"),
        ("tls-close@certificate", "tls_closed"),
        ("tls-close@body", "tls_truncated"),
        ("tls-close@50%", "tls_truncated"),
        ("tls-cut@50%", "tls_truncated"),
    ],
)
def test_bench_and_slowapi_count_each_fault_once(secure, bench_json, fault, name):
    api = secure(params=f"fault={fault}")
    _, report = bench_json("-r", "-n", 3, "--cacert", api.ca, api.url + "?delay=0")
    assert {reason: count for reason, count in report["failures"].items() if count} == {name: 3}
    api.struck(fault.partition("@")[0], 3)


def test_own_certificates_are_shown_and_faulty_ones_beside(secure, tmp_path):
    own = Certificate(tmp_path)
    api = secure("--certfile", own.chain, "--keyfile", own.key, bind="127.0.0.1:0")  # speaks TLS for it has one
    assert api.curl(None, "--cacert", own.chain).stdout == TEXT.decode()
    assert "certificate has expired" in api.curl(f"https://tls-expired.localhost:{api.server.port}/").stderr
    api.struck("tls-expired")


def test_clients_may_have_to_show_a_certificate(secure, tmp_path):
    client = Certificate(tmp_path, name="client")
    api = secure("--cert-reqs", "required", "--ca-certs", client.chain)
    assert api.curl().returncode != 0
    assert api.curl(None, "--cert", client.both).stdout == TEXT.decode()
    assert (api.stats()["tls_handshakes"], api.stats()["tls_failed"]) == (1, 1)


# --- what is refused ---------------------------------------------------------------


@pytest.mark.parametrize(
    "args, part",
    [
        (["--params", "fault=tls-expired"], "--params: tls-expired needs an address that speaks TLS"),
        (["--bind", "127.0.0.1:0?fault=tls-cut", "--bind", "https://127.0.0.1:0"], "--bind: tls-cut needs TLS"),
        (["--tls-ca-out", "/tmp/x"], "--tls-ca-out: no address speaks TLS"),
        (["--keyfile", "/tmp/x", "--bind", "https://127.0.0.1:0"], "--keyfile: needs --certfile"),
        (["--certfile", "/nowhere", "--bind", "127.0.0.1:0"], "cannot read '/nowhere'"),
        (["--tls-ca-out", "/nowhere/x", "--bind", "https://127.0.0.1:0"], "--tls-ca-out: cannot write '/nowhere/x'"),
        (["--bind", "https://127.0.0.1:0?fault=tls-delay@head"], "has a place where this fault cannot strike"),
        (["--bind", "https://127.0.0.1:0?fault=rst@hello"], "has a place where this fault cannot strike"),
    ],
)
def test_options_that_do_not_fit_are_refused(srv_run, args, part):
    done = srv_run("slowapi", *args)
    assert done.returncode != 0 and part in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.parametrize("fault", ["tls-expired", "tls-hang@hello", "tls-close@finished"])
def test_no_request_can_ask_for_a_fault_of_a_handshake(secure, fault):
    api = secure()
    told = api.curl(api.url + f"?fault={fault}")
    assert "strikes handshakes, which come before any request: only --params and --bind" in told.stdout
    assert told.stdout.count("\n") == 1
