# SPDX-License-Identifier: MIT
"""What srv bench makes of answers as servers really send them, told by a raw server's own log."""

import re
import socket
import time

import pytest
from rawserver import BODY, RawServer, answer, close, replicas, reset

def failures(report):
    return {reason: count for reason, count in report["failures"].items() if count}


def line(text, label):
    return re.search(rf"^{re.escape(label)}:\s+(.*)$", text, re.M).group(1)


# --- lengths ----------------------------------------------------------------------------------


def test_dynamic_lengths_are_no_failures(srv_run, bench_json):
    script = [answer(body=b"x" * size) for size in (10, 11, 5, 300)]
    with RawServer(script) as server:
        code, report = bench_json("-k", "-n", 40, server.url)
        assert server.requests == 40
        done = srv_run("bench", "-k", "-n", 40, server.url)
    assert code == 0 and report["totals"]["succeeded"] == 40 and failures(report) == {}
    assert report["body_lengths"] == [5, 300] and report["document_bytes"] == 10
    assert line(done.stdout, "Failed requests") == "0" and line(done.stdout, "Document Length") == "10 bytes"
    assert "Body lengths: 5 to 300 bytes" in done.stdout


def test_lengths_differ_under_ab_strict_only(bench_json):
    script = [answer(body=b"x" * 5), answer(body=b"x" * 6, fields=b"Connection: keep-alive\r\n")]
    with RawServer(script) as server:
        assert failures(bench_json("--ab-strict", "-k", "-n", 10, server.url)[1]) == {"length": 5}
    with RawServer(script) as server:
        assert failures(bench_json("--ab-strict", "-k", "-l", "-n", 10, server.url)[1]) == {}


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_is_never_the_reference_length(bench_json, workers):
    script = [answer(status=b"503 Busy", body=b"try later")] * 3 + [answer()] * 17
    with RawServer(script) as server:
        report = bench_json("-k", "-n", 20, "-c", workers, "-W", workers, server.url)[1]
    assert report["document_bytes"] == len(BODY) and report["totals"]["failed"] == 0
    with RawServer([answer(status=b"503 Busy", body=b"try later")]) as server:
        assert bench_json("-k", "-n", 5, server.url)[1]["document_bytes"] == len(b"try later")


# --- statuses ---------------------------------------------------------------------------------


def test_statuses_are_listed(srv_run, bench_json):
    script = [answer()] * 4 + [answer(status=b"503 Busy")]
    with RawServer(script) as server:
        report = bench_json("-k", "-n", 50, "-c", 2, "-W", 2, server.url)[1]
        done = srv_run("bench", "-k", "-n", 50, server.url)
        assert server.log[4] == 20
    assert report["statuses"] == {"200": 40, "503": 10}
    assert "\nstatuses     200: 40, 503: 10\n" in done.stdout
    with RawServer([answer(status=b"404 No")]) as server:
        assert "\nstatuses     404: 5\n" in srv_run("bench", "-k", "-n", 5, server.url).stdout
    with RawServer([answer()]) as server:
        assert "\nstatuses     200: 5\n" in srv_run("bench", "-k", "-n", 5, server.url).stdout
    with RawServer([answer(), answer(status=b"204 No Content", body=b"")]) as server:
        assert "\nstatuses     200: 3, 204: 2\n" in srv_run("bench", "-k", "-n", 5, server.url).stdout


def test_merged_reports_add_up_what_answers_were_like(srv_run, tmp_path):
    script = [answer(), answer(status=b"500 X", body=b""), b"HTTP/1.1 200 OK\nContent-Length: 3\n\nabc"]
    with RawServer([*script, [b"HTTP/1.1 zzz\r\n\r\n", close]]) as server:
        for name in "ab":
            srv_run("bench", "-k", "-n", 8, "--json", tmp_path / name, server.url)
        done = srv_run("bench", "--merge", "--merge-anyway", tmp_path / "a", tmp_path / "b")
        assert server.requests == 16
    assert "\nstatuses     200: 8, 500: 4\n" in done.stdout
    assert "Body lengths: 3 to 12 bytes" in done.stdout
    assert "lenient client accepts: 4 " in done.stdout and "4  malformed status line" in done.stdout


