# SPDX-License-Identifier: MIT
"""The real nginx, unprivileged, in a temporary folder, in front of an app that speaks http or uwsgi."""

import os
import shutil
import socket
import subprocess

import harness
import pytest

CONFIG = """
daemon off; master_process off; {user} pid {folder}/nginx.pid; error_log stderr warn;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_max_body_size 50m;
    large_client_header_buffers 16 8k;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; uwsgi_temp_path {folder}/uwsgi;
    fastcgi_temp_path {folder}/fastcgi; scgi_temp_path {folder}/scgi;
    upstream http {{ server {http}; keepalive 64; }}
    upstream uwsgi {{ server {uwsgi}; }}
    server {{
        listen 127.0.0.1:{http_port} backlog=1024;
        location / {{
            proxy_pass http://http; proxy_http_version 1.1; proxy_set_header Connection "";
            proxy_set_header Host $http_host; proxy_set_header X-Real-IP $remote_addr;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_set_header X-Forwarded-Proto $scheme; {extra}
        }}
    }}
    server {{
        listen 127.0.0.1:{uwsgi_port} backlog=1024;
        location / {{ uwsgi_pass uwsgi; include {params}; uwsgi_param REQUEST_SCHEME $scheme; {extra} }}
    }}
}}
"""
PARAMS = """
uwsgi_param QUERY_STRING $query_string; uwsgi_param REQUEST_METHOD $request_method;
uwsgi_param CONTENT_TYPE $content_type; uwsgi_param CONTENT_LENGTH $content_length;
uwsgi_param REQUEST_URI $request_uri; uwsgi_param PATH_INFO $document_uri;
uwsgi_param DOCUMENT_ROOT $document_root; uwsgi_param SERVER_PROTOCOL $server_protocol;
uwsgi_param REMOTE_ADDR $remote_addr; uwsgi_param REMOTE_PORT $remote_port;
uwsgi_param SERVER_PORT $server_port; uwsgi_param SERVER_NAME $server_name;
"""


def executable():
    path = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin")
    if path is None:
        pytest.skip("nginx is not installed: scripts/setup test")
    return path


def run_nginx(folder, address):
    """The process of nginx with the nginx.conf of that folder, once it listens at the address."""
    with open(folder / "nginx.log", "wb") as log:
        process = subprocess.Popen(
            [executable(), "-p", folder, "-c", folder / "nginx.conf", "-e", "stderr"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            preexec_fn=harness.die_with_parent,
        )

    def answers():
        assert process.poll() is None, "nginx ended"
        try:
            socket.create_connection(address, timeout=1).close()
            return True
        except ConnectionRefusedError:
            return False

    harness.wait_for(answers, what="nginx listens")
    return process


class Nginx:
    """`http` and `uwsgi` are (host, port) addresses of nginx, each in front of one address of the app."""

    def __init__(self, folder, app_http, app_uwsgi, extra=""):
        self.http, self.uwsgi = ("127.0.0.1", harness.free_port()), ("127.0.0.1", harness.free_port())
        (folder / "params").write_text(PARAMS)
        (folder / "nginx.conf").write_text(
            CONFIG.format(
                folder=folder,
                params=folder / "params",
                user="user root;" if os.geteuid() == 0 else "",
                http="%s:%d" % app_http,
                uwsgi="%s:%d" % app_uwsgi,
                http_port=self.http[1],
                uwsgi_port=self.uwsgi[1],
                extra=extra,
            )
        )
        self.process = run_nginx(folder, self.uwsgi)

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
