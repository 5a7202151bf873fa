# SPDX-License-Identifier: MIT
"""srv slowapi --tcp in front of PostgreSQL and Redis: what their own clients make of the toxics."""

import contextlib
import hashlib
import re
import shlex
import socket
import subprocess
import threading
import time
from pathlib import Path

import pytest
from harness import IO_SECONDS, clean_environment, wait_for
from postgres import Redis
from test_slowapi_tcp import Proxies, is_reset, is_silent, read_exactly


@pytest.fixture
def front(slowapi):
    """front(PORT, "latency=1s") -> Proxies in front of a service of this machine."""
    return lambda port, toxics="", args=(): Proxies(slowapi, f"127.0.0.1:0=127.0.0.1:{port}?name=service&{toxics}", args=args)


def port_of(p):
    return p.listens[0].rsplit(":", 1)[1]


# --- PostgreSQL ------------------------------------------------------------------------------


def psql(p, *words, stdin="", timeout=60, env=None):
    return subprocess.run(
        ["psql", "-X", "-A", "-t", f"host=127.0.0.1 port={port_of(p)} user=postgres dbname=postgres", *words],
        input=stdin, capture_output=True, text=True, timeout=timeout, env=clean_environment(env),
    )  # fmt: skip


def times_of(p, count):
    """Milliseconds that psql saw each of some statements take."""
    done = psql(p, stdin="\\timing on\n" + "SELECT 1;\n" * count)
    assert done.returncode == 0, done.stderr
    return [float(found) for found in re.findall(r"Time: ([\d.]+) ms", done.stdout)]


def test_postgres_latency_is_seen_by_each_statement(postgres, front):
    p = front(postgres.port, "latency=120ms")
    times = times_of(p, 3)
    assert len(times) == 3 and min(times) >= 120
    p.change("latency=60ms@both")
    assert min(times_of(p, 3)) >= 120


@pytest.mark.parametrize(
    "toxics", ["", "slice=1-2000&latency=0-3ms@both&jitter=2ms@both", "bandwidth=4m@both", "slice=7@up"], ids=str
)
def test_postgres_results_are_the_same_whatever_happens_on_the_way(postgres, front, toxics):
    p = front(postgres.port, toxics)
    done = psql(p, "-c", "SELECT md5(i::text) FROM generate_series(1, 20000) i")
    wanted = "".join(hashlib.md5(str(i).encode()).hexdigest() + "\n" for i in range(1, 20001))
    assert done.returncode == 0 and done.stdout == wanted, done.stderr
    row = p.wait_row(open=0, closed=1)
    assert row["bytes_down"] > 20000 * 32


def test_postgres_is_reset_in_the_middle_of_a_result(postgres, front):
    p = front(postgres.port, "fault=rst@down=100k")
    done = psql(p, "-c", "SELECT repeat('x', 1000) FROM generate_series(1, 1000)")
    assert done.returncode == 2
    assert "Connection reset by peer" in done.stderr or "server closed the connection unexpectedly" in done.stderr
    row = p.wait_row(open=0, struck=1)
    assert row["bytes_down"] == 100 << 10 and row["faults"]["rst"] == 1
    p.change("")
    assert psql(p, "-c", "SELECT 7").stdout == "7\n"


def test_postgres_hangs_until_the_client_gives_up(postgres, front):
    p = front(postgres.port, "fault=hang")
    start = time.monotonic()
    done = psql(p, "-c", "SELECT 1", env={"PGCONNECT_TIMEOUT": "2"})
    assert done.returncode == 2 and "timeout expired" in done.stderr and time.monotonic() - start >= 1
    p.wait_row(open=0, struck=1)


