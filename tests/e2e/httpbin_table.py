# SPDX-License-Identifier: MIT
"""What clients of httpbin and go-httpbin rely on, request by request, written from the public lists of their endpoints.

test_slowapi_httpbin.py asks slowapi all of it; scripts/compare-httpbin asks Debian's python3-httpbin, too, and tells where the
answers differ. `differs` names a row of the table of differences in docs/slowapi.md.

    for check in CHECKS:
        problem = run(check, host, port)      None, or what is wrong
"""

import base64
import gzip
import hashlib
import http.client
import json
import re
import zlib
from typing import NamedTuple

import brotli

ANY = re.compile(".*", re.S)
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
NUMBER = re.compile(r"\d+")
ANY_NUMBER = "any number"
GONE = object()  # not there


class Check(NamedTuple):
    """A request, and facts of its answer: patterns match whole, GONE is not there, others are equal."""

    method: str
    path: str
    status: int
    sent: dict
    body: bytes
    has: dict  # headers
    json: dict  # members by dotted path
    text: object  # of the body, decoded
    reason: str  # in the status line
    differs: str


CHECKS = []


def check(method, path, status=200, *, sent=None, body=None, has=None, json=None, text=None, reason=None, differs=None):
    data = body.encode() if isinstance(body, str) else body
    CHECKS.append(Check(method, path, status, sent or {}, data, has or {}, json or {}, text, reason, differs))


# --- running a check ----------------------------------------------------------------

DECODERS = {"gzip": gzip.decompress, "deflate": zlib.decompress, "br": brotli.decompress}


def is_as(found, wanted):
    if wanted is GONE:
        return found is GONE
    if wanted is ANY_NUMBER:
        return type(found) in (int, float)
    if isinstance(wanted, re.Pattern):
        return isinstance(found, type(wanted.pattern)) and wanted.fullmatch(found) is not None
    return found == wanted and type(found) is type(wanted)


def member(value, path):
    for name in path.split("."):
        if isinstance(value, list) and name.isdigit() and int(name) < len(value):
            value = value[int(name)]
        elif isinstance(value, dict) and name in value:
            value = value[name]
        else:
            return GONE
    return value


def ask(host, port, method, path, sent=None, body=None):
    conn = http.client.HTTPConnection(host, port, timeout=30)
    try:
        sent = {name.title(): value for name, value in (sent or {}).items()}
        conn.putrequest(method, path, skip_host="Host" in sent, skip_accept_encoding=True)
        if body is not None:
            sent.setdefault("Content-Length", str(len(body)))
        for name, values in sent.items():
            for value in [values] if isinstance(values, str) else values:
                conn.putheader(name, value.replace("{host}", f"{host}:{port}"))
        conn.endheaders(body)
        reply = conn.getresponse()
        return reply, reply.read()
    finally:
        conn.close()


def run(check, host, port):
    """Returns what is wrong, or None."""
    fill = lambda wanted: wanted.replace("{host}", f"{host}:{port}") if isinstance(wanted, str) else wanted
    reply, body = ask(host, port, check.method, check.path, check.sent, check.body)
    if reply.status != check.status:
        return f"status {reply.status} instead of {check.status}"
    if check.reason not in (None, reply.reason):
        return f"reason {reply.reason!r} instead of {check.reason!r}"
    for name, wanted in check.has.items():
        values = reply.headers.get_all(name)
        found = GONE if values is None else ", ".join(values)
        if not is_as(found, fill(wanted)):
            return f"{name}: {'none' if found is GONE else found!r}"
    coding = reply.headers.get("content-encoding")
    body = DECODERS[coding](body) if coding in DECODERS and body else body
    if check.json:
        try:
            value = json.loads(body)
        except ValueError:
            return f"no JSON: {body[:80]!r}"
        for path, wanted in check.json.items():
            found = member(value, path) if path else value
            if not is_as(found, fill(wanted)):
                return f"member {path}: {'none' if found is GONE else found!r}"
    if check.text is not None:
        wants_bytes = isinstance(getattr(check.text, "pattern", check.text), bytes)
        found = body if wants_bytes else body.decode(errors="replace")
        if not is_as(found, fill(check.text)):
            return f"body {found[:80]!r}"
    return None


# --- requests, told back ------------------------------------------------------------

JSON = "application/json"
FORM = "application/x-www-form-urlencoded"
CORS = {"Access-Control-Allow-Origin": "*", "Access-Control-Allow-Credentials": "true"}


def multipart(*parts):
    """(headers, body) of a form: parts are (name, value), or (name, file, type, bytes)."""
    out = b""
    for name, *rest in parts:
        out += b'--limit\r\nContent-Disposition: form-data; name="%s"' % name.encode()
        if len(rest) == 1:
            out += b"\r\n\r\n" + rest[0].encode()
        else:
            out += b'; filename="%s"\r\nContent-Type: %s\r\n\r\n' % (rest[0].encode(), rest[1].encode()) + rest[2]
        out += b"\r\n"
    return {"Content-Type": "multipart/form-data; boundary=limit"}, out + b"--limit--\r\n"


