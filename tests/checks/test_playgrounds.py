# SPDX-License-Identifier: MIT
"""The catalogue, compose.yml and the README's table of playgrounds name the same rows, and nginx is told the same in
all of its configurations."""

import os
import re
import subprocess

import pytest
import yaml
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
    """{service: what compose.yml says of it}"""
    return yaml.safe_load((ROOT / "compose.yml").read_text())["services"]


def of_profile(name):
    return {service for service, said in services().items() if name in said["profiles"]}


def test_every_tutorial_file_selects_a_row(listed, names):
    told = set(re.findall(r"\(([\w-]+)\)$", listed, re.M)) | set(names)
    assert ALIASES <= told, ALIASES - told


def test_compose_has_a_profile_for_each_row(names):
    assert sorted(services()["slowapi"]["profiles"]) == sorted(names)


def test_each_profile_has_an_app_and_a_bench_of_its_own(names):
    for name in names:
        assert {f"app-{name}", f"bench-{name}"} <= of_profile(name)
        assert services()[f"app-{name}"]["profiles"] == services()[f"bench-{name}"]["profiles"] == [name]


def addresses(said):
    """The HOST of each URL, and of the file of nginx."""
    conf = "".join((ROOT / volume.split(":")[0]).read_text() for volume in said.get("volumes", []) if volume[0] == ".")
    urls = str(said.get("command")) + str(said.get("environment")) + "".join(re.findall(r"proxy_pass.*", conf))
    hosts = re.findall(r"https?://([\w.-]+)", urls) + re.findall(r"^\s*(?:server|uwsgi_pass) ([\w-]+):\d+;", conf, re.M)
    upstreams = re.findall(r"^upstream (\w+)", conf, re.M)
    return {host for host in hosts if host not in upstreams} - {"127.0.0.1"}


def test_no_service_meets_another_profile(names):
    """Two profiles at once: each asks only services of its own, by names that no other one answers to."""
    assert not [service for service, said in services().items() if said.get("networks")]  # no shared alias
    shared = {"slowapi", "postgres"}
    for name in names:
        assert of_profile(name) - shared == {s for s in of_profile(name) if s.endswith(f"-{name}") or s == name}
        asked = set.union(*[addresses(services()[s]) for s in of_profile(name) - shared])
        assert asked <= of_profile(name), name
        assert f"app-{name}" in asked, name


def test_bench_waits_for_the_server_that_it_loads(names):
    for name in names:
        bench = services()[f"bench-{name}"]
        urls = bench["command"][-1], bench["environment"]["HEALTH_URL"]
        assert len({re.match(r"https?://[^/]+/", url)[0] for url in urls}) == 1, name


def test_load_of_compose_is_the_playgrounds(listed):
    for name, requests, clients in re.findall(r"^([\w-]+) +n=(\d+) +c=(\d+)", listed, re.M):
        words = services()[f"bench-{name}"]["command"]
        assert words[words.index("-n") + 1 :: 2][:2] == [requests, clients], name


def test_ports_are_the_tutorials_and_on_loopback():
    published = [port for said in services().values() for port in said.get("ports", [])]
    assert set(published) == {"127.0.0.1:3000:3000", "127.0.0.1:3001:3000", "127.0.0.1:8080:8080", "127.0.0.1:8443:8443"}
    for pair in (("single", "threaded"), ("db-blocking", "db-cooperative"), ("curl-blocking", "curl-patched")):
        assert [services()[f"app-{name}"]["ports"][0][10:14] for name in pair] == ["3000", "3001"]


def packages_of(stage):
    """What the Dockerfile installs, first to build srv, then beside it."""
    installed = re.findall(r"apt-get install -y --no-install-recommends([^&]*)", (ROOT / "Dockerfile").read_text())
    return set(installed[stage].replace("\\", " ").split())


def test_image_is_built_with_the_packages_of_setup():
    setup = (ROOT / "scripts/setup").read_text()
    assert packages_of(0) == set(re.search(r"^build_packages=\((.*?)\)", setup, re.M | re.S)[1].split())


