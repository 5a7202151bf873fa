# SPDX-License-Identifier: MIT
"""srv slowapi: how parameters are spelled, which of them counts, what they may not ask for, and what happens to the rest."""

import json
import time

import pytest
from harness import Client, RawConnection, get, raw, request
from test_slowapi_shapes import Control, at_once, timed

TEXT = "slow api response"


# --- the spelling -----------------------------------------------------------------------


def test_paths_and_parameters_are_decoded(slowapi):
    client = Client(slowapi("--delay", "0"))
    seen = {client.ask("GET", f"/status/200%3A8%2C503%3A2?s%65ed={n}").status for n in range(60)}
    assert seen == {200, 503}
    assert client.ask("GET", "/status/4%318").status == 418
    assert len(client.ask("GET", "/bytes/%31k").body) == 1024
    assert client.ask("GET", "/%68eaders").status == client.ask("GET", "/bytes%2F3").status == 200
    assert client.ask("GET", "/?st%61tus=4%318").status == 418
    echo = json.loads(client.ask("GET", "/anything/%61?n%61me=a%20b+c&%=%zz").text)
    assert (echo["args"], echo["url"]) == ({"name": "a b c", "%": "%zz"}, "http://localhost/anything/%61?n%61me=a%20b+c&%=%zz")
    for path in ("/%", "/%4", "/%zz", "/a%00", "/bytes/%"):
        assert client.ask("GET", path).status == 400, path
    assert client.ask("GET", "/delay/+1").text.startswith("delay=+1 is not")  # a plus of a path is no space
    client.close()


def rule_names(slowapi, patterns):
    """A function from a path to the pattern of the rule that it finds."""
    api = slowapi("--control", "0", "--delay", "0")
    rules = [{"name": f"r{i}", "path": pattern, "params": ""} for i, pattern in enumerate(patterns)]
    status, text = Control(api).ask("PUT", "/rules", json.dumps(rules))
    assert status == 200, text

    def of(path):
        name = get(api, path).headers.get("x-slowapi-rule")
        return name and patterns[int(name[1:])]

    return of


def test_rules_match_the_decoded_path(slowapi):
    of = rule_names(slowapi, ["/pay", "/a b", "/50%25", "/%2A", "/caf%C3%A9"])
    assert of("/p%61y") == "/pay"
    assert of("/a%20b") == "/a b" and of("/a+b") is None
    assert of("/50%25") == "/50%25" and of("/*") == of("/%2a") == "/%2A" and of("/x") is None
    assert of("/caf%c3%a9") == "/caf%C3%A9"


def test_a_star_stands_for_text_of_one_segment_and_two_for_any_text(slowapi):
    of = rule_names(slowapi, ["/a/*/c", "/b*d*f", "/*.js", "/e/*", "/A**/c", "/s/**/t/**"])
    for path, pattern in [
        ("/a/1/c", "/a/*/c"),
        ("/a/1/2/c", None),
        ("/a//c", "/a/*/c"),
        ("/a/c", None),
        ("/a/1/cc", None),
        ("/a/c/c/cc/c", None),
        ("/A/1/c", "/A**/c"),
        ("/A/1/2/c", "/A**/c"),
        ("/A/c", "/A**/c"),
        ("/A", None),
        ("/A/1/cc", None),
        ("/A/c/c/cc/c", "/A**/c"),
        ("/s/t", "/s/**/t/**"),
        ("/s/t/", "/s/**/t/**"),
        ("/s/1/2/t/3", "/s/**/t/**"),
        ("/s/1t/3", None),
        ("/s/1/tt", None),
        ("/st", None),
        ("/bdf", "/b*d*f"),
        ("/bddff", "/b*d*f"),
        ("/bfd", None),
        ("/x.js", "/*.js"),
        ("/x.jss", None),
        ("/e/", "/e/*"),
        ("/e/1", "/e/*"),
        ("/e/1/2", None),
        ("/e", None),
    ]:
        assert of(path) == pattern, path


def test_a_pattern_that_backtracks_is_cheap(slowapi):
    of = rule_names(slowapi, ["/" + "*a" * 200 + "b", "/" + "**/a" * 200 + "b", "/**" * 300 + "b"])
    for path in ("/" + "a" * 7000, "/a" * 3500):
        assert timed(lambda path=path: of(path))[1] < 2


