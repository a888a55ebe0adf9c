"""The rig: starts backends, proxies and clients, and takes them down in order. Also the fixtures that
the tests of this folder and its neighbours share (their conftest.py import them from here)."""

from __future__ import annotations

import shutil
import socket
import ssl
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from backend import Backend, BackendConnection, Script, SlowToConnect
from certificates import certificates
from proxy import Proxy
from support import dial
from tls import TlsBackend, TlsSocket, client_context
from wsclient import WsClient

# Marks of tests, or of whole modules (a test's own wins): how clients and tunnels speak to proxies. Without one
# it is ws.
over_ws = pytest.mark.over("ws")
over_wss = pytest.mark.over("wss")
over_both = pytest.mark.over("ws", "wss")

# Of tests in which the order of what the proxy does with several connections, or a number of system calls, matters:
# without it there are as many workers as by default, or as TIDEGATE_WORKERS says.
one_worker = pytest.mark.one_worker


class Rig:
    """What one test has started. finish() ends it all and checks that the proxies are clean."""

    def __init__(self, scheme: str = "ws") -> None:
        """`scheme`: with "wss" every proxy has a certificate, and all that is dialled here trusts it."""
        self.scheme = scheme
        self.is_secure = scheme == "wss"
        self.directory = Path(tempfile.mkdtemp(prefix="tidegate-"))  # short: unix socket paths are
        self.backends: list[Backend] = []
        self.proxies: list[Proxy] = []
        self.clients: list[WsClient] = []

    def backend(self, kind: str = "tcp", script: Script | None = None, **options: Any) -> Backend:
        """`kind`: tcp, unix or tls; the last one takes `context`, too."""
        directory = self.directory / f"backend{len(self.backends)}"
        directory.mkdir()
        if kind == "tls":
            self.backends.append(TlsBackend(directory, script, **options))
        else:
            self.backends.append(Backend(kind, directory, script, **options))
        return self.backends[-1]

    def proxy(self, backend: Backend | str, *flags: str, **options: Any) -> Proxy:
        """--linger is short, so that a test which leaves a peer hanging ends soon; say it to change it. A
        backend on TLS is believed, unless it is given as an address."""
        where = backend if isinstance(backend, str) else backend.address
        if not any(flag.startswith("--linger") for flag in flags):
            flags = ("--linger", "2s", *flags)
        if self.is_secure and "--tls-cert" not in flags:
            flags = (*certificates().serve_flags(), *flags)
        if isinstance(backend, TlsBackend) and not {"--backend-ca", "--backend-insecure"} & set(flags):
            flags = (*flags, "--backend-ca", certificates().ca)
        self.proxies.append(Proxy(where, *flags, **options))
        return self.proxies[-1]

    def url(self, address: str) -> str:
        return f"{self.scheme}://{address}/"

    def trust(self) -> list[str]:
        """The flags with which tunnel, stdio and probe believe a proxy."""
        return ["--ca-file", certificates().ca] if self.is_secure else []

    def secure(self, sock: socket.socket, context: ssl.SSLContext | None = None) -> socket.socket:
        """With TLS on it, if that is how a proxy wants it."""
        if not self.is_secure:
            return sock
        try:
            return TlsSocket(sock, context or client_context())  # type: ignore[return-value]
        except BaseException:
            sock.close()
            raise

    def client(self, proxy: Proxy | str, carrier: str = "extension", **options: Any) -> WsClient:
        client = self.dial(proxy, carrier, **options)
        client.handshake()
        return client

    def dial(
        self, proxy: Proxy | str, carrier: str = "plain", *, context: ssl.SSLContext | None = None, **options: Any
    ) -> WsClient:
        """A client that has not sent its request."""
        sock = dial(proxy if isinstance(proxy, str) else proxy.address, **options)
        self.clients.append(WsClient(self.secure(sock, context), carrier))
        return self.clients[-1]

    def dial_bare(self, proxy: Proxy, **options: Any) -> WsClient:
        """Without TLS, whatever the proxy wants."""
        self.clients.append(WsClient(dial(proxy.address, **options)))
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


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """For a conftest.py: what the marks above mean."""
    mark = metafunc.definition.get_closest_marker("over")
    if "rig" in metafunc.fixturenames and mark and mark.args != ("ws",):
        metafunc.parametrize("rig", mark.args, indirect=True)


@pytest.fixture
def rig(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    if request.node.get_closest_marker("one_worker"):
        monkeypatch.setenv("TIDEGATE_WORKERS", "1")
    r = Rig(getattr(request, "param", "ws"))
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
