# SPDX-License-Identifier: MIT
"""srv slowapi: bodies that were chosen, templates, files, codings, and requests told back with their bodies."""

import gzip
import json
import os
import re
import zlib

import brotli
import pytest
from harness import Client, RawConnection, get, raw, request, wait_for
from test_slowapi_shapes import Control


@pytest.fixture
def files(tmp_path):
    """A folder of files, among them ways out of it."""
    folder = tmp_path / "files"
    (folder / "sub").mkdir(parents=True)
    (folder / "a.json").write_text('{"hello":"{{query.n}}"}')
    (folder / "sub/page.HTML").write_text("<p>page</p>")
    (folder / "empty.txt").write_text("")
    (folder / "big.bin").write_bytes(os.urandom(300_000))
    (folder / "huge").write_bytes(os.urandom(3_000_000))
    (tmp_path / "secret").write_text("secret")
    (folder / "link").symlink_to(tmp_path / "secret")
    (folder / "inner").symlink_to("a.json")
    (folder / "out").symlink_to(tmp_path)
    (folder / "sub/up").symlink_to("..")
    os.mkfifo(folder / "fifo")
    return folder


def encoded(text):
    return "".join(c if c.isalnum() else "".join(f"%{byte:02X}" for byte in c.encode()) for c in text)


# --- where a body can be chosen -----------------------------------------------------


def test_a_body_can_be_given_in_all_five_places(slowapi, tmp_path):
    rules = tmp_path / "rules.json"
    rules.write_text(json.dumps([{"path": "/rule", "params": "body=of a rule"}]))
    api = slowapi("--delay", "0", "--params", "body=of the options", "--rules", str(rules))
    client = Client(api)
    assert client.ask("GET", "/").text == "of the options"
    assert client.ask("GET", "/rule").text == "of a rule"
    assert client.ask("GET", "/rule?body=of+a+query%21").text == "of a query!"
    reply = client.ask("GET", "/rule?body=no", headers={"X-Slowapi": "body=of a header, with a comma,&type=text/x; a=b"})
    assert (reply.text, reply.headers["content-type"]) == ("of a header, with a comma,", "text/x; a=b")
    assert client.ask("HEAD", "/").headers["content-length"] == "14"
    assert client.ask("GET", "/?body=").text == ""
    bind = slowapi("--delay", "0", "--bind", "127.0.0.1:0?body=of an address")
    assert get(bind, "/").text == "of an address"


def test_the_last_layer_chooses_whatever_it_chooses(slowapi, files):
    api = slowapi("--delay", "0", "--files", str(files), "--params", "body=text")
    for header, path, size in [("", "/?size=7", 7), ("body=four", "/?size=7", 4), ("body-file=a.json", "/?body=x", 23), ("body=x", "/?body-file=a.json", 1)]:
        assert len(get(api, path, headers={"X-Slowapi": header}).body) == size, (header, path)


def test_a_rule_has_a_body_of_its_own(slowapi):
    control = Control(api := slowapi("--delay", "0", "--control", "127.0.0.1:0"))
    rules = [
        {"path": "/json", "body": {"id": "{{query.id}}", "list": [1, None, True]}},
        {"path": "/number", "body": 7},
        {"path": "/price", "body": {"price": 19.99}},
        {"path": "/text", "body": "a&b=c", "params": "status=201"},
        {"path": "/typed", "body": ["x"], "type": "application/x+json"},
        {"path": "/empty", "body": ""},
    ]
    assert control.ask("PUT", "/rules", json.dumps(rules))[0] == 200
    client = Client(api)
    reply = client.ask("GET", "/json?id=%22q")
    assert (json.loads(reply.text), reply.headers["content-type"]) == ({"id": '"q', "list": [1, None, True]}, "application/json")
    assert client.ask("GET", "/number").text == "7"
    assert client.ask("GET", "/price").text == '{"price":19.99}'
    assert '{"price":19.99}' in control.ask("GET", "/rules")[1].replace(" ", "")
    reply = client.ask("GET", "/text")
    assert (reply.status, reply.text, reply.headers["content-type"]) == (201, "a&b=c", "text/plain")
    assert client.ask("GET", "/typed").headers["content-type"] == "application/x+json"
    assert client.ask("GET", "/empty").body == b""


