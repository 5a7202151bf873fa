# SPDX-License-Identifier: MIT
"""srv play: rows give plausible figures, mistakes are told, and nothing is ever left running."""

import fcntl
import glob
import json
import os
import pty
import re
import resource
import shutil
import signal
import struct
import subprocess
import termios
import time
import urllib.request

import pytest
from harness import ROOT, clean_environment, die_with_parent, free_port, run_deaf, srv_binary
from tour import wait_for

FAST = ("--delay", "100ms", "-n", "12", "-c", "4")


def table(stdout):
    """{model: [cells]}"""
    lines = [line.split() for line in stdout.split("\n\n")[0].splitlines()[2:]]
    return {cells[0]: cells[1:] for cells in lines}


def test_a_starter_that_ignores_the_end_of_children_holds_nothing_up():
    done = run_deaf("play", "single", "--delay", "50ms", "-n", "2", "-c", "1", timeout=30)
    assert done.returncode == 0, done.stderr
    assert table(done.stdout)["single"][:2] == ["2", "1"]


@pytest.mark.seconds(150)
def test_every_row_has_plausible_figures(tour, tmp_path):
    code, stdout, stderr = tour(*FAST, "--json", str(tmp_path / "out.json")).end(timeout=120)
    assert code == 0, stderr
    rows = table(stdout)
    assert set(rows) >= {"single", "threaded", "pool-eager", "pool-lazy", "green", "green-cores", "green-workers", "event", "evhttp"}
    assert rows["single"][:3] == ["12", "4", "0.1"] and rows["green"][:3] == ["12", "4", "0.1"]

    figures = {row["name"]: row for row in json.loads((tmp_path / "out.json").read_text())["playgrounds"]}
    assert list(figures) == list(rows)
    assert figures["single"]["ideal_seconds"] == pytest.approx(1.2)
    assert figures["green"]["ideal_seconds"] == figures["pool-lazy"]["ideal_seconds"] == pytest.approx(0.3)
    deadlock = figures.pop("deadlock")
    assert (deadlock["failed"], deadlock["requests"]) == (12, 12)
    for name, row in figures.items():
        assert row["failed"] == 0 and row["requests"] == 12
        assert row["ideal_seconds"] <= row["seconds"] < row["ideal_seconds"] + 20
        assert row["requests_per_second"] == pytest.approx(12 / row["seconds"], rel=0.1)
        assert 100_000 <= row["latency_us"]["p50"] <= row["latency_us"]["p99"] <= row["latency_us"]["max"]
        assert row["threads"]["samples"] == len(row["series"]["threads"])
        assert 0 < row["cpu_us_per_request"] < 100_000
        assert 1 << 20 < row["memory_peak_bytes"] < 1 << 30
        assert f"{name}: done in {row['seconds']:.2f} s, 0 failed" in stderr
        assert re.search(rf"^{name}: .+\.$", stdout, re.M)
        series = row["series"]
        assert len(series["threads"]) == len(series["elapsed_ms"]) >= 1
        # Each request has one of its own; the kernel's list may have one and its successor.
        assert max(series["client_connections"]) <= 12
        assert max(series["upstream_connections"]) <= 13  # idle ones are counted
        assert max(series["requests_in_flight"]) <= 4
        assert max(calls or 0 for calls in series["upstream_calls_in_flight"]) <= row["upstream_calls_in_flight_max"]
        assert row["upstream_calls_in_flight_max"] in (range(1, 2) if name in ("single", "curl-blocking") else range(2, 5))
        spent = row["process_cpu_us_per_request"]
        assert "slowapi" in spent and all(0 < cpu < 100_000 for cpu in spent.values())
    for counted in ("client_connections", "upstream_connections", "requests_in_flight", "upstream_calls_in_flight"):
        assert max(seen or 0 for row in figures.values() for seen in row["series"][counted]) > 1, counted
    assert figures["single"]["latency_us"]["p99"] >= 200_000  # who waits for another one waits twice


def test_ideal_of_the_cooperative_database_knows_its_connections(tour, tmp_path):
    load = ("--delay", "200ms", "-n", "100", "-c", "50")
    code, _, stderr = tour("db-cooperative", *load, "--json", str(tmp_path / "out.json")).end()
    if "not installed" in stderr:
        pytest.skip(stderr)
    [row] = json.loads((tmp_path / "out.json").read_text())["playgrounds"]
    assert code == 0 and row["ideal_seconds"] == pytest.approx(1.1)  # not the 0.4 of two waves
    assert row["ideal_seconds"] <= row["seconds"] < 2 * row["ideal_seconds"]


