# SPDX-License-Identifier: MIT
"""Fixtures of the end-to-end tests; harness.py shows how they are used."""

import json
import signal
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import harness  # noqa: E402
from postgres import Postgres  # noqa: E402
from tour import Tour  # noqa: E402

TEST_SECONDS = 90  # no single test may hang the run; raise it with @pytest.mark.seconds(N)


def pytest_configure(config):
    config.addinivalue_line("markers", "seconds(n): longest time this test may take")


@pytest.fixture(autouse=True)
def time_limit(request):
    """Turns a hang into a failure."""
    mark = request.node.get_closest_marker("seconds")
    seconds = mark.args[0] if mark else TEST_SECONDS

    def expire(_number, _frame):
        raise TimeoutError(f"test took more than {seconds} s")

    previous = signal.signal(signal.SIGALRM, expire)
    signal.alarm(seconds)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, previous)


@pytest.fixture
def start(tmp_path):
    """start(COMMAND, *ARGS, env=None) -> harness.Server, or another `kind` of it; all are stopped and checked after the test."""
    servers = []

    def start_one(command, *args, env=None, kind=harness.Server):
        log_path = tmp_path / f"{len(servers)}-{command}.log"
        server = kind(command, args, log_path, env)
        servers.append(server)
        return server

    yield start_one
    problems = []
    for server in reversed(servers):
        try:
            server.stop()
        except AssertionError as problem:
            problems.append(str(problem))
        finally:
            server.kill()
    assert not problems, "\n".join(problems)


@pytest.fixture
def slowapi(start):
    """slowapi(*ARGS, env=None) -> a running `srv slowapi`."""
    return lambda *args, env=None: start("slowapi", *args, env=env)


@pytest.fixture
def serve(start):
    """serve(*ARGS, upstream=None, env=None) -> a running `srv serve`; `upstream` is a Server or a URL."""

    def start_serve(*args, upstream=None, env=None):
        if upstream is not None:
            args = ("--upstream", getattr(upstream, "url", upstream), *args)
        return start("serve", *args, env=env)

    return start_serve


@pytest.fixture(scope="session")
def postgres():
    """A private PostgreSQL, shared by all tests of a process; postgres.py says what is in it."""
    server = Postgres()
    try:
        server.start()
        yield server
    finally:
        server.close()


@pytest.fixture
def db(postgres, slowapi, serve):
    """db(*ARGS, name=..., schema=None) -> srv serve db in front of a slow API and PostgreSQL."""
    impatient = ("--graceful-timeout", "0")
    api = slowapi(*impatient)

    def start(*args, name="srv-test", schema=None, conninfo=None):
        text = f"{conninfo or postgres.conninfo} application_name={name}"
        if schema:
            text += f" options='-csearch_path={schema},pg_catalog'"
        return serve(*impatient, "--db", text, *args, "db", upstream=api)

    return start


@pytest.fixture
def srv_run():
    """srv_run(*ARGS, timeout=60, env=None) -> subprocess.CompletedProcess of `srv ARGS`, in text mode."""
    return harness.run


@pytest.fixture
def bench_json(srv_run):
    """bench_json(*ARGS) -> (exit code, the report as a dict)."""

    def run(*args):
        done = srv_run("bench", "--json", "-", *args)
        assert done.stdout, done.stderr
        return done.returncode, json.loads(done.stdout)

    return run


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """Shows what the servers said when a test failed."""
    report = (yield).get_result()
    tmp_path = item.funcargs.get("tmp_path") if hasattr(item, "funcargs") else None
    if report.failed and tmp_path is not None:
        for log in sorted(tmp_path.glob("*.log")):
            report.sections.append((f"stderr of {log.stem}", log.read_text(errors="replace")[-8000:]))


@pytest.fixture
def tour():
    """tour(*ARGS) -> a running `srv play ARGS`; see tour.py."""
    tours = []

    def start_tour(*args, **options):
        tours.append(Tour(*args, **options))
        return tours[-1]

    yield start_tour
    for one in tours:
        one.discard()
