# SPDX-License-Identifier: MIT
"""srv slowapi as a fixture of pytest: one server for all tests, and a session for each, so that tests may run at once.

Copy the fixtures into a conftest.py. The tests below show them; `pytest slowapi_pytest.py` runs them, with `srv` in
PATH or named by SRV.
"""

import contextlib
import json
import os
import re
import subprocess
import urllib.error
import urllib.parse
import urllib.request
import uuid

import pytest


class SlowApi:
    """What one test sees: its own rules, its own requests. The program under test sends `headers` with its requests."""

    def __init__(self, url, control):
        self.url, self.control, self.session = url, control, str(uuid.uuid4())
        self.headers = {"X-Slowapi-Session": self.session}

    def ask_control(self, method, path, query=(), data=None):
        """(status, text)"""
        query = urllib.parse.urlencode([("session", self.session), *query])
        asked = urllib.request.Request(f"{self.control}{path}?{query}", data, method=method)
        try:
            with urllib.request.urlopen(asked, timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def rules(self, *rules):
        """Puts these in force, instead of the test's earlier ones."""
        status, text = self.ask_control("PUT", "/rules", data=json.dumps(rules).encode())
        assert status == 200, text

    def requests(self, **search):
        """Those of the test that fit, oldest first: requests(path="/pay/**", method="POST")."""
        return json.loads(self.ask_control("GET", "/requests", search.items())[1])["requests"]

    def stats(self, **search):
        """Sums over those of the test that fit: by status, outcome, rule, fault and path."""
        return json.loads(self.ask_control("GET", "/stats", search.items())[1])

    def assert_called(self, times=None, at_least=None, at_most=None, **search):
        bounds = {"times": times, "at-least": at_least, "at-most": at_most}
        asked = [*search.items(), *((name, bound) for name, bound in bounds.items() if bound is not None)]
        status, text = self.ask_control("GET", "/requests/count", asked)
        assert status == 200, text

    def reset(self):
        """Forgets what the test has asked so far, and begins its sequences anew; its rules stay."""
        status, text = self.ask_control("POST", "/reset", data=b"")
        assert status == 200, text


@pytest.fixture(scope="session")
def slowapi_server():
    """(URL of the API, URL of its control endpoint)"""
    command = [os.environ.get("SRV", "srv"), "slowapi", "--bind", "127.0.0.1:0", "--control", "127.0.0.1:0", "--journal", "10000"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        found = {}
        for line in process.stderr:
            if match := re.match(r"srv slowapi: (control|listening) on (http://[^/\s]+)", line):
                found[match[1]] = match[2]
            if len(found) == 2:
                break
        else:
            pytest.fail(f"{command} did not start")
        yield found["listening"], found["control"]
    finally:
        process.terminate()
        process.wait()


@pytest.fixture
def slowapi(slowapi_server):
    api = SlowApi(*slowapi_server)
    yield api
    api.ask_control("DELETE", "/rules")
    api.reset()


# --- two tests of a client that tries again -----------------------------------------------------------


def fetch_with_retries(url, headers, tries=3):
    """The program under test."""
    for _ in range(tries):
        with contextlib.suppress(urllib.error.HTTPError):
            return urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=5).read()
    return None


def test_a_client_survives_two_failures(slowapi):
    slowapi.rules({"path": "/orders/*", "params": "seq=503,503,200&delay=10ms", "body": {"paid": True}})
    assert json.loads(fetch_with_retries(f"{slowapi.url}/orders/7", slowapi.headers)) == {"paid": True}
    slowapi.assert_called(3, path="/orders/*", method="GET")
    assert [one["status"] for one in slowapi.requests(path="/orders/7")][:2] == [503, 503]
    slowapi.reset()
    assert json.loads(fetch_with_retries(f"{slowapi.url}/orders/7", slowapi.headers)) == {"paid": True}
    slowapi.assert_called(3)


def test_and_gives_up_after_three(slowapi):
    slowapi.rules({"path": "/orders/*", "params": "status=503"})
    assert fetch_with_retries(f"{slowapi.url}/orders/7", slowapi.headers) is None
    slowapi.assert_called(3, path="/orders/*")
    slowapi.assert_called(0, path="/orders/*", method="POST")


def test_a_scenario_of_whole_answers(slowapi):
    slowapi.rules({"name": "order", "path": "/orders/*", "answers": [
        {"status": 503, "headers": {"Retry-After": "0"}}, {"params": "delay=20ms", "status": 500}, {"status": 201, "body": {"id": 7}}]})  # fmt: skip
    assert json.loads(fetch_with_retries(f"{slowapi.url}/orders/7", slowapi.headers)) == {"id": 7}
    assert slowapi.stats()["status"] == {"503": 1, "500": 1, "201": 1} and slowapi.stats()["rules"] == {"order": 3}
    slowapi.assert_called(at_least=2, at_most=3, rule="order")
