# SPDX-License-Identifier: MIT
"""Rules of slowapi: what they match by, which one counts, and sequences of answers that end, stay or start again."""

import json
import re
import shutil
import subprocess
import time
from collections import Counter
from pathlib import Path

import pytest
from harness import RawConnection, get, raw, request
from test_slowapi_shapes import Control, at_once, timed


@pytest.fixture
def ruled(slowapi):
    """start(rule, ..., workers=1) -> (server, its control endpoint)"""

    def start(*rules, workers=1, args=()):
        api = slowapi("--control", "0", "--delay", "0", "--workers", str(workers), *args)
        control = Control(api)
        put(control, *rules)
        return api, control

    return start


def put(control, *rules, where="/rules"):
    status, text = control.ask("PUT", where, json.dumps(rules))
    assert status == 200, text


def rule_of(api, path="/x", method="GET", body=None, headers=None):
    """The name of the rule that a request finds; None: none."""
    return request(api, method, path, body, headers).headers.get("x-slowapi-rule")


# --- conditions -------------------------------------------------------------------------------------

POST_JSON = {"method": "POST", "body": b'{"order":{"id":17,"tags":["a","b"],"paid":true,"note":null},"total":9.5,"s":"a*b"}'}

# condition, then requests that meet it, then requests that do not: each a path, or arguments of rule_of
CONDITIONS = {
    "method": ({"method": "PUT"}, [{"method": "PUT"}], [{"method": "GET"}, {"method": "POST", "body": b""}]),
    "methods": ({"method": ["PUT", "DELETE"]}, [{"method": "PUT"}, {"method": "DELETE"}], [{"method": "GET"}]),
    "path": ({"path": "/a/*/c"}, ["/a/b/c", "/a/%62/c"], ["/a/c", "/a/b/b/c", "/a/b%2Fb/c"]),
    "path-deep": ({"path": "/a/**"}, ["/a", "/a/", "/a/b/c"], ["/ab", "/", "/b/a"]),
    "path-text": ({"path": "**.js"}, ["/x.js", "/x/y.js"], ["/x.jsx"]),
    "path-all": ({"path": "**"}, ["/", "/x/y"], []),
    "host": (
        {"host": "api.example.com"},
        [{"headers": {"Host": host}} for host in ("api.example.com", "API.Example.com", "api.example.com:8080")],
        [{"headers": {"Host": host}} for host in ("example.com", "api.example.com.evil", "xapi.example.com")],
    ),
    "host-pattern": ({"host": "*.example.com:81"}, [{"headers": {"Host": "a.b.example.com:81"}}], [{"headers": {"Host": "a.example.com"}}]),
    "host-pieces": ({"host": "A*B.c*"}, [{"headers": {"Host": host}} for host in ("ab.c", "AxxB.C:81", "abb.cd")], [{"headers": {"Host": "a.b.b"}}]),
    "host-ipv6": ({"host": "[::1]"}, [{"headers": {"Host": "[::1]:80"}}, {"headers": {"Host": "[::1]"}}], [{"headers": {"Host": "[::2]"}}]),
    "query": ({"query": {"a b": "c d"}}, ["/x?a+b=c%20d", "/x?y&%61%20b=c+d"], ["/x", "/x?a+b=c", "/x?a+b=c+d+", "/x?A+b=c+d"]),
    "query-repeated": ({"query": {"a": "2"}}, ["/x?a=1&a=2"], ["/x?a=1&a=12"]),
    "query-pattern": ({"query": {"a": "x*z"}}, ["/x?a=xz", "/x?a=x/y/z"], ["/x?a=xzy", "/x?b=xz"]),
    "query-star": ({"query": {"a": r"\*\\*"}}, ["/x?a=*%5c", "/x?a=*%5cz"], ["/x?a=a%5c", "/x?a=*z"]),
    "query-there": ({"query": {"a": "*"}}, ["/x?a", "/x?a=", "/x?a=%zz"], ["/x", "/x?b"]),
    "query-absent": ({"query": {"a": None}}, ["/x", "/x?b=a"], ["/x?a", "/x?a=1"]),
    "query-undecodable": ({"query": {"a": "*z"}}, ["/x?a=z"], ["/x?a=%z"]),
    "header": ({"header": {"X-T": "a"}}, [{"headers": {"x-t": "a"}}], [{}, {"headers": {"X-T": "A"}}, {"headers": {"X-T": "a, b"}}]),
    "header-pattern": ({"header": {"Accept": "*/json*"}}, [{"headers": {"Accept": "text/json;q=1"}}], [{"headers": {"Accept": "*/*"}}]),
    "header-pieces": (
        {"header": {"X-T": r"ab**bc*\*c"}},
        [{"headers": {"X-T": text}} for text in ("abbc*c", "ab-bcbc-*cd*c", "abb bc*c*c")],
        [{"headers": {"X-T": text}} for text in ("abc*c", "abbcc", "abbc*", "abbc*cc", "xabbc*c", "Abbc*c")],
    ),
    "header-there": ({"header": {"X-T": "*"}}, [{"headers": {"X-T": ""}}], [{}]),
    "header-absent": ({"header": {"Authorization": None}}, [{}], [{"headers": {"authorization": "x"}}]),
    "cookie": (
        {"cookie": {"sid": "a=b"}},
        [{"headers": {"Cookie": text}} for text in ("sid=a=b", "x=1; sid=a=b", "sid=c;sid=a=b")],
        [{}, {"headers": {"Cookie": "sid=a"}}, {"headers": {"Cookie": "Sid=a=b"}}, {"headers": {"Cookie": "xsid=a=b"}}],
    ),
    "cookie-pattern": ({"cookie": {"sid": "a*"}}, [{"headers": {"Cookie": "sid=abc"}}], [{"headers": {"Cookie": "sid=ba"}}]),
    "cookie-absent": ({"cookie": {"sid": None}}, [{}, {"headers": {"Cookie": "a=b"}}], [{"headers": {"Cookie": "sid="}}]),
    "body-contains": (
        {"body-contains": "nee\u00e9dle"},
        [{"method": "POST", "body": "a nee\u00e9dle b".encode()}],
        [{}, {"method": "POST", "body": b"needle"}, {"method": "POST", "body": b""}],
    ),
    "body-contains-all": (
        {"body-contains": ["a*", "b"]},
        [{"method": "POST", "body": b"b a*"}],
        [{"method": "POST", "body": b"b a"}, {"method": "POST", "body": b"a*"}],
    ),
    "json-number": ({"json": {"order.id": 17, "total": 9.5}}, [POST_JSON], [{}, {"method": "POST", "body": b'{"order":{"id":"17"},"total":9.5}'}]),
    "json-real": ({"json": {"order.id": 17.0}}, [POST_JSON], [{"method": "POST", "body": b'{"order":{"id":17.5}}'}]),
    "json-text": ({"json": {"s": r"a\*b"}}, [POST_JSON], [{"method": "POST", "body": b'{"s":"axb"}'}]),
    "json-pattern": ({"json": {"order.tags.1": "b*"}}, [POST_JSON], [{"method": "POST", "body": b'{"order":{"tags":["b"]}}'}]),
    "json-there": ({"json": {"order.paid": "*"}}, [POST_JSON], [{"method": "POST", "body": b'{"order":{"paid":null}}'}]),
    "json-absent": ({"json": {"order.note": None, "gone": None}}, [POST_JSON], [{}, {"method": "POST", "body": b'{"order":{"note":0}}'}, {"method": "POST", "body": b"no json"}]),
    "json-part": ({"json": {"order": {"id": 17, "paid": True}}}, [POST_JSON], [{"method": "POST", "body": b'{"order":{"id":17,"paid":false}}'}]),
    "json-list": ({"json": {"order.tags": ["a", "*"]}}, [POST_JSON], [{"method": "POST", "body": b'{"order":{"tags":["a"]}}'}]),
    "json-all": ({"json": {"": [1, 2]}}, [{"method": "POST", "body": b"[1,2.0]"}], [{"method": "POST", "body": b"[1,2,3]"}]),
    "all-of-them": (
        {"method": "POST", "path": "/x", "query": {"a": "1"}, "header": {"X-T": "a"}, "body-contains": "z"},
        [{"path": "/x?a=1", "method": "POST", "headers": {"X-T": "a"}, "body": b"xyz"}],
        [
            {"path": "/x?a=2", "method": "POST", "headers": {"X-T": "a"}, "body": b"xyz"},
            {"path": "/x?a=1", "method": "POST", "headers": {"X-T": "a"}, "body": b"xy"},
            {"path": "/x?a=1", "method": "POST", "body": b"xyz"},
        ],
    ),
    "none": ({}, ["/", "/x", POST_JSON], []),
}  # fmt: skip


