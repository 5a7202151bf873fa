# SPDX-License-Identifier: MIT
"""srv lab over its API: lanes of real processes, changed while they run; nothing is left, whatever ends them."""

import json
import signal
from urllib.parse import urlsplit

import pytest
from harness import RawConnection, get, open_files, wait_for
from lab import TOKEN, Lab, answers, family, kill, pids, wait_gone

pytestmark = pytest.mark.seconds(180)


@pytest.fixture
def lab(start):
    return start("lab", kind=Lab)


def stats_of(lane, process):
    """What the control endpoint of a lane's process says itself."""
    host, port = urlsplit(lane["processes"][process]["control"]).netloc.split(":")
    return json.loads(get((host, int(port)), "/stats").body)


# --- who may ask ---------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/lanes", "/controls", "/events"])
def test_all_want_the_token(lab, path):
    for query in ("", "?token=", f"?token={TOKEN}x", f"?token={TOKEN[:-1]}", "?token=0123456789-token_of_testz"):
        reply = get(lab, path + query)
        assert reply.status == 403 and "token" in reply.text and reply.text.count("\n") == 1


def test_the_token_is_random_unless_given(srv_run, tmp_path, start):
    class Other(Lab):
        def __init__(self, command, args, log_path, env=None):
            super(Lab, self).__init__(command, ["127.0.0.1:0"], log_path, env)

    found = []
    for _ in range(2):
        one = start("lab", kind=Other)
        wait_for(lambda: "?token=" in one.stderr(), what="the address with the token")
        found.append(one.stderr().split("?token=")[1].split()[0])
        assert get(one, f"/lanes?token={found[-1]}").status == 200
    assert found[0] != found[1] and all(len(token) == 32 for token in found)


@pytest.mark.parametrize("method, path", [("GET", "/"), ("GET", "/lanes"), ("POST", "/lanes"), ("GET", "/events")])
def test_other_origins_and_names_are_refused(lab, method, path):
    body = {"lane": 1, "do": "start"} if method == "POST" else None
    for headers in ({"Origin": "http://evil.example"}, {"Origin": "null"}, {"Host": "lab.evil.example"}):
        assert lab.ask(method, path, body, headers).status == 403, headers
    assert lab.lane()["state"] == "stopped"


def test_its_own_origin_is_taken(lab):
    origin = {"Origin": f"http://127.0.0.1:{lab.port}", "Host": f"127.0.0.1:{lab.port}"}
    assert lab.ask("POST", "/lanes", {"lane": 1, "set": {}}, origin).status == 200


def test_the_page_runs_its_own_script_alone(lab):
    replies = [lab.ask("GET", "/") for _ in range(2)]
    policies = [reply.headers["content-security-policy"] for reply in replies]
    assert replies[0].headers["content-type"] == "text/html; charset=utf-8"
    assert policies[0] != policies[1], "the nonce is another one each time"
    for reply, policy in zip(replies, policies):
        nonce = policy.split("'nonce-")[1].split("'")[0]
        assert f'<script nonce="{nonce}">' in reply.text and f'<style nonce="{nonce}">' in reply.text
        assert "unsafe" not in policy and "default-src 'none'" in policy and "{{" not in reply.text
        assert reply.headers["referrer-policy"] == "no-referrer" and reply.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("address", ["0.0.0.0:0", "[::]:0"])
def test_other_machines_need_allow_remote(srv_run, address):
    done = srv_run("lab", address)
    assert done.returncode == 1 and done.stderr.count("\n") == 1 and "--allow-remote" in done.stderr


def test_allow_remote_listens_there(start):
    class Remote(Lab):
        def __init__(self, command, args, log_path, env=None):
            super(Lab, self).__init__(command, ["0.0.0.0:0", "--allow-remote", "--token", TOKEN], log_path, env)

    one = start("lab", kind=Remote)
    assert get(("127.0.0.1", one.port), "/lanes").status == 403
    assert get(("127.0.0.1", one.port), f"/lanes?token={TOKEN}").status == 200


