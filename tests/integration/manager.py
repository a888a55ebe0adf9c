"""The part of a service manager: who hands over sockets, and is told how it goes."""

from __future__ import annotations

import socket
import sys
from pathlib import Path
from typing import Any

from support import PATIENCE

Message = dict[str, str]


class Manager:
    """What NOTIFY_SOCKET names. Messages are taken in order."""

    def __init__(self, path: Path | str) -> None:
        """A path, or "@name" in the abstract space."""
        self.name = str(path)
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.settimeout(PATIENCE)
        self.sock.bind("\0" + self.name[1:] if self.name.startswith("@") else self.name)
        self.messages: list[Message] = []

    def prefix(self, **variables: str) -> tuple[str, ...]:
        """What goes before a command, so that it tells us."""
        return ("env", f"NOTIFY_SOCKET={self.name}", *(f"{k}={v}" for k, v in variables.items()))

    def next(self) -> Message:
        lines = self.sock.recv(4096).decode().split("\n")
        self.messages.append(dict(line.split("=", 1) for line in lines))
        return self.messages[-1]

    def wait(self, name: str) -> Message:
        """The next message that says `name`."""
        while True:
            message = self.next()
            if name in message:
                return message

    def __enter__(self) -> Manager:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()


def handing_over(*sockets: tuple[socket.socket, str]) -> dict[str, Any]:
    """Options of a Proxy that gets these, by these names."""
    script = str(Path(__file__).with_name("activate.py"))
    pairs = [f"{sock.fileno()}:{name}" for sock, name in sockets]
    return {
        "prefix": (sys.executable, script, *pairs, "--"),
        "pass_fds": tuple(sock.fileno() for sock, _ in sockets),
    }
