# SPDX-License-Identifier: MIT
"""Bandwidths of answers and uploads, alone and shared; connections that are cut after so many bytes or so much time."""

import json
import re
import socket
import ssl
import threading
import time

import pytest
from harness import Client, RawConnection, connect, everything, get, wait_for
from test_slowapi_shapes import Control, at_once, timed

K = 1024


def head(target, method="GET", more=""):
    return f"{method} {target} HTTP/1.1\r\nHost: x\r\n{more}\r\n".encode()


def whole(api, target):
    """The answer as it comes without a fault, with `Connection: close`."""
    with RawConnection(api) as conn:
        conn.send(head(target, more="Connection: close\r\n"))
        return everything(conn)[0]


def without_date(data):
    return re.sub(rb"Date: [^\r]*", b"Date:", data)


# --- after so many bytes of the answer ------------------------------------------------


@pytest.mark.parametrize("end", ["fin", "rst"])
@pytest.mark.parametrize("at", [0, 1, 17, 200, 5000, 20 * K, 70000])
@pytest.mark.parametrize("path", ["/bytes/80000?seed=1", "/stream-bytes/80000?seed=1&chunk_size=1000", "/stream/2000?seed=1"])
def test_the_connection_ends_after_exactly_so_many_bytes(slowapi, end, at, path):
    api = slowapi("--control", "0", "--access-logfile", "-")
    with RawConnection(api) as conn:
        conn.send(head(f"{path}&fault={end}@{at}b", more="Connection: close\r\n"))
        data, how = everything(conn)
    assert (len(data), how) == (at, end)
    head_end = data.find(b"\r\n\r\n")
    if head_end >= 0 and "/bytes/" in path:  # the body is the one that would have come
        assert whole(api, path).partition(b"\r\n\r\n")[2].startswith(data[head_end + 4 :])
    wait_for(lambda: Control(api).stats()["in_flight"] == 0, what="the end of the request")
    assert Control(api).stats()["faults"][end] == 1


def test_a_reset_leaves_all_that_was_sent_before_it(slowapi):
    """As much as a close would, also in many small pieces, which the kernel sends by and by."""
    api = slowapi("--delay", "0")
    ends = {}
    for end in ("fin", "rst"):
        with RawConnection(api) as conn:
            conn.send(head(f"/stream/2000?fault={end}@50%25"))
            ends[end] = everything(conn)
    assert [how for _, how in ends.values()] == ["fin", "rst"]
    assert len(ends["fin"][0].partition(b"\r\n\r\n")[2]) == len(ends["rst"][0].partition(b"\r\n\r\n")[2]) > 30000


def test_what_the_log_and_the_statistics_tell_of_a_cut(slowapi, tmp_path):
    log = tmp_path / "log"
    api = slowapi("--control", "0", "--access-logfile", str(log), "--journal", "10")
    sizes = []
    for path in ("/bytes/50000", "/stream-bytes/50000?chunk_size=1000"):
        with RawConnection(api) as conn:
            conn.send(head(path + ("&" if "?" in path else "?") + "fault=fin@10k"))
            data, _ = everything(conn)
        body = data.partition(b"\r\n\r\n")[2]
        assert len(data) == 10 * K
        if "stream" in path:
            pieces = re.split(rb"3e8\r\n", body)[1:]
            sizes.append(sum(min(len(piece), 1000) for piece in pieces))
        else:
            sizes.append(len(body))
    wait_for(lambda: log.exists() and log.read_text().count("\n") == 2, what="both lines")
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [line["bytes"] for line in lines] == sizes
    assert [line["faults"] for line in lines] == [["fin@10k"]] * 2 and {line["outcome"] for line in lines} == {"closed"}
    stats = Control(api).stats()
    assert stats["faults"]["fin"] == 2 and stats["status"]["2xx"] == 2 and stats["answers"] == 0