def test_postgres_loses_a_client_that_gave_up_within_a_result(postgres, front):
    p = front(postgres.port, "fault=hang@down=100k")
    sessions = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'hung'"
    client = subprocess.Popen(
        ["psql", "-X", f"host=127.0.0.1 port={port_of(p)} user=postgres dbname=postgres application_name=hung", "-c",
         "SELECT repeat('x', 1000) FROM generate_series(1, 100000)"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=clean_environment(),
    )  # fmt: skip
    wait_for(lambda: p.row()["faults"]["hang"] == 1)
    assert client.poll() is None
    client.kill()
    client.wait(20)
    p.wait_row(open=0, struck=1)
    wait_for(lambda: postgres.sql(sessions) == ["0"], what="the end of the session")


def test_postgres_is_down_and_comes_back(postgres, front):
    p = front(postgres.port, "enabled=false")
    assert "Connection refused" in psql(p, "-c", "SELECT 1").stderr
    p.change("enabled=true")
    assert psql(p, "-c", "SELECT 1").stdout == "1\n"
    p.wait_row(open=0)
    p.change("connections=1")
    with socket.create_connection(("127.0.0.1", int(port_of(p)))):
        p.wait_row(open=1)
        assert psql(p, "-c", "SELECT 1").returncode == 2
    p.wait_row(open=0)
    assert psql(p, "-c", "SELECT 1").stdout == "1\n"


# --- Redis -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def redis():
    if not Redis.is_installed():
        pytest.skip("redis-tools is missing: scripts/setup test")
    with contextlib.closing(Redis()) as server:
        yield server


def redis_cli(p, *words, stdin=None, timeout=30):
    return subprocess.run(
        ["redis-cli", "-p", port_of(p), *words], capture_output=True, text=True, timeout=timeout, input=stdin,
        stdin=subprocess.DEVNULL if stdin is None else None,
    )  # fmt: skip


def test_redis_latency_is_seen_by_each_command(redis, front):
    p = front(redis.port, "latency=50ms@both")
    assert redis_cli(p, "ping").stdout == "PONG\n"
    with p.connect() as client:
        for _ in range(3):
            start = time.monotonic()
            client.sendall(b"PING\r\n")
            assert read_exactly(client, 7) == b"+PONG\r\n" and time.monotonic() - start >= 0.1


def test_redis_answers_keep_their_order_and_values_arrive_whole(redis, front):
    p = front(redis.port, "latency=0-10ms@both&jitter=5ms@both&slice=1-500@both")
    with p.connect() as client:
        client.sendall(b"DEL n\r\n" + b"INCR n\r\n" * 500)
        wanted = b"".join(b":%d\r\n" % number for number in range(1, 501))
        assert read_exactly(client, 4)[:1] == b":" and read_exactly(client, len(wanted)) == wanted
    value = "0123456789" * 20000
    assert redis_cli(p, "-x", "set", "large", stdin=value).stdout == "OK\n"
    assert redis_cli(p, "get", "large").stdout == value + "\n"


def test_redis_bandwidth_is_that_of_the_way(redis, front):
    p = front(redis.port, "bandwidth=200k@up")
    value = b"x" * (200 << 10)
    with p.connect() as client:
        start = time.monotonic()
        client.sendall(b"*3\r\n$3\r\nSET\r\n$4\r\nslow\r\n$%d\r\n%s\r\n" % (len(value), value))
        assert read_exactly(client, 5) == b"+OK\r\n"
        assert 0.9 < time.monotonic() - start < 6
        client.sendall(b"GET slow\r\n")
        assert read_exactly(client, len(value) + 11).endswith(b"x\r\n")


def test_redis_is_reset_in_the_middle_of_a_value(redis, front):
    p = front(redis.port)
    assert redis_cli(p, "-x", "set", "large", stdin="x" * 500000).stdout == "OK\n"
    p.change("fault=rst@down=1000")
    done = redis_cli(p, "get", "large")
    assert "Connection reset by peer" in done.stderr + done.stdout or "Server closed" in done.stderr + done.stdout
    row = p.wait_row(open=0)
    assert row["struck"] == row["faults"]["rst"] == 1


def test_redis_does_what_it_is_told_though_its_answer_never_comes(redis, front):
    p, direct = front(redis.port, "fault=hang-down"), front(redis.port)
    redis_cli(direct, "set", "hits", "0")
    with p.connect() as client:
        client.sendall(b"INCR hits\r\n")
        wait_for(lambda: redis_cli(direct, "get", "hits").stdout == "1\n")
        assert is_silent(client)
    wait_for(lambda: p.row()["faults"]["hang-down"] == 1)


def test_redis_subscribers_lose_their_connection_after_a_time(redis, front):
    p = front(redis.port, "fault=rst@time=500ms")
    with p.connect() as client:
        client.sendall(b"SUBSCRIBE news\r\n")
        assert read_exactly(client, 4) == b"*3\r\n"
        assert is_reset(client)
    p.wait_row(open=0, struck=1)


def test_redis_over_two_unix_sockets(redis, slowapi, tmp_path):
    p = Proxies(slowapi, f"unix:{tmp_path}/redis=unix:{redis.socket}")
    done = subprocess.run(
        ["redis-cli", "-s", f"{tmp_path}/redis", "ping"], capture_output=True, text=True, timeout=30, stdin=subprocess.DEVNULL
    )
    assert done.stdout == "PONG\n"
    p.wait_row(open=0, closed=1)


@pytest.mark.parametrize("workers", [1, 2])
def test_redis_under_load_loses_nothing_and_all_is_counted(redis, front, workers):
    p = front(redis.port, "latency=0-2ms", args=("-w", workers, "--seed", 1))
    redis_cli(p, "set", "total", "0")
    failures = []

    def work():
        try:
            with p.connect() as client:
                client.settimeout(IO_SECONDS)
                for _ in range(100):
                    client.sendall(b"INCR total\r\n")
                    reply = b""
                    while not reply.endswith(b"\r\n"):
                        reply += client.recv(64)
                    assert reply.startswith(b":")
        except (OSError, AssertionError) as problem:
            failures.append(problem)

    threads = [threading.Thread(target=work) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures and redis_cli(p, "get", "total").stdout == "2000\n"
    row = p.wait_row(open=0)
    assert row["connections"] == row["closed"] == 22


# --- the recipes of docs/slowapi-tcp.md: each pair of commands is run as it is written, on other ports ----------------

PAGE = Path(__file__).resolve().parents[2] / "docs/slowapi-tcp.md"
RECIPES = re.findall(r"^\*\*(.+?)\*\*: .+\n\n    srv slowapi (.+)\n    (.+)\n", PAGE.read_text(), re.M)

# What each shows, in what the client prints.
SHOWS = {
    "Test a slow database": r"(?s)Time: 1\d\d\.|Time: [2-9]\d\d\.|Time: \d{4,}\.",
    "Test a database behind a slow line": r"Time: \d{4,}\.",
    "Test a database that dies within a result": r"Connection reset by peer|server closed the connection unexpectedly",
    "Test a database that takes connections and says nothing": r"timeout expired",
    "Test a database that is down": r"Connection refused",
    "Test a database that has no connection left": r"(?s)1 row.*(Connection reset|closed the connection)|(Connection reset|closed the conn).*1 row",
    "Test a cache that is slower than its database": r"PONG",
    "Test a cache that closes in the middle of a value": r"Server closed the connection",
    "Test a cache whose answers get lost": r"^\Z",
}


def test_there_are_as_many_recipes():
    assert [title for title, _, _ in RECIPES] == list(SHOWS)


@pytest.mark.parametrize("title, server, client", RECIPES, ids=[title for title, _, _ in RECIPES])
def test_recipe(postgres, redis, slowapi, title, server, client):
    with socket.create_connection(("127.0.0.1", redis.port)) as direct:
        direct.sendall(b"SET large x\r\nSETRANGE large 99999 x\r\n")
        assert read_exactly(direct, 14) == b"+OK\r\n:100000\r\n"
    words = shlex.split(server.replace("5433", "0").replace("6380", "0").replace(":5432", f":{postgres.port}").replace(":6379", f":{redis.port}"))
    api = slowapi(*words)
    port = re.search(r"relaying 127.0.0.1:(\d+)", api.stderr())[1]
    done = subprocess.run(
        shlex.split(client.replace("5433", port).replace("6380", port)),
        capture_output=True, text=True, timeout=60, env=clean_environment(), stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert re.search(SHOWS[title], done.stdout + done.stderr), done.stdout[-1000:] + done.stderr
