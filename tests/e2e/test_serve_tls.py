# SPDX-License-Identifier: MIT
"""srv serve over https: what it agrees on, what it refuses, and what a reload changes."""

import json
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import threading
import time

import pytest
from certificates import Certificate, ocsp_response
from clients import Clients
from control import fetch, metrics
from harness import RawConnection, children, connect, raw, wait_for
from test_handlers import ROOT, build

MODELS = ("green", "pool", "event", "threaded", "single")
LOOPS = ("green", "pool", "event")
HELLO = b"GET /hello HTTP/1.1\r\nHost: localhost\r\n\r\n"


def trusting(*certificates, **options):
    """A client's context."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    for certificate in certificates:
        context.load_verify_locations(certificate.chain)
    context.set_alpn_protocols(["http/1.1"])
    for name, value in options.items():
        setattr(context, name, value)
    return context


class Secure(RawConnection):
    """A connection within TLS, to a server or an address."""

    def __init__(self, server, context, name="localhost", session=None):
        super().__init__(server)
        self.sock = context.wrap_socket(  # an end without close_notify is an error
            self.sock, server_hostname=name, session=session, suppress_ragged_eofs=False
        )

    def ask(self, request=HELLO):
        self.send(request)
        return self.read_response()

    def serial(self):
        return int(self.sock.getpeercert()["serialNumber"], 16)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    return Certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture(scope="module")
def context(certificate):
    return trusting(certificate)


@pytest.fixture
def https(serve, certificate):
    """https(*ARGS) -> serve with the app echo behind an address that speaks TLS, and one that does not."""

    def start_https(*args, app="echo"):
        binds = ("--bind", "https://127.0.0.1:0", "--bind", "http://127.0.0.1:0")
        return serve(*binds, "--certfile", certificate.chain, "--keyfile", certificate.key, *args, app)

    return start_https


# --- what is agreed on ----------------------------------------------------------------


@pytest.mark.parametrize("model", MODELS)
def test_requests_are_answered_within_tls_and_beside_it(https, context, model):
    app = https("--model", model)
    with Secure(app, context) as conn:
        assert (conn.sock.version(), conn.sock.selected_alpn_protocol()) == ("TLSv1.3", "http/1.1")
        for _ in range(1 if model == "single" else 3):
            reply = conn.ask(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello")
            assert reply.status == 200 and "scheme: https\n" in reply.text and "body: 5 bytes" in reply.text
    with RawConnection(app.addresses[1]) as conn:
        conn.send(HELLO)
        assert "scheme: http\n" in conn.read_response().text
    assert f"listening on https://127.0.0.1:{app.port}/\n" in app.stderr()


def test_a_certificate_makes_addresses_without_a_scheme_secure(serve, certificate, context):
    app = serve("--certfile", certificate.both, "echo")
    with Secure(app, context) as conn:
        assert conn.ask().status == 200


def test_unix_sockets_speak_tls_as_well(serve, certificate, context, tmp_path):
    app = serve("--bind", f"tls://unix:{tmp_path}/app", "--certfile", certificate.both, "echo")
    with Secure(app, context) as conn:
        assert "scheme: https\n" in conn.ask().text


@pytest.mark.parametrize("model", MODELS)
def test_http_without_tls_is_told_so(https, model):
    answer = raw(https("--model", model), HELLO)
    assert answer.startswith(b"HTTP/1.1 400 ") and answer.endswith(b"\r\n\r\nthis port speaks TLS: ask it by https\n")


@pytest.mark.parametrize("method", [b"DELETE", b"OPTIONS", b"PATCH", b"CONNECT"])
def test_every_method_without_tls_is_told_so(https, method):
    assert raw(https(), HELLO.replace(b"GET", method)).startswith(b"HTTP/1.1 400 ")


def test_nonsense_without_tls_gets_no_http(https):
    app = https()
    assert b"HTTP" not in raw(app, b"\0\1\2\3" * 100)
    assert b"HTTP" not in raw(app, b"SSH-2.0-client\r\n")


@pytest.mark.parametrize("versions, agreed", [("TLSv1.2", "TLSv1.2"), ("TLSv1.3", "TLSv1.3"), ("1.2,1.3", "TLSv1.3")])
def test_versions_are_those_that_are_asked_for(https, context, certificate, versions, agreed):
    app = https("--ssl-versions", versions)
    with Secure(app, context) as conn:
        assert conn.sock.version() == agreed and conn.ask().status == 200
    other = {"TLSv1.2": ssl.TLSVersion.TLSv1_3, "TLSv1.3": ssl.TLSVersion.TLSv1_2}.get(versions)
    if other is not None:
        with pytest.raises(ssl.SSLError, match="PROTOCOL_VERSION|protocol version"):
            Secure(app, trusting(certificate, minimum_version=other, maximum_version=other))


def test_ciphers_are_those_that_are_asked_for(https, certificate):
    app = https("--ciphers", "TLS_CHACHA20_POLY1305_SHA256:ECDHE-ECDSA-AES128-GCM-SHA256")
    with Secure(app, trusting(certificate)) as conn:
        assert conn.sock.cipher()[0] == "TLS_CHACHA20_POLY1305_SHA256"
    with Secure(app, trusting(certificate, maximum_version=ssl.TLSVersion.TLSv1_2)) as conn:
        assert conn.sock.cipher()[0] == "ECDHE-ECDSA-AES128-GCM-SHA256"
    older = trusting(certificate, maximum_version=ssl.TLSVersion.TLSv1_2)
    older.set_ciphers("ECDHE-ECDSA-AES256-GCM-SHA384")
    with pytest.raises(ssl.SSLError):
        Secure(app, older)


def test_clients_that_speak_another_protocol_are_refused(https, certificate):
    other = trusting(certificate)
    other.set_alpn_protocols(["h2"])
    with pytest.raises(ssl.SSLError, match="NO_APPLICATION_PROTOCOL|no application protocol"):
        Secure(https(), other)


@pytest.mark.parametrize("model", ("green", "single"))
def test_a_proxy_names_the_client_before_tls(https, context, model):
    app = https("--model", model, "--proxy-protocol")
    sock = connect(app)
    for piece in (b"PROXY TCP4 192.0.2.7 192", b".0.2.8 56324 443\r", b"\n"):
        sock.sendall(piece)
        time.sleep(0.05)
    with context.wrap_socket(sock, server_hostname="localhost") as secure:
        secure.sendall(HELLO)
        answer = secure.recv(65536)
    assert b"client: 192.0.2.7\n" in answer and b"scheme: https\n" in answer
    header = b"PROXY TCP4 192.0.2.9 192.0.2.8 56324 443\r\n"  # in one piece with the handshake
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    with connect(app) as sock:
        sock.sendall(header + outgoing.read())
        assert sock.recv(3)[:2] == b"\x16\x03"
    assert raw(app, HELLO).startswith(b"HTTP/1.1 400 ")


# --- clients that are slow, or leave ----------------------------------------------------


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("said", [b"", b"\x16\x03\x01\x02\x00\x01"], ids=["nothing", "a part"])
def test_handshakes_have_the_time_of_heads(https, model, said):
    app = https("--model", model, "--header-timeout", "300ms")
    assert raw(app, said) == b""


@pytest.mark.parametrize("model", ("green", "pool", "threaded"))
def test_one_byte_at_a_time_is_a_handshake_too(https, certificate, model):
    app = https("--model", model)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = trusting(certificate).wrap_bio(incoming, outgoing, server_hostname="localhost")

    def step(action):
        while True:
            try:
                return action()
            except ssl.SSLWantReadError:
                for byte in outgoing.read():
                    sock.sendall(bytes([byte]))
                incoming.write(sock.recv(65536))

    with connect(app) as sock:
        step(client.do_handshake)
        client.write(HELLO)
        answer = step(lambda: client.read(65536))
    assert answer.startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("model", ("green", "pool", "threaded", "event"))
def test_half_closed_clients_get_their_answer(slowapi, https, context, model):
    app = https("--model", model, "--upstream", slowapi().url, app="index")
    with Secure(app, context) as conn:
        conn.send(b"GET /?delay=0.4 HTTP/1.1\r\nHost: x\r\n\r\n")
        with socket.socket(fileno=os.dup(conn.sock.fileno())) as bare:
            bare.shutdown(socket.SHUT_WR)
        assert conn.read_response().text == "Hi there! slow api response"


@pytest.mark.parametrize("model", ("green", "pool", "threaded", "event"))
def test_clients_that_leave_are_noticed(slowapi, https, context, model):
    api = slowapi()
    app = https("--model", model, "--upstream", api.url, "--control", "127.0.0.1:0", app="index")
    with Secure(app, context) as conn:
        conn.send(b"GET /?delay=60 HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_for(lambda: metrics(app).get("srv_slots_busy") == 1)
    wait_for(lambda: metrics(app).get("srv_abandoned_total") == 1, what="the one that left noticed")


# --- large answers, streams and bodies -----------------------------------------------------

STREAMS = """
#include <srv/app.h>
#include <stdlib.h>
#include <string.h>
static int pieces(srv_request *rq) {
    static const char text[] = "0123456789";
    for (int i = 0; i < atoi(srv_arg(rq, "count", "1")); i++)
        srv_write(rq, text, 10);
    return srv_end(rq);
}
static int whole(srv_request *rq) {
    size_t len = (size_t)atol(srv_arg(rq, "len", "0"));
    char *data = srv_alloc(rq, len);
    memset(data, 'x', len);
    srv_write(rq, data, len);
    return srv_end(rq);
}
static int sum(srv_request *rq) {
    char data[1000];
    long n, total = 0;
    while ((n = srv_read(rq, data, sizeof(data))) > 0)
        total += n;
    return n < 0 ? (int)n : srv_reply(rq, 200, srv_format(rq, "%ld", total));
}
static int cut(srv_request *rq) { srv_write(rq, "part", 4); return srv_fail(rq, 503, "no more"); }
static const srv_route routes[] = {
    { "/pieces", pieces }, { "/whole", whole }, { "/sum", sum }, { "/cut", cut }, { NULL, NULL }
};
SRV_APP(.routes = routes, .flags = SRV_STREAM_BODY)
"""
WAITING = ("green", "pool", "threaded", "single")


@pytest.fixture(scope="module")
def streams(tmp_path_factory):
    return build(tmp_path_factory.mktemp("streams"), STREAMS)


@pytest.mark.parametrize("model", WAITING)
def test_answers_in_pieces_come_whole(https, context, streams, model):
    app = https("--model", model, app=streams)
    with Secure(app, context) as conn:
        reply = conn.ask(b"GET /pieces?count=500 HTTP/1.1\r\nHost: x\r\n\r\n")
        assert reply.headers["transfer-encoding"] == "chunked" and reply.body == b"0123456789" * 500
    with Secure(app, context) as conn:  # its end is that of the connection, which says so
        reply = conn.ask(b"GET /pieces?count=500 HTTP/1.0\r\nHost: x\r\n\r\n")
        assert reply.body == b"0123456789" * 500
    with Secure(app, context) as conn:
        conn.send(b"GET /whole?len=9000000 HTTP/1.1\r\nHost: x\r\n\r\n")
        time.sleep(0.3)  # nothing is read: what the socket does not take waits
        assert conn.read_response().body == b"x" * 9000000


@pytest.mark.parametrize("model", WAITING)
def test_an_answer_that_was_cut_does_not_end_well(https, context, streams, model):
    app = https("--model", model, app=streams)
    with Secure(app, context) as conn:
        conn.send(b"GET /cut HTTP/1.0\r\nHost: x\r\n\r\n")
        with pytest.raises((ssl.SSLEOFError, ConnectionResetError)):
            while conn.sock.recv(65536):
                pass


@pytest.mark.parametrize("model", WAITING)
def test_bodies_are_read_while_they_come(https, context, streams, model):
    app = https("--model", model, app=streams)
    with Secure(app, context) as conn:
        conn.send(b"POST /sum HTTP/1.1\r\nHost: x\r\nContent-Length: 900000\r\nExpect: 100-continue\r\n\r\n")
        assert conn.read_response().status == 100
        for _ in range(3):
            conn.send(b"b" * 300000)
        assert conn.read_response().text == "900000"
    with Secure(app, context) as conn:
        conn.send(b"POST /sum HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(20):
            conn.send(b"3\r\nabc\r\n")
        conn.send(b"0\r\n\r\n" + (b"GET /pieces HTTP/1.1\r\nHost: x\r\n\r\n" if model != "single" else b""))
        assert conn.read_response().text == "60"
        assert model == "single" or conn.read_response().text == "0123456789"


@pytest.mark.parametrize("model", ("green", "pool", "event", "threaded"))
def test_pipelined_requests_of_one_record_are_answered(https, context, model):
    with Secure(https("--model", model), context) as conn:
        conn.send(HELLO * 50)
        assert [conn.read_response().status for _ in range(50)] == [200] * 50


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return build(tmp_path_factory.mktemp("files"), (ROOT / "examples/files.c").read_text())


@pytest.mark.parametrize("model", ("green", "pool", "threaded", "single"))
def test_files_come_whole_and_in_part(https, context, files, tmp_path, model):
    content = os.urandom(5_000_000)
    (tmp_path / "big").write_bytes(content)
    app = https("--model", model, files, app=f"folder={tmp_path}")
    with Secure(app, context) as conn:
        reply = conn.ask(b"GET /big HTTP/1.1\r\nHost: x\r\n\r\n")
        assert reply.status == 200 and reply.body == content
    with Secure(app, context) as conn:
        reply = conn.ask(b"GET /big HTTP/1.1\r\nHost: x\r\nRange: bytes=100000-4000000\r\n\r\n")
        assert reply.status == 206 and reply.body == content[100000:4000001]


# --- reloads ----------------------------------------------------------------------------------


@pytest.fixture
def renewed(tmp_path):
    """The files of a server, and a function that puts new ones in their place: `files.chain`, `files.renew()`."""

    class Files:
        folder = tmp_path / "renewed"
        chain, key = folder / "chain.pem", folder / "key.pem"

        def renew(self):
            made = Certificate(self.folder)
            for new, old in ((made.chain, self.chain), (made.key, self.key)):
                shutil.copy(new, f"{old}.new")
                os.replace(f"{old}.new", old)
            return made

    Files.folder.mkdir()
    files = Files()
    files.first = files.renew()
    files.args = ("--bind", "https://127.0.0.1:0", "--certfile", files.chain, "--keyfile", files.key)
    return files


def anybody():
    return trusting(check_hostname=False, verify_mode=ssl.CERT_NONE)


def served_serial(app):
    with Secure(app, anybody()) as conn:
        der = conn.sock.getpeercert(binary_form=True)
    return ssl.DER_cert_to_PEM_cert(der)


class NewConnections:
    """A new connection every 10 ms, each with one request."""

    def __init__(self, app):
        self.app, self.done, self.lost = app, 0, []
        self.stopping = threading.Event()
        self.threads = [threading.Thread(target=self.run) for _ in range(4)]
        for thread in self.threads:
            thread.start()

    def run(self):
        context = anybody()
        while not self.stopping.wait(0.04):
            try:
                with Secure(self.app, context) as conn:
                    assert conn.ask(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").status == 200
                    assert conn.read_until_close() == b""
                self.done += 1
            except (OSError, AssertionError) as problem:
                self.lost.append(repr(problem))

    def stop(self):
        self.stopping.set()
        for thread in self.threads:
            thread.join()


@pytest.mark.parametrize("asked", (True, False), ids=("HUP", "changed"))
@pytest.mark.parametrize("model", MODELS)
def test_a_reload_serves_new_certificates_and_loses_nothing(serve, renewed, model, asked):
    """A changed file is reason enough for a master."""
    app = serve(*renewed.args, "--model", model, "--workers", "2", "echo")
    wait_for(lambda: len(children(app.pid)) == 2)
    old, first = renewed.chain.read_text(), set(children(app.pid))
    kept = Clients(app, 2 if model == "single" else 16, connect=lambda at: Secure(at, anybody()), request=HELLO)
    fresh = NewConnections(app)
    wait_for(lambda: kept.done > 50 and fresh.done > 5)
    renewed.renew()
    if asked:
        app.send_signal(signal.SIGHUP)
    wait_for(lambda: not first & set(children(app.pid)), what="all workers replaced")
    wait_for(lambda: served_serial(app) == renewed.chain.read_text(), what="the new certificate")
    served = {served_serial(app) for _ in range(20)}
    kept.stop()
    fresh.stop()
    assert served == {renewed.chain.read_text()} != {old}
    assert kept.lost == [] and fresh.lost == []


@pytest.mark.parametrize("workers", ("0", "1"))
def test_bad_files_change_nothing(serve, renewed, workers):
    app = serve(*renewed.args, "--workers", workers, "echo")
    old = renewed.chain.read_text()
    for text, reason in (("", "has no certificate in PEM"), (None, "No such file or directory")):
        renewed.chain.unlink() if text is None else renewed.chain.write_text(text)
        app.send_signal(signal.SIGHUP)
        wait_for(lambda reason=reason: reason in app.stderr())
        assert served_serial(app) == old
    refused = len(re.findall("reload refused, the workers serve on: .*chain.pem", app.stderr()))
    assert refused == 2 if workers == "0" else refused >= 2  # a master sees the changes, too


@pytest.mark.parametrize("model", LOOPS)
def test_a_server_without_a_master_takes_new_certificates_too(serve, renewed, model):
    app = serve(*renewed.args, "--model", model, "echo")
    with Secure(app, trusting(renewed.first)) as conn:
        conn.ask()
        renewed.renew()
        app.send_signal(signal.SIGHUP)
        wait_for(lambda: served_serial(app) == renewed.chain.read_text())
        assert conn.ask().status == 200


# --- sessions ---------------------------------------------------------------------------------


def shake(app, context, session=None, name="localhost"):
    """Asks once, and returns the session and whether it was resumed."""
    with Secure(app, context, name, session) as conn:
        assert conn.ask(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").status == 200
        return conn.sock.session, conn.sock.session_reused


@pytest.mark.parametrize("version", ("TLS1.2", "TLS1.3"))
def test_each_connection_leaves_a_session_for_the_next(https, srv_run, version):
    app = https()
    load = ("-n", "50", "-c", "1", "--insecure", "-f", version, "--tls-resume", "on")
    done = srv_run("bench", *load, f"https://127.0.0.1:{app.port}/hello")
    assert "50 handshakes, 49 of them resumed a session" in done.stdout, done.stdout


@pytest.mark.parametrize("version", (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3), ids=str)
def test_sessions_are_resumed_by_other_workers_and_after_a_reload(https, certificate, version):
    app = https("--workers", "3", "--model", "single", "--control", "127.0.0.1:0")
    context = trusting(certificate, minimum_version=version, maximum_version=version)
    session, resumed = shake(app, context)
    assert not resumed
    for _ in range(12):
        session, resumed = shake(app, context, session)
        assert resumed
    app.send_signal(signal.SIGHUP)
    wait_for(lambda: app.stderr().count("worker left") == 3, what="all workers replaced")
    assert shake(app, context, session)[1]
    told = metrics(app)
    assert told["srv_tls_handshakes_total"] == 14 and told["srv_tls_resumed_total"] == 13
    assert told["srv_tls_failed_total"] == 0


@pytest.mark.parametrize("model", LOOPS)
def test_names_choose_certificates(serve, certificate, tmp_path, model):
    other = Certificate(tmp_path, "other", names="DNS:other.example,DNS:*.wild.example")
    files = ("--certfile", certificate.both, "--certfile", other.both)
    app = serve("--model", model, "--bind", "https://127.0.0.1:0", *files, "echo")
    for name, shown in (("localhost", "localhost"), ("other.example", "other"), ("a.wild.example", "other")):
        with Secure(app, trusting(certificate, other), name) as conn:
            assert dict(part[0] for part in conn.sock.getpeercert()["subject"])["commonName"] == shown
            assert conn.ask().status == 200
    with Secure(app, anybody(), "unknown.example") as conn:
        assert ssl.DER_cert_to_PEM_cert(conn.sock.getpeercert(binary_form=True)) == certificate.chain.read_text()


# --- clients that show a certificate ------------------------------------------------------------

SUBJECT = """
#include <srv/app.h>
static int page(srv_request *rq) { return srv_reply(rq, 200, srv_format(rq, "<%s>", srv_client_subject(rq))); }
static const srv_route routes[] = { { "/", page }, { NULL, NULL } };
SRV_APP(.routes = routes)
"""
ASK = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.mark.parametrize("model", WAITING)
def test_handlers_and_the_log_know_whose_certificate_came(https, certificate, tmp_path, model):
    authority = Certificate(tmp_path, "authority")
    client = Certificate(tmp_path, "client", issuer=authority)
    log = ("--access-logfile", tmp_path / "log", "--access-logformat", "[%(subject)s] %(s)s")
    trust = ("--cert-reqs", "optional", "--ca-certs", authority.chain)
    app = https("--model", model, *log, *trust, app=build(tmp_path, SUBJECT))
    known = trusting(certificate)
    known.load_cert_chain(client.chain, client.key)
    with Secure(app, known) as conn:
        assert conn.ask(ASK).text == "<CN=client>"
    with Secure(app, trusting(certificate)) as conn:
        assert conn.ask(ASK).text == "<>"
    wait_for(lambda: (tmp_path / "log").read_text() == "[CN=client] 200\n[-] 200\n")


def test_the_log_in_json_knows_whose_certificate_came(https, certificate, tmp_path):
    client = Certificate(tmp_path, "client")
    log = ("--access-logfile", tmp_path / "log", "--access-logformat", "json")
    app = https(*log, "--cert-reqs", "optional", "--ca-certs", client.chain)
    known = trusting(certificate)
    known.load_cert_chain(client.chain, client.key)
    for context in (known, trusting(certificate)):
        with Secure(app, context) as conn:
            assert conn.ask().status == 200
    wait_for(lambda: (tmp_path / "log").read_text().count("\n") == 2)
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert lines[0]["subject"] == "CN=client" and "subject" not in lines[1]


@pytest.mark.parametrize("model", ("green", "threaded"))
def test_clients_without_a_good_certificate_are_refused(https, certificate, tmp_path, model):
    authority, stranger = Certificate(tmp_path, "authority"), Certificate(tmp_path, "stranger")
    app = https("--model", model, "--cert-reqs", "2", "--ca-certs", authority.chain, "--control", "127.0.0.1:0")
    strange = trusting(certificate)
    strange.load_cert_chain(stranger.chain, stranger.key)
    for context in (trusting(certificate), strange):
        with pytest.raises((ssl.SSLError, ConnectionResetError)):
            with Secure(app, context) as conn:
                conn.ask()
    wait_for(lambda: metrics(app).get("srv_tls_failed_total") == 2)


# --- the end of certificates ------------------------------------------------------------------------


def test_the_end_of_certificates_is_told(serve, tmp_path):
    soon, later = (Certificate(tmp_path, name, days=days) for name, days in (("soon", 5), ("later", 100)))
    files = ("--certfile", soon.both, "--certfile", later.both)
    app = serve("--bind", "https://127.0.0.1:0", *files, "--control", "127.0.0.1:0", "echo")
    wait_for(lambda: "later" in app.stderr())
    assert re.search(r"WARN .*certificate expires days=[45] file=\S+soon", app.stderr())
    assert re.search(r"INFO .*certificate expires days=(99|100) file=\S+later", app.stderr())
    ends = wait_for(lambda: metrics(app).get("srv_tls_certificate_expiry_seconds"), what="a worker that tells it")
    assert abs(ends - time.time() - 5 * 86400) < 100


@pytest.mark.parametrize("workers", ("0", "2"))
def test_who_has_an_expired_certificate_is_not_ready(serve, tmp_path, workers):
    certificate = Certificate(tmp_path)
    certificate.expire()
    options = ("--workers", workers, "--control", "127.0.0.1:0", "--certfile", certificate.both)
    app = serve("--bind", "https://127.0.0.1:0", *options, "echo")
    wait_for(lambda: fetch(app, "/readyz").text == "a certificate has expired\n")
    assert (fetch(app, "/readyz").status, fetch(app, "/healthz").status) == (503, 200)
    Certificate(tmp_path)
    app.send_signal(signal.SIGHUP)
    wait_for(lambda: fetch(app, "/readyz").status == 200)


def test_no_certificate_has_no_end(serve):
    app = serve("--control", "127.0.0.1:0", "echo")
    assert "srv_tls_certificate_expiry_seconds" not in metrics(app)


# --- attacks ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("args", (("--model", "pool", "--threads", "4"), ("--model", "green")), ids=lambda args: args[1])
def test_slow_handshakes_keep_nobody_out(https, context, args):
    app = https(*args)
    slow = [connect(app) for _ in range(200)]
    for byte in (b"\x16", b"\x03", b"\x01"):
        for sock in slow:
            sock.sendall(byte)
        with Secure(app, context) as conn:
            start = time.monotonic()
            assert conn.ask().status == 200
            assert time.monotonic() - start < 5
        time.sleep(1)
    for sock in slow:
        sock.close()


def openssl(app, *args, said=b""):
    """What openssl s_client says, whose standard input stays open until it has spoken."""
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{app.port}", "-servername", "localhost", *args]
    done = subprocess.run(command, input=said, capture_output=True, timeout=30, check=False)
    return done.stdout + done.stderr


# --- stapled responses -----------------------------------------------------------------------


class Stapled:
    """A certificate of an authority, and what is said of it in a file. `args` make a server use them; the chain has the
    authority if `whole`."""

    def __init__(self, folder, whole=True):
        self.authority = Certificate(folder, "authority")
        self.leaf = Certificate(folder, "leaf", "DNS:localhost", issuer=self.authority)
        self.file = folder / "response.der"
        self.file.write_bytes(ocsp_response(self.authority, self.leaf))
        if whole:
            self.leaf.chain.write_text(self.leaf.chain.read_text() + self.authority.chain.read_text())
        files = ("--certfile", self.leaf.chain, "--keyfile", self.leaf.key, "--ocsp-file", self.file)
        self.args = ("serve", "--bind", "https://127.0.0.1:0", *files)


def stapled(app, *args):
    return b"OCSP Response Status: successful" in openssl(app, "-status", *args)


@pytest.mark.parametrize("whole", (True, False), ids=("chain", "leaf"))
def test_a_response_is_stapled_to_its_certificate(serve, certificate, tmp_path, whole):
    pair = Stapled(tmp_path, whole)
    other = ("--certfile", certificate.both) if not whole else ()
    files = ("--certfile", pair.leaf.chain, "--keyfile", pair.leaf.key)
    if other:
        files = (*files, *other, "--keyfile", certificate.key)
    app = serve("--bind", "https://127.0.0.1:0", *files, "--ocsp-file", pair.file, "echo")
    told = openssl(app, "-status", "-CAfile", pair.authority.chain)
    assert b"OCSP Response Status: successful" in told and b"Cert Status: good" in told
    assert stapled(app, "-tls1_2")
    assert b"OCSP" not in openssl(app)


@pytest.mark.parametrize("workers", ("0", "1"))
def test_a_bad_response_changes_nothing_at_a_reload(serve, tmp_path, workers):
    pair = Stapled(tmp_path)
    app = serve(*pair.args[1:], "--workers", workers, "echo")
    pair.file.write_bytes(b"nonsense")
    app.send_signal(signal.SIGHUP)
    wait_for(lambda: "reload refused, the workers serve on: " in app.stderr())
    assert "response.der' is no OCSP response in DER" in app.stderr() and stapled(app)


def expired(pair):
    """The third time is that of the next response. Without the chain, nobody but clients can tell that it was changed."""
    times = list(re.finditer(rb"\x18\x0f\d{14}Z", pair.file.read_bytes()))
    data = bytearray(pair.file.read_bytes())
    data[times[2].start() + 2 : times[2].end()] = b"20250101000000Z"
    return bytes(data)


def foreign(pair):
    return ocsp_response(pair.authority, Certificate(pair.file.parent, "another", issuer=pair.authority))


def forged(pair):
    """The signature is behind what it signs, and before the responder's certificate: all of its bytes are within."""
    data = bytearray(pair.file.read_bytes())
    times = list(re.finditer(rb"\x18\x0f\d{14}Z", bytes(data)))
    data[times[2].end() - 2] ^= 1
    return bytes(data)


