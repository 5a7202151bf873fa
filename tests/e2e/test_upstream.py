# SPDX-License-Identifier: MIT
"""What the upstream does, and what clients of `srv serve` are told; through our client and libcurl."""

import contextlib
import http.server
import os
import re
import signal
import socket
import ssl
import subprocess
import threading
import time

import pytest
from harness import RawConnection, die_with_parent, free_port, get, wait_for
from nginx import executable
from upstreams import ANSWER, Upstream, tls_of

GREETING = "Hi there! slow api response"


CLIENTS = {
    "native": ("--upstream-client", "native"),
    "callbacks": ("--model", "event"),
    "curl": ("--upstream-client", "curl"),
}
WAYS = {**CLIENTS, "threads": ("--model", "pool"), "curl, threads": ("--model", "pool", "--upstream-client", "curl")}


@pytest.fixture(params=["native", "curl"])
def client(request):
    return request.param


@pytest.fixture(params=["green", "pool", "threaded", "single"])  # curl is not for callbacks
def model(request):
    return request.param


@pytest.fixture(params=["http", "https"])
def scripted(request, certificates):
    """Makes an upstream that behaves as a test says, over http or https, and the options that lead to it."""
    made = []

    def make(behave):
        secure = request.param == "https"
        made.append(Upstream(behave, tls_of(certificates["good"]) if secure else None))
        trust = ("--upstream-ca", certificates["ca"][0]) if secure else ()
        return made[-1], ("--upstream", made[-1].url, *trust)

    yield make
    for upstream in made:
        upstream.close()


HEAD = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    "sent,status",
    [
        (b"", 502),
        (b"garbage\r\n\r\n", 502),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 40\r\n\r\nshort", 502),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -4\r\n\r\nslow", 502),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nslow\r\n0\r\n\r\n", 502),
        (b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n", 502),
        (b"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n", 502),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nslow\r\n0\r\n\r\n", 200),
        (b"HTTP/1.1 200 OK\r\n\r\nuntil close", 200),
        (b"HTTP/1.0 200 OK\r\n\r\nuntil close", 200),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + ANSWER, 200),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 50 + ANSWER, 502),
        (HEAD + b"Content-Length: 4\r\nContent-Length: 5\r\n\r\nslow", 502),
        (HEAD + b"Content-Length: 4\r\nContent-Length: 4\r\n\r\nslow", 502),
        (HEAD + b"Content-Length: 4x\r\n\r\nslow", 502),
        (HEAD + b"Content-Length : 4\r\n\r\nslow", 502),
        (HEAD + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nslow\r\n0\r\n\r\n", 502),
        (HEAD + b"A: b\r\n c\r\nContent-Length: 4\r\n\r\nslow", 502),
        (HEAD + b"A: b\nContent-Length: 4\r\n\r\nslow", 502),
        (b"HTTP/1.1 200 OK\nContent-Length: 4\n\nslow", 502),
        (b"HTTP/2.0 200 OK\r\nContent-Length: 4\r\n\r\nslow", 502),
        (b"HTTP/2 200 \r\nContent-Length: 4\r\n\r\nslow", 502),
        (b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nslow\r\n0\r\n\r\n", 502),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n4\nslow\r\n0\r\n\r\n", 502),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n4\r\nslow\r\n0\r\nA: b\r\n\r\n", 200),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n4\r\nslow\r\n0\r\nContent-Length: 4\r\n\r\n", 502),
    ],
    ids=lambda value: str(value[:48]) if isinstance(value, bytes) else None,
)
@pytest.mark.parametrize("client", CLIENTS)
def test_all_clients_agree(serve, client, scripted, sent, status):
    def behave(conn, _count):
        conn.recv(4096)
        conn.sendall(sent)

    _, options = scripted(behave)
    assert get(serve(*CLIENTS[client], *options), "/?delay=0").status == status


