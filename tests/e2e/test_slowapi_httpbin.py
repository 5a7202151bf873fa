# SPDX-License-Identifier: MIT
"""srv slowapi as a stand-in for httpbin: the table of httpbin_table.py, digest authentication, and faults in front of it all."""

import json
import re
from pathlib import Path

import httpbin_table
import pytest
from harness import Client, RawConnection, get, raw, run_script
from httpbin_table import CHECKS, digest
from test_slowapi_shapes import Control

ROOT = Path(__file__).resolve().parents[2]


def test_every_check_of_the_table_holds(slowapi):
    api = slowapi("--delay", "0")
    assert len({repr(check) for check in CHECKS}) == len(CHECKS) >= 490
    problems = [f"{c.method} {c.path}: {problem}" for c in CHECKS if (problem := httpbin_table.run(c, api.host, api.port))]
    assert not problems, "\n".join(problems)


def test_a_difference_to_httpbin_is_in_the_docs():
    table = re.findall(r"^\| `(\w+)` \|", (ROOT / "docs/slowapi.md").read_text().split("### Differences to httpbin")[1].split("\n## ")[0], re.M)
    assert set(table) == {check.differs for check in CHECKS if check.differs}


def test_debians_httpbin_differs_where_the_table_tells():
    pytest.importorskip("httpbin", reason="there is no python3-httpbin: scripts/setup test")
    done = run_script("compare-httpbin")
    assert done.returncode == 0 and f"{len(CHECKS)} checks" in done.stdout, done.stdout + done.stderr


TINY_SUITE = """
import json, ssl, urllib.request
import pytest, pytest_httpbin.certs

def fetch(url):
    trusted = ssl.create_default_context(cafile=pytest_httpbin.certs.where())
    with urllib.request.urlopen(url, context=trusted if url.startswith("https") else None) as reply:
        return json.load(reply)

def test_passes(httpbin):
    assert fetch(httpbin + "/get?a=1")["args"] == {"a": "1"}

def test_passes_on_both(httpbin_both):
    assert fetch(httpbin_both.join("/uuid"))["uuid"]

def test_passes_with_httpbin(httpbin):
    assert "method" not in fetch(httpbin + "/get"), "a method"

def test_passes_with_slowapi(httpbin):
    assert "method" in fetch(httpbin + "/get")

@pytest.mark.xfail
def test_is_expected_to_fail(httpbin):
    pass

def test_asks_for_none():
    assert False
"""


def test_suites_of_other_clients_are_compared(tmp_path):
    pytest.importorskip("httpbin", reason="there is no python3-httpbin: scripts/setup test")
    (tmp_path / "test_tiny.py").write_text(TINY_SUITE)
    done = run_script("test-suites", "--network", "--sources", f"tiny={tmp_path}", "tiny")
    assert done.returncode == 1, done.stdout + done.stderr
    assert re.search(r"^tiny +6 +4 +3 +75\.0 %$", done.stdout, re.M), done.stdout
    assert re.findall(r"::(\w+): failed AssertionError: a method", done.stdout) == ["test_passes_with_httpbin"], done.stdout
    done = run_script("test-suites", "--network", "--against", "slowapi", "--sources", f"tiny={tmp_path}", "tiny")
    assert done.returncode == 0 and "tiny: 6 ask for httpbin, 4 passed, 1 failed" in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize("args, reason", [(["nothing"], "no suite 'nothing'"), (["--sources", "tiny=/nowhere", "tiny"], "no such folder")])
def test_a_suite_that_is_not_there_is_named(args, reason):
    done = run_script("test-suites", *args)
    assert done.returncode == 1 and reason in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize("path", ["/get", "/redirect/1", "/cookies/set?a=1", "/basic-auth/u/p", "/gzip", "/html", "/image/png", "/uuid", "/anything", "/trailers?X-T=1", "/links/5/0"])
def test_faults_and_delays_hold_on_every_path(slowapi, path):
    api = slowapi("--delay", "0")
    more = "&" if "?" in path else "?"
    assert raw(api, f"GET {path}{more}fault=rst HTTP/1.1\r\nHost: x\r\n\r\n".encode()) == b""
    assert get(api, f"{path}{more}status=503&delay=20ms").status == 503
    reply = get(api, f"{path}{more}delay=20ms")
    assert reply.headers["x-slowapi-delay"] == "20ms" and "x-slowapi-ignored" not in reply.headers
    assert get(api, f"{path}{more}body=mine&encoding=identity").text == "mine"


# --- digest -------------------------------------------------------------------------


def answer_of(client, path, method="GET", body=None, **changes):
    challenge = client.ask(method, path, body).headers["www-authenticate"]
    credentials = digest(challenge, method, path, "user", "secret", (body or "").encode(), **changes)
    return client.ask(method, path, body, {"Authorization": credentials})