@pytest.mark.parametrize(
    ("bad", "whole", "told"),
    (
        (lambda pair: b"", True, "is no OCSP response in DER"),
        (lambda pair: pair.file.read_bytes() + b"x", True, "is no OCSP response in DER"),
        (lambda pair: b"\x30\x03\x0a\x01\x03", True, "the responder said trylater"),
        (lambda pair: ocsp_response(pair.authority, pair.leaf, "R"), True, "its certificate is revoked"),
        (foreign, True, "is about none of the certificates"),
        (forged, True, "its signature is not good"),
        (expired, False, "status expired"),
    ),
    ids=("empty", "longer", "later", "revoked", "foreign", "forged", "expired"),
)
def test_bad_responses_are_refused_at_the_start(srv_run, tmp_path, bad, whole, told):
    pair = Stapled(tmp_path, whole)
    pair.file.write_bytes(bad(pair))
    done = srv_run(*pair.args, "echo")
    assert done.returncode == 1 and told in done.stderr and "response.der'" in done.stderr
    assert done.stderr.count("\n") == 1


def test_renegotiation_compression_and_old_versions_are_refused(https):
    app = https()
    assert b"Compression: NONE" in openssl(app, "-tls1_2")
    told = openssl(app, "-tls1_2", said=b"R\n")
    assert b"no renegotiation" in told.lower() or b"handshake failure" in told
    for old in ("-tls1", "-tls1_1"):
        assert b"Cipher is (NONE)" in openssl(app, old, "-cipher", "DEFAULT@SECLEVEL=0")
    with Secure(app, anybody()) as conn:
        assert conn.ask().status == 200


