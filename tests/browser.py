"""A headless Chromium, driven over its DevTools protocol."""

from __future__ import annotations

import base64
import io
import json
import shutil
import subprocess
import time
import urllib.request
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from PIL import Image
from websockets.sync.client import connect

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--enable-unsafe-swiftshader",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-port=0",
)


class Browser:
    """One window with one page. Its profile is new and empty, in ``folder``."""

    def __init__(self, folder: Path, width: int, height: int) -> None:
        assert CHROMIUM
        self.process = subprocess.Popen(
            [CHROMIUM, *_FLAGS, f"--user-data-dir={folder}", f"--window-size={width},{height}"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._number = 0
        try:
            file = folder / "DevToolsActivePort"
            port = wait(lambda: file.is_file() and file.read_text().split()[:1])[0]
            pages = wait(lambda: self._pages(port))
            # A proxy of the environment is for other machines.
            self._socket = connect(pages[0], max_size=None, proxy=None)
        except BaseException:
            self.process.kill()
            self.process.wait()
            raise
        self.call("Page.enable")

    @staticmethod
    def _pages(port: str) -> list[str]:
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with direct.open(f"http://127.0.0.1:{port}/json") as answer:
            found = json.load(answer)
        return [page["webSocketDebuggerUrl"] for page in found if page["type"] == "page"]

    def call(self, method: str, **params: Any) -> Any:
        """What the protocol's method answers."""
        self._number += 1
        self._socket.send(json.dumps({"id": self._number, "method": method, "params": params}))
        while True:
            answer = json.loads(self._socket.recv(timeout=60))
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return answer["result"]

    def open(self, address: str) -> None:
        self.call("Page.navigate", url=address)

    def run(self, script: str) -> Any:
        """The value of a JavaScript expression in the page."""
        found = self.call("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def text(self, selector: str = "body") -> str:
        """The text of the first element that fits; empty if there is none."""
        return str(self.run(f"document.querySelector({selector!r})?.innerText ?? ''"))

    def click(self, label: str) -> bool:
        """Click the button with this label; False if there is none."""
        buttons = "[...document.querySelectorAll('button')]"
        find = f"{buttons}.find(b => b.innerText.trim() == {label!r})"
        return bool(self.run(f"(b => b ? (b.click(), true) : false)({find})"))

    def tick(self, label: str) -> None:
        """Click the box to tick that has this label."""
        labels = "[...document.querySelectorAll('label')]"
        self.run(f"{labels}.find(l => l.innerText.trim() == {label!r}).click()")

    def press(self, selector: str, key: str) -> None:
        """Give the first element that fits the keyboard's focus, and press a key on it."""
        self.run(f"document.querySelector({selector!r}).focus()")
        for kind in ("rawKeyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key)

    def picture(self) -> np.ndarray:
        """(height, width, 3) uint8: the window as it is seen now."""
        data = base64.b64decode(self.call("Page.captureScreenshot")["data"])
        return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))

    def __enter__(self) -> Browser:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._socket.close()
        self.process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(10)
        self.process.kill()
        self.process.wait()


def wait(look: Any, seconds: float = 90.0) -> Any:
    """What ``look`` finds, as soon as it is something; `AssertionError` if it never is."""
    end = time.monotonic() + seconds
    while True:
        with suppress(OSError):
            found = look()
            if found:
                return found
        assert time.monotonic() < end, f"nothing came within {seconds} s"
        time.sleep(0.1)