@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        ({"body": "{{nope}}"}, "rule 1: body has {{nope}}; allowed: query.NAME"),
        ({"body": "{{now"}, "rule 1: body has {{ without }}"),
        ({"body-file": "a"}, "rule 1: body-file=a needs --files DIR"),
        ({"body": "a", "body-file": "b"}, "rule 1: has both body and body-file"),
        ({"body-file": 7}, 'rule 1: has "body-file" that is no text'),
        ({"body": "a", "type": "nonsense"}, "rule 1: type=nonsense is no media type"),
        ({"path": "/x"}, "rule 1: has no params, and no body either"),
    ],
)
def test_a_bad_body_of_a_rule_is_refused_with_its_reason(slowapi, rule, reason):
    status, text = Control(slowapi("--control", "127.0.0.1:0")).ask("PUT", "/rules", json.dumps([rule]))
    assert status == 400 and text.startswith(reason) and text.count("\n") == 1


@pytest.mark.parametrize(
    ("args", "reason"),
    [
        (("--params", "body={{nope}}"), "body has {{nope}}; allowed: query.NAME"),
        (("--params", "body-file=a"), "body-file=a needs --files DIR"),
        (("--params", "type=nonsense"), "type=nonsense is no media type"),
        (("--params", "encoding=zip"), "encoding=zip is not known; allowed: gzip"),
        (("--params", "template=perhaps"), "template=perhaps is neither true nor false"),
        (("--files", "/", "--params", "body-file=no/such"), "body-file=no/such is not there"),
        (("--bind", "127.0.0.1:0?body={{x}}"), "body has {{x}}"),
    ],
)
def test_a_bad_default_body_is_a_usage_error(srv_run, args, reason):
    done = srv_run("slowapi", "--bind", "127.0.0.1:0", *args)
    assert done.returncode == 2 and reason in done.stderr and done.stderr.count("\n") == 1


def test_a_folder_that_is_none_cannot_be_served(srv_run, tmp_path):
    for folder in (tmp_path / "none", "/dev/null"):
        done = srv_run("slowapi", "--bind", "127.0.0.1:0", "--files", str(folder))
        assert done.returncode == 1 and f"cannot open the folder '{folder}' of --files" in done.stderr


# --- templates ----------------------------------------------------------------------

TEMPLATES = [
    # body, query, type, what it becomes; the request is POST with JSON and X-Name: a "b"
    ("plain", "", "", "plain"),
    ("{{query.n}}", "n=1%262", "", "1&2"),
    ("{{ query.n }}|{{query.m}}|", "n=1&n=2", "", "1||"),
    ("{{query.a.b}}", "a.b=c", "", "c"),
    ("{{header.x-name}}{{header.X-None}}", "", "", 'a "b"'),
    ("{{json.user.name}}", "", "", 'Zoë "Z"'),
    ("{{json.list.1}}", "", "", "two"),
    ("{{json.list}}", "", "", '[1,"two",{"x":null}]'),
    ("{{json.list.2.x}}{{json.list.9}}{{json.user.name.x}}{{json.list.x}}", "", "", "null"),
    ("{{json.number}}{{json.flag}}", "", "", "1.5true"),
    ("{{json.prices.0}} {{json.prices}}", "", "", "19.99 [19.99,-0.1]"),
    ("{{method}} {{path}}", "", "", "POST /"),
    ("{{body}}", "", "", None),
    ('{"n":"{{query.n}}"}', "n=%22%5C%0A", "application/json", '{"n":"\\"\\\\\\n"}'),
    ('{"l":{{json.list}}}', "", "application/problem+json; a=b", '{"l":[1,"two",{"x":null}]}'),
    ('{"a":{"b":{{json.number}}}}', "", "application/json", '{"a":{"b":1.5}}'),
    ("<p>{{query.n}}</p>", "n=%3Cb%3E%26%22%27", "text/html; charset=utf-8", "<p>&lt;b&gt;&amp;&quot;&#39;</p>"),
    ("<p>{{query.n}}</p>", "n=%3Cb%3E", "text/plain", "<p><b></p>"),
    ("<p>{{json.list}}</p>", "", "application/xml", "<p>[1,&quot;two&quot;,{&quot;x&quot;:null}]</p>"),
    ("{ {query.n} }", "n=1", "", "{ {query.n} }"),
    ("}}", "", "", "}}"),
]
ASKED = json.dumps({"user": {"name": 'Zoë "Z"'}, "list": [1, "two", {"x": None}], "number": 1.5, "flag": True, "prices": [19.99, -0.1]})