@pytest.mark.parametrize(
    "rule, reason",
    [
        ({"path": "/a?b=1"}, "? in it"),
        ({"path": "/a%"}, "bad percent-escape"),
        ({"path": "/a%00"}, "bad percent-escape"),
        ({"name": "a\r\nSet-Cookie: b"}, "control character"),
        ({"name": "a\nb"}, "control character"),
        ({"name": "\x7f"}, "control character"),
        ({"name": ""}, "name that is empty"),
        ({"name": "n" * 129}, "name that is empty or longer"),
        ({"header": {"X A": "b"}}, "header whose name is none"),
        ({"header": {"X": "a\r\nb"}}, "value that none can have"),
        ({"header": {"X": " a"}}, "value that none can have"),
        ({"params": "fault=refuse"}, "strikes connections"),
        ({"params": "fault=rst@accept:10"}, "strikes connections"),
    ],
)
def test_a_rule_that_could_never_work_is_refused(slowapi, rule, reason):
    control = Control(slowapi("--control", "0"))
    status, text = control.ask("PUT", "/rules", json.dumps([{"params": "", **rule}]))
    assert status == 400 and text.startswith("rule 1: ") and reason in text and text.count("\n") == 1


def test_a_rule_finds_its_header_among_several_lines(slowapi):
    api = slowapi("--control", "0", "--delay", "0")
    Control(api).ask("PUT", "/rules", '[{"header": {"X-T": "a"}, "params": "status=418"}]')
    lines = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-T: b\r\nx-t: a\r\n\r\n"
    assert raw(api, lines).startswith(b"HTTP/1.1 418 ")


# --- which one counts -------------------------------------------------------------------


def test_the_first_of_a_repeated_parameter_counts_everywhere(slowapi):
    twice = "status=418&status=503&code=502"
    api = slowapi("--delay", "0", "--control", "0", "--bind", "127.0.0.1:0", "--bind", f"127.0.0.1:0?{twice}")
    assert get(api, "/?" + twice).status == 418
    assert get(api, "/", headers={"X-Slowapi": twice}).status == 418
    assert get(api.addresses[1], "/").status == 418
    Control(api).ask("PUT", "/rules", json.dumps([{"path": "/r", "params": twice}]))
    assert get(api, "/r").status == 418
    assert get(slowapi("--params", twice), "/?delay=0").status == 418


def test_every_line_of_the_request_header_counts(slowapi):
    lines = b"GET /?delay=0 HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Slowapi: status=418\r\nx-slowapi: %s\r\n\r\n"
    api = slowapi()
    assert raw(api, lines % b"header=X-A: 1&status=503").startswith(b"HTTP/1.1 418 ")
    assert b"\r\nX-A: 1\r\n" in raw(api, lines % b"header=X-A: 1")
    assert raw(api, lines % b"nope=1").startswith(b"HTTP/1.1 400 ")


def test_every_params_option_counts(slowapi):
    reply = get(slowapi("--params", "status=418", "--params", "header=X-A:1&delay=0"), "/")
    assert (reply.status, reply.headers["x-a"]) == (418, "1")


def test_explicit_options_win_over_a_profile(slowapi):
    def told(*options):
        return get(slowapi(*options), "/").headers["x-slowapi-delay"]

    cold = ("--profile", "cold-start", "--params", "warmup=1us:1")
    assert told(*cold) == "20ms"
    assert told(*cold, "--delay", "30ms") == told("--delay", "30ms", *cold) == "30ms"
    assert told(*cold, "--params", "delay=40ms") == "40ms"
    assert told("--params", "delay=40ms&warmup=1us:1&profile=cold-start") == "40ms"
    brownout = slowapi("--profile", "brownout", "--pause", "every=1s for=1s status=418", "--delay", "0")
    assert get(brownout, "/").status == 418
    for text in ("profile=brownout&pause=every=1s,for=1s,status=418", "pause=every=1s,for=1s,status=418&profile=brownout"):
        assert get(slowapi(), "/?" + text).status == 418
        assert get(slowapi(), "/", headers={"X-Slowapi": text}).status == 418
    assert told("--profile", "cold-start", "--bind", "127.0.0.1:0?delay=1ms&warmup=1us:1") == "1ms"


