# SPDX-License-Identifier: MIT
"""What a developer of an application types: the header, applications as source, --reload, --new."""

import os
import shutil
import subprocess
from pathlib import Path

from harness import ROOT, get, run, srv_binary

TUTORIAL = """
#include <srv/app.h>

static int index_page(srv_request *rq) {
    const srv_response *api = srv_get(rq, "?delay=%s", srv_arg(rq, "delay", "1"));
    return srv_reply(rq, 200, "Hi there! %s", api->text);
}

SRV_APP(.handle = index_page)
"""


def tell(*command, cwd=None, env=None):
    """What a command that succeeds prints."""
    done = subprocess.run(
        [str(word) for word in command], cwd=cwd, env=env, text=True, capture_output=True, timeout=80, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


# --- the header -----------------------------------------------------------------------------------


def test_the_header_is_in_the_program(tmp_path):
    done = subprocess.run([srv_binary(), "serve", "--print-header"], capture_output=True, timeout=30, check=True)
    assert done.stdout == (ROOT / "include/srv/app.h").read_bytes()
    assert done.stderr == b""


def test_a_header_that_cannot_be_written_is_a_failure():
    with open("/dev/full", "w", encoding="ascii") as full:
        done = subprocess.run([srv_binary(), "serve", "--print-header"], stdout=full, timeout=30, check=False)
    assert done.returncode == 1


def test_an_object_needs_nothing_but_the_program(tmp_path, serve, slowapi):
    (tmp_path / "app.c").write_text(TUTORIAL)
    script = 'mkdir -p srv && "$0" serve --print-header >srv/app.h && cc -I. -shared -fPIC -o app.so app.c'
    tell("sh", "-c", script, srv_binary(), cwd=tmp_path)
    app = serve(tmp_path / "app.so", upstream=slowapi())
    assert get(app, "/?delay=0").text == "Hi there! slow api response"


def test_an_installed_header_is_found_by_pkg_config(tmp_path, serve, slowapi):
    build, root = Path(srv_binary()).resolve().parents[1], tmp_path / "root"
    env = {**os.environ, "DESTDIR": str(root)}
    tell("/usr/bin/meson", "install", "-C", build, "--no-rebuild", "--quiet", env=env)
    found = next(root.rglob("srv.pc"))
    env = {**os.environ, "PKG_CONFIG_PATH": str(found.parent), "PKG_CONFIG_SYSROOT_DIR": str(root)}
    (tmp_path / "app.c").write_text(TUTORIAL)
    script = "cc $(pkg-config --cflags srv) -shared -fPIC -o app.$(pkg-config --variable=suffix srv) app.c"
    tell("sh", "-c", script, cwd=tmp_path, env=env)
    version = tell("pkg-config", "--modversion", "srv", env=env).strip()
    assert f"srv {version}" == run("--version").stdout.strip()
    app = serve(tmp_path / "app.so", upstream=slowapi())
    assert get(app, "/?delay=0").text == "Hi there! slow api response"