def test_without_names_the_delays_are_short_and_with_names_the_tutorials(tour):
    one = tour("-n", "5", "-c", "5")
    wait_for(lambda: any("delay=0.2" in command for command in one.living().values()), 30, lambda: "no tour")
    one.process.send_signal(signal.SIGINT)
    one.end()
    one = tour("green", "-n", "1")
    wait_for(lambda: any("delay=1" in command for command in one.living().values()), 30, lambda: "no row")
    one.process.send_signal(signal.SIGINT)
    one.end()


def test_who_asks_itself_with_one_thread_waits_for_the_time_out(tour, tmp_path):
    code, stdout, stderr = tour("deadlock", "--json", str(tmp_path / "out.json")).end()
    assert code == 0, stderr  # the failures are what the row shows
    [row] = json.loads((tmp_path / "out.json").read_text())["playgrounds"]
    assert row["failed"] == row["requests"] == 2 and row["seconds"] >= 1  # 2 x 0.5 s, whatever the delay
    assert "fails with 504" in " ".join(stdout.split())


def test_computing_takes_turns_on_green_threads_and_shares_the_cpus_on_native_ones(tour, tmp_path):
    code, _, stderr = tour("cpu-green", "cpu-threads", "--delay", "200ms", "--json", str(tmp_path / "out.json")).end()
    assert code == 0, stderr
    green, native = json.loads((tmp_path / "out.json").read_text())["playgrounds"]
    assert green["ideal_seconds"] == pytest.approx(1.2) and green["seconds"] >= 1.2
    rounds = -(-10 // len(os.sched_getaffinity(0)))
    assert native["ideal_seconds"] == pytest.approx(max(0.4, 0.1 * (1 + rounds)))
    assert native["seconds"] >= native["ideal_seconds"]
    assert green["threads"]["during_max"] == green["threads"]["before"] < native["threads"]["during_max"]
    for row in (green, native):
        assert 100_000 <= row["cpu_us_per_request"] < 200_000


@pytest.mark.parametrize("names", [("db-blocking", "db-patched", "db-cooperative"), ("curl-blocking", "curl-patched")])
def test_code_that_blocks_takes_turns_until_it_is_patched(tour, tmp_path, names):
    """The rows differ in a switch; one thread serves each of them."""
    code, _, stderr = tour(*names, "--delay", "400ms", "--json", str(tmp_path / "out.json")).end()
    if "not installed" in stderr:
        pytest.skip(stderr)
    assert code == 0, stderr
    blocking, *others = json.loads((tmp_path / "out.json").read_text())["playgrounds"]
    assert blocking["ideal_seconds"] == pytest.approx(2.4 if names[0].startswith("db") else 4)
    assert blocking["seconds"] >= blocking["ideal_seconds"]
    for row in others:
        assert row["ideal_seconds"] == pytest.approx(0.8)
        assert row["ideal_seconds"] <= row["seconds"] < blocking["ideal_seconds"]
        assert row["upstream_calls_in_flight_max"] == 5
    for row in (blocking, *others):
        assert row["failed"] == 0 and row["threads"]["during_max"] == row["threads"]["before"]


def test_rows_of_patching_differ_in_a_switch(srv_run):
    def served(row):
        [command] = re.findall(r"^  srv serve (.+)$", srv_run("play", "--explain", row).stdout, re.M)
        return command

    assert served("curl-blocking").replace("--patch off", "--patch on") == served("curl-patched")
    assert served("db-blocking").replace("--db-mode blocking", "--db-mode patched") == served("db-patched")


def test_threads_of_green_stay_one_and_it_sleeps(tour, tmp_path):
    code, _, stderr = tour("green", "--delay", "1", "-n", "20", "-c", "20", "--json", str(tmp_path / "o")).end()
    assert code == 0, stderr
    [row] = json.loads((tmp_path / "o").read_text())["playgrounds"]
    threads, series = row["threads"], row["series"]
    assert threads["during_max"] == threads["before"]
    assert max(series["sleeping"]) == threads["before"]  # in some sample of a second all of them sleep
    assert all(a + b <= threads["before"] for a, b in zip(series["sleeping"], series["running"]))
    assert row["upstream_calls_in_flight_max"] == 20


def cpu_of_tls(tour, out, *options):
    """{row: CPU us per request of the process that encrypts, or would}"""
    rows = ("green", "green-tls", "nginx-tls")
    code, _, stderr = tour(*rows, "--delay", "0", "-n", "200", "-c", "4", *options, "--json", str(out)).end()
    if "not installed" in stderr:
        pytest.skip(stderr)
    assert code == 0, stderr
    figures = json.loads(out.read_text())["playgrounds"]
    assert all(row["failed"] == 0 and row["load"]["keep_alive"] == ("-k" in options) for row in figures)
    return {row["name"]: row["process_cpu_us_per_request"]["nginx" if row["name"] == "nginx-tls" else "app"] for row in figures}


def test_handshakes_cost_what_kept_connections_save(tour, tmp_path):
    each, kept = cpu_of_tls(tour, tmp_path / "each"), cpu_of_tls(tour, tmp_path / "kept", "-k")
    assert each["green-tls"] > 1.5 * each["green"]
    for row in ("green-tls", "nginx-tls"):
        assert kept[row] < 0.7 * each[row]  # 4 handshakes instead of 200


@pytest.mark.parametrize("row", ["green-tls", "nginx-tls"])
def test_explained_commands_of_tls_work_when_typed(srv_run, tmp_path, row):
    """As they are, but for the ports and the folder of files, which others may use."""
    if row == "nginx-tls" and not os.path.exists("/usr/sbin/nginx"):
        pytest.skip("nginx is not installed")
    ports = {port: str(free_port()) for port in ("4000", "4001", "3000", "3001", "8443")}

    def moved(text):
        text = text.replace("/tmp", str(tmp_path)).replace("$PWD/docs/nginx", str(tmp_path))
        return re.sub(r"127\.0\.0\.1:(\d+)", lambda found: f"127.0.0.1:{ports[found[1]]}", text)

    (tmp_path / "https.conf").write_text(moved((ROOT / "docs/nginx/https.conf").read_text()))
    (tmp_path / "srv").symlink_to(srv_binary())
    told = srv_run("play", "--explain", row, "-n", "6", "-c", "2", "--delay", "0.01").stdout.replace("\\\n", "")
    commands = [moved(line).strip() for line in re.findall(r"^  ((?:srv|openssl|/usr/sbin/nginx) .*)$", told, re.M)]
    bench, certificate = commands.pop(), next(line for line in commands if line.startswith("openssl"))
    env = clean_environment() | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    shell = {"shell": True, "env": env, "stderr": subprocess.PIPE, "text": True}
    assert subprocess.run(certificate, timeout=30, **shell).returncode == 0
    commands.remove(certificate)
    servers = [subprocess.Popen(f"exec {line}", preexec_fn=die_with_parent, shell=True, env=env) for line in commands]
    try:
        report = ""

        def answers():
            nonlocal report
            done = subprocess.run(bench, stdout=subprocess.PIPE, timeout=60, **shell)
            report = done.stdout + done.stderr
            return done.returncode == 0 and "Complete requests:      6" in report and "Failed requests:        0" in report

        wait_for(answers, 60, lambda: report)
    finally:
        for server in servers:
            server.terminate()
        for server in servers:
            server.wait(timeout=30)
    assert "--cacert" in bench and "--insecure" not in bench


def test_tutorials_name_selects_its_rows_once(tour):
    code, stdout, stderr = tour(*FAST, "sync-devserver", "single", "sync-devserver").end()
    assert code == 0, stderr
    assert list(table(stdout)) == ["single", "threaded"]
    assert stderr.count("/2 single") == stderr.count("/2 threaded") == 2  # its start and its end


def test_environment_does_not_change_a_playground(srv_run):
    done = srv_run("play", *FAST, "green", env={"WORKERS": "3", "PORT": "1", "PORT_APP": "1", "PORT_API": "1"})
    assert done.returncode == 0, done.stderr
    assert int(table(done.stdout)["green"][9]) <= 2  # threads before: one, and a sanitizer's own


def test_environment_does_not_change_an_original(tour):
    env = {"http_proxy": "http://127.0.0.1:1", "no_proxy": "localhost", "FLASK_APP": "other", "WEB_CONCURRENCY": "5"}
    env |= {"PYTHONHOME": "/nonexistent", "UWSGI_WORKERS": "no", "UWSGI_THREADS": "no", "GUNICORN_CMD_ARGS": "--nope"}
    code, stdout, stderr = tour("flask-threaded", "gunicorn-nginx", "uwsgi-nginx", *FAST, env=env).end()
    if "not installed" in stderr:
        pytest.skip(stderr)
    assert code == 0, stderr
    assert int(table(stdout)["gunicorn-nginx"][9]) < 6  # threads before: the master, one worker and its helpers


def test_settings_for_another_database_do_not_reach_the_private_one(tour):
    another = {"PGSSLMODE": "require", "PGOPTIONS": "-c no_such=1", "PGREQUIREPEER": "nobody", "PGCHANNELBINDING": "require"}
    code, stdout, stderr = tour(*FAST, "db-cooperative", env=another).end()
    if "not installed" in stderr:
        pytest.skip(stderr)
    assert code == 0, stderr
    assert "db-cooperative" in table(stdout)


def test_row_whose_server_answers_with_an_error_tells_what_it_logged(srv_run):
    done = srv_run("play", *FAST, "db-cooperative", "--db", "postgresql://someone@127.0.0.1:1/some")
    assert done.returncode == 1
    told = r"^srv play: db-cooperative: .* answers 50\d to the first request; its log says: .*cannot be reached"
    assert re.search(told, done.stderr, re.M), done.stderr


def test_list_shows_names_and_what_they_come_from(srv_run):
    done = srv_run("play", "--list")
    assert done.returncode == 0 and done.stderr == ""
    names = [line.split()[0] for line in done.stdout.splitlines()]
    assert names[0] == "single" and len(names) == len(set(names)) and "(async-gevent-pywsgi)" in done.stdout
    some = srv_run("play", "--list", "--with-peers", "green", "event")
    assert [line.split()[0] for line in some.stdout.splitlines()] == ["green", "gevent-pywsgi", "event"]


def test_explain_prints_commands_that_parse(srv_run):
    done = srv_run("play", "--explain", "green", "--delay", "0.2")
    assert done.returncode == 0 and done.stderr == ""
    assert "srv bench -r -n 2000 -c 200 'http://127.0.0.1:3000/?delay=0.2'" in done.stdout
    assert "= 2.00 s" in done.stdout
    commands = re.findall(r"^  srv (.+)$", done.stdout, re.M)
    assert [command.split()[0] for command in commands] == ["slowapi", "serve", "bench"]


@pytest.mark.parametrize(
    "row, begin",
    [("db-blocking", r'"\S+ --bindir\)"/initdb'), ("db-blocking", r'"\S+ --bindir\)"/postgres'), ("nginx-http", r"\S+/nginx")],
)
def test_explained_programs_are_found_by_who_has_no_sbin_in_the_path(srv_run, row, begin):
    done = srv_run("play", "--explain", row)
    [program] = re.findall(rf"^  ({begin}) ", done.stdout, re.M)
    installed = {"nginx": "/usr/sbin/nginx", "initdb": "/usr/lib/postgresql/*/bin/initdb"}
    if not glob.glob(installed["nginx" if "nginx" in program else "initdb"]):
        pytest.skip(f"{program} is not installed")
    found = subprocess.run(
        ["sh", "-c", f"{program} {'-v' if 'nginx' in program else '--version'}"],
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert found.returncode == 0, found.stderr


def test_explained_paths_say_where_they_begin(srv_run):
    for row in ("nginx-http", "nginx-uwsgi", "nginx-tls", "gunicorn-nginx", "flask-single"):
        lines = srv_run("play", "--explain", row).stdout.splitlines()
        where = lines.index("  # from the folder of srv's source")
        assert all("docs/" not in line and "scripts/" not in line for line in lines[:where])
    for row in ("green", "db-blocking"):
        assert "folder of srv's source" not in srv_run("play", "--explain", row).stdout


def test_explain_says_what_to_watch_and_where_the_tutorial_differs(srv_run):
    told = srv_run("play", "--explain", "green-workers").stdout
    assert "  top -H -p PID " in told and "'sport = :3000'" in told and "  curl 127.0.0.1:4001/stats\n" in told
    assert "  # what they wait for: srv play --attach PID --control 127.0.0.1:3001\n" in told
    assert "reports 17.839 s, with 1 worker." in told
    told = srv_run("play", "--explain", "deadlock").stdout
    assert "  top -H -p PID " in told and "/stats" not in told  # it has no slow API
    assert "--upstream http://127.0.0.1:3000/" in told


def test_explain_takes_the_tutorials_name(srv_run):
    done = srv_run("play", "--explain", "sync-devserver")
    assert done.returncode == 0 and done.stdout.startswith("single: ") and "\nthreaded: " in done.stdout
    assert "event: " in srv_run("play", "--explain", "green", "event").stdout


@pytest.mark.parametrize(
    "args, told",
    [
        (("gren",), "unknown playground 'gren'; did you mean 'green'?"),
        (("single", "sync-devsrv"), "'sync-devserver'"),
        (("gunicorn-thread",), "did you mean 'gunicorn-threads'?"),
        (("--explain", "nothing-like-it"), "srv play --list"),
        (("--delay", "fast"), "--delay"),
        (("--delay", "31"), "30s"),
        (("--requests", "0"), "--requests"),
        (("--concurrency=-1",), "--concurrency"),
        (("--nope",), "--nope"),
        (("--keep", "single", "green"), "--keep"),
        (("--json", "-", "--html=-"), "both be stdout"),
    ],
)
def test_mistakes_are_one_line_and_start_nothing(srv_run, args, told):
    done = srv_run("play", *args)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.count("\n") == 1 and told in done.stderr


@pytest.mark.parametrize("option", ["--json", "--html"])
def test_unwritable_file_is_told_before_anything_runs(srv_run, option):
    done = srv_run("play", option, "/nonexistent/out")
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.count("\n") == 1 and "/nonexistent/out" in done.stderr


@pytest.mark.parametrize(
    "option, begin, end", [("--json", "{\n", "\n}\n"), ("--html", "<!DOCTYPE html>\n", "</html>\n")]
)
def test_file_may_be_stdout_and_the_table_goes_to_stderr_then(srv_run, option, begin, end):
    done = srv_run("play", "green", "--delay", "0", "-n", "2", "-c", "1", option, "-")
    assert done.returncode == 0 and done.stdout.startswith(begin) and done.stdout.endswith(end)
    assert "asleep" in done.stderr and "green: one thread" in done.stderr


def test_table_that_cannot_be_written_is_told():
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [srv_binary(), "play", "green", "--delay", "0", "-n", "2", "-c", "1"]
            + ["--json", "/dev/full", "--html", "/dev/full"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=30,
            env=clean_environment(),
            preexec_fn=die_with_parent,
        )
    assert done.returncode == 1
    for what in ("the table", "/dev/full"):
        assert f"srv play: cannot write {what}: No space left on device\n" in done.stderr


@pytest.mark.parametrize("command", ["slowapi", "serve", "bench", "play"])
def test_help_fits_the_usual_terminal(srv_run, command):
    lines = srv_run(command, "--help").stdout.splitlines()
    assert [line for line in lines if len(line) > 80 and "[default:" not in line] == []


def test_explanation_fits_a_narrow_terminal():
    terminal, ours = pty.openpty()
    fcntl.ioctl(ours, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 60, 0, 0))
    subprocess.run([srv_binary(), "play", "--explain", "threaded"], stdout=ours, timeout=30, check=True)
    os.close(ours)
    text = os.read(terminal, 65536).decode().split("By hand")[0]
    os.close(terminal)
    assert "a place in the kernel's" in " ".join(text.split()) and max(map(len, text.splitlines())) <= 60


@pytest.mark.parametrize("words", [["--help"], ["play", "--help"], ["play", "--list"], ["play", "--explain", "all"]])
def test_what_cannot_be_printed_is_told(words):
    with open("/dev/full", "w") as full:
        done = subprocess.run([srv_binary(), *words], stdout=full, stderr=subprocess.PIPE, text=True, timeout=30)
    assert (done.returncode, done.stderr) == (1, "srv: cannot write: No space left on device\n")


def test_row_that_cannot_run_is_told():
    def few_descriptors():
        die_with_parent()
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))

    done = subprocess.run(
        [srv_binary(), "play", "green", "--delay", "0", "-n", "500", "-c", "500"],
        capture_output=True,
        text=True,
        timeout=30,
        env=clean_environment(),
        preexec_fn=few_descriptors,
    )
    assert done.returncode == 1 and done.stdout == ""
    assert "srv play: green: bench ended with exit code 2: srv bench: --concurrency 500" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_signal_stops_everything(tour, number):
    one = tour("single", "--delay", "5", "-n", "20", "-c", "5")
    one.wait_for_load()
    assert len(one.living()) == 5  # play, slowapi, the app, its control endpoint, bench
    one.process.send_signal(number)
    code, stdout, stderr = one.end(timeout=30)  # the load would take 100 s
    assert code == 130 and stdout == ""
    assert "srv play: interrupted in single" in stderr