# --- without effect ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "path, names",
    [
        ("/?dealy=2", "dealy"),
        ("/?dealy=2&Status=500&seed=1", "dealy, Status"),
        ("/?%0d%0aX:1", r"\r\nX:1"),
        ("/?count=3&numbytes=4", "count, numbytes"),
        ("/drip?duration=0&count=3", "count"),
        ("/bytes/3?numbytes=4", "numbytes"),
        ("/?key=a", "key"),
        ("/?queue=3&full=500", "queue, full"),
        ("/?workers=3", "workers"),
        ("/?first=3", "first"),
        ("/anything?count=1", "count"),
        ("/?status=&fault=&key=", "status, fault, key"),
        ("/?collapse=3&warmup=1h:2", "collapse, warmup"),
        ("/headers?collapse=3", "collapse"),
        ("/?workers=3&queue=2&key=a", "key, workers, queue"),
        ("/status/200?status=500", "status"),
        ("/delay/0?delay=2", "delay"),
    ],
)
def test_a_parameter_without_effect_is_named_or_refused(slowapi, path, names):
    api, strict = slowapi("--delay", "0"), slowapi("--delay", "0", "--strict-params")
    reply = get(api, path)
    assert (reply.status, reply.headers["x-slowapi-ignored"]) == (200, names)
    assert "parameters without effect names=" in api.stderr()
    refused = get(strict, path)
    assert refused.status == 400 and refused.text.startswith(names + ": no parameter") and refused.text.count("\n") == 1


def test_parameters_with_an_effect_are_not_named(slowapi):
    client = Client(slowapi("--delay", "0", "--strict-params"))
    for path in (
        "/?status=200&first=3&key=a",
        "/?workers=2&service=1us&queue=3&full=500&key=a",
        "/sse?count=1&interval=0&jitter=0.1",
        "/drip?duration=0&numbytes=3&code=200&delay=0",
        "/range/3?duration=0&chunk_size=2",
        "/stream-bytes/3?chunk_size=2",
        "/unstable?failure_rate=0",
        "/anything?whatever=1",
        "/status/200?first=3",
        "/delay/1us?warmup=1h:2",
        "/?workers=2&service=1us&collapse=3",
        "/?linear=1us&collapse=3",
        "/?delay=",
        "/?delay=0",
        "/",
    ):
        reply = client.ask("GET", path)
        assert reply.status == 200 and "x-slowapi-ignored" not in reply.headers, path
    client.close()


@pytest.mark.parametrize("fault", ["refuse", "rst@accept", "hang@accept:10", "slowaccept=1s", "fin:1,refuse:1"])
def test_faults_of_connections_are_not_for_requests(slowapi, fault):
    api = slowapi("--delay", "0")
    for reply in (get(api, f"/?fault={fault}"), get(api, "/", headers={"X-Slowapi": f"fault={fault}"})):
        assert reply.status == 400 and "strikes connections: only --params and --bind" in reply.text


@pytest.mark.parametrize(
    "text", ["fault=rst:", "fault=rst@", "fault=drip=", "fault=rst,", "status=503:", "status=503,", "weights=503:", "seq=503,", "delay=5ms:90,", "size=5,"]
)
def test_empty_parts_are_refused(slowapi, srv_run, text):
    api = slowapi("--delay", "0")
    for reply in (get(api, "/?" + text), get(api, "/", headers={"X-Slowapi": text})):
        assert reply.status == 400 and reply.text.startswith(text), text
    done = srv_run("slowapi", "--params", text.partition("=")[0] + "=")
    assert done.returncode == 2 and "= is empty; allowed: " in done.stderr


def test_what_says_nothing_takes_no_place(slowapi):
    api = slowapi("--params", "status=404", "--delay", "0")
    assert get(api, "/?status=").status == 404 and get(api, "/?status=&status=418").status == 418


