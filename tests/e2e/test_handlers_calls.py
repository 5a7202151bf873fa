# SPDX-License-Identifier: MIT
"""Calls of other servers by handlers: any method, fields and body, any host, under every model."""

import contextlib
import http.server
import json
import os
import socket
import socketserver
import ssl
import threading
import time

import pytest
from control import fetch
from harness import RawConnection, get, open_files, request, wait_for
from test_handlers import MODELS, app_of, build
from test_upstream import certificates, h2_upstream  # noqa: F401
from upstreams import Upstream, tls_of


@pytest.fixture
def handler(tmp_path, serve):
    def start(body, *options, routes=None, upstream=None):
        return serve(*options, build(tmp_path, app_of(body, routes)), upstream=upstream)

    return start


class Echo:
    """A server that answers with what it was asked, as JSON; over TCP, TLS or a unix socket."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self):
            super().setup()
            self.server.connections += 1
            self.asked = 0

        def answer(self):
            self.asked += 1
            self.server.asked += 1
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            said = {
                "method": self.command, "target": self.path, "body": body.decode("latin-1")[:100], "len": len(body),
                "headers": [[name, value] for name, value in self.headers.items()],
            }  # fmt: skip
            text = json.dumps(said).encode()
            self.send_response(302 if self.path == "/moved" else 201)
            self.send_header("Location", "http://127.0.0.1:1/")
            self.send_header("X-Number", str(self.server.asked))
            self.send_header("x-twice", "one")
            self.send_header("X-Twice", "two")
            self.send_header("X-Empty", "")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(text)

        def __getattr__(self, name):
            if name.startswith("do_"):
                return self.answer
            raise AttributeError(name)

        def address_string(self):
            return "client"

        def log_message(self, *args):
            pass

    def __init__(self, certificate=None, path=None):
        if path:
            base = type("Unix", (socketserver.ThreadingMixIn, socketserver.UnixStreamServer), {"daemon_threads": True})
            self.server = base(str(path), self.Handler)
            self.url = f"unix:{path}:"
        else:
            self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self.Handler)
            self.url = "%s://127.0.0.1:%d" % ("https" if certificate else "http", self.server.server_address[1])
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.server.connections = self.server.asked = 0
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def echo():
    server = Echo()
    yield server
    server.close()


CALL = """
static int page(srv_request *rq) {
    size_t len;
    const char *body = srv_body(rq, &len);
    const char *headers[] = { "X-One", "1", "Content-Type", srv_header(rq, "Content-Type", "text/none"),
                              "User-Agent", "the handler", "Host", "example.org:8", "X-Empty", "", NULL };
    srv_call call = { .size = sizeof(call), .method = srv_arg(rq, "method", "GET"), .url = srv_arg(rq, "url", ""),
                      .headers = headers, .body = body, .len = len };
    const srv_response *r = srv_fetch(rq, &call);
    srv_set(rq, "X-Number", srv_response_header(r, "x-number", "none"));
    srv_set(rq, "X-None", srv_response_header(r, "x-nothing", "none"));
    srv_set(rq, "X-Was", srv_format(rq, "%s|%s|%s", srv_response_header(r, "X-TWICE", "none"),
                                    srv_response_header(r, "x-empty", "none"), srv_response_header(r, "x-twice", "none")));
    return srv_reply(rq, r->status ? r->status : 500, "%s", r->text);
}
"""


def kinds(certificates, tmp_path):
    return {
        "http": lambda: (Echo(), ()),
        "https": lambda: (Echo(certificates["good"]), ("--upstream-ca", certificates["ca"][0])),
        "unix": lambda: (Echo(path=tmp_path / "echo.sock"), ()),
    }


@pytest.mark.parametrize("kind", ["http", "https", "unix"])
@pytest.mark.parametrize("model", MODELS)
def test_any_method_with_fields_and_a_body(handler, certificates, tmp_path, model, kind):  # noqa: F811
    server, options = kinds(certificates, tmp_path)[kind]()
    whole = """
