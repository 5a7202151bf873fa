# SPDX-License-Identifier: MIT
"""srv play: what the threads of each row wait for, in the table, the JSON and the live view."""

import json
import re

import pytest


def waits_of(row):
    """{text: the most threads of one sample}; the sums of every sample are checked."""
    waits = row["waits"]
    assert waits["samples"] >= 1 and len(waits["threads"]) == len(waits["elapsed_ms"]) >= 1
    for i, threads in enumerate(waits["threads"]):
        assert sum(group["series"][i] for group in waits["groups"]) == threads
    means = [group["threads_mean"] for group in waits["groups"]]
    assert means == sorted(means, reverse=True)
    assert sum(means) == pytest.approx(waits["threads_mean"])
    for group in waits["groups"]:
        assert group["threads_max"] >= max(group["series"])
    return {group["text"]: group["threads_max"] for group in waits["groups"]}


def test_threads_of_a_row_wait_for_the_upstream_and_a_loop_for_its_descriptors(tour, tmp_path):
    """The load lasts for seconds, so that some sample sees all of its threads asleep."""
    load = ("--delay", "3", "-n", "6", "-c", "6")
    code, stdout, stderr = tour("threaded", "green", *load, "--json", str(tmp_path / "out.json")).end()
    assert code == 0, stderr
    threaded, green = json.loads((tmp_path / "out.json").read_text())["playgrounds"]
    [calls] = [n for text, n in waits_of(threaded).items() if re.fullmatch(r"recv from upstream 127\.0\.0\.1:\d+ \(poll\)", text)]
    assert calls == 6
    assert any(text.startswith("epoll on ") for text in waits_of(green))

    calls = green["request_waits"]
    assert any(group["text"] == "recv from upstream" and group["requests_max"] == 6 for group in calls["groups"])
    for i, requests in enumerate(calls["requests"]):
        assert sum(group["series"][i] for group in calls["groups"]) == requests <= 6
    # The process that told of them is left out.
    assert green["threads"]["during_max"] == green["threads"]["before"] == max(green["waits"]["threads"])

    told = " ".join(stdout.split("What the threads, and the requests, waited for")[1].split())
    assert re.search(r"threaded: \d\.\d recv from upstream \(poll\), .*[01]\.\d epoll on \d", told)
    assert re.search(r"green: [01]\.\d (epoll on [\d to]+ descriptors|running).* its requests: \d\.\d recv from upstream", told)


def test_a_database_is_named(tour, tmp_path):
    load = ("--delay", "2", "-n", "1", "-c", "1")
    code, _, stderr = tour("db-blocking", *load, "--json", str(tmp_path / "out.json")).end()
    if "not installed" in stderr:
        pytest.skip(stderr)
    assert code == 0, stderr
    [row] = json.loads((tmp_path / "out.json").read_text())["playgrounds"]
    assert any(text.startswith("recv from database 127.0.0.1:") for text in waits_of(row))


@pytest.mark.parametrize("name", ["flask-threaded", "gunicorn-threads"])  # uWSGI's 200 threads are looked at more seldom
def test_threads_of_an_original_wait_for_the_upstream(tour, tmp_path, name):
    load = ("--delay", "4", "-n", "6", "-c", "6")
    code, _, stderr = tour(name, *load, "--json", str(tmp_path / "out.json")).end()
    if "not installed" in stderr:
        pytest.skip(stderr)
    assert code == 0, stderr
    [row] = json.loads((tmp_path / "out.json").read_text())["playgrounds"]
    assert max(n for text, n in waits_of(row).items() if text.startswith("recv from upstream 127.0.0.1:")) == 6
