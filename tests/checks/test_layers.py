# SPDX-License-Identifier: MIT
"""Includes go to the right only: cmd -> lab -> playground bench -> server slowapi loadgen -> relay waits -> fiber proc -> net http -> base,
and in no circle."""

import subprocess
from pathlib import Path

import pytest
from tree import LAYERS, ROOT, files, includes

BELOW_PRODUCTS = {"http", "net", "fiber", "proc", "base"}
MAY_INCLUDE = {
    "base": set(),
    "http": {"base"},
    "net": {"base"},
    "fiber": {"net", "base"},
    "proc": {"net", "base"},
    "server": BELOW_PRODUCTS,
    "relay": {"fiber", "net", "base"},
    "slowapi": BELOW_PRODUCTS | {"relay"},
    "loadgen": BELOW_PRODUCTS,
    "bench": BELOW_PRODUCTS | {"loadgen"},
    "waits": {"net", "base"},
    "playground": BELOW_PRODUCTS | {"waits", "server", "slowapi", "loadgen", "bench"},
    "lab": BELOW_PRODUCTS | {"waits", "playground", "loadgen"},
    "cmd": set(LAYERS),
}
# Header of a library -> where it may be included, and in how many files at most (None: any number).
LIBRARY_HOMES = {
    "event2/": (lambda path: path.parts[0] == "net" or str(path) in ("proc/signals.c", "server/model/evhttp.c"), None),
    "libpq-fe.h": (lambda path: path.parts[0] == "server", 1),
    "curl/curl.h": (lambda path: path.parts[0] == "server", 1),
    # TLS, also below libcurl, and the hashes of a cache of digest authentication and of handshakes.
    "openssl/": (
        lambda path: str(path) in ("server/upstream/curl.c", "server/app/source.c", "http/digest.c", "http/websocket.c")
        or (path.parts[0] == "net" and path.name.startswith("tls") and path.suffix == ".c"),
        None,
    ),
}

# Room of server -> its headers that other rooms may include; all others are its own.
DOORS = {
    "server/app": {"app", "background", "crash", "event_app", "handle", "source"},
    "server/conn": {"access_log", "front", "front_stop", "proxied", "session"},
    "server/model": {"model"},
    "server/observe": {"admin", "blocker", "stats"},
    "server/upstream": {"db", "db_conn", "event", "exchange", "upstream"},
}

GENERATED = {"fiber/patch_calls.h"}  # by the build

sources = files(".c", ".h", under=LAYERS)
headers = files(".h", under=(*LAYERS, "include"))


@pytest.mark.parametrize("folder", LAYERS)
def test_includes_go_to_the_right_only(folder):
    allowed = MAY_INCLUDE[folder] | {folder}
    wrong = []
    for path in files(".c", ".h", under=(folder,)):
        for number, quote, name in includes(path):
            rooted = name.split("/")[0]
            known = name in GENERATED or (ROOT / name).exists() or (ROOT / "include" / name).exists()
            if quote == '"' and not known:
                wrong.append(f"{path}:{number}: {name} is not a path from the root")
            elif rooted in LAYERS and rooted not in allowed:
                wrong.append(f"{path}:{number}: {folder} must not include {name}")
    assert not wrong, "\n".join(wrong)


def circles():
    """Groups of components that reach each other by includes."""
    graph = {}
    for path in sources:
        graph.setdefault(str(path.with_suffix("")), set()).update(
            str(Path(name).with_suffix("")) for _, quote, name in includes(path) if quote == '"'
        )

    def reached(start):
        seen, left = set(), [start]
        while left:
            for name in graph.get(left.pop(), set()) - seen:
                seen.add(name)
                left.append(name)
        return seen

    closure = {name: reached(name) - {name} for name in graph}
    groups = {tuple(sorted({name, *(o for o in closure[name] if name in closure.get(o, ()))})) for name in graph}
    return sorted(group for group in groups if len(group) > 1)


def test_includes_go_in_no_circle():
    assert circles() == []


@pytest.mark.parametrize("room", DOORS)
def test_rooms_are_entered_by_their_doors(room):
    """What is private to a room says so by not standing among its doors; a door that nobody uses is none."""
    used = {}
    for path in sources:
        for number, quote, name in includes(path):
            if quote == '"' and str(Path(name).parent) == room and str(path.parent) != room:
                used.setdefault(Path(name).stem, f"{path}:{number}")
    private = [f"{where} includes {room}/{name}.h" for name, where in used.items() if name not in DOORS[room]]
    assert not private, "\n".join(private)
    assert DOORS[room] == set(used)


def test_no_include_climbs():
    climbing = [f"{path}:{n}: {name}" for path in sources for n, quote, name in includes(path) if ".." in name]
    assert not climbing, "\n".join(climbing)


@pytest.mark.parametrize("library", LIBRARY_HOMES)
def test_library_is_included_at_home_only(library):
    at_home, count_max = LIBRARY_HOMES[library]
    users = [path for path in sources if any(name.startswith(library) for _, _, name in includes(path))]
    astray = [str(path) for path in users if not at_home(path)]
    assert not astray, f"{library} is not for {astray}"
    assert count_max is None or len(users) <= count_max, f"{library} belongs in one file, not in {users}"


@pytest.mark.parametrize("path", headers, ids=str)
def test_header_compiles_alone_and_twice(path):
    text = f'#include "{path}"\n#include "{path}"\n'
    flags = ["-std=gnu17", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror", "-I.", "-Iinclude"]
    done = subprocess.run(
        ["gcc", *flags, "-fsyntax-only", "-x", "c", "-"], input=text, text=True, capture_output=True, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr


def test_list_of_the_rooms_is_true():
    done = subprocess.run(["scripts/docs-rooms", "--check"], cwd=ROOT, text=True, capture_output=True)
    assert done.returncode == 0, f"{done.stderr}\nrun: scripts/docs-rooms"
