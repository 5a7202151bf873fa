# SPDX-License-Identifier: MIT
"""The control endpoint of slowapi: what changes rules, faults and counters while requests come."""

import json
import urllib.error
import urllib.request

from harness import get
from test_slowapi_shapes import Control


def exchange(control, method, path, body=None, headers=None):
    """(status, headers, text)"""
    asked = urllib.request.Request(control.url + path, body.encode() if body is not None else None, headers or {}, method=method)
    try:
        with urllib.request.urlopen(asked, timeout=20) as answer:
            return answer.status, answer.headers, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read().decode()


def put_rules(control, *rules):
    status, text = control.ask("PUT", "/rules", json.dumps(rules))
    assert status == 200, text


def rule_counts(control):
    return {rule["name"]: rule["requests"] for rule in control.stats()["rules"]}


# --- rules ------------------------------------------------------------------------------------------


def test_a_rule_that_is_off_matches_nothing(slowapi):
    control = Control(api := slowapi("--control", "0", "--delay", "0"))
    rules = [{"name": "a", "path": "/x", "params": "status=418"}, {"name": "b", "path": "/x", "params": "status=503"}]
    put_rules(control, *rules)
    assert get(api, "/x").status == 418
    put_rules(control, rules[0] | {"enabled": False}, rules[1])
    assert get(api, "/x").status == 503
    put_rules(control, rules[0] | {"enabled": False}, rules[1] | {"enabled": False})
    assert get(api, "/x").status == 404
    put_rules(control, rules[0] | {"enabled": True}, rules[1])
    assert get(api, "/x").status == 418
    assert rule_counts(control) == {"a": 2, "b": 1}
    status, text = control.ask("PUT", "/rules", '[{"enabled":0,"params":"delay=1"}]')
    assert status == 400 and "enabled, which is true or false" in text and text.count("\n") == 1


def test_rules_that_stay_go_on_counting(slowapi):
    control = Control(api := slowapi("--control", "0", "--delay", "0"))
    named, nameless = {"name": "n", "path": "/n", "params": "delay=0"}, {"path": "/x", "params": "status=418"}
    put_rules(control, named, nameless)
    get(api, "/n"), get(api, "/x"), get(api, "/x")
    put_rules(control, {"path": "/new", "params": "delay=0"}, nameless | {"enabled": False}, named | {"params": "status=201"})
    assert [rule["requests"] for rule in control.stats()["rules"]] == [0, 2, 1]
    put_rules(control, nameless, nameless, named | {"name": "other"})
    assert [rule["requests"] for rule in control.stats()["rules"]] == [2, 0, 0]  # of two that are alike the first goes on


def test_a_list_that_changed_meanwhile_is_not_overwritten(slowapi):
    control = Control(slowapi("--control", "0", "--delay", "0"))
    one, two = (json.dumps([{"path": path, "params": "delay=0"}]) for path in ("/one", "/two"))
    before = exchange(control, "GET", "/rules")[1]["ETag"]
    status, headers, _ = exchange(control, "PUT", "/rules", one, {"If-Match": before})
    assert status == 200 and headers["ETag"] not in (None, before)
    for method, body in (("PUT", two), ("DELETE", None)):
        status, _, text = exchange(control, method, "/rules", body, {"If-Match": before})
        assert status == 412 and "read them again" in text and text.count("\n") == 1
    assert json.loads(control.ask("GET", "/rules")[1]) == json.loads(one)
    assert exchange(control, "GET", "/rules")[1]["ETag"] == headers["ETag"]
    assert exchange(control, "PUT", "/rules", two, {"If-Match": "*"})[0] == 200
    status, _, text = exchange(control, "PUT", "/rules?session=a", "[]", {"If-Match": before})
    assert status in (400, 412)
    status, _, text = exchange(control, "PUT", "/rules?session=a", "[]", {"If-Match": exchange(control, "GET", "/rules")[1]["ETag"]})
    assert status == 400 and "leave the session out" in text
