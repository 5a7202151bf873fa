# SPDX-License-Identifier: MIT
"""docs/handlers.md: what it shows is written to files, run as it says, and answers as it says.

A paragraph that ends with "`NAME`:" or names it in its last line before a colon is followed by that file. A block of
lines that begin with "$ " are commands, each with what it prints.
"""

import os
import re
import socket
import subprocess

import pytest
from harness import ROOT, Server, clean_environment, get, srv_binary

PAGE = (ROOT / "docs/handlers.md").read_text()
TUTORIAL = PAGE[PAGE.index("## From nothing to an API\n") :].split("\n## ")[0]
STEPS = re.split(r"^### ", TUTORIAL, flags=re.M)[1:]
MODELS = ("single", "threaded", "pool", "green")
BLOCK = re.compile(r"(?P<intro>[^\n]+(?:\n[^\n]+)*)\n\n(?P<block>(?:(?:    [^\n]*)?\n)*    [^\n]*\n)")


def blocks(text):
    """(the paragraph before it, the block without its indentation), in their order."""
    for found in BLOCK.finditer(text):
        yield found["intro"], "".join(line[4:] or "\n" for line in found["block"].splitlines(keepends=True))


def files_of(text):
    """What the paragraphs before them give names."""
    for intro, block in blocks(text):
        last = intro.rsplit(". ", 1)[-1]
        named = re.search(r"`(\w+\.(?:c|sh))`[^`]*(?:`[^`]*`[^`]*)*:$", last, re.S)
        if named and not block.startswith("$ "):
            yield named[1], block


def commands_of(text):
    """(command, what it prints) of a step."""
    for _, block in blocks(text):
        if block.startswith("$ "):
            for part in re.split(r"^\$ ", block, flags=re.M)[1:]:
                command, _, said = part.partition("\n")
                yield command, said


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where the reader works: all files of the page are there, and `srv` is the program under test."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/srv").symlink_to(os.path.realpath(srv_binary()))
    (tmp_path / "work").mkdir()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path / "work")
    for name, text in files_of(PAGE):
        (tmp_path / "work" / name).write_text(text)
    return tmp_path / "work"


@pytest.fixture
def database(postgres):
    """The variables of libpq for a database that is empty."""
    name = f"docs_{os.getpid()}_{os.urandom(4).hex()}"
    values = dict(word.split("=", 1) for word in postgres.conninfo.split())
    names = {"host": "PGHOST", "port": "PGPORT", "user": "PGUSER", "dbname": "PGDATABASE"}
    env = {names[key]: value for key, value in values.items() if key in names}
    subprocess.run(["psql", "-qc", f"CREATE DATABASE {name}"], env={**os.environ, **env}, check=True)
    return {**env, "PGDATABASE": name}


def play(step, tmp_path, model, env):
    """Runs the commands of a step as a reader would, but for the ports."""
    env = {**clean_environment(), "PATH": f"{tmp_path}/bin:/usr/sbin:/usr/bin:/sbin:/bin", **env}
    servers, ports, shown = [], {}, 0
    try:
        for command, said in commands_of(step):
            if command.endswith(" &"):
                _, product, *words = command[:-2].split()
                if product == "serve":
                    words = ["--model", model, *words]
                    words += ["--upstream", ports["4000"] + "/"] if "4000" in ports else []
                assert said == ""
                server = Server(product, words, tmp_path / f"{len(servers)}.log", env)
                servers.append(server)
                ports["3000" if product == "serve" else "4000"] = server.url.rstrip("/")
                continue
            for port, url in ports.items():
                command = command.replace(f"http://127.0.0.1:{port}", url)
            command = re.sub("^curl", "curl -s", command)
            together = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
            done = subprocess.run(["sh", "-c", command], env=env, text=True, timeout=60, check=False, **together)
            assert (done.stdout.strip(), done.returncode) == (said.strip(), 0), command
            shown += 1
    finally:
        for server in servers:
            server.stop()
    return shown


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("step", STEPS, ids=[step.split("\n")[0] for step in STEPS])
def test_each_step_answers_as_it_is_shown(tmp_path, folder, database, step, model):
    assert list(files_of(step))
    assert play(step, tmp_path, model, database) >= 1


def test_the_page_has_what_it_promises():
    assert len(STEPS) == 5
    names = [name for step in STEPS for name, _ in files_of(step)]
    assert names == ["hello.c", "notes.c", "together.c", "count.c", "test.sh"]
    assert len([command for step in STEPS for command, _ in commands_of(step)]) >= 18


def test_a_database_that_fails_is_as_the_page_says(folder, serve, database):
    assert get(serve("--db", "host=127.0.0.1 port=1", "notes.c"), "/notes").status == 502
    assert get(serve("notes.c", env=database), "/notes").status == 500  # it has no such table
    with socket.create_server(("127.0.0.1", 0)) as silent:
        conninfo = f"host=127.0.0.1 port={silent.getsockname()[1]}"
        assert get(serve("--db", conninfo, "--db-timeout", "0.3s", "notes.c"), "/notes").status == 504


def test_the_step_that_tests_can_fail(tmp_path, folder):
    """Else it would show nothing."""
    (folder / "hello.c").write_text((folder / "hello.c").read_text().replace("Hello", "Bye"))
    env = {**clean_environment(), "PATH": f"{tmp_path}/bin:/usr/bin:/bin"}
    done = subprocess.run(["sh", "test.sh"], env=env, text=True, capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (1, "/hello/you: 'Bye, you!', not 'Hello, you!'\n")


def test_what_stands_beside_it_is_python():
    found = [block for intro, block in blocks(TUTORIAL) if intro.startswith("In Flask")]
    assert len(found) == len(STEPS)
    for block in found:
        compile(block, "flask", "exec")


def test_the_first_application_is_that_of_the_readme(tmp_path, folder, serve, slowapi):
    readme = (ROOT / "README.md").read_text()
    (app,) = [text for name, text in files_of(readme) if name == "app.c"]
    assert app == dict(files_of(PAGE))["app.c"]
    server = serve("app.c", upstream=slowapi())
    done = subprocess.run(["curl", "-s", server.url + "/?delay=0"], text=True, capture_output=True, check=True)
    assert done.stdout == "Hi there! slow api response"