def test_image_has_the_libraries_that_srv_is_linked_to():
    """And what the tutorial looks with, top -H, and what makes certificates; nothing beside those."""
    needed = subprocess.run(["readelf", "-d", SRV], text=True, capture_output=True, check=True).stdout
    programs = {"procps", "openssl"}
    unneeded = packages_of(1) - programs
    assert programs <= packages_of(1)
    for name in re.findall(r"NEEDED.*\[(.*)\]", needed):
        if re.match(r"lib(a|t|ub)san", name):
            continue  # the image's srv has none
        owned = subprocess.run(["dpkg-query", "-S", f"*/{name}"], text=True, capture_output=True, check=True).stdout
        owners = set(re.findall(r"^[^:\s]+", owned, re.M))
        assert owners & (packages_of(1) | {"libc6", "libgcc-s1"}), f"{name} is of {owners}"
        unneeded -= owners
    assert not unneeded


def test_no_spelling_of_compose_warns_of_what_the_file_says():
    """The plugin warns at each command that `version` is obsolete; the program needs none since 1.27."""
    assert "version" not in yaml.safe_load((ROOT / "compose.yml").read_text())


def test_container_commands_are_told_in_both_spellings():
    for page in ("README.md", "docs/play.md"):
        text = (ROOT / page).read_text()
        assert "docker-compose --profile" in text and "docker compose --profile" in text, page


def test_readme_has_a_line_for_each_row(names):
    tables = (ROOT / "README.md").read_text().split("| playground |")[1:]
    told = [name for table in tables for name in re.findall(r"^\| `([\w-]+)` \|", table.split("\n\n")[0], re.M)]
    assert told == names


def directives(name, text):
    """[(words of each `name ...;`)]"""
    return sorted(tuple(words.split()) for words in re.findall(rf"^\s*{name} (.*);", text.replace('\\"', '"'), re.M))


def written_by_srv(array):
    """What nginx.c puts into a location."""
    source = (ROOT / "playground/nginx.c").read_text().split(f"{array}[] = ")[1].split('";\n\n')[0]
    return re.sub(r'^\s*"|\\n"?$', "", source, flags=re.M)


@pytest.mark.parametrize("file", ["http.conf", "compose-http.conf", "https.conf", "compose-https.conf"])
def test_nginx_sets_the_same_fields_by_hand_and_in_a_playground(file):
    by_hand = (ROOT / "docs/nginx" / file).read_text().replace(' # else nginx says close', "")
    ours = directives("proxy_set_header", written_by_srv("to_http"))
    assert ours and directives("proxy_set_header", by_hand) == ours


def test_nginx_sends_the_same_variables_by_hand_and_in_a_playground():
    ours = directives("uwsgi_param", written_by_srv("to_uwsgi"))
    assert ("PATH_INFO", "$document_uri") in ours  # for the apps of uWSGI
    assert directives("uwsgi_param", (ROOT / "docs/nginx/uwsgi.conf").read_text()) == ours


def test_servers_of_tls_are_the_same_by_hand_and_in_a_playground():
    """Versions in all configurations of nginx; the command for the certificate in what --explain prints, too."""
    for file in ("https.conf", "compose-https.conf"):
        assert directives("ssl_protocols", (ROOT / "docs/nginx" / file).read_text()) == [("TLSv1.2", "TLSv1.3")]
    assert "ssl_protocols TLSv1.2 TLSv1.3;" in (ROOT / "playground/nginx.c").read_text()
    told = subprocess.run([SRV, "play", "--explain", "nginx-tls"], text=True, capture_output=True, check=True).stdout
    command = re.compile(r"openssl req (?:[^\n]*\\\n)*[^\n]*")
    by_hand = re.sub(r"^#", "", (ROOT / "docs/nginx/https.conf").read_text(), flags=re.M)
    assert command.search(by_hand)[0].split() == command.search(told)[0].split()


def test_apps_of_compose_believe_their_proxy():
    options = {"app-nginx-http": "--forwarded-allow-ips", "app-nginx-tls": "--forwarded-allow-ips", "app-nginx-uwsgi": "--uwsgi-allow-from"}
    words = {app: services()[app]["command"] for app in options}
    lists = {words[app][words[app].index(option) + 1] for app, option in options.items()}
    assert len(lists) == 1