static int whole(srv_request *rq) {
    srv_call call = { .size = sizeof(call), .url = srv_arg(rq, "url", "") };
    return srv_reply(rq, 200, "%s", srv_fetch(rq, &call)->text);
}
"""
    app = handler(CALL + whole, "--model", model, *options, routes={"/": "page", "/whole": "whole"})
    for method in ("POST", "PUT", "PATCH", "DELETE", "GET", "PURGE"):
        target = f"/?method={method}&url={server.url}/a/b%3Fc=d"
        reply = request(app, "POST", target, body=b"hello", headers={"Content-Type": "text/x"})
        said = json.loads(reply.body)
        fields = {name.lower(): value for name, value in said["headers"]}
        assert (reply.status, said["method"], said["target"], said["body"]) == (201, method, "/a/b?c=d", "hello")
        assert len(fields) == len(said["headers"])
        assert (fields["x-one"], fields["content-type"], fields["user-agent"]) == ("1", "text/x", "the handler")
        assert (fields["host"], fields["content-length"], fields["x-empty"]) == ("example.org:8", "5", "")
        assert "expect" not in fields and "transfer-encoding" not in fields
        assert reply.headers["x-was"] == "one||one" and reply.headers["x-none"] == "none"
    assert get(app, f"/?method=HEAD&url={server.url}/").headers["x-number"] == "7"
    assert json.loads(get(app, f"/whole?url={server.url}/").body)["method"] == "GET"
    assert get(app, f"/?method=GET&url={server.url}/moved").status == 302  # not followed
    assert server.server.connections == 1
    server.close()


@pytest.mark.parametrize("size", [0, 1, 16384, 16385, 300_000, 8 * 1024 * 1024])
@pytest.mark.parametrize("kind", ["http", "https"])
@pytest.mark.parametrize("model", ["pool", "green"])
def test_bodies_of_requests(handler, certificates, tmp_path, model, kind, size):  # noqa: F811
    server, options = kinds(certificates, tmp_path)[kind]()
    app = handler(CALL, "--model", model, "--limit-request-body", "20M", *options)
    for _ in range(2):
        said = json.loads(request(app, "POST", f"/?method=POST&url={server.url}", body=b"x" * size).body)
        assert said["len"] == size and said["target"] == "/"
        assert ["Content-Length", str(size)] in [[n.title(), v] for n, v in said["headers"]]
    server.close()


def test_bodies_are_bounded(handler, echo):
    app = handler(CALL, "--limit-request-body", "20M")
    reply = request(app, "POST", f"/?method=POST&url={echo.url}", body=b"x" * (8 * 1024 * 1024 + 1))
    assert (reply.status, reply.text) == (500, "the body of a call is too large\n")
    assert echo.server.asked == 0


@pytest.mark.parametrize("model", ["threaded", "green"])
@pytest.mark.parametrize("announced", [True, False])
def test_responses_are_bounded(handler, model, announced):
    size = 8 * 1024 * 1024 + 1

    def large(conn, number):
        conn.recv(4096)
        conn.sendall(b"HTTP/1.1 200 OK\r\n" + (b"Content-Length: %d\r\n\r\n" % size if announced else b"\r\n"))
        conn.sendall(b"x" * size)

    upstream = Upstream(large)
    body = """static int page(srv_request *rq) {
        const srv_response *r = srv_get(rq, "/");
        if (r->error == -EMSGSIZE && srv_error(rq) == -EMSGSIZE) srv_log(rq, 'w', "it is EMSGSIZE");
        return srv_reply(rq, 200, "%s", r->text);
    }"""
    app = handler(body, "--model", model, upstream=upstream.url)
    reply = get(app)
    assert (reply.status, reply.text) == (502, "the answer of the upstream is too large\n")
    assert "it is EMSGSIZE" in app.stderr()
    upstream.close()


def test_urls_that_are_appended_to_the_upstream(handler, echo):
    app = handler(CALL, upstream=echo.url + "/base")
    assert json.loads(get(app, "/?url=/x").body)["target"] == "/base/x"
    assert json.loads(get(app, "/?url=%3Fa=%20b").body)["target"] == "/base?a=%20b"
    assert json.loads(get(app, "/?url=").body)["target"] == "/base"
    assert json.loads(get(app, "/?url=ftp://x").body)["target"] == "/baseftp://x"


@pytest.mark.parametrize(
    "url, why",
    [
        ("http://", "has no valid host or port"),
        ("http://a:b@127.0.0.1:1/", "holds a user name"),
        ("http://127.0.0.1:99999/", "has no valid host or port"),
        ("http://a%20b/", "holds a space"),
        ("https://%0d%0a/", "holds a control character"),
        ("unix:", "has no socket path"),
    ],
)
def test_urls_that_are_none(handler, url, why):
    app = handler(CALL)
    reply = get(app, "/?url=" + url)
    assert (reply.status, reply.text) == (500, "the handler called a URL that is none\n")
    assert why in app.stderr()


@pytest.mark.parametrize("model", MODELS)
def test_failures_name_the_server_in_the_log_only(handler, model):
    app = handler(CALL, "--model", model)
    reply = get(app, "/?url=http://127.0.0.1:1/secret")
    assert (reply.status, reply.text) == (502, "upstream cannot be reached\n")
    assert 'error="upstream cannot be reached: Connection refused" upstream="http://127.0.0.1:1"' in app.stderr()
    assert get(app, "/?url=unix:/no/such/socket:/x").status == 502
    assert 'No such file or directory" upstream="unix:/no/such/socket"' in app.stderr()


@pytest.mark.parametrize(
    "members, why",
    [
        ('.method = "GE T"', "the handler made a call with a method that is none"),
        ('.method = ""', "the handler made a call with a method that is none"),
        ('.method = "CONNECT"', "the handler made a call with CONNECT"),
        ('.method = "HEAD", .body = "x", .len = 1', "the handler made a call of HEAD with a body"),
        ('.headers = h("Content-Length", "1")', "the handler made a call with a field that it may not have"),
        ('.headers = h("transfer-encoding", "chunked")', "the handler made a call with a field that it may not have"),
        ('.headers = h("Connection", "close")', "the handler made a call with a field that it may not have"),
        ('.headers = h("Expect", "100-continue")', "the handler made a call with a field that it may not have"),
        ('.headers = h("X", "a\\r\\nY: b")', "the handler made a call with a field that it may not have"),
        ('.headers = h("X: Y", "a")', "the handler made a call with a field that it may not have"),
        ('.headers = h("", "a")', "the handler made a call with a field that it may not have"),
        ('.headers = h("X", srv_arg(rq, "x", 0))', "the head of the request is too large"),
        (".size = 0", "the handler made a call without its size"),
        (".size = sizeof(struct later)", "the handler's call needs a later srv"),
    ],
)
def test_calls_that_cannot_be_made(handler, echo, members, why):
    body = f"""
