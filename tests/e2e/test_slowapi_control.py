# SPDX-License-Identifier: MIT
"""The control endpoint of slowapi: what changes rules, faults and counters while requests come."""

import json
import urllib.error
import urllib.request

import pytest
from harness import Client, RawConnection, get, request, wait_for
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


# --- counts of paths and sessions -------------------------------------------------------------------


def path_counts(control):
    return {row["path"]: (row["requests"], row["unanswered"], sum(row["status"].values())) for row in control.stats()["paths"]}


@pytest.mark.parametrize("workers", ["1", "2"])
def test_each_path_is_counted(slowapi, workers):
    control = Control(api := slowapi("--control", "0", "--delay", "0", "-w", workers))
    for path in ["/", "/", "/?delay=0&status=500", "/get?x=1", "/ge%74", "/nope", "/status/404", "/caf%C3%A9%ff"]:
        get(api, path)
    with pytest.raises(OSError):
        get(api, "/get?fault=rst@head")
    with RawConnection(api) as conn:
        conn.send(b"BREW /get HTTP/1.1\r\nHost: x\r\n\r\nGET /%zz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert [conn.read_response().status for _ in range(2)] == [501, 400]
    wait_for(lambda: control.stats()["in_flight"] == 0, what="the ends")
    assert path_counts(control) == {"/": (3, 0, 3), "/get": (3, 1, 2), "/nope": (1, 0, 1), "/status/404": (1, 0, 1),
                                    "/cafÃ©ÿ": (1, 0, 1), None: (2, 0, 2)}  # fmt: skip
    stats = control.stats()
    assert (stats["requests"], stats["unanswered"], stats["status"]) == (11, 1, {"1xx": 0, "2xx": 4, "3xx": 0, "4xx": 4, "5xx": 2})
    metrics = control.ask("GET", "/metrics")[1]
    assert 'slowapi_path_requests_total{path="/get"} 3\n' in metrics and 'slowapi_path_requests_total{path=""} 2\n' in metrics


def test_only_so_many_paths_are_counted_until_a_reset(slowapi):
    control = Control(api := slowapi("--control", "0", "--delay", "0"))
    client = Client(api)
    for n in range(300):
        client.ask("GET", f"/many/{n}")
    client.ask("GET", "/" + "x" * 200), client.ask("GET", "/many/299"), client.ask("GET", "/many/7")
    counts = path_counts(control)
    assert len(counts) == 256 and counts["/many/7"][0] == 2 and counts[None][0] == 300 - 255 + 2
    control.ask("DELETE", "/stats")
    client.ask("GET", "/many/299")
    assert path_counts(control) == {"/many/299": (1, 0, 1)}
    client.close()


def test_a_path_that_was_forgotten_meanwhile_ends_among_the_others(slowapi):
    control = Control(api := slowapi("--control", "0", "--delay", "0"))
    with RawConnection(api) as conn:
        conn.send(b"GET /delay/30 HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_for(lambda: control.stats()["in_flight"] == 1, what="a sleeper")
        assert control.ask("DELETE", "/stats")[0] == 200
        get(api, "/get")
    wait_for(lambda: control.stats()["in_flight"] == 0, what="the end")
    assert path_counts(control) == {"/get": (1, 0, 1), None: (0, 1, 0)}


def test_what_a_session_did_is_summed_up_and_reset_alone(slowapi):
    control = Control(api := slowapi("--control", "0", "--delay", "0", "--journal", "100"))
    mine, other = {"X-Slowapi-Session": "mine"}, {"X-Slowapi-Session": "other"}
    rules = json.dumps([{"name": "twice", "path": "/x", "params": "seq=503,503,200&limit=9/1h"}])
    assert control.ask("PUT", "/rules?session=mine", rules)[0] == control.ask("PUT", "/rules?session=other", rules)[0] == 200
    assert [get(api, "/x", mine).status for _ in range(2)] == [503, 503]
    assert [get(api, "/x", other).status for _ in range(3)] == [503, 503, 200]
    with pytest.raises(OSError):
        get(api, "/get?fault=rst@head", mine)
    wait_for(lambda: control.stats()["in_flight"] == 0, what="the ends")
    status, text = control.ask("GET", "/stats?session=mine")
    assert status == 200 and json.loads(text) == {
        "requests": 3, "unanswered": 1, "status": {"503": 2}, "outcomes": {"answered": 2, "reset": 1}, "rules": {"twice": 2},
        "faults": {"rst": 1}, "paths": {"/x": 2, "/get": 1}}  # fmt: skip
    assert control.ask("POST", "/reset?session=mine", "") == (200, "reset\n")
    assert json.loads(control.ask("GET", "/stats?session=mine")[1])["requests"] == 0
    assert json.loads(control.ask("GET", "/stats?session=other")[1])["status"] == {"503": 2, "200": 1}
    reply = request(api, "GET", "/x", None, mine)
    assert reply.status == 503 and reply.headers["ratelimit-remaining"] == "8"
    assert get(api, "/x", other).status == 503  # its fourth
    assert [rule["requests"] for rule in control.stats()["rules"]] == [4, 1]
    assert control.ask("DELETE", "/sequences?session=other")[0] == 200
    assert [get(api, "/x", other).status for _ in range(3)] == [503, 503, 200]


def test_answers_and_states_of_a_session_begin_anew_alone(slowapi):
    control = Control(api := slowapi("--control", "0", "--delay", "0"))
    mine, other = {"X-Slowapi-Session": "mine"}, {"X-Slowapi-Session": "other"}
    answers = [{"status": 503}, {"status": 200}]
    rules = [{"path": "/answers", "answers": answers}, {"path": "/keyed", "key": "session", "answers": answers},
             {"path": "/pay", "scenario": "s", "when": "Started", "then": "paid", "status": 201}, {"path": "/pay", "scenario": "s", "when": "paid", "status": 409}]  # fmt: skip
    for session in ("mine", "other"):
        assert control.ask("PUT", f"/rules?session={session}", json.dumps(rules))[0] == 200
    paths = ("/answers", "/keyed", "/pay")
    assert [get(api, path, who).status for path in paths for who in (mine, mine, other)] == [503, 200, 503] * 2 + [201, 409, 201]
    assert control.ask("POST", "/reset?session=mine", "")[0] == 200
    assert [get(api, path, who).status for path in paths for who in (mine, other)] == [503, 200] * 2 + [201, 409]


def test_queries_that_change_nothing_are_refused(slowapi):
    control = Control(slowapi("--control", "0", "--journal", "5"))
    for method, path in (("DELETE", "/stats?session=a"), ("DELETE", "/queues?x"), ("GET", "/queues?x"), ("GET", "/faults?a=b"),
                         ("PUT", "/faults?a=b"), ("POST", "/reset?sesion=a"), ("POST", "/reset?session="), ("DELETE", "/sequences?session="), ("DELETE", "/sequences?key=a"), ("GET", "/stats?limit=2"),
                         ("GET", "/stats?sesion=a"), ("GET", "/requests?fault=none")):  # fmt: skip
        status, text = control.ask(method, path, "{}" if method in ("PUT", "POST") else None)
        assert status == 400 and text.count("\n") == 1, path


# --- faults and queues ------------------------------------------------------------------------------


def test_kinds_of_faults_are_switched_off_and_on(slowapi):
    control = Control(api := slowapi("--control", "0", "--delay", "0", "--params", "fault=rst@accept:0,badheader"))
    assert control.ask("PUT", "/faults", '{"badheader": false, "fin": false}')[0] == 200
    assert get(api, "/?delay=0").status == 200 and get(api, "/?fault=fin@head").status == 200
    shown = {row["kind"]: row for row in json.loads(control.ask("GET", "/faults")[1])}
    assert [kind for kind, row in shown.items() if not row["enabled"]] == ["fin", "badheader"]
    assert control.ask("PUT", "/faults", '{"badheader": true, "fin": true, "rst": true}')[0] == 200
    with pytest.raises(Exception):
        get(api, "/?fault=fin@head")
    shown = {row["kind"]: row for row in json.loads(control.ask("GET", "/faults")[1])}
    assert all(row["enabled"] for row in shown.values()) and shown["fin"]["struck"] == 1 and shown["rst"]["struck"] == 0
    assert {kind: row["struck"] for kind, row in shown.items()} == control.stats()["faults"]


def test_faults_of_connections_are_switched_off_too(slowapi):
    control = Control(api := slowapi("--control", "0", "--delay", "0", "--params", "fault=refuse"))
    with pytest.raises(OSError):
        get(api)
    assert control.ask("PUT", "/faults", '{"refuse": false}')[0] == 200
    assert get(api).status == 200 and control.stats()["faults"]["refuse"] == 1


@pytest.mark.parametrize(
    ("body", "said"),
    [("", "not JSON"), ("[]", "an object such as"), ('{"boo": false}', "'boo' is no kind of fault"), ('{"rst": 0}', "'rst' is to be true or false")],
)
def test_bad_switches_change_nothing(slowapi, body, said):
    control = Control(slowapi("--control", "0"))
    assert control.ask("PUT", "/faults", '{"fin": false}')[0] == 200
    status, text = control.ask("PUT", "/faults", body.replace("{", '{"hang": false, ', 1) if body.startswith("{") else body)
    assert status == 400 and said in text and text.count("\n") == 1
    assert [row["kind"] for row in json.loads(control.ask("GET", "/faults")[1]) if not row["enabled"]] == ["fin"]


def test_queues_are_told(slowapi):
    control = Control(api := slowapi("--control", "0", "--delay", "0"))
    assert json.loads(control.ask("GET", "/queues")[1]) == []
    connections = [RawConnection(api) for _ in range(4)]
    for n, conn in enumerate(connections):
        conn.send(b"GET /get?workers=1&service=60&queue=2 HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_for(lambda n=n: control.stats()["requests"] == n + 1, what="the request")
    (queue,) = json.loads(control.ask("GET", "/queues")[1])
    assert queue == {"path": "/get", "workers": 1, "busy": 1, "queue": 2, "waiting": 2, "requests": 4, "refused": 1}
    for conn in connections:
        conn.close()
    assert control.ask("DELETE", "/queues")[0] == 200 and json.loads(control.ask("GET", "/queues")[1]) == []


def test_distributions_add_up_to_their_counts(slowapi):
    control = Control(api := slowapi("--control", "0", "--seed", "3"))
    client = Client(api)
    for n in range(200):
        client.ask("GET", f"/?delay=exp:1ms&seed={n}")
    client.ask("GET", "/?delay=0.03")
    stats = control.stats()
    for name, bins in stats["distributions"].items():
        assert sum(bins.values()) == stats[name]["count"] == 201 and 0 not in bins.values()
        bounds = [float(bound) for bound in bins]
        assert bounds == sorted(bounds) and bounds[-1] >= stats[name]["max_ms"] * 0.95
    assert stats["distributions"]["planned"]["30"] == 1
    below = sum(count for bound, count in stats["distributions"]["planned"].items() if float(bound) <= stats["planned"]["p50_ms"])
    assert below <= 110
    client.close()