@pytest.fixture
def asker(slowapi):
    client = Client(slowapi("--delay", "0"))
    yield lambda path, **headers: client.ask("POST", path, ASKED, {"X-Name": 'a "b"', **headers})
    client.close()


def test_placeholders_stand_for_parts_of_the_request(asker):
    for body, query, media_type, text in TEMPLATES:
        path = f"/?body={encoded(body)}&{query}" + (f"&type={encoded(media_type)}" if media_type else "")
        reply = asker(path)
        assert (reply.status, reply.text) == (200, ASKED if text is None else text), path
        assert reply.headers["content-type"] == (media_type or "text/plain")


def test_time_and_ids_are_made_for_each_request(asker):
    path = f"/?body={encoded('{{now}} {{uuid}}')}"
    first, second = asker(path).text.split(), asker(path).text.split()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", first[0]) and first[0] <= second[0]
    assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", first[1]) and first[1] != second[1]
    assert asker(path + "&seed=4").text.split()[1] == asker(path + "&seed=4").text.split()[1]


def test_the_number_counts_as_sequences_do(slowapi):
    control = Control(api := slowapi("--delay", "0", "--workers", "2", "--control", "127.0.0.1:0"))
    path = f"/?body={encoded('{{seq}}')}"
    assert [get(api, path).text for _ in range(3)] == ["1", "2", "3"]
    assert [get(api, path + "&key=a").text for _ in range(2)] == ["1", "2"]
    assert [(r.status, r.text) for r in (get(api, path + "&seq=503,200&key=b") for _ in range(3))] == [(503, "1"), (200, "2"), (503, "3")]
    control.ask("DELETE", "/sequences")
    assert get(api, path).text == "1"


def test_arguments_of_a_template_are_no_unknown_parameters(slowapi):
    api = slowapi("--delay", "0", "--strict-params")
    assert get(api, f"/?body={encoded('{{query.n}}')}&n=1").text == "1"
    assert get(api, "/?n=1").status == 400
    assert get(api, "/?template=true").status == 400


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("body=%7B%7Bx%7D%7D", "body has {{x}}; allowed: query.NAME, header.NAME"),
        ("body=%7B%7Bquery.%7D%7D", "body has {{query.}}"),
        ("body=%7B%7B%7D%7D", "body has {{}}"),
        ("body=%7B%7Bnow", "body has {{ without }}"),
        ("body=%7B%7B%0A%7D%7D", "body has {{\\n}}"),
        ("body=%zz", "body has a bad percent-escape"),
        ("body=%00", "body has a bad percent-escape"),
        ("type=x", "type=x is no media type"),
        ("type=a/b%0d%0aX:y", "type=a/b%0d%0aX:y is no media type"),
        ("type=a%20b/c", "type=a%20b/c is no media type"),
        ("template=1", "template=1 is neither true nor false"),
        ("encoding=zip", "encoding=zip is not known"),
        ("size=2m&encoding=gzip", "encoding=gzip of more than 1m"),
        ("body-file=a", "body-file=a needs --files DIR"),
    ],
)
def test_a_bad_body_gets_a_400_that_says_why(slowapi, query, reason):
    reply = get(slowapi("--delay", "0"), f"/?{query}")
    assert reply.status == 400 and reply.text.startswith(reason), reply.text
    assert reply.text.count("\n") == 1 and reply.text.endswith("\n")


def test_a_template_can_be_switched_off(slowapi):
    assert get(slowapi("--delay", "0"), "/?body=%7B%7Bx%7D%7D&template=false").text == "{{x}}"


