# SPDX-License-Identifier: MIT
"""scripts/setup, scripts/build and scripts/play on a machine that is played: what they say, how they are interrupted."""

import os
import pty
import shutil
import signal
import subprocess
import time

import pytest
from harness import ROOT, die_with_parent, wait_for

TOOLS = "bash sh sed cat mktemp rm tr sort env dirname tee chmod ls mkdir sleep grep"

# Each tells the log how it was called. What it does then is for the test.
FAKES = {
    "id": "echo 1000",
    "dpkg-query": "",
    "dpkg": 'echo "dpkg $*" >>"$LOG"; [ "$1" != --audit ] || echo "$AUDIT"',
    "sudo": 'echo "sudo $*" >>"$LOG"; [ "$1" != true ] || exit "${SUDO_CODE-0}"; exec "$@"',
    "apt-get": r"""
        echo "apt-get $*" >>"$LOG"
        case "$*" in
        *--assume-no*)
            echo "0 upgraded, 12 newly installed, 0 to remove and 3 not upgraded."
            echo "Need to get 85.1 MB of archives."
            echo "After this operation, 310 MB of additional disk space will be used."
            exit 1
            ;;
        *" install "*)
            echo "Setting up everything"
            echo "dlstatus:1:37.5:Retrieving file 1 of 2"
            echo "pmstatus:libc6:amd64:62.5:Unpacking"
            sleep "${SLOW-0}"
            exit "${INSTALL_CODE-0}"
            ;;
        esac
        """,
}


class Machine:
    """A folder that is the whole PATH, with scripts of ours beside it."""

    def __init__(self, folder, *fakes):
        self.log, self.bin, self.scripts = folder / "log", folder / "bin", folder / "scripts"
        self.bin.mkdir()
        self.log.touch()
        shutil.copytree(ROOT / "scripts", self.scripts)
        for tool in TOOLS.split():
            (self.bin / tool).symlink_to(shutil.which(tool))
        setup = (self.scripts / "setup").read_text()
        assert "=/usr/sbin/policy-rc.d" in setup
        self.policy = folder / "policy-rc.d"
        setup = setup.replace("=/usr/sbin/policy-rc.d", f"={self.policy}")
        (self.scripts / "setup").write_text(setup.replace("/etc/postgresql-common", str(folder)))
        for name in fakes:
            self.fake(name, FAKES[name])

    def fake(self, name, text):
        path = self.bin / name
        path.write_text("#!/bin/bash\n" + text)
        path.chmod(0o755)

    def start(self, script, *args, stderr=subprocess.PIPE, **variables):
        return subprocess.Popen(
            [self.scripts / script, *args],
            env={"PATH": str(self.bin), "LOG": str(self.log), **variables},
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=stderr, text=True,
            start_new_session=True, preexec_fn=die_with_parent,
        )  # fmt: skip

    def run(self, script, *args, **variables):
        process = self.start(script, *args, **variables)
        stdout, stderr = process.communicate(timeout=30)
        return subprocess.CompletedProcess(args, process.returncode, stdout, stderr)

    def called(self):
        return self.log.read_text()


@pytest.fixture
def debian(tmp_path):
    return Machine(tmp_path, *FAKES)


def on_a_terminal(machine, script, *args, **variables):
    """What a person sees."""
    leader, follower = pty.openpty()
    process = machine.start(script, *args, stderr=follower, **variables)
    os.close(follower)
    seen = b""
    try:
        while piece := os.read(leader, 4096):
            seen += piece
    except OSError:  # EIO: the last one closed its end
        pass
    os.close(leader)
    assert process.wait(30) == 0, seen
    return seen.decode()


def test_setup_says_what_it_installs_and_how_much(debian):
    done = debian.run("setup", "build", "play")
    assert done.returncode == 0 and done.stdout == ""
    lines = done.stderr.splitlines()
    assert lines[0].startswith("setup: installing what is missing: ") and " nginx " in lines[0]
    assert "setup: Need to get 85.1 MB of archives." in lines
    assert "setup: After this operation, 310 MB of additional disk space will be used." in lines
    assert lines[-1] == "setup: done"
    assert not any("status:" in line for line in lines)