# --- the keep-alive race ------------------------------------------------------------------------


@pytest.mark.parametrize("end", [close, reset], ids=["eof", "reset"])
def test_a_race_with_the_idle_close_is_one_event_by_any_sign(bench_json, end):
    """The third request of each connection is read and met by the end of the connection."""
    with RawServer([answer(), answer(), end]) as server:
        code, report = bench_json("-k", "-n", 30, server.url)
    assert code == 0 and report["stopped_by"] is None
    assert failures(report) == {"closed_reused": server.log[2]} and server.log[2] == 10


def test_a_reset_within_an_answer_is_a_reset(bench_json):
    with RawServer([answer(), [b"HTTP/1.1 200 OK\r\n", lambda _: time.sleep(0.05), reset]]) as server:
        assert failures(bench_json("-k", "-r", "-n", 10, server.url)[1]) == {"reset": 5}
    with RawServer([reset]) as server:
        code, report = bench_json("-k", "-n", 10, server.url)
    assert code == 1 and failures(report) == {"reset": 1} and report["stopped_by"] == "error"


# --- malformed and lenient ----------------------------------------------------------------------

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"

LENIENT = {
    "folded_fields": (b"HTTP/1.1 200 OK\r\nServer: a\r\n b\r\nContent-Length:\r\n 2\r\n\r\nhi", "obsolete line folding"),
    "bare_lf": (b"HTTP/1.1 200 OK\nContent-Length: 2\n\nhi", "line is not ended by CRLF"),
    "chunk_blanks": (CHUNKED + b"2  \r\nhi\r\n0\r\n\r\n", "invalid chunk extension"),
    "repeated_length": (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nhi", "more than one Content-Le"),
    "trailer_fields": (CHUNKED + b"2\r\nhi\r\n0\r\nDate: x\r\nExpires: y\r\n\r\n", "forbidden or invalid trailer field"),
    "large_head": (answer(b"X: " + b"x" * 300000 + b"\r\n", b"hi"), "header section is too large"),
}


@pytest.mark.parametrize("kind", LENIENT)
def test_what_has_one_meaning_is_accepted_and_counted(srv_run, bench_json, kind):
    sent, why = LENIENT[kind]
    with RawServer([sent, answer(body=b"hi")]) as server:
        code, report = bench_json("-k", "-n", 10, "-c", 2, server.url)
        done = srv_run("bench", "-k", "-n", 10, server.url)
        assert server.requests == 20 and server.connections == 3
    assert code == 0 and failures(report) == {} and report["totals"]["body_bytes"] == 20
    assert report["lenient"]["responses"] == report["lenient"][kind] == 5 and report["malformed"] is None
    assert "a lenient client accepts: 5 (--strict refuses)" in done.stdout
    with RawServer([sent]) as server:
        code, report = bench_json("--strict", "-k", "-n", 4, server.url)
    assert code == 3 and failures(report) == {"bad_response": 4}
    assert [reason for reason in report["malformed"]["reasons"] if why in reason], report["malformed"]


@pytest.mark.parametrize(
    "sent, why",
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", "both Content"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nhi!", "more than one Content-Length"),
        (CHUNKED + b"2\r\nhi!\r\n0\r\n\r\n", "chunk data is not followed by CRLF"),
        (CHUNKED + b"x\r\nhi\r\n0\r\n\r\n", "invalid chunk size"),
        (b"HTTP/1.1 200 OK\r\nA: \x01\r\n\r\n", "invalid character in a field value"),
        (b"\x15\x03\x01\x00\x02\x02\x50", "malformed status line"),
        (b"\x15\x03\xff\xfe\x02\x9b\x50", "malformed status line"),
        (CHUNKED + b"3\r\nhi\r\n0\r\n\r\n", "chunk data is not followed by CRLF"),
    ],
)
def test_a_malformed_response_says_why_and_how_it_began(srv_run, bench_json, sent, why):
    with RawServer([[sent, close]]) as server:
        code, report = bench_json("-k", "-n", 6, "-c", 2, server.url)
        done = srv_run("bench", "-k", "-n", 6, server.url)
    assert code == 3 and failures(report) == {"bad_response": 6}
    assert list(report["malformed"]["reasons"].values()) == [6]
    assert why in list(report["malformed"]["reasons"])[0]
    first = sent[:20].decode("latin-1").encode("unicode_escape").decode()
    assert report["malformed"]["first"].startswith(first.replace("\\x15", "\\x15")[:20])
    assert re.search(rf"6  .*{re.escape(why)}", done.stdout)
    assert done.stdout.count("The first one: ") == 1


