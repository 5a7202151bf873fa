# SPDX-License-Identifier: MIT
"""srv slowapi --tcp: bytes between a client and a target pass unchanged, or as the toxics say."""

import contextlib
import json
import os
import random
import re
import signal
import socket
import struct
import subprocess
import threading
import time
from pathlib import Path

import pytest
from control import control, metrics
from harness import IO_SECONDS, get, request, wait_for

RESET = struct.pack("ii", 1, 0)


class Target:
    """A listening socket whose connections the test has in hand."""

    def __init__(self, address=("127.0.0.1", 0), backlog=128):
        self.listener = socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET)
        self.listener.bind(address)
        self.listener.listen(backlog)
        self.listener.settimeout(IO_SECONDS)
        self.address = self.listener.getsockname()
        self.text = f"unix:{address}" if isinstance(address, str) else "%s:%d" % self.address

    def accept(self):
        conn, _ = self.listener.accept()
        conn.settimeout(IO_SECONDS)
        return conn

    def close(self):
        self.listener.close()


@pytest.fixture
def target():
    with contextlib.closing(Target()) as one:
        yield one


class Proxies:
    """A running slowapi with proxies."""

    def __init__(self, slowapi, *specs, args=()):
        words = [word for spec in specs for word in ("--tcp", spec)]
        self.api = slowapi("--control", "127.0.0.1:0", *args, *words)
        self.listens = re.findall(r"relaying (\S+) to", self.api.stderr())

    def connect(self, index=0):
        listen = self.listens[index]
        if listen.startswith("unix:"):
            sock = socket.socket(socket.AF_UNIX)
            sock.settimeout(IO_SECONDS)
            sock.connect(listen[5:])
            return sock
        host, port = listen.rsplit(":", 1)
        sock = socket.create_connection((host.strip("[]"), int(port)), timeout=IO_SECONDS)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock

    def ask(self, method, query="", body=None):
        return request(control(self.api), method, "/tcp" + (f"?{query}" if query else ""), body=body)

    def change(self, text, method="PUT", index=0):
        reply = self.ask(method, f"listen={self.listens[index]}", text)
        assert reply.status == 200, reply.text
        return self.row(index)

    def row(self, index=0):
        return json.loads(self.ask("GET").text)[index]

    def wait_row(self, index=0, **wanted):
        return wait_for(
            lambda: (row := self.row(index)) and all(row[name] == value for name, value in wanted.items()) and row,
            what=f"{wanted}",
        )

    def is_turned_away(self, index=0):
        """Whether a connection is reset, maybe before connect(2) has returned."""
        try:
            return is_reset(self.connect(index))
        except ConnectionResetError:
            return True

    def pair(self, target, index=0):
        """A client's socket and the target's socket behind it."""
        client = self.connect(index)
        return client, target.accept()


@pytest.fixture
def proxy(slowapi, target):
    """proxy("latency=1s", args=...) -> Proxies in front of `target`."""

    def start(toxics="", args=()):
        return Proxies(slowapi, f"127.0.0.1:0={target.text}" + (f"?{toxics}" if toxics else ""), args=args)

    return start


def read_all(sock):
    data = b""
    while chunk := sock.recv(1 << 16):
        data += chunk
    return data


def read_exactly(sock, count):
    data = b""
    while len(data) < count:
        chunk = sock.recv(count - len(data))
        assert chunk, f"closed after {len(data)} of {count} bytes"
        data += chunk
    return data


def is_silent(sock, seconds=0.2):
    """Whether nothing comes, no end either, for that long."""
    sock.settimeout(seconds)
    try:
        sock.recv(1)
        return False
    except TimeoutError:
        return True
    finally:
        sock.settimeout(IO_SECONDS)


def is_reset(sock):
    """Waits for the end: whether it is a reset."""
    try:
        while sock.recv(1 << 16):
            pass
        return False
    except ConnectionResetError:
        return True


def reset(sock):
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    sock.close()


def send_all(sock, data):
    thread = threading.Thread(target=lambda: (sock.sendall(data), sock.shutdown(socket.SHUT_WR)), daemon=True)
    thread.start()
    return thread


# --- nothing is done to them -----------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 2])
def test_bytes_pass_both_ways_unchanged_and_are_counted(proxy, target, workers):
    p = proxy(args=("-w", workers))
    rng = random.Random(1)
    for round in range(6):
        client, behind = p.pair(target)
        up, down = rng.randbytes(1500000 + round), rng.randbytes(900000 + round)
        send_all(client, up)
        send_all(behind, down)
        got = []
        reader = threading.Thread(target=lambda: got.append(read_all(behind)))
        reader.start()
        assert read_all(client) == down
        reader.join()
        assert got == [up]
        client.close(), behind.close()
    row = p.wait_row(open=0, closed=6)
    assert (row["connections"], row["bytes_up"], row["bytes_down"]) == (6, 6 * 1500000 + 15, 6 * 900000 + 15)
    assert row["bytes_dropped"] == row["client_resets"] == row["target_resets"] == row["struck"] == 0
    counted = metrics(p.api)
    name = f'{{proxy="{p.listens[0]}"}}'
    assert counted[f"slowapi_tcp_bytes_up_total{name}"] == row["bytes_up"]
    assert counted[f"slowapi_tcp_closed_total{name}"] == 6
    assert json.loads(get(control(p.api), "/stats").text)["tcp"][0]["bytes_down"] == row["bytes_down"]


