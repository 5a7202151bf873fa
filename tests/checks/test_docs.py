# SPDX-License-Identifier: MIT
"""Docs agree with the program: option tables, --help, the README's table of subcommands, links."""

import itertools
import os
import re
import shlex
import shutil
import subprocess
import sys

import pytest
from tree import LAYERS, ROOT, files

COMMANDS = ("slowapi", "serve", "bench", "play", "lab")
SRV = os.environ.get("SRV_BIN", str(ROOT / "build/release/cmd/srv"))


def srv(*args):
    return subprocess.run([SRV, *args], text=True, capture_output=True, timeout=30, stdin=subprocess.DEVNULL)


@pytest.fixture(params=COMMANDS)
def command(request):
    if f"\n  {request.param} " not in srv("--help").stdout:
        pytest.skip(f"srv {request.param} is not there yet")
    return request.param


def rows(command):
    """[[name, letter, env, default, ..., help], ...] as the program tells them, see option_print_rows."""
    done = srv(command, "--print-options")
    assert done.returncode == 0, done.stderr
    return [line.split("\t") for line in done.stdout.splitlines()]


def test_option_table_is_what_the_program_says(command):
    done = subprocess.run(
        [sys.executable, "scripts/docs-options", "--check", SRV, command], cwd=ROOT, text=True, capture_output=True
    )
    assert done.returncode == 0, done.stdout + done.stderr + "\nrun scripts/docs-options"


def test_manual_pages_and_completions_are_what_the_program_says():
    done = subprocess.run([sys.executable, "scripts/docs-man", "--check", SRV], cwd=ROOT, text=True, capture_output=True)
    assert done.returncode == 0, done.stdout + done.stderr + "\nrun scripts/docs-man"


@pytest.mark.parametrize("page", sorted((ROOT / "man").glob("*.[13]")), ids=lambda page: page.name)
def test_manual_pages_are_well_formed(page):
    if shutil.which("man") is None:
        pytest.skip("man is not installed")
    done = subprocess.run(
        ["man", "--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z", str(page)],
        text=True, capture_output=True, timeout=30, env={**os.environ, "LC_ALL": "C.UTF-8", "MANROFFSEQ": ""},
    )  # fmt: skip
    assert done.returncode == 0 and done.stderr == "" and not re.search("@[A-Z]+@", page.read_text())


def test_help_names_every_option_and_no_other(command):
    done = srv(command, "--help")
    assert done.returncode == 0 and done.stderr == ""
    listed = [line.strip().split("  ")[0] for line in done.stdout.splitlines() if re.match(r" {2,6}-", line)]
    shown_names = {name for line in listed for name in re.findall(r"(?:^|, )--([a-z0-9.-]+)", line)}
    shown_letters = {letter for line in listed for letter in re.findall(r"^-([A-Za-z0-9])\b", line)}
    table = rows(command)
    assert shown_names - {"help"} == {row[0] for row in table if row[0]} - {"help"}
    assert shown_letters - {"h"} == {row[1] for row in table if row[1]} - {"h"}


def test_option_help_is_one_sentence(command):
    odd = [row[0] or row[1] for row in rows(command) if not row[-1].strip() or len(row[-1]) > 200]
    assert not odd, odd


def test_readme_lists_the_subcommands():
    listed = dict(re.findall(r"^\| `srv (\w+)` \| ([^|]+) \|", (ROOT / "README.md").read_text(), re.M))
    assert tuple(listed) == COMMANDS
    missing = [name for name in re.findall(r"^  (\w+) ", srv("--help").stdout, re.M) if name not in listed]
    assert not missing, missing


@pytest.mark.parametrize("page", files(".md"), ids=str)
def test_links_lead_somewhere(page):
    targets = re.findall(r"\]\((?!https?:|#)([^)#]+)", (ROOT / page).read_text())
    broken = [target for target in targets if not (ROOT / page).parent.joinpath(target).exists()]
    assert not broken, broken


@pytest.mark.parametrize("page", files(".md"), ids=str)
def test_files_that_are_named_exist(page):
    folders = "|".join((*LAYERS, "scripts", "tests", "docs"))
    named = re.findall(rf"`((?:{folders})/[\w./-]*)`", (ROOT / page).read_text())
    missing = [name for name in named if not (ROOT / name).exists()]
    assert not missing, missing


