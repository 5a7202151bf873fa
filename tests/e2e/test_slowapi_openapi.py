# SPDX-License-Identifier: MIT
"""The OpenAPI document of slowapi's control endpoint: it is one, and answers are what it says."""

import json
import re
from pathlib import Path

import pytest
from harness import get, request, wait_for
from test_slowapi_control import exchange
from test_slowapi_shapes import Control

jsonschema = pytest.importorskip("jsonschema", reason="python3-jsonschema is not installed")
OFFICIAL = Path("/usr/share/openapi-specification/schemas/v3.0/schema.json")
RULES = json.dumps([{"name": "steps", "path": "/steps", "key": "client", "end": "again", "answers": [{"params": "fault=rst"}, {"status": 503, "times": 2,
                     "headers": {"A": ["1", "2"]}}, {"status": 200, "for": "1s", "body": {"a": 1}}]},
                    {"name": "tea", "path": "/tea*", "method": "GET", "header": {"X-A": "b"}, "query": {"a": "1"}, "params": "status=418"},
                    {"path": "/json", "enabled": False, "body": {"a": [1]}, "type": "application/json"}])  # fmt: skip


@pytest.fixture
def control(slowapi):
    """The control endpoint of a server that has seen something of everything."""
    api = slowapi("--control", "127.0.0.1:0", "--delay", "0", "--journal", "50", "--tcp", "127.0.0.1:0=127.0.0.1:1?name=p")
    control = Control(api)
    assert control.ask("PUT", "/rules", RULES)[0] == 200
    get(api, "/tea?a=1", {"X-A": "b"}), get(api, "/get?workers=1&service=1ms")
    request(api, "POST", "/post?delay=1ms", b"\xff\0", {"X-Slowapi-Session": "s"})
    with pytest.raises(OSError):
        get(api, "/ip?fault=rst@head")
    wait_for(lambda: control.stats()["in_flight"] == 0, what="the ends")
    return control


@pytest.fixture
def document(control):
    status, headers, text = exchange(control, "GET", "/openapi.json")
    assert status == 200 and headers["Content-Type"] == "application/json"
    return json.loads(text)


@pytest.mark.skipif(not OFFICIAL.exists(), reason="openapi-specification is not installed")
def test_it_is_an_openapi_document(document):
    jsonschema.Draft4Validator(json.loads(OFFICIAL.read_text())).validate(document)


def references(value):
    if isinstance(value, dict):
        yield from [value["$ref"]] if "$ref" in value else []
        value = list(value.values())
    if isinstance(value, list):
        for part in value:
            yield from references(part)


def looked_up(document, reference):
    for name in reference.removeprefix("#/").split("/"):
        document = document[name]
    return document


def test_all_that_it_names_is_there_and_used(document):
    used = set(references(document))
    assert all(looked_up(document, name) for name in used)
    there = {f"#/components/{kind}/{name}" for kind, names in document["components"].items() for name in names}
    assert there == used
    operations = [operation for item in document["paths"].values() for operation in item.values()]
    assert len({operation["operationId"] for operation in operations}) == len(operations)
    tags = {tag["name"] for tag in document["tags"]}
    assert {tag for operation in operations for tag in operation["tags"]} == tags