@pytest.mark.parametrize("toxics", ["", "latency=50ms@both", "bandwidth=1m@both"])
def test_an_end_is_passed_on_and_the_other_way_flows_on(proxy, target, toxics):
    p = proxy(toxics)
    client, behind = p.pair(target)
    client.sendall(b"question")
    client.shutdown(socket.SHUT_WR)
    assert read_all(behind) == b"question"
    behind.sendall(b"answer")
    assert read_exactly(client, 6) == b"answer"
    behind.sendall(b" and more")
    behind.close()
    assert read_all(client) == b" and more"
    p.wait_row(open=0, closed=1)

    client, behind = p.pair(target)
    behind.sendall(b"hello")
    behind.shutdown(socket.SHUT_WR)
    assert read_all(client) == b"hello"
    client.sendall(b"still here")
    client.close()
    assert read_all(behind) == b"still here"
    p.wait_row(open=0, closed=2)


def test_a_reset_is_passed_on_as_a_reset(proxy, target):
    p = proxy()
    client, behind = p.pair(target)
    client.sendall(b"x")
    assert read_exactly(behind, 1) == b"x"
    reset(client)
    assert is_reset(behind)
    client, behind = p.pair(target)
    behind.sendall(b"x")
    assert read_exactly(client, 1) == b"x"
    reset(behind)
    assert is_reset(client)
    row = p.wait_row(open=0, client_resets=1, target_resets=1)
    assert row["closed"] == row["struck"] == 0


def test_a_reset_of_a_side_whose_bytes_wait_is_seen(proxy, target):
    p = proxy()
    client, behind = p.pair(target)
    client.setblocking(False)
    with contextlib.suppress(BlockingIOError):  # the target reads nothing
        while client.send(bytes(1 << 20)):
            pass
    reset(client)
    p.wait_row(open=0, client_resets=1)
    behind.close()


def memory_kib(pid):
    return int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1])


