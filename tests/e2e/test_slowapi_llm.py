# SPDX-License-Identifier: MIT
"""srv slowapi as a language model: the shape of OpenAI's chat completions, laws, budgets, faults in a stream."""

import http.client
import json
import time

import pytest
from harness import Client, RawConnection, request

PATH = "/v1/chat/completions"
FAST = ("--params", "tokens=5")


def body(**more):
    return json.dumps({"model": "any-1", "messages": [{"role": "user", "content": "Hello there"}], **more})


def ask(api, query="", headers=None, **more):
    return request(api, "POST", PATH + query, body(**more), headers or {})


def events(text):
    """The data of each event; as a browser reads it, for streams whose events have one line of data."""
    assert text.endswith("\n\n")
    blocks = text.removesuffix("\n\n").split("\n\n")
    assert all(block.startswith("data: ") and "\n" not in block for block in blocks)
    return [block.removeprefix("data: ") for block in blocks]


def chunks(text):
    data = events(text)
    assert data[-1] == "[DONE]"
    return [json.loads(one) for one in data[:-1]]


def said(stream):
    return "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in stream if chunk["choices"])


# --- shape --------------------------------------------------------------------------


def test_a_stream_has_a_role_then_tokens_then_a_reason_then_done(slowapi):
    reply = ask(slowapi(*FAST), stream=True)
    assert reply.status == 200
    assert reply.headers["content-type"].startswith("text/event-stream")
    stream = chunks(reply.text)
    assert len(stream) == 7  # the role, five tokens, the reason
    assert {chunk["object"] for chunk in stream} == {"chat.completion.chunk"}
    assert len({chunk["id"] for chunk in stream}) == 1 and stream[0]["id"].startswith("chatcmpl-")
    assert {chunk["model"] for chunk in stream} == {"any-1"}
    assert abs(stream[0]["created"] - time.time()) < 60
    assert stream[0]["choices"][0]["delta"] == {"role": "assistant", "content": "", "refusal": None}
    assert all(set(chunk["choices"][0]["delta"]) == {"content"} for chunk in stream[1:-1])
    assert stream[-1]["choices"][0]["delta"] == {}
    assert [chunk["choices"][0]["finish_reason"] for chunk in stream] == [None] * 6 + ["stop"]
    assert all("usage" not in chunk for chunk in stream)
    assert len(said(stream).split()) == 5


def test_a_stream_tells_its_usage_when_asked(slowapi):
    stream = chunks(ask(slowapi(*FAST), stream=True, stream_options={"include_usage": True}).text)
    assert all(chunk["usage"] is None for chunk in stream[:-1])
    assert stream[-1]["choices"] == []
    usage = stream[-1]["usage"]
    assert usage["completion_tokens"] == 5
    assert usage["prompt_tokens"] == 3 + 4 + 3  # the answer's begin, a message, 11 bytes of text
    assert usage["total_tokens"] == 15