struct later {{ srv_call now; long more; }};
static const char *const *h(const char *name, const char *value) {{
    static const char *pair[3];
    pair[0] = name; pair[1] = value; pair[2] = NULL;
    return pair;
}}
static int page(srv_request *rq) {{
    struct later later = {{ {{ .size = sizeof(srv_call), .url = "{echo.url}" }}, 1 }};
    srv_call call = {{ .size = sizeof(call), .url = "{echo.url}" }}, *given = &call;
    srv_call members = {{ {members} }};
    if (members.method) call.method = members.method;
    if (members.headers) call.headers = members.headers;
    if (members.len) {{ call.body = members.body; call.len = members.len; }}
    if ("{members}"[1] == 's') {{ call.size = members.size; }}
    if (members.size) {{ given = &later.now; given->size = members.size; }}
    if (srv_arg(rq, "x", 0)) {{
        char *x = srv_alloc(rq, 100001);
        memset(x, 'x', 100000);
        if (members.headers) call.headers = h("X", x);
    }}
    const srv_response *r = srv_fetch(rq, given);
    return srv_reply(rq, 200, "%d %s", r->error, r->text);
}}"""
    body = body.replace(f'"{members}"[1]', "'s'" if "size" in members else "'n'")
    app = handler(body)
    large = "large" in why
    reply = get(app, "/?x=1" if large else "/")
    assert reply.status in ((500, 502) if large else (500,))
    assert why + "\n" == reply.text or why in app.stderr()
    assert echo.server.asked == 0


def test_short_forms(handler, echo):
    body = f"""