def test_setup_shows_its_progress_on_a_terminal(debian):
    seen = on_a_terminal(debian, "setup", "build")
    assert "setup: downloading, 37 %" in seen and "setup: installing, 62 %" in seen


def test_setup_is_silent_when_all_is_there(debian):
    debian.fake("dpkg-query", 'cat "$PACKAGES"')
    packages = debian.bin / "all"
    words = (ROOT / "scripts/setup").read_text().replace("(", " ").replace(")", " ").split()
    packages.write_text("".join(f"ii {word}\n" for word in words))
    done = debian.run("setup", "build", "play", PACKAGES=str(packages))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("why", ["no sudo", "sudo refuses"])
def test_setup_without_a_way_to_root_names_the_command_for_root(debian, why):
    if why == "no sudo":
        (debian.bin / "sudo").unlink()
    done = debian.run("setup", "build", SUDO_CODE="1")
    assert done.returncode == 1
    command = done.stderr.splitlines()[-1].strip()
    assert command.startswith("apt-get update && apt-get install -y --no-install-recommends ")
    assert " gcc " in command and "libevent-dev" in command
    assert "apt-get" not in debian.called()


def test_setup_shows_what_apt_said_when_it_fails(debian):
    done = debian.run("setup", "build", INSTALL_CODE="100")
    assert done.returncode == 1 and "Setting up everything" in done.stderr and "status:" not in done.stderr


def test_setup_that_is_interrupted_exits_with_130_and_tidies(debian):
    process = debian.start("setup", "build", SLOW="60")
    wait_for(lambda: " install -y" in debian.called(), what="the installation")
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(20) == 130
    process.communicate()
    assert not debian.policy.exists()


def test_daemons_stay_off_during_an_installation_and_may_start_after_it(debian):
    process = debian.start("setup", "build", SLOW="60")
    wait_for(lambda: " install -y" in debian.called(), what="the installation")
    assert subprocess.run([debian.policy]).returncode == 101
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert debian.policy.exists()
    assert debian.run("setup", "build").returncode == 0
    assert not debian.policy.exists()  # the one that was killed had left it


def test_a_policy_of_the_machine_stays(debian):
    debian.policy.write_text("#!/bin/sh\nexit 101\n")
    assert debian.run("setup", "build").returncode == 0
    assert debian.policy.exists()


def test_setup_repairs_what_an_interrupted_one_left(debian):
    done = debian.run("setup", "build", AUDIT="The following packages are only half configured")
    assert done.returncode == 0 and "setup: finishing an installation that was interrupted" in done.stderr
    calls = debian.called()
    assert calls.index("--configure -a") < calls.index("--fix-broken") < calls.index(" install -y --no-install-recommends")


@pytest.fixture
def configured(tmp_path):
    """A clone with a build folder, and a ninja that takes its time."""
    machine = Machine(tmp_path)
    machine.fake("ninja", 'case "$*" in *-n*) echo "[1/9] cc" ;; *) echo "started $NINJA_STATUS" >>"$LOG"; echo "[3/9]"; '
                          'sleep "${SLOW-0}" ;; esac')  # fmt: skip
    (tmp_path / "build/release").mkdir(parents=True)
    (tmp_path / "build/release/build.ninja").touch()
    return machine


def test_build_that_is_interrupted_exits_with_130(configured):
    process = configured.start("build", SLOW="60")
    wait_for(lambda: "started" in configured.called(), what="the compiler")
    time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(20) == 130
    process.communicate()


def test_build_shows_its_progress_on_a_terminal(configured):
    assert "[3/9]" in on_a_terminal(configured, "build")
    assert "build: compiling" in configured.called()
    assert configured.run("build").stderr == "build: compiling\n"


def test_build_is_silent_when_it_is_up_to_date(configured):
    configured.fake("ninja", 'echo "ninja: no work to do."')
    done = configured.run("build")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_play_tells_about_itself_without_installing(debian, option):
    done = debian.run("play", option)
    assert done.returncode == 0 and "scripts/play --list" in done.stdout and done.stderr == ""
    assert debian.called() == ""
