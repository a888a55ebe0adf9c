"""The rig: starts backends, proxies and clients, and takes them down in order. Also the fixtures that
the tests of this folder and its neighbours share (their conftest.py import them from here)."""

from __future__ import annotations

import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from backend import Backend, BackendConnection, Script, SlowToConnect
from proxy import Proxy
from support import dial
from wsclient import WsClient, open_ws


class Rig:
    """What one test has started. finish() ends it all and checks that the proxies are clean."""

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="tidegate-"))  # short: unix socket paths are
        self.backends: list[Backend] = []
        self.proxies: list[Proxy] = []
        self.clients: list[WsClient] = []

    def backend(self, kind: str = "tcp", script: Script | None = None, **options: Any) -> Backend:
        directory = self.directory / f"backend{len(self.backends)}"
        directory.mkdir()
        self.backends.append(Backend(kind, directory, script, **options))
        return self.backends[-1]

    def proxy(self, backend: Backend | str, *flags: str, **options: Any) -> Proxy:
        """--linger is short, so that a test which leaves a peer hanging ends soon; say it to change it."""
        where = backend if isinstance(backend, str) else backend.address
        if not any(flag.startswith("--linger") for flag in flags):
            flags = ("--linger", "2s", *flags)
        self.proxies.append(Proxy(where, *flags, **options))
        return self.proxies[-1]

    def client(self, proxy: Proxy | str, carrier: str = "extension", **options: Any) -> WsClient:
        where = proxy if isinstance(proxy, str) else proxy.address
        self.clients.append(open_ws(where, carrier, **options))
        return self.clients[-1]

    def dial(self, proxy: Proxy | str, carrier: str = "plain", **options: Any) -> WsClient:
        """A client that has not shaken hands."""
        where = proxy if isinstance(proxy, str) else proxy.address
        self.clients.append(WsClient(dial(where, **options), carrier))
        return self.clients[-1]

    def pair(
        self, proxy: Proxy, backend: Backend, carrier: str = "extension", **options: Any
    ) -> tuple[WsClient, BackendConnection]:
        """A client and the backend's end of the same connection."""
        client = self.client(proxy, carrier, **options)
        return client, backend.accept()

    def finish(self) -> None:
        try:
            for client in self.clients:
                client.drop()
            for backend in self.backends:
                backend.stop()
            for proxy in self.proxies:
                proxy.finish()
        finally:
            for proxy in self.proxies:
                proxy.kill()
            shutil.rmtree(self.directory, ignore_errors=True)


@pytest.fixture
def rig() -> Iterator[Rig]:
    r = Rig()
    try:
        yield r
    finally:
        r.finish()


@pytest.fixture
def unused_tcp_address() -> Iterator[str]:
    """Bound but not listening: a connection to it is refused, and nobody else can take it."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{sock.getsockname()[1]}"


@pytest.fixture
def deaf_tcp_address() -> Iterator[str]:
    """A listener whose queue is full: connecting to it takes for ever."""
    with SlowToConnect() as slow:
        yield slow.address