def test_curl_refuses_under_every_model(serve, model):
    def behave(conn, _count):
        conn.recv(4096)
        conn.sendall(HEAD + b"Content-Length: 4\r\nContent-Length: 5\r\n\r\nslow")

    upstream = Upstream(behave)
    app = serve("--model", model, "--upstream-client", "curl", "--upstream", upstream.url)
    reply = get(app, "/?delay=0")
    assert (reply.status, reply.text) == (502, "upstream answered badly\n")
    assert 'error="upstream answered badly: more than one Content-Length"' in app.stderr()
    upstream.close()


BEHIND = {  # what is behind, what its client is told, what the log says
    "name": ("http://payments-db-7.internal.invalid:8432/", "the name of the upstream is unknown", "payments-db-7"),
    "port": ("http://127.0.0.1:1/", "upstream cannot be reached", "refused|connect"),
    "tls": ("https", "upstream (answered badly|closed the connection without an answer)", "failed|closed"),
    "close": ("http", "upstream closed the connection without an answer", "closed|[Ee]mpty"),
}


@pytest.mark.parametrize("kind", BEHIND)
@pytest.mark.parametrize("how", CLIENTS)
def test_clients_do_not_learn_who_is_behind(serve, how, kind):
    """One sentence for each class of failure; the log has the host, the port and what the library says, once."""
    url, sentence, detail = BEHIND[kind]
    closing = Upstream(lambda conn, _count: conn.recv(4096))
    app = serve(*CLIENTS[how], "--upstream", closing.url.replace("http", url) if "/" not in url else url)
    reply = get(app, "/?delay=0")
    assert reply.status == 502 and re.fullmatch(f"({sentence})\n", reply.text), reply
    lines = re.findall(r"request failed .*", app.stderr())
    assert len(lines) == 1 and re.search(f'error="[^"]*({detail})', lines[0]), lines
    closing.close()


