"""A headless Chromium, driven over its own debugging pipe: JSON between NULs on two descriptors.

So a machine needs Debian's chromium and Python, and no package from elsewhere, no port, no
WebSocket library between us and the WebSockets under test.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from support import resident_bytes

PATIENCE = 30.0
FLAGS = [
    "--headless=new",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-extensions",
    "--disable-sync",
    "--disable-dev-shm-usage",  # small in containers
    "--disable-gpu",
    "--hide-scrollbars",
    "--mute-audio",
    "--password-store=basic",
    "--remote-debugging-pipe",
]


class BrowserError(AssertionError):
    """What a page threw, or a command that Chromium refused."""


def find_chromium() -> str | None:
    return os.environ.get("CHROMIUM") or shutil.which("chromium")


class Chromium:
    def __init__(self, *flags: str) -> None:
        binary = find_chromium()
        assert binary, "no chromium"
        self._profile = tempfile.mkdtemp(prefix="tidegate-chromium-")
        sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []  # which root cannot have
        to_browser, self._out = os.pipe()
        self._in, from_browser = os.pipe()
        # It wants them as 3 and 4: a shell puts them there, for preexec_fn is not safe beside threads.
        self.process = subprocess.Popen(
            ["/bin/bash", "-c", f'exec "$@" 3<&{to_browser} 4>&{from_browser}', "bash", binary]
            + [*FLAGS, *sandbox, f"--user-data-dir={self._profile}", *flags, "about:blank"],
            pass_fds=(to_browser, from_browser),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            env=os.environ | {"HOME": self._profile},
        )
        os.close(to_browser)
        os.close(from_browser)
        self._news = threading.Condition()
        self._last_id = 0
        self._answers: dict[int, dict[str, Any]] = {}
        self._events: list[dict[str, Any]] = []
        self._is_gone = False
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    # ---- the pipe ----

    def _listen(self) -> None:
        rest = b""
        while piece := os.read(self._in, 1 << 20):
            *messages, rest = (rest + piece).split(b"\0")
            with self._news:
                for message in map(json.loads, messages):
                    if "id" in message:
                        self._answers[message["id"]] = message
                    else:
                        self._events.append(message)
                self._news.notify_all()
        with self._news:
            self._is_gone = True
            self._news.notify_all()

    def call(self, method: str, session: str | None = None, timeout: float = PATIENCE, **params: Any) -> Any:
        with self._news:
            self._last_id += 1
            number = self._last_id
        message: dict[str, Any] = {"id": number, "method": method, "params": params}
        if session:
            message["sessionId"] = session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self._out, data) :]
        with self._news:
            self._news.wait_for(lambda: number in self._answers or self._is_gone, timeout)
            answer = self._answers.pop(number, None)
        if answer is None:
            raise BrowserError(f"{method}: no answer; Chromium {'has gone' if self._is_gone else 'is there'}")
        if "error" in answer:
            raise BrowserError(f"{method}: {answer['error']['message']}")
        return answer["result"]

    def wait_event(self, method: str, session: str, timeout: float = PATIENCE) -> dict[str, Any]:
        """The first of them that has not been waited for."""

        def find() -> dict[str, Any] | None:
            for event in self._events:
                if event["method"] == method and event.get("sessionId") == session:
                    return event
            return None

        with self._news:
            self._news.wait_for(lambda: find() is not None or self._is_gone, timeout)
            event = find()
            if event is None:
                raise BrowserError(f"no {method} within {timeout} s")
            self._events.remove(event)
            return event["params"]

    def events(self, method: str, session: str) -> list[dict[str, Any]]:
        with self._news:
            return [e["params"] for e in self._events if e["method"] == method and e.get("sessionId") == session]

    # ---- its life ----

    def page(self, width: int = 1200, height: int = 850, **media: str) -> Page:
        return Page(self, width, height, media)

    def resident_bytes(self) -> int:
        """Of all its processes, what is their own and in RAM: a page cannot keep bytes anywhere else."""
        return sum(map(resident_bytes, self._processes()))

    def _processes(self) -> list[int]:
        return [process["id"] for process in self.call("SystemInfo.getProcessInfo")["processInfo"]]

    def close(self) -> None:
        try:
            self.call("Browser.close", timeout=10)
        except (BrowserError, OSError):
            pass
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._thread.join(10)
        os.close(self._in)
        os.close(self._out)
        shutil.rmtree(self._profile, ignore_errors=True)


class Page:
    """A tab in a profile of its own."""

    def __init__(self, browser: Chromium, width: int, height: int, media: dict[str, str]) -> None:
        self._browser = browser
        self._context = browser.call("Target.createBrowserContext")["browserContextId"]
        self._target = browser.call(
            "Target.createTarget", url="about:blank", browserContextId=self._context
        )["targetId"]
        self._session = browser.call("Target.attachToTarget", targetId=self._target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")
        self.resize(width, height)
        features = [{"name": name.replace("_", "-"), "value": value} for name, value in media.items()]
        self.call("Emulation.setEmulatedMedia", features=features)

    def call(self, method: str, timeout: float = PATIENCE, **params: Any) -> Any:
        return self._browser.call(method, self._session, timeout, **params)

    def resize(self, width: int, height: int, mobile: bool = False) -> None:
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=mobile
        )

    def open(self, url: str) -> None:
        """Until it has loaded, modules and all."""
        while self._browser.events("Page.loadEventFired", self._session):
            self._browser.wait_event("Page.loadEventFired", self._session)
        result = self.call("Page.navigate", url=url)
        if "errorText" in result:
            raise BrowserError(f"{url}: {result['errorText']}")
        self._browser.wait_event("Page.loadEventFired", self._session)

    def run(self, body: str, timeout: float = PATIENCE, **arguments: Any) -> Any:
        """The value of an async function with this body; `arguments` are its variables."""
        names, values = ",".join(arguments), ",".join(json.dumps(v) for v in arguments.values())
        return self.value(f"(async ({names}) => {{ {body} }})({values})", timeout)

    def value(self, expression: str, timeout: float = PATIENCE) -> Any:
        result = self.call(
            "Runtime.evaluate",
            timeout=timeout,
            expression=expression,
            awaitPromise=True,
            returnByValue=True,
            userGesture=True,
        )
        if "exceptionDetails" in result:
            details = result["exceptionDetails"]
            raise BrowserError(details.get("exception", {}).get("description", details["text"]))
        return result["result"].get("value")

    def wait(self, expression: str, timeout: float = PATIENCE) -> Any:
        """Until it is true; looked at in the page, with each frame."""
        return self.run(
            f"""const end = performance.now() + {timeout * 1000};
            for (;;) {{
                const value = {expression};
                if (value) return value;
                if (performance.now() > end) throw new Error("not within time: " + {json.dumps(expression)});
                await new Promise((resolve) => setTimeout(resolve, 10));
            }}""",
            timeout + 5,
        )

    def text(self, selector: str) -> str:
        return self.value(f"document.querySelector({json.dumps(selector)}).textContent")

    def key(self, key: str, number: int = 0, text: str = "", modifiers: int = 0, code: str = "") -> None:
        """`number`: of the key on Windows. `modifiers`: 2 is Ctrl. `code`: where the key is."""
        common: dict[str, Any] = {"key": key, "code": code, "windowsVirtualKeyCode": number, "modifiers": modifiers}
        self.call("Input.dispatchKeyEvent", type="keyDown" if text else "rawKeyDown", text=text, **common)
        self.call("Input.dispatchKeyEvent", type="keyUp", **common)

    def type(self, text: str) -> None:
        self.call("Input.insertText", text=text)

    def enter(self) -> None:
        self.key("Enter", 13, "\r", code="Enter")

    def click(self, x: int, y: int) -> None:
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def tab(self) -> None:
        self.key("Tab", 9)

    def screenshot(self, path: Path, is_whole: bool = True) -> None:
        shot = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=is_whole)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(base64.b64decode(shot["data"]))

    def complaints(self) -> list[str]:
        """What was thrown and not caught, and what the browser says of the page (its policy, missing files)."""
        found = [
            str(e["exceptionDetails"].get("exception", {}).get("description"))
            for e in self._browser.events("Runtime.exceptionThrown", self._session)
        ]
        entries = [e["entry"] for e in self._browser.events("Log.entryAdded", self._session)]
        return found + [e["text"] for e in entries if e["level"] == "error"]

    def close(self) -> None:
        self._browser.call("Target.disposeBrowserContext", browserContextId=self._context)


def wait_until(condition: Any, what: str, timeout: float = PATIENCE) -> None:
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end, f"{what}: not within {timeout} s"
        time.sleep(0.01)
