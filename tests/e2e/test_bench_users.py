# SPDX-License-Identifier: MIT
"""srv bench's users who remember: cookies kept by connection, redirects followed."""

import json

import pytest
from rawserver import BODY, RawServer, answer


def redirect(to, status=b"302 Found"):
    return b"HTTP/1.1 %s\r\nLocation: %s\r\nContent-Length: 5\r\n\r\nmoved" % (status, to)


def lines_of(server):
    return [head.split(b"\r\n")[0].decode() for head in server.heads]


def run(srv_run, tmp_path, *args):
    done = srv_run("bench", "-q", "--json", tmp_path / "json", *args)
    return done, json.loads((tmp_path / "json").read_text())


@pytest.mark.parametrize("keep", [("-k",), ()])
def test_slowapis_redirects_are_followed(slowapi, bench_json, keep):
    api = slowapi()
    for path in ("redirect/3", "relative-redirect/3", "absolute-redirect/3"):
        code, report = bench_json(*keep, "-n", 6, "-c", 2, "--follow", 5, api.url + path)
        assert code == 0 and report["statuses"] == {"200": 6}, path
        assert report["redirects"] == {"hops": 18, "elsewhere": 0}
        assert report["hop_us"]["count"] == 24 and report["totals"]["requests"] == 6
        assert report["hop_us"]["p50"] < report["latency_us"]["p50"]


def test_a_chain_that_is_too_long_has_failed(slowapi, bench_json):
    report = bench_json("-k", "-n", 2, "--follow", 2, slowapi().url + "redirect/3")[1]
    assert report["failures"]["redirects"] == 2 == report["totals"]["failed"]
    with RawServer([redirect(b"/t")]) as server:
        report = bench_json("-k", "-n", 1, "--follow", 7, server.url)[1]
        assert report["failures"]["redirects"] == 1 and server.requests == 8


@pytest.mark.parametrize(
    "status, methods",
    [
        (b"301 x", ["POST", "GET"]),
        (b"302 x", ["POST", "GET"]),
        (b"303 x", ["POST", "GET"]),
        (b"307 x", ["POST", "POST"]),
        (b"308 x", ["POST", "POST"]),
    ],
)
def test_methods_change_as_with_curl(srv_run, status, methods):
    with RawServer([redirect(b"/there", status), answer()]) as server:
        done = srv_run("bench", "-k", "-n", 1, "--body", "text", "-H", "X-Mine: 1", "--follow", 3, server.url)
        assert done.returncode == 0, done.stdout
    assert lines_of(server) == [f"{methods[0]} /t HTTP/1.1", f"{methods[1]} /there HTTP/1.1"]
    assert server.bodies == [b"text", b"text" if methods[1] == "POST" else b""]
    assert (b"Content-Type" in server.heads[1]) == (methods[1] == "POST")
    assert all(b"X-Mine: 1" in head for head in server.heads)


@pytest.mark.parametrize("method", ["PUT", "HEAD"])
def test_other_methods_stay(srv_run, method):
    # An answer to HEAD has no body, whatever it says of its length.
    script = [b"HTTP/1.1 302 x\r\nLocation: /there\r\nContent-Length: 0\r\n\r\n", b"HTTP/1.1 204 No\r\n\r\n"]
    with RawServer(script) as server:
        done = srv_run("bench", "-k", "-n", 1, "-m", method, "--follow", 3, server.url)
        assert done.returncode == 0, done.stdout
    assert lines_of(server) == [f"{method} /t HTTP/1.1", f"{method} /there HTTP/1.1"]


@pytest.mark.parametrize(
    "location, target",
    [
        (b"/x?y=z#part", "/x?y=z"),
        (b"x", "/a/x"),
        (b"./x/../z", "/a/z"),
        (b"../../../x", "/x"),
        (b"?q", "/a/b?q"),
        (b"..", "/"),
        (b"/a:b", "/a:b"),
    ],
)
def test_locations_are_resolved(srv_run, location, target):
    with RawServer([redirect(location), answer()]) as server:
        done = srv_run("bench", "-k", "-n", 1, "--follow", 3, server.url[:-1] + "a/b?old")
        assert done.returncode == 0, done.stdout
    assert lines_of(server)[1] == f"GET {target} HTTP/1.1"