@pytest.mark.parametrize("closes", [False, True], ids=["stays", "closes"])
def test_what_nobody_asked_for_is_no_answer(serve, client, model, scripted, closes):
    answered, sent = threading.Event(), threading.Event()

    def behave(conn, count):
        conn.recv(4096)
        conn.sendall(ANSWER)
        if count == 1:
            answered.wait(20)
            conn.sendall(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 5\r\n\r\nwrong")
            sent.set()
            if closes:
                with contextlib.suppress(OSError):  # the other side may be quicker
                    conn.shutdown(socket.SHUT_WR)
            return True
        return False

    upstream, options = scripted(behave)
    app = serve("--model", model, "--upstream-client", client, *options)
    assert get(app, "/?delay=0").text == "Hi there! slow"
    answered.set()
    assert sent.wait(20)
    reply = get(app, "/?delay=0")
    assert (reply.status, reply.text) == (200, "Hi there! slow") and upstream.connections == 2


@pytest.mark.parametrize("reads_all", [True, False], ids=["closes", "resets"])
def test_every_stale_connection_is_replaced(serve, client, model, scripted, reads_all):
    def behave(conn, _count):
        conn.recv(4096)
        conn.sendall(ANSWER)
        conn.recv(4096 if reads_all else 1)  # the second request gets nothing, or a reset for what is not read

    _, options = scripted(behave)
    app = serve("--model", model, "--upstream-client", client, *options)
    assert [get(app, "/?delay=0").status for _ in range(40)] == [200] * 40


@pytest.mark.parametrize("options", CLIENTS.values(), ids=CLIENTS)
def test_upstream_has_a_name(slowapi, serve, options):
    """A name is looked up while the loop goes on: its answer must be waited for."""
    try:
        socket.gethostbyname(socket.gethostname())
    except OSError:
        pytest.skip("this host does not know its own name")
    api = slowapi("--bind", ":0")
    app = serve(*options, upstream=f"http://{socket.gethostname()}:{api.port}/")
    for _ in range(10):
        assert get(app, "/?delay=0", headers={"Connection": "close"}).text == GREETING


def test_curl_runs_under_every_model(slowapi, serve, model):
    app = serve("--model", model, "--upstream-client", "curl", upstream=slowapi())
    for _ in range(3):
        assert get(app, "/?delay=0").text == GREETING


def test_curl_times_out_and_recovers(slowapi, serve, model):
    api = slowapi("--graceful-timeout", "0")
    app = serve("--model", model, "--upstream-client", "curl", "--upstream-timeout", "300ms", upstream=api)
    start = time.monotonic()
    reply = get(app, "/?delay=30")
    assert reply.status == 504 and time.monotonic() - start < 10
    assert get(app, "/?delay=0").status == 200


def test_refused_upstream_is_502(serve, client, model):
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    app = serve("--model", model, "--upstream-client", client, "--upstream", f"http://127.0.0.1:{port}/")
    reply = get(app, "/?delay=0")
    assert reply.status == 502 and reply.text.startswith("upstream ")


def test_curl_waits_side_by_side_under_green(slowapi, serve):
    app = serve("--upstream-client", "curl", upstream=slowapi())
    start = time.monotonic()
    workers = [threading.Thread(target=get, args=(app, "/?delay=0.5")) for _ in range(20)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert time.monotonic() - start < 5  # one after the other they would take ten


# --- https -----------------------------------------------------------------------------------


def openssl(*args):
    subprocess.run(["openssl", *map(str, args)], check=True, capture_output=True)


def make_certificate(folder, name, subject_alt, days, ca=None):
    """A key and a certificate; signed by `ca`, or by itself. Days below 0: it has expired."""
    key, request, cert = (folder / f"{name}.{kind}" for kind in ("key", "csr", "pem"))
    openssl("req", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", request, "-subj", f"/CN={name}")
    extensions = folder / f"{name}.ext"
    extensions.write_text(f"subjectAltName={subject_alt}\n" if subject_alt else "basicConstraints=CA:TRUE\n")
    signer = ["-CA", ca[0], "-CAkey", ca[1], "-CAcreateserial"] if ca else ["-signkey", key]
    openssl("x509", "-req", "-in", request, "-out", cert, "-days", days, "-extfile", extensions, *signer)
    return cert, key


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    folder = tmp_path_factory.mktemp("certificates")
    ca = make_certificate(folder, "ca", None, 30)
    return {
        "ca": ca,
        "good": make_certificate(folder, "good", "IP:127.0.0.1", 30, ca),
        "self-signed": make_certificate(folder, "self", "IP:127.0.0.1", 30),
        "expired": make_certificate(folder, "expired", "IP:127.0.0.1", -1, ca),
        "other name": make_certificate(folder, "other", "DNS:elsewhere.example", 30, ca),
        "ours": make_certificate(folder, "ours", "DNS:ours.example", 30, ca),
    }


class HttpsUpstream:
    """An https server with one of the certificates."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self):
            super().setup()
            self.server.connections += 1

        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", "17")
            self.end_headers()
            self.wfile.write(b"slow api response")

        def log_message(self, *args):
            pass

    def __init__(self, certificate):
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self.Handler)
        self.server.socket = tls_of(certificate).wrap_socket(self.server.socket, server_side=True)
        self.server.connections = 0
        self.url = "https://127.0.0.1:%d/" % self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.mark.parametrize("extra", [b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nSTALE", b"!!!"], ids=["answer", "junk"])
@pytest.mark.parametrize("how", WAYS)
def test_what_one_record_holds_behind_an_answer_is_no_answer(serve, certificates, how, extra):
    """OpenSSL has it then, and the socket shows nothing."""

    def behave(conn, count):
        while conn.recv(4096):
            conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
            time.sleep(0.1)  # else the head brings all of it along
            conn.sendall(b"hello" + (extra if count == 1 else b""))

    upstream = Upstream(behave, tls_of(certificates["good"]))
    app = serve(*WAYS[how], "--upstream-ca", certificates["ca"][0], "--upstream", upstream.url)
    assert [get(app, "/?delay=0").text for _ in range(3)] == ["Hi there! hello"] * 3
    upstream.close()


@pytest.mark.parametrize("how", CLIENTS)
def test_http2_is_what_was_agreed_not_what_an_answer_says(serve, certificates, how):
    def behave(conn, _count):
        conn.recv(4096)
        conn.sendall(b"HTTP/2 200 \r\nContent-Length: 5\r\n\r\nhello")

    upstream = Upstream(behave, tls_of(certificates["good"]))
    app = serve(*CLIENTS[how], "--upstream-ca", certificates["ca"][0], "--upstream", upstream.url)
    assert get(app, "/?delay=0").status == 502
    upstream.close()


CHECKED = {  # the status, and what the log says
    "good": (200, ""),
    "self-signed": (502, "self.signed"),
    "expired": (502, "certificate has expired"),
    "other name": (502, "mismatch|target host name"),
}


@pytest.mark.parametrize("which", CHECKED)
@pytest.mark.parametrize("how", CLIENTS)
def test_certificates_are_checked(serve, certificates, how, which):
    upstream = HttpsUpstream(certificates[which])
    status, why = CHECKED[which]
    app = serve(*CLIENTS[how], "--upstream-ca", certificates["ca"][0], "--upstream", upstream.url)
    reply = get(app, "/?delay=0")
    told = GREETING if status == 200 else "the certificate of the upstream is not accepted\n"
    assert (reply.status, reply.text) == (status, told)
    lines = re.findall(r"request failed .*", app.stderr())
    assert len(lines) == (status != 200) and all(re.search(f'error="[^"]*({why})', line) for line in lines), lines
    upstream.close()


@pytest.mark.parametrize("how", CLIENTS)
def test_the_systems_authorities_do_not_know_ours(serve, certificates, how):
    upstream = HttpsUpstream(certificates["good"])
    assert get(serve(*CLIENTS[how], "--upstream", upstream.url), "/?delay=0").status == 502
    upstream.close()


@pytest.mark.parametrize("how", CLIENTS)
@pytest.mark.parametrize("which", ["self-signed", "expired", "other name"])
def test_an_insecure_client_takes_any_certificate(serve, certificates, how, which):
    upstream = HttpsUpstream(certificates[which])
    assert get(serve(*CLIENTS[how], "--upstream-insecure", "--upstream", upstream.url), "/?delay=0").text == GREETING
    upstream.close()


@pytest.mark.parametrize("shown", ["ours", "one file", "none"])
@pytest.mark.parametrize("how", CLIENTS)
def test_upstreams_that_ask_for_our_certificate(serve, certificates, tmp_path, how, shown):
    cert, key = certificates["ours"]
    both = tmp_path / "both.pem"
    both.write_text(cert.read_text() + key.read_text())
    ours = {"ours": ("--upstream-cert", cert, "--upstream-key", key), "one file": ("--upstream-cert", both), "none": ()}
    names = []

    def behave(conn, _count):
        names.append(dict(pair[0] for pair in conn.getpeercert()["subject"])["commonName"])
        conn.recv(4096)
        conn.sendall(ANSWER)

    tls = tls_of(certificates["good"])
    tls.verify_mode = ssl.CERT_REQUIRED
    tls.load_verify_locations(certificates["ca"][0])
    upstream = Upstream(behave, tls)
    app = serve(*CLIENTS[how], *ours[shown], "--upstream-ca", certificates["ca"][0], "--upstream", upstream.url)
    assert get(app, "/?delay=0").status == (502 if shown == "none" else 200)
    assert names == ([] if shown == "none" else ["ours"])
    if shown == "none" and how != "curl":
        assert "certificate required" in app.stderr()
    upstream.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
@pytest.mark.parametrize("options", [(), ("--workers", "1")], ids=["alone", "master"])
def test_our_key_may_be_one_that_only_root_can_read(serve, certificates, tmp_path, options):
    cert, key = certificates["ours"]
    secret = tmp_path / "secret.pem"
    secret.write_text(cert.read_text() + key.read_text())
    secret.chmod(0o600)
    upstream = HttpsUpstream(certificates["good"])
    trust = ("--upstream-cert", secret, "--upstream-ca", certificates["ca"][0])
    app = serve(*options, "--user", "nobody", *trust, "--upstream", upstream.url)
    assert get(app, "/?delay=0").text == GREETING
    upstream.close()


@pytest.mark.parametrize("how", CLIENTS)
def test_the_name_is_told_to_the_upstream_and_demanded_of_it(serve, certificates, how):
    names = []
    tls = tls_of(certificates["other name"])
    tls.sni_callback = lambda _conn, name, _context: names.append(name)

    def behave(conn, _count):
        conn.recv(4096)
        conn.sendall(ANSWER)

    upstream = Upstream(behave, tls)
    port = upstream.url.rsplit(":", 1)[1].strip("/")
    for host, status in ("elsewhere.example", 200), ("here.example", 502), ("127.0.0.1", 502):
        resolve = ("--upstream-resolve", f"{host}:{port}:127.0.0.1") if host[0] != "1" else ()
        options = ("--upstream-ca", certificates["ca"][0], "--upstream", f"https://{host}:{port}/", *resolve)
        assert get(serve(*CLIENTS[how], *options), "/?delay=0").status == status
    assert names == ["elsewhere.example", "here.example", None]
    upstream.close()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
@pytest.mark.parametrize("model", ["green", "pool", "threaded", "event"])
def test_the_next_connection_goes_on_with_the_session(serve, certificates, model, version):
    """And http/1.1 is what both agree on."""
    seen = []
    tls = tls_of(certificates["good"])
    tls.minimum_version = tls.maximum_version = version
    tls.set_alpn_protocols(["h2", "http/1.1"])

    def behave(conn, _count):
        seen.append((conn.session_reused, conn.selected_alpn_protocol()))
        conn.recv(4096)
        conn.sendall(HEAD + b"Connection: close\r\nContent-Length: 4\r\n\r\nslow")

    upstream = Upstream(behave, tls)
    app = serve("--model", model, "--upstream-ca", certificates["ca"][0], "--upstream", upstream.url)
    assert [get(app, "/?delay=0").status for _ in range(3)] == [200] * 3
    assert seen == [(False, "http/1.1"), (True, "http/1.1"), (True, "http/1.1")]
    upstream.close()


CUT = {  # what comes before the connection ends without close_notify: the status, what the client is told
    "unframed": (HEAD + b"\r\nuntil close", 502, "upstream answered badly"),
    "half": (HEAD + b"Content-Length: 9\r\n\r\nslow", 502, "upstream answered badly"),
    "nothing": (b"", 502, "upstream closed the connection without an answer"),
    "whole": (ANSWER, 200, "Hi there! slow"),
}


@pytest.mark.parametrize("kind", CUT)
@pytest.mark.parametrize("how", ["native", "threads", "callbacks"])  # libcurl forgives it
def test_an_end_that_nobody_announced_cuts_the_answer(serve, certificates, how, kind):
    sent, status, told = CUT[kind]

    def behave(conn, _count):
        conn.recv(4096)
        conn.sendall(sent)
        conn.shutdown(socket.SHUT_RDWR)
        return True

    upstream = Upstream(behave, tls_of(certificates["good"]))
    app = serve(*WAYS[how], "--upstream-ca", certificates["ca"][0], "--upstream", upstream.url)
    reply = get(app, "/?delay=0")
    assert (reply.status, reply.text.strip()) == (status, told)
    if kind == "unframed":
        assert "closed without close_notify" in app.stderr()
    upstream.close()


@pytest.mark.parametrize("end", ["deadline", "client"])
@pytest.mark.parametrize("part", [b"", b"\x16\x03\x03\x00\x7a\x02"], ids=["silent", "begins"])
@pytest.mark.parametrize("model", ["green", "event", "pool", "threaded"])
def test_a_handshake_that_hangs_ends_with_its_call(serve, model, part, end):
    """At the deadline of the call, or when its client leaves; and others are served meanwhile."""
    ended = threading.Event()

    def behave(conn, _count):
        conn.recv(4096)
        conn.sendall(part)
        conn.settimeout(20)
        with contextlib.suppress(ConnectionResetError):
            while conn.recv(4096):
                pass
        ended.set()

    upstream = Upstream(behave)
    url = upstream.url.replace("http:", "https:")
    span = "500ms" if end == "deadline" else "60s"
    app = serve("--model", model, "--health-path", "/health", "--upstream-timeout", span, "--upstream", url)
    conn = RawConnection(app)
    conn.send(b"GET /?delay=0 HTTP/1.1\r\nHost: x\r\n\r\n")
    wait_for(lambda: upstream.connections == 1, what="the connection")
    assert get(app, "/health").status == 200
    if end == "client":
        conn.reset()
    else:
        assert conn.read_response().status == 504
    assert ended.wait(20)
    conn.close()
    upstream.close()


@pytest.mark.parametrize("model", ["green", "event"])
def test_many_handshakes_at_the_same_time(serve, certificates, model):
    upstream = HttpsUpstream(certificates["good"])
    app = serve("--model", model, "--upstream-ca", certificates["ca"][0], "--upstream", upstream.url)
    replies = []
    threads = [threading.Thread(target=lambda: replies.append(get(app, "/?delay=0").text)) for _ in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert replies == [GREETING] * 40
    upstream.close()


def test_https_under_every_model(serve, certificates, model, client):
    upstream = HttpsUpstream(certificates["good"])
    options = ("--upstream-client", client, "--upstream-ca", certificates["ca"][0], "--upstream", upstream.url)
    app = serve("--model", model, *options)
    for _ in range(3):
        assert get(app, "/?delay=0").text == GREETING
    assert upstream.server.connections == 1
    upstream.close()


def pump(source, sink):
    try:
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def tunnel(conn, _count):
    """A proxy that leads wherever CONNECT says."""
    request = conn.recv(4096)
    host, port = request.split(b" ")[1].decode().rsplit(":", 1)
    assert request.startswith(b"CONNECT ")
    with socket.create_connection((host, int(port))) as there:
        conn.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        back = threading.Thread(target=pump, args=(there, conn), daemon=True)
        back.start()
        pump(conn, there)
        back.join(20)


def test_https_through_a_proxy(serve, certificates):
    """What the proxy says of the tunnel is no answer of the upstream."""
    upstream, proxy = HttpsUpstream(certificates["good"]), Upstream(tunnel)
    options = (*CLIENTS["curl"], "--upstream-ca", certificates["ca"][0], "--upstream", upstream.url)
    app = serve(*options, env={"https_proxy": proxy.url, "no_proxy": "", "NO_PROXY": ""})
    for _ in range(2):
        assert get(app, "/?delay=0").text == GREETING
    assert proxy.connections == 1
    upstream.close()
    proxy.close()


H2_CONFIG = """
daemon off; master_process off; {user} pid {folder}/nginx.pid; error_log stderr warn;
events {{ worker_connections 64; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; uwsgi_temp_path {folder}/uwsgi;
    fastcgi_temp_path {folder}/fastcgi; scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port} ssl http2; ssl_certificate {cert}; ssl_certificate_key {key};
        location / {{ default_type text/plain; return 200 "$server_protocol $connection"; }}
        location /body {{ alias {folder}/body.txt; }}
        location /head {{ {fields} return 200 "ok"; }}
    }}
}}
"""


@pytest.fixture
def h2_upstream(certificates, tmp_path):
    """The URL of a server that says what it was spoken to, and on which connection."""
    cert, key = certificates["good"]
    port, user = free_port(), "user root;" if os.geteuid() == 0 else ""
    config = tmp_path / "nginx.conf"
    fields = " ".join(f"add_header X-{number} {'x' * 4000};" for number in range(68))  # 272,000 bytes
    config.write_text(H2_CONFIG.format(folder=tmp_path, port=port, cert=cert, key=key, user=user, fields=fields))
    (tmp_path / "body.txt").write_bytes(b"x" * (8 * 1024 * 1024 + 1))
    command = [executable(), "-p", tmp_path, "-c", config, "-e", "stderr"]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, preexec_fn=die_with_parent)
    wait_for(lambda: process.poll() is not None or answers(port), what="nginx listens")
    yield f"https://127.0.0.1:{port}/"
    process.terminate()
    process.wait(20)


def answers(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
        return True
    except ConnectionRefusedError:
        return False


def test_http2_where_it_is_offered(serve, certificates, h2_upstream, model):
    app = serve("--model", model, *CLIENTS["curl"], "--upstream-ca", certificates["ca"][0], "--upstream", h2_upstream)
    replies = {get(app, "/?delay=0").text for _ in range(3)}
    assert len(replies) == 1 and replies.pop().startswith("Hi there! HTTP/2.0 ")


@pytest.mark.parametrize("part,why", [("head", ""), ("body", "upstream answered badly: body is too large")])
def test_http2_answers_are_bounded(serve, certificates, h2_upstream, part, why):
    app = serve(*CLIENTS["curl"], "--upstream-ca", certificates["ca"][0], "--upstream", h2_upstream + part)
    for _ in range(2):
        assert get(app, "/?delay=0").status == 502
    assert app.stderr().count(f'error="{why}') == 2


@pytest.mark.parametrize(
    "args,named",
    [
        (("--upstream-ca", "/no/such/file"), "--upstream-ca"),
        (("--upstream", "https://127.0.0.1/", "--upstream-cert", "/no/such/file"), "--upstream-cert"),
        (("--upstream", "https://127.0.0.1/", "--upstream-key", "/etc/hostname"), "--upstream-key: needs --upstream-cert"),
        (("--upstream-insecure",), "--upstream-insecure"),
        (("--upstream", "https://127.0.0.1/", "--upstream-insecure", "--upstream-ca", "/etc/hostname"), "--upstream-ca"),
        (("--model", "evhttp", "--upstream", "https://127.0.0.1/"), "--upstream"),
        (("--model", "event", "--upstream-client", "curl"), "--upstream-client"),
        (("--upstream", "ftp://127.0.0.1/"), "--upstream"),
        (("--upstream-client", "wget"), "--upstream-client"),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(value),
)
def test_bad_upstream_options(srv_run, args, named):
    done = srv_run("serve", *args)
    assert done.returncode == 2 and named in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.parametrize("check", [(), ("--check-config",)], ids=["serve", "check"])
def test_certificates_that_cannot_be_used_are_told_at_once(srv_run, certificates, check):
    ours, (ca, _) = certificates["ours"], certificates["ca"]
    for options, told in (
        (("--upstream-ca", "/etc/hostname"), "'/etc/hostname' has no certificate in PEM"),
        (("--upstream-cert", ours[0]), "has no private key in PEM"),
        (("--upstream-cert", ca, "--upstream-key", ours[1]), f"key '{ours[1]}' is not that of certificate '{ca}'"),
    ):
        done = srv_run("serve", *check, "--bind", "127.0.0.1:0", "--upstream", "https://127.0.0.1/", *map(str, options))
        assert done.returncode != 0 and told in done.stderr and done.stderr.count("\n") == 1, done.stderr


def test_a_reload_reads_the_certificates_again(serve, certificates, tmp_path):
    """And a file that cannot be used leaves the workers as they are."""
    trusted = tmp_path / "trusted.pem"
    trusted.write_text(certificates["self-signed"][0].read_text())
    upstream = HttpsUpstream(certificates["good"])
    app = serve("--workers", "1", "--upstream-ca", trusted, "--upstream", upstream.url)
    assert get(app, "/?delay=0").status == 502
    trusted.write_text("nothing")
    os.kill(app.pid, signal.SIGHUP)
    wait_for(lambda: "reload refused" in app.stderr(), what="the refusal")
    assert get(app, "/?delay=0").status == 502
    trusted.write_text(certificates["ca"][0].read_text())
    os.kill(app.pid, signal.SIGHUP)
    wait_for(lambda: get(app, "/?delay=0").status == 200, what="the new authority")
    upstream.close()
