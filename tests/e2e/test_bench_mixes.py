# SPDX-License-Identifier: MIT
"""srv bench's requests that differ: files of them, templates, and logs that are replayed. What the server saw is the truth."""

import datetime
import json
import os
import re
import uuid
from collections import Counter

import pytest
from harness import wait_for
from rawserver import RawServer, answer

OK = answer()
CLOSED = answer(fields=b"Connection: close\r\n")


def lines_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def targets(server):
    return [head.split(b" ")[1].decode() for head in server.heads]


def file_of(tmp_path, *lines, name="requests"):
    path = tmp_path / name
    path.write_text("".join(line if isinstance(line, str) and line.endswith("\n") else f"{line}\n" for line in lines))
    return path


def objects(*items):
    return [json.dumps(item) for item in items]


# --- lines ------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("keep", [True, False])
def test_lines_are_sent_in_order_over_the_whole_run(bench_json, tmp_path, workers, keep):
    path = file_of(tmp_path, "# a comment", "", "/one", "/two?x=1", "  /three  ", "/four#gone")
    with RawServer([OK if keep else CLOSED]) as server:
        code, report = bench_json(*(["-k"] if keep else []), "-W", workers, "-c", workers, "-n", 42, "--requests-file", path, server.url)
        seen = targets(server)
    assert code == 0 and report["totals"]["succeeded"] == 42
    expected = ["/one", "/two?x=1", "/three", "/four"] * 10 + ["/one", "/two?x=1"]
    assert Counter(seen) == Counter(expected)
    if workers == 1:
        assert seen == expected
    assert report["mix"] == {"file": str(path), "lines": 4, "hosts": 1, "order": "in-order", "templates": False, "seed": 1, "replay": None}


