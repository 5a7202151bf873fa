# SPDX-License-Identifier: MIT
"""What a test suite asks of slowapi: which requests came (--journal), and rules of its own (sessions)."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from harness import RawConnection, children, get, request, srv_binary, wait_for
from test_slowapi_shapes import Control, at_once

ROOT = Path(__file__).resolve().parents[2]
OPTIONS = ("--delay", "0", "--control", "127.0.0.1:0", "--journal")


class Journal(Control):
    def list(self, query=""):
        status, text = self.ask("GET", f"/requests?{query}")
        assert status == 200, text
        found = json.loads(text)
        assert found["count"] >= len(found["requests"])
        return found["requests"]

    def count(self, query=""):
        status, text = self.ask("GET", f"/requests/count?{query}")
        return status, json.loads(text)["count"] if status in (200, 417) else text

    def ended(self, count, query=""):
        """Those that fit, once so many have ended: an answer is there before its end is written down."""
        wait_for(lambda: sum(one["outcome"] != "in-flight" for one in self.list(query)) == count, what=f"{count} ends")
        return self.list(query)


@pytest.fixture
def kept(slowapi):
    """kept(N, *OPTIONS) -> (the server, its journal)"""

    def start(size=1000, *options):
        api = slowapi(*OPTIONS, str(size), *options)
        return api, Journal(api)

    return start


def test_a_request_is_told_as_it_came(kept):
    api, journal = kept()
    headers = {"X-Two": "a  b", "Content-Type": "text/x"}
    assert request(api, "POST", "/post?a=%31&b", b"caf\xc3\xa9", headers).status == 200
    (one,) = journal.ended(1)
    assert (one["number"], one["method"], one["target"], one["client"]) == (1, "POST", "/post?a=%31&b", "127.0.0.1")
    assert one["headers"]["X-Two"] == ["a  b"] and one["headers"]["Content-Type"] == ["text/x"]
    assert (one["body"], one["body_bytes"], one["is_cut"]) == ("café", 5, False)
    assert (one["outcome"], one["status"], one["delay_ms"], one["rule"]) == ("answered", 200, 0, None)
    assert abs(time.time() - time.mktime(time.strptime(one["time"][:19], "%Y-%m-%dT%H:%M:%S")) + time.timezone) < 60
    assert request(api, "PUT", "/", b"\xff\0\x01").status == 200
    assert (journal.ended(2)[1]["body_base64"], journal.list()[1]["body_bytes"]) == ("/wAB", 3)


def test_a_header_that_is_there_twice_has_both_values(kept):
    api, journal = kept()
    with RawConnection(api) as conn:
        conn.send(b"GET /?delay=0 HTTP/1.1\r\nHost: x\r\nA: 1\r\nA: 2\r\n\r\n")
        assert conn.read_response().status == 200
    assert journal.list()[0]["headers"] == {"Host": ["x"], "A": ["1", "2"]}
    assert journal.count("header=a:2")[1] == 1 and journal.count("header=A:1,2")[1] == 0


def test_every_way_to_search(kept):
    api, journal = kept()
    assert journal.ask("PUT", "/rules", json.dumps([{"name": "tea", "path": "/tea", "params": "status=418"}]))[0] == 200
    get(api, "/tea?x=a%20b")
    get(api, "/tea/pot%2A")
    request(api, "POST", "/post", b"one two three", {"X-Slowapi-Session": "s 1"})
    request(api, "DELETE", "/delete?x=a+b", None, {"X-A": "b:c"})
    journal.ended(4)
    searches = {
        "": 4, "path=/tea": 1, "path=/tea*": 1, "path=/tea/**": 2, "path=**": 4, "path=*": 0, "path=/tea/pot%252A": 1, "path=/*e*t*": 1, "path=/**e**t**": 2, "path=/te": 0,
        "method=GET": 2, "method=POST": 1, "method=PUT": 0, "rule=tea": 1, "rule=": 3, "status=418": 1, "status=404": 1,
        "outcome=answered": 4, "outcome=reset": 0, "client=127.0.0.1": 4, "client=::1": 0, "session=s%201": 1, "session=s": 0,
        "arg=x=a%20b": 2, "arg=x%3Da": 0, "arg=x=a+b&method=GET": 1, "header=X-A:b:c": 1, "header=x-a: b:c": 1, "body=two": 1,
        "body=one%20two%20three%20": 0, "after=2": 2, "after=4": 0, "after=99": 0, "path=/tea**&rule=tea": 1,
    }  # fmt: skip
    for query, count in searches.items():
        query = query.replace(" ", "%20")
        assert journal.count(query) == (200, count), query
        assert len(journal.list(query)) == count, query
    assert [one["number"] for one in journal.list("limit=2")] == [3, 4] and journal.count("limit=2")[1] == 4


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("pat=/x", "pat: allowed are path, method"),
        ("path=x", "path: has a path that does not begin with /"),
        ("path=/a%3F", "queries are not matched"),
        ("path=/%25zz", "bad percent-escape"),
        ("path=%zz", "bad percent-escape"),
        ("method=BREW", "method: is no method"),
        ("status=many", "status: write a whole number"),
        ("header=a", "header: write NAME:VALUE"),
        ("arg=a", "arg: write NAME=VALUE"),
        ("times=-1", "times: write a whole number"),
        ("times=1&at-least=1", "at-least: the bound is given twice"),
        ("&".join(["header=a:b"] * 9), "header: at most 8"),
    ],
)
def test_a_bad_search_is_one_line(kept, query, said):
    _, journal = kept()
    for method, path in (("GET", "/requests"), ("GET", "/requests/count"), ("DELETE", "/requests")):
        status, text = journal.ask(method, f"{path}?{query}")
        assert status == 400 and said in text and text.count("\n") == 1


@pytest.mark.parametrize(
    ("method", "query", "said"),
    [("GET", "times=1", "for GET /requests/count alone"), ("DELETE", "at-most=2", "for GET /requests/count alone"), ("DELETE", "limit=1", "all that fits")],
)
def test_parameters_that_change_nothing_are_refused(kept, method, query, said):
    api, journal = kept()
    get(api, "/?delay=0")
    status, text = journal.ask(method, f"/requests?{query}")
    assert status == 400 and said in text and text.count("\n") == 1
    assert journal.count("times=1")[0] == 200


def test_was_it_called_so_often(kept):
    api, journal = kept()
    for _ in range(3):
        get(api, "/?delay=0")
    expected = {"times=3": 200, "times=2": 417, "at-least=3": 200, "at-least=4": 417, "at-most=3": 200, "at-most=2": 417,
                "at-least=1&at-most=2": 417, "at-least=3&at-most=9": 200, "times=0&path=/never": 200}  # fmt: skip
    for query, status in expected.items():
        assert journal.count(query)[0] == status, query
    assert json.loads(journal.ask("GET", "/requests/count?at-least=1&at-most=2")[1]) == {"count": 3, "wanted": "at least 1 and at most 2"}
    assert json.loads(journal.ask("GET", "/requests/count?times=9")[1])["wanted"] == "exactly 9"


@pytest.mark.parametrize("workers", [(), ("-w", "2")], ids=["alone", "two"])
def test_the_last_ones_are_kept(kept, workers):
    api, journal = kept(10, *workers)
    at_once(16, lambda turn: [get(api, f"/get?n={turn * 4 + i}") for i in range(4)])
    found = journal.ended(10)
    assert [one["number"] for one in found] == list(range(55, 65)) and journal.count()[1] == 10
    assert len({one["target"] for one in found}) == 10


def test_what_is_long_is_cut_and_told(kept):
    api, journal = kept()
    get(api, "/?delay=0&x=" + "y" * 7000, {"A": "b" * 3000, "C": "d"})
    request(api, "POST", "/?delay=0", b"z" * 100_000)
    first, second = journal.ended(2)
    assert first["is_cut"] and len(first["target"]) > 7000 and "A" not in first["headers"]
    assert second["is_cut"] and second["body_bytes"] == 100_000 and 7000 < len(second["body"]) < 8192


def test_a_chunked_body_in_pieces_and_a_client_that_leaves(kept):
    api, journal = kept()
    with RawConnection(api) as conn:
        conn.send(b"POST /?delay=0 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
        wait_for(lambda: [one["body"] for one in journal.list()] == ["abc"], what="the first piece")
        assert journal.list()[0]["outcome"] == "in-flight" and journal.list()[0]["status"] is None
        conn.send(b"2\r\nde\r\n0\r\n\r\n")
        assert conn.read_response().status == 200
    assert journal.ended(1)[0]["body"] == "abcde"
    with RawConnection(api) as conn:
        conn.send(b"GET /?delay=60 HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_for(lambda: journal.count("outcome=in-flight")[1] == 1, what="the request")
        conn.reset()
    assert (journal.ended(2)[1]["outcome"], journal.list()[1]["status"]) == ("aborted", None)


def test_requests_are_forgotten_all_or_those_that_fit(kept):
    api, journal = kept()
    for path in ("/get", "/ip", "/uuid"):
        get(api, path)
    assert journal.ask("DELETE", "/requests?path=/ip")[0] == 200
    assert [one["target"] for one in journal.list()] == ["/get", "/uuid"]
    assert journal.ask("DELETE", "/requests")[0] == 200 and journal.list() == []
    get(api, "/get")
    assert [one["number"] for one in journal.list()] == [4]
    assert journal.ask("POST", "/reset")[0] == 200 and journal.count()[1] == 0


def test_faults_and_refusals_are_kept_too(kept):
    api, journal = kept()
    get(api, "/nope"), get(api, "/?delay=x")
    with pytest.raises(OSError):
        get(api, "/?delay=0&fault=rst@head")
    found = journal.ended(3)
    assert [(one["status"], one["outcome"]) for one in found] == [(404, "answered"), (400, "answered"), (None, "reset")]


def test_a_killed_worker_loses_no_journal(kept):
    api, journal = kept(100, "-w", "2")
    with RawConnection(api) as conn:
        for _ in range(5):
            get(api, "/get")
        conn.send(b"GET /?delay=60 HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_for(lambda: journal.count()[1] == 6, what="six requests")
        for pid in children(api.pid):
            os.kill(pid, signal.SIGKILL)
    wait_for(lambda: answers(api), what="a new worker")
    assert journal.count("path=/get")[1] >= 6 and journal.count("outcome=in-flight&arg=delay%3D60")[1] == 1


def answers(api):
    """False: it was asked of a worker that was being killed."""
    try:
        return get(api, "/get").status == 200
    except OSError:
        return False


def test_without_a_journal_it_is_said(slowapi, srv_run):
    control = Control(slowapi("--delay", "0", "--control", "127.0.0.1:0"))
    for method, path in (("GET", "/requests"), ("DELETE", "/requests"), ("GET", "/requests/count")):
        status, text = control.ask(method, path)
        assert status == 404 and "--journal N" in text
    done = srv_run("slowapi", "--journal", "5")
    assert done.returncode == 2 and "--journal: needs --control" in done.stderr and done.stderr.count("\n") == 1


# --- sessions ---------------------------------------------------------------------------------------


def ask(api, path, session=None):
    return get(api, path, {"X-Slowapi-Session": session} if session else None)


def test_suites_with_sessions_do_not_meet(kept):
    api, journal = kept()
    shared = [{"name": "all", "path": "/x", "params": "status=201"}]
    assert journal.ask("PUT", "/rules", json.dumps(shared))[0] == 200
    assert ask(api, "/x").status == 201
    for session, status in (("a", 418), ("b b", 503)):
        rules = json.dumps([{"name": session, "path": "/x", "params": f"status={status}"}])
        code, text = journal.ask("PUT", f"/rules?session={session.replace(' ', '%20')}", rules)
        assert code == 200 and json.loads(text)[0]["session"] == session
    assert [ask(api, "/x", session).status for session in (None, "a", "b b", "c")] == [201, 418, 503, 201]
    counts = {rule["name"]: rule["requests"] for rule in journal.stats()["rules"]}
    assert counts == {"all": 3, "a": 1, "b b": 1}  # those of others went on when b's rules came
    assert journal.ask("DELETE", "/rules?session=a")[0] == 200
    assert [ask(api, "/x", session).status for session in ("a", "b b")] == [201, 503]
    assert journal.ask("DELETE", "/rules")[0] == 200 and ask(api, "/x", "b b").status == 404
    assert journal.count("session=a")[1] == 2


def test_sessions_count_by_themselves(kept):
    api, _ = kept()
    seen = [ask(api, "/?delay=0&seq=503,200", session).status for session in ("a", "b", "a", "b", None)]
    assert seen == [503, 503, 200, 200, 503]


def test_many_sessions_change_their_rules_at_once(kept):
    api, journal = kept(100, "-w", "2")

    def suite(number):
        for turn in range(6):
            rules = [{"path": "/turn", "params": f"status={500 + turn}"}]
            assert Control(api).ask("PUT", f"/rules?session=s{number}", json.dumps(rules))[0] == 200
            wait_for(lambda turn=turn: ask(api, "/turn", f"s{number}").status == 500 + turn, what="the rule in every worker")
        return True

    assert at_once(8, suite) == [True] * 8
    assert len(json.loads(journal.ask("GET", "/rules")[1])) == 8


@pytest.mark.parametrize(
    ("query", "body", "said"),
    [
        ("session=", "[]", "session that no header can name"),
        ("session=%20a", "[]", "session that no header can name"),
        ("session=a%0D%0Ab", "[]", "session that no header can name"),
        ("session=" + "x" * 200, "[]", "more than 128 bytes"),
        ("session=" + "x" * 600, "[]", "too long"),
        ("session=a&session=b", "[]", "one session=NAME"),
        ("sesion=a", "[]", "one session=NAME"),
        ("session=a", "{}", "rules are a JSON array"),
        ("session=a", "[1]", "is not an object"),
        ("session=a", "[", "not JSON"),
        ("session=a", '[{"path":"/x","params":"delay=x"}]', "rule 1: delay"),
        ("session=a", '[{"session":"b","params":"delay=1"}]', "rule 1: is of another session"),
        ("", '[{"session":7,"params":"delay=1"}]', "rule 1: has a session that is no text"),
        ("", '[{"session":"","params":"delay=1"}]', "rule 1: has a session"),
        ("", '[{"query":{"a":1},"params":"delay=1"}]', "rule 1: has an argument in query whose value is no text"),
        ("", '[{"query":["a"],"params":"delay=1"}]', "rule 1: has a query that is no object"),
        ("", '[{"query":{"":"1"},"params":"delay=1"}]', "without a name"),
    ],
)
def test_bad_sessions_and_rules_change_nothing(kept, query, body, said):
    _, journal = kept()
    assert journal.ask("PUT", "/rules", '[{"path":"/kept","params":"delay=0"}]')[0] == 200
    status, text = journal.ask("PUT", f"/rules?{query}", body)
    assert status == 400 and said in text and text.count("\n") == 1
    assert json.loads(journal.ask("GET", "/rules")[1]) == [{"path": "/kept", "params": "delay=0"}]


def test_too_many_rules_of_all_sessions_together(kept):
    _, journal = kept()
    rules = json.dumps([{"params": "delay=0"}] * 600)
    assert journal.ask("PUT", "/rules?session=a", rules)[0] == 200
    status, text = journal.ask("PUT", "/rules?session=b", rules)
    assert status == 400 and "1200 rules; 1024 are the most" in text
    assert len(json.loads(journal.ask("GET", "/rules")[1])) == 600


def test_a_rule_matches_by_the_query(kept):
    api, journal = kept()
    rules = [{"path": "/pay", "query": {"currency": "eur", "note": "a b"}, "params": "status=402"}, {"query": {"any": ""}, "params": "status=410"}]
    assert journal.ask("PUT", "/rules", json.dumps(rules))[0] == 200
    assert get(api, "/pay?note=a+b&x=y&currency=eur").status == 402
    assert get(api, "/pay?%6eote=a%20b&currency=usd&currency=eur").status == 402
    assert [get(api, path).status for path in ("/pay?currency=eur", "/pay?currency=eur&note=a", "/?delay=0&any", "/?delay=0&any=")] == [404, 404, 410, 410]


# --- examples ---------------------------------------------------------------------------------------


def test_the_fixture_for_pytest_works_as_it_is(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(tmp_path), str(ROOT / "examples/slowapi_pytest.py")],
        env=os.environ | {"SRV": srv_binary()}, text=True, capture_output=True, timeout=120, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0 and "passed" in done.stdout, done.stdout + done.stderr


def test_the_helper_for_node_works_as_it_is():
    node = next((path for path in map(Path, ("/usr/bin/node", "/usr/bin/nodejs", "/usr/local/bin/node")) if path.exists()), None)
    if node is None:
        pytest.skip("node is not installed")
    done = subprocess.run([node, "--test", ROOT / "examples/slowapi_node.mjs"], env=os.environ | {"SRV": srv_binary()}, text=True, capture_output=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