def test_a_huge_hello_and_wild_records_are_refused(https):
    app = https("--control", "127.0.0.1:0")
    hello = b"\x16\x03\x01\x40\x00" + b"\x01\x00\xff\xfc\x03\x03" + b"h" * (16384 - 6)
    assert b"HTTP" not in raw(app, hello + (b"\x16\x03\x03\x40\x00" + b"h" * 16384) * 3)
    heartbeat = b"\x18\x03\x03\x00\x03\x01\x40\x00"
    assert b"HTTP" not in raw(app, heartbeat)
    assert b"HTTP" not in raw(app, b"\x16\x03\x01\xff\xff" + b"x" * 70000)
    wait_for(lambda: metrics(app).get("srv_tls_failed_total") == 3)
    with Secure(app, anybody()) as conn:
        assert conn.ask().status == 200


# --- the clients of the field --------------------------------------------------------------------

REQUESTS = 200  # of those that load
PYTHON = """
import requests, sys
with requests.Session() as session:
    for _ in range(3):
        reply = session.post(sys.argv[1], data=b"hello", verify=sys.argv[2], timeout=20)
        assert "body: 5 bytes" in reply.text, reply.text
        print(reply.status_code)
"""
NODE = """
const https = require("https"), fs = require("fs");
const agent = new https.Agent({keepAlive: true, ca: fs.readFileSync(process.argv[2])});
const ask = left => https.get(process.argv[1], {agent}, reply => {
    console.log(reply.statusCode);
    reply.resume();
    reply.on("end", () => left > 1 ? ask(left - 1) : agent.destroy());
});
ask(3);
"""