def test_plain_lines_have_methods_and_bodies(bench_json, tmp_path):
    (tmp_path / "body").write_bytes(b"from a file")
    path = file_of(tmp_path, "/a POST x=1&y=2", f"PUT /b <{tmp_path}/body", "/c DELETE", "HEAD /d", "POST /e")
    with RawServer([OK, OK, OK, b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", OK]) as server:
        code, report = bench_json("-k", "-n", 5, "--requests-file", path, server.url)
        heads, bodies = server.heads, server.bodies
    assert code == 0 and report["totals"]["succeeded"] == 5
    assert [head.split(b" HTTP")[0] for head in heads] == [b"POST /a", b"PUT /b", b"DELETE /c", b"HEAD /d", b"POST /e"]
    assert bodies == [b"x=1&y=2", b"from a file", b"", b"", b""]
    assert b"\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 7" in heads[0]
    assert b"Content-Length: 11" in heads[1] and b"Content-" not in heads[2] and b"Content-Length: 0" in heads[4]


def test_objects_say_everything(bench_json, tmp_path):
    path = file_of(
        tmp_path,
        *objects(
            {"path": "/a", "headers": {"X-One": "1", "user-agent": "me", "Host": "elsewhere"}, "name": "first"},
            {"method": "PATCH", "url": "/b\u00e9?q=\"1\"".replace("\u00e9", ""), "body": {"k": [1, "\u00fc"]}},
            {"url": "/c", "body": "t\u00e4xt\n", "headers": {"Content-Type": "text/x"}},
            {"url": "/d", "body": "@@literal"},
        ),
    )
    with RawServer([OK]) as server:
        code, report = bench_json("-k", "-n", 4, "-H", "X-All: yes", "--requests-file", path, server.url)
        heads, bodies = server.heads, server.bodies
    assert code == 0 and report["totals"]["succeeded"] == 4
    assert b"X-One: 1" in heads[0] and b"user-agent: me" in heads[0] and b"User-Agent" not in heads[0]
    assert b"\r\nHost: elsewhere" in heads[0] and heads[0].count(b"ost: ") == 1
    assert all(b"X-All: yes" in head for head in heads)
    assert heads[1].startswith(b'PATCH /b?q="1" HTTP/1.1') and json.loads(bodies[1]) == {"k": [1, "\u00fc"]}
    assert b"Content-Type: application/json" in heads[1]
    assert bodies[2] == "t\u00e4xt\n".encode() and heads[2].count(b"Content-Type") == 1 and b"Content-Type: text/x" in heads[2]
    assert bodies[3] == b"@literal" and b"Content-Type: text/plain" in heads[3]
    assert [name["name"] for name in report["names"]] == ["first", "(unnamed)"]


def test_a_line_can_end_its_connection(bench_json, tmp_path):
    path = file_of(tmp_path, *objects({"url": "/a"}, {"url": "/b", "headers": {"Connection": "close"}}))
    with RawServer([OK, CLOSED], after=lambda conn: conn.close()) as server:
        code, report = bench_json("-k", "-n", 10, "--requests-file", path, server.url)
    assert code == 0 and report["totals"]["connections"] == 5 and report["totals"]["kept_alive"] == 5


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("keep", [True, False])
def test_weights_are_kept(slowapi, bench_json, tmp_path, workers, keep):
    """4000 draws, p = 0.6, 0.3, 0.1: five standard deviations are 155, 145 and 95."""
    api = slowapi("--access-logfile", tmp_path / "log")
    path = file_of(
        tmp_path, *objects(*({"url": f"/?delay=0&w={w}", "weight": w, "name": f"w{w}"} for w in (6, 3, 1)))
    )
    args = [*(["-k"] if keep else []), "-W", workers, "-c", 4, "-n", 4000, "--seed", 7, "--requests-file", path, api.url]
    code, report = bench_json(*args)
    api.stop()
    seen = Counter(line["url"][-1] for line in lines_of(tmp_path / "log"))
    assert code == 0 and sum(seen.values()) == 4000
    assert abs(seen["6"] - 2400) < 155 and abs(seen["3"] - 1200) < 145 and abs(seen["1"] - 400) < 95
    assert {name["name"]: name["requests"] for name in report["names"]} == {f"w{w}": seen[w] for w in "631"}
    assert report["mix"]["order"] == "weighted"


def test_the_choice_depends_on_the_seed_alone(bench_json, tmp_path):
    path = file_of(tmp_path, *(f"/{i}" for i in range(100)))
    seen = {}
    for seed, workers in ((1, 1), (1, 2), (2, 1)):
        with RawServer([OK]) as server:
            order = ["--requests-order", "random", "--seed", seed, "--requests-file", path]
            assert bench_json("-k", "-n", 300, "-W", workers, "-c", workers, *order, server.url)[0] == 0
            seen[seed, workers] = targets(server)
    assert Counter(seen[1, 1]) == Counter(seen[1, 2]) != Counter(seen[2, 1])
    assert len(set(seen[1, 1])) > 80


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("keep", [True, False])
def test_several_hosts_have_their_connections(bench_json, tmp_path, workers, keep):
    item = OK if keep else CLOSED
    with RawServer([item]) as one, RawServer([item]) as two, RawServer([item]) as three:
        path = file_of(tmp_path, one.url, two.url + "/2", "/3", three.url.replace("127.0.0.1", "localhost"))
        args = ["--resolve", f"localhost:{three.port}:127.0.0.1", "-4", "--requests-file", path]
        code, report = bench_json(*(["-k"] if keep else []), "-c", 4, "-W", workers, "-n", 400, *args, one.url)
        counts = [server.requests for server in (one, two, three)]
        connections = [server.connections for server in (one, two, three)]
        assert b"\r\nHost: localhost:%d\r\n" % three.port in three.heads[0] + b"\r\n"
    assert code == 0 and counts == [200, 100, 100] and report["totals"]["succeeded"] == 400
    assert report["mix"]["hosts"] == 3 and report["totals"]["connections"] == sum(connections)
    if keep:
        assert all(count <= 4 for count in connections)
    else:
        assert connections == counts


def test_plain_and_tls_hosts_in_one_file(slowapi, bench_json, tmp_path):
    plain, tls = slowapi("--access-logfile", tmp_path / "1"), slowapi("--bind", "https://127.0.0.1:0", "--access-logfile", tmp_path / "2")
    path = file_of(tmp_path, plain.url + "/?delay=0", tls.url.replace("http:", "https:") + "/?delay=0")
    code, report = bench_json("-k", "-c", 2, "-n", 40, "--insecure", "--requests-file", path)
    plain.stop(), tls.stop()
    assert code == 0 and report["totals"]["succeeded"] == 40 and report["tls"]["handshakes"] <= 2
    assert len(lines_of(tmp_path / "1")) == len(lines_of(tmp_path / "2")) == 20


def test_a_rate_goes_over_several_hosts(bench_json, tmp_path):
    with RawServer([OK]) as one, RawServer([OK]) as two:
        path = file_of(tmp_path, one.url, two.url)
        code, report = bench_json("-k", "--rate", 400, "-n", 200, "--requests-file", path)
        assert code == 0 and one.requests == two.requests == 100 and report["totals"]["dropped"] == 0


def test_lines_expect_for_themselves(bench_json, srv_run, tmp_path):
    path = file_of(
        tmp_path,
        *objects(
            {"url": "/a", "name": "teapot", "expect": {"status": 418}},
            {"url": "/b", "name": "word", "expect": {"status": "2xx,404", "body": "wor\u006cd"}},
            {"url": "/c", "name": "no word", "expect": {"body": "moon"}},
            {"url": "/d", "name": "all"},
        ),
    )
    script = [answer(status=b"418 Teapot"), OK, OK, OK]
    with RawServer(script) as server:
        report = bench_json("-k", "-n", 40, "-c", 1, "--requests-file", path, server.url)[1]
        done = srv_run("bench", "-k", "-n", 4, "--requests-file", path, server.url)
    names = {name["name"]: name for name in report["names"]}
    assert {name: one["failed"] for name, one in names.items()} == {"teapot": 0, "word": 0, "no word": 10, "all": 0}
    assert names["teapot"]["statuses"] == {"418": 10} and names["all"]["requests"] == 10
    assert report["failures"]["body"] == 10 and report["totals"]["failed"] == 10
    assert names["all"]["latency_us"]["count"] == 10 and 0 < names["all"]["latency_us"]["p50"] <= names["all"]["latency_us"]["max"]
    assert re.search(r"^teapot +1 +0 .* 418: 1$", done.stdout, re.M)


def test_results_by_name_are_merged(bench_json, srv_run, tmp_path):
    path = file_of(tmp_path, *objects({"url": "/a", "name": "a", "weight": 3}, {"url": "/b", "name": "b"}))
    reports = []
    with RawServer([OK]) as server:
        for i in range(2):
            out = tmp_path / f"{i}.json"
            assert srv_run("bench", "-k", "-n", 50, "--seed", i, "--requests-file", path, "--json", out, server.url).returncode == 0
            reports.append(json.loads(out.read_text()))
    merged = tmp_path / "merged.json"
    done = srv_run("bench", "--merge", "--merge-anyway", "--json", merged, tmp_path / "0.json", tmp_path / "1.json")
    assert done.returncode == 0, done.stderr
    names = json.loads(merged.read_text())["names"]
    assert [name["name"] for name in names] == ["a", "b"]
    for i, name in enumerate(names):
        parts = [report["names"][i] for report in reports]
        assert name["requests"] == sum(part["requests"] for part in parts) == name["statuses"]["200"]
        assert name["latency_us"]["max"] == max(part["latency_us"]["max"] for part in parts)


def test_timed_out_names_have_their_age(bench_json, tmp_path):
    path = file_of(tmp_path, *objects({"url": "/a", "name": "quick"}, {"url": "/b", "name": "never"}))
    with RawServer([OK, b""]) as server:
        report = bench_json("-k", "-n", 2, "-s", "0.3", "--requests-file", path, server.url)[1]
    quick, never = report["names"]
    assert quick["failed"] == 0 and never["failed"] == never["requests"] == 1
    assert never["statuses"] == {} and never["latency_us"]["censored"] == 1


# --- files that are none ----------------------------------------------------------------------

BAD = [
    ("/a\n/b c", "2: the line has more than a URL"),
    ("/a\n\nGET", "3: the line has a method without a URL"),
    ("/a\n{", "2: the line lacks the name of a member"),
    ('{"url": "/a"} x', "1: the line goes on behind the end"),
    ('{"url": "/a", "colour": 1}', "1: the line has a member that is none of url"),
    ('{"name": "x"}', "1: the line has no url"),
    ('{"url": "/a", "weight": 0}', "1: the line has a weight that is no number"),
    ('{"url": "/a", "weight": "1"}', "1: the line has a weight that is no number"),
    ('{"url": "/a", "headers": {"X": "a\\r\\nY: b"}}', "1: a header's value has control characters"),
    ('{"url": "/a", "headers": {"X Y": "a"}}', "1: a header's name is no token"),
    ('{"url": "/a", "headers": {"content-length": "5"}}', "1: the framing of the body"),
    ('{"url": "/a", "headers": []}', "1: the line has headers that are no object"),
    ('{"url": "/a", "body": "@/nowhere/at/all"}', "1: cannot read /nowhere/at/all: No such file"),
    ('{"url": "/a b"}', "1: the URL has characters that cannot be sent"),
    ('{"url": "/a\\r\\nX: y"}', "1: the URL has characters that cannot be sent"),
    ('{"url": "/a", "method": "GE T"}', "1: the method is no token"),
    ('{"url": "/a", "method": "CONNECT"}', "1: CONNECT asks for a tunnel"),
    ('{"url": "/a", "expect": {"status": 99}}', "1: the status that is expected"),
    ('{"url": "/a", "expect": {"stat": 200}}', "1: the line expects something else"),
    ("ftp://x/", "1: URL 'ftp://x'"),
    ("http://u:p@x/", "1: URL 'http://u:p@x'"),
    ("http:///x", "1: URL 'http://'"),
    ("# nothing\n\n", " has no request"),
]


@pytest.mark.parametrize("text, words", BAD, ids=[words for _, words in BAD])
def test_a_bad_line_is_told_before_anything_starts(srv_run, tmp_path, text, words):
    path = file_of(tmp_path, text)
    with RawServer([OK]) as server:
        done = srv_run("bench", "-n", 4, "--requests-file", path, server.url)
        assert server.connections == 0
    assert done.returncode in (1, 2) and done.stdout == ""
    assert f"{path}{'' if words[0] == ' ' else ':'}{words}" in done.stderr and len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    "args, words",
    [
        (["--requests-file", "/nowhere"], "cannot read /nowhere: No such file"),
        (["--requests-file", "/"], "cannot read /: Is a directory"),
        (["--requests-file", "FILE", "-m", "PUT"], "each line says what it sends"),
        (["--requests-file", "FILE", "--body", "x"], "each line says what it sends"),
        (["--requests-file", "FILE", "--replay", "FILE"], "exclude each other"),
        (["--requests-file", "FILE", "--ab-strict"], "ab has one request"),
        (["--requests-file", "FILE", "--requests-order", "in-order"], "1: the line has a weight"),
        (["--requests-order", "random"], "--requests-order needs --requests-file"),
        (["--speed", "2"], "--speed needs --replay"),
        (["--replay", "FILE", "--speed", "0"], "a number from 0.001"),
        (["--replay", "FILE", "--rate", "5"], "the log says when"),
        (["--replay", "FILE", "--templates"], "a log has none"),
        (["--replay", "FILE"], "no line of the log can be replayed: 1 malformed"),
        (["--replay", "FILE", "--replay-methods", "CONNECT"], "methods such as"),
        (["--templates", "--ab-strict"], "ab has one request"),
    ],
)
def test_options_that_do_not_go_together(srv_run, tmp_path, args, words):
    path = file_of(tmp_path, '{"url": "/", "weight": 2}')
    done = srv_run("bench", "-n", 4, *(path if arg == "FILE" else arg for arg in args), "http://127.0.0.1:1/")
    assert done.returncode in (1, 2) and words in done.stderr and len(done.stderr.splitlines()) == 1


def test_a_url_is_not_needed_where_lines_have_hosts(srv_run, tmp_path):
    path = file_of(tmp_path, "/only/a/path")
    done = srv_run("bench", "-n", 4, "--requests-file", path)
    assert done.returncode == 2 and "no line of" in done.stderr
    with RawServer([OK]) as server:
        path = file_of(tmp_path, "/a", server.url + "/b")
        assert srv_run("bench", "-n", 4, "--requests-file", path).returncode == 0
        assert targets(server) == ["/a", "/t/b"] * 2


# --- templates --------------------------------------------------------------------------------


def test_templates_are_expanded_everywhere(bench_json, tmp_path, monkeypatch):
    monkeypatch.setenv("TOKEN", "s3cret")
    (tmp_path / "users.csv").write_text('email,note\na@x.org,"says ""hi"", twice"\nb@x.org,plain\n')
    csv = f"{tmp_path}/users.csv"
    (tmp_path / "body").write_text(f'{{{{csv:{csv}:note}}}} {{{{random:5-5}}}} {{{{{{{{')
    args = ["-H", "X-Id: {{uuid}}", "-H", "Authorization: Bearer {{env:TOKEN}}", "-p", tmp_path / "body"]
    with RawServer([OK]) as server:
        url = server.url + f"/{{{{seq}}}}?m={{{{csv:{csv}:email}}}}&c={{{{choice:x,y}}}}&s={{{{string:12}}}}&n={{{{now}}}}"
        code, report = bench_json("-k", "-n", 20, "--templates", *args, url)
        heads, bodies, seen = server.heads, server.bodies, targets(server)
    assert code == 0 and report["totals"]["succeeded"] == 20 and report["mix"]["templates"]
    for i, target in enumerate(seen):
        user = "ab"[i % 2]
        assert re.fullmatch(rf"/t/{i + 1}\?m={user}%40x\.org&c=[xy]&s=[\w-]{{12}}&n=\d{{4}}-\d\d-\d\dT\d\d%3A\d\d%3A\d\d\.\d+Z", target), target
        assert bodies[i] == (b'says "hi", twice 5 {{' if user == "a" else b"plain 5 {{")
        assert b"Content-Length: %d\r\n" % len(bodies[i]) in heads[i] + b"\r\n" and b"Bearer s3cret" in heads[i]
    ids = {re.search(rb"X-Id: (\S+)", head)[1].decode() for head in heads}
    assert len(ids) == 20 and all(uuid.UUID(one).version == 4 and str(uuid.UUID(one)) == one for one in ids)


def test_random_values_depend_on_the_seed_alone(bench_json, tmp_path):
    seen = {}
    for seed, workers in ((1, 1), (1, 2), (2, 1)):
        with RawServer([OK]) as server:
            args = ["--templates", "--seed", seed, "-W", workers, "-c", workers]
            assert bench_json("-k", "-n", 200, *args, server.url + "/{{seq}}/{{random:1-1000000}}/{{uuid}}")[0] == 0
            seen[seed, workers] = sorted(targets(server))
    assert seen[1, 1] == seen[1, 2] != seen[2, 1]
    assert sorted(int(target.split("/")[2]) for target in seen[1, 1]) == list(range(1, 201))


def test_braces_are_braces_without_the_switch(bench_json, tmp_path):
    with RawServer([OK]) as server:
        assert bench_json("-n", 2, "-H", "X: {{seq}}", server.url + "/{{seq}}")[0] == 0
        assert targets(server) == ["/t/{{seq}}"] * 2 and b"X: {{seq}}" in server.heads[0]


def test_values_within_json_stay_within_their_string(bench_json, tmp_path):
    (tmp_path / "v.csv").write_bytes(b'v\n"a""b\\c\nd"\n')
    path = file_of(tmp_path, *objects({"url": "/", "body": {"v": f"{{{{csv:{tmp_path}/v.csv:v}}}}"}}))
    with RawServer([OK]) as server:
        assert bench_json("-n", 1, "--templates", "--requests-file", path, server.url)[0] == 0
        assert json.loads(server.bodies[0]) == {"v": 'a"b\\c\nd'}


@pytest.mark.parametrize("place", ["option", "line"])
def test_values_forge_no_headers(srv_run, tmp_path, monkeypatch, place):
    (tmp_path / "v.csv").write_bytes(b'v\nfine\n"x\r\nEvil: 1"\n')
    monkeypatch.setenv("EVIL", "x\r\nEvil: 1")
    for value in (f"csv:{tmp_path}/v.csv:v", "env:EVIL"):
        header = f"{{{{{value}}}}}"
        line = file_of(tmp_path, *objects({"url": "/", "headers": {"X": header}}))
        args = ["-H", f"X: {header}"] if place == "option" else ["--requests-file", line]
        with RawServer([OK]) as server:
            done = srv_run("bench", "-n", 3, "--templates", *args, server.url)
            assert server.connections == 0
        assert done.returncode == 2 and "control characters, which no header may have" in done.stderr
        with RawServer([OK]) as server:
            assert srv_run("bench", "-n", 2, "--templates", f"{server.url}/{header}").returncode == 0
            assert targets(server)[-1] in ("/t/x%0D%0AEvil%3A%201",)
            assert all(b"\r\nEvil" not in head for head in server.heads)


@pytest.mark.parametrize(
    "text, words",
    [
        ("{{sequence}}", "there are seq, uuid"),
        ("{{seq:x}}", "expected the first number"),
        ("{{random:9-1}}", "expected two numbers"),
        ("{{random}}", "expected two numbers"),
        ("{{string:0}}", "expected a length"),
        ("{{choice:}}", "expected texts"),
        ("{{env:NOBODY_HAS_THIS}}", "no such variable"),
        ("{{csv:users.csv}}", "expected a file and a column"),
        ("{{csv:/nowhere.csv:a}}", "cannot read /nowhere.csv"),
        ("{{uuid:4}}", "takes nothing"),
        ("{{seq", "lacks its }}"),
    ],
)
def test_a_bad_template_is_told_before_anything_starts(srv_run, text, words):
    done = srv_run("bench", "-n", 1, "--templates", "http://127.0.0.1:1/" + text)
    assert done.returncode in (1, 2) and words in done.stderr and len(done.stderr.splitlines()) == 1


def test_a_bad_csv_is_told_with_its_line(srv_run, tmp_path):
    for text, words in (("a,b\n1,2\n\n3\n", "v.csv:4: 1 fields"), ('a\n"x', "v.csv:2: a quote"), ("a\n", "has no row"), ("", "is empty")):
        (tmp_path / "v.csv").write_text(text)
        done = srv_run("bench", "-n", 1, "--templates", f"http://127.0.0.1:1/{{{{csv:{tmp_path}/v.csv:a}}}}")
        assert done.returncode in (1, 2) and words in done.stderr, text


# --- logs -------------------------------------------------------------------------------------


def combined(when, target="/", method="GET", request=None):
    stamp = when.strftime("%d/%b/%Y:%H:%M:%S +0000")
    return f'127.0.0.1 - - [{stamp}] "{request or f"{method} {target} HTTP/1.1"}" 200 12 "-" "a \\"quoted\\" agent"'


def test_a_log_keeps_its_offsets(slowapi, bench_json, tmp_path):
    """Of 2000 requests a second for two seconds: what the server saw, and what bench says of its own lateness."""
    api = slowapi("--access-logfile", tmp_path / "seen")
    start = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.timezone.utc)
    at = [i / 1000 for i in range(0, 4000)]
    log = file_of(tmp_path, *objects(*({"time": (start + datetime.timedelta(seconds=s)).isoformat(timespec="milliseconds").replace("+00:00", "Z"), "ms": 0.0, "method": "GET", "target": f"/?delay=0&i={i}"} for i, s in enumerate(at))), name="log")
    code, report = bench_json("-k", "--replay", log, "--speed", 2, "-W", 2, "--csv", tmp_path / "csv", api.url)
    api.stop()
    assert code == 0 and report["totals"]["succeeded"] == report["totals"]["planned"] == 4000
    assert report["config"]["time_limit_s"] is None  # the log says when it ends
    assert report["mix"]["lines"] == 4000 and report["mix"]["replay"]["span_s"] == pytest.approx(1.9995)
    seen = {line["url"] for line in lines_of(tmp_path / "seen")}
    assert seen == {f"/?delay=0&i={i}" for i in range(4000)}
    rows = [row.split(",") for row in (tmp_path / "csv").read_text().splitlines()[1:]]
    starts = sorted(int(row[0]) for row in rows)
    assert all(abs(start - i * 500) <= 1 for i, start in enumerate(starts))