@pytest.mark.parametrize(
    "words, told",
    [
        (["nonsense"], "ADDR 'nonsense' is not allowed"),
        (["unix:/tmp/x"], "is not allowed"),
        (["--token", "short"], "--token"),
        (["--token", "0123456789abcdef/x"], "--token"),
        (["--idle", "0"], "--idle"),
        (["1", "2"], "2"),
    ],
)
def test_bad_words_are_told_in_one_line(srv_run, words, told):
    done = srv_run("lab", *words)
    assert done.returncode == 2 and told in done.stderr and done.stderr.count("\n") == 1


# --- bounds --------------------------------------------------------------------------------------

BAD = [
    "",
    "nonsense",
    "[]",
    '"x"',
    {},
    {"lane": 1},
    {"lane": 0, "do": "start"},
    {"lane": 4, "do": "start"},
    {"lane": "1", "do": "start"},
    {"lane": 1.5, "do": "start"},
    {"lane": 1, "do": "dance"},
    {"lane": 1, "do": 7},
    {"lane": 1, "do": "start", "set": {}},
    {"lane": 1, "do": "start", "more": 1},
    {"lane": 1, "set": []},
    {"lane": 1, "set": {"nonsense": 1}},
    {"lane": 1, "set": {"app": "/tmp/evil.so"}},
    {"lane": 1, "set": {"model": "green; rm -rf /"}},
    {"lane": 1, "set": {"model": None}},
    {"lane": 1, "set": {"workers": 9}},
    {"lane": 1, "set": {"workers": 0}},
    {"lane": 1, "set": {"workers": "2"}},
    {"lane": 1, "set": {"workers": 2.5}},
    {"lane": 1, "set": {"workers": True}},
    {"lane": 1, "set": {"clients": 501}},
    {"lane": 1, "set": {"clients": 10**30}},
    {"lane": 1, "set": {"delay_ms": -1}},
    {"lane": 1, "set": {"delay_ms": 50, "rate": 0}},
    {"lane": 1, "set": {"app": "curl", "model": "event"}},
    '{"lane": 1, "lane": 2, "do": "start"}',
]


def test_what_is_out_of_bounds_changes_nothing(lab):
    before = lab.lane()["settings"]
    for wish in BAD:
        reply = lab.ask("POST", "/lanes", wish)
        assert reply.status == 400 and reply.text.count("\n") == 1, (wish, reply.text)
    lane = lab.lane()
    assert lane["settings"] == before and lane["state"] == "stopped" and family(lab.pid) == []


def test_every_control_takes_its_bounds_and_nothing_beyond(lab):
    rows = json.loads(lab.ask("GET", "/controls").body)
    assert {row["name"] for row in rows} == set(lab.lane()["settings"])
    bad = []
    for row in rows:
        ends = row.get("words") or [row["min"], row["max"]]
        for value in ends:
            reply = lab.wish(2, set={row["name"]: value})
            if reply.status != 200 or lab.lane(2)["settings"][row["name"]] != value:
                bad.append((row["name"], value, reply.text))
        lab.change(2, set={row["name"]: row["initial"]})
    assert bad == []


def test_a_flood_of_changes_is_refused(lab):
    wish = {"lane": 1, "set": {}}
    reply = next(reply for _ in range(5000) if (reply := lab.ask("POST", "/lanes", wish)).status != 200)
    assert reply.status == 429 and reply.text.count("\n") == 1
    assert lab.ask("GET", "/lanes").status == 200, "looking costs nothing"


