# SPDX-License-Identifier: MIT
"""Forms of handlers: urlencoded and multipart, as clients send them and as nobody should."""

import shutil
import subprocess

import pytest
from harness import get, request
from test_handlers import app_of, build

BODY = """
static int page(srv_request *rq) {
    const srv_field *file = srv_form_file(rq, "f"), *field;
    srv_print(rq, "a=%s", srv_form(rq, "a", "none"));
    if (file)
        srv_print(rq, " f=%s:%s:%zu:%s", file->file, file->type, file->len, file->value);
    for (size_t i = 0; (field = srv_form_field(rq, i)) != NULL; i++)
        srv_print(rq, " %s", field->name);
    return srv_reply_printed(rq, 200);
}
"""
MULTIPART = "multipart/form-data; boundary=b"
DISPOSITION = 'Content-Disposition: form-data; name="a"'


@pytest.fixture
def app(tmp_path, serve):
    return serve(build(tmp_path, app_of(BODY)))


def post(app, body, kind):
    return request(app, "POST", "/", body=body.encode(), headers={"Content-Type": kind})


def part(head=DISPOSITION, data="1"):
    return f"--b\r\n{head}\r\n\r\n{data}\r\n"


def test_good_forms(app):
    urlencoded = "application/x-www-form-urlencoded"
    for body, kind, said in [
        ("a=x+%C3%A4%26&b=&a=2", urlencoded + "; charset=utf-8", "a=x ä& a b a"),
        ("a=%zz", urlencoded.upper(), "a=%zz a"),
        ("", urlencoded, "a=none"),
        ("a=1", "text/plain", "a=none"),
        (part() + "--b--", MULTIPART, "a=1 a"),
        ("preamble\r\n" + part() + "--b--\r\nepilogue", MULTIPART, "a=1 a"),
        (part(data="") + "--b--\r\n", MULTIPART, "a= a"),
        (part(data="x--b\r\n--bc\r\n-") + "--b--\r\n", MULTIPART, "a=x--b\r\n--bc\r\n- a"),
        ("--b--", MULTIPART, "a=none"),
        ("--b \t\r\n" + part()[5:] + "--b--", MULTIPART, "a=1 a"),
        (part("content-disposition:form-data;name=a") + "--b--", 'multipart/form-data;BOUNDARY="b"', "a=1 a"),
        (part(r'Content-Disposition: form-data; name="q\"\\"') + "--b--", MULTIPART, 'a=none q"\\'),
        (part('Content-Disposition: form-data; name="f"; filename="C:\\dir\\x.txt"\r\nContent-Type: text/x', "12") + "--b--",
         MULTIPART, "a=none f=x.txt:text/x:2:12 f"),
        (part('Content-Disposition: form-data; name="f"; filename="../../.."') + "--b--", MULTIPART, "a=none f=::1:1 f"),
    ]:  # fmt: skip
        reply = post(app, body, kind)
        assert (reply.status, reply.body.decode()) == (200, said), body
    assert get(app, "/").text == "a=none"


def test_malformed_forms(app):
    boundary, final = "the Content-Type of the form has no valid boundary", "the form has no final boundary"
    name = "a part of the form has no valid name"
    for body, kind, why in [
        (part(), MULTIPART, final),
        (part() + "--b", MULTIPART, final),
        (part() + "--b-", MULTIPART, final),
        ("", MULTIPART, final),
        (part().replace("\r\n", "\n") + "--b--", MULTIPART, final),
        (part() + "--b--", "multipart/form-data", boundary),
        (part() + "--b--", "multipart/form-data; boundary=", boundary),
        (part() + "--b--", 'multipart/form-data; boundary="b', boundary),
        (part() + "--b--", "multipart/form-data; boundary=" + "b" * 71, boundary),
        (part() + "--b--", "multipart/form-data; boundary=b;b", boundary),
        (part("X: y") + "--b--", MULTIPART, name),
        (part("Content-Disposition: form-data") + "--b--", MULTIPART, name),
        (part('Content-Disposition: form-data; name="a') + "--b--", MULTIPART, name),
        (part("Content-Disposition: attachment; name=a") + "--b--", MULTIPART, "a part of the form is no form-data"),
        (part("no colon") + "--b--", MULTIPART, "a part of the form has a malformed head"),
        (part(DISPOSITION + "\r\nContent-Transfer-Encoding: base64") + "--b--", MULTIPART, "a part of the form is encoded"),
        (part(DISPOSITION + "\r\nX: " + "x" * 9000) + "--b--", MULTIPART,
         "a part of the form has no end of its head, or a large one"),
        (f"--b\r\n{DISPOSITION}\r\n--b--", MULTIPART, "a part of the form has no end of its head, or a large one"),
        (part() * 1001 + "--b--", MULTIPART, "the form has more than 1000 fields"),
        ("a=1&" * 1001, "application/x-www-form-urlencoded", "the form has more than 1000 fields"),
    ]:  # fmt: skip
        reply = post(app, body, kind)
        assert (reply.status, reply.text) == (400, why + "\n"), body


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl")
def test_what_curl_sends(app, tmp_path):
    file = tmp_path / "x y.bin"
    file.write_bytes(bytes(range(1, 256)) * 100)
    url = f"http://127.0.0.1:{app.port}/" if hasattr(app, "port") else f"http://{app.addresses[0][0]}:{app.addresses[0][1]}/"
    done = subprocess.run(["curl", "-sS", "-F", 'a=say "hi"', "-F", f"f=@{file};type=a/b", url], capture_output=True, check=True)
    assert done.stdout.startswith(b'a=say "hi" f=x y.bin:a/b:25500:\x01\x02') and done.stdout.endswith(b" a f")
