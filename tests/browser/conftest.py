"""The rig of the integration tests, and Chromium."""

from __future__ import annotations

import http.server
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(HERE.parent / "integration"))

from certificates import certificates  # noqa: E402
from chromium import Chromium, Page, find_chromium  # noqa: E402
from rig import deaf_tcp_address, pytest_generate_tests, rig, unused_tcp_address  # noqa: E402
from support import default_binary  # noqa: E402

__all__ = ["deaf_tcp_address", "pytest_generate_tests", "rig", "unused_tcp_address"]


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "over(scheme...): ws, wss or both; see rig.py")
    if not os.access(default_binary(), os.X_OK):
        raise pytest.UsageError(f"{default_binary()}: no such program; build it, or set TIDEGATE")
    if not find_chromium():
        raise pytest.UsageError("chromium: no such program; scripts/deps browser")


@pytest.fixture
def pictures() -> Path:
    """Where screenshots are kept."""
    return Path(os.environ.get("TIDEGATE_PICTURES", ROOT / "build" / "pictures"))


@pytest.fixture(scope="session")
def chromium() -> Iterator[Chromium]:
    """One for all tests of a process; it believes the proxies' certificate."""
    browser = Chromium(f"--ignore-certificate-errors-spki-list={certificates().pin()}")
    try:
        yield browser
    finally:
        browser.close()


class Handler(http.server.SimpleHTTPRequestHandler):
    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, directory=str(HERE / "site"), **kwargs)

    def translate_path(self, path: str) -> str:
        if path == "/tidegate.js":
            return str(ROOT / "client" / "tidegate.js")
        return super().translate_path(path)

    def log_message(self, *args) -> None:
        pass


@pytest.fixture(scope="session")
def site() -> Iterator[str]:
    """The origin of a page that has the client library, and nothing else."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def tab(chromium: Chromium) -> Iterator[Page]:
    page = chromium.page()
    yield page
    page.close()


@pytest.fixture
def page(tab: Page, site: str) -> Page:
    """With the library loaded, and what `site/kit.js` has."""
    tab.open(f"{site}/")
    tab.wait("globalThis.connect")
    return tab
