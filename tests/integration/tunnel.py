"""`tidegate tunnel` under test, and the local programs that connect to it."""

from __future__ import annotations

from typing import Any

from backend import BackendConnection
from proxy import Program, Record
from rig import Rig
from support import PATIENCE, default_binary, dial


class Tunnel(Program):
    """One running tunnel to a URL."""

    def __init__(self, url: str, *flags: str, **options: Any) -> None:
        self.url = url
        super().__init__([default_binary(), "tunnel", *flags, url], **options)

    def wait_failed(self, timeout: float = PATIENCE) -> Record:
        """The one record of a connection that got no WebSocket."""
        return self.wait("failed", timeout=timeout)


def start_tunnel(rig: Rig, server: str, *flags: str, **options: Any) -> Tunnel:
    """`server`: an address, or a whole URL. The rig ends it and checks that it is clean."""
    url = server if "://" in server else rig.url(server)
    if url.startswith("wss:") and not {"--ca-file", "--insecure"} & set(flags):
        flags = (*rig.trust(), *flags)
    if not any(flag.startswith("--linger") for flag in flags):
        flags = ("--linger", "2s", *flags)
    tunnel = Tunnel(url, *flags, **options)
    rig.proxies.append(tunnel)
    return tunnel


def local(rig: Rig, tunnel: Tunnel | str, **options: Any) -> BackendConnection:
    """A program on this machine that has connected to the tunnel."""
    where = tunnel if isinstance(tunnel, str) else tunnel.address
    connection = BackendConnection(dial(where, **options))
    rig.clients.append(connection)
    return connection


def local_end(rig: Rig, tunnel: Tunnel | str) -> str:
    """What a program sees that connects and reads; a reset can come before its connect is back."""
    try:
        return local(rig, tunnel).wait_end()
    except ConnectionResetError:
        return "reset"