@pytest.mark.parametrize("victim, name", [(" slowapi ", "slowapi"), (" serve ", "app"), (" bench ", "bench")])
def test_process_that_dies_under_load_is_named(tour, victim, name):
    one = tour("green", "--delay", "5", "-n", "20", "-c", "5")
    one.wait_for_load()
    [pid] = [pid for pid, command in one.living().items() if victim in command]
    os.kill(pid, signal.SIGKILL)
    code, stdout, stderr = one.end()
    assert code == 1 and stdout == ""
    assert f"srv play: green: {name} ended with exit code 137" in stderr


def test_rows_done_before_the_interruption_are_shown(tour):
    one = tour("green", "single", "--delay", "200ms", "-n", "100", "-c", "100")
    wait_for(lambda: any("--model single" in command for command in one.living().values()), 30, lambda: "no second row")
    one.process.send_signal(signal.SIGINT)
    code, stdout, _ = one.end()
    assert code == 130 and list(table(stdout)) == ["green"]


@pytest.mark.parametrize("after", [0, 0.003, 0.01, 0.03, 0.06, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4])
def test_any_moment_is_good_for_an_interruption(tour, after):
    one = tour("green", "--delay", "2", "-n", "4", "-c", "2")
    time.sleep(after)
    one.process.send_signal(signal.SIGTERM)
    code, _, _ = one.end()
    assert code in (130, -signal.SIGTERM)  # the latter: before it had begun