@pytest.mark.parametrize("name", CONDITIONS)
def test_a_condition_is_met_or_not(ruled, name):
    condition, met, unmet = CONDITIONS[name]
    api, control = ruled({"name": "it", "params": "delay=0"} | condition)
    for number, asked in enumerate(met + unmet):
        found = rule_of(api, **(asked if isinstance(asked, dict) else {"path": asked}))
        assert found == ("it" if number < len(met) else None), asked
    assert control.stats()["rules"][0]["requests"] == len(met)


def test_repeated_lines_are_each_looked_at(ruled):
    api, _ = ruled({"name": "h", "header": {"X-T": "2"}, "params": ""}, {"name": "c", "cookie": {"a": "2"}, "params": ""})
    head = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n%s\r\n\r\n"
    assert b"X-Slowapi-Rule: h\r\n" in raw(api, head % b"X-T: 1\r\nx-t: 2")
    assert b"X-Slowapi-Rule: c\r\n" in raw(api, head % b"Cookie: a=1\r\nCookie: b=1; a=2")
    assert b"X-Slowapi-Rule" not in raw(api, head % b"X-T: 1\r\nCookie: b=2; a=1")


@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        ({"path": 7}, "rule 1: has a path that is no text"),
        ({"path": "/" + "a" * 1024}, "rule 1: has a path of more than 1024 bytes"),
        ({"method": []}, "rule 1: has an empty list of methods"),
        ({"method": ["GET", "NOPE"]}, "rule 1: has an unknown method"),
        ({"method": {"a": 1}}, "rule 1: has a method that is neither a text nor a list"),
        ({"host": ""}, "rule 1: has a host that is no text, or empty"),
        ({"header": []}, "rule 1: has a header that is no object"),
        ({"header": {"X": 1}}, "rule 1: has a header whose value is no text, and not null"),
        ({"query": {"a": True}}, "rule 1: has an argument in query whose value is no text, and not null"),
        ({"cookie": {"a b": "c"}}, "rule 1: has a cookie whose name is none"),
        ({"cookie": {"a": "b;c"}}, "rule 1: has a cookie with a value that none can have"),
        ({"body-contains": ""}, "rule 1: has a body-contains that is neither"),
        ({"body-contains": ["a", 1]}, "rule 1: has a body-contains with an element that is no text"),
        ({"json": []}, "rule 1: has a json that is no object"),
        ({"json": {}}, "rule 1: has a json that is no object"),
        ({"headers": {"X": "y"}}, "rule 1: has headers, which belong into answers; a condition is called header"),
        ({"priority": 0}, "rule 1: has a priority that is no whole number from 1 to 1000"),
        ({"priority": 1.5}, "rule 1: has a priority"),
        ({"name": "me", "nope": 1}, 'rule 1 (me): allowed are name, enabled, priority'),
        ({"status": "200"}, "rule 1: has a status that is no whole number"),
        ({"status": 99}, "rule 1: status=99 has an impossible value"),
        ({"answers": []}, "rule 1: has answers that are no list of 1 to 64"),
        ({"answers": [{}] * 65}, "rule 1: has answers that are no list of 1 to 64"),
        ({"answers": [{}, 1]}, "rule 1: answer 2: is not an object"),
        ({"answers": [{"nope": 1}]}, "rule 1: answer 1: allowed are params, status"),
        ({"answers": [{"params": "delay=x"}]}, "rule 1: answer 1: delay=x is not"),
        ({"answers": [{}, {"status": 700}]}, "rule 1: answer 2: status=700 has an impossible value"),
        ({"answers": [{"times": 0}]}, "rule 1: answer 1: has times that are no whole number from 1 to 1000000"),
        ({"answers": [{"times": 1, "for": "1s"}]}, 'rule 1: answer 1: has both "times" and "for"'),
        ({"answers": [{"for": "x"}]}, 'rule 1: answer 1: has a time in "for"'),
        ({"answers": [{"for": "0s"}]}, 'rule 1: answer 1: has a time in "for"'),
        ({"answers": [{"pass": True, "status": 200}]}, "rule 1: answer 1: passes the request on"),
        ({"answers": [{"pass": 1}]}, 'rule 1: answer 1: has "pass" that is neither'),
        ({"answers": [{"headers": {"a b": "c"}}]}, "rule 1: answer 1: has a name in headers that is none"),
        ({"answers": [{"headers": {"a": 1}}]}, "rule 1: answer 1: has a value in headers that is neither"),
        ({"answers": [{"headers": {"a": "b\r\nc"}}]}, "rule 1: answer 1: header=a:b"),
        ({"answers": [{"headers": {"a": "b" * 600}}]}, "rule 1: answer 1: "),
        ({"answers": [{"body": "a", "body-file": "b"}]}, "rule 1: answer 1: has both body and body-file"),
        ({"answers": [{}], "status": 200}, "rule 1: has answers: status, body"),
        ({"answers": [{}], "times": 2}, "rule 1: has answers: status, body"),
        ({"answers": [{"times": 1}], "end": "stay"}, "rule 1: stays at its last answer"),
        ({"answers": [{}], "end": "stop"}, "rule 1: has an end that is none of stay, again and pass"),
        ({"params": "", "end": "again"}, "rule 1: has an end, but neither answers"),
        ({"params": "", "from": "put"}, "rule 1: has from, but nothing"),
        ({"params": "", "for": "1s", "from": "now"}, "rule 1: has from that is neither first nor put"),
        ({"params": "", "key": "all"}, "rule 1: has a key, but neither"),
        ({"answers": [{}], "key": "header:"}, "rule 1: has a key that is none of all, client"),
        ({"answers": [{}], "key": "nope"}, "rule 1: has a key that is none of all, client"),
        ({"answers": [{}], "key": "header.X"}, "rule 1: has a key that is none of all, client"),
        ({"answers": [{}], "key": "{{header:X}}"}, "rule 1: has a key that is none of all, client"),
        ({"answers": [{}], "key": "{{header.X}} {{query.y}}"}, "rule 1: has a key that is none of all, client"),
        ({"answers": [{}], "key": "{{header.}}"}, "rule 1: has a key that is none of all, client"),
        ({"params": "", "when": "a"}, "rule 1: has when or then, but no scenario"),
        ({"params": "", "scenario": "a"}, "rule 1: has a scenario, but neither when nor then"),
        ({"scenario": "a", "then": "b", "answers": [{}]}, "rule 1: has a scenario, which does not go together"),
        ({"scenario": "a" * 129, "then": "b"}, 'rule 1: has "scenario" that is no text of 1 to 128 bytes'),
        ({"path": "/x", "times": 2}, "rule 1: has no params, and no body either"),
        ({"body-contains": "x", "params": "fault=bandwidth=1k@upload"}, "rule 1: has a fault at the upload of a body that decides"),
        ({"json": {"a": 1}, "answers": [{}, {"params": "fault=bandwidth=1k@upload"}]}, "rule 1: answer 2: has a fault at the upload"),
    ],
)
def test_a_wrong_rule_is_refused_in_one_line(ruled, rule, reason):
    api, control = ruled({"name": "old", "params": "delay=0"})
    if not {"answers", "scenario", "times", "params"} & rule.keys():
        rule = rule | {"params": ""}
    status, text = control.ask("PUT", "/rules", json.dumps([rule]))
    assert status == 400 and text.startswith(reason) and text.count("\n") == 1, text
    assert rule_of(api) == "old"


