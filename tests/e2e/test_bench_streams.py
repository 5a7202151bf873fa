# SPDX-License-Identifier: MIT
"""srv bench --stream: events as they really come, of servers whose every byte is known, of slowapi's and of serve's."""

import json
import time
import zlib
from pathlib import Path

import pytest
from rawserver import RawServer, answer, reset
from test_handlers_stream import build

ROOT = Path(__file__).resolve().parents[2]
SSE = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
LINES = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nConnection: close\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
ASK = '{"model":"m","stream":true,"messages":[{"role":"user","content":"Hello"}]}'


def pause(seconds):
    return lambda _conn: time.sleep(seconds)


def end(conn):
    conn.close()


def chunk(data):
    return b"%x\r\n%s\r\n" % (len(data), data)


def failures(report):
    return {reason: count for reason, count in report["failures"].items() if count}


@pytest.fixture
def streams(bench_json):
    """streams(SCRIPT or server's URL, *ARGS) -> (the report, its streams)."""

    def run(script, *args):
        if isinstance(script, str):
            report = bench_json(*args, script)[1]
        else:
            with RawServer(script) as server:
                report = bench_json(*args, server.url)[1]
        return report, report["streams"]

    return run


# --- events, whatever their bytes -------------------------------------------------------------


SHAPES = {
    "lines end with LF": (b"data: a\n\ndata: b\n\n", 2),
    "lines end with CR": (b"data: a\r\rdata: b\r\r", 2),
    "lines end with CRLF": (b"data: a\r\n\r\ndata: b\r\n\r\n", 2),
    "a byte order mark": (b"\xef\xbb\xbfdata: a\n\n", 1),
    "comments and other fields": (b": hello\n\nevent: x\nid: 1\n\nevent: y\ndata: z\n\n", 1),
    "data of several lines": (b"data: a\ndata: b\ndata\n\ndata:\n\n", 2),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_events_are_found_in_reads_of_a_byte(streams, shape):
    body, events = SHAPES[shape]
    pieces = [SSE, *(part for i in range(len(body)) for part in (body[i : i + 1], pause(0.002))), end]
    report, told = streams([pieces], "-n", 2, "--stream", "sse")
    assert failures(report) == {}
    assert (told["events"], told["begun"], told["complete"], told["cut"]) == (2 * events, 2, 2, 0)
    assert told["bytes"] == 2 * len(body)
    assert told["events_per_stream"]["p50"] == events


def test_events_are_found_across_chunks(streams):
    body = b"data: one\n\ndata: two\n\ndata: [DONE]\n\n"
    pieces = b"".join(chunk(body[i : i + 1]) for i in range(len(body)))
    told = streams([[CHUNKED + pieces + b"0\r\n\r\n"]], "-k", "-n", 4, "-c", 2, "--stream", "sse")[1]
    assert (told["events"], told["with_end"], told["complete"]) == (8, 4, 4)


def test_a_line_may_have_any_length(streams):
    body = b"data: " + b"x" * 3_000_000 + b"\n\n"
    told = streams([[SSE, body, end]], "-n", 2, "--stream", "sse")[1]
    assert (told["events"], told["bytes"]) == (2, 2 * len(body))


def test_lines_of_json_are_events(streams):
    body = b'{"a":1}\n\n{"b":2}\r\n[3]'
    told = streams([[LINES, body, end]], "-n", 3, "--stream", "json-lines")[1]
    assert (told["format"], told["events"], told["cut"]) == ("json-lines", 9, 0)


def test_auto_goes_by_the_content_type(streams):
    html = answer(b"Content-Type: text/html\r\n", b"data: no\n\n")
    script = [[SSE, b"data: a\n\n", end], [LINES, b"{}\n{}\n", end], [html, end]]
    told = streams(script, "-n", 6, "--stream", "auto")[1]
    assert (told["begun"], told["others"], told["events"]) == (4, 2, 2 + 4)


def test_errors_and_coded_answers_are_no_streams(streams):
    busy = b"HTTP/1.1 429 Busy\r\nContent-Type: text/event-stream\r\nContent-Length: 9\r\n\r\ndata: a\n\n"
    coded = answer(b"Content-Type: text/event-stream\r\nContent-Encoding: gzip\r\n", b"data: a\n\n")
    told = streams([[busy, end], [coded, end]], "-n", 4, "--stream", "sse")[1]
    assert (told["begun"], told["others"], told["events"]) == (0, 4, 0)


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_events_of_decoded_answers_are_seen_as_they_come(streams, coding):
    """With --compressed bench decodes; the server flushes behind each event."""
    packer = zlib.compressobj(wbits=31 if coding == "gzip" else 15)
    events = [packer.compress(b"data: %d\n\n" % i) + packer.flush(zlib.Z_SYNC_FLUSH) for i in range(3)]
    head = SSE[:-2] + b"Content-Encoding: %s\r\n\r\n" % coding.encode()
    script = [[head, events[0], pause(0.4), events[1], pause(0.4), events[2], packer.flush(), end]]
    report, told = streams(script, "-n", 2, "-c", 2, "--stream", "auto", "--compressed")
    assert failures(report) == {} and (told["begun"], told["others"], told["events"]) == (2, 0, 6)
    assert told["gap_us"]["count"] + told["unseen_gaps"] == 4 and told["gap_us"]["p50"] >= 50_000


# --- when they come ---------------------------------------------------------------------------


def test_the_first_event_and_the_gaps_are_timed(streams):
    event = b"data: x\n\n"
    script = [[SSE, pause(0.3), event, pause(0.2), event, pause(0.2), event, end]]
    report, told = streams(script, "-n", 3, "-c", 3, "--stream", "sse")
    assert told["first_event_us"]["count"] == 3 and 300_000 <= told["first_event_us"]["min"] < 5_000_000
    assert told["gap_us"]["count"] + told["unseen_gaps"] == 6 and 50_000 <= told["gap_us"]["p50"] < 2_000_000
    assert report["wait_us"]["p50"] < told["first_event_us"]["p50"]  # the head has come before
    assert 0.2 <= told["events_per_s_of_stream"]["p50"] <= 20


def test_events_of_one_read_have_no_gaps(streams):
    script = [[SSE + b"data: x\n\n" * 5, pause(0.3), b"data: x\n\n" * 3, pause(0.3), b"data: x\n\n", end]]
    told = streams(script, "-n", 2, "--stream", "sse")[1]
    assert told["events"] == 18
    assert told["unseen_gaps"] >= 12 and 2 <= told["crowded_reads"] <= 4
    assert told["gap_us"]["count"] + told["unseen_gaps"] == 16  # none of them is a zero
    assert told["gap_us"]["min"] is None or told["gap_us"]["min"] >= 20_000


def test_a_long_gap_is_a_stall(streams, srv_run):
    event = b"data: x\n\n"
    script = [[SSE, event, pause(1.2), event, pause(1.2), event, end], [SSE, event, event, end]]
    told = streams(script, "-n", 4, "-c", 4, "--stream", "sse", "--stall", "250ms")[1]
    assert (told["stalls"], told["stalled"], told["stall_s"]) == (4, 2, 0.25)
    assert streams(script, "-n", 4, "--stream", "sse", "--stall", "30s")[1]["stalls"] == 0
    with RawServer(script) as server:
        text = srv_run("bench", "-n", 2, "--stream", "sse", "--stall", "250ms", server.url).stdout
    assert "stalls       2 gaps over 250ms, in 1 streams" in text


def test_a_stream_that_hangs_is_a_stall_and_its_gap_is_longer_than_it_lasted(streams):
    script = [[SSE, b"data: x\n\n", pause(30), end]]
    report, told = streams(script, "-n", 2, "-c", 2, "-s", "1", "--stream", "sse", "--stall", "300ms")
    assert failures(report) == {"timeout_body": 2}
    assert (told["broken"], told["stalls"], told["stalled"]) == (2, 2, 2)
    assert told["gap_us"]["censored"] == 2 and told["gap_us"]["p50"] >= 300_000
    assert told["first_event_us"]["censored"] == 0


def test_a_first_event_that_never_comes_is_longer_than_the_time_out(streams):
    report, told = streams([[SSE, pause(30), end]], "-n", 2, "-c", 2, "-s", "0.5", "--stream", "sse")
    assert failures(report) == {"timeout_body": 2}
    assert told["first_event_us"]["censored"] == 2 and told["first_event_us"]["p50"] >= 400_000
    told = streams([[pause(30), end]], "-n", 2, "-c", 2, "-s", "0.5", "--stream", "sse")[1]
    assert told["first_event_us"]["censored"] == 2 and told["begun"] == 0


def test_streams_that_never_end_are_counted_as_they_go(streams):
    events = [part for _ in range(400) for part in (b"data: x\n\n", pause(0.05))]
    report, told = streams([[SSE, *events, end]], "-t", "2", "-c", 3, "--stream", "sse")
    assert report["totals"]["in_flight"] == 3 and failures(report) == {}
    assert (told["begun"], told["complete"], told["in_flight"]) == (3, 0, 3)
    assert told["events"] >= 9 and told["gap_us"]["censored"] == 3
    assert told["gap_us"]["count"] == told["events"] - told["unseen_gaps"]  # a first one less, an age more


def test_the_open_model_counts_from_the_plan(streams):
    script = [[SSE, pause(0.2), b"data: x\n\n", end]]
    args = ("--rate", "20", "-t", "1", "--drain", "20", "-c", "1", "--stream", "sse")
    report, told = streams(script, *args)
    assert told["first_event_us"]["max"] > 400_000  # they have waited for the only connection
    assert told["first_event_us"]["count"] == report["latency_us"]["count"]


def test_the_warm_up_is_not_counted(streams):
    script = [[SSE, b"data: x\n\n", pause(0.05), b"data: x\n\n", end]]
    report, told = streams(script, "-t", "1", "--warmup", "0.5", "--stream", "sse")
    assert told["complete"] == report["totals"]["succeeded"]
    assert told["events"] in range(2 * told["complete"], 2 * told["complete"] + 3)


# --- how they end -----------------------------------------------------------------------------


def test_the_end_marker_is_counted_and_is_no_event(streams, srv_run):
    script = [[SSE, b"data: a\n\ndata: [DONE]\n\n", end], [SSE, b"data: a\n\n", end]]
    report, told = streams(script, "-n", 4, "--stream", "sse")
    assert failures(report) == {}
    assert (told["events"], told["with_end"], told["complete"]) == (4, 2, 4)
    with RawServer(script) as server:
        text = srv_run("bench", "-n", 4, "--stream", "sse", server.url).stdout
    assert "streams      4 begun, 4 complete, 2 of them with [DONE]\n" in text


def test_a_stream_without_the_end_that_is_asked_for_has_failed(streams, srv_run):
    script = [[SSE, b"data: a\n\ndata: bye\n\n", end], [SSE, b"data: bye\n\ndata: a\n\n", end]]
    report, told = streams(script, "-n", 4, "--stream", "sse", "--stream-end", "bye")
    assert failures(report) == {"stream_end": 2}
    assert (told["with_end"], told["events"], told["end"]) == (2, 4, "bye")
    with RawServer(script) as server:
        text = srv_run("bench", "-n", 4, "--stream", "sse", "--stream-end", "bye", server.url).stdout
    assert "2  stream without its end (--stream-end)" in text and "Failed requests:        2\n" in text


def test_an_empty_end_makes_every_event_one(streams):
    told = streams([[SSE, b"data: [DONE]\n\n", end]], "-n", 2, "--stream", "sse", "--stream-end", "")[1]
    assert (told["events"], told["with_end"]) == (2, 0)


def test_a_body_that_ends_within_an_event_is_cut(streams, srv_run):
    script = [[SSE, b"data: a\n\ndata: b\n", end]]
    report, told = streams(script, "-n", 2, "--stream", "sse")
    assert failures(report) == {} and (told["cut"], told["events"]) == (2, 2)
    with RawServer(script) as server:
        assert "2 of them cut within an event" in srv_run("bench", "-n", 2, "--stream", "sse", server.url).stdout


def test_streams_that_break_are_counted_once(streams):
    script = [[CHUNKED + chunk(b"data: a\n\n"), pause(0.1), end], [CHUNKED + chunk(b"data: a\n\n"), pause(0.1), reset]]
    report, told = streams(script, "-r", "-n", 4, "--stream", "sse")
    assert failures(report) == {"truncated": 2, "reset": 2}
    assert (told["begun"], told["broken"], told["complete"], told["events"]) == (4, 4, 0, 4)
    assert told["gap_us"]["count"] == 0


def test_expected_text_is_found_in_streams_too(streams):
    script = [[SSE, b"data: al", pause(0.02), b"pha\n\n", end], [SSE, b"data: beta\n\n", end]]
    report, told = streams(script, "-n", 4, "--stream", "sse", "--expect-body", "alpha")
    assert failures(report) == {"body": 2} and told["events"] == 4


# --- many -------------------------------------------------------------------------------------


def test_workers_and_files_add_up(streams, srv_run, tmp_path, slowapi):
    url = slowapi("--workers", "2").url + "sse?count=6&interval=20ms"
    paths = [tmp_path / name for name in ("a.json", "b.json")]
    for path in paths:
        srv_run("bench", "-n", 40, "-c", 20, "-W", 2, "--stream", "auto", "--json", path, url)
    parts = [json.loads(path.read_text())["streams"] for path in paths]
    done = srv_run("bench", "--merge-anyway", "--merge", "--json", "-", *paths)
    told = json.loads(done.stdout)["streams"]
    for key in ("begun", "complete", "events", "bytes", "unseen_gaps", "crowded_reads", "stalls"):
        assert told[key] == parts[0][key] + parts[1][key]
    assert (told["events"], told["complete"]) == (480, 80)
    for key in ("first_event_us", "gap_us"):
        assert told[key]["count"] == parts[0][key]["count"] + parts[1][key]["count"]
        assert told[key]["max"] == max(parts[0][key]["max"], parts[1][key]["max"])
    assert (told["format"], told["stall_s"], told["end"]) == ("auto", 1.0, "[DONE]")
    assert "streams      80 begun, 80 complete" in done.stderr


def test_files_of_other_streams_do_not_add_up(srv_run, tmp_path, slowapi):
    url = slowapi("--delay", "0").url + "sse?count=1"
    paths = [tmp_path / name for name in ("a.json", "b.json")]
    srv_run("bench", "-n", 2, "--stream", "sse", "--json", paths[0], url)
    srv_run("bench", "-n", 2, "--json", paths[1], url)
    done = srv_run("bench", "--merge", *paths)
    assert done.returncode == 1 and "its stream is not that of the first file" in done.stderr


def test_without_the_option_nothing_is_told(srv_run, slowapi):
    url = slowapi("--delay", "0").url + "sse?count=2&duration=0"
    done = srv_run("bench", "-n", 2, "--json", "-", url)
    assert json.loads(done.stdout)["streams"] is None and "in a stream" not in done.stderr


# --- servers ----------------------------------------------------------------------------------


def test_a_language_model_is_timed_by_its_laws(streams, slowapi):
    url = slowapi("--seed", "1").url + "v1/chat/completions?ttft=200ms&gap=40ms&tokens=20"
    report, told = streams(url, "-n", 60, "-c", 20, "--body", ASK, "--stream", "auto", "--stream-end", "[DONE]")
    assert failures(report) == {}
    assert told["with_end"] == 60 and told["events"] == 60 * 22  # a role before the first token, a reason at the end
    assert told["events_per_stream"]["min"] == told["events_per_stream"]["max"] == 22
    assert told["crowded_reads"] >= 120 and told["unseen_gaps"] >= told["crowded_reads"]
    assert told["gap_us"]["count"] == told["events"] - 60 - told["unseen_gaps"]
    assert 200_000 <= told["first_event_us"]["min"] and told["first_event_us"]["p50"] < 5_000_000
    assert 20_000 <= told["gap_us"]["p50"] < 400_000


def test_a_model_that_says_429_and_stalls(streams, slowapi):
    url = slowapi("--params", "tokens=10&tpm=100&fault=hang=1500ms@50%").url + "v1/chat/completions"
    args = ("-n", 10, "-c", 10, "--body", ASK, "--stream", "auto", "--stall", "400ms", "--expect-status", "200,429")
    report, told = streams(url, *args)
    assert report["statuses"] == {"200": 5, "429": 5}  # 9 tokens of the prompt and 10 of the answer each
    assert (told["begun"], told["others"]) == (5, 5)
    assert (told["stalls"], told["stalled"]) == (5, 5)


def test_events_come_through_tls(streams, slowapi):
    api = slowapi("--bind", "https://127.0.0.1:0")
    url = f"https://127.0.0.1:{api.port}/sse?count=5&interval=100ms"
    report, told = streams(url, "--insecure", "-k", "-n", 6, "-c", 3, "--stream", "auto")
    assert failures(report) == {} and report["tls"]["handshakes"] == 3
    assert (told["events"], told["complete"]) == (30, 6)
    assert told["gap_us"]["count"] + told["unseen_gaps"] == 24
    assert 30_000 <= told["gap_us"]["p50"] < 1_000_000


def test_many_records_of_one_read_have_no_gaps(streams, slowapi):
    """Each event is a record of its own; those that have come together are read in one turn."""
    api = slowapi("--bind", "https://127.0.0.1:0")
    url = f"https://127.0.0.1:{api.port}/sse?count=200&duration=0"
    told = streams(url, "--insecure", "-n", 1, "--stream", "auto")[1]
    assert told["events"] == 200
    assert told["gap_us"]["count"] + told["unseen_gaps"] == 199


def test_a_stream_of_serve_is_timed(streams, serve, slowapi, tmp_path):
    app = serve("--model", "green", build(tmp_path, (ROOT / "examples/clock.c").read_text()), upstream=slowapi())
    report, told = streams(app.url + "?every=0.1", "-t", "2", "-c", 5, "--stream", "auto")
    assert told["in_flight"] == 5 and told["events"] >= 10
    assert 30_000 <= told["gap_us"]["p50"] < 1_000_000


# --- conditions -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "condition, code, text",
    [
        ("first-event p50>100ms", 4, "FAILED   first-event p50>100ms: it is "),
        ("first-event p50>20s", 0, "passed   first-event p50>20s: it is "),
        ("first-event p99 < 20s", 4, "FAILED   first-event p99 < 20s: it is "),
        ("gap max>=50ms", 4, "FAILED   gap max>=50ms: it is "),
        ("gap mean>20s", 0, "passed   gap mean>20s: it is "),
        ("stalls>1", 4, "FAILED   stalls>1: it is 2\n"),
        ("stalls>0.1%", 4, "FAILED   stalls>0.1 %: it is "),
    ],
)
def test_a_pipeline_fails_by_events(srv_run, condition, code, text):
    event = b"data: x\n\n"
    with RawServer([[SSE, pause(0.3), event, pause(1.2), event, pause(0.001), event, end]]) as server:
        args = ("-n", 2, "-c", 2, "--stream", "sse", "--stall", "200ms", "--timeout", "60", "--fail-if", condition)
        done = srv_run("bench", *args, server.url)
    assert done.returncode == code, done.stdout
    assert text in done.stdout


