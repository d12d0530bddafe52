"""A headless Chromium, driven over its DevTools protocol: pages as people see them, without a driver to download."""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import os
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_START = 60.0
_ANSWER = 60.0
_POLL = 0.2
_RESTLESS = 50


def find_browser() -> str | None:
    """A Chromium of this machine."""
    given = os.environ.get("CHROMIUM")
    return given or next((found for name in NAMES if (found := shutil.which(name))), None)


class Page:
    """One tab."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One command of the protocol; its answer, or an error that names it."""
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        deadline = time.monotonic() + _ANSWER
        while time.monotonic() < deadline:
            answer: dict[str, Any] = json.loads(self._socket.recv(timeout=_ANSWER))
            if answer.get("id") == number:
                if "error" in answer:
                    raise AssertionError(f"{method}: {answer['error']}")
                return dict(answer["result"])
        raise AssertionError(f"{method} was not answered in {_ANSWER:g} s")

    def resize(self, width: int, height: int, scheme: str = "light") -> None:
        """The size in CSS pixels, and whether the reader prefers light or dark."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.call("Emulation.setEmulatedMedia", features=[feature])

    def open(self, url: str) -> None:
        """Go to an address."""
        self.call("Page.navigate", url=url)

    def script(self, code: str) -> Any:
        """What an expression is in the page."""
        answer = self.call("Runtime.evaluate", expression=code, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise AssertionError(f"{code}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def wait(self, code: str, timeout: float = 60.0) -> Any:
        """Until an expression is true; its value, or true for an element."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            if found := self.script(f"(found => found instanceof Node || found)({code})"):
                return found
            time.sleep(_POLL)
        raise AssertionError(f"waited {timeout:g} s in vain for {code}; the page says:\n{self.text()[:3000]}")

    def click(self, code: str) -> None:
        """Wait for an element that has come to rest, and click into its middle with a real mouse event."""
        where = (
            f"(() => {{ const e = {code}; if (!e) return null; e.scrollIntoView({{block: 'center'}});"
            " const r = e.getBoundingClientRect();"
            " return r.width ? {x: r.x + r.width / 2, y: r.y + r.height / 2} : null })()"
        )
        before, place = None, self.wait(where)
        for _ in range(_RESTLESS):
            if place == before:
                break
            time.sleep(_POLL)
            before, place = place, self.wait(where)
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, button="left", clickCount=1, **place)

    def type(self, text: str) -> None:
        """Type into what has the focus."""
        self.call("Input.insertText", text=text)

    def press(self, key: str) -> None:
        """Press a key such as Enter."""
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=13)

    def text(self) -> str:
        """What a reader sees."""
        return str(self.script("document.body ? document.body.innerText : ''"))

    def screenshot(self, file: Path, element: str | None = None) -> None:
        """Write a PNG of what is seen, or of one element."""
        box = f"(() => {{ const r = {element}.getBoundingClientRect();"
        box += " return {x: r.x, y: r.y, width: r.width, height: r.height, scale: 1} })()"
        clip = {"clip": self.script(box)} if element else {}
        answer = self.call("Page.captureScreenshot", format="png", **clip)
        file.write_bytes(base64.b64decode(answer["data"]))


@contextlib.contextmanager
def browser(executable: str, directory: Path) -> Iterator[Page]:
    """A browser with a profile of its own and one tab; ended afterwards.

    :param executable: what ``find_browser`` found.
    """
    log = directory / "browser.log"
    directory.mkdir(parents=True, exist_ok=True)
    command = [
        executable, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
        "--remote-debugging-address=127.0.0.1", "--remote-debugging-port=0", "--no-proxy-server",
        f"--user-data-dir={directory / 'profile'}", "about:blank",
    ]  # fmt: skip
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        with connect(_target(directory / "profile", process), max_size=None, proxy=None) as socket:
            page = Page(socket)
            page.call("Page.enable")
            yield page
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(20)


def _target(profile: Path, process: subprocess.Popen[bytes]) -> str:
    """The address of the one tab, once the browser has written down its port."""
    deadline = time.monotonic() + _START
    file = profile / "DevToolsActivePort"
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError, ValueError, IndexError, StopIteration):
            port = int(file.read_text().split()[0])
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list", timeout=10) as answer:
                tabs = json.load(answer)
            return str(next(tab["webSocketDebuggerUrl"] for tab in tabs if tab["type"] == "page"))
        time.sleep(_POLL)
    raise AssertionError(f"the browser did not start; its log is {profile.parent / 'browser.log'}")