@pytest.mark.parametrize("after", [0.02, 0.1, 0.3, None])
def test_killed_runner_takes_everything_with_it(tour, after):
    one = tour("green", "--delay", "20", "-n", "50", "-c", "25")
    if after is None:
        one.wait_for_load()
    else:
        time.sleep(after)
    one.process.kill()
    one.process.wait()
    wait_for(lambda: one.living() == {}, 15, lambda: f"left running: {one.living()}")


def test_kept_playground_answers_until_it_is_ended(tour, tmp_path):
    log = (tmp_path / "log").open("w+")
    one = tour("green", "--keep", "--delay", "100ms", "-n", "4", "-c", "2", stderr=log)

    def address():
        return re.search(r"^srv play: app: (http://\S+)$", (tmp_path / "log").read_text(), re.M)

    wait_for(lambda: address() is not None, 30, lambda: (tmp_path / "log").read_text())
    with urllib.request.urlopen(address()[1] + "?delay=0", timeout=10) as answer:
        assert answer.read() == b"Hi there! slow api response"
    [stats] = re.findall(r"^srv play: slowapi: .*(http://\S+/stats)", (tmp_path / "log").read_text(), re.M)
    with urllib.request.urlopen(stats, timeout=10) as answer:
        assert json.load(answer)["in_flight"] == 0
    [requests] = re.findall(r"^srv play: app tells what its requests wait for: (http://\S+)$", (tmp_path / "log").read_text(), re.M)
    with urllib.request.urlopen(requests, timeout=10) as answer:
        assert json.load(answer) == []
    one.process.send_signal(signal.SIGINT)
    code, stdout, _ = one.end()
    assert code == 0 and list(table(stdout)) == ["green"]
    assert "kept running" in (tmp_path / "log").read_text()
    log.close()