@pytest.mark.parametrize("at", ["0b", "10b", "300b", "9k", "60000b"])
def test_an_answer_that_hangs_after_so_many_bytes_goes_on_whole(slowapi, at):
    api = slowapi("--delay", "0")
    path = "/bytes/50000?seed=3"
    size = int(at[:-1]) * (K if at[-1] == "k" else 1)
    with RawConnection(api) as conn:
        begin = time.monotonic()
        conn.send(head(f"{path}&fault=hang=700ms@{at}", more="Connection: close\r\n"))
        data = conn.read_exactly(min(size, 50000))
        data += everything(conn)[0]
        span = time.monotonic() - begin
    assert data.partition(b"\r\n\r\n")[2] == whole(api, path).partition(b"\r\n\r\n")[2]
    assert (span >= 0.69) == (size < 50000) or span >= 0.69


def test_an_answer_that_is_shorter_is_whole_and_the_connection_stays(slowapi):
    client = Client(slowapi("--delay", "0", "--control", "0"))
    assert [client.ask("GET", "/?fault=fin@10k,rst@1h").status for _ in range(3)] == [200] * 3


def test_two_hangs_and_an_end_in_one_piece(slowapi):
    api = slowapi("--delay", "0")
    with RawConnection(api) as conn:
        conn.send(head("/bytes/9000?fault=hang=200ms@300b,hang=200ms@400b,fin@500b"))
        (data, how), span = timed(lambda: everything(conn))
    assert (len(data), how) == (500, "fin") and span >= 0.39


# --- after so much time ---------------------------------------------------------------


@pytest.mark.parametrize("end", ["fin", "rst"])
@pytest.mark.parametrize(
    "asks",
    ["/?delay=60&", "/?delay=0&fault=hang,", "/?delay=0&fault=drip=1h,", "/sse?count=100&interval=100ms&delay=0&", "/drip?duration=30&numbytes=3000&"],
)
def test_the_connection_ends_after_so_much_time(slowapi, end, asks):
    api = slowapi("--control", "0")
    with RawConnection(api) as conn:
        conn.send(head(asks + ("" if asks.endswith(",") else "fault=") + f"{end}@400ms"))
        (data, how), span = timed(lambda: everything(conn))
    assert how == end and 0.39 <= span < 15
    wait_for(lambda: Control(api).stats()["in_flight"] == 0, what="the end of the request")
    stats = Control(api).stats()
    assert stats["faults"][end] == 1 and stats["answers"] == 0


def test_the_time_counts_while_the_body_of_the_request_comes(slowapi):
    api = slowapi("--control", "0")
    with RawConnection(api) as conn:
        conn.send(head("/?delay=0&fault=rst@300ms", "POST", "Content-Length: 100\r\n") + b"half")
        (data, how), span = timed(lambda: everything(conn))
    assert (data, how) == (b"", "rst") and 0.29 <= span < 15


def test_the_time_counts_while_the_client_takes_nothing(slowapi):
    api = slowapi("--control", "0")
    with RawConnection(api) as conn:
        conn.send(head("/bytes/100m?fault=fin@500ms"))
        wait_for(lambda: Control(api).stats()["in_flight"] == 0, what="the end of the request")
        assert Control(api).stats()["faults"]["fin"] == 1
        assert len(everything(conn)[0]) < 100 * K * K


@pytest.mark.parametrize("end", ["fin", "rst", "tls-cut", "tls-close", "truncate"])
@pytest.mark.parametrize("takes", [False, True])
def test_a_connection_over_tls_ends_in_time_whatever_its_client_takes(slowapi, end, takes):
    api = slowapi("--bind", "https://127.0.0.1:0", "--control", "0")
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with context.wrap_socket(connect(api)) as sock:
        sock.sendall(head(f"/bytes/900m?fault={end}@300ms"))
        if not takes:
            wait_for(lambda: Control(api).stats()["in_flight"] == 0, what="the end of the request")
        size = 0
        try:
            while piece := sock.recv(65536):
                size += len(piece)
        except (ssl.SSLError, ConnectionResetError):
            pass
        assert 0 < size < 900 * K * K
    wait_for(lambda: Control(api).stats()["in_flight"] == 0, what="the end of the request")
    assert Control(api).stats()["faults"][end] == 1