def test_a_combined_log_is_spread_over_its_seconds(slowapi, bench_json, srv_run, tmp_path):
    api = slowapi()
    base = datetime.datetime(2026, 1, 1)
    second = datetime.timedelta(seconds=1)
    log = file_of(
        tmp_path,
        combined(base + second, "/?delay=0&i=4"),
        *(combined(base, f"/?delay=0&i={i}") for i in range(4)),
        combined(base, "example.org:443", "CONNECT"),
        combined(base, request="-"),
        combined(base, "/?delay=0", "POST"),
        "nonsense",
        '127.0.0.1 - - [99/Foo/2026:00:00:00 +0000] "GET / HTTP/1.1" 200 1',
        "",
        name="log",
    )
    code, report = bench_json("-k", "--replay", log, "--speed", 4, "--csv", tmp_path / "csv", api.url)
    assert code == 0 and report["totals"]["succeeded"] == 5
    replay = report["mix"]["replay"]
    assert replay["whole_seconds"] and replay["left_out"] == {"malformed": 2, "no_request": 1, "connect": 1, "method": 1}
    assert replay["first_malformed_line"] == 9
    starts = sorted(int(row.split(",")[0]) for row in (tmp_path / "csv").read_text().splitlines()[1:])
    assert starts == [0, 62500, 125000, 187500, 250000]
    done = srv_run("bench", "-k", "--replay", log, "--speed", 40, "--replay-methods", "GET,POST", api.url)
    assert done.returncode == 0 and "left out     4 lines: 2 malformed, 1 without a request (-), 1 CONNECT" in done.stdout


