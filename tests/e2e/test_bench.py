# SPDX-License-Identifier: MIT
"""srv bench from outside: what it counts equals what the server did, and its report reads like ab's."""

import json
import re
import shutil
import signal
import socket
import subprocess
import time

import faulty
import harness
import pytest


def bench(srv_run, *args, timeout=60):
    return srv_run("bench", *args, timeout=timeout)


def line(report, label):
    """The value of a `Label:   value` line."""
    return re.search(rf"^{re.escape(label)}:\s+(.*)$", report, re.M).group(1)


def failures(report):
    """The reasons that were counted."""
    return {reason: count for reason, count in report["failures"].items() if count}


# --- counting ------------------------------------------------------------------------

FAULTS = {
    "reset": {"reset"},
    "early": {"closed_early"},
    "truncated": {"truncated"},
    "half_head": {"truncated"},
    "silent": {"timeout_first_byte"},
    "stalled": {"timeout_body"},
    "bad_chunk": {"bad_response"},
    "garbage": {"bad_response"},
}


# A reused connection that ends before a byte, by either sign, is the server's idle close in a race with the request.
REUSED_FAULTS = {**FAULTS, **dict.fromkeys(("reset", "early"), {"reset", "closed_early", "closed_reused"})}


@pytest.mark.parametrize("keep_alive", [[], ["-k"]], ids=["close", "keep-alive"])
def test_each_fault_is_counted_once_under_its_own_name(bench_json, keep_alive):
    script = ["ok", "error", *FAULTS, "ok"]
    faults = REUSED_FAULTS if keep_alive else FAULTS
    with faulty.Server(script) as server:
        code, report = bench_json("-r", "-n", 60, "-c", 1, "-s", "0.2", *keep_alive, server.url)
    assert code == 0
    assert sum(server.did.values()) == report["totals"]["requests"] == 60
    for reason in set().union(*faults.values()):
        did = sum(count for name, count in server.did.items() if reason in faults.get(name, ()))
        same = [other for names in faults.values() if reason in names for other in names]
        assert sum(report["failures"][other] for other in set(same)) == did, reason
    assert report["totals"]["failed"] == sum(report["failures"].values())
    assert report["totals"]["failed"] == sum(server.did[name] for name in FAULTS)
    assert report["totals"]["non_2xx"] == server.did["error"]
    assert report["totals"]["succeeded"] == server.did["ok"] + server.did["error"]


def test_many_connections_count_as_one_does(bench_json):
    script = ["ok", "ok", "reset", "ok", "truncated", "error", "ok", "bad_chunk"]
    with faulty.Server(script) as server:
        code, report = bench_json("-r", "-k", "-n", 800, "-c", 40, server.url)
    assert code == 0 and report["totals"]["requests"] == sum(server.did.values()) == 800
    counted = failures(report)
    assert counted.pop("closed_reused") + counted.pop("reset") == server.did["reset"]
    assert counted == {
        "truncated": server.did["truncated"],
        "bad_response": server.did["bad_chunk"],
    }


def test_length_may_vary_but_under_ab_strict(bench_json):
    for options, failed in ([], 0), (["-l"], 0), (["--ab-strict"], 5), (["--ab-strict", "-l"], 0):
        with faulty.Server(["ok", "longer10"]) as server:
            report = bench_json("-k", "-n", 10, *options, server.url)[1]
        assert report["failures"]["length"] == report["totals"]["failed"] == failed, options


def test_a_hung_request_costs_neither_the_others_nor_the_report(srv_run):
    with faulty.Server(["ok"] * 7 + ["silent"] + ["ok"] * 1000) as server:
        done = bench(srv_run, "-k", "-n", 200, "-c", 2, "-s", "0.5", "-q", server.url)
    assert done.returncode == 0
    assert line(done.stdout, "Complete requests") == "200"
    assert line(done.stdout, "Failed requests") == "1"
    assert "(Connect: 0, Receive: 1, Length: 0, Exceptions: 0)" in done.stdout
    assert "1  time-out before the first byte" in done.stdout


