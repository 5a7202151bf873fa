# SPDX-License-Identifier: MIT
"""The catalogue, compose.yml and the README's table of playgrounds name the same rows, and nginx is told the same in
all of its configurations."""

import os
import re
import subprocess

import pytest
from tree import ROOT

SRV = os.environ.get("SRV_BIN", str(ROOT / "build/release/cmd/srv"))
ALIASES = {
    "sync-devserver", "sync-gunicorn", "sync-uwsgi", "async-gevent-pywsgi", "async-gevent-gunicorn",
    "async-gevent-uwsgi", "nginx-gunicorn", "nginx-uwsgi", "bonus-psycopg2-gevent",
}  # fmt: skip


@pytest.fixture(scope="module")
def listed():
    done = subprocess.run([SRV, "play", "--list"], text=True, capture_output=True, timeout=30, check=True)
    return done.stdout


@pytest.fixture(scope="module")
def names(listed):
    return [line.split()[0] for line in listed.splitlines()]


def services():
    """{service: its text in compose.yml}"""
    text = (ROOT / "compose.yml").read_text().split("\nservices:\n")[1]
    return dict(re.findall(r"^  ([\w-]+):\n((?:    .*\n|\n)+)", text, re.M))


def profiles(text):
    return re.search(r"profiles: \[(.*)\]", text)[1].split(", ")


def test_every_tutorial_file_selects_a_row(listed, names):
    told = set(re.findall(r"\(([\w-]+)\)$", listed, re.M)) | set(names)
    assert ALIASES <= told, ALIASES - told


def test_compose_has_a_profile_for_each_row(names):
    assert sorted(profiles(services()["slowapi"])) == sorted(names)


def test_each_profile_has_one_app_and_one_bench(names):
    for kind in ("app-", "bench"):
        chosen = [p for name, text in services().items() if name.startswith(kind) for p in profiles(text)]
        assert sorted(chosen) == sorted(names), kind


def test_ports_are_the_tutorials_and_on_loopback():
    published = re.findall(r'ports: \["([\d.:]+)"\]', (ROOT / "compose.yml").read_text())
    assert set(published) == {"127.0.0.1:3000:3000", "127.0.0.1:3001:3000", "127.0.0.1:8080:8080"}


def test_readme_has_a_line_for_each_row(names):
    table = (ROOT / "README.md").read_text().split("| playground |")[1].split("\n\n")[0]
    assert re.findall(r"^\| `([\w-]+)` \|", table, re.M) == names


def directives(name, text):
    """[(words of each `name ...;`)]"""
    return sorted(tuple(words.split()) for words in re.findall(rf"^\s*{name} (.*);", text.replace('\\"', '"'), re.M))


def written_by_srv(array):
    """What nginx.c puts into a location."""
    source = (ROOT / "playground/nginx.c").read_text().split(f"{array}[] = ")[1].split('";\n\n')[0]
    return re.sub(r'^\s*"|\\n"?$', "", source, flags=re.M)


@pytest.mark.parametrize("file", ["http.conf", "compose-http.conf"])
def test_nginx_sets_the_same_fields_by_hand_and_in_a_playground(file):
    by_hand = (ROOT / "docs/nginx" / file).read_text().replace(' # else nginx says close', "")
    ours = directives("proxy_set_header", written_by_srv("to_http"))
    assert ours and directives("proxy_set_header", by_hand) == ours


def test_nginx_sends_the_same_variables_by_hand_and_in_a_playground():
    ours = directives("uwsgi_param", written_by_srv("to_uwsgi"))
    assert ("PATH_INFO", "$document_uri") in ours  # for the apps of uWSGI
    assert directives("uwsgi_param", (ROOT / "docs/nginx/uwsgi.conf").read_text()) == ours


def test_apps_of_compose_believe_their_proxy():
    lists = [re.search(r'%s, "([^"]+)"' % option, services()[app]) for app, option in
             [("app-nginx-http", "--forwarded-allow-ips"), ("app-nginx-uwsgi", "--uwsgi-allow-from")]]  # fmt: skip
    assert all(lists) and lists[0][1] == lists[1][1]