def test_srvs_own_logs_are_replayed(slowapi, serve, bench_json, srv_run, tmp_path):
    """A recorded run of serve, and of slowapi, sent again: the same targets, as often."""
    api = slowapi("--access-logfile", tmp_path / "slow")
    app = serve("--access-logfile", tmp_path / "served", "--access-logformat", "json", upstream=api)
    assert srv_run("bench", "-k", "-n", 50, "-c", 5, app.url + "?delay=0.01").returncode == 0
    app.stop(), api.stop()
    wait_for(lambda: len(lines_of(tmp_path / "served")) == 50)
    for name in ("slow", "served"):
        with RawServer([OK]) as server:
            code, report = bench_json("-k", "--replay", tmp_path / name, server.url)
            assert code == 0 and report["totals"]["succeeded"] == 50
            assert targets(server) == ["/?delay=0.01"] * 50


def test_a_replay_ends_when_it_is_told(slowapi, bench_json, tmp_path):
    api = slowapi()
    base = datetime.datetime(2026, 1, 1)
    log = file_of(tmp_path, *(combined(base + datetime.timedelta(seconds=i), "/?delay=0") for i in range(100)), name="log")
    assert bench_json("--replay", log, "--speed", 100, "-n", 7, api.url)[1]["totals"]["succeeded"] == 7
    report = bench_json("--replay", log, "--speed", 10, "-t", 1, "--drain", 5, api.url)[1]
    assert 5 <= report["totals"]["planned"] <= 10


