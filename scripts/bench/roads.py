# SPDX-License-Identifier: MIT
"""CPU per request of nginx and of the app behind it, for every way to join the two."""

import contextlib
import shlex
import socket
import statistics
import sys

import probe
from actors import Actor, Load, start_nginx, start_srv
from peers import UWSGI, start_peer

KEEP = 'proxy_http_version 1.1; proxy_set_header Connection "";'
PARAMS = " ".join(
    f"uwsgi_param {name} ${value};"
    for name, value in {
        "REQUEST_METHOD": "request_method", "REQUEST_URI": "request_uri", "QUERY_STRING": "query_string",
        "PATH_INFO": "document_uri", "SERVER_PROTOCOL": "server_protocol", "SERVER_NAME": "server_name",
        "SERVER_PORT": "server_port", "REQUEST_SCHEME": "scheme", "REMOTE_ADDR": "remote_addr",
        "REMOTE_PORT": "remote_port", "CONTENT_TYPE": "content_type", "CONTENT_LENGTH": "content_length",
    }.items()
)  # fmt: skip
# name: (protocol of the app, what nginx's location says, whether nginx keeps connections)
ROADS = {
    "HTTP/1.0": ("http", "proxy_pass http://app; proxy_http_version 1.0;", False),
    "HTTP/1.1": ("http", "proxy_pass http://app; proxy_http_version 1.1;", False),
    "HTTP/1.1 keep-alive": ("http", f"proxy_pass http://app; {KEEP}", True),
    "uwsgi": ("uwsgi", f"uwsgi_pass app; {PARAMS}", False),
}


def start_proxy(args, name, app, location, keeps):
    keepalive = "keepalive 256; keepalive_requests 1000000000;" if keeps else ""
    http = f"upstream app {{ server {app.url.split('/')[2]}; {keepalive} }}"
    return start_nginx(name, http, location, cpu=args.other_cpu)


def start_roads(args, stack, api):
    """{name: (nginx, app)}"""
    pairs = {}
    for i, srv in enumerate(args.srv):
        for road, (protocol, location, keeps) in ROADS.items():
            name = road if len(args.srv) == 1 else f"{road} ({srv})"
            words = ("serve", "--model", args.model, "--protocol", protocol, "--keep-alive", "75s")
            words += ("--upstream", api.url, "--bind", "127.0.0.1:0")
            app = stack.enter_context(start_srv(name, srv, *words, cpu=args.subject_cpu))
            pairs[name] = stack.enter_context(start_proxy(args, name, app, location, keeps)), app
    return pairs


def start_uwsgi(args, stack, api):
    """(nginx, uWSGI with gevent), joined by uWSGI's own protocol, and by a port more that its probe can ask."""
    words = [word for word in UWSGI if word not in ("--add-header", "Connection: close")]
    words += ["--plugin", "gevent_python3", "--gevent", "2000", "--module", "patched:app", "--workers", "1"]
    port = free_port()
    peer = stack.enter_context(start_peer("uWSGI gevent", [*words, "--uwsgi-socket", f"127.0.0.1:{port}"], api.url))
    behind = Actor("uWSGI gevent", peer.process, f"uwsgi://127.0.0.1:{port}/", contextlib.nullcontext())
    return stack.enter_context(start_proxy(args, "uWSGI gevent", behind, ROADS["uwsgi"][1], False)), peer


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def cost(args, nginx, app):
    """(microseconds of nginx, of the app) per request under load."""
    command = args.load.format(connections=args.connections, seconds=args.seconds, url=nginx.url + "?delay=0")
    before = probe.cpu_ns(nginx.pid), probe.cpu_ns(app.pid)
    load = Load(shlex.split(command))
    return tuple((probe.cpu_ns(actor.pid) - start) / load.requests / 1000 for actor, start in zip((nginx, app), before))


def run(args):
    samples = {}
    with contextlib.ExitStack() as stack:
        api = stack.enter_context(start_srv("upstream", args.srv[0], "slowapi", "--bind", "127.0.0.1:0"))
        pairs = start_roads(args, stack, api)
        if args.peers:
            pairs["uWSGI gevent, uwsgi_pass"] = start_uwsgi(args, stack, api)
        for number in range(args.rounds):
            for name, pair in pairs.items():
                samples.setdefault(name, []).append(cost(args, *pair))
                print(f"round {number + 1}: {name}: %.1f + %.1f us" % samples[name][-1], file=sys.stderr)
    width = max(map(len, samples))
    print(f"{'road':{width}}  nginx us   app us  together")
    for name, values in samples.items():
        nginx, app, both = (
            statistics.median(column) for column in zip(*((nginx, app, nginx + app) for nginx, app in values))
        )
        print(f"{name:{width}}  {nginx:8.1f} {app:8.1f}  {both:8.1f}")