def test_a_hang_at_a_time(slowapi):
    api = slowapi("--delay", "0")
    assert 0.79 <= timed(lambda: get(api, "/?delay=300ms&fault=hang=600ms@200ms"))[1] < 15  # silent from 0.2 to 0.8 s
    assert timed(lambda: get(api, "/?delay=1s&fault=hang=100ms@200ms"))[1] >= 0.99  # silent anyway
    with RawConnection(api) as conn:
        conn.send(head("/sse?count=100&interval=100ms&delay=0&fault=hang@350ms,fin@1s"))
        data, _ = everything(conn)
        assert data.count(b"event: ping") <= 4


@pytest.mark.parametrize("value", ["fin@1m", "fin@512", "fin@2.5m", "rst@-1s", "rst@5x", "rst@1us@2", "drip@10k", "length@2s", "corrupt@1k", "fin@9999999g", "hang@400000h", "rst@upload"])
def test_places_that_are_none(slowapi, srv_run, value):
    done = srv_run("slowapi", "--params", f"fault={value}")
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and value.split("@")[0] in done.stderr


@pytest.mark.parametrize("value", ["fin@512b", "fin@10k", "fin@1024k", "fin@3g", "rst@0b", "rst@300500ms", "rst@60s", "rst@1h", "rst@90000.5ms", "bandwidth=10240@upload"])
def test_places_are_told_as_they_can_be_asked_for(slowapi, value):
    api = slowapi("--delay", "1h")
    told = get(api, f"/?delay=0&status=201&fault={value}:100,hang=1ms").headers if value[:5] not in ("rst@0",) else None
    if told is not None:
        again = get(api, f"/?delay=0&fault={told['x-slowapi-fault'].split(',')[0]}").headers["x-slowapi-fault"]
        assert again == told["x-slowapi-fault"].split(",")[0]


# --- bandwidth of an upload -----------------------------------------------------------


@pytest.mark.parametrize("path", ["/?delay=0", "/anything?delay=0"])
@pytest.mark.parametrize("chunked", [False, True])
def test_an_upload_takes_its_time(slowapi, path, chunked):
    api = slowapi("--control", "0")
    body = b"x" * 100 * K

    def upload():
        with RawConnection(api) as conn:
            more = "Transfer-Encoding: chunked\r\n" if chunked else f"Content-Length: {len(body)}\r\n"
            conn.send(head(path + "&fault=bandwidth=100k@upload", "POST", more))
            for at in range(0, len(body), 5000):
                piece = body[at : at + 5000]
                conn.send(b"%x\r\n%s\r\n" % (len(piece), piece) if chunked else piece)
            if chunked:
                conn.send(b"0\r\n\r\n")
            return conn.read_response()

    reply, span = timed(upload)
    assert reply.status == 200 and 0.98 <= span < 15
    assert Control(api).stats()["faults"]["bandwidth"] == 1
    assert "bandwidth=102400@upload" in reply.headers["x-slowapi-fault"]


def test_the_delay_begins_when_the_link_has_carried_the_request(slowapi):
    api = slowapi("--delay", "0")
    client = Client(api)
    reply, span = timed(lambda: client.ask("POST", "/?delay=300ms&fault=bandwidth=10k@upload", b"x" * 5000))
    assert reply.status == 200 and span >= 5000 / 10240 + 0.29
    assert timed(lambda: client.ask("POST", "/?delay=0", b"x" * 100000))[1] < 9  # the next one on the connection is not paced


def test_the_client_feels_the_pace_of_its_upload(slowapi):
    api = slowapi("--delay", "0")
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 32 * K)
        sock.connect((api.host, api.port))
        sock.sendall(head("/?delay=0&fault=bandwidth=50k@upload", "POST", f"Content-Length: {64 * K * K}\r\n"))
        begin = time.monotonic()
        sock.settimeout(1.5)
        sent = 0
        try:
            while sent < 64 * K * K:
                sent += sock.send(b"x" * 65536)
        except TimeoutError:
            pass
        took = time.monotonic() - begin
        assert sent < 600 * K + 50 * K * took  # buffers of both sides, and the pace
        assert get(api).status == 200


