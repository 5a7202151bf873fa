# SPDX-License-Identifier: MIT
"""What the upstream does, and what clients of `srv serve` are told; through our client and libcurl."""

import http.server
import socket
import ssl
import subprocess
import threading
import time

import pytest
from harness import get
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


@pytest.mark.parametrize("model", ["green", "event"])
def test_contradictory_lengths_are_refused_by_native(serve, model):
    """libcurl takes the last of two Content-Length fields; our own client refuses them."""

    def behave(conn, _count):
        conn.recv(4096)
        conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nslow")

    upstream = Upstream(behave)
    app = serve("--model", model, "--upstream", upstream.url)
    assert get(app, "/?delay=0").status == 502
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
        self.url = "https://127.0.0.1:%d/" % self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


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
    upstream.close()


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