def test_a_first_event_that_did_not_come_fails_an_upper_bound(srv_run):
    with RawServer([[SSE, pause(30), end]]) as server:
        args = ("-n", 1, "-s", "0.5", "--stream", "sse", "--fail-if", "first-event p50>200ms")
        done = srv_run("bench", *args, server.url)
    assert done.returncode == 4 and "FAILED   first-event p50>200ms: it is at least " in done.stdout


# --- usage ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "args, words",
    [
        (["--stall", "2"], "--stall needs --stream"),
        (["--stream-end", "x"], "--stream-end needs --stream"),
        (["--stream", "sse", "--head"], "--stream excludes --head"),
        (["--stream", "sse", "--ab-strict"], "--stream excludes --ab-strict"),
        (["--stream", "sse", "--stream-end", "a\nb"], "--stream-end: allowed is one line"),
        (["--stream", "sse", "--stream-end", "x" * 256], "--stream-end: allowed is one line"),
        (["--stream", "xml"], "json-lines"),
        (["--fail-if", "gap p99>1s"], "condition 'gap p99>1s' needs --stream"),
        (["--abort-if", "gap p99>1s"], "condition 'gap p99>1s' needs --stream"),
        (["--find-max", "gap p99<1s"], "condition 'gap p99<1s' needs --stream"),
        (["--fail-if", "stalls>0"], "condition 'stalls>0' needs --stream"),
        (["--stream", "sse", "--abort-if", "gap p99>1s"], "--abort-if 'gap p99>1s': only --fail-if"),
        (["--stream", "sse", "--fail-if", "gap errors>1"], "of streams first-event p99>2s"),
        (["--stream", "sse", "--fail-if", "first-event p99>200"], "with its unit"),
        (["--stream", "sse", "--stall", "x"], "--stall"),
    ],
)
def test_what_does_not_go_together_is_told(srv_run, args, words):
    done = srv_run("bench", *args, "http://127.0.0.1:9/")
    assert done.returncode == 2 and words in done.stderr and done.stderr.count("\n") == 1


def test_a_stream_faster_than_bench_leaves_others_their_turn(streams):
    """One connection that is never empty kept the loop from timers, and from all other connections."""
    events = chunk(b"data:\n\n" * 100_000)

    def flood(conn):
        conn.sendall(CHUNKED)
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            conn.sendall(events)

    start = time.monotonic()
    report, seen = streams([flood, [SSE + b"data: x\n\n", end]], "-n", 2, "-c", 2, "-t", 1, "--stream", "sse")
    assert time.monotonic() - start < 15 and seen["in_flight"] == 1 and seen["complete"] == 1, report["totals"]