@pytest.mark.parametrize("place", ["file", "csv", "log"])
@pytest.mark.parametrize("left", [0, 1000])
def test_a_file_that_shrinks_ends_the_run_with_its_report(bench_json, tmp_path, place, left):
    """Whole pages are gone then, and reading them is a SIGBUS; or a line begins among NULs."""
    now = datetime.datetime(2026, 1, 1)
    texts = {
        "file": ["/line?number=%d" % i for i in range(3000)],
        "csv": ["column"] + [f"value-{i}" for i in range(3000)],
        "log": [combined(now, "/%d" % i) for i in range(3000)],
    }
    path = file_of(tmp_path, *texts[place])

    def shrink(conn):
        os.truncate(path, left)
        conn.sendall(OK)

    with RawServer([OK] * 99 + [shrink] + [OK] * 100_000) as server:
        options = {
            "file": ["--requests-file", path, "-n", 3000, server.url],
            "csv": ["--templates", "-n", 3000, server.url + "?{{csv:%s:column}}" % path],
            "log": ["--replay", path, "--speed", 100, "-c", 1, server.url],
        }
        code, report = bench_json("-k", *options[place])
    assert code == 1 and report["stopped_by"] == "a change of the file that requests come from"
    assert 100 <= report["totals"]["succeeded"] < 3000 and report["totals"]["failed"] == 0
    assert not any(b"\0" in head for head in server.heads)