def test_pages_that_watch_are_counted(lab):
    watching = [RawConnection(lab) for _ in range(8)]
    for one in watching:
        one.send(f"GET /events?token={TOKEN} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        wait_for(lambda one=one: b"data: " in one.sock.recv(65536), what="an event")
    assert lab.ask("GET", "/events").status == 503
    watching.pop().reset()
    with RawConnection(lab) as again:

        def is_taken():
            again.close()
            again.__init__(lab)
            again.send(f"GET /events?token={TOKEN} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
            return again.sock.recv(64).startswith(b"HTTP/1.1 200 ")

        wait_for(is_taken, what="a place for another page")
    for one in watching:
        one.close()


def test_head_has_no_body_that_goes_on(lab):
    for path in ("/", "/lanes", "/events"):
        reply = lab.ask("HEAD", path)
        assert reply.status == 200 and reply.body == b"", path


# --- lanes ---------------------------------------------------------------------------------------


def test_figures_are_those_of_the_processes(lab):
    lane = lab.start(clients=7, delay_ms=20)
    before = stats_of(lane, "server")["workers"][0]["requests"]["200"]
    asked = stats_of(lane, "slowapi")["requests"]
    figures = lab.until(
        lambda lane: lane["figures"]["statuses"]["200"] >= before and lane["figures"]["upstream"]["requests"] >= asked
    )["figures"]
    assert figures["statuses"]["200"] <= stats_of(lane, "server")["workers"][0]["requests"]["200"]
    assert figures["upstream"]["requests"] <= stats_of(lane, "slowapi")["requests"]
    # An answer is counted by the server before the client has it.
    got = answers(lab.lane())
    assert got <= stats_of(lane, "server")["workers"][0]["requests"]["200"]
    lane = lab.until(lambda lane: len(lane["figures"]["bars"]) == 7 == lane["figures"]["load"]["in_flight"])
    figures = lane["figures"]
    assert figures["requests"] == 7 == sum(figures["waits"].values())
    waits = json.loads(lab.ask("GET", "/lanes").body)["waits"]
    assert all(len(bar) == 5 and bar[2] < len(waits) and bar[3] <= bar[4] + 1 for bar in figures["bars"])
    assert figures["server"]["threads"] == 1 and figures["server"]["rss_bytes"] > 2**20


def test_arithmetic_is_right(lab):
    lane = lab.start(model="pool", threads=5, clients=12, delay_ms=100)
    lane = lab.until(lambda lane: lane["figures"]["load"]["second"] > 5 and lane["figures"]["waits"]["upstream"] == 5)
    sums = lane["figures"]["arithmetic"]
    assert (sums["slots"], sums["service_seconds"], sums["ceiling"], sums["wanted"]) == (5, 0.1, 50, 120)
    assert sums["predicted_rate"] == 50 and sums["utilisation_predicted"] == 1
    assert sums["l_predicted"] == pytest.approx(sums["lambda"] * sums["w_seconds"])
    assert sums["l_measured"] == pytest.approx(12), "each client has one request in flight"
    assert sums["lambda"] <= 50 * 1.25, "more than the ceiling cannot be, but for the edges of two seconds"
    assert "The threads limit" in lane["figures"]["limit"] and "50 per second" in lane["figures"]["limit"]


@pytest.mark.parametrize(
    "settings, slots, word",
    [
        ({"model": "green", "clients": 5}, None, "The clients limit"),
        ({"model": "single", "clients": 5, "delay_ms": 50}, 1, "One request at a time"),
        ({"app": "curl", "patch": "off", "clients": 5, "delay_ms": 50}, 1, "A blocking call limits"),
        ({"app": "curl", "patch": "on", "clients": 5}, None, "The clients limit"),
        ({"model": "threaded", "clients": 5}, None, "The clients limit"),
        ({"model": "event", "async_cores": 2, "clients": 5}, 2, "The slots limit"),
        ({"load": "open", "rate": 20}, None, "The plan limits"),
        ({"model": "green", "clients": 400, "delay_ms": 1000}, None, "The slow API limits"),
    ],
    ids=str,
)
def test_one_sentence_says_what_limits(lab, settings, slots, word):
    lab.start(**settings)
    lane = lab.until(lambda lane: word in lane["figures"]["limit"], what=word)
    assert lane["figures"]["arithmetic"]["slots"] == slots


def test_the_slow_api_changes_without_a_restart(lab):
    lane = lab.start(clients=5, delay_ms=50)
    lab.change(set={"delay_ms": 400})
    after = lab.until(lambda lane: lane["change"]["ms"] is not None and (lane["figures"]["load"]["tick_p50_ms"] or 0) >= 400)
    assert pids(after) == pids(lane) and after["server_starts"] == 1
    assert after["change"]["how"] == "rules of the slow API" and after["change"]["what"] == "delay"
    lab.change(set={"delay_ms": 0, "errors_percent": 100})
    lab.until(lambda lane: lane["figures"]["load"]["statuses"].get("502", 0) > 100)
    lab.change(set={"errors_percent": 0, "resets_percent": 100})
    bad = lab.until(lambda lane: lane["change"]["ms"] is not None)["figures"]["load"]["statuses"]["502"]
    lab.until(lambda lane: lane["figures"]["load"]["statuses"]["502"] > bad + 100)
    lab.change(set={"resets_percent": 0, "delay_ms": 20})
    good = lab.until(lambda lane: lane["change"]["ms"] is not None)["figures"]["load"]["statuses"]["200"]
    after = lab.until(lambda lane: lane["figures"]["load"]["statuses"]["200"] > good + 100)
    assert pids(after) == pids(lane) and after["server_starts"] == 1


@pytest.mark.parametrize("law", ["uniform", "exp", "lognormal", "pareto"])
def test_laws_of_delays_have_the_mean_that_is_said(lab, law):
    lab.start(clients=100, delay_ms=40, law=law)
    lane = lab.until(lambda lane: lane["figures"]["latency"]["answers"] >= 2000, what="2000 answers")
    bands = lane["figures"]["latency"]["bands_ms"]
    count = sum(band[2] for band in bands)
    least = sum(band[0] * band[2] for band in bands) / count
    assert len(bands) > 5, "they vary"
    # Bands are up to an eighth wide, and a busy machine adds time; Pareto's mean of so few draws is its own matter.
    assert least > 40 * (0.6 if law == "pareto" else 0.8)


def test_the_load_alone_restarts(lab):
    lane = lab.start(clients=5, delay_ms=50)
    lab.change(set={"clients": 9})
    after = lab.until(lambda lane: lane["figures"]["load"]["in_flight"] == 9)
    assert pids(after)["load"] != pids(lane)["load"]
    assert pids(after)["server"] == pids(lane)["server"] and pids(after)["slowapi"] == pids(lane)["slowapi"]
    assert after["change"]["how"] == "the load restarted" and after["server_starts"] == 1
    lab.change(set={"load": "open", "rate": 50})
    after = lab.until(lambda lane: lane["figures"]["load"].get("planned", 0) > 20)
    assert pids(after)["server"] == pids(lane)["server"]
    lab.change(set={"rate": 50})
    assert lab.lane()["change"]["count"] == after["change"]["count"], "what is so already is no change"


def test_another_model_restarts_the_server_and_says_so(lab):
    lane = lab.start(clients=5, delay_ms=50)
    lab.change(set={"model": "pool", "threads": 3})
    after = lab.until(lambda lane: lane["state"] == "running" and answers(lane) > 0)
    assert pids(after)["server"] != pids(lane)["server"] and pids(after)["slowapi"] == pids(lane)["slowapi"]
    assert after["change"]["how"] == "the server restarted" and after["change"]["ms"] > 0
    assert after["server_starts"] == 2
    wait_gone([pids(lane)["server"], pids(lane)["load"]])


def test_a_change_while_it_starts_is_taken(lab):
    lab.change(do="start")
    for threads in (3, 4, 5):
        lab.change(set={"model": "pool", "threads": threads, "clients": 9})
    lane = lab.until(lambda lane: lane["state"] == "running" and lane["figures"]["waits"]["upstream"] == 5)
    assert lane["settings"]["threads"] == 5


def test_workers_come_and_go_by_signals(lab):
    lane = lab.start(clients=5, delay_ms=50)

    def workers():
        return sum(one["state"] == "ready" for one in stats_of(lane, "server")["workers"])

    lab.change(set={"workers": 3})
    wait_for(lambda: workers() == 3, what="three workers")
    lab.change(set={"workers": 1})
    wait_for(lambda: workers() == 1, what="one worker")
    after = lab.lane()
    assert pids(after)["server"] == pids(lane)["server"] and after["change"]["how"] == "signals to the master"


def test_a_killed_worker_is_replaced(lab):
    lane = lab.start(clients=5, delay_ms=50)
    before = stats_of(lane, "server")["workers"][0]["pid"]
    lab.change(do="kill-worker")
    wait_for(lambda: stats_of(lane, "server")["workers"][0]["pid"] != before, what="another worker")
    after = lab.until(lambda lane: lane["figures"]["server"]["starts"] == 2)
    good = answers(after)
    after = lab.until(lambda lane: answers(lane) > good)
    assert pids(after)["server"] == pids(lane)["server"]


def test_a_reload_loses_nothing(lab):
    lane = lab.start(clients=5, delay_ms=50)
    lab.change(do="reload")
    lab.until(lambda lane: lane["figures"]["server"]["starts"] >= 2)
    good = answers(lab.lane())
    after = lab.until(lambda lane: answers(lane) > good + 50)
    assert set(after["figures"]["load"]["statuses"]) == {"200"} and after["figures"]["load"]["failures"] == {}
    assert pids(after) == pids(lane)


def test_the_slow_api_goes_and_comes(lab):
    lane = lab.start(clients=5, delay_ms=50)
    lab.change(do="stop-upstream")
    lab.until(lambda lane: lane["figures"]["load"]["statuses"].get("502", 0) > 50)
    assert "down" in lab.lane()["figures"]["limit"]
    reply = lab.ask("POST", "/lanes", {"lane": 1, "do": "stop-upstream"})
    assert reply.status == 409 and reply.text.count("\n") == 1
    lab.change(set={"delay_ms": 70})
    lab.change(do="start-upstream")
    good = lab.until(lambda lane: lane["upstream"] == "up" and lane["processes"]["slowapi"])["figures"]["load"]["statuses"]["200"]
    after = lab.until(lambda lane: lane["figures"]["load"]["statuses"]["200"] > good + 50)
    assert pids(after)["server"] == pids(lane)["server"] and pids(after)["slowapi"] != pids(lane)["slowapi"]
    lab.until(lambda lane: lane["figures"]["load"]["tick_p50_ms"] and lane["figures"]["load"]["tick_p50_ms"] >= 70)


def test_the_slow_api_freezes_and_thaws(lab):
    lane = lab.start(clients=5, delay_ms=50)
    lab.change(do="freeze-upstream")
    lab.until(lambda lane: lane["figures"]["arithmetic"]["lambda"] == 0)
    assert "hangs" in lab.lane()["figures"]["limit"]
    lab.change(do="start-upstream")
    good = answers(lab.lane())
    after = lab.until(lambda lane: answers(lane) > good + 20)
    assert pids(after) == pids(lane)


def test_three_lanes_run_side_by_side(lab):
    for number, model in enumerate(("green", "pool", "threaded"), 1):
        lab.start(number, model=model, clients=5, delay_ms=50)
    lanes = [lab.lane(number) for number in (1, 2, 3)]
    assert len({pid for lane in lanes for pid in pids(lane).values()}) == 9
    lab.change(2, do="stop")
    wait_gone(pids(lanes[1]).values())
    assert [lab.lane(number)["state"] for number in (1, 2, 3)] == ["running", "stopped", "running"]


# --- ends ----------------------------------------------------------------------------------------


def test_a_lane_whose_server_dies_says_so_and_starts_again(lab):
    lane = lab.start(clients=5)
    kill(pids(lane)["server"], signal.SIGKILL)
    wait_for(lambda: lab.lane()["state"] == "failed", what="the end to be noticed")
    assert "server ended" in lab.lane()["why"]
    wait_gone(pids(lane).values())
    lab.start()


def test_a_load_that_dies_begins_again(lab):
    lane = lab.start(clients=5)
    kill(pids(lane)["load"], signal.SIGKILL)
    after = lab.until(lambda after: pids(after).get("load", pids(lane)["load"]) != pids(lane)["load"] and answers(after) > 0)
    assert pids(after)["server"] == pids(lane)["server"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGKILL], ids=lambda n: n.name)
def test_nothing_is_left_when_the_lab_ends(lab, number):
    lab.start(1, model="pool", workers=2, clients=5)
    lab.start(2, app="curl", patch="off", clients=5)
    lab.change(2, do="freeze-upstream")
    left = family(lab.pid)
    assert len(left) >= 8
    lab.send_signal(number)
    assert lab.wait() == (-signal.SIGKILL if number == signal.SIGKILL else 0)
    wait_gone(left)


def test_lanes_that_nobody_looks_at_stop(start):
    lab = start("lab", "--idle", "1s", kind=Lab)
    lab.change(do="start")
    left = family(lab.pid)
    wait_gone(left)
    wait_for(lambda: family(lab.pid) == [], what="the end of all")
    lane = lab.lane()
    assert lane["state"] == "stopped" and lane["why"] == "nobody was looking"


def test_a_page_that_watches_keeps_lanes_running(start):
    lab = start("lab", "--idle", "1s", kind=Lab)
    with RawConnection(lab) as page:
        page.send(f"GET /events?token={TOKEN} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        lab.change(do="start")
        seen = 0
        while seen < 40:  # four seconds at least
            piece = page.sock.recv(1 << 20)
            assert piece, "the stream ended"
            seen += piece.count(b"\n\n")
        assert lab.lane()["state"] in ("starting", "running")


# --- threads -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings, threads, waits",
    [
        ({"model": "pool", "threads": 6, "clients": 12}, 7, 6),
        ({"model": "green", "clients": 12}, 1, 0),
        ({"app": "curl", "patch": "off", "clients": 3}, 1, 1),
    ],
    ids=["pool", "green", "a blocking call"],
)
def test_threads_are_told_by_what_they_wait_for(lab, settings, threads, waits):
    """A pool's threads wait for the slow API, each; green ones have a thread that waits for all; a blocking call has it."""
    lab.start(delay_ms=500, **settings)

    def told(lane):
        return sum(group["threads"] for group in lane["threads"] if group.get("role") == "slow API")

    lane = lab.until(lambda lane: told(lane) == waits and sum(g["threads"] for g in lane["threads"]) == threads)
    assert lane["figures"]["server"]["threads"] == threads and lane["threads_note"] == ""
    assert all(group["text"] for group in lane["threads"])


# --- originals -----------------------------------------------------------------------------------

ORIGINALS = ["flask-single", "flask-threaded", "uwsgi-threads", "gunicorn-threads", "gevent-pywsgi", "uwsgi-gevent", "gunicorn-gevent"]


@pytest.mark.parametrize("name", ORIGINALS)
def test_originals_stand_in_a_lane(lab, name):
    """The same slow API, the same load; of the server the kernel tells threads, memory and CPU time."""
    lab.change(set={"server": name, "delay_ms": 20, "clients": 4})
    lab.change(do="start")

    def has_come(lane):
        return lane["state"] == "failed" or (lane["state"] == "running" and answers(lane) > 20 and lane["threads"])

    seen = []
    wait_for(lambda: seen.append(lab.lane()) or has_come(seen[-1]), 60, name)
    lane = seen[-1]
    if lane["state"] == "failed" and "not installed" in lane["why"]:
        pytest.skip(lane["why"])
    assert lane["state"] == "running", lane["why"]
    assert lane["figures"]["server"]["threads"] >= 1 and lane["figures"]["server"]["rss_bytes"] > 2**20
    assert lane["figures"]["bars"] is None and "model" not in lane["applies"] and "server" in lane["applies"]
    assert lane["figures"]["arithmetic"]["slots"] == {"flask-single": 1, "uwsgi-gevent": 4000}.get(
        name, None if "gevent" in name or "threaded" in name else 200
    )
    assert lab.ask("POST", "/lanes", {"lane": 1, "do": "kill-worker"}).status == 409
    left = family(lab.pid)
    lab.change(set={"delay_ms": 300})
    lab.until(lambda lane: (lane["figures"]["load"]["tick_p50_ms"] or 0) >= 300)
    lab.send_signal(signal.SIGKILL)
    lab.wait()
    wait_gone(left)


def test_two_hundred_changes_leave_nothing_behind(lab):
    """Every control is moved again and again while the lane runs and starts: processes and descriptors are as many as before."""
    rows = json.loads(lab.ask("GET", "/controls").body)
    rows = [row for row in rows if row["name"] != "server"]  # originals take seconds to start
    lane = lab.start(clients=5)
    before, files = len(family(lab.pid)), len(open_files(lab.pid))
    changes = [
        (row["name"], (row.get("words") or [row["min"], row["max"], row["initial"]])[turn % (len(row.get("words") or "123"))])
        for turn in range(10)
        for row in rows
    ]
    assert len(changes) >= 200
    taken = 0
    for name, value in changes:
        reply = lab.wish(set={name: value})
        assert reply.status == 200 or "event" in reply.text, reply.text
        taken += reply.status == 200
    assert taken > 150
    lab.change(set={row["name"]: row["initial"] for row in rows} | {"clients": 5})
    after = lab.until(lambda lane: answers(lane) > 0 and lane["change"]["ms"] is not None and lane["figures"]["bars"])
    assert after["state"] == "running" and pids(after)["slowapi"] == pids(lane)["slowapi"]
    wait_for(lambda: len(family(lab.pid)) == before, what="as many processes as before")
    wait_for(lambda: len(open_files(lab.pid)) <= files + 2, what="as many descriptors as before")
