# SPDX-License-Identifier: MIT
"""srv bench's bodies: forms, and answers whose bodies are coded."""

import email
import email.policy
import gzip
import json
import re
import zlib

import pytest
from rawserver import RawServer, answer

# --- forms -----------------------------------------------------------------------------


def parts_of(head, body):
    """The parts of a form, by another parser: (name, file name, type, content)."""
    kind = re.search(rb"(?i)\r\ncontent-type: ([^\r]*)", head)[1]
    message = email.message_from_bytes(b"Content-Type: " + kind + b"\r\n\r\n" + body, policy=email.policy.HTTP)
    assert message.get_content_type() == "multipart/form-data"
    return [
        (
            part.get_param("name", header="content-disposition"),
            part.get_filename(),
            part.get("content-type"),
            part.get_payload(decode=True),
        )
        for part in message.iter_parts()
    ]


def test_a_form_is_sent_as_curl_spells_it(srv_run, tmp_path):
    (tmp_path / "a.txt").write_bytes(b"hello\r\nfile")
    words = ["-F", "plain=a=b", "-F", f"f=@{tmp_path}/a.txt", "-F", f"t=<{tmp_path}/a.txt",
             "-F", f"o=@{tmp_path}/a.txt;type=application/x-foo;filename=other.bin", "-F", 'q="x; y"']  # fmt: skip
    with RawServer([answer()]) as server:
        done = srv_run("bench", "-k", "-n", 5, *words, server.url)
        assert done.returncode == 0 and "Total body sent" in done.stdout
    assert len(set(server.bodies)) == 1 and len(server.bodies) == 5
    assert server.heads[0].startswith(b"POST ")
    assert parts_of(server.heads[0], server.bodies[0]) == [
        ("plain", None, None, b"a=b"),
        ("f", "a.txt", 'text/plain; charset="utf-8"', b"hello\r\nfile"),
        ("t", None, None, b"hello\r\nfile"),
        ("o", "other.bin", "application/x-foo", b"hello\r\nfile"),
        ("q", None, None, b"x; y"),
    ]


def test_slowapi_reads_the_form(slowapi, srv_run):
    api = slowapi()
    done = srv_run("bench", "-n", 1, "-F", "name=value", "-F", "n=@/dev/null;filename=empty.txt", "--expect-body",
                   '"name": "value"', api.url + "post?delay=0")  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert srv_run("bench", "-n", 1, "-m", "PUT", "-F", "name=value", "--expect-status", "200", api.url + "put").returncode == 0


def test_a_form_may_have_templates(srv_run):
    with RawServer([answer()]) as server:
        assert srv_run("bench", "-k", "-n", 3, "--templates", "-F", "n={{seq}}", "-F", "x=y", server.url).returncode == 0
    for number, (head, body) in enumerate(zip(server.heads, server.bodies), 1):
        assert parts_of(head, body) == [("n", None, None, b"%d" % number), ("x", None, None, b"y")]


@pytest.mark.parametrize(
    "args, word",
    [
        (("-F", "x"), "NAME=VALUE"),
        (("-F", "a=b;c"), "quotes"),
        (("-F", 'a="b'), "no end"),
        (("-F", "a=@/no/such"), "/no/such"),
        (("-F", "a=b", "-p", "/dev/null"), "--form"),
        (("-F", "a=b", "-i"), "--head"),
        (("-F", "a=b", "--requests-file", "/dev/null"), "--form"),
        (("-F", "a=b", "-T", "a/b"), "--content-type"),
        (("-F", "a=b", "-H", "Content-Type: a/b"), "Content-Type"),
    ],
)
def test_what_is_no_form_is_refused_in_a_line(srv_run, args, word):
    done = srv_run("bench", *args, "http://127.0.0.1:9/")
    assert done.returncode in (1, 2) and word in done.stderr and done.stderr.count("\n") == 1


# --- content codings -------------------------------------------------------------------


@pytest.mark.parametrize("path, coding", [("gzip", "gzip"), ("deflate", "deflate"), ("brotli", "br"), ("get", "identity")])
def test_both_sizes_are_counted(slowapi, bench_json, path, coding):
    api = slowapi()
    code, report = bench_json("-k", "-n", 20, "-c", 2, "--compressed", api.url + path + "?delay=0")
    codings = report["codings"]
    assert code == 0 and codings[coding] == 20
    assert codings["body_bytes"] == report["totals"]["body_bytes"]
    if coding == "identity":
        assert codings["decoded_bytes"] == codings["body_bytes"]
    else:
        assert codings["decoded_bytes"] > codings["body_bytes"] > 0
    assert bench_json("-n", 1, api.url + path)[1]["codings"] is None


def test_a_text_is_looked_for_in_what_was_decoded(slowapi, srv_run):
    api = slowapi()
    for path in ("gzip", "deflate", "brotli"):
        assert srv_run("bench", "-n", 1, "--compressed", "--expect-body", '"headers"', api.url + path).returncode == 0
        assert srv_run("bench", "-n", 1, "--expect-body", '"headers"', api.url + path).returncode == 3


def test_what_is_not_coded_as_it_says_has_failed(srv_run, tmp_path):
    whole = gzip.compress(b"x" * 100_000)
    bare = zlib.compressobj(wbits=-15)
    bare = bare.compress(b"bare" * 100) + bare.flush()
    gz = b"Content-Encoding: gzip\r\n"
    script = [answer(gz, whole), answer(gz, whole[:-5]), answer(gz, b"not gzip at all"), answer(gz + b"X: y\r\n", b""),
              answer(b"Content-Encoding: deflate\r\n", bare), answer(b"Content-Encoding: zstd\r\n", b"whatever")]  # fmt: skip
    with RawServer(script) as server:
        srv_run("bench", "-k", "-n", 6, "--compressed", "--json", tmp_path / "json", server.url)
    assert b"Accept-Encoding: gzip, deflate, br" in server.heads[0]
    report = json.loads((tmp_path / "json").read_text())
    assert report["failures"]["coding"] == 2 == report["totals"]["failed"]
    codings = report["codings"]
    assert (codings["gzip"], codings["deflate"], codings["other"]) == (4, 1, 1)
    assert codings["decoded_bytes"] >= 100_000 + 400 + 8
    done = srv_run("bench", "--merge", "--merge-anyway", "--json", "-", tmp_path / "json", tmp_path / "json")
    merged = json.loads(done.stdout)["codings"]
    assert merged["gzip"] == 8 and merged["decoded_bytes"] == 2 * codings["decoded_bytes"]