def test_a_file_that_is_written_to_ends_the_run(bench_json, tmp_path):
    path = file_of(tmp_path, *["/one", "/two", "/three"] * 40)

    def write(conn):
        with path.open("r+b") as file:
            file.write(b"/and?something=else" * 10)
        conn.sendall(OK)

    with RawServer([OK] * 3 + [write] + [OK] * 1000) as server:
        code, report = bench_json("-k", "-n", 100, "--requests-file", path, server.url)
    assert code == 1 and report["stopped_by"] == "a change of the file that requests come from"
    assert {target.split(" ")[0] for target in targets(server)} <= {"/one", "/two", "/three"}


def test_marks_of_byte_order_are_skipped(bench_json, tmp_path):
    mark = "\ufeff"
    lines = file_of(tmp_path, mark + "/a", "/b", name="lines")
    table = file_of(tmp_path, mark + "id,mail", "7,m", name="table")
    log = file_of(tmp_path, mark + json.dumps({"time": "2026-01-01T00:00:00Z", "method": "GET", "target": "/c"}), name="log")
    with RawServer([OK]) as server:
        bench_json("-k", "-n", 2, "--requests-file", lines, server.url)
        bench_json("-k", "-n", 1, "--templates", server.url + "?{{csv:%s:id}}" % table)
        report = bench_json("-k", "--replay", log, server.url)[1]
    assert targets(server) == ["/a", "/b", "/t?7", "/c"]
    assert sum(report["mix"]["replay"]["left_out"].values()) == 0