ECHOES = {"GET": "/get", "POST": "/post", "PUT": "/put", "PATCH": "/patch", "DELETE": "/delete"}

for verb, place in ECHOES.items():
    check(verb, place, has={"Content-Type": JSON, **CORS}, json={"args": {}, "origin": re.compile(r"127\.0\.0\.1"), "url": "http://{host}" + place})
    check(verb, place + "?a=1&b=2", json={"args": {"a": "1", "b": "2"}, "url": "http://{host}" + place + "?a=1&b=2"})
    check(verb, place + "?a=1&a=2&a=3", json={"args": {"a": ["1", "2", "3"]}})
    check(verb, place + "?a=&b=%20x%2By+z", json={"args": {"a": "", "b": " x+y z"}})
    check(verb, place + "?%C3%A4=%E2%82%AC", json={"args": {"ä": "€"}})
    check(verb, place + "?a&b=&=c&a=2", json={"args": {"": "c", "a": ["", "2"], "b": ""}})
    check(verb, place + "?a=1;b=2&c=%26%3D", json={"args": {"a": "1;b=2", "c": "&="}})
    check(verb, place, sent={"X-Fish": "cod"}, json={"headers.X-Fish": "cod"})
    check(verb, place, sent={"x-lower-case": "a, b"}, json={"headers.X-Lower-Case": "a, b"})
    check(verb, place, sent={"X-Fish": ["cod", "pike", "eel"]}, json={"headers.X-Fish": "cod,pike,eel"})
    check(verb, place, sent={"User-Agent": "tester/1"}, json={"headers.User-Agent": "tester/1", "headers.Host": "{host}"})
    check(verb, place, sent={"X-Forwarded-Proto": "https"}, json={"url": "https://{host}" + place})
    check(verb, place, json={"method": verb}, differs="method")
    check("OPTIONS", place, has={"Allow": ANY, "Access-Control-Allow-Methods": ANY, "Access-Control-Max-Age": "3600"}, text="")
    for other in ECHOES:
        if other != verb:
            check(other, place, 405, has={"Allow": ANY})

for verb in ("POST", "PUT", "PATCH", "DELETE"):
    place = ECHOES[verb]
    check(verb, place, json={"data": "", "files": {}, "form": {}, "json": None})
    check(verb, place, body="plain text", sent={"Content-Type": "text/plain"}, json={"data": "plain text", "json": None, "form": {}})
    check(verb, place, body="a=1&b=x+y&a=2", sent={"Content-Type": FORM}, json={"form": {"a": ["1", "2"], "b": "x y"}, "data": "", "json": None})
    check(verb, place, body="a=%C3%A4", sent={"Content-Type": FORM + "; charset=utf-8"}, json={"form": {"a": "ä"}})
    check(verb, place, body='{"a": [1, null, "x"]}', sent={"Content-Type": JSON}, json={"json": {"a": [1, None, "x"]}, "data": '{"a": [1, null, "x"]}'})
    check(verb, place, body="[1,", sent={"Content-Type": JSON}, json={"json": None, "data": "[1,"})
    check(verb, place, body='"text"', sent={"Content-Type": JSON}, json={"json": "text"})
    check(verb, place, body="12.5", json={"json": 12.5, "data": "12.5"})
    check(verb, place, body='{"price": 19.99, "tiny": 1e-7, "big": 9223372036854775807}', json={"json": {"price": 19.99, "tiny": 1e-7, "big": 2**63 - 1}})
    check(verb, place, body='{"price": 19.99}', text=re.compile(r'.*"price": ?19\.99\D.*', re.S))
    check(verb, place, body='{"id": 18446744073709551616}', json={"json.id": ANY_NUMBER})
    check(verb, place, body='{"a": 1, "a": 2, "": {"b\\\\c": [[]]}}', json={"json": {"a": 2, "": {"b\\c": [[]]}}})
    check(verb, place, body="a&b=&=c&a=2", sent={"Content-Type": FORM}, json={"form": {"": "c", "a": ["", "2"], "b": ""}})
    check(verb, place, body=zlib.compress(b'{"foo": "bar"}'), sent={"Content-Type": JSON, "Content-Encoding": "deflate"}, json={"data": re.compile("data:application/octet-stream;base64,eJ.*"), "json": None, "headers.Content-Encoding": "deflate"})
    check(verb, place, body=b"\x78\x9c\xff", sent={"Content-Type": "multipart/form-data; boundary=limit", "Content-Encoding": "deflate"}, json={"files": {}, "form": {}})
    check(verb, place, sent={"Content-Type": "multipart/form-data; boundary=limit"}, json={"files": {}, "form": {}, "data": ""})
    check(verb, place, body="ä".encode(), json={"data": "ä"})
    check(verb, place, body=b"\xff\x00\xfe", json={"data": "data:application/octet-stream;base64,/wD+"})
    head, data = multipart(("a", "1"), ("b", "zwei ä"), ("f", "f.txt", "text/plain", b"content"))
    check(verb, place, body=data, sent=head, json={"form": {"a": "1", "b": "zwei ä"}, "files": {"f": "content"}, "data": "", "json": None})
    head, data = multipart(("f", "a", "text/plain", b"1"), ("g", "b", "image/png", b"\x89PNG\xff"))
    check(verb, place, body=data, sent=head, json={"files.f": "1", "files.g": "data:image/png;base64,iVBOR/8="})
    head, data = multipart(("f", "a", "text/plain", b"1"), ("f", "b", "text/plain", b"2"))
    check(verb, place, body=data, sent=head, json={"files.f": ["1", "2"]}, differs="files")

