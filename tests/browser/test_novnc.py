"""noVNC, which knows nothing of half-close, shows the desktop of a VNC server through a plain route."""

from __future__ import annotations

import functools
import http.server
import os
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from chromium import Chromium
from rig import Rig
from support import free_port, wait_until

NOVNC = Path("/usr/share/novnc")
COLOUR = (11, 92, 122)  # of the terminal on the desktop


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def novnc() -> Iterator[str]:
    """Its pages, as any web server has them."""
    handler = functools.partial(Quiet, directory=str(NOVNC))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


class Desktop:
    """A display with a terminal on it, which writes the first line that is typed there to `typed`."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.typed = folder / "typed"
        self._children: list[subprocess.Popen[bytes]] = []
        read, write = os.pipe()
        self._start(
            ["Xtigervnc", "-displayfd", str(write), "-rfbport", str(self.port), "-localhost", "-SecurityTypes", "None"]
            + ["-geometry", "800x500", "-nolisten", "tcp", "-depth", "24"],
            pass_fds=(write,),
        )
        os.close(write)
        with os.fdopen(read) as pipe:
            number = pipe.readline().strip()
        assert number, "Xtigervnc did not start"
        line = f"printf 'The tide goes out.\\n'; read line; printf %s \"$line\" >'{self.typed}.new'; mv '{self.typed}.new' '{self.typed}'; cat"
        colour = "#%02x%02x%02x" % COLOUR
        self._start(
            ["xterm", "-bg", colour, "-fg", "white", "-geometry", "100x30+40+20", "-e", "sh", "-c", line],
            env=os.environ | {"DISPLAY": f":{number}", "HOME": str(folder)},
        )

    def _start(self, command: list[str], **options: object) -> None:
        self._children.append(
            subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **options
            )  # type: ignore[call-overload]
        )

    def stop(self) -> None:
        for child in reversed(self._children):
            child.send_signal(signal.SIGTERM)
            child.wait(20)


@pytest.fixture
def desktop() -> Iterator[Desktop]:
    folder = Path(tempfile.mkdtemp(prefix="tidegate-"))
    d = Desktop(folder)
    try:
        yield d
    finally:
        d.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.skipif(
    not (NOVNC.exists() and shutil.which("Xtigervnc") and shutil.which("xterm")),
    reason="needs novnc, tigervnc-standalone-server and xterm",
)
def test_novnc(rig: Rig, novnc: str, desktop: Desktop, chromium: Chromium, pictures: Path) -> None:
    tab = chromium.page()
    proxy = rig.proxy(f"127.0.0.1:{desktop.port}", "--allow-origin", novnc)
    host, port = proxy.address.split(":")
    tab.open(f"{novnc}/vnc_lite.html?host={host}&port={port}&path=")
    tab.wait("document.getElementById('status').textContent.startsWith('Connected')")
    tab.wait(
        """(() => {
            const canvas = document.querySelector('#screen canvas');
            const {data} = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
            let count = 0;
            for (let i = 0; i < data.length; i += 4)
                count += data[i] === %d && data[i + 1] === %d && data[i + 2] === %d;
            return count > 100000;
        })()"""
        % COLOUR
    )
    tab.click(500, 400)
    for letter in "tide":
        tab.key(letter, ord(letter.upper()), letter, code=f"Key{letter.upper()}")
    tab.enter()
    wait_until(desktop.typed.exists, "what was typed")
    assert desktop.typed.read_text() == "tide"
    tab.screenshot(pictures / "novnc.png")
    tab.close()
    assert proxy.wait_closed()["carrier"] == "plain"
