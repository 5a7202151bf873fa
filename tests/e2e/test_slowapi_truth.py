# SPDX-License-Identifier: MIT
"""What slowapi tells of itself is what its clients saw: each request by its number in the access log and the journal, and all
of them in /stats and /metrics, under a mix of all faults, limits, queues, rules, bad requests and clients that leave."""

import json
import random
import re
from collections import Counter, namedtuple

import pytest
from harness import connect, wait_for
from test_slowapi_control import put_rules
from test_slowapi_shapes import Control, at_once

REQUESTS, CLIENTS = 4000, 16
RULES = [{"name": "tea", "path": "/rule/tea", "params": "status=418"},
         {"name": "slow", "path": "/rule/slow", "params": "delay=2ms&fault=fin@50:50", "body": "x" * 100},
         {"name": "off", "path": "/rule/off", "enabled": False, "params": "status=201"}]  # fmt: skip

# Weight, path, faults that strike (None: the rule or chance decides), and whether the connection ends.
Kind = namedtuple("Kind", "weight path faults ends")
KINDS = [
    Kind(30, "/?", (), False), Kind(10, "/?delay=2ms&", (), False), Kind(8, "/?delay=exp:1ms&status=503:50&", (), False),
    Kind(10, "/bytes/700?", (), False), Kind(6, "/stream-bytes/900?chunk_size=100&", (), False), Kind(6, "/status/404?", (), False),
    Kind(4, "/get?", (), False), Kind(4, "/nope?", (), False), Kind(4, "/?delay=x&", (), False), Kind(4, "/rule/tea?", (), False),
    Kind(6, "/rule/slow?", None, None), Kind(4, "/rule/off?", (), False), Kind(4, "/?seq=200,500,404&", (), False),
    Kind(6, "/?limit=7/1h&key=k{turn}&", (), False), Kind(6, "/?workers=1&service=1ms&queue=1&", (), False),
    Kind(5, "/?close=true&", (), True),
    Kind(5, "/?fault=rst@head&", ("rst",), True), Kind(4, "/bytes/600?fault=rst@body&", ("rst",), True),
    Kind(4, "/bytes/600?fault=rst@50&", ("rst",), True), Kind(4, "/?fault=fin@head&", ("fin",), True),
    Kind(4, "/bytes/600?fault=fin@25&", ("fin",), True), Kind(4, "/bytes/600?fault=truncate&", ("truncate",), True),
    Kind(4, "/stream-bytes/600?chunk_size=50&fault=fin@50&", ("fin",), True), Kind(4, "/bytes/300?fault=hang=2ms@body&", ("hang",), False),
    Kind(4, "/bytes/9?fault=drip=1ms&", ("drip",), False), Kind(4, "/bytes/300?fault=bandwidth=100k&", ("bandwidth",), False),
    Kind(4, "/bytes/300?fault=badchunk&", ("badchunk",), True), Kind(4, "/?fault=garbage&", ("garbage",), True),
    Kind(4, "/bytes/300?fault=length=10&", ("length",), True), Kind(4, "/bytes/300?fault=nolength&", ("nolength",), True),
    Kind(2, "/?fault=hugeheader=5k&", ("hugeheader",), False), Kind(4, "/?fault=badheader&", ("badheader",), True),
    Kind(4, "/?fault=interim=2&", ("interim",), False), Kind(4, "/bytes/999?fault=corrupt:100&", ("corrupt",), False),
    Kind(4, "/?fault=stale&", None, None),
]  # fmt: skip
REFUSED = ["GET /? HTTP/1.1\r\n\r\n", "GET / HTTP/9.9\r\nHost: x\r\n\r\n", "GET /? HTTP/1.1\r\nHost: x\r\nbad line\r\n\r\n"]

Seen = namedtuple("Seen", "number path status body end faults")  # end: kept, fin, rst or left