def test_truncated_chunks_stay_failures(bench_json):
    with RawServer([[CHUNKED + b"5\r\nhel", close]]) as server:
        assert failures(bench_json("-n", 3, server.url)[1]) == {"truncated": 3}


# --- around the response --------------------------------------------------------------------------


def test_bytes_behind_a_response_are_told(srv_run, bench_json):
    with RawServer([answer() + b"\r\n"]) as server:
        code, report = bench_json("-k", "-n", 10, server.url)
        done = srv_run("bench", "-k", "-n", 10, server.url)
        assert server.connections == 20
    assert code == 0 and report["overrun"] == 10 and report["totals"]["kept_alive"] == 0
    assert "followed by bytes that nobody asked for: 10;" in done.stdout


def test_a_server_that_ignores_close_costs_a_short_run_nothing(bench_json):
    for args in (["-c", 1], ["-c", 8], ["-c", 4, "-W", 2]):
        with RawServer([answer()]) as server:
            report = bench_json("-n", 16, *args, server.url)[1]
            assert server.requests == server.connections == 16
        assert report["totals"]["failed"] == 0 and report["totals"]["seconds"] < 0.19, args


def test_a_server_that_closes_is_waited_for(bench_json):
    """It closes first, and so keeps the port in TIME_WAIT: not the generator, which would run out of ports."""

    def slow_close(conn):
        time.sleep(0.02)
        conn.close()

    with RawServer([[lambda _: time.sleep(0.005), answer()]], after=slow_close) as server:
        report = bench_json("-n", 20, "-c", 1, server.url)[1]
        assert server.requests == 20
    assert report["totals"]["seconds"] > 0.02 * 12  # of 19 closes all are waited for once that is known


def test_methods_that_expect_a_body_say_that_there_is_none(srv_run):
    for method, says in (("POST", True), ("PUT", True), ("PATCH", True), ("GET", False), ("DELETE", False)):
        with RawServer([answer()]) as server:
            done = srv_run("bench", "-m", method, server.url)
            assert (b"\r\nContent-Length: 0" in server.heads[0]) == says, method
        assert "Total body sent" not in done.stdout


def test_without_keep_alive_it_says_what_that_costs(srv_run):
    with RawServer([answer()], after=close) as server:
        assert "-k reuses" in srv_run("bench", "-n", 5, server.url).stdout
        assert "-k reuses" not in srv_run("bench", "-k", "-n", 5, server.url).stdout
        assert "-k reuses" not in srv_run("bench", "-n", 5, "--ab-strict", server.url).stdout