def seen_by_a_terminal(tour, columns, *args):
    """(exit code, stdout, what the terminal behind stderr got)"""
    parent, child = pty.openpty()
    fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    one = tour(*args, stderr=child)
    os.close(child)
    shown = b""
    while True:
        try:
            chunk = os.read(parent, 4096)
        except OSError:  # EIO: the other side is closed
            break
        if not chunk:
            break
        shown += chunk
    os.close(parent)
    code, stdout, _ = one.end()
    return code, stdout, shown


def test_terminal_gets_a_live_view(tour):
    code, stdout, shown = seen_by_a_terminal(tour, 100, "green", "--delay", "1", "-n", "8", "-c", "2")
    assert code == 0 and "green" in table(stdout)
    assert shown.count(b"\r\x1b[J") >= 3
    assert b" asleep in flight " in shown and b" connections" in shown
    line = rb"\n  %s +\d+ +\d+ +\d+ +[012-] +[\d.]+ +[\d.]+ +\d+"
    assert re.search(line % b"slowapi", shown) and re.search(line % b"app", shown)
    assert re.search(rb"1/1 green \[#+\.+\] [0-3]\.\d of 4\.0 s  threads \d", shown)
    assert re.search(rb"\n  waits   1 (epoll on \d+ descriptors|running)", shown)
    assert re.search(rb"done in \d", shown)