class Reader:
    """What comes over a connection, however it ends."""

    def __init__(self, sock):
        self.sock, self.data, self.end = sock, b"", None

    def more(self):
        if self.end is None:
            try:
                data = self.sock.recv(65536)
            except ConnectionResetError:
                self.end = "rst"
            else:
                self.data += data
                self.end = None if data else "fin"
        return self.end is None

    def upto(self, mark):
        """The bytes with the mark, or None when they do not come."""
        while mark not in self.data:
            if not self.more():
                return None
        at = self.data.index(mark) + len(mark)
        taken, self.data = self.data[:at], self.data[at:]
        return taken

    def take(self, count):
        """As many bytes, or fewer at the end."""
        while len(self.data) < count and self.more():
            pass
        taken, self.data = self.data[:count], self.data[count:]
        return taken

    def head(self):
        """(status, fields), without interim ones; (None, ...) when nothing of HTTP comes."""
        while True:
            head = self.upto(b"\r\n\r\n")
            found = re.match(rb"HTTP/1\.1 (\d+) ", head or b"")
            if not found:
                return None, {}
            fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:] if b": " in line)
            if not found[1].startswith(b"1"):
                return int(found[1]), fields

    def chunks(self):
        count = 0
        while (line := self.upto(b"\r\n")) and (size := int(line, 16) if re.fullmatch(rb"[0-9a-f]+\r\n", line, re.I) else -1) > 0:
            count += len(self.take(size))
            self.take(2)
        if line and size == 0:
            self.take(2)
        return count

    def body(self, fields):
        """How many bytes of the body came, without framing."""
        if fields.get(b"transfer-encoding") == b"chunked":
            return self.chunks()
        return len(self.take(int(fields.get(b"content-length", 1 << 30))))

    def rest(self):
        while self.more():
            pass
        return self.end