for verb in ("GET", "POST", "PUT", "PATCH", "DELETE"):
    check(verb, "/anything", json={"method": verb, "url": "http://{host}/anything", "args": {}})
    check(verb, "/anything/one/two?x=1", json={"method": verb, "url": "http://{host}/anything/one/two?x=1", "args.x": "1"})
    check(verb, "/anything", body='{"x":1}', sent={"Content-Type": JSON}, json={"json": {"x": 1}, "data": '{"x":1}'})
    check(verb, "/delay/0", json={"url": "http://{host}/delay/0", "data": "", "form": {}}, differs=None if verb == "GET" else "methods")
check("GET", "/delay/0.05", json={"url": "http://{host}/delay/0.05"})
check("HEAD", "/get", has={"Content-Type": JSON, "Content-Length": NUMBER}, text="")
check("HEAD", "/anything", has={"Content-Type": JSON}, text="")
check("HEAD", "/head", text="", differs="go")
check("GET", "/head", 405, differs="go")
check("GET", "/headers", json={"headers.Host": "{host}"})
check("GET", "/headers", sent={"X-One": "1", "X-Two": "2"}, json={"headers.X-One": "1", "headers.X-Two": "2"})
check("GET", "/ip", json={"": {"origin": "127.0.0.1"}})
check("GET", "/ip", sent={"X-Forwarded-For": "192.0.2.7"}, json={"origin": "192.0.2.7"})
check("GET", "/ip", sent={"X-Forwarded-For": "192.0.2.7, 10.0.0.1"}, json={"origin": "192.0.2.7"}, differs="origin")
check("POST", "/ip", 405)
check("GET", "/user-agent", sent={"User-Agent": "tester/1"}, json={"": {"user-agent": "tester/1"}})
check("GET", "/user-agent", json={"": {"user-agent": None}})
check("GET", "/uuid", json={"uuid": UUID})
check("GET", "/hostname", json={"hostname": ANY}, differs="go")
check("HEAD", "/uuid", has={"Content-Type": JSON, "Content-Length": NUMBER}, text="")
check("HEAD", "/ip", has={"Content-Type": JSON}, text="")
check("HEAD", "/headers", has={"Content-Type": JSON}, text="")
check("GET", "/headers", sent={"X-Lower": "ä".encode().decode("latin-1")}, json={"headers.X-Lower": ANY})
check("GET", "/get", sent={"X-Forwarded-For": "192.0.2.7", "X-Forwarded-Proto": "https"}, json={"origin": "192.0.2.7", "url": "https://{host}/get"})
check("GET", "/get", sent={"Host": "example.com"}, json={"headers.Host": "example.com", "url": "http://example.com/get"})
check("POST", "/echo", body="back", text="back", differs="go")
check("PUT", "/echo", body=b"\x00\xff", text=b"\x00\xff", differs="go")
check("GET", "/echo", text="", differs="go")
check("GET", "/dump/request?x=1", sent={"X-Fish": "cod"}, text=re.compile(r"GET /dump/request\?x=1 HTTP/1.1\r\n.*X-Fish: cod\r\n.*\r\n", re.S), differs="go")
check("POST", "/dump/request", body="the body", text=re.compile(r"POST .*\r\n\r\nthe body", re.S), differs="go")
check("POST", "/upload", body=b"x" * 100_000, json={"method": "POST"}, differs="go")
check("GET", "/upload", 405, differs="go")

# --- statuses and redirects ---------------------------------------------------------

for code in (200, 201, 202, 204, 206, 304, 400, 401, 402, 403, 404, 405, 406, 409, 410, 418, 422, 429, 451, 500, 501, 502, 503, 504, 599):
    check("GET", f"/status/{code}", code)
for verb in ("POST", "PUT", "PATCH", "DELETE"):
    check(verb, "/status/503", 503)
for code in (301, 302, 303, 305, 307):
    check("GET", f"/status/{code}", code, has={"Location": "/redirect/1"})
check("GET", "/status/308", 308, has={"Location": "/redirect/1"}, differs="status")
check("GET", "/status/401", 401, has={"WWW-Authenticate": re.compile(r"Basic realm=.*")})
check("GET", "/status/407", 407, has={"Proxy-Authenticate": re.compile(r"Basic realm=.*")}, differs="status")
for code, reason in ((302, "Found"), (404, "Not Found"), (500, "Internal Server Error")):
    check("GET", f"/status/{code}", code, reason=reason, differs="reason")