def test_framings_are_understood(bench_json):
    with faulty.Server(["ok", "chunked", "until_close", "interim", "bytewise"]) as server:
        code, report = bench_json("-k", "-n", 50, "-c", 2, server.url)
    assert code == 0 and report["totals"]["failed"] == 0
    assert report["document_bytes"] == len(faulty.BODY)
    assert report["totals"]["body_bytes"] == 50 * len(faulty.BODY)


# --- connections ---------------------------------------------------------------------


def test_keep_alive_reuses_and_close_does_not(bench_json):
    with faulty.Server(["ok"]) as server:
        report = bench_json("-k", "-n", 60, "-c", 3, server.url)[1]
        assert server.connections == 3 == report["totals"]["connections"]
        assert report["totals"]["kept_alive"] == 60
    with faulty.Server(["ok"]) as server:
        report = bench_json("-n", 60, "-c", 3, server.url)[1]
        assert server.connections == 60 == report["totals"]["connections"]
        assert report["totals"]["kept_alive"] == 0


def test_all_connections_open_at_once(srv_run):
    with faulty.Server(["slow"]) as server:
        done = bench(srv_run, "-n", 8, "-c", 4, server.url)
        assert server.open_max == 4
    assert 0.6 <= float(line(done.stdout, "Time taken for tests").split()[0]) < 0.85


def test_a_server_that_does_not_close_is_not_waited_for(srv_run):
    with faulty.Server(["never_closes"]) as server:
        started = time.monotonic()
        done = bench(srv_run, "-n", 40, "-c", 1, server.url)
    assert done.returncode == 0 and line(done.stdout, "Failed requests") == "0"
    assert time.monotonic() - started < 5


def test_http10_with_and_without_keep_alive(bench_json):
    with faulty.Server(["ok"]) as server:
        report = bench_json("--http1.0", "-k", "-n", 20, "-c", 2, server.url)[1]
        assert report["totals"]["kept_alive"] == 20 and server.connections == 2
        assert b" HTTP/1.0\r\n" in server.heads[0]
    with faulty.Server(["ok"]) as server:
        assert bench_json("--http1.0", "-n", 20, server.url)[1]["totals"]["failed"] == 0
        assert server.connections == 20


# --- when it ends ----------------------------------------------------------------------


@pytest.mark.parametrize("limits", [["-t", "0.5", "-n", "1000000"], ["-n", "1000000", "-t", "0.5"], ["-t", "0.5"]])
def test_time_limit_ends_the_run(bench_json, limits):
    with faulty.Server(["ok"]) as server:
        code, report = bench_json("-k", *limits, "-c", 2, server.url)
    assert code == 0
    assert 0.4 < report["totals"]["seconds"] < 2
    assert 0 < report["totals"]["requests"] < 1000000


@pytest.mark.parametrize("limits", [["-t", "60", "-n", "10"], ["-n", "10", "-t", "60"]])
def test_count_ends_the_run_before_the_time_limit(bench_json, limits):
    with faulty.Server(["ok"]) as server:
        assert bench_json("-k", *limits, server.url)[1]["totals"]["requests"] == 10


def test_requests_in_flight_at_the_end_are_told(srv_run):
    with faulty.Server(["silent"]) as server:
        started = time.monotonic()
        done = bench(srv_run, "-t", "2", "-c", 3, server.url)
        assert 2 <= time.monotonic() - started < 10
    assert done.returncode == 3
    assert line(done.stdout, "Complete requests") == "0"
    assert re.search(r"Still in flight at the end: 3, the oldest for (1|2)\.\d", done.stdout)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_prints_the_report(number):
    with faulty.Server(["ok"] * 5 + ["silent"]) as server:
        process = subprocess.Popen(
            [harness.srv_binary(), "bench", "-k", "-n", "100", "-c", "1", server.url],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=harness.die_with_parent,
        )
        deadline = time.monotonic() + 20
        while server.did["silent"] == 0 and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(number)
        out, err = process.communicate(timeout=20)
    assert process.returncode == 128 + number, err
    assert line(out, "Complete requests") == "5"
    assert f"Stopped early by {number.name}" in out
    assert "Still in flight at the end: 1" in out


# --- exit codes ----------------------------------------------------------------------------


@pytest.fixture
def closed_url():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{sock.getsockname()[1]}/"