def plain_schema(document, schema):
    """As JSON Schema says it, strictly: null is a type, and references are followed."""
    if isinstance(schema, list):
        return [plain_schema(document, part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return plain_schema(document, looked_up(document, schema["$ref"]))
    plain = {name: plain_schema(document, value) for name, value in schema.items() if name not in ("nullable", "example")}
    if schema.get("nullable") is True:
        plain["type"] = [plain["type"], "null"]
    return plain


def check(document, method, path, answer):
    """The answer has a status, a type and a body that the document tells of that operation."""
    status, headers, text = answer
    operation = document["paths"][path.split("?")[0]][method.lower()]
    assert str(status) in operation["responses"], (method, path, status, text)
    response = operation["responses"][str(status)]
    response = looked_up(document, response["$ref"]) if "$ref" in response else response
    ((kind, content),) = response["content"].items()
    assert headers["Content-Type"].split(";")[0] == kind
    for name in response.get("headers", {}):
        assert headers[name]
    value = json.loads(text) if kind == "application/json" else text
    if kind == "text/plain" and not path.startswith("/metrics"):
        assert text.count("\n") == 1 and text.endswith("\n")
    jsonschema.Draft202012Validator(plain_schema(document, content["schema"])).validate(value)


ASKED = [
    ("GET", "/", None, 200), ("GET", "/?x", None, 400), ("GET", "/openapi.json", None, 200), ("GET", "/healthz", None, 200), ("GET", "/metrics", None, 200), ("GET", "/stats", None, 200),
    ("GET", "/stats?session=s", None, 200), ("GET", "/stats?nope=1", None, 400), ("GET", "/requests", None, 200),
    ("GET", "/requests?status=418&rule=tea&fault=rst&fault=fin", None, 200), ("GET", "/requests?status=x", None, 400),
    ("GET", "/requests/count?times=4", None, 200), ("GET", "/requests/count?at-most=1", None, 417),
    ("GET", "/requests/count?times=x", None, 400), ("GET", "/rules", None, 200), ("GET", "/rules?hits=true", None, 200), ("GET", "/rules?hit", None, 400), ("PUT", "/rules", RULES, 200), ("PUT", "/rules?session=s", RULES, 200),
    ("PUT", "/rules", "[1]", 400), ("DELETE", "/rules?session=", None, 400), ("DELETE", "/rules", None, 200), ("GET", "/faults", None, 200),
    ("PUT", "/faults", '{"rst": false}', 200), ("PUT", "/faults", "{", 400), ("GET", "/queues", None, 200), ("GET", "/queues?x", None, 400),
    ("DELETE", "/queues", None, 200), ("DELETE", "/sequences?session=s", None, 200), ("DELETE", "/sequences?x=y", None, 400),
    ("DELETE", "/requests?session=s", None, 200), ("DELETE", "/requests?limit=1", None, 400), ("DELETE", "/stats", None, 200),
    ("DELETE", "/stats?x", None, 400), ("GET", "/tcp", None, 200), ("PATCH", "/tcp?name=p", "latency=1ms", 200),
    ("PUT", "/tcp?name=p", "fault=hang", 200), ("PATCH", "/tcp?name=p", "boo=1", 400), ("PUT", "/tcp?name=q", "latency=1ms", 404),
    ("DELETE", "/tcp", None, 200), ("POST", "/reset", "", 200), ("POST", "/reset?session=s", "", 200), ("POST", "/reset?x=y", "", 400),
]  # fmt: skip


def test_answers_are_what_it_says(control, document):
    for method, path, body, status in ASKED:
        answer = exchange(control, method, path, body)
        assert answer[0] == status, (method, path, answer)
        check(document, method, path, answer)
    done = {(method, path.split("?")[0]) for method, path, _, _ in ASKED}
    assert done == {(method.upper(), path) for path, item in document["paths"].items() for method in item}


def test_refusals_are_what_it_says(control, document):
    old = exchange(control, "GET", "/rules")[1]["ETag"]
    assert control.ask("PUT", "/rules", "[]")[0] == 200
    check(document, "PUT", "/rules", exchange(control, "PUT", "/rules", "[]", {"If-Match": old}))
    check(document, "DELETE", "/rules", exchange(control, "DELETE", "/rules", None, {"If-Match": old}))
    for path, item in document["paths"].items():
        for method in item:
            body = "[]" if method in ("put", "post", "patch") else None
            answer = exchange(control, method.upper(), path, body, {"Host": "evil.example"})
            assert answer[0] == 403, (method, path, answer)
            check(document, method, path, answer)
            if method != "get":
                answer = exchange(control, method.upper(), path, body, {"Origin": "http://evil.example"})
                assert answer[0] == 403
                check(document, method, path, answer)


def test_without_a_journal_it_is_what_it_says(slowapi):
    control = Control(slowapi("--control", "127.0.0.1:0"))
    document = json.loads(control.ask("GET", "/openapi.json")[1])
    for method, path in (("GET", "/requests"), ("DELETE", "/requests"), ("GET", "/requests/count"), ("GET", "/stats?session=s"), ("GET", "/tcp")):
        answer = exchange(control, method, path)
        assert answer[0] == 404
        check(document, method, path, answer)


def test_rules_have_the_members_that_it_tells(control, document):
    """The refusal of a member that is none names all that there are."""
    for body, schema in (('[{"nope": 1}]', "Rule"), ('[{"answers": [{"nope": 1}]}]', "Answer")):
        status, text = control.ask("PUT", "/rules", body)
        assert status == 400
        named = set(re.findall(r"[a-z-]+", text.split("allowed are", 1)[1].split(" not ")[0])) - {"and"}
        assert named == set(document["components"]["schemas"][schema]["properties"]) - {"hits"}


def test_methods_are_those_that_it_tells(control, document):
    """The Allow of a refusal names what the document has of the path."""
    for path, item in document["paths"].items():
        status, headers, _ = exchange(control, "POST" if "post" not in item else "DELETE", path, "")
        told = {name.lower() for name in headers["Allow"].split(", ")}
        assert status == 405 and told == set(item) | ({"head"} if "get" in item else set())
