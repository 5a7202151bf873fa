# SPDX-License-Identifier: MIT
"""Options of srv bench beside each other: each of them has an effect, or is refused in one line."""

import re
import subprocess

import harness
import pytest

# A value for each option that takes one, where the word in --help is none.
VALUES = {
    "--requests": "5", "--concurrency": "2", "--time": "1", "--timeout": "2", "--requests-per-connection": "2", "--workers": "1",
    "--ramp": "5", "--warmup": "0.1", "--drain": "1", "--rate": "50", "--arrivals": "poisson", "--stages": "=5/s:1s",
    "--burst": "2/1s", "--think": "10ms", "--seed": "3", "--header": "A: b", "--cookie": "a=b", "--cookies": "keep",
    "--follow": "2", "--auth": "a:b", "--method": "PUT", "--post": "FILE", "--put": "FILE", "--body": "x", "--body-stream": "FILE",
    "--form": "a=b", "--content-type": "text/x", "--requests-file": "URLS", "--requests-order": "random", "--replay": "LOG",
    "--speed": "2", "--replay-methods": "GET", "--proxy": "127.0.0.1:1", "--proxy-auth": "a:b", "--unix-socket": "/no/such",
    "--resolve": "127.0.0.1:1:127.0.0.1", "--source": "127.0.0.1", "--window": "10000", "--cacert": "FILE",
    "--client-certificate": "FILE", "--ciphers": "ALL", "--tls-version": "TLS1.2", "--tls-resume": "on", "--expect-status": "200",
    "--expect-body": "a", "--fail-if": "p99>9s", "--abort-if": "p99>9s", "--find-max": "p99<9s", "--find-max-by": "connections",
    "--find-max-time": "6", "--at-least": "1", "--rounds": "1", "--compare": "NONE", "--server-command": "true",
    "--metric": "p99", "--tolerance": "5%", "--stream": "sse", "--stall": "1", "--stream-end": "x",
    "--server-metrics": "http://127.0.0.1:1/", "--server-metrics-match": "x", "--server-timing-parts": "wait",
    "--percentiles": "50", "--table-attributes": "a", "--row-attributes": "a", "--cell-attributes": "a", "--verbosity": "2",
    "--json": "OUT", "--percentages": "OUT", "--spectrum": "OUT", "--gnuplot": "OUT", "--csv": "OUT",
    "--prometheus": "127.0.0.1:0", "--prometheus-hold": "0.01", "--series-csv": "OUT", "--hlog": "OUT", "--ticks": "OUT", "--report": "OUT",
    "--against": "NONE", "--report-from": "NONE", "--ndjson": "OUT", "--start-at": "+0.05s", "--shard": "1/2",
    "--merge-skew": "1",
}  # fmt: skip

# What is a single run's way to say something, and has an effect with the mode all the same.
HAS_EFFECT = {
    "--merge": "fail-if percentiles percentages spectrum json json-line report against html table-attributes row-attributes "
    "cell-attributes merge-skew merge-anyway ab-strict variable-length",
    "--report-from": "report against",
    "--find-max": "find-max-by find-max-time at-least json json-line report verbosity",
    "--rounds": "compare server-command metric tolerance json json-line verbosity",
}
ASKS_FOR_LESS = "quiet no-banner no-percentiles no-confidence"  # of what a mode may not print in any case
LOADS = """concurrency timeout keep-alive requests-per-connection workers warmup drain ignore-errors variable-length strict rate
    arrivals no-catch-up think seed header cookie cookies follow auth method head post put body body-stream form chunked
    expect-continue compressed content-type requests-file requests-order templates http1.0 proxy proxy-auth unix-socket resolve
    ipv4 ipv6 source window cacert insecure client-certificate no-sni ciphers tls-version tls-resume expect-status expect-body
    stream stall stream-end"""
MODES = {
    "--merge": ["--merge", "NONE"],
    "--report-from": ["--report-from", "NONE", "--report", "OUT"],
    "--find-max": ["--find-max", "p99<9s", "http://127.0.0.1:1/"],
    "--rounds": ["--rounds", "1", "http://127.0.0.1:1/"],
}
HAS_EFFECT["--find-max"] += " " + LOADS
HAS_EFFECT["--rounds"] += " " + LOADS + " requests time ramp stages burst start-at"


def options():
    """The long names that --help tells, and whether they take a value."""
    text = subprocess.run([harness.srv_binary(), "bench", "--help"], capture_output=True, text=True).stdout
    found = dict(re.findall(r"^ {2,6}(?:-\w, )?(--[\w.-]+)( \S+)?", text, re.M))
    return {name: bool(meta) for name, meta in found.items() if name not in ("--help", "--version")}


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pairs")
    (folder / "FILE").write_text("hello")
    (folder / "URLS").write_text("/a\n")
    (folder / "LOG").write_text('127.0.0.1 - - [10/Oct/2025:13:55:36 +0000] "GET /x HTTP/1.0" 200 2326\n')

    def run(*args):
        done = subprocess.run([harness.srv_binary(), "bench", *args], cwd=folder, capture_output=True, text=True, timeout=60,
                              stdin=subprocess.DEVNULL, env=harness.clean_environment(), preexec_fn=harness.die_with_parent)  # fmt: skip
        assert not harness.REPORT.search(done.stderr), done.stderr
        return done

    return run


def words(option, takes_value):
    return [option, VALUES[option]] if takes_value else [option]


def test_each_option_has_a_value_here():
    assert not [name for name, takes_value in options().items() if takes_value and name not in VALUES]


@pytest.mark.parametrize("mode", MODES)
def test_an_option_has_an_effect_or_is_refused(bench, mode):
    taken = set((HAS_EFFECT[mode] + " " + ASKS_FOR_LESS).split())
    wrong = []
    for option, takes_value in options().items():
        if option == mode or option[2:] in taken:
            continue
        done = bench(*words(option, takes_value), *MODES[mode])
        if done.returncode != 2 or done.stdout != "" or done.stderr.count("\n") != 1:
            wrong.append(f"{option}: {done.returncode} {done.stderr.strip()}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("mode", ["--find-max", "--rounds"])
def test_answers_are_waited_for_without_a_time_that_is_given(bench, mode):
    more = ["--find-max-by", "connections"] if mode == "--find-max" else []
    done = bench("--drain", "1", *more, *MODES[mode])
    assert done.returncode == 1, done.stderr  # nobody listens there


def test_an_option_that_needs_another_is_content_with_it(bench):
    """What a refusal names as needed is enough."""
    asked = 0
    for option, takes_value in options().items():
        said = bench(*words(option, takes_value), "http://127.0.0.1:1/").stderr
        for needed in re.findall(r"--[\w-]+", said.split(" needs ")[1].split(":")[0]) if " needs --" in said else []:
            own = words(option, takes_value) + words(needed, options()[needed])
            more = ["--body", "x"] if needed == "--seed" else []
            again = bench(*own, *more, "http://127.0.0.1:1/")
            assert f"{option} needs" not in again.stderr, (option, needed, again.stderr)
            asked += 1
    assert asked > 15