def test_another_origin_is_told_and_not_asked(srv_run, tmp_path):
    with RawServer([answer()]) as other, RawServer([redirect(other.url.encode())]) as server:
        _, report = run(srv_run, tmp_path, "-k", "-n", 3, "--follow", 3, server.url)
        assert other.requests == 0
    assert report["redirects"] == {"hops": 0, "elsewhere": 3} and report["statuses"] == {"302": 3}
    with RawServer([redirect(b"http://127.0.0.1:%d/here"), answer()]) as server:
        server.script[0] = server.script[0].replace(b"%d", b"%d" % server.port)
        _, report = run(srv_run, tmp_path, "-k", "-n", 1, "--follow", 3, server.url)
        assert lines_of(server)[1] == "GET /here HTTP/1.1"


def test_a_location_that_forges_a_request_is_not_followed(srv_run, tmp_path):
    with RawServer([redirect(b"/a b"), redirect(b"/a\tX: y"), answer()]) as server:
        _, report = run(srv_run, tmp_path, "-k", "-n", 3, "--follow", 3, server.url)
    assert report["redirects"]["elsewhere"] == 2 and server.requests == 3


@pytest.mark.parametrize("location", [b"s/" + b"z" * 800, b"?" + b"q" * 800], ids=["path", "query"])
def test_a_location_that_becomes_too_long_is_not_followed(srv_run, tmp_path, location):
    with RawServer([redirect(location)]) as server:
        path = "/" + "p" * 1000 + "/x"
        report = run(srv_run, tmp_path, "-k", "-n", 1, "--follow", 3, server.url.replace("/t", path))[1]
        assert lines_of(server) == [f"GET {path} HTTP/1.1"]
    assert report["redirects"] == {"hops": 0, "elsewhere": 1} and report["statuses"] == {"302": 1}


def test_each_connection_has_cookies_of_its_own(srv_run, slowapi, tmp_path):
    """A counter per user: each one's next value is one more than what he sent."""
    seen = []

    def count(conn):
        head = server.heads[-1].decode()
        value = next((line.split("n=")[1] for line in head.split("\r\n") if line.startswith("Cookie:") and "n=" in line), "0")
        seen.append(int(value))
        conn.sendall(b"HTTP/1.1 200 OK\r\nSet-Cookie: n=%d; Path=/\r\nContent-Length: 0\r\n\r\n" % (int(value) + 1))

    with RawServer([count]) as server:
        done, report = run(srv_run, tmp_path, "-k", "-n", 5, "-c", 1, "--cookies", "keep", server.url)
        assert done.returncode == 0 and seen == [0, 1, 2, 3, 4]
        assert report["cookies"] == {"kept": 5, "refused": 0}
        seen.clear()
        run(srv_run, tmp_path, "-k", "-n", 3, "-c", 1, server.url)
        assert seen == [0, 0, 0]
    url = slowapi().url + "cookies/set?a=1"
    done = srv_run("bench", "-n", 4, "-c", 2, "--cookies", "keep", "-C", "own=2", "--follow", 2, "--expect-body", '"a": "1"', url)
    assert done.returncode == 0, done.stdout
    done = srv_run("bench", "-n", 4, "-c", 2, "--cookies", "keep", "-C", "own=2", "--follow", 2, "--expect-body", '"own": "2"', url)
    assert done.returncode == 0, done.stdout


def test_cookies_of_others_are_refused(srv_run, tmp_path):
    script = [answer(b"Set-Cookie: a=1; Domain=example.com\r\nSet-Cookie: b=2; Secure\r\nSet-Cookie: c=3; Path=/other\r\n"), answer()]
    with RawServer(script) as server:
        _, report = run(srv_run, tmp_path, "-k", "-n", 2, "--cookies", "keep", server.url)
    assert report["cookies"] == {"kept": 1, "refused": 2} and b"Cookie" not in server.heads[1]
    assert report["totals"]["body_bytes"] == 2 * len(BODY)


@pytest.mark.parametrize(
    "args",
    [
        ("--follow", "51"),
        ("--follow", "x"),
        ("--cookies", "eat"),
        ("--follow", "2", "--requests-file", "/dev/null"),
        ("--cookies", "keep", "--templates"),
        ("--follow", "2", "--body-stream", "/etc/hostname"),
        ("--follow", "2", "-X", "127.0.0.1:9"),
        ("--cookies", "keep", "--ab-strict"),
    ],
)
def test_what_cannot_be_is_refused_in_a_line(srv_run, args):
    done = srv_run("bench", *args, "http://127.0.0.1:9/")
    assert done.returncode == 2 and args[0][2:] in done.stderr and done.stderr.count("\n") == 1
