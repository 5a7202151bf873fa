# SPDX-License-Identifier: MIT
"""Which addresses of the upstream's name are connected to."""

import pytest
from harness import get
from rawserver import answer, close, replicas

MODELS = ["single", "threaded", "pool", "green", "event"]
ONCE = ([answer(b"Connection: close\r\n", b"slow"), close],)  # a connection for each request


@pytest.mark.parametrize("model", MODELS)
def test_all_addresses_are_used_in_turns(serve, model):
    with replicas("127.0.0.2", "127.0.0.3", "127.0.0.4", script=ONCE) as (port, servers):
        override = f"many.test:{port}:127.0.0.2,127.0.0.3,127.0.0.4"
        app = serve("--model", model, "--upstream-resolve", override, upstream=f"http://many.test:{port}/")
        assert [get(app).text for _ in range(9)] == ["Hi there! slow"] * 9
        assert [server.requests for server in servers] == [3, 3, 3]
        assert b"Host: many.test:%d" % port in servers[0].heads[0]


@pytest.mark.parametrize("model", MODELS)
def test_an_address_where_nobody_listens_costs_no_request(serve, model):
    with replicas("127.0.0.3", script=ONCE) as (port, (server,)):
        override = f"h:{port}:127.0.0.2,127.0.0.3"
        app = serve("--model", model, "--upstream-resolve", override, upstream=f"http://h:{port}/")
        assert [get(app).status for _ in range(4)] == [200] * 4 and server.requests == 4


def test_libcurl_knows_them_too(serve):
    with replicas("127.0.0.2", script=ONCE) as (port, (server,)):
        args = ["--upstream-client", "curl", "--upstream-resolve", f"h:{port}:127.0.0.2"]
        assert get(serve(*args, upstream=f"http://h:{port}/")).status == 200 and server.requests == 1


@pytest.mark.parametrize("model", ["green", "event"])
def test_a_family_can_be_chosen(serve, model):
    with replicas("127.0.0.2", "::1", script=ONCE) as (port, servers):
        override = f"h:{port}:127.0.0.2,::1"
        for family in ("ipv4", "ipv6"):
            args = ["--model", model, "--upstream-resolve", override, "--upstream-family", family]
            app = serve(*args, upstream=f"http://h:{port}/")
            assert [get(app).status for _ in range(4)] == [200] * 4
        assert [server.requests for server in servers] == [4, 4]


def test_an_override_that_is_none_is_refused(srv_run):
    done = srv_run("serve", "--upstream-resolve", "h:80")
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "--upstream-resolve: 'h:80' is not allowed; HOST:PORT:ADDRESS" in done.stderr
