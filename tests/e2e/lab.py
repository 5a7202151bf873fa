# SPDX-License-Identifier: MIT
"""A running `srv lab`, its lanes, and the processes below it."""

import json
import os
import time
from pathlib import Path

from harness import Server, request, wait_for

TOKEN = "0123456789-token_of_tests"
START_SECONDS = 60  # three sanitized processes on a busy machine


class Lab(Server):
    takes_bind = False  # its address is a word, not an option

    def __init__(self, command, args, log_path, env=None):
        super().__init__(command, ["127.0.0.1:0", "--token", TOKEN, *args], log_path, env)

    def ask(self, method, path, wish=None, headers=None):
        body = None if wish is None else wish if isinstance(wish, (bytes, str)) else json.dumps(wish)
        return request(self, method, f"{path}?token={TOKEN}", body=body, headers=headers)

    def lane(self, number=1):
        reply = self.ask("GET", "/lanes")
        assert reply.status == 200, reply.text
        return json.loads(reply.body)["lanes"][number - 1]

    def wish(self, number=1, **wish):
        """The answer to set={...} or do="WORD", once changes are taken again."""
        while (reply := self.ask("POST", "/lanes", {"lane": number, **wish})).status == 429:
            time.sleep(0.05)
        return reply

    def change(self, number=1, **wish):
        """set={...} or do="WORD"; fails when it is refused."""
        reply = self.wish(number, **wish)
        assert reply.status == 200, reply.text

    def until(self, condition, number=1, seconds=START_SECONDS, what="the lane"):
        """The lane, once the condition holds of it."""
        seen = []

        def look():
            lane = self.lane(number)
            seen[:] = [lane]
            assert lane["state"] != "failed", lane["why"]
            return condition(lane)

        wait_for(look, seconds, what)
        return seen[0]

    def start(self, number=1, **settings):
        """A lane that runs, whose load has got answers, and whose processes have told their figures."""
        if settings:
            self.change(number, set=settings)
        self.change(number, do="start")

        def has_told(lane):
            figures = lane["figures"]
            return answers(lane) > 0 and figures["statuses"] and figures["upstream"]

        return self.until(has_told, number, what="figures")


def answers(lane):
    """Answers that the load has got since it began."""
    figures = lane["figures"]
    return sum(((figures and figures["load"].get("statuses")) or {}).values())


def pids(lane):
    return {name: process["pid"] for name, process in lane["processes"].items() if process}


def family(pid):
    """All processes below one, as far as main threads have forked them."""
    found, left = [], [pid]
    while left:
        one = left.pop()
        try:
            children = Path(f"/proc/{one}/task/{one}/children").read_text().split()
        except OSError:
            continue
        found += map(int, children)
        left += map(int, children)
    return found


def lives(pid):
    """Whether it is a process, and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


def wait_gone(numbers):
    wait_for(lambda: not any(lives(pid) for pid in numbers), what=f"the end of {numbers}")


def kill(pid, number):
    os.kill(pid, number)
