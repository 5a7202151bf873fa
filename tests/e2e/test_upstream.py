# SPDX-License-Identifier: MIT
"""What the upstream does, and what clients of `srv serve` are told; through our client and libcurl."""

import http.server
import os
import re
import socket
import ssl
import subprocess
import threading
import time

import pytest
from harness import die_with_parent, free_port, get, wait_for
from nginx import executable
from upstreams import ANSWER, Upstream

GREETING = "Hi there! slow api response"


CLIENTS = {
    "native": ("--upstream-client", "native"),
    "callbacks": ("--model", "event"),
    "curl": ("--upstream-client", "curl"),
}


@pytest.fixture(params=["native", "curl"])
def client(request):
    return request.param


@pytest.fixture(params=["green", "pool", "threaded", "single"])  # curl is not for callbacks
def model(request):
    return request.param


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
def test_all_clients_agree(serve, client, sent, status):
    def behave(conn, _count):
        conn.recv(4096)
        conn.sendall(sent)

    upstream = Upstream(behave)
    app = serve(*CLIENTS[client], "--upstream", upstream.url)
    assert get(app, "/?delay=0").status == status
    upstream.close()


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
    if kind == "tls" and how != "curl":
        pytest.skip("https is libcurl's")
    closing = Upstream(lambda conn, _count: conn.recv(4096))
    app = serve(*CLIENTS[how], "--upstream", closing.url.replace("http", url) if "/" not in url else url)
    reply = get(app, "/?delay=0")
    assert reply.status == 502 and re.fullmatch(f"({sentence})\n", reply.text), reply
    lines = re.findall(r"request failed .*", app.stderr())
    assert len(lines) == 1 and re.search(f'error="[^"]*({detail})', lines[0]), lines
    closing.close()


@pytest.mark.parametrize("closes", [False, True], ids=["stays", "closes"])
def test_what_nobody_asked_for_is_no_answer(serve, client, model, closes):
    answered, sent, kept = threading.Event(), threading.Event(), []

    def behave(conn, count):
        conn.recv(4096)
        conn.sendall(ANSWER)
        if count == 1:
            answered.wait(20)
            kept.append(conn.dup())  # else it is closed after this
            conn.sendall(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 5\r\n\r\nwrong")
            sent.set()
            if closes:
                conn.shutdown(socket.SHUT_WR)  # fails when the other side was quicker

    upstream = Upstream(behave)
    app = serve("--model", model, "--upstream-client", client, "--upstream", upstream.url)
    assert get(app, "/?delay=0").text == "Hi there! slow"
    answered.set()
    assert sent.wait(20)
    reply = get(app, "/?delay=0")
    assert (reply.status, reply.text) == (200, "Hi there! slow") and upstream.connections == 2
    upstream.close()


@pytest.mark.parametrize("reads_all", [True, False], ids=["closes", "resets"])
def test_every_stale_connection_is_replaced(serve, client, model, reads_all):
    def behave(conn, _count):
        conn.recv(4096)
        conn.sendall(ANSWER)
        conn.recv(4096 if reads_all else 1)  # the second request gets nothing, or a reset for what is not read

    upstream = Upstream(behave)
    app = serve("--model", model, "--upstream-client", client, "--upstream", upstream.url)
    assert [get(app, "/?delay=0").status for _ in range(40)] == [200] * 40
    upstream.close()


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
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self.Handler)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.server.connections = 0
        self.url = "https://127.0.0.1:%d/" % self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.mark.parametrize("extra", [b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nSTALE", b"!!!"], ids=["answer", "junk"])
@pytest.mark.parametrize("model", ["green", "pool"])
def test_what_one_record_holds_behind_an_answer_is_no_answer(serve, certificates, model, extra):
    """OpenSSL has it then, and the socket shows nothing."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificates["good"])

    def behave(conn, count):
        with context.wrap_socket(conn, server_side=True) as tls:
            while tls.recv(4096):
                tls.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
                time.sleep(0.1)  # else the head brings all of it along
                tls.sendall(b"hello" + (extra if count == 1 else b""))

    upstream = Upstream(behave)
    url = upstream.url.replace("http:", "https:")
    app = serve("--model", model, "--upstream-ca", certificates["ca"][0], "--upstream", url)
    assert [get(app, "/?delay=0").text for _ in range(3)] == ["Hi there! hello"] * 3
    upstream.close()


def test_http2_is_what_was_agreed_not_what_an_answer_says(serve, certificates):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificates["good"])

    def behave(conn, _count):
        with context.wrap_socket(conn, server_side=True) as tls:
            tls.recv(4096)
            tls.sendall(b"HTTP/2 200 \r\nContent-Length: 5\r\n\r\nhello")

    upstream = Upstream(behave)
    url = upstream.url.replace("http:", "https:")
    app = serve("--upstream-ca", certificates["ca"][0], "--upstream", url)
    assert get(app, "/?delay=0").status == 502
    upstream.close()


@pytest.mark.parametrize(
    "which,status", [("good", 200), ("self-signed", 502), ("expired", 502), ("other name", 502)]
)
def test_certificates_are_checked(serve, certificates, which, status):
    upstream = HttpsUpstream(certificates[which])
    app = serve("--upstream-ca", certificates["ca"][0], "--upstream", upstream.url)
    reply = get(app, "/?delay=0")
    assert reply.status == status
    assert reply.text == GREETING if status == 200 else "certificate" in reply.text
    upstream.close()


def test_https_under_every_model(serve, certificates, model):
    upstream = HttpsUpstream(certificates["good"])
    app = serve("--model", model, "--upstream-ca", certificates["ca"][0], "--upstream", upstream.url)
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
    options = ("--upstream-ca", certificates["ca"][0], "--upstream", upstream.url)
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
    app = serve("--model", model, "--upstream-ca", certificates["ca"][0], "--upstream", h2_upstream)
    replies = {get(app, "/?delay=0").text for _ in range(3)}
    assert len(replies) == 1 and replies.pop().startswith("Hi there! HTTP/2.0 ")


@pytest.mark.parametrize("part,why", [("head", ""), ("body", "upstream answered badly: body is too large")])
def test_http2_answers_are_bounded(serve, certificates, h2_upstream, part, why):
    app = serve("--upstream-ca", certificates["ca"][0], "--upstream", h2_upstream + part)
    for _ in range(2):
        assert get(app, "/?delay=0").status == 502
    assert app.stderr().count(f'error="{why}') == 2


@pytest.mark.parametrize(
    "args,named",
    [
        (("--upstream-ca", "/no/such/file"), "--upstream-ca"),
        (("--upstream", "https://127.0.0.1/", "--model", "event"), "--upstream"),
        (("--upstream", "ftp://127.0.0.1/"), "--upstream"),
        (("--upstream-client", "wget"), "--upstream-client"),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(value),
)
def test_bad_upstream_options(srv_run, args, named):
    done = srv_run("serve", *args)
    assert done.returncode == 2 and named in done.stderr and done.stderr.count("\n") == 1