def test_closed_port(srv_run, closed_url):
    done = bench(srv_run, "-n", 20, "-c", 2, closed_url)
    assert done.returncode == 1 and "connection refused" in done.stdout and "Stopped early" in done.stdout
    done = bench(srv_run, "-r", "-n", 20, "-c", 2, closed_url)
    assert done.returncode == 1
    assert (line(done.stdout, "Complete requests"), line(done.stdout, "Failed requests")) == ("20", "20")
    assert "(Connect: 20, Receive: 0, Length: 0, Exceptions: 0)" in done.stdout
    assert "Requests per second" not in done.stdout


def test_a_reset_stops_the_run_unless_r(srv_run):
    with faulty.Server(["ok", "ok", "reset"]) as server:
        done = bench(srv_run, "-n", 30, server.url)
        assert done.returncode == 1 and line(done.stdout, "Complete requests") == "3"
        assert bench(srv_run, "-r", "-n", 30, server.url).returncode == 0


def test_no_success_is_told_by_the_exit_code(srv_run):
    with faulty.Server(["early"]) as server:
        done = bench(srv_run, "-n", 5, server.url)
    assert done.returncode == 3 and line(done.stdout, "Failed requests") == "5"


def test_all_500_is_an_answer(srv_run):
    with faulty.Server(["error"]) as server:
        done = bench(srv_run, "-n", 5, server.url)
    assert done.returncode == 0 and line(done.stdout, "Non-2xx responses") == "5"