# --- which one counts -------------------------------------------------------------------------------


def test_low_numbers_come_first_then_the_order(ruled):
    names = ["a", "b", "c", "d", "e"]
    rules = [{"name": name, "params": ""} for name in names]
    for rule, priority in zip(rules, (None, 9, 5, 1, 1), strict=True):
        rule |= {} if priority is None else {"priority": priority}
    api, control = ruled(*rules)
    seen = []
    while rules:
        seen.append(rule_of(api))
        rules = [rule for rule in rules if rule["name"] != seen[-1]]
        put(control, *rules)
    assert seen == ["d", "e", "a", "c", "b"]  # without one it is 5


def test_rules_of_a_session_come_before_all_others(ruled):
    api, control = ruled({"name": "all", "priority": 1, "params": ""}, {"name": "mine", "session": "s", "priority": 1000, "params": ""})
    assert rule_of(api) == "all" and rule_of(api, headers={"X-Slowapi-Session": "s"}) == "mine"


def test_a_catch_all_comes_last(ruled):
    api, _ = ruled({"path": "**", "priority": 1000, "status": 418}, {"path": "/a", "status": 201})
    assert [get(api, path).status for path in ("/a", "/b", "/get")] == [201, 418, 418]


def test_rules_tell_their_hits_and_may_be_put_back(ruled):
    api, control = ruled(first := {"name": "a", "path": "/a", "body": {"price": 9.99}}, second := {"path": "/b", "params": ""})
    get(api, "/a"), get(api, "/a"), get(api, "/b")
    assert json.loads(control.ask("GET", "/rules")[1]) == [first, second]
    status, text = control.ask("GET", "/rules?hits=true")
    assert (status, json.loads(text)) == (200, [first | {"hits": 2}, second | {"hits": 1}])
    put(control, *json.loads(text))
    assert json.loads(control.ask("GET", "/rules")[1]) == [first, second]
    assert control.ask("GET", "/rules?hit")[0] == 400