static int post(srv_request *rq) {{
    return srv_reply(rq, 200, "%s", srv_post(rq, "{echo.url}/new", "application/json", "[1]", 3)->text);
}}
static int whole(srv_request *rq) {{
    return srv_reply(rq, 200, "%s", srv_get(rq, "{echo.url}/%s", srv_arg(rq, "a", ""))->text);
}}
static int bare(srv_request *rq) {{ return srv_reply(rq, 200, "%s", srv_get(rq, "{echo.url}?q")->text); }}
static int none(srv_request *rq) {{ return srv_reply(rq, 200, "%s", srv_post(rq, "{echo.url}", NULL, NULL, 0)->text); }}
"""
    app = handler(body, routes={"/post": "post", "/whole": "whole", "/bare": "bare", "/none": "none"})
    said = json.loads(get(app, "/post").body)
    assert (said["method"], said["target"], said["body"]) == ("POST", "/new", "[1]")
    assert ["Content-Type", "application/json"] in said["headers"]
    assert json.loads(get(app, "/whole?a=x%20y%23z").body)["target"] == "/x%20y%23z"
    assert json.loads(get(app, "/bare").body)["target"] == "/?q"
    said = json.loads(get(app, "/none").body)
    assert ["Content-Length", "0"] in said["headers"] and "Content-Type" not in [n for n, _ in said["headers"]]
    assert ["Host", echo.url[7:]] in said["headers"]


@pytest.mark.parametrize(
    "argument", ["http://127.0.0.1:1/", "https://127.0.0.1:1/", "unix:/x:/", "@127.0.0.1:1/", ":1/", ".example/"]
)
def test_no_argument_chooses_the_host(handler, echo, argument):
    body = f"""