check("GET", "/status/200", reason="OK")
check("GET", "/status/200:1", 200, differs="status")
check("GET", "/status/503:0.7,503:0.3", 503)
check("GET", "/status/abc", 400)
check("GET", "/status/99", 400, differs="status")
check("GET", "/redirect/1", 302, has={"Location": "/get", **CORS})
check("GET", "/redirect/2", 302, has={"Location": "/relative-redirect/1"})
check("GET", "/redirect/6", 302, has={"Location": "/relative-redirect/5"})
check("GET", "/redirect/1?absolute=true", 302, has={"Location": "http://{host}/get"})
check("GET", "/redirect/3?absolute=true", 302, has={"Location": "http://{host}/absolute-redirect/2"})
check("GET", "/redirect/0", 400, differs="errors")
check("GET", "/redirect/x", 400, differs="errors")
check("GET", "/relative-redirect/1", 302, has={"Location": "/get"})
check("GET", "/relative-redirect/4", 302, has={"Location": "/relative-redirect/3"})
check("GET", "/relative-redirect/0", 400, differs="errors")
check("GET", "/absolute-redirect/1", 302, has={"Location": "http://{host}/get"})
check("GET", "/absolute-redirect/4", 302, has={"Location": "http://{host}/absolute-redirect/3"})
check("GET", "/absolute-redirect/-1", 400, differs="errors")
check("GET", "/redirect-to?url=/anything", 302, has={"Location": "/anything"})
check("GET", "/redirect-to?url=/a%20b%22", 302, has={"Location": "/a%20b%22"})
check("GET", "/redirect-to?url=/%C3%A4", 302, has={"Location": "/%C3%A4"}, differs="location")
check("GET", "/redirect-to?url=bytes/16", 302, has={"Location": "bytes/16"})
check("GET", "/redirect-to?url=/get%3Fa%3D%2525%23x", 302, has={"Location": "/get?a=%25#x"})
check("POST", "/redirect-to?url=/post&status_code=303", 303, has={"Location": "/post"})
check("GET", "/redirect-to?url=http%3A%2F%2Fexample.com%2F%3Fa%3Db", 302, has={"Location": "http://example.com/?a=b"})
for code in (301, 302, 303, 307, 308):
    check("GET", f"/redirect-to?url=/get&status_code={code}", code, has={"Location": "/get"})
for verb in ("POST", "PUT", "PATCH", "DELETE"):
    check(verb, "/redirect-to?url=/get&status_code=307", 307, has={"Location": "/get"})
check("GET", "/redirect-to", 400, differs="errors")
check("GET", "/redirect-to?url=/get&status_code=200", 400, differs="errors")
check("GET", "/redirect-to?url=/get&status_code=abc", 400, differs="errors")
check("GET", "/redirect-to?url=%0d%0aX:y", 400, differs="errors")

# --- cookies ------------------------------------------------------------------------

check("GET", "/cookies", json={"": {"cookies": {}}})
check("GET", "/cookies", sent={"Cookie": "a=1; b=two"}, json={"cookies": {"a": "1", "b": "two"}})
check("GET", "/cookies", sent={"Cookie": "a=x=y"}, json={"cookies": {"a": "x=y"}})
check("GET", "/cookies", sent={"Cookie": 'a="in quotes"; b; c='}, json={"cookies": {"a": "in quotes", "b": "", "c": ""}})
check("GET", "/cookies", sent={"Cookie": "a=1;b=2"}, json={"cookies": {"a": "1", "b": "2"}})
check("GET", "/cookies/delete", 302, has={"Location": "/cookies", "Set-Cookie": GONE})
check("GET", "/cookies/set?a=1", 302, has={"Location": "/cookies", "Set-Cookie": "a=1; Path=/"})
check("GET", "/cookies/set?a=1&b=2", 302, has={"Set-Cookie": "a=1; Path=/, b=2; Path=/"})
check("GET", "/cookies/set/name/value", 302, has={"Location": "/cookies", "Set-Cookie": "name=value; Path=/"})
check("GET", "/cookies/set?a=x%3B%20Secure", 400, differs="errors")
check("GET", "/cookies/set?a%20b=1", 400, differs="errors")
check("GET", "/cookies/delete?a", 302, has={"Location": "/cookies", "Set-Cookie": re.compile(r"a=; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Max-Age=0; Path=/")})
check("GET", "/cookies/delete?a=&b=", 302, has={"Set-Cookie": re.compile(r"a=;.* b=;.*")})

# --- credentials --------------------------------------------------------------------


def basic(user, password):
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