@pytest.mark.parametrize("qop", ["auth", "auth-int"])
@pytest.mark.parametrize("algorithm", ["MD5", "SHA-256", "SHA-512", "SHA-512-256", "MD5-sess", "SHA-256-sess", "SHA-512-sess"])
def test_digest_lets_the_right_user_in(slowapi, qop, algorithm):
    client = Client(slowapi("--delay", "0", "--workers", "2"))
    path = f"/digest-auth/{qop}/user/secret/{algorithm}?x=1"
    for method, body in (("GET", None), ("POST", "some body")):
        reply = answer_of(client, path, method, body)
        assert reply.status == 200 and json.loads(reply.text)["user"] == "user"
    client.close()


def test_digest_keeps_everybody_else_out(slowapi):
    client = Client(slowapi("--delay", "0"))
    path = "/digest-auth/auth/user/secret"
    challenge = client.ask("GET", path).headers["www-authenticate"]
    good = digest(challenge, "GET", path, "user", "secret")
    assert client.ask("GET", path, headers={"Authorization": good}).status == 200
    for bad in [
        digest(challenge, "GET", path, "user", "wrong"),
        digest(challenge, "GET", path, "other", "secret"),
        digest(challenge, "POST", path, "user", "secret"),
        digest(challenge, "GET", path + "/x", "user", "secret"),
        digest(challenge, "GET", path, "user", "secret", realm="elsewhere"),
        digest(challenge, "GET", path, "user", "secret", qop="auth-int"),
        digest(challenge, "GET", path, "user", "secret", algorithm="SHA-256"),
        good.replace("response=", "response=0"),
        good[:50],
        "Digest",
    ]:
        reply = client.ask("GET", path, headers={"Authorization": bad})
        assert reply.status == 401 and "stale" not in reply.headers["www-authenticate"], bad
    for changes in ({"nonce": "0" * 48}, {"nonce": challenge.split('nonce="')[1][:16] + "0" * 32}):
        reply = client.ask("GET", path, headers={"Authorization": digest(challenge, "GET", path, "user", "secret", **changes)})
        assert reply.status == 401 and "stale=true" in reply.headers["www-authenticate"]
    client.close()


def test_a_nonce_is_stale_after_its_uses(slowapi):
    client = Client(slowapi("--delay", "0"))
    path = "/digest-auth/auth/user/secret/MD5/2"
    assert [answer_of(client, path, nc=f"{n:08x}").status for n in (1, 2, 3)] == [200, 200, 401]
    client.close()


# --- bytes --------------------------------------------------------------------------


def test_trailers_come_behind_the_last_chunk(slowapi):
    api = slowapi("--delay", "0")
    answer = raw(api, b"GET /trailers?X-A=1&X-B=two HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert answer.endswith(b"\r\n0\r\nX-A: 1\r\nX-B: two\r\n\r\n")
    assert b"X-A: 1" not in raw(api, b"GET /trailers?X-A=1 HTTP/1.0\r\n\r\n").split(b"\r\n\r\n", 1)[1]


def test_a_client_of_http_1_0_without_a_host_gets_urls_nevertheless(slowapi, tmp_path):
    api = slowapi("--delay", "0", "--bind", "127.0.0.1:0", "--bind", f"unix:{tmp_path}/socket")
    for address, host in zip(api.addresses, (f"127.0.0.1:{api.port}", "localhost")):
        assert f'"url": "http://{host}/get?a=1"'.encode() in raw(address, b"GET /get?a=1 HTTP/1.0\r\n\r\n")
        assert f"\r\nLocation: http://{host}/get\r\n".encode() in raw(address, b"GET /absolute-redirect/1 HTTP/1.0\r\n\r\n")


def test_images_are_what_they_say(slowapi):
    client = Client(slowapi("--delay", "0"))
    for kind, (magic, _) in httpbin_table.MAGIC.items():
        assert client.ask("GET", f"/image/{kind}").body.startswith(magic)
    client.close()


def test_redirects_end_at_get(slowapi):
    client = Client(slowapi("--delay", "0"))
    path, seen = "/redirect/4", []
    while (reply := client.ask("GET", path)).status == 302:
        path = reply.headers["location"]
        seen.append(path)
    assert reply.status == 200 and seen == ["/relative-redirect/3", "/relative-redirect/2", "/relative-redirect/1", "/get"]
    client.close()


def test_forms_have_bounds(slowapi):
    client = Client(slowapi("--delay", "0"))
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    assert len(json.loads(client.ask("POST", "/post", "&".join(f"f{n}=1" for n in range(1000)), form).text)["form"]) == 1000
    reply = client.ask("POST", "/post", "&".join(f"f{n}=1" for n in range(1001)), form)
    assert (reply.status, reply.text) == (400, "the form has more than 1000 fields\n")
    client.close()


def test_uploads_are_drained_and_not_kept(slowapi):
    control = Control(api := slowapi("--delay", "0", "--control", "127.0.0.1:0"))
    with RawConnection(api) as conn:
        conn.send(b"PUT /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 3000000\r\n\r\n" + b"x" * 3_000_000)
        assert conn.read_response().status == 200
    assert control.stats()["answers"] == 1