def test_a_host_ends_where_a_path_query_or_fragment_begins(bench_json, srv_run, tmp_path):
    with RawServer([OK]) as server:
        host = f"127.0.0.1:{server.port}"
        path = file_of(tmp_path, f"{host}/r?to=http://other/x", f"http://{host}#a/b", f"http://{host}/c?d=/e#f?g", "/h?i=http://j/k")
        assert bench_json("-k", "-n", 4, "--requests-file", path, server.url)[0] == 0
        assert targets(server) == ["/r?to=http://other/x", "/", "/c?d=/e", "/h?i=http://j/k"]
    for line, reason in [("http://127.0.0.1?a=/b", "needs a / before the query"), ("unix:/tmp/s:/a", "--unix-socket")]:
        done = srv_run("bench", "--requests-file", file_of(tmp_path, line), "http://127.0.0.1:9/")
        assert done.returncode == 2 and reason in done.stderr and done.stderr.count("\n") == 1, done.stderr


@pytest.mark.parametrize("end", ["\r\n", "\r", "\n"])
def test_a_path_cannot_forge_fields(srv_run, tmp_path, end):
    path = file_of(tmp_path, *objects({"path": f"/long/enough/for/a/version{end}X-Forged: yes"}))
    done = srv_run("bench", "--requests-file", path, "http://127.0.0.1:9/")
    assert done.returncode == 2 and ":1: the URL has characters that cannot be sent" in done.stderr