# --- bodies that decide -----------------------------------------------------------------------------


def ask_in_parts(api, *parts, path="/get"):
    """The status and rule of a POST whose body comes in chunks, each after the one before has gone out."""
    with RawConnection(api) as stream:
        stream.send(b"POST %s HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" % path.encode())
        for part in parts:
            stream.send(b"%x\r\n%s\r\n" % (len(part), part))
        stream.send(b"0\r\n\r\n")
        reply = stream.read_response("POST")
        return reply.status, reply.headers.get("x-slowapi-rule")


def test_a_body_that_comes_in_parts_decides(ruled):
    api, _ = ruled({"name": "b", "path": "/get", "body-contains": "xy", "status": 418})
    assert ask_in_parts(api, b"a", b"x", b"y") == (418, "b")
    assert ask_in_parts(api, b"a", b"y", b"x") == (405, None)


def test_a_body_that_is_too_long_meets_no_condition(ruled):
    api, _ = ruled({"name": "b", "path": "/post", "body-contains": "x", "status": 418}, {"name": "c", "path": "/upload", "status": 201})
    assert request(api, "POST", "/upload", b"x" * (1 << 20)).status == 201
    assert request(api, "POST", "/post", b"x" * (1 << 20)).status == 418
    assert request(api, "POST", "/post", b"x" * ((1 << 20) + 1)).status == 413  # which /post itself says
    assert ask_in_parts(api, *[b"x" * 65536] * 16, path="/post") == (418, "b")
    assert ask_in_parts(api, *[b"x" * 65536] * 17, path="/post") == (413, None)
    put(Control(api), {"name": "b", "path": "/**", "body-contains": "x", "status": 418})
    assert ask_in_parts(api, *[b"x" * 65536] * 17, path="/") == (200, None)
    assert request(api, "POST", "/upload", b"x" * (2 << 20)).status == 200