def test_a_sender_waits_for_a_receiver_that_does_not_read(proxy, target):
    p = proxy()
    client, behind = p.pair(target)
    before = memory_kib(p.api.pid)
    sent = 0
    client.settimeout(1)
    block = random.Random(2).randbytes(1 << 20)
    with contextlib.suppress(TimeoutError):
        while sent < 200 << 20:
            sent += client.send(block[sent % (1 << 20) :])
    assert sent < 100 << 20, "the sender never waited"
    assert memory_kib(p.api.pid) - before < 4096
    client.settimeout(IO_SECONDS)
    send_all(client, b"")
    data = read_all(behind)
    assert len(data) == sent and data == (block * (sent // len(block) + 1))[:sent]


def test_addresses_of_all_kinds_and_names(slowapi, tmp_path):
    target = Target(str(tmp_path / "target"))
    port = Target()
    specs = [
        f"unix:{tmp_path}/listen?mode=0600={target.text}",
        f"[::1]:0=localhost:{port.address[1]}",
        f"0={port.address[1]}?name=by-port",
        f"127.0.0.1:0=ip6-localhost:{port.address[1]}",
    ]
    p = Proxies(slowapi, *specs)
    assert os.stat(tmp_path / "listen").st_mode & 0o777 == 0o600
    for index, one in enumerate([target, port, port]):
        client, behind = p.pair(one, index)
        client.sendall(b"hi")
        assert read_exactly(behind, 2) == b"hi"
        client.close()
        assert read_all(behind) == b""
        behind.close()
    assert [row["name"] for row in json.loads(p.ask("GET").text)][2] == "by-port"
    assert p.is_turned_away(3)  # a name, looked up: nobody listens there at that address, or nobody has it
    p.wait_row(3, connect_failed=1)


def test_tls_passes_untouched(slowapi, tmp_path):
    ca = tmp_path / "ca.pem"
    api = slowapi("--tls-ca-out", ca, "-b", "https://127.0.0.1:0")
    p = Proxies(slowapi, f"127.0.0.1:0=127.0.0.1:{api.port}?latency=10ms@both")
    port = p.listens[0].rsplit(":", 1)[1]
    done = subprocess.run(
        ["curl", "-sS", "--cacert", ca, f"https://localhost:{port}/?delay=0"], capture_output=True, text=True, timeout=30
    )
    assert done.stdout == "slow api response", done.stderr


@pytest.mark.parametrize("workers", [1, 2])
def test_thousands_of_connections(proxy, target, workers):
    p = proxy(args=("-w", workers))
    pairs = [p.pair(target) for _ in range(1000)]
    assert p.row()["open"] == 1000
    for number, (client, behind) in enumerate(pairs):
        client.sendall(b"%d" % number)
        behind.sendall(b"%d!" % number)
    # The n-th accept need not be the n-th connection.
    seen = set()
    for client, behind in pairs:
        client.shutdown(socket.SHUT_WR), behind.shutdown(socket.SHUT_WR)
    for client, behind in pairs:
        seen.add((read_all(behind), None))
        assert read_all(client).endswith(b"!")
        client.close(), behind.close()
    assert len(seen) == 1000
    row = p.wait_row(open=0, closed=1000)
    assert row["bytes_down"] == row["bytes_up"] + 1000


# --- latency, bandwidth, slices --------------------------------------------------------------


@pytest.mark.parametrize("way, up, down", [("", 0, 0.3), ("@up", 0.3, 0), ("@both", 0.3, 0.3)])
def test_latency_is_of_the_way_that_it_names(proxy, target, way, up, down):
    p = proxy(f"latency=300ms{way}")
    client, behind = p.pair(target)
    start = time.monotonic()
    client.sendall(b"x")
    read_exactly(behind, 1)
    there = time.monotonic()
    behind.sendall(b"y")
    read_exactly(client, 1)
    back = time.monotonic()
    assert there - start >= up and back - there >= down
    p.change("latency=0@both")
    client.sendall(b"x")
    read_exactly(behind, 1)


def test_pieces_of_any_latency_keep_their_order(proxy, target):
    p = proxy("latency=0-100ms@up&jitter=50ms@up", args=("--seed", "3"))
    client, behind = p.pair(target)
    text = b"".join(b"%06d" % number for number in range(300))
    for at in range(0, len(text), 6):
        client.send(text[at : at + 6])
        time.sleep(0.0005)
    client.shutdown(socket.SHUT_WR)
    assert read_all(behind) == text


def test_a_latency_holds_what_the_buffer_holds_and_then_the_sender_waits(proxy, target):
    p = proxy("latency=1h@up&buffer=100k")
    client, behind = p.pair(target)
    sent, client_side = 0, client
    client_side.settimeout(1)
    with contextlib.suppress(TimeoutError):
        while sent < 100 << 20:
            sent += client_side.send(bytes(1 << 16))
    assert 100 << 10 <= sent < 50 << 20
    assert is_silent(behind)
    p.change("latency=0@up")  # what waits goes on at once
    client.settimeout(IO_SECONDS)
    client.shutdown(socket.SHUT_WR)
    assert len(read_all(behind)) == sent


@pytest.mark.parametrize("way", ["up", "down"])
def test_bandwidth_is_kept(proxy, target, way):
    p = proxy(f"bandwidth=100k@{way}")
    client, behind = p.pair(target)
    sender, receiver = (client, behind) if way == "up" else (behind, client)
    data = random.Random(4).randbytes(150 << 10)
    start = time.monotonic()
    send_all(sender, data)
    assert read_all(receiver) == data
    assert 1.4 < time.monotonic() - start < 6


@pytest.mark.parametrize("count", [1, 4, 64])
def test_shared_bandwidth_is_that_of_all_connections_and_workers_together(proxy, target, count):
    p = proxy("shared-bandwidth=256k", args=("-w", 2))
    pairs = [p.pair(target) for _ in range(count)]
    stop = threading.Event()

    def feed(behind):
        with contextlib.suppress(OSError):
            while not stop.is_set():
                behind.sendall(bytes(4096))

    def drain(client):
        with contextlib.suppress(OSError):
            while client.recv(1 << 16):
                pass

    threads = [threading.Thread(target=feed, args=(behind,), daemon=True) for _, behind in pairs]
    threads += [threading.Thread(target=drain, args=(client,), daemon=True) for client, _ in pairs]
    for thread in threads:
        thread.start()
    wait_for(lambda: p.row()["bytes_down"] > 0)
    first, start = p.row()["bytes_down"], time.monotonic()
    time.sleep(2)
    last, end = p.row()["bytes_down"], time.monotonic()
    stop.set()
    for client, behind in pairs:
        reset(client), behind.close()
    rate = (last - first) / (end - start) / (256 << 10)
    assert 0.6 < rate < 1.05  # a machine may be late; never early, but for a portion
    p.wait_row(open=0)


def segments_in(sock):
    """Segments with data that the kernel has received: struct tcp_info of linux/tcp.h."""
    info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 192)
    return struct.unpack_from("I", info, 152)[0]


def test_slices_come_one_by_one_with_pauses(proxy, target):
    p = proxy("slice=10,20ms@down&slice=1-5@up")
    client, behind = p.pair(target)
    start = time.monotonic()
    behind.sendall(b"0123456789" * 10)
    assert read_exactly(client, 100) == b"0123456789" * 10
    assert time.monotonic() - start >= 9 * 0.020
    assert segments_in(client) == 10
    client.sendall(b"abcdefghij" * 10)
    assert read_exactly(behind, 100) == b"abcdefghij" * 10
    assert segments_in(behind) >= 20


def test_corruption_flips_bits_of_the_share_that_was_asked_for(proxy, target):
    p = proxy("corrupt=10&corrupt=100@up", args=("--seed", "5"))
    client, behind = p.pair(target)
    client.sendall(bytes(1000))
    assert read_exactly(behind, 1000) == b"\1" * 1000
    send_all(behind, bytes(100000))
    data = read_all(client)
    struck = data.count(1)
    assert set(data) == {0, 1} and 9000 < struck < 11000
    assert p.wait_row(bytes_corrupted=struck + 1000)["bytes_down"] == 100000


def test_toxicity_is_a_share_of_the_connections(proxy, target):
    p = proxy("corrupt=100&toxicity=40", args=("--seed", "6"))
    struck = 0
    for _ in range(200):
        client, behind = p.pair(target)
        behind.sendall(b"\0")
        struck += read_exactly(client, 1) == b"\1"
        client.close(), behind.close()
    assert 50 < struck < 110
    assert p.row()["bytes_corrupted"] == struck


def test_an_end_can_be_late_or_never_come(proxy, target):
    p = proxy("close-delay=300ms@down&close-delay=never@up")
    client, behind = p.pair(target)
    client.sendall(b"x")
    client.shutdown(socket.SHUT_WR)
    assert read_exactly(behind, 1) == b"x"
    assert is_silent(behind)
    start = time.monotonic()
    behind.sendall(b"y")
    behind.close()
    assert read_exactly(client, 1) == b"y"
    assert client.recv(1) == b"" and time.monotonic() - start >= 0.3
    p.wait_row(open=0, closed=1)


# --- faults ----------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["refuse", "rst", "rst@accept", "rst-down"])
def test_a_connection_is_reset_at_the_accept_and_the_target_is_not_asked(proxy, target, fault):
    p = proxy(f"fault={fault}")
    assert p.is_turned_away()
    target.listener.settimeout(0.2)
    with pytest.raises(TimeoutError):
        target.listener.accept()
    row = p.wait_row(open=0, struck=1)
    assert row["faults"][fault.split("@")[0]] == 1 and row["closed"] == 0


def test_a_connection_is_closed_at_the_accept(proxy):
    p = proxy("fault=fin")
    assert p.connect().recv(1) == b""
    p.wait_row(open=0, struck=1)


@pytest.mark.parametrize("kind", ["rst", "fin"])
def test_a_stream_is_cut_after_that_many_bytes_to_the_client(proxy, target, kind):
    p = proxy(f"fault={kind}@down=100000")
    client, behind = p.pair(target)
    data = random.Random(7).randbytes(300000)
    threading.Thread(target=lambda: contextlib.suppress(OSError).__enter__() or behind.sendall(data), daemon=True).start()
    assert read_exactly(client, 100000) == data[:100000]
    assert is_reset(client) == (kind == "rst")
    client.close(), behind.close()
    row = p.wait_row(open=0, struck=1)
    assert row["bytes_down"] == 100000 and row["faults"][kind] == 1


@pytest.mark.parametrize("kind", ["rst", "fin"])
def test_a_stream_is_cut_after_that_many_bytes_to_the_target(proxy, target, kind):
    p = proxy(f"fault={kind}@up=7")
    client, behind = p.pair(target)
    client.sendall(b"0123456789")
    assert read_exactly(behind, 7) == b"0123456"
    assert is_reset(behind) == (kind == "rst")
    assert is_reset(client) == (kind == "rst")


def test_a_fault_before_the_first_byte_waits_for_it(proxy, target):
    p = proxy("fault=rst@down")
    client, behind = p.pair(target)
    client.sendall(b"x")
    assert read_exactly(behind, 1) == b"x"
    assert is_silent(client)
    behind.sendall(b"y")
    assert is_reset(client) and is_reset(behind)
    assert p.wait_row(open=0, struck=1)["bytes_down"] == 0


@pytest.mark.parametrize("kind", ["rst", "fin"])
def test_a_fault_by_time(proxy, target, kind):
    p = proxy(f"fault={kind}@time=300ms")
    start = time.monotonic()
    client, behind = p.pair(target)
    client.sendall(b"x")
    assert read_exactly(behind, 1) == b"x"
    assert is_reset(client) == (kind == "rst") and time.monotonic() - start >= 0.3
    assert is_reset(behind) == (kind == "rst")


@pytest.mark.parametrize("kind", ["rst", "fin"])
@pytest.mark.parametrize("first", ["fault=hang,", "fault=hang@up=1,", "connect-delay=1h&fault=", "fault=hang=1h,"])
def test_a_fault_by_time_ends_a_hang_and_a_wait_for_the_target(proxy, target, first, kind):
    p = proxy(f"{first}{kind}@time=400ms")
    start = time.monotonic()
    client = p.connect()
    client.sendall(b"anybody?")
    assert is_reset(client) == (kind == "rst") and time.monotonic() - start >= 0.4
    row = p.wait_row(open=0, struck=1)
    assert row["faults"][kind] == 1


def test_a_black_hole_by_time_opens_while_the_target_is_awaited(proxy):
    p = proxy("connect-delay=500ms&fault=hang@time=0")
    client = p.connect()
    client.sendall(b"anybody?")
    assert is_silent(client, 1)
    client.close()
    assert p.wait_row(open=0, struck=1)["bytes_dropped"] == 8


def test_one_side_is_reset_and_the_other_closed(proxy, target):
    p = proxy("fault=rst-down@up=1")
    client, behind = p.pair(target)
    client.sendall(b"x")
    assert read_exactly(behind, 1) == b"x"
    assert not is_reset(behind) and is_reset(client)
    p.change("fault=rst-up@down=1")
    client, behind = p.pair(target)
    behind.sendall(b"x")
    assert read_exactly(client, 1) == b"x"
    assert not is_reset(client) and is_reset(behind)


def test_half_open_one_way_ends_and_the_other_flows(proxy, target):
    p = proxy("fault=fin-down@down=3")
    client, behind = p.pair(target)
    behind.sendall(b"12345")
    assert read_all(client) == b"123"
    for _ in range(3):
        client.sendall(b"still here")
        assert read_exactly(behind, 10) == b"still here"
    behind.sendall(b"nobody hears that")
    client.close()
    assert read_all(behind) == b""
    behind.close()
    assert p.wait_row(open=0, closed=1)["bytes_down"] == 3

    p.change("fault=fin-up@up=3")
    client, behind = p.pair(target)
    client.sendall(b"12345")
    assert read_all(behind) == b"123"
    behind.sendall(b"answer")
    assert read_exactly(client, 6) == b"answer"
    client.close(), behind.close()
    p.wait_row(open=0)


def test_a_way_that_has_ended_stays_so_whatever_changes(proxy, target):
    p = proxy("fault=fin-up@up=3")
    client, behind = p.pair(target)
    client.sendall(b"12345")
    assert read_all(behind) == b"123"
    p.change("latency=1ms")
    client.sendall(b"nobody hears that")
    p.wait_row(bytes_dropped=2 + 17)
    behind.sendall(b"answer")
    assert read_exactly(client, 6) == b"answer"
    client.close(), behind.close()
    row = p.wait_row(open=0)
    assert row["closed"] == 1 and row["bytes_up"] == 3


@pytest.mark.parametrize("second", ["hang", "fin", "rst-up"])
def test_a_reset_that_waits_for_its_receiver_goes_before_what_strikes_at_the_same_byte(proxy, target, second):
    p = proxy(f"fault=rst@down=64k,{second}@down=64k")
    client = socket.socket()
    client.settimeout(IO_SECONDS)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # takes less than the fault's place
    host, port = p.listens[0].rsplit(":", 1)
    client.connect((host, int(port)))
    behind = target.accept()
    behind.sendall(bytes(1 << 17))
    p.wait_row(faults={**p.row()["faults"], "rst": 1})
    assert get(p.api).status == 200
    row = p.wait_row(open=0, struck=1)
    assert row["bytes_down"] == 1 << 16 and row["faults"][second] == 0
    assert is_reset(client)


def test_half_open_one_way_hangs_and_the_other_flows(proxy, target):
    p = proxy("fault=hang-down@down=3")
    client, behind = p.pair(target)
    behind.sendall(b"12345")
    assert read_exactly(client, 3) == b"123"
    behind.sendall(bytes(5 << 20))  # taken, all of it
    assert is_silent(client)
    client.sendall(b"hello?")
    assert read_exactly(behind, 6) == b"hello?"
    client.close(), behind.close()
    row = p.wait_row(open=0)
    assert row["bytes_down"] == 3 and row["bytes_dropped"] == 2 + (5 << 20)


@pytest.mark.parametrize("place, arrives", [("", b""), ("@up=4", b"0123")])
def test_a_black_hole_takes_everything_and_passes_nothing(proxy, target, place, arrives):
    p = proxy(f"fault=hang{place}")
    client = p.connect()
    client.sendall(b"0123456789")
    client.sendall(bytes(5 << 20))
    if arrives:
        behind = target.accept()
        assert read_exactly(behind, len(arrives)) == arrives
        assert is_silent(behind)
    assert is_silent(client)
    p.wait_row(open=1, bytes_dropped=(5 << 20) + 10 - len(arrives))  # told while it hangs
    client.close()
    row = p.wait_row(open=0, struck=1)  # the client has given up: so has the proxy
    assert row["bytes_dropped"] == (5 << 20) + 10 - len(arrives)


@pytest.mark.parametrize("place", ["", "@time=0", "@down=1"])
def test_a_hang_with_a_time_holds_what_comes_and_passes_it_on(proxy, target, place):
    p = proxy(f"fault=hang=400ms{place}")
    client = p.connect()
    start = time.monotonic()
    behind = target.accept()
    behind.sendall(b"0123456789")
    assert read_exactly(client, 10) == b"0123456789"
    assert time.monotonic() - start >= 0.35  # `start` is a moment after the accept
    assert p.row()["bytes_dropped"] == 0


def test_probabilities_are_rolled_per_connection_and_counted_as_clients_saw_them(proxy, target):
    seen = []
    for _ in range(2):
        p = proxy("fault=refuse:30,rst@down=1:50", args=("--seed", "8"))
        runs = ""
        for _ in range(100):
            before = p.row()["struck"]
            try:
                client, behind = connect_or_not(p, target, before)
            except ConnectionResetError:
                runs += "r"
                continue
            behind.sendall(b"xy")
            with contextlib.suppress(OSError):  # the fault may be faster
                behind.shutdown(socket.SHUT_WR)
            runs += "c" if is_reset(client) else "."
            client.close(), behind.close()
        row = p.wait_row(open=0)
        assert (row["faults"]["refuse"], row["faults"]["rst"]) == (runs.count("r"), runs.count("c"))
        assert row["struck"] == runs.count("r") + runs.count("c") and 15 <= runs.count("r") <= 45
        assert 20 <= runs.count("c") <= 55
        seen.append(runs)
    assert seen[0] == seen[1]


def connect_or_not(p, target, struck):
    """A pair; ConnectionResetError: the client was refused."""
    client = p.connect()
    target.listener.settimeout(0.01)
    while True:
        with contextlib.suppress(TimeoutError):
            return client, target.accept()
        if p.row()["struck"] > struck:
            raise ConnectionResetError


# --- the target ------------------------------------------------------------------------------


def test_a_target_that_refuses_resets_the_client(proxy, target):
    p = proxy()
    target.close()
    assert p.is_turned_away()
    p.wait_row(open=0, connect_failed=1)
    assert 'error="Connection refused"' in p.api.stderr()


def test_the_target_is_connected_to_after_its_delay(proxy, target):
    p = proxy("connect-delay=300ms")
    start = time.monotonic()
    client = p.connect()
    client.sendall(b"early")
    behind = target.accept()
    assert time.monotonic() - start >= 0.3
    assert read_exactly(behind, 5) == b"early"


def test_changes_neither_begin_the_delay_of_a_connect_anew_nor_refuse(proxy, target):
    p = proxy("connect-delay=2s")
    client = p.connect()
    before = time.monotonic()
    p.wait_row(open=1)
    target.listener.settimeout(0.05)
    while time.monotonic() < before + IO_SECONDS:
        p.change("fault=refuse", "PATCH")
        with contextlib.suppress(TimeoutError):
            behind = target.accept()
            break
    assert time.monotonic() - before >= 1.9
    client.sendall(b"x")
    assert read_exactly(behind, 1) == b"x"
    assert p.row()["faults"]["refuse"] == 0


def test_a_target_that_does_not_answer_is_given_up(slowapi):
    full = Target(backlog=0)
    waiting = []
    for _ in range(4):  # more than the backlog takes: the kernel drops the rest
        sock = socket.socket()
        sock.setblocking(False)
        sock.connect_ex(full.address)
        waiting.append(sock)
    p = Proxies(slowapi, f"127.0.0.1:0={full.text}?connect-timeout=300ms")
    start = time.monotonic()
    assert is_reset(p.connect()) and time.monotonic() - start >= 0.3
    p.wait_row(open=0, connect_failed=1)


def test_a_client_that_leaves_while_the_target_is_awaited_is_let_go(proxy):
    p = proxy("connect-delay=1h")
    client = p.connect()
    p.wait_row(open=1)
    reset(client)
    p.wait_row(open=0, client_resets=1)


def test_no_more_connections_than_allowed(proxy, target):
    p = proxy("connections=2", args=("-w", 2))
    pairs = [p.pair(target) for _ in range(2)]
    assert p.is_turned_away() and p.is_turned_away()
    row = p.wait_row(open=2, limited=2)
    assert row["connections"] == 4
    pairs[0][0].close(), pairs[0][1].close()
    p.wait_row(open=1)
    client, _behind = p.pair(target)
    client.close()


# --- changes at run time ---------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 3])
def test_living_connections_take_changes_over(proxy, target, workers):
    p = proxy(args=("-w", workers))
    pairs = [p.pair(target) for _ in range(6)]
    by_port = {client.getsockname()[1]: client for client, _ in pairs}
    assert len(by_port) == 6
    p.change("fault=hang-down=1h")
    wait_for(lambda: p.row()["faults"]["hang-down"] == 6)
    for client, behind in pairs:
        behind.sendall(b"held")
    assert all(is_silent(client, 0.05) for client, _ in pairs)
    p.change("")
    for client, _ in pairs:
        assert read_exactly(client, 4) == b"held"
    p.change("fault=rst")
    assert all(is_reset(client) for client, _ in pairs)
    p.wait_row(open=0, struck=6)


@pytest.mark.parametrize("workers", [1, 3])
def test_a_proxy_goes_down_and_comes_back(proxy, target, workers):
    p = proxy(args=("-w", workers))
    pairs = [p.pair(target) for _ in range(6)]
    for _ in range(3):
        p.change("enabled=false")
        with pytest.raises(ConnectionRefusedError):
            p.connect()
        for client, behind in pairs:
            assert is_reset(client) and is_reset(behind)
        p.wait_row(open=0)
        p.change("enabled=true")
        pairs = [p.pair(target) for _ in range(6)]
        pairs[0][0].sendall(b"x")
    assert p.row()["stopped"] == 18


def test_a_proxy_may_be_down_from_the_start_and_one_of_a_unix_socket_closes(slowapi, target, tmp_path):
    p = Proxies(slowapi, f"127.0.0.1:0={target.text}?enabled=false", f"unix:{tmp_path}/s={target.text}")
    with pytest.raises(ConnectionRefusedError):
        p.connect(0)
    p.change("enabled=false", index=1)
    assert p.is_turned_away(1) or True  # a unix socket has no reset of its own
    p.wait_row(1, open=0, stopped=1)
    for index in (0, 1):
        p.change("enabled=true", index=index)
        client, behind = p.pair(target, index)
        client.sendall(b"x")
        assert read_exactly(behind, 1) == b"x"


def test_a_proxy_that_cannot_come_back_says_so_and_stays_down(proxy):
    p = proxy()
    p.change("enabled=false")
    host, port = p.listens[0].rsplit(":", 1)
    with socket.create_server((host, int(port))):
        reply = p.ask("PUT", f"listen={p.listens[0]}", "")
        assert reply.status == 503 and "Address already in use" in reply.text
        assert p.row()["enabled"] is False and p.row()["toxics"] == "enabled=false"
    assert p.change("")["enabled"] is True
    p.connect().close()


def test_a_unix_socket_of_a_proxy_goes_with_it(slowapi, target, tmp_path):
    p = Proxies(slowapi, f"unix:{tmp_path}/s={target.text}", args=("-w", 2))
    client, _behind = p.pair(target)
    p.api.stop()
    assert client.recv(1) == b"" and not (tmp_path / "s").exists()


def test_put_replaces_patch_lays_over_delete_restores(proxy):
    p = proxy("latency=1s@both&slice=5&name=db")
    assert p.row()["toxics"] == "latency=1s@both&slice=5"

    def patch(text):
        reply = p.ask("PATCH", "name=db", text)
        assert reply.status == 200, reply.text
        return json.loads(reply.text)[0]["toxics"]

    assert patch("latency=2s@up\n") == "latency=1s@down&slice=5&latency=2s@up"
    assert patch("bandwidth=1k&slice=") == "latency=1s@down&latency=2s@up&bandwidth=1k"
    assert patch("latency=&fault=rst:5") == "bandwidth=1k&fault=rst:5"
    assert json.loads(p.ask("PUT", "name=db", "jitter=5ms").text)[0]["toxics"] == "jitter=5ms"
    assert json.loads(p.ask("DELETE", "name=db").text)[0]["toxics"] == "latency=1s@both&slice=5"
    p.ask("PUT", "name=db", "jitter=5ms")
    assert json.loads(p.ask("DELETE").text)[0]["toxics"] == "latency=1s@both&slice=5"


@pytest.mark.parametrize(
    "query, text, status, words",
    [
        ("name=db", "latency=soon", 400, "latency=soon is not"),
        ("name=db", "latency=1s&slice=0", 400, "slice=0 has a size"),
        ("name=db", "fault=explode", 400, "names a fault that is not known"),
        ("name=db", "fault=rst@head", 400, "has a place that is not"),
        ("name=db", "fault=refuse@time=1s", 400, "where this fault cannot strike"),
        ("name=db", "fault=rst=5s", 400, "takes none"),
        ("name=db", "fault=rst:101", 400, "probability"),
        ("name=db", "toxicity=200", 400, "percent"),
        ("name=db", "bandwidth=0", 400, "out of range"),
        ("name=db", "delay=1s", 400, "delay is not a parameter of --tcp"),
        ("name=db", "name=other", 400, "only the command line"),
        ("name=db", "enabled=maybe", 400, "neither true nor false"),
        ("name=db", "connect-timeout=0", 400, "nothing connects"),
        ("name=db", "latency=1s&" * 300, 400, "bytes"),
        ("name=db", "latency=1s\0", 400, "a byte that is 0"),
        ("name=nobody", "latency=1s", 404, "no proxy has the name 'nobody'"),
        ("listen=1.2.3.4:5", "latency=1s", 404, "no proxy has the address"),
        ("", "latency=1s", 400, "the query must be"),
    ],
)
def test_a_wrong_change_is_told_in_one_line_and_changes_nothing(proxy, query, text, status, words):
    p = proxy("latency=1s@both&name=db")
    for method in ("PUT", "PATCH"):
        reply = p.ask(method, query, text)
        assert reply.status == status and words in reply.text and reply.text.count("\n") == 1
        assert p.row()["toxics"] == "latency=1s@both"


def test_without_proxies_tcp_says_so(slowapi):
    reply = get(control(slowapi("--control", "127.0.0.1:0")), "/tcp")
    assert reply.status == 404 and "--tcp" in reply.text


@pytest.mark.parametrize(
    "value, words",
    [
        ("5433", "LISTEN=TARGET"),
        ("127.0.0.1:0=", "LISTEN=TARGET"),
        ("=127.0.0.1:5", "LISTEN=TARGET"),
        ("127.0.0.1:0=127.0.0.1:0", "LISTEN=TARGET"),
        ("0=1?latency=x", "latency=x is not"),
        ("0=1?nope=x", "nope is not a parameter of --tcp"),
        ("0=1?name=a b", "characters that are none of"),
        ("0=unix:/x?mode=0600", "mode is not a parameter of --tcp"),
    ],
)
def test_a_wrong_option_is_told_in_one_line(srv_run, value, words):
    done = srv_run("slowapi", "-b", "127.0.0.1:0", "--tcp", value)
    assert done.returncode == 2 and "--tcp" in done.stderr and words in done.stderr
    assert done.stderr.count("\n") == 1


def test_two_proxies_of_one_name_are_refused(srv_run):
    done = srv_run("slowapi", "-b", "127.0.0.1:0", "--tcp", "0=1?name=a", "--tcp", "0=1?name=a")
    assert done.returncode != 0 and "two proxies have the name a" in done.stderr


def test_statistics_are_reset(proxy, target):
    p = proxy("fault=rst@down=1")
    client, behind = p.pair(target)
    behind.sendall(b"xy")
    assert is_reset(client)
    p.wait_row(open=0, struck=1)
    assert request(control(p.api), "DELETE", "/stats").status == 200
    row = p.row()
    assert row["connections"] == row["struck"] == row["bytes_down"] == row["faults"]["rst"] == 0


# --- the end, and the log --------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 2])
def test_a_graceful_stop_lets_bytes_arrive_and_closes_what_is_quiet(proxy, target, workers):
    p = proxy("latency=1500ms", args=("-w", workers))
    client, behind = p.pair(target)
    idle, behind_idle = p.pair(target)
    behind.sendall(b"late but whole")
    wait_for(lambda: p.row()["open"] == 2)
    time.sleep(0.3)  # the proxy has taken it
    p.api.send_signal(signal.SIGTERM)
    assert read_exactly(client, 14) == b"late but whole"
    assert read_all(client) == b"" and read_all(idle) == b""
    assert read_all(behind) == b"" and read_all(behind_idle) == b""
    assert p.api.wait() == 0


def test_a_killed_server_leaves_nothing(slowapi, target):
    p = Proxies(slowapi, f"127.0.0.1:0={target.text}", args=("-w", 2))
    client, behind = p.pair(target)
    client.sendall(b"x")
    assert read_exactly(behind, 1) == b"x"
    os.kill(p.api.pid, signal.SIGKILL)
    p.api.process.wait()
    with contextlib.suppress(ConnectionResetError):
        assert client.recv(1) == b""
    with contextlib.suppress(ConnectionResetError):
        assert behind.recv(1) == b""

    def is_free():
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                sock.bind(("127.0.0.1", int(p.listens[0].rsplit(":", 1)[1])))
                return True

    wait_for(is_free)


def test_a_killed_worker_takes_its_connections_out_of_the_count(proxy, target):
    p = proxy(args=("-w", 2))
    pairs = [p.pair(target) for _ in range(10)]
    for pid in Path(f"/proc/{p.api.pid}/task/{p.api.pid}/children").read_text().split():
        os.kill(int(pid), signal.SIGKILL)
    for client, behind in pairs:
        with contextlib.suppress(ConnectionResetError):
            assert client.recv(1) == b""
    wait_for(lambda: (row := safe_row(p)) and row["open"] == 0 and row["stopped"] == 10)
    client, behind = p.pair(target)
    client.sendall(b"x")
    assert read_exactly(behind, 1) == b"x"


def safe_row(p):
    with contextlib.suppress(OSError):
        return p.row()


def test_each_connection_is_a_line_of_the_access_log(proxy, target, tmp_path):
    log = tmp_path / "access.log"
    p = proxy("name=db&fault=rst@down=3:100", args=("--access-logfile", log))
    client, behind = p.pair(target)
    client.sendall(b"hello")
    assert read_exactly(behind, 5) == b"hello"
    behind.sendall(b"12345")
    assert is_reset(client)
    line = json.loads(wait_for(lambda: log.exists() and log.read_text()))
    assert (line["tcp"], line["target"], line["outcome"]) == ("db", target.text, "fault")
    assert (line["bytes_up"], line["bytes_down"], line["bytes_dropped"]) == (5, 3, 2)
    assert line["faults"] == ["rst"] and line["client"] == "%s:%d" % client.getsockname()
    assert line["total_ms"] >= line["connect_ms"] >= 0