@pytest.mark.parametrize(
    "args, named",
    [
        ([], "URL"),
        (["-D", "http://h/"], "-D"),
        (["-X", "proxy:1:2", "http://h/"], "--proxy"),
        (["-I", "http://h/"], "https:// URL"),
        (["-Z", "ALL", "http://h/"], "https:// URL"),
        (["-f", "TLS1.2", "http://h/"], "https:// URL"),
        (["-E", "cert.pem", "http://h/"], "https:// URL"),
        (["--rate", "0", "http://h/"], "--rate"),
        (["--rate", "5", "-R", "10", "http://h/"], "--ramp"),
        (["--fail-if", "p99=3", "http://h/"], "p99>200ms"),
        (["--expect-status", "2x", "http://h/"], "--expect-status"),
        (["--percentiles", "50,101", "http://h/"], "--percentiles"),
        (["-B", "localhost!", "http://h/"], "-B"),
        (["-W", "4", "-c", "2", "-n", "9", "http://h/"], "--workers"),
        (["--merge"], "--merge"),
        (["--json", "-", "--csv", "-", "http://h/"], "stdout"),
        (["-n", "0", "http://h/"], "-n"),
        (["-n", "abc", "http://h/"], "abc"),
        (["-c", "0", "http://h/"], "-c"),
        (["-n", "1", "-c", "2", "http://h/"], "--concurrency 2"),
        (["-t", "-1", "http://h/"], "-t"),
        (["-s", "x", "http://h/"], "-s"),
        (["-n", "150000", "-c", "150000", "http://h/"], "descriptors"),
        (["-p", "/nope", "-u", "/nope", "http://h/"], "--post"),
        (["-H", "nocolon", "http://h/"], "nocolon"),
        (["ftp://h/"], "ftp"),
        (["http://h:99999/"], "99999"),
        (["http://a/", "http://b/"], "http://b/"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_usage_is_one_line(srv_run, args, named):
    done = bench(srv_run, *args)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.count("\n") == 1 and done.stderr.startswith("srv bench: ") and named in done.stderr


def test_what_cannot_be_done_is_one_line(srv_run, tmp_path):
    """A file that cannot be written is found out before anything is sent."""
    with faulty.Server(["ok"]) as server:
        for args in (["-p", tmp_path / "nope", server.url], ["http://no-such-host.invalid/"]):
            done = bench(srv_run, *args)
            assert done.returncode == 1 and done.stdout == "" and done.stderr.count("\n") == 1
        for option in ("--json", "--csv", "--ndjson", "-e", "-g", "--spectrum"):
            done = bench(srv_run, option, tmp_path / "no" / "file", server.url)
            assert done.returncode == 1 and done.stdout == ""
            assert "cannot write" in done.stderr and done.stderr.count("\n") == 1
        assert server.did.total() == 0


# --- the request ---------------------------------------------------------------------------


def test_request_is_what_was_asked_for(srv_run):
    big = "x" * 9000
    with faulty.Server(["ok"]) as server:
        args = ["-H", "X-A: 1", "-H", f"X-Big: {big}", "-H", "Host: other", "-C", "a=1", "-C", "b=2", "-A", "u:p"]
        assert bench(srv_run, "-k", *args, "-m", "OPTIONS", server.url).returncode == 0
        head = server.heads[0].decode()
    assert head.startswith("OPTIONS /t HTTP/1.1\r\nHost: other\r\n")
    for field in ("X-A: 1", f"X-Big: {big}", "Cookie: a=1; b=2", "Authorization: Basic dTpw", "Accept: */*"):
        assert f"\r\n{field}\r\n" in head
    assert head.count("Host:") == 1 and "Connection" not in head


def test_bodies_are_sent_whole(srv_run, tmp_path):
    body = bytes(range(256)) * 8192
    (tmp_path / "body").write_bytes(body)
    with faulty.Server(["ok"]) as server:
        done = bench(srv_run, "-k", "-n", 4, "-c", 2, "-p", tmp_path / "body", "-T", "a/b", server.url)
        assert done.returncode == 0 and server.bodies == [body] * 4
        assert b"POST /t " in server.heads[0] and b"\r\nContent-Type: a/b\r\n" in server.heads[0]
        assert int(line(done.stdout, "Total body sent")) == 4 * (len(body) + len(server.heads[0]))
        assert bench(srv_run, "-u", tmp_path / "body", server.url).returncode == 0
        assert server.heads[-1].startswith(b"PUT ")


def test_an_answer_to_a_body_that_is_not_read_counts(bench_json, tmp_path):
    (tmp_path / "body").write_bytes(b"x" * (64 << 20))
    with faulty.Server(["answers_unread"], unread_bodies=True) as server:
        code, report = bench_json("-n", 4, "-c", 2, "-p", tmp_path / "body", server.url)
    assert code == 0 and report["totals"]["failed"] == 0 and report["totals"]["non_2xx"] == 4


def test_head_requests_have_no_body(bench_json):
    with faulty.Server(["ok"]) as server:
        code, report = bench_json("-i", "-k", "-n", 10, server.url)
    assert code == 0 and report["totals"]["failed"] == 0 and report["totals"]["body_bytes"] == 0


# --- the report ------------------------------------------------------------------------------


def test_json_goes_to_a_file_and_the_text_to_stdout(srv_run, tmp_path):
    with faulty.Server(["ok"]) as server:
        done = bench(srv_run, "-n", 10, "--json", tmp_path / "r.json", server.url)
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["schema"] == "srv-bench/1" and report["totals"]["requests"] == 10
    assert line(done.stdout, "Complete requests") == "10"
    latency = report["latency_us"]
    assert latency["count"] == 10 and 0 < latency["min"] <= latency["p50"] <= latency["p99"] <= latency["max"]


def test_progress_is_shown_for_long_runs_only(srv_run):
    with faulty.Server(["ok"]) as server:
        done = bench(srv_run, "-k", "-n", 300, server.url)
        shown = [f"Completed {count} requests" for count in (100, 200, 300)]
        assert done.stderr.splitlines() == [*shown, "Finished 300 requests"]
        assert bench(srv_run, "-k", "-q", "-n", 300, server.url).stderr == ""
        assert bench(srv_run, "-k", "-n", 150, server.url).stderr == ""


def test_verbosity_shows_request_and_responses(srv_run):
    with faulty.Server(["ok"]) as server:
        done = bench(srv_run, "-v", 4, server.url)
    assert "GET /t HTTP/1.1" in done.stderr and "code = 200" in done.stderr and "Server: faulty/1" in done.stderr


def test_version_and_help(srv_run):
    assert bench(srv_run, "-V").stdout.startswith("srv bench ")
    assert "--concurrency" in bench(srv_run, "--help").stdout


def masked(report):
    """All from the first line that ab and we share, without numbers, names and judgements on skew."""
    text = re.sub(r"(WARNING|ERROR): The median.*\n.*\n", "", report)
    text = re.sub(r"^(This is|Copyright|Licensed| This is| Copyright| Licensed).*\n", "", text, flags=re.M)
    text = re.sub(r"\d+(\.\d+)?", "N", text)
    return re.sub(r" +", " ", text).strip().splitlines()


AB_OPTIONS = [
    *([], ["-k"], ["-S"], ["-d"], ["-l"], ["-i"], ["-q"], ["-p", "BODY"], ["-u", "BODY", "-T", "a/b"], ["-n", "1"]),
    *(["-k", "-n", "200"], ["-kqS", "-c", "2"], ["-d", "-c4"], ["-t", "20", "-n", "30"], ["-b", "16384"]),
    *(["-w"], ["-w", "-k", "-p", "BODY"], ["-x", "border=1", "-y", "align=left"], ["-z", "bgcolor=red", "-l"]),
    *(["-C", "a=b", "-A", "u:p", "-H", "X: y"], ["-m", "DELETE"], ["-B", "127.0.0.1"], ["-s", "5", "-r"]),
]
AB_SCRIPTS = {"ok": ["ok"], "error": ["error"], "lengths": ["ok", "longer10"]}


def ab_arguments(options, body):
    args = [] if "-n" in options else ["-n", "20"]
    return args + [str(body) if option == "BODY" else option for option in options]


@pytest.mark.skipif(shutil.which("ab") is None, reason="ab is not installed")
@pytest.mark.parametrize("options", AB_OPTIONS, ids=" ".join)
@pytest.mark.parametrize("script", ["ok", "error"])
def test_report_is_that_of_ab(srv_run, tmp_path, options, script):
    (tmp_path / "body").write_bytes(b"body")
    args = ab_arguments(options, tmp_path / "body")
    with faulty.Server(AB_SCRIPTS[script]) as server:
        ab = subprocess.run(["ab", *args, server.url], capture_output=True, text=True, timeout=60)
        ours = bench(srv_run, "--ab-strict", *args, server.url)
    assert ab.returncode == ours.returncode == 0, ab.stderr + ours.stderr
    assert masked(ours.stdout) == masked(ab.stdout)
    assert masked(ours.stderr) == masked(ab.stderr)


@pytest.mark.skipif(shutil.which("ab") is None, reason="ab is not installed")
@pytest.mark.parametrize("options", [[], ["-k"], ["-l"], ["-w"]], ids=" ".join)
def test_failures_are_reported_as_ab_does(srv_run, options):
    with faulty.Server(AB_SCRIPTS["lengths"]) as server:
        ab = subprocess.run(["ab", *options, "-n", "20", server.url], capture_output=True, text=True, timeout=60)
        ours = bench(srv_run, "--ab-strict", *options, "-n", "20", server.url)
    assert masked(ours.stdout) == masked(ab.stdout)
    assert re.findall(r"Failed requests.*?\d+", ours.stdout) == re.findall(r"Failed requests.*?\d+", ab.stdout)


@pytest.mark.skipif(shutil.which("ab") is None, reason="ab is not installed")
def test_files_are_those_of_ab(srv_run, tmp_path):
    """-g has ab's columns; -e has its rows, and for more than 50 requests ab's are right, too."""
    with faulty.Server(["ok"]) as server:
        args = ["-n", "60", "-c", "2", server.url]
        subprocess.run(["ab", "-e", tmp_path / "ae", "-g", tmp_path / "ag", *args], capture_output=True, timeout=60)
        bench(srv_run, "--ab-strict", "-e", tmp_path / "se", "-g", tmp_path / "sg", *args)

    def shape(name):
        return [re.sub(r"\d+", "N", re.sub(r"\d+\.\d+", "F", row)) for row in (tmp_path / name).read_text().splitlines()]

    assert shape("se") == shape("ae")
    assert [row.split("\t")[1:] for row in shape("sg")] == [row.split("\t")[1:] for row in shape("ag")]
    assert len(shape("sg")) == 61


def test_ab_strict_asks_once_before_it_asks_many(srv_run):
    with faulty.Server(["slow"]) as server:
        done = bench(srv_run, "--ab-strict", "-n", 8, "-c", 4, server.url)
        assert server.open_max == 4 and b" HTTP/1.0\r\n" in server.heads[0]
    assert 0.85 <= float(line(done.stdout, "Time taken for tests").split()[0]) < 3
    assert "latency" not in done.stdout and "throughput" not in done.stdout