def commands_of(page):
    """The words of each `srv ...` line of a page's examples, up to what a shell does beside it; not what srv says."""
    text = (ROOT / page).read_text()
    if page.startswith("man/"):
        examples = re.findall(r"^\.nf\n\.RS\n(.*?)^\.RE", text, re.MULTILINE | re.DOTALL)
        text = "".join(f"    {line}\n" for example in examples for line in example.replace("\\-", "-").splitlines())
    for line in re.findall(r"^    (?:\$ )?(?:[A-Z_]+=\S+ )*srv (?!\w+: )(.*)", text, re.M):
        words = shlex.shlex(line, posix=True, punctuation_chars=True)
        words.whitespace_split = True
        yield list(itertools.takewhile(lambda word: word[0] not in "|&;<>()", words))


MANUAL = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "man").glob("*.1"))


@pytest.mark.parametrize("page", ["README.md", *MANUAL, *(str(page) for page in files(".md", under=("docs",)))])
def test_commands_in_the_pages_name_what_there_is(page):
    playgrounds = {line.split()[0] for line in srv("play", "--list", "--with-peers", "all").stdout.splitlines()}
    aliases = set(re.findall(r"\(([\w-]+)\)$", srv("play", "--list", "all").stdout, re.M))
    for command, *words in commands_of(page):
        assert command in COMMANDS, command
        known = {row[0] for row in rows(command)} | {"help"}
        given = {word[2:].split("=")[0] for word in words if word.startswith("--")}
        assert given <= known, (command, given - known)
        if command == "play":
            names = [word for before, word in zip(["", *words], words) if not word.startswith("-") and (
                not before.startswith("-") or before in ("--explain", "--keep", "--list", "--with-peers"))]  # fmt: skip
            assert set(names) <= playgrounds | aliases | {"all"}, names


def test_changelog_names_options_that_there_are():
    known = {row[0] for command in COMMANDS for row in rows(command)} | {"version"}
    named = re.findall(r"`(?:srv )?--([a-z-]+)", (ROOT / "CHANGELOG.md").read_text())
    assert len(named) > 20 and not set(named) - known


def test_readme_points_to_the_tutorial_first():
    assert re.search(r"\]\((docs/[\w.]+)\)", (ROOT / "README.md").read_text())[1] == "docs/tutorial.md"


def test_tutorial_plays_every_row_of_the_tutorial():
    told = [words for command, *words in commands_of("docs/tutorial.md") if command == "play"]
    listed = srv("play", "--list").stdout.splitlines()
    named = {word for words in told for word in words}
    assert not [line.split()[0] for line in listed if line.split()[0] not in named]


@pytest.mark.parametrize(
    ("folder", "title", "rooms"),
    [
        ("server", "## `server/`, room by room", {"conn", "app", "upstream", "model", "observe"}),
        ("slowapi", "## `slowapi/`, in the order of a request", set()),
        ("loadgen", "## `loadgen/`, in the order of a run", set()),
        ("bench", "## `bench/`, from runs to their report", set()),
        ("playground", "## `playground/`, from the row to the page", set()),
        ("lab", "## `lab/`, from the row to the page", set()),
    ],
)
def test_map_of_a_product_is_complete(folder, title, rooms):
    section = (ROOT / "docs/hacking.md").read_text().split(title)[1].split("\n## ")[0].split("\n**")[0]
    named = set(re.findall(r"`((?:[a-z]+/)?\w+)`", section)) - rooms
    assert named == {str(path.relative_to(folder).with_suffix("")) for path in files(".c", ".h", under=(folder,))}


def test_map_below_the_products_is_complete():
    section = (ROOT / "docs/hacking.md").read_text().split("## Below the products")[1].split("\n## ")[0]
    below = files(".c", ".h", ".S", under=("base", "http", "net", "fiber", "proc", "waits"))
    rows = re.findall(r"^\| `(\w+/)` \|.*?\|(.*)\|$", section, re.M)
    named = {folder + name for folder, names in rows for name in re.findall(r"`(\w+)`", names)}
    assert named == {str(path.with_suffix("")) for path in below}