def test_a_body_is_told_by_the_answer_that_it_has_chosen(ruled):
    api, _ = ruled({"path": "/a", "json": {"id": 7}, "body": {"you": "{{json.name}}"}, "status": 201}, args=("--journal", "10"))
    reply = request(api, "POST", "/a", b'{"id":7,"name":"m\xc3\xa9"}')
    assert (reply.status, json.loads(reply.text)) == (201, {"you": "m\u00e9"})
    assert request(api, "POST", "/anything", b'{"id":7}').status == 200


def test_the_journal_knows_a_rule_that_the_body_has_chosen(ruled):
    api, control = ruled({"name": "seven", "json": {"id": 7}, "status": 201}, args=("--journal", "10"))
    request(api, "POST", "/a", b'{"id":7}'), request(api, "POST", "/a", b'{"id":8}')
    kept = json.loads(control.ask("GET", "/requests")[1])["requests"]
    assert [(one["rule"], one["body"]) for one in kept] == [("seven", '{"id":7}'), (None, '{"id":8}')]


def test_faults_that_strike_at_the_head_wait_for_the_body_that_decides(ruled):
    api, _ = ruled({"body-contains": "stale", "params": "fault=stale"}, {"body-contains": "early", "params": "fault=early&status=413"})
    with RawConnection(api) as stream:
        for body, status in ((b"stale", 200), (b"early", 413), (b"none!", 200)):
            stream.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n" + body)
            assert stream.read_response("POST").status == status
        stream.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nstale")
        assert stream.read_until_close() == b""


