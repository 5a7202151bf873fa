# SPDX-License-Identifier: MIT
"""Drives Debian's chromium over its debugging pipe (--remote-debugging-pipe), for pages that are used and not only looked at.

    with Browser(tmp_path, "--force-dark-mode") as browser:
        page = browser.open("http://127.0.0.1:8000/", width=800, height=900)
        page.wait("document.querySelector('#it')")          # until it is true
        page.run("document.title")                           # the value of an expression
        page.press("Tab"); page.type("50")
        page.logged, page.asked                              # errors of the console and of scripts; addresses
"""

import base64
import fcntl
import json
import os
import select
import subprocess
import time

from harness import die_with_parent
from pages import CHROMIUM, CHROMIUM_FLAGS

PATIENCE = 60
KEYS = {
    "Tab": ("Tab", 9, ""),
    "Enter": ("Enter", 13, "\r"),
    "Space": ("Space", 32, " "),
    "ArrowRight": ("ArrowRight", 39, ""),
    "ArrowLeft": ("ArrowLeft", 37, ""),
    "ArrowDown": ("ArrowDown", 40, ""),
    "ArrowUp": ("ArrowUp", 38, ""),
    "Home": ("Home", 36, ""),
    "End": ("End", 35, ""),
    "Escape": ("Escape", 27, ""),
    "Delete": ("Delete", 46, ""),
}


class Browser:
    def __init__(self, folder, *flags):
        to_read, self.to_write = os.pipe()
        self.to_read, to_write = os.pipe()
        high = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 5) for fd in (to_read, to_write)]  # out of the way of 3 and 4

        def child():
            die_with_parent()
            for fd, number in zip(high, (3, 4)):
                os.dup2(fd, number)

        os.close(to_read)
        os.close(to_write)
        self.process = subprocess.Popen(
            [CHROMIUM, *CHROMIUM_FLAGS, f"--user-data-dir={folder}/profile", "--remote-debugging-pipe", *flags],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            close_fds=False,  # Python's own close by themselves, and those two are to stay
            preexec_fn=child,
        )
        for fd in high:
            os.close(fd)
        self.buffer, self.number, self.pages = b"", 0, {}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        os.close(self.to_read)
        os.close(self.to_write)

    def _message(self, deadline):
        while b"\0" not in self.buffer:
            left = deadline - time.monotonic()
            assert left > 0 and select.select([self.to_read], [], [], left)[0], "chromium does not answer"
            piece = os.read(self.to_read, 1 << 20)
            assert piece, "chromium has ended"
            self.buffer += piece
        text, _, self.buffer = self.buffer.partition(b"\0")
        return json.loads(text)

    def call(self, method, session=None, **params):
        """One command of the protocol; events that come meanwhile go to their pages."""
        self.number += 1
        number = self.number
        text = json.dumps({"id": number, "method": method, "params": params} | ({"sessionId": session} if session else {}))
        data = text.encode() + b"\0"
        while data:
            data = data[os.write(self.to_write, data) :]
        deadline = time.monotonic() + PATIENCE
        while True:
            message = self._message(deadline)
            if message.get("id") == number:
                assert "error" not in message, (method, message["error"])
                return message["result"]
            page = self.pages.get(message.get("sessionId"))
            if page:
                page.take(message)

    def open(self, url, width=1200, height=900, dark=False):
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = self.pages[session] = Page(self, session, target)
        for domain in ("Page", "Runtime", "Network", "Log"):
            page.call(f"{domain}.enable")
        page.size(width, height)
        page.call(
            "Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        )
        page.call("Page.navigate", url=url)
        return page


class Page:
    def __init__(self, browser, session, target):
        self.browser, self.session, self.target, self.logged, self.asked = browser, session, target, [], []

    def call(self, method, **params):
        return self.browser.call(method, self.session, **params)

    def take(self, event):
        kind, params = event.get("method"), event.get("params", {})
        if kind == "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            self.logged.append(details.get("exception", {}).get("description") or details["text"])
        elif kind == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            self.logged.append(params["entry"]["text"])
        elif kind == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning", "assert"):
            self.logged.append(str(params["args"]))
        elif kind == "Network.requestWillBeSent":
            self.asked.append(params["request"]["url"])

    def run(self, expression):
        """The value of an expression, a promise's included; fails when it throws."""
        done = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in done, done["exceptionDetails"]
        return done["result"].get("value")

    def wait(self, expression, seconds=PATIENCE):
        deadline = time.monotonic() + seconds
        while not (value := self.run(expression)):
            assert time.monotonic() < deadline, f"never true: {expression}"
            time.sleep(0.02)
        return value

    def size(self, width, height):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def press(self, key):
        code, number, text = KEYS[key]
        params = {"key": " " if key == "Space" else key, "code": code, "windowsVirtualKeyCode": number}
        self.call("Input.dispatchKeyEvent", type="keyDown", **params, **({"text": text} if text else {}))
        self.call("Input.dispatchKeyEvent", type="keyUp", **params)

    def type(self, text):
        self.call("Input.insertText", text=text)

    def click(self, selector):
        """Presses the mouse in the middle of the element."""
        name = json.dumps(selector)
        self.run(f"document.querySelector({name}).scrollIntoView({{block: 'center', behavior: 'instant'}})")
        x, y = self.run(f"(r => [r.x + r.width / 2, r.y + r.height / 2])(document.querySelector({name}).getBoundingClientRect())")
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def fill(self, selector, text):
        """Types the text into a field, instead of what it holds."""
        self.run(f"(e => {{ e.focus(); e.select() }})(document.querySelector({json.dumps(selector)}))")
        self.press("Delete")
        self.type(text)

    def close(self):
        self.browser.call("Target.closeTarget", targetId=self.target)
        del self.browser.pages[self.session]

    def picture(self, path, whole=True):
        data = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)["data"]
        path.write_bytes(base64.b64decode(data))