@pytest.mark.parametrize(
    ("options", "field", "connections"),
    [
        (["-k"], None, 1),
        ([], None, 4),
        (["-k", "-H", "Connection: close"], None, 4),
        (["-H", "Connection: keep-alive"], None, 1),
        (["-k"], "close", 4),
        ([], "keep-alive", 1),
    ],
)
def test_a_connection_lasts_as_its_field_says(bench_json, tmp_path, options, field, connections):
    path = file_of(tmp_path, *objects({"path": "/a", "headers": {"Connection": field} if field else {}}))
    with RawServer([OK]) as server:
        code, report = bench_json(*options, "-n", 4, "--requests-file", path, server.url)
        assert code == 0 and report["totals"]["succeeded"] == 4 and server.connections == connections


def test_a_replay_ends_with_its_last_line(slowapi, srv_run, tmp_path):
    """Without -n and -t there is no time limit of bench's own, as --rate has."""
    log = file_of(tmp_path, combined(datetime.datetime(2026, 1, 1), "/?delay=0"))
    done = srv_run("bench", "--replay", log, slowapi().url)
    assert done.returncode == 0 and "neither --time nor --requests" not in done.stderr
    assert "\nComplete requests:      1\n" in done.stdout
    assert float(re.search(r"Time taken for tests: +([0-9.]+)", done.stdout)[1]) < 9


def test_a_replay_of_centuries_is_refused(srv_run, tmp_path):
    log = file_of(tmp_path, combined(datetime.datetime(1970, 1, 1)), combined(datetime.datetime(2190, 1, 1)))
    done = srv_run("bench", "--replay", log, "--speed", 0.001, "http://127.0.0.1:9/")
    assert done.returncode == 2 and "more than 100 years apart" in done.stderr


def test_heads_are_shown_as_they_are_sent(srv_run, tmp_path):
    with RawServer([OK]) as server:
        done = srv_run("bench", "-k", "-n", 2, "-v", 4, "--requests-file", file_of(tmp_path, "/a", "/b"), server.url)
    assert "GET /a HTTP/1.1" in done.stderr and "GET /b HTTP/1.1" in done.stderr and "GET /t " not in done.stderr