static int end(srv_request *rq) {{ return srv_reply(rq, 200, "%s", srv_get(rq, "%s", srv_arg(rq, "a", ""))->text); }}
static int open(srv_request *rq) {{ return srv_reply(rq, 200, "%s", srv_get(rq, "{echo.url}%s", srv_arg(rq, "a", ""))->text); }}
static int host(srv_request *rq) {{ return srv_reply(rq, 200, "%s", srv_get(rq, "http://%s/", srv_arg(rq, "a", ""))->text); }}
static int many(srv_request *rq) {{
    const char *suffix = srv_arg(rq, "a", "");
    const srv_response *got[1];
    srv_get_all(rq, &suffix, 1, got);
    return srv_reply(rq, 200, "%s", got[0]->text);
}}
"""
    app = handler(body, routes={f"/{n}": n for n in ("end", "open", "host", "many")}, upstream=echo.url)
    for path in ("/end", "/many"):
        assert json.loads(get(app, f"{path}?a={argument}").body)["target"] == "/" + argument
    for path in ("/open", "/host"):
        reply = get(app, f"{path}?a={argument}")
        assert (reply.status, reply.text) == (500, "the handler leaves the host of a call to an argument\n")


# --- connections --------------------------------------------------------------------------------------


class Stale(Upstream):
    """Answers the first request on each connection; the second one it takes, and closes."""

    def __init__(self, tls=None):
        self.bodies = 0
        super().__init__(self.begin, tls)

    def begin(self, conn, _number):
        threading.Thread(target=self.answer, args=(conn,), daemon=True).start()
        return True

    def answer(self, conn):
        with conn, contextlib.suppress(OSError):
            self.take(conn)
            conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            self.take(conn)
            conn.shutdown(socket.SHUT_RDWR)

    def take(self, conn):
        data = b""
        while b"\r\n\r\n" not in data or (b"text/plain" in data and not data.endswith(b"body")):
            piece = conn.recv(65536)
            if not piece:
                return
            data += piece
        self.bodies += data.endswith(b"body")


RETRY = """
static int page(srv_request *rq) {
    srv_call call = { .size = sizeof(call), .method = srv_arg(rq, "method", "GET"), .url = srv_arg(rq, "url", ""),
                      .retry = atoi(srv_arg(rq, "retry", "0")) };
    return srv_reply(rq, 200, "%s", srv_fetch(rq, &call)->text);
}
"""


@pytest.fixture(params=["http", "https"])
def secured(request, certificates):  # noqa: F811
    """What makes an upstream speak https, and the options for that; or nothing."""
    if request.param == "http":
        return None, ()
    return tls_of(certificates["good"]), ("--upstream-ca", certificates["ca"][0])


@pytest.mark.parametrize("client", ["native", "curl"])
@pytest.mark.parametrize("model", ["pool", "green"])
@pytest.mark.parametrize(
    "method, retry, again",
    [("GET", 0, True), ("PUT", 0, True), ("DELETE", 0, True), ("POST", 0, False), ("PATCH", 0, False), ("POST", 1, True)],
)  # fmt: skip
def test_only_what_is_safe_is_sent_twice(handler, secured, model, client, method, retry, again):
    tls, options = secured
    upstream = Stale(tls)
    app = handler(RETRY, "--model", model, "--upstream-client", client, *options)
    target = f"/?method={method}&retry={retry}&url={upstream.url}"
    assert get(app, target).text == "ok"
    reply = get(app, target)
    if again or client == "curl":  # libcurl gets a new connection for what has no body and must not be sent twice
        assert (reply.status, reply.text, upstream.connections) == (200, "ok", 2)
    else:
        assert (reply.status, reply.text) == (502, "upstream closed the connection without an answer\n")
        assert upstream.connections == 1
    upstream.close()


POST_TWICE = """
static int page(srv_request *rq) {
    return srv_reply(rq, 200, "%s", srv_post(rq, srv_arg(rq, "url", ""), "text/plain", "body", 4)->text);
}
"""


@pytest.mark.parametrize("client", ["native", "curl"])
@pytest.mark.parametrize("model", ["pool", "green"])
def test_a_body_that_must_not_be_sent_twice_is_not(handler, secured, model, client):
    tls, options = secured
    upstream = Stale(tls)
    app = handler(POST_TWICE, "--model", model, "--upstream-client", client, *options)
    assert get(app, f"/?url={upstream.url}").text == "ok"
    reply = get(app, f"/?url={upstream.url}")
    assert (reply.status, reply.text) == (502, "upstream closed the connection without an answer\n")
    assert upstream.bodies == 2
    upstream.close()


@pytest.mark.parametrize("model", ["pool", "green"])
def test_an_answer_before_the_end_of_the_request_counts(handler, secured, model):
    tls, options = secured

    def early(conn, number):
        conn.recv(1000)
        conn.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")
        time.sleep(5)

    upstream = Upstream(early, tls)
    app = handler(CALL, "--model", model, "--limit-request-body", "20M", *options)
    reply = request(app, "POST", f"/?method=POST&url={upstream.url}", body=b"x" * 8_000_000)
    assert (reply.status, reply.text) == (413, "no")
    upstream.close()


@pytest.mark.parametrize("model", ["threaded", "green"])
def test_many_hosts_are_kept_within_bounds(handler, model):
    servers = [Echo() for _ in range(70)]
    app = handler(CALL, "--model", model)
    for _ in range(2):
        for server in servers:
            assert get(app, f"/?url={server.url}/").status == 201
    kept = len(os.listdir(f"/proc/{app.pid}/fd"))
    assert kept < 64 + 40
    assert servers[-1].server.connections == 2  # 70 in a row drive each other out
    for server in servers:
        server.close()


@pytest.mark.parametrize("model", ["threaded", "green"])
def test_places_and_times_of_other_hosts(handler, slowapi, model):
    """--upstream-max holds for each host by itself; a call may have its own time-out."""
    api, other = slowapi(), slowapi()
    body = """
