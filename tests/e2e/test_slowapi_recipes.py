# SPDX-License-Identifier: MIT
"""The recipes of docs/slowapi*.md: each pair of commands is run as it is written, on another port."""

import re
import shlex
from pathlib import Path

import pytest

PAGES = sorted((Path(__file__).resolve().parents[2] / "docs").glob("slowapi*.md"))
RECIPES = [
    recipe
    for page in PAGES
    for recipe in re.findall(r"^\*\*(.+?)\*\*: .+\n\n    srv slowapi (.+)\n    srv bench (.+)\n", page.read_text(), re.M)
]

# What each shows, in the report of srv bench.
SHOWS = {
    "Test my time-out budget": r"Failed requests: +[1-9]",
    "Test my retry": r"Complete requests: +3\n(.*\n)*Non-2xx responses: +2\b",
    "Test my circuit breaker": r"Non-2xx responses: +[1-9]",
    "Test my pool limit": r"Non-2xx responses: +[1-9]",
    "Test that my client survives stale keep-alive connections": r"Failed requests: +5\b",
    "Test truncated downloads": r"Failed requests: +10\b",
    "Test resets": r"Failed requests: +[1-9]",
    "Test a hanging upstream": r"Failed requests: +2\b",
    "Test rate limiting": r"Non-2xx responses: +[1-9]",
    "Test a client of a language model": r"Non-2xx responses: +[1-9]",
    "Test a consumer of streams": r"Failed requests: +0\b",
    "Test a client's rate limiter": r"Non-2xx responses: +[1-9]",
    "Test downloads over a thin line": r"Time taken for tests: +(1\.9|[2-9])",
    "Test resumed downloads": r"Failed requests: +10\b",
    "Test a load balancer that drops long requests": r"Failed requests: +[1-9]",
}


def test_there_are_as_many_recipes():
    assert sorted(title for title, _, _ in RECIPES) == sorted(SHOWS)


@pytest.mark.parametrize("title, server, client", RECIPES, ids=[title for title, _, _ in RECIPES])
def test_recipe(slowapi, srv_run, title, server, client):
    api = slowapi(*shlex.split(server.replace("127.0.0.1:4000", "127.0.0.1:0")))
    done = srv_run("bench", *shlex.split(client.replace("http://127.0.0.1:4000/", api.url)))
    assert re.search(SHOWS[title], done.stdout), done.stdout