CHALLENGE = {"WWW-Authenticate": re.compile(r'Basic realm=".*"')}
check("GET", "/basic-auth/user/secret", 401, has=CHALLENGE)
check("GET", "/basic-auth/user/secret", sent=basic("user", "secret"), json={"": {"authenticated": True, "user": "user"}})
check("GET", "/basic-auth/user/secret", 401, sent=basic("user", "Secret"), has=CHALLENGE)
check("GET", "/basic-auth/user/secret", 401, sent=basic("other", "secret"))
check("GET", "/basic-auth/user/a:b", sent=basic("user", "a:b"), json={"user": "user"})
check("GET", "/basic-auth/user/secret", 401, sent={"Authorization": "Basic ???"})
check("GET", "/basic-auth/user/secret", 401, sent={"Authorization": "Bearer x"})
check("GET", "/basic-auth/user", 404)
check("POST", "/basic-auth/user/secret", sent=basic("user", "secret"), json={"authenticated": True}, differs="methods")
check("GET", "/hidden-basic-auth/user/secret", 404, has={"WWW-Authenticate": GONE})
check("GET", "/hidden-basic-auth/user/secret", sent=basic("user", "secret"), json={"": {"authenticated": True, "user": "user"}})
check("GET", "/hidden-basic-auth/user/secret", 404, sent=basic("user", "no"))
check("GET", "/bearer", 401, has={"WWW-Authenticate": re.compile("Bearer.*")})
check("GET", "/bearer", sent={"Authorization": "Bearer t0ken"}, json={"": {"authenticated": True, "token": "t0ken"}})
check("GET", "/bearer", sent={"Authorization": "Bearer user:style"}, json={"": {"authenticated": True, "token": "user:style"}})
check("GET", "/bearer", 401, sent={"Authorization": "Bearer "}, differs="bearer")
check("GET", "/bearer", 401, sent=basic("user", "secret"), differs="bearer")
for algorithm in ("", "/MD5", "/SHA-256", "/SHA-512"):
    named = algorithm[1:] or "MD5"
    wanted = re.compile(rf'Digest (?=.*realm=".+")(?=.*nonce=".+")(?=.*qop="auth")(?=.*opaque=".+")(?=.*algorithm={named}).*')
    check("GET", f"/digest-auth/auth/user/secret{algorithm}", 401, has={"WWW-Authenticate": wanted, "Set-Cookie": re.compile(r".*fake=fake_value.*")})
    check("GET", f"/digest-auth/auth/user/secret{algorithm}", 401, sent=basic("user", "secret"))
check("GET", "/digest-auth/auth/user/secret", 401, has={"WWW-Authenticate": re.compile('.*realm="slowapi".*')}, differs="realm")
check("GET", "/digest-auth/auth-int/user/secret", 401, has={"WWW-Authenticate": re.compile('.*qop="auth-int".*')})
for path in ("auth/user/secret/MD5/never", "auth/user/secret/MD5/3", "auth/user/secret/SHA-256/10", "auth-int/user/secret/SHA-512/1"):
    check("GET", f"/digest-auth/{path}", 401, has={"WWW-Authenticate": re.compile("Digest .*nonce=.*")})
check("GET", "/digest-auth/auth/user/secret/MD5/x", 400, differs="errors")
check("GET", "/digest-auth/auth/user/secret", 401, sent={"Authorization": "Digest username=user"})
check("GET", "/digest-auth/other/user/secret", 400, differs="errors")
check("GET", "/digest-auth/auth/user/secret/SHA-1", 400, differs="errors")
check("GET", "/digest-auth/auth/user", 404)

# --- codings, caches, fields --------------------------------------------------------