static int page(srv_request *rq) {
    srv_call call = { .size = sizeof(call), .url = srv_format(rq, "%s?delay=%s", srv_arg(rq, "url", ""), srv_arg(rq, "delay", "1")),
                      .timeout = atof(srv_arg(rq, "timeout", "0")) };
    return srv_reply(rq, 200, "%s", srv_fetch(rq, &call)->text);
}
"""
    app = handler(body, "--model", model, "--upstream-max", "1", "--queue-timeout", "0.2s")
    conn = RawConnection(app)
    conn.send(f"GET /?delay=3&url={api.url} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    time.sleep(0.3)
    reply = get(app, f"/?delay=0&url={api.url}")
    assert (reply.status, reply.text) == (503, "too many calls of the upstream are in progress\n")
    assert get(app, f"/?delay=0&url={other.url}").status == 200
    begin = time.monotonic()
    assert get(app, f"/?delay=30&timeout=0.3&url={other.url}").status == 504
    assert time.monotonic() - begin < 10
    assert conn.read_response().status == 200
    conn.close()


# --- at the same time ---------------------------------------------------------------------------------

MANY = """
static int page(srv_request *rq) {
    srv_call calls[10];
    const srv_response *got[10];
    size_t failed;
    for (int i = 0; i < 10; i++)
        calls[i] = (srv_call){ .size = sizeof(srv_call), .method = "POST", .body = "x", .len = 1,
                               .url = srv_format(rq, "%s?delay=%s&echo=%d", srv_arg(rq, "url", ""), srv_arg(rq, "delay", "1"), i) };
    failed = srv_fetch_all(rq, calls, 10, got);
    srv_print(rq, "%zu:", failed);
    for (int i = 0; i < 10; i++)
        srv_print(rq, " %d", got[i]->status);
    return srv_reply_printed(rq, 200);
}
"""


@pytest.mark.parametrize("model", MODELS)
def test_fetches_at_the_same_time(handler, slowapi, model):
    api = slowapi()
    app = handler(MANY, "--model", model)
    begin = time.monotonic()
    assert get(app, f"/?delay=0.5&url={api.url}").text == "0:" + " 200" * 10
    assert time.monotonic() - begin < 3  # 5 s in a row
    assert get(app, "/?url=http://127.0.0.1:1/").text == "10:" + " 0" * 10


def established(pid, port):
    """Connections of that process to that port."""
    mine = open_files(pid)
    with open("/proc/net/tcp", encoding="ascii") as table:
        rows = [line.split() for line in table][1:]
    return sum(f"socket:[{row[9]}]" in mine and row[2].endswith(f":{port:04X}") for row in rows)


@pytest.mark.parametrize("client", ["native", "curl"])
@pytest.mark.parametrize("end", ["deadline", "client"])
@pytest.mark.parametrize("model", MODELS)
def test_the_end_of_a_request_closes_the_connections_of_its_calls(handler, slowapi, model, end, client):
    """Ten calls in parallel that would last longer than their request: all ten end, and so do their connections."""
    api = slowapi("--control", "127.0.0.1:0")
    port = int(api.url.rsplit(":", 1)[1].strip("/"))
    deadline = ("--request-timeout", "2s") if end == "deadline" else ()
    app = handler(MANY, "--model", model, "--upstream-client", client, *deadline)
    conn = RawConnection(app)
    conn.send(f"GET /?delay=30&url={api.url} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    wait_for(lambda: established(app.pid, port) == 10, what="ten connections")
    if end == "client":
        conn.reset()
    else:
        assert conn.read_response().status == 504
    wait_for(lambda: established(app.pid, port) == 0, what="the end of the connections")
    wait_for(lambda: json.loads(fetch(api, "/stats").text)["in_flight"] == 0, what="the end of the calls")
    if end != "client":
        conn.close()


def test_http2(handler, certificates, h2_upstream):  # noqa: F811
    body = """
static int page(srv_request *rq) {
    const srv_response *r = srv_post(rq, srv_arg(rq, "url", ""), "text/plain", "x", 1);
    return srv_reply(rq, 200, "%d %s %s", r->status, srv_response_header(r, "content-type", "none"), r->text);
}
"""
    app = handler(body, "--upstream-client", "curl", "--upstream-ca", certificates["ca"][0])
    for _ in range(3):
        assert get(app, f"/?url={h2_upstream}").text.startswith("200 text/plain HTTP/2.0 ")