# {tool: (its words, what it says when all went well)}
TOOLS = {
    "openssl": (
        "openssl s_client -connect {host} -servername localhost -CAfile {ca} -verify_return_error -ign_eof",
        r"Verification: OK(.|\n)*\nHTTP/1.1 200 OK\r?\n",
    ),
    "curl": ("curl -sS --cacert {ca} -w \n%{{http_code}},%{{num_connects}}; -d hello {url} {url}", r"\n200,1;(.|\n)*\n200,0;"),
    "wrk": ("wrk -t 1 -c 4 -d 1s {url}", r"\n  \d+ requests in (?!(.|\n)*(Socket errors|Non-2xx))"),
    "h2load": ("h2load --h1 -n {n} -c 4 {url}", r"(.|\n)*{n} succeeded, 0 failed, 0 errored, 0 timeout"),
    "h2load alpn": ("h2load -n {n} -c 4 {url}", r"Application protocol: http/1.1(.|\n)*{n} succeeded, 0 failed"),
    "ab": ("ab -q -n {n} -c 4 {url}", r"Complete requests: +{n}\nFailed requests: +0\n(?!(.|\n)*Non-2xx)"),
    "ab -k": ("ab -q -k -n {n} -c 4 {url}", r"Complete requests: +{n}\nFailed requests: +0\nKeep-Alive requests: +{n}\n"),
    "hey": ("hey -n {n} -c 4 {url}", r"\[200\]\s+{n} responses(?!(.|\n)*Error)"),
    "/usr/bin/python3": ("/usr/bin/python3 -c PYTHON {url} {ca}", r"^200\n200\n200\n$"),
    "node": ("node -e NODE {url} {ca}", r"^200\n200\n200\n$"),
}