check("GET", "/gzip", has={"Content-Encoding": "gzip", "Content-Type": JSON}, json={"gzipped": True, "method": "GET", "headers.Host": "{host}", "origin": "127.0.0.1"})
check("GET", "/deflate", has={"Content-Encoding": "deflate"}, json={"deflated": True, "method": "GET", "origin": "127.0.0.1"})
check("GET", "/brotli", has={"Content-Encoding": "br"}, json={"brotli": True, "method": "GET", "origin": "127.0.0.1"})
check("GET", "/gzip", sent={"Accept-Encoding": "identity"}, has={"Content-Encoding": "gzip"}, json={"gzipped": True})
check("HEAD", "/gzip", has={"Content-Encoding": "gzip"}, text="")
check("GET", "/cache", has={"ETag": ANY, "Last-Modified": re.compile(r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT")}, json={"url": "http://{host}/cache"})
check("GET", "/cache", 304, sent={"If-None-Match": '"x"'}, text="")
check("GET", "/cache", 304, sent={"If-Modified-Since": "Sun, 06 Nov 1994 08:49:37 GMT"}, text="")
check("GET", "/cache/60", has={"Cache-Control": "public, max-age=60"}, json={"url": "http://{host}/cache/60"})
check("GET", "/cache/0", has={"Cache-Control": "public, max-age=0"})
check("GET", "/cache/x", 400, differs="errors")
check("GET", "/etag/abc", has={"ETag": '"abc"'}, json={"url": "http://{host}/etag/abc"}, differs="etag")
check("GET", "/etag/abc", 304, sent={"If-None-Match": '"abc"'}, text="")
check("GET", "/etag/abc", 304, sent={"If-None-Match": '"x", "abc"'})
check("GET", "/etag/abc", 304, sent={"If-None-Match": 'W/"abc"'})
check("GET", "/etag/abc", 304, sent={"If-None-Match": "*"})
check("GET", "/etag/abc", 200, sent={"If-None-Match": '"x"'})
check("GET", "/etag/abc", 200, sent={"If-Match": '"abc"'})
check("GET", "/etag/abc", 200, sent={"If-Match": "*"})
check("GET", "/etag/abc", 412, sent={"If-Match": '"x"'})
check("GET", "/response-headers?X-A=b", has={"X-A": "b", "Content-Type": JSON}, json={"X-A": "b"})
check("GET", "/response-headers?X-A=1&X-A=2", has={"X-A": "1, 2"}, json={"X-A": ["1", "2"]})
check("GET", "/response-headers?Content-Type=text%2Fplain%3B%20charset%3DUTF-8&Server=tester", has={"Content-Type": "text/plain; charset=UTF-8", "Server": "tester"}, differs="type")
check("POST", "/response-headers?X-A=b", has={"X-A": "b"})
check("GET", "/response-headers?X-A=%0d%0aX-B:1", 400, has={"X-B": GONE}, differs="errors")
check("GET", "/response-headers?a%20b=1", 400, differs="errors")
check("GET", "/trailers?X-T=1&X-U=2", has={"Trailer": "X-T, X-U", "Transfer-Encoding": "chunked"}, json={"X-T": "1", "X-U": "2"}, differs="go")
check("GET", "/trailers?Content-Length=1", 400, differs="go")
check("GET", "/trailers", has={"Trailer": GONE}, json={"": {}}, differs="go")
check("HEAD", "/response-headers?X-A=b", has={"X-A": "b"}, text="")
check("GET", "/response-headers?x-a=b%20c&X-B=%C3%A4", has={"X-A": "b c"}, json={"x-a": "b c", "X-B": "ä"})
check("GET", "/response-headers?Set-Cookie=a%3D1%3B%20Path%3D/&set-cookie=b%3D2", has={"Set-Cookie": "a=1; Path=/, b=2"})
check("GET", "/response-headers?Location=/get", has={"Location": "/get"})
for coding, name in (("gzip", "gzipped"), ("deflate", "deflated"), ("brotli", "brotli")):
    check("GET", f"/{coding}?x=1", sent={"X-Fish": "cod"}, json={name: True, "headers.X-Fish": "cod"})
    check("POST", f"/{coding}", 405, has={"Allow": ANY})
check("GET", "/deflate", sent={"Accept-Encoding": "identity"}, has={"Content-Encoding": "deflate"}, json={"deflated": True})
check("GET", "/brotli", sent={"Accept-Encoding": "identity"}, has={"Content-Encoding": "br"}, json={"brotli": True})

# --- pages --------------------------------------------------------------------------

HTML = re.compile(r"text/html; ?charset=utf-8", re.I)
check("GET", "/html", has={"Content-Type": HTML}, text=re.compile(r".*<h1>.*</html>\s*", re.S))
check("GET", "/xml", has={"Content-Type": "application/xml"}, text=re.compile(r"<\?xml .*<slideshow.*</slideshow>\s*", re.S))
check("GET", "/json", has={"Content-Type": JSON}, json={"slideshow.title": ANY, "slideshow.author": ANY, "slideshow.slides.0.type": "all"}, differs="debian")
check("GET", "/robots.txt", has={"Content-Type": "text/plain"}, text="User-agent: *\nDisallow: /deny\n")
check("GET", "/deny", has={"Content-Type": "text/plain"}, text=ANY)
check("GET", "/encoding/utf8", has={"Content-Type": HTML}, text=re.compile(r".*[\u0400-\u04ff]+.*", re.S), differs="debian")
check("GET", "/forms/post", has={"Content-Type": HTML}, text=re.compile(r'.*<form method="post" action="/post">.*</form>.*', re.S))
check("GET", "/links/3/0", has={"Content-Type": HTML}, text=re.compile(r"<html><head><title>Links</title></head><body>0 <a href='/links/3/1'>1</a> <a href='/links/3/2'>2</a> </body></html>"))
check("GET", "/links/3/2", text=re.compile(r".*<body><a href='/links/3/0'>0</a> <a href='/links/3/1'>1</a> 2 </body>.*"))
check("GET", "/links/3", 302, has={"Location": "/links/3/0"})
check("GET", "/links/0/0", text=re.compile(".*<body></body>.*"), differs="links")
check("GET", "/links/x/0", 400, differs="errors")
check("GET", "/links/257/0", 400, differs="links")
check("GET", "/base64/aGVsbG8gd29ybGQ=", text="hello world")
check("GET", "/base64/SFRUUEJJTiBpcyBhd2Vzb21l", text="HTTPBIN is awesome")
check("GET", "/base64/aGVsbG8gd29ybGQ", text="hello world", differs="base64")
check("GET", "/base64/-__-", text=b"\xfb\xff\xfe", differs="base64")
check("GET", "/base64/!!!", 400, differs="base64")
check("GET", "/base64/decode/aGk=", text="hi", differs="go")
check("GET", "/base64/decode/e30=?content-type=application/json", has={"Content-Type": JSON}, text="{}", differs="go")
check("GET", "/base64/encode/hello%20world", text="aGVsbG8gd29ybGQ=", differs="go")
MAGIC = {"png": (b"\x89PNG", "image/png"), "jpeg": (b"\xff\xd8\xff", "image/jpeg"), "webp": (b"RIFF", "image/webp"), "svg": (b"<", "image/svg+xml")}
for kind, (magic, media_type) in MAGIC.items():
    check("GET", f"/image/{kind}", has={"Content-Type": media_type, "Content-Length": NUMBER})
    check("GET", "/image", sent={"Accept": media_type}, has={"Content-Type": media_type})
check("GET", "/image", sent={"Accept": "image/*"}, has={"Content-Type": "image/png"})
check("GET", "/image", sent={"Accept": "text/html, image/jpeg;q=0.5"}, has={"Content-Type": "image/jpeg"})
check("GET", "/image", 406, sent={"Accept": "text/html"})
check("GET", "/image", sent={"Accept": "*/*"}, has={"Content-Type": "image/png"}, differs="image")
check("GET", "/image", has={"Content-Type": "image/png"})
check("HEAD", "/image/jpeg", has={"Content-Type": "image/jpeg", "Content-Length": NUMBER}, text="")
check("POST", "/image", 405)
check("GET", "/image/tiff", 404)
check("GET", "/nothing/here", 404)
check("GET", "/", 200)
check("GET", "/", has={"Content-Type": "text/plain"}, text="slow api response", differs="root")

# --- bytes and streams --------------------------------------------------------------

check("GET", "/bytes/0", text=b"")
check("GET", "/bytes/1024?seed=1", has={"Content-Length": "1024", "Content-Type": "application/octet-stream"})
check("GET", "/stream-bytes/3000?chunk_size=1000", has={"Content-Type": "application/octet-stream"}, text=re.compile(r"(?s).{1,3000}"))
check("GET", "/stream/3", has={"Content-Type": JSON}, text=re.compile(r'\{.*"id": 0.*\}\n\{.*"id": 1.*\}\n\{.*"id": 2.*\}\n'))
check("GET", "/stream/0", text="")
check("GET", "/stream/2?x=1", sent={"X-Fish": "cod"}, text=re.compile(r'(?:(?=.*"args": \{"x": "1"\})(?=.*"X-Fish": "cod")(?=.*"origin": "127\.0\.0\.1")(?=.*"url": "http://[^"]*/stream/2\?x=1").*\n){2}'))
check("GET", "/stream/101", text=re.compile(r"(\{.*\}\n){101}"), differs="limits")
check("GET", "/stream/x", 400, differs="errors")
check("GET", "/bytes/16?seed=1", text=re.compile(rb"(?s).{16}"))
check("HEAD", "/bytes/16", has={"Content-Length": "16"}, text=b"")
check("GET", "/bytes/102401", has={"Content-Length": "102401"}, differs="limits")
check("GET", "/bytes/x", 400, differs="errors")
check("GET", "/stream-bytes/5?seed=1&chunk_size=2", has={"Content-Type": "application/octet-stream"}, text=re.compile(rb"(?s).{5}"))
check("GET", "/stream-bytes/0", text=b"")
check("GET", "/range/1", text="a")
check("GET", "/range/30?chunk_size=7", text="abcdefghijklmnopqrstuvwxyzabcd")
check("GET", "/range/26?duration=0.05", text="abcdefghijklmnopqrstuvwxyz")
check("HEAD", "/range/26", has={"Content-Length": "26", "Accept-Ranges": "bytes"}, text="")
check("GET", "/range/26", 206, sent={"Range": "bytes=25-99"}, has={"Content-Range": "bytes 25-25/26", "Content-Length": "1"}, text="z", differs="range")
check("GET", "/range/26", 206, sent={"Range": "bytes=0-25"}, has={"Content-Range": "bytes 0-25/26"}, differs="range")
check("GET", "/range/26", 206, sent={"Range": "bytes=0-0", "If-Range": '"range26"'}, text="a")
check("GET", "/range/26", 200, sent={"Range": "bytes=0-0", "If-Range": '"other"'}, has={"Content-Range": GONE}, differs="range")
check("GET", "/range/26", 304, sent={"If-None-Match": '"range26"'}, text="", differs="range")
check("GET", "/range/26", 412, sent={"If-Match": '"other"'}, differs="range")
check("GET", "/range/0", text="", differs="limits")
check("GET", "/range/x", 400, differs="errors")
check("GET", "/range/26", has={"Accept-Ranges": "bytes", "Content-Length": "26", "ETag": re.compile('"?range26"?')}, text="abcdefghijklmnopqrstuvwxyz")
check("GET", "/range/26", 206, sent={"Range": "bytes=0-9"}, has={"Content-Range": "bytes 0-9/26"}, text="abcdefghij")
check("GET", "/range/26", 206, sent={"Range": "bytes=20-"}, has={"Content-Range": "bytes 20-25/26"}, text="uvwxyz")
check("GET", "/range/26", 206, sent={"Range": "bytes=-3"}, has={"Content-Range": "bytes 23-25/26"}, text="xyz")
check("GET", "/range/26", 416, sent={"Range": "bytes=26-30"}, has={"Content-Range": "bytes */26"})
check("GET", "/drip?duration=0&numbytes=5&delay=0", has={"Content-Type": "application/octet-stream"}, text="*****")
check("GET", "/drip?duration=0.05&numbytes=3&code=202", 202, text="***")
check("GET", "/drip?duration=0&numbytes=1&code=503", 503, text="*")
check("GET", "/drip?duration=0&numbytes=2&delay=0.05", text="**")
check("HEAD", "/drip?duration=0&numbytes=4", has={"Content-Length": "4"}, text="")
check("GET", "/drip?duration=0&numbytes=0", text="", differs="limits")
check("GET", "/drip?duration=x", 400, differs="errors")
check("GET", "/drip?numbytes=-1", 400)
check("GET", "/drip?duration=0&numbytes=1&code=99", 400, differs="errors")
check("GET", "/sse?count=1&duration=0&delay=0.02&jitter=0.5", text=re.compile(r"event: ping\ndata: \{.*\}\n\n"), differs="go")
check("GET", "/sse?count=0&duration=0", text="", differs="go")
check("GET", "/sse?count=x", 400, differs="go")
check("GET", "/jsonl?count=3&duration=0.02&jitter=1", has={"Content-Type": "application/jsonl"}, text=re.compile(r'(\{"id": ?\d+,"timestamp": ?\d+\}\n){3}'), differs="go")
check("GET", "/sse?count=2&duration=0", has={"Content-Type": "text/event-stream"}, text=re.compile(r"(event: ping\ndata: \{.*\}\n\n){2}"), differs="go")
check("GET", "/jsonl?count=2&duration=0", text=re.compile(r"(\{.*\}\n){2}"), differs="go")
check("GET", "/unstable?failure_rate=1", 500, differs="go")
check("GET", "/unstable?failure_rate=1&seed=3", 500, differs="go")
check("GET", "/unstable?failure_rate=2", 400, differs="go")
check("GET", "/unstable?failure_rate=0", 200, differs="go")

# --- WebSockets ---------------------------------------------------------------------

UPGRADE = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-Websocket-Version": "13", "Sec-Websocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}
check("GET", "/websocket/echo", 426, has={"Upgrade": "websocket", "Sec-WebSocket-Version": "13"}, differs="go")
check("GET", "/websocket/echo", 426, sent=UPGRADE | {"Sec-Websocket-Version": "8"}, has={"Sec-WebSocket-Version": "13"}, differs="go")
check("GET", "/websocket/echo", 400, sent=UPGRADE | {"Sec-Websocket-Key": "short"}, differs="go")
check("GET", "/websocket/echo?max_message_size=2m", 400, sent=UPGRADE, differs="go")
check("GET", "/websocket/echo?max_message_size=10&max_fragment_size=11", 400, sent=UPGRADE, differs="go")
check("POST", "/websocket/echo", 405, differs="go")

# --- other origins ------------------------------------------------------------------

for place in ("/get", "/status/404", "/headers", "/cookies", "/bytes/1", "/basic-auth/u/p"):
    code = {"/status/404": 404, "/basic-auth/u/p": 401}.get(place, 200)
    check("GET", place, code, has=CORS)
    check("GET", place, code, sent={"Origin": "https://example.com"}, has={"Access-Control-Allow-Origin": "https://example.com"})
ASKED = {"Origin": "https://example.com", "Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": "X-One, X-Two"}
for place in ("/put", "/anything", "/status/500", "/uuid"):
    check("OPTIONS", place, 200, sent={"Origin": "null", "Access-Control-Request-Method": "DELETE"}, has={"Access-Control-Allow-Origin": "null", "Access-Control-Allow-Headers": GONE})
    check("OPTIONS", place, 200, sent=ASKED, has={"Access-Control-Allow-Origin": "https://example.com", "Access-Control-Allow-Headers": "X-One, X-Two", "Access-Control-Allow-Methods": ANY})


def digest(challenge, method, uri, user, password, body=b"", **changes):
    """The value of Authorization that answers a challenge (RFC 7616)."""
    given = dict(re.findall(r'(\w+)="?([^",]+)"?', challenge.split(" ", 1)[1]))
    given.update(changes)
    name = given.get("algorithm", "MD5")
    plain = {"MD5": "md5", "SHA-256": "sha256", "SHA-512": "sha512", "SHA-512-256": "sha512_256"}[name.removesuffix("-sess")]
    h = lambda *parts: hashlib.new(plain, b":".join(part.encode() if isinstance(part, str) else part for part in parts)).hexdigest()
    nc, cnonce = given.get("nc", "00000001"), "0a4f113b"
    first = h(user, given["realm"], password)
    if name.endswith("-sess"):
        first = h(first, given["nonce"], cnonce)
    second = h(method, uri, h(body)) if given["qop"] == "auth-int" else h(method, uri)
    response = h(first, given["nonce"], nc, cnonce, given["qop"], second)
    return (
        f'Digest username="{user}", realm="{given["realm"]}", nonce="{given["nonce"]}", uri="{uri}", algorithm={name}, '
        f'qop={given["qop"]}, nc={nc}, cnonce="{cnonce}", response="{response}", opaque="{given.get("opaque", "")}"'
    )