def test_a_rule_before_it_spares_the_body(ruled):
    api, _ = ruled({"name": "first", "method": "POST", "path": "/a", "params": "fault=early&status=503"}, {"body-contains": "x", "params": "delay=0"})
    with RawConnection(api) as stream:  # the answer is there before the body
        stream.send(b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n")
        assert stream.read_response("POST").status == 503


def test_a_body_that_decides_goes_on_to_the_service(slowapi):
    behind = slowapi("--delay", "0", "--control", "0")
    api = slowapi("--upstream", behind.url, "--control", "0", "--delay", "0")
    rules = [
        {"name": "own", "json": {"id": 7}, "status": 200},
        {"name": "slow", "body-contains": "slow", "params": "delay=120ms"},
        {"name": "stale", "body-contains": "stale", "params": "fault=rst"},
    ]
    put(Control(api), *rules)
    reply = request(api, "POST", "/post", b'{"id":7}')
    assert (reply.status, reply.text, reply.headers["x-slowapi-rule"]) == (200, "slow api response", "own")
    reply = request(api, "POST", "/post", b'{"id":8}', {"Content-Type": "application/json"})
    assert json.loads(reply.text)["json"] == {"id": 8}
    reply, took = timed(lambda: request(api, "POST", "/post", b"be slow"))
    assert json.loads(reply.text)["data"] == "be slow" and took > 0.11
    with pytest.raises(ConnectionResetError):
        request(api, "POST", "/post", b"be stale")
    assert ask_in_parts(api, b"some", b"thing", path="/post") == (200, None)
    assert ask_in_parts(api, *[b"x" * 65536] * 40, b"slow", path="/upload") == (200, None)  # too long to decide, and passed on
    assert request(api, "POST", "/upload", b"slow" * 500_000).status == 200
    received = Control(behind).stats()
    assert received["requests"] in (5, 6)  # the reset one may not have come there


# --- sequences of answers ---------------------------------------------------------------------------


def answer_of(api, path="/x", **asked):
    """What a request gets: its status, or `rst`."""
    try:
        reply = request(api, "GET", path, **asked)
    except ConnectionResetError:
        return "rst"
    return reply.status


def statuses(api, count, path="/x", **asked):
    return [answer_of(api, path, **asked) for _ in range(count)]


def test_answers_follow_each_other_and_stay_at_the_last(ruled):
    api, control = ruled(
        {
            "name": "shop",
            "path": "/x",
            "params": "delay=1ms",
            "answers": [
                {"params": "fault=rst"},
                {"params": "status=503&delay=150ms", "times": 2, "headers": {"Retry-After": "1", "Set-Cookie": ["a=1", "b=2"]}},
                {"status": 200, "body": {"paid": True}, "headers": {"X-Shop": "yes"}},
            ],
        }
    )
    assert answer_of(api) == "rst"
    for _ in range(2):
        reply, took = timed(lambda: get(api, "/x"))
        assert (reply.status, reply.headers["retry-after"], reply.headers["x-slowapi-answer"]) == (503, "1", "2") and took > 0.14
        assert reply.headers["set-cookie"] == "a=1, b=2"
    for _ in range(3):
        reply = get(api, "/x")
        assert (reply.status, json.loads(reply.text), reply.headers["x-shop"]) == (200, {"paid": True}, "yes")
        assert (reply.headers["content-type"], reply.headers["x-slowapi-answer"]) == ("application/json", "3")
    assert control.stats()["rules"][0]["requests"] == 6


@pytest.mark.parametrize(
    ("rule", "seen"),
    [
        ({"answers": [{"status": 503}, {"status": 502}, {}]}, [503, 502, 404, 404]),
        ({"answers": [{"status": 503}, {"status": 200}], "end": "again"}, [503, 200, 503, 200, 503]),
        ({"answers": [{"status": 503, "times": 2}, {"status": 200}], "end": "again"}, [503, 503, 200, 503]),
        ({"answers": [{"status": 503}, {"status": 201}], "end": "pass"}, [503, 201, 418, 418]),
        ({"answers": [{"status": 503, "times": 2}]}, [503, 503, 418, 418]),
        ({"answers": [{"status": 503, "times": 2}], "end": "again"}, [503, 503, 503]),
        ({"answers": [{"pass": True, "times": 2}, {"status": 503}], "end": "again"}, [418, 418, 503, 418, 418, 503]),
        ({"answers": [{"status": 503}]}, [503, 503, 503]),
        ({"status": 503, "times": 2}, [503, 503, 418, 418]),
        ({"status": 503, "times": 1, "end": "again"}, [503, 503]),
        ({"answers": [{"status": 503}, {"status": 502}], "from": "put", "end": "stay"}, [503, 502, 502]),
    ],
    ids=json.dumps,
)
def test_a_sequence_ends_as_it_says(ruled, rule, seen):
    plain = [] if 404 in seen else [{"path": "/x", "priority": 9, "status": 418}]
    api, _ = ruled({"path": "/x"} | rule, *plain)
    if 404 in seen:  # an answer that changes nothing is that of the path, and a path that only a rule knows is as /
        seen = [200 if status == 404 else status for status in seen]
    assert statuses(api, len(seen)) == seen


KEYS = {
    "header:X-User": [{"headers": {"X-User": user}} for user in ("a", "b", "c")],
    "query:user": [{"path": f"/x?user={user}"} for user in ("a", "b%20c", "")],
    "cookie:user": [{"headers": {"Cookie": f"a=1; user={user}"}} for user in ("a", "b", "")],
    "session": [{"headers": {"X-Slowapi-Session": user}} for user in ("a", "b")],
    "json:user.id": [{"method": "POST", "body": json.dumps({"user": {"id": user}}).encode()} for user in (1, "1", [1], None)],
}
KEYS |= {  # as the parameter `key` spells them
    "{{header.X-User}}": KEYS["header:X-User"],
    "{{ query.user }}": KEYS["query:user"],
    "{{json.user.id}}": KEYS["json:user.id"],
}


@pytest.mark.parametrize("key", KEYS)
def test_each_key_has_a_sequence_of_its_own(ruled, key):
    api, _ = ruled({"path": "/x", "key": key, "answers": [{"status": 503}, {"status": 502}, {"status": 201}]})

    def ask(asked):
        return request(api, asked.get("method", "GET"), asked.get("path", "/x"), asked.get("body"), asked.get("headers")).status

    for asked in KEYS[key]:
        assert ask(asked) == 503, asked
    for status in (502, 201, 201):
        assert [ask(asked) for asked in KEYS[key]] == [status] * len(KEYS[key])
    assert [ask({}) for _ in range(2)] == [503, 502]  # those without a key are one together


def test_two_spellings_of_an_argument_are_one_key(ruled):
    api, _ = ruled({"path": "/x", "key": "query:u", "answers": [{"status": 503}, {"status": 201}]})
    assert [get(api, path).status for path in ("/x?u=a+b", "/x?u=a%20b", "/x?u=%61%20b", "/x?u=ab")] == [503, 201, 201, 503]


def test_a_client_is_one_key_whatever_its_connection(ruled):
    api, _ = ruled({"path": "/x", "key": "client", "answers": [{"status": 503}, {"status": 201}]})
    assert statuses(api, 3) == [503, 201, 201]


def test_sequences_begin_anew(ruled):
    rule = {"path": "/x", "answers": [{"status": 503}, {"status": 201}]}
    other = {"path": "/y", "answers": [{"status": 503}, {"status": 201}]}
    api, control = ruled(rule)
    resets = [
        lambda: control.ask("DELETE", "/sequences"),
        lambda: control.ask("POST", "/reset"),
        lambda: control.ask("PUT", "/rules", json.dumps([rule])),
    ]
    for reset in resets:
        assert statuses(api, 2) == [503, 201]
        assert reset()[0] == 200
    assert statuses(api, 2) == [503, 201]
    put(control, other, where="/rules?session=s")  # another list: that of the others goes on
    assert statuses(api, 1) == [201]
    assert statuses(api, 2, "/y", headers={"X-Slowapi-Session": "s"}) == [503, 201]
    put(control, other, where="/rules?session=t")
    assert statuses(api, 1, "/y", headers={"X-Slowapi-Session": "s"}) == [201]
    put(control, other, where="/rules?session=s")
    assert statuses(api, 1, "/y", headers={"X-Slowapi-Session": "s"}) == [503]


def test_the_sequences_of_a_session_begin_anew(ruled):
    answers = [{"status": 503}, {"status": 201}]
    api, control = ruled({"path": "/x", "session": "a", "answers": answers}, {"path": "/y", "key": "session", "answers": answers})

    def ask(path, session):
        return get(api, path, {"X-Slowapi-Session": session}).status

    assert [ask("/x", "a"), ask("/x", "a"), ask("/y", "a"), ask("/y", "b")] == [503, 201, 503, 503]
    assert control.ask("DELETE", "/sequences?session=a")[0] == 200
    assert [ask("/x", "a"), ask("/y", "a"), ask("/y", "b")] == [503, 503, 201]


def test_a_status_of_a_rule_wins_over_sequences_of_the_options(ruled):
    api, _ = ruled({"path": "/x", "answers": [{"status": 201}, {"params": "seq=202,203", "times": 2}, {"status": 204}]}, args=("--params", "seq=500,501"))
    assert statuses(api, 5) == [201, 202, 203, 204, 204] and answer_of(api, "/get") in (500, 501)


def test_every_answer_keeps_to_the_longest_delay(ruled):
    _, control = ruled(args=("--max-delay", "1s"))
    status, text = control.ask("PUT", "/rules", json.dumps([{"answers": [{"params": "delay=1s"}, {"params": "delay=2s"}]}]))
    assert (status, text) == (400, "rule 1: answer 2: asks for more than --max-delay\n")


@pytest.mark.parametrize("workers", [1, 2])
def test_every_answer_of_every_key_is_given_as_often_as_it_says(ruled, workers):
    """64 connections that are open at once, over all workers, of 8 keys: `rst, then 503 after 50 ms, then 200`."""
    answers = [{"params": "fault=rst", "times": 5}, {"params": "status=503&delay=50ms", "times": 7}, {"status": 200, "body": {"ok": 1}}]
    api, control = ruled({"name": "s", "path": "/x", "key": "header:X-Key", "answers": answers}, workers=workers)

    def client(number):
        return [(number % 8, answer_of(api, headers={"X-Key": str(number % 8)})) for _ in range(4)]

    seen = Counter(one for some in at_once(64, client) for one in some)
    assert seen == Counter({(key, what): times for key in range(8) for what, times in (("rst", 5), (503, 7), (200, 20))})
    stats = control.stats()
    assert (stats["rules"][0]["requests"], stats["faults"]["rst"], stats["status"]["5xx"], stats["status"]["2xx"]) == (256, 40, 56, 160)


def test_a_key_that_is_not_used_for_longest_is_forgotten(ruled):
    api, control = ruled({"path": "/x", "key": "query:k", "answers": [{"status": 503}, {"status": 201}]}, args=("--sequences", "2"))
    assert [get(api, f"/x?k={key}").status for key in "aabca"] == [503, 201, 503, 503, 503]
    assert control.stats()["sequence_evictions"] == 2


# --- time -------------------------------------------------------------------------------------------


def until(api, status, path="/x"):
    """Asks until it gets that status. The time that it took, and how often it got anything else."""
    start, others = time.monotonic(), Counter()
    while (seen := answer_of(api, path)) != status:
        others[seen] += 1
        assert time.monotonic() < start + 30, others
    return time.monotonic() - start, others


def test_an_outage_ends_by_itself(ruled):
    api, _ = ruled({"path": "/get", "status": 503, "for": "700ms"})
    took, others = until(api, 200, "/get")
    assert took > 0.69 and set(others) == {503}
    assert statuses(api, 3, "/get") == [200] * 3


def test_an_outage_that_began_with_the_rule_is_over_for_those_who_come_late(ruled):
    api, control = ruled({"path": "/get", "status": 503, "for": "300ms", "from": "put"})
    time.sleep(0.35)
    assert answer_of(api, "/get") == 200
    assert control.ask("DELETE", "/sequences")[0] == 200  # it begins again
    took, others = until(api, 200, "/get")
    assert set(others) <= {503} and took < 30


def test_an_outage_begins_later(ruled):
    api, _ = ruled({"path": "/get", "status": 503, "after": "500ms"})
    took, others = until(api, 503, "/get")
    assert took > 0.45 and set(others) == {200}
    assert statuses(api, 3, "/get") == [503] * 3


def test_an_outage_that_begins_later_ends_too(ruled):
    """After it comes what comes before: with requests that are counted nothing depends on when they come."""
    api, _ = ruled({"path": "/get", "status": 503, "after": "300ms", "times": 2})
    took, others = until(api, 503, "/get")
    assert took > 0.25 and set(others) == {200}
    assert statuses(api, 3, "/get") == [503, 200, 200]


def test_answers_go_on_in_time_while_nobody_asks(ruled):
    """503 for 200 ms, 502 for 200 ms, then 201: the second one is over when the next request comes."""
    answers = [{"status": 503, "for": "200ms"}, {"status": 502, "for": "200ms"}, {"status": 201, "times": 2}, {"status": 202}]
    api, _ = ruled({"path": "/x", "answers": answers})
    assert answer_of(api) == 503
    time.sleep(0.5)
    assert statuses(api, 4) == [201, 201, 202, 202]


def test_outages_that_come_back(ruled):
    answers = [{"pass": True, "for": "100ms"}, {"status": 503, "for": "100ms"}]
    api, _ = ruled({"path": "/get", "answers": answers, "end": "again"})
    time.sleep(0.05)
    seen = []
    for _ in range(6):
        seen.append(until(api, 503 if len(seen) % 2 == 0 else 200, "/get")[0])
    assert sum(seen) > 0.45


# --- scenarios --------------------------------------------------------------------------------------

ORDER = [
    {"name": "pay", "method": "POST", "path": "/pay", "scenario": "order", "when": "Started", "then": "paid", "status": 201},
    {"name": "again", "method": "POST", "path": "/pay", "scenario": "order", "status": 409, "then": "paid"},
    {"name": "ship", "method": "POST", "path": "/ship", "scenario": "order", "when": "paid", "then": "shipped", "status": 202},
    {"name": "status", "path": "/order", "scenario": "order", "when": "shipped", "body": {"state": "shipped"}},
    {"name": "open", "path": "/order", "body": {"state": "open"}},
]


def test_a_scenario_goes_from_state_to_state(ruled):
    api, control = ruled(*ORDER)

    def post(path):
        return request(api, "POST", path, b"").status

    assert post("/ship") == 404 and json.loads(get(api, "/order").text) == {"state": "open"}
    assert [post(path) for path in ("/pay", "/pay", "/ship", "/ship")] == [201, 409, 202, 404]
    assert json.loads(get(api, "/order").text) == {"state": "shipped"}
    assert control.ask("DELETE", "/sequences")[0] == 200
    assert json.loads(get(api, "/order").text) == {"state": "open"} and post("/pay") == 201
    put(control, *ORDER)
    assert post("/pay") == 201


def test_each_key_of_a_scenario_has_a_state_of_its_own(ruled):
    api, _ = ruled(*[rule | ({"key": "header:X-User"} if "scenario" in rule else {}) for rule in ORDER])

    def post(path, user):
        return request(api, "POST", path, b"", {"X-User": user}).status

    assert [post("/pay", user) for user in "aba"] == [201, 201, 409]
    assert [post("/ship", user) for user in "abc"] == [202, 202, 404]


@pytest.mark.parametrize("workers", [1, 2])
def test_a_state_is_left_by_one_request_only(ruled, workers):
    api, _ = ruled(*ORDER, workers=workers)
    seen = Counter(at_once(32, lambda _: request(api, "POST", "/pay", b"").status))
    assert seen == {201: 1, 409: 31}


# --- many -------------------------------------------------------------------------------------------


def test_a_thousand_rules_are_one_list(ruled):
    rules = [{"name": f"r{n}", "path": f"/api/v1/things/{n}/*", "body": {"thing": n, "text": "x" * 400}} for n in range(1024)]
    api, control = ruled(*rules)
    assert [rule_of(api, f"/api/v1/things/{n}/a") for n in (0, 500, 1023, 1024)] == ["r0", "r500", "r1023", None]
    assert len(json.loads(control.ask("GET", "/rules?hits=true")[1])) == 1024
    put(control, *rules)
    assert [rule["requests"] for rule in control.stats()["rules"]].count(1) == 3
    status, text = control.ask("PUT", "/rules", json.dumps([*rules, rules[0]]))
    assert status == 400 and "1025 rules; 1024 are the most" in text
    status, text = control.ask("PUT", "/rules", json.dumps([{"body": "x" * (1 << 20)}]))
    assert status == 400 and "bytes of rules; 1048575 are the most" in text


def test_a_long_pattern_takes_no_longer_than_its_text(ruled):
    """Tried from each byte anew it would take minutes, in which nobody is answered."""
    api, _ = ruled({"name": "it", "json": {"a": "*" + "a" * 100000 + "b*"}, "params": ""})
    for text, found in (("a" * 900000, None), ("a" * 900000 + "b", "it")):
        assert rule_of(api, "/", method="POST", body=json.dumps({"a": text}).encode()) == found


# --- docs -------------------------------------------------------------------------------------------

PAGE = (Path(__file__).resolve().parents[2] / "docs/slowapi-rules.md").read_text()
RECIPES = re.findall(r"^\*\*(.+?)\*\*: prints `(.+?)`.*\n\n((?:    .+\n)+)", PAGE, re.M)


def test_there_are_recipes():
    assert len(RECIPES) == PAGE.split("## Recipes")[1].count("\n**") >= 7


@pytest.mark.parametrize(("title", "printed", "commands"), RECIPES, ids=[title for title, _, _ in RECIPES])
def test_a_recipe_prints_what_the_page_says(ruled, title, printed, commands):
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    api, control = ruled()
    commands = commands.replace("http://127.0.0.1:4000/", api.url).replace("http://127.0.0.1:4001", control.url)
    done = subprocess.run(["bash", "-c", commands], text=True, capture_output=True, timeout=60)
    assert done.stdout.split("]")[-1].split() == printed.split(), done.stdout + done.stderr
