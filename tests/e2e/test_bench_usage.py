# SPDX-License-Identifier: MIT
"""The first minutes with srv bench: what runs at once, and what a slip of the pen is told."""

import re
import signal
import subprocess
import time

import faulty
import harness
import pytest
from certificates import Certificate


def refused(srv_run, *args):
    """The one line that refuses the arguments."""
    done = srv_run("bench", *args)
    assert done.returncode == 2 and done.stdout == "", done
    assert done.stderr.count("\n") == 1 and done.stderr.startswith("srv bench: "), done.stderr
    return done.stderr


def test_connections_alone_send_one_request_each(bench_json):
    for args, count in (([], 1), (["-c", 10], 10), (["-W", 3], 3), (["-c", 4, "-k"], 4)):
        with faulty.Server(["ok"]) as server:
            code, report = bench_json(*args, server.url)
            assert code == 0 and sum(server.did.values()) == report["totals"]["requests"] == count


def test_a_rate_alone_loads_for_a_while(srv_run):
    with faulty.Server(["ok"]) as server:
        command = [harness.srv_binary(), "bench", "-k", "--rate", "100", server.url]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=harness.die_with_parent
        )
        deadline = time.monotonic() + 20
        while sum(server.did.values()) < 50 and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    assert sum(server.did.values()) >= 50 and "Stopped early by SIGINT" in out
    assert "neither --time nor --requests: loading for 10 s\n" in err


@pytest.mark.parametrize("value, count", [("1k", 1000), ("2K", 2000), ("12", 12)])
def test_counts_take_thousands(bench_json, value, count):
    with faulty.Server(["ok"]) as server:
        assert bench_json("-k", "-q", "-c", 4, "-n", value, server.url)[1]["totals"]["requests"] == count


@pytest.mark.parametrize("value", ["k", "1kk", "-1k", "1.5k", "", "9223372036854775807k"])
def test_counts_that_are_none_are_refused(srv_run, value):
    assert f"-n: '{value}' is not allowed; a whole number" in refused(srv_run, "-n", value, "http://h/")


def test_a_body_comes_from_a_file(srv_run, tmp_path):
    (tmp_path / "body").write_bytes(b"from a file")
    with faulty.Server(["ok"]) as server:
        assert srv_run("bench", "-k", "--body", f"@{tmp_path}/body", server.url).returncode == 0
        assert srv_run("bench", "-k", "--body", "a text", server.url).returncode == 0
        with open(tmp_path / "body") as stdin:
            assert srv_run("bench", "-k", "--body", "@-", server.url, stdin=stdin).returncode == 0
        assert server.bodies == [b"from a file", b"a text", b"from a file"]
        assert all(head.startswith(b"POST ") for head in server.heads)
    done = srv_run("bench", "--body", f"@{tmp_path}/nope", "http://h/")
    assert done.returncode == 1 and done.stderr.count("\n") == 1 and "nope" in done.stderr


def test_a_fragment_is_not_sent(bench_json):
    with faulty.Server(["ok"]) as server:
        assert bench_json(server.url + "?a=b#frag ment", )[0] == 0
        assert server.heads[0].startswith(b"GET /t?a=b HTTP/1.1\r\n")