def test_an_upload_that_is_cut(slowapi):
    api = slowapi("--control", "0")
    with RawConnection(api) as conn:
        conn.send(head("/?delay=0&fault=bandwidth=1k@upload,rst@500ms", "POST", "Content-Length: 50000\r\n") + b"x" * 50000)
        (data, how), span = timed(lambda: everything(conn))
    assert (data, how) == (b"", "rst") and 0.49 <= span < 15
    assert Control(api).stats()["faults"]["bandwidth"] == 1


# --- bandwidths that are shared -------------------------------------------------------


def best_of(count, work, good):
    """Work that is measured by the clock, again when the machine had other things to do."""
    results = []
    for _ in range(count):
        results.append(work())
        if good(results[-1]):
            break
    return results


RATE = 400 * K


def download(api, fault, size, results):
    with RawConnection(api) as conn:
        conn.send(head(f"/bytes/{size}?{fault}", more="Connection: close\r\n"))
        results.append(len(everything(conn)[0].partition(b"\r\n\r\n")[2]))


def upload(api, fault, size, results):
    body = b"x" * size
    with RawConnection(api) as conn:
        conn.send(head(f"/?delay=0&{fault}@upload", "POST", f"Content-Length: {size}\r\n") + body)
        assert conn.read_response().status == 200
        results.append(size)


@pytest.mark.parametrize("move", [download, upload])
@pytest.mark.parametrize("connections", [1, 4, 64])
@pytest.mark.parametrize("workers", [1, 2])
def test_a_shared_bandwidth_is_kept_over_connections_and_workers(slowapi, move, connections, workers):
    api = slowapi("-w", str(workers), "--control", "0")
    size = RATE * 2 // connections

    def run(number=[0]):
        number[0] += 1  # each run has a link of its own
        results = []
        fault = f"key=run{number[0]}&fault=shared-bandwidth={RATE}"
        span = timed(lambda: at_once(connections, lambda _: move(api, fault, size, results)))[1]
        assert results == [size] * connections
        return span / (size * connections / RATE)

    ratios = best_of(6, run, lambda ratio: ratio <= 1.02)
    assert min(ratios) >= 0.98 and ratios[-1] <= 1.02, ratios
    assert Control(api).stats()["faults"]["shared-bandwidth"] == connections * len(ratios)


def test_keys_and_directions_have_links_of_their_own(slowapi):
    api = slowapi("--delay", "0")
    fault = f"fault=shared-bandwidth={RATE}"

    def run():
        results, threads = [], []
        for key in "ab":
            for move in (download, upload):
                threads.append(threading.Thread(target=move, args=(api, f"key={key}&{fault}", RATE, results)))
        begin = time.monotonic()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert results == [RATE] * 4
        return time.monotonic() - begin

    spans = best_of(5, run, lambda span: span < 1.9)
    assert min(spans) >= 0.98 and spans[-1] < 1.9, spans


def test_connections_share_fairly_and_each_has_its_own_bandwidth_too(slowapi):
    api = slowapi("--delay", "0", "--params", f"fault=shared-bandwidth={RATE},bandwidth={RATE // 8}")
    results = []
    begin = time.monotonic()
    download(api, "", RATE // 8, results)
    assert time.monotonic() - begin >= 0.98  # alone it gets an eighth
    with connect(api) as slow, connect(api) as fast:
        for sock in (slow, fast):
            sock.sendall(head("/bytes/10m?fault=shared-bandwidth=100k"))
        time.sleep(1)
        for sock in (slow, fast):
            sock.settimeout(0)
        got = [len(sock.recv(1 << 20)) for sock in (slow, fast)]
        assert max(got) < 2 * min(got)


def test_a_client_that_takes_nothing_does_not_hold_the_others(slowapi):
    api = slowapi("--delay", "0")
    with connect(api) as idle:
        idle.sendall(head("/bytes/100m?fault=shared-bandwidth=1g"))
        results = []
        begin = time.monotonic()
        download(api, "fault=shared-bandwidth=1g", 1 << 20, results)
        assert results == [1 << 20] and time.monotonic() - begin < 15
