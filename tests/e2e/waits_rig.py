# SPDX-License-Identifier: MIT
"""A program whose threads wait as the test asks: one word for each thread. Prints where its sockets are, as JSON.

    python3 waits_rig.py FOLDER recv recv sleep lock ...
"""

import ctypes
import fcntl
import hashlib
import json
import os
import select
import socket
import subprocess
import sys
import threading
import time

libc = ctypes.CDLL(None)
kept = []
where = {}


def keep(*things):
    kept.extend(things)
    return things[0] if len(things) == 1 else things


def pair(family=socket.AF_INET, host="127.0.0.1"):
    """(client, accepted), through a listener of their own whose address is where[...]."""
    listener = keep(socket.create_server((host, 0), family=family))
    client = keep(socket.create_connection(listener.getsockname()[:2]))
    return client, keep(listener.accept()[0])


def name(sock):
    host, port = sock.getsockname()[:2] if sock in servers else sock.getpeername()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


servers = set()
client, accepted = pair()
client6, _ = pair(socket.AF_INET6, "::1")
servers.add(accepted)
where["peer"], where["peer6"] = name(client), name(client6)
where["client"] = name(accepted)
a, b = keep(*socket.socketpair())
read_end, write_end = os.pipe()
mutex = ctypes.create_string_buffer(64)
libc.pthread_mutex_lock(mutex)
semaphore = threading.Lock()
semaphore.acquire()


def recv():
    client.recv(1)


def recv6():
    client6.recv(1)


def recv_client():
    accepted.recv(1)


def recv_pair():
    a.recv(1)


def send():
    mine, _ = pair()
    where["sent_to"] = name(mine)
    while True:
        mine.send(b"x" * 1000000)


def accept():
    listener = keep(socket.create_server(("127.0.0.1", 0)))
    where["listener"] = "%s:%d" % listener.getsockname()
    listener.accept()


def accept_unix():
    listener = keep(socket.socket(socket.AF_UNIX))
    listener.bind("odd\n\x01\udcff\"'.sock")
    listener.listen()
    listener.accept()


def connect():
    """To a listener that takes nobody more."""
    listener = keep(socket.socket())
    listener.bind(("127.0.0.1", 0))
    listener.listen(0)
    where["full"] = "%s:%d" % listener.getsockname()
    while True:
        sock = keep(socket.socket())
        sock.setblocking(False)
        sock.connect_ex(listener.getsockname())
        if not select.select([], [sock], [], 0.2)[1]:
            break
    sock.setblocking(True)
    keep(socket.socket()).connect(listener.getsockname())


def poll_one():
    poll = select.poll()
    poll.register(client, select.POLLIN)
    poll.poll()


def poll_woken():
    """One that counts, and a pipe."""
    select.select([client, read_end], [], [])


def poll_accept():
    listener = keep(socket.create_server(("127.0.0.1", 0)))
    where["polled_listener"] = "%s:%d" % listener.getsockname()
    select.select([listener], [], [])


def poll_two():
    select.select([client, client6], [], [])


def poll_nothing():
    select.poll().poll(1000_000)


def epoll():
    fd = keep(select.epoll())
    for sock in (client, client6, a):
        fd.register(sock, select.EPOLLIN)
    fd.poll()


def sleep():
    time.sleep(1000)


def lock():
    libc.pthread_mutex_lock(mutex)


def condition():
    semaphore.acquire()


def thread():
    """Of one that Python does not know, which pauses."""
    other = ctypes.c_ulong()
    libc.pthread_create(ctypes.byref(other), None, libc.pause, None)
    libc.pthread_join(other, None)


def child():
    process = keep(subprocess.Popen(["sleep", "1000"], preexec_fn=lambda: libc.prctl(1, 9)))
    process.wait()


def pipe():
    os.read(read_end, 1)


def event():
    fd = os.eventfd(0) if hasattr(os, "eventfd") else libc.eventfd(0, 0)
    os.read(fd, 8)


def flock():
    with open("file\n\udcff", "w") as first, open("file\n\udcff", "w") as second:
        fcntl.flock(first, fcntl.LOCK_EX)
        fcntl.flock(second, fcntl.LOCK_EX)


def lockf():
    """Held by another process."""
    holder = "import fcntl, time; f = open('ranges', 'w'); fcntl.lockf(f, fcntl.LOCK_EX); print(1, flush=True); time.sleep(1000)"
    process = keep(subprocess.Popen([sys.executable, "-c", holder], stdout=subprocess.PIPE, preexec_fn=lambda: libc.prctl(1, 9)))
    process.stdout.readline()
    with open("ranges", "w") as mine:
        fcntl.lockf(mine, fcntl.LOCK_EX)


def cpu():
    while True:
        hashlib.pbkdf2_hmac("sha1", b"", b"", 10_000_000)


def none():
    """Ends at once: a thread that comes and goes."""


def churn():
    while True:
        other = threading.Thread(target=none)
        other.start()
        other.join()


os.chdir(sys.argv[1])
threading.stack_size(256 * 1024)
for word in sys.argv[2:]:
    word, _, count = word.partition("=")
    for _ in range(int(count or 1)):
        threading.Thread(target=globals()[word], daemon=True).start()
needed = {"send": "sent_to", "accept": "listener", "connect": "full", "poll_accept": "polled_listener"}
while not all(place in where for word, place in needed.items() if word in sys.argv):
    time.sleep(0.01)
print(json.dumps(where), flush=True)
select.select([sys.stdin], [], [])  # until the test goes
os._exit(0)