@pytest.mark.parametrize(
    "args, needed",
    [
        (["--arrivals", "poisson"], "--arrivals needs --rate"),
        (["--rate", "5", "--seed", "7"], "--seed needs --arrivals poisson"),
        (["-n", "5", "--drain", "1"], "--drain needs --time"),
        (["--requests-per-connection", "3"], "--requests-per-connection needs --keep-alive"),
        (["-P", "u:p"], "--proxy-auth needs --proxy"),
        (["-T", "text/html"], "--content-type needs a body"),
        (["-i", "--expect-body", "x"], "--expect-body excludes --head"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_an_option_that_needs_another_says_so(srv_run, args, needed):
    assert needed in refused(srv_run, *args, "http://h/")


def test_a_default_needs_nothing(bench_json):
    with faulty.Server(["ok"]) as server:
        assert bench_json("--rate", 50, "-n", 3, "--arrivals", "even", server.url)[0] == 0
        assert bench_json("--rate", 50, "-n", 3, "--arrivals", "poisson", "--seed", 3, server.url)[0] == 0
        assert bench_json("-t", "0.1", "--drain", 1, server.url)[0] == 0


@pytest.mark.parametrize(
    "args, meant",
    [
        (["-z", "3s", "http://h/"], "--time 3s"),  # hey
        (["-z3s", "http://h/"], "--time 3s"),
        (["-d", "3s", "http://h/"], "--time 3s"),  # wrk
        (["-d30s", "http://h/"], "--time 30s"),
        (["-d30", "http://h/"], "--time 30"),
        (["-t2", "-c10", "-d5s", "http://h/"], "--time 5s"),
        (["-q", "50", "http://h/"], "--rate 50"),  # hey, oha
        (["100", "http://h/"], "--requests 100"),
        (["http://h/", "100"], "--requests 100"),
        (["-k", "100"], "--requests 100"),
        (["3000"], "http://127.0.0.1:3000/"),
        (["1k", "http://h/"], "--requests 1k"),
        (["5s", "http://h/"], "--time 5s"),
        (["--duration", "5s", "http://h/"], "--time"),
        (["--connections", "5", "http://h/"], "--concurrency"),
        (["--threads", "5", "http://h/"], "--workers"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_other_programs_mean_is_hinted_at(srv_run, args, meant):
    message = refused(srv_run, *args)
    assert "did you mean" in message and meant in message


def test_attributes_that_only_look_like_a_number_stay_ab_s(srv_run):
    with faulty.Server(["ok"]) as server:
        assert "<td bgcolor=red>" in srv_run("bench", "-z", "bgcolor=red", server.url).stdout


def test_the_version_is_told():
    told = [harness.run(*args) for args in (["--version"], ["-V"], ["bench", "--version"])]
    assert all(done.returncode == 0 and done.stderr == "" for done in told)
    version = told[0].stdout.split()
    assert version[0] == "srv" and len(version) == 2 and told[0].stdout == told[1].stdout
    assert told[2].stdout == f"srv bench {version[1]}\n"


EXAMPLE = re.compile(r"`(srv bench [^`]*)` \|$", re.MULTILINE)


def examples_of_options():
    return EXAMPLE.findall((harness.ROOT / "docs/bench-options.md").read_text())


# All in turn: the last one reads what another one writes.
def test_examples_of_the_page_of_options_do_what_they_say(start, slowapi, tmp_path):
    mine = Certificate(tmp_path)
    (tmp_path / "me.pem").write_text(mine.both.read_text())
    (tmp_path / "body.json").write_text('{"a": 1}')
    slowapi("--delay", "10ms", "--bind", f"unix:{tmp_path}/api.sock")
    plain = slowapi("--delay", "10ms")
    secure = slowapi("--delay", "10ms", "--bind", "https://127.0.0.1:0", "--tls-ca-out", tmp_path / "ca.pem")
    examples = examples_of_options()
    assert len(examples) > 20
    for example in examples:
        command = example.replace(":4000", f":{plain.port}").replace(":8443", f":{secure.port}")
        command = re.sub(r"^srv ", f"{harness.srv_binary()} ", command)
        done = subprocess.run(["sh", "-c", command], cwd=tmp_path, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0 and "Non-2xx" not in done.stdout, (example, done)


def test_every_option_has_an_example():
    """In a command of one of the pages about bench, or in a row that has one for several."""
    pages = "\n".join(path.read_text() for path in sorted((harness.ROOT / "docs").glob("bench*.md")))
    commands = re.findall(r"^    .*|^\|.*`srv bench .*|`(?:srv bench|scripts/cluster) [^`]*`", pages, re.MULTILINE)
    words = {word for command in commands for word in re.split(r"[\s='`]", command)}
    rows = re.findall(r"^\| ((?:`-[^`]*` ?)+)\|", (harness.ROOT / "docs/bench-options.md").read_text(), re.MULTILINE)
    assert len(rows) > 100
    assert [row for row in rows if not words & set(re.findall(r"`([^`]*)`", row))] == []
