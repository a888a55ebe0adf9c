"""Networks of our own: two namespaces and a cable between them, gone with the test.

The proxy lives in `inside`. Tests stay where they are, and make sockets in either: a socket belongs
to the namespace that its thread was in when it was made.
"""

from __future__ import annotations

import ctypes
import itertools
import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from backend import BackendConnection
from support import PATIENCE, dial
from wsclient import WsClient

CLONE_NEWNET = 0x40000000
TOOLS = ("ip", "nft", "tc", "nsenter")

libc = ctypes.CDLL(None, use_errno=True)
serial = itertools.count()


def run(*command: str, text: str | None = None) -> None:
    result = subprocess.run(command, input=text, capture_output=True, text=True, timeout=30, check=False)
    assert result.returncode == 0, f"{' '.join(command)}: {result.stderr}"


def set_namespace(fd: int) -> None:
    if libc.setns(fd, CLONE_NEWNET) < 0:
        raise OSError(ctypes.get_errno(), "setns")


@contextmanager
def entered(path: str) -> Iterator[None]:
    """Meanwhile this thread, and it alone, is in another network namespace."""
    with open("/proc/thread-self/ns/net", "rb") as here, open(path, "rb") as there:
        set_namespace(there.fileno())
        try:
            yield
        finally:
            set_namespace(here.fileno())


class Namespace:
    def __init__(self, name: str, address: str) -> None:
        self.name, self.address = name, address
        self.path = f"/run/netns/{name}"
        self.prefix = ("nsenter", f"--net={self.path}")  # of a command that is to run there
        run("ip", "netns", "add", name)

    def run(self, *command: str, text: str | None = None) -> None:
        run(*self.prefix, *command, text=text)

    def entered(self) -> AbstractContextManager[None]:
        """Sockets that this thread makes meanwhile are of this namespace; so is /proc/sys/net."""
        return entered(self.path)

    def sysctl(self, name: str, value: str) -> None:
        with self.entered():
            Path("/proc/sys", name.replace(".", "/")).write_text(value)

    def listen(self) -> Listener:
        with self.entered():
            return Listener(self.address)

    def dial(self, address: str) -> socket.socket:
        with self.entered():
            return dial(address)


class Listener:
    """A backend that a test accepts from by hand."""

    def __init__(self, ip: str) -> None:
        self.sock = socket.socket()
        self.sock.settimeout(PATIENCE)
        self.sock.bind((ip, 0))
        self.sock.listen(256)
        self.port = int(self.sock.getsockname()[1])
        self.address = f"{ip}:{self.port}"
        self.connections: list[BackendConnection] = []

    def accept(self) -> BackendConnection:
        sock, _ = self.sock.accept()
        sock.settimeout(60)
        self.connections.append(BackendConnection(sock))
        return self.connections[-1]

    def close(self) -> None:
        self.sock.close()
        for connection in self.connections:
            connection.drop()


class Network:
    """`outside` -- veth -- `inside`, each with lo."""

    def __init__(self) -> None:
        name = f"tg{os.getpid()}-{next(serial)}"
        self.namespaces: list[Namespace] = []
        self.listeners: list[Listener] = []
        self.clients: list[WsClient] = []
        self.secure: Callable[[socket.socket], socket.socket] = lambda sock: sock  # the rig's, for its clients
        try:
            self.outside = self._add(f"{name}o", "10.99.0.1")
            self.inside = self._add(f"{name}i", "10.99.0.2")
            peer = ("peer", "name", "cable", "netns", self.inside.name)
            run("ip", "link", "add", "cable", "netns", self.outside.name, "type", "veth", *peer)
            for namespace in self.namespaces:
                namespace.run("ip", "link", "set", "lo", "up")
                namespace.run("ip", "address", "add", f"{namespace.address}/24", "dev", "cable")
                namespace.run("ip", "link", "set", "cable", "up")
        except BaseException:
            self.remove()
            raise

    def _add(self, name: str, address: str) -> Namespace:
        self.namespaces.append(Namespace(name, address))
        return self.namespaces[-1]

    def listen(self, namespace: Namespace) -> Listener:
        self.listeners.append(namespace.listen())
        return self.listeners[-1]

    def dial(self, address: str, carrier: str) -> WsClient:
        """A client that has not sent its request."""
        self.clients.append(WsClient(self.secure(self.outside.dial(address)), carrier))
        return self.clients[-1]

    def client(self, address: str, carrier: str) -> WsClient:
        client = self.dial(address, carrier)
        client.handshake()
        return client

    def drop_all(self) -> None:
        """Every socket of the test. Before the rig looks whether the proxy has become idle."""
        for client in self.clients:
            client.drop()
        for listener in self.listeners:
            listener.close()

    def remove(self) -> None:
        for namespace in self.namespaces:
            subprocess.run(["ip", "netns", "delete", namespace.name], check=False, timeout=30)


def why_not() -> str | None:
    """Why there can be no network here, in words."""
    if os.geteuid() != 0:
        return "making network namespaces takes root"
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        return f"not installed: {', '.join(missing)}"
    if subprocess.run(["unshare", "--net", "true"], capture_output=True, check=False).returncode != 0:
        return "no network namespaces here"
    if not os.access("/proc/sys/net/ipv4/tcp_wmem", os.W_OK):
        return "/proc/sys is read-only"
    return None


@pytest.fixture
def network() -> Iterator[Network]:
    """To be asked for before `rig`, which must be gone when this goes."""
    reason = why_not()
    if reason is not None:
        pytest.skip(reason)
    net = Network()
    try:
        yield net
    finally:
        net.drop_all()
        net.remove()
