# SPDX-License-Identifier: MIT
"""`limit=N/DURATION`: so many answers in each window, 429 for the rest."""

import collections
import time

import pytest
from harness import Client, get, request
from test_slowapi_shapes import Control, at_once


@pytest.mark.parametrize("workers", [(), ("-w", "2")], ids=["alone", "two"])
def test_a_window_is_exact_under_64_connections(slowapi, workers):
    api = slowapi("--delay", "0", "--params", "limit=100/1h", "--control", "127.0.0.1:0", *workers)

    def client(_):
        one = Client(api)
        return [one.ask("GET", "/").status for _ in range(10)]

    statuses = collections.Counter(status for some in at_once(64, client) for status in some)
    assert statuses == {200: 100, 429: 540}
    assert Control(api).stats()["limited"] == 540


def test_what_the_answers_tell(slowapi):
    client = Client(slowapi("--delay", "0"))
    replies = [client.ask("GET", "/get?limit=2/1h&status=503&fault=rst@head:0") for _ in range(3)]
    assert [reply.status for reply in replies] == [503, 503, 429]
    assert [reply.headers["ratelimit-remaining"] for reply in replies] == ["1", "0", "0"]
    assert {reply.headers["ratelimit-limit"] for reply in replies} == {"2"}
    assert 3500 < int(replies[2].headers["ratelimit-reset"]) <= 3600
    assert replies[2].headers["retry-after"] == replies[2].headers["ratelimit-reset"] and "retry-after" not in replies[0].headers
    assert replies[2].text == "too many requests\n"


def test_the_next_window_begins_anew(slowapi):
    api = slowapi("--delay", "0")
    statuses = collections.Counter()
    begin = time.monotonic()
    while time.monotonic() - begin < 2.2:
        statuses[get(api, "/?limit=3/500ms").status] += 1
    windows = (time.monotonic() - begin) / 0.5 + 1
    assert 3 * 4 <= statuses[200] <= 3 * (windows + 1) and statuses[429] > 0


def test_clients_keys_and_sessions_count_by_themselves(slowapi):
    api = slowapi("--delay", "0", "--params", "limit=1/1h")
    ask = lambda path, **headers: get(api, path, headers).status  # noqa: E731
    assert [ask("/"), ask("/get"), ask("/?key=a"), ask("/ip?key=a"), ask("/?key=b")] == [200, 429, 200, 429, 200]
    session = {"X-Slowapi-Session": "s"}
    assert [get(api, "/", session).status, get(api, "/", session).status] == [200, 429]
    assert [ask("/?limit=2/1h"), ask("/?limit=2/1h"), ask("/?limit=2/1h")] == [200, 200, 429]  # another limit is another count


def test_what_is_refused_does_not_happen(slowapi):
    api = slowapi("--delay", "0", "--params", "limit=1/1h")
    assert get(api, "/?seq=201,202").status == 201
    begin = time.monotonic()
    assert get(api, "/?seq=201,202&delay=30&fault=rst@head").status == 429
    assert time.monotonic() - begin < 15
    assert get(api, "/?seq=201,202&key=other").status == 201


@pytest.mark.parametrize("value", ["", "5", "/1s", "0/1s", "-1/1s", "1000001/1s", "5/0", "5/0.5ms", "5/25h", "5/x", "x/1s", "5/1s/1s", "1.5/1s"])
def test_bad_values_are_one_line(slowapi, srv_run, value):
    done = srv_run("slowapi", "--params", f"limit={value}")
    assert done.returncode == 2 and "limit" in done.stderr and done.stderr.count("\n") == 1
    if value:
        reply = get(slowapi("--delay", "0"), f"/?limit={value}")
        assert reply.status == 400 and "limit" in reply.text


@pytest.mark.parametrize("path", ["/anything", "/post", "/echo", "/?body=x%7B%7Bjson.a%7D%7D"])
def test_a_full_queue_and_a_pause_are_told_where_the_body_makes_the_answer(slowapi, path):
    api = slowapi("--delay", "0")
    busy = path + ("&" if "?" in path else "?") + "workers=1&service=100ms&queue=0"
    replies = at_once(8, lambda _: request(api, "POST", busy, b'{"a": "b"}'))
    full = [reply for reply in replies if reply.status == 503]
    assert full and all(reply.text == "the queue is full\n" and "retry-after" in reply.headers for reply in full)
    paused = request(api, "POST", path + ("&" if "?" in path else "?") + "pause=every=10s,for=10s,status=502", b"{}")
    assert (paused.status, paused.text) == (502, "paused\n")
    assert request(api, "POST", path, b'{"a": "b"}').status == 200


# --- keys out of requests -----------------------------------------------------------


def test_a_limit_for_each_api_key(slowapi):
    """What an API with keys does: each has its window, and those without share one."""
    api = slowapi("--delay", "0", "--params", "limit=2/1h&key={{header.X-Api-Key}}", "-w", "2")
    ask = lambda path="/", **headers: get(api, path, {name.replace("_", "-"): value for name, value in headers.items()}).status  # noqa: E731
    assert [ask(x_api_key="a") for _ in range(3)] == [200, 200, 429]
    assert [ask("/get", x_api_key="b") for _ in range(3)] == [200, 200, 429]
    assert [ask() for _ in range(3)] == [200, 200, 429]
    assert ask("/?key=own", x_api_key="a") == 200  # a later layer's key


def test_a_limit_for_each_user_and_path(slowapi):
    api = slowapi("--delay", "0")
    ask = lambda path, user: get(api, f"{path}?limit=1/1h&user={user}&key=%7B%7Bquery.user%7D%7D%20%7B%7Bpath%7D%7D%20%7B%7Bmethod%7D%7D").status  # noqa: E731
    assert [ask("/get", "a"), ask("/get", "a"), ask("/get", "b"), ask("/ip", "a"), ask("/ip", "a")] == [200, 429, 200, 200, 429]
    assert request(api, "POST", "/post?limit=1/1h&user=a&key={{query.user}}%20{{path}}%20{{method}}", b"x").status == 200


@pytest.mark.parametrize("key", ["{{seq}}", "{{json.a}}", "{{body}}", "{{now}}", "{{uuid}}", "{{x}}", "{{header.}}", "{{header.a"])
def test_keys_that_cannot_be(slowapi, srv_run, key):
    done = srv_run("slowapi", "--params", f"limit=1/1h&key={key}")
    assert done.returncode == 2 and "key" in done.stderr and done.stderr.count("\n") == 1
    reply = get(slowapi("--delay", "0"), f"/?limit=1/1h&key={key}")
    assert reply.status == 400 and reply.text.startswith("key")


def test_budgets_and_sequences_take_such_keys(slowapi):
    api = slowapi("--delay", "0", "--params", "seq=201,202&key={{header.X-User}}")
    ask = lambda user: get(api, "/", {"X-User": user}).status  # noqa: E731
    assert [ask("a"), ask("b"), ask("a"), ask("b")] == [201, 201, 202, 202]