def test_of_faults_of_one_kind_the_strongest_counts(slowapi):
    api = slowapi("--delay", "0")
    reply, took = timed(lambda: get(api, "/?fault=drip=1us,drip=20ms,drip=1ms"))
    assert took >= 0.32 and reply.headers["x-slowapi-fault"] == "drip=20ms@body"
    assert get(api, "/?fault=bandwidth=1m,bandwidth=1k").headers["x-slowapi-fault"] == "bandwidth=1024@body"
    reply = raw(api, b"GET /?fault=interim=1,interim=3,interim=2 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert reply.count(b"103 Early Hints") == 3
    reply, took = timed(lambda: get(api, "/?fault=hang=50ms,hang=60ms,hang=70ms@body"))
    assert took >= 0.18 and reply.headers["x-slowapi-fault"].count("hang") == 3


def test_a_value_may_be_as_long_as_its_row_says(slowapi):
    name, value = "X-Long", "v" * 500
    assert get(slowapi("--delay", "0"), f"/?header={name}:{value}").headers["x-long"] == value
    encoded = "".join(f"%{ord(c):02x}" for c in f"{name}:{value}")
    assert get(slowapi("--delay", "0"), f"/?header={encoded}").headers["x-long"] == value


def test_a_pause_is_one_thing(slowapi):
    assert "has both a status and a delay" in get(slowapi(), "/?pause=every=1s,for=1s,status=503,delay=1s").text


# --- headers that are asked for ---------------------------------------------------------


def test_a_header_replaces_what_would_be_sent(slowapi):
    api = slowapi("--params", "header=Content-Type:a/b&header=X-Two:1&header=X-Two:2&delay=0")

    def lines(query, path="/"):
        head = raw(api, f"GET {path}{query} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        return head.split(b"\r\n\r\n")[0].decode().split("\r\n")[1:]

    def values(name, query="", path="/"):
        return [line.split(": ", 1)[1] for line in lines(query, path) if line.split(":")[0].lower() == name]

    assert values("content-type") == ["a/b"] and values("x-two") == ["1", "2"]
    assert values("content-type", "?header=content-type:c/d") == ["c/d"]
    assert values("x-two", "?header=X-Two:3") == ["3"]
    assert values("x-two", "?header=X-Two:3&header=x-two:4") == ["3", "4"]
    assert values("date", "?header=Date:today") == ["today"]
    assert values("server-timing", "?header=Server-Timing:mine") == ["mine"]
    assert values("etag", "?header=ETag:mine", "/range/9") == ["mine"] and values("accept-ranges", "", "/range/9") == ["bytes"]
    assert values("x-slowapi-seed", "?header=X-Slowapi-Seed:7&fault=interim=3") == []  # that is the head of the first interim answer
    assert values("content-type", "?pause=every=1s,for=1s,status=503") == ["a/b"]
    assert values("content-type", "?delay=x") == ["text/plain"]  # the refusal is ours


def test_interim_answers_keep_their_heads(slowapi):
    reply = raw(slowapi(), b"GET /?delay=0&fault=interim=2&header=Content-Type:a/b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert reply.count(b"HTTP/1.1 103 Early Hints\r\n\r\n") == 2
    assert reply.count(b"Content-Type: a/b\r\n") == reply.lower().count(b"content-type") == 1 and reply.endswith(TEXT.encode())


@pytest.mark.parametrize("value", ["close", "x-a,%20Close"])
def test_connection_close_is_said_once_and_done(slowapi, value):
    with RawConnection(slowapi()) as conn:
        conn.send(f"GET /?delay=0&header=Connection:{value} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        reply = conn.read_until_close()
        assert reply.lower().count(b"\r\nconnection:") == 1 and reply.endswith(TEXT.encode())


def test_who_closes_says_so(slowapi):
    reply = raw(slowapi(), b"GET /?delay=0&header=Connection:keep-alive HTTP/1.0\r\n\r\n")
    assert reply.count(b"\r\nConnection: ") == reply.count(b"\r\nConnection: close\r\n") == 1
    with RawConnection(slowapi()) as conn:
        for _ in range(2):
            conn.send(b"GET /?delay=0&header=Connection:keep-alive HTTP/1.1\r\nHost: x\r\n\r\n")
            assert conn.read_response().headers["connection"] == "keep-alive"


def test_framing_that_is_asked_for_is_sent_and_ends_the_connection(slowapi):
    api = slowapi()
    with RawConnection(api) as conn:
        conn.send(b"GET /?delay=0&header=Content-Length:5 HTTP/1.1\r\nHost: x\r\n\r\n")
        reply = conn.read_until_close()
        assert reply.count(b"Content-Length: ") == reply.count(b"Content-Length: 5\r\n") == 1 and reply.endswith(TEXT.encode())
        assert b"\r\nConnection: close\r\n" in reply
    with RawConnection(api) as conn:
        for _ in range(2):
            conn.send(b"GET /?delay=0&header=Transfer-Encoding:chunked HTTP/1.1\r\nHost: x\r\n\r\n")
            reply = conn.read_response()
            assert (reply.text, reply.headers["transfer-encoding"]) == (TEXT, "chunked")
            assert "content-length" not in reply.headers


# --- --max-delay ------------------------------------------------------------------------

LONG = [
    "/?delay=2",
    "/delay/2",
    "/?delay=10ms-2s",
    "/?delay=normal:2s,1ms",
    "/?delay=exp:2s",
    "/?delay=lognormal:50ms,2s",
    "/?delay=pareto:2s,1.5",
    "/?delay=5ms:99.9,2s:0.1",
    "/?delay=p50=20ms,p99=2s",
    "/?delay=0&fault=hang",
    "/?delay=0&fault=hang=2s:1",
    "/?delay=0.6&fault=hang=200ms@body,hang=300ms@head",
    "/?delay=0&fault=drip=200ms",
    "/?delay=0&fault=drip=200ms,drip=1ms",
    "/?delay=0&fault=bandwidth=10k,bandwidth=10",
    "/?delay=0&size=5000&fault=bandwidth=1000",
    "/?delay=0&size=5:99,5000:1&fault=bandwidth=1000",
    "/?delay=0&workers=1&service=2s",
    "/?delay=0&linear=2s",
    "/?delay=0&pause=every=3s,for=2s",
    "/?delay=0&pause=every=3s,for=100ms,delay=2s",
    "/?delay=100ms&warmup=30s:20",
    "/drip?duration=2",
    "/drip",
    "/drip?delay=0.6&duration=0.6",
    "/sse?interval=2",
    "/sse?count=20&interval=100ms",
    "/jsonl",
    "/sse?count=100&duration=0&fault=bandwidth=1000",
    "/sse?count=11&duration=0.9&fault=drip=0.2",
    "/drip?numbytes=1&duration=2",
    "/range/3?duration=2",
    "/range/3?duration=0.6&delay=0.6",
    "/range/100000?duration=2",
    "/stream/1000?fault=drip=2ms",
    "/?profile=payment",
]


def test_no_exchange_is_asked_for_beyond_the_limit(slowapi):
    api = slowapi("--max-delay", "1s", "--delay", "0", "--control", "0")
    client = Client(api)
    for path in LONG:
        reply, took = timed(lambda: client.ask("GET", path))
        assert reply.status == 400 and reply.text.endswith("is more than --max-delay; allowed: up to 1s\n"), path
        assert reply.text.startswith("an exchange of ") and took < 0.9, path
    assert Control(api).stats()["bad_parameters"] == len(LONG)
    for path in ("/delay/0.01", "/?delay=exp:1ms", "/drip?duration=0.1", "/?fault=hang=1ms", "/?pause=every=9s,for=500ms", "/sse?count=50&duration=0&fault=bandwidth=9k"):
        assert client.ask("GET", path).status == 200, path
    client.close()


def test_what_chance_and_load_add_is_cut_and_told(slowapi):
    api = slowapi("--max-delay", "300ms", "--delay", "0", "--control", "0")
    # Nine draws of ten are longer than the limit, the mean is not.
    replies = [get(api, f"/?delay=pareto:250ms,0.05&seed={n}") for n in range(5)]
    cut = [reply for reply in replies if "x-slowapi-cut" in reply.headers]
    assert len(cut) >= 3 and all(reply.headers["x-slowapi-delay"] == "300ms" for reply in cut)
    body, took = timed(lambda: get(api, "/drip?delay=pareto:100ms,0.05&seed=1&duration=200ms&numbytes=5"))
    assert body.status == 200 and body.headers["x-slowapi-delay"] == "100ms" and took < 2

    def queued(n):
        return timed(lambda: get(api, "/?delay=0&workers=1&service=250ms"))

    results = at_once(6, queued)
    assert all(reply.headers["x-slowapi-delay"] in ("250ms", "300ms") for reply, _ in results)
    assert Control(api).stats()["cut_delays"] >= len(cut) + 1 + 5


def test_without_a_limit_nothing_is_cut(slowapi):
    reply, took = timed(lambda: get(slowapi(), "/?delay=200ms&fault=hang:0"))  # an unlikely hang has no end either
    assert took >= 0.2 and "x-slowapi-cut" not in reply.headers


@pytest.mark.parametrize(
    "options",
    [
        ["--max-delay", "500ms"],
        ["--delay", "2"],
        ["--delay", "0", "--params", "fault=hang"],
        ["--delay", "0", "--params", "fault=hang=2s@accept"],
        ["--delay", "0", "--pause", "every=9s for=3s"],
        ["--profile", "s3"],
        ["--delay", "0", "--bind", "127.0.0.1:0?delay=3"],
        ["--delay", "0", "--params", "duration=3"],
    ],
)
def test_defaults_beyond_the_limit_start_nothing(srv_run, options):
    done = srv_run("slowapi", "--bind", "127.0.0.1:0", "--max-delay", "1s", *options)
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "--max-delay '" in done.stderr and "make an exchange of" in done.stderr


def test_rules_keep_to_the_limit(slowapi, srv_run, tmp_path):
    control = Control(slowapi("--max-delay", "1s", "--delay", "0", "--control", "0"))
    status, text = control.ask("PUT", "/rules", '[{"params": ""}, {"params": "delay=2"}]')
    assert (status, text) == (400, "rule 2: asks for more than --max-delay\n")
    file = tmp_path / "rules"
    file.write_text('[{"params": "fault=hang"}]')
    done = srv_run("slowapi", "--max-delay", "1s", "--delay", "0", "--rules", file)
    assert done.returncode == 1 and "rule 1: asks for more than --max-delay" in done.stderr