def test_without_stream_the_answer_is_one_object_that_says_the_same(slowapi):
    api = slowapi(*FAST)
    for more in ({}, {"stream": False}, {"stream": None}):
        reply = ask(api, "?seed=7", **more)
        assert (reply.status, reply.headers["content-type"]) == (200, "application/json")
        whole = json.loads(reply.text)
        assert whole["object"] == "chat.completion"
        choice = whole["choices"][0]
        assert (choice["index"], choice["finish_reason"]) == (0, "stop")
        assert choice["message"]["role"] == "assistant"
        assert whole["usage"] == {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
        assert choice["message"]["content"] == said(chunks(ask(api, "?seed=7", stream=True).text))


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_max_tokens_cuts_the_answer(slowapi, name):
    api = slowapi(*FAST)
    stream = chunks(ask(api, stream=True, **{name: 2}).text)
    assert len(said(stream).split()) == 2
    assert stream[-1]["choices"][0]["finish_reason"] == "length"
    assert json.loads(ask(api, **{name: 5}).text)["choices"][0]["finish_reason"] == "stop"
    assert json.loads(ask(api, **{name: 1}).text)["usage"]["completion_tokens"] == 1


def test_parts_of_a_message_count_as_its_text(slowapi):
    parts = [{"type": "text", "text": "x" * 41}, {"type": "image_url", "image_url": {"url": "http://x/"}}]
    reply = ask(slowapi(*FAST), messages=[{"role": "system", "content": ""}, {"role": "user", "content": parts}])
    assert json.loads(reply.text)["usage"]["prompt_tokens"] == 3 + 4 + 4 + 11


def test_a_name_of_any_characters_comes_back(slowapi):
    name = 'ä"\\\n\u2028/x'
    api = slowapi(*FAST)
    assert json.loads(ask(api, model=name).text)["model"] == name
    assert {chunk["model"] for chunk in chunks(ask(api, model=name, stream=True).text)} == {name}


def test_models_are_listed_and_any_name_is_one(slowapi):
    api = slowapi()
    listed = json.loads(request(api, "GET", "/v1/models").text)
    assert listed["object"] == "list" and listed["data"][0]["object"] == "model"
    assert json.loads(request(api, "GET", "/v1/models/org/name").text)["id"] == "org/name"


MESSAGE = {"role": "user", "content": "x"}


@pytest.mark.parametrize(
    "text, param, words",
    [
        ("", None, "empty"),
        ("{", None, "no JSON object: "),
        ("[]", None, "no JSON object"),
        (json.dumps({"messages": [MESSAGE]}), "model", "model"),
        (json.dumps({"model": 1, "messages": [MESSAGE]}), "model", "model"),
        (json.dumps({"model": "m" * 257, "messages": [MESSAGE]}), "model", "256"),
        (json.dumps({"model": "m"}), "messages", "messages"),
        (json.dumps({"model": "m", "messages": []}), "messages", "messages"),
        (json.dumps({"model": "m", "messages": [MESSAGE, {}]}), "messages", "messages.1"),
        (json.dumps({"model": "m", "messages": [MESSAGE], "stream": "yes"}), "stream", "stream"),
        (json.dumps({"model": "m", "messages": [MESSAGE], "max_tokens": 0}), "max_tokens", "max_tokens"),
        (json.dumps({"model": "m", "messages": [MESSAGE], "max_completion_tokens": 1.5}), "max_completion_tokens", "1 or"),
        (json.dumps({"model": "m", "messages": [MESSAGE], "n": 2}), "n", "n is 1"),
        (json.dumps({"model": "m", "messages": [MESSAGE], "stream_options": {}}), "stream_options", "stream: true"),
    ],
)
def test_a_bad_request_is_told_in_openais_shape(slowapi, text, param, words):
    reply = request(slowapi(), "POST", PATH, text)
    assert reply.status == 400
    error = json.loads(reply.text)["error"]
    assert (error["type"], error["param"], error["code"]) == ("invalid_request_error", param, None)
    assert words in error["message"]


@pytest.mark.parametrize(
    "status, type_, code",
    [
        (401, "invalid_request_error", "invalid_api_key"),
        (404, "invalid_request_error", "model_not_found"),
        (429, "requests", "rate_limit_exceeded"),
        (500, "server_error", None),
        (503, "server_error", None),
    ],
)
def test_a_status_that_is_asked_for_has_an_error_of_that_shape(slowapi, status, type_, code):
    reply = ask(slowapi(), f"?status={status}", stream=True)
    assert reply.status == status
    error = json.loads(reply.text)["error"]
    assert (error["type"], error["code"]) == (type_, code)


def test_only_post_is_taken(slowapi):
    assert request(slowapi(), "GET", PATH).status == 405


# --- laws ---------------------------------------------------------------------------


def arrivals(api, query, **more):
    """When each read of a stream came, counted from the request; and the text."""
    conn = Client(api)
    conn.connect()
    began = time.monotonic()
    conn.request("POST", PATH + query, body(stream=True, **more))
    response = conn.getresponse()
    head, times, text = time.monotonic() - began, [], b""
    while True:
        piece = response.read1(65536)
        if not piece:
            return head, times, text.decode()
        times.append(time.monotonic() - began)
        text += piece


def test_the_first_token_and_the_gaps_take_their_time(slowapi):
    head, times, text = arrivals(slowapi(), "?ttft=400ms&gap=200ms&tokens=4")
    assert len(said(chunks(text)).split()) == 4
    assert 0.4 <= times[0] < 10
    assert head < times[0]
    assert 1.0 <= times[-1] < 10


def test_what_needs_no_wait_comes_at_once(slowapi):
    with RawConnection(slowapi()) as conn:
        text = body(stream=True).encode()
        target = PATH.encode() + b"?ttft=300ms&gap=300ms&tokens=2"
        conn.send(b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (target, len(text), text))
        raw = conn.read_until(b"\r\n0\r\n\r\n")
    sizes, rest = [], raw.split(b"\r\n\r\n", 1)[1]
    while rest:
        size, rest = rest.split(b"\r\n", 1)
        sizes.append(rest[: int(size, 16)].count(b"data: "))
        rest = rest[int(size, 16) + 2 :]
    assert sizes == [2, 3, 0]  # role and first token; last token, reason and [DONE]; the end of the body


def test_a_whole_answer_takes_as_long_as_its_tokens(slowapi):
    began = time.monotonic()
    ask(slowapi(), "?ttft=300ms&gap=100ms&tokens=5")
    assert 0.7 <= time.monotonic() - began < 10


def test_tokens_follow_a_law(slowapi):
    api = slowapi("--seed", "5", "--params", "tokens=lognormal:20,60")
    counts = sorted(json.loads(ask(api).text)["usage"]["completion_tokens"] for _ in range(200))
    assert 16 <= counts[100] <= 25 and counts[0] < 15 and 35 <= counts[-1] <= 140


@pytest.mark.parametrize("value", ["5ms", "0.1s", "lognormal:5ms,9ms", "-1", "x", "200000", "5:50,7s:50"])
def test_a_law_of_tokens_is_checked(slowapi, value):
    reply = ask(slowapi(), f"?tokens={value}")
    assert reply.status == 400 and reply.text.startswith("tokens=")


def test_max_delay_refuses_what_is_asked_for_and_cuts_what_chance_adds(slowapi):
    """The law names 1 ms, and one draw in five is longer than 2 s: without a cut each answer would take minutes."""
    api = slowapi("--max-delay", "2s", "--delay", "0")
    for stream in (True, False):
        assert ask(api, "?ttft=1s&gap=100ms&tokens=20", stream=stream).status == 400
        assert ask(api, "?ttft=600s", stream=stream).status == 400  # now, not when the answer would have come
        began = time.monotonic()
        reply = ask(api, "?ttft=pareto:1ms,0.2&gap=pareto:1ms,0.2&tokens=40&seed=12", stream=stream)
        assert reply.status == 200 and time.monotonic() - began < 10
    assert len(chunks(ask(api, "?gap=pareto:1ms,0.2&tokens=40&seed=12", stream=True).text)) == 42


def test_the_profile_is_a_slow_model_with_a_budget(slowapi):
    api = slowapi("--profile", "llm", "--params", "ttft=10ms&gap=1ms")
    reply = ask(api, stream=True, max_tokens=10)
    assert reply.headers["x-ratelimit-limit-tokens"] == "200000"
    assert len(said(chunks(reply.text)).split()) <= 10


# --- budgets ------------------------------------------------------------------------


def key(name):
    return {"Authorization": f"Bearer {name}"}


def test_a_key_has_its_tokens_a_minute(slowapi):
    api = slowapi("--params", "tokens=40&tpm=120&rpm=0", "--workers", "2")
    first = ask(api, headers=key("one"))  # 10 and 40 tokens
    assert first.status == 200
    assert first.headers["x-ratelimit-limit-tokens"] == "120"
    assert first.headers["x-ratelimit-remaining-tokens"] == "70"
    assert "retry-after" not in first.headers
    assert ask(api, headers=key("one")).status == 200
    full = ask(api, headers=key("one"))
    assert full.status == 429
    error = json.loads(full.text)["error"]
    assert (error["type"], error["code"]) == ("tokens", "rate_limit_exceeded")
    assert "limit 120" in error["message"] and "requested 50" in error["message"]
    assert 1 <= int(full.headers["retry-after"]) <= 15
    assert 0 < int(full.headers["retry-after-ms"]) <= 15000
    assert full.headers["x-ratelimit-reset-tokens"].endswith("s")
    assert ask(api, headers=key("two")).status == 200
    assert ask(api, headers={"Api-Key": "one"}).status == 200


def test_a_budget_is_there_again_after_retry_after(slowapi):
    api = slowapi("--params", "tokens=10&tpm=1200")  # 20 a request, of 20 a second
    while True:
        reply = ask(api, messages=[{"role": "user", "content": "x" * 1100}])
        if reply.status == 429:
            break
    time.sleep(int(reply.headers["retry-after"]))
    assert ask(api).status == 200


def test_a_key_has_its_requests_a_minute(slowapi):
    api = slowapi("--params", "rpm=2")
    assert [ask(api, headers=key("one")).status for _ in range(3)] == [200, 200, 429]
    refused = ask(api, headers=key("one"), stream=True)
    assert json.loads(refused.text)["error"]["type"] == "requests"
    assert refused.headers["x-ratelimit-remaining-requests"] == "0"


def test_a_request_above_a_whole_budget_is_told_so(slowapi):
    reply = ask(slowapi("--params", "tpm=12"))
    assert reply.status == 429 and "too large" in json.loads(reply.text)["error"]["message"]
    assert "retry-after" not in reply.headers


# --- faults -------------------------------------------------------------------------


def test_a_stream_is_cut_in_the_middle(slowapi):
    conn = Client(slowapi(*FAST))
    conn.connect()
    conn.request("POST", PATH + "?fault=truncate@50%25", body(stream=True))
    with pytest.raises(http.client.IncompleteRead) as cut:
        conn.getresponse().read()
    assert cut.value.partial.count(b"data: ") == 3 and b"[DONE]" not in cut.value.partial


def test_a_stream_is_reset_in_the_middle(slowapi):
    conn = Client(slowapi(*FAST))
    conn.connect()
    conn.request("POST", PATH + "?fault=rst@50%25", body(stream=True))
    with pytest.raises(ConnectionResetError):
        conn.getresponse().read()


def test_a_stream_stalls_and_goes_on(slowapi):
    _, times, text = arrivals(slowapi(*FAST), "?fault=hang=1500ms@60%25")
    assert len(said(chunks(text)).split()) == 5
    assert times[-1] - times[0] >= 0.6