class Client:
    """One thread: keeps a connection until it ends, and writes down what it saw."""

    def __init__(self, server, control, turn, seed, count):
        self.control = control
        self.random, self.server, self.turn, self.count = random.Random(f"{seed} {turn}"), server, turn, count
        self.reader, self.reused, self.seen = None, False, []
        self.connections = self.malformed = self.resets = 0
        self.malformed_statuses = Counter()

    def open(self):
        if self.reader is None:
            self.reader, self.reused = Reader(connect(self.server)), False
            self.connections += 1

    def close(self):
        if self.reader is not None:
            self.reader.sock.close()
        self.reader = None

    def ask(self, n):
        kind = self.random.choices(KINDS, [kind.weight for kind in KINDS])[0]
        path = kind.path.format(turn=self.turn) + f"n={n}"
        method = self.random.choice(["GET", "GET", "POST"])
        body = "content" * self.random.randrange(3) if method == "POST" else ""
        self.open()
        self.reader.sock.sendall(f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
        status, fields = self.reader.head()
        size = self.reader.body(fields) if status else 0
        closes = status is None or kind.ends or self.reader.end or fields.get(b"connection") == b"close"
        end = self.reader.rest() if closes else "kept"
        struck = kind.faults if kind.faults is not None else ("stale",) if "stale" in path and self.reused else ("fin",) if "slow" in path and size < 100 else ()
        self.seen.append(Seen(n, path.split("?")[0], status, size, end, struck))
        self.reused = True
        if closes:
            self.close()

    def leave(self, n):
        """Asks for what takes long, and goes with a reset when the server has the request."""
        self.close()
        self.open()
        self.reader.sock.sendall(f"GET /?delay=60&n={n} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        wait_for(lambda: self.control.ask("GET", f"/requests/count?arg=n%3D{n}&times=1")[0] == 200, what="the request")
        self.reader.sock.setsockopt(1, 13, b"\1\0\0\0\0\0\0\0")  # SO_LINGER: a reset
        self.close()
        self.seen.append(Seen(n, "/", None, 0, "left", ()))

    def be_refused(self):
        self.close()
        self.open()
        self.reader.sock.sendall(self.random.choice(REFUSED).encode())
        status, fields = self.reader.head()
        self.reader.body(fields)
        self.malformed += 1
        self.malformed_statuses[f"{status // 100}xx"] += 1
        assert self.reader.rest() in ("fin", "rst")
        self.close()

    def break_off(self, n):
        """A head that is in order, and a body that is not."""
        self.close()
        self.open()
        self.reader.sock.sendall(f"POST /get?n={n} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n".encode())
        status, fields = self.reader.head()
        size = self.reader.body(fields)
        assert (status, self.reader.rest()) == (400, "fin") and size > 0
        self.malformed += 1
        self.seen.append(Seen(n, "/get", 400, 0, "refused", ()))
        self.close()

    def be_reset(self):
        """At an address where every connection is, some before connect(2) looks."""
        self.connections += 1
        try:
            reader = Reader(connect(self.server.addresses[1]))
        except ConnectionResetError:
            self.resets += 1
            return
        self.resets += reader.rest() == "rst" and reader.data == b""
        reader.sock.close()

    def run(self):
        for i in range(self.count):
            choice = self.random.random()
            if choice < 0.01:
                self.be_refused()
            elif choice < 0.02:
                self.break_off(self.turn * 100_000 + i)
            elif choice < 0.03:
                self.be_reset()
            elif choice < 0.06:
                self.leave(self.turn * 100_000 + i)
            else:
                self.ask(self.turn * 100_000 + i)
        self.close()
        return self


def number_of(target):
    return int(re.search(r"n=(\d+)", target)[1])


def classes(statuses):
    return {name: 0 for name in ("1xx", "2xx", "3xx", "4xx", "5xx")} | Counter(f"{status // 100}xx" for status in statuses if status)


OUTCOMES = {"kept": {"answered"}, "fin": {"answered", "closed"}, "rst": {"reset"}, "left": {"aborted"}, "refused": {"malformed"}}


def check_requests(seen, told, name_of, bytes_of):
    """Each request is told once, as it was seen."""
    assert Counter(name_of(one) for one in told) == Counter(one.number for one in seen)
    by_number = {name_of(one): one for one in told}
    wrong = []
    for one in seen:
        it = by_number[one.number]
        kinds = {re.match("[a-z-]+", fault)[0] for fault in it["faults"]}
        if (it["status"], bytes_of(it), kinds) != (one.status, one.body, set(one.faults)) or it["outcome"] not in OUTCOMES[one.end]:
            wrong.append((one, it))
    assert wrong == []


def check_stats(clients, stats, log):
    seen = [one for client in clients for one in client.seen]
    struck = Counter(kind for one in seen for kind in one.faults if kind != "corrupt")
    struck["corrupt"] = sum(one.body for one in seen if "corrupt" in one.faults)  # it strikes bytes
    struck["refuse"] = sum(client.resets for client in clients)
    assert stats["in_flight"] == 0 and struck["refuse"] > 0
    assert stats["connections"] == sum(client.connections for client in clients)
    assert stats["requests"] == len(seen)
    assert stats["malformed"] == sum(client.malformed for client in clients)
    refusals = sum((client.malformed_statuses for client in clients), Counter())
    assert stats["status"] == {name: count + refusals[name] for name, count in classes(one.status for one in seen).items()}
    assert stats["unanswered"] == sum(one.status is None for one in seen)
    assert stats["client_aborts"] == sum(one.end == "left" for one in seen)
    assert {kind: n for kind, n in stats["faults"].items() if n} == struck
    assert stats["answers"] == sum(line["outcome"] == "answered" for line in log)
    assert stats["limited"] == sum(one.status == 429 for one in seen)
    assert stats["queue_full"] == sum(line["status"] == 503 and "workers=1" in line["url"] for line in log)
    assert stats["bad_parameters"] == sum("delay=x" in line["url"] for line in log)
    assert {rule["name"]: rule["requests"] for rule in stats["rules"]} == {
        name: sum(one.path == f"/rule/{name}" for one in seen) for name in ("tea", "slow")} | {"off": 0}  # fmt: skip
    paths = {row["path"]: row for row in stats["paths"] if row["path"] is not None}
    assert {name: row["requests"] for name, row in paths.items()} == Counter(one.path for one in seen)
    for name, row in paths.items():
        assert row["status"] == classes(one.status for one in seen if one.path == name), name
        assert row["unanswered"] == sum(one.status is None for one in seen if one.path == name), name
    begun = [line for line in log if line["actual_ms"] is not None]
    for name, member in (("planned", "planned_ms"), ("actual", "actual_ms"), ("late", "late_ms")):
        assert stats[name]["count"] == sum(stats["distributions"][name].values()) == len(begun), name
        assert stats[name]["mean_ms"] * len(begun) == pytest.approx(sum(line[member] for line in begun), abs=0.001 * len(begun)), name
    assert {one.number for one in seen if one.status and one.end != "refused"} <= {number_of(line["url"]) for line in begun}


def check_metrics(stats, text):
    lines = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    for name, value in stats.items():
        if isinstance(value, int) and f"slowapi_{name}_total" in lines:
            assert lines[f"slowapi_{name}_total"] == str(value), name
    for name in ("requests", "answers", "unanswered", "client_aborts", "malformed", "connections", "limited"):
        assert f"slowapi_{name}_total" in lines
    assert {kind: float(lines[f'slowapi_faults_total{{kind="{kind}"}}']) for kind in stats["faults"]} == stats["faults"]
    assert {name: float(lines[f'slowapi_responses_total{{class="{name}"}}']) for name in stats["status"]} == stats["status"]
    for row in stats["paths"]:
        assert float(lines[f'slowapi_path_requests_total{{path="{row["path"] or ""}"}}']) == row["requests"]
    for rule in stats["rules"]:
        assert float(lines[f'slowapi_rule_requests_total{{rule="{rule["name"]}"}}']) == rule["requests"]
    for name in ("planned", "actual", "late"):
        assert float(lines[f"slowapi_{name}_seconds_count"]) == stats[name]["count"]


@pytest.mark.parametrize("workers", ["1", "2"])
def test_all_that_is_told_is_what_clients_saw(slowapi, tmp_path, workers):
    path = tmp_path / "access.log"
    api = slowapi("--delay", "0", "--control", "127.0.0.1:0", "--journal", str(REQUESTS + 100), "--access-logfile", path, "-w", workers, "--seed", "7",
                  "--bind", "127.0.0.1:0", "--bind", "127.0.0.1:0?fault=refuse")  # fmt: skip
    control = Control(api)
    put_rules(control, *RULES)
    earlier = 0
    for part in (1, 2):  # statistics count from zero in between
        clients = at_once(CLIENTS, lambda turn: Client(api, control, part * 100 + turn, 11, REQUESTS // 2 // CLIENTS).run())
        seen = [one for client in clients for one in client.seen]
        lines = len(seen) + sum(sum(client.malformed_statuses.values()) for client in clients)
        wait_for(lambda: control.stats()["in_flight"] == 0, what="the ends")
        wait_for(lambda: json.loads(control.ask("GET", "/requests/count?outcome=in-flight")[1])["count"] == 0, what="the ends in the journal")
        wait_for(lambda: path.read_text().count("\n") == earlier + lines, what="the log")
        log = [json.loads(line) for line in path.read_text().splitlines()[earlier:]]
        assert sum("url" not in line for line in log) == lines - len(seen)  # what was no request
        log = [line for line in log if "url" in line]
        check_requests(seen, log, lambda line: number_of(line["url"]), lambda line: line["bytes"])
        after = json.loads(control.ask("GET", "/requests?limit=0")[1])["count"] - len(seen)
        journal = json.loads(control.ask("GET", f"/requests?limit={REQUESTS}&after={after}")[1])["requests"]
        check_requests(seen, journal, lambda one: number_of(one["target"]), lambda one: one["bytes"])
        stats = control.stats()
        check_stats(clients, stats, log)
        check_metrics(stats, control.ask("GET", "/metrics")[1])
        assert control.ask("DELETE", "/stats") == (200, "reset\n")
        earlier += lines