def test_what_a_template_makes_is_bounded(slowapi):
    api = slowapi("--delay", "0")
    path = "/?body=" + encoded("{{body}}") * 100
    assert len(request(api, "POST", path, b"x" * 50_000).body) == 5_000_000
    reply = request(api, "POST", path, b"x" * 100_000)
    assert (reply.status, reply.text) == (400, "the body is longer than 8m with its values in it\n")
    reply = request(api, "POST", path, b"x" * 1_048_577)
    assert (reply.status, reply.text) == (413, "the request body is longer than 1m, the most that is kept\n")
    chunked = [b"x" * 600_000, b"x" * 600_000]
    with RawConnection(api) as conn:
        conn.send(b"POST /anything HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        for chunk in chunked:
            conn.send(b"%x\r\n%s\r\n" % (len(chunk), chunk))
        assert conn.read_response().status == 413


def test_what_sleeping_answers_hold_is_bounded(slowapi):
    control = Control(api := slowapi("--delay", "0", "--control", "127.0.0.1:0"))
    body, sleepers = b"x" * 1_000_000, []
    head = b"POST /anything?delay=600 HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: 1000000\r\n\r\n"
    for count in range(1, 80):
        sleepers.append(RawConnection(api))
        sleepers[-1].send(head + body)
        stats = wait_for(lambda: (s := control.stats()) and (s["in_flight"] == count or s["status"]["5xx"]) and s)
        if stats["status"]["5xx"]:
            break
    assert 60 < count < 72
    assert get(api, "/?body=short").text == "short"
    for conn in sleepers:
        conn.reset()
    wait_for(lambda: control.stats()["in_flight"] == 0)
    assert request(api, "POST", "/anything", body).status == 200


# --- files --------------------------------------------------------------------------


def test_files_are_sent_with_the_type_of_their_name(slowapi, files):
    client = Client(slowapi("--delay", "0", "--files", str(files)))
    for name, media_type in [("a.json", "application/json"), ("sub/page.HTML", "text/html; charset=utf-8"), ("empty.txt", "text/plain; charset=utf-8"), ("big.bin", "application/octet-stream"), ("huge", "application/octet-stream")]:
        reply = client.ask("GET", f"/?body-file={name}")
        assert (reply.status, reply.body, reply.headers["content-type"]) == (200, (files / name).read_bytes(), media_type), name
        assert client.ask("HEAD", f"/?body-file={name}").headers["content-length"] == str((files / name).stat().st_size)
    assert client.ask("GET", "/?body-file=a.json&type=text/x").headers["content-type"] == "text/x"
    assert client.ask("GET", "/?body-file=a.json&template=true&n=7").text == '{"hello":"7"}'
    reply = client.ask("GET", "/?body-file=huge&template=true")
    assert (reply.status, reply.text) == (400, "body-file is longer than 1m, too long for a template\n")
    client.close()


def test_no_path_leads_out_of_the_folder(slowapi, files, tmp_path):
    client = Client(slowapi("--delay", "0", "--files", str(files)))
    ways = ["../secret", "sub/../../secret", "sub/../a.json", "..", str(tmp_path / "secret"), "/etc/passwd", "link", "inner", "out/secret", "sub/up/a.json", "fifo", "sub", ".", "", "none", "a.json/", "a.json/x", "x" * 300]
    for way in ways:
        reply = client.ask("GET", f"/?body-file={encoded(way)}")
        assert (reply.status, reply.text.count("\n")) == (400, 1) and reply.text.startswith("body-file="), way
        assert "secret" not in reply.text.replace(way, "")
    client.close()


def test_a_file_is_read_anew_and_may_be_cut_while_it_is_sent(slowapi, files):
    api = slowapi("--delay", "0", "--files", str(files))
    assert get(api, "/?body-file=a.json").text == '{"hello":"{{query.n}}"}'
    (files / "a.json").write_text("new")
    assert get(api, "/?body-file=a.json").text == "new"
    with RawConnection(api) as conn:
        conn.send(b"GET /?body-file=huge&encoding=identity&fault=hang=0.3@body HTTP/1.1\r\nHost: x\r\n\r\n")
        conn.read_until(b"\r\n\r\n")
        os.truncate(files / "huge", 1000)
        assert len(conn.read_until_close()) <= 1000
    assert get(api, "/").status == 200


# --- codings ------------------------------------------------------------------------

DECODERS = {"gzip": gzip.decompress, "deflate": zlib.decompress, "br": brotli.decompress}


@pytest.mark.parametrize(
    ("accept", "coding"),
    [("gzip", "gzip"), ("deflate", "deflate"), ("br", "br"), ("gzip, deflate, br", "br"), ("gzip;q=1, br;q=0.5", "gzip"), ("identity", None), ("zstd", None), ("gzip;q=0", None), (None, None)],
)
def test_a_chosen_body_is_coded_as_the_client_asks(slowapi, files, accept, coding):
    client = Client(slowapi("--delay", "0", "--files", str(files)))
    headers = {"Accept-Encoding": accept} if accept else {}
    for path, plain in [("/?body=" + "hello" * 50, b"hello" * 50), ("/?body-file=a.json", (files / "a.json").read_bytes()), ("/?body-file=big.bin", (files / "big.bin").read_bytes())]:
        reply = client.ask("GET", path, headers=headers)
        assert reply.headers.get("content-encoding") == coding
        assert reply.headers.get("vary") == ("Accept-Encoding" if coding else None)
        assert (DECODERS[coding](reply.body) if coding else reply.body) == plain
    assert "content-encoding" not in client.ask("GET", "/", headers=headers).headers
    assert "content-encoding" not in client.ask("GET", "/?body-file=huge", headers=headers).headers
    client.close()


@pytest.mark.parametrize("coding", sorted(DECODERS))
def test_a_coding_can_be_asked_for_anywhere(slowapi, coding):
    client = Client(slowapi("--delay", "0"))
    for path, plain in [("/?", b"slow api response"), ("/?size=70000&seed=1", None), ("/bytes/5000?seed=3", None), ("/?body=x", b"x"), ("/?body=", b""), ("/range/26?", b"abcdefghijklmnopqrstuvwxyz")]:
        reply = client.ask("GET", f"{path}&encoding={coding}")
        assert reply.headers["content-encoding"] == coding and "vary" not in reply.headers, path
        assert DECODERS[coding](reply.body) == (client.ask("GET", path).body if plain is None else plain)
    for path in ("/sse?count=1&duration=0", "/?status=204&body=x", "/range/26?x"):
        reply = client.ask("GET", f"{path}&encoding={coding}", headers={"Range": "bytes=0-3"})
        assert "content-encoding" not in reply.headers, path
    client.close()


def test_faults_strike_chosen_bodies(slowapi, files):
    api = slowapi("--delay", "0", "--files", str(files))
    big = (files / "big.bin").read_bytes()
    answer = raw(api, b"GET /?body-file=big.bin&fault=fin@50 HTTP/1.1\r\nHost: x\r\n\r\n")
    assert answer.split(b"\r\n\r\n", 1)[1] == big[:150_000]
    reply = get(api, "/?body=abc&fault=corrupt")
    assert reply.body != b"abc" and len(reply.body) == 3
    reply = get(api, "/?body-file=a.json&header=Transfer-Encoding:chunked")
    assert reply.headers["transfer-encoding"] == "chunked" and reply.body == (files / "a.json").read_bytes()
    reply = get(api, "/?body=hello&fault=bandwidth=1k&delay=50ms")
    assert reply.text == "hello"


def test_the_limit_of_an_exchange_holds_for_bodies_that_come_late(slowapi):
    api = slowapi("--delay", "0", "--max-delay", "1s")
    path = f"/?body={encoded('{{body}}')}&fault=bandwidth=1k"
    assert request(api, "POST", path, b"x" * 500).status == 200
    reply = request(api, "POST", path, b"x" * 5000)
    assert reply.status == 400 and "more than --max-delay" in reply.text


# --- requests told back with their bodies -------------------------------------------


def test_early_answers_tell_what_has_come(slowapi):
    with RawConnection(slowapi("--delay", "0")) as conn:
        conn.send(b"POST /anything?fault=early HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n")
        assert json.loads(conn.read_response().body)["data"] == ""


def test_kept_requests_are_counted_as_others_are(slowapi):
    control = Control(api := slowapi("--delay", "0", "--control", "127.0.0.1:0"))
    client = Client(api)
    for n in range(50):
        body = bytes([65 + n % 26]) * (n * 1000)
        echo = json.loads(client.ask("PUT", "/anything?delay=1ms", body, {"Content-Type": "text/plain"}).text)
        assert echo["data"] == body.decode()
    client.close()
    with RawConnection(api) as conn:
        conn.send(b"POST /anything HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf")
    wait_for(lambda: control.stats()["in_flight"] == 0)
    stats = control.stats()
    assert (stats["requests"], stats["answers"], stats["status"]["2xx"]) == (51, 50, 50)