def test_narrow_terminal_gets_a_view_that_fits(tour):
    _, _, shown = seen_by_a_terminal(tour, 60, "green", "--delay", "1", "-n", "6", "-c", "2")
    lines = re.split(rb"[\r\n]+|\x1b\[\d*[AJ]", shown)
    assert max(map(len, lines)) <= 60 and not any(b"connections" in line for line in lines)
    assert any(line.endswith(b" MiB") for line in lines)


def test_originals_run_after_the_row_they_belong_to_or_are_named_as_missing(tour, tmp_path):
    code, stdout, stderr = tour("--with-peers", "green", *FAST, "--json", str(tmp_path / "o")).end()
    rows = {row["name"]: row for row in json.loads((tmp_path / "o").read_text())["playgrounds"]}
    assert list(rows) == ["green", "gevent-pywsgi"]
    peer = rows["gevent-pywsgi"]
    assert code == 0, stderr
    if "skipped" in peer:
        assert re.search(r"^gevent-pywsgi  skipped: not installed: .*python3", stdout, re.M)
    else:
        assert peer["failed"] == 0 and peer["cpu_us_per_request"] > rows["green"]["cpu_us_per_request"]


@pytest.mark.parametrize(
    "words, code",
    [
        (("green", "gevent-pywsgi"), 1),
        (("gevent-pywsgi",), 1),
        (("--with-peers", "green"), 0),
        (("--with-peers", "green", "gevent-pywsgi"), 1),
    ],
)
def test_row_that_is_skipped_is_a_failure_only_when_it_was_named(tmp_path, words, code):
    # A copy elsewhere does not find the folder with the apps of the originals.
    program = shutil.copy(srv_binary(), tmp_path / "srv")
    done = subprocess.run(
        [program, "play", *FAST, *words],
        capture_output=True,
        text=True,
        timeout=30,
        cwd=tmp_path,
        env=clean_environment(),
        preexec_fn=die_with_parent,
    )
    assert "gevent-pywsgi is skipped: " in done.stderr
    assert done.returncode == code, done.stderr


@pytest.mark.parametrize("row", ["nginx-http", "nginx-uwsgi", "nginx-tls", "green-tls", "db-cooperative"])
def test_temporary_folder_may_have_any_name(tour, row):
    code, stdout, stderr = tour(row, *FAST, folder='a "b" {c}; $d \\ #, e').end()
    if "not installed" in stderr:
        pytest.skip(stderr)
    assert code == 0 and row in table(stdout), stderr


def test_original_is_played_by_its_name_and_only_once(tour):
    code, stdout, stderr = tour("gevent-pywsgi", "--with-peers", "green", "gevent-pywsgi", *FAST).end()
    assert list(table(stdout)) == ["gevent-pywsgi", "green"], stderr
    assert code == 0


def test_originals_are_explained_too(srv_run):
    done = srv_run("play", "--with-peers", "--explain", "pool-lazy")
    assert done.returncode == 0, done.stderr
    assert "env --chdir=scripts/peers PORT_API=4000 PORT_APP=3000" in done.stdout
    assert "gunicorn " in done.stdout and "--threads 50" in done.stdout