# They connect more often than they need, and may leave within that handshake, which counts as one that failed. hey, as all
# of Go, connects for each request that finds no idle connection, and takes whichever is there first.
SPARE = {"wrk": 1, "ab": 4, "ab -k": 4, "hey": REQUESTS}


@pytest.mark.parametrize("model", ("green", "pool", "event", "threaded"))
@pytest.mark.parametrize("tool", TOOLS)
def test_tools_of_the_field_are_served(https, certificate, model, tool):
    words, told = TOOLS[tool]
    if shutil.which(words.split()[0]) is None:
        pytest.skip(f"{tool} is not installed")
    if "python3" in tool and subprocess.run(["/usr/bin/python3", "-c", "import requests"], capture_output=True).returncode:
        pytest.skip("python3-requests is not installed")
    app = https("--model", model, "--control", "127.0.0.1:0")
    host = f"localhost:{app.port}"
    values = {"host": host, "url": f"https://{host}/hello", "ca": certificate.chain, "n": REQUESTS}
    command = [{"PYTHON": PYTHON, "NODE": NODE}.get(word, word.format(**values)) for word in words.split()]
    said = HELLO.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    done = subprocess.run(command, input=said.decode(), capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and re.search(told.replace("{n}", str(REQUESTS)), done.stdout), done.stdout + done.stderr
    counted = metrics(app)
    assert counted["srv_tls_handshakes_total"] >= 1 and counted["srv_tls_failed_total"] <= SPARE.get(tool, 0)


# --- usage -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "args, told",
    [
        (["--bind", "https://127.0.0.1:0"], "--bind: 'https://127.0.0.1:0' needs --certfile"),
        (["--bind", "http://:0", "--certfile", "CHAIN"], "--certfile: no address speaks TLS"),
        (["--protocol", "uwsgi", "--certfile", "CHAIN"], "--certfile: no address speaks TLS"),
        (["--keyfile", "KEY"], "--keyfile: needs --certfile"),
        (["--ciphers", "HIGH"], "--ciphers: needs --certfile"),
        (["--ocsp-file", "CHAIN"], "--ocsp-file: needs --certfile"),
        (["--certfile", "CHAIN", "--ca-certs", "CHAIN"], "--ca-certs: needs --cert-reqs"),
        (["--certfile", "CHAIN", "--cert-reqs", "3"], "--cert-reqs: '3' is not allowed; none (0), optional (1)"),
        (["--certfile", "CHAIN", "--ssl-versions", "TLSv1.1"], "--ssl-versions: 'TLSv1.1' is not allowed; TLSv1.2"),
        (["--model", "evhttp", "--certfile", "CHAIN"], "--certfile: the evhttp model has nothing but"),
        (["--check-config", "--certfile", "CHAIN"], "chain.pem' has no private key in PEM"),
        (["--check-config", "--certfile", "BOTH", "--ciphers", "NO"], "ciphers 'NO': no cipher match"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_options_that_do_not_fit_are_refused(srv_run, certificate, args, told):
    names = {"CHAIN": certificate.chain, "KEY": certificate.key, "BOTH": certificate.both}
    done = srv_run("serve", *[names.get(arg, arg) for arg in args])
    assert done.returncode == 2 and told in done.stderr and done.stderr.count("\n") == 1


def test_a_file_that_cannot_be_read_is_named(srv_run, tmp_path):
    done = srv_run("serve", "--bind", "127.0.0.1:0", "--certfile", tmp_path / "none.pem")
    assert done.returncode == 1 and done.stderr == (
        f"srv serve: cannot read '{tmp_path}/none.pem': No such file or directory\n"
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_the_key_is_read_before_root_is_given_up(serve, renewed):
    os.chmod(renewed.key, 0o600)
    app = serve(*renewed.args, "--workers", "2", "--user", "nobody", "echo")
    with Secure(app, anybody()) as conn:
        assert conn.ask().status == 200