# --- addresses ------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_all_addresses_of_a_name_are_used_in_turns(srv_run, bench_json, workers):
    hosts = ("127.0.0.2", "127.0.0.3", "127.0.0.4")
    with replicas(*hosts) as (port, servers):
        args = ["--resolve", f"many.test:{port}:{','.join(hosts)}", f"http://many.test:{port}/"]
        code, report = bench_json("-n", 60, "-c", 6, "-W", workers, *args)
        assert code == 0 and [server.requests for server in servers] == [20, 20, 20]
        assert b"Host: many.test:%d" % port in servers[0].heads[0]
        told = {one["address"]: one["responses"] for one in report["addresses"]}
        assert told == {f"{host}:{port}": 20 for host in hosts}
        done = srv_run("bench", "-k", "-n", 60, "-c", 6, "-W", workers, *args)
        assert [server.connections - 20 for server in servers] == [2, 2, 2]
    for host in hosts:
        assert re.search(rf"{host}:{port} +\d+ responses, 2 connections", done.stdout)


def test_an_address_where_nobody_listens_is_left_out_and_told(srv_run, bench_json):
    with replicas("127.0.0.3") as (port, (server,)):
        args = ["--resolve", f"h:{port}:127.0.0.2", "--resolve", f"h:{port}:127.0.0.3", f"http://h:{port}/"]
        code, report = bench_json("-n", 20, "-c", 4, *args)
        assert code == 0 and server.requests == 20 and report["totals"]["failed"] == 0
        assert [one["responses"] for one in report["addresses"]] == [0, 20]
        assert report["addresses"][0]["left_out"] == "Connection refused"
        assert "left out: Connection refused" in srv_run("bench", "-n", 2, *args).stdout


def test_what_is_left_out_is_shared_by_all_others(bench_json):
    with replicas("127.0.0.3", "127.0.0.4") as (port, servers):
        args = ["--resolve", f"h:{port}:127.0.0.2,127.0.0.3,127.0.0.4", f"http://h:{port}/"]
        assert bench_json("-n", 40, *args)[0] == 0
        assert sorted(server.requests for server in servers) in ([20, 20], [19, 21])


def test_an_address_that_goes_down_is_a_failure(bench_json):
    with replicas("127.0.0.2", "127.0.0.3") as (port, servers):
        # Before its answer: bench cannot come back in between.
        servers[1].script[0] = [lambda _: servers[1].listener.shutdown(socket.SHUT_RDWR), answer()]
        args = ["--resolve", f"h:{port}:127.0.0.2,127.0.0.3", f"http://h:{port}/"]
        report = bench_json("-r", "-n", 20, *args)[1]
        assert report["totals"]["succeeded"] == servers[0].requests + servers[1].requests == 11
        assert sum(report["failures"].values()) == 9


def test_families_can_be_chosen(srv_run, bench_json):
    with replicas("127.0.0.1", "::1") as (port, (four, six)):
        url = f"http://localhost:{port}/"
        assert bench_json("-n", 10, "-c", 2, url)[0] == 0 and (four.requests, six.requests) == (5, 5)
        assert bench_json("-4", "-n", 10, url)[0] == 0 and (four.requests, six.requests) == (15, 5)
        assert bench_json("-6", "-n", 10, url)[0] == 0 and (four.requests, six.requests) == (15, 15)
        done = srv_run("bench", "-6", f"http://127.0.0.1:{port}/")
        assert done.returncode == 1 and done.stderr == "srv bench: '127.0.0.1' has no IPv6 address\n"
        done = srv_run("bench", "-6", "-4", url)
        assert done.returncode == 2 and "-4 and -6" in done.stderr
    with replicas("127.0.0.1") as (port, (four,)):
        assert bench_json("-n", 10, f"http://localhost:{port}/")[1]["totals"]["failed"] == 0 and four.requests == 10


@pytest.mark.parametrize(
    "value, named",
    [("h:80", "HOST:PORT:ADDRESS"), ("h:0:127.0.0.1", "HOST:PORT"), ("h:80:name", "numeric"), ("x:80:127.0.0.1", "h:80")],
)
def test_an_override_that_cannot_work_is_refused(srv_run, value, named):
    done = srv_run("bench", "--resolve", value, "http://h/")
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "--resolve" in done.stderr and value in done.stderr and named in done.stderr
